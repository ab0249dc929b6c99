"""Merit order, both readings: by hand, and against orders taken apart into watt-hours."""

from __future__ import annotations

import pytest
from hypothesis import given
from tests.unit.market.orders import LIMITED, check_kept, filled_wh

from gridpact.community.read import read_community
from gridpact.market.bids import LimitOrder
from gridpact.market.call_auction import clear
from gridpact.market.merit_order import MeritOrder
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.problem.scenario import Scenario

TEXTS_CASE = [
    *(LimitOrder(node, 0, kw * 1000, ct * 10_000, True) for node, (ct, kw) in
      enumerate(((20, 5), (30, 20), (45, 5), (55, 10)), 1)),
    *(LimitOrder(node, 0, kw * 1000, ct * 10_000, False) for node, (ct, kw) in enumerate(((50, 10), (60, 10)), 5)),
]  # fmt: skip
"""Offers 20/5, 30/20, 45/5, 55/10 (ct/kWh, kW for an hour), bids 50/10 and 60/10."""


def test_textsCase_byHand() -> None:
    """The bid at 60 goes first: 5 at 20 and 5 at 30; the one at 50 takes 10 at 30. Uniform: all 20 at 30."""
    as_offered = MeritOrder(uniform=False).traded(0, TEXTS_CASE)
    assert [(t.seller, t.buyer, t.energy_kwh, t.price_per_kwh) for t in as_offered] == [
        (1, 6, 5.0, 0.2),
        (2, 6, 5.0, 0.3),
        (2, 5, 10.0, 0.3),
    ]
    uniform = MeritOrder(uniform=True).traded(0, TEXTS_CASE)
    assert [(t.seller, t.buyer, t.energy_kwh) for t in uniform] == [
        (t.seller, t.buyer, t.energy_kwh) for t in as_offered
    ]
    assert {t.price_per_kwh for t in uniform} == {0.3}


def test_oneBuyer_asTheTextHasIt() -> None:
    """S1 < D: all of the first, the rest of D from the next, whose price is acceptable; 55 is not, at 50."""
    orders = [o for o in TEXTS_CASE if o.node != 6]
    orders[-1] = LimitOrder(5, 0, 28_000, 500_000, False)
    trades = MeritOrder(uniform=False).traded(0, orders)
    assert [(t.seller, t.energy_kwh) for t in trades] == [(1, 5.0), (2, 20.0), (3, 3.0)]
    assert [t.price_per_kwh for t in trades] == [0.2, 0.3, 0.45]
    orders[-1] = LimitOrder(5, 0, 40_000, 500_000, False)
    assert sum(t.energy_kwh for t in MeritOrder(uniform=False).traded(0, orders)) == 30.0  # less than it wants


@given(LIMITED)
def test_asOffered_isWhatWattHoursPay(orders: list[LimitOrder]) -> None:
    """Every Wh on its own: the k-th cheapest that is offered for the k-th dearest that is bid."""
    offers = sorted(o.price_micro for o in orders if o.sells for _ in range(o.energy_wh))
    bids = sorted((o.price_micro for o in orders if not o.sells for _ in range(o.energy_wh)), reverse=True)
    pairs = [(ask, bid) for ask, bid in zip(offers, bids, strict=False) if ask <= bid]
    trades = MeritOrder(uniform=False).traded(0, orders)
    check_kept(orders, trades)
    limit = {o.node: o.price_micro for o in orders}
    of_trades = sorted(
        (round(1e6 * t.price_per_kwh), limit[t.buyer]) for t in trades for _ in range(round(1000 * t.energy_kwh))
    )
    assert of_trades == sorted(pairs)


@given(LIMITED)
def test_uniform_isTheLastOfferTaken(orders: list[LimitOrder]) -> None:
    trades = MeritOrder(uniform=True).traded(0, orders)
    check_kept(orders, trades)
    cleared = clear(orders)
    assert filled_wh(trades) == (cleared.sold_wh, cleared.bought_wh)
    if trades:
        dearest = max(o.price_micro for o in orders if o.node in cleared.sold_wh)
        assert {round(1e6 * t.price_per_kwh) for t in trades} == {dearest}


@pytest.mark.parametrize("name", ["merit-order", "merit-order-uniform"])
def test_aDay_allGoesToBuyersWhoseSellersAskForFeedIn(name: str) -> None:
    community = read_community("fontana16").on("06-10")
    market, alone, auction = (solve_day(community, s) for s in (NAMES[name], Scenario.B, NAMES["call-auction"]))
    assert market.checks_held
    assert market.cost == pytest.approx(auction.cost, abs=1e-9)  # as much is traded
    feed_in = community.prices.feed_in_price
    assert all(t.price_per_kwh == pytest.approx(feed_in[t.step], abs=5e-7) for t in market.trades)
    for home, before in zip(market.households, alone.households, strict=True):
        assert home.cost <= before.cost + 1e-4
