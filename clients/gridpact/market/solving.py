"""The one place where CVXPY is asked to solve, and its answer is checked."""

from __future__ import annotations

import warnings

import clarabel
import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import dims_to_solver_cones

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
    """A problem with parameters, solved again and again.

    CVXPY translates it once; from then on the solver keeps its memory and is told only what the parameters change,
    which is a third of the time of `problem.solve`, for the same optimum.

    Args:
        problem: its parameters may stand in the objective, and in constants of linear constraints.
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
            self._update(self._solver)
        solution = self._solver.solve()
        if solution.status == clarabel.SolverStatus.Solved:
            self._problem.unpack_results(solution, self._chain, self._inverse)
        else:
            solve(self._problem, self._whose)  # knows what to make of it

    def _translate(self) -> clarabel.DefaultSolver:
        data, self._chain, self._inverse = self._problem.get_problem_data(cp.CLARABEL, solver_opts={})
        program = self._program = data["param_prob"]
        self._moves_p = program.P is not None and _depends(program.P)
        self._moves_b = _depends(program.A)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.presolve_enable = False  # else the data cannot be changed
        cones = dims_to_solver_cones(data["dims"])
        n = len(data["c"])
        quadratic = sp.triu(data["P"] if "P" in data else sp.csc_array((n, n))).tocsc()
        return clarabel.DefaultSolver(quadratic, data["c"], data["A"], data["b"], cones, settings)

    def _update(self, solver: clarabel.DefaultSolver) -> None:
        """minimise q . x + 1/2 x . P x subject to A x + s = b: all but A may depend on the parameters, linearly."""
        program = self._program
        columns = program.param_id_to_col
        given = sorted(program.parameters, key=lambda parameter: columns[parameter.id])
        values = np.concatenate([*(parameter.value.ravel(order="F") for parameter in given), [1.0]])
        solver.update(q=(program.q @ values)[:-1])
        if self._moves_p:
            quadratic, _ = program.reduced_P.get_matrix_from_tensor(values, with_offset=False)
            solver.update(P=sp.triu(quadratic).tocsc())
        if self._moves_b:
            _, constants = program.reduced_A.get_matrix_from_tensor(values, with_offset=True)
            solver.update(b=np.atleast_1d(constants))


def _depends(tensor: sp.sparray) -> bool:
    """Whether something in it depends on the parameters: the last column is what does not."""
    return bool(tensor.tocsc()[:, :-1].count_nonzero())
