"""TradeSettlement: deposits, statements, locks and payments."""

import math
import random
from fractions import Fraction

import brownie
import pytest
from brownie import web3
from helpers import PHASE_SECONDS, low
from link import Link, refused
from reference.settlement_model import payment
from settling import (
    BIDS,
    BOOKS,
    BOUGHT,
    DEARER,
    DEPOSIT,
    METER,
    NODES,
    OTHER,
    PRICE,
    SILENT,
    SOLD,
    START,
    entry,
    statement,
)

pytest_plugins = ["settling_fixtures"]
pytestmark = pytest.mark.usefixtures("books_balance")


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain; brownie forgets the contracts that a test has deployed."""


def keccak(data):
    return "0x" + web3.keccak(data).hex().removeprefix("0x")


def test_settlement_knowsItsPartners(contract, market, token, supplier):
    assert contract.aggregator() == market.aggregator
    assert contract.agreement() == market.aggregator.agreement()
    assert contract.token() == token
    assert contract.supplier() == supplier
    assert contract.metering() == METER.address
    assert contract.lockSeconds() == PHASE_SECONDS


def test_settlement_failsIfTooManyDecimals(TradeSettlement, OddToken, manager, market, supplier):
    manager.deploy(TradeSettlement, market.aggregator, manager.deploy(OddToken, 18), supplier, supplier)
    with brownie.reverts("TooManyDecimals: 19"):
        manager.deploy(TradeSettlement, market.aggregator, manager.deploy(OddToken, 19), supplier, supplier)


# ---------------------------------------------------------------------- deposits


def test_deposit_isCredited(contract, token, household):
    """TS1"""
    tx = contract.deposit(5, {"from": household})
    assert dict(tx.events["Deposited"]) == {"account": household, "amount": 5}
    assert contract.free(household) == DEPOSIT + 5
    assert token.balanceOf(household) == START - DEPOSIT - 5


def test_deposit_failsIfNotApproved(contract, outsider):
    with brownie.reverts(f"ERC20InsufficientAllowance: {low(contract)}, 0, 5"):
        contract.deposit(5, {"from": outsider})


def test_withdraw_paysBack(contract, token, household):
    """TS4"""
    tx = contract.withdraw(DEPOSIT, {"from": household})
    assert dict(tx.events["Withdrawn"]) == {"account": household, "amount": DEPOSIT}
    assert contract.free(household) == 0
    assert token.balanceOf(household) == START


def test_withdraw_failsIfMoreThanFree(contract, household):
    with brownie.reverts(f"InsufficientDeposit: {low(household)}, {DEPOSIT}, {DEPOSIT + 1}"):
        contract.withdraw(DEPOSIT + 1, {"from": household})


def test_withdraw_leavesTheLocked(settle, contract, neighbour):
    """TS4: all but the lock, at any time."""
    settle.state(2, {1: SOLD})
    with brownie.reverts(f"InsufficientDeposit: {low(neighbour)}, {DEPOSIT - PRICE}, {DEPOSIT - PRICE + 1}"):
        contract.withdraw(DEPOSIT - PRICE + 1, {"from": neighbour})
    contract.withdraw(DEPOSIT - PRICE, {"from": neighbour})
    settle.state(1, {2: SOLD})
    contract.withdraw(DEPOSIT + PRICE, {"from": settle.market.accounts[1]})


def test_directTransfer_belongsToNobody(contract, token, household, gifts):
    """TS1: what is sent past `deposit` is in no account."""
    before = contract.totalDeposits()
    token.transfer(contract, 77, {"from": household})
    gifts.append(77)
    assert contract.totalDeposits() == before
    contract.deposit(1, {"from": household})
    assert contract.totalDeposits() == before + 1


# ---------------------------------------------------------------------- statements


@pytest.mark.parametrize("first", [1, 2])
def test_state_recordsWhatBothState(settle, contract, nodes, first):
    """TS2, TS3: whoever comes first."""
    second = 3 - first
    tx = settle.state(first, {second: SOLD})
    held = PRICE if first == 2 else 0
    assert dict(tx.events["Stated"]) == {
        "round": 1,
        "node": first,
        "partner": second,
        "statement": keccak(SOLD),
        "locked": held,
    }
    assert contract.locked(nodes[first]) == held
    deadline = tx.timestamp + PHASE_SECONDS if held else 0
    assert [str(value) for value in contract.stated(1, first, second)] == [keccak(SOLD), str(held), str(deadline)]
    assert int(str(contract.recorded(1, 1, 2)), 16) == 0

    tx = settle.state(second, {first: SOLD})
    assert tx.events["Stated"]["locked"] == 0
    assert dict(tx.events["TradeRecorded"]) == {
        "round": 1,
        "lower": 1,
        "higher": 2,
        "payment": PRICE,
        "trades": "0x" + SOLD.hex(),
    }
    assert str(contract.recorded(1, 1, 2)) == str(contract.recorded(1, 2, 1)) == keccak(SOLD)
    assert (contract.free(nodes[1]), contract.free(nodes[2])) == (DEPOSIT + PRICE, DEPOSIT - PRICE)
    assert contract.locked(nodes[1]) == contract.locked(nodes[2]) == 0
    assert (contract.netPayment(1, 1), contract.netPayment(1, 2)) == (PRICE, -PRICE)
    assert contract.positions(1, 1) == contract.positions(1, 2) == 1


@pytest.mark.parametrize("first", [1, 3])
def test_state_paysUpwards(settle, contract, nodes, first):
    """The lower node buys."""
    settle.state(first, {4 - first: BOUGHT})
    assert contract.locked(nodes[1]) == (PRICE if first == 1 else 0)
    settle.state(4 - first, {first: BOUGHT})
    assert contract.locked(nodes[1]) == 0
    assert (contract.netPayment(1, 1), contract.netPayment(1, 3)) == (-PRICE, PRICE)


def test_state_takesSeveralPartners(settle, contract, nodes):
    """What node 2 receives from 3 in the same call pays what it owes 1."""
    contract.withdraw(DEPOSIT, {"from": nodes[2]})
    settle.state(1, {2: SOLD, 3: BOUGHT})
    settle.state(3, {1: BOUGHT, 2: OTHER})
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[2])}, 300000, 500000"):
        settle.state(2, {3: OTHER, 1: SOLD})
    contract.deposit(200_000, {"from": nodes[2]})
    settle.state(2, {3: OTHER, 1: SOLD})
    assert [contract.netPayment(1, node) for node in NODES] == [0, -200_000, 200_000, 0]
    assert [contract.positions(1, node) for node in NODES] == [2, 2, 2, 0]


def test_state_withoutPayment_isRecorded(settle, contract):
    """A trade may be a gift; nobody locks anything."""
    given = entry(3, 1500, 0) + entry(7, 2000, 0)
    tx = settle.record(1, 2, given)
    assert tx.events["TradeRecorded"]["payment"] == 0
    assert contract.positions(1, 2) == 1


def test_state_saysIfStatementsDiffer(settle, contract):
    """TS2: nothing is paid on one side's word."""
    settle.state(1, {2: SOLD})
    tx = settle.state(2, {1: DEARER})
    assert dict(tx.events["StatementsDiffer"]) == {"round": 1, "lower": 1, "higher": 2}
    assert "TradeRecorded" not in tx.events
    assert int(str(contract.recorded(1, 1, 2)), 16) == 0


