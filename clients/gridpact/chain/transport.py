"""How requests reach a chain: a websocket, HTTP, or a chain inside this process.

Every transport counts its requests and waits out an outage, a limit on requests, and what is no answer (see `answers`):
the request is repeated with growing pauses until `patience` seconds have passed. Repeating is safe, also for a signed
transaction.

A websocket costs a node 0.1 ms of CPU a request where HTTP costs 0.9 ms, so it is preferred.
"""

from __future__ import annotations

import ast
import itertools
import json
import random
import re
import ssl
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

import requests
from eth_abi.abi import encode
from eth_utils.exceptions import ValidationError as VmValidationError
from web3 import EthereumTesterProvider, Web3
from web3.exceptions import ContractPanicError
from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse
from websockets.exceptions import InvalidHandshake, InvalidURI, WebSocketException
from websockets.sync.client import ClientConnection
from websockets.sync.client import connect as open_websocket

from gridpact.chain.answers import LOGS, PASSING_LOG_REPEATS, Trouble, limit_of, trouble_in
from gridpact.errors import ChainError, InputError
from gridpact.files import parse_json

PATIENCE_SECONDS = 60.0
"""How long an outage is waited out."""

TURN_SECONDS = 4.0
"""How long one of several endpoints is waited for before the next is asked."""

REQUEST_SECONDS = 20.0
"""How long one request may take."""

MOST_AT_ONCE = 100
"""Requests in one batch. Where a batch is not taken, the next ones are half as large, down to single requests."""

LARGE_AGAIN_SECONDS = 600.0
"""After which batches are tried as large as ever, since a passing trouble looks like a refusal."""

LIMIT_STATUSES = frozenset({402, 420, 429, 430, 529})
"""By which gateways say that they were asked too often, or more than was paid for."""

NO_TLS = "its TLS certificate is not accepted"

Request = dict[str, Any]
"""Of JSON-RPC."""

Answer = TypeVar("Answer")

ERROR_STRING = bytes.fromhex("08c379a0")  # selector of Error(string)


@dataclass
class SpendingMeter:
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

    def add(self, other: SpendingMeter) -> None:
        """Adds what another connection counted."""
        self.requests.update(other.requests)
        self.transactions.update(other.transactions)
        self.gas.update(other.gas)


def connect(url: str, patience: float = PATIENCE_SECONDS) -> Web3:
    """A connection to the node at `url`, for one thread of one process; to several of one chain with commas between."""
    urls = urls_in(url)
    if len(urls) > 1:
        return Web3(Endpoints(urls, patience), middleware=[])
    return Web3(transport_to(urls[0], patience), middleware=[])


def urls_in(text: str) -> list[str]:
    """Addresses of nodes with commas between.

    Raises:
        InputError: one is none.
    """
    urls = [url.strip() for url in text.split(",") if url.strip()]
    for url in urls or [text]:
        if urlsplit(url).scheme not in ("ws", "wss", "http", "https"):
            raise InputError(f"'{url}' is no address of a node: begin it with http:// or ws://.")
    return urls


def transport_to(url: str, patience: float) -> Transport:
    """To one node: by a websocket where it has one."""
    if urlsplit(url).scheme in ("ws", "wss"):
        return WebSocketTransport(url, patience)
    websocket = websocket_url(url)
    return HttpTransport(url, patience) if websocket is None else WebSocketTransport(websocket, patience)


def websocket_url(url: str) -> str | None:
    """The websocket of the node at `url`, where it answers on the same port (Ganache and Anvil do)."""
    parts = urlsplit(url)
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme, parts.scheme)
    websocket = urlunsplit(parts._replace(scheme=scheme))
    try:
        with dial(websocket, seconds=5.0) as socket:
            socket.send('{"jsonrpc":"2.0","id":1,"method":"eth_chainId","params":[]}')
            answer = parse_json(socket.recv(timeout=5.0))
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


