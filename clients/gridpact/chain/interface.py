"""Calls and events of a contract as bytes.

web3 works out selectors, topics and types anew for every request, some 10 ms of a node's time; here it is done once.
What a node reads and writes is decoded and encoded by eth_abi's compiled fork where it is there (the package's extra
`fast`), in half the time and less.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, cast

from eth_utils.abi import collapse_if_tuple, event_abi_to_log_topic, function_abi_to_4byte_selector
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes
from web3.types import EventData

from gridpact.chain.reverts import Abi, first_line
from gridpact.errors import ChainError

try:
    from faster_eth_abi.abi import decode, encode
    from faster_eth_abi.exceptions import DecodingError as DecodingError
    from faster_eth_abi.exceptions import EncodingError
except ImportError:
    from eth_abi.abi import decode, encode
    from eth_abi.exceptions import DecodingError, EncodingError  # type: ignore[assignment]


class _Items:
    """Arguments or values as the ABI has them."""

    def __init__(self, items: Iterable[Mapping[str, Any]]) -> None:
        self.items = tuple(items)
        self._types = [collapse_if_tuple(cast(Any, item)) for item in self.items]

    def encode(self, values: Sequence[Any]) -> bytes:
        return encode(self._types, values)

    def decode(self, data: bytes) -> tuple[Any, ...]:
        return decode(self._types, data)

    def named(self, values: Sequence[Any]) -> dict[str, Any]:
        """Values by name, structs as mappings."""
        return _named(self.items, values)


@dataclass(frozen=True)
class _Function:
    name: str
    selector: bytes
    inputs: _Items
    outputs: _Items


@dataclass(frozen=True)
class _Event:
    name: str
    topic: bytes
    indexed: _Items
    data: _Items


class Interface:
    """What an ABI says, ready for use. Names must not be overloaded; indexed arguments are values of one word."""

    def __init__(self, abi: Abi) -> None:
        self._abi = abi

    @cached_property
    def functions(self) -> dict[str, _Function]:
        return {
            entry["name"]: _Function(
                entry["name"],
                function_abi_to_4byte_selector(cast(Any, entry)),
                _Items(entry.get("inputs", ())),
                _Items(entry.get("outputs", ())),
            )
            for entry in self._abi
            if entry["type"] == "function"
        }

    @cached_property
    def _by_selector(self) -> dict[bytes, _Function]:
        return {function.selector: function for function in self.functions.values()}

    @cached_property
    def events(self) -> dict[str, _Event]:
        return {
            entry["name"]: _Event(
                entry["name"],
                event_abi_to_log_topic(cast(Any, entry)),
                _Items(item for item in entry["inputs"] if item["indexed"]),
                _Items(item for item in entry["inputs"] if not item["indexed"]),
            )
            for entry in self._abi
            if entry["type"] == "event"
        }

    @cached_property
    def _by_topic(self) -> dict[bytes, _Event]:
        return {event.topic: event for event in self.events.values()}

    def call(self, name: str, arguments: Sequence[Any]) -> str:
        """Calldata, 0x and hexadecimal digits.

        Raises:
            ChainError: the arguments do not fit the ABI.
        """
        function = self.functions[name]
        try:
            return "0x" + (function.selector + function.inputs.encode(arguments)).hex()
        except EncodingError as error:
            raise ChainError(f"The arguments of `{name}` do not fit the ABI: {first_line(error)}.") from error

    def answer(self, name: str, data: str | bytes) -> Any:
        """What a view returned: the value, or a tuple of several.

        Raises:
            ChainError: it does not fit the ABI.
        """
        try:
            outputs = self.functions[name].outputs
            values = tuple(map(_value, outputs.items, outputs.decode(HexBytes(data))))
        except DecodingError as error:
            raise ChainError(
                f"The contract's answer to `{name}` does not fit its ABI: check the address, the ABI and the chain."
            ) from error
        return values[0] if len(values) == 1 else values

    def called(self, data: bytes) -> tuple[str, dict[str, Any]]:
        """Which function calldata calls, and the arguments by name, structs as mappings.

        Raises:
            ChainError: it is none of the contract's, or does not fit.
        """
        function = self._by_selector.get(bytes(data[:4]))
        try:
            if function is None:
                raise DecodingError("no such function")
            return function.name, function.inputs.named(function.inputs.decode(data[4:]))
        except DecodingError as error:
            raise ChainError(
                f"Calldata 0x{data[:36].hex()}… does not fit the ABI: use the ABI of the record."
            ) from error

    def topics(self, names: Sequence[str]) -> list[str]:
        """The first topics of events."""
        return ["0x" + self.events[name].topic.hex() for name in names]

    def event(self, log: Mapping[str, Any]) -> EventData | None:
        """An entry of a log, as web3 names its parts; None where it is no event of the contract's."""
        first, *rest = (HexBytes(topic) for topic in log["topics"])
        event = self._by_topic.get(bytes(first))
        if event is None:
            return None
        words = [_of_word(*pair) for pair in zip(event.indexed.items, rest, strict=True)]
        arguments = event.indexed.named(words) | event.data.named(event.data.decode(HexBytes(log["data"])))
        fields = {
            "event": event.name,
            "args": arguments,
            "address": log["address"],
            "blockNumber": _number(log["blockNumber"]),
            "logIndex": _number(log["logIndex"]),
            "transactionHash": HexBytes(log["transactionHash"]),
        }
        return cast(EventData, fields)


def _named(items: Sequence[Mapping[str, Any]], values: Sequence[Any]) -> dict[str, Any]:
    return {item["name"]: _structured(item, value) for item, value in zip(items, values, strict=True)}


def _structured(item: Mapping[str, Any], value: Any) -> Any:
    kind = str(item["type"])
    if kind == "tuple":
        return _named(item["components"], value)
    if kind == "tuple[]":
        return [_named(item["components"], part) for part in value]
    return _value(item, value)


def _of_word(item: Mapping[str, Any], word: bytes) -> Any:
    """An indexed argument; most are unsigned numbers."""
    return int.from_bytes(word, "big") if item["type"].startswith("uint") else decode([item["type"]], word)[0]


def _value(item: Mapping[str, Any], value: Any) -> Any:
    kind = str(item["type"])
    if kind == "address":
        return to_checksum_address(value)
    return tuple(map(to_checksum_address, value)) if kind == "address[]" else value


def _number(value: int | str) -> int:
    return int(value, 16) if isinstance(value, str) else int(value)
