"""Agreement on the network: what nodes must know alike is alike to the last bit, and duals balance."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.market.admm.assembly import Integers
from gridpact.market.admm.consensus import NeighbourConsensus, StarCentre, StarMember, consensus_of, largest_kw
from gridpact.market.admm.parameters import OVER_RELAXATION, Penalties, Resolution
from gridpact.problem.blocks import Block, Kind, holders
from gridpact.problem.scenario import NetworkAgreement, Scenario
from unit.market.admm.helpers import main_line, star, view

PENALTIES, RESOLUTION = Penalties(rho=0.37, phi=0.2), Resolution()


def test_form_followsTheAgreement() -> None:
    assert isinstance(consensus_of(star(2)[0], PENALTIES, RESOLUTION), StarCentre)
    assert isinstance(consensus_of(star(2)[1], PENALTIES, RESOLUTION), StarMember)
    for node in main_line(2).values():
        assert isinstance(consensus_of(node, PENALTIES, RESOLUTION), NeighbourConsensus)
    alone = view(1, scenario=Scenario.T, parent=1, depth=0)
    assert consensus_of(alone, PENALTIES, RESOLUTION).blocks == ()


@pytest.mark.parametrize("scenario", [Scenario.G, Scenario.TG])
def test_star_holdsTheSameBits(scenario: Scenario) -> None:
    """Random wishes and answers; household 2 is absent now and then, 3 comes late, node 0 misses one iteration."""
    views = star(3, scenario=scenario)
    centre = StarCentre(views[0], PENALTIES, RESOLUTION)
    members = {k: StarMember(views[k], PENALTIES, RESOLUTION) for k in (1, 2, 3)}
    random = np.random.default_rng(3)
    heard: set[int] = set()
    for iteration in range(30):
        absent = {2} if iteration in (4, 5, 11) else {3} if iteration < 2 else set()
        alpha = OVER_RELAXATION if iteration % 3 else 1.0
        before = {k: (member.value.tolist(), member.dual.tolist()) for k, member in members.items()}
        wishes = {k: random.integers(-9000, 9000, (2, 3)) for k in members}
        arrived = np.concatenate([np.zeros((2, 3), dtype=np.int64) if k in absent else wishes[k] for k in members])
        present = np.repeat([k not in absent for k in members], 2)
        answers = random.integers(-9000, 9000, (6, 3))
        answering = iteration != 7
        if answering:
            centre.hear(arrived, present)
            # The operator feels the opposite of the households' duals: b(z) = -y z + rho/2 |x_relaxed - z|^2.
            known = np.repeat([k in heard for k in members], 2)[:, None]
            relaxed = np.where(known, alpha * centre.wishes + (1 - alpha) * centre.value, centre.wishes)
            dual = np.where(known, centre.dual, centre._first_dual(centre.wishes))
            assert centre.linear(alpha) == pytest.approx(-dual - centre.rho * relaxed, rel=1e-12)
            centre.update(answers, arrived + answers, present.astype(np.int64) + 1, alpha)
            heard |= members.keys() - absent
        for row, (k, member) in enumerate(members.items()):
            own = slice(2 * row, 2 * row + 2)
            if k not in absent:
                sums = wishes[k] + answers[own] if answering else wishes[k]
                member.update(wishes[k], sums, np.full(2, 1 + answering), alpha)
            if k in heard:
                assert member.value.tolist() == centre.value[own].tolist()
                assert member.dual.tolist() == centre.dual[own].tolist()
                assert member.rho.tolist() == centre.rho[own].tolist()
            if k in absent or not answering:
                assert (member.value.tolist(), member.dual.tolist()) == before[k]
            else:
                assert member.value.tolist() == (answers[own] * member.unit).tolist()


def test_star_centre_onWhoIsAbsent() -> None:
    """Who was heard is taken to do what was answered to it last; who is out, what it wished for first; who was never
    heard, what the others do on average."""
    centre = StarCentre(star(3)[0], PENALTIES, Resolution(power_kw=0.001))
    wishes = np.arange(18).reshape(6, 3) * 1000
    there = np.array([True, True, False, False, True, True])
    centre.hear(wishes * there[:, None], there)
    assert centre.expected(1).tolist() == [[0, 1, 2], [3, 4, 5]]
    assert centre.expected(2).tolist() == [[6, 7, 8], [9, 10, 11]]  # mean of rows 0 and 4, of 1 and 5
    answers = wishes + 500
    centre.update(answers, wishes * there[:, None] + answers, 1 + there.astype(np.int64), 1.0)
    centre.hear(np.zeros((6, 3), dtype=np.int64), np.zeros(6, dtype=bool))
    assert centre.wishes[0] == pytest.approx([0.5, 1.5, 2.5], rel=1e-12)
    assert centre.expected(1).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_star_centre_doesNotBelieveFirstWishesOfAccomplices() -> None:
    """Two who wish for 9 kW where the others wish for 1, and are out, do not vouch for each other; nor does one of them
    count in the average that is expected of a stranger."""
    centre = StarCentre(star(5)[0], PENALTIES, Resolution(power_kw=0.001))
    wishes = np.repeat([1000, 500, 9000, 9000, 1200, 500, -9000, 9000, 1000, 500], 3).reshape(10, 3)
    centre.hear(wishes, np.ones(10, dtype=bool))
    gone = frozenset({2, 4})
    average = [[pytest.approx(3.2 / 3)] * 3, [0.5] * 3]
    assert centre.expected(2, gone).tolist() == average
    assert centre.expected(4, gone).tolist() == average
    assert centre.expected(9, gone).tolist() == average
    assert centre.expected(3, frozenset({3})).tolist() == [[1.2] * 3, [0.5] * 3]


def test_star_firstDual_inG_isThePriceAtTheRoot() -> None:
    """Who takes power is worth kappa dt a kW, who gives it f dt; in TG households have contracts of their own."""
    steps = [0.2, 0.4]
    member = StarMember(view(1, 2, scenario=Scenario.G, net_kw=[-1.0, 2.0], price=steps), PENALTIES, RESOLUTION)
    assert member.dual[0] == pytest.approx([-0.25 * 0.2, -0.25 * 0.5 * 0.4], rel=1e-12)  # products
    assert member.dual[1].tolist() == [0, 0]
    # It starts from what it would do on its own.
    assert member.value.tolist() == [[-1.0, 2.0], [-0.3, 0.0]]
    contracted = StarMember(view(1, 2, net_kw=[-1.0, 2.0], price=steps), PENALTIES, RESOLUTION)
    assert not contracted.dual.any()


def play(
    nodes: dict[int, NeighbourConsensus],
    own: dict[int, Integers],
    alpha: float,
    absent: frozenset[int] = frozenset(),
) -> None:
    """One iteration: adds up what the present nodes hold, the way the contract is said to, and tells everybody."""
    sums: dict[Block, Integers] = {}
    for node, consensus in nodes.items():
        if node not in absent:
            for block, lanes in zip(consensus.blocks, own[node], strict=True):
                sums[block] = sums.get(block, np.zeros(lanes.shape, dtype=np.int64)) + lanes
    parents = {k: c.view.parent for k, c in nodes.items()}
    children = {k: c.view.children for k, c in nodes.items()}
    for node, consensus in nodes.items():
        if node in absent:
            continue
        counts = np.array([len(holders(block, parents, children) - absent) for block in consensus.blocks])
        consensus.update(own[node], np.array([sums[block] for block in consensus.blocks]), counts, alpha)


@pytest.mark.parametrize("beyond", [None, {0: 5, 1: 4, 2: 3, 3: 2, 4: 1}], ids=["all that fits", "by households"])
def test_neighbours_dualsOfAVariable_sumToZero(beyond: dict[int, int] | None) -> None:
    """Also where one of them is absent in every other iteration: on a line a block has two holders, so it is left; and
    where some copies are more than what is beyond a line could take."""
    views = main_line(4)
    nodes = {k: NeighbourConsensus(v, PENALTIES, RESOLUTION, beyond) for k, v in views.items()}
    largest = round(2 * largest_kw(RESOLUTION) / RESOLUTION.power_kw) if beyond else 5000
    random = np.random.default_rng(5)
    for iteration in range(25):
        copies = {k: random.integers(-largest, largest, c.value.shape) for k, c in nodes.items()}
        play(nodes, copies, OVER_RELAXATION if iteration % 3 else 1.0, frozenset(random.choice(5, iteration % 2)))
        duals: dict[Block, list[np.ndarray]] = {}
        values: dict[Block, list[list[float]]] = {}
        for consensus in nodes.values():
            for row, block in enumerate(consensus.blocks):
                duals.setdefault(block, []).append(consensus.dual[row])
                values.setdefault(block, []).append(consensus.value[row].tolist())
        for block, found in duals.items():
            assert len(found) >= 2
            most = max(np.abs(d).max() for d in found)
            # 25 sums of floats, each rounded to 1e-16 of the largest
            assert np.abs(sum(found)).max() <= 1e-13 * max(most, 1.0) * 25
            assert all(v == values[block][0] for v in values[block])  # z to the last bit


def test_neighbours_flowBeyondWhatHouseholdsCould_countsAsThat() -> None:
    """Two households are beyond the line: 60 kW from there are 32.77."""
    node = NeighbourConsensus(
        view(1, agreement=NetworkAgreement.NEIGHBOURS, parent=0), PENALTIES, Resolution(power_kw=0.0005), {1: 2}
    )
    own, sums = np.array([[2000] * 3, [0] * 3]), np.array([[2000 + 120_000] * 3, [-120_000] * 3])
    node.update(own, sums, np.array([2, 2]), 1.0)
    assert node.value[0] == pytest.approx([(1 + 2 * 16.3835) / 2] * 3, rel=1e-12)
    assert node.value[1] == pytest.approx([-16.3835] * 3, rel=1e-12)


def test_neighbours_averageByHand() -> None:
    """Copies 1000 and 400 units of 0.5 W: the mean is 0.35 kW; over-relaxed from 0: z = 1.6 x 0.35, and
    y = rho (1.6 x 0.5 - 1.6 x 0.35). Without over-relaxation next, z is the mean and y grows by rho (0.5 - 0.35)."""
    node = NeighbourConsensus(
        view(1, agreement=NetworkAgreement.NEIGHBOURS, parent=0), PENALTIES, Resolution(power_kw=0.0005)
    )
    assert node.blocks == (Block(Kind.P, 1), Block(Kind.Q, 1))
    own, sums = np.array([[1000] * 3, [0] * 3]), np.array([[1400] * 3, [0] * 3])
    node.update(own, sums, np.array([2, 2]), 1.6)
    assert node.value[0] == pytest.approx([1.6 * 0.35] * 3, rel=1e-12)
    assert node.dual[0] == pytest.approx(node.rho[0] * 1.6 * 0.15 * np.ones(3), rel=1e-12)
    node.update(own, sums, np.array([2, 2]), 1.0)
    assert node.value[0] == pytest.approx([0.35] * 3, rel=1e-12)
    assert node.dual[0] == pytest.approx(node.rho[0] * 2.6 * 0.15 * np.ones(3), rel=1e-12)
    assert not node.value[1].any()
    assert not node.dual[1].any()


@pytest.mark.parametrize("count", [0, 1])
def test_neighbours_keepZ_whereNobodyElseIsThere(count: int) -> None:
    """One copy alone, the node's own, is no agreement."""
    node = NeighbourConsensus(view(1, agreement=NetworkAgreement.NEIGHBOURS), PENALTIES, RESOLUTION)
    copies = np.full((2, 3), 100)
    node.update(copies, 2 * copies - 30, np.array([2, 2]), OVER_RELAXATION)
    value, dual = node.value.copy(), node.dual.copy()
    node.update(copies, np.array([[100 * count] * 3, [170] * 3]), np.array([count, 2]), OVER_RELAXATION)
    assert node.value[0].tolist() == value[0].tolist()
    assert node.dual[0].tolist() == dual[0].tolist()
    assert node.dual[1].tolist() != dual[1].tolist()


