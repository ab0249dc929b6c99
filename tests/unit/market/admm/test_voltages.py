"""Between neighbours: where voltages may come to a limit, and what nobody may want of them besides."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import GRID_CONNECTION, CommunityDay
from gridpact.grid.powerflow import power_flow
from gridpact.market.admm.consensus import NeighbourConsensus
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.market.admm.voltages import near_limits
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from measure.adversaries import AdversaryTally, play
from measure.malice import Malice
from measure.streets import street


def flows_of(day: CommunityDay, active: np.ndarray, reactive: np.ndarray) -> dict[Block, np.ndarray]:
    """What flows on each line if nothing is lost, by the homes beneath it."""
    flows = {}
    for line in day.feeder.lines:
        beneath, todo = [], [line.node]
        while todo:
            node = todo.pop()
            beneath.append(node - 1)
            todo += day.feeder.children[node]
        flows[Block(Kind.P, line.node)] = active[beneath].sum(axis=0)
        flows[Block(Kind.Q, line.node)] = reactive[beneath].sum(axis=0)
    return flows


@pytest.mark.parametrize("kind", ["farms", "identical", "no batteries"])
def test_limits_thatAPowerFlowBreaksAreNear(kind: str) -> None:
    """Whatever homes take or give, at every step: a voltage beyond a limit by OpenDSS is one beneath its node, and all
    nodes on its way to the grid connection, may come to."""
    day, random = street(kind, 20), np.random.default_rng(1)
    shape, broken = (len(day.households), day.steps), 0
    for kw in (2.0, 8.0, 25.0):
        active, reactive = random.normal(0, kw, (2, *shape)) + random.normal(0, kw, (2, 1, day.steps))
        flows = flows_of(day, active, reactive)
        near = near_limits(day.feeder, flows.__getitem__)
        voltage = power_flow(day.feeder, active, reactive).voltage_pu
        for row, node in enumerate(day.feeder.nodes):
            low, high = voltage[row] < day.feeder.voltage_min_pu, voltage[row] > day.feeder.voltage_max_pu
            broken += int(low.sum() + high.sum())
            above = node
            while above != GRID_CONNECTION:
                assert not np.any(low & ~near[above][0])
                assert not np.any(high & ~near[above][1])
                above = day.feeder.parent[above]
    assert broken > 0


def test_prices_ofVoltagesHaveTheSignThatLimitsGiveThem() -> None:
    """Of a child's copy and of the parent's own, whatever they were: none where nothing may come to a limit."""
    day, random = street("identical", 21), np.random.default_rng(2)
    views = node_views(day, Scenario.TG, NetworkAgreement.NEIGHBOURS)
    parent = next(view for view in views if view.depth == 1 and view.children)
    child = next(view for view in views if view.node == parent.children[0])
    for view, sign in ((parent, -1), (child, 1)):
        consensus = NeighbourConsensus(view, Penalties(0.1, 0.1), Resolution())
        row = consensus.blocks.index(Block(Kind.V, parent.node))
        consensus.dual = random.normal(0, 10, consensus.dual.shape)
        before = consensus.dual.copy()
        heavy = np.zeros((2, day.steps))
        heavy[0, 0], heavy[0, 1] = -8000.0, 8000.0  # units: only the first step may come to the lower limit, ...
        consensus.keep_to_needs(
            lambda block, heavy=heavy: 1000 * heavy[int(block.kind)] if block.kind < 2 else heavy[0]
        )
        price = consensus.dual[row]
        assert np.all(sign * price[0] >= 0)
        assert np.all(sign * price[1] <= 0)
        assert np.all(price[2:] == 0)
        others = [other for other in range(len(consensus.blocks)) if other != row]
        rest = [other for other in others if consensus.blocks[other].kind is not Kind.V]
        np.testing.assert_array_equal(consensus.dual[rest], before[rest])


def test_views_knowTheLinesBetweenNeighboursOnly() -> None:
    day = street("identical", 21)
    for agreement in NetworkAgreement:
        for view in node_views(day, Scenario.G, agreement):
            assert view.lines == (day.feeder.lines if agreement is NetworkAgreement.NEIGHBOURS else ())
            assert replace(view, lines=()).feeder == view.feeder


@pytest.mark.parametrize("kind", ["greedy, giving", "wants voltages higher"])
def test_whoWantsAVoltageForNothing_movesNobody(kind: str) -> None:
    """The others kept reactive power at one end of what their inverters can, and paid 1.6 % more, for a leaf that said
    ever more of its parent's voltage."""
    tally = AdversaryTally()
    play(tally, "identical:21", Scenario.TG, NetworkAgreement.NEIGHBOURS, {4: Malice(kind)}, seed=3)
    assert tally.problems == []
    assert tally.moved[0] <= 1e-3
