"""What transactions have cost, as their receipts tell."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import Web3Exception

from gridpact.chain.reverts import readable


@dataclass(frozen=True)
class Spent:
    """What transactions have cost, whoever sent them."""

    gas: int = 0
    wei: int = 0  # the fee for data on another chain included, where the receipts tell it
    transactions: int = 0


def spent_by(web3: Web3, transaction: bytes) -> Spent:
    """What one transaction has cost.

    Raises:
        ChainError: the endpoint does not give its receipt.
    """
    receipt = _receipt(web3, transaction)
    gas = int(receipt["gasUsed"])
    return Spent(gas, gas * int(receipt.get("effectiveGasPrice", 0)) + _data_fee(receipt), 1)


def _receipt(web3: Web3, transaction: bytes) -> Any:
    """Some nodes know a receipt a moment after the logs of its block."""
    for pause in (0.1, 0.2, 0.5, 1.0, 2.0):
        with contextlib.suppress(Web3Exception):
            return web3.eth.get_transaction_receipt(HexBytes(transaction))
        time.sleep(pause)
    with readable("a receipt"):
        return web3.eth.get_transaction_receipt(HexBytes(transaction))


def _data_fee(receipt: Any) -> int:
    """What an OP-stack chain charged for the data, wei."""
    fee = receipt.get("l1Fee", 0)
    return int(fee, 16) if isinstance(fee, str) else int(fee or 0)
