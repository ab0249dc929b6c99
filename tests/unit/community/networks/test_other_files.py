"""Feeders from tables of matrices, from pandapower, and back to OpenDSS: the same currents as where they came from."""

from __future__ import annotations

import csv
import importlib.util
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gridpact.community.networks.matrices import read_matrices
from gridpact.community.networks.network import NetworkFile, NetworkLoad
from gridpact.community.networks.opendss import opendss_text, read_opendss
from gridpact.community.networks.pandapower import pandapower_text, read_pandapower
from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, Source, Transformer, by_sequence
from gridpact.errors import InputError
from gridpact.grid.three_phase import phase_flow
from unit.community.networks.test_opendss import by_gridpact, by_opendss
from unit.grid.test_three_phase import street


def network(seed: int) -> NetworkFile:
    rng = np.random.default_rng(seed)
    feeder = street(rng)
    loads = tuple(
        NetworkLoad(f"home {k}", at, float(rng.normal(0.5, 1)), float(rng.normal(0, 0.3)))
        for k, at in enumerate(feeder.connections)
    )
    parts = feeder.lines, loads, feeder.transformer, feeder.source
    return NetworkFile("street 1", feeder.nominal_voltage_v, feeder.root, *parts, ())


@pytest.mark.parametrize("seed", range(6))
def test_opendssText_isReadBackAlike(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "street.dss"
    written = network(seed)
    path.write_text(opendss_text(written))
    read = read_opendss(path)
    assert read.remarks == ()
    np.testing.assert_allclose(by_gridpact(read), by_gridpact(written), rtol=0, atol=1e-9)
    np.testing.assert_allclose(by_opendss(path, read), by_gridpact(written), rtol=0, atol=1e-6)


def alike(of: NetworkFile) -> NetworkFile:
    """With lines whose phases are alike, those of one or two phases too."""
    lines = []
    for line in of.lines:
        z = line.impedance_ohm
        own = z[line.phases[0], line.phases[0]]
        shared = 0.3 * own
        lines.append(replace(line, impedance_ohm=by_sequence(own - shared, own + 2 * shared)))
    return replace(of, lines=tuple(lines))


@pytest.mark.parametrize("seed", range(4))
def test_pandapowerText_isReadBackAlike(tmp_path: Path, seed: int) -> None:
    """Where phases are unlike, as of lines that come from matrices, that is said."""
    path, written = tmp_path / "street.json", alike(network(seed))
    text, remarks = pandapower_text(written)
    assert remarks == ()
    path.write_text(text)
    np.testing.assert_allclose(by_gridpact(read_pandapower(path)), by_gridpact(written), rtol=0, atol=1e-9)
    assert "lines have phases that are unlike" in pandapower_text(network(seed))[1][0]


SIMPLE_PU = [1.004908, 1.008925, 0.996819, 0.974771]
"""Voltages at the loads of `simple` by pandapower 3.5.4's `runpp_3ph`, of what `pandapower_text` writes of it."""


def test_pandapower_solvesWhatIsWritten(tmp_path: Path) -> None:
    """Figures that were recorded, and where pandapower is installed what it finds now."""
    np.testing.assert_allclose(by_gridpact(simple()), SIMPLE_PU, rtol=0, atol=1e-6)
    if importlib.util.find_spec("pandapower") is None:
        return
    pandapower = importlib.import_module("pandapower")
    path = tmp_path / "street.json"
    path.write_text(pandapower_text(simple())[0])
    net = pandapower.from_json(str(path))
    importlib.import_module("pandapower.pf.runpp_3ph").runpp_3ph(net, tolerance_mva=1e-10)
    loads = zip(simple().loads, net.asymmetric_load["bus"], strict=True)
    found = [net.res_bus_3ph.at[bus, f"vm_{'abc'[load.connection.phases[0]]}_pu"] for load, bus in loads]
    np.testing.assert_allclose(found, SIMPLE_PU, rtol=0, atol=1e-6)


def tables(folder: Path, of: NetworkFile) -> None:
    """As the tables of networks by phase are published."""
    assert of.transformer is not None
    z = of.transformer.impedance_ohm(of.nominal_voltage_v)[0, 0]
    rows: dict[str, list[list[Any]]] = {
        "bus": [["", "name", *(f"{w}{p}" for w in "PQ" for p in "abc")]],
        "line": [["", "busA", "busB", "Zaa", "Zbb", "Zcc", "Zab", "Zac", "Zbc"]],
        "trn": [["", "busA", "busB", "typeA", "typeB", "Zseries"], ["tr", "hv", of.root, "delta", "wye-g", z]],
        "src": [["", "kvBaseLL", "pu"], ["s", of.nominal_voltage_v / 1000, of.source.voltage_pu]],
    }
    source = by_sequence(of.source.z1_ohm, of.source.z0_ohm)
    for name, above, below, m in [
        ("sourcez", "supply", "hv", source),
        *((line.name, line.parent, line.bus, line.impedance_ohm) for line in of.lines),
    ]:
        rows["line"].append([name, above, below, *(m[k] for k in ((0, 0), (1, 1), (2, 2), (0, 1), (0, 2), (1, 2)))])
    for load in of.loads:
        (phase,) = load.connection.phases
        kw, kvar = ([load_part if p == phase else 0.0 for p in PHASES] for load_part in (load.kw, load.kvar))
        rows["bus"].append(["", load.connection.bus, *kw, *kvar])
    for kind, content in rows.items():
        with (folder / f"x_{kind}_df.csv").open("w", newline="") as table:
            csv.writer(table).writerows(content)


def simple() -> NetworkFile:
    z = by_sequence(0.02 + 0.004j, 0.07 + 0.02j)
    lines = tuple(PhaseLine(f"l{k}", f"b{k}", f"b{k - 1}", PHASES, z * k) for k in range(1, 5))
    loads = tuple(NetworkLoad(f"loadb{k}", Connection(f"b{k}", (k % 3,)), 1.5 * k, 0.2) for k in range(1, 5))
    source = Source(1.01, 0.001 + 0.002j, 0.5 + 1j)
    return NetworkFile("x", 416, "b0", lines, loads, Transformer(250, 1.1, 4.0), source, ())


def test_matrices_areReadAsTheyStand(tmp_path: Path) -> None:
    tables(tmp_path, simple())
    read = read_matrices(tmp_path)
    np.testing.assert_allclose(by_gridpact(read), by_gridpact(simple()), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("kind", "old", "new", "says"),
    [
        ("line", "(", "(j", r"x_line_df.csv, row 2, column 'Zaa'.*is not a number like \(0.1\+0.05j\)"),
        ("trn", "Zseries", "Z", r"x_trn_df.csv, row 2: column 'Zseries' is missing"),
        ("bus", "1.5", "one", r"x_bus_df.csv, row 2, column 'Pb'"),
    ],
)
def test_matrices_thatAreWrong_areNamed(tmp_path: Path, kind: str, old: str, new: str, says: str) -> None:
    tables(tmp_path, simple())
    path = tmp_path / f"x_{kind}_df.csv"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=says):
        read_matrices(tmp_path)


