"""TradeSettlement: what others try."""

import brownie
import pytest
from eth_account import Account
from helpers import PHASE_SECONDS, low
from settling import (
    BOUGHT,
    DEARER,
    DEPOSIT,
    METER,
    NO_OPENING,
    NODES,
    PRICE,
    SOLD,
    START,
    STEPS,
    encode_reading,
    entry,
    signed,
)

pytest_plugins = ["settling_fixtures"]
pytestmark = pytest.mark.usefixtures("priced", "books_balance")


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain; brownie forgets the contracts that a test has deployed."""


READING = encode_reading([1000] * STEPS)
NONE, TAKES_FEE, SAYS_NO, SAYS_NOTHING, REVERTS, CALLS_BACK = range(6)


@pytest.fixture(scope="module")
def priced(settle):
    """Rounds 2 and 3 have converged, with a tariff."""
    settle.price(2, 3)
    return settle


# ---------------------------------------------------------------------- statements


@pytest.mark.parametrize(("first", "second"), [(DEARER, SOLD), (SOLD, DEARER)], ids=["more", "less"])
def test_attack_oneSideStatesOtherNumbers(priced, contract, nodes, first, second):
    """TS2: the buyer's word or the seller's, nothing is paid; the locks are their owners'."""
    priced.state(2, {1: first})
    priced.state(1, {2: second})
    assert not priced.is_recorded(1, 1, 2)
    assert contract.free(nodes[1]) == DEPOSIT
    assert contract.free(nodes[2]) + contract.locked(nodes[2]) == DEPOSIT
    priced.state(2, {1: b""})
    assert contract.free(nodes[2]) == DEPOSIT


@pytest.mark.parametrize(
    ("trades", "step"),
    [
        (entry(3, 1501, 200_000) + entry(7, 2000, 100_000), 3),
        (entry(3, -1500, 200_000) + entry(7, -2000, 100_000), 3),
        (entry(3, 1500, 200_000), 7),
        (entry(7, 2000, 100_000), 3),
        (entry(2, 1500, 200_000) + SOLD, 3),
        (SOLD + entry(11, 1, 1), 11),
        (SOLD + entry(23, 1, 1), 23),
        (entry(3, 1500, 200_000) + entry(8, 2000, 100_000), 7),
    ],
    ids=[
        "more",
        "other direction",
        "less steps",
        "not the first",
        "one before",
        "too small",
        "one after",
        "other step",
    ],
)
def test_attack_statementThatDoesNotFitTheBids(priced, contract, trades, step):
    """TS2: not even where both sides state it."""
    priced.state(2, {1: trades})
    with brownie.reverts(f"DoesNotFitBids: 2, {step}"):
        priced.state(1, {2: trades})
    assert not priced.is_recorded(1, 1, 2)


@pytest.mark.parametrize(
    ("lower", "higher", "step"), [(1, 4, 3), (2, 4, 5), (3, 4, 3)], ids=["one-sided book", "other steps", "no book"]
)
def test_attack_tradeThatNobodyBidFor(priced, lower, higher, step):
    """TS2: the books must list each other with the same steps. Bids that one side made alone count for nothing."""
    for trades in (entry(step, 750, 1), entry(step, -750, 1), entry(step, 25, 1)):
        with brownie.reverts(f"DoesNotFitBids: {higher}, {step}"):
            priced.state(lower, {higher: trades})


@pytest.mark.parametrize(
    ("book", "bids", "energy"),
    [
        (b"\x01\x01\x03", (-3000,), 1500),
        (b"\x01\x01\x03\x09", (-3000,), 1500),
        (b"\x01\x01\x03", (), 750),
        (b"\x01\x02\x03", (), None),
        (b"\x01", (), None),
        (b"\x01\x01\x05\x01\x01\x03", (-3000,), None),
    ],
    ids=["in order", "a byte too many", "no bid", "cut short", "no entry", "not ascending"],
)
def test_attack_bookOutOfOrder(TradeSettlement, new_market, manager, token, supplier, nodes, book, bids, energy):
    """TS2: a book ends where it is out of order, and a bid that is not there is zero. Nothing hangs on it."""
    books = {1: {2: (3,)}, 2: book}
    made = new_market(books)
    made.converge(books, {(1, 2): (3000,), (2, 1): bids})
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
    for tried in (1500, 750):
        said = [(2, entry(3, tried, 0), made.openings[1, 2])]
        if tried == energy:
            other.state(1, said, made.openings[1, 1], {"from": nodes[1]})
        else:
            with brownie.reverts("DoesNotFitBids: 2, 3"):
                other.state(1, said, made.openings[1, 1], {"from": nodes[1]})


