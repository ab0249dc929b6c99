"""Evidence for the referee, put together from the reference model, and what the referee says of it."""

from __future__ import annotations

import copy
import random
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace
from typing import Any

from brownie import web3
from eth_abi import encode
from eth_utils import keccak
from helpers import Community, pack_residuals
from link import GAS, Link, Receipt, _revert_data, rpc
from reference.aggregator_model import Part, Round, hash_words, pack
from reference.referee_model import BIAS, Iteration, Residuals, read_book

RESIDUALS, PLAN, SEALED, ANSWER, LATE = range(5)  # charges
GUILTY = "guilty"

LINK = "(uint16,bytes32,bytes32,uint256)"
HISTORY = f"(bytes32,{LINK}[])"
CLOSED = "(uint16,uint128,uint256,bytes32)"
PARTNER = f"(bytes,{HISTORY},bytes,bytes)"
RESIDUAL_EVIDENCE = f"(uint16,bytes32,{CLOSED}[],uint256[],uint256[],{HISTORY},uint256[],bytes,bytes,bytes,{PARTNER}[])"
SEALED_EVIDENCE = f"({RESIDUAL_EVIDENCE},uint256[],uint8,(uint256,uint256,uint256,uint256),bytes)"
PLAN_EVIDENCE = f"(uint256,bytes32,{LINK},uint256[],bytes)"
OPENED_PLAN = f"({PLAN_EVIDENCE},bytes32[],bytes32,bytes32)"


def not_proved(why: str) -> str:
    return f"NotProved: {why}"


# ---------------------------------------------------------------------- evidence


@dataclass(frozen=True)
class History:
    before: bytes
    links: tuple[tuple[Any, ...], ...]


@dataclass(frozen=True)
class Partner:
    book: bytes = b""
    history: History = History(bytes(32), ())
    bids: bytes = b""
    bids_before: bytes = b""


@dataclass(frozen=True)
class ResidualEvidence:
    iteration: int
    head_before: bytes
    closed: tuple[tuple[Any, ...], ...]
    sums: tuple[int, ...]
    sums_before: tuple[int, ...]
    accused: History
    copies: tuple[int, ...]
    bids: bytes
    bids_before: bytes
    book: bytes
    partners: tuple[Partner, ...]

    def encoded(self) -> bytes:
        return encode(["uint8", "bytes"], [RESIDUALS, encode([RESIDUAL_EVIDENCE], [astuple(self)])])


@dataclass(frozen=True)
class SealedEvidence:
    residuals: ResidualEvidence
    copies_before: tuple[int, ...] = ()
    other: int = 0
    proof: tuple[int, int, int, int] = (0, 0, 0, 0)
    answer: bytes = b""
    charge: int = SEALED

    def encoded(self) -> bytes:
        content = astuple(self)[:-1]
        return encode(["uint8", "bytes"], [self.charge, encode([SEALED_EVIDENCE], [content])])


@dataclass(frozen=True)
class PlanEvidence:
    step: int
    before: bytes
    newest: tuple[Any, ...]
    copies: tuple[int, ...]
    book: bytes

    def encoded(self) -> bytes:
        return encode(["uint8", "bytes"], [PLAN, encode([PLAN_EVIDENCE], [astuple(self)])])


@dataclass(frozen=True)
class OpenedPlan:
    plan: PlanEvidence
    keys: tuple[bytes, ...]
    r: bytes
    vs: bytes

    def encoded(self) -> bytes:
        return encode(["uint8", "bytes"], [PLAN, encode([OPENED_PLAN], [astuple(self)])])


def link_of(iteration: int, part: Part) -> tuple[Any, ...]:
    return iteration, hash_words(part.words), keccak(part.bids), part.residuals


def history(now: Round, node: int, first: int) -> History:
    """The node's submissions from an iteration on."""
    chain = [entry for entry in now.history.get(node, []) if entry[0] >= first]
    before = chain[0][2] if chain else now.commitments.get(node, bytes(32))
    return History(before, tuple(link_of(iteration, part) for iteration, part, _ in chain))


