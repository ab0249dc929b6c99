"""What the wrappers of both contracts share: checks at the start, reads, transactions, events."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, cast

from eth_typing import ChecksumAddress
from web3 import Web3
from web3.types import EventData, TxReceipt

from gridpact.chain.account import ChainAccount
from gridpact.chain.reverts import Abi, learn_errors, readable
from gridpact.errors import ChainError, InputError


class DeployedContract:
    """A contract at an address."""

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
    ) -> None:
        self.web3 = web3
        self.address = checked_address(address)
        self.account = account
        learn_errors(abi)
        self._contract = web3.eth.contract(self.address, abi=cast(Any, abi))
        with readable("the first request"):
            actual = web3.eth.chain_id
            code = web3.eth.get_code(self.address)
        if chain_id is not None and chain_id != actual:
            raise InputError(
                f"The contracts are on chain {chain_id} but the network is chain {actual}: give the"
                " network that the record of the deployment names."
            )
        if not code:
            raise InputError(
                f"There is no contract at {self.address} on chain {actual}: check the address, or deploy first."
            )

    def _read(self, name: str, *arguments: Any) -> Any:
        """Calls a view."""
        with readable(f"`{name}`"):
            return self._function(name)(*arguments).call()

    def _send(self, name: str, *arguments: Any, gas: int | None = None) -> TxReceipt:
        """Sends a transaction and waits for it."""
        if self.account is None:
            raise ChainError(f"`{name}` needs an account: this connection only reads.")
        with readable(f"`{name}`"):  # arguments that do not fit the ABI
            call = self._function(name)(*arguments)
        return self.account.send(call, gas)

    def _events(self, name: str, first_block: int, **indexed: Any) -> list[EventData]:
        """The events since a block with the given indexed arguments, in the chain's order: one request."""
        with readable(f"the events {name}"):
            event = getattr(self._contract.events, name)
            logs = event.get_logs(from_block=first_block, argument_filters=dict(indexed))
            return cast("list[EventData]", logs)

    def _function(self, name: str) -> Any:
        try:
            return self._contract.functions[name]
        except Exception as error:  # web3 raises a kind of its own for each way not to have it
            raise InputError(
                f"The ABI of {self.address} has no function `{name}`: use the ABI of the record."
            ) from error


def checked_address(address: str) -> ChecksumAddress:
    """The address with its checksum."""
    if not isinstance(address, str) or not Web3.is_address(address):
        raise InputError(f"'{address}' is no address: give 0x and 40 hexadecimal digits.")
    return Web3.to_checksum_address(address)


def chain_time(web3: Web3) -> int:
    """The time that the next block will have at least: of the last block, or of the day if that is later."""
    with readable("the last block"):
        return max(int(web3.eth.get_block("latest")["timestamp"]), int(time.time()))


def arguments_of(event: EventData) -> Mapping[str, Any]:
    """An event's arguments by name."""
    return cast("Mapping[str, Any]", event["args"])
