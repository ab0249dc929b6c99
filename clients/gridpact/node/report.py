"""What a node tells its household after a round."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gridpact.chain.values import Phase
from gridpact.files import parse_json, write_atomically


@dataclass
class NodeReport:
    """What a node tells its household, and nobody else, after a round."""

    node: int
    phase: Phase
    iterations: int
    agreed: bool  # else the schedule is what the household does with its supplier alone
    schedule: Mapping[str, list[float]]  # kW, kvar or kWh, (T,) each
    relaxation_gap_pu: list[float]  # of the part of the network that the node solved, (T,) or empty
    statements: Mapping[int, list[tuple[int, int, int]]]  # partner -> (step, energy Wh, price 1e-6 currency/kWh)
    solve_s: float
    wall_s: float
    seconds: Mapping[str, float]  # of the round by what the node did: solving, reading, sending, waiting
    gas: Counter[str] = field(default_factory=Counter)  # by what it was used for
    transactions: int = 0

    def write(self, path: Path) -> None:
        write_atomically(path, json.dumps(vars(self) | {"phase": self.phase.name}) + "\n", 0o600)

    @staticmethod
    def read(path: Path) -> NodeReport:
        values = parse_json(path.read_text(encoding="utf-8"))
        statements = {int(other): [tuple(entry) for entry in trades] for other, trades in values["statements"].items()}
        return NodeReport(
            **values | {"phase": Phase[values["phase"]], "statements": statements, "gas": Counter(values["gas"])}
        )
