"""Pictures of an aggregator's risk, like those of Postnikov et al.: distributions, adjustments, cars."""

from __future__ import annotations

import numpy as np
from scipy.stats import gaussian_kde

from gridpact.aggregator.cars import HALF_HOURS, PLACES
from gridpact.aggregator.risk import Risk
from gridpact.report.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILION, Figure, drawn, styled

SHOWN = ((25, "PV", ORANGE), (37, "cars", PURPLE), (37, "meters", BLUE), (37, "heat pumps", VERMILION))
"""Half-hours whose distributions are shown: 12:30 and 18:30."""


def at(step: int) -> str:
    """When a half-hour begins."""
    return f"{step // 2:02d}:{30 * (step % 2):02d}"


def pictures(risk: Risk) -> dict[str, Figure]:
    """By file name."""
    return drawn(
        [("distributions", distributions(risk)), ("adjustments", adjustments_drawn(risk)), ("cars", cars_drawn(risk))]
    )


@styled
def distributions(risk: Risk) -> Figure:
    """What homes give and take at a half-hour, their densities."""
    figure = Figure(figsize=(8, 4.8), layout="constrained")
    heat = risk.sample.heat_kw[:, risk.sample.heat_kw.any(axis=(0, 2))]
    of = {"PV": risk.sample.pv_kw, "meters": risk.sample.load_kw, "cars": risk.cars.charging_kw, "heat pumps": heat}
    for axes, (step, name, colour) in zip(figure.subplots(2, 2).ravel(), SHOWN, strict=True):
        seen = of[name][:, :, step].ravel()
        axes.set_title(f"{name}, {at(step)}")
        axes.set_xlabel({"cars": "kW a car", "heat pumps": "kW a pump"}.get(name, "kW a home"))
        if len(seen) > 1 and np.ptp(seen) > 0:
            grid = np.linspace(0, seen.max(), 200)
            axes.fill_between(grid, gaussian_kde(seen)(grid), color=colour, alpha=0.5)
    return figure


@styled
def adjustments_drawn(risk: Risk) -> Figure:
    """How much has to be adjusted by half-hour, and how probable that is."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 1])
    hours = np.arange(HALF_HOURS) / 2
    axes.set_title("Adjustments of all agents for the feeder's limits")
    for size, colour, name in ((risk.drawn.down_kw, VERMILION, "charging"), (risk.drawn.up_kw, ORANGE, "PV")):
        axes.fill_between(
            hours, *np.quantile(size, [0.05, 0.95], axis=0), step="post", color=colour, alpha=0.4,
            label=f"less {name}, P5 to P95",
        )  # fmt: skip
    held, name = risk.drawn.enough(risk.certainty), f"held back at {100 * risk.certainty:g} %"
    axes.step(hours, held, where="post", color=GREY, label=name)
    axes.set_ylabel("kW")
    axes.legend()
    below.step(hours, (risk.drawn.size_kw > 0).mean(axis=0), where="post", color=BLUE)
    below.set_ylabel("probability")
    below.set_xlabel("hour")
    return figure


@styled
def cars_drawn(risk: Risk) -> Figure:
    """Where cars are, and what they charge on average."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True)
    hours = np.arange(HALF_HOURS) / 2
    if risk.cars.place.size:
        shares = [(risk.cars.place == place).mean(axis=(0, 1)) for place in range(len(PLACES))]
        axes.stackplot(hours, shares, labels=PLACES, colors=(GREEN, PURPLE, GREY), alpha=0.6)
        axes.legend(loc="lower left")
        below.step(hours, risk.cars.charging_kw.mean(axis=(0, 1)), where="post", color=PURPLE)
    axes.set_title("Where cars are")
    axes.set_ylabel("share")
    below.set_ylabel("kW a car")
    below.set_xlabel("hour")
    return figure
