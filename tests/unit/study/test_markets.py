"""Markets side by side: indices against other definitions, rows against the days they are of, and the command."""

from __future__ import annotations

import csv
import json
import math
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.cli import main
from gridpact.community.model import CommunityDay, Feeder
from gridpact.errors import InputError
from gridpact.market.registry import NAMES, SCENARIOS
from gridpact.outcome.day import solve_day
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario
from gridpact.report.markets import _answers
from gridpact.study.markets import MarketDay, MarketRow, MarketTask, _row, check_able, compare, gini
from gridpact.study.weeks.store import to_fields
from gridpact.study.weeks.workers import HERE

FIELDS = [
    *("mechanism", "day", "cost", "saving", "saving_share_of_optimum", "energy_shared_kwh", "gini", "worst_off"),
    *(
        "part_better_off",
        "peak_kw",
        "energy_balance",
        "power_flatness",
        "self_sufficiency",
        "steps_outside",
        "rounds",
        "bytes",
        "seconds",
        "gas",
    ),
]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=12).filter(lambda values: sum(values) > 0.01))
def test_gini_isOneLessTwiceTheAreaUnderLorenzCurve(values: list[float]) -> None:
    curve = np.concatenate([[0.0], np.cumsum(sorted(values)) / sum(values)])
    area = float(np.sum((curve[1:] + curve[:-1]) / 2)) / len(values)
    assert gini(np.array(values)) == pytest.approx(1 - 2 * area, abs=1e-9)


def test_gini_byHand() -> None:
    assert gini(np.array([1.0, 1.0, 1.0])) == 0
    assert gini(np.array([0.0, 0.0, 0.0, 8.0])) == 0.75  # one saves it all: 1 - 1/n
    assert gini(np.array([-2.0, 4.0])) == 1.5  # 2 x 6 / (2 x 4 x 1)
    assert gini(np.array([0.0, 0.0])) is None
    assert gini(np.array([-3.0, 1.0])) is None


def test_rowsAreTheDays(tiny3: CommunityDay, tmp_path: Path) -> None:
    """Against what a study has of the same day, whose bills are worked out by another path."""
    compared = compare([tiny3], [NAMES["bill-sharing"], Scenario.T, Scenario.G], tmp_path, HERE)
    assert [row.mechanism for row in compared.rows] == ["b", "bill-sharing", "t", "g"]
    alone = solve_day(tiny3, Scenario.B)
    for row, scenario in zip(compared.rows, compared.scenarios, strict=True):
        day = solve_day(tiny3, scenario)
        saved = [before.cost - home.cost for home, before in zip(day.households, alone.households, strict=True)]
        assert row.cost == pytest.approx(day.cost, abs=1e-6)
        assert row.saving == pytest.approx(math.fsum(saved), abs=1e-6)
        assert row.worst_off == pytest.approx(min(saved), abs=1e-6)
        assert row.peak_kw == pytest.approx(day.peak_kw, abs=1e-6)
        assert row.rounds == day.iterations
        low, high = day.voltage_limits_pu
        if low + 1e-3 < day.voltage_min_pu and day.voltage_max_pu < high - 1e-3:
            assert row.steps_outside == 0
        assert row.gas is None
        if scenario.has_trades:
            assert row.energy_shared_kwh == pytest.approx(day.traded_kwh, abs=1e-6)
    best = min(solved(tiny3, scenario).optimum.paid for scenario in (NAMES["call-auction"], Scenario.G))
    shares = {row.mechanism: row.saving_share_of_optimum for row in compared.rows}
    assert shares["t"] == pytest.approx(
        (alone.cost - solve_day(tiny3, Scenario.T).cost) / (alone.cost - best), abs=1e-6
    )
    assert shares["b"] == 0
    assert compared.totals[1].saving == compared.rows[1].saving  # one day is all days


def test_technicalIndices_areOfThePowersOfTheDay(tiny3: CommunityDay, tmp_path: Path) -> None:
    """What homes use, worked out from their devices instead of their meters; the feeder's side from its power flow."""
    compared = compare([tiny3], [Scenario.T, Scenario.G], tmp_path, HERE)
    for row, scenario in zip(compared.rows, compared.scenarios, strict=True):
        day = solve_day(tiny3, scenario)
        used = sum(
            home.schedule["load_kw"]
            + sum(home.schedule.get(into, 0.0) for into in ("charge_kw", "car_kw"))
            - home.schedule.get("discharge_kw", 0.0)
            for home in day.households
        )
        feeder, hours = np.abs(day.exchange_kw), day.step_hours
        assert row.self_sufficiency == pytest.approx(1 - day.import_kwh / (hours * float(np.sum(used))), abs=1e-6)
        assert row.power_flatness == pytest.approx(float(feeder.mean() / feeder.max()), abs=1e-9)
        meters = sum(float(np.abs(home.schedule["injection_kw"]).sum()) for home in day.households)
        assert row.energy_balance == pytest.approx(1 - float(feeder.sum()) / meters, abs=1e-9)
        assert 0 <= row.self_sufficiency <= 1


def test_ofNothing_thereIsNoPart() -> None:
    silent = MarketDay(Scenario.B, "1", costs=(0.0, 0.0), best=0.0, hours=24.0)
    row = _row(Scenario.B, "1", [silent], [silent])
    assert (row.energy_balance, row.power_flatness, row.self_sufficiency) == (None, None, None)


