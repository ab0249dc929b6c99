"""`gridpact hybrid`: several feeders, an aggregator each and one above them, in which their gateways trade."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.cli.options import Commands, check_chain, check_folder, in_use, names, out_folder
from gridpact.cli.progress import ProgressBar
from gridpact.community.read import read_community
from gridpact.errors import InputError
from gridpact.files import write_atomically
from gridpact.limits import MOST_NODES

if TYPE_CHECKING:
    from gridpact.community.model import CommunityDay

RESULT = "hybrid.json"

MOST_FEEDERS, MOST_HOMES = MOST_NODES, MOST_NODES - 2
"""That contracts take: above, a gateway of each feeder; on a feeder, node 0 and the gateway besides the homes."""

MOST_PHASE_SECONDS = 86_400


def add(commands: Commands) -> None:
    command = commands.add_parser("hybrid", help="several feeders, a contract each and one above them, on a chain")
    command.add_argument(
        "--case",
        default="fontana16",
        metavar="NAME|FILE,...",
        help="shipped cases or community files with commas between them, a feeder each; of one with --feeders, as many"
        " feeders grown from it; default fontana16",
    )
    command.add_argument("--day", metavar="D", help="a day of the cases; default the first of the first")
    command.add_argument("--feeders", type=int, metavar="N", help="so many, grown from one case; default 2")
    command.add_argument("--households", type=int, metavar="N", help="of each feeder that is grown; default as shipped")
    command.add_argument(
        "--chain", default="anvil", metavar="CHAIN", help="anvil (default), ganache, eth-tester, or the URL of a node"
    )
    command.add_argument("--processes", type=int, metavar="N", help="that run the nodes; default as many as cores")
    command.add_argument(
        "--phase-seconds",
        type=int,
        default=120,
        metavar="S",
        help="that a process may be silent above before the others go on without its feeders; default 120",
    )
    command.add_argument("--out", type=out_folder, metavar="DIR", help="folder of the result; default runs/CASE_hybrid")
    command.add_argument("--json", action="store_true", help=f"print {RESULT} instead of the summary")
    command.set_defaults(command=_hybrid)


def _hybrid(arguments: argparse.Namespace) -> int:
    check_chain(arguments.chain)
    if arguments.processes is not None and arguments.processes < 1:
        raise InputError(f"--processes needs 1 or more, not {arguments.processes}")
    if not 0 < arguments.phase_seconds <= MOST_PHASE_SECONDS:
        raise InputError(f"--phase-seconds needs 1 to {MOST_PHASE_SECONDS}, not {arguments.phase_seconds}")
    communities = _feeders(arguments)
    folder = arguments.out or Path("runs") / f"{'-'.join(one.name for one in communities[:2]).replace(' ', '-')}_hybrid"
    check_folder(folder)

    from gridpact.market.admm.parameters import Resolution
    from gridpact.report.hybrid import summary  # imports CVXPY and web3, which take a second
    from gridpact.run.hybrid import HybridSettings, check_alike, run_hybrid

    check_alike(communities)
    fitting = [Resolution.fitting(one).carrying(one) for one in communities]
    resolution = max(fitting, key=lambda one: one.power_kw)
    settings = HybridSettings(
        arguments.chain, arguments.processes, phase_seconds=arguments.phase_seconds, resolution=resolution
    )
    with in_use(folder), ProgressBar() as progress:
        result = run_hybrid(communities, settings, progress)
        text = json.dumps(result.as_dict(), indent=1) + "\n"
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / RESULT, text)
    print(text if arguments.json else summary(result), end="")
    return 0 if result.has_agreed else 1


def _feeders(arguments: argparse.Namespace) -> list[CommunityDay]:
    given = names("--case", arguments.case)
    cases = [read_community(name) for name in given]
    day = arguments.day or cases[0].days[0]
    days = [case.on(day) for case in cases]
    if len(days) > 1:
        if arguments.feeders is not None or arguments.households is not None:
            raise InputError("--feeders and --households grow feeders from one case; leave them out, or name one")
        return days
    from gridpact.community.grown import feeders

    count = 2 if arguments.feeders is None else arguments.feeders
    if not 2 <= count <= MOST_FEEDERS:
        raise InputError(f"--feeders needs 2 to {MOST_FEEDERS}, not {count}")
    homes = len(days[0].households) if arguments.households is None else arguments.households
    if not 1 <= homes <= MOST_HOMES:
        raise InputError(f"--households needs 1 to {MOST_HOMES}, not {homes}: node 0 and the gateway are nodes, too")
    return list(feeders(days[0], count, homes, days[0].steps, seed=1))
