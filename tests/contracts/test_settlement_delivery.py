"""TradeSettlement: tariffs, readings, deliveries and arrears."""

import random

import brownie
import pytest
from brownie import chain, web3
from eth_utils import keccak
from helpers import PHASE_SECONDS, low
from hexbytes import HexBytes
from link import Link, refused
from reference.settlement_model import delivery_payment, limited
from settling import (
    BOOKS,
    BOUGHT,
    DEPOSIT,
    METER,
    OTHER,
    PRICE,
    SILENT,
    SOLD,
    STEPS,
    TARIFF,
    encode_reading,
    encode_tariff,
    signed,
)

pytest_plugins = ["settling_fixtures"]
pytestmark = pytest.mark.usefixtures("priced", "books_balance")


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain; brownie forgets the contracts that a test has deployed."""


NOTHING = [0] * STEPS
PLANNED = [1500 if step == 3 else 2000 if step == 7 else 0 for step in range(STEPS)]  # of node 1, where SOLD is all
SURPLUS = [energy + 1000 for energy in PLANNED]
SHORTFALL = [energy - 1000 for energy in PLANNED]
# 1 kWh at each of 24 steps: 12 x 0.08 - 12 x 0.02 tEUR fed in, 12 x (0.30 + 0.25) tEUR drawn.
FED_IN, DRAWN = 720_000, 6_600_000


@pytest.fixture(scope="module")
def priced(settle):
    """Round 2 has converged, and its tariff was published before anybody declared."""
    settle.price(2)
    return settle


# ---------------------------------------------------------------------- tariff


def test_tariff_isPublishedBeforeTheRound(contract, supplier):
    """Also before it is opened."""
    tx = contract.publishTariff(3, encode_tariff(), {"from": supplier})
    assert dict(tx.events["TariffPublished"]) == {
        "round": 3,
        "supplier": supplier,
        "tariff": "0x" + encode_tariff().hex(),
    }
    assert str(contract.tariffHash(3)) == "0x" + web3.keccak(encode_tariff()).hex().removeprefix("0x")
    with brownie.reverts("TariffPublishedAlready: 3"):
        contract.publishTariff(3, encode_tariff(), {"from": supplier})


def test_tariff_isPublishedWhileNobodyHasDeclared(priced, contract, supplier):
    priced.market.open()
    contract.publishTariff(3, encode_tariff(), {"from": supplier})


def test_tariff_failsOnceSomebodyHasDeclared(priced, contract, supplier):
    """TS7: everybody who takes part has been able to read it."""
    priced.market.open()
    priced.market.declare(3, {1: BOOKS[1]})
    with brownie.reverts("TariffTooLate: 3"):
        contract.publishTariff(3, encode_tariff(), {"from": supplier})


def test_attack_tariffAfterTheStart(priced, contract, supplier):
    """TS7: neither while the round iterates nor when it is over."""
    priced.market.open()
    priced.market.declare(3, BOOKS)
    for round_ in (3, 1, 0):
        with brownie.reverts(f"TariffTooLate: {round_}"):
            contract.publishTariff(round_, encode_tariff(), {"from": supplier})


def test_tariff_isTheSuppliers(contract, household, manager):
    for account in (household, manager):
        with brownie.reverts(f"NotSupplier: {low(account)}"):
            contract.publishTariff(3, encode_tariff(), {"from": account})


@pytest.mark.parametrize("length", [0, 8 * STEPS - 1, 8 * STEPS + 8])
def test_tariff_failsIfLengthWrong(contract, supplier, length):
    with brownie.reverts(f"LengthMismatch: {8 * STEPS}, {length}"):
        contract.publishTariff(3, bytes(length), {"from": supplier})


# ---------------------------------------------------------------------- delivery


@pytest.mark.parametrize(
    ("energies", "amount"),
    [(PLANNED, 0), (SURPLUS, FED_IN), (SHORTFALL, -DRAWN)],
    ids=["as planned", "surplus", "shortfall"],
)
def test_deliver_settlesTheDeviation(priced, contract, supplier, nodes, energies, amount):
    """TS3, TS7: after the recorded trades."""
    priced.record(1, 2, SOLD, 2)
    before = contract.free(nodes[1])
    tx = priced.deliver(1, energies, 2, positions=[(2, SOLD)])
    assert dict(tx.events["Delivered"]) == {
        "round": 2,
        "node": 1,
        "payment": amount,
        "arrears": 0,
        "energies": "0x" + encode_reading(energies).hex(),
    }
    assert contract.delivered(2, 1)
    assert contract.netPayment(2, 1) == PRICE + amount
    assert contract.supplierPayment(2) == -amount
    assert contract.free(nodes[1]) == before + amount
    assert contract.free(supplier) == DEPOSIT - amount


def test_deliver_countsTradesFromBothSides(priced, contract):
    """Energy bought is expected at the meter as drawn; a higher node that sells as fed in."""
    priced.record(1, 2, SOLD, 2)
    priced.record(1, 3, BOUGHT, 2)
    priced.record(2, 3, OTHER, 2)
    for node, said, planned in (
        (1, [(2, SOLD), (3, BOUGHT)], {}),
        (2, [(1, SOLD), (3, OTHER)], {7: -2000}),
        (3, [(1, BOUGHT), (2, OTHER)], {7: 2000}),
    ):
        energies = [planned.get(step, 0) for step in range(STEPS)]
        tx = priced.deliver(node, energies, 2, positions=said)
        assert tx.events["Delivered"]["payment"] == 0
        assert contract.positions(2, node) == 2


def test_deliver_withoutTrades(priced, contract):
    """What was not traded is the supplier's, all of it."""
    tx = priced.deliver(1, [-1000] * STEPS, 2)
    assert tx.events["Delivered"]["payment"] == -DRAWN


