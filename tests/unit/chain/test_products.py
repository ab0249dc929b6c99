"""Rounds of two products that are open at the same time, each reached by a connection for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.networks import open_network
from gridpact.chain.values import Phase
from gridpact.errors import ContractError, InputError
from unit.chain.synthetic import FEEDER, Played, played

REST = 3
STEPS = 13
DAY = 20260701


@pytest.fixture(scope="module")
def play() -> Iterator[Played]:
    with open_network("eth-tester") as network:
        made = played(network, FEEDER, STEPS, phase_seconds=300)
        yield made
        made.close()


@pytest.fixture(scope="module")
def rest(play: Played) -> Played:
    """The same community, in rounds about the rest of the day."""

    def of(aggregator: Aggregator) -> Aggregator:
        return Aggregator.of(play.record, aggregator.web3, aggregator.account, product=REST)

    return replace(play, manager=of(play.manager), nodes={node: of(one) for node, one in play.nodes.items()})


def test_roundsOfTwoProducts_goOnBesideEachOther(play: Played, rest: Played) -> None:
    day, other = play.manager.open_round(DAY), rest.manager.open_round(DAY)
    assert (day, other) == (1, (REST << 24) + 1)
    for node in FEEDER:
        play.declare(day, node)
        rest.declare(other, node)
    play.iterate(day, 1)
    for k in (1, 2):
        rest.iterate(other, k)
    assert (play.manager.progress().round, play.manager.progress().iteration) == (day, 2)
    assert (rest.manager.progress().round, rest.manager.progress().iteration) == (other, 3)
    for one, number, closed in ((play, day, 1), (rest, other, 2)):
        reader = one.nodes[2]
        assert reader.head()[0] == closed
        assert reader.roster().nodes == set(FEEDER)
        assert reader.declaration(1).round == number
        assert reader.scalars()[0] > 0
        assert len(one.submission(1, closed)[0]) == reader.copies_length(1)
        assert [set(entry.submissions) for entry in reader.history(number)][:closed] == [set(FEEDER)] * closed
    assert play.manager.head()[1] != rest.manager.head()[1]
    one, node = rest.nodes[1], next(iter(rest.tree))
    rest.submit(other, 3, node)
    assert node in one.running(node).present
    assert play.nodes[1].running(node).iteration == 2


def test_overduePhase_isClosedInItsProduct(play: Played, rest: Played) -> None:
    play.pass_time(301)
    assert rest.manager.close_overdue()
    assert rest.manager.progress().iteration == 4
    assert play.manager.progress().iteration == 2
    assert play.manager.wait_until(lambda now: now.iteration > 2, 120, close_overdue=True).iteration == 3


def test_refusals_nameTheProduct(play: Played, rest: Played) -> None:
    with pytest.raises(ContractError) as caught:
        rest.manager.open_round(DAY + 1)
    assert caught.value.name == "WrongPhase"
    assert rest.manager.progress().phase is Phase.ITERATING
    assert rest.manager.agreed_in(DAY) == play.manager.agreed_in(DAY) == 0
    with pytest.raises(InputError, match="no product 256: choose one from 0 to 255"):
        Aggregator.of(play.record, play.manager.web3, product=256)
