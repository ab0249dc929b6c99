"""Nodes play rounds without a chain: as agents in memory do to the last unit, whoever is silent, late or restarted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gridpact.chain.values import Coupling, Phase
from gridpact.community.model import CommunityDay
from gridpact.errors import ContractError, InputError
from gridpact.market.admm.codec import decode_sums
from gridpact.market.admm.memory import Absence, Iterate, Round
from gridpact.market.admm.negotiation import plan_of
from gridpact.market.admm.parameters import Tolerances
from gridpact.market.admm.register import Rules
from gridpact.node.node import Node
from gridpact.node.report import NodeReport
from gridpact.node.turns import Turns
from gridpact.node.twin_ledger import TwinLedger, TwinSettlement
from gridpact.problem.baseline import fallback
from gridpact.problem.scenario import NetworkAgreement, Scenario
from unit.node.rounds import PHASE_SECONDS, Crash, Played

NOBODY: frozenset[int] = frozenset()
FORMS = [
    (Scenario.T, NetworkAgreement.DSO),
    (Scenario.G, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.DSO),
    (Scenario.TG, NetworkAgreement.NEIGHBOURS),
]
COARSE = Tolerances(10.0, 10.0, 10.0, 10.0)
"""Ends tiny3 after some 12 iterations; nothing here depends on the last watt."""


def in_memory(played: Played, absent: Absence = lambda iteration: NOBODY) -> list[Iterate]:
    """The same round of agents that hand each other integers, for as many iterations."""
    agreed = played.negotiation
    round_ = Round(agreed.views, agreed.penalties, agreed.resolution, Rules(most_misses=2))
    return list(islice((round_.iterate(absent(k)) for k in range(1, 1000)), played.outcome.iterations))


def assert_same(played: Played, reports: dict[int, NodeReport], iterates: list[Iterate], out: frozenset[int]) -> None:
    """Iteration by iteration who was there and what it came to; then plans and statements of who is not out."""
    for closed, iterate in zip(played.closed, iterates, strict=True):
        said = iterate.closing
        assert (closed.present, closed.residuals) == (said.present, said.residuals)
        assembly = played.twin.round(played.number).books.assembly
        for block, lanes in decode_sums(assembly, closed.sums, closed.present).items():
            assert np.array_equal(lanes, said.sums[block])
    for node, report in reports.items():
        agent = iterates[-1].agents[node]
        assert report.agreed == (node not in out)
        assert report.iterations == len(iterates) or node in out
        if node not in out:
            plan = plan_of(agent).schedule
            assert report.schedule == {name: plan[name].tolist() for name in report.schedule}
            assert report.statements == agent.trades.statements()


@pytest.mark.parametrize("sealed", [False, True])
def test_sumsThatAreBehind_changeNothing(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch, sealed: bool) -> None:
    """The operator's node answers no sooner because an endpoint is behind what it has told, even in every iteration."""
    played = Played(tiny3, Scenario.TG, tolerances=COARSE, sealed=sealed)
    expected = played.play()
    running, late = TwinLedger.running, Counter[int]()

    def behind(self: TwinLedger, node: int) -> Coupling:
        now = running(self, node)
        late[now.iteration] += 1
        return now if late[now.iteration] > 2 else Coupling(now.iteration, frozenset(), (0,) * len(now.sums))

    monkeypatch.setattr(TwinLedger, "running", behind)
    again = Played(tiny3, Scenario.TG, tolerances=COARSE, sealed=sealed)
    reports = again.play()
    assert set(late.values()) == {3}
    assert again.closed == played.closed
    for node, report in reports.items():
        assert (report.schedule, report.statements) == (expected[node].schedule, expected[node].statements)


@pytest.mark.parametrize(("scenario", "agreement"), FORMS)
def test_roundOfNodes_isTheRoundOfAgents(tiny3: CommunityDay, scenario: Scenario, agreement: NetworkAgreement) -> None:
    played = Played(tiny3, scenario, agreement)
    reports = played.play()
    assert played.outcome.phase is Phase.CONVERGED
    assert_same(played, reports, in_memory(played), NOBODY)
    agreed = played.negotiation.agreement()
    assert agreed.rounds == played.outcome.iterations
    recorded = played.twin.recorded(played.number)
    assert recorded.keys() == {tuple(sorted((one.seller, one.buyer))) for one in agreed.trades}


def test_fontana_isTheSameToTheLastUnit(fontana: CommunityDay) -> None:
    played = Played(fontana, Scenario.TG)
    reports = played.play()
    assert played.outcome.phase is Phase.CONVERGED
    assert_same(played, reports, in_memory(played), NOBODY)


def test_silentNode_isOutAfterTwoMisses_andDoesWhatItWouldAlone(tiny3: CommunityDay) -> None:
    """From the third iteration on it says nothing; time goes on by two phases, and no second passes."""

    def falls_silent(played: Played, iteration: int) -> None:
        if iteration == 3:
            played.turns.sleep(10 * PHASE_SECONDS)

    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    reports = played.play({2: falls_silent})
    assert played.outcome.phase is Phase.CONVERGED
    silent = in_memory(played, lambda k: frozenset({2}) if k >= 3 else NOBODY)
    assert [2 in closed.present for closed in played.closed[:4]] == [True, True, False, False]
    assert_same(played, reports, silent, frozenset({2}))
    view = next(view for view in played.prepared.views if view.node == 2)
    alone = fallback(view)
    assert reports[2].schedule == {name: values.tolist() for name, values in alone.items()}


