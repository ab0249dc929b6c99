"""`gridpact live` as it is started: what cannot be shown is said in one sentence, with exit status 2."""

from __future__ import annotations

import csv
import json
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from waiting import until

from gridpact.chain.networks import Network
from gridpact.cli import live, main
from gridpact.errors import InputError
from gridpact.live.household import HouseholdFolder, settings_in
from gridpact.live.store import FORMAT, Store
from gridpact.live.view import rounds
from unit.chain.synthetic import Played, played, star


@pytest.fixture(scope="module")
def play(anvil: Network) -> Iterator[Played]:
    made = played(anvil, star(2), steps=6)
    yield made
    made.close()


@pytest.fixture(autouse=True)
def ends(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C comes at once."""
    monkeypatch.setattr(live, "wait", lambda: None)


def sentence(capsys: pytest.CaptureFixture[str], *arguments: object) -> str:
    """What a command that cannot go on says."""
    assert main(["live", *map(str, arguments)]) == 2
    told = capsys.readouterr().err
    assert re.fullmatch(r"gridpact: [^\n]+\n", told), told
    return told


def test_withoutContracts_isRefused(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--contracts" in sentence(capsys)


def test_runInMemory_hasNoPage(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["run", "--case", "tiny3", "--chain", "memory", "--live", "--out", str(tmp_path / "out")]) == 2
    assert "--live shows what a chain tells" in capsys.readouterr().err


def test_run_isShownWhileItGoesOn(capsys: pytest.CaptureFixture[str], tmp_path: Path, anvil: Network) -> None:
    """And its history stays beside the results."""
    out = tmp_path / "out"
    assert main(["run", "--case", "tiny3", "--scenario", "t", "--live", "--port", "0", "--out", str(out)]) == 0
    said = capsys.readouterr()
    assert re.search(r"^Live page: http://127\.0\.0\.1:\d+/$", said.out, re.MULTILINE)
    assert "until Ctrl-C" in said.err
    store = Store(out / "live.db")
    assert [one["phase"] for one in rounds(store)] == ["converged"]
    assert len(store.events(1, "Delivered")) == 3
    store.close()


def test_sealedRun_showsWhatItCarriedOut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The chain tells neither powers nor voltages of a sealed round; a run has played all homes, and found them."""
    told: dict[str, Any] = {}

    def looked() -> None:
        with urlopen(f"{said[0]}events") as answer:
            for line in answer:
                if line.startswith(b"event: "):
                    part = line.split()[1].decode()
                elif line.startswith(b"data: "):
                    told[part] = json.loads(line[6:])
                if "day" in told and (told.get("plan") or {}).get("own"):
                    return

    said: list[str] = []
    page = live.RunPage.__enter__
    monkeypatch.setattr(live.RunPage, "__enter__", lambda self: (page(self), said.append(self.url))[0])
    monkeypatch.setattr(live, "wait", looked)
    out = tmp_path / "out"
    assert main(["run", "--case", "tiny3", "--live", "--port", "0", "--out", str(out)]) == 0
    assert told["round"]["sealed"]
    rows = list(csv.DictReader((out / "voltages.csv").open()))
    voltage = told["plan"]["voltage_pu"]
    assert {(row["node"], int(row["step"])): round(float(row["voltage_pu"]), 5) for row in rows} == {
        (node, step): value for node, series in voltage.items() for step, value in enumerate(series)
    }
    schedules = list(csv.DictReader((out / "schedules.csv").open()))
    by_node: dict[str, list[float]] = {}
    for row in schedules:
        by_node.setdefault(row["node"], []).append(float(row["injection_kw"]))
    for node, series in by_node.items():
        assert told["plan"]["injection_kw"][node] == pytest.approx(series, abs=1e-4)


def test_recordThatIsNone_isRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no record" in sentence(capsys, "--contracts", tmp_path / "none.json", "--rpc", "http://127.0.0.1:1")
    assert "no record" in sentence(capsys, "--network", "sepolia", "--contracts", tmp_path / "none.json")


def test_historyThatIsNone_isRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "no history" in sentence(capsys, "--history", tmp_path / "none.db")
    (text := tmp_path / "text").write_text("a text" * 1000)
    assert "not a database" in sentence(capsys, "--history", text, "--port", 0)


def test_historyOfANewerVersion_isRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    store = Store(path := tmp_path / "history.db")
    store._db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    store.close()
    assert "newer" in sentence(capsys, "--history", path, "--port", 0)


def test_portInUse_isRefused(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    Store(path := tmp_path / "history.db").close()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert f"port {port} (address already in use)" in sentence(capsys, "--history", path, "--port", port)


def test_contractsOfSomebodyElse_areRefused(
    play: Played, capsys: pytest.CaptureFixture[str], tmp_path: Path, anvil: Network
) -> None:
    play.record.write(path := tmp_path / "contracts.json")
    values = json.loads(path.read_text())
    history = ("--history", tmp_path / "history.db", "--port", 0, "--rpc", anvil.rpc_url)
    for change in ({"aggregator": values["token"]}, {"aggregator": values["manager"]}, {"chain_id": 5}):
        path.write_text(json.dumps(values | change))
        assert "mistake in gridpact" not in sentence(capsys, "--contracts", path, *history)


def test_chainThatIsAway_isSaid_andThePageIsServed(
    play: Played, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    play.record.write(path := tmp_path / "contracts.json")
    history = tmp_path / "deep" / "history.db"
    assert main(["live", "--contracts", str(path), "--rpc", "http://127.0.0.1:1", "--history", str(history),
                 "--port", "0"]) == 0  # fmt: skip
    said = capsys.readouterr().out
    assert re.search(r"does not answer.*goes on when the chain answers", said)
    assert re.search(r"Live page: http://127\.0\.0\.1:\d+/ ", said)
    assert history.is_file()


def test_historyIsKept_andShownAlone(
    play: Played, anvil: Network, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    play.record.write(path := tmp_path / "contracts.json")
    number = play.open()
    history = tmp_path / "history.db"
    arguments = [
        "live",
        "--contracts",
        str(path),
        "--rpc",
        str(anvil.rpc_url),
        "--history",
        str(history),
        "--port",
        "0",
    ]

    def stored() -> bool:
        store = Store(history)
        try:
            return len(store.events(number, "RoundStarted")) == 1
        finally:
            store.close()

    monkeypatch.setattr(live, "wait", lambda: until(stored))
    assert main(arguments) == 0
    monkeypatch.setattr(live, "wait", lambda: None)
    assert main(["live", "--history", str(history), "--community", "tiny3", "--port", "0"]) == 0
    assert f"shows what is stored in {history}" in capsys.readouterr().out
    until(lambda: not [one for one in threading.enumerate() if one.name.startswith("live-")], "a thread is left")


def test_household_readsWhatItsNodeWrote(tmp_path: Path) -> None:
    folder = tmp_path / "home"
    arguments = ["household", "new", "--node", "3", "--out", str(folder), "--name", "Zoë"]
    (tmp_path / "password").write_text("of a test only")
    assert main([*arguments, "--partners", "1,2", "--password-file", str(tmp_path / "password")]) == 0
    home = HouseholdFolder(settings_in(folder), "0xA")
    assert (home.node, home.name) == (3, "Zoë")
    assert home.on(20260701, 4)["schedule"] is None
    schedule = {"status": "agreed", "round": 4, "steps": [{"injection_kw": 1.0}]}
    (folder / "schedule").mkdir(exist_ok=True)
    (folder / "schedule" / "2026-07-01.json").write_text(json.dumps(schedule))
    (folder / "state" / "0xA").mkdir(parents=True)
    view = {"household": {"load_kw": [0.5], "pv_kw": [1.5]}}
    (folder / "state" / "0xA" / "round-4.view.json").write_text(json.dumps(view))
    told = home.on(20260701, 4)
    assert (told["schedule"], told["load_kw"], told["pv_kw"]) == (schedule, [0.5], [1.5])
    assert home.on(20260701, 5)["load_kw"] is None
    for broken in ("{", "[1]", '"x"', "[" * 100_000, "\0"):
        (folder / "schedule" / "2026-07-01.json").write_text(broken)
        assert home.on(20260701, 4)["schedule"] is None
    assert settings_in(folder / "household.toml").node == 3


def test_household_thatIsNone_isRefused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no household.toml" in sentence(capsys, "--household", tmp_path)
    with pytest.raises(InputError, match=r"household\.toml"):
        settings_in(tmp_path / "none")
