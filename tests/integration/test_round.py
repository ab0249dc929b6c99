"""The main job on a chain inside this process: tiny3, all scenarios, from deployment to settlement.

Compared with the centralised optimum, with the same negotiation without a chain, and with sums that are read off the
transactions and added here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
import pytest
from web3 import Web3

import gridpact.run
from gridpact.admm.memory import Iterate, negotiate
from gridpact.admm.parameters import Penalties, Tolerances
from gridpact.chain.artifacts import AGGREGATOR, SETTLEMENT, load
from gridpact.chain.networks import Network, open_network
from gridpact.chain.values import Phase
from gridpact.community.model import CommunityDay
from gridpact.community.read import read_community
from gridpact.market.baseline import baseline_net_kw
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.market.view import node_views
from gridpact.run import RunSettings
from gridpact.study.result import RunResult

DSO, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS
FORMS = {
    "B": (Scenario.B, DSO),
    "T": (Scenario.T, DSO),
    "G": (Scenario.G, DSO),
    "TG": (Scenario.TG, DSO),
    "TG-neighbours": (Scenario.TG, NEIGHBOURS),
}
# Looser than the defaults, as an iteration takes half a second on this chain: 12 iterations instead of 60 in the star,
# 31 instead of 83 between neighbours. The gap on tiny3 is below 0.1 % as well; the defaults run in `tests/e2e`.
TOLERANCES = {
    "G": Tolerances(10.0, 10.0),
    "TG": Tolerances(10.0, 10.0),
    "TG-neighbours": Tolerances(20.0, 20.0),
}


class Listener:
    """Remembers what a run tells."""

    def __init__(self) -> None:
        self.stages: list[str] = []
        self.iterations: list[int] = []

    def stage(self, text: str) -> None:
        self.stages.append(text)

    def iteration(self, number: int, rms_w: Sequence[float]) -> None:
        assert len(rms_w) == 4
        self.iterations.append(number)


@dataclass
class Ran:
    """A run, and the chain it leaves behind."""

    name: str
    day: CommunityDay
    settings: RunSettings
    tolerances: Tolerances
    result: RunResult
    listener: Listener
    web3: Web3

    @property
    def views(self) -> list[Any]:
        return node_views(self.day, self.settings.scenario, self.settings.agreement)


@pytest.fixture(scope="module", params=FORMS)
def ran(request: pytest.FixtureRequest) -> Iterator[Ran]:
    """The chain is opened here, so that it can still be asked when the run is over."""
    scenario, agreement = FORMS[request.param]
    settings = RunSettings(scenario, agreement, "eth-tester")
    tolerances = TOLERANCES.get(request.param, Tolerances())
    day, listener = read_community("tiny3").on("1"), Listener()
    with open_network("eth-tester") as network, pytest.MonkeyPatch.context() as patch:

        @contextmanager
        def opened(name: str) -> Iterator[Network]:
            assert name == "eth-tester"
            yield network

        patch.setattr(gridpact.run, "open_network", opened)
        patch.setattr(RunSettings, "tolerances", tolerances)
        result = gridpact.run.run(day, settings, listener)
        yield Ran(request.param, day, settings, tolerances, result, listener, network.connect())


@pytest.fixture(scope="module")
def iterates(ran: Ran) -> list[Iterate]:
    """The same negotiation in memory: residuals of every iteration, agents as they are after the last."""
    penalties = Penalties.of_community(ran.day, baseline_net_kw(ran.day))
    return list(islice(negotiate(ran.views, penalties, ran.settings.resolution), ran.result.iterations))


@pytest.fixture(scope="module")
def calls(ran: Ran) -> list[tuple[str, dict[str, Any], Any]]:
    """All transactions to the two contracts: function, arguments, receipt; in the chain's order."""
    decoders = [ran.web3.eth.contract(abi=load(name).abi) for name in (AGGREGATOR, SETTLEMENT)]  # type: ignore[call-overload]
    found = []
    for number in range(1, ran.web3.eth.block_number + 1):
        for transaction in ran.web3.eth.get_block(number, True)["transactions"]:
            receipt = ran.web3.eth.get_transaction_receipt(transaction["hash"])
            for decoder in decoders:
                try:
                    function, arguments = decoder.decode_function_input(
                        transaction.get("input", transaction.get("data"))
                    )
                except ValueError:
                    continue
                found.append((function.fn_name, arguments, receipt))
                break
    return found


