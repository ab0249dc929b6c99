"""`gridpact node`: one household, as a service day after day or, from a household file, for one round."""

from __future__ import annotations

import argparse
from contextlib import ExitStack
from pathlib import Path

from gridpact.cli.options import Commands, add_password, chain_at, check_file
from gridpact.errors import InputError

ONE_ROUND = ("contracts", "household", "key_file", "rpc")
"""What the second form needs."""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "node", help="one household as a process of its own: a service (--config), or for one round (--household)"
    )
    service = command.add_argument_group("as a service")
    service.add_argument("--config", type=Path, metavar="FILE", help="household.toml, see `gridpact household new`")
    service.add_argument("--once", action="store_true", help="take part in one round and end")
    add_password(command)
    one = command.add_argument_group("for one round, with a household file")
    one.add_argument("--contracts", type=Path, metavar="FILE", help="record of the deployment")
    one.add_argument("--rpc", metavar="URL", help="a node of the chain, http:// or ws://")
    one.add_argument("--household", type=Path, metavar="FILE", help="the household's own file")
    one.add_argument("--key-file", type=Path, metavar="FILE", help="the household's private key")
    one.add_argument("--relay", metavar="URL", help="address of a relay, to leave signed submissions at")
    one.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="where to write the agreed schedule and trades; default report.json",
    )
    command.set_defaults(command=_node)


def _node(arguments: argparse.Namespace) -> int:
    given = [
        f"--{name.replace('_', '-')}" for name in (*ONE_ROUND, "relay", "out") if getattr(arguments, name) is not None
    ]
    if arguments.config is not None:
        if given:
            raise InputError(f"--config has all that a service needs: leave {given[0]} out, or leave out --config")
        return _service(arguments)
    missing = [f"--{name.replace('_', '-')}" for name in ONE_ROUND if getattr(arguments, name) is None]
    if missing:
        raise InputError(f"give --config for a service, or {', '.join(missing)}, too, for one round")
    return _one_round(arguments)


def _service(arguments: argparse.Namespace) -> int:
    from gridpact.service.keystore import key_of
    from gridpact.service.settings import read_settings

    settings = read_settings(arguments.config)
    key = key_of(settings.key, arguments.password_file, arguments.password_env)

    from gridpact.service.health import Health, HealthServer  # only now: opening the key takes 128 MB for a moment
    from gridpact.service.logs import start_logging
    from gridpact.service.loop import Service

    health = Health(settings.node, settings.name)
    service = Service(settings, key, health)
    start_logging(settings.service.log, health.context)
    with ExitStack() as stack:
        if settings.service.metrics_port is not None:
            stack.enter_context(HealthServer(health, settings.service.metrics_port))
        if settings.openadr is not None:
            from gridpact.service.ven import Ven

            stack.enter_context(Ven(settings, settings.openadr, alone=service.alone))
        try:
            end = service.run(arguments.once)
        except KeyboardInterrupt:  # the chain holds all that the next start needs
            return 0
    return 0 if end is not None and end.outcome == "agreed" else 1


def _one_round(arguments: argparse.Namespace) -> int:
    from gridpact.run.launch import run_node

    out = arguments.out or Path("report.json")
    check_file(out, "the report")
    with chain_at(arguments.rpc) as network:
        run_node(arguments.contracts, arguments.household, arguments.key_file, out, network, arguments.relay)
    print(f"gridpact: the round is over; schedule and trades are in {out}")
    return 0
