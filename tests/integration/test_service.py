"""Services day after day on Anvil: tiny3 in TG, and what must not stop them."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import socket
import threading
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest
from chains import skip_without
from pilots import PHASE_SECONDS, end_round, held_at, key_of, outcome, pass_phase, running, schedule, settings_of
from waiting import SECONDS, until
from web3 import Web3

from gridpact.chain.account import ChainAccount
from gridpact.chain.encoding import encode_tariff
from gridpact.chain.keys import new_key
from gridpact.chain.networks import Network, open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.transport import HttpTransport, connect
from gridpact.chain.values import Phase
from gridpact.cli import main
from gridpact.errors import InputError
from gridpact.node.audit import audit_round
from gridpact.service import loop, participation
from gridpact.service.health import Health
from gridpact.service.loop import Service
from gridpact.service.settings import Settings
from measure.soak import PASSWORD, Pilot


@pytest.fixture(scope="module")
def pilot(anvil: Network, tmp_path_factory: pytest.TempPathFactory) -> Pilot:
    return Pilot(anvil, tmp_path_factory.mktemp("pilot"), phase_seconds=PHASE_SECONDS)


# ---------------------------------------------------------------------- days


def test_days_andOneWithoutAForecast(pilot: Pilot, caplog: pytest.LogCaptureFixture) -> None:
    """Day 1: all agree, and it is delivered as planned. Day 2: bob's forecast is full of NaN; he says so before the
    others have to wait, they agree without him, and he follows his supplier. Day 3: he is back. cem's endpoint has no
    websocket."""
    by_http = {3: lambda: Web3(HttpTransport(pilot.url), middleware=[])}
    with running(pilot, 0, 1, 2, 3, links=by_http) as services:
        pilot.write_forecasts(day := "2026-02-01")
        first = pilot.open_round(day)
        assert pilot.end_of(first) is Phase.CONVERGED
        for node in (0, 1, 2, 3):
            assert outcome(pilot, node, first)["outcome"] == "agreed"
        plans = {node: schedule(pilot, node, day) for node in (1, 2, 3)}
        assert {plan["status"] for plan in plans.values()} == {"agreed"}
        assert pilot.settlement.recorded(first)
        pilot.deliver(first, day)

        pilot.write_forecasts(day := "2026-02-02")
        said = json.loads(pilot.forecast(2, day).read_text())
        pilot.forecast(2, day).write_text(json.dumps(said | {"load_kw": [float("nan")] * 4}))
        second = pilot.open_round(day)
        assert pilot.end_of(second) is Phase.CONVERGED
        assert pilot.aggregator.abstained(second) == {2}
        assert pilot.aggregator.outcome(second).present == {0, 1, 3}
        assert audit_round(pilot.aggregator, second).clean
        told = outcome(pilot, 2, second)
        assert told["outcome"] == "abstained"
        assert "load_kw of the forecast" in str(told["why"])
        assert services[2].health.last_error.startswith(f"node 2 keeps out of round {second}: load_kw of the forecast")
        assert not services[2].health.ok
        alone = schedule(pilot, 2, day)
        assert (alone["status"], alone["forecast"]) == ("alone", "2026-02-01")
        assert {outcome(pilot, node, second)["outcome"] for node in (0, 1, 3)} == {"agreed"}

        pilot.write_forecasts(day := "2026-02-03")
        third = pilot.open_round(day)
        assert pilot.end_of(third) is Phase.CONVERGED
        assert {outcome(pilot, node, third)["outcome"] for node in (0, 1, 2, 3)} == {"agreed"}
        until(lambda: services[2].health.ok, "all is well again")
    # On the first day, meters read what the schedules said, and the services saw it.
    read = [record.getMessage() for record in caplog.records if "is delivered" in record.getMessage()]
    assert len(read) == 3
    for node, plan in plans.items():
        planned = sum(step["meter_wh"] for step in plan["steps"]) / 1000  # type: ignore[attr-defined]
        assert any(f"read {planned:.3f} kWh fed in, planned were {planned:.3f}" in line for line in read), node


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gridpact")


def test_operatorWithoutAFeederForecast_endsTheRound(pilot: Pilot) -> None:
    """Node 0 cannot plan (its tariff is to come from a forecast that never does): it is over for all at once."""
    settings = settings_of(pilot, 0)
    forecast = settings_of(pilot, 1).forecast
    assert forecast is not None
    late = replace(
        settings, tariff=replace(settings.tariff, source="forecast"), forecast=replace(forecast, timeout_s=0.2)
    )
    with running(pilot, 0, 1, 2, 3, node_0=replace(late, path=Path("x"))):
        pilot.write_forecasts(day := "2026-02-04")
        pilot.forecast(1, "2026-02-04").rename(pilot.forecast(1, "kept"))
        round_ = pilot.open_round(day)
        until(lambda: 0 in pilot.aggregator.abstained(round_), "the operator's node does not keep out")
        pilot.forecast(1, "kept").rename(pilot.forecast(1, "2026-02-04"))
        assert pilot.end_of(round_) is Phase.ABANDONED
        assert outcome(pilot, 0, round_)["outcome"] == "abstained"
        assert outcome(pilot, 3, round_) | {"meter_wh": 0} == {
            "round": round_, "day": day, "outcome": "alone", "why": "it was abandoned", "meter_wh": 0, "gas": 0,
            "iterations": 0, "first": 0,
        } | {"gas": outcome(pilot, 3, round_)["gas"]}  # fmt: skip
        assert schedule(pilot, 3, day)["status"] == "alone"


# ---------------------------------------------------------------------- interruptions


class Gate:
    """A TCP relay before a chain, which can be shut."""

    def __init__(self, url: str) -> None:
        host, _, port = url.removeprefix("http://").partition(":")
        self._target = host, int(port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.refused = 0
        self._open, self._changing = True, threading.Lock()
        self._pairs: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def shut(self) -> None:
        with self._changing:
            self._open = False
            while self._pairs:
                with contextlib.suppress(OSError):
                    self._pairs.pop().shutdown(socket.SHUT_RDWR)

    def reopen(self) -> None:
        self._open = True

    def _accept(self) -> None:
        while True:
            client, _ = self._listener.accept()
            self.refused += not self._open
            with self._changing:
                if not self._open:
                    client.close()
                    continue
                server = socket.create_connection(self._target)
                self._pairs += [client, server]
            for one, other in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(one, other), daemon=True).start()

    @staticmethod
    def _pump(one: socket.socket, other: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := one.recv(65536):
                other.sendall(data)
        for end in (one, other):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


def test_endpoint_mayGoAndComeBack(
    pilot: Pilot, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """In the middle of a round: one line when it goes, one when it is back, and the round is agreed on."""
    monkeypatch.setattr(loop, "PATIENCE_SECONDS", 0.5)
    monkeypatch.setattr(loop, "FIRST_PAUSE", 0.2)
    gate = Gate(pilot.url)
    settings = settings_of(pilot, 3)
    behind = replace(settings, chain=replace(settings.chain, rpc=gate.url))
    with running(pilot, 0, 1, 2, 3, node_3=behind) as services:
        until(lambda: services[3].health.chain, "it never connected")
        pilot.write_forecasts(day := "2026-02-05")
        with held_at(4):
            round_ = pilot.open_round(day)
            pilot.aggregator.wait_until(lambda now: now.iteration >= 3, SECONDS)
            gate.shut()
        until(lambda: not services[3].health.chain, "it never noticed")
        seen = gate.refused
        until(lambda: gate.refused >= seen + 10, "it tries no more")
        assert services[3].thread.is_alive()
        gate.reopen()
        assert pilot.end_of(round_) is Phase.CONVERGED
        assert outcome(pilot, 3, round_)["outcome"] == "agreed"
    lines = [record.getMessage() for record in caplog.records if record.name == "gridpact.service.loop"]
    gone = [line for line in lines if "it is tried again until it answers" in line]
    assert len(gone) == 1, gone
    assert sum("answers again" in line for line in lines) == 1


def test_service_mayDieInMidRound(pilot: Pilot) -> None:
    """Its process is killed, and a new one goes on where it was, with the forecast that it declared with."""
    import subprocess
    import sys

    def start() -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "gridpact", "node", "--config", str(pilot.config(2)), "--once"]
        return subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)

    with running(pilot, 0, 1, 3):
        pilot.write_forecasts(day := "2026-02-06")
        with held_at(4):
            round_ = pilot.open_round(day)
            process = start()
            pilot.aggregator.wait_until(lambda now: now.iteration >= 3, SECONDS)
            os.kill(process.pid, signal.SIGKILL)
            process.communicate()
        assert pilot.aggregator.progress().phase is Phase.ITERATING
        pilot.forecast(2, day).write_text("{}")  # is not read again
        again = start()
        _, err = again.communicate(timeout=SECONDS)
        assert again.returncode == 0, err
        assert f"node 2 goes on in round {round_}" in err
        assert pilot.aggregator.outcome(round_).phase is Phase.CONVERGED
        assert pilot.aggregator.outcome(round_).present == {0, 1, 2, 3}
        assert outcome(pilot, 2, round_)["outcome"] == "agreed"
        assert PASSWORD not in err


def test_service_thatWasAway_plansAlone(tmp_path: Path) -> None:
    """It comes when the round runs without it. On a chain of its own, whose clock this test moves."""
    skip_without("anvil")
    with open_network("anvil") as network:
        plays_without_one(Pilot(network, tmp_path, phase_seconds=PHASE_SECONDS))


def plays_without_one(pilot: Pilot) -> None:
    with running(pilot, 0, 1, 2) as services:
        pilot.write_forecasts(day := "2026-02-07")
        round_ = pilot.open_round(day)
        until(lambda: pilot.aggregator.progress().counter == 3, "they never declared")
        until(lambda: services[1].health.phase == "declaring", "its health does not say so")
        pass_phase(pilot)
        pilot.aggregator.wait_until(lambda now: now.iteration >= 1, SECONDS, close_overdue=True)
        with running(pilot, 3) as late:
            assert outcome(pilot, 3, round_)["outcome"] == "missed"
            assert "the node was away while it began" in late[3].health.last_error
        assert schedule(pilot, 3, day)["status"] == "alone"
        pilot.end_of(round_)


# ---------------------------------------------------------------------- bad input


def refused(pilot: Pilot, settings: Settings, key: str | None = None) -> str:
    """The sentence with which a service does not begin."""
    with pytest.raises(InputError) as caught:
        Service(settings, key or key_of(pilot, settings.node), Health(settings.node, "")).run(once=True)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def changed_record(pilot: Pilot, folder: Path, change: Mapping[str, object]) -> Settings:
    """Node 1 with another record."""
    values = json.loads((pilot.folder / "contracts.json").read_text()) | change
    (folder / "contracts.json").write_text(json.dumps(values))
    settings = settings_of(pilot, 1)
    return replace(settings, chain=replace(settings.chain, record=folder / "contracts.json"))


def test_wrongChain_isSaid(pilot: Pilot, tmp_path: Path) -> None:
    said = refused(pilot, changed_record(pilot, tmp_path, {"chain_id": 11155111, "network": "sepolia"}))
    assert "is a node of chain 31337, the record" in said
    assert "is of chain 11155111 (sepolia)" in said
    settings = settings_of(pilot, 1)
    said = refused(pilot, replace(settings, chain=replace(settings.chain, chain_id=1)))
    assert said.startswith("household.toml, [chain] chain_id: the record")
    assert "is of chain 31337 (anvil), not of chain 1;" in said


@pytest.mark.parametrize("what", ["aggregator", "settlement", "token"])
def test_recordOfAnotherNetwork_isSaid(pilot: Pilot, tmp_path: Path, what: str) -> None:
    """Its contracts have no code here."""
    nowhere = "0x" + "Ab" * 20
    said = refused(pilot, changed_record(pilot, tmp_path, {what: nowhere.lower()}))
    assert "there is no contract at 0xab" in said.lower()
    assert f"has as the {what}: take the record of the deployment on this network" in said


def test_account_isChecked(pilot: Pilot) -> None:
    assert "is not enrolled" in refused(pilot, settings_of(pilot, 1), new_key())
    assert "is enrolled as node 2, household.toml says node 1" in refused(
        pilot, settings_of(pilot, 1), key_of(pilot, 2)
    )


def test_check_triesEverything(pilot: Pilot, capsys: pytest.CaptureFixture[str]) -> None:
    """And sends nothing."""
    pilot.write_forecasts(day := "2026-02-10")
    before = pilot.aggregator.web3.eth.block_number
    assert main(["household", "check", "--config", str(pilot.config(3)), "--day", day]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line[:5] for line in lines] == ["  ✓  "] * 7
    assert "is enrolled as node 3 on chain 31337" in lines[0]
    assert f"there is a forecast for {day}, 4 steps of 360 minutes: load " in lines[2]
    assert "it takes part where import costs at most 1 and feeding in pays at least -0.5 tEUR/kWh" in lines[3]
    assert "a meter reading may take at most 25 tEUR a day, which it sets on the chain" in lines[4]
    assert "there is a plan for that day" in lines[5]
    assert lines[6].endswith("it bids to the nodes [2], 4 bids an iteration")
    assert main(["household", "check", "--config", str(pilot.config(0)), "--day", day]) == 0
    assert capsys.readouterr().out.endswith(
        "it answers the households on its feeder that are enrolled: nodes [1, 2, 3]\n"
    )
    pilot.forecast(3, day).write_text('{"load_kw": [1, 2]}')
    assert main(["household", "check", "--config", str(pilot.config(3)), "--day", day]) == 2
    assert "has 2 values of load_kw, the round has 4 steps" in capsys.readouterr().err
    assert main(["household", "check", "--config", str(pilot.config(3)), "--day", "tomorrow"]) == 2
    assert "--day 'tomorrow' must be a day as 20" in capsys.readouterr().err
    assert pilot.aggregator.web3.eth.block_number == before


def test_underfundedAccount_abstains(pilot: Pilot) -> None:
    """And says how much is missing. With a round's ether it would be in."""
    account = ChainAccount(connect(pilot.url), key_of(pilot, 1))
    price, has = int(account.web3.eth.gas_price), int(account.web3.eth.get_balance(account.address))
    left = 2_000_000 * price
    rich = pilot.aggregator.account
    assert rich is not None
    account.settle(account.transfer(rich.address, has - left - 21_000 * 5 * price))
    with running(pilot, 0, 1, 2, 3) as services:
        pilot.write_forecasts(day := "2026-02-08")
        round_ = pilot.open_round(day)
        assert outcome(pilot, 1, round_)["outcome"] == "abstained"
        said = services[1].health.last_error
        assert f"keeps out of round {round_}: the account {account.address} has 0.00" in said
        assert "and a round may cost 0.0" in said
        assert said.endswith("ETH more")
        assert pilot.end_of(round_) is Phase.CONVERGED
        assert schedule(pilot, 1, day)["status"] == "alone"
    rich.settle(rich.transfer(account.address, has))


