"""Streets with phases: the contract's power flow is that of `gridpact.grid.street_limits` to the last unit of a book,
and plans outside what node 0 published are proved. RF4 is an invariant of IReferee.
"""

import copy
import os
import random
from dataclasses import replace

import numpy as np
import pytest
from accusing import GUILTY, Court, answer, not_proved, plan_evidence
from helpers import NONE
from link import Link, read, rpc
from reference.aggregator_model import Declared
from streets import street

from gridpact.grid import street_limits
from gridpact.grid.street_limits import (
    PublishedHome,
    PublishedSection,
    PublishedStreet,
    decoded_street,
)

NODES = 128

MORE = int(os.environ.get("GRIDPACT_STREETS", 1))
"""So many times as many streets as usual (make proofs)."""


@pytest.fixture(scope="module")
def street_judge(StreetJudge, manager):
    return Link(manager.deploy(StreetJudge))


@pytest.fixture(scope="module")
def judge(street_judge):
    def verdicts(cases):
        """Of books with P and Q by node, mW and mvar: whether each is a street, and whether it is outside."""
        calls = [
            (street_judge, "judge", book, *([powers.get(node, 0) for node in range(NODES)] for powers in (p, q)))
            for book, p, q in cases
        ]
        return [tuple(found) for first in range(0, len(calls), 30) for found in read(calls[first : first + 30])]

    return verdicts


def drawn(chance, nodes, milliwatt):
    return tuple({node: round(chance.gauss(0, size)) for node in nodes} for size in (milliwatt, 0.3 * milliwatt))


def at_its_limit(published, field, outside, lowest, highest):
    """The last value, from the first one on, that is judged as this."""
    while highest - lowest > 1:
        middle = (lowest + highest) // 2
        lowest, highest = (middle, highest) if outside(field(published, middle)) else (lowest, middle)
    return lowest


def lowest(published, value):
    return replace(published, lowest=2_000_000 - value)


def highest(published, value):
    return replace(published, highest=value)


def rating(at):
    def rated(published, value):
        sections = list(published.sections)
        sections[at] = replace(sections[at], rating=value)
        return replace(published, sections=tuple(sections))

    return rated


@pytest.mark.parametrize("seed", range(6 * MORE))
def test_verdict_isThatOfTheModel_toTheLastUnit(judge, seed):
    """RF4: at the value of each limit at which the model's verdict turns, the contract's turns too: 1e-6 p.u., 1e-6 A
    of a phase or the neutral, 1e-6 VA of the transformer."""
    chance = random.Random(seed)
    feeder = street(np.random.default_rng(seed), homes=8)
    free = PublishedStreet.of(feeder)
    sections = tuple(replace(section, rating=0) for section in free.sections)
    free = replace(free, lowest=200_000, highest=1_900_000, sections=sections)
    p, q = drawn(chance, feeder.nodes, 3e6)
    at = [g for g, section in enumerate(sections) if section.transformer or chance.random() < 0.3]
    cases, expected = [], []
    for field, most in [(lowest, 1_990_000), (highest, 1_990_000), *((rating(g), 2**50) for g in at)]:
        turns = at_its_limit(free, field, lambda found: found.outside(p, q), 1, most)
        for value in (turns - 1, turns, turns + 1, turns + 2):
            cases.append((field(free, value).encoded(), p, q))
            expected.append((True, value <= turns))
    assert judge(cases) == expected


