"""Rounds in which somebody is silent: they end, and those who are left have a plan that fits together."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import Array, CommunityDay, Household
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.pv import Panels
from gridpact.grid.powerflow import PowerFlow, power_flow
from gridpact.market.admm.memory import Absence, Iterate
from gridpact.problem.baseline import fallback
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.coefficients import partners
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import booked, implemented_cost
from gridpact.problem.view import node_views
from unit.market.admm.helpers import NOBODY, RESOLUTION, last_of, start, tolerances_of

DSO, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS
FORMS = [(Scenario.T, DSO), (Scenario.TG, DSO), (Scenario.G, DSO), (Scenario.TG, NEIGHBOURS)]

SOLVER = 1e-6
"""kW, kWh: the solver's feasibility tolerance of 1e-8, scaled by the sizes of some 10."""


def once(node: int, at: int) -> Absence:
    return lambda iteration: frozenset({node}) if iteration == at else NOBODY


def leaving(**nodes: int) -> Absence:
    """node_3=5: node 3 is silent from iteration 5 on."""
    since = {int(name.removeprefix("node_")): first for name, first in nodes.items()}
    return lambda iteration: frozenset(node for node, first in since.items() if iteration >= first)


def keeps_physics(home: Household, plan: dict[str, Array], hours: float) -> None:
    """A plan added up: devices within their limits, and what they give together is the injection."""
    injection = home.pv_kw - home.load_kw
    if "curtailed_kw" in plan:
        assert plan["curtailed_kw"].min() >= -SOLVER
        assert (plan["curtailed_kw"] <= home.pv_kw + SOLVER).all()
        injection = injection - plan["curtailed_kw"]
    for battery in home.having(Battery):
        charge, discharge = plan["charge_kw"], plan["discharge_kw"]
        assert min(charge.min(), discharge.min()) >= -SOLVER
        assert max(charge.max(), discharge.max()) <= battery.power_kw + SOLVER
        gained = battery.charge_efficiency * charge - discharge / battery.discharge_efficiency
        stored = battery.start_kwh + hours * np.cumsum(gained)
        assert stored.min() >= -24 * SOLVER
        assert stored.max() <= battery.capacity_kwh + 24 * SOLVER
        assert stored[-1] >= battery.start_kwh - 24 * SOLVER
        injection = injection + discharge - charge
    for car in home.having(ElectricCar):
        assert plan["car_kw"].min() >= -SOLVER
        assert (plan["car_kw"] <= car.power_kw * car.plugged_in + SOLVER).all()
        charged = hours * car.efficiency * plan["car_kw"].sum()
        assert charged == pytest.approx(car.energy_kwh, abs=24 * SOLVER)
        injection = injection - plan["car_kw"]
    assert plan["injection_kw"] == pytest.approx(injection, abs=SOLVER)
    generated = plan["injection_kvar"] + home.load_kvar
    assert np.abs(generated).max() <= home.inverter_kvar + SOLVER


def ended_well(iterate: Iterate) -> None:
    """Whoever is not out has a feasible plan, trades that cancel and equal prices; nobody trades with who is out."""
    left = {node: agent for node, agent in iterate.agents.items() if node not in iterate.closing.gone}
    trades: dict[tuple[int, int, int], tuple[int, float]] = {}
    for node, agent in left.items():
        at = 0
        for partner in agent.view.partners:
            for step in partner.steps:
                trades[node, partner.node, step] = (int(agent.trades.agreed[at]), float(agent.trades.price[at]))
                at += 1
    for (node, partner, step), (twice, price) in trades.items():
        if partner in iterate.closing.gone:
            assert twice == 0
        else:
            assert trades[partner, node, step] == (-twice, price)
    for agent in left.values():
        view, solution = agent.view, agent.solution
        assert solution is not None
        assert agent.solved == iterate.iteration
        if view.household is None:
            continue
        plan = solution.schedule
        keeps_physics(view.household, plan, view.step_hours)
        bids = [(p.node, step) for p in view.partners for step in p.steps]
        sold = np.zeros(view.steps)
        for (partner, step), bid in zip(bids, solution.bids_kw, strict=True):
            sold[step] += bid
            if partner in iterate.closing.gone:
                assert abs(bid) <= SOLVER
        if view.scenario.has_contracts:
            assert plan["injection_kw"] + plan["import_kw"] - plan["feed_in_kw"] == pytest.approx(sold, abs=SOLVER)
            assert min(plan["import_kw"].min(), plan["feed_in_kw"].min()) >= -SOLVER


