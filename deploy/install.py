"""Installs what the Makefile asks for into this folder, and shows from the first second how far it is.

    python3 deploy/install.py run      .venv with what a run needs
    python3 deploy/install.py dev      and the tools of the tests and the site besides
    python3 deploy/install.py anvil    node_modules with the chain of `make demo`
    python3 deploy/install.py node     and the compiler, OpenZeppelin and Ganache besides

Needs nothing but Python's own library. How far it is, is what lies on the disk of what will lie there.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BUILD = ROOT / "build"
VENV = ROOT / ".venv"
MODULES = ROOT / "node_modules"
PIP = (str(VENV / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--no-compile")
MB = 1_000_000

TTY_SECONDS, LOG_SECONDS = 0.5, 10.0
"""How often to say how far it is: on a terminal, and in a file."""
TOO_EARLY = 0.1
"""Before this share is done, its pace says nothing yet of the whole."""


@dataclass(frozen=True)
class Step:
    """One thing to install.

    Sizes and time are as on Linux with Python 3.11 and packages at hand; elsewhere they are near enough for a bar.
    """

    words: str
    commands: Sequence[Sequence[str]]
    folder: Path  # that grows
    disk_mb: int  # by so much
    passing_mb: int  # packed, while it is unpacked
    seconds: int  # some


STEPS = {
    "run": Step(
        "Python packages that a run needs",
        (
            (sys.executable, "-m", "venv", str(VENV)),
            (*PIP[:-2], "uninstall", "-y", "setuptools"),  # older Pythons bring one, which nothing here uses
            (*PIP, "-c", "requirements.lock", "-e", ".[fast,report,opendss]"),
        ),
        *(VENV, 450, 130, 40),
    ),
    "dev": Step(
        "Python packages of the tests and the site",
        ((*PIP, "-r", "requirements.txt"),),
        *(VENV, 190, 60, 35),
    ),
    "anvil": Step("the chain Anvil", (("npm", "ci", "--omit=dev"),), *(MODULES, 43, 0, 3)),
    "node": Step("the compiler, the test chains, the diagrams", (("npm", "ci"),), *(MODULES, 240, 0, 10)),
}


def size(folder: Path) -> int:
    """What lies in a folder and below, bytes. What vanishes meanwhile counts nothing."""
    total = 0
    for path, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(path, name)).st_size
            except OSError:
                continue
    return total


def how_far(done: float, elapsed: float, step: Step) -> str:
    """Megabytes of the whole, and the time that is left."""
    share = min(done / (step.disk_mb + step.passing_mb), 1.0)
    whole = elapsed / share if share > TOO_EARLY else max(step.seconds, elapsed)
    left = max(whole - elapsed, 0)
    bar = "█" * round(24 * share)
    return f"  {bar:·<24} {share * step.disk_mb:4.0f} of {step.disk_mb} MB, {left:3.0f} s left"


class Bar:
    """One line that is written again on a terminal; a line now and then elsewhere."""

    def __init__(self, step: Step, passing: Path) -> None:
        self._step, self._passing = step, passing
        self._before = size(step.folder)
        self._started = self._shown = time.monotonic()
        self._done = 0.0  # MB; what pip has unpacked and thrown away counts on
        self._tty = sys.stdout.isatty()

    def tell(self, last: bool = False) -> None:
        now = time.monotonic()
        if not last and now - self._shown < (TTY_SECONDS if self._tty else LOG_SECONDS):
            return
        self._shown = now
        elapsed = now - self._started
        if last:
            text = f"  {size(self._step.folder) / MB:.0f} MB in {elapsed:.0f} s"
        else:
            self._done = max(self._done, (size(self._step.folder) - self._before + size(self._passing)) / MB)
            text = how_far(self._done, elapsed, self._step)
        print(f"\r\033[K{text}" if self._tty else text, end="\n" if last or not self._tty else "", flush=True)


def install(step: Step, log: Path) -> int:
    """Carries a step out and returns 0, or what a command of it returned, whose last words are then shown."""
    with tempfile.TemporaryDirectory(prefix="install-", dir=BUILD) as passing, log.open("w+", encoding="utf-8") as out:
        environment = os.environ | {"TMPDIR": passing, "PIP_CONSTRAINT": "requirements.lock"}
        bar = Bar(step, Path(passing))
        for command in step.commands:
            with subprocess.Popen(command, cwd=ROOT, env=environment, stdout=out, stderr=subprocess.STDOUT) as process:
                while process.poll() is None:
                    bar.tell()
                    time.sleep(0.1)
            if process.returncode:
                out.seek(0)
                print("\n", *out.readlines()[-15:], sep="", file=sys.stderr)
                print(f"`{' '.join(command)}` failed; all it said is in {log.relative_to(ROOT)}.", file=sys.stderr)
                return process.returncode
        bar.tell(last=True)
    return 0


def main(names: Sequence[str]) -> int:
    if len(names) != 1 or names[0] not in STEPS:
        print(__doc__, file=sys.stderr)
        return 2
    step = STEPS[names[0]]
    BUILD.mkdir(exist_ok=True)
    print(f"Installing {step.words}: {step.disk_mb} MB, some {step.seconds} s", flush=True)
    try:
        return install(step, BUILD / f"install-{names[0]}.log")
    except KeyboardInterrupt:
        print("\ngridpact: stopped; the next `make` goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
