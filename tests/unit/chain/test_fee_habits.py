"""What endpoints say of fees, and what an account pays: little, whatever they say."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytest
from chains import rpc, skip_without
from endpoints import (
    Ask,
    Habit,
    Reply,
    always,
    counting,
    endpoint,
    old_blocks,
    old_transactions,
    refusal,
    taken_unsaid,
)
from eth_account import Account
from hypothesis import given
from hypothesis import strategies as st
from waiting import SECONDS
from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.deploy import check_fork
from gridpact.chain.fees import CEILING, ETHER, GWEI, MOST_TIP, FeePolicy, FeeTooHigh, capped
from gridpact.chain.networks import Imitation, Network, open_imitation
from gridpact.chain.transport import HttpTransport
from gridpact.errors import ChainError, InputError

KEY = "0x" + "42" * 32
OTHER = Web3.to_checksum_address("0x" + "12" * 20)


@pytest.fixture(scope="module")
def chain() -> Iterator[Network]:
    skip_without("anvil")
    with open_imitation(Imitation(31337, base_fee_wei=GWEI)) as network:
        yield network


def sent(
    chain: Network, *habits: Habit, fees: FeePolicy | None = None, times: int = 1
) -> tuple[int, Mapping[str, Any]]:
    """Sends transfers of nothing through an endpoint. Returns what they cost, wei, and the last transaction."""
    web3 = chain.connect()
    account_address = Account.from_key(KEY).address
    rpc(web3, "anvil_setBalance", account_address, hex(10 * ETHER))
    rpc(web3, "anvil_setNextBlockBaseFeePerGas", hex(GWEI))
    with endpoint(chain, *habits) as served:
        account = ChainAccount(Web3(HttpTransport(served.url, SECONDS), middleware=[]), KEY, SECONDS, fees=fees)
        for _ in range(times):
            receipt = account.settle(account.transfer(OTHER, 0))
            assert receipt["status"] == 1
    transaction = rpc(web3, "eth_getTransactionByHash", Web3.to_hex(receipt["transactionHash"]))
    return 10 * ETHER - int(web3.eth.get_balance(account_address)), transaction


def says(method: str, wei: int) -> Habit:
    return always({"result": hex(wei)}, method)


def base_fee_of(wei: int) -> Habit:
    """Blocks that pretend another base fee."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getBlockByNumber":
            return None
        block = dict(ask(method, parameters)["result"])
        return {"result": block | {"baseFeePerGas": hex(wei)}}

    return habit


@pytest.mark.parametrize(
    "habits",
    [
        [says("eth_maxPriorityFeePerGas", 8000 * GWEI)],
        [says("eth_gasPrice", 10**15)],
        [says("eth_maxPriorityFeePerGas", 8000 * GWEI), base_fee_of(90 * GWEI)],
        [says("eth_maxPriorityFeePerGas", 10**30)],
    ],
    ids=["tip", "price", "tip and base fee", "absurd tip"],
)
def test_lies_costLittle(chain: Network, habits: list[Habit]) -> None:
    """A household's round takes 8 M gas: what a lie can cost of it stays below 0.2 ETH."""
    wei, _ = sent(chain, *habits)
    assert wei <= 21_000 * (2 * GWEI + MOST_TIP)
    assert 8_000_000 * MOST_TIP <= ETHER // 5


def test_baseFee_aboveTheCeilingIsRefused(chain: Network) -> None:
    with pytest.raises(FeeTooHigh, match="ceiling is 200: wait until it is cheaper, or raise the ceiling"):
        sent(chain, base_fee_of(CEILING + 1))


@given(st.integers(0, 10**30), st.integers(0, 10**12), st.one_of(st.none(), st.integers(0, 10**12)))
def test_tip_isBounded(suggested: int, base: int, own: int | None) -> None:
    policy = FeePolicy(tip_wei=own)
    tip = policy.tip(suggested, base)
    if own is None:
        assert 1 <= tip <= MOST_TIP
        assert tip <= max(suggested, 1)
    else:
        assert tip == own
    try:
        assert capped(base, tip, policy).cap <= CEILING
    except FeeTooHigh:
        assert base + tip > CEILING


# ---------------------------------------------------------------------- chains with other fees


@pytest.mark.parametrize("habits", [[old_blocks], [old_transactions], [old_blocks, old_transactions]])
def test_oldFees(chain: Network, habits: list[Habit]) -> None:
    wei, transaction = sent(chain, *habits, times=3)
    assert transaction["type"] == "0x0"
    assert wei <= 3 * 21_000 * int(transaction["gasPrice"], 16) * 2  # what the chain asks for falls block by block
    assert int(transaction["gasPrice"], 16) <= CEILING


def least_tip(gwei: int) -> Habit:
    """An endpoint that takes no smaller tip (Polygon: 25 gwei)."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_sendRawTransaction":
            return None
        from eth_account.typed_transactions import TypedTransaction
        from hexbytes import HexBytes

        tip = int(TypedTransaction.from_bytes(HexBytes(parameters[0])).as_dict()["maxPriorityFeePerGas"])
        words = f"transaction underpriced: gas tip cap {tip}, minimum needed {gwei * GWEI}"
        return refusal(-32000, words) if tip < gwei * GWEI else None

    return habit


def test_leastTip_isSaid(chain: Network) -> None:
    with pytest.raises(
        ChainError, match=r"'transaction underpriced: gas tip cap \d+, minimum needed 25000000000'\): offer"
    ):
        sent(chain, least_tip(25))


def test_leastTip_isOffered(chain: Network) -> None:
    wei, _ = sent(chain, least_tip(25), fees=FeePolicy(tip_wei=25 * GWEI))
    assert wei >= 21_000 * 25 * GWEI
    sent(chain, least_tip(3))  # a little more than is usual is found


def fee_cap(
    ether: float, words: str = "tx fee ({fee:.2f} ether) exceeds the configured cap ({cap:.2f} ether)"
) -> Habit:
    """An endpoint that takes no transaction that may cost more: gas times price."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_sendRawTransaction":
            return None
        from eth_account.typed_transactions import TypedTransaction
        from hexbytes import HexBytes

        told = TypedTransaction.from_bytes(HexBytes(parameters[0])).as_dict()
        fee = int(told["gas"]) * int(told["maxFeePerGas"]) / ETHER
        return refusal(-32000, words.format(fee=fee, cap=ether)) if fee > ether else None

    return habit


