"""The what-ifs themselves, on tiny3: what must hold of their points."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.assigned import has
from gridpact.community.model import CommunityDay, Prices
from gridpact.devices.pv import Panels
from gridpact.errors import InfeasibleError, InputError
from gridpact.outcome.day import solve_day
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import Scenario
from gridpact.products.imbalance import AdderKey
from gridpact.products.pool import PoolRules
from gridpact.study.weeks.play import Tally, play
from gridpact.study.weeks.store import to_fields
from gridpact.study.weeks.workers import HERE
from gridpact.study.whatif import penetration, realised, sensitivity, uncertainty
from gridpact.study.whatif.delivery import Delivered, Recourse
from gridpact.study.whatif.draws import DayPlan, DeliveryTask
from gridpact.study.whatif.forecast import ErrorModel, draw
from gridpact.study.whatif.penetration import MIXES, Penetration, community_at
from gridpact.study.whatif.rules import SHARINGS, Rule, netted_adders, saved_by_pool, settled
from gridpact.study.whatif.sensitivity import Parameter, Sensitivity
from gridpact.study.whatif.sweep import DayFigures, DayPoint, PointFigures
from gridpact.study.whatif.uncertainty import Uncertainty

CERTAIN = ErrorModel(load=0, pv=0, cars=False)


def test_finished_points_and_draws_are_not_solved_again(
    tiny: CommunityDay,
    shares: Penetration,
    varied: Sensitivity,
    lived: Uncertainty,
    finished: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for task in (DayPoint, DeliveryTask):
        monkeypatch.setattr(task, "solve", lambda self: pytest.fail(f"{self.name} was solved again"))
    tally = Tally()
    again = penetration.penetrate([tiny], shares.settings, finished, HERE, tally)
    assert again.points == shares.points
    assert (tally.done, tally.taken_over, tally.of) == (6, 6, 6)
    tally = Tally()
    anew = sensitivity.vary([tiny], varied.settings, finished, HERE, tally)
    all_of_them = 3 * 3 + 2 + 2 * 2  # values in three scenarios, the plan in two, draws at two adders
    assert (tally.done, tally.taken_over, tally.of) == (all_of_them, all_of_them, all_of_them)
    assert [p.figures for p in anew.points] == [p.figures for p in varied.points]
    plans = uncertainty.plan_days([tiny], Scenario.TG, finished, HERE)
    fewer = uncertainty.live_through(plans, replace(lived.settings, draws=2), finished, HERE)
    assert to_fields(fewer.draws) == to_fields([d for d in lived.draws if d.number < 2])


def test_draws_are_kept_by_all_that_they_depend_on(plans: tuple[DayPlan, ...], lived: Uncertainty) -> None:
    first = DeliveryTask(plans[0], lived.settings, 0, 0)
    assert DeliveryTask(plans[0], replace(lived.settings, draws=99), 0, 0).name == first.name
    others = [
        DeliveryTask(plans[0], replace(lived.settings, adder=0.06), 0, 0),
        DeliveryTask(plans[0], replace(lived.settings, seed=2), 0, 0),
        DeliveryTask(plans[0], replace(lived.settings, model=CERTAIN), 0, 0),
        DeliveryTask(plans[0], replace(lived.settings, recourses=(Recourse.NONE,)), 0, 0),
        DeliveryTask(plans[0], replace(lived.settings, scenario=Scenario.T), 0, 0),
        DeliveryTask(plans[0], lived.settings, 1, 0),
        DeliveryTask(plans[0], lived.settings, 0, 1),
    ]
    assert len({task.fingerprint for task in (first, *others)}) == 8
    assert len({task.name for task in (first, *others)}) == 8


def test_communities_that_are_alike_are_solved_once(tiny: CommunityDay, tmp_path: Path) -> None:
    same = [Parameter.CHI.at(tiny, tiny.trading_coefficient), Parameter.LINES.at(tiny, 1.0)]
    play([DayPoint.of(community, Scenario.B) for community in (tiny, *same)], tmp_path, HERE)
    assert len(list((tmp_path / "days").iterdir())) == 1


# ---------------------------------------------------------------------- penetration


def test_own_share_is_the_day_itself(tiny: CommunityDay, shares: Penetration) -> None:
    """One of three households has PV: that point is what `solve_day` says of the case."""
    point = shares.of("pv")[1]
    assert point.owners[Panels] == 1
    for scenario, figures in point.figures.items():
        assert figures.days == (DayFigures.of(solve_day(tiny, scenario)),)


def test_points_are_near_the_optimum_of_their_community(tiny: CommunityDay, shares: Penetration) -> None:
    """The costs of a point and the centralised optimum of the same community; gamma is in the latter only."""
    for point in shares.points:
        community = community_at(tiny, point.mix, point.share, shares.settings.seed)
        for device in MIXES[point.mix]:
            assert sum(has(home, device) for home in community.households) == point.owners[device]
        free = replace(community, trading_coefficient=0.0)
        best = centralised_optimum(free, Scenario.TG).cost
        assert point.figures[Scenario.TG].feasible
        assert best - 0.01 <= point.figures[Scenario.TG].cost <= point.figures[Scenario.B].cost + 0.01


def test_more_sun_costs_less(shares: Penetration) -> None:
    costs = [point.figures[Scenario.TG].cost for point in shares.of("pv")]
    assert costs == sorted(costs, reverse=True)


def test_points_without_a_plan_are_told() -> None:
    good, bad = DayFigures("1", Scenario.TG, cost=3.0), DayFigures("2", Scenario.TG, failure="no plan", converged=False)
    both = PointFigures((good, bad))
    assert not both.feasible
    assert both.verdict == "no feasible plan"
    assert both.failures == (bad,)
    assert PointFigures((good,)).verdict == "ok"
    assert PointFigures((replace(good, gap=-0.003), good)).gap == 0.003
    assert PointFigures((replace(good, failed_checks={"voltages": "0.9"}),)).verdict == "a check failed"
    assert PointFigures((replace(good, converged=False),)).verdict == "not agreed"


def test_what_is_no_answer_is_told_from_what_has_none() -> None:
    """No feasible plan is an answer; a failed check, a round without agreement and a failed solver are none."""
    good, none = DayFigures("1", Scenario.TG), DayFigures("1", Scenario.TG, failure="no plan", failure_status=3)
    assert PointFigures((good, none)).checks_held
    failed = replace(good, failed_checks={"voltages": "0.9"})
    for bad in (failed, replace(good, converged=False), replace(none, failure_status=1)):
        assert not PointFigures((good, bad)).checks_held


# ---------------------------------------------------------------------- sensitivity


def test_values_change_what_they_name_and_nothing_else(tiny: CommunityDay) -> None:
    assert Parameter.CHI.at(tiny, 0.3) == replace(tiny, trading_coefficient=0.3)
    assert Parameter.FEED_IN.at(tiny, 0.9).prices.feed_in_share == 0.9
    for parameter in Parameter:
        same = parameter.at(tiny, parameter.of(tiny))
        assert same.households == tiny.households
        assert same.feeder == tiny.feeder
        assert same.trading_coefficient == tiny.trading_coefficient


def test_without_a_margin_nothing_is_traded(varied: Sensitivity) -> None:
    half, full = varied.of(Parameter.FEED_IN)
    assert half.figures[Scenario.T].days[0].traded_kwh > 1
    assert full.figures[Scenario.T].days[0].traded_kwh == 0
    assert (half.saving(Scenario.T) or 0) > 0.1
    assert full.saving(Scenario.T) == pytest.approx(0, abs=1e-3)  # the losses of another plan that costs the same


def test_lines_too_weak_have_no_plan(varied: Sensitivity) -> None:
    (weak,) = varied.of(Parameter.LINES)
    assert varied.of(Parameter.FEED_IN)[0].saving(Scenario.TG) is not None
    assert weak.saving(Scenario.TG) is None
    assert "voltage" in (weak.figures[Scenario.TG].failures[0].failure or "")


def test_adders_eat_the_saving_of_the_same_draws(varied: Sensitivity) -> None:
    free, dear = varied.adders
    for recourse in varied.settings.delivery.recourses:
        assert np.all(dear.savings[recourse] <= free.savings[recourse] + 1e-6)
        assert free.paid[recourse] == 0
        assert dear.paid[recourse] > 0
    # devices as planned do not answer to prices: what is lost is what is paid, to the last digit but rounding
    lost = float(np.mean(free.savings[Recourse.NONE] - dear.savings[Recourse.NONE]))
    assert lost == pytest.approx(dear.paid[Recourse.NONE], abs=1e-9)


# ---------------------------------------------------------------------- uncertainty


@pytest.mark.parametrize("scenario", [Scenario.TG, Scenario.G])
def test_certain_forecasts_leave_the_whole_saving(tiny: CommunityDay, finished: Path, scenario: Scenario) -> None:
    """With devices as planned nothing at all is lost; planned anew the baseline may pick another of its optima."""
    settings = realised.UncertaintySettings(scenario, model=CERTAIN, adder=0.5, draws=1)
    plans = uncertainty.plan_days([tiny], scenario, finished, HERE)
    lived = uncertainty.live_through(plans, settings, finished, HERE)
    np.testing.assert_allclose(lived.household_savings(Recourse.NONE)[0], lived.planned_household_savings, atol=1e-6)
    assert (lived.load_error, lived.pv_error) == (0, 0)
    assert lived.savings(Recourse.NONE)[0] == pytest.approx(lived.planned_saving, abs=1e-6)
    for recourse in (Recourse.ROLLING, Recourse.HINDSIGHT):
        assert lived.savings(recourse)[0] == pytest.approx(lived.planned_saving, abs=0.01)
    for d in lived.draws:
        assert d.planned.adder == pytest.approx(0, abs=1e-4)  # 0.5 EUR/kWh of what a solver leaves open


def test_draws_differ_and_are_the_same_again(plans: tuple[DayPlan, ...], lived: Uncertainty, tmp_path: Path) -> None:
    again = uncertainty.live_through(plans, lived.settings, tmp_path, HERE)
    for recourse in Recourse:
        np.testing.assert_array_equal(lived.savings(recourse), again.savings(recourse))
        assert len(set(lived.savings(recourse))) == lived.settings.draws
    other = uncertainty.live_through(plans, replace(lived.settings, seed=9, draws=1), tmp_path, HERE)
    assert other.savings(Recourse.NONE)[0] != lived.savings(Recourse.NONE)[0]


def test_first_draws_do_not_depend_on_how_many_there_are(
    plans: tuple[DayPlan, ...], lived: Uncertainty, tmp_path: Path
) -> None:
    fewer = uncertainty.live_through(plans, replace(lived.settings, draws=2), tmp_path, HERE)
    np.testing.assert_array_equal(fewer.savings(Recourse.NONE), lived.savings(Recourse.NONE)[:2])


def test_money_adds_up(lived: Uncertainty) -> None:
    """What households pay is supply, adders, charging elsewhere and losses: trades cancel."""
    prices, dt = lived.plans[0].community.prices, lived.plans[0].community.step_hours
    for d in lived.draws:
        assert d.baseline.adder == 0
        assert d.planned.adder == pytest.approx(0.05 * d.planned.deviation_kwh)
        assert d.planned.netted_kwh <= d.planned.deviation_kwh + 1e-9
        rest = d.planned.cost - d.planned.adder - d.planned.public - d.planned.losses
        # What the community takes at its meters is what passes the connection less the losses: no household can be
        # billed for less than its part of it at the import price, or more than all at the import price.
        exchange = d.planned.exchange_kw
        assert (
            rest >= dt * float(np.sum(np.where(exchange > 0, prices.feed_in_price, prices.import_price) * exchange)) - 1
        )
    total = lived.household_savings(Recourse.ROLLING).sum(axis=1)
    np.testing.assert_allclose(total, lived.savings(Recourse.ROLLING), atol=1e-9)
    assert lived.planned_household_savings.sum() == pytest.approx(lived.planned_saving)


def test_errors_cost_something(lived: Uncertainty) -> None:
    for recourse in Recourse:
        assert np.median(lived.savings(recourse)) < lived.planned_saving
    assert 0.1 < lived.load_error < 0.4  # a normal with 0.3 has a mean magnitude of 0.24


def test_in_g_the_community_pays_for_what_passes_the_connection(common: Uncertainty) -> None:
    """Worked out here from the power flow's exchange alone: tariff, and the adder on its distance from the plan."""
    plan = common.plans[0]
    prices, dt = plan.community.prices, plan.community.step_hours
    for d in common.draws:
        exchange = d.planned.exchange_kw
        tariff = np.where(exchange > 0, prices.import_price, prices.feed_in_price)
        away = dt * float(np.abs(exchange - plan.planned.exchange_kw).sum())
        assert d.planned.netted_kwh == pytest.approx(away)
        assert d.planned.adder == pytest.approx(0.05 * away)
        assert d.planned.cost == pytest.approx(dt * float(np.sum(tariff * exchange)) + 0.05 * away + d.planned.public)
    for recourse in Recourse:
        assert np.array_equal(common.savings_if_netted(recourse), common.savings(recourse))
        np.testing.assert_allclose(common.household_savings(recourse).sum(axis=1), common.savings(recourse), atol=1e-9)


