"""The command line. Every error that gridpact raises on purpose ends here, as one sentence."""

from __future__ import annotations

import argparse
import json
import os
import re
import signal
import sys
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn, TypeVar

from tqdm import tqdm

from gridpact import __version__
from gridpact.community.read import read_community, shipped_cases
from gridpact.errors import GridpactError, InputError
from gridpact.files import write_atomically
from gridpact.market.scenario import NetworkAgreement, Scenario

if TYPE_CHECKING:
    from gridpact.chain.networks import Network

DESCRIPTION = """\
A local energy market without a central operator: every household plans its own day at home, a contract on an
Ethereum chain leads all plans to an agreement, and a second contract records the trades and pays them.

Begin with `gridpact run`: 16 real homes agree on one day."""

SCENARIOS = """\
what is agreed on: b nothing (every household with its supplier), t bilateral trades, g the use of the grid, paid in
common, tg trades within the limits of the grid (default)"""


NOT_IN_NAMES = re.compile(r"[^\w.-]+")

DEBUG = "GRIDPACT_DEBUG"
"""Environment variable that lets the traceback of an unexpected error through."""

Chosen = TypeVar("Chosen")


class _Parser(argparse.ArgumentParser):
    """Complaints are errors like all others: one sentence, exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` shows what can be given")


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 done, 1 failed, 2 bad input, 3 no feasible plan, 130 stopped."""
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        arguments = _parser().parse_args(argv)
        status: int = arguments.command(arguments)
        return status
    except GridpactError as error:
        print(f"gridpact: {error}", file=sys.stderr)
        return error.exit_status
    except KeyboardInterrupt:
        print("gridpact: stopped; all processes that it started are ended", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our output went away
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        told = f"unexpected {type(error).__name__}: {error}"
        print(f"gridpact: {told}; this is a mistake in gridpact, {DEBUG}=1 shows where", file=sys.stderr)
        return 1


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _parser() -> argparse.ArgumentParser:
    parser = _Parser("gridpact", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"gridpact {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")

    run = commands.add_parser("run", help="one day of a community, from negotiation to payment, with a report")
    run.add_argument(
        "--case",
        default="fontana16",
        metavar="NAME|FILE",
        help="a shipped case (see `gridpact cases`) or a community file; default fontana16",
    )
    run.add_argument("--day", metavar="D", help="a day of the case; default its first")
    run.add_argument("--scenario", default="tg", metavar="b|t|g|tg", help=SCENARIOS)
    run.add_argument(
        "--network-agreement",
        default="dso",
        metavar="dso|neighbours",
        help="how the grid is agreed on: with the grid operator's node, which holds where limits bind "
        "(default), or between neighbours on the feeder, as in the B-DER report",
    )
    run.add_argument(
        "--chain",
        default="ganache",
        metavar="CHAIN",
        help="ganache (default), anvil, eth-tester (inside this process), or the URL of a node that runs",
    )
    run.add_argument(
        "--relay",
        action="store_true",
        help="collect signed submissions and send them in one transaction an iteration, instead of one each",
    )
    run.add_argument("--out", type=Path, metavar="DIR", help="folder of the results; default runs/CASE_DAY_SCENARIO")
    run.add_argument("--json", action="store_true", help="print result.json instead of the summary")
    run.set_defaults(command=_run)

    node = commands.add_parser("node", help="one household as a process of its own, for one round")
    _add_chain(node)
    node.add_argument("--household", type=Path, required=True, metavar="FILE", help="the household's own file")
    node.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="the household's private key")
    node.add_argument("--relay", metavar="URL", help="address of a relay, to leave signed submissions at")
    node.add_argument(
        "--out",
        type=Path,
        default=Path("report.json"),
        metavar="FILE",
        help="where to write the agreed schedule and trades; default report.json",
    )
    node.set_defaults(command=_node)

    relay = commands.add_parser("relay", help="a service that sends the signed submissions of all in one transaction")
    _add_chain(relay)
    relay.add_argument("--key-file", type=Path, required=True, metavar="FILE", help="private key of who pays the gas")
    relay.add_argument("--port", type=int, default=8560, metavar="N", help="port on 127.0.0.1; default 8560")
    relay.set_defaults(command=_relay)

    audit = commands.add_parser("audit", help="check a round from the chain alone: sums, residuals, limits of the grid")
    _add_chain(audit)
    audit.add_argument("--round", type=int, metavar="N", help="default the newest")
    audit.set_defaults(command=_audit)

    account = commands.add_parser("account", help="what a household has, traded, paid and still waits for")
    account.add_argument(
        "--contracts",
        type=Path,
        required=True,
        metavar="FILE",
        help="record of the deployment: addresses and ABIs of the contracts",
    )
    account.add_argument(
        "--network", "--rpc", dest="rpc", required=True, metavar="URL", help="a node of the chain, http:// or ws://"
    )
    who = account.add_mutually_exclusive_group(required=True)
    who.add_argument("--key", "--key-file", dest="key", type=Path, metavar="FILE", help="the household's private key")
    who.add_argument("--address", metavar="0x...", help="or its address: everything is public")
    account.add_argument("--rounds", type=int, default=10, metavar="N", help="look at the newest N; default 10")
    account.add_argument("--json", type=Path, metavar="FILE", help="write it to a file, too")
    account.set_defaults(command=_account)

    cases = commands.add_parser("cases", help="the cases that are shipped, and their days")
    cases.set_defaults(command=_cases)
    return parser


