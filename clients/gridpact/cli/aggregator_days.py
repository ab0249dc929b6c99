"""The days that an aggregator plans: of a case, with shares of devices, on a network."""

from __future__ import annotations

import argparse

from gridpact.cli.options import names
from gridpact.community.assigned import with_share
from gridpact.community.grown import in_half_hours
from gridpact.community.model import CommunityDay
from gridpact.community.networks.files import read_network
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.building import PublicBuilding
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.pv import Panels
from gridpact.devices.refrigeration import Refrigeration
from gridpact.errors import InputError

SHARE_SEED = 1
"""Of the order in which homes get a device."""

SHARES: dict[str, type[Device]] = {
    "pv": Panels, "cars": ElectricCar, "batteries": Battery, "heat-pumps": HeatPump, "refrigeration": Refrigeration,
    "public-buildings": PublicBuilding,
}  # fmt: skip
"""Devices that shares of the homes can be given, by their options."""


def add_voltages(command: argparse.ArgumentParser) -> None:
    command.add_argument("--voltage-min", type=float, metavar="PU", help="with --feeder; default the community's")
    command.add_argument("--voltage-max", type=float, metavar="PU", help="the same")


def add_shares(command: argparse.ArgumentParser) -> None:
    for option, device in SHARES.items():
        command.add_argument(
            f"--{option}", type=float, metavar="PERCENT", help=f"of homes with {device.plural}; default as in the case"
        )


def _with_shares(day: CommunityDay, arguments: argparse.Namespace) -> CommunityDay:
    for option, device in SHARES.items():
        if (percent := getattr(arguments, option.replace("-", "_"))) is not None:
            day = with_share(day, device, share_of(f"--{option}", percent), SHARE_SEED)
    return day


def share_of(option: str, percent: float) -> float:
    """
    Raises:
        InputError: it is no percentage.
    """
    if not 0 <= percent <= 100:
        raise InputError(f"{option} {percent:g} must be 0 to 100 percent of the homes")
    return percent / 100


def days_of(arguments: argparse.Namespace) -> list[CommunityDay]:
    community = read_community(arguments.case)
    named = community.days[:2] if arguments.days is None else names("--days", arguments.days)
    if twice := [day for k, day in enumerate(named) if day in named[:k]]:
        raise InputError(f"--days names {twice[0]} twice; name each day once")
    days = [in_half_hours(_with_shares(community.on(day), arguments)) for day in named]
    if arguments.feeder is None:
        if arguments.voltage_min is not None or arguments.voltage_max is not None:
            raise InputError(
                "--voltage-min and --voltage-max go with --feeder; else they stand in the community's file"
            )
        return days
    from gridpact.aggregator.portfolio import on_network

    network = read_network(arguments.feeder)
    feeder = community.feeder
    lowest = feeder.voltage_min_pu if arguments.voltage_min is None else arguments.voltage_min
    highest = feeder.voltage_max_pu if arguments.voltage_max is None else arguments.voltage_max
    if not 0.5 <= lowest < highest <= 1.5:
        raise InputError(f"voltages from {lowest:g} to {highest:g} p.u. are no limits; give some within 0.5 to 1.5")
    return [on_network(day, network, lowest, highest) for day in days]
