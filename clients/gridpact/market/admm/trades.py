"""Agreement on bilateral trades: consensus z_ij and price xi_ij of one household, eqs. (20), (21) and (24a).

z_ij = (d_ij - d_ji)/2 and xi_ij <- xi_ij - phi/2 (d_ij + d_ji), over-relaxed. Both partners compute z and xi from the
same public integers by the same operations, so their trades cancel and their prices are equal to the last bit. Where
one of them was absent, z and xi stay as they were.

What is left of the mismatch after some iterations is common to all pairs of a step: more is offered than wanted there,
and each pair sees only its small share of it. So all households also see the sum. That D_i = sum_j d_ij adds up to zero
over the community follows from the pairs' agreements; as a constraint of its own, in the exchange form of ADMM, it
moves the prices of all pairs together: lambda is its price, m_i is D_i less the average of all D. A trade is paid at
xi - lambda.

Arrays over bids have shape (bids,): partners ascending, then steps.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from gridpact.community.model import Array
from gridpact.market.admm.assembly import Bids, Integers, Mask
from gridpact.market.admm.parameters import Penalties, Resolution
from gridpact.market.admm.reach import ANY_NET, BIDS_THAT_FIT, PART_OF_ONE, Bounds
from gridpact.problem.view import NodeView

WATT_HOUR = 3_600_000  # mW s

LEAST_CHANGE_WH = 1000
"""Changes of what was agreed before, of a pair over all steps, below which neither side states any: settling them costs
more than they are worth, and the pool after delivery shares what they would have moved."""


class Trades:
    """State of a household's trades in a round.

    Attributes:
        steps: the time step of every bid, (bids,).
        value: consensus z_ij, kW, positive where this household sells.
        price: xi_ij, currency/kW over one step; the price per kWh is xi / dt. It starts half way
            between the lowest and the highest price that the pair's own suppliers leave, which both partners know.
        within: these prices, (bids,); whoever has none to a partner at a step bids nothing there, see `Agent`.
        agreed: d_ij - d_ji of the last iteration, twice the agreed trade in resolution units.
        pool_price: lambda, currency/kW over one step, (T,): the same at all nodes.
        pool_value: m, kW, (T,).
        held_kw: what was agreed before, (bids,): bids, and what is stated, are changes of that.
    """

    def __init__(self, view: NodeView, penalties: Penalties, resolution: Resolution) -> None:
        self.view = view
        self.steps = bid_steps(view)
        self._usual = penalties
        self.penalise(1.0)
        self.unit = resolution.power_kw
        self.held_kw: Array = np.zeros(view.bid_count)
        self._held_by_step: Array = np.zeros(view.steps)  # what that adds up to, kW; over all households to nothing
        self._changes = False  # whether bids are changes of that
        self.value: Array = np.zeros(view.bid_count)
        self.agreed: Integers = np.zeros(view.bid_count, dtype=np.int64)
        self.within = view.price_range()
        self.price: Array = view.step_hours * ((self.within.high + self.within.low) / 2)
        self._room = self._beyond_suppliers()
        self.pool_price: Array = np.zeros(view.steps)
        self.pool_value: Array = np.zeros(view.steps)

    def _beyond_suppliers(self) -> Array:
        """How far beyond what the two suppliers leave a price may be for the household to plan with it, currency/kWh,
        (bids,): its coefficient and the fee on trades, by which prices of an optimum are beyond. What is stated is not
        beyond, so with any other it would plan trades at a price that nobody pays. With a partner of its own supplier
        there is nothing to keep: no price of an optimum is beyond, and who is paid what is stated loses nothing by it.
        """
        room, prices = [np.zeros(0)], self.view.prices
        for partner in self.view.partners:
            fee = np.zeros(self.view.steps) if prices.trade_fee is None else prices.trade_fee
            own = partner.coefficient + fee[list(partner.steps)]
            room.append(np.full(len(own), np.inf) if partner.within is None else own)
        return np.concatenate(room)

    def penalise(self, times: float) -> None:
        """Sets phi, and with it the penalty on sums, from now on; of prices nothing is changed.

        Args:
            times: what theta has.
        """
        self.times = times
        self.phi, self.pool_penalty = times * self._usual.phi, times * self._usual.pool

    @property
    def has_prices(self) -> Mask:
        """Whether there is a price that suits both, (bids,)."""
        suits: Mask = self.within.low <= self.within.high
        return suits

    @property
    def paid_price(self) -> Array:
        """xi - lambda, what a trade is paid at, currency/kW over one step, (bids,)."""
        return self.price - self.pool_price[self.steps]

    @property
    def stated_micro(self) -> Integers:
        """The same as it is stated, 1e-6 currency/kWh, (bids,): none is beyond what the suppliers of the two leave,
        also where the round ended with one."""
        kept = np.clip(self.paid_price / self.view.step_hours, self.within.low, self.within.high)
        micro: Integers = np.rint(kept * 1e6).astype(np.int64)
        return micro

    @property
    def energies_wh(self) -> Integers:
        """The agreed trades as they are recorded, to the nearest Wh, halves away from zero, (bids,): nothing with a
        partner with whom no price suits both at any step; changes of those pairs only that have at least
        `LEAST_CHANGE_WH`, which both partners find alike."""
        twice = self.agreed * (round(self.unit * 1e6) * round(self.view.step_hours * 3600))  # mW s
        nearest: Integers = np.sign(twice) * ((np.abs(twice) + WATT_HOUR) // (2 * WATT_HOUR))
        pair = np.repeat(np.arange(len(self.view.partners)), [len(partner.steps) for partner in self.view.partners])
        nearest = np.where((np.bincount(pair, self.has_prices, len(self.view.partners)) > 0)[pair], nearest, 0)
        if not self._changes:
            return nearest
        moved = np.bincount(pair, np.abs(nearest), len(self.view.partners))
        stated: Integers = np.where(moved[pair] >= LEAST_CHANGE_WH, nearest, 0)
        return stated

    @property
    def recorded_kw(self) -> Array:
        """The power of these trades, with what was agreed before, kW, (bids,)."""
        return self.held_kw + self.energies_wh / (1000 * self.view.step_hours)

    def linear(self) -> Array:
        """b = -xi - phi z, the linear term of the x-step: with a partner of another supplier at no price that is
        further from what is stated than trading costs the household itself, see `_beyond_suppliers`."""
        pool, dt = self.pool_price[self.steps], self.view.step_hours
        low, high = self.within.low - self._room, self.within.high + self._room
        return -np.clip(self.price, pool + dt * low, pool + dt * high) - self.phi * self.value

    def pool_linear(self) -> Array:
        """c = lambda - pool m, that of the sums of trades, (T,)."""
        return self.pool_price - self.pool_penalty * self.pool_value

    def to_integers(self, bids_kw: Array, bounds: Bounds = BIDS_THAT_FIT, net: Bounds = ANY_NET) -> Integers:
        """Bids in resolution units, to the nearest that is within bounds: what goes on the chain.

        Args:
            bounds: what is within reach; without them what fits.
            net: of their sum at every step, (T,). Beyond it, what is bought or what is sold is less in proportion, as
                far as less is within bounds.
        """
        bids = bounds.nearest((bids_kw - self.held_kw) / self.unit)
        steps, count = self.steps, self.view.steps
        sold = np.bincount(steps, np.maximum(bids, 0).astype(float), count)
        bought = np.bincount(steps, np.maximum(-bids, 0).astype(float), count)
        of_sold = PART_OF_ONE.clip((net.high + bought) / np.maximum(sold, 1))
        of_bought = PART_OF_ONE.clip((sold - net.low) / np.maximum(bought, 1))
        less = np.trunc(bids * np.where(bids > 0, of_sold[steps], of_bought[steps])).astype(np.int64)
        within: Integers = bounds.clip(less)
        return within

    def update(self, bids: Bids, relaxation: float) -> None:
        """Takes in the bids of a closed iteration in which this household was present.

        Args:
            bids: its own and the partners' to it.
            relaxation: alpha of the iteration, the same for all households, see `relaxation_at`.
        """
        before = self.value
        self.agreed = np.where(bids.counted, bids.agreed, self.agreed)
        value = relaxation * (self.held_kw + self.agreed / 2 * self.unit) + (1 - relaxation) * before
        self.value = np.where(bids.counted, value, before)
        self.price = self.price - self.phi * relaxation / 2 * (bids.mismatch * self.unit)  # (24a)

    def balance(self, own: Integers | None, total: Integers, households: Integers, relaxation: float) -> None:
        """Takes in what the trades of a closed iteration add up to, by step, (T,) each.

        Args:
            own: sum of the bids of this household that counted; None where it was absent.
            total: that of all households.
            households: how many had a bid that counted.
            relaxation: alpha of the iteration.
        """
        mean = total / np.maximum(households, 1) * self.unit
        self.pool_price = self.pool_price + self.pool_penalty * relaxation * mean
        if own is not None:
            traded = own * self.unit + self._held_by_step
            self.pool_value = relaxation * (traded - mean) + (1 - relaxation) * self.pool_value

    def hold(self, energies_wh: Mapping[tuple[int, int], int]) -> None:
        """Bids are changes of what was recorded before, and begin with none.

        Args:
            energies_wh: by partner and step of the day, positive where this household sells.
        """
        view = self.view
        held = [energies_wh.get((p.node, view.first + step), 0) for p in view.partners for step in p.steps]
        self.held_kw, self._changes = np.array(held, dtype=float) / (1000 * view.step_hours), True
        self._held_by_step = np.bincount(self.steps, self.held_kw, view.steps).astype(float)
        self.agreed = np.zeros(view.bid_count, dtype=np.int64)

    def keep_between_tariffs(self) -> None:
        """Keeps what a trade is paid at between feed-in and import price, where every price ends between households
        that have both: else one that wants more and more would drive it anywhere."""
        pool, dt = self.pool_price[self.steps], self.view.step_hours
        self.price = np.clip(self.price, pool + dt * self.within.low, pool + dt * self.within.high)

    def resume(self, before: Trades, first: int) -> None:
        """Goes on where a negotiation stood whose steps from one on are these, with the same partners."""
        later = before.steps >= first
        self.value, self.price, self.agreed = before.value[later], before.price[later], before.agreed[later]
        self.pool_price, self.pool_value = before.pool_price[first:], before.pool_value[first:]

    def statements(self) -> dict[int, list[tuple[int, int, int]]]:
        """What to state about the agreed trades, by partner: (step, energy in Wh, price in 1e-6 currency/kWh).

        Both partners get the same integers. Energy is positive where the lower node sells; there is no entry where it
        is zero.
        """
        view = self.view
        partners = [partner.node for partner in view.partners for _ in partner.steps]
        steps = (view.first + self.steps).tolist()
        result: dict[int, list[tuple[int, int, int]]] = {}
        energies = self.energies_wh.tolist()
        for partner, step, energy, price in zip(partners, steps, energies, self.stated_micro.tolist(), strict=True):
            if energy:
                result.setdefault(partner, []).append((step, energy if view.node < partner else -energy, price))
        return result


def bid_steps(view: NodeView) -> Integers:
    """The time step of every bid, (bids,)."""
    return np.array([step for partner in view.partners for step in partner.steps], dtype=np.int64)
