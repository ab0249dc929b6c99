"""What node 0 publishes of a street, and the referee's power flow in Python, against OpenDSS with four wires."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from streets import KINDS, beyond, limited, street

from gridpact.community.read import read_community
from gridpact.community.street import PHASES, Connection, PhaseFeeder, PhaseLine, Transformer, by_sequence
from gridpact.errors import InputError
from gridpact.grid.four_wire import four_wire_flow
from gridpact.grid.street_limits import PublishedStreet, decoded_street
from gridpact.market.admm.assembly import Integers


def drawn(rng: np.random.Generator, feeder: PhaseFeeder, kilowatt: float, steps: int = 3) -> tuple[Integers, Integers]:
    """mW and mvar, (n, T)."""
    shape = len(feeder.connections), steps
    return tuple(np.round(rng.normal(0, size * 1e6, shape)).astype(np.int64) for size in (kilowatt, 0.3 * kilowatt))


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from(KINDS), st.sampled_from([0.5, 2.0, 4.0]))
def test_verdict_isThatOfFourWires(seed: int, kind: str, kilowatt: float) -> None:
    """A plan that keeps a limit is never outside, nor one that breaks it by less than 1e-4; one that breaks it by more
    is. OpenDSS ends at 1e-9, impedances are published in 6e-8 ohm."""
    rng = np.random.default_rng(seed)
    drawn_at_first = street(rng, buses=int(rng.integers(3, 30)), homes=int(rng.integers(2, 16)))
    active, reactive = drawn(rng, drawn_at_first, kilowatt)
    flow = four_wire_flow(drawn_at_first, active / 1e6, reactive / 1e6)
    for away in (-1e-3, 0.0, 0.95e-4, 1.05e-4, 2e-4, 1e-2):
        if (feeder := limited(drawn_at_first, flow, 1, kind, away)) is None:
            continue
        published = PublishedStreet.of(feeder)
        assert decoded_street(published.encoded()) == published
        outside = published.outside_at(feeder.nodes, active, reactive)
        assert outside[1] == (away > 1e-4)
        excess = beyond(feeder, four_wire_flow(feeder, active / 1e6, reactive / 1e6))
        clear = np.abs(excess - 1e-4) > 5e-6
        assert outside[clear].tolist() == (excess[clear] > 1e-4).tolist()
        for t in range(3):  # at many steps at a time, and exactly, is the same
            powers = (dict(zip(feeder.nodes, part[:, t].tolist(), strict=True)) for part in (active, reactive))
            assert published.outside(*powers) == outside[t]


@pytest.mark.parametrize("case", ["fontana16x3", "winter16x3", "eulv55"])
def test_shippedStreet_isPublished(case: str) -> None:
    """To the last bit there and back, and with OpenDSS's voltages: half of the tolerance is left."""
    community = read_community(case)
    day = community.on(community.days[0])
    feeder = day.feeder
    assert isinstance(feeder, PhaseFeeder)
    book = PublishedStreet.of(feeder).encoded()
    assert decoded_street(book) == PublishedStreet.of(feeder)
    assert len(book) < 2**13
    active = np.array([np.round(-1e6 * home.load_kw) for home in day.households]).astype(np.int64)[:, :2]
    flow = four_wire_flow(feeder, active / 1e6, 0 * active)
    for kind in KINDS:
        for away in (0.9e-4, 1.1e-4):
            if (tight := limited(feeder, flow, 1, kind, away)) is not None:
                found = PublishedStreet.of(tight).outside_at(feeder.nodes, active, 0 * active)
                assert found[1] == (away > 1e-4)


def test_whatAStreetCannotCarry_isOutside() -> None:
    """There is no solution at all, whatever the limits."""
    lines = (PhaseLine("l", "b", "a", PHASES, by_sequence(0.3 + 0.1j, 1.2 + 0.4j)),)
    feeder = PhaseFeeder(400, 0.2, 1.9, "a", lines, (Connection("b", (0,)), Connection("b", (1, 2))))
    published, none = PublishedStreet.of(feeder), np.zeros((2, 3), dtype=np.int64)
    taken = np.array([[-80_000_000, 0, 0], [0, -300_000_000, -1_000_000]])
    assert published.outside_at((1, 2), taken, none).tolist() == [True, True, False]


def test_whoIsNotOnTheStreet_mayInjectNothing() -> None:
    """Else node 0 could publish a street without a home, and let it draw what it likes."""
    rng = np.random.default_rng(1)
    published = PublishedStreet.of(street(rng, homes=4))
    none, some = np.zeros((5, 2), dtype=np.int64), np.zeros((5, 2), dtype=np.int64)
    some[4, 1] = 1
    nodes = (1, 2, 3, 4, 9)
    assert published.outside_at(nodes, none, none).tolist() == [False, False]
    assert published.outside_at(nodes, some, none).tolist() == [False, True]
    assert published.outside_at(nodes, none, some).tolist() == [False, True]


