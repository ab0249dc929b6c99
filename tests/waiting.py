"""Waiting for what another thread, process or chain does."""

from __future__ import annotations

import time
from collections.abc import Callable

SECONDS = 120.0
"""More than a busy machine needs for anything that is waited for."""


def until(holds: Callable[[], bool], otherwise: str = "what is waited for does not come") -> None:
    give_up = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < give_up, otherwise
        time.sleep(0.02)
