"""What a service keeps on its disk: only what the chain does not have, and how rounds ended.

A round's negotiation is on the chain. What a restart cannot find there is the forecast that the node declared with, so
its view is kept, and read again.
"""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from gridpact.errors import InputError
from gridpact.files import parse_json, write_atomically
from gridpact.node.household_file import read_view, write_view
from gridpact.problem.view import NodeView
from gridpact.service.identity import Identity
from gridpact.service.keystore import FILE_MODE, FOLDER_MODE
from gridpact.service.round_end import RoundEnd

log = logging.getLogger(__name__)

KEPT_ROUNDS = 400
"""Of the newest: a day may be agreed anew before each of its steps."""

ROUND_FILE = re.compile(r"round-(\d+)\.(view|end)\.json")


class State:
    """A folder for one node of one deployment.

    What cannot be written, on a full disk, is remembered for as long as the process runs: the round goes on.
    """

    def __init__(self, folder: Path) -> None:
        """Raises InputError where the folder cannot be made."""
        self._folder = folder
        self._unwritten: dict[Path, NodeView | RoundEnd | None] = {}
        try:
            folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the state cannot be kept in '{folder}': {error.strerror}; name another folder in [service] state"
            ) from None

    def view(self, round_: int) -> NodeView | None:
        """What the node declared with in a round; None where it did not, or the file is broken."""
        return self._view(self._file(round_, "view"))

    def keep_view(self, round_: int, view: NodeView) -> None:
        for path in (self._file(round_, "view"), self._last):
            with self._kept(path, view):
                write_view(view, path, FILE_MODE)

    def last_view(self) -> NodeView | None:
        """The newest view with which there was a plan: a stand-in where there is no forecast."""
        return self._view(self._last)

    def _view(self, path: Path) -> NodeView | None:
        if path in self._unwritten:
            unwritten = self._unwritten[path]
            return unwritten if isinstance(unwritten, NodeView) else None
        try:
            return read_view(path)
        except InputError:
            return None

    def end(self, round_: int) -> RoundEnd | None:
        """How a round ended; None where it has not, for this node."""
        path = self._file(round_, "end")
        unwritten = self._unwritten.get(path)
        return unwritten if isinstance(unwritten, RoundEnd) else _end(path)

    def keep_end(self, end: RoundEnd) -> None:
        """Writes it down, and forgets what is older than the newest rounds."""
        path = self._file(end.round, "end")
        with self._kept(path, end):
            write_atomically(path, json.dumps(asdict(end)) + "\n", FILE_MODE)
            for old in self._folder.iterdir():
                match = ROUND_FILE.fullmatch(old.name)
                if match and int(match[1]) <= end.round - KEPT_ROUNDS:
                    old.unlink(missing_ok=True)

    def agreed_in(self, day: str, but: int) -> int | None:
        """The newest round other than `but` that was agreed for a day."""
        ends = [*self._unwritten.values(), *map(_end, self._folder.glob("round-*.end.json"))]
        return _newest(end for end in ends if isinstance(end, RoundEnd) and end.round != but and end.day == day)

    def agreed_elsewhere(self, day: str) -> int | None:
        """The newest round that was agreed for a day on a chain that was replaced."""
        ends = map(_end, self._folder.glob("*/round-*.end.json"))
        return _newest(end for end in ends if end is not None and end.day == day)

    # ------------------------------------------------------------------ the chain

    def identity(self) -> Identity | None:
        """The chain that the rounds are of; None where none was met yet."""
        try:
            return Identity(**parse_json(self._chain.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return None

    def keep_identity(self, identity: Identity) -> None:
        with self._kept(self._chain, None):
            write_atomically(self._chain, json.dumps(asdict(identity)) + "\n", FILE_MODE)

    def set_aside(self) -> Path:
        """Moves the rounds of a chain that was replaced into a folder of their own, which is returned."""
        number = 1 + sum(path.is_dir() for path in self._folder.iterdir())
        aside = self._folder / f"before-{number}"
        aside.mkdir(FOLDER_MODE)
        for path in list(self._folder.iterdir()):
            if ROUND_FILE.fullmatch(path.name) or path == self._chain:
                path.rename(aside / path.name)
        self._unwritten.clear()
        return aside

    @contextmanager
    def _kept(self, path: Path, what: NodeView | RoundEnd | None) -> Iterator[None]:
        """While a file is written, which may fail."""
        try:
            yield
        except OSError as error:
            self._unwritten[path] = what
            log.error(
                "the state cannot be kept in '%s' (%s): make room; a restart now forgets it", path, error.strerror
            )
        else:
            self._unwritten.pop(path, None)

    @property
    def _chain(self) -> Path:
        return self._folder / "chain.json"

    @property
    def _last(self) -> Path:
        return self._folder / "last-view.json"

    def _file(self, round_: int, kind: str) -> Path:
        return self._folder / f"round-{round_}.{kind}.json"


def _newest(ends: Iterable[RoundEnd]) -> int | None:
    return max((end.round for end in ends if end.outcome == "agreed" and not end.first), default=None)


def _end(path: Path) -> RoundEnd | None:
    try:
        values = parse_json(path.read_text(encoding="utf-8"))
        return RoundEnd(**values | {"meter_wh": tuple(values["meter_wh"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
