"""What the server answers, to whom, and with which headers; and that what it sends is what is stored."""

from __future__ import annotations

import asyncio
import json
import re
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.errors import InputError
from gridpact.live.ground import Ground
from gridpact.live.server import Hub, Server, application
from gridpact.live.store import Store

LIMITS = ("eps_primal_grid", "eps_dual_grid", "eps_primal_trade", "eps_dual_trade")
SETTING = ("steps", "step_seconds", "power_resolution_milliwatt", "voltage_resolution", "phase_seconds", "max_misses")
ABOUT = {
    "theta": {"n": 4, "rho": 1, "phi": 1, **dict.fromkeys(LIMITS, 1), "mu": 9},
    "setting": dict(zip(SETTING, (2, 3600, 500, 10, 300, 2), strict=True)),
    "currency": {"symbol": "<b>tEUR</b>", "decimals": 6},
}
SCRIPT = "<script>alert(1)</script>"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A history of two rounds, the first of which has ended."""
    path = tmp_path / "history.db"
    store = Store(path)
    store.tell(ABOUT)
    for number, name, said in (
        (1, "Enrolled", {"node": 1, "account": "0x11"}),
        (2, "RoundOpened", {"round": 1, "day": 20260701, "deadline": 99}),
        (3, "RoundEnded", {"round": 1, "phase": 5, "iterations": 0}),
        (4, "RoundOpened", {"round": 2, "day": 20260702, "deadline": 99}),
        (5, "PoolCleared", {"round": 2, "step": 7, "why": SCRIPT}),  # of a contract that is still to come
    ):
        store.add([], [ChainEvent(ChainBlock(number, f"0x{number}", number), 0, f"0x{number}", name, said)], {})
    store.close()
    return path


def asked(path: Path, talk: Callable[[TestClient[Any, Any], Hub], Awaitable[None]], prefix: str = "") -> None:
    """Talks to a server of a history."""

    async def serve() -> None:
        hub = Hub(lambda: Store(path), {"network": SCRIPT, "eth_price_eur": 0.0})
        hub.know(Ground({1: SCRIPT}))
        async with TestClient(TestServer(application(hub, prefix))) as client:
            hub.start()
            await talk(client, hub)
            hub.stop()

    asyncio.run(serve())


async def told(client: TestClient[Any, Any], url: str, count: int) -> dict[str, Any]:
    """The first parts that a page is told."""
    found: dict[str, Any] = {}
    async with client.get(url) as response:
        assert response.status == 200
        assert response.headers["Content-Type"] == "text/event-stream"
        while len(found) < count:
            line = (await response.content.readline()).decode()
            if line.startswith("event: "):
                part = line[7:].strip()
                found[part] = json.loads((await response.content.readline()).decode().removeprefix("data: "))
    return found


def test_page_comesWithHeadersThatKeepItToItself(path: Path) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        for name in ("/", "/app.js", "/style.css", "/uPlot.js", "/icon.svg", "/none"):
            async with client.get(name) as response:
                assert response.status == (404 if name == "/none" else 200)
                policy = response.headers["Content-Security-Policy"]
                assert "default-src 'none'" in policy
                assert "script-src 'self'" in policy
                assert "unsafe" not in policy
                assert response.headers["X-Content-Type-Options"] == "nosniff"
                assert response.headers["Referrer-Policy"] == "no-referrer"
                assert "Access-Control-Allow-Origin" not in response.headers

    asked(path, talk)


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8520", "127.0.0.1.evil.example", "", "[::2]", "[", "a b", "x@127.0.0.1"]
)
def test_foreignNames_areRefused(path: Path, host: str) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        for name in ("/", "/events", "/none"):
            async with client.get(name, headers={"Host": host}) as response:
                assert response.status in (400, 403)
                assert SCRIPT not in await response.text()

    asked(path, talk)


@pytest.mark.parametrize("host", ["localhost:1", "127.0.0.1", "[::1]:8520"])
def test_ownNames_areAnswered(path: Path, host: str) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        async with client.get("/", headers={"Host": host}) as response:
            assert response.status == 200

    asked(path, talk)


def test_otherPages_readNothing(path: Path) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        for site in ("cross-site", "same-site"):
            async with client.get("/events", headers={"Sec-Fetch-Site": site}) as response:
                assert response.status == 403

    asked(path, talk)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_nothing_canBeChanged(path: Path, method: str) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        for name in ("/", "/events", "/style.css"):
            async with client.request(method, name, data=b"x") as response:
                assert response.status == 405

    before = path.read_bytes()
    asked(path, talk)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    "name", ["/../server.py", "/%2e%2e/server.py", "/..%2fserver.py", "/uPlot.LICENSE", "/static/"]
)
def test_onlyThePagesFiles_areServed(path: Path, name: str) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        async with client.get(name) as response:
            assert response.status == 404

    asked(path, talk)


def test_secret_isNeeded(path: Path) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        for name in ("/", "/events", "/app.js", "/secreT/", "/secre/"):
            async with client.get(name) as response:
                assert response.status == 404
        async with client.get("/secret/") as response:
            assert response.status == 200

    asked(path, talk, prefix="/secret")


def test_events_tellWhatIsStored(path: Path) -> None:
    async def talk(client: TestClient[Any, Any], hub: Hub) -> None:
        parts = await told(client, "/events", 6)
        assert [one["round"] for one in parts["rounds"]] == [2, 1]
        assert parts["round"]["round"] == 2
        assert parts["status"]["names"] == {"1": SCRIPT}  # as it is: the page makes it text
        (unknown,) = [one for one in parts["round"]["happened"] if one["name"] == "PoolCleared"]
        assert unknown["said"] == {"step": 7, "why": SCRIPT}
        assert (await told(client, "/events?round=1", 6))["round"]["phase"] == "abandoned"
        assert (await told(client, "/events?round=99", 3))["round"] is None

    asked(path, talk)


def test_nonsenseOnTheChain_emptiesOnePart(path: Path) -> None:
    """A tariff whose length fits no step, a book and a tree that are none: the rest of the page is as it was."""
    store = Store(path)
    for number, name, said in (
        (7, "TariffPublished", {"tariff": b"abc"}),
        (
            8,
            "Declared",
            {"node": 0, "parent": 0, "depth": 0, "children": 2**128 - 1, "bids": 65535, "book": b"\xff" * 99},
        ),
        (9, "Declared", {"node": 1, "parent": 0, "depth": 255, "children": 1, "bids": 9, "book": b"\x00"}),
        (10, "RoundStarted", {"nodes": 3, "lines": 2, "inner": 0}),
    ):
        told_ = ChainEvent(ChainBlock(number, f"0x{number}", number), 0, f"0x{number}", name, {"round": 2, **said})
        store.add([], [told_], {})
    store.close()

    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        parts = await told(client, "/events", 6)
        assert parts["market"] is None
        assert parts["round"]["phase"] == "iterating"
        assert [home["node"] for home in parts["round"]["homes"]] == [0, 1]
        assert parts["day"] == {"delivered": {}, "balances": {}, "through": None}

    asked(path, talk)


@pytest.mark.parametrize("asked_for", ["x", "-1", "1e3", "%00", "99999999999999999999", "1;DROP TABLE events"])
def test_rounds_areNumbers(path: Path, asked_for: str) -> None:
    async def talk(client: TestClient[Any, Any], _: Hub) -> None:
        async with client.get("/events", params={"round": asked_for}) as response:
            assert response.status == 400

    asked(path, talk)


def test_news_reachThePage(path: Path) -> None:
    """What another thread stores is told on the open connection, and only what has changed."""

    async def talk(client: TestClient[Any, Any], hub: Hub) -> None:
        async with client.get("/events") as response:
            seen = ""
            while "event: day" not in seen:
                seen += (await response.content.readline()).decode()
            store = Store(path)
            ended = {"round": 2, "phase": 3, "iterations": 1}
            store.add([], [ChainEvent(ChainBlock(6, "0x6", 6), 0, "0x6", "RoundEnded", ended)], {})
            store.close()
            hub.changed()
            seen = ""
            while "event: round\n" not in seen:
                seen += (await response.content.readline()).decode()
            assert '"phase":"converged"' in (await response.content.readline()).decode()
            assert "event: market" not in seen

    asked(path, talk)


def test_portInUse_isSaidInASentence(path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(InputError, match=rf"port {port}") as refused, Server(Hub(lambda: Store(path), {}), port):
            pass
        assert re.fullmatch(r"[^\n]+\.", str(refused.value))
    with pytest.raises(InputError, match="0 to 65535"), Server(Hub(lambda: Store(path), {}), 70_000):
        pass


def test_server_isOnThisMachineOnly(path: Path) -> None:
    with Server(Hub(lambda: Store(path), {})) as server:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/", server.url)
