"""Feeders from OpenDSS text: lines with line codes or matrices, a transformer, loads between a phase and the neutral.

What a home's plan needs is read: impedances, ratings, phases, where loads are. What would change currents and is not
known here (delta loads, regulators, meshes) is refused by name; what changes nothing (meters, load shapes) is left out;
what changes little (line capacitances, no-load losses) is left out and said. OpenDSS is not asked: tests compare what
is read with its own solution of the file.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.community.model import Array
from gridpact.community.networks.dss_text import Script, bus, flag, matrix, number, numbers, outside, run
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
from gridpact.community.street import (
    PHASES,
    Complex,
    Connection,
    PhaseLine,
    Source,
    Transformer,
    by_sequence,
    sequences_of,
)
from gridpact.errors import InputError

METRES = {"mi": 1609.344, "kft": 304.8, "km": 1000.0, "m": 1.0, "ft": 0.3048, "in": 0.0254, "cm": 0.01, "mm": 0.001}
NO_UNIT = "none"

IGNORED = frozenset(
    [
        *("monitor", "energymeter", "sensor", "recorder", "swtcontrol", "spectrum", "tcc_curve", "xycurve"),
        *("loadshape", "growthshape", "tshape"),
    ]
)
"""Classes that change no current."""


def read_opendss(path: Path) -> NetworkFile:
    """Reads a feeder from OpenDSS text, with all that it redirects to.

    Args:
        path: the file that OpenDSS would be told to compile.

    Raises:
        InputError: with file and line: something cannot be read, or is of a kind that gridpact does not plan with.
    """
    script = Script()
    run(path, script, ())
    if len(script.of("circuit")) != 1:
        count = len(script.of("circuit"))
        raise InputError(f"{path}: defines {count} circuits; give a file with one, the master file of a feeder")
    return _network(script)


def opendss_text(network: NetworkFile) -> str:
    """A feeder as OpenDSS text, by sequences where a line has them, else by loop impedances with the neutral's in them:
    the inverse of reading. Names are those of `plainly_named`, numbers have twelve digits.
    """
    network = plainly_named(network)
    kv, transformer, source = network.nominal_voltage_v / 1000, network.transformer, network.source
    head = SOURCE_BUS if transformer else network.root
    above = 1.0 if transformer is None else transformer.tap**2
    z1, z0 = source.z1_ohm / above or 1e-9j, source.z0_ohm / above or 1e-9j
    lines = [
        "clear",
        f"new circuit.{network.name} bus1={head} basekv={kv:.12g} pu={source.voltage_pu:.12g} "
        f"z1=[{z1.real:.12g} {z1.imag:.12g}] z0=[{z0.real:.12g} {z0.imag:.12g}]",
    ]
    if transformer is not None:
        loss, reactance = transformer.resistance_percent / above, transformer.reactance_percent / above
        lines.append(
            f"new transformer.tx phases=3 windings=2 buses=[{SOURCE_BUS} {network.root}] conns=[delta wye] "
            f"kvs=[{kv:.12g} {kv:.12g}] kvas=[{transformer.kva:.12g} {transformer.kva:.12g}] "
            f"taps=[1 {transformer.tap:.12g}] %loadloss={loss:.12g} xhl={reactance:.12g}"
        )
    lines += [_line_text(line) for line in network.lines]
    for load in network.loads:
        phases = load.connection.phases
        nodes = ".".join(str(phase + 1) for phase in phases)
        rated = kv if len(phases) > 1 else kv / np.sqrt(3)
        lines.append(
            f"new load.{load.name} bus1={load.connection.bus}.{nodes} phases={len(phases)} "
            f"kv={rated:.12g} kw={load.kw:.12g} kvar={load.kvar:.12g} model=1 vminpu=0.7 vmaxpu=1.3"
        )
    return "\n".join([*lines, f"set voltagebases=[{kv:.12g}]", "calcvoltagebases", "solve", ""])


def _line_text(line: PhaseLine) -> str:
    nodes = ".".join(str(phase + 1) for phase in line.phases)
    ends = f"new line.{line.name} bus1={line.parent}.{nodes} bus2={line.bus}.{nodes} phases={len(line.phases)} length=1"
    rating = "" if line.rating_a is None else f" normamps={line.rating_a:.12g}"
    own = line.impedance_ohm[np.ix_(line.phases, line.phases)]
    if (sequences := sequences_of(own)) is not None:
        z1, z0 = sequences
        given = f"r1={z1.real:.12g} x1={z1.imag:.12g} r0={z0.real:.12g} x0={z0.imag:.12g} c1=0 c0=0"
    else:
        given = (
            f"rmatrix=[{_triangle(own.real)}] xmatrix=[{_triangle(own.imag)}] "
            f"cmatrix=[{_triangle(np.zeros(own.shape))}]"
        )
    return f"{ends} {given}{rating}"


def _triangle(matrix: Array) -> str:
    return " | ".join(" ".join(f"{matrix[i, j]:.12g}" for j in range(i + 1)) for i in range(len(matrix)))


# ------------------------------------------------------------------ elements


def _network(script: Script) -> NetworkFile:
    known = {"circuit", "line", "linecode", "load", "transformer", *IGNORED}
    for kind in script.elements:
        if kind == "vsource":
            raise InputError(f"{_first(script, kind)}: a second source; a feeder has one, at its head")
        if kind not in known:
            raise InputError(
                f"{_first(script, kind)}: elements of class '{kind}' are not planned with; leave them out if the "
                "feeder is to be planned without"
            )
    (circuit_name,) = script.of("circuit")
    transformer, root, kv, fed = _transformer(script, circuit_name)
    edges = list(_edges(script))
    head = _head(script, circuit_name)
    if transformer is not None:
        for edge in edges:
            if head in edge.buses:
                raise InputError(
                    f"{edge.where}: line '{edge.name}' begins at the circuit's bus '{head}', above the transformer: "
                    "give the feeder behind it only"
                )
    lines, odd = radial(edges, root, 1000 * kv, fed)
    for remark in odd:
        script.remark(remark)
    loads = _loads(script, phases_at(root, lines, fed), kv, head)
    source = _source(script, circuit_name, kv, transformer)
    remarks = [text if count == 1 else f"{text} ({count} times)" for text, count in script.remarks.items()]
    return NetworkFile(circuit_name, 1000 * kv, root, lines, tuple(loads), transformer, source, tuple(remarks))


def _first(script: Script, kind: str) -> str:
    return script.where[kind, next(iter(script.elements[kind]))]


def _pair(script: Script, name: str, key: str) -> tuple[float, float]:
    """Resistance and reactance of the circuit."""
    text = script.of("circuit")[name][key]
    try:
        one, two = numbers(text)
    except ValueError:
        raise script.error("circuit", name, f"has {key}={text}, which is not a resistance and a reactance") from None
    if not np.isfinite((one, two)).all():
        raise script.error("circuit", name, f"has {key}={text}, which is not finite")
    return one, two


def _source(script: Script, name: str, kv: float, transformer: Transformer | None) -> Source:
    """The circuit's voltage behind its short-circuit power, seen from the feeder."""
    circuit = script.of("circuit")[name]
    base = number(script, "circuit", name, "basekv", 115.0)
    pu = number(script, "circuit", name, "pu", 1.0)
    if not (base > 0 and pu > 0):
        raise script.error("circuit", name, f"has basekv={base:g} and pu={pu:g}: both are above 0")

    def value(key: str, default: float) -> float:
        return number(script, "circuit", name, key, default)

    ways = [way for way in ("z1 z0", "r1 x1 r0 x0", "mvasc3 mvasc1 x1r1 x0r0") if set(way.split()) & circuit.keys()]
    if len(ways) > 1:
        raise script.error("circuit", name, f"has its impedance by {ways[0]} and by {ways[1]}; give one of them")
    if "z1" in circuit:
        (r1, x1), (r0, x0) = (_pair(script, name, key) for key in ("z1", "z0" if "z0" in circuit else "z1"))
    elif "r1" in circuit or "x1" in circuit:
        r1, x1 = value("r1", 1.65), value("x1", 6.6)
        r0, x0 = value("r0", 1.9), value("x0", 5.7)
    else:
        three, one = value("mvasc3", 2000.0), value("mvasc1", 2100.0)
        ratio1, ratio0 = value("x1r1", 4.0), value("x0r0", 3.0)
        x1 = base**2 / three / np.sqrt(1 + 1 / ratio1**2)
        r1 = x1 / ratio1
        # |2 Z1 + Z0| = 3 kV^2 / MVA of a fault in one phase
        a, b = 1 + ratio0**2, 4 * (r1 + x1 * ratio0)
        c = 4 * (r1**2 + x1**2) - (3 * base**2 / one) ** 2
        if c > 0:
            raise script.error(
                "circuit", name, f"has mvasc3={three:g} and mvasc1={one:g}, of which no impedance follows"
            )
        r0 = (-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a)
        x0 = ratio0 * r0
    scale = (kv / base) ** 2
    if transformer is not None:
        scale *= transformer.tap**2
    return Source(pu, complex(r1, x1) * scale, complex(r0, x0) * scale)


