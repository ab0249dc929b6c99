"""Prices of own data: flat, by the time of day, or from a table."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

import numpy as np

from gridpact.community.columns import TimeColumns, is_hardly_used, plain, time_columns
from gridpact.community.meters import DAY_MINUTES, clock_changes
from gridpact.community.model import Array
from gridpact.community.readings import HowToRead, local, timed
from gridpact.community.readings.by_day import VALUE
from gridpact.community.readings.source import quoted
from gridpact.community.tables import Table, foreign_table, minutes
from gridpact.errors import InputError

PRICES = ("import_price", "feed_in_price")

PRICE_WORDS = ("price", "preis", "prijs", "precio", "prix", "prezzo", "pris ", "tariff", "tarif")

KINDS_OF_MONEY = ("currency", "währung", "valuta", "moneda", "devise", "unit", "einheit", "eenheid", "unidad")
"""Columns that tell the currency or the unit of others."""

PRICE_UNIT = re.compile(
    r"(?:^|[\s_(\[]+)(?:(?P<minor>(?:ct|cts|cents?|c|p|pence|rp|øre|öre|ore|gr)\.?)|€|\$|£|eur|euro|usd|gbp|chf|sek|nok|dkk|pln|czk|aud|huf|ron|kr)"
    r"(?:[\s_]*(?:/|per|pro)?[\s_]*(?P<energy>kwh|mwh)(?![^\W_])[^/]*|\s*[)\]]?)$",
    re.IGNORECASE,
)
"""Behind the name of a column: (EUR/MWh), ct/kWh, _ct; with an energy also within it: ct/kWh (gross)."""

WITHOUT_TAXES = frozenset(
    ("net", "netto", "excl", "exkl", "exc", "exclusive", "excluding", "ohne", "zzgl", "hors", "sans", "without", "bez")
)
"""Words in the name of a column whose prices lack taxes."""

Tariff = dict[str, Array]
"""Price by day, currency/kWh, (T,)."""


def by_time_of_day(text: str, days: Sequence[str], step_minutes: int) -> Tariff:
    """A tariff like "0.25" or "0.22,15:00-20:00=0.40,00:00-06:00=0.18", the same on every day.

    The first number holds wherever no window does; where windows overlap, the last one holds. A window may go over
    midnight. A step takes the mean over its minutes.

    Raises:
        InputError: it cannot be read as this.
    """
    text = text.replace("\u2013", "-")
    base, *windows = text.split(",")
    if re.fullmatch(r"\s*\d+,\d+\s*", text):
        raise InputError(f"'{text}' has a decimal comma; write {text.strip().replace(',', '.')}")
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
    path: Path, step_minutes: int, how: HowToRead, column: str = "import_price"
) -> tuple[Tariff, tuple[str, ...]]:
    """Prices from a table with a column of times (starts of steps, local or with an offset) and one of prices.

    Prices of longer steps hold for all steps within, of shorter ones the mean is taken. Days that are not whole, and
    those on which the zone's clock changes, are left out. A column with another name is taken if it is the only one of
    prices, and turned into currency/kWh by the unit in its name.

    Args:
        how: what the table does not say of its times and numbers.
        column: which has the prices.

    Returns:
        The prices, and what was assumed, a sentence each.

    Raises:
        InputError: names the row; or the steps do not fit each other, or it cannot be told what has the prices.
    """
    table, times, starts, said = timed(price_table(path, how.decimal), how)
    found = price_column(table, times, column)
    by_day: dict[str, dict[int, tuple[float, int]]] = {}
    for row, moment in zip(table.rows, starts, strict=True):
        start = local(moment, how.zone)
        if clock_changes(start.date(), how.zone) or row.is_gap(found.name):
            continue
        day, clock = start.date().isoformat(), start.hour * 60 + start.minute
        price, first = found.factor * row.number_in(found.name), by_day.setdefault(day, {}).get(clock)
        if first is not None and first[0] != price:
            hint = "" if how.zone else "; if the clock was put back then, give the time zone"
            raise row.error(times.day, f"a second price at {day} {start:%H:%M}, the first is in row {first[1]}{hint}")
        by_day[day].setdefault(clock, (price, row.number))
    if not by_day:
        raise InputError(f"{path.name} has no prices but of days on which the clock changes")
    clocks = sorted({clock for of_day in by_day.values() for clock in of_day})
    own_step = int(min(np.diff([*clocks, DAY_MINUTES])))
    if how.times_are_ends:
        by_day = _starting(by_day, own_step)
        clocks = sorted({clock for of_day in by_day.values() for clock in of_day})
    if DAY_MINUTES % own_step or (own_step % step_minutes and step_minutes % own_step):
        raise InputError(f"{path.name}: prices of {own_step} minutes do not fit steps of {step_minutes}")
    tariff: Tariff = {}
    for day, of_day in by_day.items():
        if sorted(of_day) == list(range(0, DAY_MINUTES, own_step)):
            prices = np.array([of_day[clock][0] for clock in sorted(of_day)])
            finest = np.repeat(prices, max(own_step // step_minutes, 1))
            tariff[day] = finest.reshape(DAY_MINUTES // step_minutes, -1).mean(axis=1)
    return tariff, (*table.remarks, *said, *found.said(path.name))


def _starting(by_day: dict[str, dict[int, tuple[float, int]]], step: int) -> dict[str, dict[int, tuple[float, int]]]:
    """Prices at the starts of steps, from those at the ends."""
    started: dict[str, dict[int, tuple[float, int]]] = {}
    for day, of_day in by_day.items():
        for clock, price in of_day.items():
            begun = date.fromisoformat(day) - timedelta(days=clock < step)
            started.setdefault(begun.isoformat(), {})[(clock - step) % DAY_MINUTES] = price
    return started


@dataclass(frozen=True)
class PriceColumn:
    """The column of a table that has the prices."""

    name: str
    factor: float = 1.0  # that makes currency/kWh of it
    is_named: bool = True  # as it is documented
    passed_over: tuple[str, ...] = ()  # columns that were not looked at

    def said(self, file: str) -> tuple[str, ...]:
        """What was assumed, in words."""
        words = []
        if not self.is_named or self.factor != 1:
            unit = "" if self.factor == 1 else f", times {self.factor:g} for a kWh by its unit"
            words.append(f"{file}: '{self.name}' was taken for the price{unit}.")
        if self.passed_over:
            words.append(f"{file}: not looked at: {quoted(self.passed_over)}.")
        return tuple(words)


def price_column(table: Table, times: TimeColumns, column: str) -> PriceColumn:
    """The column with the prices: that of the name, or else the only one that looks like it.

    Raises:
        InputError: there is none, there are several, or amounts change their currency or unit.
    """
    rest = [name for name in table.header if name not in times.all]
    for name in rest:
        if plain(name) in KINDS_OF_MONEY and len({row.cells[name].strip() for row in table.rows}) > 1:
            first = table.rows[0].cells[name]
            row = next(row for row in table.rows if row.cells[name] != first)
            raise row.error(name, f"'{row.cells[name]}' here, '{first}' above; give one currency and unit")
    priced = {name: unit for name in rest if (unit := _price_unit(name)) is not None}
    exact = [name for name in priced if plain(PRICE_UNIT.sub("", name)) == plain(column)]
    wanted = [name for name in priced if is_hardly_used(name) == (column == "feed_in_price")]
    candidates = exact or wanted or (list(priced) if len(priced) == 1 else [])
    candidates = [name for name in candidates if not all(row.is_gap(name) for row in table.rows)] or candidates
    if len(candidates) > 1:
        candidates = [name for name in candidates if not _is_net(name)] or candidates
    if len(candidates) != 1:
        what = f"has prices in {quoted(candidates)}" if candidates else f"has no column '{column}'"
        raise InputError(f"{table.file} {what}; call the one to take {column}: its columns are {quoted(table.header)}")
    (name,) = candidates
    if column == "import_price" and _is_net(name):
        raise InputError(
            f"{table.file}: '{name}' is without taxes by its name, and import costs what is paid for it: add taxes and "
            "fees, and call the column import_price"
        )
    others = [one for one in rest if one != name and one not in PRICES]
    if exact and (also := [one for one in others if one in priced]):
        raise InputError(f"{table.file}: column '{also[0]}' is not known; known columns: time, {', '.join(PRICES)}")
    factor = priced[name]
    if PRICE_UNIT.search(name) is None:
        if re.search(r"/\s*[km]?wh|[km]wh\b", name, re.IGNORECASE):
            raise InputError(f"{table.file}: the unit of '{name}' is not known; write EUR/kWh, ct/kWh or EUR/MWh there")
        told = [table.rows[0].cells[one] for one in rest if plain(one) in KINDS_OF_MONEY]
        factor = math.prod(_unit_factor(text) or 1.0 for text in told)
    return PriceColumn(name, factor, name == column, tuple(others))


def _is_net(name: str) -> bool:
    return not WITHOUT_TAXES.isdisjoint(plain(name).split())


def _price_unit(name: str) -> float | None:
    """What makes currency/kWh of a column's prices, by the unit in its name; None: it is none of prices."""
    words = f" {plain(name)}"
    is_priced = name == VALUE or any(word in words for word in PRICE_WORDS)
    return _unit_factor(name) or (1.0 if is_priced else None)


def _unit_factor(text: str) -> float | None:
    """What makes currency/kWh of prices in the unit behind a text; None: there is none."""
    if (unit := PRICE_UNIT.search(f" {text}")) is None:
        return None
    return (0.01 if unit["minor"] else 1.0) * (0.001 if (unit["energy"] or "").lower() == "mwh" else 1.0)


def price_table(path: Path, decimal: str | None = None) -> Table:
    """A table of prices, whatever its separator.

    Raises:
        InputError: as `tables.foreign_table`.
    """
    headers = [lambda cells: cells if time_columns(cells) else None]
    return foreign_table(path, headers, decimal, time_told="call it so")


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
