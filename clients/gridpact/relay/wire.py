"""Signed submissions as JSON: numbers of 256 bits and bytes are hexadecimal strings."""

from __future__ import annotations

import re
from typing import Any

from gridpact.chain.values import SignedSubmission, pack_residuals, unpack_residuals
from gridpact.files import parse_json
from gridpact.limits import LANES, MOST_NODES, MOST_STEPS

WORD = re.compile("0x[0-9a-fA-F]{1,64}")
BYTES = re.compile("0x[0-9a-fA-F]*")
MOST_WORDS = 2 * MOST_NODES * -(-MOST_STEPS // LANES)
"""P and Q of 128 nodes, 192 steps."""
MOST_BYTES = 1 << 20
"""Of a submission as JSON: such words take 276 kB, the most bids that can be declared 262 kB."""
MOST_BRACKETS = 300
"""Opening ones: two a submission, of 128 nodes. Deep nesting can end the process, so it is not left to the parser."""
MOST_WAIT_SECONDS = 30.0
"""For submissions, in one request."""


def parse(text: bytes) -> Any:
    """JSON from somebody who is not trusted.

    Raises:
        ValueError: it is none.
    """
    if text.count(b"[") + text.count(b"{") > MOST_BRACKETS:
        raise ValueError("What was sent is nested too deeply, or too long.")
    try:
        return parse_json(text)
    except ValueError as error:
        raise ValueError("What was sent is no JSON.") from error


def to_json(signed: SignedSubmission) -> dict[str, Any]:
    """A submission as JSON."""
    return {
        "node": signed.node,
        "copies": [hex(word) for word in signed.copies],
        "bids": "0x" + signed.bids.hex(),
        "residuals": hex(pack_residuals(signed.residuals)),
        "r": "0x" + signed.r.hex(),
        "vs": "0x" + signed.vs.hex(),
    }


def from_json(values: Any) -> SignedSubmission:
    """The inverse of `to_json`.

    Raises:
        ValueError: with one sentence on what is wrong.
    """
    if not isinstance(values, dict):
        raise ValueError("A submission is a JSON object.")
    node, copies = values.get("node"), values.get("copies")
    if not isinstance(node, int) or isinstance(node, bool) or not 0 <= node < MOST_NODES:
        raise ValueError(f"'node' must be a number from 0 to {MOST_NODES - 1}.")
    if not isinstance(copies, list) or len(copies) > MOST_WORDS:
        raise ValueError(f"'copies' must be a list of at most {MOST_WORDS} words.")
    residuals = unpack_residuals(_word("residuals", values.get("residuals")))
    try:
        pack_residuals(residuals)
    except ValueError as error:
        raise ValueError(f"'residuals': {error}.") from error
    return SignedSubmission(
        node=node,
        copies=tuple(_word("copies", word) for word in copies),
        bids=_bytes("bids", values.get("bids")),
        residuals=residuals,
        r=_bytes("r", values.get("r"), 32),
        vs=_bytes("vs", values.get("vs"), 32),
    )


def _word(name: str, text: Any) -> int:
    if isinstance(text, str) and WORD.fullmatch(text):
        return int(text, 16)
    raise ValueError(f"'{name}' must be 0x and 1 to 64 hexadecimal digits.")


def _bytes(name: str, text: Any, length: int | None = None) -> bytes:
    if isinstance(text, str) and BYTES.fullmatch(text) and len(text) % 2 == 0:
        data = bytes.fromhex(text[2:])
        if length in (None, len(data)):
            return data
    size = "an even number of" if length is None else str(2 * length)
    raise ValueError(f"'{name}' must be 0x and {size} hexadecimal digits.")
