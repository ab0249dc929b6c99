"""Files as people have them: what the command makes of each, or asks. The truth is what the files were written from."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import accumulate
from pathlib import Path

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.community.read import Community, read_community

START = datetime(2024, 6, 20)
HOURS = [START + timedelta(hours=k) for k in range(48)]
LOAD = {"a": [0.285 + 0.11 * (k * 7 % 9) for k in range(48)], "b": [0.385 + 0.13 * (k * 5 % 7) for k in range(48)]}
"""kWh in each hour of two days."""

Given = dict[str, str] | dict[str, bytes] | str
New = Callable[..., tuple[Community | None, str]]


@pytest.fixture
def new(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> New:
    """Writes files, makes a community of them, and returns it, if there is one, and what was said."""

    def make(files: Given, *options: str, price: Sequence[str] = ("--price", "0.3")) -> tuple[Community | None, str]:
        files = {"r.csv": files} if isinstance(files, str) else files
        for name, text in files.items():
            (tmp_path / name).write_bytes(text.encode("utf-8") if isinstance(text, str) else text)
        readings = [str(tmp_path / name) for name in files if not name.startswith("_")]
        options = tuple(str(tmp_path / option) if option in files else option for option in (*options, *price))
        status = main(["community", "new", "--from", *readings, "--out", str(tmp_path / "out"), *options])
        said = capsys.readouterr()
        assert status == (2 if said.err else 0)
        assert said.err.count("\n") <= 1
        return (read_community(str(tmp_path / "out")) if not status else None), said.err or said.out

    return make


def table(
    columns: dict[str, Sequence[object]],
    times: Sequence[datetime] = HOURS,
    form: str = "%Y-%m-%d %H:%M",
    separator: str = ",",
    write: Callable[[object], str] = str,
) -> str:
    lines = [separator.join(["time", *columns])]
    for k, time in enumerate(times):
        lines.append(separator.join([time.strftime(form), *(write(values[k]) for values in columns.values())]))
    return "\n".join(lines) + "\n"


def comma(value: object) -> str:
    return f"{value:.4f}".replace(".", ",")


def check(community: Community | None, truth: dict[str, Sequence[float]] = LOAD, steps: int = 24) -> None:
    """All days have the energy that the files were written from, kWh in each hour."""
    assert community is not None
    assert len(community.days) == len(next(iter(truth.values()))) // 24
    for name, hours in truth.items():
        for k, day in enumerate(community.days):
            hourly = community.load.values[day][name].reshape(24, -1).mean(axis=1)
            np.testing.assert_allclose(hourly, hours[24 * k : 24 * k + 24], rtol=1e-4)
            assert len(community.load.values[day][name]) == steps


def quarters(values: Sequence[float], parts: int = 4) -> list[float]:
    return [value / parts for value in values for _ in range(parts)]


def at(minutes: int) -> list[datetime]:
    return [START + timedelta(minutes=minutes * k) for k in range(2880 // minutes)]


# ---------------------------------------------------------------------- counters


def states(values: Sequence[float], first: float) -> list[float]:
    return [round(state, 3) for state in accumulate(values, initial=first)]


@pytest.mark.parametrize("first", [12.0, 41_234.0])
def test_counters_areAskedAbout_andRead(new: New, first: float) -> None:
    times = [*HOURS, HOURS[-1] + timedelta(hours=1)]
    text = table({name: states(values, first) for name, values in LOAD.items()}, times)
    _, said = new(text)
    assert "--counter" in said
    check(new(text, "--counter")[0])


def test_counter_thatIsChanged_hasAGapThere(new: New) -> None:
    times = [*HOURS, HOURS[-1] + timedelta(hours=1)]
    a = states(LOAD["a"], 800.0)
    a[31:] = [round(state - a[31] + 0.1, 3) for state in a[31:]]
    text = table({"a": a}, times)
    assert "after it 'a' has no reading at 2024-06-21 06:00" in new(text, "--counter")[1]
    community, said = new(text, "--counter", "--gaps", "skip")
    assert "Counters fell or jumped, so the meter was changed or reset" in said
    check(community, {"a": LOAD["a"][:24]})


def test_counter_overAMissingState_keepsTheEnergy(new: New) -> None:
    times = [*HOURS, HOURS[-1] + timedelta(hours=1)]
    a = states(LOAD["a"], 800.0)
    del times[10], a[10]
    community, said = new(table({"a": a}, times), "--counter", "--gaps", "fill")
    assert community is not None
    assert "spread evenly: 1 of 'a'" in said
    assert sum(community.load.values["2024-06-20"]["a"]) == pytest.approx(sum(LOAD["a"][:24]), rel=1e-4)


def test_counter_thatIsNone_isSaid(new: New) -> None:
    assert "so it is no counter; leave out --counter" in new(table(dict(LOAD)), "--counter")[1]


# ---------------------------------------------------------------------- numbers


def test_thousandsPoints(new: New) -> None:
    wh = {name: [round(1000 * value) for value in values] for name, values in LOAD.items()}
    text = table(wh, separator=";", form="%d.%m.%Y %H:%M", write=lambda value: f"{value:,}".replace(",", "."))
    _, said = new(text, "--unit", "wh")
    assert all(words in said for words in ("row", "column 'a'", "--decimal comma"))
    check(new(text, "--unit", "wh", "--decimal", "comma")[0])


def test_thousandsPoints_besideDecimalCommas_areBelieved(new: New) -> None:
    wh = {name: [1000 * value for value in values] for name, values in LOAD.items()}
    write = lambda value: f"{value:,.1f}".translate(str.maketrans(",.", ".,"))  # noqa: E731
    check(new(table(wh, separator=";", write=write), "--unit", "wh")[0])


def test_aPointAmongDecimalCommas_isRefused(new: New) -> None:
    text = table(dict(LOAD), separator=";", write=comma).replace("0,2850", "1.055", 1)
    assert "row 2, column 'a': '1.055' is 1.055 or 1055" in new(text)[1]
    text = table(dict(LOAD), separator=";", write=comma).replace("0,2850", "0.2850", 1)
    assert "another decimal mark" in new(text)[1]


@pytest.mark.parametrize(("separator", "write"), [(";", comma), ("\t", comma), ("\t", str), ("|", str), (";", str)])
def test_separators(new: New, separator: str, write: Callable[[object], str]) -> None:
    check(new(table(dict(LOAD), separator=separator, write=write))[0])


def test_quotedDecimalCommas_betweenCommas(new: New) -> None:
    check(new(table(dict(LOAD), write=lambda value: f'"{comma(value)}"'))[0])


def test_emptyColumnsBehind(new: New) -> None:
    text = table(dict(LOAD), separator=";", write=comma)
    check(new("\n".join(line + ";;" for line in text.splitlines()))[0])


@pytest.mark.parametrize("word", ["unavailable", "unknown", "NaN", "n/a", "null", "-", ""])
def test_wordsForGaps(new: New, word: str) -> None:
    text = table({**LOAD, "a": [*LOAD["a"][:5], word, *LOAD["a"][6:]]})
    assert "after it 'a' has no reading at 2024-06-20 05:00" in new(text)[1]
    community, said = new(text, "--gaps", "fill")
    assert "Filled with a line between their neighbours: 1 reading of 'a'" in said
    check(community, {"b": LOAD["b"]})


def test_littleBelowZero_isZero_more_isRefused(new: New) -> None:
    pv = [2.0 if 8 <= k % 24 < 18 else -0.004 for k in range(48)]
    community, said = new(table({"a": LOAD["a"], "a_pv": pv}))
    assert community is not None
    assert community.device_series["pv_kw"].values["2024-06-20"]["a"][0] == 0
    assert "Below zero by 0.004 kW at most, taken as 0: 28 readings of 'a'" in said
    assert "'a_pv' as PV output of 'a'" in said


def test_turnedSigns(new: New) -> None:
    assert "all are below zero, so turn their signs" in new(table({"a": [-value for value in LOAD["a"]]}))[1]


# ---------------------------------------------------------------------- times


@pytest.mark.parametrize(
    "form",
    ["%Y/%m/%d %H:%M", "%d.%m.%Y %H:%M", "%d-%m-%Y %H:%M:%S", "%m/%d/%Y %I:%M %p", "%Y%m%d%H%M", "%d %b %Y %H:%M"],
)
def test_formsOfTimes(new: New, form: str) -> None:
    community, _ = new(table(dict(LOAD), form=form))
    check(community)
    assert community is not None
    assert community.days == ("2024-06-20", "2024-06-21")


def test_dayOrMonthFirst(new: New) -> None:
    october = [datetime(2024, 10, 1) + timedelta(hours=k) for k in range(48)]
    community, said = new(table(dict(LOAD), october, "%m/%d/%Y %H:%M"), "--gaps", "skip")
    assert community is not None
    assert community.days == ("2024-10-01", "2024-10-02")
    assert "have the month first, as their days follow each other then: '10/01/2024 00:00' is 2024-10-01" in said


def test_oneDay_isAskedFor(new: New) -> None:
    day = [datetime(2024, 10, 1) + timedelta(hours=k) for k in range(24)]
    text = table({"a": LOAD["a"][:24]}, day, "%d/%m/%Y %H:%M")
    assert "'01/10/2024 00:00' is 2024-10-01 or 2024-01-10; say which with --dates" in new(text)[1]
    community, _ = new(text, "--dates", "day-first")
    assert community is not None
    assert community.days == ("2024-10-01",)


def test_hour24(new: New) -> None:
    lines = table(dict(LOAD)).splitlines()
    ends = [lines[0], *(f"{line[:11]}{int(line[11:13]) + 1:02d}{line[13:]}" for line in lines[1:])]
    text = "\n".join(ends) + "\n"
    assert "'2024-06-20 24:00' is the end of a step: say --times end" in new(text)[1]
    check(new(text, "--times", "end")[0])


def test_equalReadingsTwice_areTakenOnce(new: New) -> None:
    text = table(dict(LOAD))
    community, said = new(text + text.splitlines()[7] + "\n")
    check(community)
    assert "Equal readings at one time, taken once: 1 of 'a', 1 of 'b'" in said


def test_changingSteps_areRefused_evenIfGapsAreFilled(new: New) -> None:
    times, values = [*at(15)[:96], *HOURS[24:]], [*quarters(LOAD["a"][:24]), *LOAD["a"][24:]]
    _, said = new(table({"a": values}, times), "--gaps", "fill")
    assert "from here 'a' has readings 60 minutes apart, elsewhere 15" in said


@pytest.mark.parametrize("minutes", [1, 5])
def test_shortSteps_needLongerOnes(new: New, minutes: int) -> None:
    text = table({name: quarters(values, 60 // minutes) for name, values in LOAD.items()}, at(minutes))
    assert "take longer ones with --step" in new(text, "--unit", "kwh")[1]
    check(new(text, "--step", "15", "--unit", "kwh")[0], steps=96)


# ---------------------------------------------------------------------- columns and files


@pytest.mark.parametrize(
    ("columns", "complaint"),
    [
        ({**LOAD, "total": LOAD["a"]}, "column 'total' looks like that of no household"),
        ({**LOAD, "everything": [x + y for x, y in zip(*LOAD.values(), strict=True)]}, "what all others use together"),
        ({**LOAD, "gridcol": LOAD["a"]}, "column 'gridcol' looks like that of no household"),
        ({**LOAD, "a_ev": LOAD["b"]}, "column 'a_ev' looks like a part of 'a'"),
        ({**LOAD, "c_pv": LOAD["b"]}, "column 'c_pv' looks like pv of 'c', which has no load"),
        ({"a": LOAD["a"], "a_pv": [1.0 if k % 24 > 20 or k % 24 < 5 else 0.0 for k in range(48)]}, "is it PV output"),
        ({"consumption": LOAD["a"], "boat": LOAD["b"]}, "--value-column"),
        ({**LOAD, "roof PV - DC": LOAD["a"]}, "column 'roof PV - DC' looks like that of no household"),
        ({**LOAD, "quality": [1] * 48}, "column 'quality' looks like that of no household"),
        ({"Anna": LOAD["a"], "anna": LOAD["b"]}, "differ in case or spaces only"),
        ({"a (MJ)": LOAD["a"]}, "the unit 'MJ' of column 'a (MJ)' is not known"),
        ({"a": LOAD["a"], "b (kWh/15min)": LOAD["b"]}, "the unit 'kWh/15min' of column"),
        ({"a": [99.0 if k == 30 else v for k, v in enumerate(LOAD["a"])]}, "is it an error of its meter"),
        ({**LOAD, "c": LOAD["b"], "street": [1.01 * (x + 2 * y) for x, y in zip(*LOAD.values(), strict=True)]},
         "what all others use together"),
    ],
)  # fmt: skip
def test_columnsThatMayBeAnything_areAskedAbout(new: New, columns: dict[str, Sequence[object]], complaint: str) -> None:
    assert complaint in new(table(columns))[1]


def test_columnsAreLeftOut_orNamed(new: New) -> None:
    text = table({**LOAD, "total": LOAD["b"], "gridcol": LOAD["b"]})
    check(new(text, "--ignore", "total,gridcol")[0])


def test_namedColumns_areHouseholds(new: New) -> None:
    check(new(table({**LOAD, "total": LOAD["b"]}), "--only", "a,total")[0], {"a": LOAD["a"], "total": LOAD["b"]})


def test_unitsInNames(new: New) -> None:
    text = table({"a_kw": LOAD["a"], "b (Wh)": [1000 * value for value in LOAD["b"]]})
    check(new(text)[0])


def test_unit_isObeyedOrRefused(new: New) -> None:
    lines = [f"{time:%Y-%m-%d %H:%M},a,{value}" for time, value in zip(HOURS, LOAD["a"], strict=True)]
    said = new("\n".join(["time,household,load_kwh", *lines]), "--unit", "wh")[1]
    assert "column 'load_kwh' is in kWh by its name, --unit says Wh" in said


def test_filesOfMembers_areJoined(new: New) -> None:
    """One named by its column, one by its file, one in two parts of which the second has other columns beside."""
    files = {
        "x.csv": table({"a": LOAD["a"]}),
        "b.csv": table({"Consumption (kWh)": LOAD["b"]}, form="%d-%m-%Y %H:%M").replace("time", "Start"),
    }
    check(new(files)[0])


def test_partsOfAYear_areJoined(new: New) -> None:
    files = {
        "may.csv": table({name: values[:24] for name, values in LOAD.items()}, HOURS[:24]),
        "june.csv": table({name: values[24:] for name, values in LOAD.items()}, HOURS[24:]),
    }
    check(new(files)[0])


def test_differentSteps_areBroughtToOne(new: New) -> None:
    files = {"a.csv": table({"a": quarters(LOAD["a"])}, at(15)), "b.csv": table({"b": LOAD["b"]})}
    assert "--step 60" in new(files)[1]
    assert "say --unit kwh or --unit kw" in new(files, "--step", "60")[1]
    check(new(files, "--step", "60", "--unit", "kwh")[0])


def test_fileOfAGridOperator(new: New) -> None:
    """Days and times apart, ends beside, rows of registers with a unit, columns that are nothing."""
    lines = ["Van datum;Van tijdstip;Tot datum;Tot tijdstip;EAN-code;Register;Volume;Eenheid;Opmerking"]
    for time, load in zip(HOURS, LOAD["a"], strict=True):
        end = time + timedelta(hours=1)
        for register, value in (("Afname Dag", load), ("Injectie Dag", 0.0), ("Afname Inductief", 7.0)):
            lines.append(f'{time:%d-%m-%Y;%H:%M:%S};{end:%d-%m-%Y;%H:%M:%S};="5414";{register};{comma(value)};kWh;')
    community, said = new("\n".join(lines), "--household", "a")
    check(community, {"a": LOAD["a"]})
    assert all(words in said for words in ("'Afname Dag' as import", "reactive"))


@pytest.mark.parametrize(
    ("header", "row", "options"),
    [
        ("entity_id,state,last_changed", "sensor.home,{v},{t:%Y-%m-%dT%H:%M:%S.000Z}", ("--timezone", "UTC")),
        ("Consumption (kWh),Start,End", "{v},{t:%Y-%m-%dT%H:%M:%S+00:00},x", ("--timezone", "Europe/London")),
        ("TYPE,DATE,START TIME,END TIME,USAGE,UNITS,NOTES", "Electric usage,{t:%m/%d/%Y},{t:%H:%M},x,{v},kWh,", ()),
        ("CUPS;fecha;hora;consumo_kWh;metodoObtencion", "ES1;{t:%Y/%m/%d};{t:%H:%M};{c};Real", ()),
        ("when;who;how much", "{t:%Y-%m-%d %H:%M};x;{v}", ("--time-column", "when", "--value-column", "how much")),
        ("tag der lieferung;stunde;menge", "{t:%d.%m.%Y};{t:%H:%M};{c}",
         ("--date-column", "tag der lieferung", "--time-column", "stunde", "--value-column", "menge")),
    ],
)  # fmt: skip
def test_usualExports(new: New, header: str, row: str, options: tuple[str, ...]) -> None:
    rows = [row.format(t=time, v=value, c=comma(value)) for time, value in zip(HOURS, LOAD["a"], strict=True)]
    community, _ = new("\n".join(["Some title", "", header, *rows]), "--household", "a", *options)
    if "Europe/London" in options:
        assert community is not None
        summer = LOAD["a"][23:47]  # local time is an hour ahead
        np.testing.assert_allclose(community.load.values["2024-06-21"]["a"], summer, rtol=1e-4)
    else:
        check(community, {"a": LOAD["a"]})


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "cp1252"])
def test_encodings(tmp_path: Path, new: New, encoding: str) -> None:
    text = table({"Müller": LOAD["a"]}, form="%d.%m.%Y %H:%M", separator="\t", write=comma)
    community, said = new({"r.csv": text.encode(encoding)})
    check(community, {"Müller": LOAD["a"]})
    assert ("Windows-1252" in said) == (encoding == "cp1252")


def test_spreadsheets(new: New) -> None:
    """The separator told above the header, midnight as a day alone, times above which nothing stands."""
    text = table(dict(LOAD), separator=";", write=comma).replace(" 00:00;", ";")
    check(new("sep=;\n" + text)[0])


def test_namelessTimes(new: New) -> None:
    check(new(table(dict(LOAD)).removeprefix("time"))[0])


def test_numbersOfRows_areNoHousehold(new: New) -> None:
    lines = table(dict(LOAD)).splitlines()
    text = "\n".join(f"{'' if k == 0 else k},{line}" for k, line in enumerate(lines))
    assert "column 'index' looks like that of no household" in new(text)[1]
    check(new(text, "--ignore", "index")[0])


@pytest.mark.parametrize(("factor", "digits"), [(1000, 0), (0.001, 6)])
def test_oneOfAnotherUnit_isAskedAbout(new: New, factor: float, digits: int) -> None:
    _, said = new(table({**LOAD, "b": [f"{factor * value:.{digits}f}" for value in LOAD["b"]]}))
    assert all(words in said for words in ("'b'", "another unit", "--accept size"))


# ---------------------------------------------------------------------- prices


PRICES = [0.2 + 0.01 * (k % 24) for k in range(48)]


def test_prices_withOffsets(new: New) -> None:
    files = {"r.csv": table(dict(LOAD)), "_p.csv": table({"import_price": PRICES}, form="%Y-%m-%dT%H:%M:%S+02:00")}
    community, _ = new(files, "--timezone", "Europe/Amsterdam", price=("--prices", "_p.csv"))
    assert community is not None
    np.testing.assert_allclose(community.prices.values["2024-06-20"]["import_price"], PRICES[:24])


@pytest.mark.parametrize("factor", [1000, 100, 1e-4])
def test_prices_ofAnotherUnit_areAskedAbout(new: New, factor: float) -> None:
    text = table({"import_price": [factor * price for price in PRICES]})
    _, said = new({"r.csv": table(dict(LOAD)), "_p.csv": text}, price=("--prices", "_p.csv"))
    assert all(words in said for words in ("are the prices per", "lowest", "--accept price"))


def test_feedInPrices(new: New) -> None:
    files = {"r.csv": table(dict(LOAD)), "_p.csv": table({"import_price": PRICES, "feed_in_price": [0.08] * 48})}
    community, said = new(files, price=("--prices", "_p.csv"))
    assert community is not None
    np.testing.assert_allclose(community.on("2024-06-20").prices.feed_in_price, 0.08)
    assert "The feed-in price was taken as EUR per kWh: lowest 0.08" in said


def test_feedInPrice_aboveImport_isLoweredAndSaid(new: New) -> None:
    community, said = new(table(dict(LOAD)), "--feed-in", "0.08,12:00-14:00=0.5")
    assert community is not None
    expected = [0.08] * 12 + [0.3] * 2 + [0.08] * 10
    np.testing.assert_allclose(community.on("2024-06-20").prices.feed_in_price, expected)
    assert "Feed-in would pay more than import costs at 4 steps" in said


def test_batteriesForNobody_isSaid(new: New) -> None:
    assert "--batteries pv gives nobody a battery" in new(table(dict(LOAD)), "--batteries", "pv")[1]


@pytest.mark.parametrize(
    "form", ["{} kWh", "{}Wh", "{}*", "{} (e)", "~{}", "{} €", "€{}"],
)  # fmt: skip
@pytest.mark.parametrize("of_all", [True, False])
def test_numberWithSomethingBeside_isNotLeftOut(new: New, form: str, of_all: bool) -> None:
    """A household whose readings cannot be read is asked about, not dropped."""
    a, b = ([form.format(value) for value in values] for values in LOAD.values())
    made, said = new(table({"a": a, "b": b if of_all else LOAD["b"]}))
    assert made is None
    assert f"row 2, column 'a': '{a[0]}'" in said


@pytest.mark.parametrize("text", ["valid", "12 Main Street", "21-06-2024", "14:00", "NL-52", "2024-06-20 00:00"])
def test_textBesideReadings_isLeftOutAndSaid(new: New, text: str) -> None:
    made, said = new(table({"a": LOAD["a"], "note": [text] * len(HOURS)}))
    assert made is not None
    assert "not looked at: 'note'" in said


def test_columnsWithoutNumbers_areNamed(new: New) -> None:
    made, said = new(table({"a": ["valid"] * len(HOURS)}))
    assert made is None
    assert "no column with numbers beside its times; its columns are 'a'" in said


def test_fromGivenTwice_readsBoth(new: New, tmp_path: Path) -> None:
    (tmp_path / "other.csv").write_text(table({"b": LOAD["b"]}))
    made, _ = new(table({"a": LOAD["a"]}), "--from", str(tmp_path / "other.csv"))
    assert names_of(made) == ["a", "b"]


@pytest.mark.parametrize(
    "options", [["--only", "a", "--only", "b"], ["--ignore", "c", "--ignore", "d"], ["--only", "a,b"]]
)
def test_namesGivenTwice_areAllTaken(new: New, options: list[str]) -> None:
    made, _ = new(table(LOAD | {"c": LOAD["a"], "d": LOAD["b"]}), *options)
    assert names_of(made) == ["a", "b"]


def names_of(made: Community | None) -> list[str]:
    assert made is not None
    return [home.name for home in made.on(made.days[0]).households]


def test_kilowattsWithoutAUnit_areAskedAbout(new: New, tmp_path: Path) -> None:
    """Quarter hours in kW would be four times as many kWh, and hours as many; what is said is not asked."""
    quarters = [START + timedelta(minutes=15 * k) for k in range(192)]
    power = [0.12 + 0.35 * (k * 7 % 9) / 4 for k in range(192)]  # kW
    text = table({"a": power}, quarters)
    community, said = new(text)
    assert community is None
    assert "if they are kW: say --unit kwh or --unit kw" in said
    for unit, factor in (("kw", 1), ("kwh", 4)):
        community, _ = new(text, "--unit", unit)
        assert community is not None
        (home,) = community.on("2024-06-20").households
        np.testing.assert_allclose(home.load_kw, np.array(power[:96]) * factor, rtol=1e-5)
        shutil.rmtree(tmp_path / "out")


EXPORTED = [max(0.0, 0.9 - abs(k % 24 - 12) * 0.2) for k in range(48)]
"""kWh in each hour of two days."""


def assert_pv(community: Community | None, name: str, hours: Sequence[float]) -> None:
    assert community is not None
    pv_kw = community.device_series["pv_kw"].values
    hourly = [pv_kw[day][name].reshape(24, -1).mean(axis=1) for day in community.days]
    np.testing.assert_allclose(np.concatenate(hourly), hours, atol=1e-4)


@pytest.mark.parametrize(("first", "second"), [("T1", "T2"), ("tariff 1", "tariff 2"), ("hoog", "laag"), ("HT", "NT")])
@pytest.mark.parametrize("are_counters", [True, False])
def test_registers_of_tariffs_are_one_households(new: New, first: str, second: str, are_counters: bool) -> None:
    """As a P1 reader writes them: two registers in each direction, of which one counts at a time."""
    columns, hours = {}, [START + timedelta(hours=k) for k in range(49 if are_counters else 48)]
    for direction, values in (("Import", LOAD["a"]), ("Export", EXPORTED)):
        for tariff, holds in ((first, True), (second, False)):
            counted = [value if (7 <= k % 24 < 23) == holds else 0.0 for k, value in enumerate(values)]
            columns[f"{direction} {tariff} kWh"] = list(accumulate(counted, initial=100.0)) if are_counters else counted
    community, said = new(table(columns, hours), "--household", "home", *(["--counter"] if are_counters else []))
    assert "what it exported counts as PV" in said
    check(community, {"home": LOAD["a"]}, 24)
    assert_pv(community, "home", EXPORTED)


def test_homes_that_are_numbered_like_tariffs_stay_homes(new: New) -> None:
    community, _ = new(table({"load 1": LOAD["a"], "load 2": LOAD["b"]}))
    check(community, {"load 1": LOAD["a"], "load 2": LOAD["b"]}, 24)


@pytest.mark.parametrize("names", [("consumo_kWh", "energiaVertida_kWh"), ("home", "home_export")])
def test_export_beside_load_is_not_left_out_in_silence(new: New, names: tuple[str, str]) -> None:
    readings = table(dict(zip(names, (LOAD["a"], EXPORTED), strict=True)))
    community, said = new(readings)
    assert community is None
    assert "has load and export but no PV output" in said
    community, _ = new(readings, "--ignore", names[1], "--household", "home")
    check(community, {"home": LOAD["a"]}, 24)


@pytest.mark.parametrize(("unit", "per_kw"), [("kW", 1.0), ("kWh", 0.5)])
def test_the_unit_of_a_register_is_its_readings(new: New, unit: str, per_kw: float) -> None:
    """As ESB Networks writes them: ends of half-hours, the last first, the register's name with the unit."""
    lines = []
    for k in range(96):
        end = START + timedelta(minutes=30 * (k + 1))
        for what, value in (("Import", LOAD["a"][k // 2]), ("Export", EXPORTED[k // 2])):
            read = f"Active {what} Interval ({unit})"
            lines.append(f"10012345678,00000000001234,{value * per_kw:.6f},{read},{end:%d-%m-%Y %H:%M}")
    header = "MPRN,Meter Serial Number,Read Value,Read Type,Read Date and End Time"
    community, said = new("\n".join([header, *reversed(lines)]) + "\n", "--times", "end")
    assert community is not None, said
    check(community, {"r": LOAD["a"]}, 48)
    assert_pv(community, "r", EXPORTED)


def test_a_type_that_is_no_register_is_not_looked_at(new: New) -> None:
    readings = table({"value_kwh": LOAD["a"], "Read Type": ["Actual"] * 48})
    community, said = new(readings, "--household", "home")
    check(community, {"home": LOAD["a"]}, 24)
    assert "not looked at: 'Read Type'" in said


def test_a_column_that_is_called_kw_has_kw(new: New) -> None:
    halves = [START + timedelta(minutes=30 * k) for k in range(96)]
    readings = table({"kW": [LOAD["a"][k // 2] for k in range(96)]}, halves, separator=";").replace("time;", "debut;")
    community, said = new(readings, "--household", "home")
    assert community is not None, said
    check(community, {"home": LOAD["a"]}, 48)


def test_steps_of_no_minutes_are_refused(new: New) -> None:
    community, said = new(table(LOAD), "--step", "0")
    assert community is None
    assert "steps of 0 minutes do not divide a day" in said


def test_a_terminal_without_the_letters_of_a_name_shows_their_numbers(new: New, tmp_path: Path) -> None:
    community, said = new(table({"Zoë ☀": LOAD["a"]}))
    assert community is not None, said
    bare = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii"}
    command = [sys.executable, "-m", "gridpact", "community", "show", str(tmp_path / "out")]
    shown = subprocess.run(command, env=bare, capture_output=True, text=True)
    assert shown.returncode == 0, shown.stderr
    assert "Zo\\xeb \\u2600" in shown.stdout


@pytest.mark.parametrize("beside", [
    {"Estimated Cost Inc. Tax (p)": 7.3, "Standing charge (p)": 40.0}, {"COST": "$0.05"}, {"price": 0.3},
])  # fmt: skip
def test_moneyBesideReadings_isLeftOutAndSaid(new: New, beside: dict[str, object]) -> None:
    made, said = new(table({"Consumption (kWh)": LOAD["a"], **{name: [cell] * 48 for name, cell in beside.items()}}))
    check(made, {"r": LOAD["a"]})
    assert all(f"'{name}'" in said.partition("not looked at")[2] for name in beside)


@pytest.mark.parametrize("where", [7, 20, 30])
@pytest.mark.parametrize("what", ["dip", "long dip", "jump", "new meter", "rollover"])
def test_stateThatCannotBe_isNoConsumption(new: New, what: str, where: int) -> None:
    """A state that falls or jumps, by an error or another meter, is a gap: nothing of it is counted."""
    states = 4000 + np.concatenate([[0.0], np.cumsum(LOAD["a"])])
    match what:
        case "dip":
            states[where] = 0.0
        case "long dip":
            states[where : where + 2] = 0.0
        case "jump":
            states[where:] += 50_000
        case "new meter":
            states[where:] -= states[where]
        case _:
            states[where:] -= 4000
    times = [*HOURS, HOURS[-1] + timedelta(hours=1)]
    made, said = new(table({"a": [f"{state:.4f}" for state in states]}, times), "--counter", "--gaps", "fill")
    assert made is not None
    read = np.concatenate([made.load.values[day]["a"] for day in sorted(made.load.values)])
    assert read.max() <= max(LOAD["a"]) + 1e-6
    assert np.count_nonzero(np.abs(read - LOAD["a"]) > 1e-3) <= 3
    assert "fell" in said
