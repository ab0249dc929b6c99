"""What each chain says of a failed transaction comes out alike."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from web3.exceptions import TransactionNotFound

from gridpact.chain.account import ChainAccount
from gridpact.chain.keys import new_key
from gridpact.chain.networks import Network
from gridpact.chain.reverts import readable
from gridpact.chain.transport import meter_of
from gridpact.errors import ChainError, ContractError

GAS = 1_000_000
"""Given: the transaction is not estimated, so it fails in a block."""

NEVER = 1e9
"""s: later than the slowest machine ends a test."""


@pytest.fixture(scope="module")
def sender(network: Network) -> ChainAccount:
    return network.manager()


@pytest.fixture(scope="module")
def contract(sender: ChainAccount, probe: dict[str, Any]) -> Any:
    factory = sender.web3.eth.contract(abi=probe["abi"], bytecode=probe["bytecode"])
    receipt = sender.send(factory.constructor())
    return sender.web3.eth.contract(receipt["contractAddress"], abi=probe["abi"])


@pytest.mark.parametrize("gas", [None, GAS])
@pytest.mark.parametrize(
    ("function", "arguments", "name", "values", "message"),
    [
        (
            "refuse",
            [7],
            "WrongIteration",
            (4, 7),
            r"`refuse` with WrongIteration\(current 4, given 7\): read",
        ),
        ("plain", [], "Plain", (), r"Plain\(\)"),
        ("text", [], "Error", ("some text",), "'some text'"),
        ("silent", [], "", (), "no reason given"),
        ("panic", [0], "Panic", (0x12,), "division by zero"),
    ],
)
def test_send_namesTheError(
    sender: ChainAccount,
    contract: Any,
    gas: int | None,
    function: str,
    arguments: list[int],
    name: str,
    values: tuple[object, ...],
    message: str,
) -> None:
    with pytest.raises(ContractError, match=message) as caught:
        sender.send(contract.functions[function](*arguments), gas)
    assert (caught.value.name, caught.value.values) == (name, values)


def test_send_goesOnAfterAnError(sender: ChainAccount, contract: Any) -> None:
    with pytest.raises(ContractError):
        sender.send(contract.functions.refuse(1), GAS)
    sender.send(contract.functions.set(77))
    assert contract.functions.value().call() == 77


def test_send_allowsMoreGasWhereItRanOut(sender: ChainAccount, contract: Any) -> None:
    sender.send(contract.functions.burn(1))
    assert sender.send(contract.functions.burn(40), 300_000)["status"] == 1


@pytest.mark.parametrize("late", [0, 3])
def test_send_asksOnlyForItsReceipt(
    sender: ChainAccount, contract: Any, late: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No estimate, nonce or fee: one raw transaction, and its receipt until it is there, however late that is."""
    sender.send(contract.functions.set(1))
    monkeypatch.setattr(sender, "remind_after", NEVER)
    monkeypatch.setattr("gridpact.chain.offers.FRESH_SECONDS", NEVER)
    ask, found = sender.web3.eth.get_transaction_receipt, []

    def ask_late(transaction_hash: Any) -> Any:
        found.append(False)
        receipt = ask(transaction_hash)
        if len(found) <= late:
            raise TransactionNotFound("not in a block yet")
        found[-1] = True
        return receipt

    monkeypatch.setattr(sender.web3.eth, "get_transaction_receipt", ask_late)
    before, transactions, gas = Counter(meter_of(sender.web3).requests), sender.transactions, sender.gas_used
    receipt = sender.send(contract.functions.set(2))
    assert len(found) > late
    assert found == [False] * (len(found) - 1) + [True]
    asked = Counter(meter_of(sender.web3).requests) - before
    assert asked == {"eth_sendRawTransaction": 1, "eth_getTransactionReceipt": len(found)}
    assert sender.transactions - transactions == 1
    assert sender.gas_used - gas == receipt["gasUsed"]


def test_send_failsWithoutEther(network: Network, contract: Any) -> None:
    poor = ChainAccount(network.connect(), new_key())
    with pytest.raises(ChainError, match="not enough ether"):
        poor.send(contract.functions.set(1), GAS)


def test_send_findsItsNonceAgain(sender: ChainAccount, contract: Any) -> None:
    sender.send(contract.functions.set(3))
    assert sender._nonce is not None
    sender._nonce -= 1  # as if another program had used the key
    sender.send(contract.functions.set(4))
    assert contract.functions.value().call() == 4


def test_send_followsTheBaseFee(sender: ChainAccount, contract: Any) -> None:
    sender.send(contract.functions.set(5))
    sender._offers._base = 0
    sender._offers._tip = 0
    sender.send(contract.functions.set(6))
    assert contract.functions.value().call() == 6


@pytest.mark.parametrize("answer", [{}, None, {"timestamp": None}, []])
def test_answerThatLacksSomething_isOneSentence(answer: Any) -> None:
    with pytest.raises(ChainError, match="The endpoint's answer to a block lacks something"), readable("a block"):
        int(answer["timestamp"])
