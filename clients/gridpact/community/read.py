"""Reading a community file: a TOML file and the CSV tables beside it. `docs/community-file.md` describes the format."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.feeder import between, read_grid
from gridpact.community.model import (
    CommunityDay,
    Feeder,
    Household,
)
from gridpact.community.street import PhaseFeeder
from gridpact.community.streets import PLACE_COLUMNS
from gridpact.community.suppliers import Suppliers, price_doubt, read_suppliers
from gridpact.community.tables import Profile, Row, minutes, profile, rows
from gridpact.community.usual import MOST_CONNECTION_KW, MOST_KW
from gridpact.devices.device import Attribute, Device, DeviceError, ForecastField, Occasion, Outlook
from gridpact.devices.registry import DEVICES, in_order
from gridpact.errors import InputError
from gridpact.files import parse_toml, reason_of
from gridpact.limits import MOST_HOUSEHOLDS, MOST_STEPS

PEAK_COLUMN = "peak_so_far_kw"
HOUSEHOLD_COLUMNS = (
    *("power_factor", "tariff", "connection_kw", PEAK_COLUMN, *PLACE_COLUMNS),
    *(attribute.column for device in DEVICES for attribute in device.attributes),
)
SETTINGS: dict[str, tuple[type | tuple[type, ...], Any]] = {
    # key: type, default (None: must be given)
    "name": (str, None),
    "title": (str, ""),
    "currency": (str, None),
    "source": (str, ""),
    "licence": (str, ""),
    "notes": (str, ""),
    "step_minutes": (int, None),
    "feed_in_share": ((int, float), 0.5),
    "trading_coefficient": ((int, float), 0.10),
    "feeder": (dict, None),
    "files": (dict, {}),
    "preference": (list, []),
    "fees": (dict, {}),
    "tariff": (dict, {}),
    "accept": (list, []),
}
WRITTEN_AS = {
    str: "a text in quotes",
    int: "a whole number without quotes",
    (int, float): "a number without quotes",
    dict: "a table",
    list: "a list in brackets",
}
FILES = {
    "households": "households.csv",
    "feeder": "feeder.csv",
    "prices": "prices.csv",
    "load": "load_kw.csv",
}
ACCEPTABLE = ("size", "price")
"""Doubts about what is in a community's files, see `usual`."""

TABLES = {told: device for device in DEVICES for told in device.forecast_fields if told.in_community}
"""What the tables of a community tell of devices, and of which."""

FILES |= {told.key.rpartition("_")[0]: f"{told.key}.csv" for told in TABLES}

DEVICE_TABLES = {
    kind.kind: kind
    for kind in DEVICES
    if not any(told.in_community and not told.shared for told in kind.forecast_fields)
}
"""Kinds of which a table of their own may have any number a household, by its key in `[files]`."""

OwnDevice = tuple[type[Device], Row]
"""A device with a row of its own."""

MOST_OF_PEAK = 1.5
"""So many times their size panels give at most, in cold air beside bright clouds."""


