"""Meter readings of a delivered day: read, added up to steps, and every flaw said in one sentence."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from gridpact.chain.encoding import encode_tariff
from gridpact.chain.values import Delivery, TradeRecord
from gridpact.community.model import CommunityDay
from gridpact.errors import InputError
from gridpact.manage.meter_table import MeterDay, read_meters
from gridpact.manage.metering import Settled, check_plan, check_signs, planned_wh, to_settle
from gridpact.node.twin_ledger import TwinLedger
from gridpact.problem.scenario import Scenario
from unit.node.rounds import Played

DAY = MeterDay(date(2025, 6, 10), 4, 6 * 3600, ZoneInfo("Europe/Amsterdam"))
CLOCKS = ("00:00", "06:00", "12:00", "18:00")
WIDE = "time,1,2\n2025-06-10 00:00,-500,0\n2025-06-10 06:00,1200,-3\n2025-06-10 12:00,2000,-4\n2025-06-10 18:00,-1,-5\n"
WHOLE = {1: [-500, 1200, 2000, -1], 2: [0, -3, -4, -5]}


def read(tmp_path: Path, text: str, day: MeterDay = DAY, unit: str = "wh", ends: bool = False) -> dict[int, list[int]]:
    path = tmp_path / "readings.csv"
    path.write_text(text)
    return read_meters(path, day, unit, ends)


def long(rows: list[tuple[str, int, object]], columns: str = "meter_wh", day: str = "2025-06-10") -> str:
    return "\n".join([f"time,node,{columns}", *(f"{day} {clock},{node},{value}" for clock, node, value in rows)]) + "\n"


def test_forms_sayTheSame(tmp_path: Path) -> None:
    """A column a household, a row a reading, two registers, kWh, semicolons, end times; rows of other days are left."""
    assert read(tmp_path, WIDE) == WHOLE
    by_row = [(clock, node, WHOLE[node][k]) for node in WHOLE for k, clock in enumerate(CLOCKS)]
    assert read(tmp_path, long(by_row)) == WHOLE
    assert read(tmp_path, long([(c, n, wh / 1000) for c, n, wh in by_row], "meter_kwh")) == WHOLE
    registers = [(c, n, f"{max(-wh, 0)},{max(wh, 0)}") for c, n, wh in by_row]
    assert read(tmp_path, long(registers, "import_wh,export_wh")) == WHOLE
    assert read(tmp_path, WIDE.replace(",", ";")) == WHOLE
    in_kwh = "time,1\n" + "".join(f"2025-06-10 {c},{wh / 1000}\n" for c, wh in zip(CLOCKS, WHOLE[1], strict=True))
    assert read(tmp_path, in_kwh, unit="kwh") == {1: WHOLE[1]}
    ends = WIDE.replace("10 18:", "11 00:", 1)
    for before, after in (("10 12:", "10 18:"), ("10 06:", "10 12:"), ("10 00:", "10 06:")):
        ends = ends.replace(before, after)
    assert read(tmp_path, ends, ends=True) == WHOLE
    assert read(tmp_path, WIDE + "2025-06-11 00:00,7,7\n") == WHOLE


def test_shorterReadings_areAddedUp(tmp_path: Path) -> None:
    rows = [(f"{hour:02d}:{minute:02d}", 5, hour * 7 % 24) for hour in range(24) for minute in (0, 15, 30, 45)]
    assert read(tmp_path, long(rows)) == {5: [4 * sum(h * 7 % 24 for h in range(6 * k, 6 * k + 6)) for k in range(4)]}


@pytest.mark.parametrize("day", [date(2025, 3, 30), date(2025, 10, 26)])
def test_daysOfOtherLength(tmp_path: Path, day: date) -> None:
    """Where the clock changes, steps count from midnight, and only times with an offset say which hour is meant."""
    hourly = MeterDay(day, 24, 3600, DAY.zone)
    assert hourly.end - hourly.midnight.astimezone(ZoneInfo("UTC")) == timedelta(days=1)
    starts = [hourly.at(3600 * k) for k in range(24)]
    text = "time,1\n" + "".join(f"{start.isoformat()},{-200 - k * 7 % 24}\n" for k, start in enumerate(starts))
    assert read(tmp_path, text, hourly) == {1: [-200 - k * 7 % 24 for k in range(24)]}
    local = "time,1\n" + "".join(f"{start:%Y-%m-%d %H:%M},{-200 - k * 7 % 24}\n" for k, start in enumerate(starts))
    with pytest.raises(InputError, match=f"the clock changes on {day}: give all times with their offset"):
        read(tmp_path, local, hourly)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (WIDE.replace("1200", "NaN"), "row 3, column '1': 'NaN' is not a finite number"),
        (WIDE.replace("1200", ""), "row 3, column '1': is empty"),
        (WIDE.replace("1200", "many"), "row 3, column '1': 'many' is not a number"),
        (WIDE.replace("2025-06-10 06:00,1200,-3\n", ""), "node 1 has no reading at 2025-06-10 06:00: every step"),
        (WIDE.replace("06-10 06:00", "06-10 00:00"), "node 1 has a reading of that time in row 2 already"),
        (WIDE.replace("06:00", "06:10"), "readings 350 minutes apart do not add up to the round's steps of 360"),
        (WIDE.replace("06:00", "06:00:30"), "do not add up"),
        (WIDE.replace("2025-06-10 06", "noon"), "'noon:00' is not a time like"),
        (
            WIDE.replace("2025-06-10", "2025-06-09"),
            "has no readings of 2025-06-10, its times are from 2025-06-09 00:00",
        ),
        (WIDE.replace(",1,2", ",1,house_2"), "column 'house_2' is no household's node"),
        (WIDE.replace(",1,2", ",0,2"), "column '0' is no household's node"),
        (WIDE.replace(",1,2", ",2,02"), "a node has two columns"),
        (WIDE.replace("2000", "2000000"), "node 1 has 333 kW on 2025-06-10, more than 100 kW; are the readings in"),
        ("time,1\n" + "".join(f"2025-06-10 {c},-1.25\n" for c in CLOCKS), "no reading is above 1.25 Wh"),
        (long([("00:00", 1, 5)]), "node 1 has no reading at 2025-06-10 06:00 and 2 more"),
        (long([("00:00", 200, 5)]), "column 'node': 200 must be between 1 and 127"),
        (long([("00:00", 1, "3,-4")], "import_wh,export_wh"), "column 'export_wh': -4 must be at least 0"),
        (long([("00:00", 1, 5)], "import_wh"), "give meter_wh alone"),
        (long([("00:00", 1, "5,5")], "meter_wh,import_wh"), "give meter_wh alone"),
        (long([("00:00", 1, 5)], "load_wh"), "column 'load_wh' is not known"),
    ],
)
def test_flaws_areSaid(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InputError) as error:
        read(tmp_path, text)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_gridOfReadings(tmp_path: Path) -> None:
    rows: list[tuple[str, int, object]] = [("00:00", 1, 5), ("03:00", 1, 5), ("06:20", 1, 5), ("08:00", 1, 5)]
    with pytest.raises(InputError, match="readings 100 minutes apart do not add up"):
        read(tmp_path, long(rows))
    rows[2:] = [("10:30", 1, 5)]
    with pytest.raises(InputError, match="row 4, column 'time': '2025-06-10 10:30' is not on the grid of 180 minutes"):
        read(tmp_path, long(rows))


# ---------------------------------------------------------------------- what is asked about before it is final

HOURS = MeterDay(DAY.day, 24, 3600, DAY.zone)


@pytest.mark.parametrize("header", ["import_kwh,export_kwh", "import_wh,export_wh"])
def test_statesOfCounters_areAskedAbout(tmp_path: Path, header: str) -> None:
    rows = [(f"{hour:02d}:00", 1, f"{12 + 0.3 * hour + 0.01 * (hour % 3):.2f},0") for hour in range(24)]
    with pytest.raises(InputError, match=r"column 'import_k?wh': the readings of node 1 go from 12 to 18.92 and never"):
        read(tmp_path, long(rows, header), HOURS)
    path = tmp_path / "readings.csv"
    assert sum(read_meters(path, HOURS, accepted={"rising", "size"})[1]) < 0


def test_fewStates_areAskedAbout_whatIsUsedIsNot(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="of node 1 go from 8000 to 8900 and never back"):
        read(tmp_path, long([(clock, 1, 8000 + 300 * k) for k, clock in enumerate(CLOCKS)]))
    with pytest.raises(InputError, match="of node 2 go from -8000 to -8900"):
        read(tmp_path, long([(clock, 2, -8000 - 300 * k) for k, clock in enumerate(CLOCKS)]))
    read(tmp_path, long([(clock, 1, wh) for clock, wh in zip(CLOCKS, (300, 400, 900, 1400), strict=True)]))


@pytest.mark.parametrize(
    ("traded", "meter", "asks"),
    [
        ([0, -300, -200, 0], [-400, -900, -500, -600], False),  # bought part of what it drew
        ([0, -300, -200, 0], [400, 900, 500, 600], True),  # the sign of its meter is turned
        ([0, 500, 200, 0], [-300, 900, 100, -600], False),  # sold at noon
        ([0, 500, 200, 0], [300, -900, -100, 600], True),
        ([0, 0, 0, 0], [300, -900, -100, 600], False),  # nothing to compare with
        ([0, 500, 200, 0], [-300, 700, -100, -600], False),  # the sun went early
    ],
)
def test_turnedSigns_areAskedAbout(traded: list[int], meter: list[int], asks: bool) -> None:
    one = Settled(Delivery(1, 4, 0, 0, tuple(meter)), tuple(traded), 0)
    if not asks:
        check_signs([one])
        return
    with pytest.raises(InputError, match=r"node 4 (sold|bought) 0\.\d00 kWh .* is the sign .*--accept sign"):
        check_signs([one])


def test_usDates_areNotTakenForOtherDays(tmp_path: Path) -> None:
    """Of 10 June in a file of several months with the month first."""
    rows = [f"{month}/10/2025 {clock},{100 * month}" for month in (6, 10) for clock in CLOCKS]
    rows += [f"6/{13}/2025 {clock},7" for clock in CLOCKS]
    assert read(tmp_path, "\n".join(["time,1", *rows])) == {1: [600] * 4}


def test_hour24_isAnEnd(tmp_path: Path) -> None:
    ends = [f"2025-06-10 {hour:02d}:00,{100 * hour}" for hour in (6, 12, 18, 24)]
    text = "\n".join(["time,1", *ends])
    with pytest.raises(InputError, match="'2025-06-10 24:00' is the end of what was counted: say --times end"):
        read(tmp_path, text)
    assert read(tmp_path, text, ends=True) == {1: [600, 1200, 1800, 2400]}


PLAN = np.array([-300.0, -200.0, 1500.0, 2600.0, 2400.0, -900.0, -1200.0, -400.0] * 3)
"""Wh fed in, a step: a home with PV."""


@pytest.mark.parametrize(
    ("read", "doubt"),
    [
        (-PLAN, "sign"),
        (4 * PLAN, "size"),  # mean powers in W, one each quarter of an hour
        (PLAN / 1000, "size"),
        (12_000 + np.cumsum(PLAN), "size"),  # a counter that runs back
        (0 * PLAN, "size"),
    ],
)
def test_readingsFarFromThePlan_areAskedAbout(read: NDArray[np.float64], doubt: str) -> None:
    energies = {1: [round(wh) for wh in PLAN], 2: [round(wh) for wh in read]}
    plans = {1: PLAN, 2: PLAN}
    with pytest.raises(InputError, match=rf"node 2\b.*--accept {doubt}"):
        check_plan(energies, plans)
    check_plan(energies, plans, {doubt})
    check_plan(energies, {1: PLAN})  # where no plan is public there is nothing to compare with


@given(st.lists(st.floats(-0.5, 1.0), min_size=24, max_size=24), st.floats(0.5, 2.0))
def test_anotherDayThanPlanned_isNotAskedAbout(more: list[float], weather: float) -> None:
    """People use half to twice what they planned, and their panels give so much."""
    read = weather * PLAN * (1 + np.array(more) / 4)
    check_plan({1: [round(wh) for wh in read]}, {1: PLAN})


def test_smallHomes_mayDoWhatTheyWant() -> None:
    """Twenty times a plan of half a kWh is a dinner."""
    check_plan({1: [-400] * 24}, {1: np.full(24, -20.0)})


class SeveralSuppliers:
    """A settlement of which five homes have readings: 1, 2 and 3 at one supplier, 4 and 5 at one each."""

    token = SimpleNamespace(decimals=lambda: 6, symbol=lambda: "tEUR")
    suppliers: ClassVar = {1: "a", 2: "a", 3: "a", 4: "b", 5: "c"}

    def __init__(self, free: dict[str, int], published: str = "abc", supplying: str = "") -> None:
        self._free, self._published, self._supplying = free, published, supplying

    def suppliers_of(self, round_: int, nodes: Iterable[int]) -> dict[int, str]:
        return {node: self.suppliers[node] for node in nodes}

    def published_tariff(self, round_: int, supplier: str) -> bytes | None:
        return encode_tariff([300_000], [100_000]) if supplier in self._published else None

    def tariffs_of(self, round_: int, nodes: Iterable[int]) -> dict[int, bytes]:
        return dict.fromkeys(nodes, encode_tariff([300_000], [100_000]))

    def recorded(self, round_: int) -> list[TradeRecord]:
        return []

    def free(self, account: str) -> int:
        return self._free.get(account, 0)

    def has_supplied(self, account: str) -> bool:
        return account in self._supplying


READ = {1: [1000], 2: [-1000], 3: [2000], 4: [500], 5: [-500]}
ACCOUNTS = {node: f"home {node}" for node in READ}
RICH = {"a": 300_000, "b": 50_000, "c": 0}


@pytest.mark.parametrize(
    ("settlement", "left_out"),
    [
        (SeveralSuppliers(RICH), {}),
        (SeveralSuppliers(RICH | {"a": 299_999}), {1: "more (`gridpact deposit add`)", 3: "pays 0.3 tEUR"}),
        (SeveralSuppliers(RICH | {"b": 0}), {4: "the supplier b pays 0.05 tEUR"}),
        (SeveralSuppliers(RICH, "ac"), {4: "supplier b published no tariff for round 7"}),
        (SeveralSuppliers(RICH, supplying="home 5"), {5: "let it deposit 0.15 tEUR more"}),
        (SeveralSuppliers(RICH | {"home 5": 150_000}, supplying="home 5"), {}),
    ],
)
def test_whatOneSupplierCannotSettle_keepsNoOtherWaiting(settlement: Any, left_out: dict[int, str]) -> None:
    settled, without = to_settle(settlement, 7, READ, ACCOUNTS)
    assert without.keys() == left_out.keys()
    assert all(why in without[node] for node, why in left_out.items())
    assert [one.delivery.node for one in settled] == sorted(READ.keys() - left_out.keys())


def test_whereNothingCanBeSettled_itIsSaid() -> None:
    with pytest.raises(InputError, match=r"reading of node 4 cannot be settled: the supplier b pays 0\.05 tEUR"):
        to_settle(SeveralSuppliers({}), 7, {4: [500]}, ACCOUNTS)  # type: ignore[arg-type]


def test_planOfAnOpenRound_isWhatEachPlans(tiny3: CommunityDay) -> None:
    """From the last copies, which everybody reads."""
    played = Played(tiny3, Scenario.TG)
    reports = played.play()
    plans = planned_wh(TwinLedger(played.twin, 1), played.number)
    assert plans.keys() == {1, 2, 3}
    for node, plan in plans.items():
        assert plan.tolist() == pytest.approx([6000 * kw for kw in reports[node].schedule["injection_kw"]], abs=30)


def test_planOfASealedRound_isNotKnown(tiny3: CommunityDay) -> None:
    played = Played(tiny3, Scenario.TG, sealed=True)
    played.play()
    assert planned_wh(TwinLedger(played.twin, 1), played.number) == {}


def test_endsOfSteps_areAskedAbout(tmp_path: Path) -> None:
    """Days that are whole only if times name ends were shifted by a step, without a word, where others stood around."""
    random = np.random.default_rng(1)
    first = datetime(2025, 6, 9)
    wh = random.integers(-900, 900, 72)
    rows = [f"{first + timedelta(hours=k + 1):%Y-%m-%d %H:%M},1,{value}" for k, value in enumerate(wh)]
    path = tmp_path / "readings.csv"
    path.write_text("\n".join(["time,node,Meter_Wh", *rows]))
    with pytest.raises(InputError, match="as ends of steps do; say --times end"):
        read_meters(path, HOURS, times_are_ends=None)
    assert read_meters(path, HOURS, times_are_ends=True) == {1: wh[24:48].tolist()}
    ranges = [f"{first + timedelta(hours=k):%Y-%m-%d %H:%M} - {first + timedelta(hours=k + 1):%Y-%m-%d %H:%M},1,{value}"
              for k, value in enumerate(wh)]  # fmt: skip
    path.write_text("\n".join(["time,node,meter_wh", *ranges]))
    assert read_meters(path, HOURS, times_are_ends=None) == {1: wh[24:48].tolist()}
    with pytest.raises(InputError, match="leave out --times end"):
        read_meters(path, HOURS, times_are_ends=True)


def test_wholeKilowattHours_areAskedAbout(tmp_path: Path) -> None:
    rows = [(f"{hour:02d}:00", 1, -(hour % 3)) for hour in range(24)]
    with pytest.raises(InputError, match="no reading is above 2 Wh; are they in kWh"):
        read(tmp_path, long(rows), HOURS)
