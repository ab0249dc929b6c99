"""A study as tables: Tables 4 and 5 beside the report's, `study.json` for programs, CSV files for spreadsheets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gridpact import __version__
from gridpact.problem.scenario import Scenario
from gridpact.report.tables import Cell, csv_text, plain_fields, safe_text
from gridpact.study.weeks.fairness import sharings
from gridpact.study.weeks.published import SOURCE, Published
from gridpact.study.weeks.totals import Period, Study, Totals
from gridpact.text import chain_text

MARKER = "study.json"
"""The file by which a folder is known to hold a study."""

CSV_FILES = {
    "economic.csv": "Table 4: costs of prosumers, consumers and the community, beside the report's",
    "energy.csv": "Table 5: exchange, imports, peak imports, voltages and losses, beside the report's",
    "days.csv": "every day in every scenario: cost, optimum, iterations, checks",
    "households.csv": "every household in every period and scenario: energy and costs",
    "fairness.csv": "what every household pays by each way of sharing",
    "gaps.csv": "the days that are traced: gap to the optimum after every iteration",
    "steps.csv": "every step of every day: prices, exchange with the grid, trades, losses, voltages",
}
"""The CSV files and what is in them."""


@dataclass(frozen=True)
class TableLine:
    """One line of a table: what it says of a scenario, and what the report has there."""

    name: str
    unit: str  # "cost", "kWh", "%", "", "kW", "h", "p.u.", "A", "% of rating"
    ours: Callable[[Totals], float | None]
    theirs: Callable[[Published], float | None] = lambda _: None
    strong: bool = False  # a sum

    def digits(self) -> int:
        return {"cost": 2, "%": 1, "kWh": 0, "": 2, "kW": 1, "h": 0, "p.u.": 3, "A": 1, "% of rating": 1}[self.unit]


def economic_lines(period: Period) -> tuple[TableLine, ...]:
    """The lines of Table 4. Import costs hold the losses; transfers between neighbours are counted once."""
    base = period.baseline
    published = period.published.get(Scenario.B)

    def relative(name: str, ours: Callable[[Totals], float], theirs: Callable[[Published], float]) -> TableLine:
        zero, there = ours(base), theirs(published) if published else 0.0
        return TableLine(
            name,
            "%",
            lambda totals: 100 * ours(totals) / zero if zero > 0 else None,
            lambda column: 100 * theirs(column) / there if there else None,
            strong=name.startswith("Total"),
        )

    def traded(value: Callable[[Totals], float]) -> Callable[[Totals], float | None]:
        return lambda totals: value(totals) if totals.scenario.has_trades else None

    return (
        TableLine("Prosumers' import costs", "cost", lambda t: t.prosumers.supply, lambda c: c.prosumer_import),
        TableLine("Consumers' import costs", "cost", lambda t: t.consumers.supply, lambda c: c.consumer_import),
        TableLine("Prosumers' trade costs", "cost", traded(lambda t: t.prosumers.trade), lambda c: c.prosumer_trade),
        TableLine("Consumers' trade costs", "cost", traded(lambda t: t.consumers.trade), lambda c: c.consumer_trade),
        TableLine("Prosumers' total", "cost", lambda t: t.prosumers.total, lambda c: c.prosumer_total),
        TableLine("Consumers' total", "cost", lambda t: t.consumers.total, lambda c: c.consumer_total),
        TableLine("Total costs", "cost", lambda t: t.community.total, lambda c: c.total, strong=True),
        TableLine("of which losses", "cost", lambda t: t.community.losses if t.scenario.has_contracts else None),
        *(
            [TableLine("of which fees on trades, drawing and peaks", "cost", lambda t: t.community.fees)]
            if any(totals.community.fees for totals in period.totals.values())
            else []
        ),
        TableLine("Paid between neighbours", "cost", traded(lambda t: t.transfers)),
        relative("Prosumers' total", lambda t: t.prosumers.total, lambda c: c.prosumer_total),
        relative("Consumers' total", lambda t: t.consumers.total, lambda c: c.consumer_total),
        relative("Total costs", lambda t: t.community.total, lambda c: c.total),
    )


def energy_lines() -> tuple[TableLine, ...]:
    """The lines of Table 5, and what it lacks."""
    return (
        TableLine("Local exchange", "kWh", lambda t: t.exchange_kwh if t.scenario != Scenario.B else None,
             lambda c: c.exchange_kwh),
        TableLine("Imports", "kWh", lambda t: t.import_kwh, lambda c: c.import_kwh),
        TableLine("Imports in peak hours", "kWh", lambda t: t.peak_kwh, lambda c: c.peak_kwh),
        TableLine("Ratio of peak to all imports", "", lambda t: t.peak_ratio, lambda c: c.peak_ratio),
        TableLine("From meter to meter", "kWh", lambda t: t.passed_kwh),
        TableLine("Through the grid connection, in", "kWh", lambda t: t.grid_import_kwh),
        TableLine("of which in peak hours", "kWh", lambda t: t.grid_peak_kwh),
        TableLine("Through the grid connection, out", "kWh", lambda t: t.grid_feed_in_kwh),
        TableLine("Lost in the lines", "kWh", lambda t: t.losses_kwh),
        TableLine("Highest import of the feeder", "kW", lambda t: t.peak_kw),
        TableLine("Highest current of a line", "A", lambda t: t.current_a),
        TableLine("Highest loading of a line", "% of rating", lambda t: None if t.loading is None else 100 * t.loading),
        TableLine("Lowest voltage", "p.u.", lambda t: t.voltage_pu[0]),
        TableLine("Highest voltage", "p.u.", lambda t: t.voltage_pu[1]),
        TableLine("Time with a voltage outside its limits", "h", lambda t: t.hours_outside),
    )  # fmt: skip


def put_tables(study: Study, folder: Path) -> None:
    """Writes `study.json` and the CSV files into a folder that exists and is nobody's yet."""
    for name, table in (
        ("economic.csv", compared(study, economic_lines)),
        ("energy.csv", compared(study, lambda _: energy_lines())),
        ("days.csv", days(study)),
        ("households.csv", households(study)),
        ("fairness.csv", fairness(study)),
        ("gaps.csv", gaps(study)),
        ("steps.csv", steps(study)),
    ):
        (folder / name).write_text(csv_text(table), encoding="utf-8", newline="")
    text = json.dumps(study_fields(study), indent=2, ensure_ascii=False, allow_nan=False)
    (folder / MARKER).write_text(text + "\n", encoding="utf-8")


