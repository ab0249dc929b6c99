"""Plain meter readings as CSV: a column for each household, or a row for each household and time."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from gridpact.community.meters import Gaps, Meter, MeterData, Readings, check_power, rounded_up, united
from gridpact.community.model import Array
from gridpact.community.tables import Row, rows
from gridpact.errors import InputError

UNITS = {"kwh": (1.0, True), "wh": (0.001, True), "kw": (1.0, False), "w": (0.001, False)}
"""Unit: what it is in kWh or kW, and whether it is an energy, so that its power depends on the step."""

QUANTITIES = ("load", "import", "export", "pv")
COLUMN = re.compile(rf"^({'|'.join(QUANTITIES)})_({'|'.join(UNITS)})$", re.IGNORECASE)

METER_TOLERANCE_KW = 0.1
"""By how much pv - export + import may lie below zero: two meters round, and do not tick together."""

TIME_FORM = "a time like 2024-06-21 14:00, 21-06-2024 14:00 or 2024-06-21T14:00Z"
TIME_FORMATS = ("%d-%m-%Y %H:%M", "%d/%m/%Y %H:%M", "%d.%m.%Y %H:%M")


@dataclass(frozen=True)
class HowToRead:
    """What a file of readings does not say itself."""

    unit: str = "kwh"  # of a table with a column for each household
    times_are_ends: bool = False  # of the steps; else their starts
    zone: ZoneInfo | None = None  # of the place
    gaps: Gaps = Gaps.REFUSE


def time_zone(name: str) -> ZoneInfo:
    """A zone by its name.

    Raises:
        InputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone '{name}'; an example of one is Europe/Amsterdam") from None


def read_readings(path: Path, how: HowToRead, pv: Path | None = None, households: Sequence[str] = ()) -> MeterData:
    """Reads meter readings.

    With a column `household` the file has a row for each household and time, and the quantities are columns like
    `load_kwh`, `import_kwh`, `export_kwh`, `pv_kw`. Otherwise every column but `time` is the load of a household, in
    `how.unit`, and `pv` is a file of the same kind for their PV output.

    Args:
        households: to read, in this order; none: all.

    Raises:
        InputError: says what is wrong in which file and row.
    """
    header = next(iter(rows(path, ("time",), None))).cells
    if "household" in header:
        if pv is not None:
            raise InputError(f"{path.name} has a column 'household': give its PV output there, as pv_kwh, not by --pv")
        data = _read_long(path, how)
    else:
        data = _read_wide(path, how, pv)
    return data.only(households) if households else data


# ---------------------------------------------------------------------- a column for each household


def _read_wide(path: Path, how: HowToRead, pv: Path | None) -> MeterData:
    if how.unit not in UNITS:
        raise InputError(f"there is no unit '{how.unit}'; choose one of {', '.join(UNITS)}")
    step, load, remarks = _columns(path, how, "use")
    output: dict[str, dict[str, Array]] = {}
    if pv is not None:
        pv_step, output, said = _columns(pv, how, "PV output")
        if strangers := [name for name in output if name not in load]:
            raise InputError(f"{pv.name}: '{strangers[0]}' has PV output, but no column in {path.name}")
        if pv_step != step:
            raise InputError(f"{pv.name} has steps of {pv_step} minutes, {path.name} of {step}; bring them to one")
        remarks += said
    meters = []
    for name, by_day in load.items():
        of_pv = output.get(name, {})
        days = [day for day in by_day if not of_pv or day in of_pv]
        if not days:
            raise InputError(f"'{name}' has no day with readings in both {path.name} and {pv.name if pv else ''}")
        meters.append(_meter(name, {day: by_day[day] for day in days}, {day: of_pv[day] for day in days if of_pv}))
    remarks += _sizes(meters)
    return MeterData(step, tuple(meters), united(remarks))


