"""Which pricing suits whom: bills are those of the mechanisms, and a rule finds what there is to find."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from gridpact.community.model import Prices
from gridpact.community.read import read_community
from gridpact.market.registry import NAMES
from gridpact.outcome.outcome import solved
from measure.plans import FEED_IN, IMPORT, BilledHomes, best_of, rule_for, tried

DAY = "06-10"
NAMED = {
    "alone": "b",
    "unified": "unified-pricing",
    "identified": "identified-pricing",
    "mid-market": "mid-market-rate",
}


@pytest.fixture(scope="module")
def homes() -> BilledHomes:
    case = read_community("fontana16")
    whole = BilledHomes.of_case(case, 15)
    at = case.days.index(DAY)
    return replace(whole, load_kw=whole.load_kw[at : at + 1], pv_kw=whole.pv_kw[at : at + 1])


@pytest.fixture(scope="module")
def storing(homes: BilledHomes) -> BilledHomes:
    """The same with their batteries and cars."""
    return homes.with_devices([read_community("fontana16").on(DAY)])


@pytest.mark.parametrize("stored", [False, True])
@pytest.mark.parametrize("plan", NAMED)
def test_bills_areThoseOfTheMechanisms(homes: BilledHomes, storing: BilledHomes, plan: str, stored: bool) -> None:
    """Of the community as every scenario plays it, at the thesis's prices, with panels only and with all devices: what
    is paid to neighbours, and to the supplier for what meters read beyond trades."""
    day = read_community("fontana16").on(DAY)
    prices = Prices(np.full(day.steps, IMPORT), FEED_IN / IMPORT)
    some = tuple(
        replace(home, devices=tuple(one for one in home.devices if stored or one.kind == "pv"))
        for home in day.households[:15]
    )
    lines = tuple(line for line in day.balanced.lines if line.node <= 15)
    community = replace(day, households=some, prices=prices, feeder=replace(day.balanced, lines=lines))
    outcome = solved(community, NAMES[NAMED[plan]])
    traded = np.zeros((16, day.steps))
    for trade in outcome.trades:
        traded[trade.seller, trade.step] += trade.energy_kwh
        traded[trade.buyer, trade.step] -= trade.energy_kwh
    paid = []
    for home in outcome.households:
        beyond = day.step_hours * home.schedule["injection_kw"] - traded[home.node]
        paid.append(home.paid + float(np.sum(np.where(beyond < 0, -IMPORT, -FEED_IN) * beyond)))
    # Of what is left of an order a watt-hour at a step may be on the other side.
    assert (storing if stored else homes).bills()[plan] == pytest.approx(
        paid, abs=day.steps * 0.001 * (IMPORT - FEED_IN)
    )


def test_rule_findsWhatThereIsToFind() -> None:
    """Two questions that part four kinds of homes, whatever else is told of them."""
    random = np.random.default_rng(5)
    panels, use, other = random.uniform(0, 5, 400), random.uniform(5, 40, 400), random.uniform(0, 1, 400)
    best = ["mid-market" if u > 20 else "identified" if p > 2 else "unified" for p, u in zip(panels, use, strict=True)]
    rule = rule_for({"other": other, "panels": panels, "use": use}, best)
    given = [rule.of({"other": o, "panels": p, "use": u}) for o, p, u in zip(other, panels, use, strict=True)]
    assert np.mean([one == two for one, two in zip(given, best, strict=True)]) > 0.9  # 19 values lie between
    assert "other" not in rule.words()


def test_rule_whereOnePlanIsBestForAll_asksNothing() -> None:
    assert rule_for({"panels": np.arange(9.0)}, ["unified"] * 9).words() == "unified"


def test_trial_ofProfilesThatTellNothing_isNoBetterThanTheMostCommon(homes: BilledHomes) -> None:
    """Bills by chance: a rule that was tried on homes it was made from would seem to be better."""
    random = np.random.default_rng(2)
    many = replace(
        homes,
        load_kw=np.tile(homes.load_kw, (1, 10, 1)),
        pv_kw=np.tile(homes.pv_kw, (1, 10, 1)),
        pv_kwp=random.uniform(0, 5, 150),
        of=tuple(k % 4 for k in range(150)),
    )
    bills = {plan: random.uniform(0, 1, 150) for plan in NAMED}
    trial = tried(many, bills)
    assert trial.right < 0.45  # a third, and what chance adds
    assert trial.lost > 0.1
    assert len(set(best_of(bills))) == 3
