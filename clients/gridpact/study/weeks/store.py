"""Finished days as files: JSON with every digit, so that what is read back is what was written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.files import write_atomically
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.study.day import DayOutcome, HouseholdDay
from gridpact.study.indicators import Check
from gridpact.study.result import RecordedTrade
from gridpact.study.weeks.plan import Order

FOLDER = "days"
"""Where a study keeps its finished days, within its folder."""


def kept(order: Order, folder: Path) -> DayOutcome | None:
    """The outcome of a day that was finished before, if it was one of the same data, settings and program."""
    try:
        table = json.loads(_path(order, folder).read_text(encoding="utf-8"))
        return from_fields(table["outcome"]) if table["fingerprint"] == order.fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or no day of ours: it is solved again


def keep(order: Order, outcome: DayOutcome, folder: Path) -> None:
    """Writes a finished day."""
    table = {"fingerprint": order.fingerprint, "outcome": to_fields(outcome)}
    write_atomically(_path(order, folder), json.dumps(table, allow_nan=False, separators=(",", ":")) + "\n")


def to_fields(outcome: DayOutcome) -> dict[str, Any]:
    """An outcome in what JSON knows; numbers that are not finite become null."""
    table: dict[str, Any] = _plain(outcome)
    return table


def from_fields(table: Mapping[str, Any]) -> DayOutcome:
    """The outcome that `to_fields` was given.

    Raises:
        KeyError, TypeError, ValueError: the table is of something else.
    """
    values = dict(table)
    for name in ("import_price", "feed_in_price", *ARRAYS):
        values[name] = _array(values[name])
    values["scenario"] = Scenario(values["scenario"])
    values["agreement"] = NetworkAgreement(values["agreement"])
    for name in ("start_times", "voltage_limits_pu", "residual_limits_w"):
        values[name] = tuple(values[name])
    values["households"] = tuple(
        HouseholdDay(
            **home
            | {
                "assets": tuple(home["assets"]),
                "schedule": {name: _array(value) for name, value in home["schedule"].items()},
            }
        )
        for home in values["households"]
    )
    values["trades"] = tuple(RecordedTrade(*row) for row in values["trades"])
    values["checks"] = tuple(Check(**check) for check in values["checks"])
    return DayOutcome(**values)


ARRAYS = tuple(field.name for field in fields(DayOutcome) if field.type == "Array")


def _path(order: Order, folder: Path) -> Path:
    return folder / FOLDER / f"{order.name}.json"


def _array(values: Any) -> Any:
    return np.array(values, dtype=float)  # null becomes NaN


def _plain(value: Any) -> Any:
    if isinstance(value, RecordedTrade):  # thousands of them: as rows
        return [_plain(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, (Scenario, NetworkAgreement)):
        return value.value
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
