"""The order book: invariants, attacks, and equality with a plain model and with the double auction in memory."""

import random
from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from books import DEPOSIT, JOIN_SECONDS, LOWEST, STEP_SECONDS, STEPS, TICK, TOP, desk_of
from link import refused, rpc

from gridpact.market import double_auction
from gridpact.market.bids import LimitOrder
from gridpact.market.double_auction import ContinuousDoubleAuction, HurdlePrice, NearTheLimit, ZeroIntelligence
from gridpact.market.matching import Book

A, B, C, D, E = (f"person {i}" for i in range(5))
BUY, SELL = False, True
HIGHEST = LOWEST + TOP * TICK


@pytest.fixture(scope="module")
def opened(module_isolation, OrderBook, TestEuro, manager, accounts):
    return desk_of(OrderBook, manager.deploy(TestEuro), manager, accounts)


@pytest.fixture
def desk(opened):
    """A book, and five people with deposits: its model is a fresh one."""
    free = Counter(dict.fromkeys(opened.people, DEPOSIT))
    opened.model = type(opened.model)(**{
        **{name: getattr(opened.model, name) for name in ("first_gate", "step_seconds", "lowest", "tick", "top")},
        "least": opened.model.least, "currency": opened.model.currency, "free": free,
    })  # fmt: skip
    return opened


def placed(receipt):
    return receipt.one("Placed")["id"]


def energies(receipt):
    return [(event["id"], event["energy"]) for event in receipt.all("Traded")]


# ---------------------------------------------------------------------- trades


def test_place_meetsTheBestPriceFirst_andOfEqualsTheOldest(desk):
    dear = placed(desk.place(A, 3, SELL, 150_000, 100))
    old = placed(desk.place(B, 3, SELL, 120_000, 100))
    new = placed(desk.place(A, 3, SELL, 120_000, 100))
    receipt = desk.place(C, 3, BUY, 200_000, 250)
    assert energies(receipt) == [(old, 100), (new, 100), (dear, 50)]
    assert [event["payment"] for event in receipt.all("Traded")] == [12_000, 12_000, 7_500]
    assert desk.book.view("order", dear)[4] == 50
    desk.agrees()


def test_place_restsWhatIsLeft_andLocksItAtItsOwnPrice(desk):
    desk.place(A, 0, SELL, 100_000, 60)
    rests = placed(desk.place(B, 0, BUY, 130_000, 100))
    assert desk.book.view("locked", str(desk.people[B])) == 40 * 130
    assert energies(desk.place(C, 0, SELL, 100_000, 30)) == [(rests, 30)]
    desk.agrees()


def test_place_belowZero_whoSellsPays(desk):
    """Both ways round: the one that rests pays from its lock, or the one that comes from its free deposit."""
    asks = placed(desk.place(A, 0, SELL, -2_000, 1_500))
    assert desk.book.view("locked", str(desk.people[A])) == 3_000
    assert energies(desk.place(B, 0, BUY, 0, 500)) == [(asks, 500)]
    desk.cancel(A, asks)
    bids = placed(desk.place(B, 0, BUY, -1_000, 700))
    assert desk.book.view("locked", str(desk.people[B])) == 0
    assert energies(desk.place(A, 0, SELL, -2_000, 700)) == [(bids, 700)]
    assert desk.book.view("free", str(desk.people[A])) == DEPOSIT - 1_000 - 700
    desk.place(C, 0, BUY, 0, 100)
    desk.place(A, 0, SELL, 0, 100)
    desk.agrees()


def test_place_partsAreRoundedDown_andTheLockIsEnoughForAll(desk):
    """Money is conserved to the last unit where no part is a whole number of them."""
    desk.place(A, 0, BUY, 33_000, 101)
    for _ in range(8):
        desk.place(B, 0, SELL, 33_000, 11)
        desk.agrees()
    desk.place(B, 0, SELL, 33_000, 13)
    desk.agrees()
    assert desk.book.view("locked", str(desk.people[A])) == 0


def test_place_afterItsFills_returnsWhatStillMeets(desk):
    """OB4: what still meets an order is not left in the book."""
    for _ in range(3):
        desk.place(A, 0, SELL, 100_000, 10)
    receipt = desk.place(B, 0, BUY, 100_000, 50, 2)
    assert (len(receipt.all("Traded")), receipt.one("Returned")["energy"]) == (2, 30)
    receipt = desk.place(B, 0, BUY, 100_000, 50, 0)
    assert receipt.names == ["Returned"]
    assert desk.place(B, 0, BUY, 99_000, 50, 0).names == ["Placed"]
    assert desk.place(B, 0, BUY, 100_000, 50, 255, False).names == ["Traded", "Returned"]
    desk.agrees()