def test_attack_oneOfABatch_keepsNoneOfTheOthers(priced, contract, Deliveries, manager, supplier):
    """Readings of a batch can be seen while it waits. Who delivers one of them before, or puts one in that nobody has
    signed, takes nothing from the others, which come to what they come to alone."""
    reading, batches = encode_reading([-1000] * STEPS), manager.deploy(Deliveries)

    def one(node, round_=2):
        return node, reading, [], *signed(contract, round_, node, reading)

    priced.deliver(2, [-1000] * STEPS, 2)
    all_ = [one(1), one(2), one(3, round_=1), one(200), one(4)]
    tx = batches.deliver(contract, 2, encode_tariff(), all_, {"from": supplier})
    skipped = {event["node"]: HexBytes(event["reason"]) for event in tx.events["NotDelivered"]}
    assert skipped.keys() == {2, 3, 200}
    assert skipped[2][:4] == keccak(text="AlreadyDelivered(uint32,uint8)")[:4]
    assert [(event["node"], event["payment"]) for event in tx.events["Delivered"]] == [(1, -DRAWN), (4, -DRAWN)]
    assert [contract.delivered(2, node) for node in (1, 2, 3, 4)] == [True, True, False, True]
    again = batches.deliver(contract, 2, encode_tariff(), [one(3)], {"from": supplier})
    assert "NotDelivered" not in again.events
    # A settlement that gives no reason, as where gas was used up: here a contract that knows no deliveries at all.
    with refused("MoreGasNeeded: 1"):
        Link(batches).attempt(supplier, "deliver", str(batches), 2, encode_tariff(), [one(1)])


@pytest.mark.parametrize("seed", range(4))
def test_deliver_equalsExactArithmetic(priced, contract, supplier, token, manager, nodes, seed):
    """Truncated towards zero, once a delivery; the largest and smallest readings."""
    chance = random.Random(seed)
    ends = [-(2**31), 2**31 - 1, 0, 1, -1]
    energies = [chance.choice([*ends, chance.randint(-1500, 1500)]) for _ in range(STEPS)]
    riches = 2**31 * STEPS * 300_000
    for account in (supplier, nodes[1]):
        token.mint(account, riches, {"from": manager})
        token.approve(contract, riches, {"from": account})
        contract.deposit(riches, {"from": account})
    tx = priced.deliver(1, energies, 2)
    assert tx.events["Delivered"]["payment"] == delivery_payment(energies, [0] * STEPS, TARIFF, 6)


def test_deliver_ofARoundWithoutAgreement(TradeSettlement, new_market, manager, token, supplier, nodes, chain):
    """TS7: a finished round is enough, and whoever declared has a meter."""
    books = {node: BOOKS[node] for node in (1, 2, 3, 4)}
    bids = {(1, 2): (0, 0, 0), (1, 3): (0, 0), (2, 1): (0, 0, 0), (2, 3): (0,), (2, 4): (0,)}
    made = new_market(books, mu=1)
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
    token.approve(other, DEPOSIT, {"from": supplier})
    other.deposit(DEPOSIT, {"from": supplier})
    other.publishTariff(1, encode_tariff(), {"from": supplier})
    made.open()
    made.declare(1, books, bids)
    reading = encode_reading([1000] * STEPS)
    said = (1, 1, reading, encode_tariff(), [], *signed(other, 1, 1, reading))
    with brownie.reverts("NotFinished: 1"):
        other.deliver(*said, {"from": nodes[1]})
    made.iterate(1, 1, books, bids)
    assert made.aggregator.outcome(1)[0] == 4
    other.deliver(*said, {"from": nodes[1]})
    assert other.netPayment(1, 1) == FED_IN == -other.supplierPayment(1)


