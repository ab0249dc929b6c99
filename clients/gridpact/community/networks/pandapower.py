"""Feeders from pandapower's JSON and back, without pandapower: its tables are read and written as they stand in it."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.networks.network import (
    SOURCE_BUS,
    NetworkFile,
    NetworkLoad,
    left_out,
    on_phases,
    phases_at,
    plainly_named,
)
from gridpact.community.networks.radial import Edge, radial
from gridpact.community.street import PHASES, Complex, Connection, PhaseLine, Source, Transformer, by_sequence
from gridpact.errors import InputError
from gridpact.files import parse_json


@dataclass(frozen=True)
class Element:
    """A row of a table."""

    where: str  # for example "street.json: line 3"
    values: Mapping[str, Any]

    def get(self, key: str, default: Any = None) -> Any:
        return self.values.get(key, default)

    def __getitem__(self, key: str) -> Any:
        """
        Raises:
            InputError: there is no such column.
        """
        if key not in self.values:
            raise InputError(f"{self.where}: has no '{key}'")
        return self.values[key]

    def number(self, key: str, default: float | None = None) -> float:
        """A finite number; `default` where there is none.

        Raises:
            InputError: it is something else, or missing without a default.
        """
        value = self.values.get(key)
        if value is None or (isinstance(value, float) and not math.isfinite(value)):
            if default is None:
                raise InputError(f"{self.where}: has no '{key}'")
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or abs(value) > MOST:
            raise InputError(f"{self.where}: '{key}' is {value!r}, which is not a number that can be")
        return float(value)

    def flag(self, key: str) -> bool:
        """Yes or no; pandapower itself takes other values for one thing here and for another there.

        Raises:
            InputError: it is something else.
        """
        value = self[key]
        if not isinstance(value, bool):
            raise InputError(f"{self.where}: '{key}' is {value!r}; give true or false")
        return value

    @property
    def in_service(self) -> bool:
        """
        Raises:
            InputError: it is neither true nor false.
        """
        return self.flag("in_service")

    def index(self, key: str, of: str) -> int:
        """The number of a row of another table; `of`: what stands there.

        Raises:
            InputError: it is none.
        """
        value = self[key]
        if isinstance(value, bool) or not isinstance(value, int):
            raise InputError(f"{self.where}: '{key}' is {value!r}, which is not the number of a {of}")
        return value

    def bus(self, key: str) -> int:
        """The number of a bus.

        Raises:
            InputError: it is none.
        """
        return self.index(key, "bus")

    def at_least_one(self, key: str) -> int:
        """How many.

        Raises:
            InputError: it is no whole number, or below 1.
        """
        if (count := self.number(key)) < 1 or count != int(count):
            raise InputError(f"{self.where}: '{key}' is {count:g}; give a whole number of 1 or more")
        return int(count)


Tables = Mapping[str, Mapping[int, Element]]

MOST = 1e12
"""No number of a network is larger."""

READ = ("bus", "ext_grid", "trafo", "line", "switch", "load", "sgen", "asymmetric_load", "asymmetric_sgen")
"""Tables whose elements are read."""

WITHOUT_CURRENTS = ("bus_dc", "controller", "measurement")
"""Tables of what may be in service, or at a bus, and draws nothing by itself."""

MUCH = 1e4
"""Percent: a magnetising impedance of so much changes nothing."""

LETTERS = ("a", "b", "c")


def read_pandapower(path: Path) -> NetworkFile:
    """Reads a feeder from pandapower's JSON (`pandapower.to_json`).

    Places for homes are its loads and sgens, asymmetric ones too. Lines without zero sequence impedances get four times
    those of the positive sequence, and that is said.

    Raises:
        InputError: it cannot be read, or has something that gridpact does not plan with.
    """
    tables, name = _tables(path)
    for kind, rows in tables.items():
        if kind not in READ + WITHOUT_CURRENTS and any(_may_draw(row) for row in rows.values()):
            raise InputError(f"{path}: elements of table '{kind}' are not planned with; take them out of service")
    remarks: list[str] = []
    _check_buses(tables)
    root, transformer, source, volts = _head(path, tables, remarks)
    opened = _opened(tables)
    above = _above(path, tables, opened)
    edges = [edge for edge in _edges(tables, opened, remarks) if edge.where not in {line.where for line in above}]
    source = _behind(source, above, tables, transformer, volts)
    lines, odd = radial(edges, root, volts)
    remarks += odd
    there = phases_at(root, lines)
    placed = list(_loads(tables, remarks))
    loads = [on_phases(where, load, there) for where, load in placed if load.connection.bus in there]
    if away := [load.name for _, load in placed if load.connection.bus not in there]:
        remarks.append(left_out(away))
    if not loads and away:
        raise InputError(
            f"{path}: the load '{away[0]}' is on a bus that nothing leads to, and there is no other: correct its bus"
        )
    if not loads:
        raise InputError(f"{path}: the network has no load behind its transformer, so there is no place for a home")
    return NetworkFile(name, volts, root, lines, tuple(loads), transformer, source, tuple(dict.fromkeys(remarks)))


BUSES = {
    **dict.fromkeys(("ext_grid", "load", "sgen", "asymmetric_load", "asymmetric_sgen"), ("bus",)),
    "line": ("from_bus", "to_bus"),
    "trafo": ("hv_bus", "lv_bus"),
}
"""By table, the columns that say where an element is."""


def _may_draw(row: Element) -> bool:
    """Whether it is an element of the network, and in service.

    Raises:
        InputError: nothing says whether it is in service.
    """
    return row.in_service if {"in_service", "bus", "from_bus", "hv_bus"} & set(row.values) else False


def _check_buses(tables: Tables) -> None:
    """
    Raises:
        InputError: an element is at a bus that there is not or that is out of service, or a line joins two voltages.
    """
    for kind, columns in BUSES.items():
        for row in tables.get(kind, {}).values():
            if row.in_service:
                volts = [_kv(tables, row, column) for column in columns]
                if kind == "line" and volts[0] != volts[1]:
                    raise InputError(f"{row.where}: leads from a bus of {volts[0]:g} kV to one of {volts[1]:g} kV")


def _tap(row: Element) -> float:
    """By how much a transformer's tap is moved, as a part.

    Raises:
        InputError: it is one that is not planned with, or is moved out of any range.
    """
    if row.number("tap2_pos", 0.0) != row.number("tap2_neutral", 0.0):
        raise InputError(f"{row.where}: has a second tap; the first one is planned with")
    moved = (row.number("tap_pos", 0.0) - row.number("tap_neutral", 0.0)) * row.number("tap_step_percent", 0.0) / 100
    kind = row.get("tap_changer_type", "Ideal" if row.get("tap_phase_shifter") else "Ratio")
    if not moved or kind is None:
        return 0.0
    if kind not in ("Ratio", "Symmetrical") or row.number("tap_step_degree", 0.0) or row.get("tap_dependency_table"):
        raise InputError(
            f"{row.where}: has a tap of the kind {kind!r} with its angle or table; 'Ratio' is planned with"
        )
    if row.get("tap_side") not in ("hv", "lv"):
        raise InputError(f"{row.where}: 'tap_side' is {row.get('tap_side')!r}; give 'hv' or 'lv'")
    if abs(moved) > MOST_MOVED:
        raise InputError(f"{row.where}: its tap is moved by {100 * moved:g} %; check its position and step")
    return moved


MOST_MOVED = 0.5
STIFF_MVA = 1e5


def _tables(path: Path) -> tuple[dict[str, dict[int, Element]], str]:
    """Rows by index of every table."""
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
        stored = content["_object"]
        if content.get("_class") != "pandapowerNet":
            raise KeyError("_class")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except (ValueError, KeyError, TypeError):
        raise InputError(f"{path}: is not a network as pandapower writes it to JSON") from None
    tables: dict[str, dict[int, Element]] = {}
    for kind, table in stored.items():
        if isinstance(table, dict) and table.get("_class") == "DataFrame":
            try:
                frame = table["_object"]
                frame = parse_json(frame) if isinstance(frame, str) else frame
                columns, index = list(map(str, frame["columns"])), list(frame["index"])
                if not all(type(number) is int for number in index):
                    raise ValueError
                if len(set(index)) < len(index) or len(set(columns)) < len(columns):
                    raise ValueError
                rows = [dict(zip(columns, row, strict=True)) for row in frame["data"]]
                if kind == "trafo" and str(stored.get("format_version", "")) >= "3":
                    rows = [{"tap_changer_type": None} | row for row in rows]
                tables[kind] = {
                    number: Element(f"{path}: {kind} {number}", row) for number, row in zip(index, rows, strict=True)
                }
            except (ValueError, KeyError, TypeError):
                raise InputError(f"{path}: table '{kind}' is not one as pandapower writes it to JSON") from None
    if "bus" not in tables:
        raise InputError(f"{path}: has no table 'bus'")
    return tables, str(stored.get("name") or path.stem)


def _kv(tables: Tables, row: Element, key: str) -> float:
    """The nominal voltage of a row's bus.

    Raises:
        InputError: there is no such bus, or it has none.
    """
    if (bus := tables["bus"].get(row.bus(key))) is None:
        raise InputError(f"{row.where}: is at bus {row[key]}, which there is not")
    if not bus.in_service:
        raise InputError(f"{row.where}: is at bus {row[key]}, which is out of service")
    if not (kv := bus.number("vn_kv")) > 0:
        raise InputError(f"{bus.where}: has a nominal voltage of {kv:g} kV: give one above 0")
    return kv


def _head(path: Path, tables: Tables, remarks: list[str]) -> tuple[str, Transformer | None, Source, float]:
    """The first bus of the feeder, the transformer above it, the source, and the nominal voltage between phases."""
    grids = [row for row in tables.get("ext_grid", {}).values() if row.in_service]
    if len(grids) != 1:
        raise InputError(f"{path}: has {len(grids)} external grids; a feeder has one, at its head")
    (grid,) = grids
    source = Source(grid.number("vm_pu", 1.0))
    transformers = [row for row in tables.get("trafo", {}).values() if row.in_service]
    if len(transformers) > 1:
        raise InputError(f"{path}: has {len(transformers)} transformers; give one low-voltage feeder at a time")
    if not transformers:
        return _bus(grid, "bus"), None, source, 1000 * _kv(tables, grid, "bus")
    (row,) = transformers
    if (group := row.get("vector_group")) and not str(group).lower().startswith(("dyn", "yzn")):
        raise InputError(f"{row.where}: '{row.get('name')}' is a {group}; one with a neutral is needed (Dyn)")
    volts = 1000 * _kv(tables, row, "lv_bus")
    resistance = row.number("vkr_percent")
    reactance = math.sqrt(max(row.number("vk_percent") ** 2 - resistance**2, 0.0))
    if (magnetising := row.number("mag0_percent", math.inf)) < MUCH:
        remarks.append(
            f"the transformer's zero sequence impedance is taken as that of the positive one: mag0_percent = "
            f"{magnetising:g} is left out"
        )
    for key, same in (("vk0_percent", "vk_percent"), ("vkr0_percent", "vkr_percent")):
        if abs(row.number(key, row.number(same)) - row.number(same)) > 1e-6 * row.number("vk_percent"):
            remarks.append(f"the transformer's {key} is taken as its {same}")
    if row.number("pfe_kw", 0.0) or row.number("i0_percent", 0.0):
        remarks.append("the transformer's no-load losses and magnetising current are left out")
    if grid.number("s_sc_max_mva", STIFF_MVA) < STIFF_MVA:
        remarks.append("the external grid's short-circuit power is left out: its voltages are taken as stiff")
    if grid.number("s_sc_max_mva", STIFF_MVA) < row.number("sn_mva"):
        raise InputError(
            f"{grid.where}: has less short-circuit power than the transformer is rated for: check s_sc_max_mva"
        )
    moved = _tap(row)
    if not min(row.number("vn_lv_kv"), row.number("vn_hv_kv")) > 0:
        raise InputError(f"{row.where}: vn_lv_kv and vn_hv_kv are above 0")
    ratio = row.number("vn_lv_kv") / row.number("vn_hv_kv") * _kv(tables, grid, "bus") * 1000 / volts
    tap = ratio / (1 + moved) if row.get("tap_side") == "hv" else ratio * (1 + moved)
    scale = (row.number("vn_lv_kv") * 1000 / volts) ** 2
    loadable = row.number("df", 1.0)
    kva = 1000 * row.number("sn_mva") * row.at_least_one("parallel") * loadable
    if not kva > 0:
        raise InputError(f"{row.where}: has {kva:g} kVA: give what it is rated for, above 0")
    percent = resistance * scale * loadable, reactance * scale * loadable  # of the kVA that it may carry
    return _bus(row, "lv_bus"), Transformer(kva, *percent, tap), source, volts


def _above(path: Path, tables: Tables, opened: Set[int]) -> tuple[Edge, ...]:
    """The lines between the external grid and the transformer.

    Raises:
        InputError: none lead there.
    """
    (grid,) = (row for row in tables["ext_grid"].values() if row.in_service)
    transformers = [row for row in tables.get("trafo", {}).values() if row.in_service]
    if not transformers:
        return ()
    ways: dict[str, tuple[Edge, ...]] = {_bus(grid, "bus"): ()}
    edges = list(_edges(tables, opened, []))
    todo = [_bus(grid, "bus")]
    while todo:
        here = todo.pop()
        for edge in edges:
            for one, other in (edge.buses, edge.buses[::-1]):
                if one == here and other not in ways:
                    ways[other] = (*ways[here], edge)
                    todo.append(other)
    head = _bus(transformers[0], "hv_bus")
    if (root := _bus(transformers[0], "lv_bus")) in ways:
        raise InputError(f"{path}: lines lead to bus {root} past the transformer; a feeder must be radial")
    for kind in ("load", "sgen", "asymmetric_load", "asymmetric_sgen"):
        for row in tables.get(kind, {}).values():
            if row.in_service and _bus(row, "bus") in ways:
                raise InputError(f"{row.where}: stands above the transformer; take it out of service")
    if head not in ways:
        raise InputError(f"{transformers[0].where}: no line leads to it from the external grid")
    return ways[head]


def _behind(
    source: Source,
    above: Sequence[Edge],
    tables: Tables,
    transformer: Transformer | None,
    volts: float,
) -> Source:
    """With the lines above the transformer, as they are seen from the feeder's side."""
    if transformer is None or not above:
        return source
    upper = next(row for row in tables["trafo"].values() if row.in_service)
    scale = (volts / 1000 / _kv(tables, upper, "hv_bus") * transformer.tap) ** 2
    total: Complex = scale * np.sum([line.impedance_ohm for line in above], axis=0)
    z1, z0 = total[0, 0] - total[0, 1], total[0, 0] + 2 * total[0, 1]
    return replace(source, z1_ohm=complex(z1), z0_ohm=complex(z0))


