"""A household's private key in its keystore."""

from __future__ import annotations

from pathlib import Path

from gridpact.chain.keystore import open_keystore, read_password
from gridpact.service.settings import KeySettings

FOLDER_MODE, FILE_MODE = 0o700, 0o600


def key_of(settings: KeySettings, file: str | Path | None = None, variable: str | None = None) -> str:
    """The private key of a node.

    Args:
        file, variable: where its password is, else where the settings say.

    Raises:
        InputError: see `open_keystore` and `read_password`.
    """
    if file is None and variable is None:
        file, variable = settings.password_file, settings.password_env
    return open_keystore(settings.keystore, read_password(str(settings.keystore), file, variable))
