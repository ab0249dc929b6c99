"""The relay between nodes and a chain: one transaction an iteration, whatever others do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from waiting import SECONDS, until
from web3.types import RPCEndpoint, TxReceipt

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.commitments import START
from gridpact.chain.networks import Network
from gridpact.chain.transport import meter_of
from gridpact.chain.values import Phase, Progress, SignedSubmission
from gridpact.errors import ChainError, ContractError
from gridpact.relay.client import RelayClient, RelayUnavailable
from gridpact.relay.server import RelayServer
from unit.chain.synthetic import Community, Played, played, star

HTTP_SECONDS = 20.0  # a relay keeps nobody waiting for longer than 30
LONG = 1000.0


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The relay waits until it sees what its authors see, however busy the machine is."""
    monkeypatch.setattr("gridpact.relay.board.CATCH_UP_SECONDS", SECONDS)


@pytest.fixture
def play(anvil: Network) -> Iterator[Played]:
    made = played(anvil, star(3), steps=4)
    yield made
    made.close()


@pytest.fixture
def paid(play: Played) -> Aggregator:
    """What the relay pays with."""
    return play.aggregator()


@pytest.fixture
def relay(paid: Aggregator) -> Iterator[RelayServer]:
    with RelayServer(paid, patience=LONG) as server:
        yield server


@contextmanager
def client_of(relay: RelayServer) -> Iterator[RelayClient]:
    client = RelayClient(relay.url, timeout=SECONDS)
    yield client
    client.close()


@pytest.fixture
def client(relay: RelayServer) -> Iterator[RelayClient]:
    with client_of(relay) as made:
        yield made


def relayed(relay: Aggregator) -> int:
    assert relay.account is not None
    return relay.account.transactions


def iteration_opens(play: Played, iteration: int) -> None:
    play.nodes[1].wait_until(lambda now: now.iteration == iteration, SECONDS)


# ---------------------------------------------------------------------- as it should be