def test_linearTerm_isThatOfTheAugmentedLagrangian() -> None:
    """y (x - z) + rho/2 (x - z)^2 = a x + rho/2 x^2 + constant with a = y - rho z."""
    node = NeighbourConsensus(view(1, agreement=NetworkAgreement.NEIGHBOURS), PENALTIES, RESOLUTION)
    random = np.random.default_rng(1)
    node.value, node.dual = random.normal(size=(2, 3)), random.normal(size=(2, 3))
    x = random.normal(size=(2, 3))
    away = x - node.value
    lagrangian = node.dual * away + node.rho / 2 * away**2
    constant = -node.dual * node.value + node.rho / 2 * node.value**2
    assert node.linear(OVER_RELAXATION) * x + node.rho / 2 * x**2 + constant == pytest.approx(
        lagrangian, abs=1e-12
    )  # rounding


def test_star_balancesItsPenalty_byHand() -> None:
    """Three steps, from the second answer on: in the first the wish stays 1 kW away from an answer that does not move,
    and rho doubles up to its most; in the second both stay, and so does rho; in the third they agree while the answer
    moves by 1 kW, and rho is as low as it can be."""
    view = star(1, scenario=Scenario.G)[1]
    member, most = StarMember(view, PENALTIES, RESOLUTION), PENALTIES.of_blocks(view)[:, None]
    levels = []
    for iteration in range(5):
        wish = np.array([[2000, 500, 2000 * iteration]] * 2)
        answer = np.array([[0, 500, 2000 * iteration]] * 2)
        member.update(wish, wish + answer, np.array([2, 2]), 1.0)
        levels.append((member.rho / most).tolist()[0])
    assert levels == [[0.25] * 3, [0.5, 0.25, 0.25], [1, 0.25, 0.25], [1, 0.25, 0.25], [1, 0.25, 0.25]]
    member.update(wish, wish, np.array([1, 1]), 1.0)  # the operator was absent
    assert (member.rho / most).tolist()[0] == [1, 0.25, 0.25]
    for level in (1, 0.5, 0.25):  # the first time, on average with the one before, they are as far apart as z moves
        answer = answer + 2000
        member.update(answer, 2 * answer, np.array([2, 2]), 1.0)
        assert (member.rho / most).tolist()[1] == [level, 0.25, 0.25]


def test_star_balancesItsPenalty_alsoWhereAnswersSwing() -> None:
    """The answer stays 1 kW away on average, and swings by 1.6 kW from one iteration to the next."""
    view = star(1, scenario=Scenario.G)[1]
    member, most = StarMember(view, PENALTIES, RESOLUTION), PENALTIES.of_blocks(view)[:, None]
    wish = np.zeros((2, 3), dtype=np.int64)
    for iteration in range(4):
        answer = wish + 2000 + 1600 * (-1) ** iteration
        member.update(wish, wish + answer, np.array([2, 2]), 1.0)
    assert (member.rho / most).tolist() == [[1.0] * 3] * 2
