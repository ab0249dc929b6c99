"""Meter readings as people have them: one file or several, a column for each household or a row for each reading.

What each column is, is told by its name (`columns.py`); what was taken for what is said, with the unit and the size of
the values, and what could be two things is asked. From here on a reading is one value of one quantity of one household.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from gridpact.community import columns
from gridpact.community.columns import QUANTITIES, UNITS, WRITTEN, TableColumn, TimeColumns
from gridpact.community.meters import (
    Gaps,
    Meter,
    MeterData,
    Readings,
    Scale,
    check_power,
    no_such_household,
    resample,
    rounded_up,
    united,
)
from gridpact.community.model import Array
from gridpact.community.numerals import value_of
from gridpact.community.tables import Row, Table, foreign_table
from gridpact.community.times import DateOrder, moments
from gridpact.errors import InputError

__all__ = ["UNITS", "HowToRead", "local", "moments_of", "read_readings", "time_zone"]

METER_TOLERANCE_KW = 0.1
"""By how much pv - export + import may lie below zero: two meters round, and do not tick together."""

NEAR_SECONDS = 2
"""So far beside a whole minute a time may be."""

TIME_FORM_CELL = re.compile(r"[dDmMyYjJtThHuUsS:./ -]+|time|datetime|timestamp|date", re.IGNORECASE)
"""dd.MM.yyyy HH:mm: how a time is written, in a row of units."""

MIDNIGHT = re.compile(r"[ T]0?0:00(:00(\.0+)?)?$")
ASSUMED_UNIT = "kwh"

BESIDE_NUMBER = re.compile(r"[^\w.,\s+-]?\s*[+-]?[0-9][0-9.,]*\s*[^0-9\s:/-]{1,4}|[^\w.,\s+-]\s*[+-]?[0-9][0-9.,]*")
"""0.25 kWh, 0.25*, ~0.25: a number, and not a date, a clock or a word of a sentence."""


@dataclass(frozen=True)
class HowToRead:
    """What a file of readings does not say itself."""

    unit: str | None = None  # of columns that do not name theirs; None: kWh is assumed, and said
    times_are_ends: bool = False  # of the steps; else their starts
    zone: ZoneInfo | None = None  # of the place
    gaps: Gaps = Gaps.REFUSE
    are_counters: bool = False  # so that what was used is the difference of two readings
    dates: DateOrder | None = None  # None: as the file shows
    decimal: str | None = None  # "." or ","; None: as the file shows
    step_minutes: int | None = None  # to which readings of different steps are brought
    time_column: str | None = None
    date_column: str | None = None
    value_column: str | None = None
    household: str | None = None  # whose readings a file of one household holds; None: as the file is called
    ignored: tuple[str, ...] = ()  # columns that are not looked at
    accepted: frozenset[str] = frozenset()  # what is doubtful, and nevertheless so


def time_zone(name: str) -> ZoneInfo:
    """A zone by its name.

    Raises:
        InputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone '{name}'; an example of one is Europe/Amsterdam") from None


@dataclass
class _Series:
    """All readings of one quantity of one household, from one file or several."""

    household: str
    quantity: str
    unit: str
    file: str
    column: str
    moments: list[datetime] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)  # file and row
    values: list[float] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  # the register that each is of


@dataclass
class _Files:
    """What was read so far."""

    how: HowToRead
    only: Sequence[str] = ()
    names: dict[str, str] = field(default_factory=dict)  # all households that have a place in a file, and that file
    series: dict[tuple[str, str], _Series] = field(default_factory=dict)  # by household and quantity
    remarks: list[str] = field(default_factory=list)
    read: list[_Seen] = field(default_factory=list)


@dataclass
class _Seen:
    """What one file was taken for."""

    file: str
    taken: str  # in words, empty where the columns are named as documented
    assumed_unit: bool = False
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # by quantity and unit
    households: set[str] = field(default_factory=set)
    step_minutes: int = 0


