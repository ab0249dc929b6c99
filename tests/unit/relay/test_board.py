"""The board: what it takes, when it is due, what it forgets. No chain, no network."""

from __future__ import annotations

import threading
import time
from dataclasses import replace

import pytest
from waiting import SECONDS

from gridpact.chain.values import Phase, Progress, SignedSubmission
from gridpact.relay import board as board_module
from gridpact.relay.board import Board, Member, SeenRound, Waiting
from gridpact.relay.server import MOST_CALLDATA, MOST_STORED_WORDS, batches, calldata

NODES = frozenset({0, 1, 2})
MEMBERS = {node: Member(f"account {node}", words=2, bids=1) for node in NODES}
LONG = 1000.0
HEAD = b"a head"


def standing(
    iteration: int, present: set[int] | None = None, phase: Phase = Phase.ITERATING, round: int = 1, head: bytes = HEAD
) -> SeenRound:
    return SeenRound(Progress(round, iteration, phase, 0, 0, 3, 0, frozenset(present or ())), head, NODES, MEMBERS)


def signed(node: int, content: int = 0, head: bytes = HEAD) -> SignedSubmission:
    return SignedSubmission(node, (content, 1), b"\0\0", (0, 0, 0, 0), head, bytes(32))


def signer_of(round: int, iteration: int, head: bytes, one: SignedSubmission) -> str:
    """A signature is good here if it names the head."""
    return f"account {one.node}" if one.r == head else "somebody else"


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> Board:
    """At iteration 5. It waits long for what is to come."""
    monkeypatch.setattr(board_module, "CATCH_UP_SECONDS", SECONDS)
    made = Board(signer_of)
    made.see(standing(5), False)
    return made


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch, board: Board) -> Board:
    """It waits for hardly anything: where what is waited for is not to come."""
    monkeypatch.setattr(board_module, "CATCH_UP_SECONDS", 0.05)
    return board


def test_put_isShown(board: Board) -> None:
    board.put(1, 5, signed(2))
    board.put(1, 5, signed(0))
    board.put(1, 5, signed(0))  # again: nothing new
    assert board.get(1, 5, 2, LONG) == [signed(0), signed(2)]
    assert board.get(1, 6, 1, 0) == []


