"""Checking what other nodes claim and say, and accusing who is false."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import numpy as np

from gridpact.chain.evidence import plan_evidence, residual_evidence, sealed_evidence
from gridpact.chain.ledger import RoundLedger
from gridpact.chain.values import Submission
from gridpact.community.model import GRID_CONNECTION
from gridpact.market.admm.assembly import Assembly, Integers
from gridpact.market.admm.codec import decode_copies, key_in
from gridpact.node.asking import Asking
from gridpact.node.audit import departures, false_claims, steps_outside
from gridpact.node.memory import Memory
from gridpact.node.round_log import reach_of, resolution_of
from gridpact.node.sending import Sending
from gridpact.problem.view import NodeView

log = logging.getLogger(__name__)

CHECK_EVERY = 4
"""Iterations from one check of another node's network residuals to the next."""


class Accusing:
    """One node's eye on the others."""

    def __init__(self, view: NodeView, aggregator: RoundLedger, sending: Sending) -> None:
        self.view = view
        self._aggregator = aggregator
        self._sending = sending
        self.asking = Asking(view.node, aggregator, sending)
        self._reach = reach_of(aggregator)
        self._most_misses = aggregator.setting().max_misses

    def look(self, round_: int, memory: Memory) -> None:
        """Checks what the others claimed in the newest iteration about the one before, and what they said there, and
        accuses who is false: at once where this node comes next after it, else if nobody else has done it by the next
        iteration. In its turn it looks at the operator's newest answer besides."""
        self.asking.look(round_, memory)
        self._look_at_the_plan(round_, memory)
        if len(memory.history) < 2:
            return
        entry, now = memory.history[-1][0], memory.history[-2][1]
        before = memory.history[0][1] if len(memory.history) == 3 else None
        me, assembly = self.view.node, memory.agent.assembly
        if not (others := sorted(entry.submissions.keys() - {me})):
            return
        copies = self._copies_to_check(memory, others)
        claims = {node: entry.submissions[node].residuals for node in others}
        for node, what in false_claims(assembly, claims, now, before, copies).items():
            log.warning("node %d %s", node, what)
            memory.suspects.setdefault(node, (now.iteration, False))
        age = memory.steady[-2] - self._most_misses
        for node, what in departures(assembly, others, now, before, copies, self._reach, age).items():
            log.warning("node %d %s", node, what)
            memory.suspects.setdefault(node, (now.iteration, True))
        for node, (iteration, departed) in memory.suspects.items():
            if memory.sealed:  # nobody else has what this node has
                if node not in memory.gone and node != GRID_CONNECTION:
                    self._accuse(round_, node, iteration, departed, memory)
                continue
            honest = sorted(assembly.nodes - memory.gone - memory.suspects.keys())
            first = next((other for other in honest if other > node), honest[0])
            if node not in memory.gone and (me == first or iteration < now.iteration):
                self._accuse(round_, node, iteration, departed, memory)

    def _look_at_the_plan(self, round_: int, memory: Memory) -> None:
        """Accuses the grid operator's node of an answer outside the limits that it published. One household looks in an
        iteration, in turn, since it takes a request; at the end of a round all do, see `Node`."""
        me, assembly = self.view.node, memory.agent.assembly
        households = sorted(assembly.nodes - memory.gone - {GRID_CONNECTION})
        book, answered = memory.books.get(GRID_CONNECTION), memory.last.get(GRID_CONNECTION)
        if memory.sealed or not book or answered is None or me not in households:
            return
        if households[memory.agent.iteration % len(households)] != me:
            return
        newest, before = answered
        copies = self._aggregator.copies_of(newest)
        answers = decode_copies(assembly.blocks(GRID_CONNECTION), copies, assembly.steps)
        outside = steps_outside(assembly, answers, book, resolution_of(self._aggregator))
        if outside:
            log.warning("node %d answers outside the limits that it published, at step %d", GRID_CONNECTION, outside[0])
            evidence = plan_evidence(outside[0], newest, before, copies, book)
            self._sending.insist("accuse", lambda: self._aggregator.accuse(round_, GRID_CONNECTION, evidence))

    def _copies_to_check(self, memory: Memory, others: Sequence[int]) -> dict[int, Integers]:
        """What others submitted in the iteration before, as far as it is known: the grid operator's node heard all of
        it; a household asks for that of one other now and then, since it takes a request."""
        me, assembly = self.view.node, memory.agent.assembly
        entry, now, own = memory.history[-2]
        if memory.agent.answers:
            if own is None:
                return {}
            answers = dict(zip(memory.agent.blocks, own, strict=True))
            there = [node for node in others if node in now.present]
            shared = [node for node in there if answers.keys() >= set(assembly.blocks(node))]
            known = {node: np.array([now.sums[one] - answers[one] for one in assembly.blocks(node)]) for node in shared}
            # Who keeps a line with another household besides has said more, and in an open round only.
            return known | {node: self._copies(entry.submissions[node], assembly) for node in set(there) - set(shared)}
        if not assembly.blocks(me) or memory.sealed or (me + now.iteration) % CHECK_EVERY:
            return {}
        node = others[(me + now.iteration) // CHECK_EVERY % len(others)]
        if (submission := entry.submissions.get(node)) is None:
            return {}
        return {node: self._copies(submission, assembly)}

    def _copies(self, submission: Submission, assembly: Assembly) -> Integers:
        """Of an open submission, (blocks, T)."""
        return decode_copies(assembly.blocks(submission.node), self._aggregator.copies_of(submission), assembly.steps)

    def _evidence(self, round_: int, node: int, iteration: int, departed: bool, memory: Memory) -> bytes:
        if not memory.sealed:
            return residual_evidence(self._aggregator, round_, node, iteration, departed)
        proof = self._aggregator.round_key(round_).proof(key_in(memory.books[node]))
        return sealed_evidence(self._aggregator, round_, node, iteration, departed, self.view.node, proof)

    def _accuse(self, round_: int, node: int, iteration: int, departed: bool, memory: Memory) -> None:
        """The iteration stays open meanwhile, as this node has not submitted yet."""

        def accuse() -> None:
            self._aggregator.accuse(round_, node, self._evidence(round_, node, iteration, departed, memory))

        self._sending.insist("accuse", accuse)
