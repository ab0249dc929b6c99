"""The call auction: invariants, attacks, and equality with the call auction in memory."""

import random
from collections import defaultdict
from dataclasses import dataclass, field

import pytest
from halls import Hall
from link import Link, refused
from settling import DEPOSIT, METER, encode_reading, encode_tariff, entry, signed

from gridpact.market.bids import LimitOrder
from gridpact.market.call_auction import clear

N = 5
LOWEST, HIGHEST, BOND, DAY, PHASE = -50_000, 400_000, 1_000, 20_300_101, 300
SALT = b"\x05" * 32
CASES, STEPS = 1_000, 192  # by chance


def encoded(bids):
    """Of {step: (energy, price)}."""
    return b"".join(entry(step, *bid) for step, bid in sorted(bids.items()))


@dataclass
class Auctioned(Hall):
    """What is bid in the round, and how it is cleared in memory."""

    bids: dict[int, dict[int, tuple[int, int]]] = field(default_factory=dict)

    def open(self):
        self.contract.send(self.manager, "openRound", DAY + self.round)
        self.round += 1
        self.bids = {}

    def commitment(self, node, bids, salt=SALT):
        return self.contract.view("commitmentOf", self.round, str(self.people[node]), salt, encoded(bids))

    def commit(self, node, bids):
        self.bids[node] = bids
        return self.contract.send(self.people[node], "commit", self.round, self.commitment(node, bids))

    def reveal(self, node):
        return self.contract.send(self.people[node], "reveal", self.round, SALT, encoded(self.bids[node]))

    def play(self, bids, silent=(), abstaining=(), reveals=True):
        """Until a round can be cleared; or opened and cleared at once, where nobody reveals."""
        self.open()
        for node in range(len(self.people)):
            if node in abstaining:
                self.contract.send(self.people[node], "abstain", self.round)
            else:
                self.commit(node, bids.get(node, {}))
        for node in list(self.bids) if reveals else ():
            if node in silent:
                del self.bids[node]
            else:
                self.reveal(node)
        if silent:
            self.overdue()

    def overdue(self):
        self.close_overdue(PHASE)

    def cleared(self):
        """By step, in memory."""
        orders = defaultdict(list)
        for node, bids in self.bids.items():
            for step, (energy, price) in bids.items():
                orders[step].append(LimitOrder(node, step, abs(energy), price, energy > 0))
        return {step: clear(some) for step, some in orders.items()}

    def fills(self):
        """As the call auction in memory has them: by node and step."""
        found = {node: {} for node in self.bids}
        cleared = self.cleared()
        for node, bids in self.bids.items():
            for step, (energy, _) in bids.items():
                side = cleared[step].sold_wh if energy > 0 else cleared[step].bought_wh
                found[node][step] = side.get(node, 0)
        return found

    def arguments(self, fills=None):
        fills = self.fills() if fills is None else fills
        packed = [
            b"".join(fills[node][step].to_bytes(4, "big") for step in sorted(fills[node])) for node in sorted(fills)
        ]
        return self.round, [encoded(self.bids[node]) for node in sorted(self.bids)], packed

    def clear(self, fills=None, sender=None):
        return self.contract.send(sender or self.people[0], "clear", *self.arguments(fills))

    def opening(self, fills=None, salts=None):
        round_, bids, packed = self.arguments(fills)
        return round_, salts or [SALT] * len(bids), bids, packed

    def clear_opened(self, fills=None, sender=None):
        return self.contract.send(sender or self.people[0], "clearOpened", *self.opening(fills))

    def money(self):
        """CA4. Free deposits."""
        return self.deposits()[0]

    def traded(self, node, fills=None):
        """What a node has traded, as the settlement is told."""
        fills, cleared = fills or self.fills(), self.cleared()
        return b"".join(
            entry(step, wh if self.bids[node][step][0] > 0 else -wh, cleared[step].price_micro)
            for step, wh in sorted(fills[node].items())
            if wh
        )


def hall_of(CallAuction, token, manager, people, steps=24, deposit=DEPOSIT):
    made = manager.deploy(CallAuction, (steps, len(people), PHASE, LOWEST, HIGHEST, BOND), token)
    hall = Auctioned(Link(made), Link(token), manager, people, steps)
    hall.enter(deposit)
    return hall


