"""What the contract `VirtualAggregator` has told: rounds as its log has them, and the calldata behind it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import cached_property, partial
from operator import add
from typing import Any

from web3.types import EventData

from gridpact.chain.aggregator_views import AggregatorViews
from gridpact.chain.calldata import Calldata
from gridpact.chain.contract import arguments_of, in_time
from gridpact.chain.logs import Openings
from gridpact.chain.values import (
    WHOLE,
    ClosedIteration,
    Declaration,
    IterationLog,
    Phase,
    Question,
    Roster,
    Submission,
    bitmap_to_nodes,
    unpack_residuals,
)
from gridpact.errors import ChainError, Reorganised
from gridpact.limits import LANES

REMEMBERED_BLOCKS = 512
"""Of how many rounds and iterations it is remembered where they were opened."""

OPENING = ("RoundOpened", "LimitsSet", "Declared", "Abstained", "RoundStarted")
NEGOTIATION = ("IterationOpened", "Submitted", "Sealed", "IterationClosed", "Excluded", "Asked", "Answered")
"""Events of the two phases of a round, and, the first of each, the event that all others follow."""

NOTHING_SAID = IterationLog(None, {}, frozenset())
"""Of an iteration in which nothing has happened."""


class AggregatorLog(AggregatorViews):
    """The aggregator at an address, asked, and its log read: all that whoever only follows rounds needs."""

    @cached_property
    def _blocks(self) -> dict[tuple[int, int], int]:
        """Where rounds (iteration 0) and iterations were opened."""
        return {}

    @cached_property
    def _days(self) -> dict[int, int]:
        """Labels of rounds that the log did not tell."""
        return {}

    @cached_property
    def _lines(self) -> dict[int, list[int]]:
        """Who shares variables with the grid operator's node, by round, ascending: as the log told last."""
        return {}

    @cached_property
    def _openings(self) -> Openings:
        (opened,) = self.interface.topics(["RoundOpened"])
        return Openings(self._logs, self.address, opened, self.first_block)

    @cached_property
    def _opening_names(self) -> tuple[str, ...]:
        """Those that the contract has: older ones know no limits of a round's own."""
        return tuple(name for name in OPENING if name in self.interface.events)

    @cached_property
    def _negotiation_names(self) -> tuple[str, ...]:
        """The same: older ones know no questions, and none that are sealed."""
        return tuple(name for name in NEGOTIATION if name in self.interface.events)

    @cached_property
    def _transactions(self) -> Calldata:
        return Calldata(self)

    # ------------------------------------------------------------------ how rounds began

    def days(self) -> dict[int, int]:
        """The labels of all rounds, yyyymmdd, by round."""
        opened = map(arguments_of, self._events("RoundOpened"))
        return {int(event["round"]): int(event["day"]) for event in opened}

    def day_of(self, round: int) -> int:
        """The label with which a round was opened, yyyymmdd."""
        try:
            for opened in self._opening(round).get("RoundOpened", ()):
                return int(opened["day"])
        except ChainError:
            if round not in self._days and (day := self._day_by_calldata(round)) is not None:
                self._days[round] = day
            if round not in self._days:
                raise
            return self._days[round]
        raise Reorganised(f"The log does not tell how round {round} was opened: read it again.")

    def _day_by_calldata(self, round: int) -> int | None:
        """The label of a round that still takes declarations, so that its deadline tells when it was opened."""
        now = self.progress()
        if now.round != round or now.phase is not Phase.DECLARING:
            return None
        opened = now.deadline - self.setting().phase_seconds
        return self._transactions.day_opened(opened, self.first_block, self.product)

    def percent_of(self, round: int) -> int:
        """Within how many percent of theta's limits a round ends."""
        for set_ in self._opening(round).get("LimitsSet", ()):
            return int(set_["percent"])
        return WHOLE

    def abstained(self, round: int) -> frozenset[int]:
        """The nodes that keep out of a round."""
        return frozenset(int(event["node"]) for event in self._opening(round).get("Abstained", ()))

    def declarations(self, round: int) -> dict[int, Declaration]:
        """What the nodes declared for a round, with their books."""
        return {
            int(event["node"]): Declaration(
                node=event["node"],
                parent=event["parent"],
                children=bitmap_to_nodes(event["children"]),
                depth=event["depth"],
                bids=event["bids"],
                book=bytes(event["book"]),
            )
            for event in self._opening(round).get("Declared", ())
        }

    def started(self, round: int) -> Roster | None:
        """Who was in a round when it started; None where it did not start (yet)."""
        for event in self._opening(round).get("RoundStarted", ()):
            nodes, lines, inner = (bitmap_to_nodes(event[name]) for name in ("nodes", "lines", "inner"))
            self._lines[round] = sorted(lines)
            return Roster(nodes, nodes, lines, inner)
        return None

    def _opening(self, round: int) -> dict[str, list[Mapping[str, Any]]]:
        """What happened while a round was opened and declared, by event."""
        seen = self._seen
        known = 0 if seen is None else seen.round
        expected = {"RoundOpened"} if round <= known else set()
        if seen is not None and round == known and seen.phase in (Phase.ITERATING, Phase.CONVERGED, Phase.EXHAUSTED):
            expected.add("RoundStarted")

        def read() -> dict[str, list[Mapping[str, Any]]]:
            events: dict[str, list[Mapping[str, Any]]] = {}
            for event in self._since((round, 0), self._opening_names, round):
                events.setdefault(str(event["event"]), []).append(arguments_of(event))
            return events

        events = in_time(read, lambda events: events.keys() >= expected)
        if not events:
            if round <= known:
                raise ChainError(
                    f"The endpoint's log has nothing of round {round}, which the contract has opened: give another"
                    " endpoint."
                )
            raise ChainError(f"Round {round} was never opened: read the current round from the chain.")
        return events

    # ------------------------------------------------------------------ how rounds went on

    def iteration(self, round: int, iteration: int) -> IterationLog:
        """Step 4: what was submitted in an iteration, and what came of it. A silent node is missing."""
        logs = self._negotiated(round, iteration, 1 if iteration <= self._closed_in(round) else 0, iteration)
        return logs.get(iteration, NOTHING_SAID)

    def history(self, round: int, first: int = 1) -> list[IterationLog]:
        """The closed iterations of a round, in order, from the iteration `first` on."""
        logs = self._negotiated(round, first, self._closed_in(round) - first + 1)
        return [logs[number] for number in sorted(logs) if number >= first and logs[number].closed is not None]

    def copies_of(self, submission: Submission) -> tuple[int, ...]:
        """The copies of a node's submission, in words: see `Calldata.copies_of`."""
        return self._transactions.copies_of(submission)

    def transactions(self, round: int, since: int = 0) -> dict[bytes, int]:
        """The transactions that moved a round on: block by hash, in order.

        Args:
            since: a block before which nothing is looked for.
        """
        events = self._log(
            (*self._opening_names, *self._negotiation_names, "RoundEnded"),
            round,
            since=since,
            lowest=partial(self._openings.before, round),
        )
        return {bytes(event["transactionHash"]): int(event["blockNumber"]) for event in events}

    def _negotiated(self, round: int, first: int, closed: int, *indexed: int) -> dict[int, IterationLog]:
        """The log of a negotiation from the iteration `first` on.

        Args:
            closed: how many of its iterations are closed at least, by what the contract said.
        """
        logs = in_time(
            lambda: by_iteration(self._since((round, first), self._negotiation_names, round, *indexed)),
            lambda logs: sum(log.is_whole for number, log in logs.items() if number >= first) >= closed,
        )
        return {number: self._unsealed(round, log) if number >= first else log for number, log in logs.items()}

    def _unsealed(self, round: int, log: IterationLog) -> IterationLog:
        """With what a sealed iteration has in the calldata only, as it was submitted: bids, residuals and sums."""
        if not any(submission.in_calldata for submission in log.submissions.values()):
            return log
        self._transactions.read(log.submissions.values())
        read = self._transactions.whole
        whole = {node: read(one) if one.in_calldata else one for node, one in log.submissions.items()}
        closed = log.closed
        if closed is not None and closed.present <= whole.keys():
            closed = replace(closed, sums=self._sums(round, {node: whole[node] for node in closed.present}))
        return replace(log, submissions=whole, closed=closed)

    def _sums(self, round: int, submissions: Mapping[int, Submission]) -> tuple[int, ...]:
        """Words of all blocks of a sealed iteration, as the contract adds them: each household's copies, and those of
        the grid operator's node, which has them of all of them in this order."""
        if round not in self._lines:
            self.started(round)
        lines = self._lines.get(round, [])
        if not lines:
            return ()
        each = 2 * -(-self.setting().steps // LANES)
        copies = {node: self.copies_of(one) for node, one in submissions.items()}
        sums = [word for node in lines for word in copies.get(node, (0,) * each)]
        return tuple(map(add, sums, copies.get(0, (0,) * len(sums))))

    def _closed_in(self, round: int) -> int:
        """How many iterations of a round were closed when the contract was last asked where it stands."""
        return self._seen.closed if self._seen is not None and self._seen.round == round else 0

    def _since(self, place: tuple[int, int], names: Sequence[str], *indexed: int) -> list[EventData]:
        """The log from where a round or an iteration was opened, an event that is the first of `names`.

        The search begins at the last block that is remembered from before. If the opening is not in what it finds, a
        re-organisation has moved it, and the search begins anew where the contract was deployed.
        """
        hint = max((known for known in self._blocks if known <= place), default=None)
        first = 0 if hint is None else self._blocks[hint]

        def opens(event: EventData) -> bool:
            return event["event"] == names[0] and _place_of(event) == place

        try:
            lowest = partial(self._openings.before, place[0])
            events = self._log(names, *indexed, since=first, lowest=lowest, is_sought=opens)
        except ChainError:
            if hint is None:
                raise
            events = []  # the chain is shorter now
        opened = {_place_of(event): int(event["blockNumber"]) for event in events if event["event"] == names[0]}
        if place not in opened and hint is not None:
            self._blocks.clear()
            return self._since(place, names, *indexed)
        self._blocks |= opened
        for oldest in sorted(self._blocks)[:-REMEMBERED_BLOCKS]:
            del self._blocks[oldest]
        return events


def by_iteration(events: Iterable[EventData]) -> dict[int, IterationLog]:
    """Sorts the events of a negotiation."""
    logs: dict[int, IterationLog] = {}
    for event in events:
        arguments = arguments_of(event)
        number = int(arguments["iteration"])
        logs[number] = _with_event(logs.get(number, NOTHING_SAID), event, arguments)
    return logs


def _with_event(log: IterationLog, event: EventData, arguments: Mapping[str, Any]) -> IterationLog:
    """An iteration's log with one more event."""
    if event["event"] in ("Submitted", "Sealed"):
        submission = Submission(
            node=int(arguments["node"]),
            iteration=int(arguments["iteration"]),
            residuals=unpack_residuals(int(arguments.get("residuals", 0))),
            bids=bytes(arguments.get("bids", b"")),
            commitment=bytes(arguments["commitment"]),
            transaction=bytes(event["transactionHash"]),
            in_calldata=event["event"] == "Sealed",
        )
        return replace(log, submissions={**log.submissions, submission.node: submission})
    if event["event"] == "Excluded":
        node = int(arguments["node"])
        proved = log.proved | ({node} if arguments["proved"] else frozenset())
        return replace(log, excluded=log.excluded | {node}, proved=proved)
    if event["event"] == "Asked":
        return replace(log, asked=log.asked | {_question_of(arguments)})
    if event["event"] == "Answered":
        return replace(log, answers={**log.answers, _question_of(arguments): bytes(arguments["told"])})
    if event["event"] == "IterationClosed":
        closed = ClosedIteration(
            iteration=int(arguments["iteration"]),
            present=bitmap_to_nodes(arguments["present"]),
            residuals=unpack_residuals(int(arguments["residuals"])),
            sums=tuple(arguments["sums"]),
            head=bytes(arguments["head"]),
        )
        return replace(log, closed=closed)
    return log


def _question_of(arguments: Mapping[str, Any]) -> Question:
    return int(arguments["node"]), int(arguments["about"])


def _place_of(event: EventData) -> tuple[int, int]:
    """The round and, of an iteration's, the iteration of an event; 0 of the others."""
    arguments = arguments_of(event)
    return int(arguments["round"]), int(arguments.get("iteration", 0))
