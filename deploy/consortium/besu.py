"""Hyperledger Besu with QBFT, from an unpacked distribution (BESU_HOME) or as containers."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

from plan import BLOCK_GAS, MANAGER_ETHER, ConsortiumError, Plan, Validator, execute

VERSION = "25.12.0"
IMAGE = f"hyperledger/besu:{VERSION}"
HERE = Path(__file__).resolve().parent

IN_CONTAINER = Path("/opt/consortium")
"""Where a container sees its validator's folder."""


class Besu:
    """`besu operator generate-blockchain-config` makes the validators' keys and the genesis block."""

    name = "besu"
    version = VERSION

    def __init__(self, containers: bool) -> None:
        self._containers = containers
        self._genesis = json.loads((HERE / "qbft.json").read_text(encoding="utf-8"))
        self.chain_id: int = self._genesis["genesis"]["config"]["chainId"]

    def prepare(self, plan: Plan) -> None:
        plan.folder.mkdir(parents=True, exist_ok=True)
        genesis = self._genesis
        genesis["genesis"]["gasLimit"] = hex(BLOCK_GAS)
        genesis["genesis"]["alloc"] = {plan.manager[2:].lower(): {"balance": hex(MANAGER_ETHER * 10**18)}}
        genesis["blockchain"]["nodes"]["count"] = len(plan.validators)
        given = plan.folder / "qbft.json"
        given.write_text(json.dumps(genesis, indent=2) + "\n", encoding="utf-8")
        made = plan.folder / "generated"
        self._generate(plan.folder, given, made)
        keys = sorted((made / "keys").iterdir())
        if len(keys) != len(plan.validators):
            raise ConsortiumError(f"Besu made {len(keys)} keys for {len(plan.validators)} validators: see '{made}'")
        enodes = []
        for validator, folder in zip(plan.validators, keys, strict=True):
            validator.folder.mkdir(parents=True)
            shutil.copy(made / "genesis.json", validator.folder / "genesis.json")
            key = validator.folder / "key"
            shutil.copy(folder / "key", key)
            key.chmod(0o600)
            public = (folder / "key.pub").read_text(encoding="ascii").strip().removeprefix("0x")
            enodes.append(f"enode://{public}@{validator.host}:{validator.p2p_port}")
        shutil.rmtree(made)
        for index, validator in enumerate(plan.validators):
            (validator.folder / "config.toml").write_text(config(plan, validator), encoding="utf-8")
            permissions = permission_lists(plan, enodes)
            (validator.folder / "permissions_config.toml").write_text(permissions, encoding="utf-8")
            others = enodes[:index] + enodes[index + 1 :]
            (validator.folder / "static-nodes.json").write_text(json.dumps(others, indent=2) + "\n", encoding="utf-8")

    def command(self, validator: Validator) -> list[str]:
        return [self._besu(), "--config-file=config.toml"]

    def _besu(self) -> str:
        home = os.environ.get("BESU_HOME")
        if not home:
            raise ConsortiumError("BESU_HOME is not set: give the folder of an unpacked Besu distribution")
        return str(Path(home) / "bin" / "besu")

    def _generate(self, folder: Path, given: Path, made: Path) -> None:
        arguments = ("operator", "generate-blockchain-config", "--private-key-file-name=key")
        if self._containers:
            user, mount = f"{os.getuid()}:{os.getgid()}", f"{folder.resolve()}:{IN_CONTAINER}"
            docker = ("docker", "run", "--rm", "--user", user, "--volume", mount, IMAGE)
            paths = (f"--config-file={IN_CONTAINER / given.name}", f"--to={IN_CONTAINER / made.name}")
            execute([*docker, *arguments, *paths])
        else:
            execute([self._besu(), *arguments, f"--config-file={given}", f"--to={made}"])


def config(plan: Plan, validator: Validator) -> str:
    """A validator's settings. Paths are relative to its folder, JSON-RPC answers on its own machine only."""
    members_only = plan.members is not None
    values: dict[str, object] = {
        "data-path": "data",
        "genesis-file": "genesis.json",
        "node-private-key-file": "key",
        "static-nodes-file": "static-nodes.json",
        "sync-mode": "FULL",
        "p2p-host": validator.host,
        "p2p-interface": validator.host,
        "p2p-port": validator.p2p_port,
        "discovery-enabled": False,
        "nat-method": "NONE",
        "permissions-nodes-config-file-enabled": True,
        "permissions-nodes-config-file": "permissions_config.toml",
        "permissions-accounts-config-file-enabled": members_only,
        **({"permissions-accounts-config-file": "permissions_config.toml"} if members_only else {}),
        "min-gas-price": 0,
        "target-gas-limit": BLOCK_GAS,
        "tx-pool": "SEQUENCED",
        "tx-pool-limit-by-account-percentage": 1.0,
        "rpc-http-enabled": True,
        "rpc-http-host": "127.0.0.1",
        "rpc-http-port": validator.http_port,
        "rpc-http-api": ["ETH", "NET", "WEB3", "QBFT", "PERM", "TXPOOL"],
        "rpc-max-logs-range": 0,  # no limit: nodes look back to when a round was opened, some to the deployment
        "rpc-ws-enabled": True,
        "rpc-ws-host": "127.0.0.1",
        "rpc-ws-port": validator.ws_port,
        "rpc-ws-api": ["ETH", "NET", "WEB3"],
        "host-allowlist": ["127.0.0.1", "localhost"],
        "metrics-enabled": True,
        "metrics-host": "127.0.0.1",
        "metrics-port": validator.metrics_port,
        "logging": "INFO",
    }
    title = f"# {validator.name} of a gridpact consortium: Besu {VERSION}, QBFT."
    return "\n".join([title, *(f"{key}={json.dumps(value)}" for key, value in values.items())]) + "\n"


def permission_lists(plan: Plan, enodes: list[str]) -> str:
    """Who may connect and who may send transactions: Besu's local permissions."""
    lines = [f"nodes-allowlist={json.dumps(enodes)}"]
    if plan.members is not None:
        lines.append(f"accounts-allowlist={json.dumps([member.lower() for member in plan.members])}")
    return "\n".join(lines) + "\n"
