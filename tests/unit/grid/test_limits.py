"""The referee's power flow in Python, against OpenDSS, and the limits that follow from it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gridpact.community.model import Feeder, Line
from gridpact.grid.limits import PublishedFeeder
from gridpact.grid.powerflow import power_flow


@st.composite
def feeders(draw: st.DrawFn) -> Feeder:
    count = draw(st.integers(1, 6))
    lines = tuple(
        Line(node, draw(st.integers(0, node - 1)), draw(st.floats(0.005, 0.2)), draw(st.floats(0.001, 0.1)))
        for node in range(1, count + 1)
    )
    return Feeder(400.0, 0.95, 1.05, lines)


def milliwatts(feeder: Feeder, seed: int, most_kw: float) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    shape = (len(feeder.lines), 4)
    return (
        random.integers(int(-most_kw * 1e6), int(most_kw * 1e6), shape),
        random.integers(int(-most_kw * 3e5), int(most_kw * 3e5), shape),
    )


@settings(max_examples=60, deadline=None)
@given(feeders(), st.integers(0, 2**32), st.sampled_from([1.0, 5.0, 15.0]))
def test_verdict_isThatOfAnExactPowerFlow(feeder: Feeder, seed: int, most_kw: float) -> None:
    active, reactive = milliwatts(feeder, seed, most_kw)
    published = PublishedFeeder.of(feeder)
    by_float = published.voltages(active[order(published)] / 1e6, reactive[order(published)] / 1e6)
    if np.isnan(by_float).any():
        return  # OpenDSS has no answer either where the feeder cannot carry it
    voltage = power_flow(feeder, active / 1e6, reactive / 1e6).voltage_pu
    # 2e-6 p.u.: OpenDSS iterates to 1e-9, resistances are published in micro-ohm of 5 mohm and more, over 6 lines
    assert np.sqrt(1 + by_float) == pytest.approx(voltage[order(published)], abs=3e-5)
    nodes = tuple(line.node for line in feeder.lines)
    outside = published.outside_at(nodes, active, reactive)
    beyond = np.maximum(0.95 - voltage, voltage - 1.05).max(axis=0)
    for t in range(active.shape[1]):
        p, q = (dict(zip(nodes, part[:, t].tolist(), strict=True)) for part in (active, reactive))
        exactly = published.outside(p, q)
        assert outside[t] == exactly
        if abs(beyond[t] - 1e-4) > 4e-5:
            assert exactly == (beyond[t] > 1e-4)


@settings(max_examples=40, deadline=None)
@given(feeders(), st.integers(0, 2**32))
def test_voltagesWithoutLosses_areNeverBelow(feeder: Feeder, seed: int) -> None:
    published = PublishedFeeder.of(feeder)
    active, reactive = (part / 1e6 for part in milliwatts(feeder, seed, 8.0))
    exact = published.voltages(active, reactive)
    assert np.all(np.isnan(exact) | (published.lossless(active, reactive) >= exact - 1e-9))


def test_whatTheFeederCannotCarry_isOutside() -> None:
    published = PublishedFeeder.of(Feeder(400.0, 0.5, 1.9, (Line(1, 0, 0.5, 0.1),)))
    assert published.outside({1: -(10**9)}, {1: 0})
    drawn, nothing = np.array([[-(10**9), 0]]), np.zeros((1, 2), dtype=np.int64)
    assert published.outside_at((1,), drawn, nothing).tolist() == [True, False]


def order(published: PublishedFeeder) -> list[int]:
    return [node - 1 for node in published.nodes]
