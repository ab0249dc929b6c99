"""Data sets of CityLearn, made here with figures that tell where they came from."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.community.citylearn import read_citylearn
from gridpact.community.read import read_community
from gridpact.errors import InputError

OLD = (
    *("Month", "Hour", "Day Type", "Daylight Savings Status", "Equipment Electric Power [kWh]", "DHW Heating [kWh]"),
    *("Cooling Load [kWh]", "Heating Load [kWh]", "Solar Generation [W/kW]"),
)
NEW = (
    *("month", "hour", "day_type", "daylight_savings_status", "non_shiftable_load", "dhw_demand"),
    *("cooling_demand", "heating_demand", "solar_generation"),
)
BEGIN = datetime(2016, 7, 31, 23)  # a Sunday, as the challenge of 2022 begins
ROWS = 1 + 48 + 5  # an hour, two days, and five hours of a third

LOADS = 7 * np.arange(24) % 24 / 100
SUN = np.maximum(900.0 - 25 * (np.arange(24) - 12) ** 2, 0)

Row = list[Any]


def folder(
    at: Path, header: tuple[str, ...] = OLD, change: Callable[[list[Row]], None] | None = None, **of_b: Any
) -> Path:
    """Two buildings; b has panels of 4 kWp and a battery. A load is 0.1 for a, 0.2 for b, and more by the hour."""
    at.mkdir(parents=True, exist_ok=True)
    times = [BEGIN + k * timedelta(hours=1) for k in range(ROWS)]
    for name, base in (("a", 0.1), ("b", 0.2)):
        rows: list[Row] = [
            [float(t.month), float(t.hour + 1), float(t.isoweekday()), 0, base + LOADS[t.hour], 0, 0, 0, SUN[t.hour]]
            for t in times
        ]
        if change is not None and name == "b":
            change(rows)
        with (at / f"{name}.csv").open("w", newline="") as file:
            csv.writer(file).writerows([header, *rows])
    price = "Electricity Pricing [$]" if header is OLD else "electricity_pricing"
    (at / "pricing.csv").write_text("\n".join([price, *(str(0.2 + t.hour / 1000) for t in times)]) + "\n")
    b = {
        "energy_simulation": "b.csv",
        "pricing": "pricing.csv",
        "pv": {"attributes": {"nominal_power": 4.0}},
        "electrical_storage": {"attributes": {"capacity": 6.4, "nominal_power": 5.0, "efficiency": 0.81}},
    }
    a = {"energy_simulation": "a.csv", "pricing": "pricing.csv"}
    schema = {"seconds_per_time_step": 3600, "buildings": {"a": a, "b": b | of_b, "c": {"include": False}}}
    (at / "schema.json").write_text(json.dumps(schema))
    return at / "schema.json"


@pytest.mark.parametrize("header", [OLD, NEW])
def test_daysAndSizes(tmp_path: Path, header: tuple[str, ...]) -> None:
    data = read_citylearn(folder(tmp_path, header), BEGIN.date())
    assert data.days == ("2016-08-01", "2016-08-02")
    a, b = data.meters
    hours = np.arange(24)
    for day in data.days:
        assert a.load_kw[day] == pytest.approx(0.1 + LOADS)
        assert b.load_kw[day] == pytest.approx(0.2 + LOADS)
        assert b.pv_kw[day] == pytest.approx(4 * SUN / 1000)
        assert data.prices[day] == pytest.approx(0.2 + hours / 1000)
    assert (a.pv_kwp, a.battery, b.pv_kwp) == (0, None, 4)
    assert b.battery is not None
    assert (b.battery.capacity_kwh, b.battery.power_kw, b.battery.round_trip_efficiency) == (6.4, 5, 0.81)
    assert data.remarks == ()


def test_heat_isLeftOut_andSaid(tmp_path: Path) -> None:
    def with_heat(rows: list[Row]) -> None:
        rows[3][5], rows[4][6] = 2.0, 5.0

    data = read_citylearn(folder(tmp_path, change=with_heat), BEGIN.date())
    assert data.remarks == ("Heat and cold, which electricity must make first, were left out: b (7 kWh).",)


def _skip(rows: list[Row]) -> None:
    del rows[10]


def _december(rows: list[Row]) -> None:
    rows[5][0] = 12


@pytest.mark.parametrize(
    ("change", "first_day", "complaint"),
    [
        (None, None, "does not say which year it is; give the date .* --first-day"),
        (None, date(2017, 7, 31), r"a.csv, row 2, column 'Day Type': is 7, but 2017-07-31 is a Monday, 1"),
        (_skip, BEGIN.date(), r"b.csv, row 12, column 'Hour': is 11, but this row begins at 2016-08-01 09:00"),
        (_december, BEGIN.date(), r"b.csv, row 7, column 'Month': is 12, but this row is of 2016-08-01"),
        (lambda rows: rows[7].__setitem__(4, -1), BEGIN.date(), r"b.csv, row 9, column 'Equip.*': -1 must be at least"),
        (lambda rows: rows[7].__setitem__(4, ""), BEGIN.date(), r"b.csv, row 9, column 'Equip.*': is empty"),
        (lambda rows: rows.clear(), BEGIN.date(), r"b.csv has a header but no rows"),
        (lambda rows: rows.__delitem__(slice(20, None)), BEGIN.date(), r"b.csv has no whole day"),
    ],
)
def test_whatIsWrong_isNamed(tmp_path: Path, change: Any, first_day: date | None, complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_citylearn(folder(tmp_path, change=change), first_day)


@pytest.mark.parametrize(
    ("of_b", "complaint"),
    [
        (
            {"pv": {"attributes": {"nominal_power": "big"}}},
            "'nominal_power' of the pv of building 'b' must be a number",
        ),
        ({"electrical_storage": {"attributes": {"capacity": -1}}}, "'capacity' of the electrical_storage"),
        ({"energy_simulation": None}, "building 'b' has no 'energy_simulation'"),
        ({"energy_simulation": "x.csv"}, "x.csv"),
    ],
)
def test_schema_isChecked(tmp_path: Path, of_b: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InputError, match=complaint):
        read_citylearn(folder(tmp_path, **of_b), BEGIN.date())


@pytest.mark.parametrize("text", ["", "[]", "{", '{"buildings": {}}', '{"buildings": {"a": {"include": false}}}'])
def test_noSchema_isOneSentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "schema.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"schema\.json"):
        read_citylearn(path, BEGIN.date())


def test_command_makesACommunity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema, out = folder(tmp_path / "set"), tmp_path / "mine"
    command = ["community", "new", "--from", str(schema), "--out", str(out)]
    assert main(command) == 2
    assert "--first-day" in capsys.readouterr().err
    assert main([*command, "--first-day", "2016-07-31", "--unit", "kw"]) == 2
    assert "leave out --unit" in capsys.readouterr().err
    assert main([*command, "--first-day", "2016-07-31"]) == 0
    day = read_community(str(out)).on("2016-08-02")
    assert day.prices.import_price == pytest.approx(0.2 + np.arange(24) / 1000)
    assert [home.name for home in day.households] == ["a", "b"]
    assert "battery 6.4 kWh" in " ".join(device.asset for device in day.households[1].devices)


def test_withoutAPrice_itIsAsked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    schema = folder(tmp_path / "set", pricing=None)
    values = json.loads(schema.read_text())
    values["buildings"]["a"].pop("pricing")
    schema.write_text(json.dumps(values))
    command = ["community", "new", "--from", str(schema), "--out", str(tmp_path / "mine"), "--first-day", "2016-07-31"]
    assert main(command) == 2
    assert "what does a kWh cost? Give --price" in capsys.readouterr().err
    assert main([*command, "--price", "0.3"]) == 0
