"""The pictures of a study, each a function from a `Study` to a matplotlib `Figure`, in the style of `study.plots`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from gridpact.community.model import Array
from gridpact.devices.device import summed
from gridpact.market.registry import market_of
from gridpact.outcome.day import DayOutcome
from gridpact.outcome.indicators import GAP_LIMIT
from gridpact.problem.scenario import Scenario
from gridpact.report.drawing import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PALE,
    PURPLE,
    SKY,
    VERMILION,
    Figure,
    FuncFormatter,
    Line2D,
    MaxNLocator,
    Patch,
    matplotlib,
    styled,
)
from gridpact.report.plots import FEED_IN_COLOUR, IMPORT_COLOUR, WIDTH, power_bands
from gridpact.report.weeks.axes import (
    clock_axis,
    days_axis,
    line_of,
    marks_of,
    names_axis,
    narrow,
    offsets,
    panels_of,
    scenario_legend,
    x_label,
)
from gridpact.report.weeks.words import capital, currency
from gridpact.study.weeks.fairness import BASELINE, EQUAL, NODE_PRICES, sharings
from gridpact.study.weeks.published import REPORT_GAP, REPORT_ITERATIONS
from gridpact.study.weeks.totals import Study, passed_kw
from gridpact.text import plain

Plot = Callable[[Study], "Figure | None"]

FEW_DAYS = 5
"""Fewer days than this have no spread."""

SMALLEST_GAP_PERCENT = 1e-3
"""Smaller gaps are drawn as large as this: they are what the chain's integers leave open."""

FEW_NAMES = 24
"""Of so many households the names fit beside a map of trades."""

FEW_PERIODS = 3
"""More periods than this do not fit beside each other with all their steps."""

SHARING: dict[str, dict[str, Any]] = {
    NODE_PRICES: {"marker": "s", "color": GREEN},
    EQUAL: {"marker": "x", "color": INK},
    BASELINE: {"marker": "o", "color": PURPLE, "markerfacecolor": "white"},
}


@styled
def day(study: Study) -> Figure:
    """Generation and consumption of all households over the first day of each period, as in the report's Figure 10a."""
    periods = study.counted
    figure = Figure(figsize=(WIDTH, 0.9 + 2.6 * len(periods)), layout="constrained")
    panels = panels_of(figure, len(periods), 1, sharex=True)
    handles: dict[str, Any] = {}
    for axes, period in zip(panels[:, 0], periods, strict=True):
        outcome = period.totals[study.after].days[0]
        axes.set_title(f"{capital(period.name)}, {plain(outcome.day, 20)}, scenario {study.after.name}")
        edges = np.arange(len(outcome.start_times) + 1)
        tops = {sign: np.zeros(len(outcome.start_times)) for sign in (1, -1)}
        for label, values, sign, fill in _balance(outcome):
            if outcome.energy_kwh(values) < 0.005:
                continue
            bottom = tops[sign]
            top = tops[sign] = bottom + sign * np.maximum(values, 0)
            axes.fill_between(edges, np.append(top, top[-1]), np.append(bottom, bottom[-1]), step="post", **fill)
            handles[label] = Patch(**fill)
        axes.axhline(0, color=INK, linewidth=1)
        axes.set_ylabel("Power (kW)\nuse below zero,\nsupply above")
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
        axes.grid(axis="y")
    clock_axis(panels[-1, 0], periods[-1].baseline.days[0])
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=5, handlelength=1.6)
    return figure


def _balance(outcome: DayOutcome) -> list[tuple[str, Array, int, dict[str, Any]]]:
    """What the households used and where it came from: label, kW, +1 supply or -1 use, fill."""
    steps = len(outcome.start_times)

    def total(column: str) -> Array:
        whole: Array = np.sum([summed(home.schedule, column, steps) for home in outcome.households], axis=0)
        return whole

    def fill(colour: str, hatch: str) -> dict[str, Any]:
        return {"facecolor": colour, "edgecolor": "white", "linewidth": 0, "hatch": hatch}

    return [
        (label, values, sign, fill(colour, hatch))
        for sign, bands in zip((1, -1), power_bands(total, outcome.exchange_kw, outcome.losses_kw), strict=True)
        for values, label, colour, hatch in bands
    ]


