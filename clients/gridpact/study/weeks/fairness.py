"""Who gets what of the saving: in G by rules for sharing the community's bill, else as traded."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.totals import Period

NODE_PRICES, EQUAL, BASELINE = "G, by node prices", "G, equal parts", "G, by the baseline"

TOLERANCE = 0.005
"""Currency over a period below which nobody is said to pay more."""


@dataclass(frozen=True)
class Sharing:
    """One way to share the cost of a period, currency, shape (n,) each."""

    name: str
    scenario: Scenario
    rule: str  # in words
    cost: Array
    baseline: Array
    is_prosumer: tuple[bool, ...]

    @property
    def saving(self) -> Array:
        """Against the baseline; negative: pays more."""
        return self.baseline - self.cost

    @property
    def worse_off(self) -> int:
        """Households that pay more than on their own."""
        return int((self.saving < -TOLERANCE).sum())

    @property
    def to_prosumers(self) -> float:
        return float(self.saving[np.array(self.is_prosumer, dtype=bool)].sum())

    @property
    def to_consumers(self) -> float:
        return float(self.saving[~np.array(self.is_prosumer, dtype=bool)].sum())


def sharings(period: Period) -> tuple[Sharing, ...]:
    """All ways to share that a period's scenarios allow."""
    homes = period.baseline.households
    baseline = np.array([home.cost for home in homes])
    kinds = tuple(home.is_prosumer for home in homes)
    result = []
    if (common := period.totals.get(Scenario.G)) is not None:
        total = common.community.total
        rules = (
            (
                NODE_PRICES,
                "everybody pays and gets the price of its node at every step; what that collects beyond the bill goes "
                "back by the energy that passed each meter",
                np.array([home.cost for home in common.households]),
            ),
            (EQUAL, "the bill divided by the number of households", equal_parts(total, len(homes))),
            (
                BASELINE,
                "the saving divided in proportion to what each would have paid or earned on its own",
                by_baseline(total, baseline),
            ),
        )
        result += [Sharing(name, Scenario.G, rule, cost, baseline, kinds) for name, rule, cost in rules]
    for scenario, traded in period.totals.items():
        if scenario.has_trades:
            cost = np.array([home.cost for home in traded.households])
            rule = "everybody pays its own supplier, and neighbours the prices agreed on"
            result.append(Sharing(f"{scenario.name}, as traded", scenario, rule, cost, baseline, kinds))
    return tuple(result)


def equal_parts(total: float, households: int) -> Array:
    """The bill in equal parts, (n,)."""
    return np.full(households, total / households)


def by_baseline(total: float, baseline: Array) -> Array:
    """The saving in proportion to the size of the baseline's bills, (n,).

    Where nobody earns, everybody pays the same fraction of its baseline; who earns on its own earns more.
    """
    size = np.abs(baseline)
    part = size / size.sum() if size.sum() > 0 else np.full(len(size), 1 / len(size))
    shared: Array = baseline - (baseline.sum() - total) * part
    return shared
