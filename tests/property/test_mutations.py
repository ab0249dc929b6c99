"""Files that people wrote, or that broke on their way, drawn by chance: a command does its work, or says one sentence.

Every file that a command reads is changed in some way: cells, keys, lines, bytes, encodings. `make mutations` draws
more of them.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import random
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from unit.service.helpers import FEEDER, HOUSEHOLD, OPERATOR

from gridpact.chain.keystore import create_keystore, keystore_address, open_keystore
from gridpact.chain.record import Record
from gridpact.cli import main
from gridpact.community.read import read_community, shipped_cases
from gridpact.community.readings import HowToRead
from gridpact.community.tariff import from_table
from gridpact.errors import GridpactError
from gridpact.manage.deployment import Parameters
from gridpact.manage.enrolment import read_accounts
from gridpact.node.household_file import read_view, write_view
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.alone import ANY_PRICE
from gridpact.service.forecast import take_forecast
from gridpact.service.health import Health
from gridpact.service.plan import own_prices, view_of
from gridpact.service.settings import read_settings

DRAWS = int(os.environ.get("GRIDPACT_MUTATIONS", "25"))
"""Of each kind of file."""

ROOT = Path(__file__).resolve().parents[2]
KEY, PASSWORD = "0x" + "11" * 32, "correct horse"
CELLS = (
    "", " ", "-", "-1", "0", "1e9", "1e999", "-1e-320", "NaN", "inf", "9" * 400, "9" * 5000, "1_000", "1,5", "1.5",
    "true", "null", "[]", "{}", "'", '"', '"a', "#", "\\", "\0", "\ufeff", "\u0661\u0662", "\u00b2", "\U0001f600",
    "24:00", "25:61", "2024-02-30 00:00", "T", "0x10", "=1+1", "127", "128", "2024-06-20T00:00+25:00", "a" * 70_000,
    "[" * 3000, '{"a":' * 3000,
)  # fmt: skip
TOKEN = re.compile(r"[^\s,;=\[\]{}:\"]+")


def changed(draw: random.Random, text: str) -> bytes:
    """A text with one to three changes."""
    data = text.encode()
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        data = draw.choice((_token, _token, _token, _line, _bytes, _whole))(draw, data)
    return data


def _token(draw: random.Random, data: bytes) -> bytes:
    """One word, number or text becomes another."""
    text = data.decode(errors="surrogateescape")
    found = list(TOKEN.finditer(text))
    if not found:
        return data
    one = draw.choice(found)
    other = draw.choice((draw.choice(CELLS), draw.choice(CELLS), draw.choice(found)[0], one[0] + draw.choice(CELLS)))
    return (text[: one.start()] + other + text[one.end() :]).encode(errors="surrogateescape")


def _line(draw: random.Random, data: bytes) -> bytes:
    """Lines are missing, doubled, swapped, cut or joined."""
    lines = data.split(b"\n")
    k, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    match draw.randrange(5):
        case 0:
            del lines[k]
        case 1:
            lines.insert(other, lines[k])
        case 2:
            lines[k], lines[other] = lines[other], lines[k]
        case 3:
            lines[k] = lines[k][: len(lines[k]) // 2]
        case _:
            lines[k] += b"," + lines[other]
    return b"\n".join(lines)


def _bytes(draw: random.Random, data: bytes) -> bytes:
    """Bytes are others, missing, or more."""
    at = draw.randrange(len(data) + 1)
    return data[:at] + draw.randbytes(draw.randrange(4)) + data[at + draw.randrange(4) :]


def _whole(draw: random.Random, data: bytes) -> bytes:
    """All of it in another encoding, cut, doubled, or empty."""
    text = data.decode(errors="replace")
    return draw.choice(
        (
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-8-sig"),
            lambda: text.encode("latin-1", "replace"),
            lambda: text.replace("\n", "\r").encode(),
            lambda: text.replace(",", ";").encode(),
            lambda: data[: draw.randrange(len(data) + 1)],
            lambda: data + data,
            lambda: b"",
        )
    )()


def told(read: Callable[[], object]) -> None:
    """Whatever is wrong is an error of gridpact's own."""
    with contextlib.suppress(GridpactError):
        read()


