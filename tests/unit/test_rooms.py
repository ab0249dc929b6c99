"""Which room may import which: the table in CONTRIBUTING.md is the rule, and the sources keep it."""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "clients" / "gridpact"
ROW = re.compile(r"^\| `clients/gridpact/(\w+)/` \|[^|]*\| ?([^|]*?) ?\|$", re.MULTILINE)
GROUND = {"errors", "events", "files", "limits", "text", "__version__"}
"""What everybody stands on."""

FACE = {"__init__", "__main__", "face"}
"""The package's face is made of all rooms, and no room imports it."""

NO_WORLD = {"grid", "problem", "market"}
"""Rooms that are mathematics: no files, no network, no processes."""
WORLD = {"pathlib", "os", "io", "tempfile", "shutil", "socket", "subprocess", "multiprocessing", "urllib", "requests"}

CHAIN_PACKAGES = {"web3", "eth_account", "eth_abi", "eth_keys", "eth_utils", "eth_typing", "eth_tester", "hexbytes"}
CHAIN_TYPES = {"service", "manage", "cli"}
"""Rooms that name types of web3; they ask the chain by the room `chain`."""


def imports(path: Path) -> Iterator[tuple[str, ...]]:
    """Dotted names of all that a file imports, wherever in it, split."""
    for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(statement, ast.Import):
            yield from (tuple(alias.name.split(".")) for alias in statement.names)
        elif isinstance(statement, ast.ImportFrom):
            assert not statement.level, f"{path}: a relative import"
            module = tuple((statement.module or "").split("."))
            yield from (module if len(module) > 1 else (*module, alias.name) for alias in statement.names)


def room_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE).parts
    return parts[0] if len(parts) > 1 else path.stem


def rule() -> dict[str, set[str]]:
    """Room -> rooms that it may import, from the table."""
    rows = ROW.findall((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))
    every = {room for room, _ in rows}
    allowed: dict[str, set[str]] = {}
    for room, text in rows:
        named = set(re.findall(r"`(\w+)`", text))
        assert named <= every, f"{room}: {named - every} are no rooms"
        if text.startswith("all but"):
            allowed[room] = every - named
        elif text.startswith("all above"):
            allowed[room] = allowed.keys() | named
        else:
            allowed[room] = every if text == "all" else named
    return allowed


SOURCES = sorted(PACKAGE.rglob("*.py"))


def test_table_hasAllRooms() -> None:
    rooms = {path.name for path in PACKAGE.iterdir() if path.is_dir() and any(path.glob("*.py"))}
    assert rule().keys() == rooms
    assert {path.stem for path in PACKAGE.glob("*.py")} <= GROUND | FACE


@pytest.mark.parametrize("room", rule())
def test_room_importsWhatItMay(room: str) -> None:
    allowed = rule()[room] | GROUND | {room}
    outside = [
        (path.relative_to(PACKAGE).as_posix(), name[1])
        for path in SOURCES
        if room_of(path) == room
        for name in imports(path)
        if name[0] == "gridpact" and name[1] not in allowed
    ]
    assert not outside


def test_ground_standsOnNothing() -> None:
    for path in PACKAGE.glob("*.py"):
        if path.stem in GROUND:
            assert not [name for name in imports(path) if name[0] == "gridpact" and name[1] not in GROUND]


@pytest.mark.parametrize("room", sorted(NO_WORLD))
def test_mathematics_doesNoInputOrOutput(room: str) -> None:
    found = {
        (path.name, name[0]) for path in SOURCES if room_of(path) == room for name in imports(path) if name[0] in WORLD
    }
    assert not found


def test_web3_staysInTheChain() -> None:
    rooms = {room_of(path) for path in SOURCES for name in imports(path) if name[0] in CHAIN_PACKAGES}
    assert rooms <= {"chain"} | CHAIN_TYPES


def test_texts_areParsedInOnePlace() -> None:
    """A parser runs off its stack where lists lie in lists: `files.parse_json` and `parse_toml` look first."""
    bare = re.compile(r"\bjson\.loads?\(|\btomllib\.loads?\(|\.json\(\)")
    found = {path.name for path in SOURCES if bare.search(path.read_text(encoding="utf-8"))}
    assert found == {"files.py"}


def test_package_importsNothingOfTheRepository() -> None:
    """What measures, deploys and tests is not in the wheel."""
    outside = {"measure", "tests", "deploy", "brownie", "pytest", "hypothesis"}
    assert not outside & {name[0] for path in SOURCES for name in imports(path)} - set(sys.stdlib_module_names)


def test_noTwoClassesShareAName() -> None:
    """A class is called by its name alone where it is used: one name, one meaning."""
    places: dict[str, list[str]] = {}
    for path in [*SOURCES, *sorted((ROOT / "clients" / "measure").rglob("*.py"))]:
        for statement in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(statement, ast.ClassDef):
                places.setdefault(statement.name, []).append(f"{path.relative_to(ROOT)}:{statement.lineno}")
    assert not {name: where for name, where in places.items() if len(where) > 1}
