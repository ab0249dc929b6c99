"""All markets of a day as one problem of all devices.

Each market for energy has a *sheet*, a plan of all devices for the whole day, in the order in which they close: what is
bought up to then. What the last one says is done. So nothing is sold, up to any gate, that devices and feeder could not
deliver. With reserves each block of hours has a sheet of its own: called from the block's first step on until its last,
as much more into the feeder as was sold and is held back, before it as planned, and the day ends as devices ask. With
net imports m_k of markets k = 1..K at prices p_k, and reserves r_b at prices w_b,

    minimise  sum_k p_k (m_k - m_{k-1}) - sum_b w_b r_b,    m_0 = 0.

Sheets stand behind each other on one axis of steps, those of a call from its first step on, so that the loop of `plan`
mends all of them at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np

from gridpact.aggregator.plan import until_carried
from gridpact.aggregator.portfolio import REACTIVE_PART, Cuts, Near, Position, solved_within
from gridpact.community.model import Array, CommunityDay, Household, Prices
from gridpact.community.street import PhaseFeeder
from gridpact.devices.device import flat
from gridpact.problem.constraints import supply_contract
from gridpact.problem.directions import Directions, chosen
from gridpact.problem.meter import behind_meter

FIRST = 100.0
"""What a kW that cannot be held back costs, in the highest price of a kWh: more than all energy that it moves."""

FURTHER = 2
"""How often a solution that the feeder carries is optimised once more within it."""

EQUALS = 1e-4
"""Of the mean import price, what a kWh costs that a called sheet takes: among equal ones, one that wastes nothing."""


@dataclass(frozen=True, eq=False)
class Goal:
    """What the offers of a day are made for."""

    prices: tuple[Array, ...]
    """Of the markets for energy in the order in which they close, (T,), currency a kWh."""
    bill: Prices | None = None  # what is taken is paid at this contract besides
    reserve: Array | None = None  # w, currency a kW and hour, by block; None: nobody buys any
    held_kw: Array | None = None  # by block, what is held back before anything is sold; None: nothing


@dataclass(frozen=True, eq=False)
class Sold:
    """A solution."""

    import_kw: tuple[Array, ...]  # of all together, by market for energy, (T,)
    done: Position  # what the last one says, (n, T)
    reserve_kw: Array  # by block
    short_kw: Array  # by block, of what is to be held back
    violations: int = 0  # that the loop has left


@dataclass(frozen=True, eq=False)
class _Sheets(Position):
    """All sheets behind each other, (n, ...)."""

    sold: Sold | None = None


class AllMarkets:
    """A day's problem, built and solved for each set of cuts.

    Args:
        blocks: first step and step after the last of each time that a reserve is sold for.
    """

    def __init__(self, community: CommunityDay, goal: Goal, blocks: Sequence[tuple[int, int]]) -> None:
        self._community, self._goal = community, goal
        self._count = len(blocks)
        self._held = np.zeros(self._count) if goal.held_kw is None else goal.held_kw
        self._called = [
            (block, steps) for block, steps in enumerate(blocks) if goal.reserve is not None or self._held[block] > 0
        ]
        # A kWh in a sheet is worth the difference to the next market.
        later = [*goal.prices[1:], np.zeros(community.steps)]
        self._worth = [now - after for now, after in zip(goal.prices, later, strict=True)]
        homes, dt = community.households, community.step_hours
        self._meters = [[behind_meter(home, dt) for home in homes] for _ in range(len(self._worth) + len(self._called))]
        self._directed = [  # by sheet and home, kept from one solution to the next
            [self._alone(sheet, home, len(meter.opposed)) for home, meter in zip(homes, row, strict=True)]
            for sheet, row in enumerate(self._meters)
        ]

    def sold(self, feeder: PhaseFeeder | None = None) -> tuple[Sold, Sold]:
        """Without the feeder, and with it; without one the same twice.

        Raises:
            InfeasibleError, SolverError: a home has no plan, or the solver failed.
        """
        first = self._solved(None, None)
        assert first.sold is not None
        if feeder is None:
            return first.sold, first.sold
        mended = until_carried(self._community, feeder, first, self._solved, FURTHER)
        assert isinstance(mended.position, _Sheets)
        assert mended.position.sold is not None
        return first.sold, replace(mended.position.sold, violations=mended.after.count)

    def _solved(self, cuts: Cuts | None, near: Near | None) -> _Sheets:
        while True:
            position, decided = self._once(cuts, near)
            if all(more is None for row in decided for more in row):
                return position
            self._directed = [
                [one if more is None else more for one, more in zip(*rows, strict=True)]
                for rows in zip(self._directed, decided, strict=True)
            ]

    def _alone(self, sheet: int, home: Household, pairs: int) -> Directions:
        """Best for the home alone: what is worth the same to all is."""
        if sheet >= len(self._worth):
            return Directions(np.zeros((pairs, home.steps)))
        worth = self._worth[sheet]
        prices = self._goal.bill or Prices(worth, own_feed_in_price=worth)
        return chosen(home, prices, self._community.step_hours, pairs)

    def _once(self, cuts: Cuts | None, near: Near | None) -> tuple[_Sheets, list[list[Directions | None]]]:
        meters, goal, dt, steps = self._meters, self._goal, self._community.step_hours, self._community.steps
        mean = self._community.prices.mean_import
        constraints = [c for row in meters for meter in row for c in flat(meter.constraints)]
        for given, row in zip(self._directed, meters, strict=True):
            for one, meter in zip(given, row, strict=True):
                constraints += flat(one.constraints(meter.opposed))
        trades = len(self._worth)
        begins = [0] * trades + [first for _, (first, _) in self._called]
        ends = np.cumsum([steps - first for first in begins]).tolist()
        # Variables of their own, so that cuts have one element for each agent, however many devices it has.
        kw, kvar = (cp.Variable((len(meters[0]), ends[-1])) for _ in range(2))
        active = [cp.vstack([meter.injection_kw for meter in row]) for row in meters]
        reactive = [cp.vstack([meter.injection_kvar for meter in row]) for row in meters]
        for whole, sheets in ((kw, active), (kvar, reactive)):
            of = [sheet[:, first:] for sheet, first in zip(sheets, begins, strict=True)]
            constraints.append(whole == cp.hstack(of))
        given_kw = [cp.sum(sheet, axis=0) for sheet in active]
        cost: cp.Expression = sum((meter.cost for meter in meters[trades - 1]), cp.Constant(0.0))
        for worth, given in zip(self._worth, given_kw[:trades], strict=True):
            cost -= dt * (worth @ given)
        if goal.bill is not None:
            contract = supply_contract(goal.bill, dt)
            constraints.append(contract.net_import + given_kw[trades - 1] == 0)
            cost += contract.cost
        reserve, short = cp.Variable(self._count, nonneg=True), cp.Variable(self._count, nonneg=True)
        held = self._held
        highest = max(float(np.abs(price).max()) for price in (*goal.prices, self._community.prices.import_price))
        constraints.append(short <= held)
        for sheet, (block, (first, last)) in enumerate(self._called, trades):
            more = reserve[block] + held[block] - short[block]
            constraints.append(given_kw[sheet][first:last] >= given_kw[trades - 1][first:last] + more)
            if first:
                constraints.append(active[sheet][:, :first] == active[trades - 1][:, :first])
            cost += FIRST * highest * short[block] - EQUALS * mean * dt * cp.sum(given_kw[sheet])
            if goal.reserve is not None:
                cost -= (last - first) * dt * goal.reserve[block] * reserve[block]
        if goal.reserve is None:
            constraints.append(reserve == 0)
        cost += REACTIVE_PART * mean * dt * cp.sum(cp.abs(kvar))
        if near is not None:
            cost += near.cost(kw, kvar, mean * dt)
        whose = f"the portfolio of '{self._community.name}' on {self._community.day}"
        hold = solved_within(cost, constraints, cuts, kw, kvar, mean, whose)
        decided = [
            [
                one.after([(pair.one.value, pair.other.value) for pair in meter.opposed])
                for one, meter in zip(given, row, strict=True)
            ]
            for given, row in zip(self._directed, meters, strict=True)
        ]
        done = slice(ends[trades - 1] - steps, ends[trades - 1])
        values = np.array(kw.value), np.array(kvar.value)
        sold = Sold(
            tuple(-values[0][:, end - steps : end].sum(axis=0) for end in ends[:trades]),
            Position(values[0][:, done], values[1][:, done], np.zeros((len(meters[0]), steps)), hold),
            np.maximum(reserve.value, 0.0),
            np.maximum(short.value, 0.0),
        )
        return _Sheets(*values, np.zeros_like(values[0]), hold, sold), decided
