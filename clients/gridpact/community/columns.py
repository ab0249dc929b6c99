"""What the columns of people's tables are: times, households, quantities with their units, and what is none of these.

Names are compared without case and marks. What is found by a name other than those of docs/own-data.md is said; what
could be two things is asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

UNITS = {
    "kwh": (1.0, True), "wh": (0.001, True), "mwh": (1000.0, True),
    "kw": (1.0, False), "w": (0.001, False), "mw": (1000.0, False),
}  # fmt: skip
"""Unit: what it is in kWh or kW, and whether it is an energy, so that its power depends on the step."""

WRITTEN = {"kwh": "kWh", "wh": "Wh", "mwh": "MWh", "kw": "kW", "w": "W", "mw": "MW"}

QUANTITIES = ("load", "import", "export", "pv")

MONEY_UNITS = (
    r"[€£$]|eur|euro|usd|gbp|chf|sek|nok|dkk|pln|czk|aud|nzd|cad|huf|ron|inr|ct|cts|cents?|pence|kr|øre|öre|ore|rp"
)

OTHER_UNIT = re.compile(
    r".*[(\[]\s*(?:%|hz|var|kvar|varh|kvarh|va|kva|°\s?[cf]|w/m[2²]|wh/m[2²]|lux|ppm|km|m[3³]|kg|"
    rf"(?:{MONEY_UNITS})(?:\s?/\s?[km]?wh)?)\s*[)\]].*",
    re.IGNORECASE,
)
"""A name with a unit of something else than energy or power. (A), (V) and (C) may be three flats."""

OF_A_KWH = re.compile(
    rf".*(?:[(\[][^()\[\]]*[^()\[\]/\s]\s*(?:/|\bper\b|\bpro\b)\s*[km]?wh\b|(?<![^\W_])(?:per|pro)[\s_]*[km]?wh(?![^\W_])"
    rf"|(?:(?<![^\W_])(?:{MONEY_UNITS}|[km]?g(?:co2\w*)?|co2\w*)|(?<![^\W_])(?-i:[pcgt]))\s?/\s?[km]?wh\b).*",
    re.IGNORECASE,
)
"""A price or an emission of each kWh: (p/kWh), GBP/kWh, gCO2/kWh, cost per kWh. Verbrauch/kWh is an energy."""

UNIT_WITHIN = re.compile(rf"(.*\S)\s*[(\[]\s*({'|'.join(UNITS)})\s*[)\]]\s*(.*)", re.IGNORECASE)
"""Verbrauch [kWh] AT0010000: a unit in brackets, and something behind it."""

OBIS = re.compile(r"(?<![\w.])(?:\d+-\d+:)?([12])\.(?:8|29)\.(\d)(?:\*\d+)?(?![\w.])")
"""The register of a meter, by its OBIS code: 1 what was drawn, 2 what was fed in; and of which tariff, 0 for all."""

UNKNOWN_UNIT = re.compile(
    r".*[(\[]\s*((?:[kmgt]?(?:wh|w|j|va|vah)|[kmg]?cal|btu|therms?|pulses|imp)(?:[\s./*·-].*)?|kw·?h.+|kw[·\s*]h)\s*[)\]]\s*",
    re.IGNORECASE,
)
"""A name with what is an energy or a power in brackets, but none of `UNITS`: (MJ), (kWh/15min), (W avg)."""

UNIT_BEHIND = re.compile(
    rf"(?:(?P<base>.*?)(?:[\s_./-]+|\s*(?P<bracket>[(\[])\s*))?(?P<unit>{'|'.join(UNITS)})\s*[)\]]?", re.IGNORECASE
)


def _set(names: str) -> frozenset[str]:
    return frozenset(name.strip() for name in names.split(","))


MOMENTS = _set(
    "time, timestamp, time stamp, datetime, date time, date and time, datum zeit, datum uhrzeit, datum und uhrzeit,"
    "zeitstempel, zeit, zeitpunkt, horodate, tijdstip, datum tijd, fecha hora, data ora, start, start time, starttime,"
    "start datetime, start date time, interval start, interval start time, period start, from, von, ab, van, begin,"
    "beginn, last changed, last updated, reading time, reading datetime, tstp, localtime, local time, local timestamp,"
    "utc, utc time, utc timestamp, time utc, timestamp utc, datetime utc, local 15min, localminute, horodatage, debut,"
    "début, date debut, date début, read at, measured at, statistical period, messzeitpunkt, meetmoment,"
    "zeitstempel von, zeit von, fra dato, fra, fra tid, tidspunkt, från, date heure, giorno ora, date time utc,"
    "time local, mtu, mtu utc, delivery start, delivery period, inicio, desde, ts, zeitraum, valid from, period from,"
    "starts at, start timestamp, timestamp start"
)
LOCAL_ZONE = re.compile(r" (?:cet|cest|cet cest|mez|mesz|local|lokal|ortszeit)$")
"""Behind the name of a column of times: those of the place, as MTU (CET/CEST)."""

ENDS = _set(
    "end, end time, endtime, end datetime, end date time, interval end, period end, to, bis, tot, until, ende,"
    "fin, date fin, read date and end time, zeitstempel bis, zeit bis, til dato, til, til tid, till, delivery end,"
    "valid to, period to, ends at, end timestamp, timestamp end"
)
DATES = _set(
    "date, day, datum, tag, dag, fecha, data, jour, start date, startdate, van datum, startdatum, datum von, von datum,"
    "read date, reading date, usage date, settlement date, trading date, delivery date, delivery day, interval date,"
    "liefertag, lieferdatum, dato, giorno"
)
CLOCKS = _set(
    "time, clock, hour, uhrzeit, zeit, tijd, tijdstip, hora, heure, start time, starttime, van tijdstip, starttijd,"
    "von uhrzeit, uhrzeit von, zeit von, von zeit, hour ending, hour number, he, stunde, uur, periodo, ora, period,"
    "settlement period, interval, intervall, usage start time"
)
END_DATES = _set("end date, enddate, tot datum, einddatum, datum bis, bis datum")
END_CLOCKS = _set(
    "end time, endtime, tot tijdstip, eindtijd, bis uhrzeit, uhrzeit bis, zeit bis, bis zeit, usage end time"
)
HOUSEHOLDS = _set(
    "household, home, house, house id, household id, customer, customer id, haushalt, huishouden, lclid, meter id,"
    "entity id, prm, mprn, meter serial number, cups, dataid, member, participant, ean, ean code, nmi, mpan,"
    "zahlpunkt, zählpunkt, meter, zähler, zähler id, meter number, esiid, esi id"
)
REGISTERS = _set("register, direction, richting, flow direction, consumption surplusgeneration")
PERHAPS_REGISTERS = _set("read type, reading type")
"""Of registers if their texts are, else of what is actual and what is estimated."""

UNIT_COLUMNS = _set("unit, units, eenheid, einheit, unité, unite, unidad, måleenhed, enhet")
SYNONYMS = {
    "load": _set(
        "load, consumption, usage, use, value, read value, volume, energy, verbrauch, verbruik, wert, valeur, state,"
        "power, leistung, consumo, consommation, demand, total consumption, energy consumption, load consumption,"
        "energy consumed, gemessener verbrauch, forbruk, forbrug, förbrukning, mængde, mangde,"
        "load power, load energy, home consumption, house consumption, household consumption, hausverbrauch,"
        "gesamtverbrauch, wirkarbeit, wirkleistung, leistungsmittelwert, ae"
    ),
    "import": _set(
        "import, imported, afname, bezug, netzbezug, grid import, from grid, energy import, prelevement, levering,"
        "energy delivered, electricity delivered, imported from grid, import from grid, energie vom netz bezogen,"
        "active energy, purchased, purchased energy, energy purchased, energy from grid, power from grid,"
        "energie vom netz, energía importada, energia importada, prélèvement"
    ),
    "export": _set(
        "export, exported, injectie, einspeisung, netzeinspeisung, teruglevering, grid export, to grid, feed in,"
        "energy export, energia vertida, injection, surplus, uberschuss, überschuss, energy returned, returned energy,"
        "electricity returned, exported to grid, export to grid, energie ins netz eingespeist, sold, sold energy,"
        "energy to grid, power to grid, energie ins netz, energía exportada, energia exportada,"
        "returned"
    ),
    "pv": _set(
        "pv, solar, generation, production, erzeugung, opwek, produktion, pv production, pv generation,"
        "solar generation, solar production, pv output, system production, energy produced, gesamtertrag, ertrag,"
        "produktion gesamt, solar energy, solar power, pv power, pv energy, energy from inverter s,"
        "energy from inverters, energie vom wechselrichter"
    ),
}
GENERIC = _set(
    "value, read value, volume, energy, wert, valeur, state, power, leistung, wirkarbeit, wirkleistung, ae,"
    "leistungsmittelwert"
)
"""Names that say nothing about whose energy it is."""

TARIFF = re.compile(
    r" (?:(?:t|tariff?|tarief) ?\d|(?<=delivered )\d|(?<=returned )\d|high|low|day|night|(?<!off )peak|off peak"
    r"|hoog|laag|dag|tag|nacht|normaal|dal|ht|nt|hp|hc|heures (?:pleines|creuses)|punta|llano|valle|f[123])$"
)
"""Behind import or export: a register that counts while a tariff holds, so that all of them together are the whole."""

METERED = _set(
    "consumption, usage, verbrauch, verbruik, consumo, consommation, energy consumption, electricity consumption,"
    "forbruk, forbrug, förbrukning, wirkarbeit, energy, electricity"
)
"""What a meter counts by tariffs: what was drawn through it."""

BEHIND = {
    quantity: tuple(sorted(names - GENERIC - {"use", "demand"}, key=len, reverse=True))
    for quantity, names in SYNONYMS.items()
}
"""What may stand behind a household's name, as in home1_pv."""