def residual_evidence(now: Round, node: int, iteration: int) -> ResidualEvidence:
    """About a claim for an iteration, whether it is true or not."""
    first = max(iteration - 1, 1)
    closed = now.closed[iteration - 1]
    before = now.closed[iteration - 2].parts if iteration > 1 else {}
    book = now.declared[node].book
    mine = closed.parts.get(node)

    return ResidualEvidence(
        iteration,
        now.closed[first - 1].previous,
        tuple((one.iteration, one.present, one.residuals, hash_words(one.words)) for one in now.closed[first - 1 :]),
        closed.words,
        now.closed[iteration - 2].words if iteration > 1 else (),
        history(now, node, first),
        mine.words if mine else (),
        mine.bids if mine else b"",
        before[node].bids if mine and node in before else b"",
        book,
        tuple(partner_of(now, who, iteration) for who in read_book(book)) if mine else (),
    )


def partner_of(now: Round, who: int, iteration: int) -> Partner:
    """What a partner bid in an iteration; empty where it was not there."""
    parts = now.closed[iteration - 1].parts
    before = now.closed[iteration - 2].parts if iteration > 1 else {}
    if who not in parts:
        return Partner()
    said = history(now, who, max(iteration - 1, 1))
    return Partner(now.declared[who].book, said, parts[who].bids, before[who].bids if who in before else b"")


def aged_evidence(now: Round, node: int, iteration: int) -> ResidualEvidence:
    """The same with all closed iterations, which show for how long the same nodes have been there."""
    every = tuple((one.iteration, one.present, one.residuals, hash_words(one.words)) for one in now.closed)
    return replace(residual_evidence(now, node, iteration), head_before=bytes(32), closed=every)


def plan_evidence(now: Round, node: int, step: int) -> PlanEvidence:
    """About a step of the newest submission."""
    iteration, part, before = now.history[node][-1]
    return PlanEvidence(step, before, link_of(iteration, part), part.words, now.declared[node].book)


def mutated(value: Any, chance: random.Random) -> Any:
    """The same with one thing changed, anywhere in it."""
    if isinstance(value, int):
        return value ^ 1 << chance.randrange(16)
    if isinstance(value, bytes):
        at = chance.randrange(len(value) or 1)
        flipped = value[:at] + bytes(byte ^ 1 << chance.randrange(8) for byte in value[at : at + 1]) + value[at + 1 :]
        longer, shorter = value + chance.randbytes(1), value[: max(len(value) - 1, 0)]
        return flipped if len(value) == 32 else chance.choice([flipped, longer, shorter])
    items = list(value)
    growing = bool(items) and len({type(item) for item in items}) == 1  # an array, not a struct
    kind = chance.randrange(6) if growing else 5
    at = chance.randrange(len(items)) if items else 0
    if kind == 0:
        del items[at]
    elif kind == 1:
        items.insert(at, items[chance.randrange(len(items))])
    elif kind == 2:
        items[at] = items[chance.randrange(len(items))]
    elif items:
        items[at] = mutated(items[at], chance)
    return tuple(items)


# ---------------------------------------------------------------------- books


def book(pairs: dict[int, Sequence[int]]) -> bytes:
    return b"".join(bytes([partner, len(steps), *steps]) for partner, steps in sorted(pairs.items()))


def feeder_book(
    lines: Sequence[tuple[int, int, float, float]],
    nominal_v: float = 400,
    lowest_pu: float = 0.9,
    highest_pu: float = 1.1,
) -> bytes:
    """Lines: node, parent, resistance and reactance in ohm."""
    header = struct.pack(">III", round(nominal_v * 1e3), round(lowest_pu * 1e6), round(highest_pu * 1e6))
    return header + b"".join(
        struct.pack(">BBII", node, parent, round(r * 1e6), round(x * 1e6)) for node, parent, r, x in lines
    )