def _bus(row: Element, key: str) -> str:
    return str(row.bus(key))


def _opened(tables: Tables) -> Set[int]:
    """Lines that a switch takes out.

    Raises:
        InputError: a switch joins buses, takes out the transformer, or stands where there is nothing to switch.
    """
    opened = set()
    for row in tables.get("switch", {}).values():
        kind, closed = row["et"], row.flag("closed")
        if not isinstance(kind, str) or kind not in ENDS:
            raise InputError(f"{row.where}: 'et' is {kind!r}; give l, t or b")
        of, ends = ENDS[kind]
        element, bus = row.index("element", of), row.bus("bus")
        if (switched := tables.get(of, {}).get(element)) is None:
            raise InputError(f"{row.where}: switches {of} {element}, which there is not")
        if ends and bus not in [switched.bus(end) for end in ends]:
            raise InputError(f"{row.where}: is at bus {bus}, which is no end of {of} {element}")
        if kind == "b" and closed:
            raise InputError(
                f"{row.where}: buses {(bus, element)} are joined by a switch; fuse them before it is written"
            )
        if kind == "t" and not closed and switched.in_service:
            raise InputError(
                f"{row.where}: takes out the transformer; close it, or take the transformer out of service"
            )
        if kind == "l" and not closed:
            opened.add(element)
    return opened


