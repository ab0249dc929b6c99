"""Waiting for the chain to move without asking it all the time.

Where the node serves a websocket, it tells when a contract emits one of the wanted events; elsewhere the
waiting party asks again after growing pauses. Either way it looks for itself after `wait`: messages get lost.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Sequence
from typing import Protocol
from urllib.parse import urlsplit

from websockets.exceptions import WebSocketException
from websockets.sync.client import ClientConnection

from gridpact.chain.transport import dial

LOOK_SECONDS = 2.0
"""A waiting party looks at least this often, also without a message."""


class Watch(Protocol):
    """Returns when something may have happened: at the latest after the given time."""

    def wait(self, seconds: float) -> None: ...

    def close(self) -> None: ...


def watch_events(url: str | None, address: str | Sequence[str], topics: Sequence[str]) -> Watch:
    """Watches the events of a contract, or of several, whose first topic is one of `topics`."""
    if url is not None and urlsplit(url).scheme in ("ws", "wss"):
        return SubscribedWatch(url, address, topics)
    return PollingWatch()


class PollingWatch:
    """Pauses of 50 ms, doubling up to 400 ms while nothing happens."""

    def __init__(self) -> None:
        self._pause = 0.05
        self._last = 0.0

    def wait(self, seconds: float) -> None:
        now = time.monotonic()
        self._pause = 0.05 if now - self._last > 1.0 else min(2 * self._pause, 0.4)
        time.sleep(max(min(seconds, self._pause), 0.0))
        self._last = time.monotonic()

    def close(self) -> None:
        """Nothing is open."""


class SubscribedWatch:
    """A subscription to logs, on a websocket of its own, made again when it breaks."""

    def __init__(self, url: str, address: str | Sequence[str], topics: Sequence[str]) -> None:
        self._url = url
        self._filter = {"address": address, "topics": [list(topics)]}
        self._socket: ClientConnection | None = None
        self._open()

    def wait(self, seconds: float) -> None:
        end = time.monotonic() + min(seconds, LOOK_SECONDS)
        try:
            if self._socket is None:
                self._open()
            if self._socket is not None:
                self._socket.recv(timeout=max(end - time.monotonic(), 0.0))
                while True:  # what came at the same time tells nothing new
                    self._socket.recv(timeout=0)
        except TimeoutError:
            return
        except (WebSocketException, OSError):
            self.close()
        time.sleep(max(min(0.2, end - time.monotonic()), 0.0))

    def _open(self) -> None:
        request = {"jsonrpc": "2.0", "id": 1, "method": "eth_subscribe", "params": ["logs", self._filter]}
        try:
            self._socket = dial(self._url, seconds=5.0)
            self._socket.send(json.dumps(request))
            self._socket.recv(timeout=5.0)
        except (WebSocketException, OSError):
            self.close()

    def close(self) -> None:
        """Ends the subscription."""
        socket, self._socket = self._socket, None
        if socket is not None:
            with contextlib.suppress(WebSocketException, OSError):
                socket.close()
