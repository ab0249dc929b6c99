"""Files: written so that a reader never sees half of one, JSON and TOML read whatever is in them."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

MOST_DEPTH = 50
"""Lists and objects within each other, in JSON."""

_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"|([\[{])|([\]}])', re.DOTALL)


def parse_json(data: str | bytes, **options: Any) -> Any:
    """What a JSON text says, in UTF-8 where it is bytes.

    Args:
        options: of `json.loads`.

    Raises:
        ValueError: it is none, or is nested so deep that the parser could run off its stack.
    """
    text, depth = data if isinstance(data, str) else data.decode("utf-8-sig"), 0
    if text.count("[") + text.count("{") > MOST_DEPTH:
        for bracket in _BRACKETS.finditer(text):
            depth += bool(bracket[1]) - bool(bracket[2])
            if depth > MOST_DEPTH:
                raise ValueError(f"more than {MOST_DEPTH} lists and objects within each other")
    return json.loads(text, **options)


def parse_toml(text: str) -> dict[str, Any]:
    """What a TOML text says.

    Raises:
        ValueError: it is none, is nested too deep, or has a whole number of more than 64 bits, as TOML has none.
    """
    try:
        values: dict[str, Any] = tomllib.loads(text.removeprefix("\ufeff"))  # which some editors of Windows write
        _check_integers(values)
    except RecursionError:
        raise ValueError("lists and tables are nested too deep") from None
    return values


def _check_integers(value: Any) -> None:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    for one in inner:
        if isinstance(one, int) and not -(2**63) <= one < 2**63:
            raise ValueError("a whole number has more than 64 bits")
        _check_integers(one)


def reason_of(error: Exception) -> str:
    """Why a file cannot be used, for people: without numbers of errors, and without its name again."""
    if isinstance(error, OSError):
        return (error.strerror or type(error).__name__).lower()
    if isinstance(error, UnicodeDecodeError):
        return "it is no text in UTF-8"
    return str(error)


def write_atomically(path: Path, text: str, mode: int = 0o644) -> None:
    """Writes a text file in one go, with the given permissions."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, mode)
        os.replace(temporary, path)
    except BaseException:
        os.unlink(temporary)
        raise


def source_commit() -> str:
    """The git commit of the sources that run, with `-dirty` where they were changed; empty where git knows nothing."""
    folder = Path(__file__).resolve().parent
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), "describe", "--always", "--dirty", "--exclude", "*"],
            capture_output=True,
            text=True,
            check=False,
            timeout=20,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip()