ENDS: Mapping[str, tuple[str, tuple[str, ...]]] = {
    "l": ("line", ("from_bus", "to_bus")),
    "t": ("trafo", ("hv_bus", "lv_bus")),
    "b": ("bus", ()),
}
"""By a switch's `et`: the table of what it switches, and where that has ends."""


def _edges(tables: Tables, opened: Set[int], remarks: list[str]) -> Iterator[Edge]:
    for index, row in tables.get("line", {}).items():
        if not row.in_service or index in opened:
            continue
        length, count = row.number("length_km"), row.at_least_one("parallel")
        z1 = complex(row.number("r_ohm_per_km"), row.number("x_ohm_per_km")) * length / count
        if not z1:
            raise InputError(f"{row.where}: '{row.get('name')}' has no impedance: give length, resistance, reactance")
        if row.get("r0_ohm_per_km") is None:
            remarks.append("lines without zero sequence impedances get four times those of the positive sequence")
            z0 = 4 * z1
        else:
            z0 = complex(row.number("r0_ohm_per_km"), row.number("x0_ohm_per_km")) * length / count
        if any(row.number(key, 0.0) for key in ("c_nf_per_km", "c0_nf_per_km", "g_us_per_km")):
            remarks.append("capacitances of lines are left out")
        rating = row.number("max_i_ka", math.nan) * 1000 * row.number("df", 1.0) * count
        buses = _bus(row, "from_bus"), _bus(row, "to_bus")
        name = str(row.get("name") or f"line{index}")
        yield Edge(name, row.where, buses, PHASES, by_sequence(z1, z0), rating if np.isfinite(rating) else None)


