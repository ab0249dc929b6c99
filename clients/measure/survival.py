"""Measures what is left of a plan's saving by each rule, on days of the shipped cases: `make survival`.

    python -m measure.survival --draws 20 --json reports/survival.json

Each day is a run of `gridpact uncertainty` in a folder of its own, which takes over the draws that are finished there.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from gridpact.cli import main as gridpact
from gridpact.files import write_atomically

DAYS = ("fontana16 06-10", "fontana16 06-12", "fontana16 12-22", "amsterdam16 2018-06-21")
RULES = "today,netted,pool,reagreed"
RE_AGREEMENTS = "4,every"
KEPT = (
    *("case", "days", "currency", "draws", "seed", "adder", "stores"),
    *("planned_saving", "rules", "re_agreement_rounds"),
)
"""Keys of uncertainty.json."""


def measured(day: str, draws: int, folder: Path, jobs: int) -> dict[str, Any]:
    """Plays a day, or reads it where it is finished.

    Raises:
        SystemExit: it failed.
    """
    case, name = day.split()
    out = folder / f"{case}_{name}"
    played = ["--case", case, "--days", name, "--draws", str(draws), "--jobs", str(jobs), "--out", str(out)]
    rules = ["--recourse", "rolling", "--rules", RULES, "--re-agreements", RE_AGREEMENTS]
    status = gridpact(["uncertainty", *played, *rules])
    if status:
        sys.exit(status)
    outcome = json.loads((out / "uncertainty.json").read_text(encoding="utf-8"))
    return {key: outcome[key] for key in KEPT}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", nargs="+", default=DAYS, metavar="CASE DAY", help="each in quotes")
    parser.add_argument("--draws", nargs="+", type=int, default=[20], help="of all days, or of each")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/survival"))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    draws = arguments.draws if len(arguments.draws) > 1 else arguments.draws * len(arguments.days)
    pairs = zip(arguments.days, draws, strict=True)
    rows = [measured(day, number, arguments.out, arguments.jobs) for day, number in pairs]
    write_atomically(arguments.json, json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
