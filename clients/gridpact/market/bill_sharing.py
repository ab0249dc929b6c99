"""Bill sharing, at every step: what the supplier takes from the community is shared by what each would import, what it
pays by what each would feed in.

With D wanted and S offered, a household that wants d pays C_bfg (D - S) d / D where D > S, and nothing else; one that
offers s gets C_stg (S - D) s / S where S > D, and nothing else (Long et al., 2017; there over a day, here at every
step, as all mechanisms of this package clear). That is: neighbours give each other energy in proportion to their
orders, for nothing, and deal with the supplier for the rest. So sellers are paid less than on their own where anybody
wants what they have. It is what papers compare with, and the one mechanism here that does not keep to the limits of the
orders.
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
class BillSharing:
    """Energy for nothing, in proportion; the supplier's bill by what is left."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, for_nothing)


def for_nothing(book: Book) -> list[Trade]:
    total = book.least_wh
    return at_one_price(book.step, shared(book.offers, total), shared(book.bids, total), price_micro=0)