@pytest.fixture(scope="module")
def opened(module_isolation, CallAuction, TestEuro, manager, accounts):
    """Brownie remembers where contracts were that a test has deployed, so all halls stand before the first test."""
    token = manager.deploy(TestEuro)
    small = hall_of(CallAuction, token, manager, list(accounts[2 : 2 + N]))
    return small, hall_of(CallAuction, token, manager, list(accounts[1:8]), STEPS, 10**9)


@pytest.fixture
def hall(opened):
    opened[0].round, opened[0].bids = 0, {}
    return opened[0]


# Offers of 0 and 1, asks of 2 to 4. At step 3 asks share 700 Wh of the 1,000 they want; at step 7 nobody meets.
BIDS = {
    0: {3: (500, 60_000), 7: (100, 200_000)},
    1: {3: (200, 80_000)},
    2: {3: (-400, 200_000), 7: (-100, 150_000)},
    3: {3: (-300, 200_000)},
    4: {3: (-300, 200_000), 9: (-50, 100_000)},
}


# ---------------------------------------------------------------------- a round


def test_clear_paysAndKeepsTrades(hall):
    """CA1 to CA4, CA9. Between 0.08 and 0.2 the price is 0.2: of the asks some are left, and of the offers none."""
    hall.play(BIDS)
    assert [hall.contract.view("locked", str(who)) - BOND for who in hall.people] == [0, 0, 95_000, 60_000, 65_000]
    event = hall.clear().one("Cleared")
    assert int.from_bytes(event["prices"][12:16], "big", signed=True) == 200_000
    assert event["prices"][:12] + event["prices"][16:] == bytes(92)
    assert event["payments"] == (100_000, 40_000, -56_000, -42_000, -42_000)
    assert hall.money() == [DEPOSIT + paid for paid in event["payments"]]
    assert hall.contract.view("outcome", 1)[:4] == (3, 2, 0b11111, DAY)
    for node in range(N):
        hall.contract.attempt(hall.manager, "requireTraded", 1, node, hall.traded(node))
    assert hall.traded(3) == entry(3, -210, 200_000)


def test_clear_notPaidInWholeUnits_losesNothing(hall):
    """CA4: parts of a token unit are neither lost nor made, and nobody pays more than it has locked."""
    bids = {
        0: {1: (333, 33_333), 2: (1, 1)},
        1: {1: (334, 33_333)},
        2: {1: (-333, 77_777), 2: (-1, 2)},
        3: {1: (-222, 77_778)},
        4: {1: (-111, 77_779)},
    }
    before = hall.money()
    hall.play(bids)
    locked = [hall.contract.view("locked", str(who)) - BOND for who in hall.people]
    paid = hall.clear().one("Cleared")["payments"]
    assert sum(paid) == 0
    values = [sum(wh * price for _, wh, price in decoded(hall.traded(node))) for node in range(N)]
    assert all(abs(unit - value / 1_000) < 1 for unit, value in zip(paid, values, strict=True))
    assert all(-unit <= most for unit, most in zip(paid, locked, strict=True))
    assert hall.money() == [free + unit for free, unit in zip(before, paid, strict=True)]


def decoded(trades):
    return [
        (part[0], int.from_bytes(part[1:5], "big", signed=True), int.from_bytes(part[5:], "big", signed=True))
        for part in (trades[at : at + 9] for at in range(0, len(trades), 9))
    ]


def test_clear_belowZero_whoSellsPays(hall):
    """CA9: it has locked that."""
    hall.play({0: {0: (100, -40_000)}, 1: {0: (-100, -20_000)}})
    assert hall.contract.view("locked", str(hall.people[0])) == BOND + 4_000
    assert hall.clear().one("Cleared")["payments"] == (-3_000, 3_000, 0, 0, 0)
    hall.money()


def test_clear_anOddMiddleBelowZero_isRoundedDown(hall):
    hall.play({0: {0: (100, -40_000)}, 1: {0: (-100, -20_001)}})
    assert int.from_bytes(hall.clear().one("Cleared")["prices"][:4], "big", signed=True) == -30_001


def test_reveal_doesNotWait_whereAllHaveRevealed(hall):
    """CA11: neither phase waits for a deadline that nobody needs."""
    hall.play(BIDS)
    assert hall.contract.view("progress")[1:3] == (2, 2)


