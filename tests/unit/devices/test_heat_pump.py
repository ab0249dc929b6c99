"""A heat pump from end to end: its physics against an integrator, its files, and what follows of its row."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gridpact.community.assigned import has, with_share
from gridpact.community.model import Array, CommunityDay, Household, Prices
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.device import DeviceError, Occasion
from gridpact.devices.heat_pump import HeatPump
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.day import solve_day
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import NoForecast, parse_forecast
from gridpact.service.plan import household_of
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

WINTER = np.array([-2.0, -4.0, -3.0, 1.0, 4.0, 5.0, 2.0, 0.0])
PUMP = HeatPump(2.0, 0.15, 8.0, 19.0, 22.0, 20.0, 0.3, 35.0, 0.45, WINTER)
STATED = {name: getattr(PUMP, name) for name in HeatPump.names() if name != "outdoor_c"}


def alone(pump: HeatPump, prices: list[float]) -> dict[str, Array]:
    """What a home with nothing else plans for itself, eight steps of three hours."""
    day = community([household(1, [0.0] * 8, [0.0] * 8, devices=(pump,))], prices)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    return fallback(view)


def lived(pump: HeatPump, power_kw: Array, step_hours: float) -> Array:
    """Temperatures after each step by an integrator of the differential equation, (T,)."""
    level, path = pump.start_c, []
    for power, outside in zip(power_kw, pump.outdoor_c, strict=True):
        cop = 0.45 * 308.15 / max(35 - outside, 10)

        def slope(_: float, inside: Array, heat: float = cop * power + 0.3, outside: float = outside) -> Array:
            return (0.15 * (outside - inside) + heat) / 8.0

        level = float(solve_ivp(slope, (0, step_hours), [level], rtol=1e-9, atol=1e-9).y[0, -1])
        path.append(level)
    return np.array(path)


def test_houseIsAsWarmAsTheDifferentialEquationSays() -> None:
    plan = alone(PUMP, [0.3, 0.1, 0.5, 0.4, 0.2, 0.2, 0.5, 0.3])
    assert plan["indoor_c"] == pytest.approx(lived(PUMP, plan["heat_pump_kw"], 3.0), abs=1e-4)
    assert plan["indoor_c"].min() >= 19 - 1e-5
    assert plan["indoor_c"].max() <= 22 + 1e-5
    assert plan["indoor_c"][-1] == pytest.approx(20, abs=1e-4)  # no warmer than it must


def test_heatIsBought_whenItIsCheap_withinTheBand() -> None:
    """One price is far below the others: as much as the pump can and the band takes is heated there."""
    prices = [0.5] * 8
    prices[1] = 0.01
    assert alone(PUMP, prices)["heat_pump_kw"][1] == pytest.approx(2.0, abs=1e-4)
    assert alone(replace(PUMP, power_kw=4.0), prices)["indoor_c"][1] == pytest.approx(22.0, abs=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    outside=st.lists(st.floats(-15, 38), min_size=8, max_size=8),
    start=st.floats(10, 30),
    power=st.floats(0.5, 6),
    capacity=st.floats(2, 30),
)
def test_anyDay_hasAPlan_orIsRefusedInWords(outside: list[float], start: float, power: float, capacity: float) -> None:
    """Also a hot one, which no pump cools, and a morning after the heating was off."""
    stated = STATED | {"start_c": start, "power_kw": power, "stored_kwh_per_k": capacity}
    day = Occasion(8, 3.0, {"outdoor_c": np.array(outside)})
    pump = replace(PUMP, **{name: stated[name] for name in STATED}, outdoor_c=np.array(outside))
    if start >= 19 and (pump._reached_c(len(pump.outdoor_c), 3.0) < 19).any():
        with pytest.raises(DeviceError, match="although the pump runs with all its") as refused:
            HeatPump.of(stated, day)
        assert refused.value.key == "power_kw"
        return
    assert HeatPump.of(stated, day) is not None
    indoor = alone(pump, [0.2, 0.3] * 4)["indoor_c"]
    assert (indoor >= np.minimum(19, pump._reached_c(len(pump.outdoor_c), 3.0)) - 1e-4).all()


def test_hotAfternoon_afterAColdMorning_hasAPlan() -> None:
    """The morning's heat, which the house must have, is still there when it gets hotter than it is ever heated to."""
    outside = np.array([-5.0, -5.0, -5.0, 38.0, 38.0, 38.0, 20.0, 20.0])
    light = replace(PUMP, outdoor_c=outside, stored_kwh_per_k=1.0)
    plan = alone(light, [0.3] * 8)
    assert plan["indoor_c"].min() >= 19 - 1e-4
    assert plan["indoor_c"].max() > 30
    assert plan["heat_pump_kw"][3:] == pytest.approx(0, abs=1e-4)


def test_cop_isAShareOfCarnot_andBounded() -> None:
    assert replace(PUMP, outdoor_c=np.array([-7.0, 7.0, 60.0])).cop() == pytest.approx(
        [0.45 * 308.15 / 42, 0.45 * 308.15 / 28, 0.45 * 308.15 / 10]
    )


