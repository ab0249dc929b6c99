"""The page of `gridpact markets`: a row a market, every number worked out from what was played."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, fields

import numpy as np

from gridpact.market.registry import market_of
from gridpact.problem.scenario import Scenario
from gridpact.report.drawing import INK, Axes, Figure, Line2D, styled
from gridpact.report.tables import Cell, safe_text
from gridpact.report.whatif.common import period, where
from gridpact.report.whatif.page import Page, PageTable, Picture, number, percent_text
from gridpact.study.markets import NUMBER_BYTES, Compared, MarketRow
from gridpact.text import count, listed, plain

ROW = tuple(field.name for field in fields(MarketRow))


def markets_page(outcome: Compared) -> Page:
    """The page of a comparison."""
    days = outcome.days
    currency = plain(days[0].currency, 8)
    return Page(
        kind="markets",
        where=where(days, f"{count(len(outcome.scenarios), 'way')} to agree"),
        headline=_headline(outcome, currency),
        answers=_answers(outcome, currency),
        tables=[_table(outcome, currency), _homes_table(outcome, currency)],
        pictures=[
            Picture(
                "markets",
                picture(outcome),
                f"The {period(days)}, a row a market. Saving: against everybody on its own, all homes together; the "
                "dashed line is what the optimum saves. Homes: what each saves, a point a home. Shared: energy traded, "
                "or without trades what passed from meter to meter. Import: the feeder's highest; the number beside it "
                "is of time steps with a voltage outside its limits.",
            )
        ],
        method=_method(outcome),
        checks_held=outcome.checks_held,
        fields={
            "case": days[0].name,
            "days": [day.day for day in days],
            "currency": days[0].currency,
            "mechanisms": [scenario.value for scenario in outcome.scenarios],
            "rows": [asdict(row) for row in outcome.rows],
            "totals": [asdict(row) for row in outcome.totals],
        },
        csv_files={
            "markets.csv": ("every market on every day", list(_rows(outcome))),
            "homes.csv": ("every home in every market on every day: cost and saving", list(_homes(outcome))),
        },
    )


def _headline(outcome: Compared, currency: str) -> str:
    able = [row for row in outcome.totals[1:] if row.saving is not None]
    if not able:
        return "No market has a plan on all days" if len(outcome.totals) > 1 else "Everybody on its own"
    most = max(able, key=lambda row: row.saving or 0.0)
    return (
        f"{_label(most.mechanism, outcome)} saves most on the {period(outcome.days)}: "
        f"{number(most.saving)} {currency} of {number(outcome.totals[0].cost)}"
    )


def _answers(outcome: Compared, currency: str) -> list[str]:
    sentences = []
    able = [row for row in outcome.totals[1:] if row.saving is not None]
    losing = [row for row in able if row.worst_off is not None and row.worst_off < -0.005]
    if able and not losing:
        sentences.append("In no market does a home pay more than on its own.")
    sentences += [
        f"In {_label(row.mechanism, outcome)} some home pays {number(-(row.worst_off or 0.0))} {currency} more than on "
        "its own."
        for row in losing
    ]
    fair = [row for row in able if row.gini is not None]
    if len(fair) > 1:
        even, uneven = (number(pick(row.gini or 0.0 for row in fair)) for pick in (min, max))
        most, least = (
            listed([_label(row.mechanism, outcome) for row in fair if number(row.gini) == gini])
            for gini in (even, uneven)
        )
        sentences.append(
            f"All of them share the saving alike (Gini {even})."
            if even == uneven
            else f"The saving is shared most evenly in {most} (Gini {even}) and least in {least} ({uneven})."
        )
    sentences += [
        f"{_label(row.mechanism, outcome)} has no plan on all days: {plain(row.failure or '')}."
        for row in outcome.totals
        if row.saving is None
    ]
    return sentences


def _label(name: str, outcome: Compared) -> str:
    return next(s.name for s in outcome.scenarios if s.value == name)


def _table(outcome: Compared, currency: str) -> PageTable:
    header = [
        "Market", f"saving, {currency}", "of the optimum's", "shared, kWh", "Gini", f"worst off, {currency}",
        "better off", "import, kW", "balanced", "flatness", "self-sufficient", "steps outside", "rounds", "kB", "s",
    ]  # fmt: skip
    rows = [
        [
            market_of(scenario).words.label,
            number(row.saving),
            percent_text(row.saving_share_of_optimum),
            number(row.energy_shared_kwh, 1),
            number(row.gini),
            number(row.worst_off),
            percent_text(row.part_better_off, 0),
            number(row.peak_kw, 1),
            percent_text(row.energy_balance, 0),
            number(row.power_flatness),
            percent_text(row.self_sufficiency, 0),
            number(row.steps_outside, 0),
            number(row.rounds, 0),
            number(None if row.bytes is None else row.bytes / 1000, 1),
            number(row.seconds),
        ]
        for scenario, row in zip(outcome.scenarios, outcome.totals, strict=True)
    ]
    return PageTable(f"The {period(outcome.days)}, all homes together", header, rows)


def _homes_table(outcome: Compared, currency: str) -> PageTable:
    """A household's view: what each saves in each market."""
    able = [(s, saved) for s in outcome.scenarios if (saved := outcome.savings(s)) is not None and s != Scenario.B]
    alone = outcome.of(Scenario.B)
    header = ["Home", f"alone, {currency}", *(market_of(scenario).words.label for scenario, _ in able)]
    rows = [
        [
            plain(home.name, 30),
            number(None if any(d.failure for d in alone) else sum(d.costs[k] for d in alone)),
            *(number(saved[k]) for _, saved in able),
        ]
        for k, home in enumerate(outcome.days[0].households)
    ]
    return PageTable(
        "What each home saves", header, rows, "Against what it would pay on its own, losses and trades in."
    )


