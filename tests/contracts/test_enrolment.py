"""VirtualAggregator: accounts and nodes, and opening rounds."""

import brownie
import pytest
from helpers import PHASE_SECONDS, STAR, Community, low, plain, setting, theta

ZERO = "0x" + "0" * 40


@pytest.fixture
def aggregator(VirtualAggregator, manager):
    """For two nodes, nobody enrolled."""
    return manager.deploy(VirtualAggregator, theta(2), setting())


def test_enrol_bindsAccountsToNodes(aggregator, manager, nodes):
    tx = aggregator.enrol([127, 3], [nodes[0], nodes[1]], {"from": manager})
    assert aggregator.nodeOf(nodes[0]) == 127
    assert aggregator.accountOf(3) == nodes[1]
    assert aggregator.enrolled() == 1 << 127 | 1 << 3
    assert [dict(event) for event in tx.events["Enrolled"]] == [
        {"node": 127, "account": nodes[0]},
        {"node": 3, "account": nodes[1]},
    ]


def test_enrol_failsIfNotManager(aggregator, outsider):
    """VA5"""
    with brownie.reverts(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        aggregator.enrol([0], [outsider], {"from": outsider})


def test_enrol_failsIfLengthsDiffer(aggregator, manager, household):
    with brownie.reverts("LengthMismatch: 2, 1"):
        aggregator.enrol([0, 1], [household], {"from": manager})


def test_enrol_failsIfNodeOutOfRange(aggregator, manager, household):
    with brownie.reverts("NodeOutOfRange: 128"):
        aggregator.enrol([128], [household], {"from": manager})


def test_enrol_failsIfNodeTaken(aggregator, manager, household, neighbour):
    with brownie.reverts(f"NodeTaken: 1, {low(household)}"):
        aggregator.enrol([1, 1], [household, neighbour], {"from": manager})


def test_enrol_failsIfAccountTaken(aggregator, manager, household):
    with brownie.reverts(f"AccountTaken: {low(household)}, 1"):
        aggregator.enrol([1, 2], [household, household], {"from": manager})


def test_enrol_failsIfAccountIsZero(aggregator, manager):
    with brownie.reverts("ZeroAccount: 1"):
        aggregator.enrol([1], [ZERO], {"from": manager})


def test_enrol_failsIfFull(aggregator, manager, nodes):
    with brownie.reverts("EnrolmentFull: 2"):
        aggregator.enrol([0, 1, 2], [nodes[0], nodes[1], nodes[2]], {"from": manager})


def test_expel_makesRoom(aggregator, manager, household, neighbour):
    aggregator.enrol([1, 2], [household, neighbour], {"from": manager})
    tx = aggregator.expel([1], {"from": manager})
    assert dict(tx.events["Expelled"]) == {"node": 1, "account": household}
    assert aggregator.enrolled() == 1 << 2
    assert aggregator.accountOf(1) == ZERO
    with brownie.reverts(f"NotEnrolled: {low(household)}"):
        aggregator.nodeOf(household)
    aggregator.enrol([1], [household], {"from": manager})
    assert aggregator.nodeOf(household) == 1


def test_expel_failsIfNotManager(aggregator, manager, household):
    """VA5"""
    aggregator.enrol([1], [household], {"from": manager})
    with brownie.reverts(f"OwnableUnauthorizedAccount: {low(household)}"):
        aggregator.expel([1], {"from": household})


def test_expel_failsIfNobodyThere(aggregator, manager):
    with brownie.reverts(f"NotEnrolled: {ZERO}"):
        aggregator.expel([1], {"from": manager})
    with brownie.reverts("NodeOutOfRange: 200"):
        aggregator.expel([200], {"from": manager})


def test_openRound_starts(community, manager, chain):
    made = community(STAR)
    tx = made.open()
    deadline = chain[-1].timestamp + PHASE_SECONDS
    assert dict(tx.events["RoundOpened"]) == {"round": 1, "day": 20260701, "deadline": deadline}
    assert plain(made.aggregator.progress()) == (1, 0, 1, deadline, 0, 0)


def test_openRound_failsIfNotManager(community, outsider):
    """VA5"""
    aggregator = community(STAR).aggregator
    with brownie.reverts(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        aggregator.openRound(1, {"from": outsider})


def test_openRound_failsIfEnrolmentIncomplete(VirtualAggregator, manager, nodes):
    made = Community(manager.deploy(VirtualAggregator, theta(5), setting()), STAR, nodes)
    made.enrol()
    made.aggregator.expel([4], {"from": manager})
    with brownie.reverts("EnrolmentIncomplete: 4, 5"):
        made.open()


@pytest.mark.parametrize("phase", ["Declaring", "Iterating"])
def test_manager_failsIfRoundRuns(community, manager, outsider, phase):
    """VA5"""
    made = community(STAR)
    if phase == "Declaring":
        made.open()
    else:
        made.start()
    for call in (
        lambda: made.aggregator.openRound(1, {"from": manager}),
        lambda: made.aggregator.enrol([7], [outsider], {"from": manager}),
        lambda: made.aggregator.expel([1], {"from": manager}),
    ):
        with brownie.reverts(f"WrongPhase: {1 if phase == 'Declaring' else 2}"):
            call()


@pytest.mark.parametrize("view", ["declaration", "accountOf", "copiesLength", "coupling"])
def test_views_failIfNodeOutOfRange(aggregator, view):
    with brownie.reverts("NodeOutOfRange: 128"):
        getattr(aggregator, view)(128)
    with brownie.reverts("NodeOutOfRange: 128"):
        aggregator.bidsHash(1, 128)
