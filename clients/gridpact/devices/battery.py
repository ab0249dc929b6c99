"""A home battery."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Cells,
    Column,
    DeviceBlock,
    DeviceError,
    ForecastField,
    Occasion,
    Opposed,
    Realised,
    Stated,
    StoringDevice,
    cell_prices,
    median,
)


@dataclass(frozen=True)
class Battery(Cells, StoringDevice):
    """Home battery, eqs. (6)-(7). The state of charge at the end of a day is at least the one at its start."""

    capacity_kwh: float
    power_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    start_kwh: float
    wear_per_kwh: float = 0.0
    left_per_kwh: float = 0.0

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
        *cell_prices("battery"),
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
    measured: ClassVar[Column | None] = Column("stored_kwh", "what is in the battery")
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
        prices = stated.get("wear_per_kwh", 0.0), stated.get("left_per_kwh", 0.0)
        return cls(capacity, stated["power_kw"], efficiency, efficiency, start, *prices)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        charge, discharge = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
        stored = cp.Variable(steps + 1)  # kWh, before the first step and after each
        return DeviceBlock(
            injection_kw=discharge - charge,  # (6)
            constraints={
                "the battery's power limits": [charge <= self.power_kw, discharge <= self.power_kw],
                "the battery's capacity": [stored >= 0, stored <= self.capacity_kwh],
                "the battery's charge at the start": [stored[0] == self.start_kwh],
                "the battery's charge at the end": [stored[steps] >= self.wanted],
                "the battery's energy balance": [
                    cp.diff(stored) == step_hours * self.gained_kw(charge, discharge)  # (7)
                ],
            },
            schedule={"charge_kw": charge, "discharge_kw": discharge, "stored_kwh": stored[1:]},
            opposed=(Opposed(charge, discharge, self.power_kw),),
        )

    def costs(self, plan: Mapping[str, Any], step_hours: float) -> dict[str, Any]:
        more = plan["stored_kwh"][-1] - self.start_kwh
        return self._costs(plan["charge_kw"], plan["discharge_kw"], more, step_hours)

    @property
    def start(self) -> float:
        return self.start_kwh

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> Battery:
        if level is None:
            charge, discharge = done["charge_kw"][:first], done["discharge_kw"][:first]
            level = self.start_kwh + step_hours * float(self.gained_kw(charge, discharge).sum())
        level = min(max(level, 0.0), self.capacity_kwh)
        most = level + step_hours * self.charge_efficiency * self.power_kw * (len(done["charge_kw"]) - first)
        return replace(self, start_kwh=level, end=min(self.wanted, most))

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
    def customary(cls, steps: int, step_hours: float) -> Battery:
        return cls(5.0, 2.5, 0.9**0.5, 0.9**0.5, 2.5)

    @classmethod
    def middle(cls, owned: Sequence[Battery]) -> Battery:
        """Medians of all that it has."""
        capacity = median(b.capacity_kwh for b in owned)
        return cls(
            capacity,
            median(b.power_kw for b in owned),
            median(b.charge_efficiency for b in owned),
            median(b.discharge_efficiency for b in owned),
            capacity * median(b.start_kwh / b.capacity_kwh for b in owned),
            median(b.wear_per_kwh for b in owned),
            median(b.left_per_kwh for b in owned),
        )

    @property
    def in_words(self) -> str:
        return f"a battery of {self.capacity_kwh:g} kWh / {self.power_kw:g} kW"
