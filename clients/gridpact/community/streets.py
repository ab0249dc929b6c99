"""A community's street from its files: homes on phases, junctions, several homes a bus, a transformer, network files.

What says that a feeder is a street and not a balanced one: a `network` or a `transformer` in `[feeder]`, zero sequence
impedances or phases in feeder.csv, or places of homes in households.csv.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gridpact.community.networks.files import read_network
from gridpact.community.networks.network import NetworkLoad, phases_at
from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, Transformer, by_sequence
from gridpact.community.tables import Row
from gridpact.errors import InputError

LINE_COLUMNS = ("r0_ohm_per_km", "x0_ohm_per_km", "phases")
"""Of feeder.csv, besides those of a balanced feeder."""

PLACE_COLUMNS = ("bus", "phases", "load")
"""Of households.csv: where a home is connected."""

STREET_KEYS = ("network", "transformer")
"""Of `[feeder]`, besides its limits."""

TRANSFORMER = {"kva": None, "resistance_percent": 1.5, "reactance_percent": 3.7, "tap": 1.0}
"""Its keys and their defaults; None: must be given."""

LEAST_RATING_A = 1.0
"""What is less is rather in kA."""

RATIO = 4.0
"""Zero to positive sequence impedance, where none is given: a neutral like the phases."""

LETTERS = {"a": 0, "b": 1, "c": 2, "1": 0, "2": 1, "3": 2}


def is_street(table: Mapping[str, Any], lines: Sequence[Row], homes: Sequence[Row]) -> bool:
    """Whether a feeder's files say more than a balanced feeder with a home at every node has."""
    if any(key in table for key in STREET_KEYS):
        return True
    if any(_given(row, column) for row in lines for column in LINE_COLUMNS):
        return True
    return any(_given(row, column) for row in homes for column in PLACE_COLUMNS)


def read_street(
    community: Path, table: Mapping[str, Any], limits: Mapping[str, float], lines: Sequence[Row], homes: Sequence[Row]
) -> tuple[PhaseFeeder, tuple[str, ...]]:
    """The street, and what was assumed of it, a sentence each.

    Args:
        community: the file that has the table `[feeder]`.
        limits: the numbers of that table, with defaults.
        lines: of feeder.csv; none where a network file is given.

    Raises:
        InputError: says what is wrong, in which file, row and column.
    """
    where = f"{community.name}, [feeder]"
    transformer = _transformer(where, table["transformer"]) if "transformer" in table else None
    if "network" in table:
        if transformer is not None:
            raise InputError(f"{where}: a network file has its own transformer; remove 'transformer'")
        return _of_network(community, table, limits, homes)
    remarks: list[str] = []
    built = tuple(_line(row, remarks) for row in lines)
    homes_at = {row.cells.get("bus", "").strip() or row.text("node") for row in homes}
    parents = {line.parent for line in built}
    for row, line in zip(lines, built, strict=True):
        if line.bus not in homes_at and line.bus not in parents:
            raise row.error("node", f"there is no household with node {line.bus}, and no line goes on from it")
    if empty := [line.bus for line in built if line.bus not in homes_at]:
        remarks.append(f"{lines[0].file}: buses without a home: {', '.join(empty[:8])}{' ...' if empty[8:] else ''}")
    at = {line.bus: line.phases for line in built}
    connections = [_connection(row, at, remarks) for row in homes]
    try:
        feeder = PhaseFeeder(
            nominal_voltage_v=limits["nominal_voltage_v"],
            voltage_min_pu=limits["voltage_min_pu"],
            voltage_max_pu=limits["voltage_max_pu"],
            root="0",
            lines=built,
            connections=tuple(connections),
            transformer=transformer,
        )
    except InputError as error:
        raise InputError(f"{lines[0].file if lines else community.name}: {error}") from None
    return feeder, tuple(dict.fromkeys(remarks))


def _given(row: Row, column: str) -> bool:
    return bool(row.cells.get(column, "").strip())


def _transformer(where: str, table: Any) -> Transformer:
    if not isinstance(table, dict):
        raise InputError(f"{where}: 'transformer' must be a table like {{ kva = 250 }}")
    for key in table:
        if key not in TRANSFORMER:
            raise InputError(f"{where}, transformer: '{key}' is not known; known keys: {', '.join(TRANSFORMER)}")
    values = {}
    for key, default in TRANSFORMER.items():
        value = table.get(key, default)
        if not isinstance(value, (int, float)) or isinstance(value, bool):
            raise InputError(f"{where}, transformer: '{key}' is missing or no number")
        if not 0 < value < 1e6:
            raise InputError(f"{where}, transformer: '{key}' = {value:g} must be above 0")
        values[key] = float(value)
    return Transformer(**values)


