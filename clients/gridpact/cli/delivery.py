"""`gridpact round day` and `gridpact readings step`: days that are settled step by step, opened and read."""

from __future__ import annotations

import argparse
from dataclasses import astuple
from datetime import datetime
from pathlib import Path

from gridpact.cli.manager import (
    account_of,
    add_record,
    add_sender,
    check_supplier,
    date_of,
    key_of,
    place_of,
    positive,
    send,
)
from gridpact.cli.options import Commands, Joined, doubts
from gridpact.community.tables import rows
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS

MICRO = 10**6


def add_day(actions: Commands) -> None:
    """`gridpact round day`."""
    opening = actions.add_parser(
        "day", help="open a day that is settled step by step, with the supplier's terms; --name: supply in one"
    )
    opening.add_argument("--day", required=True, metavar="YYYY-MM-DD", help="the day; its round is opened after it")
    opening.add_argument(
        "--start", metavar="TIME", help="when its first step begins, as 2026-02-01T00:00+01:00; not with --name"
    )
    opening.add_argument("--community", required=True, metavar="NAME|FILE", help="whose prices are the day's")
    opening.add_argument("--of", metavar="D", help="a day of the community; default its first")
    opening.add_argument(
        "--name", metavar="NAME",
        help="of [tariff.NAME]: another supplier than the community's takes part in an open day with its tariff",
    )  # fmt: skip
    opening.add_argument(
        "--accept", action=Joined, metavar="crossing",
        help="with --name: feed-in that pays more than another supplier's energy costs",
    )  # fmt: skip
    opening.add_argument("--lock", type=positive, required=True, metavar="N", help="what the supplier locks")
    opening.add_argument("--least-lock", type=float, default=0.0, metavar="N", help="of a household; default 0")
    opening.add_argument("--adder", type=float, default=0.05, metavar="P", help="a kWh of deviation; default 0.05")
    opening.add_argument(
        "--gate-minutes", type=positive, default=15.0, metavar="N", help="from a gate to its step; default 15"
    )
    opening.add_argument(
        "--reading-minutes", type=positive, default=60.0, metavar="N", help="that a reading is waited for; default 60"
    )
    add_record(opening)
    add_sender(opening)
    opening.set_defaults(command=_open_day)


