"""`gridpact readings`: what meters read on a delivered day, settled on the chain."""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpact.cli.delivery import add_step
from gridpact.cli.manager import account_of, add_record, add_sender, date_of, key_of, place_of, priced, send
from gridpact.cli.options import Commands, Joined, are_ends, choice, date_order, decimal_mark, doubts
from gridpact.errors import ChainError, InputError
from gridpact.text import count

if TYPE_CHECKING:
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.deposits import Token
    from gridpact.chain.estimate import PlannedCall
    from gridpact.chain.profiles import ChainProfile
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.meter_table import MeterDay
    from gridpact.manage.metering import Settled
    from gridpact.market.admm.pads import Pads
    from gridpact.node.opened_plan import OpenedPlan


def add(commands: Commands) -> None:
    command = commands.add_parser("readings", help="settle what meters read on a delivered day, or see what it came to")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    settle = actions.add_parser("settle", help="sign the readings of a day with the metering account, and settle them")
    settle.set_defaults(command=_settle)
    correct = actions.add_parser(
        "correct", help="other readings for settled ones; they count once household and supplier have sent the same"
    )
    correct.set_defaults(command=_correct)
    for action in (settle, correct):
        _add_file(action)
        add_record(action)
        add_sender(action)
    vouch = actions.add_parser(
        "vouch", help="record, with the metering account, trades that were agreed on and that only one side states"
    )
    _add_round(vouch)
    vouch.add_argument(
        "--shown",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="of a sealed round: what households have shown of it (`gridpact household show`)",
    )
    vouch.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="of a sealed round: the plan as the operator's node has opened it, which is checked first",
    )
    vouch.add_argument("--dry-run", action="store_true", help="show what would be recorded and what it costs, no more")
    add_record(vouch)
    add_sender(vouch)
    vouch.set_defaults(command=_vouch)
    add_step(actions)
    show = actions.add_parser("show", help="what the settled readings of a day came to")
    _add_round(show)
    show.add_argument("--json", action="store_true", help="as a line of JSON")
    add_record(show)
    show.set_defaults(command=_show)


def _add_file(command: argparse.ArgumentParser) -> None:
    command.add_argument("file", type=Path, metavar="FILE", help="CSV: time, node, meter_wh; or a column for each node")
    _add_round(command)
    command.add_argument(
        "--unit", default="wh", metavar="wh|kwh", help="of columns that are named by nodes; default wh a reading"
    )
    command.add_argument(
        "--times",
        metavar="start|end",
        help="what a time names, the start of what was counted (default) or its end",
    )
    command.add_argument("--dates", metavar="day-first|month-first", help="where dates can be read in two ways")
    command.add_argument("--decimal", metavar="point|comma", help="where numbers can be read in two ways")
    command.add_argument("--timezone", metavar="ZONE", help="of the place, as Europe/Amsterdam; default this machine's")
    command.add_argument(
        "--accept",
        action=Joined,
        metavar="rising|size|sign|unrecorded",
        help="what looks doubtful and is so, with commas between",
    )
    command.add_argument("--dry-run", action="store_true", help="show what would be moved and what it costs, no more")


def _add_round(command: argparse.ArgumentParser) -> None:
    command.add_argument("--day", required=True, metavar="YYYY-MM-DD", help="the day that was delivered")
    command.add_argument("--round", type=int, metavar="N", help="its round, where several were opened for that day")


