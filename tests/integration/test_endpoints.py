"""Chains and habits of their endpoints: services agree, or say one sentence, and always leave a schedule."""

from __future__ import annotations

import errno
import logging
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from datetime import date, datetime, timedelta
from functools import partial
from pathlib import Path

import pytest
from chains import consortium, rpc, skip_without
from endpoints import (
    BatchHabit,
    Habit,
    Reply,
    always,
    batches_of_at_most,
    changed_calldata,
    cut,
    endpoint,
    lagging,
    leaves_out,
    limited_range,
    limited_rate,
    limited_results,
    now_and_then,
    old_blocks,
    old_transactions,
    out_of_order,
    outages,
    pruned_before,
    refusal,
    remembering,
    taken_unsaid,
    without,
)
from pilots import PHASE_SECONDS, end_round, held_at, outcome, pass_phase, running, schedule, settings_of
from waiting import SECONDS, until
from web3 import Web3

from gridpact.chain.networks import Network, open_network
from gridpact.chain.transport import HttpTransport
from gridpact.chain.values import Phase
from gridpact.errors import ContractError
from gridpact.files import write_atomically
from gridpact.node.node import Node
from gridpact.problem.scenario import Scenario
from gridpact.run.staging import tariff_of
from gridpact.service.health import Health
from measure.soak import Pilot

FIRST_DAY = date(2026, 3, 1)


ALL = os.environ.get("GRIDPACT_MATRIX") == "all"
"""Every habit on every chain (`make endpoints`); else some of them, and the rates in the tests of the room."""

CHAINS = ("anvil", "eth-tester")
CONSORTIUM = "consortium"
ON_GANACHE = ("logs", "rates", "losses")
"""Not the fees, nor what is drawn: `old_transactions` leads to transactions without a type. Where such come from
several accounts at once, Ganache stops to answer and to make blocks; plain transfers do the same to it."""
IN_SHORT = (("anvil", "logs"), ("anvil", "losses"), ("anvil", "fees"))


@pytest.fixture(scope="module")
def networks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], Network]]:
    """Each chain is started once."""
    with ExitStack() as stack:
        opened: dict[str, Network] = {}

        def network(name: str) -> Network:
            if name not in ("eth-tester", CONSORTIUM):
                skip_without(name)
            if name not in opened:
                made = consortium(tmp_path_factory.mktemp(name)) if name == CONSORTIUM else open_network(name)
                opened[name] = stack.enter_context(made)
            return opened[name]

        yield network


@pytest.fixture
def pilots(networks: Callable[[str], Network], tmp_path: Path) -> Iterator[Callable[[str], Pilot]]:
    """A community of its own on a chain; the one inside the process is reached by HTTP as well."""
    with ExitStack() as stack:

        def pilot(name: str, scenario: Scenario = Scenario.TG) -> Pilot:
            served = stack.enter_context(endpoint(network := networks(name)))
            return Pilot(network, tmp_path, scenario=scenario, phase_seconds=PHASE_SECONDS, url=served.url)

        yield pilot


@pytest.fixture(autouse=True)
def _heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "gridpact")


def direct(url: str, patience: float = SECONDS) -> Web3:
    """By HTTP, whatever else the endpoint offers."""
    return Web3(HttpTransport(url, patience), middleware=[])


def next_day(pilot: Pilot) -> str:
    """A day that no round was for."""
    return (FIRST_DAY + timedelta(days=pilot.aggregator.progress().round)).isoformat()


def head(pilot: Pilot) -> int:
    return int(pilot.aggregator.web3.eth.block_number)


def mine(pilot: Pilot, blocks: int) -> None:
    """Where a chain can be told to."""
    if pilot.network.name == "anvil":
        rpc(pilot.aggregator.web3, "anvil_mine", hex(blocks))


Habits = Callable[[Pilot], list[Habit]]

