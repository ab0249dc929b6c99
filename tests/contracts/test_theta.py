"""VirtualAggregator: its parameters."""

import brownie
import pytest
from helpers import plain, setting, theta

ZERO = "0x" + "0" * 40


def changed(values, position, value):
    return (*values[:position], value, *values[position + 1 :])


def test_theta_isReadable(VirtualAggregator, manager):
    aggregator = manager.deploy(VirtualAggregator, theta(5, 9, (1, 2, 3, 4)), setting(96))
    assert plain(aggregator.theta()) == (5, 10**9, 2 * 10**9, 1, 2, 3, 4, 9)
    assert plain(aggregator.setting()) == (96, 900, 10, 100, 600)
    assert aggregator.owner() == manager
    assert plain(aggregator.progress()) == (0, 0, 0, 0, 0, 0)
    assert aggregator.enrolled() == 0
    assert aggregator.accountOf(0) == ZERO
    assert plain(aggregator.coupling(0)) == (0, 0, ())
    assert aggregator.residuals() == 0
    assert plain(aggregator.outcome(1)) == (0, 0, 0)


@pytest.mark.parametrize("n", [1, 128])
@pytest.mark.parametrize("steps", [1, 192])
def test_theta_takesTheEnds(VirtualAggregator, manager, n, steps):
    aggregator = manager.deploy(VirtualAggregator, theta(n, 1), setting(steps))
    assert (plain(aggregator.theta())[0], plain(aggregator.setting())[0]) == (n, steps)


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [(0, 0, "n"), (0, 129, "n"), (7, 0, "mu")],
)
def test_theta_failsIfOutOfRange(VirtualAggregator, manager, position, value, what):
    with brownie.reverts(f"InvalidTheta: {what}, {value}"):
        manager.deploy(VirtualAggregator, changed(theta(5), position, value), setting())


@pytest.mark.parametrize(
    ("position", "value", "what"),
    [
        (0, 0, "steps"),
        (0, 193, "steps"),
        (1, 0, "stepSeconds"),
        (2, 0, "powerResolutionMilliwatt"),
        (3, 0, "voltageResolution"),
        (4, 0, "phaseSeconds"),
    ],
)
def test_setting_failsIfOutOfRange(VirtualAggregator, manager, position, value, what):
    with brownie.reverts(f"InvalidTheta: {what}, {value}"):
        manager.deploy(VirtualAggregator, theta(5), changed(setting(), position, value))


def test_owner_changesInTwoSteps(VirtualAggregator, manager, outsider):
    aggregator = manager.deploy(VirtualAggregator, theta(5), setting())
    aggregator.transferOwnership(outsider, {"from": manager})
    assert aggregator.owner() == manager
    aggregator.acceptOwnership({"from": outsider})
    assert aggregator.owner() == outsider