def test_tariffOutsideTheLimits_keepsHomesOut(pilot: Pilot) -> None:
    """Nobody owes a round that he did not take part in; a home with prices of its own looks at the published, too."""
    one = settings_of(pilot, 1)
    own = replace(one, tariff=replace(one.tariff, source="fixed", import_price=0.2))
    with running(pilot, 0, 1, 2, 3, node_1=own) as services:
        pilot.write_forecasts(day := "2026-02-14")
        steps = pilot.community.steps
        number = pilot.aggregator.progress().round + 1
        pilot.settlement.publish_tariff(number, encode_tariff([200_000] * (steps - 1) + [2_000_000_000], [0] * steps))
        round_ = pilot.aggregator.open_round(int(day.replace("-", "")))
        for node in (1, 2, 3):
            assert outcome(pilot, node, round_)["outcome"] == "abstained"
            assert services[node].health.last_error == (
                f"node {node} keeps out of round {round_}: the published tariff asks 2000 per kWh at step {steps - 1}, "
                "more than the 1 of [limits] import_price_max: ask the supplier, or raise it"
            )
            assert schedule(pilot, node, day)["status"] == "alone"
        assert pilot.end_of(round_) is Phase.CONVERGED  # the operator's node alone, on nothing
        assert not any(pilot.settlement.is_recorded(round_, 1, partner) for partner in (2, 3))
        pilot.deliver(round_, day)
        for node in (1, 2, 3):  # billed all the same, but for no more than its limit
            owed = pilot.settlement.delivery(round_, node)
            assert owed is not None
            assert owed.payment >= -25 * 10**6
        assert min(d.payment for d in pilot.settlement.deliveries(round_).values()) == -25 * 10**6
        for node in (1, 2, 3):
            pilot.settlement.forgive(pilot.aggregator.account_of(node), 25 * 10**6)
        until(lambda: services[1].health.limit == 25.0, "the health does not tell the limit")
        assert "a day takes at most 25.00" in services[1].health.line()


