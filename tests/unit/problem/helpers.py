"""Small communities to calculate with, and a power flow written for the tests alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gridpact.community.model import CommunityDay, Feeder, Household, Line, Prices
from gridpact.devices.pv import Panels
from gridpact.problem.local import LocalProblem, Point

Array = NDArray[np.float64]


def household(node: int, load: Sequence[float], pv: Sequence[float], **more: object) -> Household:
    """A home with a power factor of 1 unless told, and with devices besides its panels."""
    values: dict[str, object] = {"load_kvar": np.zeros(len(load)), "devices": ()} | more
    if max(pv) > 0:
        values["devices"] = (Panels(np.array(pv, dtype=float), float(max(pv))), *values["devices"])  # type: ignore[misc]
    return Household(
        node=node,
        name=f"home_{node}",
        load_kw=np.array(load, dtype=float),
        **values,  # type: ignore[arg-type]
    )


def community(
    homes: Sequence[Household], prices: Sequence[float], parents: Sequence[int] | None = None, **more: object
) -> CommunityDay:
    """Homes on a main of 0.1 + 0.02j ohm between neighbours, or on a tree of the given parents."""
    steps = len(prices)
    parents = parents or [home.node - 1 for home in homes]
    values: dict[str, object] = {"step_hours": 24 / steps, "trading_coefficient": 0.1} | more
    return CommunityDay(
        name="made_up",
        day="1",
        currency="EUR",
        start_times=tuple(f"{24 * t // steps:02d}:00" for t in range(steps)),
        households=tuple(homes),
        feeder=Feeder(400.0, 0.9, 1.1, tuple(Line(k, p, 0.1, 0.02) for k, p in enumerate(parents, start=1))),
        prices=Prices(np.array(prices, dtype=float)),
        **values,  # type: ignore[arg-type]
    )


def sweep(feeder: Feeder, injection_kw: Array, injection_kvar: Array) -> tuple[Array, Array]:
    """Backward-forward sweep of one step with complex phasors, three-phase balanced, in volts and amperes.

    Knows nothing of squared magnitudes, cones or per unit: only Kirchhoff's and Ohm's laws.

    Returns:
        Voltage magnitudes of the nodes 1..n in p.u. of the nominal one, and the losses of the lines in kW.
    """
    n = len(feeder.lines)
    impedance = {line.node: complex(line.resistance_ohm, line.reactance_ohm) for line in feeder.lines}
    order = sorted(feeder.parent, key=lambda node: feeder.depth[node])
    source = feeder.nominal_voltage_v / np.sqrt(3)
    volts = {node: complex(source) for node in range(n + 1)}
    power = {k + 1: 1000 * complex(injection_kw[k], injection_kvar[k]) / 3 for k in range(n)}
    current: dict[int, complex] = {}
    for _ in range(200):
        for node in reversed(order):  # towards the root
            below = sum((current[child] for child in feeder.children[node]), 0j)
            current[node] = (power[node] / volts[node]).conjugate() + below
        before = dict(volts)
        for node in order:  # away from it: the current flows towards the root, so the child is higher
            volts[node] = volts[feeder.parent[node]] + impedance[node] * current[node]
        if max(abs(volts[k] - before[k]) for k in volts) < 1e-10 * source:
            break
    else:
        raise AssertionError("the sweep of the test does not converge")
    magnitude = np.array([abs(volts[k]) for k in range(1, n + 1)]) / source
    losses = np.array([3 * impedance[k].real * abs(current[k]) ** 2 for k in range(1, n + 1)]) / 1000
    return magnitude, losses


def point(of: LocalProblem, rho: Array, linear: Array, trade_linear: Array, pool_linear: float = 0.0) -> Point:
    """rho by block, as the parameters give it; the pool's term alike in all steps."""
    steps = of.view.steps
    penalties = np.repeat(rho[:, None], steps, axis=1)
    return Point(linear, penalties, trade_linear, np.full(steps, pool_linear))