def frame(*rows: dict[str, Any]) -> dict[str, Any]:
    columns = list(rows[0])
    content = {"columns": columns, "index": list(range(len(rows))), "data": [[row[c] for c in columns] for row in rows]}
    return {"_module": "pandas.core.frame", "_class": "DataFrame", "_object": json.dumps(content), "orient": "split"}


def stored(**changes: Any) -> dict[str, Any]:
    """Two lines behind a transformer with a tap, a home on phase b, one on three, a panel."""
    line = {"length_km": 0.2, "max_i_ka": 0.2, "parallel": 1, "in_service": True, "df": 0.9}
    first = line | {"name": "one", "from_bus": 1, "to_bus": 2, "r_ohm_per_km": 0.2, "x_ohm_per_km": 0.08}
    second = line | {"name": None, "from_bus": 3, "to_bus": 2, "r_ohm_per_km": 0.4, "x_ohm_per_km": 0.09, "parallel": 2}
    zero = {"r0_ohm_per_km": 0.8, "x0_ohm_per_km": 0.3}, {"r0_ohm_per_km": None, "x0_ohm_per_km": None}
    content = {
        "bus": frame(
            *(
                {"name": n, "vn_kv": kv, "in_service": True}
                for n, kv in (("hv", 10), ("lv", 0.4), ("a", 0.4), ("b", 0.4))
            )
        ),
        "ext_grid": frame({"bus": 0, "vm_pu": 1.01, "in_service": True}),
        "trafo": frame(
            {"name": "tx", "hv_bus": 0, "lv_bus": 1, "sn_mva": 0.25, "vn_hv_kv": 10, "vn_lv_kv": 0.4}
            | {"vk_percent": 4.0, "vkr_percent": 1.2, "tap_side": "hv", "tap_pos": -1, "tap_neutral": 0}
            | {"tap_step_percent": 2.5, "in_service": True, "vector_group": "Dyn5", "parallel": 1}
        ),
        "line": frame(first | zero[0], second | zero[1]),
        "load": frame({"name": "three", "bus": 2, "p_mw": 0.006, "q_mvar": 0.001, "scaling": 0.5, "in_service": True}),
        "sgen": frame({"name": "pv", "bus": 3, "p_mw": 0.003, "q_mvar": 0.0, "scaling": 1.0, "in_service": True}),
        "asymmetric_load": frame(
            {"name": "one", "bus": 3, "in_service": True, "scaling": 1.0, "type": "wye"}
            | {"p_a_mw": 0, "q_a_mvar": 0, "p_b_mw": 0.002, "q_b_mvar": 0.0004, "p_c_mw": 0, "q_c_mvar": 0}
        ),
        "name": "ours",
    }
    return {"_module": "pandapower.auxiliary", "_class": "pandapowerNet", "_object": content | changes}