def _columns(path: Path, how: HowToRead, what: str) -> tuple[int, dict[str, dict[str, Array]], list[str]]:
    """Minutes of a step; column -> day -> kW, (T,); remarks."""
    table = list(rows(path, ("time",), None))
    names = [name for name in table[0].cells if name != "time"]
    if not names:
        raise InputError(f"{path.name} has the column 'time' only; give a column for each household")
    readings = {name: Readings(path.name, name, 1) for name in names}
    starts = _starts(table, how)
    for row, start in zip(table, starts, strict=True):
        for name in names:
            if row.cells[name].strip():  # an empty cell is a reading that is missing
                readings[name].add(start, row.number, [_not_negative(row, name, what)])
    scale, is_energy = UNITS[how.unit]
    result: dict[str, dict[str, Array]] = {}
    remarks: list[str] = []
    step: int | None = None
    for name in names:
        step, by_day, said = readings[name].by_day(how.gaps, how.zone, step)
        remarks += said
        per_hour = 60 / step if is_energy else 1.0
        result[name] = {day: scale * per_hour * values[0] for day, values in by_day.items()}
        check_power(path.name, name, result[name])
    assert step is not None
    return step, result, remarks


def _not_negative(row: Row, column: str, what: str) -> float:
    value = row.number_in(column)
    if value < 0:
        raise row.error(
            column,
            f"{value:g} is negative, but is the {what} of a household; give what a meter counts in both directions as "
            "import_kwh and export_kwh, with a row for each household and time",
        )
    return value


# ---------------------------------------------------------------------- a row for each household and time


def _read_long(path: Path, how: HowToRead) -> MeterData:
    table = list(rows(path, ("time", "household"), None))
    units = _units(path, [name for name in table[0].cells if name not in ("time", "household")])
    starts = _starts(table, how)
    by_household: dict[str, list[tuple[Row, datetime]]] = {}
    for row, start in zip(table, starts, strict=True):
        by_household.setdefault(row.text("household"), []).append((row, start))
    meters: list[Meter] = []
    remarks: list[str] = []
    step: int | None = None
    for name, entries in by_household.items():
        has = [quantity for quantity, column in units if any(row.cells[column].strip() for row, _ in entries)]
        if not ({"load", "import"} & set(has)):
            raise InputError(f"{path.name}: '{name}' has neither load nor import in any row")
        if {"import", "pv"} <= set(has) and "export" not in has:
            raise InputError(
                f"{path.name}: '{name}' has import and PV output but no export, so its own use cannot be known; "
                "give export, or load instead of import"
            )
        own = [(quantity, column) for quantity, column in units if quantity in has]
        readings = Readings(path.name, name, len(own))
        for row, start in entries:
            if all(row.cells[column].strip() for _, column in own):
                readings.add(start, row.number, [row.number_in(column, 0) for _, column in own])
        step, by_day, said = readings.by_day(how.gaps, how.zone, step)
        remarks += said
        factors = [_factor(column, step) for _, column in own]
        power = {
            day: {
                quantity: factor * values[k] for k, ((quantity, _), factor) in enumerate(zip(own, factors, strict=True))
            }
            for day, values in by_day.items()
        }
        load = {day: _load_of(path, name, day, of_day) for day, of_day in power.items()}
        pv = {day: _pv_of(of_day) for day, of_day in power.items()}
        if "export" in has and "pv" not in has and "load" not in has:
            remarks.append(
                f"'{name}' has no readings of its PV output: what it exported counts as PV, what it imported as load, "
                "so PV that it used itself is in neither."
            )
        check_power(path.name, name, load)
        meters.append(_meter(name, load, pv))
    assert step is not None
    remarks += _sizes(meters)
    return MeterData(step, tuple(meters), united(remarks))


def _units(path: Path, columns: Sequence[str]) -> list[tuple[str, str]]:
    """(quantity, column) of the columns with quantities."""
    result = []
    for column in columns:
        found = COLUMN.match(column)
        if not found:
            raise InputError(
                f"{path.name}: column '{column}' is not known; besides time and household there are "
                f"{', '.join(QUANTITIES)}, each with its unit, for example import_kwh; units are {', '.join(UNITS)}"
            )
        result.append((found[1].lower(), column))
    quantities = [quantity for quantity, _ in result]
    for quantity in quantities:
        if quantities.count(quantity) > 1:
            raise InputError(f"{path.name}: '{quantity}' stands in two columns; remove one")
    if "load" in quantities and "import" in quantities:
        raise InputError(f"{path.name}: has load and import; give load and pv, or import, export and pv")
    if not {"load", "import"} & set(quantities):
        raise InputError(f"{path.name}: there is no load and no import; give load_kwh, or import_kwh and export_kwh")
    return result


