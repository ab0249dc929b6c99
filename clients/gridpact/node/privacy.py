"""What a round gives away of a household: who could look on is played, on what can be read.

An estimate is made of the load, the PV output, the car's charging and the net power at the meter, and compared with
what was true. Nothing is fitted to the truth: each rule is one that a curious reader would take.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from gridpact.chain.ledger import RoundLog
from gridpact.chain.values import Delivery, IterationLog, TradeRecord
from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.assembly import Assembly
from gridpact.market.admm.codec import decode_bids, decode_copies
from gridpact.market.admm.memory import Iterate
from gridpact.market.admm.negotiation import Negotiation, agreed_trades
from gridpact.market.prepared import Prepared
from gridpact.node.round_log import assembly_of, resolution_of
from gridpact.problem.blocks import Kind
from gridpact.problem.scenario import NetworkAgreement, Scenario

TANGENT = math.tan(math.acos(0.95))
"""Reactive over active power of a load, where its power factor is guessed."""

QUANTITIES = {"load": "load_kw", "pv": "pv_kw", "car": "car_kw", "net": "injection_kw"}
"""What is estimated, and the series of a schedule that it is compared with."""


@dataclass(frozen=True)
class Transcript:
    """What can be read of a finished round.

    Attributes:
        power_kw: a unit of copies and bids.
        first, last: of each node, its first and its last submission.
        sold_kw: of each household, what its recorded trades come to, (T,); positive where it sells.
        read_kw: of each household whose meter reading was settled, what it fed in, (T,).
    """

    assembly: Assembly
    power_kw: float
    first: Mapping[int, IntegerSubmission]
    last: Mapping[int, IntegerSubmission]
    sold_kw: Mapping[int, Array]
    read_kw: Mapping[int, Array]

    @property
    def households(self) -> list[int]:
        return sorted(self.assembly.nodes - {GRID_CONNECTION})

    @property
    def has_network(self) -> bool:
        return any(self.assembly.blocks(node) for node in self.assembly.nodes)


@dataclass(frozen=True)
class Guess:
    """What somebody makes of a household, kW, (T,) each."""

    load: Array
    pv: Array
    car: Array
    net: Array

    @staticmethod
    def of_net(net: Array) -> Guess:
        """From the net power alone: what is taken is load, what is fed in PV, and what is taken far above the usual a
        car."""
        taken = np.maximum(-net, 0.0)
        usual = float(np.median(taken))
        return Guess(taken, np.maximum(net, 0.0), np.maximum(taken - 2 * usual, 0.0), net)

    @staticmethod
    def of_net_and_load(net: Array, load: Array) -> Guess:
        """What is left beside the load is PV where it is fed in, and a car where it is taken."""
        rest = net + load
        return Guess(load, np.maximum(rest, 0.0), np.maximum(-rest, 0.0), net)


@dataclass(frozen=True)
class Replay:
    """A round in memory, and what was true in it.

    Attributes:
        transcript: what would be read of it in the open form, before anything is delivered.
        schedules: by household, with what `QUANTITIES` names.
        equipped: households with devices.
        iterates: the first and the last.
    """

    transcript: Transcript
    schedules: Mapping[int, Mapping[str, Array]]
    equipped: frozenset[int]
    iterates: tuple[Iterate, Iterate]


@dataclass(frozen=True)
class Leak:
    """How well one quantity of one household is known.

    Attributes:
        r: correlation over the steps; 0 where the estimate never changes, None where the truth does not.
        rmse_w, usual_w: error of the estimate, and of the quantity's own mean over the day in its place, W.
    """

    node: int
    what: str
    r: float | None
    rmse_w: float
    usual_w: float


# ---------------------------------------------------------------------- what can be read


def transcript_of(
    aggregator: RoundLog, round_: int, records: Iterable[TradeRecord] = (), deliveries: Iterable[Delivery] = ()
) -> Transcript | None:
    """A round from the chain alone; None where it never started. Numbers are as they stand there.

    Args:
        records: its trades.
        deliveries: its meter readings that were settled.

    Raises:
        ChainError: the chain does not tell the round (any longer).
    """
    declared = assembly_of(aggregator, round_)
    if declared is None:
        return None
    assembly, _ = declared
    history = aggregator.history(round_)

    def submissions(logs: Iterable[IterationLog]) -> dict[int, IntegerSubmission]:
        newest = {node: one for log in logs for node, one in log.submissions.items() if node in assembly.nodes}
        return {
            node: IntegerSubmission(
                decode_copies(assembly.blocks(node), aggregator.copies_of(submission), assembly.steps),
                decode_bids(submission.bids),
            )
            for node, submission in newest.items()
        }

    hours = aggregator.setting().step_seconds / 3600
    sold = {node: np.zeros(assembly.steps) for node in assembly.nodes}
    for record in records:
        for trade in record.trades:
            sold[record.lower][trade.step] += trade.energy_wh / 1000 / hours
            sold[record.higher][trade.step] -= trade.energy_wh / 1000 / hours
    read = {one.node: np.array(one.energies_wh) / 1000 / hours for one in deliveries}
    first, last = submissions(reversed(history)), submissions(history)
    return Transcript(assembly, resolution_of(aggregator).power_kw, first, last, sold, read)


def replayed(day: CommunityDay, scenario: Scenario, agreement: NetworkAgreement = NetworkAgreement.DSO) -> Replay:
    """Plays a round in memory.

    Raises:
        InfeasibleError, SolverError: see `LocalProblem.solve`.
    """
    negotiation = Negotiation.of(Prepared.of(day, scenario, agreement))
    first, *_, last = negotiation.iterates()
    assembly = last.agents[day.households[0].node].assembly
    trades, _ = agreed_trades(last.agents)
    sold = {node: np.zeros(assembly.steps) for node in assembly.nodes}
    for trade in trades:
        sold[trade.seller][trade.step] += trade.energy_kwh / day.step_hours
        sold[trade.buyer][trade.step] -= trade.energy_kwh / day.step_hours
    unit = negotiation.resolution.power_kw
    return Replay(
        Transcript(assembly, unit, first.submissions, last.submissions, sold, {}),
        {
            home.node: {"load_kw": home.load_kw, "pv_kw": home.pv_kw, **last.agents[home.node].plan().schedule}
            for home in day.households
        },
        frozenset(home.node for home in day.households if home.devices),
        (first, last),
    )


def guess_sealed(transcript: Transcript, node: int) -> Guess:
    """What everybody makes of a household whose submissions are sealed: there are its recorded trades, and the readings
    of its meter that were settled."""
    return Guess.of_net(transcript.read_kw.get(node, transcript.sold_kw[node]))


def guess(transcript: Transcript, node: int) -> Guess:
    """What everybody makes of a household where nothing is sealed.

    A household first wishes for the reactive power of its load alone; its last copies are its net power. Without a
    network, there are bids.
    """
    at = transcript
    if node in at.read_kw:
        net = at.read_kw[node]
    elif at.assembly.blocks(node):
        net = _injected(at, at.last[node], node, Kind.P)
    else:
        net = _bid(at, at.last[node], node)
    if not at.assembly.blocks(node):
        return Guess.of_net_and_load(net, np.maximum(-_bid(at, at.first[node], node), 0.0))
    return Guess.of_net_and_load(net, -_injected(at, at.first[node], node, Kind.Q) / TANGENT)


def _injected(at: Transcript, submission: IntegerSubmission, node: int, kind: Kind) -> Array:
    """What a node sends up, less what comes from below, kW or kvar: copies of flows, losses left out."""
    net = np.zeros(at.assembly.steps)
    for block, row in zip(at.assembly.blocks(node), submission.copies, strict=True):
        if block.kind is kind:
            net = net + (row if block.node == node else -row) * at.power_kw
    return net


def _bid(at: Transcript, submission: IntegerSubmission, node: int, to: Collection[int] | None = None) -> Array:
    """What a node's bids come to, to some partners or to all, kW."""
    total, bids = np.zeros(at.assembly.steps), iter(submission.bids.tolist())
    for partner, steps in at.assembly.book(node).items():
        for step, units in zip(steps, bids, strict=False):
            if step < at.assembly.steps and (to is None or partner in to):
                total[step] += units * at.power_kw
    return total