def read_readings(
    paths: Path | Sequence[Path], how: HowToRead, pv: Path | None = None, households: Sequence[str] = ()
) -> MeterData:
    """Reads meter readings.

    With a column of households, or one of values, a file has a row for each reading; otherwise every column but the
    time is a household's. Several files are joined by time and household; a file of one household that it does not name
    is that of a household that is called as the file.

    Args:
        pv: a file with PV output, in columns that are named after the households.
        households: to read, in this order; none: all.

    Raises:
        InputError: says what is wrong in which file and row, or what is to be told.
    """
    if how.unit is not None and how.unit not in UNITS:
        raise InputError(f"there is no unit '{how.unit}'; choose one of {', '.join(UNITS)}")
    files = _Files(how, households)
    for path in [paths] if isinstance(paths, Path) else paths:
        _read(files, path, is_pv=False)
    for name in households:
        if name not in files.names:
            raise no_such_household(name, list(files.names))
    if pv is not None:
        _read(files, pv, is_pv=True)
    data = _meters(files)
    return data.only(households) if households else data


# ---------------------------------------------------------------------- one file


def _read(files: _Files, path: Path, is_pv: bool) -> None:
    """Adds the readings of a file to those that are there."""
    how = files.how

    is_told = (how.time_column or how.date_column) is not None

    def header_of(cells: Sequence[str]) -> Sequence[str] | None:
        if not columns.time_columns(cells, how.time_column, how.date_column):
            return None
        # what stands above row names is often empty: here numbers beside the times, below the times themselves
        return ["index", *cells[1:]] if not is_told and not cells[0] and all(cells[1:]) else cells

    def nameless_header_of(cells: Sequence[str]) -> Sequence[str] | None:
        return ["time", *cells[1:]] if not is_told and len(cells) > 1 and not cells[0] and all(cells[1:]) else None

    table = _without_sums(foreign_table(path, (header_of, nameless_header_of), how.decimal, _units_below), how)
    files.remarks += table.remarks
    for name in how.ignored:
        if name not in table.header and len(how.ignored) == 1:
            raise InputError(f"{path.name} has no column '{name}' that --ignore could leave out")
    times = columns.time_columns(table.header, how.time_column, how.date_column)
    if not isinstance(times, TimeColumns):
        raise InputError(f"{path.name} has times in {_list(times)}; say which to take with --time-column")
    starts, remarks = moments_of(table, times, how)
    files.remarks += remarks
    left = [name for name in table.header if name not in (*times.all, *how.ignored)]
    if not left:
        raise InputError(f"{path.name} has the column '{times.day}' only; give a column for each household")
    layout = _layout(files, path, table, left, is_pv)
    seen = _Seen(path.name, layout.taken)
    files.read.append(seen)
    for row, moment in zip(table.rows, starts, strict=True):
        for column, part, unit in layout.of_row(row):
            if not is_pv:
                files.names.setdefault(column.household, path.name)
            elif column.household not in files.names:
                raise InputError(
                    f"{path.name}: '{column.household}' has PV output, but no column in {files.read[0].file}"
                )
            if not row.is_gap(column.name) and (not files.only or column.household in files.only):
                _add(files, seen, row, moment, column, part, unit)


def _units_below(cells: Sequence[str]) -> Sequence[str] | None:
    """What stands behind names in a second row of the header: units of columns, as [Wh]; None where it is none."""
    inner = [re.sub(r"^[(\[](.*)[)\]]$", r"\1", cell.strip()).strip() for cell in cells]
    units = [one if one.lower() in UNITS or columns.has_other_unit(f"({one})") else "" for one in inner]
    forms = [not one or unit or TIME_FORM_CELL.fullmatch(one) for one, unit in zip(inner, units, strict=True)]
    return units if all(forms) and any(one.lower() in UNITS for one in units) else None


def _without_sums(table: Table, how: HowToRead) -> Table:
    """A table without the last rows that add up what stands above, where the time says so."""
    times = columns.time_columns(table.header, how.time_column, how.date_column)
    if not isinstance(times, TimeColumns):
        return table
    count = len(table.rows)
    while count > 1 and columns.is_sum(table.rows[count - 1].cells[times.day]):
        count -= 1
    if count == len(table.rows):
        return table
    said = f"Row {table.rows[count].number} of {table.file} and what is below adds up what is above, and was left out."
    return replace(table, rows=table.rows[:count], remarks=(*table.remarks, said))


