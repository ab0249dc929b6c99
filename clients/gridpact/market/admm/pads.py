"""Pads that two nodes of a round share, and nobody else: what they submit for each other is sealed by them.

A lane of a copy is submitted as lane + pad modulo 2^20, a bid as bid + pad modulo 2^16. Both are what the open form
takes, with not a byte more, and the contract adds copies as before: two payloads of 20 bits fit a lane of 21. Who knows
one of two copies in a sum has the other.

From what the two have in common a key is made for each iteration, and from that the pads, 32 bytes at a time:

    key = SHA-256(secret, iteration: 2 bytes)
    pad = SHA-256(key, author: 1 byte, kind: 1 byte, number: 2 bytes)

So who shows the key of an iteration opens what these two said in it, and nothing else.
"""

from __future__ import annotations

from enum import IntEnum
from functools import cache
from hashlib import sha256

import numpy as np

from gridpact.limits import LANE_BITS, LANES, SUM_BYTES
from gridpact.market.admm.assembly import Integers

PAYLOAD_BITS = 20
"""Of a lane of P or Q that one node fills."""

POOL_BITS = 8 * SUM_BYTES
"""Of what a household's bids come to at a step."""

BIDS_IN_A_PAD = 16
SUMS_IN_A_PAD = 8
"""Four bytes each, of which the lowest `SUM_BYTES` count."""

_PLACES = np.array([1 << 8 * place for place in reversed(range(SUM_BYTES))], dtype=np.int64)
"""What each byte of a sum counts."""


class What(IntEnum):
    """What a pad is for."""

    COPIES = 0
    BIDS = 1
    POOL = 2


@cache
def lanes_of(payload: int, lanes: int) -> int:
    """A word with a payload in each of its first lanes."""
    return sum(payload << LANE_BITS * lane for lane in range(lanes))


def lanes_in(word: int, steps: int) -> int:
    """How many lanes of the nth word of a block are in use."""
    return min(LANES, steps - LANES * word)


def seal_word(word: int, pad: int, lanes: int) -> int:
    """Adds a pad to the first lanes of a word, each modulo 2^20."""
    payload = lanes_of((1 << PAYLOAD_BITS) - 1, lanes)
    return (word & payload) + (pad & payload) & payload


def open_word(word: int, pad: int, lanes: int) -> int:
    """The inverse of `seal_word`."""
    payload = lanes_of((1 << PAYLOAD_BITS) - 1, lanes)
    return (word & payload) + lanes_of(1 << PAYLOAD_BITS, lanes) - (pad & payload) & payload


class Pads:
    """The pads of two nodes in a round, from what only they know."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._newest = 0, b""  # iteration that was asked for last, and its key

    def key(self, iteration: int) -> bytes:
        """Opens what the two said for each other in an iteration."""
        newest, key = self._newest
        if newest != iteration:
            key = sha256(self._secret + iteration.to_bytes(2, "big")).digest()
            self._newest = iteration, key
        return key

    def word(self, iteration: int, author: int, number: int) -> int:
        """The pad of a word of copies: of P those from 0 on, then of Q."""
        return int.from_bytes(self._pad(iteration, author, What.COPIES, number), "big")

    def bids(self, iteration: int, author: int, count: int) -> Integers:
        """The pads of the bids of one to the other, modulo 2^16, (count,)."""
        data = self._pads(iteration, author, What.BIDS, -(-count // BIDS_IN_A_PAD))
        return np.frombuffer(data, dtype=">u2").astype(np.int64)[:count]

    def pool(self, iteration: int, steps: int) -> Integers:
        """What the lower of the two adds to the sums of its bids, and the higher takes off, (T,)."""
        data = self._pads(iteration, 0, What.POOL, -(-steps // SUMS_IN_A_PAD))
        return np.frombuffer(data, dtype=">u4").astype(np.int64)[:steps]

    def _pads(self, iteration: int, author: int, what: What, count: int) -> bytes:
        first = self.key(iteration) + bytes((author, what))
        return b"".join(sha256(first + number.to_bytes(2, "big")).digest() for number in range(count))

    def _pad(self, iteration: int, author: int, what: What, number: int) -> bytes:
        return sha256(self.key(iteration) + bytes((author, what)) + number.to_bytes(2, "big")).digest()


class IterationPads(Pads):
    """The pads of two nodes in one iteration, from its key."""

    def __init__(self, key: bytes) -> None:
        super().__init__(b"")
        self._key = key

    def key(self, iteration: int) -> bytes:
        """Of the one iteration, whatever is asked for."""
        return self._key


def signed(values: Integers, bits: int) -> Integers:
    """Numbers modulo 2^bits as those nearest to zero."""
    half = 1 << bits - 1
    result: Integers = (values + half) % (2 * half) - half
    return result


def encode_pool(sums: Integers) -> bytes:
    """Sums of bids, modulo 2^24, big-endian."""
    wrapped = (sums % (1 << POOL_BITS)).astype(">u4").view(np.uint8).reshape(-1, 4)
    return wrapped[:, 4 - SUM_BYTES :].tobytes()


def decode_pool(data: bytes, count: int) -> Integers:
    """The inverse of `encode_pool`; what is not there is zero, (count,)."""
    whole = data[: SUM_BYTES * count].ljust(SUM_BYTES * count, b"\0")
    sums: Integers = np.frombuffer(whole, dtype=np.uint8).astype(np.int64).reshape(-1, SUM_BYTES) @ _PLACES
    return sums
