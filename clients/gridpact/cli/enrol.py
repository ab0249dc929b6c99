"""`gridpact enrol`: the accounts of a community, by node."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.manager import account_of, add_record, add_sender, place_of, positive, send
from gridpact.cli.options import Commands
from gridpact.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridpact.chain.account import ChainAccount, ContractCall
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.chain.settlement import Settlement

MINT_GAS = 60_000


def add(commands: Commands) -> None:
    command = commands.add_parser("enrol", help="enrol accounts as nodes, and give them what they need to begin")
    command.add_argument("accounts", type=Path, metavar="FILE", help="CSV with the columns node and address")
    command.add_argument("--ether", type=positive, metavar="N", help="send each account ether, up to a balance of N")
    command.add_argument(
        "--test-tokens",
        type=positive,
        metavar="N",
        help="mint test tokens, so that each account and the supplier have N, deposits included",
    )
    add_record(command)
    add_sender(command)
    command.set_defaults(command=_enrol)


def _enrol(arguments: argparse.Namespace) -> int:
    from gridpact.chain.account import TRANSFER_GAS
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import PlannedCall, planned_call
    from gridpact.chain.settlement import Settlement
    from gridpact.manage.enrolment import read_accounts, still_to_enrol

    accounts = read_accounts(arguments.accounts)
    with place_of(arguments) as place:
        assert place.record is not None
        reader = Aggregator.of(place.record, place.web3)
        account = account_of(arguments, place)
        check_manager(reader, account)
        missing = still_to_enrol(reader, accounts)
        aggregator = Aggregator.of(place.record, place.web3, account)
        transfers = _transfers(account, accounts, arguments.ether)
        mints = _mints(Settlement.of(place.record, place.web3, account), place.record, accounts, arguments.test_tokens)
        planned = []
        if missing:
            nodes = sorted(missing)
            call = aggregator.call("enrol", nodes, [missing[node] for node in nodes])
            planned.append(planned_call(account, f"enrol {len(missing)} nodes", call))
        if transfers:
            handed = sum(transfers.values())
            planned.append(PlannedCall(f"{len(transfers)} transfers", TRANSFER_GAS * len(transfers), 0, handed))
        if mints:
            planned.append(PlannedCall(f"{len(mints)} mintings", MINT_GAS * len(mints), 68 * len(mints)))
        if not planned:
            print(f"gridpact: all {len(accounts)} accounts are enrolled already, and have what they need")
            return 0
        send(account, planned, arguments, place.profile, "enrolling", f"Send to {place.profile.name}?")
        if missing:
            aggregator.enrol(missing)
        account.settle_all([account.transfer(address, wei) for address, wei in transfers.items()])
        account.settle_all([account.post(call) for call in mints])
        print(
            f"gridpact: {len(missing)} nodes enrolled, {len(accounts) - len(missing)} were so before;"
            f" {len(reader.enrolled())} of {reader.theta().n} places are taken"
        )
    return 0


def check_manager(aggregator: Aggregator, account: ChainAccount) -> None:
    """Raises InputError where the key is not the manager's."""
    owner = aggregator.manager()
    if owner != account.address:
        raise InputError(
            f"The contracts are managed by {owner}, and the key given is of {account.address}: give the manager's."
        )


def _transfers(account: ChainAccount, accounts: Mapping[int, str], ether: float | None) -> dict[str, int]:
    """What each account lacks, wei."""
    from gridpact.chain.contract import checked_address
    from gridpact.chain.reverts import readable

    if ether is None:
        return {}
    wanted = round(ether * 10**18)
    with readable("the balances"):
        lacks = {a: wanted - account.web3.eth.get_balance(checked_address(a)) for a in accounts.values()}
    return {address: wei for address, wei in lacks.items() if wei > 0}


def _mints(
    settlement: Settlement, record: Record, accounts: Mapping[int, str], amount: float | None
) -> list[ContractCall]:
    """What gives each account, and the supplier, the tokens that it lacks."""
    from gridpact.chain.artifacts import TOKEN
    from gridpact.cli.deposit import token_units

    if amount is None:
        return []
    if TOKEN not in record.transactions:
        raise InputError(f"The token {record.token} is no test token of this deployment: nobody here can mint it.")
    wanted, calls = token_units(settlement, amount), []
    for address in dict.fromkeys([*accounts.values(), settlement.supplier()]):
        balance = settlement.balance(address)
        lacks = wanted - balance.free - balance.locked - balance.outside
        if lacks > 0:
            calls.append(settlement.token.call("mint", address, lacks))
    return calls
