"""Who is in a round and how they hang together, and what everybody can read about a closed iteration.

All of it is public, so every node has the same: the tree and the books that the nodes declared, as far as they hold
(see `IVirtualAggregator`), and of each iteration the sums, who is in them, and the bids.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridpact.problem.blocks import Block, Kind, blocks, holders
from gridpact.problem.view import NodeView

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

Book = Mapping[int, tuple[int, ...]]
"""What a household's bids refer to: partner -> steps, both ascending."""


@dataclass(frozen=True)
class TreePlace:
    """A node's place in the declared tree."""

    parent: int
    children: tuple[int, ...]
    depth: int


@dataclass(frozen=True)
class Closing:
    """A closed iteration, decoded."""

    iteration: int
    present: frozenset[int]
    residuals: tuple[int, int, int, int]  # of all nodes, about the iteration before
    sums: Mapping[Block, Integers]  # (T,) each, without biases; zero where no copy arrived
    bids: Mapping[int, Integers]  # by node, in the order of its book; of those present
    gone: frozenset[int] = frozenset()  # nodes that are out from here on
    proved: frozenset[int] = frozenset()  # those that were proved false while it was open
    sealed: bool = False  # then sums and bids are those that one node reads, the others are not there, or zero
    pool: Integers | None = None  # of a sealed one: what all bids come to, (T,); None where that cannot be read


@dataclass(frozen=True)
class Bids:
    """The bids of an iteration as the books have them: of all nodes, or of one, (bids,) each."""

    own: Integers  # d_ij; zero where the node declared fewer bids than its book has, or is absent
    theirs: Integers  # d_ji
    counted: Mask  # both are present, with books that mirror each other

    @cached_property
    def agreed(self) -> Integers:
        """d_ij - d_ji, twice the trade; zero where the bid does not count."""
        agreed: Integers = np.where(self.counted, self.own - self.theirs, 0)
        return agreed

    @cached_property
    def mismatch(self) -> Integers:
        """d_ij + d_ji; zero where the bid does not count."""
        mismatch: Integers = np.where(self.counted, self.own + self.theirs, 0)
        return mismatch

    def __getitem__(self, part: slice) -> Bids:
        bids = Bids(self.own[part], self.theirs[part], self.counted[part])
        vars(bids).update(agreed=self.agreed[part], mismatch=self.mismatch[part])  # worked out once for all parts
        return bids


