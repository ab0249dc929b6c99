"""Integers on the chain: copies packed into lanes, bids, and the books that say what bids refer to.

Layout of `IVirtualAggregator` and `Lanes.sol`: a block of T scalars takes ceil(T / 12) words; lane t stands in word
t // 12 at bit 21 (t % 12). A copy is stored with a bias, so that words add up as whole numbers without borrowing:
P and Q copies take 20 bits (bias 2^19), V copies 16 bits (bias 2^15). A sum carries the bias once for every copy in it.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Feeder
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InputError
from gridpact.grid.limits import PublishedFeeder, PublishedLine
from gridpact.grid.street_limits import PublishedStreet, decoded_street
from gridpact.limits import LANE_BITS, LANES, MOST_BID, MOST_NODES
from gridpact.market.admm.assembly import Assembly, Book, Integers
from gridpact.market.admm.reach import BIAS
from gridpact.problem.blocks import Block
from gridpact.problem.view import NodeView

_LANE_MASK = (1 << LANE_BITS) - 1


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
        bias = BIAS[block.kind]
        biased = [int(lane) + bias for lane in lanes]
        for t, lane in enumerate(biased):
            if not 0 <= lane < 2 * bias:
                raise InputError(
                    f"{block.kind.name} of node {block.node} at step {t} is {lane - bias} resolution units, more than "
                    f"the {bias - 1} that fit on the chain: deploy with a coarser resolution"
                )
        words += _packed(biased)
    return words


def _packed(lanes: Sequence[int]) -> list[int]:
    """Lanes of a block, with their biases, in words."""
    return [
        sum(lane << LANE_BITS * k for k, lane in enumerate(lanes[start : start + LANES]))
        for start in range(0, len(lanes), LANES)
    ]


def encode_sums(
    assembly: Assembly, sums: Mapping[Block, Integers], present: frozenset[int], blocks: Sequence[Block] | None = None
) -> list[int]:
    """Packs sums of those who are present into words, each with the bias of every copy in it: the inverse of
    `decode_sums`.

    Args:
        blocks: whose; of all, as a closed iteration has them, if none are given. Where no sum is, there is no copy.
    """
    words: list[int] = []
    for block in assembly.all_blocks if blocks is None else blocks:
        bias = assembly.count(block, present) * BIAS[block.kind]
        words += _packed([int(lane) + bias for lane in sums[block]] if block in sums else [0] * assembly.steps)
    return words


def decode_copies(blocks: Sequence[Block], words: Sequence[int], steps: int) -> Integers:
    """Unpacks copies, (blocks, T), one of each block: the inverse of `encode_copies`."""
    return decode_counted(blocks, words, steps, [1] * len(blocks))


def decode_sums(assembly: Assembly, words: Sequence[int], present: frozenset[int]) -> dict[Block, Integers]:
    """Unpacks the sums of a closed iteration, (T,) each; zero where no copy arrived."""
    counts = [assembly.count(block, present) for block in assembly.all_blocks]
    lanes = decode_counted(assembly.all_blocks, words, assembly.steps, counts)
    return dict(zip(assembly.all_blocks, lanes, strict=True))


def decode_counted(blocks: Sequence[Block], words: Sequence[int], steps: int, counts: Sequence[int]) -> Integers:
    """Unpacks sums, (blocks, T): the bias is taken off once for each copy that is in a block."""
    per_block = words_of_block(steps)
    result = np.zeros((len(blocks), steps), dtype=np.int64)
    for row, (block, count) in enumerate(zip(blocks, counts, strict=True)):
        own = words[row * per_block : (row + 1) * per_block]
        lanes = [own[t // LANES] >> LANE_BITS * (t % LANES) & _LANE_MASK for t in range(steps)]
        result[row] = np.array(lanes, dtype=np.int64) - count * BIAS[block.kind]
    return result


def encode_bids(bids: Integers) -> bytes:
    """Two bytes a bid, signed, big-endian.

    Raises:
        InputError: a bid does not fit.
    """
    if len(bids) and np.abs(bids).max() > MOST_BID:
        raise InputError(
            f"a bid of {int(np.abs(bids).max())} resolution units is more than the {MOST_BID} that fit on the chain: "
            "deploy with a coarser resolution"
        )
    return bids.astype(">i2").tobytes()


def decode_bids(data: bytes) -> Integers:
    """The inverse of `encode_bids`; a byte that is left over is none."""
    return np.frombuffer(data[: len(data) // 2 * 2], dtype=">i2").astype(np.int64)


def book_of(view: NodeView) -> Book:
    """Its bids, by the steps of the day."""
    return {partner.node: tuple(view.first + step for step in partner.steps) for partner in view.partners}


def published(view: NodeView) -> bytes:
    """What a node declares beside its place: what its bids refer to or, at the operator's node, the limits.

    Raises:
        InputError: a figure of the limits does not fit.
    """
    feeder = view.feeder if view.household is None else None
    if isinstance(feeder, PhaseFeeder):
        return PublishedStreet.of(feeder).encoded()
    return encode_feeder(feeder) if feeder is not None and feeder.lines else encode_book(book_of(view))


def published_limits(book: bytes) -> PublishedFeeder | PublishedStreet | None:
    """What the operator's node has published in its book, whatever it declared; None where that is neither a feeder nor
    a street. The referee reads it so."""
    return decoded_street(book) or decode_feeder(book)


def encode_book(book: Book) -> bytes:
    """For each partner: its node, the number of steps, the steps; one byte each."""
    return b"".join(bytes((node, len(steps), *steps)) for node, steps in book.items())


def decode_book(data: bytes) -> Book:
    """The inverse of `encode_book`, whatever was declared: a book ends before the first entry that is not whole, or
    whose partner is not above the one before, or no node. The contracts read it so, see `Books`."""
    book: dict[int, tuple[int, ...]] = {}
    at, last = 0, -1
    while at + 2 <= len(data):
        node, count = data[at], data[at + 1]
        if not last < node < MOST_NODES or at + 2 + count > len(data):
            break
        book[node] = tuple(data[at + 2 : at + 2 + count])
        at, last = at + 2 + count, node
    return book


KEY_HEADER = b"\xff\x21"
"""Where a round is sealed, a book ends with the node's key for it, in an entry of a partner that no node can be."""

