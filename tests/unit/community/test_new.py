"""From meter readings to a community that can be run: the command as a user gives it."""

from __future__ import annotations

import csv
import errno
import re
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.community.meters import Meter, MeterData
from gridpact.community.model import Array, Household
from gridpact.community.networks.files import read_network
from gridpact.community.networks.opendss import read_opendss
from gridpact.community.new import FeederRule, NewCommunity, days_between, synthetic_feeder, write_community
from gridpact.community.read import read_community
from gridpact.community.readings import HowToRead
from gridpact.community.street import PhaseFeeder
from gridpact.community.tariff import by_time_of_day, from_table
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.errors import InputError
from gridpact.grid.powerflow import power_flow
from gridpact.grid.three_phase import phase_flow
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import Scenario
from unit.community.networks.test_opendss import written


@pytest.fixture
def readings(tmp_path: Path) -> Path:
    """Two days of three homes, half-hourly: anna uses 0.3 kW, ben has a PV of 2 kW at noon, carl uses 0.8 kW."""
    lines = ["time,household,load_kwh,pv_kwh"]
    for k in range(96):
        clock = (datetime(2024, 6, 21) + timedelta(minutes=30 * k)).strftime("%Y-%m-%d %H:%M")
        sun = 1.0 if 20 <= k % 48 < 30 else 0.0
        lines += [f"{clock},anna,0.15,", f"{clock},ben,0.2,{sun}", f"{clock},carl,0.4,"]
    path = tmp_path / "readings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_command_makes_a_community_that_has_an_optimum(
    tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "street"
    status = main([
        "community", "new", "--from", str(readings), "--out", str(out), "--price", "0.20,17:00-21:00=0.40",
        "--step", "60", "--batteries", "pv", "--cars", "carl", "--source", "our \"own\" meters",
    ])  # fmt: skip
    assert status == 0
    said = capsys.readouterr().out
    assert "street: 3 households, 2 days (2024-06-21 to 2024-06-22), steps of 60 minutes" in said
    community = read_community(str(out))
    assert community.source == 'our "own" meters'
    for words in ("batteries of 5 kWh / 2.5 kW at ben", "at carl", "Synthetic: the feeder", "0.20,17:00-21:00=0.40",
                  "means of the readings"):  # fmt: skip
        assert words in community.notes
    day = community.on("2024-06-22")
    anna, ben, carl = day.households
    np.testing.assert_allclose(anna.load_kw, np.full(24, 0.3))
    assert (ben.pv_kwp, len(ben.having(Battery)), ben.having(ElectricCar)) == (2.0, 1, ())
    np.testing.assert_allclose(ben.pv_kw[9:16], [0, 2, 2, 2, 2, 2, 0])
    assert [car.energy_kwh for car in carl.having(ElectricCar)] == [7]
    np.testing.assert_allclose(day.prices.import_price[15:22], [0.2, 0.2, 0.4, 0.4, 0.4, 0.4, 0.2])
    together, alone = (centralised_optimum(day, scenario).cost for scenario in (Scenario.TG, Scenario.B))
    assert together < alone - 0.01  # ben's PV is worth more next door than at the supplier

    assert main(["community", "show", str(out)]) == 0
    assert "carl" in capsys.readouterr().out


def test_tables_hold_what_was_measured(tmp_path: Path, readings: Path) -> None:
    out = tmp_path / "street"
    assert main(["community", "new", "--from", str(readings), "--out", str(out), "--price", "0.2"]) == 0
    with (out / "load_kw.csv").open() as file:
        table = list(csv.DictReader(file))
    assert len(table) == 96
    assert table[1] == {"time": "2024-06-21 00:30", "anna": "0.3", "ben": "0.4", "carl": "0.8"}
    with (out / "pv_kw.csv").open() as file:
        assert {tuple(row) for row in csv.DictReader(file)} == {("time", "ben")}


def test_ausgrid_is_known_by_its_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lines = [",GC,GG"]
    for k in range(48):
        lines.append(f"2011-07-01 {k // 2:02d}:{'30' if k % 2 else '00'}:00,0.5,{0.8 if 20 <= k < 30 else 0}")
    path = tmp_path / "customer_12.csv"
    path.write_text("\n".join(lines) + "\n")
    out = tmp_path / "home"
    assert main(["community", "new", "--from", str(path), "--out", str(out), "--price", "0.3"]) == 0
    assert read_community(str(out)).on("2011-07-01").households[0].name == "customer_12"
    assert "largest output" in capsys.readouterr().out


