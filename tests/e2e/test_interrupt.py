"""Ctrl-C at any moment from the start on: a sentence, and no traceback."""

from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest
from waiting import SECONDS

COMMANDS = (
    ("run", "--case", "tiny3", "--chain", "eth-tester"),
    ("cases",),
    ("study", "--case", "tiny3", "--scenarios", "b,t", "--out", "{folder}"),
)

BEGUN = "import sys; print(flush=True); from gridpact.__main__ import main; sys.exit(main())"
"""The command, told when Python itself has started: before that no program can catch the signal."""


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
@pytest.mark.parametrize("seconds", [0.15, 0.3, 0.5, 0.8, 1.1, 1.5])
def test_interrupt_leavesNoTraceback(
    command: tuple[str, ...], seconds: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = str(tmp_path_factory.mktemp("out"))
    words = [word.format(folder=folder) for word in command]
    process = subprocess.Popen(
        [sys.executable, "-c", BEGUN, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    assert process.stdout is not None
    process.stdout.readline()
    time.sleep(seconds)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=SECONDS)
    assert "Traceback" not in err
    assert process.returncode in (0, 130), err  # it may have ended before
    assert process.returncode == 0 or "gridpact: stopped" in err
