"""The same market solved in one place: the reference that every agreement is compared with, eqs. (12)-(13)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from gridpact.community.model import Array, CommunityDay
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.devices.device import flat
from gridpact.errors import InexactRelaxationError, InfeasibleError, SolverError
from gridpact.grid.three_phase import loading, phase_flow, reduced_of
from gridpact.grid.three_phase_plan import PhasePlan, no_load_pu
from gridpact.problem.coefficients import Partner, partners
from gridpact.problem.constraints import BranchFlow, drawing_fee, network_plan, peak_fee, supply_contract
from gridpact.problem.daily import TradedPairs, solve_daily
from gridpact.problem.departure import Departure
from gridpact.problem.directions import Directions, chosen
from gridpact.problem.meter import behind_meter
from gridpact.problem.scenario import Scenario
from gridpact.problem.solving import solve

EXACTNESS_LIMIT = 1e-5  # p.u. on 100 kVA
TIES = (0.01, 0.1, 1.0)
"""Of the mean import price: what a lost kWh costs more where a solution is not tight, and while it still is not."""

STANDS_PU = 1e-5
"""A plan on a street stands where no voltage of it is further from that of its power flow."""

MOST_PASSES = 24

NEARNESS = 0.002
"""Of a kW away from the plan before, as a part of what it costs, kW^-1."""

PATIENT = 8
"""After so many passes, which may go to and fro between two plans for ever, each is around the middle of two, and pays
`FIRMER` times as much as the one before to stay near to it, up to `FIRMEST` times `NEARNESS`: who has to adjust for a
limit of all, a transformer's, are many who cost nearly the same, and each pass takes others of them."""

FIRMER, FIRMEST = 4.0, 4.0**5

SMALL_SLACK_PU = 1e-6
RATINGS = ("the ratings of the lines", "the transformer's rating")


@dataclass(frozen=True)
class CentralisedSolution:
    """The optimum of a community on its day."""

    cost: float  # currency, the scenario's objective
    supply: float  # of that imports less feed-in
    fees: float  # of that what the grid operator gets beside it
    injection_kw: Array  # (n, T)
    injection_kvar: Array  # (n, T)
    relaxation_gap: float  # max psi v - P^2 - Q^2, per unit on 100 kVA; 0 without a network
    voltage_pu: Array | None  # (n, T)
    nodal_price: Array | None
    """(n, T), currency/kWh, the duals of the power balances: what one kWh more at a node costs the community in G; in
    TG what it costs beyond the household's contract. None without a network."""

    @property
    def paid(self) -> float:
        """What all pay together, but for losses where those are no part of the supply, currency."""
        return self.supply + self.fees


def centralised_optimum(
    community: CommunityDay,
    scenario: Scenario,
    departure: Departure | None = None,
    most_passes: int = MOST_PASSES,
    tell: Callable[[int, float], None] = lambda number, off_pu: None,
) -> CentralisedSolution:
    """Solves a scenario for the whole community at once.

    Where losing energy costs nothing, an optimum may lose it in lines, beyond what they can lose, instead of curtailing
    it. A small price decides between the two; it is not in the cost that is returned.

    On a street the network is linear in the injections around a point only: it is solved again around what was found,
    until that stands (`STANDS_PU`).

    Args:
        departure: from what households wished, and what that costs.
        most_passes: so often it is solved again on a street, for the same directions of devices.
        tell: is told how many passes are done on a street, and how far voltages of the last are from a power flow's.

    Raises:
        InfeasibleError: no plan keeps all limits.
        InexactRelaxationError: the cone relaxation is not tight, or on a street the passes come to no end.
        SolverError: the solver failed.
    """
    directions: Sequence[Directions | None] = [None] * len(community.households)
    while True:
        solution, decided = _settled(community, scenario, directions, departure, most_passes, tell)
        if all(more is None for more in decided):
            return solution
        directions = [one if more is None else more for one, more in zip(directions, decided, strict=True)]


def _settled(
    community: CommunityDay,
    scenario: Scenario,
    directions: Sequence[Directions | None],
    departure: Departure | None,
    most_passes: int,
    tell: Callable[[int, float], None],
) -> tuple[CentralisedSolution, list[Directions | None]]:
    """With the opposed powers of each household as directed, and what is to be directed besides.

    Args:
        directions: None: as `chosen` for it.
    """
    feeder = community.feeder
    if not scenario.has_network or not isinstance(feeder, PhaseFeeder):
        only = _solved(community, scenario, directions, departure)
        return only.solution, only.decided
    solved: _Pass | None = None
    for number in range(most_passes):
        around = solved
        firmness = min(FIRMER ** max(number - PATIENT, 0), FIRMEST)
        solved = _solved(community, scenario, directions, departure, around, firmness)
        tell(number + 1, solved.off_pu)
        if solved.off_pu <= STANDS_PU:
            return solved.solution, solved.decided
        if around is not None and number >= PATIENT:
            solved = solved.towards(around)
    assert solved is not None
    raise InexactRelaxationError(
        f"the plan of '{community.name}' on {community.day} does not settle on its street: voltages are still "
        f"{solved.off_pu:.1e} p.u. off after {most_passes} passes"
    )


