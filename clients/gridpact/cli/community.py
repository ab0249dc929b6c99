"""`gridpact community`: a community from meter readings, and what is in one."""

from __future__ import annotations

import argparse
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.cli.options import (
    Commands,
    Joined,
    are_ends,
    check_file,
    check_folder,
    choice,
    date_order,
    decimal_mark,
    doubts,
    names,
)
from gridpact.community.ausgrid import is_ausgrid, read_ausgrid
from gridpact.community.citylearn import is_citylearn, read_citylearn
from gridpact.community.doubts import DOUBTS, check_prices, check_readings
from gridpact.community.meters import Gaps, MeterData
from gridpact.community.model import Feeder
from gridpact.community.networks.export import network_of, network_text
from gridpact.community.networks.files import read_network
from gridpact.community.networks.network import NetworkFile
from gridpact.community.networks.simbench import is_simbench, read_simbench
from gridpact.community.new import (
    NETWORK_FILE,
    Assets,
    FeederRule,
    NewCommunity,
    check_free,
    days_between,
    write_community,
)
from gridpact.community.read import Community, read_community
from gridpact.community.readings import UNITS, HowToRead, read_readings, time_zone
from gridpact.community.simbench import read_simbench_homes, standing_for
from gridpact.community.tables import foreign_text, minutes
from gridpact.community.tariff import Tariff, by_time_of_day, capped, from_table, price_table
from gridpact.devices.registry import DEVICES
from gridpact.errors import InputError
from gridpact.files import write_atomically
from gridpact.text import count

FORMATS = ("auto", "readings", "ausgrid", "citylearn", "simbench")
OF_READINGS = ("pv", "unit", "household", "time_column", "date_column", "value_column", "ignore", "dates", "decimal")
"""Options for plain readings only."""

CLOCKS = re.compile(r"(\d{1,2}:\d{2})-(\d{1,2}:\d{2})")


def add(commands: Commands) -> None:
    command = commands.add_parser("community", help="make a community of your own meter readings, or look at one")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    _add_new(actions)
    show = actions.add_parser("show", help="check a community and say what is in it")
    show.add_argument("case", metavar="NAME|FILE", help="a shipped case, a community folder or its file")
    show.set_defaults(command=_show)
    export = actions.add_parser(
        "export",
        help="a community's feeder for OpenDSS or pandapower",
        description="Writes a community's feeder for OpenDSS or pandapower, its homes as loads at one time of a day: "
        "what they use, less what their panels can give.",
    )
    export.add_argument("case", metavar="NAME|FILE", help="a shipped case, a community folder or its file")
    export.add_argument(
        "--to", type=Path, required=True, metavar="FILE", help="OpenDSS text (.dss) or pandapower (.json)"
    )
    export.add_argument("--day", metavar="DAY", help="default: the first")
    export.add_argument("--time", metavar="HH:MM", help="default: when all together use most")
    export.set_defaults(command=_export)


