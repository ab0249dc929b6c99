"""The Ausgrid "Solar home electricity data", in both layouts in which it is passed on.

*Original*: a file a year, perhaps a title in its first row, then 53 or 54 columns: Customer, Generator Capacity (kWp),
Postcode, Consumption Category, date, 48 half hours named by their end (0:30 to 0:00) in kWh, and in some years Row
Quality. A row is a customer's day in one category: GC general consumption, CL controlled load (a boiler, some
customers), GG gross generation.

*Series*: a file a customer: time (the start of a half hour), GC, GG and perhaps CL, mean power in kW.

Both are in the local time of Sydney. On the day when the clock is put forward the hour that is not there holds zeros,
and on the day when it is put back the doubled hour holds the sum of both: those two days are left out.

The data may be downloaded by anybody, but not passed on; so none are shipped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.meters import Gaps, Meter, MeterData, Readings, check_power, clock_changes, rounded_up, united
from gridpact.community.model import Array
from gridpact.community.tables import Row, rows_below, text_of
from gridpact.errors import InputError

STEP_MINUTES = 30
STEPS = 48
ZONE = "Australia/Sydney"
FACTS = ("Customer", "Generator Capacity", "Postcode", "Consumption Category", "date")
HALF_HOURS = tuple(f"{(k + 1) // 2 % 24}:{'30' if k % 2 == 0 else '00'}" for k in range(STEPS))
QUALITY = "Row Quality"
CATEGORIES = {"GC": "general consumption", "CL": "controlled load", "GG": "gross generation"}
DATES = ("%d/%m/%Y", "%d-%b-%y", "%d-%b-%Y", "%Y-%m-%d")

KWP_IN_NAME = re.compile(r"(\d+(?:[._]\d+)?)\s*kwp", re.IGNORECASE)


def is_ausgrid(header: Sequence[str]) -> bool:
    """Whether a header is one of the two layouts'."""
    names = {name.strip().casefold() for name in header}
    return "consumption category" in names or {"gc", "gg"} <= names


def read_ausgrid(paths: Sequence[Path], gaps: Gaps = Gaps.REFUSE, customers: Sequence[str] = ()) -> MeterData:
    """Reads files in either layout.

    Args:
        paths: one original file or more, or one series for each customer.
        gaps: what to do with days that are missing between a customer's first and last. A line through the hours of
            a whole day means nothing, so in the original layout `FILL` refuses, too.
        customers: households to read, as they are named here ("customer_12"); none: all.

    Returns:
        Households "customer_N", or, of a series, the name of its file.

    Raises:
        InputError: says what is wrong in which file and row: a column or category that is missing or not known, a
            date that is none, a gap, a negative number, a row that stands twice.
    """
    meters: list[Meter] = []
    remarks: list[str] = []
    for path in paths:
        first, header = _header(path)
        if {"GC", "GG"} & set(header):
            of_file, noted = _read_series(path, gaps, customers)
        else:
            of_file, noted = _read_original(path, first, header, gaps, customers)
        meters += of_file
        remarks += noted
    names = [meter.name for meter in meters]
    for name in names:
        if names.count(name) > 1:
            files = ", ".join(path.name for path in paths)
            raise InputError(f"'{name}' is in more than one of {files}; give each customer's readings once")
    data = MeterData(STEP_MINUTES, tuple(meters), united(remarks))
    if customers:
        data = data.only(customers)
    if not meters:
        raise InputError("there are no customers in these files")
    return data


def _header(path: Path) -> tuple[int, list[str]]:
    """The row, counted from 1, in which the header stands, and its columns."""
    lines = [line for line in text_of(path).splitlines()[:2] if line.strip()]
    if not lines:
        raise InputError(f"{path.name} is empty; its header must name the columns {', '.join(FACTS)}, 0:30, ... 0:00")
    for number, line in enumerate(lines, start=1):
        header = [name.strip().strip('"') for name in line.split(",")]
        if is_ausgrid(header) or {"Customer", "Generator Capacity"} & set(header):
            return number, header
    return 1, [name.strip().strip('"') for name in lines[0].split(",")]


