"""`gridpact supply`: who supplies whom, where a community has several suppliers."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gridpact.cli.manager import add_record, add_sender, at_settlement, place_of
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
    dismissing = actions.add_parser(
        "dismiss",
        help="end that an account supplies others, from the next round on; needs the manager's or metering's key",
    )
    dismissing.add_argument("address", metavar="0x...", help="the supplier's account")
    dismissing.set_defaults(command=_dismiss)
    dropping = actions.add_parser(
        "drop", help="supply a customer no longer, from the next round on; needs the supplier's key"
    )
    dropping.add_argument("address", metavar="0x...", help="the customer's account")
    dropping.set_defaults(command=_drop)
    showing = actions.add_parser("show", help="whose customers the enrolled households are in the next round")
    showing.set_defaults(command=_show)
    sending = (admitting, asking, accepting, dismissing, dropping)
    for action in sending:
        add_sender(action)
    for action in (*sending, showing):
        add_record(action)


def _admit(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement, address = at.account, at.settlement, str(checked_address(arguments.address))
        if settlement.metering() != account.address:
            raise InputError(
                f"The metering account is {settlement.metering()}, the key given is of {account.address}: only metering"
                " admits suppliers."
            )
        if int(address, 16) == 0:
            raise InputError(f"{address} is nobody's account: give the supplier's.")
        if settlement.supplies(address):
            print(f"gridpact: {address} may supply others already")
            return 0
        calls = {"admit": settlement.call("admitSupplier", address)}
        at.confirm("admitting", f"Let {address} supply others?", calls)
        settlement.admit_supplier(address)
        print(f"gridpact: {address} may supply others")
    return 0


def _ask(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement, address = at.account, at.settlement, str(checked_address(arguments.address))
        _require_supplier(settlement, address)
        if address == account.address:
            raise InputError(f"{address} cannot be its own customer: ask another supplier.")
        calls = {"ask": settlement.call("wishSupplier", address)}
        at.confirm("asking", f"Ask to be a customer of {address}?", calls)
        settlement.wish_supplier(address)
        print(f"gridpact: {account.address} asks to be a customer of {address}, who accepts (`gridpact supply accept`)")
    return 0


def _accept(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        _require_supplier(settlement, account.address)
        following = at.following
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
        calls = {f"accept {who}": settlement.call("supply", who) for who in chosen}
        question = f"Accept {len(chosen)} customers from round {following} on?"
        at.confirm("accepting", question, calls)
        for who in chosen:
            settlement.supply(who)
            print(f"gridpact: {who} is a customer of {account.address} from round {following} on")
    return 0


def _dismiss(arguments: argparse.Namespace) -> int:
    """What was delivered to its customers, and what is owed to it, stays."""
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement, address = at.account, at.settlement, str(checked_address(arguments.address))
        manager, metering, following = at.aggregator.manager(), settlement.metering(), at.following
        if account.address not in (manager, metering):
            raise InputError(
                f"The manager is {manager}, the metering account {metering}, the key given is of {account.address}:"
                " only these two dismiss suppliers."
            )
        if address == settlement.supplier():
            raise InputError(f"{address} is the community's supplier, of all who have no other: name another one.")
        if not settlement.supplies(address):
            print(f"gridpact: {address} supplies nobody from round {following} on")
            return 0
        calls = {"dismiss": settlement.call("dismissSupplier", address)}
        question = f"Let {address} supply nobody from round {following} on?"
        at.confirm("dismissing", question, calls)
        settlement.dismiss_supplier(address)
        print(
            f"gridpact: {address} supplies nobody from round {following} on; its customers are those of the community's"
            " supplier"
        )
    return 0


def _drop(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement, address = at.account, at.settlement, str(checked_address(arguments.address))
        following = at.following
        if account.address == settlement.supplier():
            raise InputError(f"{account.address} is the supplier of all who have no other: it drops nobody.")
        if settlement.supplier_in(following, address) != account.address:
            raise InputError(f"{address} is no customer of {account.address} in round {following}: name one that is.")
        calls = {"drop": settlement.call("dismissCustomer", address)}
        at.confirm("dropping", f"Supply {address} until round {following} only?", calls)
        settlement.dismiss_customer(address)
        print(f"gridpact: {address} is a customer of the community's supplier from round {following} on")
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
        wishes = settlement.wishes()
        for node in sorted(aggregator.enrolled() - {GRID_CONNECTION}):
            address = str(aggregator.account_of(node))
            supplier = settlement.supplier_in(following, address)
            whose = "the community's supplier" if supplier == common else f"the supplier {supplier}"
            wish = wishes.get(address, supplier)
            asks = "" if wish == supplier else f", and asks to be one of {wish}"
            print(f"gridpact: node {node} ({address}) is a customer of {whose} from round {following} on{asks}")
    return 0
