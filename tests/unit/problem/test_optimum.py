"""The local problem and the centralised optimum on tiny3, against the arithmetic of this docstring.

tiny3: four steps of 6 h, import 0.20, 0.40, 0.20, 0.40 EUR/kWh, feed-in half of it.

B, every household with its supplier:
- ann: 1 kW all day: 6 h x 1 kW x (0.20 + 0.40 + 0.20 + 0.40) = 7.20.
- bob: 0.5 kW of load; PV of 4 kW in steps 1 and 2. Imports in steps 0 and 3: 6 x 0.5 x (0.20 + 0.40) = 1.80; feeds in
  3.5 kW in steps 1 and 2: 6 x 3.5 x (0.20 + 0.10) = 6.30. Together -4.50.
- cem: 0.5 kW of load: 6 x 0.5 x 1.20 = 3.60. His car takes 6 kWh from 18 to 6 h, steps 3 and 0: step 0 is cheaper,
  6 x 0.20 = 1.20. His lossless battery (6 kWh, 1 kW, 3 kWh at the start and at the end) can spare his load of 3 kWh
  in each of the two dear steps, refilled in a cheap one: 2 x 3 x (0.40 - 0.20) = 1.20. More would only be fed in, at
  the 0.20 that it cost. Together 3.60.
Sum: 7.20 - 4.50 + 3.60 = 6.30.

T and G, all together (gamma to bob is 0 in steps 1 and 2; in steps 0 and 3 nobody sells):
- Step 0: loads 2 kW and the car: 12 + 6 kWh x 0.20 = 3.60.
- Step 1: 2 kW of loads, 4 kW of PV: 12 kWh go out at 0.20: -2.40. Step 2: 12 kWh at 0.10: -1.20.
- Step 3: 12 kWh x 0.40 = 4.80. Without the battery: 4.80.
- The battery: 3 kWh out in step 3 spare 0.40 each. They come from step 2, where they would have earned 0.10, but then
  it is full (6 kWh) after step 2. Empty it in step 1 too (3 kWh sold at 0.20) and fill it in step 2 with 6 kWh that
  would have earned 0.10: -0.60 + 0.60 - 1.20 = -1.20.
Sum: 3.60. G and TG have the same and the losses, at most 0.02 EUR here: lines of 50 m, 0.03 ohm.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Prices
from gridpact.community.read import read_community
from gridpact.devices.car import ElectricCar
from gridpact.devices.pv import Panels
from gridpact.errors import InexactRelaxationError, InfeasibleError
from gridpact.grid.powerflow import power_flow
from gridpact.problem import centralised
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.centralised import EXACTNESS_LIMIT, CentralisedSolution, centralised_optimum
from gridpact.problem.local import LocalProblem, Point
from gridpact.problem.scenario import REPORT, NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views
from unit.problem.helpers import community, household, sweep

SOLVER = 1e-6
"""Relative: Clarabel stops at 1e-8 of the objective."""


def solve_alone(view: NodeView) -> dict[str, np.ndarray]:
    return LocalProblem(view, 0.0).solve(Point.alone(view.steps)).schedule


def baseline_costs(day: CommunityDay) -> list[float]:
    kappa = day.prices.import_price
    costs = []
    for view in node_views(day, Scenario.B, NetworkAgreement.DSO):
        plan = solve_alone(view)
        costs.append(float(day.step_hours * (kappa @ plan["import_kw"] - kappa / 2 @ plan["feed_in_kw"])))
    return costs


def test_localProblem_byHand(tiny3: CommunityDay) -> None:
    assert baseline_costs(tiny3) == pytest.approx([7.20, -4.50, 3.60], rel=SOLVER)


def test_localPlan_keepsThePhysics(tiny3: CommunityDay) -> None:
    """cem's plan, checked by adding up: battery and car in kWh, and his balance at the meter in kW."""
    plan = solve_alone(node_views(tiny3, Scenario.B, NetworkAgreement.DSO)[2])
    room = 1e-6  # kWh, kW: the solver's feasibility tolerance of 1e-8, scaled by the sizes of some 10
    stored = 3.0 + 6 * np.cumsum(plan["charge_kw"] - plan["discharge_kw"])
    assert plan["stored_kwh"] == pytest.approx(stored, abs=room)
    assert stored.min() >= -room
    assert stored.max() <= 6 + room
    assert stored[-1] >= 3 - room
    assert 6 * plan["car_kw"].sum() == pytest.approx(6.0, abs=room)
    assert plan["car_kw"][1:3] == pytest.approx([0, 0], abs=room)  # it is away from 6 to 18 h
    meter = -0.5 - plan["car_kw"] - plan["charge_kw"] + plan["discharge_kw"]
    assert plan["injection_kw"] == pytest.approx(meter, abs=room)
    assert plan["import_kw"] - plan["feed_in_kw"] == pytest.approx(-meter, abs=room)


