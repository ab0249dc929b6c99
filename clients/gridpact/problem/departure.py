"""What it costs households to do otherwise than they wished."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp

from gridpact.community.model import Array


@dataclass(frozen=True, eq=False)
class Departure:
    """From injections that were wished, per kWh and kvarh more or less, whoever gives them."""

    kw: Array  # (n, T)
    kvar: Array  # (n, T)
    per_kwh: float  # currency
    per_kvarh: float

    def cost(self, kw: cp.Expression, kvar: cp.Expression, step_hours: float) -> cp.Expression:
        """Of injections, (n, T), currency."""
        active, reactive = (cp.sum(cp.abs(now - was)) for now, was in ((kw, self.kw), (kvar, self.kvar)))
        return step_hours * (self.per_kwh * active + self.per_kvarh * reactive)
