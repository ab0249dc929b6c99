"""The same negotiation in one process and without a chain: for studies, for tests, and as the chain's counterpart.

Nodes take their turns as on a chain (`market.admm.steps`), at a `Register` that counts and ends the round as the
contract does. What is not here is what a chain asks for besides: bytes, seals, hashes, waiting, and an eye on others.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.market.admm.register import ENDLESS, MOST_MISSES, End, Register, Rules
from gridpact.market.admm.residuals import NO_RESIDUALS, Residuals
from gridpact.market.admm.steps import take_turn
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView


@dataclass(frozen=True)
class Iterate:
    """Where all nodes stand after an iteration."""

    iteration: int
    agents: dict[int, Agent]  # by node
    submissions: dict[int, IntegerSubmission]  # by node, of those that were present
    closing: Closing
    residuals: Residuals  # of this iteration, all nodes that are not out
    scalars: tuple[int, int]  # number of copies of the network, and of bids: what the RMS divides by
    end: End | None = None  # of the round, if it ended with this iteration


Absence = Callable[[int], frozenset[int]]
"""Who is absent in an iteration."""


@dataclass(frozen=True)
class _Seat:
    """A node's place at a register: its `OpenIteration`."""

    register: Register
    node: int
    claimed: Residuals | None = None  # in place of what follows from the iteration before

    def wishes(self) -> Mapping[Block, Integers]:
        return self.register.running

    def submit(self, submission: IntegerSubmission, residuals: Residuals) -> None:
        self.register.submit(self.node, submission, self.claimed or residuals)


class Round:
    """A round of one contract in memory, with all its nodes: agents that hand each other integers over a `Register`.

    Args:
        rules: of the contract.
    """

    def __init__(
        self, views: Sequence[NodeView], penalties: Penalties, resolution: Resolution, rules: Rules = ENDLESS
    ) -> None:
        self.assembly = Assembly.of_views(views)
        most = rules.most_iterations
        self.agents = {view.node: Agent(view, self.assembly, penalties, resolution, most) for view in views}
        self.register = Register(self.assembly, rules)
        self._in_turn = sorted(self.agents.values(), key=lambda agent: agent.answers)  # operator last

    def resume(
        self, standing: Mapping[int, Agent], first: int, held_wh: Mapping[int, Mapping[tuple[int, int], int]]
    ) -> None:
        """Goes on from where agents of another round stand, whose steps from `first` on are those of this one.

        Args:
            held_wh: by node, what was recorded before, see `Agent.hold`.
        """
        for node, agent in self.agents.items():
            agent.go_on(standing.get(node), first, held_wh.get(node))

    def iterate(
        self,
        missing: frozenset[int] = frozenset(),
        given: Mapping[int, IntegerSubmission] | None = None,
        proved: frozenset[int] = frozenset(),
        claimed: Mapping[int, Residuals] | None = None,
    ) -> Iterate:
        """Lets all nodes take their turns, closes the iteration, and lets them take it in.

        Args:
            missing: who is silent.
            given: submissions of nodes that solve elsewhere.
            proved: who is proved false meanwhile, before it submits.
            claimed: other residuals about the iteration before than those that follow from it, by node.
        """
        register = self.register
        for node in proved:
            register.prove_false(node)
        for agent in self._in_turn:
            node = agent.view.node
            if node in register.gone | missing:
                continue
            seat = _Seat(register, node, (claimed or {}).get(node))
            if given and node in given:
                seat.submit(given[node], agent.residuals)
            else:
                take_turn(agent, seat)
        submissions = register.submissions
        closing = register.close()
        for node, agent in self.agents.items():
            agent.take_in(closing, submissions[node].copies if node in submissions else None)
        total = sum((self.agents[node].residuals for node in register.active), NO_RESIDUALS)
        scalars = self.assembly.scalars(register.gone)
        return Iterate(closing.iteration, self.agents, submissions, closing, total, scalars, register.end)


def negotiate(
    views: Sequence[NodeView],
    penalties: Penalties,
    resolution: Resolution | None = None,
    absent: Absence = lambda iteration: frozenset(),
    most_misses: int = MOST_MISSES,
) -> Iterator[Iterate]:
    """Runs the six steps for all nodes, one iterate after the other, for as long as it is asked.

    Args:
        absent: who is silent in an iteration, and
        most_misses: for how often before it is out of the round, as the contract has it.
    """
    round_ = Round(views, penalties, resolution or Resolution(), Rules(most_misses))
    for iteration in itertools.count(1):
        yield round_.iterate(absent(iteration))
