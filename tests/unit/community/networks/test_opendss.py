"""Feeders from OpenDSS text, compared with what OpenDSS itself makes of the same files."""

from __future__ import annotations

import os
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import opendssdirect as dss
import pytest

from gridpact.community.networks.files import read_network
from gridpact.community.networks.network import NetworkFile
from gridpact.community.networks.opendss import read_opendss
from gridpact.errors import InputError
from gridpact.grid.three_phase import phase_flow

SAME_PU = 1e-6  # OpenDSS's transformers have antifloat reactances of some ppm

CODES = """
! a comment
New Linecode.main nphases=3 R1=0.206 X1=0.08 R0=(4 0.206 *) X0=(0.08 4 *) C1=0 C0=0 units=km normamps=240
New Linecode.drop nphases=1 R1=0.87 X1=0.09 R0=0.87 X0=0.09 C1=0 C0=0 units=km
New Linecode.odd nphases=3 units=kft C1=0 C0=0
~ rmatrix=[0.09 | 0.04 0.088 | 0.038 0.039 0.09] xmatrix=(0.05 0.02 0.02 | 0.02 0.05 0.02 | 0.02 0.02 0.05)
"""

MASTER = """
Clear
Set DefaultBaseFrequency=50
New Circuit.street bus1=hv pu=1.02 basekv=11 mvasc3=40 mvasc1=38
Redirect codes.dss
New Transformer.tx phases=3 windings=2 %loadloss=1.4 xhl=4.2
~ wdg=1 bus=hv conn=delta kv=11 kva=100 wdg=2 bus=lv conn=wye kv=0.4 kva=100 tap=1.025
new line.a bus1=lv.1.2.3 bus2=one.1.2.3 linecode=main length=0.2 units=km phases=3
New Line.b bus1=two.1.2.3 bus2=one.1.2.3 linecode=odd length=120 units=m phases=3  // the other way round
New Line.c1 bus1=two.1.2 bus2=three.1.2 phases=2 rmatrix=[0.05|0.01 0.05] xmatrix=[0.02|0.005 0.02]
~ length=1 cmatrix=[0|0 0]
New Line.c2 bus1=two.1.2 bus2=three.1.2 phases=2 rmatrix=[0.05|0.01 0.05] xmatrix=[0.02|0.005 0.02]
~ length=1 cmatrix=[0|0 0]
New Line.d bus1=three.2 bus2=four.2 linecode=drop length=42 units=m phases=1 normamps=63
New Line.sw bus1=one bus2=five switch=y
New Line.off bus1=five bus2=four enabled=no linecode=main length=1
New Load.h1 bus1=four.2 phases=1 kv=0.23 kw=2.5 kvar=0.4 model=1 vminpu=0.7 vmaxpu=1.3
New Load.h2 bus1=two.1.2.3.0 phases=3 kv=0.4 kw=6 pf=0.95 model=1 vminpu=0.7 vmaxpu=1.3
New Load.h3 bus1=five.3 phases=1 kv=0.23 kw=-3 kvar=0 model=1 vminpu=0.7 vmaxpu=1.3
New Load.h4 bus1=three.1.2 phases=2 kv=0.4 kw=3 kvar=0.5 model=1 vmaxpu=1.3 conn=wye
New Energymeter.m element=line.a
Set Voltagebases=[0.4, 11]
Calcvoltagebases
Solve
"""


def written(folder: Path, master: str = MASTER, codes: str = CODES) -> Path:
    (folder / "codes.dss").write_text(codes)
    (folder / "master.dss").write_text(master)
    return folder / "master.dss"


def by_opendss(path: Path, network: NetworkFile) -> list[float]:
    """Voltages at all loads' phases, per unit of the nominal one: in a process of its own, which a file may crash."""
    places = [(load.connection.bus, load.connection.phases) for load in network.loads]
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(solved, path, places, network.nominal_voltage_v / np.sqrt(3)).result()


def solved(path: Path, places: list[tuple[str, tuple[int, ...]]], unit: float) -> list[float]:
    dss.Basic.AllowForms(False)
    for command in ("clear", f'compile "{path}"', "set tolerance=1e-9 maxiterations=500", "solve"):
        dss.Text.Command(command)
    assert dss.Solution.Converged()
    return voltages_at(places, unit)


