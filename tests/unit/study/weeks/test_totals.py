"""What days add up to, by hand; the report's tables as printed; who gets what."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest

from gridpact.market.agreement import Trade
from gridpact.outcome.day import DayOutcome, failed_checks
from gridpact.problem.scenario import Scenario
from gridpact.report.weeks.tables import economic_lines, energy_lines
from gridpact.report.weeks.words import answers, captions, change, differences, why
from gridpact.study.weeks.fairness import by_baseline, equal_parts, sharings
from gridpact.study.weeks.published import SUMMER, TABLES, WINTER
from gridpact.study.weeks.totals import Study, Totals, bought_kw, passed_kw, peak_steps

from .conftest import SUMMER_DAY, WINTER_DAY


def test_the_sunny_days_are_summer(study: Study) -> None:
    assert [(period.season, period.days) for period in study.periods] == [
        (SUMMER, (SUMMER_DAY,)),
        (WINTER, (WINTER_DAY,)),
    ]


def on_days(study: Study, summer: Sequence[str], winter: Sequence[str]) -> Study:
    """The summer day and the winter day, each again on other days."""
    days = [(day, like) for like, all_of in ((SUMMER_DAY, summer), (WINTER_DAY, winter)) for day in all_of]
    outcomes = [replace(o, day=day) for day, like in days for o in study.outcomes if o.day == like]
    return Study(study.community, study.settings, tuple(outcomes))


def test_rows_of_days_in_one_part_of_the_year_are_of_no_season(study: Study) -> None:
    close = on_days(study, ["2018-06-21"], ["2018-07-21"])
    assert [(period.season, period.name) for period in close.periods] == [
        (None, "day 2018-06-21"),
        (None, "day 2018-07-21"),
    ]


def test_a_day_that_is_left_out_ends_no_period(study: Study) -> None:
    close = on_days(study, ["2018-06-21"], ["2018-06-23"])
    assert [(period.name, period.missing) for period in close.periods] == [("2018-06-21 to 2018-06-23", 1)]
    assert answers(close)["Does it pay?"][0].startswith(
        "Between 2018-06-21 and 2018-06-23 1 day is left out. From 2018-06-21 to 2018-06-23 all households"
    )


def test_a_week_may_lack_days(study: Study) -> None:
    """Seven days of which five are there; five days that are a week apart are no week."""
    week = [f"2018-06-{day}" for day in (21, 22, 24, 26, 27)]
    mondays = ["2018-12-03", "2018-12-10", "2018-12-17", "2018-12-24", "2018-12-31"]
    told = on_days(study, week, mondays)
    assert [(period.name, period.missing) for period in told.periods] == [("summer week", 2), ("winter days", 24)]
    assert "2 days are left out. In the summer week" in answers(told)["Does it pay?"][0]


def test_prosumers_and_consumers_make_the_community(study: Study) -> None:
    for period in study.counted:
        for totals in period.totals.values():
            assert totals.prosumers.total + totals.consumers.total == pytest.approx(totals.community.total)
            assert totals.community.trade == pytest.approx(0, abs=1e-9)
            assert totals.community.total == pytest.approx(sum(home.cost for home in totals.households))
            paid = sum(home.purchases for home in totals.households)
            assert totals.transfers == pytest.approx(paid)
            assert sum(home.sales for home in totals.households) == pytest.approx(paid)


def test_baseline_by_hand(study: Study) -> None:
    """ann and cem take 24 and 18 kWh of load and car; bob 6 kWh when there is no sun. Peak hours hold the step of 6 h
    and that of 18 h: ann 12 kWh, bob 3 kWh at 18 h."""
    summer = study.periods[0].baseline
    assert summer.used_kwh == pytest.approx(24 + 12 + 18)
    assert summer.pv_kwh == pytest.approx(48)
    home = summer.days[0].households
    assert home[0].import_kwh == pytest.approx(24)
    assert home[1].import_kwh == pytest.approx(6)
    assert list(peak_steps(summer.days[0])) == [False, True, False, True]
    expected = sum(6 * h.schedule["import_kw"][[1, 3]].sum() for h in home)
    assert summer.peak_kwh == pytest.approx(expected)
    assert summer.exchange_kwh == 0
    assert bought_kw(summer.days[0])[0] == pytest.approx(sum(h.schedule["import_kw"][0] for h in home))


def test_what_passes_from_meter_to_meter(study: Study) -> None:
    """At 6 h bob gives 3.5 kW, ann takes 1 and cem what it takes: the lesser of both."""
    day = study.periods[0].baseline.days[0]
    taken = 1 + max(-day.households[2].schedule["injection_kw"][1], 0)
    assert passed_kw(day)[1] == pytest.approx(min(taken, 3.5))
    assert passed_kw(day)[0] == 0


def test_transfers_are_counted_once(study: Study) -> None:
    day = study.of_day(SUMMER_DAY, Scenario.T)
    trades = (Trade(2, 1, 1, 2.0, 0.3), Trade(2, 3, 1, 1.0, 0.2), Trade(1, 3, 1, 1.0, 0.25))
    totals = Totals(Scenario.T, (replace(day, trades=trades),))
    assert totals.transfers == pytest.approx(0.6 + 0.2 + 0.25)
    assert totals.exchange_kwh == pytest.approx(4.0)
    ann = totals.households[0]
    assert (ann.sales, ann.purchases) == (pytest.approx(0.25), pytest.approx(0.6))
    assert (ann.sales_fed_in, ann.purchases_imported) == (pytest.approx(0.2), pytest.approx(0.8))


def test_voltages_outside_are_counted_in_hours(study: Study) -> None:
    day = study.of_day(SUMMER_DAY, Scenario.B)
    voltage = np.ones_like(day.voltage_pu)
    voltage[:2, 1] = 0.94
    voltage[0, 2] = 0.9495  # tolerated
    voltage[2, 3] = 1.06
    totals = Totals(Scenario.B, (replace(day, voltage_pu=voltage),))
    assert totals.hours_outside == 12
    assert totals.voltage_pu == (0.94, 1.06)


def test_loading_is_of_the_lines_that_have_a_rating(study: Study) -> None:
    """tiny3's lines have none. With 20 A on the first and none on the second, 15 A there are 75 %, 30 A here none."""
    day = study.of_day(SUMMER_DAY, Scenario.B)
    assert day.loading is None
    assert Totals(Scenario.B, (day,)).loading is None
    current = np.ones_like(day.current_a)
    current[0, 1], current[1, 2], current[2, 3] = 15.0, 30.0, 24.0
    rated = replace(day, current_a=current, rating_a=np.array([20.0, np.nan, 40.0]))
    assert rated.loading is not None
    np.testing.assert_allclose(rated.loading, [0.05, 0.75, 0.05, 0.6])
    totals = Totals(Scenario.B, (rated,))
    assert (totals.current_a, totals.loading) == (30.0, 0.75)
    lines = {line.name: line for line in energy_lines()}
    assert lines["Highest loading of a line"].ours(totals) == pytest.approx(75)
    assert lines["Highest current of a line"].ours(totals) == 30