@styled
def convergence(study: Study) -> Figure:
    """How agreement was reached: on every day the largest residual as a multiple of its limit, and on the days that are
    traced how far the plan as carried out is from the optimum; Figure 10b."""
    scenarios = [scenario for scenario in study.settings.scenarios if scenario != Scenario.B]
    rows = 2 if study.gaps else 1
    figure = Figure(figsize=(WIDTH, 1.0 + 2.3 * rows), layout="constrained")
    panels = panels_of(figure, rows, max(len(scenarios), 1), sharey="row", sharex="col")
    look: list[tuple[str, Any]] = [(BLUE, "-"), (VERMILION, "--"), (GREEN, ":"), (PURPLE, "-.")]
    traced: dict[int, str] = {}
    for column, scenario in enumerate(scenarios):
        panels[0, column].set_title(f"{scenario.name}: {market_of(scenario).words.label}")
        panels[0, column].axhline(1, color=INK, linewidth=0.9)
        for k, period in enumerate(study.counted):
            colour, dashes = look[k % len(look)]
            for outcome in period.totals[scenario].days:
                worst = _residual_in_limits(outcome)
                panels[0, column].plot(
                    np.arange(1, len(worst) + 1), worst, dashes, color=colour, linewidth=1, alpha=0.75
                )
                if (gaps := study.gaps.get((outcome.day, scenario))) is not None:
                    percent = np.maximum(100 * np.abs(gaps), SMALLEST_GAP_PERCENT)
                    panels[1, column].plot(np.arange(1, len(gaps) + 1), percent, dashes, color=colour, linewidth=1.4)
                    panels[1, column].plot(len(gaps), percent[-1], "o", color=colour, markersize=6)
                    traced[k] = plain(outcome.day, 12)
        if study.gaps:
            if study.beside_report:
                panels[1, column].axhline(100 * REPORT_GAP, color=INK, linewidth=1, linestyle=(0, (1, 1.5)))
            panels[1, column].axhline(100 * GAP_LIMIT, color=INK, linewidth=0.9)
        for axes in panels[:, column]:
            axes.set_yscale("log")
            axes.set_xlim(left=0)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
            axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
            axes.grid(axis="y")
        panels[-1, column].set_xlabel("Iteration")
    panels[0, 0].set_ylabel("Largest RMS residual\n(multiples of its limit)")
    handles = [Line2D([], [], color=look[k % 4][0], linestyle=look[k % 4][1]) for k in range(len(study.counted))]
    labels = [
        f"{capital(period.name)}, a line a day" + (f"; gap: {traced[k]}" if k in traced else "")
        for k, period in enumerate(study.counted)
    ]
    handles.append(Line2D([], [], color=INK, linewidth=0.9))
    labels.append(
        f"limit of the residuals, and of the gap: {100 * GAP_LIMIT:g} %" if study.gaps else "limit: below it, all agree"
    )
    if study.gaps:
        panels[1, 0].set_ylabel("Gap to the optimum\n(%, as carried out)")
        if study.beside_report:
            handles.append(Line2D([], [], color=INK, linewidth=1, linestyle=(0, (1, 1.5))))
            labels.append(f"the report's gap after {REPORT_ITERATIONS} iterations: {100 * REPORT_GAP:g} %")
        handles.append(Line2D([], [], color=INK, marker="o", linestyle="", markersize=6))
        labels.append("here the contract ends the round")
    figure.legend(handles, labels, loc="outside lower left", ncols=2 if study.gaps else 3)
    return figure


def _residual_in_limits(outcome: DayOutcome) -> Array:
    """By iteration, the largest of the residuals that apply as a multiple of its limit."""
    ratios = [
        rms / limit
        for rms, limit in zip(outcome.residuals_w, outcome.residual_limits_w, strict=True)
        if limit > 0 and np.any(np.nan_to_num(rms) > 0)
    ]
    if not ratios:
        return np.zeros(0)
    worst: Array = np.max(ratios, axis=0)
    return np.where(worst > 0, worst, np.nan)