def voltages_at(places: list[tuple[str, tuple[int, ...]]], unit: float) -> list[float]:
    """Of the circuit that OpenDSS has solved, at phases of buses."""
    result = []
    for bus, phases in places:
        dss.Circuit.SetActiveBus(bus)
        voltages = np.array(dss.Bus.Voltages()).reshape(-1, 2) @ [1, 1j]
        nodes = dss.Bus.Nodes()
        result += [float(abs(voltages[nodes.index(phase + 1)]) / unit) for phase in phases]
    return result


def by_gridpact(network: NetworkFile) -> list[float]:
    feeder = network.feeder([load.connection for load in network.loads], 0.9, 1.1)
    kw = -np.array([[load.kw] for load in network.loads])
    kvar = -np.array([[load.kvar] for load in network.loads])
    return list(phase_flow(feeder, kw, kvar).magnitude_pu[:, 0])


def test_feeder_isThatOfOpenDss(tmp_path: Path) -> None:
    path = written(tmp_path)
    network = read_opendss(path)
    assert [load.name for load in network.loads] == ["h1", "h2", "h3", "h4"]
    assert {line.name: line.rating_a for line in network.lines} == {
        "a": 240,
        "sw": None,
        "b": None,
        "c1+c2": None,
        "d": 63,
    }
    assert network.remarks == ("lines beside each other are taken as one (1 times)",)
    np.testing.assert_allclose(by_gridpact(network), by_opendss(path, network), rtol=0, atol=SAME_PU)


def test_transformer_ofAnotherVoltageThanTheCircuit(tmp_path: Path) -> None:
    """Its winding is for 10.5 kV where the circuit has 11; and a property may be cut short, as OpenDSS takes it."""
    text = MASTER.replace("conn=delta kv=11", "conn=delta kv=10.5").replace("length=0.2 units=km", "len=0.2 unit=km")
    path = written(tmp_path, text)
    network = read_opendss(path)
    np.testing.assert_allclose(by_gridpact(network), by_opendss(path, network), rtol=0, atol=SAME_PU)


