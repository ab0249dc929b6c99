"""Low-voltage grids of SimBench (Meinecke et al., 2020): a folder of tables with semicolons between their columns.

A data set may hold many grids, told apart by the column `subnet`; one of them is read. Powers are in MW, lengths in km.
Buses that closed switches join are one bus here. All elements are balanced, and have no zero sequence impedances.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from pathlib import Path

from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.radial import Edge, radial
from gridpact.community.street import PHASES, Connection, Source, Transformer, by_sequence
from gridpact.community.tables import Row, rows
from gridpact.errors import InputError
from gridpact.text import listed

TABLES = ("Node", "Line", "LineType", "Load")
"""Those that a grid always has."""

COLUMNS = {
    "Node": ("id", "type", "vmR", "subnet"),
    "Line": ("id", "nodeA", "nodeB", "type", "length", "subnet"),
    "LineType": ("id", "r", "x"),
    "Switch": ("nodeA", "nodeB", "cond", "subnet"),
    "Transformer": ("nodeHV", "nodeLV", "type", "subnet"),
    "TransformerType": ("id", "sR", "vmHV", "vmLV", "vmImp", "pCu"),
    "Load": ("id", "node", "profile", "pLoad", "subnet", "voltLvl"),
    "RES": ("id", "node", "type", "profile", "pRES", "subnet"),
    "Storage": ("id", "node", "sR", "eStore", "subnet"),
}
"""What is read of each table and must be there."""

LEAST = 1e-9
"""Of what something is divided by."""
MOST_MOVED = 0.3
"""By a tap changer, of the ratio."""

LOW_VOLTAGE = "7"
"""Of the column `voltLvl`: below 1 kV."""

AUXILIARY = "auxiliary"
"""Of the column `type`: a node between a line and its switch, not a place."""


class SimBenchFolder:
    """A data set of SimBench's, and one of its low-voltage grids.

    Args:
        subnet: its name; None: the only one there is.

    Raises:
        InputError: there is none of that name, or there are several to choose from.
    """

    def __init__(self, folder: Path, subnet: str | None = None) -> None:
        self.folder = folder
        self._read: dict[str, list[Row]] = {}
        for name in TABLES:
            if not (folder / f"{name}.csv").is_file():
                raise InputError(f"{folder}: has no {name}.csv; give a folder with the tables of a SimBench grid")
        at_low = (row for row in self.table("Load") if row.text("voltLvl") == LOW_VOLTAGE)
        known = list(dict.fromkeys(row.text("subnet") for row in at_low))
        if not known:
            raise InputError(f"{folder / 'Load.csv'}: no load is at low voltage (voltLvl {LOW_VOLTAGE})")
        if subnet is None and len(known) > 1:
            grids = f"there are {len(known)} low-voltage grids"
            raise InputError(f"{folder}: {grids}, choose with --subnet: {listed(known)}")
        if subnet is not None and subnet not in known:
            raise InputError(f"{folder}: there is no low-voltage grid '{subnet}'; there are {listed(known)}")
        self.subnet = subnet or known[0]

    def table(self, name: str) -> list[Row]:
        """All rows of a table; none where there is no such file. NULL is an empty cell.

        Raises:
            InputError: it cannot be read, or a column is missing.
        """
        path = self.folder / f"{name}.csv"
        if name not in self._read:
            self._read[name] = [
                replace(row, cells={column: "" if cell == "NULL" else cell for column, cell in row.cells.items()})
                for row in (rows(path, COLUMNS[name], None, ".") if path.is_file() else ())
            ]
        return self._read[name]

    @cached_property
    def places(self) -> dict[str, str]:
        """What the bus of each node is called: closed switches join nodes; one that is no auxiliary gives the name."""
        return _joined(self, {row.text("id"): row for row in self.table("Node")})

    def own(self, name: str) -> list[Row]:
        """The rows of the grid."""
        return [row for row in self.table(name) if row.text("subnet") == self.subnet]


def is_simbench(folder: Path) -> bool:
    """Whether a folder holds the tables of a SimBench grid."""
    return folder.is_dir() and all((folder / f"{name}.csv").is_file() for name in TABLES)


def read_simbench(folder: Path, subnet: str | None = None) -> NetworkFile:
    """Reads a low-voltage grid.

    Raises:
        InputError: see `SimBenchFolder`; a table lacks something, it is not radial, or has transformers of two kinds.
    """
    tables = SimBenchFolder(folder, subnet)
    nodes = {row.text("id"): row for row in tables.table("Node")}
    places = tables.places
    root, volts, transformer, source = _head(tables, nodes, places)
    lines, odd = radial(_edges(tables, places), root, volts)
    reached = {root} | {line.bus for line in lines}
    loads = []
    for row in tables.own("Load"):
        bus = _place(row, "node", places)
        if bus in reached:
            kw, kvar = 1000 * row.number_in("pLoad"), 1000 * row.number_in("qLoad", default=0.0)
            loads.append(NetworkLoad(row.text("id"), Connection(bus, PHASES), kw, kvar))
    if not loads:
        raise InputError(f"{folder}: no load of '{tables.subnet}' hangs on its transformer, so there is no home")
    at_homes = [nodes[name] for name, place in places.items() if place in {load.connection.bus for load in loads}]
    lowest = max(row.number_in("vmMin", default=0.9) for row in at_homes)
    highest = min(row.number_in("vmMax", default=1.1) for row in at_homes)
    remarks = ["SimBench has no zero sequence impedances: lines get four times those of the positive sequence", *odd]
    head = transformer, source
    return NetworkFile(tables.subnet, volts, root, lines, tuple(loads), *head, tuple(remarks), (lowest, highest))


def _joined(tables: SimBenchFolder, nodes: Mapping[str, Row]) -> dict[str, str]:
    """The name of each node's bus, see `SimBenchFolder.places`."""
    group = {name: {name} for name in nodes}
    for row in tables.own("Switch"):
        if row.number_in("cond") == 0:
            continue
        first, second = (row.text(column) for column in ("nodeA", "nodeB"))
        for name in (first, second):
            if name not in nodes:
                raise row.error("nodeA" if name == first else "nodeB", f"there is no node '{name}'")
        if group[first] is not group[second]:
            group[first] |= group[second]
            for name in group[second]:
                group[name] = group[first]

    def called(name: str) -> str:
        return min(group[name], key=lambda one: (nodes[one].text("type") == AUXILIARY, len(one), one))

    return {name: called(name) for name in nodes}


