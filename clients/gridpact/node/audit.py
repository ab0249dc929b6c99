"""Checking a round from public data: what nodes claim, what the contract made of it, and the grid operator's plan.

Any node checks the others as it goes along, and anybody can check all of it afterwards, from the chain alone. A false
claim can be proved to the contract, see `gridpact.chain.evidence`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from gridpact.chain.commitments import START, head_with
from gridpact.chain.ledger import RoundLog
from gridpact.community.model import GRID_CONNECTION
from gridpact.market.admm.assembly import Assembly, Closing, Integers
from gridpact.market.admm.codec import decode_copies, published_limits, without_key
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.reach import Reach, departed
from gridpact.market.admm.residuals import grid_residuals, trade_residuals
from gridpact.node.opened_plan import OpenedPlan, newest_answer
from gridpact.node.round_log import assembly_of, closing_of, reach_of, resolution_of
from gridpact.problem.blocks import Block, Kind

Claim = tuple[int, int, int, int]
"""r_grid, s_grid, r_trade, s_trade."""


def false_claims(
    assembly: Assembly,
    claims: Mapping[int, Claim],
    now: Closing,
    before: Closing | None,
    copies: Mapping[int, Integers],
) -> dict[int, str]:
    """Who claims other residuals than those that follow from the public integers. In a sealed round a node reads its
    own bids and those to it only: there who claims less of the trades than follows from these.

    Args:
        claims: by node, about iteration `now`, as submitted in the next one.
        before: the iteration before `now`; None where there is none.
        copies: what nodes submitted in `now`, (blocks, T), as far as it is known: the residuals of the network are
            checked of these nodes only, those of the trades of all.

    Returns:
        By node, what it claims and what is true.
    """
    false, trades = {}, trade_residuals(assembly, now, before)
    for node, claim in claims.items():
        trade = trades[node]
        sealed = now.sealed and node in now.present
        if min(np.subtract(claim[2:], trade)) < 0 if sealed else claim[2:] != trade:
            false[node] = f"claims residuals of trades {claim[2:]} in iteration {now.iteration}, true are {trade}"
        elif node in copies or node not in now.present:
            grid = grid_residuals(assembly, node, copies[node], now, before) if node in copies else (0, 0)
            if claim[:2] != grid:
                false[node] = f"claims residuals of the grid {claim[:2]} in iteration {now.iteration}, true are {grid}"
    return false


def departures(
    assembly: Assembly,
    nodes: Iterable[int],
    now: Closing,
    before: Closing | None,
    copies: Mapping[int, Integers],
    reach: Reach,
    age: int,
) -> dict[int, str]:
    """Who said in iteration `now` what is beyond reach, see `gridpact.market.admm.reach`: by node, in words.

    Args:
        copies: see `false_claims`.
        age: of `now`, as it can be proved: the iterations before it with the same nodes, less the misses that a node
            may have had in them.
    """
    if before is None:
        return {}
    return {
        node: f"went beyond its reach in iteration {now.iteration}"
        for node in nodes
        if departed(assembly, node, now, before, copies.get(node), reach, age)
    }


def more_than_half(
    assembly: Assembly, claims: Mapping[int, Claim], now: Closing, before: Closing | None
) -> frozenset[int]:
    """Who claims more of the trades than all others together, where all are there: every pair is in the residuals of
    two nodes, so this one claims too much, or a partner too little. Everybody sees that, in a sealed round too.

    Args:
        claims: see `false_claims`.
    """
    if not _all_there(assembly, claims, now, before):
        return frozenset()
    total = [sum(claim[lane] for claim in claims.values()) for lane in range(4)]
    return frozenset(node for node, claim in claims.items() if any(2 * claim[lane] > total[lane] for lane in (2, 3)))


def pool_is_off(assembly: Assembly, claims: Mapping[int, Claim], now: Closing, before: Closing | None) -> bool:
    """Whether what all bids of a step are said to come to cannot be, beside the residuals of the trades: of N pairs
    whose mismatches come to D, the squares come to D^2 / N at least. Then somebody's sums, or residuals, are false.

    Args:
        claims: see `false_claims`.
    """
    total, _ = assembly.balance(now)
    if total is None or not _all_there(assembly, claims, now, before):
        return False
    pairs = assembly.pairs_by_step(now)
    if np.any(total[pairs == 0]):
        return True
    least = np.sum(2 * total[pairs > 0] ** 2 // pairs[pairs > 0])  # each pair is claimed twice
    return bool(least > sum(claim[2] for claim in claims.values()))


def _all_there(assembly: Assembly, claims: Mapping[int, Claim], now: Closing, before: Closing | None) -> bool:
    there = assembly.nodes - now.gone
    return claims.keys() == now.present == there and (before is None or before.present == there)


def operators_sum(
    assembly: Assembly, claims: Mapping[int, Claim], now: Closing, before: Closing | None
) -> dict[int, str]:
    """Whether node 0 claims of the network what the households claim together, as it must where all are there: each
    variable has two holders, who are equally far from what they agreed on. Everybody sees that, in a sealed round too.

    Args:
        claims: see `false_claims`.

    Returns:
        What node 0 claims instead: then it does so falsely, or a household does.
    """
    if GRID_CONNECTION not in now.present or not _all_there(assembly, claims, now, before):
        return {}
    own = claims[GRID_CONNECTION][:2]
    households = now.present - {GRID_CONNECTION}
    together = tuple(np.sum([claims[node][:2] for node in households], axis=0, dtype=object).tolist())
    if own == together:
        return {}
    where = f"in iteration {now.iteration}"
    return {
        GRID_CONNECTION: f"claims residuals of the grid {own} {where}, the households {together} together: one is false"
    }


@dataclass(frozen=True)
class Audit:
    """What a check of a whole round found."""

    round: int
    iterations: int
    false_claims: tuple[str, ...]
    contract_errors: tuple[str, ...]  # what the contract should have done otherwise
    plan_errors: tuple[str, ...]  # steps at which the grid operator's last answer breaks the limits that it published
    sealed: bool = False  # then claims and the answer are not public, and were not checked
    opened: bool = False  # but the answer was, since the operator's node has opened it

    @property
    def clean(self) -> bool:
        return not (self.false_claims or self.contract_errors or self.plan_errors)


def audit_round(aggregator: RoundLog, round_: int, opened: OpenedPlan | None = None) -> Audit:
    """Replays a round from logs and calldata: every sum, head and residual, and the operator's last answer. Of a sealed
    one copies, bids and answers cannot be read: sums and heads, and whether residuals of the network fit each other.

    Args:
        opened: what the operator's node has opened of a sealed round.

    Raises:
        InputError: see `OpenedPlan.answers`.
        ChainError: the chain does not tell the round (any longer).
    """
    declared = assembly_of(aggregator, round_)
    if declared is None:
        return Audit(round_, 0, (), (), ())
    assembly, books = declared
    false: list[str] = []
    wrong: list[str] = []
    gone: frozenset[int] = frozenset()
    head, total = START, np.zeros(4, dtype=object)
    before: Closing | None = None
    now: Closing | None = None
    copies: dict[int, Integers] = {}
    history, sealed = aggregator.history(round_), aggregator.sealed
    reach, most_misses, steady = reach_of(aggregator), aggregator.setting().max_misses, 0
    for number, entry in enumerate(history, start=1):
        assert entry.closed is not None
        where = f"iteration {number}"
        claims = {node: submission.residuals for node, submission in entry.submissions.items()}
        if now is not None:
            if sealed:
                false += [f"node {node} {what}" for node, what in operators_sum(assembly, claims, now, before).items()]
            else:
                faults = departures(assembly, claims, now, before, copies, reach, steady - most_misses)
                faults |= false_claims(assembly, claims, now, before, copies)
                false += [f"node {node} {what}" for node, what in faults.items()]
            total = np.sum([np.array(claim, dtype=object) for claim in claims.values()] or [np.zeros(4)], axis=0)
        before, now = now, closing_of(assembly, entry, gone)
        steady = steady + 1 if before is not None and before.present == now.present else 0
        gone = now.gone
        copies = {
            node: decode_copies(assembly.blocks(node), aggregator.copies_of(submission), assembly.steps)
            for node, submission in entry.submissions.items()
        }
        head = head_with(head, round_, entry.closed)
        if entry.closed.iteration != number or head != entry.closed.head:
            wrong.append(f"{where} does not continue the one before")
        if entry.closed.present != entry.submissions.keys():
            wrong.append(f"{where} counts other nodes than those that submitted")
        if number > 1 and entry.closed.residuals != tuple(total):
            wrong.append(f"{where} has other sums of residuals than the nodes claimed")
        for block, lanes in _sums(assembly, copies).items():
            if not np.array_equal(lanes, now.sums[block]):
                wrong.append(f"{where} has other sums of {block.kind.name} of node {block.node} than the copies")
    if history and aggregator.outcome(round_).phase.is_final and aggregator.outcome(round_).head != head:
        wrong.append("the outcome commits to another history")
    plan: tuple[str, ...] = ()
    book, newest = books.get(GRID_CONNECTION), newest_answer(history)
    if sealed and opened is not None and book:
        plan = plan_errors(assembly, opened.answers(aggregator), without_key(book), resolution_of(aggregator))
        false += [f"node {node} said nothing near what the opened plan has" for node in opened.unlike(aggregator)]
    elif not sealed and newest and book:
        answers = decode_copies(assembly.blocks(GRID_CONNECTION), aggregator.copies_of(newest[0]), assembly.steps)
        plan = plan_errors(assembly, answers, book, resolution_of(aggregator))
    return Audit(round_, len(history), tuple(false), tuple(wrong), plan, sealed, opened is not None)


def plan_errors(assembly: Assembly, answers: Integers, book: bytes, resolution: Resolution) -> tuple[str, ...]:
    """At which steps an answer of the grid operator's node breaks the limits that it published, in words.

    Args:
        answers: its copies, (blocks, T).
        book: what the node published.
    """
    steps = steps_outside(assembly, answers, book, resolution)
    return tuple(f"the operator's plan breaks the limits that it published at step {step}" for step in steps)


def part_errors(
    node: int, active: Integers, reactive: Integers, book: bytes, resolution: Resolution
) -> tuple[str, ...]:
    """At which steps a household's own part of an answer breaks the limits that the operator's node published, whatever
    the other parts are, in words.

    Args:
        active, reactive: what it was answered, resolution units, (T,).
        book: without a key.
    """
    published = published_limits(book)
    if published is None:
        return ()
    milliwatts = resolution.on_chain()[0]
    outside = published.impossible_at(node, active * milliwatts, reactive * milliwatts)
    steps = map(int, np.flatnonzero(outside))
    return tuple(f"the operator's answer breaks the limits that it published at step {step}, alone" for step in steps)


def steps_outside(assembly: Assembly, answers: Integers, book: bytes, resolution: Resolution) -> list[int]:
    """The same steps: by the referee's arithmetic, at all steps, whoever reads it. Who is no child of the operator's
    node in the round injects nothing."""
    published = published_limits(book)
    if published is None or not len(answers):
        return []
    milliwatts = answers * resolution.on_chain()[0]
    nodes = tuple(block.node for block in assembly.blocks(GRID_CONNECTION) if block.kind is Kind.P)
    outside = published.outside_at(nodes, milliwatts[Kind.P :: 2], milliwatts[Kind.Q :: 2])
    return [int(step) for step in np.flatnonzero(outside)]


def _sums(assembly: Assembly, copies: Mapping[int, Integers]) -> dict[Block, Integers]:
    sums = {block: np.zeros(assembly.steps, dtype=np.int64) for block in assembly.all_blocks}
    for node, lanes in copies.items():
        for block, row in zip(assembly.blocks(node), lanes, strict=True):
            sums[block] = sums[block] + row
    return sums
