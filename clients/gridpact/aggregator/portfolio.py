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

from gridpact.community.model import Array, CommunityDay
from gridpact.community.networks.network import NetworkFile
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
    """Linear limits on injections at single steps: a . s[:, t] + b . q[:, t] <= bound."""

    step: Array  # (m,)
    per_kw: Array  # a, (m, n)
    per_kvar: Array  # b, (m, n)
    bound: Array  # (m,)

    def beyond(self, kw: cp.Expression, kvar: cp.Expression) -> cp.Expression:
        """By how much injections, (n, T), are beyond, (m,)."""
        return self._matrix(self.per_kw, kw) + self._matrix(self.per_kvar, kvar) - self.bound

    def _matrix(self, slopes: Array, power: cp.Expression) -> cp.Expression:
        count, steps = power.shape
        rows, agents = np.indices(slopes.shape)
        columns = agents * steps + self.step[:, None].astype(int)
        shape = len(slopes), count * steps
        return sp.csr_array((slopes.ravel(), (rows.ravel(), columns.ravel())), shape=shape) @ cp.vec(power, order="C")


@dataclass(frozen=True, eq=False)
class Position:
    """What all homes do on a day."""

    injection_kw: Array  # (n, T)
    injection_kvar: Array  # (n, T)
    curtailed_kw: Array  # (n, T)
    cuts_hold: bool = True  # else this is as near to them as the devices can come


def position(
    community: CommunityDay,
    control: Control,
    departure: Departure | None = None,
    cuts: Sequence[Cuts] = (),
) -> Position:
    """The best one for the portfolio.

    Args:
        departure: from what it would do without a feeder; None: this is asked for.

    Raises:
        InfeasibleError: a home has no plan.
        SolverError: the solver failed.
    """
    directions: list[Directions | None] = [None] * len(community.households)
    while True:
        found, decided = _solved(community, control, departure, cuts, directions)
        if all(more is None for more in decided):
            return found
        directions = [one if more is None else more for one, more in zip(directions, decided, strict=True)]


def _solved(
    community: CommunityDay,
    control: Control,
    departure: Departure | None,
    cuts: Sequence[Cuts],
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
    kw, kvar = cp.vstack([m.injection_kw for m in meters]), cp.vstack([m.injection_kvar for m in meters])
    cost: cp.Expression = sum((meter.cost for meter in meters), cp.Constant(0.0))
    for given in [kw[row] for row in range(len(meters))] if control is Control.SIGNALS else [cp.sum(kw, axis=0)]:
        contract = supply_contract(prices, dt)
        constraints.append(contract.net_import + given == 0)
        cost += contract.cost
    if departure is None:
        cost += REACTIVE_PART * prices.mean_import * dt * cp.sum(cp.abs(kvar))
    else:
        cost += departure.cost(kw, kvar, dt)
    beyond = [more.beyond(kw, kvar) for more in cuts]
    whose = f"the portfolio of '{community.name}' on {community.day}"
    try:
        solve(cp.Problem(cp.Minimize(cost), [*constraints, *(one <= 0 for one in beyond)]), whose)
        hold = True
    except InfeasibleError:
        if not beyond:
            raise
        effort = BEYOND_COST * prices.mean_import * sum(cp.sum(cp.pos(one)) for one in beyond)
        solve(cp.Problem(cp.Minimize(cost + effort), constraints), whose)
        hold = False
    decided = [
        one.after([(pair.one.value, pair.other.value) for pair in meter.opposed])
        for one, meter in zip(directed, meters, strict=True)
    ]
    schedules = [{name: np.asarray(of.value) for name, of in meter.schedule.items()} for meter in meters]
    curtailed = np.array([summed(schedule, "curtailed_kw", community.steps) for schedule in schedules])
    return Position(np.array(kw.value), np.array(kvar.value), np.maximum(curtailed, 0.0), hold), decided


def departing(community: CommunityDay, wished: Position, adjustment_price: float) -> Departure:
    """What it costs to be adjusted.

    Args:
        adjustment_price: of every kWh otherwise than wished, currency.
    """
    reactive = REACTIVE_PART * (adjustment_price or community.prices.mean_import)
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
