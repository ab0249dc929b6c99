"""The campaign of adversaries in the sealed form, small: what one says of all its partners together, and what two say
of each other, leaves no trace."""

from __future__ import annotations

import pytest

from gridpact.problem.scenario import NetworkAgreement, Scenario
from measure.adversaries import AdversaryTally, play
from measure.adversaries_sealed import ANSWERS, SEALING, SealedPlay, alone, leagues
from measure.adverse_round import Play
from measure.malice import LEAGUE, NO_REACH, Malice

STAR = NetworkAgreement.DSO
SAME = "claims the same as its partner"
COVERED = "other sums, covered by a partner"
PLAN = "by a plan with its partner"


def test_kinds_haveBothForms_andThisOne() -> None:
    kinds = {kind for malice in (*alone(), *leagues()) for kind in malice.kinds}
    assert kinds >= {*SEALING, *LEAGUE, *list(ANSWERS)[1:], "silent", "claims one more", "root of its own"}


@pytest.mark.parametrize(
    ("scenario", "who"),
    [
        (Scenario.G, {3: Malice("misses one", claims="claims anything")}),
        (Scenario.TG, {3: Malice("random copies and bids", sealing="declares no key")}),
        (Scenario.TG, {2: Malice(sealing="accuses everybody"), 3: Malice(sealing="asks everybody")}),
        (Scenario.T, dict.fromkeys((2, 3), Malice("drags on with a partner"))),
        (Scenario.T, dict.fromkeys((1, 2), Malice(sealing=SAME, answers="answers that put it on a partner"))),
        (Scenario.T, dict.fromkeys((2, 3), Malice(sealing=COVERED))),
        (Scenario.T, dict.fromkeys((2, 3), Malice(sealing=PLAN))),
    ],
    ids=str,
)
def test_others_endWhereTheyWouldHave(scenario: Scenario, who: dict[int, Malice]) -> None:
    """At the cost of an open round without them, to 0.1 %, without an error or a false verdict."""
    tally = AdversaryTally()
    play(tally, "tiny3", scenario, STAR, who, 7, SealedPlay)
    assert tally.problems == []
    assert tally.finished == 1
    assert tally.moved[0] <= 1e-3


def test_twoThatClaimTheSame_areOut_whenBidsReachNothing() -> None:
    """Nothing public contradicts them, and nobody else sees what is between the two; but where bids can be nothing but
    what was agreed, there is nothing to claim."""
    ending = SealedPlay("tiny3", Scenario.T, STAR, dict.fromkeys((1, 2), Malice(sealing=SAME)), 7).run()
    assert ending.out == {1, 2}
    assert ending.accusable == frozenset()
    assert ending.iterations <= 160  # two fifths of mu


@pytest.mark.parametrize("answers", ANSWERS)
def test_twoThatClaimInTurn_doNotUseUpTheRound(answers: str) -> None:
    """Where neither claims of an iteration and of the sixth after it, and neither proves what the other answers."""
    who = dict.fromkeys((1, 2), Malice(sealing="claims in turn with its partner", answers=answers))
    ending = SealedPlay("tiny3", Scenario.T, STAR, who, 7).run()
    assert ending.out
    assert ending.accusable == frozenset()
    assert ending.iterations <= 300  # of 400; who is out gives the others their reach anew


def test_whoGoesBeyondAReachOfZero_takesNoHonestPartnerWithIt() -> None:
    """2 and 3 keep the round from ending; then 2 bids anything, so that 1 has residuals, too, and proves it."""
    who = {2: Malice("beyond reach where there is none", sealing=SAME), 3: Malice(sealing=SAME)}
    ending = SealedPlay("tiny3", Scenario.T, STAR, who, 7).run()
    assert 2 in ending.out
    assert ending.failures == ()
    assert ending.accusable == frozenset()
    assert NO_REACH < ending.iterations <= 160


def test_twoThatTakeBackATradeByLittle_doNotUseUpTheRound() -> None:
    """In the open form: within their reach, and without a lie, until it is zero."""
    ending = Play("tiny3", Scenario.T, STAR, dict.fromkeys((2, 3), Malice("drags on with a partner")), 1).run()
    assert 0 < ending.iterations <= 160
    assert ending.accusable == frozenset()
