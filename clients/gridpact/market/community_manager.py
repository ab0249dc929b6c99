"""The community with a manager: one who knows no home's devices finds the price at which all of them fit together.

With p_n what member n's devices do, q_n what it trades inside and alpha_n, beta_n what it takes from and gives to the
outside, the thesis's (3.6)-(3.11) minimise sum C_n + G(q_imp, q_exp) subject to p_n + q_n + alpha_n - beta_n = 0,
sum q_n = 0, sum alpha_n = q_imp and sum beta_n = q_exp. Here G is the supplier's bill, and members ask nothing for
trading, so only the sum of their net injections x_n counts, and the problem is one of sharing (Boyd et al., 2011,
7.3):

    minimise sum_n C_n(x_n) + G(sum_n x_n),   G(z) = import [-z]+ - feed-in [z]+ at every step.

The manager tells all a price p of each step. Every member plans anew near where it stood, and tells what would pass its
meter; then the manager's step has a closed form, kept within the tariff:

    x_n <- argmin C_n(x) - (2 p - p_before) x + rho/2 |x - x_n|^2
    p   <- p - rho mean(x), at least feed-in, at most import.

It ends when nothing is left to find: at the manager's price what all members would pay without any penalty is a lower
bound of what the community can pay (the Lagrangian's dual). So at times each tells what it would gain by planning at
the price alone; with what the supplier takes beyond the price for what is left, these gains are how far all are from
that bound, and the round ends where they come to no more than `GAP_PPM`.

What members and manager tell each other are whole numbers, so a contract takes the manager's step to the last digit
(ICommunityPrice): energies in units of some mWh, prices in 1e-6 currency/kWh.

Members trade at the manager's price; the side with more is served in proportion, and the rest is dealt outside. It
knows no network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gridpact.limits import MOST_UNITS
from gridpact.market.admm.parameters import most_kw
from gridpact.market.agreement import Agreement, Trade
from gridpact.market.bids import MICRO
from gridpact.market.matching import in_proportion, joined
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.community.model import Array, CommunityDay, Prices
    from gridpact.market.prepared import Prepared
    from gridpact.problem.local import LocalProblem, LocalSolution, Point
    from gridpact.problem.view import NodeView

Units = NDArray[np.int64]
"""Net injections of steps, in units of energy."""

GAP_PPM, FLOOR = 400, 0.1
"""How far from the least that the community can pay it may end: a part of what it pays, or of that part of what passes
its meters at import prices when each plans alone, where that is more."""

PENALTY = 0.25
"""rho, in parts of the mean import price over what passes a meter (root mean square)."""

MOST_ROUNDS = 1000
WEIGH_EVERY = 5
"""Rounds in which members tell what they would gain: each plans twice in them."""

RHO_BITS = 32
"""Binary places of rho."""

NANO, MWH = 1e9, 1e6  # of a unit of currency, and of a kWh


@dataclass(frozen=True)
class ManagedTerms:
    """What a manager opens a round with."""

    feed_in_micro: tuple[int, ...]  # 1e-6 currency/kWh, by step
    import_micro: tuple[int, ...]
    unit_mwh: int  # energy of a unit
    rho: int  # 1e-6 currency/kWh for a unit, 2^-32
    base_nano: int  # what the gap is at least a part of, 1e-9 currency

    @staticmethod
    def of(community: CommunityDay, alone_kw: Array) -> ManagedTerms:
        """
        Args:
            alone_kw: everybody's net injections, as each plans on its own, (n, T).
        """
        hours = community.step_hours
        feed_in, imports = tariff_micro(community.prices)
        largest_kw = max(map(most_kw, community.households))
        unit_mwh = max(math.ceil(MWH * hours * largest_kw / (MOST_UNITS - 1)), 1)
        size_kw = max(float(np.sqrt(np.mean(alone_kw**2))), 1e-3)
        rho_micro = PENALTY * max(float(np.mean(np.abs(imports))), 1.0) / (size_kw * hours)  # for a kWh
        passes = hours * float(np.abs(imports) @ np.abs(alone_kw).sum(axis=0))
        rho = max(round(rho_micro * unit_mwh / MWH * 2**RHO_BITS), 1)
        return ManagedTerms(feed_in, imports, unit_mwh, rho, round(FLOOR * passes * NANO / MICRO))

    def units(self, net_kw: Array, step_hours: float) -> Units:
        """The nearest whole units of powers."""
        return np.rint(MWH * step_hours / self.unit_mwh * net_kw).astype(np.int64)

    def penalty(self, step_hours: float) -> float:
        """rho, currency / kW^2."""
        return self.rho * MWH / (2.0**RHO_BITS * MICRO * self.unit_mwh) * step_hours**2


def tariff_micro(prices: Prices) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """What feeding in earns, and importing costs beyond the fee on all that is drawn, 1e-6 currency/kWh by step."""
    feed_in, imports = (np.rint(MICRO * p).astype(int).tolist() for p in (prices.feed_in_price, prices.bought_price))
    return tuple(feed_in), tuple(imports)


class Manager:
    """What the manager knows, and its step: the model of the contract CommunityPrice."""

    def __init__(self, terms: ManagedTerms) -> None:
        self.terms = terms
        ends = list(zip(terms.feed_in_micro, terms.import_micro, strict=True))
        self.price_micro = [(feed_in + import_) >> 1 for feed_in, import_ in ends]
        self.before_micro = self.price_micro

    def step(self, sums: Sequence[int], count: int) -> None:
        """The next price.

        Args:
            sums: of what members told, units by step.
            count: how many they are.
        """
        terms, before = self.terms, self.price_micro
        whole = count << RHO_BITS
        moved = [abs(total) * terms.rho // whole * (1 if total > 0 else -1) for total in sums]  # towards zero
        self.before_micro = before
        self.price_micro = [
            min(max(price - by, feed_in), import_)
            for price, by, feed_in, import_ in zip(before, moved, terms.feed_in_micro, terms.import_micro, strict=True)
        ]

    def is_settled(self, sums: Sequence[int], gains_nano: int) -> bool:
        """Whether plans cost at most the gap more than any could.

        Args:
            gains_nano: what members say that they would gain, all together, 1e-9 currency.
        """
        terms = self.terms
        bill = beyond = 0  # 1e-6 currency/kWh times units
        for total, price, feed_in, import_ in zip(
            sums, self.price_micro, terms.feed_in_micro, terms.import_micro, strict=True
        ):
            at = feed_in if total > 0 else import_
            bill -= at * total
            beyond += (price - at) * total
        whole = 1000  # mWh in a Wh
        limit = max(abs(bill) * terms.unit_mwh, terms.base_nano * whole)
        return (beyond * terms.unit_mwh + gains_nano * whole) * 10**6 <= GAP_PPM * limit


class ManagedMember:
    """A household's own problem, at home: nobody sees more of it than its net injection.

    Args:
        view: what it knows, as of a community that uses the grid as one (G).
        alone: its plan without anybody.
    """

    def __init__(self, view: NodeView, alone: Mapping[str, Array], terms: ManagedTerms) -> None:
        from gridpact.problem.local import LocalProblem  # imports CVXPY, which takes a second

        self._problem: LocalProblem = LocalProblem(view, 0.0)
        self._own_kvar = alone["injection_kvar"]  # nobody asks for another
        self._terms, self._hours = terms, view.step_hours
        self._penalty = terms.penalty(view.step_hours)
        self._kw_of_unit = terms.unit_mwh / MWH / view.step_hours
        self.units = terms.units(alone["injection_kw"], view.step_hours)
        self.plan: Mapping[str, Array] = alone

    def told(self, number: int, price_micro: Sequence[int], before_micro: Sequence[int]) -> tuple[Units, int]:
        """Net injections around where it stood; in a weighing round by a plan that devices can carry out, with what
        planning at the price alone would gain, 1e-9 currency; else 0.

        Raises:
            SolverError: the solver failed.
        """
        near = self._near(price_micro, before_micro)
        if not is_weighing(number):
            return self._stand(self._problem.solve(near)), 0
        solution = self._problem.carried_out(near)
        self.plan = solution.schedule
        units, price = self._stand(solution), self._per_kw(price_micro)
        free = self._problem.solve(self._point(-price, 0.0))
        here, there = (one.own_cost - float(price @ one.copies[0]) for one in (solution, free))
        return units, max(math.ceil(NANO * (here - there)), 0)

    def _stand(self, solution: LocalSolution) -> Units:
        self.units = self._terms.units(solution.copies[0], self._hours)
        return self.units

    def _per_kw(self, price_micro: Sequence[int]) -> Array:
        """What a kW through each step is worth, currency."""
        worth: Array = self._hours / MICRO * np.array(price_micro, dtype=float)
        return worth

    def _near(self, price_micro: Sequence[int], before_micro: Sequence[int]) -> Point:
        ahead = 2 * self._per_kw(price_micro) - self._per_kw(before_micro)
        return self._point(-ahead - self._penalty * self._kw_of_unit * self.units, self._penalty)

    def _point(self, linear: Array, penalty: float) -> Point:
        from gridpact.problem.local import Point

        own = self._own_kvar
        return Point(
            np.array([linear, -own]),
            np.array([np.full(own.shape, penalty), np.ones(own.shape)]),
            np.zeros(0),
            np.zeros(own.shape),
        )


@dataclass(frozen=True)
class CommunityManager:
    """A manager finds one price a step; members plan their devices by it."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        community = prepared.community
        alone_kw = prepared.baseline_net_kw
        terms = ManagedTerms.of(community, alone_kw)
        members = [ManagedMember(view, prepared.alone[view.node], terms) for view in member_views(community)]
        manager, stood = Manager(terms), np.array([member.units for member in members])
        for number in range(1, MOST_ROUNDS + 1):
            now = manager.price_micro, manager.before_micro
            told = [member.told(number, *now) for member in members]
            units, gains = np.array([one for one, _ in told]), sum(gain for _, gain in told)
            sums = units.sum(axis=0).tolist()
            reached = is_weighing(number) and manager.is_settled(sums, gains)
            if not reached:
                manager.step(sums, len(members))
            moved_micro = np.subtract(manager.price_micro, now[0])
            on_iteration(number, (*_residuals_w(terms, community.step_hours, moved_micro, units - stood), 0.0, 0.0))
            stood = units
            if reached:
                break
        nodes = [home.node for home in community.households]
        plans = {node: dict(member.plan) for node, member in zip(nodes, members, strict=True)}
        trades = tuple(_trades(nodes, units, manager.price_micro, terms))
        asked = number + number // WEIGH_EVERY
        return Agreement(plans, trades, rounds=number, messages=asked * 2 * units.size, reached=reached)