def _add_chain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--contracts",
        type=Path,
        required=True,
        metavar="FILE",
        help="record of the deployment: addresses and ABIs of the contracts",
    )
    command.add_argument("--rpc", required=True, metavar="URL", help="a node of the chain, http:// or ws://")


def _run(arguments: argparse.Namespace) -> int:
    scenario = _choice("scenario", arguments.scenario.lower(), {s.value: s for s in Scenario})
    agreement = _choice("network agreement", arguments.network_agreement, {a.value: a for a in NetworkAgreement})
    community = read_community(arguments.case)
    day = community.on(arguments.day or community.days[0])
    folder = arguments.out or Path("runs") / NOT_IN_NAMES.sub("-", f"{community.name}_{day.day}_{scenario.value}")
    _check_folder(folder)

    from gridpact.run import RunSettings, run  # imports web3 and CVXPY, which take a second
    from gridpact.study.indicators import Indicators
    from gridpact.study.report import write_report
    from gridpact.study.summary import summary

    if not arguments.json:
        print(f"gridpact: {community.title or community.name}, {day.day}, scenario {scenario.name}")
    with _Progress() as progress:
        settings = RunSettings(scenario=scenario, agreement=agreement, chain=arguments.chain, relay=arguments.relay)
        result = run(day, settings, progress)
    report = write_report(result, folder)
    if arguments.json:
        print((folder / "result.json").read_text(encoding="utf-8"), end="")
    else:
        print(summary(result))
        print(f"Report: {report}")
    return 0 if all(check.held is not False for check in Indicators(result).checks) else 1


def _check_folder(folder: Path) -> None:
    """A run takes a minute: what cannot be written is better said before."""
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise InputError(
            f"the results cannot be written to '{folder}': '{existing}' is no folder that can be written to"
        )


def _node(arguments: argparse.Namespace) -> int:
    from gridpact.launch import run_node

    with _network(arguments.rpc) as network:
        run_node(arguments.contracts, arguments.household, arguments.key_file, arguments.out, network, arguments.relay)
    print(f"gridpact: the round is over; schedule and trades are in {arguments.out}")
    return 0


