"""An exact power flow of a community's injections, by OpenDSS: independent of everything that was optimised here."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import opendssdirect as dss

from gridpact.community.model import GRID_CONNECTION, Array, Feeder
from gridpact.errors import SolverError


@dataclass(frozen=True)
class PowerFlow:
    """Voltages, losses and the exchange with the grid over a day."""

    voltage_pu: Array  # (n, T)
    losses_kw: Array  # (T,)
    import_kw: Array  # (T,), at the grid connection; negative where the feeder feeds in
    current_a: Array  # (n, T), of each line, in one of its three phases


def power_flow(feeder: Feeder, injection_kw: Array, injection_kvar: Array) -> PowerFlow:
    """Solves the feeder for injections of its households, every step on its own; junctions have none.

    The feeder is three-phase and balanced, the grid connection a stiff source of 1.0 p.u., every household a constant
    power, whatever its voltage.

    Raises:
        SolverError: OpenDSS found no solution at some step.
    """
    _build(feeder)
    n, steps = injection_kw.shape
    lines = len(feeder.lines)
    voltage, current = np.empty((lines, steps)), np.empty((lines, steps))
    losses, imported = np.empty(steps), np.empty(steps)
    for t in range(steps):
        for k in range(n):
            dss.Loads.Name(f"h{k + 1}")
            dss.Loads.kW(-injection_kw[k, t])
            dss.Loads.kvar(-injection_kvar[k, t])
        dss.Solution.Solve()
        if not dss.Solution.Converged():
            raise SolverError(f"the power flow has no solution at step {t}: the feeder cannot carry this plan")
        losses[t] = dss.Circuit.Losses()[0] / 1000
        imported[t] = -dss.Circuit.TotalPower()[0]
        for k, line in enumerate(feeder.lines):
            dss.Circuit.SetActiveBus(f"b{line.node}")
            voltage[k, t] = dss.Bus.puVmagAngle()[0]
            dss.Lines.Name(f"l{line.node}")
            dss.Circuit.SetActiveElement(f"line.l{line.node}")
            current[k, t] = dss.CktElement.CurrentsMagAng()[0]
    return PowerFlow(voltage, losses, imported, current)


def _build(feeder: Feeder) -> None:
    kv = feeder.nominal_voltage_v / 1000
    dss.Basic.AllowForms(False)
    dss.Text.Command("clear")
    dss.Text.Command(
        f"new circuit.feeder basekv={kv} pu=1.0 phases=3 bus1=b{GRID_CONNECTION} Z1=[0, 1e-9] Z0=[0, 1e-9]"
    )
    for line in feeder.lines:
        r, x = line.resistance_ohm, line.reactance_ohm
        dss.Text.Command(
            f"new line.l{line.node} bus1=b{line.parent} bus2=b{line.node} phases=3 length=1 units=none "
            f"r1={r} x1={x} r0={r} x0={x} c1=0 c0=0"
        )
        dss.Text.Command(
            f"new load.h{line.node} bus1=b{line.node} phases=3 conn=wye kv={kv} kw=0 kvar=0 model=1 vminpu=0.1 vmaxpu=2"
        )
    dss.Text.Command(f"set voltagebases=[{kv}]")
    dss.Text.Command("calcvoltagebases")
    dss.Text.Command("set tolerance=1e-9 maxiterations=200 controlmode=off")
