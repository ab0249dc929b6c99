"""A public building that a heat pump keeps warm while it is open, with the building itself as the store.

It is a thermal mass (`thermal`) that loses H a kelvin to the outside, and V more by ventilation while it is open, when
people and lights give `gains`, too: T_towards = T_out + (COP P + gains) / L, where L is H or H + V. While it is closed
the building may be colder, and ventilation rests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Column,
    DeviceError,
    ForecastField,
    Occasion,
    Stated,
    steps_within,
)
from gridpact.devices.thermal import INERTIA, AirSource, ThermalStore, air_source_attributes


@dataclass(frozen=True)
class PublicBuilding(AirSource, ThermalStore):
    """A building that is warm before and after every step in which it is open, may be colder else, and ends the day no
    colder than it began it, as far as the band and the pump allow."""

    ventilation_kw_per_k: float  # V
    closed_c: float  # coldest while it is closed
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
            meaning=f"heat that warms it by a degree; {INERTIA}",
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
        *air_source_attributes("building", 45),
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
    power_of: ClassVar[str] = "the building's heat pump"
    level_of: ClassVar[str] = "warmth"
    mass: ClassVar[str] = "the building"
    scales: ClassVar[tuple[str, ...]] = (*ThermalStore.scales, "ventilation_kw_per_k", "gains_kw")

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
        if self.start_c < self.closed_c:
            return  # then it is warmed as fast as that goes
        steps = len(self.outdoor_c)
        if (step := self._missed(steps, step_hours)) is not None:
            wanted, warmest = self._furthest_c[step], self._reached_c(steps, step_hours)[step]
            raise DeviceError(
                "power_kw",
                f"after step {step} the building has {warmest:.1f} °C at {self.outdoor_c[step]:.1f} °C outside "
                f"although the pump runs with all its {self.power_kw:g} kW, and must have {wanted:g} °C; raise its "
                "power or start_c, or lower low_c or closed_c",
            )

    @property
    def _furthest_c(self) -> Array:
        """Who opens the door finds it warm."""
        before_open = np.append(self.open[1:], False)
        return np.where(self.open | before_open, self.low_c, self.closed_c)

    @property
    def _lost_kw_per_k(self) -> Array:
        return np.asarray(self.loss_kw_per_k + self.ventilation_kw_per_k * self.open)

    def _towards_c(self, power_kw: Array) -> Array:
        return self.outdoor_c + (self.cop() * power_kw + self.gains_kw * self.open) / self._lost_kw_per_k

    @property
    def start(self) -> float:
        return min(max(self.start_c, self.closed_c), self.high_c)

    @property
    def asset(self) -> str:
        return f"building with a heat pump of {self.power_kw:g} kW"

    @property
    def in_words(self) -> str:
        return f"a public building of {self.loss_kw_per_k:g} kW a kelvin with a heat pump of {self.power_kw:g} kW"