def _factor(column: str, step_minutes: int) -> float:
    """From the column's unit to kW."""
    scale, is_energy = UNITS[column.rpartition("_")[2].lower()]
    return scale * 60 / step_minutes if is_energy else scale


def _load_of(path: Path, name: str, day: str, power: Mapping[str, Array]) -> Array:
    if "load" in power:
        return power["load"]
    if "pv" not in power:
        return power["import"]  # own use of PV is not known
    load = power["import"] - power["export"] + power["pv"]
    worst = int(np.argmin(load))
    if load[worst] < -METER_TOLERANCE_KW:
        clock = worst * 24 * 60 // len(load)
        raise InputError(
            f"{path.name}: '{name}' exports {-load[worst]:.2f} kW more than its PV gives and its meter takes on {day} "
            f"at {clock // 60:02d}:{clock % 60:02d}; export must be at most import + PV, so look at the units, or "
            "whether the meters count the same hours"
        )
    return np.maximum(load, 0.0)


def _pv_of(power: Mapping[str, Array]) -> Array:
    if "pv" in power:
        return power["pv"]
    return power["export"] if "export" in power and "load" not in power else 0 * next(iter(power.values()))


# ---------------------------------------------------------------------- both


def _starts(table: Sequence[Row], how: HowToRead) -> list[datetime]:
    """When the step of each row starts, in local time.

    Raises:
        InputError: a time is none, or has an offset where the zone is not known.
    """
    moments = {text: _moment(row, text, how) for text, row in {row.text("time"): row for row in table}.items()}
    first = next(iter(moments.values()))
    for row in table:
        if (moments[row.text("time")].tzinfo is None) != (first.tzinfo is None):
            raise row.error("time", "some times have an offset from UTC, others not; write all alike")
    if how.times_are_ends:
        distinct = sorted(set(moments.values()))
        differences = [later - earlier for earlier, later in pairwise(distinct)]
        step = min(differences, default=timedelta())
        moments = {text: moment - step for text, moment in moments.items()}
    return [_local(moments[row.text("time")], how.zone) for row in table]


def _moment(row: Row, text: str, how: HowToRead) -> datetime:
    moment = parsed(text)
    if moment is None:
        raise row.error("time", f"'{text}' is not {TIME_FORM}")
    if moment.second or moment.microsecond:
        raise row.error("time", f"'{text}' is not a whole minute")
    if moment.tzinfo is not None and how.zone is None:
        raise row.error("time", f"'{text}' has an offset from UTC; give the place's time zone, for Dutch homes "
                                "--timezone Europe/Amsterdam")  # fmt: skip
    return moment


def parsed(text: str) -> datetime | None:
    """A time as the files write it, day before month; None where it is none."""
    try:
        return datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        pass
    for form in TIME_FORMATS:
        for seconds in ("", ":%S"):
            try:
                return datetime.strptime(text, form + seconds)
            except ValueError:
                continue
    return None


def _local(moment: datetime, zone: ZoneInfo | None) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)


def _meter(name: str, load: dict[str, Array], pv: dict[str, Array]) -> Meter:
    has_pv = any(power.any() for power in pv.values())
    return Meter(name, load, pv if has_pv else {}, rounded_up(pv) if has_pv else 0.0)


def _sizes(meters: Sequence[Meter]) -> list[str]:
    sized = [f"'{meter.name}' {meter.pv_kwp:g}" for meter in meters if meter.pv_kwp]
    return [f"PV sizes are the largest outputs, rounded up to 0.1 kWp: {', '.join(sized)}."] if sized else []
