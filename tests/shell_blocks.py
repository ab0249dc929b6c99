"""Blocks of shell commands in the Markdown of the repository, and how each of them is tried.

A page is one session: its blocks run one after the other in one folder, and each begins with what the one before has
exported. A comment above a block says where it is otherwise:

    <!-- not run: WHY -->                     it needs what a machine of tests has not
    <!-- run by make commands: WHY -->        it takes too long for `make test`
    <!-- until "TEXT": WHY -->                what goes on gets Ctrl-C when it has said TEXT (a pattern)

A block without one is run by `make test`; `make commands` runs those of the last three kinds.
"""

from __future__ import annotations

import os
import pty
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FENCE = re.compile(r"^ *(`{3,})(?P<language>\S*)\n(?P<code>.*?)^ *\1 *$", re.MULTILINE | re.DOTALL)
COMMAND = re.compile(r"(?m)^(?:\S*/)?(?P<command>(?:gridpact|make) .*)")
GENERAL = re.compile(r"\[| \| | \.\.\.|(?<!\$)\b[A-Z]+\b(?!=)")
"""A line that says what can be given, with FILE for a file and | between what excludes each other."""
LANGUAGES = {"sh", "text", "python", "toml", "json", "csv", "mermaid", "math"}
"""Of fenced blocks; what is indented is shell."""
MARK = re.compile(r'<!-- (?P<words>not run|run by make commands|until "(?P<text>[^"]+)"): (?P<why>\S.*?) -->')


class Tried(Enum):
    """How a block is tried."""

    NOW = "by make test"
    LATER = "by make commands"
    NEVER = "not"


@dataclass(frozen=True)
class Block:
    """Commands of a page, as they stand there."""

    page: str
    line: int
    code: str
    tried: Tried
    said: str = ""
    """What its commands have said (a pattern) when they get Ctrl-C, where they go on until then."""

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def pages() -> list[str]:
    """All Markdown files that belong to the repository."""
    listed = subprocess.run(["git", "ls-files", "*.md"], cwd=ROOT, capture_output=True, text=True, check=True)
    return listed.stdout.split()


def blocks(page: str) -> list[Block]:
    """Of a page, in order: fenced ones in sh, and indented ones."""
    return list(_blocks(page, (ROOT / page).read_text(encoding="utf-8")))


def _blocks(page: str, text: str) -> Iterator[Block]:
    lines = FENCE.sub(lambda match: "\n" * match.group().count("\n"), text).splitlines()
    found = {
        text.count("\n", 0, match.start()): match["code"] for match in FENCE.finditer(text) if match["language"] == "sh"
    }
    found |= dict(_indented(lines))
    above = text.splitlines()
    for start in sorted(found):
        before = next((line for line in reversed(above[:start]) if line.strip()), "")
        mark = MARK.fullmatch(before.strip())
        words = mark["words"] if mark else ""
        tried = Tried.NEVER if words == "not run" else Tried.LATER if words else Tried.NOW
        yield Block(page, start + 1, _flush(found[start]), tried, (mark["text"] or "") if mark else "")


def _indented(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Where a block begins that is indented by four or more, and not what goes on a point of a list, and its text."""
    start = 0
    while start < len(lines):
        end = start
        if lines[start].startswith("    ") and not (start and lines[start - 1].strip()):
            while end < len(lines) and (lines[end].startswith("    ") or not lines[end].strip()):
                end += 1
            yield start, "\n".join(lines[start:end])
        start = end + 1


def _flush(code: str) -> str:
    """Without what all its lines are indented by."""
    depth = min((len(line) - len(line.lstrip()) for line in code.splitlines() if line.strip()), default=0)
    return "\n".join(line[depth:] for line in code.rstrip().splitlines()) + "\n"


@dataclass
class Session:
    """A page's folder, in which its commands find the repository as in a fresh clone that is set up."""

    folder: Path
    filled: Mapping[str, str] = field(default_factory=dict)
    """What a page leaves to its reader, and what it is here."""
    stopped: int = 0
    """Commands that got Ctrl-C."""
    _groups: list[int] = field(default_factory=list)
    _terminals: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
        subprocess.run(["xargs", "-0", "cp", "--parents", "-t", self.folder], input=listed, cwd=ROOT, check=True)
        for name in (".venv", "node_modules", ".solcx"):
            (self.folder / name).symlink_to(ROOT / name)
        (self.folder / "build").mkdir()
        for name in ("stamps", "contracts", "interfaces"):
            if (ROOT / "build" / name).exists():
                shutil.copytree(ROOT / "build" / name, self.folder / "build" / name)
        for stamp in (self.folder / "build" / "stamps").glob("*"):
            stamp.touch()  # newer than the copies beside it
        (self.folder / "home").mkdir()
        self._state.write_text("")

    @property
    def _state(self) -> Path:
        return self.folder / "home" / "exported"

    def run(self, block: Block) -> str:
        """What it says. Fails where a command does, or one that should go on does not."""
        code = self._fill(block.code)
        if not block.said:
            return self._run(str(block), code)
        commands = [line for line in re.sub(r" *\\\n\s*", " ", code).splitlines() if line]
        before = self.stopped
        told = "".join(self._run(f"{block}: {command}", command, block.said) for command in commands)
        assert self.stopped > before, f"{block}: all of it ended by itself, without a word of {block.said}:\n{told}"
        return told

    def prepare(self, code: str) -> None:
        """What a page's reader has done before a block."""
        self._run("before a block", self._fill(code))

    def _fill(self, code: str) -> str:
        for words, here in self.filled.items():
            code = code.replace(words, here)
        return code

    def _run(self, name: str, code: str, said: str = "") -> str:
        """Args: said: what it must say before it gets Ctrl-C."""
        ended = self.folder / "home" / f"ended-{len(self._groups)}"
        # the terminal stays open: what a block has left running would hear that it was closed
        last = f"declare -px > {self._state}; touch {ended}; exec sleep infinity"
        script = f"set -euo pipefail; cd {self.folder}; . {self._state}\n{code}\n{last}\n"
        told = self.folder / "home" / f"told-{len(self._groups)}"
        terminal, answers = pty.openpty()  # so that questions are asked
        os.write(terminal, b"yes\n" * 20)
        with told.open("w") as output:
            process = subprocess.Popen(
                ["bash", "-c", script],
                env=self._environment(),
                stdin=answers,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            )
        os.close(answers)
        self._groups.append(process.pid)
        self._terminals.append(terminal)
        while process.poll() is None and not ended.exists():
            time.sleep(0.1)
            if said and re.search(said, told.read_text()):
                os.killpg(process.pid, signal.SIGINT)
                while process.poll() is None and not ended.exists():
                    time.sleep(0.1)
                self.stopped += 1
                assert "Traceback" not in told.read_text(), told.read_text()
                return told.read_text()
        assert ended.exists(), f"{name} failed:\n{code}\n{told.read_text()}"
        return told.read_text()

    def _environment(self) -> dict[str, str]:
        paths = [str(ROOT / ".venv" / "bin"), str(ROOT / "node_modules" / ".bin"), os.environ["PATH"]]
        kept = {name: os.environ[name] for name in ("LANG", "TZ") if name in os.environ}
        one = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
        return kept | one | {"PATH": ":".join(paths), "HOME": str(self.folder / "home"), "PYTHONUNBUFFERED": "1"}

    def close(self) -> None:
        """Ends what blocks have left running."""
        for group in self._groups:
            try:
                os.killpg(group, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for terminal in self._terminals:
            os.close(terminal)
