"""Adversaries against nodes on Anvil: a small part of `make adversaries`."""

from __future__ import annotations

import pytest

from gridpact.problem.scenario import Scenario
from measure.adversaries_on_chain import KINDS, MESSAGES, STATEMENTS, campaign, plan

HOUR = 3600  # nobody is silent: a busy machine is no fault


def test_plan_playsEveryKind() -> None:
    assert len(KINDS) >= 16
    assert {kind for _, kinds in plan(len(KINDS), 1) for kind in kinds} == set(KINDS)
    assert {scenario for scenario, _ in plan(len(KINDS), 1)} == {Scenario.T, Scenario.TG}


@pytest.mark.usefixtures("anvil")
def test_forgedRelays_falseAccusations_andOtherStatements_changeNothing() -> None:
    """What a home says for others, of others, and other than it agreed to: the others agree, and nobody loses money."""
    kinds = ("relays forged signatures", "states nothing")
    assert set(kinds) <= MESSAGES.keys() | STATEMENTS.keys()
    tally = campaign([(Scenario.TG, kinds), (Scenario.TG, ("accuses the honest",))], seed=1, phase_seconds=HOUR)
    assert tally.problems == []
    assert tally.rounds_converged == tally.rounds == 2
    assert tally.honest_lost == tally.money_lost == 0
    assert tally.vouched  # what was agreed is recorded although one states nothing
    assert max(tally.moved) <= 1e-3
