"""What the grid operator's node publishes of a street with phases, and whether injections are within it, as the referee
has it.

`PublishedStreet.outside` repeats the integer arithmetic of `Street.sol` to the last bit; the same flow in floats, for
all steps at a time, tells where it has to be asked.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import GRID_CONNECTION, Array
from gridpact.community.street import PHASES, Complex, PhaseFeeder
from gridpact.errors import InputError
from gridpact.grid.limits import TOLERANCE, Integers
from gridpact.grid.three_phase import reduced_of
from gridpact.limits import MOST_NODES

MAX_SWEEPS = 20
"""A flow that has not settled by then is one that the street cannot carry: those within limits settle in about half."""

SETTLED_BITS = 27
"""A flow has settled where no voltage moves by more than 2^-27 of the nominal one."""

IMPEDANCE_BITS = 24  # a unit of impedance is 2^-24 ohm
CURRENT_UNIT = 10**15  # of mW / nV in nA
POWER_BITS = 40  # a unit of apparent power is 2^40 nV nA
HALF_ROOT_3 = 866_025_403_784_438_647  # 1e-18
LEAST_NOMINAL, MOST_NOMINAL = 2**30, 2**48  # nV
LEAST_NO_LOAD, MOST_NO_LOAD = 125 * 10**6, 2 * 10**9  # 1e-9 p.u.
MOST_SECTIONS = 255

_CLOSE = 0.5e-4
"""Half of the tolerance: what is less than that outside by the flow in floats is inside by that in integers."""

_QUICK = MAX_SWEEPS // 2
"""A flow that settles in floats after so many sweeps settles in integers well before the last."""

_MARK = bytes(4)
_HEADER = struct.Struct(">4sQIIIB")
_SECTION = struct.Struct(">BBQ")  # parent, phases, rating
_IMPEDANCE = struct.Struct(">ii")
_HOME = struct.Struct(">BBB")
_TRANSFORMER = 8  # among the marks of a section; below are its phases

_Phasors = list[tuple[int, int]]
"""Real and imaginary parts, by phase."""


@dataclass(frozen=True)
class PublishedSection:
    """Lines in series, the transformer, or the source's own impedance."""

    parent: int  # the section above, from 1; 0: the source
    phases: tuple[int, ...]
    transformer: bool
    rating: int  # uA of each phase and the neutral, uVA of a transformer; 0: none
    impedance: tuple[tuple[int, int], ...]  # resistance and reactance, 2^-24 ohm, of its phases row by row


@dataclass(frozen=True)
class PublishedHome:
    node: int
    section: int  # at whose end it is, from 1; 0: at the source
    phases: tuple[int, ...]  # share its power equally


