"""Trading coefficients (26)-(29) and exact pruning, against values by hand and a problem without pruning."""

from __future__ import annotations

import cvxpy as cp
import numpy as np
import pytest

from gridpact.community.grown import grown
from gridpact.community.model import CommunityDay
from gridpact.devices.battery import Battery
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.coefficients import community_coefficients, mixed_pairs, partners, trading_coefficients
from gridpact.problem.scenario import Scenario
from unit.problem.helpers import community, household

CHI = 0.10

# Three homes, three steps; P_net in kW, eq. (26).
NET = np.array([
    [-1.0, -2.0, -4.0],  # buys always: willingness 1/4, 1/2, 1 of chi/2
    [3.0, 0.0, -1.0],  # sells 1 of chi/2, nothing, buys 1 of chi/2
    [1.0, 2.0, -5.0],  # sells 1/2, 1 of chi/2; buys 1 of chi/2
])  # fmt: skip


def test_coefficients_byHand() -> None:
    """gamma = chi - (sum of both willingnesses); chi where both buy or both sell.

    Willingness of the steps in EUR/kWh: home 0: .0125, .025, .05 (buying); home 1: .05 (selling), 0, .05 (buying);
    home 2: .025, .05 (selling), .05 (buying).
    """
    gamma = trading_coefficients(NET, CHI)
    # 12 digits: sums and quotients of a few decimal fractions, rounded by the machine only
    assert gamma[0, 1] == pytest.approx([0.10 - 0.0125 - 0.05, 0.10 - 0.025, 0.10], rel=1e-12)
    assert gamma[0, 2] == pytest.approx([0.10 - 0.0125 - 0.025, 0.10 - 0.025 - 0.05, 0.10], rel=1e-12)
    assert gamma[1, 2] == pytest.approx([0.10, 0.10 - 0.05, 0.10], rel=1e-12)


def test_coefficients_areSymmetricAndBounded() -> None:
    net = np.random.default_rng(7).normal(size=(6, 24))
    gamma = trading_coefficients(net, CHI)
    assert np.array_equal(gamma, gamma.transpose(1, 0, 2))
    assert gamma.min() >= -1e-15  # chi - chi/2 - chi/2, rounded
    assert gamma.max() <= CHI


def test_coefficients_ofIdleHome() -> None:
    """A home without any net power is willing to nothing: no division by zero."""
    gamma = trading_coefficients(np.array([[0.0, 0.0], [1.0, 2.0]]), CHI)
    assert gamma[0, 1] == pytest.approx([CHI - CHI / 4, CHI / 2], rel=1e-12)


def test_preferences_areOneSided(tiny3: CommunityDay) -> None:
    """Who prefers a partner changes what he pays himself, not what the other pays."""
    gamma = community_coefficients(tiny3)
    preferring = CommunityDay(**vars(tiny3) | {"preferences": {("ann", "bob"): 0.03}})
    changed = community_coefficients(preferring)
    assert changed[0, 1].tolist() == [0.03] * 4
    changed[0, 1] = gamma[0, 1]
    assert np.array_equal(changed, gamma)


def test_partners_ofTiny3(tiny3: CommunityDay) -> None:
    """By hand: bob's PV makes all of his selling in steps 1 and 2, all loads are flat, so gamma is 0 to bob there and
    0.10 elsewhere; 2 x 0.10 is not below kappa - f = 0.20 or 0.10, so all else is pruned."""
    found = partners(tiny3)
    assert {i: {p.node: p.steps for p in found[i]} for i in found} == {
        1: {2: (1, 2)},
        2: {1: (1, 2), 3: (1, 2)},
        3: {2: (1, 2)},
    }
    for book in found.values():
        for partner in book:
            assert partner.coefficient == pytest.approx([0.0, 0.0], abs=1e-15)  # chi - chi/2 - chi/2, rounded


def test_partners_mirrorEachOther(fontana: CommunityDay) -> None:
    found = partners(fontana)
    for i, book in found.items():
        assert [p.node for p in book] == sorted({p.node for p in book} - {i})
        for p in book:
            (mirror,) = [q for q in found[p.node] if q.node == i]
            assert mirror.steps == p.steps


def test_mixedPairs_whereThereIsRoom_areAllThatGain() -> None:
    """Sellers 0 and 1, buyers 2 and 3: every seller with every buyer, in whatever order they are drawn."""
    net = np.array([[5.0], [2.0], [-5.0], [-1.0]])
    gain = np.array([[0, 0, 1, 1], [0, 0, 1, 0.5], [1, 1, 0, 0], [1, 0.5, 0, 0]])[:, :, None]
    assert not mixed_pairs(gain, net, 0).any()
    once = mixed_pairs(gain, net, 1)
    assert np.array_equal(once, once.T)
    assert once.sum(axis=1).tolist() == [1, 1, 1, 1]
    assert np.array_equal(mixed_pairs(gain, net, 2), gain[:, :, 0] > 0)