def extreme(chance):
    """A street of figures at the ends of their ranges, and injections of up to 2^52."""
    sections, phases = [], [(0, 1, 2)]
    for k in range(chance.choice([0, 1, 5, 40])):
        above = chance.randint(0, k)
        used = tuple(sorted(chance.sample(phases[above], chance.randint(1, len(phases[above])))))
        size = chance.choice([0, 1, 2**10, 2**22, 2**31 - 1])
        impedance = tuple((chance.randint(-size, size), chance.randint(-size, size)) for _ in range(len(used) ** 2))
        rated = chance.choice([0, 1, 10**9, 2**64 - 1])
        sections.append(PublishedSection(above, used, chance.random() < 0.2, rated, impedance))
        phases.append(used)
    homes = []
    for node in chance.sample(range(1, NODES), chance.choice([1, 3, 12])):
        at = chance.randint(0, len(sections))
        homes.append(
            PublishedHome(node, at, tuple(sorted(chance.sample(phases[at], chance.randint(1, len(phases[at]))))))
        )
    limits = chance.choice([(900_000, 1_100_000), (0, 2**32 - 1), (50, 2**32 - 1)])
    nominal, no_load = (
        chance.choice([2**30, 230_940_107_676, 2**48 - 1]),
        chance.choice([125 * 10**6, 10**9, 2 * 10**9]),
    )
    return PublishedStreet(nominal, *limits, no_load, tuple(sections), tuple(homes))


@pytest.mark.parametrize("seed", range(3 * MORE))
def test_verdict_isThatOfTheModel_forAnyFigures(judge, seed):
    """RF4: nothing overflows, where nothing is checked."""
    chance = random.Random(seed)
    cases, expected = [], []
    for _ in range(60):
        published = extreme(chance)
        size = chance.choice([0, 10**4, 10**7, 2**40, 2**52])
        nodes = [home.node for home in published.homes]
        p, q = ({node: chance.randint(-size, size) for node in nodes} for _ in "pq")
        cases.append((published.encoded(), p, q))
        expected.append((True, published.outside(p, q)))
    assert judge(cases) == expected
    assert {outside for _, outside in expected} == {True, False}


def test_neutral_isWithinItsRating(judge):
    """RF4: where one phase feeds in and another draws, the neutral carries more than either, and its limit is met
    first; to the last unit, as above."""
    trunk = tuple((300_000 if p == q else 100_000, 50_000) for p in range(3) for q in range(3))
    section = PublishedSection(0, (0, 1, 2), False, 0, trunk)
    homes = (PublishedHome(1, 1, (0,)), PublishedHome(2, 1, (1,)))
    free = PublishedStreet(230_940_107_676, 200_000, 1_900_000, 10**9, (section,), homes)
    fed, taken = {1: 2_000_000}, {2: -2_000_000}
    turns, *alone = (
        at_its_limit(free, rating(0), lambda found, p=p: found.outside(p, {}), 1, 2**50)
        for p in (fed | taken, fed, taken)
    )
    assert turns > 1.5 * max(alone)
    cases = [(rating(0)(free, turns + by).encoded(), fed | taken, {}) for by in (0, 1)]
    assert judge(cases) == [(True, True), (True, False)]


def test_flowThatDoesNotSettle_isProved(judge, monkeypatch):
    """RF4: it would be within its limits, and has not settled after all sweeps."""
    published = long_street(16, 3, WIDE)
    sections = tuple(replace(section, rating=0) for section in published.sections)
    published = replace(published, sections=sections)
    p = first_outside(published, swinging)
    assert judge([(published.encoded(), p, {})]) == [(True, True)]
    monkeypatch.setattr(street_limits, "MAX_SWEEPS", 10 * street_limits.MAX_SWEEPS)
    assert not published.outside(p, {})


