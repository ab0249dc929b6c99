"""Every complaint about a community's files: tiny3 is copied, one thing in it is broken, and the sentence is read."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from gridpact.community.read import read_community, shipped_cases
from gridpact.errors import InputError

Break = Callable[[Path], None]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of tiny3 that may be broken."""
    return Path(shutil.copytree(shipped_cases()["tiny3"].parent, tmp_path / "mine"))


def swap(file: str, old: str, new: str) -> Break:
    """Replaces a text that must be there, once."""

    def change(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text, f"the test is out of date: {file} has no {old!r}"
        (folder / file).write_text(text.replace(old, new, 1))

    return change


def add(file: str, text: str) -> Break:
    return lambda folder: (folder / file).write_text((folder / file).read_text() + text) and None


def put(file: str, content: str | bytes) -> Break:
    data = content if isinstance(content, bytes) else content.encode()
    return lambda folder: (folder / file).write_bytes(data) and None


def lose(file: str) -> Break:
    return lambda folder: (folder / file).unlink()


def both(*changes: Break) -> Break:
    def change(folder: Path) -> None:
        for one in changes:
            one(folder)

    return change


TOML, HOMES, FEEDER = "community.toml", "households.csv", "feeder.csv"
LOAD, PRICES, PV = "load_kw.csv", "prices.csv", "pv_kw.csv"
RATED = "node,parent,length_m,resistance_ohm_per_km,reactance_ohm_per_km,rating_a\n"

# what is broken: how, and what the sentence must contain: where (file, row, column or key) and what is wrong.
COMPLAINTS: dict[str, tuple[Break, tuple[str, ...]]] = {
    "more PV than panels": (
        swap(PV, "1 12:00,4", "1 12:00,40"),
        (HOMES, "row 3", "'pv_kwp'", "4 kWp of 'bob'", "40 kW of pv_kw.csv, 12:00"),
    ),
    # ---------------------------------------------------------------- community.toml
    "toml syntax": (put(TOML, "name = \n"), (TOML, "cannot be read", "line 1")),
    "toml not text": (put(TOML, b"name = \"\xff\xfe\"\n"), (TOML, "cannot be read")),
    "toml empty": (put(TOML, ""), (TOML, "'name' is missing")),
    "key missing": (swap(TOML, 'currency = "EUR"\n', ""), (TOML, "'currency' is missing")),
    "feeder missing": (
        both(swap(TOML, "[feeder]", "[files]"), swap(TOML, "nominal_voltage_v = 400\n", ""),
             swap(TOML, "voltage_min_pu = 0.95\n", ""), swap(TOML, "voltage_max_pu = 1.05\n", "")),
        (TOML, "'feeder' is missing"),
    ),
    "key unknown": (swap(TOML, "currency", "curency"), (TOML, "'curency' is not known", "currency")),
    "name is a number": (swap(TOML, '"tiny3"', "3"), (TOML, "'name'", "3 must be a text in quotes")),
    "step is a float": (swap(TOML, "360", "360.0"), (TOML, "'step_minutes'", "must be a whole number")),
    "share is a truth": (swap(TOML, "0.5", "true"), (TOML, "'feed_in_share'", "must be a number without quotes")),
    "feeder is a text": (
        both(swap(TOML, "[feeder]\n", ""), swap(TOML, "name", 'feeder = "weak"\nname'),
             swap(TOML, "nominal_voltage_v = 400\n", ""), swap(TOML, "voltage_min_pu = 0.95\n", ""),
             swap(TOML, "voltage_max_pu = 1.05\n", "")),
        (TOML, "'feeder'", "must be a table"),
    ),
    "step does not divide the day": (swap(TOML, "360", "7"), (TOML, "step_minutes = 7", "must divide a day")),
    "step is zero": (swap(TOML, "360", "0"), (TOML, "step_minutes = 0", "must divide a day")),
    "too many steps": (swap(TOML, "360", "5"), (TOML, "step_minutes = 5", "1 to 192 steps")),
    "share above one": (swap(TOML, "0.5", "1.5"), (TOML, "'feed_in_share' = 1.5", "between 0 and 1")),
    "share is nan": (swap(TOML, "0.5", "nan"), (TOML, "'feed_in_share'", "between 0 and 1")),
    "coefficient negative": (swap(TOML, "0.10", "-0.1"), (TOML, "'trading_coefficient' = -0.1", "at least 0")),
    "coefficient infinite": (swap(TOML, "0.10", "inf"), (TOML, "'trading_coefficient'", "at least 0")),
    "limit unknown": (swap(TOML, "voltage_min_pu", "voltage_low"), (TOML, "[feeder]", "'voltage_low' is not known")),
    "limit is a text": (swap(TOML, "= 400", '= "400"'), (TOML, "[feeder]", "'nominal_voltage_v' must be a number")),
    "limit is a truth": (swap(TOML, "= 400", "= true"), (TOML, "[feeder]", "'nominal_voltage_v' must be a number")),
    "voltage zero": (swap(TOML, "= 400", "= 0"), (TOML, "'nominal_voltage_v' = 0", "at least 1")),
    "lower limit above 1": (swap(TOML, "= 0.95", "= 1.2"), (TOML, "'voltage_min_pu' = 1.2", "between 0.5 and 1")),
    "upper limit below 1": (swap(TOML, "= 1.05", "= 0.9"), (TOML, "'voltage_max_pu' = 0.9", "between 1 and 1.5")),
    "upper limit nan": (swap(TOML, "= 1.05", "= nan"), (TOML, "'voltage_max_pu'", "between 1 and 1.5")),
    "file key unknown": (add(TOML, '\n[files]\nloads = "x.csv"\n'), (TOML, "[files]", "'loads' is not known")),
    "file is a number": (add(TOML, "\n[files]\nload = 5\n"), (TOML, "[files]", "'load'")),
    "file named, not there": (add(TOML, '\n[files]\nload = "no.csv"\n'), ("no.csv", "does not exist")),
    "preference of nobody": (
        add(TOML, '\n[[preference]]\nhousehold = "ann"\npartner = "dan"\ncoefficient = 0.0\n'),
        (TOML, "[[preference]] 1", "no household 'dan'"),
    ),
    "preference for itself": (
        add(TOML, '\n[[preference]]\nhousehold = "ann"\npartner = "ann"\ncoefficient = 0.0\n'),
        (TOML, "[[preference]] 1", "'ann'", "own partner"),
    ),
    "preference without coefficient": (
        add(TOML, '\n[[preference]]\nhousehold = "ann"\npartner = "bob"\n'),
        (TOML, "[[preference]] 1", "household, partner and coefficient"),
    ),
    "second preference negative": (
        add(TOML, '\n[[preference]]\nhousehold = "ann"\npartner = "bob"\ncoefficient = 0.01\n'
            '\n[[preference]]\nhousehold = "bob"\npartner = "ann"\ncoefficient = -1\n'),
        (TOML, "[[preference]] 2", "coefficient", "at least 0"),
    ),
    "preference is a text": (
        swap(TOML, "[feeder]", 'preference = ["ann"]\n\n[feeder]'), (TOML, "[[preference]] 1", "needs exactly"),
    ),
    # ---------------------------------------------------------------- any table
    "file missing": (lose(FEEDER), (FEEDER, "does not exist")),
    "file empty": (put(LOAD, ""), (LOAD, "is empty", "time, ann, bob, cem")),
    "header only": (put(PRICES, "time,import_price\n"), (PRICES, "no rows")),
    "header and blank lines": (put(PRICES, "time,import_price\n\n,\n"), (PRICES, "no rows")),
    "households blank": (put(HOMES, "household,node\n\n"), (HOMES, "no rows")),
    "not text": (put(PRICES, b"\xff\xfe\x00t"), (PRICES, "is no text in UTF-8")),
    "a folder": (both(lose(PV), lambda folder: (folder / PV).mkdir()), (PV, "cannot be read")),
    "header twice": (swap(PRICES, "import_price", "import_price,import_price"), (PRICES, "'import_price'", "twice")),
    "column unknown": (swap(HOMES, "battery_kw,", "batery_kw,"), (HOMES, "'batery_kw' is not known", "battery_kw")),
    "column missing": (swap(FEEDER, "length_m", "metres"), (FEEDER, "'length_m' is missing")),
    "row too short": (swap(LOAD, "1 06:00,1,0.5,0.5", "1 06:00,1,0.5"), (LOAD, "row 3", "3 cells", "4")),
    "row too long": (swap(LOAD, "1 06:00,1,0.5,0.5", "1 06:00,1,0.5,0.5,2"), (LOAD, "row 3", "5 cells", "4")),
    "endless quote": (add(LOAD, '"' + 200_000 * "x"), (LOAD,)),
    # ---------------------------------------------------------------- households.csv
    "name missing": (swap(HOMES, "bob,2", ",2"), (HOMES, "row 3", "'household'", "is empty")),
    "node missing": (swap(HOMES, "bob,2", "bob,"), (HOMES, "row 3", "'node'", "is empty")),
    "node is a text": (swap(HOMES, "bob,2", "bob,two"), (HOMES, "row 3", "'node'", "'two' is not a number")),
    "node is a fraction": (swap(HOMES, "bob,2", "bob,1.5"), (HOMES, "row 3", "'node'", "whole number")),
    "node 0": (swap(HOMES, "ann,1", "ann,0"), (HOMES, "row 2", "'node'", "between 1 and 127")),
    "node 128": (swap(HOMES, "ann,1", "ann,128"), (HOMES, "row 2", "'node'", "between 1 and 127")),
    "node infinite": (swap(HOMES, "ann,1", "ann,inf"), (HOMES, "row 2", "'node'", "finite")),
    "household twice": (swap(HOMES, "bob,2", "ann,2"), (HOMES, "row 3", "'ann'", "second time", "row 2")),
    "node twice": (swap(HOMES, "bob,2", "bob,1"), (HOMES, "row 3", "'node'", "taken by 'ann'")),
    "gap in nodes": (swap(HOMES, "cem,3", "cem,5"), (HOMES, "without gaps", "[1, 2, 5]")),
    "PV negative": (swap(HOMES, "bob,2,4", "bob,2,-4"), (HOMES, "row 3", "'pv_kwp'", "at least 0")),
    "battery nan": (swap(HOMES, "cem,3,,6", "cem,3,,nan"), (HOMES, "row 4", "'battery_kwh'", "finite")),
    "battery without power": (swap(HOMES, "cem,3,,6,1", "cem,3,,6,"), (HOMES, "row 4", "'battery_kw'", "is empty")),
    "battery with magic": (swap(HOMES, "cem,3,,6,1,1", "cem,3,,6,1,1.2"),
                           (HOMES, "row 4", "'battery_round_trip_efficiency'", "between 0.1 and 1")),
    "battery overfull": (
        both(swap(HOMES, "car_to", "car_to,battery_start_share"), swap(HOMES, "ann,1,,,,,,,,", "ann,1,,,,,,,,,"),
             swap(HOMES, "bob,2,4,,,,,,,", "bob,2,4,,,,,,,,"), swap(HOMES, "06:00", "06:00,1.1")),
        (HOMES, "row 4", "'battery_start_share'", "between 0 and 1"),
    ),
    "power factor zero": (swap(HOMES, "battery_kwh", "power_factor"), (HOMES, "row 4", "'power_factor'")),
    "reactive power negative": (
        both(swap(HOMES, "battery_kw,", "inverter_kvar,"), swap(HOMES, "cem,3,,6,1", "cem,3,,,-1")),
        (HOMES, "row 4", "'inverter_kvar'", "at least 0"),
    ),
    "car without power": (swap(HOMES, "6,2,18:00", "6,,18:00"), (HOMES, "row 4", "'car_kw'", "is empty")),
    "car without window": (swap(HOMES, "18:00,06:00", ","), (HOMES, "row 4", "'car_from'", "is empty")),
    "car window no time": (swap(HOMES, "18:00", "six"), (HOMES, "row 4", "'car_from'", "'six' is not a time HH:MM")),
    "car window odd digits": (swap(HOMES, "18:00", "²:00"), (HOMES, "row 4", "'car_from'", "not a time HH:MM")),
    "car window 25 h": (swap(HOMES, "18:00", "25:00"), (HOMES, "row 4", "'car_from'", "not a time HH:MM")),
    "car columns missing": (
        both(swap(HOMES, ",car_from,car_to", ""), swap(HOMES, ",18:00,06:00", ""),
             swap(HOMES, "ann,1,,,,,,,,", "ann,1,,,,,,"), swap(HOMES, "bob,2,4,,,,,,,", "bob,2,4,,,,,")),
        (HOMES, "row 4", "'car_from'", "is missing"),
    ),
    "car too thirsty": (  # 2 kW in two steps of 6 h are 24 kWh
        swap(HOMES, "1,6,2,18:00", "1,30,2,18:00"),
        (HOMES, "row 4", "'car_kwh'", "'cem'", "needs 30 kWh", "only 24 kWh", "18:00 to 06:00", "widen the window"),
    ),
    "car in a window without a step": (
        swap(HOMES, "18:00,06:00", "13:00,17:00"), (HOMES, "row 4", "'car_kwh'", "only 0 kWh", "13:00 to 17:00"),
    ),
    "car with magic": (
        both(swap(HOMES, "battery_round_trip_efficiency", "car_efficiency"), swap(HOMES, "1,1,6,2", "1,2,6,2")),
        (HOMES, "row 4", "'car_efficiency'", "between 0.1 and 1"),
    ),
    "household called time": (
        swap(HOMES, "ann", "time"), (HOMES, "row 2", "'household'", "'time' is the name of the column"),
    ),
    # ---------------------------------------------------------------- feeder.csv
    "line of nobody": (add(FEEDER, "4,1,50,0.6,0.1\n"), (FEEDER, "row 5", "'node'", "no household with node 4")),
    "line to nowhere": (swap(FEEDER, "3,1,", "3,7,"), (FEEDER, "row 4", "'parent'", "node 7, which does not exist")),
    "line of the root": (add(FEEDER, "0,1,50,0.6,0.1\n"), (FEEDER, "row 5", "'node'", "grid connection")),
    "second line": (add(FEEDER, "3,2,50,0.6,0.1\n"), (FEEDER, "row 5", "node 3", "second line", "row 4")),
    "two roots": (swap(FEEDER, "3,1,50,0.641,0.08\n", ""), (FEEDER, "'cem'", "node 3", "no line", "second root")),
    "loop of two": (both(swap(FEEDER, "2,1,", "2,3,"), swap(FEEDER, "3,1,", "3,2,")),
                    (FEEDER, "'parent'", "loop", "2 - 3 - 2")),
    "loop of one": (swap(FEEDER, "3,1,", "3,3,"), (FEEDER, "row 4", "'parent'", "loop", "3 - 3")),
    "length negative": (swap(FEEDER, "3,1,50", "3,1,-50"), (FEEDER, "row 4", "'length_m'", "between 0.1 and")),
    "resistance a text": (
        swap(FEEDER, "3,1,50,0.641", "3,1,50,much"), (FEEDER, "row 4", "'resistance_ohm_per_km'", "'much'"),
    ),
    "reactance empty": (
        swap(FEEDER, "3,1,50,0.641,0.08", "3,1,50,0.641,"), (FEEDER, "row 4", "'reactance_ohm_per_km'", "is empty"),
    ),
    "rating of nothing": (
        put(FEEDER, f"{RATED}1,0,50,0.641,0.08,142\n2,1,50,0.641,0.08,\n3,1,50,0.641,0.08,0\n"),
        (FEEDER, "row 4", "'rating_a'", "at least 0.1"),
    ),
    "rating in kA": (
        put(FEEDER, f"{RATED}1,0,50,0.641,0.08,142\n2,1,50,0.641,0.08,\n3,1,50,0.641,0.08,0.142\n"),
        (FEEDER, "row 4", "'rating_a'", "0.142 A", "is it in kA? Give it in A"),
    ),
    # ---------------------------------------------------------------- time series
    "load negative": (swap(LOAD, "1 06:00,1,", "1 06:00,-1,"), (LOAD, "row 3", "'ann'", "-1 must be at least 0")),
    "load nan": (swap(LOAD, "1 06:00,1,", "1 06:00,NaN,"), (LOAD, "row 3", "'ann'", "not a finite number")),
    "load empty": (swap(LOAD, "1 06:00,1,", "1 06:00,,"), (LOAD, "row 3", "'ann'", "is empty")),
    "load a text": (swap(LOAD, "1 06:00,1,", "1 06:00,one,"), (LOAD, "row 3", "'ann'", "'one' is not a number")),
    "load of a stranger": (swap(LOAD, "time,ann", "time,eve"), (LOAD, "'ann' is missing")),
    "load of one too many": (
        put(LOAD, "time,ann,bob,cem,eve\n" + "".join(f"1 {h}:00,1,1,1,1\n" for h in ("00", "06", "12", "18"))),
        (LOAD, "'eve' is not known"),
    ),
    "no load of a household": (
        put(LOAD, "time,ann,bob\n" + "".join(f"1 {h}:00,1,1\n" for h in ("00", "06", "12", "18"))),
        (LOAD, "'cem' is missing"),
    ),
    "PV of a consumer": (swap(PV, "time,bob", "time,ann"), (PV, "'bob' is missing")),
    "PV output negative": (swap(PV, "1 06:00,4", "1 06:00,-4"), (PV, "row 3", "'bob'", "at least 0")),
    "prices too short": (swap(PRICES, "1 18:00,0.40\n", ""), (PRICES, "day 1", "has 3 steps, must have 4")),
    "prices too long": (add(PRICES, "1 24:00,0.40\n"), (PRICES, "day 1", "has 5 steps, must have 4")),
    "prices hourly": (
        put(PRICES, "time,import_price\n" + "".join(f"1 {h:02d}:00,0.2\n" for h in range(24))),
        (PRICES, "row 3", "'01:00' should be 06:00", "360 minutes"),
    ),
    "price infinite": (swap(PRICES, "0.20", "inf"), (PRICES, "row 2", "'import_price'", "not a finite number")),
    "price column missing": (swap(PRICES, "import_price", "price"), (PRICES, "'import_price' is missing")),
    "step missing": (swap(LOAD, "1 06:00,1,0.5,0.5\n", ""), (LOAD, "row 3", "'time'", "'12:00' should be 06:00")),
    "step twice": (swap(LOAD, "1 06:00", "1 00:00"), (LOAD, "row 3", "'time'", "'00:00' should be 06:00")),
    "day begins late": (swap(LOAD, "1 00:00,1,0.5,0.5\n", ""), (LOAD, "row 2", "'time'", "should be 00:00")),
    "day goes on later": (
        add(LOAD, "".join(f"2 {h}:00,1,1,1\n" for h in ("00", "06", "12", "18")) + "1 00:00,1,1,1\n"),
        (LOAD, "row 10", "'time'", "day 1 goes on", "sort"),
    ),
    "time without day": (swap(LOAD, "1 06:00", "06:00"), (LOAD, "row 3", "'time'", "'<day> HH:MM'")),
    "time no time": (swap(LOAD, "1 06:00", "1 dawn"), (LOAD, "row 3", "'time'", "'<day> HH:MM'")),
    "time of 61 minutes": (swap(LOAD, "1 06:00", "1 05:60"), (LOAD, "row 3", "'time'", "'<day> HH:MM'")),
    "no day in common": (
        put(PRICES, "time,import_price\n" + "".join(f"2 {h}:00,0.2\n" for h in ("00", "06", "12", "18"))),
        ("'tiny3'", "no day has all that must be known", f"2 in {PRICES}", f"1 in {LOAD}"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", COMPLAINTS)
def test_read_complains(folder: Path, what: str) -> None:
    change, said = COMPLAINTS[what]
    change(folder)
    with pytest.raises(InputError) as caught:
        read_community(str(folder))
    sentence = str(caught.value)
    for part in said:
        assert part in sentence
    assert caught.value.exit_status == 2
    assert "\n" not in sentence
    assert not any(smell in sentence for smell in ("Traceback", "KeyError", "TypeError", "object at 0x"))
    # The reader's own sentence, not a low-level error that shows through.
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_unbrokenCopy_reads(folder: Path) -> None:
    """The complaints above come from what was broken: the copy itself is good, by its folder and by its file."""
    assert read_community(str(folder)).on("1").steps == 4
    assert read_community(str(folder / TOML)).days == ("1",)


def test_tolerated_variations(folder: Path) -> None:
    """What a spreadsheet makes of the files: a byte order mark, blank lines, spaces, 'T' between day and time."""
    (folder / LOAD).write_bytes(
        b"\xef\xbb\xbf" + (folder / LOAD).read_bytes().replace(b"1 06:00", b"1T06:00") + b",,,\n\n"
    )
    swap(HOMES, "household,node", "household , node")(folder)
    swap(PRICES, "0.20", "-0.20")(folder)  # prices may be negative
    day = read_community(str(folder)).on("1")
    assert day.prices.import_price[0] == -0.20
    assert day.prices.feed_in_price[0] == -0.20  # min(kappa, kappa / 2)


def test_unknownCase_namesTheShipped() -> None:
    shipped = ", ".join(sorted(shipped_cases()))
    assert "fontana16, " in shipped
    with pytest.raises(InputError, match=rf"'fontana17'.*shipped cases are {shipped}"):
        read_community("fontana17")


def test_folderWithoutCommunity_isNoCase(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no community file"):
        read_community(str(tmp_path))


def test_unknownDay_namesTheDays() -> None:
    with pytest.raises(InputError, match=r"'tiny3' has no day '2'; its days are 1"):
        read_community("tiny3").on("2")


def test_preferences_areRead(folder: Path) -> None:
    add(TOML, '\n[[preference]]\nhousehold = "ann"\npartner = "bob"\ncoefficient = 0.01\n')(folder)
    assert read_community(str(folder)).on("1").preferences == {("ann", "bob"): 0.01}


@pytest.mark.parametrize(
    ("file", "old", "new", "word", "said"),
    [
        ("load_kw.csv", "1 06:00,1,", "1 06:00,1000,", "size", "load_kw.csv, row 3, column 'ann': 1000 kW is more"),
        ("households.csv", "bob,2,4,", "bob,2,4000,", "size", "row 3, column 'pv_kwp': 4000 kWp is more"),
        ("households.csv", ",,6,1,1,", ",,6000,1,1,", "size", "row 4, column 'battery_kwh': 6000 kWh is more"),
        ("households.csv", "1,6,2,18:00", "1,6,2000,18:00", "size", "row 4, column 'car_kw': 2000 kW is more"),
        ("prices.csv", "0.40", "40", "price", "prices.csv, row 3, column 'import_price': 40 for a kWh; is it per MWh"),
        ("prices.csv", "0.", "0.0000", "price", "prices.csv: at most 4e-05 for a kWh; are the prices per Wh?"),
    ],
)
def test_anotherUnit_isAskedAbout(folder: Path, file: str, old: str, new: str, word: str, said: str) -> None:
    """What can hardly be so, with row and column, until it is accepted."""
    path, toml = folder / file, folder / "community.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError) as complaint:
        read_community(str(folder))
    assert said in str(complaint.value)
    assert f'accept = ["{word}"] in community.toml' in str(complaint.value)
    toml.write_text(f'accept = ["{word}"]\n' + toml.read_text())
    read_community(str(folder))
    toml.write_text(toml.read_text().replace(f'["{word}"]', '["all"]'))
    with pytest.raises(InputError, match="accept: 'all' is not known"):
        read_community(str(folder))


IN_CENTS_OR_WATTS: dict[str, tuple[Break, str, tuple[str, ...]]] = {
    "fee of the grid": (add(TOML, "\n[fees]\ngrid_per_kwh = 8\n"), "price", ("[fees]", "'grid_per_kwh' = 8 for a kWh")),
    "tax": (add(TOML, "\n[fees]\ntax_per_kwh = 20.5\n"), "price", ("[fees]", "'tax_per_kwh' = 20.5 for a kWh")),
    "traded": (
        add(TOML, "\n[fees]\ngrid_per_kwh = 4.9\ntax_per_kwh = 4.9\ntraded_per_kwh = 7.0\n"),
        "price", ("[fees]", "'traded_per_kwh' = 7 for a kWh"),
    ),
    "chi": (
        swap(TOML, "trading_coefficient = 0.10", "trading_coefficient = 10"),
        "price", ("'trading_coefficient' = 10 for a kWh",),
    ),
    "connection": (
        both(swap(HOMES, "car_to", "car_to,connection_kw"), swap(HOMES, "ann,1,", "ann,1,,"),
             swap(HOMES, "bob,2,4", "bob,2,4,"), swap(HOMES, "06:00", "06:00,25000")), "size",
        (HOMES, "row 4", "'connection_kw'", "25000 kW", "is it in W?"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("what", IN_CENTS_OR_WATTS)
def test_otherUnits_areAskedAbout_andMayBeAccepted(folder: Path, what: str) -> None:
    """Prices of a kWh in cents and powers in W: wherever they are stated, and until `accept` says that they are so."""
    change, doubt, said = IN_CENTS_OR_WATTS[what]
    change(folder)
    with pytest.raises(InputError) as caught:
        read_community(str(folder))
    assert all(part in str(caught.value) for part in (*said, f'accept = ["{doubt}"] in {TOML}'))
    swap(TOML, "[feeder]", f'accept = ["{doubt}"]\n[feeder]')(folder)
    assert read_community(str(folder)).days
