"""Days with several suppliers and fees as they turn out: each home's bill against one that is worked out here, account
by account, and what is planned anew against a program of its own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest
from scipy.optimize import linprog

from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.devices.battery import Battery
from gridpact.errors import InputError
from gridpact.outcome.day import DayOutcome, solve_day
from gridpact.problem.scenario import Scenario
from gridpact.products.pool import Key, PoolRules
from gridpact.study.whatif.delivery import Actual, Delivered, Recourse, Replanning, Terms, deliver
from gridpact.study.whatif.draws import DayPlan, DeliveryTask
from gridpact.study.whatif.forecast import draw
from gridpact.study.whatif.realised import UncertaintySettings, actual_of
from gridpact.study.whatif.rules import Rule
from unit.community.test_suppliers import ENERGY, FEES, HOURS, OTHER, street
from unit.problem.helpers import household

GRID, TAX, TRADED, PEAK = FEES
ADDER, PUBLIC = 0.05, 1.0


@pytest.fixture(scope="module")
def day() -> CommunityDay:
    """Five homes; the third and the fifth have another supplier."""
    three = street(FEES, OTHER, chi=0.02)
    green = three.households[2].tariff
    more = [
        household(4, [0.4, 0.5, 0.2, 0.7, 0.3, 0.9, 1.1, 0.6], [0, 0.2, 0.9, 1.8, 1.6, 0.4, 0, 0]),
        household(5, [0.2, 0.2, 0.8, 0.3, 0.5, 0.4, 1.2, 0.9], [0, 0.1, 1.9, 2.8, 2.1, 0.9, 0, 0]),
    ]
    lines = three.balanced.lines
    further = [replace(lines[-1], node=node, parent=node - 1) for node in (4, 5)]
    short = [replace(one, resistance_ohm=1e-6, reactance_ohm=1e-6) for one in (*lines, *further)]  # hardly any losses
    feeder = replace(three.balanced, lines=tuple(short))
    return replace(three, households=(*three.households, more[0], replace(more[1], tariff=green)), feeder=feeder)


Plans = Callable[[Scenario], DayOutcome]


@pytest.fixture(scope="module")
def plans(day: CommunityDay) -> Plans:
    """Its plans, each solved once."""
    return cache(partial(solve_day, day))


def energy_of(day: CommunityDay, row: int) -> Array:
    """What a home's supplier asks for itself."""
    return OTHER if day.households[row].tariff is not None else ENERGY


def accounts(day: CommunityDay, delivered: list[Delivered], sold_kw: Array, rule: Rule) -> dict[str, float]:
    """Who has received what in the end, trades, losses and public charging apart: every payment from one to another."""
    has: dict[str, float] = defaultdict(float)

    def pay(who: str, whom: str, amount: float) -> None:
        has[who] -= amount
        has[whom] += amount

    of = {row: "green" if day.households[row].tariff is not None else "common" for row in range(len(delivered))}
    for row, one in enumerate(delivered):
        drawn = -one.injection_kw
        pay(f"home {row}", "grid operator", PEAK * max(drawn.max(), 0.0))
        pay(f"home {row}", "grid operator", HOURS * TRADED * np.maximum(-sold_kw[row], 0).sum())
    for step in range(len(ENERGY)):
        net = [HOURS * float(sold_kw[row, step] - one.injection_kw[step]) for row, one in enumerate(delivered)]
        off = [HOURS * float(one.deviation_kw[step]) for one in delivered]
        for supplier in ("common", "green"):
            rows = [row for row in of if of[row] == supplier]
            asks = float(energy_of(day, rows[0])[step])
            pays = 0.5 * asks
            pooled = dict.fromkeys(rows, 0.0)
            over, lacking = (sum(max(sign * net[row], 0) for row in rows) for sign in (-1, 1))
            if rule is Rule.POOL and min(over, lacking) > 0:
                price = pays + (asks + GRID + TAX - TRADED - pays) / 2
                for row in rows:
                    all_of, size = (lacking, net[row]) if net[row] > 0 else (over, net[row])
                    pooled[row] = min(over, lacking) * size / all_of
                    pay(f"home {row}", f"pool of {supplier}", price * pooled[row])
                    pay(f"home {row}", "grid operator", TRADED * max(pooled[row], 0))
            for row in rows:
                left = net[row] - pooled[row]
                pay(f"home {row}", supplier, asks * max(left, 0) - pays * max(-left, 0))
                pay(f"home {row}", "grid operator", GRID * max(left, 0))
                pay(f"home {row}", "state", TAX * max(left, 0))
            total = sum(off[row] for row in rows)
            caused = {row: max(np.sign(total) * off[row], 0) for row in rows}
            for row in rows:
                netted = abs(total) * caused[row] / max(sum(caused.values()), 1e-12)
                pay(f"home {row}", supplier, ADDER * (abs(off[row]) if rule is Rule.TODAY else netted))
    assert sum(has.values()) == pytest.approx(0, abs=1e-9)
    assert [amount for who, amount in has.items() if who.startswith("pool")] == pytest.approx(
        [0.0] * sum(who.startswith("pool") for who in has), abs=1e-9
    )
    return has


