"""What every mechanism answers with: plans, trades, and how it came to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from gridpact.community.model import Array


@dataclass(frozen=True)
class Trade:
    """One bilateral trade in one time step."""

    seller: int
    buyer: int
    step: int
    energy_kwh: float
    price_per_kwh: float

    @property
    def amount(self) -> float:
        """What the buyer pays the seller, currency."""
        return self.energy_kwh * self.price_per_kwh

    @staticmethod
    def stated(lower: int, higher: int, step: int, energy_wh: int, price_micro: int) -> Trade:
        """From a statement as both partners make it: Wh, positive where the lower node sells, and 1e-6 currency/kWh."""
        seller, buyer = (lower, higher) if energy_wh > 0 else (higher, lower)
        return Trade(seller, buyer, step, abs(energy_wh) / 1000, price_micro / 1e6)


Statement = TypeVar("Statement")


def stated_alike(stated: Mapping[tuple[int, int], Statement]) -> dict[tuple[int, int], Statement]:
    """What both sides of a pair state alike, which is what a settlement records, by the lower and the higher node.

    Args:
        stated: by who states it and with whom, of both sides.
    """
    return {
        (node, partner): statement
        for (node, partner), statement in stated.items()
        if node < partner and (partner, node) in stated and stated[partner, node] == statement
    }


@dataclass(frozen=True)
class Convergence:
    """RMS residuals per coupled scalar, by iteration, shape (iterations,), and the limits they were judged by.

    `primal_w`, `dual_w`: over the network's copies (W, var; V in 2e-5 p.u. squared) and over the bids (W).
    A scenario without the one or the other has zeros there. The residuals of the last iteration are not on the chain.
    """

    primal_grid_w: Array
    dual_grid_w: Array
    primal_trade_w: Array
    dual_trade_w: Array
    limits_w: tuple[float, float, float, float]  # in the same order

    @staticmethod
    def of(rms_w: Sequence[Sequence[float]], limits_w: tuple[float, float, float, float]) -> Convergence:
        """From the four residuals of every iteration, (iterations, 4)."""
        columns = np.array(rms_w, dtype=float).reshape(-1, 4).T
        return Convergence(columns[0], columns[1], columns[2], columns[3], limits_w)

    @property
    def curves(self) -> tuple[Array, Array, Array, Array]:
        """In the order of the limits."""
        return self.primal_grid_w, self.dual_grid_w, self.primal_trade_w, self.dual_trade_w


@dataclass(frozen=True)
class Agreement:
    """What a community agreed on for a day."""

    plans: Mapping[int, Mapping[str, Array]]
    """By node of a household, (T,) each: injection_kw, injection_kvar, and what its devices do."""
    trades: tuple[Trade, ...] = ()
    rounds: int = 1  # how often all were asked
    messages: int = 0  # numbers that went from a household to the others or back
    reached: bool = True  # else the rounds ended before all were content
    balanced: bool = True  # whether the two sides of every trade state the same
    relaxation_gap: float = 0.0  # of what was solved on the way, p.u. on 100 kVA
    convergence: Convergence | None = None  # where agreement is come to step by step
