"""The chain is taken back: nothing that was remembered may be believed, and nothing that was sent may count twice."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from chains import rpc
from waiting import SECONDS
from web3 import Web3
from web3.types import EventData

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.contract import READ_ATTEMPTS
from gridpact.chain.networks import Network
from gridpact.chain.values import Phase
from gridpact.errors import Reorganised
from gridpact.node.round_log import assembly_of, closing_of
from unit.chain.synthetic import Community, Played, played, star

STEPS = 4


class Fork:
    """Takes the chain back to where it was when this object was made."""

    def __init__(self, web3: Web3) -> None:
        self._web3 = web3
        self._snapshot = rpc(web3, "evm_snapshot")

    def take_back(self, blocks: int = 0) -> None:
        """And puts some empty blocks in place of those that are gone."""
        assert rpc(self._web3, "evm_revert", self._snapshot)
        if blocks:
            rpc(self._web3, "anvil_mine", hex(blocks))


@pytest.fixture
def play(anvil: Network) -> Iterator[Played]:
    made = played(anvil, star(2), STEPS)
    yield made
    made.close()


@pytest.fixture
def web3(play: Played) -> Web3:
    return play.manager.web3


def others(play: Played) -> Played:
    """The same nodes, but they decide otherwise."""
    return Played(Community(play.tree, STEPS, seed=2), play.network, play.manager, play.nodes, play.record)


def look(play: Played) -> None:
    """All look at the chain, as they do while they wait."""
    for aggregator in (play.manager, *play.nodes.values()):
        aggregator.progress()


def assert_same(reader: Aggregator, number: int, play: Played, iterations: int) -> None:
    """What the reader says is what the nodes submitted."""
    history = reader.history(number)
    assert len(history) == iterations
    for iteration in range(1, iterations + 1):
        log = reader.iteration(number, iteration)
        assert log == history[iteration - 1]
        assert {node: said.bids for node, said in log.submissions.items()} == {
            node: play.community.bids(node, iteration) for node in play.tree
        }


@pytest.mark.parametrize("blocks", [0, 1, 40])
def test_log_isReadAnew(play: Played, web3: Web3, blocks: int) -> None:
    """The new chain is shorter, or longer, than what was read of the old one."""
    fork, number = Fork(web3), play.open()
    reader = Aggregator.of(play.record, play.network.connect())
    for iteration in (1, 2, 3):
        play.iterate(number, iteration)
    assert_same(reader, number, play, 3)
    assert reader.declarations(number)
    look(play)
    fork.take_back(blocks)
    look(play)
    again = others(play)
    assert again.open() == number
    assert reader.iteration(number, 3).submissions == {}
    for iteration in (1, 2):
        again.iterate(number, iteration)
    assert_same(reader, number, again, 2)
    assert reader.iteration(number, 3).submissions == {}
    again.iterate(number, 3)
    assert_same(reader, number, again, 3)
    assert set(reader.declarations(number)) == set(play.tree)


def forgets(reader: Aggregator, monkeypatch: pytest.MonkeyPatch, node: int, times: int) -> None:
    """The reader's chain answers that often with a log that lacks what the node submitted."""
    whole, left = reader.own_events, iter(range(times))

    def told(logs: Any) -> list[EventData]:
        lacks = next(left, None) is not None
        return [
            event
            for event in whole(logs)
            if not (lacks and event["event"] == "Submitted" and event["args"]["node"] == node)
        ]

    monkeypatch.setattr(reader, "own_events", told)


