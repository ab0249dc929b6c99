"""Endpoints with habits: a passing trouble is asked again, an answer is taken, the rest is one sentence."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import requests
from endpoints import (
    Ask,
    BatchHabit,
    Endpoint,
    Habit,
    Reply,
    always,
    batches_of_at_most,
    cut_batches,
    endpoint,
    in_each_batch,
    leaves_out,
    limited_rate,
    out_of_order,
    refusal,
)
from waiting import SECONDS
from web3 import Web3

from gridpact.chain import transport as transport_module
from gridpact.chain.answers import seconds_of, trouble_in
from gridpact.chain.logs import LogReader
from gridpact.chain.networks import Network, open_network
from gridpact.chain.transport import Endpoints, HttpTransport, connect
from gridpact.errors import ChainError, InputError

NUMBER = {"result": "0x2a"}


def first(times: int, reply: Reply | Mapping[str, Any]) -> Habit:
    """The first requests get a fixed reply, then all get a number."""
    left = iter(range(times))

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any]:
        return NUMBER if next(left, None) is None else reply

    return habit


@pytest.fixture(scope="module")
def chain() -> Any:
    with open_network("eth-tester") as network:
        yield network


def asked(chain: Network, *habits: Habit, patience: float = SECONDS, method: str = "eth_blockNumber") -> Any:
    """What a request gets, by way of web3."""
    with endpoint(chain, *habits) as served:
        transport = HttpTransport(served.url, patience)
        try:
            web3 = Web3(transport, middleware=[])
            transport.make_request("eth_chainId", [])  # type: ignore[arg-type]  # it has answered before
            return web3.manager.request_blocking(method, [])  # type: ignore[arg-type]
        finally:
            transport.close()


def but_for_the_id(habit: Habit) -> Habit:
    """The first contact is as it should be."""

    def after(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        return NUMBER if method == "eth_chainId" else habit(method, parameters, ask)

    return after


LIMITS: dict[str, Reply | Mapping[str, Any]] = {
    "429": Reply(b"", 429),
    "429 with seconds": Reply(b"slow down", 429, {"Retry-After": "0.3"}),
    "429 with a body": Reply({"error": {"code": 429, "message": "Too Many Requests"}}, 429),
    "503 with a time": Reply(b"", 503, {"Retry-After": "0.1"}),
    "QuickNode": refusal(-32007, "15/second request limit reached - reduce calls per second"),
    "Infura": refusal(-32005, "project ID request rate exceeded", data={"rate": {"backoff_seconds": 0.2}}),
    "Alchemy": refusal(429, "Your app has exceeded its compute units per second capacity."),
    "status 400": Reply(refusal(-32016, "rate limited"), 400),
    "only words": refusal(-32000, "Too many requests, try again later"),
    "one request too many": refusal(-32000, "Too many request for this key"),
    "limit": refusal(-32000, "limit exceeded"),
    "RPS": refusal(-32098, "RPS of your plan: 25"),
    "day": refusal(-32001, "Daily limit for the free tier has been reached"),
    "calls": refusal(-32000, "no calls left in this window"),
    "rate": refusal(-32000, "API rate exceeded"),
    "402": Reply(b"<html>Payment Required</html>", 402),
    "420": Reply(b"", 420),
    "529": Reply(b"overloaded", 529, {"Retry-After": "0.1"}),
}
TROUBLES: dict[str, Reply | Mapping[str, Any]] = {
    "null": {"result": None},
    "false": {"result": False},
    "a page": Reply(b"<html>502 Bad Gateway</html>", 200),
    "a page with 502": Reply(b"<html></html>", 502),
    "half an answer": Reply(b'{"jsonrpc":"2.0","resu'),
    "a word": {"result": "<html>"},
    "an object": {"result": {}},
    "no digits": {"result": "0x"},
    "internal error": refusal(-32603, "Internal error"),
    "timeout": refusal(-32000, "request timed out"),
    "500 with an error": Reply(refusal(-32603, "internal server error"), 500),
    "neither": {"id": 7},
    "a list": Reply(b"[]"),
    "a node behind": refusal(-32000, "header not found"),
    "without a state": refusal(-32000, "missing trie node 1f (path ) state 0x1f is not available"),
    "half a body": Reply(b'{"jsonrpc":"2.0",', missing=40),
    "no gzip": Reply(b"\x1f\x8b not gzip", headers={"Content-Encoding": "gzip"}),
    "522": Reply(b"error code: 522", 522),
    "nested without end": Reply(b"[" * 100_000),
    "forbidden for a moment": Reply(b"", 403),
}


@pytest.mark.parametrize("reply", [*LIMITS.values(), *TROUBLES.values()], ids=[*LIMITS, *TROUBLES])
def test_passingTrouble_isAskedAgain(chain: Network, reply: Reply | Mapping[str, Any]) -> None:
    assert asked(chain, but_for_the_id(first(2, reply))) == "0x2a"


@pytest.mark.parametrize("name", LIMITS)
def test_limit_isSaid(chain: Network, name: str) -> None:
    with pytest.raises(ChainError, match=r"limits how often it is asked .* give another endpoint"):
        asked(chain, but_for_the_id(always(LIMITS[name])), patience=0.3)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_redirection_isSaid(chain: Network, status: int) -> None:
    """It is not followed: a POST would become a GET, and what answers it is no node."""
    reply = Reply(b"", status, {"Location": "https://node.example:8443/v3/secret"})
    with endpoint(chain, always(reply)) as served:
        with pytest.raises(ChainError, match=r"it sends on to https://node\.example:8443; check the address") as error:
            HttpTransport(served.url, SECONDS).make_request("eth_chainId", [])  # type: ignore[arg-type]
        assert "secret" not in str(error.value)


def test_certificate_isSaid(chain: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """At once: it does not become a better one by waiting."""
    words = "[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed certificate (_ssl.c:992)"

    def refuse(*_: Any, **__: Any) -> Any:
        raise requests.exceptions.SSLError(words)

    transport = HttpTransport("https://node.example/v3/secret", SECONDS)
    monkeypatch.setattr(transport._session, "post", refuse)
    said = r"at https://node.example is not trusted: its TLS certificate is not accepted \(self-signed certificate\)"
    with pytest.raises(ChainError, match=said):
        transport.make_request("eth_chainId", [])  # type: ignore[arg-type]


@pytest.mark.parametrize("trouble", ["504", "413", "page", "cut off", "null"])
def test_pieceThatAGatewayDoesNotTake_isAskedForInSmallerOnes(chain: Network, trouble: str) -> None:
    """Large pieces of the log end in a gateway's timeout, or at its limit of size, and in no answer of a node."""
    replies = {
        "504": Reply(b"<html>504 Gateway Time-out</html>", 504),
        "413": Reply(b"<html>413 Request Entity Too Large</html>", 413),
        "page": Reply(b"<html>the upstream server took too long</html>"),
        "cut off": Reply(b'{"jsonrpc":"2.0","result":[', missing=9000),
        "null": {"result": None},
    }
    head, most = 20, 4

    def habit(method: str, parameters: Sequence[Any], ask: Ask) -> Reply | Mapping[str, Any] | None:
        if method == "eth_blockNumber":
            return {"result": hex(head)}
        if method != "eth_getLogs":
            return None
        low, high = (int(parameters[0].get(name, hex(head)), 16) for name in ("fromBlock", "toBlock"))
        if high - low + 1 > most:
            return replies[trouble]
        return {"result": [{"blockNumber": hex(block)} for block in range(low, high + 1)]}

    with endpoint(chain, habit) as served:
        web3 = Web3(HttpTransport(served.url, SECONDS), middleware=[])
        assert web3.eth.block_number == head
        entries = LogReader(web3).read({"address": "0x" + 40 * "1"}, 1)
    assert [int(entry["blockNumber"], 16) for entry in entries] == list(range(1, head + 1))


