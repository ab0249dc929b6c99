"""What the wrappers of both contracts share: checks at the start, reads, transactions, events."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

from eth_typing import ChecksumAddress
from hexbytes import HexBytes
from web3 import Web3
from web3.types import EventData, RPCEndpoint, TxReceipt

from gridpact.chain.account import ChainAccount, ContractCall
from gridpact.chain.interface import Interface
from gridpact.chain.logs import LogReader
from gridpact.chain.reverts import Abi, learn_errors, readable
from gridpact.errors import ChainError, InputError, Reorganised

READ_ATTEMPTS, READ_PAUSE = 5, 0.1
"""How often a view is asked for while the chain is taken back, a log while it lags behind; and seconds in between."""


Value = TypeVar("Value")


class DeployedContract:
    """A contract at an address.

    Args:
        account: that sends; without one it is only asked.
        chain_id: on which it must be, if that is known.
        first_block: none of its events is older.
    """

    def __init__(
        self,
        web3: Web3,
        address: str,
        abi: Abi,
        account: ChainAccount | None = None,
        chain_id: int | None = None,
        first_block: int = 0,
    ) -> None:
        self.web3 = web3
        self.address = checked_address(address)
        self.account = account
        self.first_block = first_block
        learn_errors(abi)
        self.interface = Interface(abi)
        self._logs = LogReader(web3)
        with readable("the first request"):
            self.chain_id = web3.eth.chain_id
            code = web3.eth.get_code(self.address)
        if chain_id not in (None, self.chain_id):
            raise InputError(
                f"The contracts are on chain {chain_id} but the network is chain {self.chain_id}: give the"
                " network that the record of the deployment names."
            )
        if not code:
            raise InputError(
                f"There is no contract at {self.address} on chain {self.chain_id}: check the address, or deploy first."
            )

    def call(self, name: str, *arguments: Any) -> ContractCall:
        """A call, to be estimated or sent by an account.

        Raises:
            InputError: the ABI has no such function.
            ChainError: the arguments do not fit the ABI.
        """
        return ContractCall(name, self.address, self._calldata(name, arguments))

    def _read(self, name: str, *arguments: Any) -> Any:
        """Calls a view, at the newest block: anew where that was taken back in the same moment."""
        call = {"to": self.address, "data": self._calldata(name, arguments)}
        for _ in range(READ_ATTEMPTS):
            with suppress(Reorganised), readable(f"`{name}`"):
                return self.interface.answer(name, self.request("eth_call", call, "latest"))
            time.sleep(READ_PAUSE)
        raise Reorganised(f"The chain is taken back again and again during `{name}`: look at its node.")

    def ask_another(self) -> None:
        """Of several endpoints, the next one is asked first from now on."""
        turn = getattr(self.web3.provider, "turn", None)
        if turn is not None:
            turn()

    def request(self, method: str, *parameters: Any) -> Any:
        """A request whose answer is taken as it is."""
        return self.web3.manager.request_blocking(RPCEndpoint(method), list(parameters))

    def request_together(self, method: str, several: Sequence[Sequence[Any]]) -> list[Any]:
        """The results for several parameters, in one request where the chain is outside this process; what is refused
        or not there is None."""
        ask = getattr(self.web3.provider, "make_requests", None)
        if ask is None:
            return [None] * len(several)
        return [answer.get("result") for answer in ask(RPCEndpoint(method), several)]

    def _send(
        self, name: str, *arguments: Any, gas: int | None = None, spare: int = 0, afresh: bool = False
    ) -> TxReceipt:
        """Sends a transaction and waits for it; gas as for `ChainAccount.send`."""
        if self.account is None:
            raise ChainError(f"`{name}` needs an account: this connection only reads.")
        return self.account.send(self.call(name, *arguments), gas, spare, afresh)

    def _events(self, name: str, lowest: Callable[[], int] | None = None, **indexed: int) -> list[EventData]:
        """The events with the given indexed arguments, in the chain's order.

        Args:
            lowest: see `LogReader.read`.
        """
        wanted = [indexed.get(item["name"]) for item in self.interface.events[name].indexed.items]
        return self._log([name], *wanted, lowest=lowest)

    def _log(
        self,
        names: Sequence[str],
        *indexed: int | None,
        since: int = 0,
        lowest: Callable[[], int] | None = None,
        is_sought: Callable[[EventData], bool] | None = None,
    ) -> list[EventData]:
        """Events of several kinds, in the chain's order.

        Args:
            indexed: their first indexed arguments, which all of them have; None where any will do.
            since: a block before which nothing is looked for.
            lowest: see `LogReader.read`.
            is_sought: which of the events is looked for; what is older may be missing.
        """
        words = [None if number is None else "0x" + number.to_bytes(32, "big").hex() for number in indexed]
        wanted = {"address": self.address, "topics": [self.interface.topics(names), *words]}

        def has_it(entries: Sequence[Mapping[str, Any]]) -> bool:
            return is_sought is not None and any(map(is_sought, self.own_events(entries)))

        with readable("the log"):
            first = max(since, self.first_block)
            return self.own_events(self._logs.read(wanted, first, lowest, has_it if is_sought else None))

    def own_events(self, logs: Iterable[Mapping[str, Any]]) -> list[EventData]:
        """The contract's events among entries of a log."""
        own = (log for log in logs if log["address"].lower() == self.address.lower())
        return [event for event in map(self.interface.event, own) if event is not None]

    def _said_in(self, receipt: TxReceipt, event: str) -> Mapping[str, Any]:
        """What an event says that a transaction must have led to.

        Raises:
            ChainError: it is not in the receipt.
        """
        for own in self.own_events([dict(log) for log in receipt["logs"]]):
            if own["event"] == event:
                return arguments_of(own)
        raise ChainError(f"The receipt of {HexBytes(receipt['transactionHash']).to_0x_hex()} has no {event}.")

    def _calldata(self, name: str, arguments: Sequence[Any]) -> str:
        if name not in self.interface.functions:
            raise InputError(f"The ABI of {self.address} has no function `{name}`: use the ABI of the record.")
        return self.interface.call(name, arguments)


def checked_address(address: str) -> ChecksumAddress:
    """The address with its checksum."""
    if not isinstance(address, str) or not Web3.is_address(address):
        raise InputError(f"'{address}' is no address: give 0x and 40 hexadecimal digits.")
    return Web3.to_checksum_address(address)


def in_time(read: Callable[[], Value], complete: Callable[[Value], bool]) -> Value:
    """What is read of the log, once it is complete, or as it is after a moment.

    A chain may answer of the state after a block before it finds the block's log. As a rule it is one request.
    """
    for _ in range(READ_ATTEMPTS - 1):
        value = read()
        if complete(value):
            return value
        time.sleep(READ_PAUSE)
    return read()


def chain_time(web3: Web3) -> int:
    """The time that the next block will have at least: of the last block, or of the day if that is later."""
    with readable("the last block"):
        return max(int(web3.eth.get_block("latest")["timestamp"]), int(time.time()))


def input_of(transaction: Mapping[str, Any]) -> bytes:
    """What a transaction was sent with: its `input`, which chains inside a process call `data`, as requests do.

    Raises:
        ChainError: the endpoint tells neither.
    """
    with readable("a transaction"):
        return bytes(HexBytes(transaction["input"] if "input" in transaction else transaction["data"]))


def arguments_of(event: EventData) -> Mapping[str, Any]:
    """An event's arguments by name."""
    return cast("Mapping[str, Any]", event["args"])
