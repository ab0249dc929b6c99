"""What an aggregator tells this home by OpenADR 2.0b, and what the home answers: a virtual end node, VEN.

Prices (`ELECTRICITY_PRICE`) are opted in to where they cover whole days and stay within what the household lets a kWh
cost; they are kept as a file for each day, and the forecast of that day has them (`forecast.take_forecast`). A call
(`LOAD_DISPATCH`, the most power to be drawn) is opted in to where the home's schedule keeps it, or one that is planned
anew for the rest of the day does; then whoever plans the day later keeps it, too. What the home plans to draw at the
moment is reported, and what its meter read in the newest step.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from types import TracebackType
from typing import Any

import numpy as np

from gridpact.community.model import Array
from gridpact.errors import GridpactError, InputError
from gridpact.files import parse_json, write_atomically
from gridpact.service.alone import PlanAlone
from gridpact.service.calls import (
    ANEW_WITHIN,
    MOST_ANEW,
    Allowed,
    PlannedAnew,
    called_in,
    forget_call,
    keep_call,
    kept_calls,
    midnight,
)
from gridpact.service.readings import take_reading
from gridpact.service.rest import planned_anew
from gridpact.service.schedule import Schedule
from gridpact.service.settings import OpenAdrSettings, Settings

log = logging.getLogger(__name__)

PRICE, CALL = "ELECTRICITY_PRICE", "LOAD_DISPATCH"
IN, OUT = "optIn", "optOut"

DAY_SECONDS = 86_400
AGAIN_SECONDS = 10.0
"""Between attempts to register."""

METERED = "_meter"
"""What the resource of a report is named after the home's name, where its meter is reported and not its plan."""

MOMENT = timedelta(microseconds=1)

KEPT_KW = 0.001
"""So exactly a schedule keeps what it is called for: schedules are written to a watt."""

REPORT_EVERY = timedelta(seconds=10)


@dataclass(frozen=True)
class Interval:
    """Of a signal."""

    begins: datetime  # with an offset
    lasts: timedelta
    value: float

    @property
    def ends(self) -> datetime:
        return self.begins + self.lasts


def intervals_of(event: Mapping[str, Any], name: str, kind: str) -> list[Interval]:
    """Of a signal of an event, in the order of time; none where it has no such signal.

    Raises:
        InputError: they overlap, have gaps, or a value is no number.
    """
    found = [
        Interval(one["dtstart"], one["duration"], float(one["signal_payload"]))
        for signal in event["event_signals"]
        if (signal["signal_name"], signal["signal_type"]) == (name, kind)
        for one in signal["intervals"]
    ]
    found.sort(key=lambda one: one.begins)
    if any(before.ends != after.begins for before, after in pairwise(found)):
        raise InputError("its intervals have gaps or overlap")
    if not np.isfinite([one.value for one in found]).all():
        raise InputError("it has a value that is no number")
    return found


def whole_days(intervals: Sequence[Interval], midnight: Callable[[date], datetime]) -> dict[str, Array]:
    """Values by step of the days that they cover, by day.

    Args:
        midnight: when a day begins; it lasts 24 h.

    Raises:
        InputError: no day is covered, or not by steps of one length.
    """
    if not intervals:
        raise InputError("it has no intervals")
    step = intervals[0].lasts
    if any(one.lasts != step for one in intervals) or DAY_SECONDS % (seconds := step.total_seconds()):
        raise InputError("its intervals are no steps of one length that parts a day")
    steps, begins = round(DAY_SECONDS / seconds), {one.begins: k for k, one in enumerate(intervals)}
    days = {}
    for ahead in range(-1, (intervals[-1].ends - intervals[0].begins).days + 2):
        day = (intervals[0].begins + timedelta(days=ahead)).date()
        first = begins.get(midnight(day))
        if first is not None and first + steps <= len(intervals):
            days[day.isoformat()] = np.array([one.value for one in intervals[first : first + steps]])
    if not days:
        raise InputError("it covers no whole day from midnight to midnight")
    return days