@dataclass(frozen=True)
class PublishedStreet:
    """The street in the integers of the chain, sections from the source outwards."""

    nominal: int  # nV, between phase and neutral
    lowest: int  # 1e-6 p.u.
    highest: int
    no_load: int  # 1e-9 p.u., of the source
    sections: tuple[PublishedSection, ...]
    homes: tuple[PublishedHome, ...]

    @staticmethod
    def of(feeder: PhaseFeeder) -> PublishedStreet:
        """What is promised of a street. Where its voltage without load is outside its limits, they are wider here, so
        that there is always an answer within them: that nobody takes or gives anything."""
        reduced = reduced_of(feeder)
        at_end = np.zeros(len(reduced.home), dtype=np.intp)  # of which section a connection is, among those up to here
        head = -1 if feeder.transformer is None else int(np.flatnonzero(reduced.own)[0])
        sections = []
        for g, carries in enumerate(reduced.carries):
            carried = np.flatnonzero(carries.any(axis=0))
            phases = np.flatnonzero(carries.any(axis=1))
            rating = reduced.rating_a[g]
            if feeder.transformer is not None and g == head:
                rating = 1000 * feeder.transformer.kva
            units = np.round(reduced.impedance[g][np.ix_(phases, phases)] * 2**IMPEDANCE_BITS).ravel()
            sections.append(
                PublishedSection(
                    parent=int(at_end[carried[0]]),
                    phases=tuple(phases.tolist()),
                    transformer=g == head,
                    rating=max(round(1e6 * rating), 1) if np.isfinite(rating) else 0,
                    impedance=tuple((int(one.real), int(one.imag)) for one in units),
                )
            )
            at_end[carried] = g + 1
        first = np.searchsorted(reduced.home, np.arange(len(feeder.connections)))
        return PublishedStreet(
            nominal=round(1e9 * feeder.phase_voltage_v),
            lowest=min(round(1e6 * feeder.voltage_min_pu), floor(1e6 * feeder.no_load_pu)),
            highest=max(round(1e6 * feeder.voltage_max_pu), ceil(1e6 * feeder.no_load_pu)),
            no_load=round(1e9 * feeder.no_load_pu),
            sections=tuple(sections),
            homes=tuple(
                PublishedHome(node, int(at_end[c]), at.phases)
                for node, c, at in zip(feeder.nodes, first, feeder.connections, strict=True)
            ),
        )

    # ------------------------------------------------------------------ as a book

    def encoded(self) -> bytes:
        """The book of the operator's node, see `Street.sol`.

        Raises:
            InputError: a figure does not fit.
        """
        try:
            parts = [_HEADER.pack(_MARK, self.nominal, self.lowest, self.highest, self.no_load, len(self.sections))]
            for section in self.sections:
                marks = _mask(section.phases) | _TRANSFORMER * section.transformer
                parts.append(_SECTION.pack(section.parent, marks, section.rating))
                parts += [_IMPEDANCE.pack(*one) for one in section.impedance]
            parts += [_HOME.pack(home.node, home.section, _mask(home.phases)) for home in self.homes]
        except struct.error as error:
            raise InputError(f"the street does not fit the form in which it is published: {error}") from None
        book = b"".join(parts)
        if decoded_street(book) != self:
            raise InputError(
                "the street does not fit the form in which it is published: it takes 1.1 V to 281 kV between phase and "
                "neutral, and 0.125 to 2 p.u. of that at the source"
            )
        return book

    # ------------------------------------------------------------------ in integers

    def outside(self, active: Mapping[int, int], reactive: Mapping[int, int]) -> bool:
        """Whether a voltage, a current or the transformer's load is more than the tolerance beyond its limit, or the
        street cannot carry the injections, or one is of a node that is not on it.

        Args:
            active, reactive: by node, mW and mvar; nodes that are not there inject nothing.
        """
        nodes = {home.node for home in self.homes}
        if any(value and node not in nodes for powers in (active, reactive) for node, value in powers.items()):
            return True
        flow = self._flow(active, reactive)
        return flow is None or self._beyond(*flow)

    def _flow(
        self, active: Mapping[int, int], reactive: Mapping[int, int]
    ) -> tuple[list[_Phasors], list[_Phasors]] | None:
        """Voltages at the end of each section, nV, the source first, and currents towards the source, nA; None where
        they do not settle."""
        source = self._source
        voltages = [source] * (len(self.sections) + 1)
        least, most = self.nominal**2 // 64, 4 * self.nominal**2
        for _ in range(MAX_SWEEPS):
            currents = self._currents(voltages, active, reactive)
            moved = 0
            for k, section in enumerate(self.sections, start=1):
                ends = list(voltages[section.parent])
                for row, p in enumerate(section.phases):
                    e, f = _higher(section, row, currents[k])
                    e, f = e + ends[p][0], f + ends[p][1]
                    # 1/8 and 2 p.u.: beyond, there is no plan to look for.
                    if not least <= e * e + f * f <= most:
                        return None
                    before = voltages[k][p]
                    moved = max(moved, abs(e - before[0]), abs(f - before[1]))
                    ends[p] = e, f
                voltages[k] = ends
            if moved <= self.nominal >> SETTLED_BITS:
                return voltages, currents
        return None

    @property
    def _source(self) -> _Phasors:
        """Voltages of the source."""
        size = self.nominal * self.no_load // 10**9
        half, rise = size // 2, size * HALF_ROOT_3 // 10**18
        return [(size, 0), (-half, -rise), (-half, rise)]

    def _currents(
        self, voltages: list[_Phasors], active: Mapping[int, int], reactive: Mapping[int, int]
    ) -> list[_Phasors]:
        currents: list[_Phasors] = [[(0, 0)] * len(PHASES) for _ in voltages]
        for home in self.homes:
            s, q = active.get(home.node, 0), reactive.get(home.node, 0)
            for p in home.phases:
                e, f = voltages[home.section][p]
                size = len(home.phases) * (e * e + f * f)
                real, imaginary = CURRENT_UNIT * (s * e + q * f), CURRENT_UNIT * (s * f - q * e)
                _add(currents[home.section], p, (_towards_zero(real, size), _towards_zero(imaginary, size)))
        for k in range(len(self.sections), 0, -1):
            for p in self.sections[k - 1].phases:
                _add(currents[self.sections[k - 1].parent], p, currents[k][p])
        return currents

    def _beyond(self, voltages: list[_Phasors], currents: list[_Phasors]) -> bool:
        nominal = self.nominal**2
        low, high = max(self.lowest - TOLERANCE, 0) ** 2 * nominal, (self.highest + TOLERANCE) ** 2 * nominal
        for home in self.homes:
            for p in home.phases:
                if not low <= _square(voltages[home.section][p]) * 10**12 <= high:
                    return True
        for k, section in enumerate(self.sections, start=1):
            if not section.rating:
                continue
            most = section.rating * (10**6 + TOLERANCE)  # pA or pVA
            if section.transformer:
                above = voltages[section.parent]
                p = sum(v[0] * i[0] + v[1] * i[1] for v, i in zip(above, currents[k], strict=True))
                q = sum(v[1] * i[0] - v[0] * i[1] for v, i in zip(above, currents[k], strict=True))
                if _square((p >> POWER_BITS, q >> POWER_BITS)) > (most * 10**6 >> POWER_BITS) ** 2:
                    return True
                continue
            neutral = tuple(map(sum, zip(*currents[k], strict=True)))
            if any(_square(one) * 10**6 > most**2 for one in (*currents[k], (neutral[0], neutral[1]))):
                return True
        return False

    # ------------------------------------------------------------------ at many steps

    def outside_at(self, nodes: tuple[int, ...], active: Integers, reactive: Integers) -> NDArray[np.bool_]:
        """At which steps injections are outside, (T,).

        Args:
            nodes: whose; other nodes inject nothing.
            active, reactive: mW and mvar, (nodes, T).
        """
        here = self._floats
        known = [k for k, node in enumerate(nodes) if node in here.row]
        power = np.zeros((len(self.homes), active.shape[1]), dtype=complex)
        power[[here.row[nodes[k]] for k in known]] = (active[known] + 1j * reactive[known]) / 1e3
        result = here.doubtful(power)
        others = [k for k, node in enumerate(nodes) if node not in here.row]
        result |= (active[others] != 0).any(axis=0) | (reactive[others] != 0).any(axis=0)
        for t in np.flatnonzero(result):
            p, q = (dict(zip(nodes, part[:, t].tolist(), strict=True)) for part in (active, reactive))
            result[t] = self.outside(p, q)
        return result

    def impossible_at(self, node: int, active: Integers, reactive: Integers) -> NDArray[np.bool_]:
        """At which steps injections of one node are outside whatever others inject, (T,): where the street does not
        have it, or a section that leads to nobody else would carry more than it may at any voltage within limits.

        Args:
            active, reactive: mW and mvar, (T,).
        """
        power = np.hypot(active.astype(float), reactive.astype(float)) / 1e3
        home = next((one for one in self.homes if one.node == node), None)
        result: NDArray[np.bool_] = power > 0
        if home is None:
            return result
        most_a = np.inf
        used, at = self._used, home.section
        while at and used[at] == 1:
            section = self.sections[at - 1]
            if section.rating and not section.transformer:
                most_a = min(most_a, section.rating / 1e6)
            at = section.parent
        volts = (self.highest + 2 * TOLERANCE) / 1e6 * self.nominal / 1e9
        beyond: NDArray[np.bool_] = power / (len(home.phases) * volts) > most_a * (1 + 2 * TOLERANCE / 1e6)
        return beyond

    @cached_property
    def _used(self) -> list[int]:
        """How many homes are beyond each section, the source first."""
        used = [0] * (len(self.sections) + 1)
        for home in self.homes:
            at = home.section
            while at:
                used[at] += 1
                at = self.sections[at - 1].parent
        return used

    @cached_property
    def _floats(self) -> _Floats:
        return _Floats.of(self)


