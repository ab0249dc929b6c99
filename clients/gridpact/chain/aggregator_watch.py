"""Waiting for the contract `VirtualAggregator` to move on, and moving it on where a phase is overdue."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from functools import cached_property

from gridpact.chain.account import MOST_GAS
from gridpact.chain.aggregator_log import AggregatorLog
from gridpact.chain.calldata import COUNTED
from gridpact.chain.ledger import WaitingLedger
from gridpact.chain.transport import url_of
from gridpact.chain.values import Phase, Progress
from gridpact.chain.watch import LOOK_SECONDS, Watch, watch_events
from gridpact.errors import ChainError, ContractError, Reorganised
from gridpact.limits import LANES

log = logging.getLogger(__name__)

CLOSE_GAS = 250_000
"""What closing an overdue phase may cost, beside what starting or closing costs a node or a word. It is not estimated:
a node that has no new block yet would estimate at a time before the deadline."""

START_GAS = 15_000
"""What starting the round may cost the last declaration, a node that can be enrolled."""

WORD_GAS = 3_000
"""What closing an iteration may cost the last submission, a word of sums."""

MILESTONES = ("RoundOpened", "IterationOpened", "RoundEnded")
"""Events that tell a waiting node that the round has moved on."""


class WatchedAggregator(AggregatorLog, WaitingLedger):
    """The aggregator at an address, followed while a round goes on."""

    _unclosed: tuple[int, Phase, int] | None = None  # the overdue phase that could not be closed

    @cached_property
    def _watches(self) -> dict[bool, Watch]:
        """Subscriptions, by whether they tell of each submission."""
        return {}

    def wait_for(
        self,
        reached: Callable[[Progress], bool],
        seconds: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        watch = self._watching(each_submission)
        now = self.elapsed()
        give_up, next_look = now + seconds, now + LOOK_SECONDS
        patience = random.uniform(0.0, LOOK_SECONDS)  # not all nodes at once
        if not look_first:
            watch.wait(min(seconds, LOOK_SECONDS))
        while True:
            progress = self.progress()
            now = self.elapsed()
            if reached(progress) or now >= give_up:
                return progress
            if close_overdue and progress.phase.is_running and now >= next_look:
                next_look = now + LOOK_SECONDS
                self._close_if_overdue(progress, patience)
                continue
            watch.wait(min(give_up - now, LOOK_SECONDS))

    def elapsed(self) -> float:
        return time.monotonic()

    def _watching(self, each_submission: bool) -> Watch:
        if each_submission not in self._watches:
            names = (*MILESTONES, *COUNTED) if each_submission else MILESTONES
            topics = self.interface.topics([name for name in names if name in self.interface.events])
            self._watches[each_submission] = watch_events(url_of(self.web3), self.address, topics)
        return self._watches[each_submission]

    def close(self) -> None:
        """Ends the subscriptions of `wait_for`."""
        while self._watches:
            self._watches.popitem()[1].close()

    # ------------------------------------------------------------------ overdue phases

    def close_overdue(self) -> bool:
        """Ends a phase whose deadline has passed. False: it was not overdue, or somebody else was first.

        It is asked for before it is sent; that the deadline has not passed may be the newest block's time only.
        """
        try:
            self._read_of_product("closeOverdue")
        except ContractError as error:
            if error.name == "WrongPhase":
                return False
            if error.name != "DeadlineNotPassed":
                raise
        gas = CLOSE_GAS + self.starting_gas() + self.closing_gas()
        try:
            self._send(*self._of_product("closeOverdue"), gas=min(gas, MOST_GAS))
        except ContractError as error:
            if error.name in ("DeadlineNotPassed", "WrongPhase"):
                self._clock.forget()
                return False
            raise
        return True

    def starting_gas(self) -> int:
        """What a declaration costs more if it starts the round."""
        return START_GAS * self.theta().n

    def closing_gas(self) -> int:
        """What a submission costs more if it closes the iteration: it reads and emits the sums."""
        return WORD_GAS * 3 * self.theta().n * -(-self.setting().steps // LANES)

    def _close_if_overdue(self, progress: Progress, patience: float) -> None:
        """While it waits. That it fails, for want of ether or at a fee above the ceiling, costs no turn."""
        if self._clock.now() <= progress.deadline + patience:
            return
        try:
            self.close_overdue()
        except Reorganised:
            raise
        except ChainError as error:
            if progress.place != self._unclosed:
                log.warning("the overdue phase of round %d is left to others: %s", progress.round, error)
            self._unclosed = progress.place
