"""What a round gives away: in the open form everything, in the sealed form what is recorded; and the measure itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from statistics import median

import numpy as np
import pytest

from gridpact.chain.sealing import SealingKey
from gridpact.community.model import Array, CommunityDay
from gridpact.community.read import read_community
from gridpact.market.admm.agent import IntegerSubmission
from gridpact.market.admm.codec import decode_bids, decode_copies
from gridpact.market.admm.memory import Iterate
from gridpact.market.admm.pads import Pads
from gridpact.node.form import SealedForm
from gridpact.node.privacy import (
    Guess,
    Leak,
    Replay,
    Transcript,
    correlation,
    guesses,
    insights,
    leagues,
    leaks,
    replayed,
    summary,
    transcript_of,
)
from gridpact.node.twin_ledger import TwinLedger
from gridpact.problem.scenario import Scenario
from measure.privacy import rows, table
from unit.node.rounds import Played

STEPS = 24
DAYS = ("06-10", "06-13", "12-22", "12-25")


def series(seed: int) -> Array:
    return np.random.default_rng(seed).uniform(0.2, 3.0, STEPS)


@dataclass(frozen=True)
class Day:
    """A round of fontana16, TG, and what everybody can read of it in the sealed form."""

    true: Replay
    sealed: Transcript


def played(name: str) -> Day:
    """Sealed submissions are taken for what they are not."""
    true = replayed(read_community("fontana16").on(name), Scenario.TG)
    assembly = true.transcript.assembly
    keys = {node: SealingKey(bytes((node,)), b"") for node in assembly.nodes}
    forms = {
        node: SealedForm(assembly, node, {o: Pads(key.common_secret(keys[o].public)) for o in assembly.nodes})
        for node, key in keys.items()
    }

    def raw(iterate: Iterate) -> dict[int, IntegerSubmission]:
        found = {}
        for node, said in iterate.submissions.items():
            words, bids = forms[node].encode(iterate.iteration, said, frozenset())
            copies = decode_copies(assembly.blocks(node), words, assembly.steps)
            found[node] = IntegerSubmission(copies, decode_bids(bids))
        return found

    first, last = map(raw, true.iterates)
    return Day(true, replace(true.transcript, first=first, last=last))


@pytest.fixture(scope="module")
def days() -> list[Day]:
    return [played(name) for name in DAYS]


def of_equipped(days: list[Day], what: str, guessed: Callable[[Day], dict[int, Guess]]) -> list[Leak]:
    """Of all homes with devices and days."""
    return [
        leak
        for day in days
        for leak in leaks(guessed(day), day.true.schedules)
        if leak.what == what and leak.node in day.true.equipped and leak.r is not None
    ]


def known(found: list[Leak]) -> float:
    return median(leak.r for leak in found if leak.r is not None)


def test_openForm_givesAwayTheLoad(days: list[Day]) -> None:
    """Whoever reads the chain knows every home's load and net power, and when its car charges."""
    load, net, car = (
        of_equipped(days, what, lambda day: guesses(day.true.transcript)) for what in ("load", "net", "car")
    )
    assert known(load) == pytest.approx(1.0, abs=1e-4)
    assert min(leak.r for leak in load if leak.r is not None) > 0.999
    assert median(leak.rmse_w for leak in load) < 0.5
    assert median(leak.rmse_w for leak in net) < 5.0
    assert known(car) > 0.9


@pytest.mark.parametrize("for_open", [True, False], ids=["takes it for open", "takes the trades"])
def test_sealedForm_outsiderDoesNotKnowTheLoad(days: list[Day], for_open: bool) -> None:
    """Median over the homes with devices and four days."""
    load, net = (
        of_equipped(days, what, lambda day: guesses(day.sealed, sealed=not for_open)) for what in ("load", "net")
    )
    assert abs(known(load)) <= 0.3
    assert median(leak.rmse_w / leak.usual_w for leak in net) >= 0.9


def test_sealedForm_operatorStillDoes(days: list[Day]) -> None:
    """It is told the reactive power; whoever shares nothing with a home reads no more than an outsider."""
    sealed, true = days[0].sealed, days[0].true
    medians = {
        role: summary(leaks(guessed, true.schedules), true.equipped)
        for role, guessed in insights(sealed, true, sealed=True).items()
    }
    assert list(medians) == ["outsider", "partner", "operator", "supplier", "metering"]
    assert medians["operator"]["load"]["r"] == pytest.approx(1.0, abs=1e-4)
    assert medians["metering"]["net"]["rmse_w"] == 0.0
    assert medians["supplier"] == medians["outsider"]


