"""Outages are waited out, lost answers asked for again, and nothing is done twice."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from chains import rpc, skip_without
from waiting import SECONDS, until
from web3 import Web3
from web3.types import RPCEndpoint, RPCResponse
from websockets.sync.server import ServerConnection, serve

from gridpact.chain.account import ChainAccount
from gridpact.chain.networks import open_network
from gridpact.chain.transport import SpendingMeter, WebSocketTransport
from gridpact.errors import ChainError


class Flaky:
    """A node that drops the first connections without an answer."""

    def __init__(self, drops: int, answer: str) -> None:
        self.drops = drops
        self.answer = answer

    def __call__(self, connection: ServerConnection) -> None:
        for message in connection:
            if self.drops > 0:
                self.drops -= 1
                connection.close()
                return
            if self.answer:
                connection.send(self.answer)
                continue
            number = json.loads(message)["id"]
            connection.send(json.dumps({"jsonrpc": "2.0", "method": "eth_subscription", "params": {}}))
            connection.send(json.dumps({"jsonrpc": "2.0", "id": number, "result": "0x5"}))


def asked(drops: int, patience: float, answer: str = "") -> int:
    """The chain id that a flaky node gives."""
    with serve(Flaky(drops, answer), "127.0.0.1", 0) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            port = server.socket.getsockname()[1]
            transport = WebSocketTransport(f"ws://127.0.0.1:{port}", patience)
            return int(Web3(transport, middleware=[]).eth.chain_id)
        finally:
            transport.close()
            server.shutdown()
            thread.join()


def test_request_isRepeated() -> None:
    assert asked(drops=2, patience=SECONDS) == 5


def test_request_isGivenUp() -> None:
    with pytest.raises(ChainError, match="does not answer"):
        asked(drops=100, patience=0.3)


def test_request_failsOnOtherLanguage() -> None:
    with pytest.raises(ChainError, match="does not speak JSON-RPC"):
        asked(drops=0, patience=SECONDS, answer="hello")


def test_meter_addsUp() -> None:
    total = SpendingMeter()
    for _ in range(2):
        one = SpendingMeter()
        one.requests["eth_call"] += 3
        one.gas["0x1"] += 21_000
        total.add(one)
    assert (total.rpc_calls, total.gas_used) == (6, 42_000)


@pytest.fixture
def slow() -> Iterator[Web3]:
    """A chain that makes blocks on command only."""
    skip_without("anvil")
    with open_network("anvil") as network:
        yield network.connect()


@pytest.fixture
def sender(slow: Web3) -> ChainAccount:
    key = "0x" + "42" * 32
    account = ChainAccount(slow, key, SECONDS, replace_after=0.3)
    rpc(slow, "anvil_setBalance", account.address, hex(10**18))
    account.settle(account.transfer(account.address, 1))
    rpc(slow, "evm_setAutomine", False)
    return account


def test_send_twiceIsOnce(slow: Web3, sender: ChainAccount) -> None:
    pending = sender.transfer(sender.address, 1)
    assert sender._submit(pending)  # as after an outage: 'already known'
    rpc(slow, "evm_mine")
    assert sender._submit(pending)  # 'nonce too low', and mined
    assert sender.settle(pending)["status"] == 1
    assert slow.eth.get_transaction_count(sender.address) == 2


def test_settle_offersMore(slow: Web3, sender: ChainAccount) -> None:
    pending = sender.transfer(sender.address, 1)

    def mine_a_later_version() -> None:
        first = pending.hashes[0].to_0x_hex()
        until(lambda: rpc(slow, "eth_getTransactionByHash", first) is None)  # another took its place
        rpc(slow, "evm_mine")

    miner = threading.Thread(target=mine_a_later_version)
    miner.start()
    receipt = sender.settle(pending)
    miner.join()
    assert receipt["status"] == 1
    assert receipt["transactionHash"] in pending.hashes[1:]  # a later version, at a higher fee
    rpc(slow, "evm_setAutomine", True)
    sender.settle(sender.transfer(sender.address, 1))  # the nonce goes on
    assert slow.eth.get_transaction_count(sender.address) == 3


def test_settle_saysThatThereAreNoBlocks(slow: Web3, sender: ChainAccount) -> None:
    sender.patience = 0.3
    with pytest.raises(ChainError, match="check that it produces blocks"):
        sender.settle(sender.transfer(sender.address, 1))


class Lossy(WebSocketTransport):
    """A connection that breaks after the chain has done what was asked, before it says so."""

    def __init__(self, url: str, methods: set[str]) -> None:
        super().__init__(url)
        self.methods = methods
        self.lost: list[str] = []

    def _exchange(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        answer = super()._exchange(method, params)
        if method in self.methods and self.lost.count(method) < 2:
            self.lost.append(method)
            self.close()
            raise OSError("gone")
        return answer


@pytest.mark.parametrize("automine", [True, False])
def test_send_isOnceThoughAnswersAreLost(automine: bool) -> None:
    skip_without("anvil")
    with open_network("anvil") as network:
        web3 = network.connect()
        transport = Lossy(str(network.rpc_url).replace("http", "ws"), {"eth_sendRawTransaction"})
        account = ChainAccount(Web3(transport, middleware=[]), "0x" + "42" * 32, SECONDS)
        rpc(web3, "anvil_setBalance", account.address, hex(10**18))
        rpc(web3, "evm_setAutomine", automine)
        pending = account.transfer("0x" + "12" * 20, 1)
        rpc(web3, "evm_mine")
        receipt = account.settle(pending)
        transport.close()
        assert receipt["status"] == 1
        assert transport.lost.count("eth_sendRawTransaction") == 2
        assert web3.eth.get_balance(Web3.to_checksum_address("0x" + "12" * 20)) == 1
