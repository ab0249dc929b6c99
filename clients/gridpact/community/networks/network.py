"""A network as a file of another program has it, before anybody is said to live there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gridpact.community.street import Connection, PhaseFeeder, PhaseLine, Source, Transformer


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
