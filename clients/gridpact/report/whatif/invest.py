"""The page of `gridpact study --invest`: what homes pay in a year, and what would be worth buying."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gridpact.market.registry import market_of
from gridpact.problem.scenario import Scenario
from gridpact.report.tables import Cell, safe_text
from gridpact.report.whatif.page import Page, PageTable, number
from gridpact.study.whatif.invest import Invested, Option
from gridpact.text import count, plain


def invest_page(study: Invested) -> Page:
    """The page of a study of investments."""
    currency = plain(study.community.currency, 8)
    homes = [(row.integer("node", 1, 10**6), row.text("household")) for row in study.community.rows]
    return Page(
        kind="invest",
        where=f"{study.community.name}, {count(len(study.days), 'day')} that stand for a year",
        headline=_headline(study, currency),
        answers=[*_answers(study, currency), *study.not_offered],
        tables=[_year(study, homes, currency), *(_worth(study, scenario, currency) for scenario in study.scenarios)],
        pictures=[],
        method=[
            "The days and for how many each stands: "
            + ", ".join(f"{day} ({weight:.1f})" for day, weight in study.days.items())
            + ".",
            "Of the home on its own (B) it is its own bill that falls; in every other scenario what all pay together, "
            "by the optimum of one that knows everything, whoever has it by the prices of the trades.",
            f"A year of what is bought is its annuity at {100 * study.settings.interest:g} %, and its upkeep. Years "
            "until it has paid for itself are price by saving less upkeep, without interest.",
            *(f"{_capital(asset.words)}: {number(asset.price)} {currency}, "
              f"{' and '.join(f'{part.life_years:g}' for part in asset.parts)} years, {number(asset.upkeep)} a year of "
              f"upkeep. Source: {asset.stated['source']}." for asset in study.settings.assets),
            "The sources have euros; whatever the community's currency is, the figures are taken as they are.",
        ],
        checks_held=all(outcome.checks_held for outcome in study.outcomes.values()),
        fields={
            "case": study.community.name,
            "days": dict(study.days),
            "currency": study.community.currency,
            "interest": study.settings.interest,
            "assets": {a.kind: {**a.stated, "investment": a.price} for a in study.settings.assets},
            "yearly": {
                s.value: {"all": study.yearly(s), **{name: study.yearly(s, node) for node, name in homes}}
                for s in study.scenarios
            },
            "owned": {name: study.owned(node) for node, name in homes},
            "options": [
                {
                    "household": option.name,
                    "node": option.node,
                    "asset": option.asset.kind,
                    "price": option.asset.price,
                    "yearly": option.asset.yearly(study.settings.interest),
                    "scenarios": {
                        s.value: {
                            "saving": option.saving[s], "net": option.net(s), "payback_years": option.payback_years(s)
                        }
                        for s in study.scenarios
                    },
                }
                for option in study.options
            ],
        },
        csv_files={
            "options.csv": ("everything that anybody could buy, by scenario", list(_rows(study))),
            "yearly.csv": ("what every home pays in a year, by scenario", list(_yearly_rows(study, homes))),
        },
    )  # fmt: skip


def _headline(study: Invested, currency: str) -> str:
    last = study.scenarios[-1]
    best = study.best(last)
    if not best:
        return f"Nothing that could be bought would pay for itself in {last.name}"
    first = best[0]
    return (
        f"Next, {plain(first.name, 40)} should buy {first.asset.words}: in {last.name} that leaves "
        f"{number(first.net(last))} {currency} a year"
    )


def _answers(study: Invested, currency: str) -> Iterator[str]:
    for scenario in study.scenarios:
        best = study.best(scenario)
        whose = "its home" if scenario == Scenario.B else "all together"
        all_pay = f"All pay {number(study.yearly(scenario))} {currency} a year in {scenario.name}"
        if not best:
            yield f"{all_pay}; of {count(len(study.options), 'purchase')} none would be worth its price to {whose}."
            continue
        kinds = {option.asset.kind: option for option in reversed(best)}
        yield (
            f"{all_pay}; {len(best)} of {count(len(study.options), 'purchase')} would be worth their price to {whose}, "
            "best of each kind: "
            + "; ".join(
                f"{plain(option.name, 40)} {option.asset.words}, {number(option.net(scenario))} a year left, paid back "
                f"in {number(option.payback_years(scenario), 1)} years"
                for option in sorted(kinds.values(), key=lambda one: -one.net(scenario))
            )
            + "."
        )


def _year(study: Invested, homes: Sequence[tuple[int, str]], currency: str) -> PageTable:
    rows = [
        (name, *(number(study.yearly(s, node)) for s in study.scenarios), number(study.owned(node)))
        for node, name in homes
    ]
    total = sum(study.owned(node) for node, _ in homes)
    return PageTable(
        f"A year of each home, {currency}",
        ("Household", *(f"Bills in {s.name}" for s in study.scenarios), "What it owns"),
        [*rows, ("All", *(number(study.yearly(s)) for s in study.scenarios), number(total))],
        "What it owns: a year of its panels, batteries and heat pumps, bought anew at these prices. It is in no bill.",
    )


def _worth(study: Invested, scenario: Scenario, currency: str) -> PageTable:
    ranked = sorted(study.options, key=lambda option: -option.net(scenario))[:20]
    return PageTable(
        f"What would be worth buying in {scenario.name} ({market_of(scenario).words.label}), {currency} a year",
        ("Household", "Buys", "Price", "Saves", "Costs", "Leaves", "Paid back, years"),
        [
            (
                option.name, option.asset.words, number(option.asset.price), number(option.saving[scenario]),
                number(option.asset.yearly(study.settings.interest)), number(option.net(scenario)),
                number(option.payback_years(scenario), 1),
            )
            for option in ranked
        ],
        "" if len(study.options) <= len(ranked) else f"The first {len(ranked)}; all of them stand in options.csv.",
    )  # fmt: skip


def _rows(study: Invested) -> Iterator[Sequence[Cell]]:
    yield "household", "node", "asset", "scenario", "price", "saving", "yearly", "net", "payback_years"
    for option in study.options:
        for scenario in study.scenarios:
            yield _row(option, scenario)


def _row(option: Option, scenario: Scenario) -> Sequence[Cell]:
    return (
        safe_text(option.name), option.node, option.asset.kind, scenario.value, option.asset.price,
        option.saving[scenario], option.asset.yearly(option.interest), option.net(scenario),
        option.payback_years(scenario),
    )  # fmt: skip


def _yearly_rows(study: Invested, homes: Sequence[tuple[int, str]]) -> Iterator[Sequence[Cell]]:
    yield "household", "node", "scenario", "bills", "owned"
    for node, name in homes:
        for scenario in study.scenarios:
            yield safe_text(name), node, scenario.value, study.yearly(scenario, node), study.owned(node)


def _capital(text: str) -> str:
    return text[0].upper() + text[1:]
