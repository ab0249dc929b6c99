"""Services through the day itself, two days on Anvil: tiny3 in TG, agreed anew, read, restarted, settled to the end."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from chains import rpc, skip_without
from pilots import PHASE_SECONDS, Running, key_of, outcome, running, schedule, settings_of
from waiting import until

from gridpact.chain.account import ChainAccount
from gridpact.chain.flexibility import Flexibility, OfferTerms
from gridpact.chain.keys import address_of
from gridpact.chain.networks import ETHER, MANAGER_KEY, open_network
from gridpact.chain.values import Phase
from gridpact.cli import main
from gridpact.files import write_atomically
from gridpact.manage.watching import Watcher, headline
from gridpact.market.admm.parameters import percent_of_limits
from gridpact.node.round_log import assembly_of
from gridpact.service import day_run, loop
from gridpact.service.forecast import NoForecast
from gridpact.service.readings import Reading
from gridpact.service.settings import FlexibilitySettings, ThroughDay
from measure.soak import Pilot

HOMES = (1, 2, 3)
FIRST, SECOND = "2026-02-01", "2026-02-02"


class Played:
    """A pilot whose chain is moved on in time, and its services."""

    def __init__(self, pilot: Pilot, services: dict[int, Running]) -> None:
        self.pilot, self.services = pilot, services
        self.asked: set[tuple[Path, int]] = set()
        self.web3 = pilot.network.connect()

    def move_to(self, moment: int) -> None:
        now = int(self.web3.eth.get_block("latest")["timestamp"])
        if moment > now:
            rpc(self.web3, "evm_increaseTime", moment - now)
            rpc(self.web3, "evm_mine")

    def agree(self, day: str) -> None:
        """The round of the day before: all join, agree and nominate."""
        self.pilot.write_forecasts(day)
        number = self.pilot.open_round(day)
        assert self.pilot.end_of(number) is Phase.CONVERGED
        for node in (0, *HOMES):
            assert outcome(self.pilot, node, number)["outcome"] == "agreed"
        label = label_of(day)
        assert self.pilot.ledger.standing(label).members == set(HOMES)
        assert all(self.pilot.ledger.nomination(label, node)[1] for node in HOMES)
        declared = assembly_of(self.pilot.aggregator, number)
        assert declared is not None
        books = {node: declared[0].book(node) for node in HOMES}
        assert all(books.values())
        for node, book in books.items():  # whoever joined first
            assert book == {partner: books[partner][node] for partner in book}
        self.check_balance(day, 0)

    def has_asked(self, node: int, step: int) -> bool:
        """Whether a reading was looked for that is not there."""
        return (self.pilot.config(node), step) in self.asked

    def health(self, node: int) -> tuple[str, int, float]:
        """The newest step that was read, and by what it deviates."""
        health = self.services[node].health
        return health.delivery, health.step, health.deviation_kwh

    def refresh(self, day: str, load: float, sun: float = 1.0) -> None:
        """Forecasts of so many times the load and the PV output."""
        for node in HOMES:
            said = json.loads(self.pilot.forecast(node, day).read_text())
            factors = {"load_kw": load, "pv_kw": sun}
            said |= {name: [more * power for power in said.get(name, [])] for name, more in factors.items()}
            said = {name: value for name, value in said.items() if value != []}
            write_atomically(self.pilot.forecast(node, day), json.dumps(said))

    def agree_anew(self, day: str, first: int) -> int:
        self.move_to(self.pilot.ledger.gate_of(label_of(day), first) - 3600)
        number = self.pilot.open_rest(day, first)
        assert self.pilot.end_of(number) is Phase.CONVERGED
        for node in (0, *HOMES):
            assert outcome(self.pilot, node, number)["outcome"] == "agreed", outcome(self.pilot, node, number)
        for node in HOMES:
            plan = schedule(self.pilot, node, day)
            assert (plan["status"], plan["since"], plan["round"]) == ("agreed", first, number)
        self.check_balance(day, first)
        self.check_limits(number, first)
        return number

    def check_limits(self, number: int, first: int) -> None:
        """Who watches the round is shown its own limits, as many times theta's as it was opened with."""
        aggregator, steps = self.pilot.aggregator, self.pilot.community.steps
        state, theta = Watcher(aggregator, 0.0).look(number), aggregator.theta()
        more = percent_of_limits(steps, steps - first) / 100
        unit_w = aggregator.setting().power_resolution_milliwatt / 1000
        assert state.limits_w[0] == pytest.approx(more * unit_w * theta.eps_primal_grid / 1000)
        assert all(rms <= limit for rms, limit in zip(state.rms_w, state.limits_w, strict=True))
        assert f"of the rest of day 1 from step {first} on, converged" in headline(state)

    def check_balance(self, day: str, first: int) -> None:
        """What the schedule says is what the chain has: what is sold and fed in is what is drawn."""
        ledger, label = self.pilot.ledger, label_of(day)
        for node in HOMES:
            for step, row in list(enumerate(rows(self.pilot, node, day)))[first:]:
                assert row["position_wh"] == ledger.position(label, node, step)
                assert row["nominated_wh"] == ledger.nominated(label, node, step)
                assert row["nominated_wh"] == pytest.approx(row["position_wh"] - row["meter_wh"], abs=11)
        for step in range(first, ledger.steps):
            assert sum(ledger.position(label, node, step) for node in HOMES) == 0

    def call_for(self, day: str, node: int, step: int, more_wh: int) -> Flexibility:
        """A home opts in, and is called to feed so much more in: its plan and nomination follow, and no other's."""
        pilot, label = self.pilot, label_of(day)
        member, aggregator = (ChainAccount(self.web3, key) for key in (key_of(pilot, node), pilot.keys["supplier"]))
        pilot.network.fund([aggregator.address], ETHER)
        begins, until_ = pilot.ledger.start_of(label, 0), pilot.ledger.start_of(label, pilot.ledger.steps)
        terms = OfferTerms(aggregator.address, 0, "battery", 0, begins, until_, 5000, 0, 9000, 2_000_000, 0, 50, 0)
        offer = Flexibility.of(pilot.record, self.web3, member).opt_in(terms)
        calling = Flexibility.of(pilot.record, self.web3, aggregator)
        calling.token.approve(calling.address, 10**9)
        calling.deposit(2 * more_wh * 2000)
        (baseline,) = calling.baselines(label, node, step, 1)
        before = {home: rows(pilot, home, day)[step]["meter_wh"] for home in HOMES}
        calling.call_for(offer, label, step, [more_wh], [baseline])
        asked = pytest.approx(baseline + more_wh, abs=2)
        until(lambda: rows(pilot, node, day)[step]["meter_wh"] == asked, "the call is not planned for")
        until(lambda: -pilot.ledger.nominated(label, node, step) + pilot.ledger.position(label, node, step) == asked)
        for home in HOMES:
            if home != node:
                assert rows(pilot, home, day)[step]["meter_wh"] == before[home]
        return calling

    def deliver(self, day: str, step: int, more_wh: int, by_command: Callable[..., str] | None = None) -> None:
        """A step passes in which everybody draws so much more than it planned, the more the higher its number."""
        ledger, label = self.pilot.ledger, label_of(day)
        if step + 1 < ledger.steps:
            self.move_to(ledger.gate_of(label, step + 1) - 100)
            until(
                lambda: all(schedule(self.pilot, node, day)["since"] == step + 1 for node in HOMES),
                f"the rest of the day is not planned anew from step {step + 1} on",
            )
        read = {node: rows(self.pilot, node, day)[step]["meter_wh"] - node * more_wh for node in HOMES}
        complaints = {node: self.services[node].health.errors for node in HOMES}
        if by_command is not None:  # readings come later than services ask for them, and nobody minds
            self.move_to(ledger.start_of(label, step + 1))
            until(lambda: all(self.has_asked(node, step) for node in HOMES), f"nobody asks for step {step}")
        for node, meter_wh in read.items():
            said = json.dumps({"day": day, "step": step, "meter_wh": meter_wh})
            write_atomically(self.pilot.reading(node, day, step), said)
        self.move_to(ledger.start_of(label, step + 1))
        until(
            lambda: all(rows(self.pilot, node, day)[step]["deviation_wh"] is not None for node in HOMES),
            f"step {step} is not read",
        )
        assert complaints == {node: self.services[node].health.errors for node in HOMES}
        own = {node: rows(self.pilot, node, day)[step]["deviation_wh"] for node in HOMES}
        for node in HOMES:
            assert own[node] == pytest.approx(node * more_wh, abs=11)
            told = day, step, own[node] / 1000
            until(lambda node=node, told=told: self.health(node) == told, f"the health of node {node} is not {told}")
        if by_command is None:
            self.pilot.read_step(day, step, read)
        else:
            table = self.pilot.folder / "step.csv"
            table.write_text("node,meter_wh\n" + "".join(f"{node},{energy}\n" for node, energy in read.items()))
            reading = ["readings", "step", str(table), "--day", day, "--step", str(step)]
            assert "is read of 3 members, 0 are left" in by_command("metering", reading)
            assert "settled 1 steps" in by_command("supplier", ["positions", "--day", str(label), "--settle"])
        assert ledger.settled_steps(label)[-1].deviation_wh == sum(own.values())


