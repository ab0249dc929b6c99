"""Whoever lies is proved to lie from the chain alone; whoever does not, cannot be."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from gridpact.chain.evidence import judge, partners_in, plan_evidence, residual_evidence
from gridpact.chain.networks import Network
from gridpact.chain.values import Phase, Residuals
from gridpact.errors import ChainError, ContractError
from unit.chain.synthetic import FEEDER, Operator, Played, played, star

STEPS = 15


@pytest.fixture(scope="module")
def deployed(anvil: Network) -> Iterator[Played]:
    made = played(anvil, FEEDER, STEPS, max_misses=5)
    yield made
    made.close()


@pytest.fixture
def play(deployed: Played) -> Iterator[Played]:
    """The chain is as it was after each test."""

    def rpc(method: str, *parameters: Any) -> Any:
        return deployed.manager.web3.manager.request_blocking(method, list(parameters))  # type: ignore[arg-type]

    snapshot = rpc("evm_snapshot")
    deployed.community.absent = {}
    yield deployed
    rpc("evm_revert", snapshot)
    for aggregator in (deployed.manager, *deployed.nodes.values()):
        assert aggregator.account is not None
        aggregator.account.forget_nonce()


def run(play: Played, iterations: int, liar: int | None = None, at: int = 0, lane: int = 0, by: int = 1) -> int:
    """So many iterations, of whom the liar changes one residual in its submission for the iteration `at`."""
    number = play.open()
    for iteration in range(1, iterations + 1):
        batch = []
        for node in play.community.at(iteration).copies:
            copies, bids, honest = play.submission(node, iteration)
            residuals = list(honest)
            if (node, iteration) == (liar, at):
                residuals[lane] += by
            said: Residuals = (residuals[0], residuals[1], residuals[2], residuals[3])
            if iteration % 2:
                batch.append(play.nodes[node].sign(number, iteration, play.head(iteration), node, copies, bids, said))
            else:
                play.nodes[node].submit(number, iteration, play.head(iteration), copies, bids, said)
        if batch:
            play.nodes[0].relay(number, iteration, batch)
        if play.community.absent.get(iteration):
            play.pass_time(601)
            assert play.manager.close_overdue()
    return number


@pytest.mark.parametrize("node", FEEDER)
@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_honest_isNotProvedFalse(play: Played, node: int, iteration: int) -> None:
    play.community.absent = {2: {3}, 3: {2}}
    number = run(play, 4)
    evidence = residual_evidence(play.nodes[4], number, node, iteration)
    present = node in play.community.at(iteration + 1).copies  # or it claimed nothing
    assert judge(play.nodes[4], number, node, evidence) == ("residuals" if present else "presence")
    with pytest.raises(ContractError, match=r"NotProved.*accuse only of what the evidence proves") as caught:
        play.nodes[4].accuse(number, node, evidence)
    assert caught.value.name == "NotProved"


@pytest.mark.parametrize("lane", range(4))
@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_liar_isProvedFalseAndExcluded(play: Played, lane: int, iteration: int) -> None:
    number = run(play, 4, liar=3, at=iteration + 1, lane=lane)
    reader = play.aggregator()
    evidence = residual_evidence(reader, number, 3, iteration)
    assert judge(reader, number, 3, evidence) is None
    assert judge(reader, number, 1, evidence) == "book"
    reader.accuse(number, 3, evidence)
    assert reader.iteration(number, 5).excluded == {3}
    assert reader.declaration(3).out
    assert reader.roster().active == set(FEEDER) - {3}
    assert reader.progress().expected == 4


@pytest.mark.parametrize("absent", [{1: {3}}, {1: {1}}, {2: {1}}, {2: {4}}, {1: {4}, 2: {1}}, {2: {3}}])
def test_liar_isProvedFalseThoughSomeWereAbsent(play: Played, absent: dict[int, set[int]]) -> None:
    """The lie about iteration 2 is told in the open iteration."""
    play.community.absent = absent
    number = run(play, 2)
    copies, bids, honest = play.submission(3, 3)
    play.nodes[3].submit(number, 3, play.head(3), copies, bids, (honest[0], honest[1], honest[2] + 7, honest[3]))
    evidence = residual_evidence(play.nodes[1], number, 3, 2)
    assert judge(play.nodes[1], number, 3, evidence) is None
    play.nodes[1].accuse(number, 3, evidence)


def test_evidence_isOfClosedIterations(play: Played) -> None:
    number = run(play, 2)
    for iteration in (0, 3):
        with pytest.raises(ChainError, match="is not closed"):
            residual_evidence(play.nodes[1], number, 3, iteration)
    assert judge(play.nodes[1], number, 3, residual_evidence(play.nodes[1], number, 3, 2)) == "presence"


def test_partners_areReadAsTheContractReadsThem() -> None:
    assert list(partners_in(bytes([1, 2, 9, 9, 4, 0, 7, 1, 3]))) == [1, 4, 7]
    assert list(partners_in(b"")) == []
    assert list(partners_in(bytes([1, 0, 1, 0]))) == [1]  # not above the one before
    assert list(partners_in(bytes([1, 0, 2, 2, 5]))) == [1]  # not whole


# ---------------------------------------------------------------------- the plan


@pytest.mark.parametrize(("kilowatt", "verdict"), [(20, None), (-20, None), (10, "plan"), (0, "plan")])
def test_plan_isJudgedByThePowerFlow(anvil: Network, kilowatt: int, verdict: str | None) -> None:
    """20 kW over 0.5 ohm at 400 V change the voltage by some 6 %, 10 kW by 3 %."""
    play = Operator(**vars(played(anvil, star(2), STEPS)))
    play.community.at(2).copies[0]["P", 2][13] = 2000 * kilowatt
    number = play.open()
    play.iterate(number, 1)
    play.nodes[1].relay(number, 2, play.batch(number, 2, [0, 1]))
    reader = play.aggregator()
    first, second = (reader.iteration(number, iteration).submissions[0] for iteration in (1, 2))
    book = reader.declarations(number)[0].book
    evidence = {
        step: plan_evidence(step, second, first.commitment, reader.copies_of(second), book) for step in (12, 13)
    }
    assert judge(reader, number, 0, evidence[12]) == "plan"
    assert judge(reader, number, 0, evidence[13]) == verdict
    if verdict is None:
        reader.accuse(number, 0, evidence[13])
        assert reader.progress().phase is Phase.ABANDONED
    play.close()