def test_abstain_costsNothing(hall):
    """CA6; who abstained has no trades."""
    hall.play(BIDS, abstaining=[4])
    hall.clear()
    assert hall.money()[4] == DEPOSIT
    assert hall.contract.view("outcome", 1)[2] == 0b1111
    hall.contract.attempt(hall.manager, "requireTraded", 1, 4, b"")
    with refused("WrongTrades: 1, 4"):
        hall.contract.attempt(hall.manager, "requireTraded", 1, 4, entry(3, 1, 1))


def test_silence_losesTheBondAndNothingElse(hall):
    """CA6: the others share it, and what that leaves goes to the first of them."""
    hall.play(BIDS, silent=[2, 3])
    before = [hall.contract.view("free", str(who)) + hall.contract.view("locked", str(who)) for who in hall.people]
    paid = hall.clear().one("Cleared")["payments"]
    gained = [free - had for free, had in zip(hall.money(), before, strict=True)]
    assert [gained[2], gained[3]] == [-BOND, -BOND]
    shares = [gained[node] - unit for node, unit in zip((0, 1, 4), paid, strict=True)]
    assert shares == [668, 666, 666]
    assert not any(hall.contract.view("locked", str(who)) for who in hall.people)


def test_roundThatNobodyReveals_givesAllBack(hall):
    """CA10."""
    hall.play({}, silent=range(N), abstaining=[1])
    assert hall.contract.view("outcome", 1)[0] == 5
    for node in (0, 2, 3, 4):
        hall.contract.send(hall.manager, "release", 1, node, b"")
    for node in range(N):
        with refused(f"NothingLocked: 1, {node}"):
            hall.contract.attempt(hall.manager, "release", 1, node, b"")
    assert hall.money() == [DEPOSIT] * N
    hall.contract.attempt(hall.manager, "requireTraded", 1, 0, b"")


def test_roundInWhichOneCommits_andDoesNotReveal_givesAllBack(hall):
    """CA10, CA11: who said nothing has nothing there."""
    hall.open()
    hall.commit(0, BIDS[0])
    hall.overdue()
    hall.overdue()
    assert hall.contract.view("outcome", 1)[0] == 5
    hall.contract.send(hall.manager, "release", 1, 0, b"")
    with refused("NothingLocked: 1, 1"):
        hall.contract.attempt(hall.manager, "release", 1, 1, b"")
    assert hall.money() == [DEPOSIT] * N


def test_roundThatNobodyClears_givesAllBack(hall):
    """CA10, CA11: also to who had not revealed; what was bid does not count, and the day can be opened again."""
    hall.play(BIDS, silent=[3])
    for node in (0, 3):
        with refused("NotOver: 1"):
            hall.contract.attempt(hall.manager, "release", 1, node, b"")
    hall.overdue()
    assert hall.contract.view("outcome", 1)[0] == 4
    with refused("WrongBids: 1, 2"):
        hall.contract.attempt(hall.manager, "release", 1, 2, encoded(BIDS[1]))
    for node in range(N):
        hall.contract.send(hall.manager, "release", 1, node, encoded(BIDS[node]) if node != 3 else b"")
        with refused(f"NothingLocked: 1, {node}"):
            hall.contract.attempt(hall.manager, "release", 1, node, encoded(BIDS[node]) if node != 3 else b"")
    with refused("NodeOutOfRange: 128"):
        hall.contract.attempt(hall.manager, "release", 1, 128, b"")
    assert hall.money() == [DEPOSIT] * N
    hall.contract.send(hall.manager, "openRound", DAY)


# ---------------------------------------------------------------------- attacks


def test_attack_frontRunning_learnsNothing(hall):
    """CA8: until the last has committed there are hashes, which the same bids with another salt do not have; a bid that
    comes after others are revealed does not come in."""
    hall.open()
    assert hall.commitment(0, BIDS[0]) != hall.commitment(0, BIDS[0], bytes(32))
    for node in range(N - 1):
        hall.commit(node, BIDS[node])
        with refused("WrongPhase: 1"):
            hall.contract.attempt(hall.people[node], "reveal", 1, SALT, encoded(BIDS[node]))
    hall.overdue()
    hall.reveal(0)
    with refused("WrongPhase: 2"):
        hall.contract.attempt(hall.people[4], "commit", 1, hall.commitment(4, {3: (-300, 60_000)}))


