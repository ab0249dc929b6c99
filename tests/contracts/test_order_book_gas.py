"""OB7: what the order book's calls cost in a book of 1,000 orders, and that it is no more than in a small one."""

import pytest
from books import desk_of
from link import receipt_of, rpc

BUY, SELL = False, True
PEOPLE = [f"person {i}" for i in range(5)]
MOST = {"place": 90_000, "fill": 140_000, "cancel": 40_000, "fill and place": 160_000, "first place": 110_000}


def stock(desk, count, prices):
    """Lets bids and asks rest, a fifth by each."""
    for i in range(count):
        sells = i % 2 == 1
        price = (130_000 if sells else 20_000) + 1_000 * (i // 2 * 37 % prices)
        sent = rpc("eth_sendTransaction", {
            "from": str(desk.people[PEOPLE[i % 5]]), "to": desk.book.address, "gas": hex(200_000),
            "gasPrice": hex(2 * 10**9), "data": desk.book.data("place", 0, sells, price, 50, 0, True),
        })  # fmt: skip
    assert receipt_of(sent)["status"] == "0x1"


def costs(desk):
    """Gas by what is done. Who trades has no position before: that is where it costs most."""

    def place(who, sells, price, energy, step=0):
        receipt = desk.book.send(desk.people[who], "place", step, sells, price, energy, 255, True)
        ids = [event["id"] for event in receipt.all("Placed")]
        return receipt.gas_used, ids[0] if ids else 0

    def cancel(who, id_):
        return desk.book.send(desk.people[who], "cancel", id_).gas_used

    found = {}
    found["place, a price where others rest"], last = place(PEOPLE[0], BUY, 20_000, 50)
    found["place, a new price"], only = place(PEOPLE[0], BUY, 10_000, 50)
    between = [place(PEOPLE[0], BUY, 15_000, 50)[1] for _ in range(4)]
    found["cancel, between others"] = cancel(PEOPLE[0], between[1])
    found["cancel, the first of a price"] = cancel(PEOPLE[0], between[0])
    found["cancel, the last of a price"] = cancel(PEOPLE[0], last)
    found["cancel, the only one of a price"] = cancel(PEOPLE[0], only)
    best = desk.book.view("best", 0, SELL)
    found["fill, an order in part"], _ = place(PEOPLE[2], BUY, 130_000, 10)
    found["fill, an order"], _ = place(PEOPLE[4], BUY, 130_000, 40)
    assert desk.book.view("order", best)[4] == 0
    place(PEOPLE[0], SELL, 128_000, 50)
    both, rests = place(PEOPLE[3], BUY, 129_000, 100)
    found["fill and place, the only order of a price, and the rest at a new one"] = both
    assert desk.book.view("order", rests)[4] == 50
    found["first place, of a side in a step"], _ = place(PEOPLE[0], BUY, 20_000, 50, step=1)
    return found


@pytest.fixture
def books(OrderBook, TestEuro, manager, accounts):
    """Makes a book in which that many orders rest."""

    def make(count, prices):
        desk = desk_of(OrderBook, manager.deploy(TestEuro), manager, accounts)
        stock(desk, count, prices)
        return desk

    return make


def test_gas_isFlat(books, measured):
    small, large = costs(books(20, 5)), costs(books(1_000, 100))
    for what, gas in large.items():
        measured(f"order book of 1,000: {what}", gas)
    for what, gas in large.items():
        assert gas <= MOST[what.partition(",")[0]]
        assert gas == pytest.approx(small[what], rel=0.002), "more than an id with another zero byte"
