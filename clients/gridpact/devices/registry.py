"""All kinds of devices. A new one is a file beside this one and a row here."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np

from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Array, Device
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels

DEVICES: tuple[type[Device], ...] = (
    Panels,
    Battery,
    ElectricCar,
    Inverter,
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


def in_order(devices: Iterable[Device]) -> tuple[Device, ...]:
    """As a household has them."""
    return tuple(sorted(devices, key=lambda device: DEVICES.index(type(device))))
