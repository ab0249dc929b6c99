"""Several devices of a kind: a charging station against a program of its own, files, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import linprog

from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.car import ElectricCar
from gridpact.errors import InfeasibleError, InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.outcome import solved
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views

CARS = """household,car_kwh,car_kw,car_efficiency,car_from,car_to
ann,6,2,1,00:00,12:00
ann,9,3,0.9,12:00,24:00
ann,3,1,1,18:00,06:00
cem,4,2,1,06:00,18:00
"""
KAPPA = np.array([0.20, 0.40, 0.20, 0.40])
THERE = np.array([[1, 1, 0, 0], [0, 0, 1, 1], [1, 0, 0, 1]])


@pytest.fixture
def station(tmp_path: Path) -> Path:
    """The case `tiny3`, where ann is a charging station with three cars and cem gets a second one."""
    folder = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    (folder / "cars.csv").write_text(CARS, encoding="utf-8")
    with (folder / "community.toml").open("a", encoding="utf-8") as toml:
        toml.write('\n[files]\ncar = "cars.csv"\n')
    loads = (folder / "load_kw.csv").read_text(encoding="utf-8").splitlines()
    ann = loads[0].split(",").index("ann")
    rows = [[*cells[:ann], "0", *cells[ann + 1 :]] for cells in (line.split(",") for line in loads[1:])]
    (folder / "load_kw.csv").write_text("\n".join([loads[0], *map(",".join, rows)]) + "\n", encoding="utf-8")
    return folder


def limited(folder: Path, kilowatts: float) -> None:
    """A connection for ann."""
    table = folder / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    named = [f"{row},{kilowatts if row.startswith('ann') else ''}" for row in rows]
    table.write_text("\n".join([f"{header},connection_kw", *named]) + "\n", encoding="utf-8")


@pytest.mark.parametrize("connection", [None, 2.6])
def test_station_paysWhatAPlainProgramFinds(station: Path, connection: float | None) -> None:
    if connection is not None:
        limited(station, connection)
    day = read_community(str(station)).on("1")
    (view,) = [view for view in node_views(day, Scenario.B, NetworkAgreement.DSO) if view.node == 1]
    plan = fallback(view)
    needs, most, ways = np.array([6, 9, 3.0]), np.array([2, 3, 1.0]), np.array([1, 0.9, 1])
    found = linprog(
        6 * np.tile(KAPPA, 3),
        A_eq=np.kron(np.eye(3), np.full(4, 6.0)) * ways[:, None],
        b_eq=needs,
        A_ub=np.tile(np.eye(4), 3),
        b_ub=np.full(4, 100.0 if connection is None else connection),
        bounds=[(0, power * there) for power, row in zip(most, THERE, strict=True) for there in row],
    )
    assert found.success
    assert 6 * float(KAPPA @ plan["import_kw"]) == pytest.approx(found.fun, abs=1e-5)
    for number, (energy, way) in enumerate(zip(needs, ways, strict=True), start=1):
        name = "car_kw" if number == 1 else f"car_kw_{number}"
        assert 6 * way * plan[name].sum() == pytest.approx(energy, abs=1e-5)
        assert plan[name][THERE[number - 1] == 0].max() < 1e-6
    if connection is not None:
        assert np.abs(plan["injection_kw"]).max() <= connection + 1e-6


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG], ids=lambda s: s.name)
def test_agreementKnowsAllCars(station: Path, scenario: Scenario) -> None:
    outcome = solved(read_community(str(station)).on("1"), scenario)
    assert abs(outcome.implemented_gap) < 2e-3
    (cem,) = [home for home in outcome.households if home.name == "cem"]
    assert 6 * cem.schedule["car_kw"].sum() == pytest.approx(6, abs=1e-4)
    assert 6 * cem.schedule["car_kw_2"].sum() == pytest.approx(4, abs=1e-4)


def test_householdFile_keepsCarsAndConnection(station: Path, tmp_path: Path) -> None:
    limited(station, 4.5)
    day = read_community(str(station)).on("1")
    (view,) = [view for view in node_views(day, Scenario.B, NetworkAgreement.DSO) if view.node == 1]
    write_view(view, tmp_path / "view.json")
    home = read_view(tmp_path / "view.json").household
    assert home is not None
    assert home.connection_kw == 4.5
    assert [car.energy_kwh for car in home.having(ElectricCar)] == [6, 9, 3]


def test_aConnectionThatIsTooSmall_isNamed(station: Path) -> None:
    limited(station, 0.3)
    with pytest.raises(InfeasibleError, match="household 'ann' has no feasible plan on 1: what its connection carries"):
        solved(read_community(str(station)).on("1"), Scenario.B)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ann,6,2", "eve,6,2", "cars.csv, row 2, column 'household': there is no household 'eve'"),
        ("cem,4,2", "cem,0,2", "cars.csv, row 5, column 'car_kwh': is the size of a car, so it must be above 0"),
        ("ann,9,3", "ann,90,3", "cars.csv, row 3, .*the car needs 90 kWh, but can charge only"),
        ("ann,9,3", "ann,9000,3000", "cars.csv, row 3, column 'car_kwh': 9000 kWh is more than the 300"),
        ("car_efficiency", "pv_kwp", "cars.csv: column 'pv_kwp' is not known"),
    ],
)  # fmt: skip
def test_whatCannotBe_isOneSentence(station: Path, old: str, new: str, message: str) -> None:
    table = station / "cars.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
    with pytest.raises(InputError, match=message):
        read_community(str(station))


def test_panelsHaveNoTable(station: Path) -> None:
    toml = station / "community.toml"
    toml.write_text(toml.read_text(encoding="utf-8").replace('car = "cars', 'pv_panels = "cars'), encoding="utf-8")
    with pytest.raises(InputError, match=r"'pv_panels' is not known; known keys: households, .*two_way_car"):
        read_community(str(station))
