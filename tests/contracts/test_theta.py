"""VirtualAggregator: its parameters."""

import brownie
import pytest
from helpers import plain, setting, theta

ZERO = "0x" + "0" * 40
NO_HASH = bytes(32)


def changed(values, position, value):
    return (*values[:position], value, *values[position + 1 :])


@pytest.fixture
def deploy(VirtualAggregator, Clerk, manager, referee):
    """Deploys with these parameters."""
    return lambda theta_, setting_: manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta_, setting_, referee))


def test_theta_isReadable(deploy, manager, referee):
    aggregator = deploy(theta(5, 9, (1, 2, 3, 4)), setting(96, 7))
    assert plain(aggregator.theta()) == (5, 10**9, 2 * 10**9, 1, 2, 3, 4, 9)
    assert plain(aggregator.setting()) == (96, 900, 10, 100, 600, 7)
    assert aggregator.owner() == manager
    assert aggregator.referee() == referee


def test_before_theFirstRound_nothingIsThere(deploy):
    aggregator = deploy(theta(5), setting())
    assert plain(aggregator.progress()) == (0,) * 8
    assert plain(aggregator.roster()) == (0,) * 4
    assert plain(aggregator.scalars()) == (0, 0)
    assert plain(aggregator.declaration(0)) == (0,) * 7
    assert aggregator.enrolled() == 0
    assert aggregator.accountOf(0) == ZERO
    assert aggregator.accountIn(0, 0) == ZERO
    assert aggregator.copiesLength(0) == 0
    assert plain(aggregator.running(0)) == (0, 0, ())
    assert [bytes(one) for one in aggregator.commitment(1, 0)] == [NO_HASH] * 2
    assert (aggregator.head()[0], bytes(aggregator.head()[1])) == (0, NO_HASH)
    *outcome, head = aggregator.outcome(1)
    assert (outcome, bytes(head)) == ([0, 0, 0, 0], NO_HASH)


@pytest.mark.parametrize(("n", "steps"), [(1, 1), (1, 192), (128, 1), (128, 48), (33, 192), (65, 96)])
def test_theta_takesTheEnds(deploy, n, steps):
    aggregator = deploy(theta(n, 1), setting(steps, 1))
    assert (plain(aggregator.theta())[0], plain(aggregator.setting())[0]) == (n, steps)


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [(0, 0, "n"), (0, 129, "n"), (7, 0, "mu")],
)
def test_theta_failsIfOutOfRange(deploy, position, value, what):
    with brownie.reverts(f"InvalidTheta: {what}, {value}"):
        deploy(changed(theta(5), position, value), setting())


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [
        (0, 0, "steps"),
        (0, 193, "steps"),
        (1, 0, "stepSeconds"),
        (2, 0, "powerResolutionMilliwatt"),
        (3, 0, "voltageResolution"),
        (4, 0, "phaseSeconds"),
        (5, 0, "maxMisses"),
    ],
)
def test_setting_failsIfOutOfRange(deploy, position, value, what):
    with brownie.reverts(f"InvalidTheta: {what}, {value}"):
        deploy(theta(5), changed(setting(), position, value))


@pytest.mark.parametrize(("n", "steps"), [(128, 49), (34, 192), (66, 85), (128, 192)])
def test_theta_failsIfTooLarge(deploy, n, steps):
    """Some call would need more gas than a transaction may take: see Sizes, and test_sizes.py for the measurement."""
    with brownie.reverts(f"TooLarge: {n}, {steps}"):
        deploy(theta(n), setting(steps))


def test_owner_changesInTwoSteps(deploy, manager, outsider):
    aggregator = deploy(theta(5), setting())
    aggregator.transferOwnership(outsider, {"from": manager})
    assert aggregator.owner() == manager
    aggregator.acceptOwnership({"from": outsider})
    assert aggregator.owner() == outsider
