"""What a household plans with: its own coefficients against eqs. (26)-(29), and the market that comes of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.model import CommunityDay, Prices
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.market.admm.memory import negotiate
from gridpact.market.admm.parameters import Penalties
from gridpact.problem.baseline import baseline_net_kw, fallback
from gridpact.problem.coefficients import own_coefficients, own_partners, trading_coefficients
from gridpact.problem.local import Point
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.street_operator import StreetOperatorProblem
from gridpact.problem.view import node_views
from gridpact.service.forecast import Forecast, NoForecast
from gridpact.service.plan import own_prices, published_prices, view_of
from unit.market.admm.helpers import last_of
from unit.service.helpers import HOUSEHOLD, OPERATOR, settings_of

DAY = "2026-11-22"
LOAD = Forecast(DAY, {"load_kw": np.full(4, 0.5), "pv_kw": np.zeros(4)}, {})


def test_ownCoefficients_addUpToThoseOfTheReport(fontana: CommunityDay) -> None:
    """For each pair of a buyer and a seller, which neither needs the other's row for."""
    net = np.array([-household.net_load_kw for household in fontana.households])
    chi = 0.1
    report = trading_coefficients(net, chi)
    own = np.array([own_coefficients(row, chi) for row in net])
    assert own.min() >= 0, "else the household's problem is not convex"
    assert own.max() <= chi + 1e-12
    sums = own[:, None, :] + own[None, :, :]
    opposite = net[:, None, :] * net[None, :, :] < 0
    assert opposite.any()
    # Sums of a few numbers below 0.2: rounding only.
    np.testing.assert_allclose(sums[opposite], (report + report.transpose(1, 0, 2))[opposite], atol=1e-15)
    same = net[:, None, :] * net[None, :, :] > 0
    assert (sums[same] <= 2 * chi + 1e-12).all()


def test_partners_nameTheSameSteps() -> None:
    """Whatever the two forecasts are, as both know the tariff; a step without a margin is not worth a bid."""
    prices = Prices(np.array([0.2, 0.0, -0.1, 0.4]))
    (one,) = own_partners([2], np.array([1.0, -1.0, 0.0, 2.0]), prices, 0.1)
    (other,) = own_partners([1], np.array([-3.0, 0.0, 0.0, 0.0]), prices, 0.3)
    assert one.steps == other.steps == (0, 3)
    assert one.coefficient == pytest.approx([0.05, 0.0])


def test_tiny3_reachesItsOptimum(tiny3: CommunityDay) -> None:
    """docs/formulation.md works out by hand what the three can reach together: 3.60 EUR, which trades between two who
    both buy cannot better (what one saves the other pays)."""
    chi, penalties = tiny3.trading_coefficient, Penalties.of_community(tiny3, baseline_net_kw(tiny3))
    nodes, views = {1, 2, 3}, []
    for view, household in zip(node_views(tiny3, Scenario.T, NetworkAgreement.DSO), tiny3.households, strict=True):
        others = sorted(nodes - {view.node})
        views.append(replace(view, partners=own_partners(others, -household.net_load_kw, tiny3.prices, chi)))
    iterate = last_of(negotiate(views, penalties))
    plans = [agent.conclude().schedule for agent in iterate.agents.values()]
    bought = sum(tiny3.prices.import_price @ plan["import_kw"] for plan in plans)
    sold = sum(tiny3.prices.feed_in_price @ plan["feed_in_kw"] for plan in plans)
    assert tiny3.step_hours * (bought - sold) == pytest.approx(3.60, rel=2e-3)  # what the tolerances leave open


