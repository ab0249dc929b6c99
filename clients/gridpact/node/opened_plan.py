"""What the grid operator's node answered last in a sealed round, as it opens that to somebody: the metering operator,
who reads the net power at each meter anyway.

It signs the keys of that one iteration. Who has them reads the answer and checks it as everybody does an open one; and
where it is outside the limits, the signature proves that to the contract's referee. The same keys open what the
households said in that iteration, so other keys are seen: what they open is random, of both.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridpact.chain.commitments import START
from gridpact.chain.evidence import opened_plan_digest, opened_plan_evidence
from gridpact.chain.ledger import RoundLedger, RoundLog
from gridpact.chain.sealing import Signature, is_signed
from gridpact.chain.values import IterationLog, Phase, Submission
from gridpact.community.model import GRID_CONNECTION
from gridpact.errors import InputError
from gridpact.files import parse_json, write_atomically
from gridpact.market.admm.assembly import Assembly, Integers
from gridpact.market.admm.codec import key_in
from gridpact.market.admm.pads import IterationPads, Pads
from gridpact.node.form import SealedForm
from gridpact.node.round_log import assembly_of, reach_of

NEAR_AGE = 8
"""What a household said in the last iteration is within the reach of this age of what it was answered: 16 kW, in
units of 0.5 W."""


def newest_answer(history: Sequence[IterationLog]) -> tuple[Submission, bytes] | None:
    """The newest submission of the grid operator's node, and its commitment before it; None where there is none."""
    answers = [entry.submissions[GRID_CONNECTION] for entry in history if GRID_CONNECTION in entry.submissions]
    return (answers[-1], answers[-2].commitment if len(answers) > 1 else START) if answers else None


