"""Who is in a round, by hand: 0 - 1 - (2, 3), and what others declare beside it. All trees: `tests/property`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gridpact.market.admm.assembly import Assembly, Book, Closing, TreePlace
from gridpact.problem.blocks import Block, Kind
from gridpact.problem.scenario import Scenario
from unit.market.admm.helpers import main_line, star, view

PLACES = {0: TreePlace(0, (1,), 0), 1: TreePlace(0, (3, 2), 1), 2: TreePlace(1, (), 2), 3: TreePlace(1, (), 2)}
BOOKS: dict[int, Book] = {1: {2: (0, 2), 3: (1,)}, 2: {1: (0, 2), 3: (0,)}, 3: {1: (1,), 2: (0,)}}
ALL = frozenset(PLACES)


def tree(
    places: Mapping[int, TreePlace] = PLACES, books: Mapping[int, Book] = BOOKS, nodes: frozenset[int] = ALL
) -> Assembly:
    return Assembly(nodes, places, books, 3)


def test_blocks_inTheOrderOfTheContract() -> None:
    P, Q, V = Kind.P, Kind.Q, Kind.V
    assert [(b.kind, b.node) for b in tree().all_blocks] == [(P, 1), (Q, 1), (P, 2), (Q, 2), (P, 3), (Q, 3), (V, 1)]
    assert [(b.kind, b.node) for b in tree().blocks(1)] == [(P, 1), (Q, 1), (V, 1), (P, 2), (Q, 2), (P, 3), (Q, 3)]
    assert [(b.kind, b.node) for b in tree().blocks(0)] == [(P, 1), (Q, 1)]


def test_count_isOfThoseWhoHoldTheBlock() -> None:
    present = frozenset({1, 3})
    counts = {(b.kind.name, b.node): tree().count(b, present) for b in tree().all_blocks}
    assert counts == {("P", 1): 1, ("Q", 1): 1, ("P", 2): 1, ("Q", 2): 1, ("P", 3): 2, ("Q", 3): 2, ("V", 1): 2}


def test_childThatNamesAnother_isNoChild() -> None:
    """1 lists 2, 3 and 4; 3 says that it is a root, 4 hangs on 0, which does not list it, and is not in the round."""
    places = PLACES | {1: TreePlace(0, (2, 3, 4), 1), 3: TreePlace(3, (), 0), 4: TreePlace(0, (), 1)}
    assembly = tree(places)
    assert assembly.children == {0: (1,), 1: (2,), 2: (), 3: ()}
    assert assembly.blocks(3) == ()
    assert Block(Kind.P, 3) not in assembly.all_blocks


def test_childOfAnotherDepth_isNoChild() -> None:
    """3 says depth 3 below 1, which has depth 1: it is out, and the others have what they have without it."""
    assembly = tree(PLACES | {3: TreePlace(1, (), 3)}, nodes=ALL - {3})
    assert assembly.children[1] == (2,)
    assert assembly.scalars()[0] == 3 * (2 + 5 + 3)


def test_leafByExclusion_hasNoVoltage() -> None:
    assembly = tree(nodes=frozenset({0, 1}))
    assert [(b.kind.name, b.node) for b in assembly.blocks(1)] == [("P", 1), ("Q", 1)]
    assert [(b.kind.name, b.node) for b in assembly.all_blocks] == [("P", 1), ("Q", 1)]


def test_books_countWhereTheyMirror() -> None:
    """2 lists other steps for 1 than 1 for 2, and 3 does not list 2."""
    assembly = tree(books=BOOKS | {2: {1: (0, 1), 3: (0,)}, 3: {1: (1,)}})
    pairs = [(a, b) for a in range(4) for b in range(4) if assembly.mirrors(a, b)]
    assert pairs == [(1, 3), (3, 1)]


def test_bidsToANode_byHand() -> None:
    """Bids of 1: to 2 in steps 0 and 2, to 3 in step 1; of 2 to 1 the same steps, then to 3; of 3 to 1, then to 2."""
    said = {1: np.array([10, 11, 12]), 2: np.array([20, 21, 22]), 3: np.array([30, 31])}
    all_there = Closing(1, frozenset({0, 1, 2, 3}), (0, 0, 0, 0), {}, {0: np.array([], dtype=np.int64)} | said)
    for node, expected in {0: [], 1: [20, 21, 30], 2: [10, 11, 31], 3: [12, 22]}.items():
        bids = tree().bids(all_there, node)
        assert bids.own.tolist() == all_there.bids[node].tolist()
        assert bids.theirs.tolist() == expected
        assert bids.counted.all()
        assert bids.agreed.tolist() == (bids.own - bids.theirs).tolist()
        assert bids.mismatch.tolist() == (bids.own + bids.theirs).tolist()
    bids = tree().bids(replace(all_there, present=frozenset({1, 3})), 1)
    assert (bids.theirs.tolist(), bids.counted.tolist()) == ([0, 0, 30], [False, False, True])
    assert (bids.agreed.tolist(), bids.mismatch.tolist()) == ([0, 0, 12 - 30], [0, 0, 12 + 30])
    bids = tree().bids(replace(all_there, present=frozenset({2, 3})), 1)
    assert not bids.counted.any()  # it was not there itself
    assert not bids.own.any()


def test_scalars_ofThoseWhoAreNotOut() -> None:
    """Copies of 0: 2 blocks, 1: 7, 2 and 3: 3 each, three steps; bids 3, 3 and 2. The blocks stay where a child is out:
    so has it the contract."""
    assert tree().scalars() == (3 * 15, 8)
    assert tree().scalars(frozenset({3})) == (3 * 12, 6)
    assert tree().scalars(ALL) == (0, 0)


def test_assembly_ofViews() -> None:
    views = star(2)
    assembly = Assembly.of_views([*views.values()])
    assert (assembly.parents, assembly.depths) == ({0: 0, 1: 0, 2: 0}, {0: 0, 1: 1, 2: 1})
    assert assembly.children == {0: (1, 2), 1: (), 2: ()}
    assert Assembly.of_views([*main_line(3).values()]).children == {0: (1,), 1: (2,), 2: (3,), 3: ()}
    trading = [
        view(1, scenario=Scenario.T, parent=1, depth=0, partners={2: (0, 2)}),
        view(2, scenario=Scenario.T, parent=2, depth=0, partners={1: (0, 2)}),
    ]
    assembly = Assembly.of_views(trading)
    assert assembly.book(1) == {2: (0, 2)}
    assert assembly.mirrors(1, 2)
    assert assembly.all_blocks == ()
    assert assembly.scalars() == (0, 4)


def test_balance_addsUpWhatCounts() -> None:
    """1 and 2 mirror each other at steps 0 and 2, 3's bids to 1 have no counterpart; books that name a step that is
    none, or the node itself, break nothing."""
    books = {1: {2: (0, 2), 3: (1,)}, 2: {1: (0, 2)}, 3: {1: (0,), 3: (7,)}, 4: {5: (1, 9)}, 5: {4: (1, 9)}}
    assembly = Assembly(frozenset(books), {node: TreePlace(node, (), 0) for node in books}, books, steps=3)
    bids = {1: [5, 7, 100], 2: [-4, -9], 3: [50, 60], 4: [11, 70], 5: [-3, 80]}
    closing = Closing(
        1, frozenset({1, 2, 3, 4, 5}), (0, 0, 0, 0), {}, {node: np.array(own) for node, own in bids.items()}
    )
    total, households = assembly.balance(closing)
    assert total.tolist() == [5 - 4, 11 - 3, 7 - 9]
    sold = {node: assembly.sold_by_step(closing, node).tolist() for node in books}
    assert sold == {1: [5, 0, 7], 2: [-4, 0, -9], 3: [0, 0, 0], 4: [0, 11, 0], 5: [0, -3, 0]}
    assert households.tolist() == [2, 2, 2]
    alone = replace(closing, present=frozenset({1, 3, 4, 5}), bids={k: v for k, v in closing.bids.items() if k != 2})
    assert [part.tolist() for part in assembly.balance(alone)] == [[0, 8, 0], [0, 2, 0]]
