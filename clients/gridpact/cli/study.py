"""`gridpact study`: four scenarios over a summer and a winter week, compared with each other and with the report."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gridpact.cli.options import (
    Commands,
    add_workers,
    check_folder,
    check_market,
    check_ours,
    check_same,
    choice,
    in_use,
    names,
    out_folder,
    tell_without_pictures,
    workers_of,
)
from gridpact.cli.progress import bar, tell_taken_over
from gridpact.community.read import read_community
from gridpact.errors import GridpactError, InfeasibleError, InputError
from gridpact.market.mechanism import IN_MEMORY
from gridpact.market.registry import NAMES, SCENARIOS, scenarios_named
from gridpact.problem.scenario import NetworkAgreement, Scenario

if TYPE_CHECKING:
    from gridpact.report.whatif.page import Page
    from gridpact.study.weeks.play import Tally

NOT_IN_NAMES = re.compile(r"[^\w.-]+")

DAYS = """\
days of the case, with commas between them; default all, of a case with more than a month in a row 21 to 28 June and
December, the report's two weeks"""


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "study", help="four scenarios over a summer and a winter week, with tables and plots like the B-DER report's"
    )
    command.add_argument(
        "--case",
        metavar="NAME|FILE",
        help="a shipped case (see `gridpact cases`) or a community file; default fontana16",
    )
    command.add_argument("--days", metavar="D,D,...", help=DAYS)
    command.add_argument(
        "--scenarios",
        metavar="S,S,...",
        help=f"what is compared with the baseline b, of {', '.join(NAMES)} (see `gridpact run`); default b,t,g,tg",
    )
    command.add_argument(
        "--network-agreement",
        default="dso",
        metavar="dso|neighbours",
        help="how the grid is agreed on: with the grid operator's node (default), or between neighbours on the feeder",
    )
    command.add_argument(
        "--chain",
        default="memory",
        metavar="CHAIN",
        help="memory (default): the same negotiation in this process; or ganache, anvil, eth-tester, the URL of a node",
    )
    command.add_argument(
        "--year",
        action="store_true",
        help="all days of the case (default fontana16year) by season, in b, t and tg if --scenarios does not say else",
    )
    command.add_argument(
        "--continuous",
        action="store_true",
        help="days follow each other: batteries, cars, tanks and houses begin with what the day before has left",
    )
    command.add_argument(
        "--invest",
        action="store_true",
        help="what panels, batteries, chargers and heat pumps would cost and save in a year (default fontana16year, "
        "in b and t), by home and for the community, and who should buy what next",
    )
    command.add_argument(
        "--offers", type=Path, metavar="FILE", help="with --invest: prices, lives, sizes and interest, a TOML file"
    )
    command.add_argument("--relay", action="store_true", help="on a chain: signed submissions in one transaction")
    add_workers(command, "as many as cores, one on a chain")
    command.add_argument("--out", type=out_folder, metavar="DIR", help="folder of the results; default runs/CASE_study")
    command.add_argument("--json", action="store_true", help="print study.json instead of the answers")
    command.set_defaults(command=_study)


