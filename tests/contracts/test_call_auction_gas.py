"""What an auction costs 64 homes with 24 steps a day: all its transactions, from opening the round to the deliveries.
Once where everybody reveals and is delivered by itself; once where all is opened and cleared at once, and delivered in
batches."""

import random
from collections import Counter

from link import Link, receipt_of, rpc
from settling import METER, encode_reading, encode_tariff, signed
from test_call_auction import hall_of

HOMES, STEPS = 64, 24
MOST = 250_000  # a home and day


def day_of(by):
    """Everybody orders at every step: at night nobody offers, by day two thirds do; prices are the tariff's or own."""
    return {
        node: {
            step: (
                by.randint(1, 3_000) * (1 if 6 <= step < 19 and node % 3 else -1),
                by.choice([80_000, 200_000, by.randint(80_000, 200_000)]),
            )
            for step in range(STEPS)
        }
        for node in range(HOMES)
    }


BATCH = 32  # deliveries in a transaction


def test_gas_ofADay(CallAuction, Deliveries, TestEuro, TradeSettlement, manager, accounts, measured):
    people = [accounts.add("0x" + f"{1_000 + node:064x}") for node in range(HOMES)]
    for who in people:
        rpc("eth_sendTransaction", {"from": str(accounts[9]), "to": str(who), "value": hex(10**18)})
    supplier = accounts[8]
    hall = hall_of(CallAuction, manager.deploy(TestEuro), manager, people, deposit=10**9)
    made = Link(manager.deploy(TradeSettlement, hall.contract.address, hall.token.address, supplier, METER.address))
    batches = Link(manager.deploy(Deliveries))
    hall.token.send(manager, "mint", str(supplier), 10**12)
    for who in (*people, supplier):
        amount = 10**12 if who is supplier else 10**9
        hall.token.send(who, "approve", made.address, amount)
        made.send(who, "deposit", amount)

    bids = day_of(random.Random(1))

    def begun():
        """A round, up to the last commitment."""
        spent = Counter({"open": made.send(supplier, "publishTariff", hall.round + 1, encode_tariff()).gas_used})
        sent = rpc("eth_sendTransaction", {
            "from": str(manager), "to": hall.contract.address, "data": hall.contract.data("openRound", hall.round + 1),
        })  # fmt: skip
        spent["open"] += int(receipt_of(sent)["gasUsed"], 16)
        hall.round, hall.bids = hall.round + 1, {}
        for node in range(HOMES):
            spent["commit"] += hall.commit(node, bids[node]).gas_used
        return spent

    def read(node):
        """What a meter reads, signed."""
        reading = encode_reading([energy + 1 for energy, _ in bids[node].values()])
        return reading, [(255, hall.traded(node))], *signed(made.address, hall.round, node, reading)

    # The first day is that on which accounts and rounds are written for the first time.
    begun()
    hall.clear_opened(sender=manager)
    for node in range(HOMES):
        reading, positions, r, vs = read(node)
        made.send(supplier, "deliver", hall.round, node, reading, encode_tariff(), positions, r, vs)

    alone = begun()
    for node in range(HOMES):
        alone["reveal"] += hall.reveal(node).gas_used
    alone["clear"] = hall.clear(sender=manager).gas_used
    for node in range(HOMES):
        reading, positions, r, vs = read(node)
        arguments = hall.round, node, reading, encode_tariff(), positions, r, vs
        alone["deliver"] += made.send(supplier, "deliver", *arguments).gas_used
    for what, gas in alone.items():
        measured(f"auction of 64 homes, 24 steps: {what}, a home", gas // HOMES)
    measured("auction of 64 homes, 24 steps: clear, in one transaction", alone["clear"])
    measured("auction of 64 homes, 24 steps: a day, each for itself, a home", alone.total() // HOMES)
    auction = alone.total() - alone["deliver"]
    measured("auction of 64 homes, 24 steps: a day without deliveries, a home", auction // HOMES)

    at_once = begun()
    at_once["clearOpened"] = hall.clear_opened(sender=manager).gas_used
    for first in range(0, HOMES, BATCH):
        several = [(node, *read(node)) for node in range(first, first + BATCH)]
        sent = batches.send(supplier, "deliver", made.address, hall.round, encode_tariff(), several)
        assert sent.gas_used < 16_000_000
        at_once["deliver in batches"] += sent.gas_used
    hall.money()
    assert all(made.view("delivered", hall.round, node) for node in range(HOMES))
    for what in ("clearOpened", "deliver in batches"):
        measured(f"auction of 64 homes, 24 steps: {what}, a home", at_once[what] // HOMES)
    measured("auction of 64 homes, 24 steps: clearOpened, in one transaction", at_once["clearOpened"])
    measured("auction of 64 homes, 24 steps: a day, opened at once, a home", at_once.total() // HOMES)
    assert at_once.total() <= MOST * HOMES
