"""Sealed rounds' arithmetic in the contracts: points of secp256k1 as coincurve has them, proofs of common secrets, pads
and answers as the nodes make them."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from coincurve import PrivateKey, PublicKey
from link import Link, Reverted, read

from gridpact.chain.sealing import NO_PROOF, NO_SECRET, SealingKey
from gridpact.market.admm.answers import PairPart, encode_answer
from gridpact.market.admm.codec import encode_bids, encode_book, with_key
from gridpact.market.admm.pads import Pads, lanes_of, seal_word

P = 2**256 - 2**32 - 977
N = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
INFINITY = (0, 0)
GENERATOR = PrivateKey((1).to_bytes(32, "big")).public_key
BOOK = {2: (0, 3), 5: (1, 3, 70), 9: (4,)}


@pytest.fixture(scope="module")
def sealing(Sealing, manager):
    return Link(manager.deploy(Sealing))


def ask(sealing, name, *arguments):
    return read([(sealing, name, *arguments)])[0]


@pytest.fixture
def chance():
    return random.Random(7)


def drawn(chance):
    return PrivateKey(chance.randrange(1, N).to_bytes(32, "big"))


def times(point, factor):
    """None: at infinity."""
    return None if factor % N == 0 else point.multiply((factor % N).to_bytes(32, "big"))


def added(one, other):
    """Of points, None at infinity, which coincurve has none of."""
    if one is None or other is None:
        return one or other
    if one.point() == (other.point()[0], P - other.point()[1]):
        return None
    return PublicKey.combine_keys([one, other])


def place(point):
    return INFINITY if point is None else point.point()


# ---------------------------------------------------------------------- points


def test_key_isOpenedAsItsPoint(sealing, chance):
    """Of both signs."""
    keys = [drawn(chance).public_key for _ in range(12)]
    assert {key.format()[0] for key in keys} == {2, 3}
    for key in keys:
        assert tuple(ask(sealing, "opened", key.format())) == key.point()


def test_whatIsNoKey_isInfinity(sealing, chance):
    """Of another length or kind, no element of the field, or no point: of as many x a half is."""
    good = drawn(chance).public_key.format()
    others = [b"", good[:-1], good + b"\0", b"\x04" + good[1:], b"\x02" + P.to_bytes(32, "big"), b"\x02" + b"\xff" * 32]
    xs = [chance.randrange(P) for _ in range(16)]
    off = [x for x in xs if pow(x**3 + 7, (P - 1) // 2, P) != 1]
    assert 0 < len(off) < len(xs)
    for key in (*others, *(b"\x03" + x.to_bytes(32, "big") for x in off)):
        assert tuple(ask(sealing, "opened", key)) == INFINITY


def test_combination_isThatOfTheLibrary(sealing, chance):
    """a A + b B of drawn points and factors; of a point with itself, and with what takes it off."""
    a, b = drawn(chance).public_key, drawn(chance).public_key
    minus = PublicKey.from_point(GENERATOR.point()[0], P - GENERATOR.point()[1])
    cases = [(chance.randrange(N), a, chance.randrange(N), b) for _ in range(3)]
    cases += [(1, GENERATOR, 1, GENERATOR), (5, GENERATOR, 5, GENERATOR), (1, GENERATOR, 1, minus), (7, a, N - 7, a)]
    cases += [(0, a, 0, b), (0, a, 3, b), (N, a, 1, b), (2, GENERATOR, 1, minus)]
    answers = [ask(sealing, "combined", k, one.point(), m, other.point()) for k, one, m, other in cases]
    for (k, one, m, other), (x, y, is_on) in zip(cases, answers, strict=True):
        expected = added(times(one, k), times(other, m))
        assert (x, y) == place(expected)
        assert is_on == (expected is not None)


def test_point_isOnTheCurveOrNot(sealing, chance):
    x, y = drawn(chance).public_key.point()
    cases = {(x, y): True, (x, P - y): True, (x, y ^ 1): False, (P, 0): False, (x, P): False, INFINITY: False}
    for point, is_on in cases.items():
        assert ask(sealing, "isOn", point) == is_on


# ---------------------------------------------------------------------- what two have in common


@pytest.fixture
def pair(chance):
    return tuple(SealingKey(chance.randbytes(32), b"a round") for _ in range(2))


def books(pair):
    """As the accused and its accuser declare them."""
    accuser, accused = pair
    return with_key(encode_book(BOOK), accused.public), with_key(b"", accuser.public)


def test_secret_isWhatBothHave(sealing, pair):
    accuser, accused = pair
    proof = accuser.proof(accused.public)
    assert ask(sealing, "secret", *books(pair), proof) == accused.common_secret(accuser.public)


def test_otherProof_isNone(sealing, pair, chance):
    """Of another secret, of no point, of another pair; or with any number of it changed."""
    accuser, accused = pair
    good = accuser.proof(accused.public)
    stranger = drawn(chance).public_key
    false = [(*stranger.point(), *good[2:]), (1, 1, *good[2:]), (P, good[1], *good[2:])]
    false += [SealingKey(b"another", b"a round").proof(accused.public), NO_PROOF]
    false += [tuple(value ^ (1 if place == at else 0) for place, value in enumerate(good)) for at in (2, 3)]
    for proof in false:
        with pytest.raises(Reverted, match="NotProved: secret"):
            ask(sealing, "secret", *books(pair), proof)


def test_withoutAKey_thereIsNoSecret(sealing, pair):
    """A book too short for one, one without, and one with what is no key: either side's."""
    accuser, accused = pair
    accused_book, accuser_book = books(pair)
    for none in (b"", encode_book({2: tuple(range(40))}), with_key(b"", b"\x05" + bytes(32))):
        for declared in ((none, accuser_book), (accused_book, none)):
            assert ask(sealing, "secret", *declared, accuser.proof(accused.public)) == NO_SECRET


