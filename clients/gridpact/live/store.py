"""What the chain has told, in SQLite: a restart loses nothing, and what the chain takes back goes.

Every event hangs on its block and every block on its hash. A block that is no longer the chain's is removed, and its
events and costs with it (`ON DELETE CASCADE`). What an event says is kept as JSON by the names of its arguments; its
round, iteration and node stand in columns beside, so that thousands of events are counted without being read.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.spent import Spent
from gridpact.errors import GridpactError, InputError
from gridpact.files import parse_json, reason_of

FORMAT = 1
"""Of the file; in its `user_version`."""

KEPT_BLOCKS = 64
"""Newest blocks without events that are remembered, to go on from after a re-organisation."""

NOT_KEPT = {"Submitted": {"bids", "commitment"}, "Sealed": {"commitment"}, "Forwarded": {"copies"}}
"""What is large, and shown nowhere."""

TABLES = """
CREATE TABLE about (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE blocks (number INTEGER PRIMARY KEY, hash TEXT NOT NULL, time INTEGER NOT NULL);
CREATE TABLE events (
    block INTEGER NOT NULL REFERENCES blocks ON DELETE CASCADE,
    place INTEGER NOT NULL,
    tx TEXT NOT NULL,
    name TEXT NOT NULL,
    round INTEGER,
    iteration INTEGER,
    node INTEGER,
    said TEXT NOT NULL,
    PRIMARY KEY (block, place)
) WITHOUT ROWID;
CREATE INDEX events_by_round ON events (round, name, iteration, node);
CREATE INDEX events_by_name ON events (name);
CREATE INDEX events_by_tx ON events (tx);
CREATE TABLE costs (
    tx TEXT PRIMARY KEY,
    block INTEGER NOT NULL REFERENCES blocks ON DELETE CASCADE,
    gas INTEGER NOT NULL,
    wei TEXT NOT NULL
) WITHOUT ROWID;
CREATE INDEX costs_by_block ON costs (block);
CREATE TABLE taken_back (at INTEGER NOT NULL, block INTEGER NOT NULL, events INTEGER NOT NULL);
"""


class StoreError(GridpactError):
    """The file cannot be read or written any longer."""


@dataclass(frozen=True)
class StoredEvent:
    """An event as it is stored."""

    block: int
    place: int
    time: int  # of its block, unix
    transaction: str
    name: str
    arguments: Mapping[str, Any]  # bytes as hexadecimal digits


@dataclass(frozen=True)
class TakenBack:
    """What a re-organisation removed."""

    at: int  # unix
    block: int  # the last one that stayed
    events: int


class Store:
    """The file, for one thread; several may have it open.

    Args:
        path: None: in memory.

    Raises:
        InputError: it is no such file, of a newer version, or cannot be opened.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path
        try:
            if path is not None:
                path.parent.mkdir(parents=True, exist_ok=True)
            self._db = sqlite3.connect(path or ":memory:", isolation_level=None, timeout=10.0)
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
            self._make()
        except (sqlite3.Error, OSError) as error:
            raise InputError(
                f"The history '{path}' cannot be used ({reason_of(error)}): name another file with --history, or remove"
                " it."
            ) from None

    def _make(self) -> None:
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version > FORMAT:
            raise InputError(
                f"The history '{self.path}' was written by a newer gridpact (format {version}, this one reads"
                f" {FORMAT}): use that one, or name another file with --history."
            )
        if version == FORMAT:
            return
        if self._db.execute("SELECT 1 FROM sqlite_master LIMIT 1").fetchone():
            raise InputError(f"'{self.path}' is a database of something else: name another file with --history.")
        self._db.executescript(f"BEGIN;{TABLES}PRAGMA user_version = {FORMAT};COMMIT;")

    def close(self) -> None:
        self._db.close()

    # ------------------------------------------------------------------ about

    def about(self) -> dict[str, Any]:
        """What is known of the deployment."""
        with _told():
            return {name: parse_json(value) for name, value in self._db.execute("SELECT name, value FROM about")}

    def tell(self, about: Mapping[str, Any]) -> None:
        """Notes what is known of the deployment."""
        with _told():
            rows = [(name, json.dumps(value)) for name, value in about.items()]
            self._db.executemany("INSERT OR REPLACE INTO about VALUES (?, ?)", rows)

    # ------------------------------------------------------------------ writing

    def add(self, blocks: Iterable[ChainBlock], events: Sequence[ChainEvent], costs: Mapping[str, Spent]) -> None:
        """Adds blocks with their events and what their transactions cost; what is there already stays.

        Args:
            costs: by hash, of transactions that are in `told`.
        """
        places = {one.transaction: one.block.number for one in events}
        with _told(), self._at_once():
            self._db.executemany(
                "INSERT OR IGNORE INTO blocks VALUES (?, ?, ?)",
                {(one.number, one.hash, one.time) for one in (*blocks, *(one.block for one in events))},
            )
            self._db.executemany("INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?, ?, ?)", map(_row, events))
            self._db.executemany(
                "INSERT OR REPLACE INTO costs VALUES (?, ?, ?, ?)",
                [(tx, places[tx], spent.gas, str(spent.wei)) for tx, spent in costs.items()],
            )
            self._db.execute(
                "DELETE FROM blocks WHERE number < (SELECT MAX(number) FROM blocks) - ?"
                " AND NOT EXISTS (SELECT 1 FROM events WHERE block = number)",
                (KEPT_BLOCKS,),
            )

    def take_back(self, last: int, at: int) -> int:
        """Removes what is above a block. Returns how many events went."""
        with _told(), self._at_once():
            (events,) = self._db.execute("SELECT COUNT(*) FROM events WHERE block > ?", (last,)).fetchone()
            self._db.execute("DELETE FROM blocks WHERE number > ?", (last,))
            if events:
                self._db.execute("INSERT INTO taken_back VALUES (?, ?, ?)", (at, last, events))
        return int(events)

    @contextmanager
    def _at_once(self) -> Iterator[None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")

    # ------------------------------------------------------------------ reading

    def blocks(self) -> Iterator[ChainBlock]:
        """The blocks, newest first."""
        with _told():
            for row in self._db.execute("SELECT number, hash, time FROM blocks ORDER BY number DESC"):
                yield ChainBlock(*row)

    def costs_known(self, transactions: Iterable[str]) -> set[str]:
        """Those of the transactions whose cost is stored."""
        with _told():
            return {tx for tx in transactions if self._db.execute("SELECT 1 FROM costs WHERE tx = ?", (tx,)).fetchone()}

    def events(self, round: int | None, *names: str, but: Sequence[str] = ()) -> list[StoredEvent]:
        """Events of a round, or of none, in the chain's order.

        Args:
            names: of which kinds; all where none are given.
            but: of which not.
        """
        where = f" AND name IN ({_marks(names)})" if names else f" AND name NOT IN ({_marks(but)})"
        return self._events(f"round IS ?{where}", round, *(names or but))

    def named(self, *names: str) -> list[StoredEvent]:
        """Events of some kinds, of all rounds, in the chain's order."""
        return self._events(f"name IN ({_marks(names)})", *names)

    def _events(self, where: str, *values: object) -> list[StoredEvent]:
        with _told():
            rows = self._db.execute(
                "SELECT block, place, time, tx, name, said FROM events JOIN blocks ON number = block"
                f" WHERE {where} ORDER BY block, place",
                values,
            )
            return [StoredEvent(row[0], row[1], row[2], row[3], row[4], parse_json(row[5])) for row in rows]

    def said_by(self, round: int, *names: str) -> dict[int, tuple[int, int]]:
        """How often each node did something in a round, by any of these events, and in which iteration last."""
        with _told():
            rows = self._db.execute(
                "SELECT node, COUNT(*), MAX(iteration) FROM events WHERE round = ? AND name IN"
                f" ({_marks(names)}) GROUP BY node",
                (round, *names),
            )
            return {node: (count, last) for node, count, last in rows}

    def spent(self, round: int) -> list[tuple[frozenset[str], Spent]]:
        """What each transaction of a round cost, with the names of the events that it left."""
        with _told():
            rows = self._db.execute(
                "SELECT GROUP_CONCAT(DISTINCT name), gas, wei FROM costs JOIN events USING (tx) WHERE round = ?"
                " GROUP BY tx",
                (round,),
            )
            return [(frozenset(names.split(",")), Spent(gas, int(wei), 1)) for names, gas, wei in rows]

    def newest_taken_back(self) -> TakenBack | None:
        """The last re-organisation that removed events."""
        with _told():
            row = self._db.execute("SELECT at, block, events FROM taken_back ORDER BY rowid DESC LIMIT 1").fetchone()
        return None if row is None else TakenBack(*row)

    def count(self) -> int:
        """How many events there are."""
        with _told():
            return int(self._db.execute("SELECT COUNT(*) FROM events").fetchone()[0])


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" * len(values))


@contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except sqlite3.Error as error:
        raise StoreError(f"The history cannot be read or written ({error}): look at its disk.") from error


def _row(event: ChainEvent) -> tuple[object, ...]:
    arguments = {name: value for name, value in event.arguments.items() if name not in NOT_KEPT.get(event.name, ())}
    columns = (event.arguments.get("round"), event.arguments.get("iteration"), event.arguments.get("node"))
    return event.block.number, event.index, event.transaction, event.name, *columns, json.dumps(arguments, default=_hex)


def _hex(value: object) -> str:
    if isinstance(value, bytes | bytearray):
        return bytes(value).hex()
    raise TypeError(f"an event says a {type(value).__name__}")
