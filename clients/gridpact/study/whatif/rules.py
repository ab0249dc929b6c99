"""Rules by which a delivered day is settled, and the figures by which they are compared on the same realities.

| rule | trades, plan | the adder is due on | what one has over and another lacks |
|---|---|---|---|
| today | of the day before | each household's deviation | goes through the supplier |
| netted | of the day before | the community's net deviation, shared by who caused it | goes through the supplier |
| pool | of the day before | the same; stores follow it (`following`) | is matched after delivery (`products.pool`) |
| reagreed | renewed through the day (`reagreement`) | the same | the same |
| hindsight | as if all had been known the day before | nothing | - |

In G the community has one meter at its grid connection, which nets and pools by itself: there the first three are one.

A pool's price, and who bears the adders, move money between households only: `SHARINGS` are compared on what one and
the same delivery comes to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import product

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array, Customers, Prices
from gridpact.products.imbalance import AdderKey, borne_by_gain, imbalance
from gridpact.products.pool import PoolRules, Pricing, pool
from gridpact.study.whatif.delivery import Delivered
from gridpact.text import share

MICRO = 1e6


class Rule(Enum):
    """How a day goes on after its plan, and is settled."""

    TODAY = "today"
    NETTED = "netted"
    POOL = "pool"
    REAGREED = "reagreed"
    HINDSIGHT = "hindsight"


SETTLED = (Rule.TODAY, Rule.NETTED, Rule.POOL)
"""Rules that settle the same delivery, each in its way."""


@dataclass(frozen=True)
class SharingKeys:
    """What the pool's energy costs, and who bears the adders."""

    pricing: Pricing = Pricing.MID_MARKET
    adders: AdderKey = AdderKey.CAUSED

    @property
    def name(self) -> str:
        return f"{self.pricing.value}, {self.adders.value}"


SHARINGS = tuple(SharingKeys(*both) for both in product(Pricing, AdderKey))


@dataclass(frozen=True)
class SharingFigures:
    """Who loses by a sharing, over draws; currency."""

    rule: str
    re_agreements: int
    pool_price: str
    adders: str
    worst_home_median: float
    worst_home_mean: float
    losing_homes: int  # whose median is below 0
    losing_homes_mean: int  # whose mean is
    loses: float  # share of all households' draws

    @staticmethod
    def of(rule: Rule, re_agreements: int, sharing: SharingKeys, household_savings: Array) -> SharingFigures:
        """
        Args:
            household_savings: of each draw, (draws, n).
        """
        median, mean = np.median(household_savings, axis=0), household_savings.mean(axis=0)
        return SharingFigures(
            rule.value,
            re_agreements,
            sharing.pricing.value,
            sharing.adders.value,
            float(median.min()),
            float(mean.min()),
            int(np.sum(median < -1 / MICRO)),
            int(np.sum(mean < -1 / MICRO)),
            float(np.mean(household_savings < -1 / MICRO)),
        )


GAS_OF_ITERATION = 31_000
"""Gas of a household in an iteration of a re-agreement that is relayed."""

GAS_OF_SETTLING = {2: 153_000, 4: 165_000, 8: 148_000, 23: 141_000}
"""The same of declaring, stating, settling, bringing and nominating, by the number of re-agreements a day: the more
there are, the less each changes, mostly. As `gridpact day` measures both on fontana16 (docs/day.md)."""


@dataclass(frozen=True)
class CurvePoint:
    """What is left at some number of re-agreements a day, currency; 0 is the pool alone."""

    re_agreements: int
    median: float
    q05: float
    q95: float
    share_left: float | None
    worst_home_median: float
    losing_homes: int
    iterations: float  # of all re-agreements of a day, on average
    gas_of_home: float  # that they cost a household, as `GAS_OF_ITERATION` and `GAS_OF_SETTLING` say

    @staticmethod
    def of(figures: RuleFigures, days: int, reached: int, iterations: int) -> CurvePoint:
        """
        Args:
            days: that were played.
            reached: re-agreements on all of them, and
            iterations: of those.
        """
        number = reached / days
        settling = float(np.interp(number, list(GAS_OF_SETTLING), list(GAS_OF_SETTLING.values())))
        gas = GAS_OF_ITERATION * iterations / days + settling * number
        drawn = figures.median, figures.q05, figures.q95, figures.share_left
        homes = figures.worst_home_median, figures.losing_homes
        return CurvePoint(figures.re_agreements, *drawn, *homes, iterations / days, gas)


@dataclass(frozen=True)
class HomeFigures:
    """What a household saves by a rule, currency; over draws."""

    median: float
    q05: float
    q95: float
    loses: float  # share of the draws


