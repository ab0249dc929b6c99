"""What a service leaves behind: schedules, state, health, metrics, log lines."""

from __future__ import annotations

import csv
import io
import json
import logging
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from prometheus_client.parser import text_string_to_metric_families

from gridpact.chain.values import Phase, Progress
from gridpact.community.model import CommunityDay
from gridpact.errors import InputError
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import node_views
from gridpact.service.health import Health, HealthServer
from gridpact.service.identity import Identity
from gridpact.service.logs import start_logging
from gridpact.service.round_end import RoundEnd
from gridpact.service.schedule import Schedule
from gridpact.service.state import State

AMSTERDAM = ZoneInfo("Europe/Amsterdam")


def schedule(day: str = "2026-11-22", steps: int = 4) -> Schedule:
    values = {"injection_kw": np.linspace(-1, 1, steps), "charge_kw": np.ones(steps)}
    return Schedule(3, day, 7, "agreed", day, 86_400 // steps, AMSTERDAM, values)


def test_schedule_asJsonAndCsv(tmp_path: Path) -> None:
    path = schedule().write(tmp_path / "out")
    assert sorted(one.name for one in path.parent.iterdir()) == ["2026-11-22.csv", "2026-11-22.json"]
    said = json.loads(path.read_text())
    assert (said["status"], said["round"], said["step_seconds"]) == ("agreed", 7, 21_600)
    with path.with_suffix(".csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["start"] for row in rows] == [step["start"] for step in said["steps"]]
    assert [row["start"] for row in rows][:2] == ["2026-11-22T00:00:00+01:00", "2026-11-22T06:00:00+01:00"]
    assert [float(row["injection_kw"]) for row in rows] == pytest.approx([-1, -1 / 3, 1 / 3, 1], abs=1e-6)
    # kW over six hours
    assert [int(row["meter_wh"]) for row in rows] == [-6000, -2000, 2000, 6000]


def test_schedule_isReplaced(tmp_path: Path) -> None:
    schedule().write(tmp_path)
    path = schedule(steps=24).write(tmp_path)
    assert len(json.loads(path.read_text())["steps"]) == 24
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(
    ("day", "first", "last"),
    [
        ("2026-03-29", "2026-03-29T00:00:00+01:00", "2026-03-30T00:00:00+02:00"),  # 23 hours long
        ("2026-10-25", "2026-10-25T00:00:00+02:00", "2026-10-25T22:00:00+01:00"),  # 25 hours long
    ],
)
def test_schedule_whenClocksChange(day: str, first: str, last: str) -> None:
    """24 steps of one hour from midnight on, none twice."""
    starts = schedule(day, 24).starts
    assert (starts[0], starts[-1]) == (first, last)
    assert len(set(starts)) == 24


def test_state_keepsTheNewestRounds(tmp_path: Path, tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gridpact.service.state.KEPT_ROUNDS", 14)
    state = State(tmp_path / "deep" / "state")
    view = node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)[3]
    assert state.last_view() is None
    for round_ in range(1, 20):
        state.keep_view(round_, view)
        state.keep_end(RoundEnd(round_, "2026-11-22", "agreed", "", (1, -2), 5, 6))
    assert state.end(19) == RoundEnd(19, "2026-11-22", "agreed", "", (1, -2), 5, 6)
    assert state.end(20) is None
    assert state.view(5) is None
    found = state.view(6), state.last_view()
    assert all(one is not None and one.node == 3 and one.household is not None for one in found)
    assert len(list((tmp_path / "deep" / "state").iterdir())) == 2 * 14 + 1
    for path in (tmp_path / "deep" / "state").iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "deep" / "state").stat().st_mode) == 0o700


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"round": 1}'])
def test_state_withABrokenFile_isAsWithout(tmp_path: Path, content: str) -> None:
    state = State(tmp_path)
    (tmp_path / "round-3.end.json").write_text(content)
    (tmp_path / "round-3.view.json").write_text(content)
    assert state.end(3) is None
    assert state.view(3) is None


def test_state_withoutAFolder_isNamed(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"\[service\] state"):
        State(tmp_path / "file" / "state")


def test_state_onAFullDisk_isRemembered(tmp_path: Path, tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    state, view = State(tmp_path), node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)[3]
    state.keep_end(first := RoundEnd(1, "2026-11-21", "agreed", "", ()))

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("gridpact.service.state.write_atomically", full)
        patch.setattr("gridpact.service.state.write_view", full)
        state.keep_view(2, view)
        state.keep_end(second := RoundEnd(2, "2026-11-22", "agreed", "", (1,)))
    assert (state.end(1), state.end(2)) == (first, second)
    assert state.view(2) is view
    assert state.last_view() is view
    assert state.agreed_in("2026-11-22", but=3) == 2
    assert State(tmp_path).end(2) is None
    state.keep_view(2, view)
    state.keep_end(second)
    assert State(tmp_path).end(2) == second


def test_state_ofAReplacedChain_isPutAside(tmp_path: Path, tiny3: CommunityDay) -> None:
    """Round 1 of the new chain is not round 1 of the old one; the days that were agreed stay agreed."""
    state, view = State(tmp_path), node_views(tiny3, Scenario.TG, NetworkAgreement.DSO)[3]
    assert state.identity() is None
    for number, day in ((1, "2026-11-21"), (2, "2026-11-22")):
        state.keep_identity(chain := Identity(1337, "0x1", f"0x{number}"))
        state.keep_view(1, view)
        state.keep_end(RoundEnd(1, day, "agreed", "", ()))
        assert state.identity() == chain
        assert state.set_aside() == tmp_path / f"before-{number}"
        assert state.identity() is None
        assert state.end(1) is None
        assert state.view(1) is None
        assert state.last_view() is not None
        assert (state.agreed_in(day, but=2), state.agreed_elsewhere(day)) == (None, 1)
    assert state.agreed_elsewhere("2026-11-20") is None