def test_attack_revealByAnother(hall, accounts):
    """CA7: nor by who has copied the commitment; nor of other bids, of another salt, twice, or in another round."""
    hall.open()
    for node in range(N - 1):
        hall.commit(node, BIDS[node])
    stolen = hall.commitment(0, BIDS[0])
    hall.contract.send(hall.people[4], "commit", 1, stolen)
    for node, salt, bids in ((4, SALT, BIDS[0]), (1, SALT, BIDS[0]), (0, SALT, BIDS[1]), (0, bytes(32), BIDS[0])):
        with refused(f"WrongCommitment: 1, {node}"):
            hall.contract.attempt(hall.people[node], "reveal", 1, salt, encoded(bids))
    with refused(f"NotEnrolled: {str(accounts[1]).lower()}"):
        hall.contract.attempt(accounts[1], "reveal", 1, SALT, encoded(BIDS[0]))
    hall.reveal(0)
    with refused("AlreadyRevealed: 1, 0"):
        hall.reveal(0)
    with refused("WrongRound: 1, 2"):
        hall.contract.attempt(hall.people[1], "reveal", 2, SALT, encoded(BIDS[1]))


def test_attack_commitForAnother_orTwice(hall, accounts):
    hall.open()
    with refused(f"NotEnrolled: {str(accounts[1]).lower()}"):
        hall.contract.attempt(accounts[1], "commit", 1, b"\1" * 32)
    hall.commit(0, BIDS[0])
    with refused("AlreadyDeclared: 0"):
        hall.contract.attempt(hall.people[0], "commit", 1, b"\2" * 32)
    hall.contract.send(hall.people[1], "abstain", 1)
    for said in (bytes(32), (1).to_bytes(32, "big"), bytes.fromhex(ABSTAINED)):
        with refused("EmptyCommitment: "):
            hall.contract.attempt(hall.people[2], "commit", 1, said)
    hall.overdue()
    with refused("NotInRound: 1, 1"):
        hall.contract.attempt(hall.people[1], "reveal", 1, SALT, b"")


ABSTAINED = "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"  # keccak256 of nothing


@pytest.mark.parametrize(
    ("bids", "at"),
    [
        (entry(0, 0, 50_000), 0),
        (entry(24, 1, 50_000), 0),
        (entry(3, 1, 50_000) + entry(3, -1, 50_000), 1),
        (entry(3, 1, 50_000) + entry(2, -1, 50_000), 1),
        (entry(0, 1, HIGHEST + 1), 0),
        (entry(0, 1, LOWEST - 1), 0),
        (entry(0, 1, 50_000)[:-1], 0),
        (entry(0, 1, 50_000) + b"\0", 1),
    ],
    ids=["nothing", "no such step", "twice", "back", "above", "below", "cut", "a byte more"],
)
def test_reveal_whatAreNoBids_isRefused(hall, bids, at):
    """CA1; a self-trade cannot be bid, as a step has one entry."""
    hall.open()
    said = hall.contract.view("commitmentOf", 1, str(hall.people[0]), SALT, bids)
    hall.contract.send(hall.people[0], "commit", 1, said)
    hall.overdue()
    with refused(f"InvalidBids: {at}"):
        hall.contract.attempt(hall.people[0], "reveal", 1, SALT, bids)


def test_reveal_moreThanTheDeposit_isRefusedUntilThereIsMore(hall):
    """CA9."""
    hall.open()
    for node in range(N):
        hall.commit(node, {0: (-50_000, 200_000)} if node == 4 else {})
    with refused(f"InsufficientDeposit: {str(hall.people[4]).lower()}, {DEPOSIT - BOND}, {DEPOSIT}"):
        hall.reveal(4)
    hall.contract.send(hall.people[4], "deposit", BOND)
    hall.reveal(4)
    with refused(f"InsufficientDeposit: {str(hall.people[4]).lower()}, 0, 1"):
        hall.contract.attempt(hall.people[4], "withdraw", 1)


def changed(fills, node, step, by):
    return {n: {s: wh + by if (n, s) == (node, step) else wh for s, wh in own.items()} for n, own in fills.items()}