# ---------------------------------------------------------------------- pads


def test_whatIsSealed_isOpened(sealing, chance):
    """Bids, words of copies, and shares of either side, under the pads that nodes make."""
    pads, iteration = Pads(chance.randbytes(32)), 7
    key = pads.key(iteration)
    said = np.array([chance.randrange(-(2**15), 2**15) for _ in range(40)])
    sealed = encode_bids((said + pads.bids(iteration, 3, 40) + 2**15) % 2**16 - 2**15)
    before = encode_bids(np.array([11, -12]))  # to another partner
    assert list(ask(sealing, "bids", key, 3, before + sealed, 2, 40)) == said.tolist()

    for number, lanes in ((0, 12), (3, 5), (1, 1)):
        word = chance.getrandbits(252) & lanes_of(2**20 - 1, lanes)
        hidden = seal_word(word, pads.word(iteration, 4, number), lanes)
        assert hidden != word
        assert ask(sealing, "word", key, 4, number, hidden, lanes) == word

    masks = pads.pool(iteration, 24)
    for step in (0, 7, 8, 23):
        for lower in (True, False):
            share = (int(said[step]) + (1 if lower else -1) * int(masks[step])) % 2**24
            assert ask(sealing, "share", key, lower, int(said[step]), step) == share


# ---------------------------------------------------------------------- answers


@pytest.mark.parametrize("counted", [(), (2,), (5,), (9,), (2, 9), (2, 5, 9)])
def test_part_isWhereItStands(sealing, counted):
    """Of each partner, whoever else is in the answer; of nobody who is not, or is in no book."""
    parts = {other: PairPart(10 * other, 10 * other + 1, tuple(range(len(BOOK[other])))) for other in counted}
    answer = encode_answer(BOOK, parts)
    for partner in (1, 2, 3, 5, 9, 12):
        there, at, primal, dual = ask(sealing, "part", answer, encode_book(BOOK), partner)
        assert there == (partner in counted)
        if there:
            assert (primal, dual) == (parts[partner].primal, parts[partner].dual)
            assert answer[at : at + 8] == primal.to_bytes(8, "big")


def test_answerThatEndsEarly_hasZeros(sealing):
    """Nothing reverts: who answers so cannot keep itself from being judged."""
    answer = encode_answer(BOOK, {2: replace(PairPart(5, 6, (7, 8)), primal=2**63)})
    for length in range(len(answer)):
        _, at, primal, dual = ask(sealing, "part", answer[:length], encode_book(BOOK), 2)
        assert primal in (0, 2**63)
        assert (primal == 0) == (length < at + 8)
        assert (dual == 6) == (length >= at + 16)
