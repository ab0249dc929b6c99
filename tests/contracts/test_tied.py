"""Contracts above and below each other: rounds about a day end from the top down, and nobody is waited for for ever."""

from __future__ import annotations

import pytest
from helpers import FIRST_DAY, LARGE, MAX_MISSES, NONE, TRADERS, Community, low, overdue, setting, theta
from link import refused

MU = 15
WAITING = 6  # 2/5 of it
CONVERGED, ITERATING = 3, 2
NOWHERE = "0x" + 40 * "0"
GATEWAYS = {"left": 1, "right": 2}  # nodes of the one above; node 3 hangs on nothing


class Tied:
    """One contract above two others, of three nodes each, with a round of the same day in all of them."""

    def __init__(self, make) -> None:
        self.of = {name: make() for name in ("above", "left", "right")}
        branches = [(str(self.of[name].aggregator), 1 << node) for name, node in GATEWAYS.items()]
        self.tie("above", NOWHERE, branches)
        for name in GATEWAYS:
            self.tie(name, str(self.of["above"].aggregator), [])

    def tie(self, name: str, above: str, below: list) -> None:
        one = self.of[name]
        one.send(one.manager, "tie", above, below)

    def start(self, *names: str) -> None:
        for name in names:
            self.of[name].start()

    def close(self, name: str, within: bool, missing: tuple[int, ...] = ()) -> None:
        """One iteration. The model of a contract without ties keeps the books, but for the end."""
        one = self.of[name]
        round_, iteration = one.view("progress")[:2]
        for node in sorted(TRADERS):
            if not one.view("declaration", node)[6] and node not in missing:
                part = one.part(node, NONE if within else LARGE)
                history = one.view("progress")[6]
                values = (round_, iteration, history, part.words, part.bids, part.residuals)
                one.send(one.accounts[node], "submit", *values)
        if missing:
            overdue()
            one.send(one.manager, "closeOverdue")

    def converges_after(self, iterations: int, name: str, **within: bool) -> None:
        """And not before. In each iteration these contracts close one, within the limits or not."""
        for iteration in range(1, iterations + 1):
            assert self.phase(name) == ITERATING, iteration
            for closing, is_within in within.items():
                self.close(closing, is_within)
        assert self.phase(name) == CONVERGED

    def phase(self, name: str) -> int:
        return self.of[name].view("progress")[2]

    def asked(self, name: str, what: str, day: int = FIRST_DAY) -> bool:
        return self.of[name].view(what, day)

    def called(self, name: str, what: str, day: int, by: str) -> bool:
        """A view as another contract sees it."""
        contract, caller = self.of[name].aggregator, self.of[by].aggregator
        return getattr(contract, what).call(day, {"from": str(caller)})


@pytest.fixture(scope="module")
def make(module_isolation, TiedAggregator, Clerk, referee, manager, signers):
    def one():
        clerk = manager.deploy(Clerk, theta(4, MU), setting(24, MAX_MISSES), referee)
        made = Community(manager.deploy(TiedAggregator, clerk), TRADERS, signers(4))
        made.enrol()
        return made

    return one


@pytest.fixture(scope="module")
def tied_once(make):
    return Tied(make)


@pytest.fixture
def tied(tied_once):
    for one in tied_once.of.values():  # the chain was taken back
        one.model.rounds.clear()
    return tied_once


def test_rounds_endFromTheTopDown(tied):
    """TI1, TI2, TI3: above it ends when both below hold at the same time; below, in the next iteration."""
    tied.start("left", "right", "above")
    for left, right, above in [(1, 1, 1), (1, 0, 1), (0, 1, 1), (1, 1, 0)]:
        tied.close("left", bool(left))
        tied.close("right", bool(right))
        tied.close("above", bool(above))
        assert {tied.phase(name) for name in tied.of} == {ITERATING}
    # The first iteration of all is about none before it: none of them could hold there.
    assert [tied.asked(name, "isReady") for name in ("left", "right", "above")] == [True, True, False]
    assert not tied.called("above", "releases", FIRST_DAY, "left")
    tied.close("left", True)
    tied.close("right", True)
    tied.close("above", True)
    assert (tied.phase("left"), tied.phase("right"), tied.phase("above")) == (ITERATING, ITERATING, CONVERGED)
    assert tied.called("above", "releases", FIRST_DAY, "left")
    tied.close("left", False)
    tied.close("right", True)
    assert (tied.phase("left"), tied.phase("right")) == (ITERATING, CONVERGED)
    tied.close("left", True)
    assert tied.phase("left") == CONVERGED


def test_contract_holdsNeitherWhileItDeclares_norBeforeThoseBelow(tied):
    """TI3: it is within its limits, and does not hold as long as one below does not; who has not begun releases
    nobody."""
    above = tied.of["above"]
    tied.start("left")
    above.open()
    assert not tied.asked("above", "isReady")
    assert not tied.called("above", "releases", FIRST_DAY, "left")
    for node in TRADERS:
        above.declare(node)
    for _ in range(2):
        tied.close("left", False)
        tied.close("above", True)
    assert tied.phase("above") == ITERATING
    assert not tied.asked("above", "isReady")


def test_iterationWithoutSomebody_doesNotHold(tied):
    """TI3: what was within the limits before somebody was missing does not count any more."""
    tied.start("left", "right", "above")
    for _ in range(2):
        tied.close("left", True)
        tied.close("right", True)
        tied.close("above", False)
    assert tied.asked("left", "isReady")
    tied.close("left", True, missing=(3,))
    assert not tied.asked("left", "isReady")
    tied.close("right", True)
    tied.close("above", True)
    assert tied.phase("above") == ITERATING


