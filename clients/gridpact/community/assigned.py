"""A day of a community with other devices than it has: shares of households with PV, cars and batteries, and sizes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.model import CommunityDay, Household
from gridpact.community.street import PhaseFeeder
from gridpact.devices.battery import Battery
from gridpact.devices.device import Device, median
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.devices.registry import DEVICES, in_order
from gridpact.errors import InputError

VARIED = {device.kind: device for device in DEVICES if device.varied}
"""What shares of households can be given, by their kinds."""

ALL = "all"
USUAL = (*(kind for kind, device in VARIED.items() if device.usual), ALL)
"""What is varied unasked: each on its own, and all of them together."""

_STREAMS = {"pv": [0], "car": [1], "battery": [2]}
"""Random numbers of those that were here first; a later device has those of its name."""


@dataclass(frozen=True)
class Typical:
    """What a household gets that had none: the middle of those that the community has, or what is usual."""

    devices: Mapping[type[Device], Device | None]  # None where that is not known
    inverter_kvar_per_kwp: float

    @staticmethod
    def of(community: CommunityDay) -> Typical:
        homes = community.households
        devices = {
            kind: kind.typical([d for home in homes for d in home.having(kind)], community.steps, community.step_hours)
            for kind in VARIED.values()
        }
        producers = [home for home in homes if home.is_prosumer]
        ratio = median(home.inverter_kvar / home.pv_kwp for home in producers) if producers else 0.0
        return Typical(devices, ratio)


def order_of(community: CommunityDay, device: type[Device], seed: int) -> list[int]:
    """Rows of the households in the order in which they get a device, drawn with a seed.

    Those that have one in the community come first, so that the share of the community itself is the community itself;
    since the order is one for all shares, a higher share has all the devices of a lower one.
    """
    random = np.random.default_rng([seed, *_STREAMS.get(device.kind, list(device.kind.encode()))])
    drawn = [int(row) for row in random.permutation(len(community.households))]
    return sorted(drawn, key=lambda row: not has(community.households[row], device))


def has(home: Household, device: type[Device]) -> bool:
    """Whether a household has a device."""
    return any(own.is_there for own in home.having(device))


def with_share(community: CommunityDay, device: type[Device], share: float, seed: int) -> CommunityDay:
    """The community with a device at a share of its households, all else as it is.

    A household that has the device keeps its own; one that had none gets a typical one (`Typical`), with its panels
    giving the mean of the community's; one that loses its panels loses the inverter.

    Args:
        share: 0 to 1, of the households, rounded to whole ones.

    Raises:
        InputError: the share is out of its range, or there is no PV in the community whose output could be taken.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of households is between 0 and 1, not {share:g}")
    homes = list(community.households)
    owners = set(order_of(community, device, seed)[: round(share * len(homes))])
    typical = Typical.of(community)
    if owners and typical.devices[device] is None:
        raise InputError(
            f"'{community.name}' has no {device.plural} on {community.day}, so it is not known what {device.plural} "
            "would do there"
        )
    for row, home in enumerate(homes):
        if (row in owners) != has(home, device):
            homes[row] = _given(home, device, typical) if row in owners else _taken(home, device)
    return replace(community, households=tuple(homes))


def with_battery_size(community: CommunityDay, factor: float) -> CommunityDay:
    """The community with the capacity and power of every battery multiplied; 0 takes them away."""

    def sized(home: Household) -> Household:
        batteries = tuple(battery.scaled(factor) for battery in home.having(Battery) if factor != 0)
        return replace(home, devices=in_order((*home.without(Battery), *batteries)))

    return replace(community, households=tuple(sized(home) for home in community.households))


def with_line_impedance(community: CommunityDay, factor: float) -> CommunityDay:
    """The community with resistance and reactance of every line multiplied."""
    feeder = community.feeder
    if isinstance(feeder, PhaseFeeder):
        street = tuple(replace(line, impedance_ohm=factor * line.impedance_ohm) for line in feeder.lines)
        return replace(community, feeder=replace(feeder, lines=street))
    lines = tuple(
        replace(line, resistance_ohm=factor * line.resistance_ohm, reactance_ohm=factor * line.reactance_ohm)
        for line in feeder.lines
    )
    return replace(community, feeder=replace(feeder, lines=lines))


def _given(home: Household, device: type[Device], typical: Typical) -> Household:
    own = typical.devices[device]
    assert own is not None
    devices = [*home.devices, own]
    if isinstance(own, Panels):  # with the inverter that they need
        kvar = own.pv_kwp * typical.inverter_kvar_per_kwp
        if kvar > home.inverter_kvar:
            devices = [*home.without(Inverter), own, Inverter(kvar)]
    return replace(home, devices=in_order(devices))


def _taken(home: Household, device: type[Device]) -> Household:
    """Panels go with their inverter."""
    left = home.without(device)
    return replace(home, devices=tuple(d for d in left if not (device is Panels and isinstance(d, Inverter))))
