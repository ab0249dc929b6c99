"""The contract `TradeSettlement` and its token, typed: deposits, statements and recorded trades."""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence

from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount
from gridpact.chain.contract import DeployedContract, arguments_of
from gridpact.chain.record import Record
from gridpact.chain.reverts import Abi
from gridpact.chain.values import Trade, TradeRecord

ENTRY = struct.Struct(">Bii")
"""step uint8, energy int32 (Wh), price int32 (1e-6 currency/kWh): 9 bytes."""

MOST_STEPS = 192


def encode_trades(entries: Sequence[tuple[int, int, int]]) -> bytes:
    """The statement about one pair: (step, energy_wh, price_micro) for each traded step.

    Energy is positive where the lower node sells. Entries may come in any order; a step may occur once.
    """
    ordered = sorted(entries)
    for position, (step, energy, price) in enumerate(ordered):
        if not 0 <= step < MOST_STEPS:
            raise ValueError(f"step {step} is outside 0 to {MOST_STEPS - 1}")
        if position and ordered[position - 1][0] == step:
            raise ValueError(f"step {step} occurs twice")
        for value, what in ((energy, "energy"), (price, "price")):
            if not -(2**31) <= value < 2**31:
                raise ValueError(f"the {what} {value} of step {step} does not fit 32 bits")
    return b"".join(ENTRY.pack(*entry) for entry in ordered)


def decode_trades(trades: bytes) -> tuple[Trade, ...]:
    """The inverse of `encode_trades`."""
    return tuple(Trade(*entry) for entry in ENTRY.iter_unpack(trades))


class Token(DeployedContract):
    """The ERC-20 token that pays."""

    def balance(self, address: str) -> int:
        """Token units of an account, outside of the settlement contract."""
        return int(self._read("balanceOf", address))

    def decimals(self) -> int:
        """A currency unit has 10^decimals token units."""
        return int(self._read("decimals"))

    def allowance(self, owner: str, spender: str) -> int:
        """What the spender may still take from the owner."""
        return int(self._read("allowance", owner, spender))

    def approve(self, spender: str, amount: int) -> TxReceipt:
        """Lets the spender take an amount."""
        return self._send("approve", spender, amount)


class Settlement(DeployedContract):
    """The settlement contract at an address. `account` is needed to send."""

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        token: str,
        token_abi: Abi,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
        first_block: int = 0,
    ) -> None:
        super().__init__(web3, address, abi, account, chain_id)
        self.token = Token(web3, token, token_abi, account)
        self._first_block = first_block

    @classmethod
    def of(cls, record: Record, web3: Web3, account: ChainAccount | None = None) -> Settlement:
        """The settlement contract of a deployment."""
        return cls(
            web3,
            record.settlement,
            record.settlement_abi,
            record.token,
            record.token_abi,
            account,
            record.chain_id,
            record.block,
        )

    # ------------------------------------------------------------------ household

    def deposit(self, amount: int) -> TxReceipt:
        """Approves where needed, and moves token units into the account's deposit."""
        if self.account is not None and self.token.allowance(self.account.address, self.address) < amount:
            self.token.approve(self.address, amount)
        return self._send("deposit", amount)

    def withdraw(self, amount: int) -> TxReceipt:
        """Moves free deposit back to the account."""
        return self._send("withdraw", amount)

    def state(self, round: int, statements: Mapping[int, bytes]) -> TxReceipt:
        """States the trades of a converged round, encoded by `encode_trades`, by partner."""
        return self._send("state", round, sorted(statements.items()))

    def release(self, round: int, partner: int) -> TxReceipt:
        """Frees what was locked for a pair that was not recorded in time."""
        return self._send("release", round, partner)

    # ------------------------------------------------------------------ views

    def free(self, address: str) -> int:
        """Deposit that can be withdrawn, token units."""
        return int(self._read("free", address))

    def locked(self, address: str) -> int:
        """Deposit that statements hold, token units."""
        return int(self._read("locked", address))

    def total_deposits(self) -> int:
        """Free and locked deposits of all accounts."""
        return int(self._read("totalDeposits"))

    def is_recorded(self, round: int, one: int, other: int) -> bool:
        """Whether the trades of a pair are recorded."""
        return bool(self._read("isRecorded", round, one, other))

    def net_payment(self, round: int, node: int) -> int:
        """What a node received (negative: paid) in a round, token units."""
        return int(self._read("netPayment", round, node))

    def payment(self, trades: bytes) -> int:
        """The payment that a statement implies, token units, positive from the higher to the lower node."""
        return int(self._read("payment", trades))

    def recorded(self, round: int, first_block: int | None = None) -> list[TradeRecord]:
        """The trades recorded for a round, in the order they were recorded."""
        start = self._first_block if first_block is None else first_block
        return [
            TradeRecord(
                round=int(said["round"]),
                lower=int(said["lower"]),
                higher=int(said["higher"]),
                payment=int(said["payment"]),
                trades=decode_trades(bytes(said["trades"])),
            )
            for said in map(arguments_of, self._events("TradeRecorded", start, round=round))
        ]
