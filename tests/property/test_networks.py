"""Network files that are changed by chance: what is read is what other programs make of it, or it is refused.

OpenDSS solves its own text, and tables with matrices as text that is written here from the cells; loads are constant
powers, as homes are. pandapower solves its JSON where it is installed. `make mutations` draws more.
"""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import random
import re
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from unit.community.networks.test_opendss import CODES, MASTER, by_gridpact, voltages_at
from unit.community.networks.test_other_files import simple, stored, tables

from gridpact.community.networks.matrices import read_matrices
from gridpact.community.networks.network import NetworkFile
from gridpact.community.networks.opendss import read_opendss
from gridpact.community.networks.pandapower import read_pandapower
from gridpact.errors import InputError, SolverError

DRAWS = int(os.environ.get("GRIDPACT_MUTATIONS", "60"))
"""Of each format."""

SAME_PU = 1e-5
"""OpenDSS's transformers have antifloat reactances of some ppm, which a draw may make a hundred times as heavy."""

LEFT_OUT = (
    "capacitances",
    "the transformer is wye-wye",
    "the transformer's ",
    "loads of unlike phases",
    "loads between",
    "loads of a type",
    "loads that depend on voltage",
    "asymmetric loads of nothing",
    "the external grid's",
)
"""What is not planned with, and said."""

NUMBERS = ("0", "1e9", "nan", "", "1,5", "1e-9", "-1e-3", "inf", "x", "999")


def number(draw: random.Random, text: str) -> str:
    """Something instead of a number."""
    try:
        value = float(text)
    except ValueError:
        return draw.choice(NUMBERS)
    return draw.choice((*NUMBERS, *(f"{value * factor:.6g}" for factor in (-1, 2, 0.5, 1.1, 1000, 0.001))))


def changed_text(draw: random.Random, text: str) -> str:
    """A word, a number, a unit, a bus, phases or a line is another, missing, twice or elsewhere."""
    lines = text.splitlines()
    places = [k for k, line in enumerate(lines) if re.match(r"(?i)new (?!energymeter)|~|redirect", line)]
    at = draw.choice(places)
    line = lines[at]
    kind = draw.randrange(11)
    if kind <= 2 and (found := list(re.finditer(r"(?<![\w.])\d+\.?\d*(?![\w])", line))):
        one = draw.choice(found)
        lines[at] = line[: one.start()] + number(draw, one.group()) + line[one.end() :]
    elif kind == 3:
        units = ("mi", "kft", "m", "km", "ft", "in", "cm", "none", "yd", "meter")
        lines[at] = re.sub(r"units=\w+", lambda _: f"units={draw.choice(units)}", line)
    elif kind == 4:
        buses = ("one", "two", "three", "four", "five", "lv", "hv", "nowhere")
        lines[at] = re.sub(r"bus(\d?)=\w+", lambda m: f"bus{m[1]}={draw.choice(buses)}", line, count=1)
    elif kind == 5:
        nodes = (
            ".1",
            ".2",
            ".3",
            ".1.2",
            ".2.3",
            ".1.2.3",
            ".1.2.3.0",
            ".4",
            ".0",
            ".3.2.1",
            ".1.1",
            ".1.2.3.4",
            ".0.1",
        )
        lines[at] = re.sub(r"(\.\d)+", lambda _: draw.choice(nodes), line, count=draw.choice((0, 1)))
    elif kind == 6:
        del lines[at]
    elif kind == 7:
        lines.insert(draw.choice(places), line)
    elif kind == 8:
        lines[at] = re.sub(r"phases=\d", lambda _: f"phases={draw.randrange(5)}", line)
    elif kind == 9:
        parts = line.split()
        del parts[draw.randrange(len(parts))]
        lines[at] = " ".join(parts)
    else:
        words = (
            *("conn=delta", "conn=wye", "model=1", "model=2", "model=5", "switch=n", "switch=y", "linecode=odd"),
            *(
                "linecode=drop",
                "linecode=main",
                "r1=0.2 x1=0.1",
                "pf=0.9",
                "kvar=1",
                "tap=1.05",
                "like=a",
                "enabled=no",
            ),
        )
        pattern = r"(conn|model|switch|linecode|enabled)=\w+|$"
        lines[at] = re.sub(pattern, lambda _: " " + draw.choice(words), line, count=1)
    return "\n".join(lines) + "\n"


