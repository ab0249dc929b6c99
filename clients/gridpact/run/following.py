"""What the log of a round tells a listener."""

from __future__ import annotations

from collections.abc import Iterator

from gridpact.chain.values import IterationLog
from gridpact.events import Event, IterationClosed, NodeMissing, NodeOut


def happened(round_: int, entry: IterationLog, inside: frozenset[int], rms_w: tuple[float, ...]) -> Iterator[Event]:
    """What a closed iteration tells: who was missing, who is out since, and that it is closed.

    Args:
        inside: nodes that were in the round before it.
        rms_w: see `IterationClosed`.
    """
    closed = entry.closed
    assert closed is not None
    for node in sorted(inside - closed.present - entry.proved):
        yield NodeMissing(round_, closed.iteration, node)
    for node in sorted(entry.excluded):
        yield NodeOut(round_, closed.iteration, node, node in entry.proved)
    yield IterationClosed(round_, closed.iteration, rms_w)
