"""What is doubtful about data that could be read: each is asked about in one sentence, and may be accepted by its name.

The names are those of `--accept`.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np

from gridpact.community.meters import MeterData
from gridpact.community.model import Array
from gridpact.community.usual import LEAST_PRICE, MOST_PRICE
from gridpact.errors import InputError

DOUBTS = {
    "rising": "values that rise as a counter's do",
    "size": "uses that are very large or small",
    "night": "PV output at night",
    "total": "a household that uses what all others use together",
    "registers": "households that hardly ever use energy at the same time",
    "price": "prices that are very high or low",
    "sign": "readings that contradict what was planned",
    "unrecorded": "trades that only one side states",
    "crossing": "a tariff that pays more for feed-in than another asks for energy",
}

LEAST_RISES = 8
RISES_A_FALL = 10
"""A counter rises so many times as often as it falls; what people use falls as often as it rises."""

FEW_RISES, LITTLE = 3, 1.5
"""Values of few steps that all rise, together by less than half."""

MOST_IF_KWH, LEAST_IF_KW = 1.8, 0.1
"""On average of all households, kW: where nothing says that readings are kWh, and they are more than the first as such,
or more than the second as kW, they may be either."""

MOST_MEAN_KW, LEAST_MEAN_KW, LEAST_MEAN_OF_ALL_KW = 20.0, 0.005, 0.03
"""Of a household over all days, and of all households."""

SUM_ERROR = 0.02
"""By so much a meter of all others may differ from what they add up to."""

MOST_BESIDE = 0.05
"""At so many of the steps at which one of two registers counts the other may, too: a tariff changes within a step."""

LEAST_COUNTED = 0.25
"""Two registers together count in so many of all steps; panels may cover the rest."""

SPIKE_KW, SPIKE = 25.0, 5.0
"""A power in one step above the first and so many times above all others is rather an error."""

NIGHT = (22.0, 4.0)
MOST_AT_NIGHT = 0.1
"""Of PV output between these hours; more has only the far north in summer."""

MIDDLE_OF_PV = (8.5, 16.5)
"""Hours between which the middle of the day's output lies, on roofs to the east and the west, in any time zone."""


def check_readings(data: MeterData, accepted: Collection[str]) -> None:
    """
    Raises:
        InputError: something is doubtful that was not accepted.
    """
    of_name = {"rising": _rising, "size": _size, "night": _night, "total": _total, "registers": _registers}
    for name, doubts in of_name.items():
        if name not in accepted:
            for doubt in doubts(data):
                raise ask(name, doubt)


def check_prices(what: str, prices: Mapping[str, Array], days: Sequence[str], accepted: Collection[str]) -> str:
    """Lowest, mean and highest price, in words.

    Raises:
        InputError: they are doubtful, and that was not accepted.
    """
    every = np.concatenate([prices[day] for day in days])
    sizes = f"lowest {every.min():.4g}, mean {every.mean():.4g}, highest {every.max():.4g}"
    largest = float(np.abs(every).max())
    if "price" not in accepted:
        if largest > MOST_PRICE:
            raise ask("price", f"{what}: {largest:.6g} for a kWh ({sizes}); are the prices per MWh, or in cents?")
        if 0 < largest < LEAST_PRICE:
            raise ask("price", f"{what}: at most {largest:.3g} for a kWh ({sizes}); are the prices per Wh?")
        if every.max() < 0:
            raise ask("price", f"{what}: never above 0 ({sizes}); does a price have the wrong sign?")
    return sizes


def ask(name: str, doubt: str) -> InputError:
    """A question that `--accept` answers."""
    return InputError(f"{doubt} (--accept {name} if it is so)")


def rises_like_a_counter(days: Sequence[Array]) -> bool:
    """Whether values rise as a counter's do within days; between days it may begin anew.

    Args:
        days: (T,) each.
    """
    steps = np.concatenate([np.diff(day) for day in days]) if days else np.zeros(0)
    size = float(np.abs(np.concatenate(days)).max(initial=0.0)) if days else 0.0
    rises, falls = (int((sign * steps > 1e-9 * size).sum()) for sign in (1, -1))
    return rises >= LEAST_RISES and falls * RISES_A_FALL <= rises


def looks_like_a_counter(values: Array) -> bool:
    """Whether the values of one day are rather states than amounts; a few, if they always rise and by little.

    Args:
        values: (T,).
    """
    if rises_like_a_counter([values]):
        return True
    steps = np.diff(values)
    return len(steps) >= FEW_RISES and bool((steps > 0).all()) and 0 < float(values[-1]) < LITTLE * float(values[0])


def _rising(data: MeterData) -> Iterator[str]:
    for meter in data.meters:
        for what, by_day in (("use", meter.load_kw), ("PV output", meter.pv_kw)):
            if rises_like_a_counter(list(by_day.values())):
                yield (
                    f"the {what} of '{meter.name}' rises from {_first(by_day):.4g} to {_last(by_day):.4g} kW and hardly"
                    " ever falls, as the states of a counter do: say --counter to take their differences"
                )


