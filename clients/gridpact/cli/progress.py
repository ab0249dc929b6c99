"""What a long command shows while it works, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from gridpact.events import Event, IterationClosed, Stage
from gridpact.text import count

if TYPE_CHECKING:
    from gridpact.study.weeks.play import Tally


class _Bar(tqdm):  # type: ignore[misc]  # has no types
    """A bar on a terminal, a line at the end elsewhere: a file keeps every character that a bar takes back.

    Only its maker closes it: tqdm's finalizer fails, aloud, on a bar that an interrupt left half made.
    """

    def __init__(self, **settings: Any) -> None:
        self._what, self._unit, self._done = settings["desc"], settings["unit"].strip(), 0
        self._silent = not sys.stderr.isatty()
        super().__init__(file=sys.stderr, disable=self._silent, **settings)

    def come_to(self, done: int, total: int | None = None) -> None:
        """How much is done, of how much."""
        if not self._silent:
            self.total = total
            self.update(done - self.n)
        self._done = done

    def close(self) -> None:
        super().close()
        if self._silent and self._done:
            print(f"{self._what}: {count(self._done, self._unit)}", file=sys.stderr, flush=True)
            self._done = 0

    def __del__(self) -> None:
        pass


@contextmanager
def counted(what: str, unit: str) -> Iterator[Callable[[int, int], None]]:
    """A bar of what is done, to be told how much, of how much."""
    with _Bar(desc=what, unit=unit, smoothing=0.1) as shown:
        yield shown.come_to


@contextmanager
def bar(what: str, unit: str) -> Iterator[Tally]:
    """A bar of what is solved, to be played with."""
    from gridpact.study.weeks.play import Tally  # imports CVXPY, which takes a second

    with counted(what, unit) as come_to:
        yield Tally(lambda tally: come_to(tally.done, tally.of))


def tell_taken_over(tally: Tally, unit: str, folder: Path) -> None:
    """Says what an earlier run had finished already, if there is any."""
    if tally.taken_over:
        of = f"{tally.of:,} {unit if tally.of == 1 else f'{unit}s'}"
        print(f"{tally.taken_over:,} of {of} taken over from {folder}", file=sys.stderr)


class ProgressBar:
    """Stages as lines and iterations as a bar, on standard error."""

    def __init__(self) -> None:
        self._bar: _Bar | None = None

    def __enter__(self) -> ProgressBar:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def hear(self, event: Event) -> None:
        if isinstance(event, Stage):
            self._end_bar()
            print(f"{event.text} ...", file=sys.stderr, flush=True)
        elif isinstance(event, IterationClosed):
            self._show(event)

    def _show(self, closed: IterationClosed) -> None:
        if self._bar is None:
            self._bar = _Bar(
                desc="Negotiating",
                unit=" iteration",
                bar_format="{desc}: {n} iterations, {elapsed}{postfix}",
            )
        primal_grid, _, primal_trade, _ = closed.rms_w
        self._bar.set_postfix_str(f"still apart: grid {primal_grid:.1f} W, trades {primal_trade:.1f} W", refresh=False)
        self._bar.come_to(closed.iteration)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
