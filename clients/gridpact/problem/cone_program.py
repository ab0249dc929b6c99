"""Programs in matrices, with cones, and Clarabel, which is asked to solve them."""

from __future__ import annotations

from dataclasses import dataclass

import clarabel
import numpy as np
import scipy.sparse as sp

from gridpact.community.model import Array
from gridpact.errors import InfeasibleError, SolverError

STUCK = (clarabel.SolverStatus.InsufficientProgress, clarabel.SolverStatus.NumericalError)
WAYS: tuple[tuple[float | None, bool], ...] = ((None, True), (1e-7, True), (1e-7, False), (1e-6, True))
"""What is tried in turn where a program gets stuck: what is added to the diagonal (None: as Clarabel has it; ten times
that and more), and whether rows are scaled. Where limits leave hardly a plan, some are solved only as they are; where
they leave none, that is seen with more on the diagonal only."""


@dataclass(frozen=True)
class ConeProgram:
    """minimise q . x + 1/2 x . P x subject to A x + s = b, where s is zero in the first rows, then not negative, then
    in second-order cones. From one time to the next, A stays, and so does where P has elements."""

    p: sp.csc_array  # upper triangle
    q: Array
    a: sp.csc_array
    b: Array
    zeros: int
    nonnegatives: int
    cones: tuple[int, ...]  # their sizes
    offset: Array  # of what left it, see `problem.repeated`


class Clarabel:
    """Clarabel's side.

    Args:
        careful: with iterative refinement, which takes half of the time and is seldom needed.
        regular: what is added to the diagonal of the equations of each step; None: as Clarabel has it.
        scaled: whether it scales rows and columns first.
    """

    def __init__(
        self, program: ConeProgram, careful: bool = False, regular: float | None = None, scaled: bool = True
    ) -> None:
        settings = clarabel.DefaultSettings()
        settings.verbose = False
        settings.presolve_enable = False  # else the data cannot be changed
        settings.iterative_refinement_enable = careful
        settings.equilibrate_enable = scaled
        if regular is not None:
            settings.static_regularization_constant = regular
        cones = [clarabel.ZeroConeT(program.zeros), clarabel.NonnegativeConeT(program.nonnegatives)]
        cones += [clarabel.SecondOrderConeT(size) for size in program.cones]
        self._solver = clarabel.DefaultSolver(program.p, program.q, program.a, program.b, cones, settings)
        self._known = program

    def update(self, program: ConeProgram) -> None:
        known, self._known = self._known, program
        changed = {"b": program.b} if program.b is not known.b else {}
        if program.p is not known.p:
            changed["P"] = program.p
        self._solver.update(q=program.q, **changed)

    def solve(self) -> Array | None:
        """x, or None where it is not solved to the full accuracy."""
        self.solution = self._solver.solve()
        return np.array(self.solution.x) if self.solution.status == clarabel.SolverStatus.Solved else None


@dataclass(frozen=True)
class Decided:
    """A solution, and what it would be worth to have each row otherwise."""

    x: Array
    z: Array  # duals of the rows


def decided(program: ConeProgram, whose: str) -> Decided:
    """By Clarabel, with all its care.

    Raises:
        InfeasibleError, SolverError: see `solve`.
    """
    for regular, scaled in WAYS:
        solver = Clarabel(program, careful=True, regular=regular, scaled=scaled)
        solver.solve()
        solution = solver.solution
        if solution.status not in STUCK:
            break
    if solution.status in (clarabel.SolverStatus.Solved, clarabel.SolverStatus.AlmostSolved):
        return Decided(np.array(solution.x), np.array(solution.z))
    if solution.status in (clarabel.SolverStatus.PrimalInfeasible, clarabel.SolverStatus.AlmostPrimalInfeasible):
        raise InfeasibleError(f"no plan of {whose} satisfies its constraints")
    raise SolverError(f"the problem of {whose} ended with status '{solution.status}'")
