"""The day that is agreed anew while it runs, on tiny3."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.devices.battery import Battery
from gridpact.devices.boiler import Boiler
from gridpact.devices.car import ElectricCar
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif import realised, uncertainty
from gridpact.study.whatif.delivery import Actual, Recourse, Terms
from gridpact.study.whatif.forecast import ErrorModel, draw
from gridpact.study.whatif.reagreement import ReAgreed, re_agreement_steps, through_the_day
from gridpact.study.whatif.rules import Rule

CERTAIN = ErrorModel(load=0, pv=0, cars=False)


def played(
    community: CommunityDay, scenario: Scenario, model: ErrorModel, number: int | None = None, above: float = 0.0
) -> ReAgreed:
    reality = draw(community, model, np.random.default_rng(3))
    actual = [realised.actual_of(community, row, reality, model) for row in range(len(community.households))]
    nothing = np.zeros(community.steps)
    terms = Terms(community.prices, nothing, nothing, 0.05, 1.0)
    return through_the_day(community, scenario, actual, terms, re_agreement_steps(community, number), above)


def test_reAgreementSteps_areSpreadEvenly():
    """Where the price hardly rises: on this day by 0.01 in an hour at most, of 0.19."""
    day = read_community("amsterdam16").on("2018-06-21")
    assert re_agreement_steps(day, None) == tuple(range(1, 24))
    assert re_agreement_steps(day, 99) == tuple(range(1, 24))
    assert re_agreement_steps(day, 1) == (12,)
    assert re_agreement_steps(day, 3) == (6, 12, 18)
    flat = replace(day, prices=replace(day.prices, import_price=np.zeros(24)))
    assert re_agreement_steps(flat, 2) == (8, 16)


@pytest.mark.parametrize(
    ("rise", "number", "gates"),
    [(15, 1, (12,)), (15, 2, (12, 16)), (15, 4, (5, 12, 14, 19)), (20, 1, (17,)), (2, 2, (8, 16)), (4, 2, (1, 16))],
)
def test_reAgreementSteps_areInTimeForARise(rise: int, number: int, gates: tuple[int, ...]):
    """One of them is three hours before the price rises most, where that is within the day, and none is moved else."""
    day = read_community("fontana16").on("06-10")
    price = np.where(np.arange(24) < rise, 0.2, 0.4)
    price[0] = 0.35  # what falls is no rise
    assert re_agreement_steps(replace(day, prices=replace(day.prices, import_price=price)), number) == gates


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG, Scenario.G])
def test_aDayAsForecast_isNotChangedByAgreeingAnew(tiny: CommunityDay, finished: Path, scenario: Scenario):
    plans = uncertainty.plan_days([tiny], scenario, finished, HERE)
    settings = realised.UncertaintySettings(
        scenario, CERTAIN, recourses=(Recourse.ROLLING,), draws=1, rules=(Rule.REAGREED, Rule.HINDSIGHT)
    )

    lived = uncertainty.live_through(plans, settings, finished, HERE)

    assert lived.rounds(None).kept == 0
    assert len(lived.rounds(None).iterations) == tiny.steps - 1
    for rule in lived.rules:
        assert rule.median == pytest.approx(lived.planned_saving, abs=0.01)
    assert lived.rules[1].re_agreements == 0


@pytest.mark.parametrize("scenario", [Scenario.T, Scenario.TG])
@pytest.mark.parametrize("number", [1, None])
def test_positions_cancelAndSoDoTheirPayments(tiny: CommunityDay, scenario: Scenario, number: int | None):
    day = played(tiny, scenario, ErrorModel(), number)

    assert day.course.sold_kw.sum(axis=0) == pytest.approx(np.zeros(tiny.steps), abs=1e-9)
    assert day.course.paid.sum() == pytest.approx(0, abs=1e-9)
    assert np.abs(day.course.sold_kw).sum() > 0
    wh = 1000 * tiny.step_hours * np.concatenate(list(day.course.positions_kw.values()))
    np.testing.assert_allclose(wh, np.rint(wh), atol=1e-6)  # as they are recorded


def test_goingOn_takesFewerIterationsThanTheDayBefore(tiny: CommunityDay, finished: Path):
    plans = uncertainty.plan_days([tiny], Scenario.TG, finished, HERE)

    day = played(tiny, Scenario.TG, ErrorModel())

    assert max(day.iterations) < plans[0].planned.iterations


@pytest.mark.parametrize("more_kw", [40.0, 80.0, 150.0])
def test_restWithoutAPlanWithinTheLimits_isAgreedOnSoonAllTheSame(tiny: CommunityDay, more_kw: float):
    """A load that no cable carries, from step 2 on, and nothing that could give way: the others' trades are agreed on,
    and the home draws what it draws."""
    actual = unforeseen(tiny, node=3, first=1, more_kw=more_kw)
    nothing = np.zeros(tiny.steps)

    day = through_the_day(tiny, Scenario.TG, actual, Terms(tiny.prices, nothing, nothing, 0.05, 1.0), (2,))

    assert day.kept == 0
    assert max(day.iterations) <= 25
    assert day.delivered[2].injection_kw[2] <= -more_kw


def unforeseen(community: CommunityDay, node: int, first: int, more_kw: float) -> list[Actual]:
    """All as forecast, but that a home's load is larger from a step on, and expected to stay so."""
    reality = draw(community, CERTAIN, np.random.default_rng(1))
    actual = [realised.actual_of(community, row, reality, CERTAIN) for row in range(len(community.households))]
    own, more = actual[node - 1], np.where(np.arange(community.steps) >= first, more_kw, 0.0)
    guess = own.guess_load_kw.copy()
    guess[first:] += more
    actual[node - 1] = replace(own, load_kw=own.load_kw + more, guess_load_kw=guess)
    return actual