def test_league_ofAllPartners_readsWhatTheOpenFormTells(tiny3: CommunityDay) -> None:
    """Of trades: every bid of a home is to one of them."""
    true = replayed(tiny3, Scenario.T)
    together, everybody = leagues(true.transcript, true), guesses(true.transcript)
    assert everybody
    for node, one in everybody.items():
        assert np.array_equal(together["all partners"][node].load, one.load)
        assert np.array_equal(together["all partners"][node].net, one.net)


def test_league_knowsWhatItsMembersDo(days: list[Day]) -> None:
    """The operator's node tells the load, the meter the net power."""
    sealed, true = days[0].sealed, days[0].true
    known = {
        role: summary(leaks(guessed, true.schedules), true.equipped) for role, guessed in leagues(sealed, true).items()
    }
    for role in ("operator and partner", "operator and metering"):
        assert known[role]["load"]["r"] == pytest.approx(1.0, abs=1e-4)
    for role in ("operator and metering", "supplier and metering", "metering and all partners"):
        assert known[role]["net"]["rmse_w"] == 0.0
    assert abs(known["three partners"]["load"]["r"] or 0.0) < 0.6


def test_transcript_isOfTheChain(tiny3: CommunityDay) -> None:
    """The same from a ledger as from the agents."""
    on_twin = Played(tiny3, Scenario.TG)
    on_twin.play()
    public = transcript_of(TwinLedger(on_twin.twin, 1), on_twin.number)
    assert public is not None
    iterates = list(on_twin.negotiation.iterates())
    for read, true in ((public.first, iterates[0]), (public.last, iterates[-1])):
        assert read.keys() == true.submissions.keys()
        for node, said in true.submissions.items():
            assert np.array_equal(read[node].copies, said.copies)
            assert np.array_equal(read[node].bids, said.bids)


def test_r_isPearsons() -> None:
    one, other = series(1), series(2)
    assert correlation(3 * one + 1, one) == pytest.approx(1.0)
    assert correlation(-one, one) == pytest.approx(-1.0)
    assert correlation(one, other) == pytest.approx(np.corrcoef(one, other)[0, 1])
    assert correlation(np.full(STEPS, 2.0), one) == 0.0
    assert correlation(one, np.zeros(STEPS)) is None


def test_leaks_holdAgainstTheMean() -> None:
    """Who knows a household's mean and nothing else is as good as the scale that is told beside each error."""
    true = {"load_kw": series(3), "injection_kw": -series(3)}
    flat = np.full(STEPS, true["load_kw"].mean())
    (load, pv, car, net) = found = leaks({5: Guess(flat, flat, flat, -flat)}, {5: true})
    assert [leak.what for leak in found] == ["load", "pv", "car", "net"]
    assert load.rmse_w == pytest.approx(load.usual_w)
    assert net.rmse_w == pytest.approx(net.usual_w)
    assert (pv.r, car.r) == (None, None)
    assert summary(found)["load"] == {"r": 0.0, "rmse_w": load.rmse_w, "usual_w": load.usual_w}


@pytest.mark.parametrize("power", [1.0, -1.0])
def test_guessOfNet_isConsistent(power: float) -> None:
    net = power * series(4)
    guessed = Guess.of_net(net)
    assert np.all(guessed.load - guessed.pv == -net)
    assert np.all(guessed.car <= guessed.load)


def test_otherScenarios_giveAnOutsiderNoMore() -> None:
    """On one day, by the program that makes the table of the docs: without trades nothing, in T no more than in TG."""
    every = rows("fontana16", ("06-10",), (Scenario.T, Scenario.G))
    found = {(row.scenario, row.form, row.role): row.known for row in every}
    r = {key: known["load"]["r"] for key, known in found.items()}
    assert r[Scenario.G, "open", "everybody"] == pytest.approx(1.0, abs=1e-4)
    assert r[Scenario.G, "sealed", "outsider"] == 0.0
    for role in ("outsider", "supplier", "operator"):
        load = r[Scenario.T, "sealed", role]
        assert load is not None
        assert abs(load) <= 0.3
    lines = table(every).splitlines()
    assert [line.split(" | ")[0].strip("| ") for line in lines[2:]] == ["T"] * 5 + ["G"] * 5
