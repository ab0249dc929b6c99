"""`gridpact cases`: what is shipped."""

from __future__ import annotations

import argparse

from gridpact.cli.options import Commands
from gridpact.community.read import read_community, shipped_cases

MOST_DAYS = 31
"""More days than this are not listed one by one."""


def add(commands: Commands) -> None:
    command = commands.add_parser("cases", help="the cases that are shipped, and their days")
    command.set_defaults(command=_cases)


def _cases(arguments: argparse.Namespace) -> int:
    for name in shipped_cases():
        community = read_community(name)
        days = community.days
        print(f"{name}: {community.title}")
        listed = ", ".join(days) if len(days) <= MOST_DAYS else f"{len(days):,}, from {days[0]} to {days[-1]}"
        print(f"    days     {listed}")
        print(f"    source   {community.source or 'none given'}")
        print(f"    licence  {community.licence or 'none given'}")
        if community.notes:
            print(f"    notes    {community.notes}")
    return 0
