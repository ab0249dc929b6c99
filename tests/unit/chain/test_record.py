"""The record of a deployment as a file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gridpact.chain.record import Record
from gridpact.errors import InputError

ADDRESS = "0x" + "12" * 20
RECORD = Record(
    network="anvil",
    chain_id=31337,
    block=4,
    manager=ADDRESS,
    referee=ADDRESS,
    aggregator=ADDRESS,
    settlement=ADDRESS,
    token=ADDRESS,
    theta={"n": 2},
    setting={"steps": 24},
    transactions={"VirtualAggregator": "0x00"},
    compiler="0.8.30",
    referee_abi=[],
    aggregator_abi=[],
    settlement_abi=[],
    token_abi=[],
)


def test_record_isReadAsWritten(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "record.json"
    RECORD.write(path)
    assert Record.read(path) == RECORD
    assert [file.name for file in path.parent.iterdir()] == ["record.json"]


@pytest.mark.parametrize(("referee", "sealed"), [("Referee", False), ("SealedReferee", True)])
def test_recordOfAnEarlierVersion_tellsItsForm(tmp_path: Path, referee: str, sealed: bool) -> None:
    """By the referee that was deployed."""
    path = tmp_path / "record.json"
    RECORD.write(path)
    values = json.loads(path.read_text())
    del values["sealed"]
    path.write_text(json.dumps(values | {"transactions": {referee: "0x00"}}))
    assert Record.read(path).sealed is sealed


def test_record_replacesAnOlderOne(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    RECORD.write(path)
    replace(RECORD, block=5).write(path)
    assert Record.read(path).block == 5


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"aggregator": None}, "no address"),
        ({"token": "0x12"}, "'token'"),
        ({"referee": "0x12"}, "'referee'"),
        ({"block": "4"}, "whole number"),
        ({"theta": []}, "object"),
        ({"token_abi": {}}, "list"),
        ({"format": 9}, "format 9"),
        ({"sealed": "yes"}, "'sealed' must be true or false"),
        ({"sealed": 1}, "'sealed' must be true or false"),
        ({"supplier": 5}, "'supplier' must be text"),
    ],
)
def test_read_failsOnWrongValue(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    path = tmp_path / "record.json"
    RECORD.write(path)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(InputError, match=message):
        Record.read(path)


def test_read_takesRecordsOfEarlierVersions(tmp_path: Path) -> None:
    """They did not note supplier, metering account and commit."""
    path = tmp_path / "record.json"
    replace(RECORD, supplier=ADDRESS, metering=ADDRESS, commit="abc").write(path)
    values = json.loads(path.read_text())
    for name in ("supplier", "metering", "commit"):
        del values[name]
    path.write_text(json.dumps(values))
    assert Record.read(path) == RECORD


def test_onChain_refusesAnotherChain(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    RECORD.write(path)
    assert Record.on_chain(path, "anvil", 31337) == RECORD
    with pytest.raises(InputError, match=r"is of anvil \(chain 31337\), but the node at --rpc is on chain 1: give the"):
        Record.on_chain(path, "mainnet", 1)


def test_read_failsOnMissingKey(tmp_path: Path) -> None:
    path = tmp_path / "record.json"
    RECORD.write(path)
    values = json.loads(path.read_text())
    del values["settlement"]
    path.write_text(json.dumps(values))
    with pytest.raises(InputError, match="lacks 'settlement'"):
        Record.read(path)


@pytest.mark.parametrize(("text", "message"), [("{", "not valid JSON"), ("[]", "not a JSON object")])
def test_read_failsOnOtherFile(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        Record.read(path)


def test_read_failsWithoutFile(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="deploy first"):
        Record.read(tmp_path / "record.json")
