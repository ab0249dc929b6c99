"""The pictures of a run, each a function from a `Outcome` to a matplotlib `Figure`.

Colours are those of Okabe and Ito, which colour-blind readers can tell apart; where two of them meet, line
styles, positions or labels say the same again, so that a black-and-white print loses nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, Feeder
from gridpact.community.street import PhaseFeeder
from gridpact.devices.registry import BANDS
from gridpact.grid.three_phase import homes_of, reduced_of
from gridpact.outcome.indicators import Indicators, VoltageExtreme
from gridpact.outcome.outcome import Outcome
from gridpact.report import words
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
    Axes,
    Figure,
    FuncFormatter,
    Line2D,
    LineCollection,
    MaxNLocator,
    NullFormatter,
    Patch,
    matplotlib,
    styled,
)
from gridpact.report.words import nothing_traded
from gridpact.text import plain

COLOURS = {
    "orange": ORANGE, "sky": SKY, "green": GREEN, "blue": BLUE, "vermilion": VERMILION, "purple": PURPLE,
    "yellow": "#f0e442",
}  # fmt: skip
"""By the names that bands of devices have."""

NETWORK_COLOUR, TRADE_COLOUR = BLUE, VERMILION
IMPORT_COLOUR, FEED_IN_COLOUR = BLUE, SKY
IMPORT_COLOURS, FEED_IN_COLOURS = (BLUE, GREEN, PURPLE, INK), (SKY, GREEN, PURPLE, INK)
"""Of suppliers one after the other."""

WIDTH = 8.0  # inches

Plot = Callable[[Outcome], "Figure | None"]


@styled
def convergence(result: Outcome) -> Figure:
    """RMS residuals by iteration, each as a multiple of its limit, below which all must fall."""
    figure, axes = _figure("How agreement was reached", 3.6)
    axes.set_xlabel("Iteration")
    axes.set_ylabel("RMS residual per coupled value,\nas a multiple of its limit")
    if (residuals := result.convergence) is None:
        axes.set_xlim(0, max(1, result.iterations))
        axes.set_ylim(0, 1)
        return _empty(figure, axes, words.no_way_to_it(result))
    curves = (
        (residuals.primal_grid_w, "Network: disagreement", NETWORK_COLOUR, "-"),
        (residuals.dual_grid_w, "Network: change since the last iteration", NETWORK_COLOUR, "--"),
        (residuals.primal_trade_w, "Trades: disagreement", TRADE_COLOUR, "-"),
        (residuals.dual_trade_w, "Trades: change since the last iteration", TRADE_COLOUR, "--"),
    )
    shown = [
        (values / limit, f"{label} (limit {limit:.3g} W)", colour, dashes)
        for (values, label, colour, dashes), limit in zip(curves, residuals.limits_w, strict=True)
        if np.any(np.nan_to_num(values) > 0)
    ]
    least = min((float(values[values > 0].min()) for values, *_ in shown), default=1.0) / 2
    for values, label, colour, dashes in shown:
        iteration = np.arange(1, len(values) + 1)
        above = np.where(values == 0, least / 10, values)  # nothing is left of it: below the axis
        axes.plot(iteration, above, dashes, color=colour, linewidth=1.6, label=label,
                  marker="o" if len(values) < 8 else None, markersize=3)  # fmt: skip
    axes.set_yscale("log")
    axes.set_ylim(bottom=min(least, 0.5))
    axes.set_xlim(1, max(2, result.iterations))
    axes.axhline(1.0, color=INK, linewidth=0.8)
    axes.annotate("limit", (1, 1), xycoords=("axes fraction", "data"), xytext=(4, 0), textcoords="offset points",
                  va="center", color=INK, fontsize=8.5, annotation_clip=False)  # fmt: skip
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
    axes.grid(axis="y")
    _legend(figure, axes.get_legend_handles_labels(), columns=2)
    return figure


def power_bands(
    total: Callable[[str], Array], import_kw: Array, losses_kw: Array
) -> tuple[list[tuple[Array, str, str, str]], list[tuple[Array, str, str, str]]]:
    """Where power came from and where it went: kW (T,), label, colour, hatch.

    Args:
        total: a column of all households together, (T,).
        import_kw: through the grid connection, (T,).
    """
    shown = [((band.of(total), band.label, COLOURS[band.colour], band.hatch), band.is_source) for band in BANDS]
    sources = [band for band, is_source in shown if is_source]
    uses = [band for band, is_source in shown if not is_source]
    return (
        [*sources, (np.maximum(import_kw, 0), "From the grid", IMPORT_COLOUR, "")],
        [
            (total("load_kw"), "Households", "#9a9a9a", ""),
            *reversed(uses),
            (np.maximum(-import_kw, 0), "Into the grid", FEED_IN_COLOUR, ""),
            (losses_kw, "Lost in the lines", INK, ""),
        ],
    )


@styled
def power(result: Outcome) -> Figure:
    """The community's power over the day: sources above zero, uses below; the import price underneath."""
    indicators, community = Indicators(result), result.community
    balance = indicators.balance
    figure = Figure(figsize=(WIDTH, 5.0), layout="constrained")
    axes, prices = figure.subplots(2, 1, sharex=True, height_ratios=[4.2, 1])
    axes.set_title("The community's power over the day")
    edges = np.arange(community.steps + 1, dtype=float)
    sources, uses = power_bands(indicators.total, result.flow.import_kw, balance.losses)
    handles, labels = [], []
    for title, bands, sign in (("Where it came from", sources, 1), ("Where it went", uses, -1)):
        bottom = np.zeros(community.steps)
        handles.append(Patch(alpha=0))
        labels.append(title)
        for values, label, colour, hatch in bands:
            energy = indicators.energy_kwh(values)
            if energy < 0.005:
                continue
            top = bottom + sign * np.maximum(values, 0)
            fill: dict[str, Any] = {"facecolor": colour, "edgecolor": "white", "linewidth": 0, "hatch": hatch}
            axes.fill_between(edges, np.append(top, top[-1]), np.append(bottom, bottom[-1]), step="post", **fill)
            handles.append(Patch(**fill))
            labels.append(f"{label}: {energy:,.1f} kWh")
            bottom = top
        handles.append(Patch(alpha=0))
        labels.append("")
    axes.axhline(0, color=INK, linewidth=1)
    axes.set_ylabel("Power (kW)\nuse below zero, supply above")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):g}"))
    axes.grid(axis="y")
    legend = figure.legend(handles[:-1], labels[:-1], loc="outside right upper", handlelength=1.6, labelspacing=0.6)
    for text in legend.get_texts():
        text.set_fontweight("bold" if text.get_text().startswith("Where") else "normal")
    price = community.prices.import_price
    prices.stairs(price, edges, color=INK, linewidth=1.2, baseline=None)
    prices.set_ylim(min(0.0, 1.1 * float(price.min())), max(1e-6, 1.15 * float(price.max())))
    prices.set_ylabel(f"Import price\n({_currency(result)}/kWh)")
    prices.yaxis.set_major_locator(MaxNLocator(3))
    prices.grid(axis="y")
    time_axis(prices, result.community)
    figure.align_ylabels()
    return figure


