"""Cosmos EVM (`evmd`): the EVM of go-ethereum on CometBFT, whose blocks are final at once, as QBFT's are.

The engine that the network was tested on where no Besu could be had. `build-evmd` builds it.
"""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

from plan import BLOCK_GAS, MANAGER_ETHER, NOBODY, ConsortiumError, Plan, Validator, execute, set_toml

VERSION = "0.3.2"
NETWORK = "gridpact-1"  # CometBFT's name of the chain; the EVM's chain id is another
DENOMINATION = "atest"  # what evmd pays gas in on the chain id below, 10**-18
STAKE = 10**21
PAUSE = "900ms"
"""Between a block and the next proposal. With what agreeing takes, blocks come each second."""


class Evmd:
    """`evmd init`, `keys`, `genesis` make the validators' keys and the genesis file."""

    name = "evmd"
    version = VERSION
    chain_id = 262144  # one of those that evmd knows

    def __init__(self) -> None:
        self._program = os.environ.get("EVMD") or shutil.which("evmd") or ""
        if not self._program:
            raise ConsortiumError("EVMD is not set: give the program that deploy/consortium/build-evmd built")

    def prepare(self, plan: Plan) -> None:
        first = plan.validators[0]
        genesis = _config(first) / "genesis.json"
        ids, operators = [], []
        for validator in plan.validators:
            validator.folder.mkdir(parents=True)
            self._run(validator, "config", "set", "client", "chain-id", NETWORK)
            self._run(validator, "init", validator.name, "--chain-id", NETWORK, "--default-denom", DENOMINATION)
            ids.append(self._run(validator, "comet", "show-node-id").strip())
            self._run(validator, "keys", "add", "operator", "--keyring-backend", "test", "--no-backup")
            shown = self._run(validator, "keys", "show", "operator", "--address", "--keyring-backend", "test")
            operators.append(shown.strip())
        genesis.write_text(json.dumps(adapted(json.loads(genesis.read_text(encoding="utf-8")), plan)), encoding="utf-8")
        for operator in operators:
            self._run(first, "genesis", "add-genesis-account", operator, f"{2 * STAKE}{DENOMINATION}")
        account = self._bech32(first, plan.manager)
        self._run(first, "genesis", "add-genesis-account", account, f"{MANAGER_ETHER * 10**18}{DENOMINATION}")
        signed = _config(first) / "gentx"
        signed.mkdir(exist_ok=True)
        for validator in plan.validators:
            own = _config(validator) / "genesis.json"
            if validator is not first:
                shutil.copy(genesis, own)
            document = signed / f"{validator.name}.json"
            self._run(
                validator,
                *("genesis", "gentx", "operator", f"{STAKE}{DENOMINATION}", "--chain-id", NETWORK),
                *("--keyring-backend", "test", "--moniker", validator.name, "--output-document", str(document)),
            )
        self._run(first, "genesis", "collect-gentxs")
        self._run(first, "genesis", "validate-genesis")
        peers = [f"{i}@{v.host}:{v.p2p_port}" for i, v in zip(ids, plan.validators, strict=True)]
        for index, validator in enumerate(plan.validators):
            if validator is not first:
                shutil.copy(genesis, _config(validator) / "genesis.json")
            configure(validator, peers[:index] + peers[index + 1 :])

    def command(self, validator: Validator) -> list[str]:
        return ["env", f"HOME={validator.folder}", self._program, "start"]

    def _run(self, validator: Validator, *arguments: str) -> str:
        # Some of its commands look for the chain's name below HOME only, whatever --home says.
        return execute(["env", f"HOME={validator.folder}", self._program, *arguments])

    def _bech32(self, validator: Validator, address: str) -> str:
        """An address in the form of the consensus engine."""
        shown = self._run(validator, "debug", "addr", address[2:])
        for line in shown.splitlines():
            label, _, value = line.partition(":")
            if label.strip().lower() == "bech32 acc":
                return value.strip()
        raise ConsortiumError(f"evmd says no address for {address}: it is of another version than {VERSION}")


def _config(validator: Validator) -> Path:
    return validator.folder / ".evmd" / "config"