def test_iteration_isOneTransaction(
    play: Played, paid: Aggregator, client: RelayClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Node 0 hears the households from the board, as the grid operator does, and answers them there."""
    caplog.set_level(logging.DEBUG, "gridpact.relay")
    number = play.open()
    for iteration in (1, 2, 3):
        batch = play.batch(number, iteration)
        for signed in batch[1:]:
            client.post(number, iteration, signed)
        wishes = client.board(number, iteration, 3, HTTP_SECONDS)
        assert wishes == batch[1:]
        for wish in wishes:
            assert play.nodes[0].signer_of(number, iteration, play.head(iteration), wish) == account_of(play, wish)
        client.post(number, iteration, batch[0])
        iteration_opens(play, iteration + 1)
    until(lambda: relayed(paid) == 3)
    for iteration, log in enumerate(play.nodes[2].history(number), 1):
        assert {node: play.nodes[2].copies_of(said) for node, said in log.submissions.items()} == {
            node: play.community.words(node, iteration) for node in play.tree
        }
    until(lambda: len(caplog.messages) >= 3)
    assert "iteration 2: 4 of 4 relayed" in caplog.messages[1]
    assert client.board(number, 3, 4, 0) == batch
    assert client.board(number, 1, 4, HTTP_SECONDS) == []  # forgotten, and nothing to wait for


def account_of(play: Played, signed: SignedSubmission) -> str:
    account = play.nodes[signed.node].account
    assert account is not None
    return account.address


def test_gasOfABatchOfAll_isEstimatedOnceARound(play: Played, paid: Aggregator) -> None:
    """A smaller one stores copies, or is the rest of an iteration: it costs something else."""

    def estimates(iteration: int, *parts: list[int]) -> int:
        before = meter_of(paid.web3).requests[RPCEndpoint("eth_estimateGas")]
        for part in parts:
            paid.relay(number, iteration, play.batch(number, iteration, part), of_all=len(part) == 4)
        iteration_opens(play, iteration + 1)
        return meter_of(paid.web3).requests[RPCEndpoint("eth_estimateGas")] - before

    number = play.open()
    assert estimates(1, [0, 1, 2, 3]) == 1
    assert estimates(2, [0, 1, 2, 3]) == 0
    assert estimates(3, [1, 2], [0, 3]) == 2
    assert estimates(4, [0, 1, 2, 3]) == 1
    assert estimates(5, [0, 1, 2, 3]) == 0
    with pytest.raises(ContractError, match="iteration"):
        paid.relay(number, 5, play.batch(number, 5), of_all=True)
    assert estimates(6, [0, 1, 2, 3]) == 1


def test_nodes_maySubmitDirectly(play: Played, paid: Aggregator, client: RelayClient) -> None:
    number = play.open()
    client.post(number, 1, play.sign(number, 1, 1))
    play.submit(number, 1, 2)
    client.post(number, 1, play.sign(number, 1, 3))
    play.submit(number, 1, 0)
    iteration_opens(play, 2)
    until(lambda: relayed(paid) == 1)


def test_silentNode_isNotWaitedForLong(play: Played, paid: Aggregator) -> None:
    number = play.open()
    with RelayServer(paid, patience=LONG) as relay, client_of(relay) as client:
        for signed in play.batch(number, 1, [1, 3]):
            client.post(number, 1, signed)
        relay._patience = 0.5  # both are there
        until(lambda: play.nodes[0].progress().present == {1, 3})
        play.submit(number, 1, 0)
        client.post(number, 1, play.sign(number, 1, 2))
        iteration_opens(play, 2)
    until(lambda: relayed(paid) == 2)


def test_nodeThatIsOut_isNotWaitedFor(anvil: Network) -> None:
    play = played(anvil, star(3), steps=4, max_misses=1)
    number, paid = play.open(), play.aggregator()
    with RelayServer(paid, patience=LONG) as relay, client_of(relay) as client:
        for signed in play.batch(number, 1, [0, 1, 2]):
            client.post(number, 1, signed)
        for node in (0, 1, 2):
            play.submit(number, 1, node)
        play.pass_time(601)
        assert play.manager.close_overdue()
        for signed in play.batch(number, 2, [0, 1, 2]):
            client.post(number, 2, signed)
        iteration_opens(play, 3)
        with pytest.raises(RelayUnavailable, match="Node 3 is not in round 1"):
            client.post(number, 3, play.sign(number, 3, 3))
    play.close()


def test_rounds_followEachOther(anvil: Network) -> None:
    play = played(anvil, star(2), steps=4, mu=1)
    with RelayServer(play.aggregator(), patience=LONG) as relay, client_of(relay) as client:
        for _ in range(2):
            number = play.open()
            for signed in play.batch(number, 1):
                client.post(number, 1, signed)
            play.nodes[1].wait_until(lambda now: now.phase is Phase.EXHAUSTED, SECONDS)
    play.close()


# ---------------------------------------------------------------------- against it


def test_frontRunner_isNoHarm(
    play: Played, paid: Aggregator, relay: RelayServer, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody takes a part of the batch, or all of it, and is first."""
    number, thief, honest = play.open(), play.aggregator(), paid.relay

    def overtaken(round: int, iteration: int, batch: list[SignedSubmission], of_all: bool) -> TxReceipt:
        thief.relay(round, iteration, batch[:2] if iteration == 1 else batch)
        return honest(round, iteration, batch, of_all)

    monkeypatch.setattr(paid, "relay", overtaken)
    for iteration in (1, 2):
        for signed in play.batch(number, iteration):
            client.post(number, iteration, signed)
        iteration_opens(play, iteration + 1)
    monkeypatch.undo()
    for signed in play.batch(number, 3):
        client.post(number, 3, signed)
    iteration_opens(play, 4)
    assert_asSubmitted(play, number, 3)


def assert_asSubmitted(play: Played, number: int, iterations: int) -> None:
    """What stands on the chain is what the nodes signed."""
    history = play.nodes[1].history(number)
    assert len(history) == iterations
    for iteration, log in enumerate(history, 1):
        assert {node: said.bids for node, said in log.submissions.items()} == {
            node: play.community.bids(node, iteration) for node in play.tree
        }


def test_badSubmission_isRefusedByTheContractAlone(play: Played, paid: Aggregator, client: RelayClient) -> None:
    """A lane that overflows: the others count, the author may send another, and the relay does not try again."""
    number = play.open()
    copies, bids, residuals = play.submission(1, 1)
    client.post(number, 1, play.nodes[1].sign(number, 1, START, 1, (2**256 - 1, *copies[1:]), bids, residuals))
    for signed in play.batch(number, 1, [0, 2, 3]):
        client.post(number, 1, signed)
    until(lambda: play.nodes[1].progress().present == {0, 2, 3})
    client.post(number, 1, play.sign(number, 1, 1))
    iteration_opens(play, 2)
    until(lambda: relayed(paid) == 2)


@pytest.mark.parametrize("what", ["other author", "other round", "nobody"])
def test_forgery_isNotTaken(play: Played, client: RelayClient, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    number = play.open()
    signed = play.sign(number, 1, 1)
    client.post(number, 1, play.sign(number, 1, 2))  # the relay sees the round
    monkeypatch.setattr("gridpact.relay.board.CATCH_UP_SECONDS", 0.2)
    forged = {
        "other author": replace(play.nodes[2].sign(number, 1, START, 1, *play.submission(1, 1))),
        "other round": play.sign(number + 1, 1, 1),
        "nobody": replace(signed, r=bytes(32)),
    }
    with pytest.raises(RelayUnavailable, match="refused: The signature is not that of node 1"):
        client.post(number, 1, forged[what])
    assert [signed.node for signed in client.board(number, 1, 1, 0)] == [2]


# ---------------------------------------------------------------------- failures


def rpc(play: Played, method: str, *parameters: Any) -> Any:
    return play.manager.web3.manager.request_blocking(RPCEndpoint(method), list(parameters))


def test_reorganisation_isMadeGood(play: Played, paid: Aggregator, client: RelayClient) -> None:
    """What the chain lost is posted again, from the board."""
    number = play.open()
    for signed in play.batch(number, 1):
        client.post(number, 1, signed)
    iteration_opens(play, 2)
    snapshot = rpc(play, "evm_snapshot")
    for signed in play.batch(number, 2):
        client.post(number, 2, signed)
    iteration_opens(play, 3)
    client.post(number, 3, play.sign(number, 3, 1))
    until(lambda: relayed(paid) == 2)
    assert rpc(play, "evm_revert", snapshot)
    iteration_opens(play, 3)
    for signed in play.batch(number, 3, [0, 2, 3]):
        client.post(number, 3, signed)
    iteration_opens(play, 4)
    assert_asSubmitted(play, number, 3)


def test_reorganisation_endsWhatWasSignedForAnotherHistory(
    play: Played, paid: Aggregator, client: RelayClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Iteration 1 is closed otherwise than before: nothing of the old iteration 2 counts after it."""
    number, snapshot = play.open(), rpc(play, "evm_snapshot")
    looks, held, look = threading.Event(), threading.Event(), paid.progress
    looks.set()

    def held_up() -> Progress:
        if not looks.is_set():
            held.set()
        looks.wait(SECONDS)
        return look()

    monkeypatch.setattr(paid, "progress", held_up)
    for signed in play.batch(number, 1):
        client.post(number, 1, signed)
    iteration_opens(play, 2)
    stale = play.batch(number, 2)
    for signed in stale[1:]:
        client.post(number, 2, signed)
    looks.clear()  # or the relay would post the old iteration 1 before anybody else
    assert held.wait(SECONDS)
    assert rpc(play, "evm_revert", snapshot)
    again = Played(Community(play.tree, 4, seed=2), play.network, play.manager, play.nodes, play.record)
    play.aggregator().relay(number, 1, again.batch(number, 1))
    iteration_opens(play, 2)
    looks.set()
    until(lambda: client.board(number, 2, 1, 0) == [])
    monkeypatch.setattr("gridpact.relay.board.CATCH_UP_SECONDS", 0.2)
    with pytest.raises(RelayUnavailable, match="round, iteration and history"):
        client.post(number, 2, stale[0])
    monkeypatch.setattr("gridpact.relay.board.CATCH_UP_SECONDS", SECONDS)
    for signed in again.batch(number, 2):
        client.post(number, 2, signed)
    iteration_opens(play, 3)
    assert_asSubmitted(again, number, 2)
    until(lambda: relayed(paid) == 2)


@pytest.mark.parametrize("method", ["progress", "roster", "relay"])
@pytest.mark.parametrize("error", [ChainError("The chain does not answer."), ValueError("a fault")])
def test_relay_goesOnAfterAFailure(
    play: Played,
    paid: Aggregator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    method: str,
    error: Exception,
) -> None:
    monkeypatch.setattr("gridpact.relay.board.AGAIN_SECONDS", 0.5)
    number, works, failures = play.open(), getattr(paid, method), [error, error]

    def sometimes(*arguments: object, **named: object) -> object:
        if failures:
            raise failures.pop()
        return works(*arguments, **named)

    monkeypatch.setattr(paid, method, sometimes)
    with RelayServer(paid, patience=LONG) as relay, client_of(relay) as client:
        until(lambda: method == "relay" or not failures)
        for signed in play.batch(number, 1):
            client.post(number, 1, signed)
        iteration_opens(play, 2)
    assert caplog.records


def test_relay_withoutEtherSaysSo(play: Played, caplog: pytest.LogCaptureFixture) -> None:
    paid = play.aggregator()
    assert paid.account is not None
    rpc(play, "anvil_setBalance", paid.account.address, "0x0")
    number = play.open()
    with RelayServer(paid, patience=LONG) as relay, client_of(relay) as client:
        for signed in play.batch(number, 1):
            client.post(number, 1, signed)
        until(lambda: any("not enough ether" in message for message in caplog.messages))
        play.iterate(number, 1)  # so they submit directly
        iteration_opens(play, 2)
