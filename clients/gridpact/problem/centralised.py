"""The same market solved in one place: the reference that every agreement is compared with, eqs. (12)-(13)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.devices.device import flat
from gridpact.errors import InexactRelaxationError, InfeasibleError
from gridpact.problem.coefficients import Partner, partners
from gridpact.problem.constraints import branch_flow, supply_contract
from gridpact.problem.directions import Directions, chosen
from gridpact.problem.meter import behind_meter
from gridpact.problem.scenario import Scenario
from gridpact.problem.solving import solve

EXACTNESS_LIMIT = 1e-5  # p.u. on 100 kVA
TIES = (0.01, 0.1)
"""Of the mean import price: what a lost kWh costs more where a solution is not tight, and if it still is not."""


@dataclass(frozen=True)
class CentralisedSolution:
    """The optimum of a community on its day."""

    cost: float  # currency, the scenario's objective
    supply: float  # of that imports less feed-in
    injection_kw: Array  # (n, T)
    injection_kvar: Array  # (n, T)
    relaxation_gap: float  # max psi v - P^2 - Q^2, per unit on 100 kVA; 0 without a network
    voltage_pu: Array | None  # (n, T)
    nodal_price: Array | None
    """(n, T), currency/kWh, the duals of the power balances: what one kWh more at a node costs the community in G; in
    TG what it costs beyond the household's contract. None without a network."""


def centralised_optimum(community: CommunityDay, scenario: Scenario) -> CentralisedSolution:
    """Solves a scenario for the whole community at once.

    Where losing energy costs nothing, an optimum may lose it in lines, beyond what they can lose, instead of curtailing
    it. A small price decides between the two; it is not in the cost that is returned.

    Raises:
        InfeasibleError: no plan keeps all limits.
        InexactRelaxationError: the cone relaxation is not tight.
        SolverError: the solver failed.
    """
    directions = [chosen(home, community.prices, community.step_hours) for home in community.households]
    while True:
        solution, decided = _directed_optimum(community, scenario, directions)
        if all(more is None for more in decided):
            return solution
        directions = [one if more is None else more for one, more in zip(directions, decided, strict=True)]


def _directed_optimum(
    community: CommunityDay, scenario: Scenario, directions: Sequence[Directions]
) -> tuple[CentralisedSolution, list[Directions | None]]:
    """With the opposed powers of each household as directed, and what is to be directed besides."""
    dt = community.step_hours
    supply: cp.Expression = cp.Constant(0.0)  # imports less feed-in
    besides: cp.Expression = cp.Constant(0.0)  # trading coefficients, losses bought at node 0
    constraints: list[cp.Constraint] = []
    injections, reactive, balances, opposed = [], [], [], []
    for household, directed in zip(community.households, directions, strict=True):
        meter = behind_meter(household, dt)
        constraints += flat(meter.constraints) + flat(directed.constraints(meter.opposed))
        opposed.append(meter.opposed)
        injections.append(meter.injection_kw)
        reactive.append(meter.injection_kvar)
        if scenario.has_contracts:
            contract = supply_contract(community.prices, dt)
            supply += contract.cost
            balances.append(contract.net_import + meter.injection_kw)

    if scenario.has_trades:
        traded, trading_cost = _trades(community)
        besides += trading_cost
        constraints += [balance == sold for balance, sold in zip(balances, traded, strict=True)]
    elif scenario.has_contracts:
        constraints += [balance == 0 for balance in balances]

    flow = None
    if scenario.has_network:
        flow = branch_flow(community.feeder, cp.vstack(injections), cp.vstack(reactive))
        constraints += flat(flow.constraints)
        if scenario.has_contracts:
            besides += dt * (community.prices.loss_price @ cp.sum(flow.losses_kw, axis=0))
    if not scenario.has_contracts:
        contract = supply_contract(community.prices, dt)
        given = cp.sum(cp.vstack(injections), axis=0) if flow is None else flow.root_kw
        constraints.append(contract.net_import == -given)
        supply += contract.cost

    whose = f"the community '{community.name}' on {community.day}"

    def solved(surcharge: Array) -> None:
        extra = dt * (surcharge @ cp.sum(flow.losses_kw, axis=0)) if flow is not None and surcharge.any() else 0.0
        try:
            solve(cp.Problem(cp.Minimize(supply + besides + extra), constraints), whose)
        except InfeasibleError as error:
            raise InfeasibleError(_why_infeasible(community) if scenario.has_network else str(error)) from None

    prices = community.prices
    surcharge = np.zeros(community.steps) if scenario.has_contracts else prices.loss_surcharge
    solved(surcharge)
    gap, voltage, nodal_price = 0.0, None, None
    if flow is not None:
        for tie in TIES:
            if np.max(flow.relaxation_gap.value) > EXACTNESS_LIMIT:
                solved(surcharge + tie * prices.mean_import)
        balance, *_ = flow.constraints["the power flow of the feeder"]
        nodal_price = -np.asarray(balance.dual_value)[: len(community.households)] / dt
        voltage = np.sqrt(1 + flow.voltage.value)
        gap = float(np.max(flow.relaxation_gap.value))
        if gap > EXACTNESS_LIMIT:
            raise InexactRelaxationError(
                f"the cone relaxation of '{community.name}' on {community.day} is not tight: gap {gap:.1e} p.u., "
                f"limit {EXACTNESS_LIMIT:.0e}; its losses and voltages would not be physical"
            )
    decided = [
        one.after([(pair.one.value, pair.other.value) for pair in pairs])
        for one, pairs in zip(directions, opposed, strict=True)
    ]
    solution = CentralisedSolution(
        cost=float(supply.value + besides.value),
        supply=float(supply.value),
        injection_kw=np.array([e.value for e in injections]),
        injection_kvar=np.array([e.value for e in reactive]),
        relaxation_gap=gap,
        voltage_pu=voltage,
        nodal_price=nodal_price,
    )
    return solution, decided