def test_attack_clearingThatIsNotTheBest(hall):
    """CA2, CA3, CA5: less, more, uneven, worse before better, other shares, of too few or others' bids, or twice."""
    hall.play(BIDS)
    best = hall.fills()
    less = changed(changed(best, 0, 3, -1), 4, 3, -1)
    nothing = {node: dict.fromkeys(own, 0) for node, own in best.items()}
    worse_first = changed(changed(best, 0, 3, -1), 2, 3, -1)
    shifted = changed(changed(best, 2, 3, 1), 3, 3, -1)
    crossed = changed(changed(best, 0, 7, 100), 2, 7, 100)
    for fills, reason in (
        (changed(best, 0, 3, -1), "NotBalanced: 3, -1"),
        (changed(best, 0, 3, 1), "FillTooLarge: 0, 3"),
        (changed(best, 4, 9, 51), "FillTooLarge: 4, 9"),
        (less, "NotBest: 3"),
        (nothing, "NotBest: 3"),
        (worse_first, "NotBest: 3"),
        (crossed, "NotBest: 7"),
        (shifted, "NotInProportion: 3, 3"),
    ):
        with refused(reason):
            hall.contract.attempt(hall.people[0], "clear", *hall.arguments(fills))
    round_, bids, fills = hall.arguments()
    for arguments, reason in (
        ((bids[:-1], fills[:-1]), "LengthMismatch: 5, 4"),
        ((bids, fills[:-1]), "LengthMismatch: 5, 4"),
        ((bids, [*fills[:-1], b""]), "LengthMismatch: 8, 0"),
        (([bids[1], bids[0], *bids[2:]], fills), "WrongBids: 1, 0"),
        (([b"", *bids[1:]], [b"", *fills[1:]]), "WrongBids: 1, 0"),
    ):
        with refused(reason):
            hall.contract.attempt(hall.people[0], "clear", round_, *arguments)
    hall.clear()
    with refused("WrongPhase: 3"):
        hall.contract.attempt(hall.people[0], "clear", round_, bids, fills)


@pytest.mark.parametrize(
    ("asks", "best", "wrong"),
    [
        # 5 Wh for 11: remainders are 4, 9 and 9 of 11, so the second and the third get one more.
        ((3, 4, 4), (1, 2, 2), (2, 1, 2)),  # the first had one, and the second has more
        ((4, 3, 4), (2, 1, 2), (1, 2, 2)),  # the first, which had more, has none
    ],
)
def test_attack_aWattHourForASmallerRemainder(hall, asks, best, wrong):
    """CA5: whoever comes first of the two, the one before or the one after."""
    bids = {0: {3: (5, 60_000)}} | {1 + k: {3: (-asked, 200_000)} for k, asked in enumerate(asks)}
    hall.play(bids, abstaining=(4,))
    assert hall.fills() == {0: {3: 5}} | {1 + k: {3: filled} for k, filled in enumerate(best)}
    fills = {0: {3: 5}} | {1 + k: {3: filled} for k, filled in enumerate(wrong)}
    with refused("NotInProportion: 2, 3"):
        hall.contract.attempt(hall.people[0], "clear", *hall.arguments(fills))
    hall.clear()
    hall.money()


def test_clearOpened_comesToWhatClearingDoes(hall, accounts):
    """CA1 to CA4, CA6, CA10: the same clearing, in a transaction of anybody who was told the salts."""
    hall.play(BIDS)
    revealed = hall.clear().one("Cleared")
    before = hall.money()
    hall.play(BIDS, reveals=False)
    receipt = hall.clear_opened(sender=accounts[1])
    opened = receipt.one("Cleared")
    assert [opened[name] for name in ("nodes", "prices", "fills", "payments")] == [
        revealed[name] for name in ("nodes", "prices", "fills", "payments")
    ]
    assert receipt.one("Opened")["bids"] == tuple(encoded(BIDS[node]) for node in range(N))
    assert hall.money() == [free + paid for free, paid in zip(before, opened["payments"], strict=True)]
    assert not any(hall.contract.view("locked", str(who)) for who in hall.people)
    assert hall.contract.view("outcome", 2)[:4] == (3, 2, 0b11111, DAY + 1)
    for node in range(N):
        hall.contract.attempt(hall.manager, "requireTraded", 2, node, hall.traded(node))


def test_clearOpened_withoutWhoAbstained(hall):
    hall.play({node: BIDS[node] for node in range(4)}, abstaining=(4,), reveals=False)
    assert len(hall.clear_opened().one("Cleared")["payments"]) == 4
    hall.money()


