"""The truthful call auction: by trying every other price that somebody could have said."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.market.orders import LIMITED, check_kept, filled_wh

from gridpact.market.agreement import Trade
from gridpact.market.bids import LimitOrder
from gridpact.market.call_auction import clear
from gridpact.market.truthful_auction import truthfully

PRICES = range(-60_000, 310_000, 10_000)
"""Those of the drawn orders, and beyond them."""


def gained(order: LimitOrder, trades: list[Trade]) -> int:
    """What trading is worth to who ordered, Wh times 1e-6 currency/kWh."""
    sold, bought = filled_wh(trades)
    if not trades:
        return 0
    margin = round(1e6 * trades[0].price_per_kwh) - order.price_micro
    return margin * sold.get(order.node, 0) - margin * bought.get(order.node, 0)


@given(LIMITED, st.data())
@settings(max_examples=150)
def test_nobodyGainsBySayingAnotherPrice(orders: list[LimitOrder], data: st.DataObject) -> None:
    if not orders:
        assert truthfully(0, orders) == []
        return
    order = data.draw(st.sampled_from(orders))
    honest = gained(order, truthfully(0, orders))
    assert honest >= 0
    for price in PRICES:
        said = [replace(o, price_micro=price) if o is order else o for o in orders]
        assert gained(order, truthfully(0, said)) <= honest, price


@given(LIMITED)
def test_onePriceWithinAllLimits_andOneOrderAtMostIsLost(orders: list[LimitOrder]) -> None:
    """Beside the most that could be traded, what is missing is at most the order that set the price."""
    trades = truthfully(0, orders)
    check_kept(orders, trades)
    assert len({trade.price_per_kwh for trade in trades}) <= 1
    sold, _ = filled_wh(trades)
    most = clear(orders).energy_wh
    assert most - max((o.energy_wh for o in orders), default=0) <= sum(sold.values()) <= most


def of_single_watt_hours(orders: list[LimitOrder]) -> tuple[int, set[int], set[int]] | None:
    """The auction by the words of its module, of orders cut into watt-hours: the price, who sells and who buys; None
    where no offer meets a bid."""
    asked = sorted((o.price_micro, o.node) for o in orders if o.sells for _ in range(o.energy_wh))
    wanted = sorted((-o.price_micro, o.node) for o in orders if not o.sells for _ in range(o.energy_wh))
    crossed = sum(ask <= -bid for (ask, _), (bid, _) in zip(asked, wanted, strict=False))
    if not crossed:
        return None
    (ask, last_seller), (bid, last_buyer) = asked[crossed - 1], wanted[crossed - 1]
    sellers, buyers = {node for _, node in asked[:crossed]}, {node for _, node in wanted[:crossed]}
    beyond = asked[crossed] if crossed < len(asked) else None
    if beyond is not None and beyond[1] == last_seller:
        return ask, sellers - {last_seller}, buyers
    if beyond is not None and beyond[0] <= -bid:
        return beyond[0], sellers, buyers
    return -bid, sellers, buyers - {last_buyer}


@given(LIMITED)
def test_auction_isThatOfSingleWattHours(orders: list[LimitOrder]) -> None:
    """Its price and who trades; on the side with more all in proportion, to a watt-hour."""
    trades = truthfully(0, orders)
    expected = of_single_watt_hours(orders)
    sizes = {order.node: order.energy_wh for order in orders}
    total = 0 if expected is None else min(sum(sizes[node] for node in side) for side in expected[1:])
    if expected is None or not total:
        assert trades == []
        return
    price, *sides = expected
    assert {round(1e6 * trade.price_per_kwh) for trade in trades} == {price}
    for side, filled in zip(sides, filled_wh(trades), strict=True):
        of_side = sum(sizes[node] for node in side)
        assert sum(filled.values()) == total
        assert filled.keys() <= side
        assert all(abs(filled.get(node, 0) - total * sizes[node] / of_side) < 1 for node in side)


def order(node: int, wh: int, price: int, sells: bool) -> LimitOrder:
    return LimitOrder(node, 0, wh, 10_000 * price, sells)


def test_byHand() -> None:
    """Offers 300 at 5, 200 at 10, 400 at 20; bids 250 at 30, 150 at 15, 350 at 8: 400 cross, the offer at 10 in
    part. It sets the price and is left out; the 300 Wh at 5 go to 400 Wh of bids, in proportion."""
    offers = [order(1, 300, 5, True), order(2, 200, 10, True), order(3, 400, 20, True)]
    bids = [order(4, 250, 30, False), order(5, 150, 15, False), order(6, 350, 8, False)]
    trades = truthfully(0, [*offers, *bids])
    assert filled_wh(trades) == ({1: 300}, {4: 188, 5: 112})
    assert {trade.price_per_kwh for trade in trades} == {0.1}


def test_nextOffer_setsThePrice_whereTheLastIsWhole() -> None:
    trades = truthfully(0, [order(1, 100, 5, True), order(2, 100, 10, True), order(3, 100, 20, False)])
    assert filled_wh(trades) == ({1: 100}, {3: 100})
    assert {trade.price_per_kwh for trade in trades} == {0.1}


def test_lastBid_setsThePrice_elseAndIsLeftOut() -> None:
    trades = truthfully(0, [order(1, 150, 5, True), order(3, 100, 20, False), order(4, 100, 15, False)])
    assert filled_wh(trades) == ({1: 100}, {3: 100})
    assert {trade.price_per_kwh for trade in trades} == {0.15}
    assert truthfully(0, [order(1, 150, 5, True), order(3, 100, 20, False)]) == []