@dataclass(frozen=True)
class _Pass:
    """An optimum, on a street around a point."""

    solution: CentralisedSolution
    decided: list[Directions | None]  # what is to be directed besides
    voltage_pu: Complex | None = None  # on a street by the exact power flow, (C, T)
    current_a: Complex | None = None  # the same, of the connections
    off_pu: float = 0.0  # how far voltages of the problem are from those of the power flow

    def towards(self, before: _Pass) -> _Pass:
        """The point in the middle of two."""
        assert self.voltage_pu is not None
        assert before.voltage_pu is not None
        kw = (self.solution.injection_kw + before.solution.injection_kw) / 2
        kvar = (self.solution.injection_kvar + before.solution.injection_kvar) / 2
        middle = replace(self.solution, injection_kw=kw, injection_kvar=kvar)
        current = None
        if self.current_a is not None and before.current_a is not None:
            current = (self.current_a + before.current_a) / 2
        return replace(self, solution=middle, voltage_pu=(self.voltage_pu + before.voltage_pu) / 2, current_a=current)


def _solved(
    community: CommunityDay,
    scenario: Scenario,
    directions: Sequence[Directions | None],
    departure: Departure | None = None,
    before: _Pass | None = None,
    firmness: float = 1.0,
) -> _Pass:
    """The optimum; on a street around the pass before, which it stays near where all else is the same to it.

    Args:
        firmness: how many times `NEARNESS` that is paid.
    """
    dt = community.step_hours
    supply: cp.Expression = cp.Constant(0.0)  # imports less feed-in
    fees: cp.Expression = cp.Constant(0.0)  # to the grid operator, on trades and peaks
    besides: cp.Expression = cp.Constant(0.0)  # what using devices costs, and losses bought at node 0
    constraints: list[cp.Constraint] = []
    injections, reactive, balances, opposed, charged = [], [], [], [], []
    # Without a network, what trading could save at best: of several tariffs all contracts, and trades for nothing.
    each_contracts = scenario.has_contracts or (community.own_tariffs and not scenario.has_network)
    directed = []
    for household, given in zip(community.households, directions, strict=True):
        meter = behind_meter(household, dt)
        own = community.prices_of(household)
        directed.append(given or chosen(household, own, dt, len(meter.opposed)))
        constraints += flat(meter.constraints) + flat(directed[-1].constraints(meter.opposed))
        opposed.append(meter.opposed)
        besides += meter.cost
        injections.append(meter.injection_kw)
        reactive.append(meter.injection_kvar)
        fees += peak_fee(community.prices, household, meter.injection_kw)
        if each_contracts:
            contract = supply_contract(own, dt)
            supply += contract.cost
            balances.append(contract.net_import + meter.injection_kw)
        else:
            charged.append(-meter.injection_kw)

    if departure is not None:
        besides += departure.cost(cp.vstack(injections), cp.vstack(reactive), dt)

    trades = _trades(community) if scenario.has_trades else None
    if trades is not None:
        constraints += [balance == trades.sums[k] for k, balance in enumerate(balances)]
        charged += [-trades.sums[k] for k in range(len(balances))]
    elif each_contracts and not scenario.has_contracts:
        constraints.append(sum(balances) == 0)
        charged += [-balance for balance in balances]
    elif scenario.has_contracts:
        constraints += [balance == 0 for balance in balances]

    for drawn in charged:
        fee, within = drawing_fee(community.prices, drawn, dt)
        fees, constraints = fees + fee, constraints + within

    network: BranchFlow | PhasePlan | None = None
    if scenario.has_network:
        around = None if before is None else before.voltage_pu
        # What an aggregator's loop finds by perturbing the load flow can only be compared with exact slopes.
        current = None if before is None or departure is None else before.current_a
        network = network_plan(community.feeder, cp.vstack(injections), cp.vstack(reactive), around, current_a=current)
        constraints += flat(network.constraints)
        if scenario.has_contracts:
            besides += dt * (community.prices.loss_price @ network.lost_kw)
    if not each_contracts:
        contract = supply_contract(community.prices, dt, in_common=True)
        given = cp.sum(cp.vstack(injections), axis=0) if network is None else network.root_kw
        constraints.append(contract.net_import == -given)
        supply += contract.cost
        if (fee := community.prices.trade_fee) is not None:  # it is in the import price, and was paid for what is drawn
            supply, fees = supply + dt * (fee @ contract.imported), fees - dt * (fee @ contract.imported)

    whose = f"the community '{community.name}' on {community.day}"
    nearness = cp.Constant(0.0) if before is None else firmness * _nearness(community, before, injections, reactive)

    def solved(surcharge: Array) -> tuple[Array, Array, float]:
        """s and q, (n, T), and trading coefficients."""
        extra = dt * (surcharge @ network.lost_kw) if network is not None and surcharge.any() else 0.0
        try:
            problem = cp.Problem(cp.Minimize(supply + fees + besides + nearness + extra), constraints)
            # A street's is another one in every pass.
            trading = solve_daily(problem, whose, trades, once=isinstance(network, PhasePlan))
        except InfeasibleError as error:
            raise InfeasibleError(_why_infeasible(community) if scenario.has_network else str(error)) from None
        except SolverError:  # on a street limits that cannot hold are not always certain to the solver
            if network is None or not (why := _why_infeasible(community)):
                raise
            raise InfeasibleError(why) from None
        return np.array([e.value for e in injections]), np.array([e.value for e in reactive]), trading

    prices = community.prices
    surcharge = np.zeros(community.steps) if scenario.has_contracts else prices.loss_surcharge
    if before is not None and (prices.feed_in_price <= 0).any():
        # Nobody can see whether a street's losses are tight before it stands.
        surcharge = surcharge + TIES[0] * prices.mean_import
    injection_kw, injection_kvar, trading = solved(surcharge)
    gap, voltage, nodal_price, at, current_a, off = 0.0, None, None, None, None, 0.0
    if network is not None:
        for tie in TIES if isinstance(network, BranchFlow) else ():
            if _looseness(network, injection_kw, injection_kvar) > EXACTNESS_LIMIT:
                injection_kw, injection_kvar, trading = solved(surcharge + tie * prices.mean_import)
        nodal_price = -np.asarray(network.balance.dual_value)[: len(community.households)] / dt
        gap = _looseness(network, injection_kw, injection_kvar)
        if isinstance(network, PhasePlan):
            planned = network.voltage_pu.value
            flow = network.follow(injection_kw, injection_kvar)
            off = float(np.max(np.abs(planned - flow.magnitude_pu), initial=0.0))
            voltage, at, current_a = flow.magnitude_pu, flow.voltage_pu, flow.current_a
        else:
            voltage = np.sqrt(1 + network.voltage.value)
        if gap > EXACTNESS_LIMIT and off <= STANDS_PU:
            raise InexactRelaxationError(
                f"the cone relaxation of '{community.name}' on {community.day} is not tight: gap {gap:.1e} p.u., "
                f"limit {EXACTNESS_LIMIT:.0e}; its losses and voltages would not be physical"
            )
    decided = [
        one.after([(pair.one.value, pair.other.value) for pair in pairs])
        for one, pairs in zip(directed, opposed, strict=True)
    ]
    solution = CentralisedSolution(
        cost=float(supply.value + fees.value + besides.value) + trading,
        supply=float(supply.value),
        fees=float(fees.value),
        injection_kw=injection_kw,
        injection_kvar=injection_kvar,
        relaxation_gap=max(gap, 0.0),
        voltage_pu=voltage,
        nodal_price=nodal_price,
    )
    return _Pass(solution, decided, at, current_a, off)


