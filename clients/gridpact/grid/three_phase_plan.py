"""What the four-wire feeder allows, as a convex problem: for plans of injections, not for one that is given.

At a point V^ of complex voltages a connection's current is linear in its power, I = (s - j q) / conj(V^), and so is the
voltage's magnitude to first order, |V| = Re(conj(V^) / |V^| V) with V = V0 + M I; losses |F I|^2 are convex. Where the
plan's own voltages are V^ all of it is exact: so it is built anew around the voltages of what was found, until that
stands. The feeder's equations stand section by section, in sparse matrices (`Tree`): a solver needs a fraction of the
time that M takes it.
"""

from __future__ import annotations

from dataclasses import dataclass

import cvxpy as cp
import numpy as np
import scipy.sparse as sp

from gridpact.community.model import Array
from gridpact.community.street import Complex, PhaseFeeder
from gridpact.devices.device import Constraints
from gridpact.grid.three_phase import PhaseFlow, Reduced, phase_flow, reduced_of


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

    def follow(self, injection_kw: Array, injection_kvar: Array) -> PhaseFlow:
        """The exact power flow of a plan.

        Raises:
            SolverError: it has none.
        """
        return phase_flow(self.feeder, injection_kw, injection_kvar, self.around_pu)


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
    current_a: Complex | None = None,
) -> PhasePlan:
    """The feeder's limits around a point, for injections s and q of the households, (n, T).

    Args:
        around_pu: V^, (C, T).
        slack: by how much voltages may break their limits, p.u., (C, T).
        current_a: I^, the connections' currents at that point, (C, T). With them conj(V^) I + I^ conj(V) - conj(V^) I^
            stands for conj(S), its first order around the point: what stands then is a stationary point of the exact
            problem. Without, slopes are of currents at voltages that do not move.
    """
    reduced, unit = reduced_of(feeder), feeder.phase_voltage_v
    count, steps = around_pu.shape
    given = cp.Variable(injection_kw.shape)
    balance = injection_kw == given
    active, reactive = reduced.to_connections @ given, reduced.to_connections @ injection_kvar
    slope, direction = _per_power(feeder, around_pu), around_pu / np.abs(around_pu)
    real, imaginary = cp.Variable((count, steps)), cp.Variable((count, steps))  # A
    tree, no_load = reduced.tree, reduced.no_load[:, None]
    conductors = len(tree.section)
    through = cp.Variable((conductors, steps)), cp.Variable((conductors, steps))  # A, real and imaginary
    higher = cp.Variable((conductors, steps)), cp.Variable((conductors, steps))  # p.u.
    resistance, reactance = tree.impedance.real / unit, tree.impedance.imag / unit
    at_end = sp.csr_array((tree.end[:, None] == np.arange(conductors)).astype(float))
    at = no_load.real + at_end @ higher[0], no_load.imag + at_end @ higher[1]  # V
    moved: list[cp.Expression] = [cp.Constant(0.0), cp.Constant(0.0)]
    if current_a is not None:
        by, off = current_a / np.conj(around_pu), (at[0] - around_pu.real, at[1] - around_pu.imag)
        moved[0] = cp.multiply(by.real, off[0]) + cp.multiply(by.imag, off[1])
        moved[1] = cp.multiply(by.imag, off[0]) - cp.multiply(by.real, off[1])
    currents = [
        real == cp.multiply(slope.real, active) + cp.multiply(slope.imag, reactive) - moved[0],
        imaginary == cp.multiply(slope.imag, active) - cp.multiply(slope.real, reactive) - moved[1],
    ]
    currents += [
        *(tree.below @ part == tree.of_connection @ own for part, own in zip(through, (real, imaginary), strict=True)),
        tree.above @ higher[0] == resistance @ through[0] - reactance @ through[1],
        tree.above @ higher[1] == resistance @ through[1] + reactance @ through[0],
    ]
    voltage = cp.multiply(direction.real, at[0]) + cp.multiply(direction.imag, at[1])
    losses = cp.Variable(steps)
    # |F I|^2 <= 1000 losses, as a cone for every step
    lost = cp.vstack([2 * (tree.loss_root @ part) for part in through])
    tall = cp.vstack([lost, cp.reshape(1000 * losses - 1, (1, steps), order="C")])
    constraints: Constraints = {
        "the power flow of the feeder": [balance, *currents, cp.SOC(1000 * losses + 1, tall, axis=0)],
        "the voltage limits": [
            voltage >= feeder.voltage_min_pu - slack,
            voltage <= feeder.voltage_max_pu + slack,
        ],
    }
    if rated := _rated(reduced, *through):
        constraints["the ratings of the lines"] = rated
    if feeder.transformer is not None:
        # Towards the source, S = V0 conj(I).
        through_kw = unit / 1000 * (no_load.real.T @ real + no_load.imag.T @ imaginary)
        through_kvar = unit / 1000 * (no_load.imag.T @ real - no_load.real.T @ imaginary)
        part = cp.vstack([through_kw, through_kvar]) / feeder.transformer.kva
        constraints["the transformer's rating"] = [cp.SOC(np.ones(steps), part, axis=0)]
    root_kw = cp.sum(given, axis=0) - losses
    return PhasePlan(feeder, around_pu, balance, voltage, losses, root_kw, constraints)


def _rated(reduced: Reduced, real: cp.Variable, imaginary: cp.Variable) -> list[cp.Constraint]:
    """|I| <= rating, of each phase and the neutral of a section that has one."""
    rows, columns, factors = [], [], []
    count = 0
    for section, rating in enumerate(reduced.rating_a):
        if np.isfinite(rating):
            used = np.flatnonzero(reduced.tree.section == section).tolist()
            for conductors in [*([k] for k in used), *([used] if len(used) > 1 else [])]:  # last the neutral
                rows += [count] * len(conductors)
                columns += conductors
                factors += [1 / rating] * len(conductors)
                count += 1
    if not count:
        return []
    steps = real.shape[1]
    matrix = sp.csr_array((factors, (rows, columns)), shape=(count, len(reduced.tree.section)))
    flat = [cp.vec(matrix @ part, order="C") for part in (real, imaginary)]
    return [cp.SOC(np.ones(count * steps), cp.vstack(flat), axis=0)]
