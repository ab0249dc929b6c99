"""A day with the supplier alone: what a household does where there is no agreement, or no chain."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from gridpact.chain.record import Record
from gridpact.community.model import Array, Prices
from gridpact.errors import GridpactError, InfeasibleError, InputError
from gridpact.files import parse_json
from gridpact.problem.baseline import fallback
from gridpact.problem.view import NodeView
from gridpact.service.forecast import NoForecast, take_forecast
from gridpact.service.plan import own_prices, view_of
from gridpact.service.schedule import Schedule
from gridpact.service.settings import Settings
from gridpact.service.state import State

log = logging.getLogger(__name__)

ANY_PRICE = 0.3
"""Currency/kWh, where no tariff is known: whether there is a plan does not depend on it."""


@dataclass(frozen=True)
class DayAlone:
    """A plan without the neighbours."""

    values: Mapping[str, Array]  # kW, kvar, kWh by name, (T,) each
    forecast: str  # the day whose forecast it was made with


class PlanAlone:
    """Plans for a household without asking the chain: from a forecast that is there, or else the newest that there was.

    Args:
        record: of the deployment, which tells the steps of a day.
    """

    def __init__(self, settings: Settings, record: Record, state: State) -> None:
        self._settings = settings
        self._state = state
        self._steps, self._step_seconds = int(record.setting["steps"]), int(record.setting["step_seconds"])

    def plan(self, day: str, views: tuple[Callable[[], NodeView | None], ...] = ()) -> DayAlone:
        """The day's plan.

        Args:
            views: what may be known better, and is tried first.

        Raises:
            InputError, InfeasibleError: there has been no forecast yet, or no plan fits it.
        """
        why: GridpactError = NoForecast("there has been no forecast yet")
        for way in (*views, lambda: self._by_forecast(day), self._state.last_view):
            try:
                if (view := way()) is not None:
                    return DayAlone(fallback(view), view.day)
            except (InputError, InfeasibleError) as error:
                why = error
        raise why

    def view(self, day: str) -> NodeView:
        """What is known of the home on a day: what it declared with, or else by its forecast.

        Raises:
            InputError: nothing is.
        """
        last = self._state.last_view()
        view = last if last is not None and last.day == day else self._by_forecast(day)
        if view is None or view.household is None:
            raise NoForecast(f"nothing is known of {day} yet")
        return view

    def _by_forecast(self, day: str) -> NodeView | None:
        """By a forecast that is there now, at the household's own prices, or at those of the newest day."""
        settings = self._settings
        if settings.forecast is None:
            return None
        forecast = take_forecast(settings.forecast, day, self._steps, 0.0)
        if settings.tariff.source != "published":
            prices = own_prices(settings.tariff, self._steps, forecast)
        elif (last := self._state.last_view()) is not None:
            prices = last.prices
        else:
            prices = Prices(np.full(self._steps, ANY_PRICE))
        return view_of(settings, day, self._step_seconds / 3600, forecast, prices, frozenset())

    def schedule(self, day: str, round_: int, status: str, values: Mapping[str, Array], forecast: str) -> Schedule:
        """What is written of a plan."""
        public = {name: series for name, series in values.items() if name != "relaxation_gap_pu"}
        zone = self._settings.service.timezone
        return Schedule(self._settings.node, day, round_, status, forecast, self._step_seconds, zone, public)

    def stand_in(self, day: str, round_: int = 0) -> None:
        """Leaves a schedule for a day that has none: while the chain cannot be asked, the home goes on."""
        folder = self._settings.service.schedule
        if self._settings.home is None or (folder / f"{day}.json").exists():
            return
        try:
            planned = self.plan(day)
            path = self.schedule(day, round_, "alone", planned.values, planned.forecast).write(folder)
        except (InputError, InfeasibleError, OSError) as error:
            log.warning("there is no schedule for %s: %s", day, error)
        else:
            log.info("the schedule for %s is in '%s': alone, until the chain can be asked", day, path)

    def days_due(self) -> tuple[str, str]:
        """Today and tomorrow at home, yyyy-mm-dd."""
        today = datetime.now(self._settings.service.timezone).date()
        return today.isoformat(), (today + timedelta(days=1)).isoformat()

    def agreed_schedule(self, day: str) -> bool:
        """Whether the day's schedule was agreed with the neighbours."""
        try:
            schedule = parse_json((self._settings.service.schedule / f"{day}.json").read_text(encoding="utf-8"))
            return bool(schedule["status"] == "agreed")
        except (OSError, ValueError, KeyError, TypeError):
            return False
