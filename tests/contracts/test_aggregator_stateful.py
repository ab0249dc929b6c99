"""The whole aggregator against its model in plain Python: thousands of calls of anybody, in any order, right and wrong.

After each call every view and every event is compared. A failure names the calls before it; the same seed plays them
again.
"""

import random
from collections import Counter, deque
from dataclasses import replace
from functools import cached_property, lru_cache

import pytest
from brownie import network, web3
from brownie.network.account import LocalAccount
from eth_abi import decode
from eth_account import Account
from eth_utils import keccak
from helpers import (
    EPS,
    FEEDER,
    LARGE,
    MAX_MISSES,
    NONE,
    PHASE_SECONDS,
    STAR,
    TRADERS,
    Community,
    bitmap,
    book_of,
    low,
    pack,
    pack_residuals,
    relay_digest,
    setting,
    signature,
    theta,
)
from link import GAS, Link, _revert_data, read, receipt_of, rpc
from reference.aggregator_machine import NOBODY, AggregatorMachine
from reference.aggregator_model import LANES, PAYLOAD_BITS, Declared, Part, Refused, hash_words, submission_hash, unpack

CALLS = 220  # of one play
MU = 4
MARGIN = 60  # seconds before and after a deadline in which nobody tries to close: the clock of the chain runs on
SPARE = 127  # a node that is in no tree

# Runtime code of a referee of open rounds that finds everybody guilty against whom there is any evidence; and what
# deploys it.
#   if calldatasize == 4, a call of seals(): return(0, 32), which is false
#   if calldataload(0x84), the length of the evidence, is zero: revert(0, 0); else stop
CREDULOUS = "0x601b600c600039601b6000f3" + "3660041460155760843515600f57005b60006000fd5b60206000f3"


class Wire(Link):
    """Calls that are sent even where they are refused, and many views at once."""

    def transact(self, sender, name, *arguments):
        """Returns the error that refused the call, None where none did; its events; and the time of its block."""
        data = self.data(name, *arguments)
        call = {"from": str(sender), "to": self.address, "data": data, "gas": hex(GAS)}
        answer, nonce = web3.provider.make_batch_request(
            [("eth_call", [call, "latest"]), ("eth_getTransactionCount", [str(sender), "latest"])]
        )
        error = self.error(_revert_data(answer["error"])) if "error" in answer else None
        nonce = int(nonce["result"], 16)
        if isinstance(sender, LocalAccount):
            raw = {**call, "nonce": nonce, "gasPrice": 2 * 10**9, "chainId": web3.eth.chain_id, "gas": GAS, "value": 0}
            del raw["from"]
            signed = Account.sign_transaction(raw, sender.private_key).raw_transaction
            sent = web3.provider.make_request("eth_sendRawTransaction", ["0x" + signed.hex().removeprefix("0x")])
        else:
            sent = web3.provider.make_request("eth_sendTransaction", [{**call, "gasPrice": hex(2 * 10**9)}])
        events = ()
        if "error" in sent:  # Ganache says so at once
            assert error is not None, sent
        else:
            receipt = receipt_of(sent["result"])
            assert (receipt["status"] == "0x1") == (error is None), "the call and the transaction differ"
            assert error is None or not receipt["logs"]
            events = tuple(self._event(log) for log in receipt["logs"])
        return error, events, now()

    def look(self, calls):
        """What views return; the text of the error where they revert."""
        requests = [("eth_call", [{"to": self.address, "data": self.encoded(call)}, "latest"]) for call in calls]
        answers = web3.provider.make_batch_request(requests)
        return [
            self.error(_revert_data(answer["error"])) if "error" in answer else self.decoded(call[0], answer["result"])
            for call, answer in zip(calls, answers, strict=True)
        ]

    @cached_property
    def encoded(self):
        """Call data, by name and arguments; most calls come again and again."""
        return lru_cache(maxsize=10_000)(lambda call: self.data(*call))

    @cached_property
    def decoded(self):
        """Results, by name and answer."""

        def decoded(name, answer):
            values = decode(self.functions[name][2], bytes.fromhex(answer[2:]))
            return values if len(values) > 1 else values[0]

        return lru_cache(maxsize=10_000)(decoded)


