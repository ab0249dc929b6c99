"""`gridpact aggregator`: who bundles homes for the markets, and what the feeder makes of it."""

from __future__ import annotations

from gridpact.cli import aggregator_offer, aggregator_plan, aggregator_risk, vtn
from gridpact.cli.options import Commands


def add(commands: Commands) -> None:
    command = commands.add_parser("aggregator", help="bundle homes for the markets within what their feeder allows")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    for action in (aggregator_plan, aggregator_risk, aggregator_offer, vtn):
        action.add(actions)
