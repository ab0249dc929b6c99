"""`gridpact deposit`: an account's money in the settlement contract."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gridpact.cli.manager import account_of, add_record, add_sender, place_of, positive, send
from gridpact.cli.options import Commands
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.estimate import Planned
    from gridpact.chain.settlement import Settlement

DEPOSIT_GAS = 150_000
"""Of approving and depositing."""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "deposit", help="put tokens into the settlement contract, take them out, or free what a partner left locked"
    )
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    adding = actions.add_parser("add", help="deposit tokens of the account")
    adding.add_argument("amount", type=positive, metavar="N", help="how many")
    adding.set_defaults(command=_add)
    withdrawing = actions.add_parser("withdraw", help="move free deposit back to the account")
    withdrawing.add_argument("amount", type=positive, metavar="N", help="how much")
    withdrawing.set_defaults(command=_withdraw)
    releasing = actions.add_parser("release", help="free what is locked for trades that a partner did not state alike")
    releasing.add_argument("--round", type=int, required=True, metavar="N", help="of which round")
    releasing.set_defaults(command=_release)
    for action in (adding, withdrawing, releasing):
        add_record(action)
        add_sender(action)


def token_units(settlement: Settlement, amount: float) -> int:
    """An amount of currency in token units."""
    return round(amount * 10.0 ** settlement.token.decimals())


def planned_deposit(settlement: Settlement, address: str, units: int) -> Planned:
    """What a deposit costs.

    Raises:
        InputError: the account does not hold so many tokens; it says how many are missing.
    """
    from gridpact.chain.estimate import Planned

    token = settlement.token
    held = token.balance(address)
    if held < units:
        unit, symbol = 10.0 ** token.decimals(), token.symbol()
        raise InputError(
            f"Account {address} holds {held / unit:g} {symbol} and is to deposit {units / unit:g}: send it"
            f" {(units - held) / unit:g} {symbol} more (`gridpact enrol --test-tokens` mints test tokens)."
        )
    return Planned("deposit", DEPOSIT_GAS, 2 * 68)


def _add(arguments: argparse.Namespace) -> int:
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        units = token_units(settlement, arguments.amount)
        planned = [planned_deposit(settlement, account.address, units)]
        send(
            account,
            planned,
            arguments,
            place.profile,
            "the deposit",
            f"Deposit {arguments.amount:g} {settlement.token.symbol()}?",
        )
        settlement.deposit(units)
        _tell(settlement, account.address)
    return 0


def _withdraw(arguments: argparse.Namespace) -> int:
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement

    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        units, free = token_units(settlement, arguments.amount), settlement.free(account.address)
        symbol = settlement.token.symbol()
        if units > free:
            raise InputError(
                f"Account {account.address} has {free / 10.0 ** settlement.token.decimals():g} {symbol} free in the"
                f" settlement contract, less than {arguments.amount:g}: withdraw no more than that."
            )
        planned = [planned_call(account, "withdraw", settlement.call("withdraw", units))]
        send(account, planned, arguments, place.profile, "withdrawing", f"Withdraw {arguments.amount:g} {symbol}?")
        settlement.withdraw(units)
        _tell(settlement, account.address)
    return 0


def _release(arguments: argparse.Namespace) -> int:
    """All locks of the account in a round whose time is up."""
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.contract import chain_time
    from gridpact.chain.estimate import planned_call
    from gridpact.chain.settlement import Settlement

    number = arguments.round
    with place_of(arguments) as place:
        assert place.record is not None
        account = account_of(arguments, place)
        settlement = Settlement.of(place.record, place.web3, account)
        node = Aggregator.of(place.record, place.web3).node_in(number, account.address)
        locks = [own for own, _ in settlement.unrecorded(number, node) if own.locked]
        if not locks:
            raise InputError(f"Nothing of node {node} is locked in round {number}: there is nothing to release.")
        if (left := max(own.deadline for own in locks) - chain_time(place.web3)) >= 0:
            raise InputError(f"The partners of node {node} may still state their trades: release in {left + 1} s.")
        planned = [
            planned_call(account, f"release from {own.partner}", settlement.call("release", number, own.partner))
            for own in locks
        ]
        send(
            account,
            planned,
            arguments,
            place.profile,
            "releasing",
            f"Release what node {node} has locked in round {number}?",
        )
        for own in locks:
            settlement.release(number, own.partner)
        _tell(settlement, account.address)
    return 0


def _tell(settlement: Settlement, address: str) -> None:
    balance, unit = settlement.balance(address), 10.0 ** settlement.token.decimals()
    print(
        f"gridpact: account {address} has {balance.free / unit:,.4f} {settlement.token.symbol()} free in the settlement"
        f" contract, {balance.locked / unit:,.4f} locked, and {balance.outside / unit:,.4f} outside of it"
    )
