"""Times as people's files write them: every usual form, and the order of day and month decided by the whole column."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, timezone
from enum import Enum
from itertools import pairwise
from typing import Protocol

from gridpact.errors import InputError

TIME_FORM = "a time like 2024-06-21 14:00, 21-06-2024 14:00 or 2024-06-21T14:00Z"

MONTHS = {
    name: number
    for number, names in enumerate(
        ("jan ene gen", "feb fev fév", "mar mär mrt maa", "apr abr avr", "may mai mei maj mag", "jun juin giu",
         "jul juil lug", "aug ago aou aoû", "sep set", "oct okt ott", "nov", "dec dez dic déc"), 1
    )
    for name in names.split()
}  # fmt: skip
"""How months begin in English, German, Dutch, French, Spanish, Italian and the north's languages."""

WEEKDAYS = frozenset((
    "mo", "di", "mi", "do", "fr", "sa", "so", "tu", "we", "th", "su", "lu", "ma", "me", "mé", "je", "ju", "ve", "vi",
    "sá", "vr", "wo", "za", "zo", "ti", "on", "to", "lö", "sö",
))  # fmt: skip
"""How days of the week begin there."""

YEAR_FIRST = re.compile(r"(?P<a>\d{4})([-/.])(?P<b>\d{1,2})\2(?P<c>\d{1,2})|(?P<d>\d{4})(?P<e>\d{2})(?P<f>\d{2})")
YEAR_LAST = re.compile(r"(?P<a>\d{1,2})(?P<mark>[-/.])(?P<b>\d{1,2})(?P=mark)(?P<c>\d{4}|(?<=\.)\d{2})")
MONTH_NAMED = re.compile(r"(?P<a>\d{1,2})[-. ]+(?P<b>[^\W\d_]{3,10})\.?[-, ]+(?P<c>\d{4}|\d{2})")
MONTH_BEFORE = re.compile(r"(?P<b>[^\W\d_]{3,10})\.? (?P<a>\d{1,2}),? (?P<c>\d{4})")
CLOCK = re.compile(
    r"(?P<hour>\d{1,2})[:.h](?P<minute>\d{2})(?:[:.](?P<second>\d{2})(?:[.,](?P<part>\d+))?)?"
    r"\s*(?:(?P<half>[AaPp]\.?[Mm]\.?)|Uhr|uur|h)?\s*(?P<offset>Z|z|UTC|GMT|[+\-\u2212]\d{2}(?::?\d{2})?)?(?:\[[\w/+-]+\])?"
)
COMPACT = re.compile(
    r"(?P<day>(?:19|20)\d{6})[T ]?(?P<hour>\d{2})(?:(?P<minute>\d{2})(?P<second>\d{2})?)?(?P<offset>Z)?"
)
EPOCH = re.compile(r"(\d{10})(?:\d{3}|\d{6}|\d{9})?(?:\.\d+)?")
SPREADSHEET_DAY = re.compile(r"([3-7]\d{4})(?:[.,](\d+))?")
SPREADSHEET_ORIGIN = date(1899, 12, 30)
RANGE = re.compile(
    r"(?P<start>.*?\d{1,2}[:.h]\d{2}(?::\d{2})?(?:\s*[AaPp]\.?[Mm]\.?)?(?:\s*(?:Z|[+\-\u2212]\d{2}:?\d{2}))?)"
    r"\s*(?:[-\u2013\u2014/~]|\bto\b|\bbis\b|\btot\b)\s*(?P<end>(?:.*\D)?\d{1,2}[:.h]\d{2}.*)"
)
"""20.06.2024 00:00 - 20.06.2024 01:00, or 00:00-01:00."""

MOST_OFFSETS = 3
"""What stands behind a hyphen is an offset from UTC only if a column has not more of them."""


class DateOrder(Enum):
    """What comes first in a date like 03/04/2024."""

    DAY_FIRST = "day-first"
    MONTH_FIRST = "month-first"


class TimePlace(Protocol):
    """Where a time stands, for complaints."""

    def error(self, column: str, complaint: str) -> InputError: ...


@dataclass(frozen=True)
class Written:
    """A time as it is written: its date in one order or the other, and the rest."""

    dates: Mapping[DateOrder, date | None]  # None: there is no such date in that order
    clock: timedelta  # after midnight
    offset: timezone | None = None
    has_clock: bool = True

    @property
    def is_certain(self) -> bool:
        """Whether both orders are the same day."""
        return self.dates[DateOrder.DAY_FIRST] == self.dates[DateOrder.MONTH_FIRST]

    def moment(self, order: DateOrder) -> datetime | None:
        day = self.dates[order]
        return (
            datetime.combine(day, datetime.min.time(), self.offset) + self.clock if day else None
        )  # 24:00 is the next midnight


