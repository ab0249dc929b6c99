"""NEM12 files: interval readings as Australian market participants hand them out, by AEMO's Meter Data File Format.

A line of 200 names a connection point, a register and the minutes of an interval; each of 300 below it has the readings
of one day. Times are the market's, ten hours ahead of UTC the whole year, wherever the meter stands.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from datetime import datetime, timedelta

from gridpact.errors import InputError

MARKET_TIME = "+10:00"
HEADER = ("Start", "household", "Register", "Volume", "Unit")
WAYS = {"E": "import", "B": "export", "Q": "reactive", "K": "reactive"}
"""What a register counts, by the first letter of its suffix."""

LENGTHS = ("5", "15", "30")
NULL = "N"  # quality of a day without readings


def table_of(text: str, file: str) -> str | None:
    """The readings of a NEM12 file as a CSV table with a row for each; None: it is none.

    Raises:
        InputError: it has accumulated readings (NEM13), or a line that breaks the format.
    """
    lines = text.lstrip("\ufeff \n").split("\n")
    if re.match(r'"?100"?,"?NEM13', lines[0]):
        raise InputError(f"{file} has accumulated readings (NEM13); ask for those of intervals (NEM12)")
    if not re.match(r'"?100"?,"?NEM12|"?200"?,[^,]*,[^,]*,', lines[0]):
        return None
    rows = list(_rows(lines, file))
    if not rows:
        raise InputError(f"{file} is NEM12 without a day of readings, a line that begins with 300")
    written = io.StringIO()
    several = len({row[1] for row in rows}) > 1
    kept = [k for k, name in enumerate(HEADER) if several or name != "household"]
    csv.writer(written).writerows([[row[k] for k in kept] for row in (HEADER, *rows)])
    return written.getvalue()


def _rows(lines: list[str], file: str) -> Iterator[tuple[str, str, str, str, str]]:
    point = suffix = unit = ""
    minutes = 0
    for number, cells in enumerate(csv.reader(lines), start=1):
        if cells[:1] == ["200"]:
            if len(cells) < 9 or cells[8].strip() not in LENGTHS or cells[4].strip()[:1] not in WAYS:
                raise InputError(
                    f"{file}, row {number}: a line of 200 needs a suffix like E1 or B1, a unit and an interval of "
                    f"{', '.join(LENGTHS)} minutes, in its cells 5, 8 and 9"
                )
            point, suffix, unit, minutes = cells[1].strip(), cells[4].strip(), cells[7].strip(), int(cells[8])
        elif cells[:1] == ["300"]:
            count = 24 * 60 // minutes if minutes else 0
            try:
                day = datetime.strptime(cells[1].strip(), "%Y%m%d")
            except (ValueError, IndexError):
                raise InputError(f"{file}, row {number}: a line of 300 needs a date like 20240621 in cell 2") from None
            if not count or len(cells) < count + 3:
                raise InputError(
                    f"{file}, row {number}: a line of 300 has {len(cells)} cells, but a day of the line of 200 above "
                    f"it {count} readings, behind its date and before its quality"
                )
            is_null = cells[count + 2].strip() == NULL
            for k, value in enumerate(cells[2 : count + 2]):
                start = day + timedelta(minutes=k * minutes)
                way = f"{WAYS[suffix[0]]} {suffix}"
                yield f"{start:%Y-%m-%dT%H:%M}{MARKET_TIME}", point, way, "" if is_null else value, unit