@styled
def prices(study: Study) -> Figure:
    """Import, feed-in and trade prices over each period, and in G the mean price of the nodes; Figure 11."""
    periods = study.counted
    figure = Figure(figsize=(WIDTH, 0.9 + 2.5 * len(periods)), layout="constrained")
    panels = panels_of(figure, len(periods), 1)
    handles: dict[str, Any] = {}
    for axes, period in zip(panels[:, 0], periods, strict=True):
        days = period.baseline.days
        bought = np.concatenate([outcome.import_price for outcome in days])
        fed_in = np.concatenate([outcome.feed_in_price for outcome in days])
        edges = np.arange(len(bought) + 1, dtype=float)
        axes.set_title(narrow(capital(period.name), len(periods)))
        axes.fill_between(edges, np.append(bought, bought[-1]), np.append(fed_in, fed_in[-1]), step="post",
                          color="#f2f2f2", linewidth=0)  # fmt: skip
        axes.stairs(bought, edges, color=IMPORT_COLOUR, linewidth=1.3, baseline=None)
        axes.stairs(fed_in, edges, color=FEED_IN_COLOUR, linewidth=1.3, linestyle="--", baseline=None)
        handles["Import"] = Line2D([], [], color=IMPORT_COLOUR, linewidth=1.3)
        handles["Feed-in"] = Line2D([], [], color=FEED_IN_COLOUR, linewidth=1.3, linestyle="--")
        if Scenario.G in period.totals:
            node = [outcome.node_price.mean(axis=0) for outcome in period.totals[Scenario.G].days]
            axes.stairs(np.concatenate(node), edges, color=GREEN, linewidth=1.0, linestyle=":", baseline=None)
            handles["G: mean price of the nodes"] = Line2D([], [], color=GREEN, linewidth=1.0, linestyle=":")
        for scenario, totals in period.totals.items():
            if scenario.has_trades:
                places, mean = _trade_prices(totals.days)
                look = marks_of(scenario) | {"markersize": 3.5}
                axes.plot(places, mean, **look)
                handles[f"{scenario.name}: mean trade price"] = Line2D([], [], **look)
        top = float(bought.max())
        axes.set_ylim(min(0.0, float(fed_in.min())), 1.08 * top if top > 0 else 1.0)
        axes.set_ylabel(f"Price ({currency(study)}/kWh)")
        axes.grid(axis="y")
        days_axis(axes, days)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=5)
    return figure


def _trade_prices(days: Sequence[DayOutcome]) -> tuple[Array, Array]:
    """Places on the axis of steps, and mean prices weighted by energy, of the steps with trades."""
    places, means = [], []
    start = 0
    for outcome in days:
        energy, paid = np.zeros((2, len(outcome.start_times)))
        for trade in outcome.trades:
            energy[trade.step] += trade.energy_kwh
            paid[trade.step] += trade.energy_kwh * trade.price_per_kwh
        steps = np.flatnonzero(energy >= 0.01)  # what is hardly traded has no price that means anything
        places += [start + step + 0.5 for step in steps]
        means += list(paid[steps] / energy[steps])
        start += len(outcome.start_times)
    return np.array(places), np.array(means)


