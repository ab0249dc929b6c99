"""An appliance in plans, files and days, against all the ways in which it could have run."""

from __future__ import annotations

import itertools
import json
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.read import read_community, shipped_cases
from gridpact.devices.appliance import Appliance
from gridpact.devices.device import DeviceError, Occasion, Outlook
from gridpact.devices.price_model import PriceModel
from gridpact.errors import InputError
from gridpact.node.household_file import read_view, write_view
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.forecast import NoForecast, parse_forecast
from gridpact.service.plan import household_of
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif import uncertainty
from gridpact.study.whatif.delivery import Recourse, Terms, deliver
from gridpact.study.whatif.forecast import ErrorModel, draw
from gridpact.study.whatif.realised import UncertaintySettings, actual_of
from gridpact.study.whatif.rules import Rule
from unit.problem.helpers import community, household
from unit.service.helpers import HOUSEHOLD, settings_of

STATED = {
    "power_kw": 2.0, "hours": 6.0, "from": 3 * 60.0, "to": 24 * 60.0, "in_parts": 0.0, "at_once": 0.0,
    "price_most": 0.0, "by_table": 0.0,
}  # fmt: skip
CHEAP_LATE = [0.3, 0.3, 0.5, 0.4, 0.2, 0.3, 0.1, 0.2]  # by three hours


def appliance_of(outlook: Outlook | None, series: dict[str, Array] | None = None, **changes: float) -> Appliance:
    steps = 8 if outlook is None else len(outlook.net_load_kw)
    found = Appliance.of(STATED | changes, Occasion(steps, 24 / steps, series or {}, outlook=outlook))
    assert found is not None
    return found


def outlook_of(prices: Sequence[float], net_load: Sequence[float] | None = None) -> Outlook:
    kappa = np.array(prices, dtype=float)
    return Outlook(kappa, kappa / 2, np.ones(len(kappa)) if net_load is None else np.array(net_load, dtype=float))


def ways(window: Sequence[int], steps: int, in_parts: bool) -> Iterator[tuple[int, ...]]:
    for chosen in itertools.combinations(window, steps):
        if in_parts or chosen[-1] - chosen[0] == steps - 1:
            yield chosen


@given(
    prices=st.lists(st.floats(0.05, 0.6), min_size=8, max_size=8),
    load=st.lists(st.floats(0, 3), min_size=8, max_size=8),
    pv=st.lists(st.floats(0, 6), min_size=8, max_size=8),
    hours=st.integers(1, 21),
    in_parts=st.booleans(),
)
@settings(max_examples=60, deadline=None)
def test_run_isThatOfTheLeastBill(
    prices: list[float], load: list[float], pv: list[float], hours: int, in_parts: bool
) -> None:
    net = np.array(load) - np.array(pv)
    device = appliance_of(outlook_of(prices, net.tolist()), hours=hours, in_parts=float(in_parts))
    kappa = np.array(prices)

    def bill(runs: Array) -> float:
        drawn = net + device.power_kw * runs
        return float(3 * np.sum(kappa * np.maximum(drawn, 0) - kappa / 2 * np.maximum(-drawn, 0)))

    least = min(bill(np.isin(np.arange(8), way)) for way in ways(range(1, 8), int(device.needed), in_parts))
    assert bill(device.runs) == pytest.approx(least, abs=1e-6)
    assert 3 * device.power_kw * device.runs.sum() == pytest.approx(2.0 * hours)


def test_plan_hasTheRun_asALoad() -> None:
    device = appliance_of(outlook_of(CHEAP_LATE))
    day = community([household(1, [1.0] * 8, [0.0] * 8, devices=(device,))], CHEAP_LATE)
    (view,) = node_views(day, Scenario.B, NetworkAgreement.DSO)
    plan = fallback(view)
    assert plan["appliance_kw"] == pytest.approx([0, 0, 0, 0, 0, 0, 2, 2], abs=1e-6)  # 0.1 and 0.2, in a row
    assert plan["injection_kw"] == pytest.approx(-1 - plan["appliance_kw"], abs=1e-6)


