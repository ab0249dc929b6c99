"""Meter readings in both forms: what they become, and what is complained about."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gridpact.community.meters import Gaps, MeterData
from gridpact.community.readings import HowToRead, read_readings, time_zone
from gridpact.errors import InputError

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def times(start: str, count: int, minutes: int) -> list[str]:
    first = datetime.fromisoformat(start)
    return [(first + timedelta(minutes=minutes * k)).strftime("%Y-%m-%d %H:%M") for k in range(count)]


def written(path: Path, lines: Iterable[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def wide(path: Path, clocks: list[str], *, names: str = "anna,ben", value: float = 0.5) -> Path:
    """A table in which anna's readings rise by 0.001 from row to row, and all others are one value."""
    others = names.count(",")
    lines = [f"{clock},{0.1 + 0.001 * k:.4f}" + f",{value}" * others for k, clock in enumerate(clocks)]
    return written(path, [f"time,{names}", *lines])


def only(data: MeterData, name: str) -> dict[str, np.ndarray]:
    return next(meter.load_kw for meter in data.meters if meter.name == name)


def test_column_for_each_household(tmp_path: Path) -> None:
    data = read_readings(wide(tmp_path / "r.csv", times("2024-06-21 00:00", 192, 15)), HowToRead())
    assert data.step_minutes == 15
    assert data.days == ("2024-06-21", "2024-06-22")
    np.testing.assert_allclose(only(data, "ben")["2024-06-22"], np.full(96, 2.0))  # 0.5 kWh in 15 minutes
    assert only(data, "anna")["2024-06-22"][0] == pytest.approx(4 * 0.196)


@pytest.mark.parametrize(("unit", "kw"), [("kwh", 1.0), ("wh", 0.001), ("kw", 0.5), ("w", 0.0005)])
def test_units(tmp_path: Path, unit: str, kw: float) -> None:
    path = wide(tmp_path / "r.csv", times("2024-06-21 00:00", 48, 30))
    assert only(read_readings(path, HowToRead(unit=unit)), "ben")["2024-06-21"][0] == pytest.approx(kw)


def test_times_may_name_the_ends_of_steps(tmp_path: Path) -> None:
    starts = read_readings(wide(tmp_path / "s.csv", times("2024-06-21 00:00", 48, 30)), HowToRead())
    ends = read_readings(wide(tmp_path / "e.csv", times("2024-06-21 00:30", 48, 30)), HowToRead(times_are_ends=True))
    assert ends.days == starts.days == ("2024-06-21",)
    np.testing.assert_array_equal(only(ends, "anna")["2024-06-21"], only(starts, "anna")["2024-06-21"])


def test_rows_may_be_in_any_order_and_partial_days_at_both_ends_are_left_out(tmp_path: Path) -> None:
    clocks = times("2024-06-20 22:00", 28, 60)
    path = wide(tmp_path / "r.csv", clocks)
    lines = path.read_text().splitlines()
    shuffled = written(tmp_path / "s.csv", [lines[0], *reversed(lines[1:])])
    data = read_readings(shuffled, HowToRead())
    assert data.days == ("2024-06-21",)
    np.testing.assert_allclose(only(data, "anna")["2024-06-21"], 0.1 + 0.001 * np.arange(2, 26))
    assert "2024-06-20, 2024-06-22" in data.remarks[0]


def test_spreadsheets_with_semicolons_and_decimal_commas(tmp_path: Path) -> None:
    lines = [f"{clock};0,25" for clock in times("2024-06-21 00:00", 24, 60)]
    data = read_readings(written(tmp_path / "r.csv", ["time;anna", *lines]), HowToRead())
    np.testing.assert_allclose(only(data, "anna")["2024-06-21"], np.full(24, 0.25))


def test_dates_with_the_day_first(tmp_path: Path) -> None:
    lines = [f"21-06-2024 {k:02d}:00,0.2" for k in range(24)]
    assert read_readings(written(tmp_path / "r.csv", ["time,anna", *lines]), HowToRead()).days == ("2024-06-21",)


