"""The manager's step of a community in plain Python: lists of numbers, one rule a method, nothing packed.

It follows the words of ICommunityPrice and knows nothing of the package's own manager.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

WEIGH_EVERY = 5
MOST = 2**24


class Refused(Exception):
    """The name of the error."""


@dataclass
class PriceModel:
    """A contract and its rounds; nodes are numbers."""

    unit: int  # mWh
    gap: int  # millionths
    mu: int
    max_misses: int
    currency: int
    free: Counter[int] = field(default_factory=Counter)
    locked: Counter[int] = field(default_factory=Counter)
    phase: str = "None"
    iteration: int = 0

    def open(self, feed_in: list[int], imports: list[int], rho: int, base: int) -> None:
        self.feed_in, self.imports, self.rho, self.base = feed_in, imports, rho, base
        self.price = [(low + high) // 2 for low, high in zip(feed_in, imports, strict=True)]
        self.phase, self.iteration = "Declaring", 0
        self.active: set[int] = set()
        self.misses: Counter[int] = Counter()

    def start(self, nodes: set[int]) -> None:
        self.active = set(nodes)
        self.phase = "Iterating" if nodes else "Abandoned"
        self._next()

    def _next(self) -> None:
        self.iteration += 1
        self.settled = False
        self.units: dict[int, list[int]] = {}
        self.gains: Counter[int] = Counter()

    @property
    def weighs(self) -> bool:
        return self.iteration % WEIGH_EVERY == 0

    def energies(self, units: list[int]) -> list[int]:
        """Wh, halves away from zero."""
        return [int(Fraction(abs(one) * self.unit, 1000) + Fraction(1, 2)) * (1 if one > 0 else -1) for one in units]

    def most(self, units: list[int]) -> int:
        """Token units that these bids could come to."""
        due = sum(max(-wh * price, 0) for wh, price in zip(self.energies(units), self.price, strict=True))
        return -(-due * self.currency // 10**9)

    def tell(self, node: int, iteration: int, units: list[int], gain: int) -> None:
        if self.phase != "Iterating":
            raise Refused("WrongPhase")
        if iteration != self.iteration:
            raise Refused("WrongIteration")
        if node not in self.active:
            raise Refused("NotInRound")
        if self.settled or node in self.units:
            raise Refused("AlreadyTold")
        if any(abs(one) > MOST for one in units):
            raise Refused("UnitsTooLarge")
        if self.weighs:
            more = max(self.most(units) - self.locked[node], 0)
            if more > self.free[node]:
                raise Refused("InsufficientDeposit")
            self.free[node] -= more
            self.locked[node] += more
        self.units[node], self.gains[node] = units, gain
        if len(self.units) == len(self.active):
            self._close()

    def overdue(self) -> None:
        if self.settled:
            self.phase = "Exhausted"
        else:
            self._close()

    def _close(self) -> None:
        told = list(self.units.values())
        sums = [sum(column) for column in zip(*told, strict=True)]
        absent = self.active - self.units.keys()
        if told:
            if self.weighs and not absent and self._is_within(sums):
                self.settled = True
                return
            self.price = [
                min(max(price - self._towards_zero(Fraction(x * self.rho, len(told) * 2**32)), low), high)
                for price, x, low, high in zip(self.price, sums, self.feed_in, self.imports, strict=True)
            ]
        for node in absent:
            self.misses[node] += 1
            if self.misses[node] >= self.max_misses:
                self.active.remove(node)
        if not self.active:
            self.phase = "Abandoned"
        elif self.iteration >= self.mu:
            self.phase = "Exhausted"
        else:
            self._next()

    @staticmethod
    def _towards_zero(value: Fraction) -> int:
        return int(value)

    def _is_within(self, sums: list[int]) -> bool:
        """In 1e-9 currency."""
        ends = [low if x > 0 else high for x, low, high in zip(sums, self.feed_in, self.imports, strict=True)]
        wh = [Fraction(x * self.unit, 1000) for x in sums]
        bill = sum(end * x for end, x in zip(ends, wh, strict=True))
        beyond = sum((price - end) * x for price, end, x in zip(self.price, ends, wh, strict=True))
        return beyond + sum(self.gains.values()) <= Fraction(self.gap, 10**6) * max(abs(bill), self.base)

    def fills(self) -> dict[int, list[int]]:
        """Wh of each step, energy sold positive: the side with less whole, the other in proportion, what rounding down
        leaves to the largest remainders, the lowest nodes first."""
        bids = {node: self.energies(units) for node, units in sorted(self.units.items())}
        filled = {node: [0] * len(self.price) for node in bids}
        for step in range(len(self.price)):
            sides = [{n: abs(b[step]) for n, b in bids.items() if sign * b[step] > 0} for sign in (1, -1)]
            total = min(sum(side.values()) for side in sides)
            for sign, side in zip((1, -1), sides, strict=True):
                whole = sum(side.values())
                exact = {node: Fraction(total * wh, whole) for node, wh in side.items()}
                parts = {node: int(part) for node, part in exact.items()}
                last = sorted(side, key=lambda node, e=exact, p=parts: (p[node] - e[node], node))
                for node in last[: total - sum(parts.values())]:
                    parts[node] += 1
                for node, part in parts.items():
                    filled[node][step] = sign * part
        return filled

    def clear(self) -> dict[int, int]:
        """What each receives, token units."""
        if self.phase != "Iterating" or not self.settled:
            raise Refused("NotSettled")
        running, before, payments = 0, 0, {}
        for node, filled in self.fills().items():
            running += sum(wh * price for wh, price in zip(filled, self.price, strict=True))
            payments[node], before = running * self.currency // 10**9 - before, running * self.currency // 10**9
            self.free[node] += self.locked[node] + payments[node]
            self.locked[node] = 0
        self.phase = "Converged"
        return payments

    def release(self, node: int) -> None:
        if self.phase == "Iterating":
            raise Refused("WrongPhase")
        self.free[node] += self.locked[node]
        self.locked[node] = 0
