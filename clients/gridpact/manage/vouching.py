"""The metering operator's word for pairs that agreed, and of which one states nothing, or each something else.

What they agreed on follows from books, bids and parameters, as a node that comes back works it out. In an open round
these are public; in a sealed one one of the two shows the metering operator what they have in common in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from itertools import groupby
from pathlib import Path

import numpy as np

from gridpact.chain.commitments import START
from gridpact.chain.encoding import decode_fees, decode_tariff, encode_trades
from gridpact.chain.ledger import RoundLedger, RoundLog
from gridpact.chain.sealing import Proof, proved_secret
from gridpact.chain.settlement import Opening, Settlement
from gridpact.chain.values import IterationLog, Phase, Submission
from gridpact.community.doubts import ask
from gridpact.community.model import PriceRange, Prices
from gridpact.errors import ChainError, InputError
from gridpact.files import parse_json, write_atomically
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.codec import key_in
from gridpact.market.admm.pads import Pads
from gridpact.market.admm.parameters import Penalties
from gridpact.node.audit import audit_round
from gridpact.node.form import OpenForm, SealedForm
from gridpact.node.opened_plan import OpenedPlan
from gridpact.node.round_log import assembly_of, resolution_of
from gridpact.problem.coefficients import Partner
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from gridpact.text import count

Pair = tuple[int, int]
"""Lower and higher node."""

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


@dataclass(frozen=True)
class Shown:
    """What one of a pair shows of a sealed round: what the two have in common in it, with a proof that it is that. It
    opens all that they bid each other in the round, and nothing else."""

    aggregator: str  # address
    round: int
    node: int  # who shows it
    partner: int
    proof: Proof

    @property
    def pair(self) -> Pair:
        return min(self.node, self.partner), max(self.node, self.partner)

    def write(self, path: Path) -> None:
        """For nobody else's eyes."""
        values = asdict(self) | {"proof": [hex(number) for number in self.proof]}
        write_atomically(path, json.dumps(values, indent=1) + "\n", 0o600)

    @staticmethod
    def read(path: Path) -> Shown:
        """Raises InputError where it is no such file."""
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            x, y, challenge, response = (int(number, 16) for number in values["proof"])
            round_, node, partner = (int(values[name]) for name in ("round", "node", "partner"))
            return Shown(str(values["aggregator"]), round_, node, partner, (x, y, challenge, response))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"what is shown of a round, '{path}', cannot be read ({error}): check the path") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(f"'{path}' is not what `gridpact household show` writes: ask for it again") from error

    def pads(self, aggregator: RoundLog) -> Pads:
        """Those of the two in the round.

        Raises:
            InputError: it is of other contracts, of nodes that were not in the round, or its proof does not hold.
        """
        if self.aggregator.lower() != aggregator.address.lower():
            raise InputError(f"what nodes {self.node} and {self.partner} show is of the contracts at {self.aggregator}")
        declared = aggregator.declarations(self.round)
        if not {self.node, self.partner} <= declared.keys():
            raise InputError(f"nodes {self.node} and {self.partner} were not both in round {self.round}")
        mine, theirs = (key_in(declared[node].book) for node in (self.node, self.partner))
        return Pads(proved_secret(mine, theirs, self.proof))


def shown(aggregator: RoundLedger, round_: int, node: int, partner: int) -> Shown:
    """What a node can show of a round with a partner.

    Raises:
        InputError: the round is not sealed, or did not end in agreement, or the two were not both in it.
    """
    if not aggregator.sealed:
        raise InputError(f"round {round_} is open: metering reads what was bid in it, and needs nothing shown")
    if aggregator.outcome(round_).phase is not Phase.CONVERGED:
        raise InputError(f"round {round_} has not ended in agreement: there is nothing to vouch for")
    declared = aggregator.declarations(round_)
    if node == partner or not {node, partner} <= declared.keys():
        raise InputError(f"nodes {node} and {partner} were not both in round {round_}: name another partner")
    proof = aggregator.round_key(round_).proof(key_in(declared[partner].book))
    return Shown(aggregator.address, round_, node, partner, proof)


def agreed_trades(
    aggregator: RoundLog, round_: int, tariffs: Mapping[int, bytes], shown: Mapping[Pair, Pads] | None = None
) -> dict[Pair, tuple[Entry, ...]]:
    """What each pair of a converged round agreed on as both of them state it: by the same operations on the same
    integers, prices no further than the tariffs of its two sides.

    Args:
        tariffs: by which nodes are settled, as published; pairs are left out of which one has none.
        shown: of a sealed round, pads of the pairs that are asked for: there is nothing of others then.

    Raises:
        ChainError: the chain does not tell the round (any longer).
    """
    trading, whole = assembly_of(aggregator, round_, network=False), assembly_of(aggregator, round_)
    if trading is None or whole is None or aggregator.outcome(round_).phase is not Phase.CONVERGED:
        return {}
    assembly, network = trading[0], whole[0]
    prices = {node: _prices_of(tariff) for node, tariff in tariffs.items()}
    agents = [_trader(aggregator, assembly, node, prices) for node in sorted(assembly.nodes & prices.keys())]
    forms: dict[int, OpenForm] = {agent.view.node: OpenForm(network, agent.view.node) for agent in agents}
    if shown is not None:
        forms = {
            lower: SealedForm(assembly, lower, {pair[1]: pads for pair, pads in shown.items() if pair[0] == lower})
            for lower in {pair[0] for pair in shown} & forms.keys()
        }
        agents = [agent for agent in agents if agent.view.node in forms]
    gone: frozenset[int] = frozenset()
    nothing = np.zeros((0, assembly.steps), dtype=np.int64)
    for entry in aggregator.history(round_):
        for agent in agents:
            closing = forms[agent.view.node].closing(entry, gone, None)
            agent.take_in(closing, nothing if agent.view.node in closing.present else None)
        gone |= entry.excluded
    return {
        (agent.view.node, partner): _kept_within(entries, tariffs[agent.view.node], tariffs[partner])
        for agent in agents
        for partner, entries in agent.trades.statements().items()
        if agent.view.node < partner and partner in tariffs and (shown is None or (agent.view.node, partner) in shown)
    }


