"""`gridpact live`: a page that shows a community's rounds as they run, from the chain's own events."""

from __future__ import annotations

import argparse
import secrets
import sys
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.manager import RECORDS, add_price, add_record, eth_price_of, network_of, positive
from gridpact.cli.options import Commands
from gridpact.errors import ChainError, InputError
from gridpact.events import Event, Listener, Stage
from gridpact.text import plain

if TYPE_CHECKING:
    from gridpact.chain.networks import Network
    from gridpact.chain.record import Record
    from gridpact.community.model import CommunityDay
    from gridpact.live.ground import Ground
    from gridpact.outcome.outcome import Outcome

PORT = 8520
HISTORIES = Path("runs/live")
INJECTIONS = ("injection_kw", "injection_kvar")
HISTORY = "live.db"
"""The file's name beside a run's results, and in the state of a node."""


def add(commands: Commands) -> None:
    command = commands.add_parser("live", help="a page on this machine that shows rounds as they run, and past ones")
    add_record(command)
    command.add_argument(
        "--history",
        type=Path,
        metavar="FILE",
        help=f"where what the chain told is kept; default {HISTORIES}/CHAIN-CONTRACT.db",
    )
    command.add_argument(
        "--household",
        type=Path,
        metavar="FOLDER",
        help="of a node on this machine: shows its schedule, bill and reasons, too, at an address that only this "
        "command tells; contracts and chain are those of its household.toml",
    )
    command.add_argument(
        "--community", metavar="NAME|FILE",
        help="a case or community file, for what the chain has not: names of homes, their phases, the lines and what "
        "they may carry",
    )  # fmt: skip
    command.add_argument("--every", type=positive, default=0.5, metavar="SECONDS", help="look at least so often")
    add_port(command)
    add_price(command)
    command.set_defaults(command=_live)


def add_port(command: argparse.ArgumentParser) -> None:
    """Adds where the page is served."""
    command.add_argument(
        "--port", type=int, default=PORT, metavar="N", help=f"of the page on 127.0.0.1; default {PORT}, 0 for any"
    )


def _live(arguments: argparse.Namespace) -> int:
    from gridpact.chain.profiles import profile_of
    from gridpact.chain.record import Record
    from gridpact.live.following import LivePage, at_url
    from gridpact.live.ground import LONGEST_NAME
    from gridpact.live.household import HouseholdFolder, settings_in

    settings = settings_in(arguments.household) if arguments.household else None
    contracts, rpc, history = arguments.contracts, arguments.rpc, arguments.history
    if settings is not None:
        contracts, rpc = contracts or settings.chain.record, rpc or settings.chain.rpc
        history = history or settings.service.state / HISTORY
    if contracts is None and arguments.network is None:
        return _stored(arguments)
    record = Record.read(contracts or RECORDS / f"{arguments.network}.json")
    profile = profile_of(arguments.network or network_of(record, rpc))
    url = rpc if settings is not None else profile.url(rpc)
    history = history or HISTORIES / f"{record.chain_id}-{record.aggregator}.db"
    title = {"network": profile.name, "eth_price_eur": eth_price_of(arguments, profile)}
    page = LivePage(history, title, arguments.port, f"/{secrets.token_urlsafe(18)}" if settings else "")
    open_feed = at_url(record, url)
    ground = _ground(arguments)
    if settings is not None:
        page.hub.household = HouseholdFolder(settings, record.aggregator)
        ground = replace(ground, names={**ground.names, settings.node: plain(settings.name, LONGEST_NAME)})
    page.hub.know(ground)
    try:
        open_feed().close()
    except ChainError as error:
        print(f"gridpact: {error} The page shows what is stored, and goes on when the chain answers.", flush=True)
    with page.server, page.following(record, open_feed, arguments.every):
        print(f"Live page: {page.server.url} (Ctrl-C ends it; what the chain tells is kept in {history})", flush=True)
        wait()
    return 0


def _stored(arguments: argparse.Namespace) -> int:
    """Shows a history alone, without its chain."""
    from gridpact.live.following import LivePage
    from gridpact.live.reader import Link, ReaderState

    history: Path | None = arguments.history
    if history is None:
        raise InputError(
            "it is not said which contracts are meant: give --network NAME, --contracts FILE, or --history FILE alone"
        )
    if not history.is_file():
        raise InputError(f"there is no history at {history}: check the path, or name the contracts with --contracts")
    page = LivePage(history, {"network": "", "eth_price_eur": float(arguments.eth_price or 0.0)}, arguments.port)
    page.hub.know(_ground(arguments))
    page.hub.standing = lambda: ReaderState(Link.ENDED)
    with page.server:
        print(f"Live page: {page.server.url} (Ctrl-C ends it; it shows what is stored in {history})", flush=True)
        wait()
    return 0


def _ground(arguments: argparse.Namespace) -> Ground:
    """What a community file tells of the street, if one is named."""
    from gridpact.live.ground import Ground

    if not arguments.community:
        return Ground()
    from gridpact.community.read import read_community

    community = read_community(arguments.community)
    return Ground.of(community.on(community.days[0]))


def add_live(command: argparse.ArgumentParser) -> None:
    """Adds a page for what a command plays on a chain."""
    command.add_argument(
        "--live", action="store_true", help="show it on a page while it goes on, and until Ctrl-C; see `gridpact live`"
    )
    add_port(command)


@contextmanager
def shown_live(
    folder: Path, day: CommunityDay, arguments: argparse.Namespace, listener: Listener
) -> Iterator[RunPage | None]:
    """A page for what is played, if the options ask for one; it stays until Ctrl-C."""
    if not arguments.live:
        yield None
        return
    with RunPage(folder / HISTORY, day, arguments.port, listener) as page:
        print(f"Live page: {page.url}", file=sys.stderr if arguments.json else sys.stdout, flush=True)
        yield page
        page.hear(Stage("The run has ended"))
        print(f"The live page stays at {page.url} until Ctrl-C.", file=sys.stderr, flush=True)
        wait()


class RunPage:
    """The page of one run, for the length of a `with` block; its history begins anew.

    Args:
        listener: is told what the run does as well.
    """

    def __init__(self, history: Path, day: CommunityDay, port: int, listener: Listener) -> None:
        from gridpact.live.following import LivePage
        from gridpact.live.ground import Ground

        for old in history.parent.glob(f"{history.name}*"):  # with what SQLite keeps beside it
            old.unlink()
        self._page = LivePage(history, {"network": f"{day.name}, {day.day}", "eth_price_eur": 0.0}, port)
        self._page.hub.know(Ground.of(day))
        self._listener = listener

    @property
    def url(self) -> str:
        return self._page.server.url

    def __enter__(self) -> RunPage:
        self._page.server.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        self._page.server.__exit__(*error)

    def hear(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._page.hub.say(event.text)
        self._listener.hear(event)

    def carry_out(self, result: Outcome) -> None:
        """Shows how the plan was carried out: this machine has played all homes, so it knows also of a sealed round."""
        from gridpact.live.ground import carried_out

        homes = result.households
        active, reactive = ({home.node: home.schedule[name] for home in homes} for name in INJECTIONS)
        self._page.hub.carry_out(carried_out(result.community.feeder, active, reactive, result.flow))

    def watch(self, record: Record, network: Network) -> AbstractContextManager[object]:
        """Looks on while the run's chain is there."""
        from gridpact.live.following import on_network

        return self._page.following(record, on_network(record, network))


def wait() -> None:
    """Until Ctrl-C."""
    try:
        threading.Event().wait()
    except KeyboardInterrupt:
        print()
