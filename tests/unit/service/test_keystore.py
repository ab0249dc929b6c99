"""The encrypted key, and where its password comes from."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gridpact.chain.keys import address_of
from gridpact.chain.keystore import PASSWORD as USUAL
from gridpact.chain.keystore import make_keystore, open_keystore, read_password
from gridpact.errors import InputError

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
    assert read_password("it", str(tmp_path / "password")) == "with a space "
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_password("it", "$CREDENTIALS_DIRECTORY/password") == "with a space "
    (tmp_path / "password").write_text("\n")
    with pytest.raises(InputError, match="is empty"):
        read_password("it", str(tmp_path / "password"))
    with pytest.raises(InputError, match="cannot be read"):
        read_password("it", str(tmp_path / "nobody"))


def test_password_fromTheEnvironment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", PASSWORD)
    assert read_password("it", variable="SECRET") == PASSWORD
    monkeypatch.setenv(USUAL, "the usual one")
    assert read_password("it", variable="SECRET") == PASSWORD
    assert read_password("it") == "the usual one"
    monkeypatch.delenv("SECRET")
    with pytest.raises(InputError, match="SECRET holds no password"):
        read_password("it", variable="SECRET")


def test_password_fromThePrompt(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(USUAL, raising=False)
    assert read_password("it", ask=lambda prompt: PASSWORD, twice=True) == PASSWORD
    answers = iter(["one password", "another one"])
    with pytest.raises(InputError, match="differ"):
        read_password("it", ask=lambda prompt: next(answers), twice=True)


def test_password_withoutATerminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """pytest has no terminal on its standard input: nobody can be asked."""
    monkeypatch.delenv(USUAL, raising=False)
    with pytest.raises(InputError, match="no terminal to ask at"):
        read_password("it")


@pytest.mark.parametrize("name", ["n", "r", "p", "dklen"])
@pytest.mark.parametrize("much", [2**40, 10**18, int("9" * 400)])
def test_keystoreThatWouldTakeDays_isRefusedAtOnce(keystore: Path, name: str, much: int) -> None:
    """A file that was damaged, or made so, in what it asks for: a node would neither start nor say why."""
    content = json.loads(keystore.read_text())
    content["crypto"]["kdfparams"][name] = much
    keystore.write_text(json.dumps(content))
    with pytest.raises(InputError, match="would take hours to open: it is damaged; restore it from your copy"):
        open_keystore(keystore, PASSWORD)
