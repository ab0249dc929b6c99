"""A tank that a heat pump heats: its plan against a program written here, its files, its rest of a day."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from gridpact.community.model import Array
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.boiler import Boiler
from gridpact.devices.device import DeviceError, Occasion
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.outcome.outcome import solved
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from unit.problem.helpers import community, household

STATED = {
    "tank_kwh": 20.0, "power_kw": 3.0, "loss_kw": 0.1, "demand_kwh": 0.0, "start_share": 0.5, "least_share": 0.1,
    "quality": 0.4, "flow_c": 45.0, "house_loss_kw_per_k": 0.12, "house_c": 20.0,
}  # fmt: skip
WINTER = np.array([-3.0, -5.0, -2.0, 1.0, 4.0, 3.0, 0.0, -1.0])


def tank_of(outdoor: Array, **changes: float) -> Boiler:
    tank = Boiler.of(STATED | changes, Occasion(len(outdoor), 24 / len(outdoor), {"outdoor_c": outdoor}))
    assert tank is not None
    return tank


@settings(max_examples=10, deadline=None)
@given(
    outdoor=st.lists(st.floats(-8, 18).map(lambda x: round(x, 1)), min_size=8, max_size=8),
    prices=st.lists(st.floats(0.05, 0.6).map(lambda x: round(x, 3)), min_size=8, max_size=8),
)
def test_planCostsWhatAPlainProgramFinds(outdoor: list[float], prices: list[float]) -> None:
    cold, kappa = np.array(outdoor), np.array(prices)
    day = community([household(1, [0.5] * 8, [0.0] * 8, devices=(tank_of(cold),))], prices)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan = fallback(view)
    # What is in the tank after each step as what there was, and what each kW brings to it by then; 3 h, 0.5 % an hour.
    cop = 0.4 * 318.15 / (45.0 - cold)
    drawn, kept = 0.12 * np.maximum(20 - cold, 0), 1 - 3 * 0.005
    power = np.array([[kept ** (t - k) if k <= t else 0.0 for k in range(8)] for t in range(8)])
    alone = 10.0 * kept ** np.arange(1, 9) - 3 * power @ drawn
    brings = 3 * power * cop
    floor = np.array([2.0] * 7 + [10.0])
    found = linprog(
        3 * kappa, A_ub=np.vstack([brings, -brings]), b_ub=np.concatenate([20 - alone, alone - floor]),
        bounds=[(0, 3.0)] * 8,
    )  # fmt: skip
    assert found.success
    assert 3 * float(kappa @ (plan["import_kw"] - 0.5)) == pytest.approx(found.fun, abs=1e-4)
    assert plan["tank_kwh"] == pytest.approx(alone + brings @ plan["boiler_kw"], abs=1e-4)


def test_withoutAPump_itIsTheOldBoiler() -> None:
    of_a_pump = {"quality": 0.0, "flow_c": 50.0, "house_loss_kw_per_k": 0.0, "house_c": 20.0}
    plain = {key: value for key, value in STATED.items() if key not in of_a_pump}
    old, new = (Boiler.of(stated, Occasion(8, 3.0)) for stated in (plain, plain | of_a_pump))
    assert old is not None
    assert new is not None
    assert old.cop is None
    assert vars(old).keys() == vars(new).keys()
    assert all(np.array_equal(vars(old)[name], value) for name, value in vars(new).items())


def test_restOfTheDay_endsWhereTheWholeWould() -> None:
    tank = tank_of(WINTER)
    day = community([household(1, [0.5] * 8, [0.0] * 8, devices=(tank,))], [0.3, 0.1, 0.4, 0.5, 0.2, 0.3, 0.6, 0.3])
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan = fallback(view)
    rest = tank.rest(3, plan, {}, 3.0)
    assert rest.start == pytest.approx(plan["tank_kwh"][2], abs=1e-4)
    assert rest.cop is not None
    assert tank.cop is not None
    assert rest.cop.tolist() == tank.cop[3:].tolist()
    assert rest.wanted == pytest.approx(10.0, abs=1e-4)


def test_tooColdForIt_isSaid() -> None:
    with pytest.raises(DeviceError, match=r"the tank has .* kWh left after step .* although the boiler heats"):
        tank_of(WINTER, house_loss_kw_per_k=0.9)
    with pytest.raises(DeviceError, match="there is no outdoor_c, and the boiler works by it"):
        Boiler.of(STATED, Occasion(8, 3.0))


@pytest.fixture
def winter(tmp_path: Path) -> Path:
    """The case `tiny3`, where ann heats by a tank."""
    folder = shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "case")
    table = folder / "households.csv"
    header, *rows = table.read_text(encoding="utf-8").splitlines()
    more = "boiler_kwh,boiler_kw,boiler_quality,boiler_flow_c,boiler_house_loss_kw_per_k"
    told = [f"{row},{'20,3,0.4,45,0.12' if row.startswith('ann') else ',,,,'}" for row in rows]
    table.write_text("\n".join([f"{header},{more}", *told]) + "\n", encoding="utf-8")
    times = [row.split(",")[0] for row in (folder / "prices.csv").read_text(encoding="utf-8").splitlines()[1:]]
    cold = [f"{time},{degrees}" for time, degrees in zip(times, (-4, 2, 3, -1), strict=True)]
    (folder / "outdoor_c.csv").write_text("\n".join(["time,outdoor_c", *cold]) + "\n", encoding="utf-8")
    return folder


def test_filesHaveIt_andAgreementsPlanIt(winter: Path, tmp_path: Path) -> None:
    day = read_community(str(winter)).on("1")
    outcome = solved(day, Scenario.TG)
    assert abs(outcome.implemented_gap) < 1e-3
    (view,) = [view for view in node_views(day, Scenario.TG, NetworkAgreement.DSO) if view.node == 1]
    write_view(view, tmp_path / "view.json")
    home = read_view(tmp_path / "view.json").household
    assert home is not None
    (tank,) = home.having(Boiler)
    assert tank.cop is not None
    assert tank.cop == pytest.approx(0.4 * 318.15 / (45 - np.array([-4, 2, 3, -1])))
    plain = replace(home, devices=tuple(replace(one, cop=None) for one in home.having(Boiler)))
    write_view(replace(view, household=plain), tmp_path / "plain.json")
    again = read_view(tmp_path / "plain.json").household
    assert again is not None
    assert again.having(Boiler)[0].cop is None


def test_withoutTheTable_itIsAskedFor(winter: Path) -> None:
    (winter / "outdoor_c.csv").unlink()
    with pytest.raises(InputError, match=r"outdoor_c\.csv' does not exist"):
        read_community(str(winter))
    table = winter / "households.csv"
    text = table.read_text(encoding="utf-8").replace("0.4,45,0.12", "0,45,0")
    table.write_text(text, encoding="utf-8")
    read_community(str(winter))  # an electric one needs none
