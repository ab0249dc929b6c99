"""Pads: what is sealed opens again, and words of two add up as the contract adds them."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
from coincurve import PublicKey
from eth_keys.constants import SECPK1_N
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from gridpact.chain.sealing import NO_SECRET, SealingKey
from gridpact.limits import LANE_BITS, LANES, SUM_BYTES
from gridpact.market.admm.pads import Pads, decode_pool, encode_pool, open_word, seal_word, signed

LANE = st.integers(0, 2**20 - 1)
WORD = st.integers(0, 2**256 - 1)
SECRET = st.binary(min_size=32, max_size=32)


def packed(lanes: list[int]) -> int:
    return sum(lane << LANE_BITS * k for k, lane in enumerate(lanes))


@given(st.lists(LANE, min_size=1, max_size=LANES), WORD)
def test_word_opensAgain_andFitsItsLanes(lanes: list[int], pad: int) -> None:
    sealed = seal_word(packed(lanes), pad, len(lanes))
    assert open_word(sealed, pad, len(lanes)) == packed(lanes)
    above = sum(1 << LANE_BITS * k + LANE_BITS - 1 for k in range(LANES)) | 0xF << 252
    assert sealed & above == 0
    assert sealed >> LANE_BITS * len(lanes) == 0


@given(st.lists(st.tuples(LANE, LANE), min_size=1, max_size=LANES), WORD, WORD)
def test_sumOfTwoSealedWords_hasBoth(pairs: list[tuple[int, int]], one: int, other: int) -> None:
    """Who knows its own word takes it off the sum, lane by lane."""
    first, second = (packed([pair[k] for pair in pairs]) for k in (0, 1))
    mine, theirs = seal_word(first, one, len(pairs)), seal_word(second, other, len(pairs))
    assert open_word(mine + theirs - mine, other, len(pairs)) == second


@given(SECRET, SECRET, st.integers(1, 2**16 - 1))
def test_twoNodes_haveTheSameSecret_andOthersNot(one: bytes, other: bytes, round_: int) -> None:
    place = round_.to_bytes(4, "big")
    mine, theirs, third = (SealingKey(key, place) for key in (one, other, one + other))
    secret = mine.common_secret(theirs.public)
    assert secret == theirs.common_secret(mine.public)
    assert secret not in (third.common_secret(mine.public), third.common_secret(theirs.public))
    assert secret != SealingKey(one, b"another").common_secret(theirs.public)


@given(st.none() | st.binary(max_size=40).filter(lambda key: len(key) != 33))
def test_noKey_isNoSecret(key: bytes | None) -> None:
    assert SealingKey(bytes(31) + b"\1", b"").common_secret(key) == NO_SECRET


def test_pads_areThoseOfTheContract() -> None:
    """As `Seals.sol` makes them: key, author, kind, number."""
    secret = bytes(range(32))
    key = sha256(secret + (7).to_bytes(2, "big")).digest()
    pads = Pads(secret)
    assert pads.key(7) == key
    assert pads.word(7, 3, 2) == int.from_bytes(sha256(key + bytes((3, 0, 0, 2))).digest(), "big")
    second = sha256(key + bytes((3, 1, 0, 1))).digest()
    assert pads.bids(7, 3, 20)[16] == int.from_bytes(second[:2], "big")
    assert pads.pool(7, 9)[8] == int.from_bytes(sha256(key + bytes((0, 2, 0, 1))).digest()[:4], "big")


@given(st.lists(st.integers(-(2**23), 2**23 - 1), max_size=30))
def test_sums_keepTheirBytes(values: list[int]) -> None:
    data = encode_pool(np.array(values, dtype=np.int64))
    assert len(data) == SUM_BYTES * len(values)
    assert signed(decode_pool(data, len(values)), 24).tolist() == values


@given(st.lists(st.integers(-(2**15), 2**15 - 1), min_size=1, max_size=40), SECRET, st.integers(1, 400))
def test_bid_opensAgain(bids: list[int], secret: bytes, iteration: int) -> None:
    pads, said = Pads(secret), np.array(bids)
    sealed = signed(said + pads.bids(iteration, 5, len(bids)), 16)
    assert signed(sealed - pads.bids(iteration, 5, len(bids)), 16).tolist() == bids


@given(SECRET, SECRET)
def test_proof_isOfWhatTheTwoHaveInCommon(one: bytes, other: bytes) -> None:
    """c = H(A, B, S, r G + c B, r A + c S), as `Seals.sol` asks; and S opens what they have in common."""
    accuser, accused = SealingKey(one, b"place"), SealingKey(other, b"another")
    x, y, challenge, response = accuser.proof(accused.public)
    a, b = PublicKey(accused.public), PublicKey(accuser.public)
    s = PublicKey.from_point(x, y)

    def combined(base: PublicKey, point: PublicKey) -> PublicKey:
        r, c = ((value % SECPK1_N).to_bytes(32, "big") for value in (response, challenge))
        return PublicKey.combine_keys([base.multiply(r), point.multiply(c)])

    points = (a, b, s, combined(PublicKey.from_secret((1).to_bytes(32, "big")), b), combined(a, s))
    hashed = keccak(b"".join(point.format(compressed=False)[1:] for point in points))
    assert int.from_bytes(hashed, "big") == challenge
    assert sha256(s.format()).digest() == accused.common_secret(accuser.public)
