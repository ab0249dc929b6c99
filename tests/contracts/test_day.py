"""DaySettlement and DayProducts: a day by hand, and what is refused. What random days come to: test_day_stateful.py."""

import random
from dataclasses import replace

import pytest
from days import (
    DAY,
    DEPOSIT,
    GATE,
    GREEN,
    METER,
    NODES,
    ORACLE,
    OTHER_DAY,
    READING,
    STEP,
    STEPS,
    STRANGER,
    pairs,
    series,
    tariff_bytes,
)
from days import terms as terms_of
from eth_utils import keccak
from link import Link, Reverted, refused
from reference.day_model import cleared

pytest_plugins = ["day_fixtures"]

MILLION = 10**6
FORMULA = (150_000, -2000, 100_000, 250_000, 20_000)


class Played:
    """A day that is open, and who plays in it."""

    def __init__(self, world, **changes):
        self.world, self.ledger, self.products = world, world.ledger, world.products
        self.terms = terms_of(world.now() + GATE + STEP, **changes)
        self.start = self.terms.start

    def open(self, shares=(), lock=DEPOSIT // 2, day=DAY):
        self.world.open(self.terms, day, shares, lock)
        self.hash = self.world.terms_hash(self.terms, shares)
        return self

    def join(self, *nodes, lock=5 * MILLION, day=DAY):
        for node in nodes:
            self.ledger.send(self.who(node), "join", day, self.hash, lock)
        return self

    def who(self, party):
        name = {"supplier": "supplier", "outsider": "outsider"}.get(party, f"node {party}")
        return self.world.addresses[name]

    def nominate(self, node, energies, first=0):
        return self.ledger.send(self.who(node), "nominate", DAY, first, series(energies))

    def at(self, step, seconds=1):
        """Some time after the beginning of a step."""
        self.world.until(self.start + step * STEP + seconds)

    def read(self, step, energies, key=METER):
        return self.ledger.send(self.who("outsider"), "read", *self.world.reading(DAY, step, energies, key))

    def settle(self):
        return self.ledger.send(self.who("outsider"), "settleStep", DAY).one("StepSettled")

    def settle_all(self):
        for step in range(self.ledger.view("standing", DAY)[1], STEPS):
            self.at(step + 1, READING + 1)
            self.settle()

    def free(self, party):
        return self.ledger.view("free", self.who(party))

    def position(self, node, step):
        return self.ledger.view("position", DAY, node, step)


@pytest.fixture
def played(world):
    return Played(world).open().join(1, 2, 3, 4)


def test_day_fromTheForwardToTheLastPayment(world, played):
    """By hand: 1 sold 1.5 kWh to 2 in step 0 and feeds 2 kWh in, 2 draws 2.5: 0.5 kWh pass in the pool, half way
    between 0.08 and 0.30; 0.5 kWh of 2 are the supplier's, and nobody had nominated them."""
    played.ledger.send(played.who("outsider"), "bring", DAY, 1, 1, pairs(1, 1, [2, 3]))
    assert [played.position(1, step) for step in range(STEPS)] == [1500, 500, 1000, -500]
    assert [played.position(2, step) for step in range(STEPS)] == [-1500, -2000, -1000, -500]
    played.at(1)
    played.read(0, {1: 2000, 2: -2500, 3: 0, 4: 0})
    told = played.settle()
    pool, supply = 500 * 190_000 // 1000, 500 * 300_000 // 1000
    adder = 500 * 50_000 // 1000  # of 2, which took 1 kWh more; 1 took 0.5 kWh less
    assert (told["poolEnergy"], told["poolPrice"], told["deviation"]) == (500, 190_000, 500)
    assert list(told["payments"]) == [pool, -pool - supply - adder, 0, 0, supply + adder]
    assert played.ledger.view("history", played.who(1)) == (1, 1)
    played.settle_all()
    played.ledger.send(played.who("outsider"), "closeDay", DAY)
    unread = 500 * 250 + 1000 * 200  # what it sold later
    assert played.free(1) == DEPOSIT + pool - unread
    assert played.ledger.view("locked", played.who(1)) == 0
    with refused(f"ClosedAlready: {DAY}"):
        played.ledger.send(played.who("outsider"), "closeDay", DAY)
    with refused(f"StepsLeft: {DAY}, {STEPS}"):
        played.settle()


def test_bring_changesOfTheRestOfTheDay(played):
    """DS7: a round about the steps from 2 on changes only those, once."""
    played.ledger.send(played.who(1), "bring", DAY, 1, 1, pairs(1, 1, [2]))
    played.ledger.send(played.who(1), "bring", DAY, 2, 1, pairs(2, 1, [2]))
    assert [played.position(1, step) for step in range(STEPS)] == [1500, 2000, 2000, 1000]
    assert played.ledger.view("labelOf", DAY, 2) == 2**31 | 1 << 8 | 2
    assert played.ledger.view("brought", 2, 1) == 1 << 2
    assert [played.position(2, step) for step in range(STEPS)] == [-1500, -2000, -2000, -1000]
    for node, partner in ((1, 2), (2, 1)):
        with refused(f"BroughtAlready: 2, {node}, {partner}"):
            played.ledger.send(played.who(node), "bring", DAY, 2, node, pairs(2, node, [partner]))


def test_bring_countsForBoth(played):
    """DS7: a seller that keeps its pair back has sold what its buyer brings, and is not paid for it twice."""
    played.ledger.send(played.who("outsider"), "bring", DAY, 1, 2, pairs(1, 2, [1]))
    assert [played.position(node, 0) for node in (1, 2)] == [1500, -1500]
    played.at(1)
    played.read(0, {1: 1500, 2: -1500, 3: 0, 4: 0})
    assert list(played.settle()["payments"]) == [0, 0, 0, 0, 0]


def test_bring_ofWhoIsNoMember_waitsUntilItIs(world):
    """DS7: nobody owes what a household that has not joined sells, so it counts for neither until it has."""
    played = Played(world).open().join(1, 2)
    receipt = played.ledger.send(played.who(1), "bring", DAY, 1, 1, pairs(1, 1, [2, 3]))
    assert [(event["partner"], event["node"]) for event in receipt.all("NotCovered")] == [(3, 1)]
    assert receipt.one("Brought")["pairs"] == 1
    assert [played.position(node, 1) for node in (1, 2, 3)] == [2000, -2000, 0]
    played.join(3)
    played.ledger.send(played.who(3), "bring", DAY, 1, 3, pairs(1, 3, [1]))
    assert [played.position(node, 1) for node in (1, 3)] == [2000 - 1500, 1500]
    with refused("BroughtAlready: 1, 3, 1"):
        played.ledger.send(played.who(3), "bring", DAY, 1, 3, pairs(1, 3, [1]))


def test_bring_countsOnlyWhatIsCovered(world):
    """DS10: what 1 sold to 2 costs 1.5 * 0.35 + 2 * 0.3 + 0.25 + 0.5 * 0.1 if it delivers nothing. It cannot cover
    that: the pair counts for neither, until it can; of what it locked, the least lock covers nothing."""
    needed = 1500 * 350 + 2000 * 300 + 1000 * 250 + 500 * 100
    played = Played(world, least_lock=100_000).open().join(2).join(1, lock=100_000 + needed - 1)
    played.ledger.send(played.who(1), "withdraw", played.free(1))
    receipt = played.ledger.send(played.who(2), "bring", DAY, 1, 2, pairs(1, 2, [1]))
    assert receipt.one("NotCovered")["partner"] == 1
    assert [played.position(node, 0) for node in (1, 2)] == [0, 0]
    with refused(f"InsufficientDeposit: {played.who(1).lower()}, 0, 1"):
        played.ledger.send(played.who(1), "bring", DAY, 1, 1, pairs(1, 1, [2]))
    world.token.send(played.who(1), "approve", played.ledger.address, 1)
    played.ledger.send(played.who(1), "deposit", 1)
    played.ledger.send(played.who(2), "bring", DAY, 1, 2, pairs(1, 2, [1]))
    assert [played.position(node, 0) for node in (1, 2)] == [1500, -1500]
    assert (played.free(1), played.ledger.view("balance", DAY, 1)) == (0, 100_000)
    assert played.ledger.view("locked", played.who(1)) == 100_000 + needed


def test_sellingNothing_paysTheSupplier(world):
    """DS10, by hand: one without a lock sells another 300 kWh that it does not have for nothing, and delivers none: its
    cover pays what the buyer is paid for it."""
    played = Played(world, adder=0).open().join(1, 2, lock=0)
    played.products.send(played.who(1), "postSpot", DAY, 0, True, 300_000, 0)
    assert played.ledger.view("locked", played.who(1)) == 300_000 * 300
    played.products.send(played.who(2), "takeSpot", 1, 300_000)
    assert played.ledger.view("coverOf", DAY, 1, 0, 300_000) == 300_000 * 300
    assert played.ledger.view("locked", played.who(1)) == 300_000 * 300
    played.at(1)
    played.read(0, {1: 0, 2: 0})
    told = played.settle()
    assert list(told["payments"]) == [-90_000_000, 24_000_000, 66_000_000]


def test_sellingWithASilentMeter_isDeliveringNothing(world):
    """DS10: 1 has sold, nominates nothing, and is not read: its cover pays."""
    played = Played(world).open().join(1, 2)
    played.products.send(played.who(1), "postSpot", DAY, 0, True, 1000, 0)
    played.products.send(played.who(2), "takeSpot", 1, 1000)
    played.at(1)
    played.read(0, {2: -1000})
    played.at(1, READING + 1)
    told = played.settle()
    assert list(told["payments"]) == [-300_000, 0, 300_000]


def test_sellingWhereFeedingInEarnsMore_earnsNothing(world):
    """DS10: in step 3 the supplier pays 0.05 for what is fed in, and 0.01 for what is drawn. Who sells what neither has
    is not paid the two."""
    played = Played(world, adder=0).open().join(1, 2)
    played.products.send(played.who(1), "postSpot", DAY, 3, True, 100_000, 0)
    played.products.send(played.who(2), "takeSpot", 1, 100_000)
    for step in range(3):
        played.at(step + 1, READING + 1)
        played.settle()
    played.at(4)
    played.read(3, {1: 0, 2: 0})
    assert list(played.settle()["payments"]) == [-100_000 * 50, -100_000 * 10, 100_000 * 60]


def test_buyingWhereFeedingInCosts_isCovered(world):
    """DS10: in step 2 who has over pays 0.02 for it; who buys what it does not draw has locked that, and the adder."""
    played = Played(world).open().join(1).join(2, lock=0)
    played.products.send(played.who(1), "postSpot", DAY, 2, True, 1000, 0)
    before = played.free(2)
    played.products.send(played.who(2), "takeSpot", 1, 1000)
    assert before - played.free(2) == 1000 * (20 + 50)
    assert played.ledger.view("balance", DAY, 2) == 0


def test_bring_onlyWhereTheGateIsOpen(played):
    """DS6: what comes late counts at the later steps only."""
    played.world.until(played.start + STEP - GATE)
    played.ledger.send(played.who(1), "bring", DAY, 1, 1, pairs(1, 1, [2]))
    assert [played.position(1, step) for step in range(STEPS)] == [0, 0, 1000, 500]


@pytest.mark.parametrize("round_", [3, 4, 9])
def test_bring_failsOfAnotherDay(played, round_):
    """3 is about another day; 4 has a tariff of its own, and is delivered there; 9 never was."""
    with refused(f"RoundOfOther: {round_}, {DAY}"):
        played.ledger.send(played.who(1), "bring", DAY, round_, 1, [])


def test_nominate_lastBeforeTheGate(played):
    """DS6"""
    first = played.nominate(1, [100, 200, 300, 400])
    assert played.ledger.view("nomination", DAY, 1) == (
        keccak(DAY.to_bytes(4, "big") + b"\x01\x00" + series([100, 200, 300, 400]))[:27],
        first.timestamp,
    )
    played.at(0)
    gate = played.start - GATE
    with refused(f"GateClosed: {DAY}, 0, {gate}"):
        played.nominate(1, [1, 2, 3, 4])
    played.nominate(1, [-1, 2, 3], first=1)
    assert [played.ledger.view("nominated", DAY, 1, step) for step in range(STEPS)] == [100, -1, 2, 3]
    with refused(f"NoSuchStep: {STEPS}"):
        played.nominate(1, [], first=STEPS)


def test_nominate_failsOfOtherLength(played):
    with refused("LengthMismatch: 12, 16"):
        played.nominate(1, [1, 2, 3, 4], first=1)
    with refused(f"NotMember: {DAY}, {played.who('outsider').lower()}"):
        played.nominate("outsider", [1, 2, 3, 4])


def test_missingReading_countsAsNominated(played):
    """Waited for until its deadline; then it takes what it nominated, and causes no imbalance."""
    played.nominate(1, [1000, 0, 0, 0])
    played.at(1)
    played.read(0, {2: 0, 3: 0, 4: 0})
    end = played.start + STEP
    with refused(f"ReadingsAwaited: {DAY}, 0, {end + READING}"):
        played.settle()
    played.at(1, READING + 1)
    told = played.settle()
    assert told["deviation"] == 0
    assert list(told["payments"]) == [-300_000, 0, 0, 0, 300_000]
    with refused(f"StepSettledAlready: {DAY}, 0"):
        played.read(0, {1: 5})


def test_missingReading_paysNobody(played):
    """Who keeps its meter from being read and nominates that it feeds in all that can be said gets nothing for it, and
    takes nothing from the others' part of the pool."""
    played.nominate(1, [-(2**31), 0, 0, 0])
    played.at(1)
    played.read(0, {2: 1000, 3: -1000, 4: 0})
    played.at(1, READING + 1)
    told = played.settle()
    assert told["poolEnergy"] == 1000
    assert list(told["payments"]) == [0, 190_000, -190_000, 0, 0]


def test_missingReading_isNotPaidForDrawing(world):
    """In step 3 drawing is paid 0.01: who nominates to draw all that can be said and is not read gets nothing."""
    played = Played(world, adder=0).open().join(1, 2, 3, 4)
    played.nominate(1, [2**31 - 1], first=3)
    for step in range(3):
        played.at(step + 1, READING + 1)
        played.settle()
    played.at(4)
    played.read(3, {2: 0, 3: 0, 4: 1000})
    played.at(4, READING + 1)
    assert list(played.settle()["payments"]) == [0, 0, 0, 50_000, -50_000]


def test_read_once(played):
    """DS8"""
    with refused(f"StepNotOver: {DAY}, 0, {played.start + STEP}"):
        played.read(0, {1: 5})
    played.at(1)
    with refused(f"NotSignedBy: {METER.address.lower()}"):
        played.read(0, {1: 5}, STRANGER)
    played.read(0, {1: 5, 3: -7})
    assert played.ledger.view("reading", DAY, 0, 3) == (True, -7)
    assert played.ledger.view("reading", DAY, 0, 2) == (False, 0)
    with refused(f"ReadTwice: {DAY}, 0, 3"):
        played.read(0, {2: 1, 3: -7})


def test_imbalance_sharedAndCapped(world):
    """The two who take more bear the adder on the net in proportion; nobody more than the cap."""
    played = Played(world, adder=400_000, most_adder=200_000).open().join(1, 2, 3, 4)
    played.at(1)
    played.read(0, {1: -3000, 2: -1000, 3: 2000, 4: 0})
    payments = played.settle()["payments"]
    # Net 2 kWh: 0.8, of which 0.6 and 0.2 are theirs; capped at 0.2 each. 2 of 4 kWh lacking come from the pool.
    supply = [1500 * 300, 500 * 300]
    pool = [1500 * 190, 500 * 190]
    assert list(payments[:2]) == [-(s + p + 200_000) for s, p in zip(supply, pool, strict=True)]
    assert list(payments[2:]) == [sum(pool), 0, sum(supply) + 400_000]


def test_nobodyOwesMoreThanItLocked(world):
    """DS4: 1 cannot pay for 3 kWh; it has no part in the pool, and the supplier bears the rest. The supplier locked
    nothing, and pays what it gets."""
    played = Played(world, adder=0).open(lock=0).join(2, 3, 4).join(1, lock=100_000)
    played.at(1)
    played.read(0, {1: -3000, 2: 2000, 3: 2000, 4: 0})
    receipt = played.ledger.send(played.who("outsider"), "settleStep", DAY)
    assert list(receipt.one("StepSettled")["payments"]) == [-100_000, 50_000, 50_000, 0, 0]
    lost = {event["node"]: event["amount"] for event in receipt.all("Uncovered")}
    assert lost == {1: 800_000, 2: -110_000, 3: -110_000}
    assert played.ledger.view("balance", DAY, 1) == 0


def test_pool_byShares(world):
    """3 has no share and gets nothing; what 2 does not need goes to 1."""
    shares = (0, 600_000_000, 400_000_000)
    played = Played(world, key=2).open(shares).join(1, 2, 3, 4)
    played.at(1)
    played.read(0, {1: -3000, 2: -100, 3: -1000, 4: 2000})
    told = played.settle()
    assert told["poolEnergy"] == 2000
    adder = [told["deviation"] * part * 50 // 4100 for part in (0, 3000, 3100, 4100)]
    paid = [100 * 190 + adder[2] - adder[1], 1000 * 300 + adder[3] - adder[2]]
    assert [-payment for payment in told["payments"][1:3]] == paid


@pytest.mark.parametrize(
    ("changes", "shares", "error"),
    [
        ({"key": 2}, (0, 500_000_000, 500_000_001), "SharesDoNotSumToOne: 1000000001"),
        ({"key": 2}, (), "SharesDoNotSumToOne: 0"),
        ({}, (10**9,), "LengthMismatch: 0, 4"),
        ({"step_seconds": 0}, (), "InvalidTerms: stepSeconds, 0"),
        ({"reading_seconds": 2**25}, (), f"InvalidTerms: readingSeconds, {2**25}"),
        ({"adder": 2**31}, (), f"InvalidTerms: adder, {2**31}"),
    ],
)
def test_openDay_failsOnTerms(world, changes, shares, error):
    agreed = terms_of(world.now() + 2 * GATE)
    with refused(error):
        world.open(replace(agreed, **changes), shares=shares)


def test_openDay_failsOnTime_onTariff_onWho(world):
    agreed = terms_of(world.now() + GATE)
    with refused(f"InvalidTerms: start, {agreed.start}"):
        world.open(agreed)
    agreed = terms_of(world.now() + 2 * GATE)
    with refused(f"InvalidTerms: day, {2**31}"):
        world.open(agreed, day=2**31)
    with refused("LengthMismatch: 32, 31"):
        world.ledger.send(world.addresses["supplier"], "openDay", DAY, agreed.encoded(), tariff_bytes()[1:], b"", 0)
    with refused(f"NotSupplier: {world.addresses['node 1'].lower()}"):
        world.ledger.send(world.addresses["node 1"], "openDay", DAY, agreed.encoded(), tariff_bytes(), b"", 0)
    world.open(agreed)
    with refused(f"DayOpenedAlready: {DAY}"):
        world.open(agreed)
    assert world.ledger.view("terms", DAY) == agreed.encoded()
    assert world.ledger.view("pricesOf", DAY, 1, 2) == (200_000, -20_000, 0)
    assert world.ledger.view("steps") == STEPS


def test_day_ofTwoSuppliers_tellsWhoSuppliesWhomAndOnWhat(world):
    """Nobody joins whose supplier takes no part; who does pays its own supplier's prices and fees."""
    world.supply("node 2")
    played, green = Played(world).open(), world.addresses["green"]
    with refused(f"NotSupplied: {DAY}, {green.lower()}"):
        played.join(2)
    with pytest.raises(Reverted, match="OtherTerms"):
        world.ledger.send(green, "supplyDay", DAY, bytes(32), GREEN.encoded(), MILLION)
    world.ledger.send(green, "supplyDay", DAY, played.hash, GREEN.encoded(), DEPOSIT // 2)
    of_green = world.terms_hash(played.terms, other=GREEN)
    assert [world.ledger.view("termsFor", DAY, played.who(node)) for node in (1, 2)] == [played.hash, of_green]
    world.ledger.send(played.who(2), "join", DAY, of_green, 5 * MILLION)
    played.join(1)
    supplies = [world.ledger.view("supplierOf", DAY, node) for node in (1, 2)]
    assert supplies == [world.addresses["supplier"].lower(), green.lower()]
    assert world.ledger.view("supplier") == supplies[0]
    assert world.ledger.view("settlement") == world.settlement.address.lower()
    assert [world.ledger.view("pricesOf", DAY, node, 1) for node in (1, 2)] == [
        (250_000, 100_000, 0),
        (280_000, 90_000, 20_000),
    ]


@pytest.mark.parametrize(("of_green", "brings"), [("node 1", 2), ("node 2", 1), ("node 2", 2)])
def test_bring_countsWhateverAnotherSupplierPublishesForTheRound(world, of_green, brings):
    """DS7: what 2 bought of 1 counts, whoever of them is a customer of a supplier that has a tariff for the round, and
    whoever brings it. Else that supplier could take from a partner of its customer what it bought and paid."""
    green = world.addresses["green"]
    assert any(world.settlement.view("tariffHashOf", 1, green))
    world.supply(of_green)
    played = Played(world).open()
    world.ledger.send(green, "supplyDay", DAY, played.hash, GREEN.encoded(), DEPOSIT // 2)
    for node in (1, 2):
        terms = world.ledger.view("termsFor", DAY, played.who(node))
        world.ledger.send(played.who(node), "join", DAY, terms, 5 * MILLION)
    receipt = played.ledger.send(played.who("outsider"), "bring", DAY, 1, brings, pairs(1, brings, [3 - brings]))
    assert receipt.one("Brought")["pairs"] == 1
    assert [played.position(node, 0) for node in (1, 2)] == [1500, -1500]


def test_join_onceOnTheTermsThatStand(world):
    played = Played(world, least_lock=1000).open()
    with refused(f"OtherTerms: {DAY}, {played.hash!r}"):
        world.ledger.send(played.who(1), "join", DAY, bytes(32), 1000)
    with refused("LockTooSmall: 1000, 999"):
        played.join(1, lock=999)
    with refused(f"InsufficientDeposit: {played.who(1).lower()}, {DEPOSIT}, {DEPOSIT + 1}"):
        played.join(1, lock=DEPOSIT + 1)
    played.join(1)
    with refused(f"JoinedAlready: {DAY}, 1"):
        played.join(1)
    with refused(f"NoSuchDay: {OTHER_DAY}"):
        played.join(2, day=OTHER_DAY)
    assert world.ledger.view("memberOf", DAY, 1) == played.who(1).lower()
    played.at(0)
    with refused(f"GateClosed: {DAY}, 0, {played.start - GATE}"):
        played.join(2)


def test_option_neverLeavesADebt(world, played):
    """DP4: premium, then strike; once it is exercised the writer's position is covered as any other, from what it has
    in the day beyond the least lock, and from what it locked for the option."""
    gate = played.start + 3 * STEP - GATE
    with refused("CollateralTooSmall: 200000, 199999"):  # 2 kWh at 0.05, the dearer price, and the adder
        played.products.send(played.who(1), "writeOption", DAY, 3, 2000, 100_000, 5000, 199_999, gate)
    with refused(f"UntilAfterGate: {gate}, {gate + 1}"):
        played.products.send(played.who(1), "writeOption", DAY, 3, 2000, 100_000, 5000, 200_000, gate + 1)
    with refused(f"UntilOver: {(over := played.world.now())}"):  # nobody could take it any more
        played.products.send(played.who(1), "writeOption", DAY, 3, 2000, 100_000, 5000, 200_000, over)
    played.products.send(played.who(1), "writeOption", DAY, 3, 2000, 100_000, 5000, 200_000, gate)
    with refused("OwnOffer: 1"):
        played.products.send(played.who(1), "takeOption", 1)
    played.products.send(played.who(2), "takeOption", 1)
    with refused(f"NotYours: 1, {played.who(3).lower()}"):
        played.products.send(played.who(3), "exercise", 1, 2000)
    with refused("TooMuchEnergy: 2000, 2001"):
        played.products.send(played.who(2), "exercise", 1, 2001)
    with refused(f"NotYours: 1, {played.who('outsider').lower()}"):
        played.products.send(played.who("outsider"), "endOption", 1)
    before = played.free(1), played.ledger.view("balance", DAY, 1)
    played.products.send(played.who(2), "exercise", 1, 1500)
    assert played.free(1) - before[0] == 1500 * 100 + 200_000
    assert before[1] - played.ledger.view("balance", DAY, 1) == 1500 * 100
    assert (played.position(1, 3), played.position(2, 3)) == (1500, -1500)
    assert played.ledger.view("locked", played.who(1)) == 5 * MILLION
    with refused("NotOpen: 1"):
        played.products.send(played.who(2), "exercise", 1, 1)


def test_option_lapses(played):
    """After the gate nobody exercises, and anybody ends the writer's lock."""
    gate = played.start - GATE
    played.products.send(played.who(1), "writeOption", DAY, 0, 1000, 0, 5000, 350_000, gate)
    played.products.send(played.who(2), "takeOption", 1)
    played.world.until(gate)
    with refused(f"GateClosed: {DAY}, 0, {gate}"):
        played.products.send(played.who(2), "exercise", 1, 1000)
    played.products.send(played.who("outsider"), "endOption", 1)
    assert played.free(1) == DEPOSIT - 5 * MILLION + 5000
    with refused("NotOpen: 1"):
        played.products.send(played.who(1), "endOption", 1)


@pytest.mark.parametrize(
    ("condition", "price"),
    [
        (20_000, 150_000),
        (30_000, 130_000),
        (25_500, 139_000),
        (-(2**63), 250_000),
        (2**63 - 1, 100_000),
        (None, 150_000),
    ],
)
def test_forward_withinFloorAndCap(world, played, condition, price):
    """DP5: warmer is cheaper by 0.002 a degree; what is absurd is kept within, and what is silent costs the base."""
    oracle, *_ = world.condition(DAY, 1, 0)
    gate = played.start + STEP - GATE
    played.products.send(played.who(1), "offerForward", DAY, 1, True, 2000, (*FORMULA, oracle), gate)
    played.products.send(played.who(2), "takeForward", 1)
    assert (played.position(1, 1), played.position(2, 1)) == (2000, -2000)
    assert played.ledger.view("locked", played.who(2)) == 5 * MILLION + 2000 * 250
    assert played.ledger.view("balance", DAY, 1) == 5 * MILLION - 2000 * 300
    with refused(f"ReportTooEarly: {played.start + STEP}"):
        played.products.send(played.who(3), "report", *world.condition(DAY, 1, 0))
    played.at(1)
    if condition is not None:
        with refused(f"NotSignedBy: {oracle.lower()}"):
            played.products.send(played.who(3), "report", *world.condition(DAY, 1, condition, STRANGER))
        played.products.send(played.who(3), "report", *world.condition(DAY, 1, condition))
        with refused(f"ReportedAlready: {oracle.lower()}, {DAY}, 1"):
            played.products.send(played.who(3), "report", *world.condition(DAY, 1, 5))
        assert played.products.view("condition", oracle, DAY, 1) == (True, condition)
    else:
        end = played.start + 2 * STEP + READING
        with refused(f"NotReported: {end}"):
            played.products.send(played.who(3), "settleForward", 1)
        played.world.until(end + 1)
        with refused(f"ReportTooLate: {end}"):
            played.products.send(played.who(3), "report", *world.condition(DAY, 1, 5))
    told = played.products.send(played.who(3), "settleForward", 1).one("ForwardSettled")
    assert (told["price"], told["payment"], told["reported"]) == (price, 2 * price, condition is not None)
    assert played.free(1) == DEPOSIT - 5 * MILLION + 2 * price
    assert played.free(2) == DEPOSIT - 5 * MILLION - 2 * price


def test_forward_paidByTheSellerBelowZero(world, played):
    """The proposer buys; the price falls below zero, and the seller has locked what that costs."""
    oracle, *_ = world.condition(DAY, 1, 0)
    gate = played.start + STEP - GATE
    formula = (-10_000, -2000, -50_000, -10_000, 20_000, oracle)
    played.products.send(played.who(1), "offerForward", DAY, 1, False, 1000, formula, gate)
    with refused(f"NotYours: 1, {played.who(2).lower()}"):
        played.products.send(played.who(2), "endForward", 1)
    played.products.send(played.who("supplier"), "takeForward", 1)
    played.at(1)
    played.products.send(played.who(3), "report", *world.condition(DAY, 1, 30_000))
    told = played.products.send(played.who(3), "settleForward", 1).one("ForwardSettled")
    assert told["payment"] == -30_000
    assert played.position(1, 1) == -1000


def test_forward_failsOnFormula_andEnds(world, played):
    oracle, *_ = world.condition(DAY, 1, 0)
    gate = played.start + STEP - GATE
    with refused("InvalidFormula: 2, 1, 3"):
        played.products.send(played.who(1), "offerForward", DAY, 1, True, 10, (1, 0, 2, 3, 0, oracle), gate)
    with refused(f"UntilOver: {(over := played.world.now())}"):
        played.products.send(played.who(1), "offerForward", DAY, 1, True, 10, (2, 0, 2, 3, 0, oracle), over)
    played.products.send(played.who(1), "offerForward", DAY, 1, True, 10, (2, 0, 2, 3, 0, oracle), gate)
    with refused("OwnOffer: 1"):
        played.products.send(played.who(1), "takeForward", 1)
    with refused("NotOpen: 1"):
        played.products.send(played.who(1), "settleForward", 1)
    played.world.until(gate)
    with refused(f"OfferEnded: 1, {gate}"):
        played.products.send(played.who(2), "takeForward", 1)
    played.products.send(played.who("outsider"), "endForward", 1)
    with refused("NotOpen: 1"):
        played.products.send(played.who(1), "endForward", 1)


def test_spot_inParts(played):
    """The buyer posts, so its money is locked; two sell to it, for whole units; the rest of its lock comes back with
    the last part."""
    played.products.send(played.who(1), "postSpot", DAY, 1, False, 2000, 150_001)
    assert played.ledger.view("locked", played.who(1)) == 5 * MILLION + 300_002
    with refused("OwnOffer: 1"):
        played.products.send(played.who(1), "takeSpot", 1, 10)
    with refused("TooMuchEnergy: 2000, 2001"):
        played.products.send(played.who(2), "takeSpot", 1, 2001)
    with refused("NoEnergy: "):
        played.products.send(played.who(2), "takeSpot", 1, 0)
    played.products.send(played.who(2), "takeSpot", 1, 999)
    played.products.send(played.who("supplier"), "takeSpot", 1, 1001)
    assert (played.position(1, 1), played.position(2, 1)) == (-2000, 999)
    assert played.free(2) == DEPOSIT - 5 * MILLION + 999 * 150_001 // 1000
    assert played.ledger.view("locked", played.who(1)) == 5 * MILLION
    with refused("NotOpen: 1"):
        played.products.send(played.who(1), "endSpot", 1)


def test_spot_ends(played):
    played.products.send(played.who(1), "postSpot", DAY, 0, True, 2000, -10_000)
    with refused(f"NotYours: 1, {played.who(2).lower()}"):
        played.products.send(played.who(2), "endSpot", 1)
    assert played.free(1) == DEPOSIT - 5 * MILLION - 20_000 - 2000 * 350
    played.world.until(played.start - GATE)
    with refused(f"GateClosed: {DAY}, 0, {played.start - GATE}"):
        played.products.send(played.who(2), "takeSpot", 1, 1)
    played.products.send(played.who(2), "endSpot", 1)
    assert played.free(1) == DEPOSIT - 5 * MILLION


def test_spot_endsEarlier_byWhoPostedIt(played):
    played.products.send(played.who(1), "postSpot", DAY, 3, True, 2000, -10_000)
    played.products.send(played.who(1), "endSpot", 1)
    assert played.free(1) == DEPOSIT - 5 * MILLION
    with refused("NotOpen: 1"):
        played.products.send(played.who(2), "takeSpot", 1, 1)


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("lockFor", ("node 1", 1)),
        ("unlockFor", ("node 1", 1)),
        ("pay", ("node 1", "node 2", 1)),
        ("move", (DAY, 1, 2, 3, 1000)),
    ],
)
def test_onlyProductsMoveWhatIsOthers(played, name, arguments):
    called = [played.world.addresses.get(value, value) for value in arguments]
    with refused(f"NotProducts: {played.who('supplier').lower()}"):
        played.ledger.send(played.who("supplier"), name, *called)


def test_noPool_whereFeedingInEarnsMore(played):
    """In the last step the supplier pays more than it asks: everybody is settled with it alone."""
    for step in range(3):
        played.at(step + 1, READING + 1)
        played.settle()
    played.at(4)
    played.read(3, {1: 1000, 2: -1000, 3: 0, 4: 0})
    told = played.settle()
    assert told["poolEnergy"] == 0
    assert list(told["payments"]) == [50_000, 10_000, 0, 0, -60_000]
    assert all(played.ledger.view("balance", DAY, node) > 0 for node in NODES)


# ---------------------------------------------------------------------- who changes places; what else is refused


@pytest.fixture
def aggregator(world, VirtualAggregator, manager):
    """Sends as the manager, who enrols others while no round runs."""
    made = VirtualAggregator.at(world.ledger.view("aggregator"))
    return lambda name, *arguments: getattr(made, name)(*arguments, {"from": manager})


def test_join_ofAnAccountInAnotherPlace(played, aggregator, nodes):
    """Who was enrolled anew, as another node, is in the day already."""
    aggregator("expel", [1])
    aggregator("enrol", [5], [nodes[1]])
    with refused(f"JoinedAlready: {DAY}, 5"):
        played.join(1)


def test_bring_ofWhoTookAPlace(world, aggregator, outsider):
    """The trades of a round are those of the account that was the node then."""
    aggregator("expel", [1])
    aggregator("enrol", [1], [outsider])
    played = Played(world).open().join(2)
    played.ledger.send(played.who("outsider"), "join", DAY, played.hash, 0)
    with refused(f"RoundOfOther: 1, {DAY}"):
        played.ledger.send(played.who("outsider"), "bring", DAY, 1, 1, pairs(1, 1, [2]))


def test_bring_ofAnotherDaysRound(world):
    """A round of the day before that is about another day, whoever is a member of both."""
    played = Played(world).open(day=OTHER_DAY).join(1, 2, day=OTHER_DAY)
    with refused(f"RoundOfOther: 1, {OTHER_DAY}"):
        played.ledger.send(played.who(1), "bring", OTHER_DAY, 1, 1, pairs(1, 1, [2]))


def test_bring_ofWhatWasNeverRecorded(played):
    with refused("NotRecorded: 1, 1, 4"):
        played.ledger.send(played.who(1), "bring", DAY, 1, 1, [(4, b"")])


def test_openDay_failsOfSharesInParts(world):
    played = Played(world, key=2)
    for stated in (b"\x00" * 3, b"\x00" * 516):
        with refused(f"LengthMismatch: 512, {len(stated)}"):
            arguments = DAY, played.terms.encoded(), tariff_bytes(), stated, 0
            played.ledger.send(played.who("supplier"), "openDay", *arguments)


def test_openDay_failsOfEndlessSteps(world):
    played = Played(world)
    for seconds in (0, 2**24 + 1):
        with refused(f"InvalidTerms: stepSeconds, {seconds}"):
            world.open(replace(played.terms, step_seconds=seconds))


def test_nominate_isNotTheSuppliers(played):
    with refused(f"NotMember: {DAY}, {played.who('supplier').lower()}"):
        played.nominate("supplier", [0] * STEPS)


def test_read_failsOfOtherLength(played):
    played.at(1)
    day, step, nodes, _, *proof = played.world.reading(DAY, 0, {1: 0, 2: 0})
    for length in (4, 12):
        with refused(f"LengthMismatch: 8, {length}"):
            played.ledger.send(played.who(1), "read", day, step, nodes, bytes(length), *proof)
    with refused(f"NoSuchStep: {STEPS}"):
        played.ledger.send(played.who(1), "read", day, STEPS, nodes, bytes(8), *proof)


def test_read_failsOfASignatureThatIsNone(played):
    played.at(1)
    *told, _, _ = played.world.reading(DAY, 0, {1: 0})
    with refused(f"NotSignedBy: {METER.address.lower()}"):
        played.ledger.send(played.who(1), "read", *told, bytes(32), bytes(32))


def test_offers_ofNothing(played):
    """No energy is offered, and none exercised; an option that was not taken in time is over."""
    gate = played.start + 3 * STEP - GATE
    with refused("NoEnergy: "):
        played.products.send(played.who(1), "writeOption", DAY, 3, 0, 0, 5000, 0, gate)
    with refused("NoEnergy: "):
        played.products.send(played.who(1), "postSpot", DAY, 3, True, 0, 0)
    for until in (gate, played.world.now() + 600):
        played.products.send(played.who(1), "writeOption", DAY, 3, 1000, 0, 5000, 100_000, until)
    played.products.send(played.who(2), "takeOption", 1)
    with refused("NoEnergy: "):
        played.products.send(played.who(2), "exercise", 1, 0)
    played.world.until(until)
    with refused(f"OfferEnded: 2, {until}"):
        played.products.send(played.who(2), "takeOption", 2)
    assert played.products.view("option", 2)[:3] == (DAY, 3, 1)


def test_formula_outsideItsBounds(played):
    base, slope, floor, cap, usual = FORMULA
    gate = played.start + 3 * STEP - GATE
    for wrong in ((cap + 1, floor, cap), (floor - 1, floor, cap)):
        with refused(f"InvalidFormula: {wrong[1]}, {wrong[0]}, {wrong[2]}"):
            formula = (wrong[0], slope, floor, cap, usual, ORACLE.address)
            played.products.send(played.who(1), "offerForward", DAY, 3, True, 1000, formula, gate)
    formula = (base, slope, floor, cap, usual, ORACLE.address)
    played.products.send(played.who(1), "offerForward", DAY, 3, True, 1000, formula, gate)
    assert played.products.view("forward", 1)[0] == DAY


def test_report_byTheOracleItself(played):
    """Whose account it is needs no signature; anybody else does."""
    formula = (*FORMULA, played.who("outsider"))
    gate = played.start - GATE
    played.products.send(played.who(1), "offerForward", DAY, 0, True, 1000, formula, gate)
    played.products.send(played.who(2), "takeForward", 1)
    played.at(0)
    said = played.who("outsider"), DAY, 0, 25_000, bytes(32), bytes(32)
    with refused(f"NotSignedBy: {played.who('outsider').lower()}"):
        played.products.send(played.who(2), "report", *said)
    assert len(played.products.send(played.who("outsider"), "report", *said).all("ConditionReported")) == 1


def test_spot_canBeLookedAt(played):
    played.products.send(played.who(1), "postSpot", DAY, 1, True, 2000, -10_000)
    assert played.products.view("spot", 1)[:2] == (DAY, 1)


@pytest.mark.parametrize("key", [0, 1, 2])
def test_clearing_isTheModels(Clearing, world, key):
    """DS2 to DS5: any step, with more lacking and more over, prices of both signs, fees, and balances that are not
    enough."""
    link = Link(Clearing.at(world.ledger.view("clearing")))
    chance = random.Random(key)
    prices = [(300_000, 80_000), (100_000, -300_000), (-10_000, -50_000), (10_000, 50_000)]
    for case in range(24):
        count = chance.randint(1, 6)
        nets, positions, deviations = ([chance.randint(-5000, 5000) for _ in range(count)] for _ in range(3))
        balances = [chance.choice([0, 1000, 10**6, 10**9]) for _ in range(count)]
        parts = [chance.choice([0, 0, 10**9 // count]) for _ in range(count)]
        adder, most = chance.choice([0, 50_000]), chance.choice([50, 10**12])
        of = terms_of(0, key=key, pricing=case % 2, adder=adder, most_adder=most)
        step, has = prices[case % 4], chance.choice([0, 10**9])
        peaks = [chance.choice([0, 2000]) for _ in range(count)]
        fees = chance.choice([(0, 0), (20_000, 150_000), (250_000, 2**40)])
        told = (
            nets, positions, deviations, peaks, balances, parts, key, of.pricing, *step, *fees, of.adder, of.most_adder,
            has, 10**6,
        )  # fmt: skip
        payments, uncovered, energy, price, deviation = link.view("cleared", told)
        model = cleared(nets, positions, deviations, balances, parts, of, step, has, *fees, peaks)
        assert (list(payments), list(uncovered), energy, price, deviation) == (
            list(model.payments), list(model.uncovered), model.pool_wh, model.pool_price, model.deviation,
        )  # fmt: skip