def _looseness(network: BranchFlow | PhasePlan, injection_kw: Array, injection_kvar: Array) -> float:
    """How far the relaxation is from exact, per unit on 100 kVA: of currents, on a street of its losses."""
    if isinstance(network, BranchFlow):
        return float(np.max(network.relaxation_gap.value))
    flow = phase_flow(network.feeder, injection_kw, injection_kvar, network.around_pu)
    return float(np.max(network.lost_kw.value - flow.losses_kw)) / 100


def _nearness(
    community: CommunityDay, before: _Pass, injections: Sequence[cp.Expression], reactive: Sequence[cp.Expression]
) -> cp.Expression:
    """A little for what a plan is away from the one before: among plans that cost the same it decides, and where the
    plan stands it is nothing."""
    weight = NEARNESS * community.step_hours * float(np.mean(np.abs(community.prices.import_price)))
    away = cp.vstack(injections) - before.solution.injection_kw
    away_kvar = cp.vstack(reactive) - before.solution.injection_kvar
    return weight * (cp.sum_squares(away) + cp.sum_squares(away_kvar))


def _why_infeasible(community: CommunityDay) -> str:
    """Names the limit that is broken most by the plan that breaks them least; nothing where it breaks none."""
    feeder, steps = community.feeder, community.steps
    meters = [behind_meter(household, community.step_hours) for household in community.households]
    kw, kvar = (cp.vstack(side) for side in ([m.injection_kw for m in meters], [m.injection_kvar for m in meters]))
    within = [c for meter in meters for c in flat(meter.constraints)]
    whose = f"the community '{community.name}' on {community.day}"
    begin = f"'{community.name}' has no feasible plan on {community.day}: at best "
    end = "; choose another day or a stronger feeder"
    around, passes = (no_load_pu(feeder, steps), 3) if isinstance(feeder, PhaseFeeder) else (None, 1)
    for _ in range(passes):
        rows = len(feeder.lines) if around is None else len(around)
        slack = cp.Variable((rows, steps), nonneg=True)
        network = network_plan(feeder, kw, kvar, around, slack)
        # First the worst violation, then all of them; the losses keep the relaxation tight where nothing else does.
        effort = 1000 * cp.max(slack) + cp.sum(slack) + 1e-4 * cp.sum(network.lost_kw)
        soft = {name: family for name, family in network.constraints.items() if name not in RATINGS}
        solve(cp.Problem(cp.Minimize(effort), [*flat(soft), *within]), whose)
        if isinstance(network, PhasePlan):
            try:
                around = network.follow(kw.value, kvar.value).voltage_pu
            except SolverError:  # so far beyond its limits that it has no power flow
                break
    if isinstance(network, PhasePlan) and float(np.max(slack.value)) < SMALL_SLACK_PU:
        overloaded = _overloaded(network, kw.value, kvar.value, community)
        return begin + overloaded + end if overloaded else ""
    row, step = np.unravel_index(int(np.argmax(slack.value)), slack.shape)
    homes = community.households
    if isinstance(network, PhasePlan):
        reduced = reduced_of(network.feeder)
        home, voltage = int(reduced.home[row]), float(network.voltage_pu.value[row, step])
        bus = network.feeder.connections[home].bus
        at = f"'{homes[home].name}' (phase {reduced.phase[row] + 1} of bus {bus})"
    else:
        voltage = float(np.sqrt(1 + network.voltage.value[row, step]))
        at = f"'{homes[row].name}' (node {row + 1})" if row < len(homes) else f"junction {row + 1}"
    low = voltage < 1
    return (
        f"{begin}the voltage at {at} at {community.start_times[step]} is {voltage:.4f} p.u., "
        f"{'below' if low else 'above'} the limit of {feeder.voltage_min_pu if low else feeder.voltage_max_pu:g}{end}"
    )


