"""Who opens, meters and settles a day on the chain: the community's manager, its supplier and its metering account.

None of them has a say in what is agreed. They open the rounds, sign what meters read, and call what anybody might call.
"""

from __future__ import annotations

import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.day import MOST_UNITS, SUPPLIER, DaySettlement, DayTerms, StepSettled, encode_shares
from gridpact.chain.deploy import deploy_contracts, enrol_households, mint_tokens
from gridpact.chain.flexibility import OfferTerms
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import EMBEDDED, ETHER, Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.travel import Traveller
from gridpact.chain.values import WHOLE, Phase, TradeRecord
from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay
from gridpact.day.calling import DayCall, PlayedCall, StagedAggregator, offers_of
from gridpact.day.files import Deal, MeterFiles, Orders, write_actual
from gridpact.day.household import play
from gridpact.errors import ContractError, InputError
from gridpact.events import SILENT, Listener, Stage
from gridpact.files import parse_json, write_atomically
from gridpact.manage.terms import terms_of
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import percent_of_limits
from gridpact.market.prepared import Prepared
from gridpact.node.household_file import write_view
from gridpact.problem.scenario import Scenario
from gridpact.problem.verification import peaks_paid
from gridpact.products.pool import Key, PoolRules, Pricing
from gridpact.relay.server import RelayServer
from gridpact.run.launch import Body, NodeFiles, Nodes, running_nodes, warm_up
from gridpact.run.onchain import Spectator, nobody
from gridpact.run.staging import day_label, month_of, tariff_with_fees
from gridpact.run.supplying import StagedSuppliers
from gridpact.study.whatif.following import TOLD, AskedPart
from gridpact.study.whatif.forecast import ErrorModel, draw
from gridpact.study.whatif.reagreement import apart, re_agreement_steps
from gridpact.study.whatif.uncertainty import actual_of, paid_alone, public_price_of

MICRO = 10**6
LEAD_STEPS = 4
"""How many steps before the first the day is opened: the round of the day before takes place in them."""

PATIENCE = 240.0
"""How long households are waited for before the day goes on without them, unless told otherwise, s."""

PAUSE = 0.1
AGAIN = ("negotiate", "bring again", "nominate again")
"""What households spend gas on in a re-agreement."""

KEYS = {Key.PROPORTIONAL: 0, Key.EQUAL: 1, Key.FIXED: 2}
PRICINGS = {Pricing.MID_MARKET: 0, Pricing.RATIO: 1}


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


def play_day(
    community: CommunityDay,
    settings: DaySettings,
    listener: Listener = SILENT,
    spectator: Spectator = nobody,
    body: Body = play,
) -> PlayedDay:
    """Plays a day of a community on a chain, from deployment to the last payment.

    Args:
        body: what each node's process does.

    Raises:
        InfeasibleError: no plan keeps all limits on this day; raised before a chain is started.
        GridpactError: a node or the chain failed; all processes are ended.
    """
    if settings.chain != EMBEDDED:
        warm_up()
    prepared = Prepared.of(community, settings.scenario)
    negotiation = Negotiation.of(prepared)
    started = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="gridpact-") as folder:
        listener.hear(Stage(f"Starting the chain ({settings.chain}) and deploying the contracts"))
        with open_network(settings.chain) as network:
            office = _Office(network, prepared, negotiation, settings, listener)
            office.deploy()
            with spectator(office.record, network), office.relaying() as relay:
                office.open_day()
                files = office.equip(Path(folder), relay.url if relay else None)
                with running_nodes(list(files.values()), network, body) as nodes:
                    office.through_the_day(nodes, files)
            return office.played(files, time.perf_counter() - started)