def test_pandapower_isReadByItsTables(tmp_path: Path) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(stored()))
    read = read_pandapower(path)
    assert {load.name: (load.kw, load.connection.phases) for load in read.loads} == {
        "one": (2.0, (1,)),
        "three": (3.0, PHASES),
        "pv": (-3.0, PHASES),
    }
    assert read.remarks == ("lines without zero sequence impedances get four times those of the positive sequence",)
    feeder = PhaseFeeder(
        *(400, 0.9, 1.1, "1"),
        (
            PhaseLine("one", "2", "1", PHASES, by_sequence(0.04 + 0.016j, 0.16 + 0.06j), 180),
            PhaseLine("two", "3", "2", PHASES, by_sequence(0.04 + 0.009j, 0.16 + 0.036j), 360),
        ),
        (Connection("3", (1,)), Connection("2", PHASES), Connection("3", PHASES)),
        Transformer(250, 1.2, np.sqrt(16 - 1.44), 1 / 0.975),
        Source(1.01),
    )
    expected = phase_flow(feeder, np.array([[-2.0], [-3], [3]]), np.array([[-0.4], [-0.5], [0]]))
    np.testing.assert_allclose(by_gridpact(read), expected.magnitude_pu[:, 0], rtol=0, atol=1e-12)
    assert [line.rating_a for line in read.lines] == [180, 360]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"ext_grid": frame({"bus": 0, "in_service": False})}, "has 0 external grids"),
        ({"shunt": frame({"bus": 1, "in_service": True})}, "elements of table 'shunt' are not planned with"),
        ({"switch": frame({"bus": 1, "element": 3, "et": "b", "closed": True})}, "joined by a switch"),
        ({"switch": frame({"bus": 1, "element": 0, "et": "t", "closed": False})}, "takes out the transformer"),
        ({"switch": frame({"bus": 3, "element": 0, "et": "l", "closed": False})}, "which is no end of line 0"),
        (
            {"gen": frame({"bus": 1, "p_mw": 0.1, "vm_pu": 1.0, "in_service": True})},
            "of table 'gen' are not planned with",
        ),
        ({"storage": frame({"bus": 1, "p_mw": 0.1})}, "storage 0: has no 'in_service'"),
    ],
)
def test_pandapower_thatIsNotPlannedWith_isNamed(tmp_path: Path, changes: dict[str, Any], says: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(stored(**changes)))
    with pytest.raises(InputError, match=says):
        read_pandapower(path)


@pytest.mark.parametrize(
    ("kind", "column", "value", "says"),
    [
        ("sgen", "in_service", 1.5, "sgen 0: 'in_service' is 1.5; give true or false"),
        ("line", "in_service", None, "line 0: 'in_service' is None; give true or false"),
        ("line", "parallel", 1.5, "line 0: 'parallel' is 1.5; give a whole number of 1 or more"),
        ("line", "x0_ohm_per_km", None, "line 0: has no 'x0_ohm_per_km'"),
        ("load", "scaling", "half", "load 0: 'scaling' is 'half', which is not a number that can be"),
        ("trafo", "tap2_pos", 1, "trafo 0: has a second tap; the first one is planned with"),
        ("sgen", "type", "PV", "loads of a type that is neither wye nor delta are taken as between phase and neutral"),
        ("load", "type", None, "loads of a type that is neither wye nor delta are taken as between phase and neutral"),
    ],
)
def test_pandapower_cellThatPandapowerReadsOtherwise_isSaid(
    tmp_path: Path, kind: str, column: str, value: Any, says: str
) -> None:
    """In a refusal, or in a remark where it is a way to connect that is not planned with."""
    path, table = tmp_path / "net.json", json.loads(stored()["_object"][kind]["_object"])
    rows = [dict(zip(table["columns"], row, strict=True)) for row in table["data"]]
    rows[0][column] = value
    rows[1:] = [{**dict.fromkeys(rows[0]), **row} for row in rows[1:]]
    path.write_text(json.dumps(stored(**{kind: frame(*rows)})))
    assert says in (refusal(read_pandapower, path) or " ".join(read_pandapower(path).remarks))


