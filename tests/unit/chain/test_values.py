"""Bitmaps, residual lanes and statements: pure functions."""

from __future__ import annotations

import pytest

from gridpact.chain.encoding import decode_trades, encode_trades
from gridpact.chain.values import (
    RESIDUAL_LANE,
    Phase,
    TradedStep,
    bitmap_to_nodes,
    nodes_to_bitmap,
    pack_residuals,
    unpack_residuals,
)


def test_bitmap_hasBitOfEachNode() -> None:
    assert nodes_to_bitmap([0, 3, 127]) == 1 + 8 + 2**127
    assert bitmap_to_nodes(1 + 8 + 2**127) == {0, 3, 127}
    assert bitmap_to_nodes(0) == frozenset()


@pytest.mark.parametrize("node", [-1, 128])
def test_bitmap_failsOutOfRange(node: int) -> None:
    with pytest.raises(ValueError, match=str(node)):
        nodes_to_bitmap([node])


def test_residuals_firstLaneIsMostSignificant() -> None:
    assert pack_residuals((1, 2, 3, 4)) == (1 << 192) + (2 << 128) + (3 << 64) + 4
    assert unpack_residuals(pack_residuals((1, 2, 3, 2**56 - 1))) == (1, 2, 3, 2**56 - 1)
    sums = (2**64 - 1, 0, 2**63, 1)
    assert unpack_residuals(pack_residuals(sums, RESIDUAL_LANE)) == sums


@pytest.mark.parametrize("value", [-1, 2**56])
def test_residuals_failOutOfRange(value: int) -> None:
    with pytest.raises(ValueError, match="residual"):
        pack_residuals((0, value, 0, 0))


def test_trades_areNineBytesAnEntryInOrderOfSteps() -> None:
    encoded = encode_trades([(7, -2, 100_000), (3, 1500, -1)])
    assert encoded.hex() == "03000005dcffffffff" + "07fffffffe000186a0"
    assert decode_trades(encoded) == (TradedStep(3, 1500, -1), TradedStep(7, -2, 100_000))
    assert encode_trades([]) == b""


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ([(192, 1, 1)], "step 192"),
        ([(1, 1, 1), (1, 2, 1)], "twice"),
        ([(1, 2**31, 1)], "energy"),
        ([(1, 1, -(2**31) - 1)], "price"),
    ],
)
def test_trades_failOutOfRange(entries: list[tuple[int, int, int]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        encode_trades(entries)


def test_phase_knowsItsEnd() -> None:
    assert [phase.is_final for phase in Phase] == [False, False, False, True, True, True]
    assert [phase.is_running for phase in Phase] == [False, True, True, False, False, False]
