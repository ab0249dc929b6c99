"""A small community and a run of it, made up: no solver, no chain, figures that can be checked by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from steady import search_steadily

from gridpact.community import model
from gridpact.devices.battery import Battery
from gridpact.devices.car import ElectricCar
from gridpact.devices.device import Device
from gridpact.devices.inverter import Inverter
from gridpact.devices.pv import Panels
from gridpact.grid.powerflow import PowerFlow
from gridpact.market.agreement import Agreement, Convergence, Trade
from gridpact.outcome.outcome import Ledger, Optimum, Outcome
from gridpact.problem.scenario import NetworkAgreement, Scenario
from gridpact.problem.verification import ImplementedCost

search_steadily()

LOAD = np.array([[1.0, 1.0, 2.0, 1.0], [0.5, 1.0, 1.0, 0.5], [1.0, 2.0, 2.0, 1.0]])
PV = np.array([[0.0, 4.0, 3.0, 0.0], [0.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]])
DISCHARGE = np.array([0.0, 0.0, 0.0, 0.9])
CHARGE = np.array([0.0, 1.0, 0.0, 0.0])
CAR = np.array([1.5, 0.0, 0.0, 0.0])
LOSSES = np.array([0.02, 0.01, 0.03, 0.01])
LIMITS = (2.0, 2.0, 1.0, 1.0)

TRADES = (
    Trade(1, 2, 1, 1.0, 0.15),
    Trade(1, 3, 1, 1.0, 0.17),
    Trade(1, 3, 2, 0.5, 0.3),
)


def community(names: tuple[str, str, str] = ("sun", "flat", "car"), name: str = "tiny") -> model.CommunityDay:
    """A main of two nodes with a lateral: 0-1-2 and 1-3."""
    own: tuple[tuple[Device, ...], ...] = (
        (Panels(PV[0], 5.0), Battery(6.4, 5.0, 0.95, 0.95, 3.2), Inverter(2.0)),
        (),
        (ElectricCar(1.35, 3.7, 0.9, np.array([True, False, False, True])),),
    )
    homes = tuple(
        model.Household(
            node=k + 1,
            name=names[k],
            load_kw=LOAD[k],
            load_kvar=0.3 * LOAD[k],
            devices=own[k],
        )
        for k in range(3)
    )
    lines = (model.Line(1, 0, 0.04, 0.005), model.Line(2, 1, 0.05, 0.006), model.Line(3, 1, 0.05, 0.006))
    return model.CommunityDay(
        name=name,
        day="06-10",
        currency="EUR",
        step_hours=1.0,
        start_times=("00:00", "06:00", "12:00", "18:00"),
        households=homes,
        feeder=model.Feeder(400.0, 0.95, 1.05, lines),
        prices=model.Prices(np.array([0.2, 0.2, 0.4, 0.4])),
        trading_coefficient=0.1,
    )


def run(scenario: Scenario = Scenario.TG, trades: tuple[Trade, ...] = TRADES, **changes: Any) -> Outcome:
    """A run whose numbers fit together: contracts, trades and the grid connection balance at every step."""
    day: model.CommunityDay = changes.pop("community", community())
    if not scenario.has_trades:
        trades = ()
    injection = PV - LOAD
    injection[0] += DISCHARGE - CHARGE
    injection[2] -= CAR
    devices: tuple[dict[str, model.Array], ...] = (
        {"curtailed_kw": np.zeros(4), "charge_kw": CHARGE, "discharge_kw": DISCHARGE,
         "stored_kwh": np.full(4, 3.2), "reactive_kvar": np.zeros(4)},
        {},
        {"car_kw": CAR},
    )  # fmt: skip
    plans = {
        home.node: {**own, "injection_kw": injection[k], "injection_kvar": -0.3 * LOAD[k]}
        for k, (home, own) in enumerate(zip(day.households, devices, strict=True))
    }
    voltage = np.array([[0.99, 1.005, 1.0, 0.99], [0.98, 1.0, 0.99, 0.985], [0.97, 1.0, 0.98, 0.985]])
    flow = PowerFlow((1, 2, 3), voltage, LOSSES, LOSSES - injection.sum(axis=0), np.ones((3, 4)))
    grid = np.array([100.0, 10.0, 1.0]) if scenario.has_network else np.zeros(3)
    trade = np.array([50.0, 5.0, 0.5]) if scenario.has_trades else np.zeros(3)
    agreed = scenario.has_network or scenario.has_trades
    result = Outcome(
        community=day,
        scenario=scenario,
        agreement=NetworkAgreement.DSO,
        chain="eth-tester",
        agreed=Agreement(
            plans,
            trades,
            rounds=3 if agreed else 0,
            relaxation_gap=1e-9 if scenario.has_network else 0.0,
            convergence=Convergence(grid, 2 * grid, trade, 2 * trade, LIMITS) if agreed else None,
        ),
        cost=ImplementedCost(2.5, 0.4, 0.1, 0.12, flow),
        optimum=Optimum(objective=2.999, paid=2.61, node_price=np.full((3, 4), 0.2)),
        paid_alone=3.1,
        ledger=Ledger(
            relayed=False,
            gas_by_step={"deploy": 1_000_000, "submit": 234_567},
            transactions=17,
            transferred=sum(t.amount for t in trades),
            supplier_received=2.54 if scenario.has_trades else 0.0,  # 0.14 by sun, 0.70 by flat, 1.70 by car
            sums_to_zero=True,
            wall_s=3.0,
            solve_s=0.3,
            chain_s=2.0,
        ),
    )
    of_agreement = {name: changes.pop(name) for name in ("reached", "rounds", "convergence") if name in changes}
    return replace(result, agreed=replace(result.agreed, **of_agreement), **changes)


@pytest.fixture
def result() -> Outcome:
    return run()