def test_restOfTheDay_isTheDaysOwn() -> None:
    """What is left of a plan, planned anew as it was expected, is what it was: the same cost of what is left."""
    prices = [0.3, 0.1, 0.5, 0.4, 0.2, 0.25, 0.5, 0.3]
    plan = alone(PUMP, prices)
    later = PUMP.rest(3, plan, {}, 3.0)
    assert later.start_c == pytest.approx(plan["indoor_c"][2], abs=1e-4)
    day = community([household(1, [0.0] * 5, [0.0] * 5, devices=(later,))], prices[3:])
    (view,) = node_views(replace(day, step_hours=3.0), Scenario.B, NetworkAgreement.DSO)
    again = fallback(view)
    assert np.dot(prices[3:], again["heat_pump_kw"]) == pytest.approx(
        np.dot(prices[3:], plan["heat_pump_kw"][3:]), abs=1e-4
    )


def folder_with_pump(tmp_path: Path, outside: float = 2.0, **changes: str) -> Path:
    """The case tiny3, where cem has a heat pump, too."""
    folder = tmp_path / "warm"
    shutil.copytree(shipped_cases()["tiny3"].parent, folder)
    stated = {"heat_pump_kw": "2", "heat_pump_loss_kw_per_k": "0.15", "heat_pump_stored_kwh_per_k": "8"} | changes
    header, *rows = (folder / "households.csv").read_text().splitlines()
    rows = [row + "," + ",".join(stated.values() if row.startswith("cem") else [""] * len(stated)) for row in rows]
    (folder / "households.csv").write_text("\n".join([",".join([header, *stated]), *rows]) + "\n")
    times = [line.partition(",")[0] for line in (folder / "load_kw.csv").read_text().splitlines()[1:]]
    (folder / "outdoor_c.csv").write_text("time,outdoor_c\n" + "".join(f"{time},{outside}\n" for time in times))
    return folder


@pytest.fixture
def warm(tmp_path: Path) -> CommunityDay:
    read = read_community(str(folder_with_pump(tmp_path)))
    return read.on(read.days[0])


def test_communityFile_hasIt_andTheHouseholdFile(warm: CommunityDay, tmp_path: Path) -> None:
    (pump,) = warm.households[2].having(HeatPump)
    assert (pump.power_kw, pump.low_c, pump.start_c) == (2.0, 19.0, 20.0)
    assert (pump.outdoor_c == 2.0).all()
    write_view(node_views(warm, Scenario.TG, NetworkAgreement.DSO)[3], tmp_path / "household.json")
    again = read_view(tmp_path / "household.json").household
    assert again is not None
    (same,) = again.having(HeatPump)
    assert replace(same, outdoor_c=pump.outdoor_c) == pump
    np.testing.assert_array_equal(same.outdoor_c, pump.outdoor_c)


def test_withoutTemperatures_theFileIsNamed(tmp_path: Path) -> None:
    folder = folder_with_pump(tmp_path)
    (folder / "outdoor_c.csv").unlink()
    with pytest.raises(InputError, match=r"outdoor_c\.csv"):
        read_community(str(folder))


def test_tooCold_isNamed(tmp_path: Path) -> None:
    read = read_community(str(folder_with_pump(tmp_path, outside=-40.0)))
    with pytest.raises(InputError, match=r"row 4, column 'heat_pump_kw': of 'cem': after step .* lower low_c"):
        read.on(read.days[0])


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T, Scenario.TG])
def test_agreement_keepsItWarm(warm: CommunityDay, scenario: Scenario) -> None:
    outcome = solve_day(warm, scenario)
    assert outcome.failure is None
    assert outcome.checks_held
    cem = outcome.households[2]
    assert "heat pump 2 kW" in cem.assets
    (pump,) = warm.households[2].having(HeatPump)
    path = pump._path_c(cem.schedule["heat_pump_kw"], warm.step_hours)
    assert cem.schedule["indoor_c"] == pytest.approx(path, abs=1e-3)
    assert path.min() >= 19 - 1e-3


def test_penetration_givesIt_whereOneIsKnown(warm: CommunityDay, tiny3: CommunityDay) -> None:
    assert all(has(home, HeatPump) for home in with_share(warm, HeatPump, 1.0, 1).households)


def test_service_plansIt(tmp_path: Path) -> None:
    toml = HOUSEHOLD + "\n[heat_pump]\npower_kw = 3\nloss_kw_per_k = 0.15\nstored_kwh_per_k = 8\n"
    stated = settings_of(tmp_path, toml)
    told = {"day": "2026-11-22", "load_kw": [0.5] * 4, "pv_kw": [0] * 4, "outdoor_c": [-3, 2, 4, 1]}
    forecast = parse_forecast(json.dumps(told | {"heat_pump_start_c": 21}), "it", "2026-11-22", 4)
    assert stated.home is not None
    home: Household = household_of(stated, stated.home, 6.0, forecast, Prices(np.full(4, 0.3)))
    (pump,) = home.having(HeatPump)
    np.testing.assert_array_equal(pump.outdoor_c, [-3, 2, 4, 1])
    assert pump.start_c == 21
    with pytest.raises(NoForecast, match=r"outdoor_c is -80 at step 0, it must be at least -60"):
        parse_forecast(json.dumps(told | {"outdoor_c": [-80, 2, 4, 1]}), "it", "2026-11-22", 4)