def compared(study: Study, lines: Callable[[Period], Sequence[TableLine]]) -> Iterable[Sequence[Cell]]:
    """period x line x scenario; `unit` names the currency for costs."""
    yield "period", "figure", "unit", "scenario", "value", "b_der_report"
    for period in study.counted:
        published = period.published
        for line in lines(period):
            unit = safe_text(study.community.currency) if line.unit == "cost" else line.unit
            for scenario, totals in period.totals.items():
                theirs = line.theirs(published[scenario]) if scenario in published else None
                yield safe_text(period.name), line.name, unit, scenario.name, line.ours(totals), theirs


def days(study: Study) -> Iterable[Sequence[Cell]]:
    """One row a day and scenario; of a day without a plan only the reason."""
    yield (
        "day", "scenario", "cost", "objective", "optimum", "gap", "iterations", "converged", "relaxation_gap_pu",
        "voltage_min_pu", "voltage_max_pu", "peak_kw", "import_kwh", "feed_in_kwh", "losses_kwh", "traded_kwh",
        "payments_sum_to_zero", "checks_held", "failure",
    )  # fmt: skip
    for o in study.outcomes:
        name: tuple[Cell, ...] = (safe_text(o.day), o.scenario.name)
        if not o.feasible:
            yield (*name, *[None] * 16, safe_text(o.failure or ""))
            continue
        yield (
            *name, o.cost, o.objective, o.optimum, o.gap, o.iterations, _truth(o.converged), o.relaxation_gap,
            o.voltage_min_pu, o.voltage_max_pu, o.peak_kw, o.import_kwh, o.feed_in_kwh, o.losses_kwh, o.traded_kwh,
            _truth(o.payments_sum_to_zero), _truth(o.checks_held), None,
        )  # fmt: skip


def households(study: Study) -> Iterable[Sequence[Cell]]:
    """period x scenario x household."""
    yield (
        "period", "scenario", "household", "node", "prosumer", "used_kwh", "pv_kwh", "import_kwh", "feed_in_kwh",
        "sold_kwh", "bought_kwh", "import_cost", "loss_cost", "trade_cost", "fees", "cost", "saving",
    )  # fmt: skip
    for period in study.counted:
        for scenario, totals in period.totals.items():
            for home, base in zip(totals.households, period.baseline.households, strict=True):
                yield (
                    safe_text(period.name), scenario.name, safe_text(home.name), home.node, _truth(home.is_prosumer),
                    home.used_kwh, home.pv_kwh, home.import_kwh, home.feed_in_kwh, home.sold_kwh, home.bought_kwh,
                    home.bill.supply - home.bill.losses, home.bill.losses, home.bill.trade, home.bill.fees, home.cost,
                    base.cost - home.cost,
                )  # fmt: skip


def fairness(study: Study) -> Iterable[Sequence[Cell]]:
    """period x way of sharing x household."""
    yield "period", "sharing", "household", "node", "prosumer", "cost", "saving"
    for period in study.counted:
        for sharing in sharings(period):
            for k, home in enumerate(period.baseline.households):
                yield (
                    safe_text(period.name), sharing.name, safe_text(home.name), home.node, _truth(home.is_prosumer),
                    float(sharing.cost[k]), float(sharing.saving[k]),
                )  # fmt: skip


