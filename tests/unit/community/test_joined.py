"""Days in one horizon: what is of a day by itself, and what is carried over midnight."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.aggregator.portfolio import Control, position
from gridpact.community.assigned import with_share
from gridpact.community.grown import in_half_hours
from gridpact.community.joined import joined
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.refrigeration import Refrigeration
from gridpact.errors import InputError


def days(case: str, *names: str) -> list[CommunityDay]:
    return [in_half_hours(read_community(case).on(day)) for day in names]


def cost(community: CommunityDay) -> float:
    """Of all homes behind one contract, without a feeder."""
    imported = position(community, Control.DIRECT).import_kw
    return community.step_hours * float(community.prices.paid(imported).sum())


def test_series_areOneAfterTheOther_andOneDayIsItself() -> None:
    first, second = days("winter16x3", "2018-12-21", "2018-12-22")
    both = joined([first, second])
    assert (both.day, both.steps) == ("2018-12-21, 2018-12-22", 96)
    np.testing.assert_array_equal(both.prices.import_price[48:], second.prices.import_price)
    for k, home in enumerate(both.households):
        np.testing.assert_array_equal(home.load_kw[:48], first.households[k].load_kw)
        np.testing.assert_array_equal(home.pv_kw[48:], second.households[k].pv_kw)
        for pump, later in zip(home.having(HeatPump), second.households[k].having(HeatPump), strict=True):
            np.testing.assert_array_equal(pump.outdoor_c[48:], later.outdoor_c)
    assert joined([first]) is first


def test_carsHaveTheirEnergyOnEachDay() -> None:
    first, second = days("fontana16x3", "06-10", "06-11")
    both = joined([first, second])
    for home, one in zip(both.households, first.households, strict=True):
        assert len(home.having(ElectricCar)) == 2 * len(one.having(ElectricCar))
        for car, day in zip(home.having(ElectricCar), (slice(0, 48), slice(48, 96)), strict=False):
            outside = np.ones(96, dtype=bool)
            outside[day] = False
            assert not car.plugged_in[outside].any()
            assert car.energy_kwh == one.having(ElectricCar)[0].energy_kwh


def test_storesCarryOverMidnight() -> None:
    """The second day is dear until it is light: with a battery that is full at midnight it costs less, by what the
    battery holds at most, and never more than day by day."""
    first, second = days("fontana16x3", "06-10", "06-11")
    first, second = (with_share(with_share(day, Refrigeration, 0.1, 1), Battery, 0.5, 1) for day in (first, second))
    price = second.prices.import_price.copy()
    price[:12] *= 3
    dear = replace(second, prices=replace(second.prices, import_price=price))
    apart, both = cost(first) + cost(dear), cost(joined([first, dear]))
    held = sum(one.capacity_kwh for home in first.households for one in home.having(Battery))
    assert both < apart - 0.01 * apart
    assert apart - both <= 1.5 * held * price.max()


def test_otherDevices_areRefused() -> None:
    first, second = days("fontana16x3", "06-10", "06-11")
    with pytest.raises(InputError, match="plan days apart"):
        joined([first, with_share(second, Battery, 0.0, 1)])
    with pytest.raises(InputError, match="has other homes"):
        joined([first, replace(second, households=second.households[1:])])


@pytest.mark.parametrize(
    ("names", "follow"),
    [
        (("06-10", "06-11"), True),
        (("06-30", "07-01"), True),
        (("12-31", "01-01"), True),
        (("02-28", "03-01"), True),
        (("2018-12-31", "2019-01-01"), True),
        (("monday", "tuesday"), True),  # nobody knows
        (("06-10", "06-12"), False),
        (("06-11", "06-10"), False),
        (("02-28", "03-02"), False),
        (("2019-02-28", "2019-03-02"), False),
        (("2018-12-31", "2018-01-01"), False),
    ],
)
def test_daysThatDoNotFollowEachOther_areNotJoined(names: tuple[str, str], follow: bool) -> None:
    (one,) = days("fontana16x3", "06-10")
    both = [replace(one, day=name) for name in names]
    if follow:
        assert joined(both).steps == 2 * one.steps
    else:
        with pytest.raises(InputError, match=f"{names[1]} does not follow {names[0]}, .* or plan days apart"):
            joined(both)