def test_restOfABattery_goesOnWithWhatIsInIt():
    battery = Battery(5.0, 2.0, 0.9, 0.8, 1.0)
    done = {"charge_kw": np.array([1.0, 0, np.nan, np.nan]), "discharge_kw": np.array([0, 0.4, np.nan, np.nan])}

    later = battery.rest(2, done, {}, 1.0)

    assert later.start_kwh == pytest.approx(1.0 + 0.9 - 0.5)
    assert later.wanted == 1.0
    empty = battery.rest(1, {"charge_kw": np.zeros(2), "discharge_kw": np.array([0.8, 0])}, {}, 0.1)
    assert empty.wanted == 1.0  # 0.9 is in it, and 0.18 can still come


def test_restOfABoiler_losesHeatMeanwhile():
    boiler = Boiler(10.0, 2.0, 0.5, 5.0, 1.0, np.array([1.0, 0.0, 0.5]))

    later = boiler.rest(1, {"boiler_kw": np.array([2.0, np.nan, np.nan])}, {}, 1.0)

    assert later.start_kwh == pytest.approx(5 * 0.95 + 2 - 1)
    assert later.wanted == 5.0
    np.testing.assert_array_equal(later.demand_kw, [0.0, 0.5])


def test_restOfACar_wantsWhatItHasNotGotAsFarAsItIsThere():
    car = ElectricCar(6.0, 2.0, 1.0, np.array([True, True, True, True]))
    done = {"car_kw": np.array([1.0, np.nan, np.nan, np.nan])}

    assert car.rest(1, done, {}, 1.0).energy_kwh == 5.0
    short = car.rest(1, done, {"plugged_in": np.array([1.0, 0.0, 1.0, 1.0])}, 1.0)
    assert short.energy_kwh == 4.0
    assert short.plugged_in.dtype == bool


