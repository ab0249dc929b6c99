"""Problems that are solved again and again, with other linear terms each time: what a node does in every iteration."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import piqp
import scipy.sparse as sp
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.problem.cone_program import Clarabel, ConeProgram, decided
from gridpact.problem.solving import solve
from gridpact.problem.translation import BidTerms, Translation

Indices = NDArray[np.intp]

TOLERANCE = 1e-10
"""Of PIQP, absolute and relative: then bids and copies are right to some 1e-6 kW."""


class Repeated:
    """A problem that CVXPY translates once, into matrices; from then on a solver is told only what changes.

    Quadratic programs go to PIQP, which is several times faster on them. Those with cones go to Clarabel, and linear
    programs, since of many solutions it finds the one in the middle.

    Args:
        problem: its parameters may stand in linear terms of the objective, and in constants of linear constraints.
        whose: see `solve`.
        linear: variables that get linear terms, a . x, besides what the problem minimises.
        weighted: one that gets weighted squares, w/2 . x^2, and has no others.
        bids: where it has any, see `BidTerms`.
        scaled: variables v with squares, w/2 v . v, that may be taken times a number, and w of each.

    The variables with further terms may have no attributes, such as `nonneg`.
    """

    def __init__(
        self,
        problem: cp.Problem,
        whose: str,
        linear: Sequence[cp.Variable] = (),
        weighted: cp.Variable | None = None,
        bids: BidTerms | None = None,
        scaled: Sequence[tuple[cp.Variable, float]] = (),
    ) -> None:
        self._problem = problem
        self._bids, self._scaled = bids, scaled
        self._whose = whose
        self._linear, self._weighted = linear, weighted
        self._matrices: _Matrices | None = None
        self._solver: _Piqp | Clarabel | None = None

    def solve(self, linear: Sequence[Array] = (), weights: Array | None = None, times: float = 1.0) -> Answer:
        """Solves for the parameters' values.

        Args:
            linear: a, of the shapes of the variables with linear terms.
            weights: w, of the shape of the weighted variable.
            times: what the squares that may be scaled are taken times.

        Raises:
            InfeasibleError, SolverError: see `solve`.
        """
        if not self._problem.variables() and self._weighted is None:  # CVXPY has nothing to translate
            solve(self._problem, self._whose)
            return Answer(np.zeros(0), None)
        if self._matrices is None:
            self._matrices = _Matrices(self._problem, self._linear, self._weighted, self._bids, self._scaled)
        program = self._matrices.program(linear, weights, times)
        if self._solver is None:
            self._solver = Clarabel(program) if program.cones or not program.p.nnz else _Piqp(program)
        else:
            self._solver.update(program)
        x = self._solver.solve()
        if x is None:  # there is none, or not to its full accuracy
            return Answer(decided(self._matrices.entire(linear, weights, times), self._whose).x, self._matrices)
        return Answer(self._matrices.whole(x, program), self._matrices)


@dataclass(frozen=True)
class Answer:
    """A solution; it stays as it is, whatever is solved after it."""

    x: Array  # all variables, as CVXPY has stacked them
    matrices: _Matrices | None

    def value(self, variable: cp.Variable) -> Array:
        """Of a variable without attributes."""
        assert self.matrices is not None
        part: Array = self.x[self.matrices.columns(variable)].reshape(variable.shape, order="F")
        return part

    def values(self, expressions: Mapping[str, cp.Expression]) -> dict[str, Array]:
        """Of any expressions of the problem's variables."""
        if self.matrices is not None:
            self.matrices.assign(self.x)
        return {name: np.asarray(expression.value) for name, expression in expressions.items()}