@dataclass(frozen=True)
class Community:
    """A community as its files describe it, checked; `on(day)` gives what holds on one day."""

    name: str
    title: str
    currency: str
    source: str
    licence: str
    notes: str
    step_minutes: int
    trading_coefficient: float
    preferences: dict[tuple[str, str], float]
    rows: tuple[Row, ...]  # households, ascending by node
    feeder: Feeder | PhaseFeeder
    suppliers: Suppliers
    load: Profile
    device_series: Mapping[str, Profile]  # of devices that are there, by the keys of `TABLES`
    further: Mapping[str, Sequence[OwnDevice]] = field(default_factory=dict)  # by household, beside those of its row
    shipped: bool = False  # with the package
    remarks: tuple[str, ...] = ()  # what was assumed, a sentence each

    @property
    def prices(self) -> Profile:
        """The community's price table."""
        return self.suppliers.common.prices

    @property
    def feed_in_share(self) -> float:
        """Of the community's tariff."""
        return self.suppliers.common.feed_in_share

    @property
    def days(self) -> tuple[str, ...]:
        """Days for which there is all that is told, in the order of the price file."""
        profiles = [self.load, *self.device_series.values(), *self.suppliers.profiles]
        return tuple(day for day in self.prices.times if all(day in p.times for p in profiles))

    def on(self, day: str) -> CommunityDay:
        """The community on one day.

        Raises:
            InputError: the day is not among `days`, or a car cannot be charged in its window.
        """
        if day not in self.days:
            raise InputError(f"'{self.name}' has no day '{day}'; its days are {_few(self.days)}")
        return CommunityDay(
            name=self.name,
            day=day,
            currency=self.currency,
            step_hours=self.step_minutes / 60,
            start_times=self.prices.times[day],
            households=tuple(self._household(row, day) for row in self.rows),
            feeder=self.feeder,
            prices=self.suppliers.prices(day),
            trading_coefficient=self.trading_coefficient,
            preferences=self.preferences,
        )

    def _household(self, row: Row, day: str) -> Household:
        name = row.text("household")
        load = self.load.values[day][name]
        power_factor = row.number_in("power_factor", 0.1, 1, default=1.0)
        columns = {forecast.key: forecast.key if forecast.shared else name for forecast in TABLES}
        series = {
            key: table.values[day][columns[key]]
            for key, table in self.device_series.items()
            if columns[key] in table.values[day]
        }
        tariff = self.suppliers.own(name, day)
        prices = tariff or self.suppliers.prices(day)
        outlook = Outlook(prices.import_price, prices.feed_in_price, load - series.get("pv_kw", np.zeros(len(load))))
        occasion = Occasion(len(load), self.step_minutes / 60, series, outlook=outlook)
        return Household(
            node=row.integer("node", 1, MOST_HOUSEHOLDS),
            name=name,
            load_kw=load,
            load_kvar=load * math.tan(math.acos(power_factor)),
            devices=_devices(row, self.further.get(name, ()), occasion),
            connection_kw=_connection_kw(row),
            tariff=tariff,
            peak_kw=_peak_kw(row),
        )


def _few(days: tuple[str, ...]) -> str:
    return ", ".join(days) if len(days) <= 31 else f"{len(days)} from {days[0]} to {days[-1]}"


def shipped_cases() -> dict[str, Path]:
    """The cases inside the package: name -> community file."""
    folder = Path(str(resources.files("gridpact.community"))) / "cases"
    return {path.parent.name: path for path in sorted(folder.glob("*/community.toml"))}


def read_community(name_or_path: str) -> Community:
    """Reads and checks a shipped case by its name, or a community file (or its folder) by its path.

    Raises:
        InputError: says what is wrong, in which file, row and column.
    """
    cases = shipped_cases()
    if name_or_path in cases:
        return replace(_read(cases[name_or_path]), shipped=True)
    path = Path(name_or_path)
    if path.is_dir():
        path = path / "community.toml"
    if path.is_file() and path.suffix.lower() in (".csv", ".txt", ".xlsx", ".json"):
        raise InputError(
            f"'{name_or_path}' is no community file: give a folder with a community.toml, or that file; of readings "
            "`gridpact community new` makes one"
        )
    if not path.is_file():
        raise InputError(
            f"there is no case and no community file '{name_or_path}'; the shipped cases are {', '.join(cases)}"
        )
    return _read(path)


