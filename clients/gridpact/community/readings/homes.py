"""From readings to meters: registers added up, steps made one, and load and PV output of each household worked out."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from itertools import pairwise

import numpy as np

from gridpact.community.columns import UNITS, WRITTEN
from gridpact.community.meters import Meter, MeterData, Readings, Scale, check_power, resample, rounded_up, united
from gridpact.community.model import Array
from gridpact.community.readings.source import FileSeen, HowToRead, ReadFiles, ReadSeries, local, quoted
from gridpact.community.usual import MOST_KW
from gridpact.errors import InputError
from gridpact.text import listed

METER_TOLERANCE_KW = 0.1
"""By how much pv - export + import may lie below zero: two meters round, and do not tick together."""


def meters_of(files: ReadFiles) -> MeterData:
    how, remarks = files.how, files.remarks
    power: dict[
        str, dict[str, tuple[ReadSeries, int, dict[str, Array]]]
    ] = {}  # household -> quantity -> step, day -> kW
    for (name, quantity), series in files.series.items():
        step, by_day = _by_day(series, how, remarks)
        power.setdefault(name, {})[quantity] = series, step, by_day
        for seen in files.read:
            seen.step_minutes = step if seen.file == series.file and not seen.step_minutes else seen.step_minutes
    step = _common_step(power, how, remarks)
    for name, file in files.names.items():
        if name not in power and (not files.only or name in files.only):
            raise InputError(f"{file}: '{name}' has neither load nor import in any row")
    meters = []
    for name, of in power.items():
        days = _common_days(name, of)
        kw = {day: {q: resample(by_day[day], own, step) for q, (_, own, by_day) in of.items()} for day in days}
        file = next(iter(of.values()))[0].file
        if {"load", "import"} <= set(of):
            raise InputError(f"{file}: '{name}' has load and import; give load and pv, or import, export and pv")
        if not {"load", "import"} & set(of):
            raise InputError(f"{file}: '{name}' has neither load nor import in any row")
        if {"load", "export"} <= set(of) and "pv" not in of and any(of_day["export"].any() for of_day in kw.values()):
            raise InputError(
                f"{file}: '{name}' has load and export but no PV output; if the load is what its meter took from the "
                f"grid, call '{of['load'][0].column}' import_{of['load'][0].unit}, else give its PV output, or leave "
                f'the export out with --ignore "{of["export"][0].column}"'
            )
        if {"import", "pv"} <= set(of) and "export" not in of:
            raise InputError(
                f"{file}: '{name}' has import and PV output but no export, so its own use cannot be known; "
                "give export, or load instead of import"
            )
        load = {day: _load_of(file, name, day, of_day) for day, of_day in kw.items()}
        pv = {day: _pv_of(of_day) for day, of_day in kw.items()}
        if "export" in of and "pv" not in of and "load" not in of and any(p.any() for p in pv.values()):
            remarks.append(
                f"'{name}' has no readings of its PV output: what it exported counts as PV, what it imported as load, "
                "so PV that it used itself is in neither."
            )
        if "size" not in how.accepted:
            check_power(file, name, load)
            check_power(file, name, pv)
        meters.append(_meter(name, load, pv))
    remarks += [*_idle(meters), *_sizes(meters)]
    sentences = tuple(_said(seen, how) for seen in files.read)
    doubtful = any(seen.assumed_unit and seen.step_minutes not in (0, 60) for seen in files.read)
    return MeterData(step, tuple(meters), united(remarks), sentences, doubtful and not how.are_counters)


def _by_day(series: ReadSeries, how: HowToRead, remarks: list[str]) -> tuple[int, dict[str, Array]]:
    """Minutes of a step, and mean powers by day, (T,)."""
    scale, is_energy = UNITS[series.unit]
    if how.are_counters and not is_energy:
        raise InputError(f"{series.file}: counters count energy, but '{series.column}' is in {WRITTEN[series.unit]}")
    moments_, places, values = _summed(series)
    if how.times_are_ends and not how.are_counters:
        distinct = sorted(set(moments_))
        step = min((later - earlier for earlier, later in pairwise(distinct)), default=timedelta())
        moments_ = [moment - step for moment in moments_]
    named = series.column == series.household
    complaint = (
        "is negative, but is the use or PV output of a household; give what a meter counts in both directions as "
        "import_kwh and export_kwh, with a row for each household and time"
        if named
        else "must be at least 0"
    )
    readings = Readings(series.file, series.household, 1, series.column, complaint)
    for moment, (file, row), value in zip(moments_, places, values, strict=True):
        readings.add(local(moment, how.zone), row, [value], file)
    step_minutes, by_day, noted = readings.by_day(
        how.gaps,
        how.zone,
        scale=Scale(scale, is_energy),
        are_counters=how.are_counters,
        most_kw=math.inf if "size" in how.accepted else MOST_KW,
    )
    remarks += noted
    return step_minutes, {day: power[0] for day, power in by_day.items()}


def _summed(series: ReadSeries) -> tuple[list[datetime], list[tuple[str, int]], list[float]]:
    """The readings of a quantity; where several registers count it, their sums.

    Raises:
        InputError: some times have other registers than others.
    """
    registers = set(series.parts)
    if len(registers) < 2:
        return series.moments, series.places, series.values
    by_moment: dict[datetime, dict[str, int]] = {}
    for k, (moment, part) in enumerate(zip(series.moments, series.parts, strict=True)):
        before = by_moment.setdefault(moment, {}).setdefault(part, k)
        if series.values[before] != series.values[k]:
            (file, row), (_, first) = series.places[k], series.places[before]
            raise InputError(
                f"{file}, row {row}: '{part}' has a second reading at {moment}, the first is in row {first}"
            )
    counts = {len(parts) for parts in by_moment.values()}
    if counts not in ({1}, {len(registers)}):
        few = next(parts for parts in by_moment.values() if len(parts) != max(counts))
        file, row = series.places[next(iter(few.values()))]
        raise InputError(
            f"{file}, row {row}: here are readings of {quoted(sorted(few))} only, elsewhere of "
            f"{quoted(sorted(registers))}; give all of them at every time"
        )
    return (
        list(by_moment),
        [series.places[next(iter(parts.values()))] for parts in by_moment.values()],
        [sum(series.values[k] for k in parts.values()) for parts in by_moment.values()],
    )


def _common_step(
    power: Mapping[str, Mapping[str, tuple[ReadSeries, int, dict[str, Array]]]], how: HowToRead, remarks: list[str]
) -> int:
    """Minutes of a step to which all are brought.

    Raises:
        InputError: they differ, and it was not said which is to be taken.
    """
    steps: dict[int, ReadSeries] = {}
    for of in power.values():
        for series, step, _ in of.values():
            steps.setdefault(step, series)
    if len(steps) <= 1:
        return next(iter(steps), 0)
    if how.step_minutes is None:
        (long, first), (short, second) = list(steps.items())[:2]
        if first.file != second.file:
            names = f"{second.file} has steps of {short} minutes, {first.file} of {long}"
        else:
            names = f"{first.file}: '{first.column}' has steps of {long} minutes, '{second.column}' of {short}"
        raise InputError(f"{names}; bring them to one, for example with --step {max(short, long)}")
    remarks.append(f"Readings of {', '.join(map(str, sorted(steps)))} minutes were brought to {how.step_minutes}.")
    return how.step_minutes


def _common_days(name: str, of: Mapping[str, tuple[ReadSeries, int, dict[str, Array]]]) -> list[str]:
    every = [by_day for _, _, by_day in of.values()]
    days = [day for day in every[0] if all(day in by_day for by_day in every)]
    if not days:
        files = dict.fromkeys(series.file for series, _, _ in of.values())
        raise InputError(f"'{name}' has no day with readings in both {' and '.join(files)}" if len(files) > 1 else
                         f"{next(iter(files))}: '{name}' has no day with readings of all its quantities")  # fmt: skip
    return days


def _load_of(file: str, name: str, day: str, power: Mapping[str, Array]) -> Array:
    if "load" in power:
        return power["load"]
    if "pv" not in power:
        return power["import"]  # own use of PV is not known
    load = power["import"] - power["export"] + power["pv"]
    worst = int(np.argmin(load))
    if load[worst] < -METER_TOLERANCE_KW:
        clock = worst * 24 * 60 // len(load)
        raise InputError(
            f"{file}: '{name}' exports {-load[worst]:.2f} kW more than its PV gives and its meter takes on {day} "
            f"at {clock // 60:02d}:{clock % 60:02d}; export must be at most import + PV, so look at the units, or "
            "whether the meters count the same hours"
        )
    return np.maximum(load, 0.0)


def _pv_of(power: Mapping[str, Array]) -> Array:
    if "pv" in power:
        return power["pv"]
    return power["export"] if "export" in power and "load" not in power else 0 * next(iter(power.values()))


def _meter(name: str, load: dict[str, Array], pv: dict[str, Array]) -> Meter:
    has_pv = any(power.any() for power in pv.values())
    return Meter(name, load, pv if has_pv else {}, rounded_up(pv) if has_pv else 0.0)


def _idle(meters: Sequence[Meter]) -> list[str]:
    """What is said of whole days without any load, as a meter without a connection has them."""
    idle = [f"{listed(days)} of '{meter.name}'" for meter in meters
            if (days := sorted(day for day, power in meter.load_kw.items() if not power.any()))]  # fmt: skip
    return (
        [f"Nothing was used all day: {', '.join(idle)}; leave cells empty where readings are missing."] if idle else []
    )


def _sizes(meters: Sequence[Meter]) -> list[str]:
    sized = [f"'{meter.name}' {meter.pv_kwp:g}" for meter in meters if meter.pv_kwp]
    return [f"PV sizes are the largest outputs, rounded up to 0.1 kWp: {', '.join(sized)}."] if sized else []


def _said(seen: FileSeen, how: HowToRead) -> str:
    """What a file was taken for, in a sentence or two."""
    ranges = []
    for (quantity, unit), values in seen.values.items():
        what = "energy of each step" if UNITS[unit][1] else "mean power"
        assumed = " (assumed; --unit says another)" if seen.assumed_unit else ""
        ranges.append(
            f"{quantity} as {'states of counters' if how.are_counters else what} in {WRITTEN[unit]}{assumed}, lowest "
            f"{min(values):.6g}, mean {sum(values) / len(values):.4g}, highest {max(values):.6g}"
        )
    count, homes = sum(map(len, seen.values.values())), len(seen.households)
    times = "states" if how.are_counters else "ends of steps" if how.times_are_ends else "starts of steps"
    return (
        f"{seen.file}: {count:,} readings of {homes} household{'s' if homes != 1 else ''}, {seen.step_minutes} "
        f"minute{'s' if seen.step_minutes != 1 else ''} apart, times name {times}; {'; '.join(ranges)}."
        + (f" Taken: {seen.taken}." if seen.taken else "")
    )
