"""What the referee of sealed rounds finds, beside the model of what is true under the seals: RF1 and RF2 of IReferee.

Rounds drawn by chance: who is missing and who is out, whose books mirror each other, who has declared no key, who lies;
in which nodes play on for days together, and whole answers, is tests/integration/test_sealed.py."""

import random
from contextlib import suppress
from dataclasses import astuple, replace
from fractions import Fraction

import pytest
from accusing import GUILTY, SEALED_EVIDENCE, book, feeder_book, mutated, not_proved
from eth_abi import encode
from eth_abi.exceptions import EncodingError
from helpers import STAR
from link import Link, rpc
from reference.aggregator_model import Declared
from reference.referee_model import voltage_of_two
from sealed import GRID, SealedCourt, sealed_book

from gridpact.market.admm.answers import PairPart

STEPS, MISSES, ITERATIONS = 13, 2, 7
SEEDS = range(4)
NEVER = 200
"""A step after the last, which a book may list, and at which nothing is traded."""
NOT_HELD = not_proved("residuals")
NOMINAL_V, LIMITS, MILLIWATT = 400, (0.96, 1.04), 10
LINES = {node: (0.6 + 0.2 * node, 0.3) for node in range(1, 5)}
"""Resistance and reactance of the line from node 0 to each household, ohm."""


@pytest.fixture(scope="module")
def referee(module_isolation, SealedReferee, manager):
    return manager.deploy(SealedReferee)


def drawn_books(chance):
    """Of four households, of which most pairs mirror each other; one has a partner it lists without a step."""
    books = {node: {} for node in STAR if node}
    for one in books:
        for other in range(one + 1, 5):
            steps = sorted(chance.sample([*range(STEPS), NEVER], chance.randrange(4)))
            theirs = chance.choices((steps, steps[1:], None), (6, 1, 1))[0]
            books[one][other] = steps
            if theirs is not None:
                books[other][one] = theirs
    return books


def drawn_round(community, referee, seed):
    """A round of some iterations. Node 0 is missing in the third; a household, from then on, is not there until it is
    out; another is not there once; some claim what is not true, by a lane or two."""
    chance = random.Random(seed)
    books = drawn_books(chance)
    silent = {GRID} if seed == 2 else {chance.randrange(1, 5)} if seed % 2 else set()
    limits = feeder_book([(node, 0, *LINES[node]) for node in books], NOMINAL_V, *LIMITS)
    tree = {GRID: replace(STAR[GRID], book=limits if GRID in silent else sealed_book(GRID, limits))}
    for node, pairs in books.items():
        said = book(pairs)
        bids = sum(len(steps) for steps in pairs.values())
        tree[node] = Declared(GRID, 1, (), bids, said if node in silent else sealed_book(node, said))
    made = community(tree, steps=STEPS, max_misses=MISSES, milliwatt=MILLIWATT, seed=seed)
    made.start()
    court = SealedCourt(Link(referee), made, silent)
    lost, once = chance.sample(sorted(books), 2)
    # The first of them is missing before node 0 is, at the same time, or after it.
    since, at = chance.randrange(1, 4), chance.randrange(2, 6)
    for iteration in range(1, ITERATIONS + 1):
        missing = {
            node for node, gone in ((GRID, iteration == 3), (lost, iteration > since), (once, iteration == at)) if gone
        }
        lies = {}
        for node in sorted(books):
            if iteration > 1 and chance.random() < 0.4:
                lies[node] = changed(chance, court.truth(node, iteration - 1))
        court.iterate(set(tree) - missing, lies)
    return court


def changed(chance, claim):
    lanes = chance.sample(range(4), chance.randint(1, 2))
    return tuple(max(value + chance.choice((-1, 1, 2**40)) * (lane in lanes), 0) for lane, value in enumerate(claim))


@pytest.fixture(scope="module")
def courts(community, referee):
    return [drawn_round(community, referee, seed) for seed in SEEDS]


def guilty(expected):
    return GUILTY if expected else NOT_HELD