def test_views_ofABookWithoutOrders(desk):
    assert desk.book.view("setting") == (
        *(desk.model.first_gate, STEP_SECONDS, LOWEST, TICK, TOP, 10),
        *(STEPS, len(desk.people), JOIN_SECONDS),
    )
    assert desk.book.view("best", 7, SELL) == desk.book.view("first", 7, SELL, 0) == 0
    assert desk.book.view("order", 1) == ("0x" + 40 * "0", 0, False, 0, 0, 0, 0)
    id_ = placed(desk.place(A, 7, SELL, 5_000, 10))
    assert desk.book.view("first", 7, SELL, 5_000) == desk.book.view("best", 7, SELL) == id_


# ---------------------------------------------------------------------- refusals and attacks


@pytest.mark.parametrize("price", [LOWEST - TICK, HIGHEST + TICK, 100_500, -(2**31), 2**31 - 1])
def test_place_aPriceOutsideTheLimits_isRefused(desk, price):
    with refused(f"InvalidPrice: {LOWEST}, {TICK}, {HIGHEST}, {price}"):
        desk.book.attempt(desk.people[A], "place", 0, BUY, price, 10, 1, True)


def test_place_atTheLimits(desk):
    for price in (LOWEST, HIGHEST):
        low = desk.place(A, 0, SELL, price, 10)
        assert desk.book.view("order", placed(low))[3] == price
        desk.place(B, 0, BUY, price, 10)
    desk.agrees()


@pytest.mark.parametrize("energy", [0, 1, 9])
def test_place_dust_isRefused(desk, energy):
    with refused(f"EnergyTooSmall: 10, {energy}"):
        desk.book.attempt(desk.people[A], "place", 0, SELL, 5_000, energy, 1, True)


def test_place_negativeEnergy_cannotBeSaid(desk):
    """Its type has no sign: as 256 bits it is too large, and refused before anything is read."""
    data = desk.book.data("place", 0, SELL, 5_000, 10, 1, True)
    words = [data[10 + 64 * i : 74 + 64 * i] for i in range(6)]
    words[3] = "f" * 64
    call = {"from": str(desk.people[A]), "to": desk.book.address, "data": data[:10] + "".join(words)}
    with pytest.raises(AssertionError, match="revert"):
        rpc("eth_call", call, "latest")


def test_place_dustThatIsLeft_doesNotRest(desk):
    """OB10: who comes leaves no dust; the one that rests may be left with some, and is the first to be met then."""
    first = placed(desk.place(A, 0, SELL, 100_000, 15))
    desk.place(A, 0, SELL, 100_000, 20)
    receipt = desk.place(B, 0, BUY, 100_000, 10)
    assert energies(receipt) == [(first, 10)]
    desk.agrees()
    receipt = desk.place(B, 0, BUY, 100_000, 34)
    assert receipt.one("Returned")["energy"] == 9
    desk.agrees()


def test_place_manySmallOrders_cannotBeMetWithoutEnd(desk):
    """OB7: dust orders that fill the book cost who meets them what it says, and at most 64 fills."""
    for _ in range(70):
        desk.place(A, 0, SELL, 100_000, 10)
    assert len(desk.place(B, 0, BUY, 200_000, 1_000).all("Traded")) == 64
    assert len(desk.place(B, 0, BUY, 200_000, 1_000).all("Traded")) == 6
    desk.agrees()


def test_place_withItself_isRefused(desk):
    """OB9: as a whole, whatever it had met before; cancelled, the way is free."""
    desk.place(B, 0, SELL, 90_000, 10)
    own = placed(desk.place(A, 0, SELL, 100_000, 10))
    with refused(f"OwnOrder: {own}"):
        desk.book.attempt(desk.people[A], "place", 0, BUY, 100_000, 50, 255, True)
    assert desk.place(A, 0, BUY, 100_000, 50) is None
    desk.agrees()
    desk.cancel(A, own)
    assert desk.place(A, 0, BUY, 100_000, 50).names == ["Traded", "Placed"]
    desk.agrees()


def test_place_moreThanTheDeposit_isRefused(desk):
    """Whether it would rest or is filled; then nothing is."""
    who = str(desk.people[A])
    with refused(f"InsufficientDeposit: {who.lower()}, {DEPOSIT}, 1000100"):
        desk.book.attempt(who, "place", 0, BUY, 100_000, 10_001, 0, True)
    desk.place(B, 0, SELL, 100_000, 20_000)
    with refused(f"InsufficientDeposit: {who.lower()}, {DEPOSIT}, 1000100"):
        desk.book.attempt(who, "place", 0, BUY, 100_000, 10_001, 1, False)
    assert desk.place(A, 0, BUY, 100_000, 10_001) is None
    desk.agrees()


