"""The same street in OpenDSS, with its neutral as a fourth conductor: what a plan does, independent of the planner.

Lines have four conductors there, homes stand between a phase and the neutral, which is earthed at the transformer
only; loop impedances are not used. A line that is known by its loop impedances Z alone gets a neutral of the mean of
what Z couples its phases by, and phases of the rest: other splits give the same voltages between phase and neutral.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array
from gridpact.community.street import PHASES, Complex, PhaseFeeder, PhaseLine
from gridpact.errors import SolverError
from gridpact.grid.opendss import dss
from gridpact.grid.three_phase import ROTATION

NEUTRAL = 4


@dataclass(frozen=True, eq=False)
class FourWireFlow:
    """A day on the street. Connections as in `Reduced`: household by household, its phases ascending."""

    voltage_pu: Array  # (C, T), between phase and neutral
    unbalance: Array  # (B, T), |V2| / |V1| at buses with three phases
    neutral_v: Array  # (B, T), between neutral and earth
    phase_a: Array  # (L, 3, T), by line; nan where it has no such phase
    neutral_a: Array  # (L, T)
    line_loading: Array  # (L, T), of the most loaded phase, a fraction of its rating; nan without one
    neutral_loading: Array  # (L, T)
    transformer_loading: Array  # (T,), fraction of its kVA; nan without one
    losses_kw: Array  # (T,)
    import_kw: Array  # (T,)


def four_wire_flow(feeder: PhaseFeeder, injection_kw: Array, injection_kvar: Array) -> FourWireFlow:
    """Solves the street for injections of shape (n, T), every step on its own.

    Raises:
        SolverError: OpenDSS found no solution at some step.
    """
    number = {bus: k for k, bus in enumerate(dict.fromkeys([feeder.root, *(line.bus for line in feeder.lines)]))}
    _build(feeder, number)
    buses = [feeder.root, *(line.bus for line in feeder.lines if line.phases == PHASES)]
    taken, places = [], None
    for t in range(injection_kw.shape[1]):
        for home, connection in enumerate(feeder.connections):
            for phase in connection.phases:
                dss.Loads.Name(f"h{home}_{phase}")
                dss.Loads.kW(-injection_kw[home, t] / len(connection.phases))
                dss.Loads.kvar(-injection_kvar[home, t] / len(connection.phases))
        dss.Solution.Solve()
        if not dss.Solution.Converged():
            raise SolverError(f"the power flow has no solution at step {t}: the feeder cannot carry this plan")
        places = places or _Asked.of(feeder, buses, number)
        taken.append(_step(places, feeder.phase_voltage_v))
    voltage, unbalance, neutral_v, phase_a, neutral_a, kva, losses, imported = (
        np.stack(values, axis=-1) for values in zip(*taken, strict=True)
    )
    rating = np.array([np.nan if line.rating_a is None else line.rating_a for line in feeder.lines])[:, None]
    with np.errstate(all="ignore"):
        line_loading = np.fmax.reduce(phase_a, axis=1) / rating if feeder.lines else neutral_a
    rated = feeder.transformer.kva if feeder.transformer else np.nan
    return FourWireFlow(
        voltage_pu=voltage,
        unbalance=unbalance,
        neutral_v=neutral_v,
        phase_a=phase_a,
        neutral_a=neutral_a,
        line_loading=line_loading,
        neutral_loading=neutral_a / rating,
        transformer_loading=kva / rated,
        losses_kw=losses,
        import_kw=imported,
    )


def _build(feeder: PhaseFeeder, number: Mapping[str, int]) -> None:
    kv, phase_kv = feeder.nominal_voltage_v / 1000, feeder.phase_voltage_v / 1000
    source = "source" if feeder.transformer else "b0"
    tap = feeder.transformer.tap if feeder.transformer else 1.0
    commands = [
        "clear",
        f"new circuit.street basekv={kv} pu={feeder.source.voltage_pu} phases=3 bus1={source} "
        f"Z1={_source(feeder.source.z1_ohm, tap)} Z0={_source(feeder.source.z0_ohm, tap)}",
    ]
    if (transformer := feeder.transformer) is not None:
        commands.append(
            f"new transformer.t phases=3 windings=2 buses=[source.1.2.3, b0.1.2.3.0] conns=[delta, wye] "
            f"kvs=[{kv}, {kv * transformer.tap}] kvas=[{transformer.kva}, {transformer.kva}] "
            f"%loadloss={transformer.resistance_percent / transformer.tap**2} "
            f"xhl={transformer.reactance_percent / transformer.tap**2} %noloadloss=0 %imag=0 ppm_antifloat=0"
        )
    for k, line in enumerate(feeder.lines):
        commands.append(_line(k, line, number, feeder))
    for home, connection in enumerate(feeder.connections):
        neutral = 0 if connection.bus == feeder.root else NEUTRAL
        for phase in connection.phases:
            commands.append(
                f"new load.h{home}_{phase} bus1=b{number[connection.bus]}.{phase + 1}.{neutral} phases=1 "
                f"kv={phase_kv} kw=0 kvar=0 model=1 vminpu=0.1 vmaxpu=2"
            )
    commands += [
        f"set voltagebases=[{kv}]",
        "calcvoltagebases",
        "set tolerance=1e-9 maxiterations=500 controlmode=off",
    ]
    dss.Basic.AllowForms(False)
    for command in commands:
        dss.Text.Command(command)


def _source(impedance: complex, tap: float) -> str:
    """An impedance seen from the feeder, on the other side of the transformer."""
    above = impedance / tap**2
    return f"[{above.real!r}, {above.imag or 1e-9!r}]"


def _line(k: int, line: PhaseLine, number: Mapping[str, int], feeder: PhaseFeeder) -> str:
    conductors = _conductors(line)
    of = len(conductors)
    here = ".".join(str(phase + 1) for phase in line.phases)
    above = 0 if line.parent == feeder.root else NEUTRAL
    return (
        f"new line.l{k} bus1=b{number[line.parent]}.{here}.{above} bus2=b{number[line.bus]}.{here}.{NEUTRAL} "
        f"phases={of} length=1 units=none rmatrix={_matrix(conductors.real)} xmatrix={_matrix(conductors.imag)} "
        f"cmatrix={_matrix(np.zeros((of, of)))}"
    )


def _conductors(line: PhaseLine) -> Complex:
    """Impedances of the line's phases and its neutral, ohm, without coupling between phases and neutral."""
    loop = line.impedance_ohm[np.ix_(line.phases, line.phases)]
    of = len(loop)
    neutral = np.sum(loop - np.diag(loop.diagonal())) / (of * (of - 1)) if of > 1 else loop[0, 0] / 2
    result = np.zeros((of + 1, of + 1), dtype=complex)
    result[:of, :of] = loop - neutral
    result[of, of] = neutral if neutral else 1e-9
    return result