BEARABLE: Mapping[str, tuple[Habits, Habits, Habits]] = {
    "logs": (
        lambda _: [limited_range(5, -32602, "eth_getLogs is limited to a {most} range")],
        lambda pilot: [pruned_before(head(pilot) - 2)],
        lambda _: [limited_results(12)],
    ),
    "rates": (
        lambda _: [limited_rate(30, refusal(-32007, "15/second request limit reached"))],
        lambda _: [limited_rate(30, Reply(b"", 429, {"Retry-After": "1"}))],
        lambda _: [limited_rate(40, Reply(refusal(-32005, "rate limited"), 400))],
    ),
    "losses": (
        lambda _: [now_and_then(0.1, {"result": None}), now_and_then(0.03, Reply(b"<html></html>"), seed=2)],
        lambda _: [now_and_then(0.1, refusal(-32603, "Internal error")), now_and_then(0.05, {"result": False}, seed=2)],
        lambda _: [lagging(0.2), always({"result": None}, "web3_clientVersion")],
    ),
    "caches": (
        lambda _: [remembering(1.0, "eth_call")],
        lambda _: [remembering(0.5, "eth_call", "eth_getLogs", "eth_blockNumber", "eth_getBlockByNumber")],
        lambda _: [remembering(2.0, "eth_call", "eth_getTransactionCount"), lagging(0.1)],
    ),
    "fees": (
        lambda _: [old_blocks],
        lambda _: [old_transactions, without("debug_traceTransaction"), without("web3_clientVersion")],
        lambda _: [always({"result": hex(8000 * 10**9)}, "eth_maxPriorityFeePerGas")],
    ),
}


BORNE: tuple[Callable[[Pilot, random.Random], Habit], ...] = (
    lambda _, draw: limited_range(draw.choice((1, 3, 20, 800))),
    lambda pilot, draw: pruned_before(head(pilot) - draw.choice((2, 50))),
    lambda _, draw: limited_results(draw.choice((5, 40))),
    lambda _, draw: limited_rate(draw.choice((30, 60)), Reply(b"", 429, {"Retry-After": "1"})),
    lambda _, draw: limited_rate(draw.choice((30, 60)), refusal(-32005, "project ID request rate exceeded")),
    lambda _, draw: now_and_then(0.1, draw.choice(PASSING), seed=draw.randrange(99)),
    lambda _, draw: now_and_then(0.2, refusal(-32000, "header not found"), "eth_call", seed=draw.randrange(99)),
    lambda _, draw: cut(0.05, seed=draw.randrange(99)),
    lambda _, draw: taken_unsaid(0.5, draw.choice(UNSAID), seed=draw.randrange(99)),
    lambda _, draw: lagging(0.2, seed=draw.randrange(99)),
    lambda _, draw: remembering(draw.choice((0.3, 1.0)), "eth_call"),
    lambda _, draw: outages(8.0, draw.choice((1.0, 3.0)), Reply(b"<html></html>", draw.choice((502, 503, 522, 403)))),
    lambda _, draw: without(draw.choice(("eth_feeHistory", "debug_traceTransaction", "eth_maxPriorityFeePerGas"))),
    lambda _, draw: draw.choice((old_blocks, old_transactions)),
    lambda _, draw: always({"result": hex(draw.choice((0, 8000 * 10**9)))}, "eth_maxPriorityFeePerGas"),
)
"""Habits with which a node goes on, drawn by chance."""

PASSING = ({"result": None}, {"result": False}, Reply(b"<html></html>"), Reply(b"", 502), Reply(b"", 524),
           refusal(-32603, "Internal error"), refusal(-32000, "request timed out"), Reply(b"{", 200),
           Reply(b"\x1f\x8b not gzip", 200, {"Content-Encoding": "gzip"}))  # fmt: skip
UNSAID = (Reply(b"", 502), {"result": None}, refusal(-32000, "already known"), refusal(-32603, "Internal error"))

DRAWS = range(8) if ALL else range(1)


@pytest.mark.parametrize("name", BEARABLE)
def test_bearableHabits_costNothing_onAConsortium(pilots: Callable[[str], Pilot], name: str) -> None:
    """The same on four validators, where their program is at hand."""
    pilot = pilots(CONSORTIUM)
    agree(pilot, {node: habits(pilot) for node, habits in enumerate(BEARABLE[name], start=1)})


