"""The page of `gridpact penetration`: every sentence and number is worked out from the points."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gridpact.community.assigned import ALL, VARIED
from gridpact.problem.scenario import Scenario
from gridpact.report.tables import Cell
from gridpact.report.whatif import plots
from gridpact.report.whatif.common import (
    IN_MEMORY,
    figures_fields,
    period,
    share_text,
    start,
    trust,
    where,
)
from gridpact.report.whatif.page import DAY_COLUMNS, Page, PageTable, Picture, day_cells, number, percent_text
from gridpact.report.whatif.plots import MIX_NAME
from gridpact.study.whatif.penetration import MIXES, Penetration, PenetrationPoint
from gridpact.text import plain


def penetration_page(outcome: Penetration) -> Page:
    """The page of a penetration study."""
    days, settings = outcome.days, outcome.settings
    currency = plain(days[0].currency, 8)
    scenarios = settings.scenarios
    after = scenarios[-1]
    return Page(
        kind="penetration",
        where=where(days, f"PV, cars and batteries at 0 to 100 % of the households, seed {settings.seed}"),
        headline=_penetration_headline(outcome, after, currency),
        answers=_penetration_answers(outcome, after),
        tables=[_penetration_table(outcome, mix, currency) for mix in settings.mixes],
        pictures=[
            Picture(
                "penetration",
                plots.penetration(outcome),
                f"Cost of the {period(days)}, highest import of the feeder, lowest and highest voltage, and "
                "iterations, by the share of households that have a device. Each column varies one kind of device and "
                "leaves the others as in the case; the last varies all three together.",
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
                    "scenarios": figures_fields(point.figures),
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
        f"From {share_text(first.share)} to {share_text(last.share)} of households with {MIX_NAME[mix]}, the "
        f"{period(outcome.days)} {'cost' if len(outcome.days) > 1 else 'costs'} {number(costs[0])} to "
        f"{number(costs[1])} {currency} in {after.name}"
    )


def _penetration_answers(outcome: Penetration, after: Scenario) -> list[str]:
    sentences = []
    feeder = outcome.days[0].feeder
    for mix in outcome.settings.mixes:
        points = outcome.of(mix)
        without = [point.share for point in points if not point.figures[after].feasible]
        sentence = f"{start(MIX_NAME[mix])}: "
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
                    f"{after.name} saves most at {share_text(where)}, {number(most)} {currency} over everybody alone; "
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
        sentences.append(sentence)
    return [*sentences, *trust([(f"{MIX_NAME[p.mix]} {share_text(p.share)}", p.figures) for p in outcome.points])]


def _at(shares: Sequence[float], of: Sequence[PenetrationPoint]) -> str:
    """Where among the points of a mix."""
    if len(shares) == len(of):
        return "everywhere"
    return "at " + ", ".join(share_text(share) for share in shares) if shares else "nowhere"


def _penetration_table(outcome: Penetration, mix: str, currency: str) -> PageTable:
    header = ["Share"]
    for scenario in outcome.settings.scenarios:
        header += [f"{scenario.name}: cost, {currency}", "import, kW", "voltage, p.u."]
        header += ["iterations a day", "from the optimum"] if scenario != Scenario.B else []
    rows = []
    for point in outcome.of(mix):
        row = [f"{share_text(point.share)} ({_owners(point)})"]
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
    return PageTable(f"Share of households with {MIX_NAME[mix]}", header, rows, note)


def _owners(point: PenetrationPoint) -> str:
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
    varied = {kind: device for kind, device in VARIED.items() if device in given}
    own = ", ".join(f"{kind} {share_text(outcome.own_share(device))}" for kind, device in varied.items())
    return [
        f"Households get devices in an order that is drawn once (seed {outcome.settings.seed}), those first that "
        "have one in the case: so a higher share has all devices of a lower one, and the case's own share is the case "
        f"itself ({own}).",
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
