"""The same negotiation in one process and without a chain: for studies, for tests, and as the chain's counterpart."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.admm.agent import Agent, Submission
from gridpact.admm.assembly import Assembly, Closing, Integers
from gridpact.admm.parameters import Penalties, Resolution
from gridpact.admm.residuals import NO_RESIDUALS, Residuals
from gridpact.market.blocks import Block
from gridpact.market.view import NodeView


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


def negotiate(
    views: Sequence[NodeView],
    penalties: Penalties,
    resolution: Resolution | None = None,
    absent: Absence = lambda iteration: frozenset(),
    most_misses: int = 2,
) -> Iterator[Iterate]:
    """Runs the six steps for all nodes, one iterate after the other, for as long as it is asked.

    Args:
        absent: who is silent in an iteration, and
        most_misses: for how often before it is out of the round, as the contract has it.
    """
    resolution = resolution or Resolution()
    assembly = Assembly.of_views(views)
    agents = {view.node: Agent(view, assembly, penalties, resolution) for view in views}
    in_turn = sorted(agents.values(), key=lambda agent: agent.consensus.answers_others)  # the operator's node is last
    misses = dict.fromkeys(agents, 0)
    gone: frozenset[int] = frozenset()
    claimed = dict.fromkeys(agents, NO_RESIDUALS)  # about the iteration before
    iteration = 0
    while True:
        iteration += 1
        missing = absent(iteration) - gone
        sums: dict[Block, Integers] = {}
        submissions: dict[int, Submission] = {}
        for agent in in_turn:
            node = agent.view.node
            if node in gone | missing:
                continue
            submission = submissions[node] = agent.solve(sums)
            for block, lanes in zip(agent.blocks, submission.copies, strict=True):
                sums[block] = sums[block] + lanes if block in sums else lanes
        for node in missing:
            misses[node] += 1
        gone |= {node for node in missing if misses[node] >= most_misses}
        nothing = np.zeros(assembly.steps, dtype=np.int64)
        closing = Closing(
            iteration,
            frozenset(submissions),
            sum((claimed[node] for node in submissions), NO_RESIDUALS).as_tuple(),
            {block: sums.get(block, nothing) for block in assembly.all_blocks},
            {node: submission.bids for node, submission in submissions.items()},
            gone,
        )
        for node, agent in agents.items():
            agent.take_in(closing, submissions[node].copies if node in submissions else None)
        claimed = {node: agent.residuals for node, agent in agents.items()}
        total = sum((claimed[node] for node in agents.keys() - gone), NO_RESIDUALS)
        yield Iterate(iteration, agents, submissions, closing, total, assembly.scalars(gone))
