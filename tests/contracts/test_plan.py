"""Referee: a plan of the grid operator's node outside the limits that it published is proved, against OpenDSS."""

from __future__ import annotations

import random
import struct
from dataclasses import replace

import numpy as np
import pytest
from helpers import STAR, TRADERS
from link import Link, Reverted, refused
from reference.aggregator_model import Declared, pack
from reference.referee_model import PlanEvidence

from gridpact.community.model import Feeder, Line
from gridpact.market.powerflow import power_flow

STEPS, MILLIWATT = 12, 500
BIAS = 1 << 19
# The referee's tolerance is 1e-4 p.u.; OpenDSS and its integers agree within 5e-6 p.u. in these feeders.
TOLERANCE, ACCURACY = 1e-4, 5e-6


def book_of(lines, lowest=0.9, highest=1.1, nominal=400.0):
    """The published form; lines (node, parent, ohm, ohm)."""
    header = struct.pack(">III", round(nominal * 1000), round(lowest * 1e6), round(highest * 1e6))
    return header + b"".join(struct.pack(">BBII", n, p, round(r * 1e6), round(x * 1e6)) for n, p, r, x in lines)


@pytest.fixture(scope="module")
def judge(referee):
    link = Link(referee)

    def ask(community, evidence, node=0, round_=1):
        link.view("judge", str(community.aggregator), round_, node, evidence.encode())

    return ask


@pytest.fixture
def planning(community):
    """A star whose node 0 published a book and answered; kW and kvar of each child, (steps,)."""

    def make(book, plan, children=(1, 2, 3, 4)):
        tree = {0: Declared(0, 0, tuple(children), 0, book)} | {child: Declared(0, 1, (), 0) for child in children}
        made = community(tree, steps=STEPS, milliwatt=MILLIWATT)
        made.start()
        words = []
        for child in children:
            for kilo in plan.get(child, (np.zeros(STEPS), np.zeros(STEPS))):
                words += pack([round(value * 1e6 / MILLIWATT) + BIAS for value in kilo])
        made.submit(0, words=tuple(words))
        return made

    return make


def evidence_of(community, step, node=0):
    return PlanEvidence.of(community.model.now, node, step)


def verdict(judge, community, step):
    """Whether the plan is proved to be outside the limits."""
    try:
        judge(community, evidence_of(community, step))
    except Reverted as error:
        assert str(error) == "NotProved: plan"
        return False
    return True


def flat(value):
    return np.full(STEPS, float(value))


# ---------------------------------------------------------------------- by hand, and against OpenDSS


def test_plan_ofOneLine_isWhatTheEquationsSay(planning, judge):
    """400 V, 0.1 ohm, 40 kW drawn: v = (1 + sqrt(1 - 4 r P)) / 2 p.u. with r P = 0.025."""
    voltage = (1 + np.sqrt(1 - 4 * 0.025)) / 2
    assert voltage == pytest.approx(0.97434, abs=1e-5)
    for margin, proved in ((2e-4, True), (1.1e-4, True), (0.9e-4, False), (-0.5e-4, False)):
        book = book_of([(1, 0, 0.1, 0.0)], lowest=voltage + margin)
        made = planning(book, {1: (flat(-40), flat(0))}, (1,))
        assert verdict(judge, made, 5) == proved


@pytest.mark.parametrize("seed", range(16))
def test_plan_isJudgedAsOpenDSSDoes(planning, judge, seed):
    """RF3: random feeders and plans, limits put close to a voltage on either side."""
    chance = random.Random(seed)
    n = chance.choice([1, 3, 6])
    lines = [
        Line(node, chance.randrange(node), chance.uniform(0.005, 0.08), chance.choice([0.0, chance.uniform(0.001, 0.05)]))
        for node in range(1, n + 1)
    ]
    children = tuple(range(1, n + 1)) if n < 6 else (1, 2, 3, 4)  # the others are on the feeder and inject nothing
    scale = chance.choice([2, 8, 15])
    injection = {
        child: tuple(np.array([chance.uniform(-scale, scale) for _ in range(STEPS)]) for _ in range(2))
        for child in children
    }
    unit = MILLIWATT * 1e-6
    kw, kvar = (
        np.array([np.round(injection.get(line.node, (flat(0),) * 2)[part] / unit) * unit for line in lines])
        for part in range(2)
    )
    voltage = power_flow(Feeder(400.0, 0.9, 1.1, tuple(lines)), kw, kvar).voltage_pu
    step = chance.randrange(STEPS)
    margin = chance.choice([0.5e-4, 0.9e-4, 1.1e-4, 2e-4, 1e-2])
    if chance.random() < 0.5:
        lowest, highest = voltage[:, step].min() + margin, 1.5
    else:
        lowest, highest = 0.5, voltage[:, step].max() - margin
    made = planning(
        book_of([(line.node, line.parent, line.resistance_ohm, line.reactance_ohm) for line in lines], lowest, highest),
        injection,
        children,
    )
    judged = 0
    for t in range(STEPS):
        outside = max(lowest - voltage[:, t].min(), voltage[:, t].max() - highest) - TOLERANCE
        if abs(outside) > ACCURACY:
            assert verdict(judge, made, t) == (outside > 0)
            judged += 1
    assert judged > STEPS // 2


