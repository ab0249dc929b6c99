"""An exact power flow of a balanced feeder, from the ends to the root and back: Kirchhoff's laws, no relaxation.

With S what a node gives, per unit, I what its line carries towards the root, and Z the line's impedance,

    I_k = conj(S_k / V_k) + sum of the I of its children,    V_k = V_parent + Z_k I_k,    V_root = 1

is repeated until no voltage moves. Nothing here is shared with what plans, which knows squares of magnitudes only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, Feeder
from gridpact.errors import SolverError

PASSES = 500
STANDS_PU = 1e-12
LOWEST_PU = 0.1
"""Voltages that fall so far have left the feeder's working range: there is no power flow, or none that stands."""


@dataclass(frozen=True)
class Swept:
    """Voltages and currents of all lines' nodes, (lines, T), and of the whole feeder, (T,)."""

    voltage_pu: Array
    current_a: Array
    losses_kw: Array
    import_kw: Array  # into the feeder at its root


def sweep(feeder: Feeder, injection_kw: Array, injection_kvar: Array) -> Swept:
    """The power flow for injections of households, (n, T); junctions, which come after them, have none.

    Raises:
        SolverError: there is none at some step.
    """
    lines, (homes, steps) = len(feeder.lines), injection_kw.shape
    base, depth = feeder.base_kva, feeder.depth
    given = np.zeros((lines, steps), dtype=complex)
    given[:homes] = (injection_kw + 1j * injection_kvar) / base
    impedance = feeder.resistance_pu() + 1j * feeder.reactance_pu()
    outwards = sorted(feeder.lines, key=lambda line: depth[line.node])
    # A last row is the root, so that a line's parent is a row as any other.
    voltage = np.ones((lines + 1, steps), dtype=complex)
    row_above = {line.node: lines if line.parent == GRID_CONNECTION else line.parent - 1 for line in feeder.lines}
    for _ in range(PASSES):
        current = np.vstack([np.conj(given / voltage[:-1]), np.zeros((1, steps))])
        for line in reversed(outwards):
            current[row_above[line.node]] += current[line.node - 1]
        before = voltage.copy()
        for line in outwards:
            k = line.node - 1
            voltage[k] = voltage[row_above[line.node]] + impedance[k] * current[k]
        low = np.abs(voltage).min(axis=0) < LOWEST_PU
        if low.any():
            raise _no_solution(int(np.argmax(low)))
        moved = np.abs(voltage - before).max(axis=0)
        if moved.max() <= STANDS_PU:
            break
    else:
        raise _no_solution(int(np.argmax(moved)))
    losses = base * (feeder.resistance_pu() @ np.abs(current[:-1]) ** 2)
    ampere = 1000 * base / (np.sqrt(3) * feeder.nominal_voltage_v)
    return Swept(np.abs(voltage[:-1]), ampere * np.abs(current[:-1]), losses, -base * current[-1].real)


def _no_solution(step: int) -> SolverError:
    return SolverError(f"the power flow has no solution at step {step}: the feeder cannot carry this plan")