def _add_new(actions: Commands) -> None:
    new = actions.add_parser(
        "new",
        help="a community folder from meter readings",
        description="Makes a community folder from meter readings. docs/own-data.md takes you through it.",
    )
    new.add_argument("--from", dest="files", nargs="+", action="extend", type=Path, required=True, metavar="CSV",
                     help="the readings, in one file or several")  # fmt: skip
    new.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="the folder to make")
    new.add_argument(
        "--format", default="auto", metavar="|".join(FORMATS),
        help="readings: a column for each household, or a row for each household and time; ausgrid: solar home data; "
        "citylearn: the schema.json of a data set; simbench: the folder of a grid; default: by the header",
    )  # fmt: skip
    reading = new.add_argument_group("how to read")
    reading.add_argument("--pv", type=Path, metavar="CSV", help="PV output, a column for each household that has any")
    reading.add_argument(
        "--unit", metavar="|".join(UNITS), help="of columns that do not name theirs; default kwh of each step"
    )
    reading.add_argument(
        "--counter", action="store_true", help="the values are states of counters: take their differences"
    )
    reading.add_argument(
        "--household", metavar="NAME", help="whose readings a file of one household holds; default its name"
    )
    for what, of in (("time", "the times"), ("date", "the days, where times have a column of their own"),
                     ("value", "the readings, where each has a row")):  # fmt: skip
        reading.add_argument(f"--{what}-column", metavar="NAME", help=f"which column has {of}; default by the header")
    reading.add_argument("--ignore", action=Joined, metavar="NAMES", help="columns to leave out, with commas between")
    reading.add_argument(
        "--dates", metavar="day-first|month-first", help="what 03/04/2024 means; default as the whole file shows"
    )
    reading.add_argument(
        "--decimal", metavar="point|comma", help="the decimal mark; default as each whole column shows"
    )
    reading.add_argument(
        "--times",
        metavar="start|end",
        help="what a time names, the start of its step (default) or its end",
    )
    reading.add_argument(
        "--timezone", metavar="ZONE",
        help="of the place, for example Europe/Amsterdam: for times with an offset, and to leave out the two days a "
        "year on which the clock changes",
    )  # fmt: skip
    reading.add_argument(
        "--gaps", default="refuse", metavar="refuse|skip|fill",
        help="where readings are missing: complain (default), leave the day out, or fill up to two hours with a line",
    )  # fmt: skip
    reading.add_argument(
        "--accept", action=Joined, metavar="|".join(DOUBTS), help="what looks doubtful and is so, with commas between"
    )
    reading.add_argument(
        "--first-day",
        metavar="YYYY-MM-DD",
        help="of a CityLearn data set, which names no year: the date of its first row",
    )
    chosen = new.add_argument_group("what to take")
    chosen.add_argument("--subnet", metavar="NAME", help="the low-voltage grid of a SimBench data set that has several")
    chosen.add_argument("--only", action=Joined, metavar="NAMES", help="households, with commas between; default all")
    chosen.add_argument("--most", type=int, metavar="N", help="the first N households")
    chosen.add_argument(
        "--days",
        default="all",
        metavar="DAYS",
        help="2024-06-10..2024-06-16, or days with commas; default all whole ones",
    )
    chosen.add_argument("--step", type=int, metavar="MINUTES", help="length of a step; default that of the readings")
    prices = new.add_argument_group("prices")
    of_prices = prices.add_mutually_exclusive_group()
    of_prices.add_argument(
        "--price", metavar="TARIFF", help="import price per kWh: 0.30, or by time of day: 0.22,15:00-20:00=0.40"
    )
    of_prices.add_argument(
        "--prices", type=Path, metavar="CSV", help="a table with the columns time, import_price, perhaps feed_in_price"
    )
    prices.add_argument(
        "--feed-in", metavar="TARIFF|CSV", help="price of feed-in per kWh: 0.08, by time of day, or a table with a "
        "column feed_in_price",
    )  # fmt: skip
    prices.add_argument(
        "--price-times", metavar="start|end", help="what times in tables of prices name; default the starts of steps"
    )
    prices.add_argument("--currency", default="EUR", metavar="NAME", help="default EUR")
    prices.add_argument(
        "--feed-in-share", type=float, metavar="X", help="feed-in as a share of the import price; default 0.5"
    )
    prices.add_argument(
        "--trading-coefficient", type=float, default=0.10, metavar="X", help="chi, per kWh; default 0.10"
    )
    assigned = new.add_argument_group("what is not measured")
    assigned.add_argument("--batteries", action=Joined, metavar="NAMES|pv|all", help="households that get a battery")
    assigned.add_argument("--battery-size", metavar="KWH/KW", help="default 5/2.5")
    assigned.add_argument("--cars", action=Joined, metavar="NAMES|all", help="households that get an electric car")
    assigned.add_argument("--car-size", metavar="KWH/KW", help="energy a day and power; default 7/3.7")
    assigned.add_argument("--car-hours", metavar="FROM-TO", help="default 18:00-07:00")
    assigned.add_argument(
        "--feeder", type=Path, metavar="FILE",
        help="the network: OpenDSS text (.dss), pandapower's JSON (.json), or a folder of tables with impedances by "
        "phase; homes stand for its loads, in its order. Default: a feeder that is made up, of",
    )  # fmt: skip
    assigned.add_argument("--line-length", metavar="M/M", help="shortest and longest line; default 45/75")
    assigned.add_argument("--seed", type=int, metavar="N", help="of the lines' lengths; default 1")
    about = new.add_argument_group("about")
    about.add_argument("--name", metavar="NAME", help="default: that of the folder")
    about.add_argument("--source", default="", metavar="TEXT", help="where the readings come from")
    about.add_argument("--licence", default="", metavar="TEXT", help="what may be done with them")
    new.set_defaults(command=_new)


