"""`gridpact deposit`: an account's money in the settlement contract."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gridpact.cli.manager import add_record, add_sender, at_settlement, positive, send
from gridpact.cli.options import Commands
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.estimate import PlannedCall
    from gridpact.chain.settlement import Settlement

DEPOSIT_GAS = 150_000
"""Of approving and depositing."""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "deposit", help="put tokens into the settlement contract, take them out, limit or forgive what is owed"
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
    limiting = actions.add_parser("limit", help="the most that a delivery may take from the account, from now on")
    limiting.add_argument("amount", type=float, metavar="N", help="how much; 0: there is no limit")
    limiting.set_defaults(command=_limit)
    forgiving = actions.add_parser("forgive", help="end what an account owes the supplier, whose account this needs")
    forgiving.add_argument("amount", type=positive, metavar="N", help="how much of it, at most")
    whose = forgiving.add_mutually_exclusive_group(required=True)
    whose.add_argument("--node", type=int, metavar="N", help="of the household that is enrolled as this node")
    whose.add_argument("--address", metavar="0x...", help="of this account")
    forgiving.set_defaults(command=_forgive)
    for action in (adding, withdrawing, releasing, limiting, forgiving):
        add_record(action)
        add_sender(action)


def token_units(settlement: Settlement, amount: float) -> int:
    """An amount of currency in token units."""
    return round(amount * 10.0 ** settlement.token.decimals())


def planned_deposit(settlement: Settlement, address: str, units: int) -> PlannedCall:
    """What a deposit costs.

    Raises:
        InputError: the account does not hold so many tokens; it says how many are missing.
    """
    from gridpact.chain.estimate import PlannedCall

    token = settlement.token
    held = token.balance(address)
    if held < units:
        unit, symbol = 10.0 ** token.decimals(), token.symbol()
        raise InputError(
            f"Account {address} holds {held / unit:g} {symbol} and is to deposit {units / unit:g}: send it"
            f" {(units - held) / unit:g} {symbol} more (`gridpact enrol --test-tokens` mints test tokens)."
        )
    return PlannedCall("deposit", DEPOSIT_GAS, 2 * 68)


def _add(arguments: argparse.Namespace) -> int:
    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        units = token_units(settlement, arguments.amount)
        question = f"Deposit {arguments.amount:g} {settlement.token.symbol()}?"
        send(
            account,
            [planned_deposit(settlement, account.address, units)],
            arguments,
            at.place.profile,
            "the deposit",
            question,
        )
        settlement.deposit(units)
        _tell(settlement, account.address)
    return 0


def _withdraw(arguments: argparse.Namespace) -> int:
    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        units, free = token_units(settlement, arguments.amount), settlement.free(account.address)
        symbol = settlement.token.symbol()
        if units > free:
            raise InputError(
                f"Account {account.address} has {free / 10.0 ** settlement.token.decimals():g} {symbol} free in the"
                f" settlement contract, less than {arguments.amount:g}: withdraw no more than that."
            )
        calls = {"withdraw": settlement.call("withdraw", units)}
        at.confirm("withdrawing", f"Withdraw {arguments.amount:g} {symbol}?", calls)
        settlement.withdraw(units)
        _tell(settlement, account.address)
    return 0


def _release(arguments: argparse.Namespace) -> int:
    """All locks of the account in a round whose time is up."""
    from gridpact.chain.contract import chain_time

    number = arguments.round
    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        node = at.aggregator.node_in(number, account.address)
        locks = [own for own, _ in settlement.unrecorded(number, node) if own.locked]
        if not locks:
            raise InputError(f"Nothing of node {node} is locked in round {number}: there is nothing to release.")
        if (left := max(own.deadline for own in locks) - chain_time(at.place.web3)) >= 0:
            raise InputError(f"The partners of node {node} may still state their trades: release in {left + 1} s.")
        calls = {f"release from {own.partner}": settlement.call("release", number, own.partner) for own in locks}
        at.confirm("releasing", f"Release what node {node} has locked in round {number}?", calls)
        for own in locks:
            settlement.release(number, own.partner)
        _tell(settlement, account.address)
    return 0


def _limit(arguments: argparse.Namespace) -> int:
    """Of the account, in rounds that are opened later."""
    from gridpact.service.settings import MOST_CURRENCY

    if not 0 <= arguments.amount < MOST_CURRENCY:
        raise InputError(f"a limit is a number of at least 0, not {arguments.amount:g}; 0 lifts it")
    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        units, symbol = token_units(settlement, arguments.amount), settlement.token.symbol()
        if arguments.amount and not units:
            raise InputError(f"{arguments.amount:g} {symbol} is less than the smallest part of the token: give more")
        calls = {"limit": settlement.call("limitDebit", units)}
        words = f"at most {arguments.amount:g} {symbol}" if units else "without a limit"
        at.confirm("limiting", f"Let a delivery take {words}?", calls)
        settlement.limit_debit(units)
        now = at.aggregator.progress().round
        first = next(round_ for round_ in (now, now + 1) if settlement.debit_limit(account.address, round_) == units)
        print(f"gridpact: from round {first} on a delivery is taken from account {account.address} {words}")
    return 0


def _forgive(arguments: argparse.Namespace) -> int:
    from gridpact.chain.contract import checked_address

    with at_settlement(arguments) as at:
        account, settlement = at.account, at.settlement
        if arguments.address is not None:
            owing = str(checked_address(arguments.address))
        else:
            if arguments.node not in at.aggregator.enrolled():
                raise InputError(f"Node {arguments.node} is not enrolled: give the account that owes with --address.")
            owing = str(at.aggregator.account_of(arguments.node))
        unit, symbol = 10.0 ** settlement.token.decimals(), settlement.token.symbol()
        debts = settlement.debts(owing)
        if account.address not in debts and account.address != settlement.supplier():
            creditors = ", ".join(debts) or settlement.supplier()
            raise InputError(
                f"The supplier is {creditors}, the key given is of {account.address}: only the supplier, to whom they"
                " are owed, forgives arrears."
            )
        if not (owed := debts.get(account.address, 0)):
            whom = f"{account.address} " if debts else ""
            raise InputError(f"Account {owing} owes {whom}nothing: there is nothing to forgive.")
        units = owed if arguments.amount * unit >= owed else round(arguments.amount * unit)
        calls = {"forgive": settlement.call("forgive", owing, units)}
        question = f"Forgive {units / unit:g} of the {owed / unit:g} {symbol} that {owing} owes?"
        at.confirm("forgiving", question, calls)
        settlement.forgive(owing, units)
        print(f"gridpact: account {owing} owes {settlement.arrears(owing) / unit:,.4f} {symbol}")
    return 0


def _tell(settlement: Settlement, address: str) -> None:
    balance, unit = settlement.balance(address), 10.0 ** settlement.token.decimals()
    print(
        f"gridpact: account {address} has {balance.free / unit:,.4f} {settlement.token.symbol()} free in the settlement"
        f" contract, {balance.locked / unit:,.4f} locked, and {balance.outside / unit:,.4f} outside of it"
    )
