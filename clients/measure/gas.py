"""What a round costs on a chain, with the integers of real negotiations, beside a contract that is written plainly.

    python -m measure.gas [--out FILE] [--json FILE] [--sizes 16x24 ...] [--modes direct ...]

prints the table of `docs/gas.md`, and writes it with --out; --json writes the same figures for programs. A size is
households x steps, or a shipped day, which is taken as it is; fontana16x3/06-10 is one of another case.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import deploy_contracts, enrol_households
from gridpact.chain.keys import address_of, new_key
from gridpact.chain.networks import ETHER, Network, open_network
from gridpact.chain.values import Residuals, Setting, Theta
from gridpact.community.grown import grown
from gridpact.community.model import CommunityDay, Feeder
from gridpact.community.read import read_community
from gridpact.errors import GridpactError
from gridpact.files import write_atomically
from gridpact.manage.terms import terms_of
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.codec import book_of, encode_bids, encode_book, encode_copies, encode_feeder
from gridpact.market.admm.negotiation import Negotiation
from gridpact.market.admm.reach import MOST_ITERATIONS
from gridpact.market.prepared import Prepared
from gridpact.outcome.gaps import compare, stays_below
from gridpact.problem.blocks import Block
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.view import NodeView
from gridpact.relay.server import batches
from measure.figures import filled, read_reports

CASE = "fontana16"
SHIPPED = ("06-10", "06-12", "12-22")
"""The day of `make demo`, the one with the most bids, and one in winter."""

DAY, SEED = "06-12", 1
"""What is grown."""

SCENARIO, AGREEMENT = Scenario.TG, NetworkAgreement.DSO
GAP = 0.008
STEADY = 3
"""The iteration whose gas is quoted: from it on, all storage slots have been in use."""

MOST_BYTES = 128_000
"""Calldata of a transaction at most: many nodes of a chain take none above 128 kB."""

TRANSACTION_GAS = 21_000
BLOCK_GAS = 30_000_000
REFERENCE_BLOCK_GAS = 10**10
REFERENCE = Path(__file__).resolve().parents[2] / "build" / "contracts" / "ReferenceAggregator.json"
"""Compiled by `make setup`; it is no part of the package."""


# ---------------------------------------------------------------------- what is played


@dataclass(frozen=True)
class Size:
    """A day of a case as it is, or DAY of CASE grown to so many households and steps."""

    day: str = DAY
    households: int = 0
    steps: int = 0
    case: str = CASE

    @staticmethod
    def of(text: str) -> Size:
        """From a day, which may have its case before it, or from households x steps, for example 16x24."""
        if "/" in text:
            case, day = text.split("/")
            return Size(day, case=case)
        if "x" in text:
            households, steps = map(int, text.split("x"))
            return Size(DAY, households, steps)
        return Size(text)

    def __str__(self) -> str:
        if self.households:
            return f"{self.households}x{self.steps}"
        return self.day if self.case == CASE else f"{self.case}/{self.day}"

    def community(self) -> CommunityDay:
        shipped = read_community(self.case).on(self.day)
        return grown(shipped, self.households, self.steps, SEED) if self.households else shipped


SIZES = (
    *map(Size, SHIPPED),
    *(Size(DAY, n, steps) for steps, n in itertools.product((24, 96), (4, 8, 16, 32, 64))),
)


@dataclass(frozen=True)
class Payload:
    """What a node submits in an iteration."""

    node: int
    blocks: tuple[Block, ...]
    submission: IntegerSubmission
    residuals: Residuals  # of the iteration before

    @property
    def copies(self) -> tuple[int, ...]:
        """In words."""
        return tuple(encode_copies(self.blocks, self.submission.copies))

    @property
    def bids(self) -> bytes:
        return encode_bids(self.submission.bids)


@dataclass(frozen=True)
class Played:
    """A community's negotiation in memory, with all that was submitted."""

    community: CommunityDay
    negotiation: Negotiation
    iterations: tuple[tuple[Payload, ...], ...]  # the grid operator's node last
    to_0_8_percent: int | None  # iterations after which the gap stays below; None: not known

    @property
    def views(self) -> Sequence[NodeView]:
        return self.negotiation.views

    @property
    def bids(self) -> float:
        """Of a household, on average."""
        return sum(view.bid_count for view in self.views) / len(self.community.households)

    def on_chain(self) -> tuple[Theta, Setting]:
        """With what the contract is deployed."""
        return terms_of(self.negotiation, phase_seconds=10**6, max_misses=2)