def _new(arguments: argparse.Namespace) -> int:
    share, chi = arguments.feed_in_share, arguments.trading_coefficient
    if share is not None and not 0 <= share <= 1:
        raise InputError(f"--feed-in-share needs a number from 0 to 1, not {share:g}")
    if not 0 <= chi < math.inf:
        raise InputError(f"--trading-coefficient needs a number of at least 0, not {chi:g}")
    check_folder(arguments.out)
    check_free(arguments.out)
    data = _read(arguments)
    if arguments.most is not None:
        if arguments.most < 1:
            raise InputError(f"--most needs a positive number, not {arguments.most}")
        data = data.only([meter.name for meter in data.meters[: arguments.most]])
    if not data.days:
        spans = "; ".join(f"{m.name} {min(m.load_kw)} to {max(m.load_kw)}" for m in data.meters[:6])
        raise InputError(f"there is no day that all {len(data.meters)} households have: {spans}; choose with --only")
    days = days_between(data.days, arguments.days)
    data = data.resampled(data.step_minutes if arguments.step is None else arguments.step)
    check_readings(data, _accepted(arguments))
    tariffs = _tariffs(arguments, days, data)
    assets, feeder = _assets(arguments, data), _feeder(arguments, data)
    new = NewCommunity(
        name=arguments.name or arguments.out.resolve().name,
        currency=arguments.currency,
        source=arguments.source or ", ".join(path.name for path in arguments.files),
        licence=arguments.licence,
        tariff_in_words=tariffs.words,
        feed_in_share=NewCommunity.feed_in_share if arguments.feed_in_share is None else arguments.feed_in_share,
        trading_coefficient=arguments.trading_coefficient,
        assets=assets,
        feeder=feeder,
        accepted=_accepted(arguments),
    )
    try:
        community = write_community(data, tariffs.days, tariffs.imported, new, arguments.out, tariffs.feed_in)
    except InputError as error:  # there is no community.toml yet that could accept it
        raise InputError(
            re.sub(r'say accept = \["(\w+)"\] in community\.toml', r"say --accept \1", str(error))
        ) from None
    for remark in (*data.read, *data.remarks, *tariffs.remarks):
        print(remark)
    for remark in feeder.remarks if isinstance(feeder, NetworkFile) else ():
        print(f"The network: {remark}.")
    for option, device, given in (("batteries", "battery", assets.batteries), ("cars", "car", assets.cars)):
        if getattr(arguments, option) == "pv" and not given:
            print(f"No household has PV output, so --{option} pv gives nobody a {device}.")
    _tell(community)
    file = NETWORK_FILE if isinstance(feeder, NetworkFile) else "feeder.csv"
    print(f"\nWritten to {arguments.out}. What is not measured is in households.csv and {file}: look at them.")
    print(f"Then: gridpact run --case {arguments.out}")
    return 0


