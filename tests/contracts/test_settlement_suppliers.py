"""TradeSettlement: several suppliers, and fees that they collect."""

import random

import brownie
import pytest
from brownie import accounts
from helpers import low
from reference.settlement_model import delivery_payment
from settling import (
    BOUGHT,
    DEPOSIT,
    METER,
    OTHER,
    PRICE,
    SOLD,
    STEPS,
    TARIFF,
    encode_reading,
    encode_tariff,
    entry,
)

pytest_plugins = ["settling_fixtures"]
pytestmark = pytest.mark.usefixtures("priced", "books_balance")


@pytest.fixture(autouse=True)
def isolation(fn_isolation):
    """Every test starts from the same chain; brownie forgets the contracts that a test has deployed."""


GREEN = [(200_000, 100_000)] * STEPS
"""The other supplier's prices."""

TRADED, PEAK = [40_000 if step % 2 else 10_000 for step in range(STEPS)], 150_000
"""Fees: on what is bought from neighbours, and on the most that is drawn in a step."""

CUSTOMER = 2
DRAWN_GREEN = 24 * 200_000  # 1 kWh at each step
NOTHING = [0] * STEPS


def with_fees(prices, traded=tuple(TRADED), peak=PEAK):
    return encode_tariff(prices) + b"".join(fee.to_bytes(4, "big") for fee in traded) + peak.to_bytes(6, "big")


@pytest.fixture(scope="module")
def metering(priced):
    return accounts.add(METER.key)


@pytest.fixture(scope="module")
def green(nodes):
    """Another supplier: no node of the market."""
    return nodes[6]


@pytest.fixture(scope="module")
def priced(settle, manager, nodes, supplier, token):
    """Node 2 is a customer of another supplier from round 2 on, which has converged with the tariffs of both."""
    contract, green, metering = settle.contract, nodes[6], accounts.add(METER.key)
    manager.transfer(METER.address, "1 ether")
    contract.admitSupplier(green, {"from": metering})
    contract.wishSupplier(green, {"from": nodes[CUSTOMER]})
    contract.supply(nodes[CUSTOMER], {"from": green})
    token.mint(green, DEPOSIT, {"from": manager})
    token.approve(contract, 2 * DEPOSIT, {"from": green})
    contract.deposit(DEPOSIT, {"from": green})
    contract.publishTariff(2, encode_tariff(GREEN), {"from": green})
    contract.publishTariff(2, encode_tariff(), {"from": supplier})
    assert settle.market.converge() == 2
    return settle