def test_deliver_ofWhoAbstained(TradeSettlement, new_market, manager, token, supplier, nodes):
    """TS7: who kept out of the round has a meter all the same, but no trades."""
    bids, books = {(1, 2): (0, 0, 0)}, {1: BOOKS[1], 2: BOOKS[2]}
    made = new_market(books, mu=1)
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
    token.approve(other, DEPOSIT, {"from": supplier})
    other.deposit(DEPOSIT, {"from": supplier})
    other.publishTariff(1, encode_tariff(), {"from": supplier})
    made.open()
    made.aggregator.abstain(1, {"from": nodes[2]})
    made.declare(1, {1: books[1]}, bids)
    made.iterate(1, 1, {1: books[1]}, bids)
    assert made.aggregator.outcome(1)[0] == 4
    assert made.aggregator.outcome(1)[2] == 1 << 1
    reading = encode_reading([1000] * STEPS)
    other.deliver(1, 2, reading, encode_tariff(), [], *signed(other, 1, 2, reading), {"from": nodes[1]})
    assert other.netPayment(1, 2) == FED_IN


def test_tariff_failsOnceSomebodyHasAbstained(priced, contract, supplier, nodes):
    priced.market.open()
    priced.market.aggregator.abstain(3, {"from": nodes[2]})
    with brownie.reverts("TariffTooLate: 3"):
        contract.publishTariff(3, encode_tariff(), {"from": supplier})


def test_deliver_ofWhoWasSilent(priced, contract, nodes):
    """TS7: who was out of the round has a meter all the same."""
    priced.deliver(SILENT, [-1000] * STEPS, 2)
    assert contract.arrears(nodes[SILENT]) == DRAWN


def test_deliver_failsIfNotFinished(priced, contract, supplier):
    contract.publishTariff(3, encode_tariff(), {"from": supplier})
    for step in ("before", "declaring", "iterating"):
        if step == "declaring":
            priced.market.open()
        elif step == "iterating":
            priced.market.declare(3, BOOKS)
        with brownie.reverts("NotFinished: 3"):
            priced.deliver(1, NOTHING, 3)


def test_deliver_failsIfDelivered(priced):
    """TS7"""
    priced.deliver(1, SURPLUS, 2)
    for energies in (SURPLUS, NOTHING):
        with brownie.reverts("AlreadyDelivered: 2, 1"):
            priced.deliver(1, energies, 2)


@pytest.mark.parametrize("steps", [0, STEPS - 1, STEPS + 1])
def test_deliver_failsIfLengthWrong(priced, steps):
    with brownie.reverts(f"LengthMismatch: {4 * STEPS}, {4 * steps}"):
        priced.deliver(1, [0] * steps, 2)


def test_deliver_failsIfTariffWrong(priced):
    """TS7: other prices, the bytes of none, and a round without a tariff."""
    dearer = encode_tariff([(900_000, 0)] * STEPS)
    for tariff in (dearer, b"", encode_tariff()[:-1]):
        with brownie.reverts("WrongTariff: 2"):
            priced.deliver(1, NOTHING, 2, tariff=tariff)
    with brownie.reverts("WrongTariff: 1"):
        priced.deliver(1, NOTHING, 1)


@pytest.mark.parametrize(
    "said",
    [
        [],
        [(2, SOLD)],
        [(2, SOLD), (2, SOLD)],
        [(3, BOUGHT), (2, SOLD)],
        [(2, SOLD), (3, SOLD)],
        [(2, SOLD), (4, b"")],
        [(2, SOLD), (3, BOUGHT), (4, b"")],
    ],
    ids=["none", "one missing", "twice", "descending", "other trades", "not recorded", "one too many"],
)
def test_deliver_failsIfPositionsWrong(priced, said):
    """TS7: all recorded trades, and nothing else."""
    priced.record(1, 2, SOLD, 2)
    priced.record(1, 3, BOUGHT, 2)
    with brownie.reverts("WrongPositions: 2, 1"):
        priced.deliver(1, NOTHING, 2, positions=said)


