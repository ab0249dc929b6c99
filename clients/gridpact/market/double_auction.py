"""The continuous double auction: an order book for every step, open until the gate closes.

Orders come one after another. Who comes meets the best price of the other side, of equal prices the order that has been
there longest, at the price of the order that rests; what is left of it rests itself. Until the gate closes there are
some rounds; in each every household that has something left cancels its order and places it anew, at the price that
its strategy says, in an order that is drawn. What is left at the end goes to the supplier.

Three strategies, of which the whole community follows one; none ever goes beyond a household's limit:

- *zero intelligence*: a price drawn evenly between the limit and the tariff's other end (Gode and Sunder, 1993);
- *near the limit as the gate closes*: from the tariff's other end to the limit in a straight line;
- *hurdle price*: what waiting is expected to come to. A kWh is bought now where it costs at most what it is expected to
  cost if it is bought in one of the rounds left, at prices that are as likely anywhere within the tariff, or at last
  from the supplier: the hurdle price of `devices.jobs`, with one step to run of those left. Sellers the same
  with signs turned.

All that is drawn comes from one seed, so the same community gives the same agreement.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import TYPE_CHECKING, Protocol

import numpy as np

from gridpact.devices.jobs import hurdle
from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO, LimitOrder
from gridpact.market.matching import Book, books_of
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared

ROUNDS = 10
"""Of placing orders until the gate closes."""

LEVELS = 9
"""Equally likely prices within the tariff that the hurdle price reckons with."""


class Strategy(Protocol):
    """What a household asks or bids."""

    def price(self, order: LimitOrder, book: Book, left: int, draw: np.random.Generator) -> int:
        """1e-6 currency/kWh, at most a buyer's limit and at least a seller's.

        Args:
            left: rounds after this one.
        """


@dataclass(frozen=True)
class ZeroIntelligence:
    def price(self, order: LimitOrder, book: Book, left: int, draw: np.random.Generator) -> int:
        end = _other_end(order, book)
        return int(draw.integers(min(end, order.price_micro), max(end, order.price_micro), endpoint=True))


@dataclass(frozen=True)
class NearTheLimit:
    def price(self, order: LimitOrder, book: Book, left: int, draw: np.random.Generator) -> int:
        return order.price_micro + round((_other_end(order, book) - order.price_micro) * left / ROUNDS)


@dataclass(frozen=True)
class HurdlePrice:
    def price(self, order: LimitOrder, book: Book, left: int, draw: np.random.Generator) -> int:
        sign = -1 if order.sells else 1  # who sells wants the highest: the least of what is negative
        expected = sign * _waiting(sign * order.price_micro, sign * _other_end(order, book), left)
        return min(expected, order.price_micro) if sign > 0 else max(expected, order.price_micro)


@cache
def _waiting(limit: int, end: int, left: int) -> int:
    """What a kWh is expected to cost that is not bought now, 1e-6 currency/kWh."""
    levels = np.linspace(end, limit, LEVELS)
    return round(hurdle([*[levels] * left, np.array([float(limit)])], 1))


def _other_end(order: LimitOrder, book: Book) -> int:
    """The end of the tariff that is best for who orders; its limit where that is beyond."""
    return max(book.import_micro, order.price_micro) if order.sells else min(book.feed_in_micro, order.price_micro)


@dataclass(frozen=True)
class ContinuousDoubleAuction:
    """An order book for every step; everybody follows one strategy."""

    strategy: Strategy
    seed: int = 1

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        trades: list[Trade] = []
        placed = 0
        for book in books_of(prepared):
            session = self.session(book)
            trades += session.trades
            placed += session.placed
        return Agreement(prepared.alone, tuple(trades), rounds=ROUNDS, messages=2 * placed + 4 * len(trades))

    def session(self, book: Book) -> OrderBook:
        """A step's book when its gate has closed."""
        draw = np.random.default_rng([self.seed, book.step])
        orders = OrderBook(book.step)
        left = {order.node: order for order in (*book.offers, *book.bids)}
        for rounds_left in reversed(range(ROUNDS)):
            for node in draw.permutation(list(left)).tolist():
                rest = orders.cancel(node) if rounds_left < ROUNDS - 1 else left[node].energy_wh
                if rest:
                    price = self.strategy.price(left[node], book, rounds_left, draw)
                    orders.place(replace(left[node], energy_wh=rest, price_micro=price))
        return orders


@dataclass(frozen=True)
class Grid:
    """The prices that a book has: some ticks above the lowest, as on a chain."""

    lowest_micro: int
    tick_micro: int
    top: int

    @staticmethod
    def of(prices_micro: Sequence[int], top: int = 255) -> Grid:
        """From the lowest of some prices to the highest, or the next tick above."""
        lowest, highest = min(prices_micro), max(prices_micro)
        return Grid(lowest, max(-(-(highest - lowest) // top), 1), top)

    def named(self, order: LimitOrder) -> LimitOrder:
        """An order at the next price of the book that is no worse for who orders."""
        above = order.price_micro - self.lowest_micro
        ticks = -(-above // self.tick_micro) if order.sells else above // self.tick_micro
        return replace(order, price_micro=self.price(ticks))

    def price(self, ticks: int) -> int:
        return self.lowest_micro + self.tick_micro * ticks


def played(step: int, came: Iterable[LimitOrder | int]) -> OrderBook:
    """A step's book after what came, one after another: an order, or the number of the node that takes its own out."""
    orders = OrderBook(step)
    for one in came:
        if isinstance(one, LimitOrder):
            orders.place(one)
        else:
            orders.cancel(one)
    return orders


@dataclass
class OrderBook:
    """Orders that rest, best first, and what was traded."""

    step: int
    trades: list[Trade] = field(default_factory=list)
    placed: int = 0
    _resting: dict[bool, list[LimitOrder]] = field(
        default_factory=lambda: {True: [], False: []}
    )  # by whether they sell

    def resting(self, sells: bool) -> tuple[LimitOrder, ...]:
        """Of one side, the best first, of equals the oldest."""
        return tuple(self._resting[sells])

    def place(self, order: LimitOrder) -> None:
        """Fills an order as far as it can be, and lets the rest of it rest."""
        self.placed += 1
        left = order.energy_wh
        for energy, best in self._met(order):
            seller, buyer = (order, best) if order.sells else (best, order)
            self.trades.append(Trade(seller.node, buyer.node, self.step, energy / 1000, best.price_micro / MICRO))
            left -= energy
        if left:
            self._rest(replace(order, energy_wh=left))

    def cancel(self, node: int) -> int:
        """Takes a household's orders out; what was left of them, Wh."""
        taken = sum(order.energy_wh for side in self._resting.values() for order in side if order.node == node)
        self._resting = {sells: [o for o in side if o.node != node] for sells, side in self._resting.items()}
        return taken

    def _met(self, order: LimitOrder) -> Iterator[tuple[int, LimitOrder]]:
        """What an order meets on the other side, and takes from there."""
        others, left = self._resting[not order.sells], order.energy_wh
        while left and others:
            best = others[0]
            ask, bid = (order, best) if order.sells else (best, order)
            if ask.price_micro > bid.price_micro:
                return
            energy = min(left, best.energy_wh)
            others[:1] = [replace(best, energy_wh=best.energy_wh - energy)] if energy < best.energy_wh else []
            left -= energy
            yield energy, best

    def _rest(self, order: LimitOrder) -> None:
        side = self._resting[order.sells]
        sign = 1 if order.sells else -1
        ahead = sum(sign * other.price_micro <= sign * order.price_micro for other in side)
        side.insert(ahead, order)
