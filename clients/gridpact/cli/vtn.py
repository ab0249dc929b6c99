"""`gridpact aggregator vtn`: a plan's prices and calls, sent to homes by OpenADR 2.0b."""

from __future__ import annotations

import argparse
import asyncio
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

import numpy as np

from gridpact.cli.options import Commands
from gridpact.errors import InputError
from gridpact.files import parse_json

if TYPE_CHECKING:
    from gridpact.aggregator.vtn import Signals, VenAnswer


def add(actions: Commands) -> None:
    vtn = actions.add_parser("vtn", help="send a plan's prices and calls to homes, by OpenADR 2.0b")
    vtn.add_argument("--plan", type=Path, required=True, metavar="FILE", help="of 'plan --calls'")
    vtn.add_argument("--date", metavar="D", help="the day with which the plan begins; default tomorrow")
    vtn.add_argument("--timezone", default="UTC", metavar="Z", help="of that day; default UTC")
    vtn.add_argument("--host", default="127.0.0.1", metavar="HOST", help="to listen on, of this machine")
    vtn.add_argument("--port", type=int, default=8080, metavar="N", help="0: any that is free; default 8080")
    vtn.add_argument("--poll", type=float, default=10.0, metavar="S", help="how often homes are to ask; default 10 s")
    vtn.set_defaults(command=_vtn)


def _vtn(arguments: argparse.Namespace) -> int:
    from gridpact.aggregator.vtn import Vtn

    if not 0 <= arguments.port <= 65_535:
        raise InputError(f"--port {arguments.port} must be 0 to 65535")
    if not 1 <= arguments.poll <= 86_400:
        raise InputError(f"--poll {arguments.poll:g} must be 1 to 86400 seconds")
    signals = _signals(arguments.plan, _midnight(arguments.date, arguments.timezone))

    async def serve() -> None:
        vtn = Vtn(signals, _say, arguments.host, arguments.port, timedelta(seconds=arguments.poll))
        print(f"VTN at {await vtn.start()} for {', '.join(signals.calls)}, until Ctrl-C", flush=True)
        try:
            await asyncio.Event().wait()
        finally:
            await vtn.stop()

    try:
        asyncio.run(serve())
    except KeyboardInterrupt:
        return 0
    return 0


def _say(answer: VenAnswer) -> None:
    said = answer.said if isinstance(answer.said, str) else f"{answer.said:.0f} W"
    print(f"{datetime.now():%H:%M:%S} {answer.home} {answer.what}: {said}", flush=True)


def _midnight(day: str | None, zone: str) -> datetime:
    try:
        at = ZoneInfo(zone)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise InputError(f"--timezone '{zone}' is not known; give one as Europe/Amsterdam") from None
    try:
        first = datetime.now(at).date() + timedelta(days=1) if day is None else date.fromisoformat(day)
    except ValueError:
        raise InputError(f"--date '{day}' is no day; give one as 2026-12-22") from None
    return datetime.combine(first, datetime.min.time(), at).astimezone(timezone.utc)


def _signals(path: Path, begins: datetime) -> Signals:
    from gridpact.aggregator.vtn import DispatchCall, Signals

    try:
        told = parse_json(path.read_bytes())
        price, step = np.array(told["import_price"], dtype=float), timedelta(minutes=float(told["step_minutes"]))
        calls = {
            str(home): [DispatchCall(int(one["first"]), np.array(one["most_kw"], dtype=float)) for one in of]
            for home, of in told["calls"].items()
        }
        if not price.size or not np.isfinite(price).all() or step <= timedelta() or not calls:
            raise ValueError("a price and a home are missing")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); give what 'plan --calls' has written") from None
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: is no file of 'gridpact aggregator plan --calls': {error}") from None
    return Signals(begins, step, price, calls)