@dataclass(frozen=True, eq=False)
class _Floats:
    """A published street in floats: V, A, ohm, W; every phase of a home is a connection, C of them."""

    row: dict[int, int]  # of a node among the homes
    home: NDArray[np.intp]  # (C,)
    share: Array  # (C, 1), of its power
    settled_v: float
    range_v: tuple[float, float]  # of the voltages that limits allow, half of the tolerance beyond them
    source: Complex  # (C, 1)
    shared: Complex  # (C, C), impedances that two connections share
    rated: Array  # (R, C), of connections to the conductors that have a rating,
    rating_a: Array  # (R, 1)
    transformers: tuple[tuple[Complex, Complex, Array, float], ...]  # voltages above it, (3, 1), and what currents add,
    # (3, C); connections to its phases, (3, C); VA

    @staticmethod
    def of(street: PublishedStreet) -> _Floats:
        pairs = [(k, home, p) for k, home in enumerate(street.homes) for p in home.phases]
        count, sections = len(pairs), street.sections
        carries = np.zeros((len(sections) + 1, 3, count))
        for c, (_, home, p) in enumerate(pairs):
            at = home.section
            while at:
                carries[at, p, c] = 1
                at = sections[at - 1].parent
        drops = np.zeros((len(sections) + 1, 3, count), dtype=complex)  # of a section's end, for an ampere
        impedance = np.zeros((len(sections) + 1, 3, 3), dtype=complex)
        conductors: list[Array] = []
        ratings: list[float] = []
        transformers: list[tuple[Complex, Complex, Array, float]] = []
        source: Complex = np.array([[complex(*one) / 1e9] for one in street._source], dtype=np.complex128)
        for k, section in enumerate(sections, start=1):
            own = np.array([complex(*one) for one in section.impedance]) / 2**IMPEDANCE_BITS
            size = len(section.phases)
            impedance[k][np.ix_(section.phases, section.phases)] = own.reshape(size, size)
            drops[k] = drops[section.parent] + impedance[k] @ carries[k]
            if section.rating and section.transformer:
                transformers.append((source, drops[section.parent], carries[k], section.rating / 1e6))
            elif section.rating:
                conductors += [*carries[k], carries[k].sum(axis=0)]
                ratings += [section.rating / 1e6] * 4
        phase = np.array([p for _, _, p in pairs], dtype=np.intp)
        at_end = np.array([home.section for _, home, _ in pairs], dtype=np.intp)
        nominal = street.nominal / 1e9
        return _Floats(
            row={home.node: k for k, home in enumerate(street.homes)},
            home=np.array([k for k, _, _ in pairs], dtype=np.intp),
            share=np.array([[1 / len(home.phases)] for _, home, _ in pairs]),
            settled_v=nominal / 2**SETTLED_BITS,
            range_v=((street.lowest / 1e6 - _CLOSE) * nominal, (street.highest / 1e6 + _CLOSE) * nominal),
            source=source[phase],
            shared=drops[at_end, phase],
            rated=np.array(conductors).reshape(-1, count),
            rating_a=np.array(ratings)[:, None],
            transformers=tuple(transformers),
        )

    def doubtful(self, power: Complex) -> NDArray[np.bool_]:
        """At which steps the integers may find powers of the homes, (n, T), W, outside, (T,)."""
        own = self.share * power[self.home]
        voltage = np.broadcast_to(self.source, own.shape)
        with np.errstate(all="ignore"):
            for _ in range(_QUICK):
                current = np.conj(own / voltage)
                after = self.source + self.shared @ current
                settled = np.abs(after - voltage).max(axis=0) <= self.settled_v
                voltage = after
                if settled.all():
                    break
            size = np.abs(voltage)
            inside = settled & np.all((size >= self.range_v[0]) & (size <= self.range_v[1]), axis=0)
            inside &= np.all(np.abs(self.rated @ current) <= (1 + _CLOSE) * self.rating_a, axis=0)
            for source, drops, carries, rating in self.transformers:
                through = np.sum((source + drops @ current) * np.conj(carries @ current), axis=0)
                inside &= np.abs(through) <= (1 + _CLOSE) * rating
        outside: NDArray[np.bool_] = ~inside
        return outside


