"""How fast it is: iterations of all shipped days, waiting on chains beside the same without a chain, and growth.

    python -m measure.bench [--out FILE] [--json FILE] [--cases NAME ...] [--chains NAME ...]
        [--sizes 16x24 ...] [--splits 4x64x24 ...]

prints the tables of `docs/benchmarks.md`, and writes them with --out; --json writes the same figures for programs.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import platform
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from gridpact.community.grown import feeders, grown
from gridpact.community.model import Array, CommunityDay, Prices
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.events import Event, IterationClosed, RoundEnded, Stage
from gridpact.files import write_atomically
from gridpact.limits import LANES, MOST_HOUSEHOLDS, MOST_NODES
from gridpact.market.admm.agent import Agent
from gridpact.market.admm.levels import Levels, negotiate_levels
from gridpact.market.admm.negotiation import Negotiation, plan_of
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.prepared import Prepared
from gridpact.problem.baseline import baseline_net_kw
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.report.markdown import markdown
from gridpact.run.footprint import peak_memory_mb
from gridpact.run.launch import warm_up
from gridpact.run.onchain import RunSettings, run
from measure.gas import Size, measured, negotiated
from measure.iterations import Day, Measured, measure, table
from measure.mechanisms import ComparedMechanism, compared, compared_table

CASES = ("fontana16", "amsterdam16", "stress16")
CHAINS = ("anvil", "ganache", "eth-tester")
SIZES = ("16x24", "32x24", "64x24", "128x24", "256x24", "16x96", "32x96", "64x96")
SPLITS = ("4x64x24", "16x64x24")
WAITING_DAYS = (("fontana16", "12-22", CHAINS), ("fontana16", "06-10", ("anvil", "ganache")))
"""A short round and a long one, which takes minutes on eth-tester."""
GROWN_DAY = ("fontana16", "06-12")
"""That a contract takes, node 0 included."""

SCENARIO, AGREEMENT = Scenario.TG, NetworkAgreement.DSO


# ---------------------------------------------------------------------- iterations


def days_of(cases: Sequence[str]) -> list[Day]:
    """All days and scenarios to measure; on the weak feeder of stress16 only those with a network."""
    return [
        Day(case, day, scenario)
        for case in cases
        for scenario in (Scenario.T, Scenario.TG, Scenario.G)
        for day in read_community(case).days
        if case != "stress16" or scenario.has_network
    ]


def first_of_seasons(days: Sequence[str]) -> list[str]:
    """The first day, and the first of another month where there is one."""
    return [days[0], *[day for day in days if day[-5:-3] != days[0][-5:-3]][:1]]


def iterations_of(cases: Sequence[str], say: Callable[[str], None]) -> list[Measured]:
    """Measures all days, on all cores."""
    days = days_of(cases)
    rows: list[Measured] = []
    with multiprocessing.get_context("spawn").Pool() as pool:
        for row in pool.imap(measure, days):
            rows.append(row)
            say(f"{len(rows)} of {len(days)} days")
    return rows


def summary(rows: Sequence[Measured]) -> str:
    """What matters of the days, over all cases on feeders where a plan is always feasible, and over stress16."""
    lines = []
    for name, of_stress in (("fontana16, amsterdam16", False), ("stress16", True)):
        for scenario in (Scenario.T, Scenario.TG, Scenario.G):
            some = [
                row
                for row in rows
                if row.feasible and row.of.scenario == scenario and (row.of.case == "stress16") == of_stress
            ]
            if not some:
                continue
            coarse = [row.to_0_8_percent or MOST_ITERATIONS for row in some]
            fine = [row.to_0_1_percent or row.stopped_at for row in some]
            ratio = np.median([row.stopped_at / needed for row, needed in zip(some, fine, strict=True)])
            figures = [f"{np.median(n):g}, {np.quantile(n, 0.9):.3g}, {max(n)}" for n in (coarse, fine)]
            worst = max(abs(row.gap_at_stop) for row in some)
            lines.append(
                f"{len(some)} of {name} | {scenario.name} | {figures[0]} | {figures[1]} | {ratio:.2f} | {worst:.3%}"
            )
    return markdown(
        "days | scenario | to 0.8 %: median, 90 %, most | to 0.1 %: median, 90 %, most "
        "| stop / needed for 0.1 %, median | gap at stop, most",
        lines,
    )


# ---------------------------------------------------------------------- waiting


@dataclass(frozen=True)
class Waited:
    """A whole round on a chain, and the same iterations without one."""

    case: str
    day: str
    chain: str
    mode: str  # direct, relayed
    iterations: int
    startup_s: float  # from starting the nodes to the first closed iteration
    round_s: float  # from starting the nodes to the end of the round
    solving_s: float  # of a household's node, on average: in its problem,
    reading_s: float  # in what the others submitted, decoding and checking included,
    sending_s: float  # encoding, signing and handing over; without a relay until the transaction is in a block,
    waiting_s: float  # and for the others
    in_memory_startup_s: float  # until the first iterate, problems built
    in_memory_s: float
    centralised_s: float

    @property
    def iteration_s(self) -> float:
        """An iteration after the first."""
        return (self.round_s - self.startup_s) / max(self.iterations - 1, 1)

    @property
    def in_memory_iteration_s(self) -> float:
        return (self.in_memory_s - self.in_memory_startup_s) / max(self.iterations - 1, 1)


class _StopWatch:
    """Notes when a run starts its nodes, closes its first iteration, and ends its round."""

    def __init__(self) -> None:
        self.started = self.first = self.ended = 0.0

    def hear(self, event: Event) -> None:
        now = time.perf_counter()
        if isinstance(event, Stage) and event.text.startswith("Starting") and "nodes" in event.text:
            self.started = now
        elif isinstance(event, RoundEnded):
            self.ended = now
        elif isinstance(event, IterationClosed):
            self.first = self.first or now


def waited(community: CommunityDay, chain: str, relay: bool) -> Waited:
    """Negotiates a day in memory, solves the centralised problem, and runs the day on a chain."""
    warm_up()  # what nodes are forked from imports now, not while the first of them start
    started = time.perf_counter()
    at = [time.perf_counter() - started for _ in Negotiation.of(Prepared.of(community, SCENARIO, AGREEMENT)).iterates()]
    started = time.perf_counter()
    centralised_optimum(community, SCENARIO)
    centralised = time.perf_counter() - started
    watch = _StopWatch()
    result = run(community, RunSettings(SCENARIO, AGREEMENT, chain, relay=relay), watch)
    assert result.ledger is not None
    return Waited(
        case=community.name,
        day=community.day,
        chain=chain,
        mode="relayed" if relay else "direct",
        iterations=result.iterations,
        startup_s=watch.first - watch.started,
        round_s=watch.ended - watch.started,
        **{f"{what}_s": seconds for what, seconds in result.ledger.node_s.items()},
        in_memory_startup_s=at[0],
        in_memory_s=at[-1],
        centralised_s=centralised,
    )


def waiting_table(rows: Sequence[Waited]) -> str:
    return markdown(
        "day | chain | mode | iterations | to the first | in memory | an iteration | in memory | ratio "
        "| whole round | in memory | ratio | solving | reading | sending | waiting | centralised",
        (
            f"{row.day} | {row.chain} | {row.mode} | {row.iterations} "
            f"| {row.startup_s:.1f} s | {row.in_memory_startup_s:.1f} s "
            f"| {1000 * row.iteration_s:.0f} ms | {1000 * row.in_memory_iteration_s:.0f} ms "
            f"| {row.iteration_s / row.in_memory_iteration_s:.1f} "
            f"| {row.round_s:.1f} s | {row.in_memory_s:.1f} s | {row.round_s / row.in_memory_s:.1f} "
            f"| {row.solving_s:.1f} s | {row.reading_s:.1f} s | {row.sending_s:.1f} s | {row.waiting_s:.1f} s "
            f"| {row.centralised_s:.1f} s"
            for row in rows
        ),
    )


# ---------------------------------------------------------------------- growth


@dataclass(frozen=True)
class Grown:
    """A community of some size, negotiated in memory until the contract's test would stop it."""

    households: int
    steps: int
    iterations: int
    bytes_per_household: float  # of copies and bids that a household submits in an iteration
    gas_per_household: float | None  # an iteration, relayed; None where the nodes are more than a contract takes
    seconds_per_household: float  # solving, an iteration
    operator_s: float  # node 0's answer, an iteration
    memory_mb: float  # of the process that holds all nodes, at most


