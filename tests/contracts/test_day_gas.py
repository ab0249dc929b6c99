"""DS9: what the largest community costs in a step, and what a household's calls cost."""

import pytest
from days import METER, TARIFF, World, series, tariff_bytes
from days import terms as terms_of
from helpers import PHASE_SECONDS
from link import Link, receipt_of, rpc
from settling import MILLIWATT, STEP_SECONDS

MOST_GAS = 2**24
NODES = range(1, 128)
STEPS = 24
DAY = 20260701
ETHER = hex(10**20)
MOST_OTHERS = 64
"""Suppliers beside the community's that can ever be admitted."""


def act(sender, link, name, *arguments):
    """A transaction of an account without a key; returns its gas."""
    call = {"from": sender, "to": link.address, "data": link.data(name, *arguments), "gas": hex(MOST_GAS)}
    receipt = receipt_of(rpc("eth_sendTransaction", call))
    assert receipt["status"] == "0x1", name
    return int(receipt["gasUsed"], 16)


@pytest.fixture(scope="module", params=[0, MOST_OTHERS], ids=["one supplier", "65 suppliers"])
def street(
    request, Referee, VirtualAggregator, Clerk, TradeSettlement, DaySettlement, Clearing, TestEuro, manager, nodes
):
    """127 households that have joined a day whose pool is by shares, of one supplier or of as many as there can be,
    with all fees; and the gas of nominating."""
    setting = (STEPS, STEP_SECONDS, MILLIWATT, 100, PHASE_SECONDS, 1)
    theta = (128, 10**9, 10**9, 1000, 1000, 1000, 1000, 50)
    aggregator = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta, setting, manager.deploy(Referee)))
    token, supplier = manager.deploy(TestEuro), nodes[7]
    settlement = manager.deploy(TradeSettlement, aggregator, token, supplier, METER.address)
    clearing = manager.deploy(Clearing, settlement, token, supplier)
    ledger = Link(manager.deploy(DaySettlement, settlement, token, supplier, METER.address, clearing))
    links = Link(aggregator), Link(token)
    homes = {node: f"0x{0xABC000 + node:040x}" for node in NODES}
    for first in range(1, 128, 20):
        few = [node for node in NODES if first <= node < first + 20]
        links[0].send(manager, "enrol", few, [homes[node] for node in few])
    others = [f"0x{0xDEF000 + k:040x}" for k in range(request.param)]
    for account in (METER.address, *homes.values(), *others, str(supplier)):
        rpc("anvil_impersonateAccount", account)
        rpc("anvil_setBalance", account, ETHER)
    for account in (*homes.values(), *others, str(supplier)):
        links[1].send(manager, "mint", account, 10**9)
        act(account, links[1], "approve", ledger.address, 10**9)
        act(account, ledger, "deposit", 10**9)
    agreed = terms_of(ledger.timestamp() + 20_000, key=2)
    shares = [0, *[7_874_015] * 126, 10**9 - 126 * 7_874_015]
    tariff = (TARIFF * 6)[:STEPS]
    act(str(supplier), ledger, "openDay", DAY, agreed.encoded(), tariff_bytes(tariff), series(shares), 10**9)
    terms = ledger.view("standing", DAY)[-1]
    fees = series([20_000] * STEPS) + (100_000).to_bytes(6, "big")
    for k, other in enumerate(others):
        act(METER.address, Link(settlement), "admitSupplier", other)
        for node in NODES[k::MOST_OTHERS]:
            act(homes[node], Link(settlement), "wishSupplier", other)
            act(other, Link(settlement), "supply", homes[node])
        act(other, ledger, "supplyDay", DAY, terms, tariff_bytes(tariff) + fees, 10**9)
    rpc("anvil_stopImpersonatingAccount", METER.address)  # whose key other tests sign with
    for home in homes.values():
        act(home, ledger, "join", DAY, ledger.view("termsFor", DAY, home), 10**9)
    nominating = [act(homes[1], ledger, "nominate", DAY, 0, series([wh] * STEPS)) for wh in (500, 600)]
    return World(Link(settlement), ledger, ledger, links[1], {}, {}, {}), agreed, nominating


def named(request, what):
    return what if "one supplier" in request.node.name else f"{what}, 65 suppliers"


def test_step_ofTheLargestCommunity(request, street, measured):
    """Each pass of the pool fills few: what is lacking grows from home to home, so there are many passes."""
    world, agreed, _ = street
    world.until(agreed.start + agreed.step_seconds + 1)
    energies = {node: -(7 * node) if node < 120 else 12_000 for node in NODES}
    outsider = f"0x{0xABC001:040x}"
    reading = act(outsider, world.ledger, "read", *world.reading(DAY, 0, energies))
    settling = act(outsider, world.ledger, "settleStep", DAY)
    assert max(reading, settling) < MOST_GAS
    if "one supplier" in request.node.name:
        measured("read a step, 127 households", reading)
    measured(named(request, "settle a step, 127 households"), settling)


def test_nominate_24Steps(request, street, measured):
    _, _, (first, again) = street
    if "one supplier" in request.node.name:
        measured("nominate 24 steps, first", first)
        measured("nominate 24 steps, again", again)
    assert max(first, again) < MOST_GAS


def test_day_ofTheLargestCommunity_ends(request, street, measured):
    """Nobody is read in the steps after the first."""
    world, agreed, _ = street
    world.until(agreed.start + STEPS * agreed.step_seconds + agreed.reading_seconds + 1)
    outsider = f"0x{0xABC001:040x}"
    while world.ledger.view("standing", DAY)[1] < STEPS:
        act(outsider, world.ledger, "settleStep", DAY)
    measured(named(request, "close a day, 127 households"), act(outsider, world.ledger, "closeDay", DAY))