def _read(arguments: argparse.Namespace) -> MeterData:
    gaps = choice("way with gaps", arguments.gaps, {g.value: g for g in Gaps})
    only = [name.strip() for name in arguments.only.split(",")] if arguments.only else []
    form = choice("format", arguments.format, {name: name for name in FORMATS})
    if form == "auto" and is_citylearn(arguments.files):
        form = "citylearn"
    if form == "auto" and is_simbench(arguments.files[0]):
        form = "simbench"
    if form == "simbench":
        _refuse(arguments, "a SimBench grid says all of it itself", (*OF_READINGS, "counter", "timezone", "first_day"))
        return read_simbench_homes(arguments.files[0], arguments.subnet, only)
    _refuse(arguments, "it is for a SimBench data set", ("subnet",))
    if form == "citylearn":
        _refuse(arguments, "a CityLearn data set says all of it itself", (*OF_READINGS, "counter", "timezone"))
        if len(arguments.files) != 1:
            raise InputError("give the one schema.json of a CityLearn data set; it names the tables beside it")
        return read_citylearn(arguments.files[0], _first_day(arguments), only)
    _refuse(arguments, "it is for a CityLearn data set; other readings name their days", ("first_day",))
    if form == "auto":
        top = foreign_text(arguments.files[0])[0].split("\n", 2)[:2]
        ausgrid = any(is_ausgrid([name.strip('" ') for name in line.split(",")]) for line in top)
        form = "ausgrid" if ausgrid else "readings"
    if form == "ausgrid":
        _refuse(arguments, "Ausgrid's files say all of it themselves", OF_READINGS)
        return read_ausgrid(arguments.files, gaps, only)
    how = HowToRead(
        unit=arguments.unit.lower() if arguments.unit else None,
        times_are_ends=bool(are_ends(arguments)),
        times_are_told=arguments.times is not None,
        zone=_zone(arguments),
        gaps=gaps,
        are_counters=arguments.counter,
        dates=date_order(arguments),
        decimal=decimal_mark(arguments),
        step_minutes=arguments.step,
        time_column=arguments.time_column,
        date_column=arguments.date_column,
        value_column=arguments.value_column,
        household=arguments.household,
        ignored=tuple(names("--ignore", arguments.ignore)) if arguments.ignore is not None else (),
        accepted=_accepted(arguments),
    )
    return read_readings(arguments.files, how, arguments.pv, only)


def _refuse(arguments: argparse.Namespace, why: str, options: Sequence[str]) -> None:
    """
    Raises:
        InputError: one of the options is given, which this form of readings has no use for.
    """
    for option in options:
        if getattr(arguments, option) not in (None, False):
            raise InputError(f"leave out --{option.replace('_', '-')}: {why}")


def _first_day(arguments: argparse.Namespace) -> date | None:
    if arguments.first_day is None:
        return None
    try:
        return date.fromisoformat(arguments.first_day)
    except ValueError:
        raise InputError(f"--first-day needs a date like 2016-07-31, not '{arguments.first_day}'") from None


def _accepted(arguments: argparse.Namespace) -> frozenset[str]:
    return doubts("--accept", arguments.accept)


@dataclass(frozen=True)
class _Tariffs:
    """The prices of all days that have them."""

    days: list[str]
    imported: Tariff
    feed_in: Tariff | None  # None: a share of the import price
    words: str
    remarks: list[str]