# ---------------------------------------------------------------------- by who shares something with the accused


def test_node0_provesWhatIsClaimedOfTheNetwork(courts):
    """Every claim of every household: false ones and no others."""
    found = set()
    for court in courts:
        for node, about in court.claims_closed():
            if node == GRID:
                continue
            expected = guilty(court.is_false_of_the_network(node, about))
            assert court.verdict(node, court.shared(GRID, node, about)) == expected, (node, about)
            found.add((expected, node in court.opened.closed[about - 1].parts))
    assert found >= {(GUILTY, True), (NOT_HELD, True), (NOT_HELD, False)}


def test_partner_provesThatLessIsClaimedThanTheTwoBid(courts):
    """By every other household, whether the books of the two mirror each other or not; not by one that was missing."""
    found = set()
    for court in courts:
        for node, about in court.claims_closed():
            here = court.opened.closed[about - 1].parts
            for other in {1, 2, 3, 4} - {node} if node != GRID else ():
                expected = guilty(court.is_less(node, about, other))
                if node in here and other not in here:
                    expected = not_proved("presence")
                assert court.verdict(node, court.shared(other, node, about)) == expected, (node, about, other)
                found.add(expected)
    assert found == {GUILTY, NOT_HELD, not_proved("presence")}


# ---------------------------------------------------------------------- answers


def drawn_answers(chance, court, node, about):
    """The honest answer, and others: with another number in one part, what is taken from one put on another, a part
    left out or made up; cut off, and gone on."""
    honest = court.honest_answer(node, about)
    yield court.encoded(node, honest)
    partners = court.partners(node)
    parts = {other: PairPart(0, 0, (0,) * len(steps)) for other, (steps, _) in partners.items()}
    for _ in range(4):
        told = dict(honest)
        one, other = chance.choice(sorted(partners)), chance.choice(sorted(partners))
        kind = chance.randrange(6)
        if kind == 0:
            told.pop(one, None)
        elif kind == 1:
            told[one] = honest.get(one, parts[one])
        elif one in told:
            told[one] = spoilt(chance, told[one], kind, 1)
            if chance.random() < 0.5 and other != one and other in told:
                told[other] = spoilt(chance, told[other], kind, -1)
        yield court.encoded(node, told)
    whole = court.encoded(node, honest)
    yield whole[: chance.randrange(1, len(whole))]
    yield whole + b"\0"


def spoilt(chance, part, kind, by):
    if kind == 2:
        return replace(part, primal=max(part.primal + by, 0))
    if kind == 3:
        return replace(part, dual=max(part.dual + 4 * by, 0))
    if not part.shares:
        return part
    at = chance.randrange(len(part.shares))
    share = (part.shares[at] + by) % 2**24
    return replace(part, shares=(*part.shares[:at], share, *part.shares[at + 1 :]))


@pytest.mark.parametrize("seed", SEEDS)
def test_answers_areJudgedAsTheyAre(courts, seed):
    """All that a household answers: by anybody, whether its parts come to what it said, with the iterations that show
    who was out and without; by a partner, whether that one's part is true. Where nothing false was claimed, the honest
    answer is neither."""
    court, chance = courts[seed], random.Random(seed)
    found = set()
    for node, about in court.claims_closed():
        if node == GRID or node in court.made.model.now.out or about >= len(court.made.model.now.closed):
            continue
        here = court.opened.closed[about - 1].parts
        for told in drawn_answers(chance, court, node, about):
            expected = {
                court.of_answer(node, about, told, back): guilty(court.is_unsound(node, about, told, back))
                for back in (1, MISSES, ITERATIONS)
            }
            for other in {1, 2, 3, 4} - {node}:
                said = guilty(court.is_part_false(node, about, other, told))
                if node in here and other not in here:
                    said = not_proved("presence")
                expected[court.shared(other, node, about, told)] = said
            snapshot = rpc("evm_snapshot")
            court.told(node, about, told)
            verdicts = court.verdicts([(node, evidence.encoded()) for evidence in expected])
            rpc("evm_revert", snapshot)
            assert verdicts == list(expected.values()), (node, about, told)
            found |= {*verdicts}
        honest = court.encoded(node, court.honest_answer(node, about))
        if court.claimed[about, node] == court.truth(node, about):
            assert not court.is_unsound(node, about, honest, ITERATIONS)
            assert not any(court.is_part_false(node, about, other, honest) for other in {1, 2, 3, 4} - {node})
    assert found >= {GUILTY, NOT_HELD}


