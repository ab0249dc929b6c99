"""What is solved as files: JSON with every digit, so that what is read back is what was written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import fields
from enum import Enum
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np

from gridpact.errors import InputError
from gridpact.files import parse_json, write_atomically
from gridpact.market.agreement import Trade
from gridpact.market.registry import NAMES
from gridpact.outcome.day import DayOutcome, HouseholdDay
from gridpact.outcome.indicators import Check
from gridpact.problem.scenario import NetworkAgreement, Scenario

FOLDER = "days"
"""Where a study or a what-if keeps what is finished, within its folder."""

Result = TypeVar("Result", covariant=True)


class Task(Protocol[Result]):
    """Something to be solved whose result is kept."""

    @property
    def name(self) -> str:
        """Of its file; tasks of one name are one task."""

    @property
    def fingerprint(self) -> str:
        """Of all that its result depends on. Each process that has to do with the task works it out anew."""

    @property
    def effort(self) -> int:
        """Tasks with more go first, so that no core waits for a long one at the end."""

    def solve(self) -> Result:
        """The result."""

    def read(self, fields: Any) -> Result:
        """The result that `to_fields` was given.

        Raises:
            KeyError, TypeError, ValueError: the fields are of something else.
        """


def kept(task: Task[Result], folder: Path) -> Result | None:
    """The result of a task that was finished before, if it was one of the same data, settings and program."""
    try:
        table = parse_json(_path(task, folder).read_text(encoding="utf-8"))
        return task.read(table["outcome"]) if table["fingerprint"] == task.fingerprint else None
    except (OSError, ValueError, KeyError, TypeError):
        return None  # not there, or nothing of ours: it is solved again


def keep(task: Task[Any], result: Any, folder: Path) -> None:
    """Writes a finished result.

    Raises:
        InputError: the folder takes no more files.
    """
    table = {"fingerprint": task.fingerprint, "outcome": to_fields(result)}
    text = json.dumps(table, allow_nan=False, separators=(",", ":")) + "\n"
    try:
        write_atomically(_path(task, folder), text)
    except OSError as error:
        raise InputError(
            f"'{folder / FOLDER}' takes no more files ({error.strerror}); make room and give the same command again, "
            "which goes on from what is there, or choose another folder with --out"
        ) from None


def to_fields(value: Any) -> Any:
    """A result in what JSON knows; numbers that are not finite become null."""
    if isinstance(value, Trade):  # thousands of them: as rows
        return [to_fields(getattr(value, field.name)) for field in fields(value)]
    if isinstance(value, (Enum, Scenario)):
        return value.value
    if hasattr(value, "__dataclass_fields__"):
        return {field.name: to_fields(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, np.ndarray):
        return to_fields(value.tolist())
    if isinstance(value, np.generic):
        return to_fields(value.item())
    if isinstance(value, Mapping):
        return {str(key): to_fields(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [to_fields(entry) for entry in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def outcome_of(table: Mapping[str, Any]) -> DayOutcome:
    """The outcome that `to_fields` was given.

    Raises:
        KeyError, TypeError, ValueError: the table is of something else.
    """
    values = dict(table)
    for name in ("import_price", "feed_in_price", *ARRAYS):
        values[name] = _array(values[name])
    values["scenario"] = NAMES[values["scenario"]]
    values["agreement"] = NetworkAgreement(values["agreement"])
    for name in ("start_times", "voltage_limits_pu", "residual_limits_w"):
        values[name] = tuple(values[name])
    values["households"] = tuple(
        HouseholdDay(
            **home
            | {
                "assets": tuple(home["assets"]),
                "schedule": {name: _array(value) for name, value in home["schedule"].items()},
                **{name: None if home[name] is None else _array(home[name]) for name in OWN_PRICES},
            }
        )
        for home in values["households"]
    )
    values["trades"] = tuple(Trade(*row) for row in values["trades"])
    values["checks"] = tuple(Check(**check) for check in values["checks"])
    return DayOutcome(**values)


OWN_PRICES = ("import_price", "feed_in_price")
"""Of a household, where it has a tariff of its own."""

ARRAYS = tuple(field.name for field in fields(DayOutcome) if field.type == "Array")


def _path(task: Task[Any], folder: Path) -> Path:
    return folder / FOLDER / f"{task.name}.json"


def _array(values: Any) -> Any:
    return np.array(values, dtype=float)  # null becomes NaN
