"""TradeSettlement: deposits, statements, locks and payments."""

import random

import brownie
import pytest
from brownie import web3
from helpers import PHASE_SECONDS, TRADERS, low

START = 1_000_000_000  # token units: 1000 tEUR
NODES = (1, 2, 3)


def entry(step, energy, price):
    """One traded step: Wh, positive where the lower node sells, and 1e-6 currency/kWh."""
    return step.to_bytes(1, "big") + energy.to_bytes(4, "big", signed=True) + price.to_bytes(4, "big", signed=True)


# 1.5 kWh at 0.20 and 2 kWh at 0.10 tEUR/kWh: 0.5 tEUR from the higher node to the lower one.
SOLD = entry(3, 1500, 200_000) + entry(7, 2000, 100_000)
PRICE = 500_000
BOUGHT = entry(3, -1500, 200_000) + entry(7, -2000, 100_000)
OTHER = entry(3, 1500, 200_000)


@pytest.fixture(scope="module")
def token(TestEuro, manager, nodes):
    made = manager.deploy(TestEuro)
    for node in NODES:
        made.mint(nodes[node], START, {"from": manager})
    return made


@pytest.fixture(scope="module")
def traded(community):
    """A community of three traders whose first round has converged."""
    made = community(TRADERS)
    made.start()
    made.iterate()
    made.iterate([0] * 4)
    return made


@pytest.fixture(scope="module")
def settlement(TradeSettlement, manager, traded, token, nodes):
    """With a deposit of 10 tEUR by each household."""
    made = manager.deploy(TradeSettlement, traded.aggregator, token)
    for node in NODES:
        token.approve(made, START, {"from": nodes[node]})
        made.deposit(10_000_000, {"from": nodes[node]})
    return made


@pytest.fixture
def gifts():
    """Tokens sent past `deposit` in a test."""
    return []


@pytest.fixture(autouse=True)
def books_balance(settlement, token, nodes, gifts):
    """TS1 and TS3, after every test."""
    yield
    check_books(settlement, token, nodes, sum(gifts))


def check_books(settlement, token, nodes, gifts=0):
    held = sum(settlement.free(nodes[node]) + settlement.locked(nodes[node]) for node in NODES)
    assert held == settlement.totalDeposits() == token.balanceOf(settlement) - gifts
    assert sum(settlement.netPayment(1, node) for node in range(8)) == 0


def test_settlement_knowsItsPartners(settlement, traded, token):
    assert settlement.aggregator() == traded.aggregator
    assert settlement.token() == token
    assert settlement.lockSeconds() == PHASE_SECONDS


def test_settlement_failsIfTooManyDecimals(TradeSettlement, OddToken, manager, traded):
    manager.deploy(TradeSettlement, traded.aggregator, manager.deploy(OddToken, 18))
    with brownie.reverts("TooManyDecimals: 19"):
        manager.deploy(TradeSettlement, traded.aggregator, manager.deploy(OddToken, 19))


# ---------------------------------------------------------------------- deposits


def test_deposit_isCredited(settlement, token, household):
    """TS1"""
    tx = settlement.deposit(5, {"from": household})
    assert dict(tx.events["Deposited"]) == {"account": household, "amount": 5}
    assert settlement.free(household) == 10_000_005
    assert token.balanceOf(household) == START - 10_000_005


def test_deposit_failsIfNotApproved(settlement, outsider):
    with brownie.reverts(f"ERC20InsufficientAllowance: {low(settlement)}, 0, 5"):
        settlement.deposit(5, {"from": outsider})


def test_deposit_failsIfTheTokenTakesAFee(TradeSettlement, OddToken, manager, traded):
    """TS1"""
    odd = manager.deploy(OddToken, 6)
    made = manager.deploy(TradeSettlement, traded.aggregator, odd)
    odd.approve(made, 1000, {"from": manager})
    with brownie.reverts("ReceivedOtherAmount: 1000, 900"):
        made.deposit(1000, {"from": manager})
    assert made.totalDeposits() == 0


def test_withdraw_paysBack(settlement, token, household):
    """TS4"""
    tx = settlement.withdraw(10_000_000, {"from": household})
    assert dict(tx.events["Withdrawn"]) == {"account": household, "amount": 10_000_000}
    assert settlement.free(household) == 0
    assert token.balanceOf(household) == START


def test_withdraw_failsIfMoreThanFree(settlement, household):
    with brownie.reverts(f"InsufficientDeposit: {low(household)}, 10000000, 10000001"):
        settlement.withdraw(10_000_001, {"from": household})


