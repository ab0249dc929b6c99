"""What a node says to a relay. Nothing that it answers is verified here: signatures tell what is worth something."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlencode, urlsplit

from gridpact.chain.values import SignedSubmission
from gridpact.errors import ChainError, InputError
from gridpact.relay.wire import MOST_WAIT_SECONDS, from_json, parse, to_json

MOST_ANSWER = 16 << 20
"""Bytes: 128 nodes of 192 steps need a quarter of it."""

CHUNK = 1 << 16


class RelayUnavailable(ChainError):
    """The relay does not answer, or refuses: submit directly."""


class RelayClient:
    """One connection to a relay, kept open. One object a thread.

    Args:
        url: http:// or https://, host and port.
        timeout: seconds that an answer may take, beyond what the request asks the relay to wait.
    """

    def __init__(self, url: str, timeout: float = 5.0) -> None:
        parts = urlsplit(url)
        kinds = {"http": HTTPConnection, "https": HTTPSConnection}
        if parts.scheme not in kinds or not parts.hostname:
            raise InputError(f"'{url}' is no address of a relay: give http://, a host and a port.")
        self._url, self._timeout = url, timeout
        self._connection = kinds[parts.scheme](parts.hostname, parts.port, timeout=timeout)

    def post(self, round: int, iteration: int, signed: SignedSubmission) -> None:
        """Hands in a submission.

        Raises:
            RelayUnavailable: the relay does not answer, or does not take it.
        """
        self._ask("POST", f"/rounds/{round}/iterations/{iteration}", json.dumps(to_json(signed)).encode())

    def board(self, round: int, iteration: int, count: int, seconds: float) -> list[SignedSubmission]:
        """The submissions for an iteration, as soon as there are `count`, after `seconds` (30 at most) at the latest.

        Raises:
            RelayUnavailable: the relay does not answer, or not in its language.
        """
        wait = min(max(seconds, 0.0), MOST_WAIT_SECONDS)
        query = urlencode({"count": count, "wait": f"{wait:.3f}"})
        answer = self._ask("GET", f"/rounds/{round}/iterations/{iteration}?{query}", wait=wait)
        try:
            return [from_json(values) for values in answer["submissions"]]
        except (KeyError, TypeError, ValueError) as error:
            raise RelayUnavailable(f"The answer of the relay at {self._url} cannot be read: {error}") from error

    def close(self) -> None:
        """Ends the connection; the next request opens a new one."""
        self._connection.close()

    def _ask(self, method: str, path: str, body: bytes | None = None, wait: float = 0.0) -> Any:
        """One exchange; a second one where the relay had closed the connection in between."""
        fresh = self._connection.sock is None
        end = time.monotonic() + wait + self._timeout
        try:
            status, answer = self._exchange(method, path, body, end)
        except (OSError, HTTPException, ValueError) as error:
            self.close()
            if not fresh and time.monotonic() < end:
                return self._ask(method, path, body, wait)
            raise RelayUnavailable(
                f"The relay at {self._url} does not answer ({type(error).__name__}): submit directly."
            ) from error
        if status != 200:
            reason = answer.get("error") if isinstance(answer, dict) else None
            raise RelayUnavailable(f"The relay at {self._url} refused: {reason or f'HTTP status {status}'}")
        return answer

    def _exchange(self, method: str, path: str, body: bytes | None, end: float) -> tuple[int, Any]:
        """Sends a request and reads the answer, all of it before `end`, however slowly it comes."""
        if self._connection.sock is None:
            self._connection.connect()
        seconds = max(end - time.monotonic(), 0.0)
        self._connection.sock.settimeout(seconds + self._timeout)
        cut = threading.Timer(seconds, _cut, [self._connection.sock])
        cut.daemon = True
        cut.start()
        try:
            self._connection.request(method, path, body, {"Content-Type": "application/json"})
            response = self._connection.getresponse()
            content = bytearray()
            while chunk := response.read(CHUNK):
                content += chunk
                if len(content) > MOST_ANSWER:
                    raise ValueError("the answer is too long")
            if response.length:
                raise ValueError("the answer is cut short")
        finally:
            cut.cancel()
        return response.status, parse(bytes(content))


def _cut(connection: socket.socket) -> None:
    """Ends a connection, in the middle of whatever it does."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
