"""A study as a page that works by itself, and a second one in which every household finds itself."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Template
from markupsafe import Markup, escape

from gridpact.market.registry import market_of
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.report.drawing import drawn, inline_svg, png, svg
from gridpact.report.folder import publish
from gridpact.report.report import environment
from gridpact.report.weeks import words
from gridpact.report.weeks.plots import household, plots_of
from gridpact.report.weeks.tables import CSV_FILES, MARKER, TableLine, economic_lines, energy_lines, put_tables
from gridpact.report.words import NETWORK_AGREEMENT
from gridpact.study.weeks.fairness import sharings
from gridpact.study.weeks.published import SOURCE
from gridpact.study.weeks.totals import Period, Study
from gridpact.text import chain_text

MOST_DAYS = 100
"""With more plans than this the page shows only some of them."""


@dataclass(frozen=True)
class TableRow:
    """A line of a table as text: ours by scenario, then the report's."""

    name: str
    unit: str
    ours: tuple[str, ...]
    theirs: tuple[str, ...]
    strong: bool


def write_study(study: Study, folder: Path) -> Path:
    """Writes all files of a study into a folder, at once.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: see `publish`.
    """
    figures = drawn((name, plot(study)) for name, plot in plots_of(study).items())
    drawings = {name: svg(figure) for name, figure in figures.items()}

    def write(staging: Path) -> None:
        put_tables(study, staging)
        for name, figure in figures.items():
            (staging / f"{name}.svg").write_text(drawings[name], encoding="utf-8")
            (staging / f"{name}.png").write_bytes(png(figure))
        (staging / "index.html").write_text(page(study, drawings), encoding="utf-8")
        (staging / "households.html").write_text(households_page(study), encoding="utf-8")

    publish(folder, write, MARKER)
    return folder / "index.html"


def page(study: Study, drawings: dict[str, str]) -> str:
    """The page's HTML. `drawings`: the plots as SVG, by name."""
    texts = words.captions(study)
    days = [outcome for outcome in study.outcomes if outcome.feasible]
    pictures = [
        {"name": name, "svg": Markup(inline_svg(drawing, name, str(escape(texts[name])))), "caption": texts[name]}
        for name, drawing in drawings.items()
    ]
    return _template("study.html").render(
        study=study,
        currency=words.currency(study),
        headline=words.headline(study),
        answers=words.answers(study),
        periods=[
            {
                "it": period,
                "name": words.capital(period.name),
                "published": period.compared,
                "economic": rows(study, period, economic_lines(period)),
                "energy": rows(study, period, energy_lines()),
                "differences": words.differences(study, period),
                "sharings": sharings(period),
            }
            for period in study.counted
        ],
        left_out=[sentence for period in study.periods for sentence in words.left_out(period)],
        pictures=pictures,
        scenarios=[(scenario, market_of(scenario).words) for scenario in study.settings.scenarios],
        agreement=NETWORK_AGREEMENT[study.settings.agreement],
        network=any(scenario.has_network for scenario in study.settings.scenarios),
        in_common=Scenario.G in study.settings.scenarios,
        chain=chain_text(study.settings.chain),
        source=SOURCE,
        files=CSV_FILES,
        days=days,
        days_shown=days if len(days) <= MOST_DAYS else _telling(days),
    )


def households_page(study: Study) -> str:
    """The HTML of the households' page."""
    homes = study.counted[0].baseline.households
    sections = []
    for row, home in enumerate(homes):
        name = f"home-{home.node}"
        figure = household(study, row)
        label = f"Mean power through the meter of {home.name} over the day"
        sections.append(
            {
                "home": home,
                "id": name,
                "svg": figure and Markup(inline_svg(svg(figure), name, str(escape(label)))),
                "periods": [
                    {
                        "name": words.capital(period.name),
                        "why": words.why(study, period, row),
                        "rows": [(scenario, totals.households[row]) for scenario, totals in period.totals.items()],
                        "base": period.baseline.households[row],
                    }
                    for period in study.counted
                ],
            }
        )
    template = _template("study_households.html")
    return template.render(study=study, currency=words.currency(study), sections=sections)


def rows(study: Study, period: Period, lines: Sequence[TableLine]) -> list[TableRow]:
    """Lines of a table as text; a dash is what does not exist there."""
    table_rows = []
    for line in lines:
        theirs = [line.theirs(period.published[scenario]) for scenario in period.compared]
        table_rows.append(
            TableRow(
                name=line.name,
                unit=words.currency(study) if line.unit == "cost" else line.unit,
                ours=tuple(number(line.ours(totals), line.digits()) for totals in period.totals.values()),
                theirs=tuple(number(value, line.digits()) for value in theirs),
                strong=line.strong,
            )
        )
    return table_rows


def number(value: float | None, digits: int) -> str:
    """A number with digits after the point and a true minus; what rounds to nothing has no sign."""
    if value is None:
        return "–"
    return f"{round(float(value), digits) + 0.0:,.{digits}f}".replace("-", "−")


def _telling(days: Sequence[DayOutcome]) -> list[DayOutcome]:
    """Days with a failed check, and of each scenario the ten with the largest gaps."""
    shown = {id(day) for day in days if not day.checks_held}
    for scenario in dict.fromkeys(day.scenario for day in days):
        some = sorted((day for day in days if day.scenario == scenario), key=lambda day: -abs(day.gap))
        shown |= {id(day) for day in some[:10]}
    return [day for day in days if id(day) in shown]


def _template(name: str) -> Template:
    templates = environment()
    templates.filters["number"] = number
    return templates.get_template(name)
