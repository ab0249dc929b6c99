"""Communities too large for one contract: an aggregator for each feeder, and one of the same kind above them.

The hybrid market ("Russian doll") of Wu, User-centric peer-to-peer energy system for residential microgrids, UNSW 2019,
section 3.4.1: households trade with neighbours on their feeder, and with a *gateway*, a node without a household that
passes on what it buys and sells; a large feeder has several, each for some of its households, since a contract takes so
many bids of a node only. Above, the gateways trade with each other, without a network; and where there are more
levels, with the gateway of their contract, which takes part one level further up. A gateway takes part in both
negotiations at the same time; its own problem is that at every step it sells as much as it buys, over both. It earns
and pays nothing for it: when the negotiation ends, the prices on both sides of it are the same.

Each contract sees its own nodes only, so bytes and gas of a household stay as they are, whatever the number of feeders.
Contracts end from the top down (`ITied.sol`): the uppermost when it and all below it are within their limits; then what
the gateways have agreed there is fixed, and each below ends by its own test, when what is above it has ended. A gateway
of which one side has ended goes on in the other like a household that has to sell what was agreed there, and would
settle with the supplier what it cannot. The other way round, gateways would be bound above to sums that need not add up
to nothing, and prices there would have to go all the way to the supplier's until somebody gave way. Who fails, fails by
itself, and nobody waits for it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from fractions import Fraction
from functools import partial
from typing import TypeAlias

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.errors import InputError
from gridpact.limits import MOST_NODES, MOST_PAIRED_BIDS
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.memory import Iterate, Round
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances, within
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.admm.register import MOST_MISSES, End, Register, Rules
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.coefficients import Partner, own_coefficients
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views

Branch: TypeAlias = "CommunityDay | Sequence[Branch]"
"""A community on its feeder, or what hangs on one contract above."""


@dataclass(frozen=True)
class Level:
    """One contract: its nodes, its gateways last, and the limits within which its round ends."""

    views: tuple[NodeView, ...]
    tolerances: Tolerances
    gateways: tuple[int, ...]  # nodes; none of the uppermost
    community: CommunityDay | None = None  # of a feeder; None above


@dataclass(frozen=True)
class Tie:
    """Where a gateway takes part: contracts by their place among `Levels.contracts`."""

    below: int
    node_below: int
    above: int
    node_above: int

    @property
    def seats(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Contract and node, below and above."""
        return (self.below, self.node_below), (self.above, self.node_above)


@dataclass(frozen=True)
class Levels:
    """Who negotiates where.

    Attributes:
        contracts: feeders in their order and what is above each of them, always after it; the uppermost last.
        ties: the gateways of each contract but the last, in the order of the contracts.
        penalties: of all contracts. Above, they are those of households, not of the gateways' larger power: a gateway
            is then as stiff on both sides (three feeders were 2 W apart above after 40 iterations; with penalties of
            the gateways' power, 54 W).
    """

    contracts: tuple[Level, ...]
    ties: tuple[Tie, ...]
    penalties: Penalties

    @staticmethod
    def of(branches: Sequence[Branch]) -> Levels:
        """Joins communities, each on its feeder, in scenario TG with the grid operator's star. Their prices and steps
        must be the same. A sequence among them is a contract of its own between them and the uppermost.

        Beyond its feeder, a household's trading coefficient is that which it can know by itself (`own_coefficients`);
        gateways have none. As within a feeder, steps at which a trade cannot pay are left out.

        Raises:
            InputError: more hang on a contract than it takes.
        """
        joining = _Joining()
        joining.add(branches)
        of_feeders = [(level, net_kw) for level, net_kw in joining.contracts if level.community is not None]
        community, net_kw = of_feeders[0][0].community, np.concatenate([net_kw for _, net_kw in of_feeders])
        assert community is not None
        limits = Tolerances.of([view for level, _ in of_feeders for view in level.views], net_kw)
        contracts = tuple(
            replace(level, tolerances=limits) if level.community else level for level, _ in joining.contracts
        )
        ties = tuple(sorted(joining.ties, key=lambda tie: tie.below))
        return Levels(contracts, ties, Penalties.of_community(community, net_kw))

    @property
    def feeders(self) -> tuple[int, ...]:
        """The places of the feeders' contracts."""
        return tuple(at for at, level in enumerate(self.contracts) if level.community is not None)


