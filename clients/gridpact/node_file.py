"""The household file: what one node knows before it connects, as JSON. It stays at the household."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.community.model import Battery, ElectricCar, Feeder, Household, Line, Prices
from gridpact.errors import InputError
from gridpact.files import write_atomically
from gridpact.market.coefficients import Partner
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.market.view import NodeView

FORMAT = 1


def write_view(view: NodeView, path: Path) -> None:
    """Writes a household file, atomically."""
    values = asdict(view) | {
        "scenario": view.scenario.value,
        "agreement": view.agreement.value,
        "format": FORMAT,
    }
    write_atomically(path, json.dumps(values, default=lambda array: array.tolist(), indent=1) + "\n")


def read_view(path: Path) -> NodeView:
    """Reads a household file.

    Raises:
        InputError: it does not exist, is no JSON, or a value is missing or of the wrong kind.
    """
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise InputError(f"the household file '{path}' cannot be read: {error}") from None
    try:
        if values["format"] != FORMAT:
            raise InputError(f"the household file '{path}' has format {values['format']}, this version reads {FORMAT}")
        return NodeView(
            node=int(values["node"]),
            day=str(values["day"]),
            scenario=Scenario(values["scenario"]),
            agreement=NetworkAgreement(values["agreement"]),
            step_hours=float(values["step_hours"]),
            prices=Prices(_array(values["prices"]["import_price"]), float(values["prices"]["feed_in_share"])),
            parent=int(values["parent"]),
            children=tuple(int(child) for child in values["children"]),
            depth=int(values["depth"]),
            household=_household(values["household"]),
            partners=tuple(
                Partner(int(p["node"]), tuple(int(t) for t in p["steps"]), _array(p["coefficient"]))
                for p in values["partners"]
            ),
            line=None if values["line"] is None else Line(**values["line"]),
            feeder=_feeder(values["feeder"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"the household file '{path}' is broken: {type(error).__name__} {error}") from None


def _array(values: Any) -> np.ndarray[Any, np.dtype[np.float64]]:
    array = np.asarray(values, dtype=float)
    if array.ndim != 1 or not np.isfinite(array).all():
        raise ValueError("a series must be a list of finite numbers")
    return array


def _household(values: dict[str, Any] | None) -> Household | None:
    if values is None:
        return None
    series = {key: _array(values[key]) for key in ("load_kw", "load_kvar", "pv_kw")}
    battery, car = values["battery"], values["car"]
    return Household(
        **values
        | series
        | {
            "battery": battery and Battery(**battery),
            "car": car and ElectricCar(**car | {"plugged_in": np.asarray(car["plugged_in"], dtype=bool)}),
        }
    )


def _feeder(values: dict[str, Any] | None) -> Feeder | None:
    if values is None:
        return None
    return Feeder(**(values | {"lines": tuple(Line(**line) for line in values["lines"])}))