def _head(script: Script, circuit: str) -> str:
    """The circuit's bus."""
    return bus(script, "circuit", circuit, script.of("circuit")[circuit].get("bus1", "sourcebus"), 3)[0]


def _transformer(script: Script, circuit: str) -> tuple[Transformer | None, str, float, tuple[int, ...]]:
    """The one at the feeder's head, the bus behind it, that bus's nominal kV, and the phases that are fed."""
    head = _head(script, circuit)
    given = list(script.of("transformer"))
    if not given:
        return None, head, number(script, "circuit", circuit, "basekv", 115.0), PHASES
    if len(given) > 1:
        raise script.error(
            "transformer", given[1], f"is a second one beside '{given[0]}': give one low-voltage feeder at a time"
        )
    (name,) = given
    windings = _windings(script, name)
    above = [k for k, winding in enumerate(windings) if winding.bus == head]
    if not above:
        raise script.error("transformer", name, f"does not begin at the circuit's bus '{head}'; lines above it are")
    upper, lower = windings[above[0]], windings[1 - above[0]]
    if lower.connection != "wye":
        raise script.error("transformer", name, "has no wye on the feeder's side, so the feeder has no neutral")
    if not lower.kva > 0:
        raise script.error("transformer", name, f"has {lower.kva:g} kVA: give what it is rated for, above 0")
    if upper.kva != lower.kva:
        raise script.error("transformer", name, f"has {upper.kva:g} and {lower.kva:g} kVA: give its windings one")
    fed = _fed(script, name, upper, lower)
    for key in ("%noloadloss", "%imag"):
        if number(script, "transformer", name, key, 0.0):
            script.remark(f"the transformer's {key} is left out")
    if upper.connection != "delta":
        script.remark("the transformer is wye-wye; zero sequence currents are taken to pass it")
    own = script.of("transformer")[name]
    if "%loadloss" in own and {"%rs", "%r@1", "%r@2"} & own.keys():
        raise script.error("transformer", name, "has %loadloss and %r; give one")
    loss = number(script, "transformer", name, "%loadloss", upper.resistance + lower.resistance)
    loss, reactance = (
        value * len(lower.nodes) / 3 for value in (loss, number(script, "transformer", name, "xhl", 7.0))
    )
    basekv = number(script, "circuit", circuit, "basekv", 115.0)
    if not _is_near(upper.kv, basekv):
        raise script.error("transformer", name, f"has {upper.kv:g} kV at a circuit of {basekv:g} kV; correct one")
    tap = lower.tap / upper.tap * basekv / upper.kv
    return (
        Transformer(
            kva=lower.kva,
            resistance_percent=loss * lower.tap**2,
            reactance_percent=reactance * lower.tap**2,
            tap=tap,
        ),
        lower.bus,
        lower.kv,
        fed,
    )


