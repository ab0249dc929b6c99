"""The schedule of a day, where a home energy manager picks it up: JSON and CSV with the same numbers."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np

from gridpact.community.model import Array
from gridpact.files import parse_json, write_atomically

FORMAT = 1


@dataclass(frozen=True)
class Standing:
    """What a household stands by on a day that it is a member of, Wh by step; None where it is not known (yet)."""

    position_wh: tuple[int | None, ...]  # sold; negative: bought
    nominated_wh: tuple[int | None, ...]  # to be drawn from pool and supplier
    deviation_wh: tuple[int | None, ...]  # drawn beyond that

    @staticmethod
    def nothing(steps: int) -> Standing:
        unknown = (None,) * steps
        return Standing(unknown, unknown, unknown)


@dataclass(frozen=True)
class Schedule:
    """What a household is to do on a day.

    `status` is `agreed`; `alone`, with its supplier only, since there is no agreement with this household; or
    `provisional`, the same while the round still runs; or `renewed`, while the day runs: the trades as they are agreed,
    and the rest planned anew.
    """

    node: int
    day: str  # yyyy-mm-dd
    round: int
    status: str
    forecast: str  # the day whose forecast it was made with
    step_seconds: int
    zone: ZoneInfo
    values: Mapping[str, Array]  # kW, kvar, kWh by name, (T,) each
    since: int = 0  # the step from which on it was planned last
    standing: Standing | None = None  # of a member of the day

    @staticmethod
    def read(folder: Path, day: str, zone: ZoneInfo) -> Schedule | None:
        """That of a day; None where there is none, or a broken one."""
        try:
            stored = parse_json((folder / f"{day}.json").read_text(encoding="utf-8"))
            rows = stored["steps"]
            series = {name: tuple(row[name] for row in rows) for name in rows[0] if name not in ("start", "meter_wh")}
            known = {name: series.pop(name) for name in Standing.__dataclass_fields__ if name in series}
            return Schedule(
                node=int(stored["node"]),
                day=str(stored["day"]),
                round=int(stored["round"]),
                status=str(stored["status"]),
                forecast=str(stored["forecast"]),
                step_seconds=int(stored["step_seconds"]),
                zone=zone,
                values={name: np.array(values, dtype=float) for name, values in series.items()},
                since=int(stored.get("since", 0)),
                standing=Standing(**known) if known else None,
            )
        except (OSError, ValueError, KeyError, TypeError, IndexError):
            return None

    @property
    def starts(self) -> list[str]:
        """When each step begins, local time with offset. On the days when clocks change, midnight counts."""
        midnight = datetime.combine(date.fromisoformat(self.day), datetime.min.time(), self.zone).astimezone(
            timezone.utc
        )
        steps = len(next(iter(self.values.values())))
        return [
            (midnight + timedelta(seconds=k * self.step_seconds)).astimezone(self.zone).isoformat()
            for k in range(steps)
        ]

    @property
    def meter_wh(self) -> list[int]:
        """What the meter should read, Wh fed into the grid a step (negative: drawn), as settlement takes readings."""
        powers = self.values.get("injection_kw")
        return [] if powers is None else [round(float(kw) * self.step_seconds / 3.6) for kw in powers]

    def write(self, folder: Path) -> Path:
        """Writes `<day>.json` and `<day>.csv`, each in one go. Returns the first."""
        columns = {name: [round(float(value), 6) for value in series] for name, series in self.values.items()}
        rows = [
            {"start": start} | {name: series[k] for name, series in columns.items()}
            for k, start in enumerate(self.starts)
        ]
        if meter := self.meter_wh:
            rows = [row | {"meter_wh": wh} for row, wh in zip(rows, meter, strict=True)]
        if self.standing is not None:
            series = vars(self.standing)
            rows = [row | {name: values[k] for name, values in series.items()} for k, row in enumerate(rows)]
        text = io.StringIO()
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        content = {
            "format": FORMAT,
            "node": self.node,
            "day": self.day,
            "round": self.round,
            "status": self.status,
            "forecast": self.forecast,
            "step_seconds": self.step_seconds,
            "since": self.since,
            "steps": rows,
        }
        write_atomically(folder / f"{self.day}.csv", text.getvalue())
        write_atomically(path := folder / f"{self.day}.json", json.dumps(content, indent=1) + "\n")
        return path
