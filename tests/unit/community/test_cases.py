"""The shipped cases are what their descriptions say. The figures are those of the issue, not of the files."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar

FONTANA_DAYS = [f"06-{d}" for d in range(10, 17)] + [f"12-{d}" for d in range(21, 28)]


CASES = ["amsterdam16", "fontana16", "fontana16x3", "fontana16year", "stress16", "tiny3"]


def test_shippedCases_areSix() -> None:
    assert sorted(shipped_cases()) == CASES


@pytest.mark.parametrize("name", CASES)
def test_everyDay_hasWholeSeries(name: str) -> None:
    community = read_community(name)
    assert community.source
    assert community.licence
    for label in community.days:
        day = community.on(label)
        assert day.steps * day.step_hours == 24
        assert len(day.prices.import_price) == day.steps
        for household in day.households:
            for series in (household.load_kw, household.load_kvar, household.pv_kw):
                assert series.shape == (day.steps,)
                assert np.isfinite(series).all()
                assert (series >= 0).all()
            if not household.is_prosumer:
                assert not household.pv_kw.any()
        assert [household.node for household in day.households] == list(range(1, len(day.households) + 1))


def test_fontana16_isAsDescribed() -> None:
    community = read_community("fontana16")
    assert list(community.days) == FONTANA_DAYS
    homes = community.on("06-10").households
    assert len(homes) == 16
    assert [h.node for h in homes if h.is_prosumer] == [1, 2, 4, 5, 7, 9, 10, 12, 13, 16]
    assert [h.node for h in homes if h.having(Battery)] == [1, 2, 5, 9, 10, 12, 13]
    assert [h.node for h in homes if h.having(ElectricCar)] == [1, 3, 4, 7, 8, 10, 13, 16]
    for home in homes:
        for battery in home.having(Battery):
            assert (battery.capacity_kwh, battery.power_kw) == (6.4, 5.0)
            # the product of two square roots, within their rounding
            assert battery.charge_efficiency * battery.discharge_efficiency == pytest.approx(0.9, abs=1e-15)
        for car in home.having(ElectricCar):
            assert car.energy_kwh == 7
            assert np.flatnonzero(car.plugged_in).tolist() == [
                0,
                1,
                2,
                3,
                4,
                5,
                6,
                18,
                19,
                20,
                21,
                22,
                23,
            ]
    prices = np.concatenate([community.on(label).prices.import_price for label in community.days])
    assert (prices.min(), prices.max()) == (0.21, 0.54)


def test_fontana16year_hasTheDaysOfFontana16() -> None:
    year, weeks = read_community("fontana16year"), read_community("fontana16")
    for label in FONTANA_DAYS:
        mine, theirs = year.on(label), weeks.on(label)
        assert mine.prices.import_price.tolist() == theirs.prices.import_price.tolist()
        for one, other in zip(mine.households, theirs.households, strict=True):
            assert one.load_kw == pytest.approx(other.load_kw, abs=1e-4)  # what a meter gives for nothing is 0 here
            assert one.pv_kw.tolist() == other.pv_kw.tolist()
            assert one.having(Battery) == other.having(Battery)
            assert len(one.having(ElectricCar)) == len(other.having(ElectricCar))


def test_amsterdam16_isAsDescribed() -> None:
    community = read_community("amsterdam16")
    homes = community.on(community.days[0]).households
    assert len([h for h in homes if h.is_prosumer]) == 8
    assert len([h for h in homes if not h.is_prosumer]) == 8
    assert all(3 <= h.pv_kwp <= 4 for h in homes if h.is_prosumer)
    assert len([h for h in homes if h.having(Battery)]) == 5
    assert len([h for h in homes if h.having(ElectricCar)]) == 8
    for season, daily_kwh in (("2018-06", 9.0), ("2018-12", 10.5)):
        days = [label for label in community.days if label.startswith(season)]
        assert days[0].endswith("-21")
        assert len(days) >= 7
        # The shapes are scaled over the week; the values in the file have four significant digits.
        loads = [h.load_kw.sum() for label in days for h in community.on(label).households]
        assert np.mean(loads) == pytest.approx(daily_kwh, rel=0.15)


def test_feeder16_isAMainWithThreeLaterals(fontana: CommunityDay) -> None:
    assert fontana.feeder.parent == {k: k - 1 for k in range(1, 11)} | {
        11: 3,
        12: 11,
        13: 6,
        14: 13,
        15: 8,
        16: 15,
    }
    assert max(fontana.feeder.depth.values()) == 10
    # 45-75 m of 0.641 ohm/km
    resistances = [line.resistance_ohm for line in fontana.feeder.lines]
    assert min(resistances) >= 0.045 * 0.641 - 1e-12
    assert max(resistances) <= 0.075 * 0.641 + 1e-12
    assert {line.rating_a for line in fontana.feeder.lines} == {142.0}


def test_stress16_isFontanaOnALongerFeeder(fontana: CommunityDay) -> None:
    stress = read_community("stress16")
    assert list(stress.days) == [label for label in FONTANA_DAYS if label.startswith("12")]
    day = stress.on("12-22")
    for mine, theirs in zip(day.households, fontana.households, strict=True):
        assert mine.load_kw.tolist() == theirs.load_kw.tolist()
    ratios = [a.resistance_ohm / b.resistance_ohm for a, b in zip(day.feeder.lines, fontana.feeder.lines, strict=True)]
    assert ratios == pytest.approx([4 / 3] * 16, rel=0.5 / 60)  # 60-100 m for 45-75 m, in whole metres


def test_feeder_perUnit(tiny3: CommunityDay) -> None:
    """50 m of 0.641 + 0.08j ohm/km are 0.03205 + 0.004j ohm; the base is V^2 / S, 160 ohm for 1 kVA at 400 V."""
    feeder = tiny3.feeder
    assert feeder.base_ohm * feeder.base_kva == pytest.approx(160, rel=1e-12)  # rounding only, as below
    assert feeder.resistance_pu() * feeder.base_ohm == pytest.approx([0.03205] * 3, rel=1e-12)
    assert feeder.reactance_pu() * feeder.base_ohm == pytest.approx([0.004] * 3, rel=1e-12)
    assert tiny3.feeder.children == {0: (1,), 1: (2, 3), 2: (), 3: ()}
    assert tiny3.feeder.depth == {0: 0, 1: 1, 2: 2, 3: 2}


def test_tiny3_carWindow_spansMidnight(tiny3: CommunityDay) -> None:
    car = next(iter(tiny3.households[2].having(ElectricCar)), None)
    assert car is not None
    assert car.plugged_in.tolist() == [True, False, False, True]
