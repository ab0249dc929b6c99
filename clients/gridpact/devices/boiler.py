"""A tank of hot water, heated by electricity or by a heat pump: for taps, and for a house that it keeps warm."""

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
    carnot_cop,
)

PROFILE = np.array([0, 0, 0, 0, 0, 0.04, 0.12, 0.15, 0.1, 0.06, 0.04, 0.04, 0.05, 0.04, 0.03, 0.03, 0.03, 0.04, 0.06,
                    0.07, 0.06, 0.04, 0, 0])  # fmt: skip
"""Part of a day's hot water that is drawn in each hour, where no forecast tells: most in the morning, some at night."""


@dataclass(frozen=True)
class Boiler(StoringDevice):
    """Electric boiler, or heat pump, that heats a tank. The tank loses heat in proportion to what is in it, and ends
    the day with at least what it began with."""

    tank_kwh: float
    power_kw: float
    loss_kw: float  # of a full tank
    start_kwh: float
    least_kwh: float
    demand_kw: Array  # (T,), heat that is drawn
    cop: Array | None = None  # (T,), of the heat pump that heats it; None: an electric heater, 1

    kind: ClassVar[str] = "boiler"
    a_name: ClassVar[str] = "a boiler"
    plural: ClassVar[str] = "boilers"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute(
            "tank_kwh", "boiler_kwh", "heat in a full tank, above cold water", unit="kWh", most=200.0, example=10.0
        ),
        Attribute("power_kw", "boiler_kw", "largest power of the heater", unit="kW", most=100.0, example=2.0),
        Attribute(
            "loss_kw", "boiler_loss_kw", "what a full tank loses", unit="kW", default=0.05, most=5.0, example=0.05
        ),
        Attribute(
            "demand_kwh", "boiler_demand_kwh", unit="kWh", default=0.0, most=200.0, example=6.0,
            meaning="heat that is drawn in a day, by a usual profile where no forecast tells more",
        ),
        Attribute(
            "start_share", "boiler_start_share", high=1.0, default=0.5, example=0.5,
            meaning="heat at the start of the day, as a share of a full tank; the day ends with at least as much",
        ),
        Attribute(
            "least_share", "boiler_least_share", high=1.0, default=0.1, example=0.1,
            meaning="heat that is always left, as a share of a full tank",
        ),
        Attribute(
            "quality", "boiler_quality", high=0.7, default=0.0, example=0.0,
            meaning="above 0: a heat pump heats it, whose coefficient of performance is this share of Carnot's",
        ),
        Attribute(
            "flow_c", "boiler_flow_c", unit="°C", low=20, high=75, default=50, example=50.0,
            meaning="the water that a heat pump makes",
        ),
        Attribute(
            "house_loss_kw_per_k", "boiler_house_loss_kw_per_k", unit="kW/K", default=0.0, most=20.0, example=0.0,
            meaning="above 0: it heats a house, which loses so much for each degree that it is warmer than outside",
        ),
        Attribute(
            "house_c", "boiler_house_c", unit="°C", low=5, high=35, default=20, example=20.0,
            meaning="how warm it keeps that house",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "boiler_start_kwh", "what is in the tank when the day begins; else `start_share` of it", is_series=False
        ),
        ForecastField("boiler_demand_kw", "heat that is drawn; else `[boiler] demand_kwh` by a usual profile"),
        ForecastField(
            "outdoor_c", "temperature outside, °C; only with a boiler that is a heat pump or heats a house",
            in_community=True, shared=True, low=-60, harmless=15, needed_with=("quality", "house_loss_kw_per_k"),
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (
        Column("boiler_kw", "power into the boiler"),
        Column("tank_kwh", "heat in the boiler's tank after the step"),
    )
    bands: ClassVar[tuple[Band, ...]] = (Band("Boilers", "vermilion", "boiler_kw"),)
    measured: ClassVar[Column | None] = Column("tank_kwh", "heat in the boiler's tank")
    varied: ClassVar[bool] = True

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Boiler | None:
        tank = stated["tank_kwh"]
        if tank == 0:
            return None
        start = day.numbers.get("boiler_start_kwh", tank * stated["start_share"])
        demand = day.series.get("boiler_demand_kw")
        if demand is None:
            demand = stated["demand_kwh"] * _usual(day.steps, day.step_hours)
        cop, quality, loss = None, stated.get("quality", 0.0), stated.get("house_loss_kw_per_k", 0.0)
        if quality or loss:
            if "outdoor_c" not in day.series:
                raise DeviceError("quality", "there is no outdoor_c, and the boiler works by it: give it, too")
            outdoor = day.series["outdoor_c"]
            demand = demand + loss * np.maximum(stated.get("house_c", 20.0) - outdoor, 0.0)
            cop = carnot_cop(quality, stated["flow_c"], outdoor) if quality else None
        least = tank * stated["least_share"]
        boiler = cls(tank, stated["power_kw"], stated["loss_kw"], start, least, demand, cop)
        boiler._check(day.step_hours)
        return boiler

    def _check(self, step_hours: float) -> None:
        """
        Raises:
            DeviceError: the tank is too full in the beginning, or gets too cold however much it is heated.
        """
        level = self.start_kwh
        if level > self.tank_kwh:
            raise DeviceError("start_share", f"there are {level:g} kWh in a tank of {self.tank_kwh:g} kWh: correct it")
        for step, (drawn, most) in enumerate(zip(self.demand_kw, self._heat_kw(self.power_kw), strict=True)):
            left = level * (1 - step_hours * self.loss_kw / self.tank_kwh) + step_hours * (most - drawn)
            level = min(left, self.tank_kwh)
            wanted = self.start_kwh if step == len(self.demand_kw) - 1 else self.least_kwh
            if level < wanted - 1e-9:
                raise DeviceError(
                    "demand_kwh",
                    f"the tank has {level:.3g} kWh left after step {step} although the boiler heats with all its "
                    f"{self.power_kw:g} kW, and must have {wanted:g} kWh; raise its power or lower what is drawn",
                )

    def _heat_kw(self, power_kw: Any) -> Any:
        """What a power makes of heat, (T,)."""
        return power_kw * np.ones(len(self.demand_kw)) if self.cop is None else self.cop * power_kw

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        heating = cp.Variable(steps, nonneg=True)
        tank = cp.Variable(steps + 1)  # kWh, before the first step and after each
        lost = self.loss_kw / self.tank_kwh * tank[:-1]
        heat = heating if self.cop is None else cp.multiply(self.cop, heating)
        return DeviceBlock(
            injection_kw=-heating,
            constraints={
                "the boiler's power": [heating <= self.power_kw],
                "the boiler's tank": [tank[1:] >= self.least_kwh, tank <= self.tank_kwh],
                "the boiler's heat at the start": [tank[0] == self.start_kwh],
                "the boiler's heat at the end": [tank[steps] >= self.wanted],
                "the boiler's heat balance": [cp.diff(tank) == step_hours * (heat - lost - self.demand_kw)],
            },
            schedule={"boiler_kw": heating, "tank_kwh": tank[1:]},
        )

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
    ) -> Boiler:
        """Of what a solver leaves open in the tank, no more is asked than it can heat."""
        kept = 1 - step_hours * self.loss_kw / self.tank_kwh
        if level is None:
            level = self.start_kwh
            heat = self._heat_kw(done["boiler_kw"])
            for heating, drawn in zip(heat[:first], self.demand_kw[:first], strict=True):
                level = kept * level + step_hours * (float(heating) - float(drawn))
        level = most = min(max(level, self.least_kwh), self.tank_kwh)
        for heat_kw, drawn in zip(self._heat_kw(self.power_kw)[first:], self.demand_kw[first:], strict=True):
            most = min(kept * most + step_hours * (float(heat_kw) - float(drawn)), self.tank_kwh)
        cop = None if self.cop is None else self.cop[first:]
        return replace(self, start_kwh=level, end=min(self.wanted, most), demand_kw=self.demand_kw[first:], cop=cop)

    @property
    def asset(self) -> str:
        return f"boiler {self.tank_kwh:g} kWh"

    def scaled(self, factor: float) -> Boiler:
        fields = ("tank_kwh", "power_kw", "loss_kw", "start_kwh", "least_kwh", "demand_kw")
        return replace(self, **{name: factor * getattr(self, name) for name in fields})

    @classmethod
    def customary(cls, steps: int, step_hours: float) -> Boiler:
        """10 kWh, 2 kW and 6 kWh a day."""
        return cls(10.0, 2.0, 0.05, 5.0, 1.0, 6.0 * _usual(steps, step_hours))

    @property
    def size(self) -> tuple[float, ...]:
        return (self.tank_kwh,)

    @property
    def in_words(self) -> str:
        return f"a boiler of {self.tank_kwh:g} kWh / {self.power_kw:g} kW"


def _usual(steps: int, step_hours: float) -> Array:
    """The usual profile, kW for 1 kWh a day, (T,): the mean over each step of what is drawn in its hours."""
    drawn = np.concatenate([[0.0], np.cumsum(PROFILE)])
    edges = np.arange(steps + 1) * step_hours
    by_step: Array = np.diff(np.interp(edges, np.arange(25), drawn)) / step_hours
    return by_step