class _Office:
    """The manager's, the supplier's and the meters' side of a day."""

    def __init__(
        self, network: Network, prepared: Prepared, negotiation: Negotiation, settings: DaySettings, listener: Listener
    ) -> None:
        self._network, self._prepared, self._negotiation = network, prepared, negotiation
        self._community, self._settings, self._listener = prepared.community, settings, listener
        self._web3 = network.connect()
        self._manager = network.manager(self._web3)
        self._time = Traveller(self._web3)
        self._oracle_key = new_key()
        self._suppliers = StagedSuppliers(self._community, network)
        self._keys = {view.node: new_key() for view in prepared.views}
        self._homes = tuple(home.node for home in self._community.households)
        self._day = day_label(self._community.day)
        self._rounds: dict[int, int] = {}  # of each first step
        self._foreseen = sum((home.net_load_kw for home in self._community.households), np.zeros(self._community.steps))
        self._reality = draw(self._community, settings.model, np.random.default_rng(settings.seed))
        self._skipped = 0
        often = settings.re_agreements
        self._gates = re_agreement_steps(self._community, often) if often else ()
        self._missing = 0
        self._relayer: ChainAccount | None = None
        self._relayed = 0  # gas of the relay until the day ahead was agreed

    # ------------------------------------------------------------------ before

    def deploy(self) -> None:
        """Contracts, enrolment, ether and tokens."""
        theta, setting = terms_of(self._negotiation, self._settings.phase_seconds, max_misses=2)
        supplier, metering = self._suppliers.common.address, self._suppliers.metering.address
        self.record = deploy_contracts(
            *(self._manager, theta, setting, self._network.name, supplier, metering),
            days=True,
            sealed=self._settings.sealed,
        )
        if self._settings.record is not None:
            self.record.write(self._settings.record)
        addresses = {node: str(address_of(key)) for node, key in self._keys.items()}
        self._network.fund([*addresses.values(), *self._suppliers.addresses], ETHER, self._web3)
        self._aggregator = enrol_households(self._manager, self.record, addresses)
        self._suppliers.admit(lambda account: Settlement.of(self.record, account.web3, account), self._keys)
        self._units = 10**6  # of the test token in a unit of currency
        self._lock = round(self._settings.lock * self._units)
        owners = [*self._suppliers.addresses, *(addresses[node] for node in self._homes)]
        mint_tokens(self._manager, self.record, owners, 20 * self._lock)
        self._ledger = DaySettlement.of(self.record, self._web3, self._suppliers.common)
        self._trades = Settlement.of(self.record, self._web3)
        calls, price = self._settings.calls, self._settings.call_price
        self._call_price = self._community.prices.mean_import if price is None else price
        self._caller: StagedAggregator | None = None
        if calls:
            homes = {node: addresses[node] for node in self._homes}
            staged = self._network, self.record, self._manager, homes, calls
            self._caller = StagedAggregator(*staged, self._call_price, self._units)

    def open_day(self) -> None:
        """The community's supplier opens the day, and others take part in it."""
        settings, seconds = self._settings, self._settings.step_seconds
        if seconds is None:
            seconds = round(3600 * self._community.step_hours)
        pool, most = settings.pool, settings.most_adder
        shares = dict(zip(self._homes, pool.shares, strict=True)) if pool.shares else {}
        terms = DayTerms(
            start=self._time.now() + LEAD_STEPS * seconds,
            step_seconds=seconds,
            gate_seconds=seconds // 4,
            reading_seconds=seconds // 4,
            key=KEYS[pool.key],
            pricing=PRICINGS[pool.pricing],
            adder=round(settings.adder * MICRO),
            tolerance_wh=100,
            least_lock=self._lock // 2,
            most_adder=MOST_UNITS if most is None else round(most * self._units),
        )
        for account, prices in self._suppliers.tariffs:
            ledger = DaySettlement.of(self.record, self._web3, account)
            ledger.deposit(10 * self._lock)
            tariff = tariff_with_fees(prices, self._community.step_hours, month_of(self._day))
            if account is self._suppliers.common:
                ledger.open_day(self._day, terms, tariff, 5 * self._lock, encode_shares(shares))
            else:
                ledger.supply_day(self._day, tariff, 5 * self._lock)

    @contextmanager
    def relaying(self) -> Iterator[RelayServer | None]:
        """A relay with an account of its own, where the settings ask for one."""
        if not self._settings.relay:
            yield None
            return
        self._relayer = ChainAccount(self._network.connect(), new_key())
        self._network.fund([self._relayer.address], ETHER, self._web3)
        with RelayServer(Aggregator.of(self.record, self._relayer.web3, self._relayer)) as relay:
            yield relay

    def equip(self, folder: Path, relay: str | None) -> dict[int, NodeFiles]:
        """A folder for each node: its key, its household file, the day's orders, and what will happen behind its
        meter."""
        community, settings = self._community, self._settings
        record = folder / "contracts.json"
        self.record.write(record)
        public_price = public_price_of(community)
        self._deals = self._chosen_deals() if settings.deals else ()
        offers: dict[int, OfferTerms] = {}
        if self._caller is not None:
            called = community, settings.calls, self._ledger, self._day, self._caller.address
            offers = offers_of(*called, self._call_price, self._units)
        rows = {home.node: row for row, home in enumerate(community.households)}
        files = {}
        for view in self._prepared.views:
            item = files[view.node] = NodeFiles(folder / f"node-{view.node:02d}", record, relay)
            write_view(view, item.household)
            write_atomically(item.key, self._keys[view.node] + "\n", mode=0o600)
            orders = Orders(
                self._day, 1, self._lock, settings.adder, public_price, self._deals, settings.silent.get(view.node),
                self._gates, settings.following, offers.get(view.node),
            )  # fmt: skip
            orders.write(item.folder)
            if view.node in rows:
                write_actual(actual_of(community, rows[view.node], self._reality, settings.model), item.folder)
        return files

    def _chosen_deals(self) -> tuple[Deal, ...]:
        """A spot trade, an option and a forward between the home with most sun and the one with most load, at the step
        where most is traded; half way between what it is worth to both."""
        homes = self._community.households
        seller = max(homes, key=lambda home: float(-np.minimum(home.net_load_kw, 0).sum()))
        buyer = max((home for home in homes if home is not seller), key=lambda home: float(home.load_kw.sum()))
        own = [self._community.prices_of(home) for home in (seller, buyer)]
        least = np.maximum(own[0].feed_in_price, own[1].feed_in_price)
        most = np.minimum(own[0].bought_price, own[1].bought_price)
        middle = np.rint((least + most) / 2 * MICRO).astype(int)
        steps = self._community.steps
        at = [min(steps - 1, max(1, round(part * steps))) for part in (0.5, 0.55, 0.6)]
        spot, option, forward = at
        dearest = round(float(own[0].import_price[option]) * MICRO) + round(self._settings.adder * MICRO)
        collateral = max(300 * dearest * self._units // 10**9 + 1, 0)
        base = int(middle[forward])
        return (
            Deal("spot", seller.node, buyer.node, spot, 200, int(middle[spot])),
            Deal(
                "option", seller.node, buyer.node, option, 300, max(int(middle[option]), 0),
                premium=self._units // 100, collateral=collateral,
            ),
            Deal(
                "forward", seller.node, buyer.node, forward, 250, base, slope=-1000, floor=base - 50_000,
                cap=base + 50_000, usual=20_000, oracle=str(address_of(self._oracle_key)),
            ),
        )  # fmt: skip

    # ------------------------------------------------------------------ the day

    def through_the_day(self, nodes: Nodes, files: Mapping[int, NodeFiles]) -> None:
        """From the round of the day before to the last payment."""
        steps = self._community.steps
        self._say(f"{len(self._homes)} households join and agree on the day ahead")
        self._wait(nodes, lambda: set(self._awaited(0)) <= self._members(), PATIENCE)
        self._round(nodes, 0)
        for step in range(steps):
            if step in self._gates:
                self._re_agree(nodes, files, step)
            self._call(nodes, step)
            self._time.until(self._ledger.start_of(self._day, step))
            if self._settings.following:
                self._tell_parts(nodes, files, step)
            self._wait_for_meters(nodes, files, step)
            self._report_condition(step)
            if step:
                self._settle(step - 1, files)
        self._time.until(self._ledger.start_of(self._day, steps))
        self._settle(steps - 1, files)
        self._say("The last step is settled; the day is closed")
        self._close()

    def _re_agree(self, nodes: Nodes, files: Mapping[int, NodeFiles], step: int) -> None:
        """The rest of the day, where enough of it is expected to be otherwise than when it was agreed on last."""
        expected = self._expected_kw(nodes, files, step)
        otherwise_kwh = self._community.step_hours * apart(expected, self._foreseen)
        if otherwise_kwh < self._settings.re_agree_above_kwh:
            self._say(f"{otherwise_kwh:.1f} kWh are expected to be otherwise from step {step} on: what stands is kept")
            self._skipped += 1
            return
        self._say(f"The rest of the day, from step {step} on, is agreed anew")
        self._round(nodes, step)
        if step in self._rounds:
            self._foreseen = expected

    def _call(self, nodes: Nodes, step: int) -> None:
        """Who is to be called from a step on, once its rest is agreed; waits until they have nominated accordingly."""
        if self._caller is None:
            return
        before = self._ledger.nominations(self._day)
        called, refused = self._caller.call(self._day, step, self._heard(step))
        for sentence in refused:
            self._say(sentence[0].upper() + sentence[1:])
        if called:
            self._say(f"The aggregator calls {', '.join(f'node {node}' for node in called)} from step {step} on")
            self._wait(nodes, lambda: self._ledger.nominations(self._day) >= before + len(called))

    def _expected_kw(self, nodes: Nodes, files: Mapping[int, NodeFiles], step: int) -> Array:
        """Of all households together, (T - step,); of who is not heard as it was forecast."""
        heard = self._heard(step)
        self._wait(nodes, lambda: all(MeterFiles(files[node]).expected(step) is not None for node in heard))
        total = np.zeros(self._community.steps - step)
        for home in self._community.households:
            own = MeterFiles(files[home.node]).expected(step) if home.node in heard else None
            total += home.net_load_kw[step:] if own is None else own
        return total

    def _round(self, nodes: Nodes, first: int) -> None:
        """Opens a round and waits until it has ended, is settled and nominated."""
        label = self._ledger.label_of(self._day, first) if first else self._day
        opened = self._time.now()
        steps = self._community.steps
        percent = percent_of_limits(steps, steps - first) if first else WHOLE
        round_ = self._rounds[first] = self._aggregator.open_round(label, percent=percent)
        heard = len(self._heard(first)) + (GRID_CONNECTION in self._keys)
        if heard < len(self._keys):  # nobody waits for who is silent: the others go on when the phase is over
            self._wait(nodes, lambda: self._declared(round_) >= heard)
            self._time.until(self._aggregator.progress().deadline + 1)
        self._aggregator.wait_for(lambda now: now.round > round_ or now.phase.is_final, 4 * PATIENCE, True)
        if self._aggregator.outcome(round_).phase is not Phase.CONVERGED:
            self._say(f"Round {round_} ended without agreement: what stood stands")
            del self._rounds[first]
            return

        def nominated() -> bool:
            return all(self._ledger.nomination(self._day, node)[1] >= opened for node in self._heard(first))

        self._wait(nodes, nominated)
        if not first and self._relayer is not None:
            self._relayed = self._relayer.gas_used

    def _awaited(self, step: int) -> tuple[int, ...]:
        """Households that nobody expects to be silent at a step."""
        return tuple(node for node in self._homes if self._settings.silent.get(node, step + 1) > step)

    def _heard(self, step: int) -> tuple[int, ...]:
        """Those of them that are in the day: who came too late to join is a plain customer."""
        members = self._members()
        return tuple(node for node in self._awaited(step) if node in members)

    def _tell_parts(self, nodes: Nodes, files: Mapping[int, NodeFiles], step: int) -> None:
        """The meter of each supplier's customers, which all of them that are heard are told of within the step: a
        supplier's imbalance is of its customers."""
        heard = self._heard(step)
        for group in self._community.customers():
            own = {self._homes[row] for row in group.rows}
            self._tell_group(nodes, [MeterFiles(files[node]) for node in heard if node in own], step)

    def _tell_group(self, nodes: Nodes, meters: Sequence[MeterFiles], step: int) -> None:
        for turn in range(TOLD if meters else 0):
            self._wait(nodes, partial(_all_said, meters, step, turn))
            decided = [one for meter in meters if (one := meter.said(step, turn)) is not None]
            asked = AskedPart.of(decided) if len(decided) == len(meters) else None
            for meter in meters:
                meter.ask(step, turn, asked)
            if asked is None:
                return

    def _wait_for_meters(self, nodes: Nodes, files: Mapping[int, NodeFiles], step: int) -> None:
        heard = self._heard(step)
        self._wait(nodes, lambda: all(MeterFiles(files[node]).read(step) is not None for node in heard))

    def _declared(self, round_: int) -> int:
        """How many have declared in a round; all once it has started."""
        now = self._aggregator.progress()
        return now.counter if now.phase is Phase.DECLARING and now.round == round_ else len(self._keys)

    def _members(self) -> frozenset[int]:
        return self._ledger.standing(self._day).members

    def _settle(self, step: int, files: Mapping[int, NodeFiles]) -> None:
        """Brings what was read of a step that is over, and settles it: at once where all were read, else when nobody is
        waited for any longer."""
        members = sorted(self._members())
        read = {node: MeterFiles(files[node]).read(step) for node in members}
        there = {node: energy for node, energy in read.items() if energy is not None}
        if there:
            self._ledger.read(self._ledger.sign_reading(self._suppliers.metering_key, self._day, step, there))
        if len(there) < len(members):
            self._missing += len(members) - len(there)
            late = self._ledger.terms(self._day).reading_seconds
            self._time.until(self._ledger.start_of(self._day, step + 1) + late + 1)
        self._ledger.settle_step(self._day)

    def _report_condition(self, step: int) -> None:
        """The oracle's report for a forward: of a day that is five degrees warmer than usual; absurd, or none."""
        for deal in self._deals:
            if deal.kind == "forward" and deal.step == step and self._settings.oracle not in ("silent", "late"):
                absurd = self._settings.oracle == "absurd"
                condition = -(2**63) if absurd else deal.usual + 5000
                self._ledger.products.report(self._oracle_key, self._day, step, condition)

    def _report_too_late(self) -> None:
        """What a late oracle reports when the day is over counts no more."""
        for deal in self._deals:
            if deal.kind == "forward" and self._settings.oracle == "late":
                try:
                    self._ledger.products.report(self._oracle_key, self._day, deal.step, deal.usual + 5000)
                except ContractError as error:
                    if error.name != "ReportTooLate":
                        raise

    def _close(self) -> None:
        """Closes the day, and ends whatever of it is open still."""
        self._ledger.close_day(self._day)
        products, late = self._ledger.products, self._ledger.terms(self._day).reading_seconds
        self._time.until(self._ledger.start_of(self._day, self._community.steps) + late + 1)
        self._report_too_late()
        for number in range(1, products.last_id() + 1):
            for end in (products.settle_forward, products.end_spot, products.end_option, products.end_forward):
                try:
                    end(number)
                except ContractError as error:
                    if error.name != "NotOpen":
                        raise
        if self._caller is not None:
            self._caller.close()

    def _wait(self, nodes: Nodes, done: Callable[[], bool], seconds: float | None = None) -> bool:
        """Until something is done; False where it is not in time.

        Args:
            seconds: that it may take; default: the settings' patience.
        """
        give_up = time.monotonic() + (self._settings.patience_s if seconds is None else seconds)
        while not done():
            nodes.check()
            if time.monotonic() > give_up:
                return False
            time.sleep(PAUSE)
        return True

    def _say(self, text: str) -> None:
        self._listener.hear(Stage(text))

    # ------------------------------------------------------------------ afterwards

    def played(self, files: Mapping[int, NodeFiles], wall_s: float) -> PlayedDay:
        """What the chain says of the day."""
        ledger, day, steps = self._ledger, self._day, self._community.steps
        settled = tuple(ledger.settled_steps(day))
        members = tuple(sorted(self._members()))
        by_member = {node: sum(step.payments[node] for step in settled) for node in members}
        accounts = {node: str(address_of(self._keys[node])) for node in members}
        parties = [*(str(address_of(self._keys[node])) for node in self._homes), *self._suppliers.addresses]
        held = sum(ledger.free(account) + ledger.locked(account) for account in parties)
        supplying = [SUPPLIER - number for number in range(len(self._suppliers.addresses))]
        balances = sum(ledger.balance(day, party) for party in (*members, *supplying))
        besides = {
            node: ledger.free(accounts[node]) + ledger.locked(accounts[node]) - 2 * self._lock - by_member[node]
            for node in members
        }
        conserved = (
            held == ledger.total_deposits() == ledger.token.balance(ledger.address)
            and all(sum(step.payments.values()) == 0 for step in settled)
            and sum(besides.values()) == 0
        )
        records = {first: self._trades.recorded(round_) for first, round_ in self._rounds.items()}
        reports = self._reports(files)
        gas = {node: Counter(report["gas"]) for node, report in reports.items()}
        rounds = len(self._rounds) - (0 in self._rounds)
        relayed = (self._relayer.gas_used - self._relayed) / len(self._keys) if self._relayer is not None else 0.0
        again = [(relayed + sum(gas[node][what] for what in AGAIN)) / max(rounds, 1) for node in members if node in gas]
        positions = sum(ledger.position(day, node, step) != 0 for node in members for step in range(steps))
        for_trades, peak_fees = self._received_for_trades(members, records), self._peak_fees(members)
        elsewhere = {node: report["elsewhere"] for node, report in reports.items()}
        received = {node: for_trades[node] + (by_member[node] + besides[node]) / self._units for node in members}
        calls = () if self._caller is None else self._caller.played(day)
        evens = self._caller is None or self._caller.is_even()
        for one in calls:
            received[one.call.node] += one.outcome.payment / self._units
        alone = paid_alone(self._community, self._reality, self._settings.model).tolist()
        return PlayedDay(
            community=self._community,
            settings=self._settings,
            members=members,
            positions=positions,
            re_agreements=rounds,
            skipped=self._skipped,
            iterations=tuple(self._aggregator.outcome(round_).iterations for round_ in self._rounds.values()),
            nominations=ledger.nominations(day),
            pool_kwh=sum(step.pool_wh for step in settled) / 1000,
            imbalance_kwh=sum(step.imbalance_wh for step in settled) / 1000,
            options_exercised=ledger.products.count("OptionExercised"),
            spot_trades=ledger.products.count("SpotTaken"),
            forwards_settled=ledger.products.count("ForwardSettled"),
            missing_readings=self._missing,
            money_conserved=conserved and evens,
            all_locks_ended=balances == 0 and evens and all(ledger.locked(account) == 0 for account in parties),
            traded_kwh=_by_step(records.get(0, []), steps),
            changed_kwh=_by_step([one for first, many in records.items() if first for one in many], steps),
            steps=settled,
            paid_for_trades=for_trades,
            paid_by_day={node: amount / self._units for node, amount in by_member.items()},
            paid_besides={node: amount / self._units for node, amount in besides.items()},
            calls=calls,
            paid={node: None if (more := elsewhere.get(node)) is None else more - received[node] for node in members},
            paid_alone={node: round(paid, 6) for node, paid in zip(self._homes, alone, strict=True) if node in members},
            peak_fees=peak_fees,
            supplier_received=sum(step.suppliers_received for step in settled) / self._units,
            history={node: ledger.history(accounts[node]) for node in members},
            gas=sum(gas.values(), Counter()),
            gas_of_home=float(np.median(again)) if again else 0.0,
            wall_s=wall_s,
        )

    def _received_for_trades(
        self, members: Sequence[int], records: Mapping[int, Sequence[TradeRecord]]
    ) -> dict[int, float]:
        received = dict.fromkeys(members, 0)
        for many in records.values():
            for record in many:
                received[record.lower] += record.payment
                received[record.higher] -= record.payment
        return {node: amount / self._units for node, amount in received.items()}

    def _peak_fees(self, members: Sequence[int]) -> dict[int, float]:
        """What the grid operator asks for by what meters have read."""
        community = self._community
        fed_kw = np.zeros((len(members), community.steps))
        for (step, node), energy in self._ledger.readings(self._day).items():
            fed_kw[members.index(node), step] = energy / (1000 * community.step_hours)
        before = {home.node: home.peak_kw for home in community.households}
        paid = peaks_paid(community.prices, fed_kw, np.array([before[node] for node in members]))
        return dict(zip(members, paid.tolist(), strict=True))

    def _reports(self, files: Mapping[int, NodeFiles]) -> dict[int, dict[str, Any]]:
        """What each household's process says of its day."""
        return {
            node: parse_json(item.report.read_text(encoding="utf-8"))
            for node, item in files.items()
            if node != GRID_CONNECTION and item.report.exists()
        }


def _all_said(meters: Sequence[MeterFiles], step: int, turn: int) -> bool:
    return all(meter.said(step, turn) is not None for meter in meters)


def _by_step(records: Sequence[TradeRecord], steps: int) -> tuple[float, ...]:
    """Energy that was traded, kWh, by step."""
    total = [0.0] * steps
    for record in records:
        for trade in record.trades:
            total[trade.step] += abs(trade.energy_wh) / 1000
    return tuple(total)
