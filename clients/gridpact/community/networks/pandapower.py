"""Feeders from pandapower's JSON, without pandapower: its tables are read as they stand in the file."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.radial import Edge, radial
from gridpact.community.street import PHASES, Connection, Source, Transformer, by_sequence
from gridpact.errors import InputError
from gridpact.files import parse_json

Element = Mapping[str, Any]

NOT_PLANNED = ("impedance", "dcline", "trafo3w", "ward", "xward", "motor", "svc", "tcsc", "ssc", "shunt")
"""Tables with elements that change currents and are not known here."""

MUCH = 1e4
"""Percent: a magnetising impedance of so much changes nothing."""

LETTERS = ("a", "b", "c")


def read_pandapower(path: Path) -> NetworkFile:
    """Reads a feeder from pandapower's JSON (`pandapower.to_json`).

    Places for homes are its loads, sgens and asymmetric loads. Lines without zero sequence impedances get four times
    those of the positive sequence, and that is said.

    Raises:
        InputError: it cannot be read, or has something that gridpact does not plan with.
    """
    tables, name = _tables(path)
    for kind in NOT_PLANNED:
        if any(_in_service(row) for row in tables.get(kind, {}).values()):
            raise InputError(f"{path}: elements of table '{kind}' are not planned with; take them out of service")
    remarks: list[str] = []
    root, transformer, source, volts = _head(path, tables, remarks)
    closed = {
        (row["bus"], row["element"]) for row in tables.get("switch", {}).values() if row["et"] == "b" and row["closed"]
    }
    if closed:
        raise InputError(f"{path}: buses {closed.pop()} are joined by a switch; fuse them before the file is written")
    lines, odd = radial(_edges(path, tables, remarks), root)
    remarks += odd
    reached = {root} | {line.bus for line in lines}
    loads = [load for load in _loads(tables, remarks) if load.connection.bus in reached]
    if not loads:
        raise InputError(f"{path}: the network has no load behind its transformer, so there is no place for a home")
    return NetworkFile(name, volts, root, lines, tuple(loads), transformer, source, tuple(dict.fromkeys(remarks)))


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
            frame = table["_object"]
            frame = parse_json(frame) if isinstance(frame, str) else frame
            rows = (dict(zip(frame["columns"], row, strict=True)) for row in frame["data"])
            tables[kind] = dict(zip(frame["index"], rows, strict=True))
    return tables, str(stored.get("name") or path.stem)


def _in_service(row: Element) -> bool:
    return bool(row.get("in_service", True))


def _number(row: Element, key: str, default: float) -> float:
    value = row.get(key)
    return default if value is None or not math.isfinite(value) else float(value)


def _head(
    path: Path, tables: Mapping[str, Mapping[int, Element]], remarks: list[str]
) -> tuple[str, Transformer | None, Source, float]:
    """The first bus of the feeder, the transformer above it, the source, and the nominal voltage between phases."""
    grids = [row for row in tables.get("ext_grid", {}).values() if _in_service(row)]
    if len(grids) != 1:
        raise InputError(f"{path}: has {len(grids)} external grids; a feeder has one, at its head")
    (grid,) = grids
    source = Source(_number(grid, "vm_pu", 1.0))
    transformers = [row for row in tables.get("trafo", {}).values() if _in_service(row)]
    if len(transformers) > 1:
        raise InputError(f"{path}: has {len(transformers)} transformers; give one low-voltage feeder at a time")
    if not transformers:
        return _bus(grid["bus"]), None, source, 1000 * float(tables["bus"][grid["bus"]]["vn_kv"])
    (row,) = transformers
    if row["hv_bus"] != grid["bus"]:
        raise InputError(f"{path}: the transformer '{row['name']}' does not begin at the external grid")
    if (group := row.get("vector_group")) and not str(group).lower().startswith(("dyn", "yzn")):
        raise InputError(f"{path}: the transformer '{row['name']}' is a {group}; one with a neutral is needed (Dyn)")
    volts = 1000 * float(tables["bus"][row["lv_bus"]]["vn_kv"])
    resistance = float(row["vkr_percent"])
    reactance = math.sqrt(max(float(row["vk_percent"]) ** 2 - resistance**2, 0.0))
    if (magnetising := _number(row, "mag0_percent", math.inf)) < MUCH:
        remarks.append(
            f"the transformer's zero sequence impedance is taken as that of the positive one: mag0_percent = "
            f"{magnetising:g} is left out"
        )
    for key, same in (("vk0_percent", "vk_percent"), ("vkr0_percent", "vkr_percent")):
        if abs(_number(row, key, float(row[same])) - float(row[same])) > 1e-6 * float(row["vk_percent"]):
            remarks.append(f"the transformer's {key} is taken as its {same}")
    step = _number(row, "tap_step_percent", 0.0) / 100
    moved = (_number(row, "tap_pos", 0.0) - _number(row, "tap_neutral", 0.0)) * step
    ratio = float(row["vn_lv_kv"]) / float(row["vn_hv_kv"]) * float(tables["bus"][grid["bus"]]["vn_kv"]) * 1000 / volts
    tap = ratio / (1 + moved) if row.get("tap_side") == "hv" else ratio * (1 + moved)
    scale = (float(row["vn_lv_kv"]) * 1000 / volts) ** 2
    count = int(_number(row, "parallel", 1))
    kva = 1000 * float(row["sn_mva"]) * count
    return _bus(row["lv_bus"]), Transformer(kva, resistance * scale, reactance * scale, tap), source, volts


def _bus(index: int) -> str:
    return str(index)


def _edges(path: Path, tables: Mapping[str, Mapping[int, Element]], remarks: list[str]) -> Iterator[Edge]:
    opened = {
        row["element"] for row in tables.get("switch", {}).values() if row["et"] == "l" and not row["closed"]
    }  # fmt: skip
    for index, row in tables.get("line", {}).items():
        if not _in_service(row) or index in opened:
            continue
        length, count = float(row["length_km"]), int(_number(row, "parallel", 1))
        z1 = complex(float(row["r_ohm_per_km"]), float(row["x_ohm_per_km"])) * length / count
        if not z1:
            raise InputError(f"{path}: line {index} '{row['name']}' has no impedance")
        if row.get("r0_ohm_per_km") is None:
            remarks.append("lines without zero sequence impedances get four times those of the positive sequence")
            z0 = 4 * z1
        else:
            z0 = complex(float(row["r0_ohm_per_km"]), _number(row, "x0_ohm_per_km", 0.0)) * length / count
        rating = _number(row, "max_i_ka", math.nan) * 1000 * _number(row, "df", 1.0) * count
        buses = _bus(row["from_bus"]), _bus(row["to_bus"])
        name = str(row["name"] or f"line{index}")
        yield Edge(
            name, f"{path}: line {index}", buses, PHASES, by_sequence(z1, z0), rating if np.isfinite(rating) else None
        )


def _loads(tables: Mapping[str, Mapping[int, Element]], remarks: list[str]) -> Iterator[NetworkLoad]:
    for index, row in tables.get("asymmetric_load", {}).items():
        if not _in_service(row):
            continue
        if row.get("type") == "delta":
            remarks.append("loads between phases (delta) are taken as between phase and neutral")
        kw = [1000 * _number(row, f"p_{letter}_mw", 0.0) * _number(row, "scaling", 1.0) for letter in LETTERS]
        kvar = [1000 * _number(row, f"q_{letter}_mvar", 0.0) * _number(row, "scaling", 1.0) for letter in LETTERS]
        phases = tuple(phase for phase in PHASES if kw[phase] or kvar[phase]) or PHASES
        used = [kw[phase] for phase in phases]
        if max(used) - min(used) > 1e-9 * max(map(abs, used), default=0.0):
            remarks.append("loads of unlike phases are shared equally between them")
        name = str(row.get("name") or f"asymmetric_load{index}")
        yield NetworkLoad(name, Connection(_bus(row["bus"]), phases), sum(kw), sum(kvar))
    for kind, sign in (("load", 1), ("sgen", -1)):
        for index, row in tables.get(kind, {}).items():
            if _in_service(row):
                scale = 1000 * sign * _number(row, "scaling", 1.0)
                name = str(row.get("name") or f"{kind}{index}")
                at = Connection(_bus(row["bus"]), PHASES)
                yield NetworkLoad(name, at, scale * _number(row, "p_mw", 0.0), scale * _number(row, "q_mvar", 0.0))
