"""Files of readings, one after the other: every value gets a time, a household, a quantity and a unit."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

from gridpact.community import columns
from gridpact.community.columns import UNITS, WRITTEN, TableColumn, TimeColumns
from gridpact.community.meters import MeterData, no_such_household
from gridpact.community.readings import green_button, nem12
from gridpact.community.readings.by_day import a_row_for_each
from gridpact.community.readings.homes import meters_of
from gridpact.community.readings.layout import layout_of
from gridpact.community.readings.source import FileSeen, HowToRead, ReadFiles, ReadSeries, quoted
from gridpact.community.tables import Row, Table, foreign_table
from gridpact.community.times import look_like_ends, moments
from gridpact.errors import InputError

NEAR_SECONDS = 2
"""So far beside a whole minute a time may be."""

TIME_FORM_CELL = re.compile(r"[dDmMyYjJtThHuUsS:./ -]+|time|datetime|timestamp|date", re.IGNORECASE)
"""dd.MM.yyyy HH:mm: how a time is written, in a row of units."""

CLOCK_CELL = re.compile(r"\d{1,2}[:.h]\d{2}(?!\d*[./-]\d{2}).*")
STEP_NUMBER = re.compile(r"[^\W\d]{0,6}\s?(\d{1,3})")
"""7, H07 or HE7: the number of a step in its day."""

STEPS_BY_LAST = {23: (24, 0), 24: (24, 1), 25: (24, 1), 47: (48, 0), 48: (48, 1), 50: (48, 1), 95: (96, 0),
                 96: (96, 1), 100: (96, 1)}  # fmt: skip
"""How many steps a day has, and the number of the first, by the largest number; 25, 50, 100: the clock was put back."""

MOST_ROWS_BELOW = 20
"""So many rows of sums and notes may stand below a table."""

MIDNIGHT = re.compile(r"[ T]0?0:00(:00(\.0+)?)?$")

ASSUMED_UNIT = "kwh"


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
    files = ReadFiles(how, households)
    for path in [paths] if isinstance(paths, Path) else paths:
        _read(files, path, is_pv=False)
    for name in households:
        if name not in files.names:
            raise no_such_household(name, list(files.names))
    if not households:
        _check_names(files.names)
    if pv is not None:
        _read(files, pv, is_pv=True)
    for name in how.ignored:
        if not any(name in header for header in files.headers):
            of_all = list(dict.fromkeys(column for header in files.headers for column in header if column))
            where = " and ".join(dict.fromkeys(seen.file for seen in files.read))
            raise InputError(f"{where}: no column '{name}' that --ignore could leave out, but {quoted(of_all)}")
    data = meters_of(files)
    return data.only(households) if households else data


def _check_names(names: Mapping[str, str]) -> None:
    """
    Args:
        names: of households, each with its file.

    Raises:
        InputError: two differ in case or spaces only.
    """
    known: dict[str, str] = {}
    for name, file in names.items():
        alike = known.setdefault(" ".join(name.casefold().split()), name)
        if alike != name:
            raise InputError(
                f"{file}: '{name}' and '{alike}' differ in case or spaces only; write them alike if they are one "
                "household, else apart"
            )


def _read(files: ReadFiles, path: Path, is_pv: bool) -> None:
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

    table = foreign_table(path, (header_of, nameless_header_of), how.decimal, _units_below, _table_of)
    files.headers.append(table.header)
    table, times, starts, remarks = timed(table, how)
    files.remarks += [*table.remarks, *remarks]
    left = [name for name in table.header if name not in (*times.all, *how.ignored)]
    if not left:
        raise InputError(f"{path.name} has the column '{times.day}' only; give a column for each household")
    layout = layout_of(files, path, table, left, is_pv)
    if how.value_column is None and {column.quantity for column in layout.fixed} == {"load"}:
        _check_above(table, layout.fixed[0].name)
    seen = FileSeen(path.name, layout.taken)
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


def timed(table: Table, how: HowToRead) -> tuple[Table, TimeColumns, list[datetime], tuple[str, ...]]:
    """A table with a row for each reading, where its times stand, the time of each row, and what was assumed.

    Raises:
        InputError: a time cannot be told.
    """
    times = columns.time_columns(table.header, how.time_column, how.date_column)
    if not isinstance(times, TimeColumns):
        raise InputError(f"{table.file} has times in {quoted(times)}; say which to take with --time-column")
    table, times = a_row_for_each(without_footer(table, times), times)
    table, times = with_clocks(table, times, how)
    starts, remarks = moments_of(table, times, how)
    if not (how.times_are_ends or how.times_are_told or how.are_counters):
        question = look_like_ends(table.file, starts, how.times_option)
        if question is not None:
            raise InputError(question)
    return table, times, starts, remarks


def _table_of(text: str, file: str) -> str | None:
    """The table that a file in a format of its own holds; None: it is a table itself."""
    return green_button.table_of(text, file) or nem12.table_of(text, file)


def _check_above(table: Table, column: str) -> None:
    """What stands above a header may tell that the readings are of what was given, and not of what was used; of an
    export speaks also whoever exported a file."""
    used = any(columns.is_used(cell) for cell in table.above)
    given = next(
        (cell.strip() for cell in table.above if columns.is_hardly_used(cell.lower().replace("export", ""))), None
    )
    if given is not None and not used:
        raise InputError(
            f"{table.file}: above the header stands '{given}', which is hardly what a household uses; call '{column}' "
            f"pv or export with its unit, or say --value-column {column} if it was used all the same"
        )


def _units_below(cells: Sequence[str]) -> Sequence[str] | None:
    """What stands behind names in a second row of the header: units of columns, as [Wh]; None where it is none."""
    inner = [re.sub(r"^[(\[](.*)[)\]]$", r"\1", cell.strip()).strip() for cell in cells]
    units = [one if one.lower() in UNITS or columns.has_other_unit(f"({one})") else "" for one in inner]
    forms = [not one or unit or TIME_FORM_CELL.fullmatch(one) for one, unit in zip(inner, units, strict=True)]
    return units if all(forms) and any(one.lower() in UNITS for one in units) else None


def without_footer(table: Table, times: TimeColumns) -> Table:
    """A table without the last rows that have no time: sums, and notes below."""

    def has_time(row: Row) -> bool:
        text = row.cells[times.day].strip() or (row.cells[times.clock] if times.clock else "")
        return any(map(str.isdigit, text))

    count = len(table.rows)
    while count > 1 and not has_time(table.rows[count - 1]):
        count -= 1
    footer = table.rows[count:]
    if not footer or len(footer) > MOST_ROWS_BELOW:
        return table
    words = list(dict.fromkeys(cell for row in footer if (cell := row.cells[times.day].strip())))
    said = f" ({quoted(words[:3])})" if words else ""
    notice = (
        f"Row {footer[0].number} of {table.file} and what is below adds up what is above, and was left out."
        if all(columns.is_sum(row.cells[times.day]) for row in footer)
        else f"Row {footer[0].number} of {table.file} and what is below has no time{said}, and was left out."
    )
    return replace(table, rows=table.rows[:count], remarks=(*table.remarks, notice))


def with_clocks(table: Table, times: TimeColumns, how: HowToRead) -> tuple[Table, TimeColumns]:
    """A table whose times have a day and a clock, where they stand apart or the steps of a day are numbered.

    Raises:
        InputError: it cannot be told which step of a day a number is.
    """
    if times.clock is None and all(CLOCK_CELL.fullmatch(row.cells[times.day].strip()) for row in table.rows):
        day = next((name for name in times.others if name in columns.role(table.header, columns.DATES)), None)
        if day is None:
            return table, times
        others = tuple(name for name in times.others if name != day)
        times = replace(times, day=day, clock=times.day, others=others)
    clock = times.clock
    if clock is None:
        return table, times
    parts = [STEP_NUMBER.fullmatch(row.cells[clock].strip()) for row in table.rows]
    numbers = [int(part[1]) for part in parts if part is not None]
    if len(numbers) < len(table.rows):
        return table, times
    count, first = STEPS_BY_LAST.get(max(numbers), (0, 0))
    if not count or min(numbers) < first or (first == 0 and 0 not in numbers):
        raise table.rows[0].error(
            clock,
            f"the steps of a day are numbered from {min(numbers)} to {max(numbers)}, which is neither 0 to 23 nor 1 to "
            "24, and so on; write the times at which they begin",
        )
    long = {row.cells[times.day] for row, number in zip(table.rows, numbers, strict=True) if number - first >= count}
    rows = tuple(
        replace(row, cells={**row.cells, clock: _clock_of(number - first + (first and how.times_are_ends), count)})
        for row, number in zip(table.rows, numbers, strict=True)
        if row.cells[times.day] not in long
    )
    said = [f"Numbers in '{clock}' of {table.file} were taken for the {count} steps of a day, from {first} on."]
    said += [f"Left out, since the clock changed: {', '.join(sorted(long))}."] if long else []
    if not rows:
        raise InputError(f"{table.file} has no day but that on which the clock changed")
    return replace(table, rows=rows, remarks=(*table.remarks, *said)), times


def _clock_of(steps: int, count: int) -> str:
    hours, minutes = divmod(steps * 24 * 60 // count, 60)
    return f"{hours:02d}:{minutes:02d}"


def _add(
    files: ReadFiles, seen: FileSeen, row: Row, moment: datetime, column: TableColumn, part: str, unit: str | None
) -> None:
    how = files.how
    unit = unit or column.unit or how.unit
    if unit is None:
        unit, seen.assumed_unit = ASSUMED_UNIT, True
    key = column.household, column.quantity
    series = files.series.get(key)
    if series is None:
        series = files.series[key] = ReadSeries(*key, unit, row.file, column.name)
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
    if read.are_ranges and how.times_are_ends:
        raise InputError(f"{table.file}: '{times.day}' names starts and ends, so leave out {how.times_option} end")
    by_text = _last_minutes(table, times, how, by_text)
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
            what = "is in UTC by its column's name" if times.are_utc else "has an offset from UTC"
            raise row.error(times.day, f"'{text}' {what}; give the place's time zone, for Dutch homes "
                                       "--timezone Europe/Amsterdam")  # fmt: skip
        if (moment.tzinfo is None) != (first.tzinfo is None) and not times.are_utc:
            raise row.error(times.day, "some times have an offset from UTC, others not; write all alike")
    if read.has_hour_24 and not (how.times_are_ends or how.are_counters or times.are_ends):
        text = next(text for text in by_text if "24:" in text)
        raise places[text].error(times.day, f"'{text}' is the end of a step: say {how.times_option} end, if all are")
    remarks = list(read.remarks)
    if rounded:
        remarks.append(f"Times in {table.file} up to {NEAR_SECONDS} s beside a minute were taken for that minute.")
    if times.are_ends and not how.times_are_ends:
        raise InputError(f"{table.file}: '{times.day}' names the ends of steps; say {how.times_option} end")
    return [by_text[text] for text in texts], tuple(remarks)


def _last_minutes(
    table: Table, times: TimeColumns, how: HowToRead, by_text: dict[str, datetime]
) -> dict[str, datetime]:
    """Times that name the last minute or second of each step, as 00:59, as those of its end.

    Raises:
        InputError: that they are ends was not said.
    """
    if how.are_counters or len(by_text) < 3:
        return by_text
    for what, last in (("minute", timedelta(minutes=1)), ("second", timedelta(seconds=1))):
        after = {text: moment + last for text, moment in by_text.items()}
        if all(moment.minute % 5 == 0 and moment.second == 0 for moment in after.values()):
            if not how.times_are_ends:
                raise InputError(
                    f"{table.file}: '{next(iter(by_text))}' and all other times name the last {what} of a step; say "
                    f"{how.times_option} end"
                )
            return after
    return by_text


def _whole_minute(moment: datetime) -> datetime | None:
    """The whole minute that a time is next to, None where it is beside all: clocks of loggers tick a little apart."""
    near = timedelta(seconds=NEAR_SECONDS)
    whole = (moment + near).replace(second=0, microsecond=0)
    return whole if abs(moment - whole) <= near else None


def _time_text(row: Row, times: TimeColumns) -> str:
    text = row.text(times.day)
    return text if times.clock is None else f"{MIDNIGHT.sub('', text)} {row.text(times.clock)}"
