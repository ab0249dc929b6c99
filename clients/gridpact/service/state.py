"""What a service keeps on its disk: only what the chain does not have, and how rounds ended.

A round's negotiation is on the chain. What a restart cannot find there is the forecast that the node declared with, so
its view is kept, and read again.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from gridpact.errors import InputError
from gridpact.files import write_atomically
from gridpact.node.household_file import read_view, write_view
from gridpact.problem.view import NodeView
from gridpact.service.keystore import FILE_MODE, FOLDER_MODE

KEPT_ROUNDS = 14
ROUND_FILE = re.compile(r"round-(\d+)\.(view|end)\.json")


@dataclass(frozen=True)
class RoundEnd:
    """How a round ended for this node."""

    round: int
    day: str  # yyyy-mm-dd
    outcome: str  # agreed, alone, abstained, missed, failed
    why: str  # empty where it agreed
    meter_wh: tuple[int, ...]  # what its meter should read, Wh fed into the grid a step; empty where nothing is planned
    gas: int = 0
    iterations: int = 0


class State:
    """A folder for one node of one deployment."""

    def __init__(self, folder: Path) -> None:
        """Raises InputError where the folder cannot be made."""
        self._folder = folder
        try:
            folder.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(
                f"the state cannot be kept in '{folder}': {error.strerror}; name another folder in [service] state"
            ) from None

    def view(self, round_: int) -> NodeView | None:
        """What the node declared with in a round; None where it did not, or the file is broken."""
        return _view(self._file(round_, "view"))

    def keep_view(self, round_: int, view: NodeView) -> None:
        write_view(view, self._file(round_, "view"), FILE_MODE)
        write_view(view, self._last, FILE_MODE)

    def last_view(self) -> NodeView | None:
        """The newest view with which there was a plan: a stand-in where there is no forecast."""
        return _view(self._last)

    def end(self, round_: int) -> RoundEnd | None:
        """How a round ended; None where it has not, for this node."""
        try:
            values = json.loads(self._file(round_, "end").read_text(encoding="utf-8"))
            return RoundEnd(**values | {"meter_wh": tuple(values["meter_wh"])})
        except (OSError, ValueError, TypeError, KeyError):
            return None

    def keep_end(self, end: RoundEnd) -> None:
        """Writes it down, and forgets what is older than the newest rounds."""
        write_atomically(self._file(end.round, "end"), json.dumps(asdict(end)) + "\n", FILE_MODE)
        for path in self._folder.iterdir():
            found = ROUND_FILE.fullmatch(path.name)
            if found and int(found[1]) <= end.round - KEPT_ROUNDS:
                path.unlink(missing_ok=True)

    @property
    def _last(self) -> Path:
        return self._folder / "last-view.json"

    def _file(self, round_: int, kind: str) -> Path:
        return self._folder / f"round-{round_}.{kind}.json"


def _view(path: Path) -> NodeView | None:
    try:
        return read_view(path)
    except InputError:
        return None