def _study(arguments: argparse.Namespace) -> int:
    if arguments.invest:
        return _invest(arguments)
    if arguments.offers is not None:
        raise InputError("--offers are what --invest asks about; give that, too, or leave them out")
    default = "b,t,tg" if arguments.year else "b,t,g,tg"
    scenarios = _scenarios(default if arguments.scenarios is None else arguments.scenarios)
    agreement = choice("network agreement", arguments.network_agreement, {a.value: a for a in NetworkAgreement})
    workers = workers_of(arguments)
    community = read_community(arguments.case or ("fontana16year" if arguments.year else "fontana16"))
    name = NOT_IN_NAMES.sub("-", community.name) + ("_year" if arguments.year else "_study")
    folder = arguments.out or Path("runs") / name
    check_folder(folder)
    if arguments.continuous and arguments.chain != IN_MEMORY:
        raise InputError("days follow each other in memory only; leave out --chain, or --continuous")
    if arguments.continuous and arguments.cluster is not None:
        raise InputError("days that follow each other are kept where they are solved; leave out --cluster")
    for scenario in scenarios:
        check_market(scenario, arguments.chain, arguments.relay)

    from gridpact.report.weeks.page import write_study  # imports CVXPY and matplotlib, which take a second
    from gridpact.report.weeks.tables import MARKER
    from gridpact.report.weeks.words import answers, headline, left_out
    from gridpact.study.weeks.plan import StudySettings, chosen_days, orders, rows_of_days, traces
    from gridpact.study.weeks.play import play
    from gridpact.study.weeks.row import rows_in
    from gridpact.study.weeks.totals import Study
    from gridpact.study.weeks.workers import HERE
    from gridpact.text import count

    check_ours(folder, "study", MARKER)
    check_same(folder / MARKER, {"case": community.name})
    named = None if arguments.days is None else names("--days", arguments.days)
    settings = StudySettings(scenarios, agreement, arguments.chain, arguments.relay, arguments.continuous)
    days = chosen_days(community, named, arguments.year)
    if len(days) > 1 and not arguments.continuous:
        community.on(days[0]).require_daily_peaks("a study")
    planned = orders(community, days, settings)
    if not arguments.json:
        what = f"{count(len(days), 'day')} in {count(len(scenarios), 'scenario')}"
        print(f"gridpact: {community.title or community.name}; {what}")
    if arguments.chain != IN_MEMORY:
        if arguments.cluster is not None:
            raise InputError("a chain's nodes are processes of this machine; leave out --chain, or --cluster")
        workers = workers if arguments.jobs else HERE  # its nodes are processes themselves

    def played(tasks: Sequence[Any], what: str) -> tuple[list[Any], Tally]:
        try:
            with in_use(folder), bar(what, "plan") as tally:
                return play(tasks, folder, workers, tally), tally
        except KeyboardInterrupt:
            print(f"What is finished stays in {folder}; the same command goes on from there.", file=sys.stderr)
            raise

    if arguments.continuous:
        rows = rows_in(community, rows_of_days(days), settings, folder)
        played(rows, "Rows of days")
        followed = {(o.community.day, o.scenario): (o, known) for row in rows for o, known in row.followed()}
        pairs = [followed[order.community.day, order.scenario] for order in planned]
        planned, outcomes = [order for order, _ in pairs], [known for _, known in pairs]
    else:
        outcomes, tally = played(planned, "Plans")
        tell_taken_over(tally, "plan", folder)
    study = Study(community, settings, tuple(outcomes), arguments.year)
    if not study.counted:
        raise _nothing([(outcome.failure, outcome.failure_status) for outcome in outcomes if not outcome.feasible])
    drawn = traces(planned, [period.counted[0] for period in study.counted])
    gaps, _ = played(drawn, "Gaps")
    study = replace(study, gaps={(t.of.community.day, t.of.scenario): g for t, g in zip(drawn, gaps, strict=True)})
    with in_use(folder):
        report = write_study(study, folder)
        tell_without_pictures()
    if arguments.json:
        print((folder / MARKER).read_text(encoding="utf-8"), end="")
    else:
        print(f"\n{_shown(headline(study))}.")
        for question, sentences in answers(study).items():
            print(f"\n{question}")
            for sentence in sentences:
                print(f"  {_shown(sentence)}")
        if missing := [sentence for period in study.periods for sentence in left_out(period)]:
            print("\nLeft out")
            for sentence in missing:
                print(f"  {_shown(sentence)}")
        print(f"\nReport: {report}")
    return 0 if study.checks_held and all(o.failure_status in (0, InfeasibleError.exit_status) for o in outcomes) else 1


def _invest(arguments: argparse.Namespace) -> int:
    """What would be worth buying."""
    for option in ("continuous", "relay"):
        if getattr(arguments, option):
            raise InputError(f"--{option} is no option of --invest, whose days stand each for a part of the year")
    if arguments.chain != IN_MEMORY:
        raise InputError("--invest plans in memory; leave out --chain")
    workers = workers_of(arguments)
    scenarios = _scenarios(arguments.scenarios or "b,t")
    community = read_community(arguments.case or "fontana16year")
    folder = arguments.out or Path("runs") / f"{NOT_IN_NAMES.sub('-', community.name)}_invest"
    check_folder(folder)
    check_ours(folder, "study of investments", "invest.json")

    from gridpact.cli.whatif import solved_page  # imports CVXPY and matplotlib, which take a second
    from gridpact.report.whatif.invest import invest_page
    from gridpact.study.whatif.invest import InvestSettings, invest, standing_days

    settings = InvestSettings.read(arguments.offers)
    days = standing_days(community, None if arguments.days is None else names("--days", arguments.days))

    def solve(tally: Tally) -> Page:
        return invest_page(invest(community, days, scenarios, settings, folder, workers, tally))

    return solved_page(arguments, solve, folder)


def _scenarios(text: str) -> tuple[Scenario, ...]:
    """The scenarios in the order of the report; the baseline is always among them."""
    named = scenarios_named([*names("--scenarios", text), Scenario.B.value])
    if len(named) == 1:
        others = ", ".join(scenario.value for scenario in SCENARIOS if scenario != Scenario.B)
        raise InputError(f"a study compares with the baseline b; name at least one of {others} with --scenarios")
    return named


def _nothing(failures: Sequence[tuple[str | None, int]]) -> GridpactError:
    """What to say when no day has a plan in all scenarios."""
    worst = next(((text, status) for text, status in failures if status == InfeasibleError.exit_status), failures[0])
    error = InfeasibleError if worst[1] == InfeasibleError.exit_status else GridpactError
    return error(f"no day has a plan in all scenarios; for example: {worst[0]}")


def _shown(text: str) -> str:
    """A sentence in what the terminal can show."""
    encoding = getattr(sys.stdout, "encoding", None) or "ascii"
    return text.encode(encoding, "replace").decode(encoding)
