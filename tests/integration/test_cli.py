"""Bad input on the command line: one sentence, exit status 2, no traceback, and nothing half-written."""

from __future__ import annotations

import errno
import json
import re
import shutil
import signal
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import gridpact.chain.networks
import gridpact.run.launch
import gridpact.run.onchain
from gridpact.chain.keys import new_key
from gridpact.chain.keystore import create_keystore
from gridpact.chain.transport import connect
from gridpact.cli import main
from gridpact.community.read import shipped_cases
from integration.conftest import Deployed

NOBODY = "http://127.0.0.1:1"  # a port that nothing may listen on


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A chain that does not answer is not waited for; signals stay as pytest wants them."""
    monkeypatch.setattr(gridpact.chain.networks, "connect", lambda url, patience=0.1: connect(url, 0.1))
    monkeypatch.setattr(gridpact.run.launch, "connect", lambda url: connect(url, 0.1))
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


def complaint(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 2) -> str:
    """Runs a command that must fail, and returns its one sentence. What a run did before are lines that end in dots."""
    assert main(arguments) == status
    out, err = capsys.readouterr()
    *stages, sentence = err.splitlines()
    assert all(line.endswith(" ...") for line in stages), err
    assert sentence.startswith("gridpact: ")
    assert not any(smell in err + out for smell in ("Traceback", 'File "', "KeyError", "TypeError", "object at 0x"))
    return sentence.removeprefix("gridpact: ")


# ---------------------------------------------------------------------- gridpact run


RUN: dict[str, tuple[list[str], tuple[str, ...]]] = {
    "case": (["--case", "fontana17"], ("fontana17", "tiny3")),
    "missing file": (["--case", "no/such/community.toml"], ("no/such/community.toml", "no community file")),
    "day": (["--case", "tiny3", "--day", "2"], ("no day '2'", "its days are 1")),
    "scenario": (["--case", "tiny3", "--scenario", "x"], ("scenario 'x'", "b, g, t, tg, call-auction")),
    "agreement": (["--case", "tiny3", "--network-agreement", "none"], ("'none'", "neighbours, dso")),
    "chain name": (["--case", "tiny3", "--chain", "mainnet"], ("'mainnet'", "ganache, anvil, eth-tester")),
    "chain scheme": (
        ["--case", "tiny3", "--chain", "ftp://127.0.0.1"],
        ("ftp://127.0.0.1", "http:// or ws://"),
    ),
    "option": (["--cases", "tiny3"], ("--cases", "--help")),
    "option without value": (["--case"], ("--case", "expected one argument", "--help")),
}


@pytest.mark.parametrize("what", RUN)
def test_run_complains(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, what: str
) -> None:
    """Before anything is solved."""
    monkeypatch.setattr(gridpact.run.onchain.Optimum, "of", lambda *_: pytest.fail("a day was solved"))
    arguments, said = RUN[what]
    sentence = complaint(capsys, ["run", "--out", str(tmp_path / "out"), *arguments])
    for part in said:
        assert part in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("url", [NOBODY, "ws://127.0.0.1:1"])
def test_run_onAChainThatDoesNotAnswer(tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str) -> None:
    sentence = complaint(capsys, ["run", "--case", "tiny3", "--chain", url, "--out", str(tmp_path / "out")])
    assert "127.0.0.1:1" in sentence
    assert list(tmp_path.iterdir()) == []


def test_run_ofABrokenCommunity(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """One complaint through the whole command; `tests/unit/community` has the others."""
    mine = Path(shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "mine"))
    (mine / "feeder.csv").write_text((mine / "feeder.csv").read_text().replace("3,1,", "3,7,"))
    sentence = complaint(capsys, ["run", "--case", str(mine), "--out", str(tmp_path / "out")])
    assert "feeder.csv, row 4, column 'parent'" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_run_ofAnInfeasibleDay(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [
        "run",
        "--case",
        "stress16",
        "--day",
        "12-25",
        "--chain",
        "eth-tester",
        "--out",
        str(tmp_path / "out"),
    ]
    sentence = complaint(capsys, arguments, status=3)
    assert "12-25" in sentence
    assert "voltage" in sentence
    assert "0.95" in sentence
    assert list(tmp_path.iterdir()) == []


WRITING: dict[str, list[str]] = {
    "run": ["--case", "tiny3", "--chain", "eth-tester"],
    "study": ["--case", "tiny3"],
    "penetration": ["--case", "tiny3"],
    "sensitivity": ["--case", "tiny3"],
    "uncertainty": ["--case", "tiny3"],
    "community new": ["--from", "nowhere", "--price", "0.2"],
    "household new": ["--node", "1"],
    "deploy": ["--network", "local"],
    "node": ["--contracts", "c", "--household", "h", "--key-file", "k", "--rpc", NOBODY],
}


@pytest.mark.parametrize("command", WRITING)
@pytest.mark.parametrize(
    "where", ["/proc/x/out", "file/x/out", f"{300 * 'x'}/out", "full/out"], ids=["proc", "file", "long", "full"]
)
def test_out_whereNothingCanBeWritten(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, where: str
) -> None:
    """Before anything is read or solved: not even the bar is drawn."""

    def full(path: Path, content: bytes) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if where.startswith("full"):
        monkeypatch.setattr(Path, "write_bytes", full)
    (tmp_path / "file").write_text("")
    assert main([*command.split(), *WRITING[command], "--out", str(tmp_path / where)]) == 2
    out, err = capsys.readouterr()
    assert re.fullmatch(
        r"gridpact: the results cannot be written to '.*': '.*' is no folder that can be written to \(.+\); "
        r"choose another place\n",
        err,
    )
    assert out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_run_leavesAForeignFolderAlone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("mine")
    sentence = complaint(capsys, ["run", "--case", "tiny3", "--chain", "eth-tester", "--out", str(tmp_path)])
    assert sentence == f"'{tmp_path}' holds an index.html that is of no run; choose another folder with --out"


def test_noCommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--help" in complaint(capsys, [])


def test_unknownCommand(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'walk'" in complaint(capsys, ["walk"])


def test_cases_listsAll(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cases"]) == 0
    said = capsys.readouterr().out
    for name in ("amsterdam16", "fontana16", "stress16", "tiny3"):
        assert f"{name}: " in said


@pytest.mark.parametrize(
    "arguments",
    [
        ["--help"],
        *([command, "--help"] for command in ("run", "node", "relay", "audit", "account", "cases")),
        ["--version"],
    ],
)
def test_help_isThere(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 0
    assert "gridpact" in capsys.readouterr().out


# ---------------------------------------------------------------------- gridpact node


def node_arguments(deployed: Deployed, out: Path, **changes: Any) -> list[str]:
    values = {
        "contracts": deployed.contracts,
        "household": deployed.household(1),
        "key-file": deployed.key(1),
        "rpc": deployed.url,
        "out": out,
    } | {name.replace("_", "-"): value for name, value in changes.items()}
    return ["node", *(str(part) for name, value in values.items() for part in (f"--{name}", value))]


def test_node_missingFiles(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for option in ("contracts", "household", "key_file"):
        changes = {option: tmp_path / "nowhere"}
        sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", **changes))
        assert str(tmp_path / "nowhere") in sentence
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", ["", "garbage", "[]", "{}", '{"format": 1}', '{"format": 99}'])
@pytest.mark.parametrize("option", ["contracts", "household"])
def test_node_garbageFiles(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, content: str
) -> None:
    (tmp_path / "broken").write_text(content)
    changes = {option: tmp_path / "broken"}
    sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", **changes))
    assert "broken" in sentence
    assert [path.name for path in tmp_path.iterdir()] == ["broken"]


@pytest.mark.parametrize("content", ["", "0x12", "not a key", "0x" + 64 * "0", "clé"])
def test_node_garbageKey(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str) -> None:
    (tmp_path / "key").write_text(content)
    sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", key_file=tmp_path / "key"))
    assert "key" in sentence
    assert not content or content not in sentence  # no key on a screen
    assert not (tmp_path / "out").exists()


def test_node_keyNotEnrolled(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", key_file=deployed.key("stranger")))
    assert "NotEnrolled" in sentence or "not enrolled" in sentence
    assert not (tmp_path / "out").exists()


def test_node_keyOfAnother(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", key_file=deployed.key(2)))
    assert "enrolled as node 2" in sentence
    assert "node 1" in sentence


def test_node_fileOfAnotherCommunity(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = json.loads(deployed.household(1).read_text())
    values["step_hours"] = 1.0
    (tmp_path / "household").write_text(json.dumps(values))
    sentence = complaint(capsys, node_arguments(deployed, tmp_path / "out", household=tmp_path / "household"))
    assert "4 steps of 3600 s" in sentence
    assert "4 of 21600 s" in sentence


WRONG_RECORDS: dict[str, Any] = {
    "no contract there": lambda record: record.update(aggregator="0x" + 40 * "1"),
    "another contract there": lambda record: record.update(aggregator=record["token"]),
    "no settlement there": lambda record: record.update(settlement="0x" + 40 * "1"),
    "no address": lambda record: record.update(aggregator="0x12"),
    "another chain": lambda record: record.update(chain_id=5),
    "ABI of another contract": lambda record: record.update(aggregator_abi=record["token_abi"]),
    "ABI empty": lambda record: record.update(aggregator_abi=[]),
    "ABI no list": lambda record: record.update(aggregator_abi="theta()"),
    "ABI of garbage": lambda record: record.update(aggregator_abi=[1, 2]),
    "ABI without types": lambda record: record.update(aggregator_abi=[{"name": "theta"}]),
    "ABI of another version": lambda record: [
        entry["outputs"].pop() for entry in record["aggregator_abi"] if entry.get("name") == "setting"
    ],
    "ABI without a function": lambda record: record.update(
        aggregator_abi=[entry for entry in record["aggregator_abi"] if entry.get("name") != "nodeOf"]
    ),
}


@pytest.mark.parametrize("what", WRONG_RECORDS)
def test_node_wrongRecord(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str) -> None:
    record = deployed.changed_record(tmp_path / "record.json", WRONG_RECORDS[what])
    complaint(capsys, node_arguments(deployed, tmp_path / "out", contracts=record))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("url", [NOBODY, "ws://127.0.0.1:1", "nonsense", "http://"])
def test_node_onAChainThatDoesNotAnswer(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    complaint(capsys, node_arguments(deployed, tmp_path / "out", rpc=url))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("url", ["nonsense", "ftp://127.0.0.1"])
def test_node_relayWithoutAddress(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    assert f"'{url}'" in complaint(capsys, node_arguments(deployed, tmp_path / "out", relay=url))
    assert not (tmp_path / "out").exists()


def test_node_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--contracts" in complaint(capsys, ["node", "--rpc", NOBODY])


# ---------------------------------------------------------------------- gridpact relay, gridpact audit


def service_arguments(command: str, deployed: Deployed, **changes: Any) -> list[str]:
    values = {"contracts": deployed.contracts, "rpc": deployed.url}
    if command == "relay":
        values |= {"key-file": deployed.key("stranger")}
    values |= {name.replace("_", "-"): value for name, value in changes.items()}
    return [command, *(str(part) for name, value in values.items() for part in (f"--{name}", value))]


@pytest.mark.parametrize("command", ["relay", "audit"])
def test_service_missingFiles(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    for option in ("contracts", "key_file") if command == "relay" else ("contracts",):
        changes = {option: tmp_path / "nowhere"}
        assert str(tmp_path / "nowhere") in complaint(capsys, service_arguments(command, deployed, **changes))


@pytest.mark.parametrize("url", [NOBODY, "ws://127.0.0.1:1", "nonsense"])
@pytest.mark.parametrize("command", ["relay", "audit"])
def test_service_onAChainThatDoesNotAnswer(
    deployed: Deployed, capsys: pytest.CaptureFixture[str], command: str, url: str
) -> None:
    complaint(capsys, service_arguments(command, deployed, rpc=url))


@pytest.mark.parametrize("what", ["another contract there", "another chain", "ABI of another contract"])
@pytest.mark.parametrize("command", ["relay", "audit"])
def test_service_wrongRecord(
    deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, what: str
) -> None:
    record = deployed.changed_record(tmp_path / "record.json", WRONG_RECORDS[what])
    complaint(capsys, service_arguments(command, deployed, contracts=record))


def test_relay_portThatCannotBe(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert str(port) in complaint(capsys, service_arguments("relay", deployed, port=port))
    assert "65536" in complaint(capsys, service_arguments("relay", deployed, port=65536))
    assert "'http'" in complaint(capsys, service_arguments("relay", deployed, port="http"))


def test_relay_takesAKeystore(deployed: Deployed, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Opened before anything else is looked at; with a wrong password it says so."""
    create_keystore(tmp_path / "relay.json", new_key(), "the right one", scrypt_n=2**4)
    (tmp_path / "password").write_text("the right one\n")
    (tmp_path / "wrong").write_text("another one\n")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        place = ["--contracts", str(deployed.contracts), "--rpc", deployed.url, "--port", str(port)]
        command = ["relay", *place, "--keystore", str(tmp_path / "relay.json"), "--password-file"]
        assert str(port) in complaint(capsys, [*command, str(tmp_path / "password")])
        assert "does not open with this password" in complaint(capsys, [*command, str(tmp_path / "wrong")])
        both = [*command, str(tmp_path / "password"), "--key-file", str(deployed.key("stranger"))]
        assert "not allowed with" in complaint(capsys, both)


def test_audit_ofNothing(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    """No round was opened here."""
    assert "no round was opened" in complaint(capsys, service_arguments("audit", deployed))
    assert "no round was opened" in complaint(capsys, service_arguments("audit", deployed, round=7))
    assert "'one'" in complaint(capsys, service_arguments("audit", deployed, round="one"))


def test_auditPrivacy_needsWhatIsTrue(deployed: Deployed, capsys: pytest.CaptureFixture[str]) -> None:
    assert "--community" in complaint(capsys, [*service_arguments("audit", deployed), "--privacy"])
    assert "--privacy" in complaint(capsys, service_arguments("audit", deployed, community="tiny3"))
