"""Tables with a row for each day and a column for each of its steps, turned into a row for each reading."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise

from gridpact.community.columns import TimeColumns
from gridpact.community.numerals import Marks
from gridpact.community.tables import Row, Table
from gridpact.errors import InputError

DAY_MINUTES = 24 * 60
LEAST_COLUMNS = 12
MOST_LONGER = {24: 1, 48: 2, 96: 4}
"""How many steps more a day has on which the clock is put back, by how many it has usually."""

CLOCK_NAME = re.compile(r"(\d{1,2})[:.h](\d{2})(?::00)?(?:\s*(?P<half>[AaPp])\.?[Mm]\.?)?(?:\s*[-\u2013].*)?")
NUMBER_NAME = re.compile(r"([^\W\d]*[\s_.]*)(\d{1,3})")
CLOCK, VALUE = "clock", "value"


def a_row_for_each(table: Table, times: TimeColumns) -> tuple[Table, TimeColumns]:
    """A table with a row for each reading, if it has one for each day; else as it is.

    Days with more steps than others, on which the clock was put back, are left out, with a remark.

    Raises:
        InputError: the steps do not fill a day.
    """
    rest = [name for name in table.header if name not in times.all]
    starts = _starts(rest)
    if times.clock is not None or not starts:
        return table, times
    steps = {name: minute for name, minute in starts.items() if minute < DAY_MINUTES}
    beyond = [name for name in starts if name not in steps]
    long = [row for row in table.rows if not all(row.is_gap(name) for name in beyond)]
    kept = [name for name in table.header if name not in starts]
    marks = Marks(table.rows[0].marks.given, table.rows[0].marks.between_commas, table.rows[0].marks.may_group)
    rows = tuple(
        Row(
            row.file,
            row.number,
            {**{one: row.cells[one] for one in kept}, CLOCK: f"{minute // 60:02d}:{minute % 60:02d}",
             VALUE: row.cells[name]},
            marks,
            {VALUE: name},
        )
        for row in table.rows if row not in long
        for name, minute in steps.items()
    )  # fmt: skip
    if not rows:
        raise InputError(f"{table.file} has no day but that on which the clock changed")
    marks.look_at(rows)
    names = list(steps)
    said = [f"{table.file} has a row for each day: its {len(steps)} columns '{names[0]}' to '{names[-1]}' were taken "
            "for the steps of a day, in their order."]  # fmt: skip
    if long:
        said.append(f"Left out, since the clock changed: {', '.join(row.text(times.day) for row in long)}.")
    turned = replace(table, header=(*kept, CLOCK, VALUE), rows=rows, remarks=(*table.remarks, *said))
    return turned, replace(times, clock=CLOCK)


def _starts(names: list[str]) -> dict[str, int]:
    """Minutes after midnight at which the steps begin after which columns are named; none where they are not."""
    clocks = {name: _minute(part) for name in names if (part := CLOCK_NAME.fullmatch(name.strip()))}
    if len(clocks) >= LEAST_COLUMNS:
        return _of_clocks(clocks)
    by_prefix: dict[str, dict[str, int]] = {}
    for name in names:
        if part := NUMBER_NAME.fullmatch(name.strip()):
            by_prefix.setdefault(part[1].casefold(), {})[name] = int(part[2])
    return next((found for numbers in by_prefix.values() if (found := _of_numbers(numbers))), {})


def _minute(part: re.Match[str]) -> int:
    hours = int(part[1])
    if part["half"]:
        hours = hours % 12 + (12 if part["half"] in "Pp" else 0)
    return 60 * hours + int(part[2])


def _of_clocks(clocks: dict[str, int]) -> dict[str, int]:
    at = list(clocks.values())
    step = at[1] - at[0]
    if at[-1] == 0:  # the midnight at the end of the day
        at[-1] = DAY_MINUTES
    if any(later - earlier != step for earlier, later in pairwise(at)) or step * len(at) != DAY_MINUTES:
        return {}
    if at[0] not in (0, step):
        return {}
    return {name: minute - at[0] for name, minute in zip(clocks, at, strict=True)}


def _of_numbers(numbers: dict[str, int]) -> dict[str, int]:
    given = list(numbers.values())
    usual = next((count for count, more in MOST_LONGER.items() if len(given) in (count, count + more)), 0)
    if not usual or given != list(range(given[0], given[0] + len(given))) or given[0] not in (0, 1):
        return {}
    return {name: (number - given[0]) * DAY_MINUTES // usual for name, number in numbers.items()}