def _fed(script: Script, name: str, upper: _Winding, lower: _Winding) -> tuple[int, ...]:
    """The phases that have the nominal voltage behind a transformer.

    Of two phases from delta to wye, as OpenDSS connects them, the second has the voltage between both; the first that
    of one conductor to earth, 0.58 of it.
    """
    phases = int(number(script, "transformer", name, "phases", 3))
    if phases == 3 and upper.nodes == lower.nodes == (1, 2, 3):
        return PHASES
    if phases == 2 and upper.connection == "delta" and upper.nodes == lower.nodes and len(set(lower.nodes)) == 2:
        script.remark(f"the transformer has two phases in delta: only phase {lower.nodes[1]} has its nominal voltage")
        return (lower.nodes[1] - 1,)
    raise script.error(
        "transformer", name,
        f"has {phases} phases at nodes {upper.nodes} and {lower.nodes}; three at 1.2.3 are planned with, two in delta",
    )  # fmt: skip


@dataclass(frozen=True)
class _Winding:
    bus: str
    nodes: tuple[int, ...]
    connection: str
    kv: float
    kva: float
    tap: float
    resistance: float


def _windings(script: Script, name: str) -> tuple[_Winding, _Winding]:
    given = script.of("transformer")[name]
    if int(number(script, "transformer", name, "windings", 2)) != 2:
        raise script.error("transformer", name, "has not two windings; two are planned with")

    def listed(plural: str, single: str, default: str) -> list[str]:
        every = given.get(plural)
        values = re.split(r"[\s,]+", every.strip("[](){} ")) if every else [default, default]
        if single == "kva" and not every:
            values = [given.get("kva@1", default)] * 2
        return [given.get(f"{single}@{k}", values[k - 1] if k <= len(values) else default) for k in (1, 2)]

    buses = listed("buses", "bus", "")
    connections = ["delta" if c.lower().startswith(("d", "ll")) else "wye" for c in listed("conns", "conn", "wye")]
    try:
        kvs, kvas, taps, rs = (
            [float(v) for v in listed(plural, single, default)]
            for plural, single, default in (
                ("kvs", "kv", "12.47"),
                ("kvas", "kva", "1000"),
                ("taps", "tap", "1"),
                ("%rs", "%r", "0.2"),
            )
        )
    except ValueError:
        raise script.error("transformer", name, "has something in kV, kVA, tap or %R that is not a number") from None
    for key, values in (("kv", kvs), ("tap", taps), ("%r", rs)):
        for value in values:
            if (fault := outside("transformer", key, value)) is not None:
                raise script.error("transformer", name, fault)
    if not np.all(np.isfinite(kvas)):
        raise script.error("transformer", name, "has something in kVA that is not finite")
    phases = int(number(script, "transformer", name, "phases", 3))
    one, two = (
        _Winding(*bus(script, "transformer", name, buses[k], phases), connections[k], kvs[k], kvas[k], taps[k], rs[k])
        for k in range(2)
    )
    return one, two