def test_plan_thatTheFeederCannotCarry_isOutside(planning, judge):
    """A voltage collapse: r P is 1.25, and beyond 0.25 no voltage solves the equations; whatever the limits."""
    made = planning(
        book_of([(1, 0, 0.5, 0.1), (2, 1, 0.5, 0.1)], 0.0, 4000.0), {2: (flat(-200), flat(0))}, (1, 2)
    )
    assert verdict(judge, made, 0)


def test_plan_atTheEdgeOfCollapse_isStillSolved(planning, judge):
    """Slow to converge: 1 - 4 r P is 0.01, so v = 0.55 p.u.; it is what it is, and within its limits."""
    kilowatt = 0.2475 * 160 / 0.1
    voltage = (1 + np.sqrt(1 - 4 * 0.2475)) / 2
    assert voltage == pytest.approx(0.55)
    half = kilowatt / 2  # two households behind one line: more than one number can say
    lines = [(1, 0, 0.1, 0.0), (2, 1, 0.0, 0.0)]
    for margin, proved in ((1e-3, True), (-1e-3, False)):
        made = planning(book_of(lines, voltage + margin), {1: (flat(-half), flat(0)), 2: (flat(-half), flat(0))}, (1, 2))
        assert verdict(judge, made, 3) == proved


@pytest.mark.parametrize(
    ("lines", "kilowatt", "proved"),
    [
        ([(1, 0, 4294.0, 0.0)], 262, True),  # the highest there is: far beyond 2 p.u.
        ([(1, 0, 4294.0, 4294.0)], -262, True),  # below zero
        ([(1, 0, 0.0, 0.0)], -262, False),  # no line at all
        ([(1, 0, 1e-6, 0.0)], -262, False),
        ([(1, 0, 0.0, 4294.0)], -262, True),  # the current is more than two voltages can drive
    ],
)
def test_plan_ofExtremeLines_isJudged(planning, judge, lines, kilowatt, proved):
    """No overflow, whatever was published."""
    made = planning(book_of(lines, 0.99, 1.01), {1: (flat(kilowatt), flat(0))}, (1,))
    assert verdict(judge, made, 0) == proved


def test_plan_ofTheLargestFeeder_isJudged(planning, judge):
    """127 lines in a row, of which the fourth node draws."""
    lines = [(node, node - 1, 0.001, 0.0005) for node in range(1, 128)]
    for lowest, proved in ((0.9, False), (0.9999, True)):
        made = planning(book_of(lines, lowest), {4: (flat(-10), flat(0))})
        assert verdict(judge, made, 0) == proved


def test_plan_withoutLimitsToTheirTolerance(planning, judge):
    """A lowest voltage below the tolerance is none."""
    made = planning(book_of([(1, 0, 0.1, 0.0)], lowest=50e-6), {1: (flat(-40), flat(0))}, (1,))
    assert not verdict(judge, made, 0)


# ---------------------------------------------------------------------- excluded, and what evidence has to hold


def test_badPlan_isProvedAndEndsTheRound(planning, outsider):
    """VA9, RF3: of the newest submission, at one step."""
    drawn = np.array([0.0] * 7 + [-100.0] + [0.0] * 4)
    made = planning(book_of([(1, 0, 0.1, 0.0)], 0.95), {1: (drawn, flat(0))}, (1,))
    for step in (0, 6, 8):
        with refused("NotProved: plan"):
            made.send(outsider, "accuse", 1, 0, evidence_of(made, step).encode())
    tx = made.send(outsider, "accuse", 1, 0, evidence_of(made, 7).encode())
    made.model.exclude(0)
    assert tx.names == ["Excluded", "RoundEnded"]
    assert tx.one("RoundEnded")["phase"] == 5
    made.check()