def test_an_empty_folder_is_filled(tmp_path: Path, readings: Path) -> None:
    """It may be a volume, which no other folder can take the place of."""
    out = tmp_path / "street"
    out.mkdir()
    before = out.stat().st_ino
    assert main(["community", "new", "--from", str(readings), "--out", str(out), "--price", "0.2"]) == 0
    assert out.stat().st_ino == before
    files = {path.name for path in out.iterdir()}
    assert files == {"community.toml", "households.csv", "feeder.csv", "prices.csv", "load_kw.csv", "pv_kw.csv"}


def test_a_folder_is_refused_before_anything_is_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine").write_text("")
    nowhere = ["community", "new", "--from", str(tmp_path / "nowhere"), "--price", "0.2", "--out"]
    for out, complaint in ((tmp_path, "is there already"), (tmp_path / "mine" / "x", "cannot be written to")):
        assert main([*nowhere, str(out)]) == 2
        assert complaint in capsys.readouterr().err


def test_a_disk_that_is_full_is_told(
    tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full)
    assert main(["community", "new", "--from", str(readings), "--out", str(tmp_path / "x"), "--price", "0.2"]) == 2
    assert "cannot be written: No space left on device; choose another folder" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [readings.name]


WRONG: dict[str, tuple[list[str], str]] = {
    "no price": ([], r"what does a kWh cost\? Give --price 0.30, by time of day, or --prices with a table"),
    "price": (["--price", "cheap"], "'cheap' in the tariff 'cheap' is not a price per kWh"),
    "sign": (["--price=-0.3"], r"never above 0 \(lowest -0.3, .*does a price have the wrong sign"),
    "window": (["--price", "0.2,17-21=0.4"], "'17-21=0.4' in the tariff .* is not like 15:00-20:00=0.40"),
    "format": (["--price", "1", "--format", "xml"], "there is no format 'xml'; choose one of auto, readings, ausgrid"),
    "gaps": (["--price", "1", "--gaps", "guess"], "there is no way with gaps 'guess'"),
    "times": (["--price", "1", "--times", "middle"], "there is no meaning of times 'middle'"),
    "zone": (["--price", "1", "--timezone", "Mars"], "there is no time zone 'Mars'"),
    "household": (["--price", "1", "--only", "dora"], "no readings of a household 'dora'"),
    "battery": (["--price", "1", "--batteries", "dora"], "no household 'dora' that could get a battery or a car"),
    "size": (["--price", "1", "--battery-size", "big"], "two numbers, kWh and kW, like 5/2.5, not 'big'"),
    "no size": (["--price", "1", "--car-size", "0/3"], "--car-size needs two positive numbers"),
    "no lengths": (["--price", "1", "--line-length", "45"], "the shortest and the longest in metres, like 45/75, not"),
    "hours": (["--price", "1", "--car-hours", "night"], "--car-hours needs two times like 18:00-07:00, not 'night'"),
    "car that cannot charge": (
        ["--price", "1", "--cars", "all", "--car-hours", "18:00-19:00"],
        "needs 7 kWh, but can charge only 3.33 kWh",
    ),
    "length": (["--price", "1", "--line-length", "75/45"], "--line-length needs the shortest first"),
    "days": (["--price", "1", "--days", "2024-07-01..2024-07-02"], "no whole days in .*2024-06-21 to 2024-06-22"),
    "day": (["--price", "1", "--days", "2024-06-20"], "'2024-06-20' is no whole day of all households"),
    "step": (["--price", "1", "--step", "45"], "readings of 30 minutes cannot become steps of 45"),
    "most": (["--price", "1", "--most", "0"], "--most needs a positive number"),
    "seed": (["--price", "1", "--seed", "-1"], "--seed needs a number of at least 0"),
    "size of no battery": (
        ["--price", "1", "--battery-size", "5/2"],
        "leave out --battery-size: nobody gets a battery",
    ),
    "size of no car": (["--price", "1", "--car-size", "5/2"], "leave out --car-size: nobody gets a car"),
    "hours of no car": (["--price", "1", "--car-hours", "18:00-07:00"], "leave out --car-hours: nobody gets a car"),
    "times of no table": (["--price", "1", "--price-times", "end"], "leave out --price-times: no table of prices"),
    "ignored": (["--price", "1", "--ignore", "dora,eve"], "no column 'dora' that --ignore could leave out, but "),
    "large battery": (["--price", "1", "--batteries", "all", "--battery-size", "5000/9"], "say --accept size"),
    "large chi": (["--price", "1", "--trading-coefficient", "10"], "say --accept price"),
    "no currency": (["--price", "1", "--currency", " "], "'currency' is empty; give a text"),
    "share": (["--price", "1", "--feed-in-share", "2"], "--feed-in-share needs a number from 0 to 1, not 2"),
}


