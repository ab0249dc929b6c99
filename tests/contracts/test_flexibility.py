"""Flexibility: a call by hand, each refusal, and what anybody can try. The numbers are those of IFlexibility."""

import json
import os
import random
from collections import Counter

import pytest
from days import DAY, DEPOSIT, GATE, NODES, OTHER_DAY, READING, STEP, STEPS, pairs, series
from flexibility_fixtures import PLANNED
from helpers import low
from link import Reverted, refused, rpc
from reference.day_model import Refused
from reference.vectors import VECTORS

pytest_plugins = ["day_fixtures", "flexibility_fixtures"]

DAYS, CALLS = int(os.environ.get("GRIDPACT_DAYS", "4")), 70
"""How many are played, and calls in each; `make days` plays more of them."""


def test_call_paidAsDelivered(played):
    """By hand: 1 plans to draw 1.1 kWh and is called for 2 kWh up; it feeds 0.5 kWh in, which is 1.6 of 2. 0.4
    is missing, 0.05 of which nobody minds: 1.6 * 0.20 - 0.35 * 0.30 = 0.215. Then it delivers all, and has the fee."""
    offer = played.opt_in()
    receipt = played.call(offer, 1, [2000, 500])
    assert receipt.one("Called")["reserve"] == 2500 * 200 + 2 * 1000
    played.read(1, node_1=500, node_2=-1000)
    played.read(2, node_1=-600)
    played.over()
    assert played.settle() == 215_000 + 500 * 200 + 1000
    played.check()
    assert played.link.view("free", played.who("outsider")) == DEPOSIT // 2 - 316_000


def test_call_down(played):
    """Down is drawn more: of 1 kWh asked for 0.7 come, and the fine of 0.25 kWh is taken off."""
    offer = played.opt_in()
    played.call(offer, 2, [-1000])
    played.read(2, node_1=-1800)
    played.over()
    assert played.settle() == 700 * 200 - 250 * 300
    played.check()


@pytest.mark.parametrize(("fed_in", "payment"), [(300, 1000 * 200 - 350 * 300), (900, -50_000), (-5000, -50_000)])
def test_delivery_tooMuchAndTooLittle(played, fed_in, payment):
    """FX3: over-delivery is paid up to what was called, and fined beyond the tolerance; no fine is above the bond."""
    offer = played.opt_in()
    played.call(offer, 0, [1000])
    played.read(0, node_1=fed_in)
    played.over()
    assert played.settle() == payment
    played.check()


def test_delivery_isReadOnce_forTheDayAndTheCall(played):
    """The day's settlement bills what was read, the call what was read otherwise than told: no energy counts twice.
    What a member nominates after the call moves its deviation there, and nothing here."""
    offer = played.opt_in()
    played.call(offer, 1, [1100])
    played.nominate(1, [-1100, 0, -1100, -1100])
    played.read(1, node_1=0, node_2=-1200, node_3=-1300, node_4=-1400)
    played.over()
    settled = played.world.ledger
    assert settled.view("nominated", DAY, 1, 1) == settled.view("position", DAY, 1, 1) == 0
    assert played.link.view("asked", 1, 1) == (1100, -1100)
    assert played.link.view("asked", 1, 0) == played.link.view("asked", 1, 2) == (0, 0)
    assert played.link.view("callOf", 1)[:5] == (1, DAY, 1, 1, 1)
    assert played.link.view("offer", 1)[0] == played.terms().encoded(
        {name: low(address) for name, address in played.world.addresses.items()}
    )
    assert played.settle() == 1100 * 200 + 1000


# ---------------------------------------------------------------------- attacks


