"""Households from a low-voltage grid of SimBench (Meinecke et al., 2020): loads, panels, batteries, their profiles.

A member is a load of a household, business or farm (profiles H, G, L, BL). Heat pumps and charging points are loads of
their own in SimBench; here they are part of a member at their bus, and so are panels and batteries: where there are
several members, each kind in turn. Panels at a bus without a member are a member by themselves. A profile is a share of
the power that the element has. Times are local, those of Germany, and name the start of a quarter hour.
"""

from __future__ import annotations

import csv
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.meters import BatteryOf, Gaps, Meter, MeterData, Readings, check_power, united
from gridpact.community.model import Array
from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.simbench import SimBenchFolder
from gridpact.community.street import PHASES, Connection
from gridpact.community.tables import Row
from gridpact.errors import InputError

ZONE = "Europe/Berlin"
MEMBERS = ("H0", "G", "L", "BL")
"""How profiles of members begin; others are of heat pumps and charging points."""


def read_simbench_homes(folder: Path, subnet: str | None = None, only: Sequence[str] = ()) -> MeterData:
    """Reads the households of a grid. They are called as their loads are, without the grid's name before it.

    Args:
        subnet: the grid, where the data set has several.
        only: households to read; none: all.

    Raises:
        InputError: see `SimBenchFolder`; a profile or a value is missing, or there is no household of a name.
    """
    tables = SimBenchFolder(folder, subnet)
    of_grid = tables.own("Load")
    members = [row for row in of_grid if row.text("profile").startswith(MEMBERS)]
    besides = [row for row in of_grid if row not in members]
    panels = [row for row in tables.own("RES") if row.text("type").startswith("PV")]
    stores = [row for row in tables.own("Storage") if row.number_in("eStore") > 0]
    loads = _Profiles(tables, "LoadProfile", "_pload", of_grid)
    suns = _Profiles(tables, "RESProfile", "", panels)
    homes = _Homes()
    for row in members:
        homes.new(row).add(loads.kw(row, "pLoad"))
    for row in besides:
        (homes.next_at(row, "load") or homes.new(row)).add(loads.kw(row, "pLoad"))
    for row in panels:
        (homes.next_at(row, "panels") or homes.new(row)).panels(suns.kw(row, "pRES"), 1000 * row.number_in("pRES"))
    left = [row for row in stores if not _stored(homes.next_at(row, "battery"), row)]

    remarks = [*loads.remarks, *suns.remarks]
    remarks += [
        f"Left out, since it has no panels: {row.text('id')} ({row.text('type')})."
        for row in tables.own("RES")
        if row not in panels
    ]
    if besides:
        remarks.append(f"Heat pumps and charging points were taken as load that cannot be moved: {len(besides)}.")
    remarks += [f"Left out, since no member is at its bus: {row.text('id')}." for row in left]
    if len(left) < len(stores):
        remarks.append("Batteries: etaStore was taken as the efficiency each way, their losses by standing left out.")
    meters = homes.meters(tables)
    for meter in meters:
        check_power("Load.csv", meter.name, meter.load_kw)
    data = MeterData(15, meters, united(remarks))
    return data.only(only) if only else data


def standing_for(network: NetworkFile, members: Sequence[Meter]) -> NetworkFile:
    """A grid with a load for each member, where it is connected."""
    loads = [
        NetworkLoad(member.name, Connection(member.bus, PHASES), max(map(np.max, member.load_kw.values())), 0.0)
        for member in members
    ]
    return replace(network, loads=tuple(loads))


def _stored(home: _Home | None, row: Row) -> bool:
    """A battery for a home, beside those that it has. False where there is none."""
    if home is None:
        return False
    before = home.battery or BatteryOf(0.0, 0.0, 1.0)
    capacity, power = 1000 * row.number_in("eStore"), 1000 * row.number_in("sR")
    efficiency = min(round(row.number_in("etaStore", default=0.95) ** 2, 6), before.round_trip_efficiency)
    home.battery = BatteryOf(before.capacity_kwh + capacity, before.power_kw + power, efficiency)
    return True


