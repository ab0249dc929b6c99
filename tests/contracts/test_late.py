"""Where a round is so old that the reach of bids is zero: a bid is what was agreed, and no less; and in a sealed round
nobody claims residuals of trades again and again. RF1 and RF2 of IReferee."""

from dataclasses import replace

import pytest
from accusing import GUILTY, LATE, Court, SealedEvidence, aged_evidence, book, not_proved
from helpers import LARGE
from link import Link
from reference.aggregator_model import Declared

AGAIN = 6

TRADERS = {
    1: Declared(1, 0, (), 1, book({2: [0]})),
    2: Declared(2, 0, (), 1, book({1: [0]})),
    3: Declared(3, 0, (), 0),
}
NO_REACH = 116
"""The first iteration whose bids reach nothing: of age 114, as it can be proved where one may be missed. 2^14 / 114
halved eight times, once every three iterations from an age of 90 on, is below one; an iteration earlier it is one."""
LAST = NO_REACH + 9
BIDS = {1: 10, 2: -10, 3: 0}


def late(said, node):
    shown = replace(said, copies=(), bids=b"", bids_before=b"", partners=())
    return SealedEvidence(shown, other=node, charge=LATE)


@pytest.fixture(scope="module")
def courts(community, referee, SealedReferee, manager):
    """The open referee and the sealed one, before a round in which 1 sells to 2, who takes less in the last iteration
    with any reach, and in the last of all. 1 claims residuals of one iteration, 2 of none, and 3 of all, which keeps
    the round from ending."""
    made = community(TRADERS, mu=200, steps=1, max_misses=1, milliwatt=500)
    made.start()
    judged = Court(Link(referee), made)
    bids = dict(BIDS)
    for iteration in range(1, LAST + 2):
        if iteration in (NO_REACH - 1, LAST):
            bids[2] += 1
        elif iteration == NO_REACH:
            bids[1] -= 1  # (10 + 9) / 2, towards zero
        claims = {1: judged.honest(1), 2: judged.honest(2), 3: LARGE}
        if iteration == NO_REACH + 2:
            claims[1] = (0, 0, 0, 1)
        for node in sorted(TRADERS):
            said = bids[node].to_bytes(2, "big", signed=True) if TRADERS[node].bids else b""
            made.submit(node, claims[node], words=(), bids=said)
    return judged, Court(Link(manager.deploy(SealedReferee)), made)


def test_bidThatIsLess_isBeyondAReachOfZero(courts):
    judged, _ = courts
    now = judged.made.model.now
    for iteration, verdict in ((NO_REACH - 1, not_proved("residuals")), (LAST, GUILTY)):
        assert judged.verdict(2, aged_evidence(now, 2, iteration)) == verdict
        assert judged.verdict(1, aged_evidence(now, 1, iteration)) == not_proved("residuals")


def test_claimsWhereThereCanBeNone_areProved(courts):
    _, judged = courts
    now = judged.made.model.now

    def verdict(node, iteration):
        return judged.verdict(node, late(aged_evidence(now, node, iteration), node))

    first = NO_REACH + 1
    assert verdict(1, first) == verdict(3, first) == GUILTY
    assert verdict(3, NO_REACH) == not_proved("residuals")  # bids of the iteration before had a reach
    assert verdict(2, first) == not_proved("residuals")  # claims nothing
    assert verdict(1, first + 1) == not_proved("residuals")  # nothing of this one
    assert verdict(3, LAST - AGAIN + 2) == not_proved("presence")  # not closed yet
    assert verdict(3, 1) == not_proved("presence")  # follows no other
    young = aged_evidence(now, 3, first)
    shown = replace(young, head_before=now.closed[1].previous, closed=young.closed[1:])
    assert judged.verdict(3, late(shown, 3)) == not_proved("residuals")  # does not show the age


def test_whoWasNotThere_isNotAccusedOfClaimingAgain(community, manager, SealedReferee):
    made = community(TRADERS, steps=1, max_misses=2)
    made.start()
    for iteration in range(1, AGAIN + 4):
        for node in sorted(TRADERS):
            if (node, iteration) != (3, 2):
                made.submit(node)
        if iteration == 2:
            made.close(manager)
    judged = Court(Link(manager.deploy(SealedReferee)), made)
    assert judged.verdict(3, late(aged_evidence(made.model.now, 3, 2), 3)) == not_proved("presence")
