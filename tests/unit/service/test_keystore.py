"""The encrypted key, and where its password comes from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gridpact.chain.account import address_of
from gridpact.errors import InputError
from gridpact.service.keystore import make_keystore, open_keystore, read_password

ROUNDS = 2**10  # of scrypt: a test need not be safe
PASSWORD = "correct horse"


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    make_keystore(tmp_path / "keystore.json", PASSWORD, ROUNDS)
    return tmp_path / "keystore.json"


def test_key_comesBack(tmp_path: Path) -> None:
    address = make_keystore(tmp_path / "keystore.json", PASSWORD, ROUNDS)
    key = open_keystore(tmp_path / "keystore.json", PASSWORD)
    assert address_of(key) == address
    text = (tmp_path / "keystore.json").read_text()
    assert key.removeprefix("0x") not in text
    assert PASSWORD not in text
    assert json.loads(text)["crypto"]["kdf"] == "scrypt"
    assert stat.S_IMODE((tmp_path / "keystore.json").stat().st_mode) == 0o600


def test_keys_differ(tmp_path: Path) -> None:
    assert make_keystore(tmp_path / "a", PASSWORD, ROUNDS) != make_keystore(tmp_path / "b", PASSWORD, ROUNDS)


def test_shortPassword_isRefused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="shorter than 8"):
        make_keystore(tmp_path / "keystore.json", "short", ROUNDS)
    assert not (tmp_path / "keystore.json").exists()


def test_password_fromAFile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "password").write_text("with a space \n")
    assert read_password(str(tmp_path / "password"), None, "it") == "with a space "
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password("$CREDENTIALS_DIRECTORY/password", None, "it") == "with a space "
    (tmp_path / "password").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_password(str(tmp_path / "password"), None, "it")
    with pytest.raises(InputError, match="cannot be read"):
        read_password(str(tmp_path / "nobody"), None, "it")


def test_password_fromTheEnvironment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", PASSWORD)
    assert read_password(None, "SECRET", "it") == PASSWORD
    monkeypatch.delenv("SECRET")
    with pytest.raises(InputError, match="SECRET holds no password"):
        read_password(None, "SECRET", "it")


def test_password_fromThePrompt() -> None:
    assert read_password(None, None, "it", ask=lambda prompt: PASSWORD, twice=True) == PASSWORD
    answers = iter(["one password", "another one"])
    with pytest.raises(InputError, match="differ"):
        read_password(None, None, "it", ask=lambda prompt: next(answers), twice=True)


def test_password_withoutATerminal() -> None:
    """pytest has no terminal on its standard input: nobody can be asked."""
    with pytest.raises(InputError, match="nobody can be asked"):
        read_password(None, None, "it")
