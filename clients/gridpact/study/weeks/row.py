"""Days that follow each other: what is left in batteries, cars, tanks and houses is there when the next day begins, and
what was drawn at most in the month is paid for already."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from gridpact.community.model import Array, CommunityDay, Household
from gridpact.community.read import Community
from gridpact.devices.device import numbered
from gridpact.devices.registry import with_numbers
from gridpact.outcome.day import DayOutcome
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import Order, StudySettings, billing_month, follows
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
        peaks = MonthsPeaks()
        for day in self.days:
            community = self.community.on(day)
            if done and done[-1][1].feasible and follows(done[-1][1].day, day):
                before, outcome = done[-1]
                schedules = {home.node: home.schedule for home in outcome.households}
                community = carried_over(before.community, schedules, community)
            order = Order(peaks.before(community), self.scenario, self.settings)
            known = kept(order, self.folder)
            if known is None:
                known = order.solve()
                keep(order, known, self.folder)
            done.append((order, known))
            peaks.after(known)
        return done


@dataclass
class MonthsPeaks:
    """What homes have drawn at most in the billing month; a month begins with what is stated."""

    month: str | None = None
    kw: dict[int, float] = field(default_factory=dict)  # by node

    def before(self, community: CommunityDay) -> CommunityDay:
        """A day of which only what goes beyond it is paid for, where the fee on peaks is the month's."""
        if (month := billing_month(community.day)) != self.month:
            self.month, self.kw = month, {}
        if not community.prices.monthly_peak:
            return community
        homes = [replace(home, peak_kw=max(home.peak_kw, self.kw.get(home.node, 0.0))) for home in community.households]
        return replace(community, households=tuple(homes))

    def after(self, outcome: DayOutcome) -> None:
        """Once a day is over; one without a plan draws nothing."""
        for home in outcome.households:
            drawn = float((-home.schedule["injection_kw"]).max())
            self.kw[home.node] = max(self.kw.get(home.node, 0.0), drawn)


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
    """All rows of days in all scenarios. Where a month's peak is paid for, rows of one month are one, in whose gaps
    nothing is carried over but that."""
    whole: list[tuple[str, ...]] = []
    for row in rows:
        if whole and community.suppliers.fees.monthly_peak and billing_month(whole[-1][-1]) == billing_month(row[0]):
            whole[-1] += tuple(row)
        else:
            whole.append(tuple(row))
    pairs = [(row, scenario) for row in whole for scenario in settings.scenarios]
    return [DayRow(community, row, scenario, settings, folder) for row, scenario in pairs]