def commands(pilot: Pilot, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs commands with the key of the supplier or of the metering account. Returns what they tell."""
    place = ["--contracts", str(pilot.folder / "contracts.json"), "--network", "local", "--rpc", pilot.url, "--yes"]

    def command(role: str, arguments: list[str], status: int = 0) -> str:
        capsys.readouterr()
        pilot.network.fund([str(address_of(pilot.keys[role]))], ETHER)
        with monkeypatch.context() as patch:
            patch.setenv(MANAGER_KEY, pilot.keys[role])
            ended = main([*arguments, *place])
        told = capsys.readouterr()
        assert ended == status, told.err
        return told.out + told.err

    return command


def label_of(day: str) -> int:
    return int(day.replace("-", ""))


def rows(pilot: Pilot, node: int, day: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = schedule(pilot, node, day)["steps"]  # type: ignore[assignment]
    return found


def test_services_goThroughTwoDays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Day 1 is agreed anew twice. Between them bob's service is ended, and a new one goes on from the chain: what it
    states is what its partners state, for all begin the second where the first had ended. Meanwhile day 2 is agreed on.
    """
    skip_without("anvil")
    monkeypatch.setattr(loop, "LOOK_SECONDS", 0.3)
    monkeypatch.setattr(day_run, "ASK_SECONDS", 0.3)
    with open_network("anvil") as network:
        pilot = Pilot(network, tmp_path, phase_seconds=PHASE_SECONDS, days=True)
        ledger = pilot.ledger
        called = FlexibilitySettings("0x" + 40 * "0", "battery", 5.0, 0.0, 9.0, 2.0, 0.0, 0.0, 0.0, 0.0, 0.0)
        with running(pilot, 0, 1, 2, 3, node_3=replace(settings_of(pilot, 3), flexibility=called)) as services:
            played = Played(pilot, services)
            take = day_run.take_reading

            def noted(settings: ThroughDay, day: str, step: int) -> Reading:
                try:
                    return take(settings, day, step)
                except NoForecast:
                    assert settings.file is not None
                    played.asked.add((Path(settings.file).parents[1] / "household.toml", step))
                    raise

            monkeypatch.setattr(day_run, "take_reading", noted)
            begins = int(played.web3.eth.get_block("latest")["timestamp"]) + 40_000
            command = commands(pilot, monkeypatch, capsys)
            pilot.open_day(FIRST, begins)
            played.agree(FIRST)
            played.refresh(FIRST, 1.3)
            first = played.agree_anew(FIRST, 1)
            played.deliver(FIRST, 0, 50)

            services[2].end()
            services[2] = Running(settings_of(pilot, 2), key_of(pilot, 2))
            start = datetime.fromtimestamp(ledger.start_of(label_of(FIRST), ledger.steps), timezone.utc).isoformat()
            terms = ["--day", SECOND, "--start", start, "--lock", "50", "--community", "tiny3", "--gate-minutes", "90"]
            command("supplier", ["round", "day", *terms, "--least-lock", "1", "--reading-minutes", "90"])
            played.agree(SECOND)
            played.refresh(FIRST, 2.0, sun=1.5)  # a pair states changes from a kilowatt-hour on
            second = played.agree_anew(FIRST, 2)
            assert pilot.aggregator.outcome(second).present == {0, 1, 2, 3}
            for round_ in (first, second):
                assert not pilot.settlement.unrecorded(round_, 2)
            assert pilot.settlement.recorded(second)
            for step in range(1, ledger.steps):
                played.deliver(FIRST, step, 20 * step)
            ledger.close_day(label_of(FIRST))

            calling = played.call_for(SECOND, 3, 2, 200)
            for step in range(ledger.steps - 1):
                played.deliver(SECOND, step, 10)
            calling.settle(1)
            outcome_ = calling.outcome(1)
            assert outcome_ is not None
            assert outcome_.delivered_wh == pytest.approx(200 - 30, abs=11)  # 3 draws 30 Wh more than it plans
            assert outcome_.payment == 2000 * outcome_.delivered_wh
            late = ["round", "open", "--day", SECOND, "--from", "3"]
            assert "its gate closed at" in command("supplier", late, status=2)
            played.deliver(SECOND, 3, 10, by_command=command)
            assert ledger.standing(label_of(SECOND)).closed
            capsys.readouterr()
            main(["household", "health", "--config", str(pilot.config(3))])
            assert f"step 3 of {SECOND}: sold" in (told := capsys.readouterr().out)
            assert "deviates by 0.0" in told
        accounts = [pilot.aggregator.account_of(node) for node in HOMES] + [pilot.record.supplier]
        assert all(ledger.locked(str(account)) == 0 for account in accounts)
        assert sum(ledger.free(str(account)) for account in accounts) == ledger.total_deposits()