class _Joining:
    """Puts contracts together from the feeders up, each with the net power of its nodes on their own, (nodes, T)."""

    def __init__(self) -> None:
        self.contracts: list[tuple[Level, Array]] = []
        self.ties: list[Tie] = []

    def add(self, branches: Sequence[Branch], uppermost: bool = True) -> CommunityDay:
        """A contract above some branches, after what is below it. Returns a community that is below it."""
        places = []
        for branch in branches:
            if isinstance(branch, CommunityDay):
                community, net_kw = branch, baseline_net_kw(branch)
                views, gateways = _with_gateways(branch)
                self.contracts.append((Level(views, Tolerances.of(views, net_kw), gateways, branch), net_kw))
            else:
                community = self.add(branch, uppermost=False)
            places.append(len(self.contracts) - 1)
        ties = [(place, node) for place in places for node in self.contracts[place][0].gateways]
        count = len(ties) + (not uppermost)
        if gateways_needed(count - 1, community.steps, others=count - 1) > 1:
            raise InputError(
                f"{count} gateways with {community.steps} steps are more than a contract takes: put some of the feeders"
                " under a contract between"
            )
        views, gateways = _above(community, count), () if uppermost else (count,)
        net_kw = np.array([self.contracts[place][1].sum(axis=0) for place in places])
        at = len(self.contracts)
        self.contracts.append((Level(views, Tolerances.of(views, net_kw), gateways), net_kw))
        self.ties += [Tie(place, below, at, node) for node, (place, below) in enumerate(ties, start=1)]
        return community


