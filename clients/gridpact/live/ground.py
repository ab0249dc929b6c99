"""What a community's own files know of its street and the chain does not: names, phases, lines and their ratings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, Feeder
from gridpact.community.street import PhaseFeeder
from gridpact.grid.limits import PublishedFeeder
from gridpact.live.view import listed, on_feeder
from gridpact.text import plain

if TYPE_CHECKING:
    from gridpact.grid.powerflow import PowerFlow  # brings OpenDSS

LONGEST_NAME = 40


@dataclass(frozen=True)
class Ground:
    """By node. All of it may be empty: then the map has what the chain tells."""

    names: Mapping[int, str] = field(default_factory=dict)
    tree: Mapping[int, int] = field(default_factory=dict)  # the node above, junctions among them
    phases: Mapping[int, tuple[int, ...]] = field(default_factory=dict)  # 1 to 3, of homes on a street
    rating_kva: Mapping[int, float] = field(default_factory=dict)  # of the line towards the node above, where known

    @staticmethod
    def of(day: CommunityDay) -> Ground:
        names = {household.node: plain(household.name, LONGEST_NAME) for household in day.households}
        feeder = day.feeder
        if isinstance(feeder, Feeder):
            volts = np.sqrt(3) * feeder.nominal_voltage_v
            ratings = {line.node: round(volts * line.rating_a / 1000, 3) for line in feeder.lines if line.rating_a}
            return Ground(names, feeder.parent, {}, ratings)
        phases = {
            node: tuple(phase + 1 for phase in connection.phases)
            for node, connection in zip(feeder.nodes, feeder.connections, strict=True)
        }
        return Ground(names, _tree_of_homes(feeder), phases)

    @property
    def told(self) -> dict[str, Any]:
        """As pages are told."""
        return {"names": self.names, "tree": self.tree, "phases": self.phases, "rating_kva": self.rating_kva}


def carried_out(
    feeder: Feeder | PhaseFeeder, active: Mapping[int, Array], reactive: Mapping[int, Array], flow: PowerFlow
) -> dict[str, Any]:
    """A plan as this machine knows it that played all homes itself, in the form of `RoundView.plan`.

    Args:
        active, reactive: injections by node, kW and kvar, (T,).
        flow: the exact power flow of it.
    """
    voltage = dict(zip(flow.nodes, flow.voltage_pu, strict=True))
    if isinstance(feeder, Feeder):
        return {"own": True, **on_feeder(PublishedFeeder.of(feeder), active, reactive, voltage)}
    limits = [feeder.voltage_min_pu, feeder.voltage_max_pu]
    return {"own": True, "limits_pu": limits, "injection_kw": listed(active), "voltage_pu": listed(voltage, 5)}


def _tree_of_homes(feeder: PhaseFeeder) -> dict[int, int]:
    """Each home below the first one at the next bus towards the transformer that has any; those at one bus below its
    first."""
    first_at: dict[str, int] = {}
    for node, connection in zip(feeder.nodes, feeder.connections, strict=True):
        first_at.setdefault(connection.bus, node)
    above = {line.bus: line.parent for line in feeder.lines}
    tree = {}
    for node, connection in zip(feeder.nodes, feeder.connections, strict=True):
        bus = connection.bus
        while first_at.get(bus, node) == node and bus != feeder.root:
            bus = above[bus]
        above_it = first_at.get(bus, GRID_CONNECTION)
        tree[node] = GRID_CONNECTION if above_it == node else above_it
    return tree