class _Homes:
    """The members of a grid, in the order in which they are made."""

    def __init__(self) -> None:
        self._by_name: dict[str, _Home] = {}
        self._at: dict[str, list[_Home]] = defaultdict(list)  # by bus
        self._given: Counter[tuple[str, str]] = Counter()  # by bus and kind

    def new(self, row: Row) -> _Home:
        made = self._by_name[row.text("id")] = _Home()
        self._at[row.text("node")].append(made)
        return made

    def next_at(self, row: Row, kind: str) -> _Home | None:
        """Whose turn it is at a bus to get something of a kind; None where nobody is there."""
        bus = row.text("node")
        if not self._at[bus]:
            return None
        self._given[bus, kind] += 1
        return self._at[bus][(self._given[bus, kind] - 1) % len(self._at[bus])]

    def meters(self, tables: SimBenchFolder) -> tuple[Meter, ...]:
        bus_of = {id(home): tables.places[node] for node, homes in self._at.items() for home in homes}
        return tuple(
            Meter(
                name=name.removeprefix(f"{tables.subnet} "),
                load_kw=home.load_kw,
                pv_kw=home.pv_kw,
                pv_kwp=round(home.kwp, 6),
                battery=home.battery,
                bus=bus_of[id(home)],
            )
            for name, home in self._by_name.items()
        )


class _Home:
    """What a household has; kW by day."""

    def __init__(self) -> None:
        self.load_kw, self.pv_kw, self.kwp = dict[str, Array](), dict[str, Array](), 0.0
        self.battery: BatteryOf | None = None

    def add(self, load_kw: dict[str, Array]) -> None:
        self.load_kw = {day: power + self.load_kw.get(day, 0.0) for day, power in load_kw.items()}

    def panels(self, pv_kw: dict[str, Array], kwp: float) -> None:
        self.load_kw = self.load_kw or {day: np.zeros_like(power) for day, power in pv_kw.items()}
        self.pv_kw = {day: power + self.pv_kw.get(day, 0.0) for day, power in pv_kw.items()}
        self.kwp += kwp


class _Profiles:
    """The profiles of some elements, by day.

    Args:
        name: of the table.
        ending: of its columns' names, behind that of a profile.
        elements: whose profiles are read.
    """

    def __init__(self, tables: SimBenchFolder, name: str, ending: str, elements: Sequence[Row]) -> None:
        self.remarks: list[str] = []
        self._names = list(dict.fromkeys(row.text("profile") for row in elements))
        self._days: dict[str, Array] = {}
        if not self._names:
            return
        path = tables.folder / f"{name}.csv"
        readings = Readings(path.name, "profiles", len(self._names))
        try:
            with path.open(newline="", encoding="utf-8-sig") as file:
                table = csv.reader(file, delimiter=";")
                header = next(table, [])
                for profile in self._names:
                    if profile + ending not in header:
                        raise InputError(f"{path.name}: there is no column '{profile + ending}'")
                columns = [header.index(profile + ending) for profile in self._names]
                for number, cells in enumerate(table, start=2):
                    readings.add(*_read(f"{path.name}, row {number}", cells, number, columns))
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        except (UnicodeDecodeError, csv.Error):
            raise InputError(f"{path}: is no table in UTF-8; save it as such") from None
        step, self._days, self.remarks = readings.by_day(Gaps.REFUSE, ZoneInfo(ZONE))
        if step != 15:
            raise InputError(f"{path.name}: has steps of {step} minutes, SimBench's are of 15")

    def kw(self, element: Row, power: str) -> dict[str, Array]:
        """Its power, given the name of the column with what it has at most; never below zero."""
        place, most = self._names.index(element.text("profile")), 1000 * element.number_in(power)
        return {day: np.maximum(most * shares[place], 0.0) for day, shares in self._days.items()}


def _read(where: str, cells: list[str], number: int, columns: list[int]) -> tuple[datetime, int, list[float]]:
    """Time, row and values of a row.

    Raises:
        InputError: it is too short, or something in it is no time or number.
    """
    try:
        return datetime.strptime(cells[0], "%d.%m.%Y %H:%M"), number, [float(cells[column]) for column in columns]
    except (ValueError, IndexError):
        raise InputError(f"{where}: is no time like 01.01.2016 00:15 with a number for each profile") from None
