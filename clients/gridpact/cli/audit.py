"""`gridpact audit`: a round checked from the chain alone."""

from __future__ import annotations

import argparse

from gridpact.cli.options import Commands, add_chain, chain_at
from gridpact.errors import InputError


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "audit", help="check a round from the chain alone: sums, residuals, limits of the grid"
    )
    add_chain(command)
    command.add_argument("--round", type=int, metavar="N", help="default the newest")
    command.set_defaults(command=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.node.audit import audit_round

    record = Record.read(arguments.contracts)
    with chain_at(arguments.rpc) as network:
        aggregator = Aggregator.of(record, network.connect())
        newest = aggregator.progress().round
        if newest < 1:
            raise InputError("no round was opened on these contracts yet: there is nothing to check")
        number = newest if arguments.round is None else arguments.round
        if not 1 <= number <= newest:
            raise InputError(f"there is no round {number}: rounds 1 to {newest} were opened")
        audit = audit_round(aggregator, number)
    for problem in (*audit.contract_errors, *audit.false_claims, *audit.plan_errors):
        print(f"gridpact: {problem}")
    verdict = "all as it must be" if audit.clean else "see above"
    print(f"gridpact: round {audit.round}, {audit.iterations} iterations checked from the chain alone: {verdict}")
    return 0 if audit.clean else 1
