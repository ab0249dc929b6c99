"""One day of a community in one scenario, from negotiation to bills: what all studies are made of.

    outcome = solve_day(read_community("fontana16").on("06-10"), Scenario.TG)

plays the round in memory with the chain's integers until the contract's test stops it, carries the plan out by an exact
power flow, and works out who pays what. A day without a feasible plan is an outcome too: `outcome.failure` says why.
`day_of` makes the same of a round on a chain. How money is counted stands in `outcome.outcome`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.errors import GridpactError, InexactRelaxationError, InfeasibleError, SolverError
from gridpact.market.agreement import Trade
from gridpact.market.mechanism import IN_MEMORY
from gridpact.outcome.indicators import VOLTAGE_TOLERANCE_PU, Check, Indicators
from gridpact.outcome.outcome import Outcome, relative_gap, solved
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.text import chain_text


def _nothing() -> Array:
    return np.zeros(0)


@dataclass(frozen=True)
class HouseholdDay:
    """What a household did and paid. Arrays have shape (T,), kW; costs are positive where the household pays."""

    node: int
    name: str
    is_prosumer: bool
    assets: tuple[str, ...]
    schedule: dict[str, Array]
    """load_kw, pv_kw (what the panels can give), net_sold_kw (to neighbours), import_kw, feed_in_kw (at the supplier's
    count; in G what passes the meter), injection_kw, injection_kvar; where it has them curtailed_kw, charge_kw,
    discharge_kw, stored_kwh, car_kw, reactive_kvar."""
    import_kwh: float
    feed_in_kwh: float
    sold_kwh: float  # to neighbours
    bought_kwh: float
    import_cost: float  # to the supplier, less feed-in; in G its part of the community's bill, losses included
    trade_cost: float  # to neighbours, less what it got from them
    loss_cost: float  # its part of the losses, see `by_magnitude`; 0 in G
    trade_fee: float = 0.0  # to the grid operator, for what neighbours deliver; in G for all that it draws
    peak_fee: float = 0.0  # to the grid operator, for its highest power
    grid_cost: float = 0.0  # of the import cost, what the grid operator gets
    tax_cost: float = 0.0  # of the import cost, what the state gets
    supplier: str = ""  # where that is told
    import_price: Array | None = None  # (T,), of its own supplier; None: the community's
    feed_in_price: Array | None = None  # (T,), the same
    wear_cost: float = 0.0  # of its devices by their use: nobody is paid for it, and it is in no sum
    left_value: float = 0.0  # of what is in its batteries beyond the day's start: the same

    @property
    def cost(self) -> float:
        """All it pays for the day."""
        return self.import_cost + self.trade_cost + self.loss_cost + self.trade_fee + self.peak_fee


@dataclass(frozen=True)
class DayOutcome:
    """One day in one scenario. Where `failure` is set there was no plan, and all that follows it is empty."""

    community: str
    day: str
    currency: str
    scenario: Scenario
    agreement: NetworkAgreement
    chain: str  # IN_MEMORY, or the chain's name
    step_hours: float
    start_times: tuple[str, ...]
    import_price: Array  # (T,)
    feed_in_price: Array  # (T,)
    voltage_limits_pu: tuple[float, float]
    failure: str | None = None  # a sentence
    failure_status: int = 0  # exit status of the error: 3 where no plan keeps the limits, 1 where a solver failed
    households: tuple[HouseholdDay, ...] = ()
    trades: tuple[Trade, ...] = ()
    exchange_kw: Array = field(default_factory=_nothing)  # (T,) at the grid connection; negative: into the grid
    losses_kw: Array = field(default_factory=_nothing)  # (T,)
    voltage_pu: Array = field(default_factory=_nothing)  # (n, T)
    current_a: Array = field(default_factory=_nothing)  # (n, T), of the line from each node to its parent
    rating_a: Array = field(default_factory=_nothing)  # (n,), of the same lines; NaN where it is not known
    node_price: Array = field(default_factory=_nothing)  # (n, T), currency/kWh; in G only
    objective: float = 0.0  # the scenario's, trading coefficients included
    optimum: float = 0.0  # the same of one optimiser that knows everything
    optimum_cost: float = 0.0  # what that optimiser's plan would have all households pay, losses in
    iterations: int = 0
    converged: bool = True
    residuals_w: Array = field(default_factory=_nothing)  # (4, iterations - 1): as in `Convergence`
    residual_limits_w: tuple[float, float, float, float] = (0.0, 0.0, 0.0, 0.0)
    relaxation_gap: float = 0.0
    payments_sum_to_zero: bool = True
    checks: tuple[Check, ...] = ()
    gas: int | None = None  # of a chain; None in memory
    transactions: int | None = None
    whole: Outcome | None = field(default=None, repr=False, compare=False)
    """All that it was made of, where that was kept: what plots are drawn of."""

    @property
    def feasible(self) -> bool:
        return self.failure is None

    @property
    def checks_held(self) -> bool:
        """Whether no check failed; of a day without a plan nothing is claimed."""
        return all(check.held is not False for check in self.checks)

    @property
    def cost(self) -> float:
        """What all households pay together; payments between them cancel."""
        return sum(home.cost for home in self.households)

    @property
    def gap(self) -> float:
        """A fraction, see `relative_gap`."""
        return relative_gap(self.objective, self.optimum)

    @property
    def import_kwh(self) -> float:
        """Through the grid connection."""
        return self.energy_kwh(np.maximum(self.exchange_kw, 0))

    @property
    def feed_in_kwh(self) -> float:
        """Through the grid connection."""
        return self.energy_kwh(np.maximum(-self.exchange_kw, 0))

    @property
    def losses_kwh(self) -> float:
        return self.energy_kwh(self.losses_kw)

    @property
    def traded_kwh(self) -> float:
        return sum(trade.energy_kwh for trade in self.trades)

    @property
    def peak_kw(self) -> float:
        """The highest import of the feeder; 0 where it never imports."""
        return float(max(self.exchange_kw.max(initial=0.0), 0.0))

    @property
    def voltage_min_pu(self) -> float:
        return float(self.voltage_pu.min(initial=1.0))

    @property
    def voltage_max_pu(self) -> float:
        return float(self.voltage_pu.max(initial=1.0))

    @property
    def loading(self) -> Array | None:
        """Of the most loaded line at every step, a fraction of its rating, (T,); None where no line has one."""
        rated = np.isfinite(self.rating_a)
        if not rated.any():
            return None
        highest: Array = np.max(self.current_a[rated] / self.rating_a[rated, None], axis=0)
        return highest

    def energy_kwh(self, power_kw: Array) -> float:
        """Energy of a power over the day, or over some of its steps."""
        return float(np.sum(power_kw) * self.step_hours)


def solve_day(
    community: CommunityDay,
    scenario: Scenario,
    agreement: NetworkAgreement = NetworkAgreement.DSO,
    *,
    whole: bool = False,
) -> DayOutcome:
    """Negotiates a day in memory, carries the plan out and works out the bills.

    A day on which no plan keeps the limits, a solver or the power flow fails, or the relaxation is not tight is an
    outcome with a `failure`, not an error.

    Args:
        whole: keep all that it is made of, for plots.
    """
    try:
        return day_of(solved(community, scenario, agreement), whole=whole)
    except (InfeasibleError, SolverError, InexactRelaxationError) as error:
        return failed_day(community, scenario, agreement, IN_MEMORY, error)


def homes_of(outcome: Outcome) -> tuple[HouseholdDay, ...]:
    """What every household did and paid."""
    community, scenario, cost = outcome.community, outcome.scenario, outcome.cost
    indicators = Indicators(outcome)
    own = indicators.supply_kw  # (n, T)
    injection: Array = np.array([home.schedule["injection_kw"] for home in outcome.households])
    loss_price = community.prices.import_price * cost.flow.losses_kw
    if not scenario.has_contracts:
        bills = at_node_prices(_node_price(outcome), injection, _beyond_fees(outcome), community.step_hours)
        losses = np.zeros(len(bills))
    else:
        bills = np.array([home.supplier_bill or 0.0 for home in indicators.households])
        losses = community.step_hours * (by_magnitude(injection) @ loss_price)
    households = []
    for row, (home, totals) in enumerate(zip(community.households, indicators.households, strict=True)):
        bought, fed_in = np.maximum(own[row], 0), np.maximum(-own[row], 0)
        schedule = {name: np.array(values) for name, values in outcome.households[row].schedule.items()}
        schedule |= {"load_kw": home.load_kw, "pv_kw": home.pv_kw, "net_sold_kw": indicators.net_sold_kw[row]}
        schedule |= {"import_kw": bought, "feed_in_kw": fed_in}
        households.append(
            HouseholdDay(
                node=home.node,
                name=home.name,
                is_prosumer=home.is_prosumer,
                assets=totals.assets,
                schedule=dict(sorted(schedule.items())),
                import_kwh=totals.import_kwh,
                feed_in_kwh=totals.feed_in_kwh,
                sold_kwh=totals.sold_kwh,
                bought_kwh=totals.bought_kwh,
                import_cost=float(bills[row]),
                trade_cost=totals.trades_paid,
                loss_cost=float(losses[row]),
                trade_fee=totals.fees.trade,
                peak_fee=totals.fees.peak,
                grid_cost=totals.fees.grid,
                tax_cost=totals.fees.tax,
                supplier=(community.prices_of(home) if scenario.has_contracts else community.prices).supplier,
                import_price=None if home.tariff is None else home.tariff.import_price,
                feed_in_price=None if home.tariff is None else home.tariff.feed_in_price,
                wear_cost=totals.wear,
                left_value=totals.left,
            )
        )
    return tuple(households)


def _node_price(outcome: Outcome) -> Array:
    """Of G, (n, T)."""
    assert outcome.optimum.node_price is not None
    return outcome.optimum.node_price


def day_of(outcome: Outcome, *, whole: bool = False) -> DayOutcome:
    """An outcome as a study keeps it; with `whole` all that it is made of besides."""
    community, scenario, cost = outcome.community, outcome.scenario, outcome.cost
    indicators, convergence = Indicators(outcome), outcome.convergence
    return DayOutcome(
        **_frame(community, scenario, outcome.agreement, chain_text(outcome.chain)),
        households=homes_of(outcome),
        trades=outcome.trades,
        exchange_kw=cost.flow.import_kw,
        losses_kw=cost.flow.losses_kw,
        voltage_pu=cost.flow.voltage_pu,
        current_a=cost.flow.current_a,
        node_price=_nothing() if scenario.has_contracts else _node_price(outcome),
        objective=cost.objective,
        optimum=outcome.optimum.objective,
        optimum_cost=outcome.optimum.paid,
        iterations=outcome.iterations,
        converged=outcome.converged,
        residuals_w=np.zeros((4, 0)) if convergence is None else np.array(convergence.curves),
        residual_limits_w=(0.0, 0.0, 0.0, 0.0) if convergence is None else convergence.limits_w,
        relaxation_gap=outcome.relaxation_gap,
        payments_sum_to_zero=outcome.payments_sum_to_zero,
        checks=indicators.checks,
        gas=None if outcome.ledger is None else outcome.ledger.gas_total,
        transactions=None if outcome.ledger is None else outcome.ledger.transactions,
        whole=outcome if whole else None,
    )


def _beyond_fees(outcome: Outcome) -> float:
    """The community's bill in G less the fee on what stays in it, which everybody pays for what it draws, currency."""
    fee = outcome.community.prices.trade_fee
    if fee is None:
        return outcome.cost.supply
    return outcome.cost.supply - outcome.community.step_hours * float(fee @ np.maximum(outcome.flow.import_kw, 0.0))