def test_in_g_every_rule_shares_the_same_saving(common: Uncertainty) -> None:
    for recourse in Recourse:
        shared = common.shared(recourse)
        assert list(shared) == ["G, by node prices", "G, equal parts", "G, by the baseline"]
        for saved in shared.values():
            assert saved.shape == (3, 3)  # draws, households
            np.testing.assert_allclose(saved.sum(axis=1), common.savings(recourse), atol=1e-9)


def test_who_is_alone_pays_what_the_baseline_does_but_for_losses(tiny: CommunityDay, lived: Uncertainty) -> None:
    """With the same draws; who has no plan loses nothing by one, so only the lines' losses lie between."""
    rolling = [one for one in lived.draws if one.recourse is Recourse.ROLLING]
    for one in rolling:
        rng = np.random.default_rng([lived.settings.seed, 0, one.number])
        alone = realised.paid_alone(tiny, draw(tiny, lived.settings.model, rng), lived.settings.model)
        assert alone.sum() == pytest.approx(one.baseline.cost - one.baseline.losses, abs=1e-6)
    assert len(rolling) == 3


def test_nobody_can_deviate_from_the_baseline(tiny: CommunityDay, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="scenario b cannot be delivered: nobody is told a plan"):
        uncertainty.plan_days([tiny], Scenario.B, tmp_path)


