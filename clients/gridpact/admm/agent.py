"""One node's side of the negotiation, from its view to integers and back; no chain and no I/O."""

from __future__ import annotations

import time
from dataclasses import dataclass

from gridpact.admm.consensus import Integers, consensus_of
from gridpact.admm.parameters import Penalties, Resolution
from gridpact.admm.trades import Trades
from gridpact.market.blocks import Block
from gridpact.market.local import LocalProblem, LocalSolution
from gridpact.market.view import NodeView


@dataclass(frozen=True)
class Residuals:
    """Sums of squares in resolution units squared, of one node or of all: they add up."""

    primal_grid: int  # sum (x - z)^2
    dual_grid: int  # sum (z - z_prev)^2, once a copy
    primal_trade: int  # sum (d_ij + d_ji)^2
    dual_trade: int  # sum (z_ij - z_ij_prev)^2

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.primal_grid, self.dual_grid, self.primal_trade, self.dual_trade

    def __add__(self, other: Residuals) -> Residuals:
        return Residuals(
            self.primal_grid + other.primal_grid,
            self.dual_grid + other.dual_grid,
            self.primal_trade + other.primal_trade,
            self.dual_trade + other.dual_trade,
        )


NO_RESIDUALS = Residuals(0, 0, 0, 0)


@dataclass(frozen=True)
class Submission:
    """What a node tells the others in an iteration, in resolution units."""

    copies: Integers  # (blocks, T)
    bids: Integers  # (bids,)


class Agent:
    """A node that solves its own problem and takes in what the others submitted, iteration by iteration."""

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self.consensus = consensus_of(view, penalties, resolution)
        self.trades = Trades(view, penalties, resolution)
        self.residuals = NO_RESIDUALS  # of the iteration taken in last
        self.solve_seconds = 0.0
        self._problem = LocalProblem(view, penalties.of_blocks(view), penalties.phi)
        self.solution: LocalSolution | None = None

    @property
    def blocks(self) -> tuple[Block, ...]:
        return self.consensus.blocks

    def solve(self) -> Submission:
        """The x-step (step 3 of the report).

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        started = time.perf_counter()
        self.solution = self._problem.solve(self.consensus.linear(), self.trades.linear())
        self.solve_seconds += time.perf_counter() - started
        return Submission(
            self.consensus.to_integers(self.solution.copies), self.trades.to_integers(self.solution.bids_kw)
        )

    def update(self, own: Submission, sums: Integers, counts: Integers, theirs: Integers, relaxation: float) -> None:
        """Dual updates and partial residuals from a closed iteration (steps 4 and 5).

        Args:
            own: this node's submission.
            sums, counts: sums of the copies of its blocks and how many are in each, see `Consensus.update`.
            theirs: the partners' bids, and
            relaxation: alpha of the trades, see `Trades.update`.
        """
        grid = self.consensus.update(own.copies, sums, counts)
        self.residuals = Residuals(*grid, *self.trades.update(own.bids, theirs, relaxation))
