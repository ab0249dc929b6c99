"""Which days, how they are known again, and that finished ones are not solved a second time."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Prices
from gridpact.community.read import Community, read_community
from gridpact.errors import InputError
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.study.weeks.plan import Order, StudySettings, Trace, by_season, chosen_days, orders, rows_of_days, traces
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.store import kept, to_fields
from gridpact.study.weeks.totals import Study
from gridpact.study.weeks.workers import HERE, Processes


def test_rows_of_days() -> None:
    assert rows_of_days(["06-30", "07-01", "12-21"]) == [["06-30", "07-01"], ["12-21"]]
    assert rows_of_days(["1"]) == [["1"]]
    assert rows_of_days(["mon", "tue"]) == [["mon", "tue"]]
    assert rows_of_days(["2018-12-31", "2019-01-01"]) == [["2018-12-31", "2019-01-01"]]
    assert rows_of_days(["06-02", "06-01"]) == [["06-02"], ["06-01"]]
    assert rows_of_days(["mon", "06-01", "06-02", "tue"]) == [["mon"], ["06-01", "06-02"], ["tue"]]


def test_days_that_are_left_out_end_no_row() -> None:
    """Up to six in a row; the shipped weeks are half a year apart."""
    assert rows_of_days(["06-10", "06-12", "06-19"]) == [["06-10", "06-12", "06-19"]]
    assert rows_of_days(["06-10", "06-18"]) == [["06-10"], ["06-18"]]
    for case in ("fontana16", "amsterdam16"):
        days = read_community(case).days
        half = len(days) // 2
        assert rows_of_days(days) == [list(days[:half]), list(days[half:])]


def test_a_year_is_studied_by_the_reports_two_weeks() -> None:
    days = tuple(f"{month:02d}-{day:02d}" for month in range(1, 13) for day in range(1, 32 if month != 2 else 29))
    year = read_community("fontana16year")
    assert len(year.days) == 364
    assert set(year.days) < set(days)
    assert chosen_days(year, None) == (*(f"06-{d}" for d in range(21, 29)), *(f"12-{d}" for d in range(21, 29)))
    assert chosen_days(year, ["03-02", "03-01"]) == ("03-01", "03-02")
    with pytest.raises(InputError, match="'fontana16year' has no day '02-30'; its days are 364 from 01-01"):
        chosen_days(year, ["02-30"])


def test_a_year_with_gaps_is_a_year() -> None:
    """Own data without the 4th, the 14th and the 24th of each month: what there is of the report's weeks, not all."""
    year = read_community("fontana16year")
    times = {day: times for day, times in year.load.times.items() if not day.endswith("4")}
    chosen = chosen_days(replace(year, load=replace(year.load, times=times)), None)
    weeks = [[f"{month}-{day}" for day in (21, 22, 23, 25, 26, 27, 28)] for month in ("06", "12")]
    assert rows_of_days(chosen) == weeks


def test_a_year_has_four_seasons() -> None:
    year = read_community("fontana16year")
    seasons = by_season(chosen_days(year, None, year=True))
    assert {name: len(days) for name, days in seasons.items()} == {
        "December to February": 31 + 31 + 28,
        "March to May": 92,
        "June to August": 91,  # the source ends an hour before 31 July does
        "September to November": 91,
    }
    with pytest.raises(InputError, match="a day '1', which is no date"):
        chosen_days(read_community("tiny3"), None, year=True)


def test_what_is_kept_is_what_was_solved(study: Study, community: Community, days_folder: Path) -> None:
    for order, outcome in zip(orders(community, community.days, StudySettings()), study.outcomes, strict=True):
        again = kept(order, days_folder)
        assert again is not None
        assert to_fields(again) == to_fields(outcome)
        assert again.cost == outcome.cost
        assert again.checks == outcome.checks


@dataclass(frozen=True)
class OfAProgram:
    """A task whose fingerprint each process finds another, as after an upgrade."""

    name: str
    effort: int = 1

    @property
    def fingerprint(self) -> str:
        return str(os.getpid())

    def solve(self) -> str:
        return self.name

    def read(self, fields: Any) -> str:
        return str(fields)


def test_a_program_that_was_changed_solves_nothing(tmp_path: Path) -> None:
    tasks = [OfAProgram("one"), OfAProgram("two")]
    with pytest.raises(InputError, match="the gridpact that solves is not the one that asks"):
        play(tasks, tmp_path, Processes(2))
    assert not any(tmp_path.rglob("*.json"))
    assert play(tasks, tmp_path, HERE) == ["one", "two"]


