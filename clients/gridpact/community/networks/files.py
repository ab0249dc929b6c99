"""Which reader a network file goes to."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gridpact.community.networks.matrices import read_matrices
from gridpact.community.networks.network import NetworkFile
from gridpact.community.networks.opendss import read_opendss
from gridpact.community.networks.pandapower import read_pandapower
from gridpact.community.networks.simbench import is_simbench, read_simbench
from gridpact.errors import InputError


def read_network(path: Path) -> NetworkFile:
    """Reads a feeder from OpenDSS text (.dss), pandapower's JSON (.json), or a folder: of OpenDSS text, of SimBench's
    tables, or of such with matrices.

    Raises:
        InputError: it is none of these, or see their readers.
    """
    if path.is_dir():
        if texts := sorted(path.glob("*.[dD][sS][sS]")):
            return read_opendss(_master(path, texts))
        return read_simbench(path) if is_simbench(path) else read_matrices(path)
    readers = {".dss": read_opendss, ".json": read_pandapower}
    if path.suffix.lower() not in readers:
        raise InputError(
            f"'{path}' is no network file that is known: give OpenDSS text (.dss), pandapower's JSON (.json), or a "
            "folder of tables: SimBench's, or such with the impedances of each phase"
        )
    return readers[path.suffix.lower()](path)


def _master(folder: Path, texts: Sequence[Path]) -> Path:
    """The file of a folder that OpenDSS would be told to compile."""
    named = [text for text in texts if text.stem.lower() == "master"]
    if len(named or texts) != 1:
        names = ", ".join(text.name for text in texts)
        raise InputError(f"{folder}: has several files of OpenDSS text; give the one that reads the others, of {names}")
    return (named or texts)[0]
