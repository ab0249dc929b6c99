"""`gridpact day`: a day on a chain, from the forward to the last payment."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.live import add_live, shown_live
from gridpact.cli.options import (
    Commands,
    add_form,
    check_chain,
    check_folder,
    check_ours,
    check_same,
    choice,
    in_use,
    names,
    out_folder,
    tell_without_pictures,
)
from gridpact.cli.progress import ProgressBar
from gridpact.cli.run import NOT_IN_NAMES
from gridpact.cli.whatif import pool_rules
from gridpact.community.read import read_community
from gridpact.errors import InputError
from gridpact.files import parse_json, reason_of
from gridpact.problem.scenario import Scenario
from gridpact.report.folder import MARKER
from gridpact.text import listed

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gridpact.community.model import CommunityDay

ORACLES = {name: name for name in ("honest", "silent", "late", "absurd")}


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "day",
        help="one day on a chain, step by step: agreed, agreed anew, nominated, delivered, pooled and paid",
    )
    command.add_argument("--case", default="fontana16", metavar="NAME|FILE", help="as of `gridpact run`")
    command.add_argument("--day", metavar="D", help="a day of the case; default its first")
    command.add_argument("--scenario", default="t", metavar="t|tg", help="default t")
    command.add_argument(
        "--chain",
        default="anvil",
        metavar="CHAIN",
        help="anvil (default), ganache, eth-tester, or the URL of a node that runs. Test chains are moved on in time",
    )
    command.add_argument(
        "--re-agreements", type=int, default=4, metavar="N",
        help="a day, spread evenly, one in time before the price rises; 0: none; default 4",
    )  # fmt: skip
    command.add_argument(
        "--re-agree-above", type=float, default=0.0, metavar="KWH",
        help="only where what is expected of loads and PV output in the rest of the day is otherwise by so much than "
        "when it was agreed on last; default 0: always",
    )  # fmt: skip
    command.add_argument(
        "--stores", default="community", metavar="community|home",
        help="whose meter batteries, tanks and cars follow within a step; default community",
    )  # fmt: skip
    command.add_argument("--adder", type=float, default=0.05, metavar="P", help="imbalance adder a kWh; default 0.05")
    command.add_argument(
        "--most-adder", type=float, metavar="M", help="the most of it that a household bears in a step; default: all"
    )
    command.add_argument(
        "--lock", type=float, default=100.0, metavar="M", help="of a household for the day; default 100"
    )
    command.add_argument("--pool-key", default="proportional", metavar="KEY", help="proportional, equal, or shares")
    command.add_argument("--pool-price", default="mid-market", metavar="mid-market|ratio", help="default mid-market")
    command.add_argument(
        "--step-seconds",
        type=int,
        metavar="S",
        help="of the chain's time; on a chain that is not moved on in time the day takes as long; default as long as a "
        "step of the case is",
    )
    command.add_argument("--oracle", default="honest", metavar="|".join(ORACLES), help="of the forward; default honest")
    command.add_argument(
        "--silent", default="", metavar="NODE@STEP,...", help="households that are not heard any more from a step on"
    )
    command.add_argument("--no-deals", action="store_true", help="no spot trade, option and forward besides")
    command.add_argument(
        "--calls", default="", metavar="NODE@STEP:KWH,...|FILE",
        help="for what an aggregator calls households that opt in, before that step's gate: kWh otherwise than they "
        "have nominated, above 0 more fed in or less drawn, below 0 more drawn; or a .json of 'aggregator plan', which "
        "chooses them",
    )  # fmt: skip
    command.add_argument(
        "--call-price", type=float, metavar="P",
        help="of a kWh delivered, and the fine of one otherwise; default the mean import price",
    )  # fmt: skip
    command.add_argument(
        "--relay", action="store_true", help="signed submissions in one transaction an iteration, instead of one each"
    )
    add_form(command)
    command.add_argument("--seed", type=int, default=1, metavar="K", help="of what happens otherwise than forecast")
    command.add_argument(
        "--out", type=out_folder, metavar="DIR", help="folder of the results; default runs/CASE_DAY_day"
    )
    add_live(command)
    command.add_argument("--json", action="store_true", help="print result.json instead of the summary")
    command.set_defaults(command=_day)


def _day(arguments: argparse.Namespace) -> int:
    scenario = choice("scenario", arguments.scenario, {one.value: one for one in (Scenario.T, Scenario.TG)})
    oracle = choice("oracle", arguments.oracle, ORACLES)
    check_chain(arguments.chain)
    for option in ("adder", "most_adder", "lock", "re_agree_above", "call_price"):
        value = getattr(arguments, option)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise InputError(f"--{option.replace('_', '-')} needs a number of at least 0, not {value:g}")
    if not arguments.lock:
        raise InputError("--lock needs an amount above 0: what households trade is covered by it")
    for option in ("re_agreements", "seed"):
        if getattr(arguments, option) < 0:
            raise InputError(f"--{option.replace('_', '-')} needs a number of at least 0")
    community = read_community(arguments.case)
    day = community.on(arguments.day or community.days[0])
    pool = pool_rules(arguments, len(day.households))
    silent = _silent(arguments.silent, [home.node for home in day.households], day.steps)
    calls = _calls(arguments.calls, day)
    if arguments.call_price is not None and not calls:
        raise InputError("--call-price is for calls, and nobody is called; give --calls, too")
    folder = arguments.out or Path("runs") / NOT_IN_NAMES.sub("-", f"{community.name}_{day.day}_day")
    check_folder(folder)
    check_ours(folder, "day", MARKER)
    check_same(folder / MARKER, {"case": community.name, "day": day.day, "scenario": scenario.value})

    from gridpact.day.calling import DayCall
    from gridpact.day.office import play_day  # imports CVXPY and web3, which takes a second
    from gridpact.day.values import DaySettings
    from gridpact.report.day import day_page
    from gridpact.report.whatif.page import write_page
    from gridpact.run.onchain import nobody

    settings = DaySettings(
        scenario=scenario,
        chain=arguments.chain,
        re_agreements=arguments.re_agreements,
        re_agree_above_kwh=arguments.re_agree_above,
        pool=pool,
        adder=arguments.adder,
        most_adder=arguments.most_adder,
        lock=arguments.lock,
        step_seconds=arguments.step_seconds,
        seed=arguments.seed,
        deals=not arguments.no_deals,
        calls=tuple(DayCall(*call) for call in calls),
        call_price=arguments.call_price,
        oracle=oracle,
        following=choice("stores", arguments.stores, {"community": True, "home": False}),
        silent=silent,
        relay=arguments.relay,
        sealed=arguments.sealed is not False,
        record=folder / "contracts.json" if "://" in arguments.chain else None,
    )
    with in_use(folder), ProgressBar() as progress, shown_live(folder, day, arguments, progress) as live:
        played = play_day(day, settings, live or progress, live.watch if live else nobody)
        page = day_page(played)
        report = write_page(page, folder)
        tell_without_pictures()
        if arguments.json:
            print((folder / MARKER).read_text(encoding="utf-8"), end="")
        else:
            for sentence in (f"{page.headline}.", *page.answers, f"Report: {report}"):
                print(sentence, flush=True)
    return 0 if page.checks_held else 1


def _silent(text: str, nodes: list[int], steps: int) -> Mapping[int, int]:
    silent = {}
    for part in names("--silent", text) if text else ():
        node, _, step = part.partition("@")
        if not (node.isdecimal() and step.isdecimal() and int(node) in nodes and 0 < int(step) < steps):
            raise InputError(
                f"--silent: '{part}' is no household and step; give NODE@STEP, a node of {nodes[0]} to {nodes[-1]}"
                f" and a step of 1 to {steps - 1}"
            )
        silent[int(node)] = int(step)
    return silent


MOST_KWH = 1e5
"""That a household can be called for in a step."""


def _calls(text: str, day: CommunityDay) -> list[tuple[int, int, tuple[int, ...]]]:
    """Node, first step and Wh of each call; steps that follow each other are one.

    Raises:
        InputError: a part is none.
    """
    asked = _planned(Path(text), day) if text.endswith(".json") else _stated(text, day)
    calls: list[tuple[int, int, tuple[int, ...]]] = []
    for (node, step), energy_wh in sorted(asked.items()):
        if calls and calls[-1][0] == node and calls[-1][1] + len(calls[-1][2]) == step:
            calls[-1] = node, calls[-1][1], (*calls[-1][2], energy_wh)
        else:
            calls.append((node, step, (energy_wh,)))
    return calls


def _planned(path: Path, day: CommunityDay) -> dict[tuple[int, int], int]:
    """Wh by node and step, of what an aggregator's plan has homes draw less; its steps are parts of the day's."""
    nodes = {home.name: home.node for home in day.households}
    asked: dict[tuple[int, int], float] = {}
    try:
        told = parse_json(path.read_bytes())
        days, parts = [str(one) for one in told["days"]], 60 * day.step_hours / float(told["step_minutes"])
        if day.day not in days:
            raise InputError(f"{path}: has calls for {listed(days)}, not for {day.day}; give --day, or plan that day")
        if parts < 1 or parts != round(parts):
            raise InputError(
                f"{path}: was planned in steps of {told['step_minutes']:g} minutes, of which no steps of "
                f"{60 * day.step_hours:g} minutes can be made, as '{day.name}' has them"
            )
        whole = round(parts)
        begins = days.index(day.day) * day.steps * whole
        for home, of in told["calls"].items():
            if of and home not in nodes:
                raise InputError(f"{path}: calls '{home}', which is no home of '{day.name}'; plan that case")
            for call in of:
                for place, kwh in enumerate(call["less_kwh"], int(call["first"]) - begins):
                    if not abs(float(kwh)) <= MOST_KWH:
                        raise ValueError(f"{kwh} is no number of kWh, of {MOST_KWH:g} at most")
                    if 0 <= place < day.steps * whole:
                        at = nodes[home], place // whole
                        asked[at] = asked.get(at, 0.0) + float(kwh)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({reason_of(error)}); give what 'plan --calls' has written") from None
    except (ValueError, KeyError, TypeError, AttributeError, ArithmeticError) as error:
        raise InputError(f"{path}: is no file of 'gridpact aggregator plan --calls': {error}") from None
    energies = {at: wh for at, kwh in asked.items() if (wh := round(1000 * kwh))}
    if not energies:
        raise InputError(f"{path}: calls nobody on {day.day}; leave --calls out")
    return energies


def _stated(text: str, day: CommunityDay) -> dict[tuple[int, int], int]:
    """Wh by node and step, as the option has them."""
    nodes, steps = [home.node for home in day.households], day.steps
    asked: dict[tuple[int, int], int] = {}
    for part in names("--calls", text) if text else ():
        place, _, energy = part.partition(":")
        node, _, step = place.partition("@")
        if not (node.isdecimal() and step.isdecimal() and int(node) in nodes and int(step) < steps):
            raise InputError(
                f"--calls: '{part}' is for no household and step; give NODE@STEP:KWH, a node of {nodes[0]} to"
                f" {nodes[-1]} and a step of 0 to {steps - 1}"
            )
        try:
            kwh = float(energy)
        except ValueError:
            kwh = math.nan
        if not abs(kwh) <= MOST_KWH:
            raise InputError(f"--calls: '{part}' has no number of kWh after its colon, of {MOST_KWH:g} at most")
        if (int(node), int(step)) in asked:
            raise InputError(
                f"--calls: node {node} is called twice at step {step}, and its one meter tells of one call; give one"
            )
        asked[int(node), int(step)] = round(1000 * kwh)
    return asked
