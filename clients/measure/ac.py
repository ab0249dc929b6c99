"""The non-convex optimum of a street's day in G, by IPOPT: what the convex passes are compared with.

Needs the PyPI package casadi, which brings IPOPT and is no part of what gridpact installs. Complex voltages and
currents of every connection are variables, powers their product: nothing is linear or relaxed.
"""

from __future__ import annotations

import importlib
from typing import Any

import cvxpy as cp
import numpy as np

from gridpact.community.read import read_community
from gridpact.community.street import PhaseFeeder
from gridpact.devices.device import flat
from gridpact.errors import SolverError
from gridpact.grid.three_phase import Reduced, reduced_of
from gridpact.problem.centralised import centralised_optimum
from gridpact.problem.constraints import supply_contract
from gridpact.problem.directions import chosen
from gridpact.problem.meter import behind_meter
from gridpact.problem.scenario import Scenario


def ac_optimum(case: str, day: str) -> dict[str, Any]:
    """Costs of a day in G, by IPOPT and by the convex passes, of devices directed alike.

    Raises:
        SolverError: IPOPT found no optimum.
    """
    ca: Any = importlib.import_module("casadi")

    community = read_community(case).on(day)
    feeder, dt, steps = community.feeder, community.step_hours, community.steps
    assert isinstance(feeder, PhaseFeeder)
    reduced = reduced_of(feeder)
    homes, count, unit = len(community.households), len(reduced.home), feeder.phase_voltage_v
    kw, kvar, taken = cp.Variable((homes, steps)), cp.Variable((homes, steps)), cp.Variable(steps)
    constraints: list[cp.Constraint] = []
    for row, home in enumerate(community.households):
        meter = behind_meter(home, dt)
        directions = chosen(home, community.prices, dt, len(meter.opposed))
        constraints += flat(meter.constraints) + flat(directions.constraints(meter.opposed))
        constraints += [kw[row] == meter.injection_kw, kvar[row] == meter.injection_kvar]
    contract = supply_contract(community.prices, dt)
    problem = cp.Problem(cp.Minimize(contract.cost), [*constraints, contract.net_import == taken])
    data, *_ = problem.get_problem_data(cp.CLARABEL)
    assert not data["dims"].soc
    column = data["param_prob"].var_id_to_col

    x = ca.MX.sym("x", len(data["c"]))
    parts = [ca.MX.sym(name, count, steps) for name in ("vr", "vi", "ir", "ii")]
    vr, vi, ir, ii = parts

    def of(variable: cp.Variable, rows: int) -> Any:
        first = column[variable.id]
        return ca.reshape(x[first : first + variable.size], rows, steps)

    share, shared = ca.DM(reduced.to_connections), reduced.shared / unit
    given, reactive = share @ of(kw, homes) * 1000 / unit, share @ of(kvar, homes) * 1000 / unit
    real, imaginary = ca.DM(shared.real), ca.DM(shared.imag)
    start = np.repeat(reduced.no_load[:, None], steps, axis=1)
    root = ca.DM(reduced.loss_root)
    lost = ca.sum1((root @ ir) ** 2 + (root @ ii) ** 2) / 1000
    rows = data["dims"].zero
    linear = ca.DM(data["A"].tocsc()) @ x
    limits: list[tuple[Any, Any, Any]] = [
        (linear[:rows], data["b"][:rows], data["b"][:rows]),
        (linear[rows:], -np.inf, data["b"][rows:]),
        (ca.vec(vr - real @ ir + imaginary @ ii), start.real.ravel("F"), start.real.ravel("F")),
        (ca.vec(vi - real @ ii - imaginary @ ir), start.imag.ravel("F"), start.imag.ravel("F")),
        (ca.vec(ir * vr + ii * vi - given), 0, 0),
        (ca.vec(ir * vi - ii * vr - reactive), 0, 0),
        (ca.vec(of(taken, 1) - lost + ca.sum1(of(kw, homes))), 0, 0),
        (ca.vec(vr**2 + vi**2), feeder.voltage_min_pu**2, feeder.voltage_max_pu**2),
        *((ca.vec((row @ ir) ** 2 + (row @ ii) ** 2), -np.inf, 1) for row in _rated(ca, reduced)),
    ]
    if feeder.transformer is not None:
        through = ca.DM((reduced.no_load * unit / 1000 / feeder.transformer.kva)[None].real)
        across = ca.DM((reduced.no_load * unit / 1000 / feeder.transformer.kva)[None].imag)
        square = (through @ ir + across @ ii) ** 2 + (across @ ir - through @ ii) ** 2
        limits.append((ca.vec(square), -np.inf, 1))
    options = {"ipopt.print_level": 0, "print_time": False, "ipopt.tol": 1e-8, "ipopt.max_iter": 2000}
    every = ca.vertcat(x, *(ca.vec(part) for part in parts))
    solver = ca.nlpsol(
        "ac", "ipopt", {"x": every, "f": ca.DM(data["c"]).T @ x, "g": ca.vertcat(*(g for g, _, _ in limits))}, options
    )
    low, high = (
        np.concatenate([np.broadcast_to(limit[side], limit[0].shape[0]) for limit in limits]) for side in (1, 2)
    )
    begin = np.zeros(every.shape[0])
    begin[len(data["c"]) :][: 2 * count * steps] = np.concatenate([start.real.ravel("F"), start.imag.ravel("F")])
    solution = solver(x0=begin, lbg=low, ubg=high)
    if not solver.stats()["success"]:
        raise SolverError(f"IPOPT on {case} {day}: {solver.stats()['return_status']}")
    convex = centralised_optimum(community, Scenario.G).cost
    return {"case": case, "day": day, "ipopt": float(solution["f"]), "convex": convex}


def _rated(ca: Any, reduced: Reduced) -> list[Any]:
    """Rows whose currents are at most 1: phases and neutrals of sections that have a rating."""
    rows = []
    for carries, rating in zip(reduced.carries, reduced.rating_a, strict=True):
        if np.isfinite(rating):
            rows += [ca.DM(row[None] / rating) for row in (*carries, carries.sum(axis=0)) if row.any()]
    return rows