def test_baselineNet_isTheSumOfPlans(tiny3: CommunityDay) -> None:
    net = baseline_net_kw(tiny3)
    assert net.shape == (3, 4)
    assert net[0] == pytest.approx([-1, -1, -1, -1], rel=SOLVER)
    assert net[1] == pytest.approx([-0.5, 3.5, 3.5, -0.5], rel=SOLVER)
    assert 6 * net[2].sum() == pytest.approx(-18, rel=SOLVER)  # 12 kWh of load, 6 of the car, the battery as before


@pytest.mark.parametrize(("scenario", "cost"), [(Scenario.B, 6.30), (Scenario.T, 3.60)])
def test_centralised_byHand(tiny3: CommunityDay, scenario: Scenario, cost: float) -> None:
    solution = centralised_optimum(tiny3, scenario)
    assert solution.cost == pytest.approx(cost, rel=SOLVER)
    assert solution.relaxation_gap == 0
    assert solution.voltage_pu is None


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_centralised_withNetwork(tiny3: CommunityDay, scenario: Scenario) -> None:
    solution = centralised_optimum(tiny3, scenario)
    assert 3.60 <= solution.cost <= 3.62
    assert abs(solution.relaxation_gap) < 1e-5
    # The cost again, from the injections: losses by the sweep, bought by the community (G) or by node 0 (TG).
    losses, kappa = np.empty(4), np.array([0.20, 0.40, 0.20, 0.40])
    for t in range(4):
        voltage, lost = sweep(tiny3.feeder, solution.injection_kw[:, t], solution.injection_kvar[:, t])
        losses[t] = lost.sum()
        assert solution.voltage_pu[:, t] == pytest.approx(voltage, abs=1e-5)  # 1e-8 on squares, with a margin
    if scenario == Scenario.G:
        needed = losses - solution.injection_kw.sum(axis=0)
        again = 6 * (kappa @ np.maximum(needed, 0) - kappa / 2 @ np.maximum(-needed, 0))
    else:
        again = 3.60 + 6 * kappa @ losses
    # 5e-5: in TG the supply is the 3.60 above and, to spare losses, perhaps a little more
    assert solution.cost == pytest.approx(again, rel=5e-5)


def test_centralised_ordersTheScenarios(fontana: CommunityDay) -> None:
    """Cost G < TG < B and T < B once all bear their losses; T without them is a lower bound of TG."""
    cost = {scenario: centralised_optimum(fontana, scenario).cost for scenario in REPORT}
    assert cost[Scenario.T] <= cost[Scenario.TG]
    assert cost[Scenario.G] <= cost[Scenario.TG]
    assert cost[Scenario.T] < cost[Scenario.B]


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_centralised_keepsVoltages(fontana: CommunityDay, scenario: Scenario) -> None:
    solution = centralised_optimum(fontana, scenario)
    flow = power_flow(fontana.feeder, solution.injection_kw, solution.injection_kvar)
    assert solution.voltage_pu == pytest.approx(flow.voltage_pu, abs=1e-5)  # as in test_feeder
    assert flow.voltage_pu.min() >= 0.95 - 1e-5
    assert flow.voltage_pu.max() <= 1.05 + 1e-5


def paid_by_power_flow(day: CommunityDay, solution: CentralisedSolution) -> float:
    """What a plan costs in G, its losses by OpenDSS."""
    drawn = power_flow(day.feeder, solution.injection_kw, solution.injection_kvar).import_kw
    prices = day.prices
    paid = np.maximum(drawn, 0) @ prices.import_price - np.maximum(-drawn, 0) @ prices.feed_in_price
    return float(day.step_hours * paid)