def failed_day(
    community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, chain: str, error: GridpactError
) -> DayOutcome:
    """A day on which there is no plan."""
    frame = _frame(community, scenario, agreement, chain_text(chain))
    return DayOutcome(**frame, failure=str(error), failure_status=error.exit_status, converged=False)


def failed_checks(outcome: DayOutcome) -> dict[str, str]:
    """The checks of a day that did not hold, and by how much."""
    return {check.name.lower(): _by_how_much(outcome, check) for check in outcome.checks if check.held is False}


def _by_how_much(outcome: DayOutcome, check: Check) -> str:
    if check.name == "Agreement reached":
        return f"not after {check.value}, residuals up to {_residuals(outcome):.2f} times their limits"
    if check.name == "Payments sum to zero":
        return "buyer and seller do not state every trade alike"
    text = f"{check.value}, limit {check.limit}"
    if check.name == "Voltages":
        low, high = outcome.voltage_limits_pu
        beyond = max(low - outcome.voltage_min_pu, outcome.voltage_max_pu - high)
        text += f", {beyond:.5f} p.u. beyond it where {VOLTAGE_TOLERANCE_PU:g} are tolerated"
    return text


def _residuals(outcome: DayOutcome) -> float:
    """The last that the contract judges, as a multiple of its limit: the largest of the four."""
    limits = np.array(outcome.residual_limits_w)
    return float(np.max(outcome.residuals_w[limits > 0, -1] / limits[limits > 0], initial=0.0))


