"""Putting a run's files into its folder all at once, so that nobody ever finds half a run."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from gridpact.errors import InputError

MARKER = "result.json"
"""The file by which a folder is known to hold a run. It is the last to be replaced."""


def publish(folder: Path, write: Callable[[Path], None], marker: str = MARKER) -> None:
    """Makes a run's files appear in `folder`; those of a study, which has another marker, in the same way.

    `write` puts them into a temporary folder beside it, which is then renamed. Where `folder` exists already, perhaps
    as a volume of its own, the temporary folder is within it, and each file takes the place of its namesake from an
    earlier run; all other files stay.

    Raises:
        InputError: the folder cannot be written, or a file in it has a run's name without being of a run.
    """
    folder = Path(folder)
    staging: Path | None = None
    try:
        target = folder.resolve()
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target if target.is_dir() else target.parent))
        write(staging)
        _move(staging, folder, marker)
    except OSError as error:
        raise InputError(
            f"the run cannot be written to '{folder}' ({error.strerror or error}); make room, or choose another folder "
            "with --out"
        ) from None
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


def _move(staging: Path, folder: Path, marker: str) -> None:
    names = sorted((path.name for path in staging.iterdir()), key=lambda name: (name == marker, name))
    if not folder.exists():
        umask = os.umask(0)
        os.umask(umask)
        staging.chmod(0o777 & ~umask)  # mkdtemp lets only its owner in
        staging.rename(folder)
        return
    if not folder.is_dir():
        raise InputError(f"'{folder}' is a file, not a folder; choose another one with --out")
    strangers = [name for name in names if (folder / name).exists()]
    if strangers and not (folder / marker).exists():
        raise InputError(
            f"'{folder}' holds '{strangers[0]}', but no run that could be replaced; choose another folder with --out"
        )
    for name in names:
        os.replace(staging / name, folder / name)
