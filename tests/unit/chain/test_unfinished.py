"""Deployments that stopped half-way: what is noted of them, and what the chain says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hexbytes import HexBytes
from waiting import SECONDS
from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.artifacts import REFEREE, TOKEN, load
from gridpact.chain.keys import new_key
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.unfinished import Unfinished, wait_for_sent
from gridpact.errors import ChainError, InputError

CONSTANTS = {"theta": {"n": 3}, "token": None}


@pytest.fixture
def manager(anvil: Network) -> ChainAccount:
    account = ChainAccount(anvil.connect(), new_key())
    anvil.fund([account.address], ETHER)
    return account


def begun(manager: ChainAccount, path: Path, lasting: bool = True, **constants: Any) -> Unfinished:
    return Unfinished.of(path, manager.web3, manager.address, CONSTANTS | constants, lasting)


def creation(web3: Web3, name: str) -> Any:
    artifact: Any = load(name)
    return web3.eth.contract(abi=artifact.abi, bytecode=artifact.bytecode).constructor()


def data(call: Any) -> bytes:
    return bytes(HexBytes(call.data_in_transaction))


def test_nothingIsWrittenBeforeItIsSent(manager: ChainAccount, tmp_path: Path) -> None:
    unfinished = begun(manager, tmp_path / "record.json")
    assert unfinished.receipt(TOKEN, b"", 0.0) is None
    assert list(tmp_path.iterdir()) == []
    unfinished.before(TOKEN)
    assert begun(manager, tmp_path / "record.json").sent == unfinished.sent
    unfinished.forget()
    assert list(tmp_path.iterdir()) == []


def test_whatStandsIsFound(manager: ChainAccount, tmp_path: Path) -> None:
    """By its nonce, whether or not anybody waited for the receipt; what never reached the chain is not."""
    web3, call = manager.web3, creation(manager.web3, TOKEN)
    begun(manager, tmp_path / "record.json").before(TOKEN)
    assert begun(manager, tmp_path / "record.json").receipt(TOKEN, data(call), 0.0) is None
    sent = manager.send(call)
    again = begun(manager, tmp_path / "record.json")
    assert again.receipt(TOKEN, data(call), 0.0) == sent
    again.after(TOKEN, sent)
    assert begun(manager, tmp_path / "record.json").receipt(TOKEN, data(call), 0.0) == sent
    with pytest.raises(InputError, match="by another version of gridpact, or from other constants"):
        again.receipt(TOKEN, data(creation(web3, REFEREE)), 0.0)


def test_whatWaitsIsWaitedFor(anvil: Network, manager: ChainAccount, tmp_path: Path) -> None:
    web3, call = manager.web3, creation(manager.web3, TOKEN)
    unfinished = begun(manager, tmp_path / "record.json")
    unfinished.before(TOKEN)
    web3.provider.make_request("evm_setAutomine", [False])  # type: ignore[arg-type]
    try:
        pending = manager.post(call)
        assert not wait_for_sent(web3, manager.address, 0.0)
        with pytest.raises(ChainError, match="was sent and is in no block yet: wait until it is"):
            unfinished.receipt(TOKEN, data(call), 0.0)
    finally:
        web3.provider.make_request("evm_setAutomine", [True])  # type: ignore[arg-type]
        web3.provider.make_request("evm_mine", [])  # type: ignore[arg-type]
    assert wait_for_sent(web3, manager.address, SECONDS)
    receipt = manager.settle(pending)
    assert unfinished.receipt(TOKEN, data(call), SECONDS) == receipt


def test_anotherDeploymentIsNotGoneOnWith(manager: ChainAccount, tmp_path: Path) -> None:
    record, note = tmp_path / "record.json", tmp_path / "record.json.unfinished"
    begun(manager, record).before(TOKEN)
    stranger = ChainAccount(manager.web3, new_key())
    for account, constants, said in (
        (manager, {"theta": {"n": 4}}, "begun with another theta, and not finished"),
        (stranger, {}, f"begun by account {manager.address}, and not finished"),
    ):
        with pytest.raises(InputError, match=said):
            begun(account, record, **constants)
    told = json.loads(note.read_text())
    told["about"]["genesis"] = "0x12"
    note.write_text(json.dumps(told))
    with pytest.raises(InputError, match=f"begun on another chain, and not finished: .* remove {note} to begin anew"):
        begun(manager, record)
    assert begun(manager, record, lasting=False).sent == {}  # chains of this machine come and go
    for broken in ("{", "[]", '{"about": {}}'):
        note.write_text(broken)
        with pytest.raises(InputError, match="cannot be read"):
            begun(manager, record)