def test_limitOfADay_followsTheFile(pilot: Pilot) -> None:
    """Another limit in household.toml holds in the round in which the node says something next; it is never lifted."""
    address = pilot.aggregator.account_of(1)
    for at_most, units in ((0.0, 1), (8.0, 8_000_000)):
        one = settings_of(pilot, 1)
        assert one.limits is not None
        changed = replace(one, limits=replace(one.limits, deposit_max=at_most))
        pilot.write_forecasts(day := f"2026-03-{10 + int(at_most)}")
        round_ = pilot.open_round(day)
        with running(pilot, 1, node_1=changed):
            until(lambda: pilot.aggregator.progress().present, "node 1 has said nothing in the round")
            assert pilot.settlement.debit_limit(address, round_) == units
            end_round(pilot)


def test_deposit_isNoMoreThanTheHouseholdLetsIt(pilot: Pilot, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it declares, by its plan; and once it has agreed, by what it would have to deposit."""
    careful = [settings_of(pilot, node) for node in (1, 2)]
    limits = [replace(one, limits=replace(one.limits, deposit_max=0.0)) for one in careful if one.limits is not None]
    with running(pilot, 0, 1, 2, 3, node_1=limits[0], node_2=limits[1]) as services:
        monkeypatch.setattr(participation, "check_bill", lambda limits, bill: None)
        settlement = Settlement.of(pilot.record, web3 := connect(pilot.url), ChainAccount(web3, key_of(pilot, 1)))
        account = ChainAccount(web3, key_of(pilot, 1)).address
        settlement.withdraw(settlement.free(account))
        pilot.write_forecasts(day := "2026-02-15")
        round_ = pilot.open_round(day)
        assert pilot.end_of(round_) is Phase.CONVERGED
        assert outcome(pilot, 1, round_)["outcome"] == "agreed"
        assert "more than the 0 that it may" in services[1].health.last_error
        assert pilot.settlement.free(account) == 0
        monkeypatch.undo()
        pilot.write_forecasts(day := "2026-02-16")
        round_ = pilot.open_round(day)
        assert pilot.end_of(round_) is Phase.CONVERGED
        assert outcome(pilot, 1, round_)["outcome"] == "abstained"
        assert "of [limits] deposit_max" in services[1].health.last_error


def test_missingTokens_areSaid(pilot: Pilot) -> None:
    """Ann can agree, but cannot pay: the plan of the network holds, her trades are not recorded."""
    with running(pilot, 0, 1, 2, 3) as services:
        account = ChainAccount(connect(pilot.url), key_of(pilot, 1))
        settlement = Settlement.of(pilot.record, account.web3, account)
        settlement.withdraw(settlement.free(account.address))
        balance = settlement.token.balance(account.address)
        account.send(settlement.token.call("transfer", pilot.record.manager, balance))
        pilot.write_forecasts(day := "2026-02-09")
        round_ = pilot.open_round(day)
        assert pilot.end_of(round_) is Phase.CONVERGED
        told = outcome(pilot, 1, round_)
        assert told["outcome"] == "agreed"
        assert f"the trades of round {round_} are not settled: the account {account.address} of node 1 lacks" in str(
            told["why"]
        )
        assert services[1].health.last_error == told["why"]
        assert schedule(pilot, 1, day)["status"] == "agreed"
        assert not any(1 in (record.lower, record.higher) for record in pilot.settlement.recorded(round_))
