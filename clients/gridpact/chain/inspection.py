"""Whether what stands on a chain is what was compiled, deployed with what the record says."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

from hexbytes import HexBytes
from web3 import Web3

from gridpact.chain.artifacts import (
    AGGREGATOR,
    CLEARING,
    CLERK,
    DAY,
    FLEXIBILITY,
    REFEREE,
    SEALED_REFEREE,
    SETTLEMENT,
    TOKEN,
    Artifact,
    load,
)
from gridpact.chain.contract import checked_address, input_of
from gridpact.chain.record import Record
from gridpact.chain.reverts import Abi, readable
from gridpact.errors import ChainError, InputError

PUSH1, PUSH32 = 0x60, 0x7F

MOST_DECIMALS = 18
"""Of a token that the settlement contract takes."""


@dataclass(frozen=True)
class Found:
    """A contract that is as it must be."""

    name: str
    address: str
    code_bytes: int
    immutables: int  # places in the code that the constructor filled in


def inspect_deployment(web3: Web3, record: Record) -> list[Found]:
    """Compares each contract of a deployment with what was compiled.

    The transaction that created it carries the compiled bytecode and the constructor arguments of the record; the code
    that stands there is the compiled one but for immutable values; and the contract itself names these values.

    Raises:
        ChainError: it says what differs.
    """
    contracts = creations(record)
    inspected = []
    for name, (address, artifact, arguments) in contracts.items():
        _check_creation(web3, name, address, record.transactions[name], creation_data(web3, artifact, arguments))
        with readable(f"the code of {name}"):
            code = bytes(web3.eth.get_code(checked_address(address)))
        inspected.append(Found(name, address, len(code), compare_code(name, address, artifact, code)))
    _check_values(web3, record)
    return inspected


def creations(record: Record) -> dict[str, tuple[str, Artifact, tuple[object, ...]]]:
    """Address, compiled contract and constructor arguments of each contract that was deployed, in order."""
    constants = tuple(record.theta.values()), tuple(record.setting.values())
    settlement = record.aggregator, record.token, record.supplier, record.metering
    every: dict[str, tuple[str, tuple[object, ...]]] = {
        TOKEN: (record.token, ()),
        REFEREE: (record.referee, ()),
        SEALED_REFEREE: (record.referee, ()),
        CLERK: (record.clerk, (*constants, record.referee)),
        AGGREGATOR: (record.aggregator, (record.clerk,)),
        SETTLEMENT: (record.settlement, settlement),
        CLEARING: (record.clearing, (record.settlement, record.token, record.supplier)),
        DAY: (record.day_settlement, (record.settlement, *settlement[1:], record.clearing)),
        FLEXIBILITY: (record.flexibility, (record.day_settlement,)),
    }
    return {
        name: (address, load(name), arguments)
        for name, (address, arguments) in every.items()
        if name in record.transactions
    }


def creation_data(web3: Web3, artifact: Artifact, arguments: tuple[object, ...]) -> bytes:
    """What the transaction that deploys a contract carries."""
    factory = web3.eth.contract(abi=cast(Any, artifact.abi), bytecode=cast(Any, artifact.bytecode))
    return bytes(HexBytes(factory.constructor(*arguments).data_in_transaction))


def _check_creation(web3: Web3, name: str, address: str, transaction_hash: str, data: bytes) -> None:
    with readable(f"the transaction that deployed {name}"):
        receipt = web3.eth.get_transaction_receipt(HexBytes(transaction_hash))
        sent = input_of(web3.eth.get_transaction(HexBytes(transaction_hash)))
    if receipt["status"] != 1 or str(receipt["contractAddress"]).lower() != address.lower():
        raise ChainError(
            f"The transaction {transaction_hash} did not create {name} at {address}: deploy again, or correct the"
            " record."
        )
    compiled = bytes(HexBytes(load(name).bytecode))
    if not sent.startswith(compiled):
        raise ChainError(f"{name} at {address} was deployed from another bytecode than was compiled: deploy again.")
    if sent != data:
        raise ChainError(
            f"{name} at {address} was deployed with other constructor arguments than the record says: deploy again."
        )


def compare_code(name: str, address: str, artifact: Artifact, code: bytes) -> int:
    """Compares the code at an address with the compiled one. Returns the number of immutable values in it.

    An immutable value is 32 zero bytes after a PUSH32 in the compiled code; the compiler writes no other zero in this
    way.
    """
    if not code:
        raise ChainError(f"There is no code at {address}, where {name} should be: check the chain and the record.")
    compiled = artifact.runtime
    if len(code) != len(compiled):
        raise ChainError(
            f"The code of {name} at {address} has {len(code)} bytes, another length than the compiled one: it was"
            " compiled from other sources or settings, so deploy again."
        )
    place = immutables = 0
    while place < len(compiled):
        operand = max(compiled[place] - PUSH1 + 1, 0) if compiled[place] <= PUSH32 else 0
        following = place + 1 + operand
        if compiled[place] == PUSH32 and not any(compiled[place + 1 : following]):
            immutables += 1
            same = code[place] == PUSH32
        else:
            same = code[place:following] == compiled[place:following]
        if not same:
            raise ChainError(
                f"The code of {name} at {address} differs from the compiled one at byte {place}: it was compiled from"
                " other sources or settings, so deploy again."
            )
        place = following
    return immutables


def _check_values(web3: Web3, record: Record) -> None:
    """The values as the contracts themselves tell them."""
    referee, aggregator, settlement = (
        _reader(web3, address, abi)
        for address, abi in (
            (record.referee, load(REFEREE).abi),
            (record.aggregator, record.aggregator_abi),
            (record.settlement, record.settlement_abi),
        )
    )
    expected: dict[str, tuple[object, object]] = {
        "theta": (tuple(aggregator("theta")), tuple(record.theta.values())),
        "the setting": (tuple(aggregator("setting")), tuple(record.setting.values())),
        "the referee": (aggregator("referee"), record.referee),
        "the clerk": (aggregator("clerk"), record.clerk),
        "whether rounds are sealed": (referee("seals"), record.sealed),
        "the aggregator": (settlement("aggregator"), record.aggregator),
        "the token": (settlement("token"), record.token),
        "the supplier": (settlement("supplier"), record.supplier),
        "the metering account": (settlement("metering"), record.metering),
    }
    if record.day_settlement:
        day = _reader(web3, record.day_settlement, load(DAY).abi)
        expected |= {
            "the settlement of its days": (day("settlement"), record.settlement),
            "the clearing of its days": (day("clearing"), record.clearing),
            "the supplier of its days": (day("supplier"), record.supplier),
            "the metering account of its days": (day("metering"), record.metering),
        }
    if record.flexibility:
        flexibility = _reader(web3, record.flexibility, load(FLEXIBILITY).abi)
        expected |= {
            "the days of its flexibility": (flexibility("ledger"), record.day_settlement),
            "the token of its flexibility": (flexibility("token"), record.token),
        }
    for what, (actual, wanted) in expected.items():
        if actual != wanted:
            raise ChainError(f"The contracts hold another value for {what} ({actual}) than the record ({wanted}).")


def check_token(web3: Web3, address: str) -> None:
    """Whether an ERC-20 token that the settlement contract can take is at an address.

    Raises:
        InputError: it is not.
    """
    with readable("the code of the token"):
        chain_id, code = web3.eth.chain_id, web3.eth.get_code(checked_address(address))
    if not code:
        raise InputError(
            f"There is no contract at the token's address {address} on chain {chain_id}: give the address of an ERC-20"
            " token there, or none, which deploys a test token."
        )
    try:
        decimals = int(_reader(web3, address, load(TOKEN).abi)("decimals"))
    except ChainError as error:
        raise InputError(f"What is at the token's address {address} is no ERC-20 token: check the address.") from error
    if decimals > MOST_DECIMALS:
        raise InputError(f"The token {address} has {decimals} decimals, above {MOST_DECIMALS}: take another one.")


def _reader(web3: Web3, address: str, abi: Abi) -> Callable[[str], Any]:
    contract: Any = web3.eth.contract(checked_address(address), abi=cast(Any, abi))

    def read(name: str) -> Any:
        with readable(f"`{name}` of {address}"):
            return contract.functions[name]().call()

    return read