def test_deliver_failsForStatementsOfOneSide(priced):
    """TS2, TS8: what only one side states is no trade."""
    priced.state(1, {2: SOLD}, 2)
    for node, partner in ((1, 2), (2, 1)):
        with brownie.reverts(f"WrongPositions: 2, {node}"):
            priced.deliver(node, NOTHING, 2, positions=[(partner, SOLD)])


def test_deliver_closesTheNodesTrades(priced, contract, nodes, chain):
    """A pair cannot be recorded any more, whichever of the two was delivered; its locks end by all the ways but one."""
    priced.state(2, {1: SOLD, 3: OTHER}, 2)
    assert contract.locked(nodes[2]) == PRICE
    priced.deliver(1, NOTHING, 2)
    with brownie.reverts("AlreadyDelivered: 2, 1"):
        priced.state(1, {2: SOLD}, 2)
    tx = priced.state(2, {1: SOLD, 3: OTHER}, 2)
    assert [(one["node"], one["partner"]) for one in tx.events["Skipped"]] == [(2, 1)]
    assert contract.locked(nodes[2]) == 0
    priced.state(3, {2: OTHER}, 2)
    assert contract.positions(2, 2) == contract.positions(2, 3) == 1


def test_deliver_waitsForTheSuppliersMoney(priced, contract, supplier, nodes):
    """Nothing is lost: it can be made again."""
    contract.withdraw(DEPOSIT, {"from": supplier})
    with brownie.reverts(f"InsufficientDeposit: {low(supplier)}, 0, {FED_IN}"):
        priced.deliver(1, [1000] * STEPS, 2)
    assert not contract.delivered(2, 1)
    contract.deposit(FED_IN, {"from": supplier})
    priced.deliver(1, [1000] * STEPS, 2)
    assert contract.free(supplier) == 0


def test_deliver_needsAMeteringAccount(TradeSettlement, priced, manager, token, supplier):
    """Where nobody meters, no signature is good: not even one that recovers to nobody."""
    nobody = "0x" + "00" * 20
    other = manager.deploy(TradeSettlement, priced.market.aggregator, token, supplier, nobody)
    for r, vs in ((bytes(32), bytes(32)), (b"\x01" * 32, b"\x00" * 32)):
        with brownie.reverts("WrongReading: 2, 1"):
            other.deliver(2, 1, encode_reading(NOTHING), encode_tariff(), [], r, vs, {"from": manager})


# ---------------------------------------------------------------------- arrears


@pytest.fixture
def in_arrears(priced, contract, nodes):
    """Node 1 has 1 tEUR and owes 6.6."""
    contract.withdraw(DEPOSIT - 1_000_000, {"from": nodes[1]})
    tx = priced.deliver(1, [-1000] * STEPS, 2)
    assert tx.events["Delivered"]["payment"] == -DRAWN
    assert tx.events["Delivered"]["arrears"] == DRAWN - 1_000_000
    return DRAWN - 1_000_000


def test_arrears_areWhatCannotBePaid(contract, supplier, nodes, in_arrears):
    assert contract.arrears(nodes[1]) == in_arrears
    assert contract.free(nodes[1]) == 0
    assert contract.free(supplier) == DEPOSIT + 1_000_000
    assert contract.netPayment(2, 1) == -DRAWN == -contract.supplierPayment(2)


def test_arrears_stay_whateverOfNothingIsMoved(priced, contract, nodes, in_arrears):
    """Nothing deposited, nothing withdrawn, more than nothing refused."""
    contract.deposit(0, {"from": nodes[1]})
    contract.withdraw(0, {"from": nodes[1]})
    assert contract.arrears(nodes[1]) == in_arrears
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[1])}, 0, 1"):
        contract.withdraw(1, {"from": nodes[1]})
    assert (contract.free(nodes[1]), contract.locked(nodes[1])) == (0, 0)


def test_arrears_arePaidByDeposits(contract, supplier, nodes, in_arrears):
    """TS4: before anything can be withdrawn; what is more is free."""
    tx = contract.deposit(2_000_000, {"from": nodes[1]})
    assert dict(tx.events["ArrearsPaid"]) == {"account": nodes[1], "creditor": supplier, "amount": 2_000_000}
    assert contract.arrears(nodes[1]) == in_arrears - 2_000_000
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[1])}, 0, 1"):
        contract.withdraw(1, {"from": nodes[1]})
    contract.deposit(in_arrears, {"from": nodes[1]})
    assert contract.arrears(nodes[1]) == 0
    assert contract.free(nodes[1]) == 2_000_000
    assert contract.free(supplier) == DEPOSIT + DRAWN
    contract.withdraw(2_000_000, {"from": nodes[1]})


