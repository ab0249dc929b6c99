"""A settlement of a round, as far as readings are worth something by it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.values import TradeRecord

DECIMALS = 6


@dataclass(frozen=True)
class Money:
    """Its token."""

    def decimals(self) -> int:
        return DECIMALS


@dataclass(frozen=True)
class Told:
    """The settlement."""

    records: Sequence[TradeRecord]
    tariff: bytes
    token: Money = Money()

    def recorded(self, _: int) -> Sequence[TradeRecord]:
        return self.records

    def tariffs_of(self, _: int, nodes: Iterable[int]) -> Mapping[int, bytes]:
        return dict.fromkeys(nodes, self.tariff)
