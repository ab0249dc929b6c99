"""A problem of a community's day: put together alike on every day, so that CVXPY translates it once."""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from gridpact.community.model import Array
from gridpact.problem.cone_program import ConeProgram, decided
from gridpact.problem.translation import Translation


@dataclass(frozen=True)
class TradedPairs:
    """Trades d, of which nothing else in a problem knows but what they come to: sums = place d, at gamma |d|.

    On another day they are between others and at other steps, so they are no variables of CVXPY's, and are added to
    its matrices as d = d+ - d-, both not negative.
    """

    sums: cp.Variable  # without attributes
    place: sp.csr_array  # (elements of sums, the first index first; trades)
    gamma: Array  # (trades,), not negative


def solve_daily(problem: cp.Problem, whose: str, trades: TradedPairs | None = None, once: bool = False) -> float:
    """Solves a problem with Clarabel, gives its variables their values and its equalities their duals.

    Args:
        once: see `Translation`.

    Returns:
        What the trades cost, the sum of gamma |d|.

    Raises:
        InfeasibleError, SolverError: see `problem.solving.solve`.
    """
    translation = Translation(problem, once=once)
    q, b = translation.constants()
    size = len(q)
    p = sp.csc_array((size, size)) if translation.p is None else translation.p
    program = ConeProgram(
        sp.triu(p, format="csc"), q, sp.csc_array(translation.a), b,
        translation.zeros, translation.nonnegatives, translation.cones, np.zeros_like(q),
    )  # fmt: skip
    if trades is not None:
        program = _with_trades(program, trades, translation.columns(trades.sums))
    solution = decided(program, whose)
    translation.assign(solution.x[:size], solution.z)
    return float(program.q[size:] @ solution.x[size:])


def _with_trades(program: ConeProgram, trades: TradedPairs, columns: slice) -> ConeProgram:
    """With columns of d+ and d-, equations after those that are there, and limits after those."""
    size, count = len(program.q), len(trades.gamma)
    sums = sp.eye_array(size, format="csr")[columns]
    limits = program.zeros + program.nonnegatives
    a = sp.block_array(
        [
            [program.a[: program.zeros], None],
            [sums, sp.hstack([-trades.place, trades.place])],
            [program.a[program.zeros : limits], None],
            [None, -sp.eye_array(2 * count)],
            [program.a[limits:], None],
        ],
        format="csc",
    )
    b = np.insert(program.b, limits, np.zeros(2 * count))
    return ConeProgram(
        sp.block_diag([program.p, sp.csc_array((2 * count, 2 * count))], format="csc"),
        np.concatenate([program.q, trades.gamma, trades.gamma]),
        a,
        np.insert(b, program.zeros, np.zeros(sums.shape[0])),
        program.zeros + sums.shape[0],
        program.nonnegatives + 2 * count,
        program.cones,
        np.zeros(size + 2 * count),
    )