@styled
def boxes(study: Study) -> Figure:
    """Costs of prosumers and of consumers in all scenarios, as box plots; Figure 12."""
    periods = study.counted
    outliers = {"marker": ".", "markersize": 4, "markeredgecolor": GREY}
    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    panels = panels_of(figure, 1, len(periods))
    for axes, period in zip(panels[0], periods, strict=True):
        axes.set_title(narrow(capital(period.name), len(periods)))
        place, ticks, labels = 0.0, [], []
        for scenario, totals in period.totals.items():
            for is_prosumer in (False, True):
                costs = [home.cost for home in totals.households if home.is_prosumer is is_prosumer]
                if costs:
                    box = axes.boxplot([costs], positions=[place], widths=0.7, patch_artist=True, showmeans=False,
                                       medianprops={"color": INK, "linewidth": 1.6}, flierprops=outliers)  # fmt: skip
                    box["boxes"][0].set(facecolor=ORANGE if is_prosumer else SKY, edgecolor=GREY,
                                        hatch="" if is_prosumer else "///")  # fmt: skip
                    ticks.append(place)
                    labels.append(f"{scenario.name}{'p' if is_prosumer else 'c'}")
                place += 0.9
            place += 0.5
        axes.set_xticks(ticks, labels, fontsize=9 if len(periods) <= 2 else 7.5)
        axes.tick_params(axis="x", length=0)
        axes.axhline(0, color=INK, linewidth=0.8)
        if len(periods) <= 2 or axes is panels[0, 0]:
            axes.set_ylabel(f"Cost of a household ({currency(study)})")
        axes.grid(axis="y")
    figure.legend(
        [Patch(facecolor=SKY, edgecolor=GREY, hatch="///"), Patch(facecolor=ORANGE, edgecolor=GREY),
         Line2D([], [], color=INK, linewidth=1.6)],
        ["c: consumers, without PV", "p: prosumers, with PV", "median; box: middle half; whiskers: 1.5 boxes at most"],
        loc="outside lower left", ncols=3,
    )  # fmt: skip
    return figure


@styled
def exchange(study: Study) -> Figure:
    """Power exchanged over the first day of each period, by scenario; Figure 13."""
    periods, scenarios = study.counted, study.settings.scenarios
    figure = Figure(figsize=(WIDTH, 0.9 + 2.3 * len(periods)), layout="constrained")
    panels = panels_of(figure, len(periods), len(scenarios), sharey="row", sharex=True)
    handles: dict[str, Any] = {}
    for row, period in zip(panels, periods, strict=True):
        for axes, scenario in zip(row, period.totals, strict=True):
            outcome = period.totals[scenario].days[0]
            edges = np.arange(len(outcome.start_times) + 1)
            traded = np.zeros(len(outcome.start_times))
            for trade in outcome.trades:
                traded[trade.step] += trade.energy_kwh / outcome.step_hours
            axes.set_title(f"{scenario.name}, {plain(outcome.day, 12)}", fontsize=10)
            curves: tuple[tuple[str, Array, str, Any], ...] = (
                ("Imported through the grid connection", np.maximum(outcome.exchange_kw, 0), IMPORT_COLOUR, "-"),
                ("Fed into the grid", np.maximum(-outcome.exchange_kw, 0), FEED_IN_COLOUR, "--"),
                ("From meter to meter", passed_kw(outcome), INK, ":"),
                ("Traded", traded, VERMILION, "-"),
            )
            for label, values, colour, dashes in curves:
                if label == "Traded" and not scenario.has_trades:
                    continue
                axes.stairs(values, edges, baseline=None, color=colour, linestyle=dashes, linewidth=1.4)
                handles[label] = Line2D([], [], color=colour, linestyle=dashes, linewidth=1.4)
            axes.grid(axis="y")
        row[0].set_ylim(bottom=0)
        row[0].set_ylabel("Power (kW)")
    for axes in panels[-1]:
        clock_axis(axes, periods[-1].baseline.days[0], most=4)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=4)
    return figure