# ---------------------------------------------------------------------- what the run came to


def test_run_converges(ran: Ran) -> None:
    result = ran.result
    assert result.converged
    assert ran.listener.iterations == sorted(set(ran.listener.iterations))
    assert len(ran.listener.stages) >= 4
    # 0.1 % is what the issue asks for; a plan cannot beat the optimum by more than solver and power flow are exact.
    assert -1e-5 <= result.implemented_gap <= 1e-3
    assert abs(result.relaxation_gap) <= 1e-5
    if ran.settings.scenario.has_network:
        assert result.voltage_ok


def test_run_costsWhatTheHandSays(ran: Ran) -> None:
    """6.30 alone, 3.60 with trades and at most 0.02 of losses (`tests/unit/market/test_optimum.py`), to 0.1 %."""
    low, high = {Scenario.B: (6.30, 6.30), Scenario.T: (3.60, 3.60)}.get(ran.settings.scenario, (3.60, 3.62))
    assert low * 0.999 <= ran.result.cost.total <= high * 1.001


def test_settlement_sumsToZero(ran: Ran) -> None:
    result = ran.result
    assert result.settlement_sum_zero
    # In token units of 1e-6, as floats of some 1e0: exact but for rounding.
    assert sum(home.paid for home in result.households) == pytest.approx(0, abs=1e-9)
    assert bool(result.trades) == ran.settings.scenario.has_trades
    assert (result.paid_total > 0) == ran.settings.scenario.has_trades


def test_netPayments_areThoseOfTheTrades(ran: Ran) -> None:
    """Energy times price of every recorded trade, netted by household; each pair is rounded once to 1e-6."""
    owed: dict[int, float] = defaultdict(float)
    for trade in ran.result.trades:
        owed[trade.buyer] += trade.energy_kwh * trade.price_per_kwh
        owed[trade.seller] -= trade.energy_kwh * trade.price_per_kwh
    for home in ran.result.households:
        partners = len({t.seller + t.buyer - home.node for t in ran.result.trades if home.node in (t.seller, t.buyer)})
        assert home.paid == pytest.approx(owed[home.node], abs=1e-6 * max(partners, 1))


def test_meters_balance(ran: Ran) -> None:
    """Each household's contract covers what devices and recorded trades leave, to what convergence leaves open."""
    if not ran.settings.scenario.has_contracts:
        return
    sold = np.zeros((3, 4))
    for trade in ran.result.trades:
        sold[trade.seller - 1, trade.step] += trade.energy_kwh / 6
        sold[trade.buyer - 1, trade.step] -= trade.energy_kwh / 6
    for row, home in enumerate(ran.result.households):
        left = home.schedule["import_kw"] - home.schedule["feed_in_kw"] + home.schedule["injection_kw"] - sold[row]
        # The RMS mismatch of a bid may be the tolerance, that of the largest of 8 bids sqrt(8) times as much, and
        # 1 Wh of 6 h is lost in rounding; a home has two partners.
        room = 2 * (np.sqrt(8) * ran.tolerances.trade_w / 1000 + 0.001 / 6)
        assert np.abs(left).max() <= room


# ---------------------------------------------------------------------- the chain adds nothing


