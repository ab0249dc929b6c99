"""Who solves the tasks of a study: processes of this machine, or the workers of a Dask cluster."""

from __future__ import annotations

import gc
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeVar

from gridpact.errors import InputError
from gridpact.run.starting import undisturbed

if TYPE_CHECKING:
    from distributed import Client

Job = TypeVar("Job")
Done = TypeVar("Done")

WAIT_S = 30
"""For a cluster to answer, and for its first worker."""


class Workers(Protocol):
    """Those who solve."""

    def each(self, solve: Callable[[Job], Done], jobs: Sequence[Job]) -> Iterator[Done]:
        """What each job comes to, as soon as it is there, in whichever order; those first in the sequence begin first.

        Raises:
            InputError: there is nobody to solve them.
            whatever `solve` raises.
        """


@dataclass(frozen=True)
class Processes:
    """Of this machine."""

    most: int | None = None
    """At a time; by default as many as there are cores. With 1 all is done in this process."""

    def __post_init__(self) -> None:
        if self.most is not None and self.most < 1:
            raise InputError(f"--jobs {self.most} must be at least 1")

    def each(self, solve: Callable[[Job], Done], jobs: Sequence[Job]) -> Iterator[Done]:
        processes = min(self.most or os.cpu_count() or 1, len(jobs))
        if processes <= 1:
            yield from map(solve, jobs)
            return
        with undisturbed():
            started = multiprocessing.get_context("spawn").Pool(processes, _leave_stopping_to_us)
        with started as pool:
            yield from pool.imap_unordered(solve, jobs)


@dataclass(frozen=True)
class Cluster:
    """The workers behind a Dask scheduler. What a worker that dies had begun is begun again by another."""

    address: str
    """Of the scheduler, tcp://HOST:PORT or HOST:PORT."""

    wait_s: float = WAIT_S

    def each(self, solve: Callable[[Job], Done], jobs: Sequence[Job]) -> Iterator[Done]:
        try:
            from distributed import KilledWorker, as_completed
        except ImportError:
            raise InputError("--cluster needs the package distributed: pip install 'gridpact[cluster]'") from None
        with self._client() as client:
            try:
                client.wait_for_workers(1, timeout=self.wait_s)
            except TimeoutError:
                raise InputError(
                    f"the Dask scheduler at {self.address} has no workers; `dask worker {self.address}` starts one, "
                    "in an environment that has the same gridpact"
                ) from None
            futures = [client.submit(solve, job, pure=False, priority=-at) for at, job in enumerate(jobs)]
            try:
                for future in as_completed(futures):  # type: ignore[no-untyped-call]
                    yield future.result()
            except KilledWorker as error:
                raise InputError(
                    f"a task ended every worker that began it, {error.last_worker.address} at last: they may lack "
                    "memory; what is finished stays, and the same command goes on from there"
                ) from None
            except ModuleNotFoundError as error:
                raise InputError(
                    f"a worker at {self.address} has no package '{error.name}': start workers in an environment that "
                    "has the same gridpact"
                ) from None

    def _client(self) -> Client:
        from distributed import Client

        try:
            return Client(self.address, timeout=self.wait_s)  # type: ignore[no-untyped-call]
        except (OSError, ValueError, TypeError) as error:
            reason = str(error)
        # What did not get through ends when memory is cleared; if that is while another begins, it waits for ever.
        gc.collect()
        raise InputError(
            f"no Dask scheduler answers at --cluster {self.address} ({reason}); `dask scheduler` starts one and says "
            "its address"
        )


ALL_CORES = Processes()

HERE = Processes(1)
"""This process."""


def _leave_stopping_to_us() -> None:
    """A worker is ended by the process that started it, not by the terminal."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
