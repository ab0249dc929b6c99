"""What an aggregator calls a home for while its day runs: on the chain, or by OpenADR."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path

import numpy as np

from gridpact.chain.flexibility import Flexibility, FlexibilityCall, OfferTerms
from gridpact.community.called import Called
from gridpact.community.model import Array
from gridpact.files import parse_json, write_atomically
from gridpact.service.settings import Settings

CALL_PRICE = 100.0
"""What a kWh above the power that an OpenADR event allows costs in a plan, currency: more than energy does."""

MOST_ANEW, ANEW_WITHIN = 12, timedelta(hours=1)
"""So often a home plans anew for a VTN, in which time: else one that changes an event at every poll keeps it busy, its
devices on the move, and its account paying for nominations."""


class PlannedAnew:
    """When a home has planned anew for a VTN."""

    def __init__(self) -> None:
        self._at = deque[datetime](maxlen=MOST_ANEW)

    def again(self) -> bool:
        """Whether it may once more, which counts then."""
        now = datetime.now(timezone.utc)
        if len(self._at) == self._at.maxlen and now - self._at[0] < ANEW_WITHIN:
            return False
        self._at.append(now)
        return True


def called_by(call: FlexibilityCall, terms: OfferTerms, steps: int, step_hours: float) -> Called:
    """A call on the chain: what it pays and fines as prices around what it asks for. The tolerance is not used up."""
    asked = np.zeros(steps)
    low, high = np.zeros(steps), np.zeros(steps)
    price, fine = terms.price / 1e6, terms.fine / 1e6
    for step, (energy, baseline) in enumerate(zip(call.energies_wh, call.baselines_wh, strict=True), call.first):
        asked[step] = (baseline + energy) / (1000 * step_hours)
        low[step], high[step] = (fine + price * (energy > 0), fine + price * (energy < 0))
    return Called(asked, low, asked, high)


def calls_on_chain(flexibility: Flexibility, day: int, node: int, steps: int, step_hours: float) -> tuple[Called, ...]:
    """Those of a node on a day.

    Raises:
        ChainError: the chain failed.
    """
    calls = [call for call in flexibility.calls_of_day(day) if call.node == node]
    return tuple(called_by(call, flexibility.offer(call.offer).terms, steps, step_hours) for call in calls)


# ---------------------------------------------------------------------- by OpenADR


@dataclass(frozen=True)
class Allowed:
    """The most power that may be drawn for a while."""

    begins: datetime  # with an offset
    lasts: timedelta
    most_kw: float

    @property
    def ends(self) -> datetime:
        return self.begins + self.lasts


def call_folder(settings: Settings) -> Path:
    """Where the events are that the home has opted in to."""
    return settings.service.state / "openadr" / "calls"


def keep_call(settings: Settings, event: str, allowed: Sequence[Allowed]) -> None:
    """Of an event, for whoever plans; what is over by a day is forgotten."""
    folder = call_folder(settings)
    folder.mkdir(parents=True, exist_ok=True)
    now = datetime.now(timezone.utc)
    for path in folder.glob("*.json"):
        if all(one.ends < now - timedelta(days=1) for one in _read(path)):
            path.unlink(missing_ok=True)
    told = [[one.begins.isoformat(), one.lasts.total_seconds(), one.most_kw] for one in allowed]
    number = sum(1 for _ in folder.glob("*.json"))
    name = next(f"{k}.json" for k in range(number + 1) if not (folder / f"{k}.json").exists())
    write_atomically(folder / name, json.dumps({"event": event, "allowed": told}) + "\n")


def forget_call(settings: Settings, event: str) -> list[Allowed]:
    """Of an event that is changed or cancelled. Returns what was kept of it."""
    there = [path for path in call_folder(settings).glob("*.json") if _event(path) == event]
    had = [one for path in there for one in _read(path)]
    for path in there:
        path.unlink(missing_ok=True)
    return had


def kept_calls(settings: Settings) -> list[Allowed]:
    """Of all events that were opted in to."""
    return [one for path in sorted(call_folder(settings).glob("*.json")) for one in _read(path)]


def _event(path: Path) -> str:
    try:
        return str(parse_json(path.read_bytes())["event"])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def _read(path: Path) -> list[Allowed]:
    try:
        return [
            Allowed(datetime.fromisoformat(begins), timedelta(seconds=lasts), float(most_kw))
            for begins, lasts, most_kw in parse_json(path.read_bytes())["allowed"]
        ]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def midnight(settings: Settings, day: str) -> datetime:
    """When a day of the home begins."""
    first = datetime.combine(date.fromisoformat(day), datetime.min.time(), settings.service.timezone)
    return first.astimezone(timezone.utc)


def called_in(
    settings: Settings, day: str, steps: int, step_hours: float, allowed: Sequence[Allowed]
) -> tuple[Called, ...]:
    """What is asked for on a day by events, where anything is."""
    begins, step = midnight(settings, day), timedelta(hours=step_hours)
    least: Array = np.full(steps, np.nan)
    for k in range(steps):
        at, end = begins + k * step, begins + (k + 1) * step
        powers = [-one.most_kw for one in allowed if one.begins < end and at < one.ends]
        if powers:
            least[k] = max(powers)
    return (Called.at_least(least, CALL_PRICE),) if np.isfinite(least).any() else ()
