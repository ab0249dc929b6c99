"""What a round gives away, as the table of `docs/privacy.md`.

    python -m measure.privacy [--case NAME] [--days D,D,...] [--leagues]

plays the days in memory, in each scenario, and prints medians over the homes with devices and the days: r over the
steps, and the error beside that of the quantity's own mean. With `--leagues`, of several who tell each other what they
read of a sealed round.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gridpact.community.read import read_community
from gridpact.node.privacy import QUANTITIES, Guess, Leak, Replay, insights, leagues, leaks, replayed, summary
from gridpact.problem.scenario import Scenario

CASE = "fontana16"
DAYS = ("06-10", "06-13", "12-22", "12-25")
SCENARIOS = (Scenario.T, Scenario.TG, Scenario.G)
FORMS = {"open": False, "sealed": True}


@dataclass(frozen=True)
class RoleRow:
    """How well one of those who look on knows the homes with devices, medians by quantity."""

    scenario: Scenario
    form: str
    role: str
    known: dict[str, dict[str, float | None]]


def rows(
    case: str, days: Sequence[str], scenarios: Iterable[Scenario] = SCENARIOS, in_league: bool = False
) -> list[RoleRow]:
    """Of all scenarios, forms and roles.

    Args:
        in_league: of those who tell each other, instead of each alone.

    Raises:
        InputError: there is no such case or day.
        InfeasibleError, SolverError: see `LocalProblem.solve`.
    """
    community = read_community(case)
    rows = []
    for scenario in scenarios:
        played = [replayed(community.on(day), scenario) for day in days]
        for form, sealed in FORMS.items():
            if in_league and not sealed:
                continue
            seen = [
                leagues(one.transcript, one) if in_league else insights(one.transcript, one, sealed) for one in played
            ]
            for role in seen[0]:
                every = [leak for one, of in zip(played, seen, strict=True) for leak in _of_equipped(one, of[role])]
                rows.append(RoleRow(scenario, form, role, summary(every)))
    return rows


def _of_equipped(one: Replay, guessed: dict[int, Guess]) -> list[Leak]:
    return [leak for leak in leaks(guessed, one.schedules) if leak.node in one.equipped]


def table(rows: Sequence[RoleRow]) -> str:
    """As Markdown; who knows the same as the one before stands beside it."""
    lines = ["| scenario | form | who | load | PV | car | net power at the meter |", "|---|---|---|---|---|---|---|"]
    merged: list[tuple[RoleRow, list[str]]] = []
    for row in rows:
        last = merged[-1][0] if merged else None
        same = last is not None and (last.scenario, last.form, last.known) == (row.scenario, row.form, row.known)
        if same:
            merged[-1][1].append(row.role)
        else:
            merged.append((row, [row.role]))
    for row, roles in merged:
        cells = " | ".join(_cell(row.known[what]) for what in QUANTITIES)
        lines.append(f"| {row.scenario.name} | {row.form} | {', '.join(roles)} | {cells} |")
    return "\n".join(lines)


def _cell(known: dict[str, float | None]) -> str:
    r, error, usual = (known[name] for name in ("r", "rmse_w", "usual_w"))
    return "" if r is None or error is None or usual is None else f"{r:.2f}, {error:,.0f} of {usual:,.0f} W"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.privacy", description=__doc__)
    parser.add_argument("--case", default=CASE)
    parser.add_argument("--days", default=",".join(DAYS))
    parser.add_argument("--leagues", action="store_true", help="of several who tell each other")
    arguments = parser.parse_args(argv)
    print(table(rows(arguments.case, arguments.days.split(","), in_league=arguments.leagues)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
