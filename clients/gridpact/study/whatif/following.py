"""Stores follow the community's meter within a step, where each would else follow its own home's.

Once all have decided a step by their own loads, PV output and cars, the community deviates from what it nominated by
the sum of what its homes deviate. A home that can make up for it at another step (with a battery, a tank, a car) is
told its part of that sum, and what a kWh more or less costs the community: the import price where the community draws
from the grid, the feed-in price where it feeds in. It decides its step again, aiming at what it draws less that part,
with the rest of its day in view: so it follows where that is worth the adder, and not where what it has stored is worth
more later. What one cannot or would not do is told the others again.
"""

from __future__ import annotations

from collections.abc import Sequence

from gridpact.study.whatif.delivery import Aim, Replanning, Terms

TOLD = 3
"""How often homes are told within a step."""

NOTHING_KW = 1e-3
"""What is no deviation."""


def follow(homes: Sequence[Replanning], terms: Sequence[Terms], step: int) -> None:
    """Lets all decide a step again that they have decided.

    Args:
        terms: of each home.

    Raises:
        SolverError, InfeasibleError: see `deliver`.
    """
    able = [(home, own) for home, own in zip(homes, terms, strict=True) if home.has_choice]
    planned = sum(own.planned_import_kw[step] for own in terms)
    for _ in range(TOLD):
        imported = -sum(home.injection_kw(step) for home in homes)
        net = sum(own.net_sold_kw[step] for own in terms) + imported - planned
        if abs(net) < NOTHING_KW or not able:
            return
        part = net / len(able)
        able = [(home, own) for home, own in able if _follows(home, own, step, part, imported > 0)]


def _follows(home: Replanning, own: Terms, step: int, part: float, imports: bool) -> bool:
    """Whether a home has done its whole part; kW."""
    prices = own.prices.import_price if imports else own.prices.feed_in_price
    drawn = float(own.net_sold_kw[step]) - home.injection_kw(step)
    moved = home.step_again(step, own, Aim(drawn - part, float(prices[step]), bool(part > 0)))
    return abs(moved - part) < NOTHING_KW
