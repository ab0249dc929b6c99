"""All kinds of devices. A new one is a file beside this one and a row here."""

from __future__ import annotations

from collections.abc import Iterable

from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels

DEVICES: tuple[type[Device], ...] = (
    Panels,
    Battery,
    ElectricCar,
    Inverter,
)
"""In the order in which columns, tables and bands have them."""

KINDS = {device.kind: device for device in DEVICES}


def in_order(devices: Iterable[Device]) -> tuple[Device, ...]:
    """As a household has them."""
    return tuple(sorted(devices, key=lambda device: DEVICES.index(type(device))))