def test_goodPlan_isNotProved(planning, judge):
    """RF1, RF3"""
    made = planning(book_of([(1, 0, 0.1, 0.0)], 0.95), {1: (flat(-10), flat(3))}, (1,))
    for step in range(STEPS):
        with refused("NotProved: plan"):
            judge(made, evidence_of(made, step))


def test_judge_saysWhatDoesNotFit(planning, judge):
    book = book_of([(1, 0, 0.1, 0.0)], 0.95)
    made = planning(book, {1: (flat(-100), flat(0))}, (1,))
    good = evidence_of(made, 3)
    judge(made, good)
    for changed, why in (
        (replace(good, step=STEPS), "plan"),
        (replace(good, step=2**255), "plan"),
        (replace(good, before=b"\1" * 32), "history"),
        (replace(good, newest=(2, *good.newest[1:])), "history"),
        (replace(good, copies=(good.copies[0] ^ 1, *good.copies[1:])), "copies"),
        (replace(good, book=book[:-1]), "book"),
    ):
        with refused(f"NotProved: {why}"):
            judge(made, changed)
    with refused("NotProved: book"):
        judge(made, good, round_=2)
    with refused("NotProved: book"):
        judge(made, good, node=1)


def test_judge_isOfTheNewestSubmissionOnly(planning, judge):
    """What was planned before is no plan any more."""
    made = planning(book_of([(1, 0, 0.1, 0.0)], 0.95), {1: (flat(-100), flat(0))}, (1,))
    old = evidence_of(made, 3)
    made.submit(1)
    judge(made, old)
    made.submit(0, words=tuple(pack([BIAS] * STEPS) * 2))
    with refused("NotProved: history"):
        judge(made, old)
    with refused("NotProved: plan"):
        judge(made, evidence_of(made, 3))


def test_judge_isOfThisRoundOnly(planning, judge):
    made = planning(book_of([(1, 0, 0.1, 0.0)], 0.95), {1: (flat(-100), flat(0))}, (1,))
    evidence = evidence_of(made, 3)
    made.submit(1)
    made.submit(0, [0] * 4, words=evidence.copies)
    newest = evidence_of(made, 3)
    judge(made, newest)
    made.submit(1, [0] * 4)
    assert made.view("outcome", 1)[0] == 3
    judge(made, newest)  # who may call it at any time; the aggregator excludes nobody any more
    made.open()
    made.declare(0)
    with refused("NotProved: presence"):
        judge(made, newest)


NO_FEEDERS = {
    "nothing": b"",
    "no line": book_of([]),
    "not whole": book_of([(1, 0, 0.1, 0.0)])[:-1],
    "no voltage": book_of([(1, 0, 0.1, 0.0)], nominal=0),
    "no such parent": book_of([(1, 2, 0.1, 0.0)]),
    "the parent comes later": book_of([(2, 1, 0.1, 0.0), (1, 0, 0.1, 0.0)]),
    "a node twice": book_of([(1, 0, 0.1, 0.0), (1, 0, 0.1, 0.0)]),
    "the root": book_of([(0, 0, 0.1, 0.0)]),
    "no node": book_of([(128, 0, 0.1, 0.0)]),
    "its own parent": book_of([(1, 1, 0.1, 0.0)]),
    "more lines than nodes": book_of([(1, 0, 0.1, 0.0)] * 128),
}


@pytest.mark.parametrize("name", NO_FEEDERS)
def test_judge_failsIfTheBookIsNoFeeder(planning, judge, name):
    made = planning(NO_FEEDERS[name], {1: (flat(-100), flat(0))}, (1,))
    with refused("NotProved: book"):
        judge(made, evidence_of(made, 0))


def test_judge_failsIfTheNodeIsNoRoot(community, judge):
    """A household that publishes a feeder plans for nobody."""
    feeder = book_of([(3, 1, 0.1, 0.0)], 0.99)
    tree = {**STAR, 1: Declared(0, 1, (), 0, feeder)}
    made = community(tree, steps=STEPS)
    made.start()
    made.submit(1)
    with refused("NotProved: presence"):
        judge(made, evidence_of(made, 0, 1), node=1)


def test_judge_takesARootWithoutChildren(community, judge):
    """It plans nothing, and so nothing can be wrong."""
    made = community({**TRADERS, 1: Declared(1, 0, (), 0, book_of([(9, 1, 0.1, 0.0)], 0.99))}, steps=STEPS)
    made.start()
    made.submit(1)
    with refused("NotProved: plan"):
        judge(made, evidence_of(made, 0, 1), node=1)
