"""The command line, a module for each command. Every error that gridpact raises on purpose ends here, as a sentence."""

from __future__ import annotations

import argparse
import io
import os
import signal
import sys
from collections.abc import Sequence
from functools import cache
from types import FrameType

from gridpact import __version__
from gridpact.cli import (
    account,
    aggregator,
    audit,
    cases,
    community,
    day,
    deploy,
    deposit,
    enrol,
    expel,
    flexibility,
    household,
    hybrid,
    keystore,
    live,
    markets,
    node,
    positions,
    readings,
    relay,
    round,
    run,
    study,
    supply,
    verify,
    watch,
    whatif,
)
from gridpact.cli.options import Parser
from gridpact.errors import GridpactError

DESCRIPTION = """\
A local energy market without a central operator: every household plans its own day at home, a contract on an
Ethereum chain leads all plans to an agreement, and a second contract records the trades and pays them.

Begin with `gridpact run`: 16 real homes agree on one day."""

COMMANDS = (
    *(run, hybrid, day, study, markets, whatif, aggregator, cases, community),
    *(household, node, account),
    *(deploy, verify, enrol, expel, round, watch, live, readings, positions, flexibility, deposit, supply, keystore),
    *(relay, audit),
)
"""In the order of `gridpact --help`."""

DEBUG = "GRIDPACT_DEBUG"
"""Environment variable that lets the traceback of an unexpected error through."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs a command and returns its exit status: 0 done, 1 failed, 2 bad input, 3 no feasible plan, 130 stopped."""
    signal.signal(signal.SIGTERM, _interrupt)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names with letters that a terminal does not have
    try:
        if signal.getsignal(signal.SIGINT) is not signal.SIG_IGN:
            signal.signal(signal.SIGINT, signal.default_int_handler)
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
        what = f"unexpected {type(error).__name__}: {error}"
        print(f"gridpact: {what}; this is a mistake in gridpact, {DEBUG}=1 shows where", file=sys.stderr)
        return 1


def _interrupt(signum: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


@cache
def _parser() -> argparse.ArgumentParser:
    """Of all commands: made once, as it takes longer than many a command."""
    parser = Parser("gridpact", description=DESCRIPTION, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--version", action="version", version=f"gridpact {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in COMMANDS:
        command.add(commands)
    return parser
