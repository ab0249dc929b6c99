"""An endpoint with habits: JSON-RPC over HTTP in front of a chain, as hosted nodes behave, or misbehave."""

from __future__ import annotations

import json
import math
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import requests
from web3.types import RPCEndpoint

from gridpact.chain.networks import Network

Ask = Callable[[str, Sequence[Any]], Mapping[str, Any]]
"""Passes a request on to the chain: method and parameters to `{"result": …}` or `{"error": …}`."""


@dataclass(frozen=True)
class Reply:
    """What the endpoint sends: a JSON-RPC answer, or bytes as they are."""

    body: Mapping[str, Any] | bytes
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    missing: int = 0  # bytes that are announced and do not come: the connection is closed instead


Habit = Callable[[str, Sequence[Any], Ask], "Reply | Mapping[str, Any] | None"]
"""Answers a request in its own way; None: does not care for it."""


Batch = Sequence[Mapping[str, Any]]
"""Requests in a list, or what is answered to them."""

BatchHabit = Callable[[Batch, Callable[[Batch], Batch]], "Reply | Batch | None"]
"""Answers a list of requests in its own way, of which the second argument answers any; None: does not care for it."""


class Endpoint:
    """Serves until it is closed. The first habit that answers a request wins; without any, the chain does.

    Args:
        batches: habits with lists of requests, whose single ones then meet the others.
    """

    def __init__(self, network: Network, *habits: Habit, batches: Sequence[BatchHabit] = ()) -> None:
        self.habits = list(habits)
        self.batches = list(batches)
        self.asked: Counter[str] = Counter()
        self.sizes: list[int] = []  # of the batches
        self._lock = threading.Lock()
        self.ask = _pass_on(network)
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self._send(Reply(b"no websocket here", 400))

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                if isinstance(request, list):
                    self._send(endpoint._reply_to_all(request))
                else:
                    self._send(endpoint._reply(request), request.get("id"))

            def _send(self, reply: Reply, number: object = None) -> None:
                body = reply.body
                if isinstance(body, Mapping):
                    body = json.dumps({"jsonrpc": "2.0", "id": number, **body}).encode()
                self.send_response(reply.status)
                for name, value in {"Content-Type": "application/json", **reply.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body) + reply.missing))
                self.end_headers()
                self.wfile.write(body)
                self.close_connection = self.close_connection or reply.missing > 0

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        class Server(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: Any) -> None:
                """A client that has gone."""

        self._server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def _reply(self, request: Mapping[str, Any]) -> Reply:
        method, parameters = str(request["method"]), request.get("params") or []
        with self._lock:
            self.asked[method] += 1
            habits = list(self.habits)
        for habit in habits:
            answer = habit(method, parameters, self.ask)
            if answer is not None:
                return answer if isinstance(answer, Reply) else Reply(answer)
        return Reply(self.ask(method, parameters))

    def _reply_to_all(self, requests_: Batch) -> Reply:
        with self._lock:
            self.sizes.append(len(requests_))
            batches = list(self.batches)

        def each(some: Batch) -> Batch:
            bodies = ((one["id"], self._reply(one).body) for one in some)
            return [
                {"jsonrpc": "2.0", "id": number, **(body if isinstance(body, Mapping) else refusal(-32603, "lost"))}
                for number, body in bodies
            ]

        for habit in batches:
            answer = habit(requests_, each)
            if answer is not None:
                return answer if isinstance(answer, Reply) else Reply(json.dumps(answer).encode())
        return Reply(json.dumps(each(requests_)).encode())

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def endpoint(network: Network, *habits: Habit, batches: Sequence[BatchHabit] = ()) -> Iterator[Endpoint]:
    """An endpoint for as long as the context is open."""
    made = Endpoint(network, *habits, batches=batches)
    try:
        yield made
    finally:
        made.close()


