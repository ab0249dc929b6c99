"""One page for one deployment: hub, server and reader put together."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gridpact.chain.feed import Feed
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.transport import connect
from gridpact.errors import InputError
from gridpact.live.reader import Reader
from gridpact.live.server import Hub, Server
from gridpact.live.store import Store

PATIENCE_SECONDS = 2.0
"""How long the page waits for a chain before it says that it is away."""


class LivePage:
    """A page that is served, and can be given a deployment to follow.

    Args:
        history: the store's file; None: nothing is kept.
        title: what the page is told beside events: `network`, `eth_price_eur`.
    """

    def __init__(self, history: Path, title: Mapping[str, Any], port: int = 0, prefix: str = "") -> None:
        self.history = history
        self.hub = Hub(self._store, title)
        self.server = Server(self.hub, port, prefix)

    def _store(self) -> Store:
        return Store(self.history)

    @contextmanager
    def following(self, record: Record, open_feed: Callable[[], Feed], every: float = 0.5) -> Iterator[Reader]:
        """Follows a deployment for the length of the context.

        Raises:
            InputError: the history is of another one.
        """
        store = self._store()
        try:
            _belongs(store, record)
        finally:
            store.close()
        with Reader(open_feed, self._store, self.hub.changed, every) as reader:
            self.hub.standing = lambda: reader.standing
            yield reader


def at_url(record: Record, url: str) -> Callable[[], Feed]:
    """Opens the feed of a deployment at the address of a node."""
    return lambda: Feed(record, connect(url, PATIENCE_SECONDS))


def on_network(record: Record, network: Network) -> Callable[[], Feed]:
    """The same on a network that is open here."""
    return lambda: Feed(record, network.connect())


def _belongs(store: Store, record: Record) -> None:
    """A history is of one deployment: the same addresses on a chain that began anew are another one."""
    deployment = {
        "chain_id": record.chain_id,
        "aggregator": record.aggregator,
        "transaction": next(iter(record.transactions.values()), ""),
    }
    before = store.about().get("deployment")
    if before not in (None, deployment):
        raise InputError(
            f"The history '{store.path}' is of another deployment (the aggregator {before['aggregator']} on chain"
            f" {before['chain_id']}): name another file with --history."
        )
    store.tell({"deployment": deployment, "network": record.network})
