"""How currents flow on a street with three phases and a neutral (`community.street`).

Every home's phase is a *connection*. With M the loop impedances that two connections share on their ways to the source,
the voltages between phase and neutral are

    V = V0 + M I,    I = conj(S / V)                                                      (currents into the feeder > 0)

Lines in series, between which nobody is connected, carry the same currents and are one *section*; what leads to nobody
carries none. Both are exact. Powers in kW and kvar, voltages per unit of the nominal voltage between phase and neutral,
impedances in ohm, currents in A; connections c = 0..C-1, sections g = 0..G-1, phases 0, 1, 2.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.street import PHASES, Complex, PhaseFeeder, PhaseLine, by_sequence
from gridpact.errors import SolverError

ROTATION: Complex = np.exp(-2j * np.pi / 3 * np.array(PHASES))
"""Of the source's voltages, phase by phase."""

PASSES = 500
STANDS_PU = 1e-10
"""A power flow ends where no voltage moves by more, and fails after so many passes."""


@dataclass(frozen=True, eq=False)
class Reduced:
    """What of a feeder matters to its connections."""

    home: NDArray[np.intp]  # (C,), row of the household
    phase: NDArray[np.intp]  # (C,)
    share: Array  # (C,), of the household's power
    no_load: Complex  # (C,), V0, per unit
    names: tuple[tuple[str, ...], ...]  # of a section's lines, from the source on; its own and the transformer's: ()
    carries: Array  # (G, 3, C): 1 where a section's phase carries a connection's current
    impedance: Complex  # (G, 3, 3), ohm
    rating_a: Array  # (G,), of the weakest line; nan where none is given
    own: NDArray[np.bool_]  # (G,), whether its losses are the feeder's and not the source's
    shared: Complex  # (C, C), M, ohm

    @cached_property
    def to_connections(self) -> Array:
        """From households to connections, (C, n)."""
        result = np.zeros((len(self.home), int(self.home.max(initial=-1)) + 1))
        result[np.arange(len(self.home)), self.home] = self.share
        return result

    def through(self, current_a: Complex) -> Complex:
        """What sections carry of the connections' currents, (C, T), by phase, (G, 3, T)."""
        by_conductor: Complex = self.carries.reshape(-1, len(self.home)).astype(complex) @ current_a
        return by_conductor.reshape(*self.carries.shape[:2], -1)

    @cached_property
    def loss_root(self) -> Array:
        """F with losses = |F I|^2, (k, C), k at most C: a square root of the feeder's resistances, ohm^0.5."""
        own = self.impedance[self.own].real
        resistance = np.einsum("gpc,gpq,gqd->cd", self.carries[self.own], own, self.carries[self.own], optimize=True)
        values, vectors = np.linalg.eigh((resistance + resistance.T) / 2)
        kept = values > 1e-12 * values.max(initial=0.0)
        root: Array = (vectors[:, kept] * np.sqrt(values[kept])).T
        return root

    @cached_property
    def tree(self) -> Tree:
        """The same, section by section."""
        return _tree(self)


@dataclass(frozen=True, eq=False)
class Tree:
    """A feeder's equations in sparse matrices, over *conductors* k = 0..K-1: the phases that sections use.

    Of currents, A: below i = of_connection i_c. Of what a conductor's end is higher than without load, V: above u =
    impedance i.
    """

    below: sp.csr_array  # (K, K)
    of_connection: sp.csr_array  # (K, C)
    above: sp.csr_array  # (K, K)
    impedance: sp.csr_array  # (K, K), complex, ohm
    loss_root: sp.csr_array  # (K, K), |loss_root i|^2 is what the feeder loses, W
    end: NDArray[np.intp]  # (C,), the conductor at whose end a connection is; -1: at the source
    section: NDArray[np.intp]  # (K,)