def guesses(transcript: Transcript, sealed: bool = False) -> dict[int, Guess]:
    """What everybody makes of all households that were heard."""
    of = guess_sealed if sealed else guess
    return {node: of(transcript, node) for node in transcript.households if node in transcript.last}


def insights(public: Transcript, true: Replay, sealed: bool) -> dict[str, dict[int, Guess]]:
    """What each who may look on makes of all households, by role. In the open form everybody reads the same.

    The operator's node and the partners are given what they read of a sealed round by the same round in memory.
    """
    if not sealed:
        return {"everybody": guesses(public)}
    outside = guesses(public, sealed=True)
    return {
        "outsider": outside,
        "partner": {node: _by_partners(true.transcript, node, outside[node], 1) for node in outside},
        "operator": guesses(true.transcript) if true.transcript.has_network else outside,
        "supplier": outside,
        "metering": {node: Guess.of_net(true.schedules[node]["injection_kw"]) for node in outside},
    }


def leagues(public: Transcript, true: Replay) -> dict[str, dict[int, Guess]]:
    """What some who tell each other all that they read of a sealed round make of all households, by who they are.

    Each quantity is taken from whoever reads it best: net power of the meter, else of the operator's node; the load of
    the operator's node, else of the partners' first bids.
    """
    at, outside = true.transcript, guesses(public, sealed=True)
    alone = insights(public, true, sealed=True)
    three = {node: _by_partners(at, node, one, 3) for node, one in outside.items()}
    everyone = {node: _by_partners(at, node, one, len(at.assembly.nodes)) for node, one in outside.items()}
    operator = alone["operator"] if at.has_network else None

    def metered(partners: Mapping[int, Guess]) -> dict[int, Guess]:
        net = {node: one.net for node, one in alone["metering"].items()}
        return {node: Guess.of_net_and_load(net[node], one.load) for node, one in partners.items()}

    return {
        "three partners": three,
        "all partners": everyone,
        "operator and partner": operator or alone["partner"],
        "operator and metering": metered(operator) if operator else alone["metering"],
        "supplier and metering": alone["metering"],
        "metering and partner": metered(alone["partner"]),
        "metering and all partners": metered(everyone),
    }


