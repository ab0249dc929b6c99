"""What the what-ifs came to, as pages: every sentence and number is worked out from the points."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from gridpact.community.assigned import ALL, VARIED
from gridpact.community.model import CommunityDay
from gridpact.problem.scenario import Scenario
from gridpact.report.tables import Cell, safe_text
from gridpact.report.whatif import plots
from gridpact.report.whatif.plots import MIX_NAME, RECOURSE_NAME
from gridpact.study.weeks.fairness import NODE_PRICES, TOLERANCE
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.penetration import MIXES, Penetration, Point
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.sweep import (
    DAY_COLUMNS,
    DayFigures,
    Page,
    Picture,
    PointFigures,
    Table,
    day_cells,
    number,
    percent_text,
)
from gridpact.study.whatif.uncertainty import DayPlan, Draw, Side, Uncertainty, quantiles
from gridpact.text import count, plain

IN_MEMORY = (
    "Every point is the negotiation of the days in memory with the chain's integers, carried out by an independent "
    "power "
    "flow; costs are what all households pay together, losses included, trading coefficients not."
)


def _where(days: Sequence[CommunityDay], rest: str) -> str:
    named = days[0].day if len(days) == 1 else f"{days[0].day} to {days[-1].day} ({len(days)} days)"
    return f"{days[0].name}, {named} · {rest}"


def _period(days: Sequence[CommunityDay]) -> str:
    return "day" if len(days) == 1 else f"{len(days)} days"


def _start(text: str) -> str:
    return text[:1].upper() + text[1:]


def _share(share: float) -> str:
    """A share of households: 50 %, 62.5 %."""
    return f"{100 * share:.3g} %"


def _figures(figures: Mapping[Scenario, PointFigures]) -> dict[str, Any]:
    """For the JSON file."""
    return {
        scenario.value: {
            "verdict": point.verdict,
            "cost": point.cost if point.feasible else None,
            "peak_kw": point.peak_kw if point.feasible else None,
            "voltage_min_pu": point.voltage_min_pu if point.feasible else None,
            "voltage_max_pu": point.voltage_max_pu if point.feasible else None,
            "iterations_a_day": point.iterations if point.feasible else None,
            "failures": [f"{day.day}: {day.failure}" for day in point.failures],
            "days": [{**asdict(day), "scenario": scenario.value, "checks_held": day.checks_held} for day in point.days],
        }
        for scenario, point in figures.items()
    }


Points = Sequence[tuple[str, Mapping[Scenario, PointFigures]]]
"""Points by what they are called."""


def _trust(points: Points) -> list[str]:
    """How far the agreed plans are from the optimum of one optimiser that knows everything, and which to doubt."""
    days = [
        (f"{name} in {scenario.name} on {plain(day.day, 20)}", day)
        for name, of in points
        for scenario, figures in of.items()
        for day in figures.days
    ]
    agreed = [(name, day) for name, day in days if day.scenario != Scenario.B and day.failure is None]
    text = "There is no agreed plan that could be checked"
    if agreed:
        name, worst = max(agreed, key=lambda entry: abs(entry[1].gap))
        text = f"The agreed plans lie at most {percent_text(abs(worst.gap), 3)} from the optimum ({name})"
    doubtful = [f"{_start(name)}: {day.complaint}." for name, day in days if not day.checks_held]
    if doubtful:
        return [f"{text}. Not every check held; read these points with care:", *doubtful]
    return [f"{text}, and every check of every point held." if agreed else f"{text}."]


def _as_points(name: str, plans: Sequence[DayPlan]) -> Points:
    """Plans that are delivered, as points."""
    outcomes = [(plan.planned, plan.baseline) for plan in plans]
    return [(name, {o.scenario: PointFigures((DayFigures.of(o),)) for o in both}) for both in outcomes]


# ---------------------------------------------------------------------- penetration


def penetration_page(outcome: Penetration) -> Page:
    """The page of a penetration study."""
    days, settings = outcome.days, outcome.settings
    currency = plain(days[0].currency, 8)
    scenarios = settings.scenarios
    after = scenarios[-1]
    return Page(
        kind="penetration",
        where=_where(days, f"PV, cars and batteries at 0 to 100 % of the households, seed {settings.seed}"),
        headline=_penetration_headline(outcome, after, currency),
        answers=_penetration_answers(outcome, after),
        tables=[_penetration_table(outcome, mix, currency) for mix in settings.mixes],
        pictures=[
            Picture(
                "penetration",
                plots.penetration(outcome),
                f"Cost of the {_period(days)}, highest import of the feeder, lowest and highest voltage, and "
                "iterations, "
                "by the share of households that have a device. Each column varies one kind of device and leaves the "
                "others as in the case; the last varies all three together.",
            )
        ],
        method=_penetration_method(outcome),
        checks_held=outcome.checks_held,
        fields={
            "case": days[0].name,
            "days": [day.day for day in days],
            "currency": days[0].currency,
            "seed": settings.seed,
            "points": [
                {
                    "mix": point.mix,
                    "share": point.share,
                    "households": {device.kind: owners for device, owners in point.owners.items()},
                    "scenarios": _figures(point.figures),
                }
                for point in outcome.points
            ],
        },
        csv_files={"points.csv": ("every share, scenario and day", list(_penetration_rows(outcome)))},
    )


def _penetration_headline(outcome: Penetration, after: Scenario, currency: str) -> str:
    feasible = {mix: [p for p in outcome.of(mix) if p.figures[after].feasible] for mix in outcome.settings.mixes}
    mix = max(feasible, key=lambda m: (len(feasible[m]), m == ALL))
    points = feasible[mix]
    if len(points) < 2:
        return f"Hardly a share has a feasible plan in {after.name}"
    first, last = points[0], points[-1]
    costs = [point.figures[after].cost for point in (first, last)]
    return (
        f"From {_share(first.share)} to {_share(last.share)} of households with {MIX_NAME[mix]}, the "
        f"{_period(outcome.days)} "
        f"{'cost' if len(outcome.days) > 1 else 'costs'} {number(costs[0])} to {number(costs[1])} {currency} in "
        f"{after.name}"
    )


def _penetration_answers(outcome: Penetration, after: Scenario) -> list[str]:
    said = []
    feeder = outcome.days[0].feeder
    for mix in outcome.settings.mixes:
        points = outcome.of(mix)
        without = [point.share for point in points if not point.figures[after].feasible]
        sentence = f"{_start(MIX_NAME[mix])}: "
        if Scenario.B in outcome.settings.scenarios and after != Scenario.B:
            saved = [
                (point.share, (point.figures[Scenario.B].cost - point.figures[after].cost))
                for point in points
                if point.figures[after].feasible and point.figures[Scenario.B].feasible
            ]
            if saved:
                where, most = max(saved, key=lambda entry: entry[1])
                currency = plain(outcome.days[0].currency, 8)
                sentence += (
                    f"{after.name} saves most at {_share(where)}, {number(most)} {currency} over everybody alone; "
                    if most >= 0
                    else f"{after.name} costs at least {number(-most)} {currency} more than everybody alone; "
                )
            broken = [
                point.share
                for point in points
                if point.figures[Scenario.B].feasible
                and not feeder.voltage_min_pu - 1e-6
                <= point.figures[Scenario.B].voltage_min_pu
                <= point.figures[Scenario.B].voltage_max_pu
                <= feeder.voltage_max_pu + 1e-6
            ]
            sentence += f"alone, voltages leave their limits {_at(broken, points)}; "
        sentence += (
            f"{after.name} has a feasible plan {_at([p.share for p in points if p.share not in without], points)}."
        )
        said.append(sentence)
    return [*said, *_trust([(f"{MIX_NAME[p.mix]} {_share(p.share)}", p.figures) for p in outcome.points])]


def _at(shares: Sequence[float], of: Sequence[Point]) -> str:
    """Where among the points of a mix."""
    if len(shares) == len(of):
        return "everywhere"
    return "at " + ", ".join(_share(share) for share in shares) if shares else "nowhere"


def _penetration_table(outcome: Penetration, mix: str, currency: str) -> Table:
    header = ["Share"]
    for scenario in outcome.settings.scenarios:
        header += [f"{scenario.name}: cost, {currency}", "import, kW", "voltage, p.u."]
        header += ["iterations a day", "from the optimum"] if scenario != Scenario.B else []
    rows = []
    for point in outcome.of(mix):
        row = [f"{_share(point.share)} ({_owners(point)})"]
        for scenario, figures in point.figures.items():
            agreed = scenario != Scenario.B
            agreement = [number(figures.iterations, 0), percent_text(figures.gap, 3)] if agreed else []
            if figures.feasible:
                voltages = f"{figures.voltage_min_pu:.3f} to {figures.voltage_max_pu:.3f}"
                row += [number(figures.cost), number(figures.peak_kw, 1), voltages, *agreement]
            else:
                row += [figures.verdict, *["–"] * (4 if agreed else 2)]
        rows.append(row)
    failures = [day.failure for p in outcome.of(mix) for f in p.figures.values() for day in f.failures if day.failure]
    note = f"For example: {failures[0]}." if failures else ""
    return Table(f"Share of households with {MIX_NAME[mix]}", header, rows, note)


def _owners(point: Point) -> str:
    owners = {device: point.owners[device] for device in MIXES[point.mix]}
    return str(next(iter(owners.values()))) if len(set(owners.values())) == 1 else "/".join(map(str, owners.values()))


def _penetration_method(outcome: Penetration) -> list[str]:
    typical, day = outcome.typical, outcome.days[0]
    given = {device for mix in outcome.settings.mixes for device in MIXES[mix]}
    gets = [
        f"no {device.plural}, since the case has none" if own is None else own.in_words
        for device, own in typical.devices.items()
        if device in given
    ]
    own = ", ".join(f"{kind} {_share(outcome.own_share(device))}" for kind, device in VARIED.items() if device in given)
    return [
        f"Households get devices in an order that is drawn once (seed {outcome.settings.seed}), those first that "
        "have one "
        "in the case: so a higher share has all devices of a lower one, and the case's own share is the case itself "
        f"({own}).",
        f"A household that had none gets {'; '.join(gets)}; with panels comes an inverter of "
        f"{typical.inverter_kvar_per_kwp:g} kvar/kWp. Loads stay as they are.",
        f"Scenarios: {', '.join(s.name for s in outcome.settings.scenarios)}; in B everybody plans alone with its "
        "supplier and nobody looks at the feeder, so there its voltages may leave "
        f"{day.feeder.voltage_min_pu:g} to {day.feeder.voltage_max_pu:g} p.u.",
        IN_MEMORY,
    ]


def _penetration_rows(outcome: Penetration) -> Iterator[Sequence[Cell]]:
    yield ["mix", "share", *(f"households_with_{kind}" for kind in VARIED), *DAY_COLUMNS]
    for point in outcome.points:
        for figures in point.figures.values():
            for day in figures.days:
                yield [point.mix, point.share, *(point.owners[device] for device in VARIED.values()), *day_cells(day)]


# ---------------------------------------------------------------------- sensitivity


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
                f"The lowest and highest saving in TG over B on the {_period(days)}, as one number moves through its "
                "range and all others stay as in the case.",
            ),
            Picture(
                "sensitivity",
                plots.sensitivity(outcome),
                "Saving over B with the same number, energy traded between neighbours, highest import of the feeder "
                "and "
                "lowest voltage. B looks at no voltages, so they may leave the limit.",
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
        where=_where(days, f"one number at a time, seed {settings.delivery.seed}"),
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
                    "scenarios": _figures(point.figures),
                }
                for point in outcome.points
            ],
            "delivery": _delivery_fields(settings.delivery) if outcome.adders else None,
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
    found = []
    for parameter in outcome.settings.values:
        savings = [s for point in outcome.of(parameter) if (s := point.saving(Scenario.TG)) is not None]
        if savings:
            found.append((max(savings) - min(savings), parameter, min(savings), max(savings)))
    return sorted(found, key=lambda entry: -entry[0])


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
        f"{_start(PARAMETER_WORDS[parameter])} moves the saving in TG most: from {percent_text(low)} to "
        f"{percent_text(high)} of what everybody pays alone"
    )


def _sensitivity_answers(outcome: Sensitivity) -> list[str]:
    said = [
        f"{_start(PARAMETER_WORDS[parameter])}: {percent_text(low)} to {percent_text(high)}."
        for _, parameter, low, high in _spans(outcome)[1:]
    ]
    for parameter in outcome.settings.values:
        without = [point.value for point in outcome.of(parameter) if point.saving(Scenario.TG) is None]
        if without:
            said.append(
                f"No feasible plan in TG where {PARAMETER_WORDS[parameter]} is {', '.join(f'{v:g}' for v in without)}."
            )
    if outcome.adders and outcome.planned_saving:
        for recourse in outcome.settings.delivery.recourses:
            left = [float(np.median(point.savings[recourse])) / outcome.planned_saving for point in outcome.adders]
            said.append(
                f"With {RECOURSE_NAME[recourse]}, {percent_text(left[0], 0)} of the planned saving is left (median) "
                f"at an adder of {outcome.adders[0].adder:g}, {percent_text(left[-1], 0)} at "
                f"{outcome.adders[-1].adder:g} {plain(outcome.days[0].currency, 8)}/kWh."
            )
    if outcome.not_delivered:
        said.append(f"Nothing was delivered with adders: {outcome.not_delivered}.")
    varied = [(f"{p.parameter.value} {p.value:g}", p.figures) for p in outcome.points]
    return [*said, *_trust([*varied, *_as_points("the plan delivered with adders", outcome.plans)])]


def _sensitivity_table(outcome: Sensitivity, parameter: Parameter, currency: str) -> Table:
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
        _start(PARAMETER_WORDS[parameter]).removeprefix("The ").capitalize(),
        *(f"{s.name}: cost, {currency}" for s in scenarios), "T: saving", "TG: saving", "TG: traded, kWh",
        "import, kW", "lowest voltage, p.u.", "iterations a day", "from the optimum",
    ]  # fmt: skip
    unit = {
        Parameter.CHI: f"Trading coefficient in {currency}/kWh.",
        Parameter.FEED_IN: "Feed-in price as a share of the import price.",
        Parameter.BATTERY: "Multiples of the case's batteries.",
        Parameter.LINES: "Multiples of the case's impedances.",
    }[parameter]
    return Table(_start(PARAMETER_WORDS[parameter]), header, rows, unit)


def _adder_table(outcome: Sensitivity, currency: str) -> Table:
    rows = []
    for point in outcome.adders:
        for recourse, savings in point.savings.items():
            q = quantiles(savings)
            left = q[0.5] / outcome.planned_saving if outcome.planned_saving else None
            rows.append(
                [
                    f"{point.adder:g}, {RECOURSE_NAME[recourse]}",
                    *(number(q[k]) for k in (0.05, 0.5, 0.95)),
                    percent_text(left, 0),
                    number(point.paid[recourse]),
                ]
            )
    return Table(
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


# ---------------------------------------------------------------------- uncertainty


def uncertainty_page(outcome: Uncertainty) -> Page:
    """The page of a delivery under uncertainty."""
    days = [plan.community for plan in outcome.plans]
    settings = outcome.settings
    currency = plain(days[0].currency, 8)
    return Page(
        kind="uncertainty",
        where=_where(days, f"scenario {settings.scenario.name}, {settings.draws} draws, seed {settings.seed}"),
        headline=_uncertainty_headline(outcome, currency),
        answers=_uncertainty_answers(outcome, currency),
        tables=[
            _recourse_table(outcome, currency),
            _household_table(outcome, currency),
            *([] if settings.scenario.has_contracts else [_sharing_table(outcome, currency)]),
        ],
        pictures=[
            Picture(
                "savings",
                plots.savings(outcome),
                "What the community saves over B when both live through the same reality with the same recourse.",
            ),
            Picture(
                "households",
                plots.households(outcome),
                "The same for every household: what the plan promised, and what the draws left.",
            ),
            Picture(
                "exchange",
                plots.exchange(outcome),
                "What passes the grid connection: as planned, and as it turned out.",
            ),
        ],
        method=_uncertainty_method(outcome, currency),
        checks_held=outcome.checks_held,
        fields={
            "case": days[0].name,
            "days": [day.day for day in days],
            "currency": days[0].currency,
            **_delivery_fields(settings),
            "mean_load_error": outcome.load_error,
            "mean_pv_error": outcome.pv_error,
            "planned_cost": outcome.planned_cost,
            "baseline_cost": outcome.baseline_cost,
            "planned_saving": outcome.planned_saving,
            "recourse": {recourse.value: _recourse_fields(outcome, recourse) for recourse in settings.recourses},
        },
        csv_files={
            "draws.csv": ("every draw of every day with every recourse", list(_draw_rows(outcome))),
            "households.csv": ("savings of every household", list(_household_rows(outcome))),
        },
    )


def _recourse_fields(outcome: Uncertainty, recourse: Recourse) -> dict[str, Any]:
    savings = outcome.savings(recourse)

    def mean(of: Callable[[Draw], float]) -> float:
        return float(np.mean(outcome.over_days(recourse, of)))

    return {
        "saving_mean": float(np.mean(savings)),
        "saving_quantiles": {str(q): value for q, value in quantiles(savings).items()},
        "left_of_planned_median": _left(outcome, recourse),
        "saving_median_if_netted": float(np.median(outcome.savings_if_netted(recourse))),
        "draws_with_a_loss": float(np.mean(savings < 0)),
        "adder_mean": mean(lambda d: d.planned.adder),
        "deviation_kwh_mean": mean(lambda d: d.planned.deviation_kwh),
        "netted_kwh_mean": mean(lambda d: d.planned.netted_kwh),
        "public_kwh_mean": mean(lambda d: d.planned.public_kwh),
        "days_outside_voltage_limits": _outside(outcome, recourse, lambda d: d.planned),
        "days_outside_voltage_limits_baseline": _outside(outcome, recourse, lambda d: d.baseline),
    }


def _left(outcome: Uncertainty, recourse: Recourse) -> float | None:
    planned = outcome.planned_saving
    return float(np.median(outcome.savings(recourse))) / planned if planned > 1e-9 else None


def _main_recourse(outcome: Uncertainty) -> Recourse:
    recourses = outcome.settings.recourses
    return Recourse.ROLLING if Recourse.ROLLING in recourses else recourses[0]


def _uncertainty_headline(outcome: Uncertainty, currency: str) -> str:
    recourse = _main_recourse(outcome)
    median = float(np.median(outcome.savings(recourse)))
    if median < 0:
        return (
            f"A planned saving of {number(outcome.planned_saving)} {currency} becomes a loss of {number(-median)} when "
            "forecasts err (median)"
        )
    left = _left(outcome, recourse)
    share = f" ({percent_text(left, 0)})" if left is not None else ""
    return (
        f"Of a planned saving of {number(outcome.planned_saving)} {currency}, {number(median)}{share} is left when "
        "forecasts err (median)"
    )


def _uncertainty_answers(outcome: Uncertainty, currency: str) -> list[str]:
    said = []
    for recourse in outcome.settings.recourses:
        savings = outcome.savings(recourse)
        q = quantiles(savings)
        adder = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.adder)))
        deviation = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.deviation_kwh)))
        netted = float(np.mean(outcome.over_days(recourse, lambda d: d.planned.netted_kwh)))
        text = (
            f"{_start(RECOURSE_NAME[recourse])}: median {number(q[0.5])} {currency}, 5 to 95 % of draws "
            f"{number(q[0.05])} to {number(q[0.95])}; {percent_text(float(np.mean(savings < 0)), 0)} of draws lose. "
            f"Households deviate by {number(deviation, 0)} kWh"
        )
        if outcome.settings.scenario.has_contracts:
            text += (
                f" and pay {number(adder)} {currency} of adders for it; if neighbours' deviations were netted first, "
                f"{number(netted, 0)} kWh would be left, and a median saving of "
                f"{number(float(np.median(outcome.savings_if_netted(recourse))))} {currency}."
            )
        else:
            text += (
                f", the community at the grid connection by {number(netted, 0)} kWh, for which it pays "
                f"{number(adder)} {currency} of adders."
            )
        said.append(text)
    return [*said, *_trust(_as_points("the plan", outcome.plans))]


def _recourse_table(outcome: Uncertainty, currency: str) -> Table:
    rows = []
    for recourse in outcome.settings.recourses:
        savings = outcome.savings(recourse)
        q = quantiles(savings)
        rows.append(
            [
                _start(RECOURSE_NAME[recourse]),
                *(number(q[k]) for k in (0.05, 0.25, 0.5, 0.75, 0.95)),
                percent_text(_left(outcome, recourse), 0),
                percent_text(float(np.mean(savings < 0)), 0),
                number(float(np.mean(outcome.over_days(recourse, lambda d: d.planned.adder)))),
                number(float(np.mean(outcome.over_days(recourse, lambda d: d.planned.public_kwh))), 1),
                percent_text(_outside(outcome, recourse, lambda d: d.planned), 0),
                percent_text(_outside(outcome, recourse, lambda d: d.baseline), 0),
            ]
        )
    return Table(
        "What is left of the saving",
        [
            "Recourse", f"saving, {currency}: 5 %", "25 %", "median", "75 %", "95 %", "left of planned",
            "draws that lose", f"adders, {currency}", "public charging, kWh", "days outside voltage limits",
            "the same in B",
        ],
        rows,
        f"Planned: {number(outcome.planned_cost)} {currency} instead of {number(outcome.baseline_cost)}, a saving of "
        f"{number(outcome.planned_saving)}.",
    )  # fmt: skip


def _outside(outcome: Uncertainty, recourse: Recourse, side: Callable[[Draw], Side]) -> float:
    """The share of days and draws on which a voltage leaves its limits."""
    feeder = outcome.plans[0].community.feeder
    drawn = [side(d) for d in outcome.draws if d.recourse is recourse]
    return float(
        np.mean(
            [
                s.voltage_min_pu < feeder.voltage_min_pu - 1e-6 or s.voltage_max_pu > feeder.voltage_max_pu + 1e-6
                for s in drawn
            ]
        )
    )


def _household_table(outcome: Uncertainty, currency: str) -> Table:
    recourse = _main_recourse(outcome)
    drawn, planned = outcome.household_savings(recourse), outcome.planned_household_savings
    rows = []
    for row, home in enumerate(outcome.plans[0].community.households):
        low, middle, high = np.quantile(drawn[:, row], (0.05, 0.5, 0.95))
        rows.append(
            [
                home.name, number(float(planned[row])), number(float(low)), number(float(middle)), number(float(high)),
                percent_text(float(np.mean(drawn[:, row] < 0)), 0),
            ]
        )  # fmt: skip
    return Table(
        f"Each household's saving ({RECOURSE_NAME[recourse]})",
        ["Household", f"planned, {currency}", "5 %", "median", "95 %", "draws that lose"],
        rows,
    )


def _sharing_table(outcome: Uncertainty, currency: str) -> Table:
    """In G: who keeps what is left of the saving, by the rule that shares what the community pays."""
    recourse = _main_recourse(outcome)
    prosumer = np.array([home.is_prosumer for home in outcome.plans[0].community.households], dtype=bool)
    rows = []
    for rule, saved in outcome.shared(recourse).items():
        middle = np.median(saved, axis=0)  # (n,)
        rows.append(
            [
                rule,
                number(float(np.median(saved[:, prosumer].sum(axis=1)))),
                number(float(np.median(saved[:, ~prosumer].sum(axis=1)))),
                number(float(middle.min())),
                number(float(middle.max())),
                f"{int((middle < -TOLERANCE).sum())} of {len(middle)}",
            ]
        )
    return Table(
        f"Who keeps what is left ({RECOURSE_NAME[recourse]})",
        [
            "Shared", f"prosumers, {currency}", f"consumers, {currency}", "least of a household", "most",
            "households that lose",
        ],
        rows,
        "Medians of the draws. Equal parts and the baseline share all that the community pays, public charging "
        "included; the baseline is what each pays in B in the same reality.",
    )  # fmt: skip


def _uncertainty_method(outcome: Uncertainty, currency: str) -> list[str]:
    settings = outcome.settings
    return [
        "The day of the case is the forecast, and the plan is made on it. A draw is a reality: every load and PV "
        "output is "
        f"the forecast times an error that is right on average (relative standard deviation {settings.model.load:g} "
        "for "
        f"loads, {settings.model.pv:g} for PV, correlation {settings.model.correlation:g} from hour to hour; "
        f"{_share(settings.model.common_sky)} of the PV error's variance is common to all). Over all draws the mean "
        "error of "
        f"a home and step is {percent_text(outcome.load_error, 0)} of the load and "
        f"{percent_text(outcome.pv_error, 0)} of the PV output.",
        *(
            [
                "Cars follow a Markov chain with a transition matrix for each step (at home, driving, elsewhere): they "
                f"leave and come home within {settings.model.departure_hours:g} h (standard deviation) of the ends of "
                f"their window, and make {settings.model.trips_a_day:g} short trips a day besides."
            ]
            if settings.model.cars
            else ["Cars are at home when they are expected."]
        ),
        *_settlement(outcome, currency),
        "What a household can do: with devices as planned, its battery does what was planned and its car charges as "
        "planned while it is there, and makes up for what it missed when it is back. With the rest of the day planned "
        "anew, it knows at every step its load, PV output and whether its car is there, takes the forecast for what "
        "follows (corrected by the error of now, which fades), and plans its own devices anew; nobody agrees on "
        "anything again, and nobody looks at the feeder. Hindsight plans with the whole day known.",
        "B lives through the same realities with the same recourse, but has told nobody a plan, so it pays no adder.",
    ]


def _settlement(outcome: Uncertainty, currency: str) -> list[str]:
    settings = outcome.settings
    elsewhere = (
        "What a car could not take in at home it takes at a public charger for "
        f"{settings.public_price_on(outcome.plans[0].community):.2f} {currency}/kWh. Losses are bought at the import "
        "price."
    )
    if settings.scenario.has_contracts:
        return [
            "Trades stand as agreed, with their payments. What the meter reads beyond them is settled with the "
            "supplier at its tariff; a kilowatt-hour of deviation from the plan costs "
            f"{settings.adder:g} {currency} besides, in either direction. {elsewhere}"
        ]
    return [
        "The community buys at the grid connection what is really needed there, losses included, at the supplier's "
        "tariff; a kilowatt-hour by which that differs from what the community planned to import costs "
        f"{settings.adder:g} {currency} besides, in either direction. What neighbours deviate in opposite directions "
        f"cancels. {elsewhere}",
        "To the community each household has promised the injection of its plan. It pays its part of the plan's bill, "
        "by the prices of the nodes; the import price for what it lacks of the promise, and gets the feed-in price for "
        "what it has beyond; its part of the community's adders by how much it deviates; and its car's public "
        "charging. Since neighbours' deviations cancel, that collects more than the community pays; what is over goes "
        "back by the energy that passed each meter. When a household plans anew it counts the adder for all of its own "
        "deviation, since it does not know what the others do.",
    ]


def _delivery_method(outcome: Sensitivity) -> list[str]:
    delivery = outcome.settings.delivery
    return [
        f"Adders: {count(delivery.draws, 'draw')} of a reality for each day, the same at every adder, as `gridpact "
        "uncertainty` "
        f"draws and delivers them (errors {delivery.model.load:g} of loads, {delivery.model.pv:g} of PV)."
    ]


def _delivery_fields(settings: Any) -> dict[str, Any]:
    return {
        "scenario": settings.scenario.value,
        "draws": settings.draws,
        "seed": settings.seed,
        "adder": settings.adder,
        "public_price": settings.public_price,
        "model": asdict(settings.model),
        "recourses": [recourse.value for recourse in settings.recourses],
    }


def _draw_rows(outcome: Uncertainty) -> Iterator[Sequence[Cell]]:
    yield [
        "day", "draw", "recourse", "cost_b", "cost", "saving", "adder", "public", "losses", "deviation_kwh",
        "netted_deviation_kwh", "public_kwh", "voltage_min_pu", "voltage_max_pu", "voltage_min_pu_b",
        "voltage_max_pu_b",
    ]  # fmt: skip
    for d in outcome.draws:
        yield _draw_cells(d)


def _draw_cells(d: Draw) -> list[Cell]:
    p, b = d.planned, d.baseline
    return [
        d.day, d.number, d.recourse.value, b.cost, p.cost, d.saving, p.adder, p.public, p.losses, p.deviation_kwh,
        p.netted_kwh, p.public_kwh, p.voltage_min_pu, p.voltage_max_pu, b.voltage_min_pu, b.voltage_max_pu,
    ]  # fmt: skip


def _household_rows(outcome: Uncertainty) -> Iterator[Sequence[Cell]]:
    """The sharing is how a household's part is found; only G has more than one."""
    yield ["household", "recourse", "sharing", "planned_saving", "saving_5", "saving_50", "saving_95", "saving_mean"]
    in_common = not outcome.settings.scenario.has_contracts
    for recourse in outcome.settings.recourses:
        by_rule = outcome.shared(recourse) if in_common else {"as traded": outcome.household_savings(recourse)}
        planned = outcome.planned_household_savings
        for rule, drawn in by_rule.items():
            for row, home in enumerate(outcome.plans[0].community.households):
                low, middle, high = (float(q) for q in np.quantile(drawn[:, row], (0.05, 0.5, 0.95)))
                promised = float(planned[row]) if rule in ("as traded", NODE_PRICES) else None
                mean = float(np.mean(drawn[:, row]))
                yield [safe_text(home.name), recourse.value, rule, promised, low, middle, high, mean]
