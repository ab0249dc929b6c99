"""What the map knows from a community's files: the feeder as it is, and of a street the way from home to home."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.live.ground import Ground


def day_of(case: str) -> CommunityDay:
    community = read_community(case)
    return community.on(community.days[0])


def test_feeder_isThatOfTheFile() -> None:
    day = day_of("fontana16")
    ground = Ground.of(day)
    assert ground.tree == {line.node: line.parent for line in day.feeder.lines}  # type: ignore[union-attr]
    assert ground.names[1] == day.households[0].name
    assert not ground.phases
    assert ground.rating_kva[1] == pytest.approx(3 * 400 / np.sqrt(3) * 142 / 1000, abs=1e-3)


@pytest.mark.parametrize("case", ["fontana16x3", "eulv55"])
def test_street_leadsFromHomeToHome(case: str) -> None:
    """Whoever stands above a home is on its way to the transformer, and nobody is between the two; every home has a
    phase."""
    day = day_of(case)
    feeder = day.feeder
    assert isinstance(feeder, PhaseFeeder)
    ground = Ground.of(day)
    above = {line.bus: line.parent for line in feeder.lines}
    bus_of = dict(zip(feeder.nodes, (one.bus for one in feeder.connections), strict=True))
    homes_at = {bus: [node for node, at in bus_of.items() if at == bus] for bus in bus_of.values()}

    def way(bus: str) -> list[str]:
        return [bus] if bus == feeder.root else [bus, *way(above[bus])]

    for node, parent in ground.tree.items():
        if parent == 0:
            assert not any(set(homes_at.get(bus, [])) - {node} for bus in way(bus_of[node]))
            continue
        onward = way(bus_of[node])
        assert bus_of[parent] in onward
        between = onward[1 : onward.index(bus_of[parent])]
        assert not any(homes_at.get(bus) for bus in between)
        assert parent == min(homes_at[bus_of[parent]])
    assert ground.tree.keys() == ground.phases.keys() == set(feeder.nodes)
    assert all(set(phases) <= {1, 2, 3} and phases for phases in ground.phases.values())
