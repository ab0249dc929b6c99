"""Studies, what-ifs and markets on a Dask cluster of two workers, of which one dies."""

from __future__ import annotations

import gc
import json
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import Client, LocalCluster

from gridpact.cli import main
from gridpact.community.read import read_community
from gridpact.errors import InputError
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.plan import StudySettings, orders, traces
from gridpact.study.weeks.play import play
from gridpact.study.weeks.store import FOLDER, to_fields
from gridpact.study.weeks.workers import HERE, Cluster


@pytest.fixture(scope="module")
def scheduler() -> Iterator[str]:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        LocalCluster(n_workers=2, threads_per_worker=1, host="127.0.0.1", dashboard_address="127.0.0.1:0") as cluster,
    ):
        yield cluster.scheduler_address


@dataclass(frozen=True)
class Ending:
    """A task that ends the worker that begins it; the first of them only, if it leaves a sign."""

    name: str
    sign: Path | None = None
    effort: int = 1
    fingerprint: str = "one"

    def solve(self) -> str:
        if self.sign is None or not self.sign.exists():
            if self.sign is not None:
                self.sign.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return self.name

    def read(self, fields: Any) -> str:
        return str(fields)


@dataclass(frozen=True)
class Plain:
    """A task that says its name."""

    name: str
    effort: int = 1
    fingerprint: str = "one"

    def solve(self) -> str:
        return self.name

    def read(self, fields: Any) -> str:
        return str(fields)


def test_what_a_worker_had_begun_when_it_died_is_begun_again(scheduler: str, tmp_path: Path) -> None:
    tasks = [Ending("dies", tmp_path / "sign"), *(Plain(str(n)) for n in range(8))]
    assert play(tasks, tmp_path, Cluster(scheduler)) == [task.name for task in tasks]
    assert (tmp_path / "sign").exists()


def test_a_task_that_ends_every_worker_is_named_and_ends_no_other(scheduler: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="a task ended every worker that began it"):
        play([Ending("deadly")], tmp_path, Cluster(scheduler))
    assert play([Plain("after")], tmp_path, Cluster(scheduler)) == ["after"]


def test_days_come_out_as_they_do_here(scheduler: str, tmp_path: Path) -> None:
    """To the last digit, and all of them kept in this machine's folder."""
    community = read_community("tiny3")
    planned = orders(community, community.days, StudySettings((Scenario.B, Scenario.T)))
    tasks: list[Any] = [*planned, *traces(planned, community.days)]
    here, there = tmp_path / "here", tmp_path / "there"
    assert to_fields(play(tasks, there, Cluster(scheduler))) == to_fields(play(tasks, here, HERE))
    assert sorted(path.name for path in (there / FOLDER).iterdir()) == sorted(f"{task.name}.json" for task in tasks)


@pytest.mark.parametrize(
    "command", [["markets", "--mechanisms", "mid-market-rate"], ["penetration", "--shares", "50", "--devices", "pv"]]
)
def test_markets_and_what_ifs_take_the_same_option(
    scheduler: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: list[str]
) -> None:
    told = ["--case", "tiny3", "--cluster", scheduler, "--out", str(tmp_path / "out"), "--json"]
    assert main([*command, *told]) == 0
    assert json.loads(capsys.readouterr().out)


def test_what_cannot_be_is_said_in_one_sentence(tmp_path: Path) -> None:
    task = [Plain("one")]
    with pytest.raises(InputError, match=r"no Dask scheduler answers at --cluster 127\.0\.0\.1:1"):
        play(task, tmp_path, Cluster("127.0.0.1:1", wait_s=0.5))
    with pytest.raises(InputError, match="no Dask scheduler answers at --cluster nowhere at all"):
        play(task, tmp_path, Cluster("nowhere at all", wait_s=0.5))
    assert not [client for client in gc.get_objects() if type(client) is Client and client.status != "closed"]
    with (
        LocalCluster(n_workers=0, host="127.0.0.1", dashboard_address="127.0.0.1:0") as empty,
        pytest.raises(InputError, match="has no workers; `dask worker"),
    ):
        play(task, tmp_path, Cluster(empty.scheduler_address, wait_s=0.5))
    assert play(task, tmp_path, HERE) == ["one"]
