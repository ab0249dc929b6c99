"""What the contracts hold and say, as plain values. Other rooms may import this module: it knows no web3."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntEnum

RESIDUAL_BITS = 64
RESIDUAL_LIMIT = 2**56
"""A node's partial residual must stay below this (resolution units squared)."""

Residuals = tuple[int, int, int, int]
"""r_grid, s_grid, r_trade, s_trade: sums of squares, resolution units squared."""


class Phase(IntEnum):
    """Phases of a round, in the contract's order. The last three are final."""

    NONE = 0
    DECLARING = 1
    ITERATING = 2
    CONVERGED = 3
    EXHAUSTED = 4
    ABANDONED = 5

    @property
    def is_final(self) -> bool:
        return self >= Phase.CONVERGED

    @property
    def is_running(self) -> bool:
        return self in (Phase.DECLARING, Phase.ITERATING)


@dataclass(frozen=True)
class Theta:
    """theta of the report, in its order. Units as in `IVirtualAggregator.Theta`."""

    n: int
    rho: int  # 1e-9 currency/kW^2
    phi: int  # 1e-9 currency/kW^2
    eps_primal_grid: int  # 1/1000 resolution unit, RMS
    eps_dual_grid: int
    eps_primal_trade: int
    eps_dual_trade: int
    mu: int  # iterations


@dataclass(frozen=True)
class Setting:
    """What theta leaves open. Units as in `IVirtualAggregator.Setting`."""

    steps: int
    step_seconds: int
    power_resolution_milliwatt: int
    voltage_resolution: int  # 1e-6 p.u. squared
    phase_seconds: int


@dataclass(frozen=True)
class Progress:
    """Where a round stands."""

    round: int
    iteration: int
    phase: Phase
    deadline: int  # unix time
    counter: int
    present: frozenset[int]


@dataclass(frozen=True)
class Declaration:
    """What a node declared for a round, and the book that tells what its bids refer to."""

    node: int
    parent: int
    children: frozenset[int]
    depth: int
    bids: int
    book: bytes


@dataclass(frozen=True)
class Coupling:
    """The sums of one node's blocks in the last closed iteration; `iteration` is 0 before the first."""

    iteration: int
    present: frozenset[int]
    sums: tuple[int, ...]


@dataclass(frozen=True)
class Submission:
    """What a node submitted beside its copies. The residuals are those of the iteration before."""

    residuals: Residuals
    bids: bytes


@dataclass(frozen=True)
class ClosedIteration:
    """A closed iteration. The residuals are those of the iteration before."""

    iteration: int
    present: frozenset[int]
    residuals: Residuals


@dataclass(frozen=True)
class Outcome:
    """How a round ended; `phase` is NONE while it has not."""

    phase: Phase
    iterations: int
    present: frozenset[int]


@dataclass(frozen=True)
class Trade:
    """One traded step of a pair: energy is positive where the lower node sells."""

    step: int
    energy_wh: int
    price_micro: int  # 1e-6 currency/kWh


@dataclass(frozen=True)
class TradeRecord:
    """The recorded trades of a pair; `payment` in token units, positive from the higher to the lower node."""

    round: int
    lower: int
    higher: int
    payment: int
    trades: tuple[Trade, ...]


def nodes_to_bitmap(nodes: Iterable[int]) -> int:
    """Bit i is set for node i."""
    bitmap = 0
    for node in nodes:
        if not 0 <= node < 128:
            raise ValueError(f"node {node} is outside 0 to 127")
        bitmap |= 1 << node
    return bitmap


def bitmap_to_nodes(bitmap: int) -> frozenset[int]:
    """The nodes whose bit is set."""
    return frozenset(node for node in range(bitmap.bit_length()) if bitmap >> node & 1)


def pack_residuals(residuals: Residuals) -> int:
    """Four 64-bit lanes, the first in the most significant."""
    word = 0
    for value in residuals:
        if not 0 <= value < RESIDUAL_LIMIT:
            raise ValueError(f"residual {value} is outside 0 to 2^56 - 1")
        word = word << RESIDUAL_BITS | value
    return word


def unpack_residuals(word: int) -> Residuals:
    """The inverse of `pack_residuals`, for sums over all nodes as well."""
    mask = (1 << RESIDUAL_BITS) - 1
    first, second, third, fourth = (word >> shift & mask for shift in (192, 128, 64, 0))
    return first, second, third, fourth