def test_day_without_a_plan_cannot_be_delivered(tiny: CommunityDay, tmp_path: Path) -> None:
    with pytest.raises(InfeasibleError, match=r"voltage .* without a plan nothing can be delivered"):
        uncertainty.plan_days([Parameter.LINES.at(tiny, 150.0)], Scenario.TG, tmp_path, HERE)


# ---------------------------------------------------------------------- rules


def test_nobody_pays_more_by_netting_or_by_the_pool(lived: Uncertainty) -> None:
    """To what a meter and the last decimal round: the adder at half a Wh, and 1e-6, a step."""
    for d in lived.draws:
        costs = d.planned.by_rule
        slack = lived.plans[0].community.steps * (0.0005 * lived.settings.adder + 2e-6)
        np.testing.assert_allclose(costs["today"], d.planned.household_cost, atol=1e-12)
        assert (costs["netted"] <= costs["today"] + slack).all()
        assert (costs["pool"] <= costs["netted"] + slack).all()


def test_netting_takes_what_cancels_from_the_bill(lived: Uncertainty) -> None:
    for d in lived.draws:
        p = d.planned
        cancelled = lived.settings.adder * (p.deviation_kwh - p.netted_kwh)
        assert p.by_rule["today"].sum() - p.by_rule["netted"].sum() == pytest.approx(cancelled, abs=5e-3)


