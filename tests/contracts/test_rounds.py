"""VirtualAggregator: sums against the plain model, the end of rounds, and silent nodes."""

import random

import pytest
from helpers import FEEDER, FIRST_DAY, LARGE, NONE, STAR, TRADERS, low, overdue, pack_residuals
from link import Reverted, refused, rpc
from reference.aggregator_model import PHASES, Declared, bitmap

# ---------------------------------------------------------------------- sums


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("steps", [1, 12, 25])
@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
def test_sums_equalTheModel(community, tree, steps, seed):
    """VA1, VA2, VA3: random copies in random order, and compared after each iteration."""
    made = community(tree, steps=steps, seed=seed)
    made.start(made.random.sample(list(tree), len(tree)))
    for _ in range(3):
        tx = made.iterate([made.random.randrange(1 << 56) for _ in range(4)])
        assert tx.one("IterationClosed")["sums"] == made.model.now.closed[-1].words
        made.check()


def test_sums_holdTheLargestPayloads(feeder):
    """VA2: no lane carries into the next. Residuals as large as they may be, too."""
    for _ in range(3):
        for node in FEEDER:
            tx = feeder.submit(node, residuals=[(1 << 56) - 1] * 4, largest=True)
        assert tx.one("IterationClosed")["sums"] == feeder.model.now.closed[-1].words
        feeder.check()


def test_sums_holdTheLargestVoltage(community, outsider):
    """VA2: 32 holders of one voltage, all at the end of their range; in storage, in memory, and in both."""
    tree = {0: Declared(0, 0, (1,), 0), 1: Declared(0, 1, tuple(range(2, 33)), 0)}
    tree |= {node: Declared(1, 2, (), 0) for node in range(2, 33)}
    made = community(tree, steps=12)
    made.start()
    for direct in (33, 0, 20):
        parts = [made.part(node, largest=True) for node in tree]
        for part in parts[:direct]:
            made.submit(part.node, part=part)
        if direct < 33:
            made.relay(parts[direct:], outsider)
        made.check()
        assert made.model.now.closed[-1].sums["V", 1] == [32 * 65535] * 12


def test_openRound_hasNoQuestions(star):
    """VA15: everybody sees everything."""
    star.iterate()
    star.iterate()
    with refused("CannotAsk: 2, 1"):
        star.send(star.accounts[1], "ask", 1, 2, 1)
    star.check()


# ---------------------------------------------------------------------- the four tests


def test_round_converges(star):
    """VA4: outcome, commitments and head stay."""
    star.iterate(NONE)  # no iterate came before: not judged
    star.iterate(LARGE)
    tx = star.iterate(NONE)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 3, "iterations": 3}
    assert tx.names == ["Submitted", "IterationClosed", "RoundEnded"]
    star.check()
    with refused("WrongPhase: 3"):
        star.send(star.accounts[1], "submit", 1, 3, 0, [0] * 4, b"\0" * 100, 0)
    with refused("WrongPhase: 3"):
        star.send(star.accounts[1], "closeOverdue")
    star.start()
    star.iterate(LARGE)
    star.check()
    assert star.view("outcome", 1)[:3] == (3, 3, 0b11111)
    assert star.view("outcome", 2) == (0, 0, 0, 0, bytes(32))


