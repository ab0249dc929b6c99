"""Random streets with phases, for tests."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import (
    PHASES,
    Connection,
    PhaseFeeder,
    PhaseLine,
    Source,
    Transformer,
    by_sequence,
)
from gridpact.grid.four_wire import FourWireFlow

Rng = np.random.Generator


def street(rng: Rng, buses: int = 30, homes: int = 14) -> PhaseFeeder:
    """A radial street: laterals that lose phases, junctions without homes, buses with several."""
    lines: list[PhaseLine] = []
    for k in range(1, buses):
        above = lines[int(rng.integers(len(lines)))] if lines and rng.random() < 0.9 else None
        had = above.phases if above else PHASES
        kept = rng.permutation(had)[: int(rng.integers(1, len(had) + 1))] if rng.random() < 0.3 else np.array(had)
        if rng.random() < 0.5:
            z1 = complex(rng.uniform(0.005, 0.04), rng.uniform(0.001, 0.01))
            impedance = by_sequence(z1, rng.uniform(2, 5) * z1)
        else:  # unlike conductors, coupled
            root = rng.normal(0, 0.08, (3, 3))
            impedance = root @ root.T + 0.004 * np.eye(3) + 1j * (0.003 * np.ones((3, 3)) + 0.005 * np.eye(3))
        rating = float(rng.uniform(60, 200)) if rng.random() < 0.5 else None
        phases = tuple(int(phase) for phase in sorted(kept))
        lines.append(PhaseLine(f"l{k}", f"b{k}", above.bus if above else "b0", phases, impedance, rating))
    connections = []
    for _ in range(homes):
        line = lines[int(rng.integers(len(lines)))]
        some = rng.permutation(line.phases)[: int(rng.integers(1, len(line.phases) + 1))]
        connections.append(Connection(line.bus, tuple(int(phase) for phase in sorted(some))))
    transformer = Transformer(100, rng.uniform(1, 2), 4.0, rng.uniform(0.97, 1.05)) if rng.random() < 0.6 else None
    source = Source(rng.uniform(0.98, 1.02), 0.003 + 0.008j, 0.005 + 0.02j) if rng.random() < 0.5 else Source()
    return PhaseFeeder(400, 0.9, 1.1, "b0", tuple(lines), tuple(connections), transformer, source)


def beyond(feeder: PhaseFeeder, flow: FourWireFlow) -> Array:
    """By how much a flow is beyond the limits, the most of all: p.u. of voltages, parts of ratings, (T,); below zero
    where it keeps them all."""
    parts = [feeder.voltage_min_pu - flow.voltage_pu, flow.voltage_pu - feeder.voltage_max_pu]
    parts += [used - 1 for used in (flow.line_loading, flow.neutral_loading, flow.transformer_loading[None])]
    most: Array = np.fmax.reduce(np.concatenate(parts), axis=0)
    return most


KINDS = ("lowest", "highest", "line", "transformer")


def limited(feeder: PhaseFeeder, flow: FourWireFlow, step: int, kind: str, away: float) -> PhaseFeeder | None:
    """The same street with a single limit, which a flow breaks at a step by `away`, p.u. or a part of the rating; it
    keeps it, where that is below zero. None where it has no such limit, or would not keep it without load."""
    lines = tuple(replace(line, rating_a=None) for line in feeder.lines)
    free = _rated(replace(feeder, voltage_min_pu=0.2, voltage_max_pu=1.9, lines=lines), 1e6)
    if kind == "lowest":
        lowest = float(flow.voltage_pu[:, step].min() + away)
        return replace(free, voltage_min_pu=lowest) if lowest <= feeder.no_load_pu else None
    if kind == "highest":
        highest = float(flow.voltage_pu[:, step].max() - away)
        return replace(free, voltage_max_pu=highest) if highest >= feeder.no_load_pu else None
    if kind == "transformer":
        # Behind a source without impedance OpenDSS tells powers to 1e-4 kW only.
        if not feeder.source.z1_ohm:
            return None
        return feeder.transformer and _rated(free, 1e-6 * float(flow.transformer_loading[step]) / (1 + away))
    most = np.fmax(np.nan_to_num(flow.phase_a[:, :, step]).max(axis=1), np.nan_to_num(flow.neutral_a[:, step]))
    at = int(most.argmax())
    rated = replace(lines[at], rating_a=float(most[at] / (1 + away)))
    return replace(free, lines=(*lines[:at], rated, *lines[at + 1 :]))


def _rated(feeder: PhaseFeeder, times: float) -> PhaseFeeder:
    """With a transformer of so many times the kVA, and the same impedance."""
    if (one := feeder.transformer) is None:
        return feeder
    percent = times * one.resistance_percent, times * one.reactance_percent
    return replace(feeder, transformer=Transformer(times * one.kva, *percent, one.tap))
