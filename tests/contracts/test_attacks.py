"""VirtualAggregator: what somebody may try, one test an attack."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from brownie import network
from helpers import FEEDER, LARGE, NONE, STAR, low, overdue, signature
from link import Reverted, receipt_of, refused, rpc
from reference.aggregator_model import Declared, Part, bitmap, keccak

CURVE_ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141


def state(community):
    """Everything that counts."""
    names = ("progress", "roster", "scalars", "head")
    return [community.view(name) for name in names] + [
        community.view(name, *arguments)
        for node in community.tree
        for name, arguments in (("running", [node]), ("commitment", [1, node]), ("declaration", [node]))
    ]


def relayed(community, sender, batch):
    """Posts what was signed; returns the nodes that were skipped."""
    now = community.model.now
    tx = community.send(sender, "relay", now.number, now.iteration, batch)
    return [event["node"] for event in tx.all("Skipped")]


# ---------------------------------------------------------------------- whose submission it is


def test_attack_accountThatIsNotEnrolled(star, outsider):
    """VA5: neither directly nor with a signature of its own."""
    with refused(f"NotEnrolled: {low(outsider)}"):
        star.send(outsider, "submit", 1, 1, 0, [0] * 4, bytes(100), 0)
    before = state(star)
    assert relayed(star, outsider, [star.sign(star.part(1), key="0x" + "77" * 32)]) == [1]
    assert state(star) == before


def test_attack_anotherHouseholdsNumber(star, outsider):
    """VA5, VA6: node 2 signs for node 1; and hands in what node 1 signed as its own."""
    part = star.part(3)
    before = state(star)
    signed_by_2 = star.sign(replace(part, node=4, bids=bytes(4)), key=star.accounts[2].private_key)
    signed_by_4 = star.sign(replace(part, node=4, bids=bytes(4)), claimed=2)
    assert relayed(star, outsider, [signed_by_2]) == [4]
    assert relayed(star, outsider, [signed_by_4]) == [2]
    assert state(star) == before


def test_attack_signatureOfNobody(star, outsider):
    """ecrecover answers zero to nonsense; no node has that account."""
    part = star.part(1)
    before = state(star)
    for r, vs in ((bytes(32), bytes(32)), (b"\xff" * 32, b"\xff" * 32), (b"\1" * 32, bytes(31) + b"\1")):
        assert relayed(star, outsider, [(1, part.words, part.bids, part.residuals, r, vs)]) == [1]
    assert state(star) == before


def test_attack_malleableSignature(star, outsider):
    """The other s of the same signature is refused, so a signature has one form."""
    part = star.part(1)
    *values, r, vs = star.sign(part)
    number = int.from_bytes(vs, "big")
    s, parity = number & (1 << 255) - 1, number >> 255
    # n - s has 256 bits as a rule, and does not fit beside the parity; where it does, it is too high.
    other = CURVE_ORDER - s
    forged = (other & (1 << 255) - 1) | (1 - parity) << 255
    before = state(star)
    assert relayed(star, outsider, [(*values, r, forged.to_bytes(32, "big"))]) == [1]
    high = (CURVE_ORDER // 2 + 1) | parity << 255
    assert high >> 256 == 0
    assert relayed(star, outsider, [(*values, r, high.to_bytes(32, "big"))]) == [1]
    assert state(star) == before
    assert relayed(star, outsider, [(*values, r, vs)]) == []


def test_attack_anyBitOfASignedPart(star, outsider):
    """VA6: what is changed on the way does not count."""
    chance = random.Random(5)
    star.iterate()
    good = star.sign(star.part(1))
    node, words, bids, residuals, r, vs = good
    flip = 1 << chance.randrange(19)
    before = state(star)
    for changed in (
        (node, (words[0] ^ flip, *words[1:]), bids, residuals, r, vs),
        (node, words, bytes((bids[0] ^ 1,)) + bids[1:], residuals, r, vs),
        (node, words, bids, residuals ^ 1, r, vs),
        (node, words, bids, residuals, bytes((r[0] ^ 1,)) + r[1:], vs),
        (node, words, bids, residuals, r, vs[:-1] + bytes((vs[-1] ^ 1,))),
        (node, words, bids, residuals, r, bytes((vs[0] ^ 0x80,)) + vs[1:]),
    ):
        assert relayed(star, outsider, [changed]) == [1]
    assert state(star) == before
    assert relayed(star, outsider, [good]) == []


# ---------------------------------------------------------------------- replay


def test_attack_replayInAnotherRound(star, outsider):
    star.iterate()
    old = star.sign(star.part(1))
    star.iterate(NONE)
    star.start()
    star.iterate()
    assert relayed(star, outsider, [old]) == [1]
    star.check()


def test_attack_replayInAnotherIteration(star, outsider):
    old = [star.sign(star.part(node)) for node in STAR]
    star.iterate()
    assert relayed(star, outsider, old) == list(STAR)
    star.check()


def test_attack_replayInAnotherHistory(star, outsider):
    """Round and iteration are the same, but the chain was taken back, and another iteration 1 came before."""
    snapshot = rpc("evm_snapshot")
    star.iterate()
    part = star.part(1)
    old = star.sign(part)
    history = int.from_bytes(star.model.now.head[-2:], "big")
    rpc("evm_revert", snapshot)
    again = star.again()
    again.random.seed(99)
    again.iterate()
    assert relayed(again, outsider, [old]) == [1]
    with pytest.raises(Reverted, match="WrongHistory"):
        again.send(again.accounts[1], "submit", 1, 2, history, part.words, part.bids, part.residuals)
    again.check()


def test_attack_replayOnAnotherChain(star, outsider):
    """A fork with another chain id, or the same address on another chain."""
    part = star.part(1)
    assert relayed(star, outsider, [star.sign(part, chain_id=star.chain_id + 1)]) == [1]
    if "anvil" not in rpc("web3_clientVersion").lower():
        return  # only there the chain id can be changed
    good = star.sign(part)
    rpc("anvil_setChainId", star.chain_id + 1)
    try:
        assert relayed(star, star.accounts[4], [good]) == [1]
        assert relayed(star, star.accounts[4], [star.sign(part, chain_id=star.chain_id + 1)]) == []
    finally:
        rpc("anvil_setChainId", star.chain_id)


def test_attack_replayOnAnotherContract(star, community, outsider):
    """Two communities of the same households: a submission is for one of them."""
    other = community(STAR)
    other.start()
    part = star.part(1)
    assert relayed(star, outsider, [star.sign(part, contract=other.aggregator)]) == [1]
    assert relayed(star, outsider, [star.sign(part)]) == []


def test_attack_signatureOfAnotherPurpose(star, outsider):
    """The submission alone, without the head, is not what is signed."""
    part = star.part(1)
    values = star.sign(part)[:4]
    for digest in (keccak(b"anything"), keccak(b"\x19\x01" + bytes(64))):
        assert relayed(star, outsider, [(*values, *signature(star.accounts[1].private_key, digest))]) == [1]


# ---------------------------------------------------------------------- against a batch


@pytest.mark.parametrize("front", [[1], [0, 3], [4, 2, 0, 1], [0, 1, 2, 3, 4]])
@pytest.mark.parametrize("way", ["its parts", "a batch of its parts", "other submissions of theirs"])
def test_attack_frontRunningABatch(star, outsider, manager, front, way):
    """Somebody posts parts of a batch before it: they count once, and the rest of the batch still does."""
    star.iterate()
    parts = {node: star.part(node) for node in STAR}
    batch = [star.sign(part) for part in parts.values()]
    if way == "a batch of its parts":
        star.relay([parts[node] for node in front], outsider)
    else:
        for node in front:
            star.submit(node, part=parts[node] if way == "its parts" else None)
    if len(front) == len(STAR):
        with refused("WrongIteration: 3, 2"):
            star.send(manager, "relay", 1, 2, batch)
    else:
        tx = star.send(manager, "relay", 1, 2, batch)
        star.model.relay(1, 2, list(parts.values()))
        assert sorted(event["node"] for event in tx.all("Skipped")) == sorted(front)
        assert "IterationClosed" in tx.names
    star.check()


@pytest.mark.parametrize("bad", range(5))
def test_attack_aBatchWithOneBadSignature(star, outsider, bad):
    """VA6: it costs its author the place, and nobody else."""
    star.iterate()
    parts = [replace(star.part(node), signed=node != bad) for node in STAR]
    star.relay(parts, outsider)
    assert star.view("progress")[4] == 4
    star.check()
    star.submit(bad)
    star.check()
    assert star.view("progress")[1] == 3


def test_attack_aBatchOfNothingButBadParts(star, outsider):
    """VA6: hundreds of them, between the good ones."""
    chance = random.Random(11)
    good = {node: star.part(node) for node in STAR}
    batch = []
    for part in good.values():
        for _ in range(20):
            batch.append(
                chance.choice(
                    [
                        replace(part, signed=False),
                        replace(part, node=chance.randrange(5, 256)),
                        replace(part, words=part.words[:-1]),
                        replace(part, words=(2**256 - 1,) * len(part.words)) if part.words else replace(part, node=9),
                        replace(part, bids=part.bids + b"\0\0"),
                    ]
                )
            )
        batch.append(part)
    tx = star.relay(batch, outsider)
    assert len(tx.all("Skipped")) == 100
    assert "IterationClosed" in tx.names
    star.check()


# ---------------------------------------------------------------------- to disturb the sums


@pytest.mark.parametrize("way", ["direct", "relayed"])
def test_attack_lanesThatOverflow(feeder, outsider, way):
    """VA2: every bit above the payload of every word, one at a time; nobody's lane carries into another's."""
    node = 1
    words = feeder.view("copiesLength", node)
    voltage_words = {4, 5}
    before = state(feeder)
    for word in range(words):
        payload = 16 if word in voltage_words else 20
        for bit in [lane * 21 + bit for lane in (0, 5, 11) for bit in range(payload, 21)] + [252, 255]:
            part = replace(feeder.part(node), words=tuple((1 << bit) * (at == word) for at in range(words)))
            if way == "direct":
                with refused(f"LaneOverflow: {word}, {1 << bit}"):
                    feeder.link.attempt(feeder.accounts[node], "submit", 1, 1, 0, part.words, part.bids, part.residuals)
            elif bit % 3 == 0:
                assert relayed(feeder, outsider, [feeder.sign(part)]) == [node]
    assert state(feeder) == before


def test_attack_blocksOfOthers(star):
    """A household's copies go to its own line only: longer submissions are refused."""
    for length in (0, 3, 5, 8, 64, 1000):
        with refused(f"LengthMismatch: 4, {length}"):
            star.submit(1, words=(1,) * length)


