"""The days that a node goes through: the one that runs, and tomorrow's, once its round is open."""

from __future__ import annotations

import logging

from gridpact.chain.day import OpenedDay, rest_of
from gridpact.service.alone import PlanAlone
from gridpact.service.connection import ChainConnection
from gridpact.service.day_run import DayRun
from gridpact.service.health import Health
from gridpact.service.settings import Settings
from gridpact.service.state import State

log = logging.getLogger(__name__)

NEWEST = 3
"""Days that may not be over when a node starts."""


class RunningDays:
    """Those that are not closed. Where the deployment settles no days, or the household takes no part in them, none."""

    def __init__(
        self, settings: Settings, connection: ChainConnection, state: State, alone: PlanAlone, health: Health
    ) -> None:
        """Raises ChainError where the chain fails."""
        self._settings, self._connection, self._state = settings, connection, state
        self._alone, self._health = alone, health
        self._runs: dict[int, DayRun] = {}  # by number of the day
        if self._takes_part:
            for opened in self._opened()[-NEWEST:]:
                self._begin(opened)

    @property
    def _takes_part(self) -> bool:
        ledger = self._connection.ledger
        return ledger is not None and (self._settings.home is None or self._settings.day is not None)

    def of_day(self, label: int) -> DayRun | None:
        """The day of a round of the day before; None where none of its name was opened."""
        ledger = self._connection.ledger
        if not self._takes_part or ledger is None:
            return None
        index = ledger.standing(label).index
        return self._of_index(index) if index else None

    def of_rest(self, label: int) -> tuple[DayRun | None, int] | None:
        """The day of a round about the rest of one, and from which step on; None where the round is about no rest."""
        rest = rest_of(label)
        return None if rest is None else (self._of_index(rest[0]) if self._takes_part else None, rest[1])

    def look(self) -> bool:
        """Does what is due in all of them. Returns whether anything was.

        Raises:
            ChainError: the chain failed.
        """
        done = False
        for index, run in list(self._runs.items()):
            done |= run.look()
            if run.is_over:
                del self._runs[index]
                log.info("%s is closed", run.day)
        return done

    def _of_index(self, index: int) -> DayRun | None:
        if index not in self._runs:
            for opened in self._opened():
                if opened.index == index:
                    self._begin(opened)
        return self._runs.get(index)

    def _begin(self, opened: OpenedDay) -> None:
        run = DayRun(self._settings, self._connection, self._state, self._alone, self._health, opened)
        if not run.is_over:
            self._runs[opened.index] = run

    def _opened(self) -> list[OpenedDay]:
        assert self._connection.ledger is not None
        return self._connection.ledger.opened()