class Ven:
    """A thread that is registered at the aggregator's VTN, as long as it is entered.

    Args:
        report_every: how often at most the home reports.
        alone: who knows what the home is like; None: nothing is planned anew for a call.

    Raises:
        InputError: openleadr is not installed.
    """

    def __init__(
        self,
        settings: Settings,
        of: OpenAdrSettings,
        report_every: timedelta = REPORT_EVERY,
        alone: PlanAlone | None = None,
    ) -> None:
        try:
            import openleadr  # noqa: F401
        except ImportError:
            raise InputError("[openadr] needs a package that is not here: pip install gridpact[openadr]") from None
        self._settings, self._of, self._report_every, self._alone = settings, of, report_every, alone
        self._anew = PlannedAnew()
        self._loop = asyncio.new_event_loop()
        self._stop = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="openadr", daemon=True)

    def __enter__(self) -> Ven:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None, at: TracebackType | None) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_until_complete(self._serve())
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        """Registered until it is told to stop; the VTN is tried again where it is not there."""
        from openleadr import OpenADRClient

        told = False
        while not self._stop.is_set():
            client = OpenADRClient(self._of.ven, self._of.vtn)
            client.add_handler("on_event", self._hear)
            client.add_handler("on_update_event", self._hear)
            reports: dict[str, Callable[..., Any]] = {self._of.ven: self._planned_w}
            if self._settings.day is not None:
                reports[self._of.ven + METERED] = self._metered_w
            for resource, callback in reports.items():
                client.add_report(
                    callback=callback,
                    resource_id=resource,
                    measurement="REAL_POWER",
                    unit="W",
                    sampling_rate=self._report_every,
                    report_duration=timedelta(seconds=DAY_SECONDS),
                )
            with suppress(TypeError, KeyError):  # openleadr's own, where no VTN answers
                await client.run()
            if client.registration_id:
                log.info("registered at the VTN %s as %s", self._of.vtn, self._of.ven)
                await self._stop.wait()
                await client.stop()
                return
            if not told:
                log.warning("the VTN %s does not take %s in; it is tried again", self._of.vtn, self._of.ven)
                told = True
            if client.client_session is not None and not client.client_session.closed:
                await client.client_session.close()
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._stop.wait(), AGAIN_SECONDS)

    def _hear(self, event: Mapping[str, Any]) -> str:
        """Opts in or out, and says why in the log."""
        descriptor = event["event_descriptor"]
        name, had = descriptor["event_id"], list[Allowed]()
        try:
            had = self._forget(name)
            if descriptor["event_status"] == "cancelled":
                log.info("event %s is cancelled", name)
                self._plan_without(name, had)
            else:
                log.info("event %s is accepted: %s", name, self._taken(name, event))
        except (GridpactError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
            log.warning("event %s is not accepted: %s", name, error)
            self._forget(name)
            self._plan_without(name, had)
            return OUT
        return IN

    def _taken(self, name: str, event: Mapping[str, Any]) -> str:
        """Takes all that an event has, and says what.

        Raises:
            InputError: something of it cannot be taken; then nothing is.
        """
        call, prices = intervals_of(event, CALL, "setpoint"), intervals_of(event, PRICE, "price")
        if not (call or prices):
            raise InputError(f"it has neither {PRICE} with prices nor {CALL} with setpoints")
        allowed = [Allowed(one.begins, one.lasts, one.value) for one in call]
        words = [self._take_prices(name, prices)] if prices else []
        return "; ".join([*words, self._take_call(name, allowed)] if call else words)

    def _take_prices(self, name: str, prices: Sequence[Interval]) -> str:
        forecast, limits = self._settings.forecast, self._settings.limits
        if forecast is None or forecast.signals is None:
            raise InputError('this home has other prices: [tariff] source is not "openadr"')
        days = whole_days(prices, self._midnight)
        highest = max(float(values.max()) for values in days.values())
        if limits is not None and highest > limits.import_price_max:
            raise InputError(f"a price of {highest:g} is above [limits] import_price_max, {limits.import_price_max:g}")
        for day, values in days.items():
            kept = {"day": day, "event": name, "import_price": values.tolist()}
            forecast.signals.mkdir(parents=True, exist_ok=True)
            write_atomically(forecast.signals / f"{day}.json", json.dumps(kept) + "\n")
        return f"prices of {', '.join(days)}"

    def _forget(self, name: str) -> list[Allowed]:
        """What an event had before it was changed or cancelled; returns its call."""
        had, forecast = forget_call(self._settings, name), self._settings.forecast
        if forecast is not None and forecast.signals is not None:
            for path in forecast.signals.glob("*.json"):
                if parse_json(path.read_bytes()).get("event") == name:
                    path.unlink()
        return had

    def _plan_without(self, name: str, had: Sequence[Allowed]) -> None:
        """The rest of the days that were planned anew for a call that is not one any more, once more."""
        if not had or self._alone is None:
            return
        try:
            for day, schedule in self._planned_anew(had, ()).items():
                if self._scheduled(date.fromisoformat(day)).status == "renewed":
                    schedule.write(self._settings.service.schedule)
                    log.info("%s is planned anew without event %s", day, name)
        except GridpactError as error:
            log.warning("what was planned for event %s stays planned: %s", name, error)

    def _take_call(self, name: str, call: Sequence[Allowed]) -> str:
        """Keeps a call that a schedule keeps, as it is or planned anew.

        Raises:
            InputError: none does.
        """
        words = f"the schedule keeps it, {len(call)} intervals"
        try:
            self._check_kept(call, {})
        except InputError:
            anew = self._planned_anew(call, call)
            self._check_kept(call, anew)
            for schedule in anew.values():
                schedule.write(self._settings.service.schedule)
            words = f"{', '.join(anew)} is planned anew for it, {len(call)} intervals"
        keep_call(self._settings, name, call)
        return words

    def _check_kept(self, call: Sequence[Allowed], anew: Mapping[str, Schedule]) -> None:
        """
        Args:
            anew: schedules that are to take the place of those that are written, by day.

        Raises:
            InputError: more is drawn, or there is no schedule.
        """
        for one in call:
            at = one.begins
            while at < one.ends:
                drawn, until = self._planned_kw(at, anew)
                if drawn > one.most_kw + KEPT_KW:
                    raise InputError(f"{drawn:.3f} kW are planned at {at.isoformat()}, called for are {one.most_kw:g}")
                at = until

    def _planned_anew(self, about: Sequence[Allowed], call: Sequence[Allowed]) -> dict[str, Schedule]:
        """The schedules of the days that a call is about, from the next step on, by day.

        Args:
            call: what is to be kept beside what was opted in to.

        Raises:
            InputError, InfeasibleError: nothing is known of a day, there is no plan, or it was planned anew too often.
        """
        if self._alone is None:
            raise InputError("nothing is planned anew for a call here")
        if not self._anew.again():
            raise InputError(f"this home has planned anew {MOST_ANEW} times within {ANEW_WITHIN}, and waits")
        settings, anew = self._settings, dict[str, Schedule]()
        zone = settings.service.timezone
        allowed = [*kept_calls(settings), *call]
        for day in sorted({at.astimezone(zone).date() for one in about for at in (one.begins, one.ends - MOMENT)}):
            schedule, view = self._scheduled(day), self._alone.view(day.isoformat())
            passed = datetime.now(timezone.utc) - self._midnight(day)
            first = max(passed // timedelta(seconds=schedule.step_seconds) + 1, 0)
            if first >= view.steps:
                raise InputError(f"the last step of {day} has begun")
            called = called_in(settings, day.isoformat(), view.steps, view.step_hours, allowed)
            anew[day.isoformat()] = planned_anew(view, schedule, first, called)
        return anew

    def _midnight(self, day: date) -> datetime:
        return midnight(self._settings, day.isoformat())

    def _scheduled(self, day: date) -> Schedule:
        """
        Raises:
            InputError: there is none.
        """
        service = self._settings.service
        schedule = Schedule.read(service.schedule, day.isoformat(), service.timezone)
        if schedule is None or "injection_kw" not in schedule.values:
            raise InputError(f"there is no schedule of {day} yet")
        return schedule

    def _planned_kw(self, at: datetime, anew: Mapping[str, Schedule]) -> tuple[float, datetime]:
        """What is to be drawn at a time by the schedule, and until when.

        Raises:
            InputError: there is none.
        """
        day = at.astimezone(self._settings.service.timezone).date()
        schedule = anew.get(day.isoformat()) or self._scheduled(day)
        begins, step = self._midnight(day), timedelta(seconds=schedule.step_seconds)
        k = min((at - begins) // step, len(schedule.values["injection_kw"]) - 1)
        return -float(schedule.values["injection_kw"][k]), max(begins + (k + 1) * step, at + timedelta(seconds=1))

    def _planned_w(self, **_: Any) -> float:
        return 1000 * self._planned_kw(datetime.now(timezone.utc), {})[0]

    def _metered_w(self, **_: Any) -> list[tuple[datetime, float]]:
        """What the meter read in the newest step that is over, mean power drawn, and when that step began.

        Raises:
            InputError: there is no schedule, whose steps are read; or no reading.
        """
        own, now = self._settings.day, datetime.now(timezone.utc)
        assert own is not None
        today = now.astimezone(self._settings.service.timezone).date()
        step = timedelta(seconds=self._scheduled(today).step_seconds)
        day, k = today, (now - self._midnight(today)) // step - 1
        if k < 0:
            day, k = today - timedelta(days=1), timedelta(days=1) // step - 1
        reading = take_reading(own, day.isoformat(), k)
        return [(self._midnight(day) + k * step, -reading.meter_wh / (step / timedelta(hours=1)))]
