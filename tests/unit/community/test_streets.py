"""Streets from community files: phases, transformers, network files; what is wrong is one sentence."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.read import Community, read_community, shipped_cases
from gridpact.community.street import Connection, PhaseFeeder, by_sequence
from gridpact.errors import InputError
from unit.community.networks.test_opendss import written

Change = Callable[[Path], None]


def swap(name: str, old: str, new: str) -> Change:
    def change(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return change


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """tiny3, a copy that can be changed."""
    source = shipped_cases()["tiny3"].parent
    for path in source.iterdir():
        shutil.copy(path, tmp_path / path.name)
    return tmp_path


def phased(folder: Path) -> None:
    """Each home on a phase."""
    lines = (folder / "households.csv").read_text().splitlines()
    rows = [f"{lines[0]},phases", *(f"{line},{k}" for k, line in enumerate(lines[1:], start=1))]
    (folder / "households.csv").write_text("\n".join(rows) + "\n")


def street_of(folder: Path) -> tuple[Community, PhaseFeeder]:
    community = read_community(str(folder))
    assert isinstance(community.feeder, PhaseFeeder)
    return community, community.feeder


def test_phases_makeAStreet(folder: Path) -> None:
    phased(folder)
    community, feeder = street_of(folder)
    assert [at.phases for at in feeder.connections] == [(0,), (1,), (2,)]
    assert any("4 times" in remark for remark in community.remarks)
    for line in feeder.lines:
        z = line.impedance_ohm
        np.testing.assert_allclose(z, by_sequence(z[0, 0] - z[0, 1], 4 * (z[0, 0] - z[0, 1])))


def test_transformer_isRead(folder: Path) -> None:
    swap("community.toml", "[feeder]\n", "[feeder]\ntransformer = { kva = 100, tap = 1.025 }\n")(folder)
    community, feeder = street_of(folder)
    assert feeder.transformer is not None
    assert (feeder.transformer.kva, feeder.transformer.tap) == (100, 1.025)
    assert [at.phases for at in feeder.connections] == [(0, 1, 2)] * 3
    assert any("on all phases of their bus" in remark for remark in community.remarks)


def test_networkFile_isTheFeeder(folder: Path) -> None:
    """Homes take the loads that they name, and those that name none the rest in the file's order."""
    network = folder / "net"
    network.mkdir()
    written(network)
    text = (folder / "community.toml").read_text()
    text = text.replace("nominal_voltage_v = 400\n", "").replace("[feeder]\n", '[feeder]\nnetwork = "net/master.dss"\n')
    (folder / "community.toml").write_text(text)
    lines = (folder / "households.csv").read_text().splitlines()
    rows = [f"{lines[0]},load", f"{lines[1]},h3", f"{lines[2]},", f"{lines[3]},"]
    (folder / "households.csv").write_text("\n".join(rows) + "\n")
    community, feeder = street_of(folder)
    assert feeder.connections == (Connection("five", (2,)), Connection("four", (1,)), Connection("two", (0, 1, 2)))
    assert any("in its order" in remark for remark in community.remarks)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (swap("households.csv", ",2\n", ",4\n"), r"households.csv, row 3, column 'phases': '4' are no phases"),
        (swap("households.csv", ",2\n", ",2 2\n"), r"households.csv, row 3, column 'phases'"),
        (
            swap("community.toml", "[feeder]\n", "[feeder]\ntransformer = { kva = 0 }\n"),
            r"community.toml, \[feeder\], transformer: 'kva' = 0 must be above 0",
        ),
        (
            swap("community.toml", "[feeder]\n", "[feeder]\ntransformer = { tap = 1 }\n"),
            r"transformer: 'kva' is missing or no number",
        ),
        (
            swap("community.toml", "[feeder]\n", '[feeder]\nnetwork = "nothing.dss"\n'),
            r"nothing.dss: cannot be read",
        ),
        (
            swap("community.toml", "[feeder]\n", '[feeder]\nnetwork = "net.xml"\n'),
            r"net.xml' is no network file that is known",
        ),
    ],
)
def test_streetThatIsWrong_isOneSentence(folder: Path, change: Change, says: str) -> None:
    phased(folder)
    change(folder)
    with pytest.raises(InputError, match=says):
        read_community(str(folder))


def test_phaseThatTheLineLacks_isNamed(folder: Path) -> None:
    phased(folder)
    lines = (folder / "feeder.csv").read_text().splitlines()
    (folder / "feeder.csv").write_text("\n".join([f"{lines[0]},phases", *(f"{line},1 2" for line in lines[1:])]) + "\n")
    with pytest.raises(InputError, match=r"households.csv, row 4, column 'phases': bus '3' has phases 1 2 only"):
        read_community(str(folder))
