"""The board of a relay: signed submissions of the last and the open iteration, for several threads.

A signature holds for the history that its author saw: for a head of closed iterations. Where the chain is taken back
and goes on otherwise, what was signed before is not relayed again.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from gridpact.chain.values import Phase, Progress, SignedSubmission

CATCH_UP_SECONDS = 4.0
"""How long a submission waits for the relay to see what its author has seen already: that an iteration is open, a
history, or that the contract refused the submission before."""

AGAIN_SECONDS = 5.0
"""A chain that took a submission may show it that much later; only then it is relayed again."""

Place = tuple[int, int, bytes]
"""Round, iteration, and the head that the iteration follows."""


@dataclass(frozen=True)
class Member:
    """What a node's submissions must look like."""

    account: str
    words: int
    bids: int
    sums: int = 0  # bytes that may follow them, where rounds are sealed


@dataclass(frozen=True)
class SeenRound:
    """The round as the relay saw it last."""

    progress: Progress
    head: bytes  # that the open iteration follows
    active: frozenset[int]  # nodes that are not out
    members: Mapping[int, Member]  # all nodes of the round

    @property
    def place(self) -> Place | None:
        """The open iteration; None where none is open."""
        progress = self.progress
        return (progress.round, progress.iteration, self.head) if progress.phase is Phase.ITERATING else None


@dataclass
class Notice:
    """A submission on the board."""

    signed: SignedSubmission
    since: float  # monotonic
    relayed: float = -AGAIN_SECONDS  # when it was relayed last
    refused: bool = False  # by the contract: another may take its place

    @property
    def is_under_way(self) -> bool:
        return time.monotonic() < self.relayed + AGAIN_SECONDS


@dataclass(frozen=True)
class Waiting:
    """Submissions for the open iteration that the chain does not have."""

    place: Place
    submissions: list[SignedSubmission]
    complete: bool  # with them it has those of all nodes
    due: bool  # to be relayed now


Signer = Callable[[int, int, bytes, SignedSubmission], str]


