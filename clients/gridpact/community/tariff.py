"""Prices of own data: flat, by the time of day, or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.columns import TimeColumns, time_columns
from gridpact.community.meters import DAY_MINUTES, clock_changes
from gridpact.community.model import Array
from gridpact.community.readings import HowToRead, local, moments_of
from gridpact.community.tables import Table, foreign_table, minutes
from gridpact.community.times import DateOrder
from gridpact.errors import InputError

PRICES = ("import_price", "feed_in_price")

Tariff = dict[str, Array]
"""Price by day, currency/kWh, (T,)."""


def by_time_of_day(text: str, days: Sequence[str], step_minutes: int) -> Tariff:
    """A tariff like "0.25" or "0.22,15:00-20:00=0.40,00:00-06:00=0.18", the same on every day.

    The first number holds wherever no window does; where windows overlap, the last one holds. A window may go over
    midnight. A step takes the mean over its minutes.

    Raises:
        InputError: it cannot be read as this.
    """
    base, *windows = text.split(",")
    of_minute = np.full(DAY_MINUTES, _price(base, text))
    for window in windows:
        hours, equals, price = window.partition("=")
        start, dash, end = hours.partition("-")
        begin, until = minutes(start.strip()), minutes(end.strip())
        if not (equals and dash) or begin is None or until is None or begin == until:
            raise InputError(f"'{window}' in the tariff '{text}' is not like 15:00-20:00=0.40")
        if begin < until:
            of_minute[begin:until] = _price(price, text)
        else:
            of_minute[begin:] = of_minute[:until] = _price(price, text)
    price_of_step = of_minute.reshape(-1, step_minutes).mean(axis=1)
    return dict.fromkeys(days, price_of_step)


def from_table(
    path: Path,
    step_minutes: int,
    zone: ZoneInfo | None = None,
    column: str = "import_price",
    dates: DateOrder | None = None,
    decimal: str | None = None,
) -> Tariff:
    """Prices from a table with a column of times (starts of steps, local or with an offset) and one of prices.

    Prices of longer steps hold for all steps within, of shorter ones the mean is taken. Days that are not whole, and
    those on which the zone's clock changes, are left out.

    Args:
        zone: of the place, which times with an offset from UTC need.
        column: which has the prices, currency/kWh.
        dates, decimal: see `readings.HowToRead`.

    Raises:
        InputError: names the row; or the steps do not fit each other.
    """
    table = price_table(path, decimal)
    times = time_columns(table.header)
    if not isinstance(times, TimeColumns) or column not in table.header:
        missing = column if isinstance(times, TimeColumns) else "time"
        raise InputError(f"{path.name}: column '{missing}' is missing; the header has: {', '.join(table.header)}")
    if unknown := [name for name in table.header if name not in (*times.all, *PRICES)]:
        raise InputError(f"{path.name}: column '{unknown[0]}' is not known; known columns: time, {', '.join(PRICES)}")
    starts, _ = moments_of(table, times, HowToRead(zone=zone, dates=dates))
    by_day: dict[str, dict[int, tuple[float, int]]] = {}
    for row, moment in zip(table.rows, starts, strict=True):
        start = local(moment, zone)
        if clock_changes(start.date(), zone):
            continue
        day, clock = start.date().isoformat(), start.hour * 60 + start.minute
        price, first = row.number_in(column), by_day.setdefault(day, {}).get(clock)
        if first is not None and first[0] != price:
            raise row.error(times.day, f"a second price at {day} {start:%H:%M}, the first is in row {first[1]}")
        by_day[day].setdefault(clock, (price, row.number))
    if not by_day:
        raise InputError(f"{path.name} has no prices but of days on which the clock changes")
    clocks = sorted({clock for of_day in by_day.values() for clock in of_day})
    own_step = min(np.diff([*clocks, DAY_MINUTES]))
    if DAY_MINUTES % own_step or (own_step % step_minutes and step_minutes % own_step):
        raise InputError(f"{path.name}: prices of {own_step} minutes do not fit steps of {step_minutes}")
    tariff: Tariff = {}
    for day, of_day in by_day.items():
        if sorted(of_day) == list(range(0, DAY_MINUTES, own_step)):
            prices = np.array([of_day[clock][0] for clock in sorted(of_day)])
            finest = np.repeat(prices, max(own_step // step_minutes, 1))
            tariff[day] = finest.reshape(DAY_MINUTES // step_minutes, -1).mean(axis=1)
    return tariff


def price_table(path: Path, decimal: str | None = None) -> Table:
    """A table of prices, whatever its separator.

    Raises:
        InputError: as `tables.foreign_table`.
    """
    return foreign_table(path, [lambda cells: cells if time_columns(cells) else None], decimal)


def capped(feed_in: Tariff, imported: Tariff, days: Sequence[str]) -> tuple[Tariff, int]:
    """Prices of feed-in of some days, nowhere above that of import, and at how many steps they were.

    Where feeding in pays more than importing costs, a plan could earn by doing both at once, without end.
    """
    result = {day: np.minimum(feed_in[day], imported[day]) for day in days}
    return result, int(sum((result[day] < feed_in[day]).sum() for day in days))


def _price(text: str, tariff: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = float("nan")
    if not np.isfinite(price):
        raise InputError(
            f"'{text}' in the tariff '{tariff}' is not a price per kWh; write it like 0.25 or 0.22,15:00-20:00=0.40"
        )
    return price