def test_nobody_isWaitedForForEver(tied):
    """TI4: a contract below that never holds, and one above that never ends."""
    tied.start("left", "right", "above")
    tied.converges_after(WAITING, "above", right=False, above=True)
    for _ in range(MU - WAITING):
        tied.close("right", False)
    assert tied.phase("right") == 4  # exhausted: it never held
    tied.close("left", True)
    tied.close("left", True)
    assert tied.phase("left") == CONVERGED


def test_contractBelow_whoseAboveNeverEnds_endsInTheLastIteration(tied):
    tied.start("left", "right", "above")
    tied.converges_after(MU, "left", left=True)


def test_contract_whoseGatewaysAreOut_isNotWaitedFor_andWaitsForNobody(tied):
    """TI2, TI3: the gateway of the left misses two iterations above."""
    tied.start("left", "right", "above")
    for _ in range(MAX_MISSES):
        tied.close("right", True)
        tied.close("above", True, missing=(GATEWAYS["left"],))
    assert tied.called("above", "releases", FIRST_DAY, "left")
    assert not tied.called("above", "releases", FIRST_DAY, "right")
    tied.close("left", True)
    tied.close("left", True)
    assert tied.phase("left") == CONVERGED
    for _ in range(2):  # both iterations have to be of all who are left
        tied.close("right", True)
        tied.close("above", True)
    assert tied.phase("above") == CONVERGED


def test_rounds_ofOtherDays_areNoneOfThese(tied):
    """The one above has ended yesterday's round, and not begun today's."""
    tied.start("left", "right", "above")
    for name in ("left", "right", "above") * 3:
        if tied.phase(name) == ITERATING:
            tied.close(name, True)
    assert {tied.phase(name) for name in tied.of} == {CONVERGED}
    tied.of["left"].model.now.phase = "Converged"  # its model knows no ties
    tied.start("left")
    assert not tied.called("above", "releases", FIRST_DAY + 1, "left")
    for _ in range(3):
        tied.close("left", True)
    assert tied.phase("left") == ITERATING
    assert not tied.asked("right", "isReady", FIRST_DAY + 1)
    assert tied.asked("right", "isReady", FIRST_DAY)


def test_roundOfAnotherProduct_endsWhereItsNodesAgree(tied):
    """TI1 is about product 0 only: the rest of a day waits for nobody above."""
    left = tied.of["left"]
    rest = Community(left.aggregator, TRADERS, left.accounts, product=7)
    rest.start()
    rest.iterate()
    rest.iterate(NONE)
    assert rest.model.now.phase == "Converged"
    rest.check()
    tied.start("left")
    tied.close("left", False)
    tied.close("left", True)
    assert tied.phase("left") == ITERATING


def test_ties_areTheManagers_whileNoRoundRuns(tied, outsider):
    above = tied.of["above"]
    left, right = (str(tied.of[name].aggregator) for name in GATEWAYS)
    with refused(f"OwnableUnauthorizedAccount: {low(outsider)}"):
        above.send(outsider, "tie", NOWHERE, [])
    for branches, bad in (([(left, 0)], 0), ([(left, 3), (right, 2)], 2)):
        with refused(f"InvalidBranch: {low(branches[-1][0])}, {bad}"):
            above.send(above.manager, "tie", NOWHERE, branches)
    tied.start("above")
    with refused("RoundsRun: 1"):
        above.send(above.manager, "tie", NOWHERE, [])


ODD = ("yes", "no", "reverts", "nothing", "short", "two", "much", "burns")


@pytest.mark.parametrize("where", ["above", "below"])
@pytest.mark.parametrize("answer", ODD)
def test_oddTie_keepsNobodyWaitingForEver(make_odd, where, answer):
    """TI1, TI4: whatever stands at an address that the manager has tied, every iteration is closed, and the round ends:
    at once where it says that nobody has to wait, else when nobody waits any longer."""
    made, odd = make_odd
    made.model.rounds.clear()
    odd.be(ODD.index(answer), {"from": made.manager})
    tie(made, *((str(odd), []) if where == "above" else (NOWHERE, [(str(odd), 0b1110)])))
    assert ends_in(made) == (2 if answer in ("yes", "much") else {"above": MU, "below": WAITING}[where])


@pytest.mark.parametrize("where", ["above", "below"])
def test_tieToNoContract_keepsNobodyWaitingForEver(make_odd, where):
    made, _ = make_odd
    made.model.rounds.clear()
    nobody = str(made.accounts[1])
    tie(made, *((nobody, []) if where == "above" else (NOWHERE, [(nobody, 0b10)])))
    assert ends_in(made) == {"above": MU, "below": WAITING}[where]


def test_tieToItself_keepsNobodyWaitingForEver(make_odd):
    """A circle, which asks itself without end."""
    made, _ = make_odd
    made.model.rounds.clear()
    tie(made, str(made.aggregator), [(str(made.aggregator), 0b1110)])
    assert ends_in(made) <= MU


@pytest.fixture
def make_odd(make, OddLevel, manager):
    return make(), manager.deploy(OddLevel)


def tie(made, above, below):
    made.send(made.manager, "tie", above, below)


def ends_in(made):
    """The iteration in which a round ends whose nodes are within the limits from the second one on."""
    made.start()
    for iteration in range(1, MU + 1):
        round_, open_, _ = made.view("progress")[:3]
        assert open_ == iteration
        for node in sorted(TRADERS):
            part = made.part(node, NONE if iteration > 1 else LARGE)
            history = made.view("progress")[6]
            values = (round_, iteration, history, part.words, part.bids, part.residuals)
            made.send(made.accounts[node], "submit", *values)
        if made.view("progress")[2] != ITERATING:
            assert made.view("progress")[2] == CONVERGED
            return iteration
    raise AssertionError("the round goes on")
