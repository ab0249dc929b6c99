"""VirtualAggregator: signed submissions in a batch."""

from dataclasses import replace

import pytest
from eth_account.messages import encode_typed_data
from helpers import FEEDER, LARGE, STAR, TRADERS, overdue, relay_digest, signature
from link import refused
from reference.aggregator_model import hash_words, keccak, submission_hash


def parts_of(community, nodes=None, **changes):
    now = community.model.now
    return [community.part(node, **changes) for node in (sorted(now.active) if nodes is None else nodes)]


@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
def test_relay_closesAnIteration(community, outsider, tree):
    """VA2: anybody sends, one transaction, no sum touches storage."""
    made = community(tree)
    made.start()
    for _ in range(3):
        tx = made.relay(made.random.sample(parts_of(made), len(tree)), outsider)
        assert tx.names == ["Submitted"] * len(tree) + ["IterationClosed", "IterationOpened"]
        assert tx.one("IterationClosed")["sums"] == made.model.now.closed[-1].words
        made.check()


def test_relay_convergesTheRound(star, outsider):
    star.relay(parts_of(star), outsider)
    tx = star.relay(parts_of(star, residuals=[0] * 4), outsider)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 3, "iterations": 2}
    star.check()


@pytest.mark.parametrize("tree", [STAR, FEEDER], ids=["star", "feeder"])
@pytest.mark.parametrize("seed", range(3))
def test_relay_changesTheSameAsSubmit(community, outsider, tree, seed):
    """VA7: the same submissions, directly, in one batch, in several, or both ways."""
    states = []
    for way in ("direct", "batch", "two batches", "mixed"):
        made = community(tree, seed=seed)
        made.start()
        for _ in range(3):
            parts = made.random.sample(parts_of(made), len(tree))
            cut = made.random.randrange(1, len(parts))
            if way == "direct":
                send(made, parts)
            elif way == "batch":
                made.relay(parts, outsider)
            elif way == "two batches":
                made.relay(parts[:cut], outsider)
                made.check()
                made.relay(parts[cut:], outsider)
            else:
                send(made, parts[:cut])
                made.relay(parts[cut:], outsider)
            made.check()
        now = made.model.now
        states.append((now.head, now.commitments, [one.words for one in now.closed]))
    assert states == [states[0]] * 4


def send(community, parts):
    for part in parts:
        community.submit(part.node, part=part)


def test_relay_ofWhatCannotCloseAddsInStorage(star, outsider):
    """Three parts of five nodes; then two that might close it, but one is bad."""
    star.relay(parts_of(star, [0, 2]), outsider)
    star.check()
    star.relay([*parts_of(star, [1]), replace(star.part(3), signed=False), *parts_of(star, [4])], outsider)
    star.check()
    assert star.view("progress")[4] == 4
    star.submit(3)
    star.check()


def test_relay_ofNothingChangesNothing(star, outsider):
    star.relay([], outsider)
    star.check()
    star.submit(1)
    star.relay([], outsider)
    star.check()


FLAWS = {
    "out of range": lambda made, part: replace(part, node=128),
    "the last number there is": lambda made, part: replace(part, node=255),
    "not in the round": lambda made, part: replace(part, node=7),
    "too short": lambda made, part: replace(part, words=part.words[1:]),
    "too long": lambda made, part: replace(part, words=(*part.words, 0)),
    "bids too long": lambda made, part: replace(part, bids=part.bids + b"\0"),
    "a lane overflows": lambda made, part: replace(part, words=(1 << 20, *part.words[1:])),
    "a residual overflows": lambda made, part: replace(part, residuals=1 << 56),
    "not signed by its author": lambda made, part: replace(part, signed=False),
}


@pytest.mark.parametrize("flaw", FLAWS)
def test_relay_skipsWhatIsWrong(star, outsider, flaw):
    """VA6: one bad part in a batch; the others count, and the author may submit still."""
    star.relay(parts_of(star), outsider)
    parts = parts_of(star)
    parts[2] = FLAWS[flaw](star, parts[2])
    tx = star.relay(parts, outsider)
    assert tx.names.count("Skipped") == 1
    assert tx.names.count("Submitted") == 4
    star.check()
    star.submit(2)
    star.check()
    assert star.view("progress")[1] == 3


def test_relay_skipsASecondPartOfANode(star, outsider):
    """VA1: the first counts, whatever is in the second."""
    twice = [*parts_of(star, [1, 2]), *parts_of(star, [1, 3, 2])]
    tx = star.relay(twice, outsider)
    assert [event["node"] for event in tx.all("Skipped")] == [1, 2]
    star.check()


def test_relay_skipsANodeThatIsOut(star, outsider):
    for _ in range(star.model.max_misses):
        star.relay(parts_of(star, [0, 1, 2, 3]), outsider)
        star.close(outsider)
    tx = star.relay(parts_of(star, [0, 1, 2, 3, 4]), outsider)
    assert tx.one("Skipped")["node"] == 4
    assert "IterationClosed" in tx.names
    star.check()


def test_relay_failsIfNotTheOpenIteration(star, outsider):
    """Its only errors."""
    parts = [star.sign(part) for part in parts_of(star)]
    with refused("WrongRound: 1, 2"):
        star.send(outsider, "relay", 2, 1, parts)
    with refused("WrongIteration: 1, 2"):
        star.send(outsider, "relay", 1, 2, parts)
    star.relay(parts_of(star), outsider)
    with refused("WrongIteration: 2, 1"):
        star.send(outsider, "relay", 1, 1, parts)
    star.relay(parts_of(star, residuals=[0] * 4), outsider)
    with refused("WrongPhase: 3"):
        star.send(outsider, "relay", 1, 2, parts)


def test_relay_countsAfterTheDeadline(star, outsider):
    overdue()
    star.relay(parts_of(star), outsider)
    star.check()


def test_digest_isTheTypedData(star, outsider):
    """EIP-712, nested, as eth_account encodes it."""
    for _ in range(2):
        now = star.model.now
        part = star.part(1, LARGE)
        submission = {
            "round": now.number,
            "iteration": now.iteration,
            "node": 1,
            "copies": list(part.words),
            "bids": part.bids,
            "residuals": part.residuals,
        }
        signable = encode_typed_data(
            {
                "name": "gridpact",
                "version": "1",
                "chainId": star.chain_id,
                "verifyingContract": str(star.aggregator),
            },
            {
                "Relayed": [{"name": "submission", "type": "Submission"}, {"name": "head", "type": "bytes32"}],
                "Submission": [
                    {"name": "round", "type": "uint32"},
                    {"name": "iteration", "type": "uint16"},
                    {"name": "node", "type": "uint8"},
                    {"name": "copies", "type": "uint256[]"},
                    {"name": "bids", "type": "bytes"},
                    {"name": "residuals", "type": "uint256"},
                ],
            },
            {"submission": submission, "head": now.head},
        )
        expected = keccak(b"\x19\x01" + signable.header + signable.body)
        assert star.view("digest", *submission.values()) == expected
        r, vs = signature(star.accounts[1].private_key, expected)
        assert star.sign(part)[4:] == (r, vs)
        star.relay([part, *parts_of(star, [0, 2, 3, 4])], outsider)


def test_digest_isOfAnyNumbers(star):
    """A view for signers; nothing is checked."""
    h = submission_hash(9, 8, 200, hash_words((1, 2)), keccak(b"x"), 2**256 - 1)
    expected = relay_digest(str(star.aggregator), star.chain_id, h, bytes(32))
    assert star.view("digest", 9, 8, 200, (1, 2), b"x", 2**256 - 1) == expected
