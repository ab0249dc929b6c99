"""What households bid in markets that clear orders: one stated rule for all of them, so that they compare.

A household orders what its own plan (scenario B) leaves: it offers what it would feed in, for at least what feeding in
earns it, and asks for what it would import, for at most what importing costs it, less the fee on what it buys from
neighbours. Its devices keep to that plan. Energy
is in whole watt-hours and prices in millionths, as the settlement records them; of a plan's part of a watt-hour nothing
is ordered.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from gridpact.community.model import Array, Prices
    from gridpact.market.prepared import Prepared

MICRO = 1_000_000


@dataclass(frozen=True)
class LimitOrder:
    """One household's order at one step."""

    node: int
    step: int
    energy_wh: int  # at least 1
    price_micro: int  # 1e-6 currency/kWh: the least that a seller takes, the most that a buyer pays
    sells: bool


def orders_of(node: int, net_kw: Array, prices: Prices, step_hours: float) -> list[LimitOrder]:
    """The orders of one household, by step.

    Args:
        net_kw: of its own plan, kW into the feeder, (T,).
        prices: of its own supplier.
    """
    energy_wh = np.trunc(np.round(1000 * step_hours * net_kw, 6)).astype(int).tolist()
    earns, pays = (np.rint(MICRO * p).astype(int).tolist() for p in (prices.feed_in_price, prices.bought_price))
    return [
        LimitOrder(node, step, abs(wh), (earns if wh > 0 else pays)[step], sells=wh > 0)
        for step, wh in enumerate(energy_wh)
        if wh
    ]


def truthful_orders(prepared: Prepared) -> tuple[LimitOrder, ...]:
    """The orders of all households, by step and node."""
    community = prepared.community
    orders = (
        order
        for home, net_kw in zip(community.households, prepared.baseline_net_kw, strict=True)
        for order in orders_of(home.node, net_kw, community.prices_of(home), community.step_hours)
    )
    return tuple(sorted(orders, key=lambda order: order.step))
