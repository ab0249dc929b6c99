"""Pool: after delivery, step by step, what members have over is given to those who lack, before the supplier.

What a member has over or lacks is its metered net import beyond its positions. The pool is what all have over or all
lack, whichever is less; everybody with something over gives in proportion to it, and who lacks gets by a key:

- proportional: in proportion to what each lacks;
- equal: the same for each that lacks, at most what it lacks;
- fixed: by shares that were agreed, at most what each lacks. What one does not need goes to the others, by their
  shares; who has no share gets nothing.

The price lies between feed-in and import: half way (mid-market), or by the ratio of supply to demand, from import where
hardly anything is over to feed-in where as much is over as lacks. Where feeding in earns what importing costs, or more,
there is nothing to gain, and no pool. Whole Wh and 1e-6 currency: payments sum to zero, and each is what its energy
costs at the price, rounded up or down.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import Enum
from itertools import accumulate

from gridpact.errors import InputError
from gridpact.products.shares import apportioned, filled

_SHARE_UNIT = 10**9


class Key(Enum):
    """By what those who lack get."""

    PROPORTIONAL = "proportional"
    EQUAL = "equal"
    FIXED = "fixed"


class Pricing(Enum):
    """What the pool's energy costs."""

    MID_MARKET = "mid-market"
    RATIO = "ratio"


@dataclass(frozen=True)
class PoolRules:
    """What members agreed on beforehand.

    Attributes:
        shares: with the fixed key, by member; they sum to one.
    """

    key: Key = Key.PROPORTIONAL
    pricing: Pricing = Pricing.MID_MARKET
    shares: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if (self.key is Key.FIXED) != bool(self.shares):
            raise InputError("a pool has shares of its members with the fixed key, and only there")
        if not self.shares:
            return
        if any(not (math.isfinite(share) and share >= 0) for share in self.shares):
            raise InputError("a share of the pool is not a number of at least 0; correct the shares")
        if abs(sum(self.shares) - 1) > 1e-9:
            raise InputError(f"the shares of the pool sum to {sum(self.shares):g}, not to 1; correct them")

    def weights(self, lacking_wh: Sequence[int]) -> Sequence[int]:
        """Of each member, (n,).

        Raises:
            InputError: there are not as many shares as members.
        """
        if self.key is Key.PROPORTIONAL:
            return lacking_wh
        if self.key is Key.EQUAL:
            return [1] * len(lacking_wh)
        if len(self.shares) != len(lacking_wh):
            raise InputError(
                f"the pool has {len(self.shares)} shares for {len(lacking_wh)} members; give one to each, 0 to who "
                "gets nothing"
            )
        return [round(share * _SHARE_UNIT) for share in self.shares]

    def among(self, members: Sequence[int]) -> PoolRules:
        """Those of a pool that only some of the members have: their shares, in proportion.

        Raises:
            InputError: none of them has a share.
        """
        if self.key is not Key.FIXED or len(members) == len(self.shares):
            return self
        shares = [self.shares[member] for member in members]
        if not sum(shares):
            raise InputError(
                "the pool's shares leave nothing to customers of one supplier, who have a pool of their own; give one "
                "of them a share"
            )
        return replace(self, shares=tuple(share / sum(shares) for share in shares))

    def price(self, over_wh: int, lacking_wh: int, import_price: int, feed_in_price: int) -> int:
        """1e-6 currency/kWh, as the two prices are.

        Args:
            over_wh, lacking_wh: of all, more than 0.
        """
        margin = import_price - feed_in_price
        if self.pricing is Pricing.MID_MARKET:
            return feed_in_price + margin // 2
        return import_price - margin * min(over_wh, lacking_wh) // lacking_wh


@dataclass(frozen=True)
class Pooled:
    """One step of a pool, by member."""

    got_wh: tuple[int, ...]  # from the others; negative: given to them
    paid: tuple[int, ...]  # 1e-6 currency; negative: received
    price: int  # 1e-6 currency/kWh; 0 where nothing was pooled

    @property
    def energy_wh(self) -> int:
        """What passed from neighbour to neighbour."""
        return sum(got for got in self.got_wh if got > 0)


def pool(net_import_wh: Sequence[int], import_price: int, feed_in_price: int, rules: PoolRules = PoolRules()) -> Pooled:
    """Matches a step.

    Args:
        net_import_wh: by member, beyond its positions; negative where it has something over.
        import_price, feed_in_price: 1e-6 currency/kWh.

    Raises:
        InputError: see `PoolRules.weights`.
    """
    lacking = [max(net, 0) for net in net_import_wh]
    over = [max(-net, 0) for net in net_import_wh]
    weights = rules.weights(lacking)
    received = filled(min(sum(over), sum(lacking)), weights, lacking)
    energy = sum(received)
    if not energy or feed_in_price >= import_price:
        nothing = (0,) * len(lacking)
        return Pooled(nothing, nothing, 0)
    given = apportioned(energy, over)
    price = rules.price(sum(over), sum(lacking), import_price, feed_in_price)
    bills, incomes = _amounts(received, price), _amounts(given, price)
    return Pooled(
        tuple(r - g for r, g in zip(received, given, strict=True)),
        tuple(b - i for b, i in zip(bills, incomes, strict=True)),
        price,
    )


def _amounts(energy_wh: Sequence[int], price: int) -> tuple[int, ...]:
    """What each energy costs, rounded up or down: equal totals of energy make equal totals of money."""
    ends = [energy * price // 1000 for energy in accumulate(energy_wh)]
    return tuple(end - start for start, end in zip([0, *ends], ends, strict=False))