def _kept_within(entries: Iterable[Entry], one: bytes, other: bytes) -> tuple[Entry, ...]:
    """With prices that the contract takes: within both tariffs, or between them where no price is."""
    of_step = list(zip(*decode_tariff(one), *decode_tariff(other), strict=True))
    bounds = [sorted((max(min(a, b), min(c, d)), min(max(a, b), max(c, d)))) for a, b, c, d in of_step]
    return tuple((step, energy, min(max(price, bounds[step][0]), bounds[step][1])) for step, energy, price in entries)


def _prices_of(tariff: bytes) -> Prices:
    imported, fed_in = (np.array(series) / 1e6 for series in decode_tariff(tariff))
    fees = decode_fees(tariff)
    charged = None if fees is None else np.array(fees.traded_micro) / 1e6
    return Prices(imported, own_feed_in_price=fed_in, trade_fee=charged)


def _trader(aggregator: RoundLog, assembly: Assembly, node: int, prices: Mapping[int, Prices]) -> Agent:
    """A household as far as its trades follow from public integers: it solves nothing."""
    theta, setting = aggregator.theta(), aggregator.setting()
    partners = tuple(
        Partner(one, steps, np.zeros(len(steps)), PriceRange.of(prices[node], prices.get(one)))
        for one, steps in assembly.book(node).items()
    )
    view = NodeView(
        node=node,
        day="",
        scenario=Scenario.T,
        agreement=NetworkAgreement.DSO,
        step_hours=setting.step_seconds / 3600,
        prices=prices[node],
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


def to_vouch(
    aggregator: RoundLog,
    settlement: Settlement,
    round_: int,
    shown: Mapping[Pair, Pads] | None = None,
    plan: OpenedPlan | None = None,
) -> list[Vouched]:
    """Pairs that the metering account can vouch for; none of whom one was delivered already.

    Args:
        shown: see `agreed_trades`.
        plan: of a sealed round, what the grid operator's node has opened of it.

    Raises:
        ChainError: the chain does not tell the round (any longer), or has no tariff for it; or the grid operator's
            plan breaks the published limits, so that households are right to state nothing; or the round is sealed, and
            nothing is shown of it.
    """
    delivered = settlement.deliveries(round_).keys()
    waiting = {pair: who for pair, who in one_sided(settlement, round_).items() if not delivered & set(pair)}
    if not waiting:
        return []
    if aggregator.sealed and not (shown := {pair: pads for pair, pads in (shown or {}).items() if pair in waiting}):
        pair, who = min(waiting.items())
        raise ChainError(
            f"Round {round_} is sealed: only partners read each other's bids, so ask node {min(who)} for what it had in"
            f" common with node {sum(pair) - min(who)} (`gridpact household show`), and give it with --shown."
        )
    tariffs = settlement.published_tariffs_of(round_, set().union(*waiting))
    if not tariffs:
        settlement.tariff(round_)  # which says that there is none
    agreed = agreed_trades(aggregator, round_, tariffs, shown if aggregator.sealed else None)
    if broken := audit_round(aggregator, round_, plan).plan_errors:
        raise ChainError(
            f"In round {round_} {broken[0]}, so nobody has to carry it out: what one side states is not vouched for."
        )
    return [Vouched(*pair, agreed[pair], who) for pair, who in waiting.items() if agreed.get(pair)]


def vouch_calls(
    aggregator: RoundLog, round_: int, pairs: Sequence[Vouched], shown: Mapping[Pair, Pads] | None = None
) -> Iterator[VouchCall]:
    """What is to be sent, a few pairs of one lower node at a time.

    Args:
        shown: see `agreed_trades`; the contract is shown the key of the last iteration.
    """
    last = last_submissions(aggregator.history(round_))
    declared = aggregator.declarations(round_)

    def opening(node: int, pads: Pads | None = None) -> Opening:
        submission, before = last[node]
        key = b"" if pads is None else pads.key(submission.iteration)
        bids, copies = submission.bids + key, aggregator.copies_of(submission)
        return Opening.of(declared[node].book, bids, before, copies, submission.residuals)

    for lower, group in groupby(pairs, key=lambda pair: pair.lower):
        some = list(group)
        for first in range(0, len(some), PAIRS_A_CALL):
            part = some[first : first + PAIRS_A_CALL]
            statements = {pair.higher: encode_trades(pair.trades) for pair in part}
            theirs = {higher: opening(higher, (shown or {}).get((lower, higher))) for higher in statements}
            yield VouchCall(round_, lower, statements, {lower: opening(lower), **theirs})


def last_submissions(history: Iterable[IterationLog]) -> dict[int, tuple[Submission, bytes]]:
    """The last submission of each node in a round, and its commitment before it."""
    last: dict[int, tuple[Submission, bytes]] = {}
    for entry in history:
        for node, submission in entry.submissions.items():
            last[node] = (submission, last[node][0].commitment if node in last else START)
    return last
