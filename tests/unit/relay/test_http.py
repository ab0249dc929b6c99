"""What goes wrong between a node and a relay, and relays that mean harm."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.client import HTTPConnection

import pytest
from waiting import SECONDS

from gridpact.chain.networks import Network
from gridpact.chain.values import SignedSubmission
from gridpact.errors import InputError
from gridpact.relay.client import RelayClient, RelayUnavailable
from gridpact.relay.server import RelayServer
from gridpact.relay.wire import MOST_BYTES
from unit.chain.synthetic import Played, played, star

SIGNED = SignedSubmission(1, (1,), b"", (0, 0, 0, 0), bytes(32), bytes(32))


@pytest.fixture(scope="module")
def relay(anvil: Network) -> Iterator[RelayServer]:
    made: Played = played(anvil, star(2), steps=4)
    with RelayServer(made.aggregator()) as server:
        yield server
    made.close()


@pytest.mark.parametrize(
    ("method", "path", "body", "message"),
    [
        ("POST", "/rounds/1/iterations/1", b"{", "no JSON"),
        ("POST", "/rounds/1/iterations/1", b"[]", "is a JSON object"),
        ("POST", "/rounds/1/iterations/1", b'{"node": 1, "copies": 2}', "'copies' must be"),
        ("POST", "/elsewhere", b"{}", "the path is"),
        ("GET", "/rounds/1/iterations/x", None, "the path is"),
        ("GET", "/rounds/1/iterations/1?wait=31", None, "0 to 30 seconds"),
        ("GET", "/rounds/1/iterations/1?wait=nan", None, "0 to 30 seconds"),
        ("GET", "/rounds/1/iterations/1?count=many", None, "many"),
    ],
)
def test_request_thatIsWrongIsRefused(
    relay: RelayServer, method: str, path: str, body: bytes | None, message: str
) -> None:
    connection = HTTPConnection(relay.url.removeprefix("http://"), timeout=SECONDS)
    for _ in range(2):  # on the same connection
        connection.request(method, path, body)
        response = connection.getresponse()
        assert response.status == 400
        assert message in json.loads(response.read())["error"]
    connection.close()


def test_body_thatIsTooLongIsNotRead(relay: RelayServer) -> None:
    for length in (str(MOST_BYTES + 1), "-1", "many", "²"):
        connection = HTTPConnection(relay.url.removeprefix("http://"), timeout=SECONDS)
        connection.putrequest("POST", "/rounds/1/iterations/1")
        connection.putheader("Content-Length", length.encode())
        connection.endheaders()
        response = connection.getresponse()
        assert response.status == 400
        assert "Content-Length of at most" in json.loads(response.read())["error"]
        connection.close()


def test_relay_listensOnLoopback(relay: RelayServer) -> None:
    assert relay.url.startswith("http://127.0.0.1:")


def test_relay_saysThatItCannotListen(relay: RelayServer) -> None:
    for port in (int(relay.url.rpartition(":")[2]), 70_000):
        with pytest.raises(InputError, match=f"cannot listen on 127.0.0.1:{port}"):
            RelayServer(relay._aggregator, port=port)


@pytest.mark.parametrize("url", ["", "ftp://127.0.0.1:1", "127.0.0.1:1", "http://"])
def test_client_failsOnOtherAddresses(url: str) -> None:
    with pytest.raises(InputError, match="is no address of a relay"):
        RelayClient(url)


def test_client_saysThatNobodyAnswers() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        client = RelayClient(f"http://127.0.0.1:{probe.getsockname()[1]}", timeout=1)
    for _ in range(2):
        with pytest.raises(RelayUnavailable, match="does not answer"):
            client.post(1, 1, SIGNED)


# ---------------------------------------------------------------------- other servers


def read_request(connection: socket.socket) -> bytes:
    """Headers and body."""
    received = b""
    while b"\r\n\r\n" not in received:
        part = connection.recv(65536)
        if not part:
            return b""
        received += part
    return received


@contextmanager
def serving(serve: Callable[[socket.socket], None]) -> Iterator[str]:
    """A server that does as it likes with each connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                threading.Thread(target=guarded, args=(connection,), daemon=True).start()

        def guarded(connection: socket.socket) -> None:
            with connection:
                try:
                    serve(connection)
                except OSError:
                    return

        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"


def answer(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"{}",
        b'{"submissions": 5}',
        b'{"submissions": [5]}',
        b'{"submissions": [{}]}',
        b"[" * 100_000,
        b'{"submissions": {"a": 1}}',
    ],
)
def test_client_understandsNoNonsense(body: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(answer(body))

    with serving(serve) as url, pytest.raises(RelayUnavailable):
        RelayClient(url, timeout=SECONDS).board(1, 1, 1, 0)


@pytest.mark.parametrize(
    "text", [b"HTTP/1.1 500 Broken\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 302 Found\r\n\r\n", b"?"]
)
def test_client_takesNoOtherStatus(text: bytes) -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(text)

    with serving(serve) as url, pytest.raises(RelayUnavailable):
        RelayClient(url, timeout=SECONDS).post(1, 1, SIGNED)


@pytest.mark.parametrize("start", [b"", b"HTTP/1.1 200 OK\r\nX: ", b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n"])
def test_client_isNotHeldUp(start: bytes) -> None:
    """A relay that says a byte now and then costs no more than the time it was given."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(start)
        while time.monotonic() < started + 2 * SECONDS:
            time.sleep(0.05)
            connection.sendall(b"1")

    started = time.monotonic()
    with serving(serve) as url:
        client = RelayClient(url, timeout=0.5)
        with pytest.raises(RelayUnavailable, match="does not answer"):
            client.board(1, 1, 1, 0.5)
    assert time.monotonic() - started < SECONDS  # the server goes on for twice as long


def test_client_readsNotForEver() -> None:
    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
        while True:
            connection.sendall(b" " * (1 << 20))

    with serving(serve) as url, pytest.raises(RelayUnavailable, match="does not answer"):
        RelayClient(url, timeout=SECONDS).board(1, 1, 1, 0)


def test_client_keepsItsConnection() -> None:
    connections = []

    def serve(connection: socket.socket) -> None:
        connections.append(connection)
        while read_request(connection):
            connection.sendall(answer(b'{"submissions": []}'))

    with serving(serve) as url:
        client = RelayClient(url, timeout=SECONDS)
        for _ in range(3):
            assert client.board(1, 1, 1, 0) == []
        client.close()
    assert len(connections) == 1


def test_client_opensAnewWhatTheRelayClosed() -> None:
    """A connection that was idle for too long."""

    def serve(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(answer(b'{"submissions": []}'))

    with serving(serve) as url:
        client = RelayClient(url, timeout=SECONDS)
        for _ in range(3):
            assert client.board(1, 1, 1, 0) == []
        client.close()