def _read(path: Path) -> Community:
    try:
        table = parse_toml(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"the community file '{path}' cannot be read: {reason_of(error)}") from None
    settings = _settings(path, table)
    files = FILES | settings["files"]
    for key in settings["files"]:
        if key not in FILES and key not in DEVICE_TABLES:
            known = ", ".join((*FILES, *DEVICE_TABLES))
            raise InputError(f"{path.name}, [files]: '{key}' is not known; known keys: {known}")
        if not isinstance(files[key], str):
            raise InputError(f"{path.name}, [files]: '{key}' must be the name of a file")
    step_minutes = settings["step_minutes"]
    if not 1 <= step_minutes <= 24 * 60 or 24 * 60 % step_minutes or 24 * 60 // step_minutes > MOST_STEPS:
        raise InputError(f"{path.name}: step_minutes = {step_minutes} must divide a day into 1 to {MOST_STEPS} steps")
    between(path, "feed_in_share", settings["feed_in_share"], 0, 1)
    between(path, "trading_coefficient", settings["trading_coefficient"], 0, math.inf)
    accepted = _accepted(path, settings["accept"])
    sizes, priced = "size" in accepted, "price" in accepted
    if doubt := price_doubt(settings["trading_coefficient"], priced, path.name):
        raise InputError(f"{path.name}: 'trading_coefficient' = {doubt}")
    households = _households(path.parent / files["households"])
    names = [row.text("household") for row in households]
    steps = 24 * 60 // step_minutes
    harmless = {forecast.key: np.full(steps, forecast.harmless) for forecast in TABLES}
    further = _further(path.parent, settings["files"], names)
    for row in households:
        own = further.get(row.text("household"), ())
        _devices(row, own, Occasion(steps, step_minutes / 60, harmless))
        for kind, place in (*((kind, row) for kind in DEVICES), *own) if not sizes else ():
            _ask_about_sizes(path, place, kind)
        connection_kw = _connection_kw(row)
        if not sizes and connection_kw is not None and connection_kw > MOST_CONNECTION_KW:
            raise row.error(
                "connection_kw",
                f"{connection_kw:g} kW is more than the {MOST_CONNECTION_KW:g} of a connection to a street's cable; is "
                f'it in W? If it is so, say accept = ["size"] in {path.name}',
            )
        row.number_in("power_factor", 0.1, 1, default=1.0)
    feeder, remarks = read_grid(path, settings["feeder"], path.parent / files["feeder"], households)
    community = Community(
        name=settings["name"],
        title=settings["title"],
        currency=settings["currency"],
        source=settings["source"],
        licence=settings["licence"],
        notes=settings["notes"],
        step_minutes=step_minutes,
        trading_coefficient=float(settings["trading_coefficient"]),
        preferences=_preferences(path, settings["preference"], names),
        rows=tuple(households),
        feeder=feeder,
        suppliers=read_suppliers(path, table, path.parent / files["prices"], households, step_minutes, priced),
        load=profile(path.parent / files["load"], names, step_minutes, 0.0, doubt=_large(path, sizes)),
        device_series=_device_series(path.parent, files, households, further, step_minutes),
        further=further,
        remarks=remarks,
    )
    for row in households:
        if _peak_kw(row) and not community.suppliers.fees.monthly_peak:
            raise row.error(PEAK_COLUMN, f'counts only where [fees] of {path.name} says peak_over = "month"')
    if not community.days:
        raise InputError(
            f"'{community.name}': no day has all that must be known; the first days are "
            + ", ".join(
                f"{next(iter(table.times))} in {table.file}"
                for table in (*community.suppliers.profiles, community.load, *community.device_series.values())
            )
        )
    _check_pv(community)
    return community


def _device_series(
    folder: Path,
    files: Mapping[str, str],
    households: Sequence[Row],
    further: Mapping[str, Sequence[OwnDevice]],
    step_minutes: int,
) -> dict[str, Profile]:
    """The tables about devices that are there."""
    tables = {}
    others = [(kind, row) for own in further.values() for kind, row in own]
    for forecast, device in TABLES.items():
        having = [row for row in households if is_there(row, device) and _needs(row, forecast, device)]
        owners = [row.text("household") for row in having]
        if owners or any(kind is device and _needs(row, forecast, device) for kind, row in others):
            columns = [forecast.key] if forecast.shared else owners
            path = folder / files[forecast.key.rpartition("_")[0]]
            tables[forecast.key] = profile(path, columns, step_minutes, forecast.low)
    return tables