def test_feeCap_isKept(chain: Network) -> None:
    """A cap below four base fees, and above what the transaction costs now."""
    most = 21_000 * 3.5 * GWEI / ETHER
    words = "tx fee ({fee:.7f} ether) exceeds the configured cap ({cap:.7f} ether)"
    _, transaction = sent(chain, fee_cap(most, words))
    assert int(transaction["maxFeePerGas"], 16) * 21_000 <= most * ETHER


def test_feeCap_isSaid(chain: Network) -> None:
    words = "tx fee ({fee:.7f} ether) exceeds the configured cap ({cap:.7f} ether)"
    with pytest.raises(ChainError, match=r"takes no transaction that may cost more than .*: wait until gas is cheaper"):
        sent(chain, fee_cap(21_000 * 0.5 * GWEI / ETHER, words))


# ---------------------------------------------------------------------- older chains


@pytest.mark.parametrize("hardfork", ["berlin", "london", "paris"])
def test_olderChain_isSaid(hardfork: str) -> None:
    skip_without("anvil")
    with (
        open_imitation(Imitation(1, hardfork=hardfork)) as network,
        pytest.raises(InputError, match="older than Shanghai"),
    ):
        check_fork(network.connect())


def test_words_ofTheFeeCap() -> None:
    from gridpact.chain.offers import FEE_CAP

    for words, most in (
        ("tx fee (1.05 ether) exceeds the configured cap (1.00 ether)", "1.00"),
        ("tx fee (7.20 ether) exceeds the configured cap (2.5ether)", "2.5"),
    ):
        found = FEE_CAP.search(words)
        assert found is not None
        assert found[1] == most
    assert re.search(FEE_CAP, "max fee per gas less than block base fee") is None


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (-3, r"nonce too low.*check that no other program uses its key, and that its endpoint tells all transactions"),
        (3, r"did not put it into a block .*has sent the \d+ transactions that the endpoint told"),
    ],
)
def test_wrongCount_isSaid(chain: Network, more: int, said: str) -> None:
    """Of an account's transactions: too few, so that its next was there before; too many, so that it waits for ever."""
    sent(chain, times=4)
    before = rpc(chain.connect(), "eth_getTransactionCount", Account.from_key(KEY).address, "latest")
    with endpoint(chain, counting(more)) as served:
        web3 = Web3(HttpTransport(served.url, SECONDS), middleware=[])
        account = ChainAccount(web3, KEY, patience=1.5, replace_after=0.5)
        with pytest.raises(ChainError, match=said):
            account.settle(account.transfer(OTHER, 0))
    assert rpc(chain.connect(), "eth_getTransactionCount", Account.from_key(KEY).address, "latest") == before
    rpc(chain.connect(), "anvil_dropAllTransactions")


def test_manyTransactionsThatAreNone_areNotPaidFor(chain: Network) -> None:
    """An endpoint that tells a thousand on their way: their places are not taken by a thousand transfers."""
    sent(chain)

    def thousand(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getTransactionCount" or list(parameters[1:]) != ["pending"]:
            return None
        return {"result": hex(int(ask(method, parameters)["result"], 16) + 1000)}

    web3 = chain.connect()
    before = web3.eth.get_balance(Account.from_key(KEY).address)
    with endpoint(chain, thousand) as served:
        account = ChainAccount(Web3(HttpTransport(served.url, SECONDS), middleware=[]), KEY, SECONDS, replace_after=0.3)
        with pytest.raises(ChainError, match=r"told \d+ transactions .* of which the chain has \d+: .*another end"):
            account.settle(account.transfer(OTHER, 0))
    assert web3.eth.get_balance(Account.from_key(KEY).address) == before
    rpc(web3, "anvil_dropAllTransactions")


@pytest.mark.parametrize(
    "reply",
    [
        Reply(b"", 502),
        {"result": None},
        refusal(-32603, "Internal error"),
        refusal(-32000, "already known"),
        refusal(-32010, "AlreadyKnown"),
        refusal(-32000, "Known transaction"),
        refusal(-32000, "ALREADY_EXISTS: already known"),
        refusal(-32000, "tx already exists in cache"),
        refusal(-32000, "transaction underpriced"),
        refusal(-32000, "replacement transaction underpriced"),
    ],
)
def test_whatIsTakenUnsaid_countsOnce(chain: Network, reply: Reply | Mapping[str, Any]) -> None:
    """The transaction is taken, and the answer is lost, or says something else."""
    web3 = chain.connect()
    before = web3.eth.get_transaction_count(Account.from_key(KEY).address)
    sent(chain, taken_unsaid(0.5, reply), times=3)
    assert web3.eth.get_transaction_count(Account.from_key(KEY).address) == before + 3
