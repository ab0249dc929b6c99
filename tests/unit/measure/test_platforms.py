"""Platforms are measured alike: what a chain's processes take, what blocks hold, what an ended node does."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from chains import skip_without

from gridpact.errors import InputError
from measure import platforms


def test_cpu_isThatOfTheSession() -> None:
    """A process that works for a while, behind a shell: its seconds are counted, and nobody else's."""
    work = "import time\nwhile time.process_time() < 0.3: pass\nprint('done', flush=True)\ntime.sleep(60)"
    process = subprocess.Popen(
        ["/bin/sh", "-c", '"$@"; true', "sh", sys.executable, "-c", work],
        stdout=subprocess.PIPE, start_new_session=True,
    )  # fmt: skip
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        pids = platforms.in_session(process.pid)
        assert os.getpid() not in pids
        assert len(pids) == 2
        chain = platforms.Chain("http://127.0.0.1:1", lambda: pids)
        # The clock of processes has ticks of a hundredth; starting Python takes some more.
        assert 0.28 <= chain.cpu_s() < 3.0
    finally:
        os.killpg(process.pid, 9)
        process.wait()
    assert platforms.cpu_of(process.pid) == 0.0


def test_anvil_isMeasured_andLosesItsBlocksWhenEnded() -> None:
    skip_without("anvil")
    with platforms.anvil() as chain:
        sent = platforms.transfers(chain)
        assert sent["a_second"] > 1
        assert 0 < sent["median_wait_s"] <= sent["most_wait_s"]
        newest = platforms.height(chain.name)
        assert newest is not None
        blocks = platforms.blocks_since(chain.name, newest - 3)
        assert blocks["blocks"] == 3
        assert blocks["bytes"] > 3 * 500  # a block's head has that many, and a transfer some hundred
        before = chain.cpu_s()
        failed = platforms.failure(chain)
        assert failed == {"goes_on": False, "wait_s": None, "blocks_kept": False}
        assert chain.cpu_s() < before  # another process
    assert platforms.height(chain.name) is None


def test_whatIsNotHere_isNamed(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in (*platforms.ENGINES.values(), "GETH"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    started = time.perf_counter()
    for platform in (platforms.geth, platforms.consortium):
        with pytest.raises(platforms.Missing, match="here"), platform():
            pass
    assert time.perf_counter() - started < 5


def test_anUnknownPlatform_isRefused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["platforms", "--platforms", "anvil,besu"])
    with pytest.raises(InputError, match="there is no platform 'besu': choose of eth-tester, anvil"):
        platforms.main()
