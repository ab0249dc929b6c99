"""A node that has forgotten all: from what is public and its own submissions it stands where it stood."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.memory import Absence, Iterate
from gridpact.market.admm.parameters import Penalties
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views
from unit.market.admm.helpers import NOBODY, RESOLUTION, running_of, start
from unit.market.admm.test_absence import DSO, FORMS, leaving, once

ITERATIONS = 12

PATTERNS: dict[str, Absence] = {
    "all are there": lambda iteration: NOBODY,
    "2 misses the first": once(2, 1),
    "3 misses once": once(3, 5),
    "2 leaves": leaving(node_2=4),
    "2 and 3 leave": leaving(node_2=4, node_3=7),
    "0 misses once": once(0, 4),
}
ABSENT_AT_THE_START: dict[str, Absence] = {"2 never comes": leaving(node_2=1)}


class Witness:
    """A negotiation, and agents that only read along: they never solve."""

    def __init__(self, day: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, absent: Absence) -> None:
        self.views = node_views(day, scenario, agreement)
        self.assembly = Assembly.of_views(self.views)
        self.penalties = Penalties.of_community(day, baseline_net_kw(day))
        self.iterates = start(day, scenario, agreement, absent)
        self.read: list[Iterate] = []

    def agent(self, view: NodeView) -> Agent:
        return Agent(view, self.assembly, self.penalties, RESOLUTION)

    def rebuilt(self, node: int) -> Agent:
        agent = self.agent(next(view for view in self.views if view.node == node))
        for iterate in self.read:
            said = iterate.submissions.get(node)
            agent.take_in(iterate.closing, said.copies if said else None)
        return agent


def state(agent: Agent) -> tuple[object, ...]:
    """All that decides what a node does next, to the last bit."""
    arrays = (agent.consensus.value, agent.consensus.dual, agent.trades.value, agent.trades.price, agent.trades.agreed)
    return (*(array.tobytes() for array in arrays), agent._relaxation, agent.residuals, agent.iteration)


@pytest.mark.parametrize(
    ("scenario", "agreement", "who"),
    [
        (scenario, agreement, who)
        for scenario, agreement in FORMS
        for who in [*PATTERNS, *ABSENT_AT_THE_START]
        if scenario.has_network or who != "0 misses once"
    ],
)
def test_replay_endsAtTheSameBits(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, who: str
) -> None:
    """After each iteration, at all nodes, the centre and the silent ones among them."""
    witness = Witness(tiny3, scenario, agreement, (PATTERNS | ABSENT_AT_THE_START)[who])
    readers = {view.node: witness.agent(view) for view in witness.views}
    for iterate in islice(witness.iterates, ITERATIONS):
        for node, reader in readers.items():
            said = iterate.submissions.get(node)
            reader.take_in(iterate.closing, said.copies if said else None)
            assert state(reader) == state(iterate.agents[node])


@pytest.mark.parametrize("who", ["all are there", "3 misses once", "2 and 3 leave", "2 never comes"])
@pytest.mark.parametrize(("scenario", "agreement"), FORMS[1:])
def test_nextSolve_isTheSameToAUnit(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, who: str
) -> None:
    """Of all nodes, the centre too, but for a unit: the solver keeps the scaling of the problem it was given first."""
    witness = Witness(tiny3, scenario, agreement, (PATTERNS | ABSENT_AT_THE_START)[who])
    for iterate in islice(witness.iterates, 10):
        if iterate.iteration in (6, 10):
            for node, said in iterate.submissions.items():
                again = witness.rebuilt(node).solve(running_of(witness.assembly, iterate))
                assert np.abs(again.copies - said.copies).max(initial=0) <= 1
                assert np.abs(again.bids - said.bids).max(initial=0) <= 1
        witness.read.append(iterate)


def test_iteration_isTheOneTakenInLast(tiny3: CommunityDay) -> None:
    witness = Witness(tiny3, Scenario.TG, DSO, PATTERNS["all are there"])
    agent = witness.rebuilt(1)
    assert (agent.iteration, agent.solved, agent.solution) == (0, 0, None)
    witness.read += islice(witness.iterates, 3)
    agent = witness.rebuilt(1)
    assert (agent.iteration, agent.solved) == (3, 0)
    agent.solve()
    assert (agent.iteration, agent.solved) == (3, 4)
