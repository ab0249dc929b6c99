"""The community with a manager: one who knows no home's devices finds the price at which all of them fit together.

With p_n what member n's devices do, q_n what it trades inside and alpha_n, beta_n what it takes from and gives to the
outside, the thesis's (3.6)-(3.11) minimise sum C_n + G(q_imp, q_exp) subject to p_n + q_n + alpha_n - beta_n = 0,
sum q_n = 0, sum alpha_n = q_imp and sum beta_n = q_exp. Here G is the supplier's bill, and members ask nothing for
trading, so only the sum of their net injections x_n counts, and the problem is one of sharing (Boyd et al., 2011,
7.3):

    minimise sum_n C_n(x_n) + G(sum_n x_n),   G(z) = Delta (import [-z]+ - feed-in [z]+) at every step.

In each round the manager tells all the same two rows of numbers, the price u and how far they are from fitting; every
member plans anew near where it stood,

    x_n <- argmin C_n(x) + rho/2 |x - x_n + mean(x) - z + u|^2,

and the manager's step has a closed form: z, a member's share of what the community deals outside, is
a + feed-in Delta/rho where that is positive, a + import Delta/rho where that is negative, and else 0, with
a = mean(x) + u. Then u <- a - z, which is -price Delta/rho with a price between feed-in and import, always.

It ends when nothing is left to find: at the manager's price what all members would pay without any penalty is a lower
bound of what the community can pay (the Lagrangian's dual), and what they do pay is within `GAP` of it.

Members trade at the manager's price; the side with more is served in proportion, and the rest is dealt outside. It
knows no network.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from gridpact.market.agreement import Agreement, Trade
from gridpact.market.matching import in_proportion, joined
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.community.model import Array, CommunityDay
    from gridpact.market.prepared import Prepared
    from gridpact.problem.local import LocalProblem, Point

GAP, FLOOR = 4e-4, 0.1
"""How far from the least that the community can pay it may end: a part of what it pays, or of that part of what passes
its meters at import prices, where that is more."""

PENALTY = 0.25
"""rho, in parts of the mean import price over what passes a meter (root mean square)."""

MOST_ROUNDS = 1000
LOOK_EVERY = 5
"""Rounds between two looks at the bound, for which all plan once more."""


@dataclass(frozen=True)
class CommunityManager:
    """A manager finds one price a step; members plan their devices by it."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        members = _Members.of(prepared)
        manager = _Manager(prepared.community, members.net_kw(prepared))
        for number in range(1, MOST_ROUNDS + 1):
            manager.step(members.answers(manager))
            on_iteration(number, (*manager.residuals_w, 0.0, 0.0))
            if number % LOOK_EVERY == 0 or number == MOST_ROUNDS:
                plans = members.carried_out(manager)
                net_kw = np.array([plan["injection_kw"] for plan in plans.values()])
                at_price_kw, own_at_price = members.at_price(manager)
                if reached := manager.is_settled(net_kw, at_price_kw, members.own_cost(plans), own_at_price):
                    break
        trades = _trades(prepared.community, net_kw, manager.price)
        asked = number + 2 * -(-number // LOOK_EVERY)
        return Agreement(plans, tuple(trades), rounds=number, messages=asked * 2 * net_kw.size, reached=reached)


class _Manager:
    """What the manager knows: everybody's net injections, and the tariff. All powers (T,) or (n, T), kW."""

    def __init__(self, community: CommunityDay, net_kw: Array) -> None:
        self.prices, self.step_hours = community.prices, community.step_hours
        self.net_kw = net_kw
        self.feed_in: Array = self.step_hours * self.prices.feed_in_price  # of a kW through a step, currency
        self.imports: Array = self.step_hours * self.prices.bought_price  # beyond the fee on all that is drawn
        size = max(float(np.sqrt(np.mean(net_kw**2))), 1e-3)
        self.rho = PENALTY * max(float(np.mean(np.abs(self.imports))), 1e-6) / size  # currency / kW^2
        self.shared_kw: Array = net_kw.mean(axis=0)  # z
        self.dual_kw: Array = -(self.feed_in + self.imports) / (2 * self.rho)  # u
        self.residuals_w = (np.inf, np.inf)

    @property
    def price(self) -> Array:
        """Of a kW through a step, currency, within the tariff, (T,)."""
        return np.clip(-self.rho * self.dual_kw, self.feed_in, self.imports)

    def bill(self, net_kw: Array) -> float:
        """G of a sum, (T,) kW: currency."""
        return float(self.imports @ np.maximum(-net_kw, 0) - self.feed_in @ np.maximum(net_kw, 0))

    def is_settled(
        self, net_kw: Array, at_price_kw: Array, own_cost: float = 0.0, own_at_price: float = 0.0
    ) -> bool:
        """Whether plans cost at most `GAP` more than any could: the dual's value at this price.

        Args:
            own_cost, own_at_price: what using devices costs in the plans, and at the price.
        """
        paid = self.bill(net_kw.sum(axis=0)) + own_cost
        least = own_at_price - float(self.price @ at_price_kw.sum(axis=0))
        passes = float(np.abs(self.imports) @ np.abs(net_kw).sum(axis=0))
        return paid - least <= GAP * max(abs(paid), FLOOR * passes)

    @property
    def centres_kw(self) -> Array:
        """What every member's plan is drawn to, (n, T)."""
        centres: Array = self.net_kw - self.net_kw.mean(axis=0) + self.shared_kw - self.dual_kw
        return centres

    def step(self, net_kw: Array) -> None:
        """The manager's answer to all plans, and how far they are from fitting, and from their last ones."""
        at = net_kw.mean(axis=0) + self.dual_kw
        sold, bought = at + self.feed_in / self.rho, at + self.imports / self.rho
        shared_kw = np.where(sold > 0, sold, np.where(bought < 0, bought, 0.0))
        moved = (net_kw - self.net_kw) - (net_kw - self.net_kw).mean(axis=0) + shared_kw - self.shared_kw
        self.dual_kw = at - shared_kw
        self.net_kw, self.shared_kw = net_kw, shared_kw
        apart, changed = (1000 * float(np.sqrt(np.mean(r**2))) for r in (net_kw.mean(axis=0) - shared_kw, moved))
        self.residuals_w = (apart, changed)


@dataclass(frozen=True)
class _Members:
    """Each household's own problem, at home: nobody sees more of it than its net injection."""

    community: CommunityDay
    problems: dict[int, LocalProblem]  # by node
    reactive_kvar: dict[int, Array]  # what each would do on its own: nobody asks for another

    @staticmethod
    def of(prepared: Prepared) -> _Members:
        from gridpact.problem.local import LocalProblem  # imports CVXPY, which takes a second
        from gridpact.problem.scenario import NetworkAgreement, Scenario
        from gridpact.problem.view import node_views

        views = node_views(prepared.community, Scenario.G, NetworkAgreement.DSO)  # with wishes for net injections
        problems = {view.node: LocalProblem(view, 0.0) for view in views if view.household is not None}
        return _Members(
            prepared.community, problems, {node: prepared.alone[node]["injection_kvar"] for node in problems}
        )

    def net_kw(self, prepared: Prepared) -> Array:
        return np.array([prepared.alone[node]["injection_kw"] for node in self.problems])

    def answers(self, manager: _Manager) -> Array:
        """Net injections around where everybody stands, (n, T)."""
        return np.array(
            [
                problem.solve(self._point(node, -manager.rho * centre, manager.rho)).copies[0]
                for (node, problem), centre in zip(self.problems.items(), manager.centres_kw, strict=True)
            ]
        )

    def at_price(self, manager: _Manager) -> tuple[Array, float]:
        """What everybody would do at the manager's price alone, (n, T), and what using devices costs in it."""
        solutions = [problem.solve(self._point(node, -manager.price, 0.0)) for node, problem in self.problems.items()]
        return np.array([one.copies[0] for one in solutions]), sum(one.own_cost for one in solutions)

    def own_cost(self, plans: Mapping[int, Mapping[str, Array]]) -> float:
        """What using devices costs in plans, by node, and what the grid operator gets."""
        from gridpact.problem.verification import device_costs, peaks_paid, trades_charged

        of_homes = [plans[home.node] for home in self.community.households]
        net_kw, prices = np.array([plan["injection_kw"] for plan in of_homes]), self.community.prices
        drawn = self.community.step_hours * float(trades_charged(prices, net_kw).sum())
        peaks = float(peaks_paid(prices, net_kw, self.community.peaks_kw).sum())
        return device_costs(self.community, of_homes) + peaks + drawn

    def carried_out(self, manager: _Manager) -> dict[int, dict[str, Array]]:
        """Plans that devices can carry out."""
        return {
            node: problem.carried_out(self._point(node, -manager.rho * centre, manager.rho)).schedule
            for (node, problem), centre in zip(self.problems.items(), manager.centres_kw, strict=True)
        }

    def _point(self, node: int, linear: Array, rho: float) -> Point:
        from gridpact.problem.local import Point

        own = self.reactive_kvar[node]
        return Point(
            np.array([linear, -own]),
            np.array([np.full(own.shape, rho), np.ones(own.shape)]),
            np.zeros(0),
            np.zeros(own.shape),
        )


def _trades(community: CommunityDay, net_kw: Array, price: Array) -> Iterator[Trade]:
    """What fits together inside, at the manager's price. Energies are in mWh: of whole Wh too much would be left to the
    supplier where homes are small and steps short."""
    nodes = [home.node for home in community.households]
    net_mwh = np.rint(1e6 * community.step_hours * net_kw).astype(int)
    for step, left in enumerate(net_mwh.T.tolist()):
        sides = ([max(e, 0) for e in left], [max(-e, 0) for e in left])
        total = min(map(sum, sides))
        sold, bought = ([(n, e) for n, e in zip(nodes, in_proportion(total, s), strict=True) if e] for s in sides)
        for seller, buyer, energy in joined(sold, bought):
            yield Trade(seller, buyer, step, energy / 1e6, float(price[step]) / community.step_hours)