@styled
def trades(result: Outcome) -> Figure:
    """Who sold how much to whom, over the day."""
    indicators, community = Indicators(result), result.community
    energy = indicators.traded_kwh
    if not energy.any():
        figure, axes = _figure("Who traded with whom", 3.0)
        axes.set_xlabel("Buyer")
        axes.set_ylabel("Seller (kWh)")
        return _empty(figure, axes, nothing_traded(result))
    sellers, buyers = np.flatnonzero(energy.sum(axis=1) > 0), np.flatnonzero(energy.sum(axis=0) > 0)
    cells = energy[np.ix_(sellers, buyers)]
    rows, columns = cells.shape
    crowded = max(rows, columns) > 24
    height, small, names_size = (0.17, 5.5, 6.0) if crowded else (0.28, 8.0, 8.5)
    figure = Figure(figsize=(max(WIDTH, 2 + 0.17 * columns), 1.8 + height * (rows + 1)), layout="constrained")
    axes = figure.subplots()
    axes.set_title("Who traded with whom")
    shades = matplotlib.colormaps["Blues"]
    image = axes.pcolormesh(np.ma.masked_equal(cells, 0), cmap=shades, vmin=0, vmax=1.2 * float(cells.max()),
                            edgecolor="white", linewidth=1)  # fmt: skip
    axes.set_xlim(0, max(columns + 1.3, 9.0))  # a few traders do not get cells as wide as the page
    axes.set_ylim(rows + 1.3, 0)
    if not crowded:
        for row, column in np.argwhere(cells > 0):
            value = float(cells[row, column])
            axes.text(column + 0.5, row + 0.5, _short(value), ha="center", va="center", fontsize=small,
                      color="white" if value > 0.65 * cells.max() else INK)  # fmt: skip
    total: dict[str, Any] = {"ha": "center", "va": "center", "fontsize": small}
    for row, value in enumerate(cells.sum(axis=1)):
        axes.text(columns + 0.7, row + 0.5, _short(float(value)), **total)
    for column, value in enumerate(cells.sum(axis=0)):
        axes.text(column + 0.5, rows + 0.8, _short(float(value)), rotation=90 if crowded else 0, **total)
    axes.text(columns + 0.7, rows + 0.8, _short(float(cells.sum())), fontweight="bold", **total)
    axes.xaxis.tick_top()
    axes.xaxis.set_label_position("top")
    names = [plain(home.name, 18) for home in community.households]
    for axis, members, last in ((axes.xaxis, buyers, 0.7), (axes.yaxis, sellers, 0.8)):
        places = [*(np.arange(len(members)) + 0.5), len(members) + last]
        axis.set_ticks(places, [*(names[k] for k in members), "all"], fontsize=names_size)
        axis.set_tick_params(length=0)
        for label, member in zip(axis.get_ticklabels(), members, strict=False):
            label.set_fontweight("bold" if community.households[member].is_prosumer else "normal")
    longest = max(len(names[k]) for k in buyers)
    if crowded or longest * (columns + 1.3) > 80:  # letters that fit side by side
        for label in axes.xaxis.get_ticklabels():
            label.set(rotation=90, ha="center", va="bottom")
    axes.set_xlabel("Buyer (in bold: with PV)", labelpad=8, loc="left")
    axes.set_ylabel("Seller")
    for spine in axes.spines.values():
        spine.set_visible(False)
    if crowded:
        bar = figure.colorbar(image, ax=axes, shrink=0.6, aspect=25, pad=0.02)
        bar.set_label("Energy over the day (kWh)")
    else:
        figure.supxlabel("Numbers: energy over the day (kWh)", x=0.01, ha="left", fontsize=8.5)
    return figure