def meter_of(web3: Web3) -> SpendingMeter:
    """The counters of a connection that this module opened."""
    meter = getattr(web3.provider, "meter", None)
    if not isinstance(meter, SpendingMeter):
        raise TypeError("the connection was not opened by gridpact.chain")
    return meter


def url_of(web3: Web3) -> str | None:
    """The address that a connection goes to; None inside the process."""
    return getattr(web3.provider, "url", None)


class Transport(JSONBaseProvider):
    """JSON-RPC to one endpoint. A request that gets no answer is made again."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__()
        self.url = url
        self.meter = SpendingMeter()
        self._patience = patience
        self._spoke = False  # once it has answered as a node does, anything else is a passing trouble
        self._ids = itertools.count(1)
        self._most_at_once, self._refused_at = MOST_AT_ONCE, 0.0

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The answer; what finds none is repeated with growing pauses until the patience is at its end.

        Raises:
            InputError: the address is none.
            ChainError: there is no answer.
        """
        self.meter.requests[method] += 1
        give_up = time.monotonic() + self._patience
        for attempt, pause in enumerate(itertools.chain((0.05, 0.1, 0.2, 0.5, 1.0), itertools.repeat(2.0))):
            answer: RPCResponse | None = None
            cause: Exception | None = None
            try:
                answer = self._exchange(method, params)
                trouble = trouble_in(method, params, answer)
            except Troubled as error:
                trouble = error.trouble
            except (InvalidURI, requests.exceptions.InvalidURL) as error:
                raise InputError(f"'{self._where}' is no address of a node: check it.") from error
            except (ssl.SSLError, requests.exceptions.SSLError) as error:
                cause, trouble = error, Trouble(f"{NO_TLS} ({_of_certificate(error)})", foreign=True)
            except InvalidHandshake as error:
                cause, trouble = error, Trouble("it does not open a websocket", foreign=True)
            except (requests.exceptions.RequestException, WebSocketException, OSError) as error:
                cause, trouble = error, Trouble(type(error).__name__)
            except ValueError as error:
                cause, trouble = error, Trouble("it does not speak JSON-RPC", foreign=True)
            if answer is not None and (trouble is None or (trouble.repeats is not None and attempt >= trouble.repeats)):
                self._spoke = True
                return answer
            assert trouble is not None
            if method == LOGS and attempt >= PASSING_LOG_REPEATS and not trouble.limited and self._is_alive():
                return _refusal(-32000, trouble.words)  # the piece is too large for it: a smaller one may do
            pause = max(pause * random.uniform(0.8, 1.2), trouble.pause)  # not all nodes at once
            if (trouble.foreign and not self._spoke) or time.monotonic() + pause > give_up:
                raise self._given_up(method, trouble) from cause
            time.sleep(pause)
        raise AssertionError("unreachable")

    def make_requests(self, method: RPCEndpoint, several: Sequence[Any]) -> list[RPCResponse]:
        """The answers for several parameters, in their order: asked for at once. What is not answered so, or with a
        trouble, is asked for alone.

        Raises:
            InputError, ChainError: see `make_request`.
        """
        answers: list[RPCResponse] = []
        while len(answers) < len(several):
            part = several[len(answers) : len(answers) + self._at_once()]
            told = self._batch(method, part) if len(part) > 1 else {}
            self.meter.requests[method] += len(told)  # as they are billed
            answers += [told[at] if at in told else self.make_request(method, one) for at, one in enumerate(part)]
        return answers

    def _at_once(self) -> int:
        if time.monotonic() > self._refused_at + LARGE_AGAIN_SECONDS:
            self._most_at_once = MOST_AT_ONCE
        return self._most_at_once

    def _batch(self, method: RPCEndpoint, several: Sequence[Any]) -> dict[int, RPCResponse]:
        """What is answered to one batch, by place; nothing where it is not taken."""
        asked = [self._request(method, params) for params in several]
        limited = False
        try:
            answer = self._send(asked)
            if isinstance(answer, list):
                told = {str(one.get("id")): cast(RPCResponse, one) for one in answer if isinstance(one, dict)}
                found = {at: told.get(str(request["id"])) for at, request in enumerate(asked)}
                return {at: one for at, one in found.items() if one and not trouble_in(method, several[at], one)}
            trouble = trouble_in(method, None, answer)
            limited = trouble is not None and trouble.limited
        except Troubled as error:
            limited = error.trouble.limited
        except (requests.exceptions.RequestException, WebSocketException, OSError, ValueError):
            pass  # what it is shows where one is asked for alone
        if not limited:
            self._most_at_once, self._refused_at = max(len(several) // 2, 1), time.monotonic()
        return {}

    def _exchange(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Sends a request once."""
        answer: RPCResponse = self._send(self._request(method, params))
        return answer

    def _request(self, method: RPCEndpoint, params: Any) -> Request:
        return {"jsonrpc": "2.0", "id": next(self._ids), "method": method, "params": params or []}

    def _send(self, request: Request | Sequence[Request]) -> Any:
        """What is answered to a request, or to a batch of them, sent once."""
        raise NotImplementedError

    def _is_alive(self) -> bool:
        """Whether the endpoint answers something small."""
        method = RPCEndpoint("eth_blockNumber")
        self.meter.requests[method] += 1
        try:
            return trouble_in(method, [], self._exchange(method, [])) is None
        except (Troubled, requests.exceptions.RequestException, WebSocketException, OSError, ValueError):
            return False

    def close(self) -> None:
        """Ends the connection; the next request opens a new one."""

    @property
    def _where(self) -> str:
        return _place_of(self.url)

    def _given_up(self, method: str, trouble: Trouble) -> ChainError:
        if trouble.words.startswith(NO_TLS):
            return ChainError(f"The endpoint at {self._where} is not trusted: {trouble.words}; check the address.")
        if trouble.foreign:
            return ChainError(f"What answers at {self._where} is no node: {trouble.words}; check the address.")
        if trouble.limited:
            later = f"; it asks for a pause of {trouble.pause:.0f} s" if trouble.pause > self._patience else ""
            return ChainError(
                f"The endpoint at {self._where} limits how often it is asked ({trouble.words}) and did not take"
                f" `{method}` within {self._patience:.0f} s{later}: give another endpoint, or one for this node alone."
            )
        if trouble.words.startswith("it answers"):
            return ChainError(
                f"The endpoint at {self._where} is wrong: {trouble.words} to `{method}`; give another endpoint."
            )
        return ChainError(
            f"The chain at {self._where} does not answer ({trouble.words}): check that its node runs and that the"
            " address is right."
        )


def _place_of(url: str) -> str:
    """Scheme, host and port only: a path or user part may hold an access key."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.netloc else "another path"


def _of_certificate(error: BaseException) -> str:
    """What is wrong with a certificate, in the words of the library."""
    known = re.search(r"certificate verify failed: ([^(\"']+)", str(error))
    return known[1].strip() if known else "no connection by TLS"


class Troubled(Exception):
    """There was no answer, for a reason that the connection knows."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.words)
        self.trouble = trouble


class WebSocketTransport(Transport):
    """JSON-RPC over one websocket that is opened again when it breaks."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__(url, patience)
        self._lock = threading.Lock()
        self._socket: ClientConnection | None = None

    def _send(self, request: Request | Sequence[Request]) -> Any:
        ids = {None, *(one["id"] for one in ([request] if isinstance(request, dict) else request))}
        with self._lock:
            try:
                if self._socket is None:
                    self._socket = dial(self.url)
                self._socket.send(json.dumps(request))
                while True:
                    answer = parse_json(self._socket.recv(timeout=REQUEST_SECONDS))
                    if not isinstance(answer, dict) or (answer.get("id") in ids and "method" not in answer):
                        return answer
            except (WebSocketException, OSError, ValueError):
                self.close()
                raise

    def close(self) -> None:
        socket, self._socket = self._socket, None
        if socket is not None:
            socket.close()


class HttpTransport(Transport):
    """JSON-RPC over HTTP."""

    def __init__(self, url: str, patience: float = PATIENCE_SECONDS) -> None:
        super().__init__(url, patience)
        self._session = requests.Session()
        self._session.headers["Content-Type"] = "application/json"

    def _send(self, request: Request | Sequence[Request]) -> Any:
        body = json.dumps(request)
        got = self._session.post(self.url, data=body, timeout=REQUEST_SECONDS, allow_redirects=False)
        if got.is_redirect:  # followed, many a POST would become a GET
            raise Troubled(Trouble(f"it sends on to {_place_of(got.headers['Location'])}", foreign=True))
        if got.status_code in LIMIT_STATUSES or (got.status_code == 503 and "Retry-After" in got.headers):
            raise Troubled(limit_of(got.status_code, got.headers.get("Retry-After")))
        try:
            answer = parse_json(got.content)
        except ValueError:
            if got.ok:
                raise
            answer = None
        if got.ok or (isinstance(answer, dict) and answer.get("error")):  # some send errors with status 400
            return answer
        raise Troubled(
            Trouble(f"it refused a request with HTTP status {got.status_code}", foreign=got.status_code < 500)
        )

    def close(self) -> None:
        self._session.close()


class Endpoints(JSONBaseProvider):
    """Several endpoints of one chain: where one does not answer, the next is asked, and asked first from then on."""

    def __init__(self, urls: Sequence[str], patience: float = PATIENCE_SECONDS) -> None:
        super().__init__()
        self.meter = SpendingMeter()
        self._urls = list(urls)
        self._patience = patience
        self._open: dict[str, Transport] = {}
        self._chain_id: str | None = None  # of the first that told

    @property
    def url(self) -> str:
        """The endpoint that is asked now."""
        endpoint = self._open.get(self._urls[0])
        return self._urls[0] if endpoint is None else endpoint.url

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """As of one endpoint.

        Raises:
            ChainError: none of them answers.
        """
        self.meter.requests[method] += 1
        return self._of_one(lambda endpoint: endpoint.make_request(method, params))

    def make_requests(self, method: RPCEndpoint, several: Sequence[Any]) -> list[RPCResponse]:
        """As of one endpoint.

        Raises:
            ChainError: none of them answers.
        """
        self.meter.requests[method] += len(several)
        return self._of_one(lambda endpoint: endpoint.make_requests(method, several))

    def _of_one(self, ask: Callable[[Transport], Answer]) -> Answer:
        """What the first one tells that answers."""
        give_up, last = time.monotonic() + self._patience, None
        for attempt in itertools.count():
            try:
                return ask(self._current())
            except (ChainError, InputError) as error:
                last = error
            self.turn()
            if attempt >= len(self._urls) - 1 and time.monotonic() > give_up:
                break
        raise ChainError(f"None of the {len(self._urls)} endpoints answers; of the last: {last}") from last

    def turn(self) -> None:
        """Asks the next endpoint first."""
        self._urls.append(self._urls.pop(0))

    def _current(self) -> Transport:
        """The transport to the first, opened where it is not.

        Raises:
            ChainError: it does not answer, or is of another chain.
        """
        url = self._urls[0]
        if url not in self._open:
            opened = transport_to(url, min(self._patience, TURN_SECONDS))
            chain_id = str(opened.make_request(RPCEndpoint("eth_chainId"), []).get("result"))
            if self._chain_id not in (None, chain_id):
                opened.close()
                raise ChainError(
                    f"An endpoint is of chain {int(chain_id, 16)}, another of {int(self._chain_id or '0', 16)}."
                )
            self._chain_id, self._open[url] = chain_id, opened
        return self._open[url]

    def close(self) -> None:
        """Ends all connections."""
        while self._open:
            self._open.popitem()[1].close()


class EmbeddedTransport(EthereumTesterProvider):
    """A chain inside this process (eth-tester). Threads share it by a lock, each with its own transport."""

    url: str | None = None

    def __init__(self, tester: Any, lock: threading.Lock) -> None:
        super().__init__(tester)
        self.meter = SpendingMeter()
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
