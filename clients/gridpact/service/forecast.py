"""Tomorrow's forecast, from a file or a command that the household names, checked before anything is planned with it.

JSON, or CSV with a header; a file or an output that begins with `{` is JSON.

`day` (JSON) or `time` (CSV, the start of each step, of several days), `load_kw`, `import_price` where the tariff comes
from the forecast, and what the registry of devices has as `told`; docs/node.md has the table.
"""

from __future__ import annotations

import csv
import json
import math
import os
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array
from gridpact.devices.registry import DEVICES
from gridpact.errors import InputError
from gridpact.service.settings import DAY, ForecastSettings

TOLD = tuple(told for device in DEVICES for told in device.told)
SERIES = ("load_kw", "import_price", *(told.key for told in TOLD if told.is_series))
NUMBERS = tuple(told.key for told in TOLD if not told.is_series)
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
            return parse_forecast(*_read(settings, day, max(left, 0.1)), day, steps)
        except _NotYet as error:
            if left <= LOOK_SECONDS or stop.is_set():
                raise NoForecast(f"{error}, and the round does not wait longer than {seconds:.0f} s") from None
            stop.wait(LOOK_SECONDS)


def parse_forecast(text: str, where: str, day: str, steps: int) -> Forecast:
    """Checks a forecast that was read.

    Args:
        where: what it was read from, for complaints.

    Raises:
        NoForecast: as `take_forecast`.
    """
    found = _from_json(text, where, day) if text.lstrip().startswith("{") else _from_csv(text, where, day)
    if "load_kw" not in found:
        raise NoForecast(f"{where} has no load_kw: give one value a step")
    series = {name: _series(found[name], name, where, steps) for name in SERIES if name in found}
    numbers = {name: _number(found[name], f"{name} of {where}") for name in NUMBERS if name in found}
    for name, values in series.items():
        if name != "import_price" and values.min() < 0:
            raise NoForecast(
                f"{where}: {name} is {values.min():g} at step {int(values.argmin())}, it must be at least 0"
            )
    for name, number in numbers.items():
        if number < 0:
            raise NoForecast(f"{where}: {name} is {number:g}, it must be at least 0")
    return Forecast(day, series, numbers)


def _read(settings: ForecastSettings, day: str, seconds: float) -> tuple[str, str]:
    """The text of a forecast, and what to call it."""
    if settings.file is not None:
        path = Path(settings.file.replace(DAY, day))
        where = f"the forecast '{path}'"
        try:
            return path.read_text(encoding="utf-8"), where
        except FileNotFoundError:
            raise _NotYet(f"there is no {where.removeprefix('the ')} yet") from None
        except (OSError, UnicodeDecodeError) as error:
            raise NoForecast(f"{where} cannot be read: {error}") from None
    assert settings.command is not None
    command = [part.replace(DAY, day) for part in settings.command]
    return _output(command, seconds), f"the forecast of '{command[0]}'"


def _output(command: Sequence[str], seconds: float) -> str:
    """The standard output of a command, which ends with all that it started when its time is up."""
    name = command[0]
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        try:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, start_new_session=True
            )
        except OSError as error:
            raise NoForecast(
                f"the forecast command '{name}' cannot be started: {error.strerror}; correct [forecast] command"
            ) from None
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise NoForecast(f"the forecast command '{name}' did not end within {seconds:.0f} s") from None
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        output.seek(0)
        errors.seek(0)
        said = output.read(MOST_BYTES + 1)
        if status != 0:
            words = errors.read(MOST_BYTES).decode(errors="replace").strip().splitlines()
            told = f": {words[-1][:200]}" if words else ""
            raise NoForecast(f"the forecast command '{name}' ended with status {status}{told}")
    if len(said) > MOST_BYTES:
        raise NoForecast(f"the forecast command '{name}' wrote more than {MOST_BYTES >> 20} MB, which is no forecast")
    return said.decode(errors="replace")


def _from_json(text: str, where: str, day: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except ValueError as error:
        raise NoForecast(f"{where} is no JSON: {error}") from None
    for key in found:
        if key not in ("day", *SERIES, *NUMBERS):
            raise NoForecast(f"{where}: '{key}' is not known; known keys: day, {', '.join((*SERIES, *NUMBERS))}")
    if found.get("day", day) != day:
        raise _NotYet(f"{where} is for {found['day']}, not for {day}")
    return {key: value for key, value in found.items() if key != "day"}


def _from_csv(text: str, where: str, day: str) -> dict[str, Any]:
    try:
        lines = [row for row in csv.reader(text.splitlines()) if any(cell.strip() for cell in row)]
    except csv.Error as error:
        raise NoForecast(f"{where} is no CSV: {error}") from None
    if not lines:
        raise NoForecast(f"{where} is empty: give a header and one row a step")
    header = [name.strip() for name in lines[0]]
    for name in header:
        if name not in ("time", *SERIES) or header.count(name) > 1:
            known = ", ".join(("time", *SERIES))
            raise NoForecast(f"{where}: column '{name}' is not known or stands there twice; known columns: {known}")
    if "time" not in header:
        raise NoForecast(f"{where} has no column 'time': give the start of each step, as '{day} 14:00'")
    for number, row in enumerate(lines[1:], start=2):
        if len(row) != len(header):
            raise NoForecast(f"{where}, row {number}: has {len(row)} cells, the header has {len(header)}")
    at = header.index("time")
    of_day = [row for row in lines[1:] if row[at].strip()[:10] == day]
    if not of_day:
        raise _NotYet(f"{where} has no rows of {day}")
    times = [row[at].strip()[10:].lstrip(" T") for row in of_day]
    if times != sorted(set(times)):
        raise NoForecast(f"{where}: the times of {day} do not ascend; sort the rows by time, none twice")
    return {name: [row[k] for row in of_day] for k, name in enumerate(header) if name != "time"}


def _series(values: Any, name: str, where: str, steps: int) -> Array:
    if not isinstance(values, list):
        raise NoForecast(f"{where}: {name} must be a list of {steps} numbers")
    if len(values) != steps:
        raise NoForecast(f"{where} has {len(values)} values of {name}, the round has {steps} steps")
    return np.array([_number(value, f"{name} of {where} at step {step}") for step, value in enumerate(values)])


def _number(value: Any, what: str) -> float:
    try:
        number = float("nan") if value is None else float(value)
    except (TypeError, ValueError):
        raise NoForecast(f"{what} is {str(value)[:40]!r}, which is no number") from None
    if not math.isfinite(number):
        raise NoForecast(f"{what} is {'missing' if value is None else value}, which is no finite number")
    return number
