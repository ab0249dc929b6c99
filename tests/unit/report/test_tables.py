"""The tables say what the arrays say."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from gridpact.community.model import CommunityDay
from gridpact.market.agreement import Convergence, Trade
from gridpact.market.registry import NAMES
from gridpact.outcome.indicators import Indicators
from gridpact.outcome.outcome import Optimum, Outcome
from gridpact.problem.scenario import REPORT, Scenario
from gridpact.problem.verification import ImplementedCost
from gridpact.report.tables import CSV_FILES, result_fields, write_tables
from unit.conftest import CAR, LIMITS, LOAD, LOSSES, TRADES, community, run

FIELDS: dict[str, type | tuple[type, ...]] = {
    "case": str, "day": str, "scenario": str, "chain": str, "households": int, "steps": int,
    "converged": bool, "iterations": int, "cost": float, "centralised_cost": float,
    "implemented_gap": float, "relaxation_gap": float, "voltage_min_pu": float, "voltage_max_pu": float,
    "voltage_ok": bool, "gas_total": int, "transactions": int, "gas_per_household_iteration": float,
    "wall_s": float, "solve_s": float, "chain_s": float, "trades": int, "traded_kwh": (int, float),
    "paid_total": (int, float), "supplier_received": (int, float), "settlement_sum_zero": bool, "currency": str,
    "network_agreement": str, "cost_supply": float, "cost_trading": float, "cost_losses": float, "gas_by_step": dict,
}  # fmt: skip


def rows(folder: Path, name: str) -> list[dict[str, str]]:
    with (folder / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_result_json_has_every_field_with_its_type(result: Outcome, tmp_path: Path) -> None:
    write_tables(result, tmp_path / "run")
    fields = json.loads((tmp_path / "run" / "result.json").read_text(encoding="utf-8"))
    for name, kind in FIELDS.items():
        assert isinstance(fields[name], kind), name
    assert not isinstance(fields["trades"], bool)
    assert fields["trades"] == 3
    assert fields["scenario"] == "tg"
    assert fields["implemented_gap"] == pytest.approx(0.001 / 2.999)
    assert fields["cost"] == pytest.approx(fields["cost_supply"] + fields["cost_losses"])  # nobody pays coefficients
    assert fields["objective"] == pytest.approx(2.5 + 0.4 + 0.1)
    assert fields["saved"] == pytest.approx(fields["cost_alone"] - fields["cost"])


def test_inMemory_thereIsNoGasAndNoTime() -> None:
    fields = result_fields(run(ledger=None, chain="memory"))
    assert not {"gas_total", "gas_by_step", "transactions", "wall_s", "supplier_received", "relayed"} & fields.keys()
    assert fields["settlement_sum_zero"] is True
    assert fields["chain"] == "memory"


def test_pairsCountOnce_whoeverSells() -> None:
    back = Trade(3, 1, 0, 0.2, 0.1)
    result = run(trades=(*TRADES, back))
    assert (result.traded_pairs, len(result.trades)) == (2, 4)
    assert result.paid_total == pytest.approx(0.15 + 0.17 + 0.15 + 0.02)


def test_result_json_has_null_where_there_is_no_number() -> None:
    result = run(optimum=Optimum(0.0, 0.0, relaxation_gap=float("nan")))
    fields = result_fields(result)
    assert fields["implemented_gap"] is None
    assert fields["relaxation_gap"] is None
    json.dumps(fields, allow_nan=False)


@pytest.mark.parametrize("scenario", [Scenario.B, Scenario.T])
def test_without_a_network_no_agreement_is_named(scenario: Scenario) -> None:
    assert result_fields(run(scenario))["network_agreement"] is None


def test_a_key_in_the_address_of_a_chain_is_not_written() -> None:
    fields = result_fields(run(chain="https://me:secret@node.example:8545/v3/secret?key=secret"))
    assert fields["chain"] == "https://node.example:8545"
    fields = result_fields(run(chain="https://node.example:8545/secret,https://me:secret@node.example:8546/secret"))
    assert fields["chain"] == "https://node.example:8545 and 1 more"


def test_trades_csv_agrees_with_the_result(result: Outcome, tmp_path: Path) -> None:
    write_tables(result, tmp_path / "run")
    table = rows(tmp_path / "run", "trades.csv")
    assert list(table[0]) == ["seller", "buyer", "step", "time", "energy_kwh", "price_per_kwh", "amount"]
    assert sum(float(row["energy_kwh"]) for row in table) == pytest.approx(result.traded_kwh)
    assert sum(float(row["amount"]) for row in table) == pytest.approx(result.paid_total)
    assert (table[0]["seller"], table[0]["buyer"], table[0]["time"]) == ("sun", "flat", "06:00")


def test_schedules_csv_balances_every_household(result: Outcome, tmp_path: Path) -> None:
    write_tables(result, tmp_path / "run")
    table = rows(tmp_path / "run", "schedules.csv")
    assert len(table) == 12
    for row in table:
        value = {key: float(text or 0) for key, text in row.items() if key not in ("household", "time")}
        devices = value["pv_kw"] - value["curtailed_kw"] - value["load_kw"] - value["car_kw"]
        devices += value["discharge_kw"] - value["charge_kw"]
        assert value["injection_kw"] == pytest.approx(devices)
        supplier = value["import_kw"] - value["feed_in_kw"] + value["bought_kw"] - value["sold_kw"]
        assert supplier + value["injection_kw"] == pytest.approx(0, abs=1e-8)  # nine digits are written
    assert sum(float(row["load_kw"]) for row in table) == pytest.approx(LOAD.sum())
    assert sum(float(row["car_kw"] or 0) for row in table) == pytest.approx(CAR.sum())
    assert {row["charge_kw"] for row in table if row["household"] == "flat"} == {""}


def test_schedules_csv_in_g_has_no_contracts(tmp_path: Path) -> None:
    write_tables(run(Scenario.G), tmp_path / "run")
    assert {row["import_kw"] for row in rows(tmp_path / "run", "schedules.csv")} == {""}


def test_prices_csv_weighs_by_energy(result: Outcome, tmp_path: Path) -> None:
    write_tables(result, tmp_path / "run")
    table = rows(tmp_path / "run", "prices.csv")
    assert [row["trade_price_mean"] for row in table] == ["", "0.16", "0.3", ""]
    assert [float(row["feed_in_price"]) for row in table] == [0.1, 0.1, 0.2, 0.2]
    assert sum(float(row["traded_kwh"]) for row in table) == pytest.approx(result.traded_kwh)


def test_voltages_csv_is_the_power_flow(result: Outcome, tmp_path: Path) -> None:
    write_tables(result, tmp_path / "run")
    table = rows(tmp_path / "run", "voltages.csv")
    voltage = np.array([float(row["voltage_pu"]) for row in table]).reshape(3, 4)
    np.testing.assert_allclose(voltage, result.flow.voltage_pu)
    assert {row["parent"] for row in table if row["node"] == "3"} == {"1"}


def test_residuals_csv_leaves_unknown_residuals_empty(tmp_path: Path) -> None:
    short, nan = np.array([3.0, 2.0]), np.array([3.0, 2.0, np.nan])
    result = run(convergence=Convergence(short, short, nan, nan, LIMITS))
    write_tables(result, tmp_path / "run")
    table = rows(tmp_path / "run", "residuals.csv")
    assert [row["iteration"] for row in table] == ["1", "2", "3"]
    assert set(list(table[2].values())[1:]) == {""}


def test_no_trades_leave_a_header(tmp_path: Path) -> None:
    write_tables(run(Scenario.B), tmp_path / "run")
    assert (tmp_path / "run" / "trades.csv").read_text(encoding="utf-8").count("\n") == 1
    assert set(CSV_FILES) <= {path.name for path in (tmp_path / "run").iterdir()}


def test_no_spreadsheet_takes_a_name_for_a_formula(tmp_path: Path) -> None:
    hostile: CommunityDay = community(('=HYPERLINK("x")', "a,b", "plain"))
    write_tables(run(community=hostile), tmp_path / "run")
    table = rows(tmp_path / "run", "trades.csv")
    assert table[0]["seller"] == '\'=HYPERLINK("x")'
    assert table[0]["buyer"] == "a,b"


@pytest.mark.parametrize("scenario", REPORT)
def test_what_comes_in_goes_out(scenario: Scenario) -> None:
    balance = Indicators(run(scenario)).balance
    sources = sum(power for _, power in balance.sources) + balance.grid_import
    uses = sum(power for _, power in balance.uses) + balance.load + balance.feed_in + balance.losses
    np.testing.assert_allclose(sources, uses)
    np.testing.assert_allclose(balance.losses, LOSSES)


def test_household_totals_by_hand(result: Outcome) -> None:
    sun, flat, car = Indicators(result).households
    assert (sun.sold_kwh, sun.bought_kwh) == (2.5, 0.0)
    assert sun.trades_paid == pytest.approx(-0.47)
    assert sun.import_kwh == pytest.approx(1 + 0.1)  # load at 00:00, what the battery leaves at 18:00
    assert sun.feed_in_kwh == pytest.approx(0.5)  # 1 kW at 12:00 less 0.5 sold
    assert sun.supplier_bill == pytest.approx(0.2 * 1 + 0.4 * 0.1 - 0.2 * 0.5)
    assert flat.assets == ()
    assert car.load_kwh == pytest.approx(7.5)
    assert sum(home.sold_kwh for home in (sun, flat, car)) == pytest.approx(sum(t.energy_kwh for t in TRADES))


def test_the_supplier_receives_what_the_households_are_billed(result: Outcome) -> None:
    bills = [home.supplier_bill for home in Indicators(result).households]
    assert bills == pytest.approx([0.14, 0.70, 1.70])
    assert result_fields(result)["supplier_received"] == pytest.approx(2.54)


def test_voltages_are_promised_only_where_the_network_is_agreed_on() -> None:
    def verdict(scenario: Scenario) -> str:
        result = run(scenario)
        result.flow.voltage_pu[2, 0] = 0.9
        return next(check.verdict for check in Indicators(result).checks if check.name == "Voltages")

    assert verdict(Scenario.B) == "not promised"
    assert verdict(Scenario.TG) == "not held"


@pytest.mark.parametrize(("beyond", "held"), [(0.00040, True), (0.00041, False), (-0.00041, False)])
def test_aBillNearZero_isJudgedByWhatPassesTheMeters(beyond: float, held: bool) -> None:
    """4 and 5 kWh at 0.20 pass the meters, 4 and 1.6 at 0.40: 4.04. A tenth of it is more than the bill of a cent, so
    the limit is 0.1 % of 0.404, whatever fraction of the cent that is."""
    flow = run().flow
    result = run(cost=ImplementedCost(0.01 + beyond, 0.0, 0.0, 0.0, flow), optimum=Optimum(0.01, 0.01))
    assert result.turnover == pytest.approx(4.04)
    check = next(check for check in Indicators(result).checks if check.name == "Cost above the optimum")
    assert check.held is held
    assert check.limit == "0.0004 EUR"
    usual = run(cost=ImplementedCost(3.0 + beyond, 0.0, 0.0, 0.0, flow), optimum=Optimum(3.0, 3.0))
    check = next(check for check in Indicators(usual).checks if check.name == "Cost above the optimum")
    assert (check.held, check.limit) == (True, "0.1 %")


def test_whatIsNotPromised_failsNoCheck() -> None:
    """An auction is compared with the optimum, and may lie above it."""
    result = run(NAMES["call-auction"], optimum=Optimum(1.0, 1.0))
    check = next(check for check in Indicators(result).checks if check.name == "Cost above the optimum")
    assert check.verdict == "not promised"
    assert not Indicators(result).failed_checks
