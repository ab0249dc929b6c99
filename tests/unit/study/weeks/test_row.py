"""Days that follow each other: what one leaves the next begins with, in plans, files and over a second command."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from gridpact.cli import main
from gridpact.community.read import Community, read_community, shipped_cases
from gridpact.devices.battery import Battery
from gridpact.devices.boiler import Boiler
from gridpact.devices.car import ElectricCar
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.problem.scenario import Scenario
from gridpact.report.weeks import page
from gridpact.study.weeks import store
from gridpact.study.weeks.plan import Order, StudySettings
from gridpact.study.weeks.row import DayRow, carried_over

PRICES = {
    "2024-06-01": [0.10, 0.40, 0.20, 0.30],
    "2024-06-02": [0.50, 0.60, 0.40, 0.20],
    "2024-06-03": [0.10, 0.30, 0.20, 0.60],
}
VALUE = 0.25


@pytest.fixture
def three_days(tmp_path: Path) -> Path:
    """The case `tiny3` on three days in a row, with a battery whose rest is worth something."""
    folder = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    for table in ("prices.csv", "load_kw.csv", "pv_kw.csv"):
        header, *rows = (folder / table).read_text(encoding="utf-8").splitlines()
        days = [row.replace("1 ", f"{day} ", 1) for day in PRICES for row in rows[:4]]
        if table == "prices.csv":
            prices = [price for of_day in PRICES.values() for price in of_day]
            days = [f"{row.split(',')[0]},{price}" for row, price in zip(days, prices, strict=True)]
        (folder / table).write_text("\n".join([header, *days]) + "\n", encoding="utf-8")
    table = folder / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    worth = [f"{row},{VALUE if row.startswith('cem') else ''}" for row in rows]
    table.write_text("\n".join([f"{header},battery_left_per_kwh", *worth]) + "\n", encoding="utf-8")
    return folder


def battery_day(prices: list[float], start: float, load: float = 0.5) -> float:
    """What is in a battery of 6 kWh and 1 kW without losses in the end, by a program of its own; four steps of 6 h."""
    eye, sums = np.eye(4), 6 * np.tril(np.ones((4, 4)))
    kappa = np.array(prices)
    cost = 6 * np.concatenate([kappa, -0.5 * kappa, np.full(4, -VALUE), np.full(4, VALUE)])
    floor = np.array([0, 0, 0, 3.0])  # what is stated for the start of a day
    found = linprog(
        cost,
        A_eq=np.hstack([eye, -eye, -eye, eye]),
        b_eq=np.full(4, load),
        A_ub=np.vstack([np.hstack([np.zeros((4, 8)), sums, -sums]), np.hstack([np.zeros((4, 8)), -sums, sums])]),
        b_ub=np.concatenate([np.full(4, 6 - start), start - floor]),
        bounds=[(0, None)] * 8 + [(0, 1)] * 8,
    )
    assert found.success
    return start + 6 * float((found.x[8:12] - found.x[12:]).sum())


def row_of(community: Community, folder: Path, scenario: Scenario = Scenario.B) -> DayRow:
    return DayRow(community, community.days, scenario, StudySettings((scenario,), continuous=True), folder)


def test_battery_beginsWithWhatWasLeft(three_days: Path, tmp_path: Path) -> None:
    """The levels of a home alone are those of a program that goes from day to day by itself."""
    community = read_community(str(three_days))
    start = 3.0
    levels = []
    for order, outcome in row_of(community, tmp_path / "out").followed():
        (home,) = [one for one in outcome.households if one.name == "cem"]
        (battery,) = [one for h in order.community.households for one in h.having(Battery)]
        assert battery.start_kwh == pytest.approx(start, abs=1e-4)
        start = battery_day(PRICES[order.community.day], start)
        assert home.schedule["stored_kwh"][-1] == pytest.approx(start, abs=1e-3)
        levels.append(start)
    assert max(levels) > 4  # it carries something
    assert min(levels) >= 3 - 1e-6


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG], ids=lambda s: s.name)
def test_agreedDaysFollowEachOther(three_days: Path, tmp_path: Path, scenario: Scenario) -> None:
    """The car has at each departure what it needs, its evening before counted, and every day ends as it should."""
    community = read_community(str(three_days))
    (car,) = [one for home in community.on(community.days[0]).households for one in home.having(ElectricCar)]
    evening = None
    stored = 3.0
    for order, outcome in row_of(community, tmp_path / "out", scenario).followed():
        assert outcome.feasible
        assert outcome.checks_held
        (home,) = [one for one in outcome.households if one.name == "cem"]
        (battery,) = [one for h in order.community.households for one in h.having(Battery)]
        assert battery.start_kwh == pytest.approx(stored, abs=1e-3)
        stored = float(home.schedule["stored_kwh"][-1])
        assert stored >= 3 - 1e-3
        taken = 6 * home.schedule["car_kw"]
        assert taken.sum() == pytest.approx(car.energy_kwh, abs=1e-3)
        if evening is not None:
            assert evening + taken[0] >= car.energy_kwh - 1e-3
        evening = float(taken[3]) if evening is None else evening + float(taken.sum()) - car.energy_kwh


def test_everyStoreCarriesOver() -> None:
    """What each device is left with it begins with, and what it is to end with stays what is stated."""
    there = np.ones(4, dtype=bool)
    battery, car = Battery(6.0, 1.0, 1.0, 1.0, 3.0), TwoWayCar(40.0, 5.0, 4.0, 0.9, 0.9, 10.0, 0.0, 20.0, there, 1.0)
    charged = battery.after(battery, {"charge_kw": np.ones(4), "stored_kwh": np.full(4, 5.0)}, 6.0)
    assert (charged.start, charged.wanted) == (5.0, 3.0)
    driven = car.after(car, {"two_way_charge_kw": np.ones(4), "two_way_kwh": np.full(4, 25.0)}, 6.0)
    assert (driven.start, driven.wanted) == (25.0, 20.0)
    boiler = Boiler(10.0, 2.0, 0.05, 5.0, 1.0, np.full(4, 0.2))
    heated = boiler.after(boiler, {"boiler_kw": np.ones(4), "tank_kwh": np.full(4, 8.0)}, 6.0)
    assert (heated.start, heated.wanted) == (8.0, 5.0)
    pump = HeatPump(2.0, 0.1, 8.0, 19.0, 22.0, 20.0, 0.3, 35.0, 0.45, np.full(4, 5.0))
    warm = pump.after(pump, {"heat_pump_kw": np.ones(4), "indoor_c": np.full(4, 21.5)}, 6.0)
    assert (warm.start_c, warm.wanted) == (21.5, 20.0)


def test_aKindThatIsNewOnADay_beginsAsStated(three_days: Path) -> None:
    community = read_community(str(three_days))
    today, tomorrow = (community.on(day) for day in community.days[:2])
    bare = replace(today, households=tuple(replace(home, devices=()) for home in today.households))
    assert carried_over(bare, {home.node: {} for home in bare.households}, tomorrow) == tomorrow


def test_command_goesOnFromWhatIsThere(
    three_days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(page, "drawn", lambda figures: {})  # takes seconds; `test_page` has them
    out = tmp_path / "out"
    command = ["study", "--case", str(three_days), "--scenarios", "t", "--jobs", "1", "--out", str(out), "--continuous"]
    assert main(command) == 0
    before = (out / "study.json").read_bytes()
    assert json.loads(before)["continuous"] is True
    assert "begins with what the day before has left" in (out / "index.html").read_text(encoding="utf-8")
    (out / store.FOLDER / f"{list(PRICES)[1]}_t.json").unlink()
    solve = Order.solve
    solved: list[str] = []
    monkeypatch.setattr(Order, "solve", lambda self: (solved.append(self.name), solve(self))[1])
    assert main(command) == 0
    assert (out / "study.json").read_bytes() == before
    assert solved == [f"{list(PRICES)[1]}_t"]


def test_onAChain_isRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["study", "--continuous", "--chain", "eth-tester", "--out", str(tmp_path / "out")]) == 2
    assert "days follow each other in memory only" in capsys.readouterr().err