def test_logThatLacksASubmission_isReadAgain(play: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    number = play.open()
    for iteration in (1, 2):
        play.iterate(number, iteration)
    reader = Aggregator.of(play.record, play.network.connect())
    reader.progress()
    found = assembly_of(reader, number)
    assert found is not None
    forgets(reader, monkeypatch, node=1, times=2)
    assert_same(reader, number, play, 2)
    forgets(reader, monkeypatch, node=1, times=READ_ATTEMPTS)
    entry = reader.iteration(number, 2)
    with pytest.raises(Reorganised, match=r"iteration 2 lacks what node 1 submitted.* give another endpoint"):
        closing_of(found[0], entry, frozenset())


def test_wait_followsTheChainBack(play: Played, web3: Web3) -> None:
    number, reader = play.open(), play.aggregator()
    fork = Fork(web3)
    play.iterate(number, 1)
    look(play)
    assert reader.wait_until(lambda now: now.iteration == 2, SECONDS).phase is Phase.ITERATING
    timer = threading.Timer(0.3, fork.take_back)
    timer.start()
    assert reader.wait_until(lambda now: now.iteration < 2, SECONDS).present == set()
    timer.join()
    look(play)
    play.iterate(number, 1)
    assert reader.wait_until(lambda now: now.iteration == 2, SECONDS).round == number


def test_submission_isRepeatedAfterALook(play: Played, web3: Web3) -> None:
    """The node that looks asks for its nonce anew."""
    number = play.open()
    fork = Fork(web3)
    play.submit(number, 1, 1)
    play.nodes[1].progress()
    fork.take_back()
    assert play.nodes[1].progress().present == set()
    play.submit(number, 1, 1)
    assert play.nodes[1].progress().present == {1}
    assert web3.eth.get_transaction_count(play.nodes[1].account.address) == 2  # type: ignore[union-attr]


def test_submission_isRepeatedWithoutALook(play: Played, web3: Web3) -> None:
    """The nonce is too high: the lost submission goes first, and makes the second one needless."""
    number = play.open()
    fork = Fork(web3)
    play.submit(number, 1, 1)
    fork.take_back()
    play.submit(number, 1, 1)
    assert play.nodes[1].progress().present == {1}
    assert web3.eth.get_transaction_count(play.nodes[1].account.address) == 3  # type: ignore[union-attr]


# ---------------------------------------------------------------------- one account


@pytest.fixture
def sender(play: Played, web3: Web3) -> Iterator[ChainAccount]:
    account = play.aggregator().account
    assert account is not None
    account.settle(account.transfer(account.address, 1))
    yield account
    rpc(web3, "evm_setAutomine", True)


def balance(web3: Web3, address: str) -> int:
    return int(web3.eth.get_balance(Web3.to_checksum_address(address)))


def test_send_fillsTheGap(web3: Web3, sender: ChainAccount) -> None:
    """What was taken back counts after all, once, before what is sent next."""
    receiver = "0x" + "12" * 20
    before, fork = balance(web3, receiver), Fork(web3)
    for _ in range(3):
        sender.settle(sender.transfer(receiver, 1))
    fork.take_back()
    assert balance(web3, receiver) == before
    sender.settle(sender.transfer(receiver, 10))
    assert balance(web3, receiver) == before + 13


def test_send_repeatsWhatTheMempoolDropped(web3: Web3, sender: ChainAccount) -> None:
    receiver = "0x" + "13" * 20
    rpc(web3, "evm_setAutomine", False)
    first, second = sender.transfer(receiver, 1), sender.transfer(receiver, 10)
    for pending in (first, second):
        rpc(web3, "anvil_dropTransaction", pending.hashes[0].to_0x_hex())
    rpc(web3, "evm_setIntervalMining", 1)
    receipts = sender.settle_all([first, second])
    assert [receipt["transactionHash"] for receipt in receipts] == [*first.hashes, *second.hashes]  # the same bytes
    assert balance(web3, receiver) == 11


def test_send_isNotLostToAnOlderOne(web3: Web3, sender: ChainAccount) -> None:
    """A transaction from before comes back with the nonce of a new one: both count, once."""
    receiver = "0x" + "14" * 20
    fork = Fork(web3)
    old = sender.transfer(receiver, 1)
    sender.settle(old)
    raw = sender._sent[int(old.transaction["nonce"])][0].raw
    fork.take_back()
    rpc(web3, "evm_setAutomine", False)
    sender.forget_nonce()
    new = sender.transfer(receiver, 10)
    assert new.transaction["nonce"] == old.transaction["nonce"]
    rpc(web3, "anvil_dropTransaction", new.hashes[0].to_0x_hex())
    web3.eth.send_raw_transaction(raw)
    rpc(web3, "evm_mine")
    rpc(web3, "evm_setAutomine", True)
    assert sender.settle(new)["status"] == 1
    assert balance(web3, receiver) == 11


def test_send_remembersNotForEver(sender: ChainAccount) -> None:
    for _ in range(70):
        sender.settle(sender.transfer(sender.address, 1))
    assert len(sender._sent) == 64
