"""VirtualAggregator: one submission."""

import brownie
import pytest
from brownie import web3
from helpers import STAR, low, pack_residuals, plain


def test_submit_isCountedAndPassedOn(star):
    bids = bytes(range(200))
    tx = star.submit(1, residuals=[4, 3, 2, 1], bids=bids)
    assert dict(tx.events["Submitted"]) == {
        "round": 1,
        "iteration": 1,
        "node": 1,
        "residuals": pack_residuals([4, 3, 2, 1]),
        "bids": "0x" + bids.hex(),
    }
    assert star.aggregator.bidsHash(1, 1) == "0x" + web3.keccak(bids).hex().removeprefix("0x")
    assert star.aggregator.bidsHash(1, 2) == "0x" + "0" * 64
    assert plain(star.aggregator.coupling(1)) == (0, 0, (0, 0, 0, 0))
    star.check()


def test_submit_lastClosesTheIteration(star):
    """VA3"""
    for node in (4, 3, 0, 1):
        assert "IterationClosed" not in star.submit(node).events
    tx = star.submit(2)
    assert dict(tx.events["IterationClosed"]) == {
        "round": 1,
        "iteration": 1,
        "present": 0b11111,
        "residuals": 0,
    }
    assert tx.events["IterationOpened"]["iteration"] == 2
    assert list(tx.events.keys()) == ["Submitted", "IterationClosed", "IterationOpened"]
    star.check()


def everything(community, node):
    """What a submission of the node might change."""
    aggregator = community.aggregator
    sums = [plain(aggregator.coupling(i)) for i in community.tree]
    return plain(aggregator.progress()), sums, aggregator.bidsHash(1, node)


def refused(community, node, error, **changes):
    """The submission reverts with the error and changes nothing (VA6)."""
    before = everything(community, node)
    with brownie.reverts(error):
        community.submit(node, **changes)
    assert everything(community, node) == before


def test_submit_failsIfTwice(star):
    """VA1, VA6"""
    star.submit(1)
    refused(star, 1, "AlreadySubmitted: 1, 1")


def test_submit_failsIfWrongRound(star):
    """VA6"""
    refused(star, 1, "WrongRound: 1, 2", round=2)


def test_submit_failsIfWrongIteration(star):
    """VA3, VA6: neither an iteration that is closed nor one that is not open yet."""
    star.iterate()
    refused(star, 1, "WrongIteration: 2, 1", iteration=1)
    refused(star, 1, "WrongIteration: 2, 3", iteration=3)


def test_submit_failsIfDeclaring(community):
    made = community(STAR)
    made.open()
    made.declare(1)
    with brownie.reverts("WrongPhase: 1"):
        made.submit(1)


def test_submit_failsIfNotEnrolled(star, outsider, manager):
    """VA5: neither strangers nor the manager."""
    for account in (outsider, manager):
        with brownie.reverts(f"NotEnrolled: {low(account)}"):
            star.aggregator.submit(1, 1, [0] * 4, b"\0" * 200, 0, {"from": account})


@pytest.mark.parametrize("length", [0, 3, 5])
def test_submit_failsIfCopiesHaveWrongLength(star, length):
    """VA6"""
    refused(star, 1, f"LengthMismatch: 4, {length}", copies=[0] * length)


@pytest.mark.parametrize("length", [0, 199, 202])
def test_submit_failsIfBidsHaveWrongLength(star, length):
    """VA6"""
    refused(star, 1, f"LengthMismatch: 200, {length}", bids=b"\1" * length)


@pytest.mark.parametrize("bit", [20, 20 + 21, 20 + 11 * 21, 252, 255])
@pytest.mark.parametrize("word", [0, 3])
def test_submit_failsIfAPowerLaneOverflows(star, bit, word):
    """VA6"""
    copies = [0] * 4
    copies[word] = 1 << bit
    refused(star, 1, f"LaneOverflow: {word}, {1 << bit}", copies=copies)


@pytest.mark.parametrize("bit", [16, 20, 16 + 21, 20 + 11 * 21, 252, 255])
@pytest.mark.parametrize(("node", "word"), [(2, 4), (2, 15), (3, 5)])
def test_submit_failsIfAVoltageLaneOverflows(feeder, bit, node, word):
    """VA6. Node 2 holds P, Q, V of itself, P, Q of 3 and 4, V of 1: words 4-5 and 14-15 are voltages."""
    copies = [0] * feeder.aggregator.copiesLength(node)
    copies[word] = 1 << bit
    refused(feeder, node, f"LaneOverflow: {word}, {1 << bit}", copies=copies)


@pytest.mark.parametrize("bit", [56, 63, 120, 184, 248, 255])
def test_submit_failsIfAResidualOverflows(star, bit):
    """VA6"""
    star.iterate()
    refused(star, 1, f"ResidualOverflow: {1 << bit}", residuals=[0, 0, 0, 1 << bit])


def test_submit_ignoresResidualsInTheFirstIteration(star):
    for node in star.tree:
        star.submit(node, residuals=[1 << 63] * 4)
    assert star.aggregator.residuals() == 0
    star.check()
