"""`gridpact markets`: every way to agree on the same homes and days, side by side."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

from gridpact.cli.options import Commands, add_workers, names, out_folder, workers_of
from gridpact.cli.study import DAYS
from gridpact.cli.whatif import folder_of, solved_page
from gridpact.community.read import read_community
from gridpact.market.registry import SCENARIOS, scenarios_named

if TYPE_CHECKING:
    from gridpact.report.whatif.page import Page
    from gridpact.study.weeks.play import Tally


def add(commands: Commands) -> None:
    command = commands.add_parser("markets", help="every way to agree on the same homes and days, side by side")
    command.add_argument(
        "--case", default="fontana16", metavar="NAME|FILE", help="a shipped case or a community file; default fontana16"
    )
    command.add_argument("--days", metavar="D,D,...", help=DAYS)
    known = ", ".join(scenario.value for scenario in SCENARIOS)
    command.add_argument(
        "--mechanisms", metavar="M,M,...", help=f"of {known}; b is always there to compare with; default all"
    )
    add_workers(command)
    command.add_argument(
        "--out", type=out_folder, metavar="DIR", help="folder of the results; default runs/CASE_markets"
    )
    command.add_argument("--json", action="store_true", help="print markets.json instead of the answers")
    command.set_defaults(command=_markets)


def _markets(arguments: argparse.Namespace) -> int:
    workers = workers_of(arguments)
    given = arguments.mechanisms
    scenarios = SCENARIOS if given is None else scenarios_named(names("--mechanisms", given))
    named = None if arguments.days is None else names("--days", arguments.days)
    community = read_community(arguments.case)
    folder = folder_of(arguments, "markets")

    from gridpact.report.markets import markets_page  # imports CVXPY and matplotlib, which take a second
    from gridpact.study.markets import compare
    from gridpact.study.weeks.plan import chosen_days

    days = [community.on(day) for day in chosen_days(community, named)]
    if len(days) > 1:
        days[0].require_daily_peaks("`gridpact markets`")

    def solve(tally: Tally) -> Page:
        return markets_page(compare(days, scenarios, folder, workers, tally))

    return solved_page(arguments, solve, folder, "plan")
