"""Integers on the chain: copies packed into lanes, bids, and the books that say what bids refer to.

Layout of `IVirtualAggregator` and `Lanes.sol`: a block of T scalars takes ceil(T / 12) words; lane t stands in word
t // 12 at bit 21 (t % 12). A copy is stored with a bias, so that words add up as whole numbers without borrowing:
P and Q copies take 20 bits (bias 2^19), V copies 16 bits (bias 2^15). A sum carries the bias once for every copy in it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridpact.admm.consensus import Integers
from gridpact.errors import InputError
from gridpact.market.blocks import Block, Kind
from gridpact.market.view import NodeView

LANES = 12
LANE_BITS = 21
_LANE_MASK = (1 << LANE_BITS) - 1
_BIAS = {Kind.P: 1 << 19, Kind.Q: 1 << 19, Kind.V: 1 << 15}
BID_LIMIT = 2**15 - 1


def words_of_block(steps: int) -> int:
    """Number of 256-bit words of one block."""
    return -(-steps // LANES)


def encode_copies(blocks: Sequence[Block], copies: Integers) -> list[int]:
    """Packs copies, (blocks, T) in resolution units, into words.

    Raises:
        InputError: a copy does not fit its lane; a coarser resolution is needed.
    """
    words: list[int] = []
    for block, lanes in zip(blocks, copies, strict=True):
        bias = _BIAS[block.kind]
        biased = [int(lane) + bias for lane in lanes]
        for t, lane in enumerate(biased):
            if not 0 <= lane < 2 * bias:
                raise InputError(
                    f"{block.kind.name} of node {block.node} at step {t} is {lane - bias} resolution units, more than "
                    f"the {bias - 1} that fit on the chain: deploy with a coarser resolution"
                )
        for start in range(0, len(biased), LANES):
            words.append(sum(lane << LANE_BITS * k for k, lane in enumerate(biased[start : start + LANES])))
    return words


def decode_sums(blocks: Sequence[Block], words: Sequence[int], steps: int, counts: Integers) -> Integers:
    """Unpacks sums of copies, (blocks, T), taking the bias off once for each of the `counts` (blocks,) copies."""
    per_block = words_of_block(steps)
    result = np.zeros((len(blocks), steps), dtype=np.int64)
    for row, block in enumerate(blocks):
        own = words[row * per_block : (row + 1) * per_block]
        lanes = [own[t // LANES] >> LANE_BITS * (t % LANES) & _LANE_MASK for t in range(steps)]
        result[row] = np.array(lanes, dtype=np.int64) - int(counts[row]) * _BIAS[block.kind]
    return result


def encode_bids(bids: Integers) -> bytes:
    """Two bytes a bid, signed, big-endian.

    Raises:
        InputError: a bid does not fit.
    """
    if len(bids) and np.abs(bids).max() > BID_LIMIT:
        raise InputError(
            f"a bid of {int(np.abs(bids).max())} resolution units is more than the {BID_LIMIT} that fit on the chain: "
            "deploy with a coarser power resolution"
        )
    return bids.astype(">i2").tobytes()


def decode_bids(data: bytes) -> Integers:
    return np.frombuffer(data, dtype=">i2").astype(np.int64)


Book = Mapping[int, tuple[int, ...]]
"""What a household's bids refer to: partner -> steps, both ascending."""


def book_of(view: NodeView) -> Book:
    return {partner.node: partner.steps for partner in view.partners}


def encode_book(book: Book) -> bytes:
    """For each partner: its node, the number of steps, the steps; one byte each."""
    return b"".join(bytes((node, len(steps), *steps)) for node, steps in book.items())


def decode_book(data: bytes) -> Book:
    """The inverse of `encode_book`.

    Raises:
        ValueError: the bytes are no book.
    """
    book: dict[int, tuple[int, ...]] = {}
    at = 0
    while at < len(data):
        node, count = data[at : at + 2] if at + 2 <= len(data) else (0, 256)
        if at + 2 + count > len(data):
            raise ValueError("the book ends in the middle of an entry")
        book[node] = tuple(data[at + 2 : at + 2 + count])
        at += 2 + count
    return book


def bids_for(book: Book, data: bytes | None, node: int) -> Integers:
    """A partner's bids to `node`, from its book and its bids; zeros where it is silent (`None`)."""
    start = 0
    for partner, steps in book.items():
        if partner == node:
            if data is None:
                return np.zeros(len(steps), dtype=np.int64)
            return decode_bids(data)[start : start + len(steps)]
        start += len(steps)
    return np.zeros(0, dtype=np.int64)