def test_inexactRelaxation_isAnError(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(centralised, "EXACTNESS_LIMIT", -1.0)
    with pytest.raises(InexactRelaxationError, match="'tiny3' on 1 is not tight") as caught:
        centralised_optimum(tiny3, Scenario.G)
    assert caught.value.exit_status == 1


@pytest.mark.parametrize("prices", [Prices(np.full(4, -0.20)), Prices(np.full(4, 0.20), 0.0), Prices(np.zeros(4))])
def test_noLossesAreInvented_whereLosingCostsNothing(tiny3: CommunityDay, prices: Prices) -> None:
    """In G a negative price even pays for every kWh that is lost."""
    day = replace(tiny3, prices=prices)
    solution = centralised_optimum(day, Scenario.G)
    assert solution.relaxation_gap <= EXACTNESS_LIMIT
    assert paid_by_power_flow(day, solution) == pytest.approx(solution.cost, abs=1e-4)


def test_optimumWherePanelsAreFourfold_isPhysical(monkeypatch: pytest.MonkeyPatch) -> None:
    """Upper voltages bind, and the relaxation has -33.568 USD, with losses that no line has. How much is put on losses
    does not matter."""
    june = read_community("fontana16").on("06-10")
    homes = tuple(
        replace(home, devices=tuple(d.scaled(4) if isinstance(d, Panels) else d for d in home.devices))
        for home in june.households
    )
    day, costs = replace(june, households=homes), []
    for ties in ((0.01, 0.1), (0.008, 0.1)):
        monkeypatch.setattr(centralised, "TIES", ties)
        solution = centralised_optimum(day, Scenario.G)
        assert solution.relaxation_gap <= EXACTNESS_LIMIT
        assert paid_by_power_flow(day, solution) == pytest.approx(solution.cost, abs=1e-4)
        costs.append(solution.cost)
    assert costs == pytest.approx([-33.498, -33.498], abs=1e-3)


def test_negativePrices_areExact_whereLossesCost(tiny3: CommunityDay) -> None:
    """In TG the losses have a price of their own, which is never negative."""
    paid_to_burn = replace(tiny3, prices=Prices(np.full(4, -0.20)))
    assert abs(centralised_optimum(paid_to_burn, Scenario.TG).relaxation_gap) < 1e-5


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_infeasibleDay_isNamed(scenario: Scenario) -> None:
    day = read_community("stress16").on("12-25")
    with pytest.raises(InfeasibleError, match=r"'stress16'.*12-25.*voltage.*node \d+.*limit.* 0\.95") as caught:
        centralised_optimum(day, scenario)
    assert caught.value.exit_status == 3


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T])
def test_infeasibleDay_isFeasibleWithoutNetwork(scenario: Scenario) -> None:
    assert centralised_optimum(read_community("stress16").on("12-25"), scenario).cost > 0


def test_tooMuchSun_isCurtailed() -> None:
    """25 kW of PV at the end of 0.2 ohm raise the voltage by 3 %; where 2 % are allowed, the plan curtails."""
    day = community([household(1, [1.0] * 4, [0.0] * 4), household(2, [0.5] * 4, [0, 25, 25, 0])], [0.3] * 4)
    day = replace(day, feeder=replace(day.feeder, voltage_max_pu=1.02))
    free = power_flow(day.feeder, np.array([[-1.0], [24.5]]), np.zeros((2, 1)))
    assert free.voltage_pu.max() > 1.025
    solution = centralised_optimum(day, Scenario.G)
    flow = power_flow(day.feeder, solution.injection_kw, solution.injection_kvar)
    assert flow.voltage_pu.max() == pytest.approx(1.02, abs=1e-5)  # the limit binds, to the solver's tolerance


def test_localProblem_namesWhatCannotHold() -> None:
    """The reader refuses such a car; a household file that was written by hand might have one."""
    car = ElectricCar(50.0, 2.0, 1.0, np.array([True, False, False, False]))  # 12 kWh is the most
    day = community([household(1, [1.0] * 4, [0.0] * 4, devices=(car,))], [0.2] * 4)
    with pytest.raises(InfeasibleError, match=r"household 'home_1'.*car"):
        baseline_net_kw(day)


def test_voltageDrop_growsWithDistance(fontana: CommunityDay) -> None:
    """Consumption alone: every node lies below its parent."""
    load = -np.array([h.load_kw for h in fontana.households])
    flow = power_flow(fontana.feeder, load, np.zeros_like(load))
    for node, parent in fontana.feeder.parent.items():
        above = flow.voltage_pu[parent - 1] if parent else np.ones(24)
        assert (flow.voltage_pu[node - 1] <= above + 1e-9).all()  # the power flow's tolerance


def test_views_holdOnlyWhatTheirNodeMayKnow(tiny3: CommunityDay) -> None:
    for agreement in NetworkAgreement:
        for scenario in REPORT:
            views = node_views(tiny3, scenario, agreement)
            assert [v.node for v in views] == ([0, 1, 2, 3] if scenario.has_network else [1, 2, 3])
            for view in views:
                if view.node:
                    assert view.household is tiny3.households[view.node - 1]
                    assert view.feeder is None or not view.feeder.lines
                else:
                    assert view.household is None
                assert bool(view.partners) == (scenario.has_trades and view.node > 0)
    neighbours = node_views(tiny3, Scenario.G, NetworkAgreement.NEIGHBOURS)
    assert [(v.parent, v.children, v.depth) for v in neighbours] == [
        (0, (1,), 0),
        (0, (2, 3), 1),
        (1, (), 2),
        (1, (), 2),
    ]
    star = node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)
    assert [(v.parent, v.children, v.depth) for v in star] == [
        (0, (1, 2, 3), 0),
        (0, (), 1),
        (0, (), 1),
        (0, (), 1),
    ]