# ---------------------------------------------------------------------- a round before the referee


class Court:
    """A community and the referee: truths of the reference model, and verdicts."""

    def __init__(self, referee: Link, made: Community) -> None:
        self.referee = referee
        self.made = made

    # -- what nodes claim

    def honest(self, node: int) -> Residuals:
        """What a node claims now: its residuals of the iteration that was closed last."""
        now = self.made.model.now
        if not now.closed:
            return 0, 0, 0, 0
        return Iteration(now, len(now.closed), self.made.steps).residuals(node)

    def claims(self) -> list[tuple[int, int, bool]]:
        """All that was claimed up to now: node, of which iteration, and whether it is true."""
        now = self.made.model.now
        return [
            (node, iteration - 1, part.residuals == pack_residuals(self._truth(node, iteration - 1)))
            for node, chain in now.history.items()
            for iteration, part, _ in chain
            if iteration > 1
        ]

    def _truth(self, node: int, iteration: int) -> Residuals:
        return Iteration(self.made.model.now, iteration, self.made.steps).residuals(node)

    def iterate(self, nodes: Sequence[int] | None = None, lies: dict[int, Residuals] | None = None) -> None:
        """An iteration in which nodes claim the truth, or what `lies` has for them: some relayed, the others direct."""
        made = self.made
        nodes = sorted(made.model.now.active) if nodes is None else nodes
        chance = made.random
        claims = {node: (lies or {}).get(node) or self.honest(node) for node in nodes}
        relayed = [node for node in nodes if chance.random() < 0.5]
        made.relay([made.part(node, claims[node]) for node in relayed], made.manager)
        for node in nodes:
            if node not in relayed:
                made.submit(node, claims[node])

    # -- what the referee says

    def verdicts(
        self, cases: Sequence[tuple[int, bytes]], round_: int | None = None, aggregator: Any = None
    ) -> list[str]:
        """Of evidence against nodes: GUILTY, or what judge reverts with."""
        number = self.made.model.now.number if round_ is None else round_
        address = str(aggregator or self.made.aggregator)
        answers: list[str] = []
        for start in range(0, len(cases), 100):
            requests = [
                ("eth_call", [{"to": self.referee.address, "data": data, "gas": hex(GAS)}, "latest"])
                for data in (
                    self.referee.data("judge", address, number, node, evidence)
                    for node, evidence in cases[start : start + 100]
                )
            ]
            for answer in web3.provider.make_batch_request(requests):
                refused = "error" in answer
                answers.append(self.referee.error(_revert_data(answer["error"])) if refused else GUILTY)
        return answers

    def verdict(self, node: int, evidence: Any, **place: Any) -> str:
        return self.verdicts([(node, evidence.encoded())], **place)[0]

    def of_claim(self, node: int, iteration: int) -> str:
        return self.verdict(node, residual_evidence(self.made.model.now, node, iteration))

    def accuse(self, sender: Any, node: int, evidence: Any) -> Receipt:
        """To the contract, and then to the model."""
        tx = self.made.send(sender, "accuse", self.made.model.now.number, node, evidence.encoded())
        self.made.model.exclude(node)
        return tx

    @contextmanager
    def undone(self) -> Iterator[None]:
        """What happens inside is taken back, on the chain and in the model."""
        snapshot, model = rpc("evm_snapshot"), copy.deepcopy(self.made.model)
        try:
            yield
        finally:
            rpc("evm_revert", snapshot)
            self.made.model = model


def answer(units: dict[int, tuple[Sequence[int], Sequence[int]]]) -> tuple[int, ...]:
    """Words of a root's copies: P and Q of each child, resolution units a step."""
    return tuple(
        word
        for child in sorted(units)
        for kind, values in zip("PQ", units[child], strict=True)
        for word in pack([value + BIAS[kind] for value in values])
    )
