"""How far a submission may be from what was agreed: what fits on the chain, and what is within reach.

`to_integers` keeps every copy and bid within what fits its lane, whatever the others said. From the second iteration
on it also keeps it within *reach* of the iteration before:

- a copy within `Reach.of_copies` units of the average of its block's copies, floor(S / c);
- a bid within `Reach.of_bids` units of what lies between nothing and the agreed trade, (d_ij - d_ji) / 2 truncated
  towards zero. Less is within reach, so a partner's absurd bids draw nobody after them: of two bids that do not meet,
  the larger goes beyond its reach. Where the reach is zero, a bid is what was agreed and no less: else two could take
  back a trade that they agreed on by so little at a time that the round would not end.

Both centres are public, so whoever reads the chain can see that a node went beyond its reach, and prove it to the
referee, which computes the same. The grid operator's node is exempt: its answers are where the network has room.

The reach shrinks with the *age* of the round, the iterations since somebody was missing or excluded last, and ends at
zero. There all copies of a block are equal and all bids of a pair cancel, so the residuals are zero and the round ends,
whatever its nodes want. To an ordinary round it does nothing: on the shipped days bids of honest households stay within
a third of their reach and copies within two thirds, and rounds end long before the reach is small. A household that
jumps by kilowatts is out of reach in the second to tenth iteration.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array
from gridpact.limits import MOST_BID, POWER_BIAS, VOLTAGE_BIAS
from gridpact.market.admm.assembly import Assembly, Closing, Integers, Mask
from gridpact.problem.blocks import Block, Kind

BIAS = {Kind.P: POWER_BIAS, Kind.Q: POWER_BIAS, Kind.V: VOLTAGE_BIAS}
"""A copy from -BIAS to BIAS - 1 fits its lane."""

FIRST_AGE = 2
"""Before, nothing was agreed that a node could stay near."""

COPIES, BIDS = 1 << 18, 1 << 14
"""Reach times age in units of 0.5 W or more; where they are smaller, as many more of them."""

USUAL_MILLIWATT = 500

MOST_ITERATIONS = 400
"""mu, unless the contract says otherwise: two nodes that keep the others from ending, one after the other, do not use
it up."""

PART, LEAST_FULL, HALVED_EVERY = 4, 90, 3
"""Up to an age of a quarter of mu the reach falls like 1 / age, then it is also halved every so many iterations: at a
mu of 400 it is zero at 133, in units of a milliwatt at 160."""

RESUMED_FULL, RESUMED_HALVED_EVERY = 12, 1
"""The same of what nodes keep to themselves, where they go on from another round that stood. The rest of a day may have
no plan within the limits of voltage any more: loads that are larger than was expected, and nothing left that could give
way. Then wishes stay away from what the grid operator answers, however long it is asked."""


LATE = 6
"""Iterations in which an honest node proves that a partner went beyond its reach (`SealedReferee.sol`)."""


@dataclass(frozen=True)
class Reach:
    """How far a round of a contract lets its nodes go, resolution units.

    Attributes:
        milliwatt: resolution of powers.
        most_iterations: mu.
        resumed: whether it is what nodes of a round about the rest of a day keep to themselves, which is less.
    """

    milliwatt: int = USUAL_MILLIWATT
    most_iterations: int = MOST_ITERATIONS
    resumed: bool = False

    def of_copies(self, age: int) -> int | None:
        """None where a copy only has to fit. As `Reach.sol` has it."""
        return self._at(age, COPIES)

    def of_bids(self, age: int) -> int | None:
        """The same of bids."""
        return self._at(age, BIDS)

    def is_late(self, age: int) -> bool:
        """Whether bids of this age could be nothing but what was agreed, for two iterations: then partners that keep
        within reach have no residuals."""
        return self.of_bids(age - 1) == 0

    def _at(self, age: int, times_age: int) -> int | None:
        if age < FIRST_AGE:
            return None
        full, every = max(self.most_iterations // PART, LEAST_FULL), HALVED_EVERY
        if self.resumed:
            full, every = RESUMED_FULL, RESUMED_HALVED_EVERY
        return times_age * max(USUAL_MILLIWATT // self.milliwatt, 1) // age >> max(age - full, 0) // every


@dataclass(frozen=True)
class Bounds:
    """What a node's copies or bids may be, resolution units: two arrays of their shape, or that broadcast to it."""

    low: Integers
    high: Integers

    def around(self, centre: Integers, counted: Mask, reach: int | None) -> Bounds:
        """The part of them that is within reach, where something counted."""
        if reach is None:
            return self
        return Bounds(
            np.where(counted, np.maximum(self.low, centre - reach), self.low),
            np.where(counted, np.minimum(self.high, centre + reach), self.high),
        )

    def below(self, agreed: Integers, counted: Mask, reach: int | None) -> Bounds:
        """The part of them that is within reach of what lies between nothing and what was agreed; where the reach is
        zero, what was agreed."""
        if reach is None:
            return self
        least, most = (agreed, agreed) if reach == 0 else (np.minimum(agreed, 0) - reach, np.maximum(agreed, 0) + reach)
        return Bounds(
            np.where(counted, np.maximum(self.low, least), self.low),
            np.where(counted, np.minimum(self.high, most), self.high),
        )

    def nearest(self, wanted: Array) -> Integers:
        """The nearest integers to what a node wants."""
        integers: Integers = self.clip(np.rint(wanted)).astype(np.int64)
        return integers

    def clip(self, values: Any) -> Any:
        """The nearest within them; `numpy.clip` takes twice as long for so few numbers."""
        return np.minimum(np.maximum(values, self.low), self.high)

    def hold(self, values: Integers) -> bool:
        return bool(np.all((values >= self.low) & (values <= self.high)))