def test_attack_clearOpened(hall):
    """CA2, CA5, CA7 to CA9: not before all have committed, not without one of them, of other bids, nodes or salts, nor
    with another clearing, more than somebody has, or once somebody has revealed; and once."""
    hall.open()
    for node in range(N - 1):
        hall.commit(node, BIDS[node])
    with refused("WrongPhase: 1"):
        hall.contract.attempt(hall.people[0], "clearOpened", *hall.opening())
    hall.commit(4, BIDS[4])
    round_, salts, bids, fills = hall.opening()
    best = hall.fills()
    for arguments, reason in (
        ((salts[:-1], bids[:-1], fills[:-1]), "LengthMismatch: 5, 4"),
        ((salts[:-1], bids, fills), "LengthMismatch: 5, 4"),
        ((salts, bids, fills[:-1]), "LengthMismatch: 5, 4"),
        (([bytes(32), *salts[1:]], bids, fills), "WrongCommitment: 1, 0"),
        ((salts, [bids[1], bids[0], *bids[2:]], fills), "WrongCommitment: 1, 0"),
        ((salts, [b"", *bids[1:]], [b"", *fills[1:]]), "WrongCommitment: 1, 0"),
        (hall.opening(changed(best, 0, 3, -1))[1:], "NotBalanced: 3, -1"),
        (hall.opening(changed(changed(best, 0, 3, -1), 4, 3, -1))[1:], "NotBest: 3"),
        (hall.opening(changed(changed(best, 2, 3, 1), 3, 3, -1))[1:], "NotInProportion: 3, 3"),
    ):
        with refused(reason):
            hall.contract.attempt(hall.people[0], "clearOpened", round_, *arguments)
    free = hall.contract.view("free", str(hall.people[2]))
    hall.contract.send(hall.people[2], "withdraw", free - 94_999)
    with refused(f"InsufficientDeposit: {str(hall.people[2]).lower()}, 94999, 95000"):
        hall.contract.attempt(hall.people[0], "clearOpened", round_, salts, bids, fills)
    hall.contract.send(hall.people[2], "deposit", free - 94_999)
    hall.clear_opened()
    with refused("WrongPhase: 3"):
        hall.contract.attempt(hall.people[0], "clearOpened", round_, salts, bids, fills)
    hall.play(BIDS, reveals=False)
    hall.reveal(3)
    with refused("RevealedAlready: 2, 8"):
        hall.contract.attempt(hall.people[0], "clearOpened", *hall.opening())


def test_attack_clearingBeforeAllHaveRevealed(hall):
    hall.open()
    for node in range(N):
        hall.commit(node, BIDS[node])
    with refused("WrongPhase: 2"):
        hall.contract.attempt(hall.people[0], "clear", 1, [], [])


def test_attack_tinyBids_costOthersNothing(hall):
    """Dust at the margin gets its share, rounded, and takes nobody's turn; any bids fit one clearing."""
    bids = {0: {3: (1_000, 60_000)}, 1: {3: (1, 60_000)}, 2: {3: (1, 60_000)}, 3: {3: (-501, 200_000)}}
    hall.play(bids)
    assert {node: own[3] for node, own in hall.fills().items() if own} == {0: 500, 1: 1, 2: 0, 3: 501}
    hall.clear()


def test_setting_thatCannotBe_isRefused(CallAuction, hall, manager):
    token = hall.token.address
    for setting, reason in (
        ((24, 5, 300, 2, 1, 0), "InvalidSetting"),
        ((38, 127, 300, 0, 1, 0), "TooLarge"),
        ((193, 5, 300, 0, 1, 0), "InvalidTheta"),
        ((0, 5, 300, 0, 1, 0), "InvalidTheta"),
    ):
        with pytest.raises(Exception, match=reason):
            manager.deploy(CallAuction, setting, token)
    made = Link(manager.deploy(CallAuction, (37, 128, 300, -1, 1, 7), token))
    assert made.view("setting") == (37, 128, 300, -1, 1, 7)
    assert made.view("isMarket")
    assert made.view("agreement") == made.address.lower()


# ---------------------------------------------------------------------- the settlement