@styled
def prices(result: Outcome) -> Figure:
    """Import and feed-in price of each supplier that somebody is the customer of, and the trades' prices."""
    indicators, community = Indicators(result), result.community
    figure, axes = _figure("What a kilowatt-hour cost", 3.8)
    edges = np.arange(community.steps + 1, dtype=float)
    tariffs = [group.prices for group in community.customers(not result.scenario.has_contracts)]
    handles: list[Any] = []
    labels: list[str] = []
    for number, tariff in enumerate(tariffs):
        bought, fed_in = tariff.import_price, tariff.feed_in_price
        of = "" if len(tariffs) == 1 else f", {plain(tariff.supplier or community.name, 18)}"
        if len(tariffs) == 1:
            axes.fill_between(edges, np.append(bought, bought[-1]), np.append(fed_in, fed_in[-1]), step="post",
                              color="#f2f2f2", linewidth=0)  # fmt: skip
        for series, what, line, colours in (
            (bought, "Import price", "-", IMPORT_COLOURS),
            (fed_in, "Feed-in price", "--", FEED_IN_COLOURS),
        ):
            look: dict[str, Any] = {"color": colours[number % len(colours)], "linewidth": 1.8, "linestyle": line}
            axes.stairs(series, edges, baseline=None, **look)
            handles.append(Line2D([], [], **look))
            labels.append(f"{what}{of}")
    traded = indicators.trade_prices
    if traded:
        middle = np.array([prices.step + 0.5 for prices in traded])
        axes.vlines(middle, [p.low for p in traded], [p.high for p in traded], color=TRADE_COLOUR, linewidth=1.4)
        energy = np.array([prices.energy_kwh for prices in traded])
        largest = float(energy.max())
        axes.scatter(middle, [p.mean for p in traded], s=_area(energy, largest), color=TRADE_COLOUR,
                     edgecolor="white", linewidth=0.6, zorder=3)  # fmt: skip
        handles.append(Line2D([], [], color=TRADE_COLOUR, linewidth=1.4))
        labels.append("Trades: lowest to highest")
        for sample in (largest, largest / 4):
            side = float(np.sqrt(_area(np.array(sample), largest)))
            handles.append(Line2D([], [], color=TRADE_COLOUR, marker="o", linestyle="", markersize=side,
                                  markeredgecolor="white", markeredgewidth=0.6))  # fmt: skip
            labels.append(f"Mean, {_short(sample)} kWh traded" if sample == largest else f"{_short(sample)} kWh")
    else:
        handles.append(Patch(alpha=0))
        labels.append(nothing_traded(result))
    everything = [float(t.feed_in_price.min()) for t in tariffs] + [float(t.import_price.min()) for t in tariffs]
    everything += [p.low for p in traded]
    top = max([float(t.import_price.max()) for t in tariffs] + [p.high for p in traded])
    axes.set_ylim(min(0.0, 1.08 * min(everything)), 1.08 * top if top > 0 else 1.0)
    axes.set_ylabel(f"Price ({_currency(result)}/kWh)")
    axes.grid(axis="y")
    time_axis(axes, result.community)
    _legend(figure, (handles, labels), columns=5 if len(tariffs) == 1 else 3)
    return figure


