"""The plots carry what they must: labels with units, what is empty says so, the same picture every time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.figure import Figure

from gridpact.community.model import Prices
from gridpact.market.agreement import Convergence
from gridpact.outcome.outcome import Outcome
from gridpact.problem.scenario import REPORT, Scenario
from gridpact.report.drawing import inline_svg, png, svg
from gridpact.report.plots import PLOTS
from unit.conftest import LIMITS, community, run

UNITS = {
    "convergence": ("Iteration", "as a multiple of its limit"),
    "power": ("(hh:mm)", "(kW)", "(EUR/kWh)"),
    "trades": ("Buyer", "Seller", "kWh"),
    "prices": ("(hh:mm)", "(EUR/kWh)"),
    "voltages": ("(ohm)", "(p.u.)"),
}


def texts(figure: Figure) -> str:
    return " ".join(text.get_text() for text in figure.findobj(mpl.text.Text))


@pytest.mark.parametrize("scenario", REPORT)
@pytest.mark.parametrize("name", PLOTS)
def test_axes_are_labelled_with_units(name: str, scenario: Scenario) -> None:
    figure = PLOTS[name](run(scenario))
    for unit in UNITS[name]:
        assert unit in texts(figure)
    assert figure.axes[0].get_title(loc="left")
    assert figure.axes[0].get_ylabel()


@pytest.mark.parametrize(
    ("scenario", "name", "text"),
    [
        (Scenario.B, "convergence", "nothing to agree on"),
        (Scenario.B, "trades", "deals with its supplier alone"),
        (Scenario.G, "trades", "buys and feeds in as one"),
        (Scenario.G, "prices", "Nothing was traded"),
    ],
)
def test_emptiness_is_said(scenario: Scenario, name: str, text: str) -> None:
    assert text in texts(PLOTS[name](run(scenario)))


def test_a_day_on_which_no_trade_pays() -> None:
    assert "no trade would have paid" in texts(PLOTS["trades"](run(trades=())))


@pytest.mark.parametrize("name", PLOTS)
def test_the_same_run_gives_the_same_characters(name: str, result: Outcome) -> None:
    first, second = svg(PLOTS[name](result)), svg(PLOTS[name](run()))
    assert first == second
    assert "<dc:date>" not in first


def test_text_stays_text(result: Outcome) -> None:
    assert "Seller</text>" in svg(PLOTS["trades"](result))


def test_prices_ofEachSupplier() -> None:
    """Two lines each, of who has customers; in common the community has one contract, whoever supplies whom."""
    green = Prices(np.array([0.3, 0.1, 0.35, 0.5]), 0.4, supplier="Green & Sons")
    one, *others = (day := community()).households
    day = replace(day, households=(one, *(replace(home, tariff=green) for home in others)))
    for scenario, expected in ((Scenario.TG, [day.prices, green]), (Scenario.G, [day.prices])):
        figure = PLOTS["prices"](run(scenario, community=day))
        drawn = [patch.get_data().values for patch in figure.axes[0].patches if hasattr(patch, "get_data")]
        series = [values for prices in expected for values in (prices.import_price, prices.feed_in_price)]
        assert len(drawn) == len(series)
        np.testing.assert_array_equal(drawn, series)
        low, high = figure.axes[0].get_ylim()
        assert low <= np.min(series) <= np.max(series) <= high
    words = svg(PLOTS["prices"](run(Scenario.TG, community=day)))
    assert "Feed-in price, Green &amp; Sons</text>" in words
    assert "Import price, tiny</text>" in words


def test_png(result: Outcome) -> None:
    assert png(PLOTS["prices"](result)).startswith(b"\x89PNG")


def test_unknown_and_zero_residuals_are_left_out() -> None:
    values, short, zeros = np.array([9.0, 0.0, np.nan]), np.array([4.0, 2.0]), np.zeros(3)
    figure = PLOTS["convergence"](run(convergence=Convergence(values, short, zeros, zeros, LIMITS)))
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) in (2, 3) and line.get_label()[0] != "_"]
    assert [line.get_label() for line in lines] == [
        "Network: disagreement (limit 2 W)",
        "Network: change since the last iteration (limit 2 W)",
    ]
    assert lines[0].get_ydata()[0] == 4.5  # 9 W
    assert list(lines[1].get_ydata()) == [2.0, 1.0]
    svg(figure)


def test_branches_join_children_to_their_parents(result: Outcome) -> None:
    """By hand: 0.04 ohm to node 1, 0.09 to its children 2 and 3; the voltage is lowest at node 3, 00:00."""
    (lowest, _) = (c for c in PLOTS["voltages"](result).axes[0].collections if len(c.get_segments()) == 3
                   and c.get_linewidth()[0] < 2)  # fmt: skip
    np.testing.assert_allclose(
        lowest.get_segments(),
        [[(0, 1), (0.04, 0.99)], [(0.04, 0.99), (0.09, 0.98)], [(0.04, 0.99), (0.09, 0.97)]],
    )


@pytest.mark.parametrize("hostile", ["$x^{$", "</text><script>alert(1)</script>-->", "a\nb&amp;房"])
@pytest.mark.parametrize("name", ["trades", "voltages"])
def test_hostile_names_do_no_harm(name: str, hostile: str) -> None:
    names = ("sun", "flat", hostile)
    text = inline_svg(svg(PLOTS[name](run(community=community(names)))), name, "label")
    assert ElementTree.fromstring(text).tag.endswith("svg")
    assert "<script" not in text


def test_inline_ids_do_not_clash(result: Outcome) -> None:
    both = "".join(inline_svg(svg(PLOTS[name](result)), name, "x") for name in ("power", "prices"))
    root = ElementTree.fromstring(f"<div>{both}</div>")
    ids = [element.get("id") for element in root.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    for element in root.iter():
        for key, value in element.attrib.items():
            if key.endswith("href") and value.startswith("#"):
                assert value[1:] in ids
            if value.startswith("url(#"):
                assert value[5:-1] in ids


def test_nobody_elses_matplotlib_is_changed(result: Outcome) -> None:
    before = dict(mpl.rcParams)
    for plot in PLOTS.values():
        svg(plot(result))
    assert dict(mpl.rcParams) == before