def _line(row: Row, remarks: list[str]) -> PhaseLine:
    kilometres = row.number_in("length_m", 0.1) / 1000
    z1 = complex(row.number_in("resistance_ohm_per_km", 0.001), row.number_in("reactance_ohm_per_km", 0))
    if _given(row, "r0_ohm_per_km"):
        z0 = complex(row.number_in("r0_ohm_per_km", 0.001), row.number_in("x0_ohm_per_km", 0))
        if z0.real < z1.real:
            raise row.error("r0_ohm_per_km", f"{z0.real:g} is below resistance_ohm_per_km; it has the neutral in it")
    else:
        z0 = RATIO * z1
        remarks.append(
            f"{row.file}: r0_ohm_per_km and x0_ohm_per_km, where they are not given, are taken as {RATIO:g} times the "
            "others: a neutral like the phases"
        )
    return PhaseLine(
        name=f"{row.text('parent')}-{row.text('node')}",
        bus=row.text("node"),
        parent=row.text("parent"),
        phases=_phases(row) or PHASES,
        impedance_ohm=kilometres * by_sequence(z1, z0),
        rating_a=rating_of(row),
    )


def rating_of(row: Row) -> float | None:
    """What a line may carry, A; None where it is not stated.

    Raises:
        InputError: it is no such current.
    """
    if not row.cells.get("rating_a", "").strip():
        return None
    rating = row.number_in("rating_a", 0.1)
    if rating < LEAST_RATING_A:
        raise row.error("rating_a", f"{rating:g} A is less than any line carries; is it in kA? Give it in A")
    return rating


def _phases(row: Row) -> tuple[int, ...]:
    """Of a cell like 1, 2 3, abc or L1; none where it is empty."""
    text = row.cells.get("phases", "").strip().lower().replace("l", "")
    parts = [part for part in text.replace(",", " ").replace("/", " ").replace("+", " ") if part != " "]
    if any(part not in LETTERS for part in parts) or len({LETTERS[part] for part in parts}) < len(parts):
        raise row.error("phases", f"'{row.cells['phases']}' are no phases; write for example 2, or 1 2 3")
    return tuple(sorted(LETTERS[part] for part in parts))


def _connection(row: Row, at: Mapping[str, tuple[int, ...]], remarks: list[str]) -> Connection:
    if _given(row, "load"):
        raise row.error("load", "names a load of a network file, but [feeder] has no 'network'")
    bus = row.text("bus") if _given(row, "bus") else row.text("node")
    if bus not in at and bus != "0":
        raise row.error("bus" if _given(row, "bus") else "node", f"no line leads to bus '{bus}'; see feeder.csv")
    there = at.get(bus, PHASES)
    phases = _phases(row)
    if not phases:
        phases = there
        if len(there) > 1:
            remarks.append(f"{row.file}: homes whose phases are not given are on all phases of their bus")
    if not set(phases) <= set(there):
        raise row.error("phases", f"bus '{bus}' has phases {' '.join(str(phase + 1) for phase in there)} only")
    return Connection(bus, phases)


def _of_network(
    community: Path, table: Mapping[str, Any], limits: Mapping[str, float], homes: Sequence[Row]
) -> tuple[PhaseFeeder, tuple[str, ...]]:
    if not isinstance(table["network"], str):
        raise InputError(f"{community.name}, [feeder]: 'network' must be the name of a file")
    network = read_network(community.parent / table["network"])
    volts = network.nominal_voltage_v
    if "nominal_voltage_v" in table and abs(limits["nominal_voltage_v"] / volts - 1) > 0.05:
        raise InputError(
            f"{community.name}, [feeder]: nominal_voltage_v = {limits['nominal_voltage_v']:g}, but the network file "
            f"has {volts:g} V between phases; remove one of them"
        )
    places = {load.name.lower(): load for load in network.loads}
    free = [load for load in network.loads if load.name.lower() not in {_load_name(row) for row in homes}]
    connections = []
    remarks = list(network.remarks)
    there = {bus.lower(): (bus, phases) for bus, phases in phases_at(network.root, network.lines).items()}
    for row in homes:
        if _given(row, "bus"):
            connections.append(_at_bus(row, there))
        else:
            connections.append(_of_load(row, places, free, remarks).connection)
    try:
        feeder = network.feeder(connections, limits["voltage_min_pu"], limits["voltage_max_pu"])
    except InputError as error:
        raise InputError(f"{table['network']}: {error}") from None
    return feeder, tuple(dict.fromkeys(remarks))


def _at_bus(row: Row, there: Mapping[str, tuple[str, tuple[int, ...]]]) -> Connection:
    if row.text("bus").lower() not in there:
        raise row.error("bus", f"the network file has no bus '{row.text('bus')}' to which a line leads")
    bus, has = there[row.text("bus").lower()]
    phases = _phases(row) or has
    if not set(phases) <= set(has):
        raise row.error("phases", f"bus '{bus}' has phases {' '.join(str(phase + 1) for phase in has)} only")
    return Connection(bus, phases)


def _load_name(row: Row) -> str:
    return row.cells.get("load", "").strip().lower()


def _of_load(row: Row, places: Mapping[str, NetworkLoad], free: list[NetworkLoad], remarks: list[str]) -> NetworkLoad:
    """The load of the network file that a home stands for: the one it names, or the next that nobody names."""
    if name := _load_name(row):
        if name not in places:
            raise row.error("load", f"the network file has no load '{name}'")
        return places[name]
    if not free:
        raise row.error("household", f"the network file has {len(places)} loads, so no place is left for this home")
    remarks.append(f"{row.file}: homes without a place of their own take the network file's loads in its order")
    return free.pop(0)
