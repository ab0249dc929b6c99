"""Which coupling variables a node holds a copy of, and in which order it submits them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum


class Kind(IntEnum):
    """Class of a coupling variable; the numbers are the contract's."""

    P = 0  # kW, active power on a line towards the root (or a household's net injection, in a star)
    Q = 1  # kvar
    V = 2  # p.u. squared voltage less 1


@dataclass(frozen=True)
class Block:
    """One global variable over the day: T scalars. `node` is the line's or the voltage's node."""

    kind: Kind
    node: int


def blocks(node: int, parent: int, children: Sequence[int], depth: int) -> tuple[Block, ...]:
    """The blocks of a node of the declared tree, in the order of its submissions (see `IVirtualAggregator`).

    The voltage of a root is known and not agreed on, so a node at depth 1 needs no copy of its parent's.
    """
    result: list[Block] = []
    if depth > 0:
        result += [Block(Kind.P, node), Block(Kind.Q, node)]
        if children:
            result.append(Block(Kind.V, node))
    for child in sorted(children):
        result += [Block(Kind.P, child), Block(Kind.Q, child)]
    if depth > 1:
        result.append(Block(Kind.V, parent))
    return tuple(result)


def holders(block: Block, parents: Mapping[int, int], children: Mapping[int, Sequence[int]]) -> frozenset[int]:
    """The nodes that hold a copy of a block: both ends of a line; a node and its children for its voltage."""
    if block.kind is Kind.V:
        return frozenset((block.node, *children[block.node]))
    return frozenset((block.node, parents[block.node]))
