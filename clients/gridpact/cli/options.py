"""What several commands are given, and how it is checked."""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias, TypeVar

from gridpact.community.times import DateOrder
from gridpact.errors import InputError
from gridpact.files import parse_json
from gridpact.market.mechanism import IN_MEMORY
from gridpact.market.registry import market_of
from gridpact.problem.scenario import Scenario

if TYPE_CHECKING:
    from gridpact.chain.networks import Network
    from gridpact.market.admm.parameters import Resolution
    from gridpact.study.weeks.workers import Workers

Commands: TypeAlias = "argparse._SubParsersAction[Any]"

Chosen = TypeVar("Chosen")

POWER_RESOLUTION = "what a unit of power on the chain is at least; default 0.5, or as much as the largest member needs"

TRIAL_BYTES = 2**20
"""Less than this a report does not take."""


class Joined(argparse.Action):
    """Names with commas between them; given again, the option adds to them, so that none is lost without a word."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        before = getattr(namespace, self.dest)
        setattr(namespace, self.dest, values if before is None else f"{before},{values}")


class Parser(argparse.ArgumentParser):
    """Complaints are errors like all others: one sentence, exit status 2."""

    def error(self, message: str) -> NoReturn:
        raise InputError(f"{message}; `{self.prog} --help` shows what can be given")


def add_chain(command: argparse.ArgumentParser, *names: str) -> None:
    """Adds the record of the contracts, and the chain as `--rpc` or by other names before it."""
    command.add_argument(
        "--contracts",
        type=Path,
        required=True,
        metavar="FILE",
        help="record of the deployment: addresses and ABIs of the contracts",
    )
    command.add_argument(
        *names, "--rpc", dest="rpc", required=True, metavar="URL", help="a node of the chain, http:// or ws://"
    )


def add_password(command: argparse.ArgumentParser) -> None:
    """Adds where the password of a keystore is, never the password itself."""
    secret = command.add_mutually_exclusive_group()
    secret.add_argument("--password-file", metavar="FILE", help="file with the password of the keystore")
    secret.add_argument("--password-env", metavar="NAME", help="environment variable with it; default: it is asked for")


def add_workers(command: argparse.ArgumentParser, default: str = "as many as cores") -> None:
    """Adds who solves the days or points of a command."""
    workers = command.add_mutually_exclusive_group()
    workers.add_argument("--jobs", type=int, metavar="N", help=f"processes at a time; default {default}")
    workers.add_argument(
        "--cluster", metavar="ADDRESS", help="of a Dask scheduler, whose workers solve in place of this machine's cores"
    )


def workers_of(arguments: argparse.Namespace) -> Workers:
    """What `add_workers` was given.

    Raises:
        InputError: of processes, less than one.
    """
    from gridpact.study.weeks.workers import Cluster, Processes

    return Processes(arguments.jobs) if arguments.cluster is None else Cluster(arguments.cluster)


def chain_at(url: str) -> AbstractContextManager[Network]:
    from gridpact.chain.networks import open_network  # imports web3, which takes a second

    if "://" not in url:
        raise InputError(f"--rpc needs the http:// or ws:// address of a node of the chain, not '{url}'")
    return open_network(url)


def check_chain(chain: str, *besides: str) -> None:
    """A chain that is not there is better told before the first day is solved.

    Args:
        besides: what may be given, too, and is no chain.
    """
    if chain in besides:
        return
    from gridpact.chain.networks import COMMANDS, NAMES, find_executable, open_network

    if "://" in chain:
        with open_network(chain):
            pass  # it answers
    elif chain not in NAMES:
        raise InputError(
            f"there is no chain '{chain}'; choose one of {', '.join((*besides, *NAMES))}, or give the http:// or ws:// "
            "address of a node"
        )
    elif chain in COMMANDS:
        find_executable(chain)


def check_market(scenario: Scenario, chain: str, relay: bool) -> None:
    """Whether a scenario can be agreed on there.

    Raises:
        InputError: there is no such chain, or no contract for such an agreement.
    """
    if chain == IN_MEMORY:
        if relay:
            raise InputError("--relay is for a chain; choose one with --chain, or leave --relay out")
        return
    if not market_of(scenario).on_chain:
        raise InputError(f"there is no contract for scenario '{scenario.value}' yet; give --chain {IN_MEMORY}")
    check_chain(chain, IN_MEMORY)


def check_folder(folder: Path) -> None:
    """A run takes a minute: what cannot be written is better said before.

    Makes the folder for a moment, with a file in it, in the part of its path that exists: permissions do not tell what
    a file system takes.
    """
    existing = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        with TemporaryDirectory(prefix=".gridpact-", dir=existing) as name:
            trial = Path(name) / folder.absolute().relative_to(existing)
            trial.mkdir(parents=True, exist_ok=True)
            (trial / "trial").write_bytes(bytes(TRIAL_BYTES))
    except OSError as error:
        raise InputError(
            f"the results cannot be written to '{folder}': '{existing}' is no folder that can be written to "
            f"({error.strerror}); choose another place"
        ) from None


def check_file(path: Path, what: str) -> None:
    """The same of a single file."""
    check_folder(path.absolute().parent)
    if path.is_dir():
        raise InputError(f"{what} cannot be written to '{path}': it is a folder; name a file")


def out_folder(text: str) -> Path:
    """Where results go; an empty name, perhaps of a variable that is not set, is not the current folder."""
    if not text.strip():
        raise InputError("--out is empty; name a folder, or leave --out out")
    return Path(text)


def check_same(result: Path, of: Mapping[str, str]) -> None:
    """Results take the place of an earlier run's of the same only.

    Args:
        result: the JSON file of an earlier run, where there is one.
        of: what it must be of, by the names of its fields.
    """
    try:
        before = parse_json(result.read_text(encoding="utf-8"))
        other = {name: before[name] for name, value in of.items() if before[name] != value}
    except (OSError, ValueError, KeyError, TypeError):
        return  # nothing there that could be told
    if other:
        holds = ", ".join(f"{name} {value}" for name, value in other.items())
        raise InputError(f"'{result.parent}' holds results of {holds}; choose another folder with --out, or remove it")


@contextmanager
def in_use(folder: Path) -> Iterator[None]:
    """Keeps a folder of results from being written to by two commands at once on this machine.

    Raises:
        InputError: another command uses it.
    """
    name = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:24]
    path = Path(gettempdir()) / f"gridpact-{os.getuid()}-{name}.lock"
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InputError(
                f"another gridpact writes its results to '{folder}'; wait for it, or choose another folder with --out"
            ) from None
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def check_ours(folder: Path, kind: str, marker: str) -> None:
    """Results take the place of their like only; `marker` is the file that tells."""
    if (folder / "index.html").exists() and not (folder / marker).exists():
        raise InputError(f"'{folder}' holds an index.html that is of no {kind}; choose another folder with --out")


def names(option: str, text: str) -> list[str]:
    """What a list with commas has."""
    parts = [name.strip() for name in text.split(",") if name.strip()]
    if not parts:
        raise InputError(f"{option} is empty; give names with commas between them")
    return parts


def doubts(option: str, text: str | None) -> frozenset[str]:
    """What is accepted although it looks doubtful."""
    from gridpact.community.doubts import DOUBTS

    given = names(option, text) if text is not None else []
    return frozenset(choice("doubt", name, {doubt: doubt for doubt in DOUBTS}) for name in given)


def add_form(command: argparse.ArgumentParser) -> None:
    """Adds in which form submissions stand on the chain: `sealed` is True, False, or None where it is not said."""
    form = command.add_mutually_exclusive_group()
    form.add_argument(
        "--sealed",
        action="store_true",
        default=None,
        help="seal what households submit: only the grid operator's node reads wishes, only partners bids; what cannot"
        " be proved then is told in docs/privacy.md",
    )
    form.add_argument(
        "--open",
        dest="sealed",
        action="store_false",
        help="everybody reads all that households submit, their loads too, and can prove every lie",
    )


def power_resolution(watts: float | None) -> Resolution | None:
    """What a unit of power on the chain is at least; None: what fits."""
    from gridpact.market.admm.parameters import MOST_MILLIWATT, Resolution

    if watts is None:
        return None
    if not 0.001 <= watts <= MOST_MILLIWATT / 1000:
        raise InputError(f"--power-resolution needs 0.001 to {MOST_MILLIWATT / 1000:g} W, not {watts:g}")
    return Resolution(power_kw=watts / 1000)


def choice(what: str, given: str, known: Mapping[str, Chosen]) -> Chosen:
    if given not in known:
        raise InputError(f"there is no {what} '{given}'; choose one of {', '.join(known)}")
    return known[given]


def are_ends(arguments: argparse.Namespace, option: str = "times") -> bool | None:
    """Whether times name the ends of steps (`--times`); None: that is not told."""
    given = getattr(arguments, option)
    return choice("meaning of times", given, {"start": False, "end": True}) if given else None


def date_order(arguments: argparse.Namespace) -> DateOrder | None:
    return choice("order of dates", arguments.dates, {o.value: o for o in DateOrder}) if arguments.dates else None


def decimal_mark(arguments: argparse.Namespace) -> str | None:
    known = {"point": ".", "comma": ","}
    return choice("decimal mark", arguments.decimal, known) if arguments.decimal else None


def tell_without_pictures() -> None:
    """Says where a page has none, and what gives it some."""
    from gridpact.report.drawing import WITHOUT_PICTURES  # imports matplotlib, which takes a second

    if WITHOUT_PICTURES:
        print(f"gridpact: {WITHOUT_PICTURES}", file=sys.stderr)
