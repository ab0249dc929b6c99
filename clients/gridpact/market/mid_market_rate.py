"""The mid-market rate: neighbours trade halfway between what the supplier pays and what it takes.

With C_stg and C_bfg the supplier's prices of the step, every trade is at (C_stg + C_bfg) / 2. The side with less is
served whole; everybody on the other gets the same part of its order, and deals with the supplier for the rest. In the
literature (Long et al., 2017) the long side has one mixed price instead, (traded * mid + rest * supplier's) / all: the
same bills.
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
class MidMarketRate:
    """One price, halfway; the long side in proportion."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, at_mid_market_rate)


def at_mid_market_rate(book: Book) -> list[Trade]:
    total = book.least_wh
    price = (book.feed_in_micro + book.import_micro) // 2
    return at_one_price(book.step, shared(book.offers, total), shared(book.bids, total), price)