def _by_partners(at: Transcript, node: int, outside: Guess, many: int) -> Guess:
    """What the partners to which a household has the most bids make of it together: it first bids what it would use."""
    book = at.assembly.book(node)
    if not book:
        return outside
    closest = sorted(book, key=lambda partner: -len(book[partner]))[:many]
    first, last = (_bid(at, submissions[node], node, closest) for submissions in (at.first, at.last))
    return Guess.of_net_and_load(last, np.maximum(-first, 0.0))


# ---------------------------------------------------------------------- how good that is


def leaks(guessed: Mapping[int, Guess], truth: Mapping[int, Mapping[str, Array]]) -> list[Leak]:
    """Estimates held against what was true.

    Args:
        truth: by household, the series of its schedule that `QUANTITIES` names; where one is not there, it is nothing.
    """
    return [
        _leak(node, what, getattr(one, what), truth[node].get(series))
        for node, one in sorted(guessed.items())
        for what, series in QUANTITIES.items()
    ]


def _leak(node: int, what: str, guessed: Array, true: Array | None) -> Leak:
    true = np.zeros_like(guessed) if true is None else true
    rmse_w = 1000 * float(np.sqrt(np.mean((guessed - true) ** 2)))
    return Leak(node, what, correlation(guessed, true), rmse_w, 1000 * float(np.std(true)))


def correlation(guessed: Array, true: Array) -> float | None:
    """Pearson's r; 0 where what was guessed is constant, None where what was true is."""
    if np.ptp(true) < 1e-9:
        return None
    return 0.0 if np.ptp(guessed) < 1e-9 else float(np.corrcoef(guessed, true)[0, 1])


def summary(leaks: Sequence[Leak], only: Iterable[int] | None = None) -> dict[str, dict[str, float | None]]:
    """Medians over households, by quantity: of r, where the truth changes, and of the errors.

    Args:
        only: which households; by default all.
    """
    nodes = None if only is None else frozenset(only)
    chosen = [leak for leak in leaks if leak.r is not None and (nodes is None or leak.node in nodes)]
    return {what: _medians([leak for leak in chosen if leak.what == what]) for what in QUANTITIES}


def _medians(some: Sequence[Leak]) -> dict[str, float | None]:
    if not some:
        return {"r": None, "rmse_w": None, "usual_w": None}
    return {
        "r": median(leak.r for leak in some if leak.r is not None),
        "rmse_w": median(leak.rmse_w for leak in some),
        "usual_w": median(leak.usual_w for leak in some),
    }
