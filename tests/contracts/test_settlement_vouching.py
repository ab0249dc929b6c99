"""TradeSettlement: pairs of which one side agrees, and then states nothing, or something else."""

import brownie
import pytest
from brownie import accounts
from settling import (
    BOUGHT,
    DEARER,
    DEPOSIT,
    METER,
    OTHER,
    PRICE,
    SOLD,
    STEPS,
    encode_tariff,
    entry,
)

pytest_plugins = ["settling_fixtures"]
pytestmark = pytest.mark.usefixtures("priced", "books_balance")


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain; brownie forgets the contracts that a test has deployed."""


@pytest.fixture(scope="module")
def priced(settle, manager):
    """Round 2 has converged with a tariff, round 1 without; the metering account can pay for gas."""
    manager.transfer(METER.address, "1 ether")
    settle.price(2)
    return settle


def money(contract, nodes, *who):
    return [(contract.free(nodes[node]), contract.locked(nodes[node]), contract.arrears(nodes[node])) for node in who]


@pytest.mark.parametrize("states", [1, 2], ids=["seller", "buyer"])
def test_attack_partnerAgreesAndStatesNothing(priced, contract, nodes, supplier, states):
    """TS2: whoever of the two is silent, both end where they would have ended had both stated."""
    priced.state(states, {3 - states: SOLD}, 2)
    tx = priced.vouch(1, {2: SOLD})
    assert dict(tx.events["Vouched"]) == {"round": 2, "lower": 1, "higher": 2, "arrears": 0}
    recorded = dict(tx.events["TradeRecorded"])
    assert (recorded["payment"], recorded["trades"]) == (PRICE, "0x" + SOLD.hex())
    assert priced.is_recorded(2, 1, 2)
    assert money(contract, nodes, 1, 2) == [(DEPOSIT + PRICE, 0, 0), (DEPOSIT - PRICE, 0, 0)]
    assert contract.free(supplier) == DEPOSIT
    assert [contract.netPayment(2, node) for node in (1, 2)] == [PRICE, -PRICE]
    assert [contract.positions(2, node) for node in (1, 2)] == [1, 1]
    assert contract.settledIn(priced.market.aggregator.outcome(2)[3]) == 2


@pytest.mark.parametrize("lies", [1, 2], ids=["seller", "buyer"])
@pytest.mark.parametrize("lie", [DEARER, entry(3, 9, 1), OTHER], ids=["price", "energy", "step"])
def test_attack_partnerAgreesAndStatesOtherwise(priced, contract, nodes, lies, lie):
    """TS2, TS5: recorded as it was agreed, and nothing stays locked."""
    if lies == 1 and lie != DEARER:
        lie = DEARER  # the lower node cannot state what does not fit
    priced.state(lies, {3 - lies: lie}, 2)
    priced.state(3 - lies, {lies: SOLD}, 2)
    assert not priced.is_recorded(2, 1, 2)
    priced.vouch(1, {2: SOLD})
    assert priced.is_recorded(2, 1, 2)
    assert money(contract, nodes, 1, 2) == [(DEPOSIT + PRICE, 0, 0), (DEPOSIT - PRICE, 0, 0)]


def test_attack_buyerHasTakenItsDepositAway(priced, contract, nodes, supplier):
    """TS11: the seller is paid, the buyer owes it to the supplier, and pays as soon as it has something."""
    contract.withdraw(DEPOSIT - 1, {"from": nodes[2]})
    priced.state(1, {2: SOLD}, 2)
    tx = priced.vouch(1, {2: SOLD})
    assert tx.events["Vouched"]["arrears"] == PRICE - 1
    assert money(contract, nodes, 1, 2) == [(DEPOSIT + PRICE, 0, 0), (0, 0, PRICE - 1)]
    assert contract.free(supplier) == DEPOSIT - PRICE + 1
    contract.deposit(PRICE, {"from": nodes[2]})
    assert money(contract, nodes, 2) == [(1, 0, 0)]
    assert contract.free(supplier) == DEPOSIT


def test_vouch_skipsIfTheSupplierHasNothing(priced, contract, nodes, supplier):
    """Then nothing has moved, and it can be made again."""
    contract.withdraw(DEPOSIT, {"from": nodes[2]})
    contract.withdraw(DEPOSIT, {"from": supplier})
    priced.state(1, {2: SOLD}, 2)
    assert "Skipped" in priced.vouch(1, {2: SOLD}).events
    assert not priced.is_recorded(2, 1, 2)
    contract.deposit(PRICE, {"from": supplier})
    priced.vouch(1, {2: SOLD})
    assert priced.is_recorded(2, 1, 2)


def test_attack_lateStatementAfterAVouch(priced, contract, nodes):
    """TS2: once is enough."""
    priced.state(1, {2: SOLD}, 2)
    priced.vouch(1, {2: SOLD})
    assert "Skipped" in priced.state(2, {1: SOLD}, 2).events
    assert "Skipped" in priced.state(1, {2: DEARER}, 2).events
    assert "Skipped" in priced.vouch(1, {2: SOLD}).events
    assert contract.netPayment(2, 1) == PRICE
    with brownie.reverts("NothingLocked: 2, 2, 1"):
        contract.release(2, 1, {"from": nodes[2]})


def test_vouch_countsInTheDelivery(priced, contract, nodes):
    """TS7: who stated nothing delivers with the trade like the other."""
    priced.state(1, {2: SOLD}, 2)
    priced.vouch(1, {2: SOLD})
    bought = [-1500 if step == 3 else -2000 if step == 7 else 0 for step in range(STEPS)]
    tx = priced.deliver(2, bought, 2, positions=[(1, SOLD)])
    assert tx.events["Delivered"]["payment"] == 0
    with brownie.reverts("WrongPositions: 2, 1"):
        priced.deliver(1, [-energy for energy in bought], 2)


def test_vouch_skipsWhatNobodyStatesOrWasDelivered(priced, contract):
    """TS12: and takes the others, also of several pairs of a node in one call."""
    tx = priced.vouch(1, {2: SOLD})
    assert "Vouched" not in tx.events
    assert "Skipped" in tx.events
    priced.state(1, {2: SOLD, 3: BOUGHT}, 2)
    priced.deliver(3, [0] * STEPS, 2)
    tx = priced.vouch(1, {2: SOLD, 3: BOUGHT})
    assert (tx.events["Vouched"]["higher"], tx.events["Skipped"]["partner"]) == (2, 3)
    assert not priced.is_recorded(2, 1, 3)


def test_vouch_skipsWhatTheLowerHasDelivered(priced, contract):
    """TS12: its positions are settled, so nothing can be added to them."""
    priced.state(1, {2: SOLD}, 2)
    priced.deliver(1, [0] * STEPS, 2)
    tx = priced.vouch(1, {2: SOLD})
    assert "Vouched" not in tx.events
    assert (tx.events["Skipped"]["node"], tx.events["Skipped"]["partner"]) == (1, 2)
    assert not priced.is_recorded(2, 1, 2)


NOT_AGREED = {
    entry(3, 1500, 300_001) + entry(7, 2000, 100_000): "OutsideTariff: 2, 3, 300001",
    entry(3, 1500, 200_000) + entry(7, 2000, 79_999): "OutsideTariff: 2, 7, 79999",
    entry(3, 1501, 200_000) + entry(7, 2000, 100_000): "DoesNotFitBids: 2, 3",
    entry(3, 1500, 200_000): "DoesNotFitBids: 2, 7",
    b"": "InvalidTrades: 2, 0",
    SOLD[:-1]: "InvalidTrades: 2, 1",
    SOLD[9:] + SOLD[:9]: "InvalidTrades: 2, 1",
}


def test_attack_meteringVouchesForWhatWasNotAgreed(priced, contract):
    """TS2: its word goes no further than the bids and the tariff."""
    priced.state(1, {2: SOLD}, 2)
    for trades, error in NOT_AGREED.items():
        with brownie.reverts(error):
            priced.vouch(1, {2: trades})
    assert not priced.is_recorded(2, 1, 2)


def test_attack_othersVouch(priced, nodes, supplier, manager):
    """TS8"""
    priced.state(1, {2: SOLD}, 2)
    for account in (nodes[1], nodes[2], supplier, manager):
        with brownie.reverts(f"NotMetering: {account.address.lower()}"):
            priced.vouch(1, {2: SOLD}, sender=account)


def test_vouch_failsWithoutARoundOrATariff(priced, contract, supplier):
    """TS6"""
    priced.state(1, {2: SOLD}, 1)
    with brownie.reverts("WrongTariff: 1"):
        priced.vouch(1, {2: SOLD}, 1)
    with brownie.reverts("WrongTariff: 2"):
        priced.vouch(1, {2: SOLD}, 2, tariff=encode_tariff()[:-1])
    priced.state(2, {3: OTHER}, 2)
    for lower, higher in ((2, 1), (2, 2), (1, 5), (1, 200)):
        with brownie.reverts(f"InvalidPartner: {lower}, {higher}"):
            priced.vouch(lower, {higher: SOLD})
    with brownie.reverts("LengthMismatch: 128, 129"):
        contract.vouch(
            2,
            1,
            [(2, b"", priced.opened(2, 2))] * 129,
            priced.opened(2, 1),
            [(supplier, encode_tariff())],
            {"from": accounts.add(METER.key)},
        )


def test_attack_meteringOpensFalsely(priced, contract, supplier):
    priced.state(1, {2: SOLD}, 2)
    with brownie.reverts("WrongOpening: 2, 1"):
        contract.vouch(
            2,
            1,
            [(2, SOLD, priced.opened(2, 2))],
            priced.opened(1, 1),
            [(supplier, encode_tariff())],
            {"from": accounts.add(METER.key)},
        )


def test_vouch_neverForARoundThatIsNotTheDays(priced, contract, supplier):
    """TS6, TS9: round 3 runs and is abandoned."""
    contract.publishTariff(3, encode_tariff(), {"from": supplier})
    priced.market.open()
    with brownie.reverts("NotConverged: 3"):
        priced.vouch(1, {2: SOLD}, 3)
