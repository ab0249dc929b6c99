"""Fees under a ceiling, transactions that an earlier process left behind, confirmations, and what is missing."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import pytest
from chains import rpc, skip_without
from waiting import SECONDS
from web3 import Web3

from gridpact.chain import fees
from gridpact.chain.account import REMEMBERED, ChainAccount, Pending
from gridpact.chain.estimate import PlannedCall, bill
from gridpact.chain.fees import (
    DATA_FEE_ORACLE,
    ETHER,
    GWEI,
    FeePolicy,
    FeeTooHigh,
    capped,
    data_fee,
    ether_text,
    gwei_text,
    read_fees,
)
from gridpact.chain.keys import address_of
from gridpact.chain.networks import Imitation, open_imitation
from gridpact.errors import ChainError, InputError

SEPOLIA = 11155111
KEY = "0x" + "42" * 32
OTHER = "0x" + "12" * 20


@pytest.fixture(scope="module")
def chain() -> Iterator[Web3]:
    """A chain with Sepolia's id and rules."""
    skip_without("anvil")
    with open_imitation(Imitation(SEPOLIA)) as network:
        yield network.connect()


@pytest.fixture
def sepolia(chain: Web3) -> Iterator[Web3]:
    """It makes blocks on command; the newest has a base fee of 10 gwei."""
    snapshot = rpc(chain, "evm_snapshot")
    rpc(chain, "anvil_setBalance", address_of(KEY), hex(ETHER))
    rpc(chain, "evm_setAutomine", False)
    mine(chain, 10 * GWEI)
    rpc(chain, "anvil_setNextBlockBaseFeePerGas", hex(10 * GWEI))
    yield chain
    rpc(chain, "anvil_dropAllTransactions")
    rpc(chain, "evm_revert", snapshot)


def mine(web3: Web3, base_fee_wei: int) -> None:
    rpc(web3, "anvil_setNextBlockBaseFeePerGas", hex(base_fee_wei))
    rpc(web3, "evm_mine")


def knows(web3: Web3, pending: Pending) -> bool:
    """Whether the chain has a version of a transaction, in a block or waiting."""
    return any(rpc(web3, "eth_getTransactionByHash", version.to_0x_hex()) is not None for version in pending.hashes)


@contextmanager
def mining(
    web3: Web3, base_fees_wei: Sequence[int], seconds: float = 0.2, when: Callable[[], bool] = lambda: True
) -> Iterator[None]:
    """Mines in the background: a block for each base fee, and on at the last one while the test goes on.

    Args:
        when: what is waited for before the first.
    """
    done = threading.Event()

    def work() -> None:
        while not when() and not done.wait(0.05):
            pass
        for fee in itertools.chain(base_fees_wei, itertools.repeat(base_fees_wei[-1])):
            if done.wait(seconds):
                return
            mine(web3, fee)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    yield
    done.set()
    thread.join()


# ---------------------------------------------------------------------- the ceiling


