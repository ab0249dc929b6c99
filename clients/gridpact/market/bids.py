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


def truthful_orders(prepared: Prepared) -> tuple[LimitOrder, ...]:
    """The orders of all households, by step and node."""
    community = prepared.community
    energy_wh = np.trunc(np.round(1000 * community.step_hours * prepared.baseline_net_kw, 6)).astype(int)  # (n, T)
    tariffs = {home.node: community.prices_of(home) for home in community.households}
    earns = {node: np.rint(MICRO * own.feed_in_price).astype(int).tolist() for node, own in tariffs.items()}
    pays = {node: np.rint(MICRO * own.bought_price).astype(int).tolist() for node, own in tariffs.items()}
    return tuple(
        LimitOrder(home.node, step, abs(wh), (earns if wh > 0 else pays)[home.node][step], sells=wh > 0)
        for step in range(community.steps)
        for home, wh in zip(community.households, energy_wh[:, step].tolist(), strict=True)
        if wh
    )
