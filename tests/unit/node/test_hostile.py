"""What households declare and submit on purpose, so that an honest node cannot go on. It does."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import pytest

from gridpact.chain.values import Phase
from gridpact.community.model import CommunityDay
from gridpact.errors import ContractError
from gridpact.market.admm.codec import published, with_key
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.twin_ledger import TwinLedger, TwinSettlement
from gridpact.problem.scenario import Scenario
from gridpact.problem.view import NodeView
from unit.node.rounds import Played

SILENT_FROM = 4
"""The iteration from which the hostile are not heard any more."""


@dataclass(frozen=True)
class Said:
    """What a hostile household declares, and how many bytes it submits as bids."""

    parent: int
    children: tuple[int, ...]
    depth: int
    bids: int
    book: bytes
    submitted: int


Hostile = Callable[[NodeView, Said], Said]


def keeps_a_line(view: NodeView, said: Said) -> Said:
    """Household 3 stands below household 2, which stands below node 0: they share a voltage."""
    if view.node == 2:
        return replace(said, children=(3,))
    return replace(said, parent=2, depth=2)


def live(played: Played, node: int, hostile: Hostile) -> str:
    """A hostile household, until it is silent. Returns what it was refused."""
    ledger, sealed = TwinLedger(played.twin, node), played.sealed
    view = next(view for view in played.prepared.views if view.node == node)
    book = published(view)
    if sealed:
        book = with_key(book, ledger.round_key(played.number).public)
    said = hostile(view, Said(view.parent, view.children, view.depth, view.bid_count, book, 2 * view.bid_count))
    try:
        ledger.declare(played.number, said.parent, said.children, said.depth, said.bids, said.book)
    except ContractError as error:
        return error.name
    for iteration in range(1, SILENT_FROM):
        ledger.wait_until(lambda now, k=iteration: now.iteration >= k, 1e6, close_overdue=True)  # type: ignore[misc]
        words = [0] * len(played.twin.now.books.assembly.blocks(node))
        if node in played.twin.now.books.gone:
            break  # it was proved false
        ledger.submit(played.number, iteration, played.twin.now.head, words, bytes(said.submitted), (0, 0, 0, 0))
    return ""


def play(
    day: CommunityDay, sealed: bool, hostile: Hostile, who: frozenset[int]
) -> tuple[dict[int, NodeReport], set[str]]:
    """Reports of the honest, and what the hostile were refused."""
    played = Played(day, Scenario.TG, sealed=sealed)
    played.number = played.twin.open_round(20260701)

    def life(view: NodeView) -> NodeReport | str:
        if view.node in who:
            return live(played, view.node, hostile)
        ledger, settlement = TwinLedger(played.twin, view.node), TwinSettlement(played.twin, view.node)
        return Node(view, ledger, settlement).run(played.number)

    reports, refused = {}, set()
    for view, end in zip(
        played.prepared.views, played.turns.play([partial(life, v) for v in played.prepared.views]), strict=True
    ):
        if isinstance(end, Exception):
            raise end
        if isinstance(end, NodeReport):
            reports[view.node] = end
        else:
            refused.add(end)
    return reports, refused


def test_lineBetweenHouseholds_stopsNobody_inTheOpenForm(tiny3: CommunityDay) -> None:
    """The operator's node does not read all that they say, and goes on with the other one."""
    reports, refused = play(tiny3, False, keeps_a_line, frozenset({2, 3}))
    assert refused == {""}
    assert {report.phase for report in reports.values()} == {Phase.CONVERGED}
    assert reports[1].agreed


def test_lineBetweenHouseholds_isRefused_inTheSealedForm(tiny3: CommunityDay) -> None:
    """A voltage of more than two holders cannot be sealed, so who declares one is not in the round."""
    reports, refused = play(tiny3, True, keeps_a_line, frozenset({2, 3}))
    assert refused == {"TopologyMismatch"}
    assert {report.phase for report in reports.values()} == {Phase.CONVERGED}
    assert reports[1].agreed


def fewer_bids(view: NodeView, said: Said) -> Said:
    return replace(said, bids=1, submitted=2)


def fewer_bids_and_sums(view: NodeView, said: Said) -> Said:
    return replace(said, bids=1, submitted=2 + 3 * 4)


def more_bids(view: NodeView, said: Said) -> Said:
    return replace(said, bids=said.bids + 2, submitted=said.submitted + 4)


def no_sums(view: NodeView, said: Said) -> Said:
    return said


def no_key(view: NodeView, said: Said) -> Said:
    return replace(said, book=said.book[:-35])


def no_point(view: NodeView, said: Said) -> Said:
    return replace(said, book=said.book[:-33] + b"\2" + bytes(32))


def empty_book(view: NodeView, said: Said) -> Said:
    return replace(said, book=b"", bids=0, submitted=12)


DECLARED: tuple[Hostile, ...] = (fewer_bids, fewer_bids_and_sums, more_bids, no_sums, no_key, no_point, empty_book)


@pytest.mark.parametrize("hostile", DECLARED, ids=lambda one: one.__name__)
def test_declaration_thatFitsNothing_stopsNobody(tiny3: CommunityDay, hostile: Hostile) -> None:
    """In the sealed form: counts that are not those of the book, sums that are not there, keys that are none."""
    reports, refused = play(tiny3, True, hostile, frozenset({3}))
    assert refused == {""}
    assert {report.phase for report in reports.values()} == {Phase.CONVERGED}
    assert all(report.agreed for report in reports.values())