def _relay(arguments: argparse.Namespace) -> int:
    from gridpact.chain.account import ChainAccount
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.launch import read_key
    from gridpact.relay.server import RelayServer

    record, key = Record.read(arguments.contracts), read_key(arguments.key_file)
    with _network(arguments.rpc) as network:
        web3 = network.connect()
        with RelayServer(Aggregator.of(record, web3, ChainAccount(web3, key)), port=arguments.port) as relay:
            print(f"gridpact: relaying at {relay.url}; Ctrl-C ends it", flush=True)
            signal.pause()
    return 0


def _audit(arguments: argparse.Namespace) -> int:
    from gridpact.audit import audit_round
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record

    record = Record.read(arguments.contracts)
    with _network(arguments.rpc) as network:
        aggregator = Aggregator.of(record, network.connect())
        number = arguments.round or aggregator.progress().round
        if number < 1:
            raise InputError("no round was opened on these contracts yet: there is nothing to check")
        audit = audit_round(aggregator, number)
    for problem in (*audit.contract_errors, *audit.false_claims, *audit.plan_errors):
        print(f"gridpact: {problem}")
    verdict = "all as it must be" if audit.clean else "see above"
    print(f"gridpact: round {audit.round}, {audit.iterations} iterations checked from the chain alone: {verdict}")
    return 0 if audit.clean else 1


def _account(arguments: argparse.Namespace) -> int:
    from gridpact.chain.account import address_of
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.contract import chain_time, checked_address
    from gridpact.chain.record import Record
    from gridpact.chain.settlement import Settlement
    from gridpact.launch import read_key
    from gridpact.study.account import account_json, account_table, read_account

    if arguments.rounds < 1:
        raise InputError(f"--rounds needs a positive number, not {arguments.rounds}")
    if arguments.json is not None:
        _check_folder(arguments.json.absolute().parent)
        if arguments.json.is_dir():
            raise InputError(f"the account cannot be written to '{arguments.json}': it is a folder; name a file")
    record = Record.read(arguments.contracts)
    address = checked_address(arguments.address) if arguments.address else address_of(read_key(arguments.key))
    with _network(arguments.rpc) as network:
        web3 = network.connect()
        aggregator, settlement = Aggregator.of(record, web3), Settlement.of(record, web3)
        account = read_account(aggregator, settlement, address, arguments.rounds)
        print(account_table(account, chain_time(web3)))
    if arguments.json is not None:
        write_atomically(arguments.json, json.dumps(account_json(account), indent=1) + "\n")
    return 0


def _network(url: str) -> AbstractContextManager[Network]:
    from gridpact.chain.networks import open_network

    if "://" not in url:
        raise InputError(f"--rpc needs the http:// or ws:// address of a node of the chain, not '{url}'")
    return open_network(url)


def _cases(arguments: argparse.Namespace) -> int:
    for name in shipped_cases():
        community = read_community(name)
        days = community.days
        print(f"{name}: {community.title}")
        print(f"    days     {', '.join(days)}")
        print(f"    source   {community.source or 'none given'}")
        print(f"    licence  {community.licence or 'none given'}")
        if community.notes:
            print(f"    notes    {community.notes}")
    return 0


def _choice(what: str, given: str, known: Mapping[str, Chosen]) -> Chosen:
    if given not in known:
        raise InputError(f"there is no {what} '{given}'; choose one of {', '.join(known)}")
    return known[given]


class _Progress:
    """Stages as lines and iterations as a bar, on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> _Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def stage(self, text: str) -> None:
        self._end_bar()
        print(f"{text} ...", file=sys.stderr, flush=True)

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        if self._bar is None:
            self._bar = tqdm(
                desc="Negotiating",
                unit=" iterations",
                bar_format="{desc}: {n} iterations, {elapsed}{postfix}",
            )
        primal_grid, _, primal_trade, _ = rms_w
        self._bar.set_postfix_str(f"still apart: grid {primal_grid:.1f} W, trades {primal_trade:.1f} W", refresh=False)
        self._bar.update(number - self._bar.n)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
