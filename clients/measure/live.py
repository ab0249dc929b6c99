"""What the live page takes: time with 10,000 stored events, memory after a simulated month, bytes of its files.

    python -m measure.live [--json FILE]

Stores rounds as the contracts would tell them (`invented`), serves them with `gridpact live --history` in a process of
its own, and asks as a page does. Exit status 1 where something is above its budget.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib import resources
from pathlib import Path
from urllib.request import urlopen

from gridpact.live.store import Store
from measure.invented import Street

MOST_PAGE_KB, MOST_MEMORY_MB, MOST_SECONDS = 300.0, 150.0, 1.0
EVENTS = 10_000
DAYS, HOMES, ITERATIONS = 30, 16, 40
PARTS = {"status", "rounds", "round", "plan", "market", "day"}


@dataclass(frozen=True)
class Taken:
    """What was measured."""

    page_kb: float
    events: int  # stored, of two rounds of 127 homes
    first_s: float  # from the request of the page until all parts of the newest round are told
    month_events: int
    memory_mb: float  # of the server, after all rounds of the month were looked at

    @property
    def fits(self) -> bool:
        return self.page_kb <= MOST_PAGE_KB and self.first_s <= MOST_SECONDS and self.memory_mb <= MOST_MEMORY_MB


def main() -> int:
    parser = argparse.ArgumentParser(description="measure the live page")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there, too")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="gridpact-") as folder:
        taken = measure(Path(folder))
    print(f"page: {taken.page_kb:.0f} kB in all (budget {MOST_PAGE_KB:.0f})")
    print(f"{taken.events:,} events stored: told in {taken.first_s:.2f} s (budget {MOST_SECONDS:.0f})")
    month = f"{DAYS} days, {HOMES} homes, {taken.month_events:,} events"
    print(f"memory after {month}: {taken.memory_mb:.0f} MB (budget {MOST_MEMORY_MB:.0f})")
    if arguments.json:
        arguments.json.write_text(json.dumps(asdict(taken), indent=1) + "\n", encoding="utf-8")
    return 0 if taken.fits else 1


def measure(folder: Path) -> Taken:
    """Measures all of it."""
    large, month = folder / "large.db", folder / "month.db"
    events, month_events = stored(large, 127, 2, 39), stored(month, HOMES, DAYS, ITERATIONS)
    assert events >= EVENTS
    with served(large) as (url, _):
        begun = time.monotonic()
        with urlopen(url) as answer:
            answer.read()
        listen(url)
        first_s = time.monotonic() - begun
    with served(month) as (url, process):
        for number in range(1, DAYS + 1):
            listen(url, number)
        memory_mb = memory(process.pid)
    files = resources.files("gridpact.live") / "static"
    page_kb = sum(len(one.read_bytes()) for one in files.iterdir()) / 1000
    return Taken(page_kb, events, first_s, month_events, memory_mb)


def stored(path: Path, homes: int, days: int, iterations: int) -> int:
    """Stores days of a street. Returns the number of events."""
    store = Store(path)
    street = Street(store, homes)
    for _ in range(days):
        street.day(iterations)
    events = store.count()
    store.close()
    return events


@contextmanager
def served(path: Path) -> Iterator[tuple[str, subprocess.Popen[str]]]:
    """A server of a history: its address, and its process."""
    command = [sys.executable, "-m", "gridpact", "live", "--history", str(path), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        address = re.search(r"http://\S+", process.stdout.readline())
        assert address is not None
        yield address[0], process
    finally:
        process.terminate()
        process.wait()


def listen(url: str, number: int | None = None) -> None:
    """Listens until all parts of a round are told."""
    missing = set(PARTS)
    with urlopen(f"{url}events" + ("" if number is None else f"?round={number}")) as answer:
        while missing:
            line = answer.readline().decode()
            if line.startswith("event: "):
                missing.discard(line[7:].strip())


def memory(pid: int) -> float:
    """Resident, MB."""
    resident = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    assert resident is not None
    return int(resident[1]) / 1024


if __name__ == "__main__":
    sys.exit(main())