def test_mixedPairs_preferWhoFits() -> None:
    """30 sellers of 10 kW, 200 buyers of 10 kW, 200 homes in need of nothing, 4 partners: e is 10.1 to 0.1 kWh, so a
    buyer is drawn 101^(1/4) = 3.2 times as easily as another, and 0.76 of the partners are buyers; half without a
    preference."""
    net = np.array([[10.0]] * 30 + [[-10.0]] * 200 + [[0.0]] * 200)
    gain = np.zeros((430, 430, 1))
    gain[:30, 30:] = gain[30:, :30] = 1.0
    kept = mixed_pairs(gain, net, 4)[:30]
    assert kept.sum() == 120
    assert 0.64 < kept[:, 30:230].sum() / kept.sum() < 0.88  # three standard deviations of 120 draws


def test_mixedPairs_joinTheCommunity(fontana: CommunityDay) -> None:
    """The second smallest eigenvalue of the graph's normalised Laplacian, which says how fast agreement travels, does
    not fall with the number of households: a random graph of degree 8 has 1 - 2 sqrt(7)/8 = 0.34 (Friedman 2008). With
    the best pairs throughout it was 0.63 and 0.037 for 16 and 64, and 0.0048 for 256."""
    for size in (16, 64):
        books = partners(grown(fontana, size, fontana.steps, seed=1, most_partners=8))
        graph = np.array([[float(other in [p.node for p in books[node]]) for other in books] for node in books])
        degree = graph.sum(axis=1)
        laplacian = np.eye(size) - graph / np.sqrt(np.outer(degree, degree))
        assert np.linalg.eigvalsh(laplacian)[1] > 0.3


def limited(day: CommunityDay, most: int | None) -> CommunityDay:
    return CommunityDay(**vars(day) | {"most_partners": most})


def test_partners_whereTheLimitIsLarge_areAll(fontana: CommunityDay) -> None:
    assert str(partners(limited(fontana, 15))) == str(partners(fontana))


@pytest.mark.parametrize("most", [1, 3, 8])
def test_partners_areLimitedAlike(fontana: CommunityDay, most: int) -> None:
    """Mutual, with the steps of the unlimited books, and no pair is left out that both sides have room for."""
    all_books, books = partners(fontana), partners(limited(fontana, most))
    steps = {(i, p.node): p.steps for i, book in all_books.items() for p in book}
    kept = {(i, p.node): p.steps for i, book in books.items() for p in book}
    assert all((j, i) in kept and steps[i, j] == kept[i, j] for i, j in kept)
    assert all(len(book) <= most for book in books.values())
    assert all(most in (len(books[i]), len(books[j])) for i, j in steps.keys() - kept.keys())


def unpruned_optimum(day: CommunityDay) -> float:
    """Scenario T with a trade between every two homes in every step: written anew, a loop a constraint, no pruning."""
    n, steps, dt = len(day.households), day.steps, day.step_hours
    kappa = day.prices.import_price
    feed_in = np.minimum(kappa, kappa / 2)
    gamma = community_coefficients(day)
    trade = {(i, j): cp.Variable(steps) for i in range(n) for j in range(n) if i != j}
    cost, constraints = 0, [trade[i, j] == -trade[j, i] for i, j in trade if i < j]
    for i, home in enumerate(day.households):
        bought, fed = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
        unused = cp.Variable(steps, nonneg=True)
        own = home.pv_kw - home.load_kw - unused
        constraints.append(unused <= home.pv_kw)
        for battery in home.having(Battery):
            charge, discharge = cp.Variable(steps, nonneg=True), cp.Variable(steps, nonneg=True)
            eta = battery.charge_efficiency
            stored = battery.start_kwh + dt * cp.cumsum(eta * charge - discharge / battery.discharge_efficiency)
            constraints += [
                charge <= battery.power_kw,
                discharge <= battery.power_kw,
                stored >= 0,
                stored <= battery.capacity_kwh,
                stored[steps - 1] >= battery.start_kwh,
            ]
            own = own + discharge - charge
        constraints.append(bought - fed + own == sum(trade[i, j] for j in range(n) if j != i))
        cost += dt * (kappa @ bought - feed_in @ fed)
        cost += dt * sum(gamma[i, j] @ cp.abs(trade[i, j]) for j in range(n) if j != i)
    problem = cp.Problem(cp.Minimize(cost), constraints)
    problem.solve(solver=cp.CLARABEL)
    assert problem.status == cp.OPTIMAL
    return float(problem.value)


@pytest.mark.parametrize("seed", range(4))
def test_pruning_isExact(seed: int) -> None:
    """The optimum with and without pruning is the same, also where preferences make gamma lopsided."""
    random = np.random.default_rng(seed)
    homes = [
        household(
            k,
            random.uniform(0.2, 2.0, 8).round(2),
            (random.uniform(0, 4, 8) * [0, 0, 1, 1, 1, 1, 0, 0]).round(2) if k % 2 else np.zeros(8),
            devices=(Battery(5.0, 2.0, 0.95, 0.95, 2.5),) if k == 3 else (),
        )
        for k in range(1, 5)
    ]
    day = community(
        homes,
        random.uniform(0.1, 0.5, 8).round(2),
        preferences={("home_1", "home_2"): 0.0, ("home_3", "home_4"): 0.2},
    )
    kept = sum(len(p.steps) for book in partners(day).values() for p in book)
    assert 0 < kept < 4 * 3 * 8  # there is something to trade, and something pruned
    # 1e-6: two interior-point solutions, each to a relative tolerance of 1e-8
    assert centralised_optimum(day, Scenario.T).cost == pytest.approx(unpruned_optimum(day), rel=1e-6)
