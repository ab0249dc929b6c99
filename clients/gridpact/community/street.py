"""The street's network as it is: four wires, homes on one phase, two or all three, a transformer above.

Currents return through the neutral, which is earthed at the transformer. So a line is told by its loop impedances, a
3 x 3 matrix Z with Z_ij = z_ij - z_in - z_nj + z_nn of its conductors: what a current in phase j drops between phase i
and neutral. Impedances in ohm, phases 0, 1, 2.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.errors import InputError

Complex = NDArray[np.complex128]

PHASES = (0, 1, 2)


def by_sequence(z1: complex, z0: complex) -> Complex:
    """Loop impedances by sequence impedances: 3 x 3, of the unit that is given.

    With a neutral like the phases, and no coupling between conductors, z0 = 4 z1.
    """
    return np.full((3, 3), (z0 - z1) / 3, dtype=np.complex128) + np.diag([z1, z1, z1])


def sequences_of(impedance: Complex) -> tuple[complex, complex] | None:
    """z1 and z0 of a line with three phases that are alike; None of any other."""
    if impedance.shape != (3, 3):
        return None
    own, shared = complex(impedance[0, 0]), complex(impedance[0, 1])
    z1, z0 = own - shared, own + 2 * shared
    alike = np.allclose(impedance, by_sequence(z1, z0), rtol=1e-12, atol=1e-12 * abs(own))
    return (z1, z0) if alike else None


@dataclass(frozen=True, eq=False)
class PhaseLine:
    """A line or cable between a bus and the bus above it."""

    name: str
    bus: str
    parent: str
    phases: tuple[int, ...]  # those it has, ascending
    impedance_ohm: Complex  # loop impedances of the line, (3, 3); of phases that it does not have they are not used
    rating_a: float | None = None  # of each conductor, the neutral's included


@dataclass(frozen=True)
class Source:
    """What stands behind the feeder, seen from its side: a voltage behind impedances of the sequences."""

    voltage_pu: float = 1.0
    z1_ohm: complex = 0j
    z0_ohm: complex = 0j  # of no effect behind a transformer from delta to wye


@dataclass(frozen=True)
class Transformer:
    """Delta to wye with earthed neutral, between the source and the feeder's first bus."""

    kva: float
    resistance_percent: float
    reactance_percent: float
    tap: float = 1.0  # voltage behind it without load, per unit of the nominal one

    def impedance_ohm(self, nominal_voltage_v: float) -> Complex:
        """In each phase on the feeder's side, none shared, (3, 3)."""
        percent = complex(self.resistance_percent, self.reactance_percent)
        return np.diag(np.full(3, percent / 100 * nominal_voltage_v**2 / (1000 * self.kva)))


@dataclass(frozen=True)
class Connection:
    """Where a home is connected. Over several phases its power is shared equally."""

    bus: str
    phases: tuple[int, ...]


def impedance_fault(phases: Sequence[int], impedance_ohm: Complex) -> str | None:
    """What no line can be, as the end of a sentence about it; None where it can.

    Args:
        impedance_ohm: (3, 3), of which those of its phases count.
    """
    part = impedance_ohm[np.ix_(phases, phases)]
    if not phases or np.any(part.diagonal() == 0) or not np.all(np.isfinite(part)):
        return "has no impedance: give its resistance and reactance"
    if np.linalg.eigvalsh((part.real + part.real.T) / 2)[0] < -1e-12 * abs(part.real).max(initial=0.0):
        return "would give energy out of nothing: check its resistances"
    return None


@dataclass(frozen=True, eq=False)
class PhaseFeeder:
    """A radial four-wire feeder. `connections`: of the households, node 1 first.

    Raises:
        InputError: it is not radial, a bus hangs nowhere, a line has no impedance, a home is on a phase or a bus that
            is not there.
    """

    nominal_voltage_v: float  # between phases
    voltage_min_pu: float
    voltage_max_pu: float
    root: str
    lines: tuple[PhaseLine, ...]
    connections: tuple[Connection, ...]
    transformer: Transformer | None = None
    source: Source = Source()

    def __post_init__(self) -> None:
        if self.transformer is not None and not self.transformer.kva > 0:
            raise InputError(f"the transformer has {self.transformer.kva:g} kVA: give what it is rated for, above 0")
        above: dict[str, PhaseLine] = {}
        for line in self.lines:
            if line.bus in above or line.bus == self.root:
                other = f"line '{above[line.bus].name}'" if line.bus in above else "the transformer"
                raise InputError(
                    f"line '{line.name}' feeds bus '{line.bus}', which {other} feeds too: a feeder must be radial, "
                    "leave out the line that is open in normal operation"
                )
            if (fault := impedance_fault(line.phases, line.impedance_ohm)) is not None:
                raise InputError(f"line '{line.name}' {fault}")
            above[line.bus] = line
        for line in self.lines:
            self._check_way(line, above)
        for home, connection in enumerate(self.connections, start=1):
            self._check_home(home, connection, above)

    def _check_way(self, line: PhaseLine, above: Mapping[str, PhaseLine]) -> None:
        seen = {line.bus}
        at = line
        while at.parent != self.root:
            if at.parent in seen:
                raise InputError(f"line '{line.name}' is part of a loop: a feeder must be radial")
            if at.parent not in above:
                raise InputError(f"line '{at.name}' begins at bus '{at.parent}', to which no line leads")
            seen.add(at.parent)
            at = above[at.parent]
        if line.parent != self.root and not set(line.phases) <= set(above[line.parent].phases):
            raise InputError(
                f"line '{line.name}' has phases {_words(line.phases)}, line '{above[line.parent].name}' that leads to "
                f"it only {_words(above[line.parent].phases)}"
            )

    def _check_home(self, home: int, connection: Connection, above: Mapping[str, PhaseLine]) -> None:
        if connection.bus != self.root and connection.bus not in above:
            raise InputError(f"home {home} is connected to bus '{connection.bus}', which does not exist")
        there = PHASES if connection.bus == self.root else above[connection.bus].phases
        if not connection.phases or not set(connection.phases) <= set(there):
            raise InputError(
                f"home {home} is on phases {_words(connection.phases) or 'none'}, bus '{connection.bus}' has "
                f"{_words(there)}"
            )

    @property
    def nodes(self) -> tuple[int, ...]:
        """Those with a household, ascending."""
        return tuple(range(1, len(self.connections) + 1))

    @property
    def phase_voltage_v(self) -> float:
        """Nominal, between phase and neutral."""
        return float(self.nominal_voltage_v / np.sqrt(3))

    @property
    def no_load_pu(self) -> float:
        """Voltage of the first bus without load."""
        return self.source.voltage_pu * (self.transformer.tap if self.transformer else 1.0)


def _words(phases: Iterable[int]) -> str:
    return ", ".join(str(phase + 1) for phase in phases)
