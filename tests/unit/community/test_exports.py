"""Files as suppliers, grid operators and inverters export them, with other numbers: each is read as it was written,
with what its owner has to say, or asked about in one sentence."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from gridpact.cli import main
from gridpact.community.doubts import check_readings
from gridpact.community.readings import HowToRead, read_readings, time_zone
from gridpact.community.times import DateOrder
from gridpact.errors import InputError

Series = NDArray[np.float64]

START, DAYS = datetime(2024, 6, 20), 2


@dataclass(frozen=True)
class Home:
    """Mean powers in quarter hours of two days, kW."""

    load: Series
    pv: Series

    @property
    def times(self) -> list[datetime]:
        return [START + timedelta(minutes=15 * k) for k in range(len(self.load))]

    @property
    def drawn(self) -> Series:
        return np.maximum(self.load - self.pv, 0.0)

    @property
    def given(self) -> Series:
        return np.maximum(self.pv - self.load, 0.0)


def home(seed: int) -> Home:
    draw, hours = np.random.default_rng(seed), np.arange(96 * DAYS) / 4 % 24
    load = (0.15 + 0.3 * (hours > 17)) * draw.uniform(0.4, 1.6, len(hours))
    sun = np.maximum(np.sin((hours - 6) / 12 * np.pi), 0) * draw.uniform(0.7, 1.0, len(hours))
    return Home(np.round(load, 3) + 0.004, np.round(3 * sun, 3))


def comma(value: float) -> str:
    return f"{value:.4f}".replace(".", ",")


def states(power: Series, first: float) -> list[float]:
    """Of a counter, before and after each quarter hour, kWh."""
    return [first, *(first + np.cumsum(power / 4))]


def quarters(of: Home, header: str, row: str) -> str:
    """A row for each quarter hour: t its start, u its end, energies in kWh, Wh and with commas."""
    lines = [header]
    for t, load, pv, drawn, given in zip(of.times, of.load / 4, of.pv / 4, of.drawn / 4, of.given / 4, strict=True):
        values = {"load": load, "pv": pv, "drawn": drawn, "given": given}
        commas = {f"{name}_c": comma(value) for name, value in values.items()}
        wh = {f"{name}_wh": round(1000 * value, 2) for name, value in values.items()}
        kw = {f"{name}_kw": round(4 * value, 4) for name, value in values.items()}
        lines.append(row.format(t=t, u=t + timedelta(minutes=15), **values, **commas, **wh, **kw))
    return "\n".join(lines) + "\n"


def counters(of: Home, header: str, row: Callable[[datetime, float, float], str]) -> str:
    """States of a meter that counts both directions, at the beginning of each quarter hour and at the end."""
    times = [*of.times, START + timedelta(days=DAYS)]
    both = zip(times, states(of.drawn, 4321.0), states(of.given, 99.0), strict=True)
    return "\n".join([header, *(row(*one) for one in both)]) + "\n"


def dsmr(of: Home) -> str:
    """Two tariffs, by night and by day, in both directions."""
    registers = [f"electricity_{way}_{tariff}" for way in ("delivered", "returned") for tariff in (1, 2)]
    lines, state = [",".join(["read_at", *registers])], [5000.0, 6000.0, 100.0, 200.0]
    for k, t in enumerate([*of.times, START + timedelta(days=DAYS)]):
        lines.append(f"{t.isoformat()}+02:00," + ",".join(f"{value:.5f}" for value in state))
        if k < len(of.load):
            day = 7 <= t.hour < 23
            state[1 if day else 0] += of.drawn[k] / 4
            state[3 if day else 2] += of.given[k] / 4
    return "\n".join(lines) + "\n"


def green_button(of: Home, prefix: str = "", tens: int = 0, ways: Sequence[int] = (1, 19), unit: int = 72) -> str:
    """As utilities hand it out: a block for each day, below a meter reading for each direction, in Wh times a power of
    ten; first and last the gas that is in it, too, and what the file says of its owner."""

    def tag(name: str, body: object) -> str:
        return f"<{prefix}{name}>{body}</{prefix}{name}>"

    def entry(href: str, body: str, *related: str) -> str:
        links = "".join(f'<link rel="related" href="{one}"/>' for one in related)
        return f'<entry><link rel="self" href="{href}"/>{links}<content>{body}</content></entry>'

    space = f"xmlns:{prefix[:-1]}" if prefix else "xmlns:unused"
    entries = [entry("RetailCustomer/9/UsagePoint/01", tag("UsagePoint", ""))]
    for number, (way, power, commodity) in enumerate(
        [(1, of.load + 5, 7), *((way, of.given if way == 19 else of.drawn, 1) for way in ways)]
    ):
        meter = f"RetailCustomer/9/UsagePoint/01/MeterReading/{number}"
        kind = tag("accumulationBehaviour", 4) + tag("commodity", commodity) + tag("flowDirection", way)
        kind += tag("powerOfTenMultiplier", tens) + tag("uom", unit)
        entries += [entry(meter, tag("MeterReading", ""), f"{meter}/IntervalBlock", f"ReadingType/{number}")]
        entries += [entry(f"ReadingType/{number}", tag("ReadingType", kind))]
        for day in range(DAYS):
            both = list(zip(of.times, power, strict=True))[96 * day : 96 * (day + 1)]
            readings = "".join(
                tag("IntervalReading", tag("timePeriod", tag("duration", 900) + tag("start", int(t.timestamp())))
                    + tag("value", f"{kw / 4 * 1000 / 10.0**tens:.4f}"))
                for t, kw in ((t.replace(tzinfo=timezone.utc), kw) for t, kw in both)
            )  # fmt: skip
            entries.append(entry(f"{meter}/IntervalBlock/{day}", tag("IntervalBlock", readings)))
    head = '<?xml version="1.0" encoding="UTF-8"?>\n<feed xmlns="http://www.w3.org/2005/Atom"'
    return f'{head} {space}="http://naesb.org/espi">' + "".join(entries) + "</feed>"


FLUVIUS = "Van (datum);Van (tijdstip);Tot (datum);Tot (tijdstip);EAN-code;Register;Volume;Eenheid"
ENPHASE = "Date/Time,Energy Produced (Wh),Energy Consumed (Wh),Exported to Grid (Wh),Imported from Grid (Wh)"
FRONIUS = (
    "Datum und Uhrzeit;Energie vom Netz bezogen;Energie ins Netz eingespeist;Verbrauch;Produktion\n"
    "[dd.MM.yyyy HH:mm];[Wh];[Wh];[Wh];[Wh]"
)

EXPORTS: dict[str, tuple[Callable[[Home], str], HowToRead, str]] = {
    "Fluvius": (
        lambda of: "".join(
            quarters(of, "" if k else FLUVIUS,
                     "{t:%d-%m-%Y};{t:%H:%M:%S};{u:%d-%m-%Y};{u:%H:%M:%S};=\"5414488\";" + row)
            for k, row in enumerate(("Afname Dag;{drawn_c};kWh", "Injectie Dag;{given_c};kWh"))
        ),
        HowToRead(), "meter",
    ),
    "Enedis": (
        lambda of: "Identifiant PRM;Type de donnees;Unite;Pas en minutes\n0123;Courbe de charge;W;15\n"
        + quarters(of, "Horodate;Valeur;;", "{u:%Y-%m-%dT%H:%M:%S}+02:00;{load_kw};;"),
        HowToRead(unit="kw", times_are_ends=True, zone=time_zone("Europe/Paris")), "load",
    ),
    "Stromnetz": (
        lambda of: quarters(of, "Zeitstempel von;Zeitstempel bis;Wert (kWh);Status",
                            "{t:%d.%m.%Y %H:%M};{u:%d.%m.%Y %H:%M};{load_c};W"),
        HowToRead(), "load",
    ),
    "Tibber": (
        lambda of: quarters(of, "From,To,Consumption (kWh),Cost (EUR),Unit price (EUR/kWh)",
                            "{t:%Y-%m-%dT%H:%M:%S}.000+02:00,{u:%Y-%m-%dT%H:%M:%S}.000+02:00,{load},0.1,0.3"),
        HowToRead(zone=time_zone("Europe/Berlin")), "load",
    ),
    "SolarEdge": (
        lambda of: quarters(of, "Time,System Production (Wh),Consumption (Wh),Export (Wh),Import (Wh)",
                            "{t:%m/%d/%Y %H:%M},{pv_wh},{load_wh},{given_wh},{drawn_wh}"),
        HowToRead(dates=DateOrder.MONTH_FIRST), "both",
    ),
    "FusionSolar": (
        lambda of: "Plant Name,Haus A,,,\n"
        + quarters(of, "Statistical Period,PV Output(kW),Load consumption(kW),Grid(kW)",
                   "{t:%Y-%m-%d %H:%M:%S},{pv_kw},{load_kw},0.1"),
        HowToRead(ignored=("Grid(kW)",)), "both",
    ),
    "Enphase": (
        lambda of: quarters(of, ENPHASE,
                            "{t:%m/%d/%Y %H:%M},{pv_wh},{load_wh},{given_wh},{drawn_wh}") + "Total,123,456,78,90\n",
        HowToRead(dates=DateOrder.MONTH_FIRST), "both",
    ),
    "Fronius": (
        lambda of: quarters(of, FRONIUS,
                            "{t:%d.%m.%Y %H:%M};{drawn_wh};{given_wh};{load_wh};{pv_wh}"),
        HowToRead(decimal="."), "both",
    ),
    "Shelly": (
        lambda of: quarters(of, "Date/time UTC,Active energy Wh,Returned energy Wh",
                            "{t:%Y-%m-%d %H:%M},{drawn_wh},{given_wh}"),
        HowToRead(zone=time_zone("UTC")), "meter",
    ),
    "Zonneplan": (
        lambda of: quarters(of, "Meetmoment;Levering (Wh);Teruglevering (Wh)",
                            "{t:%Y-%m-%d %H:%M:%S};{drawn_wh};{given_wh}"),
        HowToRead(), "meter",
    ),
    "smart meter gateway": (
        lambda of: counters(of, "Zeit;1-0:1.8.0*255 [kWh];1-0:2.8.0*255 [kWh]",
                            lambda t, drawn, given: f"{t:%d.%m.%Y %H:%M:%S};{comma(drawn)};{comma(given)}"),
        HowToRead(are_counters=True), "meter",
    ),
    "OBIS in short": (
        lambda of: counters(of, "Timestamp,1.8.0,2.8.0",
                            lambda t, drawn, given: f"{t:%Y-%m-%d %H:%M},{drawn:.5f},{given:.5f}"),
        HowToRead(are_counters=True), "meter",
    ),
    "DSMR": (dsmr, HowToRead(are_counters=True, zone=time_zone("Europe/Amsterdam")), "meter"),
    "a meter behind names": (
        lambda of: counters(of, "time,anna 1.8.0 (Wh),anna 2.8.0 (Wh)",
                            lambda t, drawn, given: f"{t:%Y-%m-%d %H:%M},{1000 * drawn:.2f},{1000 * given:.2f}"),
        HowToRead(are_counters=True), "meter",
    ),
    "Wiener Netze": (
        lambda of: quarters(of, '"Datum";"Zeit von";"Zeit bis";"Verbrauch [kWh] AT001000"',
                            '"{t:%d.%m.%Y}";"{t:%H:%M:%S}";"{u:%H:%M:%S}";"{load_c}"'),
        HowToRead(), "load",
    ),
    "Eloverblik": (
        lambda of: quarters(of, "MålepunktsID;Fra_dato;Til_dato;Mængde;Måleenhed;Kvalitet",
                            "57131310;{t:%d-%m-%Y %H:%M:%S};{u:%d-%m-%Y %H:%M:%S};{load_c};KWH;Målt"),
        HowToRead(ignored=("MålepunktsID",)), "load",
    ),
    "Elhub": (
        lambda of: quarters(of, "Fra;Til;KWH 15 Forbruk;Kvalitet",
                            "{t:%d.%m.%Y %H:%M};{u:%d.%m.%Y %H:%M};{load_c};Målt"),
        HowToRead(), "load",
    ),
    "Home Assistant": (
        lambda of: counters(of, "entity_id,state,last_changed",
                            lambda t, drawn, given: f"sensor.meter,{drawn:.5f},{t:%Y-%m-%dT%H:%M:%S}.700Z"),
        HowToRead(are_counters=True, zone=time_zone("UTC")), "drawn",
    ),
    "Green Button": (green_button, HowToRead(zone=time_zone("UTC")), "meter"),
    "Green Button in kWh": (
        lambda of: green_button(of, "espi:", 3), HowToRead(zone=time_zone("UTC")), "meter",
    ),
    "a logger that is early": (
        lambda of: quarters(of, "time,load_kwh", "{t},{load}")
        .replace(":00,", ":00.000,").replace("00:15:00.000", "00:14:59.2"),
        HowToRead(), "load",
    ),
}  # fmt: skip


def read(tmp_path: Path, text: str, how: HowToRead) -> tuple[list[tuple[Series, Series]], Sequence[str]]:
    """Loads and PV outputs of the homes that are found, and what was said."""
    (path := tmp_path / "export.csv").write_text(text, encoding="utf-8")
    data = read_readings(path, how)
    check_readings(data, ())
    none = np.zeros(24 * 60 // data.step_minutes)
    return [
        (
            np.concatenate([meter.load_kw[day] for day in data.days]),
            np.concatenate([meter.pv_kw.get(day, none) for day in data.days]),
        )
        for meter in data.meters
    ], (*data.read, *data.remarks)


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("name", EXPORTS)
def test_export_isReadAsItWasWritten(name: str, seed: int, tmp_path: Path) -> None:
    write, how, tells = EXPORTS[name]
    truth = home(seed)
    ((load, pv),), said = read(tmp_path, write(truth), how)
    expected = {
        "load": (truth.load, 0 * truth.pv),
        "both": (truth.load, truth.pv),
        "meter": (truth.drawn, truth.given),
        "drawn": (truth.drawn, 0 * truth.pv),
    }[tells]
    np.testing.assert_allclose(load, expected[0], atol=1e-3)
    np.testing.assert_allclose(pv, expected[1], atol=1e-3)
    assert (tells == "meter") == any("PV that it used itself is in neither" in one for one in said)


COUNTED = HowToRead(are_counters=True)


@pytest.mark.parametrize(
    ("text", "how", "sentence"),
    [
        (lambda of: quarters(of, "time,anna,anna returned", "{t:%Y-%m-%d %H:%M},{drawn},{given}"), HowToRead(),
         "'anna returned' looks like export of 'anna'|hardly what a household uses|has load and export"),
        (lambda of: quarters(of, "time,meter a,solar roof", "{t:%Y-%m-%d %H:%M},{load},{pv}"), HowToRead(),
         "looks like|hardly what a household uses|is named like"),
        (lambda of: quarters(of, "time,Bezogen kWh,Eingespeist kWh", "{t:%Y-%m-%d %H:%M},{drawn},{given}"), HowToRead(),
         "'Eingespeist kWh' is hardly what a household uses"),
        (lambda of: counters(of, "time,1.8.0,1.8.1,1.8.2", lambda t, a, b: f"{t:%Y-%m-%d %H:%M},{a},{a},{b}"), COUNTED,
         "'import' stands in two columns"),
        (lambda of: quarters(of, "Time,Pac(W)", "{t:%Y-%m-%d %H:%M}:33,{pv_kw}"), HowToRead(), "is not a whole minute"),
        (lambda of: quarters(of, "Datum;Verbrauch kWh", "45463,01;{load_c}"), HowToRead(), "is not a whole minute"),
        (lambda of: quarters(of, "time,a", "{t:%Y-%m-%d %H:%M},{load_kw}"), HowToRead(), "say --unit kwh or --unit kw"),
        (lambda of: "Grandeur physique;Grandeur metier;Unite\nEnergie active;Production;W\n"
         + quarters(of, "Horodate;Valeur", "{t:%Y-%m-%d %H:%M};{pv_kw}"), HowToRead(unit="kw"),
         "above the header stands 'Production', .*--value-column Valeur"),
        (green_button, HowToRead(), "has an offset from UTC; give the place's time zone"),
        (lambda of: green_button(of, ways=(4,)), HowToRead(zone=time_zone("UTC")), "flowDirection 4, and may be net"),
        (lambda of: green_button(of, unit=42), HowToRead(zone=time_zone("UTC")), "in the unit 42"),
        (lambda of: green_button(of)[:-9], HowToRead(zone=time_zone("UTC")), "is no whole XML"),
        (lambda of: "<!DOCTYPE a [<!ENTITY b 'c'>]>" + green_button(of), HowToRead(), "no whole XML|document type"),
        (lambda of: "<svg/>", HowToRead(), "without an IntervalBlock"),
        (lambda of: ";".join(["Contatore", *(f"{k:02d}:{m}" for k in range(24) for m in ("00", "15", "30", "45"))])
         + "\nIT001" + 96 * ";0,1",
         HowToRead(), "has a column for each time: Contatore, 00:00, .* and 85 more; give a row for each"),
        (lambda of: "entity_id,type,unit," + ",".join(f"2024-06-20T{k:02d}:00:00.000Z" for k in range(24))
         + "\nsensor.meter,grid_consumption,kWh" + 24 * ",0.2",
         HowToRead(), "has a column for each time: entity_id, .*, of Home Assistant, take what its history"),
    ],
)  # fmt: skip
def test_whatMayBeAnything_isAsked(text: Callable[[Home], str], how: HowToRead, sentence: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=sentence) as error:
        read(tmp_path, text(home(0)), how)
    assert "\n" not in str(error.value)


def test_flatsNamedWithLetters_areHomes(tmp_path: Path) -> None:
    """(A), (C) and (V) are no units of what a home could not have."""
    text = quarters(home(0), "time,flat (A),flat (C),flat (V)", "{t:%Y-%m-%d %H:%M},{load},{load},{load}")
    assert len(read(tmp_path, text, HowToRead(unit="kwh"))[0]) == 3


def test_exportOfAnInverter_byTheCommand(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """What was passed over, and taken for what, is said."""
    (path := tmp_path / "fronius.csv").write_text(EXPORTS["Fronius"][0](home(0)), encoding="utf-8")
    options = ["--out", str(tmp_path / "out"), "--price", "0.3", "--decimal", "point"]
    assert main(["community", "new", "--from", str(path), *options]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Row 2 of fronius.csv names the units of the columns" in said
    assert "'Verbrauch (Wh)' as load of 'fronius' in Wh, 'Produktion (Wh)' as PV output of 'fronius' in Wh" in said
