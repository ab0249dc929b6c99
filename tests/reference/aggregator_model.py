"""The virtual aggregator in plain Python: lists of integers, no packing, no storage, no gas.

Written from the text of the interface, to compare the contract with. A block is a (kind, node) pair, kind one
of "P", "Q" (flow into the node over the line from its parent) and "V" (voltage of the node); its content is a
list of payloads, one a time step, biased as the clients bias them.
"""

from __future__ import annotations

from dataclasses import dataclass, field

Block = tuple[str, int]


@dataclass(frozen=True)
class Declared:
    """What a node declares."""

    parent: int
    depth: int
    children: tuple[int, ...]
    bids: int


@dataclass
class Iteration:
    """What was accepted in one iteration."""

    copies: dict[int, dict[Block, list[int]]] = field(default_factory=dict)
    residuals: dict[int, list[int]] = field(default_factory=dict)


@dataclass
class AggregatorModel:
    """One round."""

    tree: dict[int, Declared]
    steps: int
    mu: int
    eps: tuple[int, int, int, int]  # primal grid, dual grid, primal trade, dual trade; 1/1000 unit
    phase: str = "Iterating"
    open: Iteration = field(default_factory=Iteration)
    closed: list[Iteration] = field(default_factory=list)

    @property
    def iteration(self) -> int:
        """The number of the iteration that is open, or the last one."""
        return len(self.closed) + (1 if self.phase == "Iterating" else 0)

    def blocks(self, node: int) -> list[Block]:
        """The blocks that a node holds, in the order of its copies."""
        me = self.tree[node]
        blocks: list[Block] = []
        if me.depth > 0:
            blocks += [("P", node), ("Q", node)]
            if me.children:
                blocks.append(("V", node))
        for child in sorted(me.children):
            blocks += [("P", child), ("Q", child)]
        if me.depth > 0 and self.tree[me.parent].depth > 0:
            blocks.append(("V", me.parent))
        return blocks

    def holders(self, block: Block) -> set[int]:
        """The nodes that hold a copy of the block."""
        return {node for node in self.tree if block in self.blocks(node)}

    def scalars(self) -> tuple[int, int]:
        """Coupled scalars of the network and of the bids."""
        copies = sum(len(self.blocks(node)) for node in self.tree) * self.steps
        return copies, sum(me.bids for me in self.tree.values())

    def submit(self, node: int, copies: dict[Block, list[int]], residuals: list[int]) -> None:
        """Accepts a submission; closes the iteration with the last one."""
        assert self.phase == "Iterating"
        assert node not in self.open.copies
        assert list(copies) == self.blocks(node)
        self.open.copies[node] = copies
        self.open.residuals[node] = residuals
        if len(self.open.copies) == len(self.tree):
            self.close()

    def close(self) -> None:
        """Closes the iteration with those who are present."""
        number = self.iteration
        complete = len(self.open.copies) == len(self.tree)
        if not self.open.copies:
            self.phase = "Abandoned"
            return
        self.closed.append(self.open)
        self.open = Iteration()
        if number >= 2 and complete and self._within_limits():
            self.phase = "Converged"
        elif number >= self.mu:
            self.phase = "Exhausted"

    def _within_limits(self) -> bool:
        grid, trade = self.scalars()
        return all(
            total * 10**6 <= eps**2 * count
            for total, eps, count in zip(self.residuals(), self.eps, (grid, grid, trade, trade), strict=True)
        )

    def present(self) -> set[int]:
        """The nodes in the last closed iteration."""
        return set(self.closed[-1].copies)

    def residuals(self) -> list[int]:
        """The four sums of the last closed iteration; the first iteration has none."""
        if len(self.closed) < 2:
            return [0, 0, 0, 0]
        return [sum(lane) for lane in zip(*self.closed[-1].residuals.values(), strict=True)]

    def coupling(self, node: int) -> dict[Block, list[int] | None]:
        """The sums of a node's blocks in the last closed iteration; None where no holder was present."""
        copies = self.closed[-1].copies
        sums: dict[Block, list[int] | None] = {}
        for block in self.blocks(node):
            there = [copies[holder][block] for holder in sorted(self.holders(block)) if holder in copies]
            sums[block] = [sum(lane) for lane in zip(*there, strict=True)] if there else None
        return sums
