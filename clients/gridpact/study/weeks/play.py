"""Having the days of a study and the points of a what-if solved by workers, and keeping them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from gridpact.errors import InputError
from gridpact.study.weeks.store import Task, keep, kept
from gridpact.study.weeks.workers import ALL_CORES, Workers

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
    tasks: Sequence[Task[Result]], folder: Path, workers: Workers = ALL_CORES, tally: Tally | None = None
) -> list[Result]:
    """Has all tasks solved that the folder does not hold already, and keeps each result in it as soon as it is there.

    Args:
        workers: who solve them.
        tally: is told what is finished.

    Returns:
        All results in the order of the tasks, whichever was finished first.

    Raises:
        GridpactError: the chain or a node failed, there is nobody to solve, or workers have another program; what is
            finished stays in the folder.
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
    todo = [(task, task.fingerprint) for task in sorted(missing.values(), key=lambda task: -task.effort)]
    for name, result in workers.each(_solve, todo):
        keep(missing[name], result, folder)
        results[name] = result
        finished()
    return [results[task.name] for task in tasks]


def _solve(job: tuple[Task[Any], str]) -> tuple[str, Any]:
    """Solves a task, if this process has the program of the one that fingerprinted it."""
    task, fingerprint = job
    if task.fingerprint != fingerprint:
        raise InputError(
            "the gridpact that solves is not the one that asks: it was changed while it worked, or workers have "
            "another; give the command again when all have the same"
        )
    return task.name, task.solve()
