"""The chain inside the process says how much gas is enough: never too little, hardly more, and in two runs."""

from __future__ import annotations

from typing import Any

import pytest
from eth_tester import EthereumTester
from eth_tester.exceptions import TransactionNotFound
from web3 import Web3

from gridpact.chain import embedded
from gridpact.chain.networks import EMBEDDED, open_network
from unit.chain.synthetic import FEEDER, played

WANTS_A_MILLION = "0x600e600a5f39600e5ff3" + "620f42405a11600c575f5ffd5b00"
"""Refuses where not a million gas is left, and uses next to none."""
REFUSES = "0x6003600a5f3960035ff3" + "5f5ffd"


def test_gasOfARound_isEnough_andHardlyMore(monkeypatch: pytest.MonkeyPatch) -> None:
    """Deployments, calls of calls and of libraries, as a round has them: each is tried with what is said, and fails
    with a twentieth less, or never needs what a transaction takes anyhow."""
    estimate, run = embedded.sufficient_gas, embedded._run
    tried: list[int] = []
    estimates: list[int] = []

    def counting(state: Any, transaction: Any, gas: int) -> Any:
        tried.append(gas)
        return run(state, transaction, gas)

    def comparing(state: Any, transaction: Any) -> int:
        tried.clear()
        gas = estimate(state, transaction)
        assert len(tried) <= 2
        assert not run(state, transaction, gas).is_error
        assert run(state, transaction, gas * 19 // 20).is_error
        estimates.append(gas)
        return gas

    monkeypatch.setattr(embedded, "_run", counting)
    monkeypatch.setattr(embedded, "sufficient_gas", comparing)
    with open_network(EMBEDDED) as network:
        play = played(network, FEEDER, steps=2)
        play.iterate(play.open(), 1)
        play.close()
    assert len(estimates) > 5


def test_gasThatACallAsksFor_isSearched() -> None:
    with open_network(EMBEDDED) as network:
        web3 = network.connect()
        contract = deployed(web3, WANTS_A_MILLION)
        gas = web3.eth.estimate_gas({"from": web3.eth.accounts[0], "to": contract})
        receipt = sent(web3, {"to": contract, "gas": gas})
    assert receipt["status"] == 1
    assert 1_000_000 < gas < 1_000_000 + 21_000 + 21_000 + 1000  # of every transaction, and py-evm's tolerance


def test_transferTakesWhatEveryTransactionTakes() -> None:
    with open_network(EMBEDDED) as network:
        web3 = network.connect()
        assert web3.eth.estimate_gas({"from": web3.eth.accounts[0], "to": web3.eth.accounts[1]}) == 21_000


def test_whatIsRefused_isRefused() -> None:
    with open_network(EMBEDDED) as network:
        web3 = network.connect()
        contract = deployed(web3, REFUSES)
        answer = web3.provider.make_request(
            "eth_estimateGas",  # type: ignore[arg-type]
            [{"from": web3.eth.accounts[0], "to": contract}],
        )
    assert "reverted" in answer["error"]["message"]  # type: ignore[index]


def test_receiptOfATransactionThatWasTakenBack_isForgotten() -> None:
    with open_network(EMBEDDED) as network:
        web3 = network.connect()
        tester = web3.provider.ethereum_tester  # type: ignore[attr-defined]
        before = tester.take_snapshot()
        first = sent(web3, {"to": web3.eth.accounts[1], "gas": 21_000})
        once, again = (tester.get_transaction_receipt("0x" + first["transactionHash"].hex()) for _ in range(2))
        assert once == again
        assert once["block_hash"] == "0x" + first["blockHash"].hex()
        tester.revert_to_snapshot(before)
        with pytest.raises(TransactionNotFound):
            tester.get_transaction_receipt("0x" + first["transactionHash"].hex())
        tester.mine_blocks(2)
        moved = sent(web3, {"to": web3.eth.accounts[1], "gas": 21_000})
    assert moved["blockNumber"] == first["blockNumber"] + 2


def test_logs_areThoseOfTheReceipts() -> None:
    """Asked for twice, and by a tester that remembers nothing."""
    with open_network(EMBEDDED) as network:
        play = played(network, FEEDER, steps=2)
        play.iterate(play.open(), 1)
        tester = network.connect().provider.ethereum_tester  # type: ignore[attr-defined]
        first, second = (tester.get_logs(from_block=0) for _ in range(2))
        forgetful = EthereumTester(tester.backend)
        assert first == second == forgetful.get_logs(from_block=0)
        assert len(first) > 10
        play.close()


def deployed(web3: Web3, code: str) -> Any:
    return sent(web3, {"data": code, "gas": 1_000_000})["contractAddress"]


def sent(web3: Web3, transaction: dict[str, Any]) -> Any:
    return web3.eth.wait_for_transaction_receipt(
        web3.eth.send_transaction({"from": web3.eth.accounts[0], **transaction})  # type: ignore[typeddict-item]
    )
