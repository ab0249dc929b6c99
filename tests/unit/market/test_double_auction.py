"""The continuous double auction: its book against one of single watt-hours, its strategies, and whole days."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.reference.book_model import BookModel
from tests.unit.market.orders import BOOKS, book, check_kept, filled_wh

from gridpact.community.read import read_community
from gridpact.market.bids import LimitOrder
from gridpact.market.double_auction import (
    ROUNDS,
    ContinuousDoubleAuction,
    Grid,
    HurdlePrice,
    NearTheLimit,
    OrderBook,
    Strategy,
    ZeroIntelligence,
    played,
)
from gridpact.market.matching import Book
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.problem.scenario import Scenario

NODES = 5
CAME = st.lists(
    st.one_of(
        st.tuples(st.integers(1, NODES), st.integers(1, 12), st.integers(0, 6)),
        st.integers(1, NODES),  # takes its orders out
    ),
    max_size=30,
)


@given(CAME)
def test_played_tradesAsTheModelOfTheContract(came: list[tuple[int, int, int] | int]) -> None:
    """One list of orders, read from one end to the other; the contract is compared with the same model, call by call.
    Odd nodes sell, the others buy."""
    model = BookModel(1, 1, lowest=0, tick=1, top=6, least=1, currency=10**6, free=Counter(map(str, range(NODES + 1))))
    turns: list[LimitOrder | int] = []
    expected = []
    for one in came:
        if isinstance(one, int):
            turns.append(one)
            for order in [order for order in model.orders if order.owner == str(one)]:
                model.cancel(0, order.owner, order.id)
            continue
        node, energy, price = one
        sells = bool(node % 2)
        model.free[str(node)] = 10**9
        turns.append(LimitOrder(node, 3, energy, price, sells))
        prices = {order.id: order.price for order in model.orders}
        for event in model.place(0, str(node), 0, sells, price, energy, 64, True):
            if event[0] == "Traded":
                _, id_, maker, taker, wh, _ = event
                seller, buyer = (taker, maker) if sells else (maker, taker)
                expected.append((int(str(seller)), int(str(buyer)), wh, prices[int(str(id_))]))
    trades = played(3, turns).trades
    assert expected == [
        (one.seller, one.buyer, round(1000 * one.energy_kwh), round(1e6 * one.price_per_kwh)) for one in trades
    ]


@given(st.integers(-300_000, 300_000), st.integers(1, 400_000), st.booleans(), st.data())
def test_grid_namesThePriceThatIsNoWorse(lowest: int, span: int, sells: bool, data: st.DataObject) -> None:
    """On the book's prices, within a tick, and never beyond the limit."""
    price = data.draw(st.integers(lowest, lowest + span))
    grid = Grid.of([lowest, lowest + span])
    named = grid.named(LimitOrder(1, 0, 5, price, sells)).price_micro
    ticks, odd = divmod(named - lowest, grid.tick_micro)
    assert odd == 0
    assert 0 <= ticks <= grid.top
    assert 0 <= (named - price if sells else price - named) < grid.tick_micro


STRATEGIES: list[Strategy] = [ZeroIntelligence(), NearTheLimit(), HurdlePrice()]
MARKETS = ["double-auction-zero", "double-auction-gate", "double-auction-hurdle"]

EVENTS = st.lists(
    st.one_of(
        st.tuples(st.integers(1, 6), st.integers(1, 12), st.integers(0, 6), st.booleans()),
        st.integers(1, 6),  # cancels
    ),
    max_size=25,
)


@given(EVENTS)
def test_book_isThatOfSingleWattHours(events: list[tuple[int, int, int, bool] | int]) -> None:
    """Every Wh an order of its own, searched anew each time: the same trades at the same prices, the same at rest."""
    found = OrderBook(0)
    units: list[tuple[int, int, int, bool]] = []  # price, when, node, sells
    traded: dict[tuple[int, int, int], int] = {}
    for when, event in enumerate(events):
        if isinstance(event, int):
            assert found.cancel(event) == sum(unit[2] == event for unit in units)
            units = [unit for unit in units if unit[2] != event]
            continue
        node, size, price, sells = event
        found.place(LimitOrder(node, 0, size, price, sells))
        for _ in range(size):
            others = [u for u in units if u[3] != sells and (u[0] >= price if sells else u[0] <= price)]
            if not others:
                units.append((price, when, node, sells))
                continue
            best = min(others, key=lambda u: (-u[0] if sells else u[0], u[1]))
            units.remove(best)
            pair = (node, best[2]) if sells else (best[2], node)
            key = (*pair, best[0])
            traded[key] = traded.get(key, 0) + 1
    ours: dict[tuple[int, int, int], int] = {}
    for trade in found.trades:
        key = (trade.seller, trade.buyer, round(1e6 * trade.price_per_kwh))
        ours[key] = ours.get(key, 0) + round(1000 * trade.energy_kwh)
    assert ours == traded
    for sells in (True, False):
        rest = [(o.price_micro, o.node) for o in found.resting(sells) for _ in range(o.energy_wh)]
        side = sorted((u for u in units if u[3] is sells), key=lambda u: (u[0] if sells else -u[0], u[1]))
        assert rest == [(price, node) for price, _, node, _ in side]
    if found.resting(True) and found.resting(False):
        assert found.resting(True)[0].price_micro > found.resting(False)[0].price_micro