@pytest.mark.parametrize(
    ("scenario", "recourse"), [(Scenario.T, Recourse.NONE), (Scenario.TG, Recourse.ROLLING)], ids=str
)
def test_billsAreThoseOfEachHomesOwnSupplier(
    day: CommunityDay, plans: Plans, scenario: Scenario, recourse: Recourse
) -> None:
    planned, baseline = plans(scenario), plans(Scenario.B)
    rules = (Rule.TODAY, Rule.NETTED, Rule.POOL)
    settings = UncertaintySettings(
        scenario, adder=ADDER, public_price=PUBLIC, recourses=(recourse,), draws=1, rules=rules, following=False
    )
    (drawn,) = DeliveryTask(DayPlan(day, planned, baseline), settings, 0, 0).solve().draws
    reality = draw(day, settings.model, np.random.default_rng([1, 0, 0]))
    for side, told, adder in ((drawn.planned, planned, ADDER), (drawn.baseline, baseline, 0.0)):
        sold = np.array([home.schedule["net_sold_kw"] for home in told.households])
        delivered = []
        for row, home in enumerate(day.households):
            schedule = told.households[row].schedule
            nominated = schedule["import_kw"] - schedule["feed_in_kw"]
            terms = Terms(home.tariff or day.prices, sold[row], nominated, adder, PUBLIC)
            actual = actual_of(day, row, reality, settings.model)
            delivered.append(deliver(home, schedule, actual, terms, recourse, HOURS))
        for rule in rules if told is planned else (Rule.TODAY,):
            if told is baseline:
                delivered = [replace(one, deviation_kw=np.zeros(8)) for one in delivered]  # it has told nobody a plan
            has = accounts(day, delivered, sold, rule)
            paid = [side.by_rule[rule.value][row] - home.trade_cost for row, home in enumerate(told.households)]
            # Pools and adders are of whole Wh, of which each home is off by half a one in eight steps.
            assert paid == pytest.approx([-has[f"home {row}"] for row in range(len(paid))], abs=5e-4)
    assert sum(home.trade_cost for home in planned.households) == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG], ids=lambda s: s.name)
def test_whatTurnsOutAsPlanned_costsWhatWasPlanned(day: CommunityDay, plans: Plans, scenario: Scenario) -> None:
    """Without errors, and nobody planning anew, all pay what the plan said, whatever the tariffs and fees."""
    planned, baseline = plans(scenario), plans(Scenario.B)
    settings = UncertaintySettings(scenario, adder=ADDER, recourses=(Recourse.NONE,), draws=1)
    certain = replace(settings.model, load=0.0, pv=0.0)
    (drawn,) = DeliveryTask(DayPlan(day, planned, baseline), replace(settings, model=certain), 0, 0).solve().draws
    for side, told in ((drawn.planned, planned), (drawn.baseline, baseline)):
        assert side.household_cost == pytest.approx([home.cost for home in told.households], abs=2e-3)
        assert side.cost == pytest.approx(told.cost, abs=1e-3)


