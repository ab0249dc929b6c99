"""Penetration: what PV, electric cars and batteries at 0 to 100 % of the households do to cost, peak and voltage.

Task 2.3 of the B-DER report. Each kind of device is varied on its own, the others as in the case, and all together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gridpact.community.assigned import ALL, USUAL, VARIED, Typical, has, with_share
from gridpact.community.model import CommunityDay
from gridpact.devices.device import Device
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.workers import ALL_CORES, Workers
from gridpact.study.whatif import sweep
from gridpact.study.whatif.sweep import DayFigures, PointFigures

SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)

MIXES: dict[str, tuple[type[Device], ...]] = {
    **{kind: (device,) for kind, device in VARIED.items()},
    ALL: tuple(device for device in VARIED.values() if device.usual),
}
"""Which devices are varied: each on its own, or all the usual ones together."""


@dataclass(frozen=True)
class PenetrationSettings:
    """What is varied, and how."""

    mixes: tuple[str, ...] = USUAL  # of MIXES
    shares: tuple[float, ...] = SHARES  # ascending, 0 to 1
    scenarios: tuple[Scenario, ...] = (Scenario.B, Scenario.TG)
    seed: int = 1


@dataclass(frozen=True)
class PenetrationPoint:
    """One share of one mix."""

    mix: str
    share: float
    owners: Mapping[type[Device], int]
    figures: Mapping[Scenario, PointFigures]


@dataclass(frozen=True)
class Penetration:
    """The outcome."""

    days: tuple[CommunityDay, ...]  # as in the case
    settings: PenetrationSettings
    points: tuple[PenetrationPoint, ...]  # mix by mix, shares ascending

    def of(self, mix: str) -> list[PenetrationPoint]:
        return [point for point in self.points if point.mix == mix]

    @property
    def checks_held(self) -> bool:
        return all(figures.checks_held for point in self.points for figures in point.figures.values())

    def own_share(self, device: type[Device]) -> float:
        """The share of households that have the device in the case."""
        homes = self.days[0].households
        return sum(has(home, device) for home in homes) / len(homes)

    @property
    def typical(self) -> Typical:
        """What a household gets that had none."""
        return Typical.of(self.days[0])


def community_at(community: CommunityDay, mix: str, share: float, seed: int) -> CommunityDay:
    """The community with the mix's devices at a share of its households.

    Raises:
        InputError: see `with_share`.
    """
    for device in MIXES[mix]:
        community = with_share(community, device, share, seed)
    return community


def penetrate(
    days: Sequence[CommunityDay],
    settings: PenetrationSettings,
    folder: Path,
    workers: Workers = ALL_CORES,
    tally: Tally | None = None,
) -> Penetration:
    """Solves all shares of all mixes in all scenarios on all days; those without a feasible plan are outcomes, too.

    Args:
        folder: where finished points are kept, and found again; see `play`.

    Raises:
        InputError: see `with_share`.
    """
    places = [(mix, share) for mix in settings.mixes for share in settings.shares]
    communities = {place: [community_at(day, *place, settings.seed) for day in days] for place in places}
    tasks = [
        sweep.DayPoint.of(community, scenario)
        for place in places
        for scenario in settings.scenarios
        for community in communities[place]
    ]
    figures = (DayFigures.of(outcome) for outcome in play(tasks, folder, workers, tally))
    points = []
    for mix, share in places:
        by_scenario = {s: PointFigures(tuple(next(figures) for _ in days)) for s in settings.scenarios}
        homes = communities[mix, share][0].households
        owners = {device: sum(has(home, device) for home in homes) for device in VARIED.values()}
        points.append(PenetrationPoint(mix, share, owners, by_scenario))
    return Penetration(tuple(days), settings, tuple(points))