def test_chain_addsNothing(ran: Ran, iterates: list[Iterate]) -> None:
    """The same iteration count, and the same plans to the last bit: integers in, integers out."""
    tolerances, resolution = ran.tolerances, ran.settings.resolution
    held = [k.iteration for k in iterates if tolerances.hold(k.residuals.as_tuple(), k.scalars, resolution)]
    # Residuals are submitted with the next iteration, which is the one that ends the round.
    assert ran.result.iterations == held[0] + 1
    for home in ran.result.households:
        solution = iterates[-1].agents[home.node].solution
        assert solution is not None
        for name, values in home.schedule.items():
            assert values.tolist() == solution.schedule[name].tolist(), name


def test_recordedTrades_areThoseWithoutAChain(ran: Ran, iterates: list[Iterate]) -> None:
    """Energy in Wh, truncated; price in 1e-6; from z and xi of the negotiation in memory."""
    if not ran.settings.scenario.has_trades:
        return
    expected = set()
    for node, agent in iterates[-1].agents.items():
        place = 0
        for partner in agent.view.partners:
            for step in partner.steps:
                kwh = agent.trades.agreed[place] / 2 * ran.settings.resolution.power_kw * 6
                price = agent.trades.price[place] / 6
                if kwh > 0 and int(kwh * 1000 + 1e-9):  # 1e-9: a whole number of Wh, written as a float
                    expected.add((node, partner.node, step, int(kwh * 1000 + 1e-9), round(price * 1e6)))
                place += 1
    recorded = {
        (t.seller, t.buyer, t.step, round(t.energy_kwh * 1000), round(t.price_per_kwh * 1e6)) for t in ran.result.trades
    }
    assert recorded == expected


def test_residuals_areThoseWithoutAChain(ran: Ran, iterates: list[Iterate]) -> None:
    convergence = ran.result.convergence
    assert len(convergence.primal_grid_w) == ran.result.iterations - 1  # the last ones never reach the chain
    for row, iterate in enumerate(iterates[:-1]):
        grid, trade = (max(n, 1) for n in iterate.scalars)
        watts = [
            0.5 * np.sqrt(s / n) for s, n in zip(iterate.residuals.as_tuple(), (grid, grid, trade, trade), strict=True)
        ]
        told = (convergence.primal_grid_w[row], convergence.dual_grid_w[row], convergence.primal_trade_w[row],
                convergence.dual_trade_w[row])  # fmt: skip
        assert told == pytest.approx(watts, rel=1e-12)  # the same integers, divided in another order


# ---------------------------------------------------------------------- transactions


def test_transactions_areAllCounted(ran: Ran, calls: list[tuple[str, dict[str, Any], Any]]) -> None:
    assert all(receipt["status"] == 1 for *_, receipt in calls)
    submitted = [receipt["gasUsed"] for name, _, receipt in calls if name == "submit"]
    assert len(submitted) == len(ran.views) * ran.result.iterations
    assert ran.result.gas_by_step["submit"] == sum(submitted)
    assert sum(ran.result.gas_by_step.values()) == ran.result.gas_total
    assert len([name for name, *_ in calls if name == "declare"]) == len(ran.views)


def statement_of(data: bytes) -> list[tuple[int, int, int]]:
    """9 bytes a step, as `ITradeSettlement` says: step, energy, price."""
    entries = [data[k : k + 9] for k in range(0, len(data), 9)]
    return [
        (e[0], int.from_bytes(e[1:5], "big", signed=True), int.from_bytes(e[5:9], "big", signed=True)) for e in entries
    ]


def test_bothParties_stateTheSame(ran: Ran, calls: list[tuple[str, dict[str, Any], Any]]) -> None:
    """Every statement in the transactions is there twice, once from each partner, and is what was recorded."""
    names = {receipt["from"]: receipt["from"] for *_, receipt in calls}
    said: dict[str, list[tuple[int, bytes]]] = defaultdict(list)
    for name, arguments, receipt in calls:
        if name == "state":
            (pairs,) = [value for value in arguments.values() if isinstance(value, (list, tuple))]
            for pair in pairs:
                partner, trades = pair.values() if isinstance(pair, dict) else pair
                said[names[receipt["from"]]].append((partner, bytes(trades)))
    stated = sorted(trades for pairs in said.values() for _, trades in pairs)
    assert stated[0::2] == stated[1::2]
    recorded = sorted((t.step, round(t.energy_kwh * 1000), round(t.price_per_kwh * 1e6)) for t in ran.result.trades)
    assert sorted((s, abs(e), p) for trades in stated[0::2] for s, e, p in statement_of(trades)) == recorded