PATTERNS = {
    "2 misses once": once(2, 5),
    "2 misses the first": once(2, 1),
    "2 never comes": leaving(node_2=1),
    "2 leaves": leaving(node_2=6),
    "3 leaves": leaving(node_3=6),
    "2 and 3 leave": leaving(node_2=4, node_3=5),
}
ROOT_OF_OTHERS = {"1 never comes": leaving(node_1=1), "1 leaves": leaving(node_1=6)}
"""On tiny3's feeder node 1 lies between the connection and the others."""


@pytest.mark.parametrize("who", [*PATTERNS, *ROOT_OF_OTHERS])
@pytest.mark.parametrize(("scenario", "agreement"), FORMS)
def test_round_endsWithoutTheSilent(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, who: str
) -> None:
    last = last_of(start(tiny3, scenario, agreement, (PATTERNS | ROOT_OF_OTHERS)[who]))
    assert last.closing.gone == {node for node in (1, 2, 3) if str(node) in who and "misses" not in who}
    ended_well(last)


@pytest.mark.parametrize("agreement", [DSO, NEIGHBOURS])
def test_rootMissesOnce_andTheRoundGoesOn(tiny3: CommunityDay, agreement: NetworkAgreement) -> None:
    ended_well(last_of(start(tiny3, Scenario.TG, agreement, once(0, 4))))


def test_mostMisses_areTheContracts(tiny3: CommunityDay) -> None:
    """Absent in every third iteration, and out with the fourth miss: in iteration 12."""
    absent = start(tiny3, Scenario.TG, DSO, lambda k: frozenset({3}) if k % 3 == 0 else NOBODY, most_misses=4)
    for iterate in absent:
        assert iterate.closing.gone == (frozenset({3}) if iterate.iteration >= 12 else NOBODY)
        assert iterate.closing.present == frozenset({0, 1, 2} if iterate.iteration % 3 == 0 else {0, 1, 2, 3}) - (
            frozenset({3}) if iterate.iteration > 12 else NOBODY
        )
        if iterate.iteration == 14:
            break


def without(day: CommunityDay, node: int, kw: Array, kvar: Array) -> CommunityDay:
    """The community in which a household does as given and nobody wants to trade with it."""
    panels = (Panels(np.maximum(kw, 0), float(kw.max())),) if kw.max() > 0 else ()
    fixed = Household(node, f"gone_{node}", np.maximum(-kw, 0), -kvar, panels)
    homes = tuple(fixed if home.node == node else home for home in day.households)
    dear = {(one.name, other.name): 9.0 for one in homes for other in homes if fixed in (one, other) and one != other}
    return replace(day, households=homes, preferences=dear)


@pytest.mark.parametrize(("gone", "first"), [(1, 6), (2, 1), (3, 6)])
@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG, Scenario.G])
def test_othersEndAtTheirOptimum(tiny3: CommunityDay, scenario: Scenario, gone: int, first: int) -> None:
    """What the others agree on costs what one optimiser finds, for whom the silent household does what node 0 takes
    it to do. The limits are those of `test_negotiate`, of the 3.6 EUR that the day costs with all three: where sales
    and purchases nearly cancel, a fraction of the rest says nothing."""
    last = last_of(start(tiny3, scenario, DSO, leaving(**{f"node_{gone}": first})))
    kw, kvar = silent(last, gone) if scenario.has_network else (np.zeros(4), np.zeros(4))
    day = without(tiny3, gone, kw, kvar)
    kilowatts, kilovars = injections(last, day, {gone: (kw, kvar)})
    books = partners(day) if scenario.has_trades else {}
    assert not books.get(gone)
    trades = {}
    for home in day.households:
        agent = last.agents[home.node]
        listed = [p.node for p in agent.view.partners for _ in p.steps]
        agreed = agent.trades.agreed[[node != gone for node in listed]] if listed else agent.trades.agreed
        trades[home.node] = agreed / 2 * RESOLUTION.power_kw
    cost = implemented_cost(day, scenario, kilowatts, kilovars, booked(day, books, trades)).objective
    best = centralised_optimum(day, scenario).cost
    assert -5e-5 <= (cost - best) / 3.6 <= 1e-3


def silent(iterate: Iterate, node: int) -> tuple[Array, Array]:
    """What node 0 takes a silent household to do: it goes into the power flow of its own problem. kW, kvar."""
    centre = iterate.agents[0]
    assert centre.solution is not None
    row = [block.node for block in centre.blocks].index(node)
    kw, kvar = centre.solution.copies[row : row + 2]
    return kw, kvar


