"""The same negotiation in one process and without a chain: for studies, for tests, and as the chain's counterpart."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.market.admm.agent import Agent, Submission
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.admm.residuals import NO_RESIDUALS, Residuals
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class Iterate:
    """Where all nodes stand after an iteration."""

    iteration: int
    agents: dict[int, Agent]  # by node
    submissions: dict[int, Submission]  # by node, of those that were present
    closing: Closing
    residuals: Residuals  # of this iteration, all nodes that are not out
    scalars: tuple[int, int]  # number of copies of the network, and of bids: what the RMS divides by


Absence = Callable[[int], frozenset[int]]
"""Who is absent in an iteration."""


class Round:
    """A round of one contract in memory, with all its nodes.

    Args:
        most_misses: how often a node may be silent before it is out of the round, as the contract has it.
        most_iterations: mu.
    """

    def __init__(
        self,
        views: Sequence[NodeView],
        penalties: Penalties,
        resolution: Resolution,
        most_misses: int = 2,
        most_iterations: int = MOST_ITERATIONS,
    ) -> None:
        self.assembly = Assembly.of_views(views)
        self.agents = {view.node: Agent(view, self.assembly, penalties, resolution, most_iterations) for view in views}
        self._in_turn = sorted(self.agents.values(), key=lambda agent: agent.consensus.answers_others)  # operator last
        self._most_misses = most_misses
        self._misses = dict.fromkeys(self.agents, 0)
        self._gone: frozenset[int] = frozenset()
        self._claimed = dict.fromkeys(self.agents, NO_RESIDUALS)  # about the iteration before
        self._iteration = 0

    def claim(self, node: int, residuals: Residuals) -> None:
        """Lets a node claim other residuals about the last iteration than those that follow from it."""
        self._claimed = {**self._claimed, node: residuals}

    def iterate(
        self,
        missing: frozenset[int] = frozenset(),
        given: Mapping[int, Submission] | None = None,
        proved: frozenset[int] = frozenset(),
    ) -> Iterate:
        """Runs the six steps once.

        Args:
            missing: who is silent.
            given: submissions of nodes that solve elsewhere.
            proved: who is proved false meanwhile, before it submits.
        """
        self._iteration += 1
        self._gone |= proved
        missing -= self._gone
        sums: dict[Block, Integers] = {}
        submissions: dict[int, Submission] = {}
        for agent in self._in_turn:
            node = agent.view.node
            if node in self._gone | missing:
                continue
            submission = submissions[node] = given[node] if given and node in given else agent.solve(sums)
            for block, lanes in zip(agent.blocks, submission.copies, strict=True):
                sums[block] = sums[block] + lanes if block in sums else lanes
        for node in missing:
            self._misses[node] += 1
        self._gone |= {node for node in missing if self._misses[node] >= self._most_misses}
        nothing = np.zeros(self.assembly.steps, dtype=np.int64)
        closing = Closing(
            self._iteration,
            frozenset(submissions),
            sum((self._claimed[node] for node in submissions), NO_RESIDUALS).as_tuple(),
            {block: sums.get(block, nothing) for block in self.assembly.all_blocks},
            {node: submission.bids for node, submission in submissions.items()},
            self._gone,
            proved,
        )
        for node, agent in self.agents.items():
            agent.take_in(closing, submissions[node].copies if node in submissions else None)
        claimed = self._claimed = {node: agent.residuals for node, agent in self.agents.items()}
        total = sum((claimed[node] for node in self.agents.keys() - self._gone), NO_RESIDUALS)
        return Iterate(self._iteration, self.agents, submissions, closing, total, self.assembly.scalars(self._gone))


def negotiate(
    views: Sequence[NodeView],
    penalties: Penalties,
    resolution: Resolution | None = None,
    absent: Absence = lambda iteration: frozenset(),
    most_misses: int = 2,
    standing: Mapping[int, Agent] | None = None,
    first: int = 0,
) -> Iterator[Iterate]:
    """Runs the six steps for all nodes, one iterate after the other, for as long as it is asked.

    Args:
        absent: who is silent in an iteration, and
        most_misses: for how often before it is out of the round, as the contract has it.
        standing: agents of a negotiation that this one goes on from, whose steps from
        first: on are those of this one; None: it begins anew.
    """
    round_ = Round(views, penalties, resolution or Resolution(), most_misses)
    for node, before in (standing or {}).items():
        round_.agents[node].resume(before, first)
    for iteration in itertools.count(1):
        yield round_.iterate(absent(iteration))
