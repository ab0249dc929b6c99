"""What a household's meter read in a step, and how its devices stand after it, from a file or a command.

JSON: `meter_wh`, Wh fed into the grid, negative where drawn; besides, as far as it is known, what the registry of
devices has as `measured`. `day` and `step`, where they are given, must be those that were asked for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gridpact.devices.registry import DEVICES
from gridpact.service.forecast import NoForecast, json_object, number_of, told_text
from gridpact.service.settings import DAY, STEP, ThroughDay

MEASURED = {device.measured.name: device.kind for device in DEVICES if device.measured is not None}
"""What a reading may tell of devices, by key: the kind of the device."""

MOST_WH = 10**9
"""What a meter's reading of a step cannot exceed, in either direction."""


@dataclass(frozen=True)
class Reading:
    """Of one step."""

    step: int
    meter_wh: int  # fed into the grid
    levels: Mapping[str, float] = field(default_factory=dict)  # by the device's kind, see `Device.measured`


def take_reading(settings: ThroughDay, day: str, step: int) -> Reading:
    """The reading of a step.

    Args:
        day: yyyy-mm-dd.

    Raises:
        NoForecast: it is not there yet, or wrong; says what is wrong, and where.
    """
    names = {DAY: day, STEP: str(step)}
    text, where = told_text(settings.file, settings.command, names, "the readings", settings.timeout_s)
    return parse_reading(text, where, day, step)


def parse_reading(text: str, where: str, day: str, step: int) -> Reading:
    """Checks a reading.

    Args:
        where: what it was read from, for complaints.

    Raises:
        NoForecast: as `take_reading`.
    """
    values = json_object(text, where)
    known = ("day", "step", "meter_wh", *MEASURED)
    if unknown := [key for key in values if key not in known]:
        raise NoForecast(f"{where}: '{unknown[0]}' is not known; known keys: {', '.join(known)}")
    for key, wanted in (("day", day), ("step", step)):
        if values.get(key, wanted) != wanted:
            raise NoForecast(f"{where} is for {key} {values[key]}, not for {wanted}")
    if "meter_wh" not in values:
        raise NoForecast(f"{where} has no meter_wh: give what was fed into the grid in step {step}, negative if drawn")
    meter = number_of(values["meter_wh"], f"meter_wh of {where}")
    if abs(meter) > MOST_WH:
        raise NoForecast(f"meter_wh of {where} is {meter:g} Wh, which no meter reads in a step; correct its unit")
    levels = {kind: number_of(values[key], f"{key} of {where}") for key, kind in MEASURED.items() if key in values}
    return Reading(step, round(meter), levels)