NO_HOUSEHOLD = _set(
    "total, sum, gesamt, summe, totaal, aggregate, all, grid, net, netz, netto, main, mains, feeder, transformer,"
    "trafo, substation, community, temperature, temp, price, weather, irradiance, ghi, humidity, soc, battery,"
    "frequency, voltage, current, index, id, no, nr, hour, minute, month, weekday, year, week, dayofweek, period, step"
)
PARTS = _set(
    "grid, netz, battery, batteries, batterie, bateria, batería, akku, powerwall, inverter, wechselrichter, omvormer,"
    "pv, temperature, temp, total, sum, summe, gesamt, totaal, soc, voltage, frequency, quality, status, flag, valid,"
    "code, rate, tariff, tarif, tarief, spot, spotpris, spotprice, co2, emissions"
)
"""Words that tell, wherever they stand in a name, that it is rather of a part, a sum or no reading."""

MONEY = _set(
    "cost, costs, kosten, coste, costes, importe, coût, charge, charges, bill, betrag, bedrag, price, preis, prijs,"
    "precio, prix, prezzo, pris, cena"
)
SUMS = _set("total, totals, sum, summe, gesamt, totaal, somme, suma, totale, grand total")
NO_HOUSEHOLD_BEGINS = ("grid", "total", "aggreg", "transformer", "temperature")

