"""Closing what is overdue: by the chain's time, for what it costs, and without losing a turn."""

from __future__ import annotations

import json
import logging
import time
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from chains import rpc
from waiting import SECONDS
from web3 import Web3

from gridpact.chain import clock
from gridpact.chain.account import MOST_GAS, ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.aggregator_watch import CLOSE_GAS, START_GAS
from gridpact.chain.clock import ChainClock, clock_gap, told_gap
from gridpact.chain.deposits import Token
from gridpact.chain.fees import GWEI
from gridpact.chain.networks import Network
from gridpact.chain.values import Phase, Progress
from gridpact.errors import ChainError, ContractError
from unit.chain.settled import settled
from unit.chain.synthetic import Played, played, star


@pytest.fixture(scope="module")
def play(anvil: Network) -> Any:
    made = played(anvil, star(3), 4)
    yield made
    made.close()


def looks(monkeypatch: pytest.MonkeyPatch, aggregator: Aggregator, times: int) -> Progress:
    """As a waiting node that may close: the progress once it has looked so often whether the phase is overdue."""
    monkeypatch.setattr("gridpact.chain.aggregator_watch.LOOK_SECONDS", 0.1)
    looked, look = Counter[str](), aggregator._clock.now

    def counted() -> float:
        looked["times"] += 1
        return look()

    monkeypatch.setattr(aggregator._clock, "now", counted)
    return aggregator.wait_until(lambda _: looked["times"] >= times, SECONDS, close_overdue=True)


def is_iterating(now: Progress) -> bool:
    return now.phase is Phase.ITERATING


def open_without(play: Played, silent: int) -> int:
    """Opens a round in which one node does not declare."""
    now = play.manager.progress()
    if now.phase.is_running:
        play.pass_time(10_000)
        play.manager.close_overdue()
        while play.manager.progress().phase.is_running:
            play.pass_time(10_000)
            play.manager.close_overdue()
    number = play.manager.open_round(20240101 + play.manager.progress().round)
    for node in play.tree:
        if node != silent:
            play.declare(number, node)
    return number


