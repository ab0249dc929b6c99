"""A community's feeder for other programs, with its homes as loads at one time of a day."""

from __future__ import annotations

from pathlib import Path

from gridpact.community.model import CommunityDay
from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.opendss import opendss_text
from gridpact.community.networks.pandapower import pandapower_text
from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, by_sequence
from gridpact.community.streets import RATIO
from gridpact.errors import InputError


def network_of(community: CommunityDay, step: int) -> NetworkFile:
    """The feeder with what homes draw at a step: loads less what their panels can give, before anything is planned.

    A balanced feeder has its homes on all phases, and a neutral like the phases.
    """
    feeder = community.feeder
    if not isinstance(feeder, PhaseFeeder):
        lines = tuple(
            PhaseLine(
                f"{line.parent}-{line.node}", str(line.node), str(line.parent), PHASES,
                by_sequence(z := complex(line.resistance_ohm, line.reactance_ohm), RATIO * z), line.rating_a,
            )
            for line in feeder.lines
        )  # fmt: skip
        at = tuple(Connection(str(node), PHASES) for node in feeder.nodes)
        limits = feeder.voltage_min_pu, feeder.voltage_max_pu
        feeder = PhaseFeeder(feeder.nominal_voltage_v, *limits, "0", lines, at)
    loads = tuple(
        NetworkLoad(home.name, connection, float(home.net_load_kw[step]), float(home.load_kvar[step]))
        for home, connection in zip(community.households, feeder.connections, strict=True)
    )
    return NetworkFile(
        community.name,
        feeder.nominal_voltage_v,
        feeder.root,
        feeder.lines,
        loads,
        feeder.transformer,
        feeder.source,
        (),
    )


def network_text(network: NetworkFile, form: Path) -> tuple[str, tuple[str, ...]]:
    """What a file of this name would hold, OpenDSS text or pandapower's JSON, and what is lost in it.

    Raises:
        InputError: it is named as neither.
    """
    if form.suffix.lower() == ".dss":
        return opendss_text(network), ()
    if form.suffix.lower() == ".json":
        return pandapower_text(network)
    raise InputError(f"'{form}' must end in .dss, for OpenDSS, or in .json, for pandapower")
