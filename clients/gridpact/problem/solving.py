"""Where solvers are asked to solve once, and their answers are checked; `repeated.py` has what is solved often."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, linprog, milp

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


class Linear:
    """A linear or mixed-integer linear program with parameters, solved again and again by HiGHS.

    CVXPY translates it once. What a parameter or another variable fixes is put in before HiGHS is asked, so that the
    rest of a day, what went before it being fixed, costs no more than a problem of that rest.

    Args:
        problem: its parameters may stand in linear terms of the objective, and in constants of the constraints.
        whose: see `solve`.
    """

    MOST_NODES = 200
    """Of the tree of a mixed-integer program: alike in every way are only the steps of a day with one price."""

    def __init__(self, problem: cp.Problem, whose: str) -> None:
        self._problem, self._whose = problem, whose
        for parameter in problem.parameters():
            if parameter.value is None:
                parameter.value = np.zeros(parameter.shape)
        data, *_ = problem.get_problem_data(cp.SCIPY)
        self._program = data["param_prob"]
        self._equations = data["dims"].zero
        columns = len(data["c"])
        self._whole = np.zeros(columns, dtype=bool)
        self._whole[data["bool_vars_idx"]] = True
        low, high = data.get("lower_bounds"), data.get("upper_bounds")
        self._low = np.full(columns, -np.inf) if low is None else np.asarray(low, dtype=float)
        self._high = np.full(columns, np.inf) if high is None else np.asarray(high, dtype=float)
        self._low, self._high = (
            np.where(self._whole, np.maximum(self._low, 0), self._low),
            np.where(self._whole, np.minimum(self._high, 1), self._high),
        )

    def solve(self) -> None:
        """Solves for the parameters' values and sets the variables.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        cost, _, matrix, constants = self._program.apply_parameters()
        rows, b = -sp.csr_array(matrix), np.asarray(constants)  # rows x = b, below that rows x <= b
        low, high = self._low.copy(), self._high.copy()
        lengths = np.diff(rows.indptr)
        single = (lengths == 1) & (np.arange(len(b)) >= self._equations)
        at = rows.indptr[:-1][single]
        columns, limits = rows.indices[at], b[single] / rows.data[at]
        above = rows.data[at] > 0
        np.minimum.at(high, columns[above], limits[above])
        np.maximum.at(low, columns[~above], limits[~above])
        many = np.flatnonzero(~single & (lengths > 0))
        x = np.full(len(cost), np.nan)
        rows, b, equations = rows[many], b[many], int((many < self._equations).sum())
        self._put_in(x, rows, b, equations, low, high)
        free = np.isnan(x)
        if free.any():
            known = rows @ np.where(free, 0.0, x)
            rows, b = rows[:, free], b - known
            left = np.flatnonzero(np.diff(rows.indptr) > 0)
            of = self._ask(
                cost[free], rows[left], b[left], int((left < equations).sum()), low[free], high[free], self._whole[free]
            )
            x[free] = of
        for variable in self._problem.variables():
            first = self._program.var_id_to_col[variable.id]
            variable.value = x[first : first + variable.size].reshape(variable.shape, order="F")

    @staticmethod
    def _put_in(x: Array, rows: sp.csr_array, b: Array, equations: int, low: Array, high: Array) -> None:
        """Sets what bounds fix, and what equations then leave no choice of."""
        x[low >= high] = high[low >= high]
        heads = rows[:equations]
        while True:
            free = np.isnan(x)
            count = np.diff(sp.csr_array(heads[:, free]).indptr)
            if not (one := np.flatnonzero(count == 1)).size:
                return
            for row in one:
                columns = heads.indices[heads.indptr[row] : heads.indptr[row + 1]]
                factors = heads.data[heads.indptr[row] : heads.indptr[row + 1]]
                unknown = np.isnan(x[columns])
                if unknown.sum() == 1:
                    x[columns[unknown]] = (b[row] - factors[~unknown] @ x[columns[~unknown]]) / factors[unknown]

    def _ask(
        self,
        cost: Array,
        rows: sp.csr_array,
        b: Array,
        equations: int,
        low: Array,
        high: Array,
        whole: NDArray[np.bool_],
    ) -> Array:
        if whole.any():
            result = milp(
                cost,
                integrality=whole.astype(int),
                bounds=Bounds(low, high),
                constraints=LinearConstraint(rows, np.where(np.arange(len(b)) < equations, b, -np.inf), b),
                options={"node_limit": self.MOST_NODES, "mip_rel_gap": 1e-5},
            )
        else:
            result = linprog(
                cost, A_eq=rows[:equations], b_eq=b[:equations], A_ub=rows[equations:], b_ub=b[equations:],
                bounds=np.column_stack([low, high]), method="highs",
            )  # fmt: skip
        if result.status == 2:
            raise InfeasibleError(f"no plan of {self._whose} satisfies its constraints")
        if result.x is None or result.status not in (0, 1):
            raise SolverError(f"the problem of {self._whose} ended with: {result.message}")
        return np.asarray(result.x)
