"""What an aggregator sends to its homes by OpenADR 2.0b, and what they answer: a virtual top node, VTN.

Each home gets its events when it registers: the prices, and a call for each time at which the feeder needs it to draw
less than it wished, or to give more.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
from aiohttp import web

from gridpact.community.model import Array
from gridpact.errors import InputError

POLLED = timedelta(seconds=10)
PRICE, CALL = "ELECTRICITY_PRICE", "LOAD_DISPATCH"
METERED = "_meter"
"""How the resource of a report ends that tells what a meter read."""

LOOPBACK = ("127.0.0.1", "::1", "localhost")


CALLED_KW = 0.01
"""By less than this nobody is called for."""


@dataclass(frozen=True, eq=False)
class DispatchCall:
    """Of a home, for some steps without a gap."""

    first: int
    most_kw: Array  # that it may draw, below 0: has to give


@dataclass(frozen=True, eq=False)
class Signals:
    """What homes are told."""

    begins: datetime  # with an offset
    step: timedelta
    price: Array  # (T,), currency/kWh
    calls: Mapping[str, Sequence[DispatchCall]]  # of every home

    def intervals(self, values: Array, first: int = 0) -> list[dict[str, Any]]:
        """As openleadr has them."""
        return [
            {"dtstart": self.begins + k * self.step, "duration": self.step, "signal_payload": round(float(value), 6)}
            for k, value in enumerate(values, start=first)
        ]


def calls_of(wished_kw: Array, planned_kw: Array) -> list[DispatchCall]:
    """Where a home is to draw less than it wished.

    Args:
        wished_kw: what it would draw without a feeder, (T,).
        planned_kw: what it is to draw, (T,).
    """
    called = np.append(planned_kw < wished_kw - CALLED_KW, False)
    edges = np.flatnonzero(np.diff(np.insert(called.astype(int), 0, 0)))
    return [DispatchCall(int(first), planned_kw[first:end]) for first, end in edges.reshape(-1, 2)]


@dataclass(frozen=True)
class VenAnswer:
    """Of a home."""

    home: str
    what: str  # "registered", "price", "call", or of its power "power", as planned, or "metered"
    said: str | float  # optIn or optOut; W


class Vtn:
    """A server of signals.

    Args:
        port: 0: any that is free.
        tell: hears every answer.
        polled: how often homes are to ask.

    Raises:
        InputError: openleadr is not installed, or others could listen.
    """

    def __init__(
        self, signals: Signals, tell: Callable[[VenAnswer], None], host: str, port: int, polled: timedelta = POLLED
    ) -> None:
        try:
            from openleadr import OpenADRServer
        except ImportError:
            raise InputError("a VTN needs a package that is not here: pip install gridpact[openadr]") from None
        if host not in LOOPBACK:
            raise InputError(f"others can reach '{host}', in clear: listen on 127.0.0.1, behind a proxy with TLS")
        self._signals, self._tell, self._host, self._port = signals, tell, host, port
        self._ids = {home: f"ven_{k}" for k, home in enumerate(signals.calls, start=1)}
        self._names = {ven_id: home for home, ven_id in self._ids.items()}
        self._sent = set[str]()
        logging.getLogger("openleadr").setLevel(logging.ERROR)
        self._server = OpenADRServer("gridpact_VTN", ven_lookup=self._known, requested_poll_freq=polled)
        self._server.add_handler("on_create_party_registration", self._registered)
        self._server.add_handler("on_register_report", self._offered)
        self._runner = web.AppRunner(self._server.app)

    async def start(self) -> str:
        """Returns its address.

        Raises:
            InputError: it cannot listen.
        """
        await self._runner.setup()
        try:
            await web.TCPSite(self._runner, self._host, self._port).start()
        except OSError as error:
            await self._runner.cleanup()
            raise InputError(f"port {self._port} is not free ({error.strerror}); give another --port") from None
        port = self._runner.addresses[0][1]
        return f"http://{self._host}:{port}{self._server.http_path_prefix}"

    async def stop(self) -> None:
        await self._runner.cleanup()

    def _known(self, ven_id: str) -> dict[str, str | None] | None:
        if ven_id not in self._names or self._names[ven_id] not in self._sent:
            return None  # then openleadr asks it to register anew
        return {"ven_id": ven_id, "ven_name": self._names[ven_id], "fingerprint": None, "registration_id": ven_id}

    async def _registered(self, told: Mapping[str, Any]) -> tuple[str, str] | bool:
        home = told["ven_name"]
        if home not in self._ids:
            self._tell(VenAnswer(home, "registered", "refused: it is not in the plan"))
            return False
        ven_id = self._ids[home]
        self._tell(VenAnswer(home, "registered", ven_id))
        if home not in self._sent:
            self._sent.add(home)
            self._send(ven_id, "price", (PRICE, "price"), self._signals.intervals(self._signals.price))
            for call in self._signals.calls[home]:
                self._send(ven_id, "call", (CALL, "setpoint"), self._signals.intervals(call.most_kw, call.first))
        return ven_id, ven_id

    def _send(self, ven_id: str, what: str, signal: tuple[str, str], intervals: list[dict[str, Any]]) -> None:
        name, kind = signal
        self._server.add_event(
            ven_id=ven_id, signal_name=name, signal_type=kind, intervals=intervals, callback=self._opted(what)
        )

    def _opted(self, what: str) -> Callable[..., Any]:
        async def heard(ven_id: str, event_id: str, opt_type: str) -> None:
            self._tell(VenAnswer(self._names[ven_id], what, opt_type))

        return heard

    async def _offered(
        self,
        ven_id: str,
        resource_id: str,
        measurement: str,
        unit: str,
        scale: str,
        min_sampling_interval: timedelta,
        max_sampling_interval: timedelta,
    ) -> tuple[Callable[..., Any], timedelta]:
        what = "metered" if resource_id.endswith(METERED) else "power"
        return partial(self._reported, self._names[ven_id], what), min_sampling_interval

    async def _reported(self, home: str, what: str, data: list[tuple[datetime, float]]) -> None:
        for _, value in data:
            self._tell(VenAnswer(home, what, float(value)))