def negotiated(community: CommunityDay, compared: bool = True) -> Played:
    """Negotiates until the contract's test would stop the round; where the cost is not to be compared with the
    optimum, as long as the steady figures need."""
    prepared = Prepared.of(community, SCENARIO, AGREEMENT)
    negotiation = Negotiation.of(prepared)
    optimum = centralised_optimum(community, SCENARIO).cost if compared else 0.0
    order = [*sorted(view.node for view in prepared.views if view.node), 0]
    residuals: dict[int, Residuals] = dict.fromkeys(order, (0, 0, 0, 0))
    iterations: list[tuple[Payload, ...]] = []
    gaps: list[float] = []
    for iterate in negotiation.iterates():
        agents, sent = iterate.agents, iterate.submissions
        iterations.append(tuple(Payload(node, agents[node].blocks, sent[node], residuals[node]) for node in order))
        residuals = {node: agents[node].residuals.as_tuple() for node in order}
        if compared:
            gaps.append(compare(prepared, agents, optimum)[0])
        elif iterate.iteration == STEADY:
            break
    to_gap = stays_below(gaps, GAP) if gaps else 0
    return Played(community, negotiation, tuple(iterations), to_gap or None)


# ---------------------------------------------------------------------- what it costs


@dataclass(frozen=True)
class ChargeGas:
    """Gas and calldata of a transaction."""

    gas: int
    size: int  # calldata, bytes
    zeros: int  # of these

    @staticmethod
    def of(web3: Any, receipt: Mapping[str, Any]) -> ChargeGas:
        data = bytes(web3.eth.get_transaction(receipt["transactionHash"])["input"])
        return ChargeGas(int(receipt["gasUsed"]), len(data), data.count(0))

    @property
    def calldata_floor(self) -> int:
        """What the transaction would cost if it did nothing: 4 gas a zero byte, 16 another."""
        return TRANSACTION_GAS + 4 * self.zeros + 16 * (self.size - self.zeros)

    @property
    def eip7623_floor(self) -> int:
        """What it costs at least since Prague: 10 gas a zero byte, 40 another."""
        return TRANSACTION_GAS + 10 * self.zeros + 40 * (self.size - self.zeros)


class PlayedOnce(Protocol):
    """A community's round on a chain, whose nodes have declared."""

    opening: list[ChargeGas]

    def iterate(self, iteration: int, payloads: Sequence[Payload]) -> list[ChargeGas]:
        """Plays an iteration."""


class AggregatorRound:
    """A round on `VirtualAggregator`.

    Args:
        relayed: one account posts all signed submissions of an iteration, in the batches of the relay service.
    """

    def __init__(self, network: Network, negotiation: Played, relayed: bool) -> None:
        web3: Any = network.connect()
        manager = network.manager(web3)
        theta, setting = negotiation.on_chain()
        record = deploy_contracts(manager, theta, setting, network.name, manager.address, manager.address)
        keys = {view.node: new_key() for view in negotiation.views}
        addresses = {node: str(address_of(key)) for node, key in keys.items()}
        network.fund(list(addresses.values()), 10 * ETHER, web3)
        self._web3 = web3
        self._relayed = relayed
        self._manager = enrol_households(manager, record, addresses)
        self._nodes = {node: Aggregator.of(record, web3, ChainAccount(web3, key)) for node, key in keys.items()}
        self._head = bytes(32)  # of the closed iterations
        self._round = self._manager.open_round(20260612)
        (opened,) = web3.eth.get_block("latest")["transactions"]
        receipts = [web3.eth.get_transaction_receipt(opened), *(self._declare(view) for view in negotiation.views)]
        self.opening = [ChargeGas.of(web3, receipt) for receipt in receipts]

    def _declare(self, view: NodeView) -> Any:
        feeder = view.feeder
        book = encode_feeder(feeder) if isinstance(feeder, Feeder) else encode_book(book_of(view))
        node = self._nodes[view.node]
        return node.declare(self._round, view.parent, view.children, view.depth, view.bid_count, book)

    def iterate(self, iteration: int, payloads: Sequence[Payload]) -> list[ChargeGas]:
        place = self._round, iteration, self._head
        if self._relayed:
            parts = [
                self._nodes[sent.node].sign(*place, sent.node, sent.copies, sent.bids, sent.residuals)
                for sent in payloads
            ]
            receipts = [self._manager.relay(self._round, iteration, batch) for batch in batches(parts, complete=True)]
        else:
            receipts = [
                self._nodes[sent.node].submit(*place, sent.copies, sent.bids, sent.residuals) for sent in payloads
            ]
        self._head = self._closed(iteration, payloads)
        return [ChargeGas.of(self._web3, receipt) for receipt in receipts]

    def _closed(self, iteration: int, payloads: Sequence[Payload]) -> bytes:
        """The head of an iteration that the contract has closed with all nodes and their residuals."""
        closed = self._manager.iteration(self._round, iteration).closed
        total = tuple(int(square) for square in np.sum([sent.residuals for sent in payloads], axis=0))
        if closed is None or len(closed.present) != len(payloads) or closed.residuals != total:
            raise GridpactError(f"iteration {iteration} was not closed with all submissions: {closed}")
        return closed.head


