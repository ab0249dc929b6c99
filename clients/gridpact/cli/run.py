"""`gridpact run`: one day of a community, from negotiation to payment."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.live import RunPage, add_live, shown_live
from gridpact.cli.options import (
    POWER_RESOLUTION,
    Commands,
    add_form,
    check_folder,
    check_market,
    check_ours,
    check_same,
    choice,
    in_use,
    out_folder,
    power_resolution,
    tell_without_pictures,
)
from gridpact.cli.progress import ProgressBar
from gridpact.community.read import read_community
from gridpact.errors import InputError
from gridpact.events import Listener, Stage
from gridpact.market.mechanism import IN_MEMORY
from gridpact.market.registry import MARKETS, NAMES, market_of, scenario_named
from gridpact.problem.scenario import NetworkAgreement, Scenario, is_sealable
from gridpact.report.folder import MARKER

WHAT = "; ".join(f"{market.scenario.value}: {market.words.line}" for market in MARKETS)

if TYPE_CHECKING:
    from gridpact.community.model import CommunityDay
    from gridpact.outcome.outcome import Outcome

NOT_IN_NAMES = re.compile(r"[^\w.-]+")


def add(commands: Commands) -> None:
    command = commands.add_parser("run", help="one day of a community, from negotiation to payment, with a report")
    command.add_argument(
        "--case",
        default="fontana16",
        metavar="NAME|FILE",
        help="a shipped case (see `gridpact cases`) or a community file; default fontana16",
    )
    command.add_argument("--day", metavar="D", help="a day of the case; default its first")
    command.add_argument("--scenario", "--mechanism", default="tg", metavar="|".join(NAMES), help=f"default tg. {WHAT}")
    command.add_argument(
        "--network-agreement",
        default="dso",
        metavar="dso|neighbours",
        help="how the grid is agreed on: with the grid operator's node, which holds where limits bind "
        "(default), or between neighbours on the feeder, as in the B-DER report",
    )
    command.add_argument(
        "--chain",
        default="anvil",
        metavar="CHAIN",
        help="anvil (default), ganache, eth-tester (inside this process), or the URL of a node that runs; of several"
        " URLs with commas between them, each of the community's nodes uses one; memory: on no chain, in this process",
    )
    command.add_argument("--power-resolution", type=float, metavar="W", help=POWER_RESOLUTION)
    command.add_argument(
        "--relay",
        action="store_true",
        help="collect signed submissions and send them in one transaction an iteration, instead of one each",
    )
    add_form(command)
    command.add_argument(
        "--out", type=out_folder, metavar="DIR", help="folder of the results; default runs/CASE_DAY_SCENARIO"
    )
    add_live(command)
    command.add_argument("--json", action="store_true", help="print result.json instead of the summary")
    command.set_defaults(command=_run)


def _run(arguments: argparse.Namespace) -> int:
    scenario = scenario_named(arguments.scenario)
    agreement = choice("network agreement", arguments.network_agreement, {a.value: a for a in NetworkAgreement})
    community = read_community(arguments.case)
    day = community.on(arguments.day or community.days[0])
    folder = arguments.out or Path("runs") / NOT_IN_NAMES.sub("-", f"{community.name}_{day.day}_{scenario.value}")
    check_folder(folder)
    check_ours(folder, "run", MARKER)
    check_same(folder / MARKER, {"case": community.name, "day": day.day, "scenario": scenario.value})
    check_market(scenario, arguments.chain, arguments.relay)
    sealable = is_sealable(scenario, agreement)
    check_form(arguments.sealed, sealable, arguments.chain)
    own = market_of(scenario).contract
    if own and arguments.chain != IN_MEMORY:
        check_own(arguments, scenario)
    if arguments.live and arguments.chain == IN_MEMORY:
        raise InputError("--live shows what a chain tells; choose one with --chain, or leave --live out")

    from gridpact.market.admm.parameters import Resolution
    from gridpact.outcome.indicators import Indicators  # imports CVXPY, which takes a second
    from gridpact.report.report import write_report

    resolution = (power_resolution(arguments.power_resolution) or Resolution.fitting(day)).carrying(day)
    if not arguments.json:
        print(f"gridpact: {community.title or community.name}; day {day.day}, scenario {scenario.name}")
        if resolution != Resolution():
            print(f"gridpact: powers are whole multiples of {1000 * resolution.power_kw:g} W on the chain")
        if arguments.sealed is None and not sealable and arguments.chain != IN_MEMORY:
            print("gridpact: between neighbours a round cannot be sealed: everybody reads what each household submits")
    with in_use(folder), ProgressBar() as progress, shown_live(folder, day, arguments, progress) as page:
        result = _outcome(day, scenario, agreement, arguments, folder, page or progress, page)
        if page:
            page.carry_out(result)
        report = write_report(result, folder)
        tell_without_pictures()
        _show(result, folder, report, arguments)
    return 0 if all(check.held is not False for check in Indicators(result).checks) else 1


def check_own(arguments: argparse.Namespace, scenario: Scenario) -> None:
    """What is for rounds of the virtual aggregator, and not for a market with a contract of its own.

    Raises:
        InputError: it was given all the same.
    """
    given = {"--relay": arguments.relay, "--live": arguments.live, "--sealed or --open": arguments.sealed is not None}
    for option, is_given in given.items():
        if is_given:
            raise InputError(f"{option} is for b, t, g and tg; leave it out with '{scenario.value}'")


def check_form(sealed: bool | None, sealable: bool, chain: str) -> None:
    """Whether a round can have the form that is asked for.

    Raises:
        InputError: there is no chain to seal anything on, or voltages have more than two holders.
    """
    if sealed is not None and chain == IN_MEMORY:
        option = "--sealed" if sealed else "--open"
        raise InputError(f"{option} is for a chain; choose one with --chain, or leave {option} out")
    if sealed and not sealable:
        raise InputError(
            "a round between neighbours cannot be sealed, since voltages have more than two holders; give"
            " --network-agreement dso, or leave --sealed out"
        )


def _show(result: Outcome, folder: Path, report: Path, arguments: argparse.Namespace) -> None:
    from gridpact.report.summary import summary

    if arguments.json:
        print((folder / "result.json").read_text(encoding="utf-8"), end="")
    else:
        print(summary(result))
        if not arguments.live:
            print("With --live, the next run is shown on a page while it goes on.")
        print(f"Report: {report}")


def _outcome(
    day: CommunityDay,
    scenario: Scenario,
    agreement: NetworkAgreement,
    arguments: argparse.Namespace,
    folder: Path,
    listener: Listener,
    page: RunPage | None,
) -> Outcome:
    if arguments.chain == IN_MEMORY:
        from gridpact.outcome.outcome import solved

        listener.hear(Stage(f"Agreeing on {day.name}, {day.day}, in memory"))
        return solved(day, scenario, agreement, listener)
    from gridpact.run.onchain import RunSettings, nobody, run  # imports web3, which takes a second

    record = folder / "contracts.json" if "://" in arguments.chain else None
    resolution = power_resolution(arguments.power_resolution)
    settings = RunSettings(
        scenario,
        agreement,
        arguments.chain,
        resolution=resolution,
        relay=arguments.relay,
        sealed=arguments.sealed,
        record=record,
    )
    return run(day, settings, listener, page.watch if page else nobody)
