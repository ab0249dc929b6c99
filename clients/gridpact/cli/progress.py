"""What a long command shows while it works, on standard error."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from tqdm import tqdm


class Progress:
    """Stages as lines and iterations as a bar, on standard error."""

    def __init__(self) -> None:
        self._bar: tqdm[None] | None = None

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_bar()

    def stage(self, text: str) -> None:
        self._end_bar()
        print(f"{text} ...", file=sys.stderr, flush=True)

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        if self._bar is None:
            self._bar = tqdm(
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
