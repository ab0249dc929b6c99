"""What a household's own node has written down for it: the schedule of a day, and what it was made from.

These files are read as they are, and only read; what they say is shown to whoever knows the page's secret address.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridpact.errors import InputError
from gridpact.files import parse_json
from gridpact.service.settings import Settings, read_settings

CONFIG = "household.toml"

MOST_BYTES = 2**22
"""Of a file; a schedule of 192 steps has some 50 kB."""


@dataclass(frozen=True)
class HouseholdFolder:
    """A node's folder, for reading."""

    settings: Settings
    aggregator: str

    @property
    def node(self) -> int:
        return self.settings.node

    @property
    def name(self) -> str:
        return self.settings.name

    def on(self, day: int, round_: int) -> dict[str, Any]:
        """What is known of the day of a round.

        Args:
            day: the round's label, yyyymmdd.
        """
        name = f"{day // 10000:04d}-{day // 100 % 100:02d}-{day % 100:02d}"
        schedule = _read(self.settings.service.schedule / f"{name}.json")
        view = _read(self.settings.service.state / self.aggregator / f"round-{round_}.view.json")
        own = view.get("household") if view else None
        limits = self.settings.limits
        return {
            "node": self.node,
            "name": self.name,
            "day": name,
            "schedule": schedule,
            "load_kw": own.get("load_kw") if isinstance(own, dict) else None,
            "pv_kw": own.get("pv_kw") if isinstance(own, dict) else None,
            "deposit_max": limits.deposit_max if limits else None,
        }


def settings_in(folder: Path) -> Settings:
    """The settings of a node, by its folder or its `household.toml`.

    Raises:
        InputError: there are none, or it is no household's.
    """
    path = folder if folder.is_file() else folder / CONFIG
    if not path.is_file():
        raise InputError(f"there is no {CONFIG} in {folder}: name a node's folder, made by `gridpact household new`")
    settings = read_settings(path)
    if settings.home is None:
        raise InputError(f"{path} is the grid operator's: it has no schedule; leave --household out")
    return settings


def _read(path: Path) -> dict[str, Any] | None:
    """A JSON object; None where there is none (yet), or the file is broken."""
    try:
        if path.stat().st_size > MOST_BYTES:
            return None
        values = parse_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) else None
