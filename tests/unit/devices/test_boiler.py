"""A boiler from end to end: its physics by hand, its file forms, and everything that follows from its row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.assigned import has, with_share
from gridpact.community.model import CommunityDay, Household, Prices
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.boiler import Boiler
from gridpact.devices.device import Occasion
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.day import solve_day
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import parse_forecast
from gridpact.service.plan import household_of
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif.penetration import MIXES
from gridpact.study.whatif.realised import UncertaintySettings
from gridpact.study.whatif.uncertainty import live_through, plan_days
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

STATED = {
    "tank_kwh": 8.0, "power_kw": 2.0, "loss_kw": 0.0, "demand_kwh": 0.0, "start_share": 0.5, "least_share": 0.25,
}  # fmt: skip


def test_plan_heatsWhenItIsCheap_byHand() -> None:
    """2 kW drawn for 3 h in step 2, 4 kWh of 8 in the tank of which 2 must stay: 6 kWh are heated at the two cheapest
    prices, 4 kWh of them before, as no more fit."""
    boiler = Boiler(8.0, 2.0, 0.0, 4.0, 2.0, np.array([0, 0, 2.0, 0, 0, 0, 0, 0]))
    day = community([household(1, [0.0] * 8, [0.0] * 8, devices=(boiler,))], [0.3, 0.1, 0.5, 0.5, 0.5, 0.2, 0.5, 0.5])
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan = fallback(view)
    assert 3 * plan["boiler_kw"] == pytest.approx([0, 4, 0, 0, 0, 2, 0, 0], abs=1e-5)
    assert plan["tank_kwh"] == pytest.approx([4, 8, 2, 2, 2, 4, 4, 4], abs=1e-5)


def test_losses_areInProportionToWhatIsInTheTank() -> None:
    """Nothing is drawn: what is heated is what is lost, by its own recursion."""
    boiler = Boiler(10.0, 2.0, 0.5, 5.0, 0.0, np.zeros(8))
    day = community([household(1, [0.0] * 8, [0.0] * 8, devices=(boiler,))], [0.3, 0.1] * 4)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan, level = fallback(view), 5.0
    for heated, told in zip(plan["boiler_kw"], plan["tank_kwh"], strict=True):
        level += 3 * (heated - 0.05 * level)
        assert told == pytest.approx(level, abs=1e-6)
    assert level == pytest.approx(5.0, abs=1e-5)  # no more than it must


@pytest.mark.parametrize(("steps", "hours"), [(24, 1.0), (8, 3.0), (96, 0.25)])
def test_usualProfile_drawsTheDaysHeat(steps: int, hours: float) -> None:
    boiler = Boiler.of(STATED | {"demand_kwh": 6.0}, Occasion(steps, hours))
    assert boiler is not None
    assert hours * boiler.demand_kw.sum() == pytest.approx(6.0)


def folder_with_boiler(tmp_path: Path, **changes: str) -> Path:
    """The case tiny3, where cem has a boiler, too."""
    folder = tmp_path / "boiled"
    shutil.copytree(shipped_cases()["tiny3"].parent, folder)
    columns = {"boiler_kwh": "6", "boiler_kw": "1.5", "boiler_demand_kwh": "4"} | changes
    header, *rows = (folder / "households.csv").read_text().splitlines()
    rows = [row + "," + ",".join(columns.values() if row.startswith("cem") else [""] * len(columns)) for row in rows]
    (folder / "households.csv").write_text("\n".join([",".join([header, *columns]), *rows]) + "\n")
    return folder


@pytest.fixture
def boiled(tmp_path: Path) -> CommunityDay:
    read = read_community(str(folder_with_boiler(tmp_path)))
    return read.on(read.days[0])


def test_communityFile_hasIt_andTheHouseholdFile(boiled: CommunityDay, tmp_path: Path) -> None:
    (boiler,) = boiled.households[2].having(Boiler)
    assert (boiler.tank_kwh, boiler.power_kw, boiler.start_kwh) == (6.0, 1.5, 3.0)
    write_view(node_views(boiled, Scenario.TG, NetworkAgreement.DSO)[3], tmp_path / "household.json")
    again = read_view(tmp_path / "household.json").household
    assert again is not None
    (same,) = again.having(Boiler)
    assert replace(same, demand_kw=boiler.demand_kw) == boiler
    np.testing.assert_array_equal(same.demand_kw, boiler.demand_kw)


def test_householdFile_fromBeforeBoilers_isRead(tiny3: CommunityDay, tmp_path: Path) -> None:
    view = node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)[3]
    write_view(view, path := tmp_path / "household.json")
    values = json.loads(path.read_text())
    assert values["household"].pop("boiler") is None
    path.write_text(json.dumps(values))
    found = read_view(path).household
    assert found is not None
    assert not found.having(Boiler)


def test_tooLittlePower_isNamed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"row 4, column 'boiler_demand_kwh': of 'cem': the tank has .* raise"):
        read_community(str(folder_with_boiler(tmp_path, boiler_kw="0.1")))


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T, Scenario.TG])
def test_agreement_heatsWhatIsDrawn(boiled: CommunityDay, scenario: Scenario) -> None:
    outcome = solve_day(boiled, scenario)
    assert outcome.failure is None
    assert outcome.checks_held
    cem, (boiler,) = outcome.households[2], boiled.households[2].having(Boiler)
    assert "boiler 6 kWh" in cem.assets
    tank = np.concatenate([[boiler.start_kwh], cem.schedule["tank_kwh"]])
    lost = boiler.loss_kw * tank[:-1] / boiler.tank_kwh
    balance = boiled.step_hours * (cem.schedule["boiler_kw"] - boiler.demand_kw - lost)
    assert np.diff(tank) == pytest.approx(balance, abs=1e-5)
    assert tank[1:].min() >= boiler.least_kwh - 1e-5


def test_penetration_givesIt(tiny3: CommunityDay) -> None:
    everybody = with_share(tiny3, Boiler, 1.0, 1)
    assert all(has(home, Boiler) for home in everybody.households)
    assert MIXES["boiler"] == (Boiler,)
    assert Boiler not in MIXES["all"]  # unasked, penetration varies what it always did


def test_uncertainty_ofWhatDoesNotErr_isNothing(boiled: CommunityDay, tmp_path: Path) -> None:
    """Loads that are forecast right leave no deviation: the boiler does as planned, and planned anew it can."""
    settings = UncertaintySettings(scenario=Scenario.T, draws=1)
    model = replace(settings.model, load=0.0, pv=0.0, cars=False)
    plans = plan_days([boiled], Scenario.T, tmp_path, HERE)
    lived = live_through(plans, replace(settings, model=model), tmp_path, HERE)
    for one in lived.draws:
        if one.recourse.value == "none":
            assert one.planned.deviation_kwh == pytest.approx(0.0, abs=1e-3)
        assert one.planned.public_kwh == pytest.approx(0.0, abs=1e-6)


def test_service_plansIt(tmp_path: Path) -> None:
    toml = HOUSEHOLD + "\n[boiler]\ntank_kwh = 6\npower_kw = 2\n"
    settings = settings_of(tmp_path, toml)
    told = {"day": "2026-11-22", "load_kw": [0.5] * 4, "pv_kw": [0] * 4, "boiler_demand_kw": [0, 0.5, 0, 0.25]}
    forecast = parse_forecast(json.dumps(told), "it", "2026-11-22", 4)
    assert settings.home is not None
    home: Household = household_of(settings, settings.home, 6.0, forecast, Prices(np.full(4, 0.3)))
    (boiler,) = home.having(Boiler)
    np.testing.assert_array_equal(boiler.demand_kw, [0, 0.5, 0, 0.25])
