"""Where solvers are asked to solve once, and their answers are checked; `repeated.py` has what is solved often."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp

from gridpact.community.model import Array
from gridpact.errors import InfeasibleError, SolverError

# CVXPY finds the shape of a sum by summing memory that nobody has written (`Sum.shape_from_args`): now and then two
# infinities are in it.
warnings.filterwarnings("ignore", "invalid value encountered in reduce", RuntimeWarning, r"numpy\._core\.fromnumeric")


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


class Linear:
    """A linear or mixed-integer linear program with parameters, solved again and again by HiGHS.

    CVXPY translates it once. What a parameter or another variable fixes is put in before HiGHS is asked, so that the
    rest of a day, what went before it being fixed, costs no more than a problem of that rest.

    Args:
        problem: its parameters may stand in linear terms of the objective, and in constants of the constraints.
        whose: see `solve`.
        order: of variables, before all others, for HiGHS: which of equal optima it finds depends on it.
    """

    MOST_NODES = 200
    """Of the tree of a mixed-integer program: alike in every way are only the steps of a day with one price."""

    def __init__(self, problem: cp.Problem, whose: str, order: Sequence[cp.Variable] = ()) -> None:
        self._problem, self._whose = problem, whose
        for parameter in problem.parameters():
            if parameter.value is None:
                parameter.value = np.zeros(parameter.shape)
        data, *_ = problem.get_problem_data(cp.SCIPY)
        self._program = data["param_prob"]
        self._equations = data["dims"].zero
        columns = len(data["c"])
        matrix = -sp.csr_array(self._program.apply_parameters()[2])  # rows x = b, below that rows x <= b
        lengths = np.diff(matrix.indptr)
        single = (lengths == 1) & (np.arange(len(lengths)) >= self._equations)
        self._single, self._many = np.flatnonzero(single), np.flatnonzero(~single & (lengths > 0))
        self._bounded, self._factors = (part[matrix.indptr[:-1][single]] for part in (matrix.indices, matrix.data))
        self._rows = matrix[self._many]
        self._equations = int((self._many < self._equations).sum())
        self._heads = self._rows[: self._equations]
        self._there = (self._heads != 0).astype(float)
        size = matrix.shape[0]
        self._constants = sp.csr_array(sp.csr_array(self._program.A)[size * columns :])
        self._costs = sp.csr_array(self._program.q)
        self._whole = np.zeros(columns, dtype=bool)
        self._whole[data["bool_vars_idx"]] = True
        first = self._program.var_id_to_col
        ordered = [k for variable in order for k in range(first[variable.id], first[variable.id] + variable.size)]
        self._order = np.array(list(dict.fromkeys([*ordered, *range(columns)])))
        low, high = data.get("lower_bounds"), data.get("upper_bounds")
        self._low = np.full(columns, -np.inf) if low is None else np.asarray(low, dtype=float)
        self._high = np.full(columns, np.inf) if high is None else np.asarray(high, dtype=float)
        self._low[self._whole] = np.maximum(self._low[self._whole], 0)
        self._high[self._whole] = np.minimum(self._high[self._whole], 1)

    def solve(self, given: Sequence[tuple[cp.Variable, Array]] = ()) -> None:
        """Solves for the parameters' values and sets the variables.

        Args:
            given: variables whose values are fixed, NaN where they are not.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        place = self._program.param_id_to_col
        parameters = sorted(self._program.parameters, key=lambda parameter: place[parameter.id])
        values = np.concatenate([*(np.ravel(parameter.value, order="F") for parameter in parameters), [1.0]])
        cost, constants = (self._costs @ values)[:-1], self._constants @ values
        low, high = self._low.copy(), self._high.copy()
        limits, above = constants[self._single] / self._factors, self._factors > 0
        np.minimum.at(high, self._bounded[above], limits[above])
        np.maximum.at(low, self._bounded[~above], limits[~above])
        x, b = np.full(len(cost), np.nan), constants[self._many]
        for variable, fixed in given:
            if (first := self._program.var_id_to_col.get(variable.id)) is not None:
                known = ~np.isnan(fixed)
                x[first : first + variable.size][known] = fixed[known]
        self._put_in(x, b, low, high)
        free = self._order[np.isnan(x[self._order])]
        if len(free):
            b = b - self._rows @ np.nan_to_num(x)
            rows = self._rows[:, free]
            left = np.flatnonzero(np.diff(rows.indptr) > 0)
            equations = int((left < self._equations).sum())
            x[free] = self._ask(cost[free], rows[left], b[left], equations, low[free], high[free], self._whole[free])
        for variable in self._problem.variables():
            first = self._program.var_id_to_col[variable.id]
            variable.save_value(x[first : first + variable.size].reshape(variable.shape, order="F"))

    def _put_in(self, x: Array, b: Array, low: Array, high: Array) -> None:
        """Sets what bounds fix, and what equations then leave no choice of."""
        fixed = np.isnan(x) & (low >= high)
        x[fixed] = high[fixed]
        heads = self._heads
        while len(one := np.flatnonzero(self._there @ np.isnan(x).astype(float) == 1)):
            for row in one:
                at = slice(heads.indptr[row], heads.indptr[row + 1])
                columns, factors = heads.indices[at], heads.data[at]
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
        # What has no whole numbers goes the same way: it is the same solver, asked with less ado than by `linprog`.
        result = milp(
            cost,
            integrality=whole.astype(int) if whole.any() else None,
            bounds=Bounds(low, high),
            constraints=LinearConstraint(rows, np.where(np.arange(len(b)) < equations, b, -np.inf), b),
            options={"node_limit": self.MOST_NODES, "mip_rel_gap": 1e-5},
        )
        if result.status == 2:
            raise InfeasibleError(f"no plan of {self._whose} satisfies its constraints")
        cut_off = (result.get("mip_node_count") or 0) >= self.MOST_NODES  # a status that SciPy does not know
        if result.x is None or (result.status not in (0, 1) and not cut_off):
            raise SolverError(f"the problem of {self._whose} ended with: {result.message}")
        return np.asarray(result.x)
