"""`gridpact household`: a new node's folder, and how a running node does."""

from __future__ import annotations

import argparse
import os
import time
from datetime import date, datetime, timedelta
from pathlib import Path

from gridpact.cli.options import Commands, add_password, check_file, check_folder, choice
from gridpact.community.model import GRID_CONNECTION
from gridpact.errors import InputError
from gridpact.limits import MOST_HOUSEHOLDS


def add(commands: Commands) -> None:
    command = commands.add_parser("household", help="a new node's folder with an encrypted key; how a node does")
    actions = command.add_subparsers(title="actions", required=True, metavar="ACTION")
    new = actions.add_parser("new", help="make a folder with an encrypted keystore and a household.toml to fill in")
    new.add_argument("--node", type=int, required=True, metavar="N", help="its number; 0 is the grid operator's")
    new.add_argument("--name", metavar="NAME", help="the household's name, which stays at home; default 'node N'")
    new.add_argument("--out", type=Path, required=True, metavar="FOLDER", help="folder to make")
    new.add_argument("--contracts", metavar="FILE", default="contracts.json", help="record of the deployment")
    new.add_argument("--rpc", metavar="URL", default="http://127.0.0.1:8545", help="a node of the chain")
    new.add_argument("--scenario", default="tg", metavar="t|g|tg", help="what the community agrees on; default tg")
    new.add_argument("--partners", default="", metavar="2,3", help="nodes to trade with, from the manager's list")
    new.add_argument("--feeder", metavar="FILE", default="feeder.csv", help="of node 0: the table of lines")
    add_password(new)
    new.set_defaults(command=_new)
    check = actions.add_parser("check", help="try all that a node needs for a round, and send nothing")
    check.add_argument("--config", type=Path, required=True, metavar="FILE", help="its household.toml")
    check.add_argument("--day", metavar="D", help="ask for the forecast of this day, yyyy-mm-dd; default tomorrow")
    add_password(check)
    check.set_defaults(command=_check)
    show = actions.add_parser(
        "show",
        help="write what metering needs of a sealed round: to vouch for trades that a partner does not state; of the"
        " operator's node, to check its plan",
    )
    show.add_argument("--config", type=Path, required=True, metavar="FILE", help="its household.toml")
    show.add_argument("--round", type=int, required=True, metavar="N", help="the round, which has ended")
    show.add_argument(
        "--partner", type=int, metavar="N", help="of a household: the node that does not state its trades"
    )
    show.add_argument("--out", type=Path, required=True, metavar="FILE", help="for the metering operator, nobody else")
    add_password(show)
    show.set_defaults(command=_show)
    health = actions.add_parser("health", help="one line about a running node; exit status 1 where it is not well")
    health.add_argument("--config", type=Path, required=True, metavar="FILE", help="its household.toml")
    health.set_defaults(command=_health)


def _new(arguments: argparse.Namespace) -> int:
    from gridpact.chain.keystore import make_keystore, read_password
    from gridpact.files import write_atomically
    from gridpact.service.keystore import FILE_MODE, FOLDER_MODE
    from gridpact.service.template import NewNode, household_toml

    node, folder = arguments.node, arguments.out
    if not 0 <= node <= MOST_HOUSEHOLDS:
        raise InputError(f"--node {node} must be a number from 0 to {MOST_HOUSEHOLDS}")
    choice("scenario", arguments.scenario, dict.fromkeys(("t", "g", "tg")))
    values = NewNode(
        node=node,
        name=_plain(arguments.name or f"node {node}", "--name"),
        record=_plain(os.path.abspath(arguments.contracts), "--contracts"),
        rpc=_plain(arguments.rpc, "--rpc"),
        scenario=arguments.scenario,
        partners=_partners(arguments.partners, node),
        feeder=_plain(os.path.abspath(arguments.feeder), "--feeder"),
    )
    check_folder(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"'{folder}' is there already and not empty: name a folder that is new")
    password = read_password(
        f"the new keystore of node {node}", arguments.password_file, arguments.password_env, twice=True
    )
    try:
        folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        folder.chmod(FOLDER_MODE)
        address = make_keystore(folder / "keystore.json", password)
        write_atomically(config := folder / "household.toml", household_toml(values), FILE_MODE)
        (folder / "forecasts").mkdir(FOLDER_MODE) if node else None
    except OSError as error:
        raise InputError(f"the folder '{folder}' cannot be made: {error.strerror}; name another") from None
    print(f"gridpact: made '{folder}'")
    print(f"  account  {address}  (public: the community manager enrols it as node {node})")
    print(f"  next     fill in {config}, have the account enrolled and funded; then try")
    print(f"           `gridpact household check --config {config}`")
    print("  keep     a copy of keystore.json and its password apart from this machine; nobody can restore them")
    return 0


