"""Days that follow each other: what one leaves the next begins with, in plans, files and over a second command."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cvxpy as cp
import numpy as np
import pytest
from scipy.optimize import linprog

from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.community.read import Community, read_community, shipped_cases
from gridpact.devices.battery import Battery
from gridpact.devices.boiler import Boiler
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Array
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.errors import InfeasibleError
from gridpact.outcome.day import HouseholdDay, failed_day
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.report.weeks import page
from gridpact.study.weeks import store
from gridpact.study.weeks.plan import Order, StudySettings
from gridpact.study.weeks.row import DayRow, MonthsPeaks, carried_over, rows_in

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


RATE = 0.8
LARGEST = {"first": [1.0, 0.8, 0.6], "last": [0.6, 0.8, 1.0]}
"""What the load of each day is of what it is in `tiny3`."""


@pytest.fixture
def monthly(request: pytest.FixtureRequest, three_days: Path) -> tuple[str, Community]:
    """The three days with one set of prices, a fee on the month's peak, no cars, and trades that cost nothing."""
    for table in ("prices.csv", "load_kw.csv"):
        header, *rows = (three_days / table).read_text(encoding="utf-8").splitlines()
        for k, row in enumerate(rows):
            when, *values = row.split(",")
            part = LARGEST[request.param][k // 4]
            same = [rows[k % 4].split(",")[1]] if table == "prices.csv" else [f"{part * float(v)}" for v in values]
            rows[k] = ",".join([when, *same])
        (three_days / table).write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    table = three_days / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    kept = [k for k, name in enumerate(header.split(",")) if not name.startswith("car_") and "left" not in name]
    lines = [",".join(row.split(",")[k] for k in kept) for row in (header, *rows)]
    table.write_text("\n".join(lines) + "\n", encoding="utf-8")
    toml = three_days / "community.toml"
    stated = re.sub("trading_coefficient = .*", "", toml.read_text(encoding="utf-8"))
    fees = f'\n[fees]\npeak_per_kw = {RATE}\npeak_over = "month"\n'
    toml.write_text("trading_coefficient = 0\n" + stated + fees, encoding="utf-8")
    return request.param, read_community(str(three_days))


def least(days: Sequence[CommunityDay], together: bool) -> float:
    """What days can cost at least with one peak of each home over all of them, by a program of its own.

    Args:
        together: whether homes trade, at no cost.
    """
    hours, cost, within, sums = days[0].step_hours, 0.0, [], [0.0] * len(days)
    for homes in zip(*(day.households for day in days), strict=True):
        peak = cp.Variable(nonneg=True)
        cost += RATE * cp.pos(peak - homes[0].peak_kw)
        for k, (day, home) in enumerate(zip(days, homes, strict=True)):
            curtailed, net = cp.Variable(4, nonneg=True), home.load_kw - home.pv_kw
            within.append(curtailed <= home.pv_kw)
            drawn = net + curtailed
            for battery in home.having(Battery):
                charge, discharge = cp.Variable(4, nonneg=True), cp.Variable(4, nonneg=True)
                level = battery.start_kwh + hours * cp.cumsum(
                    battery.charge_efficiency * charge - discharge / battery.discharge_efficiency
                )
                within += [charge <= battery.power_kw, discharge <= battery.power_kw, level >= 0]
                within += [level <= battery.capacity_kwh, level[-1] >= battery.start_kwh]
                drawn = drawn + charge - discharge
            within.append(peak >= drawn)
            if together:
                sums[k] = sums[k] + drawn
            else:
                cost += hours * _supplied(day.prices.import_price, day.prices.feed_in_price, drawn)
    for day, drawn in zip(days, sums if together else [], strict=False):
        cost += hours * _supplied(day.prices.import_price, day.prices.feed_in_price, drawn)
    problem = cp.Problem(cp.Minimize(cost), within)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    return float(problem.value)


def _supplied(import_price: Array, feed_in_price: Array, drawn: cp.Expression) -> cp.Expression:
    return cp.sum(cp.maximum(cp.multiply(import_price, drawn), cp.multiply(feed_in_price, drawn)))


@pytest.mark.parametrize(
    ("monthly", "scenario"),
    [("first", Scenario.B), ("last", Scenario.B), ("last", Scenario.T), ("first", Scenario.TG)],
    indirect=["monthly"],
    ids=str,
)
def test_monthsPeak_isPaidOnce(monthly: tuple[str, Community], tmp_path: Path, scenario: Scenario) -> None:
    """Days pay together for the highest power of all of them. Each costs what it can cost at least, given what the ones
    before have drawn; all together no less than one program over all days would, and alone no more where the first
    needs most."""
    largest, community = monthly
    followed = row_of(community, tmp_path / "out", scenario).followed()
    drawn = np.array([[-home.schedule["injection_kw"].min() for home in known.households] for _, known in followed])
    paid = np.array([[home.peak_fee for home in known.households] for _, known in followed])
    assert paid.sum(axis=0) == pytest.approx(RATE * drawn.max(axis=0), abs=1e-6)
    assert (paid[0] > 0).all()
    assert all(abs(known.gap) < 1e-3 for _, known in followed)
    costs = [known.cost - sum(home.loss_cost for home in known.households) for _, known in followed]
    for cost, (order, _) in zip(costs, followed, strict=True):
        best = least([order.community], scenario.has_trades)
        assert best - 1e-4 <= cost <= best + 1e-3 * max(abs(best), 1.0) + (0.01 if scenario.has_network else 0.0)
    whole = least([community.on(day) for day in community.days], scenario.has_trades)
    assert sum(costs) >= whole - 1e-3
    if (largest, scenario) == ("first", Scenario.B):
        assert sum(costs) == pytest.approx(whole, abs=1e-3)
        assert np.abs(paid[1:]).max() < 1e-4
    elif largest == "last":
        assert paid[-1].sum() > 0.1


def test_monthsPeak_isOfAMonth() -> None:
    """A month begins with what is stated, whatever the last one came to; within one it survives a day without a plan,
    and days that are missing."""
    home = replace(read_community("tiny3").on("1").households[0], peak_kw=1.0)
    day = read_community("tiny3").on("1")
    month = replace(day, households=(home,), prices=replace(day.prices, peak_fee=1.0, monthly_peak=True))
    peaks = MonthsPeaks()

    def begun(label: str) -> float:
        return peaks.before(replace(month, day=label)).households[0].peak_kw

    drawn = failed_day(month, Scenario.B, NetworkAgreement.DSO, "memory", InfeasibleError("none"))
    three = HouseholdDay(home.node, home.name, False, (), {"injection_kw": np.array([1.0, -3.0])}, *[0.0] * 7)
    assert begun("2024-06-10") == 1
    peaks.after(replace(drawn, households=(three,)))
    assert begun("2024-06-11") == 3
    peaks.after(drawn)
    assert begun("2024-06-29") == 3
    assert begun("2024-07-01") == 1
    assert peaks.before(replace(day, day="2024-07-02")) == replace(day, day="2024-07-02")  # no fee, nothing changes


def test_rowsOfOneMonth_areOne(three_days: Path, tmp_path: Path) -> None:
    """A gap ends a row of days, but no month that is paid for."""
    community = read_community(str(three_days))
    settings = StudySettings((Scenario.B,), continuous=True)
    rows = [["2024-06-01"], ["2024-06-20"], ["2024-07-20"]]

    def lengths(one: Community) -> list[int]:
        return [len(row.days) for row in rows_in(one, rows, settings, tmp_path)]

    assert lengths(community) == [1, 1, 1]
    fees = replace(community.suppliers.fees, monthly_peak=True)
    assert lengths(replace(community, suppliers=replace(community.suppliers, fees=fees))) == [2, 1]


@pytest.mark.parametrize(
    "command",
    [["study", "--scenarios", "t"], ["uncertainty", "--days", "all"], ["markets"], ["study", "--invest"]],
    ids=" ".join,
)
@pytest.mark.parametrize("monthly", ["first"], indirect=True)
def test_daysByThemselves_doNotPayAMonthEach(
    monthly: tuple[str, Community],
    three_days: Path,
    tmp_path: Path,
    command: list[str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main([*command, "--case", str(three_days), "--out", str(tmp_path / "out")]) == 2
    assert "the peak fee of 'tiny3' is a month's" in capsys.readouterr().err


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


def test_command_goesOnFromWhatIsThere(three_days: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