def test_a_day_without_a_plan_counts_in_no_scenario(study: Study) -> None:
    outcomes = tuple(
        replace(o, failure="no plan", failure_status=3, households=()) if (o.day, o.scenario) == failed else o
        for failed in [(WINTER_DAY, Scenario.G)]
        for o in study.outcomes
    )
    broken = Study(study.community, study.settings, outcomes)
    assert [period.counted for period in broken.periods] == [(SUMMER_DAY,), ()]
    assert len(broken.counted) == 1
    assert broken.periods[1].totals[Scenario.T].days == ()


def test_the_reports_tables_as_printed() -> None:
    """Its percentages follow from its costs, if transfers are counted once; but for GW, where it prints 80.1 %."""
    relative = {
        season: {s.name: 100 * column.total / columns[Scenario.B].total for s, column in columns.items()}
        for season, columns in TABLES.items()
    }
    rounded = 0.06  # printed with one digit
    assert relative[SUMMER] == pytest.approx({"B": 100, "G": 45.8, "T": 71.5, "TG": 65.1}, abs=rounded)
    assert relative[WINTER] == pytest.approx({"B": 100, "G": 81.0, "T": 92.9, "TG": 93.8}, abs=rounded)
    summer = TABLES[SUMMER]
    assert summer[Scenario.TG].prosumer_total == pytest.approx(10.69)
    assert summer[Scenario.T].printed_total == pytest.approx(167.83)
    assert [round(column.peak_ratio, 2) for column in summer.values()] == [0.73, 0.35, 0.69, 0.35]


def test_tables_stand_beside_the_reports(weeks: Study) -> None:
    summer = weeks.periods[0]
    lines = {(line.name, line.unit): line for line in (*economic_lines(summer), *energy_lines())}
    total = lines["Total costs", "%"]
    assert total.ours(summer.baseline) == 100
    assert total.ours(summer.totals[Scenario.T]) == pytest.approx(100 * summer.relative(Scenario.T))
    assert total.theirs(TABLES[SUMMER][Scenario.TG]) == pytest.approx(65.13, abs=0.01)
    assert lines["Prosumers' trade costs", "cost"].ours(summer.totals[Scenario.G]) is None
    assert lines["Imports in peak hours", "kWh"].theirs(TABLES[WINTER][Scenario.TG]) == 876


def test_every_way_of_sharing_pays_the_bill(study: Study) -> None:
    for period in study.counted:
        shared = sharings(period)
        assert len(shared) == 5
        for sharing in shared:
            assert sharing.cost.sum() == pytest.approx(period.totals[sharing.scenario].community.total)
            assert sharing.to_prosumers + sharing.to_consumers == pytest.approx(sharing.saving.sum())


def test_rules_of_sharing_by_hand() -> None:
    assert equal_parts(9.0, 3) == pytest.approx([3, 3, 3])
    # a saving of 4 by 6 : 2; the second, who earns, earns more
    assert by_baseline(0.0, np.array([6.0, -2.0])) == pytest.approx([3.0, -3.0])
    assert by_baseline(6.0, np.array([8.0, 4.0])) == pytest.approx([4.0, 2.0])
    assert by_baseline(-1.0, np.zeros(2)) == pytest.approx([-0.5, -0.5])


