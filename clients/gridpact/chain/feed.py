"""All events of a deployment for whoever keeps them, with the hashes of blocks by which a taken back one shows.

`Feed` asks; it remembers nothing. What an event is called and what it says comes from the ABI of the record, so a
contract that tells more is followed without a change here.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from hexbytes import HexBytes
from web3 import Web3
from web3.exceptions import BadFunctionCallOutput, BlockNotFound

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.artifacts import DAY, FLEXIBILITY, PRODUCTS, load
from gridpact.chain.contract import arguments_of
from gridpact.chain.day import DaySettlement
from gridpact.chain.interface import DecodingError, Interface
from gridpact.chain.logs import Entry, LogReader
from gridpact.chain.record import Record
from gridpact.chain.reverts import readable
from gridpact.chain.settlement import Settlement
from gridpact.chain.spent import Spent, spent_by
from gridpact.chain.transport import url_of
from gridpact.chain.values import Setting, Theta
from gridpact.chain.watch import Watch, watch_events
from gridpact.errors import ChainError, ContractError, InputError, Reorganised

OF_DAY, OF_PRODUCTS, OF_CALLS = "day.", "products.", "calls."
"""Before the names of the events of the settlement of days, which has some that the other one has, too, of the products
on it, and of what an aggregator calls its members for."""


@dataclass(frozen=True)
class ChainBlock:
    number: int
    hash: str  # 0x and hexadecimal digits
    time: int  # unix


@dataclass(frozen=True)
class ChainEvent:
    """One event."""

    block: ChainBlock
    index: int  # among the events of its block
    transaction: str  # hash
    name: str
    arguments: Mapping[str, Any]  # arguments by name


@dataclass(frozen=True)
class Currency:
    """The token that pays."""

    symbol: str
    decimals: int


class Feed:
    """The events of the contracts of a record, through one connection, for one thread.

    Raises:
        InputError: the contracts are not there, or are none of gridpact's.
        ChainError: the chain does not answer.
    """

    def __init__(self, record: Record, web3: Web3) -> None:
        self._web3 = web3
        with _ours(record):
            aggregator = Aggregator.of(record, web3)
            self.theta: Theta = aggregator.theta()
            self.setting: Setting = aggregator.setting()
            token = Settlement.of(record, web3).token
            self.currency = Currency(token.symbol(), token.decimals())
        self.first_block = record.block
        self._contracts = {
            record.aggregator: ("", Interface(record.aggregator_abi)),
            record.settlement: ("", Interface(record.settlement_abi)),
        }
        if record.day_settlement:
            with _ours(record):
                products = DaySettlement.of(record, web3).products.address
            self._contracts[record.day_settlement] = (OF_DAY, Interface(load(DAY).abi))
            self._contracts[products] = (OF_PRODUCTS, Interface(load(PRODUCTS).abi))
        if record.flexibility:
            self._contracts[record.flexibility] = (OF_CALLS, Interface(load(FLEXIBILITY).abi))
        self._logs = {address: LogReader(web3) for address in self._contracts}
        topics = [topic for _, one in self._contracts.values() for topic in one.topics(list(one.events))]
        self._watch: Watch = watch_events(url_of(web3), list(self._contracts), topics)

    def newest(self) -> ChainBlock:
        """The newest block."""
        with readable("the last block"):
            return _block(self._web3.eth.get_block("latest"))

    def block(self, number: int) -> ChainBlock | None:
        """The block of a number as the chain has it now; None where it ends before."""
        try:
            with readable("a block"):
                return _block(self._web3.eth.get_block(number))
        except Exception as error:
            if isinstance(error.__cause__, BlockNotFound):
                return None
            raise

    def between(self, first: int, last: ChainBlock) -> list[ChainEvent]:
        """The events from a block on, up to another, in the chain's order.

        Raises:
            Reorganised: the chain was taken back meanwhile.
        """
        entries: list[tuple[str, Interface, Entry]] = []
        for address, (prefix, interface) in self._contracts.items():
            with readable("the log"):
                logged = self._logs[address].read({"address": address}, first)
            entries += [(prefix, interface, entry) for entry in logged if _number(entry["blockNumber"]) <= last.number]
        blocks = {last.number: last}
        events = []
        for prefix, interface, entry in sorted(entries, key=lambda of: _place(of[2])):
            block = self._block_of(entry, blocks)
            if (event := interface.event(entry)) is not None:
                transaction = "0x" + HexBytes(entry["transactionHash"]).hex()
                name = prefix + event["event"]
                events.append(ChainEvent(block, event["logIndex"], transaction, name, arguments_of(event)))
        if self.block(last.number) != last:
            raise Reorganised(f"The chain was taken back before block {last.number}: read it again.")
        return events

    def spent(self, transaction: str) -> Spent:
        """What a transaction has cost."""
        return spent_by(self._web3, bytes(HexBytes(transaction)))

    def wait(self, seconds: float) -> None:
        """Until something may have happened: at the latest after the given time."""
        self._watch.wait(seconds)

    def close(self) -> None:
        """Ends the subscription."""
        self._watch.close()

    def _block_of(self, entry: Entry, known: dict[int, ChainBlock]) -> ChainBlock:
        """The block that an entry is of, if the chain still has it."""
        number, hash_ = _number(entry["blockNumber"]), "0x" + HexBytes(entry["blockHash"]).hex()
        if number not in known:
            if stamp := entry.get("blockTimestamp"):  # not all endpoints tell it
                known[number] = ChainBlock(number, hash_, _number(stamp))
            elif (block := self.block(number)) is not None:
                known[number] = block
        if number not in known or known[number].hash != hash_:
            raise Reorganised(f"Block {number} was taken back: read it again.")
        return known[number]


@contextmanager
def _ours(record: Record) -> Iterator[None]:
    """A contract that does not answer as gridpact's do is another one: that the chain is away is not said so."""
    try:
        yield
    except ChainError as error:
        if isinstance(error, ContractError) or isinstance(error.__cause__, DecodingError | BadFunctionCallOutput):
            raise InputError(
                f"What stands at {record.aggregator}, {record.settlement} or {record.token} is not of gridpact"
                f" ({str(error).rstrip('.')}): use the record of the deployment."
            ) from error
        raise


def _block(answer: Any) -> ChainBlock:
    return ChainBlock(int(answer["number"]), "0x" + HexBytes(answer["hash"]).hex(), int(answer["timestamp"]))


def _number(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)


def _place(entry: Entry) -> tuple[int, int]:
    return _number(entry["blockNumber"]), _number(entry["logIndex"])
