"""Residuals of one node in an iteration, eq. (17) a node: functions of public integers, as `IVirtualAggregator` has it.

Whoever reads the chain can compute everybody's, so a node that lies about its own can be proved false.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.market.admm.assembly import Assembly, Bids, Closing, Integers
from gridpact.market.admm.parameters import Resolution


@dataclass(frozen=True)
class Residuals:
    """Sums of squares in resolution units squared, of one node or of all: they add up."""

    primal_grid: int  # sum (x - z)^2
    dual_grid: int  # sum (z - z')^2, once a copy
    primal_trade: int  # sum (d_ij + d_ji)^2
    dual_trade: int  # sum (z_ij - z_ij')^2

    def as_tuple(self) -> tuple[int, int, int, int]:
        return self.primal_grid, self.dual_grid, self.primal_trade, self.dual_trade

    def __add__(self, other: Residuals) -> Residuals:
        return Residuals(
            self.primal_grid + other.primal_grid,
            self.dual_grid + other.dual_grid,
            self.primal_trade + other.primal_trade,
            self.dual_trade + other.dual_trade,
        )


NO_RESIDUALS = Residuals(0, 0, 0, 0)


def rms_w(squares: Sequence[int], scalars: tuple[int, int], resolution: Resolution) -> tuple[float, ...]:
    """RMS residuals per coupled scalar, W, from sums of squares in resolution units squared.

    Args:
        squares: r_grid, s_grid, r_trade, s_trade.
        scalars: number of copies of the network, and of bids.
    """
    grid, trade = (max(count, 1) for count in scalars)
    unit_w = 1000 * resolution.power_kw
    return tuple(unit_w * math.sqrt(s / n) for s, n in zip(squares, (grid, grid, trade, trade), strict=True))


def residuals_of(assembly: Assembly, node: int, copies: Integers, now: Closing, before: Closing | None) -> Residuals:
    """Residuals of a node for an iteration.

    z of a block is the average of its copies, z_ij = (d_ij - d_ji)/2; each counts where both sides were present, and
    the change is from zero where it did not count in the iteration before.

    Args:
        copies: the node's submission, (blocks, T); not read where it was not present.
        now, before: the iteration and the one before it; None where there is none.
    """
    primal, dual = _trade_squares(assembly.bids(now, node), None if before is None else assembly.bids(before, node))
    return Residuals(
        *grid_residuals(assembly, node, copies, now, before), int(np.sum(primal)), _divided_up(int(np.sum(dual)), 4)
    )


def grid_residuals(
    assembly: Assembly, node: int, copies: Integers, now: Closing, before: Closing | None
) -> tuple[int, int]:
    """Primal and dual residual of the network agreement, see `residuals_of`."""
    mine = assembly.blocks(node)
    if node not in now.present or not mine:
        return 0, 0
    count, total = assembly.counts(node, now.present)[:, None], assembly.sums(now, node)
    count_before, total_before = np.ones_like(count), np.zeros_like(total)
    if before is not None and node in before.present:
        counted = assembly.counts(node, before.present)[:, None]
        shared = counted >= 2
        count_before = np.where(shared, counted, 1)
        total_before = np.where(shared, assembly.sums(before, node), 0)
    shared = count >= 2
    primal = np.where(shared, count * copies - total, 0)
    dual = np.where(shared, count_before * total - count * total_before, 0)
    return _quotients(primal, count**2), _quotients(dual, (count * count_before) ** 2)


def trade_residuals(assembly: Assembly, now: Closing, before: Closing | None) -> dict[int, tuple[int, int]]:
    """Primal and dual residual of the trades, see `residuals_of`, of all nodes: from the bids alone."""
    squares = _trade_squares(assembly.bids(now), None if before is None else assembly.bids(before))
    primal, dual = map(assembly.by_node, squares)
    return {node: (primal[node], _divided_up(dual[node], 4)) for node in primal}


def pair_squares(assembly: Assembly, node: int, partner: int, now: Closing, before: Closing | None) -> tuple[int, int]:
    """What a pair adds to the primal residual of the trades of each of the two, and four times what it adds to the
    dual."""
    part = assembly.part(node, partner)
    primal, dual = _trade_squares(
        assembly.bids(now, node)[part], None if before is None else assembly.bids(before, node)[part]
    )
    return int(np.sum(primal)), int(np.sum(dual))


def _trade_squares(now: Bids, before: Bids | None) -> tuple[Integers, Integers]:
    """What the primal residual adds up, and four times what the dual does, (bids,) each."""
    change = now.agreed if before is None else now.agreed - before.agreed
    return now.mismatch**2, np.where(now.counted, change, 0) ** 2


def _quotients(values: Integers, divisors: Integers) -> int:
    """Sum over the blocks of their sums of squares, (blocks, T), each over its divisor, (blocks, 1), and rounded up."""
    squares = np.sum(values**2, axis=1, keepdims=True)
    return int(np.sum(-(-squares // divisors)))


def _divided_up(numerator: int, denominator: int) -> int:
    """Rounded up: no residual is reported smaller than it is."""
    return -(-numerator // denominator)
