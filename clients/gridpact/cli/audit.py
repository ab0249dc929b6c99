"""`gridpact audit`: a round checked from the chain alone, and what it gives away."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.options import Commands, add_chain, chain_at
from gridpact.errors import InputError

if TYPE_CHECKING:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.node.privacy import Replay, Transcript


def add(commands: Commands) -> None:
    command = commands.add_parser(
        "audit", help="check a round from the chain alone: sums, residuals, limits of the grid; or what it gives away"
    )
    add_chain(command)
    command.add_argument("--round", type=int, metavar="N", help="default the newest")
    command.add_argument(
        "--plan",
        type=Path,
        metavar="FILE",
        help="of a sealed round: the plan as the operator's node has opened it (`gridpact household show`)",
    )
    command.add_argument(
        "--privacy",
        action="store_true",
        help="instead, how well who looks on knows each household's load, PV, car and net power; needs --community",
    )
    command.add_argument("--community", metavar="NAME|FILE", help="whose round it was: what is true is from there")
    command.add_argument("--day", metavar="D", help="the day of the community; default its first")
    command.add_argument("--json", action="store_true", help="with --privacy: as JSON, with each household")
    command.set_defaults(command=_audit)


def _audit(arguments: argparse.Namespace) -> int:
    from gridpact.chain.aggregator import Aggregator
    from gridpact.chain.record import Record
    from gridpact.node.audit import audit_round
    from gridpact.node.opened_plan import OpenedPlan

    plan = None if arguments.plan is None else OpenedPlan.read(arguments.plan)
    if not arguments.privacy and (arguments.community or arguments.day or arguments.json):
        raise InputError("--community, --day and --json go with --privacy; give it, or leave them out")
    if arguments.privacy and not arguments.community:
        raise InputError("--privacy compares with what was true: give --community, whose round it was")
    record = Record.read(arguments.contracts)
    with chain_at(arguments.rpc) as network:
        aggregator = Aggregator.of(record, network.connect())
        newest = aggregator.progress().round
        if newest < 1:
            raise InputError("no round was opened on these contracts yet: there is nothing to check")
        number = newest if arguments.round is None else arguments.round
        if not 1 <= number <= newest:
            raise InputError(f"there is no round {number}: rounds 1 to {newest} were opened")
        if arguments.privacy:
            return _privacy(arguments, record, aggregator, number)
        if plan is not None and not aggregator.sealed:
            raise InputError(f"round {number} is open: its plan is checked in any case, leave out --plan")
        if plan is not None and plan.round != number:
            raise InputError(f"'{arguments.plan}' opens the plan of round {plan.round}: give --round {plan.round}")
        audit = audit_round(aggregator, number, plan)
    for problem in (*audit.contract_errors, *audit.false_claims, *audit.plan_errors):
        print(f"gridpact: {problem}")
    if audit.sealed:
        hidden = "bids and copies are" if audit.opened else "bids, copies and the operator's plan are"
        print(f"gridpact: the round is sealed: {hidden} not public, and not checked")
    verdict = "all as it must be" if audit.clean else "see above"
    print(f"gridpact: round {audit.round}, {audit.iterations} iterations checked from the chain alone: {verdict}")
    return 0 if audit.clean else 1


def _privacy(arguments: argparse.Namespace, record: Record, aggregator: Aggregator, number: int) -> int:
    from gridpact.chain.settlement import Settlement
    from gridpact.node.privacy import insights, leaks, summary, transcript_of

    settlement = Settlement.of(record, aggregator.web3)
    records, deliveries = settlement.recorded(number), settlement.deliveries(number)
    public = transcript_of(aggregator, number, records, deliveries.values())
    if public is None:
        raise InputError(f"round {number} did not start: it gives nothing away")
    true = _replayed(arguments, public)
    if strangers := set(public.households) - true.schedules.keys():
        raise InputError(
            f"round {number} has node {min(strangers)}, the community has not: give the community whose round it was"
        )
    by_role = {role: leaks(seen, true.schedules) for role, seen in insights(public, true, aggregator.sealed).items()}
    medians = {
        role: {"all": summary(some), "with devices": summary(some, true.equipped)} for role, some in by_role.items()
    }
    form = "sealed" if aggregator.sealed else "open"
    if arguments.json:
        homes = {role: [vars(leak) for leak in some] for role, some in by_role.items()}
        print(json.dumps({"round": number, "form": form, "medians": medians, "households": homes}))
        return 0
    print(f"gridpact: what is read of round {number}, in the {form} form, medians over the households")
    print(f"  {'':<32}{'r':>8}{'error':>12}{'of its mean':>14}")
    for role, groups in medians.items():
        for group, row in groups.items():
            for what, median in row.items():
                if median["r"] is not None:
                    r, error, usual = median["r"], median["rmse_w"], median["usual_w"]
                    print(f"  {role:<12}{group:<14}{what:<6}{r:>8.3f}{error:>10.1f} W{usual:>12.1f} W")
    return 0


def _replayed(arguments: argparse.Namespace, public: Transcript) -> Replay:
    """The same round in memory, which comes to the same plans.

    Raises:
        InputError: the community's day is not what the round was about.
    """
    from gridpact.community.model import GRID_CONNECTION
    from gridpact.community.read import read_community
    from gridpact.node.privacy import replayed
    from gridpact.problem.scenario import NetworkAgreement, Scenario

    community = read_community(arguments.community)
    day = community.on(arguments.day or community.days[0])
    if day.steps != public.assembly.steps:
        raise InputError(
            f"the community's day has {day.steps} steps, the round {public.assembly.steps}: give the community whose"
            " round it was"
        )
    blocks = any(public.assembly.blocks(node) for node in public.households)
    bids = any(public.assembly.bid_count(node) for node in public.households)
    scenario = Scenario.T if not blocks else Scenario.TG if bids else Scenario.G
    star = all(public.assembly.parents[node] == GRID_CONNECTION for node in public.households)
    return replayed(day, scenario, NetworkAgreement.DSO if star else NetworkAgreement.NEIGHBOURS)
