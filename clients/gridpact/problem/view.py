"""What one node knows: the household file that `gridpact node` reads, and how it is cut from a community."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import GRID_CONNECTION, CommunityDay, Feeder, Household, Line, PriceRange, Prices
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InputError
from gridpact.problem.coefficients import Partner, partners
from gridpact.problem.scenario import NetworkAgreement, Scenario


@dataclass(frozen=True)
class NodeView:
    """All that one node knows when it starts: its own household, its place, and what is public.

    `parent` and `children` are those of the declared tree: the feeder's between neighbours, a star around node 0
    with the grid operator, the node alone where no network is agreed on.
    """

    node: int
    day: str
    scenario: Scenario
    agreement: NetworkAgreement
    step_hours: float
    prices: Prices
    parent: int
    children: tuple[int, ...]
    depth: int
    household: Household | None = None  # None: the grid connection
    partners: tuple[Partner, ...] = ()
    line: Line | None = None  # the node's own line, between neighbours only
    lines: tuple[Line, ...] = ()  # of the whole feeder, between neighbours only: what they are is public there
    feeder: Feeder | PhaseFeeder | None = None  # limits and base; the lines are in it at the operator's node only
    first: int = 0  # step of the day with which it begins: those before are over, and nothing is agreed about them
    between: Prices | None = None  # the dearest and the least of all tariffs, where households have several

    def trading_within(self, ranges: Mapping[int, PriceRange]) -> NodeView:
        """With the prices that trades can have, by partner: of those that are not told, the tariff's."""
        return replace(self, partners=tuple(replace(one, within=ranges.get(one.node)) for one in self.partners))

    def price_range(self) -> PriceRange:
        """The prices that each bid can have, (bids,): partners ascending, then steps."""
        own, empty = PriceRange(self.prices.feed_in_price, self.prices.import_price), np.zeros(0)
        each = [(partner.within or own, list(partner.steps)) for partner in self.partners]
        return PriceRange(
            np.concatenate([empty, *(within.low[steps] for within, steps in each)]),
            np.concatenate([empty, *(within.high[steps] for within, steps in each)]),
        )

    @property
    def one_tariff(self) -> bool:
        """Whether it and all its partners have the same."""
        return all(partner.within is None for partner in self.partners)

    @property
    def own_prices(self) -> Prices:
        """Of the household's own supplier."""
        tariff = None if self.household is None else self.household.tariff
        return tariff or self.prices

    @property
    def steps(self) -> int:
        return len(self.prices.import_price)

    def since(self, step: int, household: Household | None) -> NodeView:
        """The same about the steps from one of its own on: the same place, partners and coefficients.

        Args:
            household: on these steps; None at the grid connection.
        """
        partners = []
        for partner in self.partners:
            later = np.array(partner.steps) >= step
            if later.any():
                steps = tuple(own - step for own in partner.steps if own >= step)
                within = None if partner.within is None else partner.within.since(step)
                partners.append(Partner(partner.node, steps, partner.coefficient[later], within))
        return replace(
            self,
            prices=self.prices.since(step),
            between=None if self.between is None else self.between.since(step),
            household=household,
            partners=tuple(partners),
            first=self.first + step,
        )

    @property
    def is_root(self) -> bool:
        return self.parent == self.node

    @property
    def bid_count(self) -> int:
        return sum(len(partner.steps) for partner in self.partners)


def node_views(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> list[NodeView]:
    """Cuts a community into what each of its nodes knows, in ascending order of node.

    Node 0, the grid connection, takes part only where there is a network to agree on.

    Raises:
        InputError: neighbours cannot agree on a street with phases or on junctions.
    """
    feeder = community.feeder
    trades = partners(community) if scenario.has_trades else {}
    neighbours = scenario.has_network and agreement is NetworkAgreement.NEIGHBOURS
    balanced = None if isinstance(feeder, PhaseFeeder) else feeder
    if neighbours and balanced is None:
        raise InputError(
            f"'{community.name}' has homes on phases, and neighbours agree on a balanced feeder only; take the grid "
            "operator's node, --network-agreement dso"
        )
    if neighbours and balanced is not None and balanced.junctions:
        raise InputError(
            f"node {min(balanced.junctions)} of '{community.name}' has no household that could agree with its "
            "neighbours on the feeder; take the grid operator's node, --network-agreement dso"
        )
    nodes = [household.node for household in community.households]

    def place(node: int) -> tuple[int, tuple[int, ...], int]:
        if not scenario.has_network:
            return node, (), 0
        if neighbours and balanced is not None:
            return balanced.parent.get(node, GRID_CONNECTION), balanced.children[node], balanced.depth[node]
        if node == GRID_CONNECTION:
            return GRID_CONNECTION, tuple(nodes), 0
        return GRID_CONNECTION, (), 1

    def view(node: int, household: Household | None) -> NodeView:
        parent, children, depth = place(node)
        own_line, limits = None, None
        lines: tuple[Line, ...] = ()
        if neighbours and balanced is not None:
            own_line = next((line for line in balanced.lines if line.node == node), None)
            limits, lines = replace(balanced, lines=(), junctions=frozenset()), balanced.lines
        sees_network = scenario.has_network and not neighbours and node == GRID_CONNECTION
        return NodeView(
            node=node,
            day=community.day,
            scenario=scenario,
            agreement=agreement,
            step_hours=community.step_hours,
            prices=community.prices,
            parent=parent,
            children=children,
            depth=depth,
            household=household,
            partners=trades.get(node, ()),
            line=own_line,
            lines=lines,
            feeder=feeder if sees_network else limits,
            between=community.between if community.own_tariffs else None,
        )

    views = [view(household.node, household) for household in community.households]
    return [view(GRID_CONNECTION, None), *views] if scenario.has_network else views
