"""The ledger's twin in memory: what nodes ask of a chain and send to it (`chain.ledger`), without one.

It takes and tells the same bytes and words as the contracts, and keeps its books in a `Register`, so that a round of
`Node`s is a round on a chain, to the last bit of its head. Time is that of `Turns`. What is no node's business is not
here: gas, fees, re-organisations, relays and signatures, and the referee of open rounds (an accusation is refused as
not proved).
Statements are recorded where both sides say the same; that trades fit the bids, and deposits, is the contracts' to see.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import NoReturn

from gridpact.chain.commitments import START, bids_hash, extended, head_with, submission_hash, words_hash
from gridpact.chain.values import (
    WHOLE,
    ClosedIteration,
    Declaration,
    IterationLog,
    Phase,
    Progress,
    Question,
    Residuals,
    Roster,
    Setting,
    Submission,
    Theta,
    pack_residuals,
)
from gridpact.errors import ChainError, ContractError
from gridpact.market.admm import agent, residuals
from gridpact.market.admm.assembly import Assembly, Closing, TreePlace
from gridpact.market.admm.codec import decode_bids, decode_book, decode_copies, encode_sums
from gridpact.market.admm.parameters import within
from gridpact.market.admm.register import End, Register, Rules
from gridpact.market.agreement import stated_alike
from gridpact.node.asking import PATIENCE
from gridpact.node.turns import Turns

MOST_ASKED = 3
"""Questions that a node may ask in a round (`Questions.sol`)."""

PHASES = {End.CONVERGED: Phase.CONVERGED, End.EXHAUSTED: Phase.EXHAUSTED, End.ABANDONED: Phase.ABANDONED}


def refuse(name: str, *values: object) -> NoReturn:
    """As a contract does, by an error with values."""
    raise ContractError(f"refused: {name}{values}", name, values)


@dataclass
class TwinRound:
    """A round as the contract keeps and tells it."""

    number: int
    day: int
    deadline: float
    phase: Phase = Phase.DECLARING
    declared: dict[int, Declaration] = field(default_factory=dict)
    accounts: dict[int, str] = field(default_factory=dict)  # who declared
    register: Register | None = None  # from its start
    open: dict[int, Submission] = field(default_factory=dict)
    closed: list[IterationLog] = field(default_factory=list)
    words: dict[bytes, tuple[int, ...]] = field(default_factory=dict)  # copies, by the hash of their transaction
    commitments: dict[int, bytes] = field(default_factory=dict)
    askers: dict[Question, int] = field(default_factory=dict)  # node that asked
    asked: dict[Question, int] = field(default_factory=dict)  # iteration in which they were asked
    answers: dict[Question, bytes] = field(default_factory=dict)
    answered: dict[Question, int] = field(default_factory=dict)  # iteration in which they were answered
    percent: int = WHOLE  # of theta's limits, as it is told; here a round ends within these

    @property
    def books(self) -> Register:
        assert self.register is not None
        return self.register

    @property
    def head(self) -> bytes:
        newest = self.closed[-1].closed if self.closed else None
        return START if newest is None else newest.head

    @property
    def roster(self) -> Roster:
        if self.register is None:
            return Roster(*[frozenset[int]()] * 4)
        at = self.register.assembly
        lines = frozenset(node for node in at.nodes if at.depths[node] > 0)
        return Roster(at.nodes, self.register.active, lines, frozenset(node for node in lines if at.children[node]))

    def start(self, steps: int, rules: Rules) -> None:
        """With whoever's declarations fit together: what does not is taken away, until all that is left does."""
        kept = dict(self.declared)

        def fits(node: int, one: Declaration) -> bool:
            above = kept.get(one.parent)
            return one.depth == 0 or (above is not None and node in above.children and above.depth + 1 == one.depth)

        while strangers := [node for node, one in kept.items() if not fits(node, one)]:
            for node in strangers:
                del kept[node]
        if not kept:
            self.phase = Phase.ABANDONED
            return
        places = {node: TreePlace(one.parent, tuple(sorted(one.children)), one.depth) for node, one in kept.items()}
        books = {node: decode_book(one.book) for node, one in kept.items() if node}
        bids = {node: one.bids for node, one in kept.items()}
        self.register = Register(Assembly(frozenset(kept), places, books, steps, bids), rules)
        self.phase = Phase.ITERATING

    def submit(self, submission: Submission, copies: Sequence[int]) -> None:
        books, node = self.books, submission.node
        blocks, steps = books.assembly.blocks(node), books.assembly.steps
        integers = agent.IntegerSubmission(decode_copies(blocks, copies, steps), decode_bids(submission.bids))
        books.submit(node, integers, residuals.Residuals(*submission.residuals))
        self.open[node], self.words[submission.transaction] = submission, tuple(copies)
        self.commitments[node] = submission.commitment
        if books.is_complete:
            self.close()

    def close(self) -> None:
        """Closes the open iteration, complete or not."""
        books, before = self.books, self.books.gone
        closing = books.close()
        closed = self._closed(closing)
        excluded = closing.gone - before | closing.proved
        asked, answers = self._questions_of(closing.iteration)
        self.closed.append(IterationLog(closed, self.open, excluded, closing.proved, asked, answers))
        self.open = {}
        if books.end is not None:
            self.phase = PHASES[books.end]

    def _questions_of(self, iteration: int) -> tuple[frozenset[Question], dict[Question, bytes]]:
        """What was asked and answered in an iteration."""
        asked = frozenset(question for question, when in self.asked.items() if when == iteration)
        return asked, {one: self.answers[one] for one, when in self.answered.items() if when == iteration}

    def _closed(self, closing: Closing) -> ClosedIteration:
        sums = tuple(encode_sums(self.books.assembly, closing.sums, closing.present))
        closed = ClosedIteration(closing.iteration, closing.present, closing.residuals, sums, START)
        return replace(closed, head=head_with(self.head, self.number, closed))


