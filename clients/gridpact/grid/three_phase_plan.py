"""What the four-wire feeder allows, as a convex problem: for plans of injections, not for one that is given.

At a point V^ of complex voltages (those of the last plan, say) a connection's current is linear in its power,

    I = (s - j q) / conj(V^),

and so is the voltage's magnitude to first order, |V| = Re(conj(V^) / |V^| V) with V = V0 + M I; losses |F I|^2 are
convex. What is found is put in the place of V^ by the exact power flow, and solved again: two to four passes to 1e-5
p.u. In a negotiation V^ moves with the iterations instead.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.grid.three_phase import PhaseFlow, phase_flow, reduced_of

Constraints = dict[str, list[cp.Constraint]]

STANDS_PU = 1e-5
"""The passes of a plan end where no voltage moves by more."""

MOST_PASSES = 12


@dataclass(frozen=True, eq=False)
class PhasePlan:
    """Expressions over T steps, around a point that can be moved."""

    feeder: PhaseFeeder
    voltage_pu: cp.Expression  # (C, T), magnitudes to first order
    losses_kw: cp.Variable  # (T,), at least what the currents lose
    root_kw: cp.Expression  # (T,), towards the source
    constraints: Constraints
    _per_power: tuple[cp.Parameter, cp.Parameter]  # of 1 / conj(V^), scaled to A a kW
    _direction: tuple[cp.Parameter, cp.Parameter]  # of V^ / |V^|

    def around(self, voltage_pu: Complex) -> None:
        """Moves the point V^, (C, T)."""
        per_power = 1000 / self.feeder.phase_voltage_v / np.conj(voltage_pu)
        direction = voltage_pu / np.abs(voltage_pu)
        for parameters, values in ((self._per_power, per_power), (self._direction, direction)):
            parameters[0].value, parameters[1].value = values.real, values.imag


def phase_plan(
    feeder: PhaseFeeder,
    injection_kw: cp.Expression,
    injection_kvar: cp.Expression,
    slack: cp.Expression | float = 0.0,
) -> PhasePlan:
    """The feeder around its voltages without load, to be moved by `PhasePlan.around`.

    Args:
        injection_kw, injection_kvar: s and q of the households, (n, T).
        slack: by how much voltages may break their limits, p.u., (C, T).
    """
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    steps, count = injection_kw.shape[1], len(reduced.home)
    per_power = cp.Parameter((count, steps)), cp.Parameter((count, steps))
    direction = cp.Parameter((count, steps)), cp.Parameter((count, steps))
    active, reactive = reduced.to_connections @ injection_kw, reduced.to_connections @ injection_kvar
    real, imaginary = cp.Variable((count, steps)), cp.Variable((count, steps))  # A
    currents = [
        real == cp.multiply(per_power[0], active) + cp.multiply(per_power[1], reactive),
        imaginary == cp.multiply(per_power[1], active) - cp.multiply(per_power[0], reactive),
    ]
    shared, no_load = reduced.shared / unit, reduced.no_load[:, None]
    voltage = cp.multiply(direction[0], no_load.real + shared.real @ real - shared.imag @ imaginary)
    voltage += cp.multiply(direction[1], no_load.imag + shared.imag @ real + shared.real @ imaginary)
    losses = cp.Variable(steps, nonneg=True)
    lost = [reduced.loss_root @ real, reduced.loss_root @ imaginary]
    # |F I|^2 <= 1000 losses, as a cone for every step
    tall = cp.vstack([2 * lost[0], 2 * lost[1], cp.reshape(1000 * losses - 1, (1, steps), order="C")])
    constraints: Constraints = {
        "the power flow of the feeder": [*currents, cp.SOC(1000 * losses + 1, tall, axis=0)],
        "the voltage limits": [
            voltage >= feeder.voltage_min_pu - slack,
            voltage <= feeder.voltage_max_pu + slack,
        ],
    }
    if conductors := _conductors(feeder, real, imaginary):
        constraints["the ratings of the lines"] = conductors
    root_kw = cp.sum(injection_kw, axis=0) - losses
    if feeder.transformer is not None:
        # Towards the source, at its stiff voltage V0: S = V0 conj(I).
        through_kvar = unit / 1000 * (no_load.imag.T @ real - no_load.real.T @ imaginary)
        through_kw = unit / 1000 * (no_load.real.T @ real + no_load.imag.T @ imaginary)
        rated = np.full(steps, feeder.transformer.kva)
        constraints["the transformer's rating"] = [cp.SOC(rated, cp.vstack([through_kw, through_kvar]), axis=0)]
    plan = PhasePlan(feeder, voltage, losses, root_kw, constraints, per_power, direction)
    plan.around(np.broadcast_to(no_load, (count, steps)))
    return plan


def _conductors(feeder: PhaseFeeder, real: cp.Variable, imaginary: cp.Variable) -> list[cp.Constraint]:
    """|I| <= rating, of each phase and the neutral of a section that has one, and that can be reached."""
    reduced, rows, ratings = reduced_of(feeder), [], []
    for carries, rating in zip(reduced.carries, reduced.rating_a, strict=True):
        if np.isfinite(rating):
            used = [row for row in carries if row.any()]
            if len(used) > 1:
                used.append(carries.sum(axis=0))  # what returns through the neutral
            rows += used
            ratings += [rating] * len(used)
    if not rows:
        return []
    steps = real.shape[1]
    matrix = np.array(rows)
    limit = np.repeat(np.array(ratings), steps)
    flat = [cp.vec(matrix @ part, order="C") for part in (real, imaginary)]
    return [cp.SOC(limit, cp.vstack(flat), axis=0)]


def settle(plan: PhasePlan, injection_kw: Array, injection_kvar: Array, start_pu: Complex) -> tuple[PhaseFlow, float]:
    """Moves a plan's point to the exact power flow of its injections, and says how far it was, p.u."""
    flow = phase_flow(plan.feeder, injection_kw, injection_kvar, start_pu)
    plan.around(flow.voltage_pu)
    return flow, float(np.max(np.abs(flow.voltage_pu - start_pu), initial=0.0))
