"""The hashes that the aggregator keeps, without a chain: submissions as EIP-712 data, commitments, heads.

As `IVirtualAggregator` defines them, so that everybody can check its logs and calldata against what it keeps.
"""

from __future__ import annotations

from collections.abc import Iterable

from eth_utils.crypto import keccak

from gridpact.chain.values import RESIDUAL_LANE, ClosedIteration, nodes_to_bitmap, pack_residuals

START = bytes(32)
"""A commitment before the first submission, a head before the first closed iteration."""

_DOMAIN_TYPEHASH = keccak(b"EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)")
_SUBMISSION = b"Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
_SUBMISSION_TYPEHASH = keccak(_SUBMISSION)
_RELAYED_TYPEHASH = keccak(b"Relayed(Submission submission,bytes32 head)" + _SUBMISSION)
_NAME, _VERSION = b"gridpact", b"1"


def words_hash(words: Iterable[int]) -> bytes:
    """keccak256 of packed words."""
    return keccak(b"".join(word.to_bytes(32, "big") for word in words))


def bids_hash(bids: bytes) -> bytes:
    """keccak256 of packed bids."""
    return keccak(bids)


def submission_hash(round: int, iteration: int, node: int, copies: bytes, bids: bytes, residuals: int) -> bytes:
    """h of a submission.

    Args:
        copies, bids: their hashes.
        residuals: as packed.
    """
    return _hash(_SUBMISSION_TYPEHASH, round, iteration, node, copies, bids, residuals)


def extended(commitment: bytes, submission: bytes) -> bytes:
    """A node's commitment with the hash of one more submission."""
    return _hash(commitment, submission)


def head_with(head: bytes, round: int, closed: ClosedIteration) -> bytes:
    """A round's head with one more closed iteration."""
    present, residuals = nodes_to_bitmap(closed.present), pack_residuals(closed.residuals, RESIDUAL_LANE)
    return _hash(head, round, closed.iteration, present, residuals, words_hash(closed.sums))


def domain_separator(chain_id: int, aggregator: str) -> bytes:
    """The EIP-712 domain of an aggregator: a signature for one is worth nothing at another, or on another chain."""
    return _hash(_DOMAIN_TYPEHASH, keccak(_NAME), keccak(_VERSION), chain_id, int(aggregator, 16))


def relayed_digest(domain: bytes, submission: bytes, head: bytes) -> bytes:
    """What a node signs: the EIP-712 digest of a submission, by its hash, that builds on a head."""
    return keccak(b"\x19\x01" + domain + _hash(_RELAYED_TYPEHASH, submission, head))


def _hash(*values: bytes | int) -> bytes:
    """keccak256 of the ABI encoding of values of 32 bytes each."""
    return keccak(b"".join(value if isinstance(value, bytes) else value.to_bytes(32, "big") for value in values))
