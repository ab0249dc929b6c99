"""Private keys: what they sign, and whose signature something is."""

from __future__ import annotations

from functools import lru_cache

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_typing import ChecksumAddress, Hash32
from eth_utils.address import to_checksum_address
from eth_utils.exceptions import ValidationError

from gridpact.errors import InputError

NOBODY = "0x" + 40 * "0"
"""The signer of what nobody has signed."""


def new_key() -> str:
    """A fresh private key."""
    return "0x" + bytes(Account.create().key).hex()


def address_of(key: str) -> ChecksumAddress:
    """The address of a private key."""
    try:
        if len(key.removeprefix("0x")) != 64:  # what is shorter would be taken for a number
            raise ValueError("length")
        address: ChecksumAddress = Account.from_key(key).address
    except Exception as error:  # eth_account raises several kinds; none may show the key
        raise InputError("A private key is not valid: give 32 bytes in hexadecimal.") from error.with_traceback(None)
    return address


def sign_digest(key: str, digest: bytes) -> tuple[bytes, bytes]:
    """Signs a digest. Returns r and vs of the EIP-2098 form."""
    return signed_by(Account.from_key(key), digest)


def signed_by(signer: LocalAccount, digest: bytes) -> tuple[bytes, bytes]:
    """As `sign_digest`, where the key is unpacked already."""
    signed = signer.unsafe_sign_hash(Hash32(digest))
    return signed.r.to_bytes(32, "big"), (signed.s | (signed.v - 27) << 255).to_bytes(32, "big")


def signer_of(digest: bytes, r: bytes, vs: bytes) -> str:
    """Who signed a digest, by a signature in EIP-2098 form; `NOBODY` where the contract takes it for none."""
    word = int.from_bytes(vs, "big")
    v, s = word >> 255, word & ((1 << 255) - 1)
    if s > SECPK1_N // 2:  # the second of the two signatures that anybody can make of one
        return NOBODY
    try:
        signature = Signature(vrs=(v, int.from_bytes(r, "big"), s))
        return _checksummed(signature.recover_public_key_from_msg_hash(digest).to_canonical_address())
    except (BadSignature, ValidationError):
        return NOBODY


@lru_cache(maxsize=1024)
def _checksummed(address: bytes) -> str:
    """For the same few accounts, again and again."""
    return str(to_checksum_address(address))
