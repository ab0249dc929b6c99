"""Stores that follow the community's meter within a step, on days of random errors."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.called import Called
from gridpact.community.model import Array, Household, Prices
from gridpact.devices.battery import Battery
from gridpact.study.whatif.delivery import Actual, Aim, Replanning, Terms
from gridpact.study.whatif.following import follow

PRICES = Prices(np.array([0.4, 0.4, 0.4, 0.4]), 0.5)
ADDER = 0.05


def replanning(name: str, load: Array, *devices: Battery) -> Replanning:
    """A home whose load is as told, and then as it was forecast."""
    home = Household(1, name, np.ones(4), np.zeros(4), devices)
    nothing = [dict[str, Array]() for _ in devices]
    return Replanning(home, Actual(load, np.tile(np.ones(4), (4, 1)), nothing, nothing), 1.0)


def terms(renewed_at: int | None = 1) -> Terms:
    """A kilowatt is nominated, and anew before the next step."""
    return Terms(PRICES, np.zeros(4), np.ones(4), ADDER, 1.0, renewed_at)


def drawn(homes: list[Replanning], step: int = 0) -> list[float]:
    return [-home.injection_kw(step) for home in homes]


def stepped(homes: list[Replanning], own: Terms) -> None:
    for home in homes:
        home.step(0, own)
    follow(homes, [own] * len(homes), 0)


def test_aStore_givesWhatANeighbourTakesTooMuch():
    """0.5 kW more than was nominated, in a home without a store. A battery without losses has it, and gives no
    more."""
    full = Battery(4.0, 2.0, 1.0, 1.0, 4.0)
    homes = [replanning("ann", np.array([1.5, 1, 1, 1])), replanning("bob", np.ones(4), full)]

    stepped(homes, terms())

    assert drawn(homes) == pytest.approx([1.5, 0.5], abs=1e-6)


def test_whatOneStoreCannot_theOthersDo():
    """Of 0.9 kW the first has 0.2 kW in all, the second what is left of its part and of the first's."""
    small, large = Battery(4.0, 0.2, 1.0, 1.0, 4.0), Battery(4.0, 3.0, 1.0, 1.0, 4.0)
    homes = [
        replanning("ann", np.array([1.9, 1, 1, 1])),
        replanning("bob", np.ones(4), small),
        replanning("cyd", np.ones(4), large),
    ]

    stepped(homes, terms())

    assert drawn(homes) == pytest.approx([1.9, 0.8, 0.3], abs=1e-6)


def test_whatIsWorthMoreLater_isKept():
    """What a store gives now it buys again later: at 90 % there and back that costs more than the adder."""
    lossy = Battery(4.0, 2.0, 0.9**0.5, 0.9**0.5, 4.0)
    homes = [replanning("ann", np.array([1.5, 1, 1, 1])), replanning("bob", np.ones(4), lossy)]
    later = Prices(np.array([0.4, 0.6, 0.6, 0.6]), 0.5)

    stepped(homes, Terms(later, np.zeros(4), np.ones(4), ADDER, 1.0, 1))

    assert drawn(homes) == pytest.approx([1.5, 1.0], abs=1e-6)


def test_whatGoesAwayFromTheAim_isNotDone():
    """The home would rather charge at a price of 0.1 than draw less, which it is asked for."""
    half = Battery(4.0, 2.0, 1.0, 1.0, 2.0)
    home = replanning("bob", np.ones(4), half)
    home.step(0, terms())
    before = home.injection_kw(0)

    moved = home.step_again(0, terms(), Aim(-before - 1.0, 0.01, from_above=True))

    assert moved == 0.0
    assert home.injection_kw(0) == before


@pytest.mark.parametrize("seed", range(4))
def test_theCommunity_deviatesLessAtEveryStepAndNeverTheOtherWay(seed: int):
    """And what is in each battery, added up from what its home drew, stays within it."""
    random = np.random.default_rng(seed)
    loads = random.uniform(0.2, 2.5, (5, 4))
    stores = [Battery(size, 1.0, 0.95, 0.95, size / 2) for size in random.uniform(0.5, 4.0, 3)]
    homes = [
        replanning(f"home_{k}", load, *stores[k : k + 1])  # the last two have none
        for k, load in enumerate(loads)
    ]
    stored, followed = [one.start_kwh for one in stores], 0
    for step in range(4):
        own = terms(step + 1)
        for home in homes:
            home.step(step, own)
        before = sum(drawn(homes, step)) - 5.0
        follow(homes, [own] * 5, step)
        after = sum(drawn(homes, step)) - 5.0

        assert min(0.0, before) - 1e-6 <= after <= max(0.0, before) + 1e-6
        followed += abs(after) < abs(before) - 1e-3
        for k, battery in enumerate(stores):
            charged = homes[k].injection_kw(step) + loads[k, step]  # negative: into it
            stored[k] += -0.95 * charged if charged < 0 else -charged / 0.95
            assert -1e-6 <= stored[k] <= battery.capacity_kwh + 1e-6
    assert followed


def test_whoIsCalled_delivers_whereThatIsWorthIt():
    """A home that draws 1 kW, with a full battery, is called for half a kilowatt less at step 1: worth 0.8 a kWh it is
    had from the battery, although filling that again costs 0.3 more; worth 0.01 it is not. Nor does what a neighbour
    draws too much move a home away from what it is called for."""
    full = Battery(1.0, 1.0, 1.0, 1.0, 1.0)
    asked = np.array([0, -0.5, 0, 0])
    dear, cheap = (np.array([0, of, 0, 0]) for of in (0.8, 0.01))
    dearer_later = Terms(Prices(np.array([0.1, 0.1, 0.4, 0.4]), 0.5), np.zeros(4), np.ones(4), ADDER, 1.0, 1)
    for price, kept in ((dear, 0.5), (cheap, 1.0)):
        home = replanning("bob", np.ones(4), full)
        home.call((Called(asked, price, asked, price),))
        home.step(0, dearer_later)
        home.step(1, dearer_later)
        assert -home.injection_kw(1) == pytest.approx(kept, abs=1e-6)
        follow([replanning_at(1.5), home], [dearer_later] * 2, 1)
        if price is dear:
            assert -home.injection_kw(1) == pytest.approx(kept, abs=1e-6)


def replanning_at(load_kw: float) -> Replanning:
    """A home without a store, which has decided two steps."""
    home = replanning("ann", np.array([1, load_kw, 1, 1]))
    for step in range(2):
        home.step(step, terms())
    return home