def grown_to(households: int, steps: int) -> Grown:
    case, day = GROWN_DAY
    community = grown(read_community(case).on(day), households, steps, seed=1)
    (iterate,) = deque(Negotiation.of(Prepared.of(community, SCENARIO, AGREEMENT)).iterates(), maxlen=1)
    memory_mb = peak_memory_mb()
    gas = None
    if households < MOST_NODES:
        size = Size(day, households, steps)
        gas = measured(negotiated(community, compared=False), size, "relayed").gas_per_household_iteration
    homes = [agent for node, agent in iterate.agents.items() if node]
    return Grown(
        households=households,
        steps=steps,
        iterations=iterate.iteration,
        bytes_per_household=float(np.mean([_payload(agent, steps) for agent in homes])),
        gas_per_household=gas,
        seconds_per_household=float(np.mean([agent.solve_seconds for agent in homes])) / iterate.iteration,
        operator_s=iterate.agents[0].solve_seconds / iterate.iteration,
        memory_mb=memory_mb,
    )


def _payload(agent: Agent, steps: int) -> int:
    """Bytes: words of 32, and 2 a bid."""
    return 32 * -(-steps // LANES) * len(agent.blocks) + 2 * agent.view.bid_count


def growth_table(rows: Sequence[Grown]) -> str:
    return markdown(
        "households x steps | iterations | bytes a household and iteration | gas, relayed | solving "
        "| node 0, an iteration | memory of all nodes in one process",
        (
            f"{row.households} x {row.steps} | {row.iterations} | {row.bytes_per_household:,.0f} "
            f"| {'-' if row.gas_per_household is None else f'{row.gas_per_household:,.0f}'} "
            f"| {1000 * row.seconds_per_household:.1f} ms | {1000 * row.operator_s:.0f} ms | {row.memory_mb:,.0f} MB"
            for row in rows
        ),
    )


@dataclass(frozen=True)
class Split:
    """A community split by feeder, an aggregator for each and one above, negotiated in memory until all would stop."""

    feeders: int
    households: int  # in all
    steps: int
    iterations: int
    bytes_per_household: float  # that a household submits in an iteration
    gateway_bytes: float  # that a gateway submits, to both contracts
    traded_kwh: float  # of households in all,
    beyond_kwh: float  # and of that beyond their feeder
    imbalance_kwh: float  # what the gateways are left with
    paid: float  # currency: all households' suppliers' bills, losses and trading costs aside
    paid_alone: float  # the same in scenario B
    round_s: float  # in one process
    memory_mb: float


def split_into(count: int, households: int, steps: int) -> Split:
    case, day = GROWN_DAY
    communities = feeders(read_community(case).on(day), count, households, steps, seed=1)
    started = time.perf_counter()
    levels = Levels.of(communities)
    *_, iterate = negotiate_levels(levels)
    took = time.perf_counter() - started
    dt, prices = communities[0].step_hours, communities[0].prices
    bids = 2 * np.array([g.below.view.bid_count + g.above.view.bid_count for g in iterate.gateways])
    paid = alone = traded = beyond = 0.0
    homes: list[Agent] = []
    for community, place in zip(communities, levels.feeders, strict=True):
        feeder = iterate.contracts[place]
        gateways = [tie.node_below for tie in levels.ties if tie.below == place]
        alone += _bill(baseline_net_kw(community), prices, dt)
        for household in community.households:
            agent = feeder.agents[household.node]
            homes.append(agent)
            schedule = plan_of(agent).schedule
            paid += dt * float(
                prices.import_price @ schedule["import_kw"] - prices.feed_in_price @ schedule["feed_in_kw"]
            )
            sold = np.maximum(agent.trades.recorded_kw, 0) * dt
            partners = np.concatenate([np.full(len(p.steps), p.node) for p in agent.view.partners])
            traded += float(sold.sum())
            beyond += float(sold[np.isin(partners, gateways)].sum())
    return Split(
        feeders=count,
        households=len(homes),
        steps=steps,
        iterations=iterate.iteration,
        bytes_per_household=float(np.mean([_payload(agent, steps) for agent in homes])),
        gateway_bytes=float(np.mean(bids)),
        traded_kwh=traded,
        beyond_kwh=beyond,
        imbalance_kwh=dt * float(sum(np.abs(gateway.imbalance_kw).sum() for gateway in iterate.gateways)),
        paid=paid,
        paid_alone=alone,
        round_s=took,
        memory_mb=peak_memory_mb(),
    )


def _bill(net_kw: Array, prices: Prices, dt: float) -> float:
    """What suppliers charge for what they are fed with, or deliver, (..., T)."""
    delivered, fed_in = np.maximum(-net_kw, 0), np.maximum(net_kw, 0)
    return float(dt * np.sum(prices.import_price * delivered - prices.feed_in_price * fed_in))


def split_table(rows: Sequence[Split]) -> str:
    return markdown(
        "feeders x households x steps | iterations | bytes a household and iteration | bytes a gateway | traded "
        "| of that beyond the feeder | left with gateways | suppliers' bills, of those in B | round | memory",
        (
            f"{row.feeders} x {row.households // row.feeders} x {row.steps} | {row.iterations} "
            f"| {row.bytes_per_household:,.0f} | {row.gateway_bytes:,.0f} | {row.traded_kwh:,.0f} kWh "
            f"| {row.beyond_kwh / row.traded_kwh:.0%} | {row.imbalance_kwh:.2f} kWh | {row.paid / row.paid_alone:.1%} "
            f"| {row.round_s:.0f} s | {row.memory_mb:,.0f} MB"
            for row in rows
        ),
    )


# ---------------------------------------------------------------------- the program


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.bench", description=__doc__)
    parser.add_argument("--cases", nargs="*", default=CASES)
    parser.add_argument("--chains", nargs="*", default=CHAINS)
    parser.add_argument("--sizes", nargs="*", default=SIZES, help="households x steps")
    parser.add_argument("--splits", nargs="*", default=SPLITS, help="feeders x households on each x steps")
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)

    def say(text: str) -> None:
        print(f"\r{text:<60}", end="", file=sys.stderr, flush=True)

    started = time.time()
    days = iterations_of(arguments.cases, say)
    agreements: list[ComparedMechanism] = []
    for case in arguments.cases:
        for day in first_of_seasons(read_community(case).days):
            say(f"all ways to agree: {case} {day}")
            agreements += compared(case, day)
    rounds = []
    plays = [
        (case, day, chain, relay)
        for (case, day, chains), chain, relay in itertools.product(WAITING_DAYS, arguments.chains, (False, True))
        if chain in chains
    ]
    for case, day, chain, relay in (*plays[:1], *plays):
        say(f"{day} on {chain}{', relayed' * relay}")
        rounds.append(waited(read_community(case).on(day), chain, relay))
    del rounds[:1]  # in which programs were read from the disk
    sizes = []
    for size in arguments.sizes:
        say(f"growth: {size}")
        households, steps = map(int, size.split("x"))
        with multiprocessing.get_context("spawn").Pool(1) as pool:  # a process each: memory is its own
            sizes.append(pool.apply(grown_to, [households, steps]))
    splits = []
    for size in arguments.splits:
        say(f"split by feeder: {size}")
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            splits.append(pool.apply(split_into, [int(number) for number in size.split("x")]))
    say("")
    print(file=sys.stderr)
    command = ["python -m measure.bench", *(argv or sys.argv[1:])]
    text = _document(days, agreements, rounds, sizes, splits, command, started)
    print(text)
    if arguments.out:
        write_atomically(arguments.out, text)
    if arguments.json:
        write_atomically(arguments.json, json.dumps(_figures(days, agreements, rounds, sizes, splits), indent=1) + "\n")
    return 0


