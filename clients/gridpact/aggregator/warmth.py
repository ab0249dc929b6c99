"""What heat pumps draw that nobody plans: thermostats, on days of measured weather.

Nobody metered the heat pumps of the cases, so their demand is that of a house (`devices.heat_pump`) whose thermostat
keeps it warm by day and lets it cool by night, at the outdoor temperatures of a year (`weather/README.md`). What is
assumed of houses is stated here.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np

from gridpact.community.grown import finer
from gridpact.community.model import Array
from gridpact.community.tables import rows
from gridpact.devices.device import carnot_cop

HOURS = 24
STEP_HOURS = 0.5

POWER_KW = 3.5
LOSS_KW_PER_K = 0.16  # 120 m2, as the homes of winter16x3
STORED_KWH_PER_K = 8.0
GAINS_KW = 0.3
QUALITY = 0.45
FLOW_C = (35.0, 50.0)
"""Heating water of floors and radiators, in turn."""

SPREAD = 0.2
"""Houses are so much larger or smaller, and thermostats so many hours (times ten) earlier or later."""

DAY_C, NIGHT_C = 20.0, 17.0
UP, DOWN = 6.0, 22.0
"""From when and until when it is to be warm by day, hours."""


@lru_cache
def outdoor_c() -> tuple[tuple[int, ...], Array]:
    """Months of the days of a year, and their temperatures by half-hour, (days, 48)."""
    path = Path(str(resources.files("gridpact.aggregator"))) / "weather" / "outdoor-c.csv"
    columns = [f"h{hour:02d}" for hour in range(HOURS)]
    read = list(rows(path, ["day", *columns], None))
    months = tuple(int(row.text("day")[5:7]) for row in read)
    return months, np.array([finer(np.array([row.number_in(one) for one in columns]), 2) for row in read])


def heat_pump_days(months: Sequence[int], homes: int, rng: np.random.Generator) -> Array:
    """Power of heat pumps on all days of a season, (days, homes, 48), kW."""
    known, by_day = outdoor_c()
    chosen = np.flatnonzero(np.isin(known, months))
    size, early = rng.uniform(1 - SPREAD, 1 + SPREAD, homes), 10 * rng.uniform(-SPREAD, SPREAD, homes)
    flow = np.array([FLOW_C[home % 2] for home in range(homes)])[:, None]
    loss, kept = size * LOSS_KW_PER_K, np.exp(-LOSS_KW_PER_K * STEP_HOURS / STORED_KWH_PER_K)
    indoor = np.full(homes, NIGHT_C)
    result = np.empty((len(chosen), homes, by_day.shape[1]))
    for k, day in enumerate(chosen):
        cop = carnot_cop(QUALITY, flow, by_day[day])  # (homes, 48)
        for step, outside in enumerate(by_day[day]):
            hour = STEP_HOURS * step - early
            wanted = np.where((hour >= UP) & (hour < DOWN), DAY_C, NIGHT_C)
            heat = loss * ((wanted - kept * indoor) / (1 - kept) - outside) - GAINS_KW
            power = np.clip(heat / cop[:, step], 0.0, size * POWER_KW)
            indoor = kept * indoor + (1 - kept) * (outside + (cop[:, step] * power + GAINS_KW) / loss)
            result[k, :, step] = power
    return result
