"""A network as a file of another program has it, before anybody is said to live there."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, Source, Transformer
from gridpact.errors import InputError

SOURCE_BUS = "source"
"""Above the transformer, in what is written."""

RESERVED = (SOURCE_BUS, "stiff")
"""No bus of a feeder is named so in what is written."""


@dataclass(frozen=True)
class NetworkLoad:
    """A load of the file: where a home may be."""

    name: str
    connection: Connection
    kw: float
    kvar: float


@dataclass(frozen=True, eq=False)
class NetworkFile:
    """What a file says of a feeder."""

    name: str
    nominal_voltage_v: float  # between phases
    root: str  # the first bus of the feeder, behind the transformer if there is one
    lines: tuple[PhaseLine, ...]
    loads: tuple[NetworkLoad, ...]
    transformer: Transformer | None
    source: Source
    remarks: tuple[str, ...]  # what was found odd, or left out
    limits_pu: tuple[float, float] = (0.95, 1.05)  # of voltages, where the file says others

    def feeder(self, connections: Sequence[Connection], voltage_min_pu: float, voltage_max_pu: float) -> PhaseFeeder:
        """The feeder of homes at these places.

        Raises:
            InputError: see `PhaseFeeder`.
        """
        return PhaseFeeder(
            nominal_voltage_v=self.nominal_voltage_v,
            voltage_min_pu=voltage_min_pu,
            voltage_max_pu=voltage_max_pu,
            root=self.root,
            lines=self.lines,
            connections=tuple(connections),
            transformer=self.transformer,
            source=self.source,
        )


LEAST_FAULT_A = 50
"""A short circuit behind one line or a transformer draws more on any feeder on which a fuse blows."""

SOURCE_PU = 0.5, 1.5


def check_head(
    where: str, nominal_voltage_v: float, impedance_ohm: complex, source_pu: float, *, where_source: str
) -> None:
    """What cannot be of a feeder's source and the transformer behind it.

    Args:
        impedance_ohm: of the transformer in each phase, seen from the feeder.
        source_pu: voltage, without load.

    Raises:
        InputError: it is a mistake, for example of a unit.
    """
    low, high = SOURCE_PU
    if not low <= source_pu <= high:
        raise InputError(f"{where_source}: a source of {source_pu:g} p.u. is not between {low:g} and {high:g}")
    if impedance_ohm.real < 0 or impedance_ohm.imag < 0:
        raise InputError(f"{where}: the transformer has a resistance or a reactance below 0")
    if (fault := nominal_voltage_v / np.sqrt(3)) < LEAST_FAULT_A * abs(impedance_ohm):
        raise InputError(
            f"{where}: behind the transformer a short circuit would draw {fault / abs(impedance_ohm):.2g} A: check "
            "what it is rated for and its impedance"
        )


def phases_at(root: str, lines: Iterable[PhaseLine], fed: tuple[int, ...] = PHASES) -> dict[str, tuple[int, ...]]:
    """The phases that each bus has, of those that lines lead to; `fed`: those of the first."""
    return {root: fed} | {line.bus: line.phases for line in lines}


def on_phases(where: str, load: NetworkLoad, there: Mapping[str, tuple[int, ...]]) -> NetworkLoad:
    """The load.

    Raises:
        InputError: its bus has not its phases.
    """
    at = load.connection
    if missing := sorted(set(at.phases) - set(there[at.bus])):
        raise InputError(
            f"{where}: load '{load.name}' is on phase {missing[0] + 1} of bus '{at.bus}', to which lead only phases "
            f"{', '.join(str(phase + 1) for phase in there[at.bus])}"
        )
    return load


def left_out(loads: Sequence[str]) -> str:
    """What is said of loads that hang on nothing."""
    return f"loads where no line in service leads are left out: {len(loads)}, among them '{loads[0]}'"


def plainly_named(network: NetworkFile) -> NetworkFile:
    """The same with names of lower-case letters, digits, "_" and "-" only, each once: as any program reads them."""
    old = [network.root, *(line.bus for line in network.lines)]
    buses = dict(zip(old, _unlike(old, *RESERVED), strict=True))
    lines = _unlike([line.name for line in network.lines])
    loads = _unlike([load.name for load in network.loads])
    return replace(
        network,
        name=_plain_word(network.name),
        root=buses[network.root],
        lines=tuple(
            replace(line, name=name, bus=buses[line.bus], parent=buses[line.parent])
            for line, name in zip(network.lines, lines, strict=True)
        ),
        loads=tuple(
            replace(load, name=name, connection=replace(load.connection, bus=buses[load.connection.bus]))
            for load, name in zip(network.loads, loads, strict=True)
        ),
    )


def _unlike(names: Iterable[str], *reserved: str) -> list[str]:
    """Plain words, those that would be the same with a number behind."""
    taken = set(reserved)
    result = []
    for name in names:
        word = plain = _plain_word(name)
        number = 2
        while word in taken:
            word, number = f"{plain}_{number}", number + 1
        taken.add(word)
        result.append(word)
    return result


def _plain_word(name: str) -> str:
    return re.sub(r"[^a-z0-9_\-]", "_", name.lower()) or "_"