def _add(
    files: _Files, seen: _Seen, row: Row, moment: datetime, column: TableColumn, part: str, unit: str | None
) -> None:
    how = files.how
    unit = unit or column.unit or how.unit
    if unit is None:
        unit, seen.assumed_unit = ASSUMED_UNIT, True
    key = column.household, column.quantity
    series = files.series.get(key)
    if series is None:
        series = files.series[key] = _Series(*key, unit, row.file, column.name)
    if unit != series.unit:
        raise row.error(
            column.name,
            f"is in {WRITTEN[unit]}, '{series.household}' was in {WRITTEN[series.unit]} before; give one unit",
        )
    value = row.number_in(column.name)
    series.moments.append(moment)
    series.places.append((row.file, row.number))
    series.values.append(value)
    series.parts.append(part)
    seen.values.setdefault((column.quantity, unit), []).append(value)
    seen.households.add(column.household)


def moments_of(table: Table, times: TimeColumns, how: HowToRead) -> tuple[list[datetime], tuple[str, ...]]:
    """The time of each row, with its offset from UTC if the file has them.

    Raises:
        InputError: a time is none, or has an offset where the zone is not known.
    """
    texts = [_time_text(row, times) for row in table.rows]
    places: dict[str, Row] = {}
    for row, text in zip(table.rows, texts, strict=True):
        places.setdefault(text, row)
    read = moments(table.file, times.day, places, how.dates)
    by_text = dict(read.by_text)
    first, rounded = next(iter(by_text.values())), False
    for text, moment in by_text.items():
        row = places[text]
        if moment.second or moment.microsecond:
            whole = _whole_minute(moment)
            if whole is None:
                raise row.error(
                    times.day, f"'{text}' is not a whole minute; give a mean or state of every hour or quarter"
                )
            by_text[text] = moment = whole
            rounded = True
        if times.are_utc and moment.tzinfo is None:
            by_text[text] = moment = moment.replace(tzinfo=timezone.utc)
        if moment.tzinfo is not None and how.zone is None:
            raise row.error(times.day, f"'{text}' has an offset from UTC; give the place's time zone, for Dutch homes "
                                       "--timezone Europe/Amsterdam")  # fmt: skip
        if (moment.tzinfo is None) != (first.tzinfo is None) and not times.are_utc:
            raise row.error(times.day, "some times have an offset from UTC, others not; write all alike")
    if read.has_hour_24 and not (how.times_are_ends or how.are_counters or times.are_ends):
        text = next(text for text in by_text if "24:" in text)
        raise places[text].error(times.day, f"'{text}' is the end of a step: say --times end, if all times are")
    remarks = list(read.remarks)
    if rounded:
        remarks.append(f"Times in {table.file} up to {NEAR_SECONDS} s beside a minute were taken for that minute.")
    if times.are_ends and not how.times_are_ends:
        raise InputError(f"{table.file}: '{times.day}' names the ends of steps; say --times end")
    return [by_text[text] for text in texts], tuple(remarks)


def _whole_minute(moment: datetime) -> datetime | None:
    """The whole minute that a time is next to, None where it is beside all: clocks of loggers tick a little apart."""
    near = timedelta(seconds=NEAR_SECONDS)
    whole = (moment + near).replace(second=0, microsecond=0)
    return whole if abs(moment - whole) <= near else None


def _time_text(row: Row, times: TimeColumns) -> str:
    text = row.text(times.day)
    return text if times.clock is None else f"{MIDNIGHT.sub('', text)} {row.text(times.clock)}"


# ---------------------------------------------------------------------- what the columns of a file are


