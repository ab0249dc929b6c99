"""The one place where CVXPY is asked to solve, and its answer is checked."""

from __future__ import annotations

import warnings

import clarabel
import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import dims_to_solver_cones

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


class Repeated:
    """A problem whose parameters stand in linear terms of the objective only, solved again and again.

    CVXPY translates it once; from then on the solver keeps its factorisation's structure and gets a new linear term,
    which is a third of the time of `problem.solve`, for the same optimum.

    Args:
        whose: see `solve`.
    """

    def __init__(self, problem: cp.Problem, whose: str) -> None:
        self._problem = problem
        self._whose = whose
        self._solver: clarabel.DefaultSolver | None = None

    def solve(self) -> None:
        """Solves for the parameters' values.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        if not self._problem.variables():  # CVXPY has nothing to translate
            return solve(self._problem, self._whose)
        if self._solver is None:
            self._solver = self._translate()
        else:
            self._solver.update(q=self._linear_term())
        solution = self._solver.solve()
        if solution.status == clarabel.SolverStatus.Solved:
            self._problem.unpack_results(solution, self._chain, self._inverse)
        else:
            solve(self._problem, self._whose)  # knows what to make of it

    def _translate(self) -> clarabel.DefaultSolver:
        data, self._chain, self._inverse = self._problem.get_problem_data(cp.CLARABEL, solver_opts={})
        self._program = data["param_prob"]
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.presolve_enable = False  # else the data cannot be changed
        cones = dims_to_solver_cones(data["dims"])
        n = len(data["c"])
        quadratic = sp.triu(data["P"] if "P" in data else sp.csc_array((n, n))).tocsc()
        return clarabel.DefaultSolver(quadratic, data["c"], data["A"], data["b"], cones, settings)

    def _linear_term(self) -> Array:
        """q of the translated problem: linear in the parameters, column-major, in the translation's order."""
        columns = self._program.param_id_to_col
        given = sorted(self._program.parameters, key=lambda parameter: columns[parameter.id])
        values = np.concatenate([*(parameter.value.ravel(order="F") for parameter in given), [1.0]])
        term: Array = (self._program.q @ values)[:-1]
        return term
