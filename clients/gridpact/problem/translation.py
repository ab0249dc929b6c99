"""What CVXPY makes of a problem, remembered: a household's problem of the next day is the same with other numbers.

To translate a problem into matrices takes CVXPY many times as long as a solver needs for it. Problems that are put
together alike and differ in series only (loads, prices, what panels can give) and in limits (sizes, states of charge)
are translated once, with parameters in their places; from then on only those are put in. A problem's *shape* is all of
it that is neither. A shape that is met for the first time is translated as it is, since most bids are for other steps
on every day; one that comes again is translated with parameters, and kept. So is from then on whatever is put together
as it is and has another length only, such as the rests of a day.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, TypeVar

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from cvxpy.constraints.nonpos import Inequality
from cvxpy.constraints.zero import Equality
from cvxpy.reductions.solution import Solution
from numpy.typing import NDArray

from gridpact.community.model import Array

Indices = NDArray[np.intp]
Made = TypeVar("Made")

REMEMBERED = 1024
"""Shapes: of every household some ten, and its bids of as many days as are left."""


@dataclass(frozen=True)
class _Translated:
    """minimise q . x + 1/2 x . P x subject to A x + s = b, and how q and b follow from parameters."""

    chain: Any  # of CVXPY's reductions
    inverse: Any
    tensors: Any
    q: Array
    a: sp.csr_array
    b: Array
    p: sp.csc_array | None
    zeros: int
    nonnegatives: int
    cones: tuple[int, ...]
    constraints: tuple[int, ...]  # their ids
    parameters: tuple[cp.Parameter, ...]  # in the order of the tensors' columns
    q_moves: bool
    b_moves: bool
    made: dict[Hashable, Any] = field(default_factory=dict)  # see `Translation.shared`

    @staticmethod
    def of(problem: cp.Problem) -> _Translated:
        data, chain, inverse = problem.get_problem_data(cp.CLARABEL, solver_opts={})
        tensors, dims = data["param_prob"], data["dims"]
        parameters = sorted(tensors.parameters, key=lambda one: tensors.param_id_to_col[one.id])
        return _Translated(
            chain, inverse, tensors, data["c"], sp.csr_array(data["A"]), data["b"], data.get("P"),
            dims.zero, dims.nonneg, tuple(dims.soc), tuple(one.id for one in problem.constraints), tuple(parameters),
            _depends(tensors.q), _depends(tensors.A),
        )  # fmt: skip

    @property
    def matrices_stand(self) -> bool:
        """Whether A and P are the same whatever the parameters are."""
        rows, columns = self.a.shape
        of_a = not _depends(self.tensors.A, rows * columns)
        return of_a and (self.tensors.P is None or not _depends(self.tensors.P))

    def duals(self, z: Array) -> dict[int, Array]:
        """Of the equalities, which are the first rows, by their ids before the last reductions."""
        equalities = [one for one in self.tensors.constraints if isinstance(one, cp.constraints.Zero)]
        ends = np.cumsum([one.size for one in equalities])
        return {one.id: z[end - one.size : end] for one, end in zip(equalities, ends, strict=True)}

    def constants(self, given: Sequence[Array]) -> tuple[Array, Array]:
        """q and b for values of the parameters."""
        if not (self.q_moves or self.b_moves):
            return self.q.copy(), self.b
        values = np.concatenate([*(value.ravel(order="F") for value in given), [1.0]])
        q = np.asarray((self.tensors.q @ values)[:-1])
        if not self.b_moves:
            return q, self.b
        return q, np.atleast_1d(self.tensors.reduced_A.get_matrix_from_tensor(values, with_offset=True)[1])


@dataclass(frozen=True)
class BidTerms:
    """Bids d of a problem, gamma |d| + w d . d + v D . D, of which nothing else in it knows but their sums D by step.

    They are for other steps on every day, and weighted otherwise, but alike: what is translated has one bid a step, and
    its rows and columns are repeated.
    """

    variable: cp.Variable  # d, (bids,)
    traded: cp.Variable  # D, (T,)
    sums: cp.Constant  # what adds them up, (T, bids)
    gamma: cp.Constant  # (bids,), not negative
    square: cp.Constant  # w, above 0
    square_of_sums: cp.Constant  # v, above 0
    steps: Indices  # of each bid

    @property
    def constants(self) -> tuple[cp.Constant, ...]:
        """Those that are others on every day."""
        return self.sums, self.gamma, self.square, self.square_of_sums

    @property
    def is_usual(self) -> bool:
        return bool(self.gamma.is_nonneg() and self.square.value > 0 and self.square_of_sums.value > 0)


@dataclass(frozen=True)
class _Places:
    """A program with its bids repeated."""

    a: sp.csr_array
    p: sp.csc_array
    rows: Indices  # which rows and
    columns: Indices  # columns of the program with one bid a step these are
    costs: Indices  # columns of |d|
    bids: Indices


class _Spread:
    """Where the bids are in a program that has one a step."""

    def __init__(self, program: _Translated, bids: cp.Variable, traded: cp.Variable) -> None:
        self._program, self._count = program, bids.size
        first = program.tensors.var_id_to_col[traded.id]
        self._traded = np.arange(first, first + self._count)
        first = program.tensors.var_id_to_col[bids.id]
        self._bids = np.arange(first, first + self._count)
        zeros = program.zeros
        self._limits = np.unique(program.a[zeros:][:, self._bids].nonzero()[0]) + zeros  # d <= |d|, -d <= |d|
        self._costs = np.setdiff1d(program.a[self._limits].nonzero()[1], self._bids)  # |d|

    @property
    def is_as_expected(self) -> bool:
        """Whether each bid has its two limits and its square, and |d| nothing else."""
        a, p, count = self._program.a, self._program.p, self._count
        if p is None or len(self._limits) != 2 * count or len(self._costs) != count:
            return False
        both = np.vstack([np.eye(count), np.eye(count)])
        limits, columns = a[self._limits].toarray(), np.concatenate([self._bids, self._traded])
        squares = sp.csc_array(p)[:, columns].toarray()
        return bool(
            np.array_equal(np.diff(self._limits), np.ones(2 * count - 1))
            and np.array_equal(np.diff(self._costs), np.ones(count - 1))
            and np.array_equal(limits[:, self._costs], -both)
            and np.array_equal(abs(limits[:, self._bids]), both)
            and np.count_nonzero(limits) == 4 * count
            and np.array_equal(squares[columns], np.eye(2 * count))
            and np.count_nonzero(squares) == 2 * count
            and sp.csc_array(a)[:, self._costs].count_nonzero() == 2 * count
            and not sp.csc_array(p)[:, self._costs].count_nonzero()
        )

    def repeated(self, of: BidTerms) -> _Places:
        """With other bids."""
        steps = of.steps
        costs, bids, limits = int(self._costs[0]), int(self._bids[0]), int(self._limits[0])
        a, p, more = self._program.a, self._program.p, len(steps) - self._count
        columns = _repeated(np.arange(a.shape[1]), (costs, bids), self._count, steps)
        rows = _repeated(np.arange(a.shape[0]), (limits, limits + self._count), self._count, steps)
        place = np.arange(len(steps))
        of_costs, of_bids = costs + (more if costs > bids else 0) + place, bids + (more if bids > costs else 0) + place
        column_of, row_of = np.full(len(columns), -1), np.full(len(rows), -1)
        column_of[of_costs] = column_of[of_bids] = place
        row_of[limits : limits + 2 * len(steps)] = np.tile(place, 2)
        of_a, of_p = (m.tocoo() for m in (a[rows][:, columns], sp.csr_array(p)[columns][:, columns]))
        kept = (row_of[of_a.row] < 0) | (row_of[of_a.row] == column_of[of_a.col])  # not another bid's of the step
        squares = (column_of[of_p.row] < 0) | (of_p.row == of_p.col)
        weights = np.ones(len(columns))
        weights[np.isin(columns, self._traded)] = 2 * of.square_of_sums.value
        weights[of_bids] = 2 * of.square.value
        of_p.data *= weights[of_p.col]
        return _Places(
            sp.csr_array(_some(of_a, kept)), sp.csc_array(_some(of_p, squares)), rows, columns, of_costs, of_bids
        )


def _repeated(order: Indices, firsts: tuple[int, int], count: int, steps: Indices) -> Indices:
    """Places, with those of two blocks repeated for the steps of bids."""
    for first in sorted(firsts, reverse=True):
        order = np.concatenate([order[:first], order[first : first + count][steps], order[first + count :]])
    return order


def _some(matrix: sp.coo_array, kept: NDArray[np.bool_]) -> sp.coo_array:
    return sp.coo_array((matrix.data[kept], (matrix.row[kept], matrix.col[kept])), matrix.shape)


class Translation:
    """A problem's matrices, as CVXPY stacks its variables.

    Attributes:
        a, p: A and P, see `_Translated`.
        zeros, nonnegatives, cones: rows of A that are zero, then not negative, then the sizes of second-order cones.

    Args:
        bids: of the problem, where it has any.
        once: it will hardly come again, or is so large that parameters in it would take more than is won.
    """

    def __init__(self, problem: cp.Problem, bids: BidTerms | None = None, once: bool = False) -> None:
        shape = _Shape.of(problem, bids)
        kept = None if once else _remembered(shape)
        self._program, alike = kept or (_Translated.of(problem), shape)
        self._variables, self._constraints = shape.variables, problem.constraints
        self._twins = dict(zip((v.id for v in shape.variables), (v.id for v in alike.variables), strict=True))
        given = dict(zip((one.id for one in alike.parameters), shape.parameters, strict=True))
        series = dict(zip((one.id for one in alike.stand_ins), (one.value for one in shape.series), strict=False))
        self._given = [given.get(one.id, series.get(one.id, np.zeros(one.shape))) for one in self._program.parameters]
        self._bids = bids
        self._places: _Places | None = None
        if alike.spread is not None and bids is not None:
            self._places = alike.spread.repeated(bids)
        whole = self._places or self._program
        self.a, self.p = whole.a, whole.p
        self._constants: tuple[Array, Array] | None = None
        self._moves = any(isinstance(one, cp.Parameter) for one in self._given)
        self.zeros, self.cones = self._program.zeros, self._program.cones
        self.nonnegatives = self.a.shape[0] - self.zeros - sum(self.cones)

    def constants(self) -> tuple[Array, Array]:
        """q and b for the values that the problem's parameters have."""
        if self._constants is None or self._moves:
            self._constants = self._worked_out()
        q, b = self._constants
        return q.copy(), b

    def _worked_out(self) -> tuple[Array, Array]:
        q, b = self._program.constants(
            [one.value if isinstance(one, cp.Parameter) else np.asarray(one, dtype=float) for one in self._given]
        )
        if self._places is not None and self._bids is not None:
            q, b = q[self._places.columns], b[self._places.rows]
            q[self._places.costs] = self._bids.gamma.value
        return q, b

    def shared(self, key: Hashable, make: Callable[[], Made]) -> Made:
        """Something that is made of the matrices alone: once for all problems that share them."""
        if self._places is not None:
            return make()
        if key not in self._program.made:
            self._program.made[key] = make()
        made: Made = self._program.made[key]
        return made

    def columns(self, variable: cp.Variable) -> slice:
        """Where a variable without attributes stands in x."""
        if self._places is None:
            first = self._program.tensors.var_id_to_col[self._twins[variable.id]]
        elif self._bids is not None and variable is self._bids.variable:
            first = self._places.bids[0]
        else:
            first = self._program.tensors.var_id_to_col[self._twins[variable.id]]
            first = np.flatnonzero(self._places.columns == first)[0]
        return slice(int(first), int(first) + variable.size)

    def assign(self, x: Array, z: Array | None = None) -> None:
        """Gives the problem's variables their values, and with the rows' duals its equalities theirs.

        The last reductions, which stack the variables and hand them to a solver, are undone here: what CVXPY takes from
        a solution there, such as duals, differs between its versions.
        """
        program, variables = self._program, list(self._variables)
        if self._places is not None and self._bids is not None:
            self._bids.variable.save_value(x[self._places.bids])
            variables = [variable for variable in variables if variable is not self._bids.variable]
            short = np.zeros(program.a.shape[1])
            short[self._places.columns] = x
            x = short
        place = program.tensors.var_id_to_col
        primal = {
            v.id: x[place[v.id] : place[v.id] + v.size].reshape(v.shape, order="F") for v in program.tensors.variables
        }
        solution = Solution(cp.OPTIMAL, None, primal, {} if z is None else program.duals(z), {})
        for reduction, inverse in reversed(list(zip(program.chain.reductions[:-2], program.inverse[:-2], strict=True))):
            solution = reduction.invert(solution, inverse)
        for variable in variables:
            variable.save_value(solution.primal_vars[self._twins[variable.id]])
        for constraint, twin in zip(self._constraints, program.constraints, strict=True):
            if (dual := solution.dual_vars.get(twin)) is not None:
                constraint.save_dual_value(dual.reshape(constraint.shape, order="F"))


