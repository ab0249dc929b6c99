"""`gridpact supply`: who supplies whom, where a community has several suppliers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gridpact.cli.manager import account_of, add_record, add_sender, place_of, send
from gridpact.cli.options import Commands
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.settlement import Settlement


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "supply", help="who supplies whom: metering admits suppliers, households ask for them, and they accept"
    )
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    admitting = actions.add_parser("admit", help="let an account supply others; needs the metering account's key")
    admitting.add_argument("address", metavar="0x...", help="the supplier's account")
    admitting.set_defaults(command=_admit)
    asking = actions.add_parser("ask", help="ask to be a supplier's customer; needs the household's key")
    asking.add_argument("address", metavar="0x...", help="the supplier's account")
    asking.set_defaults(command=_ask)
    accepting = actions.add_parser("accept", help="accept customers who ask; needs the supplier's key")
    accepting.add_argument("addresses", nargs="*", metavar="0x...", help="their accounts; default all who ask")
    accepting.set_defaults(command=_accept)
    showing = actions.add_parser("show", help="whose customers the enrolled households are in the next round")
    showing.set_defaults(command=_show)
    for action in (admitting, asking, accepting):
        add_sender(action)
    for action in (admitting, asking, accepting, showing):
        add_record(action)


def _admit(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account, address = account_of(arguments, place), str(checked_address(arguments.address))
        settlement = Settlement.of(place.record, place.web3, account)
        if settlement.metering() != account.address:
            raise InputError(
                f"The metering account is {settlement.metering()}, the key given is of {account.address}: only metering"
                " admits suppliers."
            )
        if settlement.supplies(address):
            print(f"gridpact: {address} may supply others already")
            return 0
        planned = [planned_call(account, "admit", settlement.call("admitSupplier", address))]
        send(account, planned, arguments, place.profile, "admitting", f"Let {address} supply others?")
        settlement.admit_supplier(address)
        print(f"gridpact: {address} may supply others")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account, address = account_of(arguments, place), str(checked_address(arguments.address))
        settlement = Settlement.of(place.record, place.web3, account)
        _require_supplier(settlement, address)
        planned = [planned_call(account, "ask", settlement.call("wishSupplier", address))]
        send(account, planned, arguments, place.profile, "asking", f"Ask to be a customer of {address}?")
        settlement.wish_supplier(address)
        print(f"gridpact: {account.address} asks to be a customer of {address}, who accepts (`gridpact supply accept`)")
    return 0


def _accept(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.contract import checked_address
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        _require_supplier(settlement, account.address)
        following = Aggregator.of(place.record, place.web3).progress().round + 1
        asking = [
            who
            for who, whom in settlement.wishes().items()
            if whom == account.address and settlement.supplier_in(following, who) != account.address
        ]
        chosen = [str(checked_address(address)) for address in arguments.addresses] or asking
        for address in chosen:
            if address not in asking:
                raise InputError(f"{address} does not ask to be a customer of {account.address}: let it ask first.")
        if not chosen:
            raise InputError(f"Nobody asks to be a customer of {account.address}: let them (`gridpact supply ask`).")
        planned = [planned_call(account, f"accept {who}", settlement.call("supply", who)) for who in chosen]
        question = f"Accept {len(chosen)} customers from round {following} on?"
        send(account, planned, arguments, place.profile, "accepting", question)
        for who in chosen:
            settlement.supply(who)
            print(f"gridpact: {who} is a customer of {account.address} from round {following} on")
    return 0


def _require_supplier(settlement: Settlement, address: str) -> None:
    """
    Raises:
        InputError: it may not supply others.
    """
    if not settlement.supplies(address):
        raise InputError(f"{address} may not supply others: metering admits it first (`gridpact supply admit`).")


def _show(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.settlement import Settlement
    from gridpact.community.model import GRID_CONNECTION

    with place_of(arguments) as place:
        assert place.record is not None
        aggregator, settlement = Aggregator.of(place.record, place.web3), Settlement.of(place.record, place.web3)
        following, common = aggregator.progress().round + 1, settlement.supplier()
        for node in sorted(aggregator.enrolled() - {GRID_CONNECTION}):
            address = str(aggregator.account_of(node))
            supplier = settlement.supplier_in(following, address)
            whose = "the community's supplier" if supplier == common else f"the supplier {supplier}"
            print(f"gridpact: node {node} ({address}) is a customer of {whose} from round {following} on")
    return 0