@dataclass(frozen=True)
class OpenedPlan:
    """It opens the operator's last answer in a round, and nothing else."""

    aggregator: str  # address
    round: int
    iteration: int
    keys: tuple[bytes, ...]  # with each child, ascending
    signature: Signature

    @staticmethod
    def of(ledger: RoundLedger, round_: int) -> OpenedPlan:
        """By the operator's node itself.

        Raises:
            InputError: the round is open, or did not end in agreement, or has no network.
        """
        if not ledger.sealed:
            raise InputError(f"round {round_} is open: everybody reads the operator's plan, and needs nothing shown")
        if ledger.outcome(round_).phase is not Phase.CONVERGED:
            raise InputError(f"round {round_} has not ended in agreement: there is no plan to open")
        return OpenedPlan.signed(ledger, round_)

    @staticmethod
    def signed(ledger: RoundLedger, round_: int) -> OpenedPlan:
        """The same of an answer as it is now, whether it is the last one or not."""
        assembly, books, (newest, _) = _played(ledger, round_)
        key = ledger.round_key(round_)
        secrets = [key.common_secret(key_in(books.get(child, b""))) for child in assembly.children[GRID_CONNECTION]]
        keys = tuple(Pads(secret).key(newest.iteration) for secret in secrets)
        digest = opened_plan_digest(ledger.address, round_, newest.iteration, keys)
        return OpenedPlan(ledger.address, round_, newest.iteration, keys, key.sign(digest))

    # ------------------------------------------------------------------ as a file

    def write(self, path: Path) -> None:
        """For the eyes of whom it is given to."""
        values = {
            "aggregator": self.aggregator,
            "round": self.round,
            "iteration": self.iteration,
            "keys": [key.hex() for key in self.keys],
            "signature": [part.hex() for part in self.signature],
        }
        write_atomically(path, json.dumps(values, indent=1) + "\n", 0o600)

    @staticmethod
    def read(path: Path) -> OpenedPlan:
        """Raises InputError where it is no such file."""
        try:
            values = parse_json(path.read_text(encoding="utf-8"))
            keys = tuple(map(_word, values["keys"]))
            r, vs = map(_word, values["signature"])
            iteration, round_ = int(values["iteration"]), int(values["round"])
            return OpenedPlan(str(values["aggregator"]), round_, iteration, keys, (r, vs))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"the opened plan '{path}' cannot be read ({error}): check the path") from error
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise InputError(
                f"'{path}' is not what `gridpact household show` writes at the operator's node: ask for it again"
            ) from error

    # ------------------------------------------------------------------ reading it

    def answers(self, aggregator: RoundLog) -> Integers:
        """The operator's last answer in the round, (blocks, T).

        Raises:
            InputError: it is of other contracts or another iteration, or the operator's node has not signed it.
        """
        assembly, _, (newest, _) = self._checked(aggregator)
        return self._opened(assembly).copies(self.iteration, GRID_CONNECTION, aggregator.copies_of(newest))

    def unlike(self, aggregator: RoundLog) -> tuple[int, ...]:
        """Households whose own last copies, opened by the same keys, are nowhere near the answer: then the key with
        them is another, or they said in the last iteration what is out of reach. With a false key one of 2^4 powers is
        near.

        Raises:
            InputError: see `answers`.
        """
        answers, (assembly, _, _) = self.answers(aggregator), self._checked(aggregator)
        by_block = dict(zip(assembly.blocks(GRID_CONNECTION), answers, strict=True))
        near, form = reach_of(aggregator).of_copies(NEAR_AGE), self._opened(assembly)
        said = aggregator.iteration(self.round, self.iteration).submissions
        unlike = []
        for node in assembly.children[GRID_CONNECTION]:
            if node in said:
                own = form.copies(self.iteration, node, aggregator.copies_of(said[node]))
                theirs = np.array([by_block[block] for block in assembly.blocks(node)])
                if np.abs(own - theirs).max() > near:
                    unlike.append(node)
        return tuple(unlike)

    def _opened(self, assembly: Assembly) -> SealedForm:
        pads = dict(zip(assembly.children[GRID_CONNECTION], map(IterationPads, self.keys), strict=True))
        return SealedForm(assembly, GRID_CONNECTION, pads)

    def evidence(self, aggregator: RoundLog, step: int) -> bytes:
        """That the answer is outside the published limits at a step. Whoever sees it can read the answer.

        Raises:
            InputError: see `answers`.
        """
        _, books, (newest, before) = self._checked(aggregator)
        book, copies = books[GRID_CONNECTION], aggregator.copies_of(newest)
        return opened_plan_evidence(step, newest, before, copies, book, self.keys, self.signature)

    def _checked(self, aggregator: RoundLog) -> tuple[Assembly, Mapping[int, bytes], tuple[Submission, bytes]]:
        if self.aggregator.lower() != aggregator.address.lower():
            raise InputError(f"the opened plan is of the contracts at {self.aggregator}: ask for that of these")
        assembly, books, answer = _played(aggregator, self.round)
        last, homes = answer[0].iteration, len(assembly.children[GRID_CONNECTION])
        if (last, homes) != (self.iteration, len(self.keys)):
            raise InputError(
                f"the opened plan is of iteration {self.iteration} with {len(self.keys)} households, the operator's"
                f" last answer in round {self.round} of {last} with {homes}: ask for it again"
            )
        digest = opened_plan_digest(self.aggregator, self.round, self.iteration, self.keys)
        if not is_signed(key_in(books[GRID_CONNECTION]), digest, self.signature):
            raise InputError(
                f"the opened plan of round {self.round} is not signed by the operator's node: ask for it again"
            )
        return assembly, books, answer


def _played(aggregator: RoundLog, round_: int) -> tuple[Assembly, Mapping[int, bytes], tuple[Submission, bytes]]:
    """Who was in a round, what they declared, and the operator's last answer with its commitment before."""
    declared, history = assembly_of(aggregator, round_), aggregator.history(round_)
    answer = newest_answer([*history, aggregator.iteration(round_, len(history) + 1)])
    if declared is None or answer is None or not declared[0].children.get(GRID_CONNECTION):
        raise InputError(f"the operator's node answered nothing in round {round_}: there is no plan to open")
    return *declared, answer


def _word(text: str) -> bytes:
    word = bytes.fromhex(text)
    if len(word) != 32:
        raise ValueError(f"{len(word)} bytes")
    return word
