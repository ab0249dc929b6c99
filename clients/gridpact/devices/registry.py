"""All kinds of devices. A new one is a file beside this one and a row here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from gridpact.devices.appliance import Appliance
from gridpact.devices.battery import Battery
from gridpact.devices.boiler import Boiler
from gridpact.devices.building import PublicBuilding
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Array, Device, numbered
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.devices.refrigeration import Refrigeration
from gridpact.devices.two_way_car import TwoWayCar

DEVICES: tuple[type[Device], ...] = (
    Panels,
    Battery,
    ElectricCar,
    Inverter,
    Boiler,
    HeatPump,
    TwoWayCar,
    Appliance,
    Refrigeration,
    PublicBuilding,
)
"""In the order in which columns, tables and bands have them."""

BANDS = tuple(band for device in DEVICES for band in device.bands)
COLUMNS = tuple(column.name for device in DEVICES for column in device.columns)

KINDS = {device.kind: device for device in DEVICES}


def consumed_kw(total: Callable[[str], Array]) -> Array:
    """What devices use up, (T,).

    Args:
        total: see `Band.of`.
    """
    used: Array = np.sum([band.of(total) for band in BANDS if not band.is_source and not band.comes_back], axis=0)
    return used


def with_numbers(devices: Iterable[Device]) -> Iterator[tuple[Device, int]]:
    """Each with its number among those of its kind, from 1."""
    numbers = Counter[str]()
    for device in devices:
        numbers[device.kind] += 1
        yield device, numbers[device.kind]


def costs(devices: Iterable[Device], schedule: Mapping[str, Any], step_hours: float) -> dict[str, Any]:
    """What using a household's devices costs beside the energy, by what for, see `Device.costs`.

    Args:
        schedule: its columns, (T,) each, as they are or as expressions.
    """
    total: dict[str, Any] = {}
    for device, number in with_numbers(devices):
        names = {column.name: numbered(column.name, number) for column in device.columns}
        own = {column: schedule[name] for column, name in names.items() if name in schedule}
        for what, cost in device.costs(own, step_hours).items():
            total[what] = total.get(what, 0.0) + cost
    return total


def at_once_kw(devices: Iterable[Device], schedule: Mapping[str, Array]) -> float:
    """The most that two opposed powers of a device are above 0 at the same step, which no device can do."""
    most = 0.0
    for device, number in with_numbers(devices):
        for pair in device.either:
            one, other = (schedule.get(numbered(column, number)) for column in pair)
            if one is not None and other is not None:
                most = max(most, float(np.minimum(one, other).max(initial=0.0)))
    return most


def in_order(devices: Iterable[Device]) -> tuple[Device, ...]:
    """As a household has them."""
    return tuple(sorted(devices, key=lambda device: DEVICES.index(type(device))))
