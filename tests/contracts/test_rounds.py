"""VirtualAggregator: sums against the plain model, the end of rounds, and silent nodes."""

import random

import brownie
import pytest
from brownie import web3
from helpers import (
    FEEDER,
    PHASE_SECONDS,
    PHASES,
    STAR,
    TRADERS,
    Community,
    bitmap,
    pack_residuals,
    plain,
    setting,
    theta,
)
from reference.aggregator_model import Declared

LARGE = [1 << 55] * 4  # residuals far beyond any limit


# ---------------------------------------------------------------------- sums


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("steps", [1, 12, 25])
@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
def test_sums_equalTheModel(community, tree, steps, seed):
    """VA1, VA2, VA3: random copies in random order, and compared after each iteration."""
    made = community(tree, steps=steps, seed=seed)
    made.start(made.random.sample(list(tree), len(tree)))
    for _ in range(3):
        made.iterate([made.random.randrange(1 << 56) for _ in range(4)])
        made.check()


def test_sums_holdTheLargestPayloads(feeder):
    """VA2: no lane carries into the next. Residuals as large as they may be, too."""
    for _ in range(3):
        for node in FEEDER:
            feeder.submit(node, residuals=[(1 << 56) - 1] * 4, largest=True)
        feeder.check()


def test_sums_holdTheLargestVoltage(VirtualAggregator, manager, accounts):
    """VA2: 32 holders of one voltage, all at the end of their range."""
    tree = {0: Declared(0, 0, (1,), 0), 1: Declared(0, 1, tuple(range(2, 33)), 0)}
    tree |= {node: Declared(1, 2, (), 0) for node in range(2, 33)}
    people = {}
    for node in tree:
        people[node] = accounts.add()
        accounts[3].transfer(people[node], "1 ether")
    aggregator = manager.deploy(VirtualAggregator, theta(33), setting(12))
    made = Community(aggregator, tree, people)
    made.enrol()
    made.start()
    for node in tree:
        made.submit(node, largest=True)
    made.check()
    assert made.model.coupling(1)["V", 1] == [32 * 65535] * 12


def test_coupling_staysReadableUntilTheNextClose(star):
    """VA7: while all but one have submitted for the next iteration, everybody still reads the last one."""
    star.iterate()
    sums = {node: plain(star.aggregator.coupling(node)) for node in star.tree}
    for iteration in (2, 3):
        for node in (0, 1, 2, 3):
            star.submit(node)
            assert {i: plain(star.aggregator.coupling(i)) for i in star.tree} == sums
            star.check()
        star.submit(4)
        star.check()
        sums = {node: plain(star.aggregator.coupling(node)) for node in star.tree}
        assert sums[1][0] == iteration


def test_coupling_staysReadableWhileTheNextRoundIsDeclared(community):
    """VA7: a manager in a hurry takes the last sums from nobody who has not declared yet."""
    made = community(STAR, mu=1)
    made.start()
    made.iterate()
    sums = {node: plain(made.aggregator.coupling(node)) for node in made.tree}
    made.open()
    assert {node: plain(made.aggregator.coupling(node)) for node in made.tree} == sums
    for node in made.tree:
        made.declare(node)
    assert plain(made.aggregator.coupling(1)) == (0, 0, (0, 0, 0, 0))
    assert made.aggregator.residuals() == 0
    made.iterate()
    made.check()


# ---------------------------------------------------------------------- the four tests


def test_round_converges(star):
    """VA4: the outcome and the last bids stay."""
    star.iterate([0] * 4)  # no iterate came before: not judged
    star.iterate(LARGE)
    tx = star.iterate([0] * 4)
    assert dict(tx.events["RoundEnded"]) == {"round": 1, "phase": 3, "iterations": 3}
    assert list(tx.events.keys()) == ["Submitted", "IterationClosed", "RoundEnded"]
    star.check()
    assert plain(star.aggregator.outcome(1)) == (3, 3, 0b11111)

    hashes = [star.aggregator.bidsHash(1, node) for node in star.tree]
    with brownie.reverts("WrongPhase: 3"):
        star.aggregator.submit(1, 3, [0] * 4, b"\0" * 200, 0, {"from": star.accounts[1]})
    with brownie.reverts("WrongPhase: 3"):
        star.aggregator.closeOverdue({"from": star.accounts[1]})
    star.start()
    star.iterate(LARGE)
    assert plain(star.aggregator.outcome(1)) == (3, 3, 0b11111)
    assert [star.aggregator.bidsHash(1, node) for node in star.tree] == hashes
    assert plain(star.aggregator.outcome(2)) == (0, 0, 0)
    star.check()


