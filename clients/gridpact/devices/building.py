"""A public building that a heat pump keeps warm while it is open, with the building itself as the store.

It is a thermal mass C that loses H a kelvin to the outside, and V more by ventilation while it is open, when people and
lights give `gains`, too. With all of these constant over a step of dt, C dT/dt = L (T_out - T) + COP P + gains, where L
is H or H + V, has the exact solution

    T[k + 1] = a[k] T[k] + (1 - a[k]) (T_out[k] + (COP[k] P[k] + gains[k]) / L[k]),    a[k] = exp(-L[k] dt / C).

COP is a share `quality` of Carnot's between the outdoor air and the heating water, both in kelvin. While it is closed
the building may be colder, and ventilation rests.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

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
    steps_within,
    warmth,
)


@dataclass(frozen=True)
class PublicBuilding(StoringDevice):
    """A building that is warm before and after every step in which it is open, may be colder else, and ends the day no
    colder than it began it, as far as the band and the pump allow."""

    power_kw: float
    loss_kw_per_k: float  # H
    ventilation_kw_per_k: float  # V
    stored_kwh_per_k: float  # C
    low_c: float  # while it is open
    high_c: float
    closed_c: float  # coldest while it is closed
    start_c: float
    gains_kw: float  # while it is open
    flow_c: float
    quality: float
    open: NDArray[np.bool_]  # (T,)
    outdoor_c: Array  # (T,)

    kind: ClassVar[str] = "public_building"
    a_name: ClassVar[str] = "a public building"
    plural: ClassVar[str] = "public buildings"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "power_kw", "building_kw", "largest electric power of its heat pump", unit="kW", most=1000.0, example=20.0
        ),
        Attribute(
            "loss_kw_per_k", "building_loss_kw_per_k", unit="kW/K", low=0.01, most=100.0, example=1.2,
            meaning="heat that it loses for each degree that it is warmer than the air outside, without ventilation",
        ),
        Attribute(
            "ventilation_kw_per_k", "building_ventilation_kw_per_k", unit="kW/K", default=0.0, most=100.0, example=0.8,
            meaning="what ventilation adds to that while it is open",
        ),
        Attribute(
            "stored_kwh_per_k", "building_stored_kwh_per_k", unit="kWh/K", low=0.1, most=10_000.0, example=60.0,
            meaning="heat that warms it by a degree; EN ISO 13790 has 22 to 103 Wh a square metre, very light to very "
            "heavy",
        ),
        Attribute("opens", "building_opens", "when it opens", is_clock=True, example="08:00"),
        Attribute("closes", "building_closes", "when it closes", is_clock=True, example="18:00"),
        Attribute(
            "low_c", "building_low_c", "coldest while it is open", unit="°C", low=5, high=30, default=20, example=20.0
        ),
        Attribute(
            "high_c", "building_high_c", "warmest that it is heated to", unit="°C", low=5, high=35, default=23,
            example=23.0,
        ),
        Attribute(
            "closed_c", "building_closed_c", "coldest while it is closed", unit="°C", low=0, high=30, default=16,
            example=16.0,
        ),
        Attribute(
            "start_c", "building_start_c", unit="°C", low=-20, high=40, default=18, example=18.0,
            meaning="how warm it is when the day begins, and at least when it ends",
        ),
        Attribute(
            "gains_kw", "building_gains_kw", unit="kW", high=500, default=0, example=4.0,
            meaning="heat of people, lights and sun while it is open, on average",
        ),
        Attribute(
            "flow_c", "building_flow_c", unit="°C", low=20, high=75, default=45, example=45.0,
            meaning="heating water: some 35 for floors, 55 for radiators",
        ),
        Attribute(
            "quality", "building_quality", low=0.1, high=0.7, default=0.45, example=0.45,
            meaning="coefficient of performance as a share of Carnot's",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "outdoor_c", "temperature outside, °C; only with a public building", in_community=True, shared=True,
            low=-60, harmless=15,
        ),
        ForecastField(
            "building_start_c", "how warm the public building is when the day begins; else `start_c`", is_series=False,
            low=-30,
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("building_kw", "electric power of the public building's heat pump"),
        Column("building_c", "temperature of the public building after the step, °C"),
    )
    bands: ClassVar[tuple[Band, ...]] = (Band("Public buildings", "vermilion", "building_kw", hatch="////"),)
    measured: ClassVar[Column | None] = Column("building_c", "temperature of the public building, °C")
    varied: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> PublicBuilding | None:
        if stated["power_kw"] == 0:
            return None
        if "outdoor_c" not in day.series:
            raise DeviceError("power_kw", "there is no outdoor_c, and the building is heated by it: give it, too")
        for lower, upper in (("low_c", "high_c"), ("closed_c", "low_c")):
            if stated[lower] > stated[upper]:
                raise DeviceError(
                    lower, f"{stated[lower]:g} °C is above {upper}, {stated[upper]:g} °C: correct one of them"
                )
        if stated["flow_c"] < stated["high_c"]:
            raise DeviceError(
                "flow_c", f"water of {stated['flow_c']:g} °C warms nothing to {stated['high_c']:g} °C: correct one"
            )
        numbers = {key: value for key, value in stated.items() if key not in ("opens", "closes")}
        numbers["start_c"] = day.numbers.get("building_start_c", stated["start_c"])
        is_open = steps_within(int(stated["opens"]), int(stated["closes"]), round(60 * day.step_hours))
        building = cls(**numbers, open=is_open, outdoor_c=day.series["outdoor_c"])
        building._check(day.step_hours)
        return building

    def _check(self, step_hours: float) -> None:
        """
        Raises:
            DeviceError: it is warm enough in the beginning, and gets too cold however much it is heated.
        """
        wanted, warmest = self._lows_c(), self._warmest_c(step_hours)
        if self.start_c < self.closed_c:
            return  # then it is warmed as fast as that goes
        cold = np.flatnonzero(warmest < wanted - 1e-9)
        if cold.size:
            step = int(cold[0])
            raise DeviceError(
                "power_kw",
                f"after step {step} the building has {warmest[step]:.1f} °C at {self.outdoor_c[step]:.1f} °C outside "
                f"although the pump runs with all its {self.power_kw:g} kW, and must have {wanted[step]:g} °C; raise "
                "its power or start_c, or lower low_c or closed_c",
            )

    def cop(self) -> Array:
        """Coefficient of performance, (T,)."""
        return carnot_cop(self.quality, self.flow_c, self.outdoor_c)

    def _lows_c(self) -> Array:
        """Coldest that it may be after each step, (T,): who opens the door finds it warm."""
        before_open = np.append(self.open[1:], False)
        return np.where(self.open | before_open, self.low_c, self.closed_c)

    def _lost_kw_per_k(self) -> Array:
        """L, (T,)."""
        return np.asarray(self.loss_kw_per_k + self.ventilation_kw_per_k * self.open)

    def _kept(self, step_hours: float) -> Array:
        """a, (T,): what is left after a step of how much warmer it was than it would become."""
        return np.asarray(np.exp(-self._lost_kw_per_k() * step_hours / self.stored_kwh_per_k))

    def _towards_c(self, heat_kw: Any) -> Any:
        """What it would become at last, with so much from the pump, (T,)."""
        return self.outdoor_c + (heat_kw + self.gains_kw * self.open) / self._lost_kw_per_k()

    def _path_c(self, power_kw: Array, step_hours: float, cap_c: Array | None = None) -> Array:
        """Temperature after each step, (T,).

        Args:
            power_kw: electric, (T,).
            cap_c: where the heating stops, (T,).
        """
        return warmth(self.start_c, self._kept(step_hours), self._towards_c(self.cop() * power_kw), high_c=cap_c)

    def _caps_c(self, step_hours: float) -> Array:
        """Warmest after each step, (T,): what it is heated to, or becomes from there without heating."""
        highest = np.full(len(self.outdoor_c), self.high_c)
        return warmth(self.start_c, self._kept(step_hours), self._towards_c(0.0), low_c=highest)

    def _warmest_c(self, step_hours: float) -> Array:
        """What the pump can do at most, (T,)."""
        return self._path_c(np.full(len(self.outdoor_c), self.power_kw), step_hours, self._caps_c(step_hours))

    @property
    def start(self) -> float:
        """As far as it is wanted so."""
        return min(max(self.start_c, self.closed_c), self.high_c)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        power = cp.Variable(steps, nonneg=True)
        inside = cp.Variable(steps + 1)  # before the first step and after each
        kept, warmest = self._kept(step_hours), self._warmest_c(step_hours)
        lowest = np.minimum(self._lows_c(), warmest)
        lowest[-1] = max(lowest[-1], min(self.wanted, warmest[-1]))
        towards = self._towards_c(cp.multiply(self.cop(), power))
        balance = inside[1:] == cp.multiply(kept, inside[:-1]) + cp.multiply(1 - kept, towards)
        return DeviceBlock(
            injection_kw=-power,
            constraints={
                "the power of the building's heat pump": [power <= self.power_kw],
                "the warmth of the building": [inside[1:] >= lowest, inside[1:] <= self._caps_c(step_hours)],
                "the warmth of the building at the start": [inside[0] == self.start_c],
                "the heat balance of the building": [balance],
            },
            schedule={"building_kw": power, "building_c": inside[1:]},
        )

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> PublicBuilding:
        if level is None:
            level = float(self._path_c(done["building_kw"], step_hours)[first - 1]) if first > 0 else self.start_c
        return replace(
            self, start_c=level, end=self.wanted, open=self.open[first:], outdoor_c=self.outdoor_c[first:]
        )

    @property
    def asset(self) -> str:
        return f"building with a heat pump of {self.power_kw:g} kW"

    def scaled(self, factor: float) -> PublicBuilding:
        """One that is so many times as large."""
        fields = ("power_kw", "loss_kw_per_k", "ventilation_kw_per_k", "stored_kwh_per_k", "gains_kw")
        return replace(self, **{name: factor * getattr(self, name) for name in fields})

    @property
    def size(self) -> tuple[float, ...]:
        return (self.power_kw,)

    @property
    def in_words(self) -> str:
        return f"a public building of {self.loss_kw_per_k:g} kW a kelvin with a heat pump of {self.power_kw:g} kW"
