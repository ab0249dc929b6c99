"""All ways to agree on the same days: what they cost, save and send."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.read import read_community
from gridpact.errors import InexactRelaxationError, InfeasibleError
from gridpact.market.registry import SCENARIOS
from gridpact.outcome.outcome import solved
from gridpact.report.markdown import markdown
from gridpact.text import share


@dataclass(frozen=True)
class ComparedMechanism:
    """A day agreed on in one way."""

    case: str
    day: str
    scenario: str
    paid: float  # by all households, losses in, currency
    saved: float  # against each on its own, a fraction of the size of that
    best: float  # what the optimum would have them pay
    gap: float  # of the objective, from the optimum that the mechanism is compared with, a fraction
    traded_kwh: float
    peak_kw: float  # highest import of the feeder
    voltage_min_pu: float
    voltage_max_pu: float
    rounds: int
    messages: int  # numbers sent


def compared(case: str, day: str) -> Iterator[ComparedMechanism]:
    """A day in all ways that have a plan on it."""
    community = read_community(case).on(day)
    for scenario in SCENARIOS:
        try:
            outcome = solved(community, scenario)
        except (InfeasibleError, InexactRelaxationError):
            continue
        voltage = outcome.flow.voltage_pu
        yield ComparedMechanism(
            case=case,
            day=day,
            scenario=scenario.name,
            paid=outcome.cost.paid,
            saved=share(outcome.saved, outcome.paid_alone) or 0.0,
            best=outcome.optimum.paid,
            gap=outcome.implemented_gap,
            traded_kwh=outcome.traded_kwh,
            peak_kw=float(np.max(outcome.flow.import_kw, initial=0.0)),
            voltage_min_pu=float(voltage.min()),
            voltage_max_pu=float(voltage.max()),
            rounds=outcome.iterations,
            messages=outcome.agreed.messages,
        )


def compared_table(rows: Sequence[ComparedMechanism]) -> str:
    return markdown(
        "day | scenario | paid | saved | optimum | above it | traded, kWh | import, kW | voltage, p.u. | rounds "
        "| numbers sent",
        (
            f"{row.case} {row.day} | {row.scenario} | {row.paid:.2f} | {row.saved + 0.0:.1%} | {row.best:.2f} "
            f"| {row.gap:.3%} | {row.traded_kwh:.1f} | {row.peak_kw:.1f} "
            f"| {row.voltage_min_pu:.3f} to {row.voltage_max_pu:.3f} | {row.rounds} | {row.messages:,}"
            for row in rows
        ),
    )
