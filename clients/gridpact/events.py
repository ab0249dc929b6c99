"""What happens in a round, as one stream: told to a listener by whoever plays, follows or takes part in one.

A bar, lines for programs, health and metrics, a page: each is a `Listener`, and passes over what it does not show. What
the chain tells in a shape of its own is an event as it stands: `Progress`, `TradeRecord` and `Delivery` of
`gridpact.chain.values`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt


class Event:
    """Something that happened. A room that sees more tells it in frozen dataclasses of its own."""


class Listener(Protocol):
    """Is told what happens, in order, by one thread."""

    def hear(self, event: Event) -> None:
        """Must return soon, and raise nothing: who tells goes on when it returns."""


class _Silent:
    def hear(self, event: Event) -> None:
        """Shows nothing."""


SILENT: Listener = _Silent()
"""Where nobody listens."""


@dataclass(frozen=True)
class Stage(Event):
    """A new stage of a whole run begins."""

    text: str  # in words


@dataclass(frozen=True)
class IterationClosed(Event):
    """An iteration was closed, with what the iteration before had left."""

    round: int  # 0 where there is no chain
    iteration: int
    rms_w: tuple[float, ...]  # r_grid, s_grid, r_trade, s_trade of the iteration before, W a coupled scalar


@dataclass(frozen=True)
class NodeMissing(Event):
    """An iteration was closed without a node that was in the round."""

    round: int
    iteration: int
    node: int


@dataclass(frozen=True)
class NodeOut(Event):
    """A node is out of the round from an iteration on."""

    round: int
    iteration: int
    node: int
    proved: bool  # false by evidence; else it was missing too often


@dataclass(frozen=True)
class RoundEnded(Event):
    """A round has ended."""

    round: int
    phase: str  # converged, exhausted, abandoned
    iterations: int


@dataclass(frozen=True)
class Planned(Event):
    """A node's schedule is certain: before trades are settled, which may fail."""

    schedule: Mapping[str, npt.NDArray[np.float64]]  # kW, kvar or kWh by name, (T,) each
    agreed: bool  # else it is what the household does with its supplier alone
