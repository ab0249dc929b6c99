"""Who is in a round and how they hang together, and what everybody can read about a closed iteration.

All of it is public, so every node has the same: the tree and the books that the nodes declared, as far as they hold
(see `IVirtualAggregator`), and of each iteration the sums, who is in them, and the bids.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from gridpact.market.blocks import Block, Kind, blocks, holders
from gridpact.market.view import NodeView

Integers = NDArray[np.int64]
Mask = NDArray[np.bool_]

Book = Mapping[int, tuple[int, ...]]
"""What a household's bids refer to: partner -> steps, both ascending."""


@dataclass(frozen=True)
class Place:
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


@dataclass(frozen=True)
class _Mirror:
    """Two nodes that bid to each other for the same steps, as one of them sees it."""

    partner: int
    own: slice  # of its bids
    theirs: slice  # of the partner's


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
        places: Mapping[int, Place],
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
        self._balance: tuple[Closing, tuple[Integers, Integers]] | None = None
        self._mirrors: dict[int, tuple[_Mirror, ...]] = {}
        self._steps: dict[int, Integers] = {}
        self._declared = {node: self.bid_count(node) for node in nodes} | dict(bids or {})

    @staticmethod
    def of_views(views: Sequence[NodeView]) -> Assembly:
        """All nodes of a community, as they would declare."""
        return Assembly(
            nodes=frozenset(view.node for view in views),
            places={view.node: Place(view.parent, view.children, view.depth) for view in views},
            books={view.node: {partner.node: partner.steps for partner in view.partners} for view in views},
            steps=views[0].steps,
        )

    def blocks(self, node: int) -> tuple[Block, ...]:
        """The blocks of a node's submission, in its order."""
        return blocks(node, self.parents[node], self.children[node], self.depths[node])

    @cached_property
    def all_blocks(self) -> tuple[Block, ...]:
        """All blocks in the order in which the contract puts out their sums."""
        lines = [node for node in sorted(self.nodes) if self.depths[node] > 0]
        flows = [Block(kind, node) for node in lines for kind in (Kind.P, Kind.Q)]
        return (*flows, *(Block(Kind.V, node) for node in lines if self.children[node]))

    def count(self, block: Block, present: frozenset[int]) -> int:
        """Number of copies in a block's sum."""
        return len(holders(block, self.parents, self.children) & present)

    def book(self, node: int) -> Book:
        return self._books[node]

    def bid_count(self, node: int) -> int:
        return len(self._steps_of(node))

    def mirrors(self, one: int, other: int) -> bool:
        """Whether two nodes bid to each other, for the same steps; else their bids to each other do not count."""
        mine = self._books.get(one, {}).get(other)
        return mine is not None and self._books.get(other, {}).get(one) == mine

    def bids_to(self, node: int, bids: Mapping[int, Integers], present: frozenset[int]) -> tuple[Integers, Mask]:
        """The partners' bids to a node.

        Args:
            bids: of an iteration, by node.

        Returns:
            d_ji for each of its own bids d_ij, and whether the pair counts: both present, with mirroring books. (bids,)
        """
        theirs = np.zeros(self.bid_count(node), dtype=np.int64)
        counted = np.zeros(len(theirs), dtype=bool)
        for pair in self._mirrors_of(node) if node in present else ():
            if pair.partner in present:
                said = bids[pair.partner][pair.theirs]  # fewer where it declared fewer than its book has
                theirs[pair.own][: len(said)] = said
                counted[pair.own] = True
        return theirs, counted

    def _mirrors_of(self, node: int) -> tuple[_Mirror, ...]:
        """The partners whose bids count, and where in both nodes' bids those to each other are."""
        if node not in self._mirrors:
            pairs, at = [], 0
            for partner, steps in self._books[node].items():
                if self.mirrors(node, partner):
                    start = self._start(partner, node)
                    pairs.append(_Mirror(partner, slice(at, at + len(steps)), slice(start, start + len(steps))))
                at += len(steps)
            self._mirrors[node] = tuple(pairs)
        return self._mirrors[node]

    def _steps_of(self, node: int) -> Integers:
        """The step of each of a node's bids, (bids,)."""
        if node not in self._steps:
            named = [step for steps in self._books[node].values() for step in steps]
            self._steps[node] = np.array(named, dtype=np.int64)
        return self._steps[node]

    def balance(self, now: Closing) -> tuple[Integers, Integers]:
        """What the bids that count add up to at every step, and how many households they are of, (T,) each."""
        if self._balance is None or self._balance[0] is not now:  # all nodes in a process ask for the same
            total, households = np.zeros(self.steps, dtype=np.int64), np.zeros(self.steps, dtype=np.int64)
            for node in sorted(self.nodes & now.present):
                _, counted = self.bids_to(node, now.bids, now.present)
                own, count = self.by_step(node, self.bids_of(node, now.bids), counted)
                total, households = total + own, households + (count > 0)
            self._balance = now, (total, households)
        return self._balance[1]

    def by_step(self, node: int, values: Integers, counted: Mask) -> tuple[Integers, Integers]:
        """Sum and number of what counts among a node's bids, (T,) each. A book may name steps that are none."""
        steps = self._steps_of(node)
        counted = counted & (steps < self.steps)
        total, count = np.zeros(self.steps, dtype=np.int64), np.zeros(self.steps, dtype=np.int64)
        np.add.at(total, steps[counted], values[counted])
        np.add.at(count, steps[counted], 1)
        return total, count

    def bids_of(self, node: int, bids: Mapping[int, Integers]) -> Integers:
        """A node's bids as its book has them: zero where it declared fewer, (bids of the book,)."""
        result = np.zeros(self.bid_count(node), dtype=np.int64)
        there = min(len(result), len(bids[node]))
        result[:there] = bids[node][:there]
        return result

    def _start(self, node: int, partner: int) -> int:
        """Where a node's bids to a partner begin."""
        start = 0
        for other, steps in self._books[node].items():
            if other == partner:
                return start
            start += len(steps)
        raise KeyError(partner)

    def scalars(self, gone: frozenset[int] = frozenset()) -> tuple[int, int]:
        """Number of copies of the network and of bids, of all nodes that are not out: what the RMS divides by."""
        nodes = self.nodes - gone
        copies = sum(len(self.blocks(node)) for node in nodes) * self.steps
        return copies, sum(self._declared[node] for node in nodes)