def test_with_a_pool_the_supplier_sees_one_net_import(plans: tuple[DayPlan, ...]) -> None:
    """What all pay together is the tariff on the sum, where it is less than the sum of the tariffs."""
    community = plans[0].community
    random = np.random.default_rng(7)
    net = random.normal(0, 2, (len(community.households), community.steps))
    prices, dt = community.prices, community.step_hours

    def tariff(power: np.ndarray) -> float:
        bill = prices.import_price * np.maximum(power, 0) - prices.feed_in_price * np.maximum(-power, 0)
        return float(dt * bill.sum())

    saved = saved_by_pool(net, prices, PoolRules(), dt)
    assert saved.min() >= -1e-6 * community.steps
    assert saved.sum() == pytest.approx(tariff(net) - tariff(net.sum(axis=0)), abs=2e-3)


def test_sharings_move_money_between_households_only(lived: Uncertainty) -> None:
    """What all pay is the same by each, to the last decimal a step; the one that is set is what its rule settles by."""
    sharings = {sharing.name for sharing in SHARINGS}
    assert {(one.pool_price, one.adders) for one in lived.sharings} == {
        (price, adders) for price in ("mid-market", "ratio") for adders in ("caused", "gained")
    }
    for d in lived.draws:
        costs = d.planned.by_rule
        assert {name.removeprefix("pool: ") for name in costs if name.startswith("pool: ")} == sharings
        np.testing.assert_array_equal(costs["pool"], costs["pool: mid-market, caused"])
        for name in sharings:
            assert costs[f"pool: {name}"].sum() == pytest.approx(costs["pool"].sum(), abs=2e-6 * len(costs["pool"]))