def gaps(study: Study) -> Iterable[Sequence[Cell]]:
    """day x scenario x iteration: (implemented cost - optimum) / |optimum|, had the round ended there."""
    yield "day", "scenario", "iteration", "gap"
    for (day, scenario), of_day in study.gaps.items():
        for k, gap in enumerate(of_day, start=1):
            yield safe_text(day), scenario.name, k, float(gap)


def steps(study: Study) -> Iterable[Sequence[Cell]]:
    """day x scenario x step; the trade price is the mean weighted by energy."""
    yield (
        "day", "scenario", "step", "time", "import_price", "feed_in_price", "trade_price", "node_price_mean",
        "exchange_kw", "traded_kw", "losses_kw", "voltage_min_pu", "voltage_max_pu", "current_max_a",
        "loading_max_percent",
    )  # fmt: skip
    for o in study.outcomes:
        if not o.feasible:
            continue
        energy, paid = np.zeros((2, len(o.start_times)))
        for trade in o.trades:
            energy[trade.step] += trade.energy_kwh
            paid[trade.step] += trade.energy_kwh * trade.price_per_kwh
        for t, time in enumerate(o.start_times):
            yield (
                safe_text(o.day), o.scenario.name, t, time, float(o.import_price[t]), float(o.feed_in_price[t]),
                float(paid[t] / energy[t]) if energy[t] > 0 else None,
                float(o.node_price[:, t].mean()) if o.node_price.size else None,
                float(o.exchange_kw[t]), float(energy[t] / o.step_hours), float(o.losses_kw[t]),
                float(o.voltage_pu[:, t].min()), float(o.voltage_pu[:, t].max()), float(o.current_a[:, t].max()),
                None if o.loading is None else 100 * float(o.loading[t]),
            )  # fmt: skip


def study_fields(study: Study) -> dict[str, Any]:
    """The fields of `study.json`: the same figures without rounding, null where there is none. No time of day, no
    duration: the same study gives the same file."""
    fields: dict[str, Any] = {
        "gridpact": __version__,
        "case": study.community.name,
        "currency": study.community.currency,
        "households": len(study.community.rows),
        "scenarios": [scenario.value for scenario in study.settings.scenarios],
        "network_agreement": study.settings.agreement.value,
        "chain": chain_text(study.settings.chain),
        "continuous": study.settings.continuous,
        "checks_held": study.checks_held,
        "compared_with": SOURCE if study.beside_report else None,
        "periods": [_period_fields(period) for period in study.periods],
    }
    plain: dict[str, Any] = plain_fields(fields)
    return plain


def _period_fields(period: Period) -> dict[str, Any]:
    def table(lines: Sequence[TableLine], totals: Totals) -> dict[str, Any]:
        report = period.published.get(totals.scenario)
        return {
            _key(line): {"value": line.ours(totals), "b_der_report": line.theirs(report) if report else None}
            for line in lines
        }

    scenarios = {}
    for scenario, totals in period.totals.items() if period.counted else ():
        median, most = totals.iterations
        scenarios[scenario.value] = {
            "economic": table(economic_lines(period), totals),
            "energy": table(energy_lines(), totals),
            "iterations": {"median": median, "most": most},
            "gap_largest": totals.gap,
            "relaxation_gap_largest": totals.relaxation_gap,
            "checks_held": totals.checks_held,
            "households": {home.name: home.cost for home in totals.households},
        }
    shared = {
        sharing.name: {
            "worse_off": sharing.worse_off,
            "saving_of_prosumers": sharing.to_prosumers,
            "saving_of_consumers": sharing.to_consumers,
            "saving_least": float(sharing.saving.min()),
            "saving_most": float(sharing.saving.max()),
        }
        for sharing in (sharings(period) if period.counted else ())
    }
    return {
        "name": period.name,
        "season": period.season,
        "days": list(period.counted),
        "left_out": [{"day": o.day, "scenario": o.scenario.value, "reason": o.failure} for o in period.failures],
        "scenarios": scenarios,
        "fairness": shared,
    }


def _key(line: TableLine) -> str:
    """`Imports in peak hours`, kWh: `imports_in_peak_hours_kwh`; in per cent of the baseline: `..._percent_of_b`."""
    suffix = {"cost": "", "": "", "%": "_percent_of_b", "p.u.": "_pu", "% of rating": "_percent"}.get(
        line.unit, f"_{line.unit.lower()}"
    )
    words = "".join(c if c.isalnum() else " " for c in line.name.replace("'", "").lower()).split()
    return "_".join(words) + suffix


def _truth(value: bool) -> str:
    return "yes" if value else "no"
