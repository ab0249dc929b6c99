"""The page of `gridpact sensitivity`: every sentence and number is worked out from the points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from gridpact.problem.scenario import Scenario
from gridpact.report.tables import Cell
from gridpact.report.whatif import plots
from gridpact.report.whatif.common import (
    IN_MEMORY,
    as_points,
    delivery_fields,
    figures_fields,
    period,
    start,
    trust,
    where,
)
from gridpact.report.whatif.page import DAY_COLUMNS, Page, PageTable, Picture, day_cells, number, percent_text
from gridpact.report.whatif.plots import RECOURSE_NAME
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.uncertainty import quantiles
from gridpact.text import count, plain, share


def sensitivity_page(outcome: Sensitivity) -> Page:
    """The page of a sensitivity study."""
    days, settings = outcome.days, outcome.settings
    currency = plain(days[0].currency, 8)
    pictures, tables = [], []
    if settings.values:
        pictures = [
            Picture(
                "spans",
                plots.spans(outcome),
                f"The lowest and highest saving in TG over B on the {period(days)}, as one number moves through its "
                "range and all others stay as in the case.",
            ),
            Picture(
                "sensitivity",
                plots.sensitivity(outcome),
                "Saving over B with the same number, energy traded between neighbours, highest import of the feeder "
                "and lowest voltage. B looks at no voltages, so they may leave the limit.",
            ),
        ]
        tables = [_sensitivity_table(outcome, parameter, currency) for parameter in settings.values]
    if outcome.adders:
        pictures.append(
            Picture(
                "adders",
                plots.adders(outcome),
                f"The saving of {settings.delivery.scenario.name} that is left when the day turns out otherwise than "
                "forecast, by what a kilowatt-hour of deviation costs besides the tariff. The same draws at every "
                "adder.",
            )
        )
        tables.append(_adder_table(outcome, currency))
    return Page(
        kind="sensitivity",
        where=where(days, f"one number at a time, seed {settings.delivery.seed}"),
        headline=_sensitivity_headline(outcome),
        answers=_sensitivity_answers(outcome),
        tables=tables,
        pictures=pictures,
        method=[
            "Savings compare T and TG with B at the same value: with a higher feed-in price B pays less, too.",
            "A feed-in share of 1 leaves nothing to gain by trades; then TG saves what the feeder loses less.",
            "Batteries: capacity, power and charge at the start are multiplied. Lines: resistance and reactance.",
            *(_delivery_method(outcome) if outcome.adders else []),
            IN_MEMORY,
        ],
        checks_held=outcome.checks_held,
        fields={
            "case": days[0].name,
            "days": [day.day for day in days],
            "currency": days[0].currency,
            "points": [
                {
                    "parameter": point.parameter.value,
                    "value": point.value,
                    "saving_t": point.saving(Scenario.T),
                    "saving_tg": point.saving(Scenario.TG),
                    "scenarios": figures_fields(point.figures),
                }
                for point in outcome.points
            ],
            "delivery": delivery_fields(settings.delivery) if outcome.adders else None,
            "planned_saving": outcome.planned_saving if outcome.adders else None,
            "not_delivered": outcome.not_delivered,
            "adders": [
                {
                    "adder": point.adder,
                    **{
                        r.value: {"savings": s.tolist(), "mean": float(np.mean(s)), "adder_paid_mean": point.paid[r]}
                        for r, s in point.savings.items()
                    },
                }
                for point in outcome.adders
            ],
        },
        csv_files={
            "points.csv": ("every value, scenario and day", list(_sensitivity_rows(outcome))),
            **(
                {"adders.csv": ("every adder, recourse and draw", list(_adder_rows(outcome)))} if outcome.adders else {}
            ),
        },
    )


def _spans(outcome: Sensitivity) -> list[tuple[float, Parameter, float, float]]:
    spans = []
    for parameter in outcome.settings.values:
        savings = [s for point in outcome.of(parameter) if (s := point.saving(Scenario.TG)) is not None]
        if savings:
            spans.append((max(savings) - min(savings), parameter, min(savings), max(savings)))
    return sorted(spans, key=lambda entry: -entry[0])


PARAMETER_WORDS = {
    Parameter.CHI: "the trading coefficient",
    Parameter.FEED_IN: "the feed-in price",
    Parameter.BATTERY: "the size of batteries",
    Parameter.LINES: "the impedance of lines",
}


def _sensitivity_headline(outcome: Sensitivity) -> str:
    spans = _spans(outcome)
    if not spans:
        return "What is left of the saving depends on what a deviation costs"
    _, parameter, low, high = spans[0]
    return (
        f"{start(PARAMETER_WORDS[parameter])} moves the saving in TG most: from {percent_text(low)} to "
        f"{percent_text(high)} of what everybody pays alone"
    )


def _sensitivity_answers(outcome: Sensitivity) -> list[str]:
    sentences = [
        f"{start(PARAMETER_WORDS[parameter])}: {percent_text(low)} to {percent_text(high)}."
        for _, parameter, low, high in _spans(outcome)[1:]
    ]
    for parameter in outcome.settings.values:
        without = [point.value for point in outcome.of(parameter) if not point.figures[Scenario.TG].feasible]
        if without:
            sentences.append(
                f"No feasible plan in TG where {PARAMETER_WORDS[parameter]} is {', '.join(f'{v:g}' for v in without)}."
            )
    if outcome.adders and share(1.0, outcome.planned_saving) is not None:
        for recourse in outcome.settings.delivery.recourses:
            left = [float(np.median(point.savings[recourse])) / outcome.planned_saving for point in outcome.adders]
            sentences.append(
                f"With {RECOURSE_NAME[recourse]}, {percent_text(left[0], 0)} of the planned saving is left (median) "
                f"at an adder of {outcome.adders[0].adder:g}, {percent_text(left[-1], 0)} at "
                f"{outcome.adders[-1].adder:g} {plain(outcome.days[0].currency, 8)}/kWh."
            )
    if outcome.not_delivered:
        sentences.append(f"Nothing was delivered with adders: {outcome.not_delivered}.")
    varied = [(f"{p.parameter.value} {p.value:g}", p.figures) for p in outcome.points]
    return [*sentences, *trust([*varied, *as_points("the plan delivered with adders", outcome.plans)])]


def _sensitivity_table(outcome: Sensitivity, parameter: Parameter, currency: str) -> PageTable:
    scenarios = (Scenario.B, Scenario.T, Scenario.TG)
    rows = []
    for point in outcome.of(parameter):
        row = [f"{point.value:g}"]
        for s in scenarios:
            figures = point.figures[s]
            row.append(number(figures.cost) if figures.feasible else figures.verdict)
        row += [percent_text(point.saving(s)) for s in (Scenario.T, Scenario.TG)]
        tg = point.figures[Scenario.TG]
        if tg.feasible:
            row += [number(tg.total(lambda d: d.traded_kwh), 1), number(tg.peak_kw, 1), f"{tg.voltage_min_pu:.3f}"]
            row += [number(tg.iterations, 0), percent_text(tg.gap, 3)]
        else:
            row += ["–"] * 5
        rows.append(row)
    header = [
        start(PARAMETER_WORDS[parameter]).removeprefix("The ").capitalize(),
        *(f"{s.name}: cost, {currency}" for s in scenarios), "T: saving", "TG: saving", "TG: traded, kWh",
        "import, kW", "lowest voltage, p.u.", "iterations a day", "from the optimum",
    ]  # fmt: skip
    unit = {
        Parameter.CHI: f"Trading coefficient in {currency}/kWh.",
        Parameter.FEED_IN: "Feed-in price as a share of the import price.",
        Parameter.BATTERY: "Multiples of the case's batteries.",
        Parameter.LINES: "Multiples of the case's impedances.",
    }[parameter]
    return PageTable(start(PARAMETER_WORDS[parameter]), header, rows, unit)


def _adder_table(outcome: Sensitivity, currency: str) -> PageTable:
    rows = []
    for point in outcome.adders:
        for recourse, savings in point.savings.items():
            q = quantiles(savings)
            left = share(q[0.5], outcome.planned_saving)
            rows.append(
                [
                    f"{point.adder:g}, {RECOURSE_NAME[recourse]}",
                    *(number(q[k]) for k in (0.05, 0.5, 0.95)),
                    percent_text(left, 0),
                    number(point.paid[recourse]),
                ]
            )
    return PageTable(
        "Imbalance adder",
        [f"{currency}/kWh, recourse", f"saving, {currency}: 5 %", "median", "95 %", "left of planned", "adders paid"],
        rows,
        f"Planned saving: {number(outcome.planned_saving)} {currency}.",
    )


def _sensitivity_rows(outcome: Sensitivity) -> Iterator[Sequence[Cell]]:
    yield ["parameter", "value", *DAY_COLUMNS]
    for point in outcome.points:
        for figures in point.figures.values():
            for day in figures.days:
                yield [point.parameter.value, point.value, *day_cells(day)]


def _adder_rows(outcome: Sensitivity) -> Iterator[Sequence[Cell]]:
    yield ["adder", "recourse", "draw", "saving"]
    for point in outcome.adders:
        for recourse, savings in point.savings.items():
            for k, saving in enumerate(savings):
                yield [point.adder, recourse.value, k, float(saving)]


def _delivery_method(outcome: Sensitivity) -> list[str]:
    delivery = outcome.settings.delivery
    return [
        f"Adders: {count(delivery.draws, 'draw')} of a reality for each day, the same at every adder, as `gridpact "
        f"uncertainty` draws and delivers them (errors {delivery.model.load:g} of loads, {delivery.model.pv:g} of PV)."
    ]
