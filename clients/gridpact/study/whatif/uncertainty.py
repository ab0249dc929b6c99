"""Uncertainty: how much of a plan's saving is left when load, PV and cars turn out otherwise than forecast.

Task 4.3 of the B-DER report. The day of the community file is the forecast, and the plan is made on it; realities are
drawn around it (`forecast`) and delivered (`delivery`). The baseline lives through the same realities with the same
recourse, but has no plan that it could deviate from. What is compared is the difference of the two on each draw.

What a day comes to is `realised`, and one draw of it `draws`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.errors import InfeasibleError, InputError, SolverError
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.fairness import BASELINE, EQUAL, NODE_PRICES, by_baseline, equal_parts
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.draws import DayPlan, DeliveryTask, Draw, Rounds, rule_name
from gridpact.study.whatif.reagreement import re_agreement_steps
from gridpact.study.whatif.realised import UncertaintySettings
from gridpact.study.whatif.rules import SHARINGS, CurvePoint, Rule, RuleFigures, SharingFigures, SharingKeys
from gridpact.study.whatif.sweep import DayPoint


@dataclass(frozen=True)
class Uncertainty:
    """The outcome."""

    plans: tuple[DayPlan, ...]
    settings: UncertaintySettings
    draws: tuple[Draw, ...]  # day by day, then by number, then by recourse
    load_error: float  # mean magnitude of the load's error, relative to the load, over all draws, homes and steps
    pv_error: float
    re_agreed: tuple[tuple[Rounds, ...], ...] = ()  # of each draw, by how often the rest of the day is agreed anew

    @property
    def planned_saving(self) -> float:
        """Over all days, if everything turned out as forecast."""
        return sum(plan.saving for plan in self.plans)

    @property
    def planned_cost(self) -> float:
        return sum(plan.planned.cost for plan in self.plans)

    @property
    def baseline_cost(self) -> float:
        return sum(plan.baseline.cost for plan in self.plans)

    def savings(self, recourse: Recourse) -> Array:
        """Of each draw, over all days, (draws,)."""
        return self.over_days(recourse, lambda d: d.saving)

    def savings_if_netted(self, recourse: Recourse) -> Array:
        """The same, had the adder been paid on the sum of all households' deviations only, as it is in G; (draws,)."""
        if not self.settings.scenario.has_contracts:
            return self.savings(recourse)
        netted = self.over_days(recourse, lambda d: d.planned.deviation_kwh - d.planned.netted_kwh)
        return self.savings(recourse) + self.settings.adder * netted

    def over_days(self, recourse: Recourse, of: Callable[[Draw], float]) -> Array:
        """A sum over the days of each draw, (draws,)."""
        total = np.zeros(self.settings.draws)
        for d in self.draws:
            if d.recourse is recourse:
                total[d.number] += of(d)
        return total

    def household_savings(self, recourse: Recourse) -> Array:
        """Of each draw and household, over all days, (draws, n)."""
        alone, together = (
            self._household_costs(recourse, s)
            for s in (lambda d: d.baseline.household_cost, lambda d: d.planned.household_cost)
        )
        return alone - together

    def shared(self, recourse: Recourse) -> Mapping[str, Array]:
        """In G, what each household saves by each rule that shares what the community pays, (draws, n)."""
        alone = self._household_costs(recourse, lambda d: d.baseline.household_cost)
        total = self._household_costs(recourse, lambda d: d.planned.household_cost).sum(axis=1)
        pairs = list(zip(total, alone, strict=True))
        return {
            NODE_PRICES: self.household_savings(recourse),
            EQUAL: alone - np.array([equal_parts(cost, len(homes)) for cost, homes in pairs]),
            BASELINE: alone - np.array([by_baseline(cost, homes) for cost, homes in pairs]),
        }

    @cached_property
    def rules(self) -> tuple[RuleFigures, ...]:
        """What is left by each rule, on the same draws, each household doing what the main recourse lets it."""
        settings, community = self.settings, self.plans[0].community
        homes = [home.name for home in community.households]
        alone = self._household_costs(settings.main_recourse, lambda d: d.baseline.household_cost)
        figures = []
        for rule in settings.rules:
            for number in settings.re_agreements if rule is Rule.REAGREED else (None,):
                gates = self._gates(number) if rule is Rule.REAGREED else 0
                savings = alone - self._by_rule(settings.main_recourse, rule, number)
                figures.append(RuleFigures.of(rule, gates, savings, self.planned_saving, homes))
        return tuple(figures)

    @cached_property
    def sharings(self) -> tuple[SharingFigures, ...]:
        """Who loses by how a pool's energy is paid and adders are shared, on the same deliveries; in G none."""
        settings = self.settings
        if not settings.scenario.has_contracts:
            return ()
        alone = self._household_costs(settings.main_recourse, lambda d: d.baseline.household_cost)
        figures = []
        for rule in (rule for rule in settings.rules if rule in (Rule.POOL, Rule.REAGREED)):
            for number in settings.re_agreements if rule is Rule.REAGREED else (None,):
                gates = self._gates(number) if rule is Rule.REAGREED else 0
                for sharing in SHARINGS:
                    savings = alone - self._by_rule(settings.main_recourse, rule, number, sharing)
                    figures.append(SharingFigures.of(rule, gates, sharing, savings))
        return tuple(figures)

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """What is left by how often the rest of the day is agreed anew, seldom first; from the pool alone on, where
        that was played."""
        days = self.settings.draws * len(self.plans)
        agreed = iter(self.settings.re_agreements)
        points = []
        for figures in self.rules:
            if figures.name == Rule.POOL.value:
                points.append(CurvePoint.of(figures, days, 0, 0))
            elif figures.name == Rule.REAGREED.value:
                iterations = self.rounds(next(agreed)).iterations
                points.append(CurvePoint.of(figures, days, len(iterations), sum(iterations)))
        return tuple(sorted(points, key=lambda point: point.re_agreements))

    def _gates(self, number: int | None) -> int:
        """How often the rest of a day is agreed anew; with a threshold on average."""
        if not self.settings.re_agree_above_kwh:
            return len(re_agreement_steps(self.plans[0].community, number))
        return round(len(self.rounds(number).iterations) / max(self.settings.draws * len(self.plans), 1))

    def rounds(self, number: int | None) -> Rounds:
        """All re-agreements of all draws, at so many a day."""
        place = self.settings.re_agreements.index(number)
        drawn = [one[place] for one in self.re_agreed if one]
        return Rounds(tuple(k for one in drawn for k in one.iterations), sum(one.kept for one in drawn))

    def _by_rule(self, recourse: Recourse, rule: Rule, number: int | None, sharing: SharingKeys | None = None) -> Array:
        name = rule_name(number) if rule is Rule.REAGREED else rule.value
        if sharing is not None:
            name = f"{name}: {sharing.name}"
        return self._household_costs(recourse, lambda d: d.planned.by_rule[name])

    def _household_costs(self, recourse: Recourse, of: Callable[[Draw], Array]) -> Array:
        """Over all days, (draws, n)."""
        total = np.zeros((self.settings.draws, len(self.plans[0].community.households)))
        for d in self.draws:
            if d.recourse is recourse:
                total[d.number] += of(d)
        return total

    @property
    def checks_held(self) -> bool:
        """Of the plans."""
        return all(plan.checks_held for plan in self.plans)

    @property
    def planned_household_savings(self) -> Array:
        """(n,)"""
        saved = np.zeros(len(self.plans[0].community.households))
        for plan in self.plans:
            both = zip(plan.baseline.households, plan.planned.households, strict=True)
            saved += np.array([alone.cost - together.cost for alone, together in both])
        return saved