@pytest.mark.parametrize("lane", range(4))
@pytest.mark.parametrize("excess", [0, 1])
def test_round_isJudgedByEachResidual(community, lane, excess):
    """The sum of squares may be exactly (eps / 1000)^2 * scalars: eps are 1, 2, 3 and 4 units."""
    made = community(STAR)
    made.start()
    made.iterate(LARGE)
    count = plain(made.aggregator.scalars())[lane // 2]
    limit = (lane + 1) ** 2 * count
    for node in made.tree:
        mine = [0] * 4
        mine[lane] = limit // 5 + (limit % 5 + excess if node == 0 else 0)
        made.submit(node, residuals=mine)
    assert PHASES[plain(made.aggregator.progress())[2]] == ("Iterating" if excess else "Converged")
    expected = [0] * 4
    expected[lane] = limit + excess
    assert made.aggregator.residuals() == pack_residuals(expected)
    made.check()


def test_round_withoutANetworkConverges(traders):
    assert plain(traders.aggregator.scalars()) == (0, 12)
    traders.iterate()
    traders.iterate([0] * 4)
    assert plain(traders.aggregator.outcome(1))[0] == 3
    traders.check()


def test_round_isExhausted(community):
    made = community(STAR, mu=3)
    made.start()
    for _ in range(3):
        tx = made.iterate(LARGE)
    assert dict(tx.events["RoundEnded"]) == {"round": 1, "phase": 4, "iterations": 3}
    assert plain(made.aggregator.outcome(1)) == (4, 3, 0b11111)
    made.check()


def test_round_neverRunsBackwards(community):
    """VA3"""
    made = community(TRADERS, mu=2)
    seen = [plain(made.aggregator.progress())[:3]]

    def look():
        seen.append(plain(made.aggregator.progress())[:3])

    for _ in range(2):
        made.open()
        look()
        for node in made.tree:
            made.declare(node)
            look()
        for _ in range(2):
            for node in made.tree:
                made.submit(node)
                look()
    assert seen == sorted(seen)


# ---------------------------------------------------------------------- silence


def test_closeOverdue_failsBeforeTheDeadline(star, outsider):
    deadline = plain(star.aggregator.progress())[3]
    with brownie.reverts(f"DeadlineNotPassed: {deadline}"):
        star.aggregator.closeOverdue({"from": outsider})


def test_closeOverdue_failsIfNoRoundRuns(community, outsider):
    made = community(STAR)
    with brownie.reverts("WrongPhase: 0"):
        made.aggregator.closeOverdue({"from": outsider})


def test_closeOverdue_abandonsWhileDeclaring(community, outsider, chain):
    made = community(STAR)
    made.open()
    made.declare(1)
    chain.sleep(PHASE_SECONDS + 5)
    tx = made.aggregator.closeOverdue({"from": outsider})
    assert dict(tx.events["RoundEnded"]) == {"round": 1, "phase": 5, "iterations": 0}
    assert plain(made.aggregator.outcome(1)) == (5, 0, 0)
    made.start()
    assert plain(made.aggregator.progress())[:3] == (2, 1, 2)


@pytest.mark.parametrize("tree", [STAR, FEEDER], ids=["star", "feeder"])
@pytest.mark.parametrize("seed", range(4))
def test_closeOverdue_closesWithThosePresent(community, outsider, chain, tree, seed):
    """VA2: copies of the silent are missing; the next iteration goes on from there."""
    made = community(tree, seed=seed)
    made.start()
    made.iterate(LARGE)
    there = made.random.sample(list(tree), made.random.randint(1, len(tree) - 1))
    for node in there:
        made.submit(node, residuals=[0] * 4)
    absent = next(node for node in tree if node not in there)
    bids = made.aggregator.bidsHash(1, absent)
    chain.sleep(PHASE_SECONDS + 5)
    tx = made.aggregator.closeOverdue({"from": outsider})
    made.model.close()
    assert tx.events["IterationClosed"]["present"] == bitmap(there)
    assert tx.events["IterationOpened"]["deadline"] == chain[-1].timestamp + PHASE_SECONDS
    # All residuals are zero, but not all are known: not converged.
    assert plain(made.aggregator.progress())[:3] == (1, 3, 2)
    assert made.aggregator.bidsHash(1, absent) == bids
    made.check()
    made.iterate(LARGE)
    made.check()
    made.iterate([0] * 4)
    made.check()
    assert plain(made.aggregator.outcome(1))[:2] == (3, 4)


def test_closeOverdue_abandonsIfNobodyIsPresent(star, outsider, chain):
    """VA4, VA7: the sums of the last closed iteration stay."""
    star.iterate()
    sums = plain(star.aggregator.coupling(0))
    chain.sleep(PHASE_SECONDS + 5)
    tx = star.aggregator.closeOverdue({"from": outsider})
    star.model.close()
    assert dict(tx.events["RoundEnded"]) == {"round": 1, "phase": 5, "iterations": 1}
    assert plain(star.aggregator.outcome(1)) == (5, 1, 0b11111)
    assert plain(star.aggregator.coupling(0)) == sums
    star.check()


def test_closeOverdue_exhausts(community, outsider, chain):
    made = community(STAR, mu=2)
    made.start()
    made.iterate()
    made.submit(2)
    chain.sleep(PHASE_SECONDS + 5)
    made.aggregator.closeOverdue({"from": outsider})
    made.model.close()
    assert plain(made.aggregator.outcome(1)) == (4, 2, 0b100)
    made.check()


def test_submit_countsAfterTheDeadline(star, chain):
    chain.sleep(PHASE_SECONDS + 5)
    star.iterate()
    assert plain(star.aggregator.progress())[:3] == (1, 2, 2)
    star.check()


def test_outsiders_changeNothing(star, outsider):
    """VA5: whatever they call, with whatever arguments."""
    star.iterate()
    slots = [web3.eth.get_storage_at(star.aggregator.address, slot) for slot in range(300)]
    chance = random.Random(7)
    for _ in range(5):
        words = [chance.getrandbits(250) for _ in range(4)]
        for call in (
            lambda words=words: star.aggregator.submit(1, 2, words, b"\0" * 200, 0, {"from": outsider}),
            lambda: star.aggregator.declare(1, 0, 0, 1, 0, b"", {"from": outsider}),
            lambda: star.aggregator.openRound(1, {"from": outsider}),
            lambda: star.aggregator.enrol([9], [outsider], {"from": outsider}),
            lambda: star.aggregator.expel([1], {"from": outsider}),
            lambda: star.aggregator.closeOverdue({"from": outsider}),
            lambda: star.aggregator.transferOwnership(outsider, {"from": outsider}),
            lambda: star.aggregator.acceptOwnership({"from": outsider}),
        ):
            with brownie.reverts():
                call()
    assert [web3.eth.get_storage_at(star.aggregator.address, slot) for slot in range(300)] == slots
