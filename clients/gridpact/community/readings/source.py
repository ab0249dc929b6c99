"""How files of readings are to be read, and what was read of them so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from gridpact.community.meters import Gaps
from gridpact.community.times import DateOrder
from gridpact.errors import InputError


@dataclass(frozen=True)
class HowToRead:
    """What a file of readings does not say itself."""

    unit: str | None = None  # of columns that do not name theirs; None: kWh is assumed, and said
    times_are_ends: bool = False  # of the steps; else their starts
    times_are_told: bool = False  # to be the one or the other, so that it is not asked
    times_option: str = "--times"  # that tells it
    zone: ZoneInfo | None = None  # of the place
    gaps: Gaps = Gaps.REFUSE
    are_counters: bool = False  # so that what was used is the difference of two readings
    dates: DateOrder | None = None  # None: as the file shows
    decimal: str | None = None  # "." or ","; None: as the file shows
    step_minutes: int | None = None  # to which readings of different steps are brought
    time_column: str | None = None
    date_column: str | None = None
    value_column: str | None = None
    household: str | None = None  # whose readings a file of one household holds; None: as the file is called
    ignored: tuple[str, ...] = ()  # columns that are not looked at
    accepted: frozenset[str] = frozenset()  # what is doubtful, and nevertheless so


def time_zone(name: str) -> ZoneInfo:
    """A zone by its name.

    Raises:
        InputError: there is none.
    """
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"there is no time zone '{name}'; an example of one is Europe/Amsterdam") from None


@dataclass
class ReadSeries:
    """All readings of one quantity of one household, from one file or several."""

    household: str
    quantity: str
    unit: str
    file: str
    column: str
    moments: list[datetime] = field(default_factory=list)
    places: list[tuple[str, int]] = field(default_factory=list)  # file and row
    values: list[float] = field(default_factory=list)
    parts: list[str] = field(default_factory=list)  # the register that each is of


@dataclass
class ReadFiles:
    """What was read so far."""

    how: HowToRead
    only: Sequence[str] = ()
    names: dict[str, str] = field(default_factory=dict)  # all households that have a place in a file, and that file
    series: dict[tuple[str, str], ReadSeries] = field(default_factory=dict)  # by household and quantity
    remarks: list[str] = field(default_factory=list)
    read: list[FileSeen] = field(default_factory=list)
    headers: list[tuple[str, ...]] = field(default_factory=list)


@dataclass
class FileSeen:
    """What one file was taken for."""

    file: str
    taken: str  # in words, empty where the columns are named as documented
    assumed_unit: bool = False
    values: dict[tuple[str, str], list[float]] = field(default_factory=dict)  # by quantity and unit
    households: set[str] = field(default_factory=set)
    step_minutes: int = 0


def quoted(names: Sequence[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)


def local(moment: datetime, zone: ZoneInfo | None) -> datetime:
    return moment if moment.tzinfo is None else moment.astimezone(zone).replace(tzinfo=None)