@styled
def voltages(result: Outcome) -> Figure:
    """Voltages along the feeder: each node's range, and the feeder at its lowest and highest moment."""
    indicators, feeder, voltage = Indicators(result), result.community.feeder, result.flow.voltage_pu
    figure, axes = _figure("Voltages along the feeder", 4.6)
    distance = _distance_ohm(feeder)
    nodes = result.flow.nodes
    place = np.array([distance[node] for node in nodes])
    low, middle, high = voltage.min(axis=1), np.median(voltage, axis=1), voltage.max(axis=1)
    for limit, name in (
        (feeder.voltage_min_pu, "lowest allowed"),
        (feeder.voltage_max_pu, "highest allowed"),
    ):
        axes.axhline(limit, color=INK, linewidth=0.8)
        axes.annotate(f"{name}: {limit:g}", (0, limit), xycoords=("axes fraction", "data"), xytext=(4, 3),
                      textcoords="offset points", fontsize=8.5, va="bottom")  # fmt: skip
    axes.vlines(place, low, high, color=GREY, alpha=0.3, linewidth=5)
    axes.plot(place, middle, "_", color=GREY, markersize=7, markeredgewidth=1.4)

    handles: list[Any] = [
        Line2D([], [], color=GREY, alpha=0.3, linewidth=5),
        Line2D([], [], color=GREY, marker="_", linestyle="", markersize=7, markeredgewidth=1.4),
    ]
    labels = ["range over the day", "median"]
    extremes: list[tuple[VoltageExtreme, str, Any, str, str]] = [
        (indicators.lowest_voltage, VERMILION, "-", "v", "lowest")
    ]
    if indicators.highest_voltage.voltage_pu > 1 + 1e-6:
        extremes.append((indicators.highest_voltage, BLUE, "--", "^", "highest"))
    for extreme, colour, dashes, marker, word in extremes:
        now = {GRID_CONNECTION: 1.0} | dict(zip(nodes, voltage[:, extreme.step], strict=True))
        # What a street has between its homes is not in the result: there are dots only.
        lines = feeder.lines if isinstance(feeder, Feeder) else ()
        branches = [[(distance[line.parent], now[line.parent]), (distance[line.node], now[line.node])]
                    for line in lines]  # fmt: skip
        axes.add_collection(LineCollection(branches, colors=colour, linewidths=1.4, linestyles=dashes))
        axes.plot([distance[node] for node in now], list(now.values()), "o", color=colour, markersize=3)
        axes.plot(distance[extreme.node], extreme.voltage_pu, marker, color=colour, markersize=9)
        clock = indicators.clock(extreme.step)
        name = plain(indicators.name(extreme.node), 18)
        handles.append(Line2D([], [], color=colour, linewidth=1.4, linestyle=dashes, marker=marker, markersize=7))
        worst = f", {indicators.nearness}" if extreme == indicators.worst_voltage else ""
        labels.append(f"at {clock}: {word}{worst} ({extreme.voltage_pu:.3f}, {name})")
    axes.plot(0, 1, "s", color=INK, markersize=5)
    axes.annotate("grid", (0, 1), xytext=(0, 6), textcoords="offset points", ha="center", va="bottom", fontsize=8)
    limits = (feeder.voltage_min_pu, feeder.voltage_max_pu)
    bottom, top = min(limits[0], float(low.min())), max(limits[1], float(high.max()))
    axes.set_ylim(bottom - 0.09 * (top - bottom), top + 0.07 * (top - bottom))
    axes.set_xlim(-0.03 * place.max(), 1.03 * place.max())
    _node_numbers(axes, indicators, place, low)
    axes.set_xlabel("Resistance from the grid connection (ohm); small numbers are nodes")
    axes.set_ylabel("Voltage (p.u.)")
    axes.grid(axis="y")
    _legend(figure, (handles, labels), columns=2)
    return figure


