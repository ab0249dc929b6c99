"""Solving the days of a study and the points of a what-if, in processes over the cores, and keeping them."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gridpact.errors import InputError
from gridpact.run.starting import undisturbed
from gridpact.study.weeks.store import Task, keep, kept

Result = TypeVar("Result")


@dataclass
class Tally:
    """What is finished of the tasks of a command, which may `play` some after others."""

    on_change: Callable[[Tally], None] = lambda _: None
    of: int = 0  # tasks; as many as are known of, or as the command says before
    done: int = 0
    taken_over: int = 0  # of those that are done: from an earlier run
    solved: set[str] = field(default_factory=set)  # names of those that are not

    def tell(self, done: int) -> None:
        self.done = done
        self.on_change(self)


def play(
    tasks: Sequence[Task[Result]], folder: Path, jobs: int | None = None, tally: Tally | None = None
) -> list[Result]:
    """Solves all tasks that the folder does not hold already, and keeps each result in it as soon as it is finished.

    Args:
        jobs: processes at a time; by default as many as there are cores. With 1 all is done in this process.
        tally: is told what is finished.

    Returns:
        All results in the order of the tasks, whichever was finished first.

    Raises:
        GridpactError: the chain or a node failed, or the program is another than at the start; what is finished stays
            in the folder.
    """
    results: dict[str, Result] = {}
    missing: dict[str, Task[Result]] = {}
    for task in tasks:
        if task.name in results or task.name in missing:
            continue
        result = kept(task, folder)
        if result is None:
            missing[task.name] = task
        else:
            results[task.name] = result

    tally = tally or Tally()
    before = tally.done
    tally.of = max(tally.of, before + len(tasks))
    tally.taken_over += sum(task.name in results and task.name not in tally.solved for task in tasks)
    tally.solved |= missing.keys()

    def finished() -> None:
        tally.tell(before + sum(task.name in results for task in tasks))

    finished()
    todo = [(task, task.fingerprint, folder) for task in sorted(missing.values(), key=lambda task: -task.effort)]
    if jobs == 1 or len(todo) <= 1:
        for job in todo:
            results[job[0].name] = _solve_and_keep(job)[1]
            finished()
    else:
        processes = min(jobs or os.cpu_count() or 1, len(todo))
        with undisturbed():
            started = multiprocessing.get_context("spawn").Pool(processes, _leave_stopping_to_us)
        with started as pool:
            for name, result in pool.imap_unordered(_solve_and_keep, todo):
                results[name] = result
                finished()
    return [results[task.name] for task in tasks]


def _leave_stopping_to_us() -> None:
    """A worker is ended by the process that started it, not by the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _solve_and_keep(job: tuple[Task[Any], str, Path]) -> tuple[str, Any]:
    """Solves a task, if this process has the program of the one that fingerprinted it."""
    task, fingerprint, folder = job
    if task.fingerprint != fingerprint:
        raise InputError("gridpact was changed while it worked: give the command again")
    result = task.solve()
    keep(task, result, folder)
    return task.name, result
