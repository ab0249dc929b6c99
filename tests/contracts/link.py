"""Contracts without brownie in between, which takes a tenth of a second a transaction: calls, views, events, errors."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from brownie import web3
from brownie.network.account import LocalAccount
from eth_abi import decode, encode
from eth_account import Account
from eth_utils import keccak, to_checksum_address

GAS = 25_000_000


class Reverted(Exception):
    """A call was refused with a custom error: `Name: value, value`, or with a panic: `Panic`."""


@contextmanager
def refused(message: str) -> Iterator[None]:
    """What happens inside is refused with this error."""
    said = None
    try:
        yield
    except Reverted as error:
        said = str(error)
    assert said == message


def rpc(method: str, *parameters: Any) -> Any:
    answer = web3.provider.make_request(method, list(parameters))
    assert "error" not in answer, answer
    return answer["result"]


def receipt_of(hash_: str) -> Any:
    """Once the transaction is in a block: a busy chain says that it has it before that."""
    while (receipt := rpc("eth_getTransactionReceipt", hash_)) is None:
        time.sleep(0.002)
    return receipt


def type_of(item: Mapping[str, Any]) -> str:
    """The ABI type of an argument, tuples spelt out."""
    if not item["type"].startswith("tuple"):
        return str(item["type"])
    return f"({','.join(map(type_of, item['components']))}){item['type'].removeprefix('tuple')}"


def signature_of(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(map(type_of, entry['inputs']))})"


@dataclass(frozen=True)
class Event:
    name: str
    values: dict[str, Any]  # addresses with checksum

    def __getitem__(self, key: str) -> Any:
        return self.values[key]


@dataclass(frozen=True)
class Receipt:
    gas_used: int
    timestamp: int
    events: tuple[Event, ...]

    @property
    def names(self) -> list[str]:
        return [event.name for event in self.events]

    def all(self, name: str) -> list[Event]:
        return [event for event in self.events if event.name == name]

    def one(self, name: str) -> Event:
        (event,) = self.all(name)
        return event


class Link:
    """One contract.

    Args:
        contract: as brownie deployed it.
    """

    def __init__(self, contract: Any) -> None:
        self.address = str(contract.address)
        self.abi = contract.abi

    @cached_property
    def functions(self) -> dict[str, tuple[bytes, list[str], list[str]]]:
        """Selector, types of arguments and of results, by name."""
        return {
            entry["name"]: (
                keccak(text=signature_of(entry))[:4],
                [type_of(item) for item in entry["inputs"]],
                [type_of(item) for item in entry["outputs"]],
            )
            for entry in self.abi
            if entry["type"] == "function"
        }

    @cached_property
    def errors(self) -> dict[bytes, tuple[str, list[str]]]:
        """Name and types of values, by selector; also of the error that comes through from the referee."""
        return {keccak(text="NotProved(string)")[:4]: ("NotProved", ["string"])} | {
            keccak(text=signature_of(entry))[:4]: (entry["name"], [type_of(item) for item in entry["inputs"]])
            for entry in self.abi
            if entry["type"] == "error"
        }

    @cached_property
    def events(self) -> dict[bytes, Mapping[str, Any]]:
        return {keccak(text=signature_of(entry)): entry for entry in self.abi if entry["type"] == "event"}

    def data(self, name: str, *arguments: Any) -> str:
        selector, types, _ = self.functions[name]
        return "0x" + (selector + encode(types, arguments)).hex()

    def view(self, name: str, *arguments: Any) -> Any:
        """What a view returns; a single value without its tuple."""
        return read([(self, name, *arguments)])[0]

    def attempt(self, sender: Any, name: str, *arguments: Any) -> None:
        """Raises what the call would be refused with; changes nothing."""
        call = {"from": str(sender), "to": self.address, "data": self.data(name, *arguments), "gas": hex(GAS)}
        answer = web3.provider.make_request("eth_call", [call, "latest"])
        if "error" in answer:
            raise Reverted(self.error(_revert_data(answer["error"])))

    def send(self, sender: Any, name: str, *arguments: Any) -> Receipt:
        """A transaction.

        Raises:
            Reverted: it is refused; then it is not sent.
        """
        self.attempt(sender, name, *arguments)
        call = {"from": str(sender), "to": self.address, "data": self.data(name, *arguments), "gas": hex(GAS)}
        if isinstance(sender, LocalAccount):
            call |= {
                "nonce": int(rpc("eth_getTransactionCount", str(sender), "latest"), 16),
                "gasPrice": 2 * 10**9,
                "chainId": web3.eth.chain_id,
                "gas": GAS,
                "value": 0,
            }
            del call["from"]
            raw = Account.sign_transaction(call, sender.private_key).raw_transaction
            hash_ = rpc("eth_sendRawTransaction", "0x" + raw.hex().removeprefix("0x"))
        else:
            hash_ = rpc("eth_sendTransaction", {**call, "gasPrice": hex(2 * 10**9)})
        receipt = receipt_of(hash_)
        assert receipt["status"] == "0x1", "a view of the call passed, the transaction did not"
        block = rpc("eth_getBlockByNumber", receipt["blockNumber"], False)
        return Receipt(
            int(receipt["gasUsed"], 16),
            int(block["timestamp"], 16),
            tuple(self._event(log) for log in receipt["logs"] if log["address"].lower() == self.address.lower()),
        )

    def timestamp(self) -> int:
        """Of the newest block."""
        return int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)

    def error(self, data: bytes) -> str:
        """A custom error in words."""
        if data[:4] == keccak(text="Panic(uint256)")[:4]:
            return "Panic"
        if data[:4] not in self.errors:
            return f"0x{data.hex()}"
        name, types = self.errors[data[:4]]
        return f"{name}: {', '.join(map(str, decode(types, data[4:])))}"

    def error_data(self, name: str, *values: Any) -> bytes:
        """A custom error as bytes."""
        ((selector, types),) = [(key, types) for key, (found, types) in self.errors.items() if found == name]
        return selector + encode(types, values)

    def _event(self, log: Mapping[str, Any]) -> Event:
        topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
        entry = self.events[topics[0]]
        indexed = [item for item in entry["inputs"] if item["indexed"]]
        others = [item for item in entry["inputs"] if not item["indexed"]]
        values = {
            item["name"]: decode([type_of(item)], topic)[0] for item, topic in zip(indexed, topics[1:], strict=True)
        }
        data = bytes.fromhex(log["data"][2:])
        values |= dict(
            zip((item["name"] for item in others), decode([type_of(item) for item in others], data), strict=True)
        )
        for item in entry["inputs"]:
            if item["type"] == "address":
                values[item["name"]] = to_checksum_address(values[item["name"]])
        return Event(entry["name"], {item["name"]: values[item["name"]] for item in entry["inputs"]})


def _revert_data(error: Mapping[str, Any]) -> bytes:
    """Anvil has the data itself, Ganache may have it in a dictionary."""
    data = error.get("data", "0x")
    if isinstance(data, Mapping):
        data = data.get("result") or next((one["return"] for one in data.values() if isinstance(one, Mapping)), "0x")
    return bytes.fromhex(str(data)[2:])


def read(calls: Iterable[tuple[Any, ...]]) -> list[Any]:
    """What views return, in one request: link, name and arguments of each. A single value comes without its tuple."""
    calls = list(calls)
    if not calls:
        return []
    requests = [
        ("eth_call", [{"to": link.address, "data": link.data(name, *arguments)}, "latest"])
        for link, name, *arguments in calls
    ]
    answers: Any = web3.provider.make_batch_request(requests)
    return [_decoded(link, name, answer) for (link, name, *_), answer in zip(calls, answers, strict=True)]


def _decoded(link: Link, name: str, answer: Mapping[str, Any]) -> Any:
    if "error" in answer:
        raise Reverted(link.error(_revert_data(answer["error"])))
    values = decode(link.functions[name][2], bytes.fromhex(answer["result"][2:]))
    return values[0] if len(values) == 1 else values


def grouped(*groups: Sequence[tuple[Any, ...]]) -> list[list[Any]]:
    """Reads several groups in one request."""
    answers = iter(read(call for group in groups for call in group))
    return [[next(answers) for _ in group] for group in groups]