@pytest.mark.parametrize("seed", range(3 * MORE))
def test_book_isReadAsTheModelReadsIt(judge, seed):
    """Whatever was declared; what is no street says nothing about anybody."""
    chance = random.Random(seed)
    book = PublishedStreet.of(street(np.random.default_rng(seed), homes=4)).encoded()
    p, q = drawn(chance, range(1, 5), 2e6)
    cases, expected = [], []
    for _ in range(150):
        spoilt = bytearray(book[: chance.choice([len(book), chance.randrange(len(book) + 1)])])
        for _ in range(chance.choice([1, 1, 2])):
            if spoilt:
                # the header and the last sections and homes more often than impedances, a byte or a number
                ends = [*range(30), *range(len(spoilt) - 30, len(spoilt))]
                at = chance.choice([chance.randrange(len(spoilt)), *(at for at in ends if 0 <= at < len(spoilt))])
                size = min(chance.choice([1, 1, 8]), len(spoilt) - at)
                value = chance.choice([0, 1, 2, 3, 7, 8, 128, 255, chance.randrange(256)])
                spoilt[at : at + size] = bytes([value] * size)
        found = decoded_street(bytes(spoilt))
        cases.append((bytes(spoilt), p, q))
        expected.append((found is not None, found is not None and found.outside(p, q)))
    assert judge(cases) == expected


# ---------------------------------------------------------------------- before the referee

UNIT = 10  # mW


@pytest.fixture
def grid(enrolled):
    made = copy.copy(enrolled.made)
    made.model = copy.deepcopy(made.model)
    return Court(enrolled.referee, made)


@pytest.fixture(scope="module")
def enrolled(referee, community):
    tree = {0: Declared(0, 0, (1, 2, 3, 4), 0)} | {node: Declared(0, 1, (), 0) for node in range(1, 5)}
    return Court(Link(referee), community(tree, steps=13, max_misses=200, milliwatt=UNIT))