def test_deliver_beyondWhatWasTraded(hall, TradeSettlement, accounts, manager):
    """MK2: the settlement is told a node's trades and no others, once the round is over, and pays the rest."""
    supplier = accounts[8]
    made = Link(manager.deploy(TradeSettlement, hall.contract.address, hall.token.address, supplier, METER.address))
    made.send(supplier, "publishTariff", 1, encode_tariff())
    for who in (*hall.people, supplier):
        hall.token.send(manager, "mint", str(who), DEPOSIT)
        hall.token.send(who, "approve", made.address, DEPOSIT)
        made.send(who, "deposit", DEPOSIT)
    hall.play(BIDS)
    until = hall.contract.view("progress")[3]
    with refused(f"TradingGoesOn: 1, {until}"):
        hall.contract.attempt(accounts[1], "requireTraded", 1, 0, b"")
    hall.clear()
    reading = encode_reading([600 if step == 3 else 0 for step in range(24)])
    signature = signed(made.address, 1, 0, reading)
    for trades in (b"", entry(3, 499, 200_000), entry(3, 500, 199_999), hall.traded(1)):
        with refused(f"0x{hall.contract.error_data('WrongTrades', 1, 0).hex()}"):
            made.attempt(accounts[1], "deliver", 1, 0, reading, encode_tariff(), [(255, trades)], *signature)
    made.send(accounts[1], "deliver", 1, 0, reading, encode_tariff(), [(255, hall.traded(0))], *signature)
    assert made.view("netPayment", 1, 0) == 100 * 80_000 // 1_000  # what it fed in beyond 500 Wh
    assert made.view("netPayment", 1, 0) + made.view("supplierPayment", 1) == 0


# ---------------------------------------------------------------------- by chance


def test_clearings_byChance_areThoseOfTheOracle(opened):
    """CA1 to CA6: a thousand steps of few prices and odd energies, by up to seven: what the auction in memory clears
    passes and is paid, and no clearing that differs from it in two or more fills does."""
    by = random.Random(3)
    hall = opened[1]
    met, refusals, cases = 0, 0, 0
    while cases < CASES:
        levels = by.choice([1, 2, 5, 40])
        bids = {
            node: {
                step: (
                    by.choice([-1, 1]) * by.choice([1, 2, 3, 7, 100, by.randint(1, 5_000)]),
                    by.choice([-3_000, 0, 1]) + 7_001 * by.randint(0, levels),
                )
                for step in range(STEPS)
                if by.random() < 0.8
            }
            for node in range(7)
        }
        silent = [node for node in range(7) if by.random() < 0.1]
        opened_at_once = not silent and by.random() < 0.5
        hall.play(bids, silent=silent, reveals=not opened_at_once)
        fills = hall.fills()
        post = ("clearOpened", hall.opening) if opened_at_once else ("clear", hall.arguments)
        for _ in range(8):
            wrong = mutated(hall, fills, by)
            if wrong is not None:
                with pytest.raises(Exception, match=r"NotBalanced|NotBest|NotInProportion|FillTooLarge"):
                    hall.contract.attempt(hall.people[0], post[0], *post[1](wrong))
                refusals += 1
        event = hall.contract.send(hall.people[0], post[0], *post[1]()).one("Cleared")
        cleared = hall.cleared()
        prices = [int.from_bytes(event["prices"][4 * s : 4 * s + 4], "big", signed=True) for s in range(STEPS)]
        assert prices == [cleared[s].price_micro if s in cleared else 0 for s in range(STEPS)]
        for node in hall.bids:
            hall.contract.attempt(hall.manager, "requireTraded", hall.round, node, hall.traded(node, fills))
        assert sum(event["payments"]) == 0
        hall.money()
        assert not any(hall.contract.view("locked", str(who)) for who in hall.people)
        cases += len(cleared)
        met += sum(one.energy_wh > 0 for one in cleared.values())
    print(f"\n  {cases} steps, {met} with trades, {refusals} other clearings refused")
    assert met > CASES // 2
    assert refusals > 20


def mutated(hall, fills, by):
    """Other fills of a step that add up as well: some Wh of one go to another of its side, or of both sides away."""
    step = by.randrange(STEPS)
    there = [node for node, own in hall.bids.items() if step in own]
    if len(there) < 2:
        return None
    one, other = by.sample(there, 2)
    same = (hall.bids[one][step][0] > 0) == (hall.bids[other][step][0] > 0)
    amount = by.choice([1, -1, 5, -5])
    wrong = changed(changed(fills, one, step, amount), other, step, -amount if same else amount)
    return wrong if min(wrong[node][step] for node in (one, other)) >= 0 else None
