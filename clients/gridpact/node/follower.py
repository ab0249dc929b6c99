"""A round as one node follows it on the chain: what was closed is taken in, and read again where the chain changed."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence

from gridpact.chain.ledger import RoundLedger
from gridpact.chain.values import IterationLog
from gridpact.community.model import Array
from gridpact.errors import Reorganised
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.node.accusing import Accusing
from gridpact.node.form import OpenForm, SealedForm
from gridpact.node.memory import Memory
from gridpact.node.round_log import assembly_of, resolution_of, whole
from gridpact.problem.view import NodeView

log = logging.getLogger(__name__)

Begin = Callable[[Assembly, Penalties, Resolution, int], Agent]
"""Makes an agent, of who is in a round, penalties, resolution and most iterations."""


class Follower:
    """Holds what the chain tells of a round that a node is in, and brings it up to date.

    Args:
        accusing: looks at each iteration as it is taken in while the round runs.
        begin: an agent of this node, at the beginning of a round.
        standing: of a round about the rest of a day, where this node stood in the last one that was agreed.
        held_wh: trades that were recorded before, which this round changes, see `Agent.hold`.
    """

    def __init__(
        self,
        view: NodeView,
        aggregator: RoundLedger,
        accusing: Accusing,
        begin: Begin,
        standing: Agent | None,
        held_wh: Mapping[tuple[int, int], int] | None,
    ) -> None:
        self._view = view
        self._aggregator = aggregator
        self._accusing = accusing
        self._begin = begin
        self._standing, self._held_wh = standing, held_wh
        theta = aggregator.theta()
        self._penalties = Penalties.from_chain(theta.rho, theta.phi)
        self._most_iterations = theta.mu
        self._resolution = resolution_of(aggregator)
        self._solve_s = 0.0  # of memories that were given up
        self.memory: Memory | None = None
        """Of the round; None where this node is not in it, or has not looked yet."""

    @property
    def solve_seconds(self) -> float:
        """How long problems were solved, in whatever was forgotten since, too."""
        return self._solve_s + (self.memory.agent.solve_seconds if self.memory is not None else 0.0)

    def catch_up(self, round_: int, upto: int, head: bytes) -> Memory | None:
        """Takes in the iterations that were closed since. None: this node is not in the round.

        Where the chain tells another history than before, it is read from its beginning.

        Args:
            head: the last bytes, or all, of the head that it must lead to.

        Raises:
            Reorganised: the chain changed while it was read.
        """
        memory = self.memory
        if memory is not None and memory.agent.iteration <= upto:
            for iteration in range(memory.agent.iteration + 1, upto + 1):
                entry = self._aggregator.iteration(round_, iteration)
                if entry.closed is None or not memory.follows(round_, entry.closed):
                    break
                self._take_in(memory, entry)
                self._accusing.look(round_, memory)
            if memory.agent.iteration == upto and memory.head.endswith(head):
                return memory
            log.warning("node %d: the chain was re-organised", self._view.node)
        self.forget()
        self.memory = memory = self._new_memory(round_)
        if memory is not None:
            for entry in self._aggregator.history(round_)[:upto]:
                self._take_in(memory, entry)
            memory.doubtful = upto + 1
            if memory.agent.iteration != upto or not memory.head.endswith(head):
                raise Reorganised(f"the chain of round {round_} changed while node {self._view.node} read it")
        return memory

    def forget(self) -> None:
        """Gives up what it holds: it is read again from the chain."""
        if self.memory is not None:
            self._solve_s += self.memory.agent.solve_seconds
        self.memory = None

    def plan(self, round_: int, memory: Memory, last: int) -> dict[str, Array]:
        """The agreed schedule. Without trades it is that of the last x-step, which a node that came back since takes
        once more.

        Args:
            last: iteration of the round.
        """
        agent = memory.agent
        if not self._view.partners and agent.solved != last:
            agent = self._last_step(round_, memory, last)
        return agent.plan().schedule

    def _last_step(self, round_: int, memory: Memory, last: int) -> Agent:
        """The agent of this node with the x-step of the last iteration taken, and no more."""
        closing = memory.history[-1][1]
        again = self._new_memory(round_)
        assert again is not None
        for entry in self._aggregator.history(round_)[: last - 1]:
            self._take_in(again, entry)
        running = None
        if memory.agent.answers:
            words = self._aggregator.copies_of(memory.last[self._view.node][0])
            own = memory.form.copies(last, self._view.node, words)
            running = {
                block: closing.sums[block] - row
                for block, row in zip(memory.agent.blocks, own, strict=True)
                if block.node in closing.present
            }
        again.agent.solve(running)
        self._solve_s += again.agent.solve_seconds
        return again.agent

    # ------------------------------------------------------------------ taking in

    def _new_memory(self, round_: int) -> Memory | None:
        declared = assembly_of(self._aggregator, round_)
        if declared is None and self._aggregator.roster().nodes:
            raise Reorganised(f"the log does not tell yet that round {round_} started")
        if declared is None or self._view.node not in declared[0].nodes:
            return None
        assembly, books = declared
        node = self._view.node
        if not self._aggregator.sealed:
            return Memory(self._agent(assembly), OpenForm(assembly, node), books)
        sealed = SealedForm.of(assembly, node, self._aggregator, round_, books)
        return Memory(self._agent(assembly), sealed, books, sealed)

    def _agent(self, assembly: Assembly) -> Agent:
        agent = self._begin(assembly, self._penalties, self._resolution, self._most_iterations)
        before = self._standing
        agent.go_on(before, self._view.first - before.view.first if before is not None else 0, self._held_wh)
        return agent

    def _take_in(self, memory: Memory, entry: IterationLog) -> None:
        """Step 4, from the logs; of its own submission the copies, which are not in the logs."""
        assert entry.closed is not None
        node, iteration = self._view.node, entry.closed.iteration
        words: Sequence[int] | None = None
        if node in whole(entry).present:
            words = memory.sent.get(iteration)
            if words is None or iteration <= memory.doubtful:  # another run of this node may have sent something else
                words = self._aggregator.copies_of(entry.submissions[node])
        own = None if words is None else memory.form.copies(iteration, node, words)
        memory.take_in(entry, memory.form.closing(entry, memory.gone, words), own)
