"""The one place where solvers are asked to solve, and their answers are checked."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import clarabel
import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.reductions.solvers.conic_solvers.clarabel_conif import dims_to_solver_cones
from numpy.typing import NDArray
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


class Repeated:
    """A problem with parameters, solved again and again.

    CVXPY translates it once; from then on the solver keeps its memory and is told only what changes, which is a third
    of the time of `problem.solve`, for the same optimum.

    Args:
        problem: its parameters may stand in linear terms of the objective, and in constants of linear constraints.
        whose: see `solve`.
        weighted: a variable whose weighted squares, w/2 . x^2, are added to what is minimised. As parameters, the
            weights would cost CVXPY memory that grows with the square of the variable.
    """

    def __init__(self, problem: cp.Problem, whose: str, weighted: cp.Variable | None = None) -> None:
        if weighted is not None:
            squares = cp.Minimize(cp.sum_squares(weighted) / 2)
            problem = cp.Problem(problem.objective + squares, problem.constraints)
        self._problem = problem
        self._whose = whose
        self._weighted = weighted
        self._solver: clarabel.DefaultSolver | None = None

    def solve(self, weights: NDArray[np.float64] | None = None) -> None:
        """Solves for the parameters' values.

        Args:
            weights: w, of the shape of the weighted variable.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        if not self._problem.variables():  # CVXPY has nothing to translate
            return solve(self._problem, self._whose)
        if self._solver is None:
            self._solver = self._translate(weights)
        else:
            self._update(self._solver, weights)
        solution = self._solver.solve()
        if solution.status in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved):
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", message="Solution may be inaccurate")
                self._problem.unpack_results(solution, self._chain, self._inverse)
            return None
        if solution.status in (clarabel.SolverStatus.PrimalInfeasible, clarabel.SolverStatus.AlmostPrimalInfeasible):
            raise InfeasibleError(f"no plan of {self._whose} satisfies its constraints")
        raise SolverError(f"the problem of {self._whose} ended with status '{solution.status}'")

    def _translate(self, weights: NDArray[np.float64] | None) -> clarabel.DefaultSolver:
        data, self._chain, self._inverse = self._problem.get_problem_data(cp.CLARABEL, solver_opts={})
        program = self._program = data["param_prob"]
        self._moves_b = _depends(program.A)
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.presolve_enable = False  # else the data cannot be changed
        cones = dims_to_solver_cones(data["dims"])
        n = len(data["c"])
        self._quadratic = sp.triu(data["P"] if "P" in data else sp.csc_array((n, n))).tocsc()
        if self._weighted is not None:
            first = program.var_id_to_col[self._weighted.id]
            self._squares = _on_diagonal(self._quadratic, range(first, first + self._weighted.size))
        return clarabel.DefaultSolver(self._with(weights), data["c"], data["A"], data["b"], cones, settings)

    def _with(self, weights: NDArray[np.float64] | None) -> sp.csc_array:
        """The quadratic term."""
        if self._weighted is not None:
            assert weights is not None
            self._quadratic.data[self._squares] = weights.ravel(order="F")
        return self._quadratic

    def _update(self, solver: clarabel.DefaultSolver, weights: NDArray[np.float64] | None) -> None:
        """minimise q . x + 1/2 x . P x subject to A x + s = b."""
        program = self._program
        columns = program.param_id_to_col
        given = sorted(program.parameters, key=lambda parameter: columns[parameter.id])
        values = np.concatenate([*(parameter.value.ravel(order="F") for parameter in given), [1.0]])
        solver.update(q=(program.q @ values)[:-1])
        if self._weighted is not None:
            solver.update(P=self._with(weights))
        if self._moves_b:
            _, constants = program.reduced_A.get_matrix_from_tensor(values, with_offset=True)
            solver.update(b=np.atleast_1d(constants))


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


def _depends(tensor: sp.sparray) -> bool:
    """Whether something in it depends on the parameters: the last column is what does not."""
    return bool(tensor.tocsc()[:, :-1].count_nonzero())


def _on_diagonal(matrix: sp.csc_array, columns: range) -> NDArray[np.intp]:
    """Where in the data of an upper triangle the diagonal elements of some columns are: last in their column."""
    places = matrix.indptr[np.asarray(columns) + 1] - 1
    assert np.array_equal(matrix.indices[places], columns)
    return np.asarray(places, dtype=np.intp)
