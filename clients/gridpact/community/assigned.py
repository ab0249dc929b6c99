"""A day of a community with other devices than it has: shares of households with PV, cars and batteries, and sizes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum

import numpy as np

from gridpact.community.model import Array, Battery, CommunityDay, ElectricCar, Household
from gridpact.errors import InputError


class Device(Enum):
    """What a household may have."""

    PV = "pv"
    CAR = "car"
    BATTERY = "battery"


@dataclass(frozen=True)
class Typical:
    """What a household gets that had none: the medians of those that the community has, or what is stated here."""

    pv_kwp: float
    pv_kw_per_kwp: Array | None  # (T,), mean of the community's panels; None where it has none
    inverter_kvar_per_kwp: float
    battery: Battery
    car: ElectricCar

    @staticmethod
    def of(community: CommunityDay) -> Typical:
        """Of a community; without batteries 5 kWh / 2.5 kW, without cars 7 kWh at 3.7 kW from 18:00 to 07:00."""
        homes = community.households
        producers = [home for home in homes if home.is_prosumer]
        batteries = [home.battery for home in homes if home.battery is not None]
        cars = [home.car for home in homes if home.car is not None]

        def median(of: Callable[[Household], float]) -> float:
            return float(np.median([of(home) for home in producers]))

        battery = Battery(5.0, 2.5, 0.9**0.5, 0.9**0.5, 2.5)
        if batteries:
            capacity = float(np.median([b.capacity_kwh for b in batteries]))
            battery = Battery(
                capacity,
                float(np.median([b.power_kw for b in batteries])),
                float(np.median([b.charge_efficiency for b in batteries])),
                float(np.median([b.discharge_efficiency for b in batteries])),
                capacity * float(np.median([b.start_kwh / b.capacity_kwh for b in batteries])),
            )
        car = ElectricCar(7.0, 3.7, 0.9, _overnight(community))
        if cars:
            middle = sorted(cars, key=lambda c: (c.energy_kwh, c.power_kw))[(len(cars) - 1) // 2]
            car = middle
        return Typical(
            pv_kwp=median(lambda home: home.pv_kwp) if producers else 0.0,
            pv_kw_per_kwp=np.mean([home.pv_kw / home.pv_kwp for home in producers], axis=0) if producers else None,
            inverter_kvar_per_kwp=median(lambda home: home.inverter_kvar / home.pv_kwp) if producers else 0.0,
            battery=battery,
            car=car,
        )


def order_of(community: CommunityDay, device: Device, seed: int) -> list[int]:
    """Rows of the households in the order in which they get a device, drawn with a seed.

    Those that have one in the community come first, so that the share of the community itself is the community itself;
    since the order is one for all shares, a higher share has all the devices of a lower one.
    """
    random = np.random.default_rng([seed, list(Device).index(device)])
    drawn = [int(row) for row in random.permutation(len(community.households))]
    return sorted(drawn, key=lambda row: not has(community.households[row], device))


def has(home: Household, device: Device) -> bool:
    """Whether a household has a device."""
    if device is Device.PV:
        return home.is_prosumer
    return (home.battery if device is Device.BATTERY else home.car) is not None


def with_share(community: CommunityDay, device: Device, share: float, seed: int) -> CommunityDay:
    """The community with a device at a share of its households, all else as it is.

    A household that has the device keeps its own; one that had none gets a typical one (`Typical`), with its panels
    giving the mean of the community's; one that loses its panels loses the inverter.

    Args:
        share: 0 to 1, of the households, rounded to whole ones.

    Raises:
        InputError: the share is out of its range, or there is no PV in the community whose output could be taken.
    """
    if not 0 <= share <= 1:
        raise InputError(f"a share of households is between 0 and 1, not {share:g}")
    homes = list(community.households)
    owners = set(order_of(community, device, seed)[: round(share * len(homes))])
    typical = Typical.of(community)
    if device is Device.PV and owners and typical.pv_kw_per_kwp is None:
        raise InputError(
            f"'{community.name}' has no PV on {community.day}, so it is not known what PV would give there"
        )
    for row, home in enumerate(homes):
        if (row in owners) != has(home, device):
            homes[row] = _given(home, device, typical) if row in owners else _taken(home, device)
    return replace(community, households=tuple(homes))


def with_battery_size(community: CommunityDay, factor: float) -> CommunityDay:
    """The community with the capacity and power of every battery multiplied; 0 takes them away."""

    def sized(home: Household) -> Household:
        battery = home.battery
        if battery is None or factor == 0:
            return replace(home, battery=None)
        scaled = replace(
            battery,
            capacity_kwh=factor * battery.capacity_kwh,
            power_kw=factor * battery.power_kw,
            start_kwh=factor * battery.start_kwh,
        )
        return replace(home, battery=scaled)

    return replace(community, households=tuple(sized(home) for home in community.households))


def with_line_impedance(community: CommunityDay, factor: float) -> CommunityDay:
    """The community with resistance and reactance of every line multiplied."""
    lines = tuple(
        replace(line, resistance_ohm=factor * line.resistance_ohm, reactance_ohm=factor * line.reactance_ohm)
        for line in community.feeder.lines
    )
    return replace(community, feeder=replace(community.feeder, lines=lines))


def _given(home: Household, device: Device, typical: Typical) -> Household:
    if device is Device.BATTERY:
        return replace(home, battery=typical.battery)
    if device is Device.CAR:
        return replace(home, car=typical.car)
    assert typical.pv_kw_per_kwp is not None
    kwp = typical.pv_kwp
    inverter = max(home.inverter_kvar, kwp * typical.inverter_kvar_per_kwp)
    return replace(home, pv_kwp=kwp, pv_kw=kwp * typical.pv_kw_per_kwp, inverter_kvar=inverter)


def _taken(home: Household, device: Device) -> Household:
    if device is Device.BATTERY:
        return replace(home, battery=None)
    if device is Device.CAR:
        return replace(home, car=None)
    return replace(home, pv_kwp=0.0, pv_kw=np.zeros_like(home.pv_kw), inverter_kvar=0.0)


def _overnight(community: CommunityDay) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Steps that lie wholly between 18:00 and 07:00."""
    starts = np.arange(community.steps) * community.step_hours
    plugged: np.ndarray[tuple[int], np.dtype[np.bool_]] = (starts >= 18) | (starts + community.step_hours <= 7)
    return plugged
