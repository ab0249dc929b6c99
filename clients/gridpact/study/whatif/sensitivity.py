"""Sensitivity: one number of a community at a time, all else as it is.

The trading coefficient chi, the feed-in price as a share of the import price, the size of all batteries and the
impedance of all lines change the plan; the imbalance adder changes what is left of it on delivery (`uncertainty`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path

import numpy as np

from gridpact.community.assigned import with_battery_size, with_line_impedance
from gridpact.community.model import Array, CommunityDay
from gridpact.errors import InfeasibleError
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.study.whatif import sweep, uncertainty
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.draws import DayPlan
from gridpact.study.whatif.realised import UncertaintySettings
from gridpact.study.whatif.sweep import DayFigures, PointFigures
from gridpact.text import share

SCENARIOS = (Scenario.B, Scenario.T, Scenario.TG)


class Parameter(Enum):
    """What is varied in the plan."""

    CHI = "chi"
    FEED_IN = "feed-in"
    BATTERY = "battery"
    LINES = "lines"

    def of(self, community: CommunityDay) -> float:
        """Its value in a community; of batteries and lines a multiple of what is there."""
        if self is Parameter.CHI:
            return community.trading_coefficient
        return community.prices.mean_feed_in_share if self is Parameter.FEED_IN else 1.0

    def at(self, community: CommunityDay, value: float) -> CommunityDay:
        """The community with another value."""
        if self is Parameter.CHI:
            return replace(community, trading_coefficient=value)
        if self is Parameter.FEED_IN:
            community.require_one_tariff("the study of feed-in prices", trade_fees=True, peak_fees=True)
            return replace(community, prices=replace(community.prices, feed_in_share=value, own_feed_in_price=None))
        return (with_battery_size if self is Parameter.BATTERY else with_line_impedance)(community, value)


VALUES: Mapping[Parameter, tuple[float, ...]] = {
    Parameter.CHI: (0.0, 0.05, 0.10, 0.15, 0.20),
    Parameter.FEED_IN: (0.0, 0.25, 0.5, 0.75, 1.0),
    Parameter.BATTERY: (0.0, 0.5, 1.0, 2.0, 4.0),
    Parameter.LINES: (0.25, 0.5, 1.0, 1.5, 2.0, 3.0),
}
RECOURSES = (Recourse.NONE, Recourse.ROLLING)
ADDERS = (0.0, 0.025, 0.05, 0.10, 0.20)


@dataclass(frozen=True)
class SensitivitySettings:
    """What is varied, and how."""

    values: Mapping[Parameter, tuple[float, ...]]
    adders: tuple[float, ...] = ADDERS
    delivery: UncertaintySettings = field(default_factory=lambda: UncertaintySettings(recourses=RECOURSES, draws=6))


@dataclass(frozen=True)
class SensitivityPoint:
    """One value of one parameter."""

    parameter: Parameter
    value: float
    figures: Mapping[Scenario, PointFigures]

    def saving(self, scenario: Scenario) -> float | None:
        """Of the community over the baseline with the same value, a fraction; None where there is no plan, or where the
        baseline costs nothing."""
        base, other = self.figures[Scenario.B], self.figures[scenario]
        if not (base.feasible and other.feasible):
            return None
        return share(base.cost - other.cost, base.cost)


@dataclass(frozen=True)
class AdderPoint:
    """One adder: what was left of the saving, by recourse, (draws,)."""

    adder: float
    savings: Mapping[Recourse, Array]
    paid: Mapping[Recourse, float]  # of adders, mean over the draws, currency


@dataclass(frozen=True)
class Sensitivity:
    """The outcome."""

    days: tuple[CommunityDay, ...]
    settings: SensitivitySettings
    points: tuple[SensitivityPoint, ...]  # parameter by parameter, values ascending
    adders: tuple[AdderPoint, ...]
    planned_saving: float  # of the plan that is delivered with the adders, currency
    plans: tuple[DayPlan, ...] = ()  # that are delivered with the adders
    not_delivered: str | None = None  # why there are no adder points

    def of(self, parameter: Parameter) -> list[SensitivityPoint]:
        return [point for point in self.points if point.parameter is parameter]

    @property
    def checks_held(self) -> bool:
        varied = all(f.checks_held for point in self.points for f in point.figures.values())
        return varied and all(plan.checks_held for plan in self.plans)


def vary(
    days: Sequence[CommunityDay],
    settings: SensitivitySettings,
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> Sensitivity:
    """Solves all values in B, T and TG on all days, and delivers the plan with all adders.

    Args:
        folder: where finished points and deliveries are kept, and found again; see `play`.

    Raises:
        GridpactError: see `uncertainty.plan_days`.
    """
    places = [(parameter, value) for parameter, values in settings.values.items() for value in values]
    tasks = [
        sweep.DayPoint.of(parameter.at(day, value), s) for parameter, value in places for s in SCENARIOS for day in days
    ]
    draws = settings.delivery.draws * len(days)
    tally = tally or Tally()
    tally.of = len(tasks) + (len(settings.adders) * draws + 2 * len(days) if settings.adders else 0)
    figures = (DayFigures.of(outcome) for outcome in play(tasks, folder, workers, tally))
    points = tuple(
        SensitivityPoint(parameter, value, {s: PointFigures(tuple(next(figures) for _ in days)) for s in SCENARIOS})
        for parameter, value in places
    )
    if not settings.adders:
        return Sensitivity(tuple(days), settings, points, (), 0.0)
    try:
        plans = uncertainty.plan_days(days, settings.delivery.scenario, folder, workers, tally)
    except InfeasibleError as error:
        tally.tell(tally.of)
        return Sensitivity(tuple(days), settings, points, (), 0.0, not_delivered=str(error))
    adders = []
    for adder in settings.adders:
        delivery = replace(settings.delivery, adder=adder)
        lived = uncertainty.live_through(plans, delivery, folder, workers, tally)
        adders.append(
            AdderPoint(
                adder,
                {r: lived.savings(r) for r in delivery.recourses},
                {r: float(np.mean(lived.over_days(r, lambda d: d.planned.adder))) for r in delivery.recourses},
            )
        )
    return Sensitivity(tuple(days), settings, points, tuple(adders), sum(plan.saving for plan in plans), plans)
