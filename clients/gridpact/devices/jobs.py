"""When an appliance runs: a job of some steps within a window, at prices that are known step by step.

A job needs L of the H steps of its window. At every step the price is seen, and it runs or it waits; where as many
steps are left as it needs, it runs. What it waits for:

| pattern | in one go (uninterruptible) | in parts (interruptible) |
|---|---|---|
| normal | starts at once | the same |
| prediction | starts where L steps in a row are expected to cost least | dynamic programming: the hurdle price |
| acceptance | starts where L steps in a row are expected to cost at most C_max | every step with P at most P_max |

With h steps left and l of them needed, the least expected cost is V(h, l) = E[min(P + V(h-1, l-1), V(h-1, l))], with
V(h, 0) = 0 and V(h, l) = infinite for l > h; so it runs iff P <= V(h-1, l) - V(h-1, l-1), the *hurdle price*. P is the
price of the step as it will be seen, with its distribution.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from gridpact.devices.device import Array
from gridpact.devices.price_model import PriceModel
from gridpact.errors import InputError

TIE = 1e-9
"""Currency: of two choices that cost the same but for rounding, the earlier one is taken."""


class Pattern(Enum):
    """What a job waits for."""

    NORMAL = "normal"
    PREDICTION = "prediction"
    ACCEPTANCE = "acceptance"


@dataclass(frozen=True)
class Job:
    """What an appliance has to do within its window.

    Attributes:
        steps: L, of its window.
        most: with acceptance, the price of a step (interruptible) or the cost of L steps a kW (in one go), currency.
    """

    steps: int
    interruptible: bool
    pattern: Pattern
    most: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InputError(f"a job of {self.steps} steps is none; give 1 or more")
        if (self.most is None) == (self.pattern is Pattern.ACCEPTANCE):
            raise InputError("a job has a highest cost where it runs by acceptance, and only there")


def values(outcomes: Sequence[Array], steps: int) -> Array:
    """V(h, l) of the steps ahead, (H + 1, steps + 1).

    Args:
        outcomes: equally likely prices of each of the H steps, the next first.
    """
    ahead = len(outcomes)
    result = np.full((ahead + 1, steps + 1), np.inf)
    result[:, 0] = 0
    for left in range(1, ahead + 1):
        price = outcomes[ahead - left]
        for needed in range(1, min(left, steps) + 1):
            runs = price + result[left - 1, needed - 1]
            result[left, needed] = np.mean(np.minimum(runs, result[left - 1, needed]))
    return result


def hurdle(outcomes: Sequence[Array], needed: int) -> float:
    """The highest price at which a step is taken, of which `needed` are, where these are the steps after it.

    Infinite where all that is left is needed.
    """
    if needed > len(outcomes):
        return np.inf
    after = values(outcomes, needed)
    return float(after[len(outcomes), needed] - after[len(outcomes), needed - 1])


def runs_now(job: Job, done: int, running: bool, price: float, ahead: Sequence[Array]) -> bool:
    """Whether an appliance runs in the step that begins.

    Args:
        done: of its steps.
        running: whether it ran in the step before.
        price: of this step, which is seen.
        ahead: equally likely prices of each step of its window that comes after.

    Raises:
        InputError: the window is too short for what is left of the job.
    """
    needed = job.steps - done
    if needed > len(ahead) + 1:
        raise InputError(f"a job needs {needed} more steps, but {len(ahead) + 1} are left of its window")
    if needed == 0:
        return False
    if needed == len(ahead) + 1 or job.pattern is Pattern.NORMAL:
        return True
    if not job.interruptible:
        return running or _starts(job, price, [float(outcomes.mean()) for outcomes in ahead])
    if job.pattern is Pattern.ACCEPTANCE:
        assert job.most is not None
        return price <= job.most
    return price <= hurdle(ahead, needed) + TIE


def _starts(job: Job, price: float, expected: Sequence[float]) -> bool:
    """Whether the job, in one go, starts with the step that begins."""
    costs = np.convolve([price, *expected], np.ones(job.steps), mode="valid")  # by the step it starts in
    if job.pattern is Pattern.ACCEPTANCE:
        assert job.most is not None
        return bool(costs[0] <= job.most)
    return bool(costs[0] <= costs.min() + TIE)


def played(job: Job, forecasts: Sequence[float], prices: Sequence[float], model: PriceModel) -> NDArray[np.bool_]:
    """In which steps of its window a job runs, (H,), each decided when its price is seen.

    Raises:
        InputError: the window is shorter than the job, or the two series are not alike.
    """
    if len(forecasts) != len(prices):
        raise InputError(f"a window has {len(forecasts)} forecasts and {len(prices)} prices; give as many of both")
    if job.steps > len(prices):
        raise InputError(f"a job of {job.steps} steps does not fit into a window of {len(prices)}")
    return _played(job, [model.outcomes(forecast) for forecast in forecasts], prices, 0, False)


def as_expected(job: Job, prices: Sequence[float], done: int = 0, running: bool = False) -> NDArray[np.bool_]:
    """In which steps of its window, or of what is left of it, a job runs if prices are as they are expected, (H,).

    Args:
        done: of its steps before these.
        running: whether it ran in the last of them.

    Raises:
        InputError: the window is too short for what is left of the job.
    """
    return _played(job, [np.array([price]) for price in prices], prices, done, running)


def from_now(
    job: Job, price: float, forecasts: Sequence[float], model: PriceModel, running: bool = False
) -> NDArray[np.bool_]:
    """In which steps a job runs from the one that begins on: this one by its price, which is seen, and what may come;
    those after it as is expected then, (1 + H,).

    Args:
        forecasts: of the H steps after it, to the end of the window.
        running: whether it ran in the step before.

    Raises:
        InputError: the window is too short for the job.
    """
    now = runs_now(job, 0, running, price, [model.outcomes(forecast) for forecast in forecasts])
    later = as_expected(job, model.expected(forecasts).tolist(), int(now), now)
    return np.concatenate([[now], later])


def _played(
    job: Job, outcomes: Sequence[Array], prices: Sequence[float], done: int, running: bool
) -> NDArray[np.bool_]:
    runs = np.zeros(len(prices), dtype=bool)
    for step, price in enumerate(prices):
        running = runs[step] = runs_now(job, done + int(runs.sum()), running, price, outcomes[step + 1 :])
    return runs
