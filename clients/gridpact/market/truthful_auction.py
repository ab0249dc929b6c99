"""The truthful call auction: nobody gains by asking for more, or bidding less, than energy is worth to it.

The strongly budget-balanced double auction (Segal-Halevi et al., 2016) for orders of any size. Offers and bids cross as
in `call_auction`; of the orders that take part there, call the last offer S and the last bid L, and the first offer
that does not take part S+. Who sets the price does not trade:

- S takes part in part: the price is S's, and S is left out.
- S takes part whole and S+ asks at most what L bids: the price is S+'s, and all that take part trade.
- else the price is L's, and L is left out.

All who trade do so at that one price, so nothing is left with the auctioneer (in McAfee's auction, 1992, it is). What
one side has too much after that is shared in proportion. Where all sellers ask for the same and all buyers bid the
same, the side with less gets all there is to gain. It is truthful in prices; to say that one has less to sell than one
has may pay.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import LimitOrder
from gridpact.market.call_auction import by_price, crossing
from gridpact.market.matching import at_every_step, at_one_price, shared
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class TruthfulAuction:
    """A price at every step that nobody who trades has set."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, lambda book: truthfully(book.step, (*book.offers, *book.bids)))


def truthfully(step: int, orders: Sequence[LimitOrder]) -> list[Trade]:
    """The trades of one step."""
    offers, bids = by_price(orders)
    crossed = crossing(offers, bids)
    if crossed == 0:
        return []
    selling, whole = _taking_part(offers, crossed)
    buying, _ = _taking_part(bids, crossed)
    last_bid = buying[-1].price_micro
    if not whole:
        price, selling = selling[-1].price_micro, selling[:-1]
    elif len(selling) < len(offers) and offers[len(selling)].price_micro <= last_bid:
        price = offers[len(selling)].price_micro
    else:
        price, buying = last_bid, buying[:-1]
    sides = [sorted(side, key=lambda order: order.node) for side in (selling, buying)]  # rounding follows no price
    total = min(sum(order.energy_wh for order in side) for side in sides)
    sold, bought = (shared(side, total) for side in sides)
    return at_one_price(step, sold, bought, price)


def _taking_part(side: Sequence[LimitOrder], crossed: int) -> tuple[Sequence[LimitOrder], bool]:
    """The orders up to an energy, Wh, and whether the last of them is in it whole."""
    before = 0
    for count, order in enumerate(side, 1):
        before += order.energy_wh
        if before >= crossed:
            return side[:count], before == crossed
    raise AssertionError("more was crossed than ordered")
