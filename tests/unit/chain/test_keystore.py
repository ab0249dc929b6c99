"""Keys in encrypted files."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from gridpact.chain.keys import address_of
from gridpact.chain.keystore import create_keystore, keystore_address, open_keystore
from gridpact.errors import InputError

KEY = "0x" + "42" * 32
FAST = 2**4  # what the work factor protects is not tested here


@pytest.fixture
def keystore(tmp_path: Path) -> Path:
    path = tmp_path / "manager.json"
    assert create_keystore(path, KEY, "open sesame", FAST) == address_of(KEY)
    return path


def test_keystore_givesBackTheKeyToTheRightPasswordOnly(keystore: Path) -> None:
    assert open_keystore(keystore, "open sesame") == KEY
    with pytest.raises(InputError, match="does not open with this password"):
        open_keystore(keystore, "open barley")


def test_keystore_holdsNoKeyInClear(keystore: Path) -> None:
    assert KEY[2:] not in keystore.read_text()
    assert stat.S_IMODE(keystore.stat().st_mode) == 0o600
    assert keystore_address(keystore) == address_of(KEY)


def test_keystore_isTheOneOfTheStandard(tmp_path: Path) -> None:
    """The test vector of the Web3 Secret Storage definition (scrypt): made by another program."""
    path = tmp_path / "vector.json"
    cipher = "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c"
    crypto = {
        "cipher": "aes-128-ctr",
        "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
        "ciphertext": cipher,
        "kdf": "scrypt",
        "kdfparams": {
            "dklen": 32,
            "n": 262144,
            "p": 8,
            "r": 1,
            "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
        },
        "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
    }
    path.write_text(json.dumps({"crypto": crypto, "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6", "version": 3}))
    assert open_keystore(path, "testpassword") == "0x7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"
    assert keystore_address(path) is None


def test_create_neverOverwrites(keystore: Path) -> None:
    before = keystore.read_text()
    with pytest.raises(InputError, match="exists already"):
        create_keystore(keystore, KEY, "other", FAST)
    assert keystore.read_text() == before


def test_create_failsOnAnEmptyPassword(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="needs a password"):
        create_keystore(tmp_path / "new.json", KEY, "", FAST)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid JSON"),
        ("[]", "no part 'crypto'"),
        ('{"version": 3}', "no part 'crypto'"),
        ('{"version": 3, "crypto": {}}', "is damaged"),
        ('{"version": 9, "crypto": {}}', "is damaged"),
    ],
)
def test_open_failsOnAnotherFile(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "key.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        open_keystore(path, "")


def test_open_failsWithoutFile(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="There is no keystore"):
        open_keystore(tmp_path / "key.json", "")


@pytest.mark.parametrize("key", [KEY[:-1], KEY + "0", KEY[:-2], "", "0x", "0x" + "g" * 64, "0x" + "0" * 64])
def test_key_hasAllItsDigits(tmp_path: Path, key: str) -> None:
    """What is a digit short would be the key of another account."""
    with pytest.raises(InputError, match="give 32 bytes in hexadecimal") as error:
        create_keystore(tmp_path / "key.json", key, "open sesame", FAST)
    assert "424242" not in str(error.value)