def test_customer_isSettledByItsSupplierAlone(priced, contract, supplier, green, nodes):
    """TS3, TS13: by its tariff, from and to its deposit; its neighbour by the other's."""
    before = {account: contract.free(account) for account in (supplier, green, nodes[1], nodes[CUSTOMER])}
    priced.deliver(CUSTOMER, [-1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    assert contract.free(green) == before[green] + DRAWN_GREEN
    assert contract.free(nodes[CUSTOMER]) == before[nodes[CUSTOMER]] - DRAWN_GREEN
    assert contract.free(supplier) == before[supplier]
    fed_in = priced.deliver(1, [1000] * STEPS, 2).events["Delivered"]["payment"]
    assert contract.free(supplier) == before[supplier] - fed_in
    assert contract.supplierPayment(2) == DRAWN_GREEN - fed_in


def test_customer_sellsToItsSupplier(priced, contract, green):
    """TS13"""
    priced.deliver(CUSTOMER, [1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    assert contract.free(green) == DEPOSIT - 24 * 100_000


def test_deliver_failsByAnothersTariff(priced):
    """TS7, TS13"""
    with brownie.reverts("WrongTariff: 2"):
        priced.deliver(CUSTOMER, NOTHING, 2)
    with brownie.reverts("WrongTariff: 2"):
        priced.deliver(1, NOTHING, 2, tariff=encode_tariff(GREEN))


def test_supplier_holdsFromTheNextRoundOn(priced, contract, supplier, green, nodes):
    """TS13: what was agreed before stays with whom it was agreed with."""
    assert contract.supplierOf(1, CUSTOMER) == supplier == contract.supplierIn(1, nodes[CUSTOMER])
    assert contract.supplierOf(2, CUSTOMER) == green
    contract.wishSupplier(supplier, {"from": nodes[CUSTOMER]})
    tx = contract.supply(nodes[CUSTOMER], {"from": supplier})
    assert dict(tx.events["Supplied"]) == {"account": nodes[CUSTOMER], "supplier": supplier, "round": 3}
    assert contract.supplierOf(2, CUSTOMER) == green
    assert contract.supplierIn(3, nodes[CUSTOMER]) == supplier
    priced.deliver(CUSTOMER, [-1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    assert contract.free(green) == DEPOSIT + DRAWN_GREEN


def test_attack_whoIsNotAdmittedSupplies(priced, contract, green, metering, nodes):
    """TS13: nobody supplies itself, or others, at prices that nobody looked at."""
    for account in (green, nodes[1]):
        with brownie.reverts(f"NotMetering: {low(account)}"):
            contract.admitSupplier(nodes[1], {"from": account})
    contract.wishSupplier(nodes[1], {"from": nodes[1]})
    with brownie.reverts(f"NotSupplier: {low(nodes[1])}"):
        contract.supply(nodes[1], {"from": nodes[1]})
    with brownie.reverts(f"NotSupplier: {low(nodes[1])}"):
        contract.publishTariff(3, encode_tariff(), {"from": nodes[1]})


def test_attack_supplierTakesWhoDidNotWish(priced, contract, green, supplier, nodes):
    """TS13: nor who wished another, or wishes no longer, nor twice by one wish."""
    with brownie.reverts(f"NotWished: {low(nodes[1])}, {low(green)}"):
        contract.supply(nodes[1], {"from": green})
    contract.wishSupplier(supplier, {"from": nodes[1]})
    with brownie.reverts(f"NotWished: {low(nodes[1])}, {low(green)}"):
        contract.supply(nodes[1], {"from": green})
    contract.wishSupplier(green, {"from": nodes[1]})
    contract.wishSupplier("0x" + "00" * 20, {"from": nodes[1]})
    with brownie.reverts(f"NotWished: {low(nodes[1])}, {low(green)}"):
        contract.supply(nodes[1], {"from": green})
    with brownie.reverts(f"NotWished: {low(nodes[CUSTOMER])}, {low(green)}"):
        contract.supply(nodes[CUSTOMER], {"from": green})


# ---------------------------------------------------------------------- arrears


@pytest.fixture
def owing(priced, contract, nodes):
    """The customer has 1 tEUR, and owes its supplier the rest of a day."""
    contract.withdraw(DEPOSIT - 1_000_000, {"from": nodes[CUSTOMER]})
    priced.deliver(CUSTOMER, [-1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    return DRAWN_GREEN - 1_000_000


def owes(contract, account, *creditors):
    """TS1: what an account owes whom, in the order in which they are paid, is all that it owes."""
    assert list(contract.creditorsOf(account)) == list(creditors)
    amounts = [contract.owed(account, creditor) for creditor in creditors]
    assert sum(amounts) == contract.arrears(account)
    return amounts


def test_arrears_areOwedToItsSupplier(contract, owing, green, supplier, nodes):
    """TS1: what comes in pays that one, and only it forgives."""
    assert owes(contract, nodes[CUSTOMER], green) == [owing]
    contract.deposit(1_000_000, {"from": nodes[CUSTOMER]})
    assert contract.free(green) == DEPOSIT + 2_000_000
    assert contract.free(supplier) == DEPOSIT
    contract.forgive(nodes[CUSTOMER], owing, {"from": supplier})  # whom it owes nothing
    assert owes(contract, nodes[CUSTOMER], green) == [owing - 1_000_000]
    with brownie.reverts(f"NotSupplier: {low(nodes[1])}"):
        contract.forgive(nodes[CUSTOMER], owing, {"from": nodes[1]})
    contract.forgive(nodes[CUSTOMER], owing, {"from": green})
    assert owes(contract, nodes[CUSTOMER]) == []


@pytest.fixture
def owing_both(priced, contract, owing, green, supplier, nodes):
    """The customer went on to the community's supplier, and owes that a day, too."""
    contract.wishSupplier(supplier, {"from": nodes[CUSTOMER]})
    contract.supply(nodes[CUSTOMER], {"from": supplier})
    priced.price(3)
    priced.deliver(CUSTOMER, [-1000] * STEPS, 3)
    return owing, 6_600_000


def test_arrears_atOneSupplierKeepNoOtherFromBilling(contract, owing_both, green, supplier, nodes):
    """TS15: each is owed its own, and paid in the order in which it began."""
    first, second = owing_both
    assert owes(contract, nodes[CUSTOMER], green, supplier) == [first, second]
    before = contract.free(green), contract.free(supplier)
    tx = contract.deposit(first + 100, {"from": nodes[CUSTOMER]})
    paid = [(event["creditor"], event["amount"]) for event in tx.events["ArrearsPaid"]]
    assert paid == [(green, first), (supplier, 100)]
    assert (contract.free(green), contract.free(supplier)) == (before[0] + first, before[1] + 100)
    assert owes(contract, nodes[CUSTOMER], supplier) == [second - 100]
    contract.deposit(second, {"from": nodes[CUSTOMER]})
    assert owes(contract, nodes[CUSTOMER]) == []
    assert contract.free(nodes[CUSTOMER]) == 100


def test_arrears_growAtTheSameSupplier(priced, contract, owing, green, nodes):
    """TS15: who owes one a second day stands on its list once."""
    contract.publishTariff(3, encode_tariff(GREEN), {"from": green})
    priced.price(3)
    priced.deliver(CUSTOMER, [-1000] * STEPS, 3, tariff=encode_tariff(GREEN))
    assert owes(contract, nodes[CUSTOMER], green) == [owing + DRAWN_GREEN]


def test_arrears_atTheCommunitysSupplierComeFirst(priced, contract, green, supplier, nodes):
    """TS15: who owed only the community's supplier, which is on no list then, and went on to another one."""
    contract.withdraw(DEPOSIT, {"from": nodes[1]})
    priced.deliver(1, [-1000] * STEPS, 2)
    assert owes(contract, nodes[1], supplier) == [6_600_000]
    contract.wishSupplier(green, {"from": nodes[1]})
    contract.supply(nodes[1], {"from": green})
    contract.publishTariff(3, encode_tariff(GREEN), {"from": green})
    priced.price(3)
    priced.deliver(1, [-1000] * STEPS, 3, tariff=encode_tariff(GREEN))
    assert owes(contract, nodes[1], supplier, green) == [6_600_000, DRAWN_GREEN]
    contract.deposit(6_600_001, {"from": nodes[1]})
    assert owes(contract, nodes[1], green) == [DRAWN_GREEN - 1]


@pytest.mark.parametrize("first", [True, False])
def test_arrears_areForgivenByEachForItself(contract, owing_both, green, supplier, nodes, first):
    who, other, left = (green, supplier, owing_both[1]) if first else (supplier, green, owing_both[0])
    contract.forgive(nodes[CUSTOMER], 10**9, {"from": who})
    assert owes(contract, nodes[CUSTOMER], other) == [left]
    contract.deposit(left + 5, {"from": nodes[CUSTOMER]})
    assert contract.free(nodes[CUSTOMER]) == 5


def test_arrears_areCorrectedAtTheSupplierOfTheDay(contract, owing_both, green, supplier, nodes):
    """What a day no longer comes to ends what is owed for it, and pays no other."""
    for account in (nodes[CUSTOMER], supplier):
        contract.correct(3, CUSTOMER, encode_reading(NOTHING), encode_tariff(), [], {"from": account})
    assert owes(contract, nodes[CUSTOMER], green) == [owing_both[0]]
    assert contract.free(supplier) == DEPOSIT


def test_arrears_whatIsEarnedElsewherePaysThem(priced, contract, owing, green, supplier, nodes):
    contract.wishSupplier(supplier, {"from": nodes[CUSTOMER]})
    contract.supply(nodes[CUSTOMER], {"from": supplier})
    priced.price(3)
    priced.deliver(CUSTOMER, [1000] * STEPS, 3)
    assert contract.arrears(nodes[CUSTOMER]) == owing - 720_000
    assert contract.free(green) == DEPOSIT + 1_000_000 + 720_000
    assert contract.free(supplier) == DEPOSIT - 720_000


def test_correction_backPaysItsSupplierOnly(priced, contract, owing, green, nodes):
    """What the day no longer comes to ends arrears at its supplier first."""
    for account in (nodes[CUSTOMER], green):
        contract.correct(2, CUSTOMER, b"\0" * 4 * STEPS, encode_tariff(GREEN), [], {"from": account})
    assert contract.arrears(nodes[CUSTOMER]) == 0
    assert contract.free(nodes[CUSTOMER]) == 1_000_000
    assert contract.free(green) == DEPOSIT


def test_correction_isTheCustomersSuppliers(priced, contract, supplier, nodes):
    priced.deliver(CUSTOMER, NOTHING, 2, tariff=encode_tariff(GREEN))
    with brownie.reverts(f"NotConcerned: 2, {CUSTOMER}, {low(supplier)}"):
        contract.correct(2, CUSTOMER, b"\0" * 4 * STEPS, encode_tariff(GREEN), [], {"from": supplier})


def test_supplier_owesNothing(priced, contract, green, metering, nodes):
    """Money would be owed in circles: a household that supplies others, too, has to have what it draws for."""
    contract.admitSupplier(nodes[1], {"from": metering})
    contract.withdraw(DEPOSIT, {"from": nodes[1]})
    with brownie.reverts(f"SupplierOwesNothing: {low(nodes[1])}, 6600000"):
        priced.deliver(1, [-1000] * STEPS, 2)
    contract.deposit(6_600_000, {"from": nodes[1]})
    priced.deliver(1, [-1000] * STEPS, 2)
    assert contract.free(nodes[1]) == contract.arrears(nodes[1]) == 0


def test_admission_isNotForWhoOwes(contract, owing, metering, green, nodes):
    with brownie.reverts(f"InArrears: {low(nodes[CUSTOMER])}, {owing}"):
        contract.admitSupplier(nodes[CUSTOMER], {"from": metering})


def test_admissions_haveAnEnd(contract, metering, green):
    """Of all suppliers ever, `green` is the first: so many can somebody owe."""
    admitted = 1
    with brownie.reverts("TooManySuppliers: 64"):
        while admitted <= 64:
            contract.admitSupplier(f"0x{admitted:040x}", {"from": metering})
            admitted += 1
    assert admitted == 64


# ---------------------------------------------------------------------- dismissal


@pytest.mark.parametrize("by", ["metering", "manager"])
def test_dismissal_ofASupplier(priced, contract, green, supplier, metering, manager, nodes, by):
    """TS13: from the next round on its customers are the community's supplier's; what was delivered stays billable."""
    tx = contract.dismissSupplier(green, {"from": {"metering": metering, "manager": manager}[by]})
    assert dict(tx.events["SupplierDismissed"]) == {"supplier": green, "round": 3}
    assert [contract.supplierIn(round_, nodes[CUSTOMER]) for round_ in (2, 3)] == [green, supplier]
    assert [contract.supplies(round_, green) for round_ in (2, 3)] == [True, False]
    priced.deliver(CUSTOMER, [-1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    assert contract.free(green) == DEPOSIT + DRAWN_GREEN
    with brownie.reverts(f"NotSupplier: {low(green)}"):
        contract.publishTariff(3, encode_tariff(GREEN), {"from": green})
    contract.wishSupplier(green, {"from": nodes[1]})
    with brownie.reverts(f"NotSupplier: {low(green)}"):
        contract.supply(nodes[1], {"from": green})
    priced.price(3)
    priced.deliver(CUSTOMER, [-1000] * STEPS, 3)
    assert contract.supplierPayment(3) == 6_600_000
    assert owes(contract, nodes[CUSTOMER], supplier) == [6_600_000 + DRAWN_GREEN - DEPOSIT]
    with brownie.reverts(f"AdmittedBefore: {low(green)}"):
        contract.admitSupplier(green, {"from": metering})


def test_dismissal_leavesARoundThatIsOpen(priced, contract, green, manager, nodes):
    """TS13: also before anybody has declared in it."""
    assert priced.market.open() == 3
    contract.dismissSupplier(green, {"from": manager})
    contract.publishTariff(3, encode_tariff(GREEN), {"from": green})
    assert [contract.supplierIn(round_, nodes[CUSTOMER]) == green for round_ in (3, 4)] == [True, False]


def test_attack_whoDismisses(contract, green, supplier, metering, manager, nodes):
    for account in (green, supplier, nodes[1]):
        with brownie.reverts(f"NotManager: {low(account)}"):
            contract.dismissSupplier(green, {"from": account})
    for other in (supplier, nodes[1]):
        with brownie.reverts(f"NotSupplier: {low(other)}"):
            contract.dismissSupplier(other, {"from": manager})


def test_dismissal_ofACustomer(priced, contract, green, supplier, nodes):
    """TS13: from the next round on; and of nobody else's."""
    for account, other in ((green, nodes[1]), (supplier, nodes[1]), (nodes[1], nodes[CUSTOMER])):
        with brownie.reverts(f"NotCustomer: {low(other)}, {low(account)}"):
            contract.dismissCustomer(other, {"from": account})
    tx = contract.dismissCustomer(nodes[CUSTOMER], {"from": green})
    assert dict(tx.events["Supplied"]) == {"account": nodes[CUSTOMER], "supplier": supplier, "round": 3}
    assert [contract.supplierIn(round_, nodes[CUSTOMER]) for round_ in (2, 3)] == [green, supplier]
    priced.deliver(CUSTOMER, [-1000] * STEPS, 2, tariff=encode_tariff(GREEN))
    assert contract.free(green) == DEPOSIT + DRAWN_GREEN
    with brownie.reverts(f"NotCustomer: {low(nodes[CUSTOMER])}, {low(green)}"):
        contract.dismissCustomer(nodes[CUSTOMER], {"from": green})


# ---------------------------------------------------------------------- vouching


def both(supplier, green, prices=GREEN):
    return [(supplier, encode_tariff()), (green, encode_tariff(prices))]


@pytest.mark.parametrize(
    ("first", "second", "outside"),
    [
        (100_000, 200_000, None),  # of the two tariffs 0.10 to 0.20 at either step
        (99_999, 200_000, (3, 99_999)),  # below what the other supplier pays
        (100_000, 200_001, (7, 200_001)),  # above what the other supplier asks
        (80_000, 200_000, (3, 80_000)),
        (300_000, 200_000, (3, 300_000)),
    ],
)
def test_vouch_takesPricesWithinBothTariffs(priced, green, supplier, first, second, outside):
    """TS2: of the suppliers of the pair."""
    trades = entry(3, 1500, first) + entry(7, 2000, second)
    priced.state(1, {2: SOLD}, 2)
    if outside is None:
        priced.vouch(1, {2: trades}, quotes=both(supplier, green))
    else:
        with brownie.reverts(f"OutsideTariff: 2, {outside[0]}, {outside[1]}"):
            priced.vouch(1, {2: trades}, quotes=both(supplier, green))
    assert priced.is_recorded(2, 1, 2) == (outside is None)


def test_attack_absurdTariffOfAThird(priced, contract, metering, nodes, green, supplier):
    """TS2: a supplier in league with metering, whose tariff is beyond all sense: neither is a pair vouched for at its
    prices that it does not supply, nor one of which it supplies one at more than the other's supplier asks."""
    absurd, prices = nodes[1], [(2_000_000_000, 1_000)] * STEPS
    contract.admitSupplier(absurd, {"from": metering})
    contract.wishSupplier(absurd, {"from": nodes[3]})
    contract.supply(nodes[3], {"from": absurd})
    for account, told in ((green, GREEN), (supplier, TARIFF), (absurd, prices)):
        contract.publishTariff(3, encode_tariff(told), {"from": account})
    assert priced.market.converge() == 3
    quotes = [*both(supplier, green), (absurd, encode_tariff(prices))]
    priced.state(1, {2: SOLD, 3: BOUGHT}, 3)
    dear, at_most = entry(3, 1500, 200_001), entry(3, -1500, 300_001)
    for partner, trades, price in ((2, dear, 200_001), (3, at_most, 300_001)):
        with brownie.reverts(f"OutsideTariff: {partner}, 3, {price}"):
            priced.vouch(1, {partner: trades}, 3, quotes=quotes)
    priced.vouch(1, {3: entry(3, -1500, 300_000) + entry(7, -2000, 300_000)}, 3, quotes=quotes)
    assert contract.netPayment(3, 1) == -1_050_000


@pytest.mark.parametrize(("price", "is_recorded"), [(299_999, 0), (300_000, 1), (500_000, 1), (500_001, 0)])
def test_attack_tariffsThatCross(priced, contract, nodes, green, supplier, price, is_recorded):
    """TS2: a supplier that pays more at one step than another asks leaves no price within both tariffs there. One
    between the two is taken, so that what was bid there keeps no trades at other steps from being vouched for."""
    crossing = [(600_000, 500_000) if step == 3 else prices for step, prices in enumerate(GREEN)]
    contract.publishTariff(3, encode_tariff(crossing), {"from": green})
    contract.publishTariff(3, encode_tariff(), {"from": supplier})
    assert priced.market.converge() == 3
    priced.state(1, {2: SOLD}, 3)
    trades = entry(3, 1500, price) + entry(7, 2000, 150_000)
    if is_recorded:
        priced.vouch(1, {2: trades}, 3, quotes=both(supplier, green, crossing))
    else:
        with brownie.reverts(f"OutsideTariff: 2, 3, {price}"):
            priced.vouch(1, {2: trades}, 3, quotes=both(supplier, green, crossing))
    assert priced.is_recorded(3, 1, 2) == bool(is_recorded)


def test_vouch_failsByATariffThatNobodyPublished(priced, green, supplier):
    """And without that of one of the two suppliers."""
    priced.state(1, {2: SOLD}, 2)
    for quotes in (
        [],
        [(green, encode_tariff())],
        [(supplier, encode_tariff()), (green, encode_tariff())],
        [(supplier, encode_tariff())],
        [(green, encode_tariff(GREEN))],
    ):
        with brownie.reverts("WrongTariff: 2"):
            priced.vouch(1, {2: SOLD}, quotes=quotes)


def test_vouch_skipsWhatNobodyCanLayOut(priced, contract, green, supplier, nodes):
    """The other pairs are recorded; and this one once there is money."""
    fits, third = entry(3, 1500, 150_000) + entry(7, 2000, 150_000), entry(3, -1500, 150_000) + entry(7, -2000, 150_000)
    for account in (nodes[CUSTOMER], green):
        contract.withdraw(DEPOSIT, {"from": account})
    priced.state(1, {2: SOLD, 3: BOUGHT}, 2)
    tx = priced.vouch(1, {2: fits, 3: third}, quotes=both(supplier, green))
    assert [event["partner"] for event in tx.events["Skipped"]] == [2]
    assert [event["higher"] for event in tx.events["TradeRecorded"]] == [3]
    contract.deposit(525_000, {"from": green})
    priced.vouch(1, {2: fits}, quotes=both(supplier, green))
    assert owes(contract, nodes[CUSTOMER], green) == [525_000]


def test_vouch_skipsASupplierThatCannotPay(priced, contract, metering, green, supplier, nodes):
    """It owes nothing, so that nobody lays out anything for it."""
    contract.admitSupplier(nodes[CUSTOMER], {"from": metering})
    contract.withdraw(DEPOSIT, {"from": nodes[CUSTOMER]})
    priced.state(1, {2: SOLD}, 2)
    fits = entry(3, 1500, 150_000) + entry(7, 2000, 150_000)
    assert "Skipped" in priced.vouch(1, {2: fits}, quotes=both(supplier, green)).events
    contract.deposit(525_000, {"from": nodes[CUSTOMER]})
    assert "Vouched" in priced.vouch(1, {2: fits}, quotes=both(supplier, green)).events
    assert contract.free(nodes[CUSTOMER]) == 0


def test_vouch_isLaidOutByThePayersSupplier(priced, contract, green, supplier, nodes):
    """TS11: node 2 has taken its deposit away."""
    contract.withdraw(DEPOSIT, {"from": nodes[CUSTOMER]})
    priced.state(1, {2: SOLD}, 2)
    priced.vouch(1, {2: SOLD}, quotes=both(supplier, green))
    assert contract.arrears(nodes[CUSTOMER]) == PRICE
    assert owes(contract, nodes[CUSTOMER], green) == [PRICE]
    assert contract.free(green) == DEPOSIT - PRICE
    assert contract.free(supplier) == DEPOSIT


# ---------------------------------------------------------------------- fees


@pytest.fixture
def charged(priced, contract, supplier, green):
    """Round 3 has converged, with fees in the common tariff."""
    contract.publishTariff(3, with_fees(TARIFF), {"from": supplier})
    assert priced.market.converge() == 3
    return priced


def fees_of(energies, traded):
    bought = sum(fee * max(-wh, 0) for fee, wh in zip(TRADED, traded, strict=True))
    return bought + PEAK * max(0, *(-wh for wh in energies))


@pytest.mark.parametrize("seed", range(3))
def test_fees_areOnWhatIsBoughtAndOnThePeak(charged, contract, token, manager, nodes, seed):
    """Node 1 sells to 2 and buys from 3 at two steps: only what it buys beyond what it sells is charged."""
    chance = random.Random(seed)
    sold = {step: 1500 if step == 3 else 2000 for step in (3, 7)}
    said, traded = [(2, SOLD)], [sold.get(step, 0) for step in range(STEPS)]
    if seed:
        said, traded = [(2, SOLD), (3, BOUGHT)], NOTHING
    for partner, trades in said:
        charged.record(1, partner, trades, 3)
    energies = [chance.randint(-900, 900) for _ in range(STEPS)]
    deviations = [wh - own for wh, own in zip(energies, traded, strict=True)]
    tx = charged.deliver(1, energies, 3, tariff=with_fees(TARIFF), positions=said)
    due = fees_of(energies, traded) - sum(
        wh * (fed_in if wh > 0 else imported) for wh, (imported, fed_in) in zip(deviations, TARIFF, strict=True)
    )
    assert tx.events["Delivered"]["payment"] == -due // 1000  # a begun unit is the supplier's


def test_fees_ofWhoBuys(charged, contract):
    """Node 3 buys at step 3 from node 2, and draws just that: the fee on the trade, and on its peak."""
    charged.record(2, 3, OTHER, 3)
    bought = [-1500 if step == 3 else 0 for step in range(STEPS)]
    tx = charged.deliver(3, bought, 3, tariff=with_fees(TARIFF), positions=[(2, OTHER)])
    assert tx.events["Delivered"]["payment"] == -(1500 * TRADED[3] + 1500 * PEAK) // 1000


def test_fees_areNoneWhereNoneAreTold(priced):
    """The same bytes as ever."""
    tx = priced.deliver(1, [-1000] * STEPS, 2)
    assert tx.events["Delivered"]["payment"] == delivery_payment([-1000] * STEPS, [0] * STEPS, TARIFF, 6)


@pytest.mark.parametrize("length", [8 * STEPS + 4, 12 * STEPS, 12 * STEPS + 5, 12 * STEPS + 7])
def test_tariff_withFeesHasItsLength(contract, supplier, length):
    with brownie.reverts(f"LengthMismatch: {8 * STEPS}, {length}"):
        contract.publishTariff(4, bytes(length), {"from": supplier})


@pytest.mark.parametrize("fee", [-1, -(2**31)])
def test_attack_feeBelowZero(contract, supplier, fee):
    """It would pay for trades that go to and fro."""
    traded = list(TRADED)
    traded[5] = fee % 2**32
    with brownie.reverts(f"FeeBelowZero: 5, {fee}"):
        contract.publishTariff(4, with_fees(TARIFF, traded), {"from": supplier})


def test_correction_paysWhoOwesNothing(priced, contract, green, nodes):
    """From the deposit of its supplier, whose creditor it never was."""
    priced.deliver(CUSTOMER, NOTHING, 2, tariff=encode_tariff(GREEN))
    reading = encode_reading([1000] * STEPS)
    for account in (nodes[CUSTOMER], green):
        contract.correct(2, CUSTOMER, reading, encode_tariff(GREEN), [], {"from": account})
    assert contract.free(nodes[CUSTOMER]) == DEPOSIT + 24 * 100_000
    assert contract.free(green) == DEPOSIT - 24 * 100_000
