"""`gridpact readings`: what meters read on a delivered day, settled on the chain."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpact.cli.manager import account_of, add_record, add_sender, agree, date_of, key_of, place_of, priced
from gridpact.cli.options import Commands, Joined, choice, doubts
from gridpact.errors import ChainError, InputError
from gridpact.text import count

if TYPE_CHECKING:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.settlement import Token
    from gridpact.manage.metering import MeterDay, Settled


def add(commands: Commands) -> None:
    command = commands.add_parser("readings", help="settle what meters read on a delivered day, or see what it came to")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    settle = actions.add_parser("settle", help="sign the readings of a day with the metering account, and settle them")
    settle.add_argument("file", type=Path, metavar="FILE", help="CSV: time, node, meter_wh; or a column for each node")
    _add_round(settle)
    settle.add_argument(
        "--unit", default="wh", metavar="wh|kwh", help="of columns that are named by nodes; default wh a reading"
    )
    settle.add_argument(
        "--times",
        default="start",
        metavar="start|end",
        help="what a time names, the start of what was counted (default) or its end",
    )
    settle.add_argument("--timezone", metavar="ZONE", help="of the place, as Europe/Amsterdam; default this machine's")
    settle.add_argument(
        "--accept", action=Joined, metavar="rising|size|sign", help="what looks doubtful and is so, with commas between"
    )
    settle.add_argument("--dry-run", action="store_true", help="show what would be moved and what it costs, no more")
    add_record(settle)
    add_sender(settle)
    settle.set_defaults(command=_settle)
    show = actions.add_parser("show", help="what the settled readings of a day came to")
    _add_round(show)
    show.add_argument("--json", action="store_true", help="as a line of JSON")
    add_record(show)
    show.set_defaults(command=_show)


def _add_round(command: argparse.ArgumentParser) -> None:
    command.add_argument("--day", required=True, metavar="YYYY-MM-DD", help="the day that was delivered")
    command.add_argument("--round", type=int, metavar="N", help="its round, where several were opened for that day")


def _settle(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.metering import (
        UNITS,
        check_plan,
        check_signs,
        planned_wh,
        read_meters,
        round_of,
        settled,
        still_to_settle,
        to_settle,
    )

    unit = choice("unit", arguments.unit, {unit: unit for unit in UNITS})
    ends = choice("meaning of times", arguments.times, {"start": False, "end": True})
    accepted = doubts("--accept", arguments.accept)
    day = date_of(arguments.day)
    with place_of(arguments) as place:
        assert place.record is not None
        aggregator = Aggregator.of(place.record, place.web3)
        settlement = Settlement.of(place.record, place.web3)
        delivered = _delivered(arguments, aggregator, day)
        number = round_of(aggregator, day, arguments.round)
        energies = read_meters(arguments.file, delivered, unit, ends, accepted)
        key = key_of(arguments)
        account = account_of(arguments, place, key)
        if settlement.metering() != account.address:
            raise InputError(
                f"The metering account is {settlement.metering()}, the key given is of {account.address}: give the"
                " metering account's."
            )
        accounts, silent = still_to_settle(aggregator, settlement, number, energies)
        if silent:
            print(f"gridpact: round {number} lacks the readings of nodes {', '.join(map(str, silent))}")
        if not accounts:
            print(f"gridpact: all {len(energies)} readings of {day} are settled already")
            return 0
        comes_to = to_settle(settlement, number, {node: energies[node] for node in accounts}, accounts)
        settlement = Settlement.of(place.record, place.web3, account)
        signed = [settlement.sign_reading(key, number, node, energies[node]) for node in accounts]
        calls = settlement.delivery_calls(signed)
        planned = [
            planned_call(account, f"settle node {node}", call) for node, call in zip(accounts, calls, strict=True)
        ]
        print(_table(comes_to, settlement.token))
        if "sign" not in accepted:
            check_signs(comes_to)
        try:
            plans = planned_wh(aggregator, number)
        except ChainError as error:
            print(f"gridpact: the readings are not compared with the plan, which cannot be read: {error}")
        else:
            check_plan({node: energies[node] for node in accounts}, plans, accepted)
        costs = priced(account, planned, arguments, place.profile)
        if arguments.dry_run:
            print("gridpact: nothing was sent")
            return 0
        costs.check("settling the readings")
        agree(arguments, f"Settle {len(signed)} readings of {day} on {place.profile.name}?")
        settlement.deliver_readings(signed)
        done = [one for one in settled(settlement, number) if one.delivery.node in accounts]
        if done != comes_to:  # trades or deposits moved in between
            print(_table(done, settlement.token))
        print(f"gridpact: the readings of {count(len(done), 'household')} in round {number} of {day} are settled")
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.metering import round_of, settled

    day = date_of(arguments.day)
    with place_of(arguments) as place:
        assert place.record is not None
        settlement = Settlement.of(place.record, place.web3)
        number = round_of(Aggregator.of(place.record, place.web3), day, arguments.round)
        done = settled(settlement, number)
        if arguments.json:
            print(json.dumps(_as_json(number, done, settlement.token)))
        elif done:
            print(_table(done, settlement.token))
        else:
            print(f"gridpact: no reading of round {number} of {day} is settled yet")
    return 0


def _delivered(arguments: argparse.Namespace, aggregator: Aggregator, day: date) -> MeterDay:
    """The day in the round's steps.

    Raises:
        InputError: it is not over yet. The contract does not look at the clock, so nobody else would say so.
    """
    from gridpact.community.readings import time_zone
    from gridpact.manage.metering import MeterDay

    zone = time_zone(arguments.timezone) if arguments.timezone else None
    setting = aggregator.setting()
    found = MeterDay(day, setting.steps, setting.step_seconds, zone)
    if found.end > datetime.now(timezone.utc):
        raise InputError(
            f"The day {day} is not over before {found.end:%Y-%m-%d %H:%M %z}: settle its readings then, they cannot be"
            " changed."
        )
    return found


# ---------------------------------------------------------------------- what was moved


def _table(rows: Sequence[Settled], token: Token) -> str:
    """A line for each household: energies in kWh, and what it received (negative: paid, or owes)."""
    from gridpact.text import plain

    unit = 10.0 ** token.decimals()
    names = ("node", *ENERGIES, "from neighbours", "from supplier", f"net {plain(token.symbol(), 8)}", "in arrears")
    lines = [
        (
            str(row.delivery.node),
            *(f"{wh / 1000:,.3f}" for wh in _energies(row)),
            *(f"{units / unit:,.4f}" for units in _received(row)),
        )
        for row in rows
    ]
    widths = [max(map(len, column)) for column in zip(names, *lines, strict=True)]
    return "\n".join(
        "  ".join(["", *(cell.rjust(width) for cell, width in zip(line, widths, strict=True))])
        for line in (names, *lines)
    )


ENERGIES = ("kWh fed in", "drawn", "sold", "bought", "surplus", "shortage")
"""At the meter; to and from neighbours; what the supplier bought and sold beyond that."""


def _energies(row: Settled) -> list[int]:
    """Wh over the day, in the order of `ENERGIES`."""
    every = (row.delivery.energies_wh, row.traded_wh, row.beyond_wh)
    return [sum(max(sign * wh, 0) for wh in series) for series in every for sign in (1, -1)]


def _received(row: Settled) -> tuple[int, int, int, int]:
    """Token units."""
    return row.from_neighbours, row.delivery.payment, row.net, row.delivery.arrears


def _as_json(number: int, rows: Sequence[Settled], token: Token) -> dict[str, Any]:
    """Energies in Wh, amounts in the token's currency as exact decimals."""
    from decimal import Decimal

    decimals = token.decimals()
    energies = ("fed_in_wh", "drawn_wh", "sold_wh", "bought_wh", "surplus_wh", "shortage_wh")
    amounts = ("from_neighbours", "from_supplier", "net", "arrears")
    return {
        "round": number,
        "currency": token.symbol(),
        "households": [
            {"node": row.delivery.node}
            | dict(zip(energies, _energies(row), strict=True))
            | {
                name: f"{Decimal(units).scaleb(-decimals):f}"
                for name, units in zip(amounts, _received(row), strict=True)
            }
            for row in rows
        ],
    }
