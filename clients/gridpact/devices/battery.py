"""A home battery."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Column,
    Device,
    DeviceBlock,
    DeviceError,
    ForecastField,
    Occasion,
    Opposed,
    Realised,
    Stated,
    as_fields,
    median,
)


@dataclass(frozen=True)
class Battery(Device):
    """Home battery, eqs. (6)-(7). The state of charge at the end of a day is at least the one at its start."""

    capacity_kwh: float
    power_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    start_kwh: float

    kind: ClassVar[str] = "battery"
    a_name: ClassVar[str] = "a battery"
    plural: ClassVar[str] = "batteries"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute("capacity_kwh", "battery_kwh", "usable capacity", unit="kWh", most=500.0, example=6.0),
        Attribute(
            "power_kw", "battery_kw", "largest power, for charging and for discharging", unit="kW", most=300.0,
            example=3.0,
        ),
        Attribute(
            "round_trip_efficiency", "battery_round_trip_efficiency", low=0.1, high=1.0, default=0.9, example=0.9,
            meaning="half of the loss (the square root) is on each way",
        ),
        Attribute(
            "start_share", "battery_start_share", high=1.0, default=0.5, example=0.5,
            meaning="charge at the start of the day, as a share of the capacity; the day ends with at least as much",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "battery_start_kwh", is_series=False,
            meaning="what is in the battery when the day begins; else `start_share` of its capacity",
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("charge_kw", "power into the battery"),
        Column("discharge_kw", "power from the battery"),
        Column("stored_kwh", "what is in the battery after the step"),
    )
    either: ClassVar[tuple[tuple[str, str], ...]] = (("charge_kw", "discharge_kw"),)
    bands: ClassVar[tuple[Band, ...]] = (
        Band("From batteries", "green", "discharge_kw", is_source=True),
        Band("Into batteries", "green", "charge_kw", hatch="////", comes_back=True),
    )
    couples_steps: ClassVar[bool] = True
    varied: ClassVar[bool] = True
    usual: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Battery | None:
        capacity = stated["capacity_kwh"]
        if capacity == 0:
            return None
        efficiency = math.sqrt(stated["round_trip_efficiency"])
        start = day.numbers.get("battery_start_kwh", capacity * stated["start_share"])
        if start > capacity:
            raise DeviceError(
                "start_share", f"there are {start:g} kWh in a battery of {capacity:g} kWh: correct battery_start_kwh"
            )
        return cls(capacity, stated["power_kw"], efficiency, efficiency, start)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        charge, discharge = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
        stored = cp.Variable(steps + 1)  # kWh, before the first step and after each
        gained = self.charge_efficiency * charge - discharge / self.discharge_efficiency
        return DeviceBlock(
            injection_kw=discharge - charge,  # (6)
            constraints={
                "the battery's power limits": [charge <= self.power_kw, discharge <= self.power_kw],
                "the battery's capacity": [stored >= 0, stored <= self.capacity_kwh],
                "the battery's charge at the start": [stored[0] == self.start_kwh],
                "the battery's charge at the end": [stored[steps] >= self.wanted_kwh],
                "the battery's energy balance": [cp.diff(stored) == step_hours * gained],  # (7)
            },
            schedule={"charge_kw": charge, "discharge_kw": discharge, "stored_kwh": stored[1:]},
            opposed=(Opposed(charge, discharge, self.power_kw),),
        )

    @property
    def wanted_kwh(self) -> float:
        """What is in it at the end, at least."""
        return self.start_kwh

    def rest(
        self, first: int, done: Mapping[str, Array], expected: Mapping[str, Array], step_hours: float
    ) -> BatteryLater:
        charge, discharge = done["charge_kw"][:first], done["discharge_kw"][:first]
        gained = self.charge_efficiency * charge - discharge / self.discharge_efficiency
        level = min(max(self.start_kwh + step_hours * float(gained.sum()), 0.0), self.capacity_kwh)
        most = level + step_hours * self.charge_efficiency * self.power_kw * (len(done["charge_kw"]) - first)
        own = as_fields(self) | {"start_kwh": level, "end_kwh": min(self.wanted_kwh, most)}
        return BatteryLater(**own)

    @property
    def asset(self) -> str:
        return f"battery {self.capacity_kwh:g} kWh"

    def scaled(self, factor: float) -> Battery:
        return replace(
            self,
            capacity_kwh=factor * self.capacity_kwh,
            power_kw=factor * self.power_kw,
            start_kwh=factor * self.start_kwh,
        )

    @classmethod
    def typical(cls, owned: Sequence[Battery], steps: int, step_hours: float) -> Battery | None:
        """Medians, or 5 kWh / 2.5 kW."""
        if not owned:
            return cls(5.0, 2.5, 0.9**0.5, 0.9**0.5, 2.5)
        capacity = median(b.capacity_kwh for b in owned)
        return cls(
            capacity,
            median(b.power_kw for b in owned),
            median(b.charge_efficiency for b in owned),
            median(b.discharge_efficiency for b in owned),
            capacity * median(b.start_kwh / b.capacity_kwh for b in owned),
        )

    @property
    def in_words(self) -> str:
        return f"a battery of {self.capacity_kwh:g} kWh / {self.power_kw:g} kW"


@dataclass(frozen=True)
class BatteryLater(Battery):
    """A battery while a day runs: it begins with what is in it, and ends as the whole day is to end."""

    end_kwh: float = 0.0

    @property
    def wanted_kwh(self) -> float:
        return self.end_kwh