def test_attack_callOutsideWhatWasAgreed(played):
    """FX5"""
    offer = played.opt_in(begins=played.day.start + STEP, until=played.day.start + 3 * STEP)
    link, aggregator, baseline = played.link, played.who("outsider"), series([-1100])
    most_up, most_down = 3000 * STEP // 3600, 2000 * STEP // 3600
    for step in (0, 3):
        with refused(f"OutsideSpan: {played.day.start + STEP}, {played.day.start + 3 * STEP}"):
            link.send(aggregator, "call", offer, DAY, step, series([100]), baseline)
    with refused(f"BeyondPower: 1, {most_up}, {most_up + 1}"):
        link.send(aggregator, "call", offer, DAY, 1, series([most_up + 1]), baseline)
    with refused(f"BeyondPower: 2, {most_down}, {most_down + 1}"):
        link.send(aggregator, "call", offer, DAY, 2, series([-most_down - 1]), baseline)
    with refused(f"NotAggregator: {offer}, {low(played.who('node 2'))}"):
        link.send(played.who("node 2"), "call", offer, DAY, 1, series([100]), baseline)
    with refused("NoSuchOffer: 9"):
        link.send(aggregator, "call", 9, DAY, 1, series([100]), baseline)
    with refused(f"NotMember: {OTHER_DAY}, {low(played.who('node 1'))}"):
        link.send(aggregator, "call", offer, OTHER_DAY, 1, series([100]), baseline)
    played.call(offer, 1, [most_up])
    with refused(f"BeyondEnergy: 6000, {most_up + 3000}"):
        link.send(aggregator, "call", offer, DAY, 2, series([3000]), baseline)


def test_attack_callAfterTheNotice(played):
    """FX5: a call comes in time for the member to nominate what it then will do."""
    offer = played.opt_in()
    last = played.day.start + STEP - GATE - 300
    played.world.until(last - 500)
    played.call(offer, 1, [100])
    played.world.until(last + STEP)
    with refused(f"CallTooLate: {last + STEP}"):
        played.link.send(played.who("outsider"), "call", offer, DAY, 2, series([100]), series([-1100]))
    never = played.opt_in(2, notice=2**32 - 1)
    with refused("CallTooLate: 0"):
        played.link.send(played.who("outsider"), "call", never, DAY, 3, series([100]), series([-1100]))


def test_attack_twiceForTheSameSteps(played):
    """FX5, replay: neither again, nor by another aggregator for another device: one meter tells of one call."""
    offer = played.opt_in()
    other = played.opt_in(device=b"car", aggregator="node 3")
    receipt = played.call(offer, 1, [500, 500])
    assert receipt.names == ["Called"]
    with refused(f"CalledAlready: {DAY}, 1, {0b110}"):
        played.call(offer, 1, [500, 500])
    with refused(f"CalledAlready: {DAY}, 1, {0b100}"):
        played.call(other, 2, [500, 500], by="node 3")
    played.call(other, 3, [500], by="node 3")


def test_attack_deviceSoldTwice(played):
    """FX5: a device is in one offer at a time, whoever it is offered to; ended, it is free for another."""
    offer = played.opt_in()
    with refused(f"DeviceOffered: {offer}"):
        played.opt_in(aggregator="node 3")
    played.link.send(played.who("node 1"), "endOffer", offer)
    played.model.end(0, "node 1", offer)
    played.opt_in(aggregator="node 3")
    played.check()


