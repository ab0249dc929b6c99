"""A community folder from meter readings: households, prices and days as measured, feeder and devices as stated."""

from __future__ import annotations

import csv
import io
import json
import math
import shutil
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.community.meters import Meter, MeterData
from gridpact.community.model import Array
from gridpact.community.networks.network import NetworkFile, plainly_named
from gridpact.community.networks.opendss import opendss_text
from gridpact.community.read import ACCEPTABLE, Community, read_community
from gridpact.community.tariff import Tariff
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS

RESISTANCE_OHM_PER_KM, REACTANCE_OHM_PER_KM, RATING_A = 0.641, 0.08, 142
"""50 mm2 aluminium, as in the shipped cases; the rating is that of the cable NAYY 4x50 in pandapower's library."""

NETWORK_FILE = "network.dss"
"""Of a community on a network file, as it was read."""

HOMES_A_FEEDER = 16
"""So many households hang on one cable from the grid connection, as in the shipped cases; more get further cables."""

POWER_FACTOR = 0.95
KVAR_PER_KWP = 0.44
"""Limit of an inverter's reactive power: a power factor of 0.9 at full output, on the safe side, as shipped."""

HOUSEHOLD_HEADER = (
    "household", "node", "power_factor", "pv_kwp", "inverter_kvar", "battery_kwh", "battery_kw",
    "battery_round_trip_efficiency", "car_kwh", "car_kw", "car_efficiency", "car_from", "car_to",
)  # fmt: skip


@dataclass(frozen=True)
class Assets:
    """What is assigned to some households and was not measured."""

    batteries: tuple[str, ...] = ()  # households
    battery_kwh: float = 5.0
    battery_kw: float = 2.5
    cars: tuple[str, ...] = ()  # households
    car_kwh: float = 7.0
    car_kw: float = 3.7
    car_from: str = "18:00"
    car_to: str = "07:00"


@dataclass(frozen=True)
class FeederRule:
    """How the synthetic feeder is laid: lengths are drawn between two limits, in steps of 5 m."""

    shortest_m: float = 45.0
    longest_m: float = 75.0
    seed: int = 1


@dataclass(frozen=True)
class NewCommunity:
    """What a community folder says beside the readings."""

    name: str
    currency: str
    source: str
    licence: str
    tariff_in_words: str
    feed_in_share: float = 0.5
    trading_coefficient: float = 0.10
    assets: Assets = Assets()
    feeder: FeederRule | NetworkFile = FeederRule()
    accepted: frozenset[str] = frozenset()  # doubts that are none here


def days_between(days: Sequence[str], wanted: str) -> list[str]:
    """Days of those given, in order: "all", "2012-07-01..2012-07-07", or a list with commas.

    Raises:
        InputError: a day is not there.
    """
    if wanted == "all":
        return list(days)
    if ".." in wanted:
        first, _, last = wanted.partition("..")
        chosen = [day for day in days if first <= day <= last]
        if not chosen:
            raise InputError(f"there are no whole days in '{wanted}'; the days are {days[0]} to {days[-1]}")
        return chosen
    chosen = [day.strip() for day in wanted.split(",")]
    for day in chosen:
        if day not in days:
            raise InputError(f"'{day}' is no whole day of all households; the days are {days[0]} to {days[-1]}")
    return chosen


def write_community(
    data: MeterData,
    days: Sequence[str],
    tariff: Tariff,
    of: NewCommunity,
    folder: Path,
    feed_in: Tariff | None = None,
) -> Community:
    """Writes a community folder, reads it back with all checks, and returns what was read.

    Args:
        days: of `data` and `tariff`, to be written.
        feed_in: its price; None: the share of the import price that `of` says.

    Raises:
        InputError: there are too many households, one that gets a device is not there, the network has too few loads,
            or the folder is taken.
    """
    names = [meter.name for meter in data.meters]
    if len(names) > MOST_HOUSEHOLDS:
        raise InputError(
            f"there are {len(names)} households, a community has at most {MOST_HOUSEHOLDS}; choose some with --only "
            "or --most"
        )
    for name in (*of.assets.batteries, *of.assets.cars):
        if name not in names:
            raise InputError(
                f"there is no household '{name}' that could get a battery or a car; there are {', '.join(names)}"
            )
    tables = {
        "community.toml": _toml(data, days, of, feed_in is not None),
        "households.csv": _households(data.meters, of.assets, _places(of.feeder, len(names))),
        **_feeder_file(of.feeder, len(names)),
        "prices.csv": _series(
            data.step_minutes,
            days,
            ["import_price", *(["feed_in_price"] if feed_in else [])],
            lambda day, column: feed_in[day] if feed_in and column else tariff[day],
        ),
        "load_kw.csv": _series(data.step_minutes, days, names, lambda day, column: data.meters[column].load_kw[day]),
    }
    producers = [meter for meter in data.meters if meter.pv_kwp > 0]
    if producers:
        tables["pv_kw.csv"] = _series(
            data.step_minutes, days, [m.name for m in producers], lambda day, column: producers[column].pv_kw[day]
        )
    put_files(tables, folder)
    return read_community(str(folder))


