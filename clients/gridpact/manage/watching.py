"""Where a round stands, as the chain tells it: who is missing, how far apart the plans are, what it has cost."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Any

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.contract import chain_time
from gridpact.chain.day import rest_of
from gridpact.chain.fees import ether_text, euro, gwei_text
from gridpact.chain.spent import Spent, spent_by
from gridpact.chain.values import Phase, Progress
from gridpact.errors import InputError
from gridpact.events import Event
from gridpact.market.admm.residuals import rms_w
from gridpact.node.round_log import resolution_of
from gridpact.text import listed

RESIDUALS = ("primal grid", "dual grid", "primal trade", "dual trade")
WAY_BACK = 2
"""Blocks that are looked at again, in case they changed."""


@dataclass(frozen=True)
class RoundState(Event):
    """A round at one moment."""

    round: int
    day: int  # yyyymmdd, or the label of a round about the rest of a day
    phase: Phase
    iteration: int  # the open one; of a round that has ended, how many were closed
    most_iterations: int
    seconds_left: int  # until the phase may be closed without those who are missing
    nodes: int  # that are in it, or in the phase of declaration could be
    present: int
    missing: tuple[int, ...]
    out: tuple[int, ...]  # nodes that were in it and are not any longer
    rms_w: tuple[float, ...]  # of the last closed iteration, in the order of RESIDUALS; empty before
    limits_w: tuple[float, ...]  # of this round
    spent: Spent
    gas_price_wei: int  # stated, or what was paid on average
    eth_price_eur: float

    @property
    def wei(self) -> int:
        """What all gas costs at the stated price, or cost."""
        return self.spent.gas * self.gas_price_wei

    @property
    def euro(self) -> float:
        return euro(self.wei, self.eth_price_eur)


class Watcher:
    """Looks at rounds, and remembers what a transaction cost.

    Args:
        gas_price_wei: what gas is taken to cost; None: what was paid.
    """

    def __init__(self, aggregator: Aggregator, eth_price_eur: float, gas_price_wei: int | None = None) -> None:
        self._aggregator = aggregator
        self._eth_price_eur = eth_price_eur
        self._gas_price_wei = gas_price_wei
        self._round = 0
        self._costs: dict[bytes, Spent] = {}
        self._block = 0

    def look(self, number: int | None = None) -> RoundState:
        """A round as it is now; the newest where none is named.

        Raises:
            InputError: no such round was opened yet.
        """
        progress = self._aggregator.progress()
        number = progress.round if number is None else number
        if not 1 <= number <= progress.round:
            raise InputError(
                "No round was opened on these contracts yet: `gridpact round open` opens one."
                if progress.round == 0
                else f"There is no round {number}: rounds 1 to {progress.round} were opened."
            )
        outcome = self._aggregator.outcome(number)
        if outcome.phase.is_final or number < progress.round:
            state = self._ended(number, outcome.phase, outcome.iterations, outcome.present)
        else:
            state = self._running(progress)
        spent = self._spent(number)
        paid = spent.wei // max(spent.gas, 1)
        price = paid if self._gas_price_wei is None else self._gas_price_wei
        return replace(state, spent=spent, gas_price_wei=price)

    def _running(self, progress: Progress) -> RoundState:
        if progress.phase is Phase.ITERATING:
            roster = self._aggregator.roster()
            expected, out = roster.active, roster.nodes - roster.active
        else:
            expected, out = self._aggregator.enrolled(), frozenset()
        left = progress.deadline - chain_time(self._aggregator.web3)
        return self._state(
            progress.round, progress.phase, progress.iteration, expected, progress.present, out, max(left, 0)
        )

    def _ended(self, number: int, phase: Phase, iterations: int, present: frozenset[int]) -> RoundState:
        started = self._aggregator.started(number)
        nodes = started.nodes if started is not None else frozenset()
        return self._state(number, phase, iterations, nodes, present, nodes - present, 0)

    def _state(
        self,
        number: int,
        phase: Phase,
        iteration: int,
        expected: frozenset[int],
        present: frozenset[int],
        out: frozenset[int],
        seconds_left: int,
    ) -> RoundState:
        theta, setting = self._aggregator.theta(), self._aggregator.setting()
        unit_w = setting.power_resolution_milliwatt / 1000
        eps = theta.eps_primal_grid, theta.eps_dual_grid, theta.eps_primal_trade, theta.eps_dual_trade
        own = self._aggregator.percent_of(number) / 100  # of theta's limits
        missing = () if phase.is_final else tuple(sorted(expected - present - out))
        return RoundState(
            round=number,
            day=self._aggregator.day_of(number),
            phase=phase,
            iteration=iteration,
            most_iterations=theta.mu,
            seconds_left=seconds_left,
            nodes=len(expected),
            present=len(present & expected),
            missing=missing,
            out=tuple(sorted(out)),
            rms_w=self._rms_w(number, iteration if phase.is_final else iteration - 1),
            limits_w=tuple(own * unit_w * limit / 1000 for limit in eps),
            spent=Spent(),
            gas_price_wei=0,
            eth_price_eur=self._eth_price_eur,
        )

    def _rms_w(self, number: int, last: int) -> tuple[float, ...]:
        """RMS residuals a coupled scalar, W: what iteration `last` says of the one before it."""
        if last < 2:  # the first one has none to speak of
            return ()
        closed = [entry.closed for entry in self._aggregator.history(number, last) if entry.closed is not None]
        if not closed:
            return ()
        return rms_w(closed[-1].residuals, self._aggregator.scalars(), resolution_of(self._aggregator))

    def _spent(self, number: int) -> Spent:
        """Reads what is new since the last look."""
        if number != self._round:
            self._round, self._costs, self._block = number, {}, 0
        web3 = self._aggregator.web3
        for transaction, block in self._aggregator.transactions(number, self._block - WAY_BACK).items():
            if transaction in self._costs:
                continue
            self._costs[transaction] = spent_by(web3, transaction)
            self._block = max(self._block, block)
        costs = self._costs.values()
        return Spent(sum(one.gas for one in costs), sum(one.wei for one in costs), len(costs))


def as_json(state: RoundState) -> dict[str, Any]:
    """For programs: one line a state."""
    named = {**asdict(state), "phase": state.phase.name.lower()}
    for name in ("rms_w", "limits_w"):
        named[name] = dict(zip(("r_grid", "s_grid", "r_trade", "s_trade"), named[name], strict=False))
    return {**named, "cost_wei": state.wei, "cost_eur": round(state.euro, 6)}


def day_in_words(label: int) -> str:
    """What a round is about."""
    if (rest := rest_of(label)) is not None:
        return f"the rest of day {rest[0]} from step {rest[1]} on"
    return f"{label // 10000:04d}-{label // 100 % 100:02d}-{label % 100:02d}"


def headline(state: RoundState) -> str:
    """The state in one line."""
    parts = [f"round {state.round} of {day_in_words(state.day)}", state.phase.name.lower()]
    if state.phase is Phase.DECLARING:
        parts.append(f"{state.present} of {state.nodes} nodes have declared")
    else:
        parts.append(f"iteration {state.iteration} of at most {state.most_iterations}")
    if state.phase is Phase.ITERATING:
        parts.append(f"{state.present} of {state.nodes} nodes")
    if state.missing:
        parts.append(f"missing {listed(state.missing)}")
    if state.out:
        parts.append(f"out {listed(state.out)}")
    if state.rms_w:
        parts.append(f"{_worst(state):.2f} times the limits")
    parts.append(f"{state.spent.gas:,} gas")
    return ", ".join([*parts, f"{state.euro:.2f} EUR"] if state.eth_price_eur else parts)


def as_text(state: RoundState, network: str) -> str:
    """For a terminal, some eight lines."""
    left = f", {state.seconds_left} s left" if state.phase.is_running else ""
    lines = [f"Round {state.round} of {day_in_words(state.day)} on {network}: {state.phase.name.lower()}{left}"]
    if state.phase is not Phase.DECLARING:
        lines.append(f"  iteration    {state.iteration} of at most {state.most_iterations}")
    did = "declared" if state.phase is Phase.DECLARING else "submitted"
    missing = f", missing {listed(state.missing)}" if state.missing else ""
    out = f", out {listed(state.out)}" if state.out else ""
    lines.append(f"  {did:<12} {state.present} of {state.nodes} nodes{missing}{out}")
    for name, rms, limit in zip(RESIDUALS, state.rms_w, state.limits_w, strict=False):
        mark = "✓" if rms <= limit else " "
        lines.append(f"  {name:<12} {rms:9.2f} W RMS, limit {limit:.2f} W {mark}")
    gas = f"  gas          {state.spent.gas:,} in {state.spent.transactions} transactions: {ether_text(state.wei)}"
    price = f"at {gwei_text(state.gas_price_wei)} gwei"
    if state.eth_price_eur:
        lines.append(f"{gas}, {state.euro:.2f} EUR {price} and {state.eth_price_eur:,.0f} EUR/ETH")
    else:
        lines.append(f"{gas} {price}, of ether that is worth nothing here")
    return "\n".join(lines)


def _worst(state: RoundState) -> float:
    """How many times the largest residual exceeds its limit."""
    return max(rms / limit for rms, limit in zip(state.rms_w, state.limits_w, strict=True))
