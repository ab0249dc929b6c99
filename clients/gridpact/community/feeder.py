"""Reading a community's feeder: its limits and its table of lines. `docs/community-file.md` describes the format."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from gridpact.community.model import GRID_CONNECTION, Feeder, Line
from gridpact.community.street import PhaseFeeder
from gridpact.community.streets import LINE_COLUMNS, STREET_KEYS, is_street, rating_of, read_street
from gridpact.community.tables import Row, rows
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS

FEEDER_COLUMNS = ("node", "parent", "length_m", "resistance_ohm_per_km", "reactance_ohm_per_km")
OPTIONAL_FEEDER_COLUMNS = ("rating_a", *LINE_COLUMNS)
LEAST_METRES, MOST_METRES = 0.1, 100_000.0
"""Of a line: one without resistance has no losses to optimise, and no street goes further."""

LIMITS = {"nominal_voltage_v": 400.0, "voltage_min_pu": 0.95, "voltage_max_pu": 1.05}


def read_grid(
    community: Path, table: dict[str, Any], path: Path, households: Sequence[Row]
) -> tuple[Feeder | PhaseFeeder, tuple[str, ...]]:
    """The feeder, balanced or by phase, and what was assumed of it.

    Args:
        community: the file that has the table `[feeder]`.
        path: the table of lines, which is not read where a network file is given.
        households: rows of households.csv, of which the places count here, ascending by node.

    Raises:
        InputError: says what is wrong, in which file, row and column.
    """
    numbers = {key: value for key, value in table.items() if key not in STREET_KEYS}
    lines = [] if "network" in table else list(rows(path, FEEDER_COLUMNS, OPTIONAL_FEEDER_COLUMNS))
    if is_street(table, lines, households):
        return read_street(community, table, _limits(community, numbers), lines, households)
    names = {row.integer("node", 1, MOST_HOUSEHOLDS): row.text("household") for row in households}
    return read_feeder(community, numbers, path, names), ()


def _limits(community: Path, table: dict[str, Any]) -> dict[str, float]:
    """The numbers of `[feeder]`, with defaults."""
    for key, value in table.items():
        if key not in LIMITS:
            known = ", ".join((*LIMITS, *STREET_KEYS))
            raise InputError(f"{community.name}, [feeder]: '{key}' is not known; known keys: {known}")
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise InputError(f"{community.name}, [feeder]: '{key}' must be a number")
    values = {key: float(table.get(key, default)) for key, default in LIMITS.items()}
    between(community, "nominal_voltage_v", values["nominal_voltage_v"], 1, math.inf)
    between(community, "voltage_min_pu", values["voltage_min_pu"], 0.5, 1)
    between(community, "voltage_max_pu", values["voltage_max_pu"], 1, 1.5)
    return values


def read_feeder(community: Path, limits: dict[str, Any], path: Path, households: Mapping[int, str]) -> Feeder:
    """Reads and checks the lines of a feeder.

    Args:
        community: the file that has the limits, for complaints.
        limits: its table `[feeder]`, see `LIMITS`.
        path: the table of lines.
        households: names by node, 1 to n; each must have a line. Other nodes are junctions, n + 1 and so on.

    Raises:
        InputError: says what is wrong, in which file, row and column.
    """
    values = _limits(community, limits)
    places: dict[int, Row] = {}
    table = list(rows(path, FEEDER_COLUMNS, OPTIONAL_FEEDER_COLUMNS))
    known = {GRID_CONNECTION, *households, *(row.integer("node", 0, MOST_HOUSEHOLDS) for row in table)}
    for row in table:
        node = _place(row, known, places)
        places[node] = row
    lines = {node: _line(node, row) for node, row in places.items()}
    junctions = sorted(lines.keys() - households.keys())
    _check_junctions(junctions, len(households), {line.parent for line in lines.values()}, places)
    for node, household in households.items():
        if node not in lines:
            raise InputError(
                f"{path.name}: household '{household}' (node {node}) has no line, which makes it "
                "a second root beside node 0; add one"
            )
    _check_radial(lines, places)
    return Feeder(**values, lines=tuple(lines[node] for node in sorted(lines)), junctions=frozenset(junctions))


def _place(row: Row, known: Collection[int], places: Mapping[int, Row]) -> int:
    """The node that a row brings to its parent."""
    node, parent = row.integer("node", 0, MOST_HOUSEHOLDS), row.integer("parent", 0, MOST_HOUSEHOLDS)
    if node == GRID_CONNECTION:
        raise row.error("node", "node 0 is the grid connection, the one root; it has no line of its own")
    if parent not in known:
        raise row.error("parent", f"the line of node {node} goes to node {parent}, which does not exist")
    if node in places:
        raise row.error(
            "node",
            f"node {node} has a second line here, the first is in row {places[node].number}; "
            "a radial feeder has one line a node",
        )
    return node


def _line(node: int, row: Row) -> Line:
    metres = row.number_in("length_m")
    if not LEAST_METRES <= metres <= MOST_METRES:
        raise row.error(
            "length_m",
            f"a line of {metres:g} m is not between {LEAST_METRES:g} and {MOST_METRES:,.0f} m long; give its "
            "length in metres",
        )
    kilometres = metres / 1000
    return Line(
        node,
        row.integer("parent", 0, MOST_HOUSEHOLDS),
        kilometres * row.number_in("resistance_ohm_per_km", 0.001),
        kilometres * row.number_in("reactance_ohm_per_km", 0),
        rating_of(row),
    )


def _check_junctions(
    junctions: Sequence[int], households: int, parents: Collection[int], places: Mapping[int, Row]
) -> None:
    """Nodes without a household: numbered after the households, and on the way to one."""
    for expected, node in enumerate(junctions, start=households + 1):
        if node != expected:
            raise places[node].error(
                "node",
                f"there is no household with node {node}; nodes without one are numbered after the households, so from "
                f"{households + 1}, without gaps",
            )
    for node in junctions:
        if node not in parents:
            raise places[node].error(
                "node", f"there is no household with node {node}, and no line goes on from it; see households.csv"
            )


def _check_radial(lines: Mapping[int, Line], places: Mapping[int, Row]) -> None:
    """From every node the lines lead to the grid connection."""
    for node in lines:
        seen = [node]
        while (parent := lines[seen[-1]].parent) != GRID_CONNECTION:
            if parent in seen:
                loop = " - ".join(str(k) for k in [*seen[seen.index(parent) :], parent])
                raise places[node].error("parent", f"the lines form a loop: {loop}; every node must lead to node 0")
            seen.append(parent)


def between(path: Path, key: str, value: float, low: float, high: float) -> None:
    """Raises an `InputError` where a number of a community's file is not within its bounds."""
    if not (math.isfinite(value) and low <= value <= high):
        raise InputError(
            f"{path.name}: '{key}' = {value:g} must be {'at least' if high == math.inf else 'between'} "
            f"{low:g}{'' if high == math.inf else f' and {high:g}'}"
        )