@pytest.mark.parametrize(
    ("round", "iteration", "submission", "message"),
    [
        (1, 4, signed(1), "Iteration 4 of round 1 is not open: round 1 is at iteration 5, iterating"),
        (1, 6, signed(1), "is not open"),
        (2, 5, signed(1), "is not open"),
        (1, 5, signed(3), "Node 3 is not in round 1"),
        (1, 5, replace(signed(1), copies=(1,)), "has 2 words of copies and 2 bytes of bids, not 1 and 2"),
        (1, 5, replace(signed(1), bids=b""), "not 2 and 0"),
        (1, 5, signed(1, head=b"other"), "signature is not that of node 1"),
    ],
)
def test_put_refuses(hasty: Board, round: int, iteration: int, submission: SignedSubmission, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hasty.put(round, iteration, submission)


def test_put_refusesWhoIsOut(board: Board) -> None:
    board.see(replace(standing(5), active=NODES - {1}), False)
    with pytest.raises(ValueError, match="Node 1 is not in round 1 "):
        board.put(1, 5, signed(1))


@pytest.mark.parametrize("phase", [Phase.DECLARING, Phase.CONVERGED])
def test_put_refusesOutsideOfIterations(hasty: Board, phase: Phase) -> None:
    hasty.see(standing(5, phase=phase), False)
    with pytest.raises(ValueError, match="is not open"):
        hasty.put(1, 5, signed(1))


def test_put_keepsTheFirst(board: Board) -> None:
    """Unless the contract refused it."""
    board.put(1, 5, signed(1))
    with pytest.raises(ValueError, match="has signed another submission"):
        board.put(1, 5, signed(1, content=7))
    board.refuse((1, 5, HEAD), [1])
    board.put(1, 5, signed(1, content=7))
    assert board.get(1, 5, 1, 0) == [signed(1, content=7)]


def test_put_waitsForTheRelayToHearThatTheContractRefused(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author read the chain before the relay had its receipt."""
    place = (1, 5, HEAD)
    board.put(1, 5, signed(1))
    board.relaying(place, [signed(1)])
    timer = threading.Timer(0.05, board.refuse, (place, [1]))
    timer.start()
    board.put(1, 5, signed(1, content=7))
    timer.join()
    board.relaying(place, [signed(1, content=7)])
    monkeypatch.setattr(board_module, "CATCH_UP_SECONDS", 0.05)
    with pytest.raises(ValueError, match="has signed another submission"):
        board.put(1, 5, signed(1, content=8))
    assert board.get(1, 5, 1, 0) == [signed(1, content=7)]


def test_put_waitsForTheRelayToSeeTheIteration(board: Board) -> None:
    timer = threading.Timer(0.05, board.see, (standing(6), False))
    timer.start()
    board.put(1, 6, signed(1))
    timer.join()


def test_put_waitsForTheRelayToSeeTheHistory(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """The author saw the re-organisation first."""
    timer = threading.Timer(0.05, board.see, (standing(5, head=b"other"), True))
    timer.start()
    board.put(1, 5, signed(1, head=b"other"))
    timer.join()
    monkeypatch.setattr(board_module, "CATCH_UP_SECONDS", 0.05)
    with pytest.raises(ValueError, match="signature is not that of node 2"):
        board.put(1, 5, signed(2))


def test_put_makesTheRelayLook(hasty: Board) -> None:
    hasty.wait(0)
    with pytest.raises(ValueError, match="is not open"):
        hasty.put(1, 6, signed(1))
    started = time.monotonic()
    hasty.wait(LONG)
    assert time.monotonic() - started < LONG


def test_get_waits(board: Board) -> None:
    timer = threading.Timer(0.05, board.put, (1, 5, signed(1)))
    timer.start()
    assert board.get(1, 5, 1, LONG) == [signed(1)]
    timer.join()
    started = time.monotonic()
    assert board.get(1, 5, 2, 0.1) == [signed(1)]
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("later", [standing(6), standing(5, phase=Phase.CONVERGED), standing(1, round=2)])
def test_get_doesNotWaitForWhatIsOver(board: Board, later: SeenRound) -> None:
    timer = threading.Timer(0.05, board.see, (later, False))
    timer.start()
    assert board.get(1, 5, 3, LONG) == []
    timer.join()


def test_board_keepsTheLastIteration(board: Board) -> None:
    board.put(1, 5, signed(1))
    board.see(standing(6), False)
    board.put(1, 6, signed(1))
    assert board.get(1, 5, 1, 0) == [signed(1)]
    board.see(standing(7), False)
    assert board.get(1, 5, 1, 0) == []
    assert board.get(1, 6, 1, 0) == [signed(1)]
    board.see(standing(1, round=2), False)
    assert board.get(1, 6, 1, 0) == []


# ---------------------------------------------------------------------- what is due


def due(board: Board, patience: float = LONG) -> list[SignedSubmission]:
    waiting = board.waiting(patience)
    return waiting.submissions if waiting and waiting.due else []


def test_waiting_isDueOnceComplete(board: Board) -> None:
    board.see(standing(5, {0}), False)
    assert due(board) == []
    board.put(1, 5, signed(1))
    assert board.waiting(LONG) == Waiting((1, 5, HEAD), [signed(1)], complete=False, due=False)
    board.put(1, 5, signed(2))
    assert board.waiting(LONG) == Waiting((1, 5, HEAD), [signed(1), signed(2)], complete=True, due=True)


def test_waiting_isDueWhenPatienceEnds(board: Board) -> None:
    board.put(1, 5, signed(1))
    assert board.waiting(0.0) == Waiting((1, 5, HEAD), [signed(1)], complete=False, due=True)


@pytest.mark.parametrize("other", [standing(6), standing(5, head=b"other"), standing(4)])
def test_waiting_isNeverOfAnotherHistory(board: Board, other: SeenRound) -> None:
    board.put(1, 5, signed(1))
    board.see(other, True)
    waiting = board.waiting(0.0)
    assert waiting is not None
    assert not waiting.submissions
    board.see(standing(5), True)
    assert due(board, 0.0) == [signed(1)]


@pytest.mark.parametrize("phase", [Phase.DECLARING, Phase.EXHAUSTED])
def test_waiting_isNothingOutsideOfIterations(board: Board, phase: Phase) -> None:
    board.put(1, 5, signed(1))
    board.see(standing(5, phase=phase), False)
    assert board.waiting(0.0) is None


def test_waiting_countsWhoIsOut(board: Board) -> None:
    """Whoever is out is not waited for."""
    board.see(replace(standing(5, {0}), active=NODES - {2}), False)
    board.put(1, 5, signed(1))
    assert due(board) == [signed(1)]


def test_waiting_isNotWhatWasRelayed(board: Board, monkeypatch: pytest.MonkeyPatch) -> None:
    """A chain may show it late; if it never does, it is relayed again."""
    board.put(1, 5, signed(1))
    board.relaying((1, 5, HEAD), [signed(1)])
    assert due(board, 0.0) == []
    monkeypatch.setattr(board_module, "AGAIN_SECONDS", 0.0)
    assert due(board, 0.0) == [signed(1)]


def test_waiting_isWhatAReorganisationTookBack(board: Board) -> None:
    everybody = [signed(node) for node in sorted(NODES)]
    for one in everybody:
        board.put(1, 5, one)
    board.relaying((1, 5, HEAD), everybody)
    board.see(standing(6), False)
    assert due(board) == []
    board.see(standing(5), True)
    assert due(board) == everybody


def test_waiting_isNotWhatTheContractRefused(board: Board) -> None:
    board.put(1, 5, signed(1))
    board.refuse((1, 5, HEAD), [1])
    assert due(board, 0.0) == []


# ---------------------------------------------------------------------- batches


def with_words(count: int) -> SignedSubmission:
    return replace(signed(1), copies=(0,) * count)


def test_batch_isOneWhereItCompletes() -> None:
    many = [with_words(500)] * 6
    assert sum(map(calldata, many)) <= MOST_CALLDATA
    assert list(batches(many, complete=True)) == [many]


@pytest.mark.parametrize("complete", [True, False])
def test_batch_isSplit(complete: bool) -> None:
    many = [with_words(200)] * 17
    parts = list(batches(many, complete))
    assert [one for part in parts for one in part] == many
    assert len(parts) > 1
    for part in parts:
        assert sum(map(calldata, part)) <= MOST_CALLDATA
        assert sum(len(one.copies) for one in part) <= MOST_STORED_WORDS


def test_batch_isAloneWhereItIsTooLarge() -> None:
    assert [len(part) for part in batches([signed(1), with_words(4064), signed(1)], complete=False)] == [1, 1, 1]


@pytest.mark.parametrize("beyond", [0, 3, 6])
def test_sealedSubmission_mayHaveSumsBehindItsBids(board: Board, beyond: int) -> None:
    members = {node: replace(member, sums=6) for node, member in MEMBERS.items()}
    board.see(replace(standing(5), members=members), False)
    board.put(1, 5, replace(signed(1), bids=bytes(2 + beyond)))
    with pytest.raises(ValueError, match="bytes of bids"):
        board.put(1, 5, replace(signed(2), bids=bytes(9)))
