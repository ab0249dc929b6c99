"""What a position does to the feeder: load flow, violations, and how much each agent has to do with them.

Everything that has a limit is a row of (K, T): magnitudes of the connections' voltages per unit, then currents in the
conductors of the sections that have a rating, phases and neutral, and the power through the transformer, as fractions
of their ratings. These are complex: the size of a current is far from linear in powers, the current itself nearly is.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.errors import SolverError
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.opendss import dss
from gridpact.grid.three_phase import PhaseFlow, loading, phase_flow, reduced_of

TOLERANCE = 1e-4
"""Beyond a limit by no more, per unit of the voltage or the rating, nothing is violated: power flows differ by it."""

STEP_KW = 0.1
"""By how much an agent's power is moved to see what comes of it."""

EDGE = 1.05
"""A position is looked at where so many times as much has a power flow: nearer to the edge one moved agent has none."""

SCALED = 0.8
"""By how much a position that has no power flow is made smaller at once."""

MOST_COLUMNS = 20_000
"""So many half-hours with one agent's power moved are one load flow."""


@dataclass(frozen=True, eq=False)
class Limits:
    """Of the rows, per unit."""

    low: Array  # (K,), -inf where there is none
    high: Array  # (K,)
    names: tuple[str, ...]
    voltages: int  # how many rows are voltages, the first ones


def limits_of(feeder: PhaseFeeder) -> Limits:
    """Of all that has a limit on a feeder."""
    reduced = reduced_of(feeder)
    voltages = len(reduced.home)
    names = [
        f"the voltage at phase {phase + 1} of bus {feeder.connections[home].bus}"
        for home, phase in zip(reduced.home, reduced.phase, strict=True)
    ]
    for section in np.flatnonzero(np.isfinite(reduced.rating_a)):
        line = reduced.names[section][-1]
        names += [f"phase {phase + 1} of line {line}" for phase in range(3)] + [f"the neutral of line {line}"]
    if feeder.transformer is not None:
        names.append("the transformer")
    low = np.full(len(names), -np.inf)
    high = np.ones(len(names))
    low[:voltages], high[:voltages] = feeder.voltage_min_pu, feeder.voltage_max_pu
    return Limits(low, high, tuple(names), voltages)


def rows_of(feeder: PhaseFeeder, flow: PhaseFlow) -> Complex:
    """What a power flow makes of them, (K, T)."""
    reduced = reduced_of(feeder)
    rated = np.flatnonzero(np.isfinite(reduced.rating_a))
    by_phase = reduced.through(flow.current_a)[rated]  # (R, 3, T)
    conductors = np.concatenate([by_phase, by_phase.sum(axis=1, keepdims=True)], axis=1)
    conductors /= reduced.rating_a[rated, None, None]
    rows = [flow.magnitude_pu.astype(complex), conductors.reshape(-1, flow.losses_kw.size)]
    if feeder.transformer is not None:
        rows.append((flow.import_kw + 1j * flow.import_kvar)[None] / feeder.transformer.kva)
    return np.vstack(rows)


def past(limits: Limits, rows: Complex) -> Array:
    """How far rows are beyond their limits, below 0 within them, (K, T)."""
    size = np.abs(rows)
    return np.asarray(np.maximum(size - limits.high[:, None], limits.low[:, None] - size))


def of_sizes(rows: Complex, slopes: Complex) -> Array:
    """What changes the sizes of rows, (K, T), of what changes them, (K, n, T)."""
    direction = np.conj(rows) / np.maximum(np.abs(rows), 1e-12)
    return np.asarray(np.real(direction[:, None] * slopes))


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """What one kW and one kvar more of each agent into the feeder change, (K, n, T)."""

    per_kw: Complex
    per_kvar: Complex


