"""What one node sees of the twin in memory (`node.twin`): its ledger of rounds, its deposits, its token."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.encoding import decode_trades
from gridpact.chain.ledger import WaitingLedger
from gridpact.chain.sealing import SealingKey
from gridpact.chain.settlement import Opening
from gridpact.chain.values import (
    Coupling,
    Declaration,
    IterationLog,
    Phase,
    Progress,
    Residuals,
    Roster,
    RoundOutcome,
    Setting,
    SignedSubmission,
    Submission,
    Theta,
)
from gridpact.errors import ChainError
from gridpact.market.admm.codec import encode_sums
from gridpact.node.twin import Twin, refuse
from gridpact.node.twin_referee import is_proved


@dataclass(frozen=True)
class TwinAccount:
    """Who sends; nothing costs anything."""

    address: str
    gas_used: int = 0
    transactions: int = 0


class TwinLedger(WaitingLedger):
    """Rounds of a twin, as one node takes part in them: a `RoundLedger`."""

    def __init__(self, twin: Twin, node: int) -> None:
        self._twin, self._node = twin, node
        self.account = TwinAccount(twin.accounts[node])
        self.address = "0x" + 40 * "0"

    @property
    def sealed(self) -> bool:
        return self._twin.sealed

    def round_key(self, round: int) -> SealingKey:
        return SealingKey(self.account.address.encode(), round.to_bytes(4, "big"))

    def theta(self) -> Theta:
        return self._twin.theta

    def setting(self) -> Setting:
        return self._twin.setting

    def started(self, round: int) -> Roster | None:
        one = self._twin.round(round)
        if one.register is None:
            return None
        return Roster(one.roster.nodes, one.roster.nodes, one.roster.lines, one.roster.inner)

    def declarations(self, round: int) -> dict[int, Declaration]:
        return dict(self._twin.round(round).declared)

    def percent_of(self, round: int) -> int:
        return self._twin.round(round).percent

    def iteration(self, round: int, iteration: int) -> IterationLog:
        one = self._twin.round(round)
        if iteration <= len(one.closed):
            return one.closed[iteration - 1]
        return IterationLog(None, dict(one.open), frozenset())

    def history(self, round: int, first: int = 1) -> list[IterationLog]:
        return self._twin.round(round).closed[first - 1 :]

    def copies_of(self, submission: Submission) -> tuple[int, ...]:
        kept = (one.words.get(submission.transaction) for one in self._twin.rounds)
        return next(words for words in kept if words is not None)

    def outcome(self, round: int) -> RoundOutcome:
        one = self._twin.round(round)
        newest = one.closed[-1].closed if one.closed else None
        present = frozenset[int]() if newest is None else newest.present
        return RoundOutcome(
            one.phase if one.phase.is_final else Phase.NONE, len(one.closed), present, one.day, one.head
        )

    def node_of(self, address: str) -> int:
        for node, account in self._twin.accounts.items():
            if account == address:
                return node
        refuse("NotEnrolled", address)

    def roster(self) -> Roster:
        return self._twin.now.roster

    def accounts_in(self, round: int, nodes: Iterable[int]) -> dict[int, str]:
        accounts = self._twin.round(round).accounts
        return {node: accounts[node] for node in sorted(nodes) if node in accounts}

    def running(self, node: int) -> Coupling:
        books = self._twin.now.books
        blocks, present = books.assembly.blocks(node), frozenset(books.submissions)
        sums = {block: books.running[block] for block in blocks if block in books.running}
        return Coupling(books.iteration, present, tuple(encode_sums(books.assembly, sums, present, blocks)))

    def ask_another(self) -> None:
        """There is no other."""

    def elapsed(self) -> float:
        return self._twin.turns.now

    def wait_for(
        self,
        reached: Callable[[Progress], bool],
        seconds: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        twin, turns = self._twin, self._twin.turns
        give_up = turns.now + seconds
        while True:
            progress = twin.progress()
            if reached(progress) or turns.now >= give_up:
                return progress
            overdue = twin.now.deadline + 1.0 if close_overdue and progress.phase.is_running else give_up
            if close_overdue and turns.now >= overdue:
                twin.close_overdue()
            else:
                turns.wait(min(give_up, overdue))

    def declare(self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes) -> None:
        declaration = Declaration(self._node, parent, frozenset(children), depth, bids, book)
        self._twin.declare(round, declaration, self.account.address)

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> None:
        self._twin.submit(round, iteration, head, self._node, copies, bids, residuals)

    def sign(
        self,
        round: int,
        iteration: int,
        head: bytes,
        node: int,
        copies: Sequence[int],
        bids: bytes,
        residuals: Residuals,
    ) -> SignedSubmission:
        raise ChainError("Nothing is relayed in memory: give no relay.")

    def signer_of(self, round: int, iteration: int, head: bytes, signed: SignedSubmission) -> str:
        raise ChainError("Nothing is relayed in memory: give no relay.")

    def accuse(self, round: int, node: int, evidence: bytes) -> None:
        one = self._twin.require(round, Phase.ITERATING)
        if node not in one.books.active:
            refuse("NotInRound", node, round)
        if not self._twin.sealed or not is_proved(self, one.books.assembly, round, node, evidence, one.answers):
            refuse("NotProved", node)
        self._twin.prove(one, node)

    def ask(self, round: int, node: int, about: int) -> None:
        self._twin.ask(round, self._node, node, about)

    def answer(self, round: int, about: int, parts: bytes) -> None:
        self._twin.answer(round, self._node, about, parts)

    def accuse_of_silence(self, round: int, node: int, about: int) -> None:
        self._twin.accuse_of_silence(round, node, about)


class TwinSettlement:
    """Deposits and statements of a twin, as one node needs them: a `TradeLedger`."""

    def __init__(self, twin: Twin, node: int) -> None:
        self._twin, self._address = twin, twin.accounts[node]
        self.token = TwinToken(twin)

    def free(self, address: str) -> int:
        return self._twin.deposits[address]

    def arrears(self, address: str) -> int:
        return 0

    def deposit(self, amount: int) -> None:
        if amount > self._twin.outside[self._address]:
            refuse("ERC20InsufficientBalance", self._address)
        self._twin.outside[self._address] -= amount
        self._twin.deposits[self._address] += amount

    def payment(self, trades: bytes) -> int:
        total = sum(trade.energy_wh * trade.price_micro for trade in decode_trades(trades))
        units: int = -(-abs(total) * 10 ** self.token.decimals() // 10**9)  # who pays pays a begun unit as a whole
        return units if total > 0 else -units

    def is_recorded(self, round: int, one: int, other: int) -> bool:
        return (min(one, other), max(one, other)) in self._twin.recorded(round)

    def state(self, round: int, node: int, statements: Mapping[int, bytes], openings: Mapping[int, Opening]) -> None:
        for partner, trades in statements.items():
            self._twin.state(round, node, partner, trades)


class TwinToken:
    """The token of a twin, with six digits."""

    def __init__(self, twin: Twin) -> None:
        self._twin = twin

    def balance(self, address: str) -> int:
        return self._twin.outside[address]

    def symbol(self) -> str:
        return "TEUR"

    def decimals(self) -> int:
        return 6
