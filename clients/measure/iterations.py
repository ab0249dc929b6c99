"""How many iterations a day needs, and where the contract's test would stop: in memory, with the chain's integers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.market.admm.negotiation import Negotiation, relaxation_gap
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.prepared import Prepared
from gridpact.outcome.gaps import compare, stays_below
from gridpact.outcome.outcome import Optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.report.markdown import markdown


@dataclass(frozen=True)
class Day:
    """What to measure."""

    case: str
    day: str
    scenario: Scenario
    agreement: NetworkAgreement = NetworkAgreement.DSO


@dataclass(frozen=True)
class Measured:
    """One day in one scenario. Gaps are fractions; iterations are those after which the gap stays below a limit."""

    of: Day
    feasible: bool
    to_0_8_percent: int = 0
    to_0_1_percent: int = 0  # 0: not reached before the stop
    stopped_at: int = 0
    gap_at_stop: float = 0.0
    relaxation_gap: float = 0.0
    voltage_min_pu: float = 1.0
    voltage_max_pu: float = 1.0


def measure(day: Day) -> Measured:
    """Negotiates until the contract's test would stop the round, and compares every iterate with the optimum."""
    community = read_community(day.case).on(day.day)
    try:
        best = Optimum.of(community, day.scenario).objective
    except InfeasibleError:
        return Measured(day, feasible=False)
    gaps: list[float] = []
    voltage_min = voltage_max = 1.0
    exactness = 0.0
    prepared = Prepared.of(community, day.scenario, day.agreement)
    for iterate in Negotiation.of(prepared).iterates():
        gap, voltage_min, voltage_max = compare(prepared, iterate.agents, best)
        gaps.append(gap)
        exactness = relaxation_gap(iterate.agents)
    return Measured(
        of=day,
        feasible=True,
        to_0_8_percent=stays_below(gaps, 0.008),
        to_0_1_percent=stays_below(gaps, 0.001),
        stopped_at=len(gaps),
        gap_at_stop=gaps[-1],
        relaxation_gap=exactness,
        voltage_min_pu=voltage_min,
        voltage_max_pu=voltage_max,
    )


def table(rows: Sequence[Measured]) -> str:
    """All rows as Markdown, and a summary by case and scenario."""
    cases, days = [], []
    for case in dict.fromkeys(row.of.case for row in rows):
        for scenario in dict.fromkeys(row.of.scenario for row in rows):
            some = [row for row in rows if row.of.case == case and row.of.scenario == scenario]
            ran = [row for row in some if row.feasible]
            if not ran:
                continue
            count = f"{len(ran)}" + (f" of {len(some)} feasible" if len(ran) < len(some) else "")
            voltage = f"{min(r.voltage_min_pu for r in ran):.4f} to {max(r.voltage_max_pu for r in ran):.4f}"
            cases.append(
                f"{case} | {scenario.name} | {count} | {_middle([r.to_0_8_percent for r in ran])} "
                f"| {_middle([r.to_0_1_percent for r in ran])} | {_middle([r.stopped_at for r in ran])} "
                f"| {max(abs(r.gap_at_stop) for r in ran):.3%} | {max(r.relaxation_gap for r in ran):.0e} | {voltage}"
            )
    for row in rows:
        where = f"{row.of.case} | {row.of.day} | {row.of.scenario.name} "
        if row.feasible:
            to_0_1 = row.to_0_1_percent or "later"
            days.append(f"{where}| {row.to_0_8_percent} | {to_0_1} | {row.stopped_at} | {row.gap_at_stop:.3%}")
        else:
            days.append(f"{where}| no feasible plan | | |")
    by_case = markdown(
        "case | scenario | days | to 0.8 %: median, most | to 0.1 %: median, most | stopped at: median, most "
        "| gap at stop, most | relaxation gap, most | voltage, p.u.",
        cases,
    )
    by_day = markdown("case | day | scenario | to 0.8 % | to 0.1 % | stopped at | gap at stop", days)
    return f"{by_case}\n\n{by_day}"


def _middle(values: Sequence[int]) -> str:
    known = [value or MOST_ITERATIONS for value in values]
    return f"{np.median(known):g}, {max(known)}"
