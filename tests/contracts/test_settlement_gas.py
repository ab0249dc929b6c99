"""What settling costs a household with eight partners who trade at all 24 steps, against figures that are committed."""

import pytest
from settling import (
    METER,
    NO_OPENING,
    START,
    STEPS,
    encode_reading,
    encode_tariff,
    entry,
    signed,
)

pytest_plugins = ["settling_fixtures"]

WHAT = (
    "state, 8 partners, lower of all pairs, first",
    "state, 8 partners, lower of all pairs, records",
    "state, 8 partners, higher of all pairs, first",
    "state, 8 partners, higher of all pairs, records",
    "deliver, 8 partners",
    "vouch, 8 partners that state nothing",
)
PARTNERS = 8


def big_market(new_market, accounts, hub):
    """The hub trades with eight others, which do not trade with each other."""
    others = [node for node in range(1, PARTNERS + 2) if node != hub]
    steps = tuple(range(STEPS))
    books = {hub: dict.fromkeys(others, steps)} | {other: {hub: steps} for other in others}
    people = {node: accounts[node - 1] for node in books}  # all but the supplier's
    bids = {
        (node, partner): tuple((1 if node < partner else -1) * (3000 + 10 * step) for step in steps)
        for node in books
        for partner in books[node]
    }
    made = new_market(books, people=people)
    return made, books, bids, others


TRADES = b"".join(entry(step, (3000 + 10 * step) // 2, 200_000 + step) for step in range(STEPS))


class Hub:
    """A settlement of its own for one market, and the statements in it."""

    def __init__(self, made, contract, hub, others):
        self.made, self.contract, self.hub, self.others = made, contract, hub, others

    def state(self, round_, node, partners):
        openings = self.made.openings if node < partners[0] else {}  # the highest node opens nothing
        said = [(partner, TRADES, openings.get((round_, partner), NO_OPENING)) for partner in partners]
        own = openings.get((round_, node), NO_OPENING)
        return self.contract.state(round_, said, own, {"from": self.made.accounts[node]})

    def by_hub(self, round_):
        return self.state(round_, self.hub, self.others)

    def by_others(self, round_):
        for other in self.others:
            self.state(round_, other, [self.hub])


@pytest.fixture(scope="module")
def spent(TradeSettlement, new_market, token, supplier, manager, accounts):
    """Gas by what was done. The hub sells where it is the lowest node of all, and buys where it is the highest."""
    gas = {}
    for number, side in ((1, "lower"), (PARTNERS + 1, "higher")):
        made, books, bids, others = big_market(new_market, accounts, number)
        contract = manager.deploy(TradeSettlement, made.aggregator, token, supplier, METER.address)
        for account in (*made.accounts.values(), supplier):
            token.mint(account, START, {"from": manager})
            token.approve(contract, START, {"from": account})
            contract.deposit(START, {"from": account})
        hub = Hub(made, contract, number, others)
        for round_ in (1, 2):
            contract.publishTariff(round_, encode_tariff(), {"from": supplier})
            made.converge(books, bids)
        gas[f"state, 8 partners, {side} of all pairs, first"] = hub.by_hub(1).gas_used
        hub.by_others(1)
        hub.by_others(2)
        tx = hub.by_hub(2)
        assert len(tx.events["TradeRecorded"]) == PARTNERS
        gas[f"state, 8 partners, {side} of all pairs, records"] = tx.gas_used
        if side == "lower":
            contract.publishTariff(3, encode_tariff(), {"from": supplier})
            made.converge(books, bids)
            hub.by_hub(3)
            manager.transfer(METER.address, "1 ether")
            said = [(other, TRADES, made.openings[3, other]) for other in others]
            sender = {"from": accounts.add(METER.key)}
            tx = contract.vouch(3, number, said, made.openings[3, number], [(supplier, encode_tariff())], sender)
            assert len(tx.events["Vouched"]) == PARTNERS
            gas["vouch, 8 partners that state nothing"] = tx.gas_used
        reading = encode_reading([5000] * STEPS)
        signature = signed(contract, 2, number, reading)
        positions = [(other, TRADES) for other in others]
        tx = contract.deliver(2, number, reading, encode_tariff(), positions, *signature, {"from": manager})
        gas["deliver, 8 partners"] = tx.gas_used
    return gas


@pytest.mark.parametrize("what", WHAT)
def test_gas(spent, measured, what):
    measured(what, spent[what])
