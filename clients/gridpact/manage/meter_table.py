"""What meters read of a delivered day: a table, checked, and added up to the steps of its round."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.doubts import ask, looks_like_a_counter
from gridpact.community.tables import Row, rows
from gridpact.community.times import DateOrder, look_like_ends, moments
from gridpact.community.usual import MOST_KW
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS

UNITS = {"wh": 1, "kwh": 1000}
"""Unit: what it is in Wh."""

COLUMN = re.compile(rf"^(meter|import|export)_({'|'.join(UNITS)})$")

DOUBTFUL_KW, DOUBTFUL_WHOLE_KW = 0.1, 0.005
"""Readings in Wh that are below this at all times are taken to be in kWh; whole numbers, below the second."""


@dataclass(frozen=True)
class MeterDay:
    """The day that a round was about: its steps begin at local midnight."""

    day: date
    steps: int
    step_seconds: int
    zone: ZoneInfo | None = None  # None: this machine's

    @property
    def midnight(self) -> datetime:
        """When it begins, with its offset from UTC."""
        return self._local(self.day)

    @property
    def end(self) -> datetime:
        """When its last step ends."""
        return self.at(self.steps * self.step_seconds)

    @property
    def changes_clocks(self) -> bool:
        """Whether local time jumps on this day."""
        return self._local(self.day + timedelta(days=1)).utcoffset() != self.midnight.utcoffset()

    def at(self, seconds: float) -> datetime:
        """The local time so long after midnight."""
        return datetime.fromtimestamp(self.midnight.timestamp() + seconds, self.zone).astimezone(self.zone)

    def seconds(self, moment: datetime) -> float:
        """How long after midnight a moment is, s. Without an offset from UTC it is local time."""
        if moment.tzinfo is None:
            return (moment - datetime.combine(self.day, time())).total_seconds()
        return (moment - self.midnight).total_seconds()

    def _local(self, day: date) -> datetime:
        midnight = datetime.combine(day, time(), self.zone)
        return midnight if self.zone else midnight.astimezone()


@dataclass(frozen=True)
class _Cell:
    """One reading of one household."""

    row: Row
    node: int
    column: str
    wh: float  # fed into the grid
    seconds: float  # after midnight: when its time begins


def read_meters(
    path: Path,
    day: MeterDay,
    unit: str = "wh",
    times_are_ends: bool | None = False,
    accepted: Collection[str] = (),
    dates: DateOrder | None = None,
    decimal: str | None = None,
) -> dict[int, list[int]]:
    """Reads what meters counted on a day, and adds it up to the round's steps.

    The table has a row for each household and time, with the columns `time`, `node` and either `meter_wh` (fed into the
    grid; negative: drawn from it) or `import_wh` and `export_wh`, or the same in kwh; or a column for each household,
    named by its node, with what `meter_wh` says, in `unit`. Rows of other days are left out. Readings may be more
    frequent than steps.

    Args:
        times_are_ends: of what was counted; None: not told, so it is asked where they look so.
        accepted: doubts that are none here, see `doubts.DOUBTS`.
        dates, decimal: see `readings.HowToRead`.

    Returns:
        Wh fed into the grid (negative: drawn from it) by node, (T,) each.

    Raises:
        InputError: says what is wrong in which row: a node that is none, a value that is no number, readings that are
            missing or there twice, none of this day, or presumably in another unit or states of counters.
    """
    table = list(rows(path, ("time",), None, decimal))
    starts = _starts(path, table, day, times_are_ends, dates)
    end = day.steps * day.step_seconds
    of_day = [(row, moment) for row, moment in zip(table, starts, strict=True) if 0 <= moment < end]
    if not of_day:
        first, last = (table[at].text("time") for at in (0, -1))
        raise InputError(
            f"{path.name} has no readings of {day.day}, its times are from {first} to {last}: give the file of that day"
        )
    if "rising" not in accepted:
        _check_rising(path, of_day)
    by_node: dict[int, list[_Cell]] = {}
    for cell in _cells(path, of_day, unit):
        by_node.setdefault(cell.node, []).append(cell)
    step = day.step_seconds
    interval = min((later - earlier for earlier, later in pairwise(sorted({m for _, m in of_day}))), default=step)
    if interval >= step:
        interval = step
    elif step % interval:
        raise InputError(
            f"{path.name}: readings {interval / 60:g} minutes apart do not add up to the round's steps of"
            f" {step / 60:g} minutes"
        )
    energies = {node: _steps_of(path, day, cells, int(interval)) for node, cells in sorted(by_node.items())}
    _check_unit(path, day, energies, accepted)
    return {node: [round(wh) for wh in series] for node, series in energies.items()}


def _starts(
    path: Path, table: Sequence[Row], day: MeterDay, times_are_ends: bool | None, dates: DateOrder | None
) -> list[float]:
    """When the time of each row begins, s after the day's midnight."""
    texts = {row.text("time"): row for row in reversed(table)}
    read = moments(path.name, "time", texts, dates)
    if read.are_ranges and times_are_ends:
        raise InputError(f"{path.name}: its times name starts and ends, so leave out --times end")
    if times_are_ends is None and (question := look_like_ends(path.name, read.by_text.values())) is not None:
        raise InputError(question)
    if read.has_hour_24 and not times_are_ends:
        text = next(text for text in texts if "24:" in text)
        raise texts[text].error("time", f"'{text}' is the end of what was counted: say --times end, if all times are")
    for text, moment in read.by_text.items():
        if moment.tzinfo is None and day.changes_clocks and moment.date() == day.day:
            raise texts[text].error(
                "time", f"the clock changes on {day.day}: give all times with their offset from UTC"
            )
    seconds = {text: day.seconds(moment) for text, moment in read.by_text.items()}
    differences = [later - earlier for earlier, later in pairwise(sorted(set(seconds.values())))]
    shift = min(differences, default=0.0) if times_are_ends else 0.0
    return [seconds[row.text("time")] - shift for row in table]


