"""The campaign of adversaries, small: absurd numbers and lies leave no trace, whoever says them."""

from __future__ import annotations

import pytest

from gridpact.problem.scenario import NetworkAgreement, Scenario
from measure.adversaries import CLAIMS, DECLARATIONS, SUBMISSIONS, Malice, Play, Tally, play, undisturbed

STAR, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS


def test_kinds_areMany() -> None:
    assert len(SUBMISSIONS) - 1 + len(CLAIMS) - 1 + len(DECLARATIONS) - 1 >= 16


@pytest.mark.parametrize(
    ("scenario", "form", "who"),
    [
        (Scenario.T, STAR, {3: Malice("random copies and bids")}),
        (Scenario.T, STAR, {2: Malice("bids that swing"), 3: Malice("silent after a while")}),
        (Scenario.T, STAR, {1: Malice(claims="claims one more")}),
        (Scenario.T, STAR, {3: Malice(declares="book of other steps")}),
        (Scenario.G, STAR, {3: Malice("copies as high as fits")}),
        (Scenario.G, STAR, {1: Malice("copies that swing"), 2: Malice(claims="claims anything")}),
        (Scenario.G, STAR, {3: Malice(declares="root of its own")}),
        (Scenario.TG, STAR, {3: Malice("random bids to one partner")}),
        (Scenario.TG, STAR, {2: Malice("honest, then random"), 3: Malice("random, then silent")}),
        (Scenario.TG, NEIGHBOURS, {3: Malice("random copies")}),
    ],
    ids=str,
)
def test_others_endWhereTheyWouldHave(scenario: Scenario, form: NetworkAgreement, who: dict[int, Malice]) -> None:
    """At the cost of a round in which the adversaries are silent, to 0.1 %, without an error or a false verdict."""
    tally = Tally()
    play(tally, "tiny3", scenario, form, who, seed=7)
    assert tally.problems == []
    assert tally.finished == 1
    assert tally.moved[0] <= 1e-3


def test_liar_isProvedAndLeavesNoTrace() -> None:
    """Of who jumps about, nothing is left: the plans are those of a round without it, to the last digit of the cost."""
    ending = Play("tiny3", Scenario.TG, STAR, {3: Malice("random bids")}, seed=2).run()
    assert ending.out == {3}
    assert ending.cost == pytest.approx(undisturbed("tiny3", Scenario.TG, STAR, frozenset({3})).cost, rel=1e-6)