def _tariffs(arguments: argparse.Namespace, days: list[str], data: MeterData) -> _Tariffs:
    step_minutes = data.step_minutes
    remarks: list[str] = []
    how = HowToRead(
        times_are_ends=bool(are_ends(arguments, "price_times")),
        times_are_told=arguments.price_times is not None,
        times_option="--price-times",
        zone=_zone(arguments),
        dates=date_order(arguments),
        decimal=decimal_mark(arguments),
    )

    def table(path: Path, column: str) -> Tariff:
        tariff, said = from_table(path, step_minutes, how, column)
        remarks.extend(one for one in said if one not in remarks)
        return tariff

    given = arguments.feed_in
    if arguments.prices is None and (given is None or not _is_table(given)):
        _refuse(arguments, "no table of prices is given", ("price_times",))
    feed_in: Tariff | None = None
    if arguments.price is not None:
        imported = by_time_of_day(arguments.price, days, step_minutes)
        words = f"{arguments.price} {arguments.currency}/kWh"
    elif arguments.prices is None:
        if not data.prices:
            raise InputError("what does a kWh cost? Give --price 0.30, by time of day, or --prices with a table")
        imported, words = data.prices, f"as {arguments.files[0].name} has them, {arguments.currency}/kWh"
    else:
        imported = table(arguments.prices, "import_price")
        words = f"{arguments.prices.name}, {arguments.currency}/kWh"
        if "feed_in_price" in price_table(arguments.prices, how.decimal).header:
            if given is not None:
                raise InputError(
                    f"{arguments.prices.name} has a column feed_in_price; leave out --feed-in, or the column"
                )
            feed_in, given = table(arguments.prices, "feed_in_price"), arguments.prices.name
    if given is not None and feed_in is None:
        feed_in = table(Path(given), "feed_in_price") if _is_table(given) else by_time_of_day(given, days, step_minutes)
    if feed_in is not None:
        if arguments.feed_in_share is not None:
            raise InputError("the price of feed-in is given as a price and as --feed-in-share; leave out one of them")
        words += f"; feed-in {given} {arguments.currency}/kWh"
    for tariff in (imported, *([feed_in] if feed_in else [])):
        of_import = arguments.prices.name if arguments.prices else arguments.price or arguments.files[0].name
        source = of_import if tariff is imported else given
        if without := [day for day in days if day not in tariff]:
            days = [day for day in days if day in tariff]
            if not days:
                raise InputError(f"{source} has no whole day of prices for {without[0]} to {without[-1]}")
            remarks.append(f"Left out, since {source} has no prices: {', '.join(without)}.")
        name = "import" if tariff is imported else "feed-in"
        sizes = check_prices(f"the {name} price of {source}", tariff, days, _accepted(arguments))
        remarks.append(f"The {name} price was taken as {arguments.currency} per kWh: {sizes}.")
    if feed_in is None:
        assumed = " (assumed; --feed-in or --feed-in-share says another)" if arguments.feed_in_share is None else ""
        share = NewCommunity.feed_in_share if arguments.feed_in_share is None else arguments.feed_in_share
        remarks.append(f"Feed-in is worth the import price times {share:g}{assumed}.")
    if feed_in is not None:
        feed_in, lowered = capped(feed_in, imported, days)
        if lowered:
            remarks.append(
                f"Feed-in would pay more than import costs at {lowered} steps; there it is worth as much as import."
            )
    return _Tariffs(days, imported, feed_in, words, remarks)


def _is_table(given: str) -> bool:
    """Whether prices are given as a file."""
    return Path(given).is_file() or Path(given).suffix.lower() in (".csv", ".txt")


def _zone(arguments: argparse.Namespace) -> ZoneInfo | None:
    return time_zone(arguments.timezone) if arguments.timezone else None


def _assets(arguments: argparse.Namespace, data: MeterData) -> Assets:
    homes = [meter.name for meter in data.meters]

    def chosen(given: str | None) -> tuple[str, ...]:
        if given == "pv":
            return tuple(meter.name for meter in data.meters if meter.pv_kwp)
        return tuple(homes) if given == "all" else tuple(name.strip() for name in (given or "").split(",") if name)

    battery_kwh, battery_kw = _pair("--battery-size", arguments.battery_size or "5/2.5")
    car_kwh, car_kw = _pair("--car-size", arguments.car_size or "7/3.7")
    hours = CLOCKS.fullmatch(arguments.car_hours or "18:00-07:00")
    if not hours or minutes(hours[1]) is None or minutes(hours[2]) is None:
        raise InputError(f"--car-hours needs two times like 18:00-07:00, not '{arguments.car_hours}'")
    if arguments.batteries is None:
        _refuse(arguments, "nobody gets a battery without --batteries", ("battery_size",))
    if arguments.cars is None:
        _refuse(arguments, "nobody gets a car without --cars", ("car_size", "car_hours"))
    batteries, cars = chosen(arguments.batteries), chosen(arguments.cars)
    return Assets(batteries, battery_kwh, battery_kw, cars, car_kwh, car_kw, hours[1], hours[2])


