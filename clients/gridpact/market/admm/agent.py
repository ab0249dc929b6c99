"""One node's side of the negotiation, from its view to integers and back; no chain and no I/O.

Apart from the x-step, all that happens here follows from public integers, so a node that has lost its memory replays
the closed iterations, with its own submissions as the chain has them, and stands where it stood.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, Household
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.errors import InfeasibleError, SolverError
from gridpact.market.admm.assembly import Assembly, Closing, Integers, Mask
from gridpact.market.admm.consensus import consensus_of
from gridpact.market.admm.parameters import (
    POWERS,
    Penalties,
    Resolution,
    most_of_devices_kw,
    relaxation_at,
    resumed_penalty,
)
from gridpact.market.admm.reach import (
    ANY_NET,
    BIDS_THAT_FIT,
    MOST_ITERATIONS,
    Bounds,
    Reach,
    agreed_bids,
    centre_of_copies,
    copies_that_fit,
)
from gridpact.market.admm.residuals import NO_RESIDUALS, residuals_of
from gridpact.market.admm.trades import Trades
from gridpact.problem.blocks import Block
from gridpact.problem.local import LocalProblem, LocalSolution, NodeProblem, Point
from gridpact.problem.operator import operator_problem
from gridpact.problem.scenario import NetworkAgreement
from gridpact.problem.view import NodeView

log = logging.getLogger(__name__)

LAST_FREE_PRICES = 60
"""Iterations, from the beginning, in which prices may be on their way: those of trades beyond the supplier's, those of
voltages where no limit asks for any."""

LAST_UNBOUNDED = 20
"""Iterations, from the beginning, in which a household may trade more than its devices can take or give: prices are on
their way."""

MORE_THAN_OWN_KW = 1.0
"""Beyond what its devices can take or give, from which a household is held to that."""

LEAST_PART = 1 / 16
"""Of what absent nodes would do; where that is too much, too, they are taken to do nothing."""


@dataclass(frozen=True)
class IntegerSubmission:
    """What a node tells the others in an iteration, in resolution units."""

    copies: Integers  # (blocks, T)
    bids: Integers  # (bids,)


class Agent:
    """A node that solves its own problem and takes in what the others submitted, iteration by iteration.

    Args:
        view: what the node knows.
        assembly: who is in the round, this node among them.
        most_iterations: mu.
    """

    def __init__(
        self,
        view: NodeView,
        assembly: Assembly,
        penalties: Penalties,
        resolution: Resolution,
        most_iterations: int = MOST_ITERATIONS,
    ) -> None:
        self.view = view
        self.assembly = assembly
        self.penalties = penalties
        in_round = replace(view, parent=assembly.parents[view.node], children=assembly.children[view.node])
        self.consensus = consensus_of(in_round, penalties, resolution, assembly.beyond)
        self.trades = Trades(view, penalties, resolution)
        self._held: Mapping[tuple[int, int], int] = {}  # see `hold`
        self.residuals = NO_RESIDUALS  # of the iteration taken in last
        self.solution: LocalSolution | None = None  # of the x-step taken last,
        self.solved = 0  # in this iteration
        self.solve_seconds = 0.0
        self._in_round = in_round
        self._gone: frozenset[int] = frozenset()
        self._before: Closing | None = None
        self._resumed = False  # where another negotiation stood
        self._relaxation = self._relaxation_at(1, (0, 0, 0, 0))  # of the next iteration: network, trades
        self._resolution = resolution
        self._reach = Reach(resolution.on_chain()[0], most_iterations)
        self._most = self._most_net(view.household)
        self._own_kw = self._what_it_can(view)
        self._held_to_own = False  # whether it trades no more than that
        self._began = 0  # the iteration after which the negotiation began anew
        self.disturbed = 0  # the last iteration in which somebody was missing or excluded
        self._part = 1.0  # of what absent nodes would do, that they are taken to do
        self._problem: NodeProblem | None = None  # for the x-step; anew when somebody is gone
        self._last_problem: NodeProblem | None = None  # the same with the trades as agreed

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.consensus.blocks

    @property
    def iteration(self) -> int:
        """The closed iteration that was taken in last; 0 before the first."""
        return self._before.iteration if self._before else 0

    @property
    def gone(self) -> frozenset[int]:
        """Nodes that are out of the round, as far as it knows."""
        return self._gone

    @property
    def answers(self) -> bool:
        """Whether it hears the others' wishes in an iteration before it submits: the grid operator's node of a star."""
        return self.consensus.answers_others

    def go_on(self, before: Agent | None, first: int, held_wh: Mapping[tuple[int, int], int] | None) -> None:
        """Begins a round about the rest of a day where it stood before, and about changes of what was agreed.

        All of a round begin where they stood, or none: what they know of it is public.

        Args:
            before: where it stood when a round was agreed last; None: this is the first.
            first: the step of that round which is the first of this one.
            held_wh: what was recorded before, see `hold`; None: nothing was.
        """
        if before is not None and not before.gone and before.assembly.nodes == self.assembly.nodes:
            self.resume(before, first)
        if held_wh is not None:
            self.hold(held_wh)

    def resume(self, before: Agent, first: int) -> None:
        """Goes on where a negotiation about a longer day stood, whose steps from one on are those of this one."""
        self.consensus.resume(before.consensus, first)
        self.trades.resume(before.trades, first)
        self._resumed = True
        self._relaxation = self._relaxation_at(1, (0, 0, 0, 0))
        self.trades.penalise(resumed_penalty(1))

    def hold(self, energies_wh: Mapping[tuple[int, int], int]) -> None:
        """What is agreed on are changes of what was recorded before, see `Trades.hold`."""
        self._held = energies_wh
        self.trades.hold(energies_wh)

    def solve(self, running: Mapping[Block, Integers] | None = None) -> IntegerSubmission:
        """The x-step (step 3 of the report).

        Args:
            running: at the grid operator's node, the wishes that have arrived, (T,) each.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        if self.answers:
            running = running or {}
            there = np.array([block in running for block in self.blocks], dtype=bool)
            nothing = np.zeros(self.assembly.steps, dtype=np.int64)
            wishes = np.array([running.get(block, nothing) for block in self.blocks])
            wishes = wishes.reshape(len(self.blocks), self.assembly.steps)  # nobody may be there
            self.consensus.hear(wishes[:, self.view.first :], there)
        started = time.perf_counter()
        try:
            self.solution = self._solved(agreed=False)
            if self._trades_more_than_its_own(self.solution):
                self._held_to_own, self._problem = True, None
                self.solution = self._solved(agreed=False)
        except (InfeasibleError, SolverError) as error:
            if self.solution is None and self.view.household is not None:
                raise  # what others said has no part in the first problem
            log.warning("node %d says the same again: %s", self.view.node, error)
            self.solution = self.solution or self._nothing()
        self.solved = self.iteration + 1
        self.solve_seconds += time.perf_counter() - started
        copies, bids = self.within_reach()
        return IntegerSubmission(
            self.consensus.to_integers(self._over_the_day(self.solution.copies), copies),
            self.trades.to_integers(self.solution.bids_kw, bids, self._most),
        )

    def _over_the_day(self, copies: Array) -> Array:
        """Copies of all steps that the round has: nothing flows in those that are over."""
        over = np.zeros((len(copies), self.view.first))
        return np.concatenate([over, copies], axis=1)

    def _solved(self, agreed: bool) -> LocalSolution:
        """Solves its problem. Where what absent nodes are taken to do leaves no plan, they are taken to do less."""
        if self.view.household is None and not self.blocks:
            return self._nothing()  # no household has a place under it
        while True:
            problem = self._last_problem if agreed else self._problem
            if problem is None:
                problem = self._new_problem(agreed)
                if agreed:
                    self._last_problem = problem
                else:
                    self._problem = problem
            try:
                return problem.carried_out(self.point()) if agreed else problem.solve(self.point())
            except InfeasibleError:
                if not self._fixed() or not self._part:
                    raise
                self._part = self._part / 2 if self._part > LEAST_PART else 0.0
                self._problem = self._last_problem = None

    @staticmethod
    def _what_it_can(view: NodeView) -> tuple[Array, Array] | None:
        """What a household sells less what it buys, at least and at most, of its own devices, kW, (T,) each: nobody
        gains by buying what is fed in at the same price. None where there are several tariffs, or a device does not say
        what it takes at most."""
        home = view.household
        if home is None or not view.one_tariff:
            return None
        drawing = (device for device in home.devices if not isinstance(device, Panels | Inverter))
        if not all(any(hasattr(device, name) for name in POWERS) for device in drawing):
            return None
        devices = most_of_devices_kw(home)
        return -(home.load_kw + devices), home.pv_kw + devices

    def _trades_more_than_its_own(self, solution: LocalSolution) -> bool:
        """Whether a household is to be held to what its devices can take or give, which it was not yet.

        Where prices stand a little above the feed-in price, all others buy from somebody who gives for ever, to feed it
        in again. In an optimum nobody needs to, so the bound takes nothing from it.
        """
        if self._own_kw is None or self._held_to_own or self._held or not self.view.partners:
            return False
        if self.iteration + 1 - self._began <= LAST_UNBOUNDED:
            return False
        net = np.bincount(self.trades.steps, solution.bids_kw, self.view.steps)
        least, most = self._own_kw
        return bool(np.any(np.maximum(least - net, net - most) > MORE_THAN_OWN_KW))

    def _most_net(self, household: Household | None) -> Bounds:
        """What it sells less what it buys at most, over all partners, whatever is offered, units, (T,): twice what it
        can give or take at that step, and two kilowatts more. Who buys more than it can take could only feed it in, and
        that is no gain to it. What it passes on to neighbours may be more."""
        if household is None:
            return ANY_NET
        devices = most_of_devices_kw(household)
        load, pv = ((2 * (kw + devices) + 2) / self._resolution.power_kw for kw in (household.load_kw, household.pv_kw))
        return Bounds(-load.astype(np.int64), pv.astype(np.int64))

    def _nothing(self) -> LocalSolution:
        return LocalSolution(np.zeros((len(self.blocks), self.view.steps)), np.zeros(self.view.bid_count), dict)

    def within_reach(self) -> tuple[Bounds, Bounds]:
        """What its next copies and bids may be."""
        copies, bids = copies_that_fit(self.blocks), BIDS_THAT_FIT
        if self._before is None:
            return copies, bids
        node, assembly, age = self.view.node, self.assembly, self.iteration + 1 - self.disturbed
        in_turn = self.view.agreement is NetworkAgreement.DSO  # neighbours come to agree on voltages by and by
        reach = replace(self._reach, resumed=self._resumed and in_turn)
        if node != GRID_CONNECTION:
            copies = copies.around(*centre_of_copies(assembly, node, self._before), reach.of_copies(age))
        if self.view.partners:
            bids = bids.below(*agreed_bids(assembly, node, self._before), reach.of_bids(age))
        return copies, bids

    def plan(self) -> LocalSolution:
        """What a household does if the round ends here: with trades, or where its last x-step is no plan that devices
        can carry out, see `conclude`; else that x-step.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        if self.view.partners or self.solution is None or self.solution.directions is not None:
            return self.conclude()
        return self.solution

    def conclude(self) -> LocalSolution:
        """What a household with trades does after the last iteration: the best for itself with the trades as
        they are recorded, near what the grid operator answered.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        started = time.perf_counter()
        solution = self._solved(agreed=True)
        self.solve_seconds += time.perf_counter() - started
        return solution

    def _new_problem(self, agreed: bool) -> NodeProblem:
        fixed = {block: self._part * flow for block, flow in self._fixed().items()}
        if self.answers:
            return operator_problem(self._in_round, self.consensus.to_integers, self._resolution.power_kw, fixed)
        return LocalProblem(
            self._in_round,
            self.penalties.phi,
            self.penalties.pool,
            fixed=fixed,
            parted=None if agreed else self._parted(),
            held_kw=self.trades.held_kw,
            agreed=agreed,
            net_kw=self._own_kw if self._held_to_own else None,
        )

    def point(self) -> Point:
        """Where the negotiation stands for this node."""
        alpha, _ = self._relaxation
        consensus, trades = self.consensus, self.trades
        network, bids = (consensus.linear(alpha), consensus.rho), (trades.linear(), trades.pool_linear())
        return Point(*network, *bids, trades.recorded_kw, trades.times)

    def take_in(self, now: Closing, copies: Integers | None) -> None:
        """Dual updates and partial residuals from a closed iteration (steps 4 and 5).

        Args:
            now: the iteration.
            copies: this node's submission in it, (blocks, T); None where it was absent.
        """
        node, assembly = self.view.node, self.assembly
        network, trades = self._relaxation
        self.residuals = NO_RESIDUALS
        own_sum: Integers | None = None
        if copies is not None:
            counts, sums = assembly.counts(node, now.present), assembly.sums(now, node)
            first = self.view.first
            self.consensus.update(copies[:, first:], sums[:, first:], counts, network)
            if self.view.partners:
                self.trades.update(assembly.bids(now, node), trades)
                own_sum = assembly.sold_by_step(now, node)[self.view.first :]
            self.residuals = residuals_of(assembly, node, copies, now, self._before)
        if self.view.partners:
            total, households = assembly.balance(now)
            if total is not None:
                first = self.view.first
                self.trades.balance(own_sum, total[first:], households[first:], trades)
            if now.iteration - self._began > LAST_FREE_PRICES:
                self.trades.keep_between_tariffs()
        if now.iteration - self._began > LAST_FREE_PRICES:
            first = self.view.first
            self.consensus.keep_to_needs(lambda block: assembly.flow(now, block)[first:])
        if now.gone != self._gone or now.present != assembly.nodes - self._gone:
            self.disturbed = now.iteration
        self._before = now
        if now.gone != self._gone:
            self._gone, self._part = now.gone, 1.0
            self._problem = self._last_problem = None
            self._begin_anew(now)
        self._relaxation = self._relaxation_at(now.iteration + 1 - self._began, now.residuals)
        if self._resumed:
            self.trades.penalise(resumed_penalty(now.iteration + 1))

    def _begin_anew(self, now: Closing) -> None:
        """Forgets what was agreed: somebody is out, and the rest negotiates as if it had not been there."""
        self._began, self._resumed, self._held_to_own = now.iteration, False, False
        self.trades = Trades(self.view, self.penalties, self._resolution)
        self.trades.hold(self._held)
        self.consensus = self.consensus.anew(now.proved)

    def _relaxation_at(self, iteration: int, squares: tuple[int, int, int, int]) -> tuple[float, float]:
        copies, bids = self.assembly.scalars(self._gone)
        return (
            relaxation_at(iteration, squares[0], copies, resumed=self._resumed),
            relaxation_at(iteration, squares[2], bids, of_new_trades=True, resumed=self._resumed),
        )

    def _parted(self) -> Mask:
        """Which bids are to partners that do not count (any longer), or with whom no price suits both, (bids,)."""
        counts = {
            partner.node: partner.node not in self._gone and self.assembly.mirrors(self.view.node, partner.node)
            for partner in self.view.partners
        }
        gone = np.array([not counts[partner.node] for partner in self.view.partners for _ in partner.steps], dtype=bool)
        parted: Mask = gone | ~self.trades.has_prices
        return parted

    def _fixed(self) -> dict[Block, Array]:
        """Flows of nodes that are out, (T,) each."""
        return self.consensus.flows_without(self._gone)
