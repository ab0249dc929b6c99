"""What the columns of people's tables are taken for: properties of names and values, over generated ones."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import pairwise, product
from pathlib import Path

import numpy as np
import pytest

from gridpact.community import columns
from gridpact.community.doubts import check_readings
from gridpact.community.readings import HowToRead, read_readings
from gridpact.community.tariff import from_table
from gridpact.errors import InputError

START = datetime(2024, 6, 20)


def write(path: Path, header: str, values: list[list[float]], minutes: int = 60) -> Path:
    """A table with one row for each step from START on."""
    rows = [f"{START + timedelta(minutes=minutes * k):%Y-%m-%d %H:%M}," + ",".join(f"{v:.6f}" for v in row)
            for k, row in enumerate(values)]  # fmt: skip
    path.write_text("\n".join([f"time,{header}", *rows]), encoding="utf-8")
    return path


def loads(seed: int, steps: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.2, 1.5, steps)


@pytest.mark.parametrize(
    ("what", "unit", "form"),
    [
        *product(("Tariff", "Unit rate", "x"), ("p", "EUR", "GBP", "ct", "øre", "g", "gCO2", "kgCO2e"),
                 ("{what} ({unit}/kWh)", "{what} {unit}/kWh", "{what} [{unit} / MWh]", "{what} {unit} per kWh")),
        ("CO2", "", "{what}/kWh"), ("Kosten", "", "{what} pro kWh"),
    ],
)  # fmt: skip
def test_whatHoldsForEachKwh_isNoEnergy(what: str, unit: str, form: str, tmp_path: Path) -> None:
    name = form.format(what=what, unit=unit)
    assert columns.has_other_unit(name)
    load = loads(1, 24)
    data = read_readings(write(tmp_path / "a.csv", f"anna_kwh,{name}", [[v, 0.3] for v in load]), HowToRead())
    assert [meter.name for meter in data.meters] == ["anna"]
    assert "not looked at" in data.read[0]


@pytest.mark.parametrize(
    "name", ["Verbrauch/kWh", "Verbrauch / kWh", "anna [kWh]", "Haus P [kWh]", "home g kWh", "C_kwh"]
)
def test_anEnergyBehindAStroke_isOne(name: str) -> None:
    assert not columns.has_other_unit(name)
    assert columns.unit_behind(name)[1] == "kwh"


@pytest.mark.parametrize(("unit", "minutes"), list(product(columns.UNITS, (15, 30, 60))))
def test_unitOfAValueColumn_counts(unit: str, minutes: int, tmp_path: Path) -> None:
    """A column that is named by no word that is known, in any unit and step: its energy is what was written."""
    power = loads(2, 24 * 60 // minutes)
    scale, is_energy = columns.UNITS[unit]
    written = power * (minutes / 60 if is_energy else 1) / scale
    name = f"Ganzes Haus / Mittel [{columns.WRITTEN[unit]}]"
    file = write(tmp_path / "a.csv", f"{name},note", [[v, 1.0] for v in written], minutes)
    ((by_day),) = [meter.load_kw for meter in read_readings(file, HowToRead(value_column=name)).meters]
    np.testing.assert_allclose(by_day["2024-06-20"], power, atol=2e-3)


@pytest.mark.parametrize("name", ["Energy (MJ)", "Verbrauch (kWh/15min)", "Cost (£)", "Rate (p/kWh)"])
def test_aValueColumnInNoUnitOfEnergy_isRefused(name: str, tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", name, [[0.3]] * 24)
    with pytest.raises(InputError, match=r"is not known|neither energies nor powers|no column with energies"):
        read_readings(file, HowToRead(value_column=name))


@pytest.mark.parametrize(("first", "second"), [("T1", "T2"), ("normaal", "dal"), ("HT", "NT"), ("peak", "off peak"),
                                               ("heures pleines", "heures creuses"), ("day", "night")])  # fmt: skip
@pytest.mark.parametrize("what", ["Verbruik", "Consumption", "Verbrauch", "Usage"])
def test_registersOfTariffs_areAddedUp(what: str, first: str, second: str, tmp_path: Path) -> None:
    load = loads(3, 48)
    rows = [[v * (7 <= k % 24 < 21), v * (not 7 <= k % 24 < 21)] for k, v in enumerate(load)]
    file = write(tmp_path / "anna.csv", f"{what} {first} (kWh),{what} {second} (kWh)", rows)
    (meter,) = read_readings(file, HowToRead()).meters
    np.testing.assert_allclose(np.concatenate(list(meter.load_kw.values())), load, atol=1e-5)


@pytest.mark.parametrize("seed", range(4))
def test_columnsThatNeverCountTogether_areAskedAbout(seed: int, tmp_path: Path) -> None:
    """Whatever they are called, two or three of them, and while panels cover all at noon; homes are not."""
    draw = np.random.default_rng(seed)
    which, load = np.repeat(draw.integers(0, 2 + seed % 2, 16), 3), loads(seed, 48)
    load[np.arange(48) % 24 == 12] = 0
    names = ["Laag", "Normaal", "Piek"][: 2 + seed % 2]
    rows = [[v * (which[k] == i) for i in range(len(names))] for k, v in enumerate(load)]
    data = read_readings(write(tmp_path / "a.csv", ",".join(names), rows), HowToRead(unit="kwh"))
    with pytest.raises(
        InputError, match=r"'\w+' and '\w+' hardly ever use energy at the same time.*--accept registers"
    ):
        check_readings(data, ())
    check_readings(data, ("registers", "size"))
    homes = write(tmp_path / "b.csv", "a,b", [[v + 0.05, v / 2 + 0.02] for v in load])
    check_readings(read_readings(homes, HowToRead(unit="kwh")), ())


@pytest.mark.parametrize(
    "names", [("東京", "大阪"), ("Дом 1", "Дом 2"), ("Σπίτι", "Ελένη"), ("Łódź", "Čáslav"), ("بيت", "دار")]
)
def test_namesInOtherLetters_areHouseholds(names: tuple[str, str], tmp_path: Path) -> None:
    file = write(tmp_path / "a.csv", ",".join(f"{name} [Wh]" for name in names), [[300.0, 400.0]] * 24)
    assert tuple(meter.name for meter in read_readings(file, HowToRead()).meters) == names


FORMS = ("Price [{u}/{e}]", "price {u}/{e}", "price_{u}_{e}", "{u}/{e}", "{u} per {e}", "Price_{u}_per_{e}",
         "Zone [{u}/{e}] original", "Price {u}/{e} (gross)")  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_pricesAreOfAKwh_byTheUnitInTheName(form: str, tmp_path: Path) -> None:
    of_units = {"EUR": 1, "€": 1, "ct": 0.01, "p": 0.01, "NOK": 1, "øre": 0.01}
    price = loads(5, 24)
    for (unit, minor), (energy, major) in product(of_units.items(), {"kWh": 1, "MWh": 0.001}.items()):
        name = form.format(u=unit, e=energy)
        file = write(tmp_path / "p.csv", name, [[v / minor / major] for v in price])
        tariff, said = from_table(file, 60, HowToRead())
        np.testing.assert_allclose(tariff["2024-06-20"], price, rtol=1e-4)
        assert any(f"'{name}' was taken for the price" in one for one in said)


@pytest.mark.parametrize("word", ["netto", "net", "excl. VAT", "ohne MwSt", "hors TVA"])
def test_netPrices_areAskedAbout_andGrossOnesTaken(word: str, tmp_path: Path) -> None:
    net = write(tmp_path / "n.csv", f"price EUR/kWh {word}", [[0.2]] * 24)
    with pytest.raises(InputError, match="without taxes by its name"):
        from_table(net, 60, HowToRead())
    both = write(tmp_path / "b.csv", f"price EUR/kWh {word},price EUR/kWh", [[0.2, 0.24]] * 24)
    np.testing.assert_allclose(from_table(both, 60, HowToRead())[0]["2024-06-20"], 0.24)


@pytest.mark.parametrize("header", ["Datum von,Datum bis", "Delivery Start (CET),Delivery End (CET)",
                                    "valid_from,valid_to",
                                    "start_timestamp,end_timestamp", "Period from,Period to"])  # fmt: skip
def test_timesOfPrices_areFound(header: str, tmp_path: Path) -> None:
    hours = [START + timedelta(hours=k) for k in range(25)]
    rows = [f"{a:%d.%m.%Y %H:%M},{b:%d.%m.%Y %H:%M},{10 * k + 100}" for k, (a, b) in enumerate(pairwise(hours))]
    (tmp_path / "p.csv").write_text("\n".join([f"{header},Preis €/MWh", *rows]), encoding="utf-8")
    tariff, _ = from_table(tmp_path / "p.csv", 60, HowToRead())
    np.testing.assert_allclose(tariff["2024-06-20"], 0.1 + 0.01 * np.arange(24))


def test_hoursOfHalfDays_areColumns(tmp_path: Path) -> None:
    names = [f"{k % 12 or 12}:00 {'AM' if k < 12 else 'PM'}" for k in range(24)]
    load = loads(6, 24)
    (tmp_path / "a.csv").write_text(f"Date,{','.join(names)}\n06/20/2024,{','.join(f'{v:.4f}' for v in load)}")
    ((by_day),) = [meter.load_kw for meter in read_readings(tmp_path / "a.csv", HowToRead(unit="kwh")).meters]
    np.testing.assert_allclose(by_day["2024-06-20"], load, atol=1e-4)


def test_daysWithoutAnyLoad_areSaid(tmp_path: Path) -> None:
    """A meter that was away wrote zeros: all days on which a home used nothing are named, others are not."""
    away = np.array([True, False, True])
    load = loads(7, 72) * ~np.repeat(away, 24)
    data = read_readings(write(tmp_path / "a.csv", "anna_kwh,bert_kwh", [[v, 0.3] for v in load]), HowToRead())
    (said,) = [one for one in data.remarks if one.startswith("Nothing was used all day")]
    assert "2024-06-20, 2024-06-22 of 'anna'" in said
    assert "bert" not in said
    assert "2024-06-21" not in said


@pytest.mark.parametrize("mark", ["\n", "\r\n", " \n "])
def test_namesBrokenInACell_areOneLine(mark: str, tmp_path: Path) -> None:
    rows = "\n".join(f"{START + timedelta(minutes=15 * k):%Y-%m-%d %H:%M},2,0.5" for k in range(96))
    (tmp_path / "a.csv").write_bytes(f'time,"Familie{mark}Meier{mark}[kW]","bert{mark}(kWh)"\n{rows}'.encode())
    data = read_readings(tmp_path / "a.csv", HowToRead())
    assert [meter.name for meter in data.meters] == ["Familie Meier", "bert"]
    assert all(power.mean() == 2 for meter in data.meters for power in meter.load_kw.values())
    assert not any("\n" in one for one in (*data.read, *data.remarks))
