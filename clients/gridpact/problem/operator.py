"""The grid operator's own problem: the nearest injections that the network can carry, within the published limits.

The relaxation (11) is exact where the lower voltage limit binds, and not always where the upper one does: currents
that do not flow make room that is not there. So every answer is checked by the referee's arithmetic,
`PublishedFeeder`, before it is sent. Where it is outside, the problem is solved once more with bounds on the voltages
*without losses*, which are linear in the injections:

    lowest^2 + drop <= v_lossless <= highest^2 + drop

drop being what the losses take off, by the exact flow of the answer before: first all of it, then half, then none,
where the upper limit holds for certain, since a voltage is never above the one without losses. What is outside then
still is scaled towards no injection at all, where every voltage is that of the grid connection. So it ends, inside.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array, Feeder
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InfeasibleError, SolverError
from gridpact.grid.limits import PublishedFeeder
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.local import LocalProblem, LocalSolution, NodeProblem, Point
from gridpact.problem.street_operator import StreetOperatorProblem
from gridpact.problem.view import NodeView

PARTS_OF_DROP = (1.0, 1.0, 0.5, 0.0)
"""Of the drop of voltage by losses, try by try."""

SCALES = 16
"""Injections that are outside are scaled in so many steps."""

_FREE = 10.0  # p.u. squared, no bound


def operator_problem(
    view: NodeView,
    to_integers: Callable[[Array], NDArray[np.int64]],
    unit_kw: float,
    fixed: Mapping[Block, Array],
) -> NodeProblem:
    """The problem of node 0 in the star, by the form of its feeder; the arguments are those of `OperatorProblem`."""
    if isinstance(view.feeder, PhaseFeeder):
        return StreetOperatorProblem(view, to_integers, unit_kw, fixed)
    return OperatorProblem(view, to_integers, unit_kw, fixed)


class OperatorProblem:
    """The problem of node 0 in the star.

    Args:
        to_integers: what of an answer goes on the chain, in units
        unit_kw: of this size.
        fixed: see `LocalProblem`.
    """

    def __init__(
        self,
        view: NodeView,
        to_integers: Callable[[Array], NDArray[np.int64]],
        unit_kw: float,
        fixed: Mapping[Block, Array],
    ) -> None:
        assert isinstance(view.feeder, Feeder)
        self._view, self._fixed = view, fixed
        self._limits = PublishedFeeder.of(view.feeder)
        self._units, self._unit_kw = to_integers, unit_kw
        self._relaxed = LocalProblem(view, 0.0, fixed=fixed)
        self._bounded: LocalProblem | None = None  # built where it is needed
        self._nodes = tuple(block.node for block in self._relaxed.blocks if block.kind is Kind.P)

    def solve(self, at: Point) -> LocalSolution:
        """Solves around a point of the negotiation.

        Raises:
            InfeasibleError, SolverError: see `LocalProblem.solve`.
        """
        solution = self._relaxed.solve(at)
        lowest, highest = (np.full((len(self._limits.lines), self._view.steps), bound) for bound in (-_FREE, _FREE))
        for part in PARTS_OF_DROP:
            outside = self._outside(self._units(solution.copies))
            if not outside.any():
                return solution
            drop = part * self._drop(solution.copies)[:, outside]
            lowest[:, outside] = (self._limits.lowest / 1e6) ** 2 - 1 + drop
            highest[:, outside] = (self._limits.highest / 1e6) ** 2 - 1 + drop
            if self._bounded is None:
                self._bounded = LocalProblem(self._view, 0.0, fixed=self._fixed, sensitivity=self._sensitivity())
            try:
                solution = self._bounded.solve(at, (lowest, highest))
            except (InfeasibleError, SolverError):
                break
        return self._scaled(solution)

    carried_out = solve  # there are no devices at node 0

    def _outside(self, units: NDArray[np.int64]) -> NDArray[np.bool_]:
        """At which steps the referee would find an answer outside the limits, (T,)."""
        milliwatts = units * round(self._unit_kw * 1e6)
        return self._limits.outside_at(self._nodes, milliwatts[Kind.P :: 2], milliwatts[Kind.Q :: 2])

    def _sensitivity(self) -> tuple[Array, Array]:
        rows = [self._limits.nodes.index(node) for node in self._nodes]
        active, reactive = self._limits.sensitivity
        return active[:, rows], reactive[:, rows]

    def _drop(self, copies: Array) -> Array:
        """What losses take off the squared voltages, (lines, T); 0 where there is no flow."""
        rows = [self._limits.nodes.index(node) for node in self._nodes]
        active, reactive = (np.zeros((len(self._limits.lines), self._view.steps)) for _ in range(2))
        active[rows], reactive[rows] = copies[Kind.P :: 2], copies[Kind.Q :: 2]
        return np.nan_to_num(self._limits.lossless(active, reactive) - self._limits.voltages(active, reactive))

    def _scaled(self, solution: LocalSolution) -> LocalSolution:
        """The same with injections scaled down at the steps that are outside."""
        units = wanted = self._units(solution.copies)
        for scale in range(SCALES - 1, -1, -1):
            if not (outside := self._outside(units)).any():
                break
            units = np.where(outside, np.fix(wanted * (scale / SCALES)).astype(np.int64), units)
        return LocalSolution(np.asarray(units * self._unit_kw, dtype=np.float64), solution.bids_kw, solution.plan)