def test_pandapower_transformersDf_isOfWhatItMayCarry(tmp_path: Path) -> None:
    """Its impedance stays as it is."""
    path, table = tmp_path / "net.json", json.loads(stored()["_object"]["trafo"]["_object"])
    row = dict(zip(table["columns"], table["data"][0], strict=True))
    path.write_text(json.dumps(stored()))
    whole = read_pandapower(path).transformer
    path.write_text(json.dumps(stored(trafo=frame(row | {"df": 0.5}))))
    half = read_pandapower(path).transformer
    assert whole is not None
    assert half is not None
    assert (whole.kva, half.kva) == (250, 125)
    np.testing.assert_allclose(half.impedance_ohm(400), whole.impedance_ohm(400), rtol=1e-12)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"_object": 3}', '{"_class": "other", "_object": {}}'])
def test_pandapower_thatIsNone_isSaid(tmp_path: Path, text: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(text)
    with pytest.raises(InputError, match="is not a network as pandapower writes it"):
        read_pandapower(path)


def refusal(read: Callable[[Path], NetworkFile], path: Path) -> str | None:
    """What is said of a file that is not read."""
    try:
        read(path)
    except InputError as error:
        return str(error)
    return None


MISSING: Any = object()
ODD = (MISSING, None, "x", "", -1, 0, 1e300, True, [], 999)


@pytest.mark.parametrize("kind", ["bus", "ext_grid", "trafo", "line", "load", "sgen", "asymmetric_load"])
def test_pandapower_withOddValues_isReadOrSaid(tmp_path: Path, kind: str) -> None:
    """Whatever stands in a cell: it is taken, or the table, its row and the column are named."""
    path = tmp_path / "net.json"
    table = json.loads(stored()["_object"][kind]["_object"])
    for place, column in enumerate(table["columns"]):
        for value in ODD:
            changed = json.loads(json.dumps(table))
            if value is MISSING:
                changed["columns"].pop(place)
                changed["data"][0].pop(place)
                for row in changed["data"][1:]:
                    row.pop(place)
            else:
                changed["data"][0][place] = value
            path.write_text(json.dumps(stored(**{kind: {"_class": "DataFrame", "_object": json.dumps(changed)}})))
            said = refusal(read_pandapower, path)
            assert said is None or (said.startswith(f"{path}: ") and "\n" not in said), (column, value)


@pytest.mark.parametrize("text", ['{"columns": 3}', "[", '{"columns": ["a"], "index": [0, 0], "data": [[1], [2]]}'])
def test_pandapower_tableThatIsNone_isNamed(tmp_path: Path, text: str) -> None:
    path = tmp_path / "net.json"
    path.write_text(json.dumps(stored(line={"_class": "DataFrame", "_object": text})))
    with pytest.raises(InputError, match=r"net.json: table 'line' is not one as pandapower writes it"):
        read_pandapower(path)


@pytest.mark.parametrize("kind", ["bus", "line", "trn", "src"])
def test_matrices_withOddCells_areReadOrSaid(tmp_path: Path, kind: str) -> None:
    tables(tmp_path, simple())
    path = tmp_path / f"x_{kind}_df.csv"
    head, first, *rest = path.read_text().splitlines()
    for place in range(len(head.split(","))):
        for value in ("", "x", "-1", "0", "nan", "1e300", '"', "\0"):
            for changes_head in (False, True):
                cells = (head if changes_head else first).split(",")
                cells[place] = value
                changed = ",".join(cells)
                path.write_text("\n".join([changed, first, *rest] if changes_head else [head, changed, *rest]) + "\n")
                said = refusal(read_matrices, tmp_path)
                assert said is None or (said.startswith(str(tmp_path)) and "\n" not in said), (place, value)
