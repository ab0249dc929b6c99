"""Which reader a network file goes to."""

from __future__ import annotations

from pathlib import Path

from gridpact.community.networks.matrices import read_matrices
from gridpact.community.networks.network import NetworkFile
from gridpact.community.networks.opendss import read_opendss
from gridpact.community.networks.pandapower import read_pandapower
from gridpact.community.networks.simbench import is_simbench, read_simbench
from gridpact.errors import InputError


def read_network(path: Path) -> NetworkFile:
    """Reads a feeder from OpenDSS text (.dss), pandapower's JSON (.json), or a folder of tables: SimBench's, or such
    with matrices.

    Raises:
        InputError: it is none of these, or see their readers.
    """
    if path.is_dir():
        return read_simbench(path) if is_simbench(path) else read_matrices(path)
    readers = {".dss": read_opendss, ".json": read_pandapower}
    if path.suffix.lower() not in readers:
        raise InputError(
            f"'{path}' is no network file that is known: give OpenDSS text (.dss), pandapower's JSON (.json), or a "
            "folder of tables: SimBench's, or such with the impedances of each phase"
        )
    return readers[path.suffix.lower()](path)
