"""One account: signs at home, sends, waits for the receipt, and says in one sentence why one failed."""

from __future__ import annotations

import contextlib
import itertools
import re
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import cast

from eth_account import Account
from eth_typing import ChecksumAddress, HexStr
from hexbytes import HexBytes
from web3 import Web3
from web3.contract.contract import ContractConstructor, ContractFunction
from web3.exceptions import TransactionNotFound, Web3Exception, Web3RPCError
from web3.types import Nonce, RPCEndpoint, TxParams, TxReceipt, Wei

from gridpact.chain.fees import FeePolicy, FeeTooHigh, data_fee, ether_text, gwei_text
from gridpact.chain.keys import address_of, signed_by
from gridpact.chain.offers import Offers, cap_of, tip_of
from gridpact.chain.reverts import Abi, contract_error, first_line, learn_errors, readable, revert_data
from gridpact.chain.sealing import SealingKey
from gridpact.chain.transport import meter_of
from gridpact.errors import ChainError

TRANSFER_GAS = 21_000
MOST_GAS = 2**24
"""A transaction may not ask for more since Osaka (EIP-7825)."""

GANACHE_GAS = 15_000_000
"""Instead of an estimate: Ganache 7.9.2 never answers some eth_estimateGas that arrive while it mines."""

SENT_AT_MOST = 6
"""Attempts to send a transaction whose nonce or fee does not fit."""

RAISE = 1.5
"""By how much a fee is raised to take the place of a transaction of which only the nonce is known."""

REMEMBERED = 64
"""Nonces whose transactions an account can send again."""

TIP_WORDS = re.compile(r"tip|minimum|underpriced", re.IGNORECASE)
"""How they say that too little is offered."""

ALREADY_TAKEN = re.compile(
    r"already.?known|known.?transaction|already imported|already exists|already in (the )?(mempool|pool|cache)"
    r"|same hash|mining has already started",
    re.IGNORECASE,
)
"""How chains say that they have a transaction: it was sent again after an outage."""

MOST_CLEARED = 16
"""Transactions of an earlier process whose places are taken: of more an endpoint has no truth."""


@dataclass(frozen=True)
class ContractCall:
    """A function of a contract with its arguments."""

    fn_name: str
    address: ChecksumAddress
    data: str  # calldata, 0x and hexadecimal digits


Call = ContractCall | ContractFunction | ContractConstructor
"""What an account sends. web3's own calls are put into calldata by web3, which takes ten times as long."""


@dataclass
class Pending:
    """A transaction that was sent: what it does, and every version of it (a later one pays more)."""

    what: str
    transaction: TxParams
    hashes: list[HexBytes] = field(default_factory=list)


@dataclass(frozen=True)
class Version:
    """A signed transaction as it was sent."""

    hash: HexBytes
    raw: HexBytes