def test_close_needsLittleEther(play: Played) -> None:
    """At 1.5 gwei, 0.007 ETH are enough: the limit of the gas is near to what it uses."""
    open_without(play, silent=2)
    play.pass_time(700)
    web3, account = play.manager.web3, play.nodes[1].account
    assert account is not None
    rpc(web3, "anvil_setBalance", account.address, hex(7 * 10**15))
    rpc(web3, "anvil_setNextBlockBaseFeePerGas", hex(3 * GWEI // 2))
    account._offers.forget_base()
    before = account.gas_used
    assert play.nodes[1].close_overdue() is True
    assert play.manager.progress().phase is Phase.ITERATING
    assert account.gas_used - before < CLOSE_GAS
    rpc(web3, "anvil_setBalance", account.address, hex(10**19))


def test_close_thatFailsCostsNoTurn(
    play: Played, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A node without ether waits on, and says once that it leaves the closing to others."""
    open_without(play, silent=2)
    web3, account = play.manager.web3, play.nodes[1].account
    assert account is not None
    play.pass_time(700)
    rpc(web3, "anvil_setBalance", account.address, hex(10**9))
    with caplog.at_level(logging.WARNING, "gridpact"):
        assert looks(monkeypatch, play.nodes[1], 3).phase is Phase.DECLARING
    told = [record.getMessage() for record in caplog.records if "left to others" in record.getMessage()]
    assert len(told) == 1
    assert "not enough ether for `closeOverdue`" in told[0]
    rpc(web3, "anvil_setBalance", account.address, hex(10**19))
    assert play.nodes[1].wait_until(is_iterating, SECONDS, close_overdue=True).phase is Phase.ITERATING


def test_close_isAskedFirst(play: Played) -> None:
    """Who comes second sends nothing."""
    open_without(play, silent=2)
    play.pass_time(700)
    assert play.nodes[1].close_overdue() is True
    now = play.manager.progress()
    while now.phase is Phase.ITERATING:
        play.pass_time(700)
        play.manager.close_overdue()
        now = play.manager.progress()
    account = play.nodes[3].account
    assert account is not None
    before = account.transactions
    assert play.nodes[3].close_overdue() is False
    assert account.transactions == before


def test_clockAhead_closesNothing(play: Played, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is an hour ahead does not take a phase for overdue."""
    open_without(play, silent=2)
    account = play.nodes[1].account
    assert account is not None
    before, now = account.transactions, time.time
    monkeypatch.setattr(time, "time", lambda: now() + 3600)
    assert looks(monkeypatch, play.nodes[1], 3).phase is Phase.DECLARING
    assert account.transactions == before
    assert play.manager.progress().phase is Phase.DECLARING


@pytest.mark.parametrize(("households", "steps"), [(15, 96), (40, 24)])
def test_close_gasIsEnough(anvil: Network, households: int, steps: int) -> None:
    """The reserve holds for starting a round, and for closing an iteration, of many."""
    play = played(anvil, star(households), steps)
    account = play.nodes[3].account
    assert account is not None

    def closes() -> None:
        before = account.gas_used
        play.pass_time(700)
        assert play.nodes[3].close_overdue() is True
        limit = CLOSE_GAS + START_GAS * (households + 1) + play.nodes[3].closing_gas()
        assert account.gas_used - before < 0.9 * min(limit, MOST_GAS)

    try:
        number = play.manager.open_round(20240101 + play.manager.progress().round)
        for node in play.tree:
            if node != 1:
                play.declare(number, node)
        closes()
        for _ in range(2):  # nobody submits: the round is abandoned
            closes()
        assert play.manager.outcome(number).phase is Phase.ABANDONED
        number = play.open()
        for iteration in (1, 2):
            for node in play.tree:
                if node not in (1, 2):
                    play.submit(number, iteration, node)
            closes()
    finally:
        play.close()


# ---------------------------------------------------------------------- clocks


def test_clock_isTheChains(anvil: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    web3 = anvil.connect()
    monkeypatch.setattr(time, "time", lambda: 0.0)
    rpc(web3, "evm_mine")
    of_chain, stamp = ChainClock(web3), int(web3.eth.get_block("latest")["timestamp"])
    assert stamp <= of_chain.now() < stamp + 1
    time.sleep(0.5)
    assert of_chain.now() >= stamp + 0.5  # it goes on without blocks
    rpc(web3, "evm_increaseTime", 100)
    rpc(web3, "evm_mine")
    assert of_chain.now() >= stamp + 100


class Ticking:
    """A chain that makes a block every so many seconds of a clock that goes on by sleeping only."""

    def __init__(self, every: int, seconds: float) -> None:
        self.every, self.seconds, self.eth = every, seconds, self

    def get_block(self, which: int | str) -> dict[str, int]:
        number = int(self.seconds) // self.every if which == "latest" else int(which)
        return {"number": number, "timestamp": STAMP + self.every * number}

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


STAMP = 1_700_000_000


def gap(monkeypatch: pytest.MonkeyPatch, chain: Ticking, ahead: float) -> float | None:
    """As it is found by a machine that is so far ahead of the chain."""
    clocks = SimpleNamespace(
        time=lambda: STAMP + chain.seconds + ahead, monotonic=lambda: chain.seconds, sleep=chain.sleep
    )
    monkeypatch.setattr(clock, "time", clocks)
    return clock_gap(cast(Web3, chain))


@pytest.mark.parametrize(("ahead", "words"), [(3600, "ahead of"), (-3600, "behind")])
def test_clockGap_isSaid(monkeypatch: pytest.MonkeyPatch, ahead: int, words: str) -> None:
    """To the age of a block that is seen half a second late, at most, or was made a second ago."""
    found = gap(monkeypatch, Ticking(1, 2.75), ahead)
    assert found is not None
    assert 0 <= found - ahead < 1
    assert words in told_gap(found)


def test_clockGap_withoutBlocksIsNotKnown(monkeypatch: pytest.MonkeyPatch) -> None:
    """A block an hour: the next is not waited for."""
    assert gap(monkeypatch, hourly := Ticking(3600, 3602.75), 3600) is None
    assert clock.LONGEST_WAIT <= hourly.seconds - 3602.75 <= clock.LONGEST_WAIT + 0.5
    assert gap(monkeypatch, Ticking(3600, 3602.75), clock.LARGEST_GAP / 2) == 0.0


# ---------------------------------------------------------------------- an allowance that is left


@pytest.mark.parametrize("left", [0, 5, 50])
def test_approve_aReluctantToken(anvil: Network, left: int) -> None:
    """USDT and others refuse to change an allowance that is not nothing."""
    content = json.loads((Path(__file__).parent / "reluctant.json").read_text())
    with settled(anvil) as market:
        side = next(iter(market.sides.values()))
        account = side.account
        assert isinstance(account, ChainAccount)
        receipt = account.send(
            account.web3.eth.contract(abi=content["abi"], bytecode=content["bytecode"]).constructor()
        )
        side.token = Token(account.web3, str(receipt["contractAddress"]), content["abi"], account)
        side._approve(left)
        side._approve(10)
        assert side.token.allowance(account.address, side.address) == max(left, 10)


def test_allowance_ofWhatNobodyHolds(anvil: Network) -> None:
    with settled(anvil) as market:
        side = next(iter(market.sides.values()))
        side.token = Token(side.web3, Web3.to_checksum_address(market.record.token), market.record.token_abi)
        with pytest.raises(ChainError, match="needs an account"):
            side._approve(10**30)


def test_whatWasRefused_isNotPaidForAgain(play: Played) -> None:
    """An endpoint that tells old states makes a node repeat what it has done: at most one refusal is paid for."""
    number = open_without(play, silent=2)
    node = play.nodes[1]
    account = node.account
    assert account is not None
    before = account.transactions
    for _ in range(5):
        with pytest.raises(ContractError) as caught:
            node.abstain(number)  # it has declared
        assert caught.value.name == "AlreadyDeclared"
    assert account.transactions <= before + 1
    with pytest.raises(ContractError):
        play.declare(number, 1)
    before = account.transactions
    for _ in range(5):
        with pytest.raises(ContractError):
            play.declare(number, 1)
    assert account.transactions == before
