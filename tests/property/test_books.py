"""Bids between two households whatever the other one declares: clients and contracts have to read them alike.

The contract `Referee` counts a pair's bids where the library `Books` finds them; who reads otherwise computes other
residuals, and can be proved false.
"""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.market.admm.assembly import Assembly, Closing, TreePlace
from gridpact.market.admm.codec import decode_bids, decode_book

MINE = {2: (0, 3)}
"""The book of node 1, which is in order. Its bids are 11 and 12."""


def entries(book: bytes) -> list[tuple[int, list[int], int]]:
    """Books: partner, steps and index of the first bid. A book ends before the first entry that is not whole, or whose
    partner is not above the one before."""
    result: list[tuple[int, list[int], int]] = []
    at = first = 0
    while at + 2 <= len(book):
        partner, count = book[at], book[at + 1]
        if at + 2 + count > len(book) or (result and partner <= result[-1][0]):
            break
        result.append((partner, list(book[at + 2 : at + 2 + count]), first))
        at, first = at + 2 + count, first + count
    return result


@pytest.mark.parametrize(
    ("book", "bids"),
    [
        pytest.param([1, 2, 0, 3], [21, 22], id="in order"),
        pytest.param([1, 2, 0, 3, 3, 1, 0], [21, 22, 23], id="in order, with another partner"),
        pytest.param([0, 1, 7, 1, 2, 0, 3], [20, 21, 22], id="bids to node 0"),
        pytest.param([1, 2, 0, 2], [21, 22], id="other steps"),
        pytest.param([1, 2, 3, 0], [21, 22], id="steps not ascending"),
        pytest.param([3, 2, 0, 3], [21, 22], id="another partner"),
        pytest.param([], [], id="no book"),
        pytest.param([1, 2, 0], [21], id="entry cut short"),
        pytest.param([1, 2, 0, 3, 9], [21, 22], id="a byte too many"),
        pytest.param([1, 2, 0, 3, 3, 4, 0], [21, 22], id="second entry cut short"),
        pytest.param([1, 2, 0, 3, 1, 1, 0], [21, 22, 23], id="same partner twice"),
        pytest.param([3, 1, 0, 1, 2, 0, 3], [20, 21, 22], id="partners not ascending"),
        pytest.param([3, 0, 1, 2, 0, 3, 3, 1, 5], [21, 22, 23], id="again, behind"),
        pytest.param([1, 2, 0, 3], [21], id="a bid too few"),
        pytest.param([1, 2, 0, 3], [21, 22, 23], id="a bid too many"),
    ],
)  # fmt: skip
def test_bids_areReadAsTheContractReadsThem(book: list[int], bids: list[int]) -> None:
    data, sent = bytes(book), np.array(bids, dtype=">i2").tobytes()
    first = next((first for partner, steps, first in entries(data) if (partner, tuple(steps)) == (1, MINE[2])), None)
    expected = None if first is None else [*bids, 0, 0][first : first + 2]  # bids that are not there are zero

    theirs = decode_book(data)
    places = {1: TreePlace(1, (), 0), 2: TreePlace(2, (), 0)}
    assembly = Assembly(frozenset(places), places, {1: MINE, 2: theirs}, 10)
    both = {1: np.array([11, 12]), 2: decode_bids(sent)}
    received = assembly.bids(Closing(1, frozenset({1, 2}), (0, 0, 0, 0), {}, both), 1)
    assert received.counted.tolist() == [expected is not None] * 2
    assert received.theirs.tolist() == (expected or [0, 0])


def test_bookInOrder_isTheSameForBoth() -> None:
    """The model of Books above and the clients' decoding, where nothing is wrong."""
    data = bytes([2, 2, 0, 5, 4, 1, 191])
    assert decode_book(data) == {partner: tuple(steps) for partner, steps, _ in entries(data)}
