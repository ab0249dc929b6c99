"""What is shown of a day that is settled step by step: figures that are counted by hand, and labels of rounds."""

from __future__ import annotations

from typing import Any

import pytest

from gridpact.chain.encoding import TariffFees, encode_energies, encode_tariff, encode_trades
from gridpact.chain.feed import ChainBlock, ChainEvent
from gridpact.chain.values import nodes_to_bitmap
from gridpact.live.store import Store
from gridpact.live.view import About, RoundView, rounds
from gridpact.market.admm.codec import with_key
from unit.live.sealed import add, declare, deliver

DAY, INDEX, REST = 20260701, 3, 2**31
STEPS = 4
TERMS = {"start": 1_782_864_000, "stepSeconds": 3600}
TOLD: tuple[tuple[str, dict[str, Any]], ...] = (
    ("Enrolled", {"node": 1, "account": "0x1"}),
    ("Enrolled", {"node": 5, "account": "0x5"}),
    ("day.DayOpened", {"day": 20260630, "index": 2, "terms": TERMS, "tariff": b"", "shares": b"", "lock": 9}),
    ("day.DayOpened", {"day": DAY, "index": INDEX, "terms": TERMS, "shares": b"", "lock": 9,
                       "tariff": encode_tariff([300_000] * STEPS, [80_000] * STEPS)}),
    ("day.Joined", {"day": DAY, "node": 5, "account": "0x5", "lock": 9}),
    ("day.Joined", {"day": DAY, "node": 1, "account": "0x1", "lock": 9}),
    ("RoundOpened", {"round": 7, "day": DAY, "deadline": 1}),
    ("RoundOpened", {"round": 8, "day": REST | INDEX << 8 | 2, "deadline": 1}),
    ("LimitsSet", {"round": 8, "percent": 566}),
    ("RoundOpened", {"round": 9, "day": REST | 77 << 8 | 2, "deadline": 1}),  # of a day that was never opened
    ("day.Nominated", {"day": DAY, "node": 1, "first": 0, "hash": b"", "energies": encode_energies([10, 20, 30, 40])}),
    ("day.Nominated", {"day": DAY, "node": 5, "first": 0, "hash": b"", "energies": encode_energies([-1, -2, -3, -4])}),
    ("day.StepRead", {"day": DAY, "step": 0, "nodes": nodes_to_bitmap([5]), "energies": encode_energies([7])}),
    ("day.StepRead", {"day": DAY, "step": 0, "nodes": nodes_to_bitmap([1]), "energies": encode_energies([-12])}),
    ("day.StepSettled", {"day": DAY, "step": 0, "number": 0, "customers": nodes_to_bitmap([1, 5]), "poolEnergy": 6,
                         "poolPrice": 190_000, "deviation": -2, "payments": [-1_140, 1_000, 140]}),
    ("day.Nominated", {"day": DAY, "node": 1, "first": 2, "hash": b"", "energies": encode_energies([33, 44])}),
    ("day.StepSettled", {"day": DAY, "step": 1, "number": 0, "customers": nodes_to_bitmap([1, 5]), "poolEnergy": 0,
                         "poolPrice": 0, "deviation": 5, "payments": [-500, -60, 560]}),
    ("day.Uncovered", {"day": DAY, "step": 1, "node": 5, "amount": 4}),
    ("products.SpotPosted", {"id": 1, "day": DAY, "poster": 5,
                             "spot": {"step": 2, "sells": False, "energy": 800, "price": 200_000}}),
    ("products.SpotTaken", {"id": 1, "taker": 1, "energy": 300, "payment": 60}),
    ("products.OptionWritten", {"id": 2, "day": 20260630, "writer": 1,  # of another day
                                "option": {"step": 3, "energy": 9, "strike": 9, "premium": 9}}),
    ("products.OptionTaken", {"id": 2, "buyer": 5}),
    ("products.OptionWritten", {"id": 3, "day": DAY, "writer": 1,
                                "option": {"step": 3, "energy": 500, "strike": 250_000, "premium": 40}}),
    ("products.OptionTaken", {"id": 3, "buyer": 5}),
    ("products.SpotTaken", {"id": 1, "taker": 255, "energy": 500, "payment": -100}),
    ("products.OptionEnded", {"id": 3, "unlocked": 1}),
    ("products.ForwardOffered", {"id": 4, "day": DAY, "proposer": 1,
                                 "terms": {"step": 1, "sells": True, "energy": 700, "formula": {"base": 210_000}}}),
    ("calls.Called", {"id": 1, "offer": 1, "day": 20260630, "node": 1, "first": 0, "energies": encode_energies([9]),
                      "baselines": encode_energies([9]), "reserve": 9}),  # of another day
    ("calls.Called", {"id": 2, "offer": 1, "day": DAY, "node": 1, "first": 0, "energies": encode_energies([500, -4]),
                      "baselines": encode_energies([-300, 0]), "reserve": 9}),
    ("calls.Called", {"id": 3, "offer": 2, "day": DAY, "node": 5, "first": 3, "energies": encode_energies([0]),
                      "baselines": encode_energies([8]), "reserve": 0}),
    ("calls.CallSettled", {"id": 1, "payment": 9, "delivered": 9, "otherwise": 9, "kept": 9}),
    ("calls.CallSettled", {"id": 2, "payment": -70, "delivered": 288, "otherwise": 9, "kept": 0}),
    ("day.StepSettled", {"day": 20260630, "step": 3, "number": 0, "customers": 0, "poolEnergy": 99,
                         "poolPrice": 99, "deviation": 99, "payments": [9]}),  # of another day
)  # fmt: skip


