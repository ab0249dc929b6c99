"""Where solvers are asked to solve once, and their answers are checked; `repeated.py` has what is solved often."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from scipy.optimize import linprog

from gridpact.community.model import Array
from gridpact.errors import InfeasibleError, SolverError


def solve(problem: cp.Problem, whose: str) -> None:
    """Solves a problem with Clarabel.

    Args:
        whose: named in the error, for example "household 'home_3'".

    Raises:
        InfeasibleError: no point satisfies the constraints.
        SolverError: any other status than optimal, to Clarabel's full or reduced accuracy.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Solution may be inaccurate")
        try:
            problem.solve(solver=cp.CLARABEL)
        except cp.SolverError as error:
            raise SolverError(f"the solver failed on the problem of {whose}: {error}") from error
    if problem.status in (cp.INFEASIBLE, cp.INFEASIBLE_INACCURATE):
        raise InfeasibleError(f"no plan of {whose} satisfies its constraints")
    if problem.status not in (cp.OPTIMAL, cp.OPTIMAL_INACCURATE):
        raise SolverError(f"the problem of {whose} ended with status '{problem.status}'")


@dataclass(frozen=True)
class LinearProgram:
    """minimise c . x subject to A x = b and low <= x <= high, where only A stays the same from time to time."""

    a: sp.csr_array  # (m, k)
    whose: str

    def solve(self, c: Array, b: Array, low: Array, high: Array) -> Array:
        """x, (k,), by HiGHS: for small problems that are solved very often.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        result = linprog(c, A_eq=self.a, b_eq=b, bounds=np.column_stack([low, high]), method="highs")
        if result.status == 2:
            raise InfeasibleError(f"no plan of {self.whose} satisfies its constraints")
        if result.status != 0:
            raise SolverError(f"the problem of {self.whose} ended with: {result.message}")
        return np.asarray(result.x)