def test_pv_from_a_second_table(tmp_path: Path) -> None:
    clocks = times("2024-06-21 00:00", 24, 60)
    load, pv = wide(tmp_path / "load.csv", clocks), wide(tmp_path / "pv.csv", clocks, names="anna")
    data = read_readings(load, HowToRead(), pv)
    anna, ben = data.meters
    assert anna.pv_kwp == 0.2  # 0.123 kW at most, rounded up
    np.testing.assert_allclose(anna.pv_kw["2024-06-21"], 0.1 + 0.001 * np.arange(24))
    assert ben.pv_kwp == 0
    assert not ben.pv_kw
    assert data.remarks == ("PV sizes are the largest outputs, rounded up to 0.1 kWp: 'anna' 0.2.",)
    with pytest.raises(InputError, match=r"odd\.csv: 'carl' has PV output, but no column in load\.csv"):
        read_readings(load, HowToRead(), wide(tmp_path / "odd.csv", clocks, names="carl"))
    half = wide(tmp_path / "half.csv", times("2024-06-21 00:00", 48, 30), names="anna")
    with pytest.raises(InputError, match=r"half\.csv has steps of 30 minutes, load\.csv of 60"):
        read_readings(load, HowToRead(), half)


# ---------------------------------------------------------------------- a row for each household and time


def long(path: Path, header: str, cells: dict[str, str], count: int = 24) -> Path:
    lines = [f"{clock},{name},{own}" for clock in times("2024-06-21 00:00", count, 60) for name, own in cells.items()]
    return written(path, [f"time,household,{header}", *lines])


def test_row_for_each_household_gives_load_from_import_export_and_pv(tmp_path: Path) -> None:
    path = long(
        tmp_path / "r.csv",
        "import_kwh,export_kwh,pv_w",
        {"anna": "0.4,,", "ben": "0.2,1.5,2000", "carl": "0,0.05,"},
    )
    data = read_readings(path, HowToRead())
    anna, ben, carl = data.meters
    np.testing.assert_allclose(anna.load_kw["2024-06-21"], np.full(24, 0.4))
    assert anna.pv_kwp == 0
    np.testing.assert_allclose(ben.load_kw["2024-06-21"], np.full(24, 0.2 - 1.5 + 2.0))
    np.testing.assert_allclose(ben.pv_kw["2024-06-21"], np.full(24, 2.0))
    np.testing.assert_allclose(carl.pv_kw["2024-06-21"], np.full(24, 0.05))  # without PV readings: the export
    assert any("'carl' has no readings of its PV output" in remark for remark in data.remarks)


LONG_COMPLAINTS: dict[str, tuple[str, dict[str, str], str]] = {
    "no quantity": ("pv_kwh", {"anna": "1"}, "there is no load and no import"),
    "unknown column": ("load_kwh,colour", {"anna": "1,2"}, "column 'colour' is not known; .*import_kwh"),
    "unknown unit": ("load_mj", {"anna": "1"}, "column 'load_mj' is not known"),
    "load and import": ("load_kwh,import_kwh", {"anna": "1,1"}, "has load and import"),
    "two units": ("load_kwh,load_kw", {"anna": "1,1"}, "'load' stands in two columns"),
    "empty for one": ("load_kwh", {"anna": "1", "ben": ""}, "'ben' has neither load nor import"),
    "no export": ("import_kwh,pv_kwh", {"anna": "1,1"}, "'anna' has import and PV output but no export"),
    "negative": ("load_kwh", {"anna": "-1"}, r"row 2, column 'load_kwh': -1 must be at least 0"),
    "no number": ("load_kwh", {"anna": "one"}, r"row 2, column 'load_kwh': 'one' is not a number"),
    "export of nothing": (
        "import_kwh,export_kwh,pv_kwh",
        {"anna": "0,2,1"},
        "'anna' exports 1.00 kW more than its PV gives .* 2024-06-21 at 00:00",
    ),
}


@pytest.mark.parametrize("name", LONG_COMPLAINTS)
def test_row_for_each_household_complains(tmp_path: Path, name: str) -> None:
    header, cells, complaint = LONG_COMPLAINTS[name]
    with pytest.raises(InputError, match=complaint):
        read_readings(long(tmp_path / "r.csv", header, cells), HowToRead())


