"""`gridpact expel`: the end of nodes' enrolment."""

from __future__ import annotations

import argparse

from gridpact.cli.enrol import check_manager
from gridpact.cli.manager import account_of, add_record, add_sender, place_of, send
from gridpact.cli.options import Commands
from gridpact.errors import InputError


def add(commands: Commands) -> None:
    command = commands.add_parser("expel", help="end the enrolment of nodes; what they have deposited stays theirs")
    command.add_argument("nodes", type=int, nargs="+", metavar="NODE", help="node numbers")
    add_record(command)
    add_sender(command)
    command.set_defaults(command=_expel)


def _expel(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.estimate import planned_call

    nodes = sorted(set(arguments.nodes))
    with place_of(arguments) as place:
        assert place.record is not None
        reader = Aggregator.of(place.record, place.web3)
        enrolled = reader.enrolled()
        for node in nodes:
            if node not in enrolled:
                raise InputError(f"Node {node} is not enrolled: the enrolled ones are {_listed(enrolled)}.")
        account = account_of(arguments, place)
        check_manager(reader, account)
        aggregator = Aggregator.of(place.record, place.web3, account)
        planned = [planned_call(account, f"expel {len(nodes)} nodes", aggregator.call("expel", nodes))]
        send(
            account, planned, arguments, place.profile, "expelling", f"Expel {_listed(nodes)} on {place.profile.name}?"
        )
        aggregator.expel(nodes)
        print(f"gridpact: expelled {_listed(nodes)}; {len(reader.enrolled())} nodes are enrolled")
    return 0


def _listed(nodes: list[int] | frozenset[int]) -> str:
    return ", ".join(map(str, sorted(nodes))) or "none"