class ReferenceRound:
    """A round on `ReferenceAggregator`. All its transactions are sent by the nodes."""

    def __init__(self, network: Network, negotiation: Played) -> None:
        self._web3: Any = network.connect()
        manager = network.manager(self._web3)
        built = json.loads(REFERENCE.read_text())
        theta, setting = (tuple(asdict(values).values()) for values in negotiation.on_chain())
        factory = self._web3.eth.contract(abi=built["abi"], bytecode=built["bytecode"])
        address = manager.send(factory.constructor(theta, setting))["contractAddress"]
        self._functions = self._web3.eth.contract(address, abi=built["abi"]).functions
        self._accounts = {view.node: ChainAccount(self._web3, new_key()) for view in negotiation.views}
        addresses = [account.address for account in self._accounts.values()]
        network.fund(addresses, 100 * ETHER, self._web3)
        manager.send(self._functions.enrol(list(self._accounts), addresses))
        opened = manager.send(self._functions.openRound())
        declared = [
            self._accounts[view.node].send(
                self._functions.declare(view.parent, list(view.children), view.depth, view.bid_count), BLOCK_GAS
            )
            for view in negotiation.views
        ]
        self.opening = [ChargeGas.of(self._web3, receipt) for receipt in (opened, *declared)]

    def iterate(self, iteration: int, payloads: Sequence[Payload]) -> list[ChargeGas]:
        charges = []
        for sent in payloads:
            copies, bids = sent.submission.copies.ravel().tolist(), sent.submission.bids.tolist()
            # A new slot costs 22,100 gas; an estimate would run the transaction some twenty times.
            gas = 1_000_000 + 30_000 * (len(copies) + len(bids))
            call = self._functions.submit(iteration, copies, bids, list(sent.residuals))
            charges.append(ChargeGas.of(self._web3, self._accounts[sent.node].send(call, gas)))
        if self._functions.iteration().call() != iteration + 1:
            raise GridpactError(f"the reference did not close iteration {iteration}")
        return charges


@dataclass(frozen=True)
class GasRow:
    """A size in a mode. Gas by households and, where it says so, iterations."""

    size: str
    households: int
    steps: int
    bids: float  # of a household
    mode: str
    gas_per_household_iteration: float
    calldata_floor: float  # a household and iteration
    eip7623_floor: float
    transactions: int  # in an iteration
    largest_transaction_gas: int
    largest_transaction_bytes: int
    opening_gas: int  # of opening the round and all declarations
    iterations_to_0_8_percent: int | None
    round_gas_to_0_8_percent: int | None  # opening, declarations, iterations


@dataclass(frozen=True)
class Mode:
    """A way to play a round."""

    start: Callable[[Network, Played], PlayedOnce]
    block_gas: int = BLOCK_GAS
    iterations: int = MOST_ITERATIONS  # those after it are taken to cost as much as the last one


MODES = {
    "reference": Mode(ReferenceRound, REFERENCE_BLOCK_GAS, STEADY),
    "direct": Mode(partial(AggregatorRound, relayed=False)),
    "relayed": Mode(partial(AggregatorRound, relayed=True)),
}


