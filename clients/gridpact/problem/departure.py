"""What it costs households to do otherwise than they wished."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from gridpact.community.model import Array


@dataclass(frozen=True, eq=False)
class Departure:
    """From injections that were wished, per kWh and kvarh more or less."""

    kw: Array  # (n, T)
    kvar: Array  # (n, T)
    per_kwh: float | Array  # currency; by household, (n,), or of all
    per_kvarh: float  # whoever gives it

    def cost(self, kw: cp.Expression, kvar: cp.Expression, step_hours: float) -> cp.Expression:
        """Of injections, (n, T), currency."""
        active, reactive = (cp.abs(now - was) for now, was in ((kw, self.kw), (kvar, self.kvar)))
        each = np.broadcast_to(self.per_kwh, kw.shape[:1])
        return step_hours * (each @ cp.sum(active, axis=1) + self.per_kvarh * cp.sum(reactive))