@pytest.mark.parametrize(("lane", "percent"), [(0, 100), (1, 100), (2, 100), (3, 100), (0, 300), (3, 10_000)])
@pytest.mark.parametrize("excess", [0, 1])
def test_round_isJudgedByEachResidual(community, lane, percent, excess):
    """The sum of squares may be exactly (eps / 1000)^2 * scalars: eps are 1, 2, 3 and 4 units, times percent."""
    made = community(STAR)
    made.start(percent=percent)
    made.iterate(LARGE)
    limit = ((lane + 1) * percent // 100) ** 2 * made.view("scalars")[lane // 2]
    for node in made.tree:
        mine = [0] * 4
        mine[lane] = limit // 5 + (limit % 5 + excess if node == 0 else 0)
        tx = made.submit(node, residuals=mine)
    assert PHASES[made.view("progress")[2]] == ("Iterating" if excess else "Converged")
    expected = [0] * 4
    expected[lane] = limit + excess
    assert tx.one("IterationClosed")["residuals"] == pack_residuals(expected)
    made.check()


def test_round_withItsOwnLimits_countsWhoIsLeft(community, outsider):
    """They stay what they are when somebody is out, and are none of the next round's."""
    made = community(STAR)
    assert made.start(percent=250).names[-2:] == ["RoundStarted", "IterationOpened"]
    made.iterate()
    others = [0, 1, 2, 3]
    for _ in range(2):
        made.iterate(NONE, order=others)
        made.close(outsider)
    assert made.view("scalars") == ((8 + 3 * 2) * 24, 57)
    made.iterate(NONE, order=others)
    limit = int(2.5**2 * made.view("scalars")[0])
    for node in others:
        made.submit(node, residuals=[limit // 4, 0, 0, 0])
    assert made.view("outcome", 1)[0] == 3
    made.check()
    made.start()
    made.iterate(LARGE)
    for node in made.tree:
        made.submit(node, residuals=[limit // 5, 0, 0, 0])
    assert PHASES[made.view("progress")[2]] == "Iterating"
    made.check()


@pytest.mark.parametrize("percent", [0, 10_001])
def test_openRoundWithin_refusesWhatIsNoLimit(community, manager, percent):
    made = community(STAR)
    with refused(f"InvalidTheta: percent, {percent}"):
        made.send(manager, "openRoundWithin", 0, 20260801, 0, percent)


def test_round_withoutANetworkConverges(traders):
    assert traders.view("scalars") == (0, 12)
    traders.iterate()
    traders.iterate(NONE)
    assert traders.view("outcome", 1)[0] == 3
    traders.check()


def test_round_isExhausted(community):
    made = community(STAR, mu=3)
    made.start()
    for _ in range(3):
        tx = made.iterate(LARGE)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 4, "iterations": 3}
    made.check()


def test_round_neverRunsBackwards(community):
    """VA3"""
    made = community(TRADERS, mu=2)
    seen = [made.view("progress")[:3]]

    def look():
        seen.append(made.view("progress")[:3])

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
    deadline = star.view("progress")[3]
    with refused(f"DeadlineNotPassed: {deadline}"):
        star.send(outsider, "closeOverdue")
    rpc("evm_mine", deadline)
    with refused(f"DeadlineNotPassed: {deadline}"):
        star.send(outsider, "closeOverdue")


def test_closeOverdue_failsIfNoRoundRuns(community, outsider):
    made = community(STAR)
    with refused("WrongPhase: 0"):
        made.send(outsider, "closeOverdue")


@pytest.mark.parametrize("tree", [STAR, FEEDER], ids=["star", "feeder"])
@pytest.mark.parametrize("seed", range(4))
def test_closeOverdue_closesWithThosePresent(community, outsider, tree, seed):
    """VA2: copies of the silent are missing; the next iteration goes on from there."""
    made = community(tree, seed=seed)
    made.start()
    made.iterate(LARGE)
    there = made.random.sample(list(tree), made.random.randint(0, len(tree) - 1))
    for node in there:
        made.submit(node, NONE)
    tx = made.close(outsider)
    closed = tx.one("IterationClosed")
    assert (closed["present"], closed["sums"]) == (bitmap(there), made.model.now.closed[-1].words)
    assert tx.one("IterationOpened")["deadline"] == tx.timestamp + 600
    # All residuals are zero, but not all are known: not converged.
    assert made.view("progress")[:3] == (1, 3, 2)
    made.check()
    # All are there, but what they report is about an iteration in which some were missing.
    made.iterate(NONE)
    made.check()
    assert made.view("progress")[:3] == (1, 4, 2)
    made.iterate(NONE)
    made.check()
    assert made.view("outcome", 1)[:2] == (3, 4)


def test_closeOverdue_withNobody_isAnIteration(star, outsider):
    """VA8: everybody misses one."""
    star.iterate()
    tx = star.close(outsider)
    assert tx.one("IterationClosed")["present"] == 0
    assert set(tx.one("IterationClosed")["sums"]) == {0}
    star.check()
    assert [star.view("declaration", node)[5] for node in STAR] == [1] * 5
    star.iterate()
    star.check()


@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
def test_closeOverdue_withNobody_endsTheRound(community, outsider, tree):
    """VA8"""
    made = community(tree, max_misses=3)
    made.start()
    for _ in range(3):
        assert made.view("progress")[2] == 2
        tx = made.close(outsider)
        made.check()
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 3}
    assert len(tx.all("Excluded")) == len(tree)
    made.start()
    made.iterate()
    made.check()


def test_closeOverdue_exhausts(community, outsider):
    made = community(STAR, mu=2)
    made.start()
    made.iterate()
    made.submit(2)
    made.close(outsider)
    assert made.view("outcome", 1)[:3] == (4, 2, 0b100)
    made.check()


def test_aSilentNode_isOutAndTheOthersConverge(star, outsider):
    """VA8, VA9: with maxMisses = 2; then nobody waits for it."""
    star.iterate()
    others = [0, 1, 2, 3]
    for missed in (1, 2):
        star.iterate(NONE, order=others)
        tx = star.close(outsider)
        assert star.view("declaration", 4)[5:] == (missed, missed == 2)
        star.check()
    assert tx.one("Excluded").values == {"round": 1, "iteration": 3, "node": 4, "proved": False}
    assert star.view("roster")[:2] == (0b11111, 0b01111)
    assert star.view("scalars") == ((8 + 3 * 2) * 24, 57)
    with refused("NotInRound: 4, 1"):
        star.submit(4)
    star.iterate(NONE, order=others)  # about the iteration in which 4 was missing: not judged
    star.check()
    tx = star.iterate(NONE, order=others)
    assert tx.one("RoundEnded")["phase"] == 3
    assert star.view("outcome", 1)[:3] == (3, 5, 0b01111)
    star.check()


def test_aSilentNode_comesBack(star, outsider):
    """Misses need not be in a row."""
    star.iterate(order=[0, 1, 2, 3])
    star.close(outsider)
    star.iterate()
    star.check()
    assert star.view("declaration", 4)[5:] == (1, False)
    star.iterate(order=[0, 1, 2, 3])
    tx = star.close(outsider)
    assert tx.one("Excluded")["node"] == 4
    star.check()


@pytest.mark.parametrize("tree", [STAR, FEEDER], ids=["star", "feeder"])
def test_aSilentRoot_endsTheRound(community, outsider, tree):
    """Without the grid operator's node there is nothing to agree with."""
    made = community(tree, max_misses=1)
    made.start()
    made.iterate(order=[node for node in tree if node != 0])
    tx = made.close(outsider)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 1}
    assert made.view("outcome", 1)[2] == bitmap(tree) - 1
    made.check()


def test_aSilentInnerNode_doesNotEndTheRound(community, outsider):
    """Those below it go on, with single copies of what they shared with it."""
    made = community(FEEDER, max_misses=1)
    made.start()
    made.iterate(order=[0, 1, 3, 4, 5])
    made.close(outsider)
    made.check()
    for _ in range(2):
        made.iterate(NONE, order=[0, 1, 3, 4, 5])
        made.check()
    assert made.view("outcome", 1)[:2] == (3, 3)


def test_theLastNode_isOut(community, outsider):
    made = community({3: Declared(3, 0, (), 2)}, max_misses=1)
    made.start()
    made.iterate()
    made.close(outsider)
    assert made.view("outcome", 1)[:3] == (5, 2, 0)
    made.check()


def test_outsiders_changeNothing(star, outsider):
    """VA5: whatever they call, with whatever arguments."""
    star.iterate()
    address = star.link.address
    kept = rpc("eth_getProof", address, [], "latest")["storageHash"]
    chance = random.Random(7)
    for _ in range(5):
        words = [chance.getrandbits(250) for _ in range(4)]
        for call in (
            ("submit", 1, 2, star.view("progress")[6], words, b"\0" * 100, 0),
            ("declare", 1, 0, 0, 1, 0, b""),
            ("openRound", 1),
            ("enrol", [9], [str(outsider)]),
            ("expel", [1]),
            ("closeOverdue",),
            ("accuse", 1, 1, chance.randbytes(400)),
            ("transferOwnership", str(outsider)),
            ("acceptOwnership",),
        ):
            with pytest.raises(Reverted):
                star.send(outsider, *call)
    star.relay([star.part(node, signed=False) for node in STAR], outsider)
    assert rpc("eth_getProof", address, [], "latest")["storageHash"] == kept


def test_manager_cannotStopARound(star, manager, outsider):
    """VA5, VA8: the round goes on to its end, whatever the manager tries; even without an owner."""
    with refused("WrongPhase: 2"):
        star.send(manager, "openRound", 1)
    for call in (("enrol", [9], [str(outsider)]), ("expel", [0])):
        with refused("RoundsRun: 1"):
            star.send(manager, *call)
    star.send(manager, "renounceOwnership")
    star.iterate()
    star.iterate(NONE)
    assert star.view("outcome", 1)[0] == 3
    star.check()
    overdue()
    with refused("WrongPhase: 3"):
        star.send(manager, "closeOverdue")


# ---------------------------------------------------------------------- days


def converged(community):
    """Round 1 has converged for the first day."""
    made = community(TRADERS)
    made.start()
    for _ in range(2):
        made.iterate(NONE)
    assert made.view("outcome", 1)[0] == 3
    return made


def test_aDayThatWasAgreed_isNotOpenedAgain(community, manager):
    """VA13"""
    made = converged(community)
    assert made.view("agreedIn", FIRST_DAY) == 1
    assert made.view("outcome", 1)[3] == FIRST_DAY
    with refused(f"DayAgreed: {FIRST_DAY}, 1"):
        made.send(manager, "openRound", FIRST_DAY)
    made.start()  # another day
    made.check()


def test_aDayThatWasNotAgreed_isOpenedAgain(community, manager, outsider):
    made = community(TRADERS, mu=1)
    made.start()
    made.iterate()
    assert made.view("outcome", 1)[0] == 4
    assert made.view("agreedIn", FIRST_DAY) == 0
    made.send(manager, "openRound", FIRST_DAY)


def test_aDayIsReplaced_onPurpose(community, manager, outsider):
    """VA13: from the opening on the round before counts no longer, whatever comes of the new one."""
    made = converged(community)
    for wrong in (0, 2):
        with refused(f"DayAgreed: {FIRST_DAY}, 1"):
            made.send(manager, "replaceRound", FIRST_DAY, wrong)
    for wrong in (0, 1):
        with refused(f"DayAgreed: {FIRST_DAY + 1}, 0"):
            made.send(manager, "replaceRound", FIRST_DAY + 1, wrong)
    with refused(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        made.send(outsider, "replaceRound", FIRST_DAY, 1)
    tx = made.send(manager, "replaceRound", FIRST_DAY, 1)
    assert tx.names == ["RoundOpened", "RoundReplaced"]
    assert tx.one("RoundReplaced").values == {"agreed": 1, "round": 2}
    assert made.view("agreedIn", FIRST_DAY) == 0
    made.model.open_round(FIRST_DAY, 1)
    for node in TRADERS:
        made.declare(node)
    for _ in range(2):
        made.iterate(NONE)
    assert made.view("agreedIn", FIRST_DAY) == 2
    made.check()
