"""`gridpact round`: opening a round, and where it stands."""

from __future__ import annotations

import argparse
import json
from datetime import datetime, timezone
from typing import TYPE_CHECKING

from gridpact.chain.values import WHOLE, Phase, Progress
from gridpact.cli.delivery import add_day
from gridpact.cli.manager import (
    Deployment,
    account_of,
    add_price,
    add_record,
    add_sender,
    check_supplier,
    date_of,
    eth_price_of,
    place_of,
    positive,
    send,
)
from gridpact.cli.options import Commands, Joined, doubts
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.settlement import Settlement


def add(commands: Commands) -> None:
    command = commands.add_parser("round", help="open a round, or see where the newest one stands")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    opening = actions.add_parser("open", help="open the round of a day")
    opening.add_argument("--day", required=True, metavar="YYYY-MM-DD", help="the day that is planned")
    opening.add_argument(
        "--again",
        action="store_true",
        help="agree a day anew that was agreed already: what was agreed counts no longer; not once it is being settled",
    )
    opening.add_argument(
        "--from",
        dest="first",
        type=int,
        default=0,
        metavar="STEP",
        help="about the rest of a day that runs, from this step on (`gridpact round day` has opened it)",
    )
    add_record(opening)
    add_sender(opening)
    opening.set_defaults(command=_open)
    add_day(actions)
    tariff = actions.add_parser(
        "tariff",
        help="publish the supplier's prices of the next round, or of the open one, before the first node declares",
    )
    tariff.add_argument(
        "--community", required=True, metavar="NAME|FILE", help="whose prices of import and feed-in are published"
    )
    tariff.add_argument("--day", metavar="D", help="a day of the community; default its first")
    tariff.add_argument("--name", metavar="NAME", help="of [tariff.NAME], of another supplier than the community's")
    tariff.add_argument(
        "--deposit", type=positive, metavar="N", help="deposit N of the token, too, to pay feed-in with"
    )
    tariff.add_argument(
        "--accept",
        action=Joined,
        metavar="crossing",
        help="feed-in that pays more than another supplier's energy costs",
    )
    add_record(tariff)
    add_sender(tariff)
    tariff.set_defaults(command=_tariff)
    status = actions.add_parser("status", help="where the newest round stands")
    status.add_argument("--round", type=int, metavar="N", help="another one")
    status.add_argument("--json", action="store_true", help="as a line of JSON")
    add_record(status)
    add_price(status)
    status.set_defaults(command=_status)


def _agreed_before(aggregator: Aggregator, settlement: Settlement, day: int, again: bool) -> int:
    """The round in which a day was agreed already, to be replaced; 0 where there is none.

    Raises:
        InputError: it is not to be replaced, or cannot be.
    """
    agreed = aggregator.agreed_in(day)
    if not agreed:
        return 0
    if not again:
        raise InputError(
            f"{_written(day)} was agreed on in round {agreed}: open it with --again if it is to be agreed anew, after"
            " which what was agreed counts no longer."
        )
    if settlement.settled_in(day):
        raise InputError(
            f"{_written(day)} is being settled by round {settlement.settled_in(day)}, and no other round would be paid:"
            " it can no longer be replaced."
        )
    return agreed


def _written(day: int) -> str:
    """A label, yyyymmdd, as a date."""
    return f"{day // 10_000:04}-{day // 100 % 100:02}-{day % 100:02}"


