"""Planning on a street: the operator's answers, whole rounds, and what OpenDSS says of them with four wires."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder, Transformer
from gridpact.errors import InfeasibleError, InputError
from gridpact.grid.four_wire import four_wire_flow
from gridpact.outcome.day import solve_day
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.local import LocalProblem, Point
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.street_operator import StreetOperatorProblem
from gridpact.problem.view import node_views

UNIT_KW = 1e-3


def street(homes: int = 6, thinner: float = 1.0, day: str = "06-10") -> CommunityDay:
    """The first homes of fontana16x3, on lines of so many times their impedance."""
    whole = read_community("fontana16x3").on(day)
    assert isinstance(whole.feeder, PhaseFeeder)
    lines = tuple(replace(line, impedance_ohm=thinner * line.impedance_ohm) for line in whole.feeder.lines[:homes])
    feeder = replace(whole.feeder, lines=lines, connections=whole.feeder.connections[:homes])
    return replace(whole, households=whole.households[:homes], feeder=feeder)


@pytest.mark.parametrize("scenario", [Scenario.TG, Scenario.G], ids=str)
def test_answerWithoutLimits_isThatOfTheSolver(scenario: Scenario) -> None:
    """The closed form against the problem as CVXPY has it, around the same point."""
    community = street()
    view = node_views(community, scenario, NetworkAgreement.DSO)[0]
    rng = np.random.default_rng(7)
    count = 2 * len(community.households)
    wish = rng.normal(0, 1.0, (count, view.steps))
    wish[::2] += np.linspace(-1.5, 1.5, view.steps)  # takes, gives, and in between
    rho = rng.uniform(0.02, 0.2, wish.shape)
    at = Point(-rho * wish, rho, np.zeros(0), np.zeros(view.steps))
    answer = StreetOperatorProblem(view, lambda kw: np.rint(kw / UNIT_KW).astype(np.int64), UNIT_KW, {}).solve(at)
    expected = LocalProblem(view, 0.0).solve(at)
    # Clarabel stops at 1e-8 of sums of some units of cost; the least is flat.
    np.testing.assert_allclose(answer.copies, expected.copies, rtol=0, atol=2e-3)


@pytest.mark.parametrize(("thinner", "binds"), [(1.0, False), (12.0, True)])
@pytest.mark.parametrize("scenario", [Scenario.TG, Scenario.G], ids=str)
def test_round_staysWithinLimits_byFourWires(scenario: Scenario, thinner: float, binds: bool) -> None:
    community = street(thinner=thinner)
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    alone = solve_day(community, Scenario.B)
    assert (alone.voltage_min_pu < 0.95 or alone.voltage_max_pu > 1.05) == binds
    day = solve_day(community, scenario)
    assert day.failure is None
    assert day.converged
    assert day.gap < 1e-3
    plans = [np.array([home.schedule[key] for home in day.households]) for key in ("injection_kw", "injection_kvar")]
    flow = four_wire_flow(feeder, *plans)
    assert flow.voltage_pu.min() >= feeder.voltage_min_pu - 1e-3  # as a balanced feeder's check tolerates
    assert flow.voltage_pu.max() <= feeder.voltage_max_pu + 1e-3


def barely_carried(community: CommunityDay, most: float) -> CommunityDay:
    """On lines of nearly the largest impedance on which there is a plan: of that times 0.97 to 0.90.

    Args:
        most: times the impedances, with which there is none.
    """
    assert isinstance(community.feeder, PhaseFeeder)
    feeder = community.feeder

    def thinner(factor: float) -> CommunityDay:
        lines = tuple(replace(line, impedance_ohm=factor * line.impedance_ohm) for line in feeder.lines)
        return replace(community, feeder=replace(feeder, lines=lines))

    carried = 1.0
    while most > 1.08 * carried:
        middle = (carried * most) ** 0.5
        try:
            centralised_optimum(thinner(middle), Scenario.G)
            carried = middle
        except InfeasibleError:
            most = middle
    return thinner(0.97 * carried)


@pytest.mark.parametrize(("seed", "scenario"), [(6, Scenario.G), (4, Scenario.TG)])
def test_round_getsToTheOptimum_whereTheCableOnlyJustCarries(seed: int, scenario: Scenario) -> None:
    """Homes, a winter day and the homes' phases drawn: what they wish first is far beyond the limits, and there is
    hardly another plan than the best one. A plan within the tolerated 1e-3 p.u. of the limits may be cheaper."""
    rng = np.random.default_rng(seed)
    community = street(int(rng.integers(4, 8)), day=f"12-{rng.integers(21, 28)}")
    assert isinstance(community.feeder, PhaseFeeder)
    homes = tuple(replace(home, phases=(int(rng.integers(3)),)) for home in community.feeder.connections)
    tight = barely_carried(replace(community, feeder=replace(community.feeder, connections=homes)), 64.0)
    assert solve_day(tight, Scenario.B).voltage_min_pu < 0.9
    day = solve_day(tight, scenario)
    assert day.failure is None
    assert day.converged
    assert day.iterations < 100  # nobody's reach is used up
    assert day.gap <= 1e-3
    assert day.voltage_min_pu >= 0.95 - 1e-3
    assert day.voltage_max_pu <= 1.05 + 1e-3


def test_passesThatGoToAndFro_end() -> None:
    """Two plans of which each is the best around the other's voltages: the one between them stands."""
    rng = np.random.default_rng(1)
    community = street(int(rng.integers(4, 8)), 8.0, day=f"12-{rng.integers(21, 28)}")
    assert isinstance(community.feeder, PhaseFeeder)
    homes = tuple(replace(home, phases=(int(rng.integers(3)),)) for home in community.feeder.connections)
    feeder = replace(community.feeder, connections=homes)
    optimum = centralised_optimum(replace(community, feeder=feeder), Scenario.G)
    flow = four_wire_flow(feeder, optimum.injection_kw, optimum.injection_kvar)
    assert flow.voltage_pu.min() >= 0.95 - 1e-4
    assert flow.voltage_pu.max() <= 1.05 + 1e-4