def test_lateNode_missesOneIteration(tiny3: CommunityDay) -> None:
    def oversleeps(played: Played, iteration: int) -> None:
        if iteration == 2:
            played.turns.sleep(1.5 * PHASE_SECONDS)

    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    reports = played.play({1: oversleeps})
    assert played.outcome.phase is Phase.CONVERGED
    assert [1 in closed.present for closed in played.closed[:3]] == [True, False, True]
    assert_same(played, reports, in_memory(played, lambda k: frozenset({1}) if k == 2 else NOBODY), NOBODY)


def test_nodeThatComesTooLateToDeclare_isNotWaitedFor(tiny3: CommunityDay) -> None:
    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    reports = played.play(late={3: 2.0 * PHASE_SECONDS})
    assert played.outcome.phase is Phase.CONVERGED
    assert played.twin.round(played.number).roster.nodes == {0, 1, 2}
    assert [reports[node].agreed for node in (0, 1, 2, 3)] == [True, True, True, False]


@pytest.mark.parametrize("node", [0, 3])
def test_restartedNode_replaysTheRound(tiny3: CommunityDay, node: int) -> None:
    """It crashes before a submission, right after one, and again; the round is as if it had not."""
    crashes = iter([Crash, Crash, Crash])

    def crashes_twice(played: Played, iteration: int) -> None:
        if iteration in (2, 5) and next(crashes, None):
            raise Crash

    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    reports = played.play({node: crashes_twice})
    assert played.lives == 4 + 3
    assert_same(played, reports, in_memory(played), NOBODY)


def test_lostOperator_endsTheRound(tiny3: CommunityDay) -> None:
    def goes(played: Played, iteration: int) -> None:
        played.turns.sleep(100 * PHASE_SECONDS)

    played = Played(tiny3, Scenario.TG, tolerances=COARSE)
    reports = played.play({0: goes})
    assert played.outcome.phase is Phase.ABANDONED
    assert not any(report.agreed for report in reports.values())


@pytest.mark.parametrize(
    ("change", "refusal"),
    [
        (lambda said: {**said, "iteration": said["iteration"] + 1}, "WrongIteration"),
        (lambda said: {**said, "round": said["round"] + 1}, "WrongRound"),
        (lambda said: {**said, "head": b"\x01" * 32}, "WrongHistory"),
        (lambda said: said, "AlreadySubmitted"),
    ],
)
def test_refusals_areThoseOfTheContract(tiny3: CommunityDay, change: Callable[[dict], dict], refusal: str) -> None:  # type: ignore[type-arg]
    refused = []

    class Twice(TwinLedger):
        def submit(self, *arguments: object) -> None:  # type: ignore[override]
            names = ("round", "iteration", "head", "copies", "bids", "residuals")
            said = dict(zip(names, arguments, strict=True))
            if refusal != "AlreadySubmitted":
                again(self, said)
            super().submit(*arguments)  # type: ignore[arg-type]
            if refusal == "AlreadySubmitted" and said["iteration"] == len(played.closed) + 1:
                again(self, said)

    def again(ledger: TwinLedger, said: dict) -> None:  # type: ignore[type-arg]
        with pytest.raises(ContractError) as error:
            TwinLedger.submit(ledger, **change(said))
        refused.append(error.value.name)

    played = Played(tiny3, Scenario.T, tolerances=COARSE)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("unit.node.rounds.Troubled", lambda twin, node, before: Twice(twin, node))
        played.play()
    assert set(refused) == {refusal}


def test_turns_goOnToTheNextMoment() -> None:
    turns, order = Turns(), []

    def sleeper(seconds: float) -> Callable[[], float]:
        def life() -> float:
            turns.sleep(seconds)
            order.append(seconds)
            return turns.now

        return life

    assert turns.play([sleeper(3.0), sleeper(1.0), sleeper(2.0)]) == [3.0, 1.0, 2.0]
    assert order == [1.0, 2.0, 3.0]


# ---------------------------------------------------------------------- what the manager says of a round


@pytest.fixture(scope="module")
def prepared(tiny3: CommunityDay) -> Played:
    return Played(tiny3, Scenario.TG)


@given(percent=st.integers(1, 10_000) | st.integers(90, 900), first=st.integers(0, 3), node=st.sampled_from([0, 1, 3]))
def test_roundThatEndsAtOnceOrNever_isRefused(prepared: Played, percent: int, first: int, node: int) -> None:
    """A manager may open a round with limits of its own. A whole day ends within theta's, the rest of it within at most
    4 sqrt(T / left) times as wide ones; whatever else is said, a node declares nothing, and says one sentence."""
    twin, view = prepared.twin, prepared.prepared.views[node]
    twin.rounds.clear()
    number = twin.open_round(20260701)
    twin.rounds[-1] = replace(twin.now, percent=percent)
    one = Node(view.since(first, view.household), TwinLedger(twin, node), TwinSettlement(twin, node))
    most = 100 if first == 0 else math.floor(400 * math.sqrt(4 / (4 - first)) + 0.5)
    (end,) = twin.turns.play([lambda: one._declare(number) or "declared"])  # type: ignore[func-returns-value]
    assert twin.progress().present == ({node} if 100 <= percent <= most else set())
    if isinstance(end, Exception):
        assert isinstance(end, InputError)
        assert f"is to end within {percent} % of the limits" in str(end)