@pytest.mark.parametrize(
    ("changes", "runs"),
    [
        ({"at_once": 1.0}, [1, 2]),
        ({"in_parts": 1.0, "hours": 9.0}, [4, 6, 7]),
        ({"price_most": 0.31}, [3, 4]),  # 0.3 on average, the first pair that is no dearer
        ({"price_most": 0.05}, [6, 7]),  # at the end in any case
        ({"price_most": 0.31, "in_parts": 1.0}, [1, 4]),
    ],
)
def test_patterns(changes: dict[str, float], runs: list[int]) -> None:
    assert np.flatnonzero(appliance_of(outlook_of(CHEAP_LATE), **changes).runs).tolist() == runs


def test_sameprice_isRunAtTheStart() -> None:
    assert np.flatnonzero(appliance_of(outlook_of([0.3] * 8)).runs).tolist() == [1, 2]


def test_toldPrice_countsInPlaceOfTheTariff() -> None:
    told = np.array([0.1, 0.4, 0.1, 0.1, 0.5, 0.5, 0.5, 0.5])
    device = appliance_of(outlook_of(CHEAP_LATE), {"expected_price": told}, by_table=1.0)
    assert np.flatnonzero(device.runs).tolist() == [2, 3]


def test_rest_isDecidedAnew() -> None:
    """It was to run at the end, and has not run by step 4; one that has begun goes on; what a meter tells counts."""
    device = appliance_of(outlook_of(CHEAP_LATE))
    nothing = {"appliance_kw": np.zeros(8)}
    assert np.flatnonzero(device.rest(4, nothing, {}, 3.0).runs).tolist() == [2, 3]
    sooner = appliance_of(outlook_of([*CHEAP_LATE[:4], 0.1, 0.1, 0.4, 0.4]))  # the same by another forecast
    assert np.flatnonzero(sooner.rest(4, nothing, {}, 3.0).runs).tolist() == [0, 1]
    begun = {"appliance_kw": np.array([0, 0, 0, 2.0, 0, 0, 0, 0])}
    later = device.rest(4, begun, {}, 3.0)
    assert np.flatnonzero(later.runs).tolist() == [0]
    assert np.flatnonzero(later.rest(0, nothing, {}, 3.0).runs).tolist() == [0]
    assert np.flatnonzero(later.rest(1, {"appliance_kw": np.full(4, 2.0)}, {}, 3.0).runs).tolist() == []
    assert device.rest(4, nothing, {}, 3.0, level=3.0).runs.sum() == 1
    assert device.rest(4, nothing, {}, 3.0, level=99.0).runs.sum() == 4  # what is left of the window


def test_gate_isDecidedByTheHurdle() -> None:
    """One step of two that are left: the next costs 0.2, as the last is forecast to. That may come to 0.1 or 0.3, so
    waiting is worth no more than 0.2; where it may come to less, it is waited for."""
    even = PriceModel(1.0, 0.0, 1.0, np.arcsinh([0.1, 0.3]) - np.arcsinh(0.2))
    cheap = PriceModel(1.0, 0.0, 1.0, np.arcsinh([0.1, 0.25]) - np.arcsinh(0.2))
    nothing = {"appliance_kw": np.zeros(8)}
    for model, runs in ((even, [0]), (cheap, [1]), (None, [0])):
        day = Occasion(8, 3.0, outlook=outlook_of([0.5] * 6 + [0.2, 0.2]), price_model=model)
        device = Appliance.of(STATED | {"hours": 3.0, "in_parts": 1.0}, day)
        assert device is not None
        assert np.flatnonzero(device.rest(6, nothing, {}, 3.0).runs).tolist() == runs