class Twin:
    """A deployment in memory.

    Args:
        accounts: who is enrolled, by node.
        tokens: what each account has outside of its deposit, token units.
        sealed: whether rounds are sealed.
    """

    def __init__(
        self,
        theta: Theta,
        setting: Setting,
        accounts: Mapping[int, str],
        turns: Turns,
        tokens: int = 10**9,
        sealed: bool = False,
    ) -> None:
        self.theta, self.setting, self.accounts, self.turns = theta, setting, dict(accounts), turns
        self.sealed = sealed
        self.rounds: list[TwinRound] = []
        self.deposits: dict[str, int] = dict.fromkeys(accounts.values(), 0)
        self.outside: dict[str, int] = dict.fromkeys(accounts.values(), tokens)
        self.stated: dict[tuple[int, int, int], bytes] = {}  # by round, node, partner
        eps = (theta.eps_primal_grid, theta.eps_dual_grid, theta.eps_primal_trade, theta.eps_dual_trade)
        self.rules = Rules(setting.max_misses, theta.mu, partial(within, eps))

    @property
    def now(self) -> TwinRound:
        if not self.rounds:
            return TwinRound(0, 0, 0.0, Phase.NONE)
        return self.rounds[-1]

    def open_round(self, day: int) -> int:
        """Opens the next round. Returns its number."""
        if self.now.phase.is_running:
            refuse("WrongPhase", self.now.phase)
        self.rounds.append(TwinRound(len(self.rounds) + 1, day, self.turns.now + self.setting.phase_seconds))
        return self.now.number

    def round(self, number: int) -> TwinRound:
        if not 0 < number <= len(self.rounds):
            raise ChainError(f"Round {number} was never opened: read the current round from the chain.")
        return self.rounds[number - 1]

    def require(self, number: int, phase: Phase) -> TwinRound:
        """The current round, if it is that one in that phase."""
        if number != self.now.number:
            refuse("WrongRound", self.now.number, number)
        if self.now.phase is not phase:
            refuse("WrongPhase", self.now.phase)
        return self.now

    def declare(self, number: int, declaration: Declaration, account: str) -> None:
        round_ = self.require(number, Phase.DECLARING)
        if declaration.node in round_.declared:
            refuse("AlreadyDeclared", declaration.node)
        if self.sealed and (declaration.depth > 1 or (declaration.depth and declaration.children)):
            refuse("TopologyMismatch", declaration.parent, declaration.node)
        round_.declared[declaration.node], round_.accounts[declaration.node] = declaration, account
        if round_.declared.keys() == self.accounts.keys():
            round_.start(self.setting.steps, self.rules)
            self._moved_on(round_)
        self.turns.happened()

    def submit(
        self, number: int, iteration: int, head: bytes, node: int, copies: Sequence[int], bids: bytes, claims: Residuals
    ) -> None:
        round_ = self.require(number, Phase.ITERATING)
        books = round_.books
        if iteration != books.iteration:
            refuse("WrongIteration", books.iteration, iteration)
        if head[-2:] != round_.head[-2:]:
            refuse("WrongHistory")
        if node not in books.active:
            refuse("NotInRound", node, number)
        if node in round_.open:
            refuse("AlreadySubmitted", node, iteration)
        hashed = submission_hash(number, iteration, node, words_hash(copies), bids_hash(bids), pack_residuals(claims))
        commitment = extended(round_.commitments.get(node, START), hashed)
        round_.submit(Submission(node, iteration, claims, bids, commitment, hashed), copies)
        self._moved_on(round_, iteration)

    def ask(self, number: int, asker: int, node: int, about: int) -> None:
        round_ = self.require(number, Phase.ITERATING)
        for one in (asker, node):
            if one not in round_.books.active:
                refuse("NotInRound", one, number)
        asked = (node, about) in round_.askers or list(round_.askers.values()).count(asker) == MOST_ASKED
        if asked or not self.sealed or not 0 < about < len(round_.closed):
            refuse("CannotAsk", node, about)
        round_.askers[node, about] = asker
        round_.asked[node, about] = round_.books.iteration

    def answer(self, number: int, node: int, about: int, parts: bytes) -> None:
        round_ = self.require(number, Phase.ITERATING)
        if (node, about) not in round_.askers or (node, about) in round_.answers:
            refuse("NotAsked", node, about)
        round_.answers[node, about] = parts
        round_.answered[node, about] = round_.books.iteration

    def accuse_of_silence(self, number: int, node: int, about: int) -> None:
        round_ = self.require(number, Phase.ITERATING)
        if node not in round_.books.active:
            refuse("NotInRound", node, number)
        submitted = [len(round_.closed)] if round_.closed and node in round_.closed[-1].submissions else [0]
        last = round_.books.iteration if node in round_.open else submitted[0]
        question = node, about
        if question not in round_.askers or question in round_.answers or last < round_.asked[question] + PATIENCE:
            refuse("StillTime", node, about)
        self.prove(round_, node)

    def prove(self, round_: TwinRound, node: int) -> None:
        """Takes a node out that was proved false."""
        iteration = round_.books.iteration
        round_.books.prove_false(node)
        if round_.books.end is not None or round_.books.is_complete:
            round_.close()
        self._moved_on(round_, iteration)

    def close_overdue(self) -> None:
        """Ends a phase whose deadline has passed."""
        round_ = self.now
        if not round_.phase.is_running:
            refuse("WrongPhase", round_.phase)
        if self.turns.now <= round_.deadline:
            refuse("DeadlineNotPassed", round_.deadline)
        if round_.phase is Phase.DECLARING:
            round_.start(self.setting.steps, self.rules)
            self._moved_on(round_)
        else:
            iteration = round_.books.iteration
            round_.close()
            self._moved_on(round_, iteration)

    def _moved_on(self, round_: TwinRound, iteration: int = 0) -> None:
        if round_.phase is Phase.ITERATING and round_.books.iteration != iteration:
            round_.deadline = self.turns.now + self.setting.phase_seconds
        self.turns.happened()

    def progress(self) -> Progress:
        round_, books = self.now, self.now.register
        if books is None:
            present, expected, iteration = frozenset(round_.declared), frozenset(self.accounts), 0
        else:
            present, expected = frozenset(round_.open), books.active
            iteration = len(round_.closed) if round_.phase.is_final else books.iteration
        history = int.from_bytes(round_.head[-2:], "big")
        counted = len(present & expected)
        deadline = int(round_.deadline)
        return Progress(round_.number, iteration, round_.phase, deadline, counted, len(expected), history, present)

    def state(self, number: int, node: int, partner: int, trades: bytes) -> None:
        if self.round(number).phase is not Phase.CONVERGED:
            refuse("NotConverged", number)
        self.stated[number, node, partner] = trades

    def recorded(self, number: int) -> dict[tuple[int, int], bytes]:
        """What both sides of a pair state alike, by the lower and the higher node."""
        stated = {(node, to): trades for (round_, node, to), trades in self.stated.items() if round_ == number}
        return stated_alike(stated)
