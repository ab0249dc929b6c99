"""Reading CSV tables so that every complaint names file, row and column.

One reader for all tables: those of a community, which gridpact documents, and those that people have. It finds out the
separator (comma, semicolon, tab), the header and the decimal mark; what it cannot tell, it asks.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from gridpact.community.model import Array
from gridpact.community.numerals import Marks, is_gap
from gridpact.errors import InputError
from gridpact.text import listed

DAY_AND_CLOCK = re.compile(r"(?P<day>.*\S)(\s+|T)(?P<clock>\d{1,2}:\d{2})$")
MOMENT = re.compile(r"((\d{4}-\d{2}-\d{2}|\d{1,2}[./-]\d{1,2}[./-]\d{4})[T ]?)?(\d{1,2}:\d{2}.*)?(?<=.)", re.IGNORECASE)
"""A date, a clock, or both."""

SEPARATORS = (",", ";", "\t", "|")

JSON = re.compile(r"\s*(?:\{\s*\"|\[\s*[\[{\"0-9])")

NO_TEXT = {
    b"PK\x03\x04": "a workbook or an archive (zip)",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook",
    b"\x1f\x8b": "packed (gzip)",
    b"BZh": "packed (bzip2)",
    b"\xfd7zXZ": "packed (xz)",
    b"7z\xbc\xaf": "packed (7z)",
    b"PAR1": "a Parquet file",
    b"%PDF": "a PDF document",
    b"SQLite format 3": "a database (SQLite)",
}
"""What files are that begin so, and are no tables in text."""
MOST_ROWS_ABOVE = 40
"""So many rows of a foreign file are looked at for its header."""


@dataclass(frozen=True)
class Row:
    """One row of a table, with its place for error messages."""

    file: str
    number: int  # as an editor counts, the header is 1
    cells: dict[str, str]
    marks: Marks = field(default_factory=Marks, repr=False, compare=False)
    called: Mapping[str, str] = field(default_factory=dict, repr=False, compare=False)  # column -> its name in the file

    def error(self, column: str, complaint: str) -> InputError:
        shown = self.called.get(column, column)
        return InputError(f"{self.file}, row {self.number}, column '{shown}': {complaint}")

    def text(self, column: str) -> str:
        value = self.cells[column].strip()
        if not value:
            raise self.error(column, "is empty; give a value")
        return value

    def is_gap(self, column: str) -> bool:
        """Whether the cell is empty, or has a word for a reading that is missing."""
        return is_gap(self.cells.get(column, ""))

    def number_in(
        self, column: str, low: float = -math.inf, high: float = math.inf, default: float | None = None
    ) -> float:
        """A finite number between low and high; `default` where the cell is empty or the column missing."""
        cell = self.cells.get(column, "").strip()
        if not cell:
            if default is None:
                raise self.error(column, "is empty; give a number")
            return default
        value = self.marks.number(self, column, cell)
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


@dataclass(frozen=True)
class Table:
    """A table with its header."""

    file: str
    header: tuple[str, ...]
    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()  # what was assumed, a sentence each
    above: tuple[str, ...] = ()  # cells of what stands above the header


def rows(
    path: Path, required: Sequence[str], optional: Sequence[str] | None = (), decimal: str | None = None
) -> Iterator[Row]:
    """The rows of a CSV file with a header.

    Args:
        required: columns that must be there.
        optional: columns that may be there; None: any.
        decimal: its decimal mark, "." or ","; None: as the table shows.

    Raises:
        InputError: the file is missing or not text, a column is missing, unknown or twice, a row is too short or long.
    """
    return rows_of(text_of(path), path.name, required, optional, decimal)


def rows_of(
    text: str, file: str, required: Sequence[str], optional: Sequence[str] | None = (), decimal: str | None = None
) -> Iterator[Row]:
    """The rows of a table that was read; see `rows`.

    Args:
        file: what it is called in complaints.
    """
    lines, separator = _lines(text, lambda cells: set(required) <= set(cells), 1, file)
    if not lines:
        raise InputError(f"{file} is empty; its first row must name the columns, among them {', '.join(required)}")
    (_, header), *below = lines
    for column in required:
        if column not in header:
            named = ", ".join(name for name in header if name)
            raise InputError(f"{file}: column '{column}' is missing; the header has: {named}")
    for column in header:
        if column and header.count(column) > 1:
            raise InputError(f"{file}: column '{column}' stands twice in the header; remove one")
        if column and optional is not None and column not in (*required, *optional):
            known = ", ".join((*required, *optional))
            raise InputError(f"{file}: column '{column}' is not known; known columns: {known}")
    if separator == "," and decimal is None:
        yield from _rows(file, header, below, separator, ".", may_group=False)
    else:
        yield from _rows(file, header, below, separator, decimal)


def rows_below(path: Path, first: int, header: Sequence[str]) -> Iterator[Row]:
    """The rows of a CSV file whose header was looked at before.

    Args:
        first: row in which the header stands, counted from 1.
        header: what the columns are called here.

    Raises:
        InputError: the file is missing or not text, has no rows, or a row is too short or long.
    """
    below = [(number, cells) for number, cells in _split(text_of(path), ",", path.name) if number > first]
    yield from _rows(path.name, header, below, ",", ".", may_group=False)


def foreign_table(
    path: Path,
    headers_of: Sequence[Callable[[Sequence[str]], Sequence[str] | None]],
    decimal: str | None = None,
    units_below: Callable[[Sequence[str]], Sequence[str] | None] = lambda _: None,
    table_of: Callable[[str, str], str | None] = lambda _text, _file: None,
    time_told: str = "say which it is with --time-column",
) -> Table:
    """A table as people have it: whatever stands above its header is passed over, and Windows' own letters are read.

    Args:
        headers_of: each tells the names of the columns from the cells of a header, None: it is none. Where one finds
            none in any row, the next is asked.
        decimal: its decimal mark, "." or ","; None: as the table shows.
        units_below: the units of the columns, empty where there is none, from the row below the header; None: it is a
            row like others.
        table_of: the table that a text of another form holds, from the text and the file's name; None: it is a table.
        time_told: how the column of times can be told, for complaints.

    Raises:
        InputError: the file is missing or not text, no row is its header, a column is twice, a row too short or long.
    """
    text, remarks = foreign_text(path)
    if JSON.match(text):
        raise InputError(f"{path.name} is JSON; give a CSV table with a row for each time")
    if (table := table_of(text, path.name)) is not None:
        text = table
        remarks.append(f"{path.name} is no table: its readings are counted as rows of one, from 2 on.")
    for header_of in headers_of:
        lines, separator = _lines(text, lambda cells, of=header_of: of(cells) is not None, MOST_ROWS_ABOVE, path.name)  # type: ignore[misc]
        if lines and header_of(lines[0][1]) is not None:
            break
    if not lines:
        raise InputError(f"{path.name} is empty; its first row must name the columns, among them time")
    (number, cells), *below = lines
    header = header_of(cells)
    if header is None:
        named = listed([name for name in cells if name])
        if sum(map(is_moment, cells)) > 1:
            raise InputError(
                f"{path.name} has a column for each time: {named}; give a row for each: turn the table around, or, of "
                "Home Assistant, take what its history page downloads"
            )
        raise InputError(f"{path.name}: column 'time' is missing; the header has: {named}; {time_told}")
    below, left_out = _without_notes(below, len([name for name in header if name]))
    if left_out:
        remarks.append(f"Comments and notes in {path.name} were left out: row {', '.join(map(str, left_out))}.")
    if below and len(below[0][1]) >= len(header) and (units := units_below(below[0][1])) is not None:
        header = [f"{name} ({unit})" if name and unit else name for name, unit in zip(header, units, strict=False)]
        remarks.append(f"Row {below[0][0]} of {path.name} names the units of the columns.")
        below = below[1:]
    for column in header:
        if column and header.count(column) > 1:
            raise InputError(f"{path.name}: column '{column}' stands twice in the header; remove one")
    if number > 1:
        remarks.append(f"The header of {path.name} was found in row {number}; what stands above it was passed over.")
    rows = tuple(_rows(path.name, header, below, separator, decimal))
    above = [cell for line in text.split("\n")[: number - 1] for cell in line.split(separator) if cell.strip()]
    return Table(path.name, tuple(name for name in header if name), rows, tuple(remarks), tuple(above))


def _without_notes(
    lines: Sequence[tuple[int, list[str]]], columns: int
) -> tuple[list[tuple[int, list[str]]], list[int]]:
    """Rows without comments, which begin with #, and without words below the last row; and which were left out."""
    kept = [(n, cells) for n, cells in lines if not (cells and cells[0].startswith("#") and not is_gap(cells[0]))]
    while len(kept) > 1 and sum(map(bool, map(str.strip, kept[-1][1]))) < min(columns, 2):
        if any("\n" in cell for cell in kept[-1][1]):  # of a quotation that is not closed
            break
        kept.pop()
    there = {number for number, _ in kept}
    return kept, [number for number, cells in lines if number not in there and any(map(str.strip, cells))]


