"""How requests reach a chain: a websocket, HTTP, or a chain inside this process.

Every transport counts its requests and waits out an outage: a request that gets no answer is repeated with
growing pauses until `patience` seconds have passed. Repeating is safe, also for a signed transaction.

A websocket costs a node 0.1 ms of CPU a request where HTTP costs 0.9 ms, so it is preferred.
"""

from __future__ import annotations

import ast
import itertools
import json
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from urllib.parse import urlsplit, urlunsplit

import requests
from eth_abi.abi import encode
from eth_utils.exceptions import ValidationError as VmValidationError
from web3 import EthereumTesterProvider, HTTPProvider, Web3
from web3.exceptions import ContractPanicError
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from gridpact.errors import ChainError, InputError

PATIENCE_SECONDS = 60.0
"""How long an outage is waited out."""

REQUEST_SECONDS = 20.0
"""How long one request may take."""

ERROR_STRING = bytes.fromhex("08c379a0")  # selector of Error(string)

Result = TypeVar("Result")


@dataclass
class Meter:
    """What one connection cost: requests by method, and transactions and gas by sender."""

    requests: Counter[str] = field(default_factory=Counter)
    transactions: Counter[str] = field(default_factory=Counter)
    gas: Counter[str] = field(default_factory=Counter)

    @property
    def rpc_calls(self) -> int:
        return sum(self.requests.values())

    @property
    def gas_used(self) -> int:
        return sum(self.gas.values())

    def add(self, other: Meter) -> None:
        """Adds what another connection counted."""
        self.requests.update(other.requests)
        self.transactions.update(other.transactions)
        self.gas.update(other.gas)


def connect(url: str, patience: float = PATIENCE_SECONDS) -> Web3:
    """A connection to the node at `url`, for one thread of one process."""
    scheme = urlsplit(url).scheme
    if scheme in ("ws", "wss"):
        return Web3(WebSocketTransport(url, patience), middleware=[])
    if scheme in ("http", "https"):
        websocket = websocket_url(url)
        if websocket is not None:
            return Web3(WebSocketTransport(websocket, patience), middleware=[])
        return Web3(HttpTransport(url, patience), middleware=[])
    raise InputError(f"'{url}' is no address of a node: begin it with http:// or ws://.")


def websocket_url(url: str) -> str | None:
    """The websocket of the node at `url`, where it answers on the same port (Ganache and Anvil do)."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    websocket = urlunsplit(parts._replace(scheme=scheme))
    try:
        with dial(websocket, seconds=5.0) as socket:
            socket.send('{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
            answer = json.loads(socket.recv(timeout=5.0))
    except (OSError, WebSocketException, TimeoutError, ValueError):
        return None
    return websocket if isinstance(answer, dict) and "result" in answer else None


def dial(url: str, seconds: float = REQUEST_SECONDS) -> ClientConnection:
    """Opens a websocket. No pings: a busy single-threaded chain must not lose its connections."""
    return open_websocket(
        url,
        compression=None,
        max_size=None,
        open_timeout=seconds,
        close_timeout=1,
        ping_interval=None,
        proxy=None,
    )


def meter_of(web3: Web3) -> Meter:
    """The counters of a connection that this module opened."""
    meter = getattr(web3.provider, "meter", None)
    if not isinstance(meter, Meter):
        raise TypeError("the connection was not opened by gridpact.chain")
    return meter


def url_of(web3: Web3) -> str | None:
    """The address that a connection goes to; None inside the process."""
    return getattr(web3.provider, "url", None)


def _without_credentials(url: str) -> str:
    """Scheme, host and port only: a path or user part may hold an access key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _patiently(attempt: Callable[[], Result], url: str, patience: float) -> Result:
    """Repeats what found no connection, with growing pauses, for `patience` seconds."""
    give_up = time.monotonic() + patience
    for pause in itertools.chain((0.05, 0.1, 0.2, 0.5, 1.0), itertools.repeat(2.0)):
        try:
            return attempt()
        except (InvalidURI, requests.exceptions.InvalidURL) as error:
            raise InputError(f"'{_without_credentials(url)}' is no address of a node: check it.") from error
        except requests.exceptions.HTTPError as error:
            status = error.response.status_code if error.response is not None else 0
            if status < 500 and status != 429:
                raise ChainError(
                    f"The chain at {_without_credentials(url)} refused a request with HTTP status"
                    f" {status}: check the address and its access rights."
                ) from error
            last: Exception = error
        except InvalidHandshake as error:
            raise ChainError(
                f"{_without_credentials(url)} does not open a websocket: check the address of the node."
            ) from error
        except (requests.exceptions.RequestException, WebSocketException, OSError) as error:
            last = error
        except ValueError as error:
            raise ChainError(
                f"What answers at {_without_credentials(url)} does not speak JSON-RPC: check the address of the node."
            ) from error
        if time.monotonic() + pause > give_up:
            raise ChainError(
                f"The chain at {_without_credentials(url)} does not answer ({type(last).__name__}): check"
                " that its node runs and that the address is right."
            ) from last
        time.sleep(pause)
    raise AssertionError("unreachable")


