"""VirtualAggregator against its model in plain Python, call by call, over thousands of calls in random order.

A driver of its own, with a seed: each call is made to the model first, which says whether it passes or with which error
it is refused; then to the contract, with the same end. Now and then, and after each round, everything is compared.
"""

from __future__ import annotations

import random
from collections import Counter

import pytest
from helpers import MAX_MISSES, Community, overdue, pack_residuals, setting, theta
from link import Reverted
from reference.aggregator_model import Declared, Part, Refused, bitmap, pack
from reference.referee_model import BIAS, ResidualEvidence, entries, residuals

SEEDS, CALLS = range(4), 750
NODES = range(8)
STEPS = 6
FLAWS = ["round", "iteration", "history", "words", "bids", "lane", "residual", "sender"]


class Driver:
    """Random calls to one contract and its model."""

    def __init__(self, made, outsider, seed):
        self.made = made
        self.outsider = outsider
        self.chance = random.Random(seed)
        self.met = Counter()
        self.seen = (0, 0, 0)
        self.signed = []  # parts that were signed in earlier iterations
        self.calm = False
        made.model.enrolled = set()

    # -- one call

    def call(self, name, sender, arguments, model):
        """Makes a call to the model, and with the same end to the contract."""
        try:
            model()
        except Refused as refused_:
            expected = str(refused_)
        else:
            expected = None
        try:
            tx = self.made.send(sender, name, *arguments)
            met = None
        except Reverted as error:
            tx, met = None, str(error)
        assert (met or "").split(",")[0].startswith((expected or "").split(",")[0]), (name, met, expected)
        if expected is None or not expected.startswith("DeadlineNotPassed"):
            assert met == expected, (name, met, expected)
        self.met[name, (expected or "passed").split(":")[0]] += 1
        progress = self.made.view("progress")[:3]
        assert progress >= self.seen, "VA3"
        self.seen = progress
        return tx

    def pick(self, likely, all_=NODES):
        """A node, as a rule one of the likely."""
        return self.chance.choice(sorted(likely) if likely and self.chance.random() < 0.8 else list(all_))

    def sender(self, node):
        return self.made.accounts[node]

    @property
    def now(self):
        return self.made.model.now

    # -- manager

    def enrol(self):
        model = self.made.model
        node = self.pick(set(NODES) - model.enrolled, [*NODES, 128])
        account = str(self.sender(node % 128))

        def enrol():
            self._require_no_round()
            if node >= 128:
                raise Refused("NodeOutOfRange", node)
            if node in model.enrolled:
                raise Refused("NodeTaken", node, account.lower())
            model.enrolled.add(node)

        self.call("enrol", self.made.manager, ([node], [account]), enrol)

    def expel(self):
        node = self.chance.choice(NODES)

        def expel():
            self._require_no_round()
            if node not in self.made.model.enrolled:
                raise Refused("NotEnrolled", "0x" + "0" * 40)
            self.made.model.enrolled.remove(node)

        self.call("expel", self.made.manager, ([node],), expel)

    def _require_no_round(self):
        model = self.made.model
        if model.rounds and self.now.running:
            raise Refused("WrongPhase", {"Declaring": 1, "Iterating": 2}[self.now.phase])

    def open(self):
        self.call("openRound", self.made.manager, (20260701,), self.made.model.open_round)
        self.calm = self.chance.random() < 0.5
        self.signed.clear()

    # -- nodes

    def declare(self):
        model = self.made.model
        node = self.pick(model.enrolled - set(self.now.declared))
        others = sorted(model.enrolled - {0, node})
        star = Declared(0, 0, tuple(others), 0) if node == 0 else Declared(0, 1, (), 0)
        if self.chance.random() < 0.25:
            parent = self.chance.choice([*NODES, node, 128])
            depth = self.chance.choice([0, 0, 1, 2])
            children = tuple(n for n in range(10) if self.chance.random() < 0.3)
            star = Declared(parent, depth, children, 0)
        elif node in (3, 5) and 1 in model.enrolled:  # below node 1
            star = Declared(1, 2, (), 0)
        elif node == 0:
            star = Declared(0, 0, tuple(n for n in others if n not in (3, 5) or 1 not in model.enrolled), 0)
        elif node == 1:
            star = Declared(0, 1, tuple(n for n in others if n in (3, 5)), 0)
        book = self.book(node)
        said = Declared(star.parent, star.depth, star.children, sum(len(one.steps) for one in entries(book).values()), book)
        round_ = self.now.number + (self.chance.random() < 0.05)

        def declare():
            if node not in model.enrolled:
                model._require(round_, "Declaring")
                raise Refused("NotEnrolled", str(self.sender(node)).lower())
            model.declare(round_, node, said)

        values = (said.parent, bitmap(said.children), said.depth, said.bids, said.book)
        self.call("declare", self.sender(node), (round_, *values), declare)

    def book(self, node):
        """Pairs mirror each other; some entries do not."""
        book = b""
        for partner in NODES:
            common = random.Random(min(node, partner) * 10 + max(node, partner))
            if partner != node and node and partner and common.random() < 0.5:
                steps = [step for step in range(STEPS) if common.random() < 0.5]
                book += bytes((partner, len(steps), *steps))
        return book + (b"\7\3\1" if self.chance.random() < 0.1 else b"")

    def part(self, node):
        """An honest submission of a node in the round, or one of a node that is not. In a calm round all agree."""
        now = self.now
        if node not in now.nodes:
            return Part(node, (), b"", 0)
        words = []
        for kind, of in now.blocks(node):
            common = random.Random(of) if self.calm else self.chance
            lanes = [common.randint(-1000, 1000) + BIAS[kind] for _ in range(STEPS)]
            words += pack(lanes)
        bids = bytes(2 * now.nodes[node].bids) if self.calm else self.chance.randbytes(2 * now.nodes[node].bids)
        return Part(node, tuple(words), bids, self.residuals(node))

    def residuals(self, node):
        mine = [0] * 4
        if self.now.iteration > 1:
            mine = residuals(self.now, STEPS, node, self.now.iteration - 1)
            if self.chance.random() < (0.01 if self.calm else 0.08):
                mine[self.chance.randrange(4)] += 1
                self.met["lie"] += 1
        return pack_residuals(mine)

    def flawed(self, part, flaw):
        """The part with a flaw."""
        words, bids, claimed = part.words, part.bids, part.residuals
        if flaw == "words":
            words = (*words, 0) if self.chance.random() < 0.5 else words[1:]
        elif flaw == "bids":
            bids += b"\0"
        elif flaw == "lane" and words:
            at = self.chance.randrange(len(words))
            bit = self.chance.choice([20, 41, 251, 255])
            words = (*words[:at], words[at] | 1 << bit, *words[at + 1 :])
        elif flaw == "residual":
            claimed = 1 << self.chance.choice([56, 127, 255])
        return Part(part.node, words, bids, claimed, part.signed)

    def submit(self):
        now, model = self.now, self.made.model
        node = self.pick(now.active - set(now.open))
        part = self.part(node)
        round_, iteration, history = now.number, now.iteration, int.from_bytes(now.head[-2:], "big")
        sender = self.sender(node)
        if self.chance.random() < 0.2:
            flaw = self.chance.choice(FLAWS)
            part = self.flawed(part, flaw)
            round_ += self.chance.choice([1, -1]) * (flaw == "round")
            iteration = (iteration + self.chance.choice([1, -1])) % 2**16 if flaw == "iteration" else iteration
            history ^= flaw == "history"
            sender = self.outsider if flaw == "sender" else sender

        def submit():
            if node not in model.enrolled or sender is self.outsider:
                model._require(round_, "Iterating")
                if iteration != now.iteration:
                    raise Refused("WrongIteration", now.iteration, iteration)
                if history != int.from_bytes(now.head[-2:], "big"):
                    raise Refused("WrongHistory", int.from_bytes(now.head[-2:], "big"), history)
                raise Refused("NotEnrolled", str(sender).lower())
            model.submit(round_, iteration, history, part)

        self.call("submit", sender, (round_, iteration, history, part.words, part.bids, part.residuals), submit)

    def relay(self):
        now, model = self.now, self.made.model
        size = self.chance.choice([1, 2, 4, len(NODES)])
        parts, batch = [], []
        for node in [self.pick(now.active - set(now.open)) for _ in range(size)]:
            part = self.part(node)
            if self.chance.random() < 0.15:
                part = self.flawed(part, self.chance.choice(FLAWS))
                part = Part(part.node, part.words, part.bids, part.residuals, self.chance.random() < 0.8)
            if self.chance.random() < 0.02:
                part = Part(self.chance.choice([128, 255]), part.words, part.bids, part.residuals)
            parts.append(part)
            batch.append(self.made.sign(part))
        if self.signed and self.chance.random() < 0.3:  # a signature of before
            old, values = self.chance.choice(self.signed)
            parts.append(Part(old.node, old.words, old.bids, old.residuals, signed=False))
            batch.append(values)
        iteration = now.iteration + (self.chance.random() < 0.03)
        skipped = []

        def relay():
            skipped.extend(model.relay(now.number, iteration, parts))

        before = len(now.closed)
        tx = self.call("relay", self.outsider, (now.number, iteration, batch), relay)
        if tx is not None:
            expected = [(node, self.made.link.error_data(why.name, *why.values)) for node, why in skipped]
            assert [(event["node"], event["reason"]) for event in tx.all("Skipped")] == expected
            self.met["skipped"] += len(skipped)
            if len(now.closed) > before:
                self.signed = list(zip(parts, batch, strict=True))

    # -- anyone

    def close(self):
        late = self.chance.random() < 0.6
        if late:
            overdue()
        deadline = self.made.view("progress")[3]
        now = int(self.made.link.timestamp())
        self.call("closeOverdue", self.outsider, (), lambda: self.made.model.close_overdue(now > deadline))

    def accuse(self):
        now, model = self.now, self.made.model
        if not now.nodes or not now.closed:
            return
        node = self.chance.choice(sorted(now.nodes))
        k = self.chance.randrange(1, len(now.closed) + 1)
        evidence = ResidualEvidence.of(now, node, k)
        claims = {iteration: part for iteration, part, _ in now.history.get(node, [])}
        said = claims.get(k + 1)
        false = said is not None and said.residuals != pack_residuals(residuals(now, STEPS, node, k))
        data = evidence.encode()
        if self.chance.random() < 0.1:
            data, false, said = ResidualEvidence.of(now, sorted(now.nodes)[0], 1).encode(), None, None

        def accuse():
            model._require(now.number, "Iterating")
            if node not in now.active:
                raise Refused("NotInRound", node, now.number)
            if not false:
                raise Refused("NotProved", "residuals" if said is not None else "presence")
            model.exclude(node)

        if false is None:  # any evidence about another node: never guilty
            try:
                self.made.send(self.outsider, "accuse", now.number, node, data)
            except Reverted:
                self.met["accuse", "nonsense"] += 1
            else:
                assert sorted(now.nodes)[0] == node
                model.exclude(node)
            return
        self.call("accuse", self.outsider, (now.number, node, data), accuse)

    # -- the whole

    def run(self, calls):
        weights = {
            "None": {self.enrol: 12, self.open: 1, self.close: 1},
            "Declaring": {self.declare: 16, self.close: 1, self.enrol: 0.3, self.submit: 0.5, self.open: 0.2},
            "Iterating": {self.submit: 10, self.relay: 3, self.close: 1.5, self.accuse: 2, self.declare: 0.2},
            "Ended": {self.open: 3, self.enrol: 3, self.expel: 1, self.submit: 1, self.close: 1, self.relay: 0.5},
        }
        for count in range(calls):
            phase = self.now.phase if self.made.model.rounds else "None"
            chosen = weights.get(phase, weights["Ended"])
            self.chance.choices(list(chosen), list(chosen.values()))[0]()
            if count % 8 == 0 and self.made.model.rounds:
                self.made.check()
        self.made.check()


@pytest.mark.parametrize("seed", SEEDS)
def test_anyCalls_inAnyOrder(VirtualAggregator, manager, referee, signers, outsider, seed):
    """VA1 to VA9, RF1 and RF2."""
    aggregator = manager.deploy(VirtualAggregator, theta(len(NODES), 8), setting(STEPS, MAX_MISSES), referee)
    tree = {node: Declared(node, 0, (), 0) for node in NODES}
    driver = Driver(Community(aggregator, tree, signers(len(NODES)), seed), outsider, seed)
    driver.run(CALLS)
    ended = Counter(one.phase for one in driver.made.model.rounds)
    met = driver.met
    assert ended["Converged"] and ended["Abandoned"]
    assert met["submit", "passed"] > 100 and met["relay", "passed"] > 50 and met["skipped"] > 100
    assert met["accuse", "passed"] and met["accuse", "NotProved"]