def carried(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> NDArray[np.bool_]:
    """At which steps there is a power flow, looked for by halves, (T,)."""

    def of(kw: Array, kvar: Array) -> NDArray[np.bool_]:
        count = kw.shape[1]
        try:
            phase_flow(feeder, kw, kvar)
        except SolverError:
            if count == 1:
                return np.zeros(1, dtype=bool)
            half = count // 2
            return np.concatenate([of(kw[:, :half], kvar[:, :half]), of(kw[:, half:], kvar[:, half:])])
        return np.ones(count, dtype=bool)

    return of(injection_kw, injection_kvar)


def scaled_until_carried(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> tuple[Array, Array]:
    """The same, where there is no power flow, or hardly one, scaled towards nothing until there is one."""
    scale = np.ones(injection_kw.shape[1])
    while not (there := carried(feeder, EDGE * scale * injection_kw, EDGE * scale * injection_kvar)).all():
        scale[~there] *= SCALED
    return scale * injection_kw, scale * injection_kvar


def sensitivities(
    feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array, around_pu: Complex | None = None
) -> Sensitivities:
    """By perturbation of the exact load flow, each agent's power by itself, at all steps.

    Args:
        around_pu: voltages of the position, where they are known, (C, T).

    Raises:
        SolverError: a position has no power flow.
    """
    agents = np.arange(len(injection_kw))
    active, reactive = (
        perturbed(feeder, injection_kw, injection_kvar, agents, unit, around_pu) for unit in (1.0, 1.0j)
    )
    return Sensitivities(active, reactive)


def perturbed(
    feeder: PhaseFeeder,
    injection_kw: Array,
    injection_kvar: Array,
    agents: NDArray[np.intp],
    unit: complex,
    around_pu: Complex | None = None,
) -> Complex:
    """What some agents' power changes by itself, (K, agents, T).

    Args:
        unit: what is moved: 1 a kW, 1j a kvar.
        around_pu: see `sensitivities`.

    Raises:
        SolverError: a position has no power flow.
    """
    count, steps = injection_kw.shape
    some = max(1, MOST_COLUMNS // max(2 * steps, 1))
    found = [np.zeros((len(limits_of(feeder).high), 0, steps), dtype=complex)]
    for first in range(0, len(agents), some):
        of = agents[first : first + some]
        step = np.zeros((count, 2 * len(of), steps))
        step[np.tile(of, 2), np.arange(2 * len(of))] = np.repeat([STEP_KW, -STEP_KW], len(of))[:, None]
        kw, kvar = (
            (power[:, None] + part * step).reshape(count, -1)
            for power, part in ((injection_kw, unit.real), (injection_kvar, unit.imag))
        )
        start = None if around_pu is None else np.tile(around_pu, 2 * len(of))
        rows = rows_of(feeder, phase_flow(feeder, kw, kvar, start)).reshape(-1, 2 * len(of), steps)
        up, down = np.split(rows, 2, axis=1)
        found.append((up - down) / (2 * STEP_KW))
    return np.concatenate(found, axis=1)


@dataclass(frozen=True)
class Violations:
    """How many there are: of a voltage, a section's current or the transformer's load, each step by itself."""

    voltage: int
    current: int
    worst_pu: float  # the furthest beyond its limit, of the voltage or the rating; 0 without any
    collapsed: int = 0  # steps without a power flow

    @property
    def count(self) -> int:
        return self.voltage + self.current + self.collapsed


def violations(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> Violations:
    """As OpenDSS has it, with the neutral as a fourth conductor; without it, as the exact power flow of its own.

    Raises:
        SolverError: OpenDSS has no power flow where there is one.
    """
    there = carried(feeder, injection_kw, injection_kvar)
    voltage, used = _judged(feeder, injection_kw[:, there], injection_kvar[:, there])
    beyond = np.maximum(feeder.voltage_min_pu - voltage, voltage - feeder.voltage_max_pu)
    over = used - 1
    worst = max(float(beyond.max(initial=0.0)), float(over.max(initial=0.0)), 0.0)
    return Violations(
        int((beyond > TOLERANCE).sum()), int((over > TOLERANCE).sum()), worst, int(len(there) - there.sum())
    )


def _judged(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> tuple[Array, Array]:
    """Voltages, (C, T), and of sections with a rating and the transformer the part of it that is used, (., T)."""
    reduced, steps = reduced_of(feeder), injection_kw.shape[1]
    rated = np.flatnonzero(np.isfinite(reduced.rating_a))
    if not steps:
        return np.zeros((len(reduced.home), 0)), np.zeros((len(rated) + 1, 0))
    if dss is None:
        flow = phase_flow(feeder, injection_kw, injection_kvar)
        used = loading(feeder, flow)
        return flow.magnitude_pu, np.vstack([used.line[rated], used.transformer[None]])
    judged = four_wire_flow(feeder, injection_kw, injection_kvar)
    row = {line.name: k for k, line in enumerate(feeder.lines)}
    by_line = np.maximum(np.nan_to_num(judged.line_loading), np.nan_to_num(judged.neutral_loading))
    sections = [by_line[[row[name] for name in reduced.names[section]]].max(axis=0) for section in rated]
    return judged.voltage_pu, np.vstack([*sections, np.nan_to_num(judged.transformer_loading)[None]])