def measured(negotiation: Played, size: Size, mode: str) -> GasRow:
    """Plays a negotiation on a chain of its own."""
    way, to_gap = MODES[mode], negotiation.to_0_8_percent
    wanted = min(max(to_gap or 0, STEADY), way.iterations)
    with open_network("anvil") as network:
        web3: Any = network.connect()
        web3.provider.make_request("evm_setBlockGasLimit", [hex(way.block_gas)])
        play = way.start(network, negotiation)
        played = [play.iterate(k, payloads) for k, payloads in enumerate(negotiation.iterations[:wanted], start=1)]
    n = len(negotiation.community.households)
    steady = played[STEADY - 1]
    largest = [*itertools.chain(play.opening, *played)]
    spent = None
    if to_gap is not None:
        more = max(to_gap - wanted, 0) * sum(charge.gas for charge in played[-1])
        spent = sum(charge.gas for charge in itertools.chain(play.opening, *played[:to_gap])) + more
    return GasRow(
        size=str(size),
        households=n,
        steps=negotiation.community.steps,
        bids=negotiation.bids,
        mode=mode,
        gas_per_household_iteration=sum(charge.gas for charge in steady) / n,
        calldata_floor=sum(charge.calldata_floor for charge in steady) / n,
        eip7623_floor=sum(charge.eip7623_floor for charge in steady) / n,
        transactions=len(steady),
        largest_transaction_gas=max(charge.gas for charge in largest),
        largest_transaction_bytes=max(charge.size for charge in largest),
        opening_gas=sum(charge.gas for charge in play.opening),
        iterations_to_0_8_percent=to_gap,
        round_gas_to_0_8_percent=spent,
    )


# ---------------------------------------------------------------------- the table

TARGETS = (
    ("direct", "gas_per_household_iteration", "gas a household and iteration", 100_000),
    ("relayed", "gas_per_household_iteration", "gas a household and iteration", 40_000),
    ("direct", "round_gas_to_0_8_percent", "gas of the round to 0.8 %", 30_000_000),
    ("relayed", "round_gas_to_0_8_percent", "gas of the round to 0.8 %", 10_000_000),
)
"""For the 16 households and 24 steps of the shipped days: mode, figure, what it is, limit."""


def targets(rows: Sequence[GasRow]) -> list[dict[str, Any]]:
    """What is to be reached on each shipped day and, by any transaction but of the reference, with every size."""
    result = [
        {"what": f"{CASE} {row.size}, {mode}: {what}", "limit": limit, "measured": getattr(row, figure)}
        for mode, figure, what, limit in TARGETS
        for row in rows
        if row.mode == mode and row.size in SHIPPED
    ]
    largest = [(row.largest_transaction_gas, row.largest_transaction_bytes) for row in rows if row.mode != "reference"]
    if largest:
        gas, size = map(max, zip(*largest, strict=True))
        result.append({"what": "largest transaction of all sizes: gas", "limit": BLOCK_GAS, "measured": gas})
        result.append({"what": "largest transaction of all sizes: bytes", "limit": MOST_BYTES, "measured": size})
    return [{**one, "met": one["measured"] is not None and one["measured"] <= one["limit"]} for one in result]


def table(rows: Sequence[GasRow]) -> str:
    """Targets and all rows as Markdown."""
    lines = ["| target | limit | measured | |", "| --- | ---: | ---: | --- |"]
    for one in targets(rows):
        met = "met" if one["met"] else "missed"
        lines.append(f"| {one['what']} | {one['limit']:,} | {_number(one['measured'])} | {met} |")
    lines += [
        "",
        "| households x steps | bids | mode | gas a household and iteration | reference / it | it / calldata floor "
        "| calldata floor | EIP-7623 floor | transactions an iteration | largest: gas | bytes "
        "| opening | iterations to 0.8 % | gas of the round to 0.8 % |",
        "| --- | ---: | --- " + 11 * "| ---: " + "|",
    ]
    reference = {row.size: row.gas_per_household_iteration for row in rows if row.mode == "reference"}
    for row in rows:
        gas = row.gas_per_household_iteration
        times = f"{reference[row.size] / gas:.1f}" if row.size in reference else ""
        grown_to = f"{row.households}x{row.steps}"
        name = grown_to.replace("x", " x ") + (f" ({row.size})" if row.size != grown_to else "")
        lines.append(
            f"| {name} | {row.bids:.0f} | {row.mode} | {gas:,.0f} | {times} | {gas / row.calldata_floor:.1f} "
            f"| {row.calldata_floor:,.0f} | {row.eip7623_floor:,.0f} | {row.transactions} "
            f"| {row.largest_transaction_gas:,} | {row.largest_transaction_bytes:,} "
            f"| {row.opening_gas:,} | {_number(row.iterations_to_0_8_percent)} "
            f"| {_number(row.round_gas_to_0_8_percent)} |"
        )
    return "\n".join(lines) + "\n"


