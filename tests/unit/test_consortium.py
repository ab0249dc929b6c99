"""The consortium's configuration, without an engine: one genesis, ports and peers that fit, permissions, compose."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import yaml

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parents[2]
CONSORTIUM = ROOT / "deploy" / "consortium"
MANAGER = "0x52908400098527886E0F7030069857D2E4169EE7"
MEMBER = "0xde709f2102306220921060314715629080e2fb77"

# What `besu operator generate-blockchain-config` leaves behind, for as many keys as the file asks for.
FAKE_BESU = """#!/usr/bin/env python3
import json, pathlib, sys
options = dict(word[2:].split("=", 1) for word in sys.argv[1:] if "=" in word)
assert sys.argv[1:3] == ["operator", "generate-blockchain-config"], sys.argv
given = json.loads(pathlib.Path(options["config-file"]).read_text())
made = pathlib.Path(options["to"])
for number in range(given["blockchain"]["nodes"]["count"]):
    keys = made / "keys" / f"0x{number:040x}"
    keys.mkdir(parents=True)
    (keys / options["private-key-file-name"]).write_text(f"0x{number + 1:064x}")
    (keys / f"{options['private-key-file-name']}.pub").write_text(f"0x{number + 1:0128x}")
(made / "genesis.json").write_text(json.dumps({**given["genesis"], "extraData": "0x00"}))
"""


@pytest.fixture
def modules(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The scripts of deploy/consortium, which import each other by their plain names."""
    monkeypatch.syspath_prepend(str(CONSORTIUM))
    names = ("plan", "besu", "evmd", "consortium")
    yield {name: importlib.import_module(name) for name in names}
    for name in names:
        sys.modules.pop(name, None)


@pytest.fixture
def besu_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    program = tmp_path / "besu" / "bin" / "besu"
    program.parent.mkdir(parents=True)
    program.write_text(FAKE_BESU)
    program.chmod(0o755)
    monkeypatch.setenv("BESU_HOME", str(tmp_path / "besu"))
    return program


def prepared(modules: dict[str, ModuleType], folder: Path, *options: str) -> Path:
    status = modules["consortium"].main(
        ["up", "--folder", str(folder), "--prepare-only", "--manager", MANAGER, *options]
    )
    assert status == 0
    return folder


def settings(folder: Path, number: int) -> dict[str, Any]:
    return tomllib.loads((folder / f"validator-{number}" / "config.toml").read_text())


def permissions(folder: Path, number: int) -> dict[str, Any]:
    return tomllib.loads((folder / f"validator-{number}" / "permissions_config.toml").read_text())


def test_besu_allValidatorsShareOneGenesis(modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path) -> None:
    folder = prepared(modules, tmp_path / "network")
    texts = {(folder / f"validator-{number}" / "genesis.json").read_text() for number in range(1, 5)}
    assert len(texts) == 1
    genesis = json.loads(texts.pop())
    config = genesis["config"]
    assert config["qbft"]["blockperiodseconds"] == 1
    assert config["zeroBaseFee"]
    assert config["shanghaiTime"] == 0  # PUSH0, which the contracts use
    assert genesis["alloc"][MANAGER[2:].lower()]["balance"] == hex(10**24)
    assert config["chainId"] == json.loads((folder / "network.json").read_text())["chain_id"]
    assert not (folder / "generated").exists()  # keys are in one place only


def test_besu_runsTheFork_forWhichTheContractsAreCompiled() -> None:
    compiled = yaml.safe_load((ROOT / "brownie-config.yaml").read_text())["compiler"]["solc"]["evm_version"]
    config = json.loads((CONSORTIUM / "qbft.json").read_text())["genesis"]["config"]
    forks = ("shanghai", "cancun", "prague", "osaka")
    newest = max(fork for fork in range(len(forks)) if f"{forks[fork]}Time" in config)
    assert forks.index(compiled) <= newest


def test_besu_peersAndPermissionsFitThePorts(modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path) -> None:
    folder = prepared(modules, tmp_path / "network", "--hosts", "10.0.0.1,10.0.0.2,10.0.0.3,10.0.0.1")
    own = {}
    for number in range(1, 5):
        values = settings(folder, number)
        key = int((folder / f"validator-{number}" / "key").read_text(), 16)
        own[number] = f"enode://{key:0128x}@{values['p2p-host']}:{values['p2p-port']}"
    for number in range(1, 5):
        peers = json.loads((folder / f"validator-{number}" / "static-nodes.json").read_text())
        assert set(peers) == {enode for other, enode in own.items() if other != number}
        assert permissions(folder, number)["nodes-allowlist"] == list(own.values())
    assert [settings(folder, number)["p2p-host"] for number in range(1, 5)] == [
        "10.0.0.1",
        "10.0.0.2",
        "10.0.0.3",
        "10.0.0.1",
    ]