@dataclass(frozen=True)
class _Layout:
    """How readings are found in a row."""

    taken: str
    fixed: tuple[TableColumn, ...]
    key: str | None = None  # the column of households
    register: str | None = None
    unit: str | None = None
    by_register: Mapping[str, str] = field(default_factory=dict)  # quantity, empty: not looked at

    def of_row(self, row: Row) -> Iterator[tuple[TableColumn, str, str | None]]:
        """Columns with readings, the register of each, and its unit where a column tells it."""
        for column in self.fixed:
            quantity, register = column.quantity, column.name if columns.is_tariff(column.name) else ""
            unit = None
            if self.register is not None:
                register = row.text(self.register)
                quantity = self.by_register[register]
                if not quantity:
                    continue
                unit = columns.unit_behind(register)[1]
            if self.unit is not None and not row.is_gap(column.name):
                unit = row.text(self.unit).lower()
                if unit not in UNITS:
                    raise row.error(self.unit, f"'{row.text(self.unit)}' is no unit of {', '.join(WRITTEN.values())}")
            household = column.household if self.key is None else row.text(self.key)
            yield TableColumn(column.name, household, quantity, column.unit), register, unit


def _layout(files: _Files, path: Path, table: Table, left: Sequence[str], is_pv: bool) -> _Layout:
    how = files.how
    texts = [name for name in left if columns.quantity_of(name) is None and _is_text(table, name)]
    for name in texts:
        _check_text(table, name)
    texts += [name for name in left if name not in texts and name not in files.only and columns.has_other_unit(name)]
    numbers = [name for name in left if name not in texts]
    if not numbers:
        raise InputError(f"{path.name} has no column with numbers beside its times; its columns are {_list(left)}")
    filled = [name for name in numbers if not all(row.is_gap(name) for row in table.rows)]
    if how.value_column is not None:
        if how.value_column not in left:
            raise InputError(f"{path.name} has no column '{how.value_column}'; it has {_list(left)}")
        quantity = columns.quantity_of(how.value_column)
        return _rows_of_readings(files, path, table, left, {how.value_column: quantity or ("load", None)}, is_pv)
    named = {name: of for name in numbers if (of := columns.quantity_of(name)) and name not in files.only}
    facts = columns.role(left, columns.HOUSEHOLDS | columns.REGISTERS | columns.UNIT_COLUMNS)
    others = [name for name in filled if name not in named and name not in facts]
    if "household" in left:
        if others:
            raise InputError(
                f"{path.name}: column '{others[0]}' is not known; besides time and household there are "
                f"{', '.join(QUANTITIES)}, each with its unit, for example import_kwh; units are {', '.join(UNITS)}"
            )
        return _rows_of_readings(files, path, table, left, named, is_pv)
    if named and not others:
        return _rows_of_readings(files, path, table, left, named, is_pv)
    if named:
        raise InputError(
            f"{path.name}: '{next(iter(named))}' is named like a quantity, {_list(others[:3])} like a household: "
            "say which column has the readings of one household with --value-column, which are households with --only, "
            "or what to leave out with --ignore"
        )
    return _columns_of_households(files, path, table, numbers, texts, is_pv)


def _is_text(table: Table, name: str) -> bool:
    """Whether a column has texts and no number at all."""
    cells = [row.cells[name].strip() for row in table.rows if not row.is_gap(name)]
    return bool(cells) and all(value_of(cell, ".") is None and value_of(cell, ",") is None for cell in cells)


def _check_text(table: Table, name: str) -> None:
    """
    Raises:
        InputError: all texts of a column are numbers with something behind them, as 0.25 kWh: readings, perhaps.
    """
    rows = [row for row in table.rows if not row.is_gap(name)]
    if all(BESIDE_NUMBER.fullmatch(row.cells[name].strip()) for row in rows):
        raise rows[0].error(
            name,
            f"'{rows[0].cells[name].strip()}' is a number with something beside it; write the number only and the unit "
            f'into the header, or leave the column out with --ignore "{name}"',
        )


