"""What stands on the chain, against words worked out by hand. Round trips over all sizes: `tests/property`."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.admm.codec import (
    bids_for,
    decode_bids,
    decode_book,
    decode_sums,
    encode_bids,
    encode_book,
    encode_copies,
    words_of_block,
)
from gridpact.errors import InputError
from gridpact.market.blocks import Block, Kind, blocks, holders

P1, V1 = Block(Kind.P, 1), Block(Kind.V, 1)


def test_oneWord_byHand() -> None:
    """Bias 2^19 in lanes of 21 bits: -1, 0 and 5 are 524287 + 524288 * 2^21 + 524293 * 2^42."""
    assert encode_copies([P1], np.array([[-1, 0, 5]])) == [524287 + 524288 * 2**21 + 524293 * 2**42]
    assert encode_copies([V1], np.array([[-1, 0, 5]])) == [32767 + 32768 * 2**21 + 32773 * 2**42]  # bias 2^15


def test_thirteenthStep_beginsAWord() -> None:
    words = encode_copies([P1], np.arange(13)[None, :])
    assert len(words) == 2
    assert words[1] == 524288 + 12  # eleven lanes of padding, all zero


@pytest.mark.parametrize(("steps", "words"), [(1, 1), (12, 1), (13, 2), (24, 2), (96, 8), (192, 16)])
def test_wordsOfBlock(steps: int, words: int) -> None:
    assert words_of_block(steps) == words


@pytest.mark.parametrize(
    ("block", "value", "fits"),
    [(P1, 2**19 - 1, True), (P1, 2**19, False), (P1, -(2**19), True), (P1, -(2**19) - 1, False),
     (V1, 2**15 - 1, True), (V1, 2**15, False), (V1, -(2**15) - 1, False)],
)  # fmt: skip
def test_overflow_namesStepAndNode(block: Block, value: int, fits: bool) -> None:
    copies = np.array([[0, value]])
    if fits:
        assert decode_sums([block], encode_copies([block], copies), 2, np.array([1])).tolist() == copies.tolist()
        return
    with pytest.raises(InputError, match=rf"{block.kind.name} of node 1 at step 1 is {value} .*coarser resolution"):
        encode_copies([block], copies)


def test_mostCopies_ofAVoltage_fillTheirLane() -> None:
    """32 copies (a node with 31 children) of the largest value: 32 (2^16 - 1) < 2^21, so no lane spills over."""
    (word,) = encode_copies([V1], np.array([[2**15 - 1, -(2**15)]]))
    total = decode_sums([V1], [32 * word], 2, np.array([32]))
    assert total.tolist() == [[32 * (2**15 - 1), -32 * 2**15]]


def test_bids_areTwoBytes() -> None:
    assert encode_bids(np.array([1, -2, 256])) == bytes([0, 1, 255, 254, 1, 0])
    assert encode_bids(np.zeros(0, dtype=np.int64)) == b""


@pytest.mark.parametrize("bid", [32768, -32768])
def test_bid_tooLarge(bid: int) -> None:
    with pytest.raises(InputError, match=r"bid of 32768 .*32767.*coarser"):
        encode_bids(np.array([0, bid]))


def test_bids_toOnePartner() -> None:
    book = {2: (0, 5), 4: (1,), 9: (0, 1, 2)}
    data = encode_bids(np.array([10, 11, 12, 13, 14, 15]))
    assert bids_for(book, data, 4).tolist() == [12]
    assert bids_for(book, data, 9).tolist() == [13, 14, 15]
    assert bids_for(book, None, 9).tolist() == [0, 0, 0]  # silent
    assert bids_for(book, data, 3).tolist() == []  # no partner
    assert decode_bids(data).tolist() == [10, 11, 12, 13, 14, 15]


def test_book_byHand() -> None:
    assert encode_book({2: (0, 5), 4: (191,)}) == bytes([2, 2, 0, 5, 4, 1, 191])
    assert decode_book(b"") == {}


@pytest.mark.parametrize("data", [b"\x02", b"\x02\x02\x00", b"\x02\x01\x00\x04"])
def test_book_cutShort(data: bytes) -> None:
    with pytest.raises(ValueError, match="middle of an entry"):
        decode_book(data)


def test_blocks_ofTheTree() -> None:
    """0 - 1 - (2, 3), as the interface says: own P, Q, own V with children, children's P, Q, parent's V below 1."""
    P, Q, V = Kind.P, Kind.Q, Kind.V
    assert [tuple(b.__dict__.values()) for b in blocks(0, 0, (1,), 0)] == [(P, 1), (Q, 1)]
    assert [tuple(b.__dict__.values()) for b in blocks(1, 0, (3, 2), 1)] == [
        (P, 1), (Q, 1), (V, 1), (P, 2), (Q, 2), (P, 3), (Q, 3)
    ]  # fmt: skip
    assert [tuple(b.__dict__.values()) for b in blocks(2, 1, (), 2)] == [(P, 2), (Q, 2), (V, 1)]
    assert blocks(5, 5, (), 0) == ()


def test_holders_areThoseWhoHaveTheBlock() -> None:
    parents, children = {0: 0, 1: 0, 2: 1, 3: 1}, {0: (1,), 1: (2, 3), 2: (), 3: ()}
    depths = {0: 0, 1: 1, 2: 2, 3: 2}
    held: dict[Block, set[int]] = {}
    for node in parents:
        for block in blocks(node, parents[node], children[node], depths[node]):
            held.setdefault(block, set()).add(node)
    assert {block: set(holders(block, parents, children)) for block in held} == held
