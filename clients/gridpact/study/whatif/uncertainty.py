"""Uncertainty: how much of a plan's saving is left when load, PV and cars turn out otherwise than forecast.

Task 4.3 of the B-DER report. The day of the community file is the forecast, and the plan is made on it; realities are
drawn around it (`forecast`) and delivered (`delivery`). The baseline lives through the same realities with the same
recourse, but has no plan that it could deviate from. What is compared is the difference of the two on each draw.

In T and TG trades stand as agreed, each household does what its recourse allows, and the rest is settled with its own
supplier, deviations included; adders are netted, and pools made, among the customers of one supplier. Fees are due on
trades as agreed and on peaks as they were. In G the community buys at the grid connection and has one plan there:

    cost = sum dt (kappa g0+ - f g0- + adder |g0 - planned g0|), g0 = g0+ - g0-

so that what neighbours deviate in opposite directions costs nothing. To the community a household has promised the
injection of its plan, as a partner in T. It pays its part of the plan's bill (`at_node_prices`), kappa for what it
lacks of the promise, gets f for what it has beyond, and bears the adders by how much it deviates. That collects more
than the community pays; what is over goes back by the energy that passed each meter. Since a household does not know
what the others do, it plans anew as if its deviation were the community's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.devices.appliance import Appliance
from gridpact.devices.pv import Panels
from gridpact.errors import InfeasibleError, InputError, SolverError
from gridpact.grid.powerflow import power_flow
from gridpact.outcome.day import DayOutcome, by_magnitude, solve_day
from gridpact.problem.scenario import Scenario
from gridpact.problem.verification import peaks_paid, trades_charged
from gridpact.products.imbalance import AdderKey
from gridpact.products.pool import PoolRules
from gridpact.study.weeks.fairness import BASELINE, EQUAL, NODE_PRICES, by_baseline, equal_parts
from gridpact.study.weeks.plan import fingerprint
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.store import to_fields
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.study.whatif.delivery import Actual, Delivered, Recourse, Terms, deliver
from gridpact.study.whatif.forecast import ErrorModel, Reality, decided, draw, guessed_pv, seen
from gridpact.study.whatif.reagreement import ReAgreed, re_agreement_steps, through_the_day
from gridpact.study.whatif.rules import (
    SETTLED,
    SHARINGS,
    CurvePoint,
    Rule,
    RuleFigures,
    SharingFigures,
    SharingKeys,
    settled,
    shared,
)
from gridpact.study.whatif.sweep import DayPoint

DELIVERED_BY = (
    *(f"study/whatif/{name}.py" for name in ("uncertainty", "delivery", "forecast", "following", "rules")),
    "study/whatif/reagreement.py",
    *(f"products/{name}.py" for name in ("imbalance", "pool", "shares")),
)
"""The sources that a delivery depends on besides those of its plan, within the package."""

PUBLIC_PRICE = 2.0
"""A public charger's price as a multiple of the day's mean import price, where none is given."""


@dataclass(frozen=True)
class UncertaintySettings:
    """What is delivered, and at which prices."""

    scenario: Scenario = Scenario.TG
    model: ErrorModel = field(default_factory=ErrorModel)
    adder: float = 0.05  # currency/kWh of deviation from the plan
    public_price: float | None = None  # currency/kWh; None: `PUBLIC_PRICE` times the mean import price
    recourses: tuple[Recourse, ...] = tuple(Recourse)
    draws: int = 20
    seed: int = 1
    pool: PoolRules = field(default_factory=PoolRules)
    rules: tuple[Rule, ...] = SETTLED
    re_agreements: tuple[int | None, ...] = (None,)  # a day, with the rule that has them; None: before every step
    re_agree_above_kwh: float = 0.0  # of what is expected otherwise; below it, what stands is kept
    following: bool = True  # with the rules that have a pool: whether stores follow the community's meter
    adders: AdderKey = AdderKey.CAUSED  # who bears them, but by today's rules

    @property
    def main_recourse(self) -> Recourse:
        """That by which rules are compared."""
        return Recourse.ROLLING if Recourse.ROLLING in self.recourses else self.recourses[0]

    def public_price_on(self, community: CommunityDay) -> float:
        if self.public_price is not None:
            return self.public_price
        return public_price_of(community)


@dataclass(frozen=True)
class Side:
    """A community's day in one reality, with a plan or in the baseline."""

    household_cost: Array  # (n,), all that each pays
    by_rule: Mapping[str, Array]  # the same by each rule that settles the same delivery, (n,)
    adder: float  # currency
    public: float  # currency
    losses: float  # currency
    deviation_kwh: float  # sum over households and steps of the magnitude
    netted_kwh: (
        float  # the same of the community's sum: what is left if neighbours' deviations cancel; in G with losses
    )
    public_kwh: float
    exchange_kw: Array  # (T,)
    voltage_min_pu: float
    voltage_max_pu: float

    @property
    def cost(self) -> float:
        return float(self.household_cost.sum())


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
        name = _named(number) if rule is Rule.REAGREED else rule.value
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


