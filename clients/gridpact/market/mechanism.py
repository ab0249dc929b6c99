"""What a mechanism is: a function from a prepared community to what it agreed on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gridpact.market.agreement import Agreement
    from gridpact.market.prepared import Prepared

IN_MEMORY = "memory"
"""Where a day is agreed on that is on no chain."""

OnIteration = Callable[[int, Sequence[float]], None]
"""Is told a round's number and its four residuals, W a coupled scalar."""


def nobody(number: int, rms_w: Sequence[float]) -> None:
    """Is told and says nothing."""


class Mechanism(Protocol):
    """A way to agree. Pure: no chain, no files; the same community gives the same agreement.

    Its module imports solvers only when it is asked: the command line knows all mechanisms by name, and starts fast.
    """

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        """What the community agrees on.

        Args:
            on_iteration: is told every round, where there are several.

        Raises:
            InfeasibleError: a household has no plan.
            SolverError: a solver failed.
        """