# ---------------------------------------------------------------------- the original layout


@dataclass
class _Customer:
    """What was read of one customer so far."""

    number: str
    kwp: float
    energy_kwh: dict[str, dict[date, Array]] = field(default_factory=lambda: {key: {} for key in CATEGORIES})
    seen: dict[tuple[str, date], Row] = field(default_factory=dict)
    estimated: int = 0  # rows whose quality is not blank

    @property
    def name(self) -> str:
        return f"customer_{self.number}"


def _read_original(
    path: Path, first: int, header: Sequence[str], gaps: Gaps, customers: Sequence[str]
) -> tuple[list[Meter], list[str]]:
    _check_columns(path, header)
    by_number: dict[str, _Customer] = {}
    for row in rows_below(path, first, header):
        number = row.text("Customer")
        if customers and f"customer_{number}" not in customers:
            continue
        category = row.text("Consumption Category").upper()
        if category not in CATEGORIES:
            known = ", ".join(f"{key} ({name})" for key, name in CATEGORIES.items())
            raise row.error("Consumption Category", f"'{category}' is not known; the categories are {known}")
        kwp = row.number_in("Generator Capacity", 0)
        customer = by_number.setdefault(number, _Customer(number, kwp))
        if kwp != customer.kwp:
            raise row.error(
                "Generator Capacity", f"customer {number} has {kwp:g} kWp here, but {customer.kwp:g} in an earlier row"
            )
        day = _date(row)
        if (earlier := customer.seen.get((category, day))) is not None:
            raise row.error(
                "date",
                f"customer {number} has a second row of {category} on {day.isoformat()}, the first is row "
                f"{earlier.number}",
            )
        customer.seen[category, day] = row
        customer.energy_kwh[category][day] = np.array([row.number_in(column, 0) for column in HALF_HOURS])
        customer.estimated += bool(row.cells.get(QUALITY, "").strip())
    zone = ZoneInfo(ZONE)
    meters, remarks = [], []
    for customer in by_number.values():
        meter, noted = _meter(path, customer, gaps, zone)
        meters.append(meter)
        remarks += noted
    return meters, remarks


def _check_columns(path: Path, header: Sequence[str]) -> None:
    for column in (*FACTS, *HALF_HOURS):
        if column not in header:
            raise InputError(
                f"{path.name}: column '{column}' is missing; the original Ausgrid layout has {', '.join(FACTS)}, "
                "0:30, 1:00, ... 23:30, 0:00"
            )
    for column in header:
        if header.count(column) > 1:
            raise InputError(f"{path.name}: column '{column}' stands twice in the header; remove one")
        if column not in (*FACTS, *HALF_HOURS, QUALITY):
            raise InputError(f"{path.name}: column '{column}' is not known; remove it, or correct its name")


def _date(row: Row) -> date:
    text = row.text("date")
    for form in DATES:
        try:
            return datetime.strptime(text, form).date()
        except ValueError:
            continue
    raise row.error("date", f"'{text}' is not a date DD/MM/YYYY, for example 21/06/2012")