def test_book_byHand() -> None:
    """Two rest at 0.10, the older first; a bid of 250 Wh at 0.12 takes its 200 and 50 of the other's, at 0.10."""
    found = OrderBook(5)
    for node, wh, price in ((1, 200, 100_000), (2, 200, 100_000), (3, 100, 110_000)):
        found.place(LimitOrder(node, 5, wh, price, True))
    found.place(LimitOrder(4, 5, 250, 120_000, False))
    assert [(t.seller, t.buyer, t.step, t.energy_kwh, t.price_per_kwh) for t in found.trades] == [
        (1, 4, 5, 0.2, 0.1),
        (2, 4, 5, 0.05, 0.1),
    ]
    assert [(o.node, o.energy_wh) for o in found.resting(True)] == [(2, 150), (3, 100)]
    assert found.cancel(2) == 150
    assert found.cancel(2) == 0
    found.place(LimitOrder(5, 5, 500, 110_000, False))
    assert [(o.node, o.energy_wh) for o in found.resting(False)] == [(5, 400)]


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@given(of=BOOKS)
def test_tradesKeepToTheOrders(strategy: Strategy, of: Book) -> None:
    session = ContinuousDoubleAuction(strategy).session(of)
    orders = (*of.offers, *of.bids)
    check_kept(orders, session.trades)
    sold, bought = filled_wh(session.trades)
    for order in orders:  # what was not filled rests at the end: nothing is lost on the way
        rest = sum(o.energy_wh for o in session.resting(order.sells) if o.node == order.node)
        assert (sold if order.sells else bought).get(order.node, 0) + rest == order.energy_wh
    if not isinstance(strategy, ZeroIntelligence):  # in the last round all stand at their limits, which cross
        assert sum(sold.values()) == min(of.offered_wh, of.wanted_wh)


@pytest.mark.parametrize("strategy", STRATEGIES, ids=lambda s: type(s).__name__)
@given(of=BOOKS, left=st.integers(0, ROUNDS - 1), seed=st.integers(0, 9))
def test_noStrategyGoesBeyondItsLimit(strategy: Strategy, of: Book, left: int, seed: int) -> None:
    for order in (*of.offers, *of.bids):
        price = strategy.price(order, of, left, np.random.default_rng(seed))
        assert of.feed_in_micro <= price <= of.import_micro
        if left == 0 and not isinstance(strategy, ZeroIntelligence):
            assert price == order.price_micro


def test_strategies_byHand() -> None:
    """Between 0 and 0.8, nine levels 0.1 apart. The last round: the limit. One round left: E[min(P, 0.8)] = 0.4. Two:
    E[min(P, 0.4)] = (0 + .1 + .2 + .3 + 5 x .4) / 9 = 2.6 / 9. Sellers the same from above."""
    of = book([(100, True), (100, False)], (0, 800_000))
    (offer,), (bid,) = of.offers, of.bids
    draw = np.random.default_rng(1)
    assert [HurdlePrice().price(bid, of, left, draw) for left in (0, 1, 2)] == [800_000, 400_000, 288_889]
    assert [HurdlePrice().price(offer, of, left, draw) for left in (0, 1, 2)] == [0, 400_000, 511_111]
    assert [NearTheLimit().price(bid, of, left, draw) for left in (9, 5, 0)] == [80_000, 400_000, 800_000]
    assert [NearTheLimit().price(offer, of, left, draw) for left in (9, 5, 0)] == [720_000, 400_000, 0]


def test_zeroIntelligence_isEvenWithinItsLimits() -> None:
    of = book([(100, True), (100, False)], (60_000, 260_000))
    offer = replace(of.offers[0], price_micro=160_000)
    draw = np.random.default_rng(7)
    prices = np.array([ZeroIntelligence().price(offer, of, 3, draw) for _ in range(4000)])
    assert prices.min() >= 160_000
    assert prices.max() <= 260_000
    assert prices.mean() == pytest.approx(210_000, abs=4 * 100_000 / np.sqrt(12 * 4000))


@pytest.mark.parametrize("name", MARKETS)
def test_aDay_nobodyLoses(name: str) -> None:
    community = read_community("fontana16").on("06-10")
    market, alone, auction = (solve_day(community, s) for s in (NAMES[name], Scenario.B, NAMES["call-auction"]))
    assert market.checks_held
    assert market.iterations == ROUNDS
    assert 0 < market.traded_kwh <= auction.traded_kwh + 1e-9
    for home, before in zip(market.households, alone.households, strict=True):
        assert home.cost <= before.cost + 1e-4  # prices are rounded to 1e-6
    assert solve_day(community, NAMES[name]).trades == market.trades  # drawn from one seed
