"""One node's own problem: the x-step of ADMM, eqs. (16a), (19), (20) and (22)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Protocol

import cvxpy as cp
import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array, Feeder
from gridpact.community.street import Complex
from gridpact.devices.device import Constraints, Opposed, flat
from gridpact.errors import InfeasibleError
from gridpact.grid.three_phase_plan import PhasePlan
from gridpact.problem.blocks import Block, Kind, blocks
from gridpact.problem.constraints import (
    BranchFlow,
    cone,
    counting,
    drawing_fee,
    network_plan,
    peak_fee,
    relaxation_gap,
    supply_contract,
)
from gridpact.problem.directions import Directions, chosen
from gridpact.problem.meter import behind_meter
from gridpact.problem.repeated import Answer, Repeated
from gridpact.problem.scenario import NetworkAgreement
from gridpact.problem.solving import solve
from gridpact.problem.translation import BidTerms
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class LocalSolution:
    """Answer of one x-step."""

    copies: Array  # (blocks, T): kW, kvar, p.u. squared less 1
    bids_kw: Array  # (bids,), positive where this node sells; partners ascending, then steps
    plan: Callable[[], dict[str, Array]] = field(repr=False)
    decided: Callable[[], Directions | None] = field(repr=False, default=lambda: None)
    costing: Callable[[], float] = field(repr=False, default=lambda: 0.0)

    @cached_property
    def schedule(self) -> dict[str, Array]:
        """What the node would do, (T,) each; worked out when somebody asks."""
        return self.plan()

    @cached_property
    def own_cost(self) -> float:
        """What using devices costs the household, and the grid operator gets of it, currency."""
        return self.costing()

    @cached_property
    def directions(self) -> Directions | None:
        """What keeps opposed powers apart, where this plan uses both at once."""
        return self.decided()


@dataclass(frozen=True)
class Point:
    """Where the negotiation stands for one node: the terms of its problem that change from iteration to iteration."""

    linear: Array  # a, (blocks, T)
    penalties: Array  # rho, (blocks, T)
    trade_linear: Array  # b, (bids,)
    pool_linear: Array  # c, (T,)
    agreed: Array = field(default_factory=lambda: np.zeros(0))  # bids that are given, where they are, kW, (bids,)
    trade_times: float = 1.0  # what phi and the penalty on sums are taken times

    @staticmethod
    def alone(steps: int) -> Point:
        """Of a node that negotiates about nothing."""
        nothing = np.zeros((0, steps))
        return Point(nothing, nothing, np.zeros(0), np.zeros(steps))


class NodeProblem(Protocol):
    """What a node solves in an iteration."""

    def solve(self, at: Point) -> LocalSolution:
        """Solves around a point of the negotiation."""

    def carried_out(self, at: Point) -> LocalSolution:
        """As `solve`, but a plan that devices can carry out."""


class LocalProblem:
    """The convex problem of one node, built once and re-solved with new linear terms.

    minimise   cost(x) + a . x + 1/2 x . diag(rho) x + gamma |d| + b . d + phi/2 d . d + c . D + pool/2 D . D

    over the node's private variables, its copies x, its bids d, and their sum D at every step. With a = y - rho z,
    b = -xi - phi z and c = lambda - pool m this is the augmented Lagrangian of eqs. (15) and (22), with the balance of
    all trades at every step, up to a constant.

    Args:
        view: what the node knows.
        trade_penalty: phi.
        pool_penalty: that of D.
        fixed: flows, (T,) each, that are given, since the node at their other end is absent. At the grid operator's
            node also those of households that are no children of it.
        parted: which bids are to partners that are absent, and so what was agreed before, (bids,):
        held_kw: this; default: nothing.
        agreed: whether the bids are given, by `solve`, and only the rest is decided.
        sensitivity: at the grid operator's node, what a kW and a kvar of each child add to squared voltages without
            losses, (lines, children) each: then `solve` is given bounds on these voltages.
        directions: of the household's opposed powers; default: those that are `chosen` for it.
        around_pu: at the operator's node of a street, the point that the network is linear around, see `network_plan`.
        net_kw: what it sells less what it buys over all partners, at least and at most, (T,) each; default: anything.
    """

    def __init__(
        self,
        view: NodeView,
        trade_penalty: float,
        pool_penalty: float = 0.0,
        fixed: Mapping[Block, Array] | None = None,
        parted: NDArray[np.bool_] | None = None,
        agreed: bool = False,
        sensitivity: tuple[Array, Array] | None = None,
        directions: Directions | None = None,
        held_kw: Array | None = None,
        around_pu: Complex | None = None,
        net_kw: tuple[Array, Array] | None = None,
    ) -> None:
        self.view = view
        self._directed = partial(LocalProblem, view, trade_penalty, pool_penalty, fixed, parted, agreed, sensitivity)
        self._directions = directions
        self._opposed: tuple[Opposed, ...] = ()
        self._own_cost: cp.Expression = cp.Constant(0.0)
        self._around_pu = around_pu
        self.network: BranchFlow | PhasePlan | None = None  # at the grid operator's node
        self._sensitivity = sensitivity
        self._fixed = fixed or {}
        self.blocks = blocks(view.node, view.parent, view.children, view.depth)
        self._schedule: dict[str, cp.Expression] = {}
        linear: list[cp.Variable] = []  # which variables get linear terms
        if self.blocks:
            self._copies = cp.Variable((len(self.blocks), view.steps))
            linear.append(self._copies)
        cost, constraints = self._own_problem()

        self._traded: cp.Expression = cp.Constant(np.zeros(view.steps))  # sum_j d_ij
        bids: BidTerms | None = None
        scaled: list[tuple[cp.Variable, float]] = []
        self._bids = cp.Variable(view.bid_count) if view.bid_count and not agreed else None
        self._agreed = cp.Parameter(view.steps) if view.bid_count and agreed else None
        if self._agreed is not None:  # what they cost is settled, too
            self._traded = self._agreed
        if self._bids is not None:
            gamma = cp.Constant(view.step_hours * np.concatenate([p.coefficient for p in view.partners]))
            traded, sums = cp.Variable(view.steps), cp.Constant(self._sums())
            self._traded = traded
            constraints["the sums of trades"] = [traded == sums @ self._bids]
            cost += cp.sum(cp.multiply(gamma, cp.abs(self._bids)))
            square, of_sums = cp.Constant(trade_penalty / 2), cp.Constant(pool_penalty / 2)
            cost += square * cp.sum_squares(self._bids) + of_sums * cp.sum_squares(traded)
            fee, charged = drawing_fee(view.prices, -traded, view.step_hours)
            cost += fee
            constraints["what is charged for trades"] = charged
            if net_kw is not None:
                constraints["what it buys and sells at most"] = [traded >= net_kw[0], traded <= net_kw[1]]
            linear += [self._bids, traded]
            scaled = [(self._bids, trade_penalty), (traded, pool_penalty)]
            if parted is not None and parted.any():
                stands = np.zeros(view.bid_count) if held_kw is None else held_kw
                constraints["no trades with absent partners"] = [self._bids[np.flatnonzero(parted)] == stands[parted]]
            else:
                steps = np.concatenate([partner.steps for partner in view.partners])
                bids = BidTerms(self._bids, traded, sums, gamma, square, of_sums, steps)
        if view.scenario.has_contracts and view.household is not None:
            contract = supply_contract(view.own_prices, view.step_hours)
            cost += contract.cost
            balance = contract.net_import + self._schedule["injection_kw"] == self._traded
            constraints["the balance of import, feed-in and trades"] = [balance]
            self._schedule |= {"import_kw": contract.imported, "feed_in_kw": contract.fed_in}

        rows = [row for row, block in enumerate(self.blocks) if block in self._fixed]
        if rows:
            given = [self._copies[row] == self._fixed[self.blocks[row]] for row in rows]
            constraints["the flows of absent nodes"] = given
        if self.blocks and view.household is not None and view.agreement is NetworkAgreement.DSO:
            wishes = cp.vstack([self._schedule["injection_kw"], self._schedule["injection_kvar"]])
            constraints["the wishes for its injections"] = [self._copies == wishes]
        self._constraints = constraints
        problem = cp.Problem(cp.Minimize(cost), flat(constraints))
        weighted = self._copies if self.blocks else None
        self._problem = Repeated(problem, self._name, linear, weighted, bids, scaled)

    def solve(self, at: Point, lossless: tuple[Array, Array] | None = None) -> LocalSolution:
        """Solves around a point of the negotiation.

        Args:
            lossless: lowest and highest squared voltage without losses, less 1, (lines, T) each, where the problem was
                built with a sensitivity.

        Raises:
            InfeasibleError: names the household and the constraint that cannot hold.
            SolverError: the solver failed.
        """
        if lossless is not None:
            self._lowest.value, self._highest.value = lossless
        linear = [at.linear] if self.blocks else []
        if self._bids is not None:
            linear += [at.trade_linear, at.pool_linear]
        if self._agreed is not None:
            self._agreed.value = self._sums() @ at.agreed
        try:
            answer = self._problem.solve(linear, at.penalties if self.blocks else None, at.trade_times)
        except InfeasibleError:
            raise InfeasibleError(
                f"{self._name} has no feasible plan on {self.view.day}: {self._culprit()} cannot hold with the "
                "rest; correct its household file"
            ) from None
        copies = answer.value(self._copies) if self.blocks else np.zeros((0, self.view.steps))
        bids = at.agreed if self._bids is None else answer.value(self._bids)
        return LocalSolution(
            copies,
            bids,
            lambda: answer.values(self._schedule),
            lambda: self._decided(answer),
            lambda: self._costs(answer),
        )

    def carried_out(self, at: Point) -> LocalSolution:
        """As `solve`, but a plan that devices can carry out: none uses two opposed powers at once.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        solution = self.solve(at)
        while solution.directions is not None:
            solution = self._directed(solution.directions).solve(at)
        return solution

    def _costs(self, answer: Answer) -> float:
        known = self._own_cost.is_constant()
        return float(self._own_cost.value if known else answer.values({"cost": self._own_cost})["cost"])

    def _decided(self, answer: Answer) -> Directions | None:
        if self._directions is None:
            return None
        one = answer.values({str(k): pair.one for k, pair in enumerate(self._opposed)})
        other = answer.values({str(k): pair.other for k, pair in enumerate(self._opposed)})
        return self._directions.after([(one[k], other[k]) for k in one])

    def _culprit(self) -> str:
        """The first family of constraints without which there is a plan."""
        for name in self._constraints:
            rest = flat({key: family for key, family in self._constraints.items() if key != name})
            try:
                solve(cp.Problem(cp.Minimize(0), rest), self._name)
            except InfeasibleError:
                continue
            return name
        return "more than one of its constraints"

    @property
    def _name(self) -> str:
        household = self.view.household
        return f"household '{household.name}'" if household else "the grid connection (node 0)"

    def _own_problem(self) -> tuple[cp.Expression, Constraints]:
        """Sets the copies; returns the node's cost and constraints without contracts, trades and penalties."""
        view = self.view
        if view.household is None:
            return self._grid_connection()
        meter = behind_meter(view.household, view.step_hours)
        self._schedule |= meter.schedule
        if self._directions is None:
            self._directions = chosen(view.household, view.own_prices, view.step_hours, len(meter.opposed))
        self._opposed = meter.opposed
        self._own_cost, charged = meter.cost + peak_fee(view.prices, view.household, meter.injection_kw), {}
        if not view.scenario.has_contracts:
            fee, within = drawing_fee(view.prices, -meter.injection_kw, view.step_hours)
            self._own_cost += fee
            charged = {"what is charged for drawing": within}
        constraints = meter.constraints | self._directions.constraints(meter.opposed) | charged
        if not view.scenario.has_network or view.agreement is NetworkAgreement.DSO:
            return self._own_cost, constraints
        losses, constraints = self._own_line(meter.injection_kw, meter.injection_kvar, constraints)
        return self._own_cost + losses, constraints

    def _own_line(
        self, injection_kw: cp.Expression, injection_kvar: cp.Expression, constraints: Constraints
    ) -> tuple[cp.Expression, Constraints]:
        """The branch-flow equations of the node's own line, with copies of its neighbours' variables."""
        view = self.view
        assert view.line is not None
        assert isinstance(view.feeder, Feeder)
        base, base_ohm = view.feeder.base_kva, view.feeder.base_ohm
        r, x = view.line.resistance_ohm / base_ohm, view.line.reactance_ohm / base_ohm
        copies = self._copies
        row = {block: copies[k] for k, block in enumerate(self.blocks)}
        own_p, own_q = row[Block(Kind.P, view.node)], row[Block(Kind.Q, view.node)]
        v = row.get(Block(Kind.V, view.node))
        v = cp.Variable(view.steps) if v is None else v  # a leaf's voltage is nobody else's business
        v_parent = row.get(Block(Kind.V, view.parent), cp.Constant(np.zeros(view.steps)))
        current = cp.Variable(view.steps, nonneg=True)
        constraints["the power flow of its line"] = [
            injection_kw == own_p - sum(row[Block(Kind.P, k)] for k in view.children) + base * r * current,
            injection_kvar == own_q - sum(row[Block(Kind.Q, k)] for k in view.children) + base * x * current,
            v == v_parent + 2 / base * (r * own_p + x * own_q) + (r**2 + x**2) * current,
            cone(own_p, own_q, current, 1 + v_parent, base),
        ]
        constraints["the voltage limits"] = [
            v >= view.feeder.voltage_min_pu**2 - 1,
            v <= view.feeder.voltage_max_pu**2 - 1,
        ]
        self._schedule["losses_kw"] = base * r * current
        self._schedule["relaxation_gap_pu"] = relaxation_gap(
            own_p, own_q, current, 1 + v_parent, base, float(counting(np.hypot(r, x) * base_ohm))
        )
        price = self._loss_price()
        if price.any():
            return view.step_hours * base * r * (price @ current), constraints
        return cp.Constant(0.0), constraints

    def _loss_price(self) -> Array:
        """What lost energy costs beside what is imported for it, (T,)."""
        view = self.view
        return view.prices.loss_price if view.scenario.has_contracts else view.prices.loss_surcharge

    def _grid_connection(self) -> tuple[cp.Expression, Constraints]:
        """Node 0: buys for all in G; as the grid operator's node it also solves the network."""
        view = self.view
        copies = self._copies
        cost: cp.Expression = cp.Constant(0.0)
        constraints: Constraints = {}
        if view.agreement is NetworkAgreement.DSO:
            assert view.feeder is not None
            active, reactive = self._injections(Kind.P), self._injections(Kind.Q)
            network = self.network = network_plan(view.feeder, active, reactive, self._around_pu)
            constraints |= network.constraints
            root_kw = network.root_kw
            if isinstance(network, BranchFlow):
                self._schedule["relaxation_gap_pu"] = network.relaxation_gap
            if self._sensitivity is not None:
                lossless = self._sensitivity[0] @ copies[Kind.P :: 2] + self._sensitivity[1] @ copies[Kind.Q :: 2]
                self._lowest, self._highest = cp.Parameter(lossless.shape), cp.Parameter(lossless.shape)
                constraints["the limits without losses"] = [lossless >= self._lowest, lossless <= self._highest]
            price = self._loss_price()
            if price.any():
                cost = view.step_hours * (price @ network.lost_kw)
        else:
            root_kw = sum(copies[k] for k, block in enumerate(self.blocks) if block.kind is Kind.P)
        if not view.scenario.has_contracts:
            contract = supply_contract(view.prices, view.step_hours, in_common=True)
            constraints["the balance of the grid connection"] = [contract.net_import == -root_kw]
            cost = cost + contract.cost
            self._schedule |= {"import_kw": contract.imported, "feed_in_kw": contract.fed_in}
        return cost, constraints

    def _injections(self, kind: Kind) -> cp.Expression:
        """Of all households of the feeder, (n, T): those that this node answers, and what absent ones are taken to
        do."""
        view = self.view
        assert view.feeder is not None
        if len(view.children) == len(view.feeder.nodes):
            return self._copies[kind::2]
        row = {block: k for k, block in enumerate(self.blocks)}
        of = [Block(kind, node) for node in view.feeder.nodes]
        return cp.vstack([self._copies[row[block]] if block in row else self._fixed[block] for block in of])

    def _sums(self) -> Array:
        """What adds the bids up by step, (T, bids)."""
        view = self.view
        steps = np.concatenate([partner.steps for partner in view.partners])
        place = np.zeros((view.steps, view.bid_count))
        place[steps, np.arange(view.bid_count)] = 1
        return place
