"""What a household does on its own, with its supplier alone: scenario B, and what is left to it when a round fails."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.problem.local import LocalProblem, Point
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views


def fallback(view: NodeView) -> dict[str, Array]:
    """The schedule of a household without agreement, (T,) each: kW, kvar, kWh. Empty for the grid connection.

    Raises:
        InfeasibleError: the household has no plan.
    """
    if view.household is None:
        return {}
    alone = replace(
        view, scenario=Scenario.B, parent=view.node, children=(), depth=0, partners=(), line=None, feeder=None
    )
    return {name: values.copy() for name, values in _alone(pickle.dumps(alone)).items()}


@lru_cache(maxsize=2048)  # a day's is the same in all scenarios
def _alone(pickled: bytes) -> dict[str, Array]:
    view: NodeView = pickle.loads(pickled)
    return LocalProblem(view, 0.0).carried_out(Point.alone(view.steps)).schedule


def baseline_net_kw(community: CommunityDay) -> Array:
    """Net power of every household in scenario B, kW into the feeder, shape (n, T).

    Raises:
        InfeasibleError: names the household that has no plan.
    """
    views = node_views(community, Scenario.B, NetworkAgreement.DSO)
    return np.array([fallback(view)["injection_kw"] for view in views])
