"""Communities of any size from a shipped day: synthetic, for measuring how cost grows with households and steps."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np

from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay, Feeder, Household, Line
from gridpact.errors import InputError

MOST_HOUSEHOLDS = 256
PARTNERS = 8
"""Each household's partners at most, so that its bids do not grow with the community."""

SPREAD = 0.2
"""How far a repeated household's load, PV and devices are from those of the household that it repeats."""


def grown(
    community: CommunityDay,
    households: int,
    steps: int,
    seed: int,
    most_partners: int | None = PARTNERS,
    as_shipped: bool = True,
) -> CommunityDay:
    """A community with a given number of households and steps, made from a day of a real one.

    As shipped are: the first repetition of the households (if it is to be), their places on the feeder, and all prices.
    Synthetic are:

    - *Fewer households*: those at the beginning of the feeder.
    - *More households*: the households again, on a feeder of their own from the same node 0, as often as needed. Load,
      PV, battery and car of each of these are scaled by factors between 0.8 and 1.2, and its lines have 1/1.2 of the
      impedance. So, but for losses, no voltage is further from that of node 0 than it would be on the shipped feeder
      with the same plan, and a plan that is feasible there is so here.
    - *Shorter steps*: power runs linearly within a shipped step, towards its neighbours, with the same mean, so the
      energy of every shipped step is kept, and nothing is negative. Prices and the hours of the cars are the same.

    Args:
        community: the day to grow.
        households: 1 to 256.
        steps: a multiple of the community's steps.
        seed: of the factors.
        most_partners: see `CommunityDay.most_partners`.
        as_shipped: whether the first repetition is left as it is, or scaled like the others.

    Raises:
        InputError: a number is out of its range.
    """
    if not 1 <= households <= MOST_HOUSEHOLDS:
        raise InputError(f"a grown community has 1 to {MOST_HOUSEHOLDS} households, not {households}")
    if steps < community.steps or steps % community.steps:
        raise InputError(f"'{community.name}' has {community.steps} steps: {steps} is no multiple of that")
    if community.balanced.junctions:
        raise InputError(f"'{community.name}' has junctions on its feeder, and cannot be grown")
    community = in_parts(community, steps // community.steps)
    by_node = {household.node: household for household in community.households}
    lines = {line.node: line for line in community.balanced.lines}
    order = _from_the_root(community.balanced)
    random = np.random.default_rng(seed)
    grown_households, grown_lines = [], []
    for k in range(households):
        repetition, place = divmod(k, len(order))
        node, source = k + 1, by_node[order[place]]
        household = replace(source, node=node)
        if repetition or not as_shipped:
            household = _varied(household, f"{source.name}_{repetition + 1}", random)
        grown_households.append(household)
        thicker = 1.0 if repetition == 0 and as_shipped else 1 / (1 + SPREAD)
        grown_lines.append(_moved(lines[source.node], order, repetition * len(order), thicker))
    names = {household.name for household in grown_households}
    return replace(
        community,
        name=f"{community.name} grown to {households} x {steps}",
        households=tuple(grown_households),
        feeder=replace(community.balanced, lines=tuple(grown_lines)),
        preferences={pair: value for pair, value in community.preferences.items() if names.issuperset(pair)},
        most_partners=most_partners,
    )


def in_parts(community: CommunityDay, parts: int) -> CommunityDay:
    """The same day with every step cut into parts, see `grown`."""
    if parts == 1:
        return community
    minutes = round(60 * community.step_hours) // parts
    return replace(
        community,
        step_hours=community.step_hours / parts,
        start_times=tuple(f"{t * minutes // 60:02d}:{t * minutes % 60:02d}" for t in range(parts * community.steps)),
        households=tuple(_finer(household, parts) for household in community.households),
        prices=community.prices.in_parts(parts),
    )


def in_half_hours(community: CommunityDay) -> CommunityDay:
    """The same day with steps of more than half an hour cut into half-hours.

    Raises:
        InputError: they are no whole number of half-hours.
    """
    parts = 2 * community.step_hours
    if parts > 1 and parts != round(parts):
        raise InputError(f"'{community.name}' has steps of {60 * community.step_hours:g} minutes: no half-hours")
    return in_parts(community, max(1, round(parts)))


def feeders(community: CommunityDay, count: int, households: int, steps: int, seed: int) -> tuple[CommunityDay, ...]:
    """Several communities of the same size at the same prices, each on its own transformer: the first as `grown` makes
    it, in the others all households scaled."""
    return tuple(grown(community, households, steps, seed + k, as_shipped=k == 0) for k in range(count))


def _from_the_root(feeder: Feeder) -> list[int]:
    """All nodes, each after its parent, lower ones first."""
    order: list[int] = []
    ready = set(feeder.children[GRID_CONNECTION])
    while ready:
        node = min(ready)
        ready |= set(feeder.children[node])
        ready.remove(node)
        order.append(node)
    return order


def _moved(line: Line, order: list[int], before: int, factor: float) -> Line:
    """A line of a repetition, `before` nodes being in those before it."""
    place: Mapping[int, int] = {node: before + k for k, node in enumerate(order, start=1)} | {GRID_CONNECTION: 0}
    return replace(
        line,
        node=place[line.node],
        parent=place[line.parent],
        resistance_ohm=factor * line.resistance_ohm,
        reactance_ohm=factor * line.reactance_ohm,
    )


def _finer(household: Household, parts: int) -> Household:
    """A household with every step cut into parts."""
    return replace(
        household,
        load_kw=finer(household.load_kw, parts),
        load_kvar=finer(household.load_kvar, parts),
        devices=tuple(device.finer(parts, finer) for device in household.devices),
        tariff=None if household.tariff is None else household.tariff.in_parts(parts),
    )


def finer(power: Array, parts: int) -> Array:
    """A series with every step cut into parts, (parts T,), whose means over the old steps are the old values.

    Within a step the series is linear. Its rise is the smaller of those from the step before and to the step after, or
    nothing at a peak or a low, so that no new extreme arises.
    """
    rise = np.diff(power, prepend=power[0], append=power[-1])
    before, after = rise[:-1], rise[1:]
    slope = np.where(before * after > 0, np.sign(before) * np.minimum(abs(before), abs(after)), 0.0)
    where = (np.arange(parts) + 0.5) / parts - 0.5  # of a part's middle from the step's, in steps
    return np.ravel(power[:, None] + slope[:, None] * where)


def _varied(household: Household, name: str, random: np.random.Generator) -> Household:
    """A household like another one."""
    load, pv, battery, car = random.uniform(1 - SPREAD, 1 + SPREAD, 4)
    factors = {"pv": pv, "inverter": pv, "battery": battery, "car": car}  # of others, as of the load
    return replace(
        household,
        name=name,
        load_kw=load * household.load_kw,
        load_kvar=load * household.load_kvar,
        devices=tuple(device.scaled(factors.get(device.kind, load)) for device in household.devices),
    )
