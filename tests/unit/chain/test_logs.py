"""The log is the same in whatever pieces it is had, and what is forgotten is said."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3
from web3.exceptions import Web3RPCError

from gridpact.chain import logs
from gridpact.chain.logs import LogReader, Openings
from gridpact.errors import ChainError, Reorganised


class Ledger:
    """A log by block, behind an endpoint with limits; only what a reader asks of a connection."""

    def __init__(
        self,
        entries: Sequence[int],
        head: int,
        blocks: int | None = None,
        results: int | None = None,
        kept_from: int = 0,
        words: str = "no",
    ) -> None:
        self.entries, self.head = sorted(entries), head
        self.blocks, self.results, self.kept_from, self.words = blocks, results, kept_from, words
        self.asked: list[tuple[int, int]] = []
        self.manager = self.eth = self

    @property
    def block_number(self) -> int:
        return self.head

    def request_blocking(self, method: str, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        assert method == "eth_getLogs"
        low, high = (int(parameters[0].get(name, hex(self.head)), 16) for name in ("fromBlock", "toBlock"))
        self.asked.append((low, high))
        told = [{"blockNumber": hex(block)} for block in self.entries if low <= block <= high]
        too_long = self.blocks is not None and high - low + 1 > self.blocks
        too_many = self.results is not None and len(told) > self.results
        if too_long or too_many or low < self.kept_from:
            response = {"error": {"code": -32000, "message": self.words}}
            raise Web3RPCError(self.words, rpc_response=cast(Any, response))
        return told


def reader(ledger: Ledger) -> LogReader:
    return LogReader(cast(Web3, ledger))


def numbers(entries: Sequence[Mapping[str, Any]]) -> list[int]:
    return [int(entry["blockNumber"], 16) for entry in entries]


@given(
    st.lists(st.integers(0, 3000), max_size=60),
    st.integers(0, 3000),
    st.one_of(st.none(), st.integers(1, 4000)),
    st.integers(0, 3000),
)
@settings(deadline=None)
def test_pieces_areTheWhole(entries: list[int], head: int, blocks: int | None, first: int) -> None:
    """Whatever number of blocks an endpoint takes, each entry is read once, in order, also by the reads that follow."""
    ledger = Ledger([block for block in entries if block <= head], head, blocks)
    read = reader(ledger)
    for start in (min(first, head), 0, min(first, head)):
        assert numbers(read.read({}, start)) == [block for block in ledger.entries if block >= start]


@given(st.lists(st.integers(0, 500), max_size=80), st.integers(1, 100))
@settings(deadline=None)
def test_pieces_byResults(entries: list[int], results: int) -> None:
    most = max((entries.count(block) for block in entries), default=0)
    ledger = Ledger(entries, 500, results=max(results, most))
    assert numbers(reader(ledger).read({}, 0)) == sorted(entries)


@pytest.mark.parametrize(("limit", "head"), [(1000, 1_000_000), (5, 10_000), (10_000, 200_000), (2048, 500_000)])
def test_pieces_areNearTheLimit(limit: int, head: int) -> None:
    """At most a third more requests than pieces of the largest size, but for those that find the size."""
    ledger = Ledger([7], head, limit)
    read = reader(ledger)
    assert numbers(read.read({}, 0)) == [7]
    assert len(ledger.asked) <= 4 / 3 * head / limit + 40


def test_pieces_growAgain() -> None:
    """A crowded place makes pieces small, but not for ever."""
    ledger = Ledger([block for block in range(100_000, 100_040) for _ in range(9)], 400_000, 20_000, 10)
    read = reader(ledger)
    assert len(read.read({}, 0)) == 360
    before = len(ledger.asked)
    ledger.entries = []
    read.read({}, 0)
    assert len(ledger.asked) - before < 200


def test_search_endsWhereItIsFound() -> None:
    """Of a million blocks only those since the opening are read."""
    ledger = Ledger([999_000, 999_990], 1_000_000, 500)
    found = reader(ledger).read({}, 0, has_it=lambda piece: 999_000 in numbers(piece))
    assert numbers(found) == [999_000, 999_990]
    taken = [low for low, high in ledger.asked if high - low < 500]
    assert min(taken) > 998_000
    assert len(ledger.asked) < 30


def test_lowest_boundsTheSearch() -> None:
    ledger = Ledger([10, 5000], 6000, 100)
    assert numbers(reader(ledger).read({}, 0, lowest=lambda: 4900)) == [5000]
    assert all(low >= 4900 for low, high in ledger.asked if high - low < 1000)


def test_lowest_isNotAskedWithoutNeed() -> None:
    assert numbers(reader(Ledger([10], 6000)).read({}, 0, lowest=lambda: 1 // 0)) == [10]


@pytest.mark.parametrize("words", ["pruned history unavailable", "missing trie node", "nope"])
@pytest.mark.parametrize("blocks", [None, 300])
def test_forgotten_isSaid(words: str, blocks: int | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SINGLE_PAUSE", 0.0)
    ledger = Ledger([10, 9_500], 10_000, blocks, kept_from=9_000, words=words)
    with pytest.raises(ChainError, match=r"does not give the log of block 8999 any more .*keeps the whole history"):
        reader(ledger).read({}, 0)
    assert numbers(reader(ledger).read({}, 0, has_it=bool)) == [9_500]  # what is newer is had


def test_refusal_isSaid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "SINGLE_PAUSE", 0.0)
    with pytest.raises(ChainError, match="refused the log: not today"):
        reader(Ledger([], 100, blocks=0, words="not today")).read({}, 0)


def test_shorterChain_isNoLimit() -> None:
    """A chain that was taken back does not make pieces small."""

    class Short(Ledger):
        def request_blocking(self, method: str, parameters: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
            if int(parameters[0]["fromBlock"], 16) > self.head:
                raise Web3RPCError("invalid block range params")
            return super().request_blocking(method, parameters)

    ledger = Short([3], 10)
    read = reader(ledger)
    with pytest.raises(Reorganised):
        read.read({}, 50)
    assert numbers(read.read({}, 0)) == [3]
    assert ledger.asked == [(0, 10)]


def test_openings_areLookedForOnce() -> None:
    ledger = Ledger([4321], 6000, 100)
    openings = Openings(reader(ledger), "0x", "0x", 17)
    assert openings.before(3) == 4321 - logs.MOST_TAKEN_BACK
    asked = len(ledger.asked)
    assert openings.before(3) == 4321 - logs.MOST_TAKEN_BACK
    assert len(ledger.asked) == asked
    assert Openings(reader(Ledger([], 6000, 100)), "0x", "0x", 17).before(3) == 17  # never opened
