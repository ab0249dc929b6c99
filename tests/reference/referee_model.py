"""What the referees decide, slowly and literally, in exact fractions: written from the text of the interfaces.

Residuals come from the copies themselves, not from their sums; voltages from closed forms of two nodes.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, isqrt

from reference.aggregator_model import LANES, MAX_NODES, Block, Closed, Round, unpack

BIAS = {"P": 1 << 19, "Q": 1 << 19, "V": 1 << 15}

Residuals = tuple[int, int, int, int]  # r_grid, s_grid, r_trade, s_trade
Pairs = dict[int, tuple[bytes, int]]  # by partner: its steps, and the index of the first bid


def read_book(book: bytes) -> Pairs:
    """Up to the first entry that is not whole, or whose partner is not above the one before."""
    pairs: Pairs = {}
    first = 0
    while len(book) >= 2 and len(book) >= 2 + book[1] and all(partner < book[0] for partner in pairs):
        pairs[book[0]] = book[2 : 2 + book[1]], first
        first += book[1]
        book = book[2 + book[1] :]
    return pairs


def bid(bids: bytes, index: int) -> int:
    """Two bytes with their sign; zero where they are not there."""
    two = bids[2 * index : 2 * index + 2]
    return int.from_bytes(two, "big", signed=True) if len(two) == 2 else 0


class Iteration:
    """A closed iteration k and, where there is one, the one before."""

    def __init__(self, round_: Round, iteration: int, steps: int) -> None:
        self.round = round_
        self.steps = steps
        self.now = round_.closed[iteration - 1]
        self.before = round_.closed[iteration - 2] if iteration > 1 else None

    def residuals(self, node: int) -> Residuals:
        """What an honest node claims."""
        if node not in self.now.parts:
            return 0, 0, 0, 0
        return *self._grid(node), *self._trade(node)

    # -- the network

    def _grid(self, node: int) -> tuple[int, int]:
        primal = dual = 0
        for block in self.round.blocks(node):
            c = self._count(self.now, block)
            if c < 2:
                continue
            x, s = self._copy(self.now, node, block), self._sum(self.now, block)
            c_before, s_before = 1, [0] * self.steps
            if self.before and node in self.before.parts and self._count(self.before, block) >= 2:
                c_before, s_before = self._count(self.before, block), self._sum(self.before, block)
            primal += ceil(Fraction(sum((c * x[t] - s[t]) ** 2 for t in range(self.steps)), c**2))
            changes = (c_before * s[t] - c * s_before[t] for t in range(self.steps))
            dual += ceil(Fraction(sum(change**2 for change in changes), (c * c_before) ** 2))
        return primal, dual

    def _count(self, closed: Closed, block: Block) -> int:
        return len(self.round.holders(block) & set(closed.parts))

    def _sum(self, closed: Closed, block: Block) -> list[int]:
        copies = [self._copy(closed, node, block) for node in self.round.holders(block) & set(closed.parts)]
        return [sum(copy[t] for copy in copies) for t in range(self.steps)]

    def _copy(self, closed: Closed, node: int, block: Block) -> list[int]:
        """Without bias."""
        width = -(-self.steps // LANES)
        at = self.round.blocks(node).index(block) * width
        return [lane - BIAS[block[0]] for lane in unpack(closed.parts[node].words[at : at + width], self.steps)]

    # -- the trades

    def _trade(self, node: int) -> tuple[int, int]:
        pairs = [self.pair(node, partner) for partner in self._pairs(node)]
        return sum(primal for primal, _ in pairs), ceil(Fraction(sum(dual for _, dual in pairs), 4))

    def pair(self, node: int, partner: int) -> tuple[int, int]:
        """What the bids of two add to r_trade of each of them, and four times what they add to s_trade."""
        primal = dual = 0
        steps, first = self._pairs(node).get(partner, (b"", 0))
        their_first = self._pairs(partner).get(node, (b"", 0))[1]
        if not {node, partner} <= set(self.now.parts) or not self.is_mirrored(node, partner):
            return 0, 0
        for at in range(len(steps)):
            one, other = first + at, their_first + at
            d, d_back = self._both(self.now, node, one, partner, other)
            agreed_before = 0
            if self.before and node in self.before.parts and partner in self.before.parts:
                d_before, d_back_before = self._both(self.before, node, one, partner, other)
                agreed_before = d_before - d_back_before
            primal += (d + d_back) ** 2
            dual += (d - d_back - agreed_before) ** 2
        return primal, dual

    def is_mirrored(self, node: int, partner: int) -> bool:
        """Whether two books list each other, with the same steps and at least one."""
        steps = self._pairs(node).get(partner, (b"", 0))[0]
        return steps != b"" and self._pairs(partner).get(node, (None, 0))[0] == steps

    @staticmethod
    def _both(closed: Closed, node: int, one: int, partner: int, other: int) -> tuple[int, int]:
        return bid(closed.parts[node].bids, one), bid(closed.parts[partner].bids, other)

    def _pairs(self, node: int) -> Pairs:
        return read_book(self.round.declared[node].book) if node in self.round.declared else {}


# ---------------------------------------------------------------------- answers of sealed rounds


@dataclass(frozen=True)
class AnsweredPart:
    """What an answer has about one partner."""

    primal: int
    dual: int  # times 4
    shares: tuple[int, ...]


def number(data: bytes, at: int, size: int) -> int:
    """Zero where it is not all there."""
    return int.from_bytes(data[at : at + size], "big") if at + size <= len(data) else 0


def read_answer(answer: bytes, pairs: Pairs) -> tuple[dict[int, AnsweredPart], int]:
    """The parts by partner, and how long an answer with them is; what is not there is zero."""
    counted, at, parts = number(answer, 0, 16), 16, {}
    for partner, (steps, _) in pairs.items():
        if partner < MAX_NODES and counted >> partner & 1:
            shares = tuple(number(answer, at + 16 + 3 * place, 3) for place in range(len(steps)))
            parts[partner] = AnsweredPart(number(answer, at, 8), number(answer, at + 8, 8), shares)
            at += 16 + 3 * len(steps)
    return parts, at


def comes_to(
    answer: bytes, pairs: Pairs, claim: tuple[int, int], sums: bytes | None, steps: int, absent: set[int], out: set[int]
) -> bool:
    """Whether the parts of an answer come to what a household said of all its partners together.

    Args:
        pairs: its book.
        claim: r_trade and s_trade.
        sums: what stands behind its bids; None where it was not present.
        absent: who was not present, and who of these was out.
    """
    parts, length = read_answer(answer, pairs)
    if len(answer) != length:
        return False
    if (sum(p.primal for p in parts.values()), ceil(Fraction(sum(p.dual for p in parts.values()), 4))) != claim:
        return False
    for partner, part in parts.items():
        shares = [share for step, share in zip(pairs[partner][0], part.shares, strict=True) if step < steps]
        if partner in absent and (part.primal or part.dual or (partner in out and any(shares))):
            return False
    total: dict[int, int] = {}
    for partner, part in parts.items():
        for step, share in zip(pairs[partner][0], part.shares, strict=True):
            if step < steps:
                total[step] = (total.get(step, 0) + share) % 2**24
    return sums is None or all(total[step] == number(sums, 3 * at, 3) for at, step in enumerate(sorted(total)))


# ---------------------------------------------------------------------- plans


def voltage_of_two(r: Fraction, x: Fraction, s: Fraction, q: Fraction) -> Fraction | None:
    """Voltage squared at the end of one line behind a source of 1, per unit, for an injection of s + jq there; None
    where the line cannot carry it. The current squared l is the lower root of
        (r^2 + x^2) l^2 - (1 + 2 (r s + x q)) l + s^2 + q^2 = 0.
    """
    z, b, c = r**2 + x**2, 1 + 2 * (r * s + x * q), s**2 + q**2
    discriminant = b**2 - 4 * z * c
    if discriminant < 0 or b < 0:
        return None
    scale = 10**30
    root = Fraction(isqrt(int(discriminant * scale**2)), scale)
    # v = 1 + 2 (r (s - r l) + x (q - x l)) + z l = b - z l
    return b - (b - root) / 2