@styled
def network(study: Study) -> Figure:
    """Voltages and line loading against their limits: sorted over all steps of each period. Without ratings of lines,
    their currents."""
    periods = study.counted
    rated = periods[0].baseline.loading is not None
    figure = Figure(figsize=(WIDTH, 6.0), layout="constrained")
    panels = panels_of(figure, 2, len(periods), sharey="row")
    limits = periods[0].baseline.days[0].voltage_limits_pu
    for column, period in enumerate(periods):
        voltages, loads = panels[:, column]
        voltages.set_title(narrow(capital(period.name), len(periods)))
        for scenario, totals in period.totals.items():
            hours = np.concatenate([np.full(len(day.start_times), day.step_hours) for day in totals.days])
            low = np.concatenate([day.voltage_pu.min(axis=0) for day in totals.days])
            high = np.concatenate([day.voltage_pu.max(axis=0) for day in totals.days])
            loading = np.concatenate(
                [day.current_a.max(axis=0) if day.loading is None else 100 * day.loading for day in totals.days]
            )
            look = line_of(scenario)
            edges = np.concatenate([[0.0], np.cumsum(hours)])
            voltages.stairs(np.sort(low), edges, baseline=None, **look)
            voltages.stairs(np.sort(high)[::-1], edges, baseline=None, **look)
            loads.stairs(np.sort(loading)[::-1], edges, baseline=None, **look)
        for limit, name in zip(limits, ("lowest allowed", "highest allowed"), strict=True):
            text = f"{name}: {limit:g}" if len(periods) <= 2 else f"{limit:g}"
            voltages.axhline(limit, color=INK, linewidth=0.9)
            voltages.annotate(text, (1, limit), xycoords=("axes fraction", "data"), xytext=(-4, 3),
                              textcoords="offset points", fontsize=8.5, ha="right", va="bottom")  # fmt: skip
        if rated:
            loads.axhline(100, color=INK, linewidth=0.9)
            loads.annotate(_rating(study), (1, 100), xycoords=("axes fraction", "data"), xytext=(-4, -3),
                           textcoords="offset points", fontsize=8.5, ha="right", va="top")  # fmt: skip
        for axes in (voltages, loads):
            axes.set_xlim(0, float(np.sum(hours)))
            axes.grid(axis="y")
    x_label(panels[0], "Hours, sorted: lowest voltages rise, highest fall")
    x_label(panels[1], "Hours, sorted by loading")
    bottom, top = panels[0, 0].get_ylim()
    panels[0, 0].set_ylim(min(limits[0] - 0.004, bottom), max(limits[1] + 0.01, top))
    panels[1, 0].set_ylim(bottom=0)
    panels[0, 0].set_ylabel("Lowest and highest voltage\nof all households (p.u.)")
    panels[1, 0].set_ylabel(f"Most loaded line\n({'% of its rating' if rated else 'current, A'})")
    figure.legend(*scenario_legend(study), loc="outside lower left", ncols=4)
    return figure


def _rating(study: Study) -> str:
    """What the limit of the lines is called: with the current where all that have a rating have the same."""
    ratings = study.outcomes[0].rating_a
    known = set(ratings[np.isfinite(ratings)])
    return f"rating: {known.pop():g} A" if len(known) == 1 else "rating"