def test_arrears_arePaidByTrades(priced, contract, nodes, in_arrears):
    """Of another round; whether the payment comes from the partner's lock or in its own call."""
    priced.state(1, {2: SOLD})
    tx = priced.state(2, {1: SOLD})
    assert tx.events["ArrearsPaid"]["amount"] == PRICE
    assert contract.arrears(nodes[1]) == in_arrears - PRICE
    assert contract.netPayment(1, 1) == PRICE


def test_arrears_arePaidByLocks(priced, contract, nodes, chain):
    """TS5: what was locked before they arose pays them when the lock ends."""
    priced.state(1, {3: BOUGHT})
    contract.withdraw(DEPOSIT - PRICE, {"from": nodes[1]})
    priced.deliver(1, [-1000] * STEPS, 2)
    assert contract.arrears(nodes[1]) == DRAWN
    priced.state(1, {3: b""})
    assert (contract.free(nodes[1]), contract.locked(nodes[1])) == (0, 0)
    assert contract.arrears(nodes[1]) == DRAWN - PRICE


def test_arrears_arePaidByDeliveries(priced, contract, supplier, nodes, in_arrears):
    contract.publishTariff(3, encode_tariff(), {"from": supplier})
    priced.market.converge()
    tx = priced.deliver(1, [1000] * STEPS, 3)
    assert tx.events["Delivered"]["payment"] == FED_IN
    assert tx.events["ArrearsPaid"]["amount"] == FED_IN
    assert contract.arrears(nodes[1]) == in_arrears - FED_IN
    assert contract.free(supplier) == DEPOSIT + 1_000_000


def test_arrears_addUp(priced, contract, supplier, nodes, in_arrears):
    contract.publishTariff(3, encode_tariff(), {"from": supplier})
    priced.market.converge()
    priced.deliver(1, [-1000] * STEPS, 3)
    assert contract.arrears(nodes[1]) == in_arrears + DRAWN


def test_supplier_mayBeAHousehold(TradeSettlement, new_market, manager, token, supplier):
    """It owes nothing to itself."""
    people = {1: supplier, 2: manager}
    books = {1: {2: (3,)}, 2: {1: (3,)}}
    made = new_market(books, people=people)
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
    token.approve(other, DEPOSIT, {"from": supplier})
    other.deposit(1_000_000, {"from": supplier})
    for round_, energies in ((1, [-1000] * STEPS), (2, [1000] * STEPS)):
        other.publishTariff(round_, encode_tariff(), {"from": supplier})
        made.converge(books, {(1, 2): (0,), (2, 1): (0,)})
        reading = encode_reading(energies)
        other.deliver(round_, 1, reading, encode_tariff(), [], *signed(other, round_, 1, reading), {"from": manager})
        assert other.netPayment(round_, 1) == -other.supplierPayment(round_)
        assert other.free(supplier) == other.totalDeposits() == 1_000_000
        assert other.arrears(supplier) == 0
    other.withdraw(1_000_000, {"from": supplier})


def test_arrears_areForgiven(priced, contract, supplier, nodes, in_arrears):
    """TS11: by the creditor only, in part or whole; no money moves, and what comes in later is the household's."""
    with brownie.reverts(f"NotSupplier: {low(nodes[1])}"):
        contract.forgive(nodes[1], 1, {"from": nodes[1]})
    tx = contract.forgive(nodes[1], 1_000_000, {"from": supplier})
    assert dict(tx.events["ArrearsForgiven"]) == {"account": nodes[1], "amount": 1_000_000}
    assert contract.arrears(nodes[1]) == in_arrears - 1_000_000
    tx = contract.forgive(nodes[1], 2**255, {"from": supplier})
    assert tx.events["ArrearsForgiven"]["amount"] == in_arrears - 1_000_000
    assert contract.arrears(nodes[1]) == 0
    contract.deposit(500_000, {"from": nodes[1]})
    assert contract.free(nodes[1]) == 500_000
    with brownie.reverts("AlreadyDelivered: 2, 1"):
        priced.deliver(1, [-1000] * STEPS, 2)  # they do not come back


# ---------------------------------------------------------------------- corrections


def correct(contract, party, node, energies, round_=2, tariff=None, positions=()):
    tariff = encode_tariff() if tariff is None else tariff
    return contract.correct(round_, node, encode_reading(energies), tariff, positions, {"from": party})


