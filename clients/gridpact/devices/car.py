"""An electric car whose charging can be shifted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from gridpact.devices.device import (
    Array,
    Attribute,
    Band,
    Column,
    Constraints,
    Device,
    DeviceBlock,
    DeviceError,
    ForecastField,
    Occasion,
    Realised,
    Stated,
    clock,
    steps_within,
)


@dataclass(frozen=True)
class ElectricCar(Device):
    """Electric car whose charging can be shifted within the steps it is plugged in, eqs. (4)-(5)."""

    energy_kwh: float
    power_kw: float
    efficiency: float
    plugged_in: NDArray[np.bool_]  # (T,), omega of eq. (5)
    due_kwh: float | None = field(default=None, kw_only=True)
    """Of its energy, what it needs before it first leaves, where days follow each other: the rest it has from the
    evening before. None: nobody looks at the day before."""

    kind: ClassVar[str] = "car"
    a_name: ClassVar[str] = "a car"
    plural: ClassVar[str] = "electric cars"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "energy_kwh", "car_kwh", "energy that the car's battery takes in every day", unit="kWh", default=0.0,
            most=300.0, example=8.0,
        ),
        Attribute("power_kw", "car_kw", "largest charging power", unit="kW", most=350.0, example=3.7),
        Attribute("efficiency", "car_efficiency", "of charging", low=0.1, high=1.0, default=1.0, example=0.95),
        Attribute("from", "car_from", "from when on the car is plugged in", is_clock=True, example="18:00"),
        Attribute("to", "car_to", "until when the car is plugged in", is_clock=True, example="07:00"),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "car_energy_kwh", "what the car wants on that day, 0 for nothing; else `[car] energy_kwh`", is_series=False
        ),
        ForecastField("car_plugged_in", "1 where the car is there, else 0; else `[car] from` and `to`"),
    )
    columns: ClassVar[tuple[Column, ...]] = (Column("car_kw", "power into the electric car"),)
    bands: ClassVar[tuple[Band, ...]] = (Band("Electric cars", "purple", "car_kw"),)
    uncertain: ClassVar[tuple[str, ...]] = ("plugged_in",)
    measured: ClassVar[Column | None] = Column("car_wanted_kwh", "what the car still wants of the day's energy")
    couples_steps: ClassVar[bool] = True
    daily: ClassVar[bool] = True
    varied: ClassVar[bool] = True
    usual: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> ElectricCar | None:
        energy = day.numbers.get("car_energy_kwh", stated["energy_kwh"])
        if energy == 0:
            return None
        forecast = day.series.get("car_plugged_in")
        start, end = round(stated["from"]), round(stated["to"])
        plugged_in = steps_within(start, end, round(60 * day.step_hours)) if forecast is None else forecast > 0
        power, efficiency = stated["power_kw"], stated["efficiency"]
        most = power * efficiency * plugged_in.sum() * day.step_hours
        if most < energy - 1e-9:
            window = f"from {clock(start)} to {clock(end)}" if forecast is None else "while it is plugged in"
            raise DeviceError(
                "energy_kwh",
                f"the car needs {energy:g} kWh, but can charge only {most:g} kWh at {power:g} kW {window}; widen the "
                "window or raise its power",
            )
        return cls(energy, power, efficiency, plugged_in)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        charging = cp.Variable(steps, nonneg=True)
        plugged_in = self.plugged_in if realised is None else realised["plugged_in"]
        charged = step_hours * self.efficiency * cp.sum(charging)
        elsewhere = None if realised is None else cp.Variable(nonneg=True)  # at a public charger
        taken = charged if elsewhere is None else charged + elsewhere
        constraints: Constraints = {
            "the car's charging power while it is plugged in": [charging <= self.power_kw * plugged_in],  # (5)
            "the car's energy for the day": [taken == self.energy_kwh],  # (4)
        }
        if self.due_kwh:
            early = step_hours * self.efficiency * cp.sum(charging[: self._leaves])
            due = early if elsewhere is None else early + elsewhere
            constraints["the car's energy when it leaves"] = [due >= self.due_kwh]
        return DeviceBlock(
            injection_kw=-charging,
            constraints=constraints,
            schedule={"car_kw": charging},
            elsewhere_kwh=elsewhere,
        )

    @property
    def _leaves(self) -> int:
        """At which step it first is away; T where it stays."""
        away = np.flatnonzero(~self.plugged_in)
        return int(away[0]) if away.size else len(self.plugged_in)

    def after(self, before: ElectricCar, plan: Mapping[str, Array], step_hours: float) -> ElectricCar:
        """What it takes in after it is back, it need not take in the next morning: every day as much as on the first
        of the row."""
        stays = self.plugged_in.all() or not (self.plugged_in[0] and self.plugged_in[-1])
        if stays:
            return self
        if before.due_kwh is not None:
            return replace(self, due_kwh=max(before.due_kwh + self.energy_kwh - before.energy_kwh, 0.0))
        back = int(np.flatnonzero(~before.plugged_in)[-1]) + 1
        evening = step_hours * self.efficiency * float(plan["car_kw"][back:].sum())
        morning = step_hours * self.efficiency * self.power_kw * self._leaves
        return replace(self, due_kwh=min(max(self.energy_kwh - evening, 0.0), morning))

    def carried_out(
        self, plan: Mapping[str, Array], realised: Mapping[str, Array], step_hours: float
    ) -> dict[str, Array]:
        """It charges as planned while it is there, and makes up for what it missed as soon as it is back."""
        charging = np.zeros_like(plan["car_kw"])
        needed, due = self.energy_kwh / (self.efficiency * step_hours), 0.0  # kW over steps, and what was missed
        for t, at_home in enumerate(realised["plugged_in"]):
            due += plan["car_kw"][t]
            charging[t] = min(due, self.power_kw, needed) * at_home
            due -= charging[t]
            needed -= charging[t]
        return {"car_kw": charging}

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> ElectricCar:
        """It still wants what it has not got, as far as it can get that at home."""
        later = super().rest(first, done, expected, step_hours)
        hourly = step_hours * self.efficiency
        left = self.energy_kwh - hourly * float(done["car_kw"][:first].sum()) if level is None else level
        return replace(later, energy_kwh=min(max(left, 0.0), hourly * self.power_kw * int(later.plugged_in.sum())))

    def lacking_kwh(self, done: Mapping[str, Array], step_hours: float) -> float:
        return max(self.energy_kwh - step_hours * self.efficiency * float(done["car_kw"].sum()), 0.0)

    @property
    def asset(self) -> str:
        return "electric car"

    def scaled(self, factor: float) -> ElectricCar:
        return replace(self, energy_kwh=factor * self.energy_kwh, power_kw=factor * self.power_kw)

    @classmethod
    def customary(cls, steps: int, step_hours: float) -> ElectricCar:
        """7 kWh at 3.7 kW from 18:00 to 07:00."""
        return cls(7.0, 3.7, 0.9, steps_within(18 * 60, 7 * 60, round(60 * step_hours)))

    @property
    def size(self) -> tuple[float, ...]:
        return self.energy_kwh, self.power_kw

    @property
    def in_words(self) -> str:
        return f"a car that takes {self.energy_kwh:g} kWh a day at {self.power_kw:g} kW"