def test_state_replacesTheLock(settle, contract, nodes):
    """TS5: a new statement of the same side frees the old lock, and may agree now."""
    settle.state(1, {2: SOLD})
    settle.state(2, {1: DEARER})
    assert contract.locked(nodes[2]) == 650_000
    settle.state(2, {1: SOLD})
    assert contract.locked(nodes[2]) == 0
    assert str(contract.recorded(1, 1, 2)) == keccak(SOLD)


@pytest.mark.parametrize("side", [1, 2])
def test_state_emptyTakesAStatementBack(settle, contract, nodes, side):
    """TS5: and is never recorded."""
    said = DEARER if side == 2 else BOUGHT
    partner = 1 if side == 2 else 3
    settle.state(side, {partner: said})
    assert contract.locked(nodes[side]) > 0
    tx = settle.state(side, {partner: b""})
    assert tx.events["Stated"]["locked"] == 0
    assert int(str(tx.events["Stated"]["statement"]), 16) == 0
    assert contract.locked(nodes[side]) == 0
    tx = settle.state(partner, {side: b""})
    assert "TradeRecorded" not in tx.events
    assert "StatementsDiffer" not in tx.events
    assert int(str(contract.recorded(1, side, partner)), 16) == 0
    settle.state(partner, {side: SOLD if side == 2 else said})
    assert int(str(contract.recorded(1, side, partner)), 16) == 0


