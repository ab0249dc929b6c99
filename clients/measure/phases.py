"""Plans on streets with phases, and what OpenDSS says of them with four wires.

    python -m measure.phases --json reports/phases.json [--days "CASE DAY" ...] [--ipopt]

Every day of fontana16x3, eulv55 and winter16x3 in TG and G, in memory, and days of fontana16x3 on fontana16's own
cable: whether there is a plan, iterations until the plan as carried out stays within 0.1 % of the centralised
three-phase optimum (up to 16 homes), where the contract's test stops, steps outside limits, the largest difference
between voltages of the planner and of OpenDSS, and node 0's time beside that of a balanced feeder with as many homes,
in the same process. `make phases` lets linear algebra have one thread, as processes of nodes do. Days that are in the
JSON file already are taken over.

With --ipopt, where the PyPI package casadi is installed, three days of G besides as IPOPT solves them: not convex, with
the currents as they are.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.grown import grown
from gridpact.community.model import Array, CommunityDay, Feeder
from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder, by_sequence
from gridpact.errors import GridpactError
from gridpact.files import write_atomically
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.three_phase import phase_flow
from gridpact.market.admm.negotiation import Negotiation, plan_of
from gridpact.market.prepared import Prepared
from gridpact.outcome.gaps import compare, stays_below
from gridpact.outcome.indicators import VOLTAGE_TOLERANCE_PU
from gridpact.outcome.outcome import Optimum
from gridpact.problem.local import LocalSolution
from gridpact.problem.operator import OperatorProblem
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.street_operator import StreetOperatorProblem
from measure.ac import ac_optimum

CASES = ("fontana16x3", "winter16x3", "eulv55")
THIN = "fontana16x3-thin"
"""fontana16x3 on fontana16's own cable."""
THIN_DAYS = ("06-10", "06-12", "12-21", "12-22")
NON_CONVEX = ("fontana16x3 06-10", "fontana16x3 12-22", "winter16x3 2018-12-22")
SCENARIOS = (Scenario.TG, Scenario.G)
MOST_FOLLOWED = 16
"""Of more homes only the last plan is carried out, not that of every iteration."""

Row = dict[str, Any]


def measured(case: str, day: str, scenario: Scenario) -> Row:
    """A day in a scenario."""
    community = _on(case, day)
    feeder = community.feeder
    assert isinstance(feeder, PhaseFeeder)
    row: Row = {"case": case, "day": day, "scenario": scenario.name, "homes": len(community.households)}
    started = time.process_time()
    try:
        best = Optimum.of(community, scenario).objective
    except GridpactError as error:
        return row | {"failure": str(error)}
    row["centralised_s"] = time.process_time() - started
    prepared = Prepared.of(community, scenario, NetworkAgreement.DSO)
    gaps = []
    with _Watch() as node_0:
        for iterate in Negotiation.of(prepared).iterates():
            if len(community.households) <= MOST_FOLLOWED or iterate.end is not None:
                gaps.append(compare(prepared, iterate.agents, best)[0])
    kw, kvar = (
        np.array([plan_of(iterate.agents[node]).schedule[key] for node in feeder.nodes])
        for key in ("injection_kw", "injection_kvar")
    )
    judged, planned = four_wire_flow(feeder, kw, kvar), phase_flow(feeder, kw, kvar)
    row |= {
        "to_0_1_percent": stays_below(gaps, 0.001) if len(gaps) == iterate.iteration else None,
        "stopped_at": iterate.iteration,
        "gap_at_stop": gaps[-1],
        "steps_outside": _outside(feeder, kw, kvar),
        "voltage_min_pu": float(judged.voltage_pu.min()),
        "voltage_max_pu": float(judged.voltage_pu.max()),
        "unbalance_max": float(judged.unbalance.max(initial=0.0)),
        "voltage_difference_pu": float(np.abs(judged.voltage_pu - planned.magnitude_pu).max()),
        "node_0_ms": node_0.median_ms,
    }
    for key in ("line_loading", "neutral_loading", "transformer_loading"):
        known = getattr(judged, key)[np.isfinite(getattr(judged, key))]
        row[f"{key}_max"] = float(known.max()) if known.size else None
    row["alone_steps_outside"] = _alone(community)
    return row


