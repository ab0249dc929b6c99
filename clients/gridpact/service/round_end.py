"""How a round ended for a node that runs day after day."""

from __future__ import annotations

from dataclasses import dataclass

from gridpact.events import Event


@dataclass(frozen=True)
class RoundEnd(Event):
    """How a round ended for this node."""

    round: int
    day: str  # yyyy-mm-dd
    outcome: str  # agreed, alone, abstained, missed, failed
    why: str  # empty where it agreed
    meter_wh: tuple[int, ...]  # what its meter should read, Wh fed into the grid a step; empty where nothing is planned
    gas: int = 0
    iterations: int = 0
    first: int = 0  # the step from which on it was about the day
