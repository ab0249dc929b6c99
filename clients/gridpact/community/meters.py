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
from gridpact.community.usual import MOST_KW
from gridpact.errors import InputError
from gridpact.limits import MOST_STEPS
from gridpact.text import listed

DAY_MINUTES = 24 * 60
"""Of a day, in a round."""

MOST_FILLED_MINUTES = 120
"""The longest gap that `Gaps.FILL` closes."""

NOISE_KW = 0.1
"""So far below zero a meter's own noise may be: inverters read a little below zero at night."""

MOST_FALLS = 0.05
"""Of the steps between a counter's states so many may fall: meters are changed, and some begin anew every day."""

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
class BatteryOf:
    """A household's battery, where the data tell of it."""

    capacity_kwh: float
    power_kw: float
    round_trip_efficiency: float


@dataclass(frozen=True)
class Meter:
    """What was measured at one household, kW, means over steps, by day as YYYY-MM-DD."""

    name: str
    load_kw: dict[str, Array]  # day -> (T,)
    pv_kw: dict[str, Array] = field(default_factory=dict)  # day -> (T,); empty without PV
    pv_kwp: float = 0.0
    battery: BatteryOf | None = None
    bus: str = ""  # of the network, where the data tell


@dataclass(frozen=True)
class MeterData:
    """The readings of some households, all with the same steps."""

    step_minutes: int
    meters: tuple[Meter, ...]
    remarks: tuple[str, ...] = ()  # what was assumed, filled and left out, a sentence each
    read: tuple[str, ...] = ()  # what each file was taken for, and how small and large its values are
    assumed_kwh: bool = False  # in steps of which a kW would be another one
    prices: dict[str, Array] = field(default_factory=dict)  # day -> (T,), of import per kWh, where the data tell

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
        if step_minutes == self.step_minutes and DAY_MINUTES // step_minutes <= MOST_STEPS:
            return self
        if step_minutes < 1 or DAY_MINUTES % step_minutes:
            raise InputError(f"steps of {step_minutes} minutes do not divide a day; choose 15, 30 or 60")
        if DAY_MINUTES // step_minutes > MOST_STEPS:
            raise InputError(
                f"steps of {step_minutes} minutes are too short: a day has at most {MOST_STEPS} steps in a round; take "
                "longer ones with --step 15, 30 or 60"
            )

        def brought(power: Array) -> Array:
            return resample(power, self.step_minutes, step_minutes)

        how = "means of the readings in them" if step_minutes > self.step_minutes else "cut out of longer readings"
        return replace(
            self,
            step_minutes=step_minutes,
            meters=tuple(
                replace(
                    meter,
                    load_kw={day: brought(power) for day, power in meter.load_kw.items()},
                    pv_kw={day: brought(power) for day, power in meter.pv_kw.items()},
                )
                for meter in self.meters
            ),
            prices={day: brought(price) for day, price in self.prices.items()},
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
                raise no_such_household(name, list(by_name))
        return replace(self, meters=tuple(by_name[name] for name in names))


def no_such_household(name: str, known: Sequence[str]) -> InputError:
    """What is wrong where a household is named that has no readings."""
    return InputError(f"there are no readings of a household '{name}'; there are {listed(known)}")


@dataclass(frozen=True)
class Scale:
    """How readings become kW."""

    per_unit: float = 1.0  # kWh or kW of a unit
    is_energy: bool = False

    def kw(self, step_minutes: int) -> float:
        """kW of a unit, in steps of a length."""
        return self.per_unit * 60 / step_minutes if self.is_energy else self.per_unit


def resample(power: Array, own_minutes: int, step_minutes: int) -> Array:
    """Mean powers of a day in steps of another length, see `MeterData.resampled`.

    Raises:
        InputError: neither length is a multiple of the other.
    """
    longer, shorter = max(step_minutes, own_minutes), min(step_minutes, own_minutes)
    if longer % shorter:
        raise InputError(
            f"readings of {own_minutes} minutes cannot become steps of {step_minutes}: one must be a multiple of the "
            "other"
        )
    if step_minutes < own_minutes:
        return finer(power, longer // shorter)
    means: Array = power.reshape(-1, longer // shorter).mean(axis=1)
    return means


class Readings:
    """Readings of one household as they come from files, row by row, in any order.

    Args:
        file, household: named in complaints.
        columns: how many quantities are read at a time.
        column: what the quantity is called in the file, for complaints about a cell.
        complaint: what is wrong where one is negative.
    """

    def __init__(self, file: str, household: str, columns: int, column: str = "", complaint: str = "") -> None:
        self.file = file
        self.household = household
        self.columns = columns
        self._column, self._complaint = column, complaint
        self._minutes: list[int] = []
        self._rows: list[int] = []
        self._files: list[str] = []
        self._values: list[Sequence[float]] = []
        self._fell: frozenset[int] = frozenset()  # when counters fell or jumped, min

    def __len__(self) -> int:
        return len(self._minutes)

    def add(self, start: datetime, row: int, values: Sequence[float], file: str | None = None) -> None:
        """One reading.

        Args:
            start: of its step, in local time.
            row: in the file, for complaints.
            values: (columns,).
            file: in which it is, if not in that of the others.
        """
        self._minutes.append((start.toordinal() - EPOCH) * DAY_MINUTES + start.hour * 60 + start.minute)
        self._rows.append(row)
        self._files.append(file or self.file)
        self._values.append(values)

    def by_day(
        self,
        gaps: Gaps,
        zone: ZoneInfo | None,
        step_minutes: int | None = None,
        scale: Scale | None = None,
        are_counters: bool = False,
        most_kw: float = MOST_KW,
    ) -> tuple[int, dict[str, Array], list[str]]:
        """The readings as whole days.

        Args:
            gaps: what to do where readings are missing within a household's first and last.
            zone: whose changes of the clock are looked for; the days on which there is one are left out.
            step_minutes: what it must be; None: the smallest difference between two readings.
            scale: makes kW of them, and takes what is little below zero for zero; None: they stay as they are.
            are_counters: they are states of counters, so what was counted is their differences.
            most_kw: what a counter cannot have counted in a step, so that its meter was changed there.

        Returns:
            Minutes of a step; day -> (columns, T); what was left out or filled, a sentence each.

        Raises:
            InputError: two readings at one time that differ, one between the steps, steps that change, a gap that is
                not allowed, a counter that falls often, or less than nothing; names the row.
        """
        where = f"{self.file}, household '{self.household}'"
        if len(self._minutes) < 2:
            raise InputError(
                f"{where}: has {len(self)} reading{'s' if len(self) != 1 else ''}; a day of them is the least"
            )
        order = np.argsort(self._minutes, kind="stable")
        minutes = np.array(self._minutes, dtype=np.int64)[order]
        rows, values = order.astype(np.int64), np.array(self._values, dtype=float)[order]
        remarks: list[str] = []

        changed = frozenset(int(day) for day in np.unique(minutes // DAY_MINUTES) if clock_changes(_date(day), zone))
        if changed:
            # a counter's state at the midnight when such a day begins ends the day before
            keep = ~np.isin(minutes // DAY_MINUTES, list(changed)) | (are_counters & (minutes % DAY_MINUTES == 0))
            minutes, rows, values = minutes[keep], rows[keep], values[keep]
            remarks += [f"Left out, since the clock changed: {_day(day)}." for day in sorted(changed)]
            if len(minutes) < 2:
                raise InputError(f"{where}: has no day but that on which the clock changed")
        minutes, rows, values, noted = self._once(minutes, rows, values, zone)
        remarks += noted
        step = step_minutes or int(np.diff(minutes).min(initial=DAY_MINUTES))
        if DAY_MINUTES % step:
            raise InputError(
                f"{where}: the smallest step between two readings is {step} minutes; readings must be at a regular "
                "distance that divides a day"
            )
        self._on_one_grid(minutes, rows, step)
        if are_counters:
            minutes, rows, values, noted = self._without_dips(minutes, rows, values)
            remarks += noted
            most = most_kw / (scale or Scale()).kw(step)
            minutes, rows, values, noted = self._differences(minutes, rows, values, step, gaps, most)
            keep = ~np.isin(minutes // DAY_MINUTES, list(changed))
            minutes, rows, values, remarks = minutes[keep], rows[keep], values[keep], remarks + noted
        if scale is not None:
            values = values * scale.kw(step)
            remarks += self._without_negatives(rows, values)

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
            shown = listed(partial, most=6)
            remarks.append(f"Left out, since not all readings are there: {shown} of '{self.household}'.")
        if not result:
            raise InputError(f"{where}: has no day with all its {whole} readings of {step} minutes")
        return step, result, remarks

    def _place(self, entry: int) -> str:
        return f"{self._files[entry]}, row {self._rows[entry]}"

    def _once(
        self, minutes: NDArray[np.int64], entries: NDArray[np.int64], values: Array, zone: ZoneInfo | None
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, list[str]]:
        """Each time once: equal readings are taken once, others are complained about."""
        again = np.concatenate([[False], np.diff(minutes) == 0])
        if not again.any():
            return minutes, entries, values, []
        for k in np.flatnonzero(again):
            if (values[k] != values[k - 1]).any():
                first, second = self._rows[entries[k - 1]], entries[k]
                hint = "; if the clock was put back then, give the time zone, so that the day is left out"
                raise InputError(
                    f"{self._place(second)}: '{self.household}' has a second reading at {_moment(minutes[k])}, the "
                    f"first is in row {first}{'' if zone else hint}"
                )
        remark = f"Equal readings at one time, taken once: {again.sum()} of '{self.household}'."
        return minutes[~again], entries[~again], values[~again], [remark]

    def _on_one_grid(self, minutes: NDArray[np.int64], entries: NDArray[np.int64], step: int) -> None:
        """
        Raises:
            InputError: a reading is between the steps, or some are regularly further apart than others.
        """
        if (off := np.flatnonzero(minutes % step)).size:
            k = off[0]
            raise InputError(
                f"{self._place(entries[k])}: '{self.household}' has a reading at {_moment(minutes[k])}, which is not "
                f"on the grid of {step} minutes from midnight"
            )
        apart = np.diff(minutes)
        runs = [apart[k : len(apart) - 3 + k] for k in range(4)]
        alike = (runs[0] > step) & (runs[0] == runs[1]) & (runs[0] == runs[2]) & (runs[0] == runs[3])
        if alike.any():
            k = int(np.flatnonzero(alike)[0])
            raise InputError(
                f"{self._place(entries[k])}: from here '{self.household}' has readings {apart[k]} minutes apart, "
                f"elsewhere {step}; bring them to one step, or give the parts as files of their own"
            )

    def _without_dips(
        self, minutes: NDArray[np.int64], entries: NDArray[np.int64], values: Array
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, list[str]]:
        """States of counters without those that fall to one value and go on from where they were: errors of reading."""
        keep = np.ones(len(minutes), dtype=bool)
        for column in values.T:
            k = 1
            while k < len(column):
                after = k + 1
                while after < len(column) and column[after] == column[k] < column[k - 1]:
                    after += 1
                if column[k] < column[k - 1] and after < len(column) and column[after] >= column[k - 1]:
                    keep[k:after] = False
                    k = after
                k += 1
        if keep.all() or (~keep).sum() > max(1, len(keep) * MOST_FALLS):
            return minutes, entries, values, []
        first = _moment(minutes[int(np.flatnonzero(~keep)[0])])
        remark = (
            "States of counters that fell, and went on from where they were, were left out: "
            f"{(~keep).sum()} of '{self.household}' (first {first})."
        )
        return minutes[keep], entries[keep], values[keep], [remark]

    def _differences(
        self, minutes: NDArray[np.int64], entries: NDArray[np.int64], values: Array, step: int, gaps: Gaps, most: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], Array, list[str]]:
        """What counters counted from each time to the next.

        Where one falls, or counts more than `most` in a step, the meter was changed or reset, and what it counted then
        is not known: a gap. Over a missing state what was counted is known, and is spread evenly where gaps are to be
        filled.
        """
        steps, counted = np.diff(minutes) // step, np.diff(values, axis=0)
        fell: NDArray[np.bool_] = np.any(counted < 0, axis=1)
        jumped: NDArray[np.bool_] = np.any(counted > most * steps[:, None], axis=1)
        if jumped.sum() <= max(1, len(jumped) * MOST_FALLS):  # else the unit is another one
            fell = fell | jumped
        if fell.sum() > max(1, len(fell) * MOST_FALLS):
            k = int(np.flatnonzero(fell)[0])
            raise InputError(
                f"{self._place(int(entries[k + 1]))}: '{self.household}' falls here and {fell.sum() - 1} more times, so"
                " it is no counter; leave out --counter"
            )
        spread = (steps == 1) | ((gaps is Gaps.FILL) & ((steps - 1) * step <= MOST_FILLED_MINUTES))
        keep = ~fell & spread
        starts = np.repeat(minutes[:-1][keep], steps[keep])
        within = np.concatenate([np.arange(n) for n in steps[keep]]) if keep.any() else np.zeros(0, dtype=np.int64)
        remarks = []
        if fell.any():
            self._fell = frozenset(minutes[:-1][fell].tolist())
            first = _moment(minutes[int(np.flatnonzero(fell)[0])])
            remarks.append(
                "Counters fell or jumped, so the meter was changed or reset, and these steps have no reading: "
                f"{fell.sum()} of '{self.household}' (first {first})."
            )
        if extra := int((steps[keep] - 1).sum()):
            remarks.append(f"States of counters that are missing, spread evenly: {extra} of '{self.household}'.")
        return (
            starts + within * step,
            np.repeat(entries[:-1][keep], steps[keep]),
            np.repeat(counted[keep] / steps[keep][:, None], steps[keep], axis=0),
            remarks,
        )

    def _without_negatives(self, entries: NDArray[np.int64], power_kw: Array) -> list[str]:
        """Takes what is little below zero for zero, in place: a meter's own noise.

        Raises:
            InputError: there is more below zero than that.
        """
        if (far := np.argwhere(power_kw < -NOISE_KW)).size:
            entry = int(entries[far[0][0]])
            value = self._values[entry][int(far[0][1])]
            turned = (power_kw <= 0).all() and len(power_kw) > 1
            hint = "; all are below zero, so turn their signs if they count the other way" if turned else ""
            raise InputError(
                f"{self._place(entry)}, column '{self._column}': {value:g} {self._complaint or 'is negative'}{hint}"
            )
        little = (power_kw < 0).any(axis=1)
        lowest = float(power_kw.min(initial=0.0))
        np.maximum(power_kw, 0.0, out=power_kw)
        if not little.any():
            return []
        return [f"Below zero by {-lowest:.2g} kW at most, taken as 0: {little.sum()} readings of '{self.household}'."]

    def _without_gaps(
        self,
        minutes: NDArray[np.int64],
        entries: NDArray[np.int64],
        values: Array,
        step: int,
        changed: frozenset[int],
        gaps: Gaps,
    ) -> tuple[NDArray[np.int64], Array, int]:
        """Times and values without missing steps, if that is what is asked for, and how many were filled."""
        if not len(minutes):
            return minutes, values, 0
        expected = np.arange(minutes[0], minutes[-1] + 1, step)
        missing = np.setdiff1d(expected[~np.isin(expected // DAY_MINUTES, list(changed))], minutes)
        if not missing.size or gaps is Gaps.SKIP:
            return minutes, values, 0
        for run in np.split(missing, np.flatnonzero(np.diff(missing) != step) + 1):
            if gaps is Gaps.FILL and len(run) * step <= MOST_FILLED_MINUTES:
                continue
            before = int(entries[np.searchsorted(minutes, run[0]) - 1])
            hint = (
                f"gaps of more than {MOST_FILLED_MINUTES} minutes are not filled"
                if gaps is Gaps.FILL
                else "give the time zone if the clock was changed then, or leave such days out with --gaps skip, "
                "or fill short gaps with --gaps fill"
            )
            upto = "" if len(run) == 1 else f" to {_moment(run[-1])}"
            why = ", as its counter fell or jumped there" if int(run[0]) in self._fell else ""
            raise InputError(
                f"{self._place(before)}: after it '{self.household}' has no reading at {_moment(run[0])}{upto}{why}; "
                f"{hint}"
            )
        lines = np.array([np.interp(missing, minutes, column) for column in values.T]).T
        minutes, values = np.concatenate([minutes, missing]), np.concatenate([values, lines])
        order = np.argsort(minutes)
        return minutes[order], values[order], len(missing)


def united(remarks: Sequence[str]) -> tuple[str, ...]:
    """Remarks of all households, each once; those alike up to a colon as one."""
    by_words: dict[str, dict[str, None]] = {}
    for remark in remarks:
        what, colon, of = remark.removesuffix(".").partition(": ")
        by_words.setdefault(what + colon, {})[of] = None
    return tuple(f"{what}{', '.join(of)}." for what, of in by_words.items())


def check_power(file: str, household: str, power_kw: dict[str, Array]) -> None:
    """Complains about powers that no household has.

    Raises:
        InputError: a mean over a step above `MOST_KW`.
    """
    for day, power in power_kw.items():
        if float(power.max()) > MOST_KW:
            what = (
                "they rise as the states of a counter do (--counter takes their differences)"
                if (np.diff(power) >= 0).all() and power[0] < power[-1]
                else "are the readings in another unit (Wh, W)?"
            )
            raise InputError(
                f"{file}: '{household}' has {power.max():,.0f} kW on {day}, more than {MOST_KW:g} kW; {what} "
                "(--accept size if it is so)"
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
