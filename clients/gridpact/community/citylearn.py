"""A data set of CityLearn: a `schema.json` and, beside it, a table for each building and one of prices.

A building's table has a row an hour (`seconds_per_time_step`): month, hour, type of day (1 Monday to 7 Sunday, 8 a
holiday), the electricity that nothing can shift (kWh), heat for hot water, cooling and heating (kWh of heat), and what
a kW of panels gives (W). Both sets of column names are known, those of the challenges of 2020 to 2022 and those since.
An hour is named by its end: 1 is from midnight on, 24 ends at midnight. The year is nowhere named, so it is asked
(`first_day`), and months, hours and types of days must agree with it.

Of a building's devices its panels and its battery are taken. Heat is not electricity before a device makes it, so it is
left out, and said.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.meters import DAY_MINUTES, BatteryOf, Meter, MeterData, check_power, united
from gridpact.community.model import Array
from gridpact.community.tables import Row, rows, text_of
from gridpact.errors import InputError
from gridpact.files import parse_json

MONTH, HOUR, DAY_TYPE = ("Month", "month"), ("Hour", "hour"), ("Day Type", "day_type")
LOAD = ("Equipment Electric Power [kWh]", "non_shiftable_load")
SOLAR = ("Solar Generation [W/kW]", "solar_generation")
HEAT = (
    ("DHW Heating [kWh]", "dhw_demand"),
    ("Cooling Load [kWh]", "cooling_demand"),
    ("Heating Load [kWh]", "heating_demand"),
)
PRICE = ("Electricity Pricing [$]", "electricity_pricing")
HOLIDAY = 8


def is_citylearn(paths: Sequence[Path]) -> bool:
    """Whether what is given is a schema of CityLearn's."""
    return len(paths) == 1 and paths[0].suffix.casefold() == ".json"


def read_citylearn(path: Path, first_day: date | None, buildings: Sequence[str] = ()) -> MeterData:
    """Reads a schema and the tables that it names.

    Args:
        first_day: the date of the first row of the tables; None: as the schema says, where it does.
        buildings: those to read; none: all that the schema includes.

    Raises:
        InputError: says what is wrong in which file and row, or what is missing.
    """
    schema = _schema(path)
    seconds = schema.get("seconds_per_time_step", 3600)
    step_minutes = seconds / 60 if isinstance(seconds, int | float) and not isinstance(seconds, bool) else 0
    if step_minutes < 1 or DAY_MINUTES % step_minutes:
        raise InputError(f"{path.name}: seconds_per_time_step must be whole minutes that divide a day, not {seconds!r}")
    start = first_day or _stated_day(path, schema)
    chosen = _chosen(path, schema, buildings)
    meters, remarks = [], []
    for name, stated in chosen.items():
        table = _Table.of(_beside(path, stated, name, "energy_simulation"), start, int(step_minutes))
        meter, noted = _meter(path, name, stated, table)
        meters.append(meter)
        remarks += noted
    price: dict[str, Array] = {}
    files = {stated["pricing"] for stated in chosen.values() if isinstance(stated.get("pricing"), str)}
    if len(files) == 1:
        price = _prices(path.parent / files.pop(), table)
    elif files:
        remarks.append("The buildings have several tables of prices, of which none was taken.")
    return MeterData(int(step_minutes), tuple(meters), united(remarks), prices=price)


def _schema(path: Path) -> dict[str, Any]:
    try:
        schema = parse_json(text_of(path))
    except ValueError as error:
        raise InputError(f"{path.name} is no JSON: {error}") from None
    if not isinstance(schema, dict) or not isinstance(schema.get("buildings"), dict) or not schema["buildings"]:
        raise InputError(f"{path.name} has no 'buildings': give the schema.json of a CityLearn data set")
    return schema


def _stated_day(path: Path, schema: Mapping[str, Any]) -> date:
    stated = schema.get("start_date")
    try:
        return date.fromisoformat(str(stated)[:10])
    except ValueError:
        raise InputError(
            f"{path.name} does not say which year it is; give the date of the first row of its tables with --first-day "
            "YYYY-MM-DD, which months and types of days must agree with"
        ) from None


def _chosen(path: Path, schema: Mapping[str, Any], buildings: Sequence[str]) -> dict[str, dict[str, Any]]:
    every: dict[str, dict[str, Any]] = {name: of for name, of in schema["buildings"].items() if isinstance(of, dict)}
    for name in buildings:
        if name not in every:
            raise InputError(f"{path.name}: there is no building '{name}'; there are {', '.join(every)}")
    chosen = {name: of for name, of in every.items() if (name in buildings if buildings else of.get("include", True))}
    if not chosen:
        raise InputError(f"{path.name} includes no building; name some with --only")
    return chosen


def _beside(path: Path, stated: Mapping[str, Any], name: str, key: str) -> Path:
    file = stated.get(key)
    if not isinstance(file, str) or not file:
        raise InputError(f"{path.name}: building '{name}' has no '{key}', the name of its table")
    return path.parent / file


