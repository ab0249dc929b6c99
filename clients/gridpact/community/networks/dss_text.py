"""OpenDSS text: commands, elements and their properties, numbers; `opendss.py` makes a feeder of them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import add, mul, sub, truediv
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.street import Complex
from gridpact.errors import InputError
from gridpact.files import reason_of

COMMANDS = frozenset(
    [
        *("solve", "calcvoltagebases", "calcv", "setkvbase", "makebuslist", "interpolate", "buscoords"),
        *("show", "plot", "export", "close", "closedi"),
    ]
)
"""Commands that say nothing about the network."""

Properties = dict[str, str]


@dataclass
class Script:
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


def run(path: Path, script: Script, above: tuple[Path, ...], named: str = "") -> None:
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
        if verb in ("~", "m", "more"):
            if last is None:
                raise InputError(f"{where}: '{verb}' goes on with an element, and none begins above it in this file")
            _set(script, last, rest, where)
        elif verb in ("new", "edit"):
            last = _define(script, verb, rest, where)
        elif verb in ("redirect", "compile"):
            if not rest:
                raise InputError(f"{where}: '{verb}' names no file")
            run(path.parent / rest[0][1].replace("\\", "/"), script, (*above, path), where)
            last = None
        elif verb in ("clear", "clearall"):
            script.elements.clear()
            script.where.clear()
            last = None
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


def _define(script: Script, verb: str, rest: list[tuple[str, str]], where: str) -> tuple[str, str]:
    if not rest:
        raise InputError(f"{where}: '{verb}' names no element")
    kind, dot, name = rest[0][1].lower().partition(".")
    if not dot or not name:
        raise InputError(f"{where}: '{rest[0][1]}' is not an element like Line.name")
    if kind != "circuit" and "circuit" not in script.elements:
        raise InputError(f"{where}: {kind} '{name}' stands before the circuit that it belongs to")
    elements = script.elements.setdefault(kind, {})
    if verb == "new" and name in elements:
        raise InputError(f"{where}: {kind} '{name}' stands a second time, first at {script.where[kind, name]}")
    if verb == "edit" and name not in elements:
        raise InputError(f"{where}: {kind} '{name}' is edited but was not defined")
    if verb == "new":
        elements[name], script.where[kind, name] = {}, where
    _set(script, (kind, name), rest[1:], where)
    return kind, name


def _set(script: Script, of: tuple[str, str], pairs: list[tuple[str, str]], where: str) -> None:
    kind, name = of
    properties = script.elements[kind][name]
    for given, value in pairs:
        if not given:
            raise InputError(f"{where}: {kind} '{name}' has the value '{value}' without a name; write name=value")
        if not value or "=" in value:
            raise InputError(f"{where}: {kind} '{name}' has nothing behind '{given}='")
        key = _property(kind, name, given, where)
        if key in REFUSED.get(kind, "like").split():
            raise InputError(
                f"{where}: {kind} '{name}' has '{key}', which is not planned with; write out what it is by other means"
            )
        if kind == "transformer" and key == "wdg":
            properties["wdg"] = value
            continue
        if kind == "transformer" and key in ("bus", "conn", "kv", "kva", "tap", "%r"):
            key = f"{key}@{properties.get('wdg', '1')}"
            if key == "kva@1":  # OpenDSS gives it to the other winding, too
                properties.pop("kva@2", None)
        properties.pop(key, None)  # so that they are in the order in which they count
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


REFUSED: Mapping[str, str] = {
    "circuit": "bus2 z2 isc3 isc1 puz1 puz0 puz2 model sequence like",
    "line": "like geometry spacing wires cncables tscables",
    "linecode": "like kron",
    "load": "like allocationfactor xfkva kva kwh rneut xneut",
    "transformer": "like rneut xneut xht xlt xscarray bank xfmrcode x12 x13 x23 rdcohms",
}
"""What changes currents and is not read."""

RANGES: Mapping[tuple[str, str], tuple[float, float]] = {
    ("circuit", "basekv"): (0.1, 1000),
    ("circuit", "pu"): (0.5, 1.5),
    ("circuit", "mvasc3"): (1e-3, 1e9),
    ("circuit", "mvasc1"): (1e-3, 1e9),
    ("circuit", "x1r1"): (0, 1e4),
    ("circuit", "x0r0"): (0, 1e4),
    ("transformer", "tap"): (0.5, 1.5),
    ("transformer", "kv"): (1e-3, 1e6),
    ("transformer", "%r"): (0, 50),
    ("transformer", "%loadloss"): (0, 50),
    ("transformer", "xhl"): (0, 50),
    ("load", "pf"): (-1, 1),
    ("load", "kw"): (-1e5, 1e5),
    ("load", "kvar"): (-1e5, 1e5),
    ("load", "model"): (1, 8),
    **{(kind, "normamps"): (1e-3, 1e5) for kind in ("line", "linecode")},
    **{(kind, "c1"): (0, 1e6) for kind in ("line", "linecode")},
    **{(kind, "c0"): (0, 1e6) for kind in ("line", "linecode")},
}
"""Of what there can be; capacitances of 1e6 nF a unit of length would change currents a lot."""


def outside(kind: str, key: str, value: float) -> str | None:
    """The end of a sentence about a value that cannot be."""
    low, high = RANGES.get((kind, key), (-np.inf, np.inf))
    return None if low <= value <= high else f"has {key}={value:g}, which is not between {low:g} and {high:g}"


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


def numbers(text: str) -> list[float]:
    return [float(part) for part in re.split(r"[\s,]+", text.strip("[](){} ")) if part]


def number(script: Script, kind: str, name: str, key: str, default: float) -> float:
    text = script.of(kind)[name].get(key)
    if text is None:
        return default
    try:
        if text[0] in "({" and any(sign in text for sign in "*+-/^"):
            value = _rpn(text.strip("(){} "))
        else:
            (value,) = numbers(text)
    except (ArithmeticError, TypeError, ValueError, IndexError):
        raise script.error(kind, name, f"has {key}={text}, which is not a number") from None
    if not np.isfinite(value):
        raise script.error(kind, name, f"has {key}={text}, which is not finite")
    if (fault := outside(kind, key, value)) is not None:
        raise script.error(kind, name, fault)
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


def matrix(script: Script, kind: str, name: str, key: str, size: int) -> Complex | None:
    text = script.of(kind)[name].get(key)
    if text is None:
        return None
    try:
        rows = [numbers(row) for row in text.strip("[](){} ").split("|")]
    except ValueError:
        raise script.error(kind, name, f"has {key}={text}, in which something is not a number") from None
    if not all(np.isfinite(value) for row in rows for value in row):
        raise script.error(kind, name, f"has {key}={text}, in which something is not finite")
    if [len(row) for row in rows] == list(range(1, size + 1)):  # the lower triangle
        return np.array([[rows[max(i, j)][min(i, j)] for j in range(size)] for i in range(size)], dtype=complex)
    if [len(row) for row in rows] != [size] * size:
        raise script.error(kind, name, f"has {key}={text}, not a matrix of its {size} phases")
    result = np.array(rows, dtype=complex)
    if np.any(result != result.T):
        raise script.error(kind, name, f"has {key}={text}, in which what two phases share is not the same both ways")
    return result


def flag(text: str) -> bool:
    return text.lower()[:1] in ("y", "t")


def bus(script: Script, kind: str, name: str, text: str, phases: int) -> tuple[str, tuple[int, ...]]:
    """Its name and the nodes that the element's conductors are at, 1 to 3; the neutral's 0 behind them is left out.

    Raises:
        InputError: a node is no number, or none of a feeder whose neutral is earthed.
    """
    bus, *nodes = text.lower().split(".")
    if not bus or any(not (node.isascii() and node.isdecimal()) for node in nodes):
        raise script.error(kind, name, f"is at {text!r}, which is no bus and its nodes like street.1.2")
    given = [int(node) for node in nodes] or list(range(1, min(phases, 3) + 1))
    chosen = [node for node in given if node in (1, 2, 3)]
    if given[: len(chosen)] != chosen or any(given[len(chosen) :]):
        raise script.error(
            kind, name, f"is at {text!r}; nodes are those of its phases, 1 to 3, and 0 behind them for the neutral"
        )
    return bus, tuple(chosen)
