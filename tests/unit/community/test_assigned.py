"""Other shares and sizes of devices: nested, seeded, and the case itself where nothing is changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.assigned import (
    VARIED,
    Typical,
    has,
    order_of,
    with_battery_size,
    with_line_impedance,
    with_share,
)
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.building import PublicBuilding
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.heat_pump import HeatPump
from gridpact.devices.pv import Panels
from gridpact.devices.registry import in_order
from gridpact.errors import InputError


@pytest.fixture(scope="module")
def fontana() -> CommunityDay:
    """With a heat pump and a public building at its first home: what others would have is known from those that are
    there."""
    day = read_community("fontana16").on("06-10")
    pump = HeatPump(2.0, 0.15, 8.0, 19.0, 22.0, 20.0, 0.3, 35.0, 0.45, np.full(24, 8.0))
    open_by_day = (np.arange(24) >= 8) & (np.arange(24) < 18)
    outdoor_c = np.full(24, 8.0)
    hall = PublicBuilding(20.0, 1.0, 20.0, 19.0, 23.0, 20.0, 1.5, 12.0, 5.0, 40.0, 0.45, open_by_day, outdoor_c)
    first, *others = day.households
    return replace(day, households=(replace(first, devices=in_order((*first.devices, pump, hall))), *others))


def owners(community: CommunityDay, device: type[Device]) -> set[str]:
    return {home.name for home in community.households if has(home, device)}


@pytest.mark.parametrize("device", VARIED.values(), ids=VARIED)
def test_higher_shares_contain_lower_ones(fontana: CommunityDay, device: type[Device]) -> None:
    before: set[str] = set()
    for k in range(17):
        now = owners(with_share(fontana, device, k / 16, seed=5), device)
        assert len(now) == k
        assert before <= now
        before = now


@pytest.mark.parametrize("device", VARIED.values(), ids=VARIED)
def test_own_share_is_the_case_itself(fontana: CommunityDay, device: type[Device]) -> None:
    share = len(owners(fontana, device)) / 16
    for seed in (1, 2):
        assert with_share(fontana, device, share, seed).households == fontana.households


@pytest.mark.parametrize("device", VARIED.values(), ids=VARIED)
def test_order_depends_on_the_seed_alone(fontana: CommunityDay, device: type[Device]) -> None:
    assert order_of(fontana, device, 1) == order_of(fontana, device, 1)
    assert len({tuple(order_of(fontana, device, seed)) for seed in range(5)}) > 1
    assert sorted(order_of(fontana, device, 1)) == list(range(16))


def test_what_a_household_gets(fontana: CommunityDay) -> None:
    everybody = with_share(with_share(with_share(fontana, Panels, 1, 1), Battery, 1, 1), ElectricCar, 1, 1)
    home = everybody.households[5]  # had nothing
    producers = [h for h in fontana.households if h.is_prosumer]
    assert home.pv_kwp == 4.5  # five of ten have 4 kWp, five 5
    mean = np.mean([h.pv_kw / h.pv_kwp for h in producers], axis=0)
    np.testing.assert_allclose(home.pv_kw, 4.5 * mean)
    assert home.inverter_kvar == pytest.approx(0.44 * 4.5)
    assert home.having(Battery)[0] == next(h.having(Battery)[0] for h in fontana.households if h.having(Battery))
    assert [car.energy_kwh for car in home.having(ElectricCar)] == [7]
    nobody = with_share(everybody, Panels, 0, 1)
    assert not any(h.is_prosumer or h.inverter_kvar or h.pv_kw.any() for h in nobody.households)
    assert all(h.having(Battery) and h.having(ElectricCar) for h in nobody.households)


def test_communities_without_a_device_get_stated_ones(fontana: CommunityDay) -> None:
    bare = fontana
    for device in (Battery, ElectricCar):
        bare = with_share(bare, device, 0, 1)
    devices = Typical.of(bare).devices
    battery, car = devices[Battery], devices[ElectricCar]
    assert isinstance(battery, Battery)
    assert isinstance(car, ElectricCar)
    assert (battery.capacity_kwh, battery.power_kw) == (5.0, 2.5)
    assert (car.energy_kwh, car.power_kw) == (7.0, 3.7)
    np.testing.assert_array_equal(np.flatnonzero(~car.plugged_in), np.arange(7, 18))
    without_sun = with_share(bare, Panels, 0, 1)
    with pytest.raises(InputError, match="'fontana16' has no PV on 06-10"):
        with_share(without_sun, Panels, 0.5, 1)
    assert with_share(without_sun, Panels, 0, 1).households == without_sun.households


def test_shares_out_of_range(fontana: CommunityDay) -> None:
    with pytest.raises(InputError, match=r"between 0 and 1, not 1\.5"):
        with_share(fontana, ElectricCar, 1.5, 1)


def test_battery_size_and_line_impedance(fontana: CommunityDay) -> None:
    (twice,) = with_battery_size(fontana, 2).households[0].having(Battery)
    assert (twice.capacity_kwh, twice.power_kw, twice.start_kwh) == (12.8, 10.0, 6.4)
    assert not owners(with_battery_size(fontana, 0), Battery)
    assert with_battery_size(fontana, 1).households == fontana.households
    line, before = with_line_impedance(fontana, 3).feeder.lines[4], fontana.feeder.lines[4]
    assert line == replace(before, resistance_ohm=3 * before.resistance_ohm, reactance_ohm=3 * before.reactance_ohm)
