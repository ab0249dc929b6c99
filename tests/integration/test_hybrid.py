"""The hybrid market on a chain: the same as in memory, and a feeder that fails leaves the others alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from chains import skip_without

import gridpact.market.admm.levels
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.networks import open_network
from gridpact.chain.settlement import Settlement
from gridpact.chain.travel import Traveller
from gridpact.chain.values import Phase, Progress
from gridpact.cli import main
from gridpact.community.grown import feeders
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.errors import InputError, SolverError
from gridpact.limits import MOST_BID
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.levels import Levels, LevelsIterate, negotiate_levels
from gridpact.market.admm.negotiation import plan_of
from gridpact.market.admm.parameters import Resolution
from gridpact.market.admm.residuals import Residuals
from gridpact.run.hybrid import FeederProcess, HybridSettings, Staging, check_alike, run_hybrid

skip_without("anvil")

SETTINGS = HybridSettings("anvil", resolution=Resolution())


@pytest.fixture(scope="module")
def communities() -> tuple[CommunityDay, ...]:
    """Three feeders of three households, the second without panels."""
    case = read_community("tiny3")
    some = list(feeders(case.on(case.days[0]), 3, 3, 4, seed=1))
    some[1] = replace(
        some[1],
        households=tuple(
            replace(home, devices=tuple(device for device in home.devices if device.kind not in ("pv", "inverter")))
            for home in some[1].households
        ),
    )
    return tuple(some)


@contextmanager
def staged(
    communities: Sequence[CommunityDay], processes: int
) -> Iterator[tuple[Staging, list[FeederProcess], Traveller]]:
    with open_network("anvil") as network:
        staging = Staging(network, communities, SETTINGS, roughly(communities))
        workers = [FeederProcess(one, ChainAccount(network.connect(), one.payer)) for one in staging.errands(processes)]
        staging.open()
        yield staging, workers, Traveller(network.connect())


def roughly(communities: Sequence[CommunityDay]) -> Levels:
    """With limits within which a round ends soon, since only what a chain adds is looked at here."""
    levels = Levels.of(communities)
    wide = tuple(replace(level, tolerances=level.tolerances.wider(30)) for level in levels.contracts)
    return replace(levels, contracts=wide)


def in_memory(communities: Sequence[CommunityDay]) -> tuple[Levels, LevelsIterate]:
    levels = roughly(communities)
    *_, last = negotiate_levels(levels)
    return levels, last


def test_roundsOnAChain_areThoseInMemory(
    communities: tuple[CommunityDay, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As many iterations on each contract, and the same plans to the last bit; with two gateways a feeder. Tariffs are
    published before rounds are open, in which nodes that run already declare at once."""
    order: list[str] = []
    publish, opening = Settlement.publish_tariff, Aggregator.open_round
    monkeypatch.setattr(Settlement, "publish_tariff", lambda *given: (order.append("publish"), publish(*given))[1])
    monkeypatch.setattr(Aggregator, "open_round", lambda *given: (order.append("open"), opening(*given))[1])
    monkeypatch.setattr(gridpact.market.admm.levels, "gateways_needed", lambda _, __, others: 1 + (others == 4))
    levels, last = in_memory(communities[:2])
    with staged(communities[:2], 2) as (staging, workers, _):
        while not all(worker.is_over for worker in workers):
            acted = [worker.step() for worker in workers]
            assert any(acted) or all(worker.is_over for worker in workers)
        reports = [worker.report() for worker in workers]
        of_feeders = {place: one for report in reports for place, one in report.feeders.items()}
        staging.settle(of_feeders)
        result = staging.result(of_feeders, reports, 0.0, 2)
    assert order == ["publish", "open"] * 3
    assert len(levels.ties) == 4
    assert result.has_agreed, result
    assert [level.iterations for level in result.levels] == [last.contracts[place].iteration for place in range(3)]
    for place in levels.feeders:
        for node, schedule in of_feeders[place].schedules.items():
            np.testing.assert_array_equal(
                schedule["injection_kw"], plan_of(last.contracts[place].agents[node]).schedule["injection_kw"]
            )
    # A kilowatt-hour that goes from home to home over two gateways is one that was traded.
    gateways = {(tie.below, tie.node_below) for tie in levels.ties}
    bids = [
        (int(wh), (place, partner) in gateways)
        for place in levels.feeders
        for node, agent in last.contracts[place].agents.items()
        if (place, node) not in gateways
        for wh, partner in zip(
            agent.trades.energies_wh, (one.node for one in agent.view.partners for _ in one.steps), strict=True
        )
    ]
    assert result.traded_kwh == pytest.approx(sum(wh for wh, _ in bids if wh > 0) / 1000)
    assert result.beyond_kwh == pytest.approx(sum(wh for wh, is_beyond in bids if is_beyond and wh > 0) / 1000)
    assert 1 < result.beyond_kwh < result.traded_kwh  # the feeder without panels buys
    bought = -sum(wh for wh, _ in bids if wh < 0) / 1000
    assert result.traded_kwh == pytest.approx(bought, abs=result.left_kwh + 1e-6)
    assert result.cost < result.cost_alone
    assert all(level.gas["submit"] > 0 and level.gas["settle"] > 0 for level in result.levels)