def test_attack_revokeAfterTheCall(played):
    """FX4, FX7: what was called stands, is fined, and its bond is not free before; nothing more is called."""
    offer = played.opt_in()
    played.call(offer, 1, [1000])
    played.link.send(played.who("node 1"), "endOffer", offer)
    played.model.end(played.world.now(), "node 1", offer)
    played.check()
    with refused(f"OfferOver: {offer}"):
        played.call(offer, 2, [1000])
    with refused(f"OfferOver: {offer}"):
        played.link.send(played.who("node 1"), "endOffer", offer)
    with refused(f"InsufficientDeposit: {low(played.who('node 1'))}, {DEPOSIT // 2 - 50_000}, {DEPOSIT // 2}"):
        played.link.send(played.who("node 1"), "withdraw", DEPOSIT // 2)
    played.read(1, node_1=-1100)
    played.over()
    assert played.settle() == -50_000
    played.check()
    assert played.link.view("locked", played.who("node 1")) == 0


def test_attack_withdrawUnderAnOpenCall(played):
    """FX4: what a call costs at most is not the aggregator's any more, and it calls for no more than it has."""
    offer = played.opt_in()
    played.call(offer, 1, [2000])
    aggregator, left = played.who("outsider"), DEPOSIT // 2 - 401_000
    with refused(f"InsufficientDeposit: {low(aggregator)}, {left}, {left + 1}"):
        played.link.send(aggregator, "withdraw", left + 1)
    played.link.send(aggregator, "withdraw", left)
    with refused(f"InsufficientDeposit: {low(aggregator)}, 0, {500 * 200 + 1000}"):
        played.link.send(aggregator, "call", offer, DAY, 2, series([500]), series([-1100]))
    played.read(1, node_1=900)
    played.over()
    assert played.settle() == 401_000


def test_attack_falseBaseline(played):
    """FX6: neither party says what it is: it is what the member had nominated at the call."""
    offer = played.opt_in()
    with refused("OtherBaseline: 1, -1100, -3100"):
        played.call(offer, 1, [1000], baselines=[-3100])
    played.nominate(1, [-3100] * STEPS)  # just before the call, which knew -1100
    with refused("OtherBaseline: 1, -3100, -1100"):
        played.call(offer, 1, [1000], baselines=[-1100])
    played.nominate(1, [-1100] * STEPS)
    played.call(offer, 1, [1000])
    played.nominate(1, [-3100] * STEPS)  # too late
    played.read(1, node_1=-1100)
    played.over()
    assert played.settle() == -50_000


def test_attack_falseBaseline_beforeAnyCall(played):
    """Who tells that it will draw 2 kWh more than it will is called for exactly that, and fined."""
    offer = played.opt_in()
    played.nominate(1, [-3100] * STEPS)
    played.call(offer, 1, [0])
    played.read(1, node_1=-1100)
    played.over()
    assert played.settle() == -50_000
    played.check()


def test_attack_falseBaseline_byBringingATrade(played):
    """FX6: anybody may bring what 1 sold to 2 in a round, and what meters will read does not follow from that: both are
    not called until they have nominated with it. Else an aggregator could bring it, call for 0, and have the fine.
    Others are called as before."""
    offers = [played.opt_in(node) for node in (1, 2, 3)]
    ledger, aggregator = played.world.ledger, played.who("outsider")
    ledger.send(aggregator, "bring", DAY, 1, 1, pairs(1, 1, [2]))
    for node in (1, 2):
        sold = ledger.view("position", DAY, node, 1)
        assert ledger.view("nomination", DAY, node)[1] > 0
        with refused(f"NotNominated: {DAY}, {node}"):
            arguments = (offers[node - 1], DAY, 1, series([0]), series([sold + PLANNED[node][1]]))
            played.link.send(aggregator, "call", *arguments)
        drawn = [ledger.view("position", DAY, node, step) - PLANNED[node][step] for step in range(STEPS)]
        ledger.send(played.who(f"node {node}"), "nominate", DAY, 0, series(drawn))
    for node in (1, 2, 3):
        played.call(offers[node - 1], 1, [0])


@pytest.mark.parametrize("how", ["bring", "take a spot offer", "exercise an option"])
def test_attack_baselineMovedByOthers(played, how):
    """FX6: a partner that is in league with the aggregator moves a position in the moment of the call, so that the
    meter reads otherwise than told: who has not nominated since is not called, whoever names which baseline."""
    ledger, products = played.world.ledger, played.world.products
    if how == "bring":
        ledger.send(played.who("node 2"), "bring", DAY, 1, 2, pairs(1, 2, [1]))
    elif how == "take a spot offer":
        products.send(played.who("node 1"), "postSpot", DAY, 1, True, 700, 100_000)
        products.send(played.who("node 2"), "takeSpot", 1, 700)
    else:
        until = ledger.view("gateOf", DAY, 1)
        products.send(played.who("node 1"), "writeOption", DAY, 1, 700, 100_000, 0, 10**6, until)
        products.send(played.who("node 2"), "takeOption", 1)
        products.send(played.who("node 2"), "exercise", 1, 700)
    moved = [ledger.view("position", DAY, 1, step) + PLANNED[1][step] for step in range(STEPS)]
    assert moved[1] != PLANNED[1][1]
    offer = played.opt_in(bond=1_000_000)
    for baselines in (moved, PLANNED[1]):
        with refused(f"NotNominated: {DAY}, 1"):
            played.call(offer, 1, [0], baselines=baselines[1:2])
    drawn = [ledger.view("position", DAY, 1, step) - wh for step, wh in enumerate(PLANNED[1])]
    ledger.send(played.who("node 1"), "nominate", DAY, 0, series(drawn))
    played.call(offer, 1, [500])
    played.read(1, node_1=PLANNED[1][1] + 500)
    played.over()
    assert played.settle() == 500 * 200 + 1000
    played.check()


def test_attack_bringingNothing_keepsNobodyFromBeingCalled(played):
    """FX6: only what changes a position takes its baseline away: anybody may bring no pairs, as often as he likes,
    and could keep a member from being called by that."""
    for node in NODES:
        played.world.ledger.send(played.who("outsider"), "bring", DAY, 1, node, [])
        played.call(played.opt_in(node), 1, [100])


def test_call_ofWhoHasToldNothing_refused(world, played):
    """Who is not in the day, or never nominated, has no baseline."""
    offer = played.link.send(played.who("supplier"), "optIn", played.terms().encoded(world.addresses))
    id_ = offer.one("OptedIn")["id"]
    with refused(f"NotMember: {DAY}, {low(played.who('supplier'))}"):
        played.link.send(played.who("outsider"), "call", id_, DAY, 1, series([100]), series([0]))


def test_attack_silentMetering(played):
    """FX4: nothing is settled before the day's settlement has settled, so no reading comes too late; what nobody
    read is neither paid nor fined, and the deposit comes back."""
    offer = played.opt_in()
    played.call(offer, 1, [1000, 1000])
    played.read(1, node_1=-100)
    with refused(f"StepsAwaited: {DAY}, 0"):
        played.settle()
    played.at(3, READING - 10)
    with refused(f"StepsAwaited: {DAY}, 0"):
        played.settle()
    played.over(2)
    with refused(f"StepsAwaited: {DAY}, 2"):
        played.settle()
    played.over()
    assert played.settle() == 1000 * 200 + 1000
    with refused("CallSettledAlready: 1"):
        played.settle()
    played.check()


def test_attack_dust(played):
    """Many calls of 1 Wh cost the aggregator no less than one of all of it: it pays begun units."""
    offer = played.opt_in(price=1, fee=0, notice=0)
    for step in range(STEPS):
        played.call(offer, step, [1])
    for step in range(STEPS):
        played.read(step, node_1=-1099)
    played.over()
    assert [played.settle(call) for call in range(1, STEPS + 1)] == [1] * STEPS
    played.check()


def test_attack_overflow(played):
    """The largest numbers of every kind."""
    top = 2**32 - 1
    offer = played.opt_in(up=top, down=top, energy=top, price=top, fine=top, fee=2**96 - 1, bond=DEPOSIT // 2)
    link, aggregator = played.link, played.who("outsider")
    with pytest.raises(Reverted, match="InsufficientDeposit"):
        link.send(aggregator, "call", offer, DAY, 1, series([2**31 - 1]), series([-1100]))
    with pytest.raises(Reverted, match="InsufficientDeposit"):
        link.send(aggregator, "call", offer, DAY, 1, series([-(2**31)]), series([-1100]))
    with refused(f"BeyondEnergy: {top}, {2**33 - 4}"):
        link.send(aggregator, "call", offer, DAY, 0, series([2**31 - 1] * 4), series([-1100] * 4))
    played.nominate(2, [2**31 - 1] * STEPS)
    second = played.opt_in(2, fine=top, bond=DEPOSIT // 2, up=1)
    played.call(second, 0, [1])
    played.read(0, node_2=-(2**31))
    played.over()
    assert played.settle() == -(DEPOSIT // 2)
    played.check()


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"until": 5}, "InvalidOffer: until, 5"),
        ({"begins": 4, "until": 5}, "InvalidOffer: until, 5"),
        ({"up": 0, "down": 0}, "InvalidOffer: up, 0"),
        ({"energy": 0}, "InvalidOffer: energy, 0"),
        ({"bond": DEPOSIT}, None),
    ],
)
def test_optIn_refused(played, changes, error):
    with pytest.raises(Reverted, match=error or "InsufficientDeposit"):
        played.opt_in(**changes)


