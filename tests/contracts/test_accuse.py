"""Referee: false residuals are proved, honest ones are not; and the aggregator excludes who was proved false."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from eth_abi import encode
from helpers import FEEDER, STAR, TRADERS, pack_residuals
from link import Link, Reverted, refused
from reference.aggregator_model import Declared, bitmap
from reference.referee_model import NOBODY, ResidualEvidence, entries, residuals

# Who trades with whom, in which steps; one entry a partner. 4 lists 2, which does not list it; 3 and 4 have different
# steps.
BOOKS = {
    0: b"",
    1: bytes((2, 3, 0, 5, 7)) + bytes((3, 2, 1, 2)),
    2: bytes((1, 3, 0, 5, 7)) + bytes((3, 1, 9)),
    3: bytes((1, 2, 1, 2)) + bytes((2, 1, 9)) + bytes((4, 1, 3)),
    4: bytes((2, 2, 4, 5)) + bytes((3, 1, 8)),
    5: b"",
}


def with_books(tree, books=BOOKS):
    """The tree, with books and as many bids as they have."""
    return {
        node: replace(said, book=books.get(node, b""), bids=sum(len(one.steps) for one in entries(books.get(node, b"")).values()))
        for node, said in tree.items()
    }


TREES = {"star": with_books(STAR), "feeder": with_books(FEEDER), "traders": with_books(TRADERS)}


@pytest.fixture(scope="module")
def judge(referee):
    """Asks the referee; raises what it finds missing."""
    link = Link(referee)

    def ask(community, node, evidence, round_=1):
        data = evidence if isinstance(evidence, bytes) else evidence.encode()
        link.view("judge", str(community.aggregator), round_, node, data)

    return ask


def honest(community, node):
    """What the node has to report with its next submission."""
    now = community.model.now
    if now.iteration == 1:
        return [0, 0, 0, 0]
    return residuals(now, community.steps, node, now.iteration - 1)


def iterate(community, order=None, false=None, lie=None):
    """An iteration in which all but `false` report honestly; returns the last receipt."""
    for node in order or sorted(community.model.now.active):
        mine = honest(community, node)
        tx = community.submit(node, lie(mine) if node == false else mine)
    return tx


def off_by(lane, difference):
    def lie(mine):
        return [value + difference * (at == lane) for at, value in enumerate(mine)]

    return lie


@pytest.fixture
def negotiating(community):
    """A community of a kind, with books, after three honest iterations."""

    def make(kind, iterations=3, **options):
        made = community(TREES[kind], **options)
        made.start()
        for _ in range(iterations):
            iterate(made)
        return made

    return make


# ---------------------------------------------------------------------- proved, and excluded


@pytest.mark.parametrize("kind", ["star", "feeder"])
@pytest.mark.parametrize("difference", [1, -1])
@pytest.mark.parametrize("lane", range(4), ids=["r_grid", "s_grid", "r_trade", "s_trade"])
def test_falseResiduals_areProvedAndExcluded(negotiating, outsider, kind, lane, difference):
    """RF2, VA9: each of the four, too large or too small by one."""
    made = negotiating(kind)
    iterate(made, order=[0, 1, 3], false=3, lie=off_by(lane, difference))
    evidence = ResidualEvidence.of(made.model.now, 3, 3).encode()
    tx = made.send(outsider, "accuse", 1, 3, evidence)
    made.model.exclude(3)
    assert tx.names == ["Excluded"]
    assert tx.one("Excluded").values == {"round": 1, "iteration": 4, "node": 3, "proved": True}
    made.check()
    with refused("NotInRound: 3, 1"):
        made.send(outsider, "accuse", 1, 3, evidence)
    iterate(made, order=sorted(made.model.now.active - {0, 1}))
    made.check()


def test_accuse_closesTheIterationThatWaitedForTheNode(negotiating, outsider):
    """All others are there: with the false node out, nobody is missing."""
    made = negotiating("star")
    iterate(made, false=2, lie=off_by(0, -1))
    evidence = ResidualEvidence.of(made.model.now, 2, 3)
    iterate(made, order=[4, 1, 3, 0])
    evidence = ResidualEvidence.of(made.model.now, 2, 3)
    tx = made.send(outsider, "accuse", 1, 2, evidence.encode())
    made.model.exclude(2)
    assert tx.names == ["Excluded", "IterationClosed", "IterationOpened"]
    assert tx.one("IterationClosed")["present"] == 0b11011
    made.check()


def test_accuse_leavesTheCopiesThatAreThere(negotiating, outsider):
    """A false node that has submitted already stays in the sums, and is not counted; the iteration is not judged."""
    made = negotiating("star")
    iterate(made, false=2, lie=off_by(0, -1))
    for node in (2, 1, 3):
        made.submit(node, [0] * 4)
    tx = made.send(outsider, "accuse", 1, 2, ResidualEvidence.of(made.model.now, 2, 3).encode())
    made.model.exclude(2)
    made.check()
    assert made.view("progress")[4:6] == (2, 4)
    made.submit(4, [0] * 4)
    tx = made.submit(0, [0] * 4)
    assert tx.one("IterationClosed")["present"] == 0b11111
    assert tx.names[-1] == "IterationOpened"
    made.check()
    for _ in range(2):
        tx = iterate(made, false=None)
        made.check()


def test_accuse_ofARoot_endsTheRound(negotiating, outsider):
    """VA9"""
    made = negotiating("star")
    iterate(made, false=0, lie=off_by(1, 5))
    tx = made.send(outsider, "accuse", 1, 0, ResidualEvidence.of(made.model.now, 0, 3).encode())
    made.model.exclude(0)
    assert tx.one("RoundEnded").values == {"round": 1, "phase": 5, "iterations": 4}
    assert made.view("outcome", 1)[2] == 0b11111
    made.check()


def test_accuse_ofTheLastNode_endsTheRound(negotiating, outsider):
    made = negotiating("traders", max_misses=1)
    iterate(made, false=2, lie=off_by(2, 1))
    iterate(made, order=[2])
    made.close(outsider)
    tx = made.send(outsider, "accuse", 1, 2, ResidualEvidence.of(made.model.now, 2, 3).encode())
    made.model.exclude(2)
    assert tx.names == ["Excluded", "RoundEnded"]
    made.check()


def test_accuse_provesOldLiesToo(negotiating, outsider):
    """RF2: as long as the round runs."""
    made = negotiating("star", 1)
    iterate(made, false=1, lie=off_by(3, 1))  # about the first iteration
    for _ in range(4):
        iterate(made)
    made.send(outsider, "accuse", 1, 1, ResidualEvidence.of(made.model.now, 1, 1).encode())
    made.model.exclude(1)
    made.check()


def test_accuse_failsIfTheNodeIsHonest(negotiating, outsider):
    """RF1, VA6, VA9"""
    made = negotiating("star")
    iterate(made, order=[0, 1, 2])
    before = made.view("progress"), made.view("roster")
    for node in (0, 1, 2):
        for k in (1, 2, 3):
            with refused("NotProved: residuals"):
                made.send(outsider, "accuse", 1, node, ResidualEvidence.of(made.model.now, node, k).encode())
    assert (made.view("progress"), made.view("roster")) == before


def test_accuse_failsIfNotOfThisRound(negotiating, outsider):
    made = negotiating("traders")
    evidence = ResidualEvidence.of(made.model.now, 1, 1).encode()
    with refused("WrongRound: 1, 2"):
        made.send(outsider, "accuse", 2, 1, evidence)
    with refused("NodeOutOfRange: 128"):
        made.send(outsider, "accuse", 1, 128, evidence)
    with refused("NotInRound: 4, 1"):
        made.send(outsider, "accuse", 1, 4, evidence)
    iterate(made)
    for node in (1, 2, 3):
        made.submit(node, [0] * 4)
    for node in (1, 2, 3):
        made.submit(node, [0] * 4) if made.model.now.running else None
    assert not made.model.now.running
    with refused("WrongPhase: 3"):
        made.send(outsider, "accuse", 1, 1, evidence)


# ---------------------------------------------------------------------- what evidence has to hold


def test_judge_saysWhatDoesNotFit(negotiating, judge):
    """Each part of the evidence is bound to what the aggregator stores."""
    made = negotiating("star")
    iterate(made, false=3, lie=off_by(0, 1))
    now = made.model.now
    good = ResidualEvidence.of(now, 3, 3)
    judge(made, 3, good)
    first, *others = good.partners
    before, links = good.accused
    wrong_book = (first[0] + b"\1", *first[1:])
    wrong_history = (first[0], (first[1][0], first[1][1][1:]), *first[2:])
    for changed, why in (
        (replace(good, head_before=bytes(32)), "head"),
        (replace(good, closed=good.closed[:-1]), "head"),
        (replace(good, iteration=4), "head"),
        (replace(good, closed=[(*good.closed[0][:1], 0, *good.closed[0][2:]), *good.closed[1:]]), "head"),
        (replace(good, sums=(good.sums[0] ^ 1, *good.sums[1:])), "sums"),
        (replace(good, sums_before=()), "sums"),
        (replace(good, book=b""), "book"),
        (replace(good, accused=(before, links[1:])), "history"),
        (replace(good, accused=(bytes(32), links)), "history"),
        (replace(good, copies=good.copies[1:]), "copies"),
        (replace(good, bids=b""), "bids"),
        (replace(good, bids_before=good.bids), "bids"),
        (replace(good, partners=[wrong_book, *others]), "book"),
        (replace(good, partners=[wrong_history, *others]), "history"),
        (replace(good, partners=[(*first[:2], first[3], first[3]), *others]), "bids"),
        (replace(good, partners=[(*first[:3], first[2]), *others]), "bids"),
    ):
        with refused(f"NotProved: {why}"):
            judge(made, 3, changed)
    for node in (1, 128, 255):
        with pytest.raises(Reverted):
            judge(made, node, good)
    with refused("NotProved: head"):
        judge(made, 3, good, round_=2)


def test_judge_failsIfSubmissionsAreLeftOut(negotiating, judge):
    """RF1: what a node submitted in k - 1 or k cannot be hidden, so that its residuals look false."""
    made = negotiating("star")
    iterate(made)
    now = made.model.now
    for node in (1, 3):
        good = ResidualEvidence.of(now, node, 3)
        for first in (3, 4, 5):  # of the accused: without k - 1, k, k + 1
            short = ResidualEvidence.of(now, node, first) if first < 5 else good
            links = [one for one in good.accused[1] if one[0] >= first]
            before = short.accused[0] if first < 5 else now.commitments[node]
            with pytest.raises(Reverted, match="NotProved: (presence|history)"):
                judge(made, node, replace(good, accused=(before, links), bids_before=b""))
        hidden = [NOBODY for _ in good.partners]
        with pytest.raises(Reverted, match="NotProved: book"):
            judge(made, node, replace(good, partners=hidden))
        with pytest.raises(Reverted):  # too few
            judge(made, node, replace(good, partners=[]))


def test_judge_failsIfNothingWasClaimedYet(negotiating, judge):
    """The residuals for k come with the submission for k + 1."""
    made = negotiating("star")
    for node in (0, 1):
        with refused("NotProved: presence"):
            judge(made, node, ResidualEvidence.of(made.model.now, node, 3))
    iterate(made, order=[1])
    with refused("NotProved: residuals"):
        judge(made, 1, ResidualEvidence.of(made.model.now, 1, 3))


def test_judge_failsOnNonsense(negotiating, judge):
    """RF1"""
    made = negotiating("traders")
    chance = random.Random(3)
    good = ResidualEvidence.of(made.model.now, 1, 2)
    for nonsense in (b"", b"\0", bytes(32), bytes(64), bytes(1000), encode(["uint8", "bytes"], [2, b""]), good.encode()[:-40]):
        with pytest.raises(Reverted):
            judge(made, 1, nonsense)
    for iteration in (0, 65535):
        with pytest.raises(Reverted):
            judge(made, 1, replace(good, iteration=iteration))
    for _ in range(20):
        with pytest.raises(Reverted):
            judge(made, 1, chance.randbytes(chance.randrange(2000)))


@pytest.mark.parametrize("kind", TREES)
def test_honestNodes_cannotBeProvedFalse_byMutatedEvidence(negotiating, judge, kind):
    """RF1: hundreds of mutations of good evidence: bits, fields of other iterations and nodes."""
    made = negotiating(kind)
    chance = random.Random(kind)
    iterate(made, order=sorted(made.model.now.active)[:-1])
    now = made.model.now
    nodes = sorted(set(now.open))
    pool = [ResidualEvidence.of(now, node, k) for node in nodes for k in (1, 2, 3)]
    fields = [name for name in ResidualEvidence.__dataclass_fields__]
    judge_calls = 0
    for _ in range(250):
        node = chance.choice(nodes)
        evidence = ResidualEvidence.of(now, node, chance.choice((1, 2, 3)))
        data = None
        if chance.random() < 0.3:
            data = bytearray(evidence.encode())
            for _ in range(chance.choice((1, 1, 2, 5))):
                data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
        else:
            for name in chance.sample(fields, chance.choice((1, 1, 2, 3))):
                evidence = replace(evidence, **{name: getattr(chance.choice(pool), name)})
        with pytest.raises(Reverted):
            judge(made, node, bytes(data) if data else evidence)
        judge_calls += 1
    assert judge_calls == 250


# ---------------------------------------------------------------------- any round at all


def random_book(chance, node, everybody):
    """Some are malformed, do not mirror others, list strangers, or have more entries than bids."""
    book = b""
    for partner in everybody:
        if chance.random() < 0.6:
            common = random.Random(min(node, partner) * 100 + max(node, partner))
            steps = sorted(common.sample(range(24), common.randrange(5)))
            if chance.random() < 0.1:
                steps = steps[1:]
            book += bytes((partner, len(steps), *steps))
    trouble = chance.random()
    if trouble < 0.15:
        book += bytes((chance.randrange(256), 9, 1))
    elif trouble < 0.3:
        book = book[: chance.randrange(len(book) + 1)]
    elif trouble < 0.4:
        book += bytes((1, 1, 3))
    elif trouble < 0.5:
        book += bytes((200, 2, 1, 2))
    return book


@pytest.mark.parametrize("seed", range(10))
def test_anyRound_isJudgedAsTheModelDoes(community, outsider, judge, seed):
    """RF1, RF2: random trees, books, silences and lies; every claim of every node is judged."""
    chance = random.Random(seed)
    kind = chance.choice([STAR, FEEDER, FEEDER, TRADERS])
    books = {node: random_book(chance, node, sorted(kind)) for node in kind}
    tree = {
        node: Declared(said.parent, said.depth, said.children, chance.randrange(12), books[node])
        for node, said in kind.items()
    }
    made = community(tree, mu=9, seed=seed, max_misses=3, steps=chance.choice([1, 12, 24, 30]))
    made.start()
    verdicts = {True: 0, False: 0}
    while made.model.now.running and made.model.now.iteration < 7:
        now = made.model.now
        there = [node for node in sorted(now.active) if chance.random() < 0.85]
        for node in chance.sample(there, len(there)):
            mine = honest(made, node)
            if now.iteration > 1 and chance.random() < 0.3:
                lane = chance.randrange(4)
                mine = off_by(lane, 1 if mine[lane] == 0 else chance.choice([1, -1]))(mine)
            made.submit(node, mine)
        if now.running and now.open:
            made.close(outsider)
        if not now.running:
            break
        for node in sorted(now.nodes):
            for k in range(1, len(now.closed)):
                said = now.closed[k].parts.get(node)
                evidence = ResidualEvidence.of(now, node, k)
                if said is None:
                    with refused("NotProved: presence"):
                        judge(made, node, evidence)
                    continue
                false = said.residuals != pack_residuals(residuals(now, made.steps, node, k))
                verdicts[false] += 1
                if false:
                    judge(made, node, evidence)
                else:
                    with refused("NotProved: residuals"):
                        judge(made, node, evidence)
    made.check()
    assert verdicts[True] and verdicts[False]
    assert bitmap(made.model.now.nodes) == made.view("roster")[0]