def changed(opening, field, value):
    return (*opening[:field], value, *opening[field + 1 :])


@pytest.mark.parametrize("whose", ["own", "partner"])
@pytest.mark.parametrize("field", range(5))
def test_attack_openingWithOtherContents(priced, whose, field):
    """TS2: other books, bids, hashes, residuals."""
    node = {"own": 1, "partner": 2}[whose]
    right = priced.opened(1, node)
    wrong = changed(right, field, right[field] + (1 if field == 4 else b"\x00") if field in (0, 1, 4) else b"\x01" * 32)
    with brownie.reverts(f"WrongOpening: 1, {node}"):
        priced.state(1, {2: SOLD}, **{whose: wrong})


@pytest.mark.parametrize("whose", ["own", "partner"])
def test_attack_openingOfAnother(priced, whose):
    """TS2: of another node, of another round, and none at all."""
    node = {"own": 1, "partner": 2}[whose]
    for wrong in (priced.opened(1, 3), priced.opened(2, node), NO_OPENING):
        with brownie.reverts(f"WrongOpening: 1, {node}"):
            priced.state(1, {2: SOLD}, **{whose: wrong})


def test_attack_openingOfAnEarlierIteration(priced, new_market, TradeSettlement, manager, token, supplier, nodes):
    """TS2: a node cannot go back to bids that it liked better."""
    books = {1: {2: (3,)}, 2: {1: (3,)}}
    made = new_market(books)
    first = {(1, 2): (3000,), (2, 1): (-3000,)}
    made.open()
    made.declare(1, books, first)
    made.iterate(1, 1, books, first)
    earlier = dict(made.openings)
    made.iterate(1, 2, books, {(1, 2): (1000,), (2, 1): (-1000,)})
    other = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
    said = entry(3, 1500, 0)
    for own, partner, node in ((earlier, earlier, 1), (made.openings, earlier, 2)):
        with brownie.reverts(f"WrongOpening: 1, {node}"):
            other.state(1, [(2, said, partner[1, 2])], own[1, 1], {"from": nodes[1]})
    fits = entry(3, 500, 0)
    other.state(1, [(2, fits, made.openings[1, 2])], made.openings[1, 1], {"from": nodes[1]})


def test_attack_statementInAnothersName(priced, contract, outsider, nodes):
    """TS8: who has not declared states nothing; a partner's partner states its own only."""
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        contract.state(1, [(2, SOLD, priced.opened(1, 2))], priced.opened(1, 1), {"from": outsider})
    with brownie.reverts("WrongOpening: 1, 3"):
        contract.state(1, [(4, SOLD, priced.opened(1, 2))], priced.opened(1, 1), {"from": nodes[3]})


def test_attack_replayInAnotherRound(priced, contract):
    """TS2: what was agreed on in one round is nothing in the next."""
    priced.record(1, 2, SOLD, 2)
    assert not priced.is_recorded(1, 1, 2)
    assert not priced.is_recorded(3, 1, 2)
    priced.state(1, {2: SOLD}, 3)
    assert not priced.is_recorded(3, 1, 2)


# ---------------------------------------------------------------------- griefing


def test_attack_partnerIsSilent(priced, contract, nodes, chain):
    """TS5: a missing statement holds nobody's money for longer than the lock."""
    priced.state(2, {1: SOLD})
    chain.sleep(PHASE_SECONDS + 5)
    contract.release(1, 1, {"from": nodes[2]})
    contract.withdraw(DEPOSIT, {"from": nodes[2]})


