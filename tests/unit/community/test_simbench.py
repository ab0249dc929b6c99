"""SimBench's tables: a grid that is worked out by hand, its homes, and one sentence for what is wrong.

The reader was compared with pandapower's power flow of SimBench's own six low-voltage grids: all voltages of a loaded
quarter hour agree to 1.5e-5 p.u., once pandapower is told that the tap changer changes the ratio (docs/own-data.md).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gridpact.cli import main
from gridpact.community.networks.files import read_network
from gridpact.community.networks.simbench import read_simbench
from gridpact.community.read import read_community
from gridpact.community.simbench import read_simbench_homes
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InputError

Z = 0.2 + 0.1j
TABLES = {
    "Node": """id;type;vmSetp;vmR;vmMin;vmMax;subnet;voltLvl
M;busbar;1.02;20;0.97;1.05;MV_A;5
M x;auxiliary;NULL;20;0.97;1.05;MV_A;5
A 1;busbar;NULL;0.4;0.9;1.1;A;7
A 1 x;auxiliary;NULL;0.4;0.9;1.1;A;7
A 2;busbar;NULL;0.4;0.92;1.1;A;7
A 2 x;auxiliary;NULL;0.4;0.9;1.1;A;7
A 3;busbar;NULL;0.4;0.9;1.1;A;7
""",
    "Line": """id;nodeA;nodeB;type;length;loadingMax;subnet;voltLvl
L1;A 2 x;A 1 x;cable;0.05;80;A;7
L2;A 3;A 2;cable;0.1;100;A;7
L3;A 3;A 1;cable;0.1;100;B;7
""",
    "LineType": "id;r;x;b;iMax;type\ncable;0.2;0.1;0;270;cable\n",
    "Switch": """id;nodeA;nodeB;type;cond;substation;subnet;voltLvl
S1;A 1;A 1 x;LS;1;NULL;A;7
S2;A 2;A 2 x;LS;1;NULL;A;7
S3;A 3;A 1;LS;0;NULL;A;7
S4;M;M x;CB;1;NULL;A;6
""",
    "Transformer": """id;nodeHV;nodeLV;type;tappos;autoTap;autoTapSide;loadingMax;substation;subnet;voltLvl
T1;M x;A 1;kind;1;0;NULL;100;NULL;A;6
T2;M x;A 1 x;kind;1;0;NULL;100;NULL;A;6
""",
    "TransformerType": """id;sR;vmHV;vmLV;va0;vmImp;pCu;pFe;iNoLoad;tapable;tapside;dVm;dVa;tapNeutr;tapMin;tapMax
kind;0.1;20;0.4;150;5;3;0.5;0.3;1;HV;2.5;0;0;-2;2
""",
    "Load": """id;node;profile;pLoad;qLoad;sR;subnet;voltLvl
A Load 1;A 2;H0-A;0.004;0.001;0.005;A;7
A Load 2;A 2;G1-B;0.01;0.002;0.011;A;7
A Load 3;A 2;Air_Parallel_1;0.003;0;0.003;A;7
A Load 4;A 2;HLS_A_3.7;0.0037;0;0.0037;A;7
""",
    "RES": """id;node;type;profile;calc_type;pRES;qRES;sR;subnet;voltLvl
A SGen 1;A 2;PV;PV1;pq;0.008;0;0.008;A;7
A SGen 2;A 3;PV;PV1;pq;0.02;0;0.02;A;7
A SGen 3;A 3;biomass;BM1;pq;0.02;0;0.02;A;7
""",
    "Storage": """id;node;type;profile;pStor;qStor;chargeLevel;sR;eStore;etaStore;sdStore;subnet;voltLvl