def _columns_of_households(
    files: _Files, path: Path, table: Table, numbers: Sequence[str], texts: Sequence[str], is_pv: bool
) -> _Layout:
    how, only = files.how, files.only
    if how.household is not None:
        if len(numbers) != 1:
            raise InputError(f"{path.name} has columns {_list(numbers)}, so --household cannot say whose all of it is")
        given = [TableColumn(numbers[0], how.household, "pv" if is_pv else "load", columns.unit_behind(numbers[0])[1])]
    else:
        given = [_column(name, only) for name in numbers]
    if is_pv:
        given = [
            replace(one, household=one.household if one.quantity == "pv" else one.name, quantity="pv") for one in given
        ]
    if only:
        if not is_pv:
            files.names.update({one.household: path.name for one in given if one.household not in files.names})
        given = [one for one in given if one.household in only]
    for one in given:
        _check_unit(path, how, one)
        if one.household not in only and one.name not in only and how.household is None and not is_pv:
            _check_household(path, one, given)
    keys = [(one.household, one.quantity) for one in given]
    for one in given:
        if keys.count((one.household, one.quantity)) > 1:
            alike = [other.name for other, key in zip(given, keys, strict=True) if key == (one.household, one.quantity)]
            raise InputError(
                f"{path.name}: columns {_list(alike)} are all {one.quantity} of '{one.household}'; leave out all but "
                "one with --ignore"
            )
    renamed = {one.name: _words(one) for one in given if one.name != one.household and not is_pv}
    taken = [columns.listed_columns(renamed)] if renamed else []
    if texts:
        taken.append(f"not looked at: {_list(texts)}")
    return _Layout("; ".join(taken), tuple(given))


def _column(name: str, only: Sequence[str]) -> TableColumn:
    return TableColumn(name, name, "load", None) if name in only else columns.household_column(name)


def _words(column: TableColumn) -> str:
    what = {"pv": "PV output", "load": "load"}.get(column.quantity, column.quantity)
    return f"{what} of '{column.household}'" + (f" in {WRITTEN[column.unit]}" if column.unit else "")


def _check_household(path: Path, column: TableColumn, given: Sequence[TableColumn]) -> None:
    """
    Raises:
        InputError: a column is perhaps not what it is taken for.
    """
    how = f'leave it out with --ignore "{column.name}", or name the households with --only'
    if columns.is_no_household(column.household):
        raise InputError(f"{path.name}: column '{column.name}' looks like that of no household; {how}")
    consumers = {one.household for one in given if one.quantity in ("load", "import")}
    if column.quantity not in ("load", "import") and column.household not in consumers:
        raise InputError(
            f"{path.name}: column '{column.name}' looks like {column.quantity} of '{column.household}', which has no "
            f"load there; {how}"
        )
    if column.quantity == "load" and columns.is_hardly_used(column.household):
        raise InputError(
            f"{path.name}: column '{column.name}' is hardly what a household uses; call it pv, import or export with "
            f"its unit if the file is of one household; {how}"
        )
    for one in given:
        rest = column.household.removeprefix(one.household)
        if one.household != column.household and rest != column.household and re.match(r"[\s_.-]+[^\W\d]{2}", rest):
            raise InputError(
                f"{path.name}: column '{column.name}' looks like a part of '{one.household}', not a household; {how}"
            )


def _rows_of_readings(
    files: _Files,
    path: Path,
    table: Table,
    left: Sequence[str],
    named: Mapping[str, tuple[str, str | None]],
    is_pv: bool,
) -> _Layout:
    """A row for each reading, or for those of one household at one time."""
    how = files.how
    if is_pv:
        raise InputError(
            f"{path.name} has a row for each reading: give its PV output there, as pv_kwh, not by --pv, for which each "
            "household needs a column"
        )
    if {"load", "pv", "import"} <= {quantity for quantity, _ in named.values()}:  # what the first two tell suffices
        named = {name: of for name, of in named.items() if of[0] in ("load", "pv")}
    quantities = [quantity for quantity, _ in named.values()]
    perhaps = columns.role(left, columns.PERHAPS_REGISTERS)
    registers = columns.role(left, columns.REGISTERS)
    registers += [name for name in perhaps if columns.register_quantity(table.rows[0].cells[name])]
    register = registers[0] if registers and len(named) == 1 else None
    unit = next(iter(columns.role(left, columns.UNIT_COLUMNS)), None)
    for quantity in quantities:
        alike = [name for name, (other, _) in named.items() if other == quantity]
        if len(alike) > 1 and not all(map(columns.is_tariff, alike)):
            raise InputError(
                f"{path.name}: '{quantity}' stands in two columns, {_list(alike)}; remove one, or name the one to take "
                "with --value-column"
            )
    if "load" in quantities and "import" in quantities:
        raise InputError(f"{path.name}: has load and import; give load and pv, or import, export and pv")
    if not {"load", "import"} & set(quantities) and register is None:
        raise InputError(f"{path.name}: there is no load and no import; give load_kwh, or import_kwh and export_kwh")
    key, name = _household_of(files, path, table, left)
    given = [TableColumn(column, name, quantity, of) for column, (quantity, of) in named.items()]
    for one in given:
        _check_unit(path, how, one)
    by_register, words = _registers(path, table, register) if register is not None else ({}, {})
    taken = [columns.listed_columns({one.name: _words(one) if key is None else one.quantity for one in given})]
    documented = all(re.fullmatch(rf"({'|'.join(QUANTITIES)})_({'|'.join(UNITS)})", one.name.lower()) for one in given)
    if documented and key == "household":
        taken = []
    if words:
        taken.append(columns.listed_columns(words))
    rest = [one for one in left if one not in named and one not in (key, register, unit)]
    if rest:
        taken.append(f"not looked at: {_list(rest)}")
    return _Layout("; ".join(taken), tuple(given), key, register, unit, by_register)


