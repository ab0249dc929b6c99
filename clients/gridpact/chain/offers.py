"""What an account offers for gas: by the chain's fees, its own policy, and what its endpoint takes."""

from __future__ import annotations

import math
import re
import time

from web3 import Web3
from web3.types import TxParams, TxReceipt, Wei

from gridpact.chain.fees import ETHER, FeePolicy, Fees, FeeTooHigh, capped, ether_text, gwei_text, read_fees
from gridpact.errors import ChainError

FRESH_SECONDS = 60.0
"""How long a base fee is relied on."""

FEE_FIELDS = ("maxFeePerGas", "maxPriorityFeePerGas", "gasPrice")
"""Of a transaction, as it has them."""

LEAST_RISE = 5, 4
"""By what ratio a fee is raised at least, so that chains take a transaction in the place of another."""

FEE_CAP = re.compile(r"exceeds the (?:configured )?cap(?:\s*\(([0-9.]+) ?ether\))?")
"""How endpoints say that a transaction may cost too much: gas times price."""


class Offers:
    """The fees of one account's transactions. They follow the base fee of its last receipt.

    Args:
        policy: what gas may cost.
    """

    def __init__(self, web3: Web3, policy: FeePolicy) -> None:
        self.policy = policy
        self._web3 = web3
        self._base: int | None = None
        self._tip: int | None = None
        self._read_at = 0.0  # base fee and tip, monotonic
        self._has_base = True  # the chain has EIP-1559
        self._only_prices = False  # the endpoint takes no transactions with the fees of EIP-1559
        self._most_wei: int | None = None  # that a transaction may cost, for the endpoint to take it

    def put_into(self, transaction: TxParams) -> None:
        """Gives a transaction the fees of now.

        Raises:
            FeeTooHigh: they are above the ceiling.
            ChainError: the endpoint takes no transaction that costs so much.
        """
        fees = self._now()
        cap = self._below_the_endpoints_cap(fees, int(transaction["gas"]))
        for fee in FEE_FIELDS:
            transaction.pop(fee, None)  # type: ignore[misc]
        if fees.has_base and not self._only_prices:
            transaction["maxPriorityFeePerGas"] = Wei(fees.tip)
            transaction["maxFeePerGas"] = Wei(cap)
        else:
            transaction["gasPrice"] = Wei(min(fees.now, cap))

    def raise_by(self, factor: float, transaction: TxParams) -> None:
        """Multiplies the fees, as far as the ceiling lets them."""
        for fee in FEE_FIELDS:
            if fee in transaction:
                raised = math.ceil(int(transaction[fee]) * factor)  # type: ignore[literal-required]
                transaction[fee] = Wei(min(raised, self.policy.ceiling_wei))  # type: ignore[literal-required]

    def outbid(self, before: TxParams, after: TxParams) -> bool:
        """Raises the fees of what is to take the place of another. False: it would cost more than the ceiling."""
        by, of = LEAST_RISE
        for fee in FEE_FIELDS:
            if fee in after and fee in before:
                least = int(before[fee]) * by // of + 1  # type: ignore[literal-required]
                after[fee] = Wei(max(int(after[fee]), least))  # type: ignore[literal-required]
        return cap_of(after) <= self.policy.ceiling_wei

    # ------------------------------------------------------------------ what is learnt

    def forget(self) -> None:
        """The chain is to be asked for base fee and tip."""
        self._base = self._tip = None

    def forget_base(self) -> None:
        """The chain is to be asked for the base fee."""
        self._base = None

    def learn_paid(self, transaction: TxParams, receipt: TxReceipt) -> None:
        """The base fee of a block that took a transaction."""
        price = int(receipt.get("effectiveGasPrice", cap_of(transaction)))
        self._base, self._read_at = max(price - tip_of(transaction), 7), time.monotonic()

    def learn_only_prices(self) -> bool:
        """The endpoint does not know the fees of EIP-1559. False: it was said before."""
        known, self._only_prices = self._only_prices, True
        return not known

    def learn_cap(self, message: str) -> bool:
        """What a transaction may cost at most, if an endpoint's message is about that."""
        cap = FEE_CAP.search(message)
        if cap:
            self._most_wei = round(float(cap[1] or 1) * 0.99 * ETHER)
        return cap is not None

    # ------------------------------------------------------------------ parts

    def _now(self) -> Fees:
        """From the base fee of the last receipt; where that is not known, too old, or too much, from the chain."""
        fresh = time.monotonic() - self._read_at < FRESH_SECONDS
        if fresh and self._base is not None and self._tip is not None:
            try:
                return capped(self._base, self._tip, self.policy, self._has_base)
            except FeeTooHigh:
                pass  # perhaps no longer
        fees = read_fees(self._web3, self.policy)
        self._base, self._tip, self._read_at = fees.base, fees.tip, time.monotonic()
        self._has_base = fees.has_base
        return fees

    def _below_the_endpoints_cap(self, fees: Fees, gas: int) -> int:
        """The fee cap, where the endpoint takes no transaction that may cost more than an amount.

        Raises:
            ChainError: even at the fees of now it would.
        """
        if self._most_wei is None or gas * fees.cap <= self._most_wei:
            return fees.cap
        if gas * fees.now > self._most_wei:
            raise ChainError(
                f"The endpoint takes no transaction that may cost more than {ether_text(self._most_wei)}, and {gas:,}"
                f" gas at {gwei_text(fees.now)} gwei do: wait until gas is cheaper, or give another endpoint."
            )
        return self._most_wei // gas


def cap_of(transaction: TxParams) -> int:
    """What a unit of gas may cost, wei."""
    return int(transaction.get("maxFeePerGas", transaction.get("gasPrice", 0)))


def tip_of(transaction: TxParams) -> int:
    """What the block's maker gets of it, wei; 0 where a price is offered."""
    return int(transaction.get("maxPriorityFeePerGas", 0))