class _Reduced:
    """A problem's matrices, smaller than CVXPY has it: where each element of the weighted variable stands in an
    equation of its own and nowhere else, alpha x + rest = beta, they leave together.

    With W the rows that give the weighted variable from those that are left, x = W u + offset, the weighted squares
    become W' diag(w) W and W' diag(w) offset.

    Args:
        p: with a square of each weighted element, as CVXPY was given it.
        weighted: columns.
        zeros: see `ConeProgram`.
    """

    def __init__(self, a: sp.csr_array, p: sp.csc_array | None, weighted: Indices, zeros: int) -> None:
        n = a.shape[1]
        known = np.zeros(n)
        known[weighted] = 1.0  # of what was added
        own = sp.csc_array((n, n)) if p is None else sp.csc_array(p - sp.diags_array(known))
        own.eliminate_zeros()
        self.entire = sp.csc_array(a), own
        self.leaving, self.equations, self.alpha = _defined(*self.entire, weighted, zeros)
        kept = np.setdiff1d(np.arange(n), self.leaving)
        self.rows = np.setdiff1d(np.arange(a.shape[0]), self.equations)
        self.a = sp.csc_array(a[self.rows][:, kept])
        rest = sp.diags_array(-1 / self.alpha) @ a[self.equations][:, kept]
        place = np.zeros(n, dtype=np.intp)
        place[kept] = np.arange(len(kept))
        place[self.leaving] = len(kept) + np.arange(len(self.leaving))
        self.whole = sp.csr_array(sp.vstack([sp.eye_array(len(kept)), rest], format="csr")[place])  # x of u
        self.weighted, of_kept = weighted, sp.csr_array(self.whole[weighted])  # W
        self.to_kept, self.to_kept_weighted = sp.csr_array(self.whole.T), sp.csr_array(of_kept.T)
        fixed = sp.triu(own[kept][:, kept], format="csc")
        self.p, self.p_fixed, self.p_squares = _with_squares(fixed, of_kept)
        columns = np.repeat(np.arange(len(kept)), np.diff(self.p.indptr))
        self.squares = np.flatnonzero(self.p.indices == columns)  # which elements of p are, and
        self.squared = kept[columns[self.squares]]  # of which columns of x


class _Matrices:
    """A problem in matrices, reduced."""

    def __init__(
        self,
        problem: cp.Problem,
        linear: Sequence[cp.Variable],
        weighted: cp.Variable | None,
        bids: BidTerms | None,
        scaled: Sequence[tuple[cp.Variable, float]],
    ) -> None:
        if weighted is not None:  # so that CVXPY knows of it, even if nothing else is asked of it
            problem = cp.Problem(problem.objective + cp.Minimize(cp.sum_squares(weighted) / 2), problem.constraints)
        self._translation = translation = Translation(problem, bids)
        self._zeros, self._nonnegatives, self._cones = translation.zeros, translation.nonnegatives, translation.cones
        self._columns: dict[int, slice] = {}
        self._linear = [self.columns(variable) for variable in linear]
        columns = range(0) if weighted is None else range(*self.columns(weighted).indices(translation.a.shape[1]))
        self._reduced: _Reduced = translation.shared(
            columns, lambda: _Reduced(translation.a, translation.p, np.array(columns, dtype=np.intp), self._zeros)
        )
        self._p = self._reduced.p
        self._b: Array | None = None  # that `_offset` and `_b_kept` are of
        self._squares: Array | None = None  # that `_p` is of
        self._of_squares: Array | None = None  # their linear terms, of both
        self._times = 1.0
        self._scaled = np.zeros(translation.a.shape[1])
        for variable, square in scaled:
            self._scaled[self.columns(variable)] = square

    def columns(self, variable: cp.Variable) -> slice:
        """Where a variable without attributes stands in x."""
        if variable.id not in self._columns:
            self._columns[variable.id] = self._translation.columns(variable)
        return self._columns[variable.id]

    def program(self, linear: Sequence[Array], weights: Array | None, times: float) -> ConeProgram:
        """For the parameters' values, see `Repeated.solve`."""
        by, (q, b) = self._reduced, self._constants(linear)
        squares = np.zeros(0) if weights is None else weights.ravel(order="F")
        if b is not self._b:
            self._b, self._b_kept, self._of_squares = b, b[by.rows], None
            self._offset = np.zeros_like(q)
            self._offset[by.leaving] = b[by.equations] / by.alpha
        if self._squares is None or times != self._times or not np.array_equal(squares, self._squares):
            self._squares, self._times, self._of_squares = squares.copy(), times, None
            elements = by.p_fixed + by.p_squares @ squares
            elements[by.squares] += (times - 1) * self._scaled[by.squared]
            self._p = sp.csc_array((elements, self._p.indices, self._p.indptr), self._p.shape)
        if self._of_squares is None:
            self._of_squares = by.to_kept_weighted @ (squares * self._offset[by.weighted])
        zeros, reduced = self._zeros - len(by.equations), by.to_kept @ q + self._of_squares
        return ConeProgram(self._p, reduced, by.a, self._b_kept, zeros, self._nonnegatives, self._cones, self._offset)

    def entire(self, linear: Sequence[Array], weights: Array | None, times: float) -> ConeProgram:
        """The same as CVXPY has it, all variables left."""
        q, b = self._constants(linear)
        a, p = self._reduced.entire
        squares = (times - 1) * self._scaled
        if weights is not None:
            squares[self._reduced.weighted] += weights.ravel(order="F")
        p = sp.triu(p + sp.diags_array(squares), format="csc")
        return ConeProgram(p, q, a, b, self._zeros, self._nonnegatives, self._cones, np.zeros_like(q))

    def _constants(self, linear: Sequence[Array]) -> tuple[Array, Array]:
        """q and b."""
        q, b = self._translation.constants()
        for columns, more in zip(self._linear, linear, strict=True):
            q[columns] += more.ravel(order="F")
        return q, b

    def whole(self, kept: Array, program: ConeProgram) -> Array:
        """x, with what left."""
        x: Array = self._reduced.whole @ kept + program.offset
        return x

    def assign(self, x: Array) -> None:
        """Gives the problem's variables their values."""
        self._translation.assign(x)


