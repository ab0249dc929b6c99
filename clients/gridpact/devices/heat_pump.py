"""A heat pump that heats a house, with the house itself as the store.

The house is one thermal mass C that loses H a kelvin to the outside and is heated by the pump and by `gains`. With
outdoor temperature and power constant over a step of dt, its equation C dT/dt = H (T_out - T) + COP P + gains has the
exact solution

    T[k + 1] = a T[k] + (1 - a) (T_out[k] + (COP[k] P[k] + gains) / H),    a = exp(-H dt / C).

COP is a share `quality` of Carnot's between the outdoor air and the heating water, both in kelvin.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

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
    carnot_cop,
    warmth,
)

ADVICE = "raise its power, or lower low_c or start_c"


@dataclass(frozen=True)
class HeatPump(StoringDevice):
    """Heat pump of a house that is to stay within a band of temperatures, and ends the day no colder than it began it,
    as far as the band and the pump allow."""

    power_kw: float
    loss_kw_per_k: float  # H
    stored_kwh_per_k: float  # C
    low_c: float
    high_c: float
    start_c: float
    gains_kw: float
    flow_c: float
    quality: float
    outdoor_c: Array  # (T,)

    kind: ClassVar[str] = "heat_pump"
    a_name: ClassVar[str] = "a heat pump"
    plural: ClassVar[str] = "heat pumps"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute("power_kw", "heat_pump_kw", "largest electric power", unit="kW", most=200.0, example=2.0),
        Attribute(
            "loss_kw_per_k", "heat_pump_loss_kw_per_k", unit="kW/K", low=0.01, most=20.0, example=0.15,
            meaning="heat that the house loses for each degree that it is warmer than the air outside",
        ),
        Attribute(
            "stored_kwh_per_k", "heat_pump_stored_kwh_per_k", unit="kWh/K", low=0.1, most=2000.0, example=8.0,
            meaning="heat that warms the house by a degree; EN ISO 13790 has 22 to 103 Wh a square metre, very light "
            "to very heavy",
        ),
        Attribute("low_c", "heat_pump_low_c", "coldest it may be", unit="°C", low=5, high=30, default=19, example=19.0),
        Attribute(
            "high_c", "heat_pump_high_c", unit="°C", low=5, high=35, default=22, example=22.0,
            meaning="warmest that it is heated to",
        ),
        Attribute(
            "start_c", "heat_pump_start_c", unit="°C", low=-20, high=40, default=20, example=20.0,
            meaning="how warm it is when the day begins, and at least when it ends",
        ),
        Attribute(
            "gains_kw", "heat_pump_gains_kw", unit="kW", high=20, default=0, example=0.3,
            meaning="heat of people, appliances and sun, on average",
        ),
        Attribute(
            "flow_c", "heat_pump_flow_c", unit="°C", low=20, high=75, default=35, example=35.0,
            meaning="heating water: some 35 for floors, 55 for radiators",
        ),
        Attribute(
            "quality", "heat_pump_quality", low=0.1, high=0.7, default=0.45, example=0.45,
            meaning="coefficient of performance as a share of Carnot's",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "outdoor_c", "temperature outside, °C; only with a heat pump", in_community=True, shared=True, low=-60,
            harmless=15,
        ),
        ForecastField(
            "heat_pump_start_c", "how warm the house is when the day begins; else `start_c`", is_series=False, low=-30,
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("heat_pump_kw", "electric power of the heat pump"),
        Column("indoor_c", "temperature of the house after the step, °C"),
    )
    bands: ClassVar[tuple[Band, ...]] = (Band("Heat pumps", "vermilion", "heat_pump_kw", hatch="...."),)
    measured: ClassVar[Column | None] = Column("indoor_c", "temperature of the house, °C")
    varied: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> HeatPump | None:
        if stated["power_kw"] == 0:
            return None
        if "outdoor_c" not in day.series:
            raise DeviceError("power_kw", "there is no outdoor_c, and the household has a heat pump: give it, too")
        if stated["low_c"] > stated["high_c"]:
            raise DeviceError("low_c", f"{stated['low_c']:g} °C is above high_c, {stated['high_c']:g} °C: correct one")
        if stated["flow_c"] < stated["high_c"]:
            raise DeviceError(
                "flow_c", f"water of {stated['flow_c']:g} °C warms no house to {stated['high_c']:g} °C: correct one"
            )
        numbers = dict(stated) | {"start_c": day.numbers.get("heat_pump_start_c", stated["start_c"])}
        pump = cls(**numbers, outdoor_c=day.series["outdoor_c"])
        pump._check(day.step_hours)
        return pump

    def _check(self, step_hours: float) -> None:
        """
        Raises:
            DeviceError: the house is warm in the beginning, and gets too cold however much it is heated.
        """
        if self.start_c < self.low_c:
            return  # then it is warmed as fast as that goes
        warmest = self._warmest_c(step_hours)
        cold = np.flatnonzero(warmest < self.low_c - 1e-9)
        if cold.size:
            step = int(cold[0])
            raise DeviceError(
                "power_kw",
                f"after step {step} the house has {warmest[step]:.1f} °C at {self.outdoor_c[step]:.1f} °C outside "
                f"although the pump runs with all its {self.power_kw:g} kW, and must have {self.low_c:g} °C; {ADVICE}",
            )

    def cop(self) -> Array:
        """Coefficient of performance, (T,)."""
        return carnot_cop(self.quality, self.flow_c, self.outdoor_c)

    def _kept(self, step_hours: float) -> float:
        """a: what is left after a step of how much warmer the house was than it would become."""
        return float(np.exp(-self.loss_kw_per_k * step_hours / self.stored_kwh_per_k))

    def _path_c(self, power_kw: Array, step_hours: float, cap_c: Array | None = None) -> Array:
        """Temperature after each step, (T,).

        Args:
            power_kw: electric, (T,).
            cap_c: where the heating stops, (T,).
        """
        towards = self.outdoor_c + (self.cop() * power_kw + self.gains_kw) / self.loss_kw_per_k
        return warmth(self.start_c, self._kept(step_hours), towards, high_c=cap_c)

    def _caps_c(self, step_hours: float) -> Array:
        """Warmest after each step, (T,): what it is heated to, or becomes from there without heating."""
        unheated = self.outdoor_c + self.gains_kw / self.loss_kw_per_k
        return warmth(self.start_c, self._kept(step_hours), unheated, low_c=np.full(len(unheated), self.high_c))

    def _warmest_c(self, step_hours: float) -> Array:
        """What the pump can do at most, (T,)."""
        return self._path_c(np.full(len(self.outdoor_c), self.power_kw), step_hours, self._caps_c(step_hours))

    @property
    def start(self) -> float:
        """As far as it is wanted so."""
        return min(max(self.start_c, self.low_c), self.high_c)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        power = cp.Variable(steps, nonneg=True)
        indoor = cp.Variable(steps + 1)  # before the first step and after each
        kept, warmest = self._kept(step_hours), self._warmest_c(step_hours)
        towards = self.outdoor_c + (cp.multiply(self.cop(), power) + self.gains_kw) / self.loss_kw_per_k
        lowest = np.minimum(self.low_c, warmest)
        lowest[-1] = max(lowest[-1], min(self.wanted, warmest[-1]))
        return DeviceBlock(
            injection_kw=-power,
            constraints={
                "the heat pump's power": [power <= self.power_kw],
                "the warmth of the house": [indoor[1:] >= lowest, indoor[1:] <= self._caps_c(step_hours)],
                "the warmth of the house at the start": [indoor[0] == self.start_c],
                "the heat balance of the house": [indoor[1:] == kept * indoor[:-1] + (1 - kept) * towards],
            },
            schedule={"heat_pump_kw": power, "indoor_c": indoor[1:]},
        )

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> HeatPump:
        if level is None:
            level = float(self._path_c(done["heat_pump_kw"], step_hours)[first - 1]) if first > 0 else self.start_c
        return replace(self, start_c=level, end=self.wanted, outdoor_c=self.outdoor_c[first:])

    @property
    def asset(self) -> str:
        return f"heat pump {self.power_kw:g} kW"

    def scaled(self, factor: float) -> HeatPump:
        """Of a house that is so many times as large."""
        fields = ("power_kw", "loss_kw_per_k", "stored_kwh_per_k", "gains_kw")
        return replace(self, **{name: factor * getattr(self, name) for name in fields})

    @property
    def size(self) -> tuple[float, ...]:
        return (self.power_kw,)

    @property
    def in_words(self) -> str:
        return f"a heat pump of {self.power_kw:g} kW in a house that loses {self.loss_kw_per_k:g} kW a kelvin"