def gateways_needed(partners: int, steps: int, others: int) -> int:
    """How many gateways it takes for so many partners, each of which bids at every step.

    Args:
        others: nodes of the contract, without the first gateway.
    """
    count = 1
    while -(-partners // count) * steps * (others + count - 1) > MOST_PAIRED_BIDS:
        count += 1
    return count


def _with_gateways(community: CommunityDay) -> tuple[tuple[NodeView, ...], tuple[int, ...]]:
    """The views of a feeder's nodes, and which of them are gateways."""
    views = node_views(community, Scenario.TG, NetworkAgreement.DSO)
    homes = sum(view.household is not None for view in views)
    first = 1 + max(view.node for view in views)
    nodes = tuple(range(first, first + gateways_needed(homes, community.steps, others=len(views))))
    if nodes[-1] >= MOST_NODES:
        raise InputError(
            f"{homes} homes with {community.steps} steps and their {len(nodes)} gateways are more than a contract"
            " takes: split the feeder"
        )
    margin = community.prices.margin
    joined: list[NodeView] = []
    passed_on: dict[int, list[Partner]] = {node: [] for node in nodes}
    turn = itertools.cycle(nodes)
    for view in views:
        if view.household is not None:
            gateway, own = next(turn), own_coefficients(-view.household.net_load_kw, community.trading_coefficient)
            steps = tuple(np.flatnonzero(margin - own > 1e-12).tolist())
            if steps:
                view = replace(view, partners=(*view.partners, Partner(gateway, steps, own[list(steps)])))
                passed_on[gateway].append(Partner(view.node, steps, np.zeros(len(steps))))
        joined.append(view)
    return (*joined, *(_gateway(community, node, passed_on[node]) for node in nodes)), nodes


def _above(community: CommunityDay, gateways: int) -> tuple[NodeView, ...]:
    margin = community.prices.margin
    steps = tuple(np.flatnonzero(margin > 1e-12).tolist())
    nodes = range(1, gateways + 1)
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


class Standpoint(Enum):
    """Where a gateway stands in one of its contracts."""

    OPEN = "open"
    AGREED = "agreed"
    NOTHING = "nothing"  # ended without an agreement, or without the gateway


class Gateway:
    """A node that takes part in two contracts: an agent in the one below and one in the one above."""

    def __init__(self, below: Agent, above: Agent) -> None:
        self.below, self.above = below, above

    def solve(self, below: Standpoint, above: Standpoint) -> tuple[IntegerSubmission | None, IntegerSubmission | None]:
        """The x-step: minimise b . d + phi/2 d . d + c . D + pool/2 D . D over the bids d of both sides and their sums
        D by step, such that both sums cancel. Every step is a problem of one unknown, the sum s that is sold below:

            s = (-b_below + b_above - c_below + c_above) / (phi/m + pool of below + phi/m + pool of above)

        b being the averages over the m bids of a step. Where only one side is open, the other's sum is what was agreed
        there, or nothing, and its own comes as near to it as the supplier's prices let it. No bids to a side that is
        not open.
        """
        if below is above is Standpoint.OPEN:
            low, high = _Cost(self.below), _Cost(self.above)
            tied = (low.count > 0) & (high.count > 0)
            sold = np.where(tied, (high.slope - low.slope) / (low.curvature + high.curvature), 0.0)
            return low.submission(sold), high.submission(-sold)
        if below is Standpoint.OPEN:
            return bids_beside(self.below, self.above if above is Standpoint.AGREED else None), None
        if above is Standpoint.OPEN:
            return None, bids_beside(self.above, self.below if below is Standpoint.AGREED else None)
        return None, None

    @property
    def imbalance_kw(self) -> Array:
        """What the trades agreed so far sell more than they buy, (T,); it vanishes with the residuals."""
        return _agreed_kw(self.below) + _agreed_kw(self.above)


def bids_beside(open_: Agent, agreed: Agent | None) -> IntegerSubmission:
    """What a gateway bids where only one of its sides is open.

    Args:
        agreed: its agent on the other side; None where nothing was agreed there.
    """
    cost = _Cost(open_)
    return cost.submission(cost.nearest(0.0 * cost.slope if agreed is None else -_agreed_kw(agreed)))


def _agreed_kw(agent: Agent) -> Array:
    """What the trades agreed so far add up to, (T,)."""
    trades, sold = agent.trades, np.zeros(agent.view.steps)
    np.add.at(sold, trades.steps, trades.agreed / 2 * trades.unit)
    return sold


class _Cost:
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

    def nearest(self, net_kw: Array) -> Array:
        """The best sum of one that has so much to sell, and a supplier, (T,)."""
        prices, dt = self._agent.view.prices, self._agent.view.step_hours
        least, most = (
            -(self.slope + dt * price) / self.curvature for price in (prices.import_price, prices.feed_in_price)
        )
        return np.where(self.count > 0, np.clip(net_kw, least, most), 0.0)

    def submission(self, total: Array) -> IntegerSubmission:
        """The cheapest bids with a given sum, (T,), as far as they are within reach: others could prove it false."""
        trades = self._agent.trades
        even = (total * self._share)[self._steps]
        bids = even + (self._mean[self._steps] - self._linear) / trades.phi
        nothing = np.zeros((0, self._agent.view.steps), dtype=np.int64)
        return IntegerSubmission(nothing, trades.to_integers(bids, self._agent.within_reach()[1]))


@dataclass(frozen=True)
class LevelsIterate:
    """Where all contracts stand after an iteration: those that have ended, where they ended."""

    iteration: int
    contracts: tuple[Iterate, ...]
    gateways: tuple[Gateway, ...]


Silent = Callable[[int, int], bool]
"""Whether all nodes of a contract, and its gateway above, say nothing in an iteration."""

WAITING = Fraction(2, 5)
"""Of mu, the iterations in which a contract waits for those below it (`ITied.sol`)."""


class _Rounds:
    """The rounds of all contracts, each of which ends when its ties let it."""

    def __init__(self, levels: Levels, resolution: Resolution, most_iterations: int) -> None:
        self._levels, self._last_waiting = levels, WAITING * most_iterations
        self.of: list[Round] = []
        for at, level in enumerate(levels.contracts):
            test = partial(within, level.tolerances.on_chain(resolution))
            rules = Rules(MOST_MISSES, most_iterations, test, partial(self._may_end, at))
            self.of.append(Round(level.views, levels.penalties, resolution, rules))

    def register(self, contract: int) -> Register:
        return self.of[contract].register

    def standpoint(self, contract: int, node: int) -> Standpoint:
        register = self.register(contract)
        if node in register.gone or register.end not in (None, End.CONVERGED):
            return Standpoint.NOTHING
        return Standpoint.OPEN if register.end is None else Standpoint.AGREED

    def _may_end(self, contract: int, iteration: int) -> bool:
        """Whether what is above lets it, and what is below. Contracts close an iteration from the bottom up, so what is
        above has ended in one before."""
        above = [self.register(tie.above) for tie in self._levels.ties if tie.below == contract]
        gateways = {tie.node_above for tie in self._levels.ties if tie.below == contract}
        is_released = all(one.end is not None or gateways <= one.gone for one in above)
        return is_released and self._are_ready(contract, iteration)

    def _are_ready(self, contract: int, iteration: int) -> bool:
        """Whether nobody below has to be waited for."""
        gone = self.register(contract).gone
        return iteration >= self._last_waiting or all(
            self._is_ready(tie.below)
            for tie in self._levels.ties
            if tie.above == contract and tie.node_above not in gone
        )

    def _is_ready(self, contract: int) -> bool:
        register = self.register(contract)
        closed = register.iteration - 1
        return register.end is not None or (0 < register.held == closed and self._are_ready(contract, closed))


def negotiate_levels(
    levels: Levels,
    resolution: Resolution | None = None,
    most_iterations: int = MOST_ITERATIONS,
    silent: Silent = lambda contract, iteration: False,
) -> Iterator[LevelsIterate]:
    """Runs all contracts in step, one iterate after the other, until all have ended.

    Args:
        most_iterations: mu of all of them.
    """
    rounds = _Rounds(levels, resolution or Resolution(), most_iterations)
    seats = [tie.seats for tie in levels.ties]
    gateways = tuple(Gateway(*(rounds.of[at].agents[node] for at, node in both)) for both in seats)
    newest: dict[int, Iterate] = {}
    for iteration in itertools.count(1):
        missing: list[frozenset[int]] = [frozenset() for _ in levels.contracts]
        given: list[dict[int, IntegerSubmission]] = [{} for _ in levels.contracts]
        for tie, both, gateway in zip(levels.ties, seats, gateways, strict=True):
            bids = gateway.solve(*(rounds.standpoint(*seat) for seat in both))
            for (at, node), own in zip(both, bids, strict=True):
                if own is not None:
                    given[at][node] = own
            if silent(tie.below, iteration):
                missing[tie.below] = rounds.of[tie.below].assembly.nodes
                missing[tie.above] |= {tie.node_above}
        for at, round_ in enumerate(rounds.of):
            if round_.register.end is None:
                newest[at] = round_.iterate(missing[at], given[at])
        yield LevelsIterate(iteration, tuple(newest[at] for at in range(len(levels.contracts))), gateways)
        if all(round_.register.end is not None for round_ in rounds.of):
            return