def _household_of(files: _Files, path: Path, table: Table, left: Sequence[str]) -> tuple[str | None, str]:
    """The column that names households, if there is one; else the name of the file's one household."""
    how = files.how
    for column in columns.role(left, columns.HOUSEHOLDS):
        several = len({row.cells[column] for row in table.rows}) > 1
        if several and how.household is not None:
            raise InputError(f"{path.name} has several in its column '{column}', so leave out --household")
        if several or (column == "household" and how.household is None):
            return column, ""
    return None, how.household or path.stem


def _registers(path: Path, table: Table, column: str) -> tuple[dict[str, str], dict[str, str]]:
    """Register -> quantity, empty where it is not looked at; the same in words."""
    quantities: dict[str, str] = {}
    words: dict[str, str] = {}
    for row in table.rows:
        name = row.text(column)
        if name not in quantities:
            quantity = columns.register_quantity(name)
            if quantity is None:
                raise row.error(
                    column, f"'{name}' is not known: neither import nor export nor production; leave its rows out"
                )
            quantities[name] = "" if quantity == "reactive" else quantity
            words[name] = "nothing (reactive energy)" if quantity == "reactive" else quantity
    if not {"import", "load"} & set(quantities.values()):
        raise InputError(f"{path.name}: there is no load and no import among its registers {_list(list(quantities))}")
    return quantities, words


def _check_unit(path: Path, how: HowToRead, column: TableColumn) -> None:
    if column.unit is not None and how.unit is not None and column.unit != how.unit:
        raise InputError(
            f"{path.name}: column '{column.name}' is in {WRITTEN[column.unit]} by its name, --unit says "
            f"{WRITTEN[how.unit]}; leave out --unit, or correct the name"
        )


