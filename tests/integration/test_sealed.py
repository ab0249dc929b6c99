"""A sealed round on Anvil: settled as the open one, and of no use to whoever reads it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
from chains import skip_without
from unit.chain.synthetic import Place, played

import gridpact.run.onchain
from gridpact.chain.account import ChainAccount
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.inspection import inspect_deployment
from gridpact.chain.networks import ETHER, Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement
from gridpact.community.model import Array, CommunityDay
from gridpact.errors import ChainError, ContractError
from gridpact.events import Event, NodeOut
from gridpact.limits import MOST_BID, SUM_BYTES
from gridpact.manage.vouching import one_sided, shown, to_vouch, vouch_calls
from gridpact.market.admm.agent import Agent, IntegerSubmission
from gridpact.market.admm.answers import PairPart, decode_answer, encode_answer
from gridpact.market.admm.assembly import Closing, Integers
from gridpact.market.admm.codec import decode_copies, key_in
from gridpact.market.admm.residuals import Residuals
from gridpact.node.asking import Asking
from gridpact.node.audit import audit_round
from gridpact.node.form import SealedForm
from gridpact.node.memory import Memory
from gridpact.node.round_log import assembly_of
from gridpact.node.settling import Settling
from gridpact.outcome.day import day_of, solve_day
from gridpact.problem.blocks import Block
from gridpact.problem.scenario import Scenario
from gridpact.run.launch import NodeFiles, Nodes, one_round
from gridpact.run.onchain import RunSettings, _RoundOffice, run


@pytest.fixture(autouse=True)
def needs_anvil() -> None:
    skip_without("anvil")


@contextmanager
def in_threads(files: Sequence[NodeFiles], network: Network) -> Iterator[Nodes]:
    """Nodes of this process, so that a test can have one play false."""
    assert network.rpc_url is not None
    threads = [threading.Thread(target=one_round, args=(one, network.rpc_url), daemon=True) for one in files]
    for thread in threads:
        thread.start()
    yield Nodes(files, threads)


class Looking:
    """Keeps what the chain tells at the end of a run."""

    def __init__(self) -> None:
        self.sealed = False

    @contextmanager
    def look(self, record: Record, network: Network) -> Iterator[None]:
        yield
        web3 = network.connect()
        aggregator = Aggregator.of(record, web3)
        self.sealed = aggregator.sealed
        self.contracts = {found.name for found in inspect_deployment(web3, record)}
        self.audit = audit_round(aggregator, 1)
        found = assembly_of(aggregator, 1)
        assert found is not None
        self.assembly, self.books = found
        self.last = aggregator.history(1)[-1]
        self.copies = {node: aggregator.copies_of(said) for node, said in self.last.submissions.items()}
        self.recorded = Settlement.of(record, web3).recorded(1)


def test_sealedRound_settlesAsTheOpenOne(tiny3: CommunityDay) -> None:
    looking = Looking()
    settings = RunSettings(Scenario.TG, chain="anvil", sealed=True)
    outcome = run(tiny3, settings, spectator=looking.look)
    on_chain, in_memory = day_of(outcome), solve_day(tiny3, Scenario.TG)
    assert looking.sealed
    assert "SealedReferee" in looking.contracts
    assert on_chain.iterations == in_memory.iterations
    assert set(on_chain.trades) == set(in_memory.trades)
    assert len(looking.recorded) == len({(min(t.seller, t.buyer), max(t.seller, t.buyer)) for t in in_memory.trades})
    assert on_chain.cost == pytest.approx(in_memory.cost, abs=1e-6)
    assert outcome.payments_sum_to_zero
    # What stands there is checked as far as it can be, and is not the plan.
    assert looking.audit.clean
    assert looking.audit.sealed
    assert all(key_in(book) is not None for book in looking.books.values())
    for home in in_memory.households:
        blocks = looking.assembly.blocks(home.node)
        net, _ = decode_copies(blocks, looking.copies[home.node], looking.assembly.steps) / 2000
        assert abs(net - home.schedule["injection_kw"]).max() > 1.0


def test_partnerThatStatesNothing_isVouchedFor(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch) -> None:
    """Household 3 agrees and states nothing. Each of its partners shows what the two had in common, and metering
    records what they agreed on."""
    settle, deliver, keys = Settling.settle, _RoundOffice.deliver, dict[int, str]()

    @contextmanager
    def noting(files: Sequence[NodeFiles], network: Network) -> Iterator[Nodes]:
        keys.update({int(one.folder.name[-2:]): one.key.read_text().strip() for one in files})
        with in_threads(files, network) as nodes:
            yield nodes

    def silent(self: Settling, round_: int, memory: Memory, schedule: Mapping[str, Array]) -> Any:
        return memory.agent.trades.statements() if self.view.node == 3 else settle(self, round_, memory, schedule)

    def vouched_first(office: Any, schedules: Any) -> Any:
        web3, record = office._web3, office.record
        metering = ChainAccount(web3, office._suppliers.metering_key)
        office._network.fund([metering.address], ETHER, web3)
        aggregator, side = Aggregator.of(record, web3), Settlement.of(record, web3, metering)
        waiting = one_sided(side, 1)
        assert waiting
        assert all(pair[1] == 3 and who == {pair[0]} for pair, who in waiting.items())
        with pytest.raises(ChainError, match=rf"is sealed.*ask node {min(waiting)[0]} for .* with node 3"):
            to_vouch(aggregator, side, 1)
        nodes = {pair: Aggregator.of(record, web3, ChainAccount(web3, keys[pair[0]])) for pair in waiting}
        pads = {pair: shown(node, 1, *pair).pads(aggregator) for pair, node in nodes.items()}
        pairs = to_vouch(aggregator, side, 1, pads)
        calls = vouch_calls(aggregator, 1, pairs, pads)
        side.send_all([side.vouch_call(one.round, one.lower, one.statements, one.openings) for one in calls])
        return deliver(office, schedules)

    monkeypatch.setattr(Settling, "settle", silent)
    monkeypatch.setattr(_RoundOffice, "deliver", vouched_first)
    monkeypatch.setattr(gridpact.run.onchain, "running_nodes", noting)
    looking = Looking()
    outcome = run(tiny3, RunSettings(Scenario.TG, chain="anvil"), spectator=looking.look)
    assert outcome.payments_sum_to_zero
    expected = {(t.seller, t.buyer, t.step, t.energy_kwh) for t in solve_day(tiny3, Scenario.TG).trades}
    found = set()
    for record in looking.recorded:
        for trade in record.trades:
            pair = (record.lower, record.higher) if trade.energy_wh > 0 else (record.higher, record.lower)
            found.add((*pair, trade.step, abs(trade.energy_wh) / 1000))
    assert found == expected


def test_placeBelowAHousehold_isRefused(anvil: Network) -> None:
    """A voltage has more than two holders there, and cannot be sealed. So node 0 reads all that a household says."""
    tree = {0: Place(0, 0, (1, 2, 3)), 1: Place(0, 1), 2: Place(0, 1, (3,)), 3: Place(2, 2)}
    play = played(anvil, tree, sealed=True)
    number = play.manager.open_round(20260701)
    for node, pair in ((2, (2, 3)), (3, (2, 3))):
        with pytest.raises(ContractError) as refused:
            play.declare(number, node)
        assert (refused.value.name, refused.value.values) == ("TopologyMismatch", pair)
    for node in (0, 1):
        play.declare(number, node)
    assert play.manager.progress().present == {0, 1}
    play.close()


@dataclass(frozen=True)
class Lie:
    """What household 3 does from the eighth iteration on."""

    claims: Callable[[Residuals], Residuals] = lambda true: true
    says: Callable[[IntegerSubmission], IntegerSubmission] = lambda true: true
    encodes: Callable[[bytes], bytes] = lambda true: true  # bids, and the sums behind them
    answers: Callable[[SealedForm, bytes], bytes] | None = lambda form, true: true


MUCH = 10**9
"""More than the residuals of an honest round come to there."""


def more_of_trades(true: Residuals) -> Residuals:
    return replace(true, primal_trade=true.primal_trade + MUCH)


def more_of_changes(true: Residuals) -> Residuals:
    return replace(true, dual_trade=true.dual_trade + MUCH)


CHANGED = 2**20


def other_sums(true: bytes) -> bytes:
    """At its last step, by 2^20 units."""
    return true[:-SUM_BYTES] + bytes([true[-SUM_BYTES] ^ CHANGED >> 16]) + true[1 - SUM_BYTES :]


def far(true: IntegerSubmission) -> IntegerSubmission:
    """Injections that nothing of what was agreed is near."""
    return replace(true, copies=np.where(true.copies > 0, -FAR, FAR))


FAR = 2**19 - 1
"""As much as fits."""


def on_the_first(form: SealedForm, true: bytes, change: Callable[[PairPart], PairPart]) -> bytes:
    """An answer with another part of its first partner."""
    book = form.assembly.book(form.node)
    parts = decode_answer(book, true, form.assembly.steps)
    assert parts is not None
    first = min(parts)
    return encode_answer(book, parts | {first: change(parts[first])})


def covered(form: SealedForm, true: bytes) -> bytes:
    """What it claimed too much is put on its first partner."""
    return on_the_first(form, true, lambda part: replace(part, primal=part.primal + MUCH))


def covered_change(form: SealedForm, true: bytes) -> bytes:
    """The same of how much trades have changed."""
    return on_the_first(form, true, lambda part: replace(part, dual=part.dual + 4 * MUCH))


def covered_sums(form: SealedForm, true: bytes) -> bytes:
    """What `other_sums` has changed is put on its first partner, so that the shares come to the sums."""
    book = form.assembly.book(form.node)
    parts = decode_answer(book, true, form.assembly.steps)
    assert parts is not None
    last = max(step for steps in book.values() for step in steps)
    shares = [part.shares[book[partner].index(last)] for partner, part in parts.items() if last in book[partner]]
    change = -CHANGED if sum(shares) & CHANGED else CHANGED

    def changed(part: PairPart) -> PairPart:
        at = book[min(parts)].index(last)
        return replace(part, shares=(*part.shares[:at], (part.shares[at] + change) % 2**24, *part.shares[at + 1 :]))

    return on_the_first(form, true, changed)


LIES = {
    "claims a unit more of the network": Lie(claims=lambda true: replace(true, primal_grid=true.primal_grid + 1)),
    "claims less of the trades": Lie(claims=lambda true: replace(true, primal_trade=true.primal_trade // 2)),
    "claims that less has changed": Lie(claims=lambda true: replace(true, dual_trade=true.dual_trade // 2)),
    "injects without end": Lie(says=far),
    "bids without end": Lie(says=lambda true: replace(true, bids=np.full_like(true.bids, MOST_BID))),
    "claims much more of the trades, and puts it on a partner": Lie(claims=more_of_trades, answers=covered),
    "claims much more of the trades, and goes on": Lie(claims=more_of_trades, answers=None),
    "claims that much more has changed, and puts it on a partner": Lie(claims=more_of_changes, answers=covered_change),
    "claims much more of the trades, and breaks off": Lie(claims=more_of_trades, answers=lambda form, true: true[:-1]),
    "says other sums for the pool": Lie(encodes=other_sums),
    "says other sums for the pool, and puts them on a partner": Lie(encodes=other_sums, answers=covered_sums),
}
"""What it claims of the network, and where it injects, the operator's node sees; what it bids, and residuals that are
less than its bids to a partner alone make them, that partner. The others nobody sees, so it is asked: then a partner
sees that its part is false, the contract that there is no answer, all that the parts do not come to what it said."""


@pytest.mark.parametrize("lie", LIES)
def test_liar_isProvedFalse_andNobodyElse(tiny3: CommunityDay, monkeypatch: pytest.MonkeyPatch, lie: str) -> None:
    """Whoever shares something with it shows that to the contract. The others agree without it."""
    take_in, solve = Agent.take_in, Agent.solve

    def is_false(agent: Agent) -> bool:
        return agent.view.node == 3 and agent.iteration >= 8

    def false_take_in(self: Agent, now: Closing, copies: Integers | None) -> None:
        take_in(self, now, copies)
        if is_false(self):
            self.residuals = LIES[lie].claims(self.residuals)

    def false_solve(self: Agent, running: Mapping[Block, Integers] | None = None) -> IntegerSubmission:
        said = solve(self, running)
        return LIES[lie].says(said) if is_false(self) else said

    encode, answer, send = SealedForm.encode, SealedForm.answer, Asking.answer

    def false_encode(
        self: SealedForm, iteration: int, submission: IntegerSubmission, gone: frozenset[int]
    ) -> tuple[list[int], bytes]:
        words, bids = encode(self, iteration, submission, gone)
        return words, LIES[lie].encodes(bids) if self.node == 3 and iteration >= 8 else bids

    def false_answer(self: SealedForm, *about: Any) -> bytes:
        true, change = answer(self, *about), LIES[lie].answers
        return change(self, true) if self.node == 3 and change is not None else true

    def false_send(self: Asking, round_: int, memory: Memory) -> None:
        if self._node != 3 or LIES[lie].answers is not None:
            send(self, round_, memory)

    monkeypatch.setattr(SealedForm, "encode", false_encode)
    monkeypatch.setattr(SealedForm, "answer", false_answer)
    monkeypatch.setattr(Asking, "answer", false_send)
    monkeypatch.setattr(Agent, "take_in", false_take_in)
    monkeypatch.setattr(Agent, "solve", false_solve)
    monkeypatch.setattr(gridpact.run.onchain, "running_nodes", in_threads)
    out: list[tuple[int, bool]] = []

    class Hearing:
        def hear(self, event: Event) -> None:
            if isinstance(event, NodeOut):
                out.append((event.node, event.proved))

    outcome = run(tiny3, RunSettings(Scenario.TG, chain="anvil", sealed=True), Hearing())
    assert out == [(3, True)]
    assert outcome.converged
