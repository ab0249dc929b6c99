"""The community with a manager: against the optimum of the community as one, and at the manager's own prices."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.market.community_manager import (
    GAP_PPM,
    MWH,
    NANO,
    CommunityManager,
    ManagedMember,
    ManagedTerms,
    Manager,
    is_weighing,
    member_views,
)
from gridpact.market.prepared import Prepared
from gridpact.market.registry import NAMES
from gridpact.outcome.day import solve_day
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.outcome import solved
from gridpact.problem.scenario import Scenario
from measure import streets

MANAGED = NAMES["community-manager"]


@pytest.mark.parametrize(
    ("kind", "seed"),
    [("much sun", 3), ("feed-in worth nothing", 5), ("free hours", 4), ("negative hours", 2), ("quarter hours", 1)],
)
def test_costsWhatTheCommunityAsOneWould(kind: str, seed: int) -> None:
    """The optimum of one optimiser, by another program and solver, on streets drawn by chance."""
    outcome = solved(streets.street(kind, seed), MANAGED)
    assert outcome.converged
    assert not Indicators(outcome).failed_checks


def test_nobodyPaysMoreThanAlone_andBillsAddUp() -> None:
    """At one price for all nobody is worse off than with its own plan, up to the gap; what all pay is the supplier's
    bill, since what is short is traded whole."""
    community = read_community("fontana16").on("06-10")
    managed, alone = solve_day(community, MANAGED), solve_day(community, Scenario.B)
    assert managed.checks_held
    slack = 1e-3 * alone.cost
    for home, before in zip(managed.households, alone.households, strict=True):
        assert home.cost <= before.cost + slack
    assert (
        managed.cost < solve_day(community, NAMES["call-auction"]).cost - 0.01 * alone.cost
    )  # devices follow the price
    prices = community.prices
    for trade in managed.trades:
        assert prices.feed_in_price[trade.step] - 1e-6 <= trade.price_per_kwh <= prices.import_price[trade.step] + 1e-6


def test_everyPlanIsTheBestAtTheManagersPrice(tiny3: CommunityDay) -> None:
    """Worked out from the answer alone: at each step somebody is short, or all fits together; where the community
    imports, the price is that of importing, where it feeds in, that of feeding in."""
    agreed = CommunityManager().agree(Prepared.of(tiny3, MANAGED))
    net_kw = np.sum([plan["injection_kw"] for plan in agreed.plans.values()], axis=0)
    for trade in agreed.trades:
        if net_kw[trade.step] < -0.01:
            assert trade.price_per_kwh == pytest.approx(tiny3.prices.import_price[trade.step], abs=2e-6)
        if net_kw[trade.step] > 0.01:
            assert trade.price_per_kwh == pytest.approx(tiny3.prices.feed_in_price[trade.step], abs=2e-6)
    assert agreed.trades


def terms_of(community: CommunityDay) -> ManagedTerms:
    return ManagedTerms.of(community, Prepared.of(community, MANAGED).baseline_net_kw)


def test_managersStep_isTheLeastOfBillAndPenalty(tiny3: CommunityDay) -> None:
    """With z = mean + (p_next - p) / rho, a member's share of what the community deals outside, and a = mean - p / rho,
    z minimises G(n z) + n rho/2 (z - a)^2 (Boyd et al., 7.3): tried on a grid of z, at every step, for drawn plans."""
    chance = np.random.default_rng(1)
    terms, hours, prices = terms_of(tiny3), tiny3.step_hours, tiny3.prices
    manager, rho = Manager(terms), terms.penalty(hours)
    imports, feed_in = hours * prices.bought_price, hours * prices.feed_in_price
    for _ in range(20):
        net_kw = chance.normal(size=(3, tiny3.steps))
        before = hours * np.array(manager.price_micro) / 1e6
        manager.step(terms.units(net_kw, hours).sum(axis=0).tolist(), 3)
        price = hours * np.array(manager.price_micro) / 1e6
        at, shared_kw = net_kw.mean(axis=0) - before / rho, net_kw.mean(axis=0) + (price - before) / rho
        tried = np.linspace(-5, 5, 20001)
        for t in range(tiny3.steps):
            bill = imports[t] * np.maximum(-3 * tried, 0) - feed_in[t] * np.maximum(3 * tried, 0)
            best = tried[np.argmin(bill + 3 * rho / 2 * (tried - at[t]) ** 2)]
            # Half a step of the grid, and a unit of price over rho.
            assert shared_kw[t] == pytest.approx(best, abs=3e-4 + hours * 1e-6 / rho)
        assert (price >= feed_in - 1e-9).all()
        assert (price <= imports + 1e-9).all()


def test_endsNotBeforeTheBound(tiny3: CommunityDay) -> None:
    """Where nobody gains, what the supplier takes beyond the price has to be within the gap; and gains are added."""
    terms = terms_of(tiny3)
    manager = Manager(terms)
    short = [-(10**7)] * tiny3.steps
    assert not manager.is_settled(short, 0)  # the price lies halfway, and all is dealt outside at import's
    manager.price_micro = list(terms.import_micro)
    bill_nano = sum(terms.import_micro) * 10**7 * terms.unit_mwh / 1000
    most = int(GAP_PPM * max(bill_nano, terms.base_nano) / 10**6)
    assert manager.is_settled(short, most)
    assert not manager.is_settled(short, most + 1)


@pytest.mark.parametrize(("kind", "seed"), [("much sun", 7), ("quarter hours", 6)])
def test_gains_areTheDistanceToTheDual(kind: str, seed: int) -> None:
    """At any price, what members say that they would gain is what their plans cost beyond the least at that price: each
    problem solved anew, from nothing."""
    from gridpact.problem.local import LocalProblem, Point  # imports CVXPY

    community = streets.street(kind, seed)
    prepared, chance = Prepared.of(community, MANAGED), np.random.default_rng(seed)
    terms, hours = ManagedTerms.of(community, prepared.baseline_net_kw), community.step_hours
    for view in member_views(community)[:3]:
        member = ManagedMember(view, prepared.alone[view.node], terms)
        price = [int(chance.integers(f, i + 1)) for f, i in zip(terms.feed_in_micro, terms.import_micro, strict=True)]
        number = next(k for k in range(1, 10) if is_weighing(k))
        units, gain_nano = member.told(number, price, price)
        worth = hours * np.array(price) / 1e6
        own = prepared.alone[view.node]["injection_kvar"]
        linear, penalties = np.array([-worth, -own]), np.array([np.zeros(own.shape), np.ones(own.shape)])
        alone = LocalProblem(view, 0.0).solve(Point(linear, penalties, np.zeros(0), np.zeros(own.shape)))
        least = alone.own_cost - float(worth @ alone.copies[0])
        net_kw = member.plan["injection_kw"]
        there = LocalProblem(view, 0.0).carried_out(
            Point(
                np.array([-1e6 * net_kw, -own]), np.array([np.full(own.shape, 1e6), np.ones(own.shape)]),
                np.zeros(0), np.zeros(own.shape),
            )
        )  # fmt: skip
        assert gain_nano / NANO == pytest.approx(there.own_cost - float(worth @ net_kw) - least, abs=2e-4)
        assert units * terms.unit_mwh / MWH / hours == pytest.approx(net_kw, abs=terms.unit_mwh / MWH / hours)
