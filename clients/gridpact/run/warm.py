"""Imported where nodes are forked from: after it, the first problem of a node costs as little as any other."""

from __future__ import annotations

import cvxpy as cp

from gridpact.problem.repeated import Repeated


def _once() -> None:
    """CVXPY looks for solvers and compiles its tables when it translates its first problem."""
    power, price = cp.Variable(2, nonneg=True), cp.Parameter(2)
    price.value = [1.0, 2.0]
    Repeated(cp.Problem(cp.Minimize(price @ power + cp.sum_squares(power)), [power <= 1]), "nobody").solve()


_once()
