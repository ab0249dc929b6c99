"""What the independent power flow found of a street, phase by phase, for the page of a run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import PHASES, PhaseFeeder
from gridpact.outcome.outcome import Outcome


@dataclass(frozen=True)
class PhaseRow:
    """A phase, or the neutral; sentences of what is where and when, empty where nothing is known."""

    name: str
    homes: int
    lowest: str
    highest: str
    current: str
    loading: str


@dataclass(frozen=True)
class ByPhase:
    """What is shown of a street."""

    rows: tuple[PhaseRow, ...]
    unbalance: str
    transformer: str


def street_of(result: Outcome) -> ByPhase | None:
    """What is shown; None of a balanced feeder, whose phases are alike."""
    feeder, flow, times = result.community.feeder, result.flow.by_phase, result.community.start_times
    if not isinstance(feeder, PhaseFeeder) or flow is None:
        return None
    places = [(home, phase) for home, at in enumerate(feeder.connections) for phase in at.phases]
    phase_of = np.array([phase for _, phase in places])
    names = [result.community.households[home].name for home, _ in places]
    lines = [line.name for line in feeder.lines]
    ratings = np.array([np.nan if line.rating_a is None else line.rating_a for line in feeder.lines])[:, None]

    def voltage(phase: int, lowest: bool) -> str:
        rows = np.flatnonzero(phase_of == phase)
        if not len(rows):
            return ""
        row, step = _place(flow.voltage_pu[rows] * (-1 if lowest else 1))
        return f"{flow.voltage_pu[rows[row], step]:.4f} p.u., {names[rows[row]]}, {times[step]}"

    def most(values: Array, unit: str, named: Sequence[str]) -> str:
        if not np.isfinite(values).any():
            return ""
        row, step = _place(np.nan_to_num(values, nan=-1.0))
        at = f", {named[row]}" if named else ""
        return f"{values[row, step]:.1f} {unit}{at}, {times[step]}"

    rows = [
        PhaseRow(
            f"Phase {phase + 1}", int(np.sum(phase_of == phase)), voltage(phase, True), voltage(phase, False),
            most(flow.phase_a[:, phase], "A", lines), most(100 * flow.phase_a[:, phase] / ratings, "%", lines),
        )
        for phase in PHASES
    ]  # fmt: skip
    buses = [feeder.root, *(line.bus for line in feeder.lines if line.phases == PHASES)]
    rows.append(
        PhaseRow(
            "Neutral", 0, "", f"{most(flow.neutral_v, 'V', buses)} against earth",
            most(flow.neutral_a, "A", lines), most(100 * flow.neutral_loading, "%", lines),
        )
    )  # fmt: skip
    return ByPhase(
        tuple(rows),
        most(100 * flow.unbalance, "%", buses),
        most(100 * flow.transformer_loading[None], "% of its rating", ()),
    )


def _place(values: Array) -> tuple[int, int]:
    """Row and step of the largest."""
    row, step = np.unravel_index(int(np.argmax(values)), values.shape)
    return int(row), int(step)
