"""A supermarket's refrigeration from end to end: its physics against an integrator, and what follows of its row."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import solve_ivp

from gridpact.community.assigned import has, with_share
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.devices.device import DeviceError, Occasion
from gridpact.devices.refrigeration import Refrigeration
from gridpact.outcome.day import solve_day
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import parse_forecast
from gridpact.service.plan import household_of
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

SHOP = Refrigeration(12.0, 0.8, 6.0, 1.0, 5.0, 3.0, 20.0, 2.0, 2.5)
STATED = {name: getattr(SHOP, name) for name in Refrigeration.names()}
PRICES = [0.3, 0.1, 0.5, 0.4, 0.2, 0.25, 0.5, 0.3]


def alone(shop: Refrigeration, prices: list[float]) -> dict[str, Array]:
    """What a shop with nothing else plans for itself, eight steps of three hours."""
    zeros = [0.0] * len(prices)
    day = replace(community([household(1, zeros, zeros, devices=(shop,))], prices), step_hours=3.0)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    return fallback(view)


def lived(shop: Refrigeration, power_kw: Array, step_hours: float) -> Array:
    """Temperatures after each step by an integrator of the differential equation, (T,)."""
    level, path = shop.start_c, []
    for power in power_kw:

        def slope(_: float, goods: Array, taken: float = 2.5 * power) -> Array:
            return (0.8 * (20.0 - goods) + 2.0 - taken) / 6.0

        level = float(solve_ivp(slope, (0, step_hours), [level], rtol=1e-9, atol=1e-9).y[0, -1])
        path.append(level)
    return np.array(path)


def test_goodsAreAsColdAsTheDifferentialEquationSays() -> None:
    plan = alone(SHOP, PRICES)
    assert plan["goods_c"] == pytest.approx(lived(SHOP, plan["refrigeration_kw"], 3.0), abs=1e-4)
    assert plan["goods_c"].min() >= 1 - 1e-5
    assert plan["goods_c"].max() <= 5 + 1e-5
    assert plan["goods_c"][-1] == pytest.approx(3, abs=1e-4)  # no colder than it must


def test_coldIsStored_whenItIsCheap() -> None:
    prices = [0.5] * 8
    prices[1] = 0.01
    assert alone(SHOP, prices)["goods_c"][1] == pytest.approx(1.0, abs=1e-4)


@settings(max_examples=15, deadline=None)
@given(start=st.floats(-5, 20), power=st.floats(0.5, 20), capacity=st.floats(1, 40), heat=st.floats(0, 10))
def test_anyShop_hasAPlan_orIsRefusedInWords(start: float, power: float, capacity: float, heat: float) -> None:
    """Also one after a night without electricity, and one whose compressor is too small."""
    stated = STATED | {"start_c": start, "power_kw": power, "stored_kwh_per_k": capacity, "heat_kw": heat}
    shop = replace(SHOP, **stated)
    most = np.full(8, power)
    coldest = shop._path_c(most, 3.0)  # never stopped at the lowest
    if start <= 5 and coldest.max() > 5 + 1e-6:
        with pytest.raises(DeviceError, match="although the compressor runs with all its") as refused:
            Refrigeration.of(stated, Occasion(8, 3.0))
        assert refused.value.key == "power_kw"
        return
    assert Refrigeration.of(stated, Occasion(8, 3.0)) == shop
    goods = alone(shop, [0.2, 0.3] * 4)["goods_c"]
    reached = np.maximum.accumulate(goods <= 5 + 1e-4)
    assert (goods[reached] <= 5 + 1e-4).all()
    if start <= 5:
        assert reached.all()


@pytest.mark.parametrize(
    ("changes", "said"),
    [({"low_c": 6.0}, "is above high_c"), ({"shop_c": 4.0}, "keeps goods below"), ({"power_kw": 1.0}, "all its 1 kW")],
)
def test_whatCannotBe_isRefused(changes: dict[str, float], said: str) -> None:
    with pytest.raises(DeviceError, match=said):
        Refrigeration.of(STATED | changes, Occasion(8, 3.0))


def test_restOfTheDay_isTheDaysOwn() -> None:
    """What is left of a plan, planned anew as it was expected, costs what it did."""
    plan = alone(SHOP, PRICES)
    later = SHOP.rest(3, plan, {}, 3.0)
    assert later.start_c == pytest.approx(plan["goods_c"][2], abs=1e-4)
    again = alone(later, PRICES[3:])
    cost = np.dot(PRICES[3:], plan["refrigeration_kw"][3:])
    assert np.dot(PRICES[3:], again["refrigeration_kw"]) == pytest.approx(cost, abs=1e-3)


def test_agreement_keepsGoodsCold(tiny3: CommunityDay) -> None:
    """In a shop among homes, given by the share of households as the registry's row allows."""
    shops = with_share(tiny3, Refrigeration, 1 / 3, 1)
    assert sum(has(home, Refrigeration) for home in shops.households) == 1
    outcome = solve_day(shops, Scenario.T)
    assert outcome.failure is None
    assert outcome.checks_held
    (one,) = [home for home in outcome.households if "goods_c" in home.schedule]
    assert "refrigeration 15 kW" in one.assets
    assert one.schedule["goods_c"].max() <= 5 + 1e-3
    assert one.schedule["goods_c"].min() >= 1 - 1e-3


def test_service_plansIt(tmp_path: Path) -> None:
    toml = HOUSEHOLD + "\n[refrigeration]\npower_kw = 15\nloss_kw_per_k = 0.8\nstored_kwh_per_k = 6\n"
    stated = settings_of(tmp_path, toml)
    told = {"day": "2026-11-22", "load_kw": [0.5] * 4, "pv_kw": [0] * 4, "refrigeration_start_c": 4}
    forecast = parse_forecast(json.dumps(told), "it", "2026-11-22", 4)
    assert stated.home is not None
    home = household_of(stated, stated.home, 6.0, forecast, Prices(np.full(4, 0.3)))
    (shop,) = home.having(Refrigeration)
    assert (shop.start_c, shop.high_c, shop.cop) == (4, 5, 2.5)