@pytest.fixture
def store() -> Store:
    made = Store(None)
    limits = dict.fromkeys(("eps_primal_grid", "eps_dual_grid", "eps_primal_trade", "eps_dual_trade"), 1)
    setting = {"steps": STEPS, "step_seconds": 3600, "power_resolution_milliwatt": 500, "voltage_resolution": 10}
    made.tell(
        {
            "theta": {"n": 6, "rho": 1, "phi": 1, **limits, "mu": 9},
            "setting": {**setting, "phase_seconds": 300, "max_misses": 2},
            "currency": {"symbol": "tEUR", "decimals": 6},
        }
    )
    for number, (name, said) in enumerate(TOLD, 1):
        made.add([], [ChainEvent(ChainBlock(number, f"0x{number}", number), 0, f"0x{number}", name, said)], {})
    return made


def view(store: Store, number: int) -> RoundView:
    about = About.of(store)
    assert about is not None
    return RoundView(store, about, number)


@pytest.mark.parametrize("number", [7, 8])
def test_day_isThatOfTheRound_alsoOfOneAboutItsRest(store: Store, number: int) -> None:
    through = view(store, number).day()["through"]
    assert through is not None
    assert through["members"] == [1, 5]
    assert through["nominated"] == {1: [10, 20, 33, 44], 5: [-1, -2, -3, -4]}
    assert through["read"] == {0: {1: -12, 5: 7}}
    assert through["settled"] == [[0, 6, 190_000, -2], [1, 0, 0, 5]]
    assert through["received"] == {1: -1_640, 5: 940}
    assert (through["uncovered"], through["closed"]) == (1, False)
    assert view(store, number).market()["import_micro"] == (300_000,) * STEPS


def test_deals_sayWhatBecameOfThem(store: Store) -> None:
    """Counted by hand; the option of another day is not among them."""
    through = view(store, 7).day()["through"]
    spot, option, forward = through["deals"]
    assert spot == {
        **{"id": 1, "kind": "spot", "step": 2, "price": 200_000, "sellers": [1, 255], "buyers": [5]},
        **{"offered_wh": 800, "taken_wh": 800, "paid": [[5, 1, 60], [5, 255, -100]], "state": "taken"},
    }
    assert (option["state"], option["taken_wh"], option["paid"]) == ("lapsed", 0, [[5, 1, 40]])
    assert (forward["sellers"], forward["buyers"], forward["taken_wh"], forward["paid"]) == ([1], [], 0, [])
    assert (forward["state"], forward["price"]) == ("offered", 210_000)


def test_calls_sayWhatWasAskedMovedAndPaid(store: Store) -> None:
    """Node 1 has fed in -12 Wh at step 0, 288 more than nominated; step 1 is not read yet, and 5 is not paid yet."""
    first, second = view(store, 7).day()["through"]["calls"]
    told = {"id": 2, "node": 1, "first": 0, "asked_wh": (500, -4), "baseline_wh": (-300, 0)}
    assert first == {**told, "moved_wh": [288, None], "payment": -70}
    assert (second["node"], second["first"], second["moved_wh"], second["payment"]) == (5, 3, [None], None)


def test_traded_isThatOfAllRoundsOfTheDay(store: Store) -> None:
    """What is sold in one round and bought back in a later one is not counted, what is paid is."""
    for number, (round_, energy, payment) in enumerate([(7, 900, 180), (8, -500, -90), (9, 77, 7)], 100):
        trades = encode_trades([(2, energy, 200_000)]).hex()
        said = {"round": round_, "lower": 1, "higher": 5, "trades": trades, "payment": payment}
        block = ChainBlock(number, f"0x{number}", number)
        store.add([], [ChainEvent(block, 0, f"0x{number}", "TradeRecorded", said)], {})
    assert view(store, 8).day()["through"]["traded"] == {1: [400, 0, 90], 5: [0, 400, -90]}


