"""VirtualAggregator: accounts and nodes, and opening rounds."""

import brownie
import pytest
from helpers import PHASE_SECONDS, STAR, TRADERS, low, overdue, plain, setting, theta

ZERO = "0x" + "0" * 40


@pytest.fixture
def aggregator(VirtualAggregator, Clerk, manager, referee):
    """For two nodes, nobody enrolled."""
    return manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(2), setting(), referee))


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


def test_enrol_again_findsWordsWritten(VirtualAggregator, Clerk, referee, manager, household, neighbour):
    """Where a deployment is large, the sixteen words of a node's line are written when it is enrolled first."""
    made = manager.deploy(VirtualAggregator, manager.deploy(Clerk, theta(65), setting(96), referee))
    first = made.enrol([1], [household], {"from": manager}).gas_used
    made.expel([1], {"from": manager})
    again = made.enrol([1], [neighbour], {"from": manager}).gas_used
    assert first - again > 16 * 19_000  # a fresh slot costs 22,100, one that is read 2,100


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


def test_openRound_starts(community):
    made = community(STAR)
    tx = made.open()
    deadline = tx.timestamp + PHASE_SECONDS
    assert tx.one("RoundOpened").values == {"round": 1, "day": 20260701, "deadline": deadline}
    assert made.view("progress") == (1, 0, 1, deadline, 0, 5, 0, 0)
    made.check()


def test_openRound_failsIfNotManager(community, outsider):
    """VA5"""
    aggregator = community(STAR).aggregator
    with brownie.reverts(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        aggregator.openRound(1, {"from": outsider})


def test_openRound_failsIfNobodyIsEnrolled(aggregator, manager, household):
    with brownie.reverts("NobodyEnrolled: "):
        aggregator.openRound(1, {"from": manager})
    aggregator.enrol([1], [household], {"from": manager})
    aggregator.openRound(1, {"from": manager})
    assert plain(aggregator.progress())[5] == 1


def test_openRound_takesFewerThanN(community, manager):
    """A round is of those who are enrolled."""
    made = community(STAR)
    made.aggregator.expel([4], {"from": manager})
    made.aggregator.openRound(1, {"from": manager})
    assert plain(made.aggregator.progress())[4:6] == (0, 4)


@pytest.mark.parametrize("phase", ["Declaring", "Iterating"])
def test_manager_failsIfRoundRuns(community, manager, outsider, phase):
    """VA5"""
    made = community(STAR)
    if phase == "Declaring":
        made.open()
    else:
        made.start()
    with brownie.reverts(f"WrongPhase: {1 if phase == 'Declaring' else 2}"):
        made.aggregator.openRound(1, {"from": manager})
    for call in (
        lambda: made.aggregator.enrol([7], [outsider], {"from": manager}),
        lambda: made.aggregator.expel([1], {"from": manager}),
    ):
        with brownie.reverts("RoundsRun: 1"):
            call()


def test_pastRounds_keepWhoWasWho(community, manager, signers, outsider, nodes):
    """The manager cannot give a past round's node to another account, nor take it from its own."""
    made = community(TRADERS, mu=1)
    aggregator, people = made.aggregator, signers(8)
    made.start()
    made.iterate()
    aggregator.expel([1, 2], {"from": manager})
    aggregator.enrol([1, 2], [nodes[7], people[1]], {"from": manager})
    assert aggregator.nodeOf(people[1]) == 2
    assert (aggregator.nodeIn(1, people[1]), aggregator.nodeIn(1, people[2])) == (1, 2)
    assert [aggregator.accountIn(1, node) for node in (1, 2, 3, 4)] == [people[1], people[2], people[3], ZERO]
    with brownie.reverts(f"NotEnrolled: {low(nodes[7])}"):
        aggregator.nodeIn(1, nodes[7])

    aggregator.openRound(1, {"from": manager})
    for account in (nodes[7], people[2]):  # has not declared yet; is not enrolled any more
        with brownie.reverts(f"NotEnrolled: {low(account)}"):
            aggregator.nodeIn(2, account)
    aggregator.declare(2, 1, 0, 0, 0, b"", {"from": nodes[7]})
    assert (aggregator.nodeIn(2, nodes[7]), aggregator.accountIn(2, 1)) == (1, nodes[7])
    assert aggregator.accountIn(2, 2) == ZERO
    assert (aggregator.nodeIn(1, people[1]), aggregator.accountIn(1, 1)) == (1, people[1])
    overdue()
    aggregator.closeOverdue({"from": outsider})
    assert plain(aggregator.roster())[0] == 1 << 1


@pytest.mark.parametrize("view", ["declaration", "accountOf", "copiesLength", "running"])
def test_views_failIfNodeOutOfRange(aggregator, view):
    with brownie.reverts("NodeOutOfRange: 128"):
        getattr(aggregator, view)(128)
    for of_round in (aggregator.commitment, aggregator.accountIn):
        with brownie.reverts("NodeOutOfRange: 128"):
            of_round(1, 128)
