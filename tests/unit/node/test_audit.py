"""Claims checked from what is public: honest nodes are left alone, and no single unit gets by."""

from __future__ import annotations

from itertools import islice

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.memory import Absence, Iterate
from gridpact.node.audit import Claim, false_claims
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from unit.market.admm.helpers import NOBODY, start

DSO, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS
FORMS = [(Scenario.T, DSO), (Scenario.TG, DSO), (Scenario.G, DSO), (Scenario.TG, NEIGHBOURS)]


def claims_of(iterate: Iterate) -> dict[int, Claim]:
    return {node: agent.residuals.as_tuple() for node, agent in iterate.agents.items()}


def copies_of(iterate: Iterate) -> dict[int, np.ndarray]:
    return {node: submission.copies for node, submission in iterate.submissions.items()}


def round_of(
    day: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, absent: Absence, iterations: int
) -> tuple[Assembly, list[tuple[dict[int, Claim], Iterate, Iterate | None]]]:
    """Of each iteration what all claim about it, itself, and the one before."""
    found: list[tuple[dict[int, Claim], Iterate, Iterate | None]] = []
    before = None
    for iterate in islice(start(day, scenario, agreement, absent), iterations):
        found.append((claims_of(iterate), iterate, before))
        before = iterate
    return Assembly.of_views(node_views(day, scenario, agreement)), found


def check(
    assembly: Assembly, claims: dict[int, Claim], now: Iterate, before: Iterate | None, copies: dict[int, np.ndarray]
) -> dict[int, str]:
    return false_claims(assembly, claims, now.closing, before.closing if before else None, copies)


@pytest.mark.parametrize(
    "absent",
    [
        lambda k: NOBODY,
        lambda k: frozenset({2}) if k in (1, 5) else NOBODY,
        lambda k: frozenset({3}) if k >= 4 else NOBODY,
    ],
    ids=["all are there", "2 misses two", "3 leaves"],
)
@pytest.mark.parametrize(("scenario", "agreement"), FORMS)
def test_honestRounds_haveNone(
    tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement, absent: Absence
) -> None:
    """With the copies of all, of one, or of none."""
    assembly, iterations = round_of(tiny3, scenario, agreement, absent, 9)
    for claims, now, before in iterations:
        copies = copies_of(now)
        for known in ({}, copies, {node: copies[node] for node in list(copies)[:1]}):
            assert check(assembly, claims, now, before, known) == {}


@pytest.mark.parametrize("agreement", [DSO, NEIGHBOURS])
def test_oneUnit_isFound(tiny3: CommunityDay, agreement: NetworkAgreement) -> None:
    """Each of the four residuals of each node, one more or one less; the liar is named, and nobody else."""
    assembly, iterations = round_of(tiny3, Scenario.TG, agreement, lambda k: frozenset({2}) if k == 3 else NOBODY, 5)
    for claims, now, before in iterations:
        for node, honest in claims.items():
            for k in range(4):
                for unit in (-1, 1):
                    lie = tuple(value + unit * (at == k) for at, value in enumerate(honest))
                    told = claims | {node: lie}
                    found = check(assembly, told, now, before, copies_of(now))
                    assert set(found) == {node}
                    what, true = ("trades", honest[2:]) if k > 1 else ("the grid", honest[:2])
                    claimed = lie[2:] if k > 1 else lie[:2]
                    expected = f"residuals of {what} {claimed} in iteration {now.iteration}, true are {true}"
                    assert found[node] == f"claims {expected}"
                    # Without copies only the trades can be checked; of an absent node, which has none, all.
                    found = check(assembly, told, now, before, {})
                    seen = k > 1 or node not in now.closing.present
                    assert set(found) == ({node} if seen else set())


def test_severalLiars_areAllFound(tiny3: CommunityDay) -> None:
    assembly, iterations = round_of(tiny3, Scenario.TG, DSO, lambda k: NOBODY, 3)
    claims, now, before = iterations[-1]
    lies = {1: (0, 0, *claims[1][2:]), 3: (*claims[3][:2], 0, claims[3][3] + 7)}
    assert claims[1][:2] != (0, 0)
    assert set(check(assembly, claims | lies, now, before, copies_of(now))) == {1, 3}
    assert set(check(assembly, lies, now, before, copies_of(now))) == {1, 3}  # of others nothing is claimed


def test_falseClaim_aboutAnotherIteration(tiny3: CommunityDay) -> None:
    """True residuals of the iteration before are false ones of this."""
    assembly, iterations = round_of(tiny3, Scenario.TG, DSO, lambda k: NOBODY, 4)
    old, (_, now, before) = iterations[-2][0], iterations[-1]
    found = check(assembly, {1: old[1]}, now, before, copies_of(now))
    assert old[1] != now.agents[1].residuals.as_tuple()
    assert set(found) == {1}