def check_free(folder: Path) -> None:
    """
    Raises:
        InputError: there is something in the folder.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is there already; choose another folder with --out, or remove it")


def put_files(files: Mapping[str, str], folder: Path) -> None:
    """Makes the folder, if what is in it can be read as a community. An empty one that is there is filled: it may be a
    volume of its own.

    Raises:
        InputError: they are no community, or the folder is taken or cannot be written.
    """
    check_free(folder)
    try:
        _put(files, folder)
    except OSError as error:
        raise InputError(f"'{folder}' cannot be written: {error.strerror}; choose another folder with --out") from None


def _put(files: Mapping[str, str], folder: Path) -> None:
    folder.absolute().parent.mkdir(parents=True, exist_ok=True)
    there = folder.exists()
    staging = Path(
        tempfile.mkdtemp(prefix=f".{folder.absolute().name}-", dir=folder if there else folder.absolute().parent)
    )
    try:
        for file, text in files.items():
            (staging / file).write_text(text, encoding="utf-8")
        read_community(str(staging))
        if there:
            for path in staging.iterdir():
                path.rename(folder / path.name)
        else:
            staging.chmod(0o755)
            staging.rename(folder)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def synthetic_feeder(households: int, rule: FeederRule) -> list[tuple[int, int, float]]:
    """(node, parent, length in m) of every line.

    As in the shipped cases: of every cable's households five in eight, rounded up, stand along the main, one after the
    other; the rest in laterals of two, spread evenly over the main.
    """
    random = np.random.default_rng(rule.seed)
    lines: list[tuple[int, int, float]] = []
    for first in range(0, households, HOMES_A_FEEDER):
        count = min(HOMES_A_FEEDER, households - first)
        main = count if count < 4 else math.ceil(5 * count / 8)
        laterals = math.ceil((count - main) / 2)
        for k in range(1, count + 1):
            node = first + k
            if k <= main:
                parent = node - 1 if k > 1 else 0
            elif (k - main) % 2 == 1:
                lateral = (k - main + 1) // 2
                parent = first + math.ceil(lateral * main / (laterals + 1))
            else:
                parent = node - 1
            length = float(5 * round(random.uniform(rule.shortest_m, rule.longest_m) / 5))
            lines.append((node, parent, length))
    return lines


# ---------------------------------------------------------------------- the files


def _places(feeder: FeederRule | NetworkFile, households: int) -> list[str]:
    """The loads of a network file that the households stand for, in its order; none of a feeder that is made up.

    Raises:
        InputError: there are fewer than households.
    """
    if isinstance(feeder, FeederRule):
        return []
    loads = [load.name for load in plainly_named(feeder).loads]
    if len(loads) < households:
        raise InputError(
            f"the network '{feeder.name}' has {len(loads)} loads, too few for {households} households; choose some "
            "with --only or --most"
        )
    return loads[:households]


def _feeder_file(feeder: FeederRule | NetworkFile, households: int) -> dict[str, str]:
    if isinstance(feeder, FeederRule):
        return {"feeder.csv": feeder_table(households, feeder)}
    return {NETWORK_FILE: opendss_text(feeder)}


def _households(meters: Sequence[Meter], assets: Assets, places: Sequence[str]) -> str:
    table: list[list[object]] = [[*HOUSEHOLD_HEADER, *(["load"] if places else [])]]
    for node, meter in enumerate(meters, start=1):
        pv = [meter.pv_kwp, round(KVAR_PER_KWP * meter.pv_kwp, 2)] if meter.pv_kwp else ["", ""]
        battery: list[object] = [""] * 3
        if meter.name in assets.batteries:
            battery = [assets.battery_kwh, assets.battery_kw, 0.9]
        elif meter.battery is not None:
            battery = [meter.battery.capacity_kwh, meter.battery.power_kw, meter.battery.round_trip_efficiency]
        car: list[object] = [""] * 5
        if meter.name in assets.cars:
            car = [assets.car_kwh, assets.car_kw, 0.9, assets.car_from, assets.car_to]
        table.append([meter.name, node, POWER_FACTOR, *pv, *battery, *car, *places[node - 1 : node]])
    return _csv(table)


def feeder_table(households: int, rule: FeederRule) -> str:
    """`feeder.csv` of a synthetic feeder."""
    header: list[object] = ["node", "parent", "length_m", "resistance_ohm_per_km", "reactance_ohm_per_km", "rating_a"]
    lines = synthetic_feeder(households, rule)
    return _csv([header, *([*line, RESISTANCE_OHM_PER_KM, REACTANCE_OHM_PER_KM, RATING_A] for line in lines)])


def _series(step_minutes: int, days: Sequence[str], columns: Sequence[str], of: Callable[[str, int], Array]) -> str:
    table: list[list[object]] = [["time", *columns]]
    for day in days:
        values = [of(day, column) for column in range(len(columns))]
        for step, minute in enumerate(range(0, 24 * 60, step_minutes)):
            clock = f"{day} {minute // 60:02d}:{minute % 60:02d}"
            table.append([clock, *(float(column[step]) for column in values)])
    return _csv(table)


def _csv(table: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerows([f"{cell:.6g}" if isinstance(cell, float) else cell for cell in row] for row in table)
    return text.getvalue()


def _toml(data: MeterData, days: Sequence[str], of: NewCommunity, own_feed_in: bool) -> str:
    settings: dict[str, str | float | int] = {
        "name": of.name,
        "title": f"{len(data.meters)} households from meter readings, {days[0]} to {days[-1]}",
        "currency": of.currency,
        "step_minutes": data.step_minutes,
        **({"feed_in_share": of.feed_in_share} if not own_feed_in else {}),
        "trading_coefficient": of.trading_coefficient,
        "source": of.source,
        "licence": of.licence,
        "notes": _notes(data, of),
    }
    lines = [f"{key} = {_toml_value(value)}" for key, value in settings.items()]
    if accepted := [word for word in ACCEPTABLE if word in of.accepted]:
        lines.append(f"accept = {json.dumps(accepted)}")
    which, (low, high) = "nominal_voltage_v = 400", (0.95, 1.05)
    if isinstance(of.feeder, NetworkFile):
        which, (low, high) = f'network = "{NETWORK_FILE}"', of.feeder.limits_pu
    return "\n".join([*lines, "", "[feeder]", which, f"voltage_min_pu = {low:g}", f"voltage_max_pu = {high:g}", ""])


def _toml_value(value: str | float | int) -> str:
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # a TOML string but for DEL
    return f"{value:g}" if isinstance(value, float) else str(value)


def _notes(data: MeterData, of: NewCommunity) -> str:
    assets = of.assets
    assigned = []
    if assets.batteries:
        assigned.append(
            f"batteries of {assets.battery_kwh:g} kWh / {assets.battery_kw:g} kW at {', '.join(assets.batteries)}"
        )
    if assets.cars:
        assigned.append(
            f"electric cars ({assets.car_kwh:g} kWh a day, {assets.car_kw:g} kW, {assets.car_from} to {assets.car_to}) "
            f"at {', '.join(assets.cars)}"
        )
    assigned.append(f"a power factor of {POWER_FACTOR:g} and inverter limits of {KVAR_PER_KWP:g} kvar/kWp")
    return " ".join(
        [
            "Measured: load" + (" and PV output." if any(m.pv_kwp for m in data.meters) else "."),
            *(["Batteries as the data have them."] if any(m.battery for m in data.meters) else []),
            *data.remarks,
            f"Prices: {of.tariff_in_words}.",
            f"Assigned, not measured: {'; '.join(assigned)}.",
            _feeder_in_words(of.feeder),
        ]
    )


def _feeder_in_words(feeder: FeederRule | NetworkFile) -> str:
    if isinstance(feeder, NetworkFile):
        return (
            f"The feeder: '{feeder.name}', {len(feeder.lines)} lines; households in the order of their readings stand "
            "for its loads in the file's order."
        )
    return (
        f"Synthetic: the feeder, 400 V three-phase, 50 mm2 aluminium rated {RATING_A} A (NAYY 4x50 in "
        f"pandapower's library), {feeder.shortest_m:g} to {feeder.longest_m:g} m between homes (seed {feeder.seed}), "
        f"households in the order of their readings, at most {HOMES_A_FEEDER} on a cable."
    )