@pytest.mark.parametrize("seed", DRAWS)
@pytest.mark.parametrize("chain", CHAINS if ALL else CHAINS[:1])
def test_drawnHabits_costNothing(pilots: Callable[[str], Pilot], chain: str, seed: int) -> None:
    """Each household behind an endpoint with some habits at once."""
    pilot, draw = pilots(chain), random.Random(seed)
    mine(pilot, 100)
    drawn = {node: [draw.choice(BORNE)(pilot, draw) for _ in range(draw.choice((1, 2, 3)))] for node in (1, 2, 3)}
    agree(pilot, drawn)


@pytest.mark.parametrize(
    ("chain", "name"),
    [*((chain, name) for chain in CHAINS for name in BEARABLE), *(("ganache", name) for name in ON_GANACHE)]
    if ALL
    else IN_SHORT,
)
def test_bearableHabits_costNothing(pilots: Callable[[str], Pilot], chain: str, name: str) -> None:
    """Three households, each behind an endpoint with another habit, and the operator: all agree."""
    pilot = pilots(chain)
    mine(pilot, 1200)
    agree(pilot, {node: habits(pilot) for node, habits in enumerate(BEARABLE[name], start=1)})


WITH_BATCHES: Mapping[int, list[BatchHabit]] = {
    1: [batches_of_at_most(0, Reply(refusal(-32600, "batch requests are not supported"), 400))],
    2: [batches_of_at_most(3, Reply(b"", 413)), out_of_order],
    3: [leaves_out(1)],
}
"""Of the endpoints of the households of every round, by node."""


def agree(pilot: Pilot, habits: Mapping[int, list[Habit]]) -> None:
    """A round with such endpoints: all agree."""
    with ExitStack() as stack:
        served = {
            node: stack.enter_context(endpoint(pilot.network, *some, batches=WITH_BATCHES[node]))
            for node, some in habits.items()
        }
        links = {node: partial(direct, one.url) for node, one in served.items()}
        with running(pilot, 0, 1, 2, 3, links=links) as services:
            until(lambda: all(one.health.chain for one in services.values()), "they are connected")
            pilot.write_forecasts(day := next_day(pilot))
            round_ = pilot.open_round(day)
            assert pilot.end_of(round_) is Phase.CONVERGED
            assert {node: outcome(pilot, node, round_)["outcome"] for node in range(4)} == dict.fromkeys(
                range(4), "agreed"
            )
            assert {schedule(pilot, node, day)["status"] for node in (1, 2, 3)} == {"agreed"}


def lies_about_bids(pilot: Pilot) -> Habit:
    """Of a sealed round, whose bids are in the calldata only."""

    def change(data: bytes) -> bytes:
        function, arguments = pilot.aggregator.interface.called(data)
        bids = bytearray(arguments["bids"]) if function == "submit" else bytearray()
        if len(bids) <= 1:
            return data
        bids[1] ^= 3  # of the first bid
        return data.replace(bytes(arguments["bids"]), bytes(bids))

    return changed_calldata(change)


UNREADABLE: tuple[Habits, Habits, Habits] = (
    lambda _: [always({"result": []}, "eth_getLogs")],
    lambda pilot: [lies_about_bids(pilot)],
    lambda _: [always(refusal(-32000, "not for you"), "eth_getLogs")],
)
DEAD: tuple[Habits, Habits, Habits] = (
    lambda _: [always({"result": "0x"}, "eth_call")],
    lambda _: [always(Reply(b"<html>maintenance</html>"))],
    lambda _: [always({"result": None})],
)