def _figures(
    days: Sequence[Measured],
    agreements: Sequence[ComparedMechanism],
    rounds: Sequence[Waited],
    sizes: Sequence[Grown],
    splits: Sequence[Split],
) -> dict[str, object]:
    return {
        "iterations": [
            {
                "case": row.of.case,
                "season": "summer" if "-06-" in f"-{row.of.day}" else "winter",
                "day": row.of.day,
                "scenario": row.of.scenario.name,
                "start": "cold",
                "to_0_8_percent": row.to_0_8_percent or None,
                "to_0_1_percent": row.to_0_1_percent or None,
                "stopped_at": row.stopped_at,
                "gap_at_stop": row.gap_at_stop,
            }
            for row in days
            if row.feasible
        ],
        "agreements": [asdict(row) for row in agreements],
        "waiting": [asdict(row) for row in rounds],
        "growth": [asdict(row) for row in sizes],
        "split": [asdict(row) for row in splits],
    }


def _document(
    days: Sequence[Measured],
    agreements: Sequence[ComparedMechanism],
    rounds: Sequence[Waited],
    sizes: Sequence[Grown],
    splits: Sequence[Split],
    command: Sequence[str],
    started: float,
) -> str:
    parts = [
        "# Benchmarks",
        f"`{' '.join(command)}`, {time.strftime('%Y-%m-%d')}, {time.time() - started:.0f} s on {platform.machine()} "
        f"with {multiprocessing.cpu_count()} cores, Python {platform.python_version()}. Times are of a shared machine; "
        "ratios, iterations and bytes are what to look at.",
    ]
    if days:
        parts += [
            "## Iterations",
            "Every shipped day of the named cases, cold start, in memory with the integers of the chain (the tests "
            "show that a round on a chain gives the same iterates). The gap is the implemented one: the households' "
            "plans if the round ended there, an exact power flow, the trades as recorded, against the centralised "
            "optimum. An iteration count means that the gap stays below from there to the stop. The last columns: "
            "where the contract's test, which does not know the optimum, ends the round, and the gap there.",
            summary(days),
            "By case. Voltages are those of the power flow of the plan at the stop; T does not promise them. `later`: "
            "the gap at the stop is above the limit.",
            table(days),
        ]
    if agreements:
        parts += [
            "## Ways to agree",
            "The first day of each season in every way to agree, in memory. *Paid* is what all households pay "
            "together, losses in; *saved* is against B. *Optimum* is what one optimiser that knows everything would "
            "have them pay, *above it* is by the objective, trading coefficients in where the mechanism has them; "
            "the call auction is compared with the community as one, without a network. *Numbers sent* are copies "
            "and bids, or orders and their answers. T and the call auction look after no voltages.",
            compared_table(agreements),
        ]
    if rounds:
        parts += [
            "## Waiting",
            f"{WAITING_DAYS[0][0]}, scenario TG, a short round and a long one: 17 nodes as processes on all cores (on "
            "eth-tester threads of one process), a chain that makes a block for every transaction. *To the first*: "
            "from starting the nodes to the first closed iteration, problems built and declarations made; what they "
            "are forked from has imported the program before, which takes a command's first run a second more. *An "
            "iteration*: on average, after the first. *In memory*: the same in one process without a chain. *Solving*, "
            "*reading* (with decoding and checking), *sending* (encoding, signing, and without a relay until the "
            "transaction is in a block) and *waiting* are a household's node's seconds of the whole round, on average. "
            "*Centralised*: one solver that knows everything.",
            waiting_table(rounds),
        ]
    if sizes:
        parts += [
            "## Growth",
            f"{GROWN_DAY[0]}, {GROWN_DAY[1]}, scenario TG, grown (see `community/grown.py`) with 8 partners at most, "
            f"in memory in one process. A contract takes up to {MOST_HOUSEHOLDS} households; larger ones are"
            " shown for the mathematics. Gas by size: [gas.md](gas.md).",
            growth_table(sizes),
        ]
    if splits:
        parts += [
            "## Split by feeder",
            "Where a contract is too small: an aggregator for each feeder and one above, in which the feeders' "
            "gateways trade (see `market/admm/levels.py`), all in one process, until all contracts have ended "
            "from the top down. The first feeder is grown as above, on the others all households are scaled.",
            split_table(splits),
        ]
    return "\n\n".join(parts) + "\n"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except GridpactError as error:
        sys.exit(f"gridpact: {error}")