def test_attack_listingOthersChildren(community):
    """A household lists the operator's children, to get into their blocks: they stay the operator's."""
    made = community(STAR)
    made.open()
    for node in STAR:
        made.declare(node, **({"children": (1, 2, 4)} if node == 3 else {}))
    assert made.view("declaration", 3)[4] == 0
    made.check()
    made.iterate()
    made.check()


# ---------------------------------------------------------------------- to stop the round


def test_attack_declarationsThatStall(community, outsider):
    """VA8: whatever one of them declares, or not, the others start within one deadline."""
    chance = random.Random(8)
    for _ in range(12):
        made = community(FEEDER)
        made.open()
        attacker = chance.choice([1, 2, 3, 4, 5])
        for node in chance.sample(sorted(FEEDER), len(FEEDER)):
            if node != attacker:
                made.declare(node)
            elif chance.random() < 0.7:
                parent = chance.choice([0, 1, 2, attacker])
                depth = 0 if parent == attacker else chance.choice([1, 2, 3, 255])
                children = tuple(n for n in FEEDER if depth and n != attacker and chance.random() < 0.5)
                made.declare(node, parent=parent, depth=depth, children=children)
        if made.model.now.phase == "Declaring":
            made.close(outsider)
        assert made.view("progress")[2] == 2
        below = {1: {2, 3, 4, 5}, 2: {3, 4}}.get(attacker, set())
        assert set(FEEDER) - {attacker} - below <= set(made.model.now.nodes)
        made.check()