def _loads(tables: Tables, remarks: list[str]) -> Iterator[tuple[str, NetworkLoad]]:
    """Loads, and where they stand.

    Raises:
        InputError: one has no power.
    """
    for kind, sign in (("asymmetric_load", 1), ("asymmetric_sgen", -1), ("load", 1), ("sgen", -1)):
        for index, row in tables.get(kind, {}).items():
            if not row.in_service:
                continue
            if (connected := row.get("type")) == "delta":
                remarks.append("loads between phases (delta) are taken as between phase and neutral")
            elif connected != "wye" and "type" in row.values:
                remarks.append("loads of a type that is neither wye nor delta are taken as between phase and neutral")
            if any(value for key, value in row.values.items() if key.startswith(("const_z", "const_i"))):
                remarks.append("loads that depend on voltage are taken as constant powers")
            scale = 1000 * sign * row.number("scaling")
            name = str(row.get("name") or f"{kind}{index}")
            if not kind.startswith("asymmetric"):
                p, q = row.number("p_mw"), row.number("q_mvar")
                yield row.where, NetworkLoad(name, Connection(_bus(row, "bus"), PHASES), scale * p, scale * q)
                continue
            kw = [scale * row.number(f"p_{letter}_mw") for letter in LETTERS]
            kvar = [scale * row.number(f"q_{letter}_mvar") for letter in LETTERS]
            phases = tuple(phase for phase in PHASES if kw[phase] or kvar[phase]) or PHASES
            if not any(kw) and not any(kvar):
                remarks.append("asymmetric loads of nothing, whose phases nothing tells, are taken to be on all three")
            used = [kw[phase] for phase in phases]
            if max(used) - min(used) > 1e-9 * max(map(abs, used), default=0.0):
                remarks.append("loads of unlike phases are shared equally between them")
            yield row.where, NetworkLoad(name, Connection(_bus(row, "bus"), phases), sum(kw), sum(kvar))


