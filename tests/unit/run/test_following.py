"""What the log of a round tells a listener."""

from __future__ import annotations

from gridpact.chain.values import ClosedIteration, IterationLog
from gridpact.events import Event, IterationClosed, NodeMissing, NodeOut
from gridpact.run.following import happened

RMS_W = (4.0, 3.0, 2.0, 1.0)


def told(present: set[int], excluded: set[int], proved: set[int], inside: set[int]) -> list[Event]:
    closed = ClosedIteration(5, frozenset(present), (0, 0, 0, 0), (), b"")
    entry = IterationLog(closed, {}, frozenset(excluded), frozenset(proved))
    return list(happened(7, entry, frozenset(inside), RMS_W))


def test_all_areThere() -> None:
    assert told({0, 1, 2}, set(), set(), {0, 1, 2}) == [IterationClosed(7, 5, RMS_W)]


def test_whoIsOut_isNotMissing() -> None:
    assert told({0, 2}, set(), set(), {0, 2}) == [IterationClosed(7, 5, RMS_W)]


def test_missing_thenOut() -> None:
    """Node 1 is missing for the first time, node 3 once too often."""
    assert told({0, 2}, {3}, set(), {0, 1, 2, 3}) == [
        NodeMissing(7, 5, 1),
        NodeMissing(7, 5, 3),
        NodeOut(7, 5, 3, proved=False),
        IterationClosed(7, 5, RMS_W),
    ]


def test_provedFalse_isNotMissing() -> None:
    assert told({0, 2}, {1}, {1}, {0, 1, 2}) == [NodeOut(7, 5, 1, proved=True), IterationClosed(7, 5, RMS_W)]