def test_besu_answersOnThisMachineOnly_onPortsOfItsOwn(
    modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path
) -> None:
    folder = prepared(modules, tmp_path / "network", "--base-port", "9100")
    ports = []
    for number in range(1, 5):
        values = settings(folder, number)
        assert {values[f"{what}-host"] for what in ("rpc-http", "rpc-ws", "metrics")} == {"127.0.0.1"}
        ports += [values[key] for key in ("rpc-http-port", "rpc-ws-port", "p2p-port", "metrics-port")]
        for key in ("genesis-file", "node-private-key-file", "static-nodes-file", "permissions-nodes-config-file"):
            assert (folder / f"validator-{number}" / values[key]).exists()
        assert (folder / f"validator-{number}" / "key").stat().st_mode & 0o077 == 0
        assert values["rpc-max-logs-range"] == 0
    assert len(set(ports)) == len(ports)
    network = json.loads((folder / "network.json").read_text())
    assert [v["rpc"] for v in network["validators"]] == [
        f"ws://127.0.0.1:{settings(folder, n)['rpc-ws-port']}" for n in range(1, 5)
    ]


def test_besu_permissionsAccounts_whereMembersAreNamed(
    modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path
) -> None:
    accounts = tmp_path / "accounts.txt"
    accounts.write_text(f"# members\n{MEMBER}  # house 1\n\n{MANAGER}\n")
    folder = prepared(modules, tmp_path / "members", "--accounts", str(accounts))
    assert settings(folder, 1)["permissions-accounts-config-file-enabled"]
    assert permissions(folder, 3)["accounts-allowlist"] == [MANAGER.lower(), MEMBER.lower()]
    folder = prepared(modules, tmp_path / "open")
    assert not settings(folder, 1)["permissions-accounts-config-file-enabled"]
    assert "accounts-allowlist" not in permissions(folder, 1)


def test_compose_startsWhatWasPrepared(modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path) -> None:
    folder = prepared(modules, tmp_path / "network")
    services = yaml.safe_load((CONSORTIUM / "compose.yaml").read_text())["services"]
    network = json.loads((folder / "network.json").read_text())
    assert list(services) == [f"validator-{v['number']}" for v in network["validators"]]
    for name, service in services.items():
        source, _, target = service["volumes"][0].partition(":")
        assert source == f"${{CONSORTIUM}}/{name}"
        assert target == service["working_dir"] == str(modules["besu"].IN_CONTAINER)
        assert service["network_mode"] == "host"  # so that the settings of processes serve
        (option,) = service["command"]
        assert (folder / name / option.partition("=")[2]).exists()
    variables = {"BESU_IMAGE", "BESU_USER", "CONSORTIUM"}
    text = (CONSORTIUM / "compose.yaml").read_text()
    source_code = (CONSORTIUM / "consortium.py").read_text()
    for variable in variables:
        assert f"${{{variable}}}" in text
        assert f"{variable}=" in source_code