@dataclass(frozen=True)
class _Table:
    """A building's table, in whole days from midnight to midnight."""

    file: str
    rows: tuple[Row, ...]
    names: dict[tuple[str, ...], str]  # what columns are called here
    days: tuple[tuple[str, int], ...]  # day and its first row
    steps: int  # a day

    @staticmethod
    def of(path: Path, first_day: date, step_minutes: int) -> _Table:
        everything = tuple(rows(path, (), None))
        names: dict[tuple[str, ...], str] = {
            known: next((name for name in known if name in everything[0].cells), "")
            for known in (MONTH, HOUR, DAY_TYPE, LOAD, SOLAR, *HEAT)
        }
        for known in (MONTH, HOUR, LOAD):
            if not names[known]:
                raise InputError(f"{path.name}: there is no column '{known[0]}' (or '{known[1]}')")
        steps, days = DAY_MINUTES // step_minutes, []
        begin = datetime.combine(first_day, time()) + timedelta(hours=everything[0].integer(names[HOUR], 1, 24) - 1)
        for index, row in enumerate(everything):
            at = begin + index * timedelta(minutes=step_minutes)
            _check(row, names, at)
            if at.time() == time() and index + steps <= len(everything):
                days.append((at.date().isoformat(), index))
        if not days:
            raise InputError(f"{path.name} has no whole day")
        return _Table(path.name, everything, names, tuple(days), steps)

    def series(self, known: tuple[str, ...], low: float = -math.inf) -> dict[str, Array]:
        """A column by day, (T,); empty where it is not there."""
        if not (name := self.names[known]):
            return {}
        values = np.array([row.number_in(name, low) for row in self.rows])
        return {day: values[first : first + self.steps] for day, first in self.days}


def _check(row: Row, names: Mapping[tuple[str, ...], str], at: datetime) -> None:
    """
    Raises:
        InputError: the row is of another month, hour or day of the week than its place in the table says.
    """
    month = row.integer(names[MONTH], 1, 12)
    if month != at.month:
        raise row.error(names[MONTH], f"is {month}, but this row is of {at:%Y-%m-%d}: correct --first-day")
    hour = row.integer(names[HOUR], 1, 24)
    if hour != at.hour + 1:
        raise row.error(names[HOUR], f"is {hour}, but this row begins at {at:%Y-%m-%d %H:%M}: rows lack or are twice")
    if name := names[DAY_TYPE]:
        kind = row.integer(name, 1, HOLIDAY)
        if kind not in (HOLIDAY, at.isoweekday()):
            raise row.error(name, f"is {kind}, but {at:%Y-%m-%d} is a {at:%A}, {at.isoweekday()}: correct --first-day")


def _meter(path: Path, name: str, stated: Mapping[str, Any], table: _Table) -> tuple[Meter, list[str]]:
    per_hour = table.steps / 24
    load = {day: per_hour * energy for day, energy in table.series(LOAD, 0).items()}
    check_power(table.file, name, load)
    remarks = []
    heat = sum(float(v.sum()) for known in HEAT for v in table.series(known, 0).values())
    if heat > 0:
        remarks.append(f"Heat and cold, which electricity must make first, were left out: {name} ({heat:,.0f} kWh).")
    kwp = _number(path, name, stated, "pv", "nominal_power")
    pv = {day: kwp / 1000 * power for day, power in table.series(SOLAR, 0).items()} if kwp else {}
    if kwp and not pv:
        raise InputError(f"{table.file}: there is no column '{SOLAR[0]}' (or '{SOLAR[1]}'), and '{name}' has panels")
    battery = None
    if capacity := _number(path, name, stated, "electrical_storage", "capacity"):
        power = _number(path, name, stated, "electrical_storage", "nominal_power")
        efficiency = _number(path, name, stated, "electrical_storage", "efficiency") or 0.9
        battery = BatteryOf(capacity, power or capacity / 2, efficiency)
    return Meter(name, load, pv, kwp if pv else 0.0, battery), remarks


def _number(path: Path, name: str, stated: Mapping[str, Any], device: str, key: str) -> float:
    """An attribute of a device; 0 where there is none."""
    of = stated.get(device)
    attributes = of.get("attributes") if isinstance(of, dict) else None
    value = attributes.get(key) if isinstance(attributes, dict) else None
    if value is None:
        return 0.0
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e6:
        raise InputError(f"{path.name}: '{key}' of the {device} of building '{name}' must be a number, not {value!r}")
    return float(value)


def _prices(path: Path, table: _Table) -> dict[str, Array]:
    everything = tuple(rows(path, (), None))
    name = next((name for name in PRICE if name in everything[0].cells), None)
    if name is None:
        raise InputError(f"{path.name}: there is no column '{PRICE[0]}' (or '{PRICE[1]}')")
    if len(everything) != len(table.rows):
        raise InputError(f"{path.name} has {len(everything)} rows, and {table.file} {len(table.rows)}: they must agree")
    values = np.array([row.number_in(name) for row in everything])
    return {day: values[first : first + table.steps] for day, first in table.days}
