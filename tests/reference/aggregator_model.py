"""The virtual aggregator in plain Python: lists and sets of integers, no packing of its own, no storage, no gas.

Written from the text of the interface, to compare the contract with. A block is a (kind, node) pair, kind one of "P",
"Q" (flow into the node over the line from its parent) and "V" (voltage of the node); its content is a list of payloads,
one a time step, biased as the clients bias them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from eth_abi import encode
from eth_utils import keccak

Block = tuple[str, int]

LANES, LANE_BITS = 12, 21
PAYLOAD_BITS = {"P": 20, "Q": 20, "V": 16}
MAX_NODES, MAX_SHARERS, GRID_CONNECTION = 128, 31, 0
QUESTIONS = 3  # that a node may ask in a round
ALL_BIDS = 2**16  # of the partners of a node together, at most
SUBMISSION = "Submission(uint32 round,uint16 iteration,uint8 node,uint256[] copies,bytes bids,uint256 residuals)"
PHASES = ["None", "Declaring", "Iterating", "Converged", "Exhausted", "Abandoned"]


class Refused(Exception):
    """A custom error: its name and its values."""

    def __init__(self, name: str, *values: int) -> None:
        self.name, self.values = name, values
        super().__init__(f"{name}: {', '.join(map(str, values))}")


def bitmap(nodes: Iterable[int]) -> int:
    return sum(1 << node for node in nodes)


def members(nodes: int) -> tuple[int, ...]:
    """Nodes of a bitmap, ascending."""
    return tuple(node for node in range(nodes.bit_length()) if nodes >> node & 1)


def pack(values: Sequence[int]) -> list[int]:
    """Lanes of a block to words."""
    return [
        sum(value << LANE_BITS * lane for lane, value in enumerate(values[start : start + LANES]))
        for start in range(0, len(values), LANES)
    ]


def unpack(words: Sequence[int], steps: int) -> list[int]:
    """Words of a block to lanes."""
    return [words[t // LANES] >> LANE_BITS * (t % LANES) & (1 << LANE_BITS) - 1 for t in range(steps)]


def hash_words(words: Iterable[int]) -> bytes:
    return keccak(b"".join(word.to_bytes(32, "big") for word in words))


def submission_hash(round_: int, iteration: int, node: int, copies: bytes, bids: bytes, residuals: int) -> bytes:
    """h; copies and bids by their hashes."""
    types = ["bytes32", "uint32", "uint16", "uint8", "bytes32", "bytes32", "uint256"]
    return keccak(encode(types, [keccak(text=SUBMISSION), round_, iteration, node, copies, bids, residuals]))


def capacity(length: int, partners: int, steps: int) -> int:
    """How many bids a book of so many bytes can carry: for each partner a header and at most a byte a step."""
    total = 0
    for _ in range(partners):
        total += max(min(length - 2, steps), 0)
        length -= 2 + steps
    return total


@dataclass(frozen=True)
class Declared:
    """What a node declares."""

    parent: int
    depth: int
    children: tuple[int, ...]
    bids: int
    book: bytes = b""


@dataclass(frozen=True)
class Part:
    """A submission, as it is sent or relayed."""

    node: int
    words: tuple[int, ...]
    bids: bytes
    residuals: int
    signed: bool = True  # by its author; matters only where it is relayed


@dataclass(frozen=True)
class Closed:
    """A closed iteration."""

    iteration: int
    parts: Mapping[int, Part]  # by node: whose copies are in the sums
    residuals: int
    sums: Mapping[Block, Sequence[int]]
    words: tuple[int, ...]  # all sums, packed
    head: bytes
    previous: bytes  # the head before

    @property
    def present(self) -> int:
        return bitmap(self.parts)


@dataclass
class Question:
    """What a node of a sealed round was asked about an iteration."""

    asker: int
    asked_in: int  # the iteration that was open
    told: bytes | None = None


@dataclass
class Round:
    """What belongs to one round."""

    number: int
    day: int = 0
    percent: int = 100  # of the limits
    phase: str = "Declaring"
    iteration: int = 0
    declared: dict[int, Declared] = field(default_factory=dict)
    nodes: dict[int, Declared] = field(default_factory=dict)  # from the start, with the children that are in it
    out: set[int] = field(default_factory=set)
    misses: dict[int, int] = field(default_factory=dict)
    open: dict[int, Part] = field(default_factory=dict)
    closed: list[Closed] = field(default_factory=list)
    commitments: dict[int, bytes] = field(default_factory=dict)
    disturbed: int = 0  # the last iteration in which somebody was missing or excluded
    history: dict[int, list[tuple[int, Part, bytes]]] = field(default_factory=dict)  # iteration, part, commitment
    questions: dict[tuple[int, int], Question] = field(default_factory=dict)  # by node and iteration

    @property
    def running(self) -> bool:
        return self.phase in ("Declaring", "Iterating")

    @property
    def active(self) -> set[int]:
        return set(self.nodes) - self.out

    @property
    def head(self) -> bytes:
        return self.closed[-1].head if self.closed else bytes(32)

    def blocks(self, node: int) -> list[Block]:
        """The blocks that a node holds, in the order of its copies."""
        me = self.nodes[node]
        blocks: list[Block] = []
        if me.depth > 0:
            blocks += [("P", node), ("Q", node)]
            if me.children:
                blocks.append(("V", node))
        for child in sorted(me.children):
            blocks += [("P", child), ("Q", child)]
        if me.depth > 0 and self.nodes[me.parent].depth > 0:
            blocks.append(("V", me.parent))
        return blocks

    def all_blocks(self) -> list[Block]:
        """In the order of a closed iteration."""
        lines = [node for node in sorted(self.nodes) if self.nodes[node].depth > 0]
        return [(kind, node) for node in lines for kind in "PQ"] + [
            ("V", node) for node in lines if self.nodes[node].children
        ]

    def holders(self, block: Block) -> set[int]:
        return {node for node in self.nodes if block in self.blocks(node)}


@dataclass
class AggregatorModel:
    """All rounds of one product of a contract."""

    enrolled: set[int]
    steps: int
    mu: int
    eps: tuple[int, int, int, int]  # primal grid, dual grid, primal trade, dual trade; 1/1000 unit
    max_misses: int
    n: int = MAX_NODES  # nodes that can be enrolled
    rounds: list[Round] = field(default_factory=list)
    agreed: dict[int, int] = field(default_factory=dict)  # round by day
    product: int = 0  # all models of one contract share who is enrolled, and nothing else
    sums: int = 0  # bytes that may stand behind the bids of a node, where rounds are sealed

    @property
    def now(self) -> Round:
        return self.rounds[-1]

    @property
    def width(self) -> int:
        """Words of a block."""
        return -(-self.steps // LANES)

    # ------------------------------------------------------------------ opening and declaring

    def open_round(self, day: int, replaced: int | None = None, percent: int = 100) -> None:
        """`replaced`: the round in which the day was agreed, where it is to be agreed anew;
        `percent`: of the limits of theta, within which it ends."""
        if self.agreed.get(day) != replaced:  # also where none was agreed that could be replaced
            raise Refused("DayAgreed", day, self.agreed.get(day, 0))
        if self.rounds and self.now.running:
            raise Refused("WrongPhase", PHASES.index(self.now.phase))
        if not self.enrolled:
            raise Refused("NobodyEnrolled")
        self.agreed.pop(day, None)
        self.rounds.append(Round((self.product << 24) + len(self.rounds) + 1, day, percent))

    def _require(self, round_: int, phase: str) -> Round:
        current, at = (self.now.number, self.now.phase) if self.rounds else (0, "None")
        if round_ != current:
            raise Refused("WrongRound", current, round_)
        if at != phase:
            raise Refused("WrongPhase", PHASES.index(at))
        return self.now

    def declare(self, round_: int, node: int, said: Declared) -> None:
        now = self._require_unheard(round_, node)
        if said.parent >= MAX_NODES:
            raise Refused("NodeOutOfRange", said.parent)
        if said.parent not in self.enrolled or (said.parent == node) != (said.depth == 0):
            raise Refused("TopologyMismatch", said.parent, node)
        alone = said.depth == 0 and node != GRID_CONNECTION
        strangers = [child for child in sorted(said.children) if alone or child not in self.enrolled or child == node]
        if strangers:
            raise Refused("TopologyMismatch", node, strangers[0])
        if said.depth > 0 and len(said.children) > MAX_SHARERS:
            raise Refused("TooManyChildren", node, len(said.children))
        most = min(capacity(len(said.book), len(self.enrolled - {node}), self.steps), ALL_BIDS // max(self.n - 1, 1))
        if said.bids > most:
            raise Refused("TooManyBids", most, said.bids)
        now.declared[node] = said
        self._start_if_complete()

    def abstain(self, round_: int, node: int) -> None:
        """It names itself as its parent and yet is no root, which fits nowhere."""
        now = self._require_unheard(round_, node)
        now.declared[node] = Declared(parent=node, depth=1, children=(), bids=0)
        now.out.add(node)
        self._start_if_complete()

    def _require_unheard(self, round_: int, node: int) -> Round:
        now = self._require(round_, "Declaring")
        if node in now.declared:
            raise Refused("AlreadyDeclared", node)
        return now

    def _start_if_complete(self) -> None:
        if set(self.now.declared) == self.enrolled:
            self._start()

    def _start(self) -> None:
        """Keeps taking away what does not fit, until all that is left does."""
        now = self.now
        kept = dict(now.declared)

        def fits(node: int, said: Declared) -> bool:
            if said.depth == 0:
                return True
            above = kept.get(said.parent)
            return above is not None and node in above.children and above.depth + 1 == said.depth

        while drop := [node for node, said in kept.items() if not fits(node, said)]:
            for node in drop:
                del kept[node]
        for node, said in kept.items():
            children = tuple(
                child for child in sorted(said.children) if child in kept and kept[child].parent == node != child
            )
            now.nodes[node] = replace(said, children=children)
        if not kept:
            return self._end("Abandoned")
        now.misses = dict.fromkeys(kept, 0)
        now.phase, now.iteration = "Iterating", 1

    # ------------------------------------------------------------------ submitting

    def submit(self, round_: int, iteration: int, history: int, part: Part) -> None:
        """Sent directly."""
        now = self._require(round_, "Iterating")
        if iteration != now.iteration:
            raise Refused("WrongIteration", now.iteration, iteration)
        if history != int.from_bytes(now.head[-2:], "big"):
            raise Refused("WrongHistory", int.from_bytes(now.head[-2:], "big"), history)
        self._check(part)
        self._accept(part)
        self._close_if_complete()

    def relay(self, round_: int, iteration: int, parts: Sequence[Part]) -> list[tuple[int, Refused]]:
        """Returns what was skipped: the node, and why."""
        now = self._require(round_, "Iterating")
        if iteration != now.iteration:
            raise Refused("WrongIteration", now.iteration, iteration)
        skipped = []
        for part in parts:
            try:
                self._check(part)
                if not part.signed:
                    raise Refused("WrongSignature", part.node)
            except Refused as refused:
                skipped.append((part.node, refused))
            else:
                self._accept(part)
        self._close_if_complete()
        return skipped

    def _check(self, part: Part) -> None:
        now, node = self.now, part.node
        if node >= MAX_NODES:
            raise Refused("NodeOutOfRange", node)
        if node not in now.active:
            raise Refused("NotInRound", node, now.number)
        if node in now.open:
            raise Refused("AlreadySubmitted", node, now.iteration)
        blocks = now.blocks(node)
        if len(part.words) != len(blocks) * self.width:
            raise Refused("LengthMismatch", len(blocks) * self.width, len(part.words))
        if not 0 <= len(part.bids) - 2 * now.nodes[node].bids <= self.sums:
            raise Refused("LengthMismatch", 2 * now.nodes[node].bids, len(part.bids))
        # First what no block may have, then what a voltage may not have either.
        for payload in ({"P": 20, "Q": 20, "V": 20}, PAYLOAD_BITS):
            for at, word in enumerate(part.words):
                bits = payload[blocks[at // self.width][0]]
                if word >> LANE_BITS * LANES or any(lane >> bits for lane in unpack([word], LANES)):
                    raise Refused("LaneOverflow", at, word)
        if now.iteration > 1 and any(part.residuals >> 64 * lane + 56 & 0xFF for lane in range(4)):
            raise Refused("ResidualOverflow", part.residuals)

    def _accept(self, part: Part) -> None:
        now = self.now
        now.open[part.node] = part
        before = now.commitments.get(part.node, bytes(32))
        words, bids = hash_words(part.words), keccak(part.bids)
        h = submission_hash(now.number, now.iteration, part.node, words, bids, part.residuals)
        now.commitments[part.node] = keccak(before + h)
        now.history.setdefault(part.node, []).append((now.iteration, part, before))

    # ------------------------------------------------------------------ closing

    def close_overdue(self, overdue: bool) -> None:
        phase = self.now.phase if self.rounds else "None"
        if phase not in ("Declaring", "Iterating"):
            raise Refused("WrongPhase", PHASES.index(phase))
        if not overdue:
            raise Refused("DeadlineNotPassed")
        if phase == "Declaring":
            self._start()
        else:
            self._close()

    def exclude(self, node: int) -> None:
        """A node that was proved false."""
        self.now.disturbed = self.now.iteration
        if self._exclude(node):
            self._end("Abandoned")
        else:
            self._close_if_complete()

    # ------------------------------------------------------------------ questions of sealed rounds

    def ask(self, round_: int, asker: int, node: int, about: int) -> None:
        now = self._require(round_, "Iterating")
        for one in (asker, node):
            self._require_active(one)
        often = sum(question.asker == asker for question in now.questions.values()) == QUESTIONS
        if often or (node, about) in now.questions or not 0 < about < len(now.closed):
            raise Refused("CannotAsk", node, about)
        now.questions[node, about] = Question(asker, now.iteration)

    def answer(self, round_: int, node: int, about: int, told: bytes) -> None:
        question = self._require(round_, "Iterating").questions.get((node, about))
        if question is None or question.told is not None:
            raise Refused("NotAsked", node, about)
        question.told = told

    def accuse_of_silence(self, round_: int, node: int, about: int) -> None:
        """Who was asked, and submits two iterations later, now or in the last closed one, without an answer."""
        now = self._require(round_, "Iterating")
        self._require_active(node)
        question = now.questions.get((node, about))
        parts = [(now.iteration, now.open), *((one.iteration, one.parts) for one in now.closed[-1:])]
        last = max((iteration for iteration, there in parts if node in there), default=0)
        if question is None or question.told is not None or last < question.asked_in + 2:
            raise Refused("StillTime", node, about)
        self.exclude(node)

    def _require_active(self, node: int) -> None:
        if node not in self.now.active:
            raise Refused("NotInRound", node, self.now.number)

    def question(self, node: int, about: int) -> tuple[int, int]:
        """Where it was asked, and the lower 240 bits of the hash of what it told; zeros where not."""
        question = self.now.questions.get((node, about))
        if question is None:
            return 0, 0
        return question.asked_in, 0 if question.told is None else int.from_bytes(keccak(question.told)[2:], "big")

    # ------------------------------------------------------------------ going out

    def _exclude(self, node: int) -> bool:
        """Whether the round cannot go on."""
        now = self.now
        now.out.add(node)
        return not now.active or (node == GRID_CONNECTION and bool(now.nodes[node].children))

    def _close_if_complete(self) -> None:
        if self.now.active <= set(self.now.open):
            self._close()

    def _copies(self, part: Part) -> dict[Block, list[int]]:
        return {
            block: unpack(part.words[at * self.width : (at + 1) * self.width], self.steps)
            for at, block in enumerate(self.now.blocks(part.node))
        }

    def running(self, node: int) -> dict[Block, list[int] | None]:
        """The sums of a node's blocks so far; None where no copy is there."""
        return {block: self._sum(block) for block in self.now.blocks(node)}

    def _sum(self, block: Block) -> list[int] | None:
        copies = [self._copies(self.now.open[node])[block] for node in self.now.holders(block) & set(self.now.open)]
        return [sum(lane) for lane in zip(*copies, strict=True)] if copies else None

    def _close(self) -> None:
        now = self.now
        sums = {block: self._sum(block) or [0] * self.steps for block in now.all_blocks()}
        words = tuple(word for lanes in sums.values() for word in pack(lanes))
        residuals = 0 if now.iteration == 1 else sum(part.residuals for part in now.open.values())
        here = bitmap(now.open)
        types = ["bytes32", "uint32", "uint16", "uint128", "uint256", "bytes32"]
        values = [now.head, now.number, now.iteration, here, residuals, hash_words(words)]
        head = keccak(encode(types, values))
        now.closed.append(Closed(now.iteration, now.open, residuals, sums, words, head, now.head))
        absent = now.active - set(now.open)
        now.open = {}
        lost = False
        if absent:
            now.disturbed = now.iteration
        for node in sorted(absent):
            now.misses[node] += 1
            if now.misses[node] >= self.max_misses:
                lost |= self._exclude(node)
        if lost:
            self._end("Abandoned")
        elif now.iteration >= now.disturbed + 2 and self._within(residuals):
            self._end("Converged")
        elif now.iteration >= self.mu:
            self._end("Exhausted")
        else:
            now.iteration += 1

    def _within(self, residuals: int) -> bool:
        grid, trade = self.scalars()
        return all(
            (residuals >> 64 * (3 - lane) & 2**64 - 1) * 10**10 <= (eps * self.now.percent) ** 2 * count
            for lane, (eps, count) in enumerate(zip(self.eps, (grid, grid, trade, trade), strict=True))
        )

    def _end(self, phase: str) -> None:
        self.now.phase = phase
        if phase == "Converged":
            self.agreed[self.now.day] = self.now.number

    # ------------------------------------------------------------------ views, as the contract returns them

    def scalars(self) -> tuple[int, int]:
        if not self.rounds:
            return 0, 0
        now = self.now
        return (
            self.steps * sum(len(now.blocks(node)) for node in now.active),
            sum(now.nodes[node].bids for node in now.active),
        )

    def progress(self) -> dict[str, int]:
        """All but the deadline."""
        now = self.now
        iterating = now.phase not in ("Declaring",)
        declaring = {"counter": len(now.declared), "expected": len(self.enrolled), "present": bitmap(now.declared)}
        open_ = {
            "counter": len(set(now.open) - now.out),
            "expected": len(now.active),
            "present": bitmap(now.open),
        }
        return {
            "round": now.number,
            "iteration": now.iteration,
            "phase": PHASES.index(now.phase),
            "history": int.from_bytes(now.head[-2:], "big"),
            **(open_ if iterating else declaring),
        }

    def roster(self) -> tuple[int, int, int, int]:
        now = self.now
        lines = [node for node, said in now.nodes.items() if said.depth > 0]
        inner = [node for node in lines if now.nodes[node].children]
        return bitmap(now.nodes), bitmap(now.active), bitmap(lines), bitmap(inner)

    def outcome(self, round_: int) -> tuple[int, int, int, int, bytes]:
        ended = self._round(round_)
        if ended is None or ended.running:
            return 0, 0, 0, 0, bytes(32)
        present = ended.closed[-1].present if ended.closed else 0
        return PHASES.index(ended.phase), len(ended.closed), present, ended.day, ended.head

    def commitment(self, round_: int, node: int) -> tuple[bytes, bytes]:
        one = self._round(round_)
        if one is None or node not in one.declared:
            return bytes(32), bytes(32)
        return one.commitments.get(node, bytes(32)), keccak(one.declared[node].book)

    def _round(self, number: int) -> Round | None:
        return next((one for one in self.rounds if one.number == number), None)
