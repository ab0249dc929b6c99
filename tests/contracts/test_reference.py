"""VirtualAggregator beside ReferenceAggregator, which keeps every number in an int256 of its own: the same sums and ends."""

from __future__ import annotations

import pytest
from helpers import FEEDER, LARGE, NONE, STAR, TRADERS, Community, setting, theta
from link import Link, Reverted
from reference.aggregator_model import unpack
from reference.referee_model import BIAS

KINDS = "PQV"


@pytest.fixture
def beside(VirtualAggregator, ReferenceAggregator, referee, manager, signers):
    """Both contracts, with the same accounts and declarations."""

    def make(tree, steps=24, mu=50, seed=1):
        parameters = theta(len(tree), mu), setting(steps)
        made = Community(
            manager.deploy(VirtualAggregator, *parameters, referee), tree, signers(max(tree) + 1), seed
        )
        plain = Link(manager.deploy(ReferenceAggregator, *parameters))
        made.enrol()
        made.start()
        plain.send(manager, "enrol", list(tree), [str(made.accounts[node]) for node in tree])
        plain.send(manager, "openRound")
        for node, said in tree.items():
            plain.send(made.accounts[node], "declare", said.parent, said.children, said.depth, said.bids)
        return made, plain

    return make


def iterate(made, plain, residuals):
    """The same submissions to both; numbers there are without biases."""
    now = made.model.now
    iteration = now.iteration
    for node in made.random.sample(sorted(now.active), len(now.active)):
        part = made.part(node, residuals)
        blocks = now.blocks(node)
        tx = made.submit(node, part=part)
        copies = [
            lane - BIAS[block[0]]
            for at, block in enumerate(blocks)
            for lane in unpack(part.words[at * made.model.width : (at + 1) * made.model.width], made.steps)
        ]
        bids = [int.from_bytes(part.bids[at : at + 2], "big", signed=True) for at in range(0, len(part.bids), 2)]
        plain.send(made.accounts[node], "submit", iteration, copies, bids, residuals)
        assert plain.view("bidsOf", node) == tuple(bids)
    return iteration, tx


@pytest.mark.parametrize("tree", [STAR, FEEDER, TRADERS], ids=["star", "feeder", "traders"])
@pytest.mark.parametrize("steps", [1, 24])
def test_sums_andEnds_areTheSame(beside, tree, steps):
    """VA2, on the way to agreement; and the four tests."""
    made, plain = beside(tree, steps)
    for residuals in (LARGE, LARGE, NONE):
        iteration, tx = iterate(made, plain, residuals)
        closed = tx.one("IterationClosed")
        words = closed["sums"]
        for at, (kind, node) in enumerate(made.model.now.all_blocks()):
            lanes = unpack(words[at * made.model.width : (at + 1) * made.model.width], steps)
            copies = len(made.model.now.holders((kind, node)))
            sums = plain.view("sumsOf", iteration, node, KINDS.index(kind))
            assert sums == tuple(lane - copies * BIAS[kind] for lane in lanes)
        lanes = [closed["residuals"] >> 64 * (3 - lane) & 2**64 - 1 for lane in range(4)]
        assert list(plain.view("residualsOf", iteration)) == lanes
        assert (plain.view("iteration"), plain.view("phase")) == made.view("progress")[1:3]
    assert plain.view("phase") == 3
    assert (plain.view("gridScalars"), plain.view("tradeScalars")) == made.view("scalars")


def test_rounds_areExhaustedAlike(beside):
    made, plain = beside(STAR, mu=2)
    for _ in range(2):
        iterate(made, plain, LARGE)
    assert plain.view("phase") == made.view("progress")[2] == 4


def test_reference_refusesWhatIsNotHonest(beside, outsider):
    """It is no model of what goes wrong, but takes nothing twice and nothing from strangers."""
    made, plain = beside(TRADERS, steps=1)
    plain.send(made.accounts[1], "submit", 1, [], [0] * 4, NONE)
    for sender, call in (
        (outsider, ("submit", 1, [], [], NONE)),
        (made.accounts[1], ("submit", 1, [], [0] * 4, NONE)),
        (made.accounts[2], ("submit", 2, [], [0] * 4, NONE)),
        (made.accounts[2], ("submit", 1, [0], [0] * 4, NONE)),
        (made.accounts[2], ("declare", 2, [], 0, 0)),
    ):
        with pytest.raises(Reverted):
            plain.send(sender, *call)
