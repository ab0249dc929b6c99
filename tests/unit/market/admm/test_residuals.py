"""Residuals by hand. Against a literal reading of the interface, on all kinds of trees: `tests/property`."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.market.admm.assembly import Assembly, TreePlace
from gridpact.market.admm.residuals import NO_RESIDUALS, Residuals, residuals_of
from unit.market.admm.helpers import closing_of

LINE = Assembly(
    frozenset({0, 1, 2}),
    {0: TreePlace(0, (1,), 0), 1: TreePlace(0, (2,), 1), 2: TreePlace(1, (), 2)},
    {1: {2: (0, 1)}, 2: {1: (0, 1)}},
    2,
)
"""0 - 1 - 2. Blocks of 0: P1 Q1; of 1: P1 Q1 V1 P2 Q2; of 2: P2 Q2 V1."""


def rows(**given: list[int]) -> dict[str, list[int]]:
    return {name: given.get(name, [0, 0]) for name in ("P1", "Q1", "V1", "P2", "Q2")}


def of(node: int, values: dict[str, list[int]]) -> np.ndarray:
    names = {0: ["P1", "Q1"], 1: ["P1", "Q1", "V1", "P2", "Q2"], 2: ["P2", "Q2", "V1"]}[node]
    return np.array([values[name] for name in names])


def test_grid_byHand() -> None:
    """P of line 1: 1 says 10, 3 and 0 says 7, 3: average 8.5, 3, each is 1.5 away: 2.25, rounded up 3. Before it the
    average was 5, 4: the change is 3.5^2 + 1 = 13.25, rounded up 14. V of 1: 4, 0 and 4, 2: (4-4)^2 + 1 = 1; before
    -1, 0 and 0, 0: 4.5^2 + 1 = 21.25, rounded up 22. The blocks are rounded one by one."""
    mine, theirs = of(1, rows(P1=[10, 3], V1=[4, 0])), of(0, rows(P1=[7, 3]))
    below = of(2, rows(V1=[4, 2]))
    now = closing_of(LINE, {0: theirs, 1: mine, 2: below}, iteration=2)
    before = closing_of(
        LINE, {0: of(0, rows(P1=[5, 4])), 1: of(1, rows(P1=[5, 4], V1=[-1, 0])), 2: of(2, rows())}, iteration=1
    )
    assert residuals_of(LINE, 1, mine, now, before) == Residuals(3 + 1, 14 + 22, 0, 0)
    assert residuals_of(LINE, 0, theirs, now, before) == Residuals(3, 14, 0, 0)
    assert residuals_of(LINE, 2, below, now, before) == Residuals(1, 22, 0, 0)


def test_grid_changeIsFromZero_whereItDidNotCountBefore() -> None:
    """P of line 1 averages 8.5, 3 now: 72.25 + 9 = 81.25. The iteration before lacked 0, or 1, or there was none."""
    mine, theirs = of(1, rows(P1=[10, 3])), of(0, rows(P1=[7, 3]))
    now = closing_of(LINE, {0: theirs, 1: mine, 2: of(2, rows())}, iteration=2)
    without_0 = closing_of(LINE, {1: mine, 2: of(2, rows())})
    without_1 = closing_of(LINE, {0: theirs, 2: of(2, rows())})
    for before in (None, without_0, without_1):
        assert residuals_of(LINE, 1, mine, now, before) == Residuals(3, 82, 0, 0)


def test_grid_lonelyCopy_doesNotCount() -> None:
    mine = of(1, rows(P1=[10, 3], P2=[4, 4]))
    now = closing_of(LINE, {1: mine, 2: of(2, rows(P2=[4, 2]))})
    assert residuals_of(LINE, 1, mine, now, None) == Residuals(1, 16 + 9, 0, 0)


def test_voltageOfThree_isDividedByThree() -> None:
    """V of 1 held by 1, 2, 3: copies 1, 1, 0: S = 2, 1's share (3 - 2)^2 / 9, rounded up 1. Before: 1 and 2 alone with
    1, 0: (2 x 2 - 3 x 1)^2 / 36, rounded up 1."""
    places = {0: TreePlace(0, (1,), 0), 1: TreePlace(0, (2, 3), 1), 2: TreePlace(1, (), 2), 3: TreePlace(1, (), 2)}
    fork = Assembly(frozenset(places), places, {}, 1)
    one, two, three = (
        np.zeros((7, 1), dtype=np.int64),
        np.zeros((3, 1), dtype=np.int64),
        np.zeros((3, 1), dtype=np.int64),
    )
    one[2], two[2] = 1, 1
    zero, root = np.zeros((3, 1), dtype=np.int64), np.zeros((2, 1), dtype=np.int64)
    now = closing_of(fork, {0: root, 1: one, 2: two, 3: three}, iteration=2)
    before = closing_of(fork, {0: root, 1: one, 2: zero})
    assert residuals_of(fork, 1, one, now, before) == Residuals(1, 1, 0, 0)
    assert residuals_of(fork, 3, three, now, before) == Residuals(1, 1, 0, 0)  # (0 - 2)^2 / 9; (1 x 2)^2 / 9


def test_trades_byHand() -> None:
    """1 bids 7, -3 and 2 bids -5, 4: the mismatch is 2^2 + 1; a = 12, -7, before 9, -7: (3^2 + 0) / 4, rounded up 3.
    From nothing: (144 + 49) / 4, rounded up 49."""
    copies = {k: np.zeros((len(LINE.blocks(k)), 2), dtype=np.int64) for k in (0, 1, 2)}
    now = closing_of(LINE, copies, {1: np.array([7, -3]), 2: np.array([-5, 4])}, iteration=2)
    before = closing_of(LINE, copies, {1: np.array([4, -3]), 2: np.array([-5, 4])})
    for node in (1, 2):
        assert residuals_of(LINE, node, copies[node], now, before) == Residuals(0, 0, 5, 3)
        assert residuals_of(LINE, node, copies[node], now, None) == Residuals(0, 0, 5, 49)
    assert residuals_of(LINE, 0, copies[0], now, before) == NO_RESIDUALS
    alone = closing_of(LINE, {k: copies[k] for k in (0, 1)}, {1: np.array([7, -3])}, iteration=2)
    assert residuals_of(LINE, 1, copies[1], alone, before) == NO_RESIDUALS  # its partner is not there


def test_absentNode_hasNone() -> None:
    copies = {k: np.ones((len(LINE.blocks(k)), 2), dtype=np.int64) for k in (0, 1, 2)}
    now = closing_of(LINE, {0: copies[0], 1: copies[1]})
    assert residuals_of(LINE, 2, copies[2], now, None) == NO_RESIDUALS


@pytest.mark.parametrize("count", [2, 32])
def test_largestNumbers_fit(count: int) -> None:
    """V of 1 at most apart over 192 steps: 1 at the top, all its children at the bottom, before all at the top.
    With h = 2^15: S = (h - 1) - (c - 1) h = (2 - c) h - 1, so c x - S = 2 (c - 1) h - c + 1 = (c - 1)(2^16 - 1)."""
    below = range(2, count + 1)
    places = {0: TreePlace(0, (1,), 0), 1: TreePlace(0, tuple(below), 1)} | {k: TreePlace(1, (), 2) for k in below}
    crown = Assembly(frozenset(places), places, {}, 192)
    top, bottom = 2**15 - 1, -(2**15)

    def submissions(of_children: int) -> dict[int, np.ndarray]:
        copies = {k: np.zeros((len(crown.blocks(k)), 192), dtype=np.int64) for k in places}
        copies[1][2] = top
        for k in below:
            copies[k][2] = of_children
        return copies

    now = closing_of(crown, submissions(bottom), iteration=2)
    before = closing_of(crown, submissions(top))
    primal = -(-192 * (count - 1) ** 2 * (2**16 - 1) ** 2 // count**2)
    dual = -(-192 * ((2 - count) * 2**15 - 1 - count * top) ** 2 // count**2)
    assert residuals_of(crown, 1, submissions(bottom)[1], now, before) == Residuals(primal, dual, 0, 0)


def test_residuals_addUp() -> None:
    assert Residuals(1, 2, 3, 4) + Residuals(10, 20, 30, 40) == Residuals(11, 22, 33, 44)
    assert Residuals(1, 2, 3, 4).as_tuple() == (1, 2, 3, 4)
