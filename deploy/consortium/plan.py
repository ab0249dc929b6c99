"""What a consortium network consists of: its folder, validators, ports and members. Engines add what is their own."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

BLOCK_GAS = 60_000_000
"""Gas of a block: twice mainnet's of 2024. The last submission of an iteration is allowed 15 M, the others 1 M each."""

MANAGER_ETHER = 1_000_000
"""What the manager's account owns in the genesis block. It hands out what members need for gas."""

PORTS_EACH = 10

NOBODY = "0x" + 40 * "0"


class ConsortiumError(Exception):
    """One sentence: what is wrong, where, what to do."""


@dataclass(frozen=True)
class Validator:
    """One validator: its folder, the machine it runs on as the others reach it, and its ports there."""

    number: int  # from 1
    folder: Path
    host: str
    base_port: int

    @property
    def name(self) -> str:
        return f"validator-{self.number}"

    @property
    def http_port(self) -> int:
        return self.base_port

    @property
    def ws_port(self) -> int:
        return self.base_port + 1

    @property
    def p2p_port(self) -> int:
        return self.base_port + 2

    @property
    def status_port(self) -> int:
        """Of the consensus engine's own RPC, where it has one."""
        return self.base_port + 3

    @property
    def metrics_port(self) -> int:
        return self.base_port + 4

    @property
    def spare_port(self) -> int:
        return self.base_port + 5

    @property
    def rpc(self) -> str:
        """JSON-RPC, for programs on the validator's own machine."""
        return f"ws://127.0.0.1:{self.ws_port}"

    @property
    def pid_file(self) -> Path:
        return self.folder / "pid"

    @property
    def log(self) -> Path:
        return self.folder / "log.txt"


@dataclass(frozen=True)
class Plan:
    """A network before it exists.

    Args:
        accounts: who may send transactions, besides the manager; None: everybody who has ether.
    """

    folder: Path
    validators: tuple[Validator, ...]
    manager: str  # address
    accounts: tuple[str, ...] | None

    @staticmethod
    def of(folder: Path, hosts: Sequence[str], base_port: int, manager: str, accounts: tuple[str, ...] | None) -> Plan:
        """Validators on `hosts`, one after the other. Ports differ also where hosts do."""
        if len(hosts) < 4:
            raise ConsortiumError(
                f"a network of {len(hosts)} validators halts as soon as one is away: give four or more hosts"
            )
        validators = tuple(
            Validator(number, folder / f"validator-{number}", host, base_port + PORTS_EACH * (number - 1))
            for number, host in enumerate(hosts, 1)
        )
        return Plan(folder, validators, manager, accounts)

    @property
    def members(self) -> tuple[str, ...] | None:
        """All accounts that may send transactions; None: no list."""
        return None if self.accounts is None else tuple(dict.fromkeys((self.manager, *self.accounts)))


@dataclass(frozen=True)
class Started:
    """A network that was prepared, as `network.json` in its folder says."""

    folder: Path
    engine: str
    chain_id: int
    manager: str
    permissioned: bool
    containers: bool
    validators: tuple[Validator, ...]

    def write(self) -> None:
        document = {
            "engine": self.engine,
            "chain_id": self.chain_id,
            "manager": self.manager,
            "permissioned": self.permissioned,
            "containers": self.containers,
            "validators": [
                {"number": v.number, "host": v.host, "base_port": v.base_port, "rpc": v.rpc} for v in self.validators
            ],
        }
        (self.folder / "network.json").write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

    @staticmethod
    def read(folder: Path) -> Started:
        try:
            document = json.loads((folder / "network.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise ConsortiumError(f"there is no network in '{folder}': start one with deploy/consortium/up") from None
        validators = tuple(
            Validator(v["number"], folder / f"validator-{v['number']}", v["host"], v["base_port"])
            for v in document["validators"]
        )
        return Started(
            folder,
            document["engine"],
            document["chain_id"],
            document["manager"],
            document["permissioned"],
            document["containers"],
            validators,
        )

    @property
    def chain(self) -> str:
        """What `gridpact run --chain` takes: all endpoints, over which it spreads the nodes."""
        return ",".join(validator.rpc for validator in self.validators)


class Engine(Protocol):
    """An existing engine: how its own tools make keys and genesis, and how a validator starts."""

    name: str
    version: str
    chain_id: int

    def prepare(self, plan: Plan) -> None:
        """Makes every validator's folder: keys, genesis, settings, permissions."""

    def command(self, validator: Validator) -> list[str]:
        """Starts a validator. The working directory is its folder."""


def execute(command: Sequence[str | Path], text: str | None = None) -> str:
    """Runs one of the engine's own tools and returns what it printed.

    Raises:
        ConsortiumError: it is missing, or it failed; with its last line.
    """
    words = [str(word) for word in command]
    try:
        done = subprocess.run(words, input=text, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        raise ConsortiumError(
            f"the program '{words[0]}' was not found: see docs/consortium.md for the engines"
        ) from None
    if done.returncode != 0:
        lines = [line for line in (done.stderr + done.stdout).splitlines() if line.strip()]
        errors = [line for line in lines if "error" in line.lower()] or lines or ["it printed nothing"]
        raise ConsortiumError(f"`{' '.join(words[:6])} ...` failed: {errors[0].strip()}")
    return done.stdout


def set_toml(text: str, table: str, values: dict[str, object]) -> str:
    """A TOML file with other values in one table ("" for what stands before the first).

    Raises:
        ConsortiumError: a key is not there; the engine is of another version.
    """
    lines, here, missing = text.splitlines(), "", dict(values)
    for index, line in enumerate(lines):
        stripped = line.strip()
        if stripped.startswith("[") and stripped.endswith("]"):
            here = stripped.strip("[]")
        key = stripped.partition("=")[0].strip()
        if here == table and key in missing:
            lines[index] = f"{key} = {json.dumps(missing.pop(key))}"
    if missing:
        raise ConsortiumError(f"there is no '{next(iter(missing))}' in [{table}]: the engine is of another version")
    return "\n".join(lines) + "\n"
