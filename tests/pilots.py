"""Services of a pilot in threads of this process, and what they leave behind.

A phase is an hour: on no machine does one end while something is still to be done, and who waited for its end would be
found out.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from chains import pass_time
from waiting import SECONDS, until
from web3 import Web3

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.keystore import open_keystore
from gridpact.service.health import Health
from gridpact.service.loop import Service
from gridpact.service.settings import Settings, read_settings
from measure.soak import PASSWORD, Pilot

PHASE_SECONDS = 3600


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


def pass_phase(pilot: Pilot) -> None:
    """The time of a phase, on the chain."""
    pass_time(pilot.network, pilot.aggregator.web3, PHASE_SECONDS + 1)


def end_round(pilot: Pilot) -> None:
    """Phase after phase passes without those who are to come."""
    while (now := pilot.aggregator.progress()).phase.is_running:
        pass_phase(pilot)
        pilot.aggregator.wait_until(lambda later, now=now: later.place != now.place, SECONDS, close_overdue=True)  # type: ignore[misc]


@contextmanager
def held_at(iteration: int) -> Iterator[None]:
    """Nodes of this process submit nothing of this iteration, or a later one, while the context is open."""
    go_on, submit = threading.Event(), Aggregator.submit

    def held(aggregator: Aggregator, round_: int, now: int, *rest: Any) -> Any:
        assert now < iteration or go_on.wait(SECONDS)
        return submit(aggregator, round_, now, *rest)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Aggregator, "submit", held)
        try:
            yield
        finally:
            go_on.set()


def schedule(pilot: Pilot, node: int, day: str) -> dict[str, object]:
    found: dict[str, object] = json.loads((pilot.config(node).parent / "schedule" / f"{day}.json").read_text())
    return found