def evidence(court, book, p, q, step):
    """Of a round in which node 0 published a street, and answered this at a step, and nothing at all others."""
    made = court.made
    made.open()
    for node in made.tree:
        made.declare(node, **({"book": book} if node == 0 else {}))
    units = {
        node: tuple([powers.get(node, 0) // UNIT if t == step else 0 for t in range(13)] for powers in (p, q))
        for node in made.tree
        if node
    }
    made.submit(0, NONE, words=answer(units))
    return {t: plan_evidence(made.model.now, 0, t) for t in range(13)}


@pytest.mark.parametrize(("kind", "step"), [(lowest, 3), (highest, 12)])
def test_plan_outsideAStreetIsProved(grid, outsider, kind, step):
    """RF4, VA9: to the last unit of the limit, and at the step where it is outside only; it ends the round."""
    feeder = street(np.random.default_rng(5), homes=4)
    free = replace(PublishedStreet.of(feeder), lowest=200_000, highest=1_900_000)
    p, q = (
        {node: abs(value) // UNIT * UNIT * (-1 if kind is lowest else 1) for node, value in part.items()}
        for part in drawn(random.Random(5), range(1, 5), 2e6)
    )
    turns = at_its_limit(free, kind, lambda found: found.outside(p, q), 1, 1_990_000)
    with grid.undone():
        told = evidence(grid, kind(free, turns + 1).encoded(), p, q, step)
        assert {grid.verdict(0, one) for one in told.values()} == {not_proved("plan")}
    told = evidence(grid, kind(free, turns).encoded(), p, q, step)
    assert [grid.verdict(0, told[t]) == GUILTY for t in range(13)] == [t == step for t in range(13)]
    assert grid.verdict(0, replace(told[step], step=13)) == not_proved("plan")
    tx = grid.made.send(outsider, "accuse", 1, 0, told[step].encoded())
    assert tx.names == ["Excluded", "RoundEnded"]


def test_plan_forWhoIsNotOnTheStreetIsProved(grid):
    """RF4: node 0 cannot leave a home out and let it draw what it likes."""
    published = PublishedStreet.of(street(np.random.default_rng(5), homes=3))
    for power, verdict in ((0, not_proved("plan")), (UNIT, GUILTY)):
        with grid.undone():
            assert grid.verdict(0, evidence(grid, published.encoded(), {4: power}, {}, 2)[2]) == verdict


def test_plan_onWhatIsNoStreetIsNotJudged(grid):
    book = PublishedStreet.of(street(np.random.default_rng(5), homes=4)).encoded()
    crowded = book + bytes([9, 0, 1]) * 128
    for spoilt in (crowded, book + b"\0", book[:25], book[:-1], book[:24] + b"\xff" + book[25:]):
        with grid.undone():
            told = evidence(grid, spoilt, {1: 10**8}, {}, 2)
            assert grid.verdict(0, told[2]) == not_proved("book")


# ---------------------------------------------------------------------- gas

MOST_GAS = 2**24


def long_street(homes, phases, limits=(900_000, 1_100_000)):
    """Homes one behind the other, each on a branch of its own, on a phase of its own or on all three."""
    trunk = tuple((300_000 if p == q else 100_000, 50_000) for p in range(3) for q in range(3))
    row, places = [], []
    for home in range(homes):
        row.append(PublishedSection(2 * home - 1 if home else 0, (0, 1, 2), home == 0, 10**15, trunk))
        here = (0, 1, 2) if phases == 3 else (home % 3,)
        row.append(PublishedSection(2 * home + 1, here, False, 10**15, ((100_000, 20_000),) * len(here) ** 2))
        places.append(PublishedHome(home + 1, 2 * home + 2, here))
    return PublishedStreet(230_940_107_676, *limits, 10**9, tuple(row), tuple(places))


def drawing(published, milliwatt):
    return {home.node: -milliwatt // 500 * 500 for home in published.homes}


def swinging(published, milliwatt):
    """Each takes what its neighbour gives: voltages move little, and settle late or never."""
    return {home.node: (-1) ** home.node * milliwatt // 500 * 500 for home in published.homes}


def first_outside(published, powers):
    """The least such powers that are outside."""
    return powers(
        published,
        1
        + at_its_limit(
            published, lambda _, value: value, lambda m: not published.outside(powers(published, m), {}), 0, 2**30
        ),
    )


WIDE = (130_000, 1_990_000)
"""Limits within which flows that hardly settle are."""


@pytest.mark.parametrize(
    ("homes", "steps", "phases", "powers", "limits"),
    [
        (16, 24, 1, drawing, (900_000, 1_100_000)),
        (55, 24, 1, drawing, (900_000, 1_100_000)),
        (64, 96, 1, drawing, (900_000, 1_100_000)),
        (64, 96, 3, swinging, WIDE),
    ],
)
def test_gas_ofAProof(community, referee, outsider, homes, steps, phases, powers, limits):
    """VA12: of a plan that is just outside, whose flow settles soon; and of one that takes all sweeps, with three
    phases everywhere."""
    published = long_street(homes, phases, limits)
    tree = {0: Declared(0, 0, tuple(range(1, homes + 1)), 0, published.encoded())}
    tree |= {node: Declared(0, 1, (), 0) for node in range(1, homes + 1)}
    court = Court(Link(referee), community(tree, steps=steps, milliwatt=500))
    made = court.made
    made.open()
    declared, *_ = [made.declare(node).gas_used for node in made.tree]
    units = {node: value // 500 for node, value in first_outside(published, powers).items()}
    made.submit(0, NONE, words=answer({node: ([one] * steps, [0] * steps) for node, one in units.items()}))
    used = court.accuse(outsider, 0, plan_evidence(made.model.now, 0, steps - 1)).gas_used
    print(f"\n  {homes} homes on {phases} phases: {used:,} gas; published for {declared:,}")
    assert max(used, declared) <= 0.95 * MOST_GAS


def test_gas_ofTheLargestStreet(judge, street_judge):
    """Of 127 homes on three phases, whose flow settles, without what a round's evidence has besides."""
    published = long_street(127, 3)
    p = first_outside(published, swinging)
    assert judge([(published.encoded(), p, {})]) == [(True, True)]
    call = street_judge.data("judge", published.encoded(), [p.get(node, 0) for node in range(NODES)], [0] * NODES)
    used = int(rpc("eth_estimateGas", {"to": street_judge.address, "data": call}), 16)
    print(f"\n  127 homes on three phases: {used:,} gas")
    assert used <= 0.95 * MOST_GAS
