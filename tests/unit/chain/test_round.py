"""A round of two nodes on the embedded chain, through the typed wrappers."""

from __future__ import annotations

import threading
from dataclasses import asdict

import pytest
from web3 import Web3

from gridpact.chain.account import ChainAccount, new_key
from gridpact.chain.aggregator import Aggregator
from gridpact.chain.deploy import mint_tokens
from gridpact.chain.networks import Network
from gridpact.chain.record import Record
from gridpact.chain.settlement import Settlement, encode_trades
from gridpact.chain.transport import meter_of
from gridpact.chain.values import Phase, Progress, Residuals, Trade
from gridpact.errors import ChainError, ContractError, InputError

LARGE: Residuals = (10**9, 10**9, 10**9, 10**9)
ZERO: Residuals = (0, 0, 0, 0)


@pytest.fixture(scope="module")
def nodes(record: Record, households: dict[int, ChainAccount]) -> dict[int, Aggregator]:
    return {node: Aggregator.of(record, account.web3, account) for node, account in households.items()}


@pytest.fixture(scope="module")
def converged(record: Record, manager: ChainAccount, nodes: dict[int, Aggregator]) -> int:
    """A round without a network: both nodes are roots, with two bids each."""
    number = Aggregator.of(record, manager.web3, manager).open_round(20240101)
    for node, aggregator in nodes.items():
        aggregator.declare(number, node, [], 0, 2, b"book of " + bytes([node]))
    for iteration, residuals in ((1, ZERO), (2, LARGE), (3, ZERO)):
        for node, aggregator in nodes.items():
            aggregator.submit(number, iteration, [], bytes([node, iteration, 0, 0]), residuals)
    return number


def test_constants_areReadOnce(record: Record, nodes: dict[int, Aggregator]) -> None:
    calls = meter_of(nodes[1].web3).rpc_calls
    assert asdict(nodes[1].theta()) == record.theta
    assert asdict(nodes[1].setting()) == record.setting
    assert meter_of(nodes[1].web3).rpc_calls == calls


def test_enrolment_isRead(
    record: Record, web3: Web3, nodes: dict[int, Aggregator], households: dict[int, ChainAccount]
) -> None:
    assert nodes[1].enrolled() == {1, 2}
    assert nodes[1].node_of(households[2].address) == 2
    assert nodes[1].account_of(2) == households[2].address
    assert nodes[1].account_of(5) is None
    with pytest.raises(ContractError, match="ask the community manager") as caught:
        nodes[1].node_of(record.token)
    assert caught.value.name == "NotEnrolled"


def test_round_converges(nodes: dict[int, Aggregator], converged: int) -> None:
    progress = nodes[1].progress()
    assert (progress.round, progress.phase, progress.iteration) == (converged, Phase.CONVERGED, 3)
    outcome = nodes[1].outcome(converged)
    assert (outcome.phase, outcome.iterations, outcome.present) == (Phase.CONVERGED, 3, {1, 2})
    assert nodes[1].scalars() == (0, 4)
    assert nodes[1].residuals() == ZERO


def test_declarations_haveTheirBooks(nodes: dict[int, Aggregator], converged: int) -> None:
    found = nodes[1].declarations(converged)
    assert {node: (said.parent, said.children, said.bids, said.book) for node, said in found.items()} == {
        1: (1, frozenset(), 2, b"book of \x01"),
        2: (2, frozenset(), 2, b"book of \x02"),
    }


def test_bids_areThoseOfTheIteration(nodes: dict[int, Aggregator], converged: int) -> None:
    for iteration in (1, 2, 3, 1):  # forwards from remembered blocks, and back
        before = meter_of(nodes[1].web3).requests["eth_getLogs"]
        assert {n: said.bids for n, said in nodes[1].submissions(converged, iteration).items()} == {
            1: bytes([1, iteration, 0, 0]),
            2: bytes([2, iteration, 0, 0]),
        }
        assert meter_of(nodes[1].web3).requests["eth_getLogs"] - before <= 2
    assert nodes[1].bids_hash(converged, 2) == Web3.keccak(bytes([2, 3, 0, 0]))


def test_closedIterations_haveResidualsOfTheOneBefore(nodes: dict[int, Aggregator], converged: int) -> None:
    closed = nodes[1].closed_iterations(converged)
    assert [one.iteration for one in closed] == [1, 2, 3]
    assert all(one.present == {1, 2} for one in closed)
    assert closed[1].residuals == tuple(2 * value for value in LARGE)


def test_coupling_isEmptyWithoutANetwork(nodes: dict[int, Aggregator], converged: int) -> None:
    coupling = nodes[1].coupling(1)
    assert (coupling.iteration, coupling.present, coupling.sums) == (3, {1, 2}, ())


