"""Tomorrow's forecast, from a file or a command that the household names, checked before anything is planned with it.

JSON, or CSV with a header; a file or an output that begins with `{` is JSON.

`day` (JSON) or `time` (CSV, the start of each step, of several days), `load_kw`, `import_price` where the tariff comes
from the forecast, and what the registry of devices has as `told`; docs/node.md has the table.
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from datetime import time as clock
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.meters import DAY_MINUTES, NOISE_KW
from gridpact.community.model import Array
from gridpact.community.tables import rows_of
from gridpact.community.times import moments
from gridpact.community.usual import MOST_KW
from gridpact.devices.registry import DEVICES
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of
from gridpact.service.settings import DAY, ForecastSettings

FIELDS = tuple(field for device in DEVICES for field in device.forecast_fields)
SERIES = ("load_kw", "import_price", *(field.key for field in FIELDS if field.is_series))
LOWEST = {"import_price": -math.inf} | {field.key: field.low for field in FIELDS}
NUMBERS = tuple(field.key for field in FIELDS if not field.is_series)
LOOK_SECONDS = 1.0
"""How often a file that is not there yet is looked for."""

MOST_BYTES = 1 << 20


class NoForecast(InputError):
    """There is no forecast for the day that a plan could be made with: it is late, or wrong."""


class _NotYet(NoForecast):
    """It may still come."""


@dataclass(frozen=True)
class Forecast:
    """What is expected of a day. Series have shape (T,)."""

    day: str  # yyyy-mm-dd
    series: Mapping[str, Array]  # those of SERIES that are there
    numbers: Mapping[str, float]  # those of NUMBERS that are there

    def to_json(self) -> str:
        values = {name: series.tolist() for name, series in self.series.items()}
        return json.dumps({"day": self.day, **values, **self.numbers}) + "\n"


def take_forecast(
    settings: ForecastSettings, day: str, steps: int, seconds: float, stop: threading.Event | None = None
) -> Forecast:
    """The forecast of a day.

    Args:
        day: yyyy-mm-dd.
        steps: T, which every series must have.
        seconds: how long it may be late, as the household says or the round allows.
        stop: ends the waiting.

    Raises:
        NoForecast: it did not come in time, or it is wrong; says what is wrong, and where.
    """
    stop = stop or threading.Event()
    give_up = time.monotonic() + seconds
    while True:
        left = give_up - time.monotonic()
        try:
            names = {DAY: day}
            text, where = told_text(settings.file, settings.command, names, "the forecast", max(left, 0.1))
            forecast = parse_forecast(text, where, day, steps, settings.most_kw, settings.zone)
            if settings.signals is not None:
                forecast = with_signal(forecast, settings.signals, steps)
            if not settings.names_the_day and not _says_its_day(text):
                raise NoForecast(
                    f'{where} does not say of which day it is: give "day", or put {DAY} into [forecast] file or command'
                )
            return forecast
        except _NotYet as error:
            if left <= LOOK_SECONDS or stop.is_set():
                raise NoForecast(f"{error}, and the round does not wait longer than {seconds:.0f} s") from None
            stop.wait(LOOK_SECONDS)


def with_signal(forecast: Forecast, folder: Path, steps: int) -> Forecast:
    """The forecast with the import price that the aggregator sent for its day (`ven`).

    Raises:
        NoForecast: it sent none, or of steps that do not make those of the round.
    """
    path = folder / f"{forecast.day}.json"
    try:
        price = np.array(parse_json(path.read_bytes())["import_price"], dtype=float)
    except FileNotFoundError:
        raise _NotYet(f"there are no prices of {forecast.day} from the aggregator yet") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoForecast(f"the aggregator's prices '{path}' cannot be read: {error}") from None
    if steps % len(price) and len(price) % steps:
        raise NoForecast(f"the aggregator's prices of {forecast.day} are {len(price)}, the round has {steps} steps")
    if len(price) < steps:
        price = np.repeat(price, steps // len(price))
    return replace(forecast, series={**forecast.series, "import_price": price.reshape(steps, -1).mean(axis=1)})


def _says_its_day(text: str) -> bool:
    """Of a forecast that could be read: the rows of a table always do."""
    return not _is_json(text) or "day" in parse_json(text)


def _is_json(text: str) -> bool:
    return text.lstrip().startswith(("{", "["))


def parse_forecast(
    text: str, where: str, day: str, steps: int, most_kw: float = MOST_KW, zone: ZoneInfo | None = None
) -> Forecast:
    """Checks a forecast that was read.

    Args:
        where: what it was read from, for complaints.
        most_kw: a power above is taken for one in W.
        zone: in which a day begins, where times have an offset from UTC; None: this machine's.

    Raises:
        NoForecast: as `take_forecast`.
    """
    stated = _from_json(text, where, day) if _is_json(text) else _from_csv(text, where, day, steps, zone)
    if "load_kw" not in stated:
        raise NoForecast(f"{where} has no load_kw: give one value a step")
    series = {name: _series(stated[name], name, where, steps) for name in SERIES if name in stated}
    numbers = {name: number_of(stated[name], f"{name} of {where}") for name in NUMBERS if name in stated}
    for name, values in series.items():
        if name.endswith("_kw"):
            values[(values < 0) & (values >= -NOISE_KW)] = 0.0  # a forecast's own noise
        if values.min() < (low := LOWEST.get(name, 0.0)):
            raise NoForecast(
                f"{where}: {name} is {values.min():g} at step {int(values.argmin())}, it must be at least {low:g}"
            )
        if name.endswith("_kw") and values.max() > most_kw:
            raise NoForecast(
                f"{where}: {name} is {values.max():g} at step {int(values.argmax())}, more than {most_kw:g} kW; is it "
                "in W? If it is right, raise [forecast] most_kw"
            )
    for name, number in numbers.items():
        if number < LOWEST[name]:
            raise NoForecast(f"{where}: {name} is {number:g}, it must be at least {LOWEST[name]:g}")
    return Forecast(day, series, numbers)


def told_text(
    file: str | None, command: Sequence[str] | None, names: Mapping[str, str], what: str, seconds: float
) -> tuple[str, str]:
    """What a file or a command tells, and what to call it.

    Args:
        names: what stands for what in the name of the file, or in the command.
        what: that is told, with its article.
        seconds: that a command may take.

    Raises:
        NoForecast: nothing can be read.
    """
    if file is not None:
        path = Path(_named(file, names))
        where = f"{what} '{path}'"
        try:
            return path.read_text(encoding="utf-8-sig"), where
        except FileNotFoundError:
            raise _NotYet(f"there is no {where.removeprefix('the ')} yet") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NoForecast(f"{where} cannot be read: {reason_of(error)}") from None
    assert command is not None
    command = [_named(part, names) for part in command]
    return _output(command, what.removeprefix("the "), seconds), f"{what} of '{command[0]}'"


def _named(text: str, names: Mapping[str, str]) -> str:
    for place, name in names.items():
        text = text.replace(place, name)
    return text


def _output(command: Sequence[str], what: str, seconds: float) -> str:
    """The standard output of a command, which ends with all that it started when its time is up."""
    name = command[0]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise NoForecast(
                f"the {what} command '{name}' cannot be started: {error.strerror}; correct it in household.toml"
            ) from None
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise NoForecast(f"the {what} command '{name}' did not end within {seconds:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        errors.seek(0)
        answer = output.read(MOST_BYTES + 1)
        if status != 0:
            words = errors.read(MOST_BYTES).decode(errors="replace").strip().splitlines()
            reason = f": {words[-1][:200]}" if words else ""
            raise NoForecast(f"the {what} command '{name}' ended with status {status}{reason}")
    if len(answer) > MOST_BYTES:
        raise NoForecast(f"the {what} command '{name}' wrote more than {MOST_BYTES >> 20} MB, which is no {what}")
    return answer.decode("utf-8-sig", errors="replace")


def json_object(text: str, where: str) -> dict[str, Any]:
    """An object in JSON, each of its keys once.

    Raises:
        NoForecast: it is none.
    """

    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        for twice in (key for key, times in Counter(key for key, _ in pairs).items() if times > 1):
            raise NoForecast(f"{where}: '{twice}' is given twice; give it once")
        return dict(pairs)

    try:
        values = parse_json(text, object_pairs_hook=once)
    except ValueError as error:
        raise NoForecast(f"{where} is no JSON: {error}") from None
    if not isinstance(values, dict):
        raise NoForecast(f"{where} must be an object, with names and values between braces")
    return values


def _from_json(text: str, where: str, day: str) -> dict[str, Any]:
    values = json_object(text, where)
    for key in values:
        if key not in ("day", *SERIES, *NUMBERS):
            raise NoForecast(f"{where}: '{key}' is not known; known keys: day, {', '.join((*SERIES, *NUMBERS))}")
    if values.get("day", day) != day:
        raise _NotYet(f"{where} is for {values['day']}, not for {day}")
    return {key: value for key, value in values.items() if key != "day"}


def _from_csv(text: str, where: str, day: str, steps: int, zone: ZoneInfo | None) -> dict[str, Any]:
    """Series of one day, whose rows must be the round's steps: local times, or with an offset from UTC."""
    try:
        table = list(rows_of(text, where, ("time",), SERIES))
        texts = {row.text("time"): row for row in reversed(table)}
        starts = {text: _local(moment, zone) for text, moment in moments(where, "time", texts).by_text.items()}
        of_day = [row for row in table if starts[row.text("time")].date().isoformat() == day]
        if not of_day:
            raise _NotYet(f"{where} has no rows of {day}")
        minutes = DAY_MINUTES / steps
        for step, row in enumerate(of_day):
            start = starts[row.text("time")]
            expected = datetime.combine(start.date(), clock()) + timedelta(minutes=step * minutes)
            if start != expected:
                raise row.error(
                    "time",
                    f"'{row.text('time')}' should be {expected:%H:%M} of {day}: the round's steps are of {minutes:g} "
                    "minutes from midnight, and none may be missing",
                )
        names = [name for name in table[0].cells if name != "time"]
        return {name: [row.number_in(name) for row in of_day] for name in names}
    except NoForecast:
        raise
    except InputError as error:
        raise NoForecast(str(error)) from None


def _local(moment: datetime, zone: ZoneInfo | None) -> datetime:
    """A moment by the clock of a zone, None: this machine's."""
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _series(values: Any, name: str, where: str, steps: int) -> Array:
    if not isinstance(values, list):
        raise NoForecast(f"{where}: {name} must be a list of {steps} numbers")
    if len(values) != steps:
        raise NoForecast(f"{where} has {len(values)} values of {name}, the round has {steps} steps")
    if not name.endswith("plugged_in") and (truths := [k for k, value in enumerate(values) if isinstance(value, bool)]):
        raise NoForecast(f"{name} of {where} at step {truths[0]} is {values[truths[0]]}, which is no number")
    return np.array([number_of(value, f"{name} of {where} at step {step}") for step, value in enumerate(values)])


def number_of(value: Any, what: str) -> float:
    """A number that was told.

    Args:
        what: it is, for complaints.

    Raises:
        NoForecast: it is none, or not finite.
    """
    try:
        number = float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        raise NoForecast(f"{what} is {str(value)[:40]!r}, which is no number") from None
    if not math.isfinite(number):
        raise NoForecast(f"{what} is {'missing' if value is None else value}, which is no finite number")
    return number