@pytest.mark.parametrize(
    ("other", "same"),
    [
        (Identity(1, "0xa", "0xb"), True),
        (Identity(1, "", "0xb"), True),  # an endpoint that does not show old blocks
        (Identity(1, "0xa", ""), True),
        (Identity(2, "0xa", "0xb"), False),
        (Identity(1, "0xc", "0xb"), False),
        (Identity(1, "0xa", "0xc"), False),
    ],
)
def test_identity(other: Identity, same: bool) -> None:
    assert Identity(1, "0xa", "0xb").is_same(other) is same
    assert other.is_same(Identity(1, "0xa", "0xb")) is same


@pytest.fixture
def health() -> Health:
    health = Health(3, "cem", 7, "2026-11-22", "iterating", 12, True, "2026-11-21", 2e9, 0.9871, 12.4, "tEUR")
    health.outcomes["agreed"] += 5
    return health


def test_health_inOneLine(health: Health) -> None:
    assert health.line() == (
        "node 3 (cem); round 7 of 2026-11-22 iterating, iteration 12; last agreement 2026-11-21; 0.9871 ETH, "
        "12.40 tEUR deposited; the chain answers; no error"
    )
    assert health.ok
    health.last_agreement_at = 0.0
    health.error("it rains")
    assert health.line().endswith("last error: it rains")
    assert not health.ok


def test_health_hearsOfRounds(health: Health) -> None:
    health.chain = False
    health.hear(Progress(7, 13, Phase.ITERATING, 0, 0, 4, 0, frozenset()))
    assert (health.round, health.day, health.phase, health.iteration, health.chain) == (
        *(7, "2026-11-22", "iterating", 13, True),
    )
    health.hear(RoundEnd(7, "2026-11-22", "agreed", "", (), 5_000, 40))
    health.hear(RoundEnd(8, "2026-11-23", "missed", "it slept", ()))
    assert health.outcomes == {"agreed": 6, "missed": 1}
    assert (health.gas, health.iterations) == (5_000, 40)
    health.hear(Progress(8, 0, Phase.DECLARING, 0, 0, 4, 0, frozenset()))
    assert (health.round, health.day, health.phase) == (8, "", "declaring"), "the day of another round is not known"


def test_health_comesBack(tmp_path: Path, health: Health) -> None:
    health.write(tmp_path / "health.json")
    assert Health.read(tmp_path / "health.json") == health
    with pytest.raises(InputError, match="there is no health"):
        Health.read(tmp_path / "nothing.json")


@pytest.fixture
def server(health: Health) -> Iterator[HealthServer]:
    with HealthServer(health, 0) as server:
        yield server


def test_metrics(server: HealthServer) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics", timeout=120) as answer:
        text = answer.read().decode()
    found = {(s.name, *s.labels.values()): s.value for f in text_string_to_metric_families(text) for s in f.samples}
    assert found["gridpact_round",] == 7
    assert found["gridpact_iteration",] == 12
    assert found["gridpact_chain_up",] == 1
    assert found["gridpact_phase", "iterating"] == 1
    assert found["gridpact_phase", "declaring"] == 0
    assert found["gridpact_rounds_total", "agreed"] == 5
    assert found["gridpact_balance_ether",] == 0.9871
    assert found["process_resident_memory_bytes",] > 1e6


def test_healthPage_saysAlsoByStatus(server: HealthServer, health: Health) -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=120) as answer:
        assert answer.read().decode() == health.line() + "\n"
    health.chain = False
    with pytest.raises(urllib.error.HTTPError, match="503"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/health", timeout=120)
    with pytest.raises(urllib.error.HTTPError, match="404"):
        urllib.request.urlopen(f"http://127.0.0.1:{server.port}/", timeout=120)


def test_port_thatIsTaken_isNamed(server: HealthServer, health: Health) -> None:
    with pytest.raises(InputError, match=rf"port {server.port}: Address already in use; give another \[service\]"):
        HealthServer(health, server.port)


@pytest.mark.parametrize("kind", ["text", "json"])
def test_log_isOneLineAnEvent(kind: str) -> None:
    stream = io.StringIO()
    logger = logging.getLogger("gridpact")
    before = logger.level, logger.propagate
    handler = start_logging(kind, lambda: {"node": 3, "round": 7}, stream)
    try:
        logging.getLogger("gridpact.service.loop").warning('a "word"\nand %s', "\u202emore\x9b2J\x1b[2J")
        logging.getLogger("gridpact.node.node").info("plain")
        logging.getLogger("gridpact.node.node").debug("nobody hears it")
    finally:
        logger.removeHandler(handler)
        logger.level, logger.propagate = before
    first, second = stream.getvalue().splitlines()
    if kind == "json":
        said = json.loads(first)
        assert (said["level"], said["from"], said["node"], said["round"]) == ("warning", "service.loop", 3, 7)
        assert said["message"] == 'a "word" and  more 2J [2J'
    else:
        assert 'level=warning from=service.loop node=3 round=7 message="a \\"word\\" and  more 2J [2J"' in first
        assert second.endswith("from=node.node node=3 round=7 message=plain")
