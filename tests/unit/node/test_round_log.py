"""A round as the chain tells it is the round that its nodes would declare."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.values import Declaration, Roster
from gridpact.community.model import GRID_CONNECTION
from gridpact.community.read import read_community
from gridpact.market.admm.assembly import Assembly, Closing
from gridpact.market.admm.codec import decode_book, encode_book, encode_feeder
from gridpact.node.round_log import assembly_of
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView, node_views


def declared(view: NodeView) -> Declaration:
    assert view.feeder is not None or view.household is not None
    book = encode_book({partner.node: partner.steps for partner in view.partners})
    if view.household is None and view.feeder is not None:
        book = encode_feeder(view.feeder)
    return Declaration(view.node, view.parent, frozenset(view.children), view.depth, view.bid_count, book)


def told_by_chain(views: list[NodeView]) -> Assembly:
    nodes = frozenset(view.node for view in views)
    chain: Any = SimpleNamespace(
        started=lambda round_: Roster(nodes, nodes, nodes, frozenset()),
        declarations=lambda round_: {view.node: declared(view) for view in views},
        setting=lambda: SimpleNamespace(steps=views[0].steps),
    )
    found = assembly_of(cast("Aggregator", chain), 1)
    assert found is not None
    return found[0]


@pytest.mark.parametrize("case", ["fontana16", "amsterdam16", "stress16", "tiny3"])
def test_feederOfTheOperator_isNobodysBook(case: str) -> None:
    """The feeder of fontana16 reads like a book in which node 0 is its own partner: its bids would count in every
    node's price of a step, and a round on a chain would not be the round in memory."""
    community = read_community(case)
    views = node_views(community.on(community.days[0]), Scenario.TG, NetworkAgreement.DSO)
    by_chain, by_views = told_by_chain(views), Assembly.of_views(views)
    assert by_chain.scalars() == by_views.scalars()
    random = np.random.default_rng(1)
    bids = {view.node: random.integers(-1000, 1000, view.bid_count) for view in views}
    now = Closing(1, by_views.nodes, (0, 0, 0, 0), {}, bids, frozenset())
    for ours, theirs in zip(by_chain.balance(now), by_views.balance(now), strict=True):
        assert np.array_equal(ours, theirs)


def test_feederOfFontana_readsLikeABook() -> None:
    community = read_community("fontana16")
    operator = node_views(community.on(community.days[0]), Scenario.TG, NetworkAgreement.DSO)[0]
    assert operator.feeder is not None
    assert GRID_CONNECTION in decode_book(encode_feeder(operator.feeder))