A Storage 1;A 2;PV_Storage;S;-0.003;0;0;0.003;0.006;0.95;0.13;A;7
A Storage 2;A 3;PV_Storage;S;-0.003;0;0;0.003;0.006;0.95;0.13;A;7
""",
}
COLUMNS = ("H0-A", "G1-B", "Air_Parallel_1", "HLS_A_3.7")
DAYS, SUN = 3, 10


def shares(column: int) -> np.ndarray:
    """Of a profile, quarter hour by quarter hour."""
    share = np.random.default_rng(column).random(96 * DAYS)
    by_day = np.maximum(np.sin(np.linspace(-np.pi / 2, 3 * np.pi / 2, 96, endpoint=False)), 0)
    return share * np.tile(by_day, DAYS) if column == SUN else share


def profile(names: list[str], first: int) -> str:
    values = np.column_stack([shares(first + k) for k in range(len(names))])
    begin = datetime(2016, 6, 1)
    rows = [
        f"{begin + timedelta(minutes=15 * k):%d.%m.%Y %H:%M};" + ";".join(map(repr, map(float, row)))
        for k, row in enumerate(values)
    ]
    return "\n".join([";".join(["time", *names]), *rows]) + "\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "grid"
    made.mkdir()
    for name, text in TABLES.items():
        (made / f"{name}.csv").write_text(text)
    (made / "LoadProfile.csv").write_text(profile([f"{name}_pload" for name in COLUMNS], 0))
    (made / "RESProfile.csv").write_text(profile(["PV1"], SUN))
    return made


def test_grid_isThatOfTheTables(folder: Path) -> None:
    """Closed switches join buses, the open one does not, and the line of another grid is none of this one's."""
    network = read_network(folder)
    assert (network.root, network.nominal_voltage_v, network.source.voltage_pu) == ("A 1", 400, 1.02)
    assert [(line.name, line.bus, line.parent, line.rating_a) for line in network.lines] == [
        ("L1", "A 2", "A 1", 216),
        ("L2", "A 3", "A 2", 270),
    ]
    positive = np.array([1, np.exp(-2j * np.pi / 3), np.exp(2j * np.pi / 3)])
    drop = network.lines[1].impedance_ohm @ positive
    assert drop == pytest.approx(0.1 * Z * positive)
    assert network.lines[1].impedance_ohm.sum(axis=1) == pytest.approx(np.full(3, 0.4 * Z))  # z0 = 4 z1
    transformer = network.transformer
    assert transformer is not None
    assert transformer.kva == 200
    assert (transformer.resistance_percent, transformer.reactance_percent) == pytest.approx((3, 4))
    assert transformer.tap == pytest.approx(1 / 1.025)
    assert [(load.name, load.connection.bus, load.kw) for load in network.loads][:2] == [
        ("A Load 1", "A 2", 4),
        ("A Load 2", "A 2", 10),
    ]


def test_homes_haveWhatIsAtTheirBus(folder: Path) -> None:
    """Heat pump and charging point go to the members at the bus in turn, and so do panels and batteries; nothing of
    the energy is lost."""
    data = read_simbench_homes(folder)
    first, second, alone = data.meters
    assert [meter.name for meter in data.meters] == ["Load 1", "Load 2", "SGen 2"]
    assert data.days == ("2016-06-01", "2016-06-02", "2016-06-03")
    day = slice(96, 192)
    assert first.load_kw["2016-06-02"] == pytest.approx(4 * shares(0)[day] + 3 * shares(2)[day])
    assert second.load_kw["2016-06-02"] == pytest.approx(10 * shares(1)[day] + 3.7 * shares(3)[day])
    assert (first.pv_kwp, second.pv_kwp, alone.pv_kwp) == (8, 0, 20)
    assert alone.pv_kw["2016-06-02"] == pytest.approx(20 * shares(SUN)[day])
    assert not alone.load_kw["2016-06-02"].any()
    assert first.battery is not None
    assert (first.battery.capacity_kwh, first.battery.power_kw) == (6, 3)
    assert first.battery.round_trip_efficiency == pytest.approx(0.95**2)
    assert second.battery is None
    assert alone.battery == first.battery
    told = " ".join(data.remarks)
    for word in ("A SGen 3 (biomass)", "etaStore", "cannot be moved: 2"):
        assert word in told
    edited("Storage", "A Storage 2;A 3", "A Storage 2;A 1")(folder)
    assert "no member is at its bus: A Storage 2." in " ".join(read_simbench_homes(folder).remarks)