def decoded_street(book: bytes) -> PublishedStreet | None:
    """The inverse of `PublishedStreet.encoded`, whatever was declared: None where it is no street. The referee reads it
    so."""
    if len(book) < _HEADER.size or book[: len(_MARK)] != _MARK:
        return None
    _, nominal, lowest, highest, no_load, count = _HEADER.unpack_from(book)
    sound = LEAST_NOMINAL <= nominal < MOST_NOMINAL and LEAST_NO_LOAD <= no_load <= MOST_NO_LOAD
    at, sections = _HEADER.size, list[PublishedSection]()
    has: list[tuple[int, ...]] = [PHASES]
    for k in range(count):
        if not sound or at + _SECTION.size > len(book):
            return None
        parent, marks, rating = _SECTION.unpack_from(book, at)
        phases = _phases(marks % _TRANSFORMER)
        end = at + _SECTION.size + len(phases) ** 2 * _IMPEDANCE.size
        sound = parent <= k and marks < 2 * _TRANSFORMER and _within(phases, has[parent]) and end <= len(book)
        if not sound:
            return None
        impedance = tuple((r, x) for r, x in _IMPEDANCE.iter_unpack(book[at + _SECTION.size : end]))
        sections.append(PublishedSection(parent, phases, marks >= _TRANSFORMER, rating, impedance))
        has.append(phases)
        at = end
    if not sound or at == len(book) or (len(book) - at) % _HOME.size:
        return None
    homes, known = list[PublishedHome](), {GRID_CONNECTION}
    for node, section, marks in _HOME.iter_unpack(book[at:]):
        phases = _phases(marks)
        if node >= MOST_NODES or node in known or section > count or marks >= _TRANSFORMER:
            return None
        if not _within(phases, has[section]):
            return None
        known.add(node)
        homes.append(PublishedHome(node, section, phases))
    return PublishedStreet(nominal, lowest, highest, no_load, tuple(sections), tuple(homes))


