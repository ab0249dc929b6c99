"""Refrigeration, as a supermarket has it, with the goods themselves as the store.

Display cases and what stands in them are one thermal mass (`thermal`) that takes H a kelvin from the shop around and
`heat` from lights, people and open doors, and is cooled by the compressor: T_towards = T_shop + (heat - COP P) / H.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from gridpact.devices.device import Array, Attribute, Band, Column, DeviceError, ForecastField, Occasion, Stated
from gridpact.devices.thermal import ThermalStore


@dataclass(frozen=True)
class Refrigeration(ThermalStore):
    """Refrigeration whose goods are to stay within a band of temperatures, and end the day no warmer than they began
    it, as far as the band and the compressor allow."""

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
    heats: ClassVar[bool] = False
    power_of: ClassVar[str] = "the refrigeration"
    level_of: ClassVar[str] = "temperature"
    mass: ClassVar[str] = "the goods"
    scales: ClassVar[tuple[str, ...]] = (*ThermalStore.scales, "heat_kw")

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
        if (step := self._missed(steps, step_hours)) is not None:
            coldest = self._reached_c(steps, step_hours)[step]
            raise DeviceError(
                "power_kw",
                f"after step {step} the goods have {coldest:.1f} °C although the compressor runs with all its "
                f"{self.power_kw:g} kW, and must have {self.high_c:g} °C; raise its power, or raise high_c",
            )

    def _towards_c(self, power_kw: Array) -> Array:
        return self.shop_c + (self.heat_kw - self.cop * power_kw) / self.loss_kw_per_k

    @property
    def asset(self) -> str:
        return f"refrigeration {self.power_kw:g} kW"

    @classmethod
    def customary(cls, steps: int, step_hours: float) -> Refrigeration:
        """Of a supermarket: 15 kW, which cools 6 t of food at half its power."""
        return cls(15.0, 0.8, 6.0, 1.0, 5.0, 3.0, 20.0, 2.0, 2.5)

    @property
    def in_words(self) -> str:
        return f"refrigeration of {self.power_kw:g} kW for goods at {self.low_c:g} to {self.high_c:g} °C"
