"""`gridpact run --chain memory` as a user meets it: every way to agree, what is refused, where results go."""

from __future__ import annotations

import csv
import json
import multiprocessing
import shutil
from multiprocessing.synchronize import Event
from pathlib import Path

import pytest

from gridpact.cli import main
from gridpact.cli.options import in_use
from gridpact.cli.positions import label_of
from gridpact.community.read import shipped_cases
from gridpact.market.registry import NAMES, market_of
from gridpact.outcome.day import solve_day
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario
from gridpact.report import report
from gridpact.report.weeks import page as weeks_page


@pytest.fixture(autouse=True)
def without_png(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing them takes seconds."""
    for module in (report, weeks_page):
        monkeypatch.setattr(module, "png", lambda figure: b"")


def run(out: Path, *options: str) -> int:
    return main(["run", "--case", "tiny3", "--chain", "memory", "--out", str(out), *options])


WITHOUT_TRADES = ("truthful-auction",)
"""On `tiny3` one order stands against two at its steps, and nobody is left beside who sets the price."""


@pytest.mark.parametrize("name", NAMES)
def test_everyScenario_runsInMemory(name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "out", "--scenario", name) == 0
    told, said = capsys.readouterr()
    assert "in memory" in told
    assert "Gas" not in told
    assert "\r" not in said
    page = (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert market_of(NAMES[name]).words.label in page
    fields = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert (fields["scenario"], fields["chain"], fields["converged"]) == (name, "memory", True)
    assert "gas_total" not in fields
    with (tmp_path / "out" / "trades.csv").open(encoding="utf-8") as file:
        trades = list(csv.DictReader(file))
    assert len(trades) == fields["trades"]
    assert bool(trades) == (NAMES[name].has_trades and name not in WITHOUT_TRADES)
    assert sum(float(trade["amount"]) for trade in trades) == pytest.approx(fields["paid_total"], abs=1e-7)
    assert f"{fields['cost']:,.2f} EUR, losses in" in told


@pytest.mark.parametrize("name", NAMES)
def test_runAndStudySayTheSame(name: str) -> None:
    """What is paid, what is saved against B, trades, the gap: of one day the same figures."""
    from gridpact.community.read import read_community

    day = read_community("tiny3").on("1")
    ran, studied, alone = solved(day, NAMES[name]), solve_day(day, NAMES[name]), solve_day(day, Scenario.B)
    assert ran.cost.paid == pytest.approx(studied.cost, abs=1e-9)
    assert ran.paid_alone == pytest.approx(alone.cost, abs=1e-9)
    assert ran.optimum.paid == studied.optimum_cost
    assert ran.trades == studied.trades
    assert ran.implemented_gap == studied.gap
    assert ran.traded_kwh == studied.traded_kwh


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--scenario", "a"], "there is no scenario 'a'; choose one of b, g, t, tg, call-auction"),
        (["--scenario", "game", "--chain", "eth-tester"], "no contract for scenario 'game'"),
        (["--scenario", "mid-market-rate", "--chain", "anvil"], "give --chain memory"),
        (["--mechanism", "call-auction", "--chain", "eth-tester", "--relay"], "--relay is for b, t, g and tg"),
        (["--mechanism", "double-auction-gate", "--chain", "eth-tester", "--live"], "--live is for b, t, g and tg"),
        (["--mechanism", "call-auction", "--chain", "eth-tester", "--open"], "--open is for b, t, g and tg"),
        (["--relay"], "--relay is for a chain"),
        (["--out", ""], "--out is empty"),
        (["--out", " "], "--out is empty"),
        (["--chain", "remembrance"], "there is no chain 'remembrance'"),
    ],
)
def test_whatDoesNotFit_isRefusedByName(
    options: list[str],
    message: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert run(tmp_path / "out", *options) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_anotherRun_doesNotTakeThePlaceOfOne(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert run(out, "--scenario", "b") == 0
    before = (out / "result.json").read_bytes()
    assert run(out, "--scenario", "t") == 2
    assert "holds results of scenario b" in capsys.readouterr().err
    assert (out / "result.json").read_bytes() == before
    assert run(out, "--scenario", "b") == 0  # the same again is


def _hold(folder: Path, holding: Event, done: Event) -> None:
    with in_use(folder):
        holding.set()
        done.wait(120)


def test_twoAtOnce_theSecondIsRefused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    context = multiprocessing.get_context("spawn")
    holding, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(tmp_path / "out", holding, done))
    other.start()
    try:
        assert holding.wait(120)  # a busy machine takes its time to start a process
        assert run(tmp_path / "out", "--scenario", "b") == 2
        assert "another gridpact writes its results" in capsys.readouterr().err
        assert not (tmp_path / "out").exists()
    finally:
        done.set()
        other.join(30)
    assert run(tmp_path / "out", "--scenario", "b") == 0


def test_auctionInAStudy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "study"
    command = ["study", "--case", "tiny3", "--scenarios", "call-auction,t", "--jobs", "1", "--out", str(out)]
    assert main(command) == 0
    told, said = capsys.readouterr()
    assert "in call auction" in told
    assert "In call auction no optimum is promised" in told
    assert "\r" not in said
    fields = json.loads((out / "study.json").read_text(encoding="utf-8"))
    assert fields["scenarios"] == ["b", "t", "call-auction"]
    costs = {name: of["economic"]["total_costs"]["value"] for name, of in fields["periods"][0]["scenarios"].items()}
    assert costs["t"] < costs["call-auction"] < costs["b"]
    assert "call auction, as traded" in fields["periods"][0]["fairness"]
    page = (out / "index.html").read_text(encoding="utf-8")
    assert market_of(NAMES["call-auction"]).words.paragraph.split(".")[1] in page


def test_junction_isInTheReport(tmp_path: Path) -> None:
    """A cabinet without a household has a voltage as well, beside those of the households."""
    folder = Path(shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "mine"))
    feeder = folder / "feeder.csv"
    feeder.write_text(feeder.read_text().replace("\n1,0,", "\n4,0,100,0.2,0.08\n1,4,"))
    assert main(["run", "--case", str(folder), "--chain", "memory", "--out", str(tmp_path / "out")]) == 0
    with (tmp_path / "out" / "voltages.csv").open(encoding="utf-8") as file:
        assert {row["node"] for row in csv.DictReader(file)} == {"1", "2", "3", "4"}


@pytest.mark.parametrize("scenario", ["t", "g", "tg"])
def test_dayThatCostsNothing_hasNoParts(scenario: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Homes that use nothing: whatever rounding leaves, nothing of nothing is saved, and no gap is a fraction of it."""
    folder = Path(shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "mine"))
    for table in ("load_kw.csv", "pv_kw.csv"):
        header, *rows = (folder / table).read_text().splitlines()
        rows = [",".join([row.split(",")[0], *("0" for _ in row.split(",")[1:])]) for row in rows]
        (folder / table).write_text("\n".join([header, *rows]) + "\n")
    homes = folder / "households.csv"
    header, *rows = homes.read_text().splitlines()
    columns = header.split(",")
    kept = [k for k, name in enumerate(columns) if not name.startswith(("battery", "car"))]
    homes.write_text("\n".join(",".join(row.split(",")[k] for k in kept) for row in (header, *rows)) + "\n")
    options = ["--scenario", scenario, "--out", str(tmp_path / "out")]
    assert main(["run", "--case", str(folder), "--chain", "memory", *options]) == 0
    assert "(each on its own: 0.00)" in capsys.readouterr().out
    fields = json.loads((tmp_path / "out" / "result.json").read_text(encoding="utf-8"))
    assert abs(fields["implemented_gap"] or 0) < 1e-3


@pytest.mark.parametrize(("told", "number"), [("2026-12-22", 20261222), ("20261222", 20261222), ("610", 610)])
def test_positions_areOfADay_byItsDateOrItsNumber(told: str, number: int) -> None:
    assert label_of(told) == number


@pytest.mark.parametrize("told", ["", "tomorrow", "2026-1x-01", "²"])
def test_positions_areOfNoOtherDay(told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["positions", "--day", told, "--contracts", "no.json", "--rpc", "http://127.0.0.1:1"]) == 2
    assert "is no day such as 2026-12-22" in capsys.readouterr().err
