"""An exact power flow of a community's injections, independent of everything that was optimised here: by OpenDSS where
it is installed, of a balanced feeder else by `sweep`."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, Feeder
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InputError, SolverError
from gridpact.grid.four_wire import FourWireFlow, four_wire_flow
from gridpact.grid.opendss import dss
from gridpact.grid.sweep import sweep
from gridpact.grid.three_phase import homes_of


@dataclass(frozen=True)
class PowerFlow:
    """Voltages, losses and the exchange with the grid over a day."""

    nodes: tuple[int, ...]  # of the rows of voltages: all of a balanced feeder, on a street those with a home
    voltage_pu: Array  # (nodes, T); of a home on several phases that which is nearest to a limit, or furthest beyond
    losses_kw: Array  # (T,)
    import_kw: Array  # (T,), at the grid connection; negative where the feeder feeds in
    current_a: Array  # (lines, T), in the most loaded phase
    by_phase: FourWireFlow | None = None  # of a street; a balanced feeder has nothing more to say

    def line_loading(self, feeder: Feeder | PhaseFeeder) -> Array:
        """Fractions of the lines' ratings, (lines, T); nan where one has none."""
        rating = np.array([np.nan if line.rating_a is None else line.rating_a for line in feeder.lines])
        loading: Array = self.current_a / rating[:, None]
        return loading


def power_flow(feeder: Feeder | PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> PowerFlow:
    """Solves the feeder for injections of its households, (n, T), every step on its own; junctions have none.

    A balanced feeder has a stiff source of 1.0 p.u.; a street's stands in its file. Every household is a constant
    power, whatever its voltage.

    Raises:
        SolverError: there is no solution at some step.
        InputError: a street has no power flow without OpenDSS.
    """
    if isinstance(feeder, PhaseFeeder):
        if dss is None:
            raise InputError(
                "a street with three phases is checked by OpenDSS, which is not installed: "
                "pip install 'gridpact[opendss]'"
            )
        return _of_street(feeder, injection_kw, injection_kvar)
    nodes = tuple(line.node for line in feeder.lines)
    if dss is None:
        swept = sweep(feeder, injection_kw, injection_kvar)
        return PowerFlow(nodes, swept.voltage_pu, swept.losses_kw, swept.import_kw, swept.current_a)
    return _by_opendss(feeder, injection_kw, injection_kvar)


def _by_opendss(feeder: Feeder, injection_kw: Array, injection_kvar: Array) -> PowerFlow:
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
    return PowerFlow(tuple(line.node for line in feeder.lines), voltage, losses, imported, current)


def _of_street(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> PowerFlow:
    flow = four_wire_flow(feeder, injection_kw, injection_kvar)
    middle = (feeder.voltage_min_pu + feeder.voltage_max_pu) / 2
    voltage = np.empty(injection_kw.shape)
    for home, rows in enumerate(homes_of(feeder)):
        of_home = flow.voltage_pu[rows]
        furthest = np.argmax(np.abs(of_home - middle), axis=0)
        voltage[home] = np.take_along_axis(of_home, furthest[None], axis=0)[0]
    current = np.fmax.reduce(flow.phase_a, axis=1)
    return PowerFlow(feeder.nodes, voltage, flow.losses_kw, flow.import_kw, current, flow)


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