class Assembly:
    """The nodes of a round.

    Args:
        nodes: those that are in the round when it starts.
        places: what they declared, others may be in it.
        books: their books, others may be in it.
        steps: T.
        bids: how many bids they declared, where that is not what the books have.
    """

    def __init__(
        self,
        nodes: frozenset[int],
        places: Mapping[int, TreePlace],
        books: Mapping[int, Book],
        steps: int,
        bids: Mapping[int, int] | None = None,
    ) -> None:
        self.nodes = nodes
        self.steps = steps
        self.parents = {node: places[node].parent for node in nodes}
        self.depths = {node: places[node].depth for node in nodes}
        self.children = {
            node: tuple(
                child
                for child in sorted(places[node].children)
                if child in nodes and self.parents[child] == node and self.depths[child] == self.depths[node] + 1
            )
            for node in nodes
        }
        self._books = {node: books.get(node, {}) for node in nodes}
        parents, children, depths = self.parents, self.children, self.depths
        self._blocks = {node: blocks(node, parents[node], children[node], depths[node]) for node in nodes}
        self._holders = {block: holders(block, self.parents, self.children) for block in self.all_blocks}
        self._scalars: dict[frozenset[int], tuple[int, int]] = {}
        self._balances: deque[tuple[Closing, tuple[Integers | None, Integers]]] = deque(maxlen=1)
        self._sums: deque[tuple[Closing, dict[int, Integers]]] = deque(maxlen=2)
        self._counts: tuple[frozenset[int], dict[int, Integers]] = frozenset(), {}
        self._bids: deque[tuple[Closing, Bids, dict[int, Bids]]] = deque(maxlen=3)
        self._declared = {node: self.bid_count(node) for node in nodes} | dict(bids or {})

    @staticmethod
    def of_views(views: Sequence[NodeView]) -> Assembly:
        """All nodes of a community, as they would declare."""
        return Assembly(
            nodes=frozenset(view.node for view in views),
            places={view.node: TreePlace(view.parent, view.children, view.depth) for view in views},
            books={view.node: {partner.node: partner.steps for partner in view.partners} for view in views},
            steps=views[0].steps,
        )

    def blocks(self, node: int) -> tuple[Block, ...]:
        """The blocks of a node's submission, in its order."""
        return self._blocks[node]

    @cached_property
    def all_blocks(self) -> tuple[Block, ...]:
        """All blocks in the order in which the contract puts out their sums."""
        lines = [node for node in sorted(self.nodes) if self.depths[node] > 0]
        flows = [Block(kind, node) for node in lines for kind in (Kind.P, Kind.Q)]
        return (*flows, *(Block(Kind.V, node) for node in lines if self.children[node]))

    @cached_property
    def beyond(self) -> Mapping[int, int]:
        """How many nodes are in the tree from each on, itself among them."""
        counts = dict.fromkeys(self.nodes, 1)
        for node in sorted(self.nodes, key=lambda node: -self.depths[node]):
            counts[node] += sum(counts[child] for child in self.children[node])
        return counts

    def count(self, block: Block, present: frozenset[int]) -> int:
        """Number of copies in a block's sum."""
        return len(self._holders[block] & present)

    def counts(self, node: int, present: frozenset[int]) -> Integers:
        """The same of the blocks of a node, (blocks,)."""
        if self._counts[0] != present:
            self._counts = present, {}
        known = self._counts[1]
        if node not in known:
            known[node] = np.array([self.count(block, present) for block in self.blocks(node)], dtype=np.int64)
        return known[node]

    def sums(self, now: Closing, node: int) -> Integers:
        """What the copies of a node's blocks came to, (blocks, T)."""
        known = next((sums for closing, sums in self._sums if closing is now), None)
        if known is None:  # a node asks for the same in this iteration and in the next one
            self._sums.append((now, known := {}))
        if node not in known:
            rows = [now.sums[block] for block in self.blocks(node)]
            known[node] = np.array(rows, dtype=np.int64).reshape(len(rows), self.steps)
        return known[node]

    def flow(self, now: Closing, block: Block) -> Integers:
        """What was said of a flow on average, rounded down, (T,); nothing where its line is not in the round."""
        if block not in now.sums:
            return np.zeros(self.steps, dtype=np.int64)
        return now.sums[block] // max(self.count(block, now.present), 1)

    def book(self, node: int) -> Book:
        return self._books[node]

    def bid_count(self, node: int) -> int:
        part = self._parts[node]
        return int(part.stop - part.start)

    def part(self, node: int, partner: int) -> slice:
        """Where a node's bids to a partner are among its bids.

        Raises:
            KeyError: its book does not list the partner.
        """
        at = 0
        for other, steps in self._books[node].items():
            if other == partner:
                return slice(at, at + len(steps))
            at += len(steps)
        raise KeyError(partner)

    def mirrors(self, one: int, other: int) -> bool:
        """Whether two nodes bid to each other, for the same steps; else their bids to each other do not count."""
        mine = self._books.get(one, {}).get(other)
        return mine is not None and self._books.get(other, {}).get(one) == mine

    def bids(self, now: Closing, node: int | None = None) -> Bids:
        """The bids of an iteration and the partners' to them: of one node, or of all, ascending."""
        known, parts = next(((bids, parts) for closing, bids, parts in self._bids if closing is now), (None, {}))
        if known is None:  # all nodes in a process ask for the same, and some again in the iterations after it
            own = np.zeros(len(self._steps), dtype=np.int64)
            present = np.zeros(len(self._steps) + 1, dtype=bool)  # the last is what no bid mirrors
            for one in self.nodes & now.present:
                part, of_one = self._parts[one], now.bids[one]
                own[part][: len(of_one)] = of_one[: self.bid_count(one)]
                present[part] = True
            counted = present[:-1] & present[self._mirrored]
            theirs = np.where(counted, np.append(own, 0)[self._mirrored], 0)
            known = Bids(own, theirs, counted)
            self._bids.append((now, known, parts))
        if node is None:
            return known
        if node not in parts:
            parts[node] = known[self._parts[node]]
        return parts[node]

    def pairs_by_step(self, now: Closing) -> Integers:
        """How many pairs have bids that count at every step, (T,)."""
        counted = self.bids(now).counted & self._in_the_day
        return np.bincount(self._steps[counted], minlength=self.steps) // 2

    def balance(self, now: Closing) -> tuple[Integers | None, Integers]:
        """What the bids that count add up to at every step, and how many households they are of, (T,) each; None where
        that cannot be read."""
        if not self._balances or self._balances[0][0] is not now:  # all nodes in a process ask for the same
            counted = self.bids(now).counted & self._in_the_day
            trades = np.zeros((len(self._parts), self.steps), dtype=bool)
            trades[self._rows[counted], self._steps[counted]] = True
            total = now.pool if now.sealed else self.sold_by_step(now)
            self._balances.append((now, (total, trades.sum(axis=0))))
        return self._balances[0][1]

    def sold_by_step(self, now: Closing, node: int | None = None) -> Integers:
        """What the bids that count add up to at every step, of one node or of all, (T,)."""
        part = slice(None) if node is None else self._parts[node]
        bids = self.bids(now, node)
        counted = bids.counted & self._in_the_day[part]
        return np.bincount(self._steps[part][counted], bids.own[counted], self.steps).astype(np.int64)

    def by_node(self, values: Integers) -> dict[int, int]:
        """Sums over the bids of each node of one value a bid, (bids of all,)."""
        upto = [0, *np.cumsum(values).tolist()]
        return {node: upto[part.stop] - upto[part.start] for node, part in self._parts.items()}

    @cached_property
    def _parts(self) -> dict[int, slice]:
        """Where the bids of each node are among those of all."""
        parts, start = {}, 0
        for node in sorted(self.nodes):
            end = start + sum(map(len, self._books[node].values()))
            parts[node], start = slice(start, end), end
        return parts

    @cached_property
    def _steps(self) -> Integers:
        """The step of each bid, (bids of all,)."""
        books = (self._books[node] for node in self._parts)
        return np.array([step for book in books for steps in book.values() for step in steps], dtype=np.int64)

    @cached_property
    def _in_the_day(self) -> Mask:
        """Whether a bid is for a step of the day: a book may name others, (bids of all,)."""
        within: Mask = self._steps < self.steps
        return within

    @cached_property
    def _rows(self) -> Integers:
        """Whose each bid is, by the place of its node, (bids of all,)."""
        return np.repeat(np.arange(len(self._parts)), [self.bid_count(node) for node in self._parts])

    @cached_property
    def _mirrored(self) -> Integers:
        """Where the partner's bid to each bid is, (bids of all,); behind the last where it has none."""
        first = {}
        for node, part in self._parts.items():
            at = part.start
            for partner, steps in self._books[node].items():
                first[node, partner] = at
                at += len(steps)
        mirrored = [
            first[partner, node] + k if self.mirrors(node, partner) else len(self._steps)
            for node in self._parts
            for partner, steps in self._books[node].items()
            for k in range(len(steps))
        ]
        return np.array(mirrored, dtype=np.int64)

    def scalars(self, gone: frozenset[int] = frozenset()) -> tuple[int, int]:
        """Number of copies of the network and of bids, of all nodes that are not out: what the RMS divides by."""
        if gone not in self._scalars:
            nodes = self.nodes - gone
            copies = sum(len(self.blocks(node)) for node in nodes) * self.steps
            self._scalars[gone] = copies, sum(self._declared[node] for node in nodes)
        return self._scalars[gone]