def test_view_ofAHousehold(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    forecast = Forecast(
        DAY, {"load_kw": np.full(4, 0.5), "pv_kw": np.array([0, 1.0, 1, 0])}, {"battery_start_kwh": 1.0}
    )
    view = view_of(settings, DAY, 6.0, forecast, Prices(np.full(4, 0.3)), frozenset({0, 1, 2, 3}))
    assert (view.parent, view.depth, view.children) == (0, 1, ())
    assert [partner.node for partner in view.partners] == [1, 2]
    home = view.household
    assert home is not None
    (battery,) = home.having(Battery)
    assert battery.start_kwh == 1.0
    assert battery.charge_efficiency == pytest.approx(0.9)
    (car,) = home.having(ElectricCar)
    assert car.plugged_in.tolist() == [True, False, False, True]
    assert home.load_kvar == pytest.approx(home.load_kw * np.tan(np.arccos(0.95)))


def test_view_ofAHouseholdInT(tmp_path: Path) -> None:
    settings = settings_of(tmp_path, HOUSEHOLD.replace('"tg"', '"t"'))
    view = view_of(settings, DAY, 6.0, LOAD, Prices(np.full(4, 0.3)), frozenset({1, 3}))
    assert (view.parent, view.depth) == (3, 0)


def test_view_ofTheGridConnection(tmp_path: Path) -> None:
    """Node 0 answers those of its feeder who are enrolled: the contract refuses a child that is not."""
    settings = settings_of(tmp_path, OPERATOR)
    view = view_of(settings, DAY, 6.0, None, Prices(np.full(4, 0.3)), frozenset({0, 1, 3, 7}))
    assert (view.parent, view.depth, view.children) == (0, 0, (1, 3))
    assert view.household is None
    assert view.feeder is not None


def test_operatorOfAStreet_answersThoseWhoAreEnrolled(tmp_path: Path) -> None:
    """Around a point; who is not enrolled gives nothing and takes nothing."""
    (tmp_path / "homes.csv").write_text("household,node,phases\nanna,1,1\nben,2,2\ncarl,3,3\n")
    settings = settings_of(tmp_path, f'{OPERATOR}homes = "homes.csv"\n')
    view = view_of(settings, DAY, 6.0, None, Prices(np.full(4, 0.3)), frozenset({0, 1, 3, 7}))
    assert view.children == (1, 3)
    problem = StreetOperatorProblem(view, lambda kw: np.rint(kw / 1e-3).astype(np.int64), 1e-3, {})
    wish = np.array([[2.0], [0.1], [-3.0], [0.0]]) * np.ones((1, 4))
    answer = problem.solve(Point(-wish, np.ones_like(wish), np.zeros(0), np.zeros(4)))
    np.testing.assert_allclose(answer.copies, wish, atol=0.05)  # but for what losses cost


@pytest.mark.parametrize(
    ("series", "numbers", "told"),
    [
        ({}, {}, "on 2026-11-22 there is no pv_kw"),
        ({"pv_kw": np.zeros(4)}, {"battery_start_kwh": 9.0}, "9 kWh in a battery of 6 kWh"),
        ({"pv_kw": np.zeros(4)}, {"car_energy_kwh": 30.0}, "the car needs 30 kWh, but can charge only 24 kWh"),
        ({"pv_kw": np.zeros(4), "car_plugged_in": np.zeros(4)}, {}, "can charge only 0 kWh"),
    ],
)
def test_forecast_thatDoesNotFit_isNamed(
    tmp_path: Path, series: dict[str, np.ndarray], numbers: dict[str, float], told: str
) -> None:
    forecast = Forecast(DAY, {"load_kw": np.full(4, 0.5)} | series, numbers)
    with pytest.raises(NoForecast) as caught:
        view_of(settings_of(tmp_path), DAY, 6.0, forecast, Prices(np.full(4, 0.3)), frozenset({0, 3}))
    assert told in str(caught.value)


def test_car_mayWantNothing(tmp_path: Path) -> None:
    forecast = Forecast(DAY, dict(LOAD.series), {"car_energy_kwh": 0.0})
    view = view_of(settings_of(tmp_path), DAY, 6.0, forecast, Prices(np.full(4, 0.3)), frozenset({0, 3}))
    assert view.household is not None
    assert not view.household.having(ElectricCar)


def test_publishedPrices() -> None:
    prices = published_prices([200_000, 400_001, -50_000], [100_000, 200_000, -50_000])
    assert prices.import_price.tolist() == [0.2, 0.400001, -0.05]
    assert prices.feed_in_price == pytest.approx([0.1, 0.2, -0.05], abs=2e-6)  # the tariff's own rounding
    fixed = published_prices([200_000, 400_000], [80_000, 80_000])
    assert fixed.feed_in_price.tolist() == [0.08, 0.08]
    with pytest.raises(NoForecast, match=r"pays 0\.3 for feed-in at step 0, more than import costs there"):
        published_prices([200_000], [300_000])


def test_feesOfTheGridOperator_areInThePlan(tmp_path: Path) -> None:
    """With a fee on peaks less is drawn at once; partners start from the same price as without fees."""
    load = [0.2, 0.2, 0.2, 0.2, 0.2, 0.2, 2.0, 0.2]
    told = {"load_kw": load, "pv_kw": [0.0] * 8}
    forecast = Forecast(DAY, {name: np.array(series) for name, series in told.items()}, {})
    views = {}
    for fees in ("", "traded_per_kwh = 0.05\npeak_per_kw = 0.5\n"):
        settings = settings_of(tmp_path, HOUSEHOLD.replace("import_price = 0.3\n", f"import_price = 0.3\n{fees}"))
        prices = own_prices(settings.tariff, 8, forecast)
        views[bool(fees)] = view_of(settings, DAY, 3.0, forecast, prices, frozenset({1, 2, 3}))
    peaks = {fees: float((-fallback(view)["injection_kw"]).max()) for fees, view in views.items()}
    assert peaks[True] < peaks[False] - 0.3
    assert views[True].prices.middle.tolist() == views[False].prices.middle.tolist()
    assert [p.steps for p in views[True].partners] == [p.steps for p in views[False].partners]
    assert views[True].prices.trade_fee is not None
    assert set(views[True].prices.trade_fee.tolist()) == {0.05}
