"""Commands as a user starts them, in processes of their own, and what they leave behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

MARK = "GRIDPACT_TEST_MARK"


@dataclass
class Shell:
    """Starts commands with a mark in their environment, which all that they start inherits."""

    folder: Path
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def start(self, *arguments: str | Path) -> subprocess.Popen[str]:
        """`gridpact ...` in a session of its own, as in a terminal of its own. Ctrl-C works there, also where the tests
        run in the background of a script, which leaves all that it starts deaf to it."""
        return subprocess.Popen(
            [sys.executable, "-m", "gridpact", *map(str, arguments)],
            cwd=Path(__file__).parents[2],
            env=os.environ | {MARK: self.mark, "PYTHONUNBUFFERED": "1", "TMPDIR": str(self.folder)},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def survivors(self) -> list[psutil.Process]:
        """All processes on this machine that carry the mark."""
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get(MARK) == self.mark and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return found

    def names(self) -> list[str]:
        """Command lines of the survivors."""
        lines = []
        for process in self.survivors():
            try:
                lines.append(" ".join(process.cmdline()))
            except psutil.NoSuchProcess:
                continue
        return lines

    def is_quiet_within(self, seconds: float) -> bool:
        """Whether nothing is left, at the latest after a while: the helpers of multiprocessing end a moment later."""
        end = time.monotonic() + seconds
        while self.survivors():
            if time.monotonic() > end:
                return False
            time.sleep(0.05)
        return True


@pytest.fixture
def shell() -> Iterator[Shell]:
    with tempfile.TemporaryDirectory(prefix="gp-") as folder:  # short: sockets go there, too
        shell = Shell(Path(folder))
        yield shell
        for process in shell.survivors():  # only after a failure
            process.kill()
