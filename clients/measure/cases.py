"""Makes the tables of the cases eulv55 and winter16x3 from where they come from.

    python -m measure.cases --network IEEE_European_LV_On_Peak_566.json --weather de_2m_temperature.csv

The network file is in the folder `pandapower/networks` of the PyPI package pandapower 3.5.4, the weather (time, 2 m
temperature in kelvin, hourly of 2016) from the PyPI package emobpy 0.6.2. What the tables hold besides is measured in
other shipped cases. `community.toml` of each says what was assigned.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gridpact.community.networks.network import NetworkFile, plainly_named
from gridpact.community.networks.opendss import opendss_text
from gridpact.community.networks.pandapower import read_pandapower
from gridpact.community.read import shipped_cases

HOMES = 55
SUMMER = tuple(f"06-{day}" for day in range(10, 17))
WINTER = tuple(f"12-{day}" for day in range(21, 28))

LOWEST_TAP = 1 / 1.05
"""Of the transformer, two steps of 2.5 % on the other side: 1.0 p.u. without load, where the source has 1.05."""

HEAT_PUMPS = {1: "floors", 2: "radiators", 4: "floors", 6: "radiators", 8: "floors", 11: "floors", 14: "radiators"}
"""Homes of winter16x3 that have one, and by what it heats."""
FLOW_C = {"floors": "35", "radiators": "50"}
TWO_WAY = (3, 7, 10, 13)
"""Homes whose car gives back."""

Table = list[list[str]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--network", type=Path, required=True)
    parser.add_argument("--weather", type=Path, required=True)
    arguments = parser.parse_args()
    cases = shipped_cases()["fontana16"].parent.parent
    eulv55(cases, european(read_pandapower(arguments.network)))
    winter16x3(cases, arguments.weather)


def european(network: NetworkFile) -> NetworkFile:
    """As the network file has it, with the tap as a feeder with panels needs it."""
    assert network.transformer is not None
    return replace(network, name="european_lv", transformer=replace(network.transformer, tap=LOWEST_TAP))


def eulv55(cases: Path, network: NetworkFile) -> None:
    """Homes 17, 33, 49 and on are homes 1 to 16 again, one, two and three weeks later in the year."""
    folder = cases / "eulv55"
    folder.mkdir(exist_ok=True)
    (folder / "network.dss").write_text(opendss_text(network), encoding="utf-8")
    year, owners = _by_day(cases / "fontana16year" / "load_kw.csv"), _read(cases / "fontana16" / "households.csv")
    days, homes = list(year), [f"home_{k + 1}" for k in range(HOMES)]

    def load(day: str, hour: int, k: int) -> str:
        repetition, original = divmod(k, 16)
        later = days[(days.index(day) + 7 * repetition) % len(days)]
        return year[later][hour][f"home_{original + 1}"]

    clock = [(day, hour) for day in (*SUMMER, *WINTER) for hour in range(24)]
    _write(
        folder / "load_kw.csv",
        [["time", *homes], *([f"{d} {h:02d}:00", *(load(d, h, k) for k in range(HOMES))] for d, h in clock)],
    )
    panels = [k for k in range(HOMES) if owners[k % 16]["pv_kwp"]]
    weeks = _by_day(cases / "fontana16" / "pv_kw.csv")
    output = [[f"{d} {h:02d}:00", *(weeks[d][h][f"home_{k % 16 + 1}"] for k in panels)] for d, h in clock]
    _write(folder / "pv_kw.csv", [["time", *(homes[k] for k in panels)], *output])
    places = [load.name for load in plainly_named(network).loads]
    rows = [
        owners[k % 16] | {"household": homes[k], "node": str(k + 1), "load": places[k]} for k in range(HOMES)
    ]  # fmt: skip
    _write(folder / "households.csv", [list(rows[0]), *(list(row.values()) for row in rows)])


def winter16x3(cases: Path, weather: Path) -> None:
    folder = cases / "winter16x3"
    folder.mkdir(exist_ok=True)
    homes = _read(cases / "amsterdam16" / "households.csv")
    rows = []
    for k, home in enumerate(homes, start=1):
        row = dict(home) | {"phases": str((k - 1) % 3 + 1)}
        way = HEAT_PUMPS.get(k)
        row |= {
            "heat_pump_kw": "3.5" if way else "",
            "heat_pump_loss_kw_per_k": "0.16" if way else "",
            "heat_pump_stored_kwh_per_k": "8" if way else "",
            "heat_pump_gains_kw": "0.4" if way else "",
            "heat_pump_flow_c": FLOW_C[way] if way else "",
        }
        two_way = k in TWO_WAY
        if two_way:
            row |= {column: "" for column in row if column.startswith("car_")}
        row |= {
            "two_way_car_kwh": "50" if two_way else "",
            "two_way_car_kw": "3.7" if two_way else "",
            "two_way_car_discharge_kw": "3.7" if two_way else "",
            "two_way_car_ready_kwh": "30" if two_way else "",
            "two_way_car_drive_kwh": "7" if two_way else "",
            "two_way_car_start_share": "0.5" if two_way else "",
            "two_way_car_from": "18:00" if two_way else "",
            "two_way_car_to": "07:00" if two_way else "",
        }
        rows.append(row)
    _write(folder / "households.csv", [list(rows[0]), *(list(row.values()) for row in rows)])
    table: Table = [["time", "outdoor_c"]]
    with weather.open(newline="", encoding="utf-8") as file:
        for time, kelvin in list(csv.reader(file))[1:]:
            day, hour = time[:10].replace("2016", "2018"), time[11:16]
            if "2018-12-21" <= day <= "2018-12-28":
                table.append([f"{day} {hour}", f"{float(kelvin) - 273.15:.2f}"])
    _write(folder / "outdoor_c.csv", table)


def _read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def _by_day(path: Path) -> dict[str, list[Mapping[str, str]]]:
    result: dict[str, list[Mapping[str, str]]] = {}
    for row in _read(path):
        result.setdefault(row["time"].split()[0], []).append(row)
    return result


def _write(path: Path, table: Sequence[Sequence[str]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(table)


if __name__ == "__main__":
    main()