def test_withdraw_whatIsLocked_isRefused(desk):
    who = desk.people[A]
    desk.place(A, 0, BUY, 100_000, 5_000)
    with refused(f"InsufficientDeposit: {str(who).lower()}, 500000, 500001"):
        desk.book.attempt(who, "withdraw", 500_001)
    desk.book.send(who, "withdraw", 500_000)
    assert desk.token.view("balanceOf", str(who)) == DEPOSIT + 500_000
    desk.model.free[A] -= 500_000
    desk.agrees()


def test_deposit_beyondWhatAllTogetherMayHave_isRefused(desk, manager):
    """What is locked counts, and what others have: any of it can come to one account. The last unit fits."""
    who, most = str(desk.people[A]), 2**127 - 1
    desk.place(A, 0, BUY, 100_000, 5_000)
    desk.token.send(manager, "mint", who, 2**128)
    desk.token.send(who, "approve", desk.book.address, 2**128)
    left = most - len(desk.people) * DEPOSIT
    with refused(f"DepositsTooLarge: {most}"):
        desk.book.attempt(who, "deposit", left + 1)
    desk.book.send(who, "deposit", left)
    desk.model.free[A] += left
    desk.cancel(A, desk.book.view("best", 0, BUY))
    desk.agrees()


def test_cancel_ofAnother_isRefusedUntilTheGate(desk):
    """OB8: after it anybody ends it, and its owner has its deposit again."""
    id_ = placed(desk.place(A, 1, BUY, 100_000, 100))
    with refused(f"NotYours: {id_}, {str(desk.people[B]).lower()}"):
        desk.book.attempt(desk.people[B], "cancel", id_)
    desk.until(desk.model.gate(1))
    assert desk.cancel(B, id_)
    assert desk.book.view("free", str(desk.people[A])) == DEPOSIT
    desk.agrees()


def test_cancel_whatIsNotThere_isRefused(desk):
    """OB2: an order is out once: cancelled, filled, or never placed."""
    id_ = placed(desk.place(A, 0, BUY, 100_000, 100))
    filled = placed(desk.place(A, 0, BUY, 90_000, 100))
    desk.cancel(A, id_)
    desk.place(B, 0, SELL, 90_000, 100)
    for gone in (id_, filled, id_ + 1, 0, 2**256 - 1):
        with refused(f"NotOpen: {gone}"):
            desk.book.attempt(desk.people[A], "cancel", gone)


def test_cancel_ofAnyInAQueue_keepsTheOthersInOrder(desk):
    for out in ([0], [1], [3], [1, 2], [0, 3], [3, 2, 1, 0]):
        ids = [placed(desk.place(A, 0, SELL, 70_000, 10)) for _ in range(4)]
        for i in out:
            desk.cancel(A, ids[i])
        desk.agrees()
        left = [(id_, 10) for i, id_ in enumerate(ids) if i not in out]
        if left:
            assert energies(desk.place(B, 0, BUY, 70_000, 10 * len(left))) == left


def test_spoofing_costsNobodyItsTurn(desk):
    """A wall that is taken back before anybody meets it leaves prices, deposits and the others' turns as they were."""
    honest = placed(desk.place(A, 0, SELL, 100_000, 50))
    wall = [placed(desk.place(B, 0, SELL, 90_000, 1_000)) for _ in range(10)]
    for id_ in wall:
        desk.cancel(B, id_)
    behind = placed(desk.place(B, 0, SELL, 100_000, 50))
    assert energies(desk.place(C, 0, BUY, 150_000, 100)) == [(honest, 50), (behind, 50)]
    desk.agrees()


def test_place_afterTheGate_isRefused(desk):
    """OB5; of the next step the gate is still open."""
    rests = placed(desk.place(A, 0, SELL, 100_000, 50))
    desk.until(desk.model.gate(0))
    with refused(f"GateClosed: 0, {desk.model.first_gate}"):
        desk.book.attempt(desk.people[B], "place", 0, BUY, 100_000, 50, 255, True)
    assert desk.place(B, 0, BUY, 100_000, 50) is None
    assert desk.place(B, 1, BUY, 100_000, 50)
    assert desk.cancel(A, rests)
    desk.agrees()


@pytest.mark.parametrize(
    "setting",
    [
        (0, 0, 0, 1, 1, 1, 1, 1, 1),
        (0, 1, 0, 0, 1, 1, 1, 1, 1),
        (0, 1, 0, 1, 1, 0, 1, 1, 1),
        (0, 1, 2**31 - 2, 1, 2, 1, 1, 1, 1),
    ],
    ids=["no seconds", "no tick", "no least", "too high"],
)
def test_constructor_ofWhatCannotBe_isRefused(OrderBook, TestEuro, manager, setting):
    token = manager.deploy(TestEuro)
    with pytest.raises(Exception, match="InvalidSetting"):
        manager.deploy(OrderBook, setting, token)


# ---------------------------------------------------------------------- by chance