def changed_table(draw: random.Random, rows: list[list[Any]]) -> None:
    """A cell, a row or a column of a table is another, missing or twice; the first row is its head."""
    kind, row = draw.randrange(8), draw.randrange(1, len(rows)) if len(rows) > 1 else 0
    column = draw.randrange(len(rows[0]))
    if kind <= 3:
        rows[row][column] = number(draw, str(rows[row][column]))
    elif kind == 4:
        rows[row][column] = draw.choice(rows)[column]
    elif kind == 5 and row:
        del rows[row]
    elif kind == 6 and row:
        rows.append(list(rows[row]))
    else:
        for one in rows:
            del one[column]


class Solver:
    """A function in a process of its own, which a file may crash."""

    def __init__(self, of: Callable[..., Any]) -> None:
        self._of = of
        self._pool = ProcessPoolExecutor(1, get_context("spawn"))

    def __call__(self, *given: Any) -> Any:
        try:
            return self._pool.submit(self._of, *given).result()
        except BrokenProcessPool:
            self._pool = ProcessPoolExecutor(1, get_context("spawn"))
            return "it crashed"

    def close(self) -> None:
        self._pool.shutdown()


NO_VERDICT = "no verdict: "

Places = list[tuple[str, tuple[int, ...]]]


def by_opendss(path: Path, places: Places, unit: float) -> list[float] | str:
    """Voltages at the places, per unit, of loads that are constant powers; or what OpenDSS says."""
    import opendssdirect as dss

    dss.Basic.AllowForms(False)
    try:
        for command in ("clear", f'compile "{path}"', "batchedit load..* model=1 vminpu=0.5 vmaxpu=10"):
            dss.Text.Command(command)
        dss.Text.Command("set tolerance=1e-10 maxiterations=1000")
        dss.Text.Command("solve")
        if not dss.Solution.Converged():
            return "it has no solution"
        return voltages_at(places, unit)
    except (dss.DSSException, ValueError) as error:
        return str(error)


def by_pandapower(path: Path, places: Places, unit: float) -> list[float] | str:
    """The same by pandapower's three-phase power flow."""
    pandapower = importlib.import_module("pandapower")
    run = importlib.import_module("pandapower.pf.runpp_3ph").runpp_3ph
    try:
        net = pandapower.from_json(str(path))
        run(net, tolerance_mva=1e-10, numba=False)
        result = []
        for bus, phases in places:
            volts = 1000 * net.bus.at[int(bus), "vn_kv"] / np.sqrt(3)
            result += [float(net.res_bus_3ph.at[int(bus), f"vm_{'abc'[phase]}_pu"]) * volts / unit for phase in phases]
        return result
    except pandapower.LoadflowNotConverged as error:
        return f"{type(error).__name__}: {error}"
    except Exception as error:  # it does not say what is wrong with a file: whatever it runs into
        return f"{NO_VERDICT}{type(error).__name__}: {error}"


@pytest.fixture(scope="module")
def opendss() -> Iterator[Solver]:
    solver = Solver(by_opendss)
    yield solver
    solver.close()


