"""What all what-ifs share: points that are solved and kept as the days of a study are, and a folder with one page."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape
from matplotlib.figure import Figure

from gridpact.community.model import CommunityDay
from gridpact.errors import InfeasibleError
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.report.folder import publish
from gridpact.report.plots import inline_svg, png, svg
from gridpact.report.report import environment
from gridpact.report.tables import Cell, csv_text, plain_fields
from gridpact.report.weeks.words import failed_checks
from gridpact.study.weeks.plan import Order, StudySettings


@dataclass(frozen=True)
class DayPoint(Order):
    """A day of a community as it would be, in memory. Many of a what-if's communities share a day, so its file is named
    after all that it is of; two that are alike are solved once."""

    @staticmethod
    def of(community: CommunityDay, scenario: Scenario) -> DayPoint:
        return DayPoint(community, scenario, StudySettings())

    @property
    def name(self) -> str:
        return f"{super().name}_{self.fingerprint[:16]}"


# ---------------------------------------------------------------------- what is kept of the days of a point


@dataclass(frozen=True)
class DayFigures:
    """What a what-if keeps of a day in a scenario. Where there is a failure all that follows it is 0."""

    day: str
    scenario: Scenario
    failure: str | None = None
    failure_status: int = 0  # 3 where no plan keeps the limits, 1 where a solver failed
    cost: float = 0.0  # all bills, losses included
    peak_kw: float = 0.0  # highest import of the feeder
    import_kwh: float = 0.0  # through the grid connection
    feed_in_kwh: float = 0.0
    traded_kwh: float = 0.0
    losses_kwh: float = 0.0
    voltage_min_pu: float = 1.0
    voltage_max_pu: float = 1.0
    iterations: int = 0
    converged: bool = True
    failed_checks: Mapping[str, str] = field(default_factory=dict)  # by how much, see `words.failed_checks`
    gap: float = 0.0  # of the objective, from the centralised optimum

    @property
    def checks_held(self) -> bool:
        """Whether no check and no solver failed; a day that no plan is feasible on is an answer, too."""
        if self.failure is not None:
            return self.failure_status == InfeasibleError.exit_status
        return self.converged and not self.failed_checks

    @property
    def complaint(self) -> str:
        """What failed, and by how much."""
        return self.failure or "; ".join(f"{check} ({how_much})" for check, how_much in self.failed_checks.items())

    @staticmethod
    def of(outcome: DayOutcome) -> DayFigures:
        if not outcome.feasible:
            return DayFigures(outcome.day, outcome.scenario, outcome.failure, outcome.failure_status, converged=False)
        return DayFigures(
            day=outcome.day,
            scenario=outcome.scenario,
            cost=outcome.cost,
            peak_kw=outcome.peak_kw,
            import_kwh=outcome.import_kwh,
            feed_in_kwh=outcome.feed_in_kwh,
            traded_kwh=outcome.traded_kwh,
            losses_kwh=outcome.losses_kwh,
            voltage_min_pu=outcome.voltage_min_pu,
            voltage_max_pu=outcome.voltage_max_pu,
            iterations=outcome.iterations,
            converged=outcome.converged,
            failed_checks=failed_checks(outcome),
            gap=outcome.gap,
        )


@dataclass(frozen=True)
class PointFigures:
    """The days of one point in one scenario, together."""

    days: tuple[DayFigures, ...]

    @property
    def failures(self) -> tuple[DayFigures, ...]:
        return tuple(day for day in self.days if day.failure is not None)

    @property
    def feasible(self) -> bool:
        """Whether every day has a plan: else sums over days would not compare."""
        return not self.failures

    def total(self, of: Callable[[DayFigures], float]) -> float:
        return sum(of(day) for day in self.days)

    @property
    def cost(self) -> float:
        return self.total(lambda day: day.cost)

    @property
    def peak_kw(self) -> float:
        return max(day.peak_kw for day in self.days)

    @property
    def voltage_min_pu(self) -> float:
        return min(day.voltage_min_pu for day in self.days)

    @property
    def voltage_max_pu(self) -> float:
        return max(day.voltage_max_pu for day in self.days)

    @property
    def iterations(self) -> float:
        """A day, on average."""
        return self.total(lambda day: day.iterations) / len(self.days)

    @property
    def gap(self) -> float:
        """The largest of a day, a fraction."""
        return max((abs(day.gap) for day in self.days), default=0.0)

    @property
    def checks_held(self) -> bool:
        return all(day.checks_held for day in self.days)

    @property
    def verdict(self) -> str:
        """One word: ok, or what is wrong."""
        if not self.feasible:
            return "no feasible plan"
        if not all(day.converged for day in self.days):
            return "not agreed"
        return "ok" if all(day.checks_held for day in self.days) else "a check failed"


DAY_COLUMNS = (
    "day", "scenario", "verdict", "cost", "peak_kw", "import_kwh", "feed_in_kwh", "traded_kwh", "losses_kwh",
    "voltage_min_pu", "voltage_max_pu", "iterations", "gap",
)  # fmt: skip


def day_cells(day: DayFigures) -> list[Cell]:
    """A day as a row of `DAY_COLUMNS`; where there is no plan, nothing but the verdict."""
    verdict = PointFigures((day,)).verdict
    if day.failure is not None:
        return [day.day, day.scenario.value, verdict, *[None] * 10]
    return [
        day.day, day.scenario.value, verdict, day.cost, day.peak_kw, day.import_kwh, day.feed_in_kwh, day.traded_kwh,
        day.losses_kwh, day.voltage_min_pu, day.voltage_max_pu, day.iterations, day.gap,
    ]  # fmt: skip


# ---------------------------------------------------------------------- the folder and its page


@dataclass(frozen=True)
class Table:
    """A table of the page: texts, the first column a heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot of the page, by the name of its file."""

    name: str  # letters only
    figure: Figure
    caption: str


@dataclass(frozen=True)
class Page:
    """A what-if as a folder: `index.html`, `MARKER`, CSV tables, plots."""

    kind: str
    where: str  # case, days, scenario
    headline: str
    answers: Sequence[str]
    tables: Sequence[Table]
    pictures: Sequence[Picture]
    method: Sequence[str]
    checks_held: bool  # of all points
    fields: Mapping[str, Any]  # of the JSON file
    csv_files: Mapping[str, tuple[str, Sequence[Sequence[Cell]]]] = field(default_factory=dict)  # name: content, rows


def write_page(page: Page, folder: Path) -> Path:
    """Writes a what-if into a folder, all at once.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: see `publish`.
    """
    marker = f"{page.kind}.json"

    def write(staging: Path) -> None:
        drawings = {picture.name: svg(picture.figure) for picture in page.pictures}
        for picture in page.pictures:
            (staging / f"{picture.name}.svg").write_text(drawings[picture.name], encoding="utf-8")
            (staging / f"{picture.name}.png").write_bytes(png(picture.figure))
        for name, (_, rows) in page.csv_files.items():
            (staging / name).write_text(csv_text(rows), encoding="utf-8", newline="")
        text = json.dumps(
            plain_fields({**page.fields, "checks_held": page.checks_held}),
            indent=2,
            ensure_ascii=False,
            allow_nan=False,
        )
        (staging / marker).write_text(text + "\n", encoding="utf-8")
        pictures = [
            {
                "name": picture.name,
                "svg": Markup(inline_svg(drawings[picture.name], picture.name, str(escape(picture.caption)))),
                "caption": picture.caption,
            }
            for picture in page.pictures
        ]
        contents = {name: content for name, (content, _) in page.csv_files.items()}
        html = (
            environment()
            .get_template("whatif.html")
            .render(page=page, pictures=pictures, files=contents, marker=marker)
        )
        (staging / "index.html").write_text(html, encoding="utf-8")

    publish(folder, write, marker)
    return folder / "index.html"


def number(value: float | None, digits: int = 2) -> str:
    """A number for a page; a dash is what does not exist there."""
    if value is None:
        return "–"
    return f"{round(value, digits) + 0.0:,.{digits}f}".replace("-", "−")


def percent_text(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{number(100 * value, digits)} %"
