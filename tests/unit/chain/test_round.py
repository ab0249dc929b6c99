"""A round as nodes see it: declarations, submissions, the log, waiting. On every kind of chain."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import pytest
from eth_account import Account
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from waiting import SECONDS
from web3.exceptions import TransactionNotFound

from gridpact.chain.aggregator import Aggregator
from gridpact.chain.calldata import Calldata
from gridpact.chain.commitments import START, extended, head_with, submission_hash, words_hash
from gridpact.chain.keys import NOBODY
from gridpact.chain.networks import Network
from gridpact.chain.transport import meter_of
from gridpact.chain.values import (
    ClosedIteration,
    DeclarationState,
    Phase,
    Roster,
    nodes_to_bitmap,
    pack_residuals,
)
from gridpact.errors import ChainError, ContractError, InputError, Reorganised
from unit.chain.synthetic import AT_ONCE, FEEDER, LANE_BITS, LANES, Played, played

FORWARDER = "0x601a600a5f39601a5ff3602036038060205f375f5f825f5f5f355af16018575f5ffd5b00"
"""Calls the address in the first word of its calldata with the rest."""

STEPS = 15  # more than a word, and not all of the second


@pytest.fixture(scope="module")
def play(network: Network) -> Iterator[Played]:
    made = played(network, FEEDER, STEPS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def round_(play: Played) -> int:
    """Three closed iterations: submitted, relayed, both. Node 2 submits first in the fourth."""
    number = play.open()
    play.iterate(number, 1)
    play.nodes[1].relay(number, 2, play.batch(number, 2))
    play.submit(number, 3, 4)
    play.nodes[2].relay(number, 3, play.batch(number, 3))
    play.submit(number, 4, 2)
    return number


def anybody(play: Played) -> Aggregator:
    """A fresh connection that remembers nothing and sends nothing."""
    return Aggregator.of(play.record, play.network.connect())


# ---------------------------------------------------------------------- connecting


def test_constants_areReadOnce(play: Played) -> None:
    node = play.nodes[1]
    calls = meter_of(node.web3).rpc_calls
    assert asdict(node.theta()) == play.record.theta
    assert asdict(node.setting()) == play.record.setting
    assert meter_of(node.web3).rpc_calls == calls
    assert node.referee() == play.record.referee


def test_enrolment_isRead(play: Played) -> None:
    node, other = play.nodes[1], play.nodes[2].account
    assert other is not None
    assert node.enrolled() == set(FEEDER)
    assert node.node_of(other.address) == 2
    assert node.account_of(2) == other.address
    assert node.account_of(5) is None
    with pytest.raises(ContractError, match="ask the community manager") as caught:
        node.node_of(play.record.token)
    assert caught.value.name == "NotEnrolled"


@pytest.mark.parametrize("what", ["no code", "other contract", "other chain", "bad address", "other abi"])
def test_connect_failsOnTheWrongContract(play: Played, what: str) -> None:
    record = play.record
    abi = record.token_abi if what == "other abi" else record.aggregator_abi
    address = {"no code": "0x" + "12" * 20, "other contract": record.token, "bad address": "0x12"}
    web3, chain_id = play.network.connect(), 5 if what == "other chain" else None
    with pytest.raises((InputError, ChainError), match=r"address|chain|ABI|contract"):
        Aggregator(web3, address.get(what, record.aggregator), abi, chain_id=chain_id)


def test_send_needsAnEnrolledAccount(play: Played, round_: int) -> None:
    outsider = play.aggregator()
    with pytest.raises(ContractError) as caught:
        outsider.open_round(20240103)
    assert caught.value.name == "OwnableUnauthorizedAccount"
    with pytest.raises(ChainError, match="needs an account"):
        anybody(play).open_round(20240103)
    with pytest.raises(ChainError, match="signed by an account"):
        anybody(play).sign(1, 1, START, 1, (), b"", (0, 0, 0, 0))


# ---------------------------------------------------------------------- declarations


def test_declarations_haveTheirBooks(play: Played, round_: int) -> None:
    found = anybody(play).declarations(round_)
    assert {node: (said.parent, said.depth, said.children, said.book) for node, said in found.items()} == {
        node: (place.parent, place.depth, frozenset(place.children), play.community.book(node))
        for node, place in FEEDER.items()
    }


def test_started_tellsWhoIsInTheRound(play: Played, round_: int) -> None:
    roster = Roster(frozenset(FEEDER), frozenset(FEEDER), frozenset({1, 2, 3}), frozenset({1}))
    assert play.nodes[1].started(round_) == roster
    assert play.nodes[1].roster() == roster


def test_declaration_isAsTheContractKeepsIt(play: Played, round_: int) -> None:
    assert play.nodes[2].declaration(1) == DeclarationState(round_, 0, 1, 2, frozenset({2, 3}), 0, False)
    assert play.nodes[2].copies_length(1) == 2 * (3 + 2 + 2)
    assert play.nodes[2].commitment(round_, 1)[1] == keccak(play.community.book(1))


def test_accounts_areThoseOfTheRound(play: Played, round_: int) -> None:
    accounts = play.nodes[1].accounts_in(round_, [1, 2, 9])
    assert accounts == {node: play.nodes[node].account.address for node in (1, 2)}  # type: ignore[union-attr]
    assert play.nodes[1].account_in(round_ + 1, 1) is None
    assert play.nodes[1].node_in(round_, accounts[2]) == 2


def test_declarations_failForAnUnknownRound(play: Played, round_: int) -> None:
    with pytest.raises(ChainError, match="Round 9 was never opened"):
        play.nodes[1].declarations(9)


def test_day_isReadWithoutTheLog(play: Played, round_: int) -> None:
    """From the transaction that opened the round, in a block that its time names."""
    reader = anybody(play)
    opened = reader._events("RoundOpened")[-1]
    at = int(reader.web3.eth.get_block(opened["blockNumber"])["timestamp"])
    assert Calldata(reader).day_opened(at, reader.first_block) == reader.day_of(round_)


def test_limitsOfARound_areTold(network: Network) -> None:
    """In percent of theta's: 100 where nothing is said."""
    made = played(network, FEEDER, STEPS)
    try:
        for day, percent in ((20260701, 566), (20260702, 100)):
            number = made.manager.open_round(day, percent=percent)
            assert Aggregator.of(made.record, made.manager.web3).percent_of(number) == percent
            for node in made.tree:
                made.nodes[node].abstain(number)
    finally:
        made.close()