def test_withdraw_leavesTheLocked(settlement, household, neighbour):
    """TS4: all but the lock, at any time."""
    settlement.state(1, [(1, SOLD)], {"from": neighbour})
    with brownie.reverts(f"InsufficientDeposit: {low(neighbour)}, 9500000, 9500001"):
        settlement.withdraw(9_500_001, {"from": neighbour})
    settlement.withdraw(9_500_000, {"from": neighbour})
    settlement.state(1, [(2, SOLD)], {"from": household})
    settlement.withdraw(10_500_000, {"from": household})


def test_directTransfer_belongsToNobody(settlement, token, household, gifts):
    """TS1: what is sent past `deposit` is in no account."""
    token.transfer(settlement, 77, {"from": household})
    gifts.append(77)
    assert settlement.totalDeposits() == 30_000_000
    settlement.deposit(1, {"from": household})
    assert settlement.totalDeposits() == 30_000_001


# ---------------------------------------------------------------------- statements


@pytest.mark.parametrize("first", [1, 2])
def test_state_recordsWhatBothState(settlement, nodes, first):
    """TS2, TS3: whoever comes first."""
    second = 3 - first
    tx = settlement.state(1, [(second, SOLD)], {"from": nodes[first]})
    locked = PRICE if first == 2 else 0
    assert dict(tx.events["Stated"]) == {
        "round": 1,
        "node": first,
        "partner": second,
        "statement": "0x" + web3.keccak(SOLD).hex().removeprefix("0x"),
        "locked": locked,
    }
    assert settlement.locked(nodes[first]) == locked
    assert not settlement.isRecorded(1, 1, 2)

    tx = settlement.state(1, [(first, SOLD)], {"from": nodes[second]})
    assert dict(tx.events["TradeRecorded"]) == {
        "round": 1,
        "lower": 1,
        "higher": 2,
        "payment": PRICE,
        "trades": "0x" + SOLD.hex(),
    }
    assert settlement.isRecorded(1, 1, 2)
    assert settlement.isRecorded(1, 2, 1)
    assert (settlement.free(nodes[1]), settlement.free(nodes[2])) == (10_000_000 + PRICE, 10_000_000 - PRICE)
    assert settlement.locked(nodes[1]) == settlement.locked(nodes[2]) == 0
    assert (settlement.netPayment(1, 1), settlement.netPayment(1, 2)) == (PRICE, -PRICE)


def test_state_paysUpwards(settlement, nodes):
    """The lower node buys."""
    settlement.state(1, [(3, BOUGHT)], {"from": nodes[1]})
    assert settlement.locked(nodes[1]) == PRICE
    settlement.state(1, [(1, BOUGHT)], {"from": nodes[3]})
    assert (settlement.netPayment(1, 1), settlement.netPayment(1, 3)) == (-PRICE, PRICE)


def test_state_takesSeveralPartners(settlement, nodes):
    """What node 2 receives from 3 in the same call pays what it owes 1."""
    settlement.withdraw(10_000_000, {"from": nodes[2]})
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    settlement.state(1, [(2, SOLD)], {"from": nodes[3]})
    settlement.state(1, [(3, OTHER)], {"from": nodes[2]})
    settlement.state(1, [(2, OTHER)], {"from": nodes[3]})
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[2])}, 300000, 500000"):
        settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    settlement.deposit(200_000, {"from": nodes[2]})
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    assert [settlement.netPayment(1, node) for node in NODES] == [500_000, -200_000, -300_000]


def test_state_saysIfStatementsDiffer(settlement, nodes):
    """TS2: nothing is paid on one side's word."""
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    tx = settlement.state(1, [(1, OTHER)], {"from": nodes[2]})
    assert dict(tx.events["StatementsDiffer"]) == {"round": 1, "lower": 1, "higher": 2}
    assert "TradeRecorded" not in tx.events
    assert not settlement.isRecorded(1, 1, 2)


def test_state_replacesTheLock(settlement, nodes):
    """TS5: a new statement of the same side frees the old lock, and may agree now."""
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    settlement.state(1, [(1, OTHER)], {"from": nodes[2]})
    assert settlement.locked(nodes[2]) == 300_000
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    assert settlement.locked(nodes[2]) == 0
    assert settlement.isRecorded(1, 1, 2)