@pytest.mark.parametrize("again", [SOLD, b""], ids=["the same", "nothing"])
def test_state_skipsWhatIsRecorded(settle, contract, nodes, again):
    """TS2, TS12: neither paid twice nor taken back; and what else is stated counts."""
    settle.record(1, 2, SOLD)
    settle.state(3, {1: BOUGHT})
    before = [contract.free(nodes[node]) for node in (1, 2)]
    tx = settle.state(2, {1: again})
    assert list(tx.events.keys()) == ["Skipped"]
    tx = settle.state(1, {2: again, 3: BOUGHT})
    assert str(contract.recorded(1, 1, 3)) == keccak(BOUGHT)
    reason = "0x" + Link(contract).error_data("AlreadyRecorded", 1, 1, 2).hex()
    assert [(one["node"], one["partner"], str(one["reason"])) for one in tx.events["Skipped"]] == [(1, 2, reason)]
    assert str(contract.recorded(1, 1, 2)) == keccak(SOLD)
    assert [contract.free(nodes[1]), contract.free(nodes[2])] == [before[0] - PRICE, before[1]]


def test_state_failsIfNotConverged(settle, market):
    """TS6: a round that never was, one that is declared, and one that iterates."""
    for step in ("before", "declaring", "iterating"):
        if step == "declaring":
            market.open()
        elif step == "iterating":
            market.declare(2, BOOKS)
        with brownie.reverts("NotConverged: 2"):
            settle.state(1, {2: SOLD}, round_=2)


@pytest.mark.parametrize("end", [4, 5])
def test_state_failsIfExhaustedOrAbandoned(TradeSettlement, new_market, manager, token, supplier, nodes, chain, end):
    """TS6"""
    books = {node: BOOKS[node] for node in NODES}
    made = new_market(books, mu=1)
    made.open()
    if end == 4:
        made.declare(1, books)
        made.iterate(1, 1, books, BIDS)
    else:
        chain.sleep(PHASE_SECONDS + 5)
        made.aggregator.closeOverdue({"from": nodes[1]})
    assert made.aggregator.outcome(1)[0] == end
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, supplier)
    with brownie.reverts("NotConverged: 1"):
        other.state(1, [], (b"", b"", bytes(32), bytes(32), 0), {"from": nodes[1]})


def test_state_failsIfNotInTheRound(contract, outsider, manager):
    for account in (outsider, manager):
        with brownie.reverts(f"NotEnrolled: {low(account)}"):
            contract.state(1, [], (b"", b"", bytes(32), bytes(32), 0), {"from": account})


def test_state_failsIfMoreThanThereCanBe(contract, nodes):
    nothing = (b"", b"", bytes(32), bytes(32), 0)
    with brownie.reverts("LengthMismatch: 128, 129"):
        contract.state(1, [(2, b"", nothing)] * 129, nothing, {"from": nodes[1]})


@pytest.mark.parametrize("partner", [1, 0, 7, 127, 128, 255, SILENT])
def test_state_failsIfPartnerInvalid(settle, partner):
    """TS6: itself, nodes that were not in the round, no nodes at all, one that was silent at the end."""
    with brownie.reverts(f"InvalidPartner: 1, {partner}"):
        settle.state(1, {partner: SOLD})