SEQUENCES = frozenset(("r1", "x1", "r0", "x0"))
IMPEDANCES = SEQUENCES | {"c1", "c0", "b1", "b0", "rmatrix", "xmatrix", "cmatrix"}
SWITCH_LENGTH = 0.001


def _edges(script: Script) -> Iterator[Edge]:
    """Lines that are in service."""
    for name, given in script.of("line").items():
        if not flag(given.get("enabled", "yes")):
            if number(script, "line", name, "length", 1.0) <= 0:
                raise script.error("line", name, "has no length")
            continue
        one, two, phases = _ends(script, name)
        impedance, rating = _impedance(script, name, phases)
        yield Edge(name, script.where["line", name], (one, two), tuple(sorted(phases)), impedance, rating)


def _ends(script: Script, name: str) -> tuple[str, str, tuple[int, ...]]:
    """Its two buses, and its phases in the order of its impedances."""
    given = script.of("line")[name]
    if "bus1" not in given or "bus2" not in given:
        raise script.error("line", name, "has not two buses")
    count = int(number(script, "line", name, "phases", 3))
    (one, at1), (two, at2) = (bus(script, "line", name, given[key], count) for key in ("bus1", "bus2"))
    if at1 != at2:
        raise script.error("line", name, f"changes phases from {at1} to {at2}; that is not planned with")
    if len(at1) != count or len(set(at1)) != count:
        raise script.error("line", name, f"has {count} phases but is at nodes {given['bus1']}")
    return one, two, tuple(node - 1 for node in at1)


