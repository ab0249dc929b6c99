"""The referee's power flow in Python, against OpenDSS, and the limits that follow from it."""

from __future__ import annotations

from dataclasses import replace

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


@settings(max_examples=60, deadline=None)
@given(feeders(), st.integers(0, 2**32), st.sampled_from([20.0, 80.0, 400.0]))
def test_whatIsImpossibleAlone_isOutsideWithAnyOthers(feeder: Feeder, seed: int, most_kw: float) -> None:
    """Also beside others that would lift or lower its voltage; a home on the source's own line is judged as it is."""
    published = PublishedFeeder.of(feeder)
    active, reactive = milliwatts(feeder, seed, most_kw)
    nodes = tuple(line.node for line in feeder.lines)
    for row, node in enumerate(nodes):
        impossible = published.impossible_at(node, active[row], reactive[row])
        for kw in (0.0, 10.0, 100.0, -100.0):
            others = active.copy()
            others[np.arange(len(nodes)) != row] = int(kw * 1e6)
            outside = published.outside_at(nodes, others, reactive)
            assert not np.any(impossible & ~outside)
        if feeder.lines[row].parent == 0 and node not in {line.parent for line in feeder.lines}:
            alone = published.outside_at((node,), active[[row]], reactive[[row]])
            wider = PublishedFeeder.of(replace(feeder, voltage_min_pu=0.9497, voltage_max_pu=1.0503))
            surely = wider.outside_at((node,), active[[row]], reactive[[row]])
            assert not np.any(impossible & ~alone)
            assert not np.any(surely & ~impossible)


def test_whatIsImpossibleAlone() -> None:
    """0.5 ohm, 400 V: 20 kW change the voltage by 6 %; behind another line 30 could be made up for there."""
    published = PublishedFeeder.of(Feeder(400.0, 0.95, 1.05, (Line(1, 0, 0.5, 0.0), Line(2, 1, 0.5, 0.0))))
    powers = np.array([0, 20, -20, 30, -30, 40, -40]) * 10**6
    assert published.impossible_at(2, powers, 0 * powers).tolist() == [False] * 5 + [True, True]
    assert not published.impossible_at(1, powers, 0 * powers).any()  # others are beyond it
    assert not published.impossible_at(3, powers, 0 * powers).any()  # is on no line: injects nothing
    star = PublishedFeeder.of(Feeder(400.0, 0.95, 1.05, (Line(1, 0, 0.5, 0.0), Line(2, 0, 0.5, 0.0))))
    assert star.impossible_at(2, powers, 0 * powers).tolist() == [False] + [True] * 6