def _within(phases: tuple[int, ...], there: tuple[int, ...]) -> bool:
    return bool(phases) and set(phases) <= set(there)


def _mask(phases: Iterable[int]) -> int:
    return sum(1 << p for p in phases)


def _phases(mask: int) -> tuple[int, ...]:
    return tuple(p for p in PHASES if mask >> p & 1)


def _higher(section: PublishedSection, row: int, currents: _Phasors) -> tuple[int, int]:
    """By how much the voltage of one of its phases is higher at its end."""
    e = f = 0
    size = len(section.phases)
    for (r, x), q in zip(section.impedance[row * size : (row + 1) * size], section.phases, strict=True):
        real, imaginary = currents[q]
        e += r * real - x * imaginary
        f += r * imaginary + x * real
    return e >> IMPEDANCE_BITS, f >> IMPEDANCE_BITS


def _add(to: _Phasors, p: int, current: tuple[int, int]) -> None:
    to[p] = to[p][0] + current[0], to[p][1] + current[1]


def _square(phasor: tuple[int, int]) -> int:
    return phasor[0] ** 2 + phasor[1] ** 2


def _towards_zero(numerator: int, denominator: int) -> int:
    """Their quotient, as Solidity has it."""
    quotient = abs(numerator) // denominator
    return quotient if numerator >= 0 else -quotient