class WebSocketTransport(JSONBaseProvider):
    """JSON-RPC over one websocket that is opened again when it breaks."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__()
        self.url = url
        self.meter = Meter()
        self._patience = patience
        self._lock = threading.Lock()
        self._socket: ClientConnection | None = None
        self._ids = itertools.count(1)

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.meter.requests[method] += 1
        with self._lock:
            return _patiently(lambda: self._exchange(method, params), self.url, self._patience)

    def _exchange(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        number = next(self._ids)
        request = {"jsonrpc": "2.0", "id": number, "method": method, "params": params or []}
        try:
            if self._socket is None:
                self._socket = dial(self.url)
            self._socket.send(json.dumps(request))
            while True:
                response: RPCResponse = json.loads(self._socket.recv(timeout=REQUEST_SECONDS))
                if response.get("id") == number:
                    return response
        except (WebSocketException, OSError, ValueError):
            self.close()
            raise

    def close(self) -> None:
        """Ends the connection; the next request opens a new one."""
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()


class HttpTransport(HTTPProvider):
    """JSON-RPC over HTTP."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__(url, request_kwargs={"timeout": REQUEST_SECONDS}, exception_retry_configuration=None)
        self.url = url
        self.meter = Meter()
        self._patience = patience

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        self.meter.requests[method] += 1
        send = super().make_request
        return _patiently(lambda: send(method, params), self.url, self._patience)


class EmbeddedTransport(EthereumTesterProvider):
    """A chain inside this process (eth-tester). Threads share it by a lock, each with its own transport."""

    url: str | None = None

    def __init__(self, tester: Any, lock: threading.Lock) -> None:
        super().__init__(tester)
        self.meter = Meter()
        self._tester = tester
        self._lock = lock
        self._accounts: RPCResponse | None = None  # web3 asks for them before every call; they never change

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        from eth_tester.exceptions import TransactionFailed
        from eth_tester.exceptions import ValidationError as TesterValidationError

        if method == "eth_accounts" and self._accounts is not None:
            return self._accounts
        self.meter.requests[method] += 1
        try:
            with self._lock:
                if method == "eth_sendRawTransaction":
                    self._follow_the_clock()
                response = super().make_request(method, params)
                if method == "eth_accounts":
                    self._accounts = response
                return response
        except TransactionFailed as error:
            return _refusal(3, "execution reverted", _revert_data(error))
        except ContractPanicError as error:
            return _refusal(3, "execution reverted", str(error.data))
        except (TesterValidationError, VmValidationError) as error:
            return _refusal(-32000, str(error))

    def _follow_the_clock(self) -> None:
        """py-evm adds one second a block: keep up with the time of day, or no deadline would ever pass."""
        backend = self._tester.backend
        now = int(time.time())
        if backend.chain.header.timestamp < now:
            backend.time_travel(now)


def _refusal(code: int, message: str, data: str | None = None) -> RPCResponse:
    error: dict[str, Any] = {"code": code, "message": message}
    if data is not None:
        error["data"] = data
    return {"jsonrpc": "2.0", "id": 0, "error": error}  # type: ignore[typeddict-item]


def _revert_data(error: BaseException) -> str:
    """The bytes that a call reverted with. eth-tester nests them in an exception, or prints them as text."""
    reason: object = (error.__context__ or error).args[0]
    while isinstance(reason, BaseException):
        reason = reason.args[0] if reason.args else b""
    if isinstance(reason, str) and reason[:2] in ("b'", 'b"'):
        reason = ast.literal_eval(reason)
    if isinstance(reason, bytes):
        return "0x" + reason.hex()
    return "0x" + (ERROR_STRING + encode(["string"], [str(reason)])).hex()
