"""A household's private key in its keystore, and the password of it."""

from __future__ import annotations

import getpass
import os
import sys
from collections.abc import Callable
from pathlib import Path

from gridpact.chain.account import new_key
from gridpact.chain.keystore import SCRYPT_N, create_keystore, open_keystore
from gridpact.errors import InputError
from gridpact.service.settings import KeySettings

SHORTEST_PASSWORD = 8
FOLDER_MODE, FILE_MODE = 0o700, 0o600


def make_keystore(path: Path, password: str, rounds: int | None = None) -> str:
    """Makes a key and writes it, encrypted. Returns its address.

    Raises:
        InputError: the password is too short, or the file exists.
    """
    if len(password) < SHORTEST_PASSWORD:
        raise InputError(f"the password is shorter than {SHORTEST_PASSWORD} characters: choose a longer one")
    return str(create_keystore(path, new_key(), password, rounds or SCRYPT_N))


def key_of(settings: KeySettings, file: str | None = None, variable: str | None = None) -> str:
    """The private key of a node.

    Args:
        file, variable: where its password is, else where the settings say.

    Raises:
        InputError: see `open_keystore` and `read_password`.
    """
    if file is None and variable is None:
        file, variable = settings.password_file, settings.password_env
    return open_keystore(settings.keystore, read_password(file, variable, str(settings.keystore)))


def read_password(
    file: str | None, variable: str | None, what: str, ask: Callable[[str], str] = getpass.getpass, twice: bool = False
) -> str:
    """A password from a file, from an environment variable, or, where neither is named, from the terminal.

    Args:
        file: its path; environment variables in it are replaced, as systemd's $CREDENTIALS_DIRECTORY.
        what: what it opens, for the prompt.
        twice: whether to ask again, for a new password.

    Raises:
        InputError: there is none.
    """
    if file is not None:
        path = Path(os.path.expandvars(file)).expanduser()
        try:
            password = path.read_text(encoding="utf-8").rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the password file '{path}' cannot be read: {error}") from None
        if not password:
            raise InputError(f"the password file '{path}' is empty: write the password into its first line")
        return password
    if variable is not None:
        password = os.environ.get(variable, "")
        if not password:
            raise InputError(f"the environment variable {variable} holds no password: set it, or name a file")
        return password
    if not sys.stdin.isatty() and ask is getpass.getpass:
        raise InputError(
            f"nobody can be asked for the password of {what} here: name a password_file or password_env in [key], or "
            "give --password-file or --password-env"
        )
    password = ask(f"Password of {what}: ")
    if twice and ask("The same again: ") != password:
        raise InputError("the two passwords differ: start again")
    return password