def test_households_can_be_chosen(tmp_path: Path) -> None:
    path = long(tmp_path / "r.csv", "load_kwh", {"anna": "1", "ben": "2", "carl": "3"})
    data = read_readings(path, HowToRead(), households=["carl", "anna"])
    assert [meter.name for meter in data.meters] == ["carl", "anna"]
    with pytest.raises(InputError, match="no readings of a household 'dora'; there are anna, ben, carl"):
        read_readings(path, HowToRead(), households=["dora"])


# ---------------------------------------------------------------------- what is wrong with a table


def broken(path: Path, row: int, line: str | None) -> Path:
    """A day of two households in which a row is another one, or none; row 1 is the header."""
    wide(path, times("2024-06-21 00:00", 24, 60))
    lines = path.read_text().splitlines()
    lines[row - 1 : row] = [] if line is None else [line]
    return written(path, lines)


WIDE_COMPLAINTS: dict[str, tuple[int, str | None, str]] = {
    "no time column": (1, "when,anna,ben", r"r\.csv: column 'time' is missing"),
    "no household": (1, "time", r"r\.csv, row 2: has 3 cells, the header has 1"),
    "name twice": (1, "time,anna,anna", "column 'anna' stands twice"),
    "no time": (5, "noon,1,1", "row 5, column 'time': 'noon' is not a time like"),
    "date that is none": (5, "31/21/2024 03:00,1,1", "row 5, column 'time': '31/21/2024 03:00' is not a time"),
    "seconds": (5, "2024-06-21 03:00:07,1,1", "row 5, column 'time': .* is not a whole minute"),
    "offset without a zone": (5, "2024-06-21 03:00+02:00,1,1", "row 5, column 'time': .*--timezone"),
    "negative": (5, "2024-06-21 03:00,1,-0.2", "row 5, column 'ben': -0.2 is negative.*export_kwh"),
    "no number": (5, "2024-06-21 03:00,1,off", "row 5, column 'ben': 'off' is not a number"),
    "cells": (5, "2024-06-21 03:00,1", "row 5: has 2 cells, the header has 3"),
    "decimal comma": (5, "2024-06-21 03:00,1,0,5", "has 4 cells, the header has 3; if its decimals are commas"),
    "twice": (
        5,
        "2024-06-21 02:00,1,1",
        "row 5: 'anna' has a second reading at 2024-06-21 02:00, the first is in row 4",
    ),
    "gap": (5, None, "row 4: after it 'anna' has no reading at 2024-06-21 03:00; .*--gaps fill"),
    "empty cell": (5, "2024-06-21 03:00,1,", "row 4: after it 'ben' has no reading at 2024-06-21 03:00"),
    "Wh": (5, "2024-06-21 03:00,1,800", "r.csv: 'ben' has 800 kW on 2024-06-21, more than 100 kW; .*another unit"),
    "part of a day": (25, None, "'anna': has no day with all its 24 readings of 60 minutes"),
}


@pytest.mark.parametrize("name", WIDE_COMPLAINTS)
def test_column_for_each_household_complains(tmp_path: Path, name: str) -> None:
    row, line, complaint = WIDE_COMPLAINTS[name]
    with pytest.raises(InputError, match=complaint):
        read_readings(broken(tmp_path / "r.csv", row, line), HowToRead())


