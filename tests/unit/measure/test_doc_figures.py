"""The figures of README and docs are those of the reports, wherever they stand."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

import pytest

from measure import bench, figures

REPORTS = figures.read_reports()


@pytest.mark.parametrize("path", figures.documents(), ids=lambda path: path.name)
def test_document_hasTheReportsFigures(path: Path) -> None:
    """`make figures` writes them."""
    text = path.read_text(encoding="utf-8")
    assert figures.filled(text, REPORTS) == text


def test_everyBlock_standsSomewhere() -> None:
    found = [name for path in figures.documents() for _, name, _, _ in figures.BLOCK.findall(path.read_text("utf-8"))]
    assert sorted(found) == sorted(figures.BLOCKS)


def changed(name: str) -> dict[str, Any]:
    """The reports with other numbers of one kind."""
    reports = copy.deepcopy(REPORTS)
    bench_report = reports["bench"]
    if name == "gas":
        for row in reports["gas"]:
            row["gas_per_household_iteration"] += 1
    elif name == "iterations":
        for row in bench_report["iterations"]:
            row["stopped_at"] += 1
    elif name == "growth":
        for row in bench_report["growth"]:
            row["iterations"] += 1
    elif name == "survival":
        for row in reports["survival"]:
            row["planned_saving"] += 1.0
    elif name == "curve":
        for row in reports["curve"]:
            row["draws"] += 1
    elif name == "losers":
        for row in reports["curve"]:
            for rule in row["rules"]:
                for home in rule["by_home"].values():
                    home["median"] -= 1.0
    elif name == "sharings":
        for row in reports["losers"]:
            row["planned_saving"] += 1.0
    elif name == "weeks":
        for row in reports["weeks"]:
            row["planned_saving"] += 1.0
    elif name == "faulty-days":
        reports["days"]["rounds_agreed"] += 1
    elif name == "calls":
        reports["calls"]["star16: abstain"] += 1
    elif name == "manager-gas":
        reports["calls"]["price of 64 homes, 24 steps: tell, mean"] += 1
    elif name == "platforms":
        for row in reports["platforms"]["rows"]:
            row["round"]["gas"] += 10**6
    elif name == "platform-faults":
        for row in reports["platforms"]["rows"]:
            row["transfers"]["median_wait_s"] += 1.0
    elif name == "thesis":
        for row in reports["plans"]["thesis"]:
            row["unified"] += 1.0
    elif name == "thesis-devices":
        for row in reports["plans"]["thesis_with_devices"]:
            row["unified"] += 1.0
    elif name == "plans":
        reports["plans"]["trial"]["right"] -= 0.1
    elif name == "phases":
        for row in reports["phases"]["days"]:
            if "failure" not in row:  # no plan keeps the limits on such a day
                row["stopped_at"] += 1
    elif name == "non-convex":
        for row in reports["phases"]["non_convex"]:
            row["ipopt"] += 1.0
    elif name == "waiting":
        for row in bench_report["waiting"]:
            row["round_s"] += 1.0
    else:
        raise KeyError(f"how does the report of '{name}' change?")
    return reports


@pytest.mark.parametrize("name", figures.BLOCKS)
def test_block_movesWithItsReport(name: str) -> None:
    """And only that one."""
    text = "".join(path.read_text(encoding="utf-8") for path in figures.documents())
    before = {found[1]: found[2] for found in figures.BLOCK.findall(text)}
    after = {found[1]: found[2] for found in figures.BLOCK.findall(figures.filled(text, changed(name)))}
    assert {block for block in before if before[block] != after[block]} == {name}


def test_block_thatNobodyKnows_isRefused() -> None:
    with pytest.raises(KeyError):
        figures.filled("<!-- figures: weather -->\nrain\n<!-- end of figures -->", REPORTS)


def test_tables_ofTheBenchmarks() -> None:
    page = (figures.ROOT / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    report = REPORTS["bench"]
    assert bench.waiting_table([bench.Waited(**row) for row in report["waiting"]]) in page
    assert bench.growth_table([bench.Grown(**row) for row in report["growth"]]) in page
    assert bench.split_table([bench.Split(**row) for row in report["split"]]) in page
    for row in report["iterations"]:
        day = f"| {row['case']} | {row['day']} | {row['scenario']} | {row['to_0_8_percent']} | "
        told = f"{row['to_0_1_percent'] or 'later'} | {row['stopped_at']} | {row['gap_at_stop']:.3%} |"
        assert day + told in page


def test_table_ofGas() -> None:
    page = (figures.ROOT / "docs" / "gas.md").read_text(encoding="utf-8")
    for row in REPORTS["gas"]:
        assert f"{row['gas_per_household_iteration']:,.0f}" in page


def test_iterations_byAnotherWay() -> None:
    """The median and the most of a column, straight from the report."""
    (line,) = re.findall(r"^\| amsterdam16 \| T \| .*$", figures.iterations(REPORTS), re.MULTILINE)
    stops = sorted(
        row["stopped_at"]
        for row in REPORTS["bench"]["iterations"]
        if row["case"] == "amsterdam16" and row["scenario"] == "T"
    )
    middle = (stops[(len(stops) - 1) // 2] + stops[len(stops) // 2]) / 2
    assert f"| {middle:g}, {stops[-1]} |" in line
