"""The household file: what one node knows before it connects, as JSON. It stays at the household."""

from __future__ import annotations

import json
import math
from dataclasses import MISSING, asdict, fields, replace
from pathlib import Path
from typing import Any, overload

import numpy as np

from gridpact.community.model import Array, Feeder, Household, Line, PriceRange, Prices
from gridpact.community.street import Connection, PhaseFeeder, PhaseLine, Source, Transformer
from gridpact.devices.device import Device, as_fields
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.devices.registry import DEVICES
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of, write_atomically
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import REPORT, NetworkAgreement, Scenario
from gridpact.problem.view import NodeView

FORMAT = 1

FLAT: tuple[type[Device], ...] = (Panels, Inverter)
"""Devices whose fields stand in the household itself, where several add up; others have a table of their own, and
several a list of tables."""


def write_view(view: NodeView, path: Path, mode: int = 0o600) -> None:
    """Writes a household file, atomically, with the given permissions."""
    values = asdict(replace(view, feeder=None)) | {
        "scenario": view.scenario.value,
        "agreement": view.agreement.value,
        "household": None if view.household is None else _fields(view.household),
        "feeder": None if view.feeder is None else _feeder_fields(view.feeder),
        "format": FORMAT,
    }
    write_atomically(path, json.dumps(values, default=_plain, indent=1) + "\n", mode)


def read_view(path: Path) -> NodeView:
    """Reads a household file.

    Raises:
        InputError: it does not exist, is no JSON, or a value is missing or of the wrong kind.
    """
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"the household file '{path}' cannot be read: {reason_of(error)}") from None
    try:
        if values["format"] != FORMAT:
            raise InputError(f"the household file '{path}' has format {values['format']}, this version reads {FORMAT}")
        prices = values["prices"]
        steps = len(_array(prices["import_price"]))
        return NodeView(
            node=int(values["node"]),
            day=str(values["day"]),
            scenario=_scenario(values["scenario"]),
            agreement=NetworkAgreement(values["agreement"]),
            step_hours=_number(values["step_hours"], above=0.0),
            prices=_prices(prices),
            between=_prices(values.get("between")),
            parent=int(values["parent"]),
            children=tuple(int(child) for child in values["children"]),
            depth=int(values["depth"]),
            household=_household(values["household"], steps),
            partners=tuple(_partner(partner, steps) for partner in values["partners"]),
            line=None if values["line"] is None else _line(values["line"]),
            lines=tuple(_line(line) for line in values.get("lines", ())),
            feeder=_feeder(values["feeder"]),
            first=int(values.get("first", 0)),
        )
    except KeyError as error:
        raise InputError(f"the household file '{path}' is broken: {error} is missing; write it anew") from None
    except (ArithmeticError, AttributeError, TypeError, ValueError) as error:
        raise InputError(f"the household file '{path}' is broken: {error}; write it anew") from None


def _plain(value: Any) -> Any:
    return sorted(value) if isinstance(value, frozenset) else value.tolist()


@overload
def _prices(values: dict[str, Any]) -> Prices: ...
@overload
def _prices(values: None) -> None: ...
def _prices(values: dict[str, Any] | None) -> Prices | None:
    """Prices; what is not told of them is nothing."""
    if values is None:
        return None
    kappa = _array(values["import_price"])
    stated = {name: values.get(name) for name in ("own_feed_in_price", "grid_fee", "tax", "trade_fee")}
    series = {name: None if of is None else _array(of, len(kappa)) for name, of in stated.items()}
    return Prices(
        kappa,
        _number(values["feed_in_share"]),
        supplier=str(values.get("supplier", "")),
        peak_fee=_number(values.get("peak_fee", 0.0)),
        monthly_peak=bool(values.get("monthly_peak", False)),
        **series,
    )


def _number(value: Any, above: float = -math.inf) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not above < value < math.inf:
        raise ValueError(f"{value!r} must be a finite number{f' above {above:g}' if above > -math.inf else ''}")
    return float(value)


def _numbers(values: dict[str, Any]) -> dict[str, float]:
    return {key: _number(value) for key, value in values.items()}


def _array(values: Any, length: int | None = None) -> Array:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("a series must be a list of finite numbers")
    if length is not None and len(array) != length:
        raise ValueError(f"a series has {len(array)} values instead of {length}")
    return array


def _scenario(name: Any) -> Scenario:
    known = {scenario.value: scenario for scenario in REPORT}
    if name not in known:
        raise ValueError(f"there is no scenario {name!r} that a node knows; choose one of {', '.join(known)}")
    return known[name]


def _fields(home: Household) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(home, name) for name in ("node", "name", "load_kw", "load_kvar")}
    values |= {"connection_kw": home.connection_kw, "peak_kw": home.peak_kw}
    values["tariff"] = None if home.tariff is None else asdict(home.tariff)
    values |= {name: getattr(home, name) for kind in FLAT for name in kind.names()}
    for kind in DEVICES:
        if kind not in FLAT:
            tables = [as_fields(device) for device in home.having(kind)]
            values[kind.kind] = tables if len(tables) > 1 else next(iter(tables), None)
    return values