# ---------------------------------------------------------------------- plans


def voltages(court, step):
    """Exact, per unit, of every household."""
    for node, powers in court.answered(step).items():
        r, x = (Fraction(round(ohm * 10**6), 10**6) for ohm in LINES[node])
        s, q = (Fraction(units * MILLIWATT, 1000 * NOMINAL_V**2) for units in powers)
        squared = voltage_of_two(r, x, s, q)
        yield 0.0 if squared is None else float(squared) ** 0.5


def test_planThatNode0Opens_isJudgedByItsLimits(courts):
    """RF3: at every step of its newest answer, by the closed form of a line."""
    found = []
    for court in courts:
        for step in range(STEPS):
            beyond = max(max(LIMITS[0] - volts, volts - LIMITS[1]) for volts in voltages(court, step))
            if 0 < beyond < 2e-4:
                continue
            expected = GUILTY if beyond > 0 else not_proved("plan")
            if GRID in court.silent:
                expected = not_proved("secret")
            assert court.verdict(GRID, court.opened_plan(step)) == expected, step
            found.append(expected)
    assert {*found} == {GUILTY, not_proved("plan"), not_proved("secret")}


def test_planThatNode0HasNotOpened_isNotJudged(courts):
    """Signed by another key, by none, or what other keys would open."""
    court = courts[0]
    opened = court.opened_plan(0)
    for false in (
        court.opened_plan(0, signer=1),
        replace(opened, r=bytes(32)),
        replace(opened, keys=(*opened.keys[:-1], bytes(32))),
    ):
        assert court.verdict(GRID, false) == not_proved("secret")


# ---------------------------------------------------------------------- other charges


def test_chargesOfAnotherForm_proveNothing(courts, manager, PlanReferee):
    """Residuals in the open; node 0, but for its plan; and what judges plans judges nothing else."""
    court = courts[0]
    node, about = next(
        (node, about) for node, about in court.claims_closed() if court.is_false_of_the_network(node, about)
    )
    shown = court.shared(GRID, node, about)
    assert court.verdict(node, shown) == GUILTY
    assert court.verdict(node, shown.residuals) == not_proved("sealed")
    assert court.verdict(GRID, court.shared(GRID, GRID, about)) == not_proved("sealed")
    plans = Link(manager.deploy(PlanReferee))
    assert plans.view("seals") is True
    assert SealedCourt(plans, court.made).verdict(node, shown) == not_proved("sealed")


def test_truth_isNotProvedFalse_whateverTheEvidence(courts):
    """RF1: evidence about what is true, by all who can show any, with one thing in it changed."""
    chance, count = random.Random(3), 0
    for court in courts:
        cases = []
        true = [
            (node, about)
            for node, about in court.claims_closed()
            if node != GRID and court.claimed[about, node] == court.truth(node, about)
        ]
        for node, about in true:
            for other in (GRID, *({1, 2, 3, 4} - {node})):
                evidence = court.shared(other, node, about)
                for _ in range(8):
                    with suppress(EncodingError):
                        cases.append((node, encoded(mutated(astuple(evidence), chance))))
        assert GUILTY not in court.verdicts(cases)
        count += len(cases)
    assert count > 500


def encoded(evidence):
    """Sealed evidence in plain tuples."""
    *content, charge = evidence
    return encode(["uint8", "bytes"], [charge % 5, encode([SEALED_EVIDENCE], [tuple(content)])])
