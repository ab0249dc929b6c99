"""Unified pricing: one price at every step, by how much the community lacks.

    C_P2P = lambda C_x                                                                    (4.3)
    C_x = (1 - P_g / P_d) C_bfg   where P_d > P_g, and C_stg where it is not              (4.4)

P_g and P_d are what all households offer and want at the step. As printed (4.4) falls below C_stg as P_g nears P_d; the
text asks for a price within [C_stg, C_bfg], so it is kept there. The learning factor lambda is nowhere defined; here it
is 1. Buyers are served by descending demand, the largest first; of sellers, of whose order the text says nothing, each
sells the same part of its offer. A bill is what is paid to neighbours and to the supplier (4.5).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.matching import Book, at_every_step, at_one_price, in_turn, largest_first, shared
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class UnifiedPricing:
    """One price by what is lacking; the largest demand first."""

    learning: float = 1.0  # lambda

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, self.traded)

    def traded(self, book: Book) -> list[Trade]:
        total = book.least_wh
        if not total:
            return []
        return at_one_price(
            book.step, shared(book.offers, total), in_turn(largest_first(book.bids), total), self.price(book)
        )

    def price(self, book: Book) -> int:
        """(4.3) and (4.4) of a step at which something is wanted, 1e-6 currency/kWh."""
        lacking = 1 - book.offered_wh / book.wanted_wh
        return book.within(self.learning * (lacking * book.import_micro if lacking > 0 else book.feed_in_micro))
