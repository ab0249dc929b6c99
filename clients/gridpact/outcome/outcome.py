"""What became of a day: what was agreed, carried out by an exact power flow, and what everybody pays.

Money is counted alike in all scenarios, so that they compare: every household pays its supplier for what its trades
leave, its neighbours for its trades, and its part of the losses, which are bought at the import price. In G the
community has one contract; there a household pays for its meter at the price of its node (see `at_node_prices`).
Trading coefficients gamma steer who trades with whom, but are nobody's bill: they are in the objective only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.events import SILENT, IterationClosed, Listener
from gridpact.grid.powerflow import PowerFlow, power_flow
from gridpact.market.agreement import Agreement, Convergence, Trade
from gridpact.market.mechanism import IN_MEMORY
from gridpact.market.prepared import Prepared
from gridpact.market.registry import market_of
from gridpact.problem.centralised import CentralisedSolution, centralised_optimum
from gridpact.problem.scenario import ADMM, NetworkAgreement, Scenario
from gridpact.problem.verification import ImplementedCost, Traded, booked, device_costs, implemented_cost


@dataclass(frozen=True)
class Ledger:
    """What a chain has of a run."""

    relayed: bool  # one transaction an iteration for all signed submissions
    gas_by_step: Mapping[str, int]  # deploy, enrol, declare, submit, settle, deliver
    transactions: int
    transferred: float  # currency that changed hands for trades: each pair's of the day set off against each other
    supplier_received: float  # currency, for what the meters read beyond the trades; owed parts included
    sums_to_zero: bool  # whether all payments do, in the token's smallest unit
    wall_s: float
    solve_s: float
    chain_s: float
    node_s: Mapping[str, float] = field(default_factory=dict)  # of a household's node, on average, by what it did
    sealed: bool = False  # what households submitted is read by those only whom it concerned
    gas_by_node: Mapping[int, int] = field(default_factory=dict)  # of the nodes' own transactions

    @property
    def gas_total(self) -> int:
        return sum(self.gas_by_step.values())


LEAST_SAVING = 1e-4
"""Currency a day: less is rounding."""

LEAST_BILL = 0.1
"""Currency a day: a smaller bill counts as much where a gap is measured by it. So the limit is a hundredth of a cent at
least, and there are no fractions of nothing."""


def relative_gap(objective: float, optimum: float) -> float:
    """(objective - optimum) / |optimum|, a fraction; of `LEAST_BILL` where the optimum is nearer to zero."""
    return (objective - optimum) / max(abs(optimum), LEAST_BILL)


@dataclass(frozen=True)
class HouseholdOutcome:
    """What became of one household, shape (T,) each where an array; powers in kW, positive into the feeder."""

    node: int
    name: str
    is_prosumer: bool
    schedule: Mapping[str, Array]
    """injection_kw, injection_kvar; where it has them import_kw, feed_in_kw, curtailed_kw, charge_kw, discharge_kw,
    stored_kwh, car_kw, reactive_kvar."""
    paid: float  # to neighbours for trades, less what it got from them, currency


@dataclass(frozen=True)
class Optimum:
    """What one optimiser that knows everything would do: what an agreement is compared with."""

    objective: float  # the scenario's, see `ImplementedCost`
    paid: float  # what its plan would cost, counted as every plan's: losses in, trading coefficients not
    relaxation_gap: float = 0.0
    node_price: Array | None = None  # (n, T), currency/kWh

    @staticmethod
    def of(community: CommunityDay, scenario: Scenario) -> Optimum:
        """The optimum that plans of a scenario are compared with.

        Raises:
            InfeasibleError: no plan keeps all limits.
            InexactRelaxationError: the cone relaxation is not tight.
            SolverError: the solver failed.
        """
        reference = market_of(scenario).reference
        solution = centralised_optimum(community, reference)
        losses = losses_paid(community, solution) if scenario.has_contracts else 0.0
        return Optimum(
            objective=solution.cost,
            paid=solution.paid + losses,
            relaxation_gap=solution.relaxation_gap,
            node_price=solution.nodal_price,
        )


def losses_paid(community: CommunityDay, solution: CentralisedSolution) -> float:
    """What the losses of an optimum's plan cost, where they are not in the supply as in G, currency."""
    flow = power_flow(community.feeder, solution.injection_kw, solution.injection_kvar)
    return community.step_hours * float(np.sum(community.prices.import_price * flow.losses_kw))