def _rows(
    file: str,
    header: Sequence[str],
    lines: Sequence[tuple[int, Sequence[str]]],
    separator: str,
    decimal: str | None,
    may_group: bool = True,
) -> Iterator[Row]:
    """Rows that are not empty. Columns without a name are left out, if there is nothing in them."""
    filled = [(number, cells) for number, cells in lines if any(cell.strip() for cell in cells)]
    if not filled:
        raise InputError(f"{file} has a header but no rows")
    named = len(header) - next((k for k, name in enumerate(reversed(header)) if name), len(header))
    table: list[Row] = []
    marks = Marks(decimal, separator == ",", may_group)
    for number, cells in filled:
        here = [*cells, *[""] * (len(header) - len(cells))] if len(cells) >= named else list(cells)
        if len(here) < len(header) or any(cell.strip() for cell in here[len(header) :]):
            hint = (
                "; if its decimals are commas, columns need semicolons between them" if len(cells) > len(header) else ""
            )
            raise InputError(f"{file}, row {number}: has {len(cells)} cells, the header has {len(header)}{hint}")
        for k, name in enumerate(header):
            if not name and here[k].strip():
                raise InputError(f"{file}, row {number}: cell {k + 1} has '{here[k].strip()}', but its column no name")
        table.append(Row(file, number, {n: _plain(c) for n, c in zip(header, here, strict=False) if n}, marks))
    marks.look_at(table)
    yield from table