def _open(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.cli.enrol import check_manager

    day = int(date_of(arguments.day).strftime("%Y%m%d"))  # as the contract labels rounds
    with place_of(arguments) as place:
        assert place.record is not None
        reader = Aggregator.of(place.record, place.web3)
        progress = reader.progress()
        if progress.phase.is_running:
            raise InputError(
                f"Round {progress.round} is still running (day {reader.day_of(progress.round)}, iteration"
                f" {progress.iteration}): wait for its end, `gridpact watch` shows it."
            )
        percent = WHOLE
        if arguments.first:
            day, percent = _rest(place, day, arguments.first)
        replaced = _agreed_before(reader, Settlement.of(place.record, place.web3), day, arguments.again)
        if not reader.enrolled():
            raise InputError("Nobody is enrolled yet: enrol the accounts of the nodes first (`gridpact enrol`).")
        account = account_of(arguments, place)
        check_manager(reader, account)
        aggregator = Aggregator.of(place.record, place.web3, account)
        planned = [planned_call(account, "open the round", aggregator.opening(day, replaced, percent))]
        send(account, planned, arguments, place.profile, "opening the round", f"Open the round of {arguments.day}?")
        number = aggregator.open_round(day, replaced, percent)
        deadline = datetime.fromtimestamp(aggregator.progress().deadline, timezone.utc)
        print(
            f"gridpact: round {number} of {arguments.day} is open for {len(reader.enrolled())} nodes; they declare"
            f" until {deadline:%Y-%m-%d %H:%M:%S} UTC"
        )
    return 0


def _rest(place: Deployment, day: int, first: int) -> tuple[int, int]:
    """The label of a round about the rest of a day, and within how many percent of the limits it ends.

    Raises:
        InputError: the day is not open, or the step's gate is closed.
    """
    from gridpact.chain.contract import chain_time
    from gridpact.chain.day import DaySettlement
    from gridpact.market.admm.parameters import percent_of_limits

    assert place.record is not None
    ledger = DaySettlement.of(place.record, place.web3)
    if not ledger.standing(day).index:
        raise InputError(f"{_written(day)} was not opened: the supplier opens it (`gridpact round day`).")
    if not 0 < first < ledger.steps:
        raise InputError(f"--from {first}: the rest of a day begins at a step from 1 to {ledger.steps - 1}")
    if (gate := ledger.gate_of(day, first)) <= chain_time(place.web3):
        closed = datetime.fromtimestamp(gate, timezone.utc)
        raise InputError(f"--from {first}: its gate closed at {closed:%Y-%m-%d %H:%M:%S} UTC; take a later step")
    return ledger.label_of(day, first), percent_of_limits(ledger.steps, ledger.steps - first)


def _tariff(arguments: argparse.Namespace) -> int:
    """The contract takes it before the first node declares: best before the round is opened."""
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.cli.deposit import planned_deposit, token_units
    from gridpact.community.read import read_community
    from gridpact.manage.tariffs import check_beside
    from gridpact.run.staging import tariff_with_fees

    accepted = doubts("--accept", arguments.accept)
    community = read_community(arguments.community)
    day = arguments.day or community.days[0]
    prices, hours = community.suppliers.prices(day, arguments.name), community.on(day).step_hours
    with place_of(arguments) as place:
        assert place.record is not None
        reader = Aggregator.of(place.record, place.web3)
        steps = reader.setting().steps
        if len(prices.import_price) != steps:
            raise InputError(
                f"The community has prices for {len(prices.import_price)} steps, the contracts are for {steps}: give a"
                " community with their horizon."
            )
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        check_supplier(settlement, place.record.supplier, account.address, arguments.name)
        number, tariff = _round_without_declarations(reader.progress()), tariff_with_fees(prices, hours)
        if arguments.deposit is None and settlement.published_tariff(number, account.address) == tariff:
            print(f"gridpact: the tariff of round {number} was published before, the same for {steps} steps")
            return 0
        if "crossing" not in accepted:
            published = settlement.tariffs(number)
            check_beside(tariff, {who: one for who, one in published.items() if who != account.address})
        planned = [planned_call(account, "publish the tariff", settlement.call("publishTariff", number, tariff))]
        units = 0
        if arguments.deposit is not None:
            units = token_units(settlement, arguments.deposit)
            planned.append(planned_deposit(settlement, account.address, units))
        send(
            account,
            planned,
            arguments,
            place.profile,
            "publishing the tariff",
            f"Publish the tariff of round {number}?",
        )
        settlement.publish_tariff(number, tariff)
        if units:
            settlement.deposit(units)
        print(f"gridpact: the tariff of round {number} is published for {steps} steps")
    return 0


def _round_without_declarations(progress: Progress) -> int:
    """The open round, as long as nobody has declared; else the next one, which its tariff may precede."""
    fresh = progress.phase is Phase.DECLARING and not progress.present
    return progress.round if fresh else progress.round + 1


def _status(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.manage.watching import Watcher, as_json, as_text

    with place_of(arguments) as place:
        assert place.record is not None
        watcher = Watcher(Aggregator.of(place.record, place.web3), eth_price_of(arguments, place.profile))
        state = watcher.look(arguments.round)
        if arguments.json:
            print(json.dumps(as_json(state)))
        else:
            print(as_text(state, place.profile.name))
    return 0
