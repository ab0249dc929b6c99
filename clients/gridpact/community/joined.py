"""Days that follow each other as one horizon, over whose midnights stores carry what is in them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import CommunityDay, Household, Prices
from gridpact.devices.device import Device, as_fields
from gridpact.devices.registry import DEVICES
from gridpact.errors import InputError

Kind = TypeVar("Kind", bound=Device)


def joined(days: Sequence[CommunityDay]) -> CommunityDay:
    """One community of all steps of days of the same one.

    Stores begin with what the first day begins with, and end the last one with at least that; between them they may be
    as empty as their limits allow. What is wanted of each day by itself (`Device.daily`) stays so.

    Raises:
        InputError: homes or their devices are not the same on all days, or a day does not follow the one before it.
    """
    first, *others = days
    if not others:
        return first
    for before, after in pairwise(days):
        if not _follows(before.day, after.day):
            raise InputError(
                f"{after.day} does not follow {before.day}, and what stores hold at midnight is carried from one day "
                "into the next: name days that do, or plan days apart"
            )
    if first.prices.peak_fee and not first.prices.monthly_peak:
        raise InputError(
            f"'{first.name}' has a peak fee of the day, and days that are planned as one have one peak; plan days "
            'apart, or say peak_over = "month" in [fees]'
        )
    if any([home.name for home in day.households] != [home.name for home in first.households] for day in others):
        raise InputError(f"'{first.name}' has other homes on {others[0].day} than on {first.day}; plan days apart")
    return replace(
        first,
        day=", ".join(day.day for day in days),
        start_times=tuple(start for day in days for start in day.start_times),
        households=tuple(_home(homes) for homes in zip(*(day.households for day in days), strict=True)),
        prices=_prices([day.prices for day in days]),
    )


def _follows(before: str, after: str) -> bool:
    """Whether a day is the next one, named 2018-12-22 or 12-22; of other names nobody knows."""
    days = []
    for name in (before, after):
        # Of a month and day without a year, one that has a 29 February.
        whole = f"2000-{name}" if len(name) == len("12-22") else name
        try:
            days.append(date.fromisoformat(whole))
        except ValueError:
            return True
    one, other = days
    begins_again = len(before) == len("12-22") and (one.month, one.day, other.month, other.day) == (12, 31, 1, 1)
    skips = len(before) == len("12-22") and (one.month, one.day, other.month, other.day) == (2, 28, 3, 1)
    return other - one == timedelta(days=1) or begins_again or skips


def _home(days: Sequence[Household]) -> Household:
    tariffs = [day.tariff for day in days if day.tariff is not None]
    return replace(
        days[0],
        load_kw=np.concatenate([day.load_kw for day in days]),
        load_kvar=np.concatenate([day.load_kvar for day in days]),
        devices=tuple(device for kind in DEVICES for device in _devices(kind, days)),
        tariff=_prices(tariffs) if tariffs else None,
    )


def _devices(kind: type[Kind], days: Sequence[Household]) -> Iterator[Device]:
    steps = [len(day.load_kw) for day in days]
    if kind.daily:
        for k, day in enumerate(days):
            around = sum(steps[:k]), sum(steps[k + 1 :])
            for device in day.having(kind):
                yield replace(device, **{name: np.pad(of, around) for name, of in _series(device).items()})
        return
    owned = [day.having(kind) for day in days]
    if len({len(of) for of in owned}) > 1:
        raise InputError(f"'{days[0].name}' has other {kind.plural} on one day than on another; plan days apart")
    for same in zip(*owned, strict=True):
        series = [_series(device) for device in same]
        yield replace(same[0], **{name: np.concatenate([of[name] for of in series]) for name in series[0]})


def _series(device: Device) -> dict[str, NDArray[np.generic]]:
    return {name: value for name, value in as_fields(device).items() if isinstance(value, np.ndarray)}


def _prices(days: Sequence[Prices]) -> Prices:
    """Each series of all days; what some have and others have not is not there."""
    first = days[0]
    names = [name for name, value in vars(first).items() if isinstance(value, np.ndarray)]
    series: dict[str, Any] = {name: np.concatenate([getattr(day, name) for day in days]) for name in names}
    return replace(first, **series)