@dataclass
class _Shape:
    """A problem taken apart: what it is put together of, and its leaves in the order in which they occur."""

    problem: cp.Problem
    bids: BidTerms | None = None
    key: Hashable | None = None  # None: it has something in it that cannot be compared
    variables: list[cp.Variable] = field(default_factory=list)
    parameters: list[cp.Parameter] = field(default_factory=list)
    series: list[cp.Constant] = field(default_factory=list)
    stand_ins: list[cp.Parameter] = field(default_factory=list)  # for the series, once it is translated with them
    spread: _Spread | None = None  # the same of the bids
    _met: dict[int, int] = field(default_factory=dict)  # by identity: expressions occur more than once
    _limits: set[int] = field(default_factory=set)  # the same of constants that are a side of a constraint

    @staticmethod
    def of(problem: cp.Problem, bids: BidTerms | None) -> _Shape:
        shape = _Shape(problem, bids if bids is not None and bids.is_usual else None)
        try:
            parts = (problem.objective, *problem.constraints)
            shape.key = (type(problem.objective), *(shape._part(part) for part in parts))
        except TypeError:
            shape.variables, shape.parameters = problem.variables(), problem.parameters()
        return shape

    @property
    def kind(self) -> Hashable:
        """The names in its key, in their order: alike for problems that differ in lengths and values only."""
        return tuple(_names(self.key))

    def _part(self, part: Any) -> Hashable:
        """Raises TypeError where it cannot be told."""
        if id(part) in self._met:
            return self._met[id(part)]
        self._met[id(part)] = len(self._met)
        if (of_bids := self._of_bids(part)) is not None:
            return of_bids
        if isinstance(part, cp.Constant):
            return self._constant(part)
        if isinstance(part, (cp.Variable, cp.Parameter)):
            leaves: list[Any] = self.variables if isinstance(part, cp.Variable) else self.parameters
            leaves.append(part)
            return type(part), part.shape, tuple(sorted((name, _frozen(of)) for name, of in part.attributes.items()))
        if isinstance(part, (Equality, Inequality)):
            self._limits |= {id(one) for one in part.args if isinstance(one, cp.Constant)}
        data = (part.axis,) if isinstance(part, cp.SOC) else () if isinstance(part, cp.Constraint) else part.get_data()
        return type(part).__name__, _frozen(data), *(self._part(one) for one in part.args)

    def _of_bids(self, part: Any) -> Hashable | None:
        """What stands for the bids, however many there are; None where it is something else."""
        if self.bids is None:
            return None
        of_bids = [part is one for one in (self.bids.variable, self.bids.traded, *self.bids.constants)]
        if part is self.bids.variable or part is self.bids.traded:
            self.variables.append(part)
        return ("bids", of_bids.index(True), self.bids.traded.size) if any(of_bids) else None

    def _constant(self, constant: cp.Constant) -> Hashable:
        """A series by its length and sign, and so a number that is a side of a constraint by itself, such as a size;
        anything else by its value."""
        value = constant.value
        is_limit = id(constant) in self._limits and constant.ndim == 0 and bool(value != 0)
        if is_limit or (constant.ndim == 1 and constant.size > 1 and isinstance(value, np.ndarray)):
            self.series.append(constant)
            return cp.Constant, constant.shape, constant.sign
        if sp.issparse(value):
            value = value.toarray()
        return cp.Constant, _frozen(np.asarray(value))

    def with_parameters(self) -> _Translated | None:
        """Translates it with parameters in the places of its series, and one bid a step; None where its matrices would
        depend on them, or the bids are not as expected."""
        self.stand_ins = [
            cp.Parameter(one.shape, nonneg=one.is_nonneg(), nonpos=not one.is_nonneg() and one.is_nonpos())
            for one in self.series
        ]
        for parameter, one in zip(self.stand_ins, self.series, strict=True):
            parameter.value = np.asarray(one.value, dtype=float)
        instead: dict[int, Any] = {id(one): stand for one, stand in zip(self.series, self.stand_ins, strict=True)}
        bid, wanted = None, {one.id for one in (*self.stand_ins, *self.parameters)}
        if self.bids is not None:
            steps = self.bids.traded.size
            bid, gamma = cp.Variable(steps), cp.Parameter(steps, nonneg=True, value=np.zeros(steps))
            wanted.add(gamma.id)
            half = cp.Constant(0.5)  # so that P has ones
            stand_ins = (cp.Constant(np.eye(steps)), gamma, half, half)
            instead |= {id(one): stand for one, stand in zip(self.bids.constants, stand_ins, strict=True)}
            instead[id(self.bids.variable)] = bid
        constraints = [one.tree_copy(instead) for one in self.problem.constraints]
        program = _Translated.of(cp.Problem(self.problem.objective.tree_copy(instead), constraints))
        self.spread = None if bid is None or self.bids is None else _Spread(program, bid, self.bids.traded)
        as_expected = self.spread is None or self.spread.is_as_expected
        if as_expected and program.matrices_stand and {one.id for one in program.parameters} == wanted:
            return program
        self.stand_ins, self.spread = [], None
        return None