def _partners(text: str, node: int) -> tuple[int, ...]:
    try:
        nodes = tuple(sorted({int(part) for part in text.split(",") if part.strip()}))
    except ValueError:
        raise InputError(f"--partners '{text}' must be node numbers with commas between, as 2,3") from None
    if wrong := [one for one in nodes if not 1 <= one <= MOST_HOUSEHOLDS or one == node]:
        raise InputError(f"--partners: {wrong[0]} is no other household; give numbers from 1 to {MOST_HOUSEHOLDS}")
    return nodes


def _plain(text: str, option: str) -> str:
    """What can stand in quotation marks in a TOML file."""
    if not text.strip() or set(text) & set('"\\') or not text.isprintable():
        raise InputError(f"{option} {text!r} cannot stand in household.toml; give it without quotation marks")
    return text


def _check(arguments: argparse.Namespace) -> int:
    from gridpact.service.keystore import key_of
    from gridpact.service.settings import read_settings

    settings = read_settings(arguments.config)
    tomorrow = datetime.now(settings.service.timezone).date() + timedelta(days=1)
    try:
        day = date.fromisoformat(arguments.day) if arguments.day else tomorrow
    except ValueError:
        raise InputError(f"--day '{arguments.day}' must be a day as {tomorrow.isoformat()}") from None
    key = key_of(settings.key, arguments.password_file, arguments.password_env)

    from gridpact.chain.transport import connect  # only now, see `gridpact node`
    from gridpact.service.check import checks

    for line in checks(settings, key, day.isoformat(), lambda: connect(settings.chain.rpc, patience=5.0)):
        print(f"  ✓  {line}", flush=True)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    from gridpact.service.keystore import key_of
    from gridpact.service.settings import read_settings

    settings = read_settings(arguments.config)
    check_file(arguments.out, "what is shown")
    if (settings.node == GRID_CONNECTION) != (arguments.partner is None):
        raise InputError("--partner N is for a household; the operator's node opens its plan, without --partner")
    key = key_of(settings.key, arguments.password_file, arguments.password_env)

    from gridpact.chain.transport import connect  # only now, see `gridpact node`
    from gridpact.manage.vouching import shown
    from gridpact.node.opened_plan import OpenedPlan
    from gridpact.service.connection import open_connection, read_record

    node, partner, number = settings.node, arguments.partner, arguments.round
    rpc = settings.chain.rpc
    connection = open_connection(settings, read_record(settings), key, lambda: connect(rpc, patience=5.0))
    if partner is None:
        OpenedPlan.of(connection.aggregator, number).write(arguments.out)
        print(
            f"gridpact: '{arguments.out}' opens the plan of round {number}, the net power at each meter, to whoever has"
        )
        print("  it: give it to the metering operator, who checks it (`gridpact audit --plan`)")
        return 0
    shown(connection.aggregator, number, node, partner).write(arguments.out)
    print(f"gridpact: '{arguments.out}' opens what nodes {node} and {partner} bid each other in round {number},")
    print("  to whoever has it: give it to the metering operator only, who vouches with it")
    return 0


def _health(arguments: argparse.Namespace) -> int:
    from gridpact.service.health import STALE_SECONDS, Health
    from gridpact.service.settings import read_settings

    health = Health.read(read_settings(arguments.config).service.state / "health.json")
    age = time.time() - health.at
    stale = age > STALE_SECONDS
    print(health.line() + (f"; no sign of life for {age / 60:.0f} min" if stale else ""))
    return 0 if health.ok and not stale else 1
