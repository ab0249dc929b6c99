"""A run as one page that works by itself: no network, no script, to be read on a screen or on paper."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gridpact.market.registry import market_of
from gridpact.outcome.indicators import NOT_PROMISED, Indicators
from gridpact.outcome.outcome import Outcome
from gridpact.report.drawing import WITHOUT_PICTURES, drawn, inline_svg, png, svg
from gridpact.report.folder import publish
from gridpact.report.phases import street_of
from gridpact.report.plots import PLOTS
from gridpact.report.tables import CSV_FILES, put_tables
from gridpact.report.words import NETWORK_AGREEMENT, captions, checks_sentence, cost_sentence, headline
from gridpact.text import chain_text, count, plain


def write_report(result: Outcome, folder: Path) -> Path:
    """Writes all files of a run into a folder, at once: `index.html`, plots (SVG and PNG), and tables.

    Returns:
        The path of `index.html`.

    Raises:
        InputError: see `publish`.
    """
    figures = drawn((name, plot(result)) for name, plot in PLOTS.items())
    drawings = {name: svg(figure) for name, figure in figures.items()}

    def write(staging: Path) -> None:
        put_tables(result, staging)
        for name, figure in figures.items():
            (staging / f"{name}.svg").write_text(drawings[name], encoding="utf-8")
            (staging / f"{name}.png").write_bytes(png(figure))
        (staging / "index.html").write_text(page(result, drawings), encoding="utf-8")

    publish(folder, write)
    return folder / "index.html"


def page(result: Outcome, drawings: Mapping[str, str]) -> str:
    """The page's HTML. `drawings`: the plots of the run as SVG, by name."""
    indicators, texts = Indicators(result), captions(result)
    pictures = [
        {
            "name": name,
            "svg": Markup(inline_svg(drawing, name, str(escape(texts[name])))),
            "caption": texts[name],
        }
        for name, drawing in drawings.items()
    ]
    return (
        environment()
        .get_template("report.html")
        .render(
            result=result,
            community=result.community,
            currency=plain(result.community.currency, 8),
            scenario=market_of(result.scenario).words.label,
            agreement=NETWORK_AGREEMENT[result.agreement] if result.scenario.has_network else None,
            chain=chain_text(result.chain),
            headline=headline(result),
            cost_sentence=cost_sentence(result),
            checks_sentence=checks_sentence(result),
            checks=indicators.checks,
            all_held=all(check.held is not False and check.verdict != NOT_PROMISED for check in indicators.checks),
            pictures=pictures,
            households=indicators.households,
            street=street_of(result),
            files=CSV_FILES,
        )
    )


def environment() -> Environment:
    """Where the templates of all pages come from; what users named is escaped."""
    templates = Environment(
        loader=PackageLoader("gridpact.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.globals["without_pictures"] = WITHOUT_PICTURES
    templates.filters["plain"] = plain
    templates.filters["count"] = count
    return templates
