"""Questions of a sealed round: who says of all its partners together what cannot be is asked for each partner's part.

Nobody reads the residuals of trades and the sums for the pool of another household, but where they hold a round up
public numbers show that somebody is false (`more_than_half`, `pool_is_off`). Then nodes ask. An answer tells no bid;
each partner checks its own part, everybody what the parts come to, and whoever finds it false proves that. Who goes on
without an answer is out, too.

Two who claim the same of each other contradict nothing that is public, until bids can be nothing but what was agreed.
Who claims residuals of trades there, again and again, is out (`_find_late`).
"""

from __future__ import annotations

from functools import partial

from gridpact.chain.evidence import answer_evidence, late_evidence, sealed_evidence
from gridpact.chain.ledger import RoundLedger
from gridpact.chain.values import IterationLog, Question
from gridpact.community.model import GRID_CONNECTION
from gridpact.market.admm.answers import adds_up, decode_answer
from gridpact.market.admm.codec import key_in
from gridpact.market.admm.reach import LATE
from gridpact.node.audit import more_than_half, pool_is_off
from gridpact.node.form import SealedForm
from gridpact.node.memory import Duty, Memory
from gridpact.node.round_log import reach_of
from gridpact.node.sending import Sending

PATIENCE = 2
"""Iterations after which who was asked and submits has read the question (`Questions.sol`)."""

ASKED_AGAIN = 4
"""Iterations in which a node is asked once at most: as many as an answer and its proof take."""