@pytest.mark.parametrize("name", ["null", "false", "a word", "an object"])
def test_wrongAnswer_isSaid(chain: Network, name: str) -> None:
    with pytest.raises(ChainError, match=r"is wrong: it answers .* to `eth_blockNumber`; give another endpoint"):
        asked(chain, but_for_the_id(always(TROUBLES[name])), patience=0.3)


def test_lastingError_isTakenAsItIs(chain: Network) -> None:
    """An endpoint that always has an internal error for a method does not keep a node for ever."""
    error = refusal(-32603, "Internal error")
    trouble, times = trouble_in("eth_blockNumber", [], error), 0

    def broken(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any]:
        nonlocal times
        times += 1
        return error

    with pytest.raises(Exception, match="Internal error"):
        asked(chain, but_for_the_id(broken))
    assert trouble is not None
    assert trouble.repeats is not None
    assert times == 1 + trouble.repeats <= 10


@pytest.mark.parametrize("status", [200, 401, 403, 404])
def test_firstContact_isToldAtOnce(chain: Network, status: int) -> None:
    """Who gives the address of something else does not wait."""
    with endpoint(chain, always(Reply(b"hello", status))) as served:
        with pytest.raises(ChainError, match="is no node: it"):
            HttpTransport(served.url, SECONDS).make_request("eth_chainId", [])  # type: ignore[arg-type]
        assert served.asked == {"eth_chainId": 1}