def _overloaded(network: PhasePlan, kw: Array, kvar: Array, community: CommunityDay) -> str:
    """The line or the transformer that is loaded most where voltages are kept; nothing where none is beyond its
    rating."""
    feeder = network.feeder
    used = loading(feeder, network.follow(kw, kvar))
    by_line = np.nan_to_num(used.line)
    if by_line.max(initial=0.0) >= used.transformer.max():
        section, at = np.unravel_index(int(np.argmax(by_line)), by_line.shape)
        step = int(at)
        name, part = f"line '{reduced_of(feeder).names[section][-1]}'", by_line[section, step]
    else:
        step = int(np.argmax(used.transformer))
        name, part = "the transformer", used.transformer[step]
    return f"{name} carries {100 * part:.0f} % of its rating at {community.start_times[step]}" if part > 1 else ""


def _trades(community: CommunityDay) -> TradedPairs | None:
    """Net sales of every household, (n, T), of what the lower node of each pair sells to the higher, at the trading
    costs of both sides; None where nobody may trade."""
    books, steps = partners(community), community.steps
    pairs = [(node, partner) for node in sorted(books) for partner in books[node] if node < partner.node]
    if not pairs:
        return None
    row = {node: k for k, node in enumerate(sorted(books))}
    at = np.concatenate([np.array(partner.steps) for _, partner in pairs])
    lower = np.concatenate([np.full(len(partner.steps), row[node]) for node, partner in pairs])
    higher = np.concatenate([np.full(len(partner.steps), row[partner.node]) for _, partner in pairs])
    both = [partner.coefficient + _coefficient(books, partner.node, node) for node, partner in pairs]
    trades, of = np.arange(len(at)), len(books)
    place = sp.csr_array(
        (
            np.concatenate([np.ones(len(at)), -np.ones(len(at))]),
            (np.concatenate([lower + of * at, higher + of * at]), np.concatenate([trades, trades])),
        ),
        shape=(of * steps, len(at)),
    )
    return TradedPairs(cp.Variable((of, steps)), place, community.step_hours * np.concatenate(both))


def _coefficient(books: dict[int, tuple[Partner, ...]], node: int, other: int) -> Array:
    return next(partner.coefficient for partner in books[node] if partner.node == other)