def test_submit_failsAfterTheEnd(nodes: dict[int, Aggregator], converged: int) -> None:
    with pytest.raises(ContractError, match=r"WrongPhase.*Converged") as caught:
        nodes[1].submit(converged, 3, [], bytes(4), ZERO)
    assert caught.value.name == "WrongPhase"


def test_closeOverdue_isNotNeeded(nodes: dict[int, Aggregator], converged: int) -> None:
    assert nodes[1].close_overdue() is False


def test_declarations_failForAnUnknownRound(nodes: dict[int, Aggregator], converged: int) -> None:
    with pytest.raises(ChainError, match="Round 9 was never opened"):
        nodes[1].declarations(9)


def test_settlement_recordsWhatBothState(
    record: Record, manager: ChainAccount, households: dict[int, ChainAccount], converged: int
) -> None:
    mint_tokens(manager, record, [account.address for account in households.values()], 10_000_000)
    sides = {node: Settlement.of(record, account.web3, account) for node, account in households.items()}
    with pytest.raises(ContractError, match="get more tokens") as caught:
        sides[2].deposit(20_000_000)
    assert caught.value.name == "ERC20InsufficientBalance"  # an error of another contract
    for side in sides.values():
        side.deposit(5_000_000)
    trades = encode_trades([(3, 1500, 200_000), (4, 500, 100_000)])  # 1.5 kWh at 0.20, 0.5 kWh at 0.10
    sides[1].state(converged, {2: trades})
    assert sides[1].recorded(converged) == []
    sides[2].state(converged, {1: trades})
    (trade,) = sides[1].recorded(converged)
    assert (trade.lower, trade.higher, trade.payment) == (1, 2, 350_000)
    assert trade.trades == (Trade(3, 1500, 200_000), Trade(4, 500, 100_000))
    assert sides[1].net_payment(converged, 1) == 350_000 == -sides[1].net_payment(converged, 2)
    assert sides[1].is_recorded(converged, 2, 1)
    assert sides[1].payment(trades) == 350_000
    seller = households[1].address
    assert (sides[1].free(seller), sides[1].locked(seller)) == (5_350_000, 0)
    sides[1].withdraw(5_350_000)
    assert sides[1].token.balance(seller) == 10_350_000
    assert sides[1].total_deposits() == 4_650_000


def test_wait_seesANodeInAnotherThread(
    record: Record, manager: ChainAccount, nodes: dict[int, Aggregator], converged: int
) -> None:
    office = Aggregator.of(record, manager.web3, manager)
    waiting = threading.Thread(target=lambda: office.open_round(20240102))
    waiting.start()
    progress = nodes[1].wait_until(lambda now: now.round == converged + 1, timeout=20)
    waiting.join()
    assert progress.phase is Phase.DECLARING
    with pytest.raises(ChainError, match="0 of 2 nodes"):
        nodes[1].wait_until(lambda now: now.phase.is_final, timeout=0.2)


def test_wait_closesWhatIsOverdue(
    network: Network, nodes: dict[int, Aggregator], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: Progress = nodes[1].progress()
    assert started.phase is Phase.DECLARING
    nodes[1].web3.provider._tester.time_travel(started.deadline + 10)  # type: ignore[attr-defined]
    monkeypatch.setattr("gridpact.chain.aggregator.LOOK_SECONDS", 0.1)
    ended = nodes[1].wait_until(lambda now: now.phase.is_final, timeout=20, close_overdue=True)
    assert ended.phase is Phase.ABANDONED


@pytest.mark.parametrize("what", ["no code", "other contract", "other chain", "bad address", "other abi"])
def test_connect_failsOnTheWrongContract(record: Record, web3: Web3, what: str) -> None:
    abi = record.token_abi if what == "other abi" else record.aggregator_abi
    address = {"no code": "0x" + "12" * 20, "other contract": record.token, "bad address": "0x12"}
    with pytest.raises((InputError, ChainError), match=r"address|chain|ABI|contract"):
        Aggregator(web3, address.get(what, record.aggregator), abi, chain_id=5 if what == "other chain" else None)


def test_send_needsAnEnrolledAccount(network: Network, record: Record, nodes: dict[int, Aggregator]) -> None:
    outsider = ChainAccount(network.connect(), new_key())
    network.fund([outsider.address], 10**18)
    with pytest.raises(ContractError) as caught:
        Aggregator.of(record, outsider.web3, outsider).open_round(20240103)
    assert caught.value.name == "OwnableUnauthorizedAccount"
    with pytest.raises(ChainError, match="needs an account"):
        Aggregator.of(record, outsider.web3).open_round(20240103)
