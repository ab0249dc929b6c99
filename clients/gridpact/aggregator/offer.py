"""What an aggregator offers to which market, within what its feeder carries and the grid operator may need.

In the order in which the markets close: a position for the day-ahead market, another one for the intraday market, which
trades the difference; then for each block of hours how much more its members could give, or take less, all the time.
Of that the grid operator's part is held back, and the rest goes to the reserve or to balancing, whichever brings more.
Every position is one of all devices, and mended until the feeder carries it; nothing is sold that nobody can deliver.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from gridpact.aggregator.plan import street_of, until_carried
from gridpact.aggregator.portfolio import Call, Control, Position, Wholesale, position
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.street import PhaseFeeder

BLOCK_HOURS = 4
"""A reserve is sold for so long, at the mean of its prices."""

HELD_KW = 1e-3
"""A position that is sold is kept to a watt."""

MARKETS = ("day_ahead", "intraday", "balancing", "reserve")


class Purpose(Enum):
    """What offers are to make the most of."""

    PROFIT = "profit"
    CARBON = "carbon"  # saved
    MEMBERS = "members"  # what they save on their bills


@dataclass(frozen=True, eq=False)
class MarketPrices:
    """Of a day, (T,), currency a kWh, of the reserve a kW and hour; None: there is no such market."""

    day_ahead: Array
    intraday: Array | None = None
    balancing: Array | None = None
    reserve: Array | None = None
    carbon_kg: Array | None = None  # a kWh from the grid


@dataclass(frozen=True, eq=False)
class Offered:
    """Of a day."""

    day: str
    volume_kw: Mapping[str, Array]
    """By market, (T,): bought day-ahead; what the intraday and the balancing market buy more; reserve."""
    brings: Mapping[str, float]  # by market, currency
    members_saved: float  # at their tariff behind one contract, against each behind its own, currency
    carbon_saved_kg: float | None
    grid_cost: float  # what the markets would bring more without a feeder, and if nothing had to be held back
    violations: int  # that are left in any of the positions

    @property
    def profit(self) -> float:
        return sum(self.brings.values())


def offered(community: CommunityDay, prices: MarketPrices, aim: Purpose, held_back_kw: Array) -> Offered:
    """Offers of a day.

    Args:
        held_back_kw: of what members could give more, for the grid operator, (T,).

    Raises:
        InputError: an aggregator cannot plan on the feeder.
        InfeasibleError, SolverError: a home has no plan, or the solver failed.
    """
    markets = _Markets(community, street_of(community), prices)
    dt, reserve, paid = community.step_hours, prices.reserve, community.prices.paid
    alone = position(community, Control.SIGNALS)
    unbound, sold = markets.day_ahead(aim)
    nothing = np.zeros(community.steps)
    volume, brings = dict.fromkeys(MARKETS, nothing), dict.fromkeys(MARKETS, 0.0)
    volume["day_ahead"] = sold.import_kw
    brings["day_ahead"] = dt * float(prices.day_ahead @ (alone.import_kw - sold.import_kw))
    grid_cost = dt * float(prices.day_ahead @ (sold.import_kw - unbound.import_kw)) if aim is Purpose.PROFIT else 0.0
    at = sold
    if prices.intraday is not None and aim is Purpose.PROFIT:
        unbound, at = markets.traded(prices.intraday)
        volume["intraday"] = at.import_kw - sold.import_kw
        brings["intraday"] = -dt * float(prices.intraday @ volume["intraday"])
        grid_cost += dt * float(prices.intraday @ (at.import_kw - unbound.import_kw))
    spare = nothing
    if reserve is not None or prices.balancing is not None:
        more = markets.reserves(at)
        spare = np.maximum(more - held_back_kw, 0.0)
        spare = _by_block(spare, dt, np.min)
        if reserve is not None:
            worth = _by_block(reserve, dt, np.mean)
            volume["reserve"] = np.where(worth > 0, spare, 0.0)
            grid_cost += dt * float(np.maximum(worth, 0.0) @ (more - spare))
    if prices.balancing is not None and aim is Purpose.PROFIT:
        moved = markets.balanced(at, spare, np.ones(community.steps, dtype=bool))
        if reserve is not None:
            gain = _by_block(prices.balancing * (at.import_kw - moved.import_kw), dt, np.mean)
            free = gain > _by_block(reserve, dt, np.mean) * volume["reserve"]
            volume["reserve"] = np.where(free, 0.0, volume["reserve"])
            moved = markets.balanced(at, spare, free)
        volume["balancing"] = moved.import_kw - at.import_kw
        brings["balancing"] = -dt * float(prices.balancing @ volume["balancing"])
        at = moved
    if reserve is not None:
        brings["reserve"] = dt * float(_by_block(reserve, dt, np.mean) @ volume["reserve"])
    carbon = prices.carbon_kg
    return Offered(
        community.day,
        volume,
        brings,
        members_saved=dt * float(paid(-alone.injection_kw).sum() - paid(at.import_kw).sum()),
        carbon_saved_kg=None if carbon is None else dt * float(carbon @ (alone.import_kw - at.import_kw)),
        grid_cost=grid_cost,
        violations=markets.left,
    )


class _Markets:
    """A day's positions, each mended for the feeder."""

    def __init__(self, community: CommunityDay, feeder: PhaseFeeder, prices: MarketPrices) -> None:
        self._community, self._feeder, self._prices = community, feeder, prices
        self._free = np.full(community.steps, np.inf)
        self.left = 0  # violations

    def day_ahead(self, aim: Purpose) -> tuple[Position, Position]:
        """Without the feeder, and with it."""
        if aim is Purpose.MEMBERS:
            first = position(self._community, Control.DIRECT)
            return first, self._mended(self._community, first, None)
        carbon = self._prices.carbon_kg
        return self.traded(carbon if aim is Purpose.CARBON and carbon is not None else self._prices.day_ahead)

    def traded(self, price: Array, wholesale: Wholesale | None = None) -> tuple[Position, Position]:
        """At a price for both directions: without the feeder, and with it."""
        wholesale = wholesale or Wholesale(-self._free, self._free)
        priced = replace(self._community, prices=Prices(price, own_feed_in_price=price))
        first = position(priced, Control.DIRECT, wholesale=wholesale)
        return first, self._mended(priced, first, wholesale)

    def reserves(self, planned: Position) -> Array:
        """How much more than planned all could give in a block, all the time, kW, (T,)."""
        steps, block = self._community.steps, round(BLOCK_HOURS / self._community.step_hours)
        result = np.zeros(steps)
        for first in range(0, steps, block):
            call = Call(planned, first, min(first + block, steps))
            _, called = self.traded(self._prices.day_ahead, Wholesale(-self._free, self._free, call))
            more = (planned.import_kw - called.import_kw)[first : call.last]
            result[first : call.last] = max(float(more.min()), 0.0)
        return result

    def balanced(self, at: Position, spare_kw: Array, free: NDArray[np.bool_]) -> Position:
        """A position for balancing's prices, from one that is sold: where it is free, it may give so much more, or any
        amount less."""
        assert self._prices.balancing is not None
        given = -at.import_kw
        low, high = np.where(free, -np.inf, given - HELD_KW), np.where(free, given + spare_kw, given + HELD_KW)
        return self.traded(self._prices.balancing, Wholesale(low, high))[1]

    def _mended(self, priced: CommunityDay, first: Position, wholesale: Wholesale | None) -> Position:
        mended = until_carried(
            priced,
            self._feeder,
            first,
            lambda cuts, near: position(priced, Control.DIRECT, None, cuts, near, wholesale),
        )
        self.left += mended.after.count
        return mended.position


def _by_block(series: Array, step_hours: float, what: Callable[[Array], float]) -> Array:
    """One number for all steps of a block, (T,)."""
    block = round(BLOCK_HOURS / step_hours)
    parts = [series[first : first + block] for first in range(0, len(series), block)]
    return np.concatenate([np.full(len(part), what(part)) for part in parts])
