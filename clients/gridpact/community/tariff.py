"""Import prices of own data: flat, by the time of day, or from a table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.meters import DAY_MINUTES, clock_changes
from gridpact.community.model import Array
from gridpact.community.readings import parsed
from gridpact.community.tables import minutes, rows
from gridpact.errors import InputError

Tariff = dict[str, Array]
"""Import price by day, currency/kWh, (T,)."""


def by_time_of_day(text: str, days: Sequence[str], step_minutes: int) -> Tariff:
    """A tariff like "0.25" or "0.22,15:00-20:00=0.40,00:00-06:00=0.18", the same on every day.

    The first number holds wherever no window does; where windows overlap, the last one holds. A window may go over
    midnight. A step takes the mean over its minutes.

    Raises:
        InputError: it cannot be read as this.
    """
    base, *windows = text.split(",")
    of_minute = np.full(DAY_MINUTES, _price(base, text))
    for window in windows:
        hours, equals, price = window.partition("=")
        start, dash, end = hours.partition("-")
        begin, until = minutes(start.strip()), minutes(end.strip())
        if not (equals and dash) or begin is None or until is None or begin == until:
            raise InputError(f"'{window}' in the tariff '{text}' is not like 15:00-20:00=0.40")
        if begin < until:
            of_minute[begin:until] = _price(price, text)
        else:
            of_minute[begin:] = of_minute[:until] = _price(price, text)
    price_of_step = of_minute.reshape(-1, step_minutes).mean(axis=1)
    return dict.fromkeys(days, price_of_step)


def from_table(path: Path, step_minutes: int, zone: ZoneInfo | None = None) -> Tariff:
    """Prices from a table with the columns `time` (start of the step, local) and `import_price` (currency/kWh).

    Prices of longer steps hold for all steps within, of shorter ones the mean is taken. Days that are not whole, and
    those on which the zone's clock changes, are left out.

    Raises:
        InputError: names the row; or the steps do not fit each other.
    """
    found: dict[str, dict[int, tuple[float, int]]] = {}
    for row in rows(path, ("time", "import_price")):
        text = row.text("time")
        moment = parsed(text)
        if moment is None:
            raise row.error("time", f"'{text}' is not a time like 2024-06-21 14:00")
        if moment.tzinfo is not None:
            raise row.error("time", f"'{text}' has an offset from UTC; give local times without one")
        if clock_changes(moment.date(), zone):
            continue
        day, clock = moment.date().isoformat(), moment.hour * 60 + moment.minute
        if clock in found.setdefault(day, {}):
            raise row.error("time", f"a second price at {text}, the first is in row {found[day][clock][1]}")
        found[day][clock] = (row.number_in("import_price"), row.number)
    if not found:
        raise InputError(f"{path.name} has no prices but of days on which the clock changes")
    clocks = sorted({clock for of_day in found.values() for clock in of_day})
    own_step = min(np.diff([*clocks, DAY_MINUTES]))
    if DAY_MINUTES % own_step or (own_step % step_minutes and step_minutes % own_step):
        raise InputError(f"{path.name}: prices of {own_step} minutes do not fit steps of {step_minutes}")
    tariff: Tariff = {}
    for day, of_day in found.items():
        if sorted(of_day) == list(range(0, DAY_MINUTES, own_step)):
            prices = np.array([of_day[clock][0] for clock in sorted(of_day)])
            finest = np.repeat(prices, max(own_step // step_minutes, 1))
            tariff[day] = finest.reshape(DAY_MINUTES // step_minutes, -1).mean(axis=1)
    return tariff


def _price(text: str, tariff: str) -> float:
    try:
        price = float(text)
    except ValueError:
        price = float("nan")
    if not np.isfinite(price):
        raise InputError(
            f"'{text}' in the tariff '{tariff}' is not a price per kWh; write it like 0.25 or 0.22,15:00-20:00=0.40"
        )
    return price
