"""Referee: lies are proved and exclude, truths cannot be proved false, plans are checked by a power flow.

RF1, RF2 and RF3 are the invariants of IReferee.
"""

import copy
import random
from contextlib import suppress
from dataclasses import astuple, replace
from fractions import Fraction

import numpy as np
import pytest
from accusing import (
    GUILTY,
    PLAN,
    PLAN_EVIDENCE,
    RESIDUAL_EVIDENCE,
    RESIDUALS,
    Court,
    aged_evidence,
    answer,
    book,
    feeder_book,
    history,
    mutated,
    not_proved,
    plan_evidence,
    residual_evidence,
)
from eth_abi import encode
from helpers import FEEDER, NONE, STAR
from link import Link, refused
from reference.aggregator_model import PAYLOAD_BITS, Declared, pack
from reference.referee_model import BIAS, read_book, voltage_of_two

from gridpact.community.model import Feeder, Line
from gridpact.errors import SolverError
from gridpact.grid.powerflow import power_flow

BOOKS = {
    1: book({2: [0, 3, 5], 3: [1]}),
    2: book({1: [0, 3, 5], 4: [2, 7]}),
    3: book({1: [1]}),
    4: book({2: [2, 7]}),
}
MISSES = 200  # nobody is out for being absent


def with_books(tree, books):
    """Each node with its book, and with the bids that it needs."""
    counts = {node: sum(len(steps) for steps, _ in read_book(said).values()) for node, said in books.items()}
    return {node: replace(said, book=books.get(node, b""), bids=counts.get(node, 0)) for node, said in tree.items()}


MARKETS = {"star": with_books(STAR, BOOKS), "feeder": with_books(FEEDER, BOOKS)}


@pytest.fixture(scope="module")
def court(referee, community):
    """Makes a round before the referee, started."""

    def make(tree, **options):
        made = community(tree, **{"steps": 13, "max_misses": MISSES, **options})
        made.start()
        return Court(Link(referee), made)

    return make


@pytest.fixture(scope="module")
def played(court):
    """Both markets after one, two and three honest iterations."""
    courts = {(name, iterations): court(tree) for name, tree in MARKETS.items() for iterations in (1, 2, 3)}
    for (_, iterations), made in courts.items():
        for _ in range(iterations):
            made.iterate()
    return courts


def fresh(found):
    """To be changed by one test: the chain is taken back after it."""
    made = copy.copy(found.made)
    made.model, made.random = copy.deepcopy((made.model, made.random))
    return Court(found.referee, made)


@pytest.fixture
def after(played):
    """A market after so many iterations."""
    return lambda name, iterations=3: fresh(played[name, iterations])


@pytest.fixture(params=list(MARKETS))
def market(after, request):
    return after(request.param)


@pytest.fixture
def star_market(after):
    return after("star")


@pytest.fixture
def feeder_market(after):
    return after("feeder")


def changed(residuals, lane, by):
    return tuple(value + by * (at == lane) for at, value in enumerate(residuals))


# ---------------------------------------------------------------------- beyond reach

STEADY = 6
AGE = STEADY - 1 - 1  # the iterations before the last one, less the one that a node may miss


def still(made, node, by=(), bids=()):
    """A submission of zeros, but for some lanes, (block, step, value), and some bids, (index, value). Node 3 offers
    what node 1 does not want, so that the round goes on."""
    words = []
    for block in made.copies(node):
        lanes = [BIAS[block[0]]] * made.steps
        for where, step, value in by:
            if where == block:
                lanes[step] += value
        words += pack(lanes)
    said = [6_000 if node == 3 else 0] * made.tree[node].bids
    for index, value in bids:
        said[index] = value
    return {"words": tuple(words), "bids": b"".join(value.to_bytes(2, "big", signed=True) for value in said)}


def jumped(court, tree, node, before=(), **changes):
    """A round whose nodes say nothing but zeros, until one says something else, about which it claims the truth."""
    market = court(tree, max_misses=1, milliwatt=500)
    made = market.made
    for iteration in range(1, STEADY + 2):
        for other in sorted(made.tree):
            said = changes if (other, iteration) == (node, STEADY) else {}
            if (other, iteration + 1) in ((one, STEADY) for one, _ in before):
                said = dict(before)[other]
            made.submit(other, market.honest(other), **still(made, other, **said))
    return market


