"""Refrigeration, as a supermarket has it, with the goods themselves as the store.

Display cases and what stands in them are one thermal mass C that takes H a kelvin from the shop around and `heat` from
lights, people and open doors, and is cooled by the compressor. With power constant over a step of dt, its equation
C dT/dt = H (T_shop - T) + heat - COP P has the exact solution

    T[k + 1] = a T[k] + (1 - a) (T_shop + (heat - COP P[k]) / H),    a = exp(-H dt / C).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Column,
    DeviceBlock,
    DeviceError,
    ForecastField,
    Occasion,
    Realised,
    Stated,
    StoringDevice,
    warmth,
)


@dataclass(frozen=True)
class Refrigeration(StoringDevice):
    """Refrigeration whose goods are to stay within a band of temperatures, and end the day no warmer than they began
    it, as far as the band and the compressor allow."""

    power_kw: float
    loss_kw_per_k: float  # H
    stored_kwh_per_k: float  # C
    low_c: float
    high_c: float
    start_c: float
    shop_c: float
    heat_kw: float
    cop: float

    kind: ClassVar[str] = "refrigeration"
    a_name: ClassVar[str] = "refrigeration"
    plural: ClassVar[str] = "refrigeration"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "power_kw", "refrigeration_kw", "largest electric power of the compressors", unit="kW", most=500.0,
            example=15.0,
        ),
        Attribute(
            "loss_kw_per_k", "refrigeration_loss_kw_per_k", unit="kW/K", low=0.001, most=50.0, example=0.8,
            meaning="heat that comes in for each degree that the shop is warmer than the goods",
        ),
        Attribute(
            "stored_kwh_per_k", "refrigeration_stored_kwh_per_k", unit="kWh/K", low=0.01, most=1000.0, example=6.0,
            meaning="heat that warms the goods by a degree; a tonne of food has some 1 kWh a kelvin",
        ),
        Attribute(
            "low_c", "refrigeration_low_c", "coldest that goods are cooled to", unit="°C", low=-50, high=20, default=1,
            example=1.0,
        ),
        Attribute(
            "high_c", "refrigeration_high_c", "warmest they may be", unit="°C", low=-50, high=20, default=5, example=5.0
        ),
        Attribute(
            "start_c", "refrigeration_start_c", unit="°C", low=-50, high=40, default=3, example=3.0,
            meaning="how warm they are when the day begins, and at most when it ends",
        ),
        Attribute(
            "shop_c", "refrigeration_shop_c", "temperature of the shop", unit="°C", low=-10, high=45, default=20,
            example=20.0,
        ),
        Attribute(
            "heat_kw", "refrigeration_heat_kw", unit="kW", high=200, default=0, example=2.0,
            meaning="heat of lights, open doors and new goods, on average",
        ),
        Attribute(
            "cop", "refrigeration_cop", low=0.5, high=10, default=2.5, example=2.5,
            meaning="heat that is taken out for each kWh of electricity",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "refrigeration_start_c", "how warm the goods are when the day begins; else `start_c`", is_series=False,
            low=-60,
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("refrigeration_kw", "electric power of the refrigeration"),
        Column("goods_c", "temperature of the goods after the step, °C"),
    )
    bands: ClassVar[tuple[Band, ...]] = (Band("Refrigeration", "blue", "refrigeration_kw", hatch="////"),)
    measured: ClassVar[Column | None] = Column("goods_c", "temperature of the refrigerated goods, °C")
    varied: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Refrigeration | None:
        if stated["power_kw"] == 0:
            return None
        if stated["low_c"] > stated["high_c"]:
            raise DeviceError("low_c", f"{stated['low_c']:g} °C is above high_c, {stated['high_c']:g} °C: correct one")
        if stated["shop_c"] < stated["high_c"]:
            raise DeviceError(
                "shop_c",
                f"a shop of {stated['shop_c']:g} °C keeps goods below {stated['high_c']:g} °C by itself: correct one",
            )
        numbers = dict(stated) | {"start_c": day.numbers.get("refrigeration_start_c", stated["start_c"])}
        found = cls(**numbers)
        found._check(day.steps, day.step_hours)
        return found

    def _check(self, steps: int, step_hours: float) -> None:
        """
        Raises:
            DeviceError: goods are cold in the beginning, and get too warm however much they are cooled.
        """
        if self.start_c > self.high_c:
            return  # then they are cooled as fast as that goes
        coldest = self._coldest_c(steps, step_hours)
        warm = np.flatnonzero(coldest > self.high_c + 1e-9)
        if warm.size:
            step = int(warm[0])
            raise DeviceError(
                "power_kw",
                f"after step {step} the goods have {coldest[step]:.1f} °C although the compressor runs with all its "
                f"{self.power_kw:g} kW, and must have {self.high_c:g} °C; raise its power, or raise high_c",
            )

    def _kept(self, step_hours: float) -> float:
        """a: what is left after a step of how much colder the goods were than they would become."""
        return float(np.exp(-self.loss_kw_per_k * step_hours / self.stored_kwh_per_k))

    def _towards_c(self, power_kw: Any) -> Any:
        """What goods would become at last, (T,)."""
        return self.shop_c + (self.heat_kw - self.cop * power_kw) / self.loss_kw_per_k

    def _path_c(self, power_kw: Array, step_hours: float, floor_c: Array | None = None) -> Array:
        """Temperature after each step, (T,).

        Args:
            power_kw: electric, (T,).
            floor_c: where the cooling stops, (T,).
        """
        return warmth(self.start_c, self._kept(step_hours), self._towards_c(power_kw), low_c=floor_c)

    def _floors_c(self, steps: int, step_hours: float) -> Array:
        """Coldest after each step, (T,): what goods are cooled to, or are without cooling."""
        uncooled = self._towards_c(np.zeros(steps))
        return warmth(self.start_c, self._kept(step_hours), uncooled, high_c=np.full(steps, self.low_c))

    def _coldest_c(self, steps: int, step_hours: float) -> Array:
        """What the compressor can do at most, (T,)."""
        return self._path_c(np.full(steps, self.power_kw), step_hours, self._floors_c(steps, step_hours))

    @property
    def start(self) -> float:
        """As far as it is wanted so."""
        return min(max(self.start_c, self.low_c), self.high_c)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        power = cp.Variable(steps, nonneg=True)
        goods = cp.Variable(steps + 1)  # before the first step and after each
        kept, coldest = self._kept(step_hours), self._coldest_c(steps, step_hours)
        highest = np.maximum(self.high_c, coldest)
        highest[-1] = min(highest[-1], max(self.wanted, coldest[-1]))
        return DeviceBlock(
            injection_kw=-power,
            constraints={
                "the power of the refrigeration": [power <= self.power_kw],
                "the temperature of the goods": [goods[1:] <= highest, goods[1:] >= self._floors_c(steps, step_hours)],
                "the temperature of the goods at the start": [goods[0] == self.start_c],
                "the heat balance of the goods": [goods[1:] == kept * goods[:-1] + (1 - kept) * self._towards_c(power)],
            },
            schedule={"refrigeration_kw": power, "goods_c": goods[1:]},
        )

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> Refrigeration:
        if level is None:
            level = float(self._path_c(done["refrigeration_kw"], step_hours)[first - 1]) if first > 0 else self.start_c
        return replace(self, start_c=level, end=self.wanted)

    @property
    def asset(self) -> str:
        return f"refrigeration {self.power_kw:g} kW"

    def scaled(self, factor: float) -> Refrigeration:
        """Of a shop that is so many times as large."""
        fields = ("power_kw", "loss_kw_per_k", "stored_kwh_per_k", "heat_kw")
        return replace(self, **{name: factor * getattr(self, name) for name in fields})

    @classmethod
    def customary(cls, steps: int, step_hours: float) -> Refrigeration:
        """Of a supermarket: 15 kW, which cools 6 t of food at half its power."""
        return cls(15.0, 0.8, 6.0, 1.0, 5.0, 3.0, 20.0, 2.0, 2.5)

    @property
    def size(self) -> tuple[float, ...]:
        return (self.power_kw,)

    @property
    def in_words(self) -> str:
        return f"refrigeration of {self.power_kw:g} kW for goods at {self.low_c:g} to {self.high_c:g} °C"
