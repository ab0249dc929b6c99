"""Feeders from CSV tables with the impedances of each phase, one table a kind of element.

A folder holds, each with a header: `*bus*.csv` (name, Pa .. Qc: kW and kvar of loads), `*line*.csv` (busA, busB, Zaa,
Zbb, Zcc, Zab, Zac, Zbc: ohm, complex as "(1+2j)"), `*trn*.csv` (busA, busB, Zseries: ohm on the feeder's side) and
`*src*.csv` (kvBaseLL, pu). A line above the transformer is the source's impedance.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from gridpact.community.networks.network import NetworkFile, NetworkLoad, check_head, left_out, on_phases, phases_at
from gridpact.community.networks.radial import Edge, radial
from gridpact.community.street import PHASES, Complex, Connection, Source, Transformer, sequences_of
from gridpact.errors import InputError
from gridpact.files import reason_of

KINDS = ("bus", "line", "trn", "src")
RATED_KVA = 1e6
"""Of a transformer that the tables do not rate: an impedance is told in ohm there."""

MOST = 1e12
"""No number of a network is larger."""

Row = Mapping[str, str]


def read_matrices(folder: Path) -> NetworkFile:
    """Reads a feeder from a folder of tables with impedances by phase.

    Raises:
        InputError: with file, row and column: a table is missing, or something in it cannot be read.
    """
    tables = {kind: list(_rows(folder, kind)) for kind in KINDS}
    for kind in ("trn", "src"):
        if len(tables[kind]) != 1:
            raise InputError(f"{folder}: has {len(tables[kind])} rows in its table '{kind}'; one is planned with")
    ((where_src, src),) = tables["src"]
    ((where_trn, transformer),) = tables["trn"]
    head, root = (_text(where_trn, transformer, column) for column in ("busA", "busB"))
    volts = 1000 * _number(where_src, src, "kvBaseLL").real
    if not volts > 0:
        raise InputError(f"{where_src}, column 'kvBaseLL': {volts / 1000:g} kV: give the nominal voltage, above 0")
    remarks = ["the tables do not rate transformer or lines"]
    every = [_edge(where, row) for where, row in tables["line"]]
    above, edges = [e for e in every if head in e.buses], [e for e in every if head not in e.buses]
    supply = {bus for edge in above for bus in edge.buses} - {head}
    for edge in edges:
        if supply & set(edge.buses):
            raise InputError(f"{edge.where}: line '{edge.name}' passes the transformer by: leave it out")
    for edge in above[1:]:
        raise InputError(
            f"{edge.where}: line '{edge.name}' is a second one at bus '{head}' above the transformer: give the feeder "
            "behind it, and one line for the source's impedance"
        )
    sequences = sequences_of(above[0].impedance_ohm) if above else (0j, 0j)
    if sequences is None:
        raise InputError(f"{above[0].where}: line '{above[0].name}' above the transformer has phases that are unlike")
    for column, kind in (("typeA", "delta"), ("typeB", "wye")):
        if not (transformer.get(column) or kind).startswith(kind):
            raise InputError(f"{where_trn}, column '{column}': {transformer[column][:40]!r}; '{kind}' is planned with")
    series = _number(where_trn, transformer, "Zseries")
    percent = 100 * series * 1000 * RATED_KVA / volts**2
    check_head(where_trn, volts, series, source_pu := _number(where_src, src, "pu").real, where_source=where_src)
    lines, odd = radial(edges, root, volts)
    there = phases_at(root, lines)
    for edge in edges if not above else ():
        if not set(edge.buses) & there.keys():
            raise InputError(f"{edge.where}: line '{edge.name}' hangs on nothing, nor does a line lead to bus '{head}'")
    placed = [(where, load) for where, row in tables["bus"] if (load := _load(where, row, remarks))]
    loads = [on_phases(where, load, there) for where, load in placed if load.connection.bus in there]
    if away := [load.name for _, load in placed if load.connection.bus not in there]:
        odd = (*odd, left_out(away))
    if not loads:
        raise InputError(f"{folder}: no bus behind the transformer has a load, so there is no place for a home")
    return NetworkFile(
        name=folder.name,
        nominal_voltage_v=volts,
        root=root,
        lines=lines,
        loads=tuple(loads),
        transformer=Transformer(RATED_KVA, percent.real, percent.imag),
        source=Source(source_pu, *sequences),
        remarks=(*dict.fromkeys(remarks), *odd),
    )


def _rows(folder: Path, kind: str) -> Iterator[tuple[str, Row]]:
    files = sorted(folder.glob(f"*{kind}*.csv"))
    if len(files) != 1:
        raise InputError(f"{folder}: has {len(files)} tables '*{kind}*.csv'; one is needed")
    try:
        with files[0].open(newline="", encoding="utf-8-sig") as table:
            for number, row in enumerate(csv.DictReader(table), start=2):
                yield f"{files[0]}, row {number}", row
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(f"{files[0]}: cannot be read ({reason_of(error)})") from None


def _text(where: str, row: Row, column: str) -> str:
    """
    Raises:
        InputError: the column is missing.
    """
    if (text := row.get(column)) is None:
        raise InputError(f"{where}: column '{column}' is missing")
    if not text.strip():
        raise InputError(f"{where}: column '{column}' is empty")
    return text


def _number(where: str, row: Row, column: str) -> complex:
    text = _text(where, row, column)
    try:
        value = complex(text)
    except ValueError:
        raise InputError(f"{where}, column '{column}': {text[:40]!r} is not a number like (0.1+0.05j)") from None
    if not abs(value) <= MOST:
        raise InputError(f"{where}, column '{column}': '{text}' is not a number that can be")
    return value


def _edge(where: str, row: Row) -> Edge:
    letters = "abc"
    matrix: Complex = np.array(
        [[_number(where, row, f"Z{min(i, j)}{max(i, j)}") for j in letters] for i in letters], dtype=np.complex128
    )
    phases = tuple(phase for phase in PHASES if matrix[phase, phase])
    buses = _text(where, row, "busA"), _text(where, row, "busB")
    return Edge(row.get("") or where, where, buses, phases, matrix, None)


def _load(where: str, row: Row, remarks: list[str]) -> NetworkLoad | None:
    power = [_number(where, row, f"P{p}") + 1j * _number(where, row, f"Q{p}") for p in "abc"]
    phases = tuple(phase for phase in PHASES if power[phase])
    if not phases:
        return None
    if any(power[phase] != power[phases[0]] for phase in phases):
        remarks.append("loads of unlike phases are shared equally between them")
    total = sum(power)
    bus = _text(where, row, "name")
    return NetworkLoad(f"load{bus}", Connection(bus, phases), total.real, total.imag)
