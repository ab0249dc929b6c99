"""Rounds of two products that are open at the same time: each goes its own way, as the model of it alone does."""

from __future__ import annotations

import random

import pytest
from helpers import FEEDER, LARGE, NONE, PHASE_SECONDS, STAR, Community, low, overdue, plain, setting, theta
from link import Link, refused
from reference.aggregator_model import Declared, bitmap

REST = 7  # a product beside 0
WIDE = {**STAR, 0: Declared(0, 0, (1, 2, 3, 4, 5), 0), 5: Declared(0, 1, (), 3)}  # of the nodes of FEEDER


@pytest.fixture
def both(community):
    """Tomorrow's day around the operator, and the rest of today between neighbours, declared by turns."""
    day = community(WIDE, mu=12)
    rest = Community(day.aggregator, FEEDER, day.accounts, seed=2, product=REST)
    day.open()
    rest.open()
    for node in FEEDER:
        rest.declare(node)
        day.declare(node)
    return day, rest


def test_rounds_ofTwoProducts_goOnByTurns(both, outsider):
    """VA1, VA2, VA3: interleaved submissions, direct and relayed, a silent node in each; all that can be read of either
    is what the model of it alone says, and neither knows of the other's deadlines, misses and exclusions."""
    day, rest = both
    chance = random.Random(5)
    silent = {day: 3, rest: 4}
    turns = 0
    while any(one.model.now.running for one in both):
        one = chance.choice([one for one in both if one.model.now.running])
        now = one.model.now
        # Until it is out, the silent node lets every other iteration of its round be closed without it.
        missing = {silent[one]} if now.iteration % 2 else set()
        left = sorted(now.active - set(now.open) - missing)
        content = NONE if now.iteration > 6 else LARGE
        if not left:
            one.close(outsider)
        elif chance.random() < 0.2:
            one.relay([one.part(node, content) for node in left], outsider)
        else:
            one.submit(chance.choice(left), content)
        turns += 1
        if turns % 5 == 0:
            day.check()
            rest.check()
    day.check()
    rest.check()
    assert day.model.now.number == 1
    assert rest.model.now.number == (REST << 24) + 1
    for one in both:
        assert silent[one] in one.model.now.out
        assert one.model.outcome(one.model.now.number)[0] == 3  # both have converged
        day_ = one.model.now.day
        assert one.view("agreedIn", day_) == one.model.now.number


def test_calls_areOfTheProductThatTheRoundSays(both):
    day, rest = both
    other = (REST + 1 << 24) + 1
    with refused(f"WrongRound: 0, {other}"):
        day.send(day.accounts[1], "abstain", other)
    history = day.model.now.head[-2:]
    part = rest.part(1)
    assert [rest.view("copiesLength", node) for node in FEEDER] == [len(rest.part(node).words) for node in FEEDER]
    with refused(f"LengthMismatch: {2 * day.model.width}, {len(part.words)}"):  # in the star, node 1 holds less
        day.send(day.accounts[1], "submit", 1, 1, int.from_bytes(history, "big"), part.words, part.bids, 0)
    with refused(f"WrongRound: {(REST << 24) + 1}, {(REST << 24) + 2}"):
        rest.submit(1, round_=(REST << 24) + 2)
    rest.submit(1)
    with refused("AlreadySubmitted: 1, 1"):
        rest.submit(1)
    day.submit(1)  # in the other round it has not
    day.check()
    rest.check()


def test_signatures_holdForOneProduct(community, outsider):
    """VA7: what was signed for a round of one product is worth nothing in the other, be all else the same."""
    day = community(WIDE)
    rest = Community(day.aggregator, WIDE, day.accounts, product=REST)
    for one in (day, rest):
        one.start()
    part = day.part(5)
    tx = day.send(outsider, "relay", 1, 1, [rest.sign(part)])
    (skipped,) = tx.all("Skipped")
    assert skipped["reason"] == day.link.error_data("WrongSignature", 5)
    day.relay([part], outsider)
    rest.relay([part], outsider)
    day.check()
    rest.check()