def _tree(reduced: Reduced) -> Tree:
    count = len(reduced.home)
    number: dict[tuple[int, int], int] = {}
    for section, carries in enumerate(reduced.carries):
        for phase in np.flatnonzero(carries.any(axis=1)).tolist():
            number[section, phase] = len(number)
    # Sections lie within each other or apart: the last before that carries the same connection is above.
    last = np.full(count, -1)
    below, above = sp.lil_array(sp.eye_array(len(number))), sp.lil_array(sp.eye_array(len(number)))
    impedance = sp.lil_array((len(number), len(number)), dtype=np.complex128)
    root = sp.lil_array((len(number), len(number)))
    for (section, phase), k in number.items():
        carried = np.flatnonzero(reduced.carries[section].any(axis=0))
        if (parent := int(last[carried[0]])) >= 0 and parent != section:
            below[number[parent, phase], k] = above[k, number[parent, phase]] = -1.0
        used = [q for q in PHASES if (section, q) in number]
        for q in used:
            impedance[k, number[section, q]] = reduced.impedance[section, phase, q]
        if phase == used[-1]:
            last[carried] = section
            if reduced.own[section]:
                at = [number[section, q] for q in used]
                root[np.ix_(at, at)] = _root(reduced.impedance[section][np.ix_(used, used)].real)
    end = np.array([number.get((int(last[c]), int(reduced.phase[c])), -1) for c in range(count)], dtype=np.intp)
    there = np.flatnonzero(end >= 0)
    hangs = sp.csr_array((np.ones(len(there)), (end[there], there)), shape=(len(number), count))
    parts = below.tocsr(), hangs, above.tocsr(), impedance.tocsr(), root.tocsr()
    return Tree(*parts, end, np.array([section for section, _ in number], dtype=np.intp))


def _root(resistance: Array) -> Array:
    """F with F' F the symmetric part of resistances, which is not negative."""
    values, vectors = np.linalg.eigh((resistance + resistance.T) / 2)
    root: Array = np.sqrt(np.maximum(values, 0.0))[:, None] * vectors.T
    return root


def homes_of(feeder: PhaseFeeder) -> list[slice]:
    """Which connections are a household's, household by household."""
    ends = np.cumsum([len(connection.phases) for connection in feeder.connections])
    return [slice(end - len(at.phases), end) for end, at in zip(ends.tolist(), feeder.connections, strict=True)]


@lru_cache(maxsize=8)
def reduced_of(feeder: PhaseFeeder) -> Reduced:
    """Connections, and sections of lines in series, from the transformer on."""
    pairs = [(home, phase) for home, at in enumerate(feeder.connections) for phase in at.phases]
    home = np.array([home for home, _ in pairs], dtype=np.intp)
    phase = np.array([phase for _, phase in pairs], dtype=np.intp)
    share = np.array([1 / len(feeder.connections[home].phases) for home in home])
    above = {line.bus: line for line in feeder.lines}
    below: dict[str, list[int]] = defaultdict(list)  # by the bus that a line feeds: names of lines may be alike
    order: dict[str, int] = {}  # such buses on the way, those nearer to the transformer first
    for c, row in enumerate(home):
        way = []
        bus = feeder.connections[row].bus
        while bus != feeder.root:
            way.append(above[bus])
            bus = above[bus].parent
        for line in reversed(way):
            order.setdefault(line.bus, len(order))
            below[line.bus].append(c)
    sections: dict[tuple[int, ...], list[PhaseLine]] = defaultdict(list)
    for bus in order:
        sections[tuple(below[bus])].append(above[bus])
    names: list[tuple[str, ...]] = []
    carried, impedance, rating = [], [], []
    source = feeder.source
    z0_ohm = source.z0_ohm if feeder.transformer is None else 0j
    if source.z1_ohm or z0_ohm:
        names.append(())
        carried.append(_carries(range(len(pairs)), phase))
        impedance.append(by_sequence(source.z1_ohm, z0_ohm))
        rating.append(np.nan)
    if feeder.transformer is not None:
        names.append(())
        carried.append(_carries(range(len(pairs)), phase))
        impedance.append(feeder.transformer.impedance_ohm(feeder.nominal_voltage_v))
        rating.append(np.nan)
    for members, lines in sections.items():
        names.append(tuple(line.name for line in lines))
        carried.append(_carries(members, phase))
        impedance.append(np.sum([line.impedance_ohm for line in lines], axis=0))
        rating.append(min((line.rating_a for line in lines if line.rating_a is not None), default=np.nan))
    carries = np.array(carried).reshape(-1, 3, len(pairs))
    matrices = np.array(impedance, dtype=complex).reshape(-1, 3, 3)
    shared = np.einsum("gpc,gpq,gqd->cd", carries, matrices, carries, optimize=True)
    no_load = feeder.no_load_pu * ROTATION[phase]
    own = np.arange(len(names)) >= (1 if source.z1_ohm or z0_ohm else 0)
    return Reduced(home, phase, share, no_load, tuple(names), carries, matrices, np.array(rating), own, shared)


