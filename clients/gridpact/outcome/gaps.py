"""How far from the optimum a day's plan would be if the round ended at one iteration or another."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.negotiation import Negotiation, plan_of
from gridpact.market.prepared import Prepared
from gridpact.outcome.outcome import Optimum, relative_gap
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import booked, device_costs, implemented_cost


def implemented_gaps(community: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> Array:
    """How far the plan as carried out would be from the optimum if the round ended there, after every iteration until
    the contract's test stops it, (iterations,), see `relative_gap`.

    Raises:
        InfeasibleError: no plan keeps the limits.
        SolverError: a solver or the power flow failed.
    """
    best = Optimum.of(community, scenario).objective
    prepared = Prepared.of(community, scenario, agreement)
    return np.array([compare(prepared, iterate.agents, best)[0] for iterate in Negotiation.of(prepared).iterates()])


def compare(prepared: Prepared, agents: Mapping[int, Agent], optimum: float) -> tuple[float, float, float]:
    """Implemented gap (see `relative_gap`), lowest and highest voltage of an iterate."""
    community = prepared.community
    nodes = [household.node for household in community.households]
    schedules = [plan_of(agents[node]).schedule for node in nodes]
    cost = implemented_cost(
        community,
        prepared.scenario,
        np.array([schedule["injection_kw"] for schedule in schedules]),
        np.array([schedule["injection_kvar"] for schedule in schedules]),
        booked(community, prepared.books, {node: agents[node].trades.recorded_kw for node in nodes}),
        device_costs(community, schedules),
    )
    voltage = cost.flow.voltage_pu
    return relative_gap(cost.objective, optimum), float(voltage.min()), float(voltage.max())


def stays_below(gaps: Sequence[float], limit: float) -> int:
    """The first iteration after which the gap stays within the limit; 0 where the last one is not."""
    above = np.flatnonzero(np.abs(gaps) > limit)
    if len(above) == 0:
        return 1
    return 0 if above[-1] == len(gaps) - 1 else int(above[-1]) + 2
