"""A heat pump that heats a house, with the house itself as the store.

The house is one thermal mass (`thermal`) that loses H a kelvin to the outside and is heated by the pump and by `gains`:
T_towards = T_out + (COP P + gains) / H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gridpact.devices.device import Array, Attribute, Band, Column, DeviceError, ForecastField, Occasion, Stated
from gridpact.devices.thermal import INERTIA, AirSource, ThermalStore, air_source_attributes

ADVICE = "raise its power, or lower low_c or start_c"


@dataclass(frozen=True)
class HeatPump(AirSource, ThermalStore):
    """Heat pump of a house that is to stay within a band of temperatures, and ends the day no colder than it began it,
    as far as the band and the pump allow."""

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
            meaning=f"heat that warms the house by a degree; {INERTIA}",
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
        *air_source_attributes("heat_pump", 35),
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
    power_of: ClassVar[str] = "the heat pump"
    level_of: ClassVar[str] = "warmth"
    mass: ClassVar[str] = "the house"
    scales: ClassVar[tuple[str, ...]] = (*ThermalStore.scales, "gains_kw")

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
        steps = len(self.outdoor_c)
        if (step := self._missed(steps, step_hours)) is not None:
            warmest = self._reached_c(steps, step_hours)[step]
            raise DeviceError(
                "power_kw",
                f"after step {step} the house has {warmest:.1f} °C at {self.outdoor_c[step]:.1f} °C outside although "
                f"the pump runs with all its {self.power_kw:g} kW, and must have {self.low_c:g} °C; {ADVICE}",
            )

    def _towards_c(self, power_kw: Array) -> Array:
        return self.outdoor_c + (self.cop() * power_kw + self.gains_kw) / self.loss_kw_per_k

    @property
    def asset(self) -> str:
        return f"heat pump {self.power_kw:g} kW"

    @property
    def in_words(self) -> str:
        return f"a heat pump of {self.power_kw:g} kW in a house that loses {self.loss_kw_per_k:g} kW a kelvin"