def _settle(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.metering import settled, still_to_settle, to_settle
    from gridpact.manage.vouching import check_recorded

    accepted, day = doubts("--accept", arguments.accept), date_of(arguments.day)
    with place_of(arguments) as place:
        assert place.record is not None
        aggregator = Aggregator.of(place.record, place.web3)
        settlement = Settlement.of(place.record, place.web3)
        number, energies = _read(arguments, aggregator, day, accepted)
        key = key_of(arguments)
        account = account_of(arguments, place, key)
        _check_metering(settlement, account.address)
        accounts, silent = still_to_settle(aggregator, settlement, number, energies)
        if silent:
            print(f"gridpact: round {number} lacks the readings of nodes {', '.join(map(str, silent))}")
        if not accounts:
            print(f"gridpact: all {len(energies)} readings of {day} are settled already")
            return 0
        if "unrecorded" not in accepted:
            check_recorded(settlement, number, day)
        comes_to, left_out = to_settle(settlement, number, {node: energies[node] for node in accounts}, accounts)
        for node, why in sorted(left_out.items()):
            print(f"gridpact: the reading of node {node} is left out, as {why}")
            del accounts[node]
        settlement = Settlement.of(place.record, place.web3, account)
        signed = [settlement.sign_reading(key, number, node, energies[node]) for node in accounts]
        calls = settlement.delivery_calls(signed)
        planned = [
            planned_call(account, f"settle node {node}", call) for node, call in zip(accounts, calls, strict=True)
        ]
        print(_table(comes_to, settlement.token))
        _doubt(comes_to, aggregator, number, accepted)
        question = f"Settle {len(signed)} readings of {day} on {place.profile.name}?"
        if not _to_send(account, planned, arguments, place.profile, "settling the readings", question):
            return 1 if left_out else 0
        settlement.deliver_readings(signed)
        done = [one for one in settled(settlement, number) if one.delivery.node in accounts]
        if done != comes_to:  # trades or deposits moved in between
            print(_table(done, settlement.token))
        print(f"gridpact: the readings of {count(len(done), 'household')} in round {number} of {day} are settled")
    return 1 if left_out else 0


def _to_send(
    account: ChainAccount,
    planned: Sequence[PlannedCall],
    arguments: argparse.Namespace,
    profile: ChainProfile,
    purpose: str,
    question: str,
) -> bool:
    """Shows the price and asks, as `send`; where all is only tried, it says that nothing was sent."""
    if arguments.dry_run:
        priced(account, planned, arguments, profile)
        print("gridpact: nothing was sent")
        return False
    send(account, planned, arguments, profile, purpose, question)
    return True


def _check_metering(settlement: Settlement, address: str) -> None:
    if settlement.metering() != address:
        raise InputError(
            f"The metering account is {settlement.metering()}, the key given is of {address}: give the metering"
            " account's."
        )


def _vouch(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.metering import round_of
    from gridpact.manage.vouching import to_vouch, vouch_calls

    day = date_of(arguments.day)
    with place_of(arguments) as place:
        assert place.record is not None
        aggregator = Aggregator.of(place.record, place.web3)
        number = round_of(aggregator, day, arguments.round)
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        _check_metering(settlement, account.address)
        pads = _shown(arguments.shown, aggregator, number)
        plan = None if arguments.plan is None else _plan(arguments.plan, number)
        pairs = to_vouch(aggregator, settlement, number, pads, plan)
        if not pairs:
            print(f"gridpact: all trades of {day} that somebody states are recorded, or not agreed on")
            return 0
        for pair in pairs:
            one, other = sorted((pair.lower, pair.higher), key=lambda node: node not in pair.states)
            stated = "otherwise" if other in pair.states else "nothing"
            sold = sum(energy for _, energy, _ in pair.trades if energy > 0) / 1000
            bought = sum(-energy for _, energy, _ in pair.trades if energy < 0) / 1000
            print(
                f"  nodes {pair.lower} and {pair.higher} agreed on {sold:,.3f} kWh from {pair.lower} and {bought:,.3f}"
                f" kWh from {pair.higher}: node {one} states trades, node {other} {stated}"
            )
        calls = [
            settlement.vouch_call(call.round, call.lower, call.statements, call.openings)
            for call in vouch_calls(aggregator, number, pairs, pads)
        ]
        planned = [planned_call(account, f"vouch {k + 1} of {len(calls)}", call) for k, call in enumerate(calls)]
        question = f"Record {count(len(pairs), 'pair')} of {day} on {place.profile.name} as agreed?"
        if not _to_send(account, planned, arguments, place.profile, "vouching for trades", question):
            return 0
        settlement.send_all(calls)
        print(f"gridpact: the trades of {count(len(pairs), 'pair')} in round {number} of {day} are recorded as agreed")
    return 0


def _shown(files: Sequence[Path], aggregator: Aggregator, number: int) -> dict[tuple[int, int], Pads]:
    """What opens the bids of pairs of a sealed round."""
    from gridpact.manage.vouching import Shown

    every = [Shown.read(path) for path in files]
    if others := [one for one in every if one.round != number]:
        raise InputError(f"what node {others[0].node} shows is of round {others[0].round}, not of round {number}")
    return {one.pair: one.pads(aggregator) for one in every}


def _plan(file: Path, number: int) -> OpenedPlan:
    """What the operator's node has opened of a sealed round."""
    from gridpact.node.opened_plan import OpenedPlan

    plan = OpenedPlan.read(file)
    if plan.round != number:
        raise InputError(f"'{file}' opens the plan of round {plan.round}, not of round {number}")
    return plan


def _correct(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.metering import comes_to, settled, to_correct

    accepted, day = doubts("--accept", arguments.accept), date_of(arguments.day)
    with place_of(arguments) as place:
        assert place.record is not None
        aggregator = Aggregator.of(place.record, place.web3)
        number, energies = _read(arguments, aggregator, day, accepted)
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        readings = to_correct(aggregator, settlement, number, energies, account.address)
        if not readings:
            print(f"gridpact: all these readings of {day} are settled as they are in the file")
            return 0
        others = [one for one in settled(settlement, number) if one.delivery.node in readings]
        becomes = comes_to(settlement, number, readings)
        print(f"as settled\n{_table(others, settlement.token)}\nas corrected\n{_table(becomes, settlement.token)}")
        _doubt(becomes, aggregator, number, accepted)
        planned = [
            planned_call(account, f"correct node {node}", settlement.correction_call(number, node, reading))
            for node, reading in readings.items()
        ]
        question = f"Correct {count(len(readings), 'reading')} of {day} on {place.profile.name}?"
        if not _to_send(account, planned, arguments, place.profile, "correcting the readings", question):
            return 0
        for node, reading in readings.items():
            settlement.correct(number, node, reading)
        done = settlement.deliveries(number)
        for node, reading in readings.items():
            if done[node].energies_wh == tuple(reading):
                print(f"gridpact: the reading of node {node} in round {number} of {day} is corrected")
            else:
                other = "household" if account.address == settlement.supplier() else "supplier"
                print(f"gridpact: the correction of node {node} counts once its {other} has sent the same")
    return 0


def _read(
    arguments: argparse.Namespace, aggregator: Aggregator, day: date, accepted: frozenset[str]
) -> tuple[int, dict[int, list[int]]]:
    """The round of a day, and the readings in the file, Wh by node."""
    from gridpact.manage.meter_table import UNITS, read_meters
    from gridpact.manage.metering import round_of

    unit = choice("unit", arguments.unit, {unit: unit for unit in UNITS})
    delivered = _delivered(arguments, aggregator, day)
    number = round_of(aggregator, day, arguments.round)
    order, mark = date_order(arguments), decimal_mark(arguments)
    return number, read_meters(arguments.file, delivered, unit, are_ends(arguments), accepted, order, mark)


def _doubt(rows: Sequence[Settled], aggregator: Aggregator, number: int, accepted: frozenset[str]) -> None:
    """
    Raises:
        InputError: readings contradict trades or plans.
    """
    from gridpact.manage.metering import check_plan, check_signs, planned_wh

    if "sign" not in accepted:
        check_signs(rows)
    try:
        plans = planned_wh(aggregator, number)
    except ChainError as error:
        print(f"gridpact: the readings are not compared with the plan, which cannot be read: {error}")
    else:
        check_plan({row.delivery.node: row.delivery.energies_wh for row in rows}, plans, accepted)


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
    from gridpact.manage.meter_table import MeterDay

    zone = time_zone(arguments.timezone) if arguments.timezone else None
    setting = aggregator.setting()
    meter_day = MeterDay(day, setting.steps, setting.step_seconds, zone)
    if meter_day.end > datetime.now(timezone.utc):
        raise InputError(
            f"The day {day} is not over before {meter_day.end:%Y-%m-%d %H:%M %z}: settle its readings then, as nobody"
            " alone can change them."
        )
    return meter_day


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
