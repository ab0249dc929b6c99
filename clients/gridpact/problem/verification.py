"""What an agreed plan really costs: device schedules as given, an exact power flow, trades as agreed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.grid.powerflow import PowerFlow, power_flow
from gridpact.problem.coefficients import partners
from gridpact.problem.scenario import Scenario


@dataclass(frozen=True)
class ImplementedCost:
    """Cost of a plan when it is carried out, currency a day."""

    supply: float  # imports less feed-in
    trading: float  # sum of gamma |d| of both sides
    losses: float  # bought at node 0 in TG; in G they are part of the supply
    flow: PowerFlow

    @property
    def total(self) -> float:
        return self.supply + self.trading + self.losses


def implemented_cost(
    community: CommunityDay,
    scenario: Scenario,
    injection_kw: Array,
    injection_kvar: Array,
    trades_kw: Mapping[int, Array],
) -> ImplementedCost:
    """The scenario's cost of a plan as it would be carried out.

    Args:
        injection_kw, injection_kvar: net injections behind every meter, shape (n, T).
        trades_kw: by node, agreed trades in the order of its bids (`partners`), positive where it sells.
    """
    dt, prices = community.step_hours, community.prices
    flow = power_flow(community.feeder, injection_kw, injection_kvar)

    def supply_cost(net_import: Array) -> float:
        bought, sold = np.maximum(net_import, 0), np.maximum(-net_import, 0)
        return float(dt * np.sum(prices.import_price * bought - prices.feed_in_price * sold))

    if not scenario.has_contracts:
        return ImplementedCost(supply_cost(flow.import_kw), 0.0, 0.0, flow)
    books = partners(community) if scenario.has_trades else {}
    sold = np.zeros_like(injection_kw)
    trading = 0.0
    for row, household in enumerate(community.households):
        start = 0
        for partner in books.get(household.node, ()):
            trade = trades_kw[household.node][start : start + len(partner.steps)]
            sold[row, list(partner.steps)] += trade
            trading += float(dt * np.sum(partner.coefficient * np.abs(trade)))
            start += len(partner.steps)
    losses = float(dt * np.sum(prices.loss_price * flow.losses_kw)) if scenario.has_network else 0.0
    return ImplementedCost(supply_cost(sold - injection_kw), trading, losses, flow)
