"""The families of constraints, one function each: the contract with the supplier, and what the feeder asks.

Used alike by a household's own problem, the grid operator's and the centralised reference, so that all three speak of
the same community. Powers in kW and kvar; voltages as squared magnitudes per unit, counted from 1 (`v - 1`), squared
currents per unit on the feeder's base.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, Feeder, Household, Prices
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.devices.device import Constraints
from gridpact.grid.three_phase_plan import PhasePlan, no_load_pu, phase_plan

LEAST_OHM = 1e-3
"""See `counting`."""


@dataclass(frozen=True)
class Contract:
    """Import g+ and feed-in g- with a supplier, both >= 0, shape (T,)."""

    imported: cp.Variable
    fed_in: cp.Variable
    cost: cp.Expression  # sum of dt (kappa g+ - f g-)

    @property
    def net_import(self) -> cp.Expression:
        return self.imported - self.fed_in


def supply_contract(prices: Prices, step_hours: float, in_common: bool = False) -> Contract:
    """Contract with the supplier at import price kappa and feed-in price f (eq. 1 with a 50 % feed-in price).

    Args:
        in_common: it is the community's, whose households pay the fee on what stays in it for all that they draw: of
            what is imported that is a part already, see `drawing_fee`.
    """
    steps = len(prices.import_price)
    imported, fed_in = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
    price = prices.bought_price if in_common else prices.import_price
    cost = step_hours * (price @ imported - prices.feed_in_price @ fed_in)
    return Contract(imported, fed_in, cost)


def drawing_fee(
    prices: Prices, drawn_kw: cp.Expression, step_hours: float
) -> tuple[cp.Expression, list[cp.Constraint]]:
    """The fee on what stays in the community, sum of dt l [drawn]+: of what a household buys from neighbours or, where
    the community has one contract, of all that it draws; and what that takes."""
    if prices.trade_fee is None:
        return cp.Constant(0.0), []
    charged = cp.Variable(len(prices.trade_fee), nonneg=True)
    return step_hours * (prices.trade_fee @ charged), [charged >= drawn_kw]


def peak_fee(prices: Prices, household: Household, injection_kw: cp.Expression) -> cp.Expression:
    """The fee on the highest power that a household draws in a step, as far as it goes beyond what it pays already."""
    if not prices.peak_fee:
        return cp.Constant(0.0)
    return prices.peak_fee * cp.pos(cp.max(-injection_kw) - household.peak_kw)


def cone(
    flow_kw: cp.Expression,
    flow_kvar: cp.Expression,
    current: cp.Expression,
    v_parent: cp.Expression,
    base_kva: float,
) -> cp.Constraint:
    """P^2 + Q^2 <= psi v_parent, eq. (11), elementwise over expressions of one shape; v_parent not counted from 1."""
    flat = [cp.vec(e, order="C") for e in (2 * flow_kw / base_kva, 2 * flow_kvar / base_kva, current - v_parent)]
    return cp.SOC(cp.vec(current + v_parent, order="C"), cp.vstack(flat), axis=0)


def relaxation_gap(
    flow_kw: cp.Expression,
    flow_kvar: cp.Expression,
    current: cp.Expression,
    v_parent: cp.Expression,
    base_kva: float,
    counts: Array | float = 1.0,
) -> cp.Expression:
    """psi v_parent - P^2 - Q^2, per unit on 100 kVA: zero where the relaxation (11) is exact.

    The expression is not convex: it is for its value only.

    Args:
        counts: see `counting`.
    """
    gap = cp.multiply(current, v_parent) - (cp.square(flow_kw) + cp.square(flow_kvar)) / base_kva**2
    return cp.multiply(counts, gap) * (base_kva / 100) ** 2


def counting(impedance_ohm: Array) -> Array:
    """How much a relaxation gap on a line counts: in full from a milliohm on, the impedance of a metre or two of cable;
    below it in proportion to what is lost in it. What the cone has to spare in less than that no solver sees."""
    counts: Array = np.minimum(impedance_ohm / LEAST_OHM, 1.0)
    return counts


@dataclass(frozen=True)
class BranchFlow:
    """Branch-flow variables of a whole feeder, shape (n, T), line k - 1 in row of node k."""

    flow_kw: cp.Variable
    flow_kvar: cp.Variable
    current: cp.Variable  # psi, per unit on the feeder's base
    voltage: cp.Variable  # v - 1
    root_kw: cp.Expression  # (T,), flow into the grid connection
    losses_kw: cp.Expression  # (n, T)
    relaxation_gap: cp.Expression  # (T,), the largest of a line, see `relaxation_gap`
    constraints: Constraints

    @property
    def balance(self) -> cp.Constraint:
        """Of the injections, (n, T)."""
        return self.constraints["the power flow of the feeder"][0]

    @property
    def lost_kw(self) -> cp.Expression:
        """By all lines, (T,)."""
        return cp.sum(self.losses_kw, axis=0)


def network_plan(
    feeder: Feeder | PhaseFeeder,
    injection_kw: cp.Expression,
    injection_kvar: cp.Expression,
    around_pu: Complex | None = None,
    slack: cp.Expression | float = 0.0,
    current_a: Complex | None = None,
) -> BranchFlow | PhasePlan:
    """What the feeder allows, balanced or by phase: injections, a balance, losses, and the flow into the root.

    Args:
        injection_kw, injection_kvar: s and q of the households, (n, T).
        around_pu: on a street the point that it is linear around, (C, T); None: nobody takes or gives anything.
        slack: by how much voltages may break their limits: squared (n, T), on a street p.u. (C, T).
        current_a: on a street the connections' currents at that point, see `phase_plan`.
    """
    if not isinstance(feeder, PhaseFeeder):
        return branch_flow(feeder, injection_kw, injection_kvar, slack)
    around = no_load_pu(feeder, injection_kw.shape[1]) if around_pu is None else around_pu
    return phase_plan(feeder, injection_kw, injection_kvar, around, slack, current_a)


def branch_flow(
    feeder: Feeder,
    injection_kw: cp.Expression,
    injection_kvar: cp.Expression,
    slack: cp.Expression | float = 0.0,
) -> BranchFlow:
    """The feeder's branch-flow equations, relaxed, eqs. (10a)-(11) in their consistent form.

    Flows point to the root and are measured at the parent's end, so the loss of line i is upstream of its sending end:
    s_i = P_i - sum of the children's P + r_i psi_i.

    Args:
        injection_kw, injection_kvar: s and q of the nodes that have a household, the first of all n nodes; (n, T) or
            fewer rows, as junctions have none.
        slack: by how much squared voltages may break their limits, (n, T).
    """
    n, steps = len(feeder.lines), injection_kw.shape[1]
    injection_kw, injection_kvar = (_with_junctions(power, n) for power in (injection_kw, injection_kvar))
    base = feeder.base_kva
    r, x = feeder.resistance_pu()[:, None], feeder.reactance_pu()[:, None]
    above = _incidence(feeder)
    below_root = [row for row, line in enumerate(feeder.lines) if line.parent == GRID_CONNECTION]
    flow_kw, flow_kvar = cp.Variable((n, steps)), cp.Variable((n, steps))
    current, voltage = cp.Variable((n, steps)), cp.Variable((n, steps))
    v_parent = above.T @ voltage
    losses_kw, losses_kvar = base * cp.multiply(r, current), base * cp.multiply(x, current)
    balances = [
        injection_kw == flow_kw - above @ flow_kw + losses_kw,
        injection_kvar == flow_kvar - above @ flow_kvar + losses_kvar,
        voltage
        == v_parent
        + 2 / base * (cp.multiply(r, flow_kw) + cp.multiply(x, flow_kvar))
        + cp.multiply(r**2 + x**2, current),
        cone(flow_kw, flow_kvar, current, 1 + v_parent, base),
    ]
    limits = [
        voltage >= feeder.voltage_min_pu**2 - 1 - slack,
        voltage <= feeder.voltage_max_pu**2 - 1 + slack,
    ]
    constraints = {"the power flow of the feeder": balances, "the voltage limits": limits}
    counts = counting(np.hypot(r, x) * feeder.base_ohm) * np.ones((1, steps))
    gap = cp.max(relaxation_gap(flow_kw, flow_kvar, current, 1 + v_parent, base, counts), axis=0)
    root_kw = cp.sum(flow_kw[below_root], axis=0)
    return BranchFlow(flow_kw, flow_kvar, current, voltage, root_kw, losses_kw, gap, constraints)


def _with_junctions(injections: cp.Expression, nodes: int) -> cp.Expression:
    """Injections of all nodes, of which the last, the junctions, have none."""
    count, steps = injections.shape
    return injections if count == nodes else cp.vstack([injections, np.zeros((nodes - count, steps))])


def _incidence(feeder: Feeder) -> Array:
    """1 at [i, k] where line k + 1 hangs below node i + 1, shape (n, n)."""
    above = np.zeros((len(feeder.lines), len(feeder.lines)))
    for line in feeder.lines:
        if line.parent != GRID_CONNECTION:
            above[line.parent - 1, line.node - 1] = 1
    return above