def test_state_failsIfSilentAtTheEnd(settle):
    """TS6: who was out cannot settle either."""
    with brownie.reverts(f"InvalidPartner: {SILENT}, 1"):
        settle.state(SILENT, {1: entry(3, 1, 1)})


@pytest.mark.parametrize(
    ("trades", "position"),
    [
        (SOLD[:-1], 1),
        (SOLD[:4], 0),
        (SOLD + b"\x08", 2),
        (entry(3, 1, 1) + entry(3, 1, 1), 1),
        (entry(3, 1, 1) + entry(2, 1, 1), 1),
        (entry(24, 1, 1), 0),
        (entry(0, 1, 1) + entry(255, 1, 1), 1),
    ],
    ids=["cut", "no entry", "excess", "twice", "descending", "beyond the horizon", "far beyond"],
)
def test_state_failsIfTradesInvalid(settle, contract, trades, position):
    with brownie.reverts(f"InvalidTrades: 2, {position}"):
        settle.state(1, {2: trades})
    with brownie.reverts(f"InvalidTrades: 0, {position}"):
        contract.payment(trades)


def test_state_failsIfDepositInsufficient(settle, contract, nodes):
    """And nothing of the call remains."""
    dear = entry(3, 1500, 20_000_000)  # 30 tEUR
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[3])}, {DEPOSIT}, 30000000"):
        settle.state(3, {1: BOUGHT, 2: dear})
    assert int(str(contract.stated(1, 3, 1)[0]), 16) == 0
    settle.state(2, {3: dear})
    assert contract.locked(nodes[2]) == 0


# ---------------------------------------------------------------------- bids


def test_state_ofTheHigherNodeNeedsNoOpening(settle):
    nothing = (b"", b"", bytes(32), bytes(32), 0)
    settle.state(2, {1: SOLD}, own=nothing, partner=nothing)
    assert "TradeRecorded" in settle.state(1, {2: SOLD}).events


def test_state_fitsBidsAtTheEndsOfTheirRange(new_market, TradeSettlement, manager, token, supplier, nodes):
    """TS2: all steps, largest and smallest bids; energies are the nearest, halves away from zero."""
    _statesNearest(new_market, TradeSettlement, manager, token, supplier, nodes, missing=(0, 0))


@pytest.mark.parametrize("missing", [(1, 0), (0, 5), (3, 7), (24, 2)])
def test_state_bidsThatAreNotThereAreZero(new_market, TradeSettlement, manager, token, supplier, nodes, missing):
    """TS2: a node declares fewer bids than its book has steps."""
    _statesNearest(new_market, TradeSettlement, manager, token, supplier, nodes, missing)


def _statesNearest(new_market, TradeSettlement, manager, token, supplier, nodes, missing):
    """Trades of two nodes that bid at all steps but the last `missing` are recorded as the arithmetic has them."""
    steps = tuple(range(24))
    chance = random.Random(3)
    ends = (32767, -32768, 0, 1, -1, 2, -2, 3, -3)
    bids = {
        (node, partner): tuple(chance.choice([*ends, chance.randint(-9000, 9000)]) for _ in steps)
        for node, partner in ((1, 2), (2, 1))
    }
    books = {1: {2: steps}, 2: {1: steps}}
    made = new_market(books)
    there = {(node, partner): own[: len(steps) - missing[node - 1]] for (node, partner), own in bids.items()}
    made.converge(books, there)
    bids = {pair: own + (0,) * (len(steps) - len(own)) for pair, own in there.items()}
    contract = manager.deploy(TradeSettlement, made.aggregator, token, supplier, supplier)
    both = zip(steps, bids[1, 2], bids[2, 1], strict=True)
    energies = [(step, _nearest(Fraction(own - other, 4))) for step, own, other in both]
    assert any(energy == 0 for _, energy in energies)
    said = statement((step, energy, 0) for step, energy in energies if energy)
    contract.state(1, [(2, said, made.openings[1, 2])], made.openings[1, 1], {"from": nodes[1]})
    contract.state(1, [(1, said, made.openings[1, 1])], made.openings[1, 2], {"from": nodes[2]})
    assert str(contract.recorded(1, 1, 2)) == keccak(said)