def plan_days(
    days: Sequence[CommunityDay],
    scenario: Scenario,
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> tuple[DayPlan, ...]:
    """Plans all days in a scenario and in the baseline.

    Args:
        folder: where finished plans are kept, and found again; see `play`.

    Raises:
        InputError: the scenario has no plan that others were told of.
        InfeasibleError: a day has no feasible plan.
        SolverError: a solver failed, or the relaxation is not tight, on some day.
    """
    if scenario == Scenario.B:
        raise InputError("scenario b cannot be delivered: nobody is told a plan; choose t, g or tg")
    tasks = [DayPoint.of(day, s) for day in days for s in (scenario, Scenario.B)]
    outcomes = play(tasks, folder, workers, tally)
    for outcome in outcomes:
        if outcome.failure is not None:
            error = InfeasibleError if outcome.failure_status == InfeasibleError.exit_status else SolverError
            raise error(f"{outcome.failure}; without a plan nothing can be delivered")
    return tuple(DayPlan(day, outcomes[2 * k], outcomes[2 * k + 1]) for k, day in enumerate(days))


def live_through(
    plans: Sequence[DayPlan],
    settings: UncertaintySettings,
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> Uncertainty:
    """Draws realities of planned days and delivers them.

    Args:
        folder: where what is delivered is kept, and found again; see `play`.
    """
    tasks = [
        DeliveryTask(plan, settings, k, number) for k, plan in enumerate(plans) for number in range(settings.draws)
    ]
    lived = play(tasks, folder, workers, tally)
    return Uncertainty(
        tuple(plans),
        settings,
        draws=tuple(d for one in lived for d in one.draws),
        load_error=float(np.mean([one.load_error for one in lived])),
        pv_error=float(np.mean([one.pv_error for one in lived])),
        re_agreed=tuple(one.re_agreed for one in lived),
    )


def quantiles(values: Array, at: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Mapping[float, float]:
    return {q: float(np.quantile(values, q)) for q in at}