def run(*arguments: str) -> None:
    """The same of a command."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main([*arguments])
    print(err.getvalue(), end="", file=sys.stderr)
    assert status in (0, 1, 2, 3)
    assert "mistake in gridpact" not in err.getvalue(), err.getvalue()
    if status:
        assert err.getvalue().count("gridpact: ") == 1, err.getvalue()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One of each file, as it should be."""
    folder = tmp_path_factory.mktemp("files")
    shutil.copytree(shipped_cases()["tiny3"].parent, folder / "case")
    (folder / "household.toml").write_text(HOUSEHOLD)
    (folder / "operator.toml").write_text(OPERATOR)
    (folder / "feeder.csv").write_text(FEEDER)
    (folder / "forecasts").mkdir()
    forecast = {"day": "2026-11-22", "load_kw": [0.4] * 4, "pv_kw": [0, 1, 1, 0.0], "battery_start_kwh": 3}
    (folder / "forecasts" / "2026-11-22.json").write_text(json.dumps(forecast))
    rows = [f"2026-11-22 {hour:02d}:00,0.4,{hour % 12}" for hour in (0, 6, 12, 18)]
    (folder / "forecast.csv").write_text("\n".join(["time,load_kw,pv_kw", *rows]) + "\n")
    create_keystore(folder / "keystore.json", KEY, PASSWORD, scrypt_n=2**4)
    (folder / "accounts.csv").write_text("node,address\n0,0x" + "12" * 20 + "\n1,0x" + "13" * 20 + "\n")
    day = (case := read_community("tiny3")).on(case.days[0])
    write_view(node_views(day, Scenario.TG, NetworkAgreement.DSO)[3], folder / "view.json")
    write_view(node_views(day, Scenario.TG, NetworkAgreement.DSO)[0], folder / "operator.json")
    shutil.copy(ROOT / "deploy" / "parameters" / "development.json", folder / "parameters.json")
    abi = [{"type": "function", "name": "f", "inputs": [], "outputs": [], "stateMutability": "view"}]
    address = "0x" + "ab" * 20
    Record("anvil", 31337, 2, *[address] * 5, {"n": 4}, {"steps": 4}, {"token": "0x1"}, "0.8.30", *[abi] * 4).write(
        folder / "contracts.json"
    )
    Health(node=3, name="cem").write(folder / "health.json")
    (folder / "readings.csv").write_text((ROOT / "docs" / "examples" / "readings.csv").read_text()[:9000])
    hours = [f"2026-11-22 {hour:02d}:00,0.{20 + hour},0.08" for hour in range(24)]
    (folder / "prices.csv").write_text("\n".join(["time,import_price,feed_in_price", *hours]) + "\n")
    return folder


def plan(path: Path) -> None:
    """All that a service does with its files before it asks the chain."""
    settings = read_settings(path)
    day, steps, hours = "2026-11-22", 4, 6.0
    forecast = None if settings.forecast is None else take_forecast(settings.forecast, day, steps, 0.1)
    source = settings.tariff.source
    prices = own_prices(settings.tariff, steps, forecast) if source != "published" else None
    from gridpact.community.model import Prices

    view = view_of(
        settings,
        day,
        hours,
        forecast,
        prices or Prices([ANY_PRICE] * steps),
        frozenset(range(4)),
        4,  # type: ignore[arg-type]
    )
    if view.household is not None:
        fallback(view)


CASE = ("community.toml", "households.csv", "feeder.csv", "prices.csv", "load_kw.csv", "pv_kw.csv")
READERS: dict[str, Callable[[Path], object]] = {
    **{f"case/{name}": lambda path: run("community", "show", str(path.parent)) for name in CASE},
    "household.toml": plan,
    "operator.toml": plan,
    "feeder.csv": lambda path: plan(path.parent / "operator.toml"),
    "forecasts/2026-11-22.json": lambda path: plan(path.parent.parent / "household.toml"),
    "forecast.csv": lambda path: plan(path.parent / "tabled.toml"),
    "keystore.json": lambda path: (keystore_address(path), open_keystore(path, PASSWORD)),
    "accounts.csv": read_accounts,
    "view.json": read_view,
    "operator.json": read_view,
    "parameters.json": Parameters.read,
    "contracts.json": Record.read,
    "health.json": Health.read,
    "readings.csv": lambda path: run(
        "community", "new", "--from", str(path), "--out", str(path.parent / "out"), "--price", "0.3"
    ),
    "prices.csv": lambda path: from_table(path, 60, HowToRead(), "import_price"),
}


@pytest.mark.parametrize("name", READERS)
def test_whateverIsInAFile_isASentence(name: str, folder: Path, tmp_path: Path) -> None:
    place = Path(shutil.copytree(folder, tmp_path / "files"))
    (place / "tabled.toml").write_text(HOUSEHOLD.replace('"forecasts/{day}.json"', '"forecast.csv"'))
    text = (place / name).read_text()
    for seed in range(DRAWS):
        (place / name).write_bytes(data := changed(random.Random(f"{name} {seed}"), text))
        shutil.rmtree(place / "out", ignore_errors=True)
        try:
            told(lambda: READERS[name](place / name))
        except Exception as error:
            error.add_note(f"{name}, draw {seed}: {data[:300]!r}")
            raise


@pytest.mark.parametrize("name", READERS)
def test_folderInPlaceOfAFile_isASentence(name: str, folder: Path, tmp_path: Path) -> None:
    """As people name the folder that a file is in; without the numbers of the system's errors."""
    place = Path(shutil.copytree(folder, tmp_path / "files"))
    (place / "tabled.toml").write_text(HOUSEHOLD.replace('"forecasts/{day}.json"', '"forecast.csv"'))
    (place / name).unlink()
    (place / name).mkdir()
    out, err = io.StringIO(), io.StringIO()
    said = ""
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            READERS[name](place / name)
        except GridpactError as error:
            said = str(error)
    said += err.getvalue().strip()
    assert said.count("\n") == 0
    assert "irectory" in said or "folder" in said
    assert "Errno" not in said