def test_equal_parts_make_somebody_pay_more(study: Study) -> None:
    """bob earns on his own: a third of the bill is a loss to him, and the table says so."""
    equal = next(sharing for sharing in sharings(study.periods[0]) if sharing.name == "G, equal parts")
    assert equal.worse_off == 1
    assert equal.to_prosumers < 0 < equal.to_consumers


def test_onlyWeeksOfShippedCases_standBesideTheReports(study: Study, weeks: Study) -> None:
    assert [period.published for period in weeks.periods] == [TABLES[SUMMER], TABLES[WINTER]]
    of_a_user = replace(weeks, community=replace(weeks.community, shipped=False))
    single_days = replace(study, community=weeks.community)
    for other in (of_a_user, single_days):
        assert [period.season for period in other.periods] == [SUMMER, WINTER]
        assert not any(period.published or differences(other, period) for period in other.periods)
        assert not any("report" in caption for caption in captions(other).values())


def test_words_say_what_the_figures_say(study: Study, weeks: Study) -> None:
    summer = study.periods[0]
    pays = answers(study)["Does it pay?"][0]
    assert f"{summer.baseline.community.total:,.2f} EUR each on its own" in pays
    assert change(summer.relative(Scenario.TG) - 1) in pays
    said = differences(weeks, weeks.periods[0])
    assert len(said) == 7
    assert "65.1 % there" in said[0]
    ann = why(study, summer, 0)
    assert ann[0].startswith("On its own it would have paid 7.20 EUR; in TG it pays 5.4")
    assert any("from neighbours" in sentence for sentence in ann)
    bob = why(study, summer, 1)
    assert bob[0].startswith("On its own it would have earned 4.49 EUR")


def test_words_admit_a_check_that_failed(study: Study) -> None:
    first = study.outcomes[1]
    failed = replace(first, checks=(replace(first.checks[0], held=False), *first.checks[1:]))
    broken = Study(study.community, study.settings, (study.outcomes[0], failed, *study.outcomes[2:]))
    assert not broken.checks_held
    said = answers(broken)["Can one trust the answer?"]
    which = f"{first.checks[0].name.lower()} ({SUMMER_DAY} {first.scenario.name})"
    assert said[-1] == f"Not every check held: {which}; see the table of days."


def test_words_say_by_how_much_a_check_failed(study: Study) -> None:
    """Of every check, by hand: residuals 1.3 times their limit, a voltage 0.004 p.u. below its limit of 0.95."""
    day = study.of_day(SUMMER_DAY, Scenario.TG)
    assert failed_checks(day) == {}
    broken = replace(
        day,
        checks=tuple(replace(check, held=False) for check in day.checks),
        residuals_w=np.array([[9.0, 1.3], [9.0, 0.5], [9.0, 9.0], [9.0, 0.0]]),
        residual_limits_w=(1.0, 1.0, 0.0, 0.0),
        voltage_pu=np.array([[1.0, 0.946]]),
    )
    value = {check.name: check.value for check in day.checks}
    assert failed_checks(broken) == {
        "agreement reached": f"not after {day.iterations} iterations, residuals up to 1.30 times their limits",
        "cost above the optimum": f"{value['Cost above the optimum']}, limit 0.1 %",
        "relaxation gap": f"{value['Relaxation gap']}, limit 1e-05 p.u.",
        "voltages": f"{value['Voltages']}, limit 0.95 to 1.05 p.u., 0.00400 p.u. beyond it where 0.001 are tolerated",
        "payments sum to zero": "buyer and seller do not state every trade alike",
        "no battery does both": f"{value['No battery does both']}, limit 1 W",
    }


def test_change_in_words() -> None:
    assert change(-0.165) == "16.5 % less"
    assert change(0.002) == "0.2 % more"
    assert change(1e-5) == "as much"


@pytest.mark.parametrize(
    ("alone", "together", "said"),
    [(4.0, 3.0, -0.25), (-0.2, -0.3, -0.5), (-0.2, 0.1, 1.5), (1e-25, 1e-17, 0.0), (0.0, 0.0, 0.0)],
)
def test_whatEarns_isLessThanNothing(study: Study, alone: float, together: float, said: float) -> None:
    """A community that earns more pays less, whatever the sign of its bill; of no bill there is no part."""

    def costing(total: float, outcome: DayOutcome) -> DayOutcome:
        homes = [replace(home, import_cost=0.0, trade_cost=0.0, loss_cost=0.0) for home in outcome.households]
        return replace(outcome, households=(replace(homes[0], import_cost=total), *homes[1:]))

    outcomes = [costing(alone if o.scenario == Scenario.B else together, o) for o in study.outcomes]
    summer, _ = Study(study.community, study.settings, tuple(outcomes)).periods
    assert summer.relative(Scenario.TG) - 1 == pytest.approx(said)