GAMES, CALLS = 5, 90


def test_calls_likeTheModel(desk):
    """OB1 to OB10 over random calls: few prices and people, so that much is met; gates close meanwhile."""
    met = Counter()
    fresh = Counter(desk.model.free)
    for seed in range(GAMES):
        by = random.Random(seed)
        snapshot, gone = rpc("evm_snapshot"), [0, 1]
        for called in range(CALLS):
            who = by.choice(list(desk.people))
            chance = by.random()
            if chance < 0.75:
                price = by.choice(
                    [-2_000, -1_000, 0, *range(33_000, 38_000, 1_000), 36_500 if by.random() < 0.2 else 0]
                )
                energy = by.choice([10, 11, 12, 33, 40, 101, 101, 30_000 if by.random() < 0.2 else 9 + called % 2])
                fills, rests = by.choice([0, 1, 2, 255, 255]), by.random() < 0.85
                receipt = desk.place(who, by.choice([0, 0, 0, 1]), by.random() < 0.5, price, energy, fills, rests)
            elif chance < 0.9:
                known = [order.id for order in desk.model.orders] or gone
                id_ = by.choice(known if by.random() < 0.95 else gone)
                owners = [order.owner for order in desk.model.orders if order.id == id_]
                receipt = desk.cancel(owners[0] if owners and by.random() < 0.7 else who, id_)
                gone.append(id_)
            else:
                receipt = None
                if desk.now() < desk.model.gate(0) and called > 70:
                    desk.until(desk.model.gate(0))
            met.update(receipt.names if receipt else ["refused"])
            desk.agrees()
        desk.until(desk.model.gate(2))
        for order in list(desk.model.orders):  # OB8
            desk.cancel(E, order.id)
        desk.agrees()
        assert not any(desk.book.view("locked", str(account)) for account in desk.people.values())
        rpc("evm_revert", snapshot)
        desk.model.free, desk.model.orders = Counter(fresh), []
        desk.model.positions, desk.model.given = Counter(), Counter()
    print(f"\n  {dict(met)}")
    assert min(met[name] for name in ("Traded", "Placed", "Returned", "Cancelled", "refused")) > 30


# ---------------------------------------------------------------------- and the double auction in memory


@dataclass(frozen=True)
class OnTicks:
    """A strategy that names prices of the book: the next that is no worse for who orders."""

    strategy: double_auction.Strategy

    def price(self, order: LimitOrder, book: Book, left: int, draw: np.random.Generator) -> int:
        named = self.strategy.price(order, book, left, draw) - LOWEST
        return LOWEST + TICK * (-(-named // TICK) if order.sells else named // TICK)


@pytest.mark.parametrize("strategy", [ZeroIntelligence(), NearTheLimit(), HurdlePrice()])
def test_doubleAuction_inMemory_tradesTheSame(OrderBook, TestEuro, manager, accounts, monkeypatch, strategy):
    """Every order of a session, cancelled and placed anew for ten rounds: the same trades in the same order."""
    desk = desk_of(OrderBook, manager.deploy(TestEuro), manager, accounts, least=1)
    rests, traded = {}, []

    class OnChain(double_auction.OrderBook):
        def place(self, order: LimitOrder) -> None:
            super().place(order)
            who = desk.people[f"person {order.node}"]
            receipt = desk.book.send(
                who, "place", self.step, order.sells, order.price_micro, order.energy_wh, 255, True
            )
            for event in receipt.all("Traded"):
                maker = next(i for i, account in enumerate(desk.people.values()) if account == event["maker"])
                pair = (order.node, maker) if order.sells else (maker, order.node)
                price = LOWEST + TICK * (event["id"] >> 32 & 255)
                traded.append((*pair, event["energy"] / 1000, price / 10**6))
            for event in receipt.all("Placed"):
                rests[order.node] = event["id"]

        def cancel(self, node: int) -> int:
            taken = super().cancel(node)
            id_ = rests.pop(node, 0)
            left = desk.book.view("order", id_)[4]
            if left:
                desk.book.send(desk.people[f"person {node}"], "cancel", id_)
            assert left == taken
            return taken

    monkeypatch.setattr(double_auction, "OrderBook", OnChain)
    book = Book(
        2,
        tuple(LimitOrder(node, 2, wh, limit, True) for node, wh, limit in ((0, 700, 60_000), (1, 450, 90_000))),
        tuple(
            LimitOrder(node, 2, wh, limit, False)
            for node, wh, limit in ((2, 333, 200_000), (3, 501, 170_000), (4, 1_200, 95_000))
        ),
        60_000,
        200_000,
    )
    session = ContinuousDoubleAuction(OnTicks(strategy), seed=3).session(book)
    assert session.trades
    assert traded == [(one.seller, one.buyer, one.energy_kwh, one.price_per_kwh) for one in session.trades]
