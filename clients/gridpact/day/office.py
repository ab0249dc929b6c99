"""Who opens, meters and settles a day on the chain: the community's manager, its supplier and its metering account.

None of them has a say in what is agreed. They open the rounds, sign what meters read, and call what anybody might call.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from gridpact.chain.networks import EMBEDDED, open_network
from gridpact.chain.values import WHOLE, Phase
from gridpact.community.model import GRID_CONNECTION, Array, CommunityDay
from gridpact.day.accounts import DayLog, played
from gridpact.day.files import MeterFiles
from gridpact.day.household import play
from gridpact.day.staging import StagedDay
from gridpact.day.values import PATIENCE, DaySettings, PlayedDay
from gridpact.errors import ContractError
from gridpact.events import SILENT, Listener, Stage
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.parameters import percent_of_limits
from gridpact.market.prepared import Prepared
from gridpact.run.launch import Body, NodeFiles, Nodes, running_nodes, warm_up
from gridpact.run.onchain import Spectator, nobody
from gridpact.study.whatif.following import TOLD, AskedPart
from gridpact.study.whatif.reagreement import apart

PAUSE = 0.1


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
            stage = StagedDay(network, prepared, negotiation, settings)
            with spectator(stage.record, network), stage.relaying() as relay:
                stage.open_day()
                files = stage.equip(Path(folder), relay.url if relay else None)
                office = _Office(stage, files, listener)
                with running_nodes(list(files.values()), network, body) as nodes:
                    office.through_the_day(nodes)
            return played(stage, office.log, files, time.perf_counter() - started)


class _Office:
    """The manager's, the supplier's and the meters' side of a day."""

    def __init__(self, stage: StagedDay, files: Mapping[int, NodeFiles], listener: Listener) -> None:
        self._stage, self._files, self._listener = stage, files, listener
        self._community, self._settings = stage.community, stage.settings
        self._homes, self._day = stage.homes, stage.day
        self._aggregator, self._ledger = stage.aggregator, stage.ledger
        self.log = DayLog()
        self._foreseen = sum((home.net_load_kw for home in stage.community.households), np.zeros(stage.community.steps))

    def through_the_day(self, nodes: Nodes) -> None:
        """From the round of the day before to the last payment."""
        steps = self._community.steps
        self._say(f"{len(self._homes)} households join and agree on the day ahead")
        self._wait(nodes, lambda: set(self._awaited(0)) <= self._stage.members(), PATIENCE)
        self._round(nodes, 0)
        for step in range(steps):
            if step in self._stage.gates:
                self._re_agree(nodes, step)
            self._call(nodes, step)
            self._stage.time.until(self._ledger.start_of(self._day, step))
            if self._settings.following:
                self._tell_parts(nodes, step)
            self._wait_for_meters(nodes, step)
            self._report_condition(step)
            if step:
                self._settle(step - 1)
        self._stage.time.until(self._ledger.start_of(self._day, steps))
        self._settle(steps - 1)
        self._say("The last step is settled; the day is closed")
        self._close()

    def _re_agree(self, nodes: Nodes, step: int) -> None:
        """The rest of the day, where enough of it is expected to be otherwise than when it was agreed on last."""
        expected = self._expected_kw(nodes, step)
        otherwise_kwh = self._community.step_hours * apart(expected, self._foreseen)
        if otherwise_kwh < self._settings.re_agree_above_kwh:
            self._say(f"{otherwise_kwh:.1f} kWh are expected to be otherwise from step {step} on: what stands is kept")
            self.log.skipped += 1
            return
        self._say(f"The rest of the day, from step {step} on, is agreed anew")
        self._round(nodes, step)
        if step in self.log.rounds:
            self._foreseen = expected

    def _call(self, nodes: Nodes, step: int) -> None:
        """Who is to be called from a step on, once its rest is agreed; waits until they have nominated accordingly."""
        if self._stage.caller is None:
            return
        before = self._ledger.nominations(self._day)
        called, refused = self._stage.caller.call(self._day, step, self._heard(step))
        for sentence in refused:
            self._say(sentence[0].upper() + sentence[1:])
        if called:
            self._say(f"The aggregator calls {', '.join(f'node {node}' for node in called)} from step {step} on")
            self._wait(nodes, lambda: self._ledger.nominations(self._day) >= before + len(called))

    def _expected_kw(self, nodes: Nodes, step: int) -> Array:
        """Of all households together, (T - step,); of who is not heard as it was forecast."""
        heard = self._heard(step)
        self._wait(nodes, lambda: all(MeterFiles(self._files[node]).expected(step) is not None for node in heard))
        total = np.zeros(self._community.steps - step)
        for home in self._community.households:
            own = MeterFiles(self._files[home.node]).expected(step) if home.node in heard else None
            total += home.net_load_kw[step:] if own is None else own
        return total

    def _round(self, nodes: Nodes, first: int) -> None:
        """Opens a round and waits until it has ended, is settled and nominated."""
        label = self._ledger.label_of(self._day, first) if first else self._day
        opened = self._stage.time.now()
        steps = self._community.steps
        percent = percent_of_limits(steps, steps - first) if first else WHOLE
        round_ = self.log.rounds[first] = self._aggregator.open_round(label, percent=percent)
        heard = len(self._heard(first)) + (GRID_CONNECTION in self._stage.keys)
        if heard < len(self._stage.keys):  # nobody waits for who is silent: the others go on when the phase is over
            self._wait(nodes, lambda: self._declared(round_) >= heard)
            self._stage.time.until(self._aggregator.progress().deadline + 1)
        self._aggregator.wait_for(lambda now: now.round > round_ or now.phase.is_final, 4 * PATIENCE, True)
        if self._aggregator.outcome(round_).phase is not Phase.CONVERGED:
            self._say(f"Round {round_} ended without agreement: what stood stands")
            del self.log.rounds[first]
            return

        def nominated() -> bool:
            return all(self._ledger.nomination(self._day, node)[1] >= opened for node in self._heard(first))

        self._wait(nodes, nominated)
        if not first and self._stage.relayer is not None:
            self.log.relayed = self._stage.relayer.gas_used

    def _awaited(self, step: int) -> tuple[int, ...]:
        """Households that nobody expects to be silent at a step."""
        return tuple(node for node in self._homes if self._settings.silent.get(node, step + 1) > step)

    def _heard(self, step: int) -> tuple[int, ...]:
        """Those of them that are in the day: who came too late to join is a plain customer."""
        members = self._stage.members()
        return tuple(node for node in self._awaited(step) if node in members)

    def _tell_parts(self, nodes: Nodes, step: int) -> None:
        """The meter of each supplier's customers, which all of them that are heard are told of within the step: a
        supplier's imbalance is of its customers."""
        heard = self._heard(step)
        for group in self._community.customers():
            own = {self._homes[row] for row in group.rows}
            self._tell_group(nodes, [MeterFiles(self._files[node]) for node in heard if node in own], step)

    def _tell_group(self, nodes: Nodes, meters: Sequence[MeterFiles], step: int) -> None:
        for turn in range(TOLD if meters else 0):
            self._wait(nodes, partial(_all_said, meters, step, turn))
            decided = [one for meter in meters if (one := meter.said(step, turn)) is not None]
            asked = AskedPart.of(decided) if len(decided) == len(meters) else None
            for meter in meters:
                meter.ask(step, turn, asked)
            if asked is None:
                return

    def _wait_for_meters(self, nodes: Nodes, step: int) -> None:
        heard = self._heard(step)
        self._wait(nodes, lambda: all(MeterFiles(self._files[node]).read(step) is not None for node in heard))

    def _declared(self, round_: int) -> int:
        """How many have declared in a round; all once it has started."""
        now = self._aggregator.progress()
        return now.counter if now.phase is Phase.DECLARING and now.round == round_ else len(self._stage.keys)

    def _settle(self, step: int) -> None:
        """Brings what was read of a step that is over, and settles it: at once where all were read, else when nobody is
        waited for any longer."""
        members = sorted(self._stage.members())
        read = {node: MeterFiles(self._files[node]).read(step) for node in members}
        there = {node: energy for node, energy in read.items() if energy is not None}
        if there:
            self._ledger.read(self._ledger.sign_reading(self._stage.suppliers.metering_key, self._day, step, there))
        if len(there) < len(members):
            self.log.missing += len(members) - len(there)
            late = self._ledger.terms(self._day).reading_seconds
            self._stage.time.until(self._ledger.start_of(self._day, step + 1) + late + 1)
        self._ledger.settle_step(self._day)

    def _report_condition(self, step: int) -> None:
        """The oracle's report for a forward: of a day that is five degrees warmer than usual; absurd, or none."""
        for deal in self._stage.deals:
            if deal.kind == "forward" and deal.step == step and self._settings.oracle not in ("silent", "late"):
                absurd = self._settings.oracle == "absurd"
                condition = -(2**63) if absurd else deal.usual + 5000
                self._ledger.products.report(self._stage.oracle_key, self._day, step, condition)

    def _report_too_late(self) -> None:
        """What a late oracle reports when the day is over counts no more."""
        for deal in self._stage.deals:
            if deal.kind == "forward" and self._settings.oracle == "late":
                try:
                    self._ledger.products.report(self._stage.oracle_key, self._day, deal.step, deal.usual + 5000)
                except ContractError as error:
                    if error.name != "ReportTooLate":
                        raise

    def _close(self) -> None:
        """Closes the day, and ends whatever of it is open still."""
        self._ledger.close_day(self._day)
        products, late = self._ledger.products, self._ledger.terms(self._day).reading_seconds
        self._stage.time.until(self._ledger.start_of(self._day, self._community.steps) + late + 1)
        self._report_too_late()
        for number in range(1, products.last_id() + 1):
            for end in (products.settle_forward, products.end_spot, products.end_option, products.end_forward):
                try:
                    end(number)
                except ContractError as error:
                    if error.name != "NotOpen":
                        raise
        if self._stage.caller is not None:
            self._stage.caller.close()

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


def _all_said(meters: Sequence[MeterFiles], step: int, turn: int) -> bool:
    return all(meter.said(step, turn) is not None for meter in meters)
