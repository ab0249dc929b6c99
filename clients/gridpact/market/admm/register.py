"""What the contract does of a round, in integers: it adds up, counts who is there, and says when the round ends.

The rules are those of `IVirtualAggregator`. A round in memory (`market.admm.memory`) keeps its books here, and so does
the twin of the chain that nodes are tested on (`node.twin`), so there is one account of them in Python.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np

from gridpact.community.model import GRID_CONNECTION
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.admm.residuals import NO_RESIDUALS, Residuals
from gridpact.problem.blocks import Block

Test = Callable[[Sequence[int], tuple[int, int]], bool]
"""Whether four sums of squares are within the limits, given the number of copies of the network, and of bids."""


MOST_MISSES = 2
"""Iterations that a node may be silent in before it is out, where nobody says otherwise."""


class End(Enum):
    """How a round ended."""

    CONVERGED = "converged"
    EXHAUSTED = "exhausted"
    ABANDONED = "abandoned"


@dataclass(frozen=True)
class Rules:
    """What a round is opened with."""

    most_misses: int = MOST_MISSES  # iterations that a node may be silent in before it is out
    most_iterations: int = MOST_ITERATIONS  # mu
    within: Test = lambda squares, scalars: False  # by default it goes on for as long as it is asked
    may_end: Callable[[int], bool] = lambda iteration: True  # within the limits, for what others do


ENDLESS = Rules()
"""With no test that a round would pass."""


class Register:
    """The books of one round.

    Attributes:
        iteration: the open one.
        gone: who is out.
        running: the sums of the open iteration, (T,) each, of blocks of which a copy has come.
        end: None while it goes on.
        held: the last iteration that was within the limits; 0 before the first.
    """

    def __init__(self, assembly: Assembly, rules: Rules) -> None:
        self.assembly = assembly
        self.iteration = 1
        self.gone: frozenset[int] = frozenset()
        self.misses = dict.fromkeys(assembly.nodes, 0)
        self.end: End | None = None
        self.held = 0
        self.submissions: dict[int, IntegerSubmission] = {}  # of the open iteration, by node
        self.running: dict[Block, Integers] = {}
        self._rules = rules
        self._claimed = NO_RESIDUALS  # about the iteration before, by all who are there
        self._proved: frozenset[int] = frozenset()  # false, while the iteration is open
        self._disturbed = 0  # the last iteration in which somebody was missing or proved false

    @property
    def active(self) -> frozenset[int]:
        return self.assembly.nodes - self.gone

    @property
    def is_complete(self) -> bool:
        """Whether all are there that are not out."""
        return self.active <= self.submissions.keys()

    def submit(self, node: int, submission: IntegerSubmission, residuals: Residuals) -> None:
        """Takes in what a node says, once an iteration.

        Args:
            residuals: what it claims about the iteration before.
        """
        self.submissions[node] = submission
        self._claimed += residuals
        sums = self.running
        for block, lanes in zip(self.assembly.blocks(node), submission.copies, strict=True):
            sums[block] = sums[block] + lanes if block in sums else lanes

    def prove_false(self, node: int) -> None:
        """A node is out at once. What it has submitted in the open iteration still counts."""
        self._disturbed = self.iteration
        self._proved |= {node}
        if self._exclude({node}):
            self.end = End.ABANDONED

    def close(self) -> Closing:
        """Closes the open iteration with those who are there, and ends the round or opens the next."""
        iteration, present = self.iteration, frozenset(self.submissions)
        squares = NO_RESIDUALS.as_tuple() if iteration == 1 else self._claimed.as_tuple()
        bids = {node: submission.bids for node, submission in self.submissions.items()}
        sums, lost = self._sums(), self._miss(self.active - present)
        closing = Closing(iteration, present, squares, sums, bids, self.gone, self._proved)
        if lost:
            self.end = End.ABANDONED
        else:
            self.end = self._ended(squares)
        self.iteration += 1
        self.submissions, self.running = {}, {}
        self._claimed, self._proved = NO_RESIDUALS, frozenset()
        return closing

    def _ended(self, squares: tuple[int, int, int, int]) -> End | None:
        """How the round ends with the open iteration, if it does."""
        rules, is_last = self._rules, self.iteration >= self._rules.most_iterations
        if self.iteration >= self._disturbed + 2 and rules.within(squares, self.assembly.scalars(self.gone)):
            self.held = self.iteration
            if is_last or rules.may_end(self.iteration):
                return End.CONVERGED
        return End.EXHAUSTED if is_last else None

    def _sums(self) -> Mapping[Block, Integers]:
        nothing = np.zeros(self.assembly.steps, dtype=np.int64)
        return {block: self.running.get(block, nothing) for block in self.assembly.all_blocks}

    def _miss(self, absent: frozenset[int]) -> bool:
        """Counts who is silent, and whether the round is lost by it."""
        if absent:
            self._disturbed = self.iteration
        for node in absent:
            self.misses[node] += 1
        return self._exclude({node for node in absent if self.misses[node] >= self._rules.most_misses})

    def _exclude(self, nodes: set[int]) -> bool:
        """Whether the round cannot go on: nobody is left, or the grid operator's node is lost, on whom others hang."""
        self.gone |= nodes
        return bool(nodes) and (
            not self.active or (GRID_CONNECTION in nodes and bool(self.assembly.children[GRID_CONNECTION]))
        )