def test_service_learnsPricesFromHistory(tmp_path: Path) -> None:
    toml = HOUSEHOLD.replace("[service]", 'prices = "prices.csv"\n\n[service]') + (
        '\n[appliance]\npower_kw = 1\nhours = 6\nfrom = "00:00"\nto = "24:00"\nin_parts = 1\nby_table = 1\n'
    )
    told = {"day": "2026-11-22", "load_kw": [0.5] * 4, "pv_kw": [0] * 4, "expected_price": [0.4, 0.3, 0.2, 0.3]}
    forecast = parse_forecast(json.dumps(told), "it", "2026-11-22", 4)
    (tmp_path / "prices.csv").write_text("forecast,price\n" + "0.2,0.1\n0.2,0.3\n" * 12, encoding="utf-8")
    stated = settings_of(tmp_path, toml)
    assert stated.home is not None
    home = household_of(stated, stated.home, 6.0, forecast, Prices(np.full(4, 0.3)))
    (device,) = home.having(Appliance)
    assert np.flatnonzero(device.runs).tolist() == [2]
    assert device.model is not None
    assert device.model.outcomes(0.2).reshape(12, 2).mean(axis=0) == pytest.approx([0.1, 0.3])
    (tmp_path / "prices.csv").write_text("forecast,price\n0.2,0.1\n", encoding="utf-8")
    with pytest.raises(NoForecast, match=r"\[forecast\] prices: a history of 1 prices is too short"):
        household_of(stated, stated.home, 6.0, forecast, Prices(np.full(4, 0.3)))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"from": 20 * 60.0, "to": 7 * 60.0}, "may run from 20:00 has to be done later on the same day, not at 07:00"),
        ({"hours": 22.0}, "needs 22 h, and has 21 h in whole steps from 03:00 to 24:00"),
        ({"in_parts": 0.5}, "0.5 is neither 0 nor 1"),
        ({"at_once": 1.0, "price_most": 0.2}, "waits for no price"),
        ({"by_table": 1.0}, "there is no expected_price, and the appliance runs by it"),
    ],
)
def test_whatCannotBe_isOneSentence(changes: dict[str, float], says: str) -> None:
    with pytest.raises(DeviceError, match=says):
        appliance_of(None, **changes)


# ---------------------------------------------------------------------- files

TABLE = """household,appliance_kw,appliance_hours,appliance_from,appliance_to,appliance_in_parts
ann,1,6,00:00,24:00,
bob,2,6,00:00,24:00,
cem,0.5,12,06:00,24:00,1
"""


def tiny_with(folder: Path, table: str) -> Path:
    case = shutil.copytree(shipped_cases()["tiny3"].parent, folder / "case")
    (case / "appliances.csv").write_text(table, encoding="utf-8")
    with (case / "community.toml").open("a", encoding="utf-8") as toml:
        toml.write('\n[files]\nappliance = "appliances.csv"\n')
    return case


@pytest.fixture
def washing(tmp_path: Path) -> CommunityDay:
    """The case `tiny3` with three appliances; steps of six hours."""
    return read_community(str(tiny_with(tmp_path, TABLE))).on("1")


def test_communityFile_hasAppliances(washing: CommunityDay, tmp_path: Path) -> None:
    ann, bob, cem = (home.having(Appliance)[0] for home in washing.households)
    assert np.flatnonzero(ann.runs).tolist() == [0]  # cheap, and the first of those
    assert np.flatnonzero(bob.runs).tolist() == [2]  # its panels have over what is cheapest to feed in
    assert np.flatnonzero(cem.runs).tolist() == [1, 2]  # in parts, from 06:00 on; both later steps are cheap or dear
    for view in node_views(washing, Scenario.T, NetworkAgreement.DSO)[1:]:
        write_view(view, tmp_path / "view.json")
        before, after = view.household, read_view(tmp_path / "view.json").household
        assert before is not None
        assert after is not None
        (one,), (other,) = before.having(Appliance), after.having(Appliance)
        assert one.job == other.job
        np.testing.assert_array_equal(one.runs, other.runs)
        np.testing.assert_array_equal(one.window, other.window)


def test_communityTable_tellsWhatToExpect(tmp_path: Path) -> None:
    """It tells of dear nights, which only ann looks at; and it is asked for where it is not there."""
    header, ann, *others = TABLE.splitlines()
    case = tiny_with(tmp_path, "\n".join([f"{header},appliance_by_table", f"{ann},1", *(f"{one}," for one in others)]))
    with pytest.raises(InputError, match=r"expected_price\.csv"):
        read_community(str(case))
    prices = [f"1 {hour:02d}:00,{price}" for hour, price in ((0, 0.9), (6, 0.1), (12, -0.2), (18, 0.9))]
    (case / "expected_price.csv").write_text("\n".join(["time,expected_price", *prices]) + "\n", encoding="utf-8")
    day = read_community(str(case)).on("1")
    runs = [np.flatnonzero(home.having(Appliance)[0].runs).tolist() for home in day.households]
    assert runs == [[2], [2], [1, 2]]
    drawn = draw(day, ErrorModel(), np.random.default_rng(1))
    assert drawn.series[0][0]["runs"].tolist() == [0, 0, 1, 0]