@dataclass(frozen=True)
class Moments:
    """The times of a column."""

    by_text: Mapping[str, datetime]
    has_hour_24: bool = False
    are_ranges: bool = False  # the ends stand beside the starts
    remarks: tuple[str, ...] = field(default=())


def moments(file: str, column: str, texts: Mapping[str, TimePlace], order: DateOrder | None = None) -> Moments:
    """The times of a column.

    Where dates may be read in two ways, the day or the month first, one that has a day above 12 decides for all; where
    there is none, the order in which the days follow each other does, if only one of the two has them so, and a remark
    says it.

    Args:
        texts: every text of the column, with the row in which it stands first.
        order: of day and month, if it is known.

    Raises:
        InputError: a text is no time, dates contradict each other, or either order is possible; says how to tell.
    """
    starts = _starts_of_ranges(list(texts))
    as_written: dict[str, Written] = {}
    for text, place in texts.items():
        one = written(starts.get(text, text))
        if one is None:
            raise place.error(column, f"'{text}' is not {TIME_FORM}")
        as_written[text] = one
    if as_written and not any(one.has_clock for one in as_written.values()):
        text, place = next(iter(texts.items()))
        raise place.error(
            column, f"'{text}' is a day without a time; readings of hours or less are needed, not of whole days"
        )
    order, remarks = _order(file, column, texts, as_written, order)
    by_text: dict[str, datetime] = {}
    for text, one in as_written.items():
        moment = one.moment(order)
        if moment is None:
            raise texts[text].error(column, f"'{text}' is no date with the {order.value.replace('-first', ' first')}")
        by_text[text] = moment
    return Moments(by_text, any(one.clock >= timedelta(days=1) for one in as_written.values()), bool(starts), remarks)


def _starts_of_ranges(texts: Sequence[str]) -> Mapping[str, str]:
    """Where each time stands with the end of its step, as 00:00-01:00, what stands before; nothing where none does."""
    parts = [RANGE.fullmatch(text.strip()) for text in texts]
    ranges = [part for part in parts if part is not None]
    if not ranges or len(ranges) < len(texts):
        return {}
    if written(texts[0]) is not None and len({part["end"] for part in ranges}) <= MOST_OFFSETS:
        return {}
    return {text: part["start"] for text, part in zip(texts, ranges, strict=True)}


def look_like_ends(file: str, moments_: Iterable[datetime], option: str = "--times") -> str | None:
    """The question whether times name the ends of steps, which span whole days if they do, and do not as starts."""
    at = sorted({moment.replace(tzinfo=None) for moment in moments_})  # as they are written
    step = min((later - earlier for earlier, later in pairwise(at)), default=timedelta())
    midnight = datetime.min.time()
    if len(at) < 3 or not (at[0] - step).time() == midnight == at[-1].time() != at[0].time():
        return None
    return (
        f"{file}: times go from {at[0]:%Y-%m-%d %H:%M} to {at[-1]:%Y-%m-%d %H:%M}, as ends of steps do; say "
        f"{option} end, or {option} start if they are starts"
    )


def _order(
    file: str, column: str, texts: Mapping[str, TimePlace], as_written: Mapping[str, Written], given: DateOrder | None
) -> tuple[DateOrder, tuple[str, ...]]:
    if given is not None:
        return given, ()
    doubtful = {text: one for text, one in as_written.items() if not one.is_certain}
    deciding = {order: next((t for t, one in doubtful.items() if one.dates[_other(order)] is None), None)
                for order in DateOrder}  # fmt: skip
    day_first, month_first = (deciding[order] for order in DateOrder)
    if day_first is not None and month_first is not None:
        raise texts[month_first].error(
            column, f"'{month_first}' has the month first, '{day_first}' the day; write all dates alike"
        )
    if day_first is not None or not doubtful:
        return DateOrder.DAY_FIRST, ()
    if month_first is not None:
        return DateOrder.MONTH_FIRST, (f"Dates in {file} have the month first, as in '{month_first}'.",)
    missing = {order: _missing_days([one.dates[order] for one in as_written.values()]) for order in DateOrder}
    first = next(iter(doubtful))
    for order in DateOrder:
        if missing[order] == 0 < missing[_other(order)]:
            reason = f"Dates in {file} have the {order.value.replace('-', ' ')}, as their days follow each other then"
            return order, (f"{reason}: '{first}' is {as_written[first].dates[order]}.",)
    both = " or ".join(str(as_written[first].dates[order]) for order in DateOrder)
    raise texts[first].error(column, f"'{first}' is {both}; say which with --dates day-first or --dates month-first")