REGISTER_WORDS = {
    "export": ("injectie", "export", "einspeisung", "teruglevering", "injection", "feed", "surplus"),
    "pv": ("productie", "production", "generation", "opwek", "solar", "erzeugung"),
    "import": ("afname", "import", "bezug", "consumption", "verbruik", "verbrauch", "soutirage", "prelevement"),
}
NOT_USED = (
    "return", "teruglever", "einspeis", "eingespeist", "injectie", "injection", "export", "feed in", "feedin", "sold",
    "surplus", "vertida", "erzeug", "opwek", "generation", "generated", "production", "produced", "produziert",
    "produktion", "ertrag", "solar", "photovolta", "fotovolta", "self consumption", "eigenverbrauch",
)  # fmt: skip
"""In the name of a column that is hardly what a household uses."""

REACTIVE_WORDS = ("inductief", "capacitief", "inductive", "capacitive", "reactive", "reaktiv", "blind", "kvar")


def plain(name: str) -> str:
    """A name without case and marks, its words with a space between them."""
    apart = re.sub(r"(?<=[a-zà-ÿ])(?=[A-Z])", " ", name)
    return " ".join(re.sub(r"[\W_]+", " ", apart.casefold()).split())


@dataclass(frozen=True)
class TimeColumns:
    """Where the times of a table stand."""

    day: str  # or the whole time
    clock: str | None = None  # None: it stands with the day
    are_ends: bool = False  # only the ends of steps are there
    are_utc: bool = False  # by its name
    others: tuple[str, ...] = ()  # that have times, too, and are not looked at

    @property
    def all(self) -> tuple[str, ...]:
        return (self.day, *([self.clock] if self.clock else []), *self.others)


