"""A summer and a winter day of tiny3, solved once in all scenarios: the smallest study with two periods."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gridpact.community.read import Community, read_community, shipped_cases
from gridpact.study.weeks.plan import StudySettings, chosen_days, orders, traces
from gridpact.study.weeks.play import play
from gridpact.study.weeks.totals import Study
from gridpact.study.weeks.workers import HERE

SUMMER_DAY, WINTER_DAY = "2018-06-21", "2018-12-21"


def two_days(folder: Path, title: str = "Two days") -> Path:
    """A community file: tiny3's day in June, and the same with a quarter of the sun in December."""
    source = shipped_cases()["tiny3"].parent
    for name in ("households.csv", "feeder.csv"):
        (folder / name).write_text((source / name).read_text())
    for name in ("load_kw.csv", "prices.csv", "pv_kw.csv"):
        header, *rows = (source / name).read_text().splitlines()
        june = [row.replace("1 ", f"{SUMMER_DAY} ", 1) for row in rows]
        december = [row.replace("1 ", f"{WINTER_DAY} ", 1) for row in rows]
        if name == "pv_kw.csv":
            december = [row.replace(",4", ",1") for row in december]
        (folder / name).write_text("\n".join([header, *june, *december]) + "\n")
    settings = (source / "community.toml").read_text().replace("Three households, four steps", title)
    (folder / "community.toml").write_text(settings)
    return folder / "community.toml"


@pytest.fixture(scope="session")
def two_day_case(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return two_days(tmp_path_factory.mktemp("two-days"))


@pytest.fixture(scope="session")
def community(two_day_case: Path) -> Community:
    return read_community(str(two_day_case))


@pytest.fixture(scope="session")
def days_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="session")
def study(community: Community, days_folder: Path) -> Study:
    planned = orders(community, chosen_days(community, None), StudySettings())
    drawn = traces(planned, community.days)
    gaps = {(t.of.community.day, t.of.scenario): g for t, g in zip(drawn, play(drawn, days_folder, HERE), strict=True)}
    return Study(community, StudySettings(), tuple(play(planned, days_folder, HERE)), gaps=gaps)


@pytest.fixture(scope="session")
def weeks(study: Study) -> Study:
    """Each of the two days five times in a row, as if a shipped case had such weeks: beside the report's stand only a
    shipped case's weeks."""
    outcomes = [
        replace(outcome, day=f"{outcome.day[:-2]}{int(outcome.day[-2:]) + k}")
        for k in range(5)
        for outcome in study.outcomes
    ]
    in_order = tuple(sorted(outcomes, key=lambda outcome: outcome.day))
    return Study(replace(study.community, shipped=True), study.settings, in_order, gaps=study.gaps)