def test_state_failsIfRecorded(settlement, nodes):
    """TS2"""
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    for node, partner in ((1, 2), (2, 1)):
        with brownie.reverts("AlreadyRecorded: 1, 1, 2"):
            settlement.state(1, [(partner, SOLD)], {"from": nodes[node]})


def test_state_failsIfNotConverged(settlement, traded, household):
    """TS6: a round that runs, and one that never was."""
    with brownie.reverts("NotConverged: 2"):
        settlement.state(2, [(2, SOLD)], {"from": household})
    traded.start()
    traded.iterate()
    with brownie.reverts("NotConverged: 2"):
        settlement.state(2, [(2, SOLD)], {"from": household})


@pytest.mark.parametrize("end", [4, 5])
def test_state_failsIfExhaustedOrAbandoned(TradeSettlement, community, manager, token, household, chain, end):
    """TS6"""
    made = community(TRADERS, mu=1)
    if end == 4:
        made.start()
        made.iterate()
    else:
        made.open()
        chain.sleep(PHASE_SECONDS + 5)
        made.aggregator.closeOverdue({"from": household})
    assert made.aggregator.outcome(1)[0] == end
    with brownie.reverts("NotConverged: 1"):
        manager.deploy(TradeSettlement, made.aggregator, token).state(1, [(2, SOLD)], {"from": household})


def test_state_failsIfNotInTheRound(settlement, outsider, manager):
    for account in (outsider, manager):
        with brownie.reverts(f"NotEnrolled: {low(account)}"):
            settlement.state(1, [(2, SOLD)], {"from": account})


def test_state_belongsToTheAccountOfTheRound(settlement, traded, manager, nodes):
    """The manager cannot give a past round's trades to somebody else, nor take them from whom it expels."""
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    traded.aggregator.expel([1], {"from": manager})
    traded.aggregator.enrol([1], [nodes[7]], {"from": manager})
    with brownie.reverts(f"NotEnrolled: {low(nodes[7])}"):
        settlement.state(1, [(2, SOLD)], {"from": nodes[7]})
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    assert settlement.netPayment(1, 1) == PRICE


@pytest.mark.parametrize("partner", [1, 4, 127, 128, 255])
def test_state_failsIfPartnerInvalid(settlement, household, partner):
    """Itself, nodes that were not in the round, and no nodes at all."""
    with brownie.reverts(f"InvalidPartner: 1, {partner}"):
        settlement.state(1, [(partner, SOLD)], {"from": household})


@pytest.mark.parametrize(
    ("trades", "position"),
    [
        (SOLD[:-1], 1),
        (SOLD + b"\x08", 2),
        (entry(3, 1, 1) + entry(3, 1, 1), 1),
        (entry(3, 1, 1) + entry(2, 1, 1), 1),
        (entry(24, 1, 1), 0),
        (entry(0, 1, 1) + entry(255, 1, 1), 1),
    ],
    ids=["cut", "excess", "twice", "descending", "beyond the horizon", "far beyond"],
)
def test_state_failsIfTradesInvalid(settlement, household, trades, position):
    with brownie.reverts(f"InvalidTrades: 2, {position}"):
        settlement.state(1, [(2, trades)], {"from": household})
    with brownie.reverts(f"InvalidTrades: 0, {position}"):
        settlement.payment(trades)


def test_state_failsIfDepositInsufficient(settlement, nodes):
    """And nothing of the call remains."""
    dear = entry(0, 100_000, 200_000)  # 20 tEUR
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[2])}, 9500000, 20000000"):
        settlement.state(1, [(1, SOLD), (3, entry(0, -100_000, 200_000))], {"from": nodes[2]})
    settlement.state(1, [(1, BOUGHT), (3, dear)], {"from": nodes[2]})
    assert settlement.locked(nodes[2]) == 0


def test_state_emptyTakesAStatementBack(settlement, nodes):
    """TS5"""
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    settlement.state(1, [(1, b"")], {"from": nodes[2]})
    assert settlement.locked(nodes[2]) == 0
    settlement.state(1, [(2, b"")], {"from": nodes[1]})
    assert settlement.isRecorded(1, 1, 2)
    assert settlement.netPayment(1, 1) == 0


# ---------------------------------------------------------------------- locks


