"""What an auction costs 64 homes with 24 steps a day: all its transactions, from opening the round to its clearing; and
the deliveries, which are those of any way to agree."""

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


def test_gas_ofADay(CallAuction, TestEuro, TradeSettlement, manager, accounts, measured):
    people = [accounts.add("0x" + f"{1_000 + node:064x}") for node in range(HOMES)]
    for who in people:
        rpc("eth_sendTransaction", {"from": str(accounts[9]), "to": str(who), "value": hex(10**18)})
    supplier = accounts[8]
    hall = hall_of(CallAuction, manager.deploy(TestEuro), manager, people, deposit=10**9)
    made = Link(manager.deploy(TradeSettlement, hall.auction.address, hall.token.address, supplier, METER.address))
    hall.token.send(manager, "mint", str(supplier), 10**12)
    for who in (*people, supplier):
        amount = 10**12 if who is supplier else 10**9
        hall.token.send(who, "approve", made.address, amount)
        made.send(who, "deposit", amount)

    spent = Counter()
    bids = day_of(random.Random(1))
    for _ in range(2):  # of the second day, where accounts and rounds are not written for the first time
        spent = Counter({"open": made.send(supplier, "publishTariff", hall.round + 1, encode_tariff()).gas_used})
        sent = rpc("eth_sendTransaction", {
            "from": str(manager), "to": hall.auction.address, "data": hall.auction.data("openRound", hall.round + 1),
        })  # fmt: skip
        spent["open"] += int(receipt_of(sent)["gasUsed"], 16)
        hall.round, hall.bids = hall.round + 1, {}
        for node in range(HOMES):
            spent["commit"] += hall.commit(node, bids[node]).gas_used
        for node in range(HOMES):
            spent["reveal"] += hall.reveal(node).gas_used
        spent["clear"] = hall.clear(sender=manager).gas_used
        for node in range(HOMES):
            reading = encode_reading([energy + 1 for energy, _ in bids[node].values()])
            arguments = (hall.round, node, reading, encode_tariff(), [(255, hall.traded(node))])
            signature = signed(made.address, hall.round, node, reading)
            spent["deliver"] += made.send(supplier, "deliver", *arguments, *signature).gas_used
    hall.money()
    for what, gas in spent.items():
        measured(f"auction of 64 homes, 24 steps: {what}, a home", gas // HOMES)
    measured("auction of 64 homes, 24 steps: clear, in one transaction", spent["clear"])
    auction = spent.total() - spent["deliver"]
    measured("auction of 64 homes, 24 steps: a day without deliveries, a home", auction // HOMES)
    assert auction <= MOST * HOMES
