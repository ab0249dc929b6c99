"""One node's problem when others are absent: flows that are given, partners that are gone, and a plan on its own."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Prices
from gridpact.errors import InfeasibleError
from gridpact.grid.powerflow import power_flow
from gridpact.market.admm.parameters import Penalties
from gridpact.problem.baseline import fallback
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.local import LocalProblem, LocalSolution, Point
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views
from unit.problem.helpers import Array, community, household, point

PENALTIES = Penalties(rho=0.4, phi=0.3)

SOLVER = 1e-6
"""kW: the solver's feasibility tolerance of 1e-8, scaled by the sizes of some 10."""

SAME_OPTIMUM = 1e-4
"""kW: two ways to write a problem whose minimum is flat to some 1e-8 of its cost."""

DSO, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS


def problem(view: NodeView, fixed: dict[Block, Array] | None = None, parted: list[bool] | None = None) -> LocalProblem:
    gone = None if parted is None else np.array(parted, dtype=bool)
    return LocalProblem(view, PENALTIES.phi, fixed=fixed, parted=gone)


def at(of: LocalProblem, linear: Array, trade_linear: Array) -> LocalSolution:
    return of.solve(point(of, PENALTIES.of_blocks(of.view), linear, trade_linear))


def solved(of: LocalProblem, seed: int = 0) -> LocalSolution:
    """With random linear terms, the same for the same seed."""
    random = np.random.default_rng(seed)
    linear = random.normal(scale=0.3, size=(len(of.blocks), of.view.steps))
    return at(of, linear, -random.uniform(0.5, 2.0, of.view.bid_count))


def test_partedBids_areZero_andNoOther(tiny3: CommunityDay) -> None:
    """bob trades with ann and cem in two steps each; without ann his plan is that of a bob who has no ann."""
    view = node_views(tiny3, Scenario.T, DSO)[1]
    assert [(partner.node, partner.steps) for partner in view.partners] == [(1, (1, 2)), (3, (1, 2))]
    linear = np.zeros((0, 4))
    wanted = -np.array([1.7, 1.1, 1.9, 1.2])
    free = at(problem(view), linear, wanted)
    assert np.abs(free.bids_kw).min() > 0.1
    parted = at(problem(view, parted=[True, True, False, False]), linear, wanted)
    assert parted.bids_kw[:2] == pytest.approx([0, 0], abs=SOLVER)
    alone = at(problem(replace(view, partners=view.partners[1:])), linear, wanted[2:])
    assert parted.bids_kw[2:] == pytest.approx(alone.bids_kw, abs=SAME_OPTIMUM)
    everybody = at(problem(view, parted=[False] * 4), linear, wanted)
    assert everybody.bids_kw.tolist() == free.bids_kw.tolist()
    nobody = at(problem(view, parted=[True] * 4), linear, wanted)
    assert nobody.schedule["import_kw"] == pytest.approx(fallback(view)["import_kw"], abs=SAME_OPTIMUM)


def test_fixedInjection_isKept(tiny3: CommunityDay) -> None:
    """cem without node 0: what was agreed last stands, and his battery and car follow."""
    view = node_views(tiny3, Scenario.TG, DSO)[3]
    free = solved(problem(view)).copies[0]
    given = (free + fallback(view)["injection_kw"]) / 2  # between two plans is another
    assert np.abs(given - free).max() > 0.1
    kept = solved(problem(view, {Block(Kind.P, 3): given}))
    assert kept.copies[0] == pytest.approx(given, abs=SOLVER)
    assert kept.schedule["injection_kw"] == pytest.approx(given, abs=SOLVER)


def test_fixedInjection_thatCannotBe_isNamed(tiny3: CommunityDay) -> None:
    """ann has a load of 1 kW and nothing else."""
    view = node_views(tiny3, Scenario.TG, DSO)[1]
    with pytest.raises(InfeasibleError, match=r"household 'ann'.*flows of absent nodes"):
        solved(problem(view, {Block(Kind.P, 1): np.array([-1.0, -1.0, -1.0, -0.5])}))


@pytest.mark.parametrize("scenario", [Scenario.TG, Scenario.G])
def test_centre_withGivenInjections(tiny3: CommunityDay, scenario: Scenario) -> None:
    """2 is out of the round, or was never in it: the others get the same answers, and the network carries all."""
    view = node_views(tiny3, scenario, DSO)[0]
    given = {Block(Kind.P, 2): np.array([-1.0, 2.0, 3.0, -2.0]), Block(Kind.Q, 2): np.array([-0.3, 0.2, 0.1, -0.4])}
    random = np.random.default_rng(2)
    linear = random.normal(scale=0.3, size=(6, 4))
    out = at(problem(view, given), linear, np.zeros(0))
    assert out.copies[2] == pytest.approx(given[Block(Kind.P, 2)], abs=SOLVER)
    assert out.copies[3] == pytest.approx(given[Block(Kind.Q, 2)], abs=SOLVER)

    never = problem(replace(view, children=(1, 3)), given)
    assert [block.node for block in never.blocks] == [1, 1, 3, 3]
    answers = at(never, linear[[0, 1, 4, 5]], np.zeros(0))
    assert answers.copies == pytest.approx(out.copies[[0, 1, 4, 5]], abs=SAME_OPTIMUM)

    flow = power_flow(tiny3.feeder, out.copies[0::2], out.copies[1::2])
    if scenario == Scenario.G:
        # 1e-4 kW: the solver's tolerance on flows of some 10 kW, summed over three lines
        assert out.schedule["import_kw"] - out.schedule["feed_in_kw"] == pytest.approx(flow.import_kw, abs=1e-4)
    assert out.schedule["relaxation_gap_pu"].max() < 1e-5