@pytest.mark.parametrize("silent", [[1], [1, 2], [1, 2, 3, 4]])
def test_attack_silence(star, outsider, silent):
    """VA8: the round goes on without them, and converges."""
    others = [node for node in STAR if node not in silent]
    for _ in range(2):
        for node in others:
            star.submit(node, NONE)
        star.close(outsider)
        star.check()
    for _ in range(2):
        star.iterate(NONE, order=others)
    assert star.view("outcome", 1)[:3:2] == (3, bitmap(others))
    star.check()


def test_attack_silenceNowAndThen(star, outsider):
    """VA8: a node that comes back just in time is out all the same, since misses add up."""
    star.iterate()
    absences = 0
    while 4 in star.model.now.active:
        star.iterate(order=[0, 1, 2, 3])
        star.close(outsider)
        absences += 1
        if 4 in star.model.now.active:
            star.iterate()
    assert absences == star.model.max_misses
    star.check()


def test_attack_residualsThatNeverFall(star, outsider):
    """A node that claims the most there is keeps the others apart until somebody proves it; the round ends."""
    for _ in range(3):
        for node in STAR:
            star.submit(node, [(1 << 56) - 1] * 4 if node == 3 else NONE)
    assert star.view("progress")[2] == 2
    star.check()


def test_attack_managerAgainstTheRound(star, manager, outsider):
    """VA5: it takes part in nothing, and can open, enrol and expel nothing while the round runs."""
    before = state(star)
    for call in (
        ("openRound", 1),
        ("enrol", [9], [str(outsider)]),
        ("expel", [1]),
        ("submit", 1, 1, 0, [0] * 4, bytes(100), 0),
        ("declare", 1, 0, 0, 1, 0, b""),
        ("closeOverdue",),
        ("accuse", 1, 1, b""),
    ):
        with pytest.raises(Reverted):
            star.send(manager, *call)
    assert state(star) == before


