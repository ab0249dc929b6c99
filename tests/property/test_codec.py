"""Integers on the chain, over all sizes and values: what is packed comes out again, also as a sum."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from gridpact.market.admm.assembly import Assembly, TreePlace
from gridpact.market.admm.codec import (
    decode_bids,
    decode_book,
    decode_copies,
    decode_sums,
    encode_bids,
    encode_book,
    encode_copies,
    words_of_block,
)
from gridpact.problem.blocks import Block, Kind

from .rounds import LIMITS, iteration, places

steps = st.integers(1, 192)
kinds = st.lists(st.sampled_from(Kind), min_size=0, max_size=4)
seeds = st.integers(0, 2**32 - 1)


def copies_of(blocks: list[Block], horizon: int, random: np.random.Generator) -> np.ndarray:
    """Random copies, the extremes among them."""
    result = np.zeros((len(blocks), horizon), dtype=np.int64)
    for row, block in enumerate(blocks):
        low, high = -LIMITS[block.kind], LIMITS[block.kind] - 1
        result[row] = random.integers(low, high, horizon, endpoint=True)
        result[row, random.integers(horizon)] = random.choice([low, high])
    return result


@given(kinds=kinds, horizon=steps, seed=seeds)
def test_copies_comeBack(kinds: list[Kind], horizon: int, seed: int) -> None:
    blocks = [Block(kind, row) for row, kind in enumerate(kinds)]
    copies = copies_of(blocks, horizon, np.random.default_rng(seed))
    words = encode_copies(blocks, copies)
    assert len(words) == len(blocks) * words_of_block(horizon)
    assert all(0 <= word < 2**256 for word in words)
    assert np.array_equal(decode_copies(blocks, words, horizon), copies)


@given(said=places(12), horizon=steps, seed=seeds, data=st.data())
def test_sums_ofThePresent(said: dict[int, TreePlace], horizon: int, seed: int, data: st.DataObject) -> None:
    """Words are added as whole numbers, as the contract does; no lane touches another. Blocks of which no copy
    arrived are zero."""
    assembly = Assembly(frozenset(said), said, {}, horizon)
    present = data.draw(st.sets(st.sampled_from(sorted(said))))
    submitted = iteration(assembly, present, seed)
    width = words_of_block(horizon)
    words = [0] * (len(assembly.all_blocks) * width)
    for node, copies in submitted.copies.items():
        packed = encode_copies(assembly.blocks(node), copies)
        for row, block in enumerate(assembly.blocks(node)):
            start = assembly.all_blocks.index(block) * width
            for k in range(width):
                words[start + k] += packed[row * width + k]
    assert all(word < 2**256 for word in words)
    sums = decode_sums(assembly, words, frozenset(present))
    expected = submitted.closing(assembly, 1).sums
    assert {block: lanes.tolist() for block, lanes in sums.items()} == {
        block: lanes.tolist() for block, lanes in expected.items()
    }


@given(kind=st.sampled_from(Kind), horizon=steps, seed=seeds)
def test_padding_isZero(kind: Kind, horizon: int, seed: int) -> None:
    block = [Block(kind, 1)]
    words = encode_copies(block, copies_of(block, horizon, np.random.default_rng(seed)))
    used = horizon - 12 * (len(words) - 1)
    assert words[-1] >> 21 * used == 0
    width = 20 if kind is not Kind.V else 16
    for t in range(horizon):  # and the bits above a single copy in its lane
        assert words[t // 12] >> 21 * (t % 12) + width & (1 << 21 - width) - 1 == 0


@given(st.lists(st.integers(-32767, 32767), max_size=300))
def test_bids_comeBack(bids: list[int]) -> None:
    data = encode_bids(np.array(bids, dtype=np.int64))
    assert len(data) == 2 * len(bids)
    assert decode_bids(data).tolist() == bids


@given(
    st.dictionaries(
        st.integers(1, 127),
        st.sets(st.integers(0, 191), min_size=1, max_size=192).map(sorted).map(tuple),
        max_size=6,
    )
)
def test_book_comesBack(book: dict[int, tuple[int, ...]]) -> None:
    ordered = dict(sorted(book.items()))
    assert decode_book(encode_book(ordered)) == ordered


@given(st.binary(max_size=40))
def test_book_ofAnyBytes_isABookOrAValueError(data: bytes) -> None:
    try:
        book = decode_book(data)
    except ValueError:
        return
    assert all(0 <= node < 256 and all(0 <= step < 256 for step in entry) for node, entry in book.items())
