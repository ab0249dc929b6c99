"""The pictures of what-ifs, in the style of `study.plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridpact.community.assigned import ALL, VARIED
from gridpact.community.model import CommunityDay
from gridpact.market.registry import market_of
from gridpact.problem.scenario import Scenario
from gridpact.report.drawing import (
    BLUE,
    INK,
    ORANGE,
    SKY,
    VERMILION,
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    MaxNLocator,
    Patch,
    PercentFormatter,
    styled,
)
from gridpact.report.plots import WIDTH
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.penetration import Penetration
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.sweep import PointFigures
from gridpact.study.whatif.uncertainty import Uncertainty
from gridpact.text import plain

MIX_NAME = {kind: device.plural for kind, device in VARIED.items()} | {ALL: "all of these"}
RECOURSE_NAME = {
    Recourse.NONE: "devices as planned",
    Recourse.ROLLING: "rest of the day planned anew",
    Recourse.HINDSIGHT: "planned anew in hindsight",
}
RECOURSE_COLOUR = {Recourse.NONE: ORANGE, Recourse.ROLLING: BLUE, Recourse.HINDSIGHT: SKY}
RECOURSE_HATCH = {Recourse.NONE: "////", Recourse.ROLLING: "", Recourse.HINDSIGHT: "...."}
PARAMETER_NAME = {
    Parameter.CHI: "trading coefficient\n({currency}/kWh)",
    Parameter.FEED_IN: "feed-in price\n(share of import price)",
    Parameter.BATTERY: "size of batteries\n(multiples)",
    Parameter.LINES: "impedance of lines\n(multiples)",
}

Of = Callable[[PointFigures], Sequence[float]]


# ---------------------------------------------------------------------- penetration


@styled
def penetration(outcome: Penetration) -> Figure:
    """Cost, peak, voltages and iterations by share of households, a column for each mix of devices."""
    mixes, scenarios = outcome.settings.mixes, outcome.settings.scenarios
    day = outcome.days[0]
    rows: list[tuple[str, Of]] = [
        (f"Cost ({plain(day.currency, 8)})", lambda f: [f.cost]),
        ("Highest import\n(kW)", lambda f: [f.peak_kw]),
        ("Voltage, lowest and\nhighest (p.u.)", lambda f: [f.voltage_min_pu, f.voltage_max_pu]),
        ("Iterations\na day", lambda f: [f.iterations]),
    ]
    figure = Figure(figsize=(WIDTH, 8.0), layout="constrained")
    panels = figure.subplots(len(rows), len(mixes), squeeze=False, sharex=True, sharey="row")
    no_plan = False
    for column, mix in enumerate(mixes):
        points = outcome.of(mix)
        shares = [point.share for point in points]
        for row, (label, of) in enumerate(rows):
            axes: Axes = panels[row, column]
            for scenario in scenarios:
                if row == 3 and scenario == Scenario.B:
                    continue  # nothing is agreed on
                _lines(axes, shares, [point.figures[scenario] for point in points], of, scenario)
            axes.grid(axis="y")
            if column == 0:
                axes.set_ylabel(label)
            _own_shares(axes, outcome, mix)
        no_plan |= _mark_no_plan(panels[0, column], shares, [list(point.figures.values()) for point in points])
        panels[0, column].set_title(f"Share with\n{MIX_NAME[mix]}", fontsize=9.5)
        panels[-1, column].xaxis.set_major_formatter(PercentFormatter(1, decimals=0, symbol=""))
        panels[-1, column].set_xlabel("% of households")
    for axes in panels[2]:
        _limits(axes, day)
    iterations = [f.iterations for point in outcome.points for f in point.figures.values() if f.feasible]
    panels[3, 0].set_ylim(0, 1.1 * max([*iterations, 1.0]))
    panels[3, 0].yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    handles, labels = _scenario_legend(scenarios)
    handles.append(Line2D([], [], color=INK, linestyle=":", linewidth=1))
    labels.append("share in the case")
    handles.append(Line2D([], [], color=INK, linewidth=0.8))
    labels.append("voltage limits")
    if no_plan:
        handles.append(Line2D([], [], marker="x", linestyle="", color=INK, markersize=6, markeredgewidth=1.6))
        labels.append("no feasible plan")
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


def _own_shares(axes: Axes, outcome: Penetration, mix: str) -> None:
    """Where the case itself is; of all of these together it has no one share."""
    if mix != ALL:
        axes.axvline(outcome.own_share(VARIED[mix]), color=INK, linestyle=":", linewidth=1, zorder=0)


# ---------------------------------------------------------------------- sensitivity


@styled
def sensitivity(outcome: Sensitivity) -> Figure:
    """Saving, trades, peak and lowest voltage by value, a column for each parameter."""
    day = outcome.days[0]
    parameters = list(outcome.settings.values)
    shown = (Scenario.B, Scenario.T, Scenario.TG)
    rows: list[tuple[str, Of, tuple[Scenario, ...]]] = [
        ("Traded (kWh)", lambda f: [f.total(lambda d: d.traded_kwh)], (Scenario.T, Scenario.TG)),
        ("Highest import\n(kW)", lambda f: [f.peak_kw], shown),
        ("Lowest voltage\n(p.u.)", lambda f: [f.voltage_min_pu], shown),
    ]
    figure = Figure(figsize=(WIDTH, 7.6), layout="constrained")
    panels = figure.subplots(len(rows) + 1, len(parameters), squeeze=False, sharex="col", sharey="row")
    no_plan = False
    for column, parameter in enumerate(parameters):
        points = outcome.of(parameter)
        values = [point.value for point in points]
        top: Axes = panels[0, column]
        for scenario in (Scenario.T, Scenario.TG):
            savings = [point.saving(scenario) for point in points]
            top.plot(values, [np.nan if s is None else 100 * s for s in savings], **_look(scenario))
        no_plan |= _mark_no_plan(top, values, [list(point.figures.values()) for point in points])
        for row, (_, of, scenarios) in enumerate(rows, start=1):
            for scenario in scenarios:
                _lines(panels[row, column], values, [point.figures[scenario] for point in points], of, scenario)
        for axes in panels[:, column]:
            axes.grid(axis="y")
            axes.axvline(parameter.of(day), color=INK, linestyle=":", linewidth=1, zorder=0)
        name = PARAMETER_NAME[parameter].format(currency=plain(day.currency, 8))
        panels[-1, column].set_xlabel(name[:1].upper() + name[1:])
        panels[-1, column].axhline(day.feeder.voltage_min_pu, color=INK, linewidth=0.8)
    panels[0, 0].set_ylabel("Saving over B\n(% of B)")
    for row, (label, *_) in enumerate(rows, start=1):
        panels[row, 0].set_ylabel(label)
    handles, labels = _scenario_legend(shown)
    handles += [Line2D([], [], color=INK, linestyle=":", linewidth=1), Line2D([], [], color=INK, linewidth=0.8)]
    labels += ["value in the case", "voltage limit"]
    if no_plan:
        handles.append(Line2D([], [], marker="x", linestyle="", color=INK, markersize=6, markeredgewidth=1.6))
        labels.append("no feasible plan")
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


@styled
def adders(outcome: Sensitivity) -> Figure:
    """What is left of the planned saving by the imbalance adder, for each recourse: median, and 5 to 95 % of draws."""
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title("What wrong forecasts leave of the saving")
    currency = plain(outcome.days[0].currency, 8)
    x = np.array([point.adder for point in outcome.adders])
    for recourse in outcome.settings.delivery.recourses:
        savings = np.array([point.savings[recourse] for point in outcome.adders])  # (adders, draws)
        low, middle, high = np.quantile(savings, (0.05, 0.5, 0.95), axis=1)
        colour, marker = RECOURSE_COLOUR[recourse], "s" if recourse is Recourse.NONE else "D"
        axes.fill_between(x, low, high, color=colour, alpha=0.18, linewidth=0, hatch=RECOURSE_HATCH[recourse])
        axes.plot(x, middle, color=colour, marker=marker, linewidth=1.6, markersize=5, label=RECOURSE_NAME[recourse])
    axes.axhline(outcome.planned_saving, color=INK, linestyle="--", linewidth=1.2, label="if all went as forecast")
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xlabel(f"Imbalance adder ({currency} per kWh of deviation from the plan)")
    axes.set_ylabel(f"Saving over B ({currency})\nmedian, and 5 to 95 % of draws")
    axes.grid(axis="y")
    figure.legend(loc="outside lower left", ncols=3)
    return figure


@styled
def spans(outcome: Sensitivity) -> Figure:
    """How far each parameter moves the saving in TG, the widest on top."""
    bars = []
    for parameter in outcome.settings.values:
        savings = [(p.value, s) for p in outcome.of(parameter) if (s := p.saving(Scenario.TG)) is not None]
        if savings:
            low, high = min(savings, key=lambda v: v[1]), max(savings, key=lambda v: v[1])
            bars.append((high[1] - low[1], parameter, low, high))
    bars.sort(key=lambda bar: bar[0])
    figure = Figure(figsize=(WIDTH, 1.5 + 0.5 * len(bars)), layout="constrained")
    axes = figure.subplots()
    axes.set_title("How far one number moves the saving in TG")
    for k, (_, _, low, high) in enumerate(bars):
        axes.barh(k, 100 * (high[1] - low[1]), left=100 * low[1], height=0.5, color=SKY)
        for (value, saving), side, offset in ((low, "right", -4), (high, "left", 4)):
            axes.annotate(f"{value:g}", (100 * saving, k), xytext=(offset, 0), textcoords="offset points", va="center",
                          ha=side, fontsize=8.5)  # fmt: skip
    currency = plain(outcome.days[0].currency, 8)
    names = [PARAMETER_NAME[parameter].format(currency=currency) for _, parameter, *_ in bars]
    axes.set_yticks(range(len(bars)), [name[:1].upper() + name[1:] for name in names])
    axes.tick_params(axis="y", length=0)
    axes.use_sticky_edges = False  # bars do not begin at zero
    axes.margins(x=0.12)
    axes.set_xlabel("Saving over B with the same number (% of B); the ends name the parameter's value there")
    axes.grid(axis="x")
    return figure


# ---------------------------------------------------------------------- uncertainty


@styled
def savings(outcome: Uncertainty) -> Figure:
    """The saving on every draw: points, box (25 to 75 %), whiskers (5 to 95 %), beside the planned one."""
    recourses = outcome.settings.recourses
    currency = plain(outcome.plans[0].community.currency, 8)
    figure = Figure(figsize=(WIDTH, 1.7 + 0.7 * len(recourses)), layout="constrained")
    axes = figure.subplots()
    axes.set_title("What is left of the saving")
    for k, recourse in enumerate(reversed(recourses)):
        drawn = outcome.savings(recourse)
        low, first, middle, third, high = np.quantile(drawn, (0.05, 0.25, 0.5, 0.75, 0.95))
        axes.plot([low, high], [k, k], color=INK, linewidth=1)
        axes.barh(k, third - first, left=first, height=0.42, color=RECOURSE_COLOUR[recourse], alpha=0.55, linewidth=0)
        axes.plot([middle, middle], [k - 0.21, k + 0.21], color=INK, linewidth=1.8)
        axes.plot(drawn, np.full(len(drawn), k - 0.33), "|", color=INK, markersize=6, markeredgewidth=0.8)
        axes.annotate(f"median {middle:.2f}", (middle, k + 0.23), ha="center", va="bottom", fontsize=8.5,
                      bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip
    axes.axvline(outcome.planned_saving, color=VERMILION, linestyle="--", linewidth=1.4)
    axes.annotate(f"planned\n{outcome.planned_saving:.2f}", (outcome.planned_saving, 1), color=VERMILION, fontsize=8.5,
                  xycoords=("data", "axes fraction"), xytext=(-4, -3), textcoords="offset points", va="top",
                  ha="right")  # fmt: skip
    axes.axvline(0, color=INK, linewidth=0.9)
    axes.set_ylim(-0.6, len(recourses) - 0.3)
    axes.set_yticks(range(len(recourses)), [RECOURSE_NAME[r].capitalize() for r in reversed(recourses)])
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"Saving over B in the same reality ({currency}); box 25 to 75 %, line 5 to 95 %, a tick a draw")
    axes.grid(axis="x")
    return figure


@styled
def exchange(outcome: Uncertainty) -> Figure:
    """Exchange with the grid over the first day: planned, and delivered in all draws."""
    plan = outcome.plans[0]
    recourse = Recourse.ROLLING if Recourse.ROLLING in outcome.settings.recourses else outcome.settings.recourses[0]
    drawn = np.array(
        [d.planned.exchange_kw for d in outcome.draws if d.recourse is recourse and d.day == plan.community.day]
    )
    edges = np.arange(plan.community.steps + 1)
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.set_title(f"Planned and delivered, {plain(plan.community.day, 20)}")
    for (low, high), alpha in (((0.05, 0.95), 0.2), ((0.25, 0.75), 0.4)):
        bottom, top = np.quantile(drawn, (low, high), axis=0)
        axes.fill_between(edges, np.append(bottom, bottom[-1]), np.append(top, top[-1]), step="post", color=BLUE,
                          alpha=alpha, linewidth=0)  # fmt: skip
    axes.stairs(np.median(drawn, axis=0), edges, color=BLUE, linewidth=1.4, baseline=None)
    axes.stairs(plan.planned.exchange_kw, edges, color=VERMILION, linewidth=1.4, linestyle="--", baseline=None)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_ylabel("Exchange with the grid (kW)\nimport above zero")
    axes.grid(axis="y")
    times = plan.community.start_times
    stride = next((s for s in (1, 2, 3, 4, 6, 8, 12, 16, 24) if len(times) / s <= 9), -(-len(times) // 9))
    axes.set_xticks(range(0, len(times), stride), times[::stride])
    axes.set_xlim(0, len(times))
    axes.set_xlabel("Time of day (hh:mm)")
    handles: list[Any] = [
        Line2D([], [], color=VERMILION, linestyle="--", linewidth=1.4),
        Line2D([], [], color=BLUE, linewidth=1.4),
        Patch(color=BLUE, alpha=0.6, linewidth=0),
        Patch(color=BLUE, alpha=0.2, linewidth=0),
    ]
    labels = ["planned", f"delivered ({RECOURSE_NAME[recourse]}), median", "25 to 75 %", "5 to 95 % of draws"]
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure


@styled
def households(outcome: Uncertainty) -> Figure:
    """The saving of each household: planned, and delivered."""
    homes = outcome.plans[0].community.households
    recourse = Recourse.ROLLING if Recourse.ROLLING in outcome.settings.recourses else outcome.settings.recourses[0]
    drawn = outcome.household_savings(recourse)
    planned = outcome.planned_household_savings
    currency = plain(outcome.plans[0].community.currency, 8)
    place = np.arange(len(homes))
    low, middle, high = np.quantile(drawn, (0.05, 0.5, 0.95), axis=0)
    figure = Figure(figsize=(WIDTH, 3.8), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Each household's saving")
    axes.vlines(place, low, high, color=BLUE, linewidth=5, alpha=0.35)
    axes.plot(place, middle, "_", color=BLUE, markersize=9, markeredgewidth=2)
    axes.plot(place, planned, "D", color=VERMILION, markersize=5, markerfacecolor="white", markeredgewidth=1.3)
    axes.axhline(0, color=INK, linewidth=0.9)
    axes.set_xticks(place, [plain(home.name, 14) for home in homes], rotation=90 if len(homes) > 8 else 0)
    for text, home in zip(axes.get_xticklabels(), homes, strict=True):
        text.set_fontweight("bold" if home.is_prosumer else "normal")
    axes.tick_params(axis="x", length=0)
    axes.set_ylabel(f"Saving over B ({currency})")
    axes.set_xlabel("Household (in bold: with PV)")
    axes.grid(axis="y")
    handles: list[Any] = [
        Line2D([], [], color=VERMILION, marker="D", linestyle="", markersize=5, markerfacecolor="white"),
        Line2D([], [], color=BLUE, marker="_", linestyle="", markersize=9, markeredgewidth=2),
        Line2D([], [], color=BLUE, linewidth=5, alpha=0.35),
    ]
    labels = ["planned", f"delivered ({RECOURSE_NAME[recourse]}), median", "5 to 95 % of draws"]
    figure.legend(handles, labels, loc="outside lower left", ncols=3)
    return figure


@styled
def homes(outcome: Uncertainty) -> Figure:
    """The median saving of each household by each rule, a mark each; those below 0 are crosses."""
    rules = outcome.rules
    currency = plain(outcome.plans[0].community.currency, 8)
    figure = Figure(figsize=(WIDTH, 1.4 + 0.45 * len(rules)), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Each household's saving by rule")
    for k, rule in enumerate(reversed(rules)):
        medians = np.array([home.median for home in rule.by_home.values()])
        for which, mark, colour in ((medians >= 0, "o", BLUE), (medians < 0, "x", VERMILION)):
            axes.plot(medians[which], np.full(which.sum(), k), mark, color=colour, markersize=6, alpha=0.75)
    axes.axvline(0, color=INK, linewidth=0.9)
    names = [f"{rule.name}, {rule.re_agreements} a day" if rule.re_agreements else rule.name for rule in rules]
    axes.set_yticks(range(len(rules)), names[::-1])
    axes.set_ylim(-0.5, len(rules) - 0.5)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(f"Median saving of a household over B ({currency}); a cross is a loss")
    axes.grid(axis="x")
    return figure


@styled
def curve(outcome: Uncertainty) -> Figure:
    """What is left of the planned saving by the number of re-agreements, and by gas: median, 5 to 95 % of draws."""
    points, planned = outcome.curve, outcome.planned_saving
    currency = plain(outcome.plans[0].community.currency, 8)
    figure = Figure(figsize=(WIDTH, 3.4), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    low, middle, high = ([getattr(point, name) for point in points] for name in ("q05", "median", "q95"))
    ways = (
        ([point.re_agreements for point in points], "Re-agreements a day"),
        ([point.gas_of_home / 1e6 for point in points], "Gas of a household in a day (million)"),
    )
    hindsight = [rule.median for rule in outcome.rules if rule.name == "hindsight"]
    for axes, (x, label) in zip(panels, ways, strict=True):
        axes.fill_between(x, low, high, color=BLUE, alpha=0.2, linewidth=0)
        axes.plot(x, middle, color=BLUE, marker="o", markersize=5, linewidth=1.6)
        axes.axhline(planned, color=VERMILION, linestyle="--", linewidth=1.4)
        for known in hindsight:
            axes.axhline(known, color=INK, linestyle=":", linewidth=1.4)
        axes.axhline(0, color=INK, linewidth=0.9)
        axes.set_xlabel(label)
        axes.grid(axis="y")
    panels[0].set_ylabel(f"Saving over B ({currency})\n0 re-agreements: pool alone")
    handles: list[Any] = [
        Line2D([], [], color=BLUE, marker="o", markersize=5, linewidth=1.6),
        Patch(color=BLUE, alpha=0.2, linewidth=0),
        Line2D([], [], color=VERMILION, linestyle="--", linewidth=1.4),
        *(Line2D([], [], color=INK, linestyle=":", linewidth=1.4) for _ in hindsight),
    ]
    labels = ["median", "5 to 95 % of draws", "planned", *("everything known" for _ in hindsight)]
    figure.legend(handles, labels, loc="outside lower left", ncols=4)
    return figure


# ---------------------------------------------------------------------- shared


def _look(scenario: Scenario) -> dict[str, Any]:
    drawn = market_of(scenario).look
    look: dict[str, Any] = {"color": drawn.colour, "linestyle": drawn.line, "marker": drawn.mark}
    return (
        look | {"linewidth": 1.4, "markersize": 4.5} | ({"markerfacecolor": "white"} if scenario == Scenario.B else {})
    )


def _lines(axes: Axes, x: Sequence[float], figures: Sequence[PointFigures], of: Of, scenario: Scenario) -> None:
    """One line for each number that `of` gives; with gaps where there is no plan."""
    width = next((len(of(f)) for f in figures if f.feasible), 0)
    for k in range(width):
        axes.plot(x, [of(f)[k] if f.feasible else np.nan for f in figures], **_look(scenario))


def _mark_no_plan(axes: Axes, x: Sequence[float], points: Sequence[Sequence[PointFigures]]) -> bool:
    """A cross at the bottom where some scenario has no plan; whether there was one."""
    without = [value for value, figures in zip(x, points, strict=True) if not all(f.feasible for f in figures)]
    if without:
        place = np.full(len(without), 0.05)
        axes.plot(without, place, "x", color=INK, transform=axes.get_xaxis_transform(), markersize=6,
                  markeredgewidth=1.6, clip_on=False)  # fmt: skip
    return bool(without)


def _limits(axes: Axes, day: CommunityDay) -> None:
    for limit in (day.feeder.voltage_min_pu, day.feeder.voltage_max_pu):
        axes.axhline(limit, color=INK, linewidth=0.8)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3f}"))


def _scenario_legend(scenarios: Sequence[Scenario]) -> tuple[list[Any], list[str]]:
    return [Line2D([], [], **_look(s)) for s in scenarios], [f"{s.name}: {market_of(s).words.label}" for s in scenarios]