def _method(outcome: Compared) -> list[str]:
    return [
        "In every market each home pays its supplier for what its trades leave, its neighbours for its trades, and its "
        "part of the losses, by an independent power flow of what was agreed.",
        *(f"{market_of(s).words.label}: {market_of(s).words.paragraph}" for s in outcome.scenarios),
        "The optimum is of the community dealing with its supplier as one, its devices planned together: the cheaper "
        "of a plan that knows no network and of G's, which counts losses and keeps the feeder's limits.",
        "Gini is of the homes' savings: 0 where all save the same, 1 where one saves it all, above 1 where some lose; "
        "better off is who saves more than 0.0001.",
        f"kB are of the numbers that homes and the others sent each other, {NUMBER_BYTES} bytes each, before packing; "
        "seconds are of agreeing in memory, all homes one after another. There is no gas in memory.",
    ]


def _rows(outcome: Compared) -> Iterator[list[Cell]]:
    yield list(ROW)
    for row in outcome.rows:
        texts = {"day": safe_text(row.day), "failure": None if row.failure is None else safe_text(row.failure)}
        yield [texts[name] if name in texts else getattr(row, name) for name in ROW]


def _homes(outcome: Compared) -> Iterator[list[Cell]]:
    yield ["mechanism", "day", "node", "household", "cost", "saving"]
    for scenario in outcome.scenarios:
        for day, one, alone in zip(outcome.days, outcome.of(scenario), outcome.of(Scenario.B), strict=True):
            for k, home in enumerate(day.households if not (one.failure or alone.failure) else ()):
                saving = alone.costs[k] - one.costs[k]
                yield [scenario.value, safe_text(day.day), home.node, safe_text(home.name), one.costs[k], saving]


@styled
def picture(outcome: Compared) -> Figure:
    """Saving, homes, energy and import, a row a market."""
    currency = plain(outcome.days[0].currency, 8)
    rows = len(outcome.scenarios)
    figure = Figure(figsize=(10.0, 1.6 + 0.34 * rows), layout="constrained")
    panels = figure.subplots(1, 4, sharey=True, width_ratios=[3, 3, 2, 2])
    places = np.arange(rows)
    looks = [market_of(scenario).look for scenario in outcome.scenarios]
    colours = [look.colour for look in looks]

    def bars(axes: Axes, values: list[float | None], title: str) -> None:
        axes.barh(places, [np.nan if v is None else v for v in values], height=0.6, color=colours)
        axes.set_xlabel(title)
        axes.grid(axis="x")

    bars(panels[0], [row.saving for row in outcome.totals], f"Saving ({currency})")
    if (best := outcome.best_saving) is not None:
        panels[0].axvline(best, color=INK, linestyle="--", linewidth=1.2)
    for place, scenario, look in zip(places, outcome.scenarios, looks, strict=True):
        if (saved := outcome.savings(scenario)) is not None:
            panels[1].plot(saved, np.full(len(saved), place), look.mark, color=look.colour, markersize=4, alpha=0.6)
    panels[1].axvline(0, color=INK, linewidth=0.8)
    panels[1].set_xlabel(f"Homes' savings ({currency})")
    panels[1].grid(axis="x")
    bars(panels[2], [row.energy_shared_kwh for row in outcome.totals], "Shared (kWh)")
    bars(panels[3], [row.peak_kw for row in outcome.totals], "Highest import (kW)")
    for place, row in zip(places, outcome.totals, strict=True):
        if row.peak_kw is None:
            panels[0].annotate("no plan", (0, place), xytext=(4, 0), textcoords="offset points", va="center")
        else:
            panels[3].annotate(f"{row.steps_outside}", (row.peak_kw, place), xytext=(3, 0), va="center", fontsize=8,
                               textcoords="offset points")  # fmt: skip
    panels[3].margins(x=0.18)
    panels[0].set_yticks(places, [market_of(scenario).words.label for scenario in outcome.scenarios])
    panels[0].invert_yaxis()
    for axes in panels:
        axes.tick_params(axis="y", length=0)
    handle = Line2D([], [], color=INK, linestyle="--", linewidth=1.2)
    figure.legend([handle], ["what the optimum saves"], loc="outside lower left")
    return figure