def test_adders_borne_by_gain_take_from_nobody_more_than_its_gain(plans: tuple[DayPlan, ...]) -> None:
    """Against a bill of its own meter: where all gain by the pool together what the adders come to, nobody is left
    worse off than by that bill."""
    community, random = plans[0].community, np.random.default_rng(11)
    prices, dt, n = community.prices, community.step_hours, len(community.households)
    met = 0
    for _ in range(40):
        injection = random.normal(0, 3, (n, community.steps))
        deviation = random.normal(0, random.uniform(0, 2), injection.shape)
        delivered = [_delivered(own, off, prices, dt) for own, off in zip(injection, deviation, strict=True)]
        nothing, customers = np.zeros(n), community.customers(False)
        by = [
            settled(Rule.POOL, delivered, customers, 0.05, PoolRules(), dt, key, nothing)
            for key in (AdderKey.CAUSED, AdderKey.GAINED)
        ]
        own_bill = dt * prices.paid(-injection).sum(axis=1)
        caused = netted_adders(deviation, 0.05, dt)
        gain = own_bill - (by[0] - caused)
        assert by[1].sum() == pytest.approx(by[0].sum(), abs=1e-5)
        if caused.sum() <= gain.sum():
            met += 1
            assert (by[1] <= own_bill + 1e-5).all()
            np.testing.assert_allclose(by[1] - by[0] + caused, caused.sum() * gain / gain.sum(), atol=1e-5)
    assert met > 5


def _delivered(injection: np.ndarray, deviation: np.ndarray, prices: Prices, dt: float) -> Delivered:
    supply = float(dt * prices.paid(-injection).sum())
    return Delivered(injection, -injection, deviation, 0.0, supply, 0.0, 0.0)


def test_rules_are_told_in_order_with_their_figures(lived: Uncertainty) -> None:
    rules = lived.rules
    assert [rule.name for rule in rules] == ["today", "netted", "pool"]
    today = rules[0]
    savings = lived.savings(Recourse.ROLLING)
    assert today.median == pytest.approx(float(np.median(savings)))
    assert today.share_left == pytest.approx(today.median / lived.planned_saving)
    assert today.worst_home_median == pytest.approx(np.median(lived.household_savings(Recourse.ROLLING), axis=0).min())
    assert rules[0].median <= rules[1].median <= rules[2].median + 1e-3
