"""A community's day as it turned out: what homes deliver of what was agreed, the flows of that, and who pays what.

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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.devices.appliance import Appliance
from gridpact.devices.pv import Panels
from gridpact.grid.powerflow import power_flow
from gridpact.outcome.day import DayOutcome, by_magnitude, solve_day
from gridpact.problem.scenario import Scenario
from gridpact.problem.verification import peaks_paid, trades_charged
from gridpact.products.imbalance import AdderKey
from gridpact.products.pool import PoolRules
from gridpact.study.whatif.delivery import Actual, Delivered, Recourse, Terms, deliver
from gridpact.study.whatif.forecast import ErrorModel, Reality, decided, guessed_pv, seen
from gridpact.study.whatif.reagreement import ReAgreed
from gridpact.study.whatif.rules import SETTLED, Rule, settled, shared

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
class Agreed:
    """What a community stands by when it delivers; (n, T) and kW."""

    in_common: bool
    sold_kw: Array  # to neighbours; in common the injection that was promised
    nominated_kw: Array  # net import
    kvar: Array  # what is given, by inverters as planned and loads as forecast
    exchange_kw: Array  # (T,), at the grid connection
    paid: Array  # (n,), currency: for trades; in common for what was promised

    @staticmethod
    def planned(outcome: DayOutcome) -> Agreed:
        def of(column: str) -> Array:
            return np.array([home.schedule[column] for home in outcome.households])

        in_common = not outcome.scenario.has_contracts
        imported = of("import_kw") - of("feed_in_kw")
        return Agreed(
            in_common,
            of("injection_kw") if in_common else of("net_sold_kw"),
            np.zeros_like(imported) if in_common else imported,
            of("injection_kvar"),
            outcome.exchange_kw,
            np.array([home.import_cost if in_common else home.trade_cost for home in outcome.households]),
        )

    @staticmethod
    def renewed(community: CommunityDay, outcome: DayOutcome, day: ReAgreed) -> Agreed:
        """In common, what a promise was changed by is settled as a deviation is: kappa for less, f for more."""
        course, before = day.course, Agreed.planned(outcome)
        paid = course.paid
        if before.in_common:
            changed = community.prices.paid(before.sold_kw - course.sold_kw)
            paid = before.paid + community.step_hours * changed.sum(axis=1)
        flow = power_flow(community.feeder, course.planned_kw, course.planned_kvar)
        return Agreed(before.in_common, course.sold_kw, course.nominated_kw, course.planned_kvar, flow.import_kw, paid)


def side_of(
    community: CommunityDay,
    outcome: DayOutcome,
    reality: Reality,
    settings: UncertaintySettings,
    recourse: Recourse,
    adder: float,
) -> Side:
    agreed = Agreed.planned(outcome)
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
    return closed(community, agreed, delivered, reality, settings, adder)


def closed(
    community: CommunityDay,
    agreed: Agreed,
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


def cost_foreseen(
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


def _reactive(community: CommunityDay, agreed: Agreed, reality: Reality) -> Array:
    """Inverters as planned, loads at their power factor, (n, T)."""
    rows = []
    for row, home in enumerate(community.households):
        more = np.divide(reality.load_kw[row], home.load_kw, out=np.ones(community.steps), where=home.load_kw > 0) - 1
        rows.append(agreed.kvar[row] - more * home.load_kvar)
    return np.array(rows)


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
