"""Measures what is left of a plan's saving by each rule, on days of the shipped cases: `make survival`.

    python -m measure.survival --draws 20 --json reports/survival.json
    python -m measure.survival --draws 5 --re-agreements 1,2,4,8,every --hindsight --json reports/curve.json
    python -m measure.survival --weeks --draws 2 --re-agreements 4 --json reports/weeks.json

With --weeks it plays the summer and the winter week of both cases instead (`make weeks`), a row a week: what is left
then is of the week's saving, which is the sum over its days.

Each day, or week, is a run of `gridpact uncertainty` in a folder of its own, which takes over the draws that are
finished there; the report is written after each. What would have been with all known beforehand takes a third of the
time, and is played with --hindsight only.
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
WEEKS = (
    "fontana16 " + ",".join(f"06-{day}" for day in range(10, 17)),
    "fontana16 " + ",".join(f"12-{day}" for day in range(21, 28)),
    "amsterdam16 " + ",".join(f"2018-06-{day}" for day in range(21, 29)),
    "amsterdam16 " + ",".join(f"2018-12-{day}" for day in range(21, 29)),
)
RULES = "today,netted,pool,reagreed"
RE_AGREEMENTS = "4,every"
KEPT = (
    *("case", "days", "currency", "draws", "seed", "adder", "stores"),
    *("planned_saving", "rules", "curve", "sharings", "re_agreement_rounds"),
)
"""Keys of uncertainty.json."""


def measured(day: str, draws: int, folder: Path, jobs: int, often: str, rules: str = RULES) -> dict[str, Any]:
    """Plays a day, or several, or reads them where they are finished.

    Args:
        day: the case and the day; days with commas.
        often: how often the rest of a day is agreed anew; several with commas.

    Raises:
        SystemExit: it failed.
    """
    case, name = day.split()
    out = folder / f"{case}_{name}"
    played = ["--case", case, "--days", name, "--draws", str(draws), "--jobs", str(jobs), "--out", str(out)]
    by = ["--recourse", "rolling", "--rules", rules, "--re-agreements", often]
    status = gridpact(["uncertainty", *played, *by])
    if status:
        sys.exit(status)
    outcome = json.loads((out / "uncertainty.json").read_text(encoding="utf-8"))
    return {key: outcome[key] for key in KEPT}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", nargs="+", metavar="CASE DAY", help="each in quotes; several of a case with commas")
    parser.add_argument("--weeks", action="store_true", help="the weeks of both cases, where no days are given")
    parser.add_argument("--re-agreements", default=RE_AGREEMENTS, metavar="N|every,...")
    parser.add_argument("--draws", nargs="+", type=int, default=[20], help="of all days, or of each")
    parser.add_argument("--hindsight", action="store_true", help="what would have been with all known beforehand, too")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/survival"))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args()
    days = arguments.days or (WEEKS if arguments.weeks else DAYS)
    draws = arguments.draws if len(arguments.draws) > 1 else arguments.draws * len(days)
    often = arguments.re_agreements
    rules = f"{RULES},hindsight" if arguments.hindsight else RULES
    rows = []
    for day, number in zip(days, draws, strict=True):
        rows.append(measured(day, number, arguments.out, arguments.jobs, often, rules))
        write_atomically(arguments.json, json.dumps(rows, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