def test_centre_leavesRoomForTheSilent() -> None:
    """20 kW of sun at the end of 0.2 ohm would raise the voltage by 2.4 %, 2 % are allowed; in the first step the
    silent home half way gives 12 kW, which is felt half as much at the end."""
    day = community([household(1, [0.0] * 2, [0.0] * 2), household(2, [0.0] * 2, [20, 20])], [0.3] * 2)
    day = replace(day, feeder=replace(day.feeder, voltage_max_pu=1.02))
    view = node_views(day, Scenario.TG, DSO)[0]
    nothing = np.zeros(2)
    given = {Block(Kind.P, 1): np.array([12.0, 0.0]), Block(Kind.Q, 1): nothing, Block(Kind.Q, 2): nothing}
    linear = np.zeros((4, 2))
    linear[2] = -PENALTIES.of_blocks(view)[2] * 20.0  # the wish
    answer = at(problem(view, given), linear, np.zeros(0)).copies
    assert answer[2][1] - answer[2][0] == pytest.approx(6.0, abs=0.5)  # losses and squares: some per cent
    flow = power_flow(day.feeder, answer[0::2], answer[1::2])
    assert flow.voltage_pu.max(axis=0) == pytest.approx([1.02, 1.02], abs=1e-5)  # binds, to the solver's tolerance


def test_parent_keepsTheFlowOfAnAbsentChild(tiny3: CommunityDay) -> None:
    """0 - 1 - (2, 3), 2 is gone: what flows out of its line was agreed; node 1 adds it to its own line."""
    view = node_views(tiny3, Scenario.TG, NEIGHBOURS)[1]
    given = {Block(Kind.P, 2): np.array([-1.0, 2.0, 3.0, -2.0]), Block(Kind.Q, 2): np.array([-0.3, 0.2, 0.1, -0.4])}
    answer = solved(problem(view, given))
    rows = {block: answer.copies[k] for k, block in enumerate(problem(view).blocks)}
    for block, flow in given.items():
        assert rows[block] == pytest.approx(flow, abs=SOLVER)
    below = given[Block(Kind.P, 2)] + rows[Block(Kind.P, 3)] - 1.0  # ann's load of 1 kW
    assert rows[Block(Kind.P, 1)] == pytest.approx(below - answer.schedule["losses_kw"], abs=SOLVER)


@pytest.mark.parametrize("agreement", [DSO, NEIGHBOURS])
@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T, Scenario.G, Scenario.TG])
def test_fallback_isThePlanOfB(tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> None:
    """Costs of ann, bob and cem on their own, by the hand of `test_optimum`; and the very plan of scenario B."""
    kappa = np.array([0.20, 0.40, 0.20, 0.40])
    alone = {view.node: view for view in node_views(tiny3, Scenario.B, DSO)}
    costs = {}
    for view in node_views(tiny3, scenario, agreement):
        plan = fallback(view)
        if view.node == 0:
            assert plan == {}
            continue
        costs[view.node] = 6 * float(kappa @ plan["import_kw"] - kappa / 2 @ plan["feed_in_kw"])
        of_b = LocalProblem(alone[view.node], 0.0).carried_out(Point.alone(4)).schedule
        assert {name: row.tolist() for name, row in plan.items()} == {name: row.tolist() for name, row in of_b.items()}
    assert costs == pytest.approx({1: 7.20, 2: -4.50, 3: 3.60}, rel=1e-6)  # Clarabel stops at 1e-8


def test_fallback_followsThePrices(tiny3: CommunityDay) -> None:
    """Where the dear steps are the cheap ones, cem charges his battery there instead."""
    swapped = replace(tiny3, prices=Prices(np.array([0.40, 0.20, 0.40, 0.20])))
    before, after = (fallback(node_views(day, Scenario.TG, DSO)[3]) for day in (tiny3, swapped))
    assert before["charge_kw"][2] > 0.4
    assert after["charge_kw"][1] > 0.4


def test_pool_countsTheTradesOfAStepTogether(tiny3: CommunityDay) -> None:
    """Its answer is also that of the problem without a pool whose bids have the pool's marginal price added."""
    view = node_views(tiny3, Scenario.T, DSO)[1]
    wanted = -np.array([1.7, 1.1, 1.9, 1.2])
    pooled = LocalProblem(view, PENALTIES.phi, pool_penalty=0.8)
    answer = pooled.solve(point(pooled, np.zeros(0), np.zeros((0, 4)), wanted, pool_linear=0.3)).bids_kw
    free = problem(view)
    sums = np.array([answer[0] + answer[2], answer[1] + answer[3]] * 2)
    again = at(free, np.zeros((0, 4)), wanted + 0.3 + 0.8 * sums)  # the pool's terms, linear around the answer
    assert again.bids_kw == pytest.approx(answer, abs=SAME_OPTIMUM)


def test_agreedTrades_areKept(tiny3: CommunityDay) -> None:
    """bob's bids are to ann in steps 1 and 2, then to cem; the supplier has the rest."""
    view = node_views(tiny3, Scenario.T, DSO)[1]
    given = np.array([1.0, -0.5, 0.25, 0.0])
    last = LocalProblem(view, PENALTIES.phi, agreed=True)
    nowhere = point(last, np.zeros(0), np.zeros((0, 4)), np.zeros(4))
    for scale in (1.0, 2.0):
        answer = last.solve(replace(nowhere, agreed=scale * given))
        assert answer.bids_kw == pytest.approx(scale * given, abs=SOLVER)
        net = answer.schedule["import_kw"] - answer.schedule["feed_in_kw"] + answer.schedule["injection_kw"]
        assert net == pytest.approx(scale * np.array([0.0, 1.25, -0.5, 0.0]), abs=10 * SOLVER)