@pytest.mark.parametrize("first", ["household", "supplier"])
def test_correct_needsBoth(priced, contract, supplier, nodes, first):
    """TS3, TS11: nothing moves before both have said the same; then the difference does, once."""
    parties = (nodes[1], supplier) if first == "household" else (supplier, nodes[1])
    priced.deliver(1, [-1000] * STEPS, 2)
    before = contract.free(nodes[1])
    tx = correct(contract, parties[0], 1, [-500] * STEPS)
    assert tx.events["CorrectionProposed"]["payment"] == -DRAWN // 2
    correct(contract, parties[0], 1, [-500] * STEPS)  # twice is not both
    correct(contract, parties[1], 1, [-400] * STEPS)  # something else is no consent
    assert contract.free(nodes[1]) == before
    tx = correct(contract, parties[1], 1, [-500] * STEPS)
    assert dict(tx.events["Corrected"])["payment"] == -DRAWN // 2
    assert contract.free(nodes[1]) == before + DRAWN // 2
    assert contract.netPayment(2, 1) == -DRAWN // 2 == -contract.supplierPayment(2)
    correct(contract, parties[1], 1, [-500] * STEPS)  # it was used up
    assert contract.free(nodes[1]) == before + DRAWN // 2


def test_correct_countsTrades(priced, contract, supplier, nodes):
    """What was recorded stays as it is: a correction is about what is beyond it."""
    priced.record(1, 2, SOLD, 2)
    priced.deliver(1, SURPLUS, 2, positions=[(2, SOLD)])
    for party in (nodes[1], supplier):
        correct(contract, party, 1, SHORTFALL, positions=[(2, SOLD)])
    assert contract.netPayment(2, 1) == PRICE - DRAWN
    with brownie.reverts("WrongPositions: 2, 1"):
        correct(contract, nodes[1], 1, NOTHING)


def test_correct_endsArrearsFirst(priced, contract, supplier, nodes, in_arrears):
    """What the supplier gives back needs none of its money as far as it was never paid."""
    contract.withdraw(contract.free(supplier), {"from": supplier})
    for party in (nodes[1], supplier):
        correct(contract, party, 1, [-500] * STEPS)
    assert contract.arrears(nodes[1]) == in_arrears - DRAWN // 2
    assert contract.free(nodes[1]) == 0
    correct(contract, nodes[1], 1, [0] * STEPS)
    with brownie.reverts(f"InsufficientDeposit: {low(supplier)}, 0, 1000000"):
        correct(contract, supplier, 1, [0] * STEPS)


def test_correct_mayAddToArrears(priced, contract, supplier, nodes, in_arrears):
    """TS11: the household has consented."""
    for party in (nodes[1], supplier):
        tx = correct(contract, party, 1, [-2000] * STEPS)
    assert tx.events["Corrected"]["arrears"] == DRAWN
    assert contract.arrears(nodes[1]) == in_arrears + DRAWN


def test_correct_failsIfNotConcerned(priced, contract, nodes, manager, supplier):
    with brownie.reverts("NotDelivered: 2, 1"):
        correct(contract, supplier, 1, NOTHING)
    priced.deliver(1, NOTHING, 2)
    for stranger in (nodes[2], manager):
        with brownie.reverts(f"NotConcerned: 2, 1, {low(stranger)}"):
            correct(contract, stranger, 1, NOTHING)
    with brownie.reverts("WrongTariff: 2"):
        correct(contract, supplier, 1, NOTHING, tariff=encode_tariff()[::-1])
    with brownie.reverts(f"LengthMismatch: {4 * STEPS}, 4"):
        correct(contract, supplier, 1, [0])


# ---------------------------------------------------------------------- what a household can come to owe


def next_round(priced, supplier, prices=TARIFF):
    """A round that converges, with a tariff."""
    opened = priced.market.aggregator.progress()[0] + 1
    priced.contract.publishTariff(opened, encode_tariff(prices), {"from": supplier})
    assert priced.market.converge() == opened
    return opened