@pytest.mark.parametrize(("beyond", "verdict"), [(0, not_proved("residuals")), (1, GUILTY)])
@pytest.mark.parametrize("sign", [-1, 1])
def test_bid_isWithinReach(court, beyond, verdict, sign):
    """RF1, RF2: of a round of age a, 2^14 / a units from the agreed trade, and no unit more."""
    market = jumped(court, MARKETS["star"], 1, bids=[(2, sign * (2**14 // AGE + beyond))])
    now = market.made.model.now
    assert market.verdict(1, aged_evidence(now, 1, STEADY)) == verdict
    for other in (0, 2, 3, 4):
        assert market.verdict(other, aged_evidence(now, other, STEADY)) == not_proved("residuals")
    # evidence that does not show the age proves nothing of it
    assert market.verdict(1, residual_evidence(now, 1, STEADY)) == not_proved("residuals")


def test_bid_isWithinReach_ofWhatWasAgreed(court):
    """(d_ij - d_ji) / 2 towards zero: here -(7 + 2) / 2, that is -4."""
    reach = 2**14 // AGE
    for bid, verdict in ((-4 - reach, not_proved("residuals")), (-5 - reach, GUILTY)):
        before = ((1, {"bids": [(0, -7)]}), (2, {"bids": [(0, 2)]}))
        market = jumped(court, MARKETS["star"], 1, before, bids=[(0, bid)])
        assert market.verdict(1, aged_evidence(market.made.model.now, 1, STEADY)) == verdict


@pytest.mark.parametrize(("beyond", "verdict"), [(0, not_proved("residuals")), (1, GUILTY)])
@pytest.mark.parametrize("tree", list(MARKETS))
def test_copy_isWithinReach(court, tree, beyond, verdict):
    """2^18 / a units from the average of the block's copies; the operator's answers may be anywhere."""
    far = 2**18 // AGE + beyond
    market = jumped(court, MARKETS[tree], 2, by=[(("P", 2), 5, -far)])
    assert market.verdict(2, aged_evidence(market.made.model.now, 2, STEADY)) == verdict
    market = jumped(court, MARKETS["star"], 0, by=[(("Q", 3), 7, far)])
    assert market.verdict(0, aged_evidence(market.made.model.now, 0, STEADY)) == not_proved("residuals")


# ---------------------------------------------------------------------- lies


@pytest.mark.parametrize("by", [-1, 1])
@pytest.mark.parametrize("lane", range(4))
@pytest.mark.parametrize("before", [0, 1, 2], ids=lambda before: f"iteration{before + 1}")
@pytest.mark.parametrize("tree", list(MARKETS))
def test_accuse_excludesWhoeverChangedAResidual(after, outsider, tree, before, lane, by):
    """RF2, VA9: by one unit, of the first iteration, the second and the third; nobody else is touched."""
    made = after(tree, before + 1)
    liar = 1 if tree == "star" else 2
    claim = changed(made.honest(liar), lane, by)
    made.made.submit(liar, claim)
    evidence = residual_evidence(made.made.model.now, liar, before + 1)
    assert made.verdict(liar, evidence) == GUILTY
    expected = made.made.view("progress")[5]
    tx = made.accuse(outsider, liar, evidence)
    assert tx.names == ["Excluded"]
    assert tx.one("Excluded").values == {"round": 1, "iteration": before + 2, "node": liar, "proved": True}
    assert made.made.view("progress")[5] == expected - 1
    made.made.check()


def test_accuse_closesWhereTheLiarIsTheLastMissing(market, outsider):
    """VA8: the lie stands in an iteration that is closed by now."""
    liar, others = 3, [node for node in market.made.tree if node != 3]
    market.iterate(lies={liar: changed(market.honest(liar), 2, 1)})
    market.iterate(others)
    tx = market.accuse(outsider, liar, residual_evidence(market.made.model.now, liar, 3))
    assert tx.names == ["Excluded", "IterationClosed", "IterationOpened"]
    market.made.check()
    market.iterate()
    market.made.check()


def test_accuse_ofARootAbandons(market, outsider):
    market.made.submit(0, changed(market.honest(0), 0, -1))
    tx = market.accuse(outsider, 0, residual_evidence(market.made.model.now, 0, 3))
    assert tx.names == ["Excluded", "RoundEnded"]
    assert tx.one("RoundEnded")["phase"] == 5
    market.made.check()


def test_accuse_ofEverybodyBut(star_market, outsider):
    """Whoever lies is out, one after the other, until nobody is left but the root; the truth stays the truth."""
    star_market.iterate(lies=dict.fromkeys((1, 2, 3, 4), NONE))
    for liar in (4, 2, 1, 3):
        star_market.accuse(outsider, liar, residual_evidence(star_market.made.model.now, liar, 3))
        assert star_market.of_claim(0, 3) == not_proved("residuals")
    star_market.iterate()
    star_market.made.check()
    assert [star_market.of_claim(0, k) for k in (1, 2, 3, 4)] == [not_proved("residuals")] * 4


def test_accuse_countsTheExcludedWhereItWasPresent(market, outsider):
    """Its copies and bids stay in the sums of the iteration in which it was excluded, and in everybody's residuals."""
    liar = 2
    market.made.submit(liar, NONE)
    market.accuse(outsider, liar, residual_evidence(market.made.model.now, liar, 3))
    market.iterate()
    market.iterate()
    market.iterate()
    claims = [(node, k) for node, k, true in market.claims() if node != liar]
    cases = [(node, residual_evidence(market.made.model.now, node, k).encoded()) for node, k in claims]
    assert set(market.verdicts(cases)) == {not_proved("residuals")}


def test_accuse_failsOfTheTruth(market, outsider):
    """RF1, VA6: nothing changes."""
    for node in market.made.tree:
        evidence = residual_evidence(market.made.model.now, node, 2)
        with refused(not_proved("residuals")):
            market.made.send(outsider, "accuse", 1, node, evidence.encoded())
    market.made.check()


def test_accuse_failsUnlessTheNodeIsInARunningRound(star_market, outsider):
    made, now = star_market.made, star_market.made.model.now
    made.submit(1, NONE)
    evidence = residual_evidence(now, 1, 3)
    for refusal, round_, node in [
        ("WrongRound: 1, 0", 0, 1),
        ("WrongRound: 1, 2", 2, 1),
        ("NodeOutOfRange: 128", 1, 128),
        ("NotInRound: 9, 1", 1, 9),
    ]:
        with refused(refusal):
            made.send(outsider, "accuse", round_, node, evidence.encoded())
    star_market.accuse(outsider, 1, evidence)
    with refused("NotInRound: 1, 1"):
        made.send(outsider, "accuse", 1, 1, evidence.encoded())
    made.submit(0, NONE)
    star_market.accuse(outsider, 0, residual_evidence(now, 0, 3))
    with refused("WrongPhase: 5"):
        made.send(outsider, "accuse", 1, 2, evidence.encoded())


# ---------------------------------------------------------------------- truths and lies at random


def random_market(chance):
    """A tree of up to seven nodes, with books of which some mirror each other, some do not, and some are no books."""
    nodes = range(chance.randint(4, 7))
    depths, parents = {0: 0}, {0: 0}
    for node in nodes[1:]:
        parents[node] = chance.choice([0, *range(node)])
        depths[node] = depths[parents[node]] + 1
    steps = {(a, b): [chance.randrange(192) for _ in range(chance.randrange(4))] for a in nodes for b in nodes if a < b}
    tree = {}
    for node in nodes:
        pairs = {
            other: steps[min(node, other), max(node, other)]
            for other in nodes
            if other != node and chance.random() < 0.8
        }
        said = book(pairs)
        spoilt = chance.random()
        if spoilt < 0.2:
            said = said[: chance.randrange(len(said) + 1)]
        elif spoilt < 0.3:
            said = bytes([node, 2, 1, 1]) + said
        bids = max(0, sum(len(listed) for listed in pairs.values()) + chance.choice([0, 0, -1, 2]))
        children = tuple(other for other in nodes if other and parents[other] == node)
        tree[node] = Declared(parents[node], depths[node], children, bids, said)
    return tree


@pytest.fixture(scope="module")
def random_markets(referee, community):
    """Enrolled, no round open."""
    courts = []
    for seed in range(6):
        chance = random.Random(seed)
        tree = random_market(chance)
        made = community(tree, steps=chance.choice([1, 11, 12, 13, 25]), seed=seed, max_misses=MISSES)
        courts.append(Court(Link(referee), made))
    return courts


@pytest.mark.parametrize("seed", range(6))
def test_judge_tellsLiesFromTheTruth(random_markets, manager, seed):
    """RF1, RF2: all claims of all iterations, in random trees, with absences and liars, relayed and direct."""
    found = random_markets[seed]
    made, chance = found.made, random.Random(seed)
    missing = {chance.choice([node for node in made.tree if node])} if chance.random() < 0.7 else set()
    made.start([node for node in made.tree if node not in missing])
    if missing:
        made.close(manager)
    for _ in range(4):
        nodes = sorted(made.model.now.nodes)
        present = [node for node in nodes if chance.random() < 0.8]
        lies = {node: changed(found.honest(node), chance.randrange(4), 1) for node in present if chance.random() < 0.3}
        found.iterate(present, lies)
        if present != nodes:
            made.close(manager)
        made.check()
    claims = found.claims()
    cases = [(node, residual_evidence(made.model.now, node, k).encoded()) for node, k, _ in claims]
    assert found.verdicts(cases) == [not_proved("residuals") if true else GUILTY for _, _, true in claims]


@pytest.mark.parametrize("seed", range(3))
def test_judge_cannotBeMisled(market, seed):
    """RF1: no change of honest evidence makes it a proof, and none of what a liar left behind proves another's lie."""
    chance = random.Random(seed)
    market.iterate(lies={1: NONE})
    now = market.made.model.now
    honest = [residual_evidence(now, node, k) for node in (0, 2, 3) for k in (1, 2, 3)]
    cases = []
    for _ in range(200):
        evidence = chance.choice(honest)
        values = mutated(astuple(evidence), chance)
        data = encode(["uint8", "bytes"], [RESIDUALS, encode([RESIDUAL_EVIDENCE], [values])])
        if chance.random() < 0.2:  # offsets and lengths, too
            spoilt = bytearray(evidence.encoded())
            spoilt[32 * chance.randrange(len(spoilt) // 32) + chance.choice([0, 29, 30, 31])] = chance.randrange(256)
            data = bytes(spoilt)
        cases.append((chance.choice([0, 2, 3]), data))
    assert GUILTY not in market.verdicts(cases)
    assert market.of_claim(1, 3) == GUILTY


# ---------------------------------------------------------------------- what has to fit


def with_accused(evidence, **changes):
    return {"accused": replace(evidence.accused, **changes)}


def with_partner(evidence, at, **changes):
    partners = list(evidence.partners)
    partners[at] = replace(partners[at], **changes)
    return {"partners": tuple(partners)}


REASONS = {
    "head of another past": ("head", lambda e: {"head_before": bytes(31) + b"1"}),
    "newest iteration left out": ("head", lambda e: {"closed": e.closed[:-1]}),
    "another iteration": ("head", lambda e: {"iteration": e.iteration + 1}),
    "an earlier one": ("head", lambda e: {"iteration": e.iteration - 2}),
    "the first of them": ("head", lambda e: {"iteration": e.iteration - 1}),
    "somebody said absent": ("head", lambda e: {"closed": ((*e.closed[0][:1], 1, *e.closed[0][2:]), *e.closed[1:])}),
    "sums": ("sums", lambda e: {"sums": (e.sums[0] ^ 1, *e.sums[1:])}),
    "sums left out": ("sums", lambda e: {"sums": e.sums[:-1]}),
    "sums before": ("sums", lambda e: {"sums_before": e.sums}),
    "book": ("book", lambda e: {"book": e.book + b"x"}),
    "commitment before": ("history", lambda e: with_accused(e, before=bytes(32))),
    "submission left out": ("history", lambda e: with_accused(e, links=e.accused.links[:-1])),
    "claim": ("history", lambda e: with_accused(e, links=(*e.accused.links[:-1], (*e.accused.links[-1][:3], 1)))),
    "copies": ("copies", lambda e: {"copies": (e.copies[0] ^ 1, *e.copies[1:])}),
    "bids": ("bids", lambda e: {"bids": e.bids_before}),
    "bids before": ("bids", lambda e: {"bids_before": e.bids}),
    "partner's book": ("book", lambda e: with_partner(e, 0, book=b"")),
    "partner's history": ("history", lambda e: with_partner(e, 0, history=e.accused)),
    "partner's bids": ("bids", lambda e: with_partner(e, 0, bids=e.bids)),
    "partner's bids before": ("bids", lambda e: with_partner(e, -1, bids_before=b"")),
    "partners in another order": ("book", lambda e: {"partners": e.partners[::-1]}),
    "true": ("residuals", lambda e: {}),
}


@pytest.mark.parametrize("changes", list(REASONS))
def test_judge_saysWhatDoesNotFit(market, changes):
    why, change = REASONS[changes]
    market.made.submit(1, market.honest(1) if why == "residuals" else NONE)
    evidence = residual_evidence(market.made.model.now, 1, 3)
    if why != "residuals":
        assert market.verdict(1, evidence) == GUILTY
    assert market.verdict(1, replace(evidence, **change(evidence))) == not_proved(why)


def test_judge_needsTheSubmissions(market):
    """The claim itself, and those that the claim is about, and a partner's: whoever was present has them."""
    now = market.made.model.now
    evidence = residual_evidence(now, 1, 3)
    assert market.verdict(1, evidence) == not_proved("presence")  # nothing was claimed yet
    market.made.submit(1, NONE)
    evidence = residual_evidence(now, 1, 3)
    assert market.verdict(1, replace(evidence, accused=history(now, 1, 4))) == not_proved("presence")
    assert market.verdict(1, replace(evidence, accused=history(now, 1, 3))) == not_proved("presence")
    for first in (3, 4):
        shorter = with_partner(evidence, 0, history=history(now, 2, first))
        assert market.verdict(1, replace(evidence, **shorter)) == not_proved("presence")


def test_judge_takesLongerChains(market):
    """Submissions from the first one on prove the same as those from k - 1."""
    market.made.submit(1, NONE)
    now = market.made.model.now
    evidence = residual_evidence(now, 1, 3)
    whole = tuple(
        replace(partner, history=history(now, at, 1))
        for partner, at in zip(evidence.partners, read_book(evidence.book), strict=True)
    )
    assert market.verdict(1, replace(evidence, accused=history(now, 1, 1), partners=whole)) == GUILTY
    market.iterate([node for node in market.made.tree if node != 1])
    market.iterate()
    assert market.of_claim(1, 3) == GUILTY
    assert market.of_claim(1, 4) == not_proved("residuals")


def test_judge_isAboutOneRoundNodeAndContract(star_market, feeder_market, outsider):
    star_market.made.submit(1, NONE)
    evidence = residual_evidence(star_market.made.model.now, 1, 3)
    assert star_market.verdict(1, evidence) == GUILTY
    assert star_market.verdict(2, evidence) == not_proved("book")
    assert star_market.verdict(1, replace(evidence, book=BOOKS[2])) == not_proved("book")
    assert star_market.verdict(2, replace(evidence, book=BOOKS[2])) == not_proved("history")
    assert star_market.verdict(1, evidence, round_=2) == not_proved("head")
    assert star_market.verdict(1, evidence, aggregator=feeder_market.made.aggregator) == not_proved("head")
    assert star_market.verdict(128, evidence) != GUILTY


def test_judge_knowsOnlyTheCurrentRound(star_market, outsider):
    """A lie of a round that is over excludes nobody from the next one."""
    made = star_market.made
    made.submit(1, NONE)
    made.submit(0, NONE)
    evidence = residual_evidence(made.model.now, 1, 3)
    star_market.accuse(outsider, 0, residual_evidence(made.model.now, 0, 3))
    made.start()
    for _ in range(2):
        assert star_market.verdict(1, evidence, round_=1) == not_proved("head")
        assert star_market.verdict(1, evidence, round_=2) == not_proved("head")
        star_market.iterate()


def test_judge_refusesWhatIsNoEvidence(market):
    now = market.made.model.now
    honest = residual_evidence(now, 1, 2).encoded()
    none = replace(residual_evidence(now, 1, 2), closed=(), head_before=now.head).encoded()
    few = replace(residual_evidence(now, 1, 2), partners=()).encoded()
    cut = [honest[:-32], honest[:200], bytes(31) + b"\2" + honest[32:]]
    cases = [b"", bytes(31), bytes(96), bytes(1000), *cut, none, few]
    assert {GUILTY, not_proved("residuals")}.isdisjoint(market.verdicts([(1, case) for case in cases]))


def test_judge_ofWhoWasAbsentWantsZero(market, manager):
    """RF1, RF2: no block and no bid counts."""
    market.iterate([0, 2, 3, 4])
    market.made.close(manager)
    with market.undone():
        market.made.submit(1, NONE)
        assert market.of_claim(1, 4) == not_proved("residuals")
    for lane in range(4):
        with market.undone():
            market.made.submit(1, changed(NONE, lane, 1))
            assert market.of_claim(1, 4) == GUILTY
    market.iterate()  # the others know nothing of its change since 3
    market.iterate()
    cases = [(node, residual_evidence(market.made.model.now, node, k).encoded()) for node, k, _ in market.claims()]
    assert set(market.verdicts(cases)) == {not_proved("residuals")}


def test_judge_ofTheLargestNumbers(large_court):
    """RF1: 192 steps, copies that jump from one end of their range to the other, bids too; nothing overflows."""
    made = large_court.made
    for iteration in range(4):
        parts = []
        for node in made.tree:
            end = (iteration + (node > 1)) % 2
            words = [
                word
                for kind, _ in made.model.now.blocks(node)
                for word in pack([end * ((1 << PAYLOAD_BITS[kind]) - 1)] * made.steps)
            ]
            bids = (b"\x7f\xff" if end else b"\x80\x00") * made.tree[node].bids
            parts.append(made.part(node, large_court.honest(node), words=tuple(words), bids=bids))
        made.relay(parts, made.manager)
        made.check()
    cases = [(node, residual_evidence(made.model.now, node, k).encoded()) for node, k, _ in large_court.claims()]
    assert set(large_court.verdicts(cases)) == {not_proved("residuals")}
    made.submit(1, changed(large_court.honest(1), 1, 1))
    assert large_court.of_claim(1, 4) == GUILTY


@pytest.fixture(scope="module")
def large_court(court):
    steps = {1: book({2: range(192)}), 2: book({1: range(192)})}
    return court(with_books(FEEDER, steps), steps=192)


# ---------------------------------------------------------------------- books


PAIRS = {
    "same": ({2: [1, 2]}, {1: [1, 2]}),
    "other steps": ({2: [1, 2]}, {1: [1, 3]}),
    "fewer steps": ({2: [1, 2]}, {1: [1]}),
    "not listed": ({2: [1, 2]}, {3: [1, 2]}),
    "listed with no steps": ({2: []}, {1: []}),
    "not at the same place": ({0: [9], 2: [1, 2]}, {0: [], 1: [1, 2]}),
    "no node": ({2: [1, 2], 128: [1], 255: [1]}, {1: [1, 2], 200: [5]}),
    "with itself": ({1: [4], 2: [1, 2]}, {1: [1, 2], 2: [3]}),
}
ODD = {
    "empty": b"",
    "half an entry": b"\2",
    "steps missing": b"\2\3\1\2",
    "descending": book({3: [1]}) + book({2: [1, 2]}),
    "twice": book({2: [1, 2]}) * 2,
    "more after the last": book({2: [1, 2], 255: [7]}) + book({0: [1]}),
}


@pytest.fixture(scope="module")
def enrolled_market(referee, community):
    """No round is open."""
    return Court(Link(referee), community(MARKETS["star"], steps=13, max_misses=MISSES))


@pytest.mark.parametrize("bids", [1, 5])
@pytest.mark.parametrize("books", [*PAIRS, *ODD])
def test_judge_readsAnyBooks(enrolled_market, books, bids):
    """RF1, RF2: the same bids count for the referee as for the model, however many of them were declared."""
    one, other = ODD.get(books), book({1: [1, 2]})
    if one is None:
        one, other = map(book, PAIRS[books])
    found = fresh(enrolled_market)
    tree = dict(found.made.tree)
    tree |= {node: replace(tree[node], book=said, bids=bids) for node, said in ((1, one), (2, other))}
    found.made.tree = {node: found.made.carried(tree, node) for node in tree}
    found.made.start()
    found.iterate()
    found.iterate()
    found.iterate(lies={1: changed(found.honest(1), 2, 1), 2: changed(found.honest(2), 3, 1)})
    assert [found.of_claim(node, 1) for node in tree] == [not_proved("residuals")] * 5
    assert [found.of_claim(node, 2) for node in (1, 2)] == [GUILTY] * 2
    assert [found.of_claim(node, 2) for node in (0, 3, 4)] == [not_proved("residuals")] * 3


# ---------------------------------------------------------------------- plans

LINE = 0.5, 0.1  # ohm
STAR_OF_LINES = [(node, 0, *LINE) for node in (1, 2, 3, 4)]
UNIT_KW = 1e-5  # 10 mW
STEPS = 24
LARGEST = 2**19 - 1  # units


@pytest.fixture(scope="module")
def enrolled_grid(referee, community):
    """Node 0 and five households, enrolled, no round open; the feeder may have phantoms with higher numbers."""
    tree = {0: Declared(0, 0, (1, 2, 3, 4, 5), 0)} | {node: Declared(0, 1, (), 0) for node in range(1, 6)}
    return Court(Link(referee), community(tree, steps=STEPS, max_misses=MISSES))


@pytest.fixture
def grid(enrolled_grid):
    return fresh(enrolled_grid)


class Operator:
    """Node 0: publishes a feeder, and answers in the first iteration of a round.

    Args:
        units: P and Q by child, resolution units a step.
    """

    def __init__(self, court, said, units, missing=()):
        self.court, made = court, court.made
        made.open()
        for node in made.tree:
            if node not in missing:
                made.declare(node, **({"book": said} if node == 0 else {}))
        if missing:
            made.close(made.manager)
        made.submit(0, NONE, words=answer(units))

    def evidence(self, step):
        return plan_evidence(self.court.made.model.now, 0, step)

    def verdicts(self, steps=range(STEPS)):
        return self.court.verdicts([(0, self.evidence(step).encoded()) for step in steps])


def constant(units, nodes=range(1, 6)):
    """The same P, and half of it as Q, of all at every step."""
    return {node: ([units] * STEPS, [units // 2] * STEPS) for node in nodes}


def exact(lines, units, nominal_v=400.0):
    """OpenDSS's voltages, (n, T), p.u.; nan where it has no solution. Who is not in `units` injects nothing."""
    feeder = Feeder(nominal_v, 0.9, 1.1, tuple(Line(*line) for line in sorted(lines)))
    nothing = [0] * STEPS
    p, q = (
        np.array([units.get(line.node, (nothing, nothing))[kind] for line in feeder.lines]) * UNIT_KW for kind in (0, 1)
    )
    voltage = np.full(p.shape, np.nan)
    for step in range(STEPS):
        with suppress(SolverError):
            voltage[:, step] = power_flow(feeder, p[:, [step]], q[:, [step]]).voltage_pu[:, 0]
    return voltage


def random_lines(chance, nodes):
    """Lines that are listed in the order of their distance from the root; numbers are not."""
    order = list(nodes)
    chance.shuffle(order)
    return [
        (node, chance.choice([0, *order[:at]]), chance.uniform(0, 0.8), chance.uniform(0, 0.5))
        for at, node in enumerate(order)
    ]


@pytest.mark.parametrize("nominal_v", [230, 400])
@pytest.mark.parametrize("seed", range(4))
def test_plan_isJudgedByItsExactVoltages(grid, seed, nominal_v):
    """RF3: on random feeders, with phantoms, at steps of both words. In between, the referee may say what it likes."""
    chance = random.Random(seed)
    lines = random_lines(chance, range(1, 6 + 2 * (seed % 2)))
    units = {
        node: tuple([int(chance.uniform(-1, 1) * at / STEPS * LARGEST) for at in range(1, STEPS + 1)] for _ in "PQ")
        for node in range(1, 6)
    }
    voltage = exact(lines, units, nominal_v)
    lowest, highest = chance.uniform(0.95, 0.99), chance.uniform(1.005, 1.03)
    with grid.undone():
        said = feeder_book(lines, nominal_v, lowest, highest)
        verdicts = Operator(grid, said, units).verdicts()
    excess = np.maximum(lowest - voltage, voltage - highest).max(axis=0)
    assert (excess <= 0).any()
    assert (excess > 2e-4).any()
    for step in range(STEPS):
        if excess[step] <= 0:
            assert verdicts[step] == not_proved("plan")
        elif excess[step] > 2e-4:
            assert verdicts[step] == GUILTY


@pytest.mark.parametrize("units", [-LARGEST, LARGEST], ids=["lowest", "highest"])
@pytest.mark.parametrize(
    ("beyond", "verdict"),
    [(-1e-6, "plan"), (0.9e-4, "plan"), (1.1e-4, GUILTY), (2e-4, GUILTY)],  # OpenDSS's own tolerance is 1e-9
)
def test_plan_mayBeOutsideByTheTolerance(grid, units, beyond, verdict):
    """RF3: by 1e-4 p.u., at either limit."""
    lines = [(1, 0, *LINE), (2, 1, *LINE), (3, 2, *LINE), (4, 1, *LINE), (5, 4, *LINE)]
    voltage = exact(lines, constant(units))[:, 0]
    limits = (voltage.min() + beyond, 1.2) if units < 0 else (0.8, voltage.max() - beyond)
    found = Operator(grid, feeder_book(lines, 400, *limits), constant(units)).verdicts([0, STEPS - 1])
    assert found == [verdict if verdict == GUILTY else not_proved(verdict)] * 2


R, X, NOMINAL_V = Fraction(1, 4), Fraction(1, 8), 20  # of one line, ohm
LOAD_LIMIT = Fraction(4, 5)  # the largest load that it can carry, W per NOMINAL_V^2, with half of it as reactive power


def one_line(share):
    """P of node 1, resolution units, and the exact voltage there, p.u.; None where there is none."""
    units = int(LOAD_LIMIT * Fraction(share) * NOMINAL_V**2 * 100) // 2 * 2
    s = Fraction(units, 100 * NOMINAL_V**2)
    squared = voltage_of_two(R, X, s, s / 2)
    return {**constant(0), 1: ([units] * STEPS, [units // 2] * STEPS)}, squared and float(squared) ** 0.5


@pytest.mark.parametrize("share", [-0.99, -0.9, -0.2, 0, 0.2, 1, 1.5])
def test_plan_isJudgedUpToWhatALineCarries(grid, share):
    """RF3: compared with a closed form, from 0.6 to 1.3 p.u."""
    units, voltage = one_line(share)
    for beyond, verdict in ((-1e-5, not_proved("plan")), (2e-4, GUILTY)):
        with grid.undone():
            said = feeder_book([(1, 0, float(R), float(X))], NOMINAL_V, voltage + beyond, 2)
            assert Operator(grid, said, units).verdicts([0]) == [verdict]


@pytest.mark.parametrize("share", [-1.0001, -1.1, -2, -16])
def test_plan_thatALineCannotCarryIsProved(grid, share):
    """RF3: there is no voltage at all."""
    units, voltage = one_line(share)
    assert voltage is None
    said = feeder_book([(1, 0, float(R), float(X))], NOMINAL_V, 0.9, 1.1)
    assert Operator(grid, said, units).verdicts([0]) == [GUILTY]


def test_plan_thatAFeederCannotCarryIsProved(grid):
    """RF3: from far too much to what it can carry, along a row of households."""
    lines = [(node, node - 1, *LINE) for node in range(1, 6)]
    units = {node: ([-LARGEST >> at // 2 for at in range(STEPS)], [0] * STEPS) for node in range(1, 6)}
    lowest = exact(lines, units, 60).min(axis=0)  # below 0.1 p.u., OpenDSS takes loads for impedances
    assert lowest[0] < 0.1
    assert lowest[-1] > 0.9
    verdicts = Operator(grid, feeder_book(lines, 60, 0.9, 1.1), units).verdicts()
    assert verdicts == [not_proved("plan") if voltage >= 0.9 else GUILTY for voltage in lowest]


@pytest.mark.parametrize("nominal_v", [0.001, 400, 4e6])
@pytest.mark.parametrize("ohm", [0, 1e-6, 4294])
@pytest.mark.parametrize("units", [-LARGEST, LARGEST])
def test_plan_isJudgedForAnyFigures(grid, nominal_v, ohm, units):
    """Nothing overflows; without impedance every voltage is that of the source."""
    lines = [(node, node - 1, ohm, ohm) for node in range(1, 6)]
    expected = {
        (0.001, 1e-6): GUILTY,
        (0.001, 4294): GUILTY,
        (400, 4294): GUILTY,
    }.get((nominal_v, ohm), not_proved("plan"))
    said = feeder_book(lines, nominal_v, 0.9, 1.1)
    assert Operator(grid, said, constant(units)).verdicts([0, 12]) == [expected] * 2


def test_plan_onALongFeeder(grid):
    """127 lines, all but five of them phantoms: in one transaction, even where it takes many sweeps."""
    lines = [(node, node - 1, 0.02, 0.01) for node in range(1, 128)]
    units = {node: ([-LARGEST, LARGEST, 0] * (STEPS // 3), [0] * STEPS) for node in range(1, 6)}
    verdicts = Operator(grid, feeder_book(lines, 50, 0.9, 1.1), units).verdicts([0, 1, 2])
    assert verdicts == [GUILTY, GUILTY, not_proved("plan")]


def test_plan_outsideAbandonsTheRound(grid, outsider):
    """VA9"""
    operator = Operator(grid, feeder_book(STAR_OF_LINES, 400, 0.99, 1.1), constant(-LARGEST))
    tx = grid.made.send(outsider, "accuse", 1, 0, operator.evidence(13).encoded())
    assert tx.names == ["Excluded", "RoundEnded"]
    assert tx.one("Excluded").values == {"round": 1, "iteration": 1, "node": 0, "proved": True}
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 0}


def test_plan_isJudgedWithoutWhoIsNotInIt(grid):
    """RF3: a household that abstained or never declared is no child of the root, so it injects nothing there."""
    units = constant(-LARGEST, range(1, 5))
    for lines in (STAR_OF_LINES, [*STAR_OF_LINES, (6, 4, *LINE)], [*STAR_OF_LINES, (5, 4, *LINE)]):
        with grid.undone():
            operator = Operator(grid, feeder_book(lines, 400, 0.99, 1.1), units, missing=[5])
            assert operator.verdicts([0]) == [GUILTY]


def test_plan_forOneThatIsOutIsJudged(grid, outsider):
    """The answer covers it, as it was in the round when it started."""
    operator = Operator(grid, feeder_book([*STAR_OF_LINES, (5, 4, *LINE)], 400, 0.99, 1.1), constant(-LARGEST))
    for node in range(1, 6):
        grid.made.submit(node, NONE)
    grid.made.submit(5, NONE)
    grid.accuse(outsider, 5, residual_evidence(grid.made.model.now, 5, 1))
    assert operator.verdicts([0]) == [GUILTY]


MALFORMED = {
    "empty": b"",
    "header only": feeder_book([]),
    "not whole": feeder_book(STAR_OF_LINES)[:-1],
    "no voltage": feeder_book(STAR_OF_LINES, nominal_v=0),
    "no voltage, and too short for a street": feeder_book(STAR_OF_LINES[:1], nominal_v=0),
    "line of the root": feeder_book([(0, 1, *LINE), *STAR_OF_LINES]),
    "two lines of a node": feeder_book([*STAR_OF_LINES, (1, 2, *LINE)]),
    "child before its parent": feeder_book([(2, 1, *LINE), (1, 0, *LINE)]),
    "no such node": feeder_book([*STAR_OF_LINES, (128, 0, *LINE)]),
    "no such parent": feeder_book([*STAR_OF_LINES, (6, 7, *LINE)]),
    "128 lines": feeder_book([(node % 128, 0, *LINE) for node in range(1, 129)]),
}


@pytest.mark.parametrize("said", list(MALFORMED))
def test_plan_onWhatIsNoFeederIsNotJudged(grid, said):
    assert Operator(grid, MALFORMED[said], constant(-LARGEST)).verdicts([0]) == [not_proved("book")]


PLAN_REASONS = {
    "book": ("book", lambda e: {"book": e.book[:-10]}),
    "commitment before": ("history", lambda e: {"before": b"1" * 32}),
    "claim": ("history", lambda e: {"newest": (*e.newest[:3], 1)}),
    "iteration": ("history", lambda e: {"newest": (2, *e.newest[1:])}),
    "copies": ("copies", lambda e: {"copies": (e.copies[0] ^ 1, *e.copies[1:])}),
    "copies left out": ("copies", lambda e: {"copies": e.copies[:-1]}),
    "no such step": ("plan", lambda e: {"step": STEPS}),
    "far beyond": ("plan", lambda e: {"step": 2**256 - 1}),
}


@pytest.mark.parametrize("changes", list(PLAN_REASONS))
def test_plan_saysWhatDoesNotFit(grid, changes):
    why, change = PLAN_REASONS[changes]
    operator = Operator(grid, feeder_book(STAR_OF_LINES, 400, 0.99, 1.1), constant(-LARGEST))
    evidence = operator.evidence(0)
    assert grid.verdict(0, evidence) == GUILTY
    assert grid.verdict(0, replace(evidence, **change(evidence))) == not_proved(why)


def test_plan_cannotBeMisled(grid):
    """RF3: no change of evidence makes a good plan a bad one."""
    chance = random.Random(1)
    operator = Operator(grid, feeder_book(STAR_OF_LINES, 400, 0.9, 1.1), constant(1000))
    cases = []
    for _ in range(100):
        values = mutated(astuple(operator.evidence(chance.randrange(STEPS))), chance)
        cases.append((0, encode(["uint8", "bytes"], [PLAN, encode([PLAN_EVIDENCE], [values])])))
    assert GUILTY not in grid.verdicts(cases)


def test_plan_ofTheNewestSubmission(grid):
    """One that was corrected is not held against the operator; a root's earlier plans are nobody's plans."""
    operator = Operator(grid, feeder_book(STAR_OF_LINES, 400, 0.99, 1.1), constant(-LARGEST))
    old = operator.evidence(0)
    assert grid.verdict(0, old) == GUILTY
    for node in range(1, 6):
        grid.made.submit(node, NONE)
    assert grid.verdict(0, old) == GUILTY
    grid.made.submit(0, NONE, words=answer(constant(0)))
    assert grid.verdict(0, old) == not_proved("history")
    assert grid.verdict(0, operator.evidence(0)) == not_proved("plan")


def test_plan_ofAHouseholdIsNone(grid):
    """Neither of one that is no root, nor of a root without children, whatever their books read like."""
    said = feeder_book([(1, 2, *LINE), (3, 1, *LINE)], 400, 0.99, 1.01)
    for depth, parent in ((1, 0), (0, 2)):
        with grid.undone():
            made = grid.made
            made.open()
            for node in made.tree:
                changes = {"book": said, "depth": depth, "parent": parent} if node == 2 else {}
                made.declare(node, **changes)
            made.submit(2, NONE)
            assert grid.verdict(2, plan_evidence(made.model.now, 2, 0)) == not_proved("presence")


def test_plan_ofAnotherRoundIsNone(grid, outsider):
    operator = Operator(grid, feeder_book(STAR_OF_LINES, 400, 0.99, 1.1), constant(-LARGEST))
    old = operator.evidence(0)
    grid.accuse(outsider, 0, old)
    grid.made.start()
    assert grid.verdict(0, old, round_=1) == not_proved("presence")
    assert grid.verdict(0, old, round_=2) == not_proved("book")
