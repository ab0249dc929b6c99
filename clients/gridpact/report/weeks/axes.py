"""Axes, marks and legends that the pictures of a study have in common."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from gridpact.community.model import Array
from gridpact.market.registry import market_of
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.report.drawing import (
    PALE,
    Axes,
    Figure,
    Line2D,
)
from gridpact.study.weeks.totals import HouseholdWeek, Study, left_out
from gridpact.text import plain


def panels_of(figure: Figure, rows: int, columns: int, **share: Any) -> Any:
    """Axes as an array of shape (rows, columns)."""
    return figure.subplots(rows, columns, squeeze=False, **share)


def offsets(count: int) -> Array:
    """Where marks of one household stand beside its line, so that none hides another."""
    return np.linspace(-0.25, 0.25, count) if count > 1 else np.zeros(1)


def marks_of(scenario: Scenario) -> dict[str, Any]:
    drawn = market_of(scenario).look
    look: dict[str, Any] = {"marker": drawn.mark, "color": drawn.colour, "linestyle": "", "markersize": 5}
    return look | ({"markerfacecolor": "white"} if scenario == Scenario.B else {})


def line_of(scenario: Scenario) -> dict[str, Any]:
    look = market_of(scenario).look
    return {"color": look.colour, "linestyle": look.line, "linewidth": 1.4}


def scenario_legend(study: Study) -> tuple[list[Any], list[str]]:
    scenarios = study.settings.scenarios
    lines = [Line2D([], [], **line_of(s)) for s in scenarios]
    return lines, [f"{s.name}: {market_of(s).words.label}" for s in scenarios]


def clock_axis(axes: Axes, outcome: DayOutcome, most: int = 9) -> None:
    steps, times = len(outcome.start_times), outcome.start_times
    stride = next((s for s in (1, 2, 3, 4, 6, 8, 12, 16, 24) if steps / s <= most), -(-steps // most))
    ticks = list(range(0, steps, stride))
    axes.set_xticks(ticks, [times[t] for t in ticks])
    axes.set_xlim(0, steps)
    axes.set_xlabel("Time (hh:mm)")


def days_axis(axes: Axes, days: Sequence[DayOutcome]) -> None:
    """Days beside each other, marked where days between them are left out; of one day its hours."""
    if len(days) == 1:
        clock_axis(axes, days[0])
        return
    starts = np.cumsum([0] + [len(outcome.start_times) for outcome in days])
    stride = -(-len(days) // 10)
    axes.set_xticks(starts[:-1][::stride], [plain(outcome.day, 10) for outcome in days][::stride])
    for start, before, after in zip(starts[1:-1], days, days[1:], strict=False):
        axes.axvline(start, color=PALE, linewidth=0.8, zorder=0)
        if left_out(before.day, after.day):
            axes.text(start, 1.0, "//", transform=axes.get_xaxis_transform(), ha="center", va="center", fontsize=9)
    axes.set_xlim(0, starts[-1])
    axes.set_xlabel("Day (each label stands at midnight)")


def x_label(row: Sequence[Axes], text: str) -> None:
    """The label of panels beside each other: under each, or under the first where they are narrow."""
    if len(row) <= 2:
        for axes in row:
            axes.set_xlabel(text)
    else:
        row[0].set_xlabel(text, loc="left")


def narrow(text: str, panels: int) -> str:
    """A title in two lines where there are many beside each other."""
    return text.replace(" to ", "\nto ") if panels > 2 else text


def names_axis(axes: Axes, homes: Sequence[HouseholdWeek]) -> None:
    """Households from top to bottom, those with PV in bold."""
    axes.set_yticks(np.arange(len(homes)), [plain(home.name, 16) for home in homes], fontsize=8)
    axes.set_ylim(len(homes) - 0.4, -0.6)
    for label, home in zip(axes.get_yticklabels(), homes, strict=True):
        label.set_fontweight("bold" if home.is_prosumer else "normal")