def test_other_complaints(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no time zone 'Europe/Utrecht'"):
        time_zone("Europe/Utrecht")
    path = wide(tmp_path / "r.csv", times("2024-06-21 00:00", 24, 60))
    with pytest.raises(InputError, match="there is no unit 'mj'"):
        read_readings(path, HowToRead(unit="mj"))
    odd = wide(tmp_path / "odd.csv", times("2024-06-21 00:00", 24, 7))
    with pytest.raises(InputError, match="smallest step between two readings is 7 minutes"):
        read_readings(odd, HowToRead())
    mixed = broken(tmp_path / "mixed.csv", 5, "2024-06-21 03:00+02:00,1,1")
    with pytest.raises(InputError, match="row 5, column 'time': some times have an offset from UTC, others not"):
        read_readings(mixed, HowToRead(zone=AMSTERDAM))


# ---------------------------------------------------------------------- gaps and the clock


def test_short_gaps_are_filled_with_a_line(tmp_path: Path) -> None:
    clocks = times("2024-06-21 00:00", 48, 60)
    del clocks[30:32]  # 06:00 and 07:00 of the second day
    data = read_readings(wide(tmp_path / "r.csv", clocks), HowToRead(gaps=Gaps.FILL))
    anna = only(data, "anna")["2024-06-22"]
    # before the gap 0.129 (row 29), after it 0.130, which is row 30 of those that are left
    np.testing.assert_allclose(anna[5:9], [0.129, 0.129 + 0.001 / 3, 0.129 + 0.002 / 3, 0.130])
    said = "Filled with a line between their neighbours: 2 readings of 'anna', 2 readings of 'ben'."
    assert said in data.remarks


def test_long_gaps_are_not_filled(tmp_path: Path) -> None:
    clocks = times("2024-06-21 00:00", 48, 60)
    del clocks[30:33]
    path = wide(tmp_path / "r.csv", clocks)
    with pytest.raises(InputError, match="row 31: after it 'anna' has no reading at 2024-06-22 06:00 to 2024-06-22 "
                                         "08:00; gaps of more than 120 minutes"):  # fmt: skip
        read_readings(path, HowToRead(gaps=Gaps.FILL))


def test_days_with_gaps_are_left_out(tmp_path: Path) -> None:
    clocks = times("2024-06-20 00:00", 72, 60)
    del clocks[30]
    data = read_readings(wide(tmp_path / "r.csv", clocks), HowToRead(gaps=Gaps.SKIP))
    assert data.days == ("2024-06-20", "2024-06-22")
    said = "Left out, since not all readings are there: 2024-06-21 of 'anna', 2024-06-21 of 'ben'."
    assert said in data.remarks


@pytest.mark.parametrize("change", ["2024-03-31", "2024-10-27"])
def test_days_on_which_the_clock_changes_are_left_out(tmp_path: Path, change: str) -> None:
    """Three days in UTC, as a meter counts them, and as a wall clock in Amsterdam shows them."""
    first = datetime.fromisoformat(change).replace(tzinfo=timezone.utc) - timedelta(days=1, hours=2)
    moments = [first + timedelta(hours=k) for k in range(76)]
    utc = wide(tmp_path / "utc.csv", [moment.isoformat() for moment in moments])
    wall = wide(tmp_path / "wall.csv", [m.astimezone(AMSTERDAM).strftime("%Y-%m-%d %H:%M") for m in moments])
    from_utc, from_wall = (read_readings(path, HowToRead(zone=AMSTERDAM)) for path in (utc, wall))
    assert change not in from_utc.days
    assert from_utc.days == from_wall.days
    assert len(from_utc.days) == 2
    for day in from_utc.days:
        np.testing.assert_array_equal(only(from_utc, "anna")[day], only(from_wall, "anna")[day])
    assert f"Left out, since the clock changed: {change}." in from_utc.remarks
    with pytest.raises(InputError, match="time zone"):  # without it, a gap or a second reading
        read_readings(wall, HowToRead())


# ---------------------------------------------------------------------- other steps


@pytest.mark.parametrize("minutes", [15, 60, 120])
def test_resampling_keeps_the_energy(tmp_path: Path, minutes: int) -> None:
    data = read_readings(wide(tmp_path / "r.csv", times("2024-06-21 00:00", 48, 30)), HowToRead())
    resampled = data.resampled(minutes)
    anna, before = only(resampled, "anna")["2024-06-21"], only(data, "anna")["2024-06-21"]
    assert anna.shape == (1440 // minutes,)
    assert minutes / 60 * anna.sum() == pytest.approx(0.5 * before.sum(), rel=1e-12)  # a sum of 48 floats
    assert anna.min() >= 0
    assert f"Steps of {minutes} minutes" in resampled.remarks[-1]


def test_resampling_by_hand_and_what_does_not_fit(tmp_path: Path) -> None:
    data = read_readings(wide(tmp_path / "r.csv", times("2024-06-21 00:00", 48, 30)), HowToRead())
    hourly = only(data.resampled(60), "anna")["2024-06-21"]
    assert hourly[0] == pytest.approx((2 * 0.1 + 2 * 0.101) / 2)
    assert data.resampled(30) is data
    with pytest.raises(InputError, match="readings of 30 minutes cannot become steps of 20"):
        data.resampled(20)
    with pytest.raises(InputError, match="steps of 50 minutes do not divide a day"):
        data.resampled(50)
