"""What a round gives away: today, in the open form, everything; and the measure itself."""

from __future__ import annotations

import numpy as np
import pytest

from gridpact.community.model import Array
from gridpact.community.read import read_community
from gridpact.node.privacy import Guess, correlation, guesses, leaks, summary, transcript_of
from gridpact.node.twin import TwinLedger
from gridpact.problem.scenario import Scenario
from unit.node.rounds import Played

STEPS = 24


def series(seed: int) -> Array:
    return np.random.default_rng(seed).uniform(0.2, 3.0, STEPS)


def test_openForm_givesAwayTheLoad() -> None:
    """Whoever reads the chain knows every home's load and net power, and when its car charges."""
    played = Played(read_community("fontana16").on("06-10"), Scenario.TG)
    reports = played.play()
    schedules = {
        home.node: {"load_kw": home.load_kw, "pv_kw": home.pv_kw}
        | {name: np.array(values) for name, values in reports[home.node].schedule.items()}
        for home in played.day.households
    }
    public = transcript_of(TwinLedger(played.twin, 1), played.number)
    assert public is not None
    found = leaks(guesses(public), schedules)
    equipped = {home.node for home in played.day.households if home.devices}
    medians, of_equipped = summary(found), summary(found, equipped)
    assert of_equipped["load"]["r"] == pytest.approx(1.0, abs=1e-4)
    assert medians["load"]["rmse_w"] < 0.5
    assert medians["net"]["rmse_w"] < 2.0
    assert medians["car"]["r"] > 0.9


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
    (load, pv, car, net) = leaks({5: Guess(flat, flat, flat, -flat)}, {5: true})
    assert [leak.what for leak in (load, pv, car, net)] == ["load", "pv", "car", "net"]
    assert load.rmse_w == pytest.approx(load.usual_w)
    assert net.rmse_w == pytest.approx(net.usual_w)
    assert (pv.r, car.r) == (None, None)


@pytest.mark.parametrize("power", [1.0, -1.0])
def test_guessOfNet_isConsistent(power: float) -> None:
    net = power * series(4)
    guessed = Guess.of_net(net)
    assert np.all(guessed.load - guessed.pv == -net)
    assert np.all(guessed.car <= guessed.load)
