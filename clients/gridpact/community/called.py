"""What a household's meter is called for on a day, as a price in its plan."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridpact.devices.device import Array

if TYPE_CHECKING:
    import cvxpy as cp  # takes a second, and who only reads a community needs none of it


@dataclass(frozen=True, eq=False)
class Called:
    """Powers into the grid that are asked for, by step, and what it costs to miss them."""

    least_kw: Array  # (T,)
    below: Array  # (T,), currency for each kWh below; 0 where nothing is asked
    most_kw: Array  # (T,)
    above: Array  # (T,), the same above

    @staticmethod
    def at_least(least_kw: Array, price: float) -> Called:
        """The least at some steps, NaN at others.

        Args:
            price: of a kWh less, currency.
        """
        asked = np.isfinite(least_kw)
        nothing = np.zeros(len(least_kw))
        return Called(np.where(asked, least_kw, 0.0), np.where(asked, price, 0.0), nothing, nothing)

    def since(self, step: int) -> Called:
        """On the steps from one on."""
        return Called(self.least_kw[step:], self.below[step:], self.most_kw[step:], self.above[step:])

    def cost(self, injection_kw: cp.Expression, step_hours: float) -> cp.Expression:
        """Of what is missed, currency."""
        import cvxpy as cp

        missing, over = cp.pos(self.least_kw - injection_kw), cp.pos(injection_kw - self.most_kw)
        return step_hours * (self.below @ missing + self.above @ over)
