"""What a study consists of: which days in which scenarios, and how a finished day is known again."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import Community
from gridpact.errors import InexactRelaxationError, InfeasibleError, InputError, SolverError
from gridpact.market.mechanism import IN_MEMORY
from gridpact.market.registry import market_of
from gridpact.outcome.day import DayOutcome, day_of, failed_day, solve_day
from gridpact.outcome.gaps import implemented_gaps
from gridpact.problem.scenario import ADMM, REPORT, NetworkAgreement, Scenario
from gridpact.study.weeks.store import outcome_of

DATE = re.compile(r"(?:(\d{4})-)?(\d{2})-(\d{2})")
LONGEST = 31
"""With a longer row of days than this, a study takes the report's two weeks of it unless days are named."""

LONGEST_STEP = timedelta(days=7)
"""From a day to the next of the same period: a day that was left out, or a few, do not end it."""

SEASONS = {12: "December to February", 3: "March to May", 6: "June to August", 9: "September to November"}
"""By the month in which they begin, for communities north and south."""

REPORT_WEEKS = (6, 12), range(21, 29)
"""Months and days of the month of the report's two weeks."""

COMPUTED_BY = (
    *("devices", "grid", "market", "problem"),
    *(f"outcome/{name}.py" for name in ("day", "gaps", "indicators", "outcome")),
)
"""The sources that a day's outcome depends on, within the package."""


@dataclass(frozen=True)
class StudySettings:
    """How the days of a study are solved."""

    scenarios: tuple[Scenario, ...] = REPORT
    agreement: NetworkAgreement = NetworkAgreement.DSO
    chain: str = IN_MEMORY
    relay: bool = False
    continuous: bool = False  # whether each day begins as the one before has ended


@dataclass(frozen=True)
class Order:
    """One day to be solved in one scenario; a `store.Task`."""

    community: CommunityDay
    scenario: Scenario
    settings: StudySettings

    @property
    def name(self) -> str:
        """Of its file: the day and the scenario."""
        day = re.sub(r"[^\w.-]+", "-", self.community.day)
        return f"{day}_{self.scenario.value}"

    @property
    def chain(self) -> str:
        """Where it is agreed on; in B there is nothing to agree on."""
        return self.settings.chain if market_of(self.scenario).agrees else IN_MEMORY

    @property
    def effort(self) -> int:
        """A network takes longer than trades."""
        return 2 * self.scenario.has_network + self.scenario.has_trades

    @property
    def fingerprint(self) -> str:
        """Of all that its outcome depends on: data, settings and the program itself."""
        return fingerprint(
            self.community,
            {
                "scenario": self.scenario.value,
                "agreement": self.settings.agreement.value,
                "chain": self.chain,
                "relay": self.settings.relay and self.chain != IN_MEMORY,
            },
        )

    def solve(self) -> DayOutcome:
        """The day, in memory or on a chain.

        Raises:
            GridpactError: the chain or a node failed.
        """
        settings = self.settings
        if self.chain == IN_MEMORY:
            return solve_day(self.community, self.scenario, settings.agreement)
        from gridpact.run.onchain import RunSettings, run  # imports web3, which takes a second

        try:
            settings_of_run = RunSettings(self.scenario, settings.agreement, settings.chain, relay=settings.relay)
            return day_of(run(self.community, settings_of_run))
        except (InfeasibleError, SolverError, InexactRelaxationError) as error:
            return failed_day(self.community, self.scenario, settings.agreement, settings.chain, error)

    def read(self, fields: Mapping[str, Any]) -> DayOutcome:
        return outcome_of(fields)


@dataclass(frozen=True)
class Trace:
    """How a day's negotiation comes closer to the optimum, to be measured in memory; a `store.Task`."""

    of: Order

    @property
    def name(self) -> str:
        return f"{self.of.name}_gaps"

    @property
    def effort(self) -> int:
        return self.of.effort

    @property
    def fingerprint(self) -> str:
        return self.of.fingerprint

    def solve(self) -> Array:
        """Gap of every iterate to the centralised optimum, a fraction, (iterations,); see `implemented_gaps`."""
        return implemented_gaps(self.of.community, self.of.scenario, self.of.settings.agreement)

    def read(self, fields: Sequence[float]) -> Array:
        return np.array(fields, dtype=float)


