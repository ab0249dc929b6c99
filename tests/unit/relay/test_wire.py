"""Signed submissions as JSON; what comes from outside is checked."""

from __future__ import annotations

import json
from typing import Any

import pytest

from gridpact.chain.values import SignedSubmission
from gridpact.relay.wire import from_json, parse, to_json

SIGNED = SignedSubmission(3, (0, 2**256 - 1, 5), b"\x01\x00", (1, 2, 3, 2**56 - 1), b"r" * 32, b"v" * 32)


def test_json_isReadAsWritten() -> None:
    assert from_json(parse(json.dumps(to_json(SIGNED)).encode())) == SIGNED
    empty = SignedSubmission(0, (), b"", (0, 0, 0, 0), bytes(32), bytes(32))
    assert from_json(to_json(empty)) == empty


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"node": 128}, "'node'"),
        ({"node": True}, "'node'"),
        ({"node": "3"}, "'node'"),
        ({"copies": "0x00"}, "'copies'"),
        ({"copies": ["0x" + 65 * "f"]}, "'copies'"),
        ({"copies": [5]}, "'copies'"),
        ({"copies": ["0x"]}, "'copies'"),
        ({"copies": ["0x-1"]}, "'copies'"),
        ({"copies": ["0x1_0"]}, "'copies'"),
        ({"copies": ["0x0"] * 4097}, "at most 4096"),
        ({"bids": "0x123"}, "'bids'"),
        ({"bids": "0xzz"}, "'bids'"),
        ({"bids": None}, "'bids'"),
        ({"residuals": hex(2**56)}, "'residuals'"),
        ({"residuals": hex(2**64 - 1 << 192)}, "'residuals'"),
        ({"r": "0x" + 31 * "00"}, "'r' must be 0x and 64"),
        ({"vs": 7}, "'vs'"),
    ],
)
def test_json_failsOnWrongValue(change: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        from_json({**to_json(SIGNED), **change})


@pytest.mark.parametrize("values", [None, [], "text", {}, {"node": 1}])
def test_json_failsOnOtherThings(values: Any) -> None:
    with pytest.raises(ValueError, match=r"must be|is a JSON object"):
        from_json(values)


@pytest.mark.parametrize("text", [b"", b"{", b"\xff", b"[" * 300])
def test_parse_failsOnWhatIsNoJson(text: bytes) -> None:
    with pytest.raises(ValueError, match="no JSON"):
        parse(text)


@pytest.mark.parametrize("text", [b"[" * 100_000, b'{"a":' * 100_000, "[".encode("utf-16") * 100_000])
def test_parse_refusesDeepNesting(text: bytes) -> None:
    with pytest.raises(ValueError, match="too deeply"):
        parse(text)


def test_parse_takesABoardOfAllNodes() -> None:
    board = {"submissions": [to_json(SIGNED)] * 128}
    assert parse(json.dumps(board).encode()) == board
