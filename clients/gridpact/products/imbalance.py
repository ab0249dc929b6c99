"""Imbalance: the adder is due on the community's net deviation from its last nomination, shared by who caused it.

What one takes beyond its nomination and another leaves cancels before it costs anything. What is left is caused by
those who deviate in its direction, and they bear the adder in proportion; so nobody pays more than it would alone.

Or what a day's adders come to is borne out of what the day has gained: by each in proportion to what it pays less than
its own meter's bill would be, as far as all have gained that much together. So the adders leave nobody worse off than
by that bill before there is no gain left; what is due beyond it is borne by who caused it. What one deviates costs the
others, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from gridpact.errors import InputError
from gridpact.products.shares import apportioned


class AdderKey(Enum):
    """Who bears the adders."""

    CAUSED = "caused"  # who deviates as all do, step by step
    GAINED = "gained"  # who has gained, in the day


@dataclass(frozen=True)
class Imbalance:
    """One step. Money in 1e-6 currency."""

    net_wh: int  # of the community; positive: it took more than it nominated
    owed: tuple[int, ...]  # by member
    uncovered: int  # what is due beyond the caps, and owed by nobody

    @property
    def due(self) -> int:
        return sum(self.owed) + self.uncovered


def imbalance(deviation_wh: Sequence[int], adder: int, most: int | None = None) -> Imbalance:
    """Shares a step's adder.

    Args:
        deviation_wh: by member, metered less nominated net import.
        adder: 1e-6 currency/kWh, at least 0.
        most: what a member can owe for the step, 1e-6 currency; None: as much as there is.

    Raises:
        InputError: the adder or the cap is negative.
    """
    if adder < 0:
        raise InputError(f"an imbalance adder of {adder} is negative; give 0 or more")
    if most is not None and most < 0:
        raise InputError(f"a cap of {most} on what a member owes is negative; give 0 or more")
    net = sum(deviation_wh)
    sign = 1 if net > 0 else -1
    caused = [max(sign * deviation, 0) for deviation in deviation_wh]
    due = abs(net) * adder // 1000
    parts = apportioned(due, caused)
    owed = parts if most is None else tuple(min(part, most) for part in parts)
    return Imbalance(net, owed, due - sum(owed))


def borne_by_gain(due: int, gained: Sequence[int], caused: Sequence[int]) -> tuple[int, ...]:
    """Shares a day's adders by what each has gained, and what is due beyond that by what each has caused, in 1e-6
    currency.

    Args:
        gained: by member, its own meter's bill less what it pays for trades, pool and supplier; negative: it pays more.
        caused: what each would bear by what it has caused; they sum to what is due.
    """
    positive = [max(gain, 0) for gain in gained]
    out_of_gain = min(due, sum(positive))
    parts = zip(apportioned(out_of_gain, positive), apportioned(due - out_of_gain, caused), strict=True)
    return tuple(gain + beyond for gain, beyond in parts)