def time_columns(header: Iterable[str], time: str | None = None, date: str | None = None) -> TimeColumns | list[str]:
    """Where the times of a table stand; or the columns among which it cannot be told, none where there are none.

    Args:
        time, date: what the columns are called, if that was said.
    """
    names = [name for name in header if name]
    if time is not None or date is not None:
        if any(name not in names for name in (time, date) if name is not None):
            return []
        others = _of(names, MOMENTS | ENDS | DATES | CLOCKS | END_DATES | END_CLOCKS)
        given = [name for name in (time, date) if name is not None]
        if date is not None and time is None:
            clocks = [name for name in _of(names, CLOCKS) if name != date]
            if len(clocks) == 1:
                return TimeColumns(date, clocks[0])
        ends = _of(names, END_DATES | END_CLOCKS | ENDS)
        rest = tuple(name for name in (ends if date is not None else others) if name not in given)
        return TimeColumns(date or time or "", time if date is not None else None, others=rest)
    days, clocks = _of(names, DATES), _of(names, CLOCKS)
    ends = _of(names, ENDS | END_DATES | END_CLOCKS)
    if len(days) == 1 and (clocks := [name for name in clocks if name not in days and name not in ends]
                           or [name for name in clocks if name not in days]):  # fmt: skip
        clock = clocks[0] if len(clocks) == 1 else next((c for c in clocks if plain(c) in ("time", "start time")), None)
        if clock is not None:
            besides = [name for name in (*_of(names, MOMENTS), *ends) if name not in (days[0], clock)]
            return TimeColumns(days[0], clock, others=tuple(dict.fromkeys(besides)))
    starts = _of(names, MOMENTS)
    if len(starts) > 1 and (exact := [name for name in starts if plain(name) == "time"]):
        starts = exact
    if len(starts) == 1:
        others = [name for name in (*days, *ends) if name not in starts]
        return TimeColumns(starts[0], are_utc="utc" in plain(starts[0]).split(), others=tuple(dict.fromkeys(others)))
    if not starts and len(days) == 1 and ends and all(plain(name) in END_DATES for name in ends):
        return TimeColumns(days[0], others=tuple(ends))  # Datum von, Datum bis: both with the time of day
    if not starts and len(ends) == 1:
        return TimeColumns(ends[0], are_ends=True, others=tuple(days))
    if not starts and len(days) == 1:
        return TimeColumns(days[0])
    return starts


def _of(names: Sequence[str], known: frozenset[str]) -> list[str]:
    return [name for name in names if plain(name) in known or LOCAL_ZONE.sub("", plain(name)) in known]


@dataclass(frozen=True)
class TableColumn:
    """What a column with numbers is."""

    name: str  # in the file
    household: str  # empty: not told by the column
    quantity: str  # of QUANTITIES
    unit: str | None  # of UNITS; None: not told by the name


def unit_behind(name: str) -> tuple[str, str | None]:
    """A name without the unit that stands behind it, and that unit in lower case."""
    if parts := UNIT_BEHIND.fullmatch(name):
        return parts["base"] or "", parts["unit"].lower()
    if parts := UNIT_WITHIN.fullmatch(name):
        return f"{parts[1]} {parts[3]}", parts[2].lower()
    return name, None


def has_other_unit(name: str) -> bool:
    """Whether a name says that a column is neither energy nor power: in EUR, in V, in %."""
    return (OTHER_UNIT.fullmatch(name) or OF_A_KWH.fullmatch(name)) is not None


def unknown_unit(name: str) -> str | None:
    """The unit of energy or power in brackets in a name, if it is none that is known."""
    parts = UNKNOWN_UNIT.fullmatch(name)
    return parts[1].strip() if parts and unit_behind(name)[1] is None and not has_other_unit(name) else None