def _number(value: float | None) -> str:
    return "not measured" if value is None else f"{value:,.0f}"


NOTE = """# Gas

Scenario {scenario}, star around node 0: days of {case} as shipped, which the first column names, and {grown_day} grown
to other sizes (`gridpact.community.grown`, seed {grown_seed}, at most 8 partners a household). Bids are those of a
household, on average. The integers are those of the negotiation in memory, its residuals included, and every iteration
is closed with all nodes. No figure depends on the machine.

- *direct*: every node sends its own transaction. *relayed*: one account posts all signed submissions of an iteration,
  in the batches of the relay service. *reference*: a contract that keeps every number in an int256 of its own
  (`contracts/mocks/ReferenceAggregator.sol`), with a block gas limit that lets it run.
- *Gas a household and iteration*: all gas of the third iteration, node 0's and the relayer's included, by households.
  From the third iteration on, all storage is in use.
- *Calldata floor*: what the same transactions would cost if they did nothing: 21,000 gas each, and 4 a zero and 16 any
  other byte of calldata. *EIP-7623 floor*: what they cost at least since Prague, with 10 and 40 gas a byte; the chains
  here run Shanghai.
- *Opening*: gas of opening the round and of all declarations, which every node sends itself in every mode.
- *Iterations to 0.8 %*: after which the cost of the plan, as carried out, stays within 0.8 % of the centralised
  optimum, see [benchmarks.md](benchmarks.md). *Gas of the round*: opening and so many
  iterations{extra}.
- *Largest*: the largest transaction of these, by gas and by bytes.

`{command}`, commit {commit}.

"""

CALLS = """
## Single calls

`tests/contracts/gas.json`, of the contracts as they stand (a test fails where one moves by more than 1 %), beside the
first version, commit 55a4732; and the steps of two whole rounds with settlement (`reports/rounds.json`). How much the
trades of a round cost depends a little on who states first. Deploying costs more because the contracts do more:
corrections, vouching, limits of debits, several products, sealed rounds.

<!-- figures: calls -->
<!-- end of figures -->
"""


def _rows_of(task: tuple[Size, Sequence[str]]) -> list[GasRow]:
    """All modes of a size; tells how it gets on."""
    size, modes = task

    def tell(text: str) -> None:
        print(f"{size}: {text}", file=sys.stderr, flush=True)

    tell("negotiating in memory")
    negotiation = negotiated(size.community())
    rows = []
    for mode in modes:
        tell(f"playing {mode}")
        row = measured(negotiation, size, mode)
        tell(f"{mode}: {row.gas_per_household_iteration:,.0f} gas a household and iteration")
        rows.append(row)
    return rows


def _commit() -> str:
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m measure.gas", description=__doc__)
    parser.add_argument("--sizes", nargs="+", default=list(map(str, SIZES)), metavar="SIZE")
    parser.add_argument("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    parser.add_argument("--out", type=Path)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    tasks = [(Size.of(text), arguments.modes) for text in arguments.sizes]
    with multiprocessing.get_context("spawn").Pool() as pool:
        rows = list(itertools.chain(*pool.imap(_rows_of, tasks)))
    print(table(rows))
    command = " ".join(["python -m measure.gas", *(argv or sys.argv[1:])])
    about = {
        "scenario": SCENARIO.name,
        "case": CASE,
        "grown_day": DAY,
        "grown_seed": SEED,
        "command": command,
        "commit": _commit(),
    }
    if arguments.out:
        extra = ""
        if "reference" in arguments.modes:
            extra = "; those of the reference after the third are taken to cost as much as\n  the third"
        text = NOTE.format(**about, extra=extra) + table(rows) + CALLS
        write_atomically(arguments.out, filled(text, read_reports()))
    if arguments.json:
        content = [asdict(row) for row in rows]
        write_atomically(arguments.json, json.dumps(content, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