def is_weighing(number: int) -> bool:
    """Whether members tell in a round what they would gain."""
    return number % WEIGH_EVERY == 0


def member_views(community: CommunityDay) -> list[NodeView]:
    """What each member knows, nodes ascending."""
    from gridpact.problem.scenario import NetworkAgreement, Scenario
    from gridpact.problem.view import node_views

    views = node_views(community, Scenario.G, NetworkAgreement.DSO)  # with wishes for net injections
    return [view for view in views if view.household is not None]


def _residuals_w(terms: ManagedTerms, hours: float, moved_micro: Array, moved: Units) -> tuple[float, float]:
    """How far the mean is from a price that stays, and how far plans are from their last ones, root mean square."""
    rho_micro = terms.rho / 2**RHO_BITS
    watts = 1e-3 * terms.unit_mwh / hours  # of a unit
    apart, changed = moved_micro / rho_micro, moved
    return watts * float(np.sqrt(np.mean(apart**2))), watts * float(np.sqrt(np.mean(changed.astype(float) ** 2)))


def _trades(nodes: Sequence[int], units: Units, price_micro: Sequence[int], terms: ManagedTerms) -> Iterator[Trade]:
    """What fits together inside, at the manager's price. Energies are in mWh: of whole Wh too much would be left to the
    supplier where homes are small and steps short."""
    for step, left in enumerate((terms.unit_mwh * units).T.tolist()):
        sides = ([max(e, 0) for e in left], [max(-e, 0) for e in left])
        total = min(map(sum, sides))
        sold, bought = ([(n, e) for n, e in zip(nodes, in_proportion(total, s), strict=True) if e] for s in sides)
        for seller, buyer, energy in joined(sold, bought):
            yield Trade(seller, buyer, step, energy / MWH, price_micro[step] / MICRO)