def _impedance(script: Script, name: str, phases: tuple[int, ...]) -> tuple[Complex, float | None]:
    """Loop impedances of a line at its places in a 3 x 3 matrix, ohm, and its rating where one is given."""
    given, count = script.of("line")[name], len(phases)
    kind, of = "line", name
    if "linecode" in given:
        if own := IMPEDANCES & given.keys():
            raise script.error("line", name, f"is told by a line code and by {min(own)}; give one of them")
        kind, of = "linecode", given["linecode"].lower()
        if of not in script.of("linecode"):
            raise script.error("line", name, f"has line code '{of}', which is not defined")
        defined = int(number(script, "linecode", of, "nphases", 3))
        if defined != count:
            raise script.error("line", name, f"has {count} phases, its line code '{of}' {defined}")
    if flag(given.get("switch", "no")):
        small, length = _switch(script, name, count)
    else:
        small, length = _per_length(script, kind, of, count), _length(script, name, kind, of)
    for k, n in {("line", name), (kind, of)}:
        matrix(script, k, n, "cmatrix", count)
        for key in ("c1", "c0"):
            number(script, k, n, key, 0.0)
    for place in (given, script.of("linecode").get(of, {})):
        if any(_given_capacitance(place.get(key)) for key in ("c1", "c0", "b1", "b0", "cmatrix")):
            script.remark("capacitances of lines are left out")
    if number(script, "line", name, "length", 1.0) <= 0:
        raise script.error("line", name, "has no length")
    result = np.zeros((3, 3), dtype=complex)
    result[np.ix_(phases, phases)] = small * length
    if np.any(result.diagonal()[list(phases)] == 0):
        raise script.error("line", name, "has no impedance")
    ratings = [number(script, k, n, "normamps", np.nan) for k, n in (("line", name), (kind, of)) if n in script.of(k)]
    rating = next((value for value in ratings if np.isfinite(value)), None)
    return result, rating


def _switch(script: Script, name: str, count: int) -> tuple[Complex, float]:
    """Impedances of a switch, and its length: those that OpenDSS gives it, where none stand behind `switch=yes`."""
    given = list(script.of("line")[name])
    behind = set(given[given.index("switch") + 1 :])
    if behind & {"rmatrix", "xmatrix"}:
        raise script.error("line", name, "is a switch with matrices; give r1, x1, r0 and x0")
    if "linecode" in behind:
        code = script.of("line")[name]["linecode"].lower()
        length = number(script, "line", name, "length", 1.0) if "length" in behind else SWITCH_LENGTH
        return _per_length(script, "linecode", code, count), length

    def value(key: str, default: float) -> float:
        return number(script, "line", name, key, default) if key in behind else default

    z1, z0 = complex(value("r1", 1.0), value("x1", 1.0)), complex(value("r0", 1.0), value("x0", 1.0))
    small = np.array([[z1]]) if count == 1 else by_sequence(z1, z0)[:count, :count]
    return small, value("length", SWITCH_LENGTH)


def _given_capacitance(text: str | None) -> bool:
    return text is not None and any(set(part) & set("123456789") for part in re.split(r"[\s,|]+", text))


def _per_length(script: Script, kind: str, name: str, count: int) -> Complex:
    return _at_frequency(script, kind, name, _own_impedance(script, kind, name, count))


def _own_impedance(script: Script, kind: str, name: str, count: int) -> Complex:
    resistance = matrix(script, kind, name, "rmatrix", count)
    reactance = matrix(script, kind, name, "xmatrix", count)
    if resistance is not None or reactance is not None:
        if resistance is None or reactance is None:
            raise script.error(kind, name, "has one of rmatrix and xmatrix; give both")
        if SEQUENCES & script.of(kind)[name].keys():
            raise script.error(kind, name, "is told by matrices and by sequences; give one of them")
        return resistance + 1j * reactance
    if not SEQUENCES & script.of(kind)[name].keys():
        script.remark(f"{kind} without impedances, which OpenDSS takes as its own default of 0.058+j0.1206 a unit")
    z1 = complex(number(script, kind, name, "r1", 0.058), number(script, kind, name, "x1", 0.1206))
    z0 = complex(number(script, kind, name, "r0", 0.1784), number(script, kind, name, "x0", 0.4047))
    if count == 1:
        return np.array([[z1]])  # as OpenDSS has it: a single conductor has no sequences
    return by_sequence(z1, z0)[:count, :count]


def _at_frequency(script: Script, kind: str, name: str, impedance: Complex) -> Complex:
    """Of a code of another frequency than the circuit's, as OpenDSS changes it: with Carson's earth return."""
    default = float(script.options.get("defaultbasefrequency", "60"))
    circuit = float(script.options.get("frequency", str(default)))
    own = number(script, kind, name, "basefreq", default)
    if own == circuit:
        return impedance
    script.remark(
        f"line codes of {own:g} Hz in a circuit of {circuit:g} Hz: impedances are changed as OpenDSS does; say "
        f"`set defaultbasefrequency={own:g}` if that is not meant"
    )
    factor = circuit / own
    earth_r, earth_x = number(script, kind, name, "rg", 0.01805), number(script, kind, name, "xg", 0.155081)
    rho = number(script, kind, name, "rho", 100.0)
    per_log = earth_x / np.log(658.5 * np.sqrt(rho / own))
    resistance = impedance.real + earth_r * (factor - 1)
    reactance = factor * (impedance.imag - 0.5 * per_log * np.log(factor))
    result: Complex = resistance + 1j * reactance
    return result


