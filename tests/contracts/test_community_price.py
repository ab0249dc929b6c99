"""The manager's step of a community: invariants, attacks, and equality with a plain model and the manager in memory."""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
from halls import Hall
from link import Link, Reverted, refused
from reference.price_model import PriceModel, Refused
from settling import DEPOSIT, METER, encode_reading, encode_tariff, entry, signed

from gridpact.market.community_manager import GAP_PPM, RHO_BITS, ManagedTerms, Manager

N, STEPS, PHASE, DAY = 5, 24, 300, 20_300_101
UNIT, MU, MISSES = 500, 12, 2
FEED_IN, IMPORTS = [80_000] * STEPS, [200_000] * STEPS  # as `encode_tariff` has them
RHO, BASE = round(0.5 * 2**RHO_BITS), 2_000_000
WH = 1_000 // UNIT  # units of a Wh
TOP = 2**24
PHASES = ["None", "Declaring", "Iterating", "Converged", "Exhausted", "Abandoned"]


def packed(values, bias=0):
    """8 numbers of 32 bits a word."""
    words = [0] * -(-len(values) // 8)
    for step, value in enumerate(values):
        words[step // 8] |= (value + bias) % 2**32 << 32 * (step % 8)
    return words


def unpacked(words, steps):
    """With their sign."""
    lanes = [words[step // 8] >> 32 * (step % 8) & 0xFFFFFFFF for step in range(steps)]
    return [lane - 2**32 if lane >> 31 else lane for lane in lanes]


@dataclass
class Managed(Hall):
    """With the model beside it."""

    model: PriceModel = field(kw_only=True)

    def open(self, feed_in=None, imports=None, rho=RHO, base=BASE):
        feed_in, imports = feed_in or [80_000] * self.steps, imports or [200_000] * self.steps
        terms = rho, base, packed(feed_in), packed(imports)
        opened = self.contract.send(self.manager, "openOn", DAY + self.round, *terms)
        self.round += 1
        (said,) = opened.all("TermsSet")
        assert (said["rho"], said["base"], list(said["feedIn"]), list(said["imports"])) == terms
        self.model.open(feed_in, imports, rho, base)

    def begin(self, nodes=None, **terms):
        self.open(**terms)
        nodes = range(len(self.people)) if nodes is None else nodes
        for node in range(len(self.people)):
            self.contract.send(self.people[node], "join" if node in nodes else "abstain", self.round)
        self.model.start(set(nodes))

    @property
    def progress(self):
        return self.contract.view("progress")

    def tell(self, node, units, gain=0, iteration=None, history=None):
        now = self.progress
        iteration, history = (now[1] if iteration is None else iteration), (now[6] if history is None else history)
        words = packed(units, TOP)
        receipt = self.contract.send(self.people[node], "tell", self.round, iteration, history, words, gain)
        self.model.tell(node, iteration, units, gain)
        return receipt

    def all_tell(self, units, gain=0):
        """Everybody that is not out, units by node. Returns the last receipt."""
        for node in sorted(self.model.active):
            receipt = self.tell(node, units[node], gain)
        return receipt

    def to_weighing(self, units):
        while not self.model.weighs:
            self.all_tell(units)

    def overdue(self):
        receipt = self.close_overdue(PHASE)
        self.model.overdue()
        return receipt

    def bids(self):
        return {
            node: b"".join(entry(s, wh, self.model.price[s]) for s, wh in enumerate(self.model.energies(units)) if wh)
            for node, units in sorted(self.model.units.items())
        }

    def arguments(self, fills=None):
        fills = self.model.fills() if fills is None else fills
        asked = {node: self.model.energies(units) for node, units in self.model.units.items()}
        some = [
            b"".join(abs(fills[node][s]).to_bytes(4, "big") for s in range(self.steps) if asked[node][s])
            for node in sorted(fills)
        ]
        return self.round, list(self.bids().values()), some

    def clear(self, fills=None):
        arguments = self.arguments(fills)
        receipt = self.contract.send(self.people[0], "clear", *arguments)
        return receipt, self.model.clear()

    def traded(self, node):
        return b"".join(entry(s, wh, self.model.price[s]) for s, wh in enumerate(self.model.fills()[node]) if wh)

    def check(self):
        """CP1, CP4: phase, iteration, price and money are those of the model."""
        phase, iteration = PHASES[self.progress[2]], self.progress[1]
        assert phase == self.model.phase
        if phase == "Iterating":
            assert iteration == self.model.iteration + self.model.settled
        of_model = self.model.free, self.model.locked
        assert self.deposits() == tuple([kept[node] for node in range(len(self.people))] for kept in of_model)


def hall_of(CommunityPrice, token, manager, people, steps=STEPS, deposit=DEPOSIT, mu=MU, gap=GAP_PPM, misses=MISSES):
    made = manager.deploy(CommunityPrice, (steps, len(people), PHASE, mu, misses, UNIT, gap), token)
    model = PriceModel(UNIT, gap, mu, misses, 10**6, Counter(dict.fromkeys(range(len(people)), deposit)))
    hall = Managed(Link(made), Link(token), manager, people, steps, model=model)
    hall.enter(deposit)
    return hall


@pytest.fixture(scope="module")
def opened(module_isolation, CommunityPrice, TestEuro, manager, accounts):
    """Brownie remembers where contracts were that a test has deployed, so all halls stand before the first test."""
    token = manager.deploy(TestEuro)
    model = hall_of(CommunityPrice, token, manager, list(accounts[2 : 2 + N]))
    return model, hall_of(CommunityPrice, token, manager, list(accounts[2:6]), steps=11, gap=50_000)


@pytest.fixture
def hall(opened):
    return fresh(opened[0])


def fresh(hall):
    hall.round, model = 0, hall.model
    deposits = Counter(dict.fromkeys(range(len(hall.people)), DEPOSIT))
    hall.model = PriceModel(model.unit, model.gap, model.mu, model.max_misses, model.currency, deposits)
    return hall


def flat(value, steps=STEPS):
    return [value] * steps


# Two sell 700 Wh, three want 900 of them, at every step.
SHORT = {0: flat(500 * WH), 1: flat(200 * WH), 2: flat(-400 * WH), 3: flat(-300 * WH), 4: flat(-200 * WH)}
FIT = {**SHORT, 3: flat(-100 * WH)}


# ---------------------------------------------------------------------- prices


def test_price_movesAgainstTheMean_asTheManagerInMemory(hall):
    """CP1: by the model, and by the manager that plays in memory."""
    hall.begin()
    memory = Manager(ManagedTerms(tuple(FEED_IN), tuple(IMPORTS), UNIT, RHO, BASE))
    by = random.Random(1)
    for _ in range(4):
        units = {node: [by.randint(-400_000, 400_000) for _ in range(STEPS)] for node in range(N)}
        event = hall.all_tell(units).one("Priced")
        sums = [sum(column) for column in zip(*units.values(), strict=True)]
        memory.step(sums, N)
        assert unpacked(event["price"], STEPS) == hall.model.price == memory.price_micro
        assert [lane - N * TOP for lane in lanes(event["sums"])] == sums
        hall.check()
    assert min(hall.model.price) == 80_000 < max(hall.model.price)


def lanes(words):
    return [word >> 32 * at & 0xFFFFFFFF for word in words for at in range(8)]


def test_price_ofPricesBelowZero_isRoundedTowardsWhereItWas(hall):
    """CP1: signed lanes, and division towards zero on both sides."""
    hall.begin(feed_in=[-90_001] * STEPS, imports=[-20_000] * STEPS, rho=2**RHO_BITS)
    assert hall.model.price == [-55_001] * STEPS
    for units, price in ((4, -55_001), (-4, -55_001), (5, -55_002), (-9, -55_001), (-(2**20), -20_000)):
        event = hall.all_tell({node: flat(units if node == 0 else 0) for node in range(N)}).one("Priced")
        assert unpacked(event["price"], STEPS) == hall.model.price == [price] * STEPS


def test_settled_onlyWhereAllIsWeighed_andWithinTheGap(hall):
    """CP3: in the fifth iteration, at the price by which it was planned; to the last billionth."""
    base = 10**9
    most = GAP_PPM * base // 10**6  # nothing is left over, so it is all gains
    for over in (1, 0):
        hall.begin(base=base)
        hall.to_weighing(FIT)
        before = hall.model.price
        for node in range(N):
            receipt = hall.tell(node, FIT[node], most // N + (over if node == 2 else 0))
        assert receipt.one("Priced")["settled"] is (over == 0)
        assert hall.model.settled is (over == 0)
        hall.check()
        if over:
            while hall.model.phase == "Iterating":
                hall.overdue()
    assert hall.model.price == before
    hall.clear()
    hall.check()


def test_clear_paysTheShortSideWhole_andTheOtherInProportion(hall):
    """CP4, CP5, CP7: at the price, from what was locked."""
    hall.begin(base=10**12)
    hall.to_weighing(SHORT)
    hall.all_tell(SHORT)
    assert hall.model.settled
    hall.check()
    assert all(hall.model.locked[node] == hall.model.most(SHORT[node]) > 0 for node in (2, 3, 4))
    wrong = hall.model.fills()
    wrong[2][3], wrong[3][3] = wrong[2][3] - 1, wrong[3][3] + 1
    with pytest.raises(Reverted, match="NotInProportion"):
        hall.contract.attempt(hall.people[0], "clear", *hall.arguments(wrong))
    less = hall.model.fills()
    less[0][3], less[2][3] = less[0][3] - 1, less[2][3] + 1
    with pytest.raises(Reverted, match="NotBest"):
        hall.contract.attempt(hall.people[0], "clear", *hall.arguments(less))
    receipt, payments = hall.clear()
    event = receipt.one("Cleared")
    assert event["payments"] == tuple(payments.values())
    assert sum(payments.values()) == 0
    assert unpacked_prices(event["prices"]) == hall.model.price
    hall.check()
    assert hall.contract.view("outcome", 1)[:4] == (3, 6, 0b11111, DAY)
    for node in range(N):
        hall.contract.attempt(hall.manager, "requireTraded", 1, node, hall.traded(node))
    with pytest.raises(Reverted, match="WrongPhase"):
        hall.contract.attempt(hall.people[0], "clear", *hall.arguments())


def unpacked_prices(data):
    return [int.from_bytes(data[at : at + 4], "big", signed=True) for at in range(0, len(data), 4)]


def test_deliver_beyondWhatWasTraded(hall, TradeSettlement, accounts, manager):
    """The one settlement takes the positions, and pays the rest at the tariff."""
    supplier = accounts[8]
    made = Link(manager.deploy(TradeSettlement, hall.contract.address, hall.token.address, supplier, METER.address))
    made.send(supplier, "publishTariff", 1, encode_tariff())
    for who in (*hall.people, supplier):
        hall.token.send(manager, "mint", str(who), DEPOSIT)
        hall.token.send(who, "approve", made.address, DEPOSIT)
        made.send(who, "deposit", DEPOSIT)
    hall.begin(base=10**12)
    hall.to_weighing(SHORT)
    hall.all_tell(SHORT)
    with pytest.raises(Reverted, match="TradingGoesOn"):
        hall.contract.attempt(accounts[1], "requireTraded", 1, 0, b"")
    hall.clear()
    reading = encode_reading([600 if step == 3 else 500 for step in range(STEPS)])
    signature = signed(made.address, 1, 0, reading)
    with refused(f"0x{hall.contract.error_data('WrongTrades', 1, 0).hex()}"):
        made.attempt(accounts[1], "deliver", 1, 0, reading, encode_tariff(), [(255, b"")], *signature)
    made.send(accounts[1], "deliver", 1, 0, reading, encode_tariff(), [(255, hall.traded(0))], *signature)
    assert made.view("netPayment", 1, 0) == 100 * 80_000 // 1_000  # what it fed in beyond 500 Wh
    assert made.view("netPayment", 1, 0) + made.view("supplierPayment", 1) == 0


# ---------------------------------------------------------------------- who is silent


def test_silent_isNotWaitedForTwice(hall):
    """CP3, CP8: an iteration without one is priced by the others and settles nothing; then it is out; they go on."""
    hall.begin(base=10**12)
    hall.to_weighing(SHORT)
    for _ in range(MISSES):
        for node in range(N - 1):
            hall.tell(node, SHORT[node])
        event = hall.overdue().one("Priced")
        assert (event["present"], event["settled"]) == (0b01111, False)
        hall.check()
    assert hall.model.active == {0, 1, 2, 3}
    with pytest.raises(Reverted, match="NotInRound: 4, 1"):
        hall.tell(4, SHORT[4])
    hall.to_weighing(SHORT)
    hall.all_tell(SHORT)
    assert hall.model.settled
    hall.clear()
    hall.check()
    hall.contract.attempt(hall.manager, "requireTraded", 1, 4, b"")
    with pytest.raises(Reverted, match="WrongTrades"):
        hall.contract.attempt(hall.manager, "requireTraded", 1, 4, entry(0, -1, 80_000))


def test_allSilent_endsTheRound(hall):
    """CP8."""
    hall.begin()
    price = hall.model.price
    for _ in range(MISSES):
        hall.overdue()
        hall.check()
    assert hall.model.phase == "Abandoned"
    assert hall.model.price == price


def test_nobodyClears_allLocksEnd(hall):
    """CP6, CP8: while a round iterates nothing is released."""
    hall.begin(base=10**12)
    hall.to_weighing(SHORT)
    hall.all_tell(SHORT)
    with pytest.raises(Reverted, match="WrongPhase"):
        hall.contract.attempt(hall.people[1], "release", str(hall.people[2]))
    hall.overdue()
    hall.check()
    assert hall.model.phase == "Exhausted"
    for node in range(N):
        hall.contract.send(hall.people[1], "release", str(hall.people[node]))
        hall.model.release(node)
    hall.check()
    assert hall.model.free == Counter(dict.fromkeys(range(N), DEPOSIT))
    hall.contract.attempt(hall.manager, "requireTraded", 1, 2, b"")


def test_neverWithinTheGap_endsAfterMu(hall):
    """CP8: a member that claims without end that it would gain ends nobody's deposit, and the round at mu."""
    hall.begin()
    for _ in range(MU):
        hall.all_tell(SHORT, gain=2**64 - 1)
        hall.check()
    assert (hall.model.phase, hall.model.iteration) == ("Exhausted", MU)


def test_abstaining_isWaitedForNowhere(hall):
    hall.begin(nodes={0, 2})
    assert hall.progress[5] == 2
    with pytest.raises(Reverted, match="NotInRound"):
        hall.tell(1, SHORT[1])


def test_silentAtTheStart_isWaitedForNowhere(hall):
    """CP8: who neither joins nor abstains in time takes no part."""
    hall.open()
    for node in (0, 2, 3):
        hall.contract.send(hall.people[node], "join", hall.round)
    hall.close_overdue(PHASE)
    hall.model.start({0, 2, 3})
    assert hall.progress[5] == 3
    hall.all_tell(SHORT)
    hall.check()


# ---------------------------------------------------------------------- attacks


def test_attack_numbersThatDoNotFit_areRefused(hall):
    """CP9: the largest that fit are summed without reaching into a neighbour's lane."""
    hall.begin()
    words = packed(SHORT[0], TOP)
    for k, word in ((0, words[0] | 1 << 25), (2, words[2] | 1 << 255), (1, 2**256 - 1)):
        spoilt = [*words[:k], word, *words[k + 1 :]]
        with refused(f"UnitsTooLarge: {k}"):
            hall.contract.attempt(hall.people[0], "tell", 1, 1, 0, spoilt, 0)
    with refused("LengthMismatch: 3, 2"):
        hall.contract.attempt(hall.people[0], "tell", 1, 1, 0, words[:2], 0)
    event = hall.all_tell({node: [TOP - 1 if s % 2 else -TOP for s in range(STEPS)] for node in range(N)})
    assert [lane - N * TOP for lane in lanes(event.one("Priced")["sums"])] == [-N * TOP, N * (TOP - 1)] * (STEPS // 2)


def test_attack_beyondTheLastStep_isRefused(opened):
    """CP9: lanes that are no step's are zero."""
    hall = fresh(opened[1])
    hall.begin()
    words = packed(flat(1, 11), TOP)
    with refused("UnitsTooLarge: 1"):
        hall.contract.attempt(hall.people[0], "tell", 1, 1, 0, [words[0], words[1] | 1 << 96], 0)


def test_attack_twice_late_forAnother_orInAnotherHistory(hall, accounts):
    """CP2."""
    hall.begin()
    hall.tell(0, SHORT[0])
    words = packed(SHORT[0], TOP)
    with refused("AlreadyTold: 1, 0"):
        hall.contract.attempt(hall.people[0], "tell", 1, 1, 0, words, 0)
    with refused("WrongIteration: 1, 2"):
        hall.contract.attempt(hall.people[1], "tell", 1, 2, 0, words, 0)
    with refused("WrongRound: 1, 2"):
        hall.contract.attempt(hall.people[1], "tell", 2, 1, 0, words, 0)
    with refused("WrongHistory: 0, 7"):
        hall.contract.attempt(hall.people[1], "tell", 1, 1, 7, words, 0)
    with pytest.raises(Reverted, match="NotEnrolled"):
        hall.contract.attempt(accounts[9], "tell", 1, 1, 0, words, 0)
    for node in range(1, N):
        hall.tell(node, SHORT[node])
    with refused("WrongIteration: 2, 1"):
        hall.contract.attempt(hall.people[1], "tell", 1, 1, 0, words, 0)
    with pytest.raises(Reverted, match="NotSettled"):
        hall.contract.attempt(hall.people[1], "clear", 1, [], [])


def test_attack_whoCannotPay_isRefusedAndHoldsNobodyUp(hall):
    """CP5, CP8: it is refused where bids count, and cannot take out what it has locked; more money lets it in."""
    hall.begin(base=10**12)
    hall.to_weighing(SHORT)
    hall.contract.send(hall.people[2], "withdraw", DEPOSIT)
    hall.model.free[2] = 0
    most = hall.model.most(SHORT[2])
    with refused(f"InsufficientDeposit: {str(hall.people[2]).lower()}, 0, {most}"):
        hall.tell(2, SHORT[2])
    hall.contract.send(hall.people[2], "deposit", most)
    hall.model.free[2] = most
    hall.tell(2, SHORT[2])
    with pytest.raises(Reverted, match="InsufficientDeposit"):
        hall.contract.attempt(hall.people[2], "withdraw", 1)
    hall.check()


def test_attack_dust_takesNobodysTurn(hall):
    """CP7: less than half a Wh is no bid; a Wh has its share, rounded."""
    hall.begin(base=10**13)
    units = {0: flat(1_000 * WH), 1: flat(1 * WH), 2: flat(-501 * WH), 3: flat(0), 4: flat(0)}
    hall.to_weighing(units)
    hall.all_tell(units)
    fills = hall.model.fills()
    assert (fills[0][0], fills[1][0], fills[2][0]) == (500, 1, -501)
    receipt, _ = hall.clear()
    assert receipt.one("Cleared")["payments"][3:] == (0, 0)
    hall.check()


def test_attack_falseEnergies_costWhoTellsThem(opened):
    """CP1: whatever others tell, and their meters read, a member that keeps to what it told pays no more than with its
    supplier alone: prices lie within the tariff."""
    hall, by = fresh(opened[1]), random.Random(8)
    honest, tariff = by.randrange(4), [(80_000, 200_000)] * 11
    for _ in range(6):
        hall.begin(base=10**15)
        units = {node: [by.randint(-3_000, 3_000) * WH for _ in range(11)] for node in range(4)}
        hall.to_weighing(units)
        hall.all_tell(units)
        assert hall.model.settled
        energies = hall.model.energies(units[honest])
        meters = {node: [by.randint(-3_000, 3_000) for _ in range(11)] for node in range(4)} | {honest: energies}
        fills, prices = hall.model.fills(), hall.model.price
        _, payments = hall.clear()
        for node in range(4):
            steps = list(zip(meters[node], fills[node], tariff, strict=True))
            beyond = sum(worth(read - sold, *ends) for read, sold, ends in steps)
            alone = sum(worth(read, *ends) for read, _, ends in steps)
            gained = 1_000 * payments[node] + beyond - alone
            assert node != honest or gained >= -1_000  # a token unit
        for s in range(11):
            assert 80_000 <= prices[s] <= 200_000
        hall.check()


def worth(wh, feed_in, imports):
    return wh * (feed_in if wh > 0 else imports)


def test_attack_terms_areTheOwnersAlone_andInOrder(hall, CommunityPrice):
    """CP1."""
    words = packed(FEED_IN), packed(IMPORTS)
    with pytest.raises(Reverted, match=r"OwnableUnauthorizedAccount|0x118cdaa7"):
        hall.contract.attempt(hall.people[0], "openOn", DAY, RHO, BASE, *words)
    crossing = packed([80_000] * 9 + [200_001] + [80_000] * 14)
    with refused("InvalidPrices: 9"):
        hall.contract.attempt(hall.manager, "openOn", DAY, RHO, BASE, crossing, words[1])
    with refused("LengthMismatch: 3, 2"):
        hall.contract.attempt(hall.manager, "openOn", DAY, RHO, BASE, words[0][:2], words[1])
    with refused("TermsNeeded: "):
        hall.contract.attempt(hall.manager, "openRound", DAY)
    hall.begin()
    with pytest.raises(Reverted, match="WrongPhase"):
        hall.contract.attempt(hall.manager, "openOn", DAY + 9, RHO, BASE, *words)
    assert hall.contract.view("terms") == (RHO, BASE, tuple(words[0]), tuple(words[1]))
    for setting, reason in (
        ((24, 5, 300, 10, 2, 0, 1), "InvalidSetting"),
        ((128, 65, 300, 10, 2, 1, 1), "TooLarge"),
        ((193, 5, 300, 10, 2, 1, 1), "InvalidTheta"),
        ((24, 5, 300, 0, 2, 1, 1), "InvalidTheta"),
    ):
        with pytest.raises(Exception, match=reason):
            hall.manager.deploy(CommunityPrice, setting, hall.token.address)


# ---------------------------------------------------------------------- by chance


def test_rounds_byChance_areThoseOfTheModel(opened):
    """CP1 to CP9: whoever tells what, whenever, whoever is silent, contract and model go on alike, and refuse alike."""
    hall, by = fresh(opened[1]), random.Random(5)
    seen, cleared = Counter(), 0
    for _ in range(12):
        scale = by.choice([3, 2_000, 2_000_000])
        low = [by.randint(-50_000, 100_000) for _ in range(11)]
        high = [one + by.choice([0, 1, 120_000]) for one in low]
        hall.begin(
            {node for node in range(4) if by.random() < 0.9}, feed_in=low, imports=high,
            rho=by.randint(0, 2**33), base=by.choice([10**9, 10**16, 10**16]),
        )  # fmt: skip
        while hall.model.phase == "Iterating":
            if hall.model.settled:
                if by.random() < 0.2:
                    hall.overdue()
                else:
                    _, payments = hall.clear()
                    assert sum(payments.values()) == 0
                    cleared += 1
            elif by.random() < 0.02:
                hall.overdue()
            else:
                node, units = by.randrange(4), [by.randint(-scale, scale) for _ in range(11)]
                iteration = hall.model.iteration + (by.random() < 0.05)
                said = attempted(hall, node, units, by.choice([0, 0, 5, 10**7]), iteration)
                seen[said] += 1
        hall.check()
        for node in range(4):
            hall.contract.send(hall.manager, "release", str(hall.people[node]))
            hall.model.release(node)
    print(f"\n  {cleared} rounds cleared; told: {dict(seen)}")
    assert cleared > 2
    assert {"", "AlreadyTold", "WrongIteration"} <= seen.keys()


def attempted(hall, node, units, gain, iteration):
    """The name of the refusal, of both; empty where both take it."""
    before = hall.progress
    words = packed(units, TOP)
    try:
        hall.contract.send(hall.people[node], "tell", hall.round, iteration, before[6], words, gain)
        said = ""
    except Reverted as error:
        said = str(error).partition(":")[0]
    try:
        hall.model.tell(node, iteration, units, gain)
        model = ""
    except Refused as error:
        model = str(error)
    assert said == model
    return said
