"""An appliance that runs for some hours within a window: a washing machine, a dishwasher, a drier.

Whether it runs is a whole number, so it is no part of a convex problem. It is decided beforehand, by the price that is
expected of a kWh at the household's meter (`Outlook`), and stands in a round as a load like any other. While the day
runs it is decided anew before the gate of each step, by the price that is seen then and the hurdle price of what may
come (`jobs`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

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
    Realised,
    Stated,
    clock,
    steps_within,
)
from gridpact.devices.jobs import Job, Pattern, as_expected, from_now
from gridpact.devices.price_model import PriceModel

ROUNDING = 1e-9


@dataclass(frozen=True)
class Appliance(Device):
    """An appliance on one day, with the steps in which it is to run by what is expected."""

    power_kw: float  # in each step in which it runs
    needed: float  # steps that it has to run
    in_parts: float  # 1: it may be interrupted
    at_once: float  # 1: it starts as soon as it may
    price_most: float  # currency/kWh that it accepts; 0: it looks for the least
    by_table: float  # 1: its prices are those that it is told to expect; 0: those at its meter
    window: NDArray[np.bool_]  # (T,), steps in which it may run
    price: Array  # (T,), that is expected, currency/kWh
    runs: NDArray[np.bool_]  # (T,)
    begun: float = field(default=0.0, kw_only=True)  # 1: it ran in the step before these, and has to go on
    model: PriceModel | None = field(default=None, kw_only=True)  # None: prices come as they are expected

    kind: ClassVar[str] = "appliance"
    a_name: ClassVar[str] = "an appliance"
    plural: ClassVar[str] = "appliances"
    attributes: ClassVar[tuple[Attribute, ...]] = (
        Attribute("power_kw", "appliance_kw", "power while it runs", unit="kW", most=50.0, example=2.0),
        Attribute(
            "hours", "appliance_hours", "that it has to run in a day", low=0.01, high=24.0, unit="h", example=2.0
        ),
        Attribute("from", "appliance_from", "from when on it may run", is_clock=True, example="08:00"),
        Attribute("to", "appliance_to", "when it has to be done, on the same day", is_clock=True, example="20:00"),
        Attribute(
            "in_parts", "appliance_in_parts", high=1.0, default=0.0, example=0,
            meaning="1: it may be interrupted; 0: it runs in one go",
        ),
        Attribute(
            "at_once", "appliance_at_once", high=1.0, default=0.0, example=0,
            meaning="1: it starts as soon as it may; 0: it waits for the least price that is expected",
        ),
        Attribute(
            "price_most", "appliance_price_most", unit="currency/kWh", default=0.0, most=5.0, example=0.0,
            meaning="above 0: it runs where a kWh costs no more, on average over its run if that is in one go, and at "
            "the end of its window in any case",
        ),
        Attribute(
            "by_table", "appliance_by_table", high=1.0, default=0.0, example=0,
            meaning="1: it expects the prices that are told (`expected_price`); 0: what a kWh costs at the meter, the "
            "import price, or the feed-in price of what panels have over",
        ),
    )  # fmt: skip
    forecast_fields: ClassVar[tuple[ForecastField, ...]] = (
        ForecastField(
            "expected_price", "price of a kWh that appliances are to expect, currency/kWh; only with `by_table`",
            in_community=True, shared=True, low=-math.inf, needed_with=("by_table",),
        ),
    )  # fmt: skip
    columns: ClassVar[tuple[Column, ...]] = (Column("appliance_kw", "power of the appliance"),)
    daily: ClassVar[bool] = True
    bands: ClassVar[tuple[Band, ...]] = (Band("Appliances", "blue", "appliance_kw", hatch="...."),)
    uncertain: ClassVar[tuple[str, ...]] = ("runs",)
    measured: ClassVar[Column | None] = Column("appliance_wanted_h", "hours that the appliance still has to run")

    @classmethod
    def of(cls, stated: Stated, day: Occasion) -> Appliance | None:
        power, hours = stated["power_kw"], stated["hours"]
        if power == 0:
            return None
        start, end = round(stated["from"]), round(stated["to"])
        if start >= end:
            raise DeviceError(
                "to",
                f"an appliance that may run from {clock(start)} has to be done later on the same day, not at "
                f"{clock(end)}: a day is planned on its own; correct one",
            )
        if stated["at_once"] and stated["price_most"]:
            raise DeviceError("price_most", "an appliance that starts at once waits for no price; leave one out")
        for key in ("in_parts", "at_once", "by_table"):
            if stated[key] not in (0, 1):
                raise DeviceError(key, f"{stated[key]:g} is neither 0 nor 1; give one of them")
        window = steps_within(start, end, round(60 * day.step_hours))
        needed = math.ceil(hours / day.step_hours - ROUNDING)
        if needed > window.sum():
            raise DeviceError(
                "hours",
                f"the appliance needs {hours:g} h, and has {window.sum() * day.step_hours:g} h in whole steps from "
                f"{clock(start)} to {clock(end)}; widen the window",
            )
        mean = power * hours / (needed * day.step_hours)  # what is no whole number of steps is spread over them
        if not stated["by_table"]:
            price = np.zeros(day.steps) if day.outlook is None else day.outlook.price_of(mean)
        elif "expected_price" in day.series:
            price = day.series["expected_price"]
        else:
            raise DeviceError("by_table", "there is no expected_price, and the appliance runs by it: give it, too")
        ways = stated["in_parts"], stated["at_once"], stated["price_most"], stated["by_table"]
        return cls(mean, needed, *ways, window, price, window, model=day.price_model)._expecting(price)

    @property
    def job(self) -> Job:
        """What is left of it."""
        steps, in_parts = int(self.needed), bool(self.in_parts)
        if self.at_once:
            return Job(steps, in_parts, Pattern.NORMAL)
        if not self.price_most:
            return Job(steps, in_parts, Pattern.PREDICTION)
        most = self.price_most if in_parts else steps * self.price_most
        return Job(steps, in_parts, Pattern.ACCEPTANCE, most)

    def _expecting(self, price: Array) -> Appliance:
        """It with the steps in which it is to run by a price."""
        runs = np.zeros(len(self.window), dtype=bool)
        if self.needed:
            runs[self.window] = as_expected(self.job, price[self.window].tolist(), running=bool(self.begun))
        return replace(self, price=price, runs=runs)

    def _decided(self) -> Appliance:
        """It with the first of its steps decided by the price there, which is seen before the gate, and the hurdle
        price of what may come."""
        if self.model is None or not self.needed or not self.window[0]:
            return self
        price, *ahead = self.price[self.window].tolist()
        runs = np.zeros(len(self.window), dtype=bool)
        runs[self.window] = from_now(self.job, price, ahead, self.model, bool(self.begun))
        return replace(self, runs=runs)

    def block(self, steps: int, step_hours: float, realised: Realised | None = None) -> DeviceBlock:
        import cvxpy as cp

        runs = cp.Constant(self.runs.astype(float)) if realised is None else realised["runs"]
        power = cp.Variable(steps)
        return DeviceBlock(
            injection_kw=-power,
            constraints={"the appliance's run": [power == self.power_kw * runs]},
            schedule={"appliance_kw": power},
        )

    def rest(
        self,
        first: int,
        done: Mapping[str, Array],
        expected: Mapping[str, Array],
        step_hours: float,
        level: float | None = None,
    ) -> Appliance:
        """It runs as is expected of it, or else as is best by the price that is expected."""
        ran = done["appliance_kw"][:first] > self.power_kw / 2
        needed = max(self.needed - int(ran.sum()), 0.0)
        if level is not None:
            needed = float(math.ceil(level / step_hours - ROUNDING))
        window = self.window[first:]
        begun = float(ran[-1]) if first else self.begun
        needed = min(needed, float(window.sum()))
        later = replace(
            self, needed=needed, window=window, price=self.price[first:], runs=self.runs[first:], begun=begun
        )
        if "runs" in expected:
            return replace(later, runs=expected["runs"][first:].astype(bool))
        return later._expecting(later.price)._decided()

    @property
    def asset(self) -> str:
        return f"appliance {self.power_kw:g} kW"

    def finer(self, parts: int, cut: Any) -> Appliance:
        window, price, runs = self.window.repeat(parts), self.price.repeat(parts), self.runs.repeat(parts)
        return replace(self, needed=parts * self.needed, window=window, price=price, runs=runs)

    def scaled(self, factor: float) -> Appliance:
        return replace(self, power_kw=factor * self.power_kw)
