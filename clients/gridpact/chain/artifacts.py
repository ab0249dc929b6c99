"""The compiled contracts that ship with the package."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from typing import Any

from gridpact.chain.reverts import Abi
from gridpact.errors import InputError
from gridpact.files import parse_json

AGGREGATOR = "VirtualAggregator"
TIED = "TiedAggregator"
CLERK = "Clerk"
REFEREE = "Referee"
SEALED_REFEREE = "SealedReferee"
SETTLEMENT = "TradeSettlement"
DAY = "DaySettlement"
CLEARING = "Clearing"
PRODUCTS = "DayProducts"
FLEXIBILITY = "Flexibility"
ORDER_BOOK = "OrderBook"
CALL_AUCTION = "CallAuction"
COMMUNITY_PRICE = "CommunityPrice"
DELIVERIES = "Deliveries"
TOKEN = "TestEuro"


@dataclass(frozen=True)
class Artifact:
    """One compiled contract."""

    name: str
    abi: Abi
    bytecode: str
    compiler: str
    start: int  # of the code that is going to stand on the chain, in the bytecode
    length: int

    @property
    def runtime(self) -> bytes:
        """The code that is going to stand on the chain, with zeros for immutable values."""
        return bytes.fromhex(self.bytecode.removeprefix("0x"))[self.start : self.start + self.length]


def load(name: str) -> Artifact:
    """Reads `artifacts/<name>.json`."""
    file = resources.files("gridpact.chain") / "artifacts" / f"{name}.json"
    try:
        content: dict[str, Any] = parse_json(file.read_text(encoding="utf-8"))
        bytecode = str(content["bytecode"])
        return Artifact(
            name=name,
            abi=content["abi"],
            bytecode=bytecode if bytecode.startswith("0x") else "0x" + bytecode,
            compiler=str(content.get("compiler", "")),
            start=int(content["runtime"]["start"]),
            length=int(content["runtime"]["length"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"The compiled contract {name} is missing or damaged: run `make contracts`.") from error