@dataclass(frozen=True)
class Lived:
    """One reality of a day, delivered with all recourses."""

    draws: tuple[Draw, ...]  # one for each recourse
    load_error: float  # mean magnitude, relative to the load
    pv_error: float
    re_agreed: tuple[Rounds, ...]  # by how often the rest of the day is agreed anew


def _named(number: int | None) -> str:
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
            planned = _side(community, self.plan.planned, reality, settings, recourse, settings.adder)
            baseline = _side(community, self.plan.baseline, reality, settings, recourse, 0.0)
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
            _named(number): self._through_the_day(reality, re_agreement_steps(self.plan.community, number))
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
            foreseen = _foreseen(self.plan.community, reality, self.plan.planned.scenario, settings)
            costs[Rule.HINDSIGHT.value] = today.by_rule[Rule.TODAY.value] if foreseen is None else foreseen
        return costs

    def _pooled(self, reality: Reality, day: ReAgreed, name: str) -> dict[str, Array]:
        """What each household pays for a day with a pool, (n,): by a name, and with each sharing behind it."""
        community, settings = self.plan.community, self.settings
        agreed = _Agreed.renewed(community, self.plan.planned, day)
        side = _closed(community, agreed, day.delivered, reality, settings, settings.adder)
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


@dataclass(frozen=True)
class _Agreed:
    """What a community stands by when it delivers; (n, T) and kW."""

    in_common: bool
    sold_kw: Array  # to neighbours; in common the injection that was promised
    nominated_kw: Array  # net import
    kvar: Array  # what is given, by inverters as planned and loads as forecast
    exchange_kw: Array  # (T,), at the grid connection
    paid: Array  # (n,), currency: for trades; in common for what was promised

    @staticmethod
    def planned(outcome: DayOutcome) -> _Agreed:
        def of(column: str) -> Array:
            return np.array([home.schedule[column] for home in outcome.households])

        in_common = not outcome.scenario.has_contracts
        imported = of("import_kw") - of("feed_in_kw")
        return _Agreed(
            in_common,
            of("injection_kw") if in_common else of("net_sold_kw"),
            np.zeros_like(imported) if in_common else imported,
            of("injection_kvar"),
            outcome.exchange_kw,
            np.array([home.import_cost if in_common else home.trade_cost for home in outcome.households]),
        )

    @staticmethod
    def renewed(community: CommunityDay, outcome: DayOutcome, day: ReAgreed) -> _Agreed:
        """In common, what a promise was changed by is settled as a deviation is: kappa for less, f for more."""
        course, before = day.course, _Agreed.planned(outcome)
        paid = course.paid
        if before.in_common:
            changed = community.prices.paid(before.sold_kw - course.sold_kw)
            paid = before.paid + community.step_hours * changed.sum(axis=1)
        flow = power_flow(community.feeder, course.planned_kw, course.planned_kvar)
        return _Agreed(before.in_common, course.sold_kw, course.nominated_kw, course.planned_kvar, flow.import_kw, paid)