def _further(folder: Path, files: Mapping[str, str], names: Sequence[str]) -> dict[str, list[OwnDevice]]:
    """Devices with a row of their own, by household.

    Raises:
        InputError: besides what `rows` raises, a device is nobody's, or of no size.
    """
    devices: dict[str, list[OwnDevice]] = {}
    for key in (key for key in DEVICE_TABLES if key in files):
        kind = DEVICE_TABLES[key]
        size, columns = kind.attributes[0], [attribute.column for attribute in kind.attributes]
        for row in rows(folder / files[key], ("household", size.column), columns):
            name = row.text("household")
            if name not in names:
                raise row.error("household", f"there is no household '{name}'; correct it, or add it to the households")
            if not is_there(row, kind):
                raise row.error(size.column, f"is the size of {kind.a_name}, so it must be above 0; or remove the row")
            devices.setdefault(name, []).append((kind, row))
    return devices


def is_there(row: Row, device: type[Device]) -> bool:
    """Whether a household has a device, as its row says."""
    size = device.attributes[0]
    return row.number_in(size.column, size.low, size.high, default=0.0) > 0


def _needs(row: Row, forecast: ForecastField, device: type[Device]) -> bool:
    """Whether a device that is there needs what a table tells."""
    columns = [one.column for one in device.attributes if one.key in forecast.needed_with]
    return not columns or any(row.number_in(column, default=0.0) > 0 for column in columns)


def _check_pv(community: Community) -> None:
    """
    Raises:
        InputError: panels give more than they can.
    """
    output = community.device_series.get("pv_kw")
    if output is None:
        return
    sizes = {row.text("household"): (row, row.number_in("pv_kwp", 0, default=0.0)) for row in community.rows}
    for day, of_day in output.values.items():
        for name, power in of_day.items():
            row, peak = sizes[name]
            if power.max() > MOST_OF_PEAK * peak:
                raise row.error(
                    "pv_kwp",
                    f"the {peak:g} kWp of '{name}' cannot give the {power.max():g} kW of {output.file}, "
                    f"{output.times[day][int(power.argmax())]}; correct one of them",
                )


def _accepted(path: Path, words: Sequence[Any]) -> frozenset[str]:
    """What looks doubtful and is so."""
    for word in words:
        if word not in ACCEPTABLE:
            raise InputError(f"{path.name}, accept: {word!r} is not known; it is a list of {', '.join(ACCEPTABLE)}")
    return frozenset(words)


def _ask_about_sizes(path: Path, row: Row, kind: type[Device]) -> None:
    """
    Raises:
        InputError: a device is larger than people have them.
    """
    for attribute in (one for one in kind.attributes if not one.is_clock):
        doubt = attribute.doubt(row.number_in(attribute.column, default=0.0), path.name)
        if doubt is not None:
            raise row.error(attribute.column, doubt)


def _large(path: Path, is_accepted: bool) -> Callable[[float], str | None]:
    def question(power_kw: float) -> str | None:
        if is_accepted or power_kw <= MOST_KW:
            return None
        return (
            f"{power_kw:g} kW is more than the {MOST_KW:g} kW that a household takes; is it in W? If it is so, say "
            f'accept = ["size"] in {path.name}'
        )

    return question


def _settings(path: Path, table: dict[str, Any]) -> dict[str, Any]:
    for key in table:
        if key not in SETTINGS:
            raise InputError(f"{path.name}: '{key}' is not known; known keys: {', '.join(SETTINGS)}")
    settings = {}
    for key, (kind, default) in SETTINGS.items():
        value = table.get(key, default)
        if value is None:
            raise InputError(f"{path.name}: '{key}' is missing")
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{path.name}: '{key}' = {value!r} must be {WRITTEN_AS[kind]}")
        if default is None and isinstance(value, str) and not value.strip():
            raise InputError(f"{path.name}: '{key}' is empty; give a text")
        settings[key] = value
    return settings


