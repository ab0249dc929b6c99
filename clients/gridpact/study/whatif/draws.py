"""Draws of how planned days turn out, each lived through by the plan and by the baseline, and kept once it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.outcome.day import DayOutcome
from gridpact.study.weeks.plan import fingerprint
from gridpact.study.weeks.store import to_fields
from gridpact.study.whatif.delivery import Recourse, Terms
from gridpact.study.whatif.forecast import Reality, draw
from gridpact.study.whatif.reagreement import ReAgreed, re_agreement_steps, through_the_day
from gridpact.study.whatif.realised import Agreed, Side, UncertaintySettings, actual_of, closed, cost_foreseen, side_of
from gridpact.study.whatif.rules import Rule
from gridpact.study.whatif.sweep import DayPoint

DELIVERED_BY = (
    *(f"study/whatif/{name}.py" for name in ("draws", "realised", "delivery", "forecast", "following", "rules")),
    "study/whatif/reagreement.py",
    *(f"products/{name}.py" for name in ("imbalance", "pool", "shares")),
)
"""The sources that a delivery depends on besides those of its plan, within the package."""


@dataclass(frozen=True)
class Draw:
    """One reality of one day, delivered with one recourse."""

    day: str
    number: int
    recourse: Recourse
    planned: Side
    baseline: Side

    @property
    def saving(self) -> float:
        return self.baseline.cost - self.planned.cost


@dataclass(frozen=True)
class DayPlan:
    """A day as it was planned, by the community and by everybody alone."""

    community: CommunityDay
    planned: DayOutcome
    baseline: DayOutcome

    @property
    def saving(self) -> float:
        return self.baseline.cost - self.planned.cost

    @property
    def checks_held(self) -> bool:
        return all(outcome.checks_held and outcome.converged for outcome in (self.planned, self.baseline))


@dataclass(frozen=True)
class Rounds:
    """Re-agreements of a day."""

    iterations: tuple[int, ...] = ()  # of each that was reached
    kept: int = 0  # how often nothing was agreed, and what stood was kept


@dataclass(frozen=True)
class Lived:
    """One reality of a day, delivered with all recourses."""

    draws: tuple[Draw, ...]  # one for each recourse
    load_error: float  # mean magnitude, relative to the load
    pv_error: float
    re_agreed: tuple[Rounds, ...]  # by how often the rest of the day is agreed anew


def rule_name(number: int | None) -> str:
    """What the rule with re-agreements is called among the rules that one delivery is settled by."""
    return f"{Rule.REAGREED.value} {'every' if number is None else number}"


@dataclass(frozen=True)
class DeliveryTask:
    """One reality of a planned day that is to be delivered with all recourses; a `store.Task`."""

    plan: DayPlan
    settings: UncertaintySettings
    place: int  # of the day among the days
    number: int

    @property
    def name(self) -> str:
        planned = self.plan.planned
        return f"{DayPoint.of(self.plan.community, planned.scenario).name}_draw{self.number}_{self.fingerprint[:16]}"

    @property
    def effort(self) -> int:
        return 0  # all alike

    @property
    def fingerprint(self) -> str:
        """Of the day, how it is planned and how it turns out; not of how many draws there are besides."""
        inputs = {"settings": to_fields(replace(self.settings, draws=0)), "place": self.place, "number": self.number}
        return fingerprint(self.plan.community, inputs, *DELIVERED_BY)

    def solve(self) -> Lived:
        community, settings = self.plan.community, self.settings
        reality = draw(community, settings.model, np.random.default_rng([settings.seed, self.place, self.number]))
        draws = []
        days = self._re_agreed(reality) if Rule.REAGREED in settings.rules else {}
        for recourse in settings.recourses:
            planned = side_of(community, self.plan.planned, reality, settings, recourse, settings.adder)
            baseline = side_of(community, self.plan.baseline, reality, settings, recourse, 0.0)
            if recourse is settings.main_recourse:
                planned = replace(planned, by_rule={**planned.by_rule, **self._by_other_rules(reality, days, planned)})
            draws.append(Draw(community.day, self.number, recourse, planned, baseline))
        load = np.array([home.load_kw for home in community.households])
        pv = np.array([home.pv_kw for home in community.households])
        return Lived(
            tuple(draws),
            float(np.abs(reality.load_kw - load).sum() / load.sum()) if load.any() else 0.0,
            float(np.abs(reality.pv_kw - pv).sum() / pv.sum()) if pv.any() else 0.0,
            tuple(Rounds(day.iterations, day.kept) for day in days.values()),
        )

    def _re_agreed(self, reality: Reality) -> dict[str, ReAgreed]:
        return {
            rule_name(number): self._through_the_day(reality, re_agreement_steps(self.plan.community, number))
            for number in self.settings.re_agreements
        }

    def _through_the_day(self, reality: Reality, at: Sequence[int]) -> ReAgreed:
        community, settings = self.plan.community, self.settings
        nothing = np.zeros(community.steps)
        terms = Terms(community.prices, nothing, nothing, settings.adder, settings.public_price_on(community))
        actual = [actual_of(community, row, reality, settings.model) for row in range(len(community.households))]
        return through_the_day(
            community, self.plan.planned.scenario, actual, terms, at, settings.re_agree_above_kwh, settings.following
        )

    def _by_other_rules(self, reality: Reality, days: Mapping[str, ReAgreed], today: Side) -> dict[str, Array]:
        """What each household pays where more than the settlement is otherwise, (n,)."""
        settings = self.settings
        costs: dict[str, Array] = {}
        for name, day in days.items():
            costs |= self._pooled(reality, day, name)
        if Rule.POOL in settings.rules and settings.following and settings.main_recourse is Recourse.ROLLING:
            costs |= self._pooled(reality, self._through_the_day(reality, ()), Rule.POOL.value)
        if Rule.HINDSIGHT in settings.rules:
            foreseen = cost_foreseen(self.plan.community, reality, self.plan.planned.scenario, settings)
            costs[Rule.HINDSIGHT.value] = today.by_rule[Rule.TODAY.value] if foreseen is None else foreseen
        return costs

    def _pooled(self, reality: Reality, day: ReAgreed, name: str) -> dict[str, Array]:
        """What each household pays for a day with a pool, (n,): by a name, and with each sharing behind it."""
        community, settings = self.plan.community, self.settings
        agreed = Agreed.renewed(community, self.plan.planned, day)
        side = closed(community, agreed, day.delivered, reality, settings, settings.adder)
        own = Rule.POOL.value
        return {rule.replace(own, name, 1): cost for rule, cost in side.by_rule.items() if rule.startswith(own)}

    def read(self, fields: Mapping[str, Any]) -> Lived:
        draws = tuple(
            Draw(**row | {"recourse": Recourse(row["recourse"])} | {s: _read(row[s]) for s in ("planned", "baseline")})
            for row in fields["draws"]
        )
        return Lived(
            draws,
            float(fields["load_error"]),
            float(fields["pv_error"]),
            tuple(Rounds(tuple(one["iterations"]), one["kept"]) for one in fields["re_agreed"]),
        )


def _read(side: Mapping[str, Any]) -> Side:
    arrays = {name: np.array(side[name], dtype=float) for name in ("household_cost", "exchange_kw")}
    by_rule = {name: np.array(cost, dtype=float) for name, cost in side["by_rule"].items()}
    return Side(**{**side, **arrays, "by_rule": by_rule})
