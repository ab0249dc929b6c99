"""What an agreed plan really costs: device schedules as given, an exact power flow, trades as agreed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.devices.registry import costs
from gridpact.grid.powerflow import PowerFlow, power_flow
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import Scenario

Books = Mapping[int, Sequence[Partner]]
"""Who may trade with whom at which steps, and what coefficient each has for it: by node, see `partners`."""


@dataclass(frozen=True)
class Traded:
    """What trades come to."""

    sold_kw: Array  # net sales of every household, (n, T)
    coefficients: float = 0.0  # sum of gamma |d| of both sides, currency; it steers who trades, nobody pays it

    @staticmethod
    def nothing(households: int, steps: int) -> Traded:
        return Traded(np.zeros((households, steps)))


@dataclass(frozen=True)
class ImplementedCost:
    """Cost of a plan when it is carried out, currency a day.

    Two sums are told apart. What is paid is the same notion in all scenarios, so that they compare: supply, losses,
    fees.
    The objective is what the scenario's agreement looks for the least of: losses only where it counts the network,
    and trading coefficients and what using devices costs, which nobody is paid for.
    """

    supply: float  # imports less feed-in
    coefficients: float  # sum of gamma |d| of both sides
    losses: float  # in the objective: bought at node 0 in TG; in G they are part of the supply
    losses_paid: float  # bought at the import price, whether the scenario counts them or not; 0 in G
    flow: PowerFlow
    fees: float = 0.0  # to the grid operator: on what stays in the community, and on peaks
    devices: float = 0.0  # of using them, less what is left in them is worth; nobody is paid for it

    @property
    def paid(self) -> float:
        """What all households pay together, losses in."""
        return self.supply + self.losses_paid + self.fees

    @property
    def objective(self) -> float:
        return self.supply + self.coefficients + self.losses + self.fees + self.devices


def implemented_cost(
    community: CommunityDay,
    scenario: Scenario,
    injection_kw: Array,
    injection_kvar: Array,
    traded: Traded,
    devices: float = 0.0,
) -> ImplementedCost:
    """The cost of a plan as it would be carried out.

    Args:
        injection_kw, injection_kvar: net injections behind every meter, shape (n, T).
        traded: what its trades come to.
        devices: what using them costs, see `device_costs`.
    """
    dt, prices = community.step_hours, community.prices
    flow = power_flow(community.feeder, injection_kw, injection_kvar)
    peaks = float(peaks_paid(prices, injection_kw, community.peaks_kw).sum())
    if not scenario.has_contracts:
        supply = float(dt * np.sum(prices.paid(flow.import_kw)))
        kept = np.maximum(-injection_kw, 0.0).sum(axis=0) - np.maximum(flow.import_kw, 0.0)
        fees = 0.0 if prices.trade_fee is None else dt * float(prices.trade_fee @ kept)
        return ImplementedCost(supply, 0.0, 0.0, 0.0, flow, fees + peaks, devices)
    losses = float(dt * np.sum(prices.loss_price * flow.losses_kw)) if scenario.has_network else 0.0
    losses_paid = float(dt * np.sum(prices.import_price * flow.losses_kw))
    import_price, feed_in_price = tariffs_of(community)
    net_import = traded.sold_kw - injection_kw
    bought, sold = np.maximum(net_import, 0), np.maximum(-net_import, 0)
    supply = float(dt * np.sum(import_price * bought - feed_in_price * sold))
    fees = dt * float(trades_charged(prices, traded.sold_kw).sum()) + peaks
    return ImplementedCost(supply, traded.coefficients, losses, losses_paid, flow, fees, devices)


def tariffs_of(community: CommunityDay) -> tuple[Array, Array]:
    """Import and feed-in price of each household, (n, T); where all have the community's, (T,)."""
    if not community.own_tariffs:
        return community.prices.import_price, community.prices.feed_in_price
    own = [community.prices_of(home) for home in community.households]
    return np.array([one.import_price for one in own]), np.array([one.feed_in_price for one in own])


def peaks_paid(prices: Prices, injection_kw: Array, before_kw: Array | float) -> Array:
    """What the highest power that each household draws costs it, currency, (n,).

    Args:
        injection_kw: (n, T).
        before_kw: what it pays for already, see `Household.peak_kw`, (n,).
    """
    paid: Array = prices.peak_fee * np.maximum((-injection_kw).max(axis=1) - before_kw, 0.0)
    return paid


def trades_charged(prices: Prices, sold_kw: Array) -> Array:
    """The fee on what each household buys from neighbours beyond what it sells them, currency/h, (n, T).

    Args:
        sold_kw: net sales, (n, T).
    """
    if prices.trade_fee is None:
        return np.zeros_like(sold_kw)
    return prices.trade_fee * np.maximum(-sold_kw, 0.0)


def device_costs(community: CommunityDay, schedules: Sequence[Mapping[str, Array]]) -> float:
    """What using all devices costs by all plans together, currency.

    Args:
        schedules: of the households, in their order.
    """
    pairs = zip(community.households, schedules, strict=True)
    return sum(sum(costs(home.devices, own, community.step_hours).values()) for home, own in pairs)


def booked(community: CommunityDay, books: Books, trades_kw: Mapping[int, Array]) -> Traded:
    """What trades come to that stand in books.

    Args:
        trades_kw: by node, agreed trades in the order of its bids, positive where it sells.
    """
    sold = np.zeros((len(community.households), community.steps))
    coefficients = 0.0
    for row, household in enumerate(community.households):
        start = 0
        for partner in books.get(household.node, ()):
            trade = trades_kw[household.node][start : start + len(partner.steps)]
            sold[row, list(partner.steps)] += trade
            coefficients += float(community.step_hours * np.sum(partner.coefficient * np.abs(trade)))
            start += len(partner.steps)
    return Traded(sold, coefficients)