KEY_ENTRY = len(KEY_HEADER) + 33


def with_key(book: bytes, key: bytes) -> bytes:
    """A book, or the limits, as they are declared where a round is sealed."""
    return book + KEY_HEADER + key


def key_in(declared: bytes) -> bytes | None:
    """The key that was declared; None where none was."""
    return declared[-33:] if declared[-KEY_ENTRY:-33] == KEY_HEADER else None


def without_key(declared: bytes) -> bytes:
    """The inverse of `with_key`."""
    return declared if key_in(declared) is None else declared[:-KEY_ENTRY]


FEEDER_HEADER = struct.Struct(">III")
"""Nominal voltage in mV, line to line; lowest and highest voltage, 1e-6 p.u."""

FEEDER_LINE = struct.Struct(">BBII")
"""Node, parent, resistance and reactance in micro-ohm."""


def encode_feeder(feeder: Feeder) -> bytes:
    """The limits that the grid operator's node publishes as its book; lines from the root outwards.

    Raises:
        InputError: a figure does not fit.
    """
    published = PublishedFeeder.of(feeder)
    try:
        return FEEDER_HEADER.pack(published.nominal, published.lowest, published.highest) + b"".join(
            FEEDER_LINE.pack(line.node, line.parent, line.resistance, line.reactance) for line in published.lines
        )
    except struct.error as error:
        raise InputError(f"the feeder does not fit the form in which it is published: {error}") from None


def decode_feeder(book: bytes) -> PublishedFeeder | None:
    """The inverse of `encode_feeder`, whatever was declared: None where it is no feeder. The referee reads it so."""
    if len(book) < FEEDER_HEADER.size + FEEDER_LINE.size or (len(book) - FEEDER_HEADER.size) % FEEDER_LINE.size:
        return None
    nominal, lowest, highest = FEEDER_HEADER.unpack_from(book)
    lines = tuple(PublishedLine(*line) for line in FEEDER_LINE.iter_unpack(book[FEEDER_HEADER.size :]))
    known = {GRID_CONNECTION}
    for line in lines:
        if line.node >= MOST_NODES or line.node in known or line.parent not in known:
            return None
        known.add(line.node)
    return PublishedFeeder(nominal, lowest, highest, lines) if nominal else None