@pytest.mark.parametrize("name", WRONG)
def test_command_complains_in_one_sentence(
    tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    options, complaint = WRONG[name]
    out = tmp_path / "street"
    assert main(["community", "new", "--from", str(readings), "--out", str(out), *options]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "Traceback" not in said
    with pytest.raises(InputError, match=complaint):
        raise InputError(said)
    assert not out.exists()
    assert not list(tmp_path.glob(".street*"))


def test_folder_that_is_taken_is_left_alone(tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "street"
    out.mkdir()
    (out / "diary.txt").write_text("mine")
    assert main(["community", "new", "--from", str(readings), "--out", str(out), "--price", "1"]) == 2
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in out.iterdir()] == ["diary.txt"]


# ---------------------------------------------------------------------- prices


def test_tariff_by_time_of_day_by_hand() -> None:
    tariff = by_time_of_day("0.2,22:00-06:00=0.1,17:30-19:00=0.4", ["1", "2"], 60)
    expected = [0.1] * 6 + [0.2] * 11 + [0.3, 0.4] + [0.2] * 3 + [0.1] * 2  # half of the hour from 17:00 costs 0.4
    np.testing.assert_allclose(tariff["2"], expected)


def test_prices_from_a_table(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    rows = [f"2024-06-21 {hour:02d}:00,{hour / 100}" for hour in range(24)]
    path.write_text("\n".join(["time,import_price", *rows, "2024-06-22 00:00,1"]) + "\n")
    np.testing.assert_allclose(from_table(path, 30, HowToRead())[0]["2024-06-21"], np.repeat(np.arange(24) / 100, 2))
    np.testing.assert_allclose(from_table(path, 120, HowToRead())[0]["2024-06-21"], np.arange(12) / 50 + 0.005)
    assert list(from_table(path, 60, HowToRead())[0]) == ["2024-06-21"]  # the other day is not whole
    with pytest.raises(InputError, match="prices of 60 minutes do not fit steps of 45"):
        from_table(path, 45, HowToRead())
    path.write_text("\n".join(["time,import_price", *rows, rows[3] + "5"]) + "\n")
    with pytest.raises(InputError, match=r"row 26, column 'time': a second price at 2024-06-21 03:00, .* row 5"):
        from_table(path, 60, HowToRead())


def test_days_without_prices_are_left_out(tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prices, out = tmp_path / "prices.csv", tmp_path / "street"
    rows = [f"2024-06-22 {hour:02d}:00,0.3" for hour in range(24)]
    prices.write_text("\n".join(["time,import_price", *rows]) + "\n")
    assert main(["community", "new", "--from", str(readings), "--out", str(out), "--prices", str(prices)]) == 0
    assert "Left out, since prices.csv has no prices: 2024-06-21." in capsys.readouterr().out
    assert read_community(str(out)).days == ("2024-06-22",)


# ---------------------------------------------------------------------- feeder and days


def test_homes_standForTheLoadsOfANetworkFile(
    tmp_path: Path, readings: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In its order; a network with less loads than homes, and lines that are told twice, are refused."""
    (tmp_path / "net").mkdir()
    network, out = written(tmp_path / "net"), tmp_path / "street"
    command = ["community", "new", "--from", str(readings), "--price", "0.2", "--feeder", str(network), "--out"]
    assert main([*command, str(out)]) == 0
    assert "The network: lines beside each other are taken as one" in capsys.readouterr().out
    feeder = read_community(str(out)).feeder
    assert isinstance(feeder, PhaseFeeder)
    assert feeder.connections == tuple(load.connection for load in read_opendss(network).loads[:3])
    assert not (out / "feeder.csv").exists()
    assert main([*command, str(tmp_path / "x"), "--line-length", "40/50"]) == 2
    assert "the network of --feeder has its own lines" in capsys.readouterr().err
    text = network.read_text()
    network.write_text("\n".join(line for line in text.splitlines() if not re.match("New Load.h[34]", line)))
    assert main([*command, str(tmp_path / "x")]) == 2
    assert "the network 'street' has 2 loads, too few for 3 households" in capsys.readouterr().err


@pytest.mark.parametrize(("case", "form"), [("tiny3", "dss"), ("tiny3", "json"), ("fontana16x3", "json")])
def test_export_isTheFeederAgain(tmp_path: Path, case: str, form: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Read back it has the same voltages; balanced feeders have their homes on all phases."""
    path, day = tmp_path / f"network.{form}", read_community(case).on(read_community(case).days[0])
    assert main(["community", "export", case, "--to", str(path), "--time", "00:00"]) == 0
    assert f"{len(day.households)} loads of {day.day} 00:00" in capsys.readouterr().out
    read = read_network(path)
    kw, kvar = (np.array([[part(home)[0]] for home in day.households]) for part in (_net_kw, _kvar))
    feeder = read.feeder([load.connection for load in read.loads], 0.9, 1.1)
    mine = phase_flow(feeder, -kw, -kvar).magnitude_pu
    theirs = power_flow(day.feeder, -kw, -kvar)
    flow = theirs.voltage_pu if theirs.by_phase is None else theirs.by_phase.voltage_pu
    np.testing.assert_allclose(mine, np.repeat(flow, len(mine) // len(flow), axis=0), rtol=0, atol=1e-7)
    assert main(["community", "export", case, "--to", str(tmp_path / "network.xml")]) == 2
    assert "must end in .dss, for OpenDSS, or in .json, for pandapower" in capsys.readouterr().err


def _net_kw(home: Household) -> Array:
    return home.net_load_kw


def _kvar(home: Household) -> Array:
    return home.load_kvar


@pytest.mark.parametrize("households", [1, 2, 3, 4, 7, 16, 17, 40, 127])
def test_synthetic_feeder_reaches_everybody(tmp_path: Path, households: int) -> None:
    lines = synthetic_feeder(households, FeederRule())
    assert [node for node, *_ in lines] == list(range(1, households + 1))
    assert all(0 <= parent < node for node, parent, _ in lines)  # no loops
    assert all(45 <= length <= 75 and length % 5 == 0 for *_, length in lines)
    assert sum(parent == 0 for _, parent, _ in lines) == -(-households // 16)


def test_synthetic_feeder_of_sixteen_is_like_the_shipped_one() -> None:
    parents = {node: parent for node, parent, _ in synthetic_feeder(16, FeederRule())}
    assert [parents[node] for node in range(1, 11)] == list(range(10))  # a main of ten
    assert [parents[node] for node in range(11, 17)] == [3, 11, 5, 13, 8, 15]  # and three laterals of two


def test_feeder_is_the_same_for_the_same_seed() -> None:
    assert synthetic_feeder(16, FeederRule(seed=3)) == synthetic_feeder(16, FeederRule(seed=3))
    assert synthetic_feeder(16, FeederRule(seed=3)) != synthetic_feeder(16, FeederRule(seed=4))


def test_too_many_households(tmp_path: Path) -> None:
    flat = {"2024-06-21": np.ones(24)}
    data = MeterData(60, tuple(Meter(f"h{k}", flat) for k in range(128)))
    new = NewCommunity("big", "EUR", "", "", "flat")
    with pytest.raises(InputError, match=r"128 households, a community has at most 127; .*--most"):
        write_community(data, ["2024-06-21"], flat, new, tmp_path / "big")


def test_days_between() -> None:
    days = ["2024-06-20", "2024-06-21", "2024-06-23"]
    assert days_between(days, "all") == days
    assert days_between(days, "2024-06-21..2024-06-30") == days[1:]
    assert days_between(days, "2024-06-23, 2024-06-20") == ["2024-06-23", "2024-06-20"]
