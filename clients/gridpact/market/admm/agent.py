"""One node's side of the negotiation, from its view to integers and back; no chain and no I/O.

Apart from the x-step, all that happens here follows from public integers, so a node that has lost its memory replays
the closed iterations, with its own submissions as the chain has them, and stands where it stood.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import Array
from gridpact.market.admm.assembly import Assembly, Closing, Integers, Mask
from gridpact.market.admm.consensus import StarCentre, consensus_of
from gridpact.market.admm.parameters import Penalties, Resolution, relaxation_at
from gridpact.market.admm.residuals import NO_RESIDUALS, residuals_of
from gridpact.market.admm.trades import Trades
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.local import LocalProblem, LocalSolution, Point
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class Submission:
    """What a node tells the others in an iteration, in resolution units."""

    copies: Integers  # (blocks, T)
    bids: Integers  # (bids,)


class Agent:
    """A node that solves its own problem and takes in what the others submitted, iteration by iteration.

    Args:
        view: what the node knows.
        assembly: who is in the round, this node among them.
    """

    def __init__(self, view: NodeView, assembly: Assembly, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self.assembly = assembly
        self.penalties = penalties
        in_round = replace(view, parent=assembly.parents[view.node], children=assembly.children[view.node])
        self.consensus = consensus_of(in_round, penalties, resolution)
        self.trades = Trades(view, penalties, resolution)
        self.residuals = NO_RESIDUALS  # of the iteration taken in last
        self.solution: LocalSolution | None = None  # of the x-step taken last,
        self.solved = 0  # in this iteration
        self.solve_seconds = 0.0
        self._in_round = in_round
        self._gone: frozenset[int] = frozenset()
        self._before: Closing | None = None
        self._relaxation = self._relaxation_at(1, (0, 0, 0, 0))  # of the next iteration: network, trades
        self._problem: LocalProblem | None = None  # built for the first x-step, and anew when somebody is gone
        self._last_problem: LocalProblem | None = None  # the same with the trades as agreed

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.consensus.blocks

    @property
    def iteration(self) -> int:
        """The closed iteration that was taken in last; 0 before the first."""
        return self._before.iteration if self._before else 0

    def solve(self, running: Mapping[Block, Integers] | None = None) -> Submission:
        """The x-step (step 3 of the report).

        Args:
            running: at the grid operator's node, the wishes that have arrived, (T,) each.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        if isinstance(self.consensus, StarCentre):
            running = running or {}
            there = np.array([block in running for block in self.blocks], dtype=bool)
            nothing = np.zeros(self.view.steps, dtype=np.int64)
            self.consensus.hear(np.array([running.get(block, nothing) for block in self.blocks]), there)
        started = time.perf_counter()
        if self._problem is None:
            self._problem = self._new_problem()
        self.solution = self._problem.solve(self.point())
        self.solved = self.iteration + 1
        self.solve_seconds += time.perf_counter() - started
        return Submission(
            self.consensus.to_integers(self.solution.copies), self.trades.to_integers(self.solution.bids_kw)
        )

    def conclude(self) -> LocalSolution:
        """What a household with trades does after the last iteration: the best for itself with the trades as
        they are recorded, near what the grid operator answered.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        started = time.perf_counter()
        if self._last_problem is None:
            self._last_problem = self._new_problem(agreed=True)
        solution = self._last_problem.solve(self.point())
        self.solve_seconds += time.perf_counter() - started
        return solution

    def _new_problem(self, agreed: bool = False) -> LocalProblem:
        return LocalProblem(
            self._in_round,
            self.trades.phi,
            self.trades.pool_penalty,
            fixed=self._fixed(),
            parted=None if agreed else self._parted(),
            agreed=agreed,
        )

    def point(self) -> Point:
        """Where the negotiation stands for this node."""
        alpha, _ = self._relaxation
        consensus, trades = self.consensus, self.trades
        return Point(consensus.linear(alpha), consensus.rho, trades.linear(), trades.pool_linear(), trades.recorded_kw)

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
            counts = np.array([assembly.count(block, now.present) for block in self.blocks], dtype=np.int64)
            sums = np.array([now.sums[block] for block in self.blocks], dtype=np.int64).reshape(copies.shape)
            self.consensus.update(copies, sums, counts, network)
            if self.view.partners:
                self.trades.update(assembly.bids(now, node), trades)
                own_sum = assembly.sold_by_step(now, node)
            self.residuals = residuals_of(assembly, node, copies, now, self._before)
        if self.view.partners:
            self.trades.balance(own_sum, *assembly.balance(now), trades)
        self._before = now
        self._relaxation = self._relaxation_at(now.iteration + 1, now.residuals)
        if now.gone != self._gone:
            self._gone = now.gone
            self._problem = self._last_problem = None
            self.trades.part(self._parted())

    def _relaxation_at(self, iteration: int, squares: tuple[int, int, int, int]) -> tuple[float, float]:
        copies, bids = self.assembly.scalars(self._gone)
        return (
            relaxation_at(iteration, squares[0], copies),
            relaxation_at(iteration, squares[2], bids, of_trades=True),
        )

    def _parted(self) -> Mask:
        """Which bids are to partners that do not count (any longer), (bids,)."""
        counts = {
            partner.node: partner.node not in self._gone and self.assembly.mirrors(self.view.node, partner.node)
            for partner in self.view.partners
        }
        return np.array([not counts[partner.node] for partner in self.view.partners for _ in partner.steps], dtype=bool)

    def _fixed(self) -> dict[Block, Array]:
        """Flows of nodes that are out, (T,) each. The grid operator's node expects what they do on their own; between
        neighbours they stay as they were agreed last."""
        missing = [block for block in self.blocks if block.kind is not Kind.V and block.node in self._gone]
        centre = self.consensus
        if not isinstance(centre, StarCentre):
            return {block: centre.value[self.blocks.index(block)] for block in missing}
        assert self.view.feeder is not None
        outside = [Block(kind, line.node) for line in self.view.feeder.lines for kind in (Kind.P, Kind.Q)]
        missing += [block for block in outside if block not in self.blocks]
        return {block: centre.expected(block.node)[block.kind] for block in missing}