def _length(script: Script, name: str, kind: str, of: str) -> float:
    """In the unit that the impedances are per."""
    length = number(script, "line", name, "length", 1.0)
    mine = script.of("line")[name].get("units", NO_UNIT).lower()
    theirs = script.of(kind)[of].get("units", NO_UNIT).lower()
    for unit in (mine, theirs):
        if unit != NO_UNIT and unit not in METRES:
            raise script.error("line", name, f"is measured in '{unit}', which is not a unit of length")
    if NO_UNIT in (mine, theirs):
        if mine != theirs:
            script.remark(f"lines are in '{mine}' and their codes in '{theirs}'; lengths are taken as they stand")
        return length
    return length * METRES[mine] / METRES[theirs]


MOST_OFF = 2.0
"""By which factor voltages may differ that are to be the same: a rating of 0.4 kV stands for 0.23, too; more is a unit
or what OpenDSS takes where nothing is said."""


def _is_near(one: float, other: float) -> bool:
    return other / MOST_OFF < one < other * MOST_OFF


def _power(script: Script, name: str) -> tuple[float, float]:
    """kW and kvar of a load; the later of kvar and pf counts."""
    kw, factor = (number(script, "load", name, key, default) for key, default in (("kw", 10.0), ("pf", 0.88)))
    told = [key for key in script.of("load")[name] if key in ("kvar", "pf")]
    if told[-1:] == ["kvar"]:
        return kw, number(script, "load", name, "kvar", 0.0)
    if not factor:
        raise script.error("load", name, "has a power factor of 0; give kw and kvar")
    return kw, kw * float(np.sign(factor)) * float(np.sqrt(1 / factor**2 - 1))


def _loads(script: Script, there: Mapping[str, tuple[int, ...]], kv: float, head: str) -> list[NetworkLoad]:
    """
    Args:
        kv: nominal, from phase to phase
        head: the circuit's bus.
    """
    loads, away = [], []
    for name, given in script.of("load").items():
        if not flag(given.get("enabled", "yes")):
            continue
        count = int(number(script, "load", name, "phases", 3))
        if given.get("conn", "wye").lower().startswith(("d", "ll")):
            raise script.error("load", name, "stands between phases (delta); homes stand between a phase and neutral")
        if "bus1" not in given:
            raise script.error("load", name, "has no bus")
        at, nodes = bus(script, "load", name, given["bus1"], count)
        if len(set(nodes)) != count or len(nodes) != count:
            raise script.error("load", name, f"has {count} phases but is at nodes {given['bus1']}")
        if at == head and head not in there:
            raise script.error("load", name, f"stands above the transformer, at '{head}'; homes stand behind it")
        if at not in there:
            away.append(name)
            continue
        own, nominal = number(script, "load", name, "kv", 12.47), kv / np.sqrt(3) if count == 1 else kv
        if not _is_near(own, nominal):
            default = "" if "kv" in given else ", which is what OpenDSS takes where kv is not given"
            raise script.error("load", name, f"is made for {own:g} kV{default}, and stands where are {nominal:.3g}")
        for key in ("vminpu", "vmaxpu"):  # of no effect on a constant power
            number(script, "load", name, key, 1.0)
        if int(number(script, "load", name, "model", 1)) != 1:
            script.remark("loads that depend on voltage are taken as constant powers")
        kw, kvar = _power(script, name)
        load = NetworkLoad(name, Connection(at, tuple(sorted(n - 1 for n in nodes))), kw, kvar)
        loads.append(on_phases(script.where["load", name], load, there))
    if away:
        script.remark(left_out(away))
    if not loads and away:
        raise InputError(
            f"{script.where['load', away[0]]}: the load '{away[0]}' is on a bus that nothing leads to, and there is no"
            " other: correct its bus"
        )
    if not loads:
        raise InputError(f"{_first(script, 'circuit')}: the circuit has no load, so there is no place for a home")
    return loads