def test_release_freesTheLock(settlement, nodes, chain):
    """TS5: and the statement with it, so that a late partner finds nothing to agree with."""
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    deadline = chain[-1].timestamp + PHASE_SECONDS
    with brownie.reverts(f"LockedUntil: {deadline}"):
        settlement.release(1, 1, {"from": nodes[2]})
    chain.sleep(PHASE_SECONDS + 5)
    tx = settlement.release(1, 1, {"from": nodes[2]})
    assert dict(tx.events["Released"]) == {"round": 1, "node": 2, "partner": 1, "amount": PRICE}
    assert (settlement.free(nodes[2]), settlement.locked(nodes[2])) == (10_000_000, 0)
    tx = settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    assert "TradeRecorded" not in tx.events
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    assert settlement.isRecorded(1, 1, 2)


def test_release_failsIfNothingLocked(settlement, nodes, chain):
    """Never stated; stated as the receiver; recorded."""
    with brownie.reverts("NothingLocked: 1, 2, 1"):
        settlement.release(1, 1, {"from": nodes[2]})
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    with brownie.reverts("NothingLocked: 1, 1, 2"):
        settlement.release(1, 2, {"from": nodes[1]})
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    chain.sleep(PHASE_SECONDS + 5)
    with brownie.reverts("NothingLocked: 1, 2, 1"):
        settlement.release(1, 1, {"from": nodes[2]})
    with brownie.reverts("NothingLocked: 1, 2, 2"):
        settlement.release(1, 2, {"from": nodes[2]})


def test_release_failsIfNotInTheRound(settlement, outsider):
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        settlement.release(1, 1, {"from": outsider})


def test_lateRecord_stillPaysFromTheLock(settlement, nodes, chain):
    """The deadline allows release; until then, the partner may still agree."""
    settlement.state(1, [(1, SOLD)], {"from": nodes[2]})
    chain.sleep(10 * PHASE_SECONDS)
    settlement.state(1, [(2, SOLD)], {"from": nodes[1]})
    assert settlement.netPayment(1, 2) == -PRICE


# ---------------------------------------------------------------------- amounts


def expected_payment(entries, decimals=6):
    total = sum(energy * price for _, energy, price in entries)  # 1e-9 currency
    amount = abs(total) * 10**decimals // 10**9
    return amount if total >= 0 else -amount


@pytest.mark.parametrize("seed", range(6))
def test_payment_equalsExactArithmetic(settlement, seed):
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
    assert settlement.payment(b"".join(entry(*one) for one in entries)) == expected_payment(entries)


@pytest.mark.parametrize(("energy", "price", "amount"), [(1, 999, 0), (-1, 999, 0), (-1, 1999, -1), (1, 1999, 1)])
def test_payment_truncatesTowardsZero(settlement, energy, price, amount):
    assert settlement.payment(entry(0, energy, price)) == amount


def test_books_balanceThroughRandomCalls(settlement, token, nodes, chain):
    """TS1 to TS5 over a random sequence of calls, some of which fail."""
    chance = random.Random(11)
    choices = [SOLD, BOUGHT, OTHER, b""]
    recorded = set()
    for _ in range(40):
        node, partner = chance.sample(NODES, 2)
        call = chance.choice(["deposit", "withdraw", "state", "state", "state", "release", "sleep"])
        pair = (min(node, partner), max(node, partner))
        try:
            if call == "deposit":
                settlement.deposit(chance.randrange(10**6), {"from": nodes[node]})
            elif call == "withdraw":
                settlement.withdraw(chance.randrange(4 * 10**6), {"from": nodes[node]})
            elif call == "state":
                tx = settlement.state(1, [(partner, chance.choice(choices))], {"from": nodes[node]})
                assert pair not in recorded
                if "TradeRecorded" in tx.events:
                    recorded.add(pair)
            elif call == "release":
                settlement.release(1, partner, {"from": nodes[node]})
            else:
                chain.sleep(PHASE_SECONDS // 3)
        except brownie.exceptions.VirtualMachineError as error:
            assert error.revert_msg.split(":")[0] in (  # noqa: PT017
                "InsufficientDeposit",
                "AlreadyRecorded",
                "NothingLocked",
                "LockedUntil",
            )
        check_books(settlement, token, nodes)
    assert recorded
    # TS5: nothing stays locked for ever.
    chain.sleep(PHASE_SECONDS + 5)
    for node in NODES:
        for partner in NODES:
            try:
                settlement.release(1, partner, {"from": nodes[node]})
            except brownie.exceptions.VirtualMachineError as error:
                assert error.revert_msg.startswith("NothingLocked")  # noqa: PT017
        assert settlement.locked(nodes[node]) == 0
        settlement.withdraw(settlement.free(nodes[node]), {"from": nodes[node]})
    assert token.balanceOf(settlement) == 0
