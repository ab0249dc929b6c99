"""Lines as files have them, in any order and direction, turned towards the transformer."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.community.networks.network import LEAST_FAULT_A
from gridpact.community.street import PHASES, Complex, PhaseLine, impedance_fault
from gridpact.errors import InputError


@dataclass(frozen=True, eq=False)
class Edge:
    """A line between two buses."""

    name: str
    where: str  # it stands, for example "lines.dss:7"
    buses: tuple[str, str]
    phases: tuple[int, ...]  # ascending
    impedance_ohm: Complex  # loop impedances, (3, 3), 0 where it has no such phase
    rating_a: float | None


def radial(
    edges: Iterable[Edge], root: str, nominal_voltage_v: float, fed: tuple[int, ...] = PHASES
) -> tuple[tuple[PhaseLine, ...], tuple[str, ...]]:
    """The lines that hang on a bus, those nearer to it first, and remarks.

    Lines between the same two buses are taken as one, exactly; what hangs on nothing is left out.

    Args:
        fed: phases of the bus.

    Raises:
        InputError: lines close a loop, one has a phase that does not lead to it, or is so long that it must be a
            mistake of units.
    """
    beside: dict[frozenset[str], list[Edge]] = defaultdict(list)
    at: dict[str, list[frozenset[str]]] = defaultdict(list)
    for edge in edges:
        _check_units(edge, nominal_voltage_v)
        pair = frozenset(edge.buses)
        if pair not in beside:
            for bus in pair:
                at[bus].append(pair)
        beside[pair].append(edge)
    lines: list[PhaseLine] = []
    used: set[frozenset[str]] = set()
    todo, seen = [root], {root: fed}
    while todo:
        parent = todo.pop(0)
        for pair in at[parent]:
            if pair in used:
                continue
            used.add(pair)
            (bus,) = pair - {parent} or {parent}
            if bus in seen:
                edge = beside[pair][0]
                raise InputError(
                    f"{edge.where}: line '{edge.name}' closes a loop at bus '{bus}': a feeder must be radial, open it "
                    "where it is operated"
                )
            for edge in beside[pair]:
                if missing := sorted(set(edge.phases) - set(seen[parent])):
                    raise InputError(
                        f"{edge.where}: line '{edge.name}' has phase {missing[0] + 1}, which does not lead to bus "
                        f"'{parent}', where it begins: there are {', '.join(str(phase + 1) for phase in seen[parent])}"
                    )
            todo.append(bus)
            lines.append(_as_one(beside[pair], bus, parent))
            seen[bus] = lines[-1].phases
    remarks = []
    if several := sum(len(members) > 1 for pair, members in beside.items() if pair in used):
        remarks.append(f"lines beside each other are taken as one ({several} times)")
    if left := [members[0].name for pair, members in beside.items() if pair not in used]:
        remarks.append(f"lines that hang on nothing are left out: {len(left)}, among them '{left[0]}'")
    return tuple(lines), tuple(remarks)


def _check_units(edge: Edge, nominal_voltage_v: float) -> None:
    own = float(np.abs(edge.impedance_ohm.diagonal()).max())
    fault = nominal_voltage_v / np.sqrt(3) / own if own else np.inf
    if fault < LEAST_FAULT_A:
        raise InputError(
            f"{edge.where}: line '{edge.name}' has {own:.3g} ohm, behind which a short circuit would draw {fault:.2g} "
            "A: check its length and the units of it and of its impedances"
        )


def _as_one(edges: Sequence[Edge], bus: str, parent: str) -> PhaseLine:
    """Lines between the same two buses: their admittances add up, and currents part by them.

    Raises:
        InputError: one is none that can be.
    """
    for edge in edges:
        if (fault := impedance_fault(edge.phases, edge.impedance_ohm)) is not None:
            raise InputError(f"{edge.where}: line '{edge.name}' {fault}")
    if len(edges) == 1:
        (edge,) = edges
        return PhaseLine(edge.name, bus, parent, edge.phases, edge.impedance_ohm, edge.rating_a)
    admittances = []
    for edge in edges:
        own = np.zeros((3, 3), dtype=complex)
        here = np.ix_(edge.phases, edge.phases)
        own[here] = np.linalg.inv(edge.impedance_ohm[here])
        admittances.append(own)
    phases = tuple(sorted({phase for edge in edges for phase in edge.phases}))
    here = np.ix_(phases, phases)
    total = np.zeros((3, 3), dtype=complex)
    total[here] = np.linalg.inv(np.sum(admittances, axis=0)[here])
    # A line carries the part Y Z of the current: the phase in which that is most decides.
    limits = [
        edge.rating_a / float(np.max(np.abs((own @ total).diagonal())))
        for own, edge in zip(admittances, edges, strict=True)
        if edge.rating_a is not None
    ]
    name = "+".join(edge.name for edge in edges)
    if (fault := impedance_fault(phases, total)) is not None:
        raise InputError(f"{edges[0].where}: lines '{name}' beside each other: what they are together {fault}")
    return PhaseLine(name, bus, parent, phases, total, min(limits, default=None))