def _cells(path: Path, table: Sequence[tuple[Row, float]], unit: str) -> Iterable[_Cell]:
    columns = [column for column in table[0][0].cells if column != "time"]
    if "node" not in columns:
        nodes = {column: _node_of(path, column) for column in columns}
        if len(set(nodes.values())) < len(nodes):
            raise InputError(f"{path.name}: a node has two columns; remove one")
        for row, seconds in table:
            for column, node in nodes.items():
                yield _Cell(row, node, column, row.number_in(column) * UNITS[unit], seconds)
        return
    quantities = _quantities(path, [column for column in columns if column != "node"])
    for row, seconds in table:
        node, wh = row.integer("node", 1, MOST_HOUSEHOLDS), 0.0
        for column, factor in quantities.items():
            wh += factor * (row.number_in(column) if column.lower().startswith("meter") else row.number_in(column, 0))
        yield _Cell(row, node, "time", wh, seconds)


def _check_rising(path: Path, table: Sequence[tuple[Row, float]]) -> None:
    """
    Raises:
        InputError: values of a household are rather the states of a counter than what was counted.
    """
    series: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for row, seconds in table:
        for column in row.cells:
            if column not in ("time", "node"):
                node = row.cells.get("node", column).strip()
                series.setdefault((node, column), []).append((seconds, row.number_in(column)))
    for (node, column), readings in series.items():
        values = np.array([value for _, value in sorted(readings)])
        if looks_like_a_counter(values) or looks_like_a_counter(-values):
            raise ask(
                "rising",
                f"{path.name}, column '{column}': the readings of node {node} go from {values[0]:g} to {values[-1]:g} "
                "and never back, as the states of a counter do: give what was counted in each step, the differences",
            )


def _node_of(path: Path, column: str) -> int:
    if not (column.isdecimal() and 1 <= int(column) <= MOST_HOUSEHOLDS):
        raise InputError(
            f"{path.name}: column '{column}' is no household's node (1 to {MOST_HOUSEHOLDS}): name columns after nodes,"
            " or give the columns node and meter_wh"
        )
    return int(column)


def _quantities(path: Path, columns: Sequence[str]) -> dict[str, int]:
    """What is fed into the grid, from the columns: what each is multiplied by."""
    by_column = {column: match for column in columns if (match := COLUMN.match(column.lower()))}
    for column in columns:
        if column not in by_column:
            raise InputError(
                f"{path.name}: column '{column}' is not known; besides time and node there are meter_wh, or import_wh"
                " and export_wh, or these in kwh"
            )
    if sorted(match[1] for match in by_column.values()) not in (["meter"], ["export", "import"]):
        raise InputError(
            f"{path.name}: give meter_wh alone (fed into the grid, negative where drawn), or import_wh and export_wh"
        )
    return {column: UNITS[match[2]] * (-1 if match[1] == "import" else 1) for column, match in by_column.items()}


def _steps_of(path: Path, day: MeterDay, cells: Sequence[_Cell], interval: int) -> list[float]:
    """Readings of one household, added up to steps."""
    there: dict[int, int] = {}  # row by place
    steps = [0.0] * day.steps
    for cell in cells:
        place, off = divmod(cell.seconds, interval)
        if off:
            raise cell.row.error(
                "time", f"'{cell.row.text('time')}' is not on the grid of {interval / 60:g} minutes from midnight"
            )
        before = there.setdefault(int(place), cell.row.number)
        if before != cell.row.number:
            raise cell.row.error(cell.column, f"node {cell.node} has a reading of that time in row {before} already")
        steps[int(cell.seconds) // day.step_seconds] += cell.wh
    places = range(day.steps * day.step_seconds // interval)
    if missing := [place for place in places if place not in there]:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise InputError(
            f"{path.name}: node {cells[0].node} has no reading at {day.at(missing[0] * interval):%Y-%m-%d %H:%M}{more}:"
            " every step of the day needs one"
        )
    return steps


def _check_unit(path: Path, day: MeterDay, energies: Mapping[int, Sequence[float]], accepted: Collection[str]) -> None:
    kw = 3.6 / day.step_seconds  # of a Wh a step
    if "size" in accepted:
        return
    for node, series in energies.items():
        if (largest := max(map(abs, series)) * kw) > MOST_KW:
            raise InputError(
                f"{path.name}: node {node} has {largest:,.0f} kW on {day.day}, more than {MOST_KW:g} kW; are the"
                " readings in another unit (kWh, Wh)? (--accept size if it is so)"
            )
    every = [wh for series in energies.values() for wh in series]
    largest, are_whole = max(map(abs, every)), all(abs(wh - round(wh)) <= 1e-6 for wh in every)
    if 0 < largest * kw < (DOUBTFUL_WHOLE_KW if are_whole else DOUBTFUL_KW):
        raise InputError(
            f"{path.name}: no reading is above {largest:g} Wh{'' if are_whole else ', and they are no whole numbers'};"
            " are they in kWh? Then name the column meter_kwh, or say --unit kwh (--accept size if they are in Wh)"
        )
