"""Days that follow each other: what is left in batteries, cars, tanks and houses is there when the next day begins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from gridpact.community.model import Array, CommunityDay, Household
from gridpact.community.read import Community
from gridpact.devices.device import numbered
from gridpact.devices.registry import with_numbers
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import Order, StudySettings
from gridpact.study.weeks.store import keep, kept


@dataclass(frozen=True)
class DayRow:
    """A row of days in one scenario, each of which begins as the one before has ended; a `store.Task`, whose days are
    kept like those of any study."""

    community: Community
    days: tuple[str, ...]
    scenario: Scenario
    settings: StudySettings
    folder: Path

    @property
    def name(self) -> str:
        return f"{Order(self.community.on(self.days[0]), self.scenario, self.settings).name}_row"

    @property
    def effort(self) -> int:
        return len(self.days) * (1 + 2 * self.scenario.has_network + self.scenario.has_trades)

    @property
    def fingerprint(self) -> str:
        """Of all its days as they are stated, and of how they follow each other."""
        digest = hashlib.sha256(Path(__file__).read_bytes())
        for day in self.days:
            digest.update(Order(self.community.on(day), self.scenario, self.settings).fingerprint.encode())
        return digest.hexdigest()

    def solve(self) -> None:
        """Solves those of its days that are not kept."""
        self.followed()

    def read(self, fields: None) -> None:
        """Nothing: its days are kept one by one."""

    def followed(self) -> list[tuple[Order, DayOutcome]]:
        """All its days, one after the other. After a day without a plan the next begins as it is stated.

        Raises:
            InputError: see `keep`.
        """
        done: list[tuple[Order, DayOutcome]] = []
        for day in self.days:
            community = self.community.on(day)
            if done and done[-1][1].feasible:
                before, outcome = done[-1]
                schedules = {home.node: home.schedule for home in outcome.households}
                community = carried_over(before.community, schedules, community)
            order = Order(community, self.scenario, self.settings)
            known = kept(order, self.folder)
            if known is None:
                known = order.solve()
                keep(order, known, self.folder)
            done.append((order, known))
        return done


def carried_over(
    today: CommunityDay, schedules: Mapping[int, Mapping[str, Array]], tomorrow: CommunityDay
) -> CommunityDay:
    """A community on the day after, whose devices begin it with what they have at the end of this one.

    Args:
        schedules: what each household does today, by node.
    """
    homes = {home.node: home for home in today.households}
    households = tuple(
        _carried(homes[home.node], schedules[home.node], home, today.step_hours) for home in tomorrow.households
    )
    return replace(tomorrow, households=households)


def _carried(today: Household, schedule: Mapping[str, Array], tomorrow: Household, step_hours: float) -> Household:
    before = {(device.kind, number): device for device, number in with_numbers(today.devices)}
    devices = []
    for device, number in with_numbers(tomorrow.devices):
        own = {column.name: numbered(column.name, number) for column in device.columns}
        plan = {column: schedule[name] for column, name in own.items() if name in schedule}
        known = before.get((device.kind, number))
        devices.append(device if known is None else device.after(known, plan, step_hours))
    return replace(tomorrow, devices=tuple(devices))


def rows_in(community: Community, rows: Sequence[Sequence[str]], settings: StudySettings, folder: Path) -> list[DayRow]:
    """All rows of days in all scenarios."""
    pairs = [(tuple(row), scenario) for row in rows for scenario in settings.scenarios]
    return [DayRow(community, row, scenario, settings, folder) for row, scenario in pairs]
