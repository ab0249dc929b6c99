"""The negotiation in memory ends at the centralised optimum, which knows nothing of it."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.memory import Iterate
from gridpact.market.admm.parameters import EARLY_OVER_RELAXATION, OVER_RELAXATION, relaxation_at
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import booked, implemented_cost
from gridpact.problem.view import node_views
from unit.market.admm.helpers import RESOLUTION, last_of, running_of, start, tolerances_of


def gap(day: CommunityDay, scenario: Scenario, iterate: Iterate) -> float:
    """The implemented gap: schedules as they are, an exact power flow, trades as both sides see them."""
    homes = [iterate.agents[home.node] for home in day.households]
    plans = [home.solution.schedule for home in homes if home.solution is not None]
    cost = implemented_cost(
        day,
        scenario,
        np.array([plan["injection_kw"] for plan in plans]),
        np.array([plan["injection_kvar"] for plan in plans]),
        booked(
            day,
            {home.view.node: home.view.partners for home in homes},
            {home.view.node: home.trades.agreed / 2 * RESOLUTION.power_kw for home in homes},
        ),
    )
    best = centralised_optimum(day, scenario).cost
    return (cost.objective - best) / abs(best)


BOTH = [NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS]


@pytest.mark.parametrize(
    ("scenario", "agreement"),
    [(Scenario.T, NetworkAgreement.DSO), *((s, a) for s in (Scenario.G, Scenario.TG) for a in BOTH)],
)
def test_tiny3_endsAtTheOptimum(tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> None:
    """0.1 % is what the issue asks for when convergence is declared; 200 iterations are the default of a run. A plan
    cannot beat the optimum by more than its devices and the reference are solved to: some 1e-5 with a cone."""
    last = last_of(start(tiny3, scenario, agreement))
    assert -5e-5 <= gap(tiny3, scenario, last) <= 1e-3


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_whoIsHeldToItsOwn_losesNothing(
    tiny3: CommunityDay, scenario: Scenario, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A household that may not buy more than its devices can take is as near to the optimum, which knows no such bound:
    ann, who bought more to feed it in, does no more."""
    iterate = last_of(start(tiny3, scenario, NetworkAgreement.DSO))
    ann = iterate.agents[1]
    net = np.bincount(ann.trades.steps, iterate.submissions[1].bids * ann.trades.unit, tiny3.steps)
    assert (net < -tiny3.households[0].load_kw - 0.5).any()
    assert not any(agent._held_to_own for agent in iterate.agents.values())
    monkeypatch.setattr("gridpact.market.admm.agent.LAST_UNBOUNDED", 0)
    monkeypatch.setattr("gridpact.market.admm.agent.MORE_THAN_OWN_KW", 0.01)
    iterate = last_of(start(tiny3, scenario, NetworkAgreement.DSO))
    ann = iterate.agents[1]
    assert ann._held_to_own
    net = np.bincount(ann.trades.steps, iterate.submissions[1].bids * ann.trades.unit, tiny3.steps)
    assert (net >= -tiny3.households[0].load_kw - 0.01).all()
    assert abs(gap(tiny3, scenario, iterate)) < 1e-3


def test_tiny3_pricesLieBetweenFeedInAndImport(tiny3: CommunityDay) -> None:
    """bob sells in steps 1 and 2, gamma is nothing there: seller and buyer only agree between f and kappa."""
    last = last_of(start(tiny3, Scenario.T, NetworkAgreement.DSO))
    prices = last.agents[2].trades.paid_price / 6.0
    kappa = np.array([0.40, 0.20, 0.40, 0.20])
    # What offers and wishes are still apart moves a price by phi for each kW in a step of 6 h.
    trade_w = tolerances_of(last).primal_trade_w
    room = last.agents[2].trades.phi * trade_w / 1000 / 6.0
    assert (prices >= kappa / 2 - room).all()
    assert (prices <= kappa + room).all()


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_fontana16_isClose_afterTwentyIterations(fontana: CommunityDay, scenario: Scenario) -> None:
    """The issue's figure: at most 0.8 % in at most 20 iterations."""
    iterate = next(islice(start(fontana, scenario, NetworkAgreement.DSO), 19, 20))
    assert iterate.iteration == 20
    assert -1e-5 <= gap(fontana, scenario, iterate) <= 8e-3


def test_scalars_countWhatIsShared(tiny3: CommunityDay) -> None:
    """Star: 3 homes x (P, Q) x 4 steps x 2 ends = 48. Main 0-1-(2,3): 2 + 7 + 3 + 3 blocks x 4 steps = 60.
    Bids: two pairs, both ends, two steps = 8."""
    assert next(start(tiny3, Scenario.TG, NetworkAgreement.DSO)).scalars == (48, 8)
    assert next(start(tiny3, Scenario.TG, NetworkAgreement.NEIGHBOURS)).scalars == (60, 8)
    assert next(start(tiny3, Scenario.T, NetworkAgreement.DSO)).scalars == (0, 8)


def test_residuals_areTheSumOfAllNodes(tiny3: CommunityDay) -> None:
    iterate = next(islice(start(tiny3, Scenario.TG, NetworkAgreement.DSO), 2, 3))
    parts = np.array([agent.residuals.as_tuple() for agent in iterate.agents.values()])
    assert iterate.residuals.as_tuple() == tuple(parts.sum(axis=0))


def test_closing_saysWhatWasSubmitted(tiny3: CommunityDay) -> None:
    """Sums are what nodes submitted, residuals those of the iteration before, and node 0 heard the others first."""
    assembly = Assembly.of_views(node_views(tiny3, Scenario.TG, NetworkAgreement.DSO))
    before = (0, 0, 0, 0)
    for iterate in islice(start(tiny3, Scenario.TG, NetworkAgreement.DSO), 5):
        now = iterate.closing
        wishes, answers = running_of(assembly, iterate), iterate.submissions[0].copies
        for block, answer in zip(assembly.blocks(0), answers, strict=True):
            assert now.sums[block].tolist() == (wishes[block] + answer).tolist()
        assert now.residuals == before
        assert now.present == assembly.nodes
        assert {k: bids.tolist() for k, bids in now.bids.items()} == {
            k: said.bids.tolist() for k, said in iterate.submissions.items()
        }
        before = iterate.residuals.as_tuple()


@pytest.mark.parametrize(
    ("scenario", "agreement"), [(Scenario.T, NetworkAgreement.DSO), *((Scenario.TG, a) for a in BOTH)]
)
def test_relaxation_followsThePublicResiduals(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement
) -> None:
    """Alpha is the same at all nodes: of the network and of the trades, by the residuals in the newest closing."""
    used = set()
    for iterate in islice(start(tiny3, scenario, agreement), 25):
        closing, (copies, bids) = iterate.closing, iterate.scalars
        expected = (
            relaxation_at(iterate.iteration + 1, closing.residuals[0], copies),
            relaxation_at(iterate.iteration + 1, closing.residuals[2], bids, of_new_trades=True),
        )
        assert {agent._relaxation for agent in iterate.agents.values()} == {expected}
        used.add(expected[1])
    assert used == {1.0, OVER_RELAXATION, EARLY_OVER_RELAXATION}


def test_negotiation_repeats(tiny3: CommunityDay) -> None:
    """Twice the same numbers, to the last bit: nothing depends on time, threads or hashes."""
    first, second = (
        next(islice(start(tiny3, Scenario.TG, NetworkAgreement.DSO), 6, 7)).agents[3].solution for _ in range(2)
    )
    assert first is not None
    assert second is not None
    for name, values in first.schedule.items():
        assert values.tolist() == second.schedule[name].tolist()