def judge(
    read: Callable[[Path], NetworkFile], given: Path, solve: Callable[[NetworkFile], list[float] | str] | None
) -> str:
    """What came of a file.

    Raises:
        AssertionError: it is refused in other words than one sentence with a file, or read as what it is not.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            network = read(given)
            network.feeder([load.connection for load in network.loads], 0.9, 1.1)
        except InputError as error:
            said = str(error)
        else:
            said = ""
    if said:
        assert said.startswith(str(given if given.is_dir() else given.parent)), said
        assert "\n" not in said, said
        return "refused"
    if solve is None:
        return "read"
    theirs = solve(network)
    try:
        mine = by_gridpact(network)
    except SolverError:
        mine = []
    if not mine:
        weak = isinstance(theirs, str) or min(theirs) < 0.75
        assert weak, f"no solution was found, but {theirs}"
        return "no solution"
    if isinstance(theirs, str) and theirs.startswith(NO_VERDICT):
        return "not solved by the other"
    assert not isinstance(theirs, str), f"read, but the other program says: {theirs}"
    if any(remark.startswith(LEFT_OUT) for remark in network.remarks):
        return "left out and said"
    assert len(mine) == len(theirs)
    assert np.all(np.isfinite(mine))
    off = float(np.abs(np.array(mine) - theirs).max())
    assert off <= SAME_PU, f"off by {off:.1e} p.u.; {network.remarks}"
    return "same"


def places_of(network: NetworkFile) -> tuple[Places, float]:
    places = [(load.connection.bus, load.connection.phases) for load in network.loads]
    return places, network.nominal_voltage_v / np.sqrt(3)


def told(error: AssertionError, draw: int, content: str) -> AssertionError:
    return AssertionError(f"draw {draw}: {error}\n{content}")


def test_opendss_changedByChance(tmp_path: Path, opendss: Solver) -> None:
    counts: dict[str, int] = {}
    path = tmp_path / "master.dss"
    for seed in range(DRAWS):
        draw = random.Random(f"opendss {seed}")
        master, codes = MASTER, CODES
        for _ in range(draw.choice((1, 1, 1, 2))):
            if draw.random() < 0.2:
                codes = changed_text(draw, codes)
            else:
                master = changed_text(draw, master)
        path.write_text(master)
        (tmp_path / "codes.dss").write_text(codes)
        try:
            came = judge(read_opendss, path, lambda network: opendss(path, *places_of(network)))
        except AssertionError as error:
            raise told(error, seed, master + codes) from None
        counts[came] = counts.get(came, 0) + 1
    assert min(counts.get("refused", 0), counts.get("same", 0)) > DRAWS / 10, counts


def test_matrices_changedByChance(tmp_path: Path, opendss: Solver) -> None:
    counts: dict[str, int] = {}
    for seed in range(DRAWS):
        draw = random.Random(f"matrices {seed}")
        folder = tmp_path / str(seed)
        folder.mkdir()
        tables(folder, simple())
        for _ in range(draw.choice((1, 1, 2))):
            path = draw.choice(sorted(folder.glob("*.csv")))
            with path.open(newline="") as table:
                rows = list(csv.reader(table))
            changed_table(draw, rows)
            with path.open("w", newline="") as table:
                csv.writer(table).writerows(rows)
        text = folder / "same.txt"

        def solve(network: NetworkFile, folder: Path = folder, text: Path = text) -> Any:
            text.write_text(as_opendss(folder))
            return opendss(text, *places_of(network))

        try:
            came = judge(read_matrices, folder, solve)
        except AssertionError as error:
            content = "\n".join(path.name + "\n" + path.read_text() for path in sorted(folder.glob("*.csv")))
            raise told(error, seed, content) from None
        counts[came] = counts.get(came, 0) + 1
    assert min(counts.get("refused", 0), counts.get("same", 0)) > DRAWS / 10, counts


def as_opendss(folder: Path) -> str:
    """The tables as OpenDSS text, cell by cell, with nothing of what gridpact makes of them."""

    def rows(kind: str) -> list[dict[str, str]]:
        (path,) = folder.glob(f"*{kind}*.csv")
        with path.open(newline="") as table:
            return list(csv.DictReader(table))

    (source,), (transformer,) = rows("src"), rows("trn")
    kv, series = float(source["kvBaseLL"]), complex(transformer["Zseries"])
    head, root = transformer["busA"].lower(), transformer["busB"].lower()
    lines = rows("line")
    above = [line for line in lines if head in (line["busA"].lower(), line["busB"].lower())]
    start = {line["busA"].lower() for line in above} | {line["busB"].lower() for line in above}
    first = min(start - {head}) if above else head
    text = [
        "clear",
        f"new circuit.x bus1={first} basekv={kv} pu={source['pu']} z1=[0 1e-9] z0=[0 1e-9]",
        f"new transformer.x windings=2 buses=[{head} {root}] conns=[delta wye] kvs=[{kv} {kv}] kvas=[1e6 1e6] "
        f"%loadloss={100 * series.real * 1e6 / kv**2 / 1000} xhl={100 * series.imag * 1e6 / kv**2 / 1000} "
        "ppm_antifloat=0",
    ]
    ends = [{line["busA"], line["busB"]} for line in lines]
    supplied = {transformer["busB"]}
    while more := {bus for pair in ends if pair & supplied for bus in pair} - supplied:
        supplied |= more
    for k, line in enumerate(lines):
        if line not in above and not {line["busA"], line["busB"]} <= supplied:
            continue
        z = {key: complex(line[f"Z{key}"]) for key in ("aa", "bb", "cc", "ab", "ac", "bc")}
        here = [p for p in "abc" if z[p + p]]
        nodes = "".join(f".{'abc'.index(p) + 1}" for p in here)
        r, x = (
            " | ".join(" ".join(f"{part(z[q + p])!r}" for q in here[: n + 1]) for n, p in enumerate(here))
            for part in (lambda v: v.real, lambda v: v.imag)
        )
        text.append(
            f"new line.l{k} bus1={line['busA']}{nodes} bus2={line['busB']}{nodes} phases={len(here)} length=1 "
            f"rmatrix=[{r}] xmatrix=[{x}] cmatrix=[{' | '.join(' '.join('0' * (n + 1)) for n in range(len(here)))}]"
        )
    for k, bus in enumerate(rows("bus")):
        if bus["name"] not in supplied:
            continue
        text += [
            f"new load.b{k}{p} bus1={bus['name']}.{'abc'.index(p) + 1} phases=1 kv={kv / np.sqrt(3)} "
            f"kw={bus[f'P{p}']} kvar={bus[f'Q{p}']}"
            for p in "abc"
            if complex(bus[f"P{p}"]) or complex(bus[f"Q{p}"])
        ]
    return "\n".join([*text, f"set voltagebases=[{kv}]", "calcvoltagebases", "solve", ""])


KINDS = ("bus", "ext_grid", "trafo", "line", "load", "sgen", "asymmetric_load")


def test_pandapower_changedByChance(tmp_path: Path) -> None:
    """Against pandapower where it is installed; what is refused is said in a sentence in any case."""
    solver = Solver(by_pandapower) if importlib.util.find_spec("pandapower") else None
    counts: dict[str, int] = {}
    path = tmp_path / "net.json"
    for seed in range(DRAWS):
        draw = random.Random(f"pandapower {seed}")
        content = whole()
        for _ in range(draw.choice((1, 1, 2))):
            kind = draw.choice(KINDS)
            table = json.loads(content["_object"][kind]["_object"])
            rows = [table["columns"], *table["data"]]
            before = len(rows)
            changed_table(draw, rows)
            rows[1:] = [[as_json(cell) for cell in row] for row in rows[1:]]
            index = list(range(len(rows) - 1)) if len(rows) != before else table["index"]
            table = {"columns": rows[0], "index": index, "data": rows[1:]}
            content["_object"][kind]["_object"] = json.dumps(table)
        path.write_text(json.dumps(content))
        try:
            came = judge(
                read_pandapower,
                path,
                None if solver is None else lambda network: solver(path, *places_of(network)),
            )
        except AssertionError as error:
            raise told(error, seed, path.read_text()) from None
        counts[came] = counts.get(came, 0) + 1
    assert min(counts.get("refused", 0), counts.get("same", counts.get("read", 0))) > DRAWS / 10, counts


def as_json(cell: Any) -> Any:
    """A number that was drawn as text, as JSON has it; what is none stays text."""
    if not isinstance(cell, str):
        return cell
    try:
        value = float(cell)
    except ValueError:
        return cell or None
    return None if not np.isfinite(value) else int(value) if value == int(value) and "." not in cell else value


def whole() -> dict[str, Any]:
    """The file of the reader's tests with all that pandapower's power flow asks for."""
    content = stored()
    object_ = content["_object"]
    more: dict[str, dict[str, Any]] = {
        "bus": {"type": "b"},
        "ext_grid": {"va_degree": 0.0, "s_sc_max_mva": 1e9, "rx_max": 0.1, "x0x_max": 1.0, "r0x0_max": 0.1},
        "trafo": {"pfe_kw": 0.0, "i0_percent": 0.0, "shift_degree": 0.0, "df": 1.0, "vk0_percent": 4.0}
        | {
            "vkr0_percent": 1.2,
            "mag0_percent": 1e9,
            "mag0_rx": 0.0,
            "si0_hv_partial": 0.9,
            "tap_step_degree": 0.0,
            "tap_changer_type": "Ratio",
        },
        "line": {"c_nf_per_km": 0.0, "g_us_per_km": 0.0, "c0_nf_per_km": 0.0, "type": "cs"},
        "load": {"const_z_percent": 0.0, "const_i_percent": 0.0, "type": "wye"},
        "sgen": {"type": "wye", "current_source": True},
        "asymmetric_load": {},
    }
    for kind, columns in more.items():
        table = json.loads(object_[kind]["_object"])
        table["columns"] += list(columns)
        table["data"] = [[*row, *columns.values()] for row in table["data"]]
        if kind == "line":  # every line has impedances of its own: pandapower takes none for another
            for name in ("r0_ohm_per_km", "x0_ohm_per_km"):
                place = table["columns"].index(name)
                for row in table["data"]:
                    row[place] = row[place] if row[place] is not None else 0.9
        if kind == "trafo":  # as pandapower's three-phase flow has it
            table["data"][0][table["columns"].index("vector_group")] = "Dyn"
        object_[kind] |= {"_object": json.dumps(table), "is_multiindex": False, "is_multicolumn": False}
    object_ |= {"f_hz": 50.0, "sn_mva": 1.0, "version": "3.0.0", "format_version": "3.0.0"}
    return content
