"""Who says of all its partners together what is not true, in a sealed round: it is asked, and whatever it answers it is
out, and nobody else. Honest rounds have no questions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gridpact.chain.values import Phase, Residuals
from gridpact.community.model import CommunityDay
from gridpact.errors import ContractError
from gridpact.limits import SUM_BYTES
from gridpact.market.admm.answers import decode_answer, encode_answer
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.twin_ledger import TwinLedger, TwinSettlement
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from unit.node.rounds import Played

LIAR, FIRST = 3, 5
"""Who lies, and from which iteration on."""

MUCH = 10**9
"""More than the residuals of an honest round come to there."""


class Out(Exception):
    """Nobody listens to it any more."""


class LyingLedger(TwinLedger):
    """A chain in the hands of a liar."""

    lie: Lie

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> None:
        if iteration >= FIRST:
            bids, residuals = self.lie.says(self, bids, residuals)
        try:
            super().submit(round, iteration, head, copies, bids, residuals)
        except ContractError as error:
            raise Out from error

    def answer(self, round: int, about: int, told: bytes) -> None:
        changed = self.lie.answers(self, told)
        if changed is not None:
            super().answer(round, about, changed)

    def book(self) -> dict[int, tuple[int, ...]]:
        return dict(self._twin.now.books.assembly.book(self._node))


Says = Callable[[LyingLedger, bytes, Residuals], tuple[bytes, Residuals]]
Answers = Callable[[LyingLedger, bytes], bytes | None]


@dataclass(frozen=True)
class Lie:
    says: Says
    answers: Answers = lambda ledger, told: told


def more_of(lane: int) -> Says:
    def says(ledger: LyingLedger, bids: bytes, residuals: Residuals) -> tuple[bytes, Residuals]:
        claimed = list(residuals)
        claimed[lane] += MUCH
        return bids, (claimed[0], claimed[1], claimed[2], claimed[3])

    return says


def false_sums(ledger: LyingLedger, bids: bytes, residuals: Residuals) -> tuple[bytes, Residuals]:
    """At its last step that counts, by 2^20 units."""
    at = len(bids) - SUM_BYTES
    return bids[:at] + bytes([bids[at] ^ 0x10]) + bids[at + 1 :], residuals


def covered(ledger: LyingLedger, told: bytes) -> bytes:
    """What it claimed too much is put on its first partner."""
    book = ledger.book()
    parts = decode_answer(book, told, ledger.setting().steps)
    assert parts is not None
    first = min(parts)
    part = parts[first]
    shares = (*part.shares[:-1], part.shares[-1] ^ 0x10 << 16)
    return encode_answer(book, parts | {first: replace(part, primal=part.primal + MUCH, shares=shares)})


def silent(ledger: LyingLedger, told: bytes) -> None:
    return None


LIES = {
    "claims more, and answers the truth": Lie(more_of(2)),
    "claims more of the dual one": Lie(more_of(3)),
    "claims more, and puts it on a partner": Lie(more_of(2), covered),
    "claims more, and goes on without an answer": Lie(more_of(2), silent),
    "claims more, and answers nothing": Lie(more_of(2), lambda ledger, told: b""),
    "claims more, and leaves partners out": Lie(more_of(2), lambda ledger, told: bytes(16)),
    "claims more, and answers garbage": Lie(more_of(2), lambda ledger, told: bytes(range(256)) * 4),
    "false sums for the pool": Lie(false_sums),
    "false sums for the pool, put on a partner": Lie(false_sums, covered),
    "false sums for the pool, and goes on without an answer": Lie(false_sums, silent),
}


def play(day: CommunityDay, lie: Lie | None, scenario: Scenario = Scenario.TG) -> tuple[Played, dict[int, NodeReport]]:
    played = Played(day, scenario, sealed=True)
    played.number = played.twin.open_round(20260701)

    def life(view: NodeView) -> NodeReport:
        ledger = TwinLedger(played.twin, view.node)
        if lie is not None and view.node == LIAR:
            ledger = LyingLedger(played.twin, view.node)
            ledger.lie = lie
        return Node(view, ledger, TwinSettlement(played.twin, view.node)).run(played.number)

    reports = {}
    views = played.prepared.views
    for view, end in zip(views, played.turns.play([partial(life, view) for view in views]), strict=True):
        if isinstance(end, NodeReport):
            reports[view.node] = end
        elif view.node != LIAR:
            raise end
    return played, reports


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
def test_honestRound_hasNoQuestions(tiny3: CommunityDay, scenario: Scenario) -> None:
    played, reports = play(tiny3, None, scenario)
    assert not played.twin.now.askers
    assert {report.phase for report in reports.values()} == {Phase.CONVERGED}


@pytest.mark.parametrize("lie", LIES)
def test_liar_isOut_andNobodyElse(tiny3: CommunityDay, lie: str) -> None:
    played, reports = play(tiny3, LIES[lie])
    closed = played.twin.now.closed
    proved = [(number, node) for number, entry in enumerate(closed, 1) for node in entry.proved]
    assert [node for _, node in proved] == [LIAR]
    assert proved[0][0] <= FIRST + 6
    assert all(report.agreed for node, report in reports.items() if node != LIAR)


LIE = st.fixed_dictionaries(
    {
        "factors": st.tuples(*[st.sampled_from((0.0, 0.5, 1.0, 1.0, 1.5, 3.0, 1e6))] * 2),
        "byte": st.none() | st.tuples(st.integers(1, 24), st.integers(1, 255)),  # of the sums, from the end
        "answer": st.sampled_from(("true", "silent", "short", "long", "changed")),
        "at": st.integers(0, 2**16),
        "every": st.integers(1, 3),
    }
)


@given(LIE)
@settings(max_examples=4, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
def test_anyLie_stopsNobody(tiny3: CommunityDay, drawn: dict[str, Any]) -> None:
    """Whatever a household claims of its trades, says for the pool and answers, the others agree, and no honest one can
    be proved false."""

    def says(ledger: LyingLedger, bids: bytes, residuals: Residuals) -> tuple[bytes, Residuals]:
        grid, change, primal, dual = residuals
        if len(ledger._twin.now.closed) % drawn["every"]:
            return bids, residuals
        if drawn["byte"] is not None and drawn["byte"][0] <= SUM_BYTES * 4:
            place = len(bids) - drawn["byte"][0]
            bids = bids[:place] + bytes([bids[place] ^ drawn["byte"][1]]) + bids[place + 1 :]
        one, other = drawn["factors"]
        return bids, (grid, change, int(primal * one), int(dual * other))

    def answers(ledger: LyingLedger, told: bytes) -> bytes | None:
        at = drawn["at"] % len(told)
        changed = told[:at] + bytes([told[at] ^ 1 << drawn["at"] % 8]) + told[at + 1 :]
        told_otherwise = {"silent": None, "short": told[:at], "long": told + b"1", "changed": changed}
        return told_otherwise.get(drawn["answer"], told)

    played, reports = play(tiny3, Lie(says, answers))
    assert all(entry.excluded <= {LIAR} for entry in played.twin.now.closed)
    honest = [report for node, report in reports.items() if node != LIAR]
    assert len(honest) == len(played.prepared.views) - 1
    assert all(report.agreed and report.phase is Phase.CONVERGED for report in honest)