def at_node_prices(node_price: Array, injection_kw: Array, bill: float, step_hours: float) -> Array:
    """The community's bill shared by locational prices, currency, shape (n,).

    Everybody pays for what it takes from the feeder, and gets for what it gives, the price of its node: what one kWh
    more there would cost the community. Since losses grow with the square of the flow, and limits have a price, this
    collects more than the bill; what is over goes back in proportion to the energy that passed each meter.

    Args:
        node_price: currency/kWh, (n, T).
        injection_kw: of all households, (n, T).
        bill: of the community at the grid connection.
    """
    paid = -step_hours * np.sum(node_price * injection_kw, axis=1)
    passed = np.sum(np.abs(injection_kw), axis=1)
    shared: Array = paid - (paid.sum() - bill) * by_magnitude(passed)
    return shared


def by_magnitude(power_kw: Array) -> Array:
    """Who stands for which part of what a step costs, (n, T): in proportion to the size of each one's power. Of losses
    that is the power that passes each meter. Without steps, (n,): of a sum."""
    size = np.abs(power_kw)
    total = size.sum(axis=0)
    shares: Array = np.divide(size, total, out=np.full_like(size, 1 / len(size)), where=total > 0)
    return shares


def _frame(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, chain: str) -> dict[str, Any]:
    """What is known of a day before it is solved."""
    return {
        "community": community.name,
        "day": community.day,
        "currency": community.currency,
        "scenario": scenario,
        "agreement": agreement,
        "chain": chain,
        "step_hours": community.step_hours,
        "start_times": community.start_times,
        "import_price": community.prices.import_price,
        "feed_in_price": community.prices.feed_in_price,
        "rating_a": np.array([np.nan if line.rating_a is None else line.rating_a for line in community.feeder.lines]),
        "voltage_limits_pu": (community.feeder.voltage_min_pu, community.feeder.voltage_max_pu),
    }
