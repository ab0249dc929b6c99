"""What a long command shows while it works, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

if TYPE_CHECKING:
    from gridpact.study.weeks.play import Tally


class _Bar(tqdm):  # type: ignore[misc]  # has no types
    """A bar that only its maker closes: tqdm's finalizer fails, aloud, on a bar that an interrupt left half made."""

    def __del__(self) -> None:
        pass


@contextmanager
def bar(what: str, unit: str) -> Iterator[Tally]:
    """A bar of what is solved, to be played with."""
    from gridpact.study.weeks.play import Tally  # imports CVXPY, which takes a second

    with _Bar(desc=what, unit=unit, file=sys.stderr, smoothing=0.1) as shown:

        def told(tally: Tally) -> None:
            shown.total = tally.of
            shown.update(tally.done - shown.n)

        yield Tally(told)


def tell_taken_over(tally: Tally, unit: str, folder: Path) -> None:
    """Says what an earlier run had finished already, if there is any."""
    if tally.taken_over:
        of = f"{tally.of:,} {unit if tally.of == 1 else f'{unit}s'}"
        print(f"{tally.taken_over:,} of {of} taken over from {folder}", file=sys.stderr)


class Progress:
    """Stages as lines and iterations as a bar, on standard error."""

    def __init__(self) -> None:
        self._bar: _Bar | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def stage(self, text: str) -> None:
        self._end_bar()
        print(f"{text} ...", file=sys.stderr, flush=True)

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        if self._bar is None:
            self._bar = _Bar(
                desc="Negotiating",
                unit=" iterations",
                bar_format="{desc}: {n} iterations, {elapsed}{postfix}",
            )
        primal_grid, _, primal_trade, _ = rms_w
        self._bar.set_postfix_str(f"still apart: grid {primal_grid:.1f} W, trades {primal_trade:.1f} W", refresh=False)
        self._bar.update(number - self._bar.n)

    def _end_bar(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None