def test_evmd_genesis_permissionsAndFreeGas(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    zero = "0.100000000000000000"
    genesis: dict[str, Any] = {
        "consensus": {"params": {"block": {"max_gas": "-1"}}},
        "app_state": {
            "feemarket": {"params": {"no_base_fee": False, "base_fee": zero, "min_gas_multiplier": zero}},
            "mint": {
                "minter": {"inflation": zero},
                "params": {"inflation_rate_change": zero, "inflation_max": zero, "inflation_min": zero},
            },
            "slashing": {"params": {"signed_blocks_window": "100", "slash_fraction_downtime": zero}},
            "evm": {"params": {"evm_denom": "atest"}},
            "bank": {},
        },
    }
    hosts = ["127.0.0.1"] * 4
    plan = modules["plan"].Plan.of(tmp_path, hosts, 9200, MANAGER, (MEMBER,))
    state = modules["evmd"].adapted(genesis, plan)["app_state"]
    assert state["feemarket"]["params"]["no_base_fee"]
    assert float(state["mint"]["minter"]["inflation"]) == 0
    access = state["evm"]["params"]["access_control"]
    assert access["create"]["access_control_list"] == [MANAGER]
    assert access["call"]["access_control_list"] == [MANAGER, MEMBER, "0x" + 40 * "0"]
    assert {entry["access_type"] for entry in access.values()} == {"ACCESS_TYPE_PERMISSIONED"}


def test_evmd_givesTheWholeLog(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """With settings as the engine writes them: its own caps end a community after three hours of blocks."""
    plan = modules["plan"].Plan.of(tmp_path, ["127.0.0.1"] * 4, 9200, MANAGER, ())
    validator = plan.validators[0]
    tables = {
        "config.toml": {
            "": ("log_level",),
            "p2p": (
                *("laddr", "persistent_peers", "unconditional_peer_ids", "private_peer_ids", "pex", "send_rate"),
                *("max_num_inbound_peers", "addr_book_strict", "allow_duplicate_ip", "recv_rate"),
                *("persistent_peers_max_dial_period", "flush_throttle_timeout"),
            ),
            "rpc": ("laddr", "pprof_laddr"),
            "consensus": ("timeout_commit", "timeout_propose", "timeout_propose_delta", "peer_gossip_sleep_duration"),
        },
        "app.toml": {
            "": ("minimum-gas-prices",),
            **dict.fromkeys(("api", "grpc", "grpc-web"), ("enable",)),
            "evm": ("evm-chain-id",),
            "json-rpc": (
                *("enable", "api", "address", "ws-address", "gas-cap", "txfee-cap", "logs-cap", "block-range-cap"),
                *("allow-insecure-unlock", "enable-indexer", "metrics-address"),
            ),
        },
    }
    for name, parts in tables.items():
        lines = [
            line
            for table, keys in parts.items()
            for line in ([f"[{table}]"] if table else []) + [f"{k} = 1" for k in keys]
        ]
        path = modules["evmd"]._config(validator) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("\n".join(lines) + "\n")
    modules["evmd"].configure(validator, [])
    told = tomllib.loads((modules["evmd"]._config(validator) / "app.toml").read_text())["json-rpc"]
    assert min(told["block-range-cap"], told["logs-cap"]) == 2**31 - 1
    assert told["txfee-cap"] == 0


def test_setToml_changesOneTableOnly(modules: dict[str, ModuleType]) -> None:
    text = 'port = 1\n[a]\nport = 2\n[b]\nport = 3  # remark\nother = "x"\n'
    changed = tomllib.loads(modules["plan"].set_toml(text, "b", {"port": 4}))
    assert changed == {"port": 1, "a": {"port": 2}, "b": {"port": 4, "other": "x"}}
    assert tomllib.loads(modules["plan"].set_toml(text, "", {"port": 4}))["a"]["port"] == 2
    with pytest.raises(modules["plan"].ConsortiumError, match="no 'missing' in \\[a\\]"):
        modules["plan"].set_toml(text, "a", {"missing": 1})


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--engine", "parity"], "no engine 'parity'"),
        (["--hosts", "127.0.0.1,127.0.0.1,127.0.0.1"], "halts as soon as one is away"),
        (["--manager", "0x12"], "is no address"),
        (["--containers", "--engine", "evmd"], "for besu only"),
        (["--accounts", "nowhere.txt"], "cannot be read"),
    ],
)
def test_up_saysWhatIsWrong_inOneSentence(
    modules: dict[str, ModuleType], besu_home: Path, tmp_path: Path, options: list[str], complaint: str
) -> None:
    with pytest.raises(modules["plan"].ConsortiumError, match=complaint):
        modules["consortium"].main(["up", "--folder", str(tmp_path / "network"), "--prepare-only", *options])
    assert not (tmp_path / "network" / "network.json").exists()


def test_up_withoutAnEngine_leavesNothing(
    modules: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("BESU_HOME", raising=False)
    with pytest.raises(modules["plan"].ConsortiumError, match="BESU_HOME is not set"):
        prepared(modules, tmp_path / "network")
    assert not (tmp_path / "network").exists()


def test_processes_startAndEnd(modules: dict[str, ModuleType], tmp_path: Path) -> None:
    """With a program that only sleeps, in the place of an engine's."""
    consortium, plan = modules["consortium"], modules["plan"]

    class Sleeper:
        name, chain_id = "sleeper", 1

        def command(self, validator: object) -> list[str]:
            return ["sleep", "600"]

    validator = plan.Validator(1, tmp_path / "validator-1", "127.0.0.1", 9300)
    validator.folder.mkdir()
    assert consortium.pid_of(validator) is None
    consortium.start_process(Sleeper(), validator)
    pid = consortium.pid_of(validator)
    assert pid is not None
    consortium.start_process(Sleeper(), validator)
    assert consortium.pid_of(validator) == pid  # it runs already
    consortium.end_process(validator)
    assert consortium.pid_of(validator) is None
    assert subprocess.run(["kill", "-0", str(pid)], capture_output=True, check=False).returncode != 0
    validator.pid_file.write_text("1\n")  # of somebody else by now
    assert consortium.pid_of(validator) is None
