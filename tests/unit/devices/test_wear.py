"""What using a battery costs beside its energy: plans against a mixed-integer program, and where it shows."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from gridpact.community.model import Array
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.battery import Battery
from gridpact.devices.device import LEFT, WEAR
from gridpact.devices.registry import costs
from gridpact.devices.two_way_car import TwoWayCar
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.outcome import solved
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from unit.problem.helpers import community, household

HOURS = 3.0
LOAD = np.array([0.4, 0.3, 0.6, 1.2, 0.5, 0.7, 1.6, 0.8])


def least_cost(prices: Array, battery: Battery) -> float:
    """Of a home with this load and battery, by a program that shares nothing with the package."""
    eye, none, steps = np.eye(8), np.zeros((8, 8)), np.ones(8)
    feed_in = np.minimum(prices, 0.5 * prices)
    into, out = battery.charge_efficiency, battery.discharge_efficiency
    sums, wear, worth = HOURS * np.tril(np.ones((8, 8))), battery.wear_per_kwh, battery.left_per_kwh
    # Import, feed-in, charge, discharge, whether it charges; (8,) each.
    use = np.concatenate([(wear - worth * into) * steps, (wear + worth / out) * steps])
    cost = HOURS * np.concatenate([prices, -feed_in, use, np.zeros(8)])
    power, room = battery.power_kw, battery.capacity_kwh
    level = np.hstack([none, none, into * sums, -sums / out, none])
    floor = np.full(8, -battery.start_kwh)
    floor[-1] = 0.0  # it ends with at least what it began with
    found = milp(
        cost,
        integrality=np.repeat([0, 0, 0, 0, 1], 8),
        bounds=Bounds(0, np.concatenate([np.full(16, 100.0), np.full(16, power), steps])),
        constraints=[
            LinearConstraint(np.hstack([eye, -eye, -eye, eye, none]), LOAD, LOAD),
            LinearConstraint(np.hstack([none, none, eye, none, -power * eye]), -np.inf, 0),
            LinearConstraint(np.hstack([none, none, none, eye, power * eye]), -np.inf, power),
            LinearConstraint(level, floor, room - battery.start_kwh),
        ],
    )
    assert found.success
    return float(found.fun)


def planned(prices: Array, battery: Battery) -> tuple[float, dict[str, Array]]:
    """What its plan costs, wear in and what is left out."""
    day = community([household(1, list(LOAD), [0.0] * 8, devices=(battery,))], list(prices))
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan = fallback(view)
    paid = HOURS * float(prices @ plan["import_kw"] - day.prices.feed_in_price @ plan["feed_in_kw"])
    return paid + sum(costs((battery,), plan, HOURS).values()), plan


@settings(max_examples=15, deadline=None)
@given(
    prices=st.lists(st.floats(-0.2, 0.6).map(lambda x: round(x, 3)), min_size=8, max_size=8),
    wear=st.floats(0, 0.3),
    left=st.floats(0, 0.5),
    way=st.floats(0.7, 1),
)
def test_planCostsNoMoreThanAMixedIntegerProgram(prices: list[float], wear: float, left: float, way: float) -> None:
    battery = Battery(6.0, 1.5, way, way, 2.0, wear, left)
    cost, _ = planned(np.array(prices), battery)
    assert cost == pytest.approx(least_cost(np.array(prices), battery), abs=2e-3)


def test_wearKeepsABatteryStill_andAValueFillsIt() -> None:
    prices = np.array([0.2, 0.3] * 4)
    assert planned(prices, Battery(6.0, 1.5, 1.0, 1.0, 2.0))[1]["charge_kw"].max() > 0.5
    dear = planned(prices, Battery(6.0, 1.5, 1.0, 1.0, 2.0, wear_per_kwh=0.06))[1]
    assert dear["charge_kw"].max() < 1e-6  # 0.1 gained a kWh, 0.12 worn
    kept = planned(prices, Battery(6.0, 1.5, 1.0, 1.0, 2.0, left_per_kwh=0.35))[1]
    assert kept["stored_kwh"][-1] == pytest.approx(6.0, abs=1e-5)
    empty = planned(prices, Battery(6.0, 1.5, 1.0, 1.0, 2.0, left_per_kwh=0.15))[1]
    assert empty["stored_kwh"][-1] == pytest.approx(2.0, abs=1e-5)


def test_severalBatteriesAddUp() -> None:
    """The first and the second of a home have columns of their own."""
    first, second = Battery(6.0, 1.5, 1.0, 1.0, 2.0, 0.01, 0.1), Battery(4.0, 1.0, 1.0, 1.0, 1.0, 0.02)
    plan = {
        "charge_kw": np.array([1.0, 0.0]), "discharge_kw": np.array([0.0, 0.5]), "stored_kwh": np.array([5.0, 3.5]),
        "charge_kw_2": np.array([1.0, 0.0]), "discharge_kw_2": np.zeros(2), "stored_kwh_2": np.array([4.0, 4.0]),
    }  # fmt: skip
    found = costs((first, second), plan, 3.0)
    assert found[WEAR] == pytest.approx(0.01 * 4.5 + 0.02 * 3.0)
    assert found[LEFT] == pytest.approx(-0.1 * 1.5)


@pytest.fixture
def street(tmp_path: Path) -> Path:
    """The case `tiny3` with a battery that wears, whose rest is worth something."""
    folder = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    table = folder / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    rows = [f"{row},{'0.04,0.2' if row.startswith('cem') else ','}" for row in rows]
    named = f"{header},battery_wear_per_kwh,battery_left_per_kwh"
    table.write_text("\n".join([named, *rows]) + "\n", encoding="utf-8")
    return folder


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.G, Scenario.TG], ids=lambda s: s.name)
def test_agreementCountsIt_andNobodyPaysIt(street: Path, scenario: Scenario) -> None:
    outcome = solved(read_community(str(street)).on("1"), scenario)
    (home,) = [one for one in outcome.households if one.name == "cem"]
    moved = 6 * float((home.schedule["charge_kw"] + home.schedule["discharge_kw"]).sum())
    more = float(home.schedule["stored_kwh"][-1]) - 3.0
    assert outcome.cost.devices == pytest.approx(0.04 * moved - 0.2 * more, abs=1e-9)
    assert moved > 1
    assert outcome.cost.paid == outcome.cost.supply + outcome.cost.losses_paid
    assert abs(outcome.implemented_gap) < 2e-3
    indifferent = solved(read_community("tiny3").on("1"), scenario)
    assert outcome.optimum.objective < indifferent.optimum.objective + 0.04 * 18  # by moving less, not by paying it all


def test_householdFile_keepsThem_andReadsOldOnes(street: Path, tmp_path: Path) -> None:
    (view,) = [v for v in node_views(read_community(str(street)).on("1"), Scenario.B, NetworkAgreement.DSO)
               if v.household is not None and v.household.name == "cem"]  # fmt: skip
    assert view.household is not None
    (battery,) = view.household.having(Battery)
    assert (battery.wear_per_kwh, battery.left_per_kwh) == (0.04, 0.2)
    write_view(view, tmp_path / "new.json")
    again = read_view(tmp_path / "new.json").household
    assert again is not None
    assert again.having(Battery) == (battery,)
    text = (tmp_path / "new.json").read_text(encoding="utf-8")
    old = "\n".join(line for line in text.splitlines() if "_per_kwh" not in line)
    (tmp_path / "old.json").write_text(old.replace('"start_kwh": 3.0,', '"start_kwh": 3.0'), encoding="utf-8")
    before = read_view(tmp_path / "old.json").household
    assert before is not None
    assert before.having(Battery)[0].wear_per_kwh == 0.0


def test_belowNothing_isRefused(street: Path) -> None:
    table = street / "households.csv"
    table.write_text(table.read_text(encoding="utf-8").replace("0.04,0.2", "-0.04,0.2"), encoding="utf-8")
    with pytest.raises(InputError, match=r"'battery_wear_per_kwh': -0\.04 must be at least 0"):
        read_community(str(street))


def test_carWearsToo() -> None:
    car = TwoWayCar(40.0, 5.0, 4.0, 0.9, 0.9, 20.0, 0.0, 20.0, np.array([True] * 8), 1.0, wear_per_kwh=0.05)
    plan = {
        "two_way_charge_kw": np.full(8, 1.0), "two_way_discharge_kw": np.full(8, 0.5),
        "two_way_kwh": np.full(8, 20.0),
    }  # fmt: skip
    assert costs((car,), plan, HOURS) == {WEAR: pytest.approx(0.05 * 36.0)}