def _matrix(values: Array) -> str:
    return "[" + " | ".join(" ".join(repr(float(v)) for v in row) for row in values) + "]"


@dataclass(frozen=True, eq=False)
class _Asked:
    """Where what is asked stands among all that OpenDSS tells at once."""

    connections: NDArray[np.intp]  # (C, 2), nodes of a phase and the neutral, -1: earth
    buses: NDArray[np.intp]  # (B, 4)
    conductors: NDArray[np.intp]  # (L, 4), among all currents; -1: there is none

    @staticmethod
    def of(feeder: PhaseFeeder, buses: Sequence[str], number: Mapping[str, int]) -> _Asked:
        node = {name: k for k, name in enumerate(dss.Circuit.AllNodeNames())}

        def nodes(bus: str) -> list[int]:
            """Of the phases and the neutral, which is earthed at the first bus."""
            own = [node.get(f"b{number[bus]}.{phase + 1}", -1) for phase in PHASES]
            return [*own, -1 if bus == feeder.root else node.get(f"b{number[bus]}.{NEUTRAL}", -1)]

        at = [nodes(home.bus) for home in feeder.connections]
        pairs = [
            (own[phase], own[3])
            for own, home in zip(at, feeder.connections, strict=True)
            for phase in home.phases
        ]  # fmt: skip
        ends = np.cumsum([2 * count for count in dss.PDElements.AllNumConductors()])
        starts = dict(zip((name.lower() for name in dss.PDElements.AllNames()), [0, *ends.tolist()], strict=False))
        conductors = np.full((len(feeder.lines), 4), -1)
        for k, line in enumerate(feeder.lines):
            for place, conductor in enumerate((*line.phases, 3)):
                conductors[k, conductor] = starts[f"line.l{k}"] + place
        return _Asked(
            np.array(pairs, dtype=np.intp).reshape(-1, 2), np.array([nodes(bus) for bus in buses]), conductors
        )


def _step(places: _Asked, unit: float) -> tuple[Array, ...]:
    """What OpenDSS found: connections' voltages, unbalance, neutral's voltage, currents, kVA, losses, import."""
    volts = np.append(np.array(dss.Circuit.AllBusVolts()).reshape(-1, 2) @ [1, 1j], 0.0)  # last the earth
    amperes = np.append(np.array(dss.PDElements.AllCurrents()).reshape(-1, 2) @ [1, 1j], np.nan)
    at = volts[places.buses]  # (B, 4)
    sequence = at[:, :3] - at[:, 3:]
    currents = np.abs(amperes[places.conductors])
    dss.Circuit.SetActiveElement("vsource.source")
    power = dss.CktElement.Powers()
    kw, kvar = -sum(power[:6:2]), -sum(power[1:6:2])
    losses = dss.Circuit.Losses()[0] / 1000
    return (
        np.abs(volts[places.connections[:, 0]] - volts[places.connections[:, 1]]) / unit,
        np.abs(sequence @ ROTATION) / np.abs(sequence @ np.conj(ROTATION)),
        np.abs(at[:, 3]),
        currents[:, :3],
        currents[:, 3],
        np.asarray(np.hypot(kw, kvar)),
        np.asarray(losses),
        np.asarray(kw),
    )
