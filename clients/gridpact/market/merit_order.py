"""Merit order: buyers take the lowest offers up to what they would pay, the last one in part.

The text works it out for one buyer, who pays each seller what it asked, and leaves several buyers open: "Higher price
gives the priority? Higher price does not mean that they should buy with higher price?" Both readings are here: higher
bids go first and pay each seller what it asked (pay as offered), or all pay the last offer that is taken (uniform).
Either way the same energy is traded by the same households, as much as pays for both sides; offers, and bids, of one
price are served in proportion to their size.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO, LimitOrder
from gridpact.market.call_auction import clear
from gridpact.market.matching import at_every_step, joined
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class MeritOrder:
    """Lowest offers to highest bids."""

    uniform: bool  # else each seller is paid what it asked

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, lambda book: self.traded(book.step, (*book.offers, *book.bids)))

    def traded(self, step: int, orders: Iterable[LimitOrder]) -> list[Trade]:
        """The trades of one step; of each household there is at most one order."""
        orders = tuple(orders)
        price = {order.node: order.price_micro for order in orders}
        cleared = clear(orders)
        sellers = sorted(cleared.sold_wh.items(), key=lambda item: (price[item[0]], item[0]))
        buyers = sorted(cleared.bought_wh.items(), key=lambda item: (-price[item[0]], item[0]))
        last = price[sellers[-1][0]] if sellers else 0
        return [
            Trade(seller, buyer, step, wh / 1000, (last if self.uniform else price[seller]) / MICRO)
            for seller, buyer, wh in joined(sellers, buyers)
        ]
