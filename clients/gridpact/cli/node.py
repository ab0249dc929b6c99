"""`gridpact node`: one household as a process of its own."""

from __future__ import annotations

import argparse
from pathlib import Path

from gridpact.cli.options import Commands, add_chain, chain_at


def add(commands: Commands) -> None:
    command = commands.add_parser("node", help="one household as a process of its own, for one round")
    add_chain(command)
    command.add_argument("--household", type=Path, required=True, metavar="FILE", help="the household's own file")
    command.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="the household's private key")
    command.add_argument("--relay", metavar="URL", help="address of a relay, to leave signed submissions at")
    command.add_argument(
        "--out",
        type=Path,
        default=Path("report.json"),
        metavar="FILE",
        help="where to write the agreed schedule and trades; default report.json",
    )
    command.set_defaults(command=_node)


def _node(arguments: argparse.Namespace) -> int:
    from gridpact.launch import run_node

    with chain_at(arguments.rpc) as network:
        run_node(arguments.contracts, arguments.household, arguments.key_file, arguments.out, network, arguments.relay)
    print(f"gridpact: the round is over; schedule and trades are in {arguments.out}")
    return 0