@pytest.mark.parametrize(("units", "energy"), [(1, 0), (2, 1), (5, 1), (6, 2), (-1, 0), (-2, -1), (-6, -2)])
def test_nearest_byHand(units, energy):
    """Of quarters of a watt-hour."""
    assert _nearest(Fraction(units, 4)) == energy


def _nearest(energy):
    return (1 if energy > 0 else -1) * math.floor(abs(energy) + Fraction(1, 2))


# ---------------------------------------------------------------------- locks


def test_release_freesTheLock(settle, contract, nodes, chain):
    """TS5: and the statement with it, so that a late partner finds nothing to agree with."""
    tx = settle.state(2, {1: SOLD})
    with brownie.reverts(f"LockedUntil: {tx.timestamp + PHASE_SECONDS}"):
        contract.release(1, 1, {"from": nodes[2]})
    chain.sleep(PHASE_SECONDS + 5)
    tx = contract.release(1, 1, {"from": nodes[2]})
    assert dict(tx.events["Released"]) == {"round": 1, "node": 2, "partner": 1, "amount": PRICE}
    assert (contract.free(nodes[2]), contract.locked(nodes[2])) == (DEPOSIT, 0)
    tx = settle.state(1, {2: SOLD})
    assert "TradeRecorded" not in tx.events
    settle.state(2, {1: SOLD})
    assert str(contract.recorded(1, 1, 2)) == keccak(SOLD)


def test_release_failsIfNothingLocked(settle, contract, nodes, chain):
    """Never stated; stated as the receiver; recorded; with itself."""
    with brownie.reverts("NothingLocked: 1, 2, 1"):
        contract.release(1, 1, {"from": nodes[2]})
    settle.state(1, {2: SOLD})
    with brownie.reverts("NothingLocked: 1, 1, 2"):
        contract.release(1, 2, {"from": nodes[1]})
    settle.state(2, {1: SOLD})
    chain.sleep(PHASE_SECONDS + 5)
    with brownie.reverts("NothingLocked: 1, 2, 1"):
        contract.release(1, 1, {"from": nodes[2]})
    with brownie.reverts("NothingLocked: 1, 2, 2"):
        contract.release(1, 2, {"from": nodes[2]})


def test_release_failsIfNotInTheRound(contract, outsider):
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        contract.release(1, 1, {"from": outsider})


def test_lateRecord_stillPaysFromTheLock(settle, contract, chain):
    """The deadline allows release; until then, the partner may still agree."""
    settle.state(2, {1: SOLD})
    chain.sleep(10 * PHASE_SECONDS)
    settle.state(1, {2: SOLD})
    assert contract.netPayment(1, 2) == -PRICE


# ---------------------------------------------------------------------- amounts


@pytest.mark.parametrize("seed", range(6))
def test_payment_equalsExactArithmetic(contract, seed):
    """Truncated towards zero, once a pair."""
    chance = random.Random(seed)
    ends = [-(2**31), 2**31 - 1, 0, 1, -1]
    entries = [
        (
            step,
            chance.choice([*ends, chance.randint(-5000, 5000)]),
            chance.choice([*ends, chance.randint(0, 400_000)]),
        )
        for step in range(24)
        if chance.random() < 0.7
    ]
    assert contract.payment(statement(entries)) == payment(tuple(entries), 6)


@pytest.mark.parametrize(("energy", "price", "amount"), [(1, 999, 1), (-1, 999, -1), (-1, 1001, -2), (1, 2000, 2)])
def test_payment_ofABegunUnit(contract, energy, price, amount):
    assert contract.payment(entry(0, energy, price)) == amount


def test_agreementOfPairs_isNoMarket(market, AgreedBids):
    """Nobody is told what a node has traded with all at once, where nodes trade in pairs."""
    bids = Link(AgreedBids.at(market.aggregator.agreement()))
    assert not bids.view("isMarket")
    with refused("NoMarket: "):
        bids.attempt(market.accounts[1], "requireTraded", 1, 1, b"")
