"""Reading CSV tables so that every complaint names file, row and column."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.community.model import Array
from gridpact.errors import InputError

DAY_AND_CLOCK = re.compile(r"(?P<day>.*\S)(\s+|T)(?P<clock>\d{1,2}:\d{2})$")


@dataclass(frozen=True)
class Row:
    """One row of a table, with its place for error messages."""

    file: str
    number: int  # as an editor counts, the header is 1
    cells: dict[str, str]

    def error(self, column: str, complaint: str) -> InputError:
        return InputError(f"{self.file}, row {self.number}, column '{column}': {complaint}")

    def text(self, column: str) -> str:
        value = self.cells[column].strip()
        if not value:
            raise self.error(column, "is empty; give a value")
        return value

    def number_in(
        self, column: str, low: float = -math.inf, high: float = math.inf, default: float | None = None
    ) -> float:
        """A finite number between low and high; `default` where the cell is empty or the column missing."""
        cell = self.cells.get(column, "").strip()
        if not cell:
            if default is None:
                raise self.error(column, "is empty; give a number")
            return default
        try:
            value = float(cell)
        except ValueError:
            raise self.error(column, f"'{cell}' is not a number") from None
        if not math.isfinite(value):
            raise self.error(column, f"'{cell}' is not a finite number; every step needs a value")
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == math.inf else f"between {low:g} and {high:g}"
            raise self.error(column, f"{value:g} must be {bounds}")
        return value

    def integer(self, column: str, low: int, high: int) -> int:
        value = self.number_in(column, low, high)
        if value != int(value):
            raise self.error(column, f"{value:g} is not a whole number")
        return int(value)


def rows(path: Path, required: Sequence[str], optional: Sequence[str] | None = ()) -> Iterator[Row]:
    """The rows of a CSV file with a header.

    Args:
        required: columns that must be there.
        optional: columns that may be there; None: any.

    Raises:
        InputError: the file is missing or not text, a column is missing, unknown or twice, a row is too short or long.
    """
    lines = _cells(path)
    if not lines:
        raise InputError(f"{path.name} is empty; its first row must name the columns, among them {', '.join(required)}")
    header = [name.strip() for name in lines[0]]
    for column in required:
        if column not in header:
            raise InputError(f"{path.name}: column '{column}' is missing; the header has: {', '.join(header)}")
    for column in header:
        if header.count(column) > 1:
            raise InputError(f"{path.name}: column '{column}' stands twice in the header; remove one")
        if optional is not None and column not in (*required, *optional):
            known = ", ".join((*required, *optional))
            raise InputError(f"{path.name}: column '{column}' is not known; known columns: {known}")
    if not any(cell.strip() for cells in lines[1:] for cell in cells):
        raise InputError(f"{path.name} has a header but no rows")
    yield from _rows(path.name, 1, header, lines)


def rows_below(path: Path, first: int, header: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file whose header was looked at before.

    Args:
        first: row in which the header stands, counted from 1.
        header: what the columns are called here.

    Raises:
        InputError: the file is missing or not text, has no rows, or a row is too short or long.
    """
    lines = _cells(path)
    if not any(cell.strip() for cells in lines[first:] for cell in cells):
        raise InputError(f"{path.name} has a header but no rows")
    yield from _rows(path.name, first, header, lines)


def _rows(file: str, first: int, header: Sequence[str], lines: Sequence[Sequence[str]]) -> Iterator[Row]:
    for number, cells in enumerate(lines[first:], start=first + 1):
        if not any(cell.strip() for cell in cells):
            continue
        if len(cells) != len(header):
            hint = (
                "; if its decimals are commas, columns need semicolons between them" if len(cells) > len(header) else ""
            )
            raise InputError(f"{file}, row {number}: has {len(cells)} cells, the header has {len(header)}{hint}")
        yield Row(file, number, dict(zip(header, cells, strict=True)))


def _cells(path: Path) -> list[list[str]]:
    """All rows. A table with semicolons, as spreadsheets write it where the comma is the decimal sign, is read so."""
    lines = text_of(path).splitlines()
    semicolons = bool(lines) and ";" in lines[0] and "," not in lines[0]
    try:
        cells = list(csv.reader(lines, delimiter=";" if semicolons else ","))
    except csv.Error as error:
        raise InputError(f"{path.name} is no CSV table: {error}; look for an open quotation mark") from None
    return [[cell.replace(",", ".") for cell in row] for row in cells] if semicolons else cells


def text_of(path: Path) -> str:
    """A file's text.

    Raises:
        InputError: it is missing, or not text.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise InputError(f"the file '{path}' does not exist; correct its name") from None
    except OSError as error:
        raise InputError(f"the file '{path}' cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise InputError(f"the file '{path}' is no text in UTF-8; save it as such") from None


@dataclass(frozen=True)
class Profile:
    """Time series of one file: columns of values by day."""

    file: str
    times: dict[str, tuple[str, ...]]  # day -> (T,) "HH:MM"
    values: dict[str, dict[str, Array]]  # day -> column -> (T,)


def profile(path: Path, columns: Sequence[str] | None, step_minutes: int, low: float) -> Profile:
    """Reads time series: a column 'time' ("<day> HH:MM", the start of the step) and one column a series.

    Args:
        columns: the series that must be there, exactly; None: at least one, any names.
        low: smallest value allowed.

    Raises:
        InputError: besides what `rows` raises, a time that is not the next step of its day, a value that is not a
            finite number of at least `low`, or a day without a full number of steps.
    """
    times: dict[str, list[str]] = {}
    values: dict[str, dict[str, list[float]]] = {}
    last_day = None
    for row in rows(path, ("time", *(columns or ())), () if columns is not None else None):
        time = DAY_AND_CLOCK.match(row.text("time"))
        day, clock = (time["day"], time["clock"]) if time else ("", "")
        if minutes(clock) is None:
            raise row.error("time", f"'{row.text('time')}' is not '<day> HH:MM', for example '2018-06-21 14:00'")
        if day != last_day and day in times:
            raise row.error("time", f"day {day} goes on here after another day; sort the rows by time")
        last_day = day
        expected = len(times.setdefault(day, [])) * step_minutes
        if minutes(clock) != expected:
            raise row.error(
                "time",
                f"'{clock}' should be {expected // 60:02d}:{expected % 60:02d}: steps are {step_minutes} minutes"
                " long, start at 00:00, and none may be missing",
            )
        times[day].append(clock)
        for column in row.cells:
            if column != "time":
                series = values.setdefault(day, {}).setdefault(column, [])
                series.append(row.number_in(column, low=low))
    whole = 24 * 60 // step_minutes
    for day, clocks in times.items():
        if len(clocks) != whole:
            raise InputError(
                f"{path.name}, day {day}: has {len(clocks)} steps, must have {whole} of {step_minutes} minutes"
            )
    return Profile(
        path.name,
        {day: tuple(clocks) for day, clocks in times.items()},
        {day: {name: np.array(series) for name, series in columns.items()} for day, columns in values.items()},
    )


def minutes(clock: str) -> int | None:
    """Minutes since midnight of "HH:MM", None where it is not one."""
    hour, _, minute = clock.partition(":")
    if not (hour.isdecimal() and minute.isdecimal() and len(minute) == 2):
        return None
    total = int(hour) * 60 + int(minute)
    return total if int(minute) < 60 and total <= 24 * 60 else None
