"""What a day on the chain is played with, and what comes of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gridpact.chain.day import StepSettled
from gridpact.community.model import CommunityDay
from gridpact.day.calling import DayCall, PlayedCall
from gridpact.errors import InputError
from gridpact.problem.scenario import Scenario
from gridpact.products.pool import PoolRules
from gridpact.study.whatif.forecast import ErrorModel

MICRO = 10**6

PATIENCE = 240.0
"""How long households are waited for before the day goes on without them, unless told otherwise, s."""


@dataclass(frozen=True)
class DaySettings:
    """What is played."""

    scenario: Scenario = Scenario.TG
    chain: str = "anvil"
    re_agreements: int = 4
    re_agree_above_kwh: float = 0.0  # of what is expected otherwise; below it, what stands is kept
    pool: PoolRules = field(default_factory=PoolRules)
    adder: float = 0.05  # currency/kWh
    most_adder: float | None = None  # of a household in a step, currency
    lock: float = 100.0  # of each household for the day, currency
    step_seconds: int | None = None  # of the chain's time; None: as long as the community's steps are
    seed: int = 1
    model: ErrorModel = field(default_factory=ErrorModel)
    deals: bool = True  # a spot trade, an option and a forward besides
    calls: tuple[DayCall, ...] = ()  # of an aggregator, to whom those households opt in
    call_price: float | None = None  # of what is delivered, and the fine, currency/kWh; None: the mean import price
    oracle: str = "honest"  # or silent, late, or absurd
    following: bool = True  # whether stores follow the community's meter within a step
    silent: Mapping[int, int] = field(default_factory=dict)  # node: the step from which it is not heard
    relay: bool = False  # signed submissions in one transaction an iteration, instead of a transaction each
    sealed: bool = True  # each household's submissions are read by those only whom they concern
    phase_seconds: int = 300
    record: Path | None = None  # where to leave the record of the deployment, on a chain that goes on
    patience_s: float = PATIENCE  # how long households are waited for before the day goes on without them

    def __post_init__(self) -> None:
        if not self.scenario.has_trades:
            raise InputError(f"in '{self.scenario.value}' nobody has positions; take t or tg")
        if self.adder < 0 or (self.most_adder is not None and self.most_adder < 0):
            raise InputError("an imbalance adder, and the most of it that one bears, is at least 0")
        if self.step_seconds is not None and self.step_seconds < 4:
            raise InputError(f"a step of {self.step_seconds} s leaves no time before its gate; give 4 or more")


@dataclass(frozen=True)
class PlayedDay:
    """What came of a day on the chain. Money in currency, energy in kWh."""

    community: CommunityDay
    settings: DaySettings
    members: tuple[int, ...]
    positions: int  # of households in steps
    re_agreements: int  # that were reached
    skipped: int  # since less was expected to be otherwise than the threshold
    iterations: tuple[int, ...]  # of each round that was agreed, the first of the day before
    nominations: int
    pool_kwh: float
    imbalance_kwh: float  # of each supplier's customers together, in either direction, step by step
    options_exercised: int
    spot_trades: int
    forwards_settled: int
    missing_readings: int
    money_conserved: bool
    all_locks_ended: bool
    traded_kwh: tuple[float, ...]  # recorded for each step in the round of the day before,
    changed_kwh: tuple[float, ...]  # and as changes since, absolute
    steps: tuple[StepSettled, ...]
    paid_for_trades: Mapping[int, float]  # received, by node
    paid_by_day: Mapping[int, float]
    paid_besides: Mapping[int, float]  # deals
    calls: tuple[PlayedCall, ...]
    paid: Mapping[int, float | None]  # by node, all in all and what its cars took in elsewhere; None: it went silent
    paid_alone: Mapping[int, float]  # on the same day, had nobody agreed on anything
    peak_fees: Mapping[int, float]  # of what is paid in steps, for the grid operator by what was read, by node
    supplier_received: float  # all suppliers
    history: Mapping[int, tuple[int, int]]
    gas: Mapping[str, int]  # of all households, by what it was used for
    gas_of_home: float  # of a re-agreement, median over households, settled; with its part of the relay's
    wall_s: float

    def paid_for_calls(self, node: int) -> float:
        """What a household has received for being called, currency; below 0 it was fined more than it was paid."""
        return sum(one.outcome.payment for one in self.calls if one.call.node == node) / MICRO

    @property
    def plain_customers(self) -> tuple[int, ...]:
        """Households that came too late to join."""
        return tuple(home.node for home in self.community.households if home.node not in self.members)

    @property
    def fields(self) -> dict[str, object]:
        """As `result.json` has it."""
        return {
            "case": self.community.name,
            "day": self.community.day,
            "scenario": self.settings.scenario.value,
            "chain": self.settings.chain,
            "plain_customers": list(self.plain_customers),
            "positions": self.positions,
            "re_agreements": self.re_agreements,
            "re_agreements_skipped": self.skipped,
            "iterations": list(self.iterations),
            "nominations": self.nominations,
            "pool_kwh": self.pool_kwh,
            "imbalance_kwh": self.imbalance_kwh,
            "options_exercised": self.options_exercised,
            "spot_trades": self.spot_trades,
            "forwards_settled": self.forwards_settled,
            "missing_readings": self.missing_readings,
            "money_conserved": self.money_conserved,
            "all_locks_ended": self.all_locks_ended,
            "supplier_received": self.supplier_received,
            "gas": dict(self.gas),
            "gas_of_a_re_agreement": self.gas_of_home,
            "wall_s": self.wall_s,
            "households": [
                {
                    "node": node,
                    "received_for_trades": self.paid_for_trades[node],
                    "received_by_steps": self.paid_by_day[node],
                    "received_for_deals": self.paid_besides[node],
                    "received_for_calls": self.paid_for_calls(node),
                    "peak_fee": self.peak_fees[node],
                    "paid": self.paid[node],
                    "paid_alone": self.paid_alone[node],
                    "positions_had": self.history[node][0],
                    "positions_delivered": self.history[node][1],
                }
                for node in self.members
            ],
            "calls": [
                {
                    "node": one.call.node,
                    "device": one.device,
                    "step": one.call.first,
                    "asked_kwh": [step.asked_wh / 1000 for step in one.steps],
                    "baseline_kwh": [step.baseline_wh / 1000 for step in one.steps],
                    "read_kwh": [None if step.read_wh is None else step.read_wh / 1000 for step in one.steps],
                    "delivered_kwh": one.outcome.delivered_wh / 1000,
                    "otherwise_kwh": one.outcome.otherwise_wh / 1000,
                    "kept_steps": one.outcome.kept,
                    "payment": one.outcome.payment / MICRO,
                }
                for one in self.calls
            ],
            "steps": [
                {
                    "step": step.step,
                    "day_ahead_kwh": self.traded_kwh[step.step],
                    "changed_kwh": self.changed_kwh[step.step],
                    "pool_kwh": step.pool_wh / 1000,
                    "pool_price": step.pool_price / MICRO,
                    "deviation_kwh": step.deviation_wh / 1000,
                }
                for step in self.steps
            ],
        }
