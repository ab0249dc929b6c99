"""Feeders from OpenDSS text: lines with line codes or matrices, a transformer, loads between a phase and the neutral.

What a home's plan needs is read: impedances, ratings, phases, where loads are. What would change currents and is not
known here (delta loads, regulators, meshes) is refused by name; what changes nothing (meters, load shapes) is left out;
what changes little (line capacitances, no-load losses) is left out and said. OpenDSS is not asked: tests compare what
is read with its own solution of the file.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import add, mul, sub, truediv
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array
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
    Complex,
    Connection,
    PhaseLine,
    Source,
    Transformer,
    by_sequence,
    sequences_of,
)
from gridpact.errors import InputError
from gridpact.files import reason_of

METRES = {"mi": 1609.344, "kft": 304.8, "km": 1000.0, "m": 1.0, "ft": 0.3048, "in": 0.0254, "cm": 0.01, "mm": 0.001}
NO_UNIT = "none"

IGNORED = frozenset(
    [
        *("monitor", "energymeter", "sensor", "recorder", "swtcontrol", "spectrum", "tcc_curve", "xycurve"),
        *("loadshape", "growthshape", "tshape"),
    ]
)
"""Classes that change no current."""

COMMANDS = frozenset(
    [
        *("solve", "calcvoltagebases", "calcv", "setkvbase", "makebuslist", "interpolate", "buscoords"),
        *("show", "plot", "export", "close", "closedi"),
    ]
)
"""Commands that say nothing about the network."""

Properties = dict[str, str]


@dataclass
class _Script:
    """What a file and those that it redirects to define, in lower case; where each stands."""

    elements: dict[str, dict[str, Properties]] = field(default_factory=dict)  # by class and name
    where: dict[tuple[str, str], str] = field(default_factory=dict)
    options: Properties = field(default_factory=dict)
    remarks: dict[str, int] = field(default_factory=dict)  # and how often

    def remark(self, text: str) -> None:
        self.remarks[text] = self.remarks.get(text, 0) + 1

    def of(self, kind: str) -> Mapping[str, Properties]:
        return self.elements.get(kind, {})

    def error(self, kind: str, name: str, text: str) -> InputError:
        return InputError(f"{self.where[kind, name]}: {kind} '{name}' {text}")


def read_opendss(path: Path) -> NetworkFile:
    """Reads a feeder from OpenDSS text, with all that it redirects to.

    Args:
        path: the file that OpenDSS would be told to compile.

    Raises:
        InputError: with file and line: something cannot be read, or is of a kind that gridpact does not plan with.
    """
    script = _Script()
    _run(path, script, ())
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


# ------------------------------------------------------------------ text


def _run(path: Path, script: _Script, above: tuple[Path, ...], named: str = "") -> None:
    """
    Args:
        above: files that redirect to this one; the last does
        named: there, file and line.
    """
    by = f"{named}: " if named else ""
    if path in above:
        raise InputError(f"{by}{path}: redirects to itself")
    try:
        text = path.read_text(encoding="utf-8-sig", errors="replace")
    except (OSError, ValueError) as error:
        told = str(path) if str(path).isprintable() else repr(str(path))
        why = reason_of(error)
        raise InputError(f"{by}{told}: cannot be read ({why}); give the folder as it was published") from None
    last: tuple[str, str] | None = None
    for number, line in enumerate(_uncommented(text), start=1):
        tokens = list(_tokens(line))
        if not tokens:
            continue
        where = f"{path}:{number}"
        (first, value), rest = tokens[0], tokens[1:]
        verb = (first or value).lower()
        if verb in ("~", "m", "more") and last is not None:
            _set(script, last, rest, where)
        elif verb in ("new", "edit"):
            last = _define(script, verb, rest, where)
        elif verb in ("redirect", "compile"):
            if not rest:
                raise InputError(f"{where}: '{verb}' names no file")
            _run(path.parent / rest[0][1].replace("\\", "/"), script, (*above, path), where)
        elif verb in ("clear", "clearall"):
            script.elements.clear()
            script.where.clear()
        elif verb == "set":
            script.options |= {name.lower(): value for name, value in rest}
        elif verb not in COMMANDS:
            raise InputError(f"{where}: '{first or value}' is not a command that is known here")


def _uncommented(text: str) -> Iterator[str]:
    inside = False
    for line in text.splitlines():
        if line.lstrip().startswith("/*"):
            inside = True
        if inside:
            inside = "*/" not in line
            yield ""
        else:
            yield re.split(r"!|//", line, maxsplit=1)[0]


PAIR = re.compile(
    r"""(?:(?P<name>[^\s=,"'(\[{]+)\s*=\s*)?
        (?P<value>"[^"]*"|'[^']*'|\([^)]*\)|\[[^\]]*\]|\{[^}]*\}|[^\s,]+)""",
    re.VERBOSE,
)


def _tokens(line: str) -> Iterator[tuple[str, str]]:
    """(name, value) of each; a value keeps its brackets but not its quotes."""
    for match in PAIR.finditer(line):
        value = match["value"]
        yield (match["name"] or "").lower(), value[1:-1] if value[0] in "\"'" else value


def _define(script: _Script, verb: str, rest: list[tuple[str, str]], where: str) -> tuple[str, str]:
    if not rest:
        raise InputError(f"{where}: '{verb}' names no element")
    kind, dot, name = rest[0][1].lower().partition(".")
    if not dot or not name:
        raise InputError(f"{where}: '{rest[0][1]}' is not an element like Line.name")
    elements = script.elements.setdefault(kind, {})
    if verb == "new" and name in elements:
        raise InputError(f"{where}: {kind} '{name}' stands a second time, first at {script.where[kind, name]}")
    if verb == "edit" and name not in elements:
        raise InputError(f"{where}: {kind} '{name}' is edited but was not defined")
    if verb == "new":
        elements[name], script.where[kind, name] = {}, where
    _set(script, (kind, name), rest[1:], where)
    return kind, name


def _set(script: _Script, of: tuple[str, str], pairs: list[tuple[str, str]], where: str) -> None:
    kind, name = of
    properties = script.elements[kind][name]
    for given, value in pairs:
        if not given:
            raise InputError(f"{where}: {kind} '{name}' has the value '{value}' without a name; write name=value")
        key = _property(kind, name, given, where)
        if kind == "transformer" and key == "wdg":
            properties["wdg"] = value
            continue
        if kind == "transformer" and key in ("bus", "conn", "kv", "kva", "tap", "%r"):
            key = f"{key}@{properties.get('wdg', '1')}"
        if kind == "line" and key == "like":
            raise InputError(f"{where}: line '{name}' is 'like' another; write out what it is")
        properties[key] = value


PROPERTIES: Mapping[str, str] = {
    "circuit": (
        " bus1 basekv pu angle frequency phases mvasc3 mvasc1 x1r1 x0r0 isc3 isc1 r1 x1 r0 x0 scantype sequence "
        " bus2 z1 z0 z2 puz1 puz0 puz2 basemva yearly daily duty model puzideal spectrum basefreq enabled like "
    ),
    "line": (
        " bus1 bus2 linecode length phases r1 x1 r0 x0 c1 c0 rmatrix xmatrix cmatrix switch rg xg rho geometry "
        " units spacing wires earthmodel cncables tscables b1 b0 seasons ratings linetype normamps emergamps "
        " faultrate pctperm repair basefreq enabled like "
    ),
    "linecode": (
        " nphases r1 x1 r0 x0 c1 c0 units rmatrix xmatrix cmatrix basefreq normamps emergamps faultrate pctperm "
        " repair kron rg xg rho neutral b1 b0 seasons ratings linetype like "
    ),
    "load": (
        " phases bus1 kv kw pf model yearly daily duty growth conn kvar rneut xneut status class vminpu vmaxpu "
        " vminnorm vminemerg xfkva allocationfactor kva %mean %stddev cvrwatts cvrvars kwh kwhdays cfactor cvrcurve "
        " numcust zipv %seriesrl relweight vlowpu puxharm xrharm spectrum basefreq enabled like "
    ),
    "transformer": (
        " phases windings wdg bus conn kv kva tap %r rneut xneut buses conns kvs kvas taps xhl xht xlt xscarray "
        " thermal n m flrise hsrise %loadloss %noloadloss normhkva emerghkva sub maxtap mintap numtaps subname "
        " %imag ppm_antifloat %rs bank xfmrcode xrconst x12 x13 x23 leadlag wdgcurrents core rdcohms seasons "
        " ratings normamps emergamps faultrate pctperm repair basefreq enabled like "
    ),
}
"""Of each class that is planned with, in OpenDSS's order."""


def _property(kind: str, name: str, given: str, where: str) -> str:
    """A property by its name, or the first that begins so, as OpenDSS takes it.

    Raises:
        InputError: the class has none, so that what it says would count for nothing.
    """
    known = PROPERTIES.get(kind, "").split()
    if not known or given in known:
        return given
    for one in known:
        if one.startswith(given):
            return one
    raise InputError(f"{where}: {kind} '{name}' has no property '{given}' in OpenDSS; correct its name or leave it out")


# ------------------------------------------------------------------ values


def _numbers(text: str) -> list[float]:
    return [float(part) for part in re.split(r"[\s,]+", text.strip("[](){} ")) if part]


def _number(script: _Script, kind: str, name: str, key: str, default: float) -> float:
    text = script.of(kind)[name].get(key)
    if text is None:
        return default
    try:
        if text[0] in "({" and any(sign in text for sign in "*+-/^"):
            value = _rpn(text.strip("(){} "))
        else:
            (value,) = _numbers(text)
    except (ArithmeticError, TypeError, ValueError, IndexError):
        raise script.error(kind, name, f"has {key}={text}, which is not a number") from None
    if not np.isfinite(value):
        raise script.error(kind, name, f"has {key}={text}, which is not finite")
    return value


SIGNS: Mapping[str, Callable[[float, float], Any]] = {"*": mul, "/": truediv, "+": add, "-": sub, "^": pow}


def _rpn(text: str) -> float:
    """OpenDSS's in-line arithmetic in reverse Polish notation, for example "4 0.265 *"."""
    stack: list[float] = []
    for part in text.split():
        if part in SIGNS:
            b, a = stack.pop(), stack.pop()
            stack.append(float(SIGNS[part](a, b)))
        else:
            stack.append(float(part))
    (value,) = stack
    return value


def _matrix(script: _Script, kind: str, name: str, key: str, size: int) -> Complex | None:
    text = script.of(kind)[name].get(key)
    if text is None:
        return None
    try:
        rows = [_numbers(row) for row in text.strip("[](){} ").split("|")]
    except ValueError:
        raise script.error(kind, name, f"has {key}={text}, in which something is not a number") from None
    if [len(row) for row in rows] == list(range(1, size + 1)):  # the lower triangle
        return np.array([[rows[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)], dtype=complex)
    if [len(row) for row in rows] != [size] * size:
        raise script.error(kind, name, f"has {key}={text}, not a matrix of its {size} phases")
    return np.array(rows, dtype=complex)


def _flag(text: str) -> bool:
    return text.lower()[:1] in ("y", "t")


def _bus(script: _Script, kind: str, name: str, text: str, phases: int) -> tuple[str, tuple[int, ...]]:
    """Its name and the nodes that the element's conductors are at, 1 to 3; the neutral's 0 or 4 is left out.

    Raises:
        InputError: a node is no number.
    """
    bus, *nodes = text.lower().split(".")
    if not bus or any(not (node.isascii() and node.isdecimal()) for node in nodes):
        raise script.error(kind, name, f"is at {text!r}, which is no bus and its nodes like street.1.2")
    given = [int(node) for node in nodes]
    chosen = [node for node in given if node in (1, 2, 3)] if given else list(range(1, min(phases, 3) + 1))
    return bus, tuple(chosen)


# ------------------------------------------------------------------ elements


def _network(script: _Script) -> NetworkFile:
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
    transformer, root, kv = _transformer(script, circuit_name)
    lines, odd = radial(_edges(script), root, 1000 * kv)
    for remark in odd:
        script.remark(remark)
    loads = _loads(script, phases_at(root, lines), kv)
    source = _source(script, circuit_name, kv, transformer)
    remarks = [text if count == 1 else f"{text} ({count} times)" for text, count in script.remarks.items()]
    return NetworkFile(circuit_name, 1000 * kv, root, lines, tuple(loads), transformer, source, tuple(remarks))


def _first(script: _Script, kind: str) -> str:
    return script.where[kind, next(iter(script.elements[kind]))]


def _pair(script: _Script, name: str, key: str) -> tuple[float, float]:
    """Resistance and reactance of the circuit."""
    text = script.of("circuit")[name][key]
    try:
        one, two = _numbers(text)
    except ValueError:
        raise script.error("circuit", name, f"has {key}={text}, which is not a resistance and a reactance") from None
    if not np.isfinite((one, two)).all():
        raise script.error("circuit", name, f"has {key}={text}, which is not finite")
    return one, two


def _source(script: _Script, name: str, kv: float, transformer: Transformer | None) -> Source:
    """The circuit's voltage behind its short-circuit power, seen from the feeder."""
    circuit = script.of("circuit")[name]
    base = _number(script, "circuit", name, "basekv", 115.0)
    pu = _number(script, "circuit", name, "pu", 1.0)
    if not (base > 0 and pu > 0):
        raise script.error("circuit", name, f"has basekv={base:g} and pu={pu:g}: both are above 0")

    def value(key: str, default: float) -> float:
        return _number(script, "circuit", name, key, default)

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
        r0 = (-b + np.sqrt(b**2 - 4 * a * c)) / (2 * a)
        x0 = ratio0 * r0
    scale = (kv / base) ** 2
    if transformer is not None:
        scale *= transformer.tap**2
    return Source(pu, complex(r1, x1) * scale, complex(r0, x0) * scale)


def _transformer(script: _Script, circuit: str) -> tuple[Transformer | None, str, float]:
    """The one at the feeder's head, the bus behind it, and that bus's nominal kV."""
    head, _ = _bus(script, "circuit", circuit, script.of("circuit")[circuit].get("bus1", "sourcebus"), 3)
    given = list(script.of("transformer"))
    if not given:
        return None, head, _number(script, "circuit", circuit, "basekv", 115.0)
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
    phases = int(_number(script, "transformer", name, "phases", 3))
    if phases != 3:
        script.remark(f"the transformer has {phases} phases; each is taken to have its nominal voltage")
    for key in ("%noloadloss", "%imag"):
        if _number(script, "transformer", name, key, 0.0):
            script.remark(f"the transformer's {key} is left out")
    if upper.connection != "delta":
        script.remark("the transformer is wye-wye; zero sequence currents are taken to pass it")
    loss = _number(script, "transformer", name, "%loadloss", upper.resistance + lower.resistance)
    basekv = _number(script, "circuit", circuit, "basekv", 115.0)
    if not _is_near(upper.kv, basekv):
        raise script.error("transformer", name, f"has {upper.kv:g} kV at a circuit of {basekv:g} kV; correct one")
    tap = lower.tap / upper.tap * basekv / upper.kv
    return (
        Transformer(
            kva=lower.kva,
            resistance_percent=loss * lower.tap**2,
            reactance_percent=_number(script, "transformer", name, "xhl", 7.0) * lower.tap**2,
            tap=tap,
        ),
        lower.bus,
        lower.kv,
    )


@dataclass(frozen=True)
class _Winding:
    bus: str
    connection: str
    kv: float
    kva: float
    tap: float
    resistance: float


def _windings(script: _Script, name: str) -> tuple[_Winding, _Winding]:
    given = script.of("transformer")[name]
    if int(_number(script, "transformer", name, "windings", 2)) != 2:
        raise script.error("transformer", name, "has not two windings; two are planned with")

    def listed(plural: str, single: str, default: str) -> list[str]:
        every = given.get(plural)
        values = re.split(r"[\s,]+", every.strip("[](){} ")) if every else [default, default]
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
    if not all(0 < value < np.inf for value in (*kvs, *taps)) or not np.all(np.isfinite((*kvas, *rs))):
        raise script.error("transformer", name, "has something in kV, kVA, tap or %R that cannot be")
    one, two = (
        _Winding(_bus(script, "transformer", name, buses[k], 3)[0], connections[k], kvs[k], kvas[k], taps[k], rs[k])
        for k in range(2)
    )
    return one, two


def _edges(script: _Script) -> Iterator[Edge]:
    """Lines that are in service."""
    for name, given in script.of("line").items():
        if not _flag(given.get("enabled", "yes")):
            continue
        for key in ("geometry", "spacing", "wires"):
            if key in given:
                raise script.error("line", name, f"is told by {key}; give a line code or matrices")
        one, two, phases = _ends(script, name)
        impedance, rating = _impedance(script, name, phases)
        yield Edge(name, script.where["line", name], (one, two), tuple(sorted(phases)), impedance, rating)


def _ends(script: _Script, name: str) -> tuple[str, str, tuple[int, ...]]:
    """Its two buses, and its phases in the order of its impedances."""
    given = script.of("line")[name]
    if "bus1" not in given or "bus2" not in given:
        raise script.error("line", name, "has not two buses")
    count = int(_number(script, "line", name, "phases", 3))
    (one, at1), (two, at2) = (_bus(script, "line", name, given[key], count) for key in ("bus1", "bus2"))
    if at1 != at2:
        raise script.error("line", name, f"changes phases from {at1} to {at2}; that is not planned with")
    if len(at1) != count or len(set(at1)) != count:
        raise script.error("line", name, f"has {count} phases but is at nodes {given['bus1']}")
    return one, two, tuple(node - 1 for node in at1)


def _impedance(script: _Script, name: str, phases: tuple[int, ...]) -> tuple[Complex, float | None]:
    """Loop impedances of a line at its places in a 3 x 3 matrix, ohm, and its rating where one is given."""
    given, count = script.of("line")[name], len(phases)
    kind, of = "line", name
    if "linecode" in given:
        kind, of = "linecode", given["linecode"].lower()
        if of not in script.of("linecode"):
            raise script.error("line", name, f"has line code '{of}', which is not defined")
        defined = int(_number(script, "linecode", of, "nphases", 3))
        if defined != count:
            raise script.error("line", name, f"has {count} phases, its line code '{of}' {defined}")
    if _flag(given.get("switch", "no")):
        small, length = np.diag(np.full(count, complex(1e-3, 1e-3))), 1.0
    else:
        small, length = _per_length(script, kind, of, count), _length(script, name, kind, of)
    for place in (given, script.of("linecode").get(of, {})):
        if any(_given_capacitance(place.get(key)) for key in ("c1", "c0", "b1", "b0", "cmatrix")):
            script.remark("capacitances of lines are left out")
    if _number(script, "line", name, "length", 1.0) <= 0:
        raise script.error("line", name, "has no length")
    result = np.zeros((3, 3), dtype=complex)
    result[np.ix_(phases, phases)] = small * length
    if np.any(result.diagonal()[list(phases)] == 0):
        raise script.error("line", name, "has no impedance")
    ratings = [_number(script, k, n, "normamps", np.nan) for k, n in (("line", name), (kind, of)) if n in script.of(k)]
    rating = next((value for value in ratings if np.isfinite(value)), None)
    return result, rating


def _given_capacitance(text: str | None) -> bool:
    return text is not None and any(set(part) & set("123456789") for part in re.split(r"[\s,|]+", text))


def _per_length(script: _Script, kind: str, name: str, count: int) -> Complex:
    return _at_frequency(script, kind, name, _own_impedance(script, kind, name, count))


def _own_impedance(script: _Script, kind: str, name: str, count: int) -> Complex:
    resistance = _matrix(script, kind, name, "rmatrix", count)
    reactance = _matrix(script, kind, name, "xmatrix", count)
    if resistance is not None or reactance is not None:
        if resistance is None or reactance is None:
            raise script.error(kind, name, "has one of rmatrix and xmatrix; give both")
        return resistance + 1j * reactance
    if not {"r1", "x1", "r0", "x0"} & script.of(kind)[name].keys():
        script.remark(f"{kind} without impedances, which OpenDSS takes as its own default of 0.058+j0.1206 a unit")
    z1 = complex(_number(script, kind, name, "r1", 0.058), _number(script, kind, name, "x1", 0.1206))
    z0 = complex(_number(script, kind, name, "r0", 0.1784), _number(script, kind, name, "x0", 0.4047))
    if count == 1:
        return np.array([[z1]])  # as OpenDSS has it: a single conductor has no sequences
    return by_sequence(z1, z0)[:count, :count]


def _at_frequency(script: _Script, kind: str, name: str, impedance: Complex) -> Complex:
    """Of a code of another frequency than the circuit's, as OpenDSS changes it: with Carson's earth return."""
    default = float(script.options.get("defaultbasefrequency", "60"))
    circuit = float(script.options.get("frequency", str(default)))
    own = _number(script, kind, name, "basefreq", default)
    if own == circuit:
        return impedance
    script.remark(
        f"line codes of {own:g} Hz in a circuit of {circuit:g} Hz: impedances are changed as OpenDSS does; say "
        f"`set defaultbasefrequency={own:g}` if that is not meant"
    )
    factor = circuit / own
    earth_r, earth_x = _number(script, kind, name, "rg", 0.01805), _number(script, kind, name, "xg", 0.155081)
    rho = _number(script, kind, name, "rho", 100.0)
    per_log = earth_x / np.log(658.5 * np.sqrt(rho / own))
    resistance = impedance.real + earth_r * (factor - 1)
    reactance = factor * (impedance.imag - 0.5 * per_log * np.log(factor))
    result: Complex = resistance + 1j * reactance
    return result


def _length(script: _Script, name: str, kind: str, of: str) -> float:
    """In the unit that the impedances are per."""
    length = _number(script, "line", name, "length", 1.0)
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


def _loads(script: _Script, there: Mapping[str, tuple[int, ...]], kv: float) -> list[NetworkLoad]:
    """
    Args:
        kv: nominal, from phase to phase.
    """
    loads, away = [], []
    for name, given in script.of("load").items():
        if not _flag(given.get("enabled", "yes")):
            continue
        count = int(_number(script, "load", name, "phases", 3))
        if given.get("conn", "wye").lower().startswith(("d", "ll")):
            raise script.error("load", name, "stands between phases (delta); homes stand between a phase and neutral")
        if "bus1" not in given:
            raise script.error("load", name, "has no bus")
        bus, nodes = _bus(script, "load", name, given["bus1"], count)
        if len(nodes) != count:
            raise script.error("load", name, f"has {count} phases but is at nodes {given['bus1']}")
        if bus not in there:
            away.append(name)
            continue
        own, nominal = _number(script, "load", name, "kv", 12.47), kv / np.sqrt(3) if count == 1 else kv
        if not _is_near(own, nominal):
            default = "" if "kv" in given else ", which is what OpenDSS takes where kv is not given"
            raise script.error("load", name, f"is made for {own:g} kV{default}, and stands where are {nominal:.3g}")
        if int(_number(script, "load", name, "model", 1)) != 1:
            script.remark("loads that depend on voltage are taken as constant powers")
        kw = _number(script, "load", name, "kw", 10.0)
        factor = _number(script, "load", name, "pf", 0.88)
        kvar = _number(script, "load", name, "kvar", kw * np.sign(factor) * np.sqrt(1 / factor**2 - 1))
        load = NetworkLoad(name, Connection(bus, tuple(sorted(n - 1 for n in nodes))), kw, kvar)
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
