"""What the twin of the chain takes for proved in a sealed round: the charges of `SealedReferee.sol`.

A twin keeps everything, so it opens no hashes: of the evidence it reads whom it is about, by whom, the proof of what
the two have in common, and the answer. The rules are those by which nodes check each other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.evidence import Charge, OpenedCharge, SealedCharge
from gridpact.chain.ledger import RoundLog
from gridpact.chain.sealing import proved_secret
from gridpact.chain.values import IterationLog, Question
from gridpact.community.model import GRID_CONNECTION
from gridpact.errors import InputError
from gridpact.market.admm.answers import adds_up, decode_answer
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.codec import key_in, without_key
from gridpact.market.admm.pads import Pads
from gridpact.market.admm.reach import LATE, departed
from gridpact.market.admm.residuals import grid_residuals, pair_squares
from gridpact.node.audit import steps_outside
from gridpact.node.form import SealedForm
from gridpact.node.opened_plan import OpenedPlan
from gridpact.node.round_log import reach_of, resolution_of, whole


def is_proved(
    ledger: RoundLog, assembly: Assembly, round_: int, node: int, evidence: bytes, answers: Mapping[Question, bytes]
) -> bool:
    """Whether evidence proves a node of a sealed round false.

    Args:
        answers: what was answered.
    """
    if node == GRID_CONNECTION:
        return _is_plan_outside(ledger, assembly, round_, evidence)
    if (charge := SealedCharge.read(evidence)) is None:
        return False
    history, about, other, answer = ledger.history(round_), charge.about, charge.other, charge.answer
    if not 0 < about <= len(history):
        return False
    claim = ledger.iteration(round_, about + 1).submissions.get(node)
    if claim is None or (answer and answers.get((node, about)) != answer):
        return False
    case = _Accusation(ledger, round_, assembly, history, node, about, claim.residuals)
    if charge.charge == Charge.LATE:
        return case.is_late()
    if charge.charge == Charge.ANSWER:
        return answers.get((node, about)) == answer and not case.is_sound(answer)
    if node not in history[about - 1].submissions:
        return any(claim.residuals)
    books = {one: declared.book for one, declared in ledger.declarations(round_).items()}
    try:
        secret = proved_secret(key_in(books.get(other, b"")), key_in(books[node]), charge.proof)
    except InputError:
        return False
    form = SealedForm(assembly, node, {other: Pads(secret)})
    if other == GRID_CONNECTION:
        return case.is_false_of_the_network(form)
    if other not in history[about - 1].submissions or other not in assembly.nodes:
        return False
    return case.is_part_false(form, other, answer) if answer else case.is_less(form, other)


def _is_plan_outside(ledger: RoundLog, assembly: Assembly, round_: int, evidence: bytes) -> bool:
    """Whether the operator's newest answer, as it has opened it, is outside the limits that it published."""
    if (charge := OpenedCharge.read(evidence)) is None:
        return False
    plan = OpenedPlan(ledger.address, round_, charge.iteration, charge.keys, charge.signature)
    book = without_key(ledger.declarations(round_)[GRID_CONNECTION].book)
    try:
        answers = plan.answers(ledger)
    except InputError:
        return False
    return charge.step in steps_outside(assembly, answers, book, resolution_of(ledger))


@dataclass(frozen=True)
class _Accusation:
    """What a charge is about."""

    ledger: RoundLog
    round_: int
    assembly: Assembly
    history: Sequence[IterationLog]  # all closed iterations
    node: int
    about: int
    claim: tuple[int, int, int, int]

    @property
    def _now(self) -> IterationLog:
        return self.history[self.about - 1]

    @property
    def _before(self) -> IterationLog | None:
        return self.history[self.about - 2] if self.about > 1 else None

    @property
    def _gone(self) -> frozenset[int]:
        return frozenset[int]().union(*(entry.excluded for entry in self.history[: self.about - 1]))

    @property
    def _age(self) -> int:
        first = at = self.about - 1
        while first and self.history[first - 1].submissions.keys() == self._now.submissions.keys():
            first -= 1
        return at - first - self.ledger.setting().max_misses

    def is_late(self) -> bool:
        """Whether it claims residuals of the trades of this iteration, where there can be none, and goes on with it."""
        since = self.history[max(self.about - 2, 0) : self.about + LATE]
        steady = len(since) == LATE + 2 and all(one.submissions.keys() == since[0].submissions.keys() for one in since)
        there = self.node in self._now.submissions
        return steady and any(self.claim[2:]) and there and reach_of(self.ledger).is_late(self._age)

    def is_sound(self, answer: bytes) -> bool:
        """Whether the parts of an answer come to what the node submitted, and are of whom they can be."""
        book = self.assembly.book(self.node)
        if (parts := decode_answer(book, answer, self.assembly.steps)) is None:
            return False
        present = self._now.submissions
        for partner, part in parts.items():
            if partner not in present and (part.primal or part.dual or (any(part.shares) and partner in self._gone)):
                return False
        submission = present.get(self.node)
        sums = None if submission is None else submission.bids[2 * self.assembly.bid_count(self.node) :]
        return adds_up(book, parts, self.claim[2:], sums, self.assembly.steps)

    def is_part_false(self, form: SealedForm, other: int, answer: bytes) -> bool:
        parts = decode_answer(self.assembly.book(self.node), answer, self.assembly.steps) or {}
        return form.part(self.node, other, self._now, self._before, self._gone) != parts.get(other)

    def is_less(self, form: SealedForm, other: int) -> bool:
        """Whether the node claims less of the trades than its bids with one partner make it, or went beyond its reach
        in these."""
        now, before = form.of_bids(self._now), None if self._before is None else form.of_bids(self._before)
        primal, dual = pair_squares(self.assembly, self.node, other, now, before)
        return self.claim[2] < primal or self.claim[3] < -(-dual // 4) or self._departed(now, before, None)

    def is_false_of_the_network(self, form: SealedForm) -> bool:
        def opened(entry: IterationLog) -> tuple[Closing, Integers | None]:
            submission, iteration = entry.submissions.get(self.node), whole(entry).iteration
            words = None if submission is None else self.ledger.copies_of(submission)
            copies = None if words is None else form.copies(iteration, self.node, words)
            return form.closing(entry, frozenset(), words), copies

        now, copies = opened(self._now)
        before = opened(self._before)[0] if self._before is not None else None
        assert copies is not None
        grid = grid_residuals(self.assembly, self.node, copies, now, before)
        return self.claim[:2] != grid or self._departed(now, before, copies)

    def _departed(self, now: Closing, before: Closing | None, copies: Integers | None) -> bool:
        reach = reach_of(self.ledger)
        return before is not None and departed(self.assembly, self.node, now, before, copies, reach, self._age)
