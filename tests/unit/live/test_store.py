"""The store: what is told stays, what the chain takes back goes, and what is no history is refused in one sentence."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.spent import Spent
from gridpact.errors import InputError
from gridpact.live.store import FORMAT, KEPT_BLOCKS, Store


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "deep" / "history.db")
    yield made
    made.close()


def block(number: int, branch: str = "a") -> ChainBlock:
    return ChainBlock(number, f"0x{branch}{number}", 1_000 + number)


def told(at: ChainBlock, index: int, name: str = "Submitted", **said: object) -> ChainEvent:
    return ChainEvent(at, index, f"0x{at.hash}{index}", name, {"round": 1, **said})


def fill(store: Store, numbers: range, branch: str = "a") -> None:
    for number in numbers:
        at = block(number, branch)
        one = told(at, 0, node=number, iteration=1)
        store.add([at], [one], {one.transaction: Spent(100, 10**30, 1)})


def test_restart_losesNothing(store: Store) -> None:
    fill(store, range(5))
    again = Store(store.path)
    assert again.events(1) == store.events(1)
    assert len(again.events(1)) == 5
    assert [spent for _, spent in again.spent(1)] == [Spent(100, 10**30, 1)] * 5  # wei beyond 64 bits, exactly
    assert list(again.blocks()) == [block(number) for number in reversed(range(5))]


def test_takeBack_removesEventsAndCostsAbove(store: Store) -> None:
    fill(store, range(10))
    assert store.take_back(3, at=77) == 6
    assert [event.arguments["node"] for event in store.events(1)] == [0, 1, 2, 3]
    assert len(store.spent(1)) == 4
    last = store.newest_taken_back()
    assert last is not None
    assert (last.at, last.block, last.events) == (77, 3, 6)
    fill(store, range(4, 6), branch="b")
    assert [one.hash for one in store.blocks()][:2] == ["0xb5", "0xb4"]


def test_add_twice_isOnce(store: Store) -> None:
    fill(store, range(5))
    before = store.events(1)
    fill(store, range(5))
    assert store.events(1) == before


def test_blocksWithoutEvents_areForgotten(store: Store) -> None:
    fill(store, range(2))
    for number in range(2, 10 * KEPT_BLOCKS):
        store.add([block(number)], [], {})
    kept = [one.number for one in store.blocks()]
    assert kept[-2:] == [1, 0]
    assert len(kept) <= KEPT_BLOCKS + 3


def test_bytesAndLargeNumbers_areKept(store: Store) -> None:
    at = block(1)
    store.add([at], [told(at, 0, "IterationClosed", head=b"\x01\xff", sums=(2**255, 1), present=2**127)], {})
    (event,) = store.events(1)
    assert event.arguments == {"round": 1, "head": "01ff", "sums": [2**255, 1], "present": 2**127}


def test_newerVersion_isRefused(store: Store) -> None:
    assert store.path is not None
    with sqlite3.connect(store.path) as db:
        db.execute(f"PRAGMA user_version = {FORMAT + 1}")
    with pytest.raises(InputError, match=r"newer gridpact.*--history") as refused:
        Store(store.path)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("kind", ["text", "other database", "folder"])
def test_whatIsNoHistory_isRefused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "there"
    if kind == "text":
        path.write_text("no database, but longer than the header of one would be, by far and away" * 20)
    elif kind == "folder":
        path.mkdir()
    else:
        with sqlite3.connect(path) as db:
            db.execute("CREATE TABLE mine (x)")
    with pytest.raises(InputError, match=r"--history") as refused:
        Store(path)
    assert "\n" not in str(refused.value)
    if kind == "other database":
        with sqlite3.connect(path) as db:
            assert db.execute("SELECT name FROM sqlite_master").fetchall() == [("mine",)]
