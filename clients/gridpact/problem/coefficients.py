"""Bilateral trading coefficients, eqs. (26)-(29), and which trades can pay at all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import Array, CommunityDay, PriceRange, Prices

BEYOND_EXPECTED_KW = 0.1
"""What two households may trade throughout besides what their forecasts say, with batteries and cars."""


LEAST_MARGIN = 1e-9
"""kappa - f above which a trade can pay, currency/kWh."""


@dataclass(frozen=True)
class Partner:
    """What a household knows of its trades with one partner: the steps worth a bid, and its own coefficient there."""

    node: int
    steps: tuple[int, ...]  # ascending
    coefficient: Array  # (len(steps),), gamma_ij,t, currency/kWh
    within: PriceRange | None = None  # where the two have several suppliers; None: the tariff that both have


def trading_coefficients(net_power_kw: Array, chi: float) -> Array:
    """Trading coefficients gamma_ij,t from the expected net power of all households, eqs. (26)-(29).

    Args:
        net_power_kw: P_net = pv - load, shape (n, T), eq. (26).
        chi: largest coefficient, currency/kWh.

    Returns:
        gamma, shape (n, n, T), symmetric in i and j, between 0 and chi. Where both buy or both sell it is chi; else
        chi less the willingness of both, each row of which is scaled to chi/2 at its largest magnitude (eq. 28 with
        the maximum taken of the magnitude).
    """
    buy = np.maximum(-net_power_kw, 0.0)  # (27a)
    sell = np.maximum(net_power_kw, 0.0)  # (27b)

    def willingness(power: Array) -> Array:  # (28)
        largest = power.max(axis=1, keepdims=True)
        relative: Array = np.divide(power, largest, out=np.zeros_like(power), where=largest > 0)
        return chi / 2 * relative

    buying, selling = willingness(buy), willingness(sell)
    total = buying + selling
    gamma = chi - (total[:, None, :] + total[None, :, :])  # (29)
    both_buy = (buying[:, None, :] > 0) & (buying[None, :, :] > 0)
    both_sell = (selling[:, None, :] > 0) & (selling[None, :, :] > 0)
    return np.where(both_buy | both_sell, chi, gamma)


def own_coefficients(net_power_kw: Array, chi: float) -> Array:
    """gamma_i,t = chi - 2 w_i,t of one household, from its own row alone, shape (T,), between 0 and chi.

    Eq. (29) gives both partners of a pair chi - w_i - w_j. Only the sum of both matters for the optimum, since
    d_ij = -d_ji, and for a buyer and a seller it is the same here. For two who both buy or both sell it is less than
    the 2 chi of the report: neither knows on which side the other is.

    Args:
        net_power_kw: P_net of the household, (T,).
        chi: largest coefficient, currency/kWh.
    """
    willingness = np.zeros_like(net_power_kw)
    for side in (np.maximum(-net_power_kw, 0.0), np.maximum(net_power_kw, 0.0)):  # (27a), (27b)
        if (largest := side.max(initial=0.0)) > 0:
            willingness += chi / 2 * side / largest  # (28)
    return np.maximum(chi - 2 * willingness, 0.0)  # rounding must not make it negative


def community_coefficients(community: CommunityDay) -> Array:
    """gamma_ij,t of a community on its day, shape (n, n, T), with the preferences that users set themselves."""
    households = community.households
    net = np.array([household.pv_kw - household.load_kw for household in households])
    gamma = trading_coefficients(net, community.trading_coefficient)
    index = {household.name: i for i, household in enumerate(households)}
    for (name, partner), coefficient in community.preferences.items():
        gamma[index[name], index[partner], :] = coefficient
    return gamma


def partners(community: CommunityDay) -> dict[int, tuple[Partner, ...]]:
    """The trades worth a bid, by node number.

    Pruning is exact: a trade (i, j, t) is left out where gamma_ij + gamma_ji >= kappa_t - l_t - f_t, since what it
    costs the two is at least what anybody could gain by it, so it is zero in some optimum. Where the community limits
    the number of partners, pairs are drawn (see `mixed_pairs`).
    """
    gamma = community_coefficients(community)
    gain = _margins(community) - (gamma + gamma.transpose(1, 0, 2))
    pays = gain > 1e-12
    if community.most_partners is not None:
        net = np.array([-household.net_load_kw for household in community.households])
        pays &= mixed_pairs(np.where(pays, gain, 0.0), net, community.most_partners)[:, :, None]
    nodes: Sequence[int] = [household.node for household in community.households]
    prices = [community.prices_of(household) for household in community.households]
    keys = [own.key for own in prices]
    result: dict[int, tuple[Partner, ...]] = {}
    for i, node in enumerate(nodes):
        of_node = []
        for j, other in enumerate(nodes):
            steps = np.flatnonzero(pays[i, j]) if i != j else np.array([], dtype=int)
            within = None if keys[i] == keys[j] else PriceRange.of(prices[i], prices[j])
            if within is not None:
                steps = steps[within.low[steps] <= within.high[steps]]
            if len(steps):
                of_node.append(Partner(other, tuple(int(t) for t in steps), gamma[i, j, steps], within))
        result[node] = tuple(of_node)
    return result


def _margins(community: CommunityDay) -> Array:
    """What a kWh between two households can gain, (n, n, T), or (1, 1, T) where all have one tariff: the dearest import
    less the least feed-in of all of them, as trades may pass on to others."""
    return community.between.margin[None, None, :]


def mixed_pairs(gain: Array, net_power_kw: Array, most: int) -> NDArray[np.bool_]:
    """The pairs that trade where a household has `most` partners at most, shape (n, n), symmetric.

    Pairs are drawn one after the other, as long as neither side has its number, the more likely the more the two can
    do for each other: weight sqrt(e_ij / sqrt(e_i e_j)), e_ij being what they would gain by trading the smaller of
    what one has over and the other lacks at each step, and a little more; e_i the sum over all that i might trade
    with. All pairs that can gain are kept where `most` is n - 1 or more.

    Drawn, and not the best pairs throughout: those join the large with the large, in clusters between which prices
    travel slowly. Measured on fontana16 06-12, TG, grown to 64 households with 8 partners: 43 iterations to 0.1 %
    instead of 100, at a lower optimal cost. Seeded, so the same data give the same pairs.

    Args:
        gain: of a trade, currency/kWh, 0 where it cannot pay, (n, n, T), symmetric.
        net_power_kw: P_net of all households, (n, T).
    """
    n = len(net_power_kw)
    over, lack = np.maximum(net_power_kw, 0.0), np.maximum(-net_power_kw, 0.0)
    first, second = np.triu_indices(n, k=1)
    traded = np.minimum(over[first], lack[second]) + np.minimum(lack[first], over[second])
    of_pair = np.sum(gain[first, second] * (traded + BEYOND_EXPECTED_KW), axis=1)
    of_home = np.bincount(np.r_[first, second], np.r_[of_pair, of_pair], minlength=n)
    can_gain = of_pair > 0
    first, second, of_pair = first[can_gain], second[can_gain], of_pair[can_gain]
    weight = np.sqrt(of_pair / np.sqrt(of_home[first] * of_home[second]))
    # Drawing by weight without replacement: the smallest exponential number over weight is next (Efraimidis, Spirakis).
    draw = np.random.default_rng(seed=0).exponential(size=len(weight)) / weight
    kept = np.zeros((n, n), dtype=bool)
    for pair in np.argsort(draw):
        i, j = first[pair], second[pair]
        if max(kept[i].sum(), kept[j].sum()) < most:
            kept[i, j] = kept[j, i] = True
    return kept


def own_partners(
    nodes: Sequence[int],
    net_power_kw: Array,
    prices: Prices,
    chi: float,
    doubts: Mapping[int, float] | None = None,
    ranges: Mapping[int, PriceRange] | None = None,
) -> tuple[Partner, ...]:
    """Bids to all partners at all steps at which a trade can pay at all: what partners name alike, as both know it.

    Args:
        net_power_kw: P_net = pv - load of this household, (T,), eq. (26).
        chi: largest coefficient, currency/kWh.
        doubts: what trading costs besides with some of them, currency/kWh, see `doubt`; default: nothing.
        ranges: of those with another supplier, the prices that a trade can have; default: `prices`, as of all others.
    """
    own, more, apart = own_coefficients(net_power_kw, chi), doubts or {}, ranges or {}
    common = PriceRange(prices.feed_in_price, prices.import_price)
    result = []
    for node in sorted(nodes):
        within = apart.get(node, common)
        steps = np.flatnonzero(within.high - within.low > LEAST_MARGIN)
        if len(steps):
            coefficient = own[steps] + more.get(node, 0.0)
            result.append(Partner(node, tuple(steps.tolist()), coefficient, apart.get(node)))
    return tuple(result)


def doubt(had: int, delivered: int, most: float) -> float:
    """What trading with a partner is to cost more for what it has not delivered, currency/kWh, from 0 to `most`.

    The part of its positions that it did not deliver, by the rule of succession with nothing missing beforehand:
    (had - delivered) / (had + 1), so that one slip at the beginning is not all that counts.

    Args:
        had: positions in steps that were read, as the chain counts them.
        delivered: of these, within the tolerance.
        most: for who never delivers.
    """
    return most * (had - delivered) / (had + 1)