def _feeder(arguments: argparse.Namespace, data: MeterData) -> FeederRule | NetworkFile:
    if all(meter.bus for meter in data.meters):
        _refuse(arguments, "the data have a network of their own", ("feeder", "line_length", "seed"))
        return standing_for(read_simbench(arguments.files[0], arguments.subnet), data.meters)
    if arguments.feeder is not None:
        _refuse(arguments, "the network of --feeder has its own lines", ("line_length", "seed"))
        return read_network(arguments.feeder)
    rule = FeederRule()
    if arguments.line_length is not None:
        shortest, longest = _pair("--line-length", arguments.line_length)
        if shortest > longest:
            raise InputError(f"--line-length needs the shortest first, not '{arguments.line_length}'")
        rule = replace(rule, shortest_m=shortest, longest_m=longest)
    if arguments.seed is not None:
        if arguments.seed < 0:
            raise InputError(f"--seed needs a number of at least 0, not {arguments.seed}")
        rule = replace(rule, seed=arguments.seed)
    return rule


_PAIRS = {
    "--battery-size": "kWh and kW, like 5/2.5",
    "--car-size": "kWh a day and kW, like 7/3.7",
    "--line-length": "the shortest and the longest in metres, like 45/75",
}
"""What two numbers with a stroke between them are."""


def _pair(option: str, text: str) -> tuple[float, float]:
    try:
        first, second = (float(part) for part in text.split("/"))
    except ValueError:
        raise InputError(f"{option} needs two numbers, {_PAIRS[option]}, not '{text}'") from None
    if not (0 < first < 1e6 and 0 < second < 1e6):
        raise InputError(f"{option} needs two positive numbers, {_PAIRS[option]}, not '{text}'")
    return first, second


def _show(arguments: argparse.Namespace) -> int:
    _tell(read_community(arguments.case))
    return 0


def _export(arguments: argparse.Namespace) -> int:
    community = read_community(arguments.case)
    day = community.on(arguments.day or community.days[0])
    used = np.sum([home.load_kw for home in day.households], axis=0)
    step = int(np.argmax(used))
    if arguments.time is not None:
        if arguments.time not in day.start_times:
            raise InputError(f"--time needs a time at which a step begins, like {day.start_times[step]}")
        step = day.start_times.index(arguments.time)
    network = network_of(day, step)
    text, remarks = network_text(network, arguments.to)
    check_file(arguments.to, "the network")
    write_atomically(arguments.to, text)
    for remark in remarks:
        print(f"{remark}.")
    lines, loads = count(len(network.lines), "line"), count(len(network.loads), "load")
    print(f"Written to {arguments.to}: {lines}, {loads} of {day.day} {day.start_times[step]}.")
    return 0


def _tell(community: Community) -> None:
    """What is in a community, a line for each household."""
    days = community.days
    summary = f"{count(len(community.rows), 'household')}, {count(len(days), 'day')}"
    print(f"{community.name}: {summary} ({days[0]} to {days[-1]}), "
          f"steps of {community.step_minutes} minutes")  # fmt: skip
    for remark in community.remarks:
        print(f"{remark}.")
    feeder = community.feeder
    if isinstance(feeder, Feeder) and (junctions := sorted(feeder.junctions)):
        are = "is a junction" if len(junctions) == 1 else "are junctions"
        print(f"Node {', '.join(map(str, junctions))} {are} without a household.")
    hours = community.step_minutes / 60
    producing = community.device_series["pv_kw"].values if "pv_kw" in community.device_series else {}
    width = max(len(row.text("household")) for row in community.rows)
    print(f"{'household':{max(width, 9)}}  {'kWh a day':>9}  {'most kW':>7}  {'PV kWh a day':>12}  has")
    for row in community.rows:
        name = row.text("household")
        load = [community.load.values[day][name] for day in days]
        pv = [producing[day][name] for day in days] if row.number_in("pv_kwp", 0, default=0.0) > 0 else []
        has = [
            f"{device.name()} {row.text(size.column)} {size.unit}"
            for device in DEVICES
            if (size := device.attributes[0]) and row.number_in(size.column, 0, default=0.0) > 0 and device.varied
        ]
        energy = hours * sum(float(power.sum()) for power in load) / len(days)
        of_pv = f"{hours * sum(float(power.sum()) for power in pv) / len(days):12.1f}" if pv else f"{'':12}"
        most = max(float(power.max()) for power in load)
        print(f"{name:{max(width, 9)}}  {energy:9.1f}  {most:7.2f}  {of_pv}  {', '.join(has)}".rstrip())
