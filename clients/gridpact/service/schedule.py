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

from gridpact.community.model import Array
from gridpact.files import write_atomically

FORMAT = 1


@dataclass(frozen=True)
class Schedule:
    """What a household is to do on a day.

    `status` is `agreed`; `alone`, with its supplier only, since there is no agreement with this household; or
    `provisional`, the same while the round still runs.
    """

    node: int
    day: str  # yyyy-mm-dd
    round: int
    status: str
    forecast: str  # the day whose forecast it was made with
    step_seconds: int
    zone: ZoneInfo
    values: Mapping[str, Array]  # kW, kvar, kWh by name, (T,) each

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
            "steps": rows,
        }
        write_atomically(folder / f"{self.day}.csv", text.getvalue())
        write_atomically(path := folder / f"{self.day}.json", json.dumps(content, indent=1) + "\n")
        return path
