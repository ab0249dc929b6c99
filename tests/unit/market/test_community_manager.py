"""The community with a manager: against the optimum of the community as one, and at the manager's own prices."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.market.community_manager import GAP, CommunityManager, _Manager
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


def test_managersStep_isTheLeastOfBillAndPenalty(tiny3: CommunityDay) -> None:
    """z minimises G(n z) + n rho/2 (z - a)^2: tried on a grid of z, at every step, for drawn plans."""
    chance = np.random.default_rng(1)
    manager = _Manager(tiny3, chance.normal(size=(3, tiny3.steps)))
    for _ in range(20):
        net_kw, dual_kw, rho = chance.normal(size=(3, tiny3.steps)), manager.dual_kw, manager.rho
        manager.step(net_kw)
        at = net_kw.mean(axis=0) + dual_kw
        tried = np.linspace(-5, 5, 20001)
        for t in range(tiny3.steps):
            bill = manager.imports[t] * np.maximum(-3 * tried, 0) - manager.feed_in[t] * np.maximum(3 * tried, 0)
            best = tried[np.argmin(bill + 3 * rho / 2 * (tried - at[t]) ** 2)]
            assert manager.shared_kw[t] == pytest.approx(best, abs=6e-4)
        assert (manager.price >= manager.feed_in).all()
        assert (manager.price <= manager.imports).all()


def test_endsNotBeforeTheBound(tiny3: CommunityDay) -> None:
    """Plans that cost more than the bound allows are not settled, those that do are."""
    manager = _Manager(tiny3, np.zeros((3, tiny3.steps)))
    short = np.full((3, tiny3.steps), -1.0)
    paid = manager.bill(short.sum(axis=0))
    assert paid == pytest.approx(3 * float(manager.imports.sum()))
    assert not manager.is_settled(short, short)  # the price lies halfway, and all would be dealt outside at import's
    manager.dual_kw = -manager.imports / manager.rho
    assert manager.is_settled(short, short)
    assert not manager.is_settled(short * (1 + 2 * GAP), short)
