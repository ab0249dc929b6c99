"""Scenario B: nobody agrees on anything, every household deals with its supplier."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gridpact.market.agreement import Agreement
from gridpact.market.mechanism import OnIteration, nobody

if TYPE_CHECKING:
    from gridpact.market.prepared import Prepared


@dataclass(frozen=True)
class Alone:
    """Everybody's own plan."""

    def agree(self, prepared: Prepared, on_iteration: OnIteration = nobody) -> Agreement:
        return Agreement(prepared.alone, rounds=0)
