"""`gridpact study` as a user meets it: exit statuses, one-sentence errors, a second run that solves nothing."""

from __future__ import annotations

import errno
import json
from pathlib import Path

import pytest

from gridpact.chain import networks
from gridpact.chain.transport import connect
from gridpact.cli import main
from gridpact.problem.scenario import Scenario
from gridpact.report.weeks import page
from gridpact.study.weeks import store
from gridpact.study.weeks.plan import Order, Trace

from .conftest import SUMMER_DAY, two_days


@pytest.fixture(autouse=True)
def without_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes seconds; `test_page` has them."""
    monkeypatch.setattr(page, "png", lambda figure: b"")


def test_a_study_from_a_community_file(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    case, out = str(two_days(tmp_path)), str(tmp_path / "out")
    command = ["study", "--case", case, "--days", SUMMER_DAY, "--scenarios", "t", "--jobs", "1", "--out", out]
    assert main(command) == 0
    told, said = capsys.readouterr()
    assert "Every check of every day held." in told
    assert "taken over" not in said
    assert (tmp_path / "out" / "index.html").is_file()
    assert sorted(path.name for path in (tmp_path / "out" / "days").iterdir()) == [
        f"{SUMMER_DAY}_b.json",
        f"{SUMMER_DAY}_t.json",
        f"{SUMMER_DAY}_t_gaps.json",
    ]
    before = (tmp_path / "out" / "study.json").read_bytes()
    for task in (Order, Trace):
        monkeypatch.setattr(task, "solve", lambda self: pytest.fail(f"{self.name} was solved again"))
    assert main([*command, "--json"]) == 0
    assert (tmp_path / "out" / "study.json").read_bytes() == before
    told, said = capsys.readouterr()
    assert said.count(f"\n2 of 2 plans taken over from {out}\n") == said.count("taken over") == 1
    fields = json.loads(told)
    assert fields["scenarios"] == [Scenario.B.value, Scenario.T.value]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--days", "1,9"], "has no day '9'"),
        (["--scenarios", "b"], "name at least one of g, t, tg"),
        (["--scenarios", "t,x"], "there is no scenario 'x'"),
        (["--jobs", "0"], "--jobs 0 must be at least 1"),
        (["--relay"], "--relay is for a chain"),
        (["--network-agreement", "star"], "there is no network agreement 'star'"),
        (["--case", "tiny4"], "there is no case and no community file 'tiny4'"),
        (["--days", ","], "--days is empty; give names with commas between them"),
        (["--scenarios", ""], "--scenarios is empty"),
        (["--year"], "has a day '1', which is no date"),
        (["--chain", "foo"], "there is no chain 'foo'; choose one of memory, ganache, anvil, eth-tester, or give"),
        (["--chain", "anvil"], "the chain anvil needs the npm package"),
        (["--chain", "ftp://127.0.0.1"], "begin it with http:// or ws://"),
        (["--chain", "ws://127.0.0.1:1"], "127.0.0.1:1"),
    ],
)
def test_what_cannot_be_used(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Refused before anything is solved, and before there is a bar."""
    monkeypatch.setattr(Order, "solve", lambda self: pytest.fail(f"{self.name} was solved"))
    monkeypatch.setattr(networks.shutil, "which", lambda name: None)
    monkeypatch.setattr(networks.os, "access", lambda *_: False)
    monkeypatch.setattr(networks, "connect", lambda url, patience=0.1: connect(url, 0.1))
    assert main(["study", "--case", "tiny3", "--out", str(tmp_path / "out"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "index.html").write_text("mine")
    assert main(["study", "--case", "tiny3", "--out", str(tmp_path)]) == 2
    assert "of no study" in capsys.readouterr().err
    assert (tmp_path / "index.html").read_text() == "mine"
    assert not (tmp_path / "days").exists()


def test_a_disk_that_runs_full_loses_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With room again the same command goes on from the first plan."""
    out, write, solve = tmp_path / "out", store.write_atomically, Order.solve
    command = ["study", "--case", "tiny3", "--scenarios", "t", "--jobs", "1", "--out", str(out)]

    def until_full(path: Path, text: str) -> None:
        if list(path.parent.glob("*.json")):
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, text)

    monkeypatch.setattr(store, "write_atomically", until_full)
    assert main(command) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith(f"gridpact: '{out / 'days'}' takes no more files (No space left on device); make room")
    assert [path.name for path in (out / "days").iterdir()] == ["1_t.json"]

    solved: list[str] = []
    monkeypatch.setattr(store, "write_atomically", write)
    monkeypatch.setattr(Order, "solve", lambda self: (solved.append(self.name), solve(self))[1])
    assert main(command) == 0
    assert solved == ["1_b"]


def test_no_day_has_a_plan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    case = two_days(tmp_path)
    feeder = case.parent / "feeder.csv"
    feeder.write_text(feeder.read_text().replace(",50,", ",6000,"))
    command = ["study", "--case", str(case), "--days", SUMMER_DAY, "--scenarios", "tg", "--jobs", "1"]
    assert main([*command, "--out", str(tmp_path / "out")]) == 3
    said = capsys.readouterr().err
    assert "no day has a plan in all scenarios; for example: 'tiny3' has no feasible plan" in said
    assert not (tmp_path / "out" / "index.html").exists()