@styled
def trades(study: Study) -> Figure:
    """Who sold how much to whom over each period, in the fullest scenario with trades."""
    periods = study.counted
    scenario = study.trading
    homes = periods[0].baseline.households
    side = 1.3 + min(0.2 * len(homes), 6.0)
    height = min(side + 1.5, 6.5) if len(periods) == 1 else min(side, 1.0 + 5.6 / len(periods))  # panels are square
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    panels = panels_of(figure, 1, len(periods))
    named = len(periods) == 1 and len(homes) <= FEW_NAMES
    names = [plain(home.name, 14) if named else str(home.node) for home in homes]
    for axes, period in zip(panels[0], periods, strict=True):
        energy = np.zeros((len(homes), len(homes)))
        row = {home.node: k for k, home in enumerate(homes)}
        for outcome in period.totals[scenario].days if scenario else ():
            for trade in outcome.trades:
                energy[row[trade.seller], row[trade.buyer]] += trade.energy_kwh
        axes.set_title(f"{capital(period.name)}: {energy.sum():,.0f} kWh")
        image = axes.pcolormesh(np.ma.masked_less(energy, 0.005), cmap=matplotlib.colormaps["Blues"], vmin=0,
                                vmax=max(float(energy.max()), 0.1), edgecolor="white", linewidth=0.5)  # fmt: skip
        axes.set_aspect("equal", anchor="W" if len(periods) == 1 else "C")
        axes.invert_yaxis()
        stride = max(1, len(homes) // 24)
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks((np.arange(len(homes)) + 0.5)[::stride], names[::stride], fontsize=7.5)
            axis.set_tick_params(length=0)
            for label, home in zip(axis.get_ticklabels(), homes[::stride], strict=True):
                label.set_fontweight("bold" if home.is_prosumer else "normal")
        if named:
            axes.tick_params(axis="x", rotation=90)
        axes.set_xlabel(f"Buyer ({'' if named else 'node; '}bold: with PV)")
        axes.set_ylabel("Seller" if named else "Seller (node)")
        for spine in axes.spines.values():
            spine.set(visible=True, color=PALE)
        bar = figure.colorbar(image, ax=axes, shrink=0.75, aspect=22, pad=0.02)
        bar.set_label("Energy (kWh)")
        if bar.solids is not None:
            bar.solids.set(rasterized=False, edgecolor="face")  # two images alike would have one id in a page
    return figure


@styled
def households(study: Study) -> Figure:
    """What every household pays before and after, in each period."""
    periods = study.counted
    homes = periods[0].baseline.households
    figure = Figure(figsize=(WIDTH, 1.6 + 0.24 * len(homes)), layout="constrained")
    panels = panels_of(figure, 1, len(periods), sharey=True)
    for axes, period in zip(panels[0], periods, strict=True):
        axes.set_title(narrow(capital(period.name), len(periods)))
        costs = {scenario: [home.cost for home in totals.households] for scenario, totals in period.totals.items()}
        places = np.arange(len(homes))
        everything = np.array(list(costs.values()))
        axes.hlines(places, everything.min(axis=0), everything.max(axis=0), color=PALE, linewidth=2.5)
        for scenario, values, beside in zip(costs, everything, offsets(len(costs)), strict=True):
            axes.plot(values, places + beside, **marks_of(scenario))
        axes.axvline(0, color=INK, linewidth=0.8)
        axes.grid(axis="x")
    x_label(panels[0], f"Cost ({currency(study)}); below zero: earns")
    names_axis(panels[0, 0], homes)
    handles = [Line2D([], [], **marks_of(scenario)) for scenario in periods[0].totals]
    labels = [f"{scenario.name}: {market_of(scenario).words.label}" for scenario in periods[0].totals]
    figure.legend(handles, labels, loc="outside lower left", ncols=4, title="In bold: households with PV",
                  alignment="left", title_fontsize=8.5)  # fmt: skip
    return figure


@styled
def fairness(study: Study) -> Figure:
    """Who saves how much, by the rule that shares the community's bill in G, and as traded."""
    periods = study.counted
    homes = periods[0].baseline.households
    figure = Figure(figsize=(WIDTH, 1.8 + 0.24 * len(homes)), layout="constrained")
    panels = panels_of(figure, 1, len(periods), sharey=True)
    handles: dict[str, Any] = {}
    for axes, period in zip(panels[0], periods, strict=True):
        axes.set_title(narrow(capital(period.name), len(periods)))
        shown = sharings(period)
        edge = 1.15 * max((float(np.abs(s.saving).max()) for s in shown if s.name != EQUAL), default=1.0)
        edge = max(edge, 0.01)
        for sharing, beside in zip(shown, offsets(len(shown)), strict=True):
            drawn = SHARING.get(sharing.name) or marks_of(sharing.scenario)
            look: dict[str, Any] = {**drawn, "linestyle": "", "markersize": 4.5}
            handles[sharing.name] = Line2D([], [], **look)
            for place, saving in enumerate(sharing.saving):
                if abs(saving) <= edge:
                    axes.plot(saving, place + beside, **look)
                else:  # beyond the axis: said in figures at its edge
                    side = 1 if saving > 0 else -1
                    text = f"{saving:+.0f} →" if saving > 0 else f"← {saving:+.0f}"
                    axes.text(1.24 * side * edge, place + beside, text.replace("-", "−"), fontsize=6.5, color=INK,
                              ha="right" if saving > 0 else "left", va="center")  # fmt: skip
        axes.set_xlim(-1.25 * edge, 1.25 * edge)
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.grid(axis="x")
        for place in range(len(homes) - 1):
            axes.axhline(place + 0.5, color="#f2f2f2", linewidth=0.8, zorder=0)
    x_label(panels[0], f"Saving against the baseline ({currency(study)})")
    names_axis(panels[0, 0], homes)
    figure.legend(handles.values(), handles.keys(), loc="outside lower left", ncols=5)
    return figure


@styled
def savings(study: Study) -> Figure:
    """What every household saves on a day, and how that spreads over the days of each period."""
    periods = study.counted
    homes = periods[0].baseline.households
    median = {"color": INK, "linewidth": 1.6}
    figure = Figure(figsize=(WIDTH, 1.5 + 0.24 * len(homes)), layout="constrained")
    panels = panels_of(figure, 1, len(periods), sharey=True, sharex=len(periods) > 2)  # a winter's savings are small
    for axes, period in zip(panels[0], periods, strict=True):
        axes.set_title(narrow(capital(period.name), len(periods)), fontsize=10 if len(periods) > 2 else 11)
        for place, (home, saved) in enumerate(zip(homes, period.savings(study.after), strict=True)):
            box = axes.boxplot([saved], positions=[place], widths=0.6, orientation="horizontal", whis=(5, 95),
                               patch_artist=True, showfliers=False, medianprops=median)  # fmt: skip
            box["boxes"][0].set(facecolor=ORANGE if home.is_prosumer else SKY, edgecolor=GREY,
                                hatch="" if home.is_prosumer else "///")  # fmt: skip
        axes.axvline(0, color=INK, linewidth=0.9)
        axes.grid(axis="x")
    x_label(panels[0], f"Saving a day against the baseline ({currency(study)})")
    names_axis(panels[0, 0], homes)
    patches = [Patch(facecolor=SKY, edgecolor=GREY, hatch="///"), Patch(facecolor=ORANGE, edgecolor=GREY)]
    figure.legend(patches, ["consumers, without PV", "prosumers, with PV"], loc="outside lower left", ncols=2)
    return figure


PLOTS: dict[str, Plot] = {
    "day": day,
    "exchange": exchange,
    "prices": prices,
    "convergence": convergence,
    "boxes": boxes,
    "households": households,
    "trades": trades,
    "network": network,
    "savings": savings,
    "fairness": fairness,
}
"""All plots by the name of their file, in the order of the report."""


def plots_of(study: Study) -> dict[str, Plot]:
    """The plots of a study: all that its scenarios have something to show in."""
    left_out = set()
    if not any(scenario.has_trades for scenario in study.settings.scenarios):
        left_out |= {"trades"}
    if max(len(period.counted) for period in study.counted) < FEW_DAYS:
        left_out |= {"savings"}
    if len(study.counted) > FEW_PERIODS or study.year:
        left_out |= {"day", "exchange", "prices", "trades"}  # days, or tables, too many to be read
    return {name: plot for name, plot in PLOTS.items() if name not in left_out}


def household(study: Study, row: int) -> Figure | None:
    """A household's mean power through its meter over the day, on its own and after, in each period."""
    return _household((study, row))


@styled
def _household(of: tuple[Study, int]) -> Figure:
    study, row = of
    periods = study.counted
    figure = Figure(figsize=(WIDTH, 2.3), layout="constrained")
    panels = panels_of(figure, 1, len(periods), sharey=True)
    for axes, period in zip(panels[0], periods, strict=True):
        axes.set_title(narrow(capital(period.name), len(periods)), fontsize=10)
        for scenario in (Scenario.B, study.after):
            days = [day.households[row].schedule["injection_kw"] for day in period.totals[scenario].days]
            mean = -np.mean(days, axis=0)
            look = line_of(scenario) | {"linestyle": "--" if scenario == Scenario.B else "-", "linewidth": 1.5}
            axes.stairs(mean, np.arange(len(mean) + 1), baseline=None, **look)
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.grid(axis="y")
        clock_axis(axes, period.baseline.days[0], most=7)
    panels[0, 0].set_ylabel("Mean power (kW)\nbelow zero: gives")
    shown: list[tuple[Scenario, Any]] = [(Scenario.B, "--"), (study.after, "-")]
    handles = [Line2D([], [], color=market_of(s).look.colour, linestyle=dashes, linewidth=1.5) for s, dashes in shown]
    figure.legend(handles, [f"{s.name}: {market_of(s).words.label}" for s, _ in shown], loc="outside right upper")
    return figure
