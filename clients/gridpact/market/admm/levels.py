"""Communities too large for one contract: an aggregator for each feeder, and one of the same kind above them.

The hybrid market ("Russian doll") of Wu, User-centric peer-to-peer energy system for residential microgrids, UNSW 2019,
section 3.4.1: households trade with neighbours on their feeder, and with its *gateway*, a node without a household that
passes on what it buys and sells. Above, the gateways trade with each other, without a network. A gateway takes part in
both negotiations at the same time; its own problem is that at every step it sells as much as it buys, over both. It
earns and pays nothing for it: when the negotiation ends, the prices on both sides of it are the same.

Each contract sees its own nodes only, so bytes and gas of a household stay as they are, whatever the number of feeders.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.admm.register import Rules
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.coefficients import Partner, own_coefficients
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views


@dataclass(frozen=True)
class Levels:
    """Who negotiates where.

    Attributes:
        feeders: the views of each feeder's contract, its gateway's last.
        above: the views of the gateways in the contract above, in the order of the feeders; nodes 1 and up.
        penalties: of all contracts. Above, they are those of households, not of the gateways' larger power: a gateway
            is then as stiff on both sides (three feeders were 2 W apart above after 40 iterations; with penalties of
            the gateways' power, 54 W).
        tolerances: of the feeders, and of the contract above, where they follow the gateways' power and bill.
    """

    feeders: tuple[tuple[NodeView, ...], ...]
    above: tuple[NodeView, ...]
    penalties: Penalties
    tolerances: tuple[Tolerances, Tolerances]

    @staticmethod
    def of(communities: Sequence[CommunityDay]) -> Levels:
        """Joins communities, each on its feeder, in scenario TG with the grid operator's star. Their prices and steps
        must be the same.

        Beyond its feeder, a household's trading coefficient is that which it can know by itself (`own_coefficients`);
        gateways have none. As within a feeder, steps at which a trade cannot pay are left out.
        """
        nets_kw = [baseline_net_kw(community) for community in communities]
        feeders = tuple(_with_gateway(community) for community in communities)
        above = _above(communities[0], len(communities))
        penalties = Penalties.of_community(communities[0], np.concatenate(nets_kw))
        tolerances = (
            Tolerances.of([view for feeder in feeders for view in feeder], np.concatenate(nets_kw)),
            Tolerances.of(above, np.array([net_kw.sum(axis=0) for net_kw in nets_kw])),
        )
        return Levels(feeders, above, penalties, tolerances)


def _with_gateway(community: CommunityDay) -> tuple[NodeView, ...]:
    views = node_views(community, Scenario.TG, NetworkAgreement.DSO)
    gateway = 1 + max(view.node for view in views)
    margin = community.prices.margin
    joined, passed_on = [], []
    for view in views:
        if view.household is not None:
            own = own_coefficients(-view.household.net_load_kw, community.trading_coefficient)
            steps = tuple(np.flatnonzero(margin - own > 1e-12).tolist())
            if steps:
                view = replace(view, partners=(*view.partners, Partner(gateway, steps, own[list(steps)])))
                passed_on.append(Partner(view.node, steps, np.zeros(len(steps))))
        joined.append(view)
    return (*joined, _gateway(community, gateway, passed_on))


def _above(community: CommunityDay, feeders: int) -> tuple[NodeView, ...]:
    margin = community.prices.margin
    steps = tuple(np.flatnonzero(margin > 1e-12).tolist())
    nodes = range(1, feeders + 1)
    return tuple(
        _gateway(community, node, [Partner(other, steps, np.zeros(len(steps))) for other in nodes if other != node])
        for node in nodes
    )


def _gateway(community: CommunityDay, node: int, partners: Sequence[Partner]) -> NodeView:
    """A gateway as one of its contracts knows it: no household and no place in a network."""
    return NodeView(
        node=node,
        day=community.day,
        scenario=Scenario.T,
        agreement=NetworkAgreement.DSO,
        step_hours=community.step_hours,
        prices=community.prices,
        parent=node,
        children=(),
        depth=0,
        partners=tuple(partners),
    )


class Gateway:
    """A feeder's gateway: an agent in its feeder's contract and one in the contract above."""

    def __init__(self, below: Agent, above: Agent) -> None:
        self.below, self.above = below, above

    def solve(self) -> tuple[IntegerSubmission, IntegerSubmission]:
        """The x-step: minimise b . d + phi/2 d . d + c . D + pool/2 D . D over the bids d of both sides and their sums
        D by step, such that both sums cancel. Every step is a problem of one unknown, the sum s that is sold below:

            s = (-b_below + b_above - c_below + c_above) / (phi/m + pool of below + phi/m + pool of above)

        b being the averages over the m bids of a step.
        """
        below, above = _Side(self.below), _Side(self.above)
        tied = (below.count > 0) & (above.count > 0)
        sold = np.where(tied, (above.slope - below.slope) / (below.curvature + above.curvature), 0.0)
        return below.submission(sold), above.submission(-sold)

    @property
    def imbalance_kw(self) -> Array:
        """What the trades agreed so far sell more than they buy, (T,); it vanishes with the residuals."""
        total = np.zeros(self.below.view.steps)
        for agent in (self.below, self.above):
            np.add.at(total, agent.trades.steps, agent.trades.agreed / 2 * agent.trades.unit)
        return total


class _Side:
    """A gateway's cost in one of its contracts as a function of the sum of its bids, at every step, (T,)."""

    def __init__(self, agent: Agent) -> None:
        point, trades, steps = agent.point(), agent.trades, agent.view.steps
        self._agent, self._steps = agent, trades.steps
        self._linear = point.trade_linear
        self.count = np.bincount(self._steps, minlength=steps)
        total = np.bincount(self._steps, self._linear, minlength=steps)
        self._mean = np.divide(total, self.count, out=np.zeros(steps), where=self.count > 0)
        self._share = np.divide(1.0, self.count, out=np.zeros(steps), where=self.count > 0)
        self.slope = self._mean + point.pool_linear
        self.curvature = trades.phi * self._share + trades.pool_penalty

    def submission(self, total: Array) -> IntegerSubmission:
        """The cheapest bids with a given sum, (T,)."""
        trades = self._agent.trades
        even = (total * self._share)[self._steps]
        bids = even + (self._mean[self._steps] - self._linear) / trades.phi
        nothing = np.zeros((0, self._agent.view.steps), dtype=np.int64)
        return IntegerSubmission(nothing, trades.to_integers(bids))


@dataclass(frozen=True)
class LevelsIterate:
    """Where all contracts stand after an iteration."""

    feeders: tuple[Iterate, ...]
    above: Iterate
    gateways: tuple[Gateway, ...]

    def hold(self, levels: Levels, resolution: Resolution) -> bool:
        """Whether the tests of all contracts would end the round."""
        of_feeders, of_above = levels.tolerances
        pairs = [*((feeder, of_feeders) for feeder in self.feeders), (self.above, of_above)]
        return all(limits.hold(one.residuals.as_tuple(), one.scalars, resolution) for one, limits in pairs)


def negotiate_levels(
    levels: Levels, resolution: Resolution | None = None, most_iterations: int = MOST_ITERATIONS
) -> Iterator[LevelsIterate]:
    """Runs all contracts in step, one iterate after the other, for as long as it is asked.

    Args:
        most_iterations: mu of all of them.
    """
    resolution = resolution or Resolution()
    rules = Rules(most_iterations=most_iterations)
    above = Round(levels.above, levels.penalties, resolution, rules)
    feeders = [Round(views, levels.penalties, resolution, rules) for views in levels.feeders]
    nodes = [views[-1].node for views in levels.feeders]
    gateways = tuple(
        Gateway(feeder.agents[node], above.agents[view.node])
        for feeder, node, view in zip(feeders, nodes, levels.above, strict=True)
    )
    while True:
        solved = [gateway.solve() for gateway in gateways]
        yield LevelsIterate(
            tuple(
                feeder.iterate(given={node: below})
                for feeder, node, (below, _) in zip(feeders, nodes, solved, strict=True)
            ),
            above.iterate(given={view.node: up for view, (_, up) in zip(levels.above, solved, strict=True)}),
            gateways,
        )
