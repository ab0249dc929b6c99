"""`gridpact household` and `gridpact node --config` up to the chain: files, passwords, and what is refused."""

from __future__ import annotations

import stat
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gridpact.chain import keystore
from gridpact.chain.keys import address_of
from gridpact.chain.keystore import open_keystore
from gridpact.cli import main
from gridpact.community.model import Feeder
from gridpact.service.health import STALE_SECONDS, Health
from gridpact.service.settings import read_settings

PASSWORD = "correct horse"

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A command: exit status, standard output, standard error."""
    monkeypatch.setattr(keystore, "SCRYPT_N", 2**10)
    monkeypatch.setenv("SECRET", PASSWORD)

    def command(*arguments: str | Path) -> tuple[int, str, str]:
        status = main([str(one) for one in arguments])
        out, err = capsys.readouterr()
        return status, out, err

    return command


@pytest.fixture
def folder(tmp_path: Path, run: Run) -> Path:
    status, _, err = run(
        "household", "new", "--name", "cem", "--node", 3, "--out", tmp_path / "cem", "--partners", "1,2",
        "--contracts", tmp_path / "contracts.json", "--password-env", "SECRET",
    )  # fmt: skip
    assert (status, err) == (0, "")
    return tmp_path / "cem"


def test_new_makesAFolder(tmp_path: Path, run: Run) -> None:
    out = tmp_path / "ann"
    status, said, err = run("household", "new", "--node", 1, "--out", out, "--password-env", "SECRET")
    assert (status, err) == (0, "")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (out, *out.iterdir())}
    assert modes == {"ann": 0o700, "forecasts": 0o700, "keystore.json": 0o600, "household.toml": 0o600}
    settings = read_settings(out / "household.toml")
    assert (settings.node, settings.name) == (1, "node 1")
    key = open_keystore(settings.key.keystore, PASSWORD)
    assert address_of(key) in said, "what the manager enrols"
    written = said + "".join(path.read_text() for path in out.iterdir() if path.is_file())
    assert key.removeprefix("0x") not in written
    assert PASSWORD not in written


def test_new_forTheOperator(tmp_path: Path, run: Run) -> None:
    feeder = tmp_path / "feeder.csv"
    feeder.write_text("node,parent,length_m,resistance_ohm_per_km,reactance_ohm_per_km\n1,0,50,0.6,0.1\n")
    (tmp_path / "password").write_text(PASSWORD)
    out = tmp_path / "dso"
    status, _, err = run(
        "household", "new", "--node", 0, "--out", out, "--feeder", feeder, "--password-file", tmp_path / "password"
    )
    assert (status, err) == (0, "")
    settings = read_settings(out / "household.toml")
    assert isinstance(settings.feeder, Feeder)
    assert settings.feeder.parent == {1: 0}
    assert not (out / "forecasts").exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("--node", "128"), "--node 128 must be a number from 0 to 127"),
        (("--node", "1", "--partners", "2;3"), "must be node numbers with commas between"),
        (("--node", "1", "--partners", "1,2"), "--partners: 1 is no other household"),
        (("--node", "1", "--name", 'x"y'), "cannot stand in household.toml"),
        (("--node", "1", "--scenario", "b"), "there is no scenario 'b'"),
        (("--node", "1", "--password-env", "NOTHING"), "The environment variable NOTHING holds no password"),
        (("--node", "1"), "there is no terminal to ask at"),
    ],
)
def test_new_refuses(tmp_path: Path, run: Run, arguments: tuple[str, ...], told: str) -> None:
    out = tmp_path / "new"
    status, _, err = run("household", "new", "--out", out, *arguments)
    assert status == 2
    assert told in err
    assert err.count("\n") == 1
    assert not out.exists(), "nothing is left behind"


def test_new_neverReplaces(folder: Path, run: Run) -> None:
    before = (folder / "keystore.json").read_bytes()
    status, _, err = run("household", "new", "--node", 3, "--out", folder, "--password-env", "SECRET")
    assert status == 2
    assert "is there already and not empty" in err
    assert (folder / "keystore.json").read_bytes() == before


@pytest.fixture
def ready(folder: Path) -> Path:
    """With a forecast to be asked for; there is no record, so a service goes no further than that."""
    return folder / "household.toml"


def test_node_beginsWithTheRecord(ready: Path, run: Run) -> None:
    status, _, err = run("node", "--config", ready, "--password-env", "SECRET")
    assert status == 2
    assert "There is no record of a deployment at" in err


def test_node_withAWrongPassword(ready: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTHER", "wrong horse")
    status, _, err = run("node", "--config", ready, "--password-env", "OTHER")
    assert status == 2
    assert "does not open with this password" in err
    assert "wrong horse" not in err


def test_node_takesThePasswordOfItsFile(ready: Path, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also where the file is named as seen from the folder, as all paths, or in a folder that a variable names."""
    text = ready.read_text()
    (ready.parent / "secret").write_text(PASSWORD)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(ready.parent))
    for file in (f"{ready.parent}/secret", "secret", "$CREDENTIALS_DIRECTORY/secret"):
        ready.write_text(
            text.replace('# password_file = "$CREDENTIALS_DIRECTORY/password"', f'password_file = "{file}"')
        )
        _, _, err = run("node", "--config", ready)
        assert "There is no record" in err, file
    ready.write_text(text.replace('# password_env = "GRIDPACT_PASSWORD"', 'password_env = "SECRET"'))
    _, _, err = run("node", "--config", ready)
    assert "There is no record" in err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "give --config for a service, or --contracts, --household, --key-file, --rpc, too"),
        (("--household", "x"), "give --config for a service, or --contracts, --key-file, --rpc, too, for one round"),
        (("--config", "x", "--rpc", "http://x"), "--config has all that a service needs: leave --rpc out"),
        (("--config", "no/such.toml"), "there is no file 'no/such.toml'"),
    ],
)
def test_node_refuses(run: Run, arguments: tuple[str, ...], told: str) -> None:
    status, _, err = run("node", *arguments)
    assert status == 2
    assert told in err


def test_health_inOneLine(ready: Path, run: Run) -> None:
    status, _, err = run("household", "health", "--config", ready)
    assert status == 2
    assert "there is no health" in err
    health = Health(3, "cem", chain=True)
    health.write(file := ready.parent / "state" / "health.json")
    status, out, _ = run("household", "health", "--config", ready)
    assert (status, out) == (0, f"{health.line()}\n")
    text = file.read_text().replace(str(health.at), str(time.time() - STALE_SECONDS - 60))
    file.write_text(text)
    status, out, _ = run("household", "health", "--config", ready)
    assert status == 1
    assert out.endswith("; no sign of life for 31 min\n")
