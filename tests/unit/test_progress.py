"""What a command shows while it works, when it is interrupted."""

from __future__ import annotations

import gc
import io
import sys
from collections.abc import Callable

import pytest

from gridpact.cli.progress import ProgressBar, bar
from gridpact.events import IterationClosed


class Interrupting(io.StringIO):
    """A stream on which the first text is followed by an interrupt, as where a user stops what begins to show."""

    interrupted = False

    def isatty(self) -> bool:
        return True

    def flush(self) -> None:
        if self.getvalue() and not self.interrupted:
            self.interrupted = True
            raise KeyboardInterrupt


def negotiate() -> None:
    with ProgressBar() as progress:
        progress.hear(IterationClosed(1, 1, (1.0, 1.0, 1.0, 1.0)))


def solve_days() -> None:
    with bar("Solving", " days"):
        pass


@pytest.mark.parametrize("show", [negotiate, solve_days])
def test_interruptedWhileBarIsMade_noTraceback(show: Callable[[], None], monkeypatch: pytest.MonkeyPatch) -> None:
    unraisable: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", unraisable.append)
    monkeypatch.setattr(sys, "stderr", Interrupting())
    with pytest.raises(KeyboardInterrupt) as caught:
        show()
    del caught  # its traceback holds the bar
    gc.collect()
    assert not unraisable