def _plain(cell: str) -> str:
    """A cell without what spreadsheets put around texts of digits: ="0012", and without single quotation marks."""
    if len(cell) > 2 and cell[0] == cell[-1] == "'":
        return cell[1:-1]
    return cell[2:-1] if cell.startswith('="') and cell.endswith('"') else cell


def _lines(
    text: str, is_header: Callable[[Sequence[str]], bool], most: int, file: str
) -> tuple[list[tuple[int, list[str]]], str]:
    """Header and rows below it, numbered as an editor does, and the separator between columns.

    The separator is the one with which one of the first `most` rows is a header, of several the one with most columns;
    where there is none, the first row is taken for it.
    """
    text, separators = _told_separator(text)
    head = "\n".join(text.split("\n", most + 10)[: most + 10])
    headers: dict[str, tuple[int, int]] = {}  # separator: columns, row of the header
    for separator in separators or SEPARATORS:
        top = [(number, cells) for number, cells in _split(head, separator, file) if any(cells)][:most]
        if top:
            row = next(((number, cells) for number, cells in top if is_header(_names(cells))), None)
            headers[separator] = (len(row[1]), row[0]) if row else (0, top[0][0])
    if not headers:
        return [], ","
    if not any(columns for columns, _ in headers.values()):
        headers = {s: (head.split("\n")[row - 1].count(s), row) for s, (_, row) in headers.items()}
    separator = max(headers, key=lambda one: headers[one][0])
    below = [(number, cells) for number, cells in _split(text, separator, file) if number >= headers[separator][1]]
    return [(below[0][0], _names(below[0][1])), *below[1:]], separator


def is_moment(cell: str) -> bool:
    """Whether a cell is a date, a clock or both, and nothing else."""
    return MOMENT.fullmatch(cell.strip()) is not None


