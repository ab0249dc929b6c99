"""What the four-wire feeder allows, as a convex problem: for plans of injections, not for one that is given.

At a point V^ of complex voltages a connection's current is linear in its power, I = (s - j q) / conj(V^), and so is the
voltage's magnitude to first order, |V| = Re(conj(V^) / |V^| V) with V = V0 + M I; losses |F I|^2 are convex. What is
left out is added as constants, worked out by the exact power flow of the last plan: so where a plan stays as it is from
one time to the next, its currents and voltages are exact. The point itself, which gives the slopes, is moved where it
has become another one: then the problem is built anew.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.devices.device import Constraints
from gridpact.grid.three_phase import PhaseFlow, phase_flow, reduced_of


@dataclass(frozen=True, eq=False)
class PhasePlan:
    """Expressions over T steps around a point."""

    feeder: PhaseFeeder
    around_pu: Complex  # V^, (C, T)
    balance: cp.Constraint  # of the households' injections, (n, T): its duals are what one kW more there is worth
    voltage_pu: cp.Expression  # (C, T), magnitudes
    lost_kw: cp.Variable  # (T,), at least what the currents lose
    root_kw: cp.Expression  # (T,), towards the source
    constraints: Constraints
    _current: tuple[cp.Parameter, cp.Parameter]  # what the slopes leave out, real and imaginary, A, (C, T)
    _magnitude: cp.Parameter  # the same, p.u.

    def follow(self, injection_kw: Array, injection_kvar: Array) -> PhaseFlow:
        """Makes a plan of injections exact: currents and voltages are what the power flow of it says.

        Raises:
            SolverError: it has no power flow.
        """
        flow = phase_flow(self.feeder, injection_kw, injection_kvar, self.around_pu)
        self.exact_at(flow)
        return flow

    def exact_at(self, flow: PhaseFlow) -> None:
        """The same for a power flow that is known."""
        conjugate = flow.current_a * np.conj(flow.voltage_pu) * self.feeder.phase_voltage_v / 1000  # s - jq, kW
        left = flow.current_a - _per_power(self.feeder, self.around_pu) * conjugate
        self._current[0].value, self._current[1].value = left.real, left.imag
        along = np.conj(self.around_pu) / np.abs(self.around_pu) * flow.voltage_pu
        self._magnitude.value = flow.magnitude_pu - along.real


def _per_power(feeder: PhaseFeeder, around_pu: Complex) -> Complex:
    """1 / conj(V^), A a kW."""
    return np.asarray(1000 / feeder.phase_voltage_v / np.conj(around_pu), dtype=np.complex128)


def no_load_pu(feeder: PhaseFeeder, steps: int) -> Complex:
    """The point where nobody takes or gives anything, (C, T)."""
    no_load = reduced_of(feeder).no_load
    return np.broadcast_to(no_load[:, None], (len(no_load), steps))


def phase_plan(
    feeder: PhaseFeeder,
    injection_kw: cp.Expression,
    injection_kvar: cp.Expression,
    around_pu: Complex,
    slack: cp.Expression | float = 0.0,
) -> PhasePlan:
    """The feeder's limits around a point, for injections s and q of the households, (n, T).

    Args:
        around_pu: V^, (C, T).
        slack: by how much voltages may break their limits, p.u., (C, T).
    """
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    count, steps = around_pu.shape
    given = cp.Variable(injection_kw.shape)
    balance = injection_kw == given
    active, reactive = reduced.to_connections @ given, reduced.to_connections @ injection_kvar
    slope, direction = _per_power(feeder, around_pu), around_pu / np.abs(around_pu)
    left = cp.Parameter((count, steps)), cp.Parameter((count, steps))
    real, imaginary = cp.Variable((count, steps)), cp.Variable((count, steps))  # A
    currents = [
        real == cp.multiply(slope.real, active) + cp.multiply(slope.imag, reactive) + left[0],
        imaginary == cp.multiply(slope.imag, active) - cp.multiply(slope.real, reactive) + left[1],
    ]
    shared, no_load = reduced.shared / unit, reduced.no_load[:, None]
    beyond = cp.Parameter((count, steps))
    voltage = cp.multiply(direction.real, no_load.real + shared.real @ real - shared.imag @ imaginary) + beyond
    voltage += cp.multiply(direction.imag, no_load.imag + shared.imag @ real + shared.real @ imaginary)
    losses = cp.Variable(steps)
    # |F I|^2 <= 1000 losses, as a cone for every step
    lost = cp.vstack([2 * (reduced.loss_root @ part) for part in (real, imaginary)])
    tall = cp.vstack([lost, cp.reshape(1000 * losses - 1, (1, steps), order="C")])
    constraints: Constraints = {
        "the power flow of the feeder": [balance, *currents, cp.SOC(1000 * losses + 1, tall, axis=0)],
        "the voltage limits": [
            voltage >= feeder.voltage_min_pu - slack,
            voltage <= feeder.voltage_max_pu + slack,
        ],
    }
    if conductors := _conductors(feeder, real, imaginary):
        constraints["the ratings of the lines"] = conductors
    if feeder.transformer is not None:
        # Towards the source, S = V0 conj(I).
        through_kw = unit / 1000 * (no_load.real.T @ real + no_load.imag.T @ imaginary)
        through_kvar = unit / 1000 * (no_load.imag.T @ real - no_load.real.T @ imaginary)
        part = cp.vstack([through_kw, through_kvar]) / feeder.transformer.kva
        constraints["the transformer's rating"] = [cp.SOC(np.ones(steps), part, axis=0)]
    root_kw = cp.sum(given, axis=0) - losses
    for parameter in (*left, beyond):
        parameter.value = np.zeros((count, steps))
    return PhasePlan(feeder, around_pu, balance, voltage, losses, root_kw, constraints, left, beyond)


def _conductors(feeder: PhaseFeeder, real: cp.Variable, imaginary: cp.Variable) -> list[cp.Constraint]:
    """|I| <= rating, of each phase and the neutral of a section that has one."""
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
    matrix = np.array(rows) / np.array(ratings)[:, None]
    flat = [cp.vec(matrix @ part, order="C") for part in (real, imaginary)]
    return [cp.SOC(np.ones(len(rows) * steps), cp.vstack(flat), axis=0)]