def test_attack_managerWhoLeavesOutOnlyHurtsTheNextRound(community, manager, outsider):
    """VA4: between rounds it may expel whom it likes; what was agreed stays, with those who agreed."""
    made = community(STAR, mu=1)
    made.start()
    made.iterate(LARGE)
    outcome = made.view("outcome", 1)
    commitments = [made.view("commitment", 1, node) for node in STAR]
    made.send(manager, "expel", list(STAR))
    made.send(manager, "enrol", [1], [str(outsider)])
    made.send(manager, "openRound", 2)
    overdue()
    made.send(outsider, "closeOverdue")
    assert made.view("outcome", 2)[0] == 5
    assert made.view("outcome", 1) == outcome
    assert [made.view("commitment", 1, node) for node in STAR] == commitments
    assert [made.view("accountIn", 1, node) for node in STAR] == [low(made.accounts[node]) for node in STAR]


def test_attack_emptyPart(star, outsider):
    """A part that is all zeros, of a node that is a root without bids in another community."""
    tx = star.relay([Part(0, (), b"", 0), Part(3, (), b"", 0)], outsider)
    assert len(tx.all("Skipped")) == 2
    star.check()


# ---------------------------------------------------------------------- households against the others' round


def below_a_household(community):
    """A star in which node 3 lists node 4 as its child: both would rather be a tree of their own."""
    tree = {
        0: Declared(0, 0, (1, 2, 3), 0),
        1: STAR[1],
        2: STAR[2],
        3: Declared(0, 1, (4,), 0),
        4: Declared(3, 2, (), 2),
    }
    made = community(tree)
    made.start()
    return made


@pytest.mark.parametrize("gone", [(3,), (4,), (4, 3)])
def test_attack_excludedOnPurpose(community, outsider, gone):
    """VA10: whoever goes out, with whatever below it, the round goes on and converges."""
    made = below_a_household(community)
    others = [node for node in made.tree if node not in gone]
    for _ in range(made.model.max_misses):
        made.iterate(order=others)
        made.close(outsider)
    assert made.view("progress")[2] == 2
    assert made.view("roster")[1] == bitmap(others)
    for _ in range(2):
        made.iterate(NONE)
    assert made.view("outcome", 1)[0] == 3
    made.check()


# A contract that passes on what follows an address to that address, and reverts where that does.
FORWARDER = "0x6024600c60003960246000f3" + "3660209003806020600037600090600090600060006000355af160225760006000fd5b00"


@pytest.fixture(scope="module")
def forwarder(manager):
    return str(manager.transfer(data=FORWARDER, gas_limit=200_000).contract_address)


def test_attack_byAnAccountWithCode(star):
    """VA14: an account with code of its own (EIP-7702) may have been called by whoever sent the transaction."""
    star.iterate()
    method = "anvil_setCode" if network.show_active() == "development" else "evm_setAccountCode"
    rpc(method, str(star.accounts[1]), "0x00")
    assert star.submit(1).names == ["Submitted", "Forwarded"]
    star.check()


def test_attack_throughAnotherContract(star, outsider, forwarder):
    """VA14: what stands in no transaction's own calldata stands in the log, so nobody needs a trace."""
    star.iterate()
    parts = [star.part(node) for node in (1, 3, 2)]
    batch = [star.sign(part) for part in (*parts[:2], parts[0], parts[2])]
    data = star.link.data("relay", 1, 2, batch)
    call = {"from": str(outsider), "to": forwarder, "gas": hex(5_000_000), "gasPrice": hex(2 * 10**9)}
    padded = "0x" + star.link.address[2:].rjust(64, "0") + data[2:]
    receipt = receipt_of(rpc("eth_sendTransaction", {**call, "data": padded}))
    assert receipt["status"] == "0x1"
    events = [star.link._event(log) for log in receipt["logs"]]
    assert [event.name for event in events] == ["Submitted", "Forwarded"] * 2 + ["Skipped", "Submitted", "Forwarded"]
    forwarded = [event.values for event in events if event.name == "Forwarded"]
    assert forwarded == [{"round": 1, "iteration": 2, "node": part.node, "copies": part.words} for part in parts]
    star.model.relay(1, 2, [*parts[:2], parts[0], parts[2]])
    star.check()
    tx = star.submit(4)
    assert tx.names == ["Submitted"]  # what was sent directly stands in the calldata