def _open_day(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.day import DaySettlement, DayTerms
    from gridpact.chain.estimate import PlannedCall, planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.cli.deposit import DEPOSIT_GAS
    from gridpact.community.read import read_community
    from gridpact.manage.tariffs import check_beside
    from gridpact.run.staging import month_of, tariff_with_fees

    accepted = doubts("--accept", arguments.accept)
    label = int(date_of(arguments.day).strftime("%Y%m%d"))
    community = read_community(arguments.community)
    day = arguments.of or community.days[0]
    prices, hours = community.suppliers.prices(day, arguments.name), community.on(day).step_hours
    if (arguments.start is None) == (arguments.name is None):
        raise InputError("--start says when a day begins that is opened: give it, or --name to supply in an open one")
    for name in ("adder", "least_lock"):
        if not 0 <= getattr(arguments, name) < 2**31 / MICRO:
            raise InputError(f"--{name.replace('_', '-')} must be at least 0 and less than 2147")
    with place_of(arguments) as place:
        assert place.record is not None
        setting = Aggregator.of(place.record, place.web3).setting()
        if len(prices.import_price) != setting.steps:
            raise InputError(
                f"The community has prices for {len(prices.import_price)} steps, the contracts are for {setting.steps}:"
                " give a community with their horizon."
            )
        account = account_of(arguments, place)
        ledger = DaySettlement.of(place.record, place.web3, account)
        settlement = Settlement.of(place.record, place.web3, account)
        check_supplier(settlement, place.record.supplier, account.address, arguments.name)
        unit = 10 ** ledger.token.decimals()
        tariff = tariff_with_fees(prices, hours, month_of(label))
        lock, free = round(arguments.lock * unit), ledger.free(account.address)
        missing = max(lock - free, 0)
        if (short := missing - ledger.token.balance(account.address)) > 0:
            raise InputError(f"The supplier's account lacks {short / unit:g} of what it is to lock: send it so many.")
        # What is still to be deposited cannot be locked in an estimate.
        deposit = [PlannedCall("deposit", DEPOSIT_GAS, 2 * 68)] if missing else []
        if arguments.name is not None:
            if not (standing := ledger.standing(label)).index:
                raise InputError(f"{arguments.day} is not open: the community's supplier opens it first.")
            if "crossing" not in accepted:
                (opened,) = (one for one in ledger.opened() if one.day == label)
                check_beside(tariff, dict(opened.tariffs))
            call = ledger.call("supplyDay", label, standing.terms, tariff, lock - missing)
            planned = [planned_call(account, "supply in the day", call), *deposit]
            send(account, planned, arguments, place.profile, "supplying in the day", f"Supply in {arguments.day}?")
            if missing:
                ledger.deposit(missing)
            ledger.supply_day(label, tariff, lock)
            print(f"gridpact: {account.address} supplies its customers on {arguments.day}")
            return 0
        terms = DayTerms(
            start=_moment(arguments.start),
            step_seconds=setting.step_seconds,
            gate_seconds=round(60 * arguments.gate_minutes),
            reading_seconds=round(60 * arguments.reading_minutes),
            adder=round(arguments.adder * MICRO),
            tolerance_wh=100,
            least_lock=round(arguments.least_lock * unit),
        )
        call = ledger.call("openDay", label, astuple(terms), tariff, b"", lock - missing)
        planned = [planned_call(account, "open the day", call), *deposit]
        send(account, planned, arguments, place.profile, "opening the day", f"Open {arguments.day} for its members?")
        if missing:
            ledger.deposit(missing)
        ledger.open_day(label, terms, tariff, lock)
        print(f"gridpact: {arguments.day} is open; households join as its round is opened (`gridpact round open`)")
    return 0


def _moment(text: str) -> int:
    """A time with its offset from UTC, in unix time."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise InputError(f"--start '{text}' is no time; give one as 2026-02-01T00:00+01:00") from None
    if moment.tzinfo is None:
        raise InputError(f"--start '{text}' does not say its offset from UTC; give it as {text}+00:00")
    return round(moment.timestamp())


def add_step(actions: Commands) -> None:
    """`gridpact readings step`."""
    reading = actions.add_parser("step", help="sign and bring what meters read in a step of a day, as metering account")
    reading.add_argument("file", type=Path, metavar="FILE", help="CSV: node, meter_wh (fed in; negative where drawn)")
    reading.add_argument("--day", required=True, metavar="YYYY-MM-DD", help="the day")
    reading.add_argument("--step", type=int, required=True, metavar="K", help="the step, 0 the first")
    add_record(reading)
    add_sender(reading)
    reading.set_defaults(command=_read_step)


def _read_step(arguments: argparse.Namespace) -> int:
    from gridpact.chain.day import DaySettlement
    from gridpact.chain.estimate import planned_call

    label, step = int(date_of(arguments.day).strftime("%Y%m%d")), arguments.step
    energies: dict[int, int] = {}
    for row in rows(arguments.file, ("node", "meter_wh"), None):
        node = row.integer("node", 1, MOST_HOUSEHOLDS)
        if node in energies:
            raise row.error("node", f"node {node} is read twice; give one reading of it")
        energies[node] = round(row.number_in("meter_wh", -(2**31) + 1, 2**31 - 1))
    with place_of(arguments) as place:
        assert place.record is not None
        key = key_of(arguments)
        account = account_of(arguments, place, key)
        ledger = DaySettlement.of(place.record, place.web3, account)
        members = ledger.standing(label).members
        if strangers := sorted(energies.keys() - members):
            raise InputError(f"node {strangers[0]} is no member of {arguments.day}: leave its reading out")
        if not 0 <= step < ledger.steps:
            raise InputError(f"--step {step}: the day has steps 0 to {ledger.steps - 1}")
        reading = ledger.sign_reading(key, label, step, energies)
        planned = [planned_call(account, "bring the readings", ledger.call("read", *reading))]
        send(account, planned, arguments, place.profile, "bringing the readings", f"Bring the readings of step {step}?")
        ledger.read(reading)
        left = len(members) - len(energies)
        print(f"gridpact: step {step} of {arguments.day} is read of {len(energies)} members, {left} are left")
    return 0
