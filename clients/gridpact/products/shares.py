"""Whole numbers in parts, so that nothing is lost by rounding: what pool and imbalance divide by."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate


def apportioned(total: int, weights: Sequence[int]) -> tuple[int, ...]:
    """A total in proportion to weights: each part is total w / sum(w), rounded up or down, and they add up to it.

    Differences of the rounded running sum, so that no part is off by a whole unit.

    Args:
        weights: at least 0; where all are 0, there is nothing to divide by, and the total must be 0.
    """
    whole = sum(weights)
    if not whole:
        assert total == 0
        return (0,) * len(weights)
    ends = [total * running // whole for running in accumulate(weights)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))


def filled(total: int, weights: Sequence[int], most: Sequence[int]) -> tuple[int, ...]:
    """A total in proportion to weights, but to nobody more than its most; what is over goes to the others.

    Whoever has no weight gets nothing; where nobody can take any more, the parts add up to less than the total.
    """
    parts = [0] * len(weights)
    able = [k for k, weight in enumerate(weights) if weight > 0 and most[k] > 0]
    while able and total:
        whole = sum(weights[k] for k in able)
        full = [k for k in able if total * weights[k] >= most[k] * whole]
        if not full:
            for k, part in zip(able, apportioned(total, [weights[k] for k in able]), strict=True):
                parts[k] = part
            break
        for k in full:
            parts[k] = most[k]
        total -= sum(most[k] for k in full)
        able = [k for k in able if k not in full]
    return tuple(parts)
