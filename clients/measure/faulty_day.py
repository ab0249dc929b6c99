"""A household on a day on which things go wrong, for `measure.days`: a module of its own, so that processes find it."""

from __future__ import annotations

import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gridpact.chain.account import ChainAccount
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.transport import connect
from gridpact.day.household import PAUSE, DayNode
from gridpact.node.household_file import read_view
from gridpact.run.launch import NodeFiles, read_key
from measure.faults import Fault, Gone, TroubledAggregator, TroubledSettlement

PATIENCE = 6.0
"""Seconds after which the office goes on without who has not done what it should."""

JOINS_LATE = "joins late"

WHO = {
    JOINS_LATE: "after the gate of the first step, so that it is a plain customer that day",
    "silent": "is not heard any more, and the others know",
    "late": "takes no part in a re-agreement",
    "dies": "stops in the middle of a round about the rest of the day",
    "nominates anything": "as much as fits, in either direction",
    "states other prices": "than were agreed, of all its trades",
    "unread": "its meter says nothing from a step on",
    "read late": "its meter says what it read when nobody waits any longer",
    "meter lies": "by ten times, and the other way round",
}


@dataclass(frozen=True)
class DayFault:
    """What a household does, from a step on."""

    kind: str
    node: int
    step: int

    @property
    def silent_from(self) -> int | None:
        """The step from which nobody expects to hear of it."""
        return 0 if self.kind == JOINS_LATE else self.step if self.kind == "silent" else None


class FaultyNode(DayNode):
    """A household's side of a day on which things go wrong."""

    def suffer(self, faults: Sequence[DayFault]) -> None:
        self._faults = {fault.kind: fault.step for fault in faults}
        if "states other prices" in self._faults:
            self._settlement.faults = ("states other numbers",)  # type: ignore[attr-defined]

    def _is_due(self, kind: str, step: int) -> bool:
        return step >= self._faults.get(kind, step + 1)

    def leave(self) -> None:
        """It has gone, and says so, so that nobody takes it for a failure of the program."""
        self._report()

    def _join(self) -> bool:
        gate = self._ledger.gate_of(self._orders.day, 0)
        while JOINS_LATE in self._faults and self._now() < gate:
            time.sleep(PAUSE)
        return super()._join()

    def _agree(self, round_: int, first: int) -> None:
        if first and self._is_due("late", first):
            return
        if first and self._is_due("dies", first):
            troubled = self._aggregator
            assert isinstance(troubled, TroubledAggregator)
            troubled.faults.append(Fault("leaves", self.view.node, 2))
        super()._agree(round_, first)

    def _meter(self, step: int, fed_wh: int) -> None:
        if self._is_due("unread", step):
            return
        if self._is_due("read late", step):
            time.sleep(PATIENCE + 1)
        super()._meter(step, -10 * fed_wh if self._is_due("meter lies", step) else fed_wh)

    def _nominate(self, first: int, schedule: Mapping[str, list[float]], what: str) -> None:
        super()._nominate(first, schedule, what)
        if self._is_due("nominates anything", first):
            most = (2**31 - 1) / 1000 / self.view.step_hours  # kW
            self._planned[first:] = [most * (-1) ** step for step in range(first, self.view.steps)]
            self._positions.nominate(first, self._planned[first:])


def live(faults: Sequence[DayFault], files: NodeFiles, network: Network | str) -> None:
    """A node's process."""
    web3 = connect(network) if isinstance(network, str) else network.connect()
    record, view = Record.read(files.record), read_view(files.household)
    account = ChainAccount(web3, read_key(files.key))
    aggregator = TroubledAggregator.of(record, web3, account)
    assert isinstance(aggregator, TroubledAggregator)
    aggregator.faults, aggregator.random = [], random.Random(view.node)
    aggregator.sent = None
    node = FaultyNode(files, view, record, aggregator, account)
    node._settlement = TroubledSettlement.of(record, web3, account)
    node.suffer([fault for fault in faults if fault.node == view.node])
    try:
        node.play()
    except Gone:
        node.leave()
    finally:
        aggregator.close()