def _pass_on(network: Network) -> Ask:
    """To the chain: by HTTP, or by a connection inside the process."""
    if network.rpc_url is None:
        link = network.connect()
        spoken: Any = link.provider.request_func(link, link.middleware_onion)  # in the words of JSON-RPC, not of py-evm

        def inside(method: str, parameters: Sequence[Any]) -> Mapping[str, Any]:
            answer = spoken(RPCEndpoint(method), list(parameters))
            return {key: _as_json(answer[key]) for key in ("result", "error") if key in answer}

        return inside
    local = threading.local()

    def outside(method: str, parameters: Sequence[Any]) -> Mapping[str, Any]:
        if not hasattr(local, "session"):
            local.session = requests.Session()
        request = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
        for _ in range(60):  # a busy machine
            with suppress(requests.exceptions.Timeout):
                answer = local.session.post(network.rpc_url, json=request, timeout=2).json()
                return {key: answer[key] for key in ("result", "error") if key in answer}
        raise TimeoutError(method)

    return outside


def _as_json(value: Any) -> Any:
    """Numbers and bytes in hexadecimal, as nodes send them; the code of an error stays a number."""
    if isinstance(value, Mapping):
        return {key: item if key == "code" else _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return hex(value) if isinstance(value, int) and not isinstance(value, bool) else value


# ---------------------------------------------------------------------- habits


def refusal(code: int, message: str, **more: Any) -> Mapping[str, Any]:
    """A JSON-RPC error."""
    return {"error": {"code": code, "message": message, **more}}


def limited_range(blocks: int, code: int = -32602, message: str = "range {size} exceeds limit of {most}") -> Habit:
    """`eth_getLogs` over so many blocks at most."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getLogs" or (size := _span(parameters[0], ask)) <= blocks:
            return None
        return refusal(code, message.format(size=size - 1, most=blocks))

    return habit


def limited_results(
    entries: int, code: int = -32005, message: str = "query returned more than {most} results"
) -> Habit:
    """`eth_getLogs` with so many entries at most."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getLogs":
            return None
        answer = ask(method, parameters)
        return refusal(code, message.format(most=entries)) if len(answer.get("result", ())) > entries else answer

    return habit


def pruned_before(block: int, code: int = 4444, message: str = "pruned history unavailable") -> Habit:
    """No log of older blocks."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getLogs" or int(parameters[0]["fromBlock"], 16) >= block:
            return None
        return refusal(code, message)

    return habit


def limited_rate(per_second: int, over: Reply | Mapping[str, Any]) -> Habit:
    """So many requests within a second; what is beyond gets the answer `over`."""
    times: deque[float] = deque()
    lock = threading.Lock()

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        now = time.monotonic()
        with lock:
            while times and times[0] < now - 1:
                times.popleft()
            if len(times) >= per_second:
                return over
            times.append(now)
        return None

    return habit


def now_and_then(share: float, reply: Reply | Mapping[str, Any], *methods: str, seed: int = 1) -> Habit:
    """That part of all requests, or of those with the methods, gets a fixed reply."""
    draw = random.Random(seed)

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        return reply if (not methods or method in methods) and draw.random() < share else None

    return habit


def always(reply: Reply | Mapping[str, Any], *methods: str) -> Habit:
    """The methods get a fixed reply."""
    return now_and_then(1.1, reply, *methods)


def _span(wanted: Mapping[str, Any], ask: Ask) -> int:
    """How many blocks a request for the log is about."""
    first, last = wanted.get("fromBlock", "latest"), wanted.get("toBlock", "latest")
    head = int(ask("eth_blockNumber", [])["result"], 16)
    numbers = [
        head if name in ("latest", "pending") else 0 if name == "earliest" else int(name, 16) for name in (first, last)
    ]
    return max(numbers[1] - numbers[0] + 1, 0)


def cut(share: float, seed: int = 1) -> Habit:
    """That part of the answers breaks off."""
    draw = random.Random(seed)

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | None:
        if draw.random() >= share:
            return None
        body = json.dumps({"jsonrpc": "2.0", "id": 1, **ask(method, parameters)}).encode()
        return Reply(body[: len(body) // 2], missing=len(body) - len(body) // 2)

    return habit


def taken_unsaid(share: float, reply: Reply | Mapping[str, Any], seed: int = 1) -> Habit:
    """That part of the transactions is taken, and the answer is another one."""
    draw = random.Random(seed)

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        if method != "eth_sendRawTransaction" or draw.random() >= share:
            return None
        ask(method, parameters)
        return reply

    return habit


def counting(more: int) -> Habit:
    """So many transactions of each account more, or less, than there are."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getTransactionCount":
            return None
        return {"result": hex(max(int(ask(method, parameters)["result"], 16) + more, 0))}

    return habit


def outages(every: float, seconds: float, reply: Reply | Mapping[str, Any]) -> Habit:
    """Nothing but this reply for some seconds, again and again."""
    began = time.monotonic()

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        return reply if (time.monotonic() - began) % every > every - seconds else None

    return habit


def lagging(share: float, blocks: int = 1, seed: int = 1) -> Habit:
    """One of several nodes behind a load balancer: that part of the answers is of so many blocks ago."""
    draw = random.Random(seed)

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method not in ("eth_call", "eth_getLogs", "eth_blockNumber") or draw.random() >= share:
            return None
        old = max(int(ask("eth_blockNumber", [])["result"], 16) - blocks, 0)
        if method == "eth_blockNumber":
            return {"result": hex(old)}
        if method == "eth_call":
            return ask(method, [parameters[0], hex(old)]) if parameters[1] == "latest" else None
        if int(parameters[0]["fromBlock"], 16) > old:
            return {"result": []}
        last = int(parameters[0].get("toBlock", hex(old)), 16)
        return ask(method, [{**parameters[0], "toBlock": hex(min(last, old))}])

    return habit


def remembering(seconds: float, *methods: str) -> Habit:
    """A cache in front of a node: what was asked before is answered for so long as it was then, so that a contract
    stands where it stood while its log goes on."""
    kept: dict[str, tuple[float, Mapping[str, Any]]] = {}
    lock = threading.Lock()

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method not in methods:
            return None
        key, now = json.dumps([method, parameters], sort_keys=True), time.monotonic()
        with lock:
            at, answer = kept.get(key, (-math.inf, {}))
        if now - at < seconds:
            return answer
        answer = ask(method, parameters)
        with lock:
            kept[key] = now, answer
        return answer

    return habit


def without(*methods: str) -> Habit:
    """Methods that the endpoint does not have."""
    return always(refusal(-32601, "the method does not exist/is not available"), *methods)


def changed_calldata(change: Callable[[bytes], bytes]) -> Habit:
    """Transactions that were sent with something else."""

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
        if method != "eth_getTransactionByHash":
            return None
        found = ask(method, parameters).get("result")
        if found is None:
            return None
        return {"result": found | {"input": "0x" + change(bytes.fromhex(found["input"][2:])).hex()}}

    return habit


def old_blocks(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
    """A chain without EIP-1559."""
    if method in ("eth_maxPriorityFeePerGas", "eth_feeHistory"):
        return refusal(-32601, "the method does not exist/is not available")
    if method != "eth_getBlockByNumber":
        return None
    block = dict(ask(method, parameters)["result"])
    block.pop("baseFeePerGas", None)
    return {"result": block}


def old_transactions(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any] | None:
    """An endpoint that takes no typed transactions."""
    if method == "eth_sendRawTransaction" and int(parameters[0][2:4], 16) < 0x7F:
        return refusal(-32000, "transaction type not supported")
    return None


# ---------------------------------------------------------------------- habits with batches


def batches_of_at_most(most: int, over: Reply) -> BatchHabit:
    """What has more requests gets the reply `over`."""
    return lambda requests_, _: over if len(requests_) > most else None


def out_of_order(requests_: Batch, each: Callable[[Batch], Batch]) -> Batch:
    """The last one first."""
    return each(requests_)[::-1]


def leaves_out(place: int) -> BatchHabit:
    """The answer at a place is missing."""
    return lambda requests_, each: each([*requests_[:place], *requests_[place + 1 :]])


def in_each_batch(place: int, told: Any) -> BatchHabit:
    """Something else stands at a place."""

    def habit(requests_: Batch, each: Callable[[Batch], Batch]) -> Batch:
        answers: list[Any] = list(each(requests_))
        answers[place] = {"jsonrpc": "2.0", "id": requests_[place]["id"], **told} if isinstance(told, dict) else told
        return answers

    return habit


def cut_batches(requests_: Batch, each: Callable[[Batch], Batch]) -> Reply:
    """They break off."""
    body = json.dumps(each(requests_)).encode()
    return Reply(body[: len(body) // 2], missing=len(body) - len(body) // 2)