def test_capped_leavesHeadroomUnderTheCeiling() -> None:
    assert capped(10 * GWEI, GWEI, FeePolicy()).cap == 41 * GWEI
    assert capped(10 * GWEI, GWEI, FeePolicy(100 * GWEI)).cap == 41 * GWEI
    assert capped(10 * GWEI, GWEI, FeePolicy(12 * GWEI)).cap == 12 * GWEI
    assert capped(10 * GWEI, GWEI, FeePolicy(11 * GWEI)).now == 11 * GWEI
    with pytest.raises(FeeTooHigh, match=r"costs 11 gwei now \(10 base fee and 1 tip\), the ceiling is 10\.5"):
        capped(10 * GWEI, GWEI, FeePolicy(21 * GWEI // 2))


def test_send_saysThatGasIsAboveTheCeiling(sepolia: Web3) -> None:
    account = ChainAccount(sepolia, KEY, fees=FeePolicy(5 * GWEI))
    with pytest.raises(FeeTooHigh, match="the ceiling is 5: wait until it is cheaper"):
        account.transfer(OTHER, 1)
    assert sepolia.eth.get_transaction_count(account.address, "pending") == 0


def test_readFees_waitsForCheaperGas(sepolia: Web3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fees, "LOOK_SECONDS", 0.1)
    timer = threading.Timer(0.4, mine, (sepolia, GWEI))
    timer.start()
    found = read_fees(sepolia, FeePolicy(5 * GWEI, patience=SECONDS))
    timer.join()
    assert found.base == GWEI


def test_send_paysNoMoreThanTheCeiling(sepolia: Web3) -> None:
    """A base fee that rises above the ceiling is waited out in the mempool, never paid."""
    ceiling = 15 * GWEI
    account = ChainAccount(sepolia, KEY, SECONDS, replace_after=0.3, remind_after=0.2, fees=FeePolicy(ceiling))
    pending = account.transfer(OTHER, 5)
    with mining(sepolia, [40 * GWEI] * 4 + [12 * GWEI]):  # Anvil throws away what a block cannot take
        receipt = account.settle(pending)
    assert sepolia.eth.get_block(receipt["blockNumber"])["baseFeePerGas"] == 12 * GWEI
    assert receipt["status"] == 1
    assert receipt["effectiveGasPrice"] <= ceiling


# ---------------------------------------------------------------------- a process that restarts


def test_restart_replacesWhatNoBlockTakes(sepolia: Web3) -> None:
    """An earlier process left two transactions that no block takes; the new process gets through."""
    before = ChainAccount(sepolia, KEY)
    left = [before.transfer(OTHER, 1), before.transfer(OTHER, 1)]
    after = ChainAccount(sepolia, KEY, SECONDS, replace_after=0.3)
    pending = after.transfer(OTHER, 7)
    assert pending.transaction["nonce"] == 2  # behind them
    with mining(sepolia, [10 * GWEI], when=lambda: not any(knows(sepolia, one) for one in left)):
        receipt = after.settle(pending)
    assert receipt["status"] == 1
    assert sepolia.eth.get_transaction_count(after.address) == 3
    assert sepolia.eth.get_balance(Web3.to_checksum_address(OTHER)) == 7  # what was left behind never counts
    assert before._receipt([hash for one in left for hash in one.hashes]) is None
    rpc(sepolia, "evm_setAutomine", True)
    assert after.settle(after.transfer(OTHER, 1))["status"] == 1  # the nonces go on


def test_restart_takesAPlaceThatTheNodeDoesNotTellOf(sepolia: Web3) -> None:
    """Some nodes tell of no pending transactions: the nonce is taken, and a higher fee takes it over."""
    before = ChainAccount(sepolia, KEY)
    before.transfer(OTHER, 1)
    after = ChainAccount(sepolia, KEY, SECONDS)
    count = sepolia.eth.get_transaction_count
    after.web3.eth.get_transaction_count = lambda address, block="latest": count(address)  # type: ignore[method-assign,assignment,misc]
    pending = after.transfer(OTHER, 7)
    assert pending.transaction["nonce"] == 0
    rpc(sepolia, "evm_mine")
    assert after.settle(pending)["status"] == 1
    assert sepolia.eth.get_balance(Web3.to_checksum_address(OTHER)) == 7


def test_settle_replacesNothingOfItsOwn(sepolia: Web3) -> None:
    """Many transactions under way for long: each is replaced by itself, none by a transfer of nothing."""
    account = ChainAccount(sepolia, KEY, SECONDS, replace_after=0.2)
    pendings = [account.transfer(OTHER, 2) for _ in range(REMEMBERED + 6)]
    with mining(sepolia, [10 * GWEI], seconds=0.6):
        receipts = account.settle_all(pendings)
    assert all(receipt["status"] == 1 for receipt in receipts)
    assert sepolia.eth.get_balance(Web3.to_checksum_address(OTHER)) == 2 * len(pendings)


def test_fees_areReadAgainAfterAWhile(sepolia: Web3, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a transaction offers after a quiet hour follows the base fee of now."""
    monkeypatch.setattr("gridpact.chain.offers.FRESH_SECONDS", 0.2)
    account = ChainAccount(sepolia, KEY)
    first = account.transfer(OTHER, 6)
    mine(sepolia, 10 * GWEI)
    account.settle(first)
    mine(sepolia, 50 * GWEI)
    time.sleep(0.3)
    assert (
        account.transfer(OTHER, 6).transaction["maxFeePerGas"]
        == capped(50 * GWEI, account._offers._tip or 0, FeePolicy()).cap
    )


# ---------------------------------------------------------------------- confirmations


def test_settle_waitsForConfirmations(sepolia: Web3) -> None:
    account = ChainAccount(sepolia, KEY, SECONDS, confirmations=4)
    pending = account.transfer(OTHER, 4)  # Anvil remembers receipts of what it reverted: each test sends its own
    with mining(sepolia, [10 * GWEI]):
        receipt = account.settle(pending)
        assert sepolia.eth.block_number >= receipt["blockNumber"] + 3


def test_settle_saysThatNothingConfirms(sepolia: Web3) -> None:
    account = ChainAccount(sepolia, KEY, patience=0.5, confirmations=3)
    pending = account.transfer(OTHER, 3)
    rpc(sepolia, "evm_mine")
    with pytest.raises(ChainError, match="has not confirmed it by 3 blocks"):
        account.settle(pending)


# ---------------------------------------------------------------------- ether


def test_send_saysHowMuchIsMissing(sepolia: Web3) -> None:
    rpc(sepolia, "anvil_setBalance", address_of(KEY), hex(10**14))
    account = ChainAccount(sepolia, KEY)
    # 21,000 gas at 4 x 10 + 1 gwei are 0.000861 ETH, and 0.001 ETH is handed over.
    with pytest.raises(ChainError, match=r"has 0\.000100 ETH and may need 0\.001861 ETH, so send it 0\.001761 ETH"):
        account.transfer(OTHER, 10**15)


def test_dataFee_isWhatTheOracleSays(sepolia: Web3) -> None:
    assert data_fee(sepolia, 880) == 0  # Ethereum itself has none
    # getL1FeeUpperBound(size) = 1000 size: CALLDATALOAD(4), PUSH2 1000, MUL, MSTORE(0), RETURN(0, 32)
    rpc(sepolia, "anvil_setCode", DATA_FEE_ORACLE, "0x6004356103e80260005260206000f3")
    assert data_fee(sepolia, 880) == 1000 * (880 + 120)
    planned = [PlannedCall("one", 100_000, 880), PlannedCall("other", 50_000, 80, value_wei=7)]
    costs = bill(sepolia, address_of(KEY), planned, FeePolicy(12 * GWEI))
    assert costs.expected_wei == 150_000 * 11 * GWEI + 1_000_000 + 200_000
    assert costs.most_wei == (150_000 + 60_000) * 12 * GWEI + 1_200_000 + 7  # 60,000: of the gas limit of the largest
    assert "data fees" in costs.table(3000.0)
    costs.check("it")
    rpc(sepolia, "anvil_setBalance", address_of(KEY), hex(costs.most_wei - 10**12))
    with pytest.raises(InputError, match=r"send it 0\.000001 ETH more"):
        bill(sepolia, address_of(KEY), planned, FeePolicy(12 * GWEI)).check("it")


def test_texts() -> None:
    assert gwei_text(1_500_000_000) == "1.5"
    assert gwei_text(7) == "0.000000007"
    assert gwei_text(0) == "0"
    assert ether_text(1) == "0.000001 ETH"  # up: what is missing is never told too small