def _place(row: Row, column: str, places: Mapping[str, str]) -> str:
    name = row.text(column)
    if name not in places:
        raise row.error(column, f"there is no node '{name}'")
    return places[name]


def _head(
    tables: SimBenchFolder, nodes: Mapping[str, Row], places: Mapping[str, str]
) -> tuple[str, float, Transformer, Source]:
    """The first bus behind the transformer, nominal voltage between phases, transformer and source."""
    of_grid = tables.own("Transformer")
    ends = {(_place(row, "nodeHV", places), _place(row, "nodeLV", places)) for row in of_grid}
    kinds = {(row.text("type"), row.number_in("tappos", default=0.0)) for row in of_grid}
    if len(ends) != 1 or len(kinds) != 1:
        raise InputError(
            f"{tables.folder}: '{tables.subnet}' has {len(of_grid)} transformers, of {len(kinds)} kinds, between "
            f"{len(ends)} pairs of buses; one, or alike ones side by side, are planned with"
        )
    ((high, low),) = ends
    ((kind, position),) = kinds
    types = {row.text("id"): row for row in tables.table("TransformerType")}
    if kind not in types:
        raise of_grid[0].error("type", f"there is no type '{kind}' in TransformerType.csv")
    of = types[kind]
    volts, volts_above = 1000 * nodes[low].number_in("vmR", LEAST), 1000 * nodes[high].number_in("vmR", LEAST)
    kva = 1000 * of.number_in("sR", LEAST)
    scale = (1000 * of.number_in("vmLV", LEAST) / volts) ** 2
    resistance = 100 * of.number_in("pCu") / kva
    reactance = math.sqrt(max(of.number_in("vmImp") ** 2 - resistance**2, 0.0))
    moved = (position - of.number_in("tapNeutr", default=0.0)) * of.number_in("dVm", default=0.0) / 100
    if abs(moved) > MOST_MOVED:
        raise of.error("dVm", f"a tap that is moved by {100 * moved:g} % is none that transformers have")
    ratio = of.number_in("vmLV", LEAST) / of.number_in("vmHV", LEAST) * volts_above / volts
    tap = ratio / (1 + moved) if (of.cells.get("tapside") or "HV") == "HV" else ratio * (1 + moved)
    at_head = [nodes[name] for name, place in places.items() if place == high]
    voltage = next((v for row in at_head if (v := row.number_in("vmSetp", default=0.0)) > 0), 1.0)
    return low, volts, Transformer(kva * len(of_grid), resistance * scale, reactance * scale, tap), Source(voltage)


def _edges(tables: SimBenchFolder, places: Mapping[str, str]) -> Iterator[Edge]:
    types = {row.text("id"): row for row in tables.table("LineType")}
    for row in tables.own("Line"):
        kind = row.text("type")
        if kind not in types:
            raise row.error("type", f"there is no type '{kind}' in LineType.csv")
        of = types[kind]
        z1 = complex(of.number_in("r"), of.number_in("x")) * row.number_in("length")
        if not z1:
            raise row.error("type", f"line '{row.text('id')}' has no impedance")
        buses = _place(row, "nodeA", places), _place(row, "nodeB", places)
        rating = of.number_in("iMax", default=0.0) * row.number_in("loadingMax", default=100.0) / 100
        where = f"{row.file}, row {row.number}"
        yield Edge(row.text("id"), where, buses, PHASES, by_sequence(z1, 4 * z1), rating or None)
