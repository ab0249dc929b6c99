"""The campaign of adversaries, small: absurd numbers and lies leave no trace, whoever says them."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.problem.scenario import NetworkAgreement, Scenario
from measure.adversaries import AdversaryTally, play
from measure.adverse_round import Play, street, undisturbed, without
from measure.malice import CLAIMS, DECLARATIONS, SUBMISSIONS, Malice

STAR, NEIGHBOURS = NetworkAgreement.DSO, NetworkAgreement.NEIGHBOURS


def test_kinds_areMany() -> None:
    assert len(SUBMISSIONS) - 1 + len(CLAIMS) - 1 + len(DECLARATIONS) - 1 >= 16


@pytest.mark.parametrize(
    ("scenario", "form", "who"),
    [
        (Scenario.T, STAR, {3: Malice("random copies and bids")}),
        (Scenario.T, STAR, {2: Malice("bids that swing"), 3: Malice("silent after a while")}),
        (Scenario.T, STAR, {1: Malice(claims="claims one more")}),
        (Scenario.T, STAR, {3: Malice(declares="book of other steps")}),
        (Scenario.T, STAR, {3: Malice("half insists on giving 6 kW")}),
        (Scenario.T, STAR, {1: Malice("half insists on giving 6 kW")}),
        (Scenario.T, STAR, {3: Malice("insists on giving 3 kW")}),
        (Scenario.TG, STAR, {3: Malice("insists on giving 3 kW")}),
        (Scenario.T, STAR, {3: Malice("insists on giving 3 kW", supplier="its supplier pays what others ask")}),
        (Scenario.TG, STAR, {1: Malice("insists on giving 3 kW", supplier="its supplier pays what others ask")}),
        (Scenario.T, STAR, {1: Malice("insists on taking 3 kW", supplier="its supplier asks what others pay")}),
        (Scenario.TG, STAR, {1: Malice("half insists on giving 6 kW")}),
        (Scenario.G, STAR, {3: Malice("copies as high as fits")}),
        (Scenario.G, STAR, {1: Malice("copies that swing"), 2: Malice(claims="claims anything")}),
        (Scenario.G, STAR, {3: Malice(declares="root of its own")}),
        (Scenario.TG, STAR, {3: Malice("random bids to one partner")}),
        (Scenario.TG, STAR, {2: Malice("honest, then random"), 3: Malice("random, then silent")}),
        (Scenario.TG, NEIGHBOURS, {3: Malice("random copies")}),
        (Scenario.G, NEIGHBOURS, {3: Malice("greedy, giving")}),
        (Scenario.G, NEIGHBOURS, {1: Malice("greedy, taking")}),
    ],
    ids=str,
)
def test_others_endWhereTheyWouldHave(scenario: Scenario, form: NetworkAgreement, who: dict[int, Malice]) -> None:
    """At the cost of a round without them, to 0.1 %, without an error or a false verdict."""
    tally = AdversaryTally()
    play(tally, "tiny3", scenario, form, who, seed=7)
    assert tally.problems == []
    assert tally.finished == 1
    assert tally.moved[0] <= 1e-3
    assert max(tally.lost, default=0.0) <= 1e-3  # of the bill: nobody pays more than on its own


@pytest.mark.parametrize("kind", ["greedy, taking", "greedy, giving", "insists on taking 3 kW", "agrees to anything"])
def test_pricesOfTrades_endBetweenTheSuppliers(kind: str) -> None:
    """Who wants ever more drives no price beyond import, nor below feed-in; to a hundredth of what lies between them,
    which is what the limits of the stopping test leave open."""
    game = Play("tiny3", Scenario.T, STAR, {2: Malice(kind)}, seed=5)
    assert game.run().iterations
    for household in game.day.households:
        agent = game.round.agents[household.node]
        steps = [step for partner in agent.view.partners for step in partner.steps]
        low, high = game.day.prices.feed_in_price[steps], game.day.prices.import_price[steps]
        traded = agent.trades.energies_wh != 0
        price = agent.trades.paid_price / game.day.step_hours
        room = 0.01 * (high - low)
        assert np.all((price >= low - room) & (price <= high + room) | ~traded)


@pytest.mark.parametrize(
    ("scenario", "malice"),
    [
        (Scenario.T, Malice("greedy, taking")),
        (Scenario.T, Malice("half insists on taking 6 kW")),
        (Scenario.TG, Malice(supplier="its supplier asks 2,000")),
        (Scenario.TG, Malice(supplier="its supplier takes 2,000 for what is fed in")),
    ],
    ids=str,
)
def test_whoStatesNothing_movesImportLessFeedInAtMost(scenario: Scenario, malice: Malice) -> None:
    """Of each kWh that was agreed: prices are recorded between the two, and at these the supplier takes what is left.
    What is paid as it is recorded costs nobody more than L10 allows."""
    ending = Play("tiny3", scenario, STAR, {3: malice}, seed=7).run()
    assert ending.iterations
    assert ending.at_stake > 0.1
    assert abs(ending.unstated) <= ending.at_stake * (1 + 1e-9)
    apart = without(ending, "tiny3", scenario, STAR, frozenset({3}))
    assert ending.cost <= apart.cost + 1e-3 * abs(apart.cost)


def test_whoEveryoneHangsOn_cannotEndTheRound() -> None:
    """Between neighbours, households of which none keeps its place under node 0 leave it nothing to say: it goes on."""
    day = street("tiny3")
    roots = [home.node for home in day.households if day.feeder.parent[home.node] == 0]
    who = dict.fromkeys(roots, Malice(declares="root of its own"))
    ending = Play("tiny3", Scenario.G, NEIGHBOURS, who, seed=1).run()
    assert ending.failures == ()
    assert ending.iterations


def test_liar_isProvedAndLeavesNoTrace() -> None:
    """Of who jumps about, nothing is left: the plans are those of a round without it, to the last digit of the cost."""
    ending = Play("tiny3", Scenario.TG, STAR, {3: Malice("random bids")}, seed=2).run()
    assert ending.out == {3}
    assert ending.broken == pytest.approx(undisturbed("tiny3", Scenario.TG, STAR, frozenset({3})).broken, rel=1e-6)
