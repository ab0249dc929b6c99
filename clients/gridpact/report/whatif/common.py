"""What the pages of all what-ifs have in common."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from gridpact.community.model import CommunityDay
from gridpact.problem.scenario import Scenario
from gridpact.report.whatif.page import percent_text
from gridpact.study.whatif.draws import DayPlan
from gridpact.study.whatif.sweep import DayFigures, PointFigures
from gridpact.text import plain

IN_MEMORY = (
    "Every point is the negotiation of the days in memory with the chain's integers, carried out by an independent "
    "power flow; costs are what all households pay together, losses included, trading coefficients not."
)


def where(days: Sequence[CommunityDay], rest: str) -> str:
    named = days[0].day if len(days) == 1 else f"{days[0].day} to {days[-1].day} ({len(days)} days)"
    return f"{days[0].name}, {named} · {rest}"


def period(days: Sequence[CommunityDay]) -> str:
    return "day" if len(days) == 1 else f"{len(days)} days"


def start(text: str) -> str:
    return text[:1].upper() + text[1:]


def share_text(share: float) -> str:
    """A share of households: 50 %, 62.5 %."""
    return f"{100 * share:.3g} %"


def figures_fields(figures: Mapping[Scenario, PointFigures]) -> dict[str, Any]:
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


def trust(points: Points) -> list[str]:
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
    doubtful = [f"{start(name)}: {day.complaint}." for name, day in days if not day.checks_held]
    if doubtful:
        return [f"{text}. Not every check held; read these points with care:", *doubtful]
    return [f"{text}, and every check of every point held." if agreed else f"{text}."]


def as_points(name: str, plans: Sequence[DayPlan]) -> Points:
    """Plans that are delivered, as points."""
    outcomes = [(plan.planned, plan.baseline) for plan in plans]
    return [(name, {o.scenario: PointFigures((DayFigures.of(o),)) for o in both}) for both in outcomes]


def delivery_fields(settings: Any) -> dict[str, Any]:
    return {
        "scenario": settings.scenario.value,
        "draws": settings.draws,
        "seed": settings.seed,
        "adder": settings.adder,
        "adder_key": settings.adders.value,
        "pool": asdict(settings.pool) | {"key": settings.pool.key.value, "pricing": settings.pool.pricing.value},
        "public_price": settings.public_price,
        "model": asdict(settings.model),
        "recourses": [recourse.value for recourse in settings.recourses],
    }
