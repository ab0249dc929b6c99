"""A community's day made ready for an agreement, once: what each node knows, and what each would do on its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import Books
from gridpact.problem.view import NodeView, node_views


@dataclass(frozen=True)
class Prepared:
    """What every mechanism is given; it is worked out here and handed on."""

    community: CommunityDay
    scenario: Scenario
    agreement: NetworkAgreement
    views: tuple[NodeView, ...]
    alone: Mapping[int, Mapping[str, Array]]  # by node, each household's plan without agreement: scenario B

    @staticmethod
    def of(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement = NetworkAgreement.DSO) -> Prepared:
        """A day of a community.

        Raises:
            InfeasibleError: names the household that has no plan.
        """
        views = tuple(node_views(community, scenario, agreement))
        alone = {view.node: fallback(view) for view in views if view.household is not None}
        return Prepared(community, scenario, agreement, views, alone)

    @property
    def baseline_net_kw(self) -> Array:
        """Net power of every household on its own, kW into the feeder, shape (n, T)."""
        return np.array([self.alone[home.node]["injection_kw"] for home in self.community.households])

    @property
    def books(self) -> Books:
        """Who may trade with whom, of the nodes that trade."""
        return {view.node: view.partners for view in self.views if view.partners}
