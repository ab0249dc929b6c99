"""Markets at one price for all: against the bills of the literature's formulas, by hand, and as whole days."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.market.orders import BOOKS, SIZES, book, check_kept, filled_wh

from gridpact.community.read import read_community
from gridpact.market.agreement import Trade
from gridpact.market.bill_sharing import for_nothing
from gridpact.market.matching import Book
from gridpact.market.mid_market_rate import at_mid_market_rate
from gridpact.market.registry import NAMES
from gridpact.market.supply_demand_ratio import at_ratio
from gridpact.market.unified_pricing import UnifiedPricing
from gridpact.outcome.day import solve_day
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario

Cleared = Callable[[Book], list[Trade]]

POOLS: dict[str, Cleared] = {
    "mid-market-rate": at_mid_market_rate,
    "supply-demand-ratio": at_ratio,
    "bill-sharing": for_nothing,
    "unified-pricing": UnifiedPricing().traded,
}


@pytest.mark.parametrize("name", POOLS)
@given(of=BOOKS)
def test_tradesKeepToTheOrders(name: str, of: Book) -> None:
    """All that both sides have is traded; within the tariff, but where the bill is shared."""
    trades = POOLS[name](of)
    check_kept((*of.offers, *of.bids), trades, limits=name != "bill-sharing")
    assert sum(filled_wh(trades)[0].values()) == min(
        sum(o.energy_wh for o in of.offers), sum(o.energy_wh for o in of.bids)
    )
    assert len({trade.price_per_kwh for trade in trades}) <= 1


def bills(of: Book, trades: Sequence[Trade]) -> dict[int, float]:
    """What each pays at the step, to neighbours and the supplier, millionths of the currency."""
    sold, bought = filled_wh(trades)
    paid = {o.node: -(o.energy_wh - sold.get(o.node, 0)) * of.feed_in_micro / 1000 for o in of.offers}
    paid |= {o.node: (o.energy_wh - bought.get(o.node, 0)) * of.import_micro / 1000 for o in of.bids}
    for trade in trades:
        paid[trade.buyer] += trade.energy_kwh * trade.price_per_kwh * 1e6
        paid[trade.seller] -= trade.energy_kwh * trade.price_per_kwh * 1e6
    return paid


def mid_market_prices(supply: float, demand: float, low: float, high: float) -> tuple[float, float]:
    """What a kWh earns and costs, after Long et al. (2017): the long side's price is mixed with the supplier's."""
    mid = (low + high) / 2
    if supply >= demand:
        return (mid * demand + low * (supply - demand)) / supply, mid
    return mid, (mid * supply + high * (demand - supply)) / demand


def ratio_prices(supply: float, demand: float, low: float, high: float) -> tuple[float, float]:
    """The same after Liu et al. (2017)."""
    if supply >= demand:
        return low, low
    ratio = supply / demand
    sell = low * high / ((high - low) * ratio + low)
    return sell, sell * ratio + high * (1 - ratio)


def shared_prices(supply: float, demand: float, low: float, high: float) -> tuple[float, float]:
    """The same where the community's bill is shared."""
    return low * max(supply - demand, 0) / supply, high * max(demand - supply, 0) / demand


FORMULAS = {
    "mid-market-rate": mid_market_prices,
    "supply-demand-ratio": ratio_prices,
    "bill-sharing": shared_prices,
}


@pytest.mark.parametrize("name", FORMULAS)
@given(
    sizes=SIZES.filter(lambda rows: len({sells for _, sells in rows}) == 2),
    low=st.integers(10_000, 300_000),
    more=st.integers(0, 300_000),
)
def test_billsAreTheLiteratures(name: str, sizes: list[tuple[int, bool]], low: int, more: int) -> None:
    """Up to what is rounded: a Wh, at most at twice the import price, and half a millionth of every kWh."""
    of = book(sizes, (low, low + more))
    supply, demand = (sum(o.energy_wh for o in side) for side in (of.offers, of.bids))
    earned, cost = FORMULAS[name](supply, demand, low, low + more)
    paid = bills(of, POOLS[name](of))
    for order in (*of.offers, *of.bids):
        expected = order.energy_wh / 1000 * (-earned if order.sells else cost)
        assert paid[order.node] == pytest.approx(expected, abs=2 * (low + more) / 1000 + order.energy_wh / 1000)
    assert sum(paid.values()) == pytest.approx(
        max(demand - supply, 0) / 1000 * (low + more) - max(supply - demand, 0) / 1000 * low, abs=1e-3
    )