def test_sealedRounds_areSaidToBe(store: Store) -> None:
    """By the keys that all nodes declare; there are no voltages to show then. One alone with a key seals nothing."""
    declared = {"round": 7, "node": 1, "parent": 0, "children": 0, "depth": 1, "bids": 0}
    assert not view(store, 7).round()["sealed"]
    said = declared | {"book": with_key(b"", bytes(33)).hex()}
    store.add([], [ChainEvent(ChainBlock(99, "0x99", 99), 0, "0x99", "Declared", said)], {})
    assert view(store, 7).round()["sealed"]
    assert "voltage_pu" not in (view(store, 7).plan() or {})
    assert not view(store, 8).round()["sealed"]
    other = declared | {"node": 5, "book": ""}
    store.add([], [ChainEvent(ChainBlock(100, "0x100", 100), 0, "0x100", "Declared", other)], {})
    assert not view(store, 7).round()["sealed"]


def test_plan_ofASealedRound_isWhatTheMetersRead(store: Store) -> None:
    """What flows in a line is what the homes behind it gave, by hand. Home 3 is not read yet; a correction counts."""
    declare(store, 10)
    assert view(store, 10).plan() is None  # nothing is read yet
    deliver(store, 10, {1: [100, 0, 0, -50], 2: [-300, 5, 0, 0], 5: [7, 7, 7, 7]})
    plan = view(store, 10).plan()
    assert plan is not None
    assert plan["tree"] == {1: 0, 2: 1, 3: 2, 5: 0}
    assert plan["injection_kw"] == {1: [0.1, 0, 0, -0.05], 2: [-0.3, 0.005, 0, 0], 3: [None] * 4, 5: [0.007] * 4}
    assert plan["flow_kw"] == {1: [None] * 4, 2: [None] * 4, 3: [None] * 4, 5: [0.007] * 4}
    deliver(store, 10, {3: [1000, 1, 2, 3]})
    deliver(store, 10, {1: [200, 0, 0, 0]}, "Corrected")
    plan = view(store, 10).plan()
    assert plan is not None
    assert plan["flow_kw"][3] == [1.0, 0.001, 0.002, 0.003]
    assert plan["flow_kw"][2] == [0.7, 0.006, 0.002, 0.003]
    assert plan["flow_kw"][1] == [0.9, 0.006, 0.002, 0.003]
    assert not {"voltage_pu", "flow_kvar", "limits_pu"} & plan.keys()  # of what is sealed


def test_plan_ofADayInSteps_isWhatWasReadSoFar(store: Store) -> None:
    plan = view(store, 7).plan()
    assert plan is not None
    assert plan["injection_kw"] == {1: [-0.012, None, None, None], 5: [0.007, None, None, None]}


def test_prices_areOfEachHomesOwnSupplier(store: Store) -> None:
    """Home 5 is the customer of another supplier from round 7 on, home 1 was and is none since; who has published none
    counts as the community's."""
    fees = TariffFees((30_000,) * STEPS, 200_000)
    common = encode_tariff([300_000] * STEPS, [80_000] * STEPS, fees)
    green = encode_tariff([280_000] * STEPS, [70_000] * STEPS)
    told: tuple[tuple[str, dict[str, Any]], ...] = (
        ("SupplierAdmitted", {"supplier": "0xg"}),
        ("Supplied", {"account": "0x1", "supplier": "0xg", "round": 2}),
        ("Supplied", {"account": "0x5", "supplier": "0xg", "round": 7}),
        ("Supplied", {"account": "0x1", "supplier": "0xc", "round": 8}),
        ("TariffPublished", {"round": 10, "supplier": "0xc", "tariff": common}),
        ("TariffPublished", {"round": 10, "supplier": "0xg", "tariff": green}),
    )
    add(store, 10, told)
    market = view(store, 10).market()
    assert (market["import_micro"], market["feed_in_micro"]) == ((300_000,) * STEPS, (80_000,) * STEPS)
    assert (market["traded_micro"], market["peak_micro"]) == (fees.traded_micro, fees.peak_micro)
    assert market["own"] == {
        5: {
            "supplier": "0xg",
            "import_micro": (280_000,) * STEPS,
            "feed_in_micro": (70_000,) * STEPS,
            "traded_micro": (),
            "peak_micro": 0,
        }
    }
    assert view(store, 9).market()["own"] == {}


def test_limits_areThoseOfTheRound(store: Store) -> None:
    """1/1000 of a unit of 0.5 W in theta; 5.66 times that in the round that was opened so."""
    about = About.of(store)
    assert about is not None
    assert RoundView(store, about, 7).round()["limits_w"] == pytest.approx([0.0005] * 4)
    assert RoundView(store, about, 8).round()["limits_w"] == pytest.approx([0.00283] * 4)


def test_labels_sayDayAndStep(store: Store) -> None:
    assert [(one["round"], one["day"], one["first"]) for one in rounds(store)] == [
        (9, REST | 77 << 8 | 2, 0),
        (8, DAY, 2),
        (7, DAY, 0),
    ]
    assert view(store, 9).day()["through"] is None


def test_whatHappened_hasTheDay(store: Store) -> None:
    names = [line["name"] for line in view(store, 8).round()["happened"]]
    assert names[0] == "calls.CallSettled"
    assert {"RoundOpened", "day.StepSettled", "day.Nominated", "calls.Called", "products.ForwardOffered"} <= set(names)
