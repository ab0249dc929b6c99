"""What a reader has of a sealed round, whose log says no more than where submissions are."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest
from endpoints import Batch, endpoint
from web3 import Web3

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.commitments import START, head_with
from gridpact.chain.networks import EMBEDDED, open_network
from gridpact.chain.transport import HttpTransport, meter_of
from gridpact.chain.values import pack_residuals
from unit.chain.synthetic import Played, played, star

STEPS = 15  # more than a word, and not all of the second
ITERATIONS = 5


@pytest.fixture(scope="module")
def play() -> Iterator[Played]:
    with open_network(EMBEDDED) as network:
        made = played(network, star(3), STEPS, phase_seconds=60, max_misses=3, sealed=True)
        yield made
        made.close()


@pytest.fixture(scope="module")
def round_(play: Played) -> int:
    """Sent; relayed, one of them with a false part before it; without a household; without node 0; and some of each."""
    play.community.absent.update({3: {2}, 4: {0}})
    number = play.open()
    play.iterate(number, 1)
    good = play.batch(number, 2)
    false = replace(good[1], copies=(good[1].copies[0] ^ 1, *good[1].copies[1:]))
    play.nodes[1].relay(number, 2, [false, *good])
    for iteration in (3, 4):
        play.iterate(number, iteration)
        play.pass_time(61)
        play.manager.close_overdue()
    play.submit(number, 5, 3)
    play.nodes[2].relay(number, 5, play.batch(number, 5, [0, 1, 2]))
    return number


def anybody(play: Played) -> Aggregator:
    """A fresh connection that remembers nothing and sends nothing."""
    return Aggregator.of(play.record, play.network.connect())


def test_log_hasNothingOfWhatIsSealed(play: Played, round_: int) -> None:
    events = anybody(play)._log(("Sealed", "Submitted", "IterationClosed"), round_)
    names = [event["event"] for event in events]
    assert "Submitted" not in names
    assert names.count("Sealed") == ITERATIONS * len(play.tree) - 2  # who was absent
    closed = [dict(event["args"]) for event in events if event["event"] == "IterationClosed"]
    assert [tuple(one["sums"]) for one in closed] == [()] * ITERATIONS


def test_history_hasAllThatWasSubmitted_andTheSumsOfTheHead(play: Played, round_: int) -> None:
    reader, head = anybody(play), START
    history = reader.history(round_)
    assert len(history) == ITERATIONS
    for number, log in enumerate(history, 1):
        there = play.community.at(number).copies
        assert log.closed is not None
        assert log.closed.present == log.submissions.keys() == there.keys()
        for node, said in log.submissions.items():
            copies, bids, residuals = play.submission(node, number)
            assert (reader.copies_of(said), said.bids, pack_residuals(said.residuals)) == (
                copies,
                bids,
                pack_residuals(residuals),
            )
        head = head_with(head, round_, log.closed)
        assert head == log.closed.head
    assert history == [reader.iteration(round_, number) for number in range(1, ITERATIONS + 1)]


def test_batch_isReadOnce(play: Played, round_: int) -> None:
    reader = anybody(play)
    reader.iteration(round_, 4)
    calls = meter_of(reader.web3).rpc_calls
    log = reader.iteration(round_, 5)
    assert meter_of(reader.web3).rpc_calls - calls == 3  # the log, the batch, and the one that was sent
    assert {reader.copies_of(said) for said in log.submissions.values()}
    assert meter_of(reader.web3).rpc_calls - calls == 3


@pytest.mark.parametrize("mixed", [False, True])
def test_transactionsOfAnIteration_areAskedForAtOnce(play: Played, round_: int, mixed: bool) -> None:
    """By an endpoint outside the process; where it mixes up what it answers, one by one."""

    def wrong(requests_: Batch, each: Callable[[Batch], Batch]) -> Batch:
        return [{**one, "id": other["id"]} for one, other in zip(each(requests_), requests_[::-1], strict=True)]

    with endpoint(play.network, batches=[wrong] if mixed else []) as served:
        reader = Aggregator.of(play.record, Web3(HttpTransport(served.url), middleware=[]))
        assert reader.history(round_) == anybody(play).history(round_)
    assert served.sizes == [4, 3, 3, 2]  # of the second, all are in one transaction
    assert served.asked["eth_getTransactionByHash"] <= sum(served.sizes) * (2 if mixed else 1) + 1
