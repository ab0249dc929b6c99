"""What a node makes of a round while it takes part, and how long it does what."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

from gridpact.chain.commitments import START, head_with
from gridpact.chain.values import ClosedIteration, IterationLog, Question, Submission
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.node.form import OpenForm, SealedForm


@dataclass(frozen=True)
class Duty:
    """What is to be done for all, by one node."""

    since: int  # iteration in which that was found; in a later one everybody does it
    act: Callable[[], object]


class Memory:
    """What a node makes of a round as it reads it: nothing here that the chain could not tell again."""

    def __init__(
        self, agent: Agent, form: OpenForm, books: Mapping[int, bytes], sealed: SealedForm | None = None
    ) -> None:
        self.agent = agent
        self.form = form
        self.sealed = sealed  # the same, of a sealed round
        self.books = books  # as declared
        self.sent: dict[int, list[int]] = {}  # iteration -> words of copies that this node submitted
        self.doubtful = 0  # up to this iteration, an earlier run of this node may have submitted others
        self.last: dict[int, tuple[Submission, bytes]] = {}  # node -> last submission, commitment before it
        self.accounts: dict[int, str] = {}  # of the others, where this node reads the relay's board
        self.suspects: dict[int, tuple[int, bool]] = {}  # node -> iteration in which it was false; beyond its reach
        self.asked: dict[Question, int] = {}  # questions that wait for an answer -> iteration in which they were asked
        self.answered: set[Question] = set()
        self.claimed: dict[int, set[int]] = {}  # node -> iterations of which it claimed residuals of trades
        self.duties: dict[tuple[str, Question], Duty] = {}  # by what, and about what
        self.steady: deque[int] = deque(maxlen=3)  # for how many iterations the same nodes were there; newest last
        self.relay_failed = False  # then this node sends directly for the rest of the round
        self.history: deque[tuple[IterationLog, Closing, Integers | None]] = deque(maxlen=3)  # own copies; newest last
        self.head = START  # of the round, as it was read

    @property
    def gone(self) -> frozenset[int]:
        """Nodes that are out of the round."""
        return self.agent.gone

    def follows(self, round_: int, closed: ClosedIteration) -> bool:
        """Whether an iteration continues the history that was read so far."""
        return head_with(self.head, round_, closed) == closed.head

    def take_in(self, entry: IterationLog, closing: Closing, own: Integers | None) -> None:
        assert entry.closed is not None
        self.head = entry.closed.head
        self.asked |= dict.fromkeys(entry.asked, closing.iteration)
        self.answered |= entry.answers.keys()
        self.asked = {one: since for one, since in self.asked.items() if one not in self.answered}
        before = self.history[-1][1].present if self.history else None
        self.steady.append(self.steady[-1] + 1 if before == closing.present else 0)
        self.history.append((entry, closing, own))
        for node, submission in entry.submissions.items():
            commitment = self.last[node][0].commitment if node in self.last else START
            self.last[node] = (submission, commitment)
            if any(submission.residuals[2:]):
                self.claimed.setdefault(node, set()).add(closing.iteration - 1)
        self.agent.take_in(closing, own)


class Laps:
    """How long a node did what; what is done within something else does not count for that."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._what, self._since = "", time.perf_counter()

    @contextmanager
    def doing(self, what: str) -> Iterator[None]:
        before = self._switch(what)
        try:
            yield
        finally:
            self._switch(before)

    def _switch(self, what: str) -> str:
        now, before = time.perf_counter(), self._what
        if before:
            self.seconds[before] = self.seconds.get(before, 0.0) + now - self._since
        self._what, self._since = what, now
        return before