def test_complaint_namesRowAndColumn(tmp_path: Path) -> None:
    wrong = TABLE.replace("bob,2,6,00:00,24:00", "bob,2,6,08:00,24:00").replace("bob,2,6", "bob,2,18")
    case = tiny_with(tmp_path, wrong)
    with pytest.raises(InputError, match=r"appliances.csv, row 3, column 'appliance_hours': of 'bob': the appliance"):
        read_community(str(case))


# ---------------------------------------------------------------------- the day itself


def sunny(in_parts: bool, steps: int = 12) -> CommunityDay:
    """A home whose panels may have something over at noon, or not."""
    hours = np.arange(steps) * 24 / steps
    pv = 3.0 * np.maximum(np.cos((hours - 12) / 24 * 2 * np.pi), 0)
    load = [1.2] * steps
    device = appliance_of(outlook_of([0.3] * steps, (load - pv).tolist()), hours=4.0, in_parts=float(in_parts))
    return community([household(1, load, pv.tolist(), devices=(device,))], [0.3] * steps)


@pytest.mark.parametrize("in_parts", [True, False])
def test_decidedAnew_costsLessThanThePlan(in_parts: bool) -> None:
    """Over many days the meter reads what is cheaper than the steps that were best by forecast."""
    day, model = sunny(in_parts), ErrorModel(load=0.6, pv=0.6, correlation=0.5)
    home = day.households[0]
    (device,) = home.having(Appliance)
    random, saved = np.random.default_rng(2), []
    for _ in range(60):
        reality = draw(day, model, random)
        runs = reality.series[0][1]["runs"]
        assert runs.sum() == device.needed
        assert not runs[~device.window].any()
        if not in_parts:
            assert np.ptp(np.flatnonzero(runs)) == device.needed - 1
        price = Outlook(
            day.prices.import_price, day.prices.feed_in_price, reality.load_kw[0] - reality.pv_kw[0]
        ).price_of(device.power_kw)
        saved.append(float(price @ device.runs - price @ runs))
    assert np.mean(saved) > 2 * np.std(saved) / len(saved) ** 0.5


def test_everyDelivery_runsItOnce(washing: CommunityDay) -> None:
    """Devices as planned, or each step decided anew: what the meter reads is the load and one whole run."""
    model = ErrorModel(cars=False)
    reality = draw(washing, model, np.random.default_rng([4, 0, 0]))
    ann = washing.households[0]
    actual = actual_of(washing, 0, reality, model)
    (device,), (realised,), (guessed,) = ann.devices, actual.realised, actual.guesses
    assert isinstance(device, Appliance)
    assert realised["runs"].sum() == device.needed
    assert (guessed["runs"].sum(axis=1) == device.needed).all()
    nothing = np.zeros(washing.steps)
    terms = Terms(washing.prices, nothing, nothing, 0.05, 1.0)
    planned = {"appliance_kw": device.power_kw * device.runs}
    for recourse, runs in zip(Recourse, (device.runs, realised["runs"], realised["runs"]), strict=True):
        ended = deliver(ann, planned, actual, terms, recourse, washing.step_hours)
        np.testing.assert_allclose(ended.injection_kw, -actual.load_kw - device.power_kw * runs, atol=1e-6)


def test_dayAgreedAnew_hasAppliances(washing: CommunityDay, tmp_path: Path) -> None:
    plans = uncertainty.plan_days([washing], Scenario.T, tmp_path, HERE)
    rules, model = (Rule.TODAY, Rule.REAGREED), ErrorModel(cars=False)
    chosen = UncertaintySettings(Scenario.T, model, recourses=(Recourse.ROLLING,), draws=1, rules=rules, seed=4)
    lived = uncertainty.live_through(plans, chosen, tmp_path, HERE)
    assert (lived.rounds(None).kept, len(lived.rounds(None).iterations)) == (0, washing.steps - 1)
    assert [one.name for one in lived.rules] == ["today", "reagreed"]
