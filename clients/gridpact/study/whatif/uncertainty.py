"""Uncertainty: how much of a plan's saving is left when load, PV and cars turn out otherwise than forecast.

Task 4.3 of the B-DER report. The day of the community file is the forecast, and the plan is made on it; realities are
drawn around it (`forecast`) and delivered (`delivery`): trades stand as agreed, each household does what its recourse
allows, and the rest is settled with its supplier. The baseline lives through the same realities with the same recourse,
but has no plan that it could deviate from. What is compared is the difference of the two on each draw.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.errors import InfeasibleError, InputError
from gridpact.market.powerflow import power_flow
from gridpact.market.scenario import Scenario
from gridpact.study.day import DayOutcome, loss_shares, solve_day
from gridpact.study.whatif.delivery import Actual, Delivered, Recourse, Terms, deliver
from gridpact.study.whatif.forecast import ErrorModel, Reality, draw, fading
from gridpact.study.whatif.sweep import Tell, in_parallel

PUBLIC_PRICE = 2.0
"""A public charger's price as a multiple of the day's mean import price, where none is given."""


@dataclass(frozen=True)
class Settings:
    """What is delivered, and at which prices."""

    scenario: Scenario = Scenario.TG
    model: ErrorModel = field(default_factory=ErrorModel)
    adder: float = 0.05  # currency/kWh of deviation from the plan
    public_price: float | None = None  # currency/kWh; None: `PUBLIC_PRICE` times the mean import price
    recourses: tuple[Recourse, ...] = tuple(Recourse)
    draws: int = 20
    seed: int = 1

    def public_price_on(self, community: CommunityDay) -> float:
        if self.public_price is not None:
            return self.public_price
        return PUBLIC_PRICE * float(np.mean(community.prices.import_price))


@dataclass(frozen=True)
class Side:
    """A community's day in one reality, with a plan or in the baseline."""

    household_cost: Array  # (n,), all that each pays
    adder: float  # currency
    public: float  # currency
    losses: float  # currency
    deviation_kwh: float  # sum over households and steps of the magnitude
    netted_kwh: float  # the same of the community's sum: what is left if neighbours' deviations cancel
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


@dataclass(frozen=True)
class Uncertainty:
    """The outcome."""

    plans: tuple[DayPlan, ...]
    settings: Settings
    draws: tuple[Draw, ...]  # day by day, then by number, then by recourse
    load_error: float  # mean magnitude of the load's error, relative to the load, over all draws, homes and steps
    pv_error: float

    @property
    def planned_saving(self) -> float:
        """Over all days, if everything turned out as forecast."""
        return sum(plan.baseline.cost - plan.planned.cost for plan in self.plans)

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
        """The same, had the adder been paid on the sum of all households' deviations only, (draws,)."""
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
        total = np.zeros((self.settings.draws, len(self.plans[0].community.households)))
        for d in self.draws:
            if d.recourse is recourse:
                total[d.number] += d.baseline.household_cost - d.planned.household_cost
        return total

    @property
    def planned_household_savings(self) -> Array:
        """(n,)"""
        saved = np.zeros(len(self.plans[0].community.households))
        for plan in self.plans:
            both = zip(plan.baseline.households, plan.planned.households, strict=True)
            saved += np.array([alone.cost - together.cost for alone, together in both])
        return saved


def plan_days(days: Sequence[CommunityDay], scenario: Scenario, jobs: int | None, tell: Tell) -> tuple[DayPlan, ...]:
    """Plans all days in a scenario and in the baseline.

    Raises:
        InputError: the scenario has no contracts or nothing to deviate from.
        InfeasibleError: a day has no feasible plan.
    """
    if not scenario.has_trades:
        raise InputError(
            f"scenario {scenario.value} cannot be delivered: choose t or tg, in which every household has a contract"
        )
    tasks = [(day, s) for day in days for s in (scenario, Scenario.B)]
    outcomes = in_parallel(_plan, tasks, jobs, tell)
    for outcome in outcomes:
        if outcome.failure is not None:
            raise InfeasibleError(f"{outcome.failure}; without a plan nothing can be delivered")
    return tuple(DayPlan(day, outcomes[2 * k], outcomes[2 * k + 1]) for k, day in enumerate(days))


def _plan(task: tuple[CommunityDay, Scenario]) -> DayOutcome:
    return solve_day(*task)


def live_through(
    plans: Sequence[DayPlan], settings: Settings, jobs: int | None = None, tell: Tell = lambda *_: None
) -> Uncertainty:
    """Draws realities of planned days and delivers them."""
    tasks = [(plan, settings, k, number) for k, plan in enumerate(plans) for number in range(settings.draws)]
    results = in_parallel(deliver_draw, tasks, jobs, tell)
    load, pv = (np.mean([errors[k] for _, errors in results]) for k in (0, 1))
    draws = tuple(d for found, _ in results for d in found)
    return Uncertainty(tuple(plans), settings, draws, float(load), float(pv))


