"""What a position does to the feeder: load flow, violations, and how much each agent has to do with them.

Everything that has a limit is a row of (K, T): voltages of the connections per unit, then the conductors of the
sections that have a rating, phases and neutral, and the transformer, as fractions of their ratings.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.opendss import dss
from gridpact.grid.three_phase import PhaseFlow, loading, phase_flow, reduced_of

TOLERANCE = 1e-4
"""Beyond a limit by no more, per unit of the voltage or the rating, nothing is violated: power flows differ by it."""

STEP_KW = 0.1
"""By how much an agent's power is moved to see what comes of it."""


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


def rows_of(feeder: PhaseFeeder, flow: PhaseFlow) -> Array:
    """What a power flow makes of them, (K, T)."""
    reduced, used = reduced_of(feeder), loading(feeder, flow)
    rated = np.flatnonzero(np.isfinite(reduced.rating_a))
    conductors = np.concatenate([used.phase_a, used.neutral_a[:, None]], axis=1)[rated]  # (R, 4, T)
    conductors /= reduced.rating_a[rated, None, None]
    transformer = [used.transformer[None]] if feeder.transformer is not None else []
    return np.vstack([flow.magnitude_pu, conductors.reshape(-1, flow.losses_kw.size), *transformer])


@dataclass(frozen=True, eq=False)
class Sensitivities:
    """What one kW and one kvar more of each agent into the feeder change, (K, n, T)."""

    per_kw: Array
    per_kvar: Array


def sensitivities(
    feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array, around_pu: Complex | None = None
) -> Sensitivities:
    """By perturbation of the exact load flow, each agent's power by itself, at all steps.

    Args:
        around_pu: voltages of the position, where they are known, (C, T).

    Raises:
        SolverError: a position has no power flow.
    """

    def moved(kw: Array, kvar: Array) -> Array:
        return rows_of(feeder, phase_flow(feeder, kw, kvar, around_pu))

    per_kw: list[Array] = []
    per_kvar: list[Array] = []
    for agent in range(len(injection_kw)):
        step = np.zeros_like(injection_kw)
        step[agent] = STEP_KW
        for of, (kw, kvar) in ((per_kw, (step, 0 * step)), (per_kvar, (0 * step, step))):
            up = moved(injection_kw + kw, injection_kvar + kvar)
            down = moved(injection_kw - kw, injection_kvar - kvar)
            of.append((up - down) / (2 * STEP_KW))
    return Sensitivities(np.stack(per_kw, axis=1), np.stack(per_kvar, axis=1))


@dataclass(frozen=True)
class Violations:
    """How many there are: of a voltage, a section's current or the transformer's load, each step by itself."""

    voltage: int
    current: int
    worst_pu: float  # the furthest beyond its limit, of the voltage or the rating; 0 without any

    @property
    def count(self) -> int:
        return self.voltage + self.current


def violations(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> Violations:
    """As OpenDSS has it, with the neutral as a fourth conductor; without it, as the exact power flow of its own.

    Raises:
        SolverError: the position has no power flow.
    """
    reduced = reduced_of(feeder)
    if dss is None:
        flow = phase_flow(feeder, injection_kw, injection_kvar)
        used = loading(feeder, flow)
        voltage, sections = flow.magnitude_pu, used.line[np.isfinite(reduced.rating_a)]
        transformer = used.transformer
    else:
        judged = four_wire_flow(feeder, injection_kw, injection_kvar)
        row = {line.name: k for k, line in enumerate(feeder.lines)}
        by_line = np.maximum(np.nan_to_num(judged.line_loading), np.nan_to_num(judged.neutral_loading))
        rated = [reduced.names[g] for g in np.flatnonzero(np.isfinite(reduced.rating_a))]
        voltage, transformer = judged.voltage_pu, np.nan_to_num(judged.transformer_loading)
        sections = np.array([by_line[[row[name] for name in names]].max(axis=0) for names in rated])
    beyond = np.maximum(feeder.voltage_min_pu - voltage, voltage - feeder.voltage_max_pu)
    over = np.vstack([sections.reshape(-1, beyond.shape[1]), transformer[None]]) - 1
    worst = max(float(beyond.max(initial=0.0)), float(over.max(initial=0.0)), 0.0)
    return Violations(int((beyond > TOLERANCE).sum()), int((over > TOLERANCE).sum()), worst)
