"""Low-voltage grids of SimBench (Meinecke et al., 2020): a folder of tables with semicolons between their columns.

A data set may hold many grids, told apart by the column `subnet`; one of them is read. Powers are in MW, lengths in km.
Buses that closed switches join are one bus here. All elements are balanced, and have no zero sequence impedances.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from gridpact.community.meters import Meter
from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.radial import Edge, radial
from gridpact.community.street import PHASES, Connection, Source, Transformer, by_sequence
from gridpact.errors import InputError
from gridpact.text import listed

TABLES = ("Node", "Line", "LineType", "Load")
"""Those that a grid always has."""

LOW_VOLTAGE = "7"
"""Of the column `voltLvl`: below 1 kV."""

AUXILIARY = "auxiliary"
"""Of the column `type`: a node between a line and its switch, not a place."""


@dataclass(frozen=True)
class SimBenchRow:
    """One row of a table, with its place for complaints."""

    where: str
    cells: Mapping[str, str]

    def text(self, column: str) -> str:
        """
        Raises:
            InputError: the cell is empty, or there is no such column.
        """
        value = (self.cells.get(column) or "").strip()
        if value in ("", "NULL"):
            raise InputError(f"{self.where}: column '{column}' is missing or empty")
        return value

    def number(self, column: str, default: float | None = None) -> float:
        """
        Raises:
            InputError: it is no finite number, or empty where there is no default.
        """
        if default is not None and (self.cells.get(column) or "").strip() in ("", "NULL"):
            return default
        text = self.text(column)
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise InputError(f"{self.where}, column '{column}': '{text}' is not a number")
        return value


class SimBenchFolder:
    """A data set of SimBench's, and one of its low-voltage grids.

    Args:
        subnet: its name; None: the only one there is.

    Raises:
        InputError: there is none of that name, or there are several to choose from.
    """

    def __init__(self, folder: Path, subnet: str | None = None) -> None:
        self.folder = folder
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

    def table(self, name: str) -> Iterator[SimBenchRow]:
        """All rows of a table; none where there is no such file."""
        path = self.folder / f"{name}.csv"
        if not path.is_file():
            return
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                for number, cells in enumerate(csv.DictReader(file, delimiter=";"), start=2):
                    yield SimBenchRow(f"{path.name}, row {number}", cells)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except UnicodeDecodeError:
            raise InputError(f"{path}: is no text in UTF-8; save it as such") from None

    @cached_property
    def places(self) -> dict[str, str]:
        """What the bus of each node is called: closed switches join nodes; one that is no auxiliary gives the name."""
        return _joined(self, {row.text("id"): row for row in self.table("Node")})

    def own(self, name: str) -> list[SimBenchRow]:
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
            kw, kvar = 1000 * row.number("pLoad"), 1000 * row.number("qLoad", 0.0)
            loads.append(NetworkLoad(row.text("id"), Connection(bus, PHASES), kw, kvar))
    if not loads:
        raise InputError(f"{folder}: no load of '{tables.subnet}' hangs on its transformer, so there is no home")
    at_homes = [nodes[name] for name, place in places.items() if place in {load.connection.bus for load in loads}]
    limits = max(row.number("vmMin", 0.9) for row in at_homes), min(row.number("vmMax", 1.1) for row in at_homes)
    remarks = ["SimBench has no zero sequence impedances: lines get four times those of the positive sequence", *odd]
    return NetworkFile(tables.subnet, volts, root, lines, tuple(loads), transformer, source, tuple(remarks), limits)


def standing_for(network: NetworkFile, members: Sequence[Meter]) -> NetworkFile:
    """The same with a load for each member, where it is connected."""
    loads = [
        NetworkLoad(member.name, Connection(member.bus, PHASES), max(map(np.max, member.load_kw.values())), 0.0)
        for member in members
    ]
    return replace(network, loads=tuple(loads))


def _joined(tables: SimBenchFolder, nodes: Mapping[str, SimBenchRow]) -> dict[str, str]:
    """The name of each node's bus, see `SimBenchFolder.places`."""
    group = {name: {name} for name in nodes}
    for row in tables.own("Switch"):
        if row.number("cond") == 0:
            continue
        first, second = (row.text(column) for column in ("nodeA", "nodeB"))
        for name in (first, second):
            if name not in nodes:
                raise InputError(f"{row.where}: there is no node '{name}'")
        if group[first] is not group[second]:
            group[first] |= group[second]
            for name in group[second]:
                group[name] = group[first]

    def called(name: str) -> str:
        return min(group[name], key=lambda one: (nodes[one].text("type") == AUXILIARY, len(one), one))

    return {name: called(name) for name in nodes}


