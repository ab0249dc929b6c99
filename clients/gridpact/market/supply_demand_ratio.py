"""The supply and demand ratio: the more is offered for each kWh that is wanted, the nearer the price to feed-in.

With R = offered / wanted (Liu et al., 2017),

    P_sell = C_stg C_bfg / ((C_bfg - C_stg) R + C_stg)     R < 1, and C_stg where R >= 1
    P_buy  = P_sell R + C_bfg (1 - R)                      R < 1, and C_stg where R >= 1

so 1 / P_sell goes in a straight line from 1 / C_bfg to 1 / C_stg. P_buy is what a kWh costs of which the part R comes
from neighbours at P_sell and the rest from the supplier; so every trade is at P_sell, and the long side gets it in
proportion. Where C_stg is below 0 the formula has a pole; there P_sell itself goes in a straight line.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.matching import Book, at_every_step, at_one_price, shared
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class SupplyDemandRatio:
    """One price, by how much is offered for what is wanted; the long side in proportion."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, at_ratio)


def at_ratio(book: Book) -> list[Trade]:
    total = book.least_wh
    if not total:
        return []
    return at_one_price(book.step, shared(book.offers, total), shared(book.bids, total), _price(book))


def _price(book: Book) -> int:
    """P_sell, 1e-6 currency/kWh, of a step at which something is wanted and something offered."""
    low, high = book.feed_in_micro, book.import_micro
    ratio = book.offered_wh / book.wanted_wh
    if ratio >= 1:
        return low
    if low < 0:
        return book.within(high - (high - low) * ratio)
    below = (high - low) * ratio + low
    return book.within(low * high / below) if below else low  # 0 only where both prices are