def injections(iterate: Iterate, day: CommunityDay, of_silent: dict[int, tuple[Array, Array]]) -> tuple[Array, Array]:
    """(n, T): plans of those who are left, and what the silent are taken to do. kW, kvar."""
    rows = []
    for home in day.households:
        solution = iterate.agents[home.node].solution
        if home.node in of_silent:
            rows.append(of_silent[home.node])
        else:
            assert solution is not None
            rows.append((solution.schedule["injection_kw"], solution.schedule["injection_kvar"]))
    return np.array([kw for kw, _ in rows]), np.array([kvar for _, kvar in rows])


def last_wish(iterate: Iterate, node: int) -> tuple[Array, Array]:
    """What a household that left wished for last; where it never did, what node 0 takes it to do."""
    solution = iterate.agents[node].solution
    if solution is None:
        return silent(iterate, node)
    return solution.schedule["injection_kw"], solution.schedule["injection_kvar"]


def within(day: CommunityDay, flow: PowerFlow, room: float) -> bool:
    return bool(
        flow.voltage_pu.min() >= day.feeder.voltage_min_pu - room
        and flow.voltage_pu.max() <= day.feeder.voltage_max_pu + room
    )


@pytest.mark.parametrize("who", [*PATTERNS, *ROOT_OF_OTHERS])
@pytest.mark.parametrize("scenario", [Scenario.TG, Scenario.G])
def test_tiny3_keepsItsVoltages(tiny3: CommunityDay, scenario: Scenario, who: str) -> None:
    last = last_of(start(tiny3, scenario, DSO, (PATTERNS | ROOT_OF_OTHERS)[who]))
    flow = power_flow(tiny3.feeder, *injections(last, tiny3, {k: last_wish(last, k) for k in last.closing.gone}))
    assert within(tiny3, flow, 0.0)  # the limits do not bind here


@pytest.fixture(scope="module")
def stressed() -> tuple[CommunityDay, Iterate]:
    """A day on which the lower limit binds; 9, well down the feeder, leaves early."""
    day = read_community("stress16").on("12-22")
    return day, last_of(start(day, Scenario.G, DSO, leaving(node_9=4)))


ROOM = 2e-4
"""p.u. The answers keep the limits; wishes may be 3 W RMS from them, which in all 16 homes at a time is some 1e-4."""


def test_stress16_keepsItsVoltages_withTheSilentAsNode0TakesIt(stressed: tuple[CommunityDay, Iterate]) -> None:
    day, last = stressed
    assert last.closing.gone == {9}
    ended_well(last)
    flow = power_flow(day.feeder, *injections(last, day, {9: silent(last, 9)}))
    assert within(day, flow, ROOM)
    assert not within(day, flow, -1e-3)  # the limit binds


def test_stress16_withTheSilentAtItsOwnPlan(stressed: tuple[CommunityDay, Iterate]) -> None:
    """What it falls back on nobody else knows: node 0 expects its first wish, which comes near."""
    day, last = stressed
    alone = fallback(next(view for view in node_views(day, Scenario.G, DSO) if view.node == 9))
    flow = power_flow(day.feeder, *injections(last, day, {9: (alone["injection_kw"], alone["injection_kvar"])}))
    assert within(day, flow, 1e-3)


def test_residuals_comeFromThoseWhoAreThere(tiny3: CommunityDay) -> None:
    """Residuals travel with the next submission: on the chain those of a node that is missing then are missing too."""
    before: dict[int, tuple[int, ...]] = {}
    for iterate in start(tiny3, Scenario.TG, DSO, once(2, 5)):
        expected = [sum(before[node][k] for node in iterate.closing.present) for k in range(4)] if before else [0] * 4
        assert list(iterate.closing.residuals) == expected
        before = {node: agent.residuals.as_tuple() for node, agent in iterate.agents.items()}
        if iterate.iteration == 7:
            break


def test_tolerances_judgeThoseWhoAreLeft(tiny3: CommunityDay) -> None:
    """After 2 is out the RMS divides by the others' scalars: 40 copies of 48, and 4 bids of 8."""
    last = last_of(start(tiny3, Scenario.TG, DSO, leaving(node_2=6)))
    assert last.scalars == (40, 4)
    assert tolerances_of(last).hold(last.residuals.as_tuple(), (40, 4), RESOLUTION)
