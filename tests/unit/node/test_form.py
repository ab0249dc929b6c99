"""Sealed rounds on the twin of the chain: the same integers as in the open form, and nothing to read for others."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gridpact.chain.values import Phase
from gridpact.community.model import GRID_CONNECTION, CommunityDay
from gridpact.errors import InputError
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.node.audit import audit_round
from gridpact.node.report import NodeReport
from gridpact.node.twin_ledger import TwinLedger
from gridpact.problem.scenario import NetworkAgreement, Scenario
from unit.node.rounds import PHASE_SECONDS, Crash, Played
from unit.node.test_twin import COARSE


def both(day: CommunityDay, scenario: Scenario, **how: object) -> list[tuple[Played, dict[int, NodeReport]]]:
    """The same round in both forms."""
    rounds = []
    for sealed in (False, True):
        played = Played(day, scenario, sealed=sealed, tolerances=COARSE if how else None)
        rounds.append((played, played.play(**how)))  # type: ignore[arg-type]
    return rounds


def assert_same(rounds: list[tuple[Played, dict[int, NodeReport]]]) -> None:
    (open_, reports), (sealed, of_sealed) = rounds
    assert sealed.outcome.phase is Phase.CONVERGED
    assert [(c.present, c.residuals) for c in sealed.closed] == [(c.present, c.residuals) for c in open_.closed]
    for node, report in reports.items():
        assert of_sealed[node].schedule == report.schedule
        assert of_sealed[node].statements == report.statements
    assert sealed.twin.recorded(sealed.number) == open_.twin.recorded(open_.number)


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.G, Scenario.TG])
def test_sealedRound_isTheOpenOne(tiny3: CommunityDay, scenario: Scenario) -> None:
    assert_same(both(tiny3, scenario))


@pytest.mark.parametrize("node", [0, 3])
def test_restartedNode_replaysASealedRound(tiny3: CommunityDay, node: int) -> None:
    """It has its key again, and opens what it said itself."""

    def crashes(played: Played, iteration: int) -> None:
        if iteration == 4 and played.lives < 6:
            raise Crash

    assert_same(both(tiny3, Scenario.TG, troubles={node: crashes}))


def test_silentNode_leavesTheNetworkAsInTheOpenForm(tiny3: CommunityDay) -> None:
    """In G there is no pool. With trades the pool of an iteration in which somebody is missing cannot be read, and its
    price stays: the others agree all the same."""

    def falls_silent(played: Played, iteration: int) -> None:
        if iteration == 3:
            played.turns.sleep(10 * PHASE_SECONDS)

    assert_same(both(tiny3, Scenario.G, troubles={2: falls_silent}))
    (_, (sealed, reports)) = both(tiny3, Scenario.TG, troubles={2: falls_silent})
    assert sealed.outcome.phase is Phase.CONVERGED
    assert [reports[node].agreed for node in (1, 2, 3)] == [True, False, True]
    recorded = sealed.twin.recorded(sealed.number)
    assert all(2 not in pair for pair in recorded)


def test_neighbours_cannotBeSealed(tiny3: CommunityDay) -> None:
    """And that is said before anything is declared."""
    with pytest.raises(InputError, match=r"between neighbours.* take contracts for open rounds"):
        Played(tiny3, Scenario.TG, NetworkAgreement.NEIGHBOURS, sealed=True).play()


def test_falseResidualsOfTheOperator_areSeenByEverybody(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    """It claims a unit more than the households together; nobody else is blamed, and an honest one is not."""
    take_in = Agent.take_in

    def false_take_in(self: Agent, now: Closing, copies: Integers | None) -> None:
        take_in(self, now, copies)
        if self.view.node == GRID_CONNECTION and now.iteration == 3:
            self.residuals = replace(self.residuals, primal_grid=self.residuals.primal_grid + 1)

    for agree, accused in ((take_in, []), (false_take_in, ["node 0"])):
        monkeypatch.setattr(Agent, "take_in", agree)
        played = Played(tiny3, Scenario.TG, sealed=True)
        played.play()
        audit = audit_round(TwinLedger(played.twin, 1), played.number)
        assert audit.sealed
        assert not audit.contract_errors
        assert [claim.split(" claims ")[0] for claim in audit.false_claims] == accused