class _Met(Enum):
    """Shapes without a translation that others can share."""

    ONCE = 1
    UNFIT = 2  # their matrices depend on series


_known: OrderedDict[Hashable, tuple[_Translated, _Shape] | _Met] = OrderedDict()
"""The shapes that were met, the newest last: those that came again with their translation."""

_kinds_again: set[Hashable] = set()
"""What shapes that came again are put together of, of whatever length: a household's problem of the rest of a day is as
that of the day, and comes again as that did."""


def _remembered(shape: _Shape) -> tuple[_Translated, _Shape] | None:
    """The translation of a problem of this shape, and the shape of that problem; None where there is none (yet)."""
    if shape.key is None:
        return None
    known = _known.get(shape.key)
    if known is None and shape.kind not in _kinds_again:
        known = _Met.ONCE
    elif known is None or known is _Met.ONCE:
        program = shape.with_parameters()
        known = _Met.UNFIT if program is None else (program, shape)
        if program is not None:
            _kinds_again.add(shape.kind)
    _known[shape.key] = known
    _known.move_to_end(shape.key)
    while len(_known) > REMEMBERED:
        _known.popitem(last=False)
    return None if isinstance(known, _Met) else known


def _names(key: Hashable) -> Iterator[str]:
    """All strings in nested tuples."""
    if isinstance(key, str):
        yield key
    elif isinstance(key, tuple):
        for part in key:
            yield from _names(part)


def _frozen(value: Any) -> Hashable:
    """Something that compares by value.

    Raises:
        TypeError: it has something in it that does not.
    """
    if isinstance(value, np.ndarray):
        return value.shape, value.dtype.str, value.tobytes()
    if isinstance(value, slice):
        return "slice", value.start, value.stop, value.step
    if isinstance(value, (list, tuple)):
        return tuple(map(_frozen, value))
    if value is None or isinstance(value, (bool, int, float, str, np.generic)):
        return value
    raise TypeError(f"{type(value)} does not compare by value")


def _depends(tensor: Any, first_rows: int | None = None) -> bool:
    """Whether a tensor, or its first rows, depend on any parameter: all columns but the last, which is constant, do.

    Entry by entry: a tensor has a row for each place of a dense matrix, more than a large problem has memory for.
    """
    entries = sp.coo_array(tensor)
    counts = (entries.col < tensor.shape[1] - 1) & (entries.data != 0)
    if first_rows is not None:
        counts &= entries.row < first_rows
    return bool(counts.any())