def _households(path: Path) -> list[Row]:
    taken: dict[int, Row] = {}
    names: dict[str, Row] = {}
    for row in rows(path, ("household", "node"), HOUSEHOLD_COLUMNS):
        name, node = row.text("household"), row.integer("node", 1, MOST_HOUSEHOLDS)
        if name == "time":
            raise row.error("household", "'time' is the name of the column of times; call the household differently")
        if name in names:
            raise row.error("household", f"'{name}' stands here a second time, first in row {names[name].number}")
        if node in taken:
            first = taken[node].text("household")
            raise row.error(
                "node", f"node {node} is taken by '{first}'; one household a node (homes at one bus name it in 'bus')"
            )
        taken[node] = names[name] = row
    nodes = sorted(taken)
    if nodes != list(range(1, len(nodes) + 1)):
        raise InputError(f"{path.name}: nodes must be numbered 1 to {len(nodes)} without gaps, found {nodes}")
    return [taken[node] for node in nodes]


def _devices(row: Row, further: Sequence[OwnDevice], day: Occasion) -> tuple[Device, ...]:
    """What a household has on a day: those of its row, and those with one of their own."""
    devices = (_device(place, kind, day) for kind, place in (*((kind, row) for kind in DEVICES), *further))
    return in_order(device for device in devices if device is not None)


def _connection_kw(row: Row) -> float | None:
    """What its connection carries."""
    return row.number_in("connection_kw", 0.1) if row.cells.get("connection_kw", "").strip() else None


def _peak_kw(row: Row) -> float:
    """What it has drawn before in the month at most."""
    return row.number_in(PEAK_COLUMN, 0.0, default=0.0)


def _device(row: Row, kind: type[Device], day: Occasion) -> Device | None:
    size, *others = kind.attributes
    stated = {size.key: row.number_in(size.column, size.low, size.high, default=0.0)}
    if stated[size.key] == 0:
        return None
    stated |= {attribute.key: _stated(row, attribute) for attribute in others}
    try:
        return kind.of(stated, day)
    except DeviceError as error:
        column = next(attribute.column for attribute in kind.attributes if attribute.key == error.key)
        raise row.error(column, f"of '{row.text('household')}': {error}") from None


def _stated(row: Row, attribute: Attribute) -> float:
    if attribute.is_clock:
        return _clock(row, attribute)
    return row.number_in(attribute.column, attribute.low, attribute.high, attribute.default)


def _clock(row: Row, attribute: Attribute) -> int:
    column = attribute.column
    if column not in row.cells:
        raise row.error(column, f"is missing; it says {attribute.meaning}, for example {attribute.example}")
    value = minutes(row.text(column))
    if value is None:
        raise row.error(column, f"'{row.text(column)}' is not a time HH:MM")
    return value


def _preferences(path: Path, entries: list[Any], names: list[str]) -> dict[tuple[str, str], float]:
    result = {}
    for number, entry in enumerate(entries, start=1):
        where = f"{path.name}, [[preference]] {number}"
        if not isinstance(entry, dict) or set(entry) != {"household", "partner", "coefficient"}:
            raise InputError(f"{where}: needs exactly household, partner and coefficient")
        for key in ("household", "partner"):
            if entry[key] not in names:
                raise InputError(f"{where}: there is no household '{entry[key]}'")
        if entry["household"] == entry["partner"]:
            raise InputError(f"{where}: '{entry['household']}' cannot be its own partner")
        coefficient = entry["coefficient"]
        number = isinstance(coefficient, (int, float)) and not isinstance(coefficient, bool)
        if not number or not 0 <= coefficient < math.inf:
            raise InputError(f"{where}: coefficient must be a number of at least 0, currency per kWh")
        if (entry["household"], entry["partner"]) in result:
            raise InputError(f"{where}: '{entry['household']}' and '{entry['partner']}' stand here a second time")
        result[entry["household"], entry["partner"]] = float(coefficient)
    return result