def test_enrolment_isFixedWhileAnyProductRuns(both, manager, outsider):
    """VA5"""
    day, rest = both
    for left in (2, 1):
        for call in (("enrol", [9], [str(outsider)]), ("expel", [1])):
            with refused(f"RoundsRun: {left}"):
                day.send(manager, *call)
        if left == 2:
            while day.model.now.running:
                day.close(outsider)
    while rest.model.now.running:
        rest.close(outsider)
    day.send(manager, "expel", [1])
    assert day.view("enrolled") == bitmap(set(WIDE) - {1})
    # Who was who in the rounds before stays known, in both.
    for one in both:
        number = one.model.now.number
        assert low(one.view("accountIn", number, 1)) == low(day.accounts[1])
        assert one.view("nodeIn", number, str(day.accounts[1])) == 1


def test_aNodeThatIsEnrolledLater_wasInNoRoundBefore(both, manager, outsider):
    day, _ = both
    for one in both:
        while one.model.now.running:
            one.close(outsider)
    day.send(manager, "expel", [5])
    day.send(manager, "enrol", [5], [str(outsider)])
    for one in both:
        number = one.model.now.number
        assert low(one.view("accountIn", number, 5)) == low(day.accounts[5])
        with refused(f"NotEnrolled: {low(outsider)}"):
            one.view("nodeIn", number, str(outsider))
    new = int(day.send(manager, "openRoundOf", REST, 20260801, 0).one("RoundOpened")["round"])
    assert new == (REST << 24) + 2
    day.send(outsider, "abstain", new)
    assert low(day.view("accountIn", new, 5)) == low(outsider)
    assert low(day.view("accountIn", new - 1, 5)) == low(day.accounts[5])


def test_aDay_isAgreedOnceInEachProduct(both, manager):
    """VA13"""
    day, rest = both
    for one in both:
        for _ in range(2):
            one.iterate(NONE)
    label = day.model.now.day
    assert rest.model.now.day == label
    assert (day.view("agreedIn", label), rest.view("agreedIn", label)) == (1, (REST << 24) + 1)
    with refused(f"DayAgreed: {label}, {(REST << 24) + 1}"):
        day.send(manager, "openRoundOf", REST, label, 0)
    with refused(f"DayAgreed: {label}, 1"):
        day.send(manager, "openRound", label)
    with refused(f"DayAgreed: {label}, {(REST << 24) + 1}"):
        day.send(manager, "openRoundOf", REST, label, 1)  # that is the other product's
    tx = day.send(manager, "openRoundOf", REST, label, (REST << 24) + 1)
    assert tx.names == ["RoundOpened", "RoundReplaced"]
    assert (day.view("agreedIn", label), rest.view("agreedIn", label)) == (1, 0)
    with refused("WrongPhase: 1"):
        day.send(manager, "openRoundOf", REST, label + 1, 0)


def test_overdue_isCountedForEachProduct(both, outsider):
    """VA8: a deadline that has passed in one round closes nothing of the other."""
    day, rest = both
    overdue()
    rest.link.send(outsider, "closeOverdueOf", REST)
    rest.model.close_overdue(True)
    with refused(f"DeadlineNotPassed: {plain(rest.view('progress'))[3]}"):
        rest.send(outsider, "closeOverdue")
    assert plain(rest.view("progress"))[3] - plain(day.view("progress"))[3] >= PHASE_SECONDS
    day.send(outsider, "closeOverdue")
    day.model.close_overdue(True)
    day.check()
    rest.check()


def test_manager_only(both, outsider):
    day, _ = both
    with refused(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        day.send(outsider, "openRoundOf", 3, 1, 0)


@pytest.mark.parametrize(
    ("n", "steps", "error"),
    [(65, 96, f"ProductTooLarge: {REST}"), (128, 48, f"ProductTooLarge: {REST}"), (41, 96, "NobodyEnrolled: ")],
)
def test_openRoundOf_refusesWhatNoTransactionCouldCarry(VirtualAggregator, Clerk, referee, manager, n, steps, error):
    """VA12: beyond 320 words of all households nobody could pay for fresh words of another product; up to there it is
    opened, but for want of nodes."""
    link = Link(manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(n), setting(steps), referee)))
    with refused(error):
        link.send(manager, "openRoundOf", REST, 1, 0)
    with refused("NobodyEnrolled: "):
        link.send(manager, "openRoundOf", 0, 1, 0)
