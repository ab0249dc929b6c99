"""From a chain to the page: all that is told, after a re-organisation and an outage too, and nothing else."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from chains import rpc
from waiting import until

from gridpact.chain.feed import ChainBlock, Feed
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.transport import connect
from gridpact.errors import ChainError, InputError
from gridpact.live.following import LivePage, at_url
from gridpact.live.reader import Link, Reader
from gridpact.live.store import Store
from gridpact.live.view import About, RoundView, rounds
from unit.chain.settled import Settled, settled
from unit.chain.synthetic import FEEDER, NEVER, Played, played, star


@pytest.fixture
def play(anvil: Network) -> Iterator[Played]:
    made = played(anvil, star(3), steps=6)
    yield made
    made.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    made = Store(tmp_path / "history.db")
    yield made
    made.close()


def reader_of(record: Record, network: Network) -> Reader:
    """Not started: a test looks itself."""
    return Reader(lambda: Feed(record, network.connect()), lambda: Store(None), lambda: None)


def view_of(store: Store, number: int) -> RoundView:
    about = About.of(store)
    assert about is not None
    return RoundView(store, about, number)


def states(store: Store, number: int) -> dict[int, str]:
    return {home["node"]: home["state"] for home in view_of(store, number).round()["homes"]}


def test_round_isToldFromStartToEnd(play: Played, store: Store, anvil: Network) -> None:
    look = partial_look(play, store, anvil)
    look()
    assert rounds(store) == []
    number = play.manager.open_round(20260701)
    play.declare(number, 1)
    look()
    assert view_of(store, number).round()["phase"] == "declaring"
    assert states(store, number) == {0: "awaited", 1: "here", 2: "awaited", 3: "awaited"}
    for node in (0, 2, 3):
        play.declare(number, node)
    play.submit(number, 1, 2)
    look()
    assert view_of(store, number).round()["phase"] == "iterating"
    assert states(store, number) == {0: "awaited", 1: "awaited", 2: "here", 3: "awaited"}
    for node in (0, 1, 3):
        play.submit(number, 1, node)
    for iteration in (2, 3):
        play.iterate(number, iteration)
    look()
    told = view_of(store, number).round()
    assert (told["iteration"], told["star"]) == (4, True)
    assert [entry[:1] + entry[2:3] for entry in told["iterations"]] == [[1, 4], [2, 4], [3, 4]]
    # The residuals by the text of the contract, which the community of the test computes by itself.
    scalars = play.manager.scalars()
    for number_, _, _, rms in told["iterations"][1:]:
        sums = [sum(lane) for lane in zip(*(play.community.residuals(n, number_ - 1) for n in play.tree), strict=True)]
        expected = [0.5 * math.sqrt(s / n) for s, n in zip(sums, (scalars[0],) * 2 + (scalars[1],) * 2, strict=True)]
        assert rms == pytest.approx(expected, rel=1e-3)  # four digits are told
    assert rounds(store)[0]["phase"] == "running"


def partial_look(play: Played, store: Store, network: Network) -> Callable[[], None]:
    reader = reader_of(play.record, network)
    return lambda: reader.look(store)


def test_costs_areThoseOfTheReceipts(play: Played, store: Store, anvil: Network) -> None:
    number = play.open()
    play.iterate(number, 1)
    partial_look(play, store, anvil)()
    web3 = anvil.connect()
    receipts = [web3.eth.get_transaction_receipt(one) for one in play.manager.transactions(number)]  # type: ignore[arg-type]
    told = view_of(store, number).round()
    assert sum(gas for gas, _ in told["gas"].values()) == sum(receipt["gasUsed"] for receipt in receipts)
    assert int(told["wei"]) == sum(r["gasUsed"] * r["effectiveGasPrice"] for r in receipts)
    assert {purpose: count for purpose, (_, count) in told["gas"].items()} == {"open": 1, "declare": 4, "submit": 4}


def test_plan_ofAStar_isTheMeanOfTheCopies(play: Played, store: Store, anvil: Network) -> None:
    number = play.open()
    play.iterate(number, 1)
    partial_look(play, store, anvil)()
    plan = view_of(store, number).plan()
    assert plan is not None
    copies = play.community.at(1).copies
    for node in (1, 2, 3):
        both = zip(copies[0]["P", node], copies[node]["P", node], strict=True)
        assert plan["injection_kw"][node] == pytest.approx([0.0005 * (a + b) / 2 for a, b in both], abs=1e-4)


def test_plan_betweenNeighbours_isFlowsAndVoltages(anvil: Network, store: Store) -> None:
    play = played(anvil, FEEDER, steps=14, eps=NEVER)
    number = play.open()
    play.iterate(number, 1)
    partial_look(play, store, anvil)()
    plan = view_of(store, number).plan()
    assert plan is not None
    assert plan["tree"] == {1: 0, 2: 1, 3: 1}
    copies = play.community.at(1).copies
    flow = {n: [0.0005 * (a + b) / 2 for a, b in zip(copies[n]["P", n], copies[p]["P", n], strict=True)]
            for n, p in ((1, 0), (2, 1), (3, 1))}  # fmt: skip
    assert plan["flow_kw"][1] == pytest.approx(flow[1], abs=1e-4)
    own = [a - b - c for a, b, c in zip(flow[1], flow[2], flow[3], strict=True)]
    assert plan["injection_kw"][1] == pytest.approx(own, abs=2e-4)
    voltage = [sum(lanes) / 3 for lanes in zip(*(copies[n]["V", 1] for n in (1, 2, 3)), strict=True)]
    assert plan["voltage_pu"][1] == pytest.approx([math.sqrt(1 + 1e-5 * v) for v in voltage], abs=1e-5)
    play.close()


@pytest.mark.parametrize("blocks", [0, 1, 100])
def test_whatTheChainTakesBack_goes(play: Played, store: Store, anvil: Network, blocks: int) -> None:
    """The chain that follows is shorter than what was read, as long, or longer."""
    web3, look = anvil.connect(), partial_look(play, store, anvil)
    number = play.open()
    look()
    kept = store.events(number)
    snapshot = rpc(web3, "evm_snapshot")
    play.iterate(number, 1)
    play.submit(number, 2, 1)
    look()
    assert states(store, number)[1] == "here"
    rpc(web3, "evm_revert", snapshot)
    if blocks:
        rpc(web3, "anvil_mine", hex(blocks))
    for aggregator in play.nodes.values():
        aggregator.progress()
    look()
    assert store.events(number) == kept
    assert view_of(store, number).round()["iterations"] == []
    taken = store.newest_taken_back()
    assert taken is not None
    assert taken.events >= 5
    play.submit(number, 1, 3)  # the other history goes on
    look()
    assert states(store, number) == {0: "awaited", 1: "awaited", 2: "awaited", 3: "here"}
    fresh = Store(None)
    reader_of(play.record, anvil).look(fresh)
    assert fresh.events(number) == store.events(number)
    assert fresh.spent(number) == store.spent(number)


def test_restart_goesOnWhereItWas(play: Played, store: Store, anvil: Network) -> None:
    number = play.open()
    partial_look(play, store, anvil)()
    play.iterate(number, 1)  # nobody looks
    partial_look(play, store, anvil)()
    fresh = Store(None)
    partial_look(play, fresh, anvil)()
    assert store.events(number) == fresh.events(number)


@contextmanager
def market(network: Network) -> Iterator[Settled]:
    with settled(network) as made:
        yield made


def test_money_isWhatTheContractHolds(anvil: Network, store: Store) -> None:
    """Balances from events alone, beside those that the contract has."""
    with market(anvil) as made:
        number = made.play()
        for node, price in ((1, 150_000), (2, 150_000)):
            made.state(number, node, {3 - node: price})
        energies = {1: [-1000] * 24, 2: [500] * 24}
        readings = [made.supplier.sign_reading(made.metering_key, number, node, wh) for node, wh in energies.items()]
        made.supplier.deliver_readings(readings)
        made.sides[1].deposit(1_234_567)
        reader_of(made.record, anvil).look(store)
        view = view_of(store, number)
        day, traded = view.day(), view.market()
        assert {node: list(one["energies_wh"]) for node, one in day["delivered"].items()} == energies
        for node in TREE_NODES:
            held = made.supplier.balance(made.address(node))
            assert day["balances"][node] == held.free + held.locked - held.arrears
        (pair,) = traded["trades"]
        assert (pair["lower"], pair["higher"]) == (1, 2)
        assert [tuple(step) for step in pair["steps"]] == made.entries(1, 2, 150_000)
        assert traded["import_micro"] == (300_000,) * 24
        assert view.round()["phase"] == "converged"


TREE_NODES = (1, 2, 3)


def test_outage_isToldAndOutlived(play: Played, tmp_path: Path, anvil: Network) -> None:
    """The reader says that the chain is away, and goes on when it is back."""
    away = [True]

    def connect_() -> Feed:
        if away[0]:
            raise ChainError("The node does not answer.")
        return Feed(play.record, anvil.connect())

    path = tmp_path / "history.db"
    with Reader(connect_, lambda: Store(path), lambda: None, every=0.05) as reader:
        until(lambda: reader.standing.link is Link.AWAY)
        assert reader.standing.trouble == "The node does not answer."
        away[0] = False
        until(lambda: reader.standing.link is Link.UP)
        number = play.open()
        store = Store(path)
        until(lambda: len(rounds(store)) == 1 and len(store.events(number, "Declared")) == 4)
        store.close()
    assert reader.standing.link is Link.ENDED


def test_unexpectedError_isSaid_andOutlived(play: Played, tmp_path: Path, anvil: Network) -> None:
    broken = [True]

    def connect_() -> Feed:
        if broken[0]:
            raise TypeError("an endpoint that answers nonsense")
        return Feed(play.record, anvil.connect())

    path = tmp_path / "history.db"
    with Reader(connect_, lambda: Store(path), lambda: None, every=0.05) as reader:
        until(lambda: reader.standing.link is Link.WRONG)
        assert reader.standing.trouble == "unexpected TypeError: an endpoint that answers nonsense"
        broken[0] = False
        until(lambda: reader.standing.link is Link.UP)


def test_contractOfSomebodyElse_isRefused(play: Played, anvil: Network) -> None:
    assert anvil.rpc_url is not None
    other = replace(play.record, aggregator=play.record.token)
    with pytest.raises((InputError, ChainError)) as refused:
        Feed(other, connect(anvil.rpc_url))
    assert "\n" not in str(refused.value)


def test_history_ofAnotherDeployment_isRefused(play: Played, tmp_path: Path) -> None:
    page = LivePage(tmp_path / "history.db", {})
    with page.following(play.record, at_url(play.record, "http://127.0.0.1:1")):
        pass
    other = replace(play.record, chain_id=5)
    with pytest.raises(InputError, match="another deployment"), page.following(other, at_url(other, "http://x")):
        pass


def test_standing_hasTheTimeOfTheChain() -> None:
    """Ahead where the chain is, and never behind this machine: a chain without new blocks does not stand still."""
    import time

    from gridpact.live.reader import ReaderState

    now = time.time()
    ahead = ReaderState(Link.UP, "", ChainBlock(1, "0x", int(now) + 3600), time.monotonic())
    assert ahead.chain_time >= int(now) + 3600
    assert ReaderState(Link.UP, "", ChainBlock(1, "0x", 5), time.monotonic()).chain_time >= now