def orders(community: Community, days: Sequence[str], settings: StudySettings) -> list[Order]:
    """All days in all scenarios, day by day.

    Raises:
        InputError: the community has no such day, or two days would have the same file.
    """
    result = [Order(community.on(day), scenario, settings) for day in days for scenario in settings.scenarios]
    names: dict[str, str] = {}
    for order in result:
        if names.setdefault(order.name, order.community.day) != order.community.day:
            raise InputError(
                f"days '{names[order.name]}' and '{order.community.day}' would share the file {order.name}"
            )
    return result


def traces(orders: Sequence[Order], days: Sequence[str]) -> list[Trace]:
    """Of some days, in all scenarios that come to an agreement step by step."""
    return [Trace(order) for order in orders if order.community.day in days and order.scenario.mechanism == ADMM]


def chosen_days(community: Community, named: Sequence[str] | None, year: bool = False) -> tuple[str, ...]:
    """The days of a study: those that are named, or all; of a long row of days the report's two weeks.

    Args:
        year: all days in any case, and they must be dates.

    Raises:
        InputError: the community has no such day.
    """
    if named:
        for day in named:
            if day not in community.days:
                community.on(day)  # says so
    days = tuple(day for day in community.days if not named or day in named)
    if year and (undated := [day for day in days if date_of(day) is None]):
        raise InputError(f"'{community.name}' has a day '{undated[0]}', which is no date and so has no season")
    if named or year:
        return days
    if max(len(row) for row in rows_of_days(community.days)) <= LONGEST:
        return community.days
    months, in_month = REPORT_WEEKS
    weeks = [day for day in community.days if (d := date_of(day)) and d.month in months and d.day in in_month]
    return tuple(weeks) or community.days


def rows_of_days(days: Iterable[str]) -> list[list[str]]:
    """Days in rows, each at most `LONGEST_STEP` after the one before; days that are no dates are all in one row."""
    rows: list[list[str]] = []
    before: date | None = None
    for day in days:
        this = date_of(day)
        if rows and _follows(before, this):
            rows[-1].append(day)
        else:
            rows.append([day])
        before = this
    return rows


def follows(before: str, day: str) -> bool:
    """Whether a day is in a row with another."""
    return _follows(date_of(before), date_of(day))


def _follows(before: date | None, this: date | None) -> bool:
    if this is None or before is None:
        return this is before
    return timedelta(0) < this - before <= LONGEST_STEP


def billing_month(day: str) -> str:
    """The month that a day's peak is paid for in; days that are no dates are all of one."""
    return "" if date_of(day) is None else day[:-3]


def by_season(days: Iterable[str]) -> dict[str, list[str]]:
    """Days that are dates, by season of three months, in the order in which the seasons come up."""
    seasons: dict[str, list[str]] = {}
    for day in days:
        if (this := date_of(day)) is not None:
            seasons.setdefault(SEASONS[this.month // 3 * 3 or 12], []).append(day)
    return seasons


def date_of(day: str) -> date | None:
    """A day's date (`2018-06-21`, or `06-21` of a year that is not told, and no leap year); None where it is none."""
    match = DATE.fullmatch(day)
    if not match:
        return None
    year, month, number = (int(part) if part else 2001 for part in match.groups())
    try:
        return date(year, month, number)
    except ValueError:
        return None


def fingerprint(community: CommunityDay, inputs: Mapping[str, Any], *sources: str) -> str:
    """Of a community's day, of what else a result depends on, and of the sources that compute it.

    Args:
        sources: within the package, besides `COMPUTED_BY`.
    """
    of = asdict(community) | {"preferences": sorted(community.preferences.items())}
    everything = {"community": of, "program": _program(*COMPUTED_BY, *sources), **inputs}
    return hashlib.sha256(json.dumps(everything, sort_keys=True, default=_told).encode()).hexdigest()


@cache
def _program(*sources: str) -> str:
    """Of some of the package's sources."""
    package = Path(str(resources.files("gridpact")))
    digest = hashlib.sha256()
    for name in sources:
        path = package / name
        for source in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            digest.update(source.relative_to(package).as_posix().encode())
            digest.update(source.read_bytes())
    return digest.hexdigest()


def _told(value: Any) -> Any:
    """What JSON does not know of itself."""
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, frozenset):
        return sorted(value)
    raise TypeError(f"{type(value).__name__} has no place in a fingerprint")