def _on(case: str, day: str) -> CommunityDay:
    """A day of a case, with the thin cable if that is what is asked for."""
    if case != THIN:
        return read_community(case).on(day)
    community = read_community("fontana16x3").on(day)
    balanced = read_community("fontana16").on(day).feeder
    assert isinstance(community.feeder, PhaseFeeder)
    assert isinstance(balanced, Feeder)
    thin = {str(line.node): line for line in balanced.lines}
    lines = []
    for line in community.feeder.lines:
        z1 = complex(thin[line.bus].resistance_ohm, thin[line.bus].reactance_ohm)
        lines.append(replace(line, impedance_ohm=by_sequence(z1, 4 * z1), rating_a=thin[line.bus].rating_a))
    return replace(community, feeder=replace(community.feeder, lines=tuple(lines)))


def _outside(feeder: PhaseFeeder, kw: Array, kvar: Array) -> int:
    """Steps at which OpenDSS finds a voltage, a conductor or the transformer beyond its limit, by more than 1e-3."""
    flow = four_wire_flow(feeder, kw, kvar)
    low, high = feeder.voltage_min_pu - VOLTAGE_TOLERANCE_PU, feeder.voltage_max_pu + VOLTAGE_TOLERANCE_PU
    most = 1 + VOLTAGE_TOLERANCE_PU
    outside = ((flow.voltage_pu < low) | (flow.voltage_pu > high)).any(axis=0)
    for loading in (flow.line_loading, flow.neutral_loading, flow.transformer_loading[None]):
        outside |= (np.nan_to_num(loading) > most).any(axis=0)
    return int(outside.sum())


def _alone(community: CommunityDay) -> int:
    """The same if every home does what is best for it alone (B), its inverter giving no reactive power."""
    assert isinstance(community.feeder, PhaseFeeder)
    prepared = Prepared.of(community, Scenario.B, NetworkAgreement.DSO)
    drawn_kvar = np.array([home.load_kvar for home in community.households])
    return _outside(community.feeder, prepared.baseline_net_kw, -drawn_kvar)


class _Watch:
    """How long node 0 takes for an iteration: process time, not that of a clock."""

    def __init__(self) -> None:
        self.spent: list[float] = []

    def __enter__(self) -> _Watch:
        self._kept = [(kind, kind.solve) for kind in (StreetOperatorProblem, OperatorProblem)]
        for kind, solve in self._kept:
            kind.solve = self._timed(solve)  # type: ignore[method-assign]
        return self

    def __exit__(self, *_: object) -> None:
        for kind, solve in self._kept:
            kind.solve = solve  # type: ignore[method-assign]

    def _timed(self, solve: Callable[..., LocalSolution]) -> Callable[..., LocalSolution]:
        def timed(*given: Any) -> LocalSolution:
            started = time.process_time()
            answer = solve(*given)
            self.spent.append(time.process_time() - started)
            return answer

        return timed

    @property
    def median_ms(self) -> float:
        return 1000 * statistics.median(self.spent)


def balanced_ms(homes: int, scenario: Scenario) -> float:
    """Node 0's time for an iteration on fontana16's balanced feeder, grown to so many homes."""
    community = grown(read_community("fontana16").on("06-10"), homes, 24, 0, None)
    with _Watch() as node_0:
        Negotiation.of(Prepared.of(community, scenario, NetworkAgreement.DSO)).agreement()
    return node_0.median_ms


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, required=True)
    parser.add_argument("--days", nargs="+", metavar="CASE DAY", help="each in quotes; default all")
    parser.add_argument("--ipopt", action="store_true")
    arguments = parser.parse_args()
    days = arguments.days or [f"{case} {day}" for case in CASES for day in read_community(case).days
                              if case != "winter16x3" or "-12-" in day]  # fmt: skip
    days += [] if arguments.days else [f"{THIN} {day}" for day in THIN_DAYS]
    report = json.loads(arguments.json.read_text()) if arguments.json.exists() else {"days": [], "node_0": []}
    there = {(row["case"], row["day"], row["scenario"]) for row in report["days"]}
    for case, day in (named.split() for named in days):
        for scenario in SCENARIOS:
            if (case, day, scenario.name) not in there:
                report["days"].append(measured(case, day, scenario))
                _write(arguments.json, report)
    for homes in sorted({row["homes"] for row in report["days"]}):
        for scenario in SCENARIOS:
            if not any((row["homes"], row["scenario"]) == (homes, scenario.name) for row in report["node_0"]):
                balanced = balanced_ms(homes, scenario)
                report["node_0"].append({"homes": homes, "scenario": scenario.name, "balanced_ms": balanced})
                _write(arguments.json, report)
    if arguments.ipopt:
        report["non_convex"] = [ac_optimum(*named.split()) for named in NON_CONVEX]
        _write(arguments.json, report)


def _write(path: Path, report: Row) -> None:
    write_atomically(path, json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
