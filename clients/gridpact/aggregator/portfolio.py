"""The aggregator's portfolio: what all homes' devices do, by its own hand or by homes that answer a price.

Both are one linear program of all homes, behind one contract (`Control.DIRECT`: what homes give each other costs
nothing) or each behind its own (`Control.SIGNALS`: nothing ties them, so each plans as if it were alone). What the grid
operator asks for comes in as cuts, and what is done otherwise than was wished costs the adjustment's price.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum

import cvxpy as cp
import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from gridpact.community.model import Array, CommunityDay
from gridpact.community.networks.network import NetworkFile
from gridpact.community.street import Complex
from gridpact.devices.device import flat, summed
from gridpact.errors import InfeasibleError
from gridpact.problem.constraints import supply_contract
from gridpact.problem.departure import Departure
from gridpact.problem.directions import Directions, chosen
from gridpact.problem.meter import behind_meter
from gridpact.problem.solving import solve

REACTIVE_PART = 0.01
"""What a kvarh more or less costs, as a part of the adjustment's price for a kWh: owners lose nothing by it."""

BEYOND_COST = 1e4
"""Where cuts cannot hold: cost of being a whole unit beyond, in mean import prices an hour."""


class Control(Enum):
    """How the aggregator moves devices."""

    DIRECT = "direct"
    SIGNALS = "signals"


@dataclass(frozen=True, eq=False)
class Cuts:
    """Limits at single steps on what is linear in injections, a . s[:, t] + b . q[:, t] + c: of real rows, which are
    the first, the value within `low` and `high`, of complex ones the size."""

    step: NDArray[np.intp]  # (m,)
    per_kw: Complex  # a, (m, n)
    per_kvar: Complex  # b, (m, n)
    offset: Complex  # c, (m,)
    low: Array  # (m,)
    high: Array  # (m,)
    real: int  # how many are

    def constraints(self, kw: cp.Expression, kvar: cp.Expression, slack: cp.Expression) -> list[cp.Constraint]:
        """
        Args:
            slack: by how much each may be beyond, (m,).
        """
        real, imaginary = (
            self._matrix(part(self.per_kw), kw) + self._matrix(part(self.per_kvar), kvar) + part(self.offset)
            for part in (np.real, np.imag)
        )
        result: list[cp.Constraint] = []
        if first := self.real:
            result.append(real[:first] <= self.high[:first] + slack[:first])
            bounded = np.flatnonzero(np.isfinite(self.low[:first]))
            result.append(real[bounded] >= self.low[bounded] - slack[bounded])
        if first < len(self.step):
            sides = cp.vstack([real[first:], imaginary[first:]])
            result.append(cp.SOC(self.high[first:] + slack[first:], sides, axis=0))
        return result

    def _matrix(self, slopes: Array, power: cp.Expression) -> cp.Expression:
        count, steps = power.shape
        rows, agents = np.indices(slopes.shape)
        columns = agents * steps + self.step[:, None]
        shape = len(slopes), count * steps
        return sp.csr_array((slopes.ravel(), (rows.ravel(), columns.ravel())), shape=shape) @ cp.vec(power, order="C")


@dataclass(frozen=True, eq=False)
class Position:
    """What all homes do on a day."""

    injection_kw: Array  # (n, T)
    injection_kvar: Array  # (n, T)
    curtailed_kw: Array  # (n, T)
    cuts_hold: bool = True  # else this is as near to them as the devices can come

    @property
    def import_kw(self) -> Array:
        """Of all together, without losses, (T,)."""
        total: Array = -self.injection_kw.sum(axis=0)
        return total


@dataclass(frozen=True, eq=False)
class Near:
    """What is paid to stay near to a position: it decides among those that cost the same, and the more of it the less
    two positions follow each other for ever, each of which makes good what the other breaks."""

    to: Position
    weight: float  # of a kW or kvar away, as a part of the mean import price, kW^-1

    def cost(self, kw: cp.Expression, kvar: cp.Expression, hour_price: float) -> cp.Expression:
        """Of injections, (n, T), currency, at what a kW costs in a step."""
        away = cp.sum_squares(kw - self.to.injection_kw) + cp.sum_squares(kvar - self.to.injection_kvar)
        return self.weight * hour_price * away


def position(
    community: CommunityDay,
    control: Control,
    departure: Departure | None = None,
    cuts: Cuts | None = None,
    near: Near | None = None,
) -> Position:
    """The best one for the portfolio.

    Args:
        departure: from what it would do without a feeder; None: this is asked for.
        near: to the position around which the cuts are.

    Raises:
        InfeasibleError: a home has no plan.
        SolverError: the solver failed.
    """
    directions: list[Directions | None] = [None] * len(community.households)
    while True:
        solved, decided = _solved(community, control, departure, cuts, near, directions)
        if all(more is None for more in decided):
            return solved
        directions = [one if more is None else more for one, more in zip(directions, decided, strict=True)]


