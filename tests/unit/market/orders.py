"""Orders of a step as hypothesis draws them, and what of trades holds in every market of orders."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from hypothesis import strategies as st

from gridpact.market.agreement import Trade
from gridpact.market.bids import LimitOrder
from gridpact.market.matching import Book

SIZES = st.lists(st.tuples(st.integers(1, 2000), st.booleans()), min_size=0, max_size=9)
TARIFFS = st.tuples(st.integers(-100_000, 300_000), st.integers(0, 300_000)).map(lambda p: (p[0], p[0] + p[1]))


def book(sizes: Sequence[tuple[int, bool]], tariff: tuple[int, int], step: int = 3) -> Book:
    """Orders at the tariff, as truthful ones are; node k is the k-th."""
    orders = [
        LimitOrder(node, step, wh, tariff[0] if sells else tariff[1], sells)
        for node, (wh, sells) in enumerate(sizes, 1)
    ]
    return Book(step, tuple(o for o in orders if o.sells), tuple(o for o in orders if not o.sells), *tariff)


BOOKS = st.builds(book, SIZES, TARIFFS)

LIMITED = st.lists(st.tuples(st.integers(1, 2000), st.integers(-5, 30), st.booleans()), min_size=0, max_size=9).map(
    lambda rows: [LimitOrder(node, 0, wh, 10_000 * price, sells) for node, (wh, price, sells) in enumerate(rows, 1)]
)
"""Limits of their own; few prices, so that many stand at the margin; some below zero."""


def filled_wh(trades: Iterable[Trade]) -> tuple[dict[int, int], dict[int, int]]:
    """What each sold and bought, whole Wh."""
    sold: dict[int, float] = defaultdict(float)
    bought: dict[int, float] = defaultdict(float)
    for trade in trades:
        sold[trade.seller] += 1000 * trade.energy_kwh
        bought[trade.buyer] += 1000 * trade.energy_kwh
    return {n: round(wh) for n, wh in sold.items()}, {n: round(wh) for n, wh in bought.items()}


def check_kept(orders: Iterable[LimitOrder], trades: Sequence[Trade], limits: bool = True) -> None:
    """Only sellers sell and only buyers buy, none more than it ordered, as much sold as bought, within both limits."""
    ordered = {order.node: order for order in orders}
    sold, bought = filled_wh(trades)
    assert sum(sold.values()) == sum(bought.values())
    for side, sells in ((sold, True), (bought, False)):
        for node, wh in side.items():
            assert ordered[node].sells is sells
            assert 0 < wh <= ordered[node].energy_wh
    for trade in trades:
        assert trade.energy_kwh > 0
        if limits:
            price = round(1e6 * trade.price_per_kwh)
            assert ordered[trade.seller].price_micro <= price <= ordered[trade.buyer].price_micro
