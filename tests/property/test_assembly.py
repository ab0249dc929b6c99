"""Any declarations, some of them false: what holds of them, who has which copies, and what is counted."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.market.admm.assembly import Assembly, Closing, TreePlace

from .rounds import books, declarations

Name = tuple[str, int]


def staying(said: dict[int, TreePlace]) -> frozenset[int]:
    """The interface's sentence: a node stays where it is a root, or where its parent stays, lists it and is one less
    deep."""

    def stays(node: int) -> bool:
        mine = said[node]
        if mine.parent == node:
            return True
        above = said.get(mine.parent)
        return above is not None and node in above.children and above.depth == mine.depth - 1 and stays(mine.parent)

    return frozenset(node for node in said if stays(node))


def held(node: int, said: dict[int, TreePlace], nodes: frozenset[int]) -> list[Name]:
    """The interface's list of a node's blocks."""
    mine = said[node]
    children = [k for k in sorted(nodes) if k in mine.children and said[k].parent == node != k]
    result: list[Name] = []
    if mine.parent != node:
        result += [("P", node), ("Q", node)]
        if children:
            result += [("V", node)]
    for child in children:
        result += [("P", child), ("Q", child)]
    if mine.parent != node and said[mine.parent].parent != mine.parent:
        result += [("V", mine.parent)]
    return result


@settings(max_examples=200)
@given(said=declarations(), data=st.data())
def test_blocks_areThoseOfTheInterface(said: dict[int, TreePlace], data: st.DataObject) -> None:
    nodes = staying(said)
    assembly = Assembly(nodes, said, {}, 5)
    names = {node: [(block.kind.name, block.node) for block in assembly.blocks(node)] for node in nodes}
    assert names == {node: held(node, said, nodes) for node in nodes}

    lines = [node for node in sorted(nodes) if said[node].parent != node]
    inner = [node for node in lines if ("V", node) in names[node]]
    order = [(kind, node) for node in lines for kind in "PQ"] + [("V", node) for node in inner]
    assert [(block.kind.name, block.node) for block in assembly.all_blocks] == order

    # Nobody gets into another's blocks: a block is held by both ends of its line, or by a node and its children.
    present = frozenset(data.draw(st.sets(st.sampled_from(sorted(nodes))))) if nodes else frozenset()
    for block, name in zip(assembly.all_blocks, order, strict=True):
        holders = {node for node in nodes if name in names[node]}
        assert len(holders) >= 2
        assert assembly.count(block, nodes) == len(holders)
        assert assembly.count(block, present) == len(holders & present)
    gone = frozenset(data.draw(st.sets(st.sampled_from(sorted(nodes))))) if nodes else frozenset()
    assert assembly.scalars(gone) == (5 * sum(len(names[node]) for node in nodes - gone), 0)


@settings(max_examples=200)
@given(said=declarations(), data=st.data())
def test_bids_reachThoseWhoseBooksMirror(said: dict[int, TreePlace], data: st.DataObject) -> None:
    """Every bid d_ij is marked with i, j and its step, so it is seen where it ends up."""
    listed = data.draw(books(sorted(said), 4))
    nodes = staying(said)
    assembly = Assembly(nodes, said, listed, 4)
    present = frozenset(data.draw(st.sets(st.sampled_from(sorted(nodes))))) if nodes else frozenset()

    def marks(node: int) -> list[int]:
        return [10_000 + 1000 * node + 10 * other + step for other, steps in listed[node].items() for step in steps]

    bids = {node: np.array(marks(node), dtype=np.int64) for node in present}
    now = Closing(1, present, (0, 0, 0, 0), {}, bids)
    for node in nodes:
        assert assembly.bid_count(node) == len(marks(node))
        found = assembly.bids(now, node)
        expected = [
            10_000 + 1000 * other + 10 * node + step
            if {node, other} <= present and listed[other].get(node) == steps
            else 0
            for other, steps in listed[node].items()
            for step in steps
        ]
        assert found.own.tolist() == (marks(node) if node in present else [0] * len(expected))
        assert found.theirs.tolist() == expected
        assert found.counted.tolist() == [mark > 0 for mark in expected]
