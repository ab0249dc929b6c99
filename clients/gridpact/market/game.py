"""The bidding game: sellers hold back what would spoil their price, until nobody gains by offering more or less.

The thesis's iterative search (4.1)-(4.2): bidders answer in turn with what is best for them given the last bids of the
others, those before them in this round included, until all bids are those of the round before, a Nash equilibrium. The
return is quadratic in the bid, as there, because of the unified price (4.4), which falls as more is offered. With q_i
what seller i offers of the s_i that its plan leaves, Q the sum of all and D what all buyers want,

    U_i = q_i (1 - Q / D) C_bfg + (s_i - q_i) C_stg,

whose best q_i is ((1 - C_stg / C_bfg) D - Q without i) / 2, kept within 0, s_i and what is left of D: Cournot's game
with linear demand. It has a potential, so turns in whole watt-hours end; they start where everybody offers all. Buyers
want what they want, and are served by descending demand as in unified pricing. (4.4) is taken as printed while sellers
decide: below C_stg they hold back, so the price they end at is not below it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.matching import Book, agreed, at_one_price, books_of, in_turn, largest_first
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared

MOST_TURNS = 1000


@dataclass(frozen=True)
class Equilibrium:
    """What sellers of a step end with."""

    offered_wh: tuple[int, ...]  # in the order of the book's offers
    turns: int  # how often all were asked
    reached: bool  # whether nobody moved in the last one


@dataclass(frozen=True)
class BiddingGame:
    """Sellers answer each other's offers at every step."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        books = books_of(prepared)
        games = [play(book) for book in books]
        trades = [trade for book, game in zip(books, games, strict=True) for trade in traded(book, game)]
        messages = sum(2 * len(book.offers) * game.turns for book, game in zip(books, games, strict=True))
        agreement = agreed(prepared, books, trades)
        return replace(
            agreement,
            rounds=max((game.turns for game in games), default=1),
            messages=agreement.messages + messages,
            reached=all(game.reached for game in games),
        )


def play(book: Book) -> Equilibrium:
    """Turns of best answers until nobody moves, (4.1) and (4.2)."""
    offers = [order.energy_wh for order in book.offers]
    if not book.bids or not offers:
        return Equilibrium((0,) * len(offers), 1, True)
    for turn in range(1, MOST_TURNS + 1):
        before = list(offers)
        for k, order in enumerate(book.offers):
            offers[k] = best_offer(book, order.energy_wh, sum(offers) - offers[k])
        if offers == before:
            return Equilibrium(tuple(offers), turn, True)
    return Equilibrium(tuple(offers), MOST_TURNS, False)


def best_offer(book: Book, left_wh: int, others_wh: int) -> int:
    """What to offer of what is left, given what all others offer: whole Wh, the least of equals."""
    most = max(min(left_wh, book.wanted_wh - others_wh), 0)
    if book.import_micro <= 0:  # the price does not fall with what is offered
        return most if book.import_micro > book.feed_in_micro else 0
    margin = (book.import_micro - book.feed_in_micro) * book.wanted_wh
    slope = book.import_micro
    middle = (margin - slope * others_wh) // (2 * slope)
    near = [min(max(q, 0), most) for q in (middle, middle + 1)]
    return max(near, key=lambda q: (q * (margin - slope * (q + others_wh)), -q))


def price(book: Book, offered_wh: Sequence[int]) -> int:
    """(4.4) of what is offered, kept within the tariff, 1e-6 currency/kWh."""
    return book.within((1 - sum(offered_wh) / book.wanted_wh) * book.import_micro)


def traded(book: Book, game: Equilibrium) -> list[Trade]:
    """All that is offered, at its price; the largest demand first."""
    sold = [(order.node, wh) for order, wh in zip(book.offers, game.offered_wh, strict=True) if wh]
    if not sold:
        return []
    bought = in_turn(largest_first(book.bids), sum(game.offered_wh))
    return at_one_price(book.step, sold, bought, price(book, game.offered_wh))
