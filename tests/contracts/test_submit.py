"""VirtualAggregator: one submission, sent directly, and what it is refused for."""

import pytest
from helpers import LARGE, NONE, STAR, low, pack_residuals
from link import refused
from reference.aggregator_model import MAX_NODES


def test_submit_isPassedOn(star):
    """VA2"""
    bids = bytes(range(100))
    tx = star.submit(1, residuals=[4, 3, 2, 1], bids=bids)
    assert tx.names == ["Submitted"]
    assert tx.one("Submitted").values == {
        "round": 1,
        "iteration": 1,
        "node": 1,
        "residuals": pack_residuals([4, 3, 2, 1]),
        "commitment": star.model.now.commitments[1],
        "bids": bids,
    }
    star.check()


def test_submit_lastClosesTheIteration(star):
    """VA2, VA3"""
    for node in (4, 3, 0, 1):
        assert star.submit(node).names == ["Submitted"]
    tx = star.submit(2)
    closed = star.model.now.closed[0]
    assert tx.one("IterationClosed").values == {
        "round": 1,
        "iteration": 1,
        "present": 0b11111,
        "residuals": 0,
        "head": closed.head,
        "sums": closed.words,
    }
    assert tx.one("IterationOpened")["iteration"] == 2
    assert tx.names == ["Submitted", "IterationClosed", "IterationOpened"]
    star.check()


def everything(community):
    """What a call might change."""
    return [community.view(name) for name in ("progress", "roster", "scalars", "head")] + [
        community.view(name, *arguments)
        for node in community.tree
        for name, arguments in (("running", [node]), ("commitment", [1, node]), ("declaration", [node]))
    ]


def rejected(community, node, error, **changes):
    """The submission is refused with the error and changes nothing (VA6)."""
    before = everything(community)
    with refused(error):
        community.submit(node, **changes)
    assert everything(community) == before


def test_submit_failsIfTwice(star):
    """VA1, VA6"""
    star.submit(1)
    rejected(star, 1, "AlreadySubmitted: 1, 1")


@pytest.mark.parametrize("round_", [0, 2])
def test_submit_failsIfWrongRound(star, round_):
    """VA6"""
    rejected(star, 1, f"WrongRound: 1, {round_}", round_=round_)


def test_submit_failsIfWrongIteration(star):
    """VA3, VA6: neither an iteration that is closed nor one that is not open yet."""
    star.iterate()
    rejected(star, 1, "WrongIteration: 2, 1", iteration=1)
    rejected(star, 1, "WrongIteration: 2, 3", iteration=3)


def test_submit_failsIfItBuildsOnAnotherHistory(star):
    """A submission that was made before a re-organisation does not count after it."""
    rejected(star, 1, "WrongHistory: 0, 7", history=7)
    star.iterate()
    history = int.from_bytes(star.model.now.head[-2:], "big")
    assert star.view("progress")[6] == history
    rejected(star, 1, f"WrongHistory: {history}, {history ^ 1}", history=history ^ 1)
    rejected(star, 1, f"WrongHistory: {history}, 0", history=0)


def test_submit_failsIfDeclaring(community):
    made = community(STAR)
    made.open()
    made.declare(1)
    with refused("WrongPhase: 1"):
        made.send(made.accounts[1], "submit", 1, 0, 0, [], b"", 0)


def test_submit_failsIfNotEnrolled(star, outsider, manager):
    """VA5: neither strangers nor the manager."""
    for account in (outsider, manager):
        with refused(f"NotEnrolled: {low(account)}"):
            star.send(account, "submit", 1, 1, 0, [0] * 4, b"\0" * 200, 0)


@pytest.mark.parametrize("length", [0, 3, 5])
def test_submit_failsIfCopiesHaveWrongLength(star, length):
    """VA6"""
    rejected(star, 1, f"LengthMismatch: 4, {length}", words=(0,) * length)


@pytest.mark.parametrize("length", [0, 99, 102])
def test_submit_failsIfBidsHaveWrongLength(star, length):
    """VA6"""
    rejected(star, 1, f"LengthMismatch: 100, {length}", bids=b"\1" * length)


@pytest.mark.parametrize("bit", [20, 20 + 21, 20 + 11 * 21, 252, 255])
@pytest.mark.parametrize("word", [0, 3])
def test_submit_failsIfAPowerLaneOverflows(star, bit, word):
    """VA6"""
    words = [0] * 4
    words[word] = 1 << bit
    rejected(star, 1, f"LaneOverflow: {word}, {1 << bit}", words=words)


@pytest.mark.parametrize("bit", [16, 20, 16 + 21, 20 + 11 * 21, 252, 255])
@pytest.mark.parametrize(("node", "word"), [(1, 4), (2, 4), (2, 15), (3, 5)])
def test_submit_failsIfAVoltageLaneOverflows(feeder, bit, node, word):
    """VA6. Node 2 holds P, Q, V of itself, P, Q of 3 and 4, V of 1: words 4-5 and 14-15 are voltages."""
    words = [0] * feeder.view("copiesLength", node)
    words[word] = 1 << bit
    rejected(feeder, node, f"LaneOverflow: {word}, {1 << bit}", words=words)


@pytest.mark.parametrize("bit", [56, 63, 120, 184, 248, 255])
def test_submit_failsIfAResidualOverflows(star, bit):
    """VA6"""
    star.iterate()
    rejected(star, 1, f"ResidualOverflow: {1 << bit}", residuals=[0, 0, 0, 1 << bit])


def test_submit_ignoresResidualsInTheFirstIteration(star):
    """They are about nothing; the commitment holds them as they came."""
    for node in star.tree:
        tx = star.submit(node, residuals=[1 << 63] * 4)
    assert tx.one("IterationClosed")["residuals"] == 0
    star.check()
    tx = star.iterate(LARGE)
    assert tx.one("IterationClosed")["residuals"] == 5 * pack_residuals(LARGE)
    star.check()


def test_submit_countsAfterTheDeadline(star, chain):
    chain.sleep(10**6)
    star.iterate()
    assert star.view("progress")[:3] == (1, 2, 2)
    star.check()


@pytest.mark.parametrize("seed", range(3))
def test_submit_packsAsPythonDoes(community, seed):
    """VA2: every width of a block, all numbers at random or at the ends of their range."""
    for steps in (1, 11, 12, 13, 24, 192):
        made = community(STAR, steps=steps, seed=seed * 100 + steps)
        made.start()
        for node in made.random.sample(sorted(STAR), len(STAR)):
            tx = made.submit(node, NONE)
            made.check()
        assert tx.one("IterationClosed")["sums"] == made.model.now.closed[-1].words


def test_running_isWhatHasCome(star):
    """The centre of a star hears the others before it answers."""
    star.iterate()
    for node in (2, 4):
        star.submit(node)
    iteration, present, words = star.view("running", 0)
    assert (iteration, present) == (2, 0b10100)
    parts = star.model.now.open
    assert words[4:8] == parts[2].words
    assert words[12:16] == parts[4].words
    assert star.view("running", 1)[:2] == (2, 0b10100)
    assert star.view("running", MAX_NODES - 1) == (2, 0b10100, ())