def adapted(genesis: dict[str, Any], plan: Plan) -> dict[str, Any]:
    """The genesis file as a consortium needs it: free gas, no inflation, nobody punished for being away, members."""
    state = genesis["app_state"]
    genesis["consensus"]["params"]["block"]["max_gas"] = str(BLOCK_GAS)
    fees = state["feemarket"]["params"]
    fees["no_base_fee"] = True
    fees["base_fee"] = "0.000000000000000000"
    fees["min_gas_multiplier"] = "0.000000000000000000"  # what is paid for is what was used
    mint = state["mint"]
    mint["minter"]["inflation"] = "0.000000000000000000"
    for name in ("inflation_rate_change", "inflation_max", "inflation_min"):
        mint["params"][name] = "0.000000000000000000"
    absence = state["slashing"]["params"]
    absence["signed_blocks_window"] = "1000000"  # eleven days
    absence["slash_fraction_downtime"] = "0.000000000000000000"
    evm = state["evm"]["params"]
    evm["evm_denom"] = DENOMINATION
    state["bank"]["denom_metadata"] = [
        {
            "description": "Gas of the consortium",
            "denom_units": [
                {"denom": DENOMINATION, "exponent": 0, "aliases": []},
                {"denom": "test", "exponent": 18, "aliases": []},
            ],
            "base": DENOMINATION,
            "display": "test",
            "name": "Gas",
            "symbol": "GAS",
            "uri": "",
            "uri_hash": "",
        }
    ]
    if plan.members is not None:
        evm["access_control"] = {
            "create": {"access_type": "ACCESS_TYPE_PERMISSIONED", "access_control_list": [plan.manager]},
            # nobody can sign for the zero address, but calls that only read come from it
            "call": {"access_type": "ACCESS_TYPE_PERMISSIONED", "access_control_list": [*plan.members, NOBODY]},
        }
    return genesis


NO_CAP = 2**31 - 1
"""For settings that know no other word for it."""


def configure(validator: Validator, peers: list[str]) -> None:
    """A validator's settings: only the named peers, JSON-RPC on its own machine only."""
    path = _config(validator) / "config.toml"
    text = path.read_text(encoding="utf-8")
    names = ",".join(peer.partition("@")[0] for peer in peers)
    text = set_toml(text, "", {"log_level": "error"})
    text = set_toml(
        text,
        "p2p",
        {
            "laddr": f"tcp://{validator.host}:{validator.p2p_port}",
            "persistent_peers": ",".join(peers),
            "unconditional_peer_ids": names,
            "private_peer_ids": names,
            "pex": False,
            "max_num_inbound_peers": 0,  # beyond the unconditional ones: nobody else connects
            "addr_book_strict": False,
            "allow_duplicate_ip": True,
            "persistent_peers_max_dial_period": "1s",
            "flush_throttle_timeout": "10ms",
            "send_rate": 20_480_000,  # bytes a second
            "recv_rate": 20_480_000,
        },
    )
    text = set_toml(text, "rpc", {"laddr": f"tcp://127.0.0.1:{validator.status_port}", "pprof_laddr": ""})
    text = set_toml(
        text,
        "consensus",
        {
            "timeout_commit": PAUSE,
            "timeout_propose": "1s",
            "timeout_propose_delta": "200ms",
            "peer_gossip_sleep_duration": "10ms",
        },
    )
    path.write_text(text, encoding="utf-8")

    path = _config(validator) / "app.toml"
    text = path.read_text(encoding="utf-8")
    text = set_toml(text, "", {"minimum-gas-prices": f"0{DENOMINATION}"})
    text = set_toml(text, "api", {"enable": False})
    text = set_toml(text, "grpc", {"enable": False})
    text = set_toml(text, "grpc-web", {"enable": False})
    text = set_toml(text, "evm", {"evm-chain-id": Evmd.chain_id})
    text = set_toml(
        text,
        "json-rpc",
        {
            "enable": True,
            "api": "eth,net,web3,txpool",
            "address": f"127.0.0.1:{validator.http_port}",
            "ws-address": f"127.0.0.1:{validator.ws_port}",
            "gas-cap": BLOCK_GAS,
            "block-range-cap": NO_CAP,  # nodes look back to when a round was opened, some to the deployment
            "logs-cap": NO_CAP,
            "txfee-cap": 0,  # none: gas is free
            "allow-insecure-unlock": False,
            "enable-indexer": True,  # CometBFT's own loses the transactions of a block when it ends between the two
            "metrics-address": f"127.0.0.1:{validator.spare_port}",
        },
    )
    path.write_text(text, encoding="utf-8")