class Board:
    """Takes what its authors signed, shows it to whoever asks, and tells the relay what to post."""

    def __init__(self, signer_of: Signer) -> None:
        self._signer_of = signer_of
        self._changed = threading.Condition()
        self._news = False  # for the relay
        self._standing: SeenRound | None = None
        self._notices: dict[Place, dict[int, Notice]] = {}  # by node

    # ------------------------------------------------------------------ authors and readers

    def put(self, round: int, iteration: int, signed: SignedSubmission) -> None:
        """Puts a submission on the board.

        Raises:
            ValueError: with one sentence on why not.
        """
        standing = self._when(lambda now: now.place is not None and now.place[:2] == (round, iteration))
        if standing is None:
            raise ValueError(f"Iteration {iteration} of round {round} is not open: {self._where()}.")
        member = standing.members.get(signed.node)
        if member is None or signed.node not in standing.active:
            raise ValueError(f"Node {signed.node} is not in round {round} (any longer).")
        beyond = len(signed.bids) - 2 * member.bids
        if len(signed.copies) != member.words or not 0 <= beyond <= member.sums:
            raise ValueError(
                f"Node {signed.node} has {member.words} words of copies and {2 * member.bids} bytes of bids, not"
                f" {len(signed.copies)} and {len(signed.bids)}."
            )

        def is_signed(now: SeenRound) -> bool:
            return self._signer_of(round, iteration, now.head, signed) == member.account

        if not is_signed(standing):
            other_head = standing.head
            standing = self._when(lambda now: now.head != other_head)
            if standing is None or not is_signed(standing):
                raise ValueError(
                    f"The signature is not that of node {signed.node} for this contract, round, iteration and history."
                )
        with self._changed:
            place = standing.place
            self._changed.wait_for(lambda: not self._is_pending(place, signed), CATCH_UP_SECONDS)
            if place is None or self._standing is None or place != self._standing.place:
                raise ValueError(f"Iteration {iteration} of round {round} is not open any longer.")
            notices = self._notices.setdefault(place, {})
            there = notices.get(signed.node)
            if there is not None and not there.refused:
                if there.signed != signed:
                    raise ValueError(f"Node {signed.node} has signed another submission for this iteration.")
                return
            notices[signed.node] = Notice(signed, time.monotonic())
            if len(notices) == 1 or self._standing.active <= self._standing.progress.present | notices.keys():
                self._tell_relay()
            else:
                self._changed.notify_all()

    def get(self, round: int, iteration: int, count: int, seconds: float) -> list[SignedSubmission]:
        """What is on the board for an iteration: once `count` are, or it is over, or `seconds` have passed."""
        with self._changed:
            self._changed.wait_for(
                lambda: len(self._shown(round, iteration)) >= count or self._is_over(round, iteration), seconds
            )
            notices = self._shown(round, iteration)
            return [notices[node].signed for node in sorted(notices)]

    # ------------------------------------------------------------------ relay

    def see(self, standing: SeenRound, taken_back: bool) -> None:
        """The chain as it stands. What is older than the last iteration leaves the board.

        Args:
            taken_back: a re-organisation was noticed, so what was relayed may have to be relayed again.
        """
        round, iteration = standing.progress.round, standing.progress.iteration
        with self._changed:
            self._standing = standing
            for place in [place for place in self._notices if place[0] != round or abs(place[1] - iteration) > 1]:
                del self._notices[place]
            if taken_back:
                for notices in self._notices.values():
                    for notice in notices.values():
                        notice.relayed, notice.refused = -AGAIN_SECONDS, False
            self._changed.notify_all()

    def waiting(self, patience: float) -> Waiting | None:
        """What the chain does not have; None where no iteration is open.

        Args:
            patience: seconds after which it is due, even if it does not complete the iteration.
        """
        now = time.monotonic()
        with self._changed:
            place = self._standing.place if self._standing else None
            if self._standing is None or place is None:
                return None
            present, active = self._standing.progress.present, self._standing.active
            waiting = [
                notice
                for node, notice in sorted(self._notices.get(place, {}).items())
                if node in active - present and not notice.refused and not notice.is_under_way
            ]
            complete = active <= present | {notice.signed.node for notice in waiting}
            late = any(now >= notice.since + patience for notice in waiting)
            due = bool(waiting) and (complete or late)
            return Waiting(place, [notice.signed for notice in waiting], complete, due)

    def relaying(self, place: Place, batch: Iterable[SignedSubmission]) -> None:
        """A batch is on its way: it is not due again for a while."""
        with self._changed:
            notices = self._notices.get(place, {})
            for signed in batch:
                if signed.node in notices:
                    notices[signed.node].relayed = time.monotonic()

    def refuse(self, place: Place, nodes: Iterable[int]) -> None:
        """The contract skipped these."""
        with self._changed:
            notices = self._notices.get(place, {})
            for node in nodes:
                if node in notices:
                    notices[node].refused = True
            self._changed.notify_all()

    def wait(self, seconds: float) -> None:
        """Waits for a reason to look at the chain."""
        with self._changed:
            self._changed.wait_for(lambda: self._news, seconds)
            self._news = False

    def wake(self) -> None:
        """Ends a `wait`."""
        with self._changed:
            self._tell_relay()

    # ------------------------------------------------------------------ parts

    def _when(self, holds: Callable[[SeenRound], bool]) -> SeenRound | None:
        """The standing, once it is as wanted; None where it does not get so, though the relay looks at the chain."""

        def reached() -> bool:
            return self._standing is not None and holds(self._standing)

        with self._changed:
            if not reached():
                self._tell_relay()
                self._changed.wait_for(reached, CATCH_UP_SECONDS)
            return self._standing if reached() else None

    def _is_pending(self, place: Place | None, signed: SignedSubmission) -> bool:
        """Whether the contract has yet to say whether it takes another submission of the same node."""
        if place is None or self._standing is None or place != self._standing.place:
            return False
        there = self._notices.get(place, {}).get(signed.node)
        return there is not None and there.signed != signed and there.is_under_way and not there.refused

    def _tell_relay(self) -> None:
        self._news = True
        self._changed.notify_all()

    def _shown(self, round: int, iteration: int) -> Mapping[int, Notice]:
        """The notices of an iteration: of the open one those of its history, else the newest."""
        place = self._standing.place if self._standing else None
        if place is not None and place[:2] == (round, iteration):
            return self._notices.get(place, {})
        known = [notices for place, notices in self._notices.items() if place[:2] == (round, iteration)]
        return known[-1] if known else {}

    def _is_over(self, round: int, iteration: int) -> bool:
        if self._standing is None:
            return False
        progress = self._standing.progress
        return (round, iteration) < (progress.round, progress.iteration) or (
            round == progress.round and progress.phase.is_final
        )

    def _where(self) -> str:
        if self._standing is None:
            return "the relay has not seen the chain yet"
        progress = self._standing.progress
        return f"round {progress.round} is at iteration {progress.iteration}, {progress.phase.name.lower()}"
