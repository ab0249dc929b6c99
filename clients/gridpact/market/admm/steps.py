"""A node's turn in an iteration, step by step: the same code on a chain and in memory.

What a node needs of an open iteration is an `OpenIteration`. `node.exchange` is one on a chain: integers become words
and bytes there, go out directly or by a relay, and are waited for. `market.admm.memory` is one in this process, which
hands integers to a `Register` as they are. Before its turn a node takes in what was closed since (`Agent.take_in`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Integers
from gridpact.market.admm.residuals import Residuals
from gridpact.problem.blocks import Block


class OpenIteration(Protocol):
    """The open iteration of a round, as one node takes part in it."""

    def wishes(self) -> Mapping[Block, Integers] | None:
        """What the others have submitted of this node's blocks, (T,) each, once it is no use to wait for more; None
        where the iteration was closed meanwhile."""

    def submit(self, submission: IntegerSubmission, residuals: Residuals) -> None:
        """Says what the node has to say.

        Args:
            residuals: what it claims about the iteration before.
        """


def take_turn(agent: Agent, opened: OpenIteration) -> None:
    """Step 3: who answers hears the others, then all solve, and submit what came of it with their residuals.

    Raises:
        InfeasibleError, SolverError: see `LocalProblem.solve`.
    """
    wishes: Mapping[Block, Integers] | None = {}
    if agent.answers:
        wishes = opened.wishes()
    if wishes is not None:
        opened.submit(agent.solve(wishes), agent.residuals)