def _side(
    community: CommunityDay,
    outcome: DayOutcome,
    reality: Reality,
    settings: UncertaintySettings,
    recourse: Recourse,
    adder: float,
) -> Side:
    agreed = _Agreed.planned(outcome)
    delivered: list[Delivered] = []
    for row, home in enumerate(community.households):
        terms = Terms(
            prices=community.prices_of(home, agreed.in_common),
            net_sold_kw=agreed.sold_kw[row],
            planned_import_kw=agreed.nominated_kw[row],
            adder=adder,
            public_price=settings.public_price_on(community),
        )
        actual = actual_of(community, row, reality, settings.model)
        delivered.append(deliver(home, outcome.households[row].schedule, actual, terms, recourse, community.step_hours))
    return _closed(community, agreed, delivered, reality, settings, adder)


def _closed(
    community: CommunityDay,
    agreed: _Agreed,
    delivered: Sequence[Delivered],
    reality: Reality,
    settings: UncertaintySettings,
    adder: float,
) -> Side:
    """A day that is over: its flows, and who pays what."""
    dt, prices = community.step_hours, community.prices
    injection = np.array([d.injection_kw for d in delivered])
    flow = power_flow(community.feeder, injection, _reactive(community, agreed, reality))
    deviations = np.array([d.deviation_kw for d in delivered])
    supply = np.array([d.supply for d in delivered])
    public = np.array([d.public for d in delivered])
    loss_cost = dt * prices.import_price * flow.losses_kw
    fees = peaks_paid(prices, injection, community.peaks_kw)
    fees = fees + dt * trades_charged(prices, injection if agreed.in_common else agreed.sold_kw).sum(axis=1)
    customers = community.customers(agreed.in_common)
    if agreed.in_common:
        netted = np.abs(flow.import_kw - agreed.exchange_kw)
        adders = dt * adder * (by_magnitude(deviations) @ netted)
        bought, fed_in = np.maximum(flow.import_kw, 0), np.maximum(-flow.import_kw, 0)
        # All pay the fee on what stays for what they draw, see `supply_contract`.
        bill = float(dt * np.sum(prices.bought_price * bought - prices.feed_in_price * fed_in))
        asked = supply + agreed.paid
        bills = asked - (asked.sum() - bill) * by_magnitude(np.abs(injection).sum(axis=1))
        by_rule = dict.fromkeys((rule.value for rule in SETTLED), bills + adders + public + fees)
    else:
        netted = sum((np.abs(deviations[group.places].sum(axis=0)) for group in customers), np.zeros(community.steps))
        adders = np.array([d.adder for d in delivered])
        bills = supply + agreed.paid + by_magnitude(injection) @ loss_cost
        besides = bills - supply + public + fees
        for_trades = agreed.paid + dt * trades_charged(prices, agreed.sold_kw).sum(axis=1)
        by_rule = {
            rule.value: settled(rule, delivered, customers, adder, settings.pool, dt, settings.adders, for_trades)
            + besides
            for rule in SETTLED
        }
        by_sharing = shared(delivered, customers, adder, settings.pool, dt, for_trades)
        by_rule |= {f"{Rule.POOL.value}: {name}": cost + besides for name, cost in by_sharing.items()}
    return Side(
        household_cost=bills + adders + public + fees,
        by_rule=by_rule,
        adder=float(adders.sum()),
        public=float(public.sum()),
        losses=float(loss_cost.sum()),
        deviation_kwh=float(dt * np.abs(deviations).sum()),
        netted_kwh=float(dt * netted.sum()),
        public_kwh=sum(d.public_kwh for d in delivered),
        exchange_kw=flow.import_kw,
        voltage_min_pu=float(flow.voltage_pu.min()),
        voltage_max_pu=float(flow.voltage_pu.max()),
    )