def _meter(path: Path, customer: _Customer, gaps: Gaps, zone: ZoneInfo) -> tuple[Meter, list[str]]:
    """One customer: load GC + CL, PV GG, on the days that have all categories that the customer has."""
    number, energy = customer.number, customer.energy_kwh
    for category in ("GC", "GG"):
        if not energy[category]:
            raise InputError(f"{path.name}: customer {number} has no row of {category} ({CATEGORIES[category]})")
    has = [category for category in CATEGORIES if energy[category]]
    everything = sorted({day for category in has for day in energy[category]})
    remarks: list[str] = []
    left_out = []
    for k, day in enumerate(everything):
        lacking = [category for category in has if day not in energy[category]]
        gone = k > 0 and day - everything[k - 1] != timedelta(days=1)
        if not lacking and not gone:
            continue
        if gaps is not Gaps.SKIP:
            before = max(row.number for (_, seen), row in customer.seen.items() if seen == everything[max(k - 1, 0)])
            what = (
                f"has no row of {lacking[0]} on {day.isoformat()}"
                if lacking
                else f"has no rows between {everything[k - 1].isoformat()} and {day.isoformat()}"
            )
            raise InputError(
                f"{path.name}, row {before}: after it customer {number} {what}; leave such days out with --gaps skip"
            )
        if lacking:
            left_out.append(day)
    changed = [day for day in everything if clock_changes(day, zone)]
    remarks += [f"Left out, since the clock changed: {day.isoformat()}." for day in changed]
    if left_out:
        shown = ", ".join(day.isoformat() for day in left_out[:6])
        remarks.append(f"Left out, since customer {number} lacks a category: {shown}.")
    if customer.estimated:
        remarks.append(
            f"{customer.estimated} rows of customer {number} are marked as estimated or substituted by Ausgrid."
        )
    days = [day for day in everything if day not in left_out and day not in changed]
    if not days:
        raise InputError(f"{path.name}: customer {number} has no day with all its categories")
    per_hour = 60 / STEP_MINUTES
    load = {
        day.isoformat(): per_hour * sum((energy[c][day] for c in has if c != "GG"), np.zeros(STEPS)) for day in days
    }
    pv = {day.isoformat(): per_hour * energy["GG"][day] for day in days}
    check_power(path.name, customer.name, load)
    return Meter(customer.name, load, pv, customer.kwp), remarks


# ---------------------------------------------------------------------- a series for each customer


def _read_series(path: Path, gaps: Gaps, customers: Sequence[str]) -> tuple[list[Meter], list[str]]:
    _, header = _header(path)
    for column in ("GC", "GG"):
        if column not in header:
            raise InputError(
                f"{path.name}: column '{column}' is missing; this Ausgrid layout has the time, GC, GG and perhaps CL"
            )
    for column in header[1:]:
        if column not in CATEGORIES:
            raise InputError(
                f"{path.name}: column '{column}' is not known; besides the time there are {', '.join(CATEGORIES)}"
            )
    name, said_kwp = _name_and_size(path)
    if customers and name not in customers:
        return [], []
    columns = [column for column in CATEGORIES if column in header]
    readings = Readings(path.name, name, len(columns))
    for row in rows_below(path, 1, ["time", *header[1:]]):
        text = row.text("time")
        try:
            start = datetime.fromisoformat(text)
        except ValueError:
            raise row.error("time", f"'{text}' is not a time YYYY-MM-DD HH:MM:SS") from None
        readings.add(start, row.number, [row.number_in(column, 0) for column in columns])
    _, by_day, remarks = readings.by_day(gaps, ZoneInfo(ZONE), STEP_MINUTES)
    consumption = [k for k, column in enumerate(columns) if column != "GG"]
    load = {day: values[consumption].sum(axis=0) for day, values in by_day.items()}
    pv = {day: values[columns.index("GG")] for day, values in by_day.items()}
    check_power(path.name, name, load)
    kwp = said_kwp or rounded_up(pv)
    if not said_kwp:
        remarks.append(f"The PV size of '{name}' is its largest output, rounded up: {kwp:g} kWp.")
    return [Meter(name, load, pv, kwp)], remarks


def _name_and_size(path: Path) -> tuple[str, float]:
    """What the file is called, and a size like 1.04kWp in it, 0 where it tells none."""
    stem = path.stem
    size = KWP_IN_NAME.search(stem)
    if number := re.match(r"customer[_ ]?(\d+)", stem, re.IGNORECASE):
        stem = f"customer_{number[1]}"
    return stem, float(size[1].replace("_", ".")) if size else 0.0
