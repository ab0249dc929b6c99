"""What `import gridpact` gives: read a community, solve a day, run it on a chain, compare."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from gridpact.community.frames import community_of
from gridpact.community.model import CommunityDay
from gridpact.community.read import Community, read_community, shipped_cases
from gridpact.errors import GridpactError, InfeasibleError, InputError
from gridpact.market.registry import market_of, scenario_named, scenarios_named
from gridpact.outcome.day import DayOutcome, HouseholdDay, day_of, solve_day
from gridpact.outcome.frames import Frames, frames_of
from gridpact.problem.scenario import NetworkAgreement, Scenario

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure

__all__ = [
    "Community",
    "CommunityDay",
    "Comparison",
    "DayOutcome",
    "Frames",
    "GridpactError",
    "HouseholdDay",
    "InfeasibleError",
    "InputError",
    "cases",
    "compare",
    "frames",
    "from_frames",
    "plot",
    "read",
    "run_on_chain",
    "solve",
]

ALONE = Scenario.B.value


def cases() -> tuple[str, ...]:
    """The communities that come with the package, by name."""
    return tuple(shipped_cases())


def read(community: str | os.PathLike[str]) -> Community:
    """Reads and checks a community.

    Args:
        community: a name of `cases()`, a community file, or the folder in which it is `community.toml`.

    Returns:
        the community; `.days` are those that it has, and `.on(day)` is what holds on one of them.

    Raises:
        InputError: says what is wrong, in which file, row and column.
    """
    return read_community(os.fspath(community))


def from_frames(
    load_kw: pd.DataFrame,
    prices: pd.DataFrame,
    households: pd.DataFrame,
    feeder: pd.DataFrame | None = None,
    *,
    name: str,
    currency: str,
    pv_kw: pd.DataFrame | None = None,
    outdoor_c: pd.DataFrame | None = None,
    settings: Mapping[str, str | float | list[str]] | None = None,
    folder: str | os.PathLike[str] | None = None,
) -> Community:
    """Makes a community of pandas frames, with the checks that its files have (docs/community-file.md).

    Frames over time have a DatetimeIndex in the homes' local clock, a row a step, whole days.

    Args:
        load_kw: a column a household, kW.
        prices: columns `import_price` and, as wished, `feed_in_price`, currency/kWh.
        households: a row a household, by its name or with a column `household`; columns as in `households.csv`. Without
            `node` they are numbered as they stand.
        feeder: columns as in `feeder.csv`; None: a synthetic one, as `gridpact community new` lays it.
        name: of the community.
        currency: a label; nothing is converted.
        pv_kw: a column a household with panels, kW.
        outdoor_c: a column `outdoor_c`, degrees Celsius; where there are heat pumps.
        settings: other keys of `community.toml`, as `feed_in_share`.
        folder: where to keep it, for `gridpact run --case FOLDER`; None: nowhere.

    Raises:
        InputError: pandas is not installed, or what is wrong, in which table, row and column.
    """
    _needs("pandas", "pandas")
    series = {"prices": prices, "load": load_kw, "pv": pv_kw, "outdoor": outdoor_c}
    return community_of(
        {key: frame for key, frame in series.items() if frame is not None},
        households,
        feeder,
        {"name": name, "currency": currency, **(settings or {})},
        None if folder is None else Path(folder),
    )


def solve(day: CommunityDay, scenario: str = "tg", *, network_agreement: str = "dso") -> DayOutcome:
    """Lets a community agree on a day in memory, with the integers of the chain, and carries the plan out.

    Each home solves its own day, (1) to (12) of the B-DER report, and consensus ADMM, (13) to (24), brings them
    together: docs/formulation.md has the equations, and where the report has misprints.

    Args:
        scenario: what is agreed on: "b" nothing, "t" trades, "g" the grid, "tg" both, or another of `gridpact run`.
        network_agreement: "dso" with the grid operator's node, or "neighbours" along the cable.

    Returns:
        what came of it. Where no plan keeps the limits, its `failure` says why, and nothing is raised.

    Raises:
        InputError: the scenario or the agreement is unknown.
    """
    return solve_day(day, scenario_named(scenario.lower()), _agreement(network_agreement), whole=True)


def run_on_chain(
    day: CommunityDay,
    scenario: str = "tg",
    *,
    chain: str = "eth-tester",
    network_agreement: str = "dso",
    relay: bool = False,
    sealed: bool | None = None,
) -> DayOutcome:
    """Runs a day on a chain, from the deployment of the contracts to the payments, each home a node of its own.

    Args:
        scenario: as of `solve`.
        network_agreement: as of `solve`.
        chain: "eth-tester" (inside this process), "anvil" or "ganache" (started and ended), or a node's address.
        relay: signed submissions of all in one transaction an iteration.
        sealed: whether only the operator's node reads wishes and only partners bids, or everybody all; by default where
            it can be, which is not between neighbours.

    Returns:
        the same as of `solve`, with `gas` and `transactions`.

    Raises:
        InputError: something given is unknown, there are no contracts for the scenario, or the chain's program is not
            installed.
        InfeasibleError: no plan keeps the limits; told before a chain is started.
        GridpactError: a node or the chain failed; all processes are ended.
    """
    from gridpact.run.onchain import RunSettings, run  # imports web3, which takes a second

    named = scenario_named(scenario.lower())
    settings = RunSettings(named, _agreement(network_agreement), chain, relay=relay, sealed=sealed)
    if not market_of(settings.scenario).on_chain:
        raise InputError(f"there are no contracts for the scenario '{scenario}'; solve it in memory")
    return day_of(run(day, settings), whole=True)


def frames(outcome: DayOutcome) -> Frames:
    """What came of a day as pandas frames.

    Raises:
        InputError: pandas is not installed.
    """
    _needs("pandas", "pandas")
    return frames_of(outcome)


def plot(outcome: DayOutcome, name: str = "power") -> Figure:
    """A plot of the report, as a matplotlib figure that can be changed, shown and saved.

    Args:
        outcome: what `solve` or `run_on_chain` gave.
        name: "power", "trades", "prices", "voltages" or "convergence".

    Raises:
        InputError: there is no such plot, no plan to draw, or matplotlib is not installed.
    """
    _needs("matplotlib", "report")
    from gridpact.report.plots import PLOTS  # imports matplotlib, which takes a second

    if name not in PLOTS:
        raise InputError(f"there is no plot '{name}'; choose one of {', '.join(PLOTS)}")
    if outcome.whole is None:
        raise InputError(outcome.failure or "this outcome was made without what plots are drawn of; use gridpact.solve")
    figure = PLOTS[name](outcome.whole)
    assert figure is not None  # matplotlib is there
    return figure


@dataclass(frozen=True)
class Comparison:
    """One day in several scenarios.

    Attributes:
        outcomes: what came of each, by the scenario's name, "b" first.
    """

    outcomes: Mapping[str, DayOutcome]

    @property
    def costs(self) -> dict[str, float]:
        """What all households pay together, currency; scenarios without a feasible plan are left out."""
        return {name: outcome.cost for name, outcome in self.outcomes.items() if outcome.feasible}

    @property
    def savings(self) -> dict[str, float]:
        """Currency saved against everybody being alone with the supplier, "b"."""
        costs = self.costs
        return {name: costs[ALONE] - cost for name, cost in costs.items() if name != ALONE}


def compare(
    day: CommunityDay, scenarios: Collection[str] = ("t", "g", "tg"), *, network_agreement: str = "dso"
) -> Comparison:
    """Solves a day in several scenarios, and in "b", in which everybody is alone with the supplier.

    Raises:
        InputError: a scenario or the agreement is unknown.
    """
    wanted = scenarios_named({ALONE, *(name.lower() for name in scenarios)})
    agreement = _agreement(network_agreement)
    return Comparison({scenario.value: solve_day(day, scenario, agreement) for scenario in wanted})


def _needs(package: str, extra: str) -> None:
    if find_spec(package) is None:
        raise InputError(f"this needs {package}: pip install {package}, or gridpact with [{extra}]")


def _agreement(name: str) -> NetworkAgreement:
    known = {agreement.value: agreement for agreement in NetworkAgreement}
    if name not in known:
        raise InputError(f"there is no network agreement '{name}'; choose one of {', '.join(known)}")
    return known[name]