def _carries(members: Iterable[int], phase: NDArray[np.intp]) -> Array:
    result = np.zeros((3, len(phase)))
    for c in members:
        result[phase[c], c] = 1
    return result


@dataclass(frozen=True, eq=False)
class PhaseFlow:
    """A power flow of T steps."""

    voltage_pu: Complex  # (C, T), between phase and neutral
    current_a: Complex  # (C, T), of the connections, into the feeder
    losses_kw: Array  # (T,)
    import_kw: Array  # (T,), at the head of the feeder, before its transformer
    import_kvar: Array  # (T,)

    @property
    def magnitude_pu(self) -> Array:
        """(C, T)."""
        result: Array = np.abs(self.voltage_pu)
        return result

    def replaced(self, steps: NDArray[np.bool_], by: PhaseFlow) -> PhaseFlow:
        """With another flow at some of the steps, (T,)."""
        return PhaseFlow(*(np.where(steps, getattr(by, part.name), getattr(self, part.name)) for part in fields(self)))


def phase_flow(
    feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array, start_pu: Complex | None = None
) -> PhaseFlow:
    """The exact power flow of constant powers, (n, T) each, every step on its own, by fixed point.

    Args:
        start_pu: voltages to begin with, (C, T), those of a similar plan.

    Raises:
        SolverError: there is no solution, or none near the nominal voltage.
    """
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    power = 1000 / unit * (reduced.to_connections @ (injection_kw + 1j * injection_kvar))
    no_load = np.broadcast_to(reduced.no_load[:, None], power.shape)
    voltage: Complex = np.array(no_load if start_pu is None else start_pu)
    for _ in range(PASSES):
        current = np.conj(power / voltage)
        moved = no_load + reduced.shared @ current / unit
        still = float(np.max(np.abs(moved - voltage), initial=0.0))
        voltage = moved
        if still <= STANDS_PU:
            break
        if not np.isfinite(still) or np.abs(voltage).min(initial=1.0) < 0.1:
            still = np.inf
            break
    if not still <= STANDS_PU:
        raise SolverError("the power flow has no solution: the feeder cannot carry this plan")
    current = np.conj(power / voltage)
    by_section = reduced.through(current)[reduced.own]
    lost = np.einsum("gpt,gpq,gqt->t", np.conj(by_section), reduced.impedance[reduced.own], by_section) / 1000
    imported = lost - np.sum(injection_kw + 1j * injection_kvar, axis=0)
    return PhaseFlow(voltage, current, lost.real, imported.real, imported.imag)


def lossless_pu(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> Array:
    """Magnitudes of all connections' voltages, (C, T), where currents are those at voltages without load: it has a
    solution whatever the injections."""
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    power = 1000 / unit * (reduced.to_connections @ (injection_kw - 1j * injection_kvar))
    no_load = reduced.no_load[:, None]
    voltage = no_load + reduced.shared @ (power / np.conj(no_load)) / unit
    along: Array = np.real(np.conj(no_load) / np.abs(no_load) * voltage)
    return along


@dataclass(frozen=True, eq=False)
class Loading:
    """What a power flow asks of the conductors and the transformer."""

    phase_a: Array  # (G, 3, T)
    neutral_a: Array  # (G, T)
    line: Array  # (G, T), the most loaded conductor of a section, a fraction of its rating; nan without one
    transformer: Array  # (T,), fraction of its kVA; 0 without one


def loading(feeder: PhaseFeeder, flow: PhaseFlow) -> Loading:
    """Currents of all sections, and how much of their ratings they use."""
    reduced = reduced_of(feeder)
    current = reduced.through(flow.current_a)
    phase_a, neutral_a = np.abs(current), np.abs(current.sum(axis=1))
    most = np.maximum(phase_a.max(axis=1), neutral_a) / reduced.rating_a[:, None]
    kva = feeder.transformer.kva if feeder.transformer else np.inf
    transformer = np.hypot(flow.import_kw, flow.import_kvar) / kva
    return Loading(phase_a, neutral_a, most, transformer)