def test_a_day_that_another_program_solves_is_not_taken(
    community: Community, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What this process holds of a day's fingerprint does not go along with the day."""
    planned = orders(community, community.days[:1], StudySettings((Scenario.B, Scenario.T)))
    monkeypatch.setattr("gridpact.study.weeks.plan._program", lambda *sources: "of tomorrow")
    with pytest.raises(InputError, match="the gridpact that solves is not the one that asks"):
        play(planned, tmp_path, Processes(2))
    assert not any(tmp_path.rglob("*.json"))


def test_finished_days_are_not_solved_again(
    study: Study, community: Community, days_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[int, int, int]] = []
    for task in (Order, Trace):
        monkeypatch.setattr(task, "solve", lambda self: pytest.fail(f"{self.name} was solved again"))
    planned = orders(community, community.days, StudySettings())
    again = play(planned, days_folder, HERE, Tally(lambda tally: told.append((tally.done, tally.taken_over, tally.of))))
    assert [to_fields(outcome) for outcome in again] == [to_fields(outcome) for outcome in study.outcomes]
    assert told == [(len(planned), len(planned), len(planned))]
    drawn = traces(planned, community.days)
    for trace, gaps in zip(drawn, play(drawn, days_folder, HERE), strict=True):
        np.testing.assert_array_equal(gaps, study.gaps[trace.of.community.day, trace.of.scenario])


def test_what_this_command_solved_is_not_taken_over(
    study: Study, community: Community, days_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One of four is there; the other three are solved, and found by a second call with the same tally."""
    monkeypatch.setattr(Order, "solve", lambda self: study.of_day(self.community.day, self.scenario))
    planned = orders(community, community.days[:1], StudySettings())
    play(planned[:1], tmp_path, HERE)
    told: list[tuple[int, int]] = []
    tally = Tally(lambda tally: told.append((tally.done, tally.taken_over)), of=8)
    play(planned, tmp_path, HERE, tally)
    assert told == [(1, 1), (2, 1), (3, 1), (4, 1)]
    play(planned[1:], tmp_path, HERE, tally)
    assert (tally.done, tally.taken_over, tally.of) == (7, 1, 8)


def test_gaps_end_where_the_day_ends(study: Study) -> None:
    """A trace negotiates anew, and its last iterate is the plan that the day carried out."""
    assert {scenario for _, scenario in study.gaps} == {Scenario.G, Scenario.T, Scenario.TG}
    for (day, scenario), gaps in study.gaps.items():
        outcome = study.of_day(day, scenario)
        assert len(gaps) == outcome.iterations
        # a household that trades states whole Wh, and solves its day once more for them
        assert gaps[-1] == pytest.approx(outcome.gap, abs=1e-5)


def test_broken_and_foreign_files_are_solved_again(
    study: Study, community: Community, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    planned = orders(community, community.days[:1], StudySettings())
    (tmp_path / "days").mkdir()
    texts = ["", "{}", '{"fingerprint": 1}', '{"fingerprint": "' + planned[3].fingerprint + '", "outcome": {}}']
    for order, text in zip(planned, texts, strict=True):
        (tmp_path / "days" / f"{order.name}.json").write_text(text)
    solved: list[str] = []

    def solve(self: Order) -> DayOutcome:
        solved.append(self.name)
        return study.of_day(self.community.day, self.scenario)

    monkeypatch.setattr(Order, "solve", solve)
    play(planned, tmp_path, HERE)
    assert sorted(solved) == sorted(order.name for order in planned)
    solved.clear()
    play(planned, tmp_path, HERE)
    assert solved == []


def test_the_fingerprint_is_of_all_that_counts(tiny3: CommunityDay) -> None:
    first = Order(tiny3, Scenario.TG, StudySettings())
    dearer = replace(tiny3, prices=Prices(tiny3.prices.import_price * 1.01))
    chosen = replace(tiny3, preferences={("ann", "bob"): 0.01})
    cabinet = replace(tiny3, feeder=replace(tiny3.feeder, junctions=frozenset({3})))
    others = [
        Order(cabinet, Scenario.TG, StudySettings()),
        Order(dearer, Scenario.TG, StudySettings()),
        Order(chosen, Scenario.TG, StudySettings()),
        Order(tiny3, Scenario.T, StudySettings()),
        Order(tiny3, Scenario.TG, StudySettings(agreement=NetworkAgreement.NEIGHBOURS)),
        Order(tiny3, Scenario.TG, StudySettings(chain="anvil")),
        Order(tiny3, Scenario.TG, StudySettings(chain="anvil", relay=True)),
    ]
    assert len({order.fingerprint for order in [first, *others]}) == 8
    assert Order(read_community("tiny3").on("1"), Scenario.TG, StudySettings()).fingerprint == first.fingerprint
    # the baseline is on no chain, and which scenarios it is compared with changes nothing about it
    alone = Order(tiny3, Scenario.B, StudySettings())
    assert alone.fingerprint == Order(tiny3, Scenario.B, StudySettings((Scenario.B,), chain="anvil")).fingerprint


def test_a_year_that_was_interrupted_goes_on(
    study: Study, community: Community, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As --year plans it: all days in B, T and TG. What was finished before the interruption is not solved again."""
    settings = StudySettings((Scenario.B, Scenario.T, Scenario.TG))
    planned = orders(community, chosen_days(community, None, year=True), settings)
    solved: list[str] = []

    def solve(self: Order) -> DayOutcome:
        if len(solved) == 3:
            raise KeyboardInterrupt
        solved.append(self.name)
        return study.of_day(self.community.day, self.scenario)

    monkeypatch.setattr(Order, "solve", solve)
    with pytest.raises(KeyboardInterrupt):
        play(planned, tmp_path, HERE)
    before = list(solved)
    solved.clear()
    play(planned, tmp_path, HERE)
    assert len(before) == len(solved) == 3
    assert sorted(before + solved) == sorted(order.name for order in planned)


def test_days_with_one_file_name_are_refused(tiny3: CommunityDay) -> None:
    community: Any = SimpleNamespace(name="x", on=lambda day: replace(tiny3, day=day))
    with pytest.raises(InputError, match="days 'a b' and 'a/b' would share"):
        orders(community, ["a b", "a/b"], StudySettings())


def test_processes_find_the_same(study: Study, community: Community, tmp_path: Path) -> None:
    planned = orders(community, community.days[:1], StudySettings((Scenario.B,)))
    planned += orders(community, community.days[1:], StudySettings((Scenario.B,)))
    outcomes = play(planned, tmp_path, Processes(2))
    expected = [study.of_day(order.community.day, Scenario.B) for order in planned]
    assert [to_fields(outcome) for outcome in outcomes] == [to_fields(outcome) for outcome in expected]