def test_retryAfter_isKept(chain: Network) -> None:
    started = time.monotonic()
    asked(chain, but_for_the_id(first(1, Reply(b"", 429, {"Retry-After": "1"}))))
    assert time.monotonic() - started >= 1


@pytest.mark.parametrize("name", ["429", "QuickNode", "status 400"])
def test_rate_isBorne(chain: Network, name: str) -> None:
    """Twenty requests at fifteen a second: each is answered."""
    with endpoint(chain, limited_rate(15, LIMITS[name])) as served:
        transport = HttpTransport(served.url, SECONDS)
        answers = [transport.make_request("eth_blockNumber", []) for _ in range(20)]  # type: ignore[arg-type]
        transport.close()
    assert all(isinstance(answer["result"], str) for answer in answers)


@pytest.mark.parametrize(
    ("method", "answer"),
    [
        ("eth_call", refusal(3, "execution reverted", data="0x08c379a0")),
        ("eth_call", refusal(-32603, "Error: VM Exception while processing transaction: reverted with panic")),
        ("eth_call", refusal(-32000, "execution reverted: rate limit of the contract")),
        ("eth_sendRawTransaction", refusal(-32000, "nonce too low")),
        ("eth_sendRawTransaction", refusal(-32000, "insufficient funds for gas * price + value")),
        ("eth_sendRawTransaction", refusal(-32000, "transaction underpriced")),
        ("eth_sendRawTransaction", refusal(-32000, "exceeds block gas limit")),
        ("eth_sendRawTransaction", refusal(-32000, "gas limit reached")),
        ("eth_sendRawTransaction", refusal(-32000, "account limit exceeded: pooled 64 txs")),
        ("eth_sendRawTransaction", refusal(-32000, "oversized data: transaction size 140000, limit 131072")),
        ("eth_sendRawTransaction", refusal(-32000, "tx fee (1.20 ether) exceeds the configured cap (1.00 ether)")),
        ("debug_traceTransaction", refusal(-32601, "the method does not exist/is not available")),
        ("eth_getLogs", refusal(-32005, "query returned more than 10000 results")),
        ("eth_getLogs", refusal(-32005, "query exceeds max block range 1000")),
        ("eth_getLogs", refusal(-32602, "eth_getLogs is limited to a 5 range")),
        ("eth_getLogs", refusal(-32000, "block range is too wide: rate limit 1000 blocks")),
        ("eth_getTransactionReceipt", {"result": None}),
        ("eth_getTransactionByHash", {"result": None}),
        ("eth_getLogs", {"result": []}),
        ("eth_call", {"result": "0x"}),
        ("eth_chainId", {"result": "0x1"}),
        ("eth_getBlockByNumber", {"result": None}),
    ],
)
def test_answer_isTaken(method: str, answer: Mapping[str, Any]) -> None:
    """What a chain or a contract refuses is no trouble of the endpoint, nor what is not there (yet)."""
    assert trouble_in(method, ["0x10", True], answer) is None