def _household(values: dict[str, Any] | None, steps: int) -> Household | None:
    if values is None:
        return None
    values = dict(values)
    node, name, load_kw, load_kvar = (values.pop(key) for key in ("node", "name", "load_kw", "load_kvar"))
    tariff = _prices(values.pop("tariff", None))
    connection = values.pop("connection_kw", None)
    connection_kw = None if connection is None else _number(connection, above=0.0)
    peak_kw = _number(values.pop("peak_kw", 0.0))
    if tariff is not None and len(tariff.import_price) != steps:
        raise ValueError(f"the tariff has {len(tariff.import_price)} steps instead of {steps}")
    devices: list[Device] = []
    for kind in DEVICES:
        if kind in FLAT:
            tables = [{name: values.pop(name) for name in kind.names() if name in values}]
        else:
            stated = values.pop(kind.kind, None)
            tables = [] if stated is None else stated if isinstance(stated, list) else [stated]
        devices += [device for table in tables if (device := _device(kind, dict(table), steps)).is_there]
    if values:
        raise ValueError(f"'{next(iter(values))}' of the household is not known")
    loads = _array(load_kw, steps), _array(load_kvar, steps)
    return Household(int(node), str(name), *loads, tuple(devices), tariff, connection_kw, peak_kw)


def _device(kind: type[Device], values: dict[str, Any], steps: int) -> Device:
    """Its fields are numbers, series of numbers, and series of what is true or false."""
    known: dict[str, Any] = {}
    types = {field.name: field.type for field in fields(kind)}
    defaults = {field.name: field.default for field in fields(kind) if field.default is not MISSING}
    for name in kind.names():
        if name in defaults and name not in values:
            continue
        value = values.pop(name)
        if value is None and "None" in str(types[name]):
            known[name] = None
        elif types[name] == "float":
            known[name] = _number(value)
        else:
            series = _array(value, steps)
            known[name] = series.astype(bool) if "bool" in str(types[name]) else series
    if values:
        raise ValueError(f"'{next(iter(values))}' of the {kind.kind} is not known")
    return kind(**known)


def _partner(values: dict[str, Any], steps: int) -> Partner:
    own = tuple(int(step) for step in values["steps"])
    if list(own) != sorted(set(own)) or not all(0 <= step < steps for step in own):
        raise ValueError(f"the steps of partner {values['node']} must be ascending and below {steps}")
    within = values.get("within")
    return Partner(
        int(values["node"]),
        own,
        _array(values["coefficient"], len(own)),
        None if within is None else PriceRange(_array(within["low"], steps), _array(within["high"], steps)),
    )


def _line(values: dict[str, Any]) -> Line:
    known = _numbers({key: value for key, value in values.items() if value is not None})
    return Line(**known | {"node": int(values["node"]), "parent": int(values["parent"])})  # type: ignore[arg-type]


def _feeder_fields(feeder: Feeder | PhaseFeeder) -> dict[str, Any]:
    if isinstance(feeder, Feeder):
        return asdict(feeder)
    lines = [
        {"name": line.name, "bus": line.bus, "parent": line.parent, "phases": line.phases, "rating_a": line.rating_a}
        | {"resistance_ohm": line.impedance_ohm.real, "reactance_ohm": line.impedance_ohm.imag}
        for line in feeder.lines
    ]
    source = feeder.source
    return {
        "nominal_voltage_v": feeder.nominal_voltage_v,
        "voltage_min_pu": feeder.voltage_min_pu,
        "voltage_max_pu": feeder.voltage_max_pu,
        "root": feeder.root,
        "lines": lines,
        "connections": [asdict(connection) for connection in feeder.connections],
        "transformer": None if feeder.transformer is None else asdict(feeder.transformer),
        "source": [source.voltage_pu, *(part for z in (source.z1_ohm, source.z0_ohm) for part in (z.real, z.imag))],
    }


def _street(values: dict[str, Any]) -> PhaseFeeder:
    pu, r1, x1, r0, x0 = (_number(value) for value in values["source"])
    lines = []
    for line in values["lines"]:
        matrices = [np.array([_array(row, 3) for row in line[key]]) for key in ("resistance_ohm", "reactance_ohm")]
        rating = None if line["rating_a"] is None else _number(line["rating_a"], above=0.0)
        phases = tuple(int(phase) for phase in line["phases"])
        impedance = matrices[0] + 1j * matrices[1]
        lines.append(PhaseLine(str(line["name"]), str(line["bus"]), str(line["parent"]), phases, impedance, rating))
    return PhaseFeeder(
        nominal_voltage_v=_number(values["nominal_voltage_v"], above=0.0),
        voltage_min_pu=_number(values["voltage_min_pu"], above=0.0),
        voltage_max_pu=_number(values["voltage_max_pu"], above=0.0),
        root=str(values["root"]),
        lines=tuple(lines),
        connections=tuple(
            Connection(str(at["bus"]), tuple(int(phase) for phase in at["phases"])) for at in values["connections"]
        ),
        transformer=None if values["transformer"] is None else Transformer(**_numbers(values["transformer"])),
        source=Source(pu, complex(r1, x1), complex(r0, x0)),
    )


def _feeder(values: dict[str, Any] | None) -> Feeder | PhaseFeeder | None:
    if values is None:
        return None
    if "connections" in values:
        return _street(values)
    limits = _numbers({key: value for key, value in values.items() if key not in ("lines", "junctions")})
    junctions = frozenset(int(node) for node in values["junctions"])
    return Feeder(**limits, lines=tuple(_line(line) for line in values["lines"]), junctions=junctions)