PART_OF_ONE = Bounds(np.array(0), np.array(1))
BIDS_THAT_FIT = Bounds(np.array(-MOST_BID), np.array(MOST_BID))
ANY_BIDS = Bounds(np.array(-MOST_BID - 1), np.array(MOST_BID))
"""The contract takes one number more."""
ANY_NET = Bounds(np.array(-np.inf), np.array(np.inf))
"""Of what a household sells less what it buys."""


def copies_that_fit(blocks: Sequence[Block]) -> Bounds:
    """What fits the lanes of a node's copies, (blocks, 1)."""
    bias = np.array([BIAS[block.kind] for block in blocks], dtype=np.int64).reshape(-1, 1)
    return Bounds(-bias, bias - 1)


def centre_of_copies(assembly: Assembly, node: int, before: Closing) -> tuple[Integers, Mask]:
    """What the copies of a node have to stay near, (blocks, T), and whether they have to, (blocks, 1)."""
    counts, sums = assembly.counts(node, before.present).reshape(-1, 1), assembly.sums(before, node)
    return sums // np.maximum(counts, 1), (counts >= 2) & (node in before.present)


def agreed_bids(assembly: Assembly, node: int, before: Closing) -> tuple[Integers, Mask]:
    """What its bids came to, and where they counted, (bids,) each."""
    bids = assembly.bids(before, node)
    return np.sign(bids.agreed) * (np.abs(bids.agreed) // 2), bids.counted


def departed(
    assembly: Assembly, node: int, now: Closing, before: Closing, copies: Integers | None, reach: Reach, age: int
) -> bool:
    """Whether a node's submission in `now` is beyond its reach.

    Args:
        copies: of the node, (blocks, T); None where they are not known.
        age: of `now`, at most what it is.
    """
    if node not in now.present:
        return False
    near = reach.of_copies(age)
    if copies is not None and near is not None and node != GRID_CONNECTION:
        fits = copies_that_fit(assembly.blocks(node))
        centre, counted = centre_of_copies(assembly, node, before)
        there = assembly.counts(node, now.present) >= 2
        if not fits.around(centre, counted & there.reshape(-1, 1), near).hold(copies):
            return True
    near = reach.of_bids(age)
    if near is None:
        return False
    bids = assembly.bids(now, node)
    agreed, counted = agreed_bids(assembly, node, before)
    return not ANY_BIDS.below(agreed, counted & bids.counted, near).hold(bids.own)