def test_pricesByHand() -> None:
    """600 Wh offered for 1,000 wanted between 0.06 and 0.25: R = 0.6.

    Mid 0.155. Ratio: 0.06 x 0.25 / (0.19 x 0.6 + 0.06) = 0.015 / 0.174 = 0.086207. Unified: 0.4 x 0.25 = 0.1.
    """
    of = book([(200, True), (400, True), (700, False), (300, False)], (60_000, 250_000))
    prices = {name: {round(1e6 * trade.price_per_kwh) for trade in cleared(of)} for name, cleared in POOLS.items()}
    assert prices == {
        "mid-market-rate": {155_000},
        "supply-demand-ratio": {86_207},
        "bill-sharing": {0},
        "unified-pricing": {100_000},
    }
    assert filled_wh(at_mid_market_rate(of))[1] == {3: 420, 4: 180}  # 0.6 of each
    assert filled_wh(UnifiedPricing().traded(of))[1] == {3: 600}  # the largest first


def test_unifiedPrice_isKeptWithinTheTariff() -> None:
    """As printed, with 950 Wh of 1,000 it would be 0.05 x 0.25 = 0.0125, below the 0.06 of feed-in."""
    near = book([(950, True), (1000, False)], (60_000, 250_000))
    assert UnifiedPricing().price(near) == 60_000
    plenty = book([(1500, True), (1000, False)], (60_000, 250_000))
    assert UnifiedPricing().price(plenty) == 60_000  # (4.4), second line; the text's Figure 5.2, 10:00 to 15:00
    assert UnifiedPricing(learning=10).price(book([(500, True), (1000, False)], (60_000, 250_000))) == 250_000


@given(BOOKS)
def test_unifiedPricing_servesTheLargestFirst(of: Book) -> None:
    """Who gets less than it wants leaves nothing to who wants less."""
    bought = filled_wh(UnifiedPricing().traded(of))[1]
    for order in of.bids:
        if bought.get(order.node, 0) < order.energy_wh:
            assert not any(bought.get(o.node, 0) for o in of.bids if o.energy_wh < order.energy_wh)


def test_freeAndNegativePrices_haveAPrice() -> None:
    """Where feed-in earns nothing or costs something the ratio's formula has a pole; the price is inside even so."""
    for tariff in ((0, 0), (0, 200_000), (-100_000, 200_000), (-200_000, -100_000), (-100_000, 0)):
        of = book([(600, True), (1000, False)], tariff)
        (trade,) = at_ratio(of)
        assert tariff[0] <= round(1e6 * trade.price_per_kwh) <= tariff[1]
    assert at_ratio(book([(600, True), (1000, False)], (-100_000, 100_000)))[0].price_per_kwh == -0.02


@pytest.mark.parametrize("name", POOLS)
def test_aDay(name: str) -> None:
    """What all save is what trades move from feed-in to import price, whatever the price between them."""
    community = read_community("fontana16").on("06-10")
    market, alone = solve_day(community, NAMES[name]), solve_day(community, Scenario.B)
    assert market.checks_held
    assert market.traded_kwh > 10
    assert abs(sum(home.trade_cost for home in market.households)) < 1e-9
    margin = community.prices.import_price - community.prices.feed_in_price
    moved = sum(trade.energy_kwh * margin[trade.step] for trade in market.trades)
    assert alone.cost - market.cost == pytest.approx(moved, abs=1e-9)
    saved = [before.cost - home.cost for home, before in zip(market.households, alone.households, strict=True)]
    if name == "bill-sharing":
        assert min(saved) < -0.05  # who gives for nothing loses
    else:
        assert min(saved) > -1e-9
    again = solved(community, NAMES[name])
    assert again.trades == market.trades