def _place(row: SimBenchRow, column: str, places: Mapping[str, str]) -> str:
    name = row.text(column)
    if name not in places:
        raise InputError(f"{row.where}, column '{column}': there is no node '{name}'")
    return places[name]


def _head(
    tables: SimBenchFolder, nodes: Mapping[str, SimBenchRow], places: Mapping[str, str]
) -> tuple[str, float, Transformer, Source]:
    """The first bus behind the transformer, nominal voltage between phases, transformer and source."""
    rows = tables.own("Transformer")
    ends = {(_place(row, "nodeHV", places), _place(row, "nodeLV", places)) for row in rows}
    kinds = {(row.text("type"), row.number("tappos", 0.0)) for row in rows}
    if len(ends) != 1 or len(kinds) != 1:
        raise InputError(
            f"{tables.folder}: '{tables.subnet}' has {len(rows)} transformers, of {len(kinds)} kinds, between "
            f"{len(ends)} pairs of buses; one, or alike ones side by side, are planned with"
        )
    ((high, low),) = ends
    ((kind, position),) = kinds
    types = {row.text("id"): row for row in tables.table("TransformerType")}
    if kind not in types:
        raise InputError(f"{rows[0].where}: there is no type '{kind}' in TransformerType.csv")
    of = types[kind]
    volts, volts_above = 1000 * nodes[low].number("vmR"), 1000 * nodes[high].number("vmR")
    kva = 1000 * of.number("sR")
    scale = (1000 * of.number("vmLV") / volts) ** 2
    resistance = 100 * of.number("pCu") / kva
    reactance = math.sqrt(max(of.number("vmImp") ** 2 - resistance**2, 0.0))
    moved = (position - of.number("tapNeutr", 0.0)) * of.number("dVm", 0.0) / 100
    ratio = of.number("vmLV") / of.number("vmHV") * volts_above / volts
    tap = ratio / (1 + moved) if (of.cells.get("tapside") or "HV") == "HV" else ratio * (1 + moved)
    at_head = [nodes[name] for name, place in places.items() if place == high]
    voltage = next((v for row in at_head if (v := row.number("vmSetp", 0.0)) > 0), 1.0)
    return low, volts, Transformer(kva * len(rows), resistance * scale, reactance * scale, tap), Source(voltage)


def _edges(tables: SimBenchFolder, places: Mapping[str, str]) -> Iterator[Edge]:
    types = {row.text("id"): row for row in tables.table("LineType")}
    for row in tables.own("Line"):
        kind = row.text("type")
        if kind not in types:
            raise InputError(f"{row.where}: there is no type '{kind}' in LineType.csv")
        of = types[kind]
        z1 = complex(of.number("r"), of.number("x")) * row.number("length")
        if not z1:
            raise InputError(f"{row.where}: line '{row.text('id')}' has no impedance")
        buses = _place(row, "nodeA", places), _place(row, "nodeB", places)
        rating = of.number("iMax", 0.0) * row.number("loadingMax", 100.0) / 100
        yield Edge(row.text("id"), row.where, buses, PHASES, by_sequence(z1, 4 * z1), rating or None)
