"""A round as the chain tells it, decoded: for nodes that follow it, and for whoever checks it afterwards."""

from __future__ import annotations

from gridpact.chain.ledger import RoundLog
from gridpact.chain.values import ClosedIteration, IterationLog
from gridpact.community.model import GRID_CONNECTION
from gridpact.errors import Reorganised
from gridpact.market.admm.assembly import Assembly, Closing, TreePlace
from gridpact.market.admm.codec import decode_bids, decode_book, decode_sums
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.reach import Reach


def assembly_of(aggregator: RoundLog, round_: int, network: bool = True) -> tuple[Assembly, dict[int, bytes]] | None:
    """Who is in a round, and the books as declared, by node. None where the round has not started.

    Args:
        network: False: only what concerns trades, with everybody alone in a tree.
    """
    roster = aggregator.started(round_)
    if roster is None:
        return None
    declared = aggregator.declarations(round_)
    places = {node: TreePlace(one.parent, tuple(sorted(one.children)), one.depth) for node, one in declared.items()}
    if not network:
        places = {node: TreePlace(node, (), 0) for node in declared}
    # The grid operator's node publishes the feeder there, which may read like a book.
    books = {node: decode_book(one.book) for node, one in declared.items() if node != GRID_CONNECTION}
    bids = {node: one.bids for node, one in declared.items()}
    steps = aggregator.setting().steps
    return Assembly(roster.nodes, places, books, steps, bids), {node: one.book for node, one in declared.items()}


def closing_of(assembly: Assembly, entry: IterationLog, gone: frozenset[int]) -> Closing:
    """A closed iteration.

    Args:
        gone: nodes that were out before it was closed.

    Raises:
        Reorganised: the log lacks a submission that the contract counted.
    """
    closed = whole(entry)
    return Closing(
        closed.iteration,
        closed.present,
        closed.residuals,
        decode_sums(assembly, closed.sums, closed.present),
        {node: decode_bids(submission.bids) for node, submission in entry.submissions.items()},
        gone | entry.excluded,
        entry.proved,
    )


def whole(entry: IterationLog) -> ClosedIteration:
    """What came of a closed iteration.

    Raises:
        Reorganised: the log lacks a submission that the contract counted.
    """
    closed = entry.closed
    assert closed is not None
    if not entry.is_whole:
        lacking = ", ".join(map(str, sorted(closed.present - entry.submissions.keys())))
        raise Reorganised(
            f"The log of iteration {closed.iteration} lacks what node {lacking} submitted, which the contract counted:"
            " read it again, or give another endpoint."
        )
    return closed


def resolution_of(aggregator: RoundLog) -> Resolution:
    """What the integers of a contract stand for."""
    setting = aggregator.setting()
    return Resolution.from_chain(setting.power_resolution_milliwatt, setting.voltage_resolution)


def reach_of(aggregator: RoundLog) -> Reach:
    """How far a contract lets the nodes of a round go."""
    return Reach(aggregator.setting().power_resolution_milliwatt, aggregator.theta().mu)
