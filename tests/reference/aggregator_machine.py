"""The whole contract in plain Python: the model of its rounds, and accounts, time, events and views around it.

Every method is one transaction. It raises Refused and changes nothing, or adds to `log` the events that the contract
has to emit, each with its name and values in the order of the interface. Accounts are lower-case addresses.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from reference.aggregator_model import (
    LANES,
    MAX_NODES,
    PHASES,
    AggregatorModel,
    Block,
    Declared,
    Part,
    Refused,
    Round,
    bitmap,
    unpack,
)

NOBODY = "0x" + "00" * 20
NOT_A_NODE = 255
MOST_PERCENT = 10_000  # of theta's limits


class AggregatorMachine(AggregatorModel):
    """Begins without nodes and rounds.

    Args:
        manager: account.
        n: accounts that can be enrolled.
        phase_seconds: time for declaring, and for each iteration.
        limits: the rest of the model: steps, mu, eps, max_misses.
    """

    def __init__(self, manager: str, n: int, phase_seconds: int, **limits: Any) -> None:
        super().__init__(set(), n=n, **limits)
        self.manager, self.phase_seconds = manager, phase_seconds
        self.accounts: dict[int, str] = {}  # of the nodes that are enrolled
        self.authors: dict[int, dict[int, str]] = {}  # who declared, by round and node
        self.seats: dict[int, int] = {}  # nodes enrolled when the round was opened
        self.deadline = 0
        self.time = 0  # of the block
        self.log: list[tuple[Any, ...]] = []
        self._relaying = self._proved = False

    # ------------------------------------------------------------------ manager

    def _require_manager(self, sender: str) -> None:
        if sender != self.manager:
            raise Refused("OwnableUnauthorizedAccount", sender)

    def _require_idle(self, sender: str) -> None:
        self._require_manager(sender)
        if self.rounds and self.now.running:
            raise Refused("RoundsRun", 1)

    def enrol(self, sender: str, nodes: Sequence[int], accounts: Sequence[str]) -> None:
        self._require_idle(sender)
        if len(nodes) != len(accounts):
            raise Refused("LengthMismatch", len(nodes), len(accounts))
        all_ = dict(self.accounts)
        for node, account in zip(nodes, accounts, strict=True):
            if node >= MAX_NODES:
                raise Refused("NodeOutOfRange", node)
            if account == NOBODY:
                raise Refused("ZeroAccount", node)
            if node in all_:
                raise Refused("NodeTaken", node, all_[node])
            if account in all_.values():
                raise Refused("AccountTaken", account, next(one for one in all_ if all_[one] == account))
            if len(all_) == self.n:
                raise Refused("EnrolmentFull", self.n)
            all_[node] = account
        self._seat(all_)
        self.log += [("Enrolled", *one) for one in zip(nodes, accounts, strict=True)]

    def expel(self, sender: str, nodes: Sequence[int]) -> None:
        self._require_idle(sender)
        all_ = dict(self.accounts)
        gone = []
        for node in nodes:
            if node >= MAX_NODES:
                raise Refused("NodeOutOfRange", node)
            if node not in all_:
                raise Refused("NotEnrolled", NOBODY)
            gone.append(("Expelled", node, all_.pop(node)))
        self._seat(all_)
        self.log += gone

    def _seat(self, accounts: dict[int, str]) -> None:
        self.accounts, self.enrolled = accounts, set(accounts)

    def open_by(self, sender: str, day: int) -> None:
        self._require_manager(sender)
        self.open_round(day)
        self._opened_round()

    def replace_by(self, sender: str, day: int, agreed: int) -> None:
        self._require_manager(sender)
        self.open_round(day, agreed)
        self._opened_round()
        self.log.append(("RoundReplaced", agreed, self.now.number))

    def open_within_by(self, sender: str, day: int, agreed: int, percent: int) -> None:
        self._require_manager(sender)
        if not 0 < percent <= MOST_PERCENT:
            raise Refused("InvalidTheta", "percent", percent)
        self.open_round(day, agreed or None, percent)
        self._opened_round()
        if agreed:
            self.log.append(("RoundReplaced", agreed, self.now.number))
        self.log.append(("LimitsSet", self.now.number, percent))

    def _opened_round(self) -> None:
        self.authors[self.now.number], self.seats[self.now.number] = {}, len(self.accounts)
        self.deadline = self.time + self.phase_seconds
        self.log.append(("RoundOpened", self.now.number, self.now.day, self.deadline))

    # ------------------------------------------------------------------ nodes

    def node_of(self, account: str) -> int:
        for node, one in self.accounts.items():
            if one == account:
                return node
        raise Refused("NotEnrolled", account)

    def declare_by(self, sender: str, round_: int, said: Declared) -> None:
        self._require(round_, "Declaring")
        node = self.node_of(sender)
        children = bitmap(said.children)
        event = ("Declared", round_, node, said.parent, said.depth, children, said.bids, said.book)
        self._hear(sender, round_, node, event, lambda: self.declare(round_, node, said))

    def abstain_by(self, sender: str, round_: int) -> None:
        self._require(round_, "Declaring")
        node = self.node_of(sender)
        self._hear(sender, round_, node, ("Abstained", round_, node), lambda: self.abstain(round_, node))

    def _hear(self, sender: str, round_: int, node: int, event: tuple[Any, ...], say: Callable[[], None]) -> None:
        log, self.log = self.log, []  # of a start
        try:
            say()
        finally:
            log, self.log = self.log, log
        self.authors[round_][node] = sender
        self.log.append(event)
        self.log += log

    def submit_by(
        self, sender: str, round_: int, iteration: int, history: int, words: Sequence[int], bids: bytes, residuals: int
    ) -> None:
        """The part of an account that is no node is one of a node that cannot be."""
        try:
            node, stranger = self.node_of(sender), None
        except Refused as refused:
            node, stranger = NOT_A_NODE, refused
        try:
            self.submit(round_, iteration, history, Part(node, tuple(words), bids, residuals))
        except Refused as refused:
            if stranger and refused.name == "NodeOutOfRange":
                raise stranger from refused
            raise

    # ------------------------------------------------------------------ anyone

    def relay(self, round_: int, iteration: int, parts: Sequence[Part]) -> list[tuple[int, Refused]]:
        self._relaying = True
        try:
            return super().relay(round_, iteration, parts)
        finally:
            self._relaying = False

    def close(self) -> None:
        if self.rounds and self.now.running and self.time <= self.deadline:
            raise Refused("DeadlineNotPassed", self.deadline)
        self.close_overdue(True)

    def accuse(self, round_: int, node: int, proved: bool) -> None:
        self._require(round_, "Iterating")
        if node >= MAX_NODES:
            raise Refused("NodeOutOfRange", node)
        if node not in self.now.active:
            raise Refused("NotInRound", node, round_)
        if not proved:
            raise Refused("NotProved")
        self._proved = True
        try:
            self.exclude(node)
        finally:
            self._proved = False

    # ------------------------------------------------------------------ events and deadlines of what happens inside

    def _start(self) -> None:
        super()._start()
        if self.now.nodes:
            nodes, _, lines, inner = self.roster()
            self.log.append(("RoundStarted", self.now.number, nodes, lines, inner))
            self._opened()

    def _opened(self) -> None:
        self.deadline = self.time + self.phase_seconds
        self.log.append(("IterationOpened", self.now.number, self.now.iteration, self.deadline))

    def _check(self, part: Part) -> None:
        try:
            super()._check(part)
            if not part.signed:
                raise Refused("WrongSignature", part.node)
        except Refused as refused:
            if self._relaying:
                self.log.append(("Skipped", self.now.number, self.now.iteration, part.node, str(refused)))
            raise

    def _copies(self, part: Part) -> dict[Block, list[int]]:
        """All lanes of the words: the contract adds those after the last step, too."""
        words = iter(part.words)
        return {
            block: unpack([next(words) for _ in range(self.width)], LANES * self.width)
            for block in self.now.blocks(part.node)
        }

    def _accept(self, part: Part) -> None:
        super()._accept(part)
        now = self.now
        values = (now.number, now.iteration, part.node, part.residuals, now.commitments[part.node], part.bids)
        self.log.append(("Submitted", *values))

    def _close(self) -> None:
        at = len(self.log)
        super()._close()
        now, closed = self.now, self.now.closed[-1]
        values = (now.number, closed.iteration, closed.present, closed.residuals, closed.head, closed.words)
        self.log.insert(at, ("IterationClosed", *values))
        if now.running:
            self._opened()

    def _exclude(self, node: int) -> bool:
        self.log.append(("Excluded", self.now.number, self.now.iteration, node, self._proved))
        return super()._exclude(node)

    def _end(self, phase: str) -> None:
        super()._end(phase)
        self.log.append(("RoundEnded", self.now.number, PHASES.index(phase), len(self.now.closed)))

    # ------------------------------------------------------------------ views, as the contract returns them

    def view(self, name: str, *arguments: Any) -> Any:
        """What a view returns; the text of the error where it reverts."""
        try:
            return getattr(self, f"_view_{name}")(*arguments)
        except Refused as refused:
            return str(refused)

    def _view_progress(self) -> tuple[int, ...]:
        """An ended round stays as the last call left it."""
        if not self.rounds:
            return (0,) * 8
        now = self.now
        here = bitmap(now.open)
        counter, expected = len(set(now.open) - now.out), len(now.active)
        if not now.iteration:
            here, counter, expected = bitmap(now.declared), len(now.declared), self.seats[now.number]
        elif not now.running and now.closed and now.closed[-1].iteration == now.iteration:
            here, counter = now.closed[-1].present, len(set(now.closed[-1].parts) - now.out)
        history = int.from_bytes(now.head[-2:], "big")
        return (now.number, now.iteration, PHASES.index(now.phase), self.deadline, counter, expected, history, here)

    def _view_outcome(self, round_: int) -> tuple[Any, ...]:
        return self.outcome(round_)

    def _view_agreedIn(self, day: int) -> int:
        return self.agreed.get(day, 0)

    def _view_roster(self) -> tuple[int, ...]:
        return self.roster() if self.rounds else (0,) * 4

    def _view_scalars(self) -> tuple[int, int]:
        return self.scalars()

    def _view_head(self) -> tuple[int, bytes]:
        return (len(self.now.closed), self.now.head) if self.rounds else (0, bytes(32))

    def _view_enrolled(self) -> int:
        return bitmap(self.enrolled)

    def _view_nodeOf(self, account: str) -> int:
        return self.node_of(account)

    def _view_accountOf(self, node: int) -> str:
        self._require_node(node)
        return self.accounts.get(node, NOBODY)

    def _view_nodeIn(self, round_: int, account: str) -> int:
        for node, author in self.authors.get(round_, {}).items():
            if author == account:
                return node
        raise Refused("NotEnrolled", account)

    def _view_accountIn(self, round_: int, node: int) -> str:
        self._require_node(node)
        return self.authors.get(round_, {}).get(node, NOBODY)

    def _view_commitment(self, round_: int, node: int) -> tuple[bytes, bytes]:
        self._require_node(node)
        return self.commitment(round_, node)

    def _view_declaration(self, node: int) -> tuple[Any, ...]:
        self._require_node(node)
        made = self._last(node)
        if made is None:
            return (0, 0, 0, 0, 0, 0, False)
        dropped = made.phase != "Declaring" and node not in made.nodes
        me = made.nodes.get(node, made.declared[node])
        values = (made.number, me.parent, me.depth, me.bids, bitmap(me.children))
        return (*values, made.misses.get(node, 0), dropped or node in made.out)

    def _view_copiesLength(self, node: int) -> int:
        self._require_node(node)
        made = self._last(node)
        if made is None:
            return 0
        me = made.nodes.get(node, made.declared[node])
        own = 2 + bool(me.children) + (me.depth > 1) if me.depth else 0
        return (2 * len(set(me.children)) + own) * self.width

    def running_lanes(self, node: int, words: Sequence[int]) -> list[tuple[Any, Any]]:
        """What `running` returned, block by block, beside what it should; without blocks of which no copy is there."""
        if not self.rounds or not self.now.running or node not in self.now.nodes:
            return []
        pieces = [words[at : at + self.width] for at in range(0, len(words), self.width)]
        expected = self.running(node).values()
        return [
            (unpack(piece, LANES * self.width), lanes)
            for piece, lanes in zip(pieces, expected, strict=True)
            if lanes is not None
        ]

    def _last(self, node: int) -> Round | None:
        """The last round that a node declared for."""
        return next((one for one in reversed(self.rounds) if node in one.declared), None)

    @staticmethod
    def _require_node(node: int) -> None:
        if node >= MAX_NODES:
            raise Refused("NodeOutOfRange", node)