def test_optIn_toNobody_refused(world, played):
    terms = played.terms().encoded({"outsider": "0x" + "00" * 20})
    with refused("InvalidOffer: aggregator, 0"):
        played.link.send(played.who("node 1"), "optIn", terms)


def test_endOffer_byOthers_onlyAfterItsSpan(played):
    offer = played.opt_in(until=played.day.start + STEP)
    with refused(f"NotOwner: {offer}, {low(played.who('node 2'))}"):
        played.link.send(played.who("node 2"), "endOffer", offer)
    with refused("NoSuchOffer: 7"):
        played.link.send(played.who("node 2"), "endOffer", 7)
    played.at(1)
    again = played.opt_in(until=played.day.start + 3 * STEP)  # its span is over, so the device is free
    for id_ in (offer, again):
        played.at(3)
        assert played.link.send(played.who("node 2"), "endOffer", id_).names == ["OfferEnded", "BondFreed"]
        played.model.end(played.world.now(), "node 2", id_)
    played.check()


@pytest.mark.parametrize(
    ("first", "energies", "baselines"),
    [(0, b"", b""), (1, series([1]), b""), (1, b"\0\0\0", b"\0\0\0"), (1, bytes(5), bytes(5)),
     (3, series([1, 1]), series([-1100] * 2)),
     (255, series([1]), series([0]))],
)  # fmt: skip
def test_call_ofNoSteps_refused(played, first, energies, baselines):
    offer = played.opt_in()
    with refused(f"InvalidCall: {STEPS}, {len(energies)}, {len(baselines)}"):
        played.link.send(played.who("outsider"), "call", offer, DAY, first, energies, baselines)


