"""What stands between a node and the chain: what it asks, and what it sends, in plain values.

`Aggregator`, `Settlement` and `ChainAccount` are these without being told so. Nothing of web3 is in here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from gridpact.chain.values import (
    Coupling,
    Declaration,
    IterationLog,
    Progress,
    Residuals,
    Roster,
    RoundOutcome,
    Setting,
    SignedSubmission,
    Submission,
    Theta,
)
from gridpact.errors import ChainError

if TYPE_CHECKING:
    from gridpact.chain.settlement import Opening


class Account(Protocol):
    """Who sends, and what that has cost."""

    @property
    def address(self) -> str: ...
    @property
    def gas_used(self) -> int: ...
    @property
    def transactions(self) -> int: ...


class RoundKey(Protocol):
    """A node's key for one round: see `chain.sealing.SealingKey`."""

    @property
    def public(self) -> bytes: ...
    def common_secret(self, public: bytes | None) -> bytes: ...
    def proof(self, public: bytes | None) -> tuple[int, int, int, int]: ...
    def sign(self, digest: bytes) -> tuple[bytes, bytes]: ...


class RoundLog(Protocol):
    """Rounds as they can be read by anybody: see `Aggregator`."""

    @property
    def address(self) -> str: ...
    @property
    def sealed(self) -> bool: ...
    def theta(self) -> Theta: ...
    def setting(self) -> Setting: ...
    def started(self, round: int) -> Roster | None: ...
    def declarations(self, round: int) -> dict[int, Declaration]: ...
    def percent_of(self, round: int) -> int: ...
    def iteration(self, round: int, iteration: int) -> IterationLog: ...
    def history(self, round: int, first: int = 1) -> list[IterationLog]: ...
    def copies_of(self, submission: Submission) -> tuple[int, ...]: ...
    def outcome(self, round: int) -> RoundOutcome: ...


class WaitingLedger(Protocol):
    """Who waits for a round to go on."""

    def elapsed(self) -> float:
        """Seconds on the clock by which `wait_for` waits."""

    def wait_for(
        self,
        reached: Callable[[Progress], bool],
        seconds: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        """Waits until `reached` holds for the progress, or until it is `seconds` later; returns the progress then.

        Rounds, iterations and phases are noticed at once; a mere change of the counter too with
        `each_submission`, else within two seconds. With `close_overdue` the account closes a phase whose
        deadline has passed, if no other node does it first.
        """

    def wait_until(
        self,
        reached: Callable[[Progress], bool],
        timeout: float,
        close_overdue: bool = False,
        each_submission: bool = False,
        look_first: bool = True,
    ) -> Progress:
        """The same, but where it is not reached in time, it is an error.

        Raises:
            ChainError: `timeout` seconds have passed.
        """
        progress = self.wait_for(reached, timeout, close_overdue, each_submission, look_first)
        if not reached(progress):
            raise ChainError(
                f"Round {progress.round} did not get on within {timeout:.0f} s (phase"
                f" {progress.phase.name.lower()},"
                f" iteration {progress.iteration}, {progress.counter} of {progress.expected} nodes): check"
                " that all nodes run."
            )
        return progress


class RoundLedger(RoundLog, WaitingLedger, Protocol):
    """Rounds as a node takes part in them, with an account: see `Aggregator`."""

    @property
    def account(self) -> Account | None: ...
    @property
    def address(self) -> str: ...

    def node_of(self, address: str) -> int: ...
    def round_key(self, round: int) -> RoundKey: ...
    def roster(self) -> Roster: ...
    def accounts_in(self, round: int, nodes: Iterable[int]) -> dict[int, str]: ...
    def running(self, node: int) -> Coupling: ...
    def ask_another(self) -> None: ...

    def declare(
        self, round: int, parent: int, children: Iterable[int], depth: int, bids: int, book: bytes
    ) -> object: ...

    def submit(
        self, round: int, iteration: int, head: bytes, copies: Sequence[int], bids: bytes, residuals: Residuals
    ) -> object: ...

    def sign(
        self,
        round: int,
        iteration: int,
        head: bytes,
        node: int,
        copies: Sequence[int],
        bids: bytes,
        residuals: Residuals,
    ) -> SignedSubmission: ...

    def signer_of(self, round: int, iteration: int, head: bytes, signed: SignedSubmission) -> str: ...
    def accuse(self, round: int, node: int, evidence: bytes) -> object: ...
    def ask(self, round: int, node: int, about: int) -> object: ...
    def answer(self, round: int, about: int, parts: bytes) -> object: ...
    def accuse_of_silence(self, round: int, node: int, about: int) -> object: ...


class SettlingLedger(Protocol):
    """What settling asks of a round, with an account."""

    @property
    def account(self) -> Account | None: ...
    def copies_of(self, submission: Submission) -> tuple[int, ...]: ...


class Purse(Protocol):
    """The token that pays, outside of deposits: see `Token`."""

    def balance(self, address: str) -> int: ...
    def symbol(self) -> str: ...
    def decimals(self) -> int: ...


class TradeLedger(Protocol):
    """Deposits and statements of trades, as a node needs them: see `Settlement`."""

    @property
    def token(self) -> Purse: ...

    def free(self, address: str) -> int: ...
    def arrears(self, address: str) -> int: ...
    def deposit(self, amount: int) -> object: ...
    def payment(self, trades: bytes) -> int: ...
    def is_recorded(self, round: int, one: int, other: int) -> bool: ...

    def state(
        self, round: int, node: int, statements: Mapping[int, bytes], openings: Mapping[int, Opening]
    ) -> object: ...