def test_frequency_isThatOfTheCircuit(tmp_path: Path) -> None:
    """Line codes of 50 Hz in a circuit of 60 Hz: OpenDSS changes their impedances, and so do we, and say it."""
    path = written(
        tmp_path,
        MASTER.replace("Frequency=50", "Frequency=60"),
        CODES.replace("normamps=240", "normamps=240 basefreq=50"),
    )
    network = read_opendss(path)
    assert any("50 Hz in a circuit of 60 Hz" in remark for remark in network.remarks)
    np.testing.assert_allclose(by_gridpact(network), by_opendss(path, network), rtol=0, atol=SAME_PU)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("enabled=no linecode=main length=1", "linecode=main length=1", r"closes a loop at bus"),
        ("linecode=main length=0.2", "linecode=mian length=0.2", r"master.dss:8: line 'a' has line code 'mian'"),
        ("linecode=main length=0.2", "linecode=main length=0", r"line 'a' has no length"),
        ("length=0.2 units=km", "length=0.2 units=miles", r"line 'a' is measured in 'miles', which is not a unit"),
        ("kva=100 tap", "kva=0 tap", r"dss:\d+: transformer 'tx' has 0 kVA"),
        ("New Energymeter.m element=line.a", "New Regcontrol.r transformer=tx", r"class 'regcontrol' are not planned"),
        ("bus1=four.2 phases=1", "bus1=four.two phases=1", r"dss:17: load 'h1' is at 'four.two', which is no bus"),
        ("length=0.2 units=km", "length=(9 999 ^) units=km", r"dss:8: line 'a' has length=\(9 999 \^\)"),
        ("length=0.2 units=km", "length=(1 0 /) units=km", r"dss:8: line 'a' has length=\(1 0 /\), which is not a"),
        (
            "bus2=one.1.2.3 linecode=main",
            "bus2=one.1.2.3 r1=-0.1 x1=0.1 r0=0.4 x0=0.3",
            r"dss:8: line 'a' would give energy out of nothing",
        ),
        ("Redirect codes.dss", "Redirect co\0des.dss", r"dss:\d+: '.*co.x00des.dss': cannot be read"),
        ("conn=wye\nNew Energ", "conn=delta\nNew Energ", r"master.dss:20: load 'h4' stands between phases \(delta\)"),
        ("kw=2.5", "kw=two", r"load 'h1' has kw=two, which is not a number"),
        ("New Load.h1", "New Load.h2", r"load 'h2' stands a second time, first at"),
        ("length=0.2 units=km", "lenght=0.2 units=km", r"dss:8: line 'a' has no property 'lenght' in OpenDSS"),
        ("kv=0.23 kw=2.5", "kw=2.5", r"dss:17: load 'h1' is made for 12.47 kV, which is what OpenDSS takes where kv"),
        ("kv=0.4 kw=6", "kv=400 kw=6", r"dss:18: load 'h2' is made for 400 kV, and stands where are 0.4$"),
        ("conn=delta kv=11 kva=100", "conn=delta kv=11000 kva=100", r"'tx' has 11000 kV at a circuit of 11 kV"),
        ("bus1=four.2 phases=1", "bus1=four.2.3 phases=1", r"load 'h1' has 1 phases but is at nodes four.2.3"),
        (
            "bus1=four.2 phases=1",
            "bus1=four.1 phases=1",
            r"dss:17: load 'h1' is on phase 1 of bus 'four', to which",
        ),
        (
            "length=120 units=m",
            "length=120 units=kft",
            r"dss:9: line 'b' has 12.4 ohm, behind which",
        ),
        (
            "length=42 units=m",
            "length=42 units=mi",
            r"line 'd' has .* ohm.* check its length and the units",
        ),
        (
            "bus2=one.1.2.3 linecode=main",
            "bus2=one.1.2.3 r1=0 x1=0 r0=0 x0=0",
            r"dss:8: line 'a' has no impedance",
        ),
        (
            "Set Voltagebases",
            "New Transformer.two buses=(hv lv2)\nSet Voltagebases",
            r"transformer 'two' is a second one beside 'tx': give one low-voltage feeder at a time",
        ),
        ("New Circuit.street", "New Circuit.other bus1=x\nNew Circuit.street", r"defines 2 circuits"),
        ("Redirect codes.dss", "Redirect cods.dss", r"cods.dss: cannot be read"),
        ("Solve\n", "Sovle\n", r"'Sovle' is not a command"),
        ("wdg=2 bus=lv conn=wye", "wdg=2 bus=lv conn=delta", r"transformer 'tx' has no wye on the feeder's side"),
    ],
)
def test_file_thatIsWrong_isOneSentence(tmp_path: Path, old: str, new: str, says: str) -> None:
    assert old in MASTER
    with pytest.raises(InputError, match=says):
        by_gridpact(read_opendss(written(tmp_path, MASTER.replace(old, new, 1))))


def test_whatIsOdd_isNamed(tmp_path: Path) -> None:
    """A home on a bus that no line leads to, and a line without impedances, which OpenDSS gives its own."""
    master = MASTER.replace("bus1=five.3", "bus1=nowhere.3").replace("linecode=main length=0.2", "length=0.2")
    remarks = read_opendss(written(tmp_path, master)).remarks
    assert "loads where no line in service leads are left out: 1, among them 'h3'" in remarks
    assert any(remark.startswith("line without impedances, which OpenDSS takes as its own") for remark in remarks)


def published() -> list[Path]:
    """Networks of others, where GRIDPACT_NETWORKS names a folder of them; none is shipped."""
    return sorted(Path(os.environ.get("GRIDPACT_NETWORKS", "/nowhere")).glob("**/[Mm]aster.dss"))


@pytest.mark.parametrize("path", published(), ids=lambda path: path.parent.name)
def test_published_isThatOfOpenDss(path: Path) -> None:
    network = read_opendss(path)
    mine = by_gridpact(network)
    np.testing.assert_allclose(mine, by_opendss(path, network), rtol=0, atol=1e-4)


def test_folderOfText_isItsMasterFile(tmp_path: Path) -> None:
    written(tmp_path)
    network = read_network(tmp_path)
    assert [load.name for load in network.loads] == [load.name for load in read_opendss(tmp_path / "master.dss").loads]
    (tmp_path / "master.dss").rename(tmp_path / "street.dss")
    with pytest.raises(InputError, match="several files of OpenDSS text; give the one that reads the others, of codes"):
        read_network(tmp_path)
