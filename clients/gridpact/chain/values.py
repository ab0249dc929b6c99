"""What the contracts hold and say, as plain values. Other rooms may import this module: it knows no web3."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum

from gridpact.events import Event
from gridpact.limits import MOST_NODES

RESIDUAL_BITS = 64
RESIDUAL_LIMIT = 2**56
"""A node's partial residual must stay below this (resolution units squared)."""

RESIDUAL_LANE = 2**64
"""What a lane can hold: the sum over 128 nodes, and what a node says in the first iteration, when nobody checks it."""

WHOLE = 100
"""Percent: a round ends within the limits of theta."""

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
    max_misses: int  # iterations that a node may miss before it is out


@dataclass(frozen=True)
class Progress(Event):
    """Where a round stands."""

    round: int
    iteration: int
    phase: Phase
    deadline: int  # unix time
    counter: int
    expected: int  # the counter that completes the phase
    history: int  # the last two bytes of the head that the open iteration follows
    present: frozenset[int]

    @property
    def place(self) -> tuple[int, Phase, int]:
        """What only grows, unless the chain is taken back: round, phase, iteration."""
        return self.round, self.phase, self.iteration

    @property
    def closed(self) -> int:
        """How many iterations of the round are closed."""
        ended = self.phase in (Phase.CONVERGED, Phase.EXHAUSTED)
        return self.iteration if ended else max(self.iteration - 1, 0)

    def is_earlier_than(self, before: Progress) -> bool:
        """Whether a chain that stood at `before` was taken back: to an earlier place, or to another history."""
        same = self.history == before.history and self.present >= before.present
        return self.place < before.place or (self.place == before.place and not same)


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
class DeclarationState:
    """What the aggregator keeps of a node's declaration; `round` is 0 where it never declared."""

    round: int
    parent: int
    depth: int
    bids: int
    children: frozenset[int]  # from the start of the round, those that are in it
    misses: int  # iterations that were closed without the node
    out: bool


@dataclass(frozen=True)
class Roster:
    """Who is in a round."""

    nodes: frozenset[int]
    active: frozenset[int]  # those that are not out
    lines: frozenset[int]  # those that are not roots: they have P and Q
    inner: frozenset[int]  # those of them that have children: they have V


@dataclass(frozen=True)
class Coupling:
    """The sums of one node's blocks in the open iteration, of the copies of those who are present."""

    iteration: int
    present: frozenset[int]
    sums: tuple[int, ...]  # words, in the order of the node's copies


@dataclass(frozen=True)
class Submission:
    """What a node submitted, but for its copies. The residuals are those of the iteration before."""

    node: int
    iteration: int
    residuals: Residuals
    bids: bytes
    commitment: bytes  # of the node, with this submission
    transaction: bytes  # hash: the copies stand in its calldata
    in_calldata: bool = False  # bids and residuals as well, and were not read yet


@dataclass(frozen=True)
class SignedSubmission:
    """A submission with its author's EIP-712 signature in EIP-2098 form: anybody may relay it."""

    node: int
    copies: tuple[int, ...]  # words
    bids: bytes
    residuals: Residuals
    r: bytes  # 32 bytes
    vs: bytes  # 32 bytes


@dataclass(frozen=True)
class ClosedIteration:
    """A closed iteration. The residuals are those of the iteration before."""

    iteration: int
    present: frozenset[int]
    residuals: Residuals
    sums: tuple[int, ...]  # words, all blocks in the order of `IVirtualAggregator`
    head: bytes  # of the round, with this iteration


Question = tuple[int, int]
"""The node that was asked, and the iteration that it was asked about."""


@dataclass(frozen=True)
class IterationLog:
    """What the chain's log tells of an iteration."""

    closed: ClosedIteration | None  # None while it is open
    submissions: Mapping[int, Submission]  # by node
    excluded: frozenset[int]  # nodes that went out in it
    proved: frozenset[int] = frozenset()  # those of them that were proved false
    asked: frozenset[Question] = frozenset()  # in it, of a sealed round
    answers: Mapping[Question, bytes] = field(default_factory=dict)

    @property
    def is_whole(self) -> bool:
        """Whether it is closed, and all is there that the contract counted."""
        return self.closed is not None and self.closed.present <= self.submissions.keys()


@dataclass(frozen=True)
class RoundOutcome:
    """How a round ended; `phase` is NONE while it has not."""

    phase: Phase
    iterations: int  # closed ones
    present: frozenset[int]  # in the last of them
    day: int  # the label with which the round was opened, yyyymmdd
    head: bytes  # the chain of the closed iterations


@dataclass(frozen=True)
class TradedStep:
    """One traded step of a pair: energy is positive where the lower node sells."""

    step: int
    energy_wh: int
    price_micro: int  # 1e-6 currency/kWh


@dataclass(frozen=True)
class TradeRecord(Event):
    """The recorded trades of a pair; `payment` in token units, positive from the higher to the lower node."""

    round: int
    lower: int
    higher: int
    payment: int
    trades: tuple[TradedStep, ...]


@dataclass(frozen=True)
class Balance:
    """What an account has in the settlement contract, and outside of it; token units."""

    free: int  # can be withdrawn
    locked: int  # held by statements
    arrears: int  # owed to the supplier
    outside: int  # not deposited


@dataclass(frozen=True)
class Stated:
    """What a node states about its trades with a partner."""

    round: int
    node: int
    partner: int
    statement: bytes  # hash of the trades; empty where it states nothing
    locked: int  # token units
    deadline: int  # unix time from which the lock can be released; 0 where nothing is locked


@dataclass(frozen=True)
class SignedReading:
    """What a household's meter read in a round, with the metering account's signature in EIP-2098 form."""

    round: int
    node: int
    energies_wh: tuple[int, ...]  # fed into the grid (negative: drawn from it), one a step
    r: bytes  # 32 bytes
    vs: bytes  # 32 bytes


@dataclass(frozen=True)
class Delivery(Event):
    """How a reading was settled with the supplier; token units."""

    round: int
    node: int
    payment: int  # positive from the supplier to the household
    arrears: int  # the part of a negative payment that the household could not pay
    energies_wh: tuple[int, ...]


def nodes_to_bitmap(nodes: Iterable[int]) -> int:
    """Bit i is set for node i."""
    bitmap = 0
    for node in nodes:
        if not 0 <= node < MOST_NODES:
            raise ValueError(f"node {node} is outside 0 to {MOST_NODES - 1}")
        bitmap |= 1 << node
    return bitmap


def bitmap_to_nodes(bitmap: int) -> frozenset[int]:
    """The nodes whose bit is set."""
    return frozenset(node for node in range(bitmap.bit_length()) if bitmap >> node & 1)


def pack_residuals(residuals: Residuals, limit: int = RESIDUAL_LIMIT) -> int:
    """Four 64-bit lanes, the first in the most significant."""
    word = 0
    for value in residuals:
        if not 0 <= value < limit:
            raise ValueError(f"residual {value} is outside 0 to 2^{limit.bit_length() - 1} - 1")
        word = word << RESIDUAL_BITS | value
    return word


def unpack_residuals(word: int) -> Residuals:
    """The inverse of `pack_residuals`, for sums over all nodes as well."""
    mask = (1 << RESIDUAL_BITS) - 1
    first, second, third, fourth = (word >> RESIDUAL_BITS * lane & mask for lane in (3, 2, 1, 0))
    return first, second, third, fourth
