"""Trades of rounds of two products, on one settlement."""

import itertools

import brownie
from settling import BIDS, BOUGHT, DEPOSIT, FIRST_DAY, METER, NODES, SOLD, START, Market, Settling, encode_tariff

pytest_plugins = ["settling_fixtures"]

REST = 7  # a product beside 0


def test_trades_ofBothProducts_areRecordedAndPaid(new_market, TradeSettlement, manager, nodes, supplier, token):
    """TS2, TS3, TS9: two rounds of one day by turns, with a node that is silent in both; what was sold in the one is
    bought back in the other. Each trade fits the bids of its own round only, and each round settles its day."""
    day = new_market()
    rest = Market(day.aggregator, nodes, product=REST)
    back = {pair: tuple(-bid for bid in bids) for pair, bids in BIDS.items()}
    first, second = day.open(), rest.open()
    for _ in itertools.zip_longest(day.converging(first), rest.converging(second, bids=back)):
        pass
    contract = manager.deploy(TradeSettlement, day.aggregator, token, supplier, METER.address)
    parties = [*(nodes[node] for node in NODES), supplier]
    for account in parties:
        token.approve(contract, START, {"from": account})
        contract.deposit(DEPOSIT, {"from": account})
    one, other = Settling(contract, day, token), Settling(contract, rest, token)

    one.record(1, 2, SOLD, first)
    with brownie.reverts("DoesNotFitBids: 2, 3"):
        other.state(1, {2: SOLD}, second)
    with brownie.reverts(f"WrongOpening: {second}, 1"):
        other.state(1, {2: BOUGHT}, second, own=one.opened(first, 1))
    other.record(1, 2, BOUGHT, second)
    assert [contract.netPayment(round_, 1) for round_ in (first, second)] == [500_000, -500_000]
    assert contract.settledIn(FIRST_DAY) == first
    assert contract.settledInOf(REST, FIRST_DAY) == second
    one.check(parties, others=(second,))

    third = (REST << 24) + 2
    with brownie.reverts(f"OtherProduct: {third}"):
        contract.publishTariff(third, encode_tariff(), {"from": supplier})
