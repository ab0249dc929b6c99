"""The same negotiation in one process and without a chain: for studies, for tests, and as the chain's counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from gridpact.admm.agent import NO_RESIDUALS, Agent, Residuals, Submission
from gridpact.admm.codec import bids_for, book_of, encode_bids
from gridpact.admm.consensus import Integers, StarCentre
from gridpact.admm.parameters import Penalties, Resolution
from gridpact.admm.trades import partner_bids, relaxation_at
from gridpact.market.blocks import Block, holders
from gridpact.market.view import NodeView


@dataclass(frozen=True)
class Iterate:
    """Where all nodes stand after an iteration."""

    iteration: int
    agents: dict[int, Agent]  # by node
    residuals: Residuals  # of this iteration, all nodes
    scalars: tuple[int, int]  # number of copies of the network, and of bids: what the RMS divides by


def negotiate(
    views: Sequence[NodeView], penalties: Penalties, resolution: Resolution | None = None
) -> Iterator[Iterate]:
    """Runs the six steps for all nodes, one iterate after the other, for as long as it is asked."""
    resolution = resolution or Resolution()
    agents = {view.node: Agent(view, penalties, resolution) for view in views}
    parents = {view.node: view.parent for view in views}
    children = {view.node: view.children for view in views}
    counts = {
        node: np.array([len(holders(block, parents, children)) for block in agent.blocks], dtype=np.int64)
        for node, agent in agents.items()
    }
    books = {view.node: book_of(view) for view in views}
    in_turn = sorted(agents.values(), key=lambda agent: agent.consensus.answers_others)  # the operator's node is last
    copy_scalars = sum(len(agent.blocks) * agent.view.steps for agent in agents.values())
    bid_scalars = sum(view.bid_count for view in views)
    total = NO_RESIDUALS
    iteration = 0
    while True:
        iteration += 1
        sums: dict[Block, Integers] = {}
        submissions: dict[int, Submission] = {}
        for agent in in_turn:
            if isinstance(agent.consensus, StarCentre):
                wishes = np.array([sums[block] for block in agent.blocks])
                agent.consensus.hear(wishes, np.ones(len(agent.blocks), dtype=bool))
            submission = submissions[agent.view.node] = agent.solve()
            for block, lanes in zip(agent.blocks, submission.copies, strict=True):
                sums[block] = sums[block] + lanes if block in sums else lanes
        said = {node: encode_bids(submission.bids) for node, submission in submissions.items()}
        relaxation = relaxation_at(iteration, total.primal_trade, bid_scalars)
        total = NO_RESIDUALS
        for node, agent in agents.items():
            own = submissions[node]
            agent_sums = np.array([sums[block] for block in agent.blocks], dtype=np.int64).reshape(own.copies.shape)
            theirs = {p.node: bids_for(books[p.node], said[p.node], node) for p in agent.view.partners}
            agent.update(own, agent_sums, counts[node], partner_bids(agent.view, theirs), relaxation)
            total += agent.residuals
        yield Iterate(iteration, agents, total, (copy_scalars, bid_scalars))
