"""The one place where CVXPY is asked to solve, and its answer is checked."""

from __future__ import annotations

import warnings

import cvxpy as cp

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
