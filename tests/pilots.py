"""Services of a pilot in threads of this process, and what they leave behind."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from waiting import SECONDS, until
from web3 import Web3

from gridpact.chain.keystore import open_keystore
from gridpact.service.health import Health
from gridpact.service.loop import Service
from gridpact.service.settings import Settings, read_settings
from measure.soak import PASSWORD, Pilot


class Running:
    """A service in a thread of this process."""

    def __init__(self, settings: Settings, key: str, link: Callable[[], Web3] | None = None) -> None:
        self.health = Health(settings.node, settings.name)
        self.stop = threading.Event()
        self.failed: BaseException | None = None
        self._service = Service(settings, key, self.health, link, self.stop)
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    def _run(self) -> None:
        try:
            self._service.run()
        except BaseException as error:
            self.failed = error

    def end(self) -> None:
        self.stop.set()
        self.thread.join(SECONDS)
        assert not self.thread.is_alive()
        assert self.failed is None, self.failed


def settings_of(pilot: Pilot, node: int) -> Settings:
    return read_settings(pilot.config(node))


def key_of(pilot: Pilot, node: int) -> str:
    return open_keystore(settings_of(pilot, node).key.keystore, PASSWORD)


@contextmanager
def running(
    pilot: Pilot, *nodes: int, links: Mapping[int, Callable[[], Web3]] | None = None, **changed: Settings
) -> Iterator[dict[int, Running]]:
    """Services of some nodes; settings other than on disk as node_1=..."""
    started = {
        node: Running(
            changed.get(f"node_{node}", settings_of(pilot, node)), key_of(pilot, node), (links or {}).get(node)
        )
        for node in nodes
    }
    try:
        yield started
    finally:
        for one in started.values():
            one.stop.set()
        for one in started.values():
            one.end()


def outcome(pilot: Pilot, node: int, round_: int) -> dict[str, object]:
    """How a round ended for a node, once its service has written it down."""
    path = pilot.config(node).parent / "state" / pilot.record.aggregator / f"round-{round_}.end.json"
    until(path.exists, f"node {node} has not ended round {round_}")
    found: dict[str, object] = json.loads(path.read_text())
    return found


def schedule(pilot: Pilot, node: int, day: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((pilot.config(node).parent / "schedule" / f"{day}.json").read_text())
    return found