class ChainAccount:
    """A private key on a connection. Keeps the nonce, so only one process may use a key at a time.

    A transaction costs two requests: send and receipt. The fee cap follows the base fee of the last receipt,
    with headroom for some twelve full blocks, under the ceiling of the policy; gas is estimated once a function.

    What is sent counts at most once. A transaction that the chain lost, from its mempool or by a re-organisation, is
    sent again as the same bytes, even if its receipt was seen: its nonce would hold up those that follow. What no
    block takes in time is sent again at a higher fee; the place of what an earlier process left behind is taken by a
    transfer of nothing.

    Args:
        patience: how long a transaction may take to get into a block, s.
        replace_after: when it offers a higher fee, s.
        remind_after: when it sends the same bytes again, s.
        fees: what it may cost.
        confirmations: blocks that a transaction needs to count, its own included.
    """

    def __init__(
        self,
        web3: Web3,
        key: str,
        patience: float = 180.0,
        replace_after: float = 60.0,
        remind_after: float = 3.0,
        fees: FeePolicy | None = None,
        confirmations: int = 1,
    ) -> None:
        self.address = address_of(key)
        self.web3 = web3
        self.patience = patience
        self.replace_after = replace_after
        self.remind_after = remind_after
        self._offers = Offers(web3, fees or FeePolicy())
        self.confirmations = confirmations
        self._signer = Account.from_key(key)
        self._meter = meter_of(web3)
        self._nonce: int | None = None
        self._chain_id: int | None = None
        self._began: int | None = None  # the first nonce that this process used
        self._refusal = ""  # why the endpoint did not take the transaction that is being sent, in its words
        self._underpriced = False  # another transaction with this nonce is on its way, and pays more
        self._loses_estimates: bool | None = None
        self._gas: dict[tuple[str, str], int] = {}
        self._sent: dict[int, list[Version]] = {}  # by nonce, the newest last

    @property
    def fees(self) -> FeePolicy:
        """What its transactions may cost."""
        return self._offers.policy

    def round_key(self, place: bytes) -> SealingKey:
        """The account's key for a round, see `chain.sealing`."""
        return SealingKey(bytes(self._signer.key), place)

    def sign(self, digest: bytes) -> tuple[bytes, bytes]:
        """Signs a digest. Returns r and vs of the EIP-2098 form."""
        return signed_by(self._signer, digest)

    # ------------------------------------------------------------------ what it cost

    @property
    def gas_used(self) -> int:
        return self._meter.gas[self.address]

    @property
    def transactions(self) -> int:
        return self._meter.transactions[self.address]

    # ------------------------------------------------------------------ sending

    def send(self, call: Call, gas: int | None = None, spare: int = 0, afresh: bool = False) -> TxReceipt:
        """Calls a contract, or deploys one, and waits until it is done.

        Args:
            gas: what it may use at most; estimated where none is given.
            spare: gas that it may need beyond an estimate.
            afresh: do not rely on an earlier estimate of the same function.
        """
        pending = self.post(call, gas, spare, afresh)
        try:
            return self.settle(pending)
        except OutOfGas:
            return self.settle(self.post(call, spare=spare, afresh=True))

    def estimate(self, call: Call) -> tuple[int, int]:
        """What a call needs now: gas, and bytes of calldata.

        Raises:
            ContractError: it would be refused.
        """
        what, transaction = self._draft(call)
        with readable(what):
            gas = int(self.web3.eth.estimate_gas({**transaction, "from": self.address}))
        return gas, len(HexBytes(transaction["data"]))

    def post(self, call: Call, gas: int | None = None, spare: int = 0, afresh: bool = False) -> Pending:
        """Sends without waiting. `settle` waits."""
        what, transaction = self._draft(call)
        transaction["gas"] = gas or self._gas_limit(what, transaction, spare, afresh)
        return self._post(what, transaction)

    def transfer(self, to: str, wei: int) -> Pending:
        """Sends ether without waiting."""
        transaction: TxParams = {"to": Web3.to_checksum_address(to), "value": Wei(wei), "data": HexStr("0x")}
        transaction["gas"] = TRANSFER_GAS
        return self._post("a transfer", transaction)

    def settle(self, pending: Pending) -> TxReceipt:
        """Waits for the receipt; sends again what the chain lost, and at a higher fee what no block takes in time."""
        now = time.monotonic()
        give_up, replace, remind = now + self.patience, now + self.replace_after, now + self.remind_after
        for pause in itertools.chain((0.01, 0.02, 0.05, 0.1), itertools.repeat(0.2, 50), itertools.repeat(1.0)):
            receipt = self._receipt(pending.hashes)
            if receipt is not None and self._confirmed(receipt):
                return self._judge(pending, receipt)
            now = time.monotonic()
            if now > give_up:
                raise self._not_in_time(pending, receipt)
            if receipt is not None:  # in a block already
                time.sleep(min(pause, self.remind_after))
                continue
            if now > replace:
                replace = now + self.replace_after
                self._clear_the_way()
                self._replace(pending)
            if now > remind:
                remind = now + self.remind_after
                self._remind(pending)
            time.sleep(min(pause, self.remind_after))
        raise AssertionError("unreachable")

    def settle_all(self, pendings: Iterable[Pending]) -> list[TxReceipt]:
        """Waits for several receipts, in order."""
        return [self.settle(pending) for pending in pendings]

    def forget_nonce(self) -> None:
        """The chain was taken back: the next transaction asks it for the nonce."""
        self._nonce = None

    # ------------------------------------------------------------------ parts

    def _draft(self, call: Call) -> tuple[str, TxParams]:
        """The data of a call. Everything else is given, or web3 would ask the chain for it."""
        if isinstance(call, ContractCall):
            return f"`{call.fn_name}`", {"data": HexStr(call.data), "value": Wei(0), "to": call.address}
        learn_errors(cast(Abi, call.contract_abi if isinstance(call, ContractFunction) else call.abi))
        what = f"`{call.fn_name}`" if isinstance(call, ContractFunction) else "a deployment"
        built = call.build_transaction(
            {
                "gas": 0,
                "maxFeePerGas": Wei(0),
                "maxPriorityFeePerGas": Wei(0),
                "nonce": Nonce(0),
                "chainId": 0,
            }
        )
        transaction: TxParams = {"data": built["data"], "value": Wei(0)}
        if isinstance(call, ContractFunction):
            transaction["to"] = call.address
        return what, transaction

    def _gas_limit(self, what: str, transaction: TxParams, spare: int, afresh: bool) -> int:
        """Estimated once a function, with headroom: the cost of a call depends on who was there before."""
        key = _gas_key(transaction)
        if afresh or key not in self._gas or not key[0]:
            with readable(what):
                if self._loses_estimates is None:
                    named = self.web3.provider.make_request(RPCEndpoint("web3_clientVersion"), [])  # some do not say
                    self._loses_estimates = "ganache" in str(named.get("result")).lower()
                if self._loses_estimates:
                    return GANACHE_GAS
                self._gas[key] = self.web3.eth.estimate_gas({**transaction, "from": self.address})
        estimate = self._gas[key]
        return max(estimate, min(estimate * 3 // 2 + 100_000 + spare, MOST_GAS))

    def _post(self, what: str, transaction: TxParams) -> Pending:
        pending, self._refusal = Pending(what, transaction), ""
        for attempt in range(SENT_AT_MOST):
            self._complete(pending.transaction)
            if self._underpriced:
                self._offers.raise_by(RAISE**attempt, pending.transaction)
            if self._submit(pending):
                return pending
        if TIP_WORDS.search(self._refusal):
            raise ChainError(
                f"The chain does not take {what} at a tip of {gwei_text(tip_of(pending.transaction))} gwei"
                f" ('{self._refusal}'): offer a higher tip, by tip_gwei in household.toml or --tip-gwei."
            )
        words = f" ('{self._refusal}')" if self._refusal else ""
        raise ChainError(
            f"The chain does not take {what} of account {self.address}{words}: check that no other program uses its"
            " key, and that its endpoint tells all transactions, or give another."
        )

    def _complete(self, transaction: TxParams) -> None:
        """Nonce and fees."""
        with readable("a transaction"):
            if self._chain_id is None:
                self._chain_id = self.web3.eth.chain_id
            if self._nonce is None:
                self._nonce = self.web3.eth.get_transaction_count(self.address, "pending")
        transaction["chainId"] = self._chain_id
        transaction["nonce"] = Nonce(self._nonce)
        self._offers.put_into(transaction)

    def _submit(self, pending: Pending) -> bool:
        """Sends the current version. False: build it anew (nonce or base fee had changed)."""
        signed = self._signer.sign_transaction(pending.transaction)
        pending.hashes.append(signed.hash)
        nonce = int(pending.transaction["nonce"])
        try:
            self.web3.eth.send_raw_transaction(signed.raw_transaction)
        except (Web3Exception, ValueError) as error:
            if not self._accepted_anyhow(pending, error):
                pending.hashes.remove(signed.hash)
                return False
        self._nonce = nonce + 1
        self._began = nonce if self._began is None else min(self._began, nonce)
        self._underpriced = False
        self._sent.setdefault(nonce, []).append(Version(signed.hash, signed.raw_transaction))
        self._sent.pop(nonce - REMEMBERED, None)
        return True

    def _accepted_anyhow(self, pending: Pending, error: Exception) -> bool:
        """An error may still mean that the chain has it: sent twice, or mined and reverted (Ganache)."""
        message = first_line(error).lower()
        if ALREADY_TAKEN.search(message):
            return True
        if self._receipt(pending.hashes) is not None or self._knows(pending.hashes[-1]):
            return True
        if "insufficient funds" in message or "cannot afford" in message:
            raise self._too_poor(pending) from error
        if "nonce" in message and len(pending.hashes) == 1:
            self._nonce, self._refusal = None, first_line(error)
            return False
        if "nonce" in message:  # an earlier version was taken; `settle` finds it
            return True
        no_such_type = "type" in message and ("transaction" in message or "1559" in message)
        if no_such_type and self._offers.learn_only_prices():
            return False
        if any(words in message for words in ("fee", "underpriced", "tip", "replace existing")):
            if len(pending.hashes) > 1:
                return True
            self._refusal = first_line(error)
            self._offers.forget_base()
            self._nonce = None  # or an earlier one with this nonce is on its way
            if not self._offers.learn_cap(message):
                self._underpriced = "replace" in message or "underpriced" in message or "minimum" in message
            return False
        data = revert_data(error)
        if data is not None:
            raise contract_error(pending.what, data) from error
        raise ChainError(f"The chain refused {pending.what}: {first_line(error)}.") from error

    def _replace(self, pending: Pending) -> None:
        """The same transaction, same nonce, at a higher fee."""
        before = pending.transaction
        self._offers.forget()
        nonce, self._nonce = self._nonce, before["nonce"]
        after: TxParams = {**before}
        try:
            self._complete(after)
        except FeeTooHigh:  # it waits in the mempool for a lower base fee
            return
        finally:
            self._nonce = nonce
        if not self._offers.outbid(before, after):
            return
        pending.transaction = after
        self._submit(pending)
        self._nonce = nonce

    def _clear_the_way(self) -> None:
        """Takes the places of what an earlier process sent and no block takes.

        Only the nonces are known: a transfer of nothing replaces each, at a fee that rises until it is accepted.
        """
        with readable("a transaction"):
            first = self.web3.eth.get_transaction_count(self.address)
        following, began = self._nonce, self._began
        if began is not None and began - first > MOST_CLEARED:
            raise ChainError(
                f"The endpoint told {began} transactions of account {self.address}, of which the chain has {first}: no"
                " block takes what is numbered behind the others, so give another endpoint."
            )
        for stuck in range(first, first if began is None else began):
            nothing: TxParams = {"to": self.address, "value": Wei(0), "data": HexStr("0x"), "gas": TRANSFER_GAS}
            for attempt in range(SENT_AT_MOST):
                self._nonce = stuck
                try:
                    self._complete(nothing)
                except FeeTooHigh:
                    break
                self._offers.raise_by(RAISE ** (attempt + 1), nothing)
                if self._submit(Pending("a transfer of nothing", nothing)):
                    break
        self._nonce, self._began, self._underpriced = following, began, False

    def _confirmed(self, receipt: TxReceipt) -> bool:
        """Whether enough blocks stand on it."""
        if self.confirmations <= 1:
            return True
        with readable("the block number"):
            return self.web3.eth.block_number - receipt["blockNumber"] + 1 >= self.confirmations

    def _not_in_time(self, pending: Pending, receipt: TxReceipt | None) -> ChainError:
        if receipt is not None:
            return ChainError(
                f"The chain put {pending.what} into block {receipt['blockNumber']}, and has not confirmed it by"
                f" {self.confirmations} blocks within {self.patience:.0f} s: check that it produces blocks."
            )
        hint = (
            f", that gas is below the ceiling of {gwei_text(self.fees.ceiling_wei)} gwei, and that {self.address} has"
            f" sent the {pending.transaction['nonce']} transactions that the endpoint told"
        )
        return ChainError(
            f"The chain took {pending.what} but did not put it into a block within"
            f" {self.patience:.0f} s: check that it produces blocks{hint}."
        )

    def _too_poor(self, pending: Pending) -> ChainError:
        """How much is missing."""
        transaction = pending.transaction
        needed = int(transaction["gas"]) * cap_of(transaction) + int(transaction["value"])
        needed += data_fee(self.web3, len(HexBytes(transaction["data"])))
        with readable("the balance"):
            balance = int(self.web3.eth.get_balance(self.address))
        return ChainError(
            f"Account {self.address} has not enough ether for {pending.what}: it has {ether_text(balance)} and may need"
            f" {ether_text(needed)}, so send it {ether_text(max(needed - balance, 1))} more."
        )

    def _remind(self, pending: Pending) -> None:
        """Sends again what the chain may have lost, from the first nonce that it has not used.

        Where a re-organisation brought back an older transaction with the same nonce, this one can never count, and
        gets another nonce.
        """
        nonce = int(pending.transaction["nonce"])
        older = [version.hash for version in self._sent.get(nonce, []) if version.hash not in pending.hashes]
        if self._receipt(older) is not None:
            self._nonce = None
            pending.hashes = self._post(pending.what, pending.transaction).hashes
            return
        with readable("a transaction"):
            first = self.web3.eth.get_transaction_count(self.address)
        for lost in range(first, nonce + 1):
            for version in self._sent.get(lost, [])[-1:]:
                with contextlib.suppress(Web3Exception, ValueError):  # it has it
                    self.web3.eth.send_raw_transaction(version.raw)

    def _receipt(self, hashes: Sequence[HexBytes]) -> TxReceipt | None:
        for transaction_hash in reversed(hashes):
            try:
                with_receipt = self.web3.eth.get_transaction_receipt(transaction_hash)
            except TransactionNotFound:
                continue
            except Web3RPCError:  # some nodes answer so while they index
                continue
            if with_receipt is not None:
                return with_receipt
        return None

    def _knows(self, transaction_hash: HexBytes) -> bool:
        """Whether a transaction is on its way: sent again, Ganache calls the same bytes underpriced."""
        with contextlib.suppress(TransactionNotFound, Web3RPCError):
            return bool(self.web3.eth.get_transaction(transaction_hash))
        return False

    def _judge(self, pending: Pending, receipt: TxReceipt) -> TxReceipt:
        self._meter.transactions[self.address] += 1
        self._meter.gas[self.address] += receipt["gasUsed"]
        self._offers.learn_paid(pending.transaction, receipt)
        if receipt["status"] == 1:
            return receipt
        if receipt["gasUsed"] >= 0.97 * int(pending.transaction["gas"]):
            raise OutOfGas(f"{pending.what} ran out of gas at {pending.transaction['gas']}: allow it more.")
        self._gas.pop(_gas_key(pending.transaction), None)  # the next one is estimated, and costs nothing if refused
        raise contract_error(pending.what, self._replay(pending, receipt))

    def _replay(self, pending: Pending, receipt: TxReceipt) -> bytes:
        """Why a mined transaction failed: the same call on the state before its block."""
        transaction = pending.transaction
        call: TxParams = {"from": self.address, "data": transaction["data"], "gas": transaction["gas"]}
        if "to" in transaction:
            call["to"] = transaction["to"]
        for block in (receipt["blockNumber"] - 1, receipt["blockNumber"]):
            try:
                self.web3.eth.call(call, block)
            except (Web3Exception, ValueError) as error:
                data = revert_data(error)
                if data is not None:
                    return data
        return b""


class OutOfGas(ChainError):
    """A transaction used all the gas it was allowed."""


def _gas_key(transaction: TxParams) -> tuple[str, str]:
    return str(transaction.get("to", "")), HexBytes(transaction["data"])[:4].hex()
