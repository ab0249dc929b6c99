"""No charging and discharging at once: which of two opposed powers a household uses, where a convex plan cannot tell.

Where energy is worth something, using both at once only loses some, so an optimal plan does not. Where it is worth
nothing or less the loss costs nothing, or pays, and the convex problem uses both: no battery can. That imports are free
or paid for is known beforehand: there a mixed-integer program of the household alone with its supplier says which of
the two to use at each such step (`chosen`), before anything is agreed, so that what is then agreed on stays convex.
What still uses both in the end, as one optimum among equals may (a battery without losses, output that nobody pays
for), is decided by what it does on balance and solved again (`Directions.after`), until nothing is left; every time at
least one step more is decided, so that ends.
"""

from __future__ import annotations

import pickle
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cvxpy as cp
import numpy as np

from gridpact.community.model import Array, Household, Prices
from gridpact.devices.device import Constraints, Opposed, flat
from gridpact.errors import InfeasibleError
from gridpact.problem.constraints import peak_fee, supply_contract
from gridpact.problem.meter import behind_meter
from gridpact.problem.solving import Linear

AT_ONCE_KW = 1e-3
"""What both of two opposed powers may be above 0 at a step: a watt, which no meter sees."""


@dataclass(frozen=True)
class Directions:
    """For each pair of opposed powers of a household, by step: 1 where only the first may be above 0, -1 where only
    the second, 0 where that is not decided; (pairs, T)."""

    signs: Array

    def constraints(self, opposed: Sequence[Opposed]) -> Constraints:
        """Empty where nothing is decided."""
        kept = [
            power[steps] == 0
            for pair, signs in zip(opposed, self.signs, strict=True)
            for power, sign in ((pair.other, 1), (pair.one, -1))
            if len(steps := np.flatnonzero(signs == sign))
        ]
        return {"not charging and discharging at once": kept} if kept else {}

    def after(self, powers: Sequence[tuple[Array, Array]]) -> Directions | None:
        """What decides the steps at which a plan uses both, None where it does not.

        Args:
            powers: of each pair in the plan, kW.
        """
        if not powers:
            return None
        one, other = np.array(powers).transpose(1, 0, 2)
        at_once = (np.minimum(one, other) > AT_ONCE_KW) & (self.signs == 0)
        return Directions(np.where(at_once, np.where(one >= other, 1.0, -1.0), self.signs)) if at_once.any() else None


def chosen(household: Household, prices: Prices, step_hours: float, pairs: int) -> Directions:
    """The directions of a household at steps at which importing costs nothing or less, as is best for it alone.

    Args:
        pairs: of opposed powers that it has.
    """
    if not pairs or prices.import_price.min() > 0:
        return Directions(np.zeros((pairs, household.steps)))
    return _chosen(pickle.dumps((household, prices, step_hours)))


@lru_cache(maxsize=1024)  # a household's problem is built for its bids, its plan and the reference
def _chosen(pickled: bytes) -> Directions:
    household, prices, step_hours = pickle.loads(pickled)
    meter, contract = behind_meter(household, step_hours), supply_contract(prices, step_hours)
    steps = np.flatnonzero(prices.import_price <= 0)
    constraints = [contract.net_import + meter.injection_kw == 0, *flat(meter.constraints)]
    firsts = []
    for pair in meter.opposed:
        first = cp.Variable(len(steps), boolean=True)
        constraints += [pair.one[steps] <= pair.most_kw * first, pair.other[steps] <= pair.most_kw * (1 - first)]
        firsts.append(first)
    signs = np.zeros((len(firsts), household.steps))
    try:
        cost = contract.cost + meter.cost + peak_fee(prices, household, meter.injection_kw)
        problem = cp.Problem(cp.Minimize(cost), constraints)
        Linear(problem, f"household '{household.name}'").solve()
    except InfeasibleError:
        return Directions(signs)  # whoever solves the whole problem says why
    for row, first in zip(signs, firsts, strict=True):
        row[steps] = np.where(first.value > 0.5, 1.0, -1.0)
    return Directions(signs)
