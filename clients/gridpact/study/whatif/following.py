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
from dataclasses import dataclass

from gridpact.study.whatif.delivery import Aim, Replanning, Terms

TOLD = 3
"""How often homes are told within a step."""

NOTHING_KW = 1e-3
"""What is no deviation."""


@dataclass(frozen=True)
class DecidedStep:
    """What a home says of a step that it has decided, kW."""

    injection_kw: float
    promised_kw: float  # what it would feed in if it did as it nominated
    follows: bool  # whether it can do more, or less

    @staticmethod
    def of(home: Replanning, terms: Terms, step: int) -> DecidedStep:
        promised = float(terms.net_sold_kw[step] - terms.planned_import_kw[step])
        return DecidedStep(home.injection_kw(step), promised, home.has_choice)


@dataclass(frozen=True)
class AskedPart:
    """What each home that can is asked to feed in more, kW, and whether the community draws from the grid."""

    more_kw: float
    imports: bool

    @staticmethod
    def of(decided: Sequence[DecidedStep]) -> AskedPart | None:
        """None where nothing is to be asked, or nobody can."""
        net = sum(one.promised_kw - one.injection_kw for one in decided)
        able = sum(one.follows for one in decided)
        if abs(net) < NOTHING_KW or not able:
            return None
        return AskedPart(net / able, sum(one.injection_kw for one in decided) < 0)


def follow(homes: Sequence[Replanning], terms: Sequence[Terms], step: int) -> None:
    """Lets all decide a step again that they have decided.

    Args:
        terms: of each home.

    Raises:
        SolverError, InfeasibleError: see `deliver`.
    """
    decided = [DecidedStep.of(home, own, step) for home, own in zip(homes, terms, strict=True)]
    for _ in range(TOLD):
        asked = AskedPart.of(decided)
        if asked is None:
            return
        decided = [
            answered(home, own, step, asked, before) for home, own, before in zip(homes, terms, decided, strict=True)
        ]


def answered(home: Replanning, terms: Terms, step: int, asked: AskedPart, before: DecidedStep) -> DecidedStep:
    """What a home does, and whether it could do more: where it has not done all that it was asked for, it cannot.

    Raises:
        SolverError, InfeasibleError: see `deliver`.
    """
    if not before.follows:
        return before
    prices = terms.prices.import_price if asked.imports else terms.prices.feed_in_price
    drawn = float(terms.net_sold_kw[step]) - before.injection_kw
    aim = Aim(drawn - asked.more_kw, float(prices[step]), asked.more_kw > 0)
    moved = home.step_again(step, terms, aim)
    return DecidedStep(before.injection_kw + moved, before.promised_kw, abs(moved - asked.more_kw) < NOTHING_KW)
