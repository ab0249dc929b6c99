"""Any rounds: trees, declarations, submissions, and who is there."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridpact.market.admm.assembly import Assembly, Book, Closing, TreePlace
from gridpact.problem.blocks import Kind

Integers = NDArray[np.int64]

LIMITS = {Kind.P: 2**19, Kind.Q: 2**19, Kind.V: 2**15}


@st.composite
def places(draw: st.DrawFn, most: int = 9) -> dict[int, TreePlace]:
    """A forest of nodes 0, 1, ..., as honest nodes declare it."""
    parents = [0]
    for node in range(1, draw(st.integers(1, most))):
        parents.append(draw(st.integers(0, node)))  # itself: another root
    depths: list[int] = []
    for node, parent in enumerate(parents):
        depths.append(0 if parent == node else depths[parent] + 1)
    return {
        node: TreePlace(parent, tuple(k for k, p in enumerate(parents) if p == node != k), depths[node])
        for node, parent in enumerate(parents)
    }


@st.composite
def declarations(draw: st.DrawFn, most: int = 9) -> dict[int, TreePlace]:
    """What nodes may say one by one, with some false: only a root has depth 0, and nobody is its own child."""
    said = draw(places(most))
    for node in draw(st.sets(st.sampled_from(sorted(said)), max_size=4)):
        parent = draw(st.sampled_from(sorted(said)))
        depth = 0 if parent == node else draw(st.integers(1, 4))
        children = draw(st.sets(st.sampled_from(sorted(said)), max_size=4)) - {node}
        said[node] = TreePlace(parent, tuple(sorted(children)), depth)
    for node in draw(st.sets(st.sampled_from(sorted(said)), max_size=2)):
        del said[node]  # it declares nothing
    return said


@st.composite
def books(draw: st.DrawFn, nodes: list[int], steps: int) -> dict[int, Book]:
    """Books of some households; not all of them mirror."""
    entries = st.sets(st.integers(0, steps - 1), min_size=1, max_size=3).map(sorted).map(tuple)
    result: dict[int, dict[int, tuple[int, ...]]] = {node: {} for node in nodes}
    for one in nodes:
        for other in nodes:
            if one < other and draw(st.booleans()):
                steps_of_pair = draw(entries)
                result[one][other] = result[other][one] = steps_of_pair
                if draw(st.integers(0, 5)) == 0:
                    result[other][one] = draw(entries)
                if draw(st.integers(0, 5)) == 0:
                    del result[one][other]
    return {node: dict(sorted(book.items())) for node, book in result.items()}


@dataclass(frozen=True)
class Iteration:
    """What nodes submitted; `copies` and `bids` of those present."""

    copies: dict[int, Integers]
    bids: dict[int, Integers]

    def closing(self, assembly: Assembly, number: int) -> Closing:
        """Adds up in Python's integers, by the names of the blocks."""
        sums = {block: [0] * assembly.steps for block in assembly.all_blocks}
        for node, rows in self.copies.items():
            for block, lanes in zip(assembly.blocks(node), rows.tolist(), strict=True):
                sums[block] = [a + b for a, b in zip(sums[block], lanes, strict=True)]
        as_arrays = {block: np.array(lanes, dtype=np.int64) for block, lanes in sums.items()}
        return Closing(number, frozenset(self.copies), (0, 0, 0, 0), as_arrays, self.bids)


def iteration(assembly: Assembly, present: set[int], seed: int) -> Iteration:
    """Random submissions: small numbers, which nearly agree, or the largest ones."""
    random = np.random.default_rng(seed)
    small = bool(random.integers(2))
    copies, bids = {}, {}
    for node in sorted(present):
        shape = (len(assembly.blocks(node)), assembly.steps)
        copies[node] = random.integers(-3, 3, shape, endpoint=True)
        bids[node] = random.integers(-3, 3, assembly.bid_count(node), endpoint=True)
        if not small:
            for row, block in enumerate(assembly.blocks(node)):
                low, high = -LIMITS[block.kind], LIMITS[block.kind] - 1
                copies[node][row] = random.integers(low, high, assembly.steps, endpoint=True)
                copies[node][row, 0] = random.choice([low, high])
            bids[node] = random.integers(-32768, 32767, assembly.bid_count(node), endpoint=True)
    return Iteration(copies, bids)