def test_attack_partnerStatesNonsense(priced, contract, nodes):
    """TS5, TS8: again and again; it locks its own money only, and no call of the other side fails."""
    for price in (1, 2_000_000, 3_000_000):
        priced.state(2, {1: entry(0, 2**31 - 1, price // 1_000_000)})
        tx = priced.state(1, {2: SOLD})
        assert "TradeRecorded" not in tx.events
        assert contract.free(nodes[1]) == DEPOSIT
    priced.state(2, {1: SOLD})
    assert priced.is_recorded(1, 1, 2)


def test_attack_partnerChangesItsMindBeforeMyCall(priced, contract, nodes):
    """TS8: a replaced statement leaves me with a lock that I can take back."""
    priced.state(1, {2: SOLD})
    priced.state(1, {2: DEARER})
    tx = priced.state(2, {1: SOLD})
    assert "StatementsDiffer" in tx.events
    priced.state(2, {1: b""})
    assert contract.free(nodes[2]) == DEPOSIT


def test_attack_partnerHasNoMoney(priced, contract, nodes):
    """Its own call fails, and mine does not; my other trades are recorded."""
    contract.withdraw(DEPOSIT, {"from": nodes[2]})
    priced.state(1, {2: SOLD, 3: BOUGHT})
    with brownie.reverts(f"InsufficientDeposit: {low(nodes[2])}, 0, {PRICE}"):
        priced.state(2, {1: SOLD})
    priced.state(3, {1: BOUGHT})
    assert priced.is_recorded(1, 1, 3)


def test_attack_releaseOfAnothersLock(priced, contract, nodes, outsider, chain):
    priced.state(2, {1: SOLD})
    chain.sleep(PHASE_SECONDS + 5)
    with brownie.reverts("NothingLocked: 1, 1, 2"):
        contract.release(1, 2, {"from": nodes[1]})
    with brownie.reverts(f"NotEnrolled: {low(outsider)}"):
        contract.release(1, 1, {"from": outsider})


def test_attack_managerExpelsToTakeTheMoney(priced, contract, market, manager, nodes):
    """A past round's trades belong to the account of that round: for statements, locks, and deliveries."""
    priced.state(2, {1: SOLD}, 2)
    market.aggregator.expel([1, 2], {"from": manager})
    market.aggregator.enrol([1, 2], [nodes[0], nodes[6]], {"from": manager})
    for thief, partner in ((nodes[0], 2), (nodes[6], 1)):
        with brownie.reverts(f"NotEnrolled: {low(thief)}"):
            contract.state(2, [(partner, SOLD, priced.opened(2, 2))], priced.opened(2, 1), {"from": thief})
        with brownie.reverts(f"NotEnrolled: {low(thief)}"):
            contract.release(2, partner, {"from": thief})
    priced.state(1, {2: SOLD}, 2)
    assert contract.netPayment(2, 1) == PRICE
    priced.deliver(1, [1500 if step == 3 else 2000 if step == 7 else 0 for step in range(STEPS)], 2,
                   positions=[(2, SOLD)])  # fmt: skip
    priced.deliver(3, [1000] * STEPS, 2)
    assert contract.free(nodes[3]) > DEPOSIT
    assert contract.free(nodes[0]) == contract.free(nodes[6]) == 0


def test_attack_supplierLeaves(priced, contract, supplier, nodes):
    """TS4: its money is its own until a delivery takes it, and so is everybody else's."""
    contract.withdraw(DEPOSIT, {"from": supplier})
    for node in NODES:
        contract.withdraw(DEPOSIT, {"from": nodes[node]})


# ---------------------------------------------------------------------- readings


@pytest.mark.parametrize(
    ("round_", "node", "what"),
    [
        (3, 1, "another round"),
        (2, 3, "another node"),
        (2, 1, "another contract"),
        (2, 1, "another chain"),
        (2, 1, "another key"),
        (2, 1, "other energies"),
        (2, 1, "other parity"),
        (2, 1, "no signature"),
        (2, 1, "high s"),
    ],
    ids=lambda value: str(value),
)
def test_attack_readingForgedOrReplayed(priced, contract, token, round_, node, what):
    """TS8: a signature is good for one round, node, contract and chain, and for what was signed."""
    domain = token if what == "another contract" else contract
    chain_id = 1 if what == "another chain" else None
    key = Account.from_key(b"\x08" * 32) if what == "another key" else METER
    reading = encode_reading([999] * STEPS) if what == "other energies" else READING
    r, vs = signed(domain, 2, 1, reading, key, chain_id)
    if what == "other parity":
        vs = (int.from_bytes(vs, "big") ^ 1 << 255).to_bytes(32, "big")
    elif what == "no signature":
        r, vs = bytes(32), bytes(32)
    elif what == "high s":  # above half of the order of the curve, and below 2^255
        vs = (2**255 - 1).to_bytes(32, "big")
    with brownie.reverts(f"WrongReading: {round_}, {node}"):
        priced.deliver(node, [1000] * STEPS, round_, signature=(r, vs))


def test_attack_readingOfAStranger(priced, contract):
    """TS8: a signed reading of a node that did not declare moves nothing."""
    for node in (0, 6):
        with brownie.reverts(f"WrongReading: 2, {node}"):
            priced.deliver(node, [0] * STEPS, 2)


def test_readingDigest_isTheOneThatIsSigned(contract):
    r, vs = signed(contract, 2, 1, READING)
    parity = vs[0] >> 7
    s = int.from_bytes(vs, "big") & 2**255 - 1
    digest = bytes.fromhex(str(contract.readingDigest(2, 1, READING)).removeprefix("0x"))
    assert Account._recover_hash(digest, vrs=(27 + parity, int.from_bytes(r, "big"), s)) == METER.address


# ---------------------------------------------------------------------- tokens


@pytest.fixture(scope="module")
def odd(OddToken, TradeSettlement, manager, market, nodes):
    """A settlement in an odd token, which nodes 1 and 2 hold and have deposited."""
    coin = manager.deploy(OddToken, 6)
    made = manager.deploy(TradeSettlement, market.aggregator, coin, nodes[7], METER.address)
    for node in (1, 2):
        coin.transfer(nodes[node], START, {"from": manager})
        coin.approve(made, START, {"from": nodes[node]})
        made.deposit(DEPOSIT, {"from": nodes[node]})
    return coin, made


def balanced(coin, made, nodes):
    held = sum(made.free(nodes[node]) + made.locked(nodes[node]) for node in (1, 2))
    assert held == made.totalDeposits() == coin.balanceOf(made)
    return True


def test_attack_tokenThatTakesAFee(odd, nodes):
    """TS1: it is refused where it comes in; where it goes out, the account has what left."""
    coin, made = odd
    coin.setHabit(TAKES_FEE, {"from": nodes[1]})
    with brownie.reverts("ReceivedOtherAmount: 1000, 900"):
        made.deposit(1000, {"from": nodes[1]})
    made.withdraw(1000, {"from": nodes[1]})
    assert balanced(coin, made, nodes)


def test_attack_tokenThatSaysNo(odd, nodes):
    coin, made = odd
    coin.setHabit(SAYS_NO, {"from": nodes[1]})
    for call in (made.deposit, made.withdraw):
        with brownie.reverts(f"SafeERC20FailedOperation: {low(coin)}"):
            call(1000, {"from": nodes[1]})
    assert balanced(coin, made, nodes)


def test_tokenThatSaysNothing_isTaken(odd, nodes):
    """As some old tokens do."""
    coin, made = odd
    coin.setHabit(SAYS_NOTHING, {"from": nodes[1]})
    made.deposit(1000, {"from": nodes[1]})
    made.withdraw(1000, {"from": nodes[1]})
    assert balanced(coin, made, nodes)


def test_attack_tokenThatReverts(odd, priced, nodes):
    """Trades go on with what was deposited; nothing is lost."""
    coin, made = odd
    coin.setHabit(REVERTS, {"from": nodes[1]})
    for call in (made.deposit, made.withdraw):
        with brownie.reverts("Refused: "):
            call(1000, {"from": nodes[1]})
    made.state(2, [(2, SOLD, priced.opened(2, 2))], priced.opened(2, 1), {"from": nodes[1]})
    made.state(2, [(1, SOLD, NO_OPENING)], NO_OPENING, {"from": nodes[2]})
    assert made.free(nodes[1]) == DEPOSIT + PRICE
    coin.setHabit(NONE, {"from": nodes[1]})
    made.withdraw(DEPOSIT + PRICE, {"from": nodes[1]})
    assert balanced(coin, made, nodes)


@pytest.mark.parametrize("name", ["deposit", "withdraw", "state", "release", "deliver"])
def test_attack_reentrancy(odd, nodes, name):
    """From a token that calls back while money moves, in or out."""
    coin, made = odd
    arguments = {
        "deposit": [1],
        "withdraw": [1],
        "state": [1, [], NO_OPENING],
        "release": [1, 1],
        "deliver": [1, 1, b"", b"", [], bytes(32), bytes(32)],
    }
    call = getattr(made, name).encode_input(*arguments[name])
    coin.setCall(made, call, {"from": nodes[1]})
    coin.setHabit(CALLS_BACK, {"from": nodes[1]})
    for way in (made.deposit, made.withdraw):
        with brownie.reverts("ReentrancyGuardReentrantCall: "):
            way(1000, {"from": nodes[1]})
    coin.setHabit(NONE, {"from": nodes[1]})
    assert balanced(coin, made, nodes)
