"""What stands on the chain, against words worked out by hand. Round trips over all sizes: `tests/property`."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import Feeder, Line
from gridpact.errors import InputError
from gridpact.market.admm.assembly import Assembly, TreePlace
from gridpact.market.admm.codec import (
    book_of,
    decode_bids,
    decode_book,
    decode_copies,
    decode_sums,
    encode_bids,
    encode_book,
    encode_copies,
    encode_feeder,
    words_of_block,
)
from gridpact.problem.blocks import Block, Kind, blocks, holders
from unit.market.admm.helpers import view

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
        assert decode_copies([block], encode_copies([block], copies), 2).tolist() == copies.tolist()
        return
    with pytest.raises(InputError, match=rf"{block.kind.name} of node 1 at step 1 is {value} .*coarser resolution"):
        encode_copies([block], copies)


def test_sums_byHand() -> None:
    """0 - 1 - 2 in two steps, node 1 is absent: P, Q of 1 and of 2 have one copy, V of 1 has one; the words of the
    line to 1 are 3, 4 and -3, -4 above a bias of 2^19, those of the line to 2 are 5, 6 and zero, V of 1 is 7, 8."""
    places = {0: TreePlace(0, (1,), 0), 1: TreePlace(0, (2,), 1), 2: TreePlace(1, (), 2)}
    assembly = Assembly(frozenset(places), places, {}, 2)
    lane = 2**21
    words = [
        2**19 + 3 + (2**19 + 4) * lane, 2**19 - 3 + (2**19 - 4) * lane,
        2**19 + 5 + (2**19 + 6) * lane, 2**19 + 2**19 * lane,
        2**15 + 7 + (2**15 + 8) * lane,
    ]  # fmt: skip
    sums = decode_sums(assembly, words, frozenset({0, 2}))
    assert {(block.kind.name, block.node): lanes.tolist() for block, lanes in sums.items()} == {
        ("P", 1): [3, 4], ("Q", 1): [-3, -4], ("P", 2): [5, 6], ("Q", 2): [0, 0], ("V", 1): [7, 8],
    }  # fmt: skip
    nobody = decode_sums(assembly, [0] * 5, frozenset())
    assert all(not lanes.any() for lanes in nobody.values())


def test_mostCopies_ofAVoltage_fillTheirLane() -> None:
    """32 copies (a node with 31 children) of the largest value: 32 (2^16 - 1) < 2^21, so no lane spills over."""
    places = {0: TreePlace(0, (1,), 0), 1: TreePlace(0, tuple(range(2, 33)), 1)} | {
        k: TreePlace(1, (), 2) for k in range(2, 33)
    }
    assembly = Assembly(frozenset(places), places, {}, 2)
    (voltage,) = encode_copies([V1], np.array([[2**15 - 1, -(2**15)]]))
    (flow,) = encode_copies([P1], np.array([[0, 0]]))
    words = [2 * flow] * 64 + [32 * voltage]
    sums = decode_sums(assembly, words, assembly.nodes)
    assert sums[V1].tolist() == [32 * (2**15 - 1), -32 * 2**15]
    assert all(not lanes.any() for block, lanes in sums.items() if block != V1)


def test_bids_areTwoBytes() -> None:
    assert encode_bids(np.array([1, -2, 256])) == bytes([0, 1, 255, 254, 1, 0])
    assert decode_bids(bytes([0, 1, 255, 254, 1, 0])).tolist() == [1, -2, 256]
    assert encode_bids(np.zeros(0, dtype=np.int64)) == b""


@pytest.mark.parametrize("bid", [32768, -32768])
def test_bid_tooLarge(bid: int) -> None:
    with pytest.raises(InputError, match=r"bid of 32768 .*32767.*coarser"):
        encode_bids(np.array([0, bid]))


def test_book_byHand() -> None:
    assert encode_book({2: (0, 5), 4: (191,)}) == bytes([2, 2, 0, 5, 4, 1, 191])
    assert decode_book(bytes([2, 2, 0, 5, 4, 1, 191])) == {2: (0, 5), 4: (191,)}
    assert decode_book(b"") == {}
    assert book_of(view(1, partners={3: (2,), 2: (0, 1)})) == {2: (0, 1), 3: (2,)}


def test_book_endsBeforeAnEntryThatIsNotWhole() -> None:
    """As the contracts read it."""
    assert decode_book(bytes([2])) == decode_book(bytes([2, 2, 0])) == {}
    assert decode_book(bytes([2, 1, 0, 4])) == {2: (0,)}
    assert decode_book(bytes([2, 1, 0, 2, 1, 5, 3, 1, 7])) == {2: (0,)}  # partners ascend


def test_feeder_byHand() -> None:
    """400 V, 0.95 to 1.05 p.u.; then the lines as they follow from the root: 2, which hangs on 3, comes last."""
    feeder = Feeder(400.0, 0.95, 1.05, (Line(1, 0, 0.1, 0.02), Line(2, 3, 0.25, 0.0), Line(3, 1, 0.000001, 4294.0)))
    expected = [400_000, 950_000, 1_050_000]
    data = b"".join(number.to_bytes(4, "big") for number in expected)
    for node, parent, r, x in [(1, 0, 100_000, 20_000), (3, 1, 1, 4_294_000_000), (2, 3, 250_000, 0)]:
        data += bytes([node, parent]) + r.to_bytes(4, "big") + x.to_bytes(4, "big")
    assert encode_feeder(feeder) == data


def test_feeder_tooLarge() -> None:
    """2^32 micro-ohm are 4295 ohm."""
    with pytest.raises(InputError, match="feeder does not fit"):
        encode_feeder(Feeder(400.0, 0.95, 1.05, (Line(1, 0, 4295.0, 0.02),)))


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