def test_community_standsOnTheGrid(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Homes are where the tables have them, within the limits of their nodes."""
    out = tmp_path / "out"
    prices = ["--price", "0.3", "--feed-in", "0.1"]
    assert main(["community", "new", "--from", str(folder), "--step", "60", *prices, "--out", str(out)]) == 0
    feeder = read_community(str(out)).feeder
    assert isinstance(feeder, PhaseFeeder)
    assert [one.bus for one in feeder.connections] == ["a_2", "a_2", "a_3"]
    assert (feeder.voltage_min_pu, feeder.voltage_max_pu) == (0.92, 1.1)
    assert "zero sequence" in capsys.readouterr().out
    assert main(["community", "new", "--from", str(folder), *prices, "--seed", "2", "--out", str(out / "x")]) == 2
    assert "--seed" in capsys.readouterr().err


def edited(table: str, old: str, new: str) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / f"{table}.csv"
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new, 1))

    return edit


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (edited("Line", "A 3;A 2;cable", "A 3;A 9;cable"), ["Line.csv, row 3", "nodeB", "A 9"]),
        (edited("Line", "A 3;A 2;cable", "A 3;A 2;rope"), ["Line.csv, row 3", "rope", "LineType.csv"]),
        (edited("Line", "0.05", "short"), ["Line.csv, row 2", "length", "short"]),
        (edited("Line", ";100;B;7", ";100;A;7"), ["loop"]),
        (edited("Transformer", "T2;M x;A 1 x;kind;1", "T2;M x;A 1 x;kind;2"), ["2 transformers", "2 kinds"]),
        (edited("TransformerType", "kind", "other"), ["no type 'kind'"]),
        (edited("Switch", "S1;A 1;A 1 x", "S1;A 1;A 7"), ["Switch.csv, row 2", "A 7"]),
        (edited("Load", "0.001;0.005;A;7", "0.001;0.005;C;7"), ["2 low-voltage grids", "--subnet", "A", "C"]),
        (edited("Load", "0.004", ""), ["Load.csv, row 2", "pLoad"]),
        (edited("Load", "pLoad", "p"), ["Load.csv", "column 'pLoad' is missing"]),
        (edited("TransformerType", "kind;0.1", "kind;0"), ["TransformerType.csv, row 2", "sR"]),
        (edited("TransformerType", "HV;2.5", "HV;-100"), ["TransformerType.csv, row 2", "dVm"]),
        (edited("Node", "A 1;busbar;NULL;0.4", "A 1;busbar;NULL;0"), ["Node.csv, row 4", "vmR"]),
    ],
)
def test_grid_thatIsWrong_isRefused(folder: Path, edit: Callable[[Path], None], words: list[str]) -> None:
    edit(folder)
    with pytest.raises(InputError) as told:
        read_simbench(folder)
    assert all(word in str(told.value) for word in words), told.value


@pytest.mark.parametrize(
    ("edit", "words"),
    [
        (edited("LoadProfile", "G1-B_pload", "G1-C_pload"), ["LoadProfile.csv", "G1-B_pload"]),
        (edited("LoadProfile", "01.06.2016 00:15", "2016-06-01 00:15"), ["LoadProfile.csv, row 3"]),
        (edited("RES", "0.008", "lots"), ["RES.csv, row 2", "lots"]),
    ],
)
def test_profiles_thatAreWrong_areRefused(folder: Path, edit: Callable[[Path], None], words: list[str]) -> None:
    edit(folder)
    with pytest.raises(InputError) as told:
        read_simbench_homes(folder)
    assert all(word in str(told.value) for word in words), told.value


@pytest.mark.parametrize("table", ["Load", "LoadProfile", "RESProfile", "Switch"])
@pytest.mark.parametrize("content", [b"", b"\xff\xfe\x00a", b"a;b\n\x00;1\n"])
def test_filesThatAreNone_areRefused(folder: Path, table: str, content: bytes) -> None:
    (folder / f"{table}.csv").write_bytes(content)
    with pytest.raises(InputError, match=table):
        read_simbench_homes(folder)


def test_subnet_isNamed(folder: Path) -> None:
    with pytest.raises(InputError, match="no low-voltage grid 'Z'; there are A"):
        read_simbench_homes(folder, "Z")