def _solved(
    community: CommunityDay,
    control: Control,
    departure: Departure | None,
    cuts: Cuts | None,
    near: Near | None,
    directions: Sequence[Directions | None],
) -> tuple[Position, list[Directions | None]]:
    dt, prices = community.step_hours, community.prices
    meters = [behind_meter(household, dt) for household in community.households]
    directed = [
        given or chosen(household, prices, dt, len(meter.opposed))
        for household, meter, given in zip(community.households, meters, directions, strict=True)
    ]
    constraints = [c for meter in meters for c in flat(meter.constraints)]
    for one, meter in zip(directed, meters, strict=True):
        constraints += flat(one.constraints(meter.opposed))
    # Variables of their own, so that cuts have one element for each agent, however many devices it has.
    kw, kvar = (cp.Variable((len(meters), community.steps)) for _ in range(2))
    constraints += [
        kw == cp.vstack([meter.injection_kw for meter in meters]),
        kvar == cp.vstack([meter.injection_kvar for meter in meters]),
    ]
    cost: cp.Expression = sum((meter.cost for meter in meters), cp.Constant(0.0))
    each = [kw[row] for row in range(len(meters))] if control is Control.SIGNALS else [cp.sum(kw, axis=0)]
    for given in each:
        contract = supply_contract(prices, dt)
        constraints.append(contract.net_import + given == 0)
        cost += contract.cost
    if near is not None:
        cost += near.cost(kw, kvar, prices.mean_import * dt)
    if departure is None:
        cost += REACTIVE_PART * prices.mean_import * dt * cp.sum(cp.abs(kvar))
    else:
        cost += departure.cost(kw, kvar, dt)
    whose = f"the portfolio of '{community.name}' on {community.day}"
    hold = solved_within(cost, constraints, cuts, kw, kvar, prices.mean_import, whose)
    decided = [
        one.after([(pair.one.value, pair.other.value) for pair in meter.opposed])
        for one, meter in zip(directed, meters, strict=True)
    ]
    schedules = [{name: np.asarray(of.value) for name, of in meter.schedule.items()} for meter in meters]
    curtailed = np.array([summed(schedule, "curtailed_kw", community.steps) for schedule in schedules])
    return Position(np.array(kw.value), np.array(kvar.value), np.maximum(curtailed, 0.0), hold), decided


def solved_within(
    cost: cp.Expression,
    constraints: list[cp.Constraint],
    cuts: Cuts | None,
    kw: cp.Expression,
    kvar: cp.Expression,
    mean_import: float,
    whose: str,
) -> bool:
    """Solves a problem within cuts on its injections, (n, T), or as near to them as there is a plan.

    Returns:
        Whether the cuts hold.

    Raises:
        InfeasibleError, SolverError: see `problem.solving.solve`.
    """
    kept = [] if cuts is None else cuts.constraints(kw, kvar, cp.Constant(np.zeros(len(cuts.step))))
    try:
        solve(cp.Problem(cp.Minimize(cost), [*constraints, *kept]), whose)
    except InfeasibleError:
        if cuts is None:
            raise
        slack = cp.Variable(len(cuts.step), nonneg=True)
        effort = BEYOND_COST * mean_import * cp.sum(slack)
        solve(cp.Problem(cp.Minimize(cost + effort), [*constraints, *cuts.constraints(kw, kvar, slack)]), whose)
        return False
    return True


def departing(community: CommunityDay, wished: Position, adjustment_price: float | Array) -> Departure:
    """What it costs to be adjusted.

    Args:
        adjustment_price: of every kWh otherwise than wished, currency; by home, (n,), or of all.
    """
    reactive = REACTIVE_PART * (float(np.mean(adjustment_price)) or community.prices.mean_import)
    return Departure(wished.injection_kw, wished.injection_kvar, adjustment_price, reactive)


def curtailed_of(community: CommunityDay, injection_kw: Array) -> Array:
    """The least curtailment with which devices can inject so much, (n, T), as near as they can."""
    dt, result = community.step_hours, []
    for household, wanted in zip(community.households, injection_kw, strict=True):
        meter = behind_meter(household, dt)
        curtailed = [of for name, of in meter.schedule.items() if name.startswith("curtailed_kw")]
        if not curtailed:
            result.append(np.zeros(community.steps))
            continue
        total = sum(curtailed[1:], curtailed[0])
        effort = cp.sum(total) + 100 * cp.sum(cp.abs(meter.injection_kw - wanted))
        solve(cp.Problem(cp.Minimize(effort), flat(meter.constraints)), f"household '{household.name}'")
        result.append(np.maximum(np.asarray(total.value), 0.0))
    return np.array(result)


def on_network(community: CommunityDay, network: NetworkFile, lowest_pu: float, highest_pu: float) -> CommunityDay:
    """The community's homes on the loads of a network file, in turn until each load has one.

    Raises:
        InputError: the network is no feeder.
    """
    homes = community.households
    placed = []
    for k in range(len(network.loads)):
        home, round_ = homes[k % len(homes)], k // len(homes) + 1
        placed.append(replace(home, node=k + 1, name=home.name if round_ == 1 else f"{home.name}_{round_}"))
    feeder = network.feeder([load.connection for load in network.loads], lowest_pu, highest_pu)
    return replace(community, households=tuple(placed), feeder=feeder, preferences={})
