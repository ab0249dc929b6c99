"""A car that gives back: its physics against a mixed-integer program and by its own recursion, its files, its days."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.device import DeviceError, Occasion
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.day import solve_day
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from unit.problem.helpers import community, household

STATED = {
    "capacity_kwh": 40.0, "charge_kw": 5.0, "discharge_kw": 4.0, "round_trip_efficiency": 0.81, "ready_kwh": 20.0,
    "drive_kwh": 9.0, "start_share": 0.5, "from": 18 * 60.0, "to": 6 * 60.0,
}  # fmt: skip


def car_of(**changes: float) -> TwoWayCar:
    car = TwoWayCar.of(STATED | changes, Occasion(8, 3.0))
    assert car is not None
    return car


def alone(car: TwoWayCar, prices: list[float], load_kw: float = 2.0) -> dict[str, Array]:
    """What a home with nothing else plans for itself, eight steps of three hours."""
    day = community([household(1, [load_kw] * 8, [0.0] * 8, devices=(car,))], prices)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    return fallback(view)


def lived(car: TwoWayCar, plan: dict[str, Array], leaves_after: int, back_after: int) -> Array:
    """What is in the battery after each step, by its recursion; it drives between two steps."""
    level, path = car.start_kwh, []
    for step, (into, out) in enumerate(zip(plan["two_way_charge_kw"], plan["two_way_discharge_kw"], strict=True)):
        level += 3.0 * (0.9 * into - out / 0.9) - (9.0 if step == back_after else 0.0)
        if step == leaves_after:
            assert level >= 20.0 - 1e-4
        path.append(level)
    return np.array(path)


def test_plan_canBeDriven_andFeedsTheHouseWhenItIsDear() -> None:
    car = car_of()
    plan = alone(car, [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.6, 0.2])
    assert plan["two_way_kwh"] == pytest.approx(lived(car, plan, leaves_after=1, back_after=5), abs=1e-4)
    assert plan["two_way_charge_kw"][2:6] == pytest.approx(0, abs=1e-6)  # it is away
    assert plan["two_way_discharge_kw"][2:6] == pytest.approx(0, abs=1e-6)
    assert plan["two_way_discharge_kw"][6] >= 2.0 - 1e-5  # 0.6 is dearer than what it costs to fill up again
    assert plan["two_way_kwh"][-1] >= car.start_kwh - 1e-4


def test_absenceOverMidnight_isDrivenToo() -> None:
    """Plugged in from 9 to 18: away in the morning and in the evening, one trip, back at 9."""
    car = car_of(**{"from": 9 * 60.0, "to": 18 * 60.0})
    plan = alone(car, [0.3] * 8)
    assert plan["two_way_kwh"] == pytest.approx(lived(car, plan, leaves_after=5, back_after=2), abs=1e-4)
    assert 3 * 0.9 * plan["two_way_charge_kw"].sum() == pytest.approx(9.0, abs=1e-4)  # what it drove
    finer = car.finer(3, np.repeat)
    assert finer.driven_kwh.sum() == 9.0
    assert np.flatnonzero(finer.driven_kwh).tolist() == [8]


@settings(max_examples=15, deadline=None)
@given(
    prices=st.lists(st.floats(-0.2, 0.6).map(lambda x: round(x, 3)), min_size=8, max_size=8),
    drive=st.floats(0, 15),
    efficiency=st.floats(0.5, 1),
)
def test_costsNoMoreThanAMixedIntegerProgram(prices: list[float], drive: float, efficiency: float) -> None:
    """At any price, also a negative one, where a convex plan would like to do both at once."""
    car = car_of(drive_kwh=drive, round_trip_efficiency=efficiency)
    plan = alone(car, prices)
    assert np.minimum(plan["two_way_charge_kw"], plan["two_way_discharge_kw"]).max() <= 1e-3
    there = np.array([1, 1, 0, 0, 0, 0, 1, 1.0])
    way, feed_in = np.sqrt(efficiency), np.minimum(prices, 0.5 * np.array(prices))
    # Variables: import, feed-in, into, out, whether into; (8,) each.
    cost = 3 * np.concatenate([prices, -feed_in, np.zeros(24)])
    eye, none = np.eye(8), np.zeros((8, 8))
    sums = 3 * np.tril(np.ones((8, 8)))
    driven = np.array([0, 0, 0, 0, 0, drive, drive, drive])
    least = np.array([0, 20.0, 0, 0, 0, 0, 0, 20.0])
    found = milp(
        cost,
        integrality=np.repeat([0, 0, 0, 0, 1], 8),
        bounds=Bounds(0, np.concatenate([np.full(16, 100.0), 5 * there, 4 * there, np.ones(8)])),
        constraints=[
            LinearConstraint(np.hstack([eye, -eye, -eye, eye, none]), 2.0, 2.0),
            LinearConstraint(np.hstack([none, none, eye, none, -5 * eye]), -np.inf, 0),
            LinearConstraint(np.hstack([none, none, none, eye, 4 * eye]), -np.inf, 4),
            LinearConstraint(np.hstack([none, none, way * sums, -sums / way, none]), least - 20 + driven, 20 + driven),
        ],
    )
    assert found.success
    paid = 3 * float(np.dot(prices, plan["import_kw"]) - np.dot(feed_in, plan["feed_in_kw"]))
    assert paid == pytest.approx(found.fun, abs=2e-3)


@pytest.mark.parametrize(
    ("changes", "key", "words"),
    [
        ({"start_share": 0.1, "charge_kw": 1.0}, "charge_kw", "at 06:00 the car has .* must have 20 kWh; widen"),
        ({"drive_kwh": 60.0}, "charge_kw", "after a trip of 60 kWh; widen"),
        ({"ready_kwh": 50.0}, "ready_kwh", "50 kWh do not fit into a battery of 40 kWh"),
    ],
)
def test_whatCannotBe_isRefused(changes: dict[str, float], key: str, words: str) -> None:
    with pytest.raises(DeviceError, match=words) as refused:
        TwoWayCar.of(STATED | changes, Occasion(8, 3.0))
    assert refused.value.key == key


@pytest.mark.parametrize("first", range(1, 8))
def test_restOfTheDay_isTheDaysOwn(first: int) -> None:
    """What is left of a plan, planned anew as it was expected, costs what it did."""
    prices = [0.1, 0.2, 0.3, 0.3, 0.3, 0.3, 0.6, 0.2]
    car = car_of()
    plan = alone(car, prices)
    later = car.rest(first, plan, {}, 3.0)
    assert later.start_kwh == pytest.approx(plan["two_way_kwh"][first - 1], abs=1e-4)
    left = 8 - first
    day = community([household(1, [2.0] * left, [0.0] * left, devices=(later,))], prices[first:])
    (view,) = node_views(replace(day, step_hours=3.0), Scenario.B, NetworkAgreement.DSO)
    again = fallback(view)
    assert np.dot(prices[first:], again["import_kw"]) == pytest.approx(
        np.dot(prices[first:], plan["import_kw"][first:]), abs=1e-3
    )


@pytest.fixture
def shared(tmp_path: Path) -> CommunityDay:
    """The case tiny3, where cem has a two-way car, too."""
    folder = tmp_path / "driven"
    shutil.copytree(shipped_cases()["tiny3"].parent, folder)
    stated = {"two_way_car_kwh": "40", "two_way_car_kw": "5", "two_way_car_discharge_kw": "4",
              "two_way_car_drive_kwh": "6", "two_way_car_from": "18:00", "two_way_car_to": "06:00"}  # fmt: skip
    header, *rows = (folder / "households.csv").read_text().splitlines()
    rows = [row + "," + ",".join(stated.values() if row.startswith("cem") else [""] * len(stated)) for row in rows]
    (folder / "households.csv").write_text("\n".join([",".join([header, *stated]), *rows]) + "\n")
    read = read_community(str(folder))
    return read.on(read.days[0])


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_agreement_drivesIt(shared: CommunityDay, scenario: Scenario, tmp_path: Path) -> None:
    outcome = solve_day(shared, scenario)
    assert outcome.failure is None
    assert outcome.checks_held
    schedule = outcome.households[2].schedule
    assert np.minimum(schedule["two_way_charge_kw"], schedule["two_way_discharge_kw"]).max() <= 1e-3
    write_view(node_views(shared, scenario, NetworkAgreement.DSO)[-1], tmp_path / "household.json")
    again = read_view(tmp_path / "household.json").household
    assert again is not None
    (same,), (car,) = again.having(TwoWayCar), shared.households[2].having(TwoWayCar)
    assert replace(same, plugged_in=car.plugged_in) == car
    np.testing.assert_array_equal(same.plugged_in, car.plugged_in)


def test_missingWindow_isAskedFor(tmp_path: Path) -> None:
    folder = tmp_path / "driven"
    shutil.copytree(shipped_cases()["tiny3"].parent, folder)
    header, *rows = (folder / "households.csv").read_text().splitlines()
    added = ",two_way_car_kwh,two_way_car_kw,two_way_car_discharge_kw"
    rows = [row + (",40,5,4" if row.startswith("cem") else ",,,") for row in rows]
    (folder / "households.csv").write_text("\n".join([header + added, *rows]) + "\n")
    with pytest.raises(InputError, match="'two_way_car_from': is missing"):
        read_community(str(folder))