@pytest.mark.parametrize(
    "changes",
    [
        {"nominal_voltage_v": 1.0},
        {"nominal_voltage_v": 1e6},
        {"connections": tuple(Connection("b", (0,)) for _ in range(128))},
        {"lines": (PhaseLine("l", "b", "a", PHASES, by_sequence(200 + 0j, 800 + 0j)),)},
    ],
    ids=["volts", "megavolts", "homes", "ohms"],
)
def test_whatDoesNotFit_isRefused(changes: dict[str, object]) -> None:
    line = PhaseLine("l", "b", "a", PHASES, by_sequence(0.1 + 0j, 0.4 + 0j))
    feeder = PhaseFeeder(400, 0.9, 1.1, "a", (line,), (Connection("b", (0,)),))
    assert PublishedStreet.of(feeder).encoded()
    with pytest.raises(InputError, match="does not fit the form in which it is published"):
        PublishedStreet.of(replace(feeder, **changes)).encoded()


@pytest.mark.parametrize("seed", range(3))
def test_bookThatWasSpoilt_isNoStreetOrAnother(seed: int) -> None:
    """Whatever is declared is read: as no street, or as one that would be published so."""
    chance = random.Random(seed)
    book = PublishedStreet.of(street(np.random.default_rng(seed), homes=6)).encoded()
    for _ in range(300):
        spoilt = bytearray(book[: chance.choice([len(book), chance.randrange(len(book) + 1)])])
        for _ in range(chance.randrange(4)):
            if spoilt:
                spoilt[chance.randrange(len(spoilt))] = chance.randrange(256)
        found = decoded_street(bytes(spoilt))
        assert found is None or found.encoded() == bytes(spoilt)


def test_rating_isNeverPublishedAsNone() -> None:
    line = PhaseLine("l", "b", "a", PHASES, by_sequence(0.1 + 0j, 0.4 + 0j), rating_a=1e-8)
    feeder = PhaseFeeder(400, 0.9, 1.1, "a", (line,), (Connection("b", (0,)),), Transformer(1e-10, 1.0, 4.0))
    assert [section.rating for section in PublishedStreet.of(feeder).sections] == [1, 1]


@pytest.mark.parametrize("tap", [0.9, 0.95, 1.0, 1.05, 1.1])
def test_nothingTaken_isAlwaysInside(tap: float) -> None:
    """Else the operator's node could have no answer that cannot be proved false."""
    line = PhaseLine("l", "b", "a", PHASES, by_sequence(0.1 + 0j, 0.4 + 0j), rating_a=10.0)
    feeder = PhaseFeeder(400, 0.97, 1.03, "a", (line,), (Connection("b", (0,)),), Transformer(100, 1.0, 4.0, tap))
    published, none = PublishedStreet.of(feeder), np.zeros((1, 1), dtype=np.int64)
    assert not published.outside_at((1,), none, none).any()
    assert not published.outside({1: 0}, {1: 0})


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(0, 2**32), st.sampled_from([2.0, 10.0, 40.0]))
def test_whatIsImpossibleAlone_isOutsideWithAnyOthers(seed: int, kilowatt: float) -> None:
    """A home whose own section has a rating cannot take more, whatever others do."""
    rng = np.random.default_rng(seed)
    feeder = street(rng, buses=int(rng.integers(3, 12)), homes=int(rng.integers(2, 6)))
    feeder = replace(feeder, lines=tuple(replace(line, rating_a=30.0) for line in feeder.lines))
    published = PublishedStreet.of(feeder)
    active, reactive = drawn(rng, feeder, kilowatt)
    for row, node in enumerate(feeder.nodes):
        impossible = published.impossible_at(node, active[row], reactive[row])
        for share in (0.0, 1.0, -1.0):
            others = (share * active).astype(np.int64)
            others[row] = active[row]
            assert not np.any(impossible & ~published.outside_at(feeder.nodes, others, reactive))
    stranger = max(feeder.nodes) + 1
    assert published.impossible_at(stranger, np.array([0, 1]), np.array([0, 0])).tolist() == [False, True]


def test_ownSection_carriesWhatItMay() -> None:
    """30 A of a phase at 1.1 times 230 V are 7.6 kVA; the first section is shared, and says nothing of one home."""
    shared = PhaseLine("s", "b", "a", PHASES, by_sequence(0.01 + 0.01j, 0.04 + 0.04j), 20.0)
    own = PhaseLine("o", "c", "b", PHASES, by_sequence(0.01 + 0.01j, 0.04 + 0.04j), 30.0)
    feeder = PhaseFeeder(400, 0.9, 1.1, "a", (shared, own), (Connection("b", (0,)), Connection("c", (1,))))
    published = PublishedStreet.of(feeder)
    powers = np.array([0, 7, -7, 8, -8]) * 10**6
    assert published.impossible_at(2, powers, 0 * powers).tolist() == [False, False, False, True, True]
    assert not published.impossible_at(1, powers, 0 * powers).any()