def is_of_money(name: str) -> bool:
    """Whether a name says that a column has amounts of money."""
    return not MONEY.isdisjoint(plain(name).split())


def is_used(words: str) -> bool:
    """Whether words speak of what a household uses or draws."""
    spoken = plain(words)
    return any(word in spoken for word in (*REGISTER_WORDS["import"], "consommation", "consumo", "usage", "load"))


def is_hardly_used(name: str) -> bool:
    """Whether a name tells of energy that somebody made, gave away, or had of its own."""
    words = f" {plain(name)}"
    return any(f" {word}" in words for word in NOT_USED)


def quantity_of(name: str) -> tuple[str, str | None] | None:
    """Quantity and unit of a column that is named by what it measures, as import_kwh; None where it is not."""
    base, unit = unit_behind(name)
    if not base or plain(name).split()[:1] in (["kwh"], ["wh"], ["mwh"]):
        unit = unit or plain(name).split()[0]
        return ("load", unit) if unit in ("kwh", "wh", "mwh", "kw") else None  # W and MW may be somebody's letters
    if (register := OBIS.search(base)) and not OBIS.sub("", base).strip(" :-"):
        return "import" if register[1] == "1" else "export", unit
    if is_tariff(name):
        base = TARIFF.sub("", plain(base))
        if base in METERED:
            return "import", unit
    if unit is not None and plain(base) in ("home", "house"):  # else it names them
        return "load", unit
    return next(((quantity, unit) for quantity, names in SYNONYMS.items() if plain(base) in names), None)


def is_tariff(name: str) -> bool:
    """Whether a column has the register of one tariff, in one direction: Import T1 kWh, Einspeisung NT."""
    if register := OBIS.search(name):
        return register[2] != "0"
    base, tariffs = TARIFF.subn("", plain(unit_behind(name)[0]))
    return tariffs == 1 and base in SYNONYMS["import"] | SYNONYMS["export"] | METERED


def household_column(name: str) -> TableColumn:
    """What a column is in a table with columns for each household: home1, home1_pv, home1_import_kwh."""
    base, unit = unit_behind(name)
    if (register := OBIS.search(base)) and (household := OBIS.sub("", base).strip(" :-_")):
        return TableColumn(name, household, "import" if register[1] == "1" else "export", unit)
    words = plain(base)
    for quantity, endings in BEHIND.items():
        for ending in endings:
            pattern = r"(.+?)[\s_.-]+" + re.escape(ending).replace(r"\ ", r"[\s_.-]+")
            if words.endswith(" " + ending) and (match := re.fullmatch(pattern, base.strip(), re.IGNORECASE)):
                return TableColumn(name, match[1], quantity, unit)
    is_unit = bool(base) and (unit not in ("w", "mw") or name[-1] in ")]")  # home_e and home_w are two homes
    return TableColumn(name, base.strip(), "load", unit) if is_unit else TableColumn(name, name, "load", None)


def is_no_household(name: str) -> bool:
    """Whether a name looks like that of something else than a household."""
    words = plain(name).split()
    if not words:
        return False
    is_part = not PARTS.isdisjoint(words) or not MONEY.isdisjoint(words)
    return is_part or words[0] in NO_HOUSEHOLD or words[0].startswith(NO_HOUSEHOLD_BEGINS)


def is_sum(text: str) -> bool:
    """Whether a row is called a sum where others have their time."""
    return plain(text) in SUMS


def register_quantity(register: str) -> str | None:
    """What a register counts: of QUANTITIES, "reactive", or None where that is not known."""
    words = plain(register)
    if any(word in words for word in REACTIVE_WORDS):
        return "reactive"
    return next((q for q, known in REGISTER_WORDS.items() if any(word in words for word in known)), None)


def role(header: Sequence[str], known: frozenset[str]) -> list[str]:
    """The columns with one of some names, in the order of the header."""
    return _of(header, known)


def listed_columns(columns: Mapping[str, str]) -> str:
    """A list in words: 'a' as b, 'c' as d."""
    return ", ".join(f"'{name}' as {what}" for name, what in columns.items())
