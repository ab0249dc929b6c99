"""The figures that README and docs build on: a change that moves one of them has to say so here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gridpact.community.read import read_community
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day

FIGURES = Path(__file__).parent / "figures.json"


@dataclass(frozen=True)
class Figures:
    """Of one day, as they are printed."""

    iterations: int
    objective: str
    optimum: str
    gap: str
    trades: int
    traded_kwh: str


def figures(case: str, day: str, scenario: str) -> Figures:
    solved = solve_day(read_community(case).on(day), NAMES[scenario])
    return Figures(
        solved.iterations,
        f"{solved.objective:.2f}",
        f"{solved.optimum:.2f}",
        f"{100 * solved.gap:.3f} %",
        len(solved.trades),
        f"{solved.traded_kwh:.1f}",
    )


@pytest.mark.parametrize("of", json.loads(FIGURES.read_text()), ids=lambda of: "-".join(of["of"]))
def test_figures_stand(of: dict[str, object]) -> None:
    case, day, scenario = of["of"]  # type: ignore[misc]
    assert vars(figures(case, day, scenario)) == of["figures"]