def actual_of(community: CommunityDay, row: int, reality: Reality, model: ErrorModel) -> Actual:
    """What happens at a household, and what it guesses at every step of the steps after it."""
    home = community.households[row]
    guesses: list[dict[str, Array]] = []
    at_meter = seen(community, reality, row, model)
    for device in home.devices:
        guessed = {name: np.tile(getattr(device, name), (home.steps, 1)) for name in device.uncertain}
        if isinstance(device, Panels):
            guessed["pv_kw"] = guessed_pv(device, reality.pv_error[row], model, community.step_hours)
        elif isinstance(device, Appliance):
            guessed["runs"] = decided(device, at_meter, model, community.step_hours).guesses
        guesses.append(guessed)
    return Actual(
        load_kw=reality.load_kw[row],
        guess_load_kw=at_meter.guess_load_kw,
        realised=reality.series[row],
        guesses=guesses,
    )


def paid_alone(community: CommunityDay, reality: Reality, model: ErrorModel) -> Array:
    """What each household pays for a day as it is where nobody agrees on anything, and each plans its rest anew at
    every step; its peak fee and what its cars take in elsewhere included, currency, (n,)."""
    nothing, injection, paid = np.zeros(community.steps), [], []
    for row, home in enumerate(community.households):
        terms = Terms(community.prices_of(home), nothing, nothing, 0.0, public_price_of(community))
        actual = actual_of(community, row, reality, model)
        ended = deliver(home, {}, actual, terms, Recourse.ROLLING, community.step_hours)
        injection.append(ended.injection_kw)
        paid.append(ended.cost)
    return np.array(paid) + peaks_paid(community.prices, np.array(injection), community.peaks_kw)


def public_price_of(community: CommunityDay) -> float:
    """Of a public charger where none is given, currency/kWh into the car's battery."""
    return PUBLIC_PRICE * float(np.mean(community.prices.import_price))


def _foreseen(
    community: CommunityDay, reality: Reality, scenario: Scenario, settings: UncertaintySettings
) -> Array | None:
    """What each household would pay, had all agreed on the day as it is, (n,); None where no plan keeps the limits.

    What a car cannot take in at home it takes elsewhere, too.
    """
    dt, none = community.step_hours, np.zeros(0)
    homes, elsewhere = [], []
    for home, load, series in zip(community.households, reality.load_kw, reality.series, strict=True):
        done = [{column.name: none for column in device.columns} for device in home.devices]
        pairs = list(zip(home.devices, done, series, strict=True))
        devices = tuple(device.rest(0, own, realised, dt) for device, own, realised in pairs)
        more = np.divide(load, home.load_kw, out=np.ones(community.steps), where=home.load_kw > 0)
        homes.append(replace(home, load_kw=load, load_kvar=more * home.load_kvar, devices=devices))
        before, after = (
            sum(device.lacking_kwh(own, dt) for device, own in zip(of, done, strict=True))
            for of in (home.devices, devices)
        )
        elsewhere.append(before - after)
    outcome = solve_day(replace(community, households=tuple(homes)), scenario)
    if outcome.failure is not None:
        return None
    public: Array = settings.public_price_on(community) * np.array(elsewhere)
    return np.array([home.cost for home in outcome.households]) + public


def _reactive(community: CommunityDay, agreed: _Agreed, reality: Reality) -> Array:
    """Inverters as planned, loads at their power factor, (n, T)."""
    rows = []
    for row, home in enumerate(community.households):
        more = np.divide(reality.load_kw[row], home.load_kw, out=np.ones(community.steps), where=home.load_kw > 0) - 1
        rows.append(agreed.kvar[row] - more * home.load_kvar)
    return np.array(rows)


def quantiles(values: Array, at: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Mapping[float, float]:
    return {q: float(np.quantile(values, q)) for q in at}
