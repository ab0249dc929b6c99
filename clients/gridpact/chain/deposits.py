"""A token, and contracts that hold deposits in it, typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from web3 import Web3
from web3.types import TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.contract import DeployedContract, checked_address
from gridpact.chain.reverts import Abi
from gridpact.errors import ChainError, ContractError

Holder = TypeVar("Holder", bound="Deposits")


class TokenRecord(Protocol):
    """Of the record of a deployment, what all of its contracts that hold deposits stand on."""

    @property
    def chain_id(self) -> int: ...

    @property
    def block(self) -> int: ...

    @property
    def token(self) -> str: ...

    @property
    def token_abi(self) -> Abi: ...


class Token(DeployedContract):
    """The ERC-20 token that pays."""

    def balance(self, address: str) -> int:
        """Token units of an account, outside of the settlement contract."""
        return int(self._read("balanceOf", address))

    def symbol(self) -> str:
        """The token's short name."""
        return str(self._read("symbol"))

    def decimals(self) -> int:
        """A currency unit has 10^decimals token units."""
        return int(self._read("decimals"))

    def allowance(self, owner: str, spender: str) -> int:
        """What the spender may still take from the owner."""
        return int(self._read("allowance", owner, spender))

    def approve(self, spender: str, amount: int) -> TxReceipt:
        """Lets the spender take an amount."""
        return self._send("approve", spender, amount)


class Deposits(DeployedContract):
    """A contract that holds deposits in a token. `account` is needed to send."""

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        token: Token,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
        first_block: int = 0,
    ) -> None:
        super().__init__(web3, address, abi, account, chain_id, first_block)
        self.token = token

    @classmethod
    def at(
        cls: type[Holder], address: str, abi: Abi, record: TokenRecord, web3: Web3, account: ChainAccount | None = None
    ) -> Holder:
        """The one at an address, of a deployment."""
        token = Token(web3, record.token, record.token_abi, account)
        return cls(web3, address, abi, token, account, record.chain_id, record.block)

    def deposit(self, amount: int) -> TxReceipt:
        """Approves where needed, and moves token units into the account's deposit."""
        self._approve(amount)
        try:
            return self._send("deposit", amount)
        except ContractError as error:
            if error.name != "ERC20InsufficientAllowance":
                raise
            self._approve(amount)  # the chain was taken back, and the approval with it
            return self._send("deposit", amount)

    def _approve(self, amount: int) -> None:
        if self.account is None or (left := self.token.allowance(self.account.address, self.address)) >= amount:
            return
        try:
            self.token.approve(self.address, amount)
        except ContractError:
            if not left:
                raise
            self.token.approve(self.address, 0)  # some tokens (USDT) change an allowance from or to nothing only
            self.token.approve(self.address, amount)

    def withdraw(self, amount: int) -> TxReceipt:
        """Moves free deposit back to the account."""
        return self._send("withdraw", amount)

    def send_all(self, calls: Sequence[ContractCall]) -> list[TxReceipt]:
        """Sends calls of this contract: all transactions first, then all receipts."""
        if self.account is None:
            raise ChainError("Sending needs an account: this connection only reads.")
        account = self.account
        return account.settle_all([account.post(call, afresh=True) for call in calls])

    def free(self, address: str) -> int:
        """Deposit that can be withdrawn, token units."""
        return int(self._read("free", checked_address(address)))

    def locked(self, address: str) -> int:
        """Deposit that is held for something, token units."""
        return int(self._read("locked", checked_address(address)))

    def total_deposits(self) -> int:
        """Free and locked deposits of all accounts."""
        return int(self._read("totalDeposits"))
