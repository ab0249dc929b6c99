"""Private keys in encrypted files: Web3 Secret Storage, version 3, as wallets and other nodes read and write it."""

from __future__ import annotations

import getpass
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from eth_account import Account
from eth_typing import ChecksumAddress, HexStr

from gridpact.chain.contract import checked_address
from gridpact.chain.keys import address_of, new_key
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of, write_atomically

PASSWORD = "GRIDPACT_KEYSTORE_PASSWORD"
"""Environment variable with the password of a keystore."""

MOST_WORK = 2**23
"""Of opening a keystore, eight times what is usual, and 1 GB: a damaged file may ask for days, and for all memory."""

SHORTEST_PASSWORD = 8

SCRYPT_N = 2**17
"""Work factor of scrypt with r = 8 and p = 1: 128 MB and some 0.3 s (OWASP, Password Storage Cheat Sheet)."""


def create_keystore(path: Path, key: str, password: str, scrypt_n: int = SCRYPT_N) -> ChecksumAddress:
    """Writes a private key, encrypted, to a file that only its owner may read. Returns the address.

    Raises:
        InputError: the file exists already, the key is not valid, or the password is empty.
    """
    address = address_of(key)
    if not password:
        raise InputError(f"The keystore {path} needs a password: an empty one protects nothing.")
    if path.exists():
        raise InputError(f"The keystore {path} exists already: choose another name, it is never overwritten.")
    content = Account.encrypt(HexStr(key), password, kdf="scrypt", iterations=scrypt_n)
    try:
        write_atomically(path, json.dumps(content) + "\n", mode=0o600)
    except OSError as error:
        raise InputError(f"The keystore {path} cannot be written ({error.strerror}): choose another place.") from error
    return address


def keystore_address(path: Path) -> ChecksumAddress | None:
    """The address that a keystore tells without its password; None where it keeps that to itself."""
    address = _content(path).get("address")
    if not isinstance(address, str):
        return None
    return checked_address("0x" + address.lower().removeprefix("0x"))


def make_keystore(path: Path, password: str, scrypt_n: int | None = None) -> str:
    """Makes a key and writes it as `create_keystore` does. Returns its address.

    Raises:
        InputError: the password is too short, or the file exists.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"The password is shorter than {SHORTEST_PASSWORD} characters: choose a longer one.")
    return str(create_keystore(path, new_key(), password, scrypt_n or SCRYPT_N))


def open_keystore(path: Path, password: str) -> str:
    """The private key in a keystore.

    Raises:
        InputError: the file cannot be read, is no keystore, or does not open with this password.
    """
    content = _content(path)
    if _work(content) > MOST_WORK:
        raise InputError(f"The keystore {path} would take hours to open: it is damaged; restore it from your copy.")
    try:
        key = bytes(Account.decrypt(content, password))
    except ValueError as error:
        if "mac mismatch" in str(error).lower():
            raise InputError(f"The keystore {path} does not open with this password: check it.") from None
        raise InputError(f"The keystore {path} is damaged ({error}): restore it from your copy.") from None
    except Exception as error:  # what a damaged file raises has many kinds
        kind = type(error).__name__
        raise InputError(f"The keystore {path} is damaged ({kind}): restore it from your copy.") from None
    return "0x" + key.hex()


def _work(content: dict[str, Any]) -> int:
    """What opening takes, in blocks that are mixed or hashed, by what the file asks for; 0 where it does not say."""
    crypto = next((part for name, part in content.items() if name.lower() == "crypto"), None)
    parameters = crypto.get("kdfparams") if isinstance(crypto, dict) else None
    if not isinstance(parameters, dict):
        return 0
    asked = {name: n for name in ("n", "r", "p", "c", "dklen") if isinstance(n := parameters.get(name), int)}
    lengths = max(asked.get("dklen", 32) // 32, 1)
    return max(asked.get("n", 0) * asked.get("r", 1) * asked.get("p", 1), asked.get("c", 0) * lengths, lengths)


def read_password(
    what: str,
    file: str | Path | None = None,
    variable: str | None = None,
    ask: Callable[[str], str] = getpass.getpass,
    twice: bool = False,
) -> str:
    """A password: from a file, else from an environment variable, else from GRIDPACT_KEYSTORE_PASSWORD, else asked for.

    Args:
        what: what it opens, for the prompt.
        file: its path; environment variables in it are replaced, as systemd's $CREDENTIALS_DIRECTORY.
        variable: which environment variable, instead of the usual one.
        twice: whether to ask again, for a new password.

    Raises:
        InputError: there is none.
    """
    if file is not None:
        path = Path(os.path.expandvars(file)).expanduser()
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"The password file {path} cannot be read ({reason_of(error)}): check the path.") from None
        if not password:
            raise InputError(f"The password file {path} is empty: write the password into its first line.")
        return password
    given = os.environ.get(variable or PASSWORD, "")
    if given:
        return given
    if variable is not None:
        raise InputError(f"The environment variable {variable} holds no password: set it, or name a file.")
    if not sys.stdin.isatty() and ask is getpass.getpass:
        raise InputError(
            f"The password of {what} is needed, and there is no terminal to ask at: give a password file, or set"
            f" {PASSWORD}."
        )
    password = ask(f"Password of {what}: ")
    if twice and ask("The same again: ") != password:
        raise InputError("The two passwords differ: start again.")
    return password


def _content(path: Path) -> dict[str, Any]:
    try:
        content = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no keystore at {path}: check the path.") from None
    except OSError as error:
        raise InputError(f"The keystore {path} cannot be read ({error.strerror}): check its permissions.") from None
    except ValueError:
        raise InputError(f"{path} is no keystore: it is not valid JSON.") from None
    if not isinstance(content, dict) or "crypto" not in {str(name).lower() for name in content}:
        raise InputError(f"{path} is no keystore: it has no part 'crypto'.")
    return content
