"""Orders of a step side by side: who gets how much of what is traded, and who trades with whom.

Mechanisms that clear orders differ in prices and in whom they serve first; what they have in common stands here. All
energies are whole watt-hours, so nothing is lost or made by rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO, LimitOrder, truthful_orders

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared

Filled = Sequence[tuple[int, int]]
"""Who trades how much: node and Wh, none of them 0."""


@dataclass(frozen=True)
class Book:
    """All orders of one step, and the tariff between which prices lie."""

    step: int
    offers: tuple[LimitOrder, ...]  # by node
    bids: tuple[LimitOrder, ...]
    feed_in_micro: int  # C_stg, 1e-6 currency/kWh: what the supplier pays
    import_micro: int  # C_bfg: what it takes, less the fee on what comes from neighbours; at least as much

    @property
    def offered_wh(self) -> int:
        return sum(order.energy_wh for order in self.offers)

    @property
    def wanted_wh(self) -> int:
        return sum(order.energy_wh for order in self.bids)

    @property
    def least_wh(self) -> int:
        """Of the short side: the most that can be traded."""
        return min(self.offered_wh, self.wanted_wh)

    def within(self, price_micro: float) -> int:
        """A price kept within what the supplier pays and takes, whole millionths."""
        return min(max(round(price_micro), self.feed_in_micro), self.import_micro)


def books_of(prepared: Prepared) -> tuple[Book, ...]:
    """The books of all steps at which anybody orders."""
    prices = prepared.community.between
    feed_in, imports = (np.rint(MICRO * p).astype(int).tolist() for p in (prices.feed_in_price, prices.bought_price))
    books = []
    for step, orders in groupby(truthful_orders(prepared), lambda order: order.step):
        some = tuple(orders)
        offers, bids = (tuple(o for o in some if o.sells is sells) for sells in (True, False))
        books.append(Book(step, offers, bids, feed_in[step], imports[step]))
    return tuple(books)


def at_every_step(prepared: Prepared, traded: Callable[[Book], Iterable[Trade]]) -> Agreement:
    """What a mechanism agrees on that clears each step on its own, of what everybody's own plan leaves."""
    books = books_of(prepared)
    return agreed(prepared, books, [trade for book in books for trade in traded(book)])


def agreed(prepared: Prepared, books: Sequence[Book], trades: Iterable[Trade]) -> Agreement:
    """Devices keep to their plans; energy and price of every order go in, and those of its answer come back."""
    orders = sum(len(book.offers) + len(book.bids) for book in books)
    return Agreement(prepared.alone, tuple(trades), messages=4 * orders)


def in_proportion(total: int, sizes: Sequence[int]) -> list[int]:
    """A whole number in parts in proportion to sizes, whole too and none beyond its size: what rounding down leaves
    goes to the largest remainders, the first of equals first. `total` is at most the sum of the sizes."""
    everything = sum(sizes)
    if everything == 0:
        return [0] * len(sizes)
    parts = [total * size // everything for size in sizes]
    remainders = sorted(range(len(sizes)), key=lambda k: (-(total * sizes[k] % everything), k))
    for k in remainders[: total - sum(parts)]:
        parts[k] += 1
    return parts


def shared(orders: Sequence[LimitOrder], total_wh: int) -> Filled:
    """Everybody gets the same part of its order."""
    parts = in_proportion(total_wh, [order.energy_wh for order in orders])
    return [(order.node, part) for order, part in zip(orders, parts, strict=True) if part]


def in_turn(orders: Iterable[LimitOrder], total_wh: int) -> Filled:
    """The first get all of their orders, one the rest, and the others nothing."""
    filled = []
    for order in orders:
        part = min(order.energy_wh, total_wh)
        if part:
            filled.append((order.node, part))
        total_wh -= part
    return filled


def largest_first(orders: Iterable[LimitOrder]) -> list[LimitOrder]:
    """By descending energy, equals by node."""
    return sorted(orders, key=lambda order: (-order.energy_wh, order.node))


def joined(sellers: Filled, buyers: Filled) -> Iterator[tuple[int, int, int]]:
    """Seller, buyer and Wh of each trade: the first of both sides with each other until one is served, and so on, which
    makes fewer trades than there are traders. Both sides add up to the same."""
    left, wanted = list(sellers), list(buyers)
    while left and wanted:
        (seller, sold), (buyer, bought) = left[0], wanted[0]
        energy = min(sold, bought)
        yield seller, buyer, energy
        left[:1] = [(seller, sold - energy)] if sold > energy else []
        wanted[:1] = [(buyer, bought - energy)] if bought > energy else []


def at_one_price(step: int, sellers: Filled, buyers: Filled, price_micro: int) -> list[Trade]:
    """Trades at one price for all."""
    return [Trade(a, b, step, wh / 1000, price_micro / MICRO) for a, b, wh in joined(sellers, buyers)]