def _told_separator(text: str) -> tuple[str, str]:
    """What spreadsheets write above a table, as `sep=;`, taken out, and the separator that it tells."""
    first, _, rest = text.partition("\n")
    match = re.fullmatch(r'"?sep=(.)"?', first.strip(" \r"))
    return ("\n" + rest, match[1]) if match else (text, "")


def _names(cells: Sequence[str]) -> list[str]:
    return [re.sub(r"\s*[\r\n]+\s*", " ", _plain(cell).strip()) for cell in cells]  # names may be broken in a cell


def _split(text: str, separator: str, file: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != "\t")
    try:
        return [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise InputError(f"{file} is no CSV table: {error}; look for an open quotation mark") from None


def text_of(path: Path) -> str:
    """A file's text, its lines ended alike.

    Raises:
        InputError: it is missing, or not text.
    """
    text = _decoded(_bytes_of(path), "utf-8-sig")
    if text is None:
        raise InputError(f"the file '{path}' is no text in UTF-8; save it as such")
    return text


def _utf16_of(data: bytes) -> str | None:
    """Which kind of UTF-16 a text is in, by its mark or by the zeros of English letters; None: neither."""
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = data[:400]
    for first, encoding in ((1, "utf-16-le"), (0, "utf-16-be")):
        zeros, others = head[first::2], head[1 - first :: 2]
        if len(head) > 3 and zeros.count(0) > 0.8 * len(zeros) and others.count(0) < 0.1 * len(others):
            return encoding
    return None


def foreign_text(path: Path) -> tuple[str, list[str]]:
    """The same, of a file that may be in UTF-16 or in the letters of Windows, and what is to be said about that."""
    data = _bytes_of(path)
    text = _decoded(data, _utf16_of(data) or "utf-8-sig")
    remarks = []
    if text is None:
        text = _decoded(data, "cp1252")
        remarks = [f"{path.name} is not in UTF-8: names with other letters than English were read as Windows-1252."]
    if text is None or "\0" in text:
        raise InputError(f"the file '{path}' is no text in UTF-8; save it as such")
    return text, remarks


def _bytes_of(path: Path) -> bytes:
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise InputError(f"the file '{path}' does not exist; correct its name") from None
    except OSError as error:
        raise InputError(f"the file '{path}' cannot be read: {error.strerror}") from None
    if (what := next((what for begin, what in NO_TEXT.items() if data.startswith(begin)), None)) is not None:
        raise InputError(f"the file '{path}' is {what}; unpack it, or save the table in it as CSV")
    begin = data[:200].lstrip().lower()
    if begin.startswith((b"<!doctype html", b"<html")):
        raise InputError(f"the file '{path}' is a web page, perhaps one to log in; download the table as CSV")
    return data


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return _even(data.decode(encoding))
    except UnicodeDecodeError:
        return None


def _even(text: str) -> str:
    return text.replace("\r\n", "\n").replace("\r", "\n")


@dataclass(frozen=True)
class Profile:
    """Time series of one file: columns of values by day."""

    file: str
    times: dict[str, tuple[str, ...]]  # day -> (T,) "HH:MM"
    values: dict[str, dict[str, Array]]  # day -> column -> (T,)


def profile(
    path: Path,
    columns: Sequence[str] | None,
    step_minutes: int,
    low: float,
    optional: Sequence[str] = (),
    doubt: Callable[[float], str | None] = lambda _: None,
) -> Profile:
    """Reads time series: a column 'time' ("<day> HH:MM", the start of the step) and one column a series.

    Args:
        columns: the series that must be there, exactly; None: at least one, any names.
        low: smallest value allowed.
        optional: series that may be there, too.
        doubt: what is to be asked about a value, None for nothing.

    Raises:
        InputError: besides what `rows` raises, a time that is not the next step of its day, a value that is not a
            finite number of at least `low`, or a day without a full number of steps.
    """
    times: dict[str, list[str]] = {}
    values: dict[str, dict[str, list[float]]] = {}
    last_day = None
    for row in rows(path, ("time", *(columns or ())), optional if columns is not None else None):
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
                series.append(value := row.number_in(column, low=low))
                if (question := doubt(value)) is not None:
                    raise row.error(column, question)
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