def test_limitDebit_boundsADelivery(priced, contract, supplier, nodes):
    """TS10: whatever the tariff is; from the next round that is opened on, and no earlier."""
    tx = contract.limitDebit(1_500_000, {"from": nodes[1]})
    assert dict(tx.events["DebitLimited"]) == {"account": nodes[1], "round": 3, "most": 1_500_000}
    assert [contract.debitLimit(round_, nodes[1]) for round_ in (1, 2, 3, 9)] == [0, 0, 1_500_000, 1_500_000]
    round_ = next_round(priced, supplier, [(2_000_000_000, 80_000)] * STEPS)
    dear = encode_tariff([(2_000_000_000, 80_000)] * STEPS)
    free = contract.free(nodes[1])
    tx = priced.deliver(1, [-1000] * STEPS, round_, tariff=dear)
    assert dict(tx.events["DebitCut"])["payment"] == -48_000_000_000
    assert dict(tx.events["Delivered"])["payment"] == contract.netPayment(round_, 1) == -1_500_000
    assert (contract.free(nodes[1]), contract.arrears(nodes[1])) == (free - 1_500_000, 0)
    priced.deliver(1, [-1000] * STEPS, 2)
    assert contract.netPayment(2, 1) == -DRAWN  # it was declared without a limit


def test_limitDebit_cannotBeSetAfterwards(priced, contract, supplier, nodes):
    """TS10: when the round is over; and a limit that is not reached changes nothing."""
    round_ = next_round(priced, supplier)
    contract.limitDebit(1, {"from": nodes[1]})
    contract.limitDebit(DRAWN, {"from": nodes[2]})
    priced.deliver(1, [-1000] * STEPS, round_)
    assert contract.netPayment(round_, 1) == -DRAWN
    round_ = next_round(priced, supplier)
    tx = priced.deliver(2, [-1000] * STEPS, round_)
    assert "DebitCut" not in tx.events
    tx = priced.deliver(1, [1000] * STEPS, round_)
    assert tx.events["Delivered"]["payment"] == FED_IN  # what comes in has no limit
    contract.limitDebit(0, {"from": nodes[1]})
    round_ = next_round(priced, supplier)
    priced.deliver(1, [-1000] * STEPS, round_)
    assert contract.netPayment(round_, 1) == -DRAWN


def test_attack_limitDebitHasEnergyThatNobodyHasPaidFor(priced, contract, supplier, nodes):
    """TS10, TS14: two sell each other what neither has, and the seller has limited itself to next to nothing: it pays
    what is missing all the same, so that the two earn nothing."""
    contract.limitDebit(1, {"from": nodes[1]})
    round_ = next_round(priced, supplier)
    priced.record(1, 2, SOLD, round_)
    before = contract.free(supplier)
    cut = priced.deliver(1, NOTHING, round_, positions=[(2, SOLD)]).events
    assert "DebitCut" not in cut
    assert cut["Delivered"]["payment"] == -(3500 * 300_000) // 1000
    assert (
        priced.deliver(2, NOTHING, round_, positions=[(1, SOLD)]).events["Delivered"]["payment"]
        == 3500 * 80_000 // 1000
    )
    assert contract.free(supplier) == before + 3500 * 220_000 // 1000


@pytest.mark.parametrize("seed", range(4))
def test_limitDebit_isWhatTheModelSays(priced, contract, supplier, nodes, seed):
    """TS10: of readings, prices and limits drawn by chance; in some steps feeding in earns more than drawing costs."""
    chance = random.Random(seed)
    prices = [(chance.randint(-50_000, 2_000_000), chance.randint(-50_000, 400_000)) for _ in range(STEPS)]
    limits = {node: chance.choice([1, 200_000, 1_000_000, 3_000_000]) for node in (1, 2)}
    for node, most in limits.items():
        contract.limitDebit(most, {"from": nodes[node]})
    round_ = next_round(priced, supplier, prices)
    priced.record(1, 2, SOLD, round_)
    for node, sign in ((1, 1), (2, -1)):
        sold = [{3: 1500, 7: 2000}.get(step, 0) * sign for step in range(STEPS)]
        energies = [chance.choice([0, chance.randint(-3000, 3000)]) for _ in range(STEPS)]
        full = delivery_payment(energies, sold, prices, 6)
        pays = limited(full, limits[node], energies, sold, prices, 6)
        events = priced.deliver(
            node, energies, round_, tariff=encode_tariff(prices), positions=[(3 - node, SOLD)]
        ).events
        assert events["Delivered"]["payment"] == pays
        assert ("DebitCut" in events) == (pays != full)


