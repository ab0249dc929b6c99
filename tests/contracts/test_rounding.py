"""DP6, and its like: with tokens of few decimals or many, nobody takes energy in parts for less than it is worth."""

import random
from fractions import Fraction

import pytest
from days import DAY, GATE, METER, STEP, STEPS, series, tariff_bytes
from days import terms as terms_of
from helpers import PHASE_SECONDS
from link import Link
from settling import MILLIWATT, STEP_SECONDS, statement

PRICE = 300_123
OFFERED = 1000  # Wh


@pytest.fixture(params=[0, 2, 6, 18])
def market(
    request, Referee, VirtualAggregator, Clerk, TradeSettlement, DaySettlement, Clearing, DayProducts, OddToken,
    manager, nodes,
):  # fmt: skip
    """Two households that have joined a day, with 10,000 in a token of so many decimals, and its unit."""
    unit, homes, supplier = 10**request.param, [nodes[1], nodes[2]], nodes[7]
    setting = (STEPS, STEP_SECONDS, MILLIWATT, 100, PHASE_SECONDS, 1)
    theta = (3, 10**9, 10**9, 1000, 1000, 1000, 1000, 50)
    aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta, setting, manager.deploy(Referee)))
    aggregator.enrol([1, 2], homes, {"from": manager})
    token = manager.deploy(OddToken, request.param)
    settlement = manager.deploy(TradeSettlement, aggregator, token, supplier, METER.address)
    clearing = manager.deploy(Clearing, settlement, token, supplier)
    made = manager.deploy(DaySettlement, settlement, token, supplier, METER.address, clearing)
    for account in (*homes, supplier):
        token.transfer(account, 10_000 * unit, {"from": manager})
        token.approve(made, 10_000 * unit, {"from": account})
        made.deposit(10_000 * unit, {"from": account})
    ledger, products = Link(made), Link(DayProducts.at(made.products()))
    products.errors = ledger.errors | products.errors
    agreed = terms_of(ledger.timestamp() + GATE + STEP)
    ledger.send(supplier, "openDay", DAY, agreed.encoded(), tariff_bytes(), series([]), 0)
    for home in homes:
        ledger.send(home, "join", DAY, ledger.view("termsHash", agreed.encoded(), tariff_bytes(), b""), 0)
    return ledger, products, settlement, [str(home) for home in homes], unit


def parts_of(whole, by):
    """Parts that are mostly tiny, and come to the whole."""
    while whole:
        part = min(whole, by.choice([1, 2, 33, 33, 150]))
        whole -= part
        yield part


@pytest.mark.parametrize("sells", [True, False])
def test_spot_takenInParts(market, sells):
    """Who takes pays at least what it is worth, or is paid at most that; and less than a unit a part beside it. When
    all is taken, what the poster locked beyond what covers its position is free."""
    ledger, products, _, (poster, taker), unit = market
    wealth = [ledger.view("free", who) + ledger.view("locked", who) for who in (poster, taker)]
    products.send(poster, "postSpot", DAY, 1, sells, OFFERED, PRICE)
    taken = list(parts_of(OFFERED, random.Random(unit)))
    for part in taken:
        products.send(taker, "takeSpot", 1, part)
    after = [ledger.view("free", who) + ledger.view("locked", who) for who in (poster, taker)]
    assert sum(after) == sum(wealth)
    exact = Fraction(OFFERED * PRICE * unit, 10**9)
    beyond = (wealth[1] - after[1]) - (exact if sells else -exact)
    assert 0 <= beyond < len(taken)
    seller = poster if sells else taker
    cover = ledger.view("coverOf", DAY, 1, 1, OFFERED)
    assert cover >= Fraction(OFFERED * 300_000 * unit, 10**9)
    locked = {who: ledger.view("locked", who) for who in (poster, taker)}
    assert locked == {poster: 0, taker: 0} | {seller: cover}


def test_option_exercised(market):
    ledger, products, _, (writer, buyer), unit = market
    collateral = ledger.view("coverOf", DAY, 1, 1, OFFERED)
    products.send(writer, "writeOption", DAY, 1, OFFERED, PRICE, 0, collateral, ledger.view("gateOf", DAY, 1))
    products.send(buyer, "takeOption", 1)
    before = ledger.view("free", buyer)
    products.send(buyer, "exercise", 1, 33)
    assert 0 <= before - ledger.view("free", buyer) - Fraction(33 * PRICE * unit, 10**9) < 1


@pytest.mark.parametrize("energy", [33, -33, 1, 4000])
def test_pair_paysABegunUnit(market, energy):
    _, _, settlement, _, unit = market
    paid = settlement.payment(statement([(0, energy, PRICE)]))
    exact = Fraction(energy * PRICE * unit, 10**9)
    assert 0 <= abs(paid) - abs(exact) < 1
    assert paid * energy > 0
