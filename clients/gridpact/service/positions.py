"""A member's positions and nominations in a day on the chain: how they get there, and what they are."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection, Sequence

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.day import DaySettlement
from gridpact.chain.encoding import positions_of
from gridpact.chain.reverts import readable
from gridpact.chain.settlement import Settlement
from gridpact.community.model import Array
from gridpact.errors import ContractError

log = logging.getLogger(__name__)

PAUSE = 0.2
"""Seconds between looks at the chain."""

PATIENCE = 120.0
"""How long a partner's statement is waited for, s."""

PARTNERS_BRING = 15.0
"""How long a pair may take its partner to bring, s."""


class Positions:
    """One member's, in one day.

    Args:
        day: its label, yyyymmdd.

    Attributes:
        held_wh: trades of rounds that were recorded, by partner and step, positive where this member sells.
    """

    def __init__(
        self,
        node: int,
        day: int,
        step_hours: float,
        account: ChainAccount,
        aggregator: Aggregator,
        settlement: Settlement,
        ledger: DaySettlement,
    ) -> None:
        self._node, self._day, self._wh = node, day, 1000 * step_hours
        self._account, self._aggregator = account, aggregator
        self._settlement, self._ledger = settlement, ledger
        self.held_wh: dict[tuple[int, int], int] = {}

    @property
    def held_kw(self) -> Array:
        """Of rounds, (T,), sold positive."""
        sold: Array = np.zeros(self._ledger.steps)
        for (_, step), energy in self.held_wh.items():
            sold[step] += energy / self._wh
        return sold

    def held_since(self, first: int) -> dict[tuple[int, int], int]:
        """`held_wh` at the steps from one on."""
        return {key: energy for key, energy in self.held_wh.items() if key[1] >= first}

    def sold_kw(self) -> Array:
        """All that it has sold, whatever by, as the chain has it, (T,)."""
        return self._of_steps([self._ledger.position(self._day, self._node, step) for step in self._steps])

    def nominated_kw(self) -> Array:
        """What it will draw from pool and supplier, as it was nominated last, (T,)."""
        return self._of_steps([self._ledger.nominated(self._day, self._node, step) for step in self._steps])

    @property
    def _steps(self) -> range:
        return range(self._ledger.steps)

    def _of_steps(self, energies_wh: Sequence[int]) -> Array:
        return np.array(energies_wh, dtype=float) / self._wh

    def rounds(self) -> dict[int, int]:
        """Rounds of the day that were agreed so far, by the first step that they are about."""
        agreed = {0: self._aggregator.agreed_in(self._day)}
        for step in self._steps[1:]:
            agreed[step] = self._aggregator.agreed_in(self._ledger.label_of(self._day, step))
        return {first: round_ for first, round_ in agreed.items() if round_}

    def recall(self, rounds: Collection[int]) -> None:
        """What is held of these rounds and of no others, from the chain: after a restart."""
        self.held_wh = {}
        for round_ in rounds:
            self._take(round_)

    # ------------------------------------------------------------------ trades

    def bring(self, round_: int, first: int, partners: Collection[int]) -> None:
        """Counts what both sides have stated, once all have, or time or the first step's gate is over.

        Args:
            partners: with whom something is stated.
        """
        gate = self._ledger.gate_of(self._day, first)
        waiting = set(partners)
        give_up = time.monotonic() + PATIENCE
        while waiting and time.monotonic() < give_up and self._now() < gate:
            waiting = {other for other in waiting if not self._settlement.is_recorded(round_, self._node, other)}
            if waiting:
                time.sleep(PAUSE)
        self._bring_pairs(round_, self._take(round_))

    def _take(self, round_: int) -> list[tuple[int, bytes]]:
        """Holds what was recorded of a round. Returns its pairs, as they are brought."""
        records = self._settlement.recorded(round_)
        for record in records:
            if self._node not in (record.lower, record.higher):
                continue
            partner, sign = record.lower + record.higher - self._node, 1 if self._node == record.lower else -1
            for trade in record.trades:
                key = partner, trade.step
                self.held_wh[key] = self.held_wh.get(key, 0) + sign * trade.energy_wh
        return positions_of(self._node, records)

    def _bring_pairs(self, round_: int, pairs: Sequence[tuple[int, bytes]]) -> None:
        """One of a pair brings it for both: the one with the lower number, or else the other, after a while."""
        self._bring_few(round_, [pair for pair in pairs if pair[0] > self._node])
        give_up = time.monotonic() + PARTNERS_BRING
        while time.monotonic() < give_up and self._not_brought(round_, pairs):
            time.sleep(PAUSE)
        self._bring_few(round_, pairs)

    def _not_brought(self, round_: int, pairs: Sequence[tuple[int, bytes]]) -> list[tuple[int, bytes]]:
        brought = self._ledger.brought(round_, self._node)
        return [pair for pair in pairs if pair[0] not in brought]

    def _bring_few(self, round_: int, pairs: Sequence[tuple[int, bytes]]) -> None:
        """As far as nobody has yet; somebody may at the same time. What a partner cannot cover does not count."""
        while few := self._not_brought(round_, pairs):
            try:
                self._ledger.bring(self._day, round_, self._node, few)
            except ContractError as error:
                if error.name == "InsufficientDeposit":
                    log.warning("trades of node %d in round %d do not count in the day: %s", self._node, round_, error)
                    return
                if error.name != "BroughtAlready":
                    raise
                continue
            for partner, _ in self._not_brought(round_, few):
                log.warning(
                    "what was traded with node %d in round %d does not count in the day: it has too little for it",
                    partner,
                    round_,
                )
            return

    # ------------------------------------------------------------------ nominations

    def nominate(self, first: int, drawn_kw: Array) -> bool:
        """What it will draw from pool and supplier in each step from one on. False: the gate of that one is closed.

        Args:
            drawn_kw: (T - first,).
        """
        try:
            self._ledger.nominate(self._day, first, [round(self._wh * power) for power in drawn_kw.tolist()])
        except ContractError as error:
            if error.name != "GateClosed":
                raise
            return False
        return True

    def _now(self) -> int:
        """The chain's time."""
        with readable("the last block"):
            return int(self._account.web3.eth.get_block("latest")["timestamp"])
