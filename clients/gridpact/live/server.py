"""The page and what it is told: an HTTP server on this machine only, from which nothing can be changed.

    GET /                 the page; its files beside it
    GET /events?round=N   Server-sent events: `status`, and the parts of `view` as they change; the newest round
                          where none is named

Only what is asked for at a loopback name is answered (so that no name of a foreign page can be bound to this address),
and only where no other page asks. All that the page loads comes from here, see `POLICY`.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import threading
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib import resources
from typing import Any

from aiohttp import web

from gridpact.errors import GridpactError, InputError
from gridpact.live.ground import Ground
from gridpact.live.household import HouseholdFolder
from gridpact.live.reader import ReaderState
from gridpact.live.store import Store
from gridpact.live.view import About, RoundView, rounds

HOST = "127.0.0.1"
log = logging.getLogger("gridpact.live")

NAMES = re.compile(r"(127\.0\.0\.1|localhost|\[::1\])(:\d{1,5})?", re.ASCII)
"""Under which this machine is asked, by itself only."""

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none';"
    " form-action 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-cache",
}

KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}

PAUSE_SECONDS, PAUSE_TIMES = 0.25, 3.0
"""Between two looks at what is new, for each page; at least so many times what a look takes: nodes work here, too."""

BEAT_SECONDS = 10.0
"""After which a page is told that all is as it was, so that a broken connection shows."""


class Hub:
    """What is told to all pages: JSON texts by part. For the thread of the server, but for `changed` and `say`."""

    def __init__(self, open_store: Callable[[], Store], title: Mapping[str, Any]) -> None:
        self._open, self._title = open_store, title
        self._store: Store | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._news = asyncio.Event()
        self._version = 0
        self._known: dict[tuple[str, int], tuple[int, str]] = {}
        self.standing: Callable[[], ReaderState] = ReaderState.waiting
        self._stage = ""
        self._ground = Ground()
        self._own_plan: Mapping[str, Any] | None = None
        self.household: HouseholdFolder | None = None

    # ------------------------------------------------------------------ for other threads

    def changed(self) -> None:
        """Something is new: pages are told soon."""
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._wake)

    def say(self, stage: str) -> None:
        """What whoever runs the community is doing, in words."""
        self._stage = stage
        self.changed()

    def know(self, ground: Ground) -> None:
        """What the community's files know, and the chain does not."""
        self._ground = ground
        self.changed()

    def carry_out(self, plan: Mapping[str, Any]) -> None:
        """What whoever has played all homes knows of the plan, for where the chain does not tell it."""
        self._own_plan = plan
        self.changed()

    # ------------------------------------------------------------------ for the server

    def _wake(self) -> None:
        self._version += 1
        self._news.set()
        self._news = asyncio.Event()

    def start(self) -> None:
        """In the thread of the server."""
        self._loop = asyncio.get_running_loop()
        self._store = self._open()

    def stop(self) -> None:
        self._loop = None
        if self._store is not None:
            self._store.close()

    @property
    def version(self) -> int:
        """Grows with whatever is new."""
        return self._version

    async def wait(self, known: int, seconds: float) -> None:
        """Until something is newer than a version, at the longest so long."""
        if self._version == known:
            with suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._news.wait(), seconds)

    def parts(self, number: int | None) -> dict[str, str]:
        """All that a page shows that looks at a round, or at the newest."""
        assert self._store is not None
        version, store = self._version, self._store
        texts = {"status": _text(self._status())}
        listed = rounds(store)
        about = About.of(store)
        texts["rounds"] = _text(listed)
        if about is None or not listed:
            return texts
        newest = int(listed[0]["round"])
        shown = newest if number is None else number
        if all(one["round"] != shown for one in listed):
            return texts | {"round": "null"}
        if self._known.get(("version", shown), (-1, ""))[0] != version:
            view = RoundView(store, about, shown)
            plan = partial(self._plan, view)
            for part, made in (("round", view.round), ("plan", plan), ("market", view.market), ("day", view.day)):
                self._known[part, shown] = version, self._part(part, made)
            self._known = {key: value for key, value in self._known.items() if key[1] in (shown, newest)}
            self._known["version", shown] = version, ""
        texts |= {part: self._known[part, shown][1] for part in ("round", "plan", "market", "day")}
        if self.household is not None:
            (day,) = (one["day"] for one in listed if one["round"] == shown)
            texts["household"] = _text(self.household.on(day, shown))
        return texts

    def _plan(self, view: RoundView) -> Mapping[str, Any] | None:
        plan = view.plan()
        return self._own_plan if self._own_plan and (plan is None or plan.get("read")) else plan

    @staticmethod
    def _part(name: str, made: Callable[[], object]) -> str:
        """A part of the view. Anybody enrolled can say nonsense on the chain: then one part is empty, and no other."""
        try:
            return _text(made())
        except Exception:
            log.exception("the part '%s' of the live page cannot be made of what the chain tells", name)
            return "null"

    def _status(self) -> dict[str, Any]:
        assert self._store is not None
        standing, store = self.standing(), self._store
        about = About.of(store)
        taken = store.newest_taken_back()
        return {
            **self._title,
            "link": standing.link.value,
            "told": standing.trouble,
            "stage": self._stage,
            "block": standing.head.number if standing.head else None,
            "ahead": round(standing.chain_time - time.time(), 1),
            "currency": about.currency if about else None,
            **self._ground.told,
            "taken_back": None if taken is None else {"at": taken.at, "block": taken.block, "events": taken.events},
        }


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False)