def test_transformer_limitsThePlan() -> None:
    """At a fifth less than what everybody alone draws, the plan is flatter, and costs more."""
    community = street(day="12-22")
    alone = solve_day(community, Scenario.B)
    assert isinstance(community.feeder, PhaseFeeder)
    kva = 0.8 * alone.peak_kw
    limited = replace(community, feeder=replace(community.feeder, transformer=Transformer(kva, 1.5, 3.7)))
    free = replace(community, feeder=replace(community.feeder, transformer=Transformer(1000 * kva, 1500, 3700)))
    optimum = centralised_optimum(limited, Scenario.G)
    assert optimum.cost > centralised_optimum(free, Scenario.G).cost
    assert isinstance(limited.feeder, PhaseFeeder)
    flow = four_wire_flow(limited.feeder, optimum.injection_kw, optimum.injection_kvar)
    assert flow.transformer_loading.max() <= 1 + 1e-3


def test_whatNoPlanKeeps_isNamed() -> None:
    with pytest.raises(InfeasibleError, match=r"at best the voltage at 'home_\d+' \(phase \d of bus \d\) at \d+:00 is"):
        centralised_optimum(street(thinner=60.0, day="12-22"), Scenario.G)
    tiny = street(day="12-22")
    assert isinstance(tiny.feeder, PhaseFeeder)
    weak = replace(tiny, feeder=replace(tiny.feeder, transformer=Transformer(1, 0.01, 0.02)))
    with pytest.raises(InfeasibleError, match=r"the transformer carries \d+ % of its rating at \d\d:00"):
        centralised_optimum(weak, Scenario.G)


def test_neighbours_areRefused() -> None:
    with pytest.raises(InputError, match="homes on phases, and neighbours agree on a balanced feeder only"):
        node_views(street(), Scenario.TG, NetworkAgreement.NEIGHBOURS)
