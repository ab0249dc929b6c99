"""How many iterations a day needs, and where the contract's test would stop: in memory, with the chain's integers."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import InfeasibleError
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.memory import Iterate, negotiate
from gridpact.market.admm.parameters import Penalties, Resolution, Tolerances
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.local import LocalSolution
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import implemented_cost
from gridpact.problem.view import NodeView, node_views
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


@dataclass(frozen=True)
class Negotiation:
    """A round as it would be opened on a chain, to be played in memory with the same integers."""

    views: Sequence[NodeView]
    penalties: Penalties
    resolution: Resolution
    tolerances: Tolerances

    @staticmethod
    def of(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> Negotiation:
        """The round of a community.

        Raises:
            InfeasibleError: names the household that has no plan.
        """
        net_kw = baseline_net_kw(community)
        views = node_views(community, scenario, agreement)
        penalties = Penalties.of_community(community, net_kw)
        return Negotiation(views, penalties, Resolution(), Tolerances.of(views, net_kw))

    def iterates(self) -> Iterator[Iterate]:
        """All iterates until the contract's test stops the round, or there are too many.

        The test is passed one iteration late: only then have the residuals reached the chain.
        """
        stop = False
        for iterate in negotiate(self.views, self.penalties, self.resolution):
            yield iterate
            if stop or iterate.iteration == MOST_ITERATIONS:
                return
            stop = self.hold(iterate)

    def hold(self, iterate: Iterate) -> bool:
        """The contract's test of an iterate."""
        return self.tolerances.hold(iterate.residuals.as_tuple(), iterate.scalars, self.resolution)

    def rms_w(self, iterate: Iterate) -> tuple[float, ...]:
        """The four residuals of an iterate, W a coupled scalar."""
        grid, trade = (max(count, 1) for count in iterate.scalars)
        unit_w = 1000 * self.resolution.power_kw
        pairs = zip(iterate.residuals.as_tuple(), (grid, grid, trade, trade), strict=True)
        return tuple(unit_w * math.sqrt(squares / count) for squares, count in pairs)


def measure(day: Day) -> Measured:
    """Negotiates until the contract's test would stop the round, and compares every iterate with the optimum."""
    community = read_community(day.case).on(day.day)
    try:
        reference = centralised_optimum(community, day.scenario)
    except InfeasibleError:
        return Measured(day, feasible=False)
    gaps: list[float] = []
    voltage_min = voltage_max = 1.0
    exactness = 0.0
    for iterate in Negotiation.of(community, day.scenario, day.agreement).iterates():
        gap, voltage_min, voltage_max = compare(community, day.scenario, iterate.agents, reference.cost)
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


def implemented_gaps(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> Array:
    """How far the plan as carried out would be from the optimum if the round ended there, after every iteration until
    the contract's test stops it: (implemented cost - optimum) / |optimum|, (iterations,).

    Raises:
        InfeasibleError: no plan keeps the limits.
        SolverError: a solver or the power flow failed.
    """
    optimum = centralised_optimum(community, scenario).cost
    iterates = Negotiation.of(community, scenario, agreement).iterates()
    return np.array([compare(community, scenario, iterate.agents, optimum)[0] for iterate in iterates])


def compare(
    community: CommunityDay, scenario: Scenario, agents: Mapping[int, Agent], optimum: float
) -> tuple[float, float, float]:
    """Implemented gap (0 where the optimum costs nothing), lowest and highest voltage of an iterate."""
    nodes = [household.node for household in community.households]
    schedules = [plan_of(agents[node]).schedule for node in nodes]
    cost = implemented_cost(
        community,
        scenario,
        np.array([schedule["injection_kw"] for schedule in schedules]),
        np.array([schedule["injection_kvar"] for schedule in schedules]),
        {node: agents[node].trades.recorded_kw for node in nodes},
    )
    voltage = cost.flow.voltage_pu
    gap = (cost.total - optimum) / abs(optimum) if optimum else 0.0
    return gap, float(voltage.min()), float(voltage.max())


def plan_of(agent: Agent) -> LocalSolution:
    """What the household would do if the round ended here."""
    if agent.view.partners or agent.solution is None:
        return agent.conclude()
    return agent.solution


def relaxation_gap(agents: Mapping[int, Agent]) -> float:
    """The largest relaxation gap in what the nodes solved last, p.u. on 100 kVA; 0 without a network."""
    solutions = [agent.solution for agent in agents.values() if agent.solution]
    gaps = [s.schedule["relaxation_gap_pu"].max() for s in solutions if "relaxation_gap_pu" in s.schedule]
    return float(max(gaps, default=0.0))


def stays_below(gaps: Sequence[float], limit: float) -> int:
    """The first iteration after which the gap stays within the limit; 0 where the last one is not."""
    above = np.flatnonzero(np.abs(gaps) > limit)
    if len(above) == 0:
        return 1
    return 0 if above[-1] == len(gaps) - 1 else int(above[-1]) + 2


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