@dataclass(frozen=True)
class Outcome:
    """Everything about one day in one scenario."""

    community: CommunityDay
    scenario: Scenario
    agreement: NetworkAgreement
    chain: str  # IN_MEMORY, or the chain
    agreed: Agreement
    cost: ImplementedCost
    optimum: Optimum
    paid_alone: float  # what all households would pay in B
    ledger: Ledger | None = None  # where there was a chain

    @property
    def iterations(self) -> int:
        return self.agreed.rounds

    @property
    def converged(self) -> bool:
        return self.agreed.reached

    @property
    def trades(self) -> tuple[Trade, ...]:
        return self.agreed.trades

    @property
    def convergence(self) -> Convergence | None:
        return self.agreed.convergence

    @property
    def relaxation_gap(self) -> float:
        """Of the optimum, and of what was solved on the way to the agreement."""
        return max(self.optimum.relaxation_gap, self.agreed.relaxation_gap)

    @cached_property
    def households(self) -> tuple[HouseholdOutcome, ...]:
        paid = {home.node: 0.0 for home in self.community.households}
        for trade in self.trades:
            paid[trade.buyer] += trade.amount
            paid[trade.seller] -= trade.amount
        return tuple(
            HouseholdOutcome(home.node, home.name, home.is_prosumer, self.agreed.plans[home.node], paid[home.node])
            for home in self.community.households
        )

    @property
    def implemented_gap(self) -> float:
        """Of the agreed plan as carried out, a fraction, see `relative_gap`."""
        return relative_gap(self.cost.objective, self.optimum.objective)

    @property
    def turnover(self) -> float:
        """What all that passes the meters would cost to import, currency: how large a day is whose bill is none."""
        passed = np.sum([np.abs(home.schedule["injection_kw"]) for home in self.households], axis=0)
        return self.community.step_hours * float(np.sum(np.abs(self.community.prices.import_price) * passed))

    @property
    def gas_per_household_iteration(self) -> float | None:
        """Of all submissions, by households and iterations; None where there was no chain."""
        if self.ledger is None:
            return None
        return self.ledger.gas_by_step.get("submit", 0) / (len(self.households) * max(self.iterations, 1))

    @property
    def saved(self) -> float:
        """What all households together pay less than each on its own."""
        return self.paid_alone - self.cost.paid

    @property
    def left_of_saving(self) -> float:
        """Which part of what the optimum saves this plan does not, a fraction; 0 where there is nothing to save."""
        possible = self.paid_alone - self.optimum.paid
        return max(self.cost.paid - self.optimum.paid, 0.0) / possible if possible > LEAST_SAVING else 0.0

    @property
    def flow(self) -> PowerFlow:
        return self.cost.flow

    @property
    def voltage_ok(self) -> bool:
        """Whether all voltages of the independent power flow keep the limits to 1e-3."""
        feeder, voltage = self.community.feeder, self.flow.voltage_pu
        return bool(voltage.min() >= feeder.voltage_min_pu - 1e-3 and voltage.max() <= feeder.voltage_max_pu + 1e-3)

    @property
    def traded_kwh(self) -> float:
        return sum(trade.energy_kwh for trade in self.trades)

    @property
    def traded_pairs(self) -> int:
        """Households that traded with each other, whoever sold."""
        return len({frozenset((trade.seller, trade.buyer)) for trade in self.trades})

    @property
    def paid_total(self) -> float:
        """What all trades come to, each counted once, currency."""
        return sum(abs(trade.amount) for trade in self.trades)

    @property
    def payments_sum_to_zero(self) -> bool:
        """Whether buyer and seller state every trade alike; on a chain, whether all that was paid cancels."""
        if self.ledger is not None:
            return self.ledger.sums_to_zero
        return self.agreed.balanced and abs(sum(home.paid for home in self.households)) < 1e-9


def outcome_of(
    prepared: Prepared,
    agreed: Agreement,
    optimum: Optimum,
    chain: str = IN_MEMORY,
    ledger: Ledger | None = None,
) -> Outcome:
    """Carries an agreement out, wherever it was come to.

    Raises:
        SolverError: the power flow failed.
    """
    community, scenario = prepared.community, prepared.scenario
    alone = _carried_out(community, Scenario.B, prepared.alone, Traded.nothing(len(prepared.alone), community.steps))
    cost = _carried_out(community, scenario, agreed.plans, traded(prepared, agreed.trades))
    return Outcome(community, scenario, prepared.agreement, chain, agreed, cost, optimum, alone.paid, ledger)


def solved(
    community: CommunityDay,
    scenario: Scenario,
    agreement: NetworkAgreement = NetworkAgreement.DSO,
    listener: Listener = SILENT,
) -> Outcome:
    """A day agreed on in memory, carried out, compared with the optimum.

    Raises:
        InfeasibleError: no plan keeps all limits.
        InexactRelaxationError: the cone relaxation is not tight.
        SolverError: a solver or the power flow failed.
        InputError: nobody registered such a scenario, or it needs one tariff for all where there are several.
    """
    market = market_of(scenario)
    market.require_tariffs(community)
    prepared = Prepared.of(community, scenario, agreement)  # names a household that has no plan
    optimum = Optimum.of(community, scenario)

    def tell(number: int, rms_w: Sequence[float]) -> None:
        listener.hear(IterationClosed(0, number, tuple(rms_w)))

    return outcome_of(prepared, market.mechanism.agree(prepared, tell), optimum)


def _carried_out(
    community: CommunityDay, scenario: Scenario, plans: Mapping[int, Mapping[str, Array]], traded: Traded
) -> ImplementedCost:
    homes = [plans[home.node] for home in community.households]
    power_kw = np.array([home["injection_kw"] for home in homes])
    reactive_kvar = np.array([home["injection_kvar"] for home in homes])
    return implemented_cost(community, scenario, power_kw, reactive_kvar, traded, device_costs(community, homes))


def traded(prepared: Prepared, trades: tuple[Trade, ...]) -> Traded:
    """What trades come to; with the coefficients that steered them, where the mechanism has any."""
    community = prepared.community
    if prepared.scenario.mechanism == ADMM:
        return booked(community, prepared.books, in_books(prepared, trades))
    row = {home.node: k for k, home in enumerate(community.households)}
    sold_kw = np.zeros((len(row), community.steps))
    for trade in trades:
        sold_kw[row[trade.seller], trade.step] += trade.energy_kwh / community.step_hours
        sold_kw[row[trade.buyer], trade.step] -= trade.energy_kwh / community.step_hours
    return Traded(sold_kw)


def in_books(prepared: Prepared, trades: tuple[Trade, ...]) -> dict[int, Array]:
    """The trades of each household in the order of its bids, kW, positive where it sells; by node."""
    hours = prepared.community.step_hours
    sold = {(trade.seller, trade.buyer, trade.step): trade.energy_kwh / hours for trade in trades}
    return {
        node: np.array(
            [
                sold.get((node, partner.node, step), 0.0) - sold.get((partner.node, node, step), 0.0)
                for partner in partners
                for step in partner.steps
            ]
        )
        for node, partners in prepared.books.items()
    }