def deliver_draw(task: tuple[DayPlan, Settings, int, int]) -> tuple[list[Draw], tuple[float, float]]:
    """One reality of a day with all recourses, and its mean relative errors of load and PV."""
    plan, settings, place, number = task
    community = plan.community
    reality = draw(community, settings.model, np.random.default_rng([settings.seed, place, number]))
    found = []
    for recourse in settings.recourses:
        planned = _side(plan.community, plan.planned, reality, settings, recourse, settings.adder)
        baseline = _side(plan.community, plan.baseline, reality, settings, recourse, 0.0)
        found.append(Draw(community.day, number, recourse, planned, baseline))
    forecast_load = sum(float(home.load_kw.sum()) for home in community.households)
    forecast_pv = sum(float(home.pv_kw.sum()) for home in community.households)
    load = np.array([home.load_kw for home in community.households])
    pv = np.array([home.pv_kw for home in community.households])
    errors = (
        float(np.abs(reality.load_kw - load).sum()) / forecast_load if forecast_load else 0.0,
        float(np.abs(reality.pv_kw - pv).sum()) / forecast_pv if forecast_pv else 0.0,
    )
    return found, errors


def _side(
    community: CommunityDay,
    outcome: DayOutcome,
    reality: Reality,
    settings: Settings,
    recourse: Recourse,
    adder: float,
) -> Side:
    dt, prices = community.step_hours, community.prices
    public_price = settings.public_price_on(community)
    delivered: list[Delivered] = []
    for row, home in enumerate(community.households):
        schedule = outcome.households[row].schedule
        terms = Terms(
            prices=prices,
            net_sold_kw=schedule["net_sold_kw"],
            planned_import_kw=schedule["import_kw"] - schedule["feed_in_kw"],
            adder=adder,
            public_price=public_price,
        )
        actual = _actual(community, row, reality, settings.model)
        delivered.append(deliver(home, schedule, actual, terms, recourse, dt))
    injection = np.array([d.injection_kw for d in delivered])
    flow = power_flow(community.feeder, injection, _reactive(community, outcome, reality))
    loss_cost = dt * prices.import_price * flow.losses_kw
    trades = np.array([home.trade_cost for home in outcome.households])
    own = np.array([d.cost for d in delivered])
    deviations = np.array([d.deviation_kw for d in delivered])
    return Side(
        household_cost=own + trades + loss_shares(injection) @ loss_cost,
        adder=sum(d.adder for d in delivered),
        public=sum(d.public for d in delivered),
        losses=float(loss_cost.sum()),
        deviation_kwh=float(dt * np.abs(deviations).sum()),
        netted_kwh=float(dt * np.abs(deviations.sum(axis=0)).sum()),
        public_kwh=sum(d.public_kwh for d in delivered),
        exchange_kw=flow.import_kw,
        voltage_min_pu=float(flow.voltage_pu.min()),
        voltage_max_pu=float(flow.voltage_pu.max()),
    )


def _actual(community: CommunityDay, row: int, reality: Reality, model: ErrorModel) -> Actual:
    """What happens at a household, and what it guesses at every step of the steps after it."""
    home, steps = community.households[row], community.steps
    at_home = reality.at_home[row]
    most = np.maximum(home.pv_kw, home.pv_kwp)
    load = _guesses(home.load_kw, reality.load_error[row], model.load, model.correlation, community.step_hours)
    pv = _guesses(home.pv_kw, reality.pv_error[row], model.pv, model.correlation, community.step_hours)
    return Actual(
        load_kw=reality.load_kw[row],
        pv_kw=reality.pv_kw[row],
        at_home=None if at_home is None else np.asarray(at_home, dtype=float),
        guess_load_kw=load,
        guess_pv_kw=np.minimum(pv, np.broadcast_to(most, (steps, steps))),
    )


def _guesses(forecast: Array, error: Array, sigma: float, correlation: float, dt: float) -> Array:
    """(T, T): row t is the expected series from t + 1 on, the error of t known."""
    steps = len(forecast)
    guesses = np.tile(forecast, (steps, 1))
    for t in range(steps - 1):
        faded = fading(correlation, dt, steps - 1 - t)
        guesses[t, t + 1 :] *= np.exp(faded * error[t] - (sigma * faded) ** 2 / 2)
    return guesses


def _reactive(community: CommunityDay, outcome: DayOutcome, reality: Reality) -> Array:
    """Inverters as planned, loads at their power factor, (n, T)."""
    rows = []
    for row, home in enumerate(community.households):
        more = np.divide(reality.load_kw[row], home.load_kw, out=np.ones(community.steps), where=home.load_kw > 0) - 1
        rows.append(outcome.households[row].schedule["injection_kvar"] - more * home.load_kvar)
    return np.array(rows)


def quantiles(values: Array, at: Sequence[float] = (0.05, 0.25, 0.5, 0.75, 0.95)) -> Mapping[float, float]:
    return {q: float(np.quantile(values, q)) for q in at}
