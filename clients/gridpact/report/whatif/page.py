"""What all what-ifs share on paper: a folder with one page, its tables, pictures and files."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup, escape

from gridpact.report.drawing import Figure, drawn, inline_svg, png, svg
from gridpact.report.folder import publish
from gridpact.report.report import environment
from gridpact.report.tables import Cell, csv_text, plain_fields
from gridpact.study.whatif.sweep import DayFigures, PointFigures

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
class PageTable:
    """A table of the page: texts, the first column a heading."""

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """A plot of the page, by the name of its file."""

    name: str  # letters only
    figure: Figure | None  # None: without matplotlib there are none
    caption: str


@dataclass(frozen=True)
class Page:
    """A what-if as a folder: `index.html`, `MARKER`, CSV tables, plots."""

    kind: str
    where: str  # case, days, scenario
    headline: str
    answers: Sequence[str]
    tables: Sequence[PageTable]
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
        figures = drawn((picture.name, picture.figure) for picture in page.pictures)
        drawings = {name: svg(figure) for name, figure in figures.items()}
        for name, figure in figures.items():
            (staging / f"{name}.svg").write_text(drawings[name], encoding="utf-8")
            (staging / f"{name}.png").write_bytes(png(figure))
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
            if picture.name in drawings
        ]
        contents = {name: content for name, (content, _) in page.csv_files.items()}
        html = (
            environment()
            .get_template("whatif.html")
            .render(
                page=page,
                pictures=pictures,
                files=contents,
                marker=marker,
            )
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
