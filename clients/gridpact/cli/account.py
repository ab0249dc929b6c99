"""`gridpact account`: what a household has, traded, paid and still waits for."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from gridpact.cli.options import Commands, add_chain, chain_at, check_file
from gridpact.errors import InputError
from gridpact.files import write_atomically


def add(commands: Commands) -> None:
    command = commands.add_parser("account", help="what a household has, traded, paid and still waits for")
    add_chain(command, "--network")
    who = command.add_mutually_exclusive_group(required=True)
    who.add_argument("--key", "--key-file", dest="key", type=Path, metavar="FILE", help="the household's private key")
    who.add_argument("--address", metavar="0x...", help="or its address: everything is public")
    command.add_argument("--rounds", type=int, default=10, metavar="N", help="look at the newest N; default 10")
    command.add_argument("--json", type=Path, metavar="FILE", help="write it to a file, too")
    command.set_defaults(command=_account)


def _account(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.contract import chain_time, checked_address
    from gridpact.chain.keys import address_of
    from gridpact.chain.record import Record
    from gridpact.chain.settlement import Settlement
    from gridpact.outcome.account import account_json, account_table, read_account
    from gridpact.run.launch import read_key

    if arguments.rounds < 1:
        raise InputError(f"--rounds needs a positive number, not {arguments.rounds}")
    if arguments.json is not None:
        check_file(arguments.json, "the account")
    record = Record.read(arguments.contracts)
    address = checked_address(arguments.address) if arguments.address else address_of(read_key(arguments.key))
    with chain_at(arguments.rpc) as network:
        web3 = network.connect()
        aggregator, settlement = Aggregator.of(record, web3), Settlement.of(record, web3)
        account = read_account(aggregator, settlement, address, arguments.rounds)
        print(account_table(account, chain_time(web3)))
    if arguments.json is not None:
        write_atomically(arguments.json, json.dumps(account_json(account), indent=1) + "\n")
    return 0
