"""Views made by hand, for agreements of a few numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gridpact.community.model import Feeder, Household, Prices
from gridpact.market.coefficients import Partner
from gridpact.market.scenario import NetworkAgreement, Scenario
from gridpact.market.view import NodeView

STEP_HOURS = 0.25
LIMITS = Feeder(400.0, 0.95, 1.05, ())


def view(
    node: int,
    steps: int = 3,
    *,
    scenario: Scenario = Scenario.TG,
    agreement: NetworkAgreement = NetworkAgreement.DSO,
    parent: int = 0,
    children: Sequence[int] = (),
    depth: int = 1,
    partners: Mapping[int, Sequence[int]] | None = None,
    net_kw: Sequence[float] | None = None,
    price: Sequence[float] | None = None,
) -> NodeView:
    """What a node knows; a household unless it is node 0."""
    net = np.zeros(steps) if net_kw is None else np.array(net_kw, dtype=float)
    kappa = np.linspace(0.1, 0.5, steps) if price is None else np.array(price, dtype=float)
    home = Household(
        node=node,
        name=f"home_{node}",
        load_kw=np.maximum(-net, 0),
        load_kvar=0.3 * np.maximum(-net, 0),
        pv_kw=np.maximum(net, 0),
        pv_kwp=float(max(net.max(), 0)),
        inverter_kvar=0.0,
    )
    return NodeView(
        node=node,
        day="1",
        scenario=scenario,
        agreement=agreement,
        step_hours=STEP_HOURS,
        prices=Prices(kappa),
        parent=parent,
        children=tuple(children),
        depth=depth,
        household=home if node else None,
        partners=tuple(Partner(j, tuple(t), np.full(len(t), 0.01)) for j, t in sorted((partners or {}).items())),
        feeder=LIMITS,
    )


def star(homes: int, steps: int = 3, scenario: Scenario = Scenario.TG) -> dict[int, NodeView]:
    """A grid operator's node and its households."""
    views = {0: view(0, steps, scenario=scenario, children=range(1, homes + 1), depth=0)}
    net = np.random.default_rng(homes).uniform(-3, 3, (homes, steps))
    return views | {k: view(k, steps, scenario=scenario, net_kw=net[k - 1]) for k in range(1, homes + 1)}


def main_line(homes: int, steps: int = 3) -> dict[int, NodeView]:
    """Nodes 0 - 1 - 2 - ... that agree with their neighbours."""
    return {
        k: view(
            k, steps, agreement=NetworkAgreement.NEIGHBOURS, parent=max(k - 1, 0),
            children=(k + 1,) if k < homes else (), depth=k,
        )
        for k in range(homes + 1)
    }  # fmt: skip
