"""Threads that take turns, on a clock of their own: rounds of nodes play in no time, and the same every time."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import TypeVar

Result = TypeVar("Result")


class Turns:
    """One thread works at a time, until it waits; when all wait, time goes on to the next moment that one waits for.

    Attributes:
        now: seconds; it stands still while anybody works.
    """

    def __init__(self) -> None:
        self.now = 0.0
        self._condition = threading.Condition()
        self._waiting: dict[int, float] = {}  # until when, by thread
        self._living = 0

    def play(self, lives: Sequence[Callable[[], Result]]) -> list[Result | Exception]:
        """Lets lives go side by side to their ends. Returns what each returned or raised."""
        ends: list[Result | Exception | None] = [None] * len(lives)

        def live(number: int) -> None:
            with self._condition:
                try:
                    ends[number] = lives[number]()
                except Exception as error:
                    ends[number] = error
                finally:
                    self._living -= 1
                    self._go_on_if_all_wait()

        threads = [threading.Thread(target=live, args=(number,), daemon=True) for number in range(len(lives))]
        self._living = len(threads)
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return [end for end in ends if end is not None]

    def wait(self, until: float) -> None:
        """Lets others work until something has happened, or until a moment has come."""
        me = threading.get_ident()
        self._waiting[me] = until
        self._go_on_if_all_wait()
        while me in self._waiting:
            self._condition.wait()

    def sleep(self, seconds: float) -> None:
        """Lets others work for some time, whatever happens."""
        end = self.now + seconds
        while self.now < end:
            self.wait(end)

    def happened(self) -> None:
        """Wakes all who wait."""
        self._waiting.clear()
        self._condition.notify_all()

    def _go_on_if_all_wait(self) -> None:
        if self._waiting and len(self._waiting) >= self._living:
            self.now = max(self.now, min(self._waiting.values()))
            self.happened()