def _missing_days(days: Sequence[date | None]) -> int:
    """How many days are missing between the first and the last."""
    there = {day for day in days if day is not None}
    return (max(there) - min(there)).days + 1 - len(there)


def _other(order: DateOrder) -> DateOrder:
    return DateOrder.MONTH_FIRST if order is DateOrder.DAY_FIRST else DateOrder.DAY_FIRST


def written(text: str) -> Written | None:
    """Reads one time; None where it is none."""
    text = text.strip()
    if compact := COMPACT.fullmatch(text):
        dates = _dates(compact["day"])
        clock = _clock(compact["hour"], compact["minute"] or "0", compact["second"], None, None)
        if dates and clock is not None:
            return Written(dates, clock, timezone.utc if compact["offset"] else None)
    if epoch := EPOCH.fullmatch(text):
        moment = datetime.fromtimestamp(int(epoch[1]), timezone.utc)
        return Written(_both(moment.date()), timedelta(hours=moment.hour, minutes=moment.minute, seconds=moment.second),
                       timezone.utc)  # fmt: skip
    if days := SPREADSHEET_DAY.fullmatch(text):
        seconds = round(24 * 60 * 60 * float(f"0.{days[2] or 0}"))
        day = SPREADSHEET_ORIGIN + timedelta(days=int(days[1]))
        return Written(_both(day), timedelta(seconds=seconds), None, has_clock=days[2] is not None)
    for form in (YEAR_FIRST, YEAR_LAST, MONTH_NAMED, MONTH_BEFORE):
        if begin := form.match(text):
            dates, rest = _dates(begin[0]), text[begin.end() :]
            break
    else:
        weekday, _, rest = text.partition(" ")
        return written(rest) if rest and weekday[:2].casefold() in WEEKDAYS and weekday.strip(".,").isalpha() else None
    if dates is None:
        return None
    if not rest:
        return Written(dates, timedelta(), None, has_clock=False)
    after = re.fullmatch(r"(?:[Tt]|,?\s+)(.*)", rest)
    parts = CLOCK.fullmatch(after[1].strip()) if after else None
    if not parts:
        return None
    clock = _clock(parts["hour"], parts["minute"], parts["second"], parts["part"], parts["half"])
    return Written(dates, clock, _offset(parts["offset"])) if clock is not None else None


def _both(day: date) -> dict[DateOrder, date | None]:
    return dict.fromkeys(DateOrder, day)


def _dates(text: str) -> Mapping[DateOrder, date | None] | None:
    """A date in both orders; None where it is none in either."""
    if parts := YEAR_FIRST.fullmatch(text):
        day = _date(parts["a"] or parts["d"], parts["b"] or parts["e"], parts["c"] or parts["f"])
        return _both(day) if day else None
    if parts := MONTH_NAMED.fullmatch(text) or MONTH_BEFORE.fullmatch(text):
        name = parts["b"].casefold()
        day = _date(parts["c"], MONTHS.get(name[:4]) or MONTHS.get(name[:3], 0), parts["a"])
        return _both(day) if day else None
    if parts := YEAR_LAST.fullmatch(text):
        day_first = _date(parts["c"], parts["b"], parts["a"])
        month_first = day_first if parts["mark"] == "." else _date(parts["c"], parts["a"], parts["b"])
        if day_first or month_first:
            return {DateOrder.DAY_FIRST: day_first, DateOrder.MONTH_FIRST: month_first}
    return None


def _date(year: str, month: str | int, day: str) -> date | None:
    try:
        return date(int(year) + (2000 if len(year) == 2 else 0), int(month), int(day))
    except ValueError:
        return None


def _clock(hour: str, minute: str, second: str | None, part: str | None, half: str | None) -> timedelta | None:
    hours, minutes, seconds = int(hour), int(minute), int(second or 0)
    if half is not None:
        if not 1 <= hours <= 12:
            return None
        hours = hours % 12 + (12 if half[0] in "Pp" else 0)
    clock = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if minutes > 59 or seconds > 59 or clock > timedelta(days=1):
        return None
    return clock + timedelta(microseconds=int((part or "0")[:6].ljust(6, "0")))


def _offset(text: str | None) -> timezone | None:
    if text is None:
        return None
    if text[0] not in "+-\u2212":
        return timezone.utc
    digits = text[1:].replace(":", "")
    ahead = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0))
    if ahead >= timedelta(days=1):
        return None
    return timezone(ahead if text[0] == "+" else -ahead)
