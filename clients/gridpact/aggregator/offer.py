"""What an aggregator offers to which market, within what its feeder carries and the grid operator may need.

All markets are one problem (`markets`): what is bought day-ahead, intraday and in balancing, and what is held for the
reserve, once what the grid operator may need is held back. What a market brings, and what feeder and operator cost, are
differences of two optima, with it and without it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from gridpact.aggregator.markets import AllMarkets, Goal, Sold
from gridpact.aggregator.plan import street_of
from gridpact.aggregator.portfolio import Control, position
from gridpact.community.model import Array, CommunityDay

BLOCK_HOURS = 4
"""A reserve is sold for so long, at the mean of its prices."""

ENERGY = ("day_ahead", "intraday", "balancing")
"""In the order in which they close."""

MARKETS = (*ENERGY, "reserve")

EQUAL_PART = 1e-3
"""Where offers are made for something else than profit, what a reserve brings counts by this part, so that it decides
among equals."""


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
    pays: Mapping[str, float]
    """By market, currency, what changes hands there: day-ahead against what homes do by themselves at their tariff."""
    brings: Mapping[str, float]
    """By market, currency: how much less all would bring without it; day-ahead: what it brings alone."""
    members_saved: float  # at their tariff behind one contract, against each behind its own, currency
    carbon_saved_kg: float | None
    feeder_cost: float  # what all would bring more without a feeder
    held_back_cost: float  # what all would bring more if nothing had to be held back
    grid_cost: float  # what all would bring more without both
    short_kw: Array  # (T,), what is to be held back and cannot be
    violations: int  # that are left in any of the positions

    @property
    def profit(self) -> float:
        return sum(self.pays.values())


def offered(
    community: CommunityDay,
    prices: MarketPrices,
    aim: Purpose,
    held_back_kw: Array,
    tell: Callable[[int, int], None] = lambda done, of: None,
) -> Offered:
    """Offers of a day.

    Args:
        held_back_kw: of what members could give more, for the grid operator, (T,).
        tell: how many optima are found, of how many.

    Raises:
        InputError: an aggregator cannot plan on the feeder.
        InfeasibleError, SolverError: a home has no plan, or the solver failed.
    """
    there = tuple(name for name in MARKETS if getattr(prices, name) is not None)
    if aim is not Purpose.PROFIT:
        there = tuple(name for name in there if name not in ENERGY[1:])
    day, nothing = _Day(community, prices, aim), np.zeros(community.steps)
    without = {name: tuple(one for one in there if one != name) for name in there[1:]}
    asked = dict.fromkeys([(there, True), (("day_ahead",), True), *((others, True) for others in without.values())])
    if held_back_kw.any():
        asked[there, False] = None
    found = {}
    for number, (markets, held) in enumerate(asked):
        tell(number, len(asked))
        found[markets, held] = day.sold(markets, held_back_kw if held else nothing)
    tell(len(asked), len(asked))
    free, sold = found[there, True]
    unbound, unheld = found.get((there, False), (free, sold))
    profit = day.profit(there, sold)
    only = day.profit(("day_ahead",), found[("day_ahead",), True][1])
    brings = dict.fromkeys(MARKETS, 0.0) | {"day_ahead": only}
    brings |= {name: profit - day.profit(others, found[others, True][1]) for name, others in without.items()}
    dt, done, paid, carbon = community.step_hours, sold.done, community.prices.paid, prices.carbon_kg
    saved = paid(-day.alone.injection_kw).sum() - paid(done.import_kw).sum()
    return Offered(
        community.day,
        day.volumes(there, sold),
        day.pays(there, sold),
        brings,
        members_saved=dt * float(saved),
        carbon_saved_kg=None if carbon is None else dt * float(carbon @ (day.alone.import_kw - done.import_kw)),
        feeder_cost=day.profit(there, free) - profit,
        held_back_cost=day.profit(there, unheld) - profit,
        grid_cost=day.profit(there, unbound) - profit,
        short_kw=day.by_step(sold.short_kw),
        violations=sold.violations,
    )


class _Day:
    """A day's optima, by markets that there are."""

    def __init__(self, community: CommunityDay, prices: MarketPrices, aim: Purpose) -> None:
        self._community, self._prices, self._aim = community, prices, aim
        self._feeder = street_of(community)
        self.alone = position(community, Control.SIGNALS)
        block = round(BLOCK_HOURS / community.step_hours)
        steps = community.steps
        self._blocks = [(first, min(first + block, steps)) for first in range(0, steps, block)]

    def sold(self, markets: tuple[str, ...], held_back_kw: Array) -> tuple[Sold, Sold]:
        """Without the feeder, and with it."""
        prices, aim = self._prices, self._aim
        energy, bill = self._energy(markets), None
        if aim is Purpose.CARBON:
            assert prices.carbon_kg is not None
            energy = [prices.carbon_kg]
        elif aim is Purpose.MEMBERS:
            energy, bill = [np.zeros(self._community.steps)], self._community.prices
        reserve = None
        if "reserve" in markets:
            reserve = self._reserve_price() * (1.0 if aim is Purpose.PROFIT else EQUAL_PART)
        held = np.array([held_back_kw[first:last].max() for first, last in self._blocks])
        goal = Goal(tuple(energy), bill, reserve, held)
        return AllMarkets(self._community, goal, self._blocks).sold(self._feeder)

    def _energy(self, markets: tuple[str, ...]) -> list[Array]:
        return [getattr(self._prices, name) for name in ENERGY if name in markets]

    def _reserve_price(self) -> Array:
        assert self._prices.reserve is not None
        return np.array([self._prices.reserve[first:last].mean() for first, last in self._blocks])

    def by_step(self, by_block: Array) -> Array:
        return np.concatenate(
            [np.full(last - first, value) for (first, last), value in zip(self._blocks, by_block, strict=True)]
        )

    def volumes(self, markets: tuple[str, ...], sold: Sold) -> dict[str, Array]:
        """By market, (T,)."""
        nothing = np.zeros(self._community.steps)
        volume = dict.fromkeys(MARKETS, nothing)
        names = [name for name in ENERGY if name in markets]
        for name, now, before in zip(names, sold.import_kw, (nothing, *sold.import_kw), strict=False):
            volume[name] = now - before
        volume["reserve"] = self.by_step(sold.reserve_kw)
        return volume

    def pays(self, markets: tuple[str, ...], sold: Sold) -> dict[str, float]:
        """By market, currency."""
        dt, volume = self._community.step_hours, self.volumes(markets, sold)
        pays = dict.fromkeys(MARKETS, 0.0)
        for name, price in zip([one for one in ENERGY if one in markets], self._energy(markets), strict=True):
            pays[name] = -dt * float(price @ volume[name])
        pays["day_ahead"] += dt * float(self._prices.day_ahead @ self.alone.import_kw)
        if "reserve" in markets:
            pays["reserve"] = dt * float(self.by_step(self._reserve_price()) @ volume["reserve"])
        return pays

    def profit(self, markets: tuple[str, ...], sold: Sold) -> float:
        return sum(self.pays(markets, sold).values())
