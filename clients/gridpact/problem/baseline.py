"""What a household does on its own, with its supplier alone: scenario B, and what is left to it when a round fails."""

from __future__ import annotations

import pickle
from dataclasses import replace
from functools import lru_cache

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.problem.coefficients import Partner
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


def with_positions(view: NodeView, sold_kw: Array) -> dict[str, Array]:
    """The schedule of a household that has sold energy (negative: bought), and deals for the rest with its supplier
    alone, (T,) each; nobody looks at the feeder.

    Raises:
        InfeasibleError: the household has no plan.
    """
    steps = view.steps
    others = (Partner(view.node, tuple(range(steps)), np.zeros(steps)),)  # all together
    alone = replace(
        view, scenario=Scenario.T, parent=view.node, children=(), depth=0, partners=others, line=None, feeder=None
    )
    at = replace(Point.alone(steps), trade_linear=np.zeros(steps), agreed=sold_kw)
    return LocalProblem(alone, 0.0, agreed=True).carried_out(at).schedule


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
