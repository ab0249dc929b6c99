"""Household files: every view comes back as it was, and a broken file is said to be broken."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.problem.scenario import REPORT, NetworkAgreement, Scenario
from gridpact.problem.view import node_views


def assert_same(one: Any, other: Any, where: str = "view") -> None:
    """The same types and values, arrays to the last bit."""
    assert type(one) is type(other), where
    if is_dataclass(one):
        for field in fields(one):
            assert_same(getattr(one, field.name), getattr(other, field.name), f"{where}.{field.name}")
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype, where
        assert one.tolist() == other.tolist(), where
    elif isinstance(one, tuple):
        assert len(one) == len(other), where
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{where}[{k}]")
    else:
        assert one == other, where


@pytest.mark.parametrize("agreement", NetworkAgreement)
@pytest.mark.parametrize("scenario", REPORT)
def test_views_comeBack(
    tmp_path: Path,
    tiny3: CommunityDay,
    fontana: CommunityDay,
    scenario: Scenario,
    agreement: NetworkAgreement,
) -> None:
    fixed = replace(tiny3, prices=replace(tiny3.prices, own_feed_in_price=np.array([0.08, 0.08, 0.1, 0.08])))
    for day in (tiny3, fontana, fixed):
        for view in node_views(day, scenario, agreement):
            write_view(view, tmp_path / "household.json")
            assert_same(read_view(tmp_path / "household.json"), view)


def test_file_isReplacedAtOnce(tmp_path: Path, tiny3: CommunityDay) -> None:
    for view in node_views(tiny3, Scenario.TG, NetworkAgreement.DSO):
        write_view(view, tmp_path / "deep" / "household.json")
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["household.json"]


@pytest.fixture
def household(tmp_path: Path, tiny3: CommunityDay) -> Path:
    """cem's file: a battery, a car, a partner, a line."""
    path = tmp_path / "household.json"
    write_view(node_views(tiny3, Scenario.TG, NetworkAgreement.NEIGHBOURS)[3], path)
    return path


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"garbage",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b"3",
        b'"text"',
        b"{}",
        b'{"format": 1}',
        b'{"format": 2}',
    ],
)
def test_garbage_isRefused(household: Path, content: bytes) -> None:
    household.write_bytes(content)
    with pytest.raises(InputError, match=r"household file '.*household\.json'") as caught:
        read_view(household)
    assert "\n" not in str(caught.value)


def test_missingFile_isRefused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_view(tmp_path / "nobody.json")
    with pytest.raises(InputError, match="cannot be read"):
        read_view(tmp_path)


def into(*path: str | int) -> Callable[[dict[str, Any], Any], None]:
    """Sets a value inside the file."""

    def change(values: Any, new: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = new

    return change


BROKEN: dict[str, tuple[tuple[str | int, ...], Any]] = {
    "format": (("format",), 99),
    "node": (("node",), "three"),
    "scenario": (("scenario",), "x"),
    "agreement": (("agreement",), None),
    "step": (("step_hours",), None),
    "step nan": (("step_hours",), float("nan")),
    "step zero": (("step_hours",), 0),
    "prices": (("prices",), [0.1]),
    "price nan": (("prices", "import_price", 0), float("nan")),
    "price text": (("prices", "import_price", 0), "dear"),
    "share": (("prices", "feed_in_share"), "half"),
    "children": (("children",), 5),
    "household": (("household",), "cem"),
    "household unknown key": (("household", "cat"), 1),
    "load short": (("household", "load_kw"), [0.5]),
    "load nested": (("household", "load_kw"), [[0.5] * 4]),
    "load null": (("household", "load_kw", 2), None),
    "pv text": (("household", "pv_kw"), "sunny"),
    "reactive short": (("household", "load_kvar"), []),
    "peak text": (("household", "pv_kwp"), "four"),
    "inverter null": (("household", "inverter_kvar"), None),
    "battery": (("household", "battery"), 6),
    "battery text": (("household", "battery", "capacity_kwh"), "six"),
    "battery nan": (("household", "battery", "power_kw"), float("nan")),
    "battery efficiency null": (("household", "battery", "charge_efficiency"), None),
    "car": (("household", "car"), [1]),
    "car text": (("household", "car", "energy_kwh"), "full"),
    "car window short": (("household", "car", "plugged_in"), [True]),
    "partners": (("partners",), {"2": 1}),
    "partner steps": (("partners", 0, "steps"), ["noon"]),
    "partner step outside": (("partners", 0, "steps"), [1, 44]),
    "partner coefficient": (("partners", 0, "coefficient"), "cheap"),
    "partner coefficients short": (("partners", 0, "coefficient"), [0.0]),
    "line": (("line",), {"node": 3}),
    "line text": (("line", "resistance_ohm"), "low"),
    "feeder": (("feeder", "lines"), None),
    "feeder text": (("feeder", "voltage_min_pu"), "0.95"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_brokenValue_isRefused(household: Path, what: str) -> None:
    path, new = BROKEN[what]
    values = json.loads(household.read_text())
    into(*path)(values, new)
    household.write_text(json.dumps(values))
    with pytest.raises(InputError, match=r"household file '.*household\.json'") as caught:
        read_view(household)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "path",
    [("node",), ("day",), ("prices",), ("prices", "import_price"), ("household",), ("household", "load_kw"),
     ("household", "battery", "power_kw"), ("household", "car", "plugged_in"), ("partners",),
     ("line",), ("line", "node"), ("feeder",), ("feeder", "lines")],
)  # fmt: skip
def test_missingValue_isRefused(household: Path, path: tuple[str, ...]) -> None:
    values = json.loads(household.read_text())
    inner = values
    for key in path[:-1]:
        inner = inner[key]
    del inner[path[-1]]
    household.write_text(json.dumps(values))
    with pytest.raises(InputError, match="is broken"):
        read_view(household)
