"""What two accounts have in common in a round, by Diffie-Hellman on secp256k1.

Each node derives a key for the round from its account's own, so a restarted node has it again, and declares the public
half. A round's secrets tell nothing of another round's.
"""

from __future__ import annotations

from hashlib import sha256

from coincurve import PrivateKey, PublicKey
from eth_keys.constants import SECPK1_N
from eth_utils.crypto import keccak

from gridpact.errors import InputError

PUBLIC_BYTES = 33

Signature = tuple[bytes, bytes]
"""r and vs, EIP-2098."""

Proof = tuple[int, int, int, int]
"""x, y, challenge, response."""

GENERATOR = PrivateKey((1).to_bytes(32, "big")).public_key

NO_PROOF: Proof = (0, 0, 0, 0)
"""Where there is nothing to prove, since one has declared no key."""

NO_SECRET = bytes(32)
"""Between two of which one has declared no key: everybody knows it. Who declares none cannot be spoken to in secret."""


def proved_secret(mine: bytes | None, theirs: bytes | None, proof: Proof) -> bytes:
    """What the owners of two public keys have in common, by a proof of the first of them, as `Seals.secret` takes it.

    Raises:
        InputError: the proof does not hold.
    """
    try:
        own, other = PublicKey(mine or b""), PublicKey(theirs or b"")
    except ValueError:
        return NO_SECRET
    x, y, challenge, response = proof
    c, r = ((value % SECPK1_N).to_bytes(32, "big") for value in (challenge, response))
    try:
        common = PublicKey.from_point(x, y)
        first = PublicKey.combine_keys([GENERATOR.multiply(r), own.multiply(c)])
        second = PublicKey.combine_keys([other.multiply(r), common.multiply(c)])
        holds = _challenge(other, own, common, first, second) == challenge
    except (ValueError, OverflowError):
        holds = False
    if not holds:
        raise InputError("what is shown of a sealed round is not what the two nodes had in common: ask for it again")
    return sha256(common.format(compressed=True)).digest()


def is_signed(public: bytes | None, digest: bytes, signature: Signature) -> bool:
    """Whether the owner of a public key has signed a digest, as `Seals.isSigned` takes it."""
    r, vs = signature
    packed = int.from_bytes(vs, "big")
    s = packed & ((1 << 255) - 1)
    if s > SECPK1_N // 2:  # the second of the two signatures that anybody can make of one
        return False
    try:
        signer = PublicKey.from_signature_and_message(
            r + s.to_bytes(32, "big") + bytes([packed >> 255]), digest, hasher=None
        )
        return signer == PublicKey(public or b"")
    except ValueError:
        return False


def _challenge(*points: PublicKey) -> int:
    """c, as `Seals.sol` has it."""
    return int.from_bytes(keccak(b"".join(point.format(compressed=False)[1:] for point in points)), "big")


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

    def sign(self, digest: bytes) -> Signature:
        """Signs a digest."""
        made = self._key.sign_recoverable(digest, hasher=None)
        return made[:32], (int.from_bytes(made[32:64], "big") | made[64] << 255).to_bytes(32, "big")

    def proof(self, public: bytes | None) -> Proof:
        """That a point is what this key and the owner of a public one have in common: of Chaum and Pedersen, as
        `IReferee.Proof` has it. It shows the point, so it opens all that the two said to each other in the round."""
        try:
            theirs = PublicKey(public or b"")
        except ValueError:
            return NO_PROOF
        common = theirs.multiply(self._key.secret)
        once = PrivateKey(sha256(b"gridpact proof" + self._key.secret + theirs.format()).digest())
        challenge = _challenge(theirs, self._key.public_key, common, once.public_key, theirs.multiply(once.secret))
        response = (once.to_int() - challenge * self._key.to_int()) % SECPK1_N
        return (*common.point(), challenge, response)