def test_command_playsAllRules(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = ["uncertainty", "--case", "tiny3", "--draws", "1", "--recourse", "rolling", "--jobs", "1", "--json"]

    out = ["--out", str(tmp_path / "out")]
    assert main([*given, "--re-agreements", "2,every", "--pool-key", "0.2,0.3,0.5", *out]) == 0

    told = json.loads(capsys.readouterr().out)
    assert [(rule["name"], rule["re_agreements"]) for rule in told["rules"]] == [
        ("today", 0), ("netted", 0), ("pool", 0), ("reagreed", 2), ("reagreed", 3), ("hindsight", 0),
    ]  # fmt: skip
    keys = {"name", "re_agreements", "median", "q05", "q95", "share_left", "worst_home_median"}
    assert all(rule.keys() >= keys for rule in told["rules"])
    assert all(min(home["median"] for home in rule["by_home"].values()) == rule["worst_home_median"]
               for rule in told["rules"])  # fmt: skip
    assert len(told["re_agreement_iterations"]) + told["re_agreements_not_reached"] == 2 + 3
    assert told["pool"]["key"] == "fixed"
    by_sharing = [(one["rule"], one["re_agreements"]) for one in told["sharings"]]
    assert by_sharing == [("pool", 0)] * 4 + [("reagreed", 2)] * 4 + [("reagreed", 3)] * 4
    worst = {(rule["name"], rule["re_agreements"]): rule["worst_home_median"] for rule in told["rules"]}
    for one in told["sharings"]:
        if (one["pool_price"], one["adders"]) == ("mid-market", "caused"):
            assert one["worst_home_median"] == worst[one["rule"], one["re_agreements"]]
    rows = (tmp_path / "out" / "rules.csv").read_text().splitlines()
    assert len(rows) == 1 + 6 * len(told["rules"][0]["by_home"]) == 1 + 6 * 3
    by_number = {rule["re_agreements"]: rule for rule in told["rules"] if rule["name"] in ("pool", "reagreed")}
    assert [point["re_agreements"] for point in told["curve"]] == [0, 2, 3]
    for point in told["curve"]:
        same = ("median", "q05", "q95", "share_left", "worst_home_median", "losing_homes")
        assert [point[key] for key in same] == [by_number[point["re_agreements"]][key] for key in same]
    assert sum(point["iterations"] for point in told["curve"]) == sum(told["re_agreement_iterations"])
    gas = [point["gas_of_home"] for point in told["curve"]]
    assert gas == sorted(gas)
    assert gas[0] == 0
    names = {path.stem for path in (tmp_path / "out").rglob("*.svg")}
    assert names >= {"curve", "homes"}


@pytest.mark.parametrize(
    ("option", "value", "complaint"),
    [
        ("--re-agreements", "0", "at least 1, or every"),
        ("--re-agreements", "often", "at least 1, or every"),
        ("--re-agreements", "4,-1", "at least 1, or every"),
        ("--stores", "mine", "no stores 'mine'"),
        ("--pool-key", "0.5,0.5,0.5", "sum to 1.5, not to 1"),
        ("--pool-key", "0.5,0.5", "2 shares for 3 members"),
        ("--pool-key", "nobody", "'nobody' is none of proportional, equal"),
        ("--pool-price", "free", "no pool price 'free'"),
        ("--adder-key", "nobody", "no adder key 'nobody'; choose one of caused, gained"),
        ("--rules", "tomorrow", "no rule 'tomorrow'"),
    ],
)
def test_command_refusesInOneSentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], option: str, value: str, complaint: str
):
    status = main(["uncertainty", "--case", "tiny3", option, value, "--out", str(tmp_path / "out")])

    assert status == 2
    assert complaint in capsys.readouterr().err


def test_threshold_keepsWhatStands(tiny: CommunityDay):
    """Below it nothing is negotiated, and positions stay those of the day before; a day as forecast passes none."""
    never = played(tiny, Scenario.T, ErrorModel(), above=1e6)
    assert (never.iterations, never.kept, never.skipped) == ((), 0, tiny.steps - 1)
    assert not np.any(never.course.paid - played(tiny, Scenario.T, CERTAIN, above=1e6).course.paid)
    assert played(tiny, Scenario.T, CERTAIN, above=0.01).skipped == tiny.steps - 1
    always = played(tiny, Scenario.T, ErrorModel())
    assert (len(always.iterations) + always.kept, always.skipped) == (tiny.steps - 1, 0)
    some = played(tiny, Scenario.T, ErrorModel(), above=0.6)
    assert 0 < len(some.iterations) + some.kept < tiny.steps - 1
