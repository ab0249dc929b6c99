"""Days of a year in B, T and TG by another commit of this repository and by this one, in turn: `make against`.

    python -m measure.against --commit 55a4732 --every 13 --json reports/against.json

Both are processes of one interpreter with one set of packages and one thread each, which get tasks in turn: first all
days in TG, then in T, then in B, the order in which `gridpact study --year --jobs 1` solves them. What counts is the
processor's seconds of a task, so what else the machine does counts for little, and for both alike. The first day in
each scenario builds what the others only fill in; it is solved, and not counted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from gridpact.files import write_atomically

ROOT = Path(__file__).resolve().parents[2]
FIRST_VERSION = "55a4732"
CASE = "fontana16year"
SCENARIOS = ("tg", "t", "b")
AS_WORKER = "--as-worker"  # how this program starts itself
ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def work() -> None:
    """Solves the tasks that it reads, `DAY SCENARIO` a line, with the gridpact that it finds.

    Two names within `study.weeks.plan` were others in the first version.
    """
    from gridpact.community.read import read_community
    from gridpact.study.weeks import plan

    settings = getattr(plan, "StudySettings", None) or getattr(plan, "Settings")  # noqa: B009
    scenarios = {scenario.value: scenario for scenario in getattr(plan, "REPORT", None) or getattr(plan, "ORDER")}  # noqa: B009
    community = read_community(CASE)
    print(json.dumps(community.days), flush=True)
    for line in sys.stdin:
        day, scenario = line.split()
        (order,) = plan.orders(community, [day], settings(scenarios=(scenarios[scenario],)))
        began = time.process_time()
        outcome = order.solve()
        seconds = time.process_time() - began
        cost = sum(home.cost for home in outcome.households)  # 0 where there is no plan
        print(json.dumps({"seconds": seconds, "cost": cost}), flush=True)


class Contender:
    """A process that solves with the package in a folder."""

    def __init__(self, clients: Path) -> None:
        environment = {**os.environ, **ONE_THREAD, "PYTHONPATH": str(clients)}
        command = [sys.executable, str(Path(__file__).resolve()), AS_WORKER]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment, text=True
        )
        self.days: list[str] = self._answer()

    def solve(self, day: str, scenario: str) -> dict[str, Any]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{day} {scenario}\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = self._answer()
        return answer

    def end(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"a version ended with status {self._process.wait()}; what it said stands above")
        return json.loads(line)


@contextmanager
def versions(commit: str) -> Iterator[tuple[Contender, Contender]]:
    """That of a commit, and this one."""
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", commit, "clients"], cwd=ROOT, capture_output=True, check=True)
        subprocess.run(["tar", "x", "-C", folder], input=archive.stdout, check=True)
        both = Contender(Path(folder) / "clients"), Contender(ROOT / "clients")
        try:
            yield both
        finally:
            for version in both:
                version.end()


def measured(commit: str, every: int) -> dict[str, Any]:
    """Solves every so manyth day by both.

    Returns:
        What is compared; `cpu_s` of each scenario is of the commit and of this version, over all days but the first.
    """
    with versions(commit) as (then, now):
        days = now.days[::every]
        cpu_s, differences = {}, []
        for scenario in SCENARIOS:
            seconds = [0.0, 0.0]
            for number, day in enumerate(days):
                pair = (then, now) if number % 2 else (now, then)  # neither is always the one that begins
                first, second = (version.solve(day, scenario) for version in pair)
                old, new = (first, second) if number % 2 else (second, first)
                if number:
                    seconds = [seconds[0] + old["seconds"], seconds[1] + new["seconds"]]
                if old["cost"] and new["cost"]:
                    differences.append(abs(new["cost"] / old["cost"] - 1))
                print(f"{scenario} {day}: {old['seconds']:.2f} s, {new['seconds']:.2f} s", file=sys.stderr, flush=True)
            cpu_s[scenario] = seconds
    whole = [sum(seconds[at] for seconds in cpu_s.values()) for at in range(2)]
    return {
        "commit": commit,
        "case": CASE,
        "days": len(days) - 1,
        "of": len(now.days),
        "cpu_s": cpu_s,
        "ratio": {scenario: new / old for scenario, (old, new) in cpu_s.items()} | {"all": whole[1] / whole[0]},
        "costs_differ_by": max(differences),
    }


def main(arguments: Sequence[str]) -> int:
    if list(arguments) == [AS_WORKER]:
        work()
        return 0
    parser = argparse.ArgumentParser(prog="python -m measure.against", description=__doc__)
    parser.add_argument("--commit", default=FIRST_VERSION)
    parser.add_argument("--every", type=int, default=13, metavar="N", help="every Nth day of the year; 1: all")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args(arguments)
    result = measured(options.commit, options.every)
    text = json.dumps(result, indent=1) + "\n"
    print(text, end="")
    if options.json:
        write_atomically(options.json, text)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