PLOTS: dict[str, Plot] = {
    "convergence": convergence,
    "power": power,
    "trades": trades,
    "prices": prices,
    "voltages": voltages,
}
"""All plots by the name of their file, in the order of the report."""


def _figure(title: str, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(WIDTH, height), layout="constrained")
    axes = figure.subplots()
    axes.set_title(title)
    return figure, axes


def _empty(figure: Figure, axes: Axes, text: str) -> Figure:
    """A picture of nothing says so."""
    axes.text(0.5, 0.5, text, transform=axes.transAxes, ha="center", va="center", color=GREY, wrap=True)
    axes.set_xticks([])
    axes.set_yticks([])
    figure.set_figheight(1.7)
    for spine in axes.spines.values():
        spine.set_color(PALE)
    return figure


def _legend(figure: Figure, entries: tuple[Any, Any], columns: int) -> None:
    handles, labels = entries
    figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=2.2, columnspacing=1.5)


def time_axis(axes: Axes, community: CommunityDay) -> None:
    """Steps on the x axis, labelled with the times at which they start; at most nine labels."""
    steps, times = community.steps, community.start_times
    stride = next((s for s in (1, 2, 3, 4, 6, 8, 12, 16, 24) if steps / s <= 9), -(-steps // 9))
    ticks = list(range(0, steps, stride))
    axes.set_xticks(ticks, [times[t] for t in ticks])
    axes.set_xlim(0, steps)
    axes.set_xlabel("Time of day (hh:mm)")


def _distance_ohm(feeder: Feeder | PhaseFeeder) -> dict[int, float]:
    """Of every node from the grid connection; on a street what a home's first phase and the neutral have together."""
    distance = {GRID_CONNECTION: 0.0}
    if isinstance(feeder, PhaseFeeder):
        own = reduced_of(feeder).shared.diagonal().real
        return distance | {node: float(own[rows][0]) for node, rows in zip(feeder.nodes, homes_of(feeder), strict=True)}
    for node in sorted(feeder.depth, key=lambda node: (feeder.depth[node], node)):
        if node != GRID_CONNECTION:
            distance[node] = distance[feeder.parent[node]] + feeder.lines[node - 1].resistance_ohm
    return distance


def _node_numbers(axes: Axes, indicators: Indicators, place: Array, low: Array) -> None:
    """Numbers under the nodes, beside them where two would meet; on a large feeder only its ends."""
    feeder, nodes = indicators.result.community.feeder, indicators.result.flow.nodes
    near_x = 0.03 * np.ptp(axes.get_xlim())
    near_y = 0.045 * np.ptp(axes.get_ylim())
    taken: list[tuple[float, float]] = []
    for row in np.argsort(low, kind="stable"):
        node, x, y = nodes[row], float(place[row]), float(low[row])
        if len(nodes) > 32 and (isinstance(feeder, PhaseFeeder) or feeder.children[node]):
            continue
        beside = any(abs(x - other_x) < near_x and abs(y - other_y) < near_y for other_x, other_y in taken)
        taken.append((x, y))
        offset = (4, 2) if beside else (0, -9) if node == indicators.lowest_voltage.node else (0, -4)
        axes.annotate(str(node), (x, y), xytext=offset, textcoords="offset points", fontsize=7,
                      ha="left" if beside else "center", va="bottom" if beside else "top")  # fmt: skip


def _area(energy_kwh: Array, largest: float) -> Array:
    """Marker area in points squared, proportional to the energy."""
    return 110 * energy_kwh / largest if largest > 0 else 0 * energy_kwh + 10


def _short(energy_kwh: float) -> str:
    """Two digits after the point below 1, one below 100, none above; what rounds to nothing is `<0.01`."""
    if energy_kwh < 0.005:
        return "<0.01"
    return (
        f"{energy_kwh:.2f}"
        if energy_kwh < 0.995
        else f"{energy_kwh:.1f}"
        if energy_kwh < 99.95
        else f"{energy_kwh:.0f}"
    )


def _currency(result: Outcome) -> str:
    return plain(result.community.currency, 8)
