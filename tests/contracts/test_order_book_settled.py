"""The order book in the one settlement: who may trade in a day, and what is delivered beyond its trades."""

import pytest
from books import DAY, JOIN_SECONDS, STEP_SECONDS, STEPS, desk_of
from link import Link, refused
from reference.settlement_model import delivery_payment
from settling import DEPOSIT, METER, encode_reading, encode_tariff, entry, signed

A, B, C = (f"person {i}" for i in range(3))
BUY, SELL = False, True
TARIFF = [(300_000, 80_000), (250_000, -20_000)] * (STEPS // 2)
NOTHING = [0] * STEPS
NO_OPENING = (b"", b"", bytes(32), bytes(32), 0)


@pytest.fixture
def desk(OrderBook, TestEuro, manager, accounts):
    """Five people, who have joined the first day."""
    return desk_of(OrderBook, manager.deploy(TestEuro), manager, accounts)


@pytest.fixture
def supplier(accounts):
    return accounts[8]


@pytest.fixture
def settlement(desk, TradeSettlement, manager, supplier):
    """Settles the book's second day, which nobody has joined yet; people and supplier have deposits there, too."""
    made = Link(manager.deploy(TradeSettlement, desk.book.address, desk.token.address, supplier, METER.address))
    made.send(supplier, "publishTariff", 2, encode_tariff(TARIFF))
    desk.book.send(manager, "openRound", DAY + 1)
    for account in (*desk.people.values(), supplier):
        desk.token.send(manager, "mint", str(account), DEPOSIT)
        desk.token.send(account, "approve", made.address, DEPOSIT)
        made.send(account, "deposit", DEPOSIT)
    return made


def joined(desk, *who, round_=2):
    for one in who:
        desk.book.send(desk.people[one], "join", round_)


def over(desk, round_=2):
    desk.until(gate(desk, desk.book.view("firstStepOf", round_) + STEPS - 1))
    if desk.book.view("outcome", round_)[0] == 0:
        desk.book.send(desk.people[C], "closeOverdue")


def gate(desk, step):
    return desk.book.view("gateOf", step)


def place(desk, who, step, sells, price, energy):
    return desk.book.send(desk.people[who], "place", step, sells, price, energy, 255, True)


def deliver(settlement, sender, node, energies, trades, round_=2, send=True):
    reading = encode_reading(energies)
    signature = signed(settlement.address, round_, node, reading)
    arguments = (round_, node, reading, encode_tariff(TARIFF), [(255, trades)], *signature)
    return (settlement.send if send else settlement.attempt)(sender, "deliver", *arguments)


# ---------------------------------------------------------------------- who trades


def test_place_withoutHavingJoined_isRefused(desk, settlement, accounts):
    """MK1, OB11: neither a stranger nor who is enrolled, in this day or another; who has joined does at once."""
    step = STEPS + 3
    for who in (accounts[1], desk.people[A]):
        with refused(f"NotJoined: {step}, {str(who).lower()}"):
            desk.book.attempt(who, "place", step, SELL, 5_000, 10, 1, True)
    with refused(f"NotEnrolled: {str(accounts[1]).lower()}"):
        desk.book.attempt(accounts[1], "join", 2)
    joined(desk, A)
    assert place(desk, A, step, SELL, 5_000, 10).names == ["Placed"]
    with refused(f"NotJoined: {2 * STEPS}, {str(desk.people[A]).lower()}"):
        desk.book.attempt(desk.people[A], "place", 2 * STEPS, SELL, 5_000, 10, 1, True)


def test_join_twiceOrTooLate_isRefused(desk, settlement):
    joined(desk, A)
    with refused("AlreadyDeclared: 0"):
        desk.book.attempt(desk.people[A], "join", 2)
    desk.until(desk.now() + JOIN_SECONDS + 1)
    desk.book.send(desk.people[C], "closeOverdue")
    with refused("WrongPhase: 3"):
        desk.book.attempt(desk.people[B], "join", 2)
    phase, _, present, day, _ = desk.book.view("outcome", 2)
    assert (phase, present, day) == (3, 1, DAY + 1)


def test_round_endsWhenAllAreHeard_andTradingGoesOn(desk, settlement):
    """Who abstains is not in it; the next day can be opened while this one is traded."""
    desk.book.send(desk.people[C], "abstain", 2)
    joined(desk, A, B, "person 3", "person 4")
    assert desk.book.view("outcome", 2)[:3] == (3, 0, 0b11011)
    assert place(desk, A, STEPS, SELL, 5_000, 10).names == ["Placed"]
    assert place(desk, B, STEPS, BUY, 5_000, 10).names == ["Traded"]
    assert desk.book.view("agreedIn", DAY + 1) == 2


def test_round_inWhichNobodyJoins_isAbandoned(desk, settlement):
    for who in desk.people.values():
        desk.book.send(who, "abstain", 2)
    assert desk.book.view("outcome", 2)[:3] == (5, 0, 0)
    assert desk.book.view("agreedIn", DAY + 1) == 0


def test_openRound_isAboutTheNextDayWhoseFirstGateIsOpen(desk, settlement, manager):
    joined(desk, *desk.people)
    assert [desk.book.view("firstStepOf", round_) for round_ in (1, 2)] == [0, STEPS]
    desk.until(gate(desk, 4 * STEPS) - STEP_SECONDS)
    assert desk.book.send(manager, "openRound", DAY + 5).one("DayInBook")["firstStep"] == 4 * STEPS
    joined(desk, *desk.people, round_=3)
    desk.until(gate(desk, 5 * STEPS))
    assert desk.book.send(manager, "openRound", DAY + 7).one("DayInBook")["firstStep"] == 6 * STEPS


def test_manager_onlyOpensNewDays(desk, settlement, manager, accounts):
    """What is traded is paid: no day is replaced, and there is one product."""
    joined(desk, *desk.people)
    for name, arguments, reason in (
        ("replaceRound", (DAY + 1, 2), f"DayAgreed: {DAY + 1}, 2"),
        ("openRound", (DAY + 1,), f"DayAgreed: {DAY + 1}, 2"),
        ("openRoundOf", (0, DAY + 1, 2), f"DayAgreed: {DAY + 1}, 2"),
        ("openRoundOf", (1, DAY + 2, 0), "ProductTooLarge: 1"),
        ("closeOverdueOf", (1,), "ProductTooLarge: 1"),
        ("closeOverdue", (), "WrongPhase: 3"),
    ):
        with refused(reason):
            desk.book.attempt(manager, name, *arguments)
    for name, arguments in (("openRound", (1,)), ("enrol", ([9], [str(accounts[1])])), ("expel", ([0],))):
        with refused(f"OwnableUnauthorizedAccount: {str(accounts[1]).lower()}"):
            desk.book.attempt(accounts[1], name, *arguments)
    desk.book.send(manager, "openRoundOf", 0, DAY + 2, 0)
    deadline = desk.book.view("progress")[3]
    for name, arguments in (("closeOverdue", ()), ("closeOverdueOf", (0,))):
        with refused(f"DeadlineNotPassed: {deadline}"):
            desk.book.attempt(manager, name, *arguments)
    with refused("RoundsRun: 1"):
        desk.book.attempt(manager, "expel", [0])


# ---------------------------------------------------------------------- what is delivered


def test_deliver_beyondWhatWasTraded(desk, settlement, supplier, accounts):
    """MK2: A sold 700 Wh to B at 0.1 and fed in 1,000; B bought 700 + 40 and drew 900. The book has paid the trades,
    the settlement pays the rest, and both conserve money. A trade of each way in a step counts as what it leaves."""
    joined(desk, A, B, C)
    first = STEPS
    place(desk, A, first, SELL, 100_000, 700)
    place(desk, B, first, BUY, 100_000, 700)
    place(desk, C, first + 1, SELL, 50_000, 60)
    place(desk, B, first + 1, BUY, 50_000, 60)
    place(desk, C, first + 1, BUY, 70_000, 20)
    place(desk, B, first + 1, SELL, 70_000, 20)
    over(desk)
    traded = {0: {0: 700}, 1: {0: -700, 1: -40}, 2: {1: 40}}
    read = {0: {0: 1_000}, 1: {0: -900}, 2: {}}
    for node, energies in read.items():
        reading, sold = ([values.get(step, 0) for step in range(STEPS)] for values in (energies, traded[node]))
        trades = b"".join(entry(step, energy, 0) for step, energy in sorted(traded[node].items()))
        before = settlement.view("free", str(desk.people[f"person {node}"]))
        deliver(settlement, accounts[1], node, reading, trades)
        expected = delivery_payment(reading, sold, TARIFF, 6)
        assert expected != 0
        assert settlement.view("netPayment", 2, node) == expected
        assert settlement.view("free", str(desk.people[f"person {node}"])) == before + expected
    nets = [settlement.view("netPayment", 2, node) for node in range(5)]
    assert sum(nets) + settlement.view("supplierPayment", 2) == 0
    held = [settlement.view("free", str(account)) for account in (*desk.people.values(), supplier)]
    assert sum(held) == settlement.view("totalDeposits")


@pytest.mark.parametrize(
    "told",
    [
        b"",
        entry(0, 699, 0),
        entry(0, -700, 0),
        entry(1, 700, 0),
        entry(0, 700, 1),
        entry(0, 700, 0) + entry(1, 1, 0),
        entry(0, 700, 0) * 2,
        entry(0, 700, 0)[:-1],
        entry(0, 700, 0) + b"\0",
    ],
    ids=["none", "less", "other way", "other step", "a price", "more", "twice", "cut", "a byte more"],
)
def test_attack_deliverWithOtherTrades(desk, settlement, accounts, told):
    """MK2: whoever delivers cannot leave out, or change, what a household has traded."""
    joined(desk, A, B)
    place(desk, A, STEPS, SELL, 100_000, 700)
    place(desk, B, STEPS, BUY, 100_000, 700)
    over(desk)
    with refused(settlement_error(desk, settlement, "WrongTrades", 2, 0)):
        deliver(settlement, accounts[1], 0, NOTHING, told, send=False)
    for positions in ([], [(255, entry(0, 700, 0))] * 2, [(1, entry(0, 700, 0))]):
        reading = encode_reading(NOTHING)
        arguments = (2, 0, reading, encode_tariff(TARIFF), positions)
        with refused("WrongPositions: 2, 0"):
            settlement.attempt(accounts[1], "deliver", *arguments, *signed(settlement.address, 2, 0, reading))
    deliver(settlement, accounts[1], 0, NOTHING, entry(0, 700, 0))


def test_attack_deliverBeforeTheLastGate(desk, settlement, accounts):
    """MK2: what is traded after that would be delivered by nobody."""
    joined(desk, A, B)
    desk.until(desk.now() + JOIN_SECONDS + 1)
    desk.book.send(desk.people[C], "closeOverdue")
    last = gate(desk, 2 * STEPS - 1)
    with refused(settlement_error(desk, settlement, "TradingGoesOn", 2, last)):
        deliver(settlement, accounts[1], 0, NOTHING, b"", send=False)
    over(desk)
    deliver(settlement, accounts[1], 0, NOTHING, b"")


def test_attack_pairsStateTradesOfAMarket(desk, settlement):
    """They would be paid, and delivered, beside those of the book."""
    joined(desk, *desk.people)
    with refused(settlement_error(desk, settlement, "NotInPairs")):
        settlement.attempt(desk.people[A], "state", 2, [(1, entry(0, 700, 100_000), NO_OPENING)], NO_OPENING)
    settlement.send(desk.people[B], "state", 2, [(0, entry(0, 700, 100_000), NO_OPENING)], NO_OPENING)
    assert int.from_bytes(settlement.view("recorded", 2, 0, 1), "big") == 0


def settlement_error(desk, settlement, name, *values):
    """An error of the book, as it comes through the settlement, which does not know its name."""
    return f"0x{desk.book.error_data(name, *values).hex()}"
