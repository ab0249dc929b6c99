"""Agreement on bilateral trades: consensus z_ij and price xi_ij of one household, eqs. (20), (21) and (24a).

z_ij = (d_ij - d_ji)/2 and xi_ij <- xi_ij - phi/2 (d_ij + d_ji), over-relaxed until little more than rounding is left:
where a household is indifferent, over-relaxation keeps a mismatch of four units going round for ever. Both partners
compute z and xi from the same public integers by the same operations, so their trades cancel and their prices are
equal to the last bit.

Arrays over bids have shape (bids,): partners ascending, then steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridpact.admm.consensus import Integers, squares
from gridpact.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.community.model import Array
from gridpact.market.view import NodeView

ROUNDING_UNITS = 5
"""RMS mismatch, in resolution units, below which rounding may be what is left."""


class Trades:
    """State of a household's trades in a round.

    Attributes:
        value: consensus z_ij, kW, positive where this household sells.
        price: xi_ij, currency/kW over one step; the price per kWh is xi / dt. It starts at 0.75 kappa, between
            feed-in and import, which both partners know.
        agreed: d_ij - d_ji of the last iteration, twice the agreed trade in resolution units.
    """

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self.phi = penalties.phi
        self.unit = resolution.power_kw
        self.value: Array = np.zeros(view.bid_count)
        self.agreed: Integers = np.zeros(view.bid_count, dtype=np.int64)
        self.price: Array = 0.75 * view.step_hours * view.prices.import_price[bid_steps(view)]

    def linear(self) -> Array:
        """b = -xi - phi z, the linear term of the x-step."""
        return -self.price - self.phi * self.value

    def to_integers(self, bids_kw: Array) -> Integers:
        """Bids in resolution units, rounded to the nearest: what goes on the chain."""
        return np.rint(bids_kw / self.unit).astype(np.int64)

    def update(self, own: Integers, theirs: Integers, relaxation: float) -> tuple[int, int]:
        """Takes in the partners' bids, d_ji for each own d_ij.

        Args:
            relaxation: alpha, the same for all households, see `relaxation_at`.

        Returns:
            The household's partial residuals: primal sum (d_ij + d_ji)^2 and dual sum (z_ij - z_ij_prev)^2, in
            resolution units squared.
        """
        before = self.value
        mismatch = own + theirs
        self.agreed = own - theirs
        self.value = relaxation * (self.agreed / 2 * self.unit) + (1 - relaxation) * before
        self.price = self.price - self.phi * relaxation / 2 * (mismatch * self.unit)  # (24a)
        return squares(mismatch), squares((self.value - before) / self.unit)

    def statements(self) -> dict[int, list[tuple[int, int, int]]]:
        """What to state about the agreed trades, by partner: (step, energy in Wh, price in 1e-6 currency/kWh).

        Both partners get the same integers. Energy is positive where the lower node sells, and truncated towards zero;
        trades of less than 1 Wh are not worth recording.
        """
        view = self.view
        milliwatt_seconds = round(self.unit * 1e6) * round(view.step_hours * 3600)  # of one unit
        prices = np.rint(self.price / view.step_hours * 1e6).astype(np.int64)
        partners = [partner.node for partner in view.partners for _ in partner.steps]
        steps = bid_steps(view).tolist()
        result: dict[int, list[tuple[int, int, int]]] = {}
        for partner, step, twice, price in zip(partners, steps, self.agreed.tolist(), prices.tolist(), strict=True):
            energy = abs(twice) * milliwatt_seconds // 7_200_000 * (1 if twice > 0 else -1)
            if energy:
                result.setdefault(partner, []).append((step, energy if view.node < partner else -energy, price))
        return result


def relaxation_at(iteration: int, primal_trade: int, scalars: int) -> float:
    """alpha of the trades in an iteration, from public figures, so that it is the same at all households.

    Args:
        primal_trade: sum of (d_ij + d_ji)^2 over all bids of the iteration before, in resolution units squared.
        scalars: number of bids of all households.
    """
    rounding = iteration > 1 and primal_trade <= ROUNDING_UNITS**2 * scalars
    return 1.0 if rounding else OVER_RELAXATION


def bid_steps(view: NodeView) -> Integers:
    """The time step of every bid, (bids,)."""
    return np.array([step for partner in view.partners for step in partner.steps], dtype=np.int64)


def partner_bids(view: NodeView, bids_to_me: Mapping[int, Integers]) -> Integers:
    """d_ji for each bid d_ij of a household, from the bids of each partner j to it."""
    return np.concatenate([np.zeros(0, dtype=np.int64), *(bids_to_me[partner.node] for partner in view.partners)])
