"""Meter readings on a grid of whole days: duplicates and gaps found, clock changes left out, steps resampled.

All that reads meter files ends here, whatever their layout: a `Meter` for each household, with its load and PV output
in kW, as means over steps of one length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, time, timedelta
from enum import Enum
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from gridpact.community.grown import finer
from gridpact.community.model import Array
from gridpact.errors import InputError

DAY_MINUTES = 24 * 60
MOST_FILLED_MINUTES = 120
"""The longest gap that `Gaps.FILL` closes."""

MOST_KW = 100.0
"""A household that takes more has its readings in another unit than its owner thinks."""

EPOCH = date(1970, 1, 1).toordinal()


class Gaps(Enum):
    """What to do where a reading is missing between two others.

    `REFUSE`: complain. `SKIP`: leave the day out. `FILL`: a line between the readings before and after a gap of at
    most two hours; longer ones are complained about.
    """

    REFUSE = "refuse"
    SKIP = "skip"
    FILL = "fill"


@dataclass(frozen=True)
class Meter:
    """What was measured at one household, kW, means over steps, by day as YYYY-MM-DD."""

    name: str
    load_kw: dict[str, Array]  # day -> (T,)
    pv_kw: dict[str, Array] = field(default_factory=dict)  # day -> (T,); empty without PV
    pv_kwp: float = 0.0


@dataclass(frozen=True)
class MeterData:
    """The readings of some households, all with the same steps."""

    step_minutes: int
    meters: tuple[Meter, ...]
    remarks: tuple[str, ...] = ()  # what was assumed, filled and left out, a sentence each

    @property
    def days(self) -> tuple[str, ...]:
        """The days that all households have, ascending."""
        common = set(self.meters[0].load_kw)
        for meter in self.meters[1:]:
            common &= set(meter.load_kw)
        return tuple(sorted(common))

    def resampled(self, step_minutes: int) -> MeterData:
        """The same with steps of another length.

        Longer steps take the mean power of those in them. Shorter ones run linearly within the step that they cut,
        towards its neighbours, with the same mean (`finer`). Either way the energy of a day is kept.

        Raises:
            InputError: neither length is a multiple of the other, or the day is none of the new one.
        """
        if step_minutes == self.step_minutes:
            return self
        if step_minutes < 1 or DAY_MINUTES % step_minutes:
            raise InputError(f"steps of {step_minutes} minutes do not divide a day; choose 15, 30 or 60")
        longer, shorter = max(step_minutes, self.step_minutes), min(step_minutes, self.step_minutes)
        if longer % shorter:
            raise InputError(
                f"readings of {self.step_minutes} minutes cannot become steps of {step_minutes}: one must be a "
                "multiple of the other"
            )
        parts = longer // shorter

        def resample(power: Array) -> Array:
            if step_minutes < self.step_minutes:
                return finer(power, parts)
            means: Array = power.reshape(-1, parts).mean(axis=1)
            return means

        how = "means of the readings in them" if step_minutes > self.step_minutes else "cut out of longer readings"
        return replace(
            self,
            step_minutes=step_minutes,
            meters=tuple(
                replace(
                    meter,
                    load_kw={day: resample(power) for day, power in meter.load_kw.items()},
                    pv_kw={day: resample(power) for day, power in meter.pv_kw.items()},
                )
                for meter in self.meters
            ),
            remarks=(*self.remarks, f"Steps of {step_minutes} minutes: {how} ({self.step_minutes} minutes)."),
        )

    def only(self, names: Sequence[str]) -> MeterData:
        """Some of the households, in the order given.

        Raises:
            InputError: there is no household of a name.
        """
        by_name = {meter.name: meter for meter in self.meters}
        for name in names:
            if name not in by_name:
                known = list(by_name)
                raise InputError(
                    f"there are no readings of a household '{name}'; there are {', '.join(known[:12])}"
                    + (f" and {len(known) - 12} more" if len(known) > 12 else "")
                )
        return replace(self, meters=tuple(by_name[name] for name in names))


class Readings:
    """Readings of one household as they come from a file, row by row, in any order.

    Args:
        file, household: named in complaints.
        columns: how many quantities are read at a time.
    """

    def __init__(self, file: str, household: str, columns: int) -> None:
        self.file = file
        self.household = household
        self.columns = columns
        self._minutes: list[int] = []
        self._rows: list[int] = []
        self._values: list[Sequence[float]] = []

    def __len__(self) -> int:
        return len(self._minutes)

    def add(self, start: datetime, row: int, values: Sequence[float]) -> None:
        """One reading.

        Args:
            start: of its step, in local time.
            row: in the file, for complaints.
            values: (columns,).
        """
        self._minutes.append((start.toordinal() - EPOCH) * DAY_MINUTES + start.hour * 60 + start.minute)
        self._rows.append(row)
        self._values.append(values)

    def by_day(
        self, gaps: Gaps, zone: ZoneInfo | None, step_minutes: int | None = None
    ) -> tuple[int, dict[str, Array], list[str]]:
        """The readings as whole days.

        Args:
            gaps: what to do where readings are missing within a household's first and last.
            zone: whose changes of the clock are looked for; the days on which there is one are left out.
            step_minutes: what it must be; None: the smallest difference between two readings.

        Returns:
            Minutes of a step; day -> (columns, T); what was left out or filled, a sentence each.

        Raises:
            InputError: two readings at one time, one between the steps, or a gap that is not allowed; names the row.
        """
        where = f"{self.file}, household '{self.household}'"
        if len(self._minutes) < 2:
            raise InputError(f"{where}: has {len(self)} readings; a day of them is the least")
        order = np.argsort(self._minutes, kind="stable")
        minutes = np.array(self._minutes, dtype=np.int64)[order]
        rows, values = np.array(self._rows)[order], np.array(self._values, dtype=float)[order]
        remarks: list[str] = []

        changed = frozenset(int(day) for day in np.unique(minutes // DAY_MINUTES) if clock_changes(_date(day), zone))
        if changed:
            keep = ~np.isin(minutes // DAY_MINUTES, list(changed))
            minutes, rows, values = minutes[keep], rows[keep], values[keep]
            remarks += [f"Left out, since the clock changed: {_day(day)}." for day in sorted(changed)]
            if len(minutes) < 2:
                raise InputError(f"{where}: has no day but that on which the clock changed")
        self._no_duplicates(minutes, rows, zone)
        step = step_minutes or int(np.diff(minutes).min())
        if DAY_MINUTES % step or DAY_MINUTES // step > 192:
            raise InputError(
                f"{where}: the smallest step between two readings is {step} minutes; readings must be 8 minutes or "
                "more apart, and their step must divide a day"
            )
        if (off := np.flatnonzero(minutes % step)).size:
            k = off[0]
            raise InputError(
                f"{self.file}, row {rows[k]}: '{self.household}' has a reading at {_moment(minutes[k])}, which is not "
                f"on the grid of {step} minutes from midnight"
            )

        minutes, values, filled = self._without_gaps(minutes, rows, values, step, changed, gaps)
        if filled:
            readings = "1 reading" if filled == 1 else f"{filled} readings"
            remarks.append(f"Filled with a line between their neighbours: {readings} of '{self.household}'.")
        whole = DAY_MINUTES // step
        day_of = minutes // DAY_MINUTES
        result: dict[str, Array] = {}
        partial = []
        for day, first, count in zip(*np.unique(day_of, return_index=True, return_counts=True), strict=True):
            if count == whole:
                result[_day(int(day))] = values[first : first + count].T
            else:
                partial.append(_day(int(day)))
        if partial:
            shown = ", ".join(partial[:6]) + (f" and {len(partial) - 6} more" if len(partial) > 6 else "")
            remarks.append(f"Left out, since not all readings are there: {shown} of '{self.household}'.")
        if not result:
            raise InputError(f"{where}: has no day with all its {whole} readings of {step} minutes")
        return step, result, remarks

    def _no_duplicates(self, minutes: NDArray[np.int64], rows: NDArray[np.int64], zone: ZoneInfo | None) -> None:
        twice = np.flatnonzero(np.diff(minutes) == 0)
        if twice.size:
            k = twice[0]
            hint = "" if zone else "; if the clock was put back then, give the time zone, so that the day is left out"
            raise InputError(
                f"{self.file}, row {rows[k + 1]}: '{self.household}' has a second reading at {_moment(minutes[k])}, "
                f"the first is in row {rows[k]}{hint}"
            )

    def _without_gaps(
        self,
        minutes: NDArray[np.int64],
        rows: NDArray[np.int64],
        values: Array,
        step: int,
        changed: frozenset[int],
        gaps: Gaps,
    ) -> tuple[NDArray[np.int64], Array, int]:
        """Times and values without missing steps, if that is what is asked for, and how many were filled."""
        expected = np.arange(minutes[0], minutes[-1] + 1, step)
        missing = np.setdiff1d(expected[~np.isin(expected // DAY_MINUTES, list(changed))], minutes)
        if not missing.size or gaps is Gaps.SKIP:
            return minutes, values, 0
        for run in np.split(missing, np.flatnonzero(np.diff(missing) != step) + 1):
            if gaps is Gaps.FILL and len(run) * step <= MOST_FILLED_MINUTES:
                continue
            before = rows[np.searchsorted(minutes, run[0]) - 1]
            hint = (
                f"gaps of more than {MOST_FILLED_MINUTES} minutes are not filled"
                if gaps is Gaps.FILL
                else "give the time zone if the clock was put forward then, or leave such days out with --gaps skip, "
                "or fill short gaps with --gaps fill"
            )
            upto = "" if len(run) == 1 else f" to {_moment(run[-1])}"
            raise InputError(
                f"{self.file}, row {before}: after it '{self.household}' has no reading at {_moment(run[0])}{upto}; "
                f"{hint}"
            )
        lines = np.array([np.interp(missing, minutes, column) for column in values.T]).T
        minutes, values = np.concatenate([minutes, missing]), np.concatenate([values, lines])
        order = np.argsort(minutes)
        return minutes[order], values[order], len(missing)


def united(remarks: Sequence[str]) -> tuple[str, ...]:
    """Remarks of all households, each once; those alike up to a colon as one."""
    said: dict[str, dict[str, None]] = {}
    for remark in remarks:
        what, colon, of = remark.removesuffix(".").partition(": ")
        said.setdefault(what + colon, {})[of] = None
    return tuple(f"{what}{', '.join(of)}." for what, of in said.items())


def check_power(file: str, household: str, power_kw: dict[str, Array]) -> None:
    """Complains about powers that no household has.

    Raises:
        InputError: a mean over a step above `MOST_KW`.
    """
    for day, power in power_kw.items():
        if float(power.max()) > MOST_KW:
            raise InputError(
                f"{file}: '{household}' has {power.max():,.0f} kW on {day}, more than {MOST_KW:g} kW; are the readings "
                "in another unit (Wh, W)?"
            )


def rounded_up(pv_kw: dict[str, Array]) -> float:
    """The size of panels that were not told: the largest output, rounded up to 0.1 kW; 0 where there is none."""
    largest = max((float(power.max()) for power in pv_kw.values()), default=0.0)
    return float(np.ceil(round(10 * largest, 6)) / 10)


def clock_changes(day: date, zone: ZoneInfo | None) -> bool:
    """Whether the zone's clock is changed on a day."""
    if zone is None:
        return False
    midnights = (datetime.combine(day + timedelta(days=k), time(), zone) for k in (0, 1))
    return len({midnight.utcoffset() for midnight in midnights}) > 1


def _date(day: int) -> date:
    return date.fromordinal(EPOCH + int(day))


def _day(day: int) -> str:
    return _date(day).isoformat()


def _moment(minutes: int) -> str:
    day, rest = divmod(int(minutes), DAY_MINUTES)
    return f"{_day(day)} {rest // 60:02d}:{rest % 60:02d}"