def _why_infeasible(community: CommunityDay) -> str:
    """Names the voltage limit that is broken most by the plan that breaks them least."""
    feeder = community.feeder
    behind_meters = [behind_meter(household, community.step_hours) for household in community.households]
    slack = cp.Variable((len(feeder.lines), community.steps), nonneg=True)
    flow = branch_flow(
        feeder,
        cp.vstack([d.injection_kw for d in behind_meters]),
        cp.vstack([d.injection_kvar for d in behind_meters]),
        slack,
    )
    constraints = flat(flow.constraints) + [c for d in behind_meters for c in flat(d.constraints)]
    # First the worst violation, then all of them; the losses keep the relaxation tight where nothing else does.
    effort = 1000 * cp.max(slack) + cp.sum(slack) + 1e-4 * cp.sum(flow.losses_kw)
    solve(cp.Problem(cp.Minimize(effort), constraints), f"the community '{community.name}' on {community.day}")
    row, step = np.unravel_index(int(np.argmax(slack.value)), slack.shape)
    voltage = float(np.sqrt(1 + flow.voltage.value[row, step]))
    low = voltage < 1
    homes = community.households
    where = f"'{homes[row].name}' (node {row + 1})" if row < len(homes) else f"junction {row + 1}"
    return (
        f"'{community.name}' has no feasible plan on {community.day}: at best the voltage at "
        f"{where} at {community.start_times[step]} is {voltage:.4f} p.u., "
        f"{'below' if low else 'above'} the limit of {feeder.voltage_min_pu if low else feeder.voltage_max_pu:g}; "
        "choose another day or a stronger feeder"
    )


def _trades(community: CommunityDay) -> tuple[list[cp.Expression], cp.Expression]:
    """Net sales of every household, shape (T,) each, and the trading costs gamma |d| of both sides."""
    books = partners(community)
    pairs = [
        (
            node,
            partner.node,
            np.array(partner.steps),
            partner.coefficient + _coefficient(books, partner.node, node),
        )
        for node in sorted(books)
        for partner in books[node]
        if node < partner.node
    ]
    steps = community.steps
    if not pairs:
        return [cp.Constant(np.zeros(steps)) for _ in books], cp.Constant(0.0)
    count = sum(len(pair_steps) for _, _, pair_steps, _ in pairs)
    sold = cp.Variable(count)  # by the lower node of each pair
    place = np.zeros((len(books), steps, count))
    row = {node: k for k, node in enumerate(sorted(books))}
    start = 0
    for lower, higher, pair_steps, _ in pairs:
        columns = start + np.arange(len(pair_steps))
        place[row[lower], pair_steps, columns] = 1
        place[row[higher], pair_steps, columns] = -1
        start += len(pair_steps)
    both = np.concatenate([coefficients for *_, coefficients in pairs])
    return [place[k] @ sold for k in range(len(books))], community.step_hours * (both @ cp.abs(sold))


def _coefficient(books: dict[int, tuple[Partner, ...]], node: int, other: int) -> Array:
    return next(partner.coefficient for partner in books[node] if partner.node == other)
