"""The pages are whole, harmless, by themselves and the same every time; the tables say what the study says."""

from __future__ import annotations

import csv
import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.problem.scenario import Scenario
from gridpact.report import drawing as house_style
from gridpact.report.drawing import svg
from gridpact.report.weeks.page import households_page, number, page, write_study
from gridpact.report.weeks.plots import PLOTS, plots_of
from gridpact.report.weeks.tables import CSV_FILES, put_tables, study_fields
from gridpact.report.weeks.words import answers, captions
from gridpact.study.weeks.plan import StudySettings
from gridpact.study.weeks.totals import Study
from unit.report.test_report import HOSTILE, Page

from .conftest import SUMMER_DAY, WINTER_DAY


@pytest.fixture(scope="module")
def written(study: Study, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_study(study, tmp_path_factory.mktemp("written") / "study").parent


def test_weeksOfAShippedCase_standBesideTheReports(weeks: Study, study: Study) -> None:
    beside, alone = Page(page(weeks, {})), Page(page(study, {}))
    assert "report" in beside.ids
    assert "report" not in alone.ids
    for figure in ("182.40", "65.1", "302", "B-DER"):
        assert figure in beside.text
        assert figure not in alone.text
    fields = study_fields(weeks)
    assert "B-DER" in fields["compared_with"]
    told = fields["periods"][0]["scenarios"]["tg"]
    assert told["economic"]["total_costs"]["b_der_report"] == pytest.approx(118.80)
    assert told["energy"]["imports_in_peak_hours_kwh"]["b_der_report"] == 302


def test_the_page_has_all_its_parts(written: Path, study: Study) -> None:
    shown = Page((written / "index.html").read_text(encoding="utf-8"))
    parts = {"costs", "energy", "pictures", "fair", "days", "how", "files", "trust"}
    assert parts | set(plots_of(study)) <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    assert shown.tags.count("svg") == len(plots_of(study)) == len(PLOTS) - 1  # one day has no spread
    for link in shown.links:
        assert link.startswith("#") or (written / link).is_file(), link


def test_pages_areFilledIn(weeks: Study, study: Study) -> None:
    for one in (weeks, study):
        assert not re.findall(r"\{\w*\}", page(one, {}) + str(list(answers(one).values())))


def test_withoutMatplotlib_thereAreNoPictures(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(house_style, "matplotlib", None)
    folder = write_study(study, tmp_path / "study").parent
    assert not [path.name for path in folder.iterdir() if path.suffix in (".svg", ".png")]
    for name in ("index.html", "households.html"):
        shown = Page((folder / name).read_text(encoding="utf-8"))
        assert not {"svg", "figure"} & set(shown.tags)
        for link in shown.links:
            assert link.startswith("#") or (folder / link.partition("#")[0]).is_file(), link


def test_every_household_finds_itself(written: Path, study: Study) -> None:
    shown = Page((written / "households.html").read_text(encoding="utf-8"))
    assert {"home-1", "home-2", "home-3"} <= set(shown.ids)
    assert len(shown.ids) == len(set(shown.ids))
    assert shown.text.count("On its own it would have") == 6  # three households, two periods
    for period in study.counted:
        for totals in period.totals.values():
            for home in totals.households:
                assert number(home.cost, 2) in shown.text


@pytest.mark.parametrize("name", ["index.html", "households.html"])
def test_pages_work_by_themselves(written: Path, name: str) -> None:
    text = (written / name).read_text(encoding="utf-8")
    loaded = re.findall(r'(?:src|href)="(?!#)([^"]*)"|url\((?!#)([^)]*)\)|@import', text)
    assert not [link for link in loaded if "//" in "".join(link)]
    assert "<script" not in text


def test_names_are_harmless(study: Study) -> None:
    outcomes = tuple(
        replace(o, households=tuple(replace(home, name=HOSTILE) for home in o.households)) for o in study.outcomes
    )
    community = replace(study.community, title=HOSTILE, name=HOSTILE, notes=HOSTILE, currency="<b>")
    hostile = Study(community, study.settings, outcomes)
    for text in (page(hostile, {}), households_page(hostile)):
        assert "<script>" not in text
        assert "<b>" not in text
        assert "&lt;script&gt;" in text


def test_the_same_study_gives_the_same_files(written: Path, study: Study, tmp_path: Path) -> None:
    put_tables(study, tmp_path)
    drawings = {name: svg(plot(study)) for name, plot in plots_of(study).items()}
    (tmp_path / "index.html").write_text(page(study, drawings), encoding="utf-8")
    (tmp_path / "households.html").write_text(households_page(study), encoding="utf-8")
    for path in tmp_path.iterdir():
        assert (written / path.name).read_bytes() == path.read_bytes(), path.name
    for name, drawing in drawings.items():
        assert (written / f"{name}.svg").read_text(encoding="utf-8") == drawing


def test_csv_and_json_say_the_same(written: Path, study: Study) -> None:
    table = {name: list(csv.DictReader((written / name).open(encoding="utf-8"))) for name in CSV_FILES}
    fields = json.loads((written / "study.json").read_text(encoding="utf-8"))
    summer = study.periods[0]
    total = summer.totals[Scenario.TG].community.total
    row = next(
        row
        for row in table["economic.csv"]
        if (row["period"], row["figure"], row["unit"], row["scenario"]) == ("summer day", "Total costs", "EUR", "TG")
    )
    assert float(row["value"]) == pytest.approx(total, abs=1e-8)
    assert row["b_der_report"] == ""  # one day of a user's own is not set beside the report's week
    assert fields["compared_with"] is None
    told = fields["periods"][0]["scenarios"]["tg"]
    assert told["economic"]["total_costs"] == {"value": total, "b_der_report": None}
    assert len(table["days.csv"]) == 8
    assert len(table["households.csv"]) == 24
    assert len(table["fairness.csv"]) == 30
    assert len(table["steps.csv"]) == 32
    assert len(table["gaps.csv"]) == sum(len(gaps) for gaps in study.gaps.values())
    last = [row for row in table["gaps.csv"] if (row["day"], row["scenario"]) == (summer.days[0], "TG")][-1]
    assert float(last["gap"]) == pytest.approx(study.gaps[summer.days[0], Scenario.TG][-1])
    assert fields["checks_held"] is True
    assert {row["checks_held"] for row in table["days.csv"]} == {"yes"}


def test_a_day_without_a_plan_is_told(study: Study, tmp_path: Path) -> None:
    reason = "'tiny3' has no feasible plan"
    outcomes = tuple(
        replace(o, failure=reason, failure_status=3, households=())
        if (o.day, o.scenario) == (WINTER_DAY, Scenario.TG)
        else o
        for o in study.outcomes
    )
    broken = Study(study.community, study.settings, outcomes)
    put_tables(broken, tmp_path)
    assert "no feasible plan" in Page(page(broken, {})).text
    fields = json.loads((tmp_path / "study.json").read_text())
    assert fields["periods"][1] | {"name": None} == {
        "name": None,
        "season": "winter",
        "days": [],
        "left_out": [{"day": WINTER_DAY, "scenario": "tg", "reason": reason}],
        "scenarios": {},
        "fairness": {},
    }
    assert reason in (tmp_path / "days.csv").read_text()


def test_convergence_shows_the_gap_where_a_day_was_traced(weeks: Study) -> None:
    """Two rows: residuals of every day, and gaps with the report's 0.8 % and the stop, a line and a mark a period."""
    traced, untraced = (PLOTS["convergence"](s) for s in (weeks, replace(weeks, gaps={})))
    assert (len(traced.axes), len(untraced.axes)) == (6, 3)
    for axes in traced.axes[3:]:
        levels = [
            line.get_ydata()[0] for line in axes.lines if len(set(line.get_ydata())) == 1 and line.get_marker() != "o"
        ]
        assert {0.8, 0.1} <= {round(float(level), 6) for level in levels}
        assert sum(line.get_marker() == "o" for line in axes.lines) == len(weeks.counted)
        assert axes.get_yscale() == "log"


def test_loading_is_shown_against_the_rating_where_there_is_one(study: Study) -> None:
    rating = np.full(len(study.outcomes[0].current_a), 142.0)
    rated = replace(study, outcomes=tuple(replace(o, rating_a=rating) for o in study.outcomes))
    for shown, label, said in (
        (study, "current, A", "none for lines"),
        (rated, "% of its rating", "the ratings of lines"),
    ):
        figure = PLOTS["network"](shown)
        assert label in figure.axes[2].get_ylabel()
        assert said in captions(shown)["network"]
    assert [text.get_text() for text in figure.axes[2].texts] == ["rating: 142 A"]
    highest = max(float(o.current_a.max()) for o in study.outcomes if o.scenario == Scenario.B)
    assert f"{100 * highest / 142:.0f} % in B" in " ".join(answers(rated)["Does it spare the grid?"])


def test_plots_of_fewer_scenarios(study: Study) -> None:
    common = StudySettings((Scenario.B, Scenario.G))
    fewer = Study(study.community, common, tuple(o for o in study.outcomes if o.scenario in common.scenarios))
    assert "trades" not in plots_of(fewer)
    for plot in plots_of(fewer).values():
        assert svg(plot(fewer)).endswith("</svg>\n")
    assert "Costs" in Page(page(fewer, {})).text


def test_a_year_is_told_by_season(study: Study) -> None:
    """The same two days all over the year: five in each of two seasons, one in a third."""
    days = [f"{month:02d}-{day:02d}" for month in (1, 6) for day in range(1, 6)] + ["09-30"]
    known = {o.day: [p for p in study.outcomes if p.day == o.day] for o in study.outcomes}
    outcomes = [replace(o, day=day) for day in days for o in known[WINTER_DAY if day.startswith("01") else SUMMER_DAY]]
    year = Study(study.community, study.settings, tuple(outcomes), year=True)
    assert [(period.name, len(period.counted)) for period in year.counted] == [
        ("December to February", 5),
        ("June to August", 5),
        ("September to November", 1),
    ]
    assert [period.missing for period in year.counted] == [0, 0, 0]
    assert "savings" in plots_of(year)
    assert "prices" not in plots_of(year)
    drawing = svg(plots_of(year)["savings"](year))
    assert all(home in drawing for home in ("ann", "bob", "cem"))
    text = Page(page(year, {})).text
    assert "From June to August" in text
    assert "B-DER report, EUR" not in text  # no season of ours is a week of the report's
    summer = year.counted[1]
    one = study.periods[0]
    assert summer.totals[Scenario.TG].community.total == pytest.approx(5 * one.totals[Scenario.TG].community.total)
    assert summer.savings(Scenario.TG).shape == (3, 5)
    assert summer.savings(Scenario.TG)[0] == pytest.approx(
        one.baseline.households[0].cost - one.totals[Scenario.TG].households[0].cost
    )


def test_numbers() -> None:
    assert number(-1234.567, 2) == "−1,234.57"
    assert number(-0.001, 2) == "0.00"
    assert number(None, 1) == "–"
