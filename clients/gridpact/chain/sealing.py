"""What two accounts have in common in a round, by Diffie-Hellman on secp256k1.

Each node derives a key for the round from its account's own, so a restarted node has it again, and declares the public
half. A round's secrets tell nothing of another round's.
"""

from __future__ import annotations

from hashlib import sha256

from coincurve import PrivateKey, PublicKey
from eth_keys.constants import SECPK1_N
from eth_utils.crypto import keccak

PUBLIC_BYTES = 33

Proof = tuple[int, int, int, int]
"""x, y, challenge, response."""

NO_PROOF: Proof = (0, 0, 0, 0)
"""Where there is nothing to prove, since one has declared no key."""

NO_SECRET = bytes(32)
"""Between two of which one has declared no key: everybody knows it. Who declares none cannot be spoken to in secret."""


class SealingKey:
    """A node's key for one round of one deployment.

    Args:
        account_key: 32 bytes.
        place: what tells the round from every other one.
    """

    def __init__(self, account_key: bytes, place: bytes) -> None:
        self._key = PrivateKey(sha256(b"gridpact round key" + account_key + place).digest())

    @property
    def public(self) -> bytes:
        """Compressed."""
        return self._key.public_key.format(compressed=True)

    def common_secret(self, public: bytes | None) -> bytes:
        """What this node and the owner of a public key have in common."""
        if public is None:
            return NO_SECRET
        try:
            return self._key.ecdh(PublicKey(public).format(compressed=True))
        except ValueError:
            return NO_SECRET

    def proof(self, public: bytes | None) -> Proof:
        """That a point is what this key and the owner of a public one have in common: of Chaum and Pedersen, as
        `IReferee.Proof` has it. It shows the point, so it opens all that the two said to each other in the round."""
        try:
            theirs = PublicKey(public or b"")
        except ValueError:
            return NO_PROOF
        common = theirs.multiply(self._key.secret)
        once = PrivateKey(sha256(b"gridpact proof" + self._key.secret + theirs.format()).digest())
        points = (theirs, self._key.public_key, common, once.public_key, theirs.multiply(once.secret))
        challenge = keccak(b"".join(point.format(compressed=False)[1:] for point in points))
        response = (once.to_int() - int.from_bytes(challenge, "big") * self._key.to_int()) % SECPK1_N
        return (*common.point(), int.from_bytes(challenge, "big"), response)
