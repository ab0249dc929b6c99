"""Ausgrid's solar home data, on made-up files of both layouts; the real ones may not be passed on."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.ausgrid import FACTS, HALF_HOURS, read_ausgrid
from gridpact.community.meters import Gaps
from gridpact.errors import InputError

TITLE = "For full details on this data set see the notes" + "," * 53
HEADER = ",".join([*FACTS, *HALF_HOURS, "Row Quality"])


def energy(customer: int, category: str, day: int) -> list[float]:
    """kWh in each half hour: different in each, and from row to row."""
    base = {"GC": 0.2, "CL": 0.05, "GG": 0.0}[category]
    sun = np.clip(np.sin((np.arange(48) - 12) / 24 * np.pi), 0, 1) if category == "GG" else np.zeros(48)
    return [
        round(v, 3) for v in base + 0.001 * np.arange(48) * (base > 0) + 0.01 * customer * (base > 0) + 0.02 * day * sun
    ]


def row(customer: int, kwp: float, category: str, when: date, day: int) -> str:
    cells = [customer, kwp, 2000 + customer, category, when.strftime("%d/%m/%Y"), *energy(customer, category, day), ""]
    return ",".join(str(cell) for cell in cells)


def original(first: date = date(2012, 7, 1), days: int = 3) -> list[str]:
    """Lines of a file with customer 1, who has a boiler, and customer 7, who has none."""
    lines = [TITLE, HEADER]
    for customer, kwp, categories in ((1, 3.78, ("CL", "GC", "GG")), (7, 1.5, ("GC", "GG"))):
        for k in range(days):
            lines += [row(customer, kwp, category, first + timedelta(days=k), k + 1) for category in categories]
    return lines


def written(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_original_layout_is_read_as_powers_by_the_end_of_the_half_hour(tmp_path: Path) -> None:
    data = read_ausgrid([written(tmp_path / "2012.csv", original())])
    assert [meter.name for meter in data.meters] == ["customer_1", "customer_7"]
    assert data.days == ("2012-07-01", "2012-07-02", "2012-07-03")
    assert data.step_minutes == 30
    with_boiler, without = data.meters
    assert with_boiler.pv_kwp == 3.78
    # kWh a half hour, twice that in kW; the column 0:30 is the first half hour of the day, 0:00 its last
    expected = 2 * (np.array(energy(1, "GC", 2)) + np.array(energy(1, "CL", 2)))
    np.testing.assert_allclose(with_boiler.load_kw["2012-07-02"], expected)
    np.testing.assert_allclose(without.load_kw["2012-07-02"], 2 * np.array(energy(7, "GC", 2)))
    np.testing.assert_allclose(without.pv_kw["2012-07-03"], 2 * np.array(energy(7, "GG", 3)))
    assert not data.remarks


def test_original_layout_without_title_and_quality_and_with_another_way_to_write_dates(tmp_path: Path) -> None:
    def bare(line: str) -> str:
        return ",".join(line.split(",")[:53]).replace("01/07/2012", "1-Jul-12")

    lines = [bare(line) for line in original()[1:]]
    plain = read_ausgrid([written(tmp_path / "bare.csv", lines)])
    full = read_ausgrid([written(tmp_path / "full.csv", original())])
    assert plain.days == full.days
    for ours, theirs in zip(plain.meters, full.meters, strict=True):
        for day in full.days:
            np.testing.assert_array_equal(ours.load_kw[day], theirs.load_kw[day])


def test_customers_can_be_chosen_and_estimates_are_told(tmp_path: Path) -> None:
    lines = original()
    lines[-1] += "NA"
    data = read_ausgrid([written(tmp_path / "2012.csv", lines)], customers=["customer_7"])
    assert [meter.name for meter in data.meters] == ["customer_7"]
    assert data.remarks == ("1 rows of customer 7 are marked as estimated or substituted by Ausgrid.",)
    with pytest.raises(InputError, match=r"no readings of a household 'customer_2'.*customer_7"):
        read_ausgrid([tmp_path / "2012.csv"], customers=["customer_2", "customer_7"])


def test_days_on_which_sydney_changes_its_clock_are_left_out(tmp_path: Path) -> None:
    data = read_ausgrid([written(tmp_path / "2012.csv", original(date(2012, 10, 6), 3))])
    assert data.days == ("2012-10-06", "2012-10-08")
    assert data.remarks == ("Left out, since the clock changed: 2012-10-07.",)


def test_days_that_miss_are_left_out_where_that_is_asked_for(tmp_path: Path) -> None:
    lines = [line for line in original(days=4) if not line.startswith("7,1.5,2007,GC,02/07/2012")]
    data = read_ausgrid([written(tmp_path / "2012.csv", lines)], Gaps.SKIP)
    assert data.days == ("2012-07-01", "2012-07-03", "2012-07-04")
    assert "customer 7 lacks a category: 2012-07-02" in data.remarks[0]


Break = Callable[[list[str]], list[str]]


def swap(old: str, new: str) -> Break:
    def change(lines: list[str]) -> list[str]:
        text = "\n".join(lines)
        assert old in text
        return text.replace(old, new, 1).split("\n")

    return change


def lose(start: str) -> Break:
    def change(lines: list[str]) -> list[str]:
        assert any(line.startswith(start) for line in lines)
        return [line for line in lines if not line.startswith(start)]

    return change


def cell(line: int, column: str, value: str) -> Break:
    def change(lines: list[str]) -> list[str]:
        cells = lines[line - 1].split(",")
        cells[HEADER.split(",").index(column)] = value
        return [*lines[: line - 1], ",".join(cells), *lines[line:]]

    return change


# Rows as an editor counts them: 1 is the title, 2 the header, 3 to 11 customer 1, 12 to 17 customer 7.
COMPLAINTS: dict[str, tuple[Break, str]] = {
    "column missing": (swap(",9:30,", ",9.30,"), r"2012\.csv: column '9:30' is missing"),
    "customer missing": (swap("Customer,", "Client,"), r"2012\.csv: column 'Customer' is missing"),
    "category column missing": (swap("Consumption Category", "Category"), "column 'Consumption Category' is missing"),
    "column unknown": (swap("Row Quality", "Remark"), "column 'Remark' is not known"),
    "column twice": (swap("Row Quality", "0:30"), "column '0:30' stands twice"),
    "cell missing": (lambda lines: [*lines[:4], lines[4][:-1], *lines[5:]], r"row 5: has 53 cells, the header has 54"),
    "date of another order": (swap("03/07/2012", "07/31/2012"), r"row 9, column 'date': '07/31/2012' is not a date"),
    "date empty": (cell(4, "date", ""), "row 4, column 'date': is empty"),
    "category unknown": (swap(",GG,", ",GX,"), "row 5, column 'Consumption Category': 'GX' is not known.*GC.*CL.*GG"),
    "negative": (cell(6, "12:00", "-0.1"), "row 6, column '12:00': -0.1 must be at least 0"),
    "no number": (cell(6, "12:00", "n/a"), "row 6, column '12:00': 'n/a' is not a number"),
    "empty": (cell(6, "12:00", ""), "row 6, column '12:00': is empty"),
    "not finite": (cell(6, "12:00", "nan"), "row 6, column '12:00': 'nan' is not a finite number"),
    "row twice": (lambda lines: [*lines, lines[12]], "row 18, column 'date': customer 7 has a second row of GG on "
                  "2012-07-01, the first is row 13"),
    "another size": (cell(8, "Generator Capacity", "3.8"), "row 8, column 'Generator Capacity': customer 1 has 3.8 kWp "
                     "here, but 3.78"),
    "a category misses a day": (lose("7,1.5,2007,GG,02/07/2012"), "row 13: after it customer 7 has no row of GG on "
                                "2012-07-02; .*--gaps skip"),
    "a day is missing": (lambda lines: [line for line in lines if "02/07/2012" not in line], "row 5: after it customer "
                         "1 has no rows between 2012-07-01 and 2012-07-03"),
    "no generation": (lambda lines: [line for line in lines if "2007,GG" not in line], "customer 7 has no row of GG"),
    "no consumption": (lambda lines: [line for line in lines if "2007,GC" not in line], "customer 7 has no row of GC"),
    "Wh": (cell(6, "12:00", "350"), r"2012\.csv: 'customer_1' has 700 kW on 2012-07-02.*another unit"),
    "no rows": (lambda lines: lines[:2], r"2012\.csv has a header but no rows"),
    "nothing": (lambda lines: [""], r"2012\.csv is empty"),
}  # fmt: skip


@pytest.mark.parametrize("name", COMPLAINTS)
def test_original_layout_complains(tmp_path: Path, name: str) -> None:
    change, complaint = COMPLAINTS[name]
    path = written(tmp_path / "2012.csv", change(original()))
    with pytest.raises(InputError, match=complaint):
        read_ausgrid([path])


def test_file_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"nowhere\.csv' does not exist"):
        read_ausgrid([tmp_path / "nowhere.csv"])


# ---------------------------------------------------------------------- a series for each customer


def series(days: int = 2) -> list[str]:
    lines = [",GC,GG"]
    for k in range(48 * days):
        when = f"2011-07-{1 + k // 48:02d} {k % 48 // 2:02d}:{'30' if k % 2 else '00'}:00"
        lines.append(f"{when},{0.4 + 0.001 * k:.3f},{0.9 if 20 <= k % 48 < 30 else 0}")
    return lines


def test_series_of_a_customer_is_read(tmp_path: Path) -> None:
    data = read_ausgrid([written(tmp_path / "customer_12_2011-12_kw.csv", series())])
    (meter,) = data.meters
    assert meter.name == "customer_12"
    assert data.days == ("2011-07-01", "2011-07-02")
    assert meter.load_kw["2011-07-02"][0] == pytest.approx(0.448)  # kW as they stand, at the start of the half hour
    assert meter.pv_kw["2011-07-01"].sum() == pytest.approx(9.0)
    assert meter.pv_kwp == 0.9
    assert "largest output" in data.remarks[0]


def test_series_takes_the_size_from_the_name_of_its_file_and_adds_a_boiler(tmp_path: Path) -> None:
    lines = [f"{line},{'CL' if k == 0 else 0.5}" for k, line in enumerate(series())]
    (meter,) = read_ausgrid([written(tmp_path / "customer_12_1.04kWp.csv", lines)]).meters
    assert meter.pv_kwp == 1.04
    assert meter.load_kw["2011-07-01"][0] == pytest.approx(0.9)


def test_several_series_make_several_households(tmp_path: Path) -> None:
    paths = [written(tmp_path / f"customer_{k}.csv", series()) for k in (3, 4)]
    assert [meter.name for meter in read_ausgrid(paths).meters] == ["customer_3", "customer_4"]
    with pytest.raises(InputError, match="'customer_3' is in more than one of"):
        read_ausgrid([paths[0], paths[0]])


SERIES_COMPLAINTS: dict[str, tuple[Break, str]] = {
    "column missing": (swap(",GC,GG", ",GC,PV"), "column 'GG' is missing|column 'PV'"),
    "column unknown": (swap(",GC,GG", ",GC,GG,"), "column '' is not known"),
    "time": (swap("2011-07-01 10:00:00", "2011-07-01 25:00:00"), "row 22, column 'time': '2011-07-01 25:00:00'"),
    "negative": (swap("0.401", "-0.401"), "row 3, column 'GC': -0.401 must be at least 0"),
    "row twice": (
        lambda lines: [*lines, lines[5] + "9"],
        "row 98: 'customer_12' has a second reading at 2011-07-01 02:00, the first is in row 6",
    ),
    "gap": (
        lambda lines: [*lines[:10], *lines[12:]],
        "row 10: after it 'customer_12' has no reading at 2011-07-01 04:30 to 2011-07-01 05:00",
    ),
    "off the grid": (
        swap("2011-07-01 10:00:00", "2011-07-01 10:10:00"),
        "row 22: 'customer_12' has a reading at 2011-07-01 10:10, which is not on the grid of 30 minutes",
    ),
    "less than a day": (lambda lines: lines[:40], "has no day with all its 48 readings"),
}


@pytest.mark.parametrize("name", SERIES_COMPLAINTS)
def test_series_complains(tmp_path: Path, name: str) -> None:
    change, complaint = SERIES_COMPLAINTS[name]
    with pytest.raises(InputError, match=complaint):
        read_ausgrid([written(tmp_path / "customer_12.csv", change(series()))])
