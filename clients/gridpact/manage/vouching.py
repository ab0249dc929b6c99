"""The metering operator's word for pairs that agreed, and of which one states nothing, or each something else.

What they agreed on follows from what was public in the round: books, bids and parameters. So anybody can work it out,
as a node does that comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import groupby

import numpy as np

from gridpact.chain.commitments import START
from gridpact.chain.ledger import RoundLog
from gridpact.chain.settlement import Opening, Settlement, decode_tariff, encode_trades
from gridpact.chain.values import IterationLog, Phase, Submission
from gridpact.community.doubts import ask
from gridpact.community.model import GRID_CONNECTION, Prices
from gridpact.errors import ChainError
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.parameters import Penalties
from gridpact.node.audit import audit_round
from gridpact.node.round_log import assembly_of, closing_of, resolution_of
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from gridpact.text import count

Entry = tuple[int, int, int]
"""Step, energy in Wh, positive where the lower node sells, price in 1e-6 currency/kWh."""

PAIRS_A_CALL = 8
"""So that a call stays far below what fits a block, at any number of steps."""


@dataclass(frozen=True)
class Vouched:
    """What a pair agreed on, of which not both state it."""

    lower: int
    higher: int
    trades: tuple[Entry, ...]
    states: frozenset[int]  # who of the two states something


@dataclass(frozen=True)
class VouchCall:
    """Pairs of one lower node, with what the contract must see to believe it."""

    round: int
    lower: int
    statements: Mapping[int, bytes]  # by higher node
    openings: Mapping[int, Opening]


def agreed_trades(aggregator: RoundLog, round_: int, tariff: bytes) -> dict[tuple[int, int], tuple[Entry, ...]]:
    """What each pair of a converged round agreed on, (lower, higher), as both of them state it: by the same
    operations on the same integers, prices no further than the tariff.

    Args:
        tariff: of the round, as published; prices begin half way between import and feed-in.

    Raises:
        ChainError: the chain does not tell the round (any longer).
    """
    found, whole = assembly_of(aggregator, round_, network=False), assembly_of(aggregator, round_)
    if found is None or whole is None or aggregator.outcome(round_).phase is not Phase.CONVERGED:
        return {}
    assembly, network = found[0], whole[0]
    imported, fed_in = decode_tariff(tariff)
    prices = Prices(np.array(imported) / 1e6, own_feed_in_price=np.array(fed_in) / 1e6)
    agents = [_trader(aggregator, assembly, node, prices) for node in sorted(assembly.nodes - {GRID_CONNECTION})]
    gone: frozenset[int] = frozenset()
    nothing = np.zeros((0, assembly.steps), dtype=np.int64)
    for entry in aggregator.history(round_):
        closing = closing_of(network, entry, gone)
        gone = closing.gone
        for agent in agents:
            agent.take_in(closing, nothing if agent.view.node in closing.present else None)
    within = [(min(both), max(both)) for both in zip(imported, fed_in, strict=True)]
    return {
        (agent.view.node, partner): tuple(
            (step, energy, min(max(price, within[step][0]), within[step][1])) for step, energy, price in entries
        )
        for agent in agents
        for partner, entries in agent.trades.statements().items()
        if agent.view.node < partner
    }


def _trader(aggregator: RoundLog, assembly: Assembly, node: int, prices: Prices) -> Agent:
    """A household as far as its trades follow from public integers: it solves nothing."""
    theta, setting = aggregator.theta(), aggregator.setting()
    partners = tuple(Partner(one, steps, np.zeros(len(steps))) for one, steps in assembly.book(node).items())
    view = NodeView(
        node=node,
        day="",
        scenario=Scenario.T,
        agreement=NetworkAgreement.DSO,
        step_hours=setting.step_seconds / 3600,
        prices=prices,
        parent=node,
        children=(),
        depth=0,
        partners=partners,
    )
    penalties = Penalties.from_chain(theta.rho, theta.phi)
    return Agent(view, assembly, penalties, resolution_of(aggregator), theta.mu)


def one_sided(settlement: Settlement, round_: int) -> dict[tuple[int, int], frozenset[int]]:
    """Pairs of a round, (lower, higher), that are not recorded and of which somebody states something: who does."""
    recorded = {(record.lower, record.higher) for record in settlement.recorded(round_)}
    pairs = {(min(pair), max(pair)) for pair in settlement.pairs_stated(round_)} - recorded
    states = {
        pair: frozenset(node for node, other in (pair, pair[::-1]) if settlement.stated(round_, node, other).statement)
        for pair in sorted(pairs)
    }
    return {pair: who for pair, who in states.items() if who}


def check_recorded(settlement: Settlement, round_: int, day: date) -> None:
    """What is delivered can no longer be recorded.

    Raises:
        InputError: somebody states trades that are not recorded.
    """
    waiting = one_sided(settlement, round_)
    if waiting:
        lower, higher = min(waiting)
        more = f" and {count(len(waiting) - 1, 'other pair')}" if len(waiting) > 1 else ""
        raise ask(
            "unrecorded",
            f"the trades of nodes {lower} and {higher}{more} are stated by one side, or otherwise by each, and cannot "
            f"be recorded once a reading is settled: see what was agreed (`gridpact readings vouch --day {day}`)",
        )


def to_vouch(aggregator: RoundLog, settlement: Settlement, round_: int) -> list[Vouched]:
    """Pairs that the metering account can vouch for; none of whom one was delivered already.

    Raises:
        ChainError: the chain does not tell the round (any longer), or has no tariff for it; or the grid operator's
            plan breaks the published limits, so that households are right to state nothing; or the round is sealed.
    """
    delivered = settlement.deliveries(round_).keys()
    waiting = {pair: who for pair, who in one_sided(settlement, round_).items() if not delivered & set(pair)}
    if not waiting:
        return []
    if aggregator.sealed:
        raise ChainError(
            f"Round {round_} is sealed: only partners read each other's bids, so nobody can vouch for the trades of "
            f"nodes {' and '.join(map(str, min(waiting)))}, which one side alone states."
        )
    agreed = agreed_trades(aggregator, round_, settlement.tariff(round_))
    if plan := audit_round(aggregator, round_).plan_errors:
        raise ChainError(
            f"In round {round_} {plan[0]}, so nobody has to carry it out: what one side states is not vouched for."
        )
    return [Vouched(*pair, agreed[pair], who) for pair, who in waiting.items() if agreed.get(pair)]


def vouch_calls(aggregator: RoundLog, round_: int, pairs: Sequence[Vouched]) -> Iterator[VouchCall]:
    """What is to be sent, a few pairs of one lower node at a time."""
    last = last_submissions(aggregator.history(round_))
    declared = aggregator.declarations(round_)

    def opening(node: int) -> Opening:
        said, before = last[node]
        return Opening.of(declared[node].book, said.bids, before, aggregator.copies_of(said), said.residuals)

    for lower, group in groupby(pairs, key=lambda pair: pair.lower):
        some = list(group)
        for first in range(0, len(some), PAIRS_A_CALL):
            part = some[first : first + PAIRS_A_CALL]
            statements = {pair.higher: encode_trades(pair.trades) for pair in part}
            yield VouchCall(round_, lower, statements, {node: opening(node) for node in (lower, *statements)})


def last_submissions(history: Iterable[IterationLog]) -> dict[int, tuple[Submission, bytes]]:
    """The last submission of each node in a round, and its commitment before it."""
    last: dict[int, tuple[Submission, bytes]] = {}
    for entry in history:
        for node, said in entry.submissions.items():
            last[node] = (said, last[node][0].commitment if node in last else START)
    return last
