"""The sources of the contracts as the compiler takes them, for an explorer to compile again."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from gridpact.errors import InputError

ROOT = Path(__file__).resolve().parents[3]
"""Of the repository: the sources of the contracts are no part of the package."""

CONTRACTS, MODULES = "contracts", "node_modules"
REMAPPINGS = ["@openzeppelin=node_modules/@openzeppelin"]
SETTINGS: dict[str, Any] = {
    "optimizer": {"enabled": True, "runs": 300},
    "evmVersion": "shanghai",
    "remappings": REMAPPINGS,
    "metadata": {"bytecodeHash": "none"},
    "outputSelection": {"*": {"*": ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}},
}
"""Those of brownie-config.yaml and deploy/solc."""

IMPORT = re.compile(r"^\s*import\s[^;]*?\"([^\"]+)\"\s*;", re.MULTILINE)


def standard_json(root: Path = ROOT) -> dict[str, Any]:
    """Solidity's standard JSON input of all contracts: the order of functions depends on what is compiled together.

    Raises:
        InputError: this is no clone of the repository with `make setup` done.
    """
    todo = sorted(path.relative_to(root).as_posix() for path in (root / CONTRACTS).rglob("*.sol"))
    if not todo:
        raise InputError(
            f"The sources of the contracts are not at {root / CONTRACTS}: verify them from a clone of the repository."
        )
    sources: dict[str, dict[str, str]] = {}
    while todo:
        name = todo.pop()
        if name in sources:
            continue
        try:
            text = (root / name).read_text(encoding="utf-8")
        except OSError as error:
            raise InputError(f"The source {name} cannot be read ({error.strerror}): run `make setup`.") from error
        sources[name] = {"content": text}
        todo += [_resolved(name, imported) for imported in IMPORT.findall(text)]
    return {"language": "Solidity", "sources": dict(sorted(sources.items())), "settings": SETTINGS}


def source_of(contract: str, sources: dict[str, Any]) -> str:
    """The file and name of a contract, as an explorer wants it: `contracts/referee/Referee.sol:Referee`."""
    for path in sources:
        if path.startswith(f"{CONTRACTS}/") and path.endswith(f"/{contract}.sol"):
            return f"{path}:{contract}"
    raise InputError(f"There is no source of the contract {contract}: verify from a clone of the repository.")


def _resolved(importer: str, imported: str) -> str:
    for remapping in REMAPPINGS:
        prefix, _, target = remapping.partition("=")
        if imported.startswith(prefix):
            return target + imported[len(prefix) :]
    parts = importer.split("/")[:-1]
    for part in imported.split("/"):
        if part == "..":
            parts.pop()
        elif part != ".":
            parts.append(part)
    return "/".join(parts)
