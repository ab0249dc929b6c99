"""An electric car that also gives back while it is plugged in: vehicle to home or grid.

What is in its battery is followed over the whole day: it leaves with at least `ready_kwh`, comes back with `drive_kwh`
less, and ends the day with at least what it began with.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

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
    clock,
    steps_within,
)


@dataclass(frozen=True)
class TwoWayCar(Cells, StoringDevice):
    """Electric car that charges and discharges within the steps it is plugged in."""

    capacity_kwh: float
    charge_kw: float
    discharge_kw: float
    charge_efficiency: float
    discharge_efficiency: float
    ready_kwh: float
    drive_kwh: float
    start_kwh: float
    plugged_in: NDArray[np.bool_]  # (T,)
    then: float  # 1 where it is there when the day is over, else 0
    wear_per_kwh: float = 0.0
    left_per_kwh: float = 0.0

    kind: ClassVar[str] = "two_way_car"
    a_name: ClassVar[str] = "a two-way car"
    plural: ClassVar[str] = "two-way cars"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute("capacity_kwh", "two_way_car_kwh", "usable capacity of its battery", unit="kWh", example=50.0),
        Attribute("charge_kw", "two_way_car_kw", "largest charging power", unit="kW", example=7.4),
        Attribute(
            "discharge_kw", "two_way_car_discharge_kw", "largest power that it gives back", unit="kW", example=5.0
        ),
        Attribute(
            "round_trip_efficiency", "two_way_car_round_trip_efficiency", low=0.1, high=1.0, default=0.85, example=0.85,
            meaning="half of the loss (the square root) is on each way",
        ),
        Attribute(
            "ready_kwh", "two_way_car_ready_kwh", unit="kWh", default=0.0, example=25.0,
            meaning="what is in it when it leaves, at least",
        ),
        Attribute("drive_kwh", "two_way_car_drive_kwh", "what a trip takes", unit="kWh", default=0.0, example=8.0),
        Attribute(
            "start_share", "two_way_car_start_share", high=1.0, default=0.5, example=0.5,
            meaning="charge at the start of the day, as a share of the capacity; the day ends with at least as much",
        ),
        Attribute("from", "two_way_car_from", "from when on it is plugged in", is_clock=True, example="18:00"),
        Attribute("to", "two_way_car_to", "until when it is plugged in", is_clock=True, example="07:00"),
        *cell_prices("two_way_car"),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "two_way_car_start_kwh", is_series=False,
            meaning="what is in its battery when the day begins; else `start_share` of the capacity",
        ),
        ForecastField("two_way_car_plugged_in", "1 where it is there, else 0; else `[two_way_car] from` and `to`"),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("two_way_charge_kw", "power into the two-way car"),
        Column("two_way_discharge_kw", "power from the two-way car"),
        Column("two_way_kwh", "what is in the two-way car's battery after the step"),
    )
    either: ClassVar[tuple[tuple[str, str], ...]] = (("two_way_charge_kw", "two_way_discharge_kw"),)
    bands: ClassVar[tuple[Band, ...]] = (
        Band("From two-way cars", "purple", "two_way_discharge_kw", is_source=True, hatch="xxxx"),
        Band("Into two-way cars", "purple", "two_way_charge_kw", hatch="xxxx"),
    )
    measured: ClassVar[Column | None] = Column("two_way_kwh", "what is in the two-way car's battery")
    varied: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> TwoWayCar | None:
        capacity = stated["capacity_kwh"]
        if capacity == 0:
            return None
        forecast = day.series.get("two_way_car_plugged_in")
        window = steps_within(round(stated["from"]), round(stated["to"]), round(60 * day.step_hours))
        plugged_in = window if forecast is None else forecast > 0
        efficiency = math.sqrt(stated["round_trip_efficiency"])
        start = day.numbers.get("two_way_car_start_kwh", capacity * stated["start_share"])
        for key, energy in (("start_share", start), ("ready_kwh", stated["ready_kwh"])):
            if energy > capacity:
                raise DeviceError(key, f"{energy:g} kWh do not fit into a battery of {capacity:g} kWh: correct one")
        car = cls(
            capacity, stated["charge_kw"], stated["discharge_kw"], efficiency, efficiency, stated["ready_kwh"],
            stated["drive_kwh"], start, plugged_in, float(plugged_in[0]),
            stated.get("wear_per_kwh", 0.0), stated.get("left_per_kwh", 0.0),
        )  # fmt: skip
        car._check(day.step_hours)
        return car

    @property
    def _next(self) -> NDArray[np.bool_]:
        """Whether it is there at the step after each, (T,)."""
        return np.append(self.plugged_in[1:], self.then > 0)

    @property
    def leaves(self) -> NDArray[np.bool_]:
        """After which steps it leaves, (T,)."""
        return self.plugged_in & ~self._next

    @property
    def driven_kwh(self) -> Array:
        """What a trip took from which it is back after a step, (T,)."""
        returns = ~self.plugged_in & self._next
        driven: Array = np.where(returns, self.drive_kwh, 0.0)
        return driven

    def _most_kwh(self, step_hours: float) -> Array:
        """What can be in it after each step, (T,), if it always charges; below 0 where it cannot come back."""
        level, path = self.start_kwh, np.empty(len(self.plugged_in))
        for step, (at_home, driven) in enumerate(zip(self.plugged_in, self.driven_kwh, strict=True)):
            gained = step_hours * self.charge_efficiency * self.charge_kw * at_home
            level = path[step] = min(level + gained, self.capacity_kwh) - driven
        return path

    def _check(self, step_hours: float) -> None:
        """
        Raises:
            DeviceError: it is not ready when it leaves, does not come back, or ends the day with less than it began,
                however much it charges.
        """
        most, minutes = self._most_kwh(step_hours), round(60 * step_hours)
        wanted = np.where(self.leaves, self.ready_kwh, 0.0)
        wanted[-1] = max(wanted[-1], self.start_kwh)
        for step in np.flatnonzero(most < wanted - 1e-9):
            raise DeviceError(
                "charge_kw",
                f"at {clock(minutes * (int(step) + 1))} the car has {max(most[step], 0):.3g} kWh at most though it "
                f"charges at {self.charge_kw:g} kW whenever it is plugged in, and must have {wanted[step]:g} kWh"
                + (f" after a trip of {self.drive_kwh:g} kWh" if most[step] < 0 else "")
                + "; widen the window, raise its power, or lower ready_kwh or drive_kwh",
            )

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        charge, discharge = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
        stored = cp.Variable(steps + 1)  # kWh, before the first step and after each
        gained = step_hours * self.gained_kw(charge, discharge)
        least = np.where(self.leaves, self.ready_kwh, 0.0)
        least[-1] = max(least[-1], self.wanted)
        return DeviceBlock(
            injection_kw=discharge - charge,
            constraints={
                "the two-way car's power while it is plugged in": [
                    charge <= self.charge_kw * self.plugged_in,
                    discharge <= self.discharge_kw * self.plugged_in,
                ],
                "the two-way car's battery": [stored[1:] >= least, stored <= self.capacity_kwh],
                "the two-way car's charge at the start": [stored[0] == self.start_kwh],
                "the two-way car's energy balance": [cp.diff(stored) == gained - self.driven_kwh],
            },
            schedule={
                "two_way_charge_kw": charge, "two_way_discharge_kw": discharge, "two_way_kwh": stored[1:],
            },
            opposed=(Opposed(charge, discharge, max(self.charge_kw, self.discharge_kw)),),
        )  # fmt: skip

    def costs(self, plan: Mapping[str, Any], step_hours: float) -> dict[str, Any]:
        more = plan["two_way_kwh"][-1] - self.start_kwh
        return self._costs(plan["two_way_charge_kw"], plan["two_way_discharge_kw"], more, step_hours)

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
    ) -> TwoWayCar:
        if level is None:
            charge, discharge = done["two_way_charge_kw"][:first], done["two_way_discharge_kw"][:first]
            gained = step_hours * self.gained_kw(charge, discharge)
            level = self.start_kwh + float((gained - self.driven_kwh[:first]).sum())
        level = min(max(level, 0.0), self.capacity_kwh)
        later = replace(self, start_kwh=level, end=self.wanted, plugged_in=self.plugged_in[first:])
        most = later._most_kwh(step_hours)
        ready = min([self.ready_kwh, *most[later.leaves]])  # of what a solver leaves open, no more than it can
        return replace(later, end=min(self.wanted, float(most[-1])), ready_kwh=max(ready, 0.0))

    @property
    def asset(self) -> str:
        return f"two-way car {self.capacity_kwh:g} kWh"

    def scaled(self, factor: float) -> TwoWayCar:
        fields = ("capacity_kwh", "charge_kw", "discharge_kw", "ready_kwh", "drive_kwh", "start_kwh")
        return replace(self, **{name: factor * getattr(self, name) for name in fields})

    @classmethod
    def customary(cls, steps: int, step_hours: float) -> TwoWayCar:
        """50 kWh, 7.4 and 5 kW, there from 18:00 to 07:00, 8 kWh a day."""
        there, way = steps_within(18 * 60, 7 * 60, round(60 * step_hours)), math.sqrt(0.85)
        return cls(50.0, 7.4, 5.0, way, way, 25.0, 8.0, 25.0, there, float(there[0]))

    @property
    def size(self) -> tuple[float, ...]:
        return (self.capacity_kwh,)

    @property
    def in_words(self) -> str:
        return f"a car of {self.capacity_kwh:g} kWh that gives back up to {self.discharge_kw:g} kW"