def test_daysThatAreAgreedAnew_keepToTheTariffs(day: CommunityDay, plans: Plans) -> None:
    planned, baseline = plans(Scenario.TG), plans(Scenario.B)
    rules = Rule.POOL, Rule.REAGREED
    settings = UncertaintySettings(
        Scenario.TG, adder=ADDER, recourses=(Recourse.ROLLING,), draws=1, rules=rules, re_agreements=(2,)
    )
    lived = DeliveryTask(DayPlan(day, planned, baseline), settings, 0, 0).solve()
    assert lived.re_agreed[0].kept == 0
    assert len(lived.re_agreed[0].iterations) == 2
    (drawn,) = lived.draws
    dearest = sum(HOURS * float((ENERGY + 0.1 + ADDER) @ home.load_kw) for home in day.households)
    for name in ("pool", "reagreed 2"):
        assert 0 < drawn.planned.by_rule[name].sum() < dearest
        assert drawn.planned.by_rule[name].sum() < drawn.baseline.cost


def test_replanning_sparesAPeak() -> None:
    """A home with a battery that plans anew before every step pays no more than one that knows all its day, whose
    program is written here; what is left of its day knows what it has drawn so far."""
    (home,) = [home for home in street(FEES).households if home.having(Battery)]
    load, nothing = np.array([0.4, 0.2, 0.9, 0.5, 2.6, 0.8, 0.3, 0.7]), np.zeros(8)
    prices = Prices(ENERGY, 0.5).with_fees(nothing, nothing, nothing, 1.5)
    actual = Actual(load, np.tile(load, (8, 1)), [{}] * len(home.devices), [{}] * len(home.devices))
    terms = Terms(prices, nothing, nothing, 0.0, PUBLIC)
    anew = Replanning(home, actual, HOURS, prices.peak_fee)
    for step in range(8):
        assert anew.rest(step).peak_kw == pytest.approx(max([0.0, *(-anew.injection_kw(k) for k in range(step))]))
        anew.step(step, terms)
    ended = anew.delivered(terms)
    eye, sums, one = np.eye(8), HOURS * np.tril(np.ones((8, 8))), np.ones((8, 1))
    # imported, fed in, charged, discharged, the peak
    cost = np.concatenate([HOURS * ENERGY, -HOURS * 0.5 * ENERGY, nothing, nothing, [1.5]])
    level = np.hstack([np.zeros((8, 16)), 0.95 * sums, -sums / 0.95, 0 * one])
    best = linprog(
        cost,
        A_eq=np.hstack([eye, -eye, -eye, eye, 0 * one]),
        b_eq=load,
        A_ub=np.vstack([level, -level, -level[-1:], np.hstack([eye, -eye, 0 * eye, 0 * eye, -one])]),
        b_ub=np.concatenate([np.full(8, 4.0), np.full(8, 2.0), [0.0], nothing]),
        bounds=[(0, None)] * 16 + [(0, 2)] * 16 + [(0, None)],
    )
    assert best.success
    assert ended.supply + 1.5 * (-ended.injection_kw).max() == pytest.approx(best.fun, abs=1e-6)


def test_sharesOfThePool_areAmongCustomersOfOneSupplier() -> None:
    rules = PoolRules(Key.FIXED, shares=(0.5, 0.2, 0.3, 0.0))
    assert rules.among((0, 2)).shares == pytest.approx((0.625, 0.375))
    assert rules.among((0, 1, 2, 3)) is rules
    assert PoolRules().among((0, 1)) == PoolRules()
    with pytest.raises(InputError, match="leave nothing to customers of one supplier"):
        rules.among((3,))