def _first(by_day: Mapping[str, Array]) -> float:
    return float(by_day[min(by_day)][0])


def _last(by_day: Mapping[str, Array]) -> float:
    return float(by_day[max(by_day)][-1])


def _size(data: MeterData) -> Iterator[str]:
    means = {meter.name: float(np.mean([power.mean() for power in meter.load_kw.values()])) for meter in data.meters}
    for name, mean in means.items():
        if mean > MOST_MEAN_KW or 0 < mean < LEAST_MEAN_KW:
            yield _much(f"'{name}' uses", mean)
    of_all = float(np.mean(list(means.values())))
    if_kw = of_all * data.step_minutes / 60
    if data.assumed_kwh and (of_all > MOST_IF_KWH or if_kw > LEAST_IF_KW):
        yield (
            f"on average a household uses {24 * of_all:,.3g} kWh a day, if the readings are kWh in each step, and "
            f"{24 * if_kw:,.3g} if they are kW: say --unit kwh or --unit kw"
        )
    for meter in data.meters:
        for what, by_day in (("uses", meter.load_kw), ("has a PV output of", meter.pv_kw)):
            if (spike := _spike(by_day)) is not None:
                day, clock, kw = spike
                yield (
                    f"'{meter.name}' {what} {kw:,.4g} kW on {day} at {clock}, more than {SPIKE:g} times as much as "
                    "ever else; is it an error of its meter? Then leave the cell empty"
                )
    if 0 < of_all < LEAST_MEAN_OF_ALL_KW:
        yield _much("on average a household uses", of_all)


def _spike(by_day: Mapping[str, Array]) -> tuple[str, str, float] | None:
    """Day, time and size of the largest power, kW, if it stands out."""
    if not by_day:
        return None
    every = np.concatenate([by_day[day] for day in by_day])
    if len(every) < 2 or every.max() <= max(SPIKE_KW, SPIKE * float(np.partition(every, -2)[-2])):
        return None
    place, step = divmod(int(every.argmax()), len(next(iter(by_day.values()))))
    minute = step * 24 * 60 // len(next(iter(by_day.values())))
    return list(by_day)[place], f"{minute // 60:02d}:{minute % 60:02d}", float(every.max())


def _much(who: str, mean_kw: float) -> str:
    return (
        f"{who} {24 * mean_kw:,.3g} kWh a day; are the readings in another unit (--unit), or of a counter (--counter)?"
    )


def _night(data: MeterData) -> Iterator[str]:
    for meter in data.meters:
        if not meter.pv_kw:
            continue
        profile = np.mean(list(meter.pv_kw.values()), axis=0)
        hours = (np.arange(len(profile)) + 0.5) * 24 / len(profile)
        night = float(profile[(hours > NIGHT[0]) | (hours < NIGHT[1])].sum() / profile.sum())
        middle = float(np.angle(np.sum(profile * np.exp(2j * np.pi * hours / 24))) * 12 / np.pi % 24)
        if night > MOST_AT_NIGHT or not MIDDLE_OF_PV[0] <= middle <= MIDDLE_OF_PV[1]:
            yield (
                f"the PV output of '{meter.name}' has its middle at {int(middle):02d}:{int(60 * (middle % 1)):02d}, "
                f"{100 * night:.0f} % of it lies between 22:00 and 04:00; is it PV output, and are the times local?"
            )


def _registers(data: MeterData) -> Iterator[str]:
    """Columns of which one stands still while another counts: a meter's registers of tariffs, as homes never are."""
    if not data.days:
        return
    uses = np.array([np.concatenate([meter.load_kw[day] for day in data.days]) for meter in data.meters])
    counts = (uses > 0).astype(np.float32)  # (N, days * T)
    often, both = counts.sum(axis=1), counts @ counts.T
    for first, second in combinations(range(len(counts)), 2):
        least, either = min(often[first], often[second]), often[first] + often[second] - both[first, second]
        if least > 0 and both[first, second] <= MOST_BESIDE * least and either >= LEAST_COUNTED * counts.shape[1]:
            names = (data.meters[one].name for one in (first, second))
            yield (
                "'{}' and '{}' hardly ever use energy at the same time, as registers of one household's meter for two "
                "tariffs; if they are, call their columns 'Import T1 kWh' and 'Import T2 kWh', which are added up"
            ).format(*names)


def _total(data: MeterData) -> Iterator[str]:
    """A column that adds up the others."""
    if len(data.meters) < 3:
        return
    every = [np.concatenate([meter.load_kw[day] for day in data.days]) for meter in data.meters] if data.days else []
    total = np.sum(every, axis=0) if every else np.zeros(0)
    for meter, load in zip(data.meters, every, strict=False):
        if load.any() and np.abs(2 * load - total).sum() < SUM_ERROR * total.sum():
            yield f"'{meter.name}' uses what all others use together; leave it out with --ignore if it is their sum"
