"""What a household of a sealed round answers when it is asked about an iteration: each partner's part in what it said
of all of them together, the residuals of the trades and the sums for the pool. Layout of `Answers.sol`.

A part has no bid in it: sums of squares of a pair, and bids under pads that only the pair knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.market.admm.assembly import Book
from gridpact.market.admm.pads import decode_pool

_HEADER, _SQUARE, _SHARE = 16, 8, 3  # bytes


@dataclass(frozen=True)
class PairPart:
    """A partner's part in what a household said.

    Attributes:
        primal: sum of (d_ij + d_ji)^2, resolution units squared.
        dual: sum of (a - a')^2, four times what it adds to the dual residual.
        shares: its bids under the pads of the pool, modulo 2^24, one a step of the pair.
    """

    primal: int
    dual: int
    shares: tuple[int, ...]


def encode_answer(book: Book, parts: Mapping[int, PairPart]) -> bytes:
    """
    Args:
        book: of who answers.
        parts: by partner, of those whose books mirror that.
    """
    answer = sum(1 << partner for partner in parts).to_bytes(_HEADER, "big")
    for partner in book:
        if (part := parts.get(partner)) is not None:
            answer += part.primal.to_bytes(_SQUARE, "big") + part.dual.to_bytes(_SQUARE, "big")
            answer += b"".join(share.to_bytes(_SHARE, "big") for share in part.shares)
    return answer


def decode_answer(book: Book, answer: bytes, steps: int) -> dict[int, PairPart] | None:
    """The inverse of `encode_answer`, whatever was answered: None where it has another length than its parts.

    Args:
        steps: T. Shares at later steps, which a book may list, mean nothing, and are read as zero.
    """
    counted, at, parts = int.from_bytes(answer[:_HEADER], "big"), _HEADER, dict[int, PairPart]()

    def number(size: int) -> int:
        nonlocal at
        at += size
        return int.from_bytes(answer[at - size : at], "big")

    for partner, listed in book.items():
        if counted >> partner & 1:
            primal, dual = number(_SQUARE), number(_SQUARE)
            parts[partner] = PairPart(primal, dual, tuple(number(_SHARE) * (step < steps) for step in listed))
    return parts if at == len(answer) else None


def adds_up(book: Book, parts: Mapping[int, PairPart], claim: tuple[int, int], sums: bytes | None, steps: int) -> bool:
    """Whether parts come to what the household said, as the referee finds.

    Args:
        claim: residuals of the trades, primal and dual.
        sums: for the pool, as they stand behind its bids; None where it submitted none.
        steps: T.
    """
    primal, dual = (sum(getattr(part, name) for part in parts.values()) for name in ("primal", "dual"))
    if (primal, -(-dual // 4)) != claim:
        return False
    if sums is None:
        return True
    total: dict[int, int] = {}
    for partner, part in parts.items():
        for step, share in zip(book[partner], part.shares, strict=True):
            if step < steps:
                total[step] = (total.get(step, 0) + share) % (1 << 8 * _SHARE)
    at = sorted(total)
    return bool(np.array_equal([total[step] for step in at], decode_pool(sums, len(at))))