def test_retryAfter_isRead() -> None:
    assert seconds_of("2.5") == 2.5
    assert seconds_of(None) == seconds_of("soon") == seconds_of("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert seconds_of("Wed, 21 Oct 2099 07:28:00 GMT") > 3600


def test_endpoint_isTransparent(chain: Network) -> None:
    """The helper itself: without habits, it answers as the chain does."""
    served = Endpoint(chain)
    try:
        web3 = Web3(HttpTransport(served.url, SECONDS), middleware=[])
        direct = chain.connect()
        assert json.loads(Web3.to_json(web3.eth.get_block("latest"))) == json.loads(
            Web3.to_json(direct.eth.get_block("latest"))
        )
        assert web3.eth.chain_id == direct.eth.chain_id
    finally:
        served.close()


# ---------------------------------------------------------------------- batches

BALANCES = 20


def refused(code: int, words: str) -> Reply:
    """A whole batch, by an error that names none of its requests."""
    return Reply(json.dumps({"jsonrpc": "2.0", "id": None, **refusal(code, words)}).encode())


BATCHES: dict[str, tuple[BatchHabit, int]] = {
    "takes them": (lambda *_: None, 1),
    "refuses them": (batches_of_at_most(0, refused(-32600, "Batch requests are not supported")), 5),
    "by status": (batches_of_at_most(0, Reply(b"", 400)), 5),
    "by a page": (batches_of_at_most(0, Reply(b"<html>413 Request Entity Too Large</html>", 413)), 5),
    "by nothing": (batches_of_at_most(0, Reply(b"")), 5),
    "at most six": (batches_of_at_most(6, Reply(refusal(-32600, "batch too large"), 400)), 3),
    "cut off": (cut_batches, 5),
    "out of order": (out_of_order, 1),
    "one left out": (leaves_out(3), 1),
    "nothing in it": (lambda *_: [], 1),
    "a word in it": (in_each_batch(2, "busy"), 1),
    "null in it": (in_each_batch(2, {"result": None}), 1),
    "a limit in it": (in_each_batch(2, refusal(429, "Too Many Requests")), 1),
    "another one's id": (in_each_batch(2, {"id": [7], "result": "0x7"}), 1),
    "limits them": (batches_of_at_most(0, Reply(b"", 429, {"Retry-After": "0.1"})), 2),
}


def balance_of(method: str, parameters: Sequence[Any], ask: Ask) -> Mapping[str, Any]:
    """A chain on which an account has what its address is."""
    return {"result": hex(int(parameters[0], 16))} if method == "eth_getBalance" else NUMBER


@pytest.mark.parametrize("name", BATCHES)
def test_batch_isAnsweredWhole(chain: Network, name: str) -> None:
    """In order, whatever the endpoint makes of a list of requests; what it does not take is not sent for ever."""
    habit, batches = BATCHES[name]
    with endpoint(chain, balance_of, batches=[habit]) as served:
        transport = HttpTransport(served.url, SECONDS)
        for _ in range(2):
            several = [[f"0x{number:040x}", "latest"] for number in range(1, BALANCES + 1)]
            answers = transport.make_requests("eth_getBalance", several)  # type: ignore[arg-type]
            assert [int(answer["result"], 16) for answer in answers] == list(range(1, BALANCES + 1))
        assert transport.meter.requests["eth_getBalance"] == 2 * BALANCES
        transport.close()
    assert len(served.sizes) <= 2 * batches


def test_batches_areTriedLargeAgain(chain: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """A passing trouble does not end them for ever."""
    monkeypatch.setattr(transport_module, "LARGE_AGAIN_SECONDS", 0.2)
    with endpoint(chain, balance_of, batches=[cut_batches]) as served:
        transport, several = HttpTransport(served.url, SECONDS), [[f"0x{number:040x}"] for number in range(BALANCES)]
        transport.make_requests("eth_getBalance", several)  # type: ignore[arg-type]
        served.batches[:] = []
        time.sleep(0.25)
        transport.make_requests("eth_getBalance", several)  # type: ignore[arg-type]
        transport.close()
    assert served.sizes[0] == served.sizes[-1] == BALANCES


def test_batchOfRefusals_isTaken(chain: Network) -> None:
    """What a chain refuses is an answer in a batch, too."""
    with endpoint(chain, always(refusal(3, "execution reverted"), "eth_call")) as served:
        transport = HttpTransport(served.url, SECONDS)
        answers = transport.make_requests("eth_call", [[{}, "latest"]] * 3)  # type: ignore[arg-type]
        transport.close()
    assert [answer["error"]["code"] for answer in answers] == [3, 3, 3]  # type: ignore[index]
    assert served.sizes == [3]


def test_batch_goesToTheNextEndpoint(chain: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "TURN_SECONDS", 0.3)
    with endpoint(chain, balance_of) as first, endpoint(chain, balance_of) as second:
        endpoints = Endpoints([first.url, second.url], SECONDS)
        endpoints.make_request("eth_chainId", [])  # type: ignore[arg-type]
        first.habits[:] = [always(Reply(b"", 502))]
        answers = endpoints.make_requests("eth_getBalance", [["0x01"], ["0x02"]])  # type: ignore[arg-type]
        endpoints.close()
    assert [answer["result"] for answer in answers] == ["0x1", "0x2"]
    assert second.sizes == [2]


# ---------------------------------------------------------------------- several endpoints


def test_next_isAskedWhereOneDoesNotAnswer(chain: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_module, "TURN_SECONDS", 0.3)
    with endpoint(chain) as first, endpoint(chain) as second:
        web3 = connect(f"{first.url}, {second.url}", SECONDS)
        number = web3.eth.chain_id
        assert not second.asked
        first.habits[:] = [always(Reply(b"", 502))]
        assert web3.eth.chain_id == number
        asked = first.asked["eth_chainId"]
        assert web3.eth.block_number == 0
        assert first.asked["eth_chainId"] == asked  # the second is asked first from then on
        second.habits[:] = [always({"result": None})]
        first.habits[:] = []
        assert web3.eth.block_number == 0
        first.habits[:] = [always(Reply(b"", 502))]
        with pytest.raises(ChainError, match="None of the 2 endpoints answers; of the last: "):
            Web3(Endpoints([first.url, second.url], 0.5), middleware=[]).eth.block_number  # noqa: B018


def test_endpointOfAnotherChain_isNotAsked(chain: Network) -> None:
    with endpoint(chain) as first, endpoint(chain, always({"result": "0x99"}, "eth_chainId")) as second:
        web3 = connect(f"{first.url},{second.url}", 1)
        assert web3.eth.chain_id != 0x99
        first.habits[:] = [always(Reply(b"", 502))]
        with pytest.raises(ChainError, match="None of the 2 endpoints answers"):
            web3.eth.get_balance("0x" + 40 * "1")  # type: ignore[arg-type]


@pytest.mark.parametrize("text", ["ftp://x", "http://a, b", ""])
def test_address_isChecked(text: str) -> None:
    with pytest.raises(InputError, match="is no address of a node"):
        connect(text)
