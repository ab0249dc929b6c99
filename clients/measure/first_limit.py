"""Which limit of a feeder breaks first as panels grow: a voltage, or what a cable or the transformer carries.

    python -m measure.first_limit FILE ... [--voltage-min 0.94] [--voltage-max 1.10] [--json FILE]

Every load of a network file draws 0.5 kW, and gets panels that give as much everywhere. Where a file rates no lines, a
line of OpenDSS is taken for a buried aluminium cable with its resistance: what those carry by DIN VDE 0276-603 (NAYY in
the ground) is a power of the resistance, within 3 % from 35 to 240 mm2.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from gridpact.community.networks.files import read_network
from gridpact.community.networks.network import NetworkFile
from gridpact.community.street import PhaseFeeder
from gridpact.errors import InputError, SolverError
from gridpact.grid.three_phase import loading, phase_flow, reduced_of

LOAD_KW = 0.5
MOST_KW = 200.0
EXACT_KW = 0.05

CARRIES_A, AT_OHM_PER_KM, POWER = 144.0, 0.641, 0.567
"""Of 50 mm2 of aluminium, and how that falls with resistance."""


@dataclass(frozen=True)
class FirstLimits:
    """Panels of each home, kW, from which on something is beyond its limit; None: nothing is, up to 200 kW."""

    network: str
    loads: int
    voltage_kw: float | None
    cable_kw: float | None
    transformer_kw: float | None
    rated: str  # where the lines' ratings are from: file, resistance, or nowhere

    @property
    def first(self) -> str:
        found = {"voltage": self.voltage_kw, "cable": self.cable_kw, "transformer": self.transformer_kw}
        there = {name: kw for name, kw in found.items() if kw is not None}
        return min(there, key=lambda name: there[name]) if there else "none"


def carried_a(ohm_per_km: float) -> float:
    """What a buried aluminium cable carries, A."""
    return float(CARRIES_A * (AT_OHM_PER_KM / ohm_per_km) ** POWER)


def ratings_of(folder: Path) -> dict[str, float]:
    """Of the lines of OpenDSS text, A, by their resistances; of those that name a code with one."""
    text = "\n".join(path.read_text(errors="replace") for path in sorted(folder.glob("*.dss")))
    codes = {
        name.lower(): float(ohm) for name, ohm in re.findall(r"(?im)^new linecode\.(\S+)[^\n]*?\br1=([\d.eE+-]+)", text)
    }
    lines = re.findall(r"(?im)^new line\.(\S+)[^\n]*?\blinecode=(\S+)", text)
    return {name.lower(): carried_a(codes[code.lower()]) for name, code in lines if codes.get(code.lower(), 0.0) > 0}


def with_ratings(network: NetworkFile, path: Path) -> tuple[NetworkFile, str]:
    """The network with lines that are rated, and by what."""
    if any(line.rating_a is not None for line in network.lines):
        return network, "file"
    known = ratings_of(path.parent) if path.suffix == ".dss" else {}
    lines = tuple(replace(line, rating_a=known.get(line.name.lower())) for line in network.lines)
    return replace(network, lines=lines), "resistance" if known else "nowhere"


def first_limits(feeder: PhaseFeeder, network: str, rated: str) -> FirstLimits:
    """By halving, each by itself."""
    has_rating = np.isfinite(reduced_of(feeder).rating_a)
    count = len(feeder.connections)

    def beyond(panels_kw: float) -> tuple[bool, bool, bool]:
        """Of voltages, of cables and of the transformer; without a power flow all is."""
        power = np.full((count, 1), panels_kw - LOAD_KW)
        try:
            flow = phase_flow(feeder, power, np.zeros((count, 1)))
        except SolverError:
            return True, True, True
        used = loading(feeder, flow)
        volts = flow.magnitude_pu
        return (
            bool((volts > feeder.voltage_max_pu).any() or (volts < feeder.voltage_min_pu).any()),
            bool((used.line[has_rating] > 1).any()),
            bool((used.transformer > 1).any()),
        )

    def least(what: int) -> float | None:
        low, high = 0.0, MOST_KW
        if beyond(low)[what]:
            return 0.0
        if not beyond(high)[what]:
            return None
        while high - low > EXACT_KW:
            middle = (low + high) / 2
            low, high = (low, middle) if beyond(middle)[what] else (middle, high)
        return round(high, 2)

    return FirstLimits(network, count, least(0), least(1) if has_rating.any() else None, least(2), rated)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="network files, as Master.dss")
    parser.add_argument("--voltage-min", type=float, default=0.94, metavar="PU")
    parser.add_argument("--voltage-max", type=float, default=1.10, metavar="PU")
    parser.add_argument("--json", type=Path, metavar="FILE")
    given = parser.parse_args(argv)
    found = []
    for path in given.files:
        try:
            network, rated = with_ratings(read_network(path), path)
            feeder = network.feeder([load.connection for load in network.loads], given.voltage_min, given.voltage_max)
        except InputError as error:
            print(f"{path}: {error}", file=sys.stderr)
            continue
        found.append(first_limits(feeder, path.parent.name if path.stem == "Master" else path.stem, rated))
        print(found[-1].first, found[-1], flush=True)
    counted = {name: sum(one.first == name for one in found) for name in ("voltage", "cable", "transformer", "none")}
    print(", ".join(f"{name} first: {count}" for name, count in counted.items()))
    if given.json is not None:
        given.json.write_text(json.dumps([{**asdict(one), "first": one.first} for one in found], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