# ------------------------------------------------------------------ writing

STIFF = 1e9
"""MVA and percent: what is as good as an ideal source, and as no magnetising current."""

STIFF_OHM = 1e-8
NEARLY_NOTHING_KW = 1e-9

TYPES = {bool: "bool", int: "int64", float: "float64", str: "object"}


def pandapower_text(network: NetworkFile) -> tuple[str, tuple[str, ...]]:
    """A feeder in pandapower's JSON, as `pandapower.from_json` reads it and `runpp_3ph` solves it, and remarks.

    pandapower knows lines by their sequences only: a line with one phase gets those that give the phase its impedance;
    one whose phases are unlike the means of them, and how far that is off is a remark. Impedances of the source are a
    line above the transformer, since pandapower has none of the positive sequence.
    """
    network = plainly_named(network)
    kv, transformer, source = network.nominal_voltage_v / 1000, network.transformer, network.source
    buses = [network.root, *(line.bus for line in network.lines)]
    lines = [(line.name, line.parent, line.bus, *_sequences(line), line.rating_a) for line in network.lines]
    head = network.root
    if transformer is not None:
        buses.append(head := SOURCE_BUS)
    if max(abs(source.z1_ohm), 0.0 if transformer else abs(source.z0_ohm)) > STIFF_OHM:
        above = 1.0 if transformer is None else transformer.tap**2
        z1, z0 = source.z1_ohm / above, source.z0_ohm / above
        buses.append("stiff")
        lines.append(("source", "stiff", head, z1, z0 if transformer is None else z1, None))
        head = "stiff"
    index = {bus: k for k, bus in enumerate(buses)}
    tables = {
        "bus": [{"name": bus, "vn_kv": kv, "type": "b", "in_service": True} for bus in buses],
        "ext_grid": [
            {"name": "source", "bus": index[head], "vm_pu": source.voltage_pu, "va_degree": 0.0, "slack_weight": 1.0,
             "in_service": True, "controllable": True, "s_sc_max_mva": STIFF, "rx_max": 0.1, "x0x_max": 1.0,
             "r0x0_max": 0.1}
        ],
        "line": [
            {"name": name, "from_bus": index[one], "to_bus": index[two], "length_km": 1.0,
             "r_ohm_per_km": z1.real, "x_ohm_per_km": z1.imag, "c_nf_per_km": 0.0, "g_us_per_km": 0.0,
             "r0_ohm_per_km": z0.real, "x0_ohm_per_km": z0.imag, "c0_nf_per_km": 0.0,
             "max_i_ka": math.nan if rating is None else rating / 1000, "df": 1.0, "parallel": 1, "in_service": True}
            for name, one, two, z1, z0, rating in lines
        ],
        "asymmetric_load": [
            {"name": load.name, "bus": index[load.connection.bus], **_by_phase(load), "scaling": 1.0,
             "in_service": True, "type": "wye"}
            for load in network.loads
        ],
    }  # fmt: skip
    if transformer is not None:
        of = transformer.tap**2
        size = math.hypot(transformer.resistance_percent, transformer.reactance_percent) / of
        loss = transformer.resistance_percent / of
        tables["trafo"] = [
            {"name": "transformer", "hv_bus": index[SOURCE_BUS], "lv_bus": index[network.root],
             "sn_mva": transformer.kva / 1000, "vn_hv_kv": kv, "vn_lv_kv": kv * transformer.tap, "vk_percent": size,
             "vkr_percent": loss, "pfe_kw": 0.0, "i0_percent": 0.0, "shift_degree": 0.0, "parallel": 1, "df": 1.0,
             "in_service": True, "vector_group": "Dyn", "vk0_percent": size, "vkr0_percent": loss,
             "mag0_percent": STIFF, "mag0_rx": 0.0, "si0_hv_partial": 0.9, "tap_side": "lv", "tap_neutral": 0.0,
             "tap_pos": 0.0, "tap_step_percent": 0.0, "tap_step_degree": 0.0}
        ]  # fmt: skip
    whole = {
        "_module": "pandapower.auxiliary",
        "_class": "pandapowerNet",
        "_object": {
            **{kind: _frame(rows) for kind, rows in tables.items()},
            "name": network.name, "f_hz": 50.0, "sn_mva": 1.0, "version": "3.0.0", "format_version": "3.0.0",
        },
    }  # fmt: skip
    return json.dumps(whole, indent=1) + "\n", _unlike_phases(network.lines)


