"""What every household would do on its own: scenario B."""

from __future__ import annotations

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.market.local import LocalProblem
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.market.view import node_views


def baseline_net_kw(community: CommunityDay) -> Array:
    """Net power of every household in scenario B, kW into the feeder, shape (n, T).

    Raises:
        InfeasibleError: names the household that has no plan.
    """
    nothing = np.zeros(0)
    return np.array(
        [
            LocalProblem(view, nothing, 0.0).solve(np.zeros((0, view.steps)), nothing).schedule["injection_kw"]
            for view in node_views(community, Scenario.B, NetworkAgreement.DSO)
        ]
    )