def now():
    return int(rpc("eth_getBlockByNumber", "latest", False)["timestamp"], 16)


class Play:
    """Random calls, to the contract and to the model.

    Args:
        people: accounts by lower-case address; those of the nodes have keys.
        tree: what the nodes declare, if they tell the truth.
        homes: account of each node of the tree.
        proves: whether the referee takes any evidence.
    """

    def __init__(self, wire, machine, people, tree, homes, manager, outsider, proves, seed):
        self.wire, self.machine, self.people, self.tree, self.homes = wire, machine, people, tree, homes
        self.manager, self.outsider, self.proves = manager, outsider, proves
        self.random = random.Random(seed)
        self.met = Counter()
        self.trace = deque(maxlen=15)
        self.outcomes = {}  # of ended rounds, as they were first seen
        self.last = self.phase_order()
        self.sent = []  # arguments of accepted submissions: sender, and the rest
        self.kinds = {}  # of residuals, by round and iteration

    # ------------------------------------------------------------------ one call

    def call(self, name, sender, arguments, expected):
        """One call, to both, with the same result."""
        self.trace.append((name, sender[:6], arguments))
        machine = self.machine
        running = bool(machine.rounds) and machine.now.running
        is_stranger = sender == self.outsider and sender not in machine.accounts.values()
        error, events, machine.time = self.wire.transact(self.people[sender], name, *arguments)
        machine.log.clear()
        reason = None
        try:
            expected()
        except Refused as refused:
            reason = str(refused)
        if reason == "NotProved: " and error is not None:
            assert error.startswith("0x") or error == "Panic"  # the referee's error, or that of decoding
        else:
            assert error == reason
        if is_stranger and name not in ("relay", "closeOverdue", "accuse"):
            assert error is not None, "VA5"
        if running and name in ("enrol", "expel", "openRound", "openRoundWithin", "replaceRound"):
            assert error is not None, "VA5"
        self.compare_events(name, events)
        self.compare_views()
        self.met[f"done {name}" if error is None else f"refused {name} {error.split(':')[0][:40]}"] += 1

    def compare_events(self, name, events):
        found = []
        for event in events:
            values = [low(value) if isinstance(value, str) else value for value in event.values.values()]
            if event.name == "Skipped":
                values[-1] = self.wire.error(values[-1])
                self.met[f"skipped {values[-1].split(':')[0]}"] += 1
            if event.name == "Excluded":
                proved = values[-1]
                assert proved == (name == "accuse"), "VA9"
                self.met["excluded as proved" if proved else "excluded for misses"] += 1
            found.append((event.name, *values))
        assert found == self.machine.log  # VA2, VA6: the sums; of what was refused nothing

    def compare_views(self):
        """VA1, VA2, VA6, VA7: also after a refused call, and however a submission came in."""
        machine = self.machine
        latest = len(machine.rounds)
        nodes = [*self.tree, SPARE, 128]
        calls = [(name,) for name in ("progress", "roster", "scalars", "head", "enrolled")]
        calls += [("nodeOf", person) for person in self.people]
        calls += [(name, node) for name in ("accountOf", "declaration", "copiesLength") for node in nodes]
        for round_ in range(latest, latest + 1) if self.maybe(0.9) else range(latest + 2):
            calls.append(("outcome", round_))
            calls.append(("agreedIn", 20260700 + round_))
            calls += [("nodeIn", round_, person) for person in self.people]
            calls += [(name, round_, node) for name in ("accountIn", "commitment") for node in nodes]
        runnings = [("running", node) for node in nodes[:-1]]
        found = self.wire.look([*calls, *runnings])
        for call, value in zip(calls, found, strict=False):
            assert value == machine.view(*call), call
        progress = found[0]
        for (_, node), (iteration, present, words) in zip(runnings, found[len(calls) :], strict=True):
            assert (iteration, present, len(words)) == (progress[1], progress[7], machine.view("copiesLength", node))
            for lanes, expected in machine.running_lanes(node, words):
                assert lanes == expected, "VA2"
        order = self.phase_order()
        assert order >= self.last, "VA3"
        self.last = order
        for call, value in zip(calls, found, strict=False):
            if call[0] == "outcome" and value[0]:
                assert self.outcomes.setdefault(call[1], value) == value, "VA4"

    def phase_order(self):
        progress = self.machine.view("progress")
        return progress[0], min(progress[2], 3), progress[1]

    # ------------------------------------------------------------------ choosing

    def maybe(self, share):
        return self.random.random() < share

    def pick(self, *choices):
        return self.random.choice(choices)

    def anybody(self):
        return self.random.choice(list(self.people))

    def number(self, right, share=0.05):
        """A round or an iteration, mostly the right one."""
        return max(0, right + self.pick(-1, 1)) if self.maybe(share) else right

    @property
    def round_(self):
        return len(self.machine.rounds)

    @property
    def iteration(self):
        return self.machine.now.iteration if self.machine.rounds else 0

    def step(self):
        """One call, of those that fit the phase rather than of the others."""
        phase = self.machine.now.phase if self.machine.rounds else "None"
        weights = dict.fromkeys((self.enrol, self.expel, self.open, self.declare, self.submit), 1)
        weights |= dict.fromkeys((self.abstain, self.relay, self.accuse, self.close, self.wait), 1)
        if phase == "Declaring":
            weights |= {self.declare: 30, self.abstain: 2, self.relay: 0}
        elif phase == "Iterating" and self.round_ % 3:
            weights |= {self.submit: 40, self.relay: 8}
        elif phase == "Iterating":  # a round of which nobody takes much care
            weights |= {self.submit: 15, self.relay: 3, self.accuse: 4, self.close: 6, self.wait: 4}
        else:
            weights |= {self.mend: 8, self.open: 10, self.enrol: 3, self.expel: 3}
        (action,) = self.random.choices(list(weights), list(weights.values()))
        action()

    # ------------------------------------------------------------------ the manager

    def enrol(self):
        count = self.pick(0, 1, 1, 2)
        nodes = [self.pick(*self.tree, SPARE, 128) for _ in range(count)]
        accounts = [self.pick(*self.homes.values(), self.anybody(), NOBODY) for _ in range(count + self.maybe(0.1))]
        self.enrol_by(self.pick(*[self.manager] * 8, self.anybody()), nodes, accounts)

    def mend(self):
        """Enrols those who are missing."""
        machine = self.machine
        missing = [
            node
            for node, home in self.homes.items()
            if node not in machine.accounts and home not in machine.accounts.values()
        ][: machine.n - len(machine.accounts)]
        self.enrol_by(self.manager, missing, [self.homes[node] for node in missing])

    def enrol_by(self, sender, nodes, accounts):
        self.call("enrol", sender, (nodes, accounts), lambda: self.machine.enrol(sender, nodes, accounts))

    def expel(self):
        nodes = [self.pick(*self.tree, SPARE, *[128] * self.maybe(0.1)) for _ in range(self.pick(1, 1, 2))]
        sender = self.pick(*[self.manager] * 8, self.anybody())
        self.call("expel", sender, (nodes,), lambda: self.machine.expel(sender, nodes))

    def open(self):
        """Days are few, so that one comes again; it is replaced then, or tried to be."""
        sender, machine = self.pick(*[self.manager] * 8, self.anybody()), self.machine
        day = self.pick(0, 2**32 - 1, *range(20260701, 20260701 + 2 + self.round_))
        agreed = self.number(machine.agreed.get(day, 0))
        if self.maybe(0.4):
            percent = self.pick(1, 50, 100, 101, 400, 566, 10_000, *[0, 10_001, 65_535] * self.maybe(0.3))
            values = 0, day, agreed if self.maybe(0.9) else 0, percent
            self.call("openRoundWithin", sender, values, lambda: machine.open_within_by(sender, *values[1:]))
        elif self.maybe(0.8 if agreed else 0.1):
            self.call("replaceRound", sender, (day, agreed), lambda: machine.replace_by(sender, day, agreed))
        else:
            self.call("openRound", sender, (day,), lambda: machine.open_by(sender, day))

    # ------------------------------------------------------------------ declaring

    def unheard(self):
        """As a rule somebody who has not declared yet."""
        machine = self.machine
        waiting = [node for node in machine.enrolled if not machine.rounds or node not in machine.now.declared]
        return machine.accounts[self.pick(*waiting)] if waiting and self.maybe(0.9) else self.anybody()

    def declare(self):
        machine, sender = self.machine, self.unheard()
        node = next((node for node, account in machine.accounts.items() if account == sender), SPARE)
        said = self.truth(node)
        if self.maybe(0.08):
            said = replace(said, parent=self.pick(*self.tree, node, SPARE, 128, 255))
        if self.maybe(0.08):
            said = replace(said, depth=self.pick(0, 1, 2, 3, 255))
        if self.maybe(0.08):
            said = replace(said, children=tuple(one for one in (*self.tree, SPARE) if self.maybe(0.3)))
        round_ = self.number(self.round_)
        values = (round_, said.parent, bitmap(said.children), said.depth, said.bids, said.book)
        self.call("declare", sender, values, lambda: machine.declare_by(sender, round_, said))

    def abstain(self):
        sender, round_ = self.unheard(), self.number(self.round_)
        self.call("abstain", sender, (round_,), lambda: self.machine.abstain_by(sender, round_))

    def truth(self, node):
        """What fits with those who are enrolled."""
        enrolled = self.machine.enrolled
        said = self.tree.get(node, Declared(node, 0, (), 3))
        children = tuple(child for child in said.children if child in enrolled)
        book = book_of(node, said.bids, self.tree, self.machine.steps)
        bids = self.pick(said.bids, said.bids, max(said.bids - 1, 0), said.bids + 1)
        book = self.pick(book, book, book, book + self.random.randbytes(3), book[:-1], self.random.randbytes(40))
        said = replace(said, children=children, bids=bids, book=book)
        return said if said.parent in enrolled else replace(said, parent=node, depth=0)

    # ------------------------------------------------------------------ submitting

    def honest(self, node):
        """A submission that fits, where the node is in the round."""
        machine = self.machine
        me = machine.now.nodes.get(node) if machine.rounds else None
        words = []
        for kind, _ in machine.now.blocks(node) if me else []:
            top = (1 << PAYLOAD_BITS[kind]) - 1
            fill = self.pick([top], [0], [0, top, 1, top - 1, self.random.randint(0, top)])
            words += pack([self.random.choice(fill) for _ in range(machine.steps)])
        bids = self.random.randbytes(2 * me.bids if me else 0)
        return Part(node, tuple(words), bids, self.residuals(node))

    def residuals(self, node):
        """Those of an iteration are far, none, just within the limits, or just beyond one of them."""
        if not self.machine.rounds or not self.machine.now.active:
            return 0
        kind = self.pick("far", "none", "within", "within", "beyond")
        kind = self.kinds.setdefault((self.round_, self.iteration), kind)
        if kind == "far":
            return pack_residuals([self.random.randrange(1 << 56) for _ in range(4)])
        if kind == "none" or node != min(self.machine.now.active):
            return 0
        grid, trade = self.machine.scalars()
        percent, counts = self.machine.now.percent, (grid, grid, trade, trade)
        limits = [(eps * percent) ** 2 * count // 10**10 for eps, count in zip(EPS, counts, strict=True)]
        if kind == "beyond":
            limits[self.random.randrange(4)] += 1
        return pack_residuals(limits)

    def spoilt(self, part):
        """With a flaw of its own, which may turn out to be none."""
        words, top = part.words, self.pick(20, 16)
        flaw = self.pick("longer", "shorter", "bids", "lane", "lane", "top", "residuals")
        if flaw == "longer":
            return replace(part, words=(*words, 0))
        if flaw == "shorter":
            return replace(part, words=words[:-1])
        if flaw == "bids":
            return replace(part, bids=self.pick(part.bids[:-1], part.bids + b"\0", part.bids + b"\0\0"))
        if flaw == "residuals":
            return replace(part, residuals=part.residuals | 1 << 64 * self.random.randrange(4) + 56)
        if not words:
            return part
        at = self.random.randrange(len(words))
        bit = 252 + self.random.randrange(4) if flaw == "top" else 21 * self.random.randrange(LANES) + top
        return replace(part, words=(*words[:at], words[at] | 1 << bit, *words[at + 1 :]))

    def submit(self):
        machine = self.machine
        active = machine.now.active if machine.rounds else set()
        missing = sorted(active - set(machine.now.open)) if active else []
        node = self.pick(*missing) if missing and self.maybe(0.85) else self.pick(*self.tree, SPARE)
        sender = machine.accounts.get(node, self.outsider)
        if self.maybe(0.05):
            sender = self.anybody()
        part = self.honest(node)
        if self.maybe(0.1):
            part = self.spoilt(part)
        history = machine.view("progress")[6] ^ (1 << self.random.randrange(16)) * self.maybe(0.05)
        values = (self.number(self.round_), self.number(self.iteration), history, part.words, part.bids, part.residuals)
        if self.sent and self.maybe(0.05):
            sender, values = self.pick(*self.sent[-20:])  # as a transaction that comes once more
        self.call("submit", sender, values, lambda: machine.submit_by(sender, *values))
        self.sent.append((sender, values))

    def relay(self):
        machine = self.machine
        active = sorted(machine.now.active) if machine.rounds else []
        nodes = self.random.sample(active, self.random.randint(0, len(active)))
        nodes += [self.pick(*self.tree, SPARE, 128, 255) for _ in range(self.pick(0, 0, 1, 2))]
        self.random.shuffle(nodes)
        parts, batch = [], []
        for node in nodes:
            part = self.honest(node)
            if self.maybe(0.3):
                part = self.spoilt(part)
            part, signed = self.sign(part)
            parts.append(part)
            batch.append(signed)
        round_, iteration = self.number(self.round_), self.number(self.iteration)
        sender = self.anybody()
        self.call("relay", sender, (round_, iteration, batch), lambda: machine.relay(round_, iteration, parts))

    def sign(self, part):
        """The part as the model takes it, and as the contract does; sometimes signed for something else."""
        machine = self.machine
        author = self.people.get(machine.accounts.get(part.node, self.outsider))
        key = getattr(author, "private_key", None)
        head = machine.view("head")[1]
        said, round_, iteration = part, self.round_, self.iteration
        flaw = self.pick("key", "head", "round", "iteration", "contract", "residuals") if self.maybe(0.15) else None
        if flaw == "key" or key is None:
            key, flaw = "0x" + "11" * 32, "key"
        elif flaw == "head":
            head = keccak(head)
        elif flaw == "round":
            round_ += 1
        elif flaw == "iteration":
            iteration += 1
        elif flaw == "residuals":
            said = replace(part, residuals=part.residuals ^ 1)
        contract = NOBODY if flaw == "contract" else self.wire.address
        h = submission_hash(round_, iteration, said.node, hash_words(said.words), keccak(said.bids), said.residuals)
        r, vs = signature(key, relay_digest(contract, web3.eth.chain_id, h, head))
        if flaw is None and self.maybe(0.1):
            r, vs, flaw = *self.twisted(r, vs), "form"
        values = (part.node, part.words, part.bids, part.residuals, r, vs)
        return replace(part, signed=flaw is None), values

    def twisted(self, r, vs):
        """Not the author's: the other parity, the other s of the curve, nothing."""
        number = int.from_bytes(vs, "big")
        order = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
        parity, s = number >> 255, number & (1 << 255) - 1
        twisted = self.pick(number ^ 1 << 255, order - s, (order - s) & (1 << 255) - 1 | (1 - parity) << 255, 0)
        return self.pick(r, bytes(32)) if twisted == 0 else r, twisted.to_bytes(32, "big")

    # ------------------------------------------------------------------ anyone, and time

    def accuse(self):
        machine = self.machine
        nodes = [*machine.now.nodes, *self.tree, SPARE, 128] if machine.rounds else [0]
        node, round_, sender = self.pick(*nodes), self.number(self.round_), self.anybody()
        evidence = self.nonsense()
        proved = self.proves and evidence != b""
        self.call("accuse", sender, (round_, node, evidence), lambda: machine.accuse(round_, node, proved))

    def nonsense(self):
        words = [self.pick(0, 1, 32, 64, 96, 2**256 - 1).to_bytes(32, "big") for _ in range(self.pick(1, 4, 20))]
        return self.pick(b"", b"", self.random.randbytes(40), b"".join(words))

    def close(self):
        machine, sender = self.machine, self.anybody()
        if machine.rounds and machine.now.running and abs(machine.deadline - now()) < MARGIN:
            return
        self.call("closeOverdue", sender, (), machine.close)

    def wait(self):
        rpc("evm_increaseTime", hex(self.pick(PHASE_SECONDS // 3, PHASE_SECONDS + 2 * MARGIN)))
        rpc("evm_mine")

    def finish(self):
        """VA8: with nobody there any more the round ends; what was declared starts first."""
        closings = 0
        while self.machine.rounds and self.machine.now.running:
            rpc("evm_increaseTime", hex(PHASE_SECONDS + 2 * MARGIN))
            rpc("evm_mine")
            self.call("closeOverdue", self.outsider, (), self.machine.close)
            closings += 1
        assert closings <= 1 + MAX_MISSES, "VA8"


# ---------------------------------------------------------------------- plays


SHAPES = {"star": (STAR, 13), "feeder": (FEEDER, 24), "traders": (TRADERS, 2)}
SEEDS = [(True, 1), (True, 2), (True, 3), (False, 4)]
PLAYS = len(SHAPES) * len(SEEDS)

# What has to happen in all plays together, or they prove little. Refusals by name, skipped parts, ends of rounds.
OF_SUBMISSIONS = {
    "NodeOutOfRange",
    "AlreadySubmitted",
    "NotInRound",
    "LengthMismatch",
    "LaneOverflow",
    "ResidualOverflow",
}
SKIPPED = {"WrongSignature", *OF_SUBMISSIONS}
REFUSED = {
    *("WrongPhase", "WrongRound", "WrongIteration", "WrongHistory", "DeadlineNotPassed", *OF_SUBMISSIONS),
    *("OwnableUnauthorizedAccount", "NodeTaken", "NobodyEnrolled"),
    *("NotEnrolled", "AlreadyDeclared", "TopologyMismatch", "TooManyBids", "DayAgreed"),
}


@pytest.fixture(scope="module")
def deployed(module_isolation, VirtualAggregator, Clerk, ReferenceAggregator, referee, manager):
    """Aggregators by shape, and whether every accusation with evidence is taken as proved; and the plain ones.

    All are deployed before the first test: later brownie would wait for transactions that it did not send itself.
    """
    credulous = manager.transfer(data=CREDULOUS, gas_limit=100_000).contract_address
    made = {}
    for shape, (tree, steps) in SHAPES.items():
        made[shape, "plain"] = manager.deploy(ReferenceAggregator, theta(len(tree), MU), setting(steps))
        for proves, judge in ((True, credulous), (False, referee)):
            clerk = manager.deploy(Clerk, theta(len(tree), MU), setting(steps), judge)
            made[shape, proves] = manager.deploy(VirtualAggregator, clerk)
    return made


@pytest.fixture(scope="module")
def met():
    """What happened in all plays."""
    return Counter()


@pytest.mark.parametrize(("proves", "seed"), SEEDS)
@pytest.mark.parametrize("shape", SHAPES)
def test_aggregator_agreesWithItsModel(deployed, met, manager, outsider, signers, shape, proves, seed):
    """VA1 to VA9.

    Args:
        proves: any evidence is taken as proof; else there is the real referee, and it takes no nonsense.
    """
    tree, steps = SHAPES[shape]
    signing = signers(7)  # one more than there are nodes in a tree
    homes = {node: low(signing[node]) for node in tree}
    people = {low(one): one for one in (*signing.values(), manager, outsider)}
    limits = {"steps": steps, "mu": MU, "eps": EPS, "max_misses": MAX_MISSES}
    machine = AggregatorMachine(low(manager), len(tree), PHASE_SECONDS, **limits)
    wire = Wire(deployed[shape, proves])
    play = Play(wire, machine, people, tree, homes, low(manager), low(outsider), proves, f"{shape} {seed}")
    calls = CALLS if network.show_active() == "development" else CALLS // 10  # Ganache is slower
    try:
        for _ in range(calls):
            play.step()
        play.finish()
    except AssertionError as error:
        raise AssertionError("\n".join(map(str, play.trace))) from error
    met.update(play.met)
    met["plays"] += 1
    met.update(f"ended {one.phase}" for one in machine.rounds)


def test_plays_metEverything(met):
    """The plays before this test were no idle ones."""
    if met["plays"] < PLAYS or network.show_active() != "development":
        pytest.skip("fewer calls")
    calls = sum(count for what, count in met.items() if what.startswith(("done", "refused")))
    print(f"\n  {calls} calls: {dict(sorted(met.items()))}")
    kinds = {what.split()[-1] for what in met if what.startswith("refused")}
    assert kinds >= REFUSED
    assert {f"skipped {why}" for why in SKIPPED} <= set(met)
    assert {f"ended {phase}" for phase in ("Converged", "Exhausted", "Abandoned")} <= set(met)
    assert {"excluded for misses", "excluded as proved"} <= set(met)
    assert calls >= 0.9 * PLAYS * CALLS  # the rest are waits


# ---------------------------------------------------------------------- packing


@pytest.mark.parametrize("shape", SHAPES)
def test_packing_equalsPlainIntegers(deployed, signers, shape):
    """VA2: the sums of an iteration, and its end, as those of a contract with a number in each slot."""
    tree, steps = SHAPES[shape]
    accounts = signers(7)
    made = Community(deployed[shape, False], tree, accounts, seed=5)
    plain = Link(deployed[shape, "plain"])
    made.enrol()
    made.start()
    plain.send(made.manager, "enrol", list(tree), [str(accounts[node]) for node in tree])
    plain.send(made.manager, "openRound")
    for node, said in tree.items():
        plain.send(accounts[node], "declare", said.parent, said.children, said.depth, said.bids)
    for residuals in (LARGE, LARGE, NONE):
        now = made.model.now
        iteration = now.iteration
        for node in made.random.sample(list(tree), len(tree)):
            part = made.part(node, residuals)
            held = now.blocks(node)
            copies = [number for numbers in numbers_of(held, part.words, steps, [1] * len(held)) for number in numbers]
            bids = [int.from_bytes(part.bids[at : at + 2], "big", signed=True) for at in range(0, len(part.bids), 2)]
            plain.send(accounts[node], "submit", iteration, copies, bids, residuals)
            tx = made.submit(node, residuals, words=part.words, bids=part.bids)
        blocks = now.all_blocks()
        counts = [len(now.holders(block)) for block in blocks]
        found = numbers_of(blocks, tx.one("IterationClosed")["sums"], steps, counts)
        kinds = {"P": 0, "Q": 1, "V": 2}
        expected = read([(plain, "sumsOf", iteration, node, kinds[kind]) for kind, node in blocks])
        assert [tuple(numbers) for numbers in found] == expected
        assert plain.view("phase") == made.view("progress")[2]
    assert made.view("progress")[2] == 3


def numbers_of(blocks, words, steps, counts):
    """The integers of each block, without the biases of so many copies."""
    width = -(-steps // LANES)
    for at, (kind, _) in enumerate(blocks):
        bias = counts[at] << PAYLOAD_BITS[kind] - 1
        yield [lane - bias for lane in unpack(words[at * width : (at + 1) * width], steps)]
