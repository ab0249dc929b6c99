"""Between neighbours: where voltages may come to a limit, as everybody can work out.

A node shares the voltage of its parent, of which it wants nothing as long as neither its own line nor any beneath it
comes to a limit: so prices of voltages are kept to what limits can ask for. Who wants more and more of a voltage for no
such reason moves nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, Feeder
from gridpact.market.admm.assembly import Mask
from gridpact.problem.blocks import Block, Kind

NEAR_LIMIT = 0.1
"""Of what lies between the limits of a squared voltage: nearer than that it may come to one. What losses move, of which
nothing is counted here, is some tenth of that."""


def near_limits(feeder: Feeder, flow: Callable[[Block], Array]) -> Mapping[int, tuple[Mask, Mask]]:
    """Where a node, or one beneath it, may come to the lower and to the upper limit, (T,) each, by node.

    By the flows on the way to the grid connection, without losses (LinDistFlow): no copy of a voltage is believed.

    Args:
        flow: P and Q of a line, kW and kvar, (T,).
    """
    downwards = sorted(feeder.lines, key=lambda line: feeder.depth[line.node])
    squared: dict[int, Array] = {GRID_CONNECTION: np.array(1.0)}
    for line in downwards:
        rise = line.resistance_ohm * flow(Block(Kind.P, line.node)) + line.reactance_ohm * flow(
            Block(Kind.Q, line.node)
        )
        squared[line.node] = squared[line.parent] + 2 * rise / (feeder.base_ohm * feeder.base_kva)
    lowest, highest = dict(squared), dict(squared)
    for line in reversed(downwards):
        lowest[line.parent] = np.minimum(lowest[line.parent], lowest[line.node])
        highest[line.parent] = np.maximum(highest[line.parent], highest[line.node])
    least, most = feeder.voltage_min_pu**2, feeder.voltage_max_pu**2
    near = NEAR_LIMIT * (most - least)
    return {node: (lowest[node] < least + near, highest[node] > most - near) for node in squared}