# ---------------------------------------------------------------------- HTTP


def application(hub: Hub, prefix: str = "") -> web.Application:
    """The server's answers.

    Args:
        prefix: `/` and a secret before all paths, where the page shows what is not public.
    """
    app = web.Application(middlewares=[_guarded])
    for name, kind, body in _files():
        path = f"{prefix}/" if name == "index.html" else f"{prefix}/{name}"
        app.router.add_get(path, _file(kind, body))
    app.router.add_get(f"{prefix}/events", _Events(hub).answer)
    return app


def _files() -> list[tuple[str, str, bytes]]:
    folder = resources.files("gridpact.live") / "static"
    files = [one for one in folder.iterdir() if one.name.rpartition(".")[2] in KINDS]
    return [(one.name, KINDS[one.name.rpartition(".")[2]], one.read_bytes()) for one in files]


def _file(kind: str, body: bytes) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def answer(_: web.Request) -> web.StreamResponse:
        return web.Response(body=body, content_type=kind, charset="utf-8")

    return answer


@web.middleware
async def _guarded(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Answers only who asks at a loopback name, from no other page; with the headers that keep the page to itself."""
    try:
        if not NAMES.fullmatch(request.host):
            raise web.HTTPForbidden(text="This page is served on this machine only, by the name 127.0.0.1.\n")
        if request.headers.get("Sec-Fetch-Site", "none") not in ("none", "same-origin") and request.path[-1:] != "/":
            raise web.HTTPForbidden(text="Another page may not read this one.\n")
        response = await handler(request)
    except web.HTTPException as error:
        error.headers.update(HEADERS)
        raise
    if not response.prepared:
        response.headers.update(HEADERS)
    return response


class _Events:
    def __init__(self, hub: Hub) -> None:
        self._hub = hub

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Tells a page what changes, as long as it listens."""
        asked = request.query.get("round", "")
        if asked and not (asked.isdecimal() and len(asked) <= 10):
            raise web.HTTPBadRequest(text="round is a number.\n")
        response = web.StreamResponse(headers={**HEADERS, "Content-Type": "text/event-stream"})
        await response.prepare(request)
        last: dict[str, str] = {}
        try:
            while True:
                version, begun = self._hub.version, time.monotonic()
                try:
                    parts = self._hub.parts(int(asked) if asked else None)
                except GridpactError as error:
                    parts = {"fault": _text(str(error))}
                news = [f"event: {part}\ndata: {text}\n\n" for part, text in parts.items() if last.get(part) != text]
                await response.write("".join(news).encode() or b": as before\n\n")
                last = parts
                await asyncio.sleep(max(PAUSE_SECONDS, PAUSE_TIMES * (time.monotonic() - begun)))
                await self._hub.wait(version, BEAT_SECONDS)
        except (ConnectionError, asyncio.CancelledError):
            return response


class Server:
    """The server in a thread of its own, for the length of a `with` block.

    Args:
        port: 0 for a free one.
        prefix: see `application`.

    Raises:
        InputError: the port is in use.
    """

    def __init__(self, hub: Hub, port: int = 0, prefix: str = "") -> None:
        self._hub, self._port, self._prefix = hub, port, prefix
        self._started = threading.Event()
        self._failed: BaseException | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="live-server", daemon=True)

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._port}{self._prefix}/"

    def __enter__(self) -> Server:
        self._thread.start()
        self._started.wait()
        if self._failed is not None:
            self._thread.join()
            if isinstance(self._failed, OSError):
                why = os.strerror(self._failed.errno or 0).lower()
                raise InputError(
                    f"The live page cannot be served on port {self._port} ({why}): give another --port, or 0 for any."
                ) from None
            if isinstance(self._failed, OverflowError):
                raise InputError(f"There is no port {self._port}: give --port 0 to 65535.") from None
            raise self._failed
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10.0)

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        runner = web.AppRunner(
            application(self._hub, self._prefix), access_log=None, handler_cancellation=True, shutdown_timeout=0.5
        )
        try:
            self._loop.run_until_complete(self._serve(runner))
        except BaseException as error:
            self._failed = error
            self._started.set()
            return
        self._started.set()
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(runner.cleanup())
            self._hub.stop()
            self._loop.close()

    async def _serve(self, runner: web.AppRunner) -> None:
        self._hub.start()
        await runner.setup()
        site = web.TCPSite(runner, HOST, self._port)
        await site.start()
        self._port = int(runner.addresses[0][1])