def _list(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


# ---------------------------------------------------------------------- from readings to meters


def _meters(files: _Files) -> MeterData:
    how, remarks = files.how, files.remarks
    power: dict[str, dict[str, tuple[_Series, int, dict[str, Array]]]] = {}  # household -> quantity -> step, day -> kW
    for (name, quantity), series in files.series.items():
        step, by_day = _by_day(series, how, remarks)
        power.setdefault(name, {})[quantity] = series, step, by_day
        for seen in files.read:
            seen.step_minutes = step if seen.file == series.file and not seen.step_minutes else seen.step_minutes
    step = _common_step(power, how, remarks)
    for name, file in files.names.items():
        if name not in power and (not files.only or name in files.only):
            raise InputError(f"{file}: '{name}' has neither load nor import in any row")
    meters = []
    for name, of in power.items():
        days = _common_days(name, of)
        kw = {day: {q: resample(by_day[day], own, step) for q, (_, own, by_day) in of.items()} for day in days}
        file = next(iter(of.values()))[0].file
        if {"load", "import"} <= set(of):
            raise InputError(f"{file}: '{name}' has load and import; give load and pv, or import, export and pv")
        if not {"load", "import"} & set(of):
            raise InputError(f"{file}: '{name}' has neither load nor import in any row")
        if {"load", "export"} <= set(of) and "pv" not in of and any(of_day["export"].any() for of_day in kw.values()):
            raise InputError(
                f"{file}: '{name}' has load and export but no PV output; if the load is what its meter took from the "
                f"grid, call '{of['load'][0].column}' import_{of['load'][0].unit}, else give its PV output, or leave "
                f'the export out with --ignore "{of["export"][0].column}"'
            )
        if {"import", "pv"} <= set(of) and "export" not in of:
            raise InputError(
                f"{file}: '{name}' has import and PV output but no export, so its own use cannot be known; "
                "give export, or load instead of import"
            )
        load = {day: _load_of(file, name, day, of_day) for day, of_day in kw.items()}
        pv = {day: _pv_of(of_day) for day, of_day in kw.items()}
        if "export" in of and "pv" not in of and "load" not in of and any(p.any() for p in pv.values()):
            remarks.append(
                f"'{name}' has no readings of its PV output: what it exported counts as PV, what it imported as load, "
                "so PV that it used itself is in neither."
            )
        if "size" not in how.accepted:
            check_power(file, name, load)
            check_power(file, name, pv)
        meters.append(_meter(name, load, pv))
    remarks += _sizes(meters)
    sentences = tuple(_said(seen, how) for seen in files.read)
    doubtful = any(seen.assumed_unit and seen.step_minutes not in (0, 60) for seen in files.read)
    return MeterData(step, tuple(meters), united(remarks), sentences, doubtful and not how.are_counters)


def _by_day(series: _Series, how: HowToRead, remarks: list[str]) -> tuple[int, dict[str, Array]]:
    """Minutes of a step, and mean powers by day, (T,)."""
    scale, is_energy = UNITS[series.unit]
    if how.are_counters and not is_energy:
        raise InputError(f"{series.file}: counters count energy, but '{series.column}' is in {WRITTEN[series.unit]}")
    moments_, places, values = _summed(series)
    if how.times_are_ends and not how.are_counters:
        distinct = sorted(set(moments_))
        step = min((later - earlier for earlier, later in pairwise(distinct)), default=timedelta())
        moments_ = [moment - step for moment in moments_]
    named = series.column == series.household
    complaint = (
        "is negative, but is the use or PV output of a household; give what a meter counts in both directions as "
        "import_kwh and export_kwh, with a row for each household and time"
        if named
        else "must be at least 0"
    )
    readings = Readings(series.file, series.household, 1, series.column, complaint)
    for moment, (file, row), value in zip(moments_, places, values, strict=True):
        readings.add(local(moment, how.zone), row, [value], file)
    step_minutes, by_day, noted = readings.by_day(
        how.gaps, how.zone, scale=Scale(scale, is_energy), are_counters=how.are_counters
    )
    remarks += noted
    return step_minutes, {day: power[0] for day, power in by_day.items()}


def _summed(series: _Series) -> tuple[list[datetime], list[tuple[str, int]], list[float]]:
    """The readings of a quantity; where several registers count it, their sums.

    Raises:
        InputError: some times have other registers than others.
    """
    registers = set(series.parts)
    if len(registers) < 2:
        return series.moments, series.places, series.values
    by_moment: dict[datetime, dict[str, int]] = {}
    for k, (moment, part) in enumerate(zip(series.moments, series.parts, strict=True)):
        before = by_moment.setdefault(moment, {}).setdefault(part, k)
        if series.values[before] != series.values[k]:
            (file, row), (_, first) = series.places[k], series.places[before]
            raise InputError(
                f"{file}, row {row}: '{part}' has a second reading at {moment}, the first is in row {first}"
            )
    counts = {len(parts) for parts in by_moment.values()}
    if counts not in ({1}, {len(registers)}):
        few = next(parts for parts in by_moment.values() if len(parts) != max(counts))
        file, row = series.places[next(iter(few.values()))]
        raise InputError(
            f"{file}, row {row}: here are readings of {_list(sorted(few))} only, elsewhere of "
            f"{_list(sorted(registers))}; give all of them at every time"
        )
    return (
        list(by_moment),
        [series.places[next(iter(parts.values()))] for parts in by_moment.values()],
        [sum(series.values[k] for k in parts.values()) for parts in by_moment.values()],
    )


def _common_step(
    power: Mapping[str, Mapping[str, tuple[_Series, int, dict[str, Array]]]], how: HowToRead, remarks: list[str]
) -> int:
    """Minutes of a step to which all are brought.

    Raises:
        InputError: they differ, and it was not said which is to be taken.
    """
    steps: dict[int, _Series] = {}
    for of in power.values():
        for series, step, _ in of.values():
            steps.setdefault(step, series)
    if len(steps) <= 1:
        return next(iter(steps), 0)
    if how.step_minutes is None:
        (long, first), (short, second) = list(steps.items())[:2]
        if first.file != second.file:
            names = f"{second.file} has steps of {short} minutes, {first.file} of {long}"
        else:
            names = f"{first.file}: '{first.column}' has steps of {long} minutes, '{second.column}' of {short}"
        raise InputError(f"{names}; bring them to one, for example with --step {max(short, long)}")
    remarks.append(f"Readings of {', '.join(map(str, sorted(steps)))} minutes were brought to {how.step_minutes}.")
    return how.step_minutes


def _common_days(name: str, of: Mapping[str, tuple[_Series, int, dict[str, Array]]]) -> list[str]:
    every = [by_day for _, _, by_day in of.values()]
    days = [day for day in every[0] if all(day in by_day for by_day in every)]
    if not days:
        files = dict.fromkeys(series.file for series, _, _ in of.values())
        raise InputError(f"'{name}' has no day with readings in both {' and '.join(files)}" if len(files) > 1 else
                         f"{next(iter(files))}: '{name}' has no day with readings of all its quantities")  # fmt: skip
    return days


def _load_of(file: str, name: str, day: str, power: Mapping[str, Array]) -> Array:
    if "load" in power:
        return power["load"]
    if "pv" not in power:
        return power["import"]  # own use of PV is not known
    load = power["import"] - power["export"] + power["pv"]
    worst = int(np.argmin(load))
    if load[worst] < -METER_TOLERANCE_KW:
        clock = worst * 24 * 60 // len(load)
        raise InputError(
            f"{file}: '{name}' exports {-load[worst]:.2f} kW more than its PV gives and its meter takes on {day} "
            f"at {clock // 60:02d}:{clock % 60:02d}; export must be at most import + PV, so look at the units, or "
            "whether the meters count the same hours"
        )
    return np.maximum(load, 0.0)


def _pv_of(power: Mapping[str, Array]) -> Array:
    if "pv" in power:
        return power["pv"]
    return power["export"] if "export" in power and "load" not in power else 0 * next(iter(power.values()))


def local(moment: datetime, zone: ZoneInfo | None) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _meter(name: str, load: dict[str, Array], pv: dict[str, Array]) -> Meter:
    has_pv = any(power.any() for power in pv.values())
    return Meter(name, load, pv if has_pv else {}, rounded_up(pv) if has_pv else 0.0)


def _sizes(meters: Sequence[Meter]) -> list[str]:
    sized = [f"'{meter.name}' {meter.pv_kwp:g}" for meter in meters if meter.pv_kwp]
    return [f"PV sizes are the largest outputs, rounded up to 0.1 kWp: {', '.join(sized)}."] if sized else []


def _said(seen: _Seen, how: HowToRead) -> str:
    """What a file was taken for, in a sentence or two."""
    ranges = []
    for (quantity, unit), values in seen.values.items():
        what = "energy of each step" if UNITS[unit][1] else "mean power"
        assumed = " (assumed; --unit says another)" if seen.assumed_unit else ""
        ranges.append(
            f"{quantity} as {'states of counters' if how.are_counters else what} in {WRITTEN[unit]}{assumed}, lowest "
            f"{min(values):.6g}, mean {sum(values) / len(values):.4g}, highest {max(values):.6g}"
        )
    count, homes = sum(map(len, seen.values.values())), len(seen.households)
    times = "states" if how.are_counters else "ends of steps" if how.times_are_ends else "starts of steps"
    return (
        f"{seen.file}: {count:,} readings of {homes} household{'s' if homes != 1 else ''}, {seen.step_minutes} minutes "
        f"apart, times name {times}; {'; '.join(ranges)}." + (f" Taken: {seen.taken}." if seen.taken else "")
    )