@pytest.mark.parametrize("word", ["declares", "abstains"])
def test_limitDebit_countsUntilANodeHasSaidAnything(
    new_market, settle, TradeSettlement, manager, supplier, nodes, word
):
    """TS10: in every order of a limit, another one, and the node's word, against a model: the last limit before it
    counts for the round, and the last of all for the next one. Who says nothing owes nothing."""
    orders = ["ab!", "a!b", "!ab", "!", "ab", ""]  # "!": its word
    aggregator = new_market(range(1, len(orders) + 1)).aggregator
    contract = manager.deploy(TradeSettlement, aggregator, settle.token, supplier, METER.address)
    tariff = encode_tariff([(2_000_000_000, 80_000)] * STEPS)
    contract.publishTariff(1, tariff, {"from": supplier})
    aggregator.openRound(20_260_101, {"from": manager})
    owed = {}
    for node, order in enumerate(orders, 1):
        limit, said = 0, None
        for what in order:
            if what != "!":
                limit = node * 1000 + ord(what)
                contract.limitDebit(limit, {"from": nodes[node]})
                continue
            said = limit
            if word == "abstains":
                aggregator.abstain(1, {"from": nodes[node]})
            else:
                aggregator.declare(1, node, 0, 0, 0, b"", {"from": nodes[node]})
        assert contract.debitLimit(1, nodes[node]) == (limit if said is None else said)
        assert contract.debitLimit(2, nodes[node]) == limit
        owed[node] = None if said is None else said or 2_000_000_000 * STEPS
    while aggregator.progress()[2] < 3:
        chain.sleep(PHASE_SECONDS + 1)
        aggregator.closeOverdue({"from": manager})
    reading = encode_reading([-1000] * STEPS)
    for node, owes in owed.items():
        delivery = (1, node, reading, tariff, [], *signed(contract, 1, node, reading), {"from": supplier})
        if owes is None:
            with brownie.reverts(f"WrongReading: 1, {node}"):
                contract.deliver(*delivery)
        else:
            contract.deliver(*delivery)
        assert contract.arrears(nodes[node]) == (owes or 0)


# ---------------------------------------------------------------------- one round settles a day


def again(priced, supplier, day_of=2, end="Converged"):
    """A round for the day of another one, which was agreed."""
    market = priced.market
    day = market.aggregator.outcome(day_of)[3]
    opened = market.aggregator.progress()[0] + 1
    priced.contract.publishTariff(opened, encode_tariff(), {"from": supplier})
    market.aggregator.replaceRound(day, day_of, {"from": market.aggregator.owner()})
    if end == "Converged":
        assert market.converge(opened=opened) == opened
    return opened, day


def test_aReplacedRound_settlesNothing(priced, contract, supplier):
    """TS9"""
    other, day = again(priced, supplier)
    with brownie.reverts(f"OtherRoundOfDay: {day}, {other}"):
        priced.state(1, {2: SOLD}, 2)
    with brownie.reverts(f"OtherRoundOfDay: {day}, {other}"):
        priced.deliver(1, NOTHING, 2)
    assert contract.settledIn(day) == 0
    priced.record(1, 2, SOLD, other)
    assert contract.settledIn(day) == other
    priced.deliver(1, PLANNED, other, positions=[(2, SOLD)])
    assert contract.netPayment(other, 1) == PRICE


@pytest.mark.parametrize("how", ["a trade", "a reading"])
def test_aDayThatIsSettled_isSettledByNoOther(priced, contract, supplier, how):
    """TS9: replacing it comes too late; nothing is paid twice, and the rest of the first round still is."""
    if how == "a trade":
        priced.record(1, 2, SOLD, 2)
    else:
        priced.deliver(3, NOTHING, 2)
    other, day = again(priced, supplier)
    with brownie.reverts(f"OtherRoundOfDay: {day}, 2"):
        priced.state(1, {2: SOLD}, other)
    with brownie.reverts(f"OtherRoundOfDay: {day}, 2"):
        priced.deliver(1, NOTHING, other)
    if how != "a trade":
        priced.record(1, 2, SOLD, 2)
    priced.deliver(1, PLANNED, 2, positions=[(2, SOLD)])
    assert contract.netPayment(2, 1) == PRICE


def test_aDayAgreedInNoRound_isDeliveredOnce(priced, contract, supplier, nodes, chain):
    """TS9: of a replacement that was abandoned and of the round before it, the first that is delivered."""
    other, day = again(priced, supplier, end="Abandoned")
    priced.market.declare(other, {1: BOOKS[1], 2: BOOKS[2]})
    chain.sleep(7200)
    for _ in range(3):
        if priced.market.aggregator.outcome(other)[0] == 0:
            chain.sleep(7200)
            priced.market.aggregator.closeOverdue({"from": nodes[5]})
    with brownie.reverts(f"OtherRoundOfDay: {day}, 0"):
        priced.deliver(1, NOTHING, 2)
    priced.deliver(1, NOTHING, other)
    with brownie.reverts(f"OtherRoundOfDay: {day}, {other}"):
        priced.deliver(2, NOTHING, 2)