def test_settle_noSuchCall(played):
    with refused("NoSuchCall: 1"):
        played.link.send(played.who("node 1"), "settle", 1)
    with refused("NoSuchCall: 1"):
        played.link.view("asked", 1, 0)


# ---------------------------------------------------------------------- random days


def attempt(played, name, who, arguments, expected):
    """One call, to the contract and to the model, with the same outcome."""
    said = wanted = None
    try:
        played.link.attempt(played.who(who), name, *arguments)
    except Reverted as error:
        said = str(error).partition(":")[0]
    before = played.world.now()
    try:
        expected(before)
    except Refused as error:
        wanted = str(error)
    assert said == wanted, (name, who, arguments)
    if said is None:
        played.link.send(played.who(who), name, *arguments)
    return said or "done"


def step_of_play(played, by, met):
    model, day, world = played.model, played.day, played.world
    kind = by.choice(["opt in"] * 5 + ["end", "nominate", "wait"] + ["call"] * 15 + ["read"] * 9 + ["over", "settle"])
    node = by.choice(NODES)
    name, ids = f"node {node}", range(1, len(model.offers) + 2)
    if kind == "opt in":
        begins = day.start + by.choice([0, 0, 1]) * STEP
        terms = played.terms(
            device=by.choice([b"battery", b"car", b"pump"]), begins=begins, fee=by.choice([0, 7]),
            until=begins + by.choice([0, 2, 4, 4, 4]) * STEP, bond=by.choice([0, 500, 200_000, 200_000, DEPOSIT]),
            price=by.choice([0, 1, 199_999]), fine=by.choice([0, 333_333]), energy=by.choice([0, 500, *[9000] * 5]),
            up=by.choice([0, 900, 5000, 5000]), down=by.choice([0, 5000]), tolerance=by.choice([0, 100]),
            notice=by.choice([0, 0, STEP // 8, 5 * STEP]), aggregator=by.choice(["outsider"] * 4 + [name]),
        )  # fmt: skip
        done = attempt(
            played, "optIn", name, (terms.encoded(world.addresses),), lambda now: model.opt_in(now, name, terms)
        )
    elif kind == "end":
        id_, who = by.choice(ids), by.choice([name, "outsider"])
        done = attempt(played, "endOffer", who, (id_,), lambda now: model.end(now, who, id_))
    elif kind == "nominate":
        first = day.settled + 2
        if day.start + first * STEP - GATE <= world.now() + 5 or first >= STEPS:
            return
        played.nominate(node, [by.randint(-3000, 1000) for _ in range(STEPS - first)], first)
        done = "done"
    elif kind == "call":
        id_, first = by.choice(ids), by.randrange(STEPS)
        count = by.choice([0, *[1] * 8, 2, 3])
        home = day.members.get(model.offers[id_ - 1].member, 0) if id_ <= len(model.offers) else 0
        energies = [by.choice([0, 1, 300, -300, 1000, 4000]) for _ in range(count)]
        baselines = [day.planned[home, first + k] + by.choice([0] * 12 + [1]) for k in range(count)]
        who = by.choice(["outsider"] * 6 + [name])
        arguments = (id_, DAY, first, series(energies), series(baselines))
        done = attempt(
            played, "call", who, arguments, lambda now: model.call(now + 1, who, id_, first, energies, baselines)
        )
    elif kind == "read":
        step = day.settled
        if step == STEPS or world.now() < day.start + (step + 1) * STEP or (node, step) in day.readings:
            return
        read_near(played, node, step, by)
        done = "done"
    elif kind == "wait":
        eighth = STEP // 8  # gates and notices are at such times: none is near
        world.until(day.start + (world.now() - day.start) // eighth * eighth + by.randint(1, 4) * eighth + eighth // 2)
        done = "done"
    elif kind == "over":
        if day.settled == STEPS or world.now() < day.start + (day.settled + 1) * STEP:
            return
        if all((other, day.settled) in day.readings for other in NODES):
            return
        played.over(day.settled + 1)
        done = "done"
    else:
        id_ = by.randint(1, len(model.calls) + 1)
        done = attempt(played, "settle", "node 4", (id_,), lambda now: model.settle(id_))
    met[f"{kind} {done}"] += 1


def read_near(played, node, step, by):
    """What was told, as a rule with what was called for, and sometimes otherwise."""
    model, fed_in = played.model, played.day.planned[node, step]
    for made in model.calls:
        if model.offers[made.offer - 1].member == f"node {node}" and 0 <= step - made.first < len(made.energies):
            fed_in = made.baselines[step - made.first] + by.choice([0, 1, 1]) * made.energies[step - made.first]
    played.read(step, **{f"node_{node}": fed_in + by.choice([0, 0, 50, 299, -300, 5000])})


def play(played, seed, met):
    """A day of random calls; then all that was called is paid, and every lock ends."""
    by, day = random.Random(seed), played.day
    for node in NODES:
        played.opt_in(node, price=by.randint(1, 400_000), tolerance=by.choice([0, 100]))
    for _ in range(CALLS):
        step_of_play(played, by, met)
    played.check()
    for step in range(day.settled, STEPS):
        for node in NODES:
            if (node, step) not in day.readings and by.random() < 0.8:
                read_near(played, node, step, by)
        if played.day.settled == step:
            played.over(step + 1)
    played.at(STEPS + 3)
    for id_, made in enumerate(played.model.calls, start=1):
        if not made.settled:
            met["paid" if played.settle(id_) > 0 else "not paid"] += 1
    for id_, one in enumerate(played.model.offers, start=1):
        if not one.ended:
            played.link.send(played.who("outsider"), "endOffer", id_)
            played.model.end(played.world.now(), "outsider", id_)
    played.check()
    assert not any(played.model.locked.values())


def test_randomDays_asTheirModel(played):
    """FX1 to FX7, call by call against the model."""
    met = Counter()
    for seed in range(DAYS):
        snapshot = rpc("evm_snapshot")
        play(played.again(), seed, met)
        rpc("evm_revert", snapshot)
    for needed in ("call done", "paid", "not paid", "call CalledAlready", "call BeyondPower", "opt in DeviceOffered"):
        assert met[needed] > 1, (needed, dict(met))


def test_calls_areAsTheVectorSays(played):
    """FX2 to FX4: locked and paid as `tests/vectors/flexibility.json` has it."""
    told = json.loads((VECTORS / "flexibility.json").read_text())
    assert (told["steps"], told["stepSeconds"], told["deposit"]) == (STEPS, STEP, DEPOSIT // 2)
    assert {one["node"]: one["energies"] for one in told["planned"]} == {
        node: "0x" + series(planned).hex() for node, planned in PLANNED.items()
    }
    names = {
        "device": lambda name: name.encode(),
        **dict.fromkeys(("begins", "until"), lambda at: played.day.start + at),
    }
    for offer in told["offers"]:
        terms = {
            name: names.get(name, int)(value) for name, value in offer.items() if name not in ("node", "aggregator")
        }
        played.opt_in(offer["node"], **terms)
    for one in told["calls"]:
        arguments = (
            one["offer"],
            DAY,
            one["first"],
            bytes.fromhex(one["energies"][2:]),
            bytes.fromhex(one["baselines"][2:]),
        )
        receipt = played.link.send(played.who("outsider"), "call", *arguments)
        assert receipt.one("Called")["reserve"] == one["reserve"]
    for step in range(STEPS):
        of_step = {f"node_{one['node']}": one["energy"] for one in told["readings"] if one["step"] == step}
        played.read(step, **of_step)
        played.over(step + 1)
    for number, one in enumerate(told["calls"], 1):
        settled = played.link.send(played.who("node 4"), "settle", number).one("CallSettled")
        assert {name: settled[name] for name in ("payment", "delivered", "otherwise", "kept")} == {
            name: one[name] for name in ("payment", "delivered", "otherwise", "kept")
        }
    for one in told["left"]:
        account = played.who("outsider" if one["account"] == "aggregator" else one["account"])
        held = played.link.view("free", account), played.link.view("locked", account)
        assert held == (one["free"], one["locked"])


# ---------------------------------------------------------------------- gas


def test_gas(played, measured):
    """FX8; what a step of a call costs more is measured, and 192 of them stay below the limit."""
    terms = played.terms().encoded(played.world.addresses)
    measured("flexibility: opt in", played.link.send(played.who("node 1"), "optIn", terms).gas_used)
    played.model.opt_in(played.world.now(), "node 1", played.terms())
    played.opt_in(2)
    calls = played.call(1, 0, [500] * STEPS).gas_used, played.call(2, 0, [500]).gas_used
    for step in range(STEPS):
        played.read(step, **{f"node_{node}": PLANNED[node][step] + 500 for node in NODES})
    played.over()
    settles = tuple(played.link.send(played.who("node 4"), "settle", call).gas_used for call in (1, 2))
    for name, (four, one) in {"call": calls, "settle": settles}.items():
        measured(f"flexibility: {name}, {STEPS} steps", four)
        # A word of storage more is begun by every eighth step only.
        assert one + 192 * ((four - one) // (STEPS - 1) + 2 * 22_100 // 8) < 2**24
