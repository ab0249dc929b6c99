"""A round about the rest of a day that runs, as a member of the day goes through it: what is agreed changes positions.

Where nothing is agreed with it, its positions, its nomination and its plan stay as they are.
"""

from __future__ import annotations

import logging
from typing import Any

from gridpact.errors import InputError, Reorganised
from gridpact.events import Event, Planned
from gridpact.market.admm.agent import Agent
from gridpact.problem.view import NodeView
from gridpact.service.day_run import DayRun
from gridpact.service.participation import Participation

log = logging.getLogger(__name__)


class ReAgreement(Participation):
    """A node in one of them.

    Args:
        run: the day; None where this node has no part in it.
        first: the step from which on it is about the day.
    """

    def __init__(self, run: DayRun | None, first: int, *rest: Any) -> None:
        super().__init__(*rest)
        self._run, self._first = run, first
        self._schedule = run.schedule if run is not None else None
        if run is not None:
            self._set_day(run.day)

    def _kept(self) -> NodeView | None:
        """An interruption costs nothing: what it knows of the rest of the day is asked for again."""
        aggregator, address = self._connection.aggregator, self._connection.account.address
        has_declared = aggregator.account_in(self._round, self._settings.node) == address
        return self._prepare() if has_declared else None

    def _prepare(self) -> NodeView:
        return self._known.view_since(self._first)

    @property
    def _known(self) -> DayRun:
        """Raises InputError where there is none, or this household is no member of it."""
        run = self._run
        if run is None or (self._settings.home is not None and not run.is_member):
            raise InputError("it is about the rest of a day in which this household takes no part")
        return run

    def _standing(self) -> Agent | None:
        return self._known.standing(self._round)

    def _day_of_round(self) -> str:
        opened = self._days.of_rest(self._label)
        if opened is None or opened != (self._run, self._first):
            raise Reorganised(f"round {self._round} is about another day now")
        return self._day

    def hear(self, event: Event) -> None:
        """From the node."""
        if not isinstance(event, Planned):
            super().hear(event)
        elif event.agreed and self._run is not None:
            self._run.plan(self._first, event.schedule, self._round, "agreed")
            self._schedule = self._run.schedule

    def _complain(self, message: str) -> None:
        if self._run is None:  # it is nothing to put right
            log.info("%s", message)
        else:
            super()._complain(message)

    def _plan_alone(self) -> None:
        """What stood stands."""

    def _stand_in(self) -> None:
        """There is a schedule."""