@pytest.mark.parametrize("how", ["silent", "its program fails"])
def test_feederThatFails_doesNotStopTheOthers(communities: tuple[CommunityDay, ...], how: str) -> None:
    """The others agree, and pay each other. Silent: its process is gone from its 12th iteration on."""
    with staged(communities, 3) as (staging, workers, traveller):
        failing, others = workers[2], workers[:2]
        while not all(worker.is_over for worker in others):
            acted = [worker.step() for worker in others]
            street = failing._streets[2]
            if street._now is None or street.now.iteration < 12:
                acted.append(failing.step())
            elif how == "its program fails":
                street.failure = street.failure or str(SolverError("no solution"))
                acted.append(failing.step())
            if not any(acted) and not all(worker.is_over for worker in others):
                traveller.until(staging.above.progress().deadline + 1)
        reports = [worker.report() for worker in others]
        of_feeders = {place: one for report in reports for place, one in report.feeders.items()}
        staging.settle(of_feeders)
        result = staging.result(of_feeders, reports, 0.0, 2)
    one, two, three, above = result.levels
    assert one.phase == two.phase == above.phase == "converged"
    assert one.sums_to_zero
    assert two.sums_to_zero
    assert above.sums_to_zero
    assert three.phase == Phase.ITERATING.name.lower()
    assert three.failure
    assert result.agreed == 2
    assert result.beyond_kwh > 1
    assert result.cost < result.cost_alone


def test_processThatDeclaresTooLate_leavesTheOthersAlone(communities: tuple[CommunityDay, ...]) -> None:
    """Its feeder is in no round, and it ends as the others do."""
    with staged(communities, 3) as (staging, workers, traveller):
        late, others = workers[2], workers[:2]
        declare = late._above._declare

        def slowly(round_: int) -> None:
            traveller.until(staging.above.progress().deadline + 1)
            for worker in others:
                worker.step()  # ends the phase
            declare(round_)

        late._above._declare = slowly  # type: ignore[method-assign]
        for worker in (*others, late):
            worker.step()
        while not all(worker.is_over for worker in workers):
            acted = [worker.step() for worker in workers]
            if not any(acted) and not all(worker.is_over for worker in workers):
                traveller.until(staging.above.progress().deadline + 1)
        reports = [worker.report() for worker in workers]
        of_feeders = {place: one for report in reports for place, one in report.feeders.items()}
        staging.settle(of_feeders)
        result = staging.result(of_feeders, reports, 0.0, 3)
    assert late._above.agents == {}
    one, two, three, above = result.levels
    assert one.phase == two.phase == above.phase == "converged"
    assert one.sums_to_zero
    assert two.sums_to_zero
    assert above.sums_to_zero
    assert not of_feeders[2].sold_above_wh
    assert three.failure == ""


@pytest.mark.parametrize("how", ["claims residuals", "goes beyond its reach"])
def test_feederThatLiesAbove_isProvedFalse(communities: tuple[CommunityDay, ...], how: str) -> None:
    """A feeder whose gateway holds the contract above up is out of it, proved by who runs another feeder: the others
    agree. In memory the two others paid 16 % more where nobody accused one that swung from end to end of what fits."""
    with staged(communities, 3) as (staging, workers, _):
        lying, others = workers[2]._above, workers[:2]
        honest = lying.sign

        def sign(progress: Progress, node: int, submission: IntegerSubmission, residuals: Residuals) -> None:
            if how == "claims residuals":
                residuals += Residuals(0, 0, 10**9, 0)
            else:
                bids = np.full_like(submission.bids, MOST_BID * (-1) ** progress.iteration)
                submission = replace(submission, bids=bids)
            honest(progress, node, submission, residuals)

        lying.sign = sign  # type: ignore[method-assign]
        while not all(worker.is_over for worker in others):
            for worker in workers:
                worker.step()
        assert staging.above.progress().phase is Phase.CONVERGED
        reports = [worker.report() for worker in others]
    seat = next(iter(workers[2]._streets[2]._seats.values()))
    assert all(worker._above._gone == {seat} for worker in others)
    assert all(feeder.sold_above_wh for report in reports for feeder in report.feeders.values())


def test_feedersThatCannotTrade_areNamed(communities: tuple[CommunityDay, ...]) -> None:
    one, two, _ = communities
    dearer = replace(two, prices=replace(two.prices, import_price=two.prices.import_price + 0.1))
    with pytest.raises(InputError, match="different prices"):
        check_alike([one, dearer])
    with pytest.raises(InputError, match="different time steps"):
        check_alike([one, replace(two, step_hours=two.step_hours / 2)])
    with pytest.raises(InputError, match="two feeders at least"):
        run_hybrid([one], SETTINGS)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["--feeders", "1"], "--feeders needs 2 to 128"),
        (["--households", "127"], "--households needs 1 to 126"),
        (["--processes", "0"], "--processes needs 1 or more"),
        (["--phase-seconds", "0"], "--phase-seconds needs 1 to 86400"),
        (["--case", "fontana16,amsterdam16"], "amsterdam16"),
        (["--case", "fontana16,fontana16", "--feeders", "2"], "leave them out"),
        (["--chain", "memory"], "there is no chain 'memory'"),
    ],
)
def test_badInput_isOneSentence(given: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["hybrid", *given]) == 2
    message = capsys.readouterr().err
    assert said in message
    assert message.count("\n") == 1
