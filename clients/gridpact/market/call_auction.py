"""The call auction at a uniform price, the field's standard double auction.

At every step offers are sorted by rising, bids by falling price; q is where the curves cross: the most energy such that
every unit of it is bid for at least at what it is offered for. With a_q and b_q the dearest offer and the cheapest bid
that take part, and a_q+, b_q+ the next ones beyond, any price in

    [max(a_q, b_q+), min(b_q, a_q+)]

leaves nobody who would rather have acted otherwise; all trade at its middle. So it maximises the surplus
sum b y - sum a x subject to sum x = sum y. Orders at the margin are filled in part, in proportion to their size.

It knows no network: what its trades do to the feeder is worked out of the plan afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import LimitOrder
from gridpact.market.matching import at_every_step, at_one_price, in_proportion
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class Cleared:
    """One step's auction. Both sides' filled energies add up to the same."""

    price_micro: int  # 1e-6 currency/kWh, of all trades; 0 where there are none
    sold_wh: dict[int, int]  # by node, where not 0
    bought_wh: dict[int, int]

    @property
    def energy_wh(self) -> int:
        return sum(self.sold_wh.values())


@dataclass(frozen=True)
class CallAuction:
    """An auction at every step, of what everybody's own plan leaves."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return at_every_step(prepared, lambda book: paired(book.step, clear((*book.offers, *book.bids))))


def clear(orders: Iterable[LimitOrder]) -> Cleared:
    """Clears the orders of one step."""
    offers, bids = by_price(orders)
    crossed = crossing(offers, bids)
    if crossed == 0:
        return Cleared(0, {}, {})
    ask, next_ask = _margin(offers, crossed)
    bid, next_bid = _margin(bids, crossed)
    low = ask if next_bid is None else max(ask, next_bid)
    high = bid if next_ask is None else min(bid, next_ask)
    return Cleared((low + high) // 2, _filled(offers, crossed), _filled(bids, crossed))


def by_price(orders: Iterable[LimitOrder]) -> tuple[list[LimitOrder], list[LimitOrder]]:
    """Offers by rising, bids by falling price, equals by node."""
    orders = tuple(orders)
    offers = sorted((o for o in orders if o.sells), key=lambda order: (order.price_micro, order.node))
    bids = sorted((o for o in orders if not o.sells), key=lambda order: (-order.price_micro, order.node))
    return offers, bids


def crossing(offers: Sequence[LimitOrder], bids: Sequence[LimitOrder]) -> int:
    """q, Wh: how far along both curves a bid is at least the offer."""
    crossed = i = j = 0
    offered, wanted = (sides[0].energy_wh if sides else 0 for sides in (offers, bids))
    while i < len(offers) and j < len(bids) and bids[j].price_micro >= offers[i].price_micro:
        step = min(offered, wanted)
        crossed += step
        offered, wanted = offered - step, wanted - step
        if offered == 0:
            i += 1
            offered = offers[i].energy_wh if i < len(offers) else 0
        if wanted == 0:
            j += 1
            wanted = bids[j].energy_wh if j < len(bids) else 0
    return crossed


def _margin(side: Sequence[LimitOrder], crossed: int) -> tuple[int, int | None]:
    """The price of the last unit that takes part, and of the next one beyond; None where there is none."""
    before = 0
    for k, order in enumerate(side):
        before += order.energy_wh
        if before > crossed:
            return order.price_micro, order.price_micro
        if before == crossed:
            return order.price_micro, side[k + 1].price_micro if k + 1 < len(side) else None
    raise AssertionError("more was crossed than ordered")


def _filled(side: Sequence[LimitOrder], crossed: int) -> dict[int, int]:
    """Who trades how much, Wh: better orders whole, those at the margin in proportion."""
    filled: dict[int, int] = {}
    for _, level in groupby(side, lambda order: order.price_micro):
        some = list(level)
        part = min(crossed, sum(order.energy_wh for order in some))
        for order, energy in zip(some, in_proportion(part, [order.energy_wh for order in some]), strict=True):
            if energy:
                filled[order.node] = filled.get(order.node, 0) + energy
        crossed -= part
    return filled


def paired(step: int, cleared: Cleared) -> list[Trade]:
    """Who trades with whom: at one price for all it is nobody's loss, so both sides are joined in order of nodes."""
    sellers, buyers = (sorted(side.items()) for side in (cleared.sold_wh, cleared.bought_wh))
    return at_one_price(step, sellers, buyers, cleared.price_micro)