# ---------------------------------------------------------------------- the log


@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_iteration_isWhatWasSubmitted(play: Played, round_: int, iteration: int) -> None:
    said, log = play.community.at(iteration), anybody(play).iteration(round_, iteration)
    assert log.closed is not None
    assert log.closed.present == set(said.copies) == set(log.submissions)
    for node, submission in log.submissions.items():
        assert submission.bids == play.community.bids(node, iteration)
        assert submission.residuals == play.community.residuals(node, iteration - 1)
    total = zip(*(submission.residuals for submission in log.submissions.values()), strict=True)
    assert log.closed.residuals == tuple(map(sum, total))
    blocks = [("P", 1), ("Q", 1), ("P", 2), ("Q", 2), ("P", 3), ("Q", 3), ("V", 1)]  # VA: lines, then inner nodes
    expected: list[int] = []
    for kind, node in blocks:
        lanes = [0] * (-(-STEPS // LANES) * LANES)
        for copies in said.copies.values():
            for t, x in enumerate(copies.get((kind, node), ())):
                lanes[t] += x + (1 << (15 if kind == "V" else 19))
        for start in range(0, len(lanes), LANES):
            expected.append(sum(lane << LANE_BITS * k for k, lane in enumerate(lanes[start : start + LANES])))
    assert log.closed.sums == tuple(expected)


def test_iteration_isOneRequest(play: Played, round_: int) -> None:
    node = play.nodes[3]
    for iteration in (1, 2, 3, 4, 2):  # forwards from remembered blocks, and back
        before = meter_of(node.web3).rpc_calls
        assert node.iteration(round_, iteration).submissions
        assert meter_of(node.web3).rpc_calls - before == 1


def test_iteration_thatIsOpenIsNotClosed(play: Played, round_: int) -> None:
    log = anybody(play).iteration(round_, 4)
    assert log.closed is None
    assert set(log.submissions) == {2}
    assert anybody(play).iteration(round_, 5).submissions == {}


def test_history_hasAllClosedIterations(play: Played, round_: int) -> None:
    reader = anybody(play)
    history = reader.history(round_)
    assert history == [reader.iteration(round_, iteration) for iteration in (1, 2, 3)]
    assert reader.history(round_, 3) == history[2:]
    assert reader.history(round_, 4) == []


def test_logThatLags_isAskedAgain(play: Played, round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain may answer of the state after a block before it finds the block's log."""
    reader, whole = anybody(play), anybody(play)
    reader.progress()
    ask, closing, late = reader._logs._ask, reader.interface.topics(["IterationClosed"])[0], [2]

    def lags(wanted: Any, low: int, high: int | None) -> Any:
        answer = ask(wanted, low, high)
        if not late[0]:
            return answer
        late[0] -= 1
        last = max((n for n, log in enumerate(answer) if log["topics"][0] == closing), default=0)
        return answer[:last]

    monkeypatch.setattr(reader._logs, "_ask", lags)
    assert reader.history(round_) == whole.history(round_)
    late[0] = 2
    assert reader.iteration(round_, 3) == whole.iteration(round_, 3)
    late[0] = 2
    assert reader.started(round_) == whole.started(round_)
    late[0] = 1000
    assert len(reader.history(round_)) == 2  # as it is, so that whoever reads sees that it does not fit


def test_sumsThatLag_areAskedAgain(play: Played, round_: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain may answer of the block before the one that it has told of."""
    reader, now = anybody(play), anybody(play).running(2)
    read, late = reader._read_of_product, [2]
    assert (now.iteration, now.present) == (4, reader.progress().present) == (4, {2})

    def lags(name: str, *arguments: object) -> Any:
        answer = read(name, *arguments)
        if name != "running" or not late[0]:
            return answer
        late[0] -= 1
        return (4, 0, [0] * len(answer[2])) if late[0] else (3, answer[1], answer[2])

    monkeypatch.setattr(reader, "_read_of_product", lags)
    assert reader.running(2) == now
    late[0] = 1000
    assert reader.running(2).present == frozenset()  # as it is: whoever reads sees that it does not fit


def test_commitmentsAndHeads_canBeRecomputed(play: Played, round_: int) -> None:
    reader = anybody(play)
    head, commitments = START, dict.fromkeys(FEEDER, START)
    for log in [*reader.history(round_), reader.iteration(round_, 4)]:
        if log.closed is not None:
            head = head_with(head, round_, log.closed)
            assert log.closed.head == head
        for node, said in log.submissions.items():
            iteration = log.closed.iteration if log.closed else 4
            copies, residuals = words_hash(play.community.words(node, iteration)), pack_residuals(said.residuals)
            hashed = submission_hash(round_, iteration, node, copies, keccak(said.bids), residuals)
            commitments[node] = extended(commitments[node], hashed)
            assert said.commitment == commitments[node]
    assert reader.head() == (3, head)
    assert {node: reader.commitment(round_, node)[0] for node in FEEDER} == commitments


@pytest.mark.parametrize("iteration", [1, 2, 3])
def test_copies_areReadFromCalldata(play: Played, round_: int, iteration: int) -> None:
    reader = anybody(play)
    for node, said in reader.iteration(round_, iteration).submissions.items():
        assert reader.copies_of(said) == play.community.words(node, iteration)


def test_copies_failForAnotherTransaction(play: Played, round_: int) -> None:
    reader = anybody(play)
    said = reader.iteration(round_, 2).submissions[1]
    with pytest.raises(ChainError, match="not the submission of node 0"):
        reader.copies_of(replace(said, node=0))
    with pytest.raises(ChainError):
        reader.copies_of(replace(said, transaction=bytes(32)))
    mint = play.manager.web3.eth.contract(play.record.token, abi=play.record.token_abi).functions.mint  # type: ignore
    assert play.manager.account is not None
    receipt = play.manager.account.send(mint(play.manager.account.address, 1))
    with pytest.raises(ChainError, match="not the submission"):
        reader.copies_of(replace(said, transaction=bytes(receipt["transactionHash"])))


def test_copies_areReadThroughAnotherContract(play: Played, round_: int) -> None:
    """Nobody can hide what it submitted, and no chain has to trace calls."""
    account, reader = play.nodes[4].account, anybody(play)
    assert account is not None
    deployment = account._post("a deployment", {"data": FORWARDER, "value": 0, "gas": 200_000})  # type: ignore
    forwarder = account.settle(deployment)["contractAddress"]
    good = play.sign(round_, 4, 0)
    false = replace(good, copies=(good.copies[0] ^ 1, *good.copies[1:]))
    parts = [(one.node, one.copies, one.bids, pack_residuals(one.residuals), one.r, one.vs) for one in (false, good)]
    call = reader.call("relay", round_, 4, parts).data
    data = "0x" + bytes(12).hex() + reader.address[2:] + call[2:]
    account.settle(account._post("a call", {"to": forwarder, "data": data, "value": 0, "gas": 2_000_000}))  # type: ignore
    said = reader.iteration(round_, 4).submissions[0]
    assert reader.copies_of(said) == good.copies
    with pytest.raises(ChainError, match="not the submission of node 0"):
        reader.copies_of(replace(said, iteration=3))


def test_running_isWhatHasArrived(play: Played, round_: int) -> None:
    coupling = play.nodes[1].running(2)
    assert (coupling.iteration, coupling.present) == (4, {0, 2})
    assert coupling.sums == play.community.words(2, 4)[:4] + play.community.words(2, 4)[4:]


# ---------------------------------------------------------------------- submitting


def test_submit_again_isNoError(play: Played, round_: int) -> None:
    counted = anybody(play).iteration(round_, 4).submissions[2]
    receipt = play.nodes[2].submit(round_, 4, play.head(4), *play.submission(2, 4))
    assert receipt["transactionHash"] == counted.transaction
    closed = anybody(play).iteration(round_, 2).submissions[2]  # relayed by another
    assert play.nodes[2].submit(round_, 2, START, *play.submission(2, 2))["transactionHash"] == closed.transaction


def test_submit_again_whereTheReceiptIsNotThere_isReadAgain(
    play: Played, round_: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An endpoint of several nodes tells the log by one and the receipt by another that is behind."""
    node, counted = play.nodes[2], anybody(play).iteration(round_, 4).submissions[2].transaction
    ask = node.web3.eth.get_transaction_receipt

    def behind(transaction_hash: Any) -> Any:
        if HexBytes(transaction_hash) == HexBytes(counted):
            raise TransactionNotFound("not here")
        return ask(transaction_hash)

    monkeypatch.setattr(node.web3.eth, "get_transaction_receipt", behind)
    with pytest.raises(Reorganised, match="whose receipt is not there"):
        node.submit(round_, 4, play.head(4), *play.submission(2, 4))


@pytest.mark.parametrize("what", ["copies", "bids", "residuals"])
def test_submit_somethingElse_isAnError(play: Played, round_: int, what: str) -> None:
    copies, bids, residuals = play.submission(1, 3)
    if what == "copies":
        copies = (copies[0] + 1, *copies[1:])
    elif what == "bids":
        bids = bytes(len(bids))
    else:
        residuals = (1, 2, 3, 4)
    with pytest.raises(ContractError, match="WrongIteration"):
        play.nodes[1].submit(round_, 3, START, copies, bids, residuals)


def test_submit_failsInAnotherHistory(play: Played, round_: int) -> None:
    with pytest.raises(ContractError, match="the chain was taken back") as caught:
        play.nodes[1].submit(round_, 4, START, *play.submission(1, 4))
    assert caught.value.name == "WrongHistory"
    assert play.nodes[1].progress().history == int.from_bytes(play.head()[-2:], "big")


def test_digest_isTheContracts(play: Played, round_: int) -> None:
    """And what a wallet makes of the same EIP-712 data."""
    node, head = play.nodes[1], play.head()
    copies, bids, residuals = play.submission(1, 4)
    domain = {"name": "gridpact", "version": "1", "chainId": play.network.chain_id, "verifyingContract": node.address}
    names = {"round": "uint32", "iteration": "uint16", "node": "uint8"}
    names |= {"copies": "uint256[]", "bids": "bytes", "residuals": "uint256"}
    types = {
        "Relayed": [{"name": "submission", "type": "Submission"}, {"name": "head", "type": "bytes32"}],
        "Submission": [{"name": name, "type": kind} for name, kind in names.items()],
    }
    values = (round_, 4, 1, list(copies), bids, pack_residuals(residuals))
    message = {"submission": dict(zip(names, values, strict=True)), "head": head}
    assert node.account is not None
    wallet = Account.sign_typed_data(node.account._signer.key, domain, types, message)
    said = node._read("digest", *values)
    assert bytes(wallet.message_hash) == said
    signed = node.sign(round_, 4, head, 1, copies, bids, residuals)
    assert int.from_bytes(signed.r, "big") == wallet.r
    assert int.from_bytes(signed.vs, "big") == wallet.s | (wallet.v - 27) << 255


def test_signer_isWhoSigned(play: Played, round_: int) -> None:
    node, reader, head = play.nodes[1], anybody(play), play.head()
    signed = play.sign(round_, 4, 1)
    assert node.account is not None
    calls = meter_of(reader.web3).rpc_calls
    assert reader.signer_of(round_, 4, head, signed) == node.account.address
    for other in (replace(signed, node=2), replace(signed, bids=bytes(4)), replace(signed, copies=signed.copies[1:])):
        assert reader.signer_of(round_, 4, head, other) != node.account.address
    for place in ((round_, 5, head), (round_ + 1, 4, head), (round_, 4, START)):
        assert reader.signer_of(*place, signed) != node.account.address
    assert meter_of(reader.web3).rpc_calls == calls


def test_signer_isNobodyForWhatIsNoSignature(play: Played, round_: int) -> None:
    """As the contract sees it. Nearly all s of the upper half, which a second signature has, do not fit the form."""
    order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
    upper_half = (order // 2 + 1).to_bytes(32, "big")
    signed, reader = play.sign(round_, 4, 1), anybody(play)
    for r, vs in (
        (bytes(32), signed.vs),
        (signed.r, bytes(32)),
        (b"\xff" * 32, signed.vs),
        (signed.r, b"\xff" * 32),
        (signed.r, upper_half),
    ):
        assert reader.signer_of(round_, 4, play.head(4), replace(signed, r=r, vs=vs)) == NOBODY


def test_relay_skipsWhatIsWrong(play: Played, round_: int) -> None:
    good = play.sign(round_, 4, 1)
    forged = replace(play.sign(round_, 4, 3), residuals=(1, 2, 3, 4))
    short = play.nodes[4].sign(round_, 4, play.head(4), 4, (), b"", (0, 0, 0, 0))
    receipt = play.nodes[4].relay(round_, 4, [play.sign(round_, 4, 2), forged, short, good])
    assert play.nodes[4].skipped(receipt) == {
        2: "AlreadySubmitted(node 2, iteration 4)",
        3: "WrongSignature(node 3)",
        4: "LengthMismatch(expected 2, actual 0)",
    }
    assert play.nodes[4].progress().present == {0, 1, 2}


def test_copies_areThoseThatCounted(play: Played, round_: int) -> None:
    """A relayer puts other copies with the same bids and residuals before and after those that the node signed."""
    good, reader = play.sign(round_, 4, 3), anybody(play)
    copies = (good.copies[0] ^ 1, *good.copies[1:])
    play.nodes[4].relay(round_, 4, [replace(good, copies=copies), good, replace(good, copies=copies)])
    assert reader.copies_of(reader.iteration(round_, 4).submissions[3]) == good.copies


def test_progress_tellsWhoIsExpected(play: Played, round_: int) -> None:
    progress = play.nodes[1].progress()
    assert (progress.counter, progress.expected, progress.present) == (4, 5, {0, 1, 2, 3})
    assert (progress.round, progress.iteration, progress.phase) == (round_, 4, Phase.ITERATING)


# ---------------------------------------------------------------------- the end, silence, waiting


@pytest.fixture(scope="module")
def converging(network: Network) -> Iterator[Played]:
    made = played(network, FEEDER, STEPS, eps=AT_ONCE)
    yield made
    made.close()


@pytest.fixture(scope="module")
def converged(converging: Played) -> int:
    number = converging.open()
    converging.iterate(number, 1)
    converging.nodes[1].relay(number, 2, converging.batch(number, 2))
    return number


def test_outcome_hasTheHead(converging: Played, converged: int) -> None:
    node = converging.nodes[1]
    outcome, closed = node.outcome(converged), node.history(converged)[-1].closed
    assert closed is not None
    assert (outcome.phase, outcome.iterations, outcome.present) == (Phase.CONVERGED, 2, set(FEEDER))
    assert outcome.head == closed.head
    assert node.scalars() == (15 * STEPS, 6)


def test_submit_again_isNoErrorAfterTheEnd(converging: Played, converged: int) -> None:
    converging.submit(converged, 2, 3)
    with pytest.raises(ContractError, match=r"WrongPhase.*Converged") as caught:
        converging.submit(converged, 3, 3)
    assert caught.value.name == "WrongPhase"


def test_closeOverdue_isNotNeeded(converging: Played, converged: int) -> None:
    assert converging.nodes[1].close_overdue() is False


def test_wait_seesANodeInAnotherThread(converging: Played, converged: int) -> None:
    waiting = threading.Thread(target=lambda: converging.manager.open_round(20240102))
    waiting.start()
    progress = converging.nodes[1].wait_until(lambda now: now.round == converged + 1, timeout=SECONDS)
    waiting.join()
    assert progress.phase is Phase.DECLARING
    with pytest.raises(ChainError, match="0 of 5 nodes"):
        converging.nodes[1].wait_until(lambda now: now.phase.is_final, timeout=0.2)


def test_abstain_isReadByAll(converging: Played, converged: int) -> None:
    now = converging.manager.progress()
    number = now.round if now.phase is Phase.DECLARING else converging.manager.open_round(20240102)
    converging.nodes[4].abstain(number)
    reader = anybody(converging)
    assert reader.progress().present == {4}
    with pytest.raises(ContractError, match="AlreadyDeclared"):
        converging.declare(number, 4)
    for node in (0, 1, 2, 3):
        converging.declare(number, node)
    assert reader.day_of(number) == 20240102
    assert reader.abstained(number) == {4}
    assert set(reader.declarations(number)) == {0, 1, 2, 3}
    started = reader.started(number)
    assert started is not None
    assert started.nodes == {0, 1, 2, 3}
    assert reader.account_in(number, 4) == converging.nodes[4].account.address  # type: ignore[union-attr]
    with pytest.raises(ChainError, match="was never opened"):
        reader.day_of(number + 1)


def test_wait_closesWhatIsOverdue(network: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """The round starts without node 4, which did not declare, and goes on without node 2 after two misses."""
    monkeypatch.setattr("gridpact.chain.aggregator_watch.LOOK_SECONDS", 0.1)
    play = played(network, FEEDER, STEPS, max_misses=2)
    number, reader = play.manager.open_round(20240103), play.nodes[3]
    for node in (0, 1, 2, 3):
        play.declare(number, node)
    assert reader.started(number) is None
    play.pass_time(601)
    assert reader.wait_until(lambda now: now.iteration == 1, timeout=SECONDS, close_overdue=True).expected == 4
    assert reader.roster().nodes == {0, 1, 2, 3}
    for iteration in (1, 2):
        for node in (0, 1, 3):
            play.submit(number, iteration, node)
        play.pass_time(601)
        reader.wait_until(lambda now, k=iteration: now.iteration > k, timeout=SECONDS, close_overdue=True)  # type: ignore[misc]
    assert [log.excluded for log in reader.history(number)] == [frozenset(), frozenset({2})]
    assert reader.history(number)[1].closed.present == {0, 1, 3}  # type: ignore[union-attr]
    assert (reader.declaration(2).misses, reader.declaration(2).out) == (2, True)
    assert reader.roster().active == {0, 1, 3}
    with pytest.raises(ContractError, match="wait for the next round"):
        play.submit(number, 3, 2)
    play.close()


def test_heads_packResidualsOfAllNodes() -> None:
    """The sum of 128 nodes does not fit into what one node may say."""
    closed = ClosedIteration(1, frozenset({0}), (2**62, 0, 0, 1), (), b"")
    assert len(head_with(START, 1, closed)) == 32
    assert nodes_to_bitmap(closed.present) == 1