@dataclass(frozen=True)
class RuleFigures:
    """What is left of a planned saving by a rule, currency; over draws."""

    name: str
    re_agreements: int  # a day
    median: float
    q05: float
    q95: float
    share_left: float | None  # of the planned saving, the median; None where none was planned
    worst_home_median: float  # the lowest median of a household's saving
    worst_home: str
    losing_homes: int  # whose median is below 0
    by_home: Mapping[str, HomeFigures]

    @staticmethod
    def of(
        rule: Rule, re_agreements: int, household_savings: Array, planned_saving: float, homes: Sequence[str]
    ) -> RuleFigures:
        """
        Args:
            household_savings: of each draw, (draws, n).
        """
        low, middle, high = (float(q) for q in np.quantile(household_savings.sum(axis=1), (0.05, 0.5, 0.95)))
        by_home = np.median(household_savings, axis=0)
        worst = int(np.argmin(by_home))
        return RuleFigures(
            rule.value,
            re_agreements,
            middle,
            low,
            high,
            share(middle, planned_saving) if planned_saving > 0 else None,
            float(by_home[worst]),
            homes[worst],
            int(np.sum(by_home < -1 / MICRO)),
            {name: _of_home(savings) for name, savings in zip(homes, household_savings.T, strict=True)},
        )


def _of_home(savings: Array) -> HomeFigures:
    """Of (draws,)."""
    low, middle, high = (float(q) for q in np.quantile(savings, (0.05, 0.5, 0.95)))
    return HomeFigures(middle, low, high, float(np.mean(savings < -1 / MICRO)))


def netted_adders(deviation_kw: Array, adder: float, step_hours: float) -> Array:
    """What each household bears of the community's adders, currency, (n,).

    Args:
        deviation_kw: of each household from what was nominated for it, (n, T).
        adder: currency/kWh.
    """
    unit = round(adder * MICRO)
    by_step = [imbalance(step, unit).owed for step in _watt_hours(deviation_kw, step_hours).T.tolist()]
    total: Array = np.sum(np.array(by_step, dtype=float), axis=0) / MICRO
    return total


def saved_by_pool(net_import_kw: Array, prices: Prices, rules: PoolRules, step_hours: float) -> Array:
    """What each household pays less to its supplier than it pays to the pool, and as a fee for that, currency, (n,).

    Args:
        net_import_kw: beyond positions, (n, T).
    """
    saved = np.zeros(len(net_import_kw))
    for step, nets in enumerate(_watt_hours(net_import_kw, step_hours).T.tolist()):
        kappa, feed_in = float(prices.bought_price[step]), float(prices.feed_in_price[step])
        matched = pool(nets, round(kappa * MICRO), round(feed_in * MICRO), rules)
        got = np.array(matched.got_wh, dtype=float) / 1000
        saved += np.where(got > 0, kappa, feed_in) * got - np.array(matched.paid, dtype=float) / MICRO
    return saved


def settled(
    rule: Rule,
    delivered: Sequence[Delivered],
    customers: Sequence[Customers],
    adder: float,
    pool_rules: PoolRules,
    step_hours: float,
    adders: AdderKey,
    paid_for_trades: Array,
) -> Array:
    """What households pay to supplier, pool and for deviations, beside trades, fees, losses and public charging, (n,).

    Args:
        customers: each supplier's, whose pool and imbalance are their own.
        adders: who bears them, but by today's rules.
        paid_for_trades: with fees on them, currency, (n,).
    """
    cost: Array = np.array([d.supply for d in delivered])
    if rule is Rule.TODAY:
        cost = cost + np.array([d.adder for d in delivered])
        return cost
    of = ("deviation_kw", "net_import_kw", "injection_kw")
    deviation, net_import, injection = (np.array([getattr(d, name) for d in delivered]) for name in of)
    for group in customers:
        rows = group.places
        if rule is Rule.POOL:
            cost[rows] -= saved_by_pool(net_import[rows], group.prices, pool_rules.among(rows), step_hours)
        caused = netted_adders(deviation[rows], adder, step_hours)
        if adders is AdderKey.GAINED:
            own_bill = step_hours * group.prices.paid(-injection[rows]).sum(axis=1)
            caused = _by_gain(caused, own_bill - cost[rows] - paid_for_trades[rows])
        cost[rows] += caused
    return cost


def shared(
    delivered: Sequence[Delivered],
    customers: Sequence[Customers],
    adder: float,
    pool_rules: PoolRules,
    step_hours: float,
    paid_for_trades: Array,
) -> dict[str, Array]:
    """`settled` with a pool by each of `SHARINGS`, by its name, (n,) each."""
    return {
        sharing.name: settled(
            *(Rule.POOL, delivered, customers, adder, replace(pool_rules, pricing=sharing.pricing), step_hours),
            *(sharing.adders, paid_for_trades),
        )
        for sharing in SHARINGS
    }


def _by_gain(caused: Array, gained: Array) -> Array:
    """What each bears of the adders that all have caused, currency, (n,)."""
    causes, gains = ([round(MICRO * value) for value in values.tolist()] for values in (caused, gained))
    return np.array(borne_by_gain(sum(causes), gains, causes), dtype=float) / MICRO


def _watt_hours(power_kw: Array, step_hours: float) -> NDArray[np.int64]:
    """As a meter reads it, to the nearest Wh."""
    read: NDArray[np.int64] = np.rint(1000 * step_hours * power_kw).astype(np.int64)
    return read