def test_voltagesOutside_areCounted(tiny3: CommunityDay, tmp_path: Path) -> None:
    """With limits narrowed around 1, by more than the 0.1 % that is tolerated; a market knows no network."""
    feeder = replace(tiny3.feeder, voltage_min_pu=0.999999, voltage_max_pu=1.000001)
    narrow = replace(tiny3, feeder=feeder)
    (_, row) = compare([narrow], [NAMES["mid-market-rate"]], tmp_path, HERE).rows
    voltage = solve_day(narrow, NAMES["mid-market-rate"]).voltage_pu
    assert row.steps_outside == int((np.abs(voltage - 1) > 1e-3 + 1e-6).any(axis=0).sum()) > 0


def test_whatIsKept_isWhatWasPlayed(tiny3: CommunityDay) -> None:
    for scenario in (Scenario.B, NAMES["merit-order"]):
        task = MarketTask(tiny3, scenario)
        played = task.solve()
        assert task.read(json.loads(json.dumps(to_fields(played)))) == played
    failed = MarketDay(Scenario.TG, "1", "no plan", 3)
    assert MarketTask(tiny3, Scenario.TG).read(json.loads(json.dumps(to_fields(failed)))) == failed


def test_tasksOfDaysWithLikeNames_areOfOneFileEach(tiny3: CommunityDay) -> None:
    names = {MarketTask(replace(tiny3, day=day), Scenario.B).name for day in ("a/b", "a b", "a-b")}
    assert len(names) == 3


def test_whatACommunityLacks_isSaid(tiny3: CommunityDay) -> None:
    bare = replace(tiny3, households=tuple(replace(home, devices=()) for home in tiny3.households))
    one = replace(
        tiny3,
        households=tiny3.households[:1],
        feeder=Feeder(400.0, 0.9, 1.1, tuple(line for line in tiny3.feeder.lines if line.node == 1)),
    )
    for scenario in SCENARIOS:
        check_able(tiny3, scenario)
        if scenario in (Scenario.B, Scenario.G):
            check_able(bare, scenario)
            check_able(one, scenario)
            continue
        with pytest.raises(InputError, match=rf"mechanism '{scenario.value}' needs a home that produces"):
            check_able(bare, scenario)
        with pytest.raises(InputError, match=r"needs two homes, and .* has 1 home;"):
            check_able(one, scenario)


def test_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Once, with a folder that another run of it goes on from; two processes give what one does."""
    out = tmp_path / "m"
    command = ["markets", "--case", "tiny3", "--days", "1", "--mechanisms", "unified-pricing,t", "--json"]
    assert main([*command, "--jobs", "2", "--out", str(out)]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told == json.loads((out / "markets.json").read_text(encoding="utf-8"))
    assert [(row["mechanism"], row["day"]) for row in told["rows"]] == [
        ("b", "1"),
        ("t", "1"),
        ("unified-pricing", "1"),
    ]
    for row in told["rows"]:
        assert list(row)[: len(FIELDS)] == FIELDS
    assert told["checks_held"] is True
    assert main([*command, "--jobs", "1", "--out", str(out)]) == 0
    again, said = capsys.readouterr()
    assert "3 of 3 plans taken over" in said
    assert json.loads(again) == told  # to the seconds that were measured then
    assert main([*command, "--jobs", "1", "--out", str(tmp_path / "one")]) == 0
    alone = json.loads(capsys.readouterr().out)
    for row, other in zip(told["rows"], alone["rows"], strict=True):
        assert row | {"seconds": None} == other | {"seconds": None}
    with (out / "markets.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["mechanism"] for row in rows] == ["b", "t", "unified-pricing"]
    assert float(rows[2]["saving"]) == pytest.approx(told["rows"][2]["saving"], abs=1e-8)
    with (out / "homes.csv").open(encoding="utf-8", newline="") as file:
        homes = [row for row in csv.DictReader(file) if row["mechanism"] == "t"]
    assert sum(float(row["saving"]) for row in homes) == pytest.approx(told["rows"][1]["saving"], abs=1e-6)
    page = (out / "index.html").read_text(encoding="utf-8")
    assert '<th class="names short">unified pricing</th>' in page  # in one line
    assert "<svg" in page


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--mechanisms", "barter"], "there is no scenario 'barter'; choose one of b, g, t, tg, call-auction"),
        (["--mechanisms", ","], "--mechanisms is empty"),
        (["--days", "2"], "no day '2'"),
        (["--jobs", "0"], "--jobs 0 must be at least 1"),
        (["--case", "tiny4"], "no case and no community file 'tiny4'"),
    ],
)
def test_whatCannotBeUsed_isOneSentence(
    options: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["markets", "--case", "tiny3", "--out", str(tmp_path / "m"), *options]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize(
    ("ginis", "sentence"),
    [
        ((0.2, 0.3), "most evenly in MMR (Gini 0.20) and least in SDR (0.30)"),
        ((0.201, 0.202, 0.3), "most evenly in MMR, SDR (Gini 0.20) and least in BS (0.30)"),
        ((0.101, 0.3, 0.302), "most evenly in MMR (Gini 0.10) and least in SDR, BS (0.30)"),
        ((0.2, 0.201), "All of them share the saving alike (Gini 0.20)"),
    ],
)
def test_sharesThatArePrintedAlike_areSaidToBeAlike(ginis: tuple[float, ...], sentence: str) -> None:
    names = ("mmr", "sdr", "bs")[: len(ginis)]
    scenarios = [SimpleNamespace(name=name.upper(), value=name) for name in names]
    rows = [MarketRow(name, "all", saving=1.0, gini=one) for name, one in zip(names, ginis, strict=True)]
    outcome: Any = SimpleNamespace(totals=[MarketRow("b", "all", saving=0.0), *rows], scenarios=scenarios)
    assert any(sentence in one for one in _answers(outcome, "EUR"))
