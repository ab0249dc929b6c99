"""What a run ended with: everything that its summary, tables and plots are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.grid.powerflow import PowerFlow
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import ImplementedCost
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class RecordedTrade:
    """One recorded bilateral trade in one time step."""

    seller: int
    buyer: int
    step: int
    energy_kwh: float
    price_per_kwh: float


@dataclass(frozen=True)
class Convergence:
    """RMS residuals per coupled scalar, by iteration, shape (iterations,), and the limits they were judged by.

    `primal_w`, `dual_w`: over the network's copies (W, var; V in 2e-5 p.u. squared) and over the bids (W).
    A scenario without the one or the other has zeros there. The residuals of the last iteration are not on the chain.
    """

    primal_grid_w: Array
    dual_grid_w: Array
    primal_trade_w: Array
    dual_trade_w: Array
    limits_w: tuple[float, float, float, float]  # in the same order


@dataclass(frozen=True)
class Household:
    """What became of one household, shape (T,) each where an array; powers in kW, positive into the feeder."""

    node: int
    name: str
    is_prosumer: bool
    schedule: dict[str, Array]
    """injection_kw, injection_kvar; where it has them import_kw, feed_in_kw, curtailed_kw, charge_kw, discharge_kw,
    stored_kwh, car_kw, reactive_kvar."""
    paid: float  # net payment for trades in the settlement contract, currency; positive: paid
    solve_s: float


@dataclass(frozen=True)
class RunResult:
    """Everything about one run."""

    community: CommunityDay
    scenario: Scenario
    agreement: NetworkAgreement
    chain: str
    relayed: bool  # one transaction an iteration for all signed submissions
    converged: bool
    iterations: int
    cost: ImplementedCost
    centralised_cost: float
    relaxation_gap: float
    households: tuple[Household, ...]
    trades: tuple[RecordedTrade, ...]
    convergence: Convergence
    gas_total: int
    gas_by_step: dict[str, int]  # deploy, enrol, declare, submit, settle, deliver
    gas_per_household_iteration: float  # of all submissions, by households and iterations
    transactions: int
    wall_s: float
    solve_s: float
    chain_s: float
    paid_total: float  # currency that changed hands for trades
    supplier_received: float  # currency, for what the meters read beyond the trades; owed parts included
    settlement_sum_zero: bool
    node_s: Mapping[str, float] = field(default_factory=dict)  # of a household's node, on average, by what it did

    @property
    def implemented_gap(self) -> float:
        """(cost of the agreed plan as carried out - centralised optimum) / |centralised optimum|, a fraction."""
        return (self.cost.total - self.centralised_cost) / abs(self.centralised_cost)

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


def recorded_kw(view: NodeView, trades: Sequence[RecordedTrade], step_hours: float) -> Array:
    """The recorded trades of a household in the order of its bids, kW, positive where it sells."""
    sold = {(t.seller, t.buyer, t.step): t.energy_kwh / step_hours for t in trades}
    return np.array(
        [
            sold.get((view.node, partner.node, step), 0.0) - sold.get((partner.node, view.node, step), 0.0)
            for partner in view.partners
            for step in partner.steps
        ]
    )