@pytest.mark.parametrize("name", ["unreadable", "dead"])
@pytest.mark.parametrize("chain", CHAINS if ALL else CHAINS[:1])
def test_unbearableHabits_leaveASchedule(
    pilots: Callable[[str], Pilot], chain: str, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing can be agreed with such endpoints. Each household has a schedule, and one sentence about what is wrong:
    for the day of the round where the contract can be asked, else for today and tomorrow."""
    pilot = pilots(chain)
    monkeypatch.setattr(Node, "_reading_patience", 3.0)
    with ExitStack() as stack:
        served = {node: stack.enter_context(endpoint(pilot.network)) for node in (1, 2, 3)}
        links = {node: partial(direct, one.url, 1.0) for node, one in served.items()}
        with running(pilot, 0, 1, 2, 3, links=links) as services:
            until(lambda: all(one.health.chain for one in services.values()), "they are connected")
            for node, habits in enumerate(UNREADABLE if name == "unreadable" else DEAD, start=1):
                served[node].habits[:] = habits(pilot)
            pilot.write_forecasts(day := next_day(pilot))
            tomorrow = (datetime.now(settings_of(pilot, 1).service.timezone) + timedelta(days=1)).date().isoformat()
            pilot.write_forecasts(tomorrow)
            pilot.open_round(day)
            can_declare = {0, 2} if name == "unreadable" else {0}
            for node in (1, 3, 2):  # what is wrong for 2 shows in iterations, which begin without the others
                if node == 2:
                    until(lambda: pilot.aggregator.progress().present == can_declare, "who can declares")
                    pass_phase(pilot)
                wanted = tomorrow if name == "dead" else day
                path = pilot.config(node).parent / "schedule" / f"{wanted}.json"
                until(path.exists, f"node {node} has no schedule for {wanted}")
                until(partial(has_complained, services[node].health), f"node {node} says nothing")
                told = services[node].health.last_error
                assert "\n" not in told
                assert "unexpected" not in told
                assert schedule(pilot, node, wanted)["status"] in ("alone", "provisional")
            end_round(pilot)


def test_wrongEndpointOfTwo_costsNothing(pilots: Callable[[str], Pilot]) -> None:
    """Where the first answers, and not with the truth, the second is asked."""
    pilot = pilots("anvil")
    with ExitStack() as stack:
        for node, habits in enumerate(DEAD, start=1):
            wrong = stack.enter_context(endpoint(pilot.network, *habits(pilot)))
            config = pilot.config(node)
            config.write_text(config.read_text().replace(f'rpc = "{pilot.url}"', f'rpc = "{wrong.url},{pilot.url}"'))
        with running(pilot, 0, 1, 2, 3) as services:
            until(lambda: all(one.health.chain for one in services.values()), "they are connected")
            pilot.write_forecasts(day := next_day(pilot))
            round_ = pilot.open_round(day)
            assert pilot.end_of(round_) is Phase.CONVERGED
            assert {outcome(pilot, node, round_)["outcome"] for node in range(4)} == {"agreed"}


@pytest.mark.parametrize("when", ["before", "in the round"] if ALL else ["in the round"])
def test_fullDisk_costsNoAgreement(
    pilots: Callable[[str], Pilot], when: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing can be written under state/: the round is agreed, and its trades are recorded."""
    pilot, full = pilots("anvil"), threading.Event()

    def write(path: Path, text: str, mode: int = 0o644) -> None:
        if full.is_set() and "state" in path.parts:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_atomically(path, text, mode)

    for module in ("health", "state"):
        monkeypatch.setattr(f"gridpact.service.{module}.write_atomically", write)
    monkeypatch.setattr("gridpact.node.household_file.write_atomically", write)
    if when == "before":
        full.set()
    with running(pilot, 0, 1, 2, 3) as services:
        pilot.write_forecasts(day := next_day(pilot))
        with held_at(3):
            round_ = pilot.open_round(day)
            until(lambda: services[1].health.iteration >= 2, "iterations go by")
            full.set()
        assert pilot.end_of(round_) is Phase.CONVERGED
        until(lambda: all(one.health.outcomes["agreed"] == 1 for one in services.values()), "all agree")
        assert {schedule(pilot, node, day)["status"] for node in (1, 2, 3)} == {"agreed"}
        assert pilot.settlement.recorded(round_)
        full.clear()
        pilot.write_forecasts(day := next_day(pilot))
        round_ = pilot.open_round(day)
        assert pilot.end_of(round_) is Phase.CONVERGED
        assert {outcome(pilot, node, round_)["outcome"] for node in range(4)} == {"agreed"}
    told = [record.getMessage() for record in caplog.records if "No space left" in record.getMessage()]
    assert told
    assert not any("unexpected" in record.getMessage() for record in caplog.records)


@pytest.mark.skipif(
    not ALL, reason="it takes half a minute, which services wait between looks: make endpoints plays it"
)
def test_chainThatIsNotTheOneOfBefore_isNoticed(
    pilots: Callable[[str], Pilot], networks: Callable[[str], Network]
) -> None:
    """A chain that lost everything, with the same contracts at the same addresses: its rounds have the numbers of old
    ones, and are agreed on for their own day, with its forecast."""
    web3 = networks("anvil").connect()
    before = rpc(web3, "evm_snapshot")
    pilot = pilots("anvil")
    with running(pilot, 0, 1, 2, 3) as services:
        pilot.write_forecasts(first_day := next_day(pilot))
        first = pilot.open_round(first_day)
        assert pilot.end_of(first, 120) is Phase.CONVERGED
        assert {outcome(pilot, node, first)["outcome"] for node in range(4)} == {"agreed"}
        old = pilot.record
        rpc(web3, "evm_revert", before)
        pilot.deploy()
        assert (pilot.record.aggregator, pilot.record.settlement) == (old.aggregator, old.settlement)
        told = "the chain is not the one of before"
        until(lambda: all(told in one.health.last_error for one in services.values()), "they notice it")
        pilot.write_forecasts(day := (FIRST_DAY + timedelta(days=8)).isoformat())
        assert pilot.open_round(day) == first
        assert pilot.end_of(first, 120) is Phase.CONVERGED
        ends = {node: outcome(pilot, node, first) for node in range(4)}
        assert {(end["outcome"], end["day"]) for end in ends.values()} == {("agreed", day)}
        assert {schedule(pilot, node, day)["status"] for node in (1, 2, 3)} == {"agreed"}


def test_dayThatIsAgreed_isNotAgreedTwice(pilots: Callable[[str], Pilot]) -> None:
    """A second round for a day is refused; one that replaces it on purpose, when trades of it were paid, costs nobody
    anything, and the agreed schedule stays."""
    pilot = pilots("anvil")
    with running(pilot, 0, 1, 2, 3):
        pilot.write_forecasts(day := next_day(pilot))
        first = pilot.open_round(day)
        assert pilot.end_of(first) is Phase.CONVERGED
        assert {outcome(pilot, node, first)["outcome"] for node in range(4)} == {"agreed"}
        with pytest.raises(ContractError, match="DayAgreed"):
            pilot.open_round(day)
        second = pilot.aggregator.open_round(int(day.replace("-", "")), replaced=first)
        pilot.settlement.publish_tariff(second, tariff_of(pilot.community.prices))
        assert {outcome(pilot, node, second)["outcome"] for node in (1, 2, 3)} == {"abstained"}
        assert not pilot.settlement.recorded(second)
        assert "was agreed in round 1 already" in str(outcome(pilot, 1, second)["why"])
        assert schedule(pilot, 1, day)["status"] == "agreed"


def test_dayOfWhichNothingIsSettled_canBeAgreedAnew(pilots: Callable[..., Pilot]) -> None:
    """On purpose: in G nothing is settled before the meters are read, so that another round may replace the first."""
    pilot = pilots("anvil", Scenario.G)
    with running(pilot, 0, 1, 2, 3):
        pilot.write_forecasts(day := next_day(pilot))
        first = pilot.open_round(day)
        assert pilot.end_of(first) is Phase.CONVERGED
        assert {outcome(pilot, node, first)["outcome"] for node in range(4)} == {"agreed"}
        second = pilot.aggregator.open_round(int(day.replace("-", "")), replaced=first)
        pilot.settlement.publish_tariff(second, tariff_of(pilot.community.prices))
        assert pilot.end_of(second) is Phase.CONVERGED
        assert {outcome(pilot, node, second)["outcome"] for node in range(4)} == {"agreed"}


def has_complained(health: Health) -> bool:
    return bool(health.last_error)