class Asking:
    """One node's questions to the others, and its answers to theirs.

    Where all see the same, the honest node after the one that it is about acts at once, and the others an iteration
    later, if nothing has come of it.
    """

    def __init__(self, node: int, aggregator: RoundLedger, sending: Sending) -> None:
        self._node = node
        self._aggregator = aggregator
        self._sending = sending
        self._reach = reach_of(aggregator)
        self._most_misses = aggregator.setting().max_misses

    def answer(self, round_: int, memory: Memory) -> None:
        """Answers what this node was asked, before it submits again."""
        if (form := memory.sealed) is None:
            return
        for node, about in sorted(memory.asked):
            if node == self._node:
                parts = form.answer(*self._about(round_, about))
                self._sending.insist("answer", partial(self._aggregator.answer, round_, about, parts))

    def look(self, round_: int, memory: Memory) -> None:
        """Looks at the newest closed iteration: what was answered in it, who goes on without an answer, and whether
        somebody says what cannot be."""
        if (form := memory.sealed) is None:
            return
        for question, answer in memory.history[-1][0].answers.items():
            if question[0] != self._node:
                self._check(round_, memory, form, question, answer)
        for question, since in memory.asked.items():
            last = memory.last.get(question[0])
            if last is not None and last[0].iteration >= since + PATIENCE:
                silence = partial(self._aggregator.accuse_of_silence, round_, *question)
                memory.duties.setdefault(("accuse", question), Duty(memory.agent.iteration, silence))
        self._find(round_, memory)
        self._find_late(round_, memory)
        self._do(memory)

    def _find_late(self, round_: int, memory: Memory) -> None:
        """Who claimed residuals of trades of an iteration in which partners that keep within reach have none, some
        iterations ago, in which an honest household would have had its partner out."""
        if len(memory.steady) < 2:
            return
        first = memory.agent.iteration - 1 - LATE
        if memory.steady[-2] < LATE or not self._reach.is_late(memory.steady[-2] - LATE - self._most_misses):
            return
        for node, claimed in memory.claimed.items():
            if first in claimed and node not in memory.gone | {self._node, GRID_CONNECTION}:

                def accuse(node: int = node) -> None:
                    self._aggregator.accuse(round_, node, late_evidence(self._aggregator, round_, node, first))

                memory.duties.setdefault(("accuse", (node, first)), Duty(memory.agent.iteration, accuse))

    # ------------------------------------------------------------------ asking

    def _find(self, round_: int, memory: Memory) -> None:
        """Whom to ask about the iteration before the newest one: who claims more than can be; where it is not known who
        is false, the node after this one."""
        if len(memory.history) < 2:
            return
        entry, now = memory.history[-1][0], memory.history[-2][1]
        before = memory.history[0][1] if len(memory.history) == 3 else None
        assembly, me = memory.agent.assembly, self._node
        claims = {node: submission.residuals for node, submission in entry.submissions.items()}
        doubtful = more_than_half(assembly, claims, now, before) - {me, GRID_CONNECTION}
        doubted = dict.fromkeys(doubtful, memory.agent.iteration)
        households = sorted(assembly.nodes - memory.gone - {GRID_CONNECTION})
        if pool_is_off(assembly, claims, now, before) and me in households and len(households) > 1:
            doubted[households[(households.index(me) + 1) % len(households)]] = 0  # nobody else asks it
        for node, since in doubted.items():
            if not self._was_asked(memory, node, now.iteration):
                ask = partial(self._aggregator.ask, round_, node, now.iteration)
                memory.duties.setdefault(("ask", (node, now.iteration)), Duty(since, ask))

    @staticmethod
    def _was_asked(memory: Memory, node: int, about: int) -> bool:
        """Whether it was asked about an iteration, or a few before."""
        questions = memory.asked.keys() | memory.answered
        return any(one == node and earlier > about - ASKED_AGAIN for one, earlier in questions)

    def _do(self, memory: Memory) -> None:
        """Does what is due now."""
        honest = sorted(memory.agent.assembly.nodes - memory.gone - {node for _, (node, _) in memory.duties})
        for (what, (node, about)), duty in list(memory.duties.items()):
            first = next((other for other in honest if other > node), honest[0] if honest else None)
            if node in memory.gone or (what == "ask" and self._was_asked(memory, node, about)):
                del memory.duties[what, (node, about)]
            elif self._node == first or duty.since < memory.agent.iteration:
                del memory.duties[what, (node, about)]
                self._sending.insist(what, duty.act)

    # ------------------------------------------------------------------ checking answers

    def _check(self, round_: int, memory: Memory, form: SealedForm, question: Question, answer: bytes) -> None:
        """Finds what is false in an answer."""
        (node, about), assembly = question, memory.agent.assembly
        if node in memory.gone:
            return
        entry, before, gone = self._about(round_, about)
        book = assembly.book(node)
        parts = decode_answer(book, answer, assembly.steps)
        claim = self._aggregator.iteration(round_, about + 1).submissions.get(node)
        if claim is None:
            return  # it claimed nothing
        submission = entry.submissions.get(node)
        sums = None if submission is None else form.sums_behind(node, submission.bids)
        if parts is None or not adds_up(book, parts, claim.residuals[2:], sums, assembly.steps):

            def accuse() -> None:
                evidence = answer_evidence(self._aggregator, round_, node, about, answer)
                self._aggregator.accuse(round_, node, evidence)

            memory.duties.setdefault(("accuse", question), Duty(memory.agent.iteration, accuse))
        elif node != GRID_CONNECTION and self._node in entry.submissions and submission is not None:
            mine = form.part(node, self._node, entry, before, gone) if self._node in book else None
            if mine != parts.get(self._node):
                proof = self._aggregator.round_key(round_).proof(key_in(memory.books[node]))

                def prove() -> None:
                    evidence = sealed_evidence(
                        self._aggregator, round_, node, about, False, self._node, proof, answer=answer
                    )
                    self._aggregator.accuse(round_, node, evidence)

                self._sending.insist("accuse", prove)

    def _about(self, round_: int, about: int) -> tuple[IterationLog, IterationLog | None, frozenset[int]]:
        """A closed iteration, the one before it, and who was out before."""
        history = self._aggregator.history(round_)
        gone = frozenset[int]().union(*(entry.excluded for entry in history[: about - 1]))
        return history[about - 1], history[about - 2] if about > 1 else None, gone
