"""Measures who loses by how a pool is paid and adders are borne: `make losers`.

    python -m measure.losers --json reports/losers.json
    python -m measure.losers --days "fontana16 06-12" --streets "free hours 13" --draws 8 --json build/losers.json

Each day of a shipped case, and each street that is drawn by chance (`measure.streets`), is planned in TG and lived
through in draws of the product's own errors, with a pool alone and agreed anew; each delivery is then shared by all of
`SHARINGS`. Finished draws are taken over.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.files import write_atomically
from gridpact.problem.scenario import Scenario
from gridpact.study.weeks.store import to_fields
from gridpact.study.weeks.workers import Processes
from gridpact.study.whatif.delivery import Recourse
from gridpact.study.whatif.realised import UncertaintySettings
from gridpact.study.whatif.rules import Rule
from gridpact.study.whatif.uncertainty import live_through, plan_days
from measure.streets import street

DAYS = ("fontana16 06-10", "fontana16 12-22", "amsterdam16 2018-06-21")
STREETS = (
    "no batteries 12",
    "negative hours 13",
    "free hours 13",
    "feed-in worth nothing 13",
    "any 12",
    "bill near zero 14",
)


def communities(days: Sequence[str], streets: Sequence[str]) -> Iterator[CommunityDay]:
    """Days of cases, as CASE DAY, and streets, as KIND SEED."""
    for text in days:
        case, day = text.rsplit(" ", 1)
        yield read_community(case).on(day)
    for text in streets:
        kind, seed = text.rsplit(" ", 1)
        yield street(kind, int(seed))


def measured(community: CommunityDay, draws: int, often: int, folder: Path, jobs: int) -> dict[str, Any]:
    """Plays one.

    Raises:
        InfeasibleError, SolverError: see `plan_days`.
    """
    rules, recourses = (Rule.POOL, Rule.REAGREED), (Recourse.ROLLING,)
    settings = UncertaintySettings(recourses=recourses, draws=draws, rules=rules, re_agreements=(often,))
    workers, folder = Processes(jobs), folder / f"{community.name}_{community.day}".replace(" ", "_")
    folder.mkdir(parents=True, exist_ok=True)
    lived = live_through(plan_days([community], Scenario.TG, folder, workers), settings, folder, workers)
    return {
        "case": community.name,
        "day": community.day,
        "currency": community.currency,
        "homes": len(community.households),
        "draws": draws,
        "planned_saving": lived.planned_saving,
        "saving": {f"{rule.name} {rule.re_agreements}": rule.median for rule in lived.rules},
        "sharings": [to_fields(one) for one in lived.sharings],
    }


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--days", nargs="*", default=list(DAYS), metavar="CASE DAY", help="each in quotes")
    parser.add_argument("--streets", nargs="*", default=list(STREETS), metavar="KIND SEED", help="each in quotes")
    parser.add_argument("--draws", type=int, default=12)
    parser.add_argument("--re-agreements", type=int, default=4, metavar="N")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("build/losers"))
    parser.add_argument("--json", type=Path, required=True)
    arguments = parser.parse_args(argv)
    rows: list[dict[str, Any]] = []
    for community in communities(arguments.days, arguments.streets):
        rows.append(measured(community, arguments.draws, arguments.re_agreements, arguments.out, arguments.jobs))
        write_atomically(arguments.json, json.dumps(rows, indent=1) + "\n")
        print(f"{community.name} {community.day} is measured", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
