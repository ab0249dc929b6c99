"""A public building from end to end: its physics against an integrator, its hours, and what follows of its row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gridpact.community.assigned import with_share
from gridpact.community.grown import in_parts
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.devices.building import PublicBuilding
from gridpact.devices.device import DeviceError, Occasion
from gridpact.outcome.day import solve_day
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import parse_forecast
from gridpact.service.plan import household_of
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

WINTER = np.array([-2.0, -4.0, -3.0, 1.0, 4.0, 5.0, 2.0, 0.0])
OPEN = np.array([False, False, False, True, True, True, False, False])  # from 9 to 18
STATED = {
    "power_kw": 20.0, "loss_kw_per_k": 1.0, "ventilation_kw_per_k": 0.8, "stored_kwh_per_k": 60.0, "opens": 9.0 * 60,
    "closes": 18.0 * 60, "low_c": 20.0, "high_c": 23.0, "closed_c": 16.0, "start_c": 18.0, "gains_kw": 4.0,
    "flow_c": 45.0, "quality": 0.45,
}  # fmt: skip
DAY = Occasion(8, 3.0, {"outdoor_c": WINTER})
PRICES = [0.3, 0.1, 0.5, 0.4, 0.2, 0.25, 0.5, 0.3]


def building(**changes: float) -> PublicBuilding:
    found = PublicBuilding.of(STATED | changes, DAY)
    assert found is not None
    return found


def alone(one: PublicBuilding, prices: list[float]) -> dict[str, Array]:
    """What it plans for itself, steps of three hours."""
    zeros = [0.0] * len(prices)
    day = replace(community([household(1, zeros, zeros, devices=(one,))], prices), step_hours=3.0)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    return fallback(view)


def lived(one: PublicBuilding, power_kw: Array) -> Array:
    """Temperatures after each step by an integrator of the differential equation, (T,)."""
    level, path = one.start_c, []
    for power, outside, is_open in zip(power_kw, WINTER, OPEN, strict=True):
        heat = 0.45 * 318.15 / max(45 - outside, 10) * power + 4.0 * is_open
        lost = 1.0 + 0.8 * is_open

        def slope(_: float, inside: Array, heat: float = heat, lost: float = lost, outside: float = outside) -> Array:
            return (lost * (outside - inside) + heat) / 60.0

        level = float(solve_ivp(slope, (0, 3.0), [level], rtol=1e-9, atol=1e-9).y[0, -1])
        path.append(level)
    return np.array(path)


def test_hours_areThoseThatAreStated() -> None:
    np.testing.assert_array_equal(building().open, OPEN)


def test_isAsWarmAsTheDifferentialEquationSays_andWarmWhileItIsOpen() -> None:
    plan = alone(building(), PRICES)
    inside = plan["building_c"]
    assert inside == pytest.approx(lived(building(), plan["building_kw"]), abs=1e-4)
    assert inside[2:6].min() >= 20 - 1e-4  # when it opens, and after each step in which it is open
    assert inside[:2].min() >= 16 - 1e-4
    assert inside.max() <= 23 + 1e-4
    assert inside[-1] >= 18 - 1e-4
    assert plan["building_kw"][6:] == pytest.approx(0, abs=1e-4)  # by itself it cools no further till midnight


def test_ventilationAndHours_costHeat() -> None:
    def energy(one: PublicBuilding) -> float:
        """From a cold morning on, with nothing to keep in the evening."""
        return float(alone(one, [0.3] * 8)["building_kw"].sum())

    usual = energy(building())
    assert energy(building(ventilation_kw_per_k=0.0)) < usual
    assert energy(building(closes=21.0 * 60)) > usual
    assert energy(building(closed_c=20.0, start_c=20.0)) > energy(building(start_c=20.0))


@settings(max_examples=15, deadline=None)
@given(
    outside=st.lists(st.floats(-15, 38), min_size=8, max_size=8),
    start=st.floats(5, 30),
    power=st.floats(2, 60),
    capacity=st.floats(5, 200),
)
def test_anyDay_hasAPlan_orIsRefusedInWords(outside: list[float], start: float, power: float, capacity: float) -> None:
    stated = STATED | {"start_c": start, "power_kw": power, "stored_kwh_per_k": capacity}
    day = Occasion(8, 3.0, {"outdoor_c": np.array(outside)})
    fields = {name: value for name, value in stated.items() if name not in ("opens", "closes")}
    one = replace(building(), **fields, outdoor_c=np.array(outside))
    warmest = one._path_c(np.full(8, power), 3.0)  # never stopped at the highest
    if start >= 16 and (warmest < np.where([0, 0, 1, 1, 1, 1, 0, 0], 20, 16) - 1e-6).any():
        with pytest.raises(DeviceError, match="although the pump runs with all its") as refused:
            PublicBuilding.of(stated, day)
        assert refused.value.key == "power_kw"
        return
    assert PublicBuilding.of(stated, day) is not None
    inside = alone(one, [0.2, 0.3] * 4)["building_c"]
    if start >= 16:
        assert inside.min() >= 16 - 1e-4
        assert inside[2:6].min() >= 20 - 1e-4


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"low_c": 24.0}, "low_c|is above high_c"),
        ({"closed_c": 21.0}, "is above low_c"),
        ({"flow_c": 22.0}, "warms nothing to"),
        ({"power_kw": 5.0}, "although the pump runs with all its 5 kW"),
    ],
)
def test_whatCannotBe_isRefused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        PublicBuilding.of(STATED | changes, DAY)
    with pytest.raises(DeviceError, match="there is no outdoor_c"):
        PublicBuilding.of(STATED, Occasion(8, 3.0))


def test_restOfTheDay_isTheDaysOwn() -> None:
    """What is left of a plan, planned anew as it was expected, costs what it did."""
    plan = alone(building(), PRICES)
    later = building().rest(4, plan, {}, 3.0)
    assert later.start_c == pytest.approx(plan["building_c"][3], abs=1e-4)
    again = alone(later, PRICES[4:])
    cost = np.dot(PRICES[4:], plan["building_kw"][4:])
    assert np.dot(PRICES[4:], again["building_kw"]) == pytest.approx(cost, abs=1e-3)


def test_agreement_keepsItWarm(tiny3: CommunityDay) -> None:
    """Beside homes, in shorter steps, too; its hours are not smoothed."""
    one = PublicBuilding.of(STATED, Occasion(tiny3.steps, tiny3.step_hours, {"outdoor_c": np.full(tiny3.steps, 2.0)}))
    assert one is not None
    school = replace(tiny3.households[0], devices=(one,))
    day = replace(tiny3, households=(school, *tiny3.households[1:]))
    outcome = solve_day(day, Scenario.T)
    assert outcome.failure is None
    assert outcome.checks_held
    path = one._path_c(outcome.households[0].schedule["building_kw"], day.step_hours)
    assert outcome.households[0].schedule["building_c"] == pytest.approx(path, abs=1e-3)
    assert path[one.open].min() >= 20 - 1e-3
    (cut,) = in_parts(day, 2).households[0].having(PublicBuilding)
    np.testing.assert_array_equal(cut.open, np.repeat(one.open, 2))
    assert len(with_share(day, PublicBuilding, 1.0, 1).households[2].having(PublicBuilding)) == 1


def test_service_plansIt(tmp_path: Path) -> None:
    toml = HOUSEHOLD + (
        "\n[public_building]\npower_kw = 20\nloss_kw_per_k = 1\nstored_kwh_per_k = 60\n"
        'opens = "06:00"\ncloses = "18:00"\n'
    )
    stated = settings_of(tmp_path, toml)
    told = {"day": "2026-11-22", "load_kw": [0.5] * 4, "pv_kw": [0] * 4, "outdoor_c": [-3, 2, 4, 1]}
    forecast = parse_forecast(json.dumps(told | {"building_start_c": 19}), "it", "2026-11-22", 4)
    assert stated.home is not None
    (one,) = household_of(stated, stated.home, 6.0, forecast, Prices(np.full(4, 0.3))).having(PublicBuilding)
    np.testing.assert_array_equal(one.open, [False, True, True, False])
    assert one.start_c == 19