def lanes_of(words: Sequence[int], blocks: Sequence[tuple[str, int]], steps: int) -> dict[tuple[str, int], list[int]]:
    """A submission's payloads, biased as they stand: lanes of 21 bits, twelve a word, lowest first."""
    per_block = (steps + 11) // 12
    return {
        block: [(words[k * per_block + t // 12] >> (21 * (t % 12))) % 2**21 for t in range(steps)]
        for k, block in enumerate(blocks)
    }


def held_blocks(node: int, parent: int, children: Sequence[int], depth: int) -> list[tuple[str, int]]:
    """The order of `IVirtualAggregator`: own P, Q; own V with children; P, Q of the children; the parent's V."""
    own = [("P", node), ("Q", node)] if depth else []
    own += [("V", node)] if depth and children else []
    own += [(kind, child) for child in sorted(children) for kind in "PQ"]
    return own + ([("V", parent)] if depth > 1 else [])


def test_sumsOnTheChain_areThoseOfTheTransactions(ran: Ran, calls: list[tuple[str, dict[str, Any], Any]]) -> None:
    """The last closed iteration: `coupling` of every node against the submissions, added in plain Python."""
    tree = {view.node: held_blocks(view.node, view.parent, view.children, view.depth) for view in ran.views}
    declared = {receipt["from"]: arguments for name, arguments, receipt in calls if name == "declare"}
    address = next(receipt["to"] for name, _, receipt in calls if name == "submit")
    contract = ran.web3.eth.contract(Web3.to_checksum_address(address), abi=load(AGGREGATOR).abi)  # type: ignore[call-overload]
    node_of = {sender: contract.functions.nodeOf(Web3.to_checksum_address(sender)).call() for sender in declared}
    assert set(node_of.values()) == set(tree)

    sums: dict[tuple[str, int], np.ndarray] = {}
    submissions = 0
    for name, arguments, receipt in calls:
        if name == "submit" and arguments["iteration"] == ran.result.iterations:
            submissions += 1
            (words,) = [value for value in arguments.values() if isinstance(value, (list, tuple))]
            for block, lanes in lanes_of(words, tree[node_of[receipt["from"]]], 4).items():
                sums[block] = sums.get(block, np.zeros(4, dtype=object)) + np.array(lanes, dtype=object)
    assert submissions == len(tree)

    for node, blocks in tree.items():
        iteration, present, words = contract.functions.coupling(node).call()
        assert iteration == ran.result.iterations
        assert {k for k in range(128) if present >> k & 1} >= {node}
        for block, lanes in lanes_of(words, blocks, 4).items():
            assert lanes == sums[block].tolist(), block
    phase, iterations, _ = contract.functions.outcome(1).call()
    assert (phase, iterations) == (Phase.CONVERGED, ran.result.iterations)


def test_residualsOnTheChain_areTheSumOfTheSubmitted(ran: Ran, calls: list[tuple[str, dict[str, Any], Any]]) -> None:
    submitted = [
        list(a.values())[-1]  # the last argument
        for name, a, _ in calls
        if name == "submit" and a["iteration"] == ran.result.iterations
    ]
    address = next(receipt["to"] for name, _, receipt in calls if name == "submit")
    contract = ran.web3.eth.contract(Web3.to_checksum_address(address), abi=load(AGGREGATOR).abi)  # type: ignore[call-overload]
    word = contract.functions.residuals().call()
    for lane in range(4):
        own = [value >> 64 * lane & 2**64 - 1 for value in submitted]
        assert word >> 64 * lane & 2**64 - 1 == sum(own)
