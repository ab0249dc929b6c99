"""What gas costs: EIP-1559 fees under a ceiling, the data fee of chains that post to another one, ether and euro."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import cast

from eth_abi.abi import decode, encode
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import Web3Exception
from web3.types import RPCEndpoint

from gridpact.chain.profiles import ETH_PRICE_EUR
from gridpact.chain.reverts import readable
from gridpact.errors import ChainError

GWEI = 10**9
ETHER = 10**18

HEADROOM = 4
"""The fee cap, in base fees: some twelve full blocks, each of which raises the base fee by an eighth (EIP-1559)."""

LOOK_SECONDS = 2.0
"""How often the base fee is looked at while it is too high."""

DATA_FEE_ORACLE = Web3.to_checksum_address("0x420000000000000000000000000000000000000F")
"""`GasPriceOracle` of every chain of the OP stack (OP stack specification, predeploys)."""

TRANSACTION_BYTES = 120
"""Of a signed transaction beside its calldata, at most."""


CEILING = 200 * GWEI
"""Of a unit of gas, where nobody sets another: some ten times of what is usual, and no ruin in a round."""

USUAL_TIP, MOST_TIP = 2 * GWEI, 20 * GWEI
"""A tip that an endpoint suggests is taken up to the base fee or the first of them, and never above the second: whoever
makes the blocks keeps it, and the endpoint's word is all that there is for it."""

TIP = GWEI
"""Offered where the endpoint suggests none."""


@dataclass(frozen=True)
class FeePolicy:
    """What an account pays for a unit of gas."""

    ceiling_wei: int = CEILING  # base fee and tip together
    patience: float = 0.0  # seconds that a fee above the ceiling is waited out
    tip_wei: int | None = None  # offered whatever the endpoint suggests

    def tip(self, suggested_wei: int, base_wei: int) -> int:
        """The tip to offer."""
        if self.tip_wei is not None:
            return self.tip_wei
        return max(min(suggested_wei, max(base_wei, USUAL_TIP), MOST_TIP), 1)


def fee_policy(ceiling_gwei: float | None, tip_gwei: float | None, patience: float = 0.0) -> FeePolicy:
    """What somebody has set, gwei; None: nothing."""
    ceiling = CEILING if ceiling_gwei is None else round(ceiling_gwei * GWEI)
    return FeePolicy(ceiling, patience, None if tip_gwei is None else round(tip_gwei * GWEI))


@dataclass(frozen=True)
class Fees:
    """Fees of a transaction, wei a unit of gas."""

    base: int  # on a chain without EIP-1559, the price
    tip: int
    cap: int
    has_base: bool = True  # EIP-1559

    @property
    def now(self) -> int:
        """What a transaction of the next block pays."""
        return self.base + self.tip


class FeeTooHigh(ChainError):
    """Gas costs more than the ceiling allows."""


def read_fees(web3: Web3, policy: FeePolicy | None = None) -> Fees:
    """The fees of now.

    Raises:
        FeeTooHigh: they stayed above the ceiling for as long as the policy waits.
    """
    policy = policy or FeePolicy()
    give_up = time.monotonic() + policy.patience
    while True:
        with readable("the fees"):
            block = web3.eth.get_block("latest")
            has_base = "baseFeePerGas" in block
            base = int(block["baseFeePerGas"] if has_base else web3.eth.gas_price)
        tip = policy.tip(_suggested_tip(web3), base) if has_base else 0
        try:
            return capped(base, tip, policy, has_base)
        except FeeTooHigh:
            if time.monotonic() + LOOK_SECONDS > give_up:
                raise
        time.sleep(LOOK_SECONDS)


def _suggested_tip(web3: Web3) -> int:
    """What the endpoint suggests; some know no such request."""
    try:
        return int(web3.manager.request_blocking(RPCEndpoint("eth_maxPriorityFeePerGas"), []), 16)
    except (Web3Exception, ValueError, TypeError):
        return TIP


def capped(base: int, tip: int, policy: FeePolicy, has_base: bool = True) -> Fees:
    """Fees for a base fee and a tip, or for a price, wei.

    Raises:
        FeeTooHigh: they are above the ceiling.
    """
    if base + tip > policy.ceiling_wei:
        parts = f" ({gwei_text(base)} base fee and {gwei_text(tip)} tip)" if has_base else ""
        raise FeeTooHigh(
            f"Gas costs {gwei_text(base + tip)} gwei now{parts}, the ceiling is {gwei_text(policy.ceiling_wei)}: wait"
            " until it is cheaper, or raise the ceiling."
        )
    return Fees(base, tip, min(HEADROOM * base + tip, policy.ceiling_wei) if has_base else base, has_base)


def data_fee(web3: Web3, calldata_bytes: int) -> int:
    """What a transaction pays beside its gas for its data on the other chain, wei, at most; 0 on chains without.

    The oracle's bound is for what compresses badly, as our packed words do.
    """
    with readable("the data fee"):
        if not web3.eth.get_code(DATA_FEE_ORACLE):
            return 0
        data = keccak(text="getL1FeeUpperBound(uint256)")[:4] + encode(
            ["uint256"], [calldata_bytes + TRANSACTION_BYTES]
        )
        answer = web3.eth.call({"to": DATA_FEE_ORACLE, "data": HexBytes(data)})
        (fee,) = decode(["uint256"], answer)
    return cast(int, fee)


def gwei_text(wei: int) -> str:
    """Wei as gwei, with as many digits as matter."""
    return f"{wei / GWEI:.6g}" if wei >= GWEI // 10**4 else f"{wei / GWEI:.9f}".rstrip("0").rstrip(".") or "0"


def ether_text(wei: int) -> str:
    """Wei as ether, rounded up to six decimals."""
    return f"{math.ceil(wei / 10**12) / 10**6:.6f} ETH"


def euro(wei: int | float, eth_price_eur: float = ETH_PRICE_EUR) -> float:
    """The price of an amount of wei, euro."""
    return wei / ETHER * eth_price_eur