class _Piqp:
    """PIQP's side of a quadratic program: rows with one element are bounds."""

    def __init__(self, program: ConeProgram) -> None:
        equal, rest = program.a[: program.zeros], sp.csr_array(program.a[program.zeros :])
        single = np.diff(rest.indptr) == 1
        self._single, self._several = np.flatnonzero(single), np.flatnonzero(~single)
        bounds = rest[self._single]
        self._column, self._factor = bounds.indices, bounds.data
        self._solver = piqp.SparseSolver()
        settings = self._solver.settings
        settings.preconditioner_reuse_on_update = True
        settings.eps_abs = settings.eps_rel = settings.eps_duality_gap_abs = settings.eps_duality_gap_rel = TOLERANCE
        low, high = self._bounds(program)
        self._solver.setup(
            program.p,
            program.q,
            sp.csc_array(equal),
            program.b[: program.zeros],
            sp.csc_array(rest[self._several]),
            None,
            program.b[program.zeros :][self._several],
            low,
            high,
        )
        self._known = program

    def _bounds(self, program: ConeProgram) -> tuple[Array, Array]:
        bound = program.b[program.zeros :][self._single] / self._factor
        low, high = np.full(len(program.q), -np.inf), np.full(len(program.q), np.inf)
        upper = self._factor > 0
        np.minimum.at(high, self._column[upper], bound[upper])
        np.maximum.at(low, self._column[~upper], bound[~upper])
        return low, high

    def update(self, program: ConeProgram) -> None:
        if program.b is not self._known.b and not np.array_equal(program.b, self._known.b):
            low, high = self._bounds(program)
            rest = program.b[program.zeros :][self._several]
            self._solver.update(b=program.b[: program.zeros], h_u=rest, x_l=low, x_u=high)
        if program.p is self._known.p:
            self._solver.update(c=program.q)
        else:
            self._solver.update(c=program.q, P=program.p)
        self._known = program

    def solve(self) -> Array | None:
        """x, or None where PIQP has not solved it."""
        if self._solver.solve() != piqp.PIQP_SOLVED:
            return None
        return np.array(self._solver.result.x)


def _defined(a: sp.csc_array, p: sp.csc_array, columns: Indices, equations: int) -> tuple[Indices, Indices, Array]:
    """Whether each of some columns has one element, in an equation of its own, and no square: then the columns, the
    equations, and the elements, else nothing."""
    nothing = np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp), np.zeros(0)
    if (np.diff(a.indptr)[columns] != 1).any() or np.diff((p + p.T).indptr)[columns].any():
        return nothing
    places = a.indptr[columns]
    rows = a.indices[places].astype(np.intp)
    if (rows >= equations).any() or len(np.unique(rows)) < len(rows):
        return nothing
    return columns, rows, a.data[places].astype(np.float64)


def _with_squares(fixed: sp.csc_array, w: sp.csr_array) -> tuple[sp.csc_array, Array, sp.csr_array]:
    """The upper triangle of fixed + W' diag(weights) W, where it has elements: any matrix with them, the elements of
    the first part, and the matrix that gives those of the second from the weights."""
    ends = zip(w.indptr[:-1], w.indptr[1:], strict=True)
    pairs = [
        (row, *sorted((w.indices[k], w.indices[m])), w.data[k] * w.data[m])
        for row, (start, end) in enumerate(ends)
        for k, m in itertools.combinations_with_replacement(range(start, end), 2)
    ]
    of, above, right, factor = (np.array(part) for part in zip(*pairs, strict=True)) if pairs else (np.zeros(0),) * 4
    first = fixed.tocoo()
    rows = np.concatenate([first.row, above]).astype(np.intp)
    columns = np.concatenate([first.col, right]).astype(np.intp)
    places, place = np.unique(columns * fixed.shape[0] + rows, return_inverse=True)
    starts = np.searchsorted(places // fixed.shape[0], np.arange(fixed.shape[1] + 1))
    pattern = sp.csc_array((np.ones(len(places)), places % fixed.shape[0], starts), fixed.shape)
    known = np.bincount(place[: len(first.data)], first.data, len(places))
    squares = sp.csr_array((factor, (place[len(first.data) :], of.astype(np.intp))), (len(places), w.shape[0]))
    return pattern, known.astype(np.float64), squares