def _frame(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """A table as pandas' JSON has it, orientation "split"; what is not known is null."""
    columns = list(rows[0])
    data = [[None if value != value else value for value in row.values()] for row in rows]
    content = {"columns": columns, "index": list(range(len(rows))), "data": data}
    return {
        "_module": "pandas.core.frame",
        "_class": "DataFrame",
        "_object": json.dumps(content, separators=(",", ":")),
        "orient": "split",
        "dtype": {column: TYPES[type(rows[0][column])] for column in columns},
        "is_multiindex": False,
        "is_multicolumn": False,
    }


def _sequences(line: PhaseLine) -> tuple[complex, complex]:
    """z1 and z0 that give phases their mean own impedance, and their mean shared one."""
    part = line.impedance_ohm[np.ix_(line.phases, line.phases)]
    count = len(part)
    own = complex(part.diagonal().mean())
    shared = complex((part.sum() - part.diagonal().sum()) / (count * (count - 1))) if count > 1 else 0j
    return own - shared, own + 2 * shared


def _unlike_phases(lines: Sequence[PhaseLine]) -> tuple[str, ...]:
    """What is lost of lines whose phases are unlike."""
    worst, name, several = 0.0, "", 0
    for line in lines:
        here = np.ix_(line.phases, line.phases)
        part, written = line.impedance_ohm[here], by_sequence(*_sequences(line))[here]
        off = float(np.abs(part - written).max() / np.abs(part).max())
        several += off > 1e-6
        if off > worst:
            worst, name = off, line.name
    if not several:
        return ()
    return (
        f"{several} lines have phases that are unlike, and are written by the means of their impedances, which are "
        f"{100 * worst:.1f} % off at most (line '{name}'): pandapower knows lines by their sequences only",
    )


def _by_phase(load: NetworkLoad) -> dict[str, float]:
    """In MW and Mvar; a load of nothing draws a microwatt, since its phases are told by nothing else."""
    phases = load.connection.phases
    kw = load.kw if load.kw or load.kvar else NEARLY_NOTHING_KW
    share = {phase: 1 / (1000 * len(phases)) if phase in phases else 0.0 for phase in PHASES}
    return {
        f"{name}_{LETTERS[phase]}_{unit}": value * share[phase]
        for phase in PHASES
        for name, unit, value in (("p", "mw", kw), ("q", "mvar", load.kvar))
    }
