"""What documentation and new files say of devices, made of the registry, so that it says what is so.

`python -m gridpact.devices.document FILE...` writes it between the markers of the files; a test fails where it differs.
"""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from gridpact.devices.device import Attribute, Device
from gridpact.devices.registry import DEVICES

MARKED = re.compile(r"(<!-- devices: (?P<what>\w+) -->\n).*?(<!-- /devices -->)", re.DOTALL)


def columns() -> str:
    """The columns of devices in households.csv."""
    rows = [
        (f"`{one.column}`", "HH:MM" if one.is_clock else one.unit, _default(device, one), _allowed(one), one.meaning)
        for device in DEVICES
        for one in device.attributes
    ]
    return _rows(("column", "unit", "default", "allowed", "meaning"), rows)


def forecasts() -> str:
    """What a forecast may tell of devices."""
    rows = [
        (f"`{field.key}`", f"`{field.key}`" if field.is_series else "", field.meaning)
        for device in DEVICES
        for field in device.forecast_fields
    ]
    return _rows(("JSON key", "CSV column", ""), rows)


def plans() -> str:
    """The columns of schedules that devices have."""
    rows = [(f"`{column.name}`", column.meaning) for device in DEVICES for column in device.columns]
    return _rows(("column", "meaning"), rows)


def readings() -> str:
    """What a reading may tell of devices after a step."""
    rows = [(f"`{one.name}`", one.meaning) for device in DEVICES if (one := device.measured) is not None]
    return _rows(("JSON key", "after the step"), rows)


def _rows(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "".join("|" + "|".join(f" {cell} " if cell else " " for cell in line) + "|\n" for line in lines)


def template() -> str:
    """The tables of devices in a new household.toml, all of them commented out."""
    return "\n".join(_table(device) for device in DEVICES)


def _table(device: type[Device]) -> str:
    lines = [f"[{device.kind}]"]
    for one in device.attributes:
        setting = f'{one.key} = "{one.example}"' if one.is_clock else f"{one.key} = {one.example}"
        meaning = one.meaning.split(". ")[0] + (f", {one.unit}" if one.unit else "")
        lines.append(f"{setting:<28} # {meaning}")
    return "".join(f"# {line}\n" for line in lines)


def _default(device: type[Device], one: Attribute) -> str:
    if one is device.attributes[0]:
        return f"0: no {device.name()}"
    return f"required with {device.a_name}" if one.default is None else f"{one.default:g}"


def _allowed(one: Attribute) -> str:
    if one.is_clock:
        return "00:00 to 24:00"
    return f"{one.low:g} or more" if one.high == math.inf else f"{one.low:g} to {one.high:g}"


PARTS: dict[str, Callable[[], str]] = {"columns": columns, "forecasts": forecasts, "plans": plans, "readings": readings}


def written(text: str) -> str:
    """A text with what stands between its markers as it should be."""
    return MARKED.sub(lambda part: f"{part[1]}\n{PARTS[part['what']]()}\n{part[3]}", text)


if __name__ == "__main__":
    for name in sys.argv[1:]:
        Path(name).write_text(written(Path(name).read_text(encoding="utf-8")), encoding="utf-8")
